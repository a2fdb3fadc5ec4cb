//! The program itself against a server that turned hostile: the sentence that a person reads, and the exit status that
//! a script sees. One row of each kind; the rest of the rows is in `crates/client/tests/it/middle`.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails where the fault is")]

mod both;
mod mailbox;
mod sending;

use crate::support::{PATIENCE, peak_memory_kib, stderr, stdout};
use sealpost_client::{
    client::Client,
    compose::{Composition, Copy, Draft},
};
use sealpost_hostile::{Attack, Certificate, Flood, Middle, Tarpit, mallory, post, world};
use sealpost_proto::{
    phc::Salt,
    time::{Clock as _, SystemClock},
};
use std::{
    io::Read as _,
    process::{Child, Output, Stdio},
    time::{Duration, Instant},
};
use world::World;

const ALICE: &str = "alice@example.net";
const BOB: &str = "bob@example.com";
const FIRST: &str = "purple walrus juggles forty lanterns";
const SECOND: &str = "quiet marble engine borrows thunder";

/// Both have accounts, and nobody has met anybody.
async fn people() -> (World, Client, Client) {
    let world = World::start().await;
    let alice = world.enrolled(ALICE, FIRST).await;
    let bob = world.enrolled(BOB, SECOND).await;
    for (name, password) in [("alice", FIRST), ("bob", SECOND)] {
        std::fs::write(world.folder(&format!("password-{name}")), password).unwrap();
    }
    (world, alice, bob)
}

fn start(world: &World, who: &str, folder: &str, args: &[&str]) -> Child {
    both::command(world, who, folder)
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs")
}

/// Runs the program to its end, beside this process's servers.
async fn run(world: &World, who: &str, folder: &str, args: &[&str]) -> Output {
    let child = start(world, who, folder, args);
    tokio::task::spawn_blocking(move || child.wait_with_output().expect("it ran")).await.unwrap()
}

/// The words of a text, however it was laid out in lines.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

async fn says(world: &World, who: &str, args: &[&str], status: i32, sentence: &str) {
    let output = run(world, who, who, args).await;
    let said = words(&(stdout(&output) + &stderr(&output)));
    assert_eq!(output.status.code(), Some(status), "{args:?}: {said}");
    assert!(said.contains(&words(sentence)), "{args:?}: {sentence:?} in {said}");
}

