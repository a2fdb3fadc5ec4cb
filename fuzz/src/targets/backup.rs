//! Restoring backups: the input is a recipe for an archive, so that checksums and sums are right where they are not
//! meant to be wrong, and what lies behind them is reached.
//!
//! ```text
//! head [JSON]              what an archive begins with
//! db [AT BITS]...          the database, with bits of octets turned
//! object N [AT BITS]...    the Nth body, likewise
//! entry KIND NAME TEXT     anything else; KIND is tar's type flag
//! sums [drop|twice N]      the sums of all so far
//! flip AT BITS             in the archive as it is so far, behind the sums' back
//! cut N                    as many octets off its end
//! ```

use super::lines;
use crate::{Rng, feedback, seeds};
use sealpost_proto::time::{Clock, Timestamp};
use sealpost_store::{
    Store, StoreError,
    account::Accounts as _,
    backup::Backup as _,
    mailbox::{Flags, Mailboxes as _, NewMessage, Sketch},
    spool::{Body, INLINE_MAX},
    sqlite::{Options, SqliteStore, restore},
};
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{self, Read as _, Write},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};
use tar::{Archive, Builder, EntryType, Header};
use tempfile::TempDir;
use tokio::runtime::{Builder as RuntimeBuilder, Runtime};

/// Octets of an archive made here.
const ARCHIVE_MAX: usize = 4 << 20;
/// Octets of one message that are read again.
const READ_MAX: usize = 1 << 20;

/// A store's mail: address and UID, and the octets.
type Contents = BTreeMap<(String, u32), Vec<u8>>;

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp(seeds::NOW)
    }
}

/// A backup as the store writes it, in its parts.
struct Genuine {
    head: Vec<u8>,
    db: Vec<u8>,
    objects: Vec<(String, Vec<u8>)>,
    contents: Contents,
    runtime: Runtime,
    place: TempDir,
}

thread_local! {
    static GENUINE: Genuine = Genuine::new();
}

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panicked").extend_from_slice(octets);
        Ok(octets.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A store that makes the same accesses each time, objects' names included.
fn store(dir: &Path) -> Result<Arc<SqliteStore>, StoreError> {
    let counter = AtomicU64::new(1);
    let random = move |octets: &mut [u8]| {
        let mut rng = Rng::new(counter.fetch_add(1, Ordering::Relaxed));
        octets.fill_with(|| rng.byte());
    };
    let options = Options {
        clock: Arc::new(Fixed),
        collect_garbage: false,
        random: Arc::new(random),
        ..Options::default()
    };
    SqliteStore::open_with(dir, options)
}

impl Genuine {
    fn new() -> Self {
        let runtime = RuntimeBuilder::new_current_thread().enable_time().build().expect("a runtime");
        // In memory where there is such a place: a disk would only make it slow.
        let place = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).expect("a temporary folder");
        let dir = place.path().join("from");
        let memory = Memory::default();
        let contents = runtime.block_on(async {
            let store = store(&dir).expect("a store");
            let now = Timestamp(seeds::NOW);
            for name in ["alice@example.net", "bob@example.net"] {
                let address = sealpost_proto::address::Address::parse(name).expect("an address");
                let account = store.create_account(&address, [7; 32], now.plus(3_600), now).await;
                let mailboxes = store.mailboxes(account.expect("an account")).await.expect("its mailboxes");
                let inbox = mailboxes.iter().find(|mailbox| mailbox.name == "INBOX").expect("an INBOX").id;
                for size in [10, 5_000, INLINE_MAX + name.len()] {
                    let text = format!("From: {name}\r\n\r\n").into_bytes();
                    let octets: Vec<u8> = text.iter().copied().cycle().take(size).collect();
                    let message = NewMessage {
                        body: Body::from_bytes(octets),
                        flags: Flags::default(),
                        keywords: Vec::new(),
                        internal_date: now,
                        index: Vec::new(),
                        sketch: Sketch::default(),
                    };
                    store.append(inbox, vec![message]).await.expect("stored");
                }
            }
            store.backup(Box::new(memory.clone())).await.expect("a backup");
            contents(&*store).await.expect("a good store")
        });
        let archive = std::mem::take(&mut *memory.0.lock().expect("nobody panicked"));
        let (mut head, mut db, mut objects) = (Vec::new(), Vec::new(), Vec::new());
        for entry in Archive::new(archive.as_slice()).entries().expect("an archive") {
            let mut entry = entry.expect("an entry");
            let name = entry.path().expect("a name").to_str().expect("UTF-8").to_owned();
            let mut octets = Vec::new();
            entry.read_to_end(&mut octets).expect("in memory");
            match name.as_str() {
                "sealpost-backup" => head = octets,
                "store.db" => db = octets,
                "SHA256SUMS" => {}
                _ => objects.push((name, octets)),
            }
        }
        assert!(!head.is_empty() && !db.is_empty() && objects.len() == 2, "a backup has other parts now");
        fs::remove_dir_all(&dir).expect("removed");
        Self { head, db, objects, contents, runtime, place }
    }
}

/// All mail; an error where the database is not what it should be.
async fn contents(store: &dyn Store) -> Result<Contents, StoreError> {
    let mut all = Contents::new();
    for account in store.accounts().await? {
        for mailbox in store.mailboxes(account.id).await? {
            for entry in store.entries(mailbox.id).await? {
                let reader = store.content(entry.content).await?;
                let (mut octets, mut piece) = (Vec::new(), [0; 4_096]);
                while octets.len() < READ_MAX {
                    match reader.read_at(octets.len() as u64, &mut piece)? {
                        0 => break,
                        n => octets.extend_from_slice(&piece[..n]),
                    }
                }
                all.insert((account.address.as_str().to_owned(), entry.uid), octets);
            }
        }
    }
    Ok(all)
}

