//! POP3 against a server that is killed while QUIT is carried out: what DELE had marked is gone as a whole, or all of it
//! is there (RFC 1939 §6), and what was answered is gone. What was not marked stays.

use super::{
    air::{Airs, Kind},
    inspect,
    mailboxes::{Running, ask, numbers},
    rng::Rng,
};
use crate::{
    server::{ALICE, ALL_PORTS, Client, Setup, TOKEN},
    support::eventually,
};
use std::{collections::BTreeSet, time::Duration};

/// Sessions that are to be cut off in QUIT.
const CUTS: usize = 6;
/// Nobody is killed more often.
const KILLS_MAX: usize = 200;
/// Messages in the mailbox, about.
const MESSAGES: usize = 40;

/// The UIDs in INBOX.
fn uids(setup: &Setup, running: &Running) -> BTreeSet<u32> {
    let mut client = running.imap(setup).expect("it is up");
    ask(&mut client, "SELECT INBOX").expect("it is up");
    let said = ask(&mut client, "UID SEARCH RETURN (ALL) ALL").expect("it is up");
    let set = said.split_once(" ALL ").map(|(_, rest)| rest.split("\r\n").next().unwrap_or_default());
    set.map(numbers).unwrap_or_default().into_iter().collect()
}

/// Fills INBOX up.
fn fill(setup: &Setup, running: &Running, count: usize) {
    let mut client = running.imap(setup).expect("it is up");
    for n in 0..count {
        let text = format!("Subject: {n}\r\n\r\n{}\r\n", "x".repeat(n * 50));
        ask(&mut client, &format!("APPEND INBOX {{{}+}}\r\n{text}", text.len())).expect("it is up");
    }
}

/// A command that must be answered with `+OK`.
fn ok(client: &mut Client, command: &str) {
    client.send(format!("{command}\r\n"));
    let line = client.line();
    assert!(line.starts_with("+OK"), "{command}: {line}");
}

#[test]
fn quit_is_whole_when_the_server_is_killed() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let mut rng = Rng::new(number("CRASH_SEED").unwrap_or(1));
    let setup = Setup::new("[limits]\nno_limits = true\n", ALL_PORTS);
    setup.account(ALICE);
    let (airs, running) = (Airs::new(), Running::default());
    running.start(&setup);
    let (mut whole, mut undone, mut answered) = (0, 0, 0);
    while airs.cut(0).get(&Kind::Quit).copied().unwrap_or(0) < CUTS || whole == 0 || undone == 0 {
        let (kills, _) = airs.counts(0);
        assert!(kills < KILLS_MAX, "{kills} kills: {whole} cut sessions were done, {undone} not");
        let mut before = uids(&setup, &running);
        fill(&setup, &running, MESSAGES.saturating_sub(before.len()));
        before = uids(&setup, &running);

        let mut client = running.pop3(&setup).expect("it is up");
        ok(&mut client, &format!("USER {ALICE}"));
        ok(&mut client, &format!("PASS {TOKEN}"));
        let mut marked = BTreeSet::new();
        for (place, uid) in (1..).zip(&before) {
            if rng.one_in(2) {
                ok(&mut client, &format!("DELE {place}"));
                marked.insert(*uid);
            }
        }
        let most = *rng.pick(&[1, 500, 2_000, 6_000]);
        let delay = Duration::from_micros(rng.below(most) as u64);
        let (ours, killed) = (running.clone(), airs.clone());
        let mut snapped = airs.trap(0, vec![Kind::Quit], delay, move || ours.kill(&killed));
        client.send("QUIT\r\n");
        let ticket = airs.wait(0, Kind::Quit);
        let said = client.line();
        if said.ends_with('\n') {
            assert!(said.starts_with("+OK"), "{said}");
            ticket.replied();
        }
        eventually("the kill", || {
            matches!(snapped.try_recv(), Err(tokio::sync::oneshot::error::TryRecvError::Closed)).then_some(())
        });
        running.start(&setup);

        let after = uids(&setup, &running);
        let rest: BTreeSet<u32> = before.difference(&marked).copied().collect();
        if said.ends_with('\n') {
            answered += 1;
            assert_eq!(after, rest, "what was promised");
        } else if after == before {
            undone += 1;
        } else {
            whole += 1;
            assert_eq!(after, rest, "{marked:?} of {before:?} were marked");
        }
    }
    assert!(running.end().success());
    inspect::inspect(&setup.path("data"), false).unwrap_or_else(|fault| panic!("the store: {fault}"));
    let (kills, _) = airs.counts(0);
    println!(
        "{kills} kills: {answered} QUITs were answered; of those cut off {whole} were done, {undone} not"
    );
}
