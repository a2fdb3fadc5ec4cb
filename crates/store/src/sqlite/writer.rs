//! The one thread that writes: it takes all jobs that wait, runs them in one transaction, and answers when the
//! transaction is on stable storage. One sync makes the work of many sessions durable; when there is only one
//! session, nothing waits.

use super::{
    checkpoint::Checkpoints,
    directory::{Directory, Names},
    objects::Objects,
    watchers::{Told, Watchers},
};
use crate::{
    account::AccountId,
    error::{Result, StoreError},
    events::{Event, Origin},
};
use rusqlite::Connection;
use sealpost_proto::time::{Clock, Timestamp};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::JoinHandle,
};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

/// Jobs in one transaction: a bound on the time until the first of them is answered.
const BATCH_JOBS: usize = 512;
/// Octets in one transaction, for the same reason; one job may be larger.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Jobs that wait or run. Callers beyond it wait for room, which is what slows their peers down.
const WAITING_JOBS: usize = 4096;
/// KiB that wait or run: memory that a slow disk can cost.
const WAITING_KIB: u32 = 64 * 1024;

/// What a job sees of the transaction, and what is to be told after its commit.
pub(super) struct Tx<'a> {
    /// The connection, inside a transaction and a savepoint.
    pub(super) conn: &'a Connection,
    /// When the batch began.
    pub(super) now: Timestamp,
    origin: Origin,
    effects: &'a mut Effects,
}

#[derive(Default)]
struct Effects {
    touched: Vec<AccountId>,
    /// What listeners are told, and who did it.
    told: Vec<Told>,
    queued: bool,
    stale: Stale,
    /// Objects whose rows are in the transaction.
    placed: Vec<String>,
    /// Whether the transaction may be on the disk although it failed.
    in_doubt: bool,
}

/// What is remembered and may be wrong now.
#[derive(Default)]
struct Stale {
    routes: bool,
    names: bool,
}

impl Stale {
    const ALL: Self = Self { routes: true, names: true };
}

impl Tx<'_> {
    /// A mailbox of this account changed: wake its watchers after the commit.
    pub(super) fn touch(&mut self, account: AccountId) {
        self.effects.touched.push(account);
    }
    /// The same, and what happened is told to listeners.
    pub(super) fn happened(&mut self, account: AccountId, event: Event) {
        self.touch(account);
        self.effects.told.push((account, self.origin, event));
    }
    /// An address leads elsewhere now, or to another key: forget what was remembered, after the commit.
    pub(super) fn rerouted(&mut self) {
        self.effects.stale.routes = true;
    }
    /// A name is no longer that of the mailbox it was: the same.
    pub(super) fn renamed(&mut self) {
        self.effects.stale.names = true;
    }
    /// The transaction holds the row of this object.
    pub(super) fn placed(&mut self, key: &str) {
        self.effects.placed.push(key.to_owned());
    }
    /// Something was queued: wake the relay after the commit.
    pub(super) fn queued(&mut self) {
        self.effects.queued = true;
    }
}

/// Who is told of a commit.
#[derive(Clone, Default)]
pub(super) struct Listeners {
    pub(super) watchers: Arc<Watchers>,
    pub(super) directory: Arc<Directory>,
    pub(super) names: Arc<Names>,
    pub(super) queue_changed: Arc<Notify>,
}

impl Listeners {
    fn tell(&self, effects: &mut Effects) {
        if effects.stale.routes {
            self.directory.forget();
        }
        if effects.stale.names {
            self.names.forget();
        }
        // A listener may rely on watchers having been woken.
        self.watchers.bump(&mut effects.touched);
        self.watchers.tell(&effects.told);
        if effects.queued {
            self.queue_changed.notify_one();
        }
    }
}

