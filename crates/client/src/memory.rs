//! What was seen before, of messages whose signature is good (profile §6): payloads by (sender, Message-ID), so that a
//! Message-ID used twice is noticed, and signature inputs with the moment they were first seen, so that a retired key
//! cannot date new mail back.
//!
//! It grows with each message and is asked for one at a time, so it is a database in the folder, `memory.db`, beside the
//! files that are read whole. What was learnt is written by [`Memory::save`], or not at all.

use crate::{
    error::ClientError,
    folder::{Folder, Locked, error, newer},
    trust::facts::Earlier,
};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};
use sealpost_crypto::hex;
use sealpost_proto::{address::Address, time::Timestamp};
use sha2::{Digest as _, Sha256};
use std::{
    fs::OpenOptions,
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Name of the file.
const NAME: &str = "memory.db";
/// Its form, in `user_version`.
const VERSION: i32 = 1;
/// Most entries, two for each message; beyond it the oldest tenth goes, so that this happens rarely.
const ENTRIES_MAX: u32 = 200_000;
/// No file is made where there is none: it has to be private from the start.
const FLAGS: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

/// Replay and first-seen memory of this device.
pub(crate) struct Memory {
    path: PathBuf,
    /// Behind a lock only so that a state may be lent across threads.
    sql: Mutex<Connection>,
    /// Something was learnt that is not saved.
    learnt: bool,
}

/// What is remembered under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Under `SENDER MESSAGE-ID`: SHA-256 of the payload first seen. One is enough: whatever comes later under the same name
    /// with another payload is the replay, and of two devices that disagree the earlier moment wins (profile §9).
    Payload([u8; 32]),
    /// Under `SENDER SHA-256` of a signature input: that it was seen.
    Input,
}

impl Seen {
    /// Its payload in the second column.
    fn of_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(row.get::<_, Option<[u8; 32]>>(1)?.map_or(Self::Input, Self::Payload))
    }

    /// The payload, as the database keeps it.
    fn payload(&self) -> Option<&[u8]> {
        match self {
            Self::Payload(payload) => Some(payload),
            Self::Input => None,
        }
    }
}

/// What memory holds under a name once it has learnt of it.
pub(crate) struct Learnt {
    pub seen: Seen,
    /// When first.
    pub at: Timestamp,
    /// It was not known.
    pub news: bool,
}

/// The name of a payload: canonical sender, and Message-ID with its angle brackets.
pub(crate) fn payload_name(sender: &Address, message_id: &str) -> String {
    format!("{sender} {message_id}")
}

/// The name of a signature input.
pub(crate) fn input_name(sender: &Address, sha256: &[u8; 32]) -> String {
    format!("{sender} {}", hex::encode(sha256))
}

impl Memory {
    /// Of a folder that is held; made where there is none.
    pub(crate) fn open(folder: &Locked) -> Result<Self, ClientError> {
        let path = folder.path(NAME);
        let made = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        made.map_err(|e| error("cannot open", &path, &e))?;
        let sql = Connection::open_with_flags(&path, FLAGS);
        let memory = Self::of(path, sql)?;
        // From now on: what is read costs no look at the file's locks, and what is learnt is seen at once.
        memory.sql().execute_batch("BEGIN").map_err(|e| error("cannot read", &memory.path, &e))?;
        Ok(memory)
    }

    /// To look only, beside commands that write; empty where there is none.
    pub(crate) fn look(folder: &Folder) -> Result<Self, ClientError> {
        let path = folder.path(NAME);
        let sql = if path.exists() {
            Connection::open_with_flags(&path, FLAGS)
        } else {
            Connection::open_in_memory()
        };
        Self::of(path, sql)
    }

    fn of(path: PathBuf, sql: rusqlite::Result<Connection>) -> Result<Self, ClientError> {
        match sql.and_then(|sql| prepare(&sql).map(|version| (sql, version))) {
            Ok((sql, VERSION)) => Ok(Self { path, sql: Mutex::new(sql), learnt: false }),
            Ok(_) => Err(newer(&path)),
            Err(e) => Err(error("cannot read", &path, &e)),
        }
    }

    fn sql(&self) -> MutexGuard<'_, Connection> {
        self.sql.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a message.
    pub(crate) fn earlier(
        &self,
        sender: &Address,
        message_id: Option<&str>,
        signature_input: &[u8; 32],
    ) -> Result<Earlier, ClientError> {
        let input = self.find(&input_name(sender, signature_input), true);
        let payload = message_id.map(|id| self.find(&payload_name(sender, id), false));
        let failed = |e| error("cannot read", &self.path, &e);
        let payload = payload.transpose().map_err(failed)?.flatten();
        Ok(Earlier {
            input: input.map_err(failed)?.map(|(_, _, at)| at),
            payload: payload.and_then(|(_, seen, at)| match seen {
                Seen::Payload(payload) => Some((payload, at)),
                Seen::Input => None,
            }),
        })
    }

