//! What one session can be made to hold, at most: the places for sessions are counted by it.

use super::{Loaded, submission};
use crate::server::{ALICE, Client};

/// What the server reckons with (`MEMORY_PER_SESSION` in `crates/server/src/places.rs`).
const SESSION_KIB: u64 = 1024;
const SESSIONS: usize = 10;

/// Messages that lead the server to keep as much of them as can be, each in a way of its own; none is at its end.
fn messages() -> [(&'static str, String); 7] {
    let head = format!("From: {ALICE}\r\n");
    let multipart = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
    let part = |header: &str| format!("--b\r\n{header}\r\n\r\ntext\r\n");
    let to = format!("To: {}\r\n", "a@example.com, ".repeat(60)).repeat(270);
    let parameters: String = (0..100).map(|n| format!(";{n}=1")).fold(String::new(), |all, one| all + &one);
    let rest = "text\r\n".repeat(40_000);
    [
        ("a long header", format!("{head}{to}\r\n{rest}")),
        (
            "a long header, and long fields of parts",
            format!(
                "{head}{to}{multipart}{}",
                part(&format!("Content-Description: {}", "x".repeat(2000))).repeat(600)
            ),
        ),
        (
            "parts with many parameters",
            format!(
                "{head}{multipart}{}",
                part(&format!("Content-Type: text/plain{parameters}")).repeat(1200)
            ),
        ),
        (
            "fields of nothing",
            format!(
                "{head}{multipart}--b\r\nContent-Type: message/rfc822\r\n\r\n{}",
                "To:\r\n".repeat(50_000)
            ),
        ),
        (
            "one long field in a message within",
            format!("{head}Content-Type: message/rfc822\r\n\r\nSubject: {}", "x".repeat(900_000)),
        ),
        ("small parts, in memory", format!("{head}{multipart}{}", part("").repeat(8000))),
        (
            "messages within messages",
            format!(
                "{head}Content-Type: message/rfc822\r\n\r\n{}{rest}",
                "Content-Type: message/rfc822\r\n\r\n".repeat(100)
            ),
        ),
    ]
}

#[test]
fn a_busy_session_holds_no_more_than_is_reckoned_with() {
    for (what, message) in messages() {
        let loaded = Loaded::new("");
        let mut busy: Vec<Client> = (0..SESSIONS)
            .map(|_| {
                let mut client = submission(&loaded.server, &loaded.setup);
                client.send(format!("BDAT {}\r\n{message}", message.len()));
                // All of it has been seen.
                assert_eq!(client.reply(), "250 2.0.0 Chunk received\r\n");
                client
            })
            .collect();
        let each = loaded.server.rss_kib().saturating_sub(loaded.rest) / SESSIONS as u64;
        println!("{what}: {each} KiB for each session, {} octets", message.len());
        assert!(each < SESSION_KIB, "{what}: {each} KiB");
        // It is mail all the same.
        for client in &mut busy {
            let reply = client.smtp("BDAT 4 LAST\r\n\r\n");
            assert!(reply.starts_with("250 2.0.0"), "{what}: {reply}");
        }
        let mut alice = loaded.server.alice(&loaded.setup);
        assert!(alice.imap("SELECT INBOX").contains(&format!("* {} EXISTS", 1 + SESSIONS)));
        assert!(alice.imap("FETCH 2 (ENVELOPE BODYSTRUCTURE)").contains("a OK"));
    }
}
