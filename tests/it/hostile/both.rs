//! The command line and the bridge, one beside the other, in a world whose servers turn hostile. What both say to an
//! attack stands in the table of docs/security.md, row by row; see [`Row`].

use super::{ALICE, BOB, run, start, words};
use crate::{
    bridge::Bridge,
    server::Client as Program,
    support::{sealpost, stderr, stdout},
    tree::text,
};
use sealpost_hostile::world::World;
use std::collections::BTreeMap;

/// A row of the table "The hostile server" in docs/security.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// What the server does, as the table says it.
    pub attack: &'static str,
    /// What the command line says.
    pub cli: &'static str,
    /// What the bridge says to a mail program, or shows in it.
    pub bridge: &'static str,
}

/// `sealpost` with the options that lead into the world, on a folder there.
pub fn command(world: &World, who: &str, folder: &str) -> std::process::Command {
    let settings = world.settings(folder);
    let mut command = sealpost();
    command
        .arg("--dir")
        .arg(&settings.dir)
        .args(["--dns", &settings.dns.unwrap().to_string()])
        .arg("--ca-file")
        .arg(settings.ca_file.unwrap())
        .args(["--mx-port", &settings.mx_port.unwrap().to_string()])
        .arg("--password-file")
        .arg(world.folder(&format!("password-{who}")));
    command
}

/// A bridge on a folder of the world.
pub fn bridge(world: &World, who: &str, folder: &str) -> Bridge {
    Bridge::start_as(command(world, who, folder), &[])
}

/// What the command line says, in one line, and that it ends with this status.
pub async fn cli(world: &World, who: &str, folder: &str, args: &[&str], status: i32) -> String {
    let output = run(world, who, folder, args).await;
    let said = words(&(stdout(&output) + &stderr(&output)));
    assert_eq!(output.status.code(), Some(status), "{args:?}: {said}");
    said
}

/// What a mail program is told that sends a message from `from` to `to`: the first refusal, or the reply to its end.
/// Where a recipient is refused, nothing can be sent after it.
pub fn submit(bridge: &Bridge, from: &str, to: &str) -> String {
    let mut program = bridge.submission();
    assert!(program.smtp(&format!("MAIL FROM:<{from}>")).starts_with("250 "));
    let reply = program.smtp(&format!("RCPT TO:<{to}>"));
    if !reply.starts_with("250 ") {
        let data = program.smtp("DATA");
        assert!(data.starts_with("503 ") || data.starts_with("554 "), "after {reply}: {data}");
        return words(&reply);
    }
    assert!(program.smtp("DATA").starts_with("354 "));
    program.send(format!(
        "From: {from}\r\nTo: {to}\r\nSubject: x\r\nDate: Mon, 23 Nov 2026 21:36:00 +0000\r\n\r\nclear text\r\n"
    ));
    words(&program.smtp("."))
}

/// A mail program in INBOX.
pub fn inbox(bridge: &Bridge) -> Program {
    let mut program = bridge.imap();
    assert!(program.imap("SELECT INBOX").contains("a OK "));
    program
}

/// The rows that tests hold to, by what the server does.
fn tested() -> BTreeMap<&'static str, Row> {
    let mut all: Vec<Row> = super::sending::rows().into_iter().map(|sending| sending.row).collect();
    all.extend(super::home::rows().into_iter().map(|lie| lie.row));
    all.extend(super::messages::rows().into_iter().map(|mail| mail.row));
    all.extend(super::mailbox::rows().into_iter().map(|lie| lie.row));
    let count = all.len();
    let by_attack: BTreeMap<_, _> = all.into_iter().map(|row| (row.attack, row)).collect();
    assert_eq!(by_attack.len(), count, "two rows for one attack");
    by_attack
}

#[test]
fn the_tables_rows_are_the_tests_rows() {
    let page = text("docs/security.md");
    let (_, table) = page.split_once("| what the server does |").expect("the table");
    let table = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let written: BTreeMap<&str, Vec<&str>> = table
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect::<Vec<_>>())
        .map(|cells| (cells[0], cells))
        .collect();
    let tested = tested();
    let difference: Vec<_> = written
        .keys()
        .filter(|attack| !tested.contains_key(*attack))
        .map(|attack| format!("no test: {attack}"))
        .chain(tested.keys().filter(|attack| !written.contains_key(*attack)).map(|a| format!("no row: {a}")))
        .collect();
    assert!(difference.is_empty(), "{difference:#?}");
    for (attack, cells) in written {
        let row = tested[attack];
        for (cell, said) in [(cells[2], row.cli), (cells[3], row.bridge)] {
            assert!(cell.contains(&format!("“{said}”")), "{attack}: “{said}” is not what stands in {cell}");
        }
        assert!(!cells[1].is_empty(), "{attack}: no check");
    }
}

/// Both without any attack: Alice's message to Bob goes out sealed from either, and Bob can read both.
#[tokio::test(flavor = "multi_thread")]
async fn an_honest_world_carries_mail_of_both() {
    let (world, _, bobs) = super::people().await;
    let imap = world.between_imap("example.com").await;
    cli(&world, "alice", "alice", &super::SEND, 0).await;
    world.arrived(&bobs, 1).await;
    let alice = bridge(&world, "alice", "alice");
    assert!(submit(&alice, ALICE, BOB).starts_with("250 "));
    world.arrived(&bobs, 2).await;
    let said = cli(&world, "bob", "bob", &["read", "last"], 0).await;
    assert!(said.contains("clear text"), "{said}");
    let bob = bridge(&world, "bob", "bob");
    let answer = inbox(&bob).imap("FETCH 2 (FLAGS BODY.PEEK[])");
    assert!(answer.contains("clear text") && answer.contains("$Sealed $Signed"), "{answer}");
    assert!(imap.heard().iter().any(|line| line.contains("FETCH")), "he stood in between");
    drop(start(&world, "alice", "alice", &["list"]).wait());
}
