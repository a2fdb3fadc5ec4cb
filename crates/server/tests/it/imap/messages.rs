//! STORE, COPY, MOVE, EXPUNGE, UIDPLUS; each effect is read back by another session.

use super::harness::Server;

async fn with_three()
-> (Server, super::harness::Client<tokio_rustls::client::TlsStream<tokio::net::TcpStream>>) {
    let server = Server::start().await;
    let mut client = server.inbox().await;
    for n in 1..=3 {
        client.append("INBOX", format!("Subject: {n}\r\n\r\nbody {n}\r\n").as_bytes()).await;
    }
    (server, client)
}

#[tokio::test]
async fn store_and_its_forms() {
    let (server, mut client) = with_three().await;
    let told = client.ok("STORE 1 +FLAGS (\\Flagged $Work)").await;
    assert_eq!(told.last().unwrap(), "* 1 FETCH (UID 1 FLAGS (\\Flagged $Work))");
    assert_eq!(client.ok("STORE 1 -FLAGS \\Flagged").await, ["* 1 FETCH (UID 1 FLAGS ($Work))"]);
    assert!(client.ok("UID STORE 2:* FLAGS.SILENT (\\Answered \\Deleted)").await.is_empty());
    assert!(client.ok("UID STORE 999 FLAGS (\\Seen)").await.is_empty());
    let mut other = server.inbox().await;
    let lines = other.ok("FETCH 1:* FLAGS").await;
    assert_eq!(lines[0], "* 1 FETCH (FLAGS ($Work))");
    assert_eq!(lines[2], "* 3 FETCH (FLAGS (\\Answered \\Deleted))");
    for (command, start) in [
        ("STORE 4 FLAGS (\\Seen)", "BAD"),
        ("STORE 0 FLAGS (\\Seen)", "BAD"),
        ("STORE 1 FLAGS (\\Recent)", "BAD"),
        ("STORE 1 FLAGS", "BAD"),
        ("STORE 1 +-FLAGS (\\Seen)", "BAD"),
        (&format!("STORE 1 FLAGS ({})", "k".repeat(256)), "NO [LIMIT]"),
    ] {
        let status = client.refused(command).await;
        assert!(status.starts_with(start), "{command}: {status}");
    }
    client.ok("EXAMINE INBOX").await;
    assert!(client.refused("STORE 1 FLAGS (\\Seen)").await.starts_with("NO"));
    assert!(client.refused("EXPUNGE").await.starts_with("NO"));
    assert!(client.refused("MOVE 1 Trash").await.starts_with("NO"));
}

#[tokio::test]
async fn copy_and_move() {
    let (server, mut client) = with_three().await;
    let (lines, status) = client.run("UID COPY 1,3 Archive").await;
    assert!(lines.is_empty());
    let code = status.split(['[', ']']).nth(1).unwrap_or_default();
    assert!(code.starts_with("COPYUID ") && code.ends_with(" 1,3 1:2"), "{status}");
    let (lines, status) = client.run("MOVE 2:3 Trash").await;
    assert!(lines[0].starts_with("* OK [COPYUID ") && lines[0].contains(" 2:3 1:2]"), "{lines:?}");
    assert_eq!(lines[1..], ["* 3 EXPUNGE", "* 2 EXPUNGE"]);
    assert!(status.starts_with("OK"));
    assert!(client.refused("COPY 1 Nowhere").await.starts_with("NO [TRYCREATE]"));
    assert!(client.refused("COPY 2 Archive").await.starts_with("BAD"));
    client.ok("UID COPY 77 Archive").await;
    let mut other = server.session().await;
    assert_eq!(other.ok("STATUS Trash (MESSAGES)").await, ["* STATUS Trash (MESSAGES 2)"]);
    other.ok("SELECT Archive").await;
    assert_eq!(other.fetch(2, "BODY.PEEK[TEXT]").await, b"body 3\r\n");
}

#[tokio::test]
async fn expunge_and_uid_expunge_and_close() {
    let (server, mut client) = with_three().await;
    client.ok("STORE 1:3 +FLAGS.SILENT (\\Deleted)").await;
    assert_eq!(client.ok("UID EXPUNGE 2").await, ["* 2 EXPUNGE"]);
    assert_eq!(client.ok("FETCH 1:* UID").await, ["* 1 FETCH (UID 1)", "* 2 FETCH (UID 3)"]);
    client.ok("STORE 2 -FLAGS.SILENT (\\Deleted)").await;
    assert_eq!(client.ok("EXPUNGE").await, ["* 1 EXPUNGE"]);
    client.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    assert!(client.ok("UNSELECT").await.is_empty());
    assert!(client.refused("CLOSE").await.starts_with("BAD"));
    let mut other = server.inbox().await;
    assert!(other.ok("CHECK").await.is_empty());
    assert!(other.ok("CLOSE").await.is_empty());
    let lines = other.ok("SELECT INBOX").await;
    assert!(lines.contains(&"* 0 EXISTS".to_owned()));
    assert!(lines.iter().any(|l| l.starts_with("* OK [UIDNEXT 4]")), "{lines:?}");
}
