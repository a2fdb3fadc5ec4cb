//! Dovecot 2.3 as the server that mail is moved from, over TLS: a private instance, run from a folder of its own.

use crate::{
    server::{ALICE, ALL_PORTS, Client, Setup},
    support::{eventually, run, run_with, sealpost, stdout, terminate},
};
use sealpost_proto::imap::{MailboxName, Names, quote_mailbox};
use serde_json::Value;
use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    io::{BufRead as _, BufReader, Read as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};
use tempfile::TempDir;

const PROGRAM: &str = "/usr/sbin/dovecot";
/// Everybody's password there.
const PASSWORD: &str = "secret";
/// Owner of mailboxes where root runs the test: an account that every Debian has.
const MAIL: u32 = 8;

struct Dovecot {
    master: Child,
    address: SocketAddr,
    _dir: TempDir,
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        terminate(self.master.id());
        drop(self.master.wait());
    }
}

impl Dovecot {
    /// With the certificate of `setup`; `users` are their names and what sets them apart.
    fn start(setup: &Setup, users: &[(&str, &str)]) -> Self {
        let version = stdout(&run(Command::new(PROGRAM).arg("--version")));
        assert!(version.starts_with("2.3."), "the settings below are those of Dovecot 2.3, not of {version}");
        let dir = TempDir::new().expect("a folder");
        let at = |name: &str| dir.path().join(name);
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("set");
        fs::create_dir(at("mail")).expect("made");
        // Whoever is not root runs all of it as himself.
        let me = rustix::process::getuid();
        let (owner, services) = if me.is_root() {
            chown(at("mail"), Some(MAIL), Some(MAIL)).expect("root");
            (format!("{MAIL}:{MAIL}"), String::new())
        } else {
            let name = |flag| stdout(&run(Command::new("id").arg(flag))).trim().to_owned();
            let services = format!(
                "default_internal_user = {0}\ndefault_internal_group = {1}\ndefault_login_user = {0}\n",
                name("-un"),
                name("-gn"),
            );
            (format!("{}:{}", me.as_raw(), rustix::process::getgid().as_raw()), services)
        };
        let line = |(name, rest): &(&str, &str)| {
            format!("{name}:{{PLAIN}}{PASSWORD}:{owner}::{}::{rest}\n", at("mail").display())
        };
        fs::write(at("users"), users.iter().map(line).collect::<String>()).expect("written");
        let address = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
        let settings = format!(
            "base_dir = {d}/run\nlog_path = {d}/log\n{services}protocols = imap\nlisten = 127.0.0.1\n\
             import_environment = TZ=UTC\nmail_fsync = never\nfirst_valid_uid = 1\nfirst_valid_gid = 1\n\
             mail_location = maildir:{d}/mail/%u\n\
             ssl = required\nssl_cert = <{cert}\nssl_key = <{key}\n\
             passdb {{\n driver = passwd-file\n args = {d}/users\n}}\n\
             userdb {{\n driver = passwd-file\n args = {d}/users\n}}\n\
             namespace inbox {{\n inbox = yes\n separator = .\n}}\n\
             service imap-login {{\n chroot =\n inet_listener imap {{\n  port = 0\n }}\n \
             inet_listener imaps {{\n  port = {port}\n }}\n}}\n\
             service anvil {{\n chroot =\n}}\n",
            d = dir.path().display(),
            cert = setup.path("cert.pem").display(),
            key = setup.path("key.pem").display(),
            port = address.port(),
        );
        fs::write(at("dovecot.conf"), settings).expect("written");
        let mut master = Command::new(PROGRAM)
            .arg("-F")
            .arg("-c")
            .arg(at("dovecot.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(at("start.log")).expect("made"))
            .spawn()
            .unwrap_or_else(|e| panic!("{PROGRAM}: {e}; `make tools` installs what tests need"));
        eventually("Dovecot", || {
            if let Some(status) = master.try_wait().expect("a child") {
                let said = |name| fs::read_to_string(at(name)).unwrap_or_default();
                panic!("Dovecot ended ({status}): {}{}", said("start.log"), said("log"));
            }
            TcpStream::connect(address).ok()
        });
        Self { master, address, _dir: dir }
    }

    fn session(&self, setup: &Setup, user: &str) -> Client {
        let mut client = Client::connect(self.address).tls(&setup.path("cert.pem"));
        let greeting = client.line();
        assert!(greeting.starts_with("* OK "), "{greeting}");
        let login = client.imap(&format!("LOGIN {user} {PASSWORD}"));
        assert!(login.contains("a OK "), "{login}");
        client
    }
}

/// A line to a server that breaks when it was told to.
struct Line {
    address: SocketAddr,
    /// How many octets each of the next connections carries down before it breaks; without an end once these are used up.
    carries: Arc<Mutex<VecDeque<u64>>>,
}

impl Line {
    fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let carries = Arc::new(Mutex::new(VecDeque::new()));
        let plan = Arc::clone(&carries);
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let octets = plan.lock().expect("no panic").pop_front().unwrap_or(u64::MAX);
                let Ok(far) = TcpStream::connect(server) else { continue };
                let pump = |from: &TcpStream, to: &TcpStream, octets: u64| {
                    let (from, mut to) = (from.try_clone()?, to.try_clone()?);
                    std::thread::spawn(move || {
                        drop(std::io::copy(&mut (&from).take(octets), &mut to));
                        // Both of its directions, at once.
                        for end in [&from, &to] {
                            drop(end.shutdown(std::net::Shutdown::Both));
                        }
                    });
                    std::io::Result::Ok(())
                };
                drop(pump(&near, &far, u64::MAX).and_then(|()| pump(&far, &near, octets)));
            }
        });
        Self { address, carries }
    }

    fn carries(&self, octets: impl IntoIterator<Item = u64>) {
        *self.carries.lock().expect("no panic") = octets.into_iter().collect();
    }
}

