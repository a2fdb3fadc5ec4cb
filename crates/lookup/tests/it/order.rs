//! Profile §8: which server is asked, in which order, and never without verified TLS.

use crate::{
    fake::{Ca, Fake, script},
    world::{EHLO, World, domain, draft_server, key, loopback, mailboxes},
};
use sealpost_lookup::{KeyAnswer, Keyword, LookupError, Transport};
use sealpost_proto::statement::Chain;

#[tokio::test]
async fn r10_the_srv_target_is_asked_first_and_answers_for_all_in_one_connection() {
    let world = World::new(|_| {}).await;
    let server = world.implicit("mail.example.net", draft_server()).await;
    let mx = world.starttls("mail.example.net", draft_server()).await;
    world.zone(|zone| {
        zone.srv("_submissions._tcp.example.net", 0, 0, server.address.port(), "mail.example.net");
        zone.mx("example.net", 10, "mail.example.net").a("mail.example.net", loopback());
    });
    let lookup = world.lookup(Some(mx.address.port()), 1, 1);
    let asked = mailboxes(&["alice", "bob", "carol", "dave", "erin"]);
    let answer = lookup.keys(&domain(), &asked).await.unwrap();
    assert!(answer.host.is_authenticated());
    assert_eq!(answer.host.transport, Transport::Implicit);
    assert_eq!(
        answer.keywords.iter().copied().collect::<Vec<_>>(),
        [Keyword::EncryptMessage, Keyword::SignMessage, Keyword::HashedPass]
    );
    let answers: Vec<&KeyAnswer> = answer.answers.iter().map(|(_, answer)| answer).collect();
    assert_eq!(answers[0], &KeyAnswer::Key(key(), Chain::default()));
    assert_eq!(answers[1], &KeyAnswer::NoKey);
    // R11: only 220 and 550 are definite.
    for answer in &answers[2..] {
        assert!(matches!(answer, KeyAnswer::Failed(_)), "{answer:?}");
    }
    assert_eq!((server.connections(), mx.connections()), (1, 0));
    assert!(!server.heard_line("XKEYINFO"), "a server of the draft alone is not asked for more");
    assert!(!server.heard_line("MAIL"), "before MAIL FROM");
}

#[tokio::test]
async fn the_mx_on_465_comes_second_and_only_where_the_mx_port_is_25() {
    let world = World::new(|zone| {
        zone.mx("example.net", 10, "mail.example.net").a("mail.example.net", loopback());
    })
    .await;
    let submissions = world.implicit("mail.example.net", draft_server()).await;
    let mx = world.starttls("mail.example.net", draft_server()).await;
    let lookup = world.lookup(None, submissions.address.port(), 1);
    let answer = lookup.keys(&domain(), &mailboxes(&["alice"])).await.unwrap();
    assert_eq!(answer.host.transport, Transport::Implicit);
    assert_eq!(submissions.connections(), 1);

    let lookup = world.lookup(Some(mx.address.port()), submissions.address.port(), 1);
    let answer = lookup.keys(&domain(), &mailboxes(&["alice"])).await.unwrap();
    assert_eq!(answer.host.transport, Transport::StartTls);
    assert_eq!((submissions.connections(), mx.connections()), (1, 1));
    // R02, R03: nothing was asked before TLS.
    assert!(mx.heard().iter().all(|(tls, line)| *tls || line.starts_with("EHLO") || line == "STARTTLS"));
}

#[tokio::test]
async fn a_server_that_is_down_gives_way_to_the_next_step() {
    let world = World::new(|_| {}).await;
    let mx = world.starttls("mail.example.net", draft_server()).await;
    world.zone(|zone| {
        // Port 1: nobody listens there.
        zone.srv("_submissions._tcp.example.net", 0, 0, 1, "mail.example.net");
        zone.mx("example.net", 10, "mail.example.net").a("mail.example.net", loopback());
    });
    let answer = world.lookup(Some(mx.address.port()), 1, 1).keys(&domain(), &mailboxes(&["alice"])).await;
    assert_eq!(answer.unwrap().host.transport, Transport::StartTls);
}

#[tokio::test]
async fn r04_only_most_preferred_mx_are_asked() {
    let world = World::new(|zone| {
        zone.mx("example.net", 10, "down.example.net").mx("example.net", 20, "mail.example.net");
        zone.a("down.example.net", [127, 0, 0, 9].into()).a("mail.example.net", loopback());
    })
    .await;
    let mx = world.starttls("mail.example.net", draft_server()).await;
    let answer = world.lookup(Some(mx.address.port()), 1, 1).keys(&domain(), &mailboxes(&["alice"])).await;
    assert!(matches!(answer, Err(LookupError::Unreachable { .. })), "{answer:?}");
    assert_eq!(mx.connections(), 0);
}

