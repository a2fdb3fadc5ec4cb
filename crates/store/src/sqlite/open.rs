//! Opening: the folder, its lock, connections and their settings.

use super::{Options, checkpoint::Log, migrate};
use crate::{
    error::{Result, StoreError},
    files,
};
use rusqlite::{Connection, OpenFlags};
use std::{
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

/// Marks the file as ours (`file store.db` shows it): "SLPT".
pub(super) const APPLICATION_ID: i32 = 0x534c_5054;
/// The log is cut to this after a checkpoint, so that one burst does not keep the space.
const JOURNAL_SIZE_LIMIT_BYTES: i64 = 32 * 1024 * 1024;
/// Distinct statements in use stay well below it.
const STATEMENT_CACHE: usize = 128;
/// Only a backup tool or an administrator's `sqlite3` can hold the database; give them this long.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Holds the store for this process.
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file is not enough: a process that is being started elsewhere in this program has a copy of it
        // until it runs its own code, and the lock would live as long.
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "the store's lock could not be released; it ends with this process");
        }
    }
}

/// Makes the folder, for its owner alone, and takes the lock.
pub(super) fn prepare_dir(dir: &Path) -> Result<Lock> {
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    if !dir.is_dir() {
        if let Some(parent) = parent {
            std::fs::create_dir_all(parent)?;
        }
        files::make_dir(dir)?;
    }
    // Also where it is there: the process that made it may have been killed before it had synced its name. Folders that
    // we may not read are an administrator's, who made this one.
    match parent.map(files::sync_dir) {
        Some(Err(error)) if error.kind() != io::ErrorKind::PermissionDenied => return Err(error.into()),
        _ => {}
    }
    files::restrict(dir, 0o700)?;
    let lock = files::open_private(&dir.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => Ok(Lock(lock)),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// The connection that writes, with the schema brought up to date.
pub(super) fn writer_connection(path: &Path, options: &Options, log: &Log) -> Result<Connection> {
    // SQLite would make the file with the process's umask; the log and its index take their rights from it. Not when it
    // is there: closing it would end the locks that the reading connections have on it (fcntl(2)).
    if !path.exists() {
        drop(files::open_private(path)?);
    }
    settle_log(path)?;
    let mut conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    let found: i32 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if found != APPLICATION_ID && tables > 0 {
        return Err(StoreError::Database("store.db was made by another program".into()));
    }
    if tables == 0 {
        // Both can only be chosen before the first table. INCREMENTAL, so that space can be given back without a
        // VACUUM that stops all writers.
        conn.pragma_update(None, "page_size", 4096)?;
        conn.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        conn.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    let mode: String = conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(StoreError::Database(
            "the file system cannot share memory between connections (WAL); use a local disk".into(),
        ));
    }
    // FULL: each commit is synced before anybody is told of it. Never less: a 250 promises it.
    conn.pragma_update(None, "synchronous", "FULL")?;
    // Instead of SQLite's own checkpoints, which stop the writer: see `checkpoint.rs`.
    log.watch(&mut conn)?;
    conn.pragma_update(None, "journal_size_limit", JOURNAL_SIZE_LIMIT_BYTES)?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    // Removed verifiers and bodies are overwritten where it costs no write of its own.
    conn.pragma_update(None, "secure_delete", "FAST")?;
    conn.pragma_update(None, "cache_size", -i64::from(options.writer_cache_kib))?;
    if let Some(pages) = options.max_pages {
        conn.pragma_update(None, "max_page_count", pages)?;
    }
    migrate::migrate(&mut conn, migrate::MIGRATIONS)?;
    Ok(conn)
}

/// Makes durable what the log holds, before anybody is shown it. The process before may have ended between writing and
/// syncing it, or a sync may have failed: then the kernel takes the log's pages for clean, no later sync writes them,
/// and a checkpoint copies into the database what the log on the disk does not have. If the power fails in it, the
/// database is a mixture. So the same octets are written once more: that makes the pages dirty again.
fn settle_log(database: &Path) -> Result<()> {
    let log = with_suffix(database, "-wal");
    match std::fs::metadata(&log) {
        Ok(data) if data.len() > 0 => Ok(files::rewrite(&log)?),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A connection that copies the log back into the database, and does nothing else.
pub(super) fn log_connection(path: &Path) -> Result<Connection> {
    let conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    // The copy in the database is synced before the log is begun anew.
    conn.pragma_update(None, "synchronous", "FULL")?;
    Ok(conn)
}

/// A connection that reads.
pub(super) fn reader_connection(path: &Path, cache_kib: u32) -> Result<Connection> {
    let conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.pragma_update(None, "cache_size", -i64::from(cache_kib))?;
    Ok(conn)
}

/// A database that was copied here by hand may have any rights.
pub(super) fn restrict_database(path: &Path) -> Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        let file = with_suffix(path, suffix);
        if file.exists() {
            files::restrict(&file, 0o600)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a 250 rests on. A change here needs a measurement with the power cut.
    #[test]
    fn the_settings_that_durability_rests_on() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("store.db");
        let conn = writer_connection(&path, &Options::default(), &Log::default()).expect("opens");
        let number = |conn: &Connection, name: &str| -> i64 {
            conn.pragma_query_value(None, name, |row| row.get(0)).expect("a number")
        };
        let journal: String =
            conn.pragma_query_value(None, "journal_mode", |row| row.get(0)).expect("a mode");
        assert_eq!(journal, "wal");
        for (name, value) in [
            ("synchronous", 2), // FULL
            ("foreign_keys", 1),
            ("auto_vacuum", 2), // INCREMENTAL
            ("page_size", 4096),
            ("wal_autocheckpoint", 0), // by `checkpoint.rs`
            ("journal_size_limit", JOURNAL_SIZE_LIMIT_BYTES),
            ("application_id", i64::from(APPLICATION_ID)),
        ] {
            assert_eq!(number(&conn, name), value, "{name}");
        }
        let reader = reader_connection(&path, 1024).expect("opens");
        reader.execute("DELETE FROM account", []).expect_err("reads only");
    }
}
