//! Octets that wait on disk, readable by this process alone: sealed to a key that is made now and never leaves memory.
//! What a mail program hands over is plain text, and plain text never touches the disk.

use age::{Decryptor, Encryptor, stream, x25519};
use std::io::{self, BufRead, Read, Write};

/// A key for as long as this value lives.
#[derive(Clone)]
pub struct AsideKey(x25519::Identity);

impl AsideKey {
    /// A new one, from the operating system's randomness: whoever could repeat it could read the disk.
    pub fn generate() -> Self {
        Self(x25519::Identity::generate())
    }

    /// Seals what is written. Call [`Aside::finish`], else the end is missing.
    pub fn seal<W: Write>(&self, out: W) -> io::Result<Aside<W>> {
        let recipient = self.0.to_public();
        let encryptor = Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient))
            .map_err(io::Error::other)?;
        Ok(Aside(encryptor.wrap_output(out)?))
    }

    /// Reads what was sealed with this key; anything else is an error.
    pub fn open<'a, R: BufRead + 'a>(&self, input: R) -> io::Result<impl Read + use<'a, R>> {
        Decryptor::new_buffered(input)
            .and_then(|decryptor| decryptor.decrypt(std::iter::once(&self.0 as &dyn age::Identity)))
            .map_err(io::Error::other)
    }
}

/// A sealing in progress.
pub struct Aside<W: Write>(stream::StreamWriter<W>);

impl<W: Write> Aside<W> {
    /// Writes the final chunk.
    pub fn finish(self) -> io::Result<W> {
        self.0.finish()
    }
}

impl<W: Write> Write for Aside<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_aside_comes_back_to_its_own_key_only() {
        let (key, other) = (AsideKey::generate(), AsideKey::generate());
        let text = b"nobody else reads this".repeat(10_000);
        let mut aside = key.seal(Vec::new()).expect("begun");
        aside.write_all(&text).expect("sealed");
        let sealed = aside.finish().expect("finished");
        assert!(!sealed.windows(22).any(|w| w == b"nobody else reads this"));
        let mut back = Vec::new();
        key.open(&sealed[..]).expect("opens").read_to_end(&mut back).expect("whole");
        assert_eq!(back, text);
        assert!(other.open(&sealed[..]).is_err());
        let cut = key.open(&sealed[..sealed.len() - 1]).and_then(|mut r| r.read_to_end(&mut Vec::new()));
        assert!(cut.is_err());
    }
}
