//! IPv6 from end to end: listened on, looked up, connected to, written in addresses and trace fields.

use crate::mx::{Dns, Mx, usual};
use crate::server::{ALICE, Server, Setup};
use crate::support::{eventually, succeed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

const PORTS: &str = "smtp = [\"[::1]:0\", \"127.0.0.1:0\"]\nsubmission = \"[::1]:0\"\nsubmissions = \"[::1]:0\"\n\
                     imap = \"[::1]:0\"\nimaps = \"[::1]:0\"\n";
const BOB: &str = "bob@example.com";

fn inbox(server: &Server, setup: &Setup) -> Vec<String> {
    let all = server.alice(setup).messages("INBOX", "BODY.PEEK[]");
    all.into_iter().map(|octets| String::from_utf8(octets).expect("ASCII")).collect()
}

#[test]
fn mail_comes_in_over_ipv6() {
    let setup = Setup::new("", PORTS);
    setup.account(ALICE);
    let server = setup.start();
    let smtp = server.addresses("smtp");
    assert_eq!(smtp.iter().map(SocketAddr::is_ipv6).collect::<Vec<_>>(), [true, false]);
    assert!(server.address("imaps").is_ipv6() && server.address("submissions").is_ipv6());
    let mut client = server.smtp();
    // Names are not checked, literals are understood (RFC 5321 §4.1.3).
    assert!(client.smtp("EHLO [IPv6:2001:db8::25]").starts_with("250-mail.example.net"));
    assert!(client.smtp("MAIL FROM:<x@[IPv6:2001:db8::zz]>").starts_with("501 "));
    let from = "x@[IPv6:2001:DB8:0:0::25]";
    let message = b"Subject: over IPv6\r\n\r\ntext\r\n";
    assert!(client.post(from, ALICE, message, false).starts_with("250 2.0.0"));
    // Whoever has nothing but the address finds the postmaster.
    for postmaster in ["Postmaster@[IPv6:::1]", "postmaster@[IPV6:0:0:0:0:0:0:0:1]"] {
        assert!(client.post("", postmaster, message, true).starts_with("250 2.0.0"), "{postmaster}");
    }
    for other in ["postmaster@[IPv6:::2]", "alice@[IPv6:::1]", "postmaster@[127.0.0.1]"] {
        assert!(client.post("", other, message, false).starts_with("550 5.7.1"), "{other}");
    }
    let inbox = inbox(&server, &setup);
    assert_eq!(inbox.len(), 3);
    let trace =
        "Return-Path: <x@[IPv6:2001:DB8:0:0::25]>\r\nReceived: from [IPv6:2001:db8::25] ([IPv6:::1])\r\n";
    assert!(inbox[0].starts_with(trace), "{}", inbox[0]);
    assert!(server.end().success());
}

/// One message from Alice to Bob, whose domain's addresses are `dns`'s.
fn relayed(dns: &Dns, port: u16) -> (Setup, Server) {
    let setup = Setup::new(&dns.config(port), PORTS);
    setup.account(ALICE);
    let server = setup.start();
    let message = format!("From: {ALICE}\r\nSubject: out\r\n\r\ntext\r\n");
    let reply = server.alice_writes(&setup).post(ALICE, BOB, message.as_bytes(), false);
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    (setup, server)
}

fn all_done(setup: &Setup, server: Server) {
    let queue = || succeed(&mut setup.admin(&["queue", "list"]));
    eventually("the delivery", || queue().contains("Nothing waits.").then_some(()));
    assert!(inbox(&server, setup).is_empty(), "a bounce");
    assert!(server.end().success());
}

#[test]
fn an_mx_with_ipv6_alone_is_reached() {
    let mx = Mx::start((Ipv6Addr::LOCALHOST, 0).into(), usual);
    let dns = Dns::start(|zone| {
        zone.mx("example.com", 10, "mail.example.com").aaaa("mail.example.com", Ipv6Addr::LOCALHOST);
    });
    let (setup, server) = relayed(&dns, mx.address.port());
    all_done(&setup, server);
    assert_eq!(mx.count("MESSAGE"), 1);
}

/// Nobody at one of the two families, either way round.
#[test]
fn an_address_that_is_dead_gives_way_to_the_other_family() {
    for six_lives in [true, false] {
        let (alive, dead): (SocketAddr, SocketAddr) = if six_lives {
            ((Ipv6Addr::LOCALHOST, 0).into(), (Ipv4Addr::LOCALHOST, 0).into())
        } else {
            ((Ipv4Addr::LOCALHOST, 0).into(), (Ipv6Addr::LOCALHOST, 0).into())
        };
        let nobody = |mx: &Mx| TcpStream::connect(SocketAddr::new(dead.ip(), mx.address.port())).is_err();
        let mx = (0..100).map(|_| Mx::start(alive, usual)).find(nobody).expect("a port of one family alone");
        let port = mx.address.port();
        let dns = Dns::start(|zone| {
            zone.mx("example.com", 10, "mail.example.com")
                .a("mail.example.com", Ipv4Addr::LOCALHOST)
                .aaaa("mail.example.com", Ipv6Addr::LOCALHOST);
        });
        let (setup, server) = relayed(&dns, port);
        all_done(&setup, server);
        assert_eq!(mx.count("MESSAGE"), 1);
    }
}

/// A second server of the same preference that greets with 421 is passed over as well, whatever its family.
#[test]
fn a_server_that_is_closed_gives_way_to_the_other_family() {
    let four = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = four.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for mut stream in four.incoming().flatten() {
            drop(std::io::Write::write_all(&mut stream, b"421 4.3.2 closed\r\n"));
        }
    });
    let mx = Mx::start((Ipv6Addr::LOCALHOST, port).into(), usual);
    let dns = Dns::start(|zone| {
        zone.mx("example.com", 10, "mail.example.com")
            .a("mail.example.com", Ipv4Addr::LOCALHOST)
            .aaaa("mail.example.com", Ipv6Addr::LOCALHOST);
    });
    let (setup, server) = relayed(&dns, port);
    all_done(&setup, server);
    assert_eq!(mx.count("MESSAGE"), 1);
}
