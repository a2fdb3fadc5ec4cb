//! What was transferred already, so that an import that was stopped, however hard, goes on where it was: nothing lost,
//! nothing twice.
//!
//! One file for each pair of source and target in the client's folder, lines of JSON. A batch is written down, with the
//! target's UIDNEXT before it, and synced before its first octet goes to the server; its end is written down when the
//! server has answered. A batch without an end is the one of which nobody knows whether the server has it: its messages
//! are looked for among those the target has got since.

use super::stage::Hash;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    collections::HashSet,
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{self, BufRead, BufReader, Read as _, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

/// Version of the file.
const VERSION: u32 = 1;
/// Longest line read, in octets: the largest batch has a tenth of it.
const LINE_MAX: u64 = 1 << 20;

/// A message of a source: the beginning of a SHA-256 over its folder and what names it there.
pub(crate) type Key = [u8; 16];

/// The key of what `id` names in `folder`.
pub(crate) fn key(folder: &str, id: &[u8]) -> Key {
    let mut sha = Sha256::new();
    sha.update((folder.len() as u64).to_be_bytes());
    sha.update(folder);
    sha.update(id);
    let mut key = Key::default();
    key.copy_from_slice(&sha.finalize()[..16]);
    key
}

/// A batch that goes to the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Batch {
    /// The target's mailbox.
    pub mailbox: String,
    /// Its UIDVALIDITY.
    pub uid_validity: u32,
    /// Its UIDNEXT before: what the batch got has this UID or a higher one.
    pub uid_next: u32,
    /// When it began, in seconds.
    pub at: i64,
    /// Its messages.
    pub messages: Vec<Entry>,
}

/// A message of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    #[serde(rename = "k", with = "hex16")]
    pub key: Key,
    #[serde(rename = "h", with = "hex16")]
    pub hash: Hash,
    #[serde(rename = "s")]
    pub size: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    Transfer {
        version: u32,
        from: String,
        to: String,
    },
    Begin(Batch),
    /// These need not come: their contents came by another folder.
    Known {
        keys: Vec<Known>,
    },
    /// The batch is there, but for those at these places.
    End {
        without: Vec<usize>,
    },
}

#[derive(Serialize, Deserialize)]
struct Known(#[serde(with = "hex16")] Key);

mod hex16 {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};
    pub(super) fn serialize<S: Serializer>(octets: &[u8; 16], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&format!("{:032x}", u128::from_be_bytes(*octets)))
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<[u8; 16], D::Error> {
        let text = String::deserialize(d)?;
        let number = (text.len() == 32).then(|| u128::from_str_radix(&text, 16).ok()).flatten();
        number.map(u128::to_be_bytes).ok_or_else(|| D::Error::custom("32 hexadecimal digits"))
    }
}

/// Why there is no journal.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("another import from there runs; wait for it to end")]
    Busy,
    #[error("it was written by a newer Sealpost; use that one, or --anew")]
    Newer,
    #[error(
        "line {0} is not what belongs there; with --anew it is begun anew, and all is imported once more"
    )]
    Broken(usize),
}

/// The file, held by one import.
pub(crate) struct Journal {
    file: Option<File>,
    done: HashSet<Key>,
    contents: HashSet<Hash>,
    pending: Option<Batch>,
}

