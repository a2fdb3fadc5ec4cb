//! What the home server holds for a session beside its mailbox (NOTIFY, saved results) outlives the connection.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails where the fault is")]

use super::{
    lost::{PLAIN, file},
    notify::hear,
    reconnect::behind_a_line,
};
use crate::{server::Client as Program, support::eventually};
use sealpost_hostile::Line;

/// Bob's own, which is sealed as he files it.
fn own(subject: &str) -> String {
    format!(
        "From: bob@example.com\r\nDate: Mon, 23 Nov 2026 21:36:00 +0000\r\nMessage-ID: <{subject}@example.com>\r\n\
         Subject: {subject}\r\nMIME-Version: 1.0\r\n\r\nx\r\n"
    )
}

fn ok(client: &mut Program, command: &str) -> String {
    let answer = client.imap(command);
    assert!(answer.contains("a OK "), "{command}: {answer}");
    answer
}

/// Something happens while the line is down and the bridge has noticed.
fn while_down(line: &Line, work: impl FnOnce()) {
    let refused = line.refused();
    line.down();
    eventually("an attempt", || (line.refused() > refused).then_some(()));
    work();
    line.mend();
}

#[tokio::test(flavor = "multi_thread")]
async fn news_that_was_asked_for_goes_on_and_what_was_missed_is_told() {
    let (_world, line, bob, (_elsewhere, mut other)) = behind_a_line().await;
    let mut program = bob.imap();
    for mailbox in ["Here", "There", "Doomed"] {
        ok(&mut other, &format!("CREATE {mailbox}"));
    }
    file(&mut other, "Here", PLAIN);
    let events = "(MessageNew (UID ENVELOPE) MessageExpunge FlagChange)";
    let others = "(personal (MessageNew MessageExpunge MailboxName SubscriptionChange))";
    ok(&mut program, &format!("NOTIFY SET (selected {events}) {others}"));
    ok(&mut program, "SELECT Here");
    while_down(&line, || {
        file(&mut other, "Here", &own("missed"));
        file(&mut other, "There", PLAIN);
        ok(&mut other, "CREATE New");
        ok(&mut other, "DELETE Doomed");
        ok(&mut other, "SELECT Here");
        ok(&mut other, "STORE 1 +FLAGS (\\Flagged)");
    });
    let mut told = hear(&mut program, "\"missed\"");
    // In any order; what is fetched comes last.
    for part in [
        "* 2 EXISTS\r\n",
        "* 1 FETCH (UID 1 FLAGS (\\Flagged))",
        "* STATUS There (",
        "* LIST (\\NonExistent) \"/\" Doomed\r\n",
        "\"/\" New\r\n",
        "* 2 FETCH (UID 2 ENVELOPE",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(told.contains("MESSAGES 1") && !told.contains("\"/\" Here"), "{told}");
    // It goes on over the new connection.
    file(&mut other, "Here", &own("later"));
    told = hear(&mut program, "\"later\"");
    assert!(told.contains("* 3 EXISTS\r\n") && told.contains("* 3 FETCH (UID 3 ENVELOPE"), "{told}");
    ok(&mut other, "CREATE Newer");
    hear(&mut program, "\"/\" Newer");
    // What was told is no news.
    while_down(&line, || file(&mut other, "There", PLAIN));
    told = hear(&mut program, "MESSAGES 2");
    assert!(!told.contains("* LIST") && !told.contains("EXISTS"), "{told}");
    ok(&mut program, "NOTIFY NONE");
    line.cut();
    assert!(!ok(&mut program, "NOOP").contains("STATUS"));

    // Of annotations that changed meanwhile nobody would hear.
    let mut program = bob.imap();
    ok(&mut program, "NOTIFY SET (personal (MessageNew MessageExpunge ServerMetadataChange))");
    line.cut();
    hear(&mut program, "* BYE [UNAVAILABLE]");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_saved_is_saved_again() {
    let (_world, line, bob, (_elsewhere, mut other)) = behind_a_line().await;
    let mut program = bob.imap();
    ok(&mut other, "CREATE Saved");
    for message in [PLAIN, PLAIN, &own("one"), PLAIN, &own("two")] {
        file(&mut other, "Saved", message);
    }
    ok(&mut program, "SELECT Saved");
    ok(&mut program, "STORE 2,4 +FLAGS.SILENT (\\Flagged)");
    let uids = |program: &mut Program| {
        let answer = ok(program, "UID SEARCH RETURN (ALL) $");
        answer.lines().find_map(|line| line.split_once(" ALL ")).map_or("", |(_, all)| all.trim()).to_owned()
    };
    for (command, saved) in [
        ("SEARCH RETURN (SAVE) FLAGGED", "2,4"),
        ("UID SEARCH RETURN (SAVE MIN) UNFLAGGED", "1"),
        // Of content, which the bridge knows.
        ("SEARCH RETURN (SAVE COUNT) SUBJECT t", "5"),
        ("SORT RETURN (SAVE) (SUBJECT) UTF-8 ALL", "1:5"),
        ("SEARCH RETURN (SAVE) KEYWORD $Nothing", ""),
        ("SEARCH RETURN (SAVE) FLAGGED", "2,4"),
    ] {
        ok(&mut program, command);
        assert_eq!(uids(&mut program), saved, "{command}");
        for _ in 0..2 {
            line.cut();
            assert_eq!(uids(&mut program), saved, "{command}");
        }
    }
    // A command that uses it is carried out anew by it.
    ok(&mut other, "CREATE Copies");
    line.cut();
    assert!(ok(&mut program, "COPY $ Copies").contains("[COPYUID "));
    assert!(ok(&mut other, "STATUS Copies (MESSAGES)").contains("MESSAGES 2)"));
    // What went is not in it, and another mailbox has none.
    ok(&mut program, "STORE 2 +FLAGS.SILENT (\\Deleted)");
    ok(&mut program, "EXPUNGE");
    line.cut();
    assert_eq!(uids(&mut program), "4");
    ok(&mut program, "SELECT INBOX");
    line.cut();
    assert_eq!(uids(&mut program), "");
}