fn quoted(mailbox: &str) -> String {
    quote_mailbox(&MailboxName::new(mailbox).expect("a name"), Names::Utf7)
}

/// Messages that differ, made of those that the server's own tests read (and of those in the folder `SEALPOST_CORPUS`);
/// without what Dovecot does not store as it is: empty ones, and NUL.
fn messages(count: usize) -> Vec<Vec<u8>> {
    let mut corpus = Vec::new();
    let mut folders = vec![crate::tree::root().join("crates/server/tests/messages")];
    folders.extend(std::env::var_os("SEALPOST_CORPUS").map(PathBuf::from));
    for folder in folders {
        corpus.extend(super::tree(&folder).into_values().filter(|m| !m.is_empty() && !m.contains(&0)));
    }
    assert!(corpus.len() >= 15);
    (0..count)
        .map(|n| {
            let message = &corpus[n % corpus.len()];
            let number = if n < corpus.len() { String::new() } else { format!("X-Number: {n}\r\n") };
            [number.as_bytes(), message].concat()
        })
        .collect()
}

fn flags_of(n: usize) -> String {
    let all = ["\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft", "$Forwarded", "work", "a.b-c'd"];
    let has = |(bit, _): &(usize, &&str)| n.wrapping_mul(37) >> bit & 1 == 1;
    all.iter().enumerate().filter(has).map(|(_, flag)| *flag).collect::<Vec<_>>().join(" ")
}

fn date_of(n: usize) -> String {
    let zone = ["+0000", "+0530", "-1000", "+1345"][n % 4];
    format!(
        "\"{:02}-Feb-{} {:02}:{:02}:{:02} {zone}\"",
        n % 28 + 1,
        1990 + n % 30,
        n % 24,
        n % 60,
        n * 7 % 60
    )
}

/// APPEND of these to a mailbox that is made where it is not there.
fn fill(client: &mut Client, mailbox: &str, messages: &[(usize, &[u8])]) {
    let mailbox = quoted(mailbox);
    if mailbox != "\"INBOX\"" && mailbox != "INBOX" {
        let made = client.imap(&format!("CREATE {mailbox}"));
        assert!(made.contains("a OK") || made.contains("ALREADYEXISTS"), "{mailbox}: {made}");
    }
    for (n, octets) in messages {
        let head = format!("a APPEND {mailbox} ({}) {} {{{}+}}\r\n", flags_of(*n), date_of(*n), octets.len());
        client.send([head.as_bytes(), octets, b"\r\n"].concat());
    }
    for _ in messages {
        let said = client.tagged();
        assert!(said.contains("a OK "), "{mailbox}: {said}");
    }
}

/// Flags, INTERNALDATE (in UTC) and octets.
type Stored = (Vec<String>, String, Vec<u8>);

