//! QUOTA (RFC 9208): what is told, and what is refused.

use super::harness::{ALICE, Server};
use sealpost_proto::address::Address;
use sealpost_store::account::{Quota, Resource};

async fn limit(server: &Server, quota: Quota) {
    limit_of(server, Resource::Octets, quota).await;
}

async fn limit_of(server: &Server, resource: Resource, quota: Quota) {
    server.ctx.store.set_quota(&Address::parse(ALICE).unwrap(), resource, quota).await.unwrap();
}

#[tokio::test]
async fn a_full_account_is_told_and_takes_no_more() {
    let server = Server::start().await;
    let mut client = server.inbox().await;
    let mut other = server.session().await;
    // Without a limit there is no root.
    assert_eq!(client.ok("GETQUOTAROOT INBOX").await, ["* QUOTAROOT INBOX"]);
    assert!(client.refused("GETQUOTA \"\"").await.starts_with("NO [NONEXISTENT]"));
    limit(&server, Quota::AtMost(4096)).await;
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
    limit(&server, Quota::AtMost(10)).await;
    let mut client = server.session().await;
    client.send("a APPEND INBOX {11}\r\n").await;
    assert!(client.line().await.starts_with("a NO [OVERQUOTA]"));
    client.send("b APPEND INBOX {10}\r\n").await;
    assert!(client.line().await.starts_with('+'));
    client.send("0123456789\r\n").await;
    assert!(client.line().await.starts_with("b OK"));
}

/// RES-MESSAGE (RFC 9208 §5.2): one below the limit, and one above.
#[tokio::test]
async fn messages_are_counted_and_limited_too() {
    let server = Server::start().await;
    let (mut client, mut other) = (server.inbox().await, server.session().await);
    limit_of(&server, Resource::Messages, Quota::AtMost(5)).await;
    for text in [&b"one"[..], b"two"] {
        assert!(client.append("INBOX", text).await.starts_with("OK"));
    }
    assert_eq!(other.ok("GETQUOTA \"\"").await, ["* QUOTA \"\" (MESSAGE 2 5)"]);
    // Copies count, all or none of them.
    client.ok("COPY 1:2 Sent").await;
    assert!(client.refused("COPY 1:2 Sent").await.starts_with("NO [OVERQUOTA]"));
    assert_eq!(other.ok("STATUS Sent (MESSAGES)").await, ["* STATUS Sent (MESSAGES 2)"]);
    // Of several in one APPEND none is stored where one is too many.
    client.send("m APPEND INBOX {1+}\r\na {1+}\r\nb\r\n").await;
    assert!(client.until("m").await.1.starts_with("NO [OVERQUOTA]"));
    limit(&server, Quota::AtMost(10_000)).await;
    assert_eq!(
        other.ok("GETQUOTAROOT INBOX").await,
        ["* QUOTAROOT INBOX \"\"", "* QUOTA \"\" (STORAGE 1 9 MESSAGE 4 5)"]
    );
    client.ok("COPY 1 Sent").await;
    assert!(client.refused("COPY 1 Sent").await.starts_with("NO [OVERQUOTA]"));
    client.send("n APPEND INBOX {1}\r\n").await;
    assert!(client.line().await.starts_with("n NO [OVERQUOTA]"), "before the octets");
    // A move takes no room, nor does what takes the place of another.
    client.ok("MOVE 1 Archive").await;
    client.send("r REPLACE 1 INBOX {5+}\r\nthree\r\n").await;
    assert!(client.until("r").await.1.starts_with("OK"));
    assert_eq!(other.ok("GETQUOTA \"\"").await, ["* QUOTA \"\" (STORAGE 1 9 MESSAGE 5 5)"]);
    client.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    client.ok("EXPUNGE").await;
    assert!(other.append("INBOX", b"four").await.starts_with("OK"));
}

/// RFC 8508 §1: one who replaces a message needs no room for both.
#[tokio::test]
async fn what_takes_the_place_of_another_takes_its_room() {
    let server = Server::start().await;
    let mut client = server.inbox().await;
    assert!(client.append("INBOX", &[b'x'; 1000]).await.starts_with("OK"));
    client.ok("NOOP").await;
    limit(&server, Quota::AtMost(1100)).await;
    client.send("a REPLACE 1 INBOX {1101}\r\n").await;
    assert!(client.line().await.starts_with("a NO [OVERQUOTA]"));
    client.send(format!("b REPLACE 1 INBOX {{1100+}}\r\n{}\r\n", "y".repeat(1100))).await;
    assert!(client.until("b").await.1.starts_with("OK"));
    assert!(client.append("INBOX", b"z").await.starts_with("NO [OVERQUOTA]"));
    // Where the limit was lowered since, what is no larger still comes in.
    limit(&server, Quota::AtMost(500)).await;
    client.send(format!("c REPLACE 1 INBOX {{1100+}}\r\n{}\r\n", "z".repeat(1100))).await;
    assert!(client.until("c").await.1.starts_with("OK"));
}

#[tokio::test]
async fn before_login_nothing_is_told() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    for command in ["GETQUOTA \"\"", "GETQUOTAROOT INBOX"] {
        assert!(client.refused(command).await.starts_with("BAD log in first"), "{command}");
    }
}
