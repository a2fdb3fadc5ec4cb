//! What is peculiar to the store of one machine: its folder, its lock, full disks, restarts, clearing away.

use crate::support::{
    CODE, NOW, TestClock, account, address, inbox, login, mailbox, message, octets, open, open_in, options,
    read, strings,
};
use sealpost_proto::address::Domain;
use sealpost_store::{
    Store, StoreError,
    account::{Accounts, Enrolment},
    mailbox::{FlagChange, Flags, MailboxId, Mailboxes, NewMessage, Sketch, Uid},
    queue::{Accepted, BodyNeeds, Queue, RemoteEntry},
    spool::{Body, INLINE_MAX},
    sqlite::{Options, SqliteStore},
};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// A body that becomes an object.
const LARGE: usize = INLINE_MAX + 1;
/// The grace of removed content, and a second.
const AFTER_GRACE: i64 = 3601;

async fn expunge(store: &dyn Store, mailbox: MailboxId, uids: &[Uid]) {
    let how = FlagChange::Add;
    store.store_flags(mailbox, uids, how, Flags::DELETED, &[], None).await.map(drop).expect("stores");
    assert_eq!(store.expunge(mailbox, Some(uids)).await.expect("expunges"), uids);
}

fn objects(dir: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(dir.join("objects")).expect("lists");
    folders
        .flat_map(|folder| fs::read_dir(folder.expect("lists").path()).expect("lists"))
        .map(|object| object.expect("lists").path())
        .collect()
}

fn raw(dir: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(dir.join("store.db")).expect("opens")
}

fn count(dir: &Path, table: &str) -> i64 {
    raw(dir).query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).expect("counts")
}

#[tokio::test]
async fn one_process_at_a_time() {
    let (store, dir) = open();
    let path = dir.path().join("store");
    for _ in 0..3 {
        assert!(matches!(SqliteStore::open(&path), Err(StoreError::Locked)));
    }
    drop(store);
    SqliteStore::open(&path).map(drop).expect("is free again");
}

/// The next start then reads and settles no log, and a copy of the database's file alone is whole.
#[tokio::test]
async fn a_store_that_is_closed_leaves_no_log_behind() {
    let (store, dir) = open();
    let path = dir.path().join("store");
    let (_, inbox) = inbox(&*store).await;
    store.append(inbox, vec![message("x")]).await.expect("appends");
    // From a reading connection, which outlives the writing one.
    let entries = store.entries(inbox).await.expect("entries");
    assert_eq!(read(&*store, entries[0].content).await, b"x");
    drop(store);
    let log = fs::metadata(path.join("store.db-wal")).map_or(0, |log| log.len());
    assert_eq!(log, 0);
    assert_eq!(count(&path, "entry"), 1);
}

#[cfg(unix)]
#[tokio::test]
async fn the_folder_is_its_owners_alone() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("a/b/store");
    fs::create_dir_all(&path).expect("makes");
    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("sets");
    let store = open_in(&path);
    let (_, inbox) = inbox(&*store).await;
    let mut spool = store.spool();
    spool.write(&vec![0; LARGE]).expect("writes");
    store.append(inbox, vec![message("x"), message(octets(1, LARGE))]).await.expect("appends");
    let mut waiting = vec![path.clone()];
    let mut files = 0;
    while let Some(next) = waiting.pop() {
        let data = fs::metadata(&next).expect("is there");
        if data.is_dir() {
            assert_eq!(data.mode() & 0o777, 0o700, "{}", next.display());
            waiting.extend(fs::read_dir(&next).expect("lists").map(|entry| entry.expect("lists").path()));
        } else {
            assert_eq!(data.mode() & 0o777, 0o600, "{}", next.display());
            files += 1;
        }
    }
    assert!(files >= 6, "database, log, index, lock, object, spool: {files}");
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let (store, dir) = open();
    let path = dir.path().join("store");
    let (id, inbox) = inbox(&*store).await;
    store.append(inbox, vec![message("small"), message(octets(1, LARGE))]).await.expect("appends");
    store.create_mailbox(id, "a/b", None).await.expect("makes");
    let (entries, status) =
        (store.entries(inbox).await.expect("entries"), store.status(inbox).await.expect("a status"));
    let (secret, keys) =
        (store.server_secret().await.expect("a secret"), store.key_state(id).await.expect("a state"));
    drop(store);
    let store = open_in(&path);
    assert_eq!(store.entries(inbox).await.expect("entries"), entries);
    assert_eq!(store.status(inbox).await.expect("a status"), status);
    assert_eq!(store.server_secret().await.expect("a secret"), secret);
    assert_eq!(store.key_state(id).await.expect("a state"), keys);
    assert_eq!(read(&*store, entries[0].content).await, b"small");
    assert!(read(&*store, entries[1].content).await == octets(1, LARGE));
    assert_eq!(mailbox(&*store, id, "INBOX").await, inbox);
    assert_eq!(store.append(inbox, vec![message("next")]).await.expect("appends").uids, [(0, 3)]);
}

