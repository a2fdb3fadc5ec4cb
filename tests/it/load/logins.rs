//! Guessing at the top of one's voice, with the defaults of profile §4.

use super::Loaded;
use crate::server::{ALICE, Client, TOKEN};
use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

#[test]
fn a_flood_of_logins_is_turned_away() {
    const ATTEMPTS: usize = 300;
    let loaded = Loaded::new("");
    let cert = loaded.setup.path("cert.pem");
    let address = loaded.server.address("imaps");
    // Somebody of the same network is signed in already.
    let mut neighbour = loaded.server.alice(&loaded.setup);
    // By default ten for an account and a hundred for a network in ten minutes, however many try at once.
    let attempt = |n: usize| {
        let mut client = Client::connect(address).tls(&cert);
        client.line();
        let user = if n < 20 { ALICE.to_owned() } else { format!("somebody{n}@example.net") };
        let begin = Instant::now();
        let reply = client.imap(&format!("LOGIN {user} wrong-token-{n}-of-some-length"));
        let judged = reply.contains("a NO [AUTHENTICATIONFAILED]");
        assert!(judged || reply.starts_with("* BYE too many failed logins from this network"), "{reply}");
        assert!(!judged || begin.elapsed() >= Duration::from_millis(500), "answered without the delay");
        (judged, user == ALICE)
    };
    let all: Vec<(bool, bool)> = std::thread::scope(|scope| {
        let part = |from: usize| move || (from..ATTEMPTS).step_by(30).map(attempt).collect::<Vec<_>>();
        let parts: Vec<_> = (0..30).map(|from| scope.spawn(part(from))).collect();
        parts.into_iter().flat_map(|part| part.join().expect("it ends")).collect()
    });
    let judged = all.iter().filter(|(judged, _)| *judged).count();
    let of_alice = all.iter().filter(|(judged, alice)| *judged && *alice).count();
    assert!(
        (90..=100).contains(&judged) && of_alice == 10,
        "{judged} were judged, {of_alice} of one account"
    );
    loaded.check("a flood of logins");

    // From that network nobody gets in, not even rightly and not by another door; whoever is in stays.
    let login = |mut client: Client| {
        client.line();
        client.imap(&format!("LOGIN {ALICE} {TOKEN}"))
    };
    assert!(login(Client::connect(address).tls(&cert)).starts_with("* BYE "));
    let mut submission = Client::connect(loaded.server.address("submissions")).tls(&cert);
    submission.line();
    submission.smtp("EHLO client.example");
    let plain = sealpost_proto::base64::encode(format!("\0{ALICE}\0{TOKEN}").as_bytes());
    assert!(submission.smtp(&format!("AUTH PLAIN {plain}")).starts_with("421 4.7.0 "));
    assert!(submission.is_closed());
    assert!(neighbour.imap("NOOP").contains("a OK"));
    // From everywhere else as ever, and mail from that network comes in.
    let elsewhere = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 99));
    let reply = login(Client::connect_from(elsewhere, address).tls(&cert));
    assert!(reply.contains("a OK"), "{reply}");
    let mut mx = loaded.server.smtp();
    mx.smtp("EHLO client.example");
    assert!(mx.mail(ALICE, b"Subject: from there\r\n\r\ntext\r\n").starts_with("250"));
}

#[test]
fn one_address_cannot_take_every_place() {
    let loaded = Loaded::new("");
    let address = loaded.server.address("smtp");
    // A hundred by default (profile §4); those of the start are closing still.
    let mut guests = Vec::new();
    let refused = loop {
        let mut client = Client::connect(address);
        match client.line() {
            line if line.starts_with("220 ") => guests.push(client),
            line => break line,
        }
        assert!(guests.len() <= 100, "no limit");
    };
    assert_eq!(refused, "421 4.7.0 Too many sessions from your address\r\n");
    assert!(guests.len() >= 98, "only {}", guests.len());
    let cert = loaded.setup.path("cert.pem");
    let mut imaps = Client::connect(loaded.server.address("imaps")).tls(&cert);
    assert_eq!(imaps.line(), "* BYE Too many sessions from your address\r\n");
    let elsewhere = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 98));
    assert!(Client::connect_from(elsewhere, address).line().starts_with("220 "));
    loaded.check("a hundred sessions of one address");
}
