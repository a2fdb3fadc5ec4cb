//! The local index of an account: which messages the bridge shows otherwise than the server keeps them, and what is
//! asked of those without their octets. It is a cache: whatever does not open is made anew from the server's copy.
//!
//! Rows are sealed with a key of this device; of a mailbox the file knows a name that tells nothing.

use crate::entry::{Entry, Keywords};
use rusqlite::{Connection, params};
use sealpost_crypto::local::LocalKey;
use std::{
    collections::HashMap,
    fs,
    path::Path,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

/// Layout of the tables; another one is thrown away.
const VERSION: i32 = 2;
/// Rows asked for by one statement.
const BATCH: usize = 500;

/// Why the index could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IndexError {
    /// The file.
    #[error("the bridge's index failed: {0}; stop the bridge, remove the folder `bridge` and start it again")]
    Sql(#[from] rusqlite::Error),
    /// The disk.
    #[error("the bridge's index cannot be written: {0}")]
    Io(#[from] std::io::Error),
}

type Result<T> = std::result::Result<T, IndexError>;

/// A mailbox in one life of its UIDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    name: [u8; 16],
    uid_validity: u32,
}

/// What is known of a message.
#[derive(Clone)]
pub(crate) enum Known {
    /// It passes as the server keeps it.
    AsItIs,
    /// It has to be opened, and was not yet.
    ToOpen,
    /// It was opened.
    Opened(Box<Entry>),
}

/// The index.
pub(crate) struct Index {
    sql: Mutex<Connection>,
    key: LocalKey,
}

impl Index {
    /// Opens it, or makes a new one where there is none or it is damaged.
    pub(crate) fn open(path: &Path, key: LocalKey) -> Result<Self> {
        let sql = match prepare(path) {
            Ok(sql) => sql,
            Err(error) => {
                tracing::warn!("the index is damaged and is made anew: {error}");
                for end in ["", "-wal", "-shm"] {
                    let mut name = path.as_os_str().to_owned();
                    name.push(end);
                    match fs::remove_file(&name) {
                        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e.into()),
                        _ => {}
                    }
                }
                prepare(path)?
            }
        };
        Ok(Self { sql: Mutex::new(sql), key })
    }

    fn sql(&self) -> MutexGuard<'_, Connection> {
        // A thread that panicked left no half transaction: SQLite rolls it back.
        self.sql.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A mailbox by its name.
    pub(crate) fn place(&self, mailbox: &str, uid_validity: u32) -> Place {
        Place { name: self.key.name(mailbox.as_bytes()), uid_validity }
    }

    /// What is known of messages. Those with no answer are new.
    pub(crate) fn look(&self, place: &Place, uids: &[u32], entries: bool) -> Result<HashMap<u32, Known>> {
        let sql = self.sql();
        let mut known = HashMap::with_capacity(uids.len());
        let columns = if entries { "entry" } else { "length(entry)" };
        let mut statement = sql.prepare_cached(&format!(
            "SELECT uid, kind, {columns} FROM message WHERE mailbox = ?1 AND uid_validity = ?2 AND uid BETWEEN ?3 AND ?4"
        ))?;
        for batch in uids.chunks(BATCH) {
            let (Some(first), Some(last)) = (batch.iter().min(), batch.iter().max()) else { continue };
            let mut rows = statement.query(params![place.name, place.uid_validity, first, last])?;
            while let Some(row) = rows.next()? {
                let uid: u32 = row.get(0)?;
                let is = match row.get::<_, u8>(1)? {
                    0 => Known::AsItIs,
                    _ if !entries => Known::ToOpen,
                    _ => {
                        let sealed: Option<Vec<u8>> = row.get(2)?;
                        let entry = sealed.and_then(|sealed| self.key.open(&row_name(place, uid), &sealed));
                        // Damage is mended by opening the message again.
                        entry
                            .and_then(|octets| Entry::read(&octets))
                            .map_or(Known::ToOpen, |entry| Known::Opened(Box::new(entry)))
                    }
                };
                known.insert(uid, is);
            }
        }
        Ok(known)
    }

    /// The keywords of all messages of a mailbox from a UID on that were opened.
    pub(crate) fn keywords(&self, place: &Place, from: u32) -> Result<HashMap<u32, Keywords>> {
        let sql = self.sql();
        let mut statement = sql.prepare_cached(
            "SELECT uid, keywords FROM message
             WHERE mailbox = ?1 AND uid_validity = ?2 AND uid >= ?3 AND keywords IS NOT NULL",
        )?;
        let mut rows = statement.query(params![place.name, place.uid_validity, from])?;
        let mut all = HashMap::new();
        while let Some(row) = rows.next()? {
            let (uid, sealed): (u32, Vec<u8>) = (row.get(0)?, row.get(1)?);
            if let Some([bits]) =
                self.key.open(&keywords_name(place, uid), &sealed).as_deref().map(Vec::as_slice)
            {
                all.insert(uid, Keywords::from_bits(*bits));
            }
        }
        Ok(all)
    }

    /// Which of new messages pass as they are (`true`) and which have to be opened.
    pub(crate) fn learn_kinds(&self, place: &Place, kinds: &[(u32, bool)]) -> Result<()> {
        let mut sql = self.sql();
        let transaction = sql.transaction()?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT OR IGNORE INTO message (mailbox, uid_validity, uid, kind) VALUES (?1, ?2, ?3, ?4)",
            )?;
            for (uid, as_it_is) in kinds {
                insert.execute(params![place.name, place.uid_validity, uid, u8::from(!as_it_is)])?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Messages that were opened.
    pub(crate) fn learn(&self, place: &Place, entries: &[(u32, Entry)]) -> Result<()> {
        let mut sql = self.sql();
        let transaction = sql.transaction()?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT OR REPLACE INTO message (mailbox, uid_validity, uid, kind, keywords, entry)
                 VALUES (?1, ?2, ?3, 1, ?4, ?5)",
            )?;
            for (uid, entry) in entries {
                let sealed = self.key.seal(&row_name(place, *uid), &entry.to_octets());
                let keywords = self.key.seal(&keywords_name(place, *uid), &[entry.keywords.bits()]);
                insert.execute(params![place.name, place.uid_validity, uid, keywords, sealed])?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Forgets other lives of a mailbox: its UIDs have new meanings.
    pub(crate) fn forget_other_lives(&self, place: &Place) -> Result<()> {
        self.sql().execute(
            "DELETE FROM message WHERE mailbox = ?1 AND uid_validity <> ?2",
            params![place.name, place.uid_validity],
        )?;
        Ok(())
    }
}

/// Where a row stands: an entry opens nowhere else.
fn row_name(place: &Place, uid: u32) -> Vec<u8> {
    [&place.name[..], &place.uid_validity.to_le_bytes(), &uid.to_le_bytes()].concat()
}

/// The same for its keywords.
fn keywords_name(place: &Place, uid: u32) -> Vec<u8> {
    [&row_name(place, uid)[..], b"keywords"].concat()
}

fn prepare(path: &Path) -> Result<Connection> {
    use std::os::unix::fs::OpenOptionsExt as _;
    fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    let sql = Connection::open(path)?;
    sql.busy_timeout(Duration::from_secs(10))?;
    sql.pragma_update(None, "journal_mode", "wal")?;
    // A cache need not survive a power cut: what is lost is opened again.
    sql.pragma_update(None, "synchronous", "normal")?;
    let version: i32 = sql.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version != VERSION {
        sql.execute_batch("DROP TABLE IF EXISTS message")?;
    }
    sql.execute_batch(
        "CREATE TABLE IF NOT EXISTS message (
            mailbox BLOB NOT NULL,
            uid_validity INTEGER NOT NULL,
            uid INTEGER NOT NULL,
            kind INTEGER NOT NULL, -- 0: passes as it is; 1: is opened
            keywords BLOB,         -- sealed; NULL until it was opened
            entry BLOB,            -- the same
            PRIMARY KEY (mailbox, uid_validity, uid)
        ) WITHOUT ROWID, STRICT",
    )?;
    sql.pragma_update(None, "user_version", VERSION)?;
    sql.query_row("SELECT count(*) FROM (SELECT uid FROM message LIMIT 1)", [], |row| row.get::<_, i64>(0))?;
    Ok(sql)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::entry::Keywords;
    use zeroize::Zeroizing;

    fn entry(subject: &str) -> Entry {
        Entry {
            keywords: Keywords::default(),
            size: 5,
            head: Zeroizing::new(subject.as_bytes().to_vec()),
            envelope: Zeroizing::default(),
            body: Zeroizing::default(),
            body_structure: Zeroizing::default(),
            text: Zeroizing::default(),
        }
    }

    #[test]
    fn what_is_learnt_is_known_and_tells_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        let key = LocalKey::generate();
        let index = Index::open(&path, key.clone()).unwrap();
        let inbox = index.place("INBOX", 7);
        index.learn_kinds(&inbox, &[(1, true), (2, false), (3, false)]).unwrap();
        index.learn(&inbox, &[(3, entry("a secret subject"))]).unwrap();
        // What was opened stays so, whatever is said of its kind.
        index.learn_kinds(&inbox, &[(3, true)]).unwrap();
        drop(index);
        let index = Index::open(&path, key).unwrap();
        let known = index.look(&inbox, &[1, 2, 3, 4], true).unwrap();
        assert!(matches!(known[&1], Known::AsItIs) && matches!(known[&2], Known::ToOpen));
        assert!(matches!(&known[&3], Known::Opened(e) if e.head.as_slice() == b"a secret subject"));
        assert_eq!(known.len(), 3);
        assert_eq!(
            index.keywords(&inbox, 1).unwrap().into_iter().collect::<Vec<_>>(),
            [(3, Keywords::default())]
        );
        assert!(index.keywords(&inbox, 4).unwrap().is_empty());
        assert!(index.look(&index.place("INBOX", 8), &[1, 2, 3], true).unwrap().is_empty());
        assert!(index.look(&index.place("Sent", 7), &[1, 2, 3], true).unwrap().is_empty());
        index.forget_other_lives(&index.place("INBOX", 8)).unwrap();
        assert!(index.look(&inbox, &[1, 2, 3], true).unwrap().is_empty());
        drop(index);
        for file in fs::read_dir(dir.path()).unwrap() {
            let octets = fs::read(file.unwrap().path()).unwrap();
            for secret in ["a secret subject", "INBOX"] {
                assert!(memchr::memmem::find(&octets, secret.as_bytes()).is_none(), "{secret}");
            }
        }
    }

    #[test]
    fn damage_is_noticed_and_mended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        let key = LocalKey::generate();
        let index = Index::open(&path, key.clone()).unwrap();
        let inbox = index.place("INBOX", 7);
        index.learn(&inbox, &[(1, entry("one")), (2, entry("two"))]).unwrap();
        // Rows that changed places, or octets that changed.
        index.sql().execute("UPDATE message SET uid = 9 WHERE uid = 1", []).unwrap();
        index.sql().execute("UPDATE message SET entry = zeroblob(60) WHERE uid = 2", []).unwrap();
        let known = index.look(&inbox, &[2, 9], true).unwrap();
        assert!(known.len() == 2 && known.values().all(|is| matches!(is, Known::ToOpen)));
        // Another device's key opens none of it.
        let other = Index::open(&path, LocalKey::generate()).unwrap();
        assert!(other.look(&inbox, &[9], true).unwrap().values().all(|is| matches!(is, Known::ToOpen)));
        drop((index, other));
        for damage in
            [&b"this is no database, but it is long enough to look like one to a hasty reader"[..], b""]
        {
            for end in ["-wal", "-shm"] {
                let _ = fs::remove_file(dir.path().join(format!("index{end}")));
            }
            fs::write(&path, damage.repeat(100)).unwrap();
            let index = Index::open(&path, key.clone()).unwrap();
            assert!(index.look(&inbox, &[2, 9], true).unwrap().is_empty());
            index.learn(&inbox, &[(2, entry("two"))]).unwrap();
            assert!(matches!(index.look(&inbox, &[2], true).unwrap()[&2], Known::Opened(_)));
        }
    }
}
