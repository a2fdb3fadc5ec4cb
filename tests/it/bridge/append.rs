//! APPEND of several messages, REPLACE and BINARY through the bridge.

use super::{Bridge, literal, straight, without_verdict};
use crate::{server::Client, support::Demo};

/// From Bob: sealed as he files it.
fn own(subject: &str) -> String {
    format!(
        "From: bob@example.com\r\nDate: Mon, 23 Nov 2026 21:36:00 +0000\r\nMessage-ID: <{subject}@example.com>\r\n\
         Subject: {subject}\r\nMIME-Version: 1.0\r\n\r\nsecret of {subject}\r\n"
    )
}

/// From somebody else: filed as it is.
fn other(subject: &str) -> String {
    format!("From: eve@example.org\r\nSubject: {subject}\r\n\r\nplain {subject}\r\n")
}

/// A command with messages: those of `true` wait for the server's `+`.
fn append(client: &mut Client, start: &str, messages: &[(&str, &str, bool)]) -> String {
    client.send(format!("a {start}"));
    for (parameters, message, sync) in messages {
        let plus = if *sync { "" } else { "+" };
        client.send(format!("{parameters} {{{}{plus}}}\r\n", message.len()));
        if *sync {
            let line = client.line();
            if line.starts_with("a ") {
                return line;
            }
            assert!(line.starts_with('+'), "{line}");
        }
        client.send(message);
    }
    client.send("\r\n");
    client.tagged()
}

