//! Many sessions on one mailbox: who is told what, and when (RFC 9051 §5.2, §7.5.1; RFC 2177).

use super::harness::Server;
use std::time::Duration;
use tokio::time::timeout;

#[tokio::test]
async fn changes_of_others_are_told_and_expunge_waits() {
    let server = Server::start().await;
    let (mut one, mut two) = (server.inbox().await, server.inbox().await);
    one.append("INBOX", b"A: 1\r\n\r\nfirst").await;
    one.append("INBOX", b"A: 2\r\n\r\nsecond").await;
    assert_eq!(two.ok("NOOP").await, ["* 2 EXISTS"]);
    one.ok("STORE 1 +FLAGS.SILENT (\\Seen)").await;
    assert_eq!(two.ok("NOOP").await, ["* 1 FETCH (UID 1 FLAGS (\\Seen))"]);
    assert!(one.ok("NOOP").await.is_empty());
    one.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    one.ok("EXPUNGE").await;
    // Message numbers stay while FETCH, STORE and SEARCH are answered.
    let (lines, status) = two.run("FETCH 1:2 FLAGS").await;
    assert!(lines.iter().all(|l| !l.contains("EXPUNGE")), "{lines:?}");
    assert!(status.starts_with("OK"));
    // RFC 5530: what is gone is not shown, and why is said.
    assert_eq!(lines, ["* 2 FETCH (FLAGS ())"]);
    assert!(status.starts_with("OK [EXPUNGEISSUED]"), "{status}");
    assert!(two.refused("FETCH 1 FLAGS").await.starts_with("NO [EXPUNGEISSUED]"));
    let lines = two.ok("SEARCH ALL").await;
    assert_eq!(lines, ["* SEARCH 2"]);
    // Number 2 is still number 2.
    assert_eq!(two.fetch(2, "BODY.PEEK[TEXT]").await, b"second");
    assert!(two.ok("STORE 2 +FLAGS.SILENT (\\Flagged)").await.iter().all(|l| !l.contains("EXPUNGE")));
    assert_eq!(two.ok("NOOP").await, ["* 1 EXPUNGE"]);
    assert_eq!(two.ok("FETCH 1 UID").await, ["* 1 FETCH (UID 2)"]);
    // UID commands may tell.
    one.ok("NOOP").await;
    one.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    one.ok("EXPUNGE").await;
    assert!(two.ok("UID SEARCH ALL").await.contains(&"* 1 EXPUNGE".to_owned()));
}

/// .SILENT hides what the client can work out, and nothing else (RFC 9051 §6.4.6).
#[tokio::test]
async fn silent_stores_do_not_hide_the_changes_of_others() {
    let server = Server::start().await;
    let mut one = server.inbox().await;
    for text in ["first", "second"] {
        one.append("INBOX", format!("A: 1\r\n\r\n{text}").as_bytes()).await;
    }
    let mut two = server.inbox().await;
    one.ok("STORE 1 +FLAGS (\\Flagged)").await;
    let lines = two.ok("STORE 1:2 +FLAGS.SILENT (\\Seen)").await;
    assert_eq!(lines, ["* 1 FETCH (UID 1 FLAGS (\\Flagged \\Seen))"]);
    assert!(two.ok("NOOP").await.is_empty());
    let mut told = one.ok("NOOP").await;
    told.sort();
    assert_eq!(told, ["* 1 FETCH (UID 1 FLAGS (\\Flagged \\Seen))", "* 2 FETCH (UID 2 FLAGS (\\Seen))"]);
}

/// A keyword that is new to the mailbox is told before a message is told to have it (RFC 9051 §7.3.5).
#[tokio::test]
async fn new_keywords_are_told_to_all_who_have_the_mailbox_open() {
    let server = Server::start().await;
    let mut one = server.inbox().await;
    one.append("INBOX", b"A: 1\r\n\r\nfirst").await;
    let (mut two, mut reader) = (server.inbox().await, server.session().await);
    reader.ok("EXAMINE INBOX").await;
    one.ok("NOOP").await;
    let system = "\\Answered \\Flagged \\Deleted \\Seen \\Draft";
    let flags = |words: &str| format!("* FLAGS ({system} {words})");
    let permanent =
        |words: &str| format!("* OK [PERMANENTFLAGS ({system} {words} \\*)] there are new keywords");
    // By the session itself.
    let told = one.ok("STORE 1 +FLAGS ($Work)").await;
    assert_eq!(told, [&flags("$Work"), &permanent("$Work"), "* 1 FETCH (UID 1 FLAGS ($Work))"]);
    assert_eq!(one.ok("STORE 1 +FLAGS ($work)").await, ["* 1 FETCH (UID 1 FLAGS ($Work))"], "known already");
    // By another one, whichever command is next; who only reads can keep none.
    let told = two.ok("NOOP").await;
    assert_eq!(told, [&flags("$Work"), &permanent("$Work"), "* 1 FETCH (UID 1 FLAGS ($Work))"]);
    let told = reader.ok("FETCH 1 FLAGS").await;
    let nothing = "* OK [PERMANENTFLAGS ()] there are new keywords";
    assert_eq!(told[..3], [&flags("$Work"), nothing, "* 1 FETCH (FLAGS ($Work))"]);
    // With a message that comes with it, while IDLE waits.
    two.send("i IDLE\r\n").await;
    two.line().await;
    assert!(one.append("INBOX ($Home)", b"A: 2\r\n\r\n").await.starts_with("OK"));
    assert_eq!(two.line().await, flags("$Home $Work"));
    assert_eq!(two.line().await, permanent("$Home $Work"));
    assert_eq!(two.line().await, "* 2 EXISTS");
    two.send("DONE\r\n").await;
    two.until("i").await;
    // One that no message has any more is told all the same, with the next.
    one.ok("STORE 1 FLAGS (a)").await;
    one.ok("STORE 1 FLAGS (b)").await;
    assert!(two.ok("NOOP").await.contains(&flags("$Home $Work a b")));
    one.ok("STORE 1 -FLAGS (b)").await;
    assert_eq!(two.ok("NOOP").await, ["* 1 FETCH (UID 1 FLAGS ())"]);
}

