//! NOTIFY through the bridge: what is told unasked speaks of what is inside, too.

use super::{Bridge, composed, straight, wait_for};
use crate::{server::Client, support::Demo};

/// What comes up to a line with these words; it must not need to be asked for.
pub(super) fn hear(client: &mut Client, words: &str) -> String {
    let mut all = String::new();
    loop {
        let line = client.line();
        assert!(!line.is_empty(), "the connection ended after {all}");
        all += &line;
        if line.contains(words) {
            return all;
        }
    }
}

#[test]
fn new_messages_are_told_of_as_they_are_inside() {
    let demo = Demo::start(&[]);
    // Nobody else opens what comes: else its keywords may be there before it is told of, and are no news then.
    let alone = ["--no-background-index"];
    let (alice, bob) = (Bridge::start(&demo, 0, &[]), Bridge::start(&demo, 1, &alone));
    let (mut program, mut server) = (bob.imap(), straight(&demo, 1));
    assert!(program.imap("CAPABILITY").contains(" NOTIFY"));
    let fetch = "UID ENVELOPE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (SUBJECT)] BODY.PEEK[TEXT]";
    let events = format!("(MessageNew ({fetch}) MessageExpunge FlagChange)");
    let answer = program
        .imap(&format!("NOTIFY SET (selected {events}) (personal (MessageNew MessageExpunge MailboxName))"));
    assert!(answer.contains("a OK "), "{answer}");
    program.imap("SELECT INBOX");
    let send = |subject: &str| {
        let reply = alice.send("alice@example.net", &["bob@example.com"], &composed(subject, "hidden words"));
        assert!(reply.starts_with("250 "), "{reply}");
    };
    send("first inside");
    let told = hear(&mut program, "BODY[TEXT]");
    assert!(told.starts_with("* 1 EXISTS\r\n"), "{told}");
    for part in ["* 1 FETCH (UID 1 ", "\"first inside\"", "RFC822.SIZE ", "Subject: first inside\r\n"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("ARRIVAL") && !told.contains("[...]"), "{told}");
    let text = hear(&mut program, "--b;1--");
    assert!(text.contains("hidden words"), "{text}");
    let end = hear(&mut program, "$Signed");
    assert!(end.contains(")\r\n"), "{end}");
    // Plain mail beside it, while the program is idle.
    program.send("a IDLE\r\n");
    hear(&mut program, "+ ");
    assert!(
        server.append(b"From: eve@example.org\r\nSubject: plain as day\r\n\r\nplain text\r\n").contains("OK")
    );
    let told = hear(&mut program, "plain text");
    assert!(told.contains("* 2 EXISTS\r\n") && told.contains("Subject: plain as day\r\n"), "{told}");
    send("third, sealed");
    let told = hear(&mut program, "--b;1--");
    assert!(told.contains("* 3 EXISTS\r\n") && told.contains("\"third, sealed\""), "{told}");
    hear(&mut program, "$Signed");
    program.send("DONE\r\n");
    assert!(hear(&mut program, "a OK ").contains("a OK "));
    // Flags and verdicts: the server's word for the one, the bridge's for the other.
    server.imap("SELECT INBOX");
    server.imap("STORE 2 +FLAGS (\\Flagged $Sealed)");
    let told = hear(&mut program, "\\Flagged");
    assert!(told.contains("* 2 FETCH (UID 2 FLAGS (\\Flagged))"), "{told}");
    // Messages go at any moment, and the next command speaks of the numbers that the program knows.
    server.imap("STORE 1 +FLAGS.SILENT (\\Deleted)");
    server.imap("EXPUNGE");
    hear(&mut program, "* 1 EXPUNGE\r\n");
    let answer = program.imap("FETCH 2 (UID ENVELOPE)");
    assert!(answer.contains("* 2 FETCH (UID 3 ENVELOPE") && answer.contains("\"third, sealed\""), "{answer}");
    send("fourth");
    let told = hear(&mut program, "--b;1--");
    assert!(told.contains("* 3 FETCH (UID 4 ") && told.contains("\"fourth\""), "{told}");
    // Other mailboxes.
    server.imap("CREATE Elsewhere");
    assert!(hear(&mut program, "* LIST ").contains("Elsewhere"));
    assert!(server.imap("COPY 1 Elsewhere").contains("a OK "));
    let told = hear(&mut program, "MESSAGES 1");
    assert!(told.contains("* STATUS Elsewhere "), "{told}");
    // What cannot be heard of is refused, and what was asked for before goes on.
    assert!(
        program
            .imap("NOTIFY SET (selected (MessageNew MessageExpunge AnnotationChange))")
            .contains("a NO [BADEVENT")
    );
    send("fifth");
    assert!(hear(&mut program, "--b;1--").contains("\"fifth\""));
    hear(&mut program, "$Signed");
    assert!(program.imap("NOTIFY NONE").contains("a OK "));
    send("sixth");
    wait_for(&mut straight(&demo, 1), 5);
    let answer = program.imap("NOOP");
    assert!(!answer.contains("EXISTS"), "{answer}");
}

#[test]
fn delayed_numbers_wait_for_a_command() {
    let demo = Demo::start(&[]);
    let (alice, bob) = (Bridge::start(&demo, 0, &[]), Bridge::start(&demo, 1, &[]));
    let (mut program, mut server) = (bob.imap(), straight(&demo, 1));
    for subject in ["one", "two"] {
        let reply = alice.send("alice@example.net", &["bob@example.com"], &composed(subject, "x"));
        assert!(reply.starts_with("250 "), "{reply}");
    }
    wait_for(&mut program, 2);
    assert!(program.imap("ENABLE QRESYNC").contains("QRESYNC"));
    let events = "(MessageNew (FLAGS PREVIEW) MessageExpunge)";
    assert!(program.imap(&format!("NOTIFY SET (selected-delayed {events})")).contains("a OK "));
    program.imap("SELECT INBOX");
    server.imap("SELECT INBOX");
    server.imap("STORE 1 +FLAGS.SILENT (\\Deleted)");
    server.imap("EXPUNGE");
    let reply = alice.send("alice@example.net", &["bob@example.com"], &composed("three", "x"));
    assert!(reply.starts_with("250 "), "{reply}");
    // MODSEQ and UID come with what is told unasked (RFC 7162 §3.2.4).
    let told = hear(&mut program, "PREVIEW");
    assert!(told.contains("* 3 EXISTS\r\n") && !told.contains("VANISHED"), "{told}");
    assert!(told.contains("* 3 FETCH (UID 3 ") && told.contains("MODSEQ ("), "{told}");
    let answer = program.imap("FETCH 3 (ENVELOPE)");
    assert!(answer.contains("\"three\"") && !answer.contains("VANISHED"), "{answer}");
    assert!(program.imap("NOOP").contains("* VANISHED 1\r\n"));
    assert!(program.imap("FETCH 2 (ENVELOPE)").contains("\"three\""));
}
