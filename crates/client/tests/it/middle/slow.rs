//! Servers that are slow or endless: the client ends by itself, within a stated time. The clock is tokio's, paused: it
//! moves on when everybody waits.

use crate::fake::Ca;
use sealpost_client::submit::Found;
use sealpost_hostile::{Flood, Tarpit};
use sealpost_lookup::{
    Lookup, LookupConfig,
    zone::{Zone, ZoneServer},
};
use sealpost_proto::address::{Domain, Mailbox};
use std::time::Duration;
use tokio::time::Instant;

/// Reaching the home server, whatever its records say.
const FIND: Duration = Duration::from_secs(2 * 60);
/// A look-up: two minutes and a second for each address.
const KEYS: Duration = Duration::from_secs(2 * 60 + 1);
/// What the steps in between round up.
const SLACK: Duration = Duration::from_secs(1);

/// example.net, whose ten submission servers are one tarpit with as many addresses each as anybody tries.
async fn world(ca: &Ca, pit: &Tarpit) -> (ZoneServer, Lookup) {
    let mut zone = Zone::new("example.net");
    for n in 0..10 {
        let host = format!("m{n}.example.net");
        zone.srv("_submissions._tcp.example.net", 0, 0, pit.address.port(), &host);
        zone.a(&host, [127, 0, 0, 1].into());
    }
    let dns = ZoneServer::start("127.0.0.1:0".parse().unwrap(), vec![zone]).await.unwrap();
    let config = LookupConfig {
        dns: Some(dns.address()),
        ca_file: Some(ca.file()),
        mx_port: Some(pit.address.port()),
        ehlo_name: None,
    };
    (dns, Lookup::new(config).unwrap())
}

/// How long it takes to give up on the home server, and on the key of somebody there.
async fn both(pit: Tarpit, ca: &Ca) -> (Duration, Duration) {
    let (_dns, lookup) = world(ca, &pit).await;
    let domain = Domain::parse("example.net").unwrap();
    let began = Instant::now();
    assert!(Found::connect(&lookup, &domain).await.is_err());
    let home = began.elapsed();
    assert!(pit.connections() > 0);
    let began = Instant::now();
    let asked = [Mailbox::parse("alice@example.net").unwrap()];
    assert!(lookup.keys(&domain, &asked).await.is_err());
    (home, began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_server_without_an_end_is_left_in_two_minutes() {
    let ca = Ca::new();
    for (what, tls, greeting, flood) in [
        ("no handshake", false, "", None),
        ("no greeting", true, "", None),
        ("no EHLO", true, "220 mail.example.net ESMTP\r\n", None),
        ("an endless line", true, "220 ", Some(Flood::Line)),
        ("an endless greeting", true, "", Some(Flood::Lines)),
        ("an octet a second", true, "220", Some(Flood::Trickle)),
        ("an octet a second instead of the handshake", false, "", Some(Flood::Trickle)),
        ("answers to nothing", true, "220 mail\r\n", Some(Flood::Replies)),
    ] {
        // Certificates for one of the ten names are enough: the others fail at once.
        let acceptor = tls.then(|| ca.acceptor("m0.example.net"));
        let pit = Tarpit::start(acceptor, greeting, flood).await.unwrap();
        let (home, keys) = both(pit, &ca).await;
        assert!(home <= FIND + SLACK, "{what}: {home:?}");
        assert!(keys <= KEYS + SLACK, "{what}: {keys:?}");
    }
}

/// A name server that answers nothing.
#[tokio::test(start_paused = true)]
async fn a_silent_name_server_is_left_in_two_minutes() {
    let ca = Ca::new();
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let config = LookupConfig {
        dns: Some(silent.local_addr().unwrap()),
        ca_file: Some(ca.file()),
        mx_port: None,
        ehlo_name: None,
    };
    let lookup = Lookup::new(config).unwrap();
    let domain = Domain::parse("example.net").unwrap();
    let began = Instant::now();
    assert!(Found::connect(&lookup, &domain).await.is_err());
    assert!(lookup.keys(&domain, &[Mailbox::parse("a@example.net").unwrap()]).await.is_err());
    assert!(began.elapsed() <= FIND + KEYS + SLACK, "{:?}", began.elapsed());
}