trait Job: Send {
    fn bytes(&self) -> usize;
    fn origin(&self) -> Origin;
    /// Runs the work; whether its changes are to be kept.
    fn run(&mut self, tx: &mut Tx<'_>) -> bool;
    /// Why it failed, for those that fail with it.
    fn failure(&self) -> Option<StoreError>;
    /// Nothing was committed: the outcome turns into this error, a refusal too, for it may rest on what an earlier job
    /// of the same transaction had changed.
    fn fail(&mut self, error: StoreError);
    fn answer(self: Box<Self>);
}

struct Work<T, F> {
    todo: Option<F>,
    outcome: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
    origin: Origin,
    bytes: usize,
    _room: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
}

impl<T, F> Job for Work<T, F>
where
    T: Send,
    F: FnOnce(&mut Tx<'_>) -> Result<T> + Send,
{
    fn bytes(&self) -> usize {
        self.bytes
    }
    fn origin(&self) -> Origin {
        self.origin
    }
    fn run(&mut self, tx: &mut Tx<'_>) -> bool {
        let Some(work) = self.todo.take() else { return false };
        // A fault in one job must not take the store down with it; its savepoint is rolled back.
        let outcome = catch_unwind(AssertUnwindSafe(|| work(tx)))
            .unwrap_or_else(|_| Err(StoreError::Database("an internal error stopped a change".into())));
        let keep = outcome.is_ok();
        self.outcome = Some(outcome);
        keep
    }
    fn failure(&self) -> Option<StoreError> {
        self.outcome.as_ref()?.as_ref().err().map(again)
    }
    fn fail(&mut self, error: StoreError) {
        self.outcome = Some(Err(error));
    }
    fn answer(self: Box<Self>) {
        if let Some(outcome) = self.outcome {
            // The caller may have gone away; what it asked for is done all the same.
            let _ = self.reply.send(outcome);
        }
    }
}

type Waiting = mpsc::Receiver<Box<dyn Job>>;
type Reopen = Box<dyn Fn() -> Result<Connection> + Send>;

/// Handle of the writing thread; dropping it lets what waits finish, then ends it.
pub(super) struct Writer {
    jobs: Option<mpsc::Sender<Box<dyn Job>>>,
    job_room: Arc<Semaphore>,
    kib_room: Arc<Semaphore>,
    thread: Option<JoinHandle<()>>,
    /// What the thread would do, where there is none.
    by_hand: Option<Mutex<(Thread, Waiting)>>,
    #[cfg(test)]
    pub(super) faults: Arc<Faults>,
}

/// Switches by which tests break the disk, and what they count.
#[cfg(test)]
#[derive(Default)]
pub(super) struct Faults {
    pub(super) commit: std::sync::atomic::AtomicBool,
    pub(super) reopen: std::sync::atomic::AtomicBool,
    /// Transactions committed so far.
    pub(super) commits: std::sync::atomic::AtomicU64,
}

impl Writer {
    pub(super) fn start(
        conn: Connection,
        reopen: Reopen,
        checkpoints: Checkpoints,
        objects: Arc<Objects>,
        clock: Arc<dyn Clock>,
        listeners: Listeners,
        threads: bool,
    ) -> Result<Self> {
        let (jobs, waiting) = mpsc::channel();
        #[cfg(test)]
        let faults = Arc::new(Faults::default());
        let thread = Thread {
            conn: Some(conn),
            reopen,
            checkpoints,
            objects,
            clock,
            listeners,
            #[cfg(test)]
            faults: Arc::clone(&faults),
        };
        let (mut by_hand, mut running) = (None, None);
        if threads {
            let name = "store-writer".to_owned();
            running = Some(std::thread::Builder::new().name(name).spawn(move || thread.run(&waiting))?);
        } else {
            by_hand = Some(Mutex::new((thread, waiting)));
        }
        Ok(Self {
            jobs: Some(jobs),
            job_room: Arc::new(Semaphore::new(WAITING_JOBS)),
            kib_room: Arc::new(Semaphore::new(WAITING_KIB as usize)),
            thread: running,
            by_hand,
            #[cfg(test)]
            faults,
        })
    }

    /// Where there is no thread: one transaction of all that waits; whether anything waited.
    pub(super) fn commit_waiting(&self) -> bool {
        let Some(by_hand) = &self.by_hand else { return false };
        let mut by_hand = by_hand.lock().unwrap_or_else(PoisonError::into_inner);
        let (thread, waiting) = &mut *by_hand;
        let first = waiting.try_recv();
        first.map(|first| thread.batch(first, waiting)).is_ok()
    }

    /// Runs `work` in the next transaction and returns when that is on stable storage.
    pub(super) async fn submit<T, F>(&self, origin: Origin, bytes: usize, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static,
    {
        let kib = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX).min(WAITING_KIB);
        let job = Arc::clone(&self.job_room).acquire_owned().await.map_err(|_| stopped())?;
        let memory = Arc::clone(&self.kib_room).acquire_many_owned(kib).await.map_err(|_| stopped())?;
        self.send((origin, bytes), Some((job, memory)), work)?.await.map_err(|_| stopped())?
    }

    /// The same for the store's own threads.
    pub(super) fn submit_blocking<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static,
    {
        let mut answer = self.send((Origin::NOBODY, 0), None, work)?;
        if self.by_hand.is_some() {
            while self.commit_waiting() {}
            return answer.try_recv().map_err(|_| stopped())?;
        }
        answer.blocking_recv().map_err(|_| stopped())?
    }

    fn send<T, F>(
        &self,
        (origin, bytes): (Origin, usize),
        room: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
        work: F,
    ) -> Result<oneshot::Receiver<Result<T>>>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Work { todo: Some(work), outcome: None, reply, origin, bytes, _room: room };
        let jobs = self.jobs.as_ref().ok_or_else(stopped)?;
        jobs.send(Box::new(job)).map_err(|_| stopped())?;
        Ok(answer)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been told to every caller already.
            let _ = thread.join();
        }
    }
}

