//! A message being received: in memory while small, in a file of the store's own folder once large, so that a
//! large body is never streamed inside a transaction and never copied again (`docs/decisions/0003-store.md`).

use crate::{files, mailbox::ContentReader};
use bytes::Bytes;
use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
    sync::Arc,
};
use tempfile::TempPath;

/// Bodies above this become objects (files) made durable before the commit.
pub const INLINE_MAX: usize = 128 * 1024;

/// Collects the octets of one message.
pub struct Spool {
    dir: Arc<Path>,
    place: Place,
    len: u64,
    memory_max: usize,
    /// A write failed half-way: what is there is not the message.
    broken: bool,
}

enum Place {
    Memory(Vec<u8>),
    File(File, TempPath),
}

impl Spool {
    /// A spool whose files lie in `dir` (the store's `tmp/`, on the file system of its objects).
    pub fn new(dir: impl Into<Arc<Path>>) -> Self {
        Self {
            dir: dir.into(),
            place: Place::Memory(Vec::new()),
            len: 0,
            memory_max: INLINE_MAX,
            broken: false,
        }
    }
    /// Takes no more than `octets` of memory: who collects many small messages before one commit would hold them all.
    #[must_use]
    pub fn with_memory(mut self, octets: usize) -> Self {
        self.memory_max = octets.min(INLINE_MAX);
        self
    }
    /// Appends octets. Above [`INLINE_MAX`] (or less memory) they go to a file; writes are plain `write(2)` calls into the page cache.
    /// After an error the spool is of no more use; [`StoreError::from`](crate::StoreError) tells a full disk.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let done = self.try_write(bytes);
        match &done {
            Ok(()) => self.len += bytes.len() as u64,
            Err(_) => self.broken = true,
        }
        done
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Place::Memory(memory) = &mut self.place {
            if memory.len() + bytes.len() <= self.memory_max {
                memory.extend_from_slice(bytes);
                return Ok(());
            }
            let (mut file, path) = files::temporary(&self.dir)?;
            file.write_all(memory)?;
            self.place = Place::File(file, path);
        }
        match &mut self.place {
            Place::File(file, _) => file.write_all(bytes),
            Place::Memory(_) => Ok(()),
        }
    }
    /// Octets so far.
    pub fn len(&self) -> u64 {
        self.len
    }
    /// Nothing yet?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Ends writing. Fails if a write had failed.
    pub fn finish(self) -> io::Result<Body> {
        if self.broken {
            return Err(io::Error::other("the message could not be received whole"));
        }
        let inner = match self.place {
            Place::Memory(memory) => Octets::Memory(memory.into()),
            Place::File(file, path) => Octets::File { file, path, len: self.len },
        };
        Ok(Body { octets: Arc::new(inner) })
    }
}

/// A received message, whole, not yet committed. Cheap to clone (several recipients share it); a file behind it is
/// removed when the last clone goes: a commit gives the octets a name of the store's own.
#[derive(Clone)]
pub struct Body {
    octets: Arc<Octets>,
}

pub(crate) enum Octets {
    Memory(Bytes),
    File { file: File, path: TempPath, len: u64 },
    Stored(Box<dyn ContentReader>),
}

impl Body {
    /// A message that was made in memory.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        Self { octets: Arc::new(Octets::Memory(bytes.into())) }
    }
    /// A message that lies in the store.
    pub fn from_content(reader: Box<dyn ContentReader>) -> Self {
        Self { octets: Arc::new(Octets::Stored(reader)) }
    }
    /// Octets.
    pub fn len(&self) -> u64 {
        match &*self.octets {
            Octets::Memory(bytes) => bytes.len() as u64,
            Octets::File { len, .. } => *len,
            Octets::Stored(reader) => reader.len(),
        }
    }
    /// Nothing?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Reads the message (before or after the commit).
    pub fn reader(&self) -> io::Result<Box<dyn io::Read + Send>> {
        Ok(Box::new(BodyReader { body: self.clone(), offset: 0 }))
    }
    /// Reads up to `buf.len()` octets at `offset`; 0 at the end.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        match &*self.octets {
            Octets::Memory(bytes) => Ok(files::copy_at(bytes, offset, buf)),
            Octets::File { file, .. } => files::read_at(file, offset, buf),
            Octets::Stored(reader) => reader.read_at(offset, buf),
        }
    }
    /// The whole message, when it is in memory.
    pub fn as_slice(&self) -> Option<&[u8]> {
        match &*self.octets {
            Octets::Memory(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Whether it lies in memory and is small enough for the database: preparing it for a commit does not block.
    pub(crate) fn is_inline(&self) -> bool {
        self.as_slice().is_some_and(|octets| octets.len() <= INLINE_MAX)
    }
    pub(crate) fn octets(&self) -> &Octets {
        &self.octets
    }
    /// Whether both are clones of one body.
    pub(crate) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.octets, &other.octets)
    }
    /// Where its file lies, if it has one of its own.
    #[cfg(test)]
    pub(crate) fn file(&self) -> Option<std::path::PathBuf> {
        match &*self.octets {
            Octets::File { path, .. } => Some(path.to_path_buf()),
            _ => None,
        }
    }
}