const SEND: [&str; 6] = ["send", "--to", BOB, "--subject", "x", "/dev/null"];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_where_a_contacts_server_turns_hostile() {
    let (world, ..) = people().await;
    let middle = world.between("example.com").await;
    // Nobody was met yet.
    middle.attack(Attack::DenyKey);
    says(&world, "alice", &SEND, 3, "bob@example.com has no key").await;
    middle.honest();
    let evil = "mail.evil.example";
    let liar = world.between_as("example.com", evil, Certificate::For(evil)).await;
    says(&world, "alice", &SEND, 3, "nothing ties mail.evil.example to example.com").await;
    drop(liar);
    world.point("example.com", "mail.example.com", middle.address);
    says(&world, "alice", &SEND, 0, "remembered from now on").await;

    let fingerprint = mallory().public().fingerprint();
    let swapped = format!(
        "the key of bob@example.com has changed to {fingerprint}, and no signed statement leads there from the one \
         known until now"
    );
    for (attack, status, sentence) in [
        (Attack::SwapKey(mallory().public()), 3, swapped.as_str()),
        (
            Attack::Strip("ENCRYPTMESSAGE"),
            3,
            "the server of example.com offered ENCRYPTMESSAGE before and no longer does",
        ),
        (Attack::DenyKey, 3, "bob@example.com had a key, and now its server says there is none"),
        (Attack::ForgeStatement, 5, "a signature of the key statement does not hold"),
        (Attack::KeyOf("carol@example.com"), 3, "bob@example.com had a key"),
        (
            Attack::Answer("PUBKEY", "450 4.7.1 later"),
            5,
            "the server gave no definite answer: 450 4.7.1 later",
        ),
    ] {
        middle.attack(attack);
        says(&world, "alice", &SEND, status, sentence).await;
        middle.honest();
        says(&world, "alice", &SEND, 0, "the key known for bob@example.com").await;
    }
    world.zone("example.com", |zone| {
        zone.remove("example.com");
    });
    let expired = Certificate::Expired("mail.example.com");
    let _liar = world.between_as("example.com", "mail.example.com", expired).await;
    says(&world, "alice", &SEND, 5, "no server of example.com could be reached securely").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_where_the_home_server_turns_hostile() {
    let (world, ..) = people().await;
    let middle = world.between("example.net").await;
    let to_self = ["send", "--to", ALICE, "--subject", "x", "/dev/null"];
    says(&world, "alice", &to_self, 0, "sealed to").await;
    says(&world, "alice", &["key", "rotate"], 0, "").await;
    let salt = || Salt::new([7; 16]).unwrap();
    for (attack, args, status, sentence) in [
        (Attack::Salt(salt()), &to_self[..], 3, "take this for an attack: nothing was sent"),
        (Attack::SwapKey(mallory().public()), &to_self, 3, "which no statement of yours explains"),
        (Attack::DenyKey, &to_self, 3, "publishes no key for it any more"),
        (Attack::CourtesySalt(salt()), &to_self, 1, "salt"),
        (Attack::Strip("HASHEDPASS"), &to_self, 1, "the server does not offer AUTH HASHEDPASS"),
        (Attack::Answer("AUTH", "535 5.7.8 no"), &to_self, 6, "did not take this device's login"),
        (Attack::DenyKeyring, &["key", "rotate"], 1, "the server shows no keyring any more"),
        (Attack::CutKeyring(9), &["key", "rotate"], 1, "the keyring on the server cannot be opened"),
        (
            Attack::HangUp("SETPUBKEY"),
            &["key", "rotate"],
            5,
            "the connection broke each time the key was about to be changed",
        ),
        (Attack::Endless("XKEYRING", Flood::Lines), &["key", "rotate"], 1, "too long"),
        (Attack::Endless("EHLO", Flood::Line), &to_self, 1, "too long"),
    ] {
        middle.attack(attack);
        says(&world, "alice", args, status, sentence).await;
        middle.honest();
        says(&world, "alice", &to_self, 0, "sealed to").await;
    }
    new_device(&world, &middle).await;
}

/// A device with nothing but the password.
async fn new_device(world: &World, middle: &Middle) {
    for (attack, sentence) in [
        (Attack::Salt(Salt::new([7; 16]).unwrap()), "this device published and sent nothing"),
        (Attack::SwapKey(mallory().public()), "this device published and sent nothing"),
    ] {
        middle.attack(attack);
        let output = run(world, "alice", "phone", &["login", ALICE]).await;
        let said = words(&stderr(&output));
        assert!(output.status.code() == Some(1) && said.contains(sentence), "{said}");
        middle.honest();
    }
    let output = run(world, "alice", "phone", &["login", ALICE]).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_mail_that_was_tampered_with() {
    let (world, _, bob) = people().await;
    let (alice, bobs) = (world.stolen_key("alice"), world.stolen_key("bob"));
    let made = |nonce: u8, text: &str| {
        let draft = Draft {
            from: world::mailbox(ALICE),
            to: vec![world::mailbox(BOB)],
            cc: Vec::new(),
            bcc: Vec::new(),
            subject: "the plan".into(),
            text: text.into(),
            attachments: Vec::new(),
            in_reply_to: None,
            references: Vec::new(),
        };
        let composition = Composition::new(draft, SystemClock.now(), [nonce; 16]).unwrap();
        let outgoing = composition.sealed(&Copy::Visible, &[bobs.public()], &alice).unwrap();
        let mut octets = String::new();
        outgoing.open().unwrap().read_to_string(&mut octets).unwrap();
        octets
    };
    let first = made(1, "rendezvous");
    let plain = "From: alice@example.net\r\nTo: bob@example.com\r\nSubject: x\r\n\r\nrendezvous\r\n";
    let mut count = 0;
    for (message, status, verdict) in [
        (first.clone(), 0, "sender not yet confirmed:"),
        (String::new(), 0, ""),
        (first.clone(), 0, "good:"),
        (made(1, "rendezvous at one"), 4, "replay:"),
        (made(2, "rendezvous").replace("Subject: [...]", "Subject: urgent"), 4, "signature bad:"),
        (made(3, "rendezvous").replace("X-Sender-Signature:", "X-Other:"), 4, "sealed but not signed:"),
        (made(4, "rendezvous").replace("-----END AGE", "-----END OF"), 4, "cannot be opened:"),
        (made(5, "rendezvous") + "\r\n", 0, "good, altered on the way:"),
        (plain.to_owned(), 0, "plain, though this contact signs:"),
        (plain.replace("alice@example.net", "dave@nowhere.example"), 0, "plain:"),
    ] {
        if message.is_empty() {
            // They meet.
            bob.send(world::message(&[ALICE], "hello", "hello")).await.unwrap();
            continue;
        }
        post(world.mx(BOB), ALICE, BOB, message.as_bytes()).await.unwrap();
        count += 1;
        world.arrived(&bob, count).await;
        let output = run(&world, "bob", "bob", &["read", "last"]).await;
        let said = stdout(&output);
        assert_eq!(output.status.code(), Some(status), "{verdict}: {said}{}", stderr(&output));
        assert!(said.starts_with(verdict), "{verdict} before anything else: {said}");
        assert!(status == 0 || !said.contains("rendezvous"), "{verdict}: withheld: {said}");
    }
}

/// Responses without end: the program ends by itself, and what it held meanwhile is bounded.
#[tokio::test(flavor = "multi_thread")]
async fn endless_mail_servers_are_left_with_bounded_memory() {
    /// What a listing may take (128 MiB of responses), and as much again for what is under way.
    const PEAK_KIB: u64 = 384 * 1_024;
    let (world, ..) = people().await;
    says(&world, "alice", &["list"], 0, "").await;
    let acceptor = || world.authority.acceptor(Certificate::For("imap.example.net"));
    for (greeting, flood, sentence) in [
        ("* OK hello\r\n", Flood::Literals, "sent more than this program takes (responses to one command)"),
        ("* OK hello\r\n* ", Flood::Line, "sent more than this program takes (one response)"),
        ("", Flood::Replies, "broke the protocol"),
    ] {
        let pit = Tarpit::start(Some(acceptor()), greeting, Some(flood)).await.unwrap();
        world.point_imap("example.net", "imap.example.net", pit.address);
        let mut child = start(&world, "alice", "alice", &["list"]);
        let (mut peak, began) = (0, Instant::now());
        let status = loop {
            if began.elapsed() > PATIENCE {
                child.kill().unwrap();
                panic!("{flood:?}: it went on and on; {peak} KiB");
            }
            peak = peak.max(peak_memory_kib(child.id()).unwrap_or(0));
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(words(&said).contains(sentence), "{sentence:?} in {said}");
        assert!((1_024..PEAK_KIB).contains(&peak), "{flood:?}: {peak} KiB");
    }
}
