//! Messages of 120 MiB: refused by default, and taken where the limit says so, with the same memory.

use super::{Loaded, MIB, lengths};
use crate::server::{ALICE, Client};

const SIZE: usize = 120 * MIB;

/// 1 MiB of lines.
fn piece() -> String {
    format!("{}\r\n", "x".repeat(1022)).repeat(1024)
}

const HEAD: &str = "Subject: large\r\n\r\n";

#[test]
fn messages_of_120_mib_are_refused_and_cost_nothing() {
    let loaded = Loaded::new("");
    let mut client = loaded.server.smtp();
    client.smtp("EHLO client.example");
    // What says its size is refused before an octet of it came.
    let refusal = "552 5.3.4 The message is larger than 104857600 octets\r\n";
    assert_eq!(client.smtp(&format!("MAIL FROM:<x@example.com> SIZE={SIZE}")), refusal);
    // Without SIZE: read to its end, kept nowhere beyond the limit, refused.
    assert!(client.envelope(ALICE).starts_with("250"));
    assert!(client.smtp("DATA").starts_with("354"));
    client.send(HEAD);
    let piece = piece();
    for n in 0..SIZE / MIB {
        client.send(&piece);
        if n % 20 == 19 {
            let (files, octets) = loaded.spooled();
            assert!(files <= 1 && octets <= 101 * MIB as u64, "{octets} octets on the disk");
        }
    }
    assert_eq!(client.smtp("."), refusal, "refused at its end");
    loaded.check("120 MiB by DATA");
    assert_eq!(loaded.spooled(), (0, 0), "nothing of it is left");
    // By BDAT the size is known beforehand: nothing is written first, and the session goes on.
    assert!(client.envelope(ALICE).starts_with("250"));
    client.send(format!("BDAT {SIZE} LAST\r\n"));
    for _ in 0..SIZE / MIB {
        client.send(&piece);
        assert_eq!(loaded.spooled(), (0, 0));
    }
    assert_eq!(client.reply(), refusal);
    // In chunks that fit, each by itself: refused at the one that is too much, the rest is out of order.
    assert!(client.envelope(ALICE).starts_with("250"));
    for n in 0..SIZE / MIB {
        client.send(format!("BDAT {MIB}\r\n{piece}"));
        let reply = client.reply();
        let expected = match n {
            0..100 => "250 2.0.0 ",
            100 => refusal,
            _ => "503 5.5.1 ",
        };
        assert!(reply.starts_with(expected), "{n}: {reply}");
    }
    loaded.check("120 MiB by BDAT");
    assert_eq!(loaded.spooled(), (0, 0));
    assert!(client.smtp("NOOP").starts_with("250"));
    // By DATA and without an end: cut.
    assert!(client.envelope(ALICE).starts_with("250"));
    assert!(client.smtp("DATA").starts_with("354"));
    assert!((0..1000).any(|_| client.try_send(piece.as_bytes()).is_err()), "it reads a gigabyte");
    loaded.check("a message without an end");
    // APPEND says its size: refused before, or the session ends where the client does not wait.
    let mut alice = loaded.server.alice(&loaded.setup);
    assert!(alice.imap(&format!("APPEND INBOX {{{SIZE}}}")).contains("a NO [TOOBIG]"));
    assert!(alice.imap("NOOP").contains("a OK"));
    alice.send(format!("a APPEND INBOX {{{SIZE}+}}\r\n"));
    assert_eq!(alice.line(), "* BYE this is more than any message taken here\r\n");
    // Nothing was stored, and nobody else noticed.
    assert_eq!((loaded.messages(), loaded.spooled()), (1, (0, 0)));
    assert!(lengths(&loaded.setup.path("data")).into_iter().all(|octets| octets < 20 * MIB as u64));
}

fn append(alice: &mut Client, piece: &str, wait: &str) {
    alice.send(format!("a APPEND INBOX {{{}{wait}}}\r\n", HEAD.len() + SIZE));
    if wait.is_empty() {
        assert!(alice.line().starts_with('+'));
    }
    alice.send(HEAD);
    for _ in 0..SIZE / MIB {
        alice.send(piece);
    }
    alice.send("\r\n");
    let reply = alice.tagged();
    assert!(reply.contains("a OK [APPENDUID"), "{reply}");
}

#[test]
fn messages_of_120_mib_are_taken_where_the_limit_allows_and_cost_no_more() {
    let loaded = Loaded::new("limits.message_size = 200000000\n");
    let piece = piece();
    let mut client = loaded.server.smtp();
    client.smtp("EHLO client.example");
    assert!(client.smtp(&format!("MAIL FROM:<x@example.com> SIZE={SIZE}")).starts_with("250"));
    assert!(client.smtp(&format!("RCPT TO:<{ALICE}>")).starts_with("250"));
    assert!(client.smtp("DATA").starts_with("354"));
    client.send(HEAD);
    for _ in 0..SIZE / MIB {
        client.send(&piece);
    }
    assert!(client.smtp(".").starts_with("250"));
    loaded.check("120 MiB taken by DATA");
    let mut alice = loaded.server.alice(&loaded.setup);
    append(&mut alice, &piece, "");
    append(&mut alice, &piece, "+");
    loaded.check("120 MiB taken by APPEND");
    assert_eq!((loaded.messages(), loaded.spooled()), (4, (0, 0)));
    // And handed out again.
    assert!(alice.imap("SELECT INBOX").contains("* 4 EXISTS"));
    alice.send("a FETCH 3 (BODY.PEEK[])\r\n");
    assert!(alice.line().ends_with(&format!("{{{}}}\r\n", HEAD.len() + SIZE)));
    assert_eq!(alice.octets(HEAD.len()), HEAD.as_bytes());
    for n in 0..SIZE / MIB {
        assert!(alice.octets(MIB) == piece.as_bytes(), "MiB {n} differs");
    }
    assert!(alice.tagged().contains("a OK"));
    assert!(alice.imap("SEARCH TEXT nowhere").contains("a OK"));
    loaded.check("120 MiB handed out and searched");
}
