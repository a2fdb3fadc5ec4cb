//! Bodies too large for the database: one file each, durable before the row that names it.

use super::Random;
use crate::{
    error::Result,
    files,
    mailbox::ContentReader,
    spool::{Body, INLINE_MAX, Octets},
};
use bytes::Bytes;
use rusqlite::Connection;
use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// Octets copied at a time.
const COPY_BYTES: usize = 64 * 1024;

pub(super) struct Objects {
    root: PathBuf,
    tmp: PathBuf,
    random: Random,
    /// Folders below `root` whose names this process has made durable; 256 at most.
    synced: Mutex<HashSet<PathBuf>>,
}

/// A body ready for its row.
pub(super) enum Prepared {
    Inline(Bytes),
    Object { key: String, size: u64 },
}

impl Prepared {
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Object { size, .. } => *size,
        }
    }
    /// What goes through the writer.
    pub(super) fn inline_len(&self) -> usize {
        match self {
            Self::Inline(bytes) => bytes.len(),
            Self::Object { .. } => 0,
        }
    }
}

impl Objects {
    /// Makes `objects/` and `tmp/`, and empties the latter.
    pub(super) fn new(dir: &Path, random: Random) -> Result<Self> {
        let (root, tmp) = (dir.join("objects"), dir.join("tmp"));
        files::make_dir(&tmp)?;
        files::restrict(&tmp, 0o700)?;
        for entry in fs::read_dir(&tmp)? {
            // What lies here was never acknowledged: the process that received it is gone (we hold the lock).
            let entry = entry?;
            if entry.file_type()?.is_file() {
                fs::remove_file(entry.path())?;
            }
        }
        files::make_dir(&root)?;
        files::restrict(&root, 0o700)?;
        files::sync_dir(dir)?;
        Ok(Self { root, tmp, random, synced: Mutex::default() })
    }

    pub(super) fn tmp(&self) -> &Path {
        &self.tmp
    }

    /// Where an object lies. Keys come from [`Self::new_key`] alone: 32 hexadecimal digits.
    pub(super) fn path(&self, key: &str) -> PathBuf {
        self.root.join(key.get(..2).unwrap_or("00")).join(key)
    }

    /// Makes a body ready for its row; large ones are on stable storage under a name of their own afterwards.
    /// Blocks.
    pub(super) fn prepare(&self, body: &Body) -> Result<Prepared> {
        match body.octets() {
            Octets::Memory(bytes) if bytes.len() <= INLINE_MAX => Ok(Prepared::Inline(bytes.clone())),
            Octets::File { file, path, len } => {
                file.sync_data()?;
                self.place(path, *len)
            }
            Octets::Stored(reader) if reader.len() <= INLINE_MAX as u64 => {
                let mut bytes = Vec::with_capacity(INLINE_MAX);
                io::copy(&mut body.reader()?, &mut bytes)?;
                Ok(Prepared::Inline(bytes.into()))
            }
            Octets::Memory(_) | Octets::Stored(_) => {
                let (mut file, path) = files::temporary(&self.tmp)?;
                let mut piece = vec![0; COPY_BYTES];
                let mut offset = 0;
                loop {
                    let n = body.read_at(offset, &mut piece)?;
                    if n == 0 {
                        break;
                    }
                    file.write_all(&piece[..n])?;
                    offset += n as u64;
                }
                file.sync_data()?;
                self.place(&path, offset)
            }
        }
    }

    /// Gives a synced file a second name among the objects: the first stays the body's own, so that a body can be
    /// committed again, and an object lives exactly as long as its row.
    fn place(&self, path: &Path, size: u64) -> Result<Prepared> {
        let key = self.new_key();
        let target = self.path(&key);
        let folder = target.parent().unwrap_or(&self.root);
        self.make_folder(folder)?;
        let placed = name_again(path, &target).and_then(|()| files::sync_dir(folder));
        if let Err(error) = placed {
            // No row will ever name it.
            self.discard(&key);
            return Err(error.into());
        }
        Ok(Prepared::Object { key, size })
    }

    /// Removes an object that no row names.
    pub(super) fn discard(&self, key: &str) {
        if let Err(error) = self.remove(key) {
            tracing::warn!(%error, "an unused object could not be removed; the next start tries again");
        }
    }

    /// A folder of objects whose own name is durable. That it is there does not say so: whoever made it may have failed
    /// to sync it, or have been killed before.
    fn make_folder(&self, folder: &Path) -> Result<()> {
        let synced = || self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        if !synced().contains(folder) {
            files::make_dir(folder)?;
            files::sync_dir(&self.root)?;
            synced().insert(folder.to_owned());
        }
        Ok(())
    }

    /// 128 random bits: no two nodes ever choose the same.
    fn new_key(&self) -> String {
        let mut bytes = [0; 16];
        (self.random)(&mut bytes);
        format!("{:032x}", u128::from_be_bytes(bytes))
    }

    /// Opens an object for reading.
    pub(super) fn open(&self, key: &str, size: u64) -> Result<Box<dyn ContentReader>> {
        Ok(Box::new(ObjectReader { file: File::open(self.path(key))?, size }))
    }

    /// Unlinks an object; one that is gone already is no error.
    pub(super) fn remove(&self, key: &str) -> io::Result<()> {
        match fs::remove_file(self.path(key)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes objects that no row names: a crash came between the file and the commit. Only while nothing else
    /// uses the store.
    pub(super) fn sweep(&self, conn: &Connection) -> Result<()> {
        let mut named = HashSet::new();
        let mut statement = conn.prepare("SELECT object_key FROM content WHERE object_key IS NOT NULL")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            named.insert(row.get::<_, String>(0)?);
        }
        for folder in fs::read_dir(&self.root)? {
            let folder = folder?.path();
            if !folder.is_dir() {
                continue;
            }
            for object in fs::read_dir(&folder)? {
                let object = object?;
                if object.file_name().to_str().is_some_and(|name| is_key(name) && !named.contains(name)) {
                    tracing::info!(object = ?object.file_name(), "removing an object that no message uses");
                    fs::remove_file(object.path())?;
                }
            }
        }
        Ok(())
    }
}

/// Gives the file a second name, or makes a second file where the file system knows no links.
fn name_again(path: &Path, target: &Path) -> io::Result<()> {
    match fs::hard_link(path, target) {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied) =>
        {
            fs::copy(path, target)?;
            File::open(target)?.sync_all()
        }
        named => named,
    }
}

pub(super) fn is_key(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

struct ObjectReader {
    /// Open: the octets stay readable when the object is unlinked meanwhile.
    file: File,
    size: u64,
}

impl ContentReader for ObjectReader {
    fn len(&self) -> u64 {
        self.size
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        files::read_at(&self.file, offset, buf)
    }
}