/// All of a mailbox, in its order.
fn stored(client: &mut Client, mailbox: &str) -> Vec<Stored> {
    let examined = client.imap(&format!("EXAMINE {}", quoted(mailbox)));
    assert!(examined.contains("a OK"), "{mailbox}: {examined}");
    if examined.contains("* 0 EXISTS") {
        return Vec::new();
    }
    client.send("a UID FETCH 1:* (FLAGS INTERNALDATE BODY.PEEK[])\r\n");
    let mut all = Vec::new();
    loop {
        let line = client.line();
        if line.starts_with("a ") {
            assert!(line.starts_with("a OK"), "{line}");
            return all;
        }
        let between = |from: &str, to: char| {
            line.split_once(from).and_then(|(_, rest)| rest.split_once(to)).expect("an item").0
        };
        let mut flags: Vec<String> = between("FLAGS (", ')')
            .split(' ')
            .filter(|flag| !flag.is_empty() && *flag != "\\Recent")
            .map(str::to_owned)
            .collect();
        flags.sort_unstable();
        let date = between("INTERNALDATE \"", '"').trim().to_owned();
        assert!(date.ends_with("+0000"), "{date}");
        let size = line.trim_end().trim_end_matches('}').rsplit_once('{').expect("a literal").1;
        let octets = client.octets(size.parse().expect("a size"));
        client.line();
        all.push((flags, date, octets));
    }
}

/// Imports and what goes out again, by app password.
struct Mover<'a> {
    setup: &'a Setup,
    account: String,
}

impl Mover<'_> {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = sealpost();
        command.arg("--dir").arg(self.setup.path("client")).arg("--ca-file").arg(self.setup.path("cert.pem"));
        command.arg("--json").args(args).args(["--account", &self.account, "--account-password-file"]);
        command.arg(self.setup.path("token"));
        command
    }
    fn import(&self, user: &str, at: SocketAddr, more: &[&str]) -> Command {
        let mut command = self.command(&["import"]);
        fs::write(self.setup.path("password"), PASSWORD).expect("written");
        command.args(["--from", &format!("imaps://{user}@{at}"), "--from-password-file"]);
        command.arg(self.setup.path("password")).args(more);
        command
    }
}

/// The summary of a command: messages, already there, skipped; and how often it says that it connects again.
fn summary(command: &mut Command) -> ((u64, u64, u64), usize) {
    let output = run_with(command, b"", 0);
    let text = stdout(&output);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    let last = lines.last().expect("a summary");
    let number = |name: &str| last[name].as_u64().expect("a number");
    let again = |line: &&Value| line["text"].as_str().is_some_and(|text| text.contains("trying once more"));
    ((number("messages"), number("already"), number("skipped")), lines.iter().filter(again).count())
}

/// Octets as they stand in a file: with LF where that loses nothing.
fn in_file(octets: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(octets).replace("\r\n", "");
    if text.contains(['\r', '\n']) {
        return octets.to_vec();
    }
    let mut lf = octets.to_vec();
    lf.retain(|octet| *octet != b'\r');
    lf
}

/// Messages of an mbox file, by the rules of mboxrd, without the three fields that programs keep flags in.
fn mbox(file: &[u8]) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    let mut fields = 0;
    for line in file.split_inclusive(|octet| *octet == b'\n') {
        if line.starts_with(b"From ") {
            all.push(Vec::new());
            fields = 3;
        } else if fields > 0 {
            let name = line.split(|octet| *octet == b':').next().expect("a name");
            assert!([&b"Status"[..], b"X-Status", b"X-Keywords"].contains(&name), "{name:?}");
            fields -= 1;
        } else {
            let depth = line.iter().take_while(|octet| **octet == b'>').count();
            let quoted = depth > 0 && line[depth..].starts_with(b"From ");
            all.last_mut().expect("a From line first").extend_from_slice(&line[usize::from(quoted)..]);
        }
    }
    for message in &mut all {
        // The empty line behind it.
        let end = if message.ends_with(b"\r\n") { 2 } else { 1 };
        message.truncate(message.len() - end);
    }
    all
}

fn sorted(mut all: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    all.sort_unstable();
    all
}

/// Folders at a Dovecot whose names have levels by `.`, and what they become.
const FOLDERS: [(&str, &str); 10] = [
    ("INBOX", "INBOX"),
    ("Work", "Work"),
    ("Work.2024.Invoices", "Work/2024/Invoices"),
    ("Entwürfe & R&D", "Entwürfe & R&D"),
    ("日本語.😀 party", "日本語/😀 party"),
    ("100% st*r", "100_ st_r"),
    ("quo\"ted \\ back", "quo\"ted \\ back"),
    ("{5} [Gmail] #news", "{5} [Gmail] #news"),
    ("INBOX.below", "INBOX/below"),
    ("Sent Messages", "Sent"),
];