fn exists(client: &mut Client, mailbox: &str) -> String {
    client.imap("SELECT INBOX");
    let answer = client.imap(&format!("STATUS {mailbox} (MESSAGES)"));
    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn several_messages_in_one_append_are_sealed_and_stored_together() {
    let demo = Demo::start(&[]);
    let bob = Bridge::start(&demo, 1, &[]);
    let (mut program, mut server) = (bob.imap(), straight(&demo, 1));
    assert!(program.imap("CAPABILITY").contains(" MULTIAPPEND "));
    program.imap("CREATE Filed");
    let (one, two, three) = (own("one"), other("two"), own("three"));
    let answer = append(
        &mut program,
        "APPEND Filed",
        &[
            (" (\\Seen)", &one, true),
            (" \"01-Feb-2020 12:00:00 +0000\"", &two, false),
            (" ($Mine) \"02-Feb-2020 12:00:00 +0000\"", &three, true),
        ],
    );
    assert!(answer.contains("a OK [APPENDUID ") && answer.contains(" 1:3]"), "{answer}");
    server.imap("SELECT Filed");
    let kept = server.imap("FETCH 1:* (FLAGS INTERNALDATE BODY.PEEK[])");
    assert!(!kept.contains("secret of") && kept.contains("plain two"), "{kept}");
    assert!(
        kept.contains("$Mine") && kept.contains("01-Feb-2020 12") && kept.contains("02-Feb-2020 12"),
        "{kept}"
    );
    program.imap("SELECT Filed");
    for (number, message) in [(1, &one), (3, &three)] {
        let shown = literal(&program.imap(&format!("FETCH {number} (BODY.PEEK[])")), "BODY[]");
        assert_eq!(without_verdict(&shown), **message);
    }
    assert!(program.imap("SEARCH BODY secret").contains("* SEARCH 1 3\r\n"));

    // One that is refused takes the others with it, wherever it is noticed, and the session goes on.
    let good = own("good");
    let with_nul = own("nul").replace("secret", "sec\0ret");
    for (last, parameters, reply) in [
        (with_nul.as_str(), "", "a BAD NUL"),
        ("", "", "a NO [CANNOT] An empty message"),
        (good.as_str(), " (\\Recent)", "a BAD "),
        (good.as_str(), " \"no date\"", "a BAD "),
    ] {
        for sync in [true, false] {
            // Where nothing waits, one more is on its way when the fault is seen.
            let messages = [("", good.as_str(), sync), (parameters, last, sync), ("", good.as_str(), false)];
            let count = if sync { 2 } else { 3 };
            let answer = append(&mut program, "APPEND Filed", &messages[..count]);
            assert!(answer.contains(reply), "{reply}: {answer}");
            assert!(program.imap("NOOP").contains("a OK "), "{reply}");
        }
    }
    let answer = append(&mut program, "APPEND Nowhere", &[("", &good, false), ("", &good, false)]);
    assert!(answer.contains("a NO [TRYCREATE]"), "{answer}");
    assert!(exists(&mut server, "Filed").contains("MESSAGES 3"));
}

#[test]
fn a_draft_is_replaced_by_its_next_state_in_one_step() {
    let demo = Demo::start(&[]);
    let bob = Bridge::start(&demo, 1, &[]);
    let (mut program, mut server) = (bob.imap(), straight(&demo, 1));
    for state in ["first", "second"] {
        assert!(
            append(&mut program, "APPEND Drafts", &[(" (\\Draft)", &own(state), true)]).contains("a OK ")
        );
    }
    // No mailbox is open.
    assert!(append(&mut program, "REPLACE 1 Drafts", &[("", &own("x"), false)]).contains("a BAD "));
    program.imap("SELECT Drafts");
    server.imap("SELECT Drafts");
    let third = own("third");
    let answer = append(&mut program, "REPLACE 1 Drafts", &[(" (\\Draft \\Seen)", &third, true)]);
    for told in ["* OK [APPENDUID ", "* 1 EXPUNGE\r\n", "a OK "] {
        assert!(answer.contains(told), "{told}: {answer}");
    }
    let shown = literal(&program.imap("FETCH 2 (UID FLAGS BODY.PEEK[])"), "BODY[]");
    assert_eq!(without_verdict(&shown), third);
    let answer = server.imap("NOOP");
    assert!(answer.contains("* 1 EXPUNGE"), "{answer}");
    let kept = server.imap("FETCH 1:* (UID FLAGS BODY.PEEK[])");
    assert!(kept.contains("UID 3") && kept.contains("BEGIN AGE") && !kept.contains("secret of"), "{kept}");
    // By UID, into another mailbox; what is not there is left alone, and nothing comes.
    let answer = append(&mut program, "UID REPLACE 3 Sent", &[(" (\\Seen)", &own("sent"), false)]);
    assert!(answer.contains("EXPUNGE") && answer.contains("a OK "), "{answer}");
    let answer = append(&mut program, "UID REPLACE 99 Sent", &[("", &own("lost"), false)]);
    assert!(answer.contains("a NO "), "{answer}");
    let (one, two) = (own("one"), own("two"));
    let answer = append(&mut program, "REPLACE * Sent", &[("", &one, false), ("", &two, false)]);
    assert!(answer.contains("a NO ") || answer.contains("a BAD "), "{answer}");
    assert!(exists(&mut server, "Sent").contains("MESSAGES 1"));
    assert!(exists(&mut server, "Drafts").contains("MESSAGES 1"));
    program.imap("SELECT Drafts");
    assert!(program.imap("SEARCH SUBJECT second").contains("* SEARCH 1\r\n"));
}

/// A message with parts in all encodings.
fn parts(from: &str, octets: usize) -> String {
    let line =
        format!("{}\r\n", "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0");
    let large = line.repeat(octets / 57 + 1);
    format!(
        "From: {from}\r\nDate: Mon, 23 Nov 2026 21:36:00 +0000\r\nMessage-ID: <parts@x.example>\r\nSubject: parts\r\n\
         MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
         x =3D b=\r\nc\r\n--b\r\nContent-Type: application/octet-stream\r\n\
         Content-Transfer-Encoding: base64 (of something)\r\n\r\naGVsbG8AZA==\r\n--b\r\n\
         Content-Type: application/x\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\nbegin\r\n--b\r\n\
         Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n{large}--b\r\n\
         Content-Type: message/rfc822\r\n\r\nSubject: inner\r\nContent-Transfer-Encoding: base64\r\n\r\naGk=\r\n--b--\r\n"
    )
}

#[test]
fn parts_come_without_their_encoding_as_from_the_server() {
    let demo = Demo::start(&[]);
    let bob = Bridge::start(&demo, 1, &[]);
    let (mut program, mut server) = (bob.imap(), straight(&demo, 1));
    program.imap("CREATE Mixed");
    program.imap("CREATE Same");
    // The large part is longer than what is kept in memory.
    for from in ["bob@example.com", "eve@example.org"] {
        let message = parts(from, 1_200_000);
        assert!(append(&mut program, "APPEND Mixed", &[("", &message, true)]).contains("a OK "));
        assert!(append(&mut server, "APPEND Same", &[("", &message, true)]).contains("a OK "));
    }
    assert!(program.imap("SELECT Mixed").contains("* 2 EXISTS"));
    assert!(server.imap("SELECT Same").contains("* 2 EXISTS"));
    let mut other = straight(&demo, 1);
    other.imap("SELECT Mixed");
    assert!(other.imap("FETCH 1 (BODY.PEEK[TEXT]<0.60>)").contains("BEGIN AGE"));
    program.imap("FETCH 1:* (ENVELOPE)");
    let items = |answer: &str| -> String {
        // The bridge tells UIDs first, and the news of flags; what follows the parenthesis is in the order asked for.
        let lines = answer.split_inclusive("\r\n").filter(|line| !line.contains("FLAGS ("));
        lines.collect::<String>().replace("(UID 1 ", "(").replace("(UID 2 ", "(")
    };
    for message in [1, 2] {
        for asked in [
            "BINARY.SIZE[1] BINARY.SIZE[2] BINARY.SIZE[4] BINARY.SIZE[5] BINARY.SIZE[9] BINARY.PEEK[9]",
            "BINARY.PEEK[1]",
            "BINARY.PEEK[2]",
            "BINARY.PEEK[2]<0.4>",
            "BINARY.PEEK[2]<3.100>",
            "BINARY.PEEK[2]<99.1>",
            "BINARY.PEEK[4]",
            "BINARY.PEEK[4]<1000000.70>",
            "BINARY.PEEK[4]<5.1100000>",
            "BINARY.PEEK[5] BINARY.PEEK[5.1]",
            "BINARY.PEEK[1] BINARY.PEEK[3] BODY.PEEK[3]",
        ] {
            let command = format!("FETCH {message} ({asked})");
            let (through, straight) = (program.imap(&command), server.imap(&command));
            let (through, straight) = (items(&through), items(&straight));
            let end = |answer: &str| {
                answer.lines().last().map(|line| line.trim_end_matches(" done").replace(" completed", ""))
            };
            assert_eq!(end(&through), end(&straight), "{command}");
            let told = |answer: &str| answer.rsplit_once("\r\na ").map(|(told, _)| told.to_owned());
            assert!(told(&through) == told(&straight), "{command}: {through:.300} {straight:.300}");
        }
        let whole = program.imap(&format!("FETCH {message} (BINARY.PEEK[] BODY.PEEK[] BINARY.SIZE[])"));
        assert_eq!(literal(&whole, "BINARY[]"), literal(&whole, "BODY[]"));
    }
    let answer = program.imap("FETCH 1:2 (BINARY.PEEK[3])");
    assert!(answer.contains("a NO [UNKNOWN-CTE]"), "{answer}");
    // Reading it marks it as read, for all to see.
    assert!(program.imap("FETCH 1 (BINARY.PEEK[1] BINARY.SIZE[1])").contains("BINARY[1] {6}"));
    assert!(other.imap("SEARCH SEEN").contains("* SEARCH\r\n"));
    assert!(program.imap("FETCH 1 (FLAGS BINARY[1])").contains("BINARY[1] {6}"));
    let answer = other.imap("SEARCH SEEN");
    assert!(answer.contains("* SEARCH 1\r\n"), "{answer}");
}

#[test]
fn messages_with_nul_are_taken_as_literal8() {
    let demo = Demo::start(&[]);
    let bob = Bridge::start(&demo, 1, &[]);
    let (mut program, mut server) = (bob.imap(), straight(&demo, 1));
    program.imap("CREATE Filed");
    let bodies = ["bob@example.com", "eve@example.org"].map(|from| {
        format!(
            "From: {from}\r\nDate: Mon, 23 Nov 2026 21:36:00 +0000\r\nMessage-ID: <nul@x.example>\r\n\
             MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n\
             a\0b\r\n"
        )
    });
    for message in &bodies {
        program.send(format!("a APPEND Filed ~{{{}+}}\r\n{message}\r\n", message.len()));
        let answer = program.tagged();
        assert!(answer.contains("a OK [APPENDUID"), "{answer}");
    }
    server.imap("SELECT Filed");
    let kept = server.imap("FETCH 1:2 (BODY.PEEK[TEXT])");
    assert!(kept.contains("BEGIN AGE") && kept.contains("a\0b"), "{kept}");
    program.imap("SELECT Filed");
    for number in [1, 2] {
        let answer = program.imap(&format!("FETCH {number} (BINARY.PEEK[1])"));
        assert!(answer.contains("BINARY[1] ~{5}\r\na\0b\r\n"), "{answer:?}");
    }
}

#[test]
fn what_cannot_be_sealed_as_ones_own_is_kept_whole_within() {
    let demo = Demo::start(&[]);
    let bob = Bridge::start(&demo, 1, &[]);
    let (mut program, mut server) = (bob.imap(), straight(&demo, 1));
    program.imap("CREATE Filed");
    let sealed = |text: &str| format!("Sealpost-Verdict: good; sealed; and signed\r\n{text}");
    // Of others, as it came out of the bridge once; and drafts that no signature would hold.
    let messages = [
        sealed(&other("came")),
        sealed("To: x@y.example, \r\nSubject: nobody\r\n\r\nplain of nobody\r\n").replace("To:", "From:"),
        own("odd").replace("Subject:", "Subject: two\r\nSubject:"),
        own("id").replace("<id@example.com>", "no id"),
        own("long").replace("Subject:", &format!("X-Long: {}\r\nSubject:", "x".repeat(300_000))),
    ];
    for message in &messages {
        assert!(append(&mut program, "APPEND Filed (\\Seen)", &[("", message, false)]).contains("a OK "));
    }
    let kept = server.messages("Filed", "(BODY.PEEK[])");
    for octets in &kept {
        let text = String::from_utf8_lossy(octets);
        let open = ["plain came", "plain of", "secret of", "eve@", "(kept)"]
            .iter()
            .any(|secret| text.contains(secret));
        assert!(text.contains("BEGIN AGE") && !open, "{text}");
    }
    program.imap("SELECT Filed");
    for (number, message) in (1..).zip(&messages) {
        let answer = program.imap(&format!("FETCH {number} (BODY.PEEK[] BODYSTRUCTURE)"));
        assert!(answer.to_lowercase().contains("(\"message\" \"rfc822\""), "{answer:.500}");
        let shown = literal(&answer, "BODY[]");
        assert!(shown.starts_with("Sealpost-Verdict: good; sealed"), "{shown:.500}");
        let (head, within) = shown.split_once("\r\n\r\n").expect("a header");
        assert!(head.contains("(kept)\" <bob@example.com>"), "{head}");
        assert_eq!(within, message);
    }
    // Mail of others that was never sealed stays as it is, odd or not.
    let odd = format!("From: x@y.example\r\n{}", other("odd"));
    assert!(append(&mut program, "APPEND Filed", &[("", &odd, true)]).contains("a OK "));
    assert_eq!(server.messages("Filed", "(BODY.PEEK[])").last(), Some(&odd.into_bytes()));
}
