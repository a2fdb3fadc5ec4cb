//! Octets that several readers share: a message as fetched, or sealed octets on their way in or out. Plain text never
//! goes here, with one exception: mail that arrived as plain text.

use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt as _,
    sync::Arc,
};
use tempfile::{SpooledData, SpooledTempFile};

/// Sealed messages up to this size, which is that of 1 MiB when it is sealed, stay in memory; larger ones go to an unlinked
/// temporary file.
const SPOOL_MEMORY_OCTETS: usize = 1536 * 1024;

/// Octets read at once: most messages are small, and a buffer is cleared for each.
const CHUNK: usize = 16 * 1024;

/// A new place for sealed octets. Never give it plain text.
pub(crate) fn spool() -> SpooledTempFile {
    SpooledTempFile::new(SPOOL_MEMORY_OCTETS)
}

/// A finished spool.
pub(crate) enum Spool {
    Memory(Vec<u8>),
    Disk(File, u64),
}

impl Spool {
    pub(crate) fn new(spool: SpooledTempFile) -> io::Result<Self> {
        Ok(match spool.into_inner() {
            SpooledData::InMemory(cursor) => Self::Memory(cursor.into_inner()),
            SpooledData::OnDisk(file) => Self::of_file(file)?,
        })
    }

    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Memory(octets) => octets.len() as u64,
            Self::Disk(_, size) => *size,
        }
    }

    /// A file as it is.
    pub(crate) fn of_file(file: File) -> io::Result<Self> {
        let size = file.metadata()?.len();
        Ok(Self::Disk(file, size))
    }

    /// Reads at a place, so that several readers share the file.
    pub(crate) fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        match self {
            Self::Memory(octets) => {
                let at = usize::try_from(at).unwrap_or(usize::MAX).min(octets.len());
                (&octets[at..]).read(buffer)
            }
            Self::Disk(file, _) => file.read_at(buffer, at),
        }
    }
}

/// A [`Spool`] read from one place to another.
pub(crate) struct SpoolReader {
    spool: Arc<Spool>,
    at: u64,
    end: u64,
}

impl SpoolReader {
    pub(crate) fn new(spool: Arc<Spool>) -> Self {
        Self::range(spool, 0, u64::MAX)
    }

    /// From `at` on to before `end`.
    pub(crate) fn range(spool: Arc<Spool>, at: u64, end: u64) -> Self {
        Self { spool, at, end }
    }
}

impl Read for SpoolReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX).min(buffer.len());
        let n = self.spool.read_at(&mut buffer[..left], self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// SHA-256 of all that is read.
pub(crate) fn sha256(reader: impl Read) -> io::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    for_each_chunk(reader, |chunk| {
        hash.update(chunk);
        Ok(())
    })?;
    Ok(hash.finalize().into())
}

/// Reads to the end in pieces.
pub(crate) fn for_each_chunk(
    mut reader: impl Read,
    mut f: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => f(&buffer[..n])?,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}
