//! Mail in: who may send what to whom, and what arrives.

use super::kit::*;
use sealpost_lookup::zone::{Zone, ZoneServer};
use sealpost_proto::address::Address;
use sealpost_server::admin::{Request, Response};
use sealpost_store::account::Accounts as _;

const MESSAGE: &str = "From: x@example.com\r\nSubject: hello\r\n\r\n..two dots\r\nend\r\n";

async fn queue(kit: &Kit) -> Vec<(String, Vec<String>)> {
    match kit.admin(Request::QueueList).await {
        Response::Queue { entries } => entries.into_iter().map(|e| (e.domain, e.recipients)).collect(),
        _ => panic!("no queue"),
    }
}

#[tokio::test]
async fn port_25_takes_mail_for_local_people_only() {
    let kit = Kit::new().await;
    let mut client = kit.mx().await;
    client.cmd("EHLO relay.example.com").await;
    assert_eq!(client.cmd("MAIL FROM:<x@example.com>").await, "250 2.1.0 OK\r\n");
    assert!(client.cmd("RCPT TO:<a@elsewhere.example>").await.starts_with("550 5.7.1"));
    assert!(client.cmd("RCPT TO:<nobody@example.net>").await.starts_with("550 5.1.1"));
    assert!(client.cmd("DATA").await.starts_with("503 5.5.1"), "no recipient was accepted");
    for to in [BOB, "BOB+list@Example.NET", "bob@example.net"] {
        assert_eq!(client.cmd(&format!("RCPT TO:<{to}>")).await, "250 2.1.5 OK\r\n");
    }
    assert_eq!(client.cmd("DATA").await, "354 End data with <CR><LF>.<CR><LF>\r\n");
    client.send(MESSAGE).await;
    assert!(client.cmd(".").await.starts_with("250 2.0.0 OK: queued as "));
    let inbox = kit.inbox(BOB).await;
    assert_eq!(inbox.len(), 1, "one account, one copy");
    let (trace, message) = inbox[0].split_at(inbox[0].find("From: x@").unwrap());
    assert_eq!(message, MESSAGE.replace("..two", ".two"), "its own octets are untouched");
    assert!(
        trace.starts_with(
            "Return-Path: <x@example.com>\r\nReceived: from relay.example.com ([127.0.0.1])\r\n"
        )
    );
    assert!(
        trace.contains("by mail.example.net with ESMTP\r\n")
            && trace.contains("Mon, 23 Nov 2026 21:36:00 +0000")
    );
}

#[tokio::test]
async fn postmaster_is_always_taken() {
    for more in ["", "postmaster = \"bob@example.net\""] {
        let kit = Kit::with(more).await;
        kit.people().await;
        let mut client = kit.mx().await;
        client.cmd("HELO relay.example.com").await;
        let names = [
            "postmaster",
            "Postmaster",
            "postmaster@example.net",
            "POSTMASTER@example.org",
            "\"postmaster\"@EXAMPLE.net",
            "postMaster@mail.example.net", // the host's own name
            "postmaster@[127.0.0.1]",
            "@relay.example.com:Postmaster@example.net", // a source route is not followed (RFC 5321 §3.3)
        ];
        for to in names {
            let reply = client.mail("", &[to], "Subject: x\r\n\r\n").await;
            assert!(reply.starts_with("250 2.0.0"), "{to}: {reply}");
        }
        for to in ["postmaster@elsewhere.example", "postmaster@[127.0.0.2]", "bob@mail.example.net"] {
            let reply = client.mail("", &[to], "Subject: x\r\n\r\n").await;
            assert!(reply.starts_with("550 5.7.1"), "{to}: {reply}");
            client.cmd("RSET").await;
        }
        let whose = if more.is_empty() { ALICE } else { BOB };
        assert_eq!(kit.inbox(whose).await.len(), names.len());
        assert!(kit.inbox(whose).await[0].starts_with("Return-Path: <>\r\n"));
        // Users reach him too, by every name.
        let mut alice = kit.alice().await.0;
        let message = format!("From: {ALICE}\r\n\r\nhelp\r\n");
        alice.cmd("EHLO laptop").await;
        for to in ["postmaster", "postmaster@example.org", "postmaster@[127.0.0.1]"] {
            assert!(alice.mail(ALICE, &[to], &message).await.starts_with("250 2.0.0"), "{to}");
        }
        assert_eq!(kit.inbox(whose).await.len(), names.len() + 3);
        assert!(queue(&kit).await.is_empty());
    }
}

