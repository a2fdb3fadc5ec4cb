//! RFC 6856: who asks for UTF-8 gets messages as they are; who does not gets their header in ASCII.

use super::harness::{Imap, Pop3, with_messages};
use crate::kit::{ALICE, TOKEN};

const MESSAGE: &str = "From: Zoë <zoë@bücher.example>\r\nTo: Ålice <alice@example.net>\r\nSubject: grün\r\n und blau\r\n\
                       Date: Mon, 23 Nov 2026 12:00:00 +0000\r\n\r\nTschüß\r\n.\r\n";

#[tokio::test]
async fn a_header_in_utf8_comes_as_it_is_to_who_asks_for_it() {
    let kit = with_messages(&[MESSAGE, "Subject: plain\r\n\r\nTschüß\r\n"]).await;
    let mut session = Pop3::connect(&kit).await;
    assert!(session.lines("CAPA").await.iter().any(|tag| tag == "UTF8 USER"));
    session.ok("UTF8").await;
    session.ok(&format!("USER {ALICE}")).await;
    session.ok(&format!("PASS {TOKEN}")).await;
    assert_eq!(session.retr(1).await, MESSAGE);
    assert_eq!(session.lines("TOP 1 0").await[2], "Subject: grün");
    assert_eq!(session.ok("LIST 1").await, format!("1 {}", MESSAGE.len()));
    // In this state it is too late.
    session.err("UTF8").await;
    // Nothing of it was kept: another session is without it, and IMAP has what came.
    let mut session = Pop3::alice(&kit).await;
    assert!(session.lines("TOP 1 0").await.iter().all(|line| line.is_ascii()));
    let size = Imap::alice(&kit).await.ok("FETCH 1 RFC822.SIZE").await;
    assert_eq!(size, [format!("* 1 FETCH (RFC822.SIZE {})", MESSAGE.len())]);
}

#[tokio::test]
async fn a_header_in_utf8_comes_in_ascii_to_others_and_the_body_as_it_is() {
    let plain = "Subject: plain\r\nX-Latin: ascii\r\n\r\nTschüß\r\n";
    let kit = with_messages(&[MESSAGE, plain]).await;
    let mut session = Pop3::alice(&kit).await;
    assert_eq!(
        session.retr(1).await,
        "From: =?utf-8?q?Zo=C3=AB_zo=C3=AB=40b=C3=BCcher=2Eexample?=\r\n <non-ascii-address@invalid>\r\n\
         To: =?utf-8?q?=C3=85lice?= <alice@example.net>\r\nSubject: =?utf-8?q?gr=C3=BCn_und_blau?=\r\n\
         Date: Mon, 23 Nov 2026 12:00:00 +0000\r\n\r\nTschüß\r\n.\r\n"
    );
    assert_eq!(session.retr(2).await, plain);
}

#[tokio::test]
async fn before_tls_there_is_no_utf8() {
    let kit = with_messages(&[]).await;
    let mut session = Pop3::clear(&kit).await;
    assert!(!session.lines("CAPA").await.iter().any(|tag| tag.starts_with("UTF8")));
    // RFC 6856 §2.1 forbids STLS behind it.
    assert!(session.err("UTF8").await.starts_with("begin TLS first"));
}