fn stopped() -> StoreError {
    StoreError::Database("the store has stopped; restart the server".into())
}

/// One cause, told to each of a batch.
fn again(error: &StoreError) -> StoreError {
    match error {
        StoreError::Full => StoreError::Full,
        StoreError::Database(text) => StoreError::Database(text.clone()),
        other => StoreError::Database(other.to_string()),
    }
}

struct Thread {
    /// None after a failure, until it could be opened again.
    conn: Option<Connection>,
    reopen: Reopen,
    checkpoints: Checkpoints,
    objects: Arc<Objects>,
    clock: Arc<dyn Clock>,
    listeners: Listeners,
    #[cfg(test)]
    faults: Arc<Faults>,
}

impl Thread {
    fn run(mut self, waiting: &Waiting) {
        while let Ok(first) = waiting.recv() {
            self.batch(first, waiting);
        }
        if let Some(conn) = &self.conn {
            self.checkpoints.finish(conn);
        }
    }

    /// One transaction of `first` and whatever waits behind it, and the answers.
    fn batch(&mut self, first: Box<dyn Job>, waiting: &Waiting) {
        let mut bytes = first.bytes();
        let mut batch = vec![first];
        while batch.len() < BATCH_JOBS && bytes < BATCH_BYTES {
            let Ok(next) = waiting.try_recv() else { break };
            bytes += next.bytes();
            batch.push(next);
        }
        let mut effects = Effects::default();
        if let Err(error) = self.commit(&mut batch, &mut effects) {
            tracing::error!(%error, jobs = batch.len(), "a transaction of the store failed");
            // What failed may be on the disk all the same.
            if !effects.in_doubt {
                // At once: they may be what fills the disk. Otherwise the next start sweeps those without a row.
                effects.placed.iter().for_each(|key| self.objects.discard(key));
            }
            effects = Effects { stale: Stale::ALL, ..Effects::default() };
            for job in &mut batch {
                job.fail(again(&error));
            }
        }
        // Before the answers: whoever has one may rely on everybody having been woken, and nothing old remembered.
        self.listeners.tell(&mut effects);
        for job in batch {
            job.answer();
        }
        if let Some(conn) = &self.conn {
            self.checkpoints.after_commit(conn);
        }
    }

    /// One transaction. After an error nobody's changes count, and the connection is a new one: what a failed sync
    /// left in the page cache is not to be trusted (and the same sync tried again may lie).
    fn commit(&mut self, batch: &mut [Box<dyn Job>], effects: &mut Effects) -> Result<()> {
        if self.conn.is_none() {
            #[cfg(test)]
            if self.faults.reopen.load(std::sync::atomic::Ordering::SeqCst) {
                return Err(StoreError::Database("reopen failed (a test)".into()));
            }
            self.conn = Some((self.reopen)()?);
        }
        let Some(conn) = &self.conn else { return Err(stopped()) };
        let done = self.transact(conn, batch, effects);
        if done.is_err() {
            self.conn = None;
        }
        done
    }