/// Whose mail it is: the configured account's, else that of an account or alias called so, else the oldest account's.
/// Where there is no account at all the sender is asked to wait.
#[tokio::test]
async fn postmaster_is_the_administrator_whoever_that_is() {
    let kit = Kit::with("postmaster = \"root@example.net\"").await;
    let mut client = kit.mx().await;
    client.cmd("EHLO relay.example.com").await;
    let message = "Subject: x\r\n\r\n";
    assert_eq!(
        client.mail("", &["postmaster@example.org"], message).await,
        "450 4.2.1 No account here yet, try again later\r\n"
    );
    client.cmd("RSET").await;
    // From here on it is always taken, also while the configured account is not there.
    let accounts = ["first@example.net", "postmaster@example.org", "root@example.net"];
    for next in accounts {
        kit.code(next).await;
        for name in ["postmaster", "Postmaster@example.net"] {
            assert!(client.mail("", &[name], message).await.starts_with("250 2.0.0"), "{next}");
        }
    }
    for address in accounts {
        assert_eq!(kit.inbox(address).await.len(), 2, "{address}");
    }
}

#[tokio::test]
async fn submission_needs_tls_and_a_login() {
    let kit = Kit::new().await;
    let mut client = kit.starttls_port().await;
    client.cmd("EHLO client.example").await;
    let starttls = "530 5.7.0 Must issue a STARTTLS command first\r\n";
    assert_eq!(client.cmd(&format!("MAIL FROM:<{ALICE}>")).await, starttls);
    let mut client = client.upgrade().await;
    client.cmd("EHLO client.example").await;
    assert_eq!(client.cmd(&format!("MAIL FROM:<{ALICE}>")).await, "530 5.7.0 Authentication required\r\n");
    assert!(client.cmd(&auth(ALICE, 1)).await.starts_with("235 "));
}

#[tokio::test]
async fn signed_in_people_send_only_as_themselves() {
    let kit = Kit::new().await;
    let alias = Address::parse("ally@example.net").unwrap();
    let account = kit.store.account(&Address::parse(ALICE).unwrap()).await.unwrap().unwrap().id;
    kit.store.set_alias(&alias, account).await.unwrap();
    // On port 25 a signed-in session is a submission session too.
    let mut mx = kit.mx().await.upgrade().await;
    mx.cmd(&auth(ALICE, 1)).await;
    mx.reply().await;
    for mut client in [kit.alice().await.0, kit.alice_by_app_password().await, mx] {
        client.cmd("EHLO client.example").await;
        for other in [BOB, "nobody@example.net", "alice@elsewhere.example", ""] {
            let reply = client.cmd(&format!("MAIL FROM:<{other}>")).await;
            assert!(reply.starts_with("553 5.7.1"), "{other}: {reply}");
        }
        for own in [ALICE, "Alice@example.net", "alice+shop@example.net", "ally@example.net"] {
            let message = format!("From: Me <{own}>\r\n\r\nx\r\n");
            assert!(client.mail(own, &[BOB], &message).await.starts_with("250 2.0.0"), "{own}");
        }
        for from in
            ["bob@example.net", "Alice <bob@example.net>", "alice@example.net, bob@example.net", "nonsense"]
        {
            let reply = client.mail(ALICE, &[BOB], &format!("From: {from}\r\n\r\nx\r\n")).await;
            assert!(reply.starts_with("550 5.7.1"), "{from}: {reply}");
        }
        let two = "From: alice@example.net\r\nFrom: bob@example.net\r\n\r\nx\r\n";
        assert!(client.mail(ALICE, &[BOB], two).await.starts_with("550 5.7.1"));
    }
    assert_eq!(kit.inbox(BOB).await.len(), 12);
}

#[tokio::test]
async fn r23_submission_delivers_here_and_queues_for_elsewhere() {
    let kit = Kit::new().await;
    let (mut alice, _) = kit.alice().await;
    alice.cmd("EHLO my-laptop.lan").await;
    let message = format!("From: {ALICE}\r\n\r\nx\r\n");
    let to = [BOB, "a@one.example", "b@two.example", "B@ONE.example", "[192.0.2.1]"];
    assert!(alice.mail(ALICE, &to[..4], &message).await.starts_with("250 2.0.0"));
    assert!(alice.mail(ALICE, &["a@[192.0.2.1]"], &message).await.starts_with("550 5.1.2"));
    let want = vec![
        ("one.example".to_owned(), vec!["a@one.example".to_owned(), "B@ONE.example".to_owned()]),
        ("two.example".to_owned(), vec!["b@two.example".to_owned()]),
    ];
    assert_eq!(queue(&kit).await, want);
    let got = &kit.inbox(BOB).await[0];
    assert!(!got.contains("my-laptop") && !got.contains("127.0.0.1"), "where users are stays out: {got}");
    assert!(got.contains("with ESMTPSA (TLS1.3 "), "{got}");
}