/// An archive in the making.
struct Making<'a> {
    genuine: &'a Genuine,
    tar: Vec<u8>,
    sums: Vec<String>,
    /// Something was changed for which the sums are right, so that it may well be taken.
    vouched: bool,
}

impl Making<'_> {
    fn add(&mut self, kind: u8, name: &str, octets: &[u8]) {
        let mut header = Header::new_gnu();
        let room = &mut header.as_gnu_mut().expect("a GNU header").name;
        let length = name.len().min(room.len());
        room[..length].copy_from_slice(&name.as_bytes()[..length]);
        header.set_entry_type(EntryType::new(kind));
        header.set_size(octets.len() as u64);
        header.set_mode(0o600);
        header.set_cksum();
        let mut one = Builder::new(Vec::new());
        one.append(&header, octets).expect("in memory");
        // Without the empty blocks of the end: more may follow.
        let mut one = one.into_inner().expect("in memory");
        one.truncate(one.len() - 1_024);
        self.tar.append(&mut one);
        let mut sum = String::new();
        for octet in Sha256::digest(octets) {
            let _ = write!(sum, "{octet:02x}");
        }
        self.sums.push(format!("{sum}  {name}"));
    }

    /// The octets with those bits turned that pairs of numbers name.
    fn turned(&mut self, octets: &[u8], words: &[&str]) -> Vec<u8> {
        let mut octets = octets.to_vec();
        self.vouched |= turn(&mut octets, words);
        octets
    }

    fn step(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let genuine = self.genuine;
        match words.as_slice() {
            ["head"] => self.add(b'0', "sealpost-backup", &genuine.head),
            ["head", ..] => self.add(b'0', "sealpost-backup", &line.as_bytes()["head ".len()..]),
            ["db", bits @ ..] => {
                let db = self.turned(&genuine.db, bits);
                self.add(b'0', "store.db", &db);
            }
            ["object", n, bits @ ..] => {
                let n = n.parse().unwrap_or(0) % genuine.objects.len();
                let (name, octets) = &genuine.objects[n];
                let octets = self.turned(octets, bits);
                self.add(b'0', name, &octets);
            }
            ["entry", kind, name, text @ ..] => {
                // In the place of the database or a body it is a change with the right sum.
                self.vouched |= *name == "store.db" || name.starts_with("objects/");
                self.add(kind.bytes().next().unwrap_or(b'0'), name, text.join(" ").as_bytes());
            }
            ["sums", change @ ..] => {
                let mut sums = self.sums.clone();
                if let [what, n] = change
                    && !sums.is_empty()
                {
                    let n = n.parse().unwrap_or(0) % sums.len();
                    if *what == "twice" {
                        let (line, to) = (sums[n].clone(), (n + 1) % sums.len());
                        sums[to] = line;
                    } else {
                        sums.remove(n);
                    }
                }
                let text = sums.join("\n") + "\n";
                self.add(b'0', "SHA256SUMS", text.as_bytes());
            }
            ["flip", bits @ ..] => {
                turn(&mut self.tar, bits);
            }
            ["cut", n] => {
                let left = self.tar.len().saturating_sub(n.parse().unwrap_or(0));
                self.tar.truncate(left);
            }
            _ => {}
        }
    }
}

/// Whether any bit was turned.
fn turn(octets: &mut [u8], words: &[&str]) -> bool {
    let mut any = false;
    for pair in words.chunks_exact(2) {
        let (Ok(at), Ok(bits)) = (pair[0].parse::<usize>(), pair[1].parse::<u8>()) else { continue };
        let length = octets.len().max(1);
        if let Some(octet) = octets.get_mut(at % length) {
            *octet ^= bits;
            any |= bits != 0;
        }
    }
    any
}

/// A backup is restored whole or not at all; nothing is written beside the folder; what was changed without the sums
/// knowing of it is never taken, and what they vouch for does not bring down the store that is made of it.
pub(crate) fn backup(input: &[u8]) {
    GENUINE.with(|genuine| {
        let mut making = Making { genuine, tar: Vec::new(), sums: Vec::new(), vouched: false };
        for line in lines(input) {
            if making.tar.len() < ARCHIVE_MAX {
                making.step(line);
            }
        }
        let Making { mut tar, vouched, .. } = making;
        tar.extend_from_slice(&[0; 1_024]);

        let dir = genuine.place.path().join("to");
        let outcome = restore(tar.as_slice(), &dir, Timestamp(seeds::NOW));
        let beside = fs::read_dir(genuine.place.path()).expect("it is there").count();
        assert_eq!(beside, usize::from(dir.exists()), "something lies beside the folder");
        match outcome {
            Err(error) => {
                feedback::happened(&feedback::shape(&match &error {
                    StoreError::Archive(why) => why.clone(),
                    other => other.to_string(),
                }));
                let left = fs::read_dir(&dir).map_or(0, Iterator::count);
                assert_eq!(left, 0, "after `{error}` something was left");
            }
            Ok(summary) => {
                let found = genuine.runtime.block_on(async { contents(&*store(&dir)?).await });
                feedback::happened(if found.is_ok() { "restored" } else { "restored, and damaged" });
                if !vouched {
                    let found = found.expect("a good store");
                    assert!(found == genuine.contents, "other mail than was in the backup");
                    assert_eq!((summary.accounts, summary.messages), (2, genuine.contents.len() as u64));
                }
            }
        }
        if dir.exists() {
            fs::remove_dir_all(&dir).expect("removed");
        }
    });
}
