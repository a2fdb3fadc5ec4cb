//! Opening a message again that was judged before. Judging costs a look into trust, a private key's and a signature's
//! work; that the octets are the same as then costs a hash.

use super::{
    Held, OpenError, Opened, armour, payload,
    shown::{Body, Shown},
};
use crate::{
    bridge::Fetched,
    spool::{self, Spool, SpoolReader},
};
use sealpost_crypto::seal::{FILE_KEY_OCTETS, FileKey};
use sealpost_proto::message::{Header, MAX_HEADER_OCTETS};
use std::{
    io::{self, Read as _},
    sync::Arc,
};
use zeroize::Zeroizing;

/// What is behind the header of a message as shown is held in memory up to this size, in octets; longer ones are opened as
/// they are read.
const MEMORY_MAX: u64 = 1024 * 1024;

/// What opens a message again, for an index that is itself sealed: it holds the key of the message.
#[derive(Clone, PartialEq, Eq)]
pub struct Again(How);

#[derive(Clone, PartialEq, Eq)]
enum How {
    /// It is withheld, and judged anew each time: the sender's keys, or one's own, may have come since.
    Not,
    /// The message as it came: SHA-256 of it, and where its body begins.
    Plain([u8; 32], u64),
    /// Its payload: SHA-256 of the message, the key of the file, and where in the payload the body begins.
    Sealed([u8; 32], FileKey, u64),
}

impl Opened {
    /// What opens this message again. `source` is the message as it was judged.
    pub(crate) fn again(&self, source: &Arc<Spool>) -> io::Result<Again> {
        if self.verdict.is_withheld() {
            return Ok(Again(How::Not));
        }
        Ok(Again(match &self.held {
            Held::Closed => How::Not,
            Held::Plain(_, _, body) => How::Plain(sha256(source)?, *body),
            Held::Sealed(_, key, payload) => How::Sealed(sha256(source)?, key.clone(), payload.body),
        }))
    }
}

impl Again {
    /// Of a message that is judged anew each time.
    pub fn not() -> Self {
        Self(How::Not)
    }

    /// Whether the message is to be judged anew.
    pub fn is_not(&self) -> bool {
        self.0 == How::Not
    }

    /// The message as it was shown before: `size` octets in all, of which `head` is the header. `None` where the octets
    /// are not those that were judged: what is in `message` has then to be judged.
    pub fn shown(&self, message: Fetched, head: Zeroizing<Vec<u8>>, size: u64) -> io::Result<Option<Shown>> {
        let rest = size.saturating_sub(head.len() as u64);
        let source = Arc::new(message.into_spool()?);
        let body = match &self.0 {
            How::Not => return Ok(None),
            How::Plain(hash, body) => {
                if sha256(&source)? != *hash {
                    return Ok(None);
                }
                Body::Plain(source, *body)
            }
            How::Sealed(hash, key, body) => {
                if sha256(&source)? != *hash {
                    return Ok(None);
                }
                let mut start = Vec::new();
                SpoolReader::range(source.clone(), 0, MAX_HEADER_OCTETS as u64 + 1)
                    .read_to_end(&mut start)?;
                // It was read before, and the octets are the same.
                let Ok((header, outer)) = Header::read(&start) else { return Ok(None) };
                let armour::Found::Block(block) = armour::find(&source, &header, outer as u64)? else {
                    return Ok(None);
                };
                if rest > MEMORY_MAX {
                    Body::Sealed(block, key.clone(), *body)
                } else {
                    let mut reader =
                        payload::open(&block, key).map_err(OpenError::from).map_err(io::Error::from)?;
                    // Sized beforehand: a buffer that grew would leave uncleared copies behind.
                    let length = usize::try_from(body + rest).unwrap_or_default();
                    let mut octets = Zeroizing::new(Vec::with_capacity(length + 1));
                    reader.read_to_end(&mut octets)?;
                    Body::Memory(Arc::new(octets), *body)
                }
            }
        };
        Ok(Some(Shown::new(head, body, rest)))
    }

    /// For the index: kind, SHA-256, where the body begins (8 octets, little-endian), the key of the file.
    pub fn to_octets(&self) -> Zeroizing<Vec<u8>> {
        // In one piece: a buffer that grew would leave uncleared copies behind.
        Zeroizing::new(match &self.0 {
            How::Not => vec![0],
            How::Plain(hash, body) => [&[1], &hash[..], &body.to_le_bytes()].concat(),
            How::Sealed(hash, key, body) => [&[2], &hash[..], &body.to_le_bytes(), key.expose()].concat(),
        })
    }

    /// Inverse of [`Again::to_octets`].
    pub fn read(octets: &[u8]) -> Option<Self> {
        let (kind, rest) = octets.split_first()?;
        if *kind == 0 {
            return rest.is_empty().then_some(Self(How::Not));
        }
        let (hash, rest) = rest.split_first_chunk::<32>()?;
        let (body, key) = rest.split_first_chunk::<8>()?;
        let body = u64::from_le_bytes(*body);
        Some(Self(match (kind, key.len()) {
            (1, 0) => How::Plain(*hash, body),
            (2, FILE_KEY_OCTETS) => {
                How::Sealed(*hash, FileKey::new(Zeroizing::new(key.try_into().ok()?)), body)
            }
            _ => return None,
        }))
    }
}

fn sha256(source: &Arc<Spool>) -> io::Result<[u8; 32]> {
    spool::sha256(SpoolReader::new(source.clone()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_back_whole_or_not_at_all() {
        let key = FileKey::new(Zeroizing::new([7; FILE_KEY_OCTETS]));
        for how in [How::Not, How::Plain([1; 32], 5), How::Sealed([2; 32], key, u64::MAX)] {
            let again = Again(how);
            let octets = again.to_octets();
            assert!(Again::read(&octets).unwrap() == again);
            for cut in 0..octets.len() {
                assert!(Again::read(&octets[..cut]).is_none_or(|read| read != again), "{cut}");
            }
            assert!(Again::read(&[&octets[..], b"x"].concat()).is_none());
        }
    }
}
