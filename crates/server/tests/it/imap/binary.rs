//! BINARY (RFC 3516): what the dialogue cannot show, octets that are no text and parts of any size.

use super::harness::{Client, Server};
use sealpost_proto::base64;

/// FETCH of one literal or literal8 of message 1: its octets, and whether it was a literal8.
async fn literal<S>(client: &mut Client<S>, item: &str) -> (Vec<u8>, bool)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    client.send(format!("x FETCH 1 {item}\r\n")).await;
    let line = client.line().await;
    let (head, len) = line.rsplit_once('{').unwrap_or_else(|| panic!("no literal: {line}"));
    let octets = client.octets(len.strip_suffix('}').unwrap().parse().unwrap()).await;
    let (_, status) = client.until("x").await;
    assert!(status.starts_with("OK"), "{status}");
    (octets, head.ends_with('~'))
}

#[tokio::test]
async fn parts_of_any_size_are_decoded() {
    let server = Server::start().await;
    for (n, with_nul) in [(0, false), (1, true), (65_535, true), (100_000, false), (1_000_000, true)] {
        let mut client = server.inbox().await;
        let low = u8::from(!with_nul);
        let octets: Vec<u8> = (0..n).map(|i| low + u8::try_from(i * 7 % 255).unwrap()).collect();
        let lines: Vec<String> = base64::encode(&octets)
            .as_bytes()
            .chunks(76)
            .map(|line| String::from_utf8(line.to_vec()).unwrap())
            .collect();
        let message = format!(
            "Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n",
            lines.join("\r\n")
        );
        assert!(client.append("INBOX", message.as_bytes()).await.starts_with("OK"));
        let (back, is_literal8) = literal(&mut client, "BINARY.PEEK[1]").await;
        assert!(back == octets, "{n} octets differ");
        assert_eq!(is_literal8, with_nul, "{n}");
        assert_eq!(client.ok("FETCH 1 BINARY.SIZE[1]").await, [format!("* 1 FETCH (BINARY.SIZE[1] {n})")]);
        let (from, to) = (n * 2 / 3, n);
        if to > from {
            let (back, _) = literal(&mut client, &format!("BINARY.PEEK[1]<{from}.{n}>")).await;
            assert!(back == octets[from..to], "{n} octets differ behind {from}");
        }
        // The message itself has no encoding.
        assert_eq!(literal(&mut client, "BINARY.PEEK[]").await.0, message.as_bytes());
        client.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
        client.ok("EXPUNGE").await;
    }
}

#[tokio::test]
async fn nul_is_kept_and_fetched_as_a_literal8() {
    let server = Server::start().await;
    let (mut client, mut other) = (server.session().await, server.inbox().await);
    let message = b"Content-Transfer-Encoding: binary\r\n\r\na\0b";
    client.send(format!("a APPEND INBOX ~{{{}+}}\r\n", message.len())).await;
    client.send(message).await;
    client.send("\r\n").await;
    assert!(client.until("a").await.1.starts_with("OK"));
    other.ok("NOOP").await;
    assert_eq!(literal(&mut other, "BINARY[]").await, (message.to_vec(), true));
    assert_eq!(literal(&mut other, "BINARY[1]").await, (b"a\0b".to_vec(), true));
    assert_eq!(literal(&mut other, "BINARY[1]<2.9>").await, (b"b".to_vec(), false));
}
