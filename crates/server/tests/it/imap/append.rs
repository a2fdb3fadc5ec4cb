//! APPEND: byte for byte, refusals, and the session after them.

use super::harness::Server;

#[tokio::test]
async fn messages_come_back_octet_for_octet() {
    let server = Server::start().await;
    let mut client = server.inbox().await;
    let mut n = 0;
    for (name, message) in super::fetch::corpus() {
        let status = client.append("INBOX (\\Seen $Odd) \"01-Feb-2020 03:04:05 +0100\"", &message).await;
        if message.contains(&0) {
            assert!(status.starts_with("BAD"), "{name}: {status}");
            continue;
        }
        n += 1;
        assert!(status.starts_with("OK [APPENDUID "), "{name}: {status}");
        let back = client.fetch(n, "BODY.PEEK[]").await;
        assert!(back == message, "{name} differs");
        let (lines, _) = client.run(&format!("FETCH {n} (FLAGS INTERNALDATE RFC822.SIZE)")).await;
        let expected = format!(
            "* {n} FETCH (FLAGS (\\Seen $Odd) INTERNALDATE \"01-Feb-2020 02:04:05 +0000\" RFC822.SIZE {})",
            message.len()
        );
        assert_eq!(lines, [expected], "{name}");
    }
}

#[tokio::test]
async fn nul_goes_in_literal8_only() {
    let server = Server::start().await;
    let mut client = server.inbox().await;
    assert!(client.append("INBOX", b"A: b\r\n\r\n\0").await.starts_with("BAD"));
    client.send("x APPEND INBOX ~{9+}\r\nA: b\r\n\r\n\0\r\n").await;
    assert!(client.until("x").await.1.starts_with("OK"));
    assert_eq!(client.fetch(1, "BODY[]").await, b"A: b\r\n\r\n\0");
}

#[tokio::test]
async fn refusals_come_before_the_octets_and_the_session_goes_on() {
    let server = Server::start_with("message_size = 70000").await;
    let mut client = server.session().await;
    for (command, start) in [
        ("APPEND Nowhere {5}", "NO [TRYCREATE]"),
        ("APPEND INBOX {70001}", "NO [TOOBIG]"),
        ("APPEND INBOX {4294967296}", "NO [TOOBIG]"),
        ("APPEND INBOX (\\Recent) {5}", "BAD"),
        ("APPEND INBOX \"yesterday\" {5}", "BAD"),
        ("APPEND INBOX", "BAD"),
    ] {
        let status = client.refused(command).await;
        assert!(status.starts_with(start), "{command}: {status}");
    }
    // Octets that come in any case are read and dropped, never run.
    assert!(client.append("Nowhere", b"x LOGOUT\r\ny LOGOUT\r\n").await.starts_with("NO [TRYCREATE]"));
    assert!(client.append("INBOX", &vec![b'x'; 70_000]).await.starts_with("OK"));
    // More than any message: the session ends (RFC 7888 §4).
    client.send("z APPEND INBOX {70001+}\r\n").await;
    assert!(client.line().await.starts_with("* BYE"));
}

#[tokio::test]
async fn a_mailbox_name_may_be_a_literal_and_a_message_may_trickle() {
    let server = Server::start().await;
    let mut client = server.inbox().await;
    client.send("a APPEND {5}\r\n").await;
    assert!(client.line().await.starts_with('+'));
    client.send("INBOX (\\Draft) {6}\r\n").await;
    assert!(client.line().await.starts_with('+'));
    for byte in b"A: b\r\n\r\n" {
        client.send([*byte]).await;
    }
    let (untagged, status) = client.until("a").await;
    assert!(status.starts_with("OK [APPENDUID"), "{status}");
    assert_eq!(untagged, ["* 1 EXISTS"]);
    assert_eq!(client.fetch(1, "RFC822").await, b"A: b\r\n");
}

#[tokio::test]
async fn an_unfinished_message_leaves_nothing() {
    let server = Server::start().await;
    let mut client = server.session().await;
    client.send("a APPEND INBOX {100+}\r\nhalf").await;
    drop(client);
    let mut other = server.session().await;
    assert!(other.ok("SELECT INBOX").await.contains(&"* 0 EXISTS".to_owned()));
}
