//! Bad input: a reply by rule, bounded memory, and other sessions unaffected.

use super::harness::{ALICE, Client, Server, TOKEN};

#[tokio::test]
async fn faulty_commands_are_bad_and_the_session_goes_on() {
    let server = Server::start().await;
    let mut client = server.inbox().await;
    for (raw, start) in [
        (b"a FOO\r\n".to_vec(), "a BAD"),
        (b"a UID FOO 1\r\n".to_vec(), "a BAD"),
        (b"+ NOOP\r\n".to_vec(), "* BAD"),
        (b"\r\n".to_vec(), "* BAD"),
        (b"a NOOP x\r\n".to_vec(), "a BAD"),
        (b"a SELECT \"x\r\n".to_vec(), "a BAD"),
        (b"a SELECT \"\\x\"\r\n".to_vec(), "a BAD"),
        (b"a SELECT \xff\r\n".to_vec(), "a BAD"),
        (b"a FETCH 4294967296 FLAGS\r\n".to_vec(), "a BAD"),
        (b"a SELECT {4294967296}\r\n".to_vec(), "a BAD"),
        (b"a SELECT {3+}\r\na\0b\r\n".to_vec(), "a BAD"),
        ([b"a SEARCH ".as_slice(), &[b'('; 10_000], b"ALL\r\n"].concat(), "a BAD"),
        ([b"a SEARCH ".as_slice(), &b"NOT ".repeat(10_000), b"ALL\r\n"].concat(), "a BAD"),
        ([b"a SEARCH TEXT ".as_slice(), &b"x".repeat(1024 * 1024), b"\r\n"].concat(), "a BAD"),
    ] {
        client.send(&raw).await;
        let line = client.line().await;
        assert!(line.starts_with(start), "{}: {line}", String::from_utf8_lossy(&raw[..raw.len().min(40)]));
        client.ok("NOOP").await;
    }
}

#[tokio::test]
async fn a_refused_literal_is_skipped_and_a_huge_one_ends_the_session() {
    let server = Server::start().await;
    let mut client = server.inbox().await;
    let filler = b"x LOGOUT\r\n".repeat(10_000);
    client.send(format!("a SELECT {{{}+}}\r\n", filler.len())).await;
    client.send(&filler).await;
    client.send("\r\n").await;
    assert!(client.line().await.starts_with("a BAD"));
    client.ok("NOOP").await;
    client.send("a SELECT {4294967296+}\r\n").await;
    assert!(client.line().await.starts_with("* BYE"));
    assert_eq!(client.line().await, "");
}

#[tokio::test]
async fn before_login_only_small_literals_and_few_commands() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    for command in [
        "SELECT INBOX",
        "LIST \"\" *",
        "APPEND INBOX {5}",
        "FETCH 1 FLAGS",
        "IDLE",
        "ENABLE X",
        "CHECK",
        "NAMESPACE",
    ] {
        assert!(client.refused(command).await.starts_with("BAD"), "{command}");
    }
    client.send("a LOGIN {5000}\r\n").await;
    assert!(client.line().await.starts_with("a BAD"));
    client.ok(&format!("LOGIN {ALICE} {TOKEN}")).await;
    assert!(client.refused("FETCH 1 FLAGS").await.starts_with("BAD"));
}

#[tokio::test]
async fn twenty_faults_in_a_row_are_enough() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    for _ in 0..19 {
        assert!(client.refused("FOO").await.starts_with("BAD"));
    }
    client.send("a FOO\r\n").await;
    assert!(client.line().await.starts_with("a BAD"));
    assert!(client.line().await.starts_with("* BYE"));
}

#[tokio::test]
async fn thousand_levels_of_mime_and_100000_header_lines() {
    let server = Server::start().await;
    let mut client = server.inbox().await;
    let mut deep = Vec::new();
    for n in 0..1000 {
        deep.extend_from_slice(
            format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n").as_bytes(),
        );
    }
    let wide = b"X-A: 1\r\nX-B: 2\r\n".repeat(50_000);
    let parts = [
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n".as_slice(),
        &b"--b\r\n\r\nx\r\n".repeat(20_000),
    ]
    .concat();
    for (n, message) in (1u32..).zip([deep, wide, parts]) {
        assert!(client.append("INBOX", &message).await.starts_with("OK"));
        let (_, status) = client.run(&format!("FETCH {n} (BODYSTRUCTURE ENVELOPE)")).await;
        assert!(status.starts_with("OK"));
        assert_eq!(client.fetch(n, "BODY.PEEK[]").await, message);
    }
    let fields = client.fetch(2, "BODY.PEEK[HEADER.FIELDS (X-A)]").await;
    assert_eq!(fields.len(), 50_000 * 8 + 2);
}

#[tokio::test]
async fn commands_may_be_pipelined_and_cut_anywhere() {
    let server = Server::start().await;
    let script = format!(
        "a LOGIN {ALICE} {TOKEN}\r\nb SELECT INBOX\r\nc APPEND INBOX {{8+}}\r\nA: b\r\n\r\n\r\nd FETCH 1 BODY[TEXT]\r\ne LOGOUT\r\n"
    );
    let mut whole = server.connect().await;
    whole.send(&script).await;
    let mut cut = server.connect().await;
    for byte in script.bytes() {
        cut.send([byte]).await;
    }
    let (a, b) = (all(&mut whole).await, all(&mut cut).await);
    assert!(a.iter().any(|l| l.starts_with("d OK")) && a.last().unwrap().starts_with("e OK"), "{a:?}");
    // The second session finds the message of the first one.
    let count = |lines: &[String]| lines.iter().filter(|l| l.contains(" OK ")).count();
    assert!(count(&b) >= 5, "{b:?}");
}

async fn all<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(client: &mut Client<S>) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let line = client.line().await;
        let last = line.starts_with("e ");
        lines.push(line);
        if last {
            return lines;
        }
    }
}
