//! The home server is away, or goes amid it, while a mail program sends: the bridge waits, and sends nothing twice.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails where the fault is")]

use super::Bridge;
use crate::{
    hostile::{both::command, people},
    server::Client as Program,
    support::eventually,
};
use sealpost_hostile::{Attack, Breaks, Line, world::World};

/// A bridge of Bob's whose submission goes over a line that can break; IMAP does not.
async fn behind_a_line() -> (World, Line, Bridge) {
    let (world, _, _) = people().await;
    let (honest, host) = (world.com.addresses.submissions[0], world.com.context.config.hostname.clone());
    let line = Line::to(honest).await.unwrap();
    world.point("example.com", &host, line.address);
    let bob = Bridge::start_as(command(&world, "bob", "bob"), &["--no-background-index"]);
    (world, line, bob)
}

fn message(subject: &str) -> String {
    format!(
        "From: bob@example.com\r\nTo: bob@example.com\r\nDate: Mon, 23 Nov 2026 21:36:00 +0000\r\n\
         Message-ID: <{subject}@example.com>\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\n\r\nx\r\n"
    )
}

/// Up to the end of the message; its reply is to be read.
fn begin(client: &mut Program, subject: &str, to: &[&str]) {
    assert!(client.smtp("MAIL FROM:<bob@example.com>").starts_with("250 "));
    for to in to {
        let answer = client.smtp(&format!("RCPT TO:<{to}>"));
        assert!(answer.starts_with("250 "), "{answer}");
    }
    assert!(client.smtp("DATA").starts_with("354 "));
    client.send(message(subject));
    client.send(".\r\n");
}

/// How often each subject came.
fn arrived(program: &mut Program, subject: &str) -> usize {
    assert!(program.imap("SELECT INBOX").contains("a OK "));
    let answer = program.imap(&format!("SEARCH SUBJECT {subject}"));
    let found = answer.lines().find_map(|line| line.strip_prefix("* SEARCH")).unwrap_or_default();
    found.split_ascii_whitespace().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn sending_waits_for_a_server_that_comes_back() {
    let (_world, line, bob) = behind_a_line().await;
    let mut client = bob.submission();
    line.down();
    begin(&mut client, "patient", &["bob@example.com"]);
    eventually("an attempt", || (line.refused() > 0).then_some(()));
    line.mend();
    assert!(client.reply().starts_with("250 "));
    let mut program = bob.imap();
    eventually("mail", || (arrived(&mut program, "patient") == 1).then_some(()));

    // Who is asked for at the home server is so when it is there again.
    line.down();
    assert!(client.smtp("MAIL FROM:<bob@example.com>").starts_with("250 "));
    let refused = line.refused();
    client.send("RCPT TO:<nobody@example.com>\r\n");
    eventually("an attempt", || (line.refused() > refused).then_some(()));
    line.mend();
    let answer = client.reply();
    assert!(answer.starts_with("550 5.7.1") && answer.contains("has no key"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_for_a_program_that_hung_up_while_it_waited() {
    let (_world, line, bob) = behind_a_line().await;
    let mut client = bob.submission();
    line.down();
    begin(&mut client, "abandoned", &["bob@example.com"]);
    eventually("an attempt", || (line.refused() > 0).then_some(()));
    client.hang_up();
    assert!(client.reply().starts_with("451 "));
    line.mend();
    begin(&mut bob.submission(), "again", &["bob@example.com"]);
    let mut program = bob.imap();
    eventually("mail", || (arrived(&mut program, "again") == 1).then_some(()));
    assert_eq!(arrived(&mut program, "abandoned"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_off_is_sent_once_or_told_to_be_uncertain() {
    let (_world, line, bob) = behind_a_line().await;
    let (mut client, mut program) = (bob.submission(), bob.imap());
    let mut subjects = Vec::new();
    for exchange in 1.. {
        let mut reached = false;
        for how in [Breaks::BeforeItIsHeard, Breaks::BeforeItIsAnswered] {
            let subject = format!("break-{exchange}-{how:?}");
            eventually("no connection", || (line.open() == 0).then_some(()));
            line.breaks_in(exchange, how);
            begin(&mut client, &subject, &["bob@example.com"]);
            let answer = client.reply();
            let (broke, sent) = (!line.holds(), answer.starts_with("250 "));
            assert!(sent || answer.starts_with("554 ") && answer.contains("it is not certain"), "{answer}");
            assert!(sent || broke && exchange > 4, "signing in alone takes more: {answer}");
            subjects.push((subject, sent));
            reached |= broke;
        }
        if !reached {
            assert!(exchange > 5, "signing in and sending take more");
            break;
        }
    }
    for (subject, sent) in subjects {
        if sent {
            eventually("mail", || (arrived(&mut program, &subject) > 0).then_some(()));
        }
        assert!(arrived(&mut program, &subject) <= 1, "{subject}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_been_taken_is_not_sent_again() {
    let (world, _, _) = people().await;
    let middle = world.between("example.com").await;
    let bob = Bridge::start_as(command(&world, "bob", "bob"), &["--no-background-index"]);
    let (mut client, mut program) = (bob.submission(), bob.imap());
    for (subject, attack, came) in
        [("taken", Attack::LoseAnswer("BDAT"), 1), ("unheard", Attack::HangUp("BDAT"), 0)]
    {
        middle.attack(attack);
        middle.forget();
        begin(&mut client, subject, &["bob@example.com"]);
        let answer = client.reply();
        assert!(answer.starts_with("554 ") && answer.contains("it is not certain"), "{answer}");
        let given = middle.heard().iter().filter(|line| line.starts_with("BDAT")).count();
        assert_eq!(given, 1, "{:?}", middle.heard());
        middle.honest();
        // What the server took before has come when this has.
        begin(&mut client, &format!("behind-{subject}"), &["bob@example.com"]);
        assert!(client.reply().starts_with("250 "));
        eventually("mail", || (arrived(&mut program, &format!("behind-{subject}")) == 1).then_some(()));
        assert_eq!(arrived(&mut program, &format!("\"{subject}\"")), came + 1, "and the one behind it");
    }
}
