//! The attacks, each a small named value.

use sealpost_crypto::key::SecretKey;
use sealpost_proto::{base64, key::PublicKey, phc::Challenge, phc::Salt, statement::SignedStatement};

/// What a man in the middle, or a server that turned hostile, does to what the honest server says.
#[derive(Debug, Clone)]
pub enum Attack {
    /// A keyword is missing in EHLO's answer; of `HASHEDPASS` the word in the AUTH line.
    Strip(&'static str),
    /// PUBKEY is answered with this key.
    SwapKey(PublicKey),
    /// PUBKEY and XKEYINFO are answered with what the server has for this address.
    KeyOf(&'static str),
    /// PUBKEY and XKEYINFO: 550, there is no key.
    DenyKey,
    /// XKEYINFO is answered with these statements.
    Chain(Vec<SignedStatement>),
    /// XKEYINFO without the newest so many statements.
    CutNewest(usize),
    /// XKEYINFO without the oldest so many statements.
    CutOldest(usize),
    /// XKEYINFO without the statement at this place, counted from the newest.
    DropStatement(usize),
    /// XKEYINFO in the other order.
    Reorder,
    /// XKEYINFO: 550, there is no chain.
    DenyChain,
    /// XKEYINFO with one octet of the newest statement changed.
    ForgeStatement,
    /// The two-step login asks for another salt or cost.
    Challenge(Challenge),
    /// Key salts are told wrong, in GETSALT and behind 235.
    Salt(Salt),
    /// The key salt behind 235 is told wrong, GETSALT right.
    CourtesySalt(Salt),
    /// XKEYRING: this one.
    Keyring(Vec<u8>),
    /// XKEYRING: 550, there is none.
    DenyKeyring,
    /// XKEYRING, with so many octets at its end missing.
    CutKeyring(usize),
    /// A command is answered with this line, whatever the server says.
    Answer(&'static str, &'static str),
    /// Lines are slipped in behind the answer to STARTTLS, before TLS.
    Inject(&'static str),
    /// Hangs up when it hears the command (`GREETING`: at once).
    HangUp(&'static str),
    /// Lets the server carry the command out, and hangs up instead of telling the answer.
    LoseAnswer(&'static str),
    /// Never answers the command (`GREETING`: never greets).
    Silent(&'static str),
    /// Answers the command without end.
    Endless(&'static str, Flood),
}

/// Answers without end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flood {
    /// One line that never ends.
    Line,
    /// Lines of one reply that never ends.
    Lines,
    /// Replies, one after the other, that nobody asked for.
    Replies,
    /// One octet at a time, with a pause.
    Trickle,
    /// IMAP: literals of 2 MiB, one after the other.
    Literals,
}

impl Flood {
    /// What is said over and over, and whether with pauses.
    pub(crate) fn piece(self) -> (String, bool) {
        match self {
            Self::Line => ("x".repeat(4_096), false),
            Self::Lines => ("220-x\r\n".repeat(512), false),
            Self::Replies => ("220 x\r\n".repeat(512), false),
            Self::Literals => {
                let octets = "x".repeat(2 << 20);
                (format!("* 1 FETCH (BODY[TEXT] {{{}}}\r\n{octets})\r\n", octets.len()), false)
            }
            Self::Trickle => ("2".to_owned(), true),
        }
    }
}

/// Whether `command` is the one meant; `STARTTLS`, `AUTH`, … and `GREETING`. With a space at its end, `verb` means the
/// command with arguments.
pub(crate) fn is(command: &str, verb: &str) -> bool {
    command.get(..verb.len()).is_some_and(|start| start.eq_ignore_ascii_case(verb))
        && (verb.ends_with(' ') || !command.as_bytes().get(verb.len()).is_some_and(u8::is_ascii_alphanumeric))
}

impl Attack {
    /// The command as the honest server hears it.
    pub(crate) fn command(&self, command: &str) -> Option<String> {
        match self {
            Self::KeyOf(other) => {
                let verb = ["PUBKEY", "XKEYINFO"].into_iter().find(|verb| is(command, verb))?;
                Some(format!("{verb} {other}"))
            }
            _ => None,
        }
    }

    /// Changes the answer to `command`.
    pub(crate) fn reply(&self, command: &str, reply: &mut Vec<String>) {
        let good = reply[0].starts_with("220");
        match self {
            Self::Strip(keyword) if is(command, "EHLO") => strip(keyword, reply),
            Self::SwapKey(key) if is(command, "PUBKEY") => {
                *reply = vec![format!("220 {} {}", key.algorithm().token(), key.wire())];
            }
            Self::DenyKey if is(command, "PUBKEY") || is(command, "XKEYINFO") => {
                let asked = command.split(' ').nth(1).unwrap_or_default();
                *reply = vec![format!("550 No public key available for {}", asked.trim_matches(['<', '>']))];
            }
            Self::DenyChain if is(command, "XKEYINFO") => *reply = vec!["550 none".to_owned()],
            Self::DenyKeyring if is(command, "XKEYRING") => *reply = vec!["550 none".to_owned()],
            Self::Chain(statements) if is(command, "XKEYINFO") => {
                *reply = lines(&statements.iter().map(SignedStatement::to_wire).collect::<Vec<_>>());
            }
            Self::CutNewest(n) if is(command, "XKEYINFO") && good => edit(reply, |all| drop(all.drain(..*n))),
            Self::CutOldest(n) if is(command, "XKEYINFO") && good => {
                edit(reply, |all| all.truncate(all.len() - n));
            }
            Self::DropStatement(n) if is(command, "XKEYINFO") && good => {
                edit(reply, |all| drop(all.remove(*n)));
            }
            Self::Reorder if is(command, "XKEYINFO") && good => edit(reply, |all| all.reverse()),
            Self::ForgeStatement if is(command, "XKEYINFO") && good => edit(reply, |all| {
                let text = String::from_utf8(base64::decode(&all[0]).unwrap()).unwrap();
                // Ten years more.
                let at = text.find("expires: 20").unwrap() + "expires: 20".len();
                let tens = if &text[at..=at] == "9" { "8" } else { "9" };
                all[0] = base64::encode(format!("{}{tens}{}", &text[..at], &text[at + 1..]));
            }),
            Self::Challenge(challenge) if reply[0].starts_with("334 ") && reply[0].len() > 4 => {
                *reply = vec![format!("334 {}", base64::encode(challenge.to_phc()))];
            }
            Self::Salt(salt) if reply[0].get(4..9) == Some("SALT ") => {
                *reply = vec![format!("{} SALT {}", &reply[0][..3], base64::encode(salt.as_bytes()))];
            }
            Self::CourtesySalt(salt) if reply[0].starts_with("250 SALT ") => {
                *reply = vec![format!("250 SALT {}", base64::encode(salt.as_bytes()))];
            }
            Self::Keyring(octets) if command == "XKEYRING" => {
                *reply = keyring(octets);
            }
            Self::CutKeyring(n) if command == "XKEYRING" && good => {
                let text: String = reply.iter().map(|line| &line[4..]).collect();
                let whole = base64::decode(text).unwrap();
                *reply = keyring(&whole[..whole.len() - n]);
            }
            Self::Answer(verb, answer) if is(command, verb) => *reply = vec![(*answer).to_owned()],
            _ => {}
        }
    }
}

fn keyring(octets: &[u8]) -> Vec<String> {
    let text = base64::encode(octets);
    let pieces = text.as_bytes().chunks(500).map(|piece| String::from_utf8_lossy(piece).into_owned());
    lines(&pieces.collect::<Vec<_>>())
}

/// Texts as a reply of as many lines.
fn lines(texts: &[String]) -> Vec<String> {
    if texts.is_empty() {
        return vec!["550 none".to_owned()];
    }
    let last = texts.len() - 1;
    let mark = |n| if n < last { '-' } else { ' ' };
    texts.iter().enumerate().map(|(n, text)| format!("220{}{text}", mark(n))).collect()
}

fn edit(reply: &mut Vec<String>, change: impl FnOnce(&mut Vec<String>)) {
    let mut texts: Vec<String> = reply.iter().map(|line| line[4..].to_owned()).collect();
    change(&mut texts);
    *reply = lines(&texts);
}

fn strip(keyword: &str, reply: &mut Vec<String>) {
    let mut texts: Vec<String> = reply.iter().map(|line| line[4..].to_owned()).collect();
    for text in &mut texts {
        if text.starts_with("AUTH") {
            let left: Vec<&str> = text.split(' ').filter(|word| *word != keyword).collect();
            *text = left.join(" ");
        }
    }
    texts.retain(|text| text != "AUTH" && text.split(' ').next() != Some(keyword));
    let last = texts.len() - 1;
    let mark = |n| if n < last { '-' } else { ' ' };
    *reply = texts.iter().enumerate().map(|(n, text)| format!("250{}{text}", mark(n))).collect();
}

/// The attacker's own key.
pub fn mallory() -> SecretKey {
    SecretKey::from_seed([66; 32])
}
