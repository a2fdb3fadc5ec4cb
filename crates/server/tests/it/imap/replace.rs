//! REPLACE (RFC 8508): refusals leave the old message where it is, and store nothing.

use super::harness::Server;

#[tokio::test]
async fn the_old_message_stays_where_the_new_one_is_refused() {
    let server = Server::start_with("message_size = 70000").await;
    let (mut client, mut other) = (server.inbox().await, server.inbox().await);
    assert!(client.refused("REPLACE 1 INBOX {5}").await.starts_with("BAD"));
    client.append("INBOX", b"A: 1\r\n\r\n").await;
    for (command, start) in [
        ("REPLACE 2 INBOX {5}", "BAD"),
        ("UID REPLACE 2 INBOX {5}", "NO [NONEXISTENT]"),
        ("REPLACE 1 Nowhere {5}", "NO [TRYCREATE]"),
        ("REPLACE 1 INBOX {70001}", "NO [TOOBIG]"),
        ("REPLACE 1 INBOX (\\Recent) {5}", "BAD"),
        ("REPLACE 1 INBOX", "BAD"),
        ("REPLACE 1:1 INBOX {5}", "BAD"),
    ] {
        let status = client.refused(command).await;
        assert!(status.starts_with(start), "{command}: {status}");
    }
    for (text, start) in [
        ("REPLACE 1 INBOX {2+}\r\na\0", "BAD"),
        ("REPLACE 1 INBOX {2+}\r\nab {2+}\r\nab", "NO [LIMIT]"),
        ("UID REPLACE 7 INBOX {2+}\r\nab", "NO [NONEXISTENT]"),
    ] {
        client.send(format!("x {text}\r\n")).await;
        let (lines, status) = client.until("x").await;
        assert!(lines.is_empty() && status.starts_with(start), "{text}: {status}");
    }
    assert_eq!(other.ok("NOOP").await, ["* 1 EXISTS"]);
    assert_eq!(other.ok("FETCH 1 (UID BODY.PEEK[HEADER.FIELDS (A)])").await.len(), 4);
    // Not without a mailbox, nor in one that is open to read only.
    let mut reader = server.session().await;
    assert!(reader.refused("REPLACE 1 INBOX {5}").await.starts_with("BAD"));
    reader.ok("EXAMINE INBOX").await;
    assert!(reader.refused("REPLACE 1 INBOX {5}").await.starts_with("NO"));
}

#[tokio::test]
async fn a_message_that_another_session_removed_is_not_replaced() {
    let server = Server::start().await;
    let (mut client, mut other) = (server.inbox().await, server.inbox().await);
    client.append("INBOX", b"A: 1\r\n\r\n").await;
    client.send("x REPLACE 1 INBOX {2}\r\n").await;
    assert!(client.line().await.starts_with('+'));
    other.ok("NOOP").await;
    other.ok("STORE 1 +FLAGS (\\Deleted)").await;
    other.ok("EXPUNGE").await;
    client.send("ab\r\n").await;
    assert!(client.until("x").await.1.starts_with("NO [NONEXISTENT]"));
    assert_eq!(client.ok("NOOP").await, ["* 1 EXPUNGE"]);
    assert!(other.ok("STATUS INBOX (MESSAGES)").await.contains(&"* STATUS INBOX (MESSAGES 0)".to_owned()));
}
