//! How many messages a second the store makes durable, beside the most that this disk could do: the same octets
//! appended to one file, with one fdatasync for all that wait (group commit without a database).
//!
//! ```text
//! cargo run --release -p sealpost-store --example rate [SECONDS_PER_CASE [ROUNDS [DIR]]]
//! ```
//!
//! Rounds are interleaved and the median is printed: disks in virtual machines swing by a factor of three between
//! minutes. Read ratios, not rates.

use sealpost_proto::{address::Address, time::Timestamp};
use sealpost_store::{
    account::Accounts,
    mailbox::{Flags, MailboxId, Mailboxes, NewMessage, Sketch},
    spool::Body,
    sqlite::SqliteStore,
};
use std::{
    error::Error,
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Octets of a message, and sessions that submit at once.
const CASES: [(usize, usize); 5] =
    [(4 * 1024, 1), (4 * 1024, 20), (4 * 1024, 100), (100 * 1024, 20), (1024 * 1024, 4)];
/// What `index` holds for an ordinary message.
const INDEX_BYTES: usize = 600;

fn main() -> Outcome<()> {
    let mut args = std::env::args().skip(1);
    let seconds: f64 = args.next().map_or(Ok(2.0), |text| text.parse())?;
    let rounds: usize = args.next().map_or(Ok(3), |text| text.parse())?;
    let root = args.next().map_or_else(|| PathBuf::from("."), PathBuf::from);
    let span = Duration::from_secs_f64(seconds);
    let runtime = tokio::runtime::Runtime::new()?;
    println!("size x submitters: raw msg/s, store msg/s, ratio, p50 ms, p99 ms (median of {rounds})");
    for (size, submitters) in CASES {
        let mut raw = Vec::new();
        let mut store = Vec::new();
        for _ in 0..rounds {
            raw.push(runtime.block_on(measure_raw(&root, size, submitters, span))?);
            store.push(runtime.block_on(measure_store(&root, size, submitters, span))?);
        }
        let (raw, store) = (median(raw), median(store));
        println!(
            "{:>5} KiB x {submitters:>3}: {:>8.0} {:>8.0}   {:.2}   {:>6.1} {:>6.1}",
            size / 1024,
            raw.rate,
            store.rate,
            store.rate / raw.rate,
            store.p50_ms,
            store.p99_ms
        );
    }
    runtime.block_on(measure_reads(&root))
}

struct Figures {
    rate: f64,
    p50_ms: f64,
    p99_ms: f64,
}

fn median(mut all: Vec<Figures>) -> Figures {
    all.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    let middle = all.len() / 2;
    all.swap_remove(middle)
}

fn body(size: usize, tag: u64) -> Vec<u8> {
    let mut state = tag | 1;
    (0..size)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef"[usize::try_from(state >> 59).unwrap_or(0)]
        })
        .collect()
}

/// Runs `submit` again and again in each of `submitters` tasks.
async fn drive<F, Fut>(submitters: usize, span: Duration, submit: F) -> Outcome<Figures>
where
    F: Fn(u64) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Outcome<()>> + Send,
{
    let (submit, next) = (Arc::new(submit), Arc::new(AtomicU64::new(1)));
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..submitters {
        let (submit, next) = (Arc::clone(&submit), Arc::clone(&next));
        tasks.spawn(async move {
            let mut times = Vec::new();
            while start.elapsed() < span {
                let begin = Instant::now();
                submit(next.fetch_add(1, Ordering::Relaxed)).await?;
                times.push(begin.elapsed());
            }
            Outcome::Ok(times)
        });
    }
    let mut times = Vec::new();
    while let Some(task) = tasks.join_next().await {
        times.append(&mut task??);
    }
    let took = start.elapsed();
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len() * percent / 100).map_or(0.0, |t| t.as_secs_f64() * 1e3);
    let count = u32::try_from(times.len())?;
    Ok(Figures { rate: f64::from(count) / took.as_secs_f64(), p50_ms: at(50), p99_ms: at(99) })
}

