//! Clearing away: contents that nothing refers to, mailboxes that were removed, objects without rows. In small
//! steps, each a job of the writer among the others, so that no delivery waits for a large removal.

use super::{Shared, convert::signed, entries, writer::Tx};
use crate::error::Result;
use rusqlite::{OptionalExtension, params};
use std::{
    sync::{Arc, TryLockError, mpsc},
    thread::JoinHandle,
    time::Duration,
};

/// Contents or entries in one step: 500 bodies took up to 137 ms (measured), and the step runs in the writer.
const STEP: usize = 100;
/// Pause between two looks when there was nothing to do.
const IDLE_PAUSE: Duration = Duration::from_secs(30);
/// Pause between two steps when there is more: leaves the writer to others most of the time.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// The thread that clears away; ends when dropped.
pub(super) struct Collector {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Collector {
    pub(super) fn start(shared: Arc<Shared>) -> Result<Self> {
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("store-collector".into()).spawn(move || {
            let mut pause = IDLE_PAUSE;
            while stopped.recv_timeout(pause) == Err(mpsc::RecvTimeoutError::Timeout) {
                pause = match collect(&shared) {
                    Ok(true) => BUSY_PAUSE,
                    Ok(false) => IDLE_PAUSE,
                    Err(error) => {
                        tracing::warn!(%error, "removed mail could not be cleared away; trying again later");
                        IDLE_PAUSE
                    }
                };
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One step; whether there may be more to do.
pub(super) fn collect(shared: &Shared) -> Result<bool> {
    let now = shared.clock.now().0;
    // A look first: most of the time there is nothing, and a look costs no commit.
    let due = shared.pool.with(|conn| {
        Ok(conn
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM gc WHERE not_before <= ?1)
                     OR EXISTS (SELECT 1 FROM gc_object)
                     OR EXISTS (SELECT 1 FROM mailbox WHERE account_id IS NULL)",
            )?
            .query_row([now], |row| row.get::<_, bool>(0))?)
    })?;
    if !due {
        return Ok(false);
    }
    // While a backup runs nothing is removed: it copies objects that its database still names.
    let _gate = match shared.keep_objects.try_lock() {
        Ok(gate) => gate,
        Err(TryLockError::Poisoned(gate)) => gate.into_inner(),
        Err(TryLockError::WouldBlock) => return Ok(false),
    };
    let emptied = shared.writer.submit_blocking(empty_removed_mailbox)?;
    let (cleared, objects) = shared.writer.submit_blocking(move |tx| clear_contents(tx, now))?;
    // The rows are gone for good: now the files.
    for key in &objects {
        shared.objects.remove(key)?;
    }
    if !objects.is_empty() {
        shared.writer.submit_blocking(move |tx| {
            for key in &objects {
                tx.conn.prepare_cached("DELETE FROM gc_object WHERE object_key = ?1")?.execute([key])?;
            }
            Ok(())
        })?;
    }
    Ok(emptied || cleared)
}

/// Takes some entries out of a mailbox that was removed, or its row when there are none left.
fn empty_removed_mailbox(tx: &mut Tx<'_>) -> Result<bool> {
    let Some(mailbox) = tx
        .conn
        .prepare_cached("SELECT id FROM mailbox WHERE account_id IS NULL LIMIT 1")?
        .query_row([], |row| row.get::<_, i64>(0))
        .optional()?
    else {
        return Ok(false);
    };
    let entries: Vec<(i64, i64)> = tx
        .conn
        .prepare_cached("SELECT uid, content_id FROM entry WHERE mailbox_id = ?1 ORDER BY uid LIMIT ?2")?
        .query_map(params![mailbox, signed(STEP)], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (uid, content) in &entries {
        tx.conn
            .prepare_cached("DELETE FROM entry WHERE mailbox_id = ?1 AND uid = ?2")?
            .execute([mailbox, *uid])?;
        entries::release(tx, *content)?;
    }
    if entries.len() < STEP {
        for sql in [
            "DELETE FROM entry_keyword WHERE mailbox_id = ?1",
            "DELETE FROM keyword WHERE mailbox_id = ?1",
            "DELETE FROM vanished WHERE mailbox_id = ?1",
            "DELETE FROM mailbox WHERE id = ?1",
        ] {
            tx.conn.prepare_cached(sql)?.execute([mailbox])?;
        }
    }
    Ok(true)
}

/// Removes contents whose grace is over; returns whether there were any, and the objects to be unlinked.
fn clear_contents(tx: &mut Tx<'_>, now: i64) -> Result<(bool, Vec<String>)> {
    let due: Vec<i64> = tx
        .conn
        .prepare_cached("SELECT content_id FROM gc WHERE not_before <= ?1 ORDER BY not_before LIMIT ?2")?
        .query_map(params![now, signed(STEP)], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for content in &due {
        let key: Option<String> = tx
            .conn
            .prepare_cached("DELETE FROM content WHERE id = ?1 RETURNING object_key")?
            .query_row([content], |row| row.get(0))
            .optional()?
            .flatten();
        if let Some(key) = &key {
            tx.conn.prepare_cached("INSERT INTO gc_object (object_key) VALUES (?1)")?.execute([key])?;
        }
        tx.conn.prepare_cached("DELETE FROM body WHERE content_id = ?1")?.execute([content])?;
        tx.conn.prepare_cached("DELETE FROM text_sketch WHERE content_id = ?1")?.execute([content])?;
        tx.conn.prepare_cached("DELETE FROM unended WHERE content_id = ?1")?.execute([content])?;
        tx.conn.prepare_cached("DELETE FROM gc WHERE content_id = ?1")?.execute([content])?;
    }
    // Also those of a step that a crash cut short.
    let objects = tx
        .conn
        .prepare_cached("SELECT object_key FROM gc_object LIMIT ?1")?
        .query_map([signed(STEP)], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok((!due.is_empty(), objects))
}
