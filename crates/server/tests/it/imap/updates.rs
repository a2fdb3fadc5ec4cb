//! Many sessions on one mailbox: who is told what, and when (RFC 9051 §5.2, §7.5.1; RFC 2177).

use super::harness::Server;

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
    let lines = two.ok("SEARCH ALL").await;
    assert_eq!(lines, ["* SEARCH 1 2"]);
    // Its octets may be there for a while or not; number 2 is still number 2.
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

#[tokio::test]
async fn idle_wakes() {
    let server = Server::start().await;
    let (mut one, mut two) = (server.session().await, server.inbox().await);
    two.send("i IDLE\r\n").await;
    assert!(two.line().await.starts_with('+'));
    one.append("INBOX", b"A: 1\r\n\r\n").await;
    assert_eq!(two.line().await, "* 1 EXISTS");
    one.ok("SELECT INBOX").await;
    one.ok("STORE 1 +FLAGS (\\Deleted)").await;
    assert_eq!(two.line().await, "* 1 FETCH (UID 1 FLAGS (\\Deleted))");
    one.ok("EXPUNGE").await;
    assert_eq!(two.line().await, "* 1 EXPUNGE");
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
