//! Opening a message again that was judged before. Judging costs a look into trust, a private key's and a signature's
//! work; that the octets are the same as then costs a hash.

use super::{
    Held, OpenError, Opened,
    armour::{self, Block},
    payload,
    shown::{Body, Shown},
};
use crate::{
    bridge::Fetched,
    spool::{self, Spool, SpoolReader},
};
use sealpost_crypto::{
    same::{SAME_OCTETS, Same},
    seal::{self, FILE_KEY_OCTETS, FileKey},
};
use sealpost_proto::message::{Header, MAX_HEADER_OCTETS};
use std::{
    io::{self, Read as _},
    ops::Range,
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
    /// The message as it came, and where its body begins.
    Plain(Mark, u64),
    /// Its payload: the key of the file, where in the payload the body begins, and where in the message the armour stands;
    /// nowhere, where it has to be laid out again.
    Sealed(Mark, FileKey, u64, Range<u64>),
}

/// What tells that octets are those that were judged.
#[derive(Clone, PartialEq, Eq)]
enum Mark {
    /// Of a message in memory.
    Memory(Same),
    /// SHA-256 of one that is too long for that.
    Disk([u8; 32]),
}

impl Mark {
    fn of(source: &Arc<Spool>) -> io::Result<Self> {
        Ok(match &**source {
            Spool::Memory(octets) => Self::Memory(Same::of(octets)),
            Spool::Disk(..) => Self::Disk(sha256(source)?),
        })
    }

    fn fits(&self, source: &Arc<Spool>) -> io::Result<bool> {
        Ok(match (self, &**source) {
            (Self::Memory(same), Spool::Memory(octets)) => same.is(octets),
            (Self::Disk(hash), Spool::Disk(..)) => sha256(source)? == *hash,
            _ => false,
        })
    }

    /// Kind and octets.
    fn expose(&self) -> (u8, &[u8; SAME_OCTETS]) {
        match self {
            Self::Memory(same) => (0, same.expose()),
            Self::Disk(hash) => (1, hash),
        }
    }

    fn read(kind: u8, octets: [u8; SAME_OCTETS]) -> Option<Self> {
        match kind {
            0 => Some(Self::Memory(Same::new(octets))),
            1 => Some(Self::Disk(octets)),
            _ => None,
        }
    }
}

impl Opened {
    /// What opens this message again. `source` is the message as it was judged.
    pub(crate) fn again(&self, source: &Arc<Spool>) -> io::Result<Again> {
        if self.verdict.is_withheld() {
            return Ok(Again(How::Not));
        }
        Ok(Again(match &self.held {
            Held::Closed => How::Not,
            Held::Plain(_, _, body) => How::Plain(Mark::of(source)?, *body),
            Held::Sealed(Block { spool, range }, key, payload) => {
                let range = if Arc::ptr_eq(spool, source) { range.clone() } else { 0..0 };
                How::Sealed(Mark::of(source)?, key.clone(), payload.body, range)
            }
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
            How::Plain(mark, body) => {
                if !mark.fits(&source)? {
                    return Ok(None);
                }
                Body::Plain(source, *body)
            }
            How::Sealed(mark, key, body, armour) => {
                if !mark.fits(&source)? {
                    return Ok(None);
                }
                if rest <= MEMORY_MAX
                    && let Some(octets) = in_place(&source, armour)
                    && let Some(payload) = seal::open_again(key, octets)
                {
                    return Ok(Some(Shown::new(head, Body::Memory(Arc::new(payload), *body), rest)));
                }
                let Some(block) = find(&source)? else { return Ok(None) };
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

    /// For the index: kind, mark, where the body begins (8 octets, little-endian), the key of the file, where the armour
    /// begins and ends (8 each).
    pub fn to_octets(&self) -> Zeroizing<Vec<u8>> {
        // In one piece: a buffer that grew would leave uncleared copies behind.
        Zeroizing::new(match &self.0 {
            How::Not => vec![0],
            How::Plain(mark, body) => {
                let (kind, mark) = mark.expose();
                [&[1 + kind], &mark[..], &body.to_le_bytes()].concat()
            }
            How::Sealed(mark, key, body, armour) => {
                let (kind, mark) = mark.expose();
                let armour = [armour.start.to_le_bytes(), armour.end.to_le_bytes()].concat();
                [&[3 + kind], &mark[..], &body.to_le_bytes(), key.expose(), &armour].concat()
            }
        })
    }

    /// Inverse of [`Again::to_octets`].
    pub fn read(octets: &[u8]) -> Option<Self> {
        let (kind, rest) = octets.split_first()?;
        if *kind == 0 {
            return rest.is_empty().then_some(Self(How::Not));
        }
        let (mark, rest) = rest.split_first_chunk()?;
        let (body, rest) = number(rest)?;
        if let 1 | 2 = kind {
            return rest.is_empty().then_some(Self(How::Plain(Mark::read(kind - 1, *mark)?, body)));
        }
        let mark = Mark::read(kind.checked_sub(3)?, *mark)?;
        let (key, rest) = rest.split_first_chunk::<FILE_KEY_OCTETS>()?;
        let (start, rest) = number(rest)?;
        let (end, rest) = number(rest)?;
        let key = FileKey::new(Zeroizing::new(*key));
        rest.is_empty().then_some(Self(How::Sealed(mark, key, body, start..end)))
    }
}

fn number(octets: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = octets.split_first_chunk()?;
    Some((u64::from_le_bytes(*number), rest))
}

/// The armour where it stands, of a message in memory.
fn in_place<'a>(source: &'a Spool, armour: &Range<u64>) -> Option<&'a [u8]> {
    let Spool::Memory(octets) = source else { return None };
    octets.get(usize::try_from(armour.start).ok()?..usize::try_from(armour.end).ok()?)
}

/// The armour, looked for as it was then. It was there, and the octets are the same.
fn find(source: &Arc<Spool>) -> io::Result<Option<Block>> {
    let mut start = Vec::new();
    SpoolReader::range(source.clone(), 0, MAX_HEADER_OCTETS as u64 + 1).read_to_end(&mut start)?;
    let Ok((header, outer)) = Header::read(&start) else { return Ok(None) };
    Ok(match armour::find(source, &header, outer as u64)? {
        armour::Found::Block(block) => Some(block),
        armour::Found::Damaged | armour::Found::Nothing => None,
    })
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
        let key = || FileKey::new(Zeroizing::new([7; FILE_KEY_OCTETS]));
        let memory = || Mark::Memory(Same::of(b"octets"));
        for how in [
            How::Not,
            How::Plain(memory(), 5),
            How::Plain(Mark::Disk([1; 32]), 5),
            How::Sealed(memory(), key(), u64::MAX, 0..0),
            How::Sealed(Mark::Disk([2; 32]), key(), 0, 300..u64::MAX),
        ] {
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
