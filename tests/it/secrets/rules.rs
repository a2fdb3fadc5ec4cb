//! Which secret may be where. Everything that is not in the table is a leak.

use super::{
    encodings::{OVERWRITTEN, TAIL},
    memory::Stretch,
    search::{Hit, Searcher},
};
use crate::tree;
use std::{
    collections::BTreeSet,
    fs::File,
    path::{Path, PathBuf},
};

/// What must not be found out of place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Main passwords, past and present; also one typed wrongly, which is most of a right one.
    Password,
    /// Ed25519 seeds of all generations.
    Seed,
    /// What a seed becomes: the secret scalar and the prefix of RFC 8032, the X25519 key that opens.
    PrivateKey,
    /// Login hashes of all generations, true and false.
    LoginHash,
    /// Argon2id's output before HKDF.
    KeyHash,
    AppPassword,
    /// One-time codes, also false ones.
    Code,
    /// The Subject of sealed mail.
    Subject,
    /// Text and attachment of sealed mail.
    Text,
    /// A server's TLS key.
    TlsKey,
    /// What a server makes salts for unknown users with.
    ServerSecret,
    /// No secret: stands where all can see it, so that it is known that the searcher looks there.
    Planted,
}

/// Where it is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Standard output and error of `serve`, at trace level.
    ServerLog,
    /// Database, write-ahead log, objects, freed pages; while it runs, after `kill -9` and after its end.
    ServerData,
    /// The file that `backup` wrote.
    Backup,
    /// Certificate, key, configuration.
    ServerFiles,
    /// The folder for temporary files of all processes.
    Temporary,
    /// `secrets.json` of a client, 0600.
    ClientSecrets,
    /// `seen.json` of a client, 0600.
    ClientSeen,
    /// Everything else in a client's folder.
    ClientFolder,
    /// Standard output and error of `read`.
    ReadOutput,
    /// Standard output and error of `list`.
    ListOutput,
    /// Standard output and error of `user` and `app-password`.
    AdminOutput,
    /// Standard output and error of every other command.
    Output,
    /// What is said through the control socket.
    Control,
    /// Command lines of all processes.
    CommandLine,
    /// Environments of all processes.
    Environment,
    /// The wire, DNS included, as the network hears it.
    Wire,
    /// What clients say inside TLS.
    TlsUp,
    /// What servers say inside TLS.
    TlsDown,
    /// All that a server has in its memory when everything is done.
    ServerMemory,
    /// All that a client has in its memory when it says good-bye to the server.
    ClientMemory,
    /// The same of one that was given a new password.
    ChooserMemory,
}

pub const PLACES: [Place; 21] = [
    Place::ServerLog,
    Place::ServerData,
    Place::Backup,
    Place::ServerFiles,
    Place::Temporary,
    Place::ClientSecrets,
    Place::ClientSeen,
    Place::ClientFolder,
    Place::ReadOutput,
    Place::ListOutput,
    Place::AdminOutput,
    Place::Output,
    Place::Control,
    Place::CommandLine,
    Place::Environment,
    Place::Wire,
    Place::TlsUp,
    Place::TlsDown,
    Place::ServerMemory,
    Place::ClientMemory,
    Place::ChooserMemory,
];

/// The table.
#[rustfmt::skip]
fn may_be(kind: Kind, place: Place) -> bool {
    matches!((kind, place),
        (Kind::Planted, _)
        // A client that stays signed in keeps both instead of the password (profile §3).
        | (Kind::Seed | Kind::LoginHash, Place::ClientSecrets)
        // Made by the server or chosen in a file, shown once on standard output (profile §4, §5).
        | (Kind::Code | Kind::AppPassword, Place::Control | Place::AdminOutput)
        // What it is for.
        | (Kind::Text, Place::ReadOutput)
        // `list` shows it too, and remembers it beside the keys that open the mail. `--subject` is typed by whoever
        // sends.
        | (Kind::Subject, Place::ReadOutput | Place::ListOutput | Place::ClientSeen | Place::CommandLine)
        | (Kind::TlsKey, Place::ServerFiles)
        // The archive goes through the socket to whoever asked for it, who may read the store's files as well.
        | (Kind::ServerSecret, Place::ServerData | Place::Backup | Place::Control)
        // What it works with all the time; and what it is told by whoever logs in, of which the buffers of TLS and the
        // stacks of its threads keep pieces until something else is written there. Who can read a server's memory hears
        // all of that as it comes in anyway; none of it opens mail, and no core dump puts it on a disk (`dumps`).
        | (
            Kind::TlsKey | Kind::ServerSecret | Kind::LoginHash | Kind::Code | Kind::AppPassword,
            Place::ServerMemory,
        )
        // A client's keys are there while it runs; of passwords and codes see `Judge::memory`.
        | (Kind::Seed | Kind::PrivateKey | Kind::LoginHash, Place::ClientMemory | Place::ChooserMemory)
        // How good a new password is was judged by zxcvbn, which clears nothing of what it compares.
        | (Kind::Password, Place::ChooserMemory)
        // Only in the commands that carry it: `is_said_rightly`.
        | (Kind::LoginHash | Kind::Code | Kind::AppPassword, Place::TlsUp)
    )
}

