//! Bad input: the session says so or ends, and others go on.

use super::harness::{Imap, Pop3, with_messages};
use crate::kit::{ALICE, Kit, TOKEN};

#[tokio::test]
async fn commands_may_be_pipelined_and_cut_anywhere() {
    let kit = with_messages(&["A: 1\r\n\r\n.one\r\n", "A: 2\r\n"]).await;
    let script = format!(
        "USER {ALICE}\r\nPASS {TOKEN}\r\nSTAT\r\nLIST\r\nUIDL 9\r\nRETR 1\r\nTOP 2 0\r\nFOO\r\nDELE 9\r\nRSET\r\nQUIT\r\n"
    );
    let mut whole = Pop3::connect(&kit).await;
    whole.0.send(&script).await;
    let mut cut = Pop3::connect(&kit).await;
    for octet in script.bytes() {
        cut.0.send([octet]).await;
    }
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for (session, lines) in [(&mut whole, &mut a), (&mut cut, &mut b)] {
        loop {
            let line = session.line().await;
            if line.is_empty() && lines.last().is_some_and(|last: &String| last == "+OK goodbye") {
                break;
            }
            lines.push(line);
        }
    }
    assert_eq!(a, b);
    assert_eq!(a.last().map(String::as_str), Some("+OK goodbye"));
}

#[tokio::test]
async fn the_wrong_order_is_refused() {
    let kit = with_messages(&["A: 1\r\n"]).await;
    let mut session = Pop3::connect(&kit).await;
    for command in ["STAT", "LIST", "LIST 1", "UIDL", "RETR 1", "TOP 1 0", "DELE 1", "RSET", "NOOP"] {
        assert_eq!(session.err(command).await, "sign in first", "{command}");
    }
    assert!(session.err(&format!("PASS {TOKEN}")).await.starts_with("USER comes before PASS"));
    let mut session = Pop3::alice(&kit).await;
    for command in ["USER a", "PASS b", "AUTH PLAIN", "AUTH", "STLS"] {
        assert_eq!(session.err(command).await, "you are signed in already", "{command}");
    }
    session.ok("QUIT").await;
    assert!(session.is_closed().await);
}

#[tokio::test]
async fn lines_that_are_no_commands() {
    let kit = with_messages(&["A: 1\r\n"]).await;
    let mut session = Pop3::alice(&kit).await;
    for line in [
        &b""[..],
        b" ",
        b"\0\0\0",
        b"\xff\xfe\xfd",
        b"RETR \xc3\xa4",
        b"RETR 1\0",
        b"RETR -1",
        b"RETR 1e9",
        b"RETR 0x1",
        b"LIST 1 1",
        b"TOP 1 99999999999999999999999999x",
        b"DELE ALL",
        b"GET / HTTP/1.1",
        b"EHLO x",
        b"a LOGIN b c",
    ] {
        session.0.send([line, b"\r\n"].concat()).await;
        assert!(session.line().await.starts_with("-ERR "), "{:?}", String::from_utf8_lossy(line));
    }
    assert_eq!(session.ok("STAT").await, "1 6", "LF alone ends a line, too");
    session.0.send("STAT\n").await;
    assert_eq!(session.line().await, "+OK 1 6");
}

#[tokio::test]
async fn a_flood_of_faults_ends_the_session_and_no_other() {
    let kit = with_messages(&["A: 1\r\n"]).await;
    let mut other = Pop3::alice(&kit).await;
    let mut session = Pop3::connect(&kit).await;
    session.0.send("XYZZY\r\n".repeat(20)).await;
    for _ in 0..20 {
        assert!(session.line().await.starts_with("-ERR this command is not known"));
    }
    assert_eq!(session.line().await, "-ERR too many faulty commands");
    assert!(session.is_closed().await);
    other.ok("STAT").await;
}

#[tokio::test]
async fn a_line_without_an_end_ends_the_session() {
    let kit = Kit::new().await;
    for start in ["USER ", "AUTH PLAIN ", "AUTH PLAIN\r\n"] {
        let mut session = Pop3::connect(&kit).await;
        session.0.send(start).await;
        if start.ends_with("\r\n") {
            assert_eq!(session.line().await, "+ ");
        }
        session.0.send("x".repeat(1024 * 1024 + 1)).await;
        assert_eq!(session.line().await, "-ERR no end of this line is in sight", "{start:?}");
        assert!(session.is_closed().await);
    }
}

/// Who asks for much and reads nothing makes nothing grow: what is asked behind it waits.
#[tokio::test]
async fn replies_that_nobody_reads_hold_nothing_back() {
    let kit = Kit::new().await;
    let mut imap = Imap::alice(&kit).await;
    imap.append("A: 1\r\n").await;
    for _ in 0..13 {
        imap.ok("COPY 1:* INBOX").await;
    }
    let mut session = Pop3::alice(&kit).await;
    session.0.send("UIDL\r\n".repeat(200)).await;
    // 8,192 lines in each of 200 replies: far more than sockets hold.
    let mut other = Pop3::alice(&kit).await;
    assert_eq!(other.lines("UIDL").await.len(), 8192);
    for _ in 0..200 {
        assert_eq!(session.line().await, "+OK unique ids follow");
        assert_eq!(session.rest().await.len(), 8192);
    }
}
