//! What large mailboxes and large messages cost over POP3: what a session holds does not grow with what it is sent.

use super::{Loaded, MIB};
use crate::server::{ALICE, Client, TOKEN};

/// Alice over POP3 and TLS.
fn alice(loaded: &Loaded) -> Client {
    let mut client = Client::connect(loaded.server.address("pop3s")).tls(&loaded.setup.path("cert.pem"));
    client.send(format!("USER {ALICE}\r\nPASS {TOKEN}\r\n"));
    for _ in 0..3 {
        let line = client.line();
        assert!(line.starts_with("+OK "), "{line}");
    }
    client
}

/// The server anew, since the sessions that made what is there held more than those that fetch it.
fn again(mut loaded: Loaded) -> Loaded {
    let setup = loaded.setup;
    assert!(loaded.server.end().success());
    loaded.server = setup.start();
    assert!(loaded.server.smtp().smtp("NOOP").starts_with("250"));
    let rest = loaded.server.rss_kib();
    Loaded { setup, server: loaded.server, rest }
}

#[test]
fn a_mailbox_of_a_hundred_thousand_messages_takes_little() {
    const MESSAGES: usize = 100_000;
    let loaded = Loaded::new("");
    let mut imap = loaded.server.alice(&loaded.setup);
    assert!(imap.imap("SELECT INBOX").contains("a OK"));
    let mut count = 1;
    while count < MESSAGES {
        let more = count.min(MESSAGES - count);
        assert!(imap.imap(&format!("UID COPY 1:{more} INBOX")).contains("a OK"));
        count += more;
    }
    drop(imap);
    let loaded = again(loaded);
    let mut client = alice(&loaded);
    for command in ["LIST", "UIDL"] {
        client.send(format!("{command}\r\n"));
        assert!(client.line().starts_with("+OK "));
        for number in 1..=MESSAGES {
            let line = client.line();
            assert!(line.starts_with(&format!("{number} ")), "{line}");
        }
        assert_eq!(client.line(), ".\r\n");
    }
    client.send(format!("RETR {MESSAGES}\r\n"));
    assert!(client.line().starts_with("+OK "));
    loaded.check("a mailbox of 100,000 messages");
}

#[test]
fn messages_of_a_hundred_megabytes_take_little() {
    const OCTETS: usize = 100_000_000;
    let loaded = Loaded::new("");
    let mut imap = loaded.server.alice(&loaded.setup);
    let line = format!(".{}\r\n", "x".repeat(997));
    imap.send(format!("a APPEND INBOX {{{OCTETS}+}}\r\n"));
    let piece = line.repeat(1000);
    for _ in 0..OCTETS / MIB {
        imap.send(&piece);
    }
    let rest = OCTETS - (OCTETS / MIB) * piece.len();
    imap.send(format!("{}\r\n\r\n", "x".repeat(rest - 2)));
    assert!(imap.tagged().contains("a OK"));
    drop(imap);
    let loaded = again(loaded);
    // Some that read nothing, and one that reads all.
    let mut idle: Vec<Client> = (0..8)
        .map(|_| {
            let mut client = alice(&loaded);
            client.send("RETR 2\r\nRETR 2\r\n");
            client
        })
        .collect();
    let mut client = alice(&loaded);
    client.send("RETR 2\r\n");
    assert_eq!(client.line(), format!("+OK {OCTETS} octets\r\n"));
    let mut octets = 0;
    loop {
        let line = client.line();
        match line.strip_prefix('.') {
            Some("\r\n") => break,
            stuffed => octets += stuffed.unwrap_or(&line).len(),
        }
    }
    assert_eq!(octets, OCTETS);
    assert!(idle.iter_mut().all(|client| client.line().starts_with("+OK ")));
    loaded.check("nine sessions with a message of 100 MB");
}