async fn measure_raw(root: &Path, size: usize, submitters: usize, span: Duration) -> Outcome<Figures> {
    let dir = tempfile::tempdir_in(root)?;
    let mut file = File::create(dir.path().join("log"))?;
    let (jobs, mut waiting) = mpsc::unbounded_channel::<(Arc<Vec<u8>>, oneshot::Sender<()>)>();
    let writer = std::thread::spawn(move || -> Outcome<()> {
        while let Some(first) = waiting.blocking_recv() {
            let mut batch = vec![first];
            while let Ok(next) = waiting.try_recv() {
                batch.push(next);
            }
            for (octets, _) in &batch {
                file.write_all(octets)?;
            }
            file.sync_data()?;
            for (_, reply) in batch {
                let _ = reply.send(());
            }
        }
        Ok(())
    });
    let octets = Arc::new(body(size + INDEX_BYTES, 1));
    let figures = drive(submitters, span, move |_| {
        let (jobs, octets) = (jobs.clone(), Arc::clone(&octets));
        async move {
            let (reply, answer) = oneshot::channel();
            jobs.send((octets, reply))?;
            Ok(answer.await?)
        }
    })
    .await?;
    writer.join().map_err(|_| "the raw writer panicked")??;
    Ok(figures)
}

async fn fresh(
    root: &Path,
    mailboxes: usize,
) -> Outcome<(tempfile::TempDir, Arc<SqliteStore>, Vec<MailboxId>)> {
    let dir = tempfile::tempdir_in(root)?;
    let store = SqliteStore::open(&dir.path().join("store"))?;
    let mut inboxes = Vec::new();
    for n in 0..mailboxes {
        let address = Address::parse(&format!("user{n}@example.net"))?;
        let account = store.create_account(&address, [0; 32], Timestamp(1), Timestamp(0)).await?;
        let all = store.mailboxes(account).await?;
        inboxes.extend(all.into_iter().filter(|mailbox| mailbox.name == "INBOX").map(|mailbox| mailbox.id));
    }
    Ok((dir, store, inboxes))
}

fn message(octets: Vec<u8>) -> NewMessage {
    NewMessage {
        body: Body::from_bytes(octets),
        flags: Flags::default(),
        keywords: Vec::new(),
        internal_date: Timestamp(0),
        index: vec![b'i'; INDEX_BYTES],
        sketch: Sketch::default(),
    }
}

async fn measure_store(root: &Path, size: usize, submitters: usize, span: Duration) -> Outcome<Figures> {
    let (_dir, store, inboxes) = fresh(root, 50).await?;
    let octets = body(size, 1);
    drive(submitters, span, move |tag| {
        let (store, octets) = (Arc::clone(&store), octets.clone());
        let inbox = inboxes[usize::try_from(tag).unwrap_or(0) % inboxes.len()];
        async move {
            store.append(inbox, vec![message(octets)]).await?;
            Ok(())
        }
    })
    .await
}

/// What reads cost, one after the other, with a warm cache.
async fn measure_reads(root: &Path) -> Outcome<()> {
    let (_dir, store, inboxes) = fresh(root, 1).await?;
    let inbox = inboxes[0];
    for _ in 0..100 {
        store.append(inbox, (0..100).map(|tag| message(body(4096, tag))).collect()).await?;
    }
    let report = |what: &str, n: u32, start: Instant| {
        println!("{what}: {:.1} us", start.elapsed().as_secs_f64() * 1e6 / f64::from(n));
    };
    let start = Instant::now();
    for _ in 0..2000 {
        store.status(inbox).await?;
    }
    report("status", 2000, start);
    let alice = Address::parse("user0@example.net")?;
    let start = Instant::now();
    for _ in 0..2000 {
        store.resolve(&alice).await?;
    }
    report("resolve", 2000, start);
    let start = Instant::now();
    let entries = store.entries(inbox).await?;
    report("entries, each of 10,000", 10_000, start);
    let start = Instant::now();
    let mut buf = vec![0; 8192];
    for entry in entries.iter().take(2000) {
        let reader = store.content(entry.content).await?;
        assert_eq!(reader.read_at(0, &mut buf)?, 4096);
    }
    report("content and its 4 KiB", 2000, start);
    let uids: Vec<u32> = entries.iter().map(|entry| entry.uid).collect();
    let add = sealpost_store::mailbox::FlagChange::Add;
    let start = Instant::now();
    let _ = store.store_flags(inbox, &uids, add, Flags::DELETED, &[], None).await?;
    report("store_flags, each of 10,000", 10_000, start);
    let start = Instant::now();
    store.expunge(inbox, None).await?;
    report("expunge, each of 10,000", 10_000, start);
    Ok(())
}