#[tokio::test]
async fn bare_line_ends_are_refused_after_the_whole_message() {
    let kit = Kit::new().await;
    let mut client = kit.mx().await;
    client.cmd("EHLO relay.example.com").await;
    for text in ["a\nb\r\n", "a\rb\r\n", "a\r\n.\nMAIL FROM:<evil@example.com>\r\n", "a\n.\r\nRSET\r\n"] {
        client.cmd("MAIL FROM:<x@example.com>").await;
        client.cmd(&format!("RCPT TO:<{BOB}>")).await;
        client.cmd("DATA").await;
        client.send(text).await;
        assert!(client.cmd(".").await.starts_with("550 5.6.11"), "{text:?}");
        client.cmd("MAIL FROM:<x@example.com>").await;
        client.cmd(&format!("RCPT TO:<{BOB}>")).await;
        let chunk = format!("BDAT {} LAST\r\n{text}", text.len());
        client.send(chunk).await;
        assert!(client.reply().await.starts_with("550 5.6.11"), "{text:?}");
    }
    assert_eq!(client.cmd("NOOP").await, "250 2.0.0 OK\r\n");
    assert!(kit.inbox(BOB).await.is_empty());
}

#[tokio::test]
async fn size_is_refused_when_declared_and_when_it_shows() {
    let kit = Kit::with("limits.message_size = 70000").await;
    kit.people().await;
    let mut client = kit.mx().await;
    assert!(client.cmd("EHLO relay.example.com").await.contains("SIZE 70000\r\n"));
    assert!(client.cmd("MAIL FROM:<x@example.com> SIZE=70001").await.starts_with("552 5.3.4"));
    assert!(client.cmd("MAIL FROM:<x@example.com> SIZE=70000").await.starts_with("250"));
    client.cmd("RSET").await;
    let line = format!("{}\r\n", "x".repeat(98));
    for (lines, want) in [(699, "250 2.0.0"), (700, "250 2.0.0"), (701, "552 5.3.4"), (7000, "552 5.3.4")] {
        let message = format!("\r\n{}", line.repeat(lines))[if lines == 700 { 2 } else { 0 }..].to_owned();
        let reply = client.mail("x@example.com", &[BOB], &message).await;
        assert!(reply.starts_with(want), "{lines}: {reply}");
    }
    // In chunks: refused at the chunk that is too much, and the rest of them is no command.
    client.cmd("MAIL FROM:<x@example.com>").await;
    client.cmd(&format!("RCPT TO:<{BOB}>")).await;
    client
        .send(format!("BDAT 70000\r\n{}BDAT 100\r\n{line}BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", line.repeat(700)))
        .await;
    assert!(client.reply().await.starts_with("250 2.0.0"));
    assert!(client.reply().await.starts_with("552 5.3.4"));
    assert!(client.reply().await.starts_with("503 5.5.1"));
    assert_eq!(client.reply().await, "250 2.0.0 OK\r\n");
}

#[tokio::test]
async fn a_large_message_arrives_whole_by_data_and_bdat() {
    let kit = Kit::new().await;
    let mut client = kit.mx().await;
    client.cmd("EHLO relay.example.com").await;
    let message = "0123456789: some text to make it long, line by line\r\n".repeat(30_000);
    let message = format!("Subject: long\r\n\r\n{message}");
    assert!(client.mail("x@example.com", &[BOB], &message).await.starts_with("250 2.0.0"));
    client.cmd("MAIL FROM:<x@example.com> BODY=8BITMIME").await;
    client.cmd(&format!("RCPT TO:<{BOB}>")).await;
    for chunk in message.as_bytes().chunks(77_777) {
        client.send([format!("BDAT {}\r\n", chunk.len()).as_bytes(), chunk].concat()).await;
        assert!(client.reply().await.starts_with("250 2.0.0"));
    }
    assert!(client.cmd("RCPT TO:<bob@example.net>").await.starts_with("503 "), "not between chunks");
    assert!(client.cmd("BDAT 0 LAST").await.starts_with("250 2.0.0 OK: queued as"));
    let inbox = kit.inbox(BOB).await;
    assert_eq!(inbox.len(), 2);
    assert!(inbox.iter().all(|m| m.ends_with(&message)));
}