impl Journal {
    /// Opens or makes `path`. `anew` forgets what is in it; `dry` writes nothing.
    pub(crate) fn open(
        path: &Path,
        from: &str,
        to: &str,
        anew: bool,
        dry: bool,
    ) -> Result<Self, JournalError> {
        let mut journal = Self { file: None, done: HashSet::new(), contents: HashSet::new(), pending: None };
        if dry {
            match File::open(path) {
                Ok(file) if !anew => drop(journal.read(&file)?),
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e.into()),
                _ => {}
            }
            return Ok(journal);
        }
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JournalError::Busy),
            Err(TryLockError::Error(e)) => return Err(e.into()),
        }
        let whole = if anew { 0 } else { journal.read(&file)? };
        // The end of a line that was cut off.
        file.set_len(whole)?;
        file.seek(io::SeekFrom::End(0))?;
        journal.file = Some(file);
        if whole == 0 {
            journal.write(&Line::Transfer { version: VERSION, from: from.to_owned(), to: to.to_owned() })?;
            journal.sync()?;
            if let Some(folder) = path.parent() {
                File::open(folder)?.sync_all()?;
            }
        }
        Ok(journal)
    }

    /// Reads all whole lines; how many octets they have.
    fn read(&mut self, file: &File) -> Result<u64, JournalError> {
        let mut reader = BufReader::new(file);
        let (mut whole, mut number) = (0, 0);
        loop {
            let mut line = Vec::new();
            let n = (&mut reader).take(LINE_MAX).read_until(b'\n', &mut line)?;
            if n == 0 || !line.ends_with(b"\n") {
                return if n as u64 == LINE_MAX { Err(JournalError::Broken(number + 1)) } else { Ok(whole) };
            }
            number += 1;
            match serde_json::from_slice(&line).map_err(|_| JournalError::Broken(number))? {
                Line::Transfer { version, .. } if version > VERSION => return Err(JournalError::Newer),
                Line::Transfer { .. } => {}
                Line::Begin(batch) => self.pending = Some(batch),
                Line::Known { keys } => self.done.extend(keys.into_iter().map(|known| known.0)),
                Line::End { without } => self.settle(&without),
            }
            whole += n as u64;
        }
    }

    fn settle(&mut self, without: &[usize]) {
        let Some(batch) = self.pending.take() else { return };
        for (at, entry) in batch.messages.into_iter().enumerate() {
            if !without.contains(&at) {
                self.done.insert(entry.key);
                self.contents.insert(entry.hash);
            }
        }
    }

    fn write(&mut self, line: &Line) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut octets = serde_json::to_vec(line)?;
        octets.push(b'\n');
        file.write_all(&octets)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), File::sync_data)
    }

    /// The keys of what is there already.
    pub(crate) fn done(&self) -> &HashSet<Key> {
        &self.done
    }
    /// The contents of what is there already.
    pub(crate) fn contents(&self) -> &HashSet<Hash> {
        &self.contents
    }
    /// The batch of which nobody knows whether the server has it.
    pub(crate) fn pending(&self) -> Option<&Batch> {
        self.pending.as_ref()
    }
    /// These need not come, now or later.
    pub(crate) fn known(&mut self, keys: Vec<Key>) -> io::Result<()> {
        self.write(&Line::Known { keys: keys.iter().copied().map(Known).collect() })?;
        self.done.extend(keys);
        Ok(())
    }
    /// To be called before the batch goes to the server.
    pub(crate) fn begin(&mut self, batch: Batch) -> io::Result<()> {
        let line = Line::Begin(batch);
        self.write(&line)?;
        if let Line::Begin(batch) = line {
            self.pending = Some(batch);
        }
        self.sync()
    }
    /// The server has the batch, but for the messages at these places. Not synced: if a power failure takes this line, the
    /// messages are found in the mailbox.
    pub(crate) fn end(&mut self, without: Vec<usize>) -> io::Result<()> {
        self.settle(&without);
        self.write(&Line::End { without })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::fs;

    fn batch(keys: &[u8]) -> Batch {
        let entry = |n: &u8| Entry { key: [*n; 16], hash: [n + 100; 16], size: 5 };
        let messages = keys.iter().map(entry).collect();
        Batch { mailbox: "Entwürfe".into(), uid_validity: 7, uid_next: 9, at: 1, messages }
    }

    fn open(path: &Path) -> Result<Journal, JournalError> {
        Journal::open(path, "mbox", "alice", false, false)
    }

    /// Cut anywhere, as by a kill: an end that is not whole is none, a batch that is not whole never was sent.
    #[test]
    fn cut_at_every_octet_it_says_what_may_be_believed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("transfer/j");
        let mut journal = open(&path).unwrap();
        journal.begin(batch(&[1, 2, 3])).unwrap();
        journal.end(vec![1]).unwrap();
        journal.begin(batch(&[4])).unwrap();
        journal.end(vec![]).unwrap();
        drop(journal);
        let whole = fs::read(&path).unwrap();
        let ends: Vec<usize> =
            whole.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, _)| i + 1).collect();
        for cut in 0..=whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let journal = open(&path).unwrap();
            let lines = ends.iter().filter(|end| **end <= cut).count();
            let done: &[u8] = match lines {
                0..=2 => &[],
                3 | 4 => &[1, 3],
                _ => &[1, 3, 4],
            };
            assert_eq!(journal.done().len(), done.len(), "cut at {cut}");
            assert!(done.iter().all(|n| journal.done().contains(&[*n; 16])), "cut at {cut}");
            assert_eq!(journal.contents().len(), done.len());
            let pending = match lines {
                2 => Some(batch(&[1, 2, 3])),
                4 => Some(batch(&[4])),
                _ => None,
            };
            assert_eq!(journal.pending(), pending.as_ref(), "cut at {cut}");
            // What was cut off is gone from the file, so that the next line is whole.
            drop(journal);
            let kept = fs::read(&path).unwrap();
            assert!(
                kept.ends_with(b"\n") && (lines == 0 || kept == whole[..ends[lines - 1]]),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn held_by_one_and_begun_anew_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j");
        let mut journal = open(&path).unwrap();
        journal.begin(batch(&[1])).unwrap();
        journal.end(vec![]).unwrap();
        assert!(matches!(open(&path), Err(JournalError::Busy)));
        drop(journal);
        let dry = Journal::open(&path, "mbox", "alice", false, true).unwrap();
        assert_eq!(dry.done().len(), 1);
        assert!(Journal::open(&path, "mbox", "alice", true, true).unwrap().done().is_empty());
        assert!(Journal::open(&path, "mbox", "alice", true, false).unwrap().done().is_empty());
        assert!(open(&path).unwrap().done().is_empty());
        for (text, said) in [
            ("{\"transfer\":{\"version\":2,\"from\":\"\",\"to\":\"\"}}\n", "newer"),
            ("odd\n", "line 1"),
            ("{\"end\":{\"without\":[]}}\n{\"begin\":1}\n", "line 2"),
        ] {
            fs::write(&path, text).unwrap();
            assert!(open(&path).err().unwrap().to_string().contains(said), "{text}");
        }
        assert!(Journal::open(&dir.path().join("none"), "", "", false, true).is_ok());
        assert!(!dir.path().join("none").exists());
    }

    #[test]
    fn what_came_by_another_folder_is_remembered_beside_a_batch() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j");
        let mut journal = open(&path).unwrap();
        journal.begin(batch(&[1])).unwrap();
        journal.known(vec![[8; 16], [9; 16]]).unwrap();
        drop(journal);
        let journal = open(&path).unwrap();
        assert_eq!((journal.done().len(), journal.pending()), (2, Some(&batch(&[1]))));
    }

    #[test]
    fn keys_keep_folder_and_name_apart() {
        assert_ne!(key("a", b"b"), key("ab", b""));
        assert_ne!(key("", b"ab"), key("a", b"b"));
        assert_eq!(key("a", b"b"), key("a", b"b"));
    }
}