#[tokio::test]
async fn r16_a_salt_is_made_and_kept_where_none_is_stored() {
    let (store, dir) = open();
    let path = dir.path().join("store");
    let id = account(&*store, "alice@example.net").await;
    let before = store.key_state(id).await.expect("a state");
    drop(store);
    raw(&path).execute("UPDATE account SET key_salt = NULL", []).expect("forgets the salt");
    let store = open_in(&path);
    let made = store.key_state(id).await.expect("a state");
    assert!(made.salt != before.salt && made.salt.as_bytes().len() >= 16);
    assert_ne!(made.generation, before.generation);
    assert_eq!(store.key_state(id).await.expect("a state"), made);
    drop(store);
    assert_eq!(open_in(&path).key_state(id).await.expect("a state"), made, "durable before it is told");
}

#[tokio::test]
async fn r17_the_store_keeps_no_login_hash() {
    let (store, dir) = open();
    let alice = address("alice@example.net");
    account(&*store, alice.as_str()).await;
    // All that comes here is SHA-256 of the login hash (the types allow no more); it is what lies on the disk.
    assert!(matches!(store.enrol(&alice, CODE, login(1), NOW).await, Ok(Enrolment::Done(_))));
    drop(store);
    let row = "SELECT login_verifier FROM account";
    let kept: Vec<u8> = raw(&dir.path().join("store")).query_row(row, [], |row| row.get(0)).expect("a row");
    assert_eq!(kept, login(1).verifier.0);
}

#[tokio::test]
async fn a_full_disk_is_told_and_survived() {
    let dir = tempfile::tempdir().expect("a folder");
    let clock = TestClock::new();
    let small = Options { max_pages: Some(400), ..options(&clock) };
    let store = SqliteStore::open_with(dir.path(), small).expect("opens");
    let (_, inbox) = inbox(&*store).await;
    let mut acknowledged = Vec::new();
    let error = loop {
        let tag = acknowledged.len() as u64;
        match store.append(inbox, vec![message(octets(tag, 100_000))]).await {
            Ok(copied) => acknowledged.push(copied.uids[0].1),
            Err(error) => break error,
        }
        assert!(acknowledged.len() < 100, "the disk never fills");
    };
    assert!(matches!(error, StoreError::Full), "{error}");
    assert!(acknowledged.len() > 3);
    // Nothing acknowledged is lost, and the counters are true.
    let entries = store.entries(inbox).await.expect("entries");
    assert_eq!(entries.iter().map(|entry| entry.uid).collect::<Vec<_>>(), acknowledged);
    for (tag, entry) in (0..).zip(&entries) {
        assert!(read(&*store, entry.content).await == octets(tag, 100_000));
    }
    // Large bodies are refused too, and leave no object.
    let refused = store.append(inbox, (0..100).map(|_| message(octets(1, 100_000))).collect()).await;
    assert!(matches!(refused, Err(StoreError::Full)));
    // Space comes back, and delivery goes on by itself.
    expunge(&*store, inbox, &acknowledged[1..]).await;
    clock.advance(AFTER_GRACE);
    store.collect_garbage().await.expect("collects");
    let next = store.append(inbox, vec![message(octets(77, 100_000))]).await.expect("appends");
    assert!(next.uids[0].1 > *acknowledged.last().expect("some"));
}

