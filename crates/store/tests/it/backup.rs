//! Backup while the store is used, and restore.

use crate::support::{
    NOW, TestClock, account, inbox, mailbox, message, octets, open, open_in, options, read,
};
use sealpost_store::{
    Store, StoreError,
    account::Accounts as _,
    annotation::{AnnotationChange, Annotations as _},
    backup::{Backup as _, Summary},
    mailbox::{MailboxId, Mailboxes as _},
    spool::INLINE_MAX,
    sqlite::{SqliteStore, restore},
};
use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex},
};

/// A writer into memory that stays readable.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("alone").extend_from_slice(buf);
        Ok(buf.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn archive(store: &SqliteStore) -> (Vec<u8>, Summary) {
    let memory = Memory::default();
    let summary = store.backup(Box::new(memory.clone())).await.expect("a backup");
    let octets = std::mem::take(&mut *memory.0.lock().expect("alone"));
    (octets, summary)
}

/// All octets of a mailbox by UID.
async fn contents(store: &dyn Store, mailbox: MailboxId) -> BTreeMap<u32, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in store.entries(mailbox).await.expect("entries") {
        all.insert(entry.uid, read(store, entry.content).await);
    }
    all
}

fn files_in(dir: &Path) -> usize {
    std::fs::read_dir(dir).map_or(0, Iterator::count)
}

#[tokio::test]
async fn what_was_there_comes_back() {
    let (store, _dir) = open();
    let (alice, inbox) = inbox(&*store).await;
    for (tag, len) in [(1, 10), (2, 40_000), (3, INLINE_MAX), (4, INLINE_MAX + 1), (5, 1_000_000)] {
        store.append(inbox, vec![message(octets(tag, len))]).await.expect("appends");
    }
    let annotation = ("/private/comment".to_owned(), Some(b"kept".to_vec()));
    let change = AnnotationChange { values: vec![annotation], special_use: None };
    store.annotate(alice, Some(inbox), change).await.expect("annotates");
    let annotated = store.annotations(alice, Some(inbox)).await.expect("annotations");
    let before = contents(&*store, inbox).await;
    let status = store.status(inbox).await.expect("a status");
    let (archive, summary) = archive(&store).await;
    assert_eq!((summary.accounts, summary.messages), (1, 5));
    assert_eq!(summary.octets, archive.len() as u64);
    // What comes after the backup is not in it, and its numbers are not given out again.
    let lost = store.append(inbox, vec![message("later")]).await.expect("appends");
    let other = store.create_account(&crate::support::address("bob@example.net"), [1; 32], NOW, NOW).await;
    let other = other.expect("an account");

    let place = tempfile::tempdir().expect("a folder");
    let dir = place.path().join("new");
    let restored = restore(&archive[..], &dir, NOW).expect("restores");
    assert_eq!(restored, summary);
    let store = open_in(&dir);
    assert_eq!(mailbox(&*store, alice, "INBOX").await, inbox);
    assert_eq!(contents(&*store, inbox).await, before);
    assert_eq!(store.annotations(alice, Some(inbox)).await.expect("annotations"), annotated);
    let now = store.status(inbox).await.expect("a status");
    assert!(now.uid_validity > lost.uid_validity + 1000, "{} {}", now.uid_validity, lost.uid_validity);
    assert_eq!((now.messages, now.size, now.uid_next), (status.messages, status.size, status.uid_next));
    let carol = account(&*store, "carol@example.net").await;
    assert!(carol.0 > other.0 + 1000, "the id of an account is not given out twice");
    // Each mailbox has another UIDVALIDITY, and so has the next one.
    let mut validities = Vec::new();
    for account in [alice, carol] {
        for mailbox in store.mailboxes(account).await.expect("lists") {
            validities.push(store.status(mailbox.id).await.expect("a status").uid_validity);
        }
    }
    let count = validities.len();
    validities.sort_unstable();
    validities.dedup();
    assert_eq!(validities.len(), count);

    // The same backup once more: nobody takes one for the other.
    let twin = place.path().join("twin");
    restore(&archive[..], &twin, NOW).expect("restores");
    let twin = open_in(&twin);
    assert_ne!(twin.status(inbox).await.expect("a status").uid_validity, now.uid_validity);
}

/// What is written to it reaches the store's users in between: each call appends and expunges.
struct Meddler {
    inner: Memory,
    store: Arc<SqliteStore>,
    inbox: MailboxId,
    clock: Arc<TestClock>,
    runtime: tokio::runtime::Handle,
    calls: u64,
}

