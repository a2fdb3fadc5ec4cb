//! A message being received: in memory while small, in a file of the store's own folder once large, so that a
//! large body is never streamed inside a transaction and never copied again (`docs/decisions/0003-store.md`).

use std::io;

/// Bodies above this become objects (files) made durable before the commit.
pub const INLINE_MAX: usize = 128 * 1024;

/// Collects the octets of one message.
pub struct Spool {
    _private: (),
}

impl Spool {
    /// Appends octets. Above [`INLINE_MAX`] they go to a file; writes are plain `write(2)` calls into the page cache.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let _ = bytes;
        todo!()
    }
    /// Octets so far.
    pub fn len(&self) -> u64 {
        todo!()
    }
    /// Nothing yet?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Ends writing.
    pub fn finish(self) -> io::Result<Body> {
        todo!()
    }
}

/// A received message, whole, not yet committed. Cheap to clone (several recipients share it); a file behind it is
/// removed when the last clone goes without having been committed.
#[derive(Clone)]
pub struct Body {
    _private: (),
}

impl Body {
    /// Octets.
    pub fn len(&self) -> u64 {
        todo!()
    }
    /// Nothing?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Reads the message (before or after the commit).
    pub fn reader(&self) -> io::Result<Box<dyn io::Read + Send>> {
        todo!()
    }
    /// The whole message, when it is in memory.
    pub fn as_slice(&self) -> Option<&[u8]> {
        todo!()
    }
}
