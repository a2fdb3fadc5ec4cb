//! The client's folder: state on disk, written atomically, one command at a time.
//!
//! | file | holds |
//! |---|---|
//! | `account.json` | address, home server, name server, roots, MX port |
//! | `secrets.json` | seed, login hash, salts, cost, retired seeds, sealed or in the open (see `vault`); never the password |
//! | `trust.json` | pins, keywords of domains, look-ups |
//! | `memory.db` | replay and first-seen memory (see `memory`) |
//! | `seen.json` | verdicts and subjects of messages read here |
//! | `lock` | taken by each command that writes |
//!
//! All are 0600 in a 0700 folder. Each file has a `version`; one from a newer Sealpost is refused rather than guessed at.

use crate::{error::ClientError, ui::Ui};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};
use zeroize::Zeroizing;

/// Version of all files of the folder.
pub(crate) const VERSION: u32 = 1;
/// Longest file read, in octets: far over what the bounds of `trust` let it grow to, far under what hurts.
const FILE_MAX: u64 = 64 << 20;

/// A file of the folder.
pub(crate) trait Stored: Serialize + DeserializeOwned {
    /// Its name.
    const NAME: &'static str;
}

#[derive(serde::Serialize)]
struct Versioned<'a, T> {
    version: u32,
    #[serde(flatten)]
    value: &'a T,
}

#[derive(serde::Deserialize)]
struct VersionOnly {
    version: u32,
}

/// The folder; reads need no lock, since every file is replaced as a whole.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    dir: PathBuf,
}

/// A file at one time: inode, length, and when it was written. `None`: there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp(Option<(u64, u64, i64, i64)>);

/// The right to write.
pub(crate) struct Locked {
    folder: Folder,
    _lock: File,
}

impl std::ops::Deref for Locked {
    type Target = Folder;
    fn deref(&self) -> &Folder {
        &self.folder
    }
}

impl Folder {
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Makes the folder (0700) where it does not exist, as `enrol` and `login` do.
    pub(crate) fn create(&self) -> Result<(), ClientError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)
            .map_err(|e| error("cannot make the folder", &self.dir, &e))
    }

    /// Waits for other commands to end, then takes the lock.
    pub(crate) async fn lock(&self, ui: &Arc<dyn Ui>) -> Result<Locked, ClientError> {
        if !self.dir.is_dir() {
            return Err(ClientError::NoAccount(self.dir.clone()));
        }
        let path = self.dir.join("lock");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|e| error("cannot open", &path, &e))?;
        match file.try_lock() {
            Ok(()) => return Ok(Locked { folder: self.clone(), _lock: file }),
            Err(TryLockError::WouldBlock) => {
                ui.say("another command uses this folder; waiting for it to end");
            }
            Err(TryLockError::Error(e)) => return Err(error("cannot lock", &path, &e)),
        }
        let waited = tokio::task::spawn_blocking(move || file.lock().map(|()| file)).await;
        match waited {
            Ok(Ok(file)) => Ok(Locked { folder: self.clone(), _lock: file }),
            Ok(Err(e)) => Err(error("cannot lock", &path, &e)),
            Err(e) => Err(error("cannot lock", &path, &std::io::Error::other(e))),
        }
    }

    /// Where a file of this name is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// What tells whether a file was replaced.
    pub(crate) fn stamp<T: Stored>(&self) -> Stamp {
        let metadata = fs::metadata(self.dir.join(T::NAME)).ok();
        Stamp(metadata.map(|m| (m.ino(), m.len(), m.mtime(), m.mtime_nsec())))
    }

    /// Reads a file; `None` where there is none.
    pub(crate) fn read<T: Stored>(&self) -> Result<Option<T>, ClientError> {
        self.octets(T::NAME)?.map(|octets| self.parse(&octets)).transpose()
    }

    /// A file as it is; `None` where there is none.
    pub(crate) fn octets(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, ClientError> {
        let path = self.dir.join(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(error("cannot read", &path, &e)),
        };
        let size = file.metadata().map_err(|e| error("cannot read", &path, &e))?.len();
        // Sized beforehand, so that a file with secrets leaves no half-filled copies behind.
        let mut octets =
            Zeroizing::new(Vec::with_capacity(usize::try_from(size.min(FILE_MAX)).unwrap_or(0) + 1));
        file.take(FILE_MAX + 1).read_to_end(&mut octets).map_err(|e| error("cannot read", &path, &e))?;
        if octets.len() as u64 > FILE_MAX {
            return Err(error("cannot read", &path, &"it is far too long"));
        }
        Ok(Some(octets))
    }

    /// Understands the octets of a file.
    pub(crate) fn parse<T: Stored>(&self, octets: &[u8]) -> Result<T, ClientError> {
        let path = self.dir.join(T::NAME);
        let VersionOnly { version } =
            serde_json::from_slice(octets).map_err(|e| error("cannot understand", &path, &place(&e)))?;
        if version > VERSION {
            return Err(newer(&path));
        }
        serde_json::from_slice(octets).map_err(|e| error("cannot understand", &path, &place(&e)))
    }
}