#[test]
fn a_dovecot_moves_here_over_a_line_that_breaks_and_leaves_again_as_files() {
    const MESSAGES: usize = 500;
    let setup = Setup::new("", ALL_PORTS);
    setup.account(ALICE);
    let server = setup.start();
    let bar = "userdb_namespace/inbox/separator=| userdb_namespace/inbox/prefix=INBOX|";
    let dovecot = Dovecot::start(&setup, &[("dot", ""), ("bar", bar)]);
    let line = Line::to(dovecot.address);
    let mover = Mover {
        setup: &setup,
        account: format!("imaps://{ALICE}@127.0.0.1:{}", server.address("imaps").port()),
    };

    let messages = messages(MESSAGES);
    let mut there = dovecot.session(&setup, "dot");
    let mut source: BTreeMap<&str, Vec<Stored>> = BTreeMap::new();
    for (at, (folder, target)) in FOLDERS.iter().enumerate() {
        let own = |(n, _): &(usize, &[u8])| n % FOLDERS.len() == at;
        let all = messages.iter().map(Vec::as_slice).enumerate();
        fill(&mut there, folder, &all.filter(own).collect::<Vec<_>>());
        let stored = stored(&mut there, folder);
        assert_eq!(stored.len(), MESSAGES / FOLDERS.len());
        source.insert(target, stored);
    }
    let octets: usize = source.values().flatten().map(|(_, _, octets)| octets.len()).sum();
    let octets = octets as u64;

    // The line breaks in the middle and stays broken, and then the import is killed: some of it is there.
    line.carries([octets / 2].into_iter().chain([0; 100]));
    let mut command = mover.import("dot", line.address, &[]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let mut said = BufReader::new(child.stdout.take().expect("piped")).lines();
    let broke = said.find(|line| line.as_ref().is_ok_and(|line| line.contains("trying once more")));
    assert!(broke.is_some());
    let ended = |text: &str| text.lines().any(|line| line.starts_with("{\"end\""));
    eventually("a batch that arrived", || {
        let journals = fs::read_dir(setup.path("client/transfer")).ok()?;
        journals.flatten().any(|j| fs::read_to_string(j.path()).is_ok_and(|j| ended(&j))).then_some(())
    });
    child.kill().expect("killed");
    child.wait().expect("a child");
    // It goes on, over two connections more; and there is nothing left to do.
    line.carries([octets / 4]);
    let ((now, before, skipped), again) = summary(&mut mover.import("dot", line.address, &[]));
    assert_eq!((now + before, skipped, again), (MESSAGES as u64, 0, 1), "{now} now");
    assert!(before > 0);
    assert_eq!(summary(&mut mover.import("dot", line.address, &[])), ((0, MESSAGES as u64, 0), 0));
    let mut here = server.alice(&setup);
    for (folder, messages) in &source {
        let came = stored(&mut here, folder);
        assert!(came == *messages, "{folder}: {} came", came.len());
    }

    // Out again, as files.
    let expected: Vec<&[u8]> = source.values().flatten().map(|(_, _, octets)| octets.as_slice()).collect();
    let out = |format: &str| -> Vec<Vec<u8>> {
        let out = setup.path(format);
        let mut command = mover.command(&["export", "--format", format]);
        assert_eq!(summary(command.arg(&out)).0, (MESSAGES as u64, 0, 0));
        let files = super::tree(&out).into_iter();
        files.filter(|(path, _)| is_mail(path, format)).map(|(_, file)| file).collect()
    };
    let files = sorted(out("maildir"));
    assert!(files == sorted(expected.iter().map(|octets| in_file(octets)).collect()), "{}", files.len());
    let files = sorted(out("mbox").iter().flat_map(|file| mbox(file)).collect());
    let with_end = |octets: &&[u8]| {
        let mut octets = in_file(octets);
        if !octets.ends_with(b"\n") {
            octets.push(b'\n');
        }
        octets
    };
    assert!(files == sorted(expected.iter().map(with_end).collect()), "{}", files.len());

    // A server that keeps all below INBOX, with another separator yet.
    let mut there = dovecot.session(&setup, "bar");
    let texts: Vec<_> = messages.iter().map(Vec::as_slice).enumerate().take(3).collect();
    let folders =
        [("INBOX", "Old"), ("INBOX|x|y z", "Old/x/y z"), ("INBOX|Größe|日本語", "Old/Größe/日本語")];
    for (folder, _) in folders {
        fill(&mut there, folder, &texts);
    }
    let imported = summary(&mut mover.import("bar", line.address, &["--into", "Old"]));
    assert_eq!(imported, ((9, 0, 0), 0));
    for (folder, target) in folders {
        assert!(stored(&mut here, target) == stored(&mut there, folder), "{target}");
    }
}

/// Whether a file of an export holds mail, and not what the exporter notes for itself.
fn is_mail(path: &Path, format: &str) -> bool {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match format {
        "maildir" => ["cur", "new"].contains(&&*name(path.parent().expect("a folder"))),
        _ => !name(path).starts_with('.'),
    }
}
