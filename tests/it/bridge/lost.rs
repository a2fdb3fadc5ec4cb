//! A command is lost with the line to the home server: in each of the exchanges that it takes, before the server has heard
//! and after it has done what was asked. It takes place once all the same, and the mail program is told so.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails where the fault is")]

use super::reconnect::behind_a_line;
use crate::{server::Client as Program, support::eventually};
use sealpost_hostile::{Breaks, Line};
use std::{cell::Cell, collections::BTreeMap};

pub(super) const PLAIN: &str = "From: eve@example.org\r\nSubject: plain\r\n\r\nx\r\n";

/// A command whose line breaks in one of its exchanges.
struct Case<'a> {
    line: &'a Line,
    exchange: u32,
    how: Breaks,
    /// Tells mailboxes of one case from those of others.
    name: String,
    reached: Cell<bool>,
}

impl Case<'_> {
    /// What is answered.
    fn run(&self, work: impl FnOnce() -> String) -> String {
        alone(self.line);
        self.line.breaks_in(self.exchange, self.how);
        let answer = work();
        self.reached.set(!self.line.holds());
        answer
    }
}

/// Waits until the session's connection is the only one: the last word on another would count as an exchange.
fn alone(line: &Line) {
    eventually("one connection", || (line.open() == 1).then_some(()));
}