#[tokio::test]
async fn r03_no_tls_no_answer() {
    let world = World::new(|zone| {
        zone.mx("example.net", 10, "mail.example.net").a("mail.example.net", loopback());
    })
    .await;
    let stranger = Ca::new();
    let plain = script(&[("EHLO", "250-mail\r\n250-ENCRYPTMESSAGE\r\n250 SIGNMESSAGE\r\n")]);
    let refuses = script(&[("EHLO", EHLO), ("STARTTLS", "454 4.7.0 not now\r\n")]);
    let injects = script(&[("EHLO", EHLO), ("STARTTLS", "220 go\r\n250-x\r\n250 ENCRYPTMESSAGE\r\n")]);
    let servers = [
        ("stripped", Fake::start(None, false, plain).await),
        ("refused", world.starttls("mail.example.net", refuses).await),
        ("injected", world.starttls("mail.example.net", injects).await),
        ("another name", world.starttls("mail.example.com", draft_server()).await),
        (
            "another authority",
            Fake::start(Some(stranger.acceptor("mail.example.net")), false, draft_server()).await,
        ),
    ];
    for (what, server) in servers {
        let lookup = world.lookup(Some(server.address.port()), 1, 1);
        let answer = lookup.keys(&domain(), &mailboxes(&["alice"])).await;
        assert!(matches!(answer, Err(LookupError::Unreachable { .. })), "{what}: {answer:?}");
        assert!(server.connections() > 0, "{what}");
        assert!(!server.heard_line("PUBKEY"), "{what}");
    }
}

#[tokio::test]
async fn r03_keywords_count_inside_tls_only() {
    let world = World::new(|zone| {
        zone.mx("example.net", 10, "mail.example.net").a("mail.example.net", loopback());
    })
    .await;
    let before = std::sync::Arc::new(|line: &str, tls: bool| {
        Some(match (line, tls) {
            ("GREETING", _) => String::new(),
            ("STARTTLS", _) => "220 go\r\n".into(),
            (_, false) => EHLO.into(),
            (_, true) => "250 mail\r\n".into(),
        })
    });
    let server = world.starttls("mail.example.net", before).await;
    let answer =
        world.lookup(Some(server.address.port()), 1, 1).keys(&domain(), &mailboxes(&["alice"])).await;
    let answer = answer.unwrap();
    assert!(answer.keywords.is_empty());
    assert!(matches!(answer.answers[0].1, KeyAnswer::Failed(_)));
    assert!(!server.heard_line("PUBKEY"));
}

#[tokio::test]
async fn domains_without_mail() {
    let world = World::new(|zone| {
        zone.mx("example.net", 0, ".");
    })
    .await;
    let lookup = world.lookup(Some(1), 1, 1);
    assert!(matches!(lookup.mx(&domain()).await, Err(LookupError::NoMail(_))), "null MX, RFC 7505");
    let gone = sealpost_proto::address::Domain::parse("gone.example.net").unwrap();
    assert!(matches!(lookup.mx(&gone).await, Err(LookupError::NoMail(_))), "NXDOMAIN");
    // The zone's server refuses what is not its own: that is no answer, and not "no mail".
    let foreign = sealpost_proto::address::Domain::parse("example.org").unwrap();
    assert!(matches!(lookup.mx(&foreign).await, Err(LookupError::Dns { .. })));

    world.zone(|zone| {
        zone.a("example.net", loopback());
    });
    let hosts = lookup.mx(&domain()).await.unwrap();
    assert_eq!((hosts.len(), hosts[0].name.as_str()), (1, "example.net"), "implicit MX, RFC 5321 §5.1");

    world.zone(|zone| {
        zone.mx("example.net", 20, "b.example.net").mx("example.net", 10, "a.example.net");
        zone.mx("example.net", 30, "gone.example.net");
        zone.a("a.example.net", loopback()).a("b.example.net", loopback());
    });
    let names: Vec<String> = lookup.mx(&domain()).await.unwrap().into_iter().map(|host| host.name).collect();
    assert_eq!(names, ["a.example.net", "b.example.net"]);
}

#[tokio::test]
async fn home_servers() {
    let world = World::new(|zone| {
        zone.srv("_submissions._tcp.example.net", 10, 0, 4650, "two.example.net");
        zone.srv("_submissions._tcp.example.net", 5, 0, 4651, "one.example.net");
        zone.a("one.example.net", loopback()).a("two.example.net", loopback());
    })
    .await;
    let lookup = world.lookup(Some(1), 1, 1);
    let ports = |hosts: &[sealpost_lookup::ServerHost]| -> Vec<u16> {
        hosts.iter().map(|host| host.addresses[0].port()).collect()
    };
    assert_eq!(ports(&lookup.submission(&domain()).await.unwrap()), [4651, 4650]);
    // No _imaps record: the submission host on 993.
    assert_eq!(ports(&lookup.imap(&domain()).await.unwrap()), [993, 993]);
    world.zone(|zone| {
        zone.srv("_imaps._tcp.example.net", 0, 0, 9930, "one.example.net").a("one.example.net", loopback());
    });
    assert_eq!(ports(&lookup.imap(&domain()).await.unwrap()), [9930]);
    // "Not offered" (RFC 2782) and no MX on 465 to fall back to.
    world.zone(|zone| {
        zone.srv("_submissions._tcp.example.net", 0, 0, 0, ".").a("example.net", loopback());
    });
    assert!(lookup.submission(&domain()).await.is_err());
    // Without a record: the MX on 465.
    let lookup = world.lookup(None, 4652, 1);
    assert_eq!(ports(&lookup.submission(&domain()).await.unwrap()), [4652]);
}
