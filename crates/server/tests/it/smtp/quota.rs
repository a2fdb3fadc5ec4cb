//! Quotas at RCPT and at the end of a message.

use crate::kit::*;
use sealpost_server::admin::{Request, Response};

async fn quota(kit: &Kit, address: &str, quota: Option<&str>) -> Response {
    quotas(kit, address, quota, None).await
}

async fn quotas(kit: &Kit, address: &str, quota: Option<&str>, messages: Option<&str>) -> Response {
    let (quota, messages) = (quota.map(str::to_owned), messages.map(str::to_owned));
    kit.admin(Request::UserQuota { address: address.to_owned(), quota, messages }).await
}

const FROM: &str = "x@elsewhere.example";
const FULL: &str = "452 4.2.2 The mailbox is full, try again later\r\n";

#[tokio::test]
async fn a_full_mailbox_is_refused_at_rcpt_and_at_the_end() {
    let kit = Kit::new().await;
    assert!(matches!(
        quota(&kit, BOB, Some("2K")).await,
        Response::Quota { limit: Some(2048), is_default: false, .. }
    ));
    let mut mx = kit.mx().await;
    mx.cmd("EHLO elsewhere.example").await;
    let message = |octets: usize| format!("Subject: s\r\n\r\n{}\r\n", "x".repeat(octets));
    // What is larger than all the room there is, is refused for good; told at MAIL, before a single octet.
    mx.cmd(&format!("MAIL FROM:<{FROM}> SIZE=2049")).await;
    assert!(mx.cmd(&format!("RCPT TO:<{BOB}>")).await.starts_with("552 5.2.2 "));
    // The other recipient of the same message has no limit.
    assert!(mx.cmd(&format!("RCPT TO:<{ALICE}>")).await.starts_with("250 "));
    mx.cmd("RSET").await;
    // Untold, it is refused at its end, when nobody has room for it.
    assert!(mx.mail(FROM, &[BOB], &message(900)).await.starts_with("250 "), "the first fits");
    assert!(mx.mail(FROM, &[BOB], &message(3000)).await.starts_with("552 5.2.2 "));
    assert_eq!(mx.mail(FROM, &[BOB], &message(1500)).await, FULL);
    assert_eq!(kit.inbox(BOB).await.len(), 1);
    // Trace header included, the mailbox is full to the octet, or nearly: RCPT says so.
    assert!(matches!(quota(&kit, BOB, Some("1K")).await, Response::Quota { limit: Some(1024), .. }));
    mx.cmd(&format!("MAIL FROM:<{FROM}>")).await;
    assert_eq!(mx.cmd(&format!("RCPT TO:<{BOB}>")).await, FULL);
    mx.cmd("RSET").await;
    // Who has no quota of his own is not counted, and a lifted limit holds at once.
    assert!(mx.mail(FROM, &[ALICE], &message(5000)).await.starts_with("250 "));
    let Response::Quota { limit, is_default, messages, octets, .. } = quota(&kit, BOB, Some("none")).await
    else {
        panic!("no quota");
    };
    assert!(limit.is_none() && !is_default && messages == 1 && octets > 900);
    assert!(mx.mail(FROM, &[BOB], &message(5000)).await.starts_with("250 "));
    assert!(matches!(quota(&kit, BOB, Some("default")).await, Response::Quota { is_default: true, .. }));
    for wrong in ["5GB", "", "-1", "much"] {
        assert!(matches!(quota(&kit, BOB, Some(wrong)).await, Response::Error { .. }), "{wrong}");
    }
    assert!(matches!(quota(&kit, "nobody@example.net", None).await, Response::Error { .. }));
}

#[tokio::test]
async fn the_configured_quota_is_everybodys_and_postmaster_is_taken_nevertheless() {
    let kit = Kit::with("accounts = { default_quota = \"10\" }\npostmaster = \"alice@example.net\"").await;
    kit.people().await;
    assert!(matches!(
        quota(&kit, ALICE, None).await,
        Response::Quota { limit: Some(10), is_default: true, .. }
    ));
    let mut mx = kit.mx().await;
    mx.cmd("EHLO elsewhere.example").await;
    let message = "Subject: s\r\n\r\nmore than ten octets\r\n";
    assert!(mx.mail(FROM, &[ALICE], message).await.starts_with("552 5.2.2 "));
    assert!(mx.mail(FROM, &["postmaster@example.net"], message).await.starts_with("250 "));
    assert_eq!(mx.mail(FROM, &[ALICE], message).await, FULL);
    mx.cmd("RSET").await;
    assert!(matches!(
        quota(&kit, ALICE, Some("1M")).await,
        Response::Quota { limit: Some(1_048_576), is_default: false, .. }
    ));
    assert!(mx.mail(FROM, &[ALICE], message).await.starts_with("250 "));
}

#[tokio::test]
async fn a_mailbox_may_have_so_many_messages() {
    let kit = Kit::with("accounts = { default_message_quota = \"2\" }").await;
    kit.people().await;
    assert!(matches!(
        quota(&kit, BOB, None).await,
        Response::Quota { limit: None, message_limit: Some(2), is_message_default: true, messages: 0, .. }
    ));
    let mut mx = kit.mx().await;
    mx.cmd("EHLO elsewhere.example").await;
    let message = "Subject: s\r\n\r\nhello\r\n";
    for _ in 0..2 {
        assert!(mx.mail(FROM, &[BOB], message).await.starts_with("250 "));
        kit.inbox(BOB).await;
    }
    mx.cmd(&format!("MAIL FROM:<{FROM}>")).await;
    assert_eq!(mx.cmd(&format!("RCPT TO:<{BOB}>")).await, FULL);
    mx.cmd("RSET").await;
    // One more: there is room at once; then none for anybody without one of his own.
    assert!(matches!(
        quotas(&kit, BOB, None, Some("3")).await,
        Response::Quota { message_limit: Some(3), is_message_default: false, messages: 2, .. }
    ));
    assert!(mx.mail(FROM, &[BOB], message).await.starts_with("250 "));
    kit.inbox(BOB).await;
    assert!(matches!(
        quotas(&kit, BOB, None, Some("0")).await,
        Response::Quota { message_limit: Some(0), messages: 3, .. }
    ));
    mx.cmd(&format!("MAIL FROM:<{FROM}>")).await;
    assert!(mx.cmd(&format!("RCPT TO:<{BOB}>")).await.starts_with("552 5.2.2 "), "there will never be room");
    // What is wrong changes nothing of the other either.
    assert!(matches!(quotas(&kit, BOB, Some("1K"), Some("1K")).await, Response::Error { .. }));
    assert!(matches!(
        quotas(&kit, BOB, None, Some("none")).await,
        Response::Quota { limit: None, is_default: true, message_limit: None, is_message_default: false, .. }
    ));
}
