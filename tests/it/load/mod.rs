//! What a hostile or thoughtless crowd can cost the server, `sealpost serve` as a process of its own: the most memory it
//! ever held is read from /proc and kept below a stated bound, others are served meanwhile. Every load ends by itself.

mod crowd;
mod endless;
mod logins;
mod sizes;
mod slow;

use crate::server::{ALICE, ALL_PORTS, Server, Setup};
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