/// Numbers are those of the moment of SELECT, however late they are asked for.
#[tokio::test]
async fn numbers_asked_for_late_are_those_of_select() {
    let server = Server::start().await;
    let mut one = server.inbox().await;
    for n in 1..=5 {
        one.append("INBOX", format!("A: {n}\r\n\r\n{n}").as_bytes()).await;
    }
    let mut two = server.session().await;
    assert!(two.ok("SELECT INBOX").await.contains(&"* 5 EXISTS".to_owned()));
    one.ok("STORE 2,4 +FLAGS.SILENT (\\Deleted)").await;
    one.ok("EXPUNGE").await;
    one.append("INBOX", b"A: 6\r\n\r\n6").await;
    // The first command that needs numbers: 3 is still the third of five.
    assert_eq!(two.fetch(3, "BODY.PEEK[TEXT]").await, b"3");
    assert_eq!(two.fetch(5, "BODY.PEEK[TEXT]").await, b"5");
    assert!(two.refused("FETCH 7 UID").await.starts_with("BAD"));
    assert_eq!(two.ok("NOOP").await, ["* 4 EXPUNGE", "* 2 EXPUNGE"]);
    assert_eq!(two.ok("UID SEARCH ALL").await, ["* SEARCH 1 3 5 6"]);
    assert_eq!(two.ok("FETCH 2:3 UID").await, ["* 2 FETCH (UID 3)", "* 3 FETCH (UID 5)"]);
}

#[tokio::test]
async fn idle_wakes() {
    let server = Server::start().await;
    let (mut one, mut two) = (server.session().await, server.inbox().await);
    // It takes some milliseconds; where nothing comes at all the test has an end.
    let within = Duration::from_secs(10);
    two.send("i IDLE\r\n").await;
    assert!(two.line().await.starts_with('+'));
    one.append("INBOX", b"A: 1\r\n\r\n").await;
    assert_eq!(timeout(within, two.line()).await.unwrap(), "* 1 EXISTS");
    one.ok("SELECT INBOX").await;
    one.ok("STORE 1 +FLAGS (\\Deleted)").await;
    assert_eq!(timeout(within, two.line()).await.unwrap(), "* 1 FETCH (UID 1 FLAGS (\\Deleted))");
    one.ok("EXPUNGE").await;
    assert_eq!(timeout(within, two.line()).await.unwrap(), "* 1 EXPUNGE");
    two.send("DONE\r\n").await;
    assert!(two.line().await.starts_with("i OK"));
    two.send("j IDLE\r\n").await;
    two.line().await;
    two.send("NOOP\r\n").await;
    assert!(two.line().await.starts_with("j BAD"));
    two.ok("NOOP").await;
}

#[tokio::test]
async fn a_mailbox_removed_by_another_session_becomes_empty() {
    let server = Server::start().await;
    let (mut one, mut two) = (server.session().await, server.session().await);
    one.ok("CREATE x").await;
    one.append("x", b"A: 1\r\n\r\n").await;
    two.ok("SELECT x").await;
    one.ok("DELETE x").await;
    assert_eq!(two.ok("NOOP").await, ["* 1 EXPUNGE"]);
    two.ok("SELECT INBOX").await;
}

#[tokio::test]
async fn uidvalidity_changes_when_a_name_is_made_anew() {
    let server = Server::start().await;
    let mut client = server.session().await;
    client.ok("CREATE x").await;
    let first = client.ok("STATUS x (UIDVALIDITY)").await;
    client.ok("DELETE x").await;
    client.ok("CREATE x").await;
    assert_ne!(first, client.ok("STATUS x (UIDVALIDITY)").await);
}

#[tokio::test]
async fn a_shutdown_says_bye() {
    let server = Server::start().await;
    let (mut one, mut two) = (server.inbox().await, server.connect().await);
    one.send("i IDLE\r\n").await;
    assert!(one.line().await.starts_with('+'));
    server.stop.send_replace(true);
    assert!(one.line().await.starts_with("* BYE"));
    assert!(two.line().await.starts_with("* BYE"));
}
