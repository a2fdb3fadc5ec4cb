//! What a hostile or thoughtless crowd can cost the server, `sealpost serve` as a process of its own: the most memory it
//! ever held is read from /proc and kept below a stated bound, others are served meanwhile. Every load ends by itself.

mod busy;
mod crowd;
mod endless;
mod logins;
mod pop3;
mod sizes;
mod slow;

use crate::server::{ALICE, ALL_PORTS, Client, Server, Setup, TOKEN};
use std::{fs, path::Path};

const MIB: usize = 1024 * 1024;
/// What each load may add, but for thousands of sessions.
const LOAD_KIB: u64 = 20 * 1024;

/// A server and what it holds at rest; [`Loaded::check`] holds what is added below a bound.
struct Loaded {
    setup: Setup,
    server: Server,
    rest: u64,
}

impl Loaded {
    fn new(more: &str) -> Self {
        let setup = Setup::new(more, ALL_PORTS);
        setup.account(ALICE);
        let server = setup.start();
        // Whatever is made at first use is made.
        let mut client = server.smtp();
        client.smtp("EHLO client.example");
        assert!(client.mail(ALICE, b"Subject: first\r\n\r\ntext\r\n").starts_with("250"));
        assert!(server.alice(&setup).imap("SELECT INBOX").contains("a OK"));
        let rest = server.rss_kib();
        Self { setup, server, rest }
    }

    /// The most that was ever held.
    fn check(&self, what: &str) {
        let peak = crate::support::peak_memory_kib(self.server.pid()).expect("it lives");
        let used = peak.saturating_sub(self.rest);
        println!("{what}: {used} KiB more than the {} KiB at rest", self.rest);
        assert!(used < LOAD_KIB, "{what}: {used} KiB");
    }

    /// Messages in Alice's INBOX; the first is ours.
    fn messages(&self) -> usize {
        let status = self.server.alice(&self.setup).imap("STATUS INBOX (MESSAGES)");
        let count = status.split_once("(MESSAGES ").and_then(|(_, rest)| rest.split_once(')'));
        count.and_then(|(count, _)| count.parse().ok()).unwrap_or_else(|| panic!("{status}"))
    }

    /// Files of messages on their way in, and their octets.
    fn spooled(&self) -> (usize, u64) {
        let files = lengths(&self.setup.path("data/tmp"));
        (files.len(), files.iter().sum())
    }
}

fn lengths(folder: &Path) -> Vec<u64> {
    let files = fs::read_dir(folder).expect("a folder");
    files.filter_map(|file| Some(file.ok()?.metadata().ok()?.len())).collect()
}

/// A connection to a port, inside TLS where that begins at once, nothing read yet.
fn connect(server: &Server, setup: &Setup, kind: &str) -> Client {
    let client = Client::connect(server.address(kind));
    if kind.ends_with('s') { client.tls(&setup.path("cert.pem")) } else { client }
}

/// A submission to somebody here and somebody elsewhere, up to the message: the server will have two copies of it.
fn submission(server: &Server, setup: &Setup) -> Client {
    let mut client = connect(server, setup, "submissions");
    assert!(client.line().starts_with("220 "));
    client.smtp("EHLO client.example");
    let login = sealpost_proto::base64::encode(format!("\0{ALICE}\0{TOKEN}").as_bytes());
    let reply = client.smtp(&format!("AUTH PLAIN {login}"));
    assert!(reply.starts_with("235"), "{reply}");
    for command in
        [&format!("MAIL FROM:<{ALICE}>"), &format!("RCPT TO:<{ALICE}>"), "RCPT TO:<bob@elsewhere.example>"]
    {
        let reply = client.smtp(command);
        assert!(reply.starts_with("250"), "{command}: {reply}");
    }
    client
}