impl Write for Meddler {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.calls += 1;
        if self.calls == 1 {
            let (store, inbox) = (&self.store, self.inbox);
            self.runtime.block_on(async {
                store
                    .append(inbox, vec![message(octets(99, INLINE_MAX + 5))])
                    .await
                    .expect("deliveries go on");
                // All mail goes, and so long ago that it would be cleared away now.
                store.expunge(inbox, None).await.expect("expunges");
                self.clock.advance(100_000);
                store.collect_garbage().await.expect("collects");
            });
        }
        self.inner.write(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_of_one_moment() {
    let dir = tempfile::tempdir().expect("a folder");
    let clock = TestClock::new();
    let store = SqliteStore::open_with(&dir.path().join("store"), options(&clock)).expect("opens");
    let (_, inbox) = inbox(&*store).await;
    for tag in 0..6 {
        let flags = sealpost_store::mailbox::Flags::DELETED;
        let message = sealpost_store::mailbox::NewMessage { flags, ..message(octets(tag, INLINE_MAX + 1)) };
        store.append(inbox, vec![message]).await.expect("appends");
    }
    let before = contents(&*store, inbox).await;
    let memory = Memory::default();
    let meddler = Meddler {
        inner: memory.clone(),
        store: Arc::clone(&store),
        inbox,
        clock: Arc::clone(&clock),
        runtime: tokio::runtime::Handle::current(),
        calls: 0,
    };
    store.backup(Box::new(meddler)).await.expect("a backup");
    assert_eq!(store.status(inbox).await.expect("a status").messages, 1, "the expunge has happened");
    let archive = std::mem::take(&mut *memory.0.lock().expect("alone"));
    let new = dir.path().join("new");
    restore(&archive[..], &new, NOW).expect("restores");
    assert_eq!(contents(&*open_in(&new), inbox).await, before);
    // And afterwards what was held back goes.
    let objects = |dir: &Path| -> usize {
        let folders = std::fs::read_dir(dir.join("objects")).expect("lists");
        folders.map(|folder| files_in(&folder.expect("a folder").path())).sum()
    };
    store.collect_garbage().await.expect("collects");
    assert_eq!(objects(&dir.path().join("store")), 1);
    assert_eq!(files_in(&dir.path().join("store/tmp")), 0, "the copy of the database is gone");
}

/// A disk that is full after some octets.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(buf.len()).ok_or(io::ErrorKind::StorageFull)?;
        Ok(buf.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_backup_that_cannot_be_written_fails_and_leaves_nothing() {
    let (store, dir) = open();
    let (_, inbox) = inbox(&*store).await;
    store.append(inbox, vec![message(octets(1, INLINE_MAX + 1))]).await.expect("appends");
    let (whole, _) = archive(&store).await;
    for room in [0, 1, 70_000, whole.len() - 1] {
        let failed = store.backup(Box::new(Full(room))).await;
        assert!(matches!(failed, Err(StoreError::Full)), "{room}: {failed:?}");
    }
    assert_eq!(files_in(&dir.path().join("store/tmp")), 0);
    // An object that went missing is told, not left out.
    let objects = dir.path().join("store/objects");
    std::fs::remove_dir_all(&objects).expect("removed");
    store.backup(Box::new(Memory::default())).await.expect_err("an incomplete backup");
}

fn refused(archive: &[u8], dir: &Path) -> String {
    let error = restore(archive, dir, NOW).expect_err("a damaged backup");
    assert!(matches!(error, StoreError::Archive(_)), "{error:?}");
    assert_eq!(files_in(dir), 0, "after `{error}` something was left");
    error.to_string()
}

/// Where the entries of an archive begin, by name.
fn entries(archive: &[u8]) -> Vec<(String, u64)> {
    let mut tar = tar::Archive::new(archive);
    let all = tar.entries().expect("an archive").map(|entry| {
        let entry = entry.expect("an entry");
        (entry.path().expect("a name").display().to_string(), entry.raw_file_position())
    });
    all.collect()
}

#[tokio::test]
async fn damaged_backups_are_refused_and_leave_an_empty_folder() {
    let (store, place) = open();
    let (_, inbox) = inbox(&*store).await;
    store.append(inbox, vec![message(octets(1, 5000))]).await.expect("appends");
    store.append(inbox, vec![message(octets(2, INLINE_MAX + 1))]).await.expect("appends");
    let (whole, _) = archive(&store).await;
    let dir = place.path().join("new");
    // Cut anywhere before the two empty blocks that only tar(1) wants.
    let end = whole.len() - 1024;
    let cuts = (0..end).step_by(end / 37).chain([1, 511, 512, 513, end - 1, end - 512]);
    for cut in cuts {
        refused(&whole[..cut], &dir);
    }
    // One bit of any file.
    for (name, at) in entries(&whole) {
        let mut damaged = whole.clone();
        damaged[usize::try_from(at).expect("small")] ^= 1;
        let said = refused(&damaged, &dir);
        assert!(said.contains("damaged") || said.contains("missing"), "{name}: {said}");
    }
    // Still good, and no longer welcome where something lies.
    restore(&whole[..], &dir, NOW).expect("restores");
    let error = restore(&whole[..], &dir, NOW).expect_err("not empty");
    assert!(error.to_string().contains("not empty"), "{error}");
    assert!(dir.join("store.db").exists(), "what lay there still does");
    drop(open_in(&dir));
}

#[tokio::test]
async fn a_sum_that_is_listed_twice_does_not_stand_for_one_that_is_not() {
    let (store, place) = open();
    let _ = inbox(&*store).await;
    let (whole, _) = archive(&store).await;
    let mut tar = tar::Builder::new(Vec::new());
    for entry in tar::Archive::new(&whole[..]).entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let mut data = Vec::new();
        io::Read::read_to_end(&mut entry, &mut data).expect("reads");
        let mut header = entry.header().clone();
        if entry.path().expect("a name").ends_with("SHA256SUMS") {
            let sums = String::from_utf8(data).expect("text");
            let head = sums.lines().find(|line| line.ends_with("sealpost-backup")).expect("it is listed");
            data = format!("{head}\n{head}\n").into_bytes();
        }
        header.set_size(data.len() as u64);
        header.set_cksum();
        tar.append(&header, &data[..]).expect("appended");
    }
    let said = refused(&tar.into_inner().expect("an archive"), &place.path().join("new"));
    assert!(said.contains("list of sums"), "{said}");
}

/// A tar file of these entries, with right sums.
fn forged(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
    use sha2::Digest as _;
    use std::fmt::Write as _;
    let mut tar = tar::Builder::new(Vec::new());
    let mut sums = String::new();
    let mut add = |name: &str, kind, data: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().expect("a GNU header").name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_size(data.len() as u64);
        header.set_mode(0o600);
        if kind == tar::EntryType::Symlink {
            header.set_link_name("/etc/passwd").expect("a link");
        }
        header.set_cksum();
        tar.append(&header, data).expect("appended");
        let sum: String = sha2::Sha256::digest(data).iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        let _ = writeln!(sums, "{sum}  {name}");
        sums.clone()
    };
    let mut last = String::new();
    for (name, kind, data) in entries {
        last = add(name, *kind, data);
    }
    add("SHA256SUMS", tar::EntryType::Regular, last.as_bytes());
    tar.into_inner().expect("an archive")
}

#[test]
fn archives_of_somebody_else_are_refused() {
    use tar::EntryType::{Directory, Regular, Symlink};
    let place = tempfile::tempdir().expect("a folder");
    let dir = place.path().join("new");
    let head: (&str, _, &[u8]) = ("sealpost-backup", Regular, b"{\"version\":1}");
    let other_db = {
        let path = place.path().join("other.db");
        let conn = rusqlite::Connection::open(&path).expect("opens");
        conn.execute_batch("CREATE TABLE content (object_key TEXT, size INTEGER)").expect("a table");
        drop(conn);
        std::fs::read(path).expect("reads")
    };
    let key = "objects/ab/abababababababababababababababab";
    for (what, entries, word) in [
        ("nothing", vec![], "no backup"),
        ("no head", vec![("store.db", Regular, &b"x"[..])], "no backup"),
        ("a newer form", vec![("sealpost-backup", Regular, &b"{\"version\":2}"[..])], "newer"),
        ("no database", vec![head], "no database"),
        ("a body twice", vec![head, (key, Regular, b"x"), (key, Regular, b"x")], "twice"),
        ("outside", vec![head, ("../store.db", Regular, b"x")], "does not belong"),
        ("absolute", vec![head, ("/tmp/x", Regular, b"x")], "does not belong"),
        ("outside of objects", vec![head, ("objects/../../x", Regular, b"x")], "does not belong"),
        ("a wrong folder", vec![head, (&key.replace("/ab/", "/cd/"), Regular, b"x")], "does not belong"),
        ("not a key", vec![head, ("objects/ab/ab", Regular, b"x")], "does not belong"),
        ("a link", vec![head, ("store.db", Symlink, b"")], "does not belong"),
        ("a folder", vec![head, ("objects", Directory, b"")], "does not belong"),
        ("no SQLite", vec![head, ("store.db", Regular, &[7; 5000])], "database"),
        ("another's database", vec![head, ("store.db", Regular, &other_db)], "not Sealpost's"),
    ] {
        let error = restore(&forged(&entries)[..], &dir, NOW).expect_err(what).to_string();
        assert!(error.contains(word), "{what}: {error}");
        assert_eq!(files_in(&dir), 0, "{what}");
    }
    assert!(!place.path().join("x").exists());
}
