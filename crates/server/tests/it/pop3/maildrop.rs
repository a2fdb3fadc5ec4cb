//! What is told of messages is what comes; what others do meanwhile; what a full disk does.

use super::harness::{Imap, Pop3, with_messages};
use crate::kit::{ALICE, BOB, Client, Kit, auth};
use std::fmt::Write as _;

/// Messages that IMAP stored as they came (profile §10).
const ODD: [&str; 10] = [
    "A: b\r\n\r\nends in CRLF\r\n",
    "A: b\r\n\r\nends in nothing",
    "A: b\r\n\r\nends in LF\n",
    "A: b\r\n\r\nends in CR\r",
    "A: b\r\n\r\nLF.CRLF: \n.\r\n-ERR no reply\r\n",
    "A: b\r\n\r\nLF.LF: \n.\nDELE 1\r\n",
    "A: b\r\n\r\nCR.CR: \r.\r\r\n.\r\n..\r\n",
    "no header at all, and a lone dot\r\n.\r\n",
    "\r\n",
    ".",
];

/// The octets of a reply up to its end, as a program sees them that takes lines up to LF, as most do.
async fn raw(session: &mut Pop3, command: &str) -> (String, String) {
    session.0.send(format!("{command}\r\nNOOP\r\n")).await;
    let mut wire = String::new();
    while !wire.ends_with("\r\n.\r\n+OK\r\n") {
        let line = session.0.line().await;
        assert!(!line.is_empty(), "the connection ended");
        wire += &line;
    }
    let wire = wire.strip_suffix("+OK\r\n").unwrap();
    let (status, mut rest) = wire.split_once("\r\n").unwrap();
    let mut message = String::new();
    while rest != ".\r\n" {
        let end = rest.find('\n').unwrap() + 1;
        let line = &rest[..end];
        assert!(line != ".\r\n" && line != ".\n", "the message ends before its end");
        message += line.strip_prefix('.').unwrap_or(line);
        rest = &rest[end..];
    }
    (status.to_owned(), message)
}

/// LIST, STAT, the words of RETR and the octets of RETR agree for every message (RFC 1939 §11).
#[tokio::test]
async fn sizes_are_those_of_what_comes() {
    let kit = with_messages(&ODD).await;
    let mut session = Pop3::alice(&kit).await;
    let list = session.lines("LIST").await;
    assert_eq!(list.len(), ODD.len());
    let mut sum = 0;
    for (number, (listed, stored)) in (1..).zip(list.iter().zip(ODD)) {
        let (status, message) = raw(&mut session, &format!("RETR {number}")).await;
        let more = if stored.ends_with("\r\n") { "" } else { "\r\n" };
        assert_eq!(message, format!("{stored}{more}"), "message {number}");
        assert_eq!(*listed, format!("{number} {}", message.len()));
        assert_eq!(status, format!("+OK {} octets", message.len()));
        sum += message.len();
    }
    assert_eq!(session.ok("STAT").await, format!("{} {sum}", ODD.len()));
    // IMAP gives the very octets, without what POP3 adds.
    let sizes = Imap::alice(&kit).await.ok("FETCH 2 RFC822.SIZE").await;
    assert_eq!(sizes, [format!("* 2 FETCH (RFC822.SIZE {})", ODD[1].len())]);
}

#[tokio::test]
async fn a_message_larger_than_any_buffer_comes_whole() {
    let kit = Kit::new().await;
    let mut body = String::from("Subject: large\r\n\r\n");
    for n in 0..60_000 {
        let _ = write!(body, "{}line {n} of a large message\r\n", if n % 7 == 0 { "." } else { "" });
    }
    Imap::alice(&kit).await.append(&body).await;
    let mut session = Pop3::alice(&kit).await;
    assert!(session.retr(1).await == body);
    let top = session.lines("TOP 1 30000").await;
    assert_eq!((top.len(), top[30_001].as_str()), (30_002, "line 29999 of a large message"));
    assert_eq!(session.ok("STAT").await, format!("1 {}", body.len()));
}

#[tokio::test]
async fn mail_that_comes_meanwhile_is_in_the_next_session() {
    let kit = with_messages(&["A: 1\r\n"]).await;
    let mut session = Pop3::alice(&kit).await;
    let mut bob = kit.submission().await;
    bob.cmd("EHLO x").await;
    assert!(bob.cmd(&auth(BOB, 2)).await.starts_with("235"));
    bob.reply().await;
    assert!(
        bob.mail(BOB, &[ALICE], "From: bob@example.net\r\nSubject: news\r\n\r\nhello\r\n")
            .await
            .starts_with("250")
    );
    assert_eq!(session.ok("STAT").await, "1 6");
    session.ok("DELE 1").await;
    session.ok("QUIT").await;
    let mut next = Pop3::alice(&kit).await;
    assert!(next.ok("STAT").await.starts_with("1 "), "the new one is not the one that was removed");
    let message = next.retr(1).await;
    assert!(message.contains("Subject: news\r\n\r\nhello\r\n"), "{message}");
}

