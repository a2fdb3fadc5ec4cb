//! MULTIAPPEND (RFC 3502): all or none, limits, and the session after a refusal.

use super::harness::Server;

/// `APPEND` of several messages, none of whose literals waits.
fn command(tag: &str, mailbox: &str, messages: &[Vec<u8>]) -> Vec<u8> {
    let mut out = format!("{tag} APPEND {mailbox}").into_bytes();
    for message in messages {
        out.extend_from_slice(format!(" {{{}+}}\r\n", message.len()).as_bytes());
        out.extend_from_slice(message);
    }
    out.extend_from_slice(b"\r\n");
    out
}

#[tokio::test]
async fn messages_small_and_large_come_back_octet_for_octet() {
    let server = Server::start().await;
    let (mut client, mut other) = (server.session().await, server.inbox().await);
    let messages: Vec<Vec<u8>> = [1, 1000, 128 * 1024, 128 * 1024 + 1, 1_000_000, 20]
        .into_iter()
        .map(|n| (0..n).map(|i| b'a' + u8::try_from((i + n) % 26).unwrap()).collect())
        .collect();
    client.send(command("x", "INBOX", &messages)).await;
    let status = client.until("x").await.1;
    assert!(status.starts_with("OK [APPENDUID ") && status.contains(" 1:6]"), "{status}");
    assert_eq!(other.ok("NOOP").await, ["* 6 EXISTS"]);
    for (n, message) in (1..).zip(&messages) {
        assert!(other.fetch(n, "BODY.PEEK[]").await == *message, "message {n} differs");
    }
}

#[tokio::test]
async fn more_than_one_command_may_hold_is_refused_whole() {
    let server = Server::start_with("message_size = 70000").await;
    let (mut client, mut other) = (server.inbox().await, server.inbox().await);
    // One below, and one above, what all may have together.
    for (messages, start) in [
        (vec![vec![b'x'; 69_999], vec![b'y']], "OK [APPENDUID "),
        (vec![vec![b'x'; 69_999], vec![b'y'], vec![b'z']], "NO [LIMIT]"),
    ] {
        client.send(command("x", "INBOX", &messages)).await;
        let status = client.until("x").await.1;
        assert!(status.starts_with(start), "{status}");
    }
    // What is dropped has an end too.
    client.send(command("x", "INBOX", &[vec![b'x'; 70_000], vec![b'x'; 70_000]])).await;
    assert!(client.until("x").await.1.starts_with("NO [LIMIT]"));
    client.send(command("x", "Nowhere", &[vec![b'x'; 70_000], vec![b'x'; 1]])).await;
    assert!(client.line().await.starts_with("* BYE"));
    // Where the client waits, the refusal comes in place of `+`.
    let mut client = server.session().await;
    client.send(b"y APPEND INBOX {3+}\r\nabc {69998}\r\n").await;
    assert!(client.line().await.starts_with("y NO [LIMIT]"));
    client.send(b"z APPEND INBOX {3+}\r\nabc {70001}\r\n").await;
    assert!(client.line().await.starts_with("z NO [TOOBIG]"));
    client.ok("NOOP").await;
    assert_eq!(other.ok("NOOP").await, ["* 2 EXISTS"]);
}

#[tokio::test]
async fn a_fault_in_any_message_stores_none_and_is_read_to_the_end() {
    let server = Server::start().await;
    let (mut client, mut other) = (server.inbox().await, server.inbox().await);
    for bad in 0..3 {
        let mut messages = vec![b"A: b\r\n\r\nx LOGOUT\r\n".to_vec(); 3];
        messages[bad][8] = 0;
        client.send(command("x", "INBOX", &messages)).await;
        let (lines, status) = client.until("x").await;
        assert!(lines.is_empty() && status.starts_with("BAD"), "{status}");
    }
    for line in ["junk", "{2+}", " () {2+} {2+}", " (\\Seen) (\\Seen) {2+}", " \"today\" {2+}", " { {2+}"] {
        client.send(format!("x APPEND INBOX {{2+}}\r\nab{line}\r\n")).await;
        if line.ends_with("+}") {
            client.send(b"cd\r\n").await;
        }
        let (lines, status) = client.until("x").await;
        assert!(lines.is_empty() && status.starts_with("BAD"), "{line}: {status}");
        client.ok("NOOP").await;
    }
    assert!(other.ok("NOOP").await.is_empty());
}

#[tokio::test]
async fn an_unfinished_command_leaves_nothing() {
    let server = Server::start().await;
    for end in ["", " {4+}\r\nab", " {4", "\r"] {
        let mut client = server.session().await;
        client.send(format!("a APPEND INBOX {{2+}}\r\nab{end}")).await;
        drop(client);
    }
    let mut other = server.session().await;
    assert!(other.ok("SELECT INBOX").await.contains(&"* 0 EXISTS".to_owned()));
}
