//! The line to the home server breaks: mail programs go on, and lose and double nothing.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails where the fault is")]

use super::Bridge;
use crate::{
    hostile::{both::command, people},
    server::Client as Program,
    support::eventually,
};
use sealpost_hostile::{Line, world::World};

const PLAIN: &[u8] = b"From: eve@example.org\r\nSubject: plain\r\n\r\nx\r\n";

/// A bridge of Bob's behind a line that can break, and a session on another device of his that is not.
pub(super) async fn behind_a_line() -> (World, Line, Bridge, (Bridge, Program)) {
    let (world, _, _) = people().await;
    let (honest, host) = (world.com.addresses.imaps[0], world.com.context.config.hostname.clone());
    world.copy("bob", "bob-elsewhere");
    let elsewhere = Bridge::start_as(command(&world, "bob", "bob-elsewhere"), &["--no-background-index"]);
    let other = elsewhere.imap();
    let line = Line::to(honest).await.unwrap();
    world.point_imap("example.com", &host, line.address);
    let bob = Bridge::start_as(command(&world, "bob", "bob"), &["--no-background-index"]);
    (world, line, bob, (elsewhere, other))
}

fn select(program: &mut Program, count: u32) {
    let answer = program.imap("SELECT INBOX");
    assert!(answer.contains(&format!("* {count} EXISTS")) && answer.contains("a OK "), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_outlives_its_connection_to_the_server() {
    let (_world, line, bob, (_elsewhere, mut other)) = behind_a_line().await;
    let mut program = bob.imap();
    for _ in 0..3 {
        assert!(other.append(PLAIN).contains("OK"));
    }
    select(&mut program, 3);
    let connections = line.connections();
    line.cut();
    let answer = program.imap("FETCH 1:* (UID)");
    assert!(answer.contains("* 3 FETCH (UID 3)") && answer.contains("a OK "), "{answer}");
    assert!(line.connections() > connections, "the line was cut");

    // What happened meanwhile is told: new mail, flags.
    line.down();
    assert!(other.append(PLAIN).contains("OK"));
    assert!(other.imap("SELECT INBOX").contains("* 4 EXISTS"));
    assert!(other.imap("STORE 1 +FLAGS (\\Flagged)").contains("a OK "));
    let refused = line.refused();
    program.send("a UID SEARCH ALL\r\n");
    eventually("an attempt", || (line.refused() > refused).then_some(()));
    line.mend();
    let mut answer = program.tagged();
    assert!(answer.contains("a OK ") && answer.contains("SEARCH 1 2 3"), "{answer}");
    answer += &program.imap("NOOP");
    assert!(
        answer.contains("* 4 EXISTS") && answer.contains("* 1 FETCH (UID 1 FLAGS (\\Flagged))"),
        "{answer}"
    );

    // What it removed itself is no news.
    assert!(program.imap("STORE 2 +FLAGS.SILENT (\\Deleted)").contains("a OK "));
    assert!(program.imap("EXPUNGE").contains("* 2 EXPUNGE"));
    line.cut();
    let answer = program.imap("FETCH 1:* (UID)");
    assert!(answer.contains("* 2 FETCH (UID 3)") && answer.contains("a OK "), "{answer}");

    // In IDLE too.
    program.send("a IDLE\r\n");
    assert!(program.line().starts_with('+'));
    line.cut();
    assert!(other.append(PLAIN).contains("OK"));
    // Flags that changed since the mailbox was opened may be told again before it.
    let told = std::iter::repeat_with(|| program.line()).find(|line| !line.contains(" FETCH ")).unwrap();
    assert!(told.contains("* 4 EXISTS"), "{told}");
    program.send("DONE\r\n");
    assert!(program.tagged().contains("a OK "));

    // Where message numbers are others now, the program has to look anew.
    line.down();
    other.imap("NOOP");
    assert!(other.imap("STORE 1 +FLAGS (\\Deleted)").contains("a OK "));
    assert!(other.imap("EXPUNGE").contains("EXPUNGE"));
    line.mend();
    program.send("a NOOP\r\n");
    assert!(program.line().starts_with("* BYE [UNAVAILABLE]"));
    select(&mut bob.imap(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_message_that_breaks_off_is_fetched_again_and_shown_once() {
    let (world, line, bob, (_elsewhere, mut other)) = behind_a_line().await;
    let text = format!("From: bob@example.com\r\nSubject: long\r\n\r\n{}", "many words\r\n".repeat(100_000));
    assert!(other.append(text.as_bytes()).contains("OK"));
    let mut program = bob.imap();
    select(&mut program, 1);
    // The first connection is there already; the next two break amid the message.
    line.carries([900_000, 1_000_000]);
    line.cut();
    let answer = program.imap("FETCH 1 (BODY.PEEK[TEXT])");
    assert!(answer.ends_with("a OK FETCH completed\r\n"), "{}", &answer[answer.len().saturating_sub(200)..]);
    assert_eq!(answer.matches("BODY[TEXT]").count(), 1);
    assert_eq!(answer.matches("many words\r\n").count(), 100_000);
    drop(world);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_waits_for_a_server_that_comes_back() {
    let (_world, line, bob, (_elsewhere, mut other)) = behind_a_line().await;
    assert!(other.append(PLAIN).contains("OK"));
    line.down();
    std::thread::scope(|scope| {
        let signed_in = scope.spawn(|| bob.imap());
        eventually("an attempt", || (line.refused() > 0).then_some(()));
        line.mend();
        select(&mut signed_in.join().unwrap(), 1);
    });
}