    fn transact(&self, conn: &Connection, batch: &mut [Box<dyn Job>], effects: &mut Effects) -> Result<()> {
        let now = self.clock.now();
        execute(conn, "BEGIN IMMEDIATE")?;
        for job in batch {
            execute(conn, "SAVEPOINT job")?;
            let mut own = Effects::default();
            if job.run(&mut Tx { conn, now, origin: job.origin(), effects: &mut own }) {
                effects.touched.append(&mut own.touched);
                effects.told.append(&mut own.told);
                effects.queued |= own.queued;
                effects.stale.routes |= own.stale.routes;
                effects.stale.names |= own.stale.names;
                effects.placed.append(&mut own.placed);
            } else {
                // A full disk or a failed read ends the whole transaction, by SQLite's own decision.
                if conn.is_autocommit() {
                    return Err(job.failure().unwrap_or_else(stopped));
                }
                execute(conn, "ROLLBACK TO job")?;
            }
            execute(conn, "RELEASE job")?;
        }
        #[cfg(test)]
        if self.faults.commit.swap(false, std::sync::atomic::Ordering::SeqCst) {
            effects.in_doubt = true;
            return Err(StoreError::Database("sync failed (a test)".into()));
        }
        if let Err(error) = conn.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([])) {
            // Where the disk was full the last page of the transaction did not get into the log, and no recovery will
            // find it there. After any other failure (the sync, the index of the log) one may.
            effects.in_doubt = error.sqlite_error_code() != Some(rusqlite::ErrorCode::DiskFull);
            return Err(error.into());
        }
        #[cfg(test)]
        self.faults.commits.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Ok(())
    }
}