/// Inside TLS a login hash is an argument of AUTH HASHEDPASS, or the new one of XENROL and XPASSWD; a code is one of
/// XENROL; an app password goes with PLAIN and LOGIN (profile §4, §5).
fn is_said_rightly(kind: Kind, line: &str) -> bool {
    let upper = line.to_ascii_uppercase();
    // A line of an exchange that AUTH began: base64 and nothing else.
    let step = !line.is_empty() && line.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
    let says =
        |words: &[&str]| words.iter().any(|w| upper.starts_with(w) || upper.contains(&format!(" {w}")));
    match kind {
        Kind::LoginHash => {
            step || says(&["AUTH HASHEDPASS ", "AUTHENTICATE HASHEDPASS ", "XENROL ", "XPASSWD "])
        }
        Kind::Code => says(&["XENROL "]),
        Kind::AppPassword => step || says(&["AUTH PLAIN ", "AUTH LOGIN ", "AUTHENTICATE PLAIN ", "LOGIN "]),
        _ => false,
    }
}

/// The line in which an octet stands; empty in the octets that BDAT and XKEYRING announce, which are no line.
fn line_at(octets: &[u8], at: usize) -> String {
    let mut begin = 0;
    while begin <= at {
        let end = octets[begin..].iter().position(|b| *b == b'\n').map_or(octets.len(), |i| begin + i + 1);
        let line = String::from_utf8_lossy(&octets[begin..end]).trim_end().to_owned();
        if at < end {
            return line;
        }
        let words: Vec<String> = line.split(' ').map(str::to_ascii_uppercase).collect();
        let announced = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["BDAT", size] | ["BDAT", size, "LAST"] | ["XKEYRING", _, size] => size.parse().unwrap_or(0),
            _ => 0,
        };
        begin = end + announced;
    }
    String::new()
}

/// All secrets, and the judgement.
pub struct Judge {
    secrets: Vec<(Kind, String)>,
    searcher: Searcher,
    of_memory: Searcher,
    /// What was seen where, as it may be.
    pub seen: BTreeSet<(Kind, Place)>,
    pub leaks: Vec<String>,
    pub octets: u64,
}

impl Judge {
    /// Of secrets by kind, name and octets.
    pub fn new(secrets: &[(Kind, String, Vec<u8>)]) -> Self {
        Self {
            searcher: Searcher::new(secrets.iter().map(|(_, _, octets)| octets.as_slice())),
            of_memory: Searcher::of_memory(secrets.iter().map(|(_, _, octets)| octets.as_slice())),
            secrets: secrets.iter().map(|(kind, name, _)| (*kind, name.clone())).collect(),
            seen: BTreeSet::new(),
            leaks: Vec::new(),
            octets: 0,
        }
    }

    fn judge(&mut self, place: Place, what: &str, hits: BTreeSet<Hit>, right: impl Fn(Kind, u64) -> bool) {
        for hit in hits {
            let (kind, name) = &self.secrets[hit.secret];
            if may_be(*kind, place) && right(*kind, hit.offset) {
                self.seen.insert((*kind, place));
            } else {
                // Named by what it is; the secret itself would go to this test's own log.
                let Hit { encoding, offset, .. } = hit;
                self.leaks
                    .push(format!("{name} ({kind:?}) as {encoding} at octet {offset} of {what} ({place:?})"));
            }
        }
    }

    pub fn octets(&mut self, place: Place, what: &str, octets: &[u8]) {
        let hits = self.searcher.octets(octets);
        self.octets += octets.len() as u64;
        let right = |kind, at| {
            let line = || line_at(octets, usize::try_from(at).expect("in memory"));
            place != Place::TlsUp || kind == Kind::Planted || is_said_rightly(kind, &line())
        };
        self.judge(place, what, hits, right);
    }

    /// All that a process has in its memory. A client that works with a password or a code has it there once, and clears it
    /// when it ends; what is there twice is a copy that somebody made and forgot.
    pub fn memory(&mut self, place: Place, what: &str, image: &[Stretch]) {
        let mut held = BTreeSet::new();
        for stretch in image {
            let mut hits = self.of_memory.octets(&stretch.octets);
            self.octets += stretch.octets.len() as u64;
            // The end of what is there whole is no finding of its own.
            let whole: BTreeSet<(usize, u64)> =
                hits.iter().filter(|hit| hit.encoding == "raw").map(|hit| (hit.secret, hit.offset)).collect();
            hits.retain(|hit| {
                hit.encoding != TAIL || !whole.contains(&(hit.secret, hit.offset - OVERWRITTEN as u64))
            });
            hits.retain(|hit| {
                let kind = self.secrets[hit.secret].0;
                let works_with = matches!(kind, Kind::Password | Kind::Code) && hit.encoding == "raw";
                let client = matches!(place, Place::ClientMemory | Place::ChooserMemory);
                let first = client && works_with && held.insert(hit.secret);
                if first {
                    self.seen.insert((kind, place));
                }
                !first
            });
            let what = format!("{what}, {} at {:x}", stretch.name, stretch.begin);
            self.judge(place, &what, hits, |_, _| true);
        }
    }