struct BodyReader {
    body: Body,
    offset: u64,
}

impl Read for BodyReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.body.read_at(self.offset, buf)?;
        self.offset += n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spool_of(dir: &Path, len: usize, step: usize) -> Spool {
        let mut spool = Spool::new(dir);
        let octets: Vec<u8> = (0..len).map(|i| u8::try_from(i % 251).unwrap_or(0)).collect();
        for piece in octets.chunks(step) {
            spool.write(piece).expect("writes");
        }
        spool
    }

    #[test]
    fn is_in_memory_up_to_the_limit_and_in_a_file_above() {
        let dir = tempfile::tempdir().expect("a folder");
        for (len, in_file) in
            [(0, false), (1, false), (INLINE_MAX - 1, false), (INLINE_MAX, false), (INLINE_MAX + 1, true)]
        {
            for step in [4096, INLINE_MAX * 2] {
                let body = spool_of(dir.path(), len, step).finish().expect("finishes");
                assert_eq!(body.file().is_some(), in_file, "{len} octets");
                assert_eq!(body.as_slice().is_none(), in_file);
                assert_eq!(body.len(), len as u64);
                let mut all = Vec::new();
                body.reader().expect("a reader").read_to_end(&mut all).expect("reads");
                assert_eq!(all.len(), len);
                assert!(all.iter().enumerate().all(|(i, b)| usize::from(*b) == i % 251));
            }
        }
    }

    #[test]
    fn is_in_a_file_above_the_memory_it_may_have() {
        let dir = tempfile::tempdir().expect("a folder");
        for (len, memory, in_file) in
            [(0, 0, false), (1, 0, true), (10, 10, false), (11, 10, true), (INLINE_MAX + 1, usize::MAX, true)]
        {
            let mut spool = Spool::new(dir.path()).with_memory(memory);
            spool.write(&vec![b'x'; len]).expect("writes");
            let body = spool.finish().expect("finishes");
            assert_eq!(body.file().is_some(), in_file, "{len} octets, {memory} of memory");
            assert_eq!(body.len(), len as u64);
        }
    }

    #[test]
    fn the_file_goes_with_the_last_clone() {
        let dir = tempfile::tempdir().expect("a folder");
        let body = spool_of(dir.path(), INLINE_MAX + 1, 1000).finish().expect("finishes");
        let (path, other) = (body.file().expect("a file"), body.clone());
        drop(body);
        assert!(path.exists());
        drop(other);
        assert!(!path.exists());
        drop(spool_of(dir.path(), INLINE_MAX + 1, 1000));
        assert_eq!(
            std::fs::read_dir(dir.path()).expect("lists").count(),
            0,
            "an unfinished spool leaves nothing"
        );
    }

    #[test]
    fn a_spool_that_could_not_write_does_not_finish() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut spool = Spool::new(dir.path().join("not there"));
        spool.write(b"fits in memory").expect("writes");
        spool.write(&vec![0; INLINE_MAX]).expect_err("no folder for the file");
        assert!(spool.finish().is_err());
    }

    #[test]
    fn reads_at_and_behind_the_end() {
        let dir = tempfile::tempdir().expect("a folder");
        let memory = Body::from_bytes(&b"0123456789"[..]);
        let file = spool_of(dir.path(), INLINE_MAX + 10, 4096).finish().expect("finishes");
        let mut buf = [0; 4];
        assert_eq!(memory.read_at(8, &mut buf).expect("reads"), 2);
        assert_eq!(&buf[..2], b"89");
        for (body, offset) in [(&memory, 10), (&memory, u64::MAX), (&file, file.len()), (&file, 1 << 40)] {
            assert_eq!(body.read_at(offset, &mut buf).expect("reads"), 0);
        }
    }
}
