//! The local index of an account: which messages the bridge shows otherwise than the server keeps them, and what is
//! asked of those without their octets. It is a cache: whatever does not open is made anew from the server's copy.
//!
//! Rows are sealed with a key of this device; of a mailbox the file knows a name that tells nothing.

use crate::entry::{Entry, Keywords, Need};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};
use sealpost_crypto::local::LocalKey;
use std::{
    collections::{HashMap, HashSet},
    fs,
    path::Path,
    sync::{Mutex, MutexGuard},
    time::Duration,
};
use zeroize::Zeroizing;

/// Layout of the tables; another one is thrown away.
const VERSION: i32 = 8;
/// Those of messages.
const TABLES: [&str; 4] = ["message", "brief", "head", "text"];
/// UIDs that nobody asked for, read along to save a search.
const GAP: u32 = 4;

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
    /// Its row among mailboxes.
    id: u32,
}

impl Place {
    /// The key of a message's rows: one number, so that a row is found without reading others.
    fn key(&self, uid: u32) -> i64 {
        i64::from(self.id) << 32 | i64::from(uid)
    }
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

/// How far a mailbox is indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Indexed {
    /// Messages.
    pub messages: u32,
    /// Of those, messages that were not looked at yet.
    pub left: u32,
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
                Self::remove(path)?;
                prepare(path)?
            }
        };
        Ok(Self { sql: Mutex::new(sql), key })
    }

    /// Removes it: all of it can be made anew.
    pub(crate) fn remove(path: &Path) -> Result<()> {
        for end in ["", "-wal", "-shm"] {
            let mut name = path.as_os_str().to_owned();
            name.push(end);
            match fs::remove_file(&name) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e.into()),
                _ => {}
            }
        }
        Ok(())
    }

    fn sql(&self) -> MutexGuard<'_, Connection> {
        // A thread that panicked left no half transaction: SQLite rolls it back.
        self.sql.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A mailbox by its name.
    pub(crate) fn place(&self, mailbox: &str, uid_validity: u32) -> Result<Place> {
        let name = self.key.name(mailbox.as_bytes());
        let sql = self.sql();
        let mut select =
            sql.prepare_cached("SELECT id FROM mailbox WHERE name = ?1 AND uid_validity = ?2")?;
        let mut known = || select.query_row(params![name, uid_validity], |row| row.get(0)).optional();
        // Nearly always: nothing is written then, and nobody who writes is waited for.
        let id = if let Some(id) = known()? {
            id
        } else {
            sql.prepare_cached("INSERT OR IGNORE INTO mailbox (name, uid_validity) VALUES (?1, ?2)")?
                .execute(params![name, uid_validity])?;
            known()?.ok_or(rusqlite::Error::QueryReturnedNoRows)?
        };
        Ok(Place { name, uid_validity, id })
    }

    /// What is known of messages, with as much of their entries as is needed. Those with no answer are new.
    pub(crate) fn look(&self, place: &Place, uids: &[u32], need: Need) -> Result<HashMap<u32, Known>> {
        let sql = self.sql();
        let mut known = HashMap::with_capacity(uids.len());
        let (columns, joined) = match need {
            Need::Keywords => ("keywords", ""),
            Need::Brief => ("brief, NULL, NULL", "LEFT JOIN brief USING (id)"),
            Need::Head => ("brief, head, NULL", "LEFT JOIN brief USING (id) LEFT JOIN head USING (id)"),
            Need::All => (
                "brief, head, text",
                "LEFT JOIN brief USING (id) LEFT JOIN head USING (id) LEFT JOIN text USING (id)",
            ),
        };
        let mut statement = sql.prepare_cached(&format!(
            "SELECT id, kind, {columns} FROM message {joined} WHERE id BETWEEN ?1 AND ?2"
        ))?;
        for (first, last) in runs(uids) {
            let mut rows = statement.query([place.key(first), place.key(last)])?;
            while let Some(row) = rows.next()? {
                let uid = uid_of(row.get(0)?);
                let is = if row.get::<_, u8>(1)? == 0 {
                    Known::AsItIs
                } else {
                    let entry = match need {
                        Need::Keywords => {
                            self.keywords_in(place, uid, row.get_ref(2)?)?.map(Entry::of_keywords)
                        }
                        _ => self.entry(place, uid, row)?,
                    };
                    entry.map_or(Known::ToOpen, |entry| Known::Opened(Box::new(entry)))
                };
                known.insert(uid, is);
            }
        }
        Ok(known)
    }

    /// The entry in a row; `None` where there is none, and where it is damaged: that is mended by opening the message again.
    fn entry(&self, place: &Place, uid: u32, row: &rusqlite::Row<'_>) -> Result<Option<Entry>> {
        let open = |column: usize, part: Part| -> Result<Option<Option<Zeroizing<Vec<u8>>>>> {
            let sealed = row.get_ref(column)?.as_blob_or_null().map_err(rusqlite::Error::from)?;
            Ok(sealed.map(|sealed| self.key.open(&part.name(place, uid), sealed)))
        };
        // Damaged where a part that is there does not open.
        let parts = (open(2, Part::Brief)?, open(3, Part::Head)?, open(4, Part::Text)?);
        Ok(match parts {
            (Some(Some(brief)), head @ (None | Some(Some(_))), text @ (None | Some(Some(_)))) => {
                Entry::read(brief, head.flatten(), text.flatten())
            }
            _ => None,
        })
    }

    /// The keywords in a column; `None` where there are none, and where they are damaged.
    fn keywords_in(
        &self,
        place: &Place,
        uid: u32,
        column: rusqlite::types::ValueRef<'_>,
    ) -> Result<Option<Keywords>> {
        let sealed = column.as_blob_or_null().map_err(rusqlite::Error::from)?;
        let bits = sealed.and_then(|sealed| self.key.open(&Part::Keywords.name(place, uid), sealed));
        Ok(match bits.as_deref().map(Vec::as_slice) {
            Some([bits]) => Some(Keywords::from_bits(*bits)),
            _ => None,
        })
    }

    /// UIDs of a mailbox of which nothing is left to be done.
    pub(crate) fn settled(&self, place: &Place) -> Result<HashSet<u32>> {
        let sql = self.sql();
        let mut statement = sql.prepare_cached(
            "SELECT id FROM message WHERE id BETWEEN ?1 AND ?2 AND (kind = 0 OR keywords IS NOT NULL)",
        )?;
        let uids = statement.query_map([place.key(0), place.key(u32::MAX)], |row| row.get(0).map(uid_of))?;
        Ok(uids.collect::<std::result::Result<_, _>>()?)
    }

    /// The keywords of all messages of a mailbox from a UID on that were opened.
    pub(crate) fn keywords(&self, place: &Place, from: u32) -> Result<HashMap<u32, Keywords>> {
        let sql = self.sql();
        let mut statement = sql.prepare_cached(
            "SELECT id, keywords FROM message WHERE id BETWEEN ?1 AND ?2 AND keywords IS NOT NULL",
        )?;
        let mut rows = statement.query([place.key(from), place.key(u32::MAX)])?;
        let mut all = HashMap::new();
        while let Some(row) = rows.next()? {
            let uid = uid_of(row.get(0)?);
            if let Some(keywords) = self.keywords_in(place, uid, row.get_ref(1)?)? {
                all.insert(uid, keywords);
            }
        }
        Ok(all)
    }

    /// Octets that the messages of a mailbox have more as shown than at the server, as far as they were opened. Those that
    /// are gone may count still.
    pub(crate) fn growth(&self, place: &Place) -> Result<u64> {
        let sum = "SELECT coalesce(sum(growth), 0) FROM message WHERE id BETWEEN ?1 AND ?2";
        let growth: i64 = self.sql().query_row(sum, [place.key(0), place.key(u32::MAX)], |row| row.get(0))?;
        Ok(growth.unsigned_abs())
    }

    /// Which of new messages pass as they are (`true`) and which have to be opened.
    pub(crate) fn learn_kinds(&self, place: &Place, kinds: &[(u32, bool)]) -> Result<()> {
        let mut sql = self.sql();
        let transaction = sql.transaction()?;
        {
            let mut insert =
                transaction.prepare_cached("INSERT OR IGNORE INTO message (id, kind) VALUES (?1, ?2)")?;
            for (uid, as_it_is) in kinds {
                insert.execute(params![place.key(*uid), u8::from(!as_it_is)])?;
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
            let insert = |table: &str| transaction.prepare_cached(&format!("INSERT OR REPLACE INTO {table}"));
            let mut message = insert("message (id, kind, keywords, growth) VALUES (?1, 1, ?2, ?3)")?;
            let mut brief = insert("brief (id, brief) VALUES (?1, ?2)")?;
            let mut head = insert("head (id, head) VALUES (?1, ?2)")?;
            let mut text = insert("text (id, text) VALUES (?1, ?2)")?;
            for (uid, entry) in entries {
                let seal = |part: Part, octets: &[u8]| self.key.seal(&part.name(place, *uid), octets);
                let key = place.key(*uid);
                let keywords = seal(Part::Keywords, &[entry.keywords.bits()]);
                message.execute(params![key, keywords, entry.growth])?;
                brief.execute(params![key, seal(Part::Brief, entry.stored())])?;
                head.execute(params![key, seal(Part::Head, entry.head())])?;
                text.execute(params![key, seal(Part::Text, entry.text().as_bytes())])?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Forgets other lives of a mailbox: its UIDs have new meanings.
    pub(crate) fn forget_other_lives(&self, place: &Place) -> Result<()> {
        self.forget_mailboxes(|id, name| *name == place.name && id != place.id)
    }

    /// Forgets mailboxes that are gone, or have another name now.
    pub(crate) fn forget_other_mailboxes(&self, mailboxes: &[String]) -> Result<()> {
        let names: HashSet<[u8; 16]> = mailboxes.iter().map(|name| self.key.name(name.as_bytes())).collect();
        self.forget_mailboxes(|_, name| !names.contains(name))
    }

    fn forget_mailboxes(&self, is_gone: impl Fn(u32, &[u8; 16]) -> bool) -> Result<()> {
        let mut sql = self.sql();
        let mut gone: Vec<u32> = {
            let mut statement = sql.prepare_cached("SELECT id, name FROM mailbox")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let all: Vec<(u32, [u8; 16])> = rows.collect::<std::result::Result<_, _>>()?;
            all.into_iter().filter(|(id, name)| is_gone(*id, name)).map(|(id, _)| id).collect()
        };
        while let Some(id) = gone.pop() {
            let (first, last) = (i64::from(id) << 32, i64::from(id) << 32 | i64::from(u32::MAX));
            let transaction = sql.transaction()?;
            for table in TABLES {
                transaction
                    .execute(&format!("DELETE FROM {table} WHERE id BETWEEN ?1 AND ?2"), [first, last])?;
            }
            transaction.execute("DELETE FROM mailbox WHERE id = ?1", [id])?;
            transaction.commit()?;
        }
        Ok(())
    }

    /// Forgets messages that are gone.
    pub(crate) fn keep_only(&self, place: &Place, uids: &HashSet<u32>) -> Result<()> {
        let mut sql = self.sql();
        let known: Vec<i64> = {
            let mut statement = sql.prepare_cached("SELECT id FROM message WHERE id BETWEEN ?1 AND ?2")?;
            let rows = statement.query_map([place.key(0), place.key(u32::MAX)], |row| row.get(0))?;
            rows.collect::<std::result::Result<_, _>>()?
        };
        let transaction = sql.transaction()?;
        for table in TABLES {
            let mut delete = transaction.prepare_cached(&format!("DELETE FROM {table} WHERE id = ?1"))?;
            for key in known.iter().filter(|key| !uids.contains(&uid_of(**key))) {
                delete.execute([key])?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// How far a mailbox is indexed.
    pub(crate) fn note_progress(&self, place: &Place, indexed: Indexed) -> Result<()> {
        self.sql().execute(
            "UPDATE mailbox SET messages = ?2, left = ?3 WHERE id = ?1",
            params![place.id, indexed.messages, indexed.left],
        )?;
        Ok(())
    }

    /// How far all mailboxes together are indexed, in the index at `path`; `None` where there is none.
    pub(crate) fn indexed(path: &Path) -> Option<Indexed> {
        let sql = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
        let sums = "SELECT coalesce(sum(messages), 0), coalesce(sum(left), 0) FROM mailbox";
        sql.query_row(sums, [], |row| Ok(Indexed { messages: row.get(0)?, left: row.get(1)? })).ok()
    }
}

/// The UID in the key of a row.
fn uid_of(key: i64) -> u32 {
    // Its lower half.
    u32::try_from(key & i64::from(u32::MAX)).unwrap_or_default()
}

/// A sealed part of what is kept of a message.
#[derive(Clone, Copy)]
enum Part {
    Brief = 1,
    Head = 2,
    Text = 3,
    Keywords = 4,
}

impl Part {
    /// Where it stands: it opens nowhere else.
    fn name(self, place: &Place, uid: u32) -> [u8; 25] {
        let mut name = [0; 25];
        name[..16].copy_from_slice(&place.name);
        name[16..20].copy_from_slice(&place.uid_validity.to_le_bytes());
        name[20..24].copy_from_slice(&uid.to_le_bytes());
        name[24] = self as u8;
        name
    }
}

/// Ranges that hold `uids` and few others: rows between are read for nothing, and each range is a search.
fn runs(uids: &[u32]) -> Vec<(u32, u32)> {
    let mut sorted = uids.to_vec();
    sorted.sort_unstable();
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for uid in sorted {
        match runs.last_mut() {
            Some((_, last)) if uid - *last <= GAP => *last = uid,
            _ => runs.push((uid, uid)),
        }
    }
    runs
}

fn prepare(path: &Path) -> Result<Connection> {
    use std::os::unix::fs::OpenOptionsExt as _;
    fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    let sql = Connection::open(path)?;
    // What is asked most (`brief`) then stands in the row itself.
    sql.pragma_update(None, "page_size", 8192)?;
    sql.busy_timeout(Duration::from_secs(10))?;
    sql.pragma_update(None, "journal_mode", "wal")?;
    // A cache need not survive a power cut: what is lost is opened again.
    sql.pragma_update(None, "synchronous", "normal")?;
    let version: i32 = sql.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version != VERSION {
        sql.execute_batch(
            "DROP TABLE IF EXISTS mailbox; DROP TABLE IF EXISTS message; DROP TABLE IF EXISTS brief;
             DROP TABLE IF EXISTS head; DROP TABLE IF EXISTS text; DROP TABLE IF EXISTS rest",
        )?;
    }
    // Apart, since what is asked of all messages is short, and what is long is asked of few. A message's key is that of its
    // mailbox, times 2^32, and its UID.
    sql.execute_batch(
        "CREATE TABLE IF NOT EXISTS mailbox (
            id INTEGER PRIMARY KEY AUTOINCREMENT, -- never one that another mailbox had
            name BLOB NOT NULL,
            uid_validity INTEGER NOT NULL,
            messages INTEGER NOT NULL DEFAULT 0, -- how far it is indexed
            left INTEGER NOT NULL DEFAULT 0,
            UNIQUE (name, uid_validity)
        ) STRICT;
        CREATE TABLE IF NOT EXISTS message (
            id INTEGER PRIMARY KEY,
            kind INTEGER NOT NULL, -- 0: passes as it is; 1: is opened
            keywords BLOB,         -- sealed; NULL until it was opened
            growth INTEGER         -- octets that it has more as shown than at the server
        ) STRICT;
        CREATE TABLE IF NOT EXISTS brief (
            id INTEGER PRIMARY KEY,
            brief BLOB NOT NULL    -- sealed
        ) STRICT;
        CREATE TABLE IF NOT EXISTS head (
            id INTEGER PRIMARY KEY,
            head BLOB NOT NULL     -- sealed
        ) STRICT;
        CREATE TABLE IF NOT EXISTS text (
            id INTEGER PRIMARY KEY,
            text BLOB NOT NULL     -- sealed
        ) STRICT",
    )?;
    sql.pragma_update(None, "user_version", VERSION)?;
    sql.query_row("SELECT count(*) FROM (SELECT id FROM message LIMIT 1)", [], |row| row.get::<_, i64>(0))?;
    Ok(sql)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::entry::Brief;
    use sealpost_client::open::Again;

    fn entry(subject: &str) -> Entry {
        let brief = Brief {
            keywords: Keywords::default(),
            size: 5,
            growth: 7,
            texts: [b""; 4],
            again: Again::read(&[0]).unwrap(),
        };
        Entry::of(brief, Zeroizing::new(subject.as_bytes().to_vec()), Zeroizing::default())
    }

    #[test]
    fn what_is_learnt_is_known_and_tells_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        let key = LocalKey::generate();
        let index = Index::open(&path, key.clone()).unwrap();
        let inbox = index.place("INBOX", 7).unwrap();
        index.learn_kinds(&inbox, &[(1, true), (2, false), (3, false)]).unwrap();
        index.learn(&inbox, &[(3, entry("a secret subject"))]).unwrap();
        // What was opened stays so, whatever is said of its kind.
        index.learn_kinds(&inbox, &[(3, true)]).unwrap();
        drop(index);
        let index = Index::open(&path, key).unwrap();
        let known = index.look(&inbox, &[1, 2, 3, 4], Need::All).unwrap();
        assert!(matches!(known[&1], Known::AsItIs) && matches!(known[&2], Known::ToOpen));
        assert!(matches!(&known[&3], Known::Opened(e) if e.head() == b"a secret subject"));
        assert_eq!(known.len(), 3);
        assert_eq!(
            index.keywords(&inbox, 1).unwrap().into_iter().collect::<Vec<_>>(),
            [(3, Keywords::default())]
        );
        assert!(index.keywords(&inbox, 4).unwrap().is_empty());
        let later = index.place("INBOX", 8).unwrap();
        assert_eq!((index.growth(&inbox).unwrap(), index.growth(&later).unwrap()), (7, 0));
        assert!(index.look(&later, &[1, 2, 3], Need::All).unwrap().is_empty());
        assert!(index.look(&index.place("Sent", 7).unwrap(), &[1, 2, 3], Need::All).unwrap().is_empty());
        index.forget_other_lives(&later).unwrap();
        assert!(index.look(&inbox, &[1, 2, 3], Need::All).unwrap().is_empty());
        drop(index);
        for file in fs::read_dir(dir.path()).unwrap() {
            let octets = fs::read(file.unwrap().path()).unwrap();
            for secret in ["a secret subject", "INBOX"] {
                assert!(memchr::memmem::find(&octets, secret.as_bytes()).is_none(), "{secret}");
            }
        }
    }

    #[test]
    fn what_is_gone_is_forgotten_and_what_is_done_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        let index = Index::open(&path, LocalKey::generate()).unwrap();
        let (inbox, sent) = (index.place("INBOX", 7).unwrap(), index.place("Sent", 1).unwrap());
        index.learn_kinds(&inbox, &[(1, true), (2, false), (3, false)]).unwrap();
        index.learn(&inbox, &[(3, entry("three"))]).unwrap();
        index.learn(&sent, &[(1, entry("sent"))]).unwrap();
        assert_eq!(index.settled(&inbox).unwrap(), HashSet::from([1, 3]));
        index.keep_only(&inbox, &HashSet::from([1, 2, 9])).unwrap();
        assert_eq!(index.look(&inbox, &[1, 2, 3], Need::All).unwrap().len(), 2);
        index.note_progress(&inbox, Indexed { messages: 3, left: 1 }).unwrap();
        index.note_progress(&sent, Indexed { messages: 1, left: 0 }).unwrap();
        assert_eq!(Index::indexed(&path), Some(Indexed { messages: 4, left: 1 }));
        index.forget_other_mailboxes(&["Archive".to_owned(), "Sent".to_owned()]).unwrap();
        assert!(index.look(&inbox, &[1, 2, 3], Need::Brief).unwrap().is_empty());
        assert!(matches!(index.look(&sent, &[1], Need::Head).unwrap()[&1], Known::Opened(_)));
        assert_eq!(Index::indexed(&path), Some(Indexed { messages: 1, left: 0 }));
        assert_eq!(Index::indexed(&dir.path().join("none")), None);
    }

    #[test]
    fn what_is_learnt_of_a_mailbox_that_was_forgotten_is_told_of_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::open(&dir.path().join("index"), LocalKey::generate()).unwrap();
        let gone = index.place("gone", 1).unwrap();
        index.forget_other_mailboxes(&[]).unwrap();
        let new = index.place("new", 1).unwrap();
        // A session that has it open still.
        index.learn_kinds(&gone, &[(1, true)]).unwrap();
        assert!(index.look(&new, &[1], Need::Brief).unwrap().is_empty());
        assert!(index.settled(&new).unwrap().is_empty());
    }

    #[test]
    fn few_rows_are_read_that_nobody_asked_for() {
        for (uids, want) in [
            (&[][..], vec![]),
            (&[5], vec![(5, 5)]),
            (&[9, 1, 2, 3], vec![(1, 3), (9, 9)]),
            (&[1, 5, 10, 100_000], vec![(1, 5), (10, 10), (100_000, 100_000)]),
        ] {
            assert_eq!(runs(uids), want, "{uids:?}");
        }
    }

    #[test]
    fn damage_is_noticed_and_mended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        let key = LocalKey::generate();
        let index = Index::open(&path, key.clone()).unwrap();
        let inbox = index.place("INBOX", 7).unwrap();
        index.learn(&inbox, &[(1, entry("one")), (2, entry("two"))]).unwrap();
        // Rows that changed places, or octets that changed.
        index
            .sql()
            .execute_batch(
                &TABLES.map(|t| format!("UPDATE {t} SET id = id + 8 WHERE id & 255 = 1;")).concat(),
            )
            .unwrap();
        index.sql().execute("UPDATE head SET head = zeroblob(60) WHERE id & 255 = 2", []).unwrap();
        let known = index.look(&inbox, &[2, 9], Need::All).unwrap();
        assert!(known.len() == 2 && known.values().all(|is| matches!(is, Known::ToOpen)));
        // Another device's key opens none of it.
        let other = Index::open(&path, LocalKey::generate()).unwrap();
        assert!(other.look(&inbox, &[9], Need::All).unwrap().values().all(|is| matches!(is, Known::ToOpen)));
        drop((index, other));
        for damage in
            [&b"this is no database, but it is long enough to look like one to a hasty reader"[..], b""]
        {
            for end in ["-wal", "-shm"] {
                let _ = fs::remove_file(dir.path().join(format!("index{end}")));
            }
            fs::write(&path, damage.repeat(100)).unwrap();
            let index = Index::open(&path, key.clone()).unwrap();
            assert!(index.look(&inbox, &[2, 9], Need::All).unwrap().is_empty());
            index.learn(&inbox, &[(2, entry("two"))]).unwrap();
            assert!(matches!(index.look(&inbox, &[2], Need::All).unwrap()[&2], Known::Opened(_)));
        }
    }
}