/// Where JSON is wrong; serde's own text could quote the value, and the value could be a secret.
fn place(e: &serde_json::Error) -> String {
    format!(
        "line {}, column {} is not what belongs there; restore it or log in in a new folder",
        e.line(),
        e.column()
    )
}

impl Locked {
    /// Replaces a file as a whole: after a crash there is the old one or the new one. One that holds this already stays.
    pub(crate) fn write<T: Stored>(&self, value: &T) -> Result<(), ClientError> {
        let path = self.dir.join(T::NAME);
        let temporary = self.dir.join(format!(".{}.new", T::NAME));
        let write = || -> std::io::Result<()> {
            let octets = json(&Versioned { version: VERSION, value })?;
            if self.octets(T::NAME).is_ok_and(|known| known.is_some_and(|known| *known == *octets)) {
                return Ok(());
            }
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
            file.write_all(&octets)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(&self.dir)?.sync_all()
        };
        write().map_err(|e| error("cannot write", &path, &e))
    }
}

/// A value as JSON on one line.
pub(crate) fn json(value: &impl Serialize) -> serde_json::Result<Zeroizing<Vec<u8>>> {
    let mut length = Counter(0);
    serde_json::to_writer(&mut length, value)?;
    let mut octets = Zeroizing::new(Vec::with_capacity(length.0 + 1));
    serde_json::to_writer(&mut *octets, value)?;
    octets.push(b'\n');
    Ok(octets)
}

/// Counts what would be written, so that the buffer for a file with secrets never grows by copying.
struct Counter(usize);

impl std::io::Write for Counter {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        self.0 += octets.len();
        Ok(octets.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A file of a form that this program does not know.
pub(crate) fn newer(path: &Path) -> ClientError {
    error(
        "cannot use",
        path,
        &"it was written by a newer Sealpost; use that one or a folder of its own (--dir)",
    )
}

pub(crate) fn error(what: &'static str, path: &Path, reason: &dyn std::fmt::Display) -> ClientError {
    ClientError::Folder { what, path: path.to_owned(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::Unattended;

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Sample {
        text: String,
    }
    impl Stored for Sample {
        const NAME: &'static str = "sample.json";
    }

    fn ui() -> Arc<dyn Ui> {
        Arc::new(Unattended)
    }

    #[tokio::test]
    async fn files_are_private_whole_and_read_back() {
        let outer = tempfile::tempdir().expect("temp dir");
        let dir = outer.path().join("a/b");
        let folder = Folder::new(&dir);
        assert!(matches!(folder.lock(&ui()).await, Err(ClientError::NoAccount(_))));
        folder.create().expect("made");
        let locked = folder.lock(&ui()).await.expect("locked");
        assert_eq!(folder.read::<Sample>().expect("nothing yet"), None);
        locked.write(&Sample { text: "one".into() }).expect("written");
        locked.write(&Sample { text: "two".into() }).expect("replaced");
        assert_eq!(folder.read().expect("read"), Some(Sample { text: "two".into() }));
        let before = folder.stamp::<Sample>();
        locked.write(&Sample { text: "two".into() }).expect("left as it is");
        assert_eq!(folder.stamp::<Sample>(), before);
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&dir), 0o700);
        assert_eq!(mode(&dir.join("sample.json")), 0o600);
        assert!(!dir.join(".sample.json.new").exists());
    }

    #[tokio::test]
    async fn what_is_not_understood_is_refused_without_quoting_it() {
        let dir = tempfile::tempdir().expect("temp dir");
        let folder = Folder::new(dir.path());
        for (content, said) in [
            (r#"{"version":2,"text":"x","new":1}"#, "newer Sealpost"),
            (r#"{"text":"x"}"#, "cannot understand"),
            (r#"{"version":1,"text":["SECRET"]}"#, "cannot understand"),
            ("", "cannot understand"),
            ("\u{feff}{}", "cannot understand"),
        ] {
            fs::write(dir.path().join("sample.json"), content).expect("written");
            let refused = folder.read::<Sample>().expect_err(content).to_string();
            assert!(refused.contains(said) && !refused.contains("SECRET"), "{content}: {refused}");
        }
    }

    #[tokio::test]
    async fn the_second_command_waits_for_the_first() {
        let dir = tempfile::tempdir().expect("temp dir");
        let folder = Folder::new(dir.path());
        let first = folder.lock(&ui()).await.expect("locked");
        let second = tokio::spawn({
            let folder = folder.clone();
            async move { folder.lock(&ui()).await.map(|_| ()) }
        });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        drop(first);
        second.await.expect("no panic").expect("locked after the first");
    }
}
