//! Mail that is broken, or made to break whoever reads it: by `read` and `verify`, and through the bridge by every
//! command that looks into it. Each row says the verdict; nothing crashes, nothing is shown as verified that is not, and
//! memory stays bounded.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails where the fault is")]

mod rows;

use crate::{
    bridge::Bridge,
    hostile::both::{bridge, command},
    large::measured,
    support::{peak_memory_kib, stderr, stdout},
};
use rows::{Keys, Row, rows};
use sealpost_client::client::Client;
use sealpost_hostile::{MailAttack, post, world};
use std::{fs, path::Path};
use world::World;

const ALICE: &str = "alice@example.net";
const BOB: &str = "bob@example.com";
const PASSWORD: &str = "purple walrus juggles forty lanterns";
/// Most memory that a command may hold, and a bridge after all of this: unoptimised it takes 34 MiB for any message, and
/// some copies of the 4 MiB of text that are indexed.
const LIMIT_KIB: u64 = 128 * 1024;

/// What the command line says of the message with UID 1.
fn by_command_line(world: &World, row: &Row, file: &Path) {
    let status = i32::from(row.is_withheld()) * 4;
    for args in [vec!["read", "1"], vec!["verify", file.to_str().unwrap()]] {
        let (output, peak) = measured(command(world, "bob", "bob").args(&args));
        let said = stdout(&output);
        let short: String = said.chars().take(2_000).collect();
        assert_eq!(
            output.status.code(),
            Some(status),
            "{}, {}: {short}{}",
            row.name,
            args[0],
            stderr(&output)
        );
        // Before anything else where it is read, behind the checks where it is verified.
        let verdict = format!("{}:", row.verdict);
        let there =
            said.starts_with(&verdict) || args[0] == "verify" && said.contains(&format!("\n{verdict} "));
        assert!(there, "{}, {}: {short}", row.name, args[0]);
        assert!(!row.is_withheld() || !said.contains("secret text"), "{}, {}: {short}", row.name, args[0]);
        assert!(peak < LIMIT_KIB, "{}, {}: {peak} KiB", row.name, args[0]);
    }
}

/// What a mail program is shown of it.
fn by_bridge(bridge: &Bridge, row: &Row) {
    let mut program = bridge.imap();
    assert!(program.imap("SELECT INBOX").contains("a OK "), "{}", row.name);
    let mut ask = |command: &str| {
        let answer = program.imap(command);
        let end = answer.rsplit("\r\n").nth(1).unwrap_or_default();
        assert!(end.starts_with("a OK "), "{}, {command}: {:.2000}", row.name, answer);
        answer
    };
    // Beside the answers stands which flags the mailbox has.
    let flags = ask("UID FETCH 1 (FLAGS ENVELOPE)");
    let flags = flags
        .split_inclusive('\n')
        .filter(|line| !line.contains("PERMANENTFLAGS") && !line.starts_with("* FLAGS"));
    let flags: String = flags.collect();
    let structure = ask("UID FETCH 1 (RFC822.SIZE BODYSTRUCTURE BODY)");
    let whole = ask("UID FETCH 1 (BODY.PEEK[])");
    let found = ask("UID SEARCH TEXT \"secret text\"");
    ask("UID FETCH 1 (BODY.PEEK[1] BODY.PEEK[1.1.1.MIME] BODY.PEEK[2] BODY.PEEK[TEXT]<3.7> BINARY.SIZE[1])");
    ask("NOOP");

    let short: String = whole.chars().take(2_000).collect();
    let start = whole.split_once("BODY[] {").and_then(|(_, rest)| rest.split_once("}\r\n")).unwrap();
    assert!(
        structure.contains(&format!("RFC822.SIZE {}", start.0)),
        "{}: {structure:.300} {short}",
        row.name
    );
    let field = start.1.split("\r\n").next().unwrap();
    let said = format!("Sealpost-Verdict: {};", row.verdict);
    let begins = field.starts_with(&said) || said.starts_with(field) && row.verdict.len() > 50;
    assert!(begins, "{}: {said:?} in {short}", row.name);
    // One verdict, whatever the message says of itself.
    let header = start.1.split("\r\n\r\n").next().unwrap();
    assert_eq!(header.to_ascii_lowercase().matches("\nsealpost-").count(), 0, "{}: {short}", row.name);
    assert_eq!(whole.contains("[Withheld: "), row.is_withheld(), "{}: {short}", row.name);
    for answer in [&flags, &structure, &whole, &found] {
        assert!(!row.is_withheld() || !answer.contains("secret text"), "{}: {answer:.2000}", row.name);
    }
    assert_eq!(flags.contains("$Signed"), row.verdict.starts_with("good"), "{}: {flags:.2000}", row.name);
    assert_eq!(flags.contains("$Withheld"), row.is_withheld(), "{}: {flags:.2000}", row.name);
    for answer in [&flags, &structure] {
        let outside = without_literals(answer).replace("\r\n", "\n");
        assert!(
            !outside.contains('\r') && !answer.contains('\0'),
            "{}: octets that IMAP forbids: {answer:?}",
            row.name
        );
    }
    let hits = if row.is_found { "* SEARCH 1\r\n" } else { "* SEARCH\r\n" };
    assert!(found.contains(hits), "{}: {found}", row.name);
    let peak = peak_memory_kib(bridge.pid()).unwrap();
    println!("{}: {peak} KiB", row.name);
    assert!(peak < LIMIT_KIB, "{}: {peak} KiB", row.name);
}