#[tokio::test]
async fn loops_are_cut() {
    let kit = Kit::new().await;
    let mut client = kit.mx().await;
    client.cmd("EHLO relay.example.com").await;
    let mut alice = kit.alice().await.0;
    alice.cmd("EHLO laptop").await;
    for (hops, want) in [(99, "250 2.0.0"), (100, "554 5.4.6"), (900, "554 5.4.6")] {
        let fields = "Received: by somebody\r\nRECEIVED:\r\n by\r\n\tsomebody\r\n".repeat(hops / 2)
            + if hops % 2 == 1 { "received: x\r\n" } else { "" };
        let message = format!("From: {ALICE}\r\n{fields}\r\nReceived: not a field\r\n");
        let reply = client.mail("x@example.com", &[BOB], &message).await;
        assert!(reply.starts_with(want), "{hops}: {reply}");
        // In chunks, cut in the middle of a field.
        client.cmd("MAIL FROM:<x@example.com>").await;
        client.cmd(&format!("RCPT TO:<{BOB}>")).await;
        let (first, last) = message.split_at(message.len() / 2);
        client.send(format!("BDAT {}\r\n{first}BDAT {} LAST\r\n{last}", first.len(), last.len())).await;
        assert!(client.reply().await.starts_with("250 2.0.0"));
        let reply = client.reply().await;
        assert!(reply.starts_with(want), "{hops} in chunks: {reply}");
        // On its way to elsewhere.
        let reply = alice.mail(ALICE, &["a@one.example"], &message).await;
        assert!(reply.starts_with(want), "{hops} from a user: {reply}");
    }
    assert_eq!(kit.inbox(BOB).await.len(), 2);
    assert_eq!(queue(&kit).await.len(), 1);
}

/// A loop over two servers ends at the hundredth field, and the sender is told.
#[tokio::test]
async fn the_next_server_cuts_the_loop_and_the_sender_is_told() {
    let theirs = Kit::with_domains("example.com", "").await;
    theirs.code("bob@example.com").await;
    let mut zone = Zone::new("example.com");
    zone.mx("example.com", 10, "mail.example.com").a("mail.example.com", [127, 0, 0, 1].into());
    let dns = ZoneServer::start("127.0.0.1:0".parse().unwrap(), vec![zone]).await.unwrap();
    let mx_port = theirs.server.addresses.smtp[0].port();
    let more = format!("dns = \"{}\"\nmx_port = {mx_port}\n", dns.address());
    let kit = Kit::with_domains("example.net", &more).await;
    kit.people().await;
    let mut alice = kit.alice().await.0;
    alice.cmd("EHLO laptop").await;
    for hops in [98, 99] {
        let message = format!("From: {ALICE}\r\n{}\r\nx\r\n", "Received: by somebody\r\n".repeat(hops));
        assert!(alice.mail(ALICE, &["bob@example.com"], &message).await.starts_with("250 2.0.0"));
    }
    let done = async {
        while !queue(&kit).await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), done).await.expect("both attempts end");
    let arrived = theirs.inbox("bob@example.com").await;
    assert_eq!(arrived.len(), 1);
    assert_eq!(arrived[0].matches("Received: ").count(), 100, "98, ours, theirs");
    let bounces = kit.inbox(ALICE).await;
    assert_eq!(bounces.len(), 1);
    assert!(bounces[0].contains("Status: 5.4.6\r\n") && bounces[0].contains("in a loop"), "{}", bounces[0]);
}

#[tokio::test]
async fn utf8_addresses_need_smtputf8() {
    let kit = Kit::new().await;
    kit.code("zoë@example.net").await;
    let mut client = kit.mx().await;
    client.cmd("EHLO relay.example.com").await;
    assert!(client.cmd("MAIL FROM:<ä@example.com>").await.starts_with("553 5.6.7"));
    client.cmd("MAIL FROM:<x@example.com>").await;
    assert!(client.cmd("RCPT TO:<zoë@example.net>").await.starts_with("553 5.6.7"));
    client.cmd("RSET").await;
    assert!(client.cmd("MAIL FROM:<ä@example.com> SMTPUTF8").await.starts_with("250 2.1.0"));
    assert!(
        client.cmd("RCPT TO:<zoe\u{308}@example.net>").await.starts_with("250 2.1.5"),
        "another spelling"
    );
    client.cmd("DATA").await;
    assert!(client.cmd("Subject: ä\r\n\r\n.").await.starts_with("250 2.0.0"));
    assert!(kit.inbox("zoë@example.net").await[0].contains("with UTF8SMTP\r\n"));
}

/// A full disk: 452, nothing is half there, and the server goes on.
#[tokio::test]
async fn a_full_disk_is_452_and_nothing_acknowledged_is_lost() {
    let kit = Kit::with_pages(600).await;
    kit.people().await;
    let mut client = kit.mx().await;
    client.cmd("EHLO relay.example.com").await;
    let message = format!("Subject: x\r\n\r\n{}", "0123456789abcdef\r\n".repeat(5000));
    let mut accepted = 0;
    let refusal = loop {
        let reply = client.mail("x@example.com", &[BOB], &message).await;
        if !reply.starts_with("250 2.0.0") {
            break reply;
        }
        accepted += 1;
        assert!(accepted < 100);
    };
    assert!(refusal.starts_with("452 4.3.1"), "{refusal}");
    assert!(accepted > 0);
    assert_eq!(kit.inbox(BOB).await.len(), accepted);
    assert_eq!(client.cmd("NOOP").await, "250 2.0.0 OK\r\n");
    assert!(client.mail("x@example.com", &[BOB], "Subject: small\r\n\r\n").await.starts_with('2'));
}
