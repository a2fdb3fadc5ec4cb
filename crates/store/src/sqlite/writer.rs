//! The one thread that writes: it takes all jobs that wait, runs them in one transaction, and answers when the
//! transaction is on stable storage. One sync makes the work of many sessions durable; when there is only one
//! session, nothing waits.

use super::watchers::Watchers;
use crate::{
    account::AccountId,
    error::{Result, StoreError},
};
use rusqlite::Connection;
use sealpost_proto::time::{Clock, Timestamp};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc},
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
    effects: &'a mut Effects,
}

#[derive(Default)]
struct Effects {
    touched: Vec<AccountId>,
    queued: bool,
}

impl Tx<'_> {
    /// A mailbox of this account changed: wake its watchers after the commit.
    pub(super) fn touch(&mut self, account: AccountId) {
        self.effects.touched.push(account);
    }
    /// Something was queued: wake the relay after the commit.
    pub(super) fn queued(&mut self) {
        self.effects.queued = true;
    }
}

trait Job: Send {
    fn bytes(&self) -> usize;
    /// Runs the work; whether its changes are to be kept.
    fn run(&mut self, tx: &mut Tx<'_>) -> bool;
    /// Nothing was committed: a success turns into this error.
    fn fail(&mut self, error: StoreError);
    fn answer(self: Box<Self>);
}

struct Work<T, F> {
    work: Option<F>,
    outcome: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
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
    fn run(&mut self, tx: &mut Tx<'_>) -> bool {
        let Some(work) = self.work.take() else { return false };
        // A fault in one job must not take the store down with it; its savepoint is rolled back.
        let outcome = catch_unwind(AssertUnwindSafe(|| work(tx)))
            .unwrap_or_else(|_| Err(StoreError::Database("an internal error stopped a change".into())));
        let keep = outcome.is_ok();
        self.outcome = Some(outcome);
        keep
    }
    fn fail(&mut self, error: StoreError) {
        if !matches!(self.outcome, Some(Err(_))) {
            self.outcome = Some(Err(error));
        }
    }
    fn answer(self: Box<Self>) {
        if let Some(outcome) = self.outcome {
            // The caller may have gone away; what it asked for is done all the same.
            let _ = self.reply.send(outcome);
        }
    }
}

type Reopen = Box<dyn Fn() -> Result<Connection> + Send>;

/// Handle of the writing thread; dropping it lets what waits finish, then ends it.
pub(super) struct Writer {
    jobs: Option<mpsc::Sender<Box<dyn Job>>>,
    job_room: Arc<Semaphore>,
    kib_room: Arc<Semaphore>,
    thread: Option<JoinHandle<()>>,
    #[cfg(test)]
    pub(super) faults: Arc<Faults>,
}

/// Switches by which tests break the disk.
#[cfg(test)]
#[derive(Default)]
pub(super) struct Faults {
    pub(super) commit: std::sync::atomic::AtomicBool,
    pub(super) reopen: std::sync::atomic::AtomicBool,
}

impl Writer {
    pub(super) fn start(
        conn: Connection,
        reopen: Reopen,
        clock: Arc<dyn Clock>,
        watchers: Arc<Watchers>,
        queue_changed: Arc<Notify>,
    ) -> Result<Self> {
        let (jobs, waiting) = mpsc::channel();
        #[cfg(test)]
        let faults = Arc::new(Faults::default());
        let thread = Thread {
            conn: Some(conn),
            reopen,
            clock,
            watchers,
            queue_changed,
            #[cfg(test)]
            faults: Arc::clone(&faults),
        };
        let thread =
            std::thread::Builder::new().name("store-writer".into()).spawn(move || thread.run(&waiting))?;
        Ok(Self {
            jobs: Some(jobs),
            job_room: Arc::new(Semaphore::new(WAITING_JOBS)),
            kib_room: Arc::new(Semaphore::new(WAITING_KIB as usize)),
            thread: Some(thread),
            #[cfg(test)]
            faults,
        })
    }

    /// Runs `work` in the next transaction and returns when that is on stable storage.
    pub(super) async fn submit<T, F>(&self, bytes: usize, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static,
    {
        let kib = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX).min(WAITING_KIB);
        let job = Arc::clone(&self.job_room).acquire_owned().await.map_err(|_| stopped())?;
        let memory = Arc::clone(&self.kib_room).acquire_many_owned(kib).await.map_err(|_| stopped())?;
        self.send(bytes, Some((job, memory)), work)?.await.map_err(|_| stopped())?
    }

    /// The same for the store's own threads.
    pub(super) fn submit_blocking<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static,
    {
        self.send(0, None, work)?.blocking_recv().map_err(|_| stopped())?
    }

    fn send<T, F>(
        &self,
        bytes: usize,
        room: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
        work: F,
    ) -> Result<oneshot::Receiver<Result<T>>>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Work { work: Some(work), outcome: None, reply, bytes, _room: room };
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
    clock: Arc<dyn Clock>,
    watchers: Arc<Watchers>,
    queue_changed: Arc<Notify>,
    #[cfg(test)]
    faults: Arc<Faults>,
}

impl Thread {
    fn run(mut self, waiting: &mpsc::Receiver<Box<dyn Job>>) {
        while let Ok(first) = waiting.recv() {
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
                effects = Effects::default();
                for job in &mut batch {
                    job.fail(again(&error));
                }
            }
            for job in batch {
                job.answer();
            }
            self.watchers.bump(&mut effects.touched);
            if effects.queued {
                self.queue_changed.notify_one();
            }
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
            if job.run(&mut Tx { conn, now, effects: &mut own }) {
                effects.touched.append(&mut own.touched);
                effects.queued |= own.queued;
            } else {
                // A full disk or a failed read ends the whole transaction, by SQLite's own decision.
                if conn.is_autocommit() {
                    return Err(StoreError::Full);
                }
                execute(conn, "ROLLBACK TO job")?;
            }
            execute(conn, "RELEASE job")?;
        }
        #[cfg(test)]
        if self.faults.commit.swap(false, std::sync::atomic::Ordering::SeqCst) {
            return Err(StoreError::Database("sync failed (a test)".into()));
        }
        execute(conn, "COMMIT")
    }
}

fn execute(conn: &Connection, sql: &str) -> Result<()> {
    conn.prepare_cached(sql)?.execute([])?;
    Ok(())
}
