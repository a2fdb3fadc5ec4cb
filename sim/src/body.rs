//! Messages of which every sector can be told from every other: none can be torn, swapped or empty unnoticed.

use std::fmt;

/// What a message holds: a number and a length say it all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Octets {
    /// Which.
    pub tag: u64,
    /// How many.
    pub len: usize,
}

impl fmt::Debug for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}/{}", self.tag, self.len)
    }
}

/// Octets of a stamp.
const STAMP: usize = 32;

impl Octets {
    /// All of them.
    pub fn bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len + STAMP);
        let mut at = 0;
        while bytes.len() < self.len {
            let stamp = format!("m{:08x} l{:08x} p{at:08x}", self.tag, self.len);
            bytes.extend_from_slice(format!("{stamp:<30}\r\n").as_bytes());
            at += 1;
        }
        bytes.truncate(self.len);
        bytes
    }
    /// The message that these octets are, or what they are instead.
    pub fn of(bytes: &[u8]) -> Result<Self, String> {
        let field = |from: usize| {
            let text = std::str::from_utf8(bytes.get(from..from + 8)?).ok()?;
            u64::from_str_radix(text, 16).ok()
        };
        if let (Some(tag), Some(len)) = (field(1), field(11)) {
            let whole = Self { tag, len: usize::try_from(len).unwrap_or(0) };
            if whole.len == bytes.len() && whole.bytes() == bytes {
                return Ok(whole);
            }
        }
        let start = String::from_utf8_lossy(&bytes[..bytes.len().min(STAMP)]).into_owned();
        Err(format!("{} octets that were never a message, beginning with {start:?}", bytes.len()))
    }
}
