//! QRESYNC (RFC 7162 §3.2): a client that was away is told in one answer what it missed.

use super::{condstore::number_behind, harness::Server};

#[tokio::test]
async fn a_client_that_was_away_is_told_what_it_missed() {
    let server = Server::start().await;
    let mut one = server.inbox().await;
    for n in 1..=8 {
        one.append("INBOX", format!("A: {n}\r\n\r\n").as_bytes()).await;
    }
    let mut two = server.session().await;
    assert!(two.refused("SELECT INBOX (QRESYNC (1 1))").await.starts_with("BAD"), "not before ENABLE");
    assert_eq!(two.ok("ENABLE QRESYNC").await, ["* ENABLED QRESYNC"]);
    let selected = two.ok("SELECT INBOX").await;
    let validity = number_behind(&selected, "UIDVALIDITY");
    let known = number_behind(&selected, "HIGHESTMODSEQ");
    let closed = two.ok("SELECT Sent").await;
    assert!(closed[0].starts_with("* OK [CLOSED]"), "{closed:?}");
    one.ok("STORE 2,3,6 +FLAGS.SILENT (\\Deleted)").await;
    one.ok("EXPUNGE").await;
    one.ok("STORE 4 +FLAGS.SILENT (\\Seen $New)").await;
    one.append("INBOX", b"A: 9\r\n\r\n").await;
    let missed = |lines: &[String]| -> Vec<String> {
        let missed = lines.iter().filter(|l| l.contains("VANISHED") || l.contains(" FETCH "));
        missed.map(|l| l.split(" MODSEQ").next().unwrap_or_default().to_owned()).collect()
    };
    let selected = two.ok(&format!("SELECT INBOX (QRESYNC ({validity} {known}))")).await;
    assert!(selected.contains(&"* 6 EXISTS".to_owned()), "{selected:?}");
    assert_eq!(
        missed(&selected),
        ["* VANISHED (EARLIER) 2:3,6", "* 4 FETCH (UID 7 FLAGS (\\Seen $New)", "* 6 FETCH (UID 9 FLAGS ()"]
    );
    let now = number_behind(&selected, "HIGHESTMODSEQ");
    // Of the UIDs it knows, where it says so; message numbers need not be compared.
    let selected =
        two.ok(&format!("SELECT INBOX (CONDSTORE QRESYNC ({validity} {known} 1:4 (1:2 1:2)))")).await;
    assert_eq!(missed(&selected), ["* VANISHED (EARLIER) 2:3"]);
    let selected = two.ok(&format!("EXAMINE INBOX (QRESYNC ({validity} {now} 1:9))")).await;
    assert_eq!(missed(&selected), [""; 0], "nothing since");
    let selected = two.ok(&format!("SELECT INBOX (QRESYNC ({} {known}))", validity + 1)).await;
    assert_eq!(missed(&selected), [""; 0], "another mailbox than it knew");
    // The same while the mailbox is open.
    let fetched = two.ok(&format!("UID FETCH 1:8 (FLAGS) (CHANGEDSINCE {known} VANISHED)")).await;
    assert_eq!(missed(&fetched), ["* VANISHED (EARLIER) 2:3,6", "* 4 FETCH (UID 7 FLAGS (\\Seen $New)"]);
    assert!(
        two.refused("FETCH 1 (FLAGS) (CHANGEDSINCE 1 VANISHED)").await.starts_with("BAD"),
        "UID FETCH alone"
    );
}

#[tokio::test]
async fn vanished_takes_the_place_of_expunge() {
    let server = Server::start().await;
    let mut one = server.session().await;
    one.ok("ENABLE QRESYNC").await;
    one.ok("SELECT INBOX").await;
    for n in 1..=9 {
        one.append("INBOX", format!("A: {n}\r\n\r\n").as_bytes()).await;
    }
    let (mut two, mut three) = (server.inbox().await, server.session().await);
    three.ok("ENABLE QRESYNC").await;
    three.ok("SELECT INBOX").await;
    one.ok("STORE 2:3,5 +FLAGS.SILENT (\\Deleted)").await;
    // Others' changes are part of what the HIGHESTMODSEQ stands for.
    two.ok("STORE 9 +FLAGS.SILENT (\\Flagged)").await;
    let (lines, status) = one.run("EXPUNGE").await;
    assert_eq!(lines[0], "* VANISHED 2:3,5");
    assert!(lines[1].starts_with("* 6 FETCH (UID 9 FLAGS (\\Flagged) MODSEQ ("), "{lines:?}");
    let modseq = number_behind(&[status], "HIGHESTMODSEQ");
    assert_eq!(number_behind(&one.ok("STATUS INBOX (HIGHESTMODSEQ)").await, "HIGHESTMODSEQ"), modseq);
    assert!(one.ok("NOOP").await.is_empty());
    assert_eq!(two.ok("NOOP").await, ["* 5 EXPUNGE", "* 3 EXPUNGE", "* 2 EXPUNGE"]);
    let told = three.ok("NOOP").await;
    assert_eq!(told[0], "* VANISHED 2:3,5");
    assert_eq!(told.len(), 2, "and the flag");
    // MOVE, and the numbers afterwards.
    let moved = one.ok("MOVE 1 Archive").await;
    assert_eq!(moved[1], "* VANISHED 1");
    assert_eq!(one.ok("FETCH 1 (UID)").await, ["* 1 FETCH (UID 4)"]);
    // A message that came and went in between was never there for those who did not hear of it.
    one.append("INBOX", b"A: 10\r\n\r\n").await;
    one.ok("UID STORE 10 +FLAGS.SILENT (\\Deleted)").await;
    assert_eq!(one.ok("UID EXPUNGE 10").await, ["* VANISHED 10"]);
    assert_eq!(three.ok("NOOP").await, ["* VANISHED 1"]);
    // What has vanished but is not told yet is not told as EARLIER: numbers would go astray.
    one.ok("UID STORE 4 +FLAGS.SILENT (\\Deleted)").await;
    one.ok("EXPUNGE").await;
    let fetched = three.ok("UID FETCH 1:10 (FLAGS) (CHANGEDSINCE 1 VANISHED)").await;
    assert!(fetched[0].starts_with("* VANISHED (EARLIER) 1:3,5,10"), "{fetched:?}");
    assert_eq!(fetched.last().unwrap(), "* VANISHED 4");
}

#[tokio::test]
async fn a_mailbox_that_is_removed_vanishes() {
    let server = Server::start().await;
    let (mut one, mut two, mut three) =
        (server.session().await, server.session().await, server.session().await);
    one.ok("CREATE x").await;
    for _ in 0..2 {
        one.append("x", b"A: 1\r\n\r\n").await;
    }
    for client in [&mut two, &mut three] {
        client.ok("ENABLE QRESYNC").await;
        client.ok("SELECT x").await;
    }
    two.ok("FETCH 1 (FLAGS)").await;
    one.ok("DELETE x").await;
    assert_eq!(two.ok("NOOP").await, ["* VANISHED 1:2"]);
    two.ok("SELECT INBOX").await;
    // Which messages they were was never asked, and cannot be told any more.
    let (lines, _) = three.run("NOOP").await;
    assert!(lines[0].starts_with("* BYE"), "{lines:?}");
}