    pub fn file(&mut self, place: Place, path: &Path) {
        // Sockets, and what a running server has just removed.
        let Ok(file) = File::open(path) else { return };
        let (hits, octets) = self.searcher.read(file).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        self.octets += octets;
        self.judge(place, &path.display().to_string(), hits, |_, _| true);
        // A name tells as much as an octet.
        let name = path.display().to_string();
        let hits = self.searcher.octets(name.as_bytes());
        self.judge(place, &format!("the name {name}"), hits, |_, _| true);
    }

    /// Every file below a folder; `place` says which is what.
    pub fn folder(&mut self, folder: &Path, place: impl Fn(&Path) -> Place) -> usize {
        let mut paths: Vec<PathBuf> = Vec::new();
        tree::below(folder, &mut paths);
        for path in &paths {
            self.file(place(path), path);
        }
        paths.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge() -> Judge {
        Judge::new(&[
            (Kind::LoginHash, "the login hash".to_owned(), vec![0xa7; 32]),
            (Kind::Code, "the code".to_owned(), b"abcde-fghij-klmno".to_vec()),
        ])
    }

    #[test]
    fn what_is_out_of_place_is_named_with_place_and_offset() {
        let mut judge = judge();
        judge.octets(Place::ServerLog, "the log", b"nothing\ncode=abcde-fghij-klmno\n");
        let [leak] = &judge.leaks[..] else { panic!("{:?}", judge.leaks) };
        assert_eq!(leak, "the code (Code) as raw at octet 13 of the log (ServerLog)");
    }

    #[test]
    fn a_client_has_its_password_once_and_no_rest_of_another_copy() {
        let password = b"orchid tunnel velvet captain drizzle mosaic";
        let secrets = [(Kind::Password, "the password".to_owned(), password.to_vec())];
        let stretch = |octets: &[u8]| Stretch {
            begin: 0x7f00_0000_0000,
            name: String::new(),
            octets: [b"before it ", octets, b" after it"].concat(),
        };
        let (whole, freed) = (stretch(password), stretch(&[&[0; 16], &password[16..]].concat()));
        let encoded = stretch(sealpost_proto::base64::encode(password).as_bytes());
        for (place, images, leaks) in [
            (Place::ClientMemory, vec![&whole], false),
            (Place::ClientMemory, vec![&whole, &whole], true),
            (Place::ClientMemory, vec![&whole, &freed], true),
            (Place::ClientMemory, vec![&encoded], true),
            (Place::ChooserMemory, vec![&whole, &whole, &freed], false),
            (Place::ServerMemory, vec![&whole], true),
            (Place::ServerMemory, vec![&freed], true),
        ] {
            let mut judge = Judge::new(&secrets);
            let image: Vec<Stretch> = images.into_iter().cloned().collect();
            judge.memory(place, "the memory", &image);
            assert_eq!(!judge.leaks.is_empty(), leaks, "{place:?}: {:?}", judge.leaks);
        }
    }

    #[test]
    fn inside_tls_only_the_commands_that_carry_it_count() {
        let hash = sealpost_proto::base64::encode([0xa7; 32]);
        let sasl = sealpost_proto::base64::encode(format!("\0alice@example.net\0{hash}"));
        for (line, leaks) in [
            (format!("AUTH HASHEDPASS {sasl}\r\n"), false),
            (format!("a AUTHENTICATE HASHEDPASS {sasl}\r\n"), false),
            (format!("{sasl}\r\n"), false),
            (format!("NOOP {sasl}\r\n"), true),
            (format!("AUTH PLAIN {sasl}\r\n"), true),
            (format!("Subject: {hash}\r\n"), true),
            ("XENROL alice@example.net abcde-fghij-klmno\r\n".to_owned(), false),
            ("EHLO abcde-fghij-klmno\r\n".to_owned(), true),
            // Octets of a length, and what comes after them.
            (format!("XKEYRING 7 3\r\nx\nyXPASSWD {sasl}\r\n"), false),
            (format!("BDAT {} LAST\r\nXPASSWD {sasl}\r\n", sasl.len() + 10), true),
        ] {
            let mut judge = judge();
            judge.octets(Place::TlsUp, "the stream", format!("EHLO x\r\n{line}QUIT\r\n").as_bytes());
            assert_eq!(!judge.leaks.is_empty(), leaks, "{line}{:?}", judge.leaks);
            assert_eq!(judge.seen.is_empty(), leaks, "{line}");
            let mut judge = self::judge();
            judge.octets(Place::TlsDown, "the stream", line.as_bytes());
            assert!(!judge.leaks.is_empty(), "{line}");
        }
    }
}