/// What stands around the octets of literals.
fn without_literals(mut answer: &str) -> String {
    let mut out = String::new();
    while let Some((before, rest)) = answer.split_once("}\r\n") {
        let announced = before.rsplit_once('{').and_then(|(_, octets)| octets.parse().ok());
        out += before;
        answer = rest.get(announced.unwrap_or(0)..).unwrap_or_default();
    }
    out + answer
}

/// Many messages whose text is as long as is indexed, opened by one command.
#[tokio::test(flavor = "multi_thread")]
async fn many_long_texts_are_indexed_with_bounded_memory() {
    const MESSAGES: usize = 12;
    let (world, client) = people().await;
    let message =
        format!("From: {ALICE}\r\nSubject: long\r\n\r\n{}", "a line of a long text\r\n".repeat(200_000));
    for _ in 0..MESSAGES {
        post(world.mx(BOB), ALICE, BOB, message.as_bytes()).await.unwrap();
    }
    // Mail of a contact who signs is opened.
    let alice = world.client("alice");
    alice.send(world::message(&[BOB], "hello", "hello")).await.unwrap();
    world.arrived(&client, MESSAGES + 1).await;
    crate::hostile::both::cli(&world, "bob", "bob", &["read", "last"], 0).await;
    let bridge = bridge(&world, "bob", "bob");
    let mut program = crate::hostile::both::inbox(&bridge);
    let answer = program.imap("FETCH 1:* (FLAGS ENVELOPE)");
    assert_eq!(answer.matches("\"long\"").count(), MESSAGES, "{answer}");
    assert_eq!(program.imap("FETCH 1:* (FLAGS)").matches("$SignatureMissing").count(), MESSAGES);
    let peak = peak_memory_kib(bridge.pid()).unwrap();
    println!("{peak} KiB");
    assert!(peak < LIMIT_KIB, "{peak} KiB");
}

/// Alice and Bob, who has her key.
async fn people() -> (World, Client) {
    let world = World::start().await;
    world.enrolled(ALICE, PASSWORD).await;
    let client = world.enrolled(BOB, PASSWORD).await;
    fs::write(world.folder("password-bob"), PASSWORD).unwrap();
    client.send(world::message(&[ALICE], "hello", "hello")).await.unwrap();
    (world, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_mail_gets_its_verdict_and_breaks_nothing() {
    let (world, client) = people().await;
    post(world.mx(BOB), ALICE, BOB, b"From: eve@example.org\r\n\r\nx\r\n").await.unwrap();
    world.arrived(&client, 1).await;
    let middle = world.between_imap("example.com").await;
    let keys = Keys { alice: world.stolen_key("alice"), bob: world.stolen_key("bob") };
    let file = world.folder("message");
    let bridge = bridge(&world, "bob", "bob");
    let mut wrong = Vec::new();
    for (row, number) in rows().iter().zip(1..) {
        let octets = (row.made)(&keys, &format!("row{number}"));
        fs::write(&file, &octets).unwrap();
        middle.honest();
        middle.attack(MailAttack::Message(1, octets));
        // Nothing is known of it: it lies in a mailbox that was never seen.
        middle.attack(MailAttack::UidValidity(number));
        let both = || {
            by_bridge(&bridge, row);
            by_command_line(&world, row, &file);
        };
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(both)).is_err() {
            wrong.push(row.name);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
