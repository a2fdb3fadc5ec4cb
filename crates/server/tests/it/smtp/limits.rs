//! Limits per network, address and account (profile §4).

use super::kit::*;
use sealpost_proto::smtp::server::Role;
use sealpost_server::{conn::Conn, smtp};
use std::net::SocketAddr;

#[tokio::test]
async fn failed_logins_per_account_and_network() {
    let kit = Kit::with("limits.failed_logins = 3\nlimits.failed_logins_per_network = 5").await;
    kit.people().await;
    let invalid = "535 5.7.8 Authentication credentials invalid\r\n";
    let mut client = kit.submission().await;
    for _ in 0..3 {
        assert_eq!(client.cmd(&auth(ALICE, 9)).await, invalid);
    }
    // The right password does not help now, and the session ends.
    assert!(client.cmd(&auth(ALICE, 1)).await.starts_with("421 4.7.0"));
    assert!(client.is_closed().await);
    assert!(
        kit.submission()
            .await
            .cmd(&format!("AUTH PLAIN {}", response(ALICE, TOKEN)))
            .await
            .starts_with("421 4.7.0")
    );
    // Nobody else is locked out by it.
    assert!(kit.submission().await.cmd(&auth(BOB, 2)).await.starts_with("235 "));
    // A wrong code counts as a failed login; the network's limit is for all names together.
    let wrong = format!("XENROL {BOB} wrong {}", phc(&[9; 16], 9));
    assert_eq!(kit.submission().await.cmd(&wrong).await, invalid);
    assert_eq!(kit.submission().await.cmd(&auth("nobody@example.net", 9)).await, invalid);
    assert!(kit.submission().await.cmd(&auth(BOB, 2)).await.starts_with("421 4.7.0"));
    kit.clock.forward(600);
    assert!(kit.submission().await.cmd(&auth(ALICE, 1)).await.starts_with("235 "));
}

#[tokio::test]
async fn look_ups_per_network() {
    let kit = Kit::with("limits.lookups_per_minute = 4").await;
    let mut client = kit.submission().await;
    for _ in 0..2 {
        assert!(client.cmd(&format!("PUBKEY {BOB}")).await.starts_with("550 "));
        assert!(client.cmd(&format!("XKEYINFO {BOB}")).await.starts_with("550 "));
    }
    assert!(client.cmd(&format!("PUBKEY {BOB}")).await.starts_with("450 4.7.1"));
    assert!(client.cmd("PUBKEY nonsense").await.starts_with("501 5.1.3"), "syntax comes first");
    kit.clock.forward(60);
    assert!(client.cmd(&format!("PUBKEY {BOB}")).await.starts_with("550 "));
}

/// The first reply to a PUBKEY from there. The session runs over a pair of buffers: a machine has few addresses.
async fn look_up_from(kit: &Kit, peer: &str) -> String {
    let (ours, theirs) = tokio::io::duplex(4096);
    let peer = SocketAddr::new(peer.parse().unwrap(), 2525);
    let conn = Conn::over(Box::new(theirs), peer, kit.server.addresses.smtp[0]);
    tokio::spawn(smtp::serve(conn, kit.server.context.clone(), Role::Mx));
    let mut client = Client::over(ours);
    assert!(client.line().await.starts_with("220 "));
    client.cmd(&format!("PUBKEY {BOB}")).await
}

#[tokio::test]
async fn a_network_is_an_ipv4_address_or_an_ipv6_64() {
    let kit = Kit::with("limits.lookups_per_minute = 2").await;
    for (peer, taken) in [
        ("2001:db8::1", true),
        ("2001:db8::ffff:ffff:ffff:ffff", true),
        ("2001:db8::2", false),
        ("2001:db8:0:1::1", true),
        ("::1", true),
        ("192.0.2.1", true),
        ("::ffff:192.0.2.1", true), // the same address as an IPv6 socket sees it
        ("192.0.2.1", false),
        ("192.0.2.2", true),
    ] {
        let reply = look_up_from(&kit, peer).await;
        assert!(reply.starts_with(if taken { "550 " } else { "450 4.7.1" }), "{peer}: {reply}");
    }
}

