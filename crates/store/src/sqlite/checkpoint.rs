//! Copying the log back into the database (a checkpoint in SQLite's words), mostly beside the writer.
//!
//! Done by the writer itself, as SQLite does it by default, it stops every delivery for as long as some hundred pages
//! take to write and sync. Done beside it alone it never ends: while it copies, the writer adds more, and the log is
//! begun anew only where all of it has been copied. So a thread copies what is there, and when it is through the
//! writer, between two transactions, copies the little that has come meanwhile.

use crate::error::Result;
use rusqlite::{Connection, DEFAULT_NAME, wal::CheckpointMode};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::Duration,
};

/// Pages in the log from which it is copied back, 8 MiB. Pages that every delivery changes are copied once for all of
/// them; the writer does not wait for the copy, so it may be large.
pub(super) const PAGES: u32 = 2000;
/// Pages from which the writer waits for the thread, 128 MiB, should the disk be that slow.
const PAGES_MAX: u32 = 16 * PAGES;
/// What may come while the thread copies and is then left to the writer: about a millisecond's work.
const REST: u32 = 256;
/// Times that the thread copies before the writer does the rest, however much it is: a busy writer is not overtaken.
const PASSES_MAX: u32 = 4;

/// Pages that the log holds, as of the last commit.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<AtomicU32>);

impl Log {
    /// Keeps count of the pages that `conn` writes. Takes the place of SQLite's own checkpoints.
    pub(super) fn watch(&self, conn: &mut Connection) -> Result<()> {
        let pages = Arc::clone(&self.0);
        let hook = move |_: &mut _, now: i32| {
            pages.store(u32::try_from(now).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        };
        Ok(conn.wal_hook(Some(hook))?)
    }
}

/// Decides, after each transaction, whether something is to be copied and by whom. Lives on the writer's thread.
pub(super) struct Checkpoints {
    log: Log,
    /// Pages in the log from which it is copied.
    from: u32,
    helper: Option<Helper>,
}

struct Helper {
    /// The pages that the log had when the thread was woken; none while it sleeps.
    copying: Option<u32>,
    /// How often it was woken since the log was last begun anew.
    passes: u32,
    /// Dropped to end the thread.
    wake: Option<mpsc::Sender<()>>,
    copied: mpsc::Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    /// All by the writer.
    pub(super) fn inline(log: Log, from: u32) -> Self {
        Self { log, from, helper: None }
    }

    /// With a thread that works on a connection of its own.
    pub(super) fn beside(log: Log, from: u32, conn: Connection) -> Result<Self> {
        let ((wake, woken), (done, copied)) = (mpsc::channel(), mpsc::channel());
        let work = move || {
            while woken.recv().is_ok() {
                copy(&conn);
                if done.send(()).is_err() {
                    break;
                }
            }
        };
        let thread = std::thread::Builder::new().name("store-log".into()).spawn(work)?;
        Ok(Self {
            log,
            from,
            helper: Some(Helper { copying: None, passes: 0, wake: Some(wake), copied, thread: Some(thread) }),
        })
    }

    /// After a transaction, and after its answers.
    pub(super) fn after_commit(&mut self, writer: &Connection) {
        let pages = self.log.0.load(Ordering::Relaxed);
        if pages < self.from {
            return;
        }
        let Some(helper) = &mut self.helper else { return copy(writer) };
        let Some(since) = helper.copying else {
            helper.passes = 0;
            return helper.wake(pages, writer);
        };
        let copied = if pages < PAGES_MAX {
            helper.copied.try_recv().map_err(|e| e == mpsc::TryRecvError::Disconnected)
        } else {
            helper.copied.recv().map_err(|_| true)
        };
        match copied {
            Err(false) => {}
            Ok(()) if pages.saturating_sub(since) > REST && helper.passes < PASSES_MAX => {
                helper.wake(pages, writer);
            }
            // A thread that is gone leaves the work to us.
            Ok(()) | Err(true) => {
                helper.copying = None;
                copy(writer);
            }
        }
    }

    /// At the end of the writer: the whole log is copied and emptied, for which the last connection that closes, one
    /// that only reads, has no right. The next start has nothing to read and to settle then.
    pub(super) fn finish(mut self, writer: &Connection) {
        // Joins the thread, which may be copying.
        drop(self.helper.take());
        // An administrator's `sqlite3` does not hold up the end; what it reads stays in the log.
        let _ = writer.busy_timeout(Duration::ZERO);
        checkpoint(writer, CheckpointMode::TRUNCATE);
    }
}

impl Helper {
    fn wake(&mut self, pages: u32, writer: &Connection) {
        self.passes += 1;
        let woken = self.wake.as_ref().is_some_and(|wake| wake.send(()).is_ok());
        self.copying = woken.then_some(pages);
        if !woken {
            copy(writer);
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        drop(self.wake.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to say but what is in the log of errors.
            let _ = thread.join();
        }
    }
}

/// Never waits for readers or the writer: what they need stays in the log.
fn copy(conn: &Connection) {
    checkpoint(conn, CheckpointMode::PASSIVE);
}

fn checkpoint(conn: &Connection, mode: CheckpointMode) {
    if let Err(error) = conn.wal_checkpoint_v2(DEFAULT_NAME, mode) {
        // Nothing is lost: all of it is still in the log, which grows until this works again.
        tracing::warn!(%error, "the store's log could not be copied into the database; it is tried again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::params;

    fn open(path: &std::path::Path) -> Connection {
        let conn = Connection::open(path).expect("opens");
        let mode: String =
            conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).expect("a mode");
        assert_eq!(mode, "wal");
        conn
    }

    /// Writes until the log was begun anew `rounds` times, and fails where it only grows.
    fn keeps_the_log_short(make: impl FnOnce(Log, &std::path::Path) -> Checkpoints) {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("test.db");
        let mut conn = open(&path);
        conn.execute_batch("PRAGMA synchronous = OFF; CREATE TABLE t (a BLOB)").expect("a table");
        let log = Log::default();
        log.watch(&mut conn).expect("watches");
        let mut checkpoints = make(log.clone(), &path);
        let (mut before, mut begun_anew) = (0, 0);
        for _ in 0..12 * PAGES {
            conn.execute("INSERT INTO t VALUES (?1)", params![vec![7_u8; 4000]]).expect("inserts");
            checkpoints.after_commit(&conn);
            let pages = log.0.load(Ordering::Relaxed);
            assert!(pages <= PAGES_MAX + 10, "{pages} pages");
            begun_anew += u32::from(pages < before);
            before = pages;
            if begun_anew == 2 {
                return;
            }
        }
        panic!("the log was never begun anew twice");
    }

    #[test]
    fn by_the_writer_alone() {
        keeps_the_log_short(|log, _| Checkpoints::inline(log, PAGES));
    }

    #[test]
    fn by_a_thread_and_the_writer() {
        keeps_the_log_short(|log, path| Checkpoints::beside(log, PAGES, open(path)).expect("a thread"));
    }
}
