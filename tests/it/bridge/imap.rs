//! Reading through the bridge.

use super::{Bridge, composed, literal, wait_for, without_verdict};
use crate::{server::Client, support::Demo};

/// Bob's mailbox as his mail server shows it.
fn straight(demo: &Demo) -> Client {
    super::straight(demo, 1)
}

#[test]
fn what_was_composed_comes_out_octet_for_octet_and_lies_sealed_in_between() {
    let demo = Demo::start(&[]);
    let (alice, bob) = (Bridge::start(&demo, 0, &[]), Bridge::start(&demo, 1, &[]));
    let message =
        composed("Grüße aus Basel", "Hallo Bob, topic77\r\n\r\nnothing of this may lie on a server");
    let reply = alice.send("alice@example.net", &["bob@example.com"], &message);
    assert!(reply.starts_with("250 "), "{reply}");

    let mut program = bob.imap();
    wait_for(&mut program, 1);
    let answer = program.imap("FETCH 1 (UID BODY.PEEK[] RFC822.SIZE)");
    let shown = literal(&answer, "BODY[]");
    assert_eq!(without_verdict(&shown), message);
    assert!(answer.contains(&format!("RFC822.SIZE {}", shown.len())), "{answer}");
    // Every other way to ask speaks of the same octets.
    let head = shown.find("\r\n\r\n").expect("a header") + 4;
    let (header, body) = shown.split_at(head);
    let answer = program.imap("UID FETCH 1 (BODY.PEEK[HEADER] BODY.PEEK[TEXT] BODY.PEEK[TEXT]<5.7>)");
    assert_eq!(literal(&answer, "BODY[HEADER]"), header);
    assert_eq!(literal(&answer, "BODY[TEXT]"), body);
    assert_eq!(literal(&answer, "BODY[TEXT]<5>"), &body[5..12]);
    let answer = program.imap(
        "FETCH 1 (BODY.PEEK[1] BODY.PEEK[2] BODY.PEEK[2.MIME] BODY.PEEK[3] BODY.PEEK[HEADER.FIELDS (TO)])",
    );
    assert!(literal(&answer, "BODY[1]").starts_with("Hallo Bob, topic77\r\n"), "{answer}");
    assert_eq!(literal(&answer, "BODY[2]"), "AAEC");
    assert!(literal(&answer, "BODY[2.MIME]").starts_with("Content-Type: application/octet-stream\r\n"));
    assert!(answer.contains("BODY[3] NIL"), "{answer}");
    assert_eq!(literal(&answer, "BODY[HEADER.FIELDS (TO)]"), "To: Bob <bob@example.com>\r\n\r\n");
    let answer = program.imap("FETCH 1 (ENVELOPE BODYSTRUCTURE BODY)");
    assert!(answer.contains("Grüße aus Basel"), "{answer}");
    assert!(answer.contains("\"a.bin\"") && answer.contains("BODY (("), "{answer}");
    assert!(!answer.contains("age"), "{answer}");

    // On the server it is sealed, and has the keywords that tell so.
    let mut server = straight(&demo);
    server.imap("SELECT INBOX");
    let answer = server.imap("FETCH 1 (FLAGS BODY.PEEK[])");
    let kept = literal(&answer, "BODY[]");
    assert!(kept.contains("-----BEGIN AGE ENCRYPTED FILE-----"), "{kept}");
    for secret in ["Basel", "topic77", "nothing of this", "AAEC"] {
        assert!(!kept.contains(secret), "{secret} lies on the server");
    }
    assert!(answer.contains("$Sealed") && answer.contains("$Signed"), "{answer}");

    // What the server says of verdicts counts for nothing: neither what it takes away nor what it makes up.
    assert!(server.append(b"From: alice@example.net\r\nSubject: forged\r\n\r\nx\r\n").contains("OK"));
    assert!(server.imap("STORE 1 -FLAGS ($Sealed $Signed)").contains("a OK "));
    assert!(server.imap("STORE 2 +FLAGS ($Sealed $Signed)").contains("a OK "));
    wait_for(&mut program, 2);
    let answer = program.imap("FETCH 1:2 (FLAGS)");
    let of = |number: u32| {
        answer.lines().find(|line| line.starts_with(&format!("* {number} FETCH"))).expect("there")
    };
    assert!(of(1).contains("$Sealed") && of(1).contains("$Signed"), "{answer}");
    assert!(!of(2).contains("$Sealed") && !of(2).contains("$Signed"), "{answer}");
    assert!(program.imap("SEARCH KEYWORD $Signed").contains("* SEARCH 1\r\n"));
    assert!(program.imap("SEARCH UNKEYWORD $Sealed").contains("* SEARCH 2\r\n"));
}

