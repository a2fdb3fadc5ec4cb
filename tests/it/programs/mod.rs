//! Mail programs written elsewhere, against a server of ours over TLS: each does what its users do all day, and what
//! it did is read back by another session.
//!
//! The programs check the server's certificate, name and chain, as they do anywhere: the authority is the test's own,
//! and the name leads to 127.0.0.1 by a hosts file that only these processes see (nss_wrapper).

mod bridged;
mod dovecot;
mod evolution;
mod fetchers;
mod mbsync;
mod neomutt;
mod offlineimap;
mod pop3;
mod python;
mod thunderbird;

use crate::{
    server::{ALICE, ALL_PORTS, Client, Server, Setup, TOKEN},
    support::{run_with, stdout},
    tree::root,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The server's name, in its certificate too.
const HOST: &str = "mail.example.net";

/// A folder for a person's programs.
struct Home {
    folder: PathBuf,
    hosts: PathBuf,
}

impl Home {
    /// Within `parent`, beside its hosts file.
    fn new(parent: &Path) -> Self {
        let (folder, hosts) = (parent.join("home"), parent.join("hosts"));
        fs::write(&hosts, format!("127.0.0.1 {HOST} localhost\n")).expect("written");
        fs::create_dir(&folder).expect("made");
        Self { folder, hosts }
    }

    /// Below it.
    fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A file below it, which nobody else may read: some programs insist on that.
    fn write(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.at(name);
        fs::create_dir_all(path.parent().expect("below home")).expect("made");
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("set");
        path
    }

    /// A program with this home and nothing else of this process's surroundings, which finds the server by name.
    fn program(&self, name: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(name);
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", &self.folder)
            .env("LC_ALL", "C.UTF-8")
            // Scripts that share a module leave nothing in the tree.
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("LD_PRELOAD", "libnss_wrapper.so")
            .env("NSS_WRAPPER_HOSTS", &self.hosts)
            .current_dir(&self.folder);
        command
    }

    /// `tests/interop/NAME HOST PORT… CA USER`, with the password in PASSWORD.
    fn script(&self, name: &str, login: &Login, ports: &[u16]) -> Command {
        let mut python = self.program("/usr/bin/python3");
        python
            .env("PASSWORD", &login.password)
            .arg(root().join("tests/interop").join(name))
            .arg(login.host)
            .args(ports.iter().map(u16::to_string))
            .arg(&login.ca)
            .arg(&login.user);
        python
    }
}

/// What a person tells a mail program.
struct Login {
    host: &'static str,
    /// IMAP, TLS from the start.
    imap: u16,
    /// Submission, the same.
    submission: u16,
    user: String,
    password: String,
    /// The root certificate to trust.
    ca: PathBuf,
}

/// A server, Alice's account on it, and a home folder for her programs.
struct World {
    setup: Setup,
    server: Server,
    home: Home,
}

impl World {
    fn new() -> Self {
        let setup = Setup::new("", ALL_PORTS);
        certify(&setup);
        setup.account(ALICE);
        let home = Home::new(&setup.path(""));
        let server = setup.start();
        Self { setup, server, home }
    }

    /// Below Alice's home.
    fn home(&self, name: &str) -> PathBuf {
        self.home.at(name)
    }

    /// A file below Alice's home.
    fn write(&self, name: &str, text: &str) -> PathBuf {
        self.home.write(name, text)
    }

    /// What Alice's programs are told.
    fn login(&self) -> Login {
        Login {
            host: HOST,
            imap: self.port("imaps"),
            submission: self.port("submissions"),
            user: ALICE.to_owned(),
            password: TOKEN.to_owned(),
            ca: self.ca(),
        }
    }

    /// The root certificate that programs are to trust.
    fn ca(&self) -> PathBuf {
        self.setup.path("ca.pem")
    }

    fn port(&self, name: &str) -> u16 {
        self.server.address(name).port()
    }

    /// A program of Alice's.
    fn program(&self, name: impl AsRef<std::ffi::OsStr>) -> Command {
        self.home.program(name)
    }

    /// Runs a program to its end, which must be success. What it said.
    fn succeed(command: &mut Command) -> String {
        stdout(&run_with(command, b"", 0))
    }

    /// Another session of Alice's.
    fn alice(&self) -> Client {
        let mut client = Client::connect(self.server.address("imaps")).tls(&self.ca());
        assert!(client.line().starts_with("* OK "));
        assert!(client.imap(&format!("LOGIN {ALICE} {TOKEN}")).contains("a OK "));
        client
    }
}

/// An authority and a certificate from it, in place of the self-signed one: some programs take no other.
fn certify(setup: &Setup) {
    let key = || KeyPair::generate().expect("a key");
    let mut root = CertificateParams::new(Vec::new()).expect("no names");
    root.distinguished_name.push(DnType::CommonName, "Authority of a test");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = CertifiedIssuer::self_signed(root, key()).expect("a root");
    let own = key();
    let mut leaf = CertificateParams::new(vec![HOST.to_owned()]).expect("a name");
    leaf.distinguished_name.push(DnType::CommonName, HOST);
    let leaf = leaf.signed_by(&own, &root).expect("signed");
    fs::write(setup.path("ca.pem"), root.pem()).expect("written");
    fs::write(setup.path("cert.pem"), leaf.pem()).expect("written");
    fs::write(setup.path("key.pem"), own.serialize_pem()).expect("written");
}

/// A message with this number, with CRLF. All differ; some have long lines, dots and 8-bit text.
fn message(number: u32) -> String {
    let mut text = format!(
        "From: Bob <bob@example.com>\r\nTo: {ALICE}\r\nDate: Mon, 23 Nov 2026 {:02}:{:02}:{:02} +0000\r\n\
         Message-ID: <{number}@programs.example>\r\nSubject: message {number}\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nNumber {number}\r\n",
        number / 3600 % 24,
        number / 60 % 60,
        number % 60,
    );
    match number % 5 {
        0 => text += "Größe zählt.\r\n",
        1 => text += ".\r\n..\r\nFrom here on\r\n",
        2 => text += &("x".repeat(900) + "\r\n"),
        _ => {}
    }
    for line in 0..number % 7 {
        // Writing into a String cannot fail.
        let _ = write!(text, "line {line}\r\n\r\n");
    }
    text
}

/// The number of a message, by its Message-ID.
fn number_of(text: &str) -> Option<u32> {
    let line = text.lines().find_map(|line| line.strip_prefix("Message-ID: <"))?;
    line.split('@').next()?.parse().ok()
}

/// APPEND of many, without waiting for each answer.
fn append(client: &mut Client, mailbox: &str, flags: &str, numbers: impl Iterator<Item = u32> + Clone) {
    for number in numbers.clone() {
        let text = message(number);
        client.send(format!("a APPEND {mailbox} ({flags}) {{{}+}}\r\n{text}\r\n", text.len()));
    }
    for _ in numbers {
        let said = client.tagged();
        assert!(said.contains("a OK "), "{said}");
    }
}

/// What a mailbox holds, as the server tells another session: flags (sorted) by number of message.
fn flags(client: &mut Client, mailbox: &str) -> BTreeMap<u32, String> {
    let examined = client.imap(&format!("EXAMINE {mailbox}"));
    assert!(examined.contains("a OK"), "{examined}");
    if examined.contains("* 0 EXISTS") {
        return BTreeMap::new();
    }
    client.send("a FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])\r\n");
    let mut all = BTreeMap::new();
    loop {
        let line = client.line();
        if line.starts_with("a ") {
            assert!(line.starts_with("a OK"), "{line}");
            return all;
        }
        // Else news of what another session did.
        if !line.ends_with("}\r\n") {
            continue;
        }
        let flags = line.split_once("FLAGS (").and_then(|(_, rest)| rest.split_once(')')).expect("FLAGS").0;
        let mut flags: Vec<_> = flags.split(' ').filter(|flag| !flag.is_empty()).collect();
        flags.sort_unstable();
        let size = line.trim_end().trim_end_matches('}').rsplit_once('{').expect("a literal").1;
        let header = client.octets(size.parse().expect("a size"));
        let number = number_of(&String::from_utf8_lossy(&header)).expect("a message of ours");
        assert!(all.insert(number, flags.join(" ")).is_none(), "{number} is in {mailbox} twice");
        client.line();
    }
}

/// What STATUS says.
fn status(client: &mut Client, mailbox: &str) -> String {
    let said = client.imap(&format!("STATUS {mailbox} (MESSAGES UIDNEXT UIDVALIDITY UNSEEN)"));
    said.lines().next().expect("an answer").to_owned()
}

/// Every file below a folder, with its octets.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.clone(), fs::read(&path).expect("readable"));
            }
        }
    }
    files
}
