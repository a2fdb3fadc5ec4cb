//! The driver's own book: every message that was handed over or begun, and what came of it. It is what the mailboxes
//! are compared with in the end.
//!
//! A message that was cut off is sent again, as every mail program does. Each attempt has a number of its own in the
//! message's header, so that of each copy in a mailbox it is known which attempt made it:
//!
//! | attempt | copies for each recipient |
//! |---|---|
//! | answered with 250 | one |
//! | cut after its last octet | one for all recipients, or none for any: the server died between commit and reply, or before |
//! | broken off or refused before | none |
//!
//! More than one copy of an attempt is only right for a recipient at the other server, where the relay's own attempt
//! was cut the same way.

use super::rng::Rng;
use std::{collections::BTreeMap, fmt::Write as _, sync::Mutex};

/// The field that names an attempt.
pub const FIELD: &str = "X-Crash-Attempt";

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// 250.
    Answered,
    /// The last octet was sent and no reply came.
    Cut,
    /// It never was whole.
    Broken,
}

/// One attempt at one message.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Which message.
    pub message: u64,
    /// Made by the client library: its octets, and the field, are inside.
    pub sealed: bool,
    /// The server that it was handed to.
    pub server: usize,
    pub from: String,
    pub to: Vec<String>,
    /// Octets of text, about.
    pub size: usize,
    pub fate: Option<Fate>,
}

/// All attempts, by number.
#[derive(Debug, Default)]
pub struct Ledger {
    attempts: Mutex<BTreeMap<u64, Attempt>>,
}

impl Ledger {
    fn attempts<T>(&self, with: impl FnOnce(&mut BTreeMap<u64, Attempt>) -> T) -> T {
        with(&mut self.attempts.lock().expect("no panic under the lock"))
    }

    /// Begins an attempt; its number.
    pub fn begin(&self, attempt: Attempt) -> u64 {
        self.attempts(|attempts| {
            let number = attempts.len() as u64 + 1;
            attempts.insert(number, attempt);
            number
        })
    }

    pub fn end(&self, number: u64, fate: Fate) {
        self.attempts(|attempts| attempts.get_mut(&number).expect("begun").fate = Some(fate));
    }

    /// All of it.
    pub fn all(&self) -> BTreeMap<u64, Attempt> {
        self.attempts(|attempts| attempts.clone())
    }

    /// Attempts that ended so.
    pub fn count(&self, fate: Fate) -> usize {
        self.attempts(|attempts| attempts.values().filter(|attempt| attempt.fate == Some(fate)).count())
    }
}

/// The octets of an attempt, always the same for the same number.
pub fn octets(seed: u64, number: u64, attempt: &Attempt) -> Vec<u8> {
    let mut rng = Rng::new(seed ^ (number << 20));
    let mut text = format!(
        "From: <{}>\r\nTo: <{}>\r\nDate: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: <{}.{}@crash.example>\r\n\
         Subject: message {}\r\n{FIELD}: {number}\r\n\r\n",
        attempt.from,
        attempt.to.join(">, <"),
        attempt.message,
        number,
        attempt.message,
    );
    let end = text.len() + attempt.size;
    while text.len() < end {
        match rng.below(12) {
            0 => text.push('.'),
            1 => text.push_str(".. stuffed"),
            2 => {}
            _ => {
                for _ in 0..=rng.below(4) {
                    let _ = write!(text, "{:016x}", rng.draw());
                }
            }
        }
        text.push_str("\r\n");
    }
    text.into_bytes()
}

/// The attempt that a message in a mailbox is of.
pub fn number_of(message: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(&message[..message.len().min(4_096)]).into_owned();
    let header = text.split("\r\n\r\n").next().unwrap_or_default();
    header.lines().find_map(|line| line.strip_prefix(FIELD)?.strip_prefix(": ")?.trim().parse().ok())
}
