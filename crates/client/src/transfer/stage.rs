//! A message between its source and its target: its octets as they will be stored, with length and hash. Small ones
//! stay in memory, larger ones go to an unlinked file in the client's own folder.

use sha2::{Digest as _, Sha256};
use std::{
    io::{self, Read, Seek as _, Write},
    path::{Path, PathBuf},
};
use tempfile::{SpooledTempFile, spooled_tempfile_in};

/// Messages up to this size stay in memory, in octets; some hundreds may be on their way at once.
const MEMORY_OCTETS: usize = 64 * 1024;

/// The beginning of a message's SHA-256: enough to tell one's own messages apart.
pub(crate) type Hash = [u8; 16];

/// Takes the octets of one message.
pub(crate) struct Stage {
    /// `None`: only the hash is wanted.
    spool: Option<SpooledTempFile>,
    limit: u64,
    size: u64,
    sha: Sha256,
    nul: bool,
}

/// A whole message.
pub(crate) struct Staged {
    spool: SpooledTempFile,
    /// Octets; more than the limit where it is too large, and then they are not all there.
    pub size: u64,
    /// Of its octets.
    pub hash: Hash,
    /// It holds NUL, which IMAP takes in a literal8 only.
    pub nul: bool,
}

impl Stage {
    /// Takes up to `limit` octets; of what is longer only the length is of use.
    pub(crate) fn new(dir: &Path, limit: u64) -> Self {
        let spool = Some(spooled_tempfile_in(MEMORY_OCTETS, PathBuf::from(dir)));
        Self { spool, limit, size: 0, sha: Sha256::new(), nul: false }
    }
    /// Keeps nothing but length and hash.
    pub(crate) fn hash_only() -> Self {
        Self { spool: None, limit: u64::MAX, size: 0, sha: Sha256::new(), nul: false }
    }
    /// The end of the message.
    pub(crate) fn finish(self) -> io::Result<Staged> {
        let Self { spool, size, sha, nul, .. } = self;
        let mut spool = spool.unwrap_or_else(|| SpooledTempFile::new(0));
        spool.rewind()?;
        let mut hash = Hash::default();
        hash.copy_from_slice(&sha.finalize()[..16]);
        Ok(Staged { spool, size, hash, nul })
    }
}

impl Write for Stage {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.size += octets.len() as u64;
        if self.size <= self.limit {
            if let Some(spool) = &mut self.spool {
                spool.write_all(octets)?;
            }
            self.sha.update(octets);
            self.nul |= memchr::memchr(0, octets).is_some();
        }
        Ok(octets.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Staged {
    /// From its first octet on.
    pub(crate) fn reader(&mut self) -> io::Result<&mut SpooledTempFile> {
        self.spool.rewind()?;
        Ok(&mut self.spool)
    }
    /// The first octets, at most `most`.
    pub(crate) fn head(&mut self, most: u64) -> io::Result<Vec<u8>> {
        let mut head = Vec::new();
        self.reader()?.take(most).read_to_end(&mut head)?;
        Ok(head)
    }
}

/// Makes the line ends of a file those of mail. The first line decides: where it ends in LF alone, each LF becomes CRLF;
/// where it ends in CRLF, all octets stay as they are.
pub(crate) struct Crlf<W> {
    inner: W,
    /// Whether LF becomes CRLF, once it is known.
    convert: Option<bool>,
    /// The octet before was CR.
    cr: bool,
}

impl<W: Write> Crlf<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, convert: None, cr: false }
    }
    pub(crate) fn into_inner(self) -> W {
        self.inner
    }
}

impl<W: Write> Write for Crlf<W> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let mut rest = octets;
        while !rest.is_empty() {
            let Some(at) = memchr::memchr(b'\n', rest).filter(|_| self.convert != Some(false)) else {
                self.inner.write_all(rest)?;
                self.cr = rest.ends_with(b"\r");
                break;
            };
            let cr = if at == 0 { self.cr } else { rest[at - 1] == b'\r' };
            let convert = *self.convert.get_or_insert(!cr);
            self.inner.write_all(&rest[..at])?;
            self.inner.write_all(if convert && !cr { b"\r\n" } else { b"\n" })?;
            self.cr = false;
            rest = &rest[at + 1..];
        }
        Ok(octets.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Whether all line ends are CRLF and no CR stands elsewhere, so that a file may have LF instead and nothing is lost.
pub(crate) fn is_regular(mut reader: impl Read) -> io::Result<bool> {
    let (mut buffer, mut cr) = (vec![0; 64 * 1024], false);
    loop {
        let n = match reader.read(&mut buffer) {
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        if n == 0 {
            return Ok(!cr);
        }
        for octet in &buffer[..n] {
            if cr != (*octet == b'\n') {
                return Ok(false);
            }
            cr = *octet == b'\r';
        }
    }
}

/// Takes the CR out of each CRLF.
pub(crate) struct Lf<W>(pub W);

impl<W: Write> Write for Lf<W> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        for part in octets.split(|b| *b == b'\r').filter(|part| !part.is_empty()) {
            self.0.write_all(part)?;
        }
        Ok(octets.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn crlf(parts: &[&[u8]]) -> Vec<u8> {
        let mut all = Crlf::new(Vec::new());
        for part in parts {
            all.write_all(part).unwrap();
        }
        all.into_inner()
    }

    #[test]
    fn the_first_line_decides() {
        for (file, mail) in [
            ("a\nb\n", "a\r\nb\r\n"),
            ("a\nb\r\nc\n", "a\r\nb\r\nc\r\n"),
            ("a\r\nb\nc\r\r\n", "a\r\nb\nc\r\r\n"),
            ("\n\n", "\r\n\r\n"),
            ("no end", "no end"),
            ("a\rb\nc\rd\n", "a\rb\r\nc\rd\r\n"),
            ("", ""),
        ] {
            assert_eq!(crlf(&[file.as_bytes()]), mail.as_bytes(), "{file:?}");
            for at in 0..=file.len() {
                let (one, two) = file.as_bytes().split_at(at);
                assert_eq!(crlf(&[one, two]), mail.as_bytes(), "{file:?} cut at {at}");
            }
        }
    }

    #[test]
    fn one_octet_below_the_limit_and_one_above() {
        let dir = tempfile::tempdir().unwrap();
        for (octets, whole) in [(9, true), (10, true), (11, false)] {
            let mut stage = Stage::new(dir.path(), 10);
            for _ in 0..octets {
                stage.write_all(b"x").unwrap();
            }
            let mut staged = stage.finish().unwrap();
            assert_eq!((staged.size, staged.nul), (octets, false));
            assert_eq!(staged.head(100).unwrap().len() as u64 == octets, whole);
        }
        let mut stage = Stage::new(dir.path(), 1 << 20);
        let large = vec![0; MEMORY_OCTETS + 1];
        stage.write_all(&large).unwrap();
        let mut staged = stage.finish().unwrap();
        assert!(staged.nul);
        assert_eq!(staged.head(u64::MAX).unwrap(), large);
        assert_eq!(staged.head(3).unwrap(), [0; 3]);
    }

    proptest! {
        #[test]
        fn what_is_regular_is_the_same_after_lf_and_back(text in "[ab\r\n]{0,40}") {
            let regular = is_regular(text.as_bytes()).unwrap();
            prop_assert_eq!(regular, text.replace("\r\n", "").find(['\r', '\n']).is_none());
            if regular {
                let mut lf = Lf(Vec::new());
                lf.write_all(text.as_bytes()).unwrap();
                prop_assert_eq!(crlf(&[&lf.0]), text.as_bytes());
            }
        }
    }
}
