//! QUOTA (RFC 9208): what is told, and what is refused.

use super::harness::{ALICE, Server};
use sealpost_proto::address::Address;
use sealpost_store::account::Quota;

async fn limit(server: &Server, quota: Quota) {
    server.ctx.store.set_quota(&Address::parse(ALICE).unwrap(), quota).await.unwrap();
}

#[tokio::test]
async fn a_full_account_is_told_and_takes_no_more() {
    let server = Server::start().await;
    let mut client = server.inbox().await;
    let mut other = server.session().await;
    // Without a limit there is no root.
    assert_eq!(client.ok("GETQUOTAROOT INBOX").await, ["* QUOTAROOT INBOX"]);
    assert!(client.refused("GETQUOTA \"\"").await.starts_with("NO [NONEXISTENT]"));
    limit(&server, Quota::Octets(4096)).await;
    let message = vec![b'x'; 1500];
    assert!(client.append("INBOX", &message).await.starts_with("OK"));
    assert_eq!(
        other.ok("GETQUOTAROOT Sent").await,
        ["* QUOTAROOT Sent \"\"", "* QUOTA \"\" (STORAGE 2 4)"],
        "what one session stored another one is told"
    );
    assert_eq!(other.ok("GETQUOTA \"\"").await, ["* QUOTA \"\" (STORAGE 2 4)"]);
    assert!(other.refused("GETQUOTA other").await.starts_with("NO [NONEXISTENT]"));
    assert!(other.refused("GETQUOTAROOT nowhere").await.starts_with("NO [NONEXISTENT]"));
    // A copy counts; one more does not fit, nor does a message, to the octet.
    client.ok("COPY 1 Sent").await;
    assert!(client.refused("COPY 1 Sent").await.starts_with("NO [OVERQUOTA]"));
    assert!(client.append("Sent", &vec![b'x'; 1097]).await.starts_with("NO [OVERQUOTA]"));
    assert!(client.append("Sent", &vec![b'x'; 1096]).await.starts_with("OK"));
    assert_eq!(other.ok("GETQUOTA \"\"").await, ["* QUOTA \"\" (STORAGE 4 4)"]);
    assert!(client.append("INBOX", b"x").await.starts_with("NO [OVERQUOTA]"));
    // A move takes no more room. What \Deleted would free is told, and is free once it is expunged.
    client.ok("MOVE 1 Archive").await;
    client.ok("SELECT Sent").await;
    client.ok("STORE 2 +FLAGS (\\Deleted)").await;
    let asked = other.ok("STATUS Sent (DELETED DELETED-STORAGE)").await;
    assert_eq!(asked, ["* STATUS Sent (DELETED 1 DELETED-STORAGE 2)"]);
    assert_eq!(other.ok("STATUS INBOX (DELETED-STORAGE)").await, ["* STATUS INBOX (DELETED-STORAGE 0)"]);
    assert!(client.append("INBOX", b"x").await.starts_with("NO [OVERQUOTA]"));
    client.ok("EXPUNGE").await;
    assert!(other.append("INBOX", b"x").await.starts_with("OK"));
    // The administrator alone sets it, at once.
    assert!(client.refused("SETQUOTA \"\" (STORAGE 5000)").await.starts_with("BAD"));
    limit(&server, Quota::Unlimited).await;
    assert!(client.append("INBOX", &vec![b'x'; 10_000]).await.starts_with("OK"));
}

#[tokio::test]
async fn a_refused_literal_that_waits_is_never_asked_for() {
    let server = Server::start().await;
    limit(&server, Quota::Octets(10)).await;
    let mut client = server.session().await;
    client.send("a APPEND INBOX {11}\r\n").await;
    assert!(client.line().await.starts_with("a NO [OVERQUOTA]"));
    client.send("b APPEND INBOX {10}\r\n").await;
    assert!(client.line().await.starts_with('+'));
    client.send("0123456789\r\n").await;
    assert!(client.line().await.starts_with("b OK"));
}

#[tokio::test]
async fn before_login_nothing_is_told() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    for command in ["GETQUOTA \"\"", "GETQUOTAROOT INBOX"] {
        assert!(client.refused(command).await.starts_with("BAD log in first"), "{command}");
    }
}
