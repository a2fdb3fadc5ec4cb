//! A message that a mail program handed over, set aside until it is sealed: in memory while small, on disk sealed to a
//! key that only this process has. It can be read any number of times.

use crate::spool::{Spool, SpoolReader};
use sealpost_crypto::aside::{Aside, AsideKey};
use sealpost_proto::message::{Header, HeaderError, MAX_HEADER_OCTETS};
use std::{
    io::{self, BufReader, Cursor, Read, Write},
    sync::Arc,
};
use tempfile::SpooledTempFile;
use zeroize::Zeroizing;

/// Plain text up to this size waits in memory; more is sealed and may go to the disk.
const MEMORY_OCTETS: usize = 256 * 1024;

/// A message on its way in.
#[derive(Default)]
pub struct Staging {
    memory: Zeroizing<Vec<u8>>,
    disk: Option<(AsideKey, Aside<SpooledTempFile>)>,
    size: u64,
}

/// A whole one.
#[derive(Clone)]
pub struct Staged {
    held: Held,
    size: u64,
}

impl std::fmt::Debug for Staged {
    /// What it holds is nobody's business.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Staged({} octets)", self.size)
    }
}

#[derive(Clone)]
enum Held {
    Memory(Arc<Zeroizing<Vec<u8>>>),
    Sealed(AsideKey, Arc<Spool>),
}

impl Staging {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next octets.
    pub fn push(&mut self, octets: &[u8]) -> io::Result<()> {
        self.size += octets.len() as u64;
        if self.disk.is_none() {
            if self.memory.len() + octets.len() <= MEMORY_OCTETS {
                if self.memory.capacity() == 0 {
                    // Sized at once: a buffer that grew would leave uncleared copies behind.
                    self.memory.reserve_exact(MEMORY_OCTETS);
                }
                self.memory.extend_from_slice(octets);
                return Ok(());
            }
            let key = AsideKey::generate();
            let mut aside = key.seal(crate::spool::spool())?;
            aside.write_all(&self.memory)?;
            self.memory = Zeroizing::new(Vec::new());
            self.disk = Some((key, aside));
        }
        match &mut self.disk {
            Some((_, aside)) => aside.write_all(octets),
            None => Ok(()),
        }
    }

    /// Octets so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// No more comes.
    pub fn finish(self) -> io::Result<Staged> {
        let held = match self.disk {
            None => Held::Memory(Arc::new(self.memory)),
            Some((key, aside)) => Held::Sealed(key, Arc::new(Spool::new(aside.finish()?)?)),
        };
        Ok(Staged { held, size: self.size })
    }
}

/// Shared octets as a slice to read.
pub(crate) struct Shared(pub(crate) Arc<Zeroizing<Vec<u8>>>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Staged {
    /// From memory.
    pub fn of(octets: &[u8]) -> io::Result<Self> {
        let mut staging = Staging::new();
        staging.push(octets)?;
        staging.finish()
    }

    /// Octets.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// From the first octet on.
    pub fn reader(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(match &self.held {
            Held::Memory(octets) => Box::new(Cursor::new(Shared(octets.clone()))),
            Held::Sealed(key, spool) => {
                Box::new(key.open(BufReader::with_capacity(64 * 1024, SpoolReader::new(spool.clone())))?)
            }
        })
    }

    /// From `at` on.
    pub fn reader_at(&self, at: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut reader = self.reader()?;
        io::copy(&mut (&mut reader).take(at), &mut io::sink())?;
        Ok(reader)
    }

    /// Its header, and where the body begins.
    pub fn header(&self) -> io::Result<Result<(Header, u64), HeaderError>> {
        let mut start = Zeroizing::new(Vec::new());
        self.reader()?.take(MAX_HEADER_OCTETS as u64 + 1).read_to_end(&mut start)?;
        Ok(Header::read(&start).map(|(header, body)| (header, body as u64)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_come_back() {
        for size in [0, 1, MEMORY_OCTETS - 1, MEMORY_OCTETS, MEMORY_OCTETS + 1, 3 << 20] {
            let octets: Vec<u8> = (0..size).map(|n| u8::try_from(n % 251).expect("small")).collect();
            let mut staging = Staging::new();
            for piece in octets.chunks(100_003) {
                staging.push(piece).expect("staged");
            }
            let staged = staging.finish().expect("whole");
            assert_eq!(staged.size(), size as u64);
            assert_eq!(matches!(staged.held, Held::Memory(_)), size <= MEMORY_OCTETS);
            for at in [0, size / 2, size] {
                let mut back = Vec::new();
                staged.reader_at(at as u64).expect("opens").read_to_end(&mut back).expect("read");
                assert!(back == octets[at..], "{size} from {at}");
            }
        }
    }
}
