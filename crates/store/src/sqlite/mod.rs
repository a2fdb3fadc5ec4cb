//! The store of one machine: SQLite (WAL, synchronous=FULL) with one writer, and files for large bodies.
//!
//! ```text
//! store.db      metadata, and bodies of up to 128 KiB
//! objects/ab/…  larger bodies, one file each, durable before the row that names them
//! tmp/          bodies being received
//! lock          held while a process uses the store
//! ```
//!
//! Why so, with figures: `docs/decisions/0003-store.md`.

mod accounts;
mod annotations;
mod backup;
mod checkpoint;
mod contents;
mod convert;
mod directory;
mod entries;
mod folders;
mod garbage;
mod keys;
mod listing;
mod loads;
mod mailboxes;
mod maildrop;
mod migrate;
mod objects;
mod open;
mod queue;
mod quotas;
mod readers;
mod reads;
mod scans;
mod sketches;
mod watchers;
mod writer;

pub use backup::restore;

use crate::{
    error::{Result, StoreError},
    events::Origin,
    files,
};
use checkpoint::Checkpoints;
use rand_core::{OsRng, RngCore};
use rusqlite::Connection;
use sealpost_proto::time::{Clock, SystemClock};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

/// What can be set about a store; [`Options::default`] is right for most.
#[derive(Clone)]
pub struct Options {
    /// The time (SAVEDATE, UIDVALIDITY, the grace of removed mail).
    pub clock: Arc<dyn Clock>,
    /// Cache of the writer, in KiB.
    pub writer_cache_kib: u32,
    /// Cache of each reading connection, in KiB.
    pub reader_cache_kib: u32,
    /// Most pages (of 4 KiB) that the database may have; beyond it the disk counts as full.
    pub max_pages: Option<u32>,
    /// Pages (of 4 KiB) in the log from which it is copied back into the database.
    pub log_pages: u32,
    /// Whether removed mail is cleared away by a thread of the store's own.
    pub collect_garbage: bool,
    /// Whether the store works on threads of its own. Without, everything happens on the caller's thread, and changes
    /// wait for [`SqliteStore::commit_waiting`]: a simulation decides what comes into one transaction, and the same
    /// calls make the same accesses to the disk.
    pub threads: bool,
    /// Where the names of objects come from.
    pub random: Random,
}

/// A source of random octets.
pub type Random = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

impl Default for Options {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            writer_cache_kib: 16 * 1024,
            reader_cache_kib: 4 * 1024,
            max_pages: None,
            log_pages: checkpoint::PAGES,
            collect_garbage: true,
            threads: true,
            random: Arc::new(|octets| OsRng.fill_bytes(octets)),
        }
    }
}

/// The store of one machine.
pub struct SqliteStore {
    // Dropped in this order: the collector uses the rest.
    _collector: Option<garbage::Collector>,
    shared: Arc<Shared>,
    /// Who changes what is changed through this.
    origin: Origin,
}

/// What the store's threads share. Fields are dropped in order; the lock goes last.
struct Shared {
    writer: writer::Writer,
    pool: Arc<reads::Pool>,
    objects: Arc<objects::Objects>,
    chains: Arc<keys::Chains>,
    listeners: writer::Listeners,
    quotas: quotas::Remembered,
    clock: Arc<dyn Clock>,
    threads: bool,
    tmp: Arc<Path>,
    /// The database's file.
    db: PathBuf,
    /// Held while objects are removed, and by a backup while it needs them.
    keep_objects: Mutex<()>,
    _lock: open::Lock,
}

impl SqliteStore {
    /// Opens the store in `dir`, and makes it if there is none. [`StoreError::Locked`] if another process has it.
    pub fn open(dir: &Path) -> Result<Arc<Self>> {
        Self::open_with(dir, Options::default())
    }

    /// The same with options.
    pub fn open_with(dir: &Path, options: Options) -> Result<Arc<Self>> {
        let lock = open::prepare_dir(dir)?;
        let objects = Arc::new(objects::Objects::new(dir, Arc::clone(&options.random))?);
        let db: PathBuf = dir.join("store.db");
        let log = checkpoint::Log::default();
        let conn = open::writer_connection(&db, &options, &log)?;
        open::restrict_database(&db)?;
        // The name of a new database.
        files::sync_dir(dir)?;
        objects.sweep(&conn)?;
        queue::release_claims(&conn)?;
        let listeners = writer::Listeners::default();
        let writer = writer::Writer::start(
            conn,
            {
                let (db, options, log) = (db.clone(), options.clone(), log.clone());
                Box::new(move || open::writer_connection(&db, &options, &log))
            },
            if options.threads {
                Checkpoints::beside(log, options.log_pages, open::log_connection(&db)?)?
            } else {
                Checkpoints::inline(log, options.log_pages)
            },
            Arc::clone(&objects),
            Arc::clone(&options.clock),
            listeners.clone(),
            options.threads,
        )?;
        let shared = Arc::new(Shared {
            writer,
            pool: Arc::new(reads::Pool::new(db.clone(), options.reader_cache_kib)),
            tmp: objects.tmp().into(),
            objects,
            chains: Arc::default(),
            quotas: quotas::Remembered::default(),
            listeners,
            clock: options.clock,
            db,
            keep_objects: Mutex::default(),
            threads: options.threads,
            _lock: lock,
        });
        let collector = if options.collect_garbage {
            Some(garbage::Collector::start(Arc::clone(&shared))?)
        } else {
            None
        };
        Ok(Arc::new(Self { _collector: collector, shared, origin: Origin::NOBODY }))
    }

    /// Clears away what nothing refers to any more and whose grace is over; returns when there is no more of it.
    pub async fn collect_garbage(&self) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        self.blocking(move || {
            while garbage::collect(&shared)? {}
            Ok(())
        })
        .await
    }

    /// Without [`Options::threads`]: commits what waits, in one transaction, and answers; whether anything waited.
    pub fn commit_waiting(&self) -> bool {
        self.shared.writer.commit_waiting()
    }

    /// Runs `work` in the writer's next transaction; `bytes` is about what it carries.
    async fn write<T, F>(&self, bytes: usize, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut writer::Tx<'_>) -> Result<T> + Send + 'static,
    {
        self.shared.writer.submit(self.origin, bytes, work).await
    }

    /// Runs `work` on a reading connection, off the async threads.
    async fn read<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let pool = Arc::clone(&self.shared.pool);
        self.blocking(move || pool.with(work)).await
    }

    /// Runs `work` where it may block.
    async fn blocking<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        if !self.shared.threads {
            return work();
        }
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| StoreError::Database("an internal error ended a task of the store".into()))?
    }
}