#[tokio::test]
async fn what_imap_removes_meanwhile_harms_nothing() {
    let kit = with_messages(&["A: 1\r\n", "A: 2\r\n", "A: 3\r\n"]).await;
    let mut session = Pop3::alice(&kit).await;
    let mut imap = Imap::alice(&kit).await;
    imap.ok("STORE 1:2 +FLAGS (\\Deleted)").await;
    imap.ok("EXPUNGE").await;
    imap.append("A: 4\r\n").await;
    // The session still has what it was told, and its octets.
    assert_eq!(session.retr(2).await, "A: 2\r\n");
    for number in [1, 2] {
        session.ok(&format!("DELE {number}")).await;
    }
    assert_eq!(session.ok("QUIT").await, "goodbye, what was marked is gone");
    assert_eq!(imap.uids().await, "3 4");
}

/// An hour later the octets are gone as well, and that is said.
#[tokio::test]
async fn a_message_that_was_removed_long_ago_is_refused() {
    let kit = Kit::with_one_clock().await;
    kit.people().await;
    let mut imap = Imap::alice(&kit).await;
    imap.append("A: 1\r\n").await;
    imap.append("A: 2\r\n").await;
    let mut session = Pop3::alice(&kit).await;
    imap.ok("STORE 1 +FLAGS (\\Deleted)").await;
    imap.ok("EXPUNGE").await;
    assert_eq!(session.retr(1).await, "A: 1\r\n");
    kit.clock.forward(3601);
    kit.store.collect_garbage().await.unwrap();
    for command in ["RETR 1", "TOP 1 0"] {
        assert_eq!(session.err(command).await, "another session has removed this message");
    }
    assert_eq!(session.retr(2).await, "A: 2\r\n");
}

#[tokio::test]
async fn a_session_that_breaks_removes_nothing() {
    let kit = with_messages(&["A: 1\r\n", "A: 2\r\n"]).await;
    let mut session = Pop3::alice(&kit).await;
    session.ok("DELE 1").await;
    drop(session);
    let mut half = Pop3::alice(&kit).await;
    half.ok("DELE 2").await;
    half.0.send("QUIT").await;
    drop(half);
    let mut session = Pop3::alice(&kit).await;
    assert_eq!(session.ok("STAT").await, "2 12");
}

/// All that was marked goes in one step, however much it is.
#[tokio::test]
async fn quit_removes_all_in_one_change() {
    let kit = Kit::new().await;
    let mut imap = Imap::alice(&kit).await;
    imap.append("A: 1\r\n").await;
    for _ in 0..10 {
        imap.ok("COPY 1:* INBOX").await;
    }
    assert_eq!(imap.uids().await.split(' ').count(), 1024);
    let mut session = Pop3::alice(&kit).await;
    for number in 1..=1023 {
        session.0.send(format!("DELE {number}\r\n")).await;
    }
    for _ in 1..=1023 {
        assert!(session.line().await.starts_with("+OK"));
    }
    session.ok("QUIT").await;
    assert_eq!(imap.uids().await, "1024");
}

/// On a full disk people must still be able to read; what cannot be removed is said.
#[tokio::test]
async fn a_full_disk_is_sys_temp() {
    let kit = Kit::with_pages(90).await;
    kit.people().await;
    let mut imap = Imap::alice(&kit).await;
    let message = format!("A: b\r\n\r\n{}\r\n", "x".repeat(900));
    let mut stored = 0;
    loop {
        imap.client.send(format!("a APPEND INBOX {{{}+}}\r\n{message}\r\n", message.len())).await;
        let mut line = imap.client.line().await;
        while !line.starts_with("a ") {
            line = imap.client.line().await;
        }
        if !line.starts_with("a OK") {
            break;
        }
        stored += 1;
    }
    let mut session = Pop3::alice(&kit).await;
    assert_eq!(session.ok("STAT").await, format!("{stored} {}", stored * message.len()));
    assert_eq!(session.retr(1).await, message);
    session.ok("DELE 1").await;
    let end = session.cmd("QUIT").await;
    let left = Pop3::alice(&kit).await.ok("STAT").await;
    let (gone, stays) = (format!("{} ", stored - 1), format!("{stored} "));
    if end.starts_with("+OK") {
        assert!(left.starts_with(&gone), "{end}: {left}");
    } else {
        assert!(end.starts_with("-ERR [SYS/TEMP] "), "{end}");
        assert!(left.starts_with(&stays), "{end}: {left}");
    }
}

#[tokio::test]
async fn an_empty_mailbox() {
    let kit = Kit::new().await;
    let mut session = Pop3::alice(&kit).await;
    assert_eq!(session.ok("STAT").await, "0 0");
    assert!(session.lines("LIST").await.is_empty() && session.lines("UIDL").await.is_empty());
    for command in ["LIST 1", "UIDL 1", "RETR 1", "DELE 1", "TOP 1 1"] {
        assert_eq!(session.err(command).await, "no such message, there are 0");
    }
    assert_eq!(session.ok("QUIT").await, "goodbye");
    assert!(session.is_closed().await);
}

#[tokio::test]
async fn the_greeting_has_no_timestamp_for_apop() {
    let kit = Kit::new().await;
    let mut client = Client::connect(kit.server.addresses.pop3[0]).await;
    assert!(!client.line().await.contains('<'));
}