/// Breaks the line in each of the exchanges that a command takes, and once more behind them, where it does not break.
fn in_each_exchange(line: &Line, name: &str, exchanges: u32, mut run: impl FnMut(&Case<'_>)) {
    for exchange in 1..=exchanges + 1 {
        for how in [Breaks::BeforeItIsHeard, Breaks::BeforeItIsAnswered] {
            let name = format!("{name}-{exchange}-{how:?}");
            let case = Case { line, exchange, how, name, reached: Cell::new(false) };
            run(&case);
            assert_eq!(case.reached.get(), exchange <= exchanges, "{}", case.name);
        }
    }
}

pub(super) fn file(client: &mut Program, mailbox: &str, message: &str) {
    let answer = append(client, &format!("APPEND {mailbox}"), &[message]);
    assert!(answer.contains("a OK "), "{answer}");
}

/// A command with messages, none of which waits.
fn append(client: &mut Program, start: &str, messages: &[&str]) -> String {
    let literal = |message: &&str| format!(" {{{}+}}\r\n{message}", message.len());
    client.send(format!("a {start}{}\r\n", messages.iter().map(literal).collect::<String>()));
    client.tagged()
}

/// Bob's: it is sealed as he files it.
fn own(subject: &str) -> String {
    format!(
        "From: bob@example.com\r\nDate: Mon, 23 Nov 2026 21:36:00 +0000\r\nMessage-ID: <draft@example.com>\r\n\
         Subject: {subject}\r\nMIME-Version: 1.0\r\n\r\nsecret of {subject}\r\n"
    )
}

/// The subjects in a mailbox, in order.
fn subjects(client: &mut Program, mailbox: &str) -> Vec<String> {
    opened(client, mailbox);
    let answer = client.imap("FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])");
    // Those that were opened come behind the others.
    let mut found = BTreeMap::new();
    let mut number = 0_u32;
    for line in answer.lines() {
        if let Some((told, _)) = line.strip_prefix("* ").and_then(|told| told.split_once(" FETCH ")) {
            number = told.parse().unwrap();
        } else if let Some(subject) = line.strip_prefix("Subject: ") {
            found.insert(number, subject.to_owned());
        }
    }
    found.into_values().collect()
}

/// A new mailbox with so many messages.
fn filled(client: &mut Program, mailbox: &str, count: u32) {
    assert!(client.imap(&format!("CREATE {mailbox}")).contains("a OK "));
    for _ in 0..count {
        file(client, mailbox, PLAIN);
    }
}

fn messages(client: &mut Program, mailbox: &str) -> u32 {
    let answer = client.imap(&format!("STATUS {mailbox} (MESSAGES)"));
    let digits = answer.split_once("(MESSAGES ").unwrap_or_else(|| panic!("{answer}")).1;
    digits[..digits.find(')').unwrap()].parse().unwrap()
}

/// UIDs and numbers as the session sees them.
fn uids(program: &mut Program) -> String {
    let answer = program.imap("FETCH 1:* (UID)");
    assert!(answer.contains("a OK "), "{answer}");
    let told = answer.lines().filter(|line| line.contains("FETCH (UID"));
    let number = |line: &str| line.trim_start_matches("* ").replace(" FETCH (UID ", "=").replace(')', "");
    told.map(number).collect::<Vec<_>>().join(" ")
}

fn opened(program: &mut Program, mailbox: &str) {
    let answer = program.imap(&format!("SELECT {mailbox}"));
    assert!(answer.contains("a OK "), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_copied_is_copied_once() {
    let (_world, line, bob, (_elsewhere, mut other)) = behind_a_line().await;
    let mut program = bob.imap();
    filled(&mut other, "From", 3);
    opened(&mut program, "From");
    for (name, command, from) in [("Number", "COPY 1,3", "1,3"), ("Uid", "UID COPY 2:3", "2:3")] {
        in_each_exchange(&line, name, 2, |case| {
            let to = case.name.clone();
            filled(&mut other, &to, 1);
            let answer = case.run(|| program.imap(&format!("{command} {to}")));
            assert!(
                answer.contains("a OK [COPYUID ") && answer.contains(&format!(" {from} 2:3] ")),
                "{answer}"
            );
            assert_eq!(messages(&mut other, &to), 3, "{to}");
        });
    }
    // Into the mailbox itself: its numbers grow.
    in_each_exchange(&line, "Itself", 2, |case| {
        filled(&mut other, &case.name, 2);
        opened(&mut program, &case.name);
        let command = format!("COPY 1 {}", case.name);
        let answer = case.run(|| program.imap(&command));
        assert!(answer.contains("a OK [COPYUID ") && answer.contains("* 3 EXISTS"), "{answer}");
        assert_eq!(uids(&mut program), "1=1 2=2 3=3");
    });
    // Others' mail that comes meanwhile is none of it.
    opened(&mut program, "From");
    for how in [Breaks::BeforeItIsHeard, Breaks::BeforeItIsAnswered] {
        let to = format!("Busy-{how:?}");
        filled(&mut other, &to, 0);
        let refused = line.refused();
        alone(&line);
        line.breaks_and_stays_down_in(2, how);
        program.send(format!("a COPY 1:2 {to}\r\n"));
        eventually("an attempt", || (line.refused() > refused).then_some(()));
        file(&mut other, &to, PLAIN);
        line.mend();
        assert!(program.tagged().contains("a OK [COPYUID "));
        assert_eq!(messages(&mut other, &to), 3, "{to}");
    }
    // A mailbox that is none stays none.
    in_each_exchange(&line, "Nowhere", 2, |case| {
        let answer = case.run(|| program.imap("COPY 1 Nowhere"));
        assert!(answer.contains("a NO [TRYCREATE]"), "{answer}");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_moved_or_expunged_goes_once_and_numbers_follow() {
    let (_world, line, bob, (_elsewhere, mut other)) = behind_a_line().await;
    for name in ["Numbers", "Resync"] {
        let mut program = bob.imap();
        if name == "Resync" {
            assert!(program.imap("ENABLE QRESYNC").contains("a OK "));
        }
        let gone = |answer: &str, uids: &str, numbers: [u32; 2]| {
            let expunged = numbers.iter().all(|n| answer.contains(&format!("* {n} EXPUNGE\r\n")));
            let told = if name == "Numbers" {
                expunged && answer.matches("EXPUNGE\r\n").count() == 2
            } else {
                answer.contains(&format!("* VANISHED {uids}\r\n"))
            };
            assert!(told && answer.contains("\r\na OK "), "{answer}");
        };
        for (verb, command) in [
            ("Move", "MOVE 1,3"),
            ("UidMove", "UID MOVE 1,3,99"),
            ("Expunge", "EXPUNGE"),
            ("UidExpunge", "UID EXPUNGE 1:3"),
        ] {
            in_each_exchange(&line, &format!("{name}{verb}"), 2, |case| {
                let (from, to) = (case.name.clone(), format!("{}-to", case.name));
                let moves = verb.contains("Move");
                filled(&mut other, &from, 4);
                filled(&mut other, &to, 0);
                opened(&mut program, &from);
                if !moves {
                    assert!(program.imap("STORE 1,3 +FLAGS.SILENT (\\Deleted)").contains("a OK "));
                }
                let command = if moves { format!("{command} {to}") } else { command.to_owned() };
                let answer = case.run(|| program.imap(&command));
                // From the front or from behind, by the server; from behind, by the bridge.
                let numbers = if answer.contains("* 1 EXPUNGE\r\n* 2") { [1, 2] } else { [3, 1] };
                gone(&answer, "1,3", numbers);
                assert_eq!(uids(&mut program), "1=2 2=4", "{from}");
                assert_eq!(messages(&mut other, &from), 2, "{from}");
                assert_eq!(messages(&mut other, &to), if moves { 2 } else { 0 }, "{to}");
                // What went before is known the next time.
                line.cut();
                assert_eq!(uids(&mut program), "1=2 2=4", "{from}");
            });
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_removed_is_told_when_an_expunge_is_lost() {
    let (_world, line, bob, (_elsewhere, mut other)) = behind_a_line().await;
    let mut program = bob.imap();
    filled(&mut other, "Both", 5);
    opened(&mut program, "Both");
    opened(&mut other, "Both");
    assert!(program.imap("STORE 4 +FLAGS.SILENT (\\Deleted)").contains("a OK "));
    let refused = line.refused();
    alone(&line);
    line.breaks_and_stays_down_in(2, Breaks::BeforeItIsHeard);
    program.send("a UID EXPUNGE 4\r\n");
    eventually("an attempt", || (line.refused() > refused).then_some(()));
    assert!(other.imap("UID STORE 2 +FLAGS.SILENT (\\Deleted)").contains("a OK "));
    assert!(other.imap("UID EXPUNGE 2").contains("a OK "));
    file(&mut other, "Both", PLAIN);
    line.mend();
    let answer = program.tagged();
    assert!(answer.contains("* 2 EXPUNGE\r\n") && answer.contains("* 3 EXPUNGE\r\n"), "{answer}");
    assert!(answer.contains("\r\na OK "), "{answer}");
    assert_eq!(uids(&mut program), "1=1 2=3 3=5 4=6");
}

#[tokio::test(flavor = "multi_thread")]
async fn mailboxes_come_and_go_once() {
    let (_world, line, bob, (_elsewhere, mut other)) = behind_a_line().await;
    let mut program = bob.imap();
    let there = |other: &mut Program, name: &str| other.imap(&format!("LIST \"\" {name}")).contains("* LIST");
    in_each_exchange(&line, "Box", 2, |case| {
        let (one, two) = (case.name.clone(), format!("{}-two", case.name));
        let answer = case.run(|| program.imap(&format!("CREATE {one}")));
        assert!(answer.contains("a OK [MAILBOXID (F"), "{answer}");
        assert!(case.run(|| program.imap(&format!("RENAME {one} {two}"))).contains("a OK "));
        assert!(!there(&mut other, &one) && there(&mut other, &two));
        assert!(case.run(|| program.imap(&format!("DELETE {two}"))).contains("a OK "));
        assert!(!there(&mut other, &two));
        // What is refused is refused again.
        assert!(case.run(|| program.imap("CREATE INBOX")).contains("a NO "));
        assert!(case.run(|| program.imap(&format!("DELETE {two}"))).contains("a NO "));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_is_left_once() {
    let (_world, line, bob, (_elsewhere, mut other)) = behind_a_line().await;
    let mut program = bob.imap();
    for (verb, left) in [("CLOSE", 1), ("UNSELECT", 2)] {
        in_each_exchange(&line, verb, 1, |case| {
            filled(&mut other, &case.name, 2);
            opened(&mut program, &case.name);
            assert!(program.imap("STORE 1 +FLAGS.SILENT (\\Deleted)").contains("a OK "));
            let answer = case.run(|| program.imap(verb));
            assert!(answer.contains("a OK ") && !answer.contains("EXPUNGE"), "{answer}");
            assert_eq!(messages(&mut other, &case.name), left, "{}", case.name);
            assert!(program.imap("FETCH 1 (UID)").contains("a BAD "), "no mailbox is open");
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_is_tried_again_only_where_nothing_was_changed() {
    let (_world, line, bob, (_elsewhere, mut other)) = behind_a_line().await;
    filled(&mut other, "Conditions", 1);
    for (how, told) in [(Breaks::BeforeItIsHeard, "a OK "), (Breaks::BeforeItIsAnswered, "* BYE ")] {
        let mut program = bob.imap();
        opened(&mut program, "Conditions");
        let answer = program.imap("FETCH 1 (MODSEQ)");
        let modseq = answer.split_once("MODSEQ (").unwrap().1;
        let modseq = &modseq[..modseq.find(')').unwrap()];
        alone(&line);
        line.breaks_in(1, how);
        let answer = program.imap(&format!("STORE 1 (UNCHANGEDSINCE {modseq}) +FLAGS ($Mine-{how:?})"));
        assert!(answer.contains(told), "{how:?}: {answer}");
        assert!(!line.holds());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_filed_is_stored_once() {
    let (_world, line, bob, (_elsewhere, mut other)) = behind_a_line().await;
    let mut program = bob.imap();
    let (one, two, long) =
        (own("one"), own("two"), format!("{}{}", own("long"), "many words\r\n".repeat(30_000)));
    for (name, messages, exchanges, told) in [
        ("Draft", &[one.as_str()][..], 3, &["one"][..]),
        ("Plain", &[PLAIN], 3, &["plain"]),
        ("Long", &[&long], 3, &["long"]),
        ("Several", &[&one, PLAIN, &two, PLAIN], 6, &["one", "plain", "two", "plain"]),
    ] {
        in_each_exchange(&line, name, exchanges, |case| {
            filled(&mut other, &case.name, 1);
            let answer = case.run(|| append(&mut program, &format!("APPEND {}", case.name), messages));
            let uids = if messages.len() == 1 { "2".to_owned() } else { format!("2:{}", 1 + messages.len()) };
            assert!(
                answer.contains("a OK [APPENDUID ") && answer.contains(&format!(" {uids}] ")),
                "{answer}"
            );
            let there = subjects(&mut other, &case.name);
            assert_eq!(there[1..], *told, "{}", case.name);
            assert!(program.imap("NOOP").contains("a OK "));
        });
    }
    // Where it is open, numbers grow by one.
    in_each_exchange(&line, "Open", 3, |case| {
        filled(&mut other, &case.name, 2);
        opened(&mut program, &case.name);
        let answer = case.run(|| append(&mut program, &format!("APPEND {}", case.name), &[&one]));
        assert!(answer.contains("* 3 EXISTS\r\n") && answer.contains("a OK [APPENDUID "), "{answer}");
        assert_eq!(uids(&mut program), "1=1 2=2 3=3");
    });
    // What the server refuses it refuses again; what is called off is not stored.
    in_each_exchange(&line, "Nowhere", 2, |case| {
        let answer = case.run(|| append(&mut program, "APPEND Nowhere", &[&one]));
        assert!(answer.contains("a NO [TRYCREATE]"), "{answer}");
    });
    in_each_exchange(&line, "Off", 4, |case| {
        filled(&mut other, &case.name, 0);
        let answer = case.run(|| append(&mut program, &format!("APPEND {}", case.name), &[&one, PLAIN, ""]));
        assert!(answer.contains("a NO [CANNOT]"), "{answer}");
        assert!(program.imap("NOOP").contains("a OK "));
        assert_eq!(messages(&mut other, &case.name), 0);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_that_comes_meanwhile_is_not_taken_for_what_was_filed() {
    let (_world, line, bob, (_elsewhere, mut other)) = behind_a_line().await;
    let mut program = bob.imap();
    for (how, there) in [
        (Breaks::BeforeItIsHeard, ["plain", "other", "one"]),
        (Breaks::BeforeItIsAnswered, ["plain", "one", "other"]),
    ] {
        let name = format!("Busy-{how:?}");
        filled(&mut other, &name, 1);
        let refused = line.refused();
        alone(&line);
        line.breaks_and_stays_down_in(3, how);
        let message = own("one");
        program.send(format!("a APPEND {name} {{{}+}}\r\n{message}\r\n", message.len()));
        eventually("an attempt", || (line.refused() > refused).then_some(()));
        // Sealed, it is as long.
        file(&mut other, &name, &own("other").replace("secret of other", "secret of ot"));
        line.mend();
        assert!(program.tagged().contains("a OK [APPENDUID "));
        assert_eq!(subjects(&mut other, &name), there);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_messages_than_are_kept_are_stored_once_or_given_again() {
    let (_world, line, bob, (_elsewhere, mut other)) = behind_a_line().await;
    let many = [PLAIN; 17];
    for (how, told, stored) in
        [(Breaks::BeforeItIsHeard, "* BYE ", 0), (Breaks::BeforeItIsAnswered, "a OK [APPENDUID ", 17)]
    {
        let mut program = bob.imap();
        let name = format!("Many-{how:?}");
        filled(&mut other, &name, 0);
        alone(&line);
        line.breaks_in(19, how);
        let answer = append(&mut program, &format!("APPEND {name}"), &many);
        assert!(!line.holds() && answer.contains(told), "{answer}");
        assert_eq!(messages(&mut other, &name), stored);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_is_replaced_once() {
    let (_world, line, bob, (_elsewhere, mut other)) = behind_a_line().await;
    let (mut program, new) = (bob.imap(), own("new"));
    for (name, command) in [("Number", "REPLACE 2"), ("Uid", "UID REPLACE 2"), ("Last", "REPLACE *")] {
        in_each_exchange(&line, name, 4, |case| {
            filled(&mut other, &case.name, 1);
            file(&mut other, &case.name, &own("old"));
            opened(&mut program, &case.name);
            let answer = case.run(|| append(&mut program, &format!("{command} {}", case.name), &[&new]));
            for told in ["* OK [APPENDUID ", " 3] ", "* 2 EXPUNGE\r\n", "\r\na OK "] {
                assert!(answer.contains(told), "{told}: {answer}");
            }
            assert_eq!(uids(&mut program), "1=1 2=3");
            assert_eq!(subjects(&mut other, &case.name), ["plain", "new"]);
        });
    }
}
