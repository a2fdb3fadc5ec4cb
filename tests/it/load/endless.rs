//! Lines, literals and lists of recipients without end.

use super::{Loaded, MIB};
use crate::server::{ALICE, Client};

/// Pushes `octets` again and again until the server has had enough of it, or 64 MiB have gone.
fn push(client: &mut Client, octets: &[u8]) -> bool {
    (0..64 * MIB / octets.len()).any(|_| client.try_send(octets).is_err())
}

/// In the clear and behind TLS.
fn both(loaded: &Loaded, clear: &str, tls: &str) -> [Client; 2] {
    let cert = loaded.setup.path("cert.pem");
    let mut both = [
        Client::connect(loaded.server.address(clear)),
        Client::connect(loaded.server.address(tls)).tls(&cert),
    ];
    for client in &mut both {
        assert!(!client.line().is_empty());
    }
    both
}

#[test]
fn endless_command_lines_are_refused_and_cut() {
    let loaded = Loaded::new("");
    for mut client in both(&loaded, "smtp", "submissions") {
        // With an end it is a mistake.
        assert_eq!(client.smtp(&format!("NOOP {}", "x".repeat(600_000))), "500 5.5.2 Line too long\r\n");
        assert!(client.smtp("NOOP").starts_with("250"));
        // A line that has none ends the session: here nothing lies behind what the server reads, so it is heard.
        client.send(format!("NOOP {}", "x".repeat(MIB)));
        assert_eq!(client.reply(), "500 5.5.2 Line too long\r\n");
        assert_eq!(client.reply(), "421 4.7.0 No end in sight, closing the connection\r\n");
        assert!(client.is_closed());
    }
    for mut client in both(&loaded, "imap", "imaps") {
        let bad = client.imap(&format!("NOOP {}", "x".repeat(600_000)));
        assert_eq!(bad, "a BAD this command is too long; split it\r\n");
        assert!(client.imap("NOOP").contains("a OK"));
        client.send(format!("a NOOP {}", "x".repeat(2 * MIB)));
        assert_eq!(client.line(), "* BYE no end of this command is in sight\r\n");
        assert!(client.is_closed());
    }
    // As fast as it goes.
    let piece = vec![b'x'; MIB];
    for mut client in both(&loaded, "smtp", "submissions").into_iter().chain(both(&loaded, "imap", "imaps")) {
        assert!(push(&mut client, &piece), "it reads a line without an end for ever");
    }
    loaded.check("endless lines");
}

#[test]
fn endless_lines_of_a_login_are_refused() {
    let loaded = Loaded::new("");
    let [_, mut smtp] = both(&loaded, "smtp", "submissions");
    smtp.smtp("EHLO client.example");
    for mechanism in ["PLAIN", "LOGIN", "HASHEDPASS"] {
        assert!(smtp.smtp(&format!("AUTH {mechanism}")).starts_with("334"));
        assert_eq!(smtp.smtp(&"x".repeat(600_000)), "500 5.5.6 Authentication line too long\r\n");
        assert!(smtp.smtp("NOOP").starts_with("250"));
    }
    assert!(smtp.smtp("AUTH PLAIN").starts_with("334"));
    assert!(push(&mut smtp, &vec![b'x'; MIB]), "it reads on for ever");
    let [_, mut imap] = both(&loaded, "imap", "imaps");
    for mechanism in ["PLAIN", "LOGIN", "HASHEDPASS"] {
        imap.send(format!("a AUTHENTICATE {mechanism}\r\n"));
        assert!(imap.line().starts_with("+ "));
        imap.send(format!("{}\r\n", "x".repeat(600_000)));
        assert_eq!(imap.line(), "a BAD this line is too long\r\n");
        assert!(imap.imap("NOOP").contains("a OK"));
    }
    imap.send("a AUTHENTICATE PLAIN\r\n");
    assert!(imap.line().starts_with("+ "));
    assert!(push(&mut imap, &vec![b'x'; MIB]), "it reads on for ever");
    loaded.check("endless lines of logins");
}