#[test]
fn searches_find_what_is_inside_and_flags_pass_through() {
    let demo = Demo::start(&[]);
    let (alice, bob) = (Bridge::start(&demo, 0, &[]), Bridge::start(&demo, 1, &[]));
    for (subject, body) in
        [("first", "about apples"), ("second", "about pears"), ("third", "apples and pears")]
    {
        let reply = alice.send("alice@example.net", &["bob@example.com"], &composed(subject, body));
        assert!(reply.starts_with("250 "), "{reply}");
    }
    // Plain mail stands among it, as another program filed it.
    let mut server = straight(&demo);
    let plain = b"From: eve@example.org\r\nSubject: apples in plain\r\n\r\nabout plums\r\n";
    assert!(server.append(plain).contains("OK"));
    let mut program = bob.imap();
    wait_for(&mut program, 4);
    // Mail arrives in the order in which servers finish.
    let order = program.imap("FETCH 1:* (ENVELOPE)");
    let number = |subject: &str| -> u32 {
        let line = order.lines().find(|line| line.contains(&format!("\"{subject}\""))).expect("there");
        line.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("a number")
    };
    let found = |program: &mut Client, search: &str| -> Vec<u32> {
        let answer = program.imap(&format!("SEARCH {search}"));
        let line =
            answer.lines().find(|line| line.starts_with("* SEARCH")).unwrap_or_else(|| panic!("{answer}"));
        line.split(' ').skip(2).map(|n| n.trim().parse().expect("a number")).collect()
    };
    let mut of = |search: &str, subjects: &[&str]| {
        let mut want: Vec<u32> = subjects.iter().map(|subject| number(subject)).collect();
        want.sort_unstable();
        assert_eq!(found(&mut program, search), want, "{search}");
    };
    of("BODY apples", &["first", "third"]);
    of("TEXT apples", &["first", "third", "apples in plain"]);
    of("SUBJECT apples", &["apples in plain"]);
    of("BODY apples NOT SUBJECT first", &["third"]);
    of("OR SUBJECT second BODY plums", &["second", "apples in plain"]);
    of("NOT BODY pears", &["first", "apples in plain"]);
    of("SENTON 23-Nov-2026", &["first", "second", "third"]);
    of("BODY BEGIN", &[]);
    let answer = program.imap(&format!("STORE {} +FLAGS (\\Flagged mine)", number("third")));
    assert!(answer.contains("\\Flagged") && answer.contains("mine"), "{answer}");
    let answer = program.imap("UID SEARCH RETURN (COUNT ALL) FLAGGED BODY apples");
    assert!(answer.contains("COUNT 1"), "{answer}");
    server.imap("SELECT INBOX");
    assert!(server.imap("FETCH 1:* (FLAGS)").contains("mine"));
    // NeoMutt's way, in which no CHARSET may be named (RFC 6855 §3).
    assert!(program.imap("ENABLE UTF8=ACCEPT").contains("* ENABLED UTF8=ACCEPT"));
    let answer = program.imap("UID SEARCH BODY \"and pears\"");
    assert!(answer.contains(&format!("* SEARCH {}\r\n", number("third"))), "{answer}");
}

#[test]
fn drafts_are_sealed_and_come_back_as_they_were() {
    let demo = Demo::start(&[]);
    let bob = Bridge::start(&demo, 1, &[]);
    let mut program = bob.imap();
    let draft = "From: bob@example.com\r\nBcc: eve@example.org\r\nDate: Mon, 23 Nov 2026 21:36:00 +0000\r\n\
                 Message-ID: <draft@example.com>\r\nSubject: half a thought\r\nMIME-Version: 1.0\r\n\r\nnobody knows\r\n";
    for state in 1..=3 {
        let text = draft.replace("half", &format!("{state} halves of"));
        program.send(format!("a APPEND Drafts (\\Draft \\Seen) {{{}}}\r\n", text.len()));
        assert!(program.line().starts_with('+'));
        program.send(format!("{text}\r\n"));
        assert!(program.tagged().contains("OK [APPENDUID "));
    }
    let mut server = straight(&demo);
    server.imap("SELECT Drafts");
    let kept = server.imap("FETCH 1:* (BODY.PEEK[])");
    assert!(!kept.contains("nobody knows") && !kept.contains("eve@") && !kept.contains("halves"), "{kept}");
    program.imap("SELECT Drafts");
    for state in 1..=3 {
        // Many states under one Message-ID, and none of them looks like a replay.
        let shown = literal(&program.imap(&format!("FETCH {state} (FLAGS BODY.PEEK[])")), "BODY[]");
        assert!(shown.starts_with("Sealpost-Verdict: good; sealed"), "{shown}");
        assert_eq!(without_verdict(&shown), draft.replace("half", &format!("{state} halves of")));
    }
    assert!(program.imap("SEARCH TEXT \"2 halves\"").contains("* SEARCH 2\r\n"));
    // What another wrote is filed as it is.
    let mail = "From: eve@example.org\r\nSubject: from elsewhere\r\n\r\nx\r\n";
    assert!(program.append(mail.as_bytes()).contains("OK"));
    server.imap("SELECT INBOX");
    assert_eq!(literal(&server.imap("FETCH 1 (BODY.PEEK[])"), "BODY[]"), mail);
}