#[tokio::test]
async fn sessions_per_address() {
    let kit = Kit::with("limits.sessions_per_address = 2").await;
    let (one, _two) = (kit.mx().await, kit.mx().await);
    let mut third = Client::connect(kit.server.addresses.smtp[0]).await;
    assert!(third.reply().await.starts_with("421 4.7.0"));
    assert!(third.is_closed().await);
    let mut fourth = Client::connect(kit.server.addresses.imap[0]).await;
    assert!(fourth.line().await.starts_with("* BYE "));
    // Behind TLS too, where nothing can be said before the handshake.
    let mut fifth = Client::connect(kit.server.addresses.submissions[0]).await.start_tls().await;
    assert_eq!(fifth.reply().await, "421 4.7.0 Too many sessions from your address\r\n");
    assert!(fifth.is_closed().await);
    let mut sixth = Client::connect(kit.server.addresses.imaps[0]).await.start_tls().await;
    assert_eq!(sixth.line().await, "* BYE Too many sessions from your address\r\n");
    assert!(sixth.is_closed().await);
    let mut one = one;
    one.cmd("QUIT").await;
    assert!(one.is_closed().await);
    // The place is free once the server has let go of the session.
    loop {
        let mut next = Client::connect(kit.server.addresses.smtp[0]).await;
        if next.reply().await.starts_with("220 ") {
            break;
        }
    }
}

#[tokio::test]
async fn sessions_in_all() {
    let kit = Kit::with("limits.sessions = 2").await;
    let (one, _two) = (kit.mx().await, kit.submission().await);
    let full = "421 4.3.2 Too many sessions, try again later\r\n";
    let mut third = Client::connect(kit.server.addresses.smtp[0]).await;
    assert_eq!(third.reply().await, full);
    assert!(third.is_closed().await);
    let mut fourth = Client::connect(kit.server.addresses.submissions[0]).await.start_tls().await;
    assert_eq!(fourth.reply().await, full);
    let mut fifth = Client::connect(kit.server.addresses.imap[0]).await;
    assert_eq!(fifth.line().await, "* BYE Too many sessions, try again later\r\n");
    drop(one);
    loop {
        let mut next = Client::connect(kit.server.addresses.smtp[0]).await;
        if next.reply().await.starts_with("220 ") {
            break;
        }
    }
}

/// More silent connections to a TLS port than are refused with words: the rest is closed, nothing hangs, and those who
/// have a place do not notice.
#[tokio::test]
async fn a_flood_of_silent_handshakes_is_closed() {
    let kit = Kit::with("limits.sessions_per_address = 1").await;
    let mut guest = kit.mx().await;
    let address = kit.server.addresses.submissions[0];
    let mut flood = Vec::new();
    for _ in 0..200 {
        flood.push(Client::connect(address).await);
    }
    assert_eq!(guest.cmd("NOOP").await, "250 2.0.0 OK\r\n");
    let mut closed = 0;
    for client in &mut flood {
        closed += usize::from(
            tokio::time::timeout(std::time::Duration::from_millis(1), client.is_closed()).await.is_ok(),
        );
    }
    assert!(closed >= 100, "only {closed} of 200 were closed at once");
    assert_eq!(guest.cmd("NOOP").await, "250 2.0.0 OK\r\n");
}

#[tokio::test]
async fn no_limits_lifts_them() {
    let more = "limits.no_limits = true\nlimits.failed_logins = 1\nlimits.lookups_per_minute = 1\n\
                limits.sessions_per_address = 1";
    let kit = Kit::with(more).await;
    kit.people().await;
    let mut client = kit.submission().await;
    for _ in 0..2 {
        assert!(client.cmd(&auth(ALICE, 9)).await.starts_with("535 "));
        assert!(client.cmd(&format!("PUBKEY {BOB}")).await.starts_with("550 "));
    }
    assert!(kit.submission().await.cmd(&auth(ALICE, 1)).await.starts_with("235 "));
}