#[test]
fn full_disks_have_one_name() {
    for error in [28, 122] {
        // ENOSPC and EDQUOT on Linux.
        let error = StoreError::from(std::io::Error::from_raw_os_error(error));
        assert!(matches!(error, StoreError::Full));
    }
    assert!(matches!(StoreError::from(std::io::Error::from_raw_os_error(5)), StoreError::Io(_)));
}

#[tokio::test]
async fn removed_mail_goes_when_its_grace_is_over() {
    let dir = tempfile::tempdir().expect("a folder");
    let clock = TestClock::new();
    let store = SqliteStore::open_with(dir.path(), options(&clock)).expect("opens");
    let (id, inbox) = inbox(&*store).await;
    let archive = mailbox(&*store, id, "Archive").await;
    let sketch = Sketch { header: Some(vec![1].into()), text: Some(vec![2].into()) };
    let bodies = [octets(0, 1), octets(1, LARGE), octets(3, 1), octets(2, LARGE)];
    let bodies = bodies.map(|octets| NewMessage { sketch: sketch.clone(), ..message(octets) }).to_vec();
    store.append(inbox, bodies).await.expect("appends");
    store.copy(inbox, &[3, 4], archive).await.expect("copies");
    let entries = store.entries(inbox).await.expect("entries");
    expunge(&*store, inbox, &[1, 2, 3, 4]).await;
    clock.advance(AFTER_GRACE - 2);
    store.collect_garbage().await.expect("collects");
    assert_eq!((count(dir.path(), "content"), objects(dir.path()).len()), (4, 2), "still in its grace");
    let open_before = store.content(entries[1].content).await.expect("the content");
    clock.advance(2);
    store.collect_garbage().await.expect("collects");
    assert_eq!((count(dir.path(), "content"), objects(dir.path()).len()), (2, 1), "copies keep theirs");
    assert_eq!(
        (count(dir.path(), "body"), count(dir.path(), "gc"), count(dir.path(), "gc_object")),
        (1, 0, 0)
    );
    assert_eq!(count(dir.path(), "text_sketch"), 2);
    for entry in &entries[..2] {
        assert!(matches!(store.content(entry.content).await.map(drop), Err(StoreError::Gone(_))));
    }
    assert!(read(&*store, entries[3].content).await == octets(2, LARGE));
    // What is being read is read to its end.
    let mut piece = [0; 64];
    assert_eq!(open_before.read_at(LARGE as u64 - 64, &mut piece).expect("reads"), 64);
}

#[tokio::test]
async fn removed_mailboxes_and_accounts_are_cleared_away() {
    let dir = tempfile::tempdir().expect("a folder");
    let clock = TestClock::new();
    let store = SqliteStore::open_with(dir.path(), options(&clock)).expect("opens");
    let (id, inbox) = inbox(&*store).await;
    let bob = account(&*store, "bob@example.net").await;
    let bobs = mailbox(&*store, bob, "INBOX").await;
    store.append(bobs, vec![message("stays")]).await.expect("appends");
    // More than one step of the collector.
    store.append(inbox, (0..250).map(|n| message(format!("{n}"))).collect()).await.expect("appends");
    let old = store.create_mailbox(id, "old", None).await.expect("makes");
    store.append(old, vec![message(octets(1, LARGE))]).await.expect("appends");
    store
        .store_flags(old, &[1], FlagChange::Add, Flags::SEEN, &strings(&["k"]), None)
        .await
        .map(drop)
        .expect("stores");
    store.copy(inbox, &[1, 2], old).await.expect("copies");
    store.delete_mailbox(id, "old").await.expect("deletes");
    store.collect_garbage().await.expect("collects");
    assert_eq!((count(dir.path(), "mailbox"), count(dir.path(), "entry_keyword")), (12, 0));
    store.remove_account(&address("alice@example.net")).await.expect("removes");
    store.collect_garbage().await.expect("collects");
    clock.advance(AFTER_GRACE);
    store.collect_garbage().await.expect("collects");
    for (table, left) in
        [("mailbox", 6), ("entry", 1), ("content", 1), ("body", 1), ("keyword", 0), ("gc", 0)]
    {
        assert_eq!(count(dir.path(), table), left, "{table}");
    }
    assert!(objects(dir.path()).is_empty());
    assert_eq!(store.status(bobs).await.expect("a status").messages, 1);
}

