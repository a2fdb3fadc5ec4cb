//! What sketches cost at delivery and what they save a search: two mailboxes of the same messages of 4 KiB, one with
//! sketches and one without.
//!
//! ```text
//! cargo run --release -p sealpost-server --example search [MESSAGES [prose|noise]]
//! ```
//!
//! `prose` is made of words of this project's documents, `noise` is base64 that no two messages share. The searches go
//! through IMAP in TLS over loopback, as a program's do; read the ratios.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::cast_precision_loss, reason = "a measurement")]

#[allow(dead_code, unreachable_pub, reason = "the tests use more of it")]
#[path = "../tests/it/imap/harness.rs"]
mod harness;

use harness::{NOW, Server};
use sealpost_server::imap::index::{build, describe};
use sealpost_store::{
    mailbox::{Flags, NewMessage, Sketch},
    spool::Body,
};
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

/// Octets of a message.
const SIZE: usize = 4096;
/// Messages in one transaction.
const BATCH: usize = 500;
/// Times that each search is made.
const ROUNDS: usize = 5;

/// Numbers that only look random.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % most
    }
}

/// The words of the documents, as often as they stand there.
fn words() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut all = Vec::new();
    for folder in [root.clone(), root.join("docs"), root.join("docs/decisions")] {
        let mut pages: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        pages.sort();
        for page in pages.iter().filter(|page| page.extension().is_some_and(|e| e == "md")) {
            all.extend(fs::read_to_string(page).unwrap().split_whitespace().map(str::to_owned));
        }
    }
    all
}

fn message(n: usize, words: Option<&[String]>) -> Vec<u8> {
    let mut dice = Dice((n as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let word = |dice: &mut Dice| words.map_or("message", |words| words[dice.below(words.len())].as_str());
    let subject = format!("{} {} number {n} about topic{}", word(&mut dice), word(&mut dice), n % 1000);
    let mut text = format!(
        "Return-Path: <sender{0}@bench.test>\r\nReceived: from mx{0}.bench.test (mx{0}.bench.test [192.0.2.{0}])\r\n\
         \tby mail.example.net with ESMTPS id {n:016x}; Mon, 23 Nov 2026 10:00:00 +0000\r\n\
         From: Sender {n} <sender{0}@bench.test>\r\nTo: Receiver <u{1}@virt.test>\r\nCc: Third <t{2}@bench.test>\r\n\
         Subject: {subject}\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <m{n}.{SIZE}@bench.test>\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
        n % 97,
        n % 100,
        n % 31
    );
    let mut line = 0;
    while text.len() < SIZE {
        let start = text.len();
        match words {
            Some(_) => text.push_str(word(&mut dice)),
            None => text.push(char::from(
                b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[dice.below(64)],
            )),
        }
        line += text.len() - start;
        if line > 72 {
            text.push_str("\r\n");
            line = 0;
        } else if words.is_some() {
            text.push(' ');
        }
    }
    text.into_bytes()
}

async fn fill(server: &Server, count: usize, words: Option<&[String]>, sketched: bool) -> Duration {
    let store = &server.ctx.store;
    let inbox = store.find_mailbox(server.account, "INBOX").await.unwrap().unwrap();
    let mut took = Duration::ZERO;
    for first in (0..count).step_by(BATCH) {
        let messages = (first..count.min(first + BATCH))
            .map(|n| {
                let body = Body::from_bytes(message(n, words));
                let (index, sketch) = describe(&body).unwrap();
                let sketch = if sketched { sketch } else { Sketch::default() };
                let (flags, keywords) = (Flags::default(), Vec::new());
                NewMessage { body, flags, keywords, internal_date: NOW, index, sketch }
            })
            .collect();
        let start = Instant::now();
        store.append(inbox, messages).await.unwrap();
        took += start.elapsed();
    }
    took
}

fn octets_below(folder: &Path) -> u64 {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| match entry.metadata().unwrap() {
            data if data.is_dir() => octets_below(&entry.path()),
            data => data.len(),
        })
        .sum()
}

/// What a delivery pays, on one processor.
fn delivery(words: Option<&[String]>) {
    let messages: Vec<Vec<u8>> = (0..2000).map(|n| message(n, words)).collect();
    let per = |took: Duration| took.as_secs_f64() * 1e6 / messages.len() as f64;
    let start = Instant::now();
    let index: usize = messages.iter().map(|octets| build(octets).len()).sum();
    let alone = per(start.elapsed());
    let bodies: Vec<Body> = messages.iter().map(|octets| Body::from_bytes(octets.clone())).collect();
    let start = Instant::now();
    let all: Vec<_> = bodies.iter().map(|body| describe(body).unwrap()).collect();
    let both = per(start.elapsed());
    let mean = |len: &dyn Fn(&Sketch) -> usize| {
        all.iter().map(|(_, sketch)| len(sketch)).sum::<usize>() / messages.len()
    };
    println!("index {} octets, {alone:.1} us; with sketches {both:.1} us a message", index / messages.len());
    println!(
        "sketches: header {} octets, text {} octets",
        mean(&|sketch| sketch.header.as_ref().map_or(0, bytes::Bytes::len)),
        mean(&|sketch| sketch.text.as_ref().map_or(0, bytes::Bytes::len))
    );
}

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let count: usize = args.next().map_or(20_000, |n| n.parse().unwrap());
    let words = (args.next().as_deref() != Some("noise")).then(words);
    let words = words.as_deref();
    delivery(words);
    let mut clients = Vec::new();
    for sketched in [true, false] {
        let folder = tempfile::tempdir_in("target").unwrap();
        let server = Server::start_in(folder.path(), "").await;
        let took = fill(&server, count, words, sketched).await;
        let rate = count as f64 / took.as_secs_f64();
        println!(
            "sketches {sketched}: {rate:.0} messages/s in batches of {BATCH}, {} octets each on the disk",
            octets_below(folder.path()) / count as u64
        );
        let mut client = server.inbox().await;
        client.ok("FETCH 1:* (FLAGS)").await;
        clients.push((client, server, folder));
    }
    println!("{count} messages; ms with sketches, without, and how many were found");
    for command in [
        "UID SEARCH SUBJECT topic77",
        "UID SEARCH SUBJECT nowhere-at-all",
        "UID SEARCH FROM sender42@bench.test",
        "UID SEARCH HEADER X-Priority 1",
        "UID SEARCH BODY topic77",
        "UID SEARCH BODY keyring",
        "UID SEARCH BODY \"of the store\"",
        "UID SEARCH BODY zqzqzq",
        "UID SEARCH TEXT topic77",
        "UID SEARCH TEXT zqzqzq",
        "UID SEARCH BODY zq",
        "UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To)])",
        "UID FETCH 1:* (BODY.PEEK[])",
    ] {
        let mut took = vec![Vec::new(); 2];
        let mut found = 0;
        for _ in 0..if command.contains("FETCH") { 2 } else { ROUNDS } {
            for (at, (client, ..)) in clients.iter_mut().enumerate() {
                let start = Instant::now();
                let lines = client.ok(command).await;
                took[at].push(start.elapsed());
                found = if command.contains("FETCH") { count } else { lines[0].split(' ').count() - 2 };
            }
        }
        for times in &mut took {
            times.sort_unstable();
        }
        let ms = |at: usize| took[at][took[at].len() / 2].as_secs_f64() * 1e3;
        println!("{:>9.1} {:>9.1} {found:>7}  {}", ms(0), ms(1), &command[..command.len().min(50)]);
    }
}
