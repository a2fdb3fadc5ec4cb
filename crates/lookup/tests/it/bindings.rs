//! Profile §8: what ties a server's name to the domain.

use crate::{
    fake::{Fake, script},
    world::{World, domain, draft_server, loopback, mailboxes},
};
use sealpost_lookup::{Binding, KeyAnswer};

#[tokio::test]
async fn r04_an_answer_from_an_unbound_host_says_so() {
    let world = World::new(|_| {}).await;
    let server = world.implicit("mail.deep.example.net", draft_server()).await;
    world.zone(|zone| {
        zone.srv("_submissions._tcp.example.net", 0, 0, server.address.port(), "mail.deep.example.net");
        zone.a("mail.deep.example.net", loopback());
    });
    let answer = world.lookup(Some(1), 1, 1).keys(&domain(), &mailboxes(&["alice", "bob"])).await.unwrap();
    // The key and even the 550 are there; that they prove nothing stands beside them.
    assert!(matches!(&answer.host.binding, Binding::None(why) if why.contains("mail.deep.example.net")));
    assert!(!answer.host.is_authenticated());
    assert!(matches!(answer.answers[0].1, KeyAnswer::Key(..)));
    assert_eq!(answer.answers[1].1, KeyAnswer::NoKey);
}

#[tokio::test]
async fn r04_an_enforced_mta_sts_policy_binds() {
    for (policy, status, binding) in [
        ("mode: enforce\nmx: *.deep.example.net", "200 OK", true),
        ("mode: testing\nmx: *.deep.example.net", "200 OK", false),
        ("mode: enforce\nmx: *.example.net", "200 OK", false),
        ("mode: enforce\nmx: *.deep.example.net", "302 Found", false),
    ] {
        let world = World::new(|_| {}).await;
        let document = format!("version: STSv1\n{policy}\nmax_age: 86400\n");
        let length = document.len();
        let page = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{document}");
        // The scripted server does HTTP as well: it has no greeting, and answers the empty line that ends a request.
        let answers = std::sync::Arc::new(move |line: &str, _: bool| {
            Some(if line.is_empty() { page.clone() } else { String::new() })
        });
        let acceptor = world.ca.acceptor("mta-sts.example.net");
        let https = Fake::silent(acceptor, answers).await;
        let server = world.implicit("mx.deep.example.net", draft_server()).await;
        world.zone(|zone| {
            zone.srv("_submissions._tcp.example.net", 0, 0, server.address.port(), "mx.deep.example.net");
            zone.a("mx.deep.example.net", loopback()).a("mta-sts.example.net", loopback());
            zone.txt("_mta-sts.example.net", "v=STSv1; id=1");
        });
        let lookup = world.lookup(Some(1), 1, https.address.port());
        let answer = lookup.keys(&domain(), &mailboxes(&["alice"])).await.unwrap();
        assert_eq!(answer.host.binding == Binding::MtaSts, binding, "{policy} {status}");
        assert_eq!(answer.host.is_authenticated(), binding);
        // Kept by its id: asked for once.
        lookup.keys(&domain(), &mailboxes(&["alice"])).await.unwrap();
        assert_eq!(https.connections() == 1, binding || !status.starts_with("302"), "{policy} {status}");
    }
}

#[tokio::test]
async fn an_mta_sts_host_without_a_valid_certificate_proves_nothing() {
    let world = World::new(|_| {}).await;
    let https = Fake::start(Some(world.ca.acceptor("other.example.net")), true, script(&[])).await;
    let server = world.implicit("mx.deep.example.net", draft_server()).await;
    world.zone(|zone| {
        zone.srv("_submissions._tcp.example.net", 0, 0, server.address.port(), "mx.deep.example.net");
        zone.a("mx.deep.example.net", loopback()).a("mta-sts.example.net", loopback());
        zone.txt("_mta-sts.example.net", "v=STSv1; id=1");
    });
    let lookup = world.lookup(Some(1), 1, https.address.port());
    let answer = lookup.keys(&domain(), &mailboxes(&["alice"])).await.unwrap();
    assert!(!answer.host.is_authenticated());
}