    /// Remembers; the earliest moment wins.
    pub(crate) fn learn(&mut self, name: &str, seen: Seen, at: Timestamp) -> Result<Learnt, ClientError> {
        self.try_learn(name, seen, at).map_err(|e| error("cannot write", &self.path, &e))
    }

    fn try_learn(&mut self, name: &str, seen: Seen, at: Timestamp) -> rusqlite::Result<Learnt> {
        let known = self.find(name, seen == Seen::Input)?;
        if let Some((_, seen, known)) = known
            && known <= at
        {
            return Ok(Learnt { seen, at: known, news: false });
        }
        let sql = self.sql.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.learnt = true;
        match known {
            Some((id, ..)) => sql
                .prepare_cached("UPDATE seen SET at = ?2, payload = ?3 WHERE id = ?1")?
                .execute(params![id, at.0, seen.payload()])?,
            None => sql
                .prepare_cached("INSERT INTO seen (hash, at, name, payload) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![hash(name), at.0, name, seen.payload()])?,
        };
        Ok(Learnt { seen, at, news: true })
    }

    /// What is remembered under the name of a payload or an input: its row, and when it was first seen.
    fn find(&self, name: &str, input: bool) -> rusqlite::Result<Option<(i64, Seen, Timestamp)>> {
        let sql = self.sql();
        let mut find = sql.prepare_cached(
            "SELECT id, payload, at FROM seen WHERE hash = ?1 AND name = ?2 AND (payload IS NULL) = ?3",
        )?;
        let row = find.query_row(params![hash(name), name, input], |row| {
            Ok((row.get(0)?, Seen::of_row(row)?, Timestamp(row.get(2)?)))
        });
        row.optional()
    }

    /// The newest entries, at most so many of each kind: name, what was seen, and when first.
    pub(crate) fn newest(&self, each: u32) -> Result<Vec<(String, Seen, Timestamp)>, ClientError> {
        let read = || -> rusqlite::Result<_> {
            let (sql, mut found) = (self.sql(), Vec::new());
            for inputs in [false, true] {
                let mut newest = sql.prepare_cached(
                    "SELECT name, payload, at FROM seen WHERE (payload IS NULL) = ?1 ORDER BY at DESC LIMIT ?2",
                )?;
                let rows = newest.query_map(params![inputs, each], |row| {
                    Ok((row.get(0)?, Seen::of_row(row)?, Timestamp(row.get(2)?)))
                })?;
                for row in rows {
                    found.push(row?);
                }
            }
            Ok(found)
        };
        read().map_err(|e| error("cannot read", &self.path, &e))
    }

    /// Writes what was learnt.
    pub(crate) fn save(&mut self) -> Result<(), ClientError> {
        if std::mem::take(&mut self.learnt) {
            let sql = self.sql();
            let saved = bound(&sql, ENTRIES_MAX).and_then(|()| sql.execute_batch("COMMIT; BEGIN"));
            saved.map_err(|e| error("cannot write", &self.path, &e))?;
        }
        Ok(())
    }
}

/// Entries are found by this: short, so that what is looked through for each message stays in memory.
fn hash(name: &str) -> i64 {
    let digest: [u8; 32] = Sha256::digest(name).into();
    // There are 32 octets.
    digest.first_chunk().copied().map_or(0, i64::from_le_bytes)
}

/// Makes the tables of an empty database, and tells its version.
fn prepare(sql: &Connection) -> rusqlite::Result<i32> {
    sql.busy_timeout(Duration::from_secs(10))?;
    let version = || sql.query_row("PRAGMA user_version", [], |row| row.get(0));
    if version()? == 0 {
        sql.execute_batch(&format!(
            "BEGIN IMMEDIATE;
            CREATE TABLE IF NOT EXISTS seen (
                id INTEGER PRIMARY KEY,
                hash INTEGER NOT NULL, -- of the name
                at INTEGER NOT NULL,   -- when it was first seen
                name TEXT NOT NULL,
                payload BLOB           -- NULL: a signature input
            ) STRICT;
            CREATE INDEX IF NOT EXISTS seen_by_hash ON seen (hash);
            PRAGMA user_version = {VERSION};
            COMMIT"
        ))?;
    }
    version()
}

/// Drops the oldest tenth where there are more than so many.
fn bound(sql: &Connection, most: u32) -> rusqlite::Result<()> {
    let count: u32 = sql.query_row("SELECT count(*) FROM seen", [], |row| row.get(0))?;
    if count > most {
        let kept = most - most / 10;
        sql.execute(
            "DELETE FROM seen WHERE at <= (SELECT at FROM seen ORDER BY at DESC LIMIT 1 OFFSET ?1)",
            [kept],
        )?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::ui::{Ui, Unattended};
    use std::{fs, os::unix::fs::PermissionsExt as _, sync::Arc};

    fn alice() -> Address {
        Address::parse("alice@example.net").unwrap()
    }

    async fn held(dir: &std::path::Path) -> Locked {
        Folder::new(dir).lock(&(Arc::new(Unattended) as Arc<dyn Ui>)).await.unwrap()
    }

    fn payload(memory: &Memory, id: &str) -> Option<([u8; 32], Timestamp)> {
        memory.earlier(&alice(), Some(id), &[0; 32]).unwrap().payload
    }

    #[tokio::test]
    async fn r08_the_payload_first_seen_under_a_message_id_stays() {
        let dir = tempfile::tempdir().unwrap();
        let mut memory = Memory::open(&held(dir.path()).await).unwrap();
        for (id, octet, at, changes, why) in [
            ("<1@x>", 1, 20, true, "the first"),
            ("<1@x>", 1, 30, false, "the same again changes nothing"),
            ("<1@x>", 2, 30, false, "another payload later is no news"),
            ("<1@x>", 2, 10, true, "another device saw it earlier"),
        ] {
            let name = payload_name(&alice(), id);
            let learnt = memory.learn(&name, Seen::Payload([octet; 32]), Timestamp(at)).unwrap();
            assert_eq!(learnt.news, changes, "{why}");
        }
        assert_eq!(payload(&memory, "<1@x>"), Some(([2; 32], Timestamp(10))));
        assert_eq!(payload(&memory, "<2@x>"), None);
        assert_eq!(memory.earlier(&alice(), None, &[0; 32]).unwrap(), Earlier::default());
    }

    #[tokio::test]
    async fn first_seen_is_the_earliest() {
        let dir = tempfile::tempdir().unwrap();
        let mut memory = Memory::open(&held(dir.path()).await).unwrap();
        let name = input_name(&alice(), &[7; 32]);
        for (at, changes) in [(9, true), (10, false), (8, true)] {
            assert_eq!(memory.learn(&name, Seen::Input, Timestamp(at)).unwrap().news, changes, "{at}");
        }
        assert_eq!(memory.earlier(&alice(), None, &[7; 32]).unwrap().input, Some(Timestamp(8)));
        assert_eq!(memory.earlier(&alice(), None, &[8; 32]).unwrap().input, None);
    }

    #[tokio::test]
    async fn what_was_learnt_is_saved_or_not_learnt() {
        let dir = tempfile::tempdir().unwrap();
        let name = payload_name(&alice(), "<1@x>");
        let folder = Folder::new(dir.path());
        assert_eq!(payload(&Memory::look(&folder).unwrap(), "<1@x>"), None, "looking makes nothing");
        assert!(!dir.path().join(NAME).exists());
        let mut memory = Memory::open(&held(dir.path()).await).unwrap();
        memory.learn(&name, Seen::Payload([1; 32]), Timestamp(5)).unwrap();
        assert_eq!(payload(&Memory::look(&folder).unwrap(), "<1@x>"), None, "nor is it seen beforehand");
        drop(memory);
        let mut memory = Memory::open(&held(dir.path()).await).unwrap();
        assert_eq!(payload(&memory, "<1@x>"), None);
        memory.learn(&name, Seen::Payload([1; 32]), Timestamp(5)).unwrap();
        memory.save().unwrap();
        assert_eq!(payload(&Memory::look(&folder).unwrap(), "<1@x>"), Some(([1; 32], Timestamp(5))));
        drop(memory);
        let files = fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap());
        for file in files {
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", file.path());
        }
        fs::write(dir.path().join(NAME), "no database at all, and long enough to be read as one".repeat(50))
            .unwrap();
        let refused = Memory::look(&folder).err().unwrap().to_string();
        assert!(refused.contains(NAME), "{refused}");
    }

    #[tokio::test]
    async fn a_newer_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(Memory::open(&held(dir.path()).await).unwrap());
        let sql = Connection::open(dir.path().join(NAME)).unwrap();
        sql.pragma_update(None, "user_version", VERSION + 1).unwrap();
        let refused = Memory::look(&Folder::new(dir.path())).err().unwrap().to_string();
        assert!(refused.contains("newer Sealpost"), "{refused}");
    }

    #[tokio::test]
    async fn the_oldest_go_when_it_is_full_and_the_newest_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let mut memory = Memory::open(&held(dir.path()).await).unwrap();
        for n in 0..=100_u8 {
            memory.learn(&input_name(&alice(), &[n; 32]), Seen::Input, Timestamp(n.into())).unwrap();
        }
        bound(&memory.sql(), 101).unwrap();
        let known = |memory: &Memory, n: u8| memory.earlier(&alice(), None, &[n; 32]).unwrap().input;
        assert!(known(&memory, 0).is_some(), "it is not over");
        bound(&memory.sql(), 100).unwrap();
        assert_eq!((known(&memory, 10), known(&memory, 11)), (None, Some(Timestamp(11))));
        let newest = memory.newest(2).unwrap();
        assert_eq!(newest.iter().map(|(_, _, at)| at.0).collect::<Vec<_>>(), [100, 99]);
    }
}