#[tokio::test]
async fn what_a_crash_left_over_is_swept() {
    let (store, dir) = open();
    let path = dir.path().join("store");
    let (_, inbox) = inbox(&*store).await;
    store.append(inbox, vec![message(octets(1, LARGE))]).await.expect("appends");
    drop(store);
    fs::create_dir_all(path.join("objects/ab")).expect("makes");
    let orphan = path.join("objects/ab/abababababababababababababababab");
    fs::write(&orphan, "made durable, never committed").expect("writes");
    let note = path.join("objects/ab/README");
    fs::write(&note, "somebody's note").expect("writes");
    fs::write(path.join("tmp/in-x"), "half a message").expect("writes");
    let store = open_in(&path);
    assert!(!orphan.exists() && note.exists());
    assert_eq!(fs::read_dir(path.join("tmp")).expect("lists").count(), 0);
    let entries = store.entries(inbox).await.expect("entries");
    assert!(read(&*store, entries[0].content).await == octets(1, LARGE));
}

#[tokio::test]
async fn a_refused_message_leaves_no_object() {
    let (store, dir) = open();
    let path = dir.path().join("store");
    let (_, inbox) = inbox(&*store).await;
    let mut spool = store.spool();
    spool.write(&octets(1, LARGE)).expect("writes");
    let body = spool.finish().expect("finishes");
    let received = || NewMessage { body: body.clone(), ..message("") };
    assert!(store.append(MailboxId(999), vec![received()]).await.is_err());
    assert!(objects(&path).is_empty());
    store.append(inbox, vec![received()]).await.expect("the body is as good as before");
    assert_eq!(objects(&path).len(), 1);
    drop(body);
    assert_eq!(fs::read_dir(path.join("tmp")).expect("lists").count(), 0);
}

#[tokio::test]
async fn claims_end_with_their_process() {
    let (store, dir) = open();
    let path = dir.path().join("store");
    let entry = RemoteEntry {
        body: Body::from_bytes("x"),
        domain: Domain::parse("example.com").expect("a domain"),
        recipients: strings(&["bob@example.com"]),
        needs: BodyNeeds::default(),
        received: NOW,
        due: NOW,
    };
    let message = Accepted { reverse_path: None, local: Vec::new(), remote: vec![entry] };
    store.accept(message).await.expect("accepts");
    let lease = Duration::from_secs(3600);
    assert_eq!(store.claim_due(NOW, lease, 10).await.expect("claims").len(), 1);
    drop(store);
    let store = open_in(&path);
    assert_eq!(store.claim_due(NOW, lease, 10).await.expect("claims").len(), 1);
}

#[tokio::test]
async fn what_is_not_ours_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    raw(dir.path()).execute_batch("CREATE TABLE t (x)").expect("makes");
    assert!(matches!(SqliteStore::open(dir.path()), Err(StoreError::Database(_))));

    let (store, dir) = open();
    drop(store);
    let path = dir.path().join("store");
    raw(&path).execute("UPDATE schema_version SET n = 99", []).expect("ages");
    let newer = SqliteStore::open(&path).map(drop);
    assert!(matches!(newer, Err(StoreError::Newer { found: 99, .. })), "{newer:?}");

    let file = dir.path().join("file");
    fs::write(&file, "").expect("writes");
    assert!(matches!(SqliteStore::open(&file), Err(StoreError::Io(_))));
    fs::write(path.join("store.db"), "this is no database, but long enough to look like one".repeat(100))
        .expect("writes");
    assert!(matches!(SqliteStore::open(&path), Err(StoreError::Database(_))));
}
