//! A process that appends under load is killed, again and again: what it had acknowledged is there, whole, once.

use crate::support::{account, mailbox, message, octets, open_in, read};
use sealpost_store::{Store, account::Accounts, mailbox::Mailboxes, spool::INLINE_MAX};
use std::{
    collections::{BTreeMap, HashSet},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Where the child finds the store; without it the child's test does nothing.
const DIR: &str = "SEALPOST_STORE_KILL_DIR";
/// The tag the child starts at.
const TAG: &str = "SEALPOST_STORE_KILL_TAG";
const ROUNDS: u64 = 24;
const SUBMITTERS: usize = 12;

/// Sizes around all the places where a body can go.
fn size(tag: u64) -> usize {
    match tag % 16 {
        0 => INLINE_MAX + 1,
        1 => 40_000,
        n => 1000 + usize::try_from(n).unwrap_or(0) * 500,
    }
}

/// Not a test of its own: the process that [`acknowledged_messages_survive_a_kill`] kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "is run as a child process by acknowledged_messages_survive_a_kill"]
async fn child() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let first: u64 = std::env::var(TAG).expect("a tag").parse().expect("a number");
    let store = open_in(Path::new(&dir));
    let owner = store.accounts().await.expect("lists")[0].id;
    let inbox = mailbox(&*store, owner, "INBOX").await;
    let next = Arc::new(AtomicU64::new(first));
    let mut submitters = tokio::task::JoinSet::new();
    for _ in 0..SUBMITTERS {
        let (store, next) = (Arc::clone(&store), Arc::clone(&next));
        submitters.spawn(async move {
            loop {
                let tag = next.fetch_add(1, Ordering::SeqCst);
                let appended = store.append(inbox, vec![message(octets(tag, size(tag)))]).await;
                let uid = appended.expect("appends").uids[0].1;
                // One write: the parent reads whole lines.
                let line = format!("ACK {tag} {uid}\n");
                std::io::stdout().write_all(line.as_bytes()).expect("the parent listens");
            }
        });
    }
    submitters.join_all().await;
}

#[tokio::test]
async fn acknowledged_messages_survive_a_kill() {
    let dir = tempfile::tempdir().expect("a folder");
    {
        let store = open_in(dir.path());
        account(&*store, "alice@example.net").await;
    }
    let mut acknowledged: BTreeMap<u32, u64> = BTreeMap::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["kill::child", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
            .env(DIR, dir.path())
            .env(TAG, (round * 1_000_000).to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the child starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut seen = 0;
        for line in lines {
            let line = line.expect("a line");
            // The test harness prints without an end of line before the first of ours.
            let Some((_, ack)) = line.split_once("ACK ") else { continue };
            // The last line may be cut short by the kill.
            let Some((tag, uid)) = ack.split_once(' ') else { continue };
            let (tag, uid) = (tag.parse().expect("a tag"), uid.parse().expect("a UID"));
            assert_eq!(acknowledged.insert(uid, tag), None, "UID {uid} was given out twice");
            seen += 1;
            // Each round at another place: in the first commit, in the middle, around a checkpoint.
            if seen == 1 + round * 13 {
                child.kill().expect("the child is killed");
            }
        }
        assert!(!child.wait().expect("the child ends").success());
        assert!(seen > round * 13, "the child ended too early, in round {round}");
    }

    let store = open_in(dir.path());
    let owner = store.accounts().await.expect("lists")[0].id;
    let inbox = mailbox(&*store, owner, "INBOX").await;
    verify(&*store, inbox, &acknowledged).await;
    drop(store);
    let whole: String = rusqlite::Connection::open(dir.path().join("store.db"))
        .and_then(|conn| conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)))
        .expect("checks");
    assert_eq!(whole, "ok");
}

async fn verify(
    store: &dyn Store,
    inbox: sealpost_store::mailbox::MailboxId,
    acknowledged: &BTreeMap<u32, u64>,
) {
    let entries = store.entries(inbox).await.expect("entries");
    let mut uids = HashSet::new();
    let mut found = BTreeMap::new();
    let expected: HashSet<u64> = acknowledged.values().copied().collect();
    assert_eq!(expected.len(), acknowledged.len(), "each message was acknowledged once");
    for entry in &entries {
        assert!(uids.insert(entry.uid), "UID {} is there twice", entry.uid);
        let octets_there = read(store, entry.content).await;
        assert_eq!(octets_there.len() as u64, entry.size);
        if let Some(tag) = acknowledged.get(&entry.uid) {
            assert!(octets_there == octets(*tag, size(*tag)), "UID {} has other octets", entry.uid);
            found.insert(entry.uid, *tag);
        }
    }
    assert_eq!(&found, acknowledged, "all that was acknowledged is there");
    let status = store.status(inbox).await.expect("a status");
    assert_eq!(status.messages as usize, entries.len());
    assert_eq!(status.size, entries.iter().map(|entry| entry.size).sum::<u64>());
    assert!(entries.iter().all(|entry| entry.uid < status.uid_next && entry.modseq <= status.modseq));
}