fn execute(conn: &Connection, sql: &str) -> Result<()> {
    conn.prepare_cached(sql)?.execute([])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::{
        account::Accounts,
        error::{Result, StoreError},
        mailbox::{Flags, MailboxId, Mailboxes, NewMessage, Sketch},
        spool::Body,
        sqlite::{Options, SqliteStore},
    };
    use sealpost_proto::{address::Address, time::Timestamp};
    use std::sync::{Arc, atomic::Ordering};

    async fn open() -> (tempfile::TempDir, Arc<SqliteStore>, MailboxId) {
        let dir = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(dir.path()).expect("opens");
        let alice = Address::parse("alice@example.net").expect("an address");
        let id = store.create_account(&alice, [0; 32], Timestamp(1), Timestamp(0)).await.expect("an account");
        let all = store.mailboxes(id).await.expect("lists");
        let inbox = all.iter().find(|mailbox| mailbox.name == "INBOX").expect("INBOX").id;
        (dir, store, inbox)
    }

    fn message(octets: usize) -> Vec<NewMessage> {
        vec![NewMessage {
            body: Body::from_bytes(vec![b'x'; octets]),
            flags: Flags::default(),
            keywords: Vec::new(),
            internal_date: Timestamp(0),
            index: Vec::new(),
            sketch: Sketch::default(),
        }]
    }

    #[tokio::test]
    async fn a_failed_commit_is_told_and_nothing_of_it_stays() {
        let (dir, store, inbox) = open().await;
        store.append(inbox, message(10)).await.expect("appends");
        let before = store.status(inbox).await.expect("a status");
        store.shared.writer.faults.commit.store(true, Ordering::SeqCst);
        let large = crate::spool::INLINE_MAX + 1;
        assert!(matches!(store.append(inbox, message(large)).await, Err(StoreError::Database(_))));
        assert_eq!(store.status(inbox).await.expect("a status"), before);
        // A new connection, and all goes on.
        store.append(inbox, message(10)).await.expect("appends");
        drop(store);
        let store = SqliteStore::open(dir.path()).expect("opens");
        assert_eq!(store.status(inbox).await.expect("a status").messages, 2);
        let objects = std::fs::read_dir(dir.path().join("objects")).expect("lists");
        let left: usize =
            objects.map(|dir| std::fs::read_dir(dir.expect("lists").path()).expect("lists").count()).sum();
        assert_eq!(left, 0, "the object of the failed commit was swept");
    }

    #[tokio::test]
    async fn while_the_database_cannot_be_opened_nothing_is_acknowledged() {
        let (_dir, store, inbox) = open().await;
        let faults = &store.shared.writer.faults;
        faults.commit.store(true, Ordering::SeqCst);
        faults.reopen.store(true, Ordering::SeqCst);
        for _ in 0..3 {
            store.append(inbox, message(10)).await.expect_err("no disk");
        }
        assert_eq!(store.status(inbox).await.expect("reads go on").messages, 0);
        faults.reopen.store(false, Ordering::SeqCst);
        store.append(inbox, message(10)).await.expect("by itself");
    }

    /// Leaves a mark in the store, then ends as told.
    async fn mark(store: &SqliteStore, name: &'static str, end: fn() -> Result<()>) -> Result<()> {
        store
            .write(0, move |tx| {
                tx.conn.execute("INSERT INTO meta (name, value) VALUES (?1, x'00')", [name])?;
                end()
            })
            .await
    }

    #[tokio::test]
    async fn one_failing_job_does_not_fail_the_others() {
        let (_dir, store, _) = open().await;
        // All wait while this one runs, so they come in one transaction.
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let (running, runs) = tokio::sync::oneshot::channel();
        let holding = store.write(0, move |_| {
            let _ = running.send(());
            let _ = wait.recv();
            Ok(())
        });
        let before = std::cell::Cell::new(0);
        let others = async {
            runs.await.expect("runs");
            before.set(store.shared.writer.faults.commits.load(Ordering::SeqCst));
            tokio::join!(
                mark(&store, "first", || Ok(())),
                mark(&store, "refused", || Err(StoreError::Gone("test"))),
                mark(&store, "panicked", || panic!("a fault in a job")),
                mark(&store, "last", || Ok(())),
                // Polled after the others: by now they are with the writer.
                async move { release.send(()).expect("waits") },
            )
        };
        let (held, (first, refused, panicked, last, ())) = tokio::join!(holding, others);
        for done in [held, first, last] {
            done.expect("is done");
        }
        assert!(matches!(refused, Err(StoreError::Gone("test"))));
        assert!(matches!(panicked, Err(StoreError::Database(_))));
        let marks = store
            .read(|conn| {
                let mut names = conn.prepare("SELECT name FROM meta ORDER BY name")?;
                Ok(names.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?)
            })
            .await;
        assert_eq!(marks.expect("reads"), ["first", "last"]);
        let commits = store.shared.writer.faults.commits.load(Ordering::SeqCst) - before.get();
        assert_eq!(commits, 2, "one for the job that ran, one for the four that waited");
    }

    #[tokio::test]
    async fn a_refusal_that_rests_on_what_was_rolled_back_is_not_told() {
        let dir = tempfile::tempdir().expect("a folder");
        let options = Options { threads: false, collect_garbage: false, ..Options::default() };
        let store = SqliteStore::open_with(dir.path(), options).expect("opens");
        let alice = Address::parse("alice@example.net").expect("an address");
        let made = store.create_account(&alice, [0; 32], Timestamp(1), Timestamp(0));
        let (made, ()) = tokio::join!(made, async { assert!(store.commit_waiting()) });
        made.expect("an account");
        // The removal is rolled back with its transaction: the account is there, and must not be told to be gone.
        store.shared.writer.faults.commit.store(true, Ordering::SeqCst);
        let (removed, reset, ()) = tokio::join!(
            store.remove_account(&alice),
            store.reset_account(&alice, [1; 32], Timestamp(1)),
            async { assert!(store.commit_waiting()) },
        );
        assert!(matches!(removed, Err(StoreError::Database(_))), "{removed:?}");
        assert!(matches!(reset, Err(StoreError::Database(_))), "{reset:?}");
    }

    #[tokio::test]
    async fn what_was_asked_for_is_done_though_nobody_waits() {
        let (dir, store, inbox) = open().await;
        for _ in 0..10 {
            let append = store.append(inbox, message(10));
            tokio::select! {
                biased;
                _ = append => {}
                () = std::future::ready(()) => {}
            }
        }
        drop(store);
        let store = SqliteStore::open(dir.path()).expect("the lock is free, the writer has ended");
        let status = store.status(inbox).await.expect("a status");
        assert_eq!(status.messages, status.uid_next - 1, "whole or absent");
    }
}