#[test]
fn a_second_look_asks_the_server_for_no_message() {
    let demo = Demo::start(&[]);
    let (alice, bob) = (Bridge::start(&demo, 0, &[]), Bridge::start(&demo, 1, &[]));
    assert!(alice.send("alice@example.net", &["bob@example.com"], &composed("one", "x")).starts_with("250 "));
    let mut program = bob.imap();
    wait_for(&mut program, 1);
    let first = program.imap("FETCH 1 (ENVELOPE RFC822.SIZE BODYSTRUCTURE)");
    let envelope = |answer: &str| answer.lines().find(|line| line.contains("ENVELOPE")).map(str::to_owned);
    // Damage to the index is mended; a new bridge finds the old one's index, password and ports.
    let (ports, password) = (bob.json["imap"].clone(), bob.json["accounts"].clone());
    drop(bob);
    let bob = Bridge::start(&demo, 1, &[]);
    assert_eq!((&bob.json["imap"], &bob.json["accounts"]), (&ports, &password));
    let mut program = bob.imap();
    program.imap("SELECT INBOX");
    let again = program.imap("FETCH 1 (ENVELOPE RFC822.SIZE BODYSTRUCTURE)");
    assert_eq!(envelope(&first), envelope(&again));
    drop(bob);
    let index = std::path::Path::new(&demo.user(1, "client_dir")).join("bridge/index.sqlite");
    std::fs::write(&index, b"damage").expect("written");
    let bob = Bridge::start(&demo, 1, &[]);
    let mut program = bob.imap();
    program.imap("SELECT INBOX");
    let mended = program.imap("FETCH 1 (ENVELOPE RFC822.SIZE BODYSTRUCTURE)");
    assert_eq!(envelope(&first), envelope(&mended));
}

#[test]
fn a_wrong_password_and_odd_commands_are_refused() {
    let demo = Demo::start(&[]);
    let bob = Bridge::start(&demo, 1, &[]);
    let mut stranger = Client::connect(bob.address("imap")).tls(&bob.ca());
    assert!(stranger.line().contains("AUTH=PLAIN"));
    assert!(stranger.imap("SELECT INBOX").contains("a BAD "));
    // Not the account's own password either: no program gets to try it.
    let own = demo.user(1, "password").replace(' ', "-");
    assert!(stranger.imap(&format!("LOGIN bob@example.com \"{own}\"")).contains("AUTHENTICATIONFAILED"));
    let mut program = bob.imap();
    for command in [
        "SORT (DATE) UTF-8 ALL",
        "THREAD REFERENCES UTF-8 ALL",
        "COMPRESS DEFLATE",
        "FETCH 1 (BODY[]",
        "XYZZY",
        "LOGIN a b",
    ] {
        let answer = program.imap(command);
        assert!(answer.contains("a BAD ") || answer.contains("a NO "), "{command}: {answer}");
    }
    assert!(program.imap("NOOP").contains("a OK "));
    assert!(program.imap("LOGOUT").contains("* BYE"));
}

#[test]
fn idle_wakes_through_the_bridge() {
    let demo = Demo::start(&[]);
    let (alice, bob) = (Bridge::start(&demo, 0, &[]), Bridge::start(&demo, 1, &[]));
    let mut program = bob.imap();
    program.imap("SELECT INBOX");
    program.send("a IDLE\r\n");
    assert!(program.line().starts_with('+'));
    assert!(
        alice.send("alice@example.net", &["bob@example.com"], &composed("wake up", "x")).starts_with("250 ")
    );
    let told = program.line();
    assert!(told.contains("EXISTS"), "{told}");
    program.send("DONE\r\n");
    assert!(program.tagged().contains("a OK "));
}
