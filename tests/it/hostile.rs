//! The program itself against servers that turned hostile, by command line and through a bridge: the sentence that a
//! person reads, the exit status that a script sees, what a mail program is shown. More rows, without the program around
//! the client, are in `crates/client/tests/it/middle`.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails where the fault is")]

pub mod both;
mod home;
mod mailbox;
mod messages;
mod sending;

use crate::support::{PATIENCE, peak_memory_kib};
use sealpost_client::client::Client;
use sealpost_hostile::{Certificate, Flood, Tarpit, world};
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
pub async fn people() -> (World, Client, Client) {
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

const SEND: [&str; 6] = ["send", "--to", BOB, "--subject", "x", "/dev/null"];

/// Responses without end: the program ends by itself, and what it held meanwhile is bounded.
#[tokio::test(flavor = "multi_thread")]
async fn endless_mail_servers_are_left_with_bounded_memory() {
    /// What a listing may take (128 MiB of responses), and as much again for what is under way.
    const PEAK_KIB: u64 = 384 * 1_024;
    let (world, ..) = people().await;
    both::cli(&world, "alice", "alice", &["list"], 0).await;
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
        let bridge = both::bridge(&world, "alice", "alice");
        let said = bridge.imap_login().1;
        assert!(said.contains("a NO [UNAVAILABLE]") && words(&said).contains(sentence), "{flood:?}: {said}");
        let peak = peak_memory_kib(bridge.pid()).unwrap();
        assert!((1_024..PEAK_KIB).contains(&peak), "{flood:?} behind the bridge: {peak} KiB");
    }
}