#[test]
fn literals_without_end_are_refused() {
    let loaded = Loaded::new("");
    let mut imap = loaded.server.imap();
    // Those that wait for leave do not get it.
    for literal in ["{99999999999}", "{4294967296}", "{100000000}", "{4097}"] {
        let bad = imap.imap(&format!("LOGIN {literal}"));
        assert_eq!(bad, "a BAD this literal is too long for an argument\r\n", "{literal}");
    }
    // Those that do not wait end the session.
    imap.send("a LOGIN {99999999999+}\r\n");
    assert_eq!(imap.line(), "* BYE a refused literal is too long to be skipped\r\n");
    assert!(imap.is_closed());
    let alice = || loaded.server.alice(&loaded.setup);
    let mut patient = alice();
    assert!(patient.imap("APPEND INBOX {99999999999}").contains("a NO [TOOBIG]"));
    assert!(patient.imap("NOOP").contains("a OK"));
    for literal in ["SELECT {99999999999+}", "APPEND INBOX {99999999999+}"] {
        let mut hasty = alice();
        hasty.send(format!("a {literal}\r\n"));
        assert!(hasty.line().starts_with("* BYE "), "{literal}");
        assert!(hasty.is_closed());
    }
    // One literal behind the other, each within bounds, in one command that never ends.
    let mut many = alice();
    let literal = [b" {60000+}\r\n".to_vec(), vec![b'x'; 60_000]].concat();
    many.send("a SEARCH TEXT x");
    assert!(push(&mut many, &literal), "it takes literals without an end");
    loaded.check("literals without end");
}

#[test]
fn header_lines_without_end_are_refused_and_cost_nothing() {
    let loaded = Loaded::new("");
    let mut client = loaded.server.smtp();
    for start in ["Subject: ", "", "Subject: x\r\n "] {
        assert!(client.envelope(ALICE).starts_with("250"));
        assert!(client.smtp("DATA").starts_with("354"));
        client.send(start);
        assert!(!push(&mut client, &vec![b'x'; MIB]));
        assert_eq!(client.smtp("\r\n."), "554 5.6.0 The message's header is too large\r\n", "{start}");
    }
    loaded.check("header lines of 64 MiB by SMTP");
    assert_eq!((loaded.messages(), loaded.spooled()), (1, (0, 0)));
    // What a client stores over IMAP it gets back as it is (profile §10).
    let mut alice = loaded.server.alice(&loaded.setup);
    alice.send(format!("a APPEND INBOX {{{}}}\r\n", 64 * MIB + 9));
    assert!(alice.line().starts_with('+'));
    alice.send("Subject: ");
    assert!(!push(&mut alice, &vec![b'x'; MIB]));
    alice.send("\r\n");
    assert!(alice.tagged().contains("a OK"));
    alice.imap("SELECT INBOX");
    let envelope = alice.imap("FETCH 2 (RFC822.SIZE ENVELOPE BODYSTRUCTURE)");
    assert!(envelope.contains("a OK") && envelope.len() < MIB, "{} octets", envelope.len());
    loaded.check("a header line of 64 MiB by IMAP");
}

#[test]
fn ten_thousand_recipients() {
    let loaded = Loaded::new("");
    let mut client = loaded.server.smtp();
    client.smtp("EHLO client.example");
    assert!(client.smtp("MAIL FROM:<x@example.com>").starts_with("250"));
    // Many spellings of one account, pipelined.
    let mut replies = Vec::new();
    for batch in 0..100 {
        let lines: Vec<_> =
            (0..100).map(|n| format!("RCPT TO:<alice+{batch}-{n}@example.net>\r\n")).collect();
        client.send(lines.concat());
        replies.extend((0..100).map(|_| client.reply()));
    }
    // The first thousand is taken, each further one refused for now (RFC 5321 §4.5.3.1.10).
    assert!(replies[..1000].iter().all(|reply| reply == "250 2.1.5 OK\r\n"), "{}", replies[0]);
    let refused = &replies[1000..];
    assert!(
        refused.len() == 9000 && refused.iter().all(|reply| reply == "452 4.5.3 Too many recipients\r\n")
    );
    loaded.check("10,000 recipients");
    // Those within the limit get their mail, an account once, and the session goes on.
    assert!(client.smtp("DATA").starts_with("354"));
    client.send("Subject: to many\r\n\r\ntext\r\n");
    assert!(client.smtp(".").starts_with("250"));
    assert_eq!(loaded.messages(), 2);
    assert!(client.mail(ALICE, b"Subject: to one\r\n\r\ntext\r\n").starts_with("250"));
    assert_eq!(loaded.messages(), 3);
}
