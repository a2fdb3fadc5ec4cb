//! BINARY, BINARY.PEEK and BINARY.SIZE (RFC 3516) of opened messages: parts without their transfer encoding. The size
//! comes before the octets, so that a part is read twice; of one that is longer than [`MEMORY_MAX`] nothing is kept.

use super::parts::Answer;
use sealpost_client::open::Shown;
use sealpost_proto::{
    imap::{
        Section, encode,
        mime::{Field, Kind, Structure},
        section,
    },
    message::transfer::Decoder,
};
use std::{
    io::{self, Read},
    num::NonZeroU32,
    ops::Range,
};

/// Octets read at a time.
const CHUNK: usize = 16 * 1024;
/// Decoded octets that are kept between their counting and their writing.
const MEMORY_MAX: u64 = 1024 * 1024;

/// Some octets of a decoded part.
pub(super) struct Decoded {
    range: Range<u64>,
    decoder: Decoder,
    first: u64,
    length: u64,
}

impl Decoded {
    /// How many they are.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Reads them.
    pub(super) fn reader(self, shown: &Shown) -> io::Result<impl Read + use<>> {
        let encoded = shown.reader(self.range.start)?.take(self.range.end - self.range.start);
        let mut reader = Decoding::new(encoded, self.decoder);
        io::copy(&mut (&mut reader).take(self.first), &mut io::sink())?;
        Ok(reader.take(self.length))
    }
}

/// Takes a transfer encoding off.
struct Decoding<R> {
    encoded: R,
    decoder: Option<Decoder>,
    buffer: Vec<u8>,
    decoded: Vec<u8>,
    /// Octets of `decoded` that were read.
    at: usize,
}

impl<R> Decoding<R> {
    fn new(encoded: R, decoder: Decoder) -> Self {
        Self { encoded, decoder: Some(decoder), buffer: vec![0; CHUNK], decoded: Vec::new(), at: 0 }
    }
}

impl<R: Read> Read for Decoding<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.decoded.len() {
            let Some(decoder) = &mut self.decoder else { return Ok(0) };
            self.decoded.clear();
            self.at = 0;
            match self.encoded.read(&mut self.buffer)? {
                0 => {
                    decoder.finish(&mut self.decoded);
                    self.decoder = None;
                }
                n => decoder.feed(&self.buffer[..n], &mut self.decoded),
            }
        }
        let n = into.len().min(self.decoded.len() - self.at);
        into[..n].copy_from_slice(&self.decoded[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

/// Where a part lies and what takes its encoding off.
enum Place {
    /// There is no such part.
    None,
    /// Its encoding is not known.
    Unknown,
    There(Range<u64>, Decoder),
}

fn place(part: &[NonZeroU32], size: u64, structure: &Structure) -> Place {
    if part.is_empty() {
        // The message itself has no transfer encoding; its parts have.
        return Decoder::known("").map_or(Place::Unknown, |decoder| Place::There(0..size, decoder));
    }
    let Some(node) = section::part(&structure.nodes, part) else { return Place::None };
    let encoding = match node.kind {
        // RFC 2045 §6.4: nothing but an identity is allowed here.
        Kind::Multipart => b"",
        Kind::Leaf | Kind::Message => node.field(Field::Encoding).unwrap_or_default(),
    };
    Decoder::of_field(encoding).map_or(Place::Unknown, |decoder| Place::There(node.body..node.end, decoder))
}

/// `BINARY[…]`
pub(super) fn octets(
    part: &[NonZeroU32],
    partial: Option<(u64, NonZeroU32)>,
    shown: &Shown,
    structure: &Structure,
) -> io::Result<Answer> {
    let (range, decoder) = match place(part, shown.size(), structure) {
        Place::None => return Ok(Answer::Written(format!("BINARY[{}] NIL", numbers(part)).into_bytes())),
        Place::Unknown => return Ok(Answer::UnknownEncoding),
        Place::There(range, decoder) => (range, decoder),
    };
    let (first, most) = partial.map_or((0, u64::MAX), |(first, count)| (first, count.get().into()));
    let all = Decoded { range: range.clone(), decoder: decoder.clone(), first, length: most };
    let mut reader = all.reader(shown)?;
    let (mut kept, mut length, mut nul) = (Vec::new(), 0, false);
    let mut buffer = vec![0; CHUNK];
    loop {
        let n = reader.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        length += n as u64;
        nul |= memchr::memchr(0, &buffer[..n]).is_some();
        if length <= MEMORY_MAX {
            kept.extend_from_slice(&buffer[..n]);
        }
    }
    let origin = partial.map(|(first, _)| format!("<{first}>")).unwrap_or_default();
    // Programs that know no literal8 can read all but what needs one.
    let name = format!("BINARY[{}]{origin} {}", numbers(part), if nul { "~" } else { "" });
    if length <= MEMORY_MAX {
        return Ok(Answer::Memory(name, kept));
    }
    Ok(Answer::Decoded(name, Decoded { range, decoder, first, length }))
}

/// `BINARY.SIZE[…]`
pub(super) fn size(part: &[NonZeroU32], shown: &Shown, structure: &Structure) -> io::Result<Answer> {
    let size = match place(part, shown.size(), structure) {
        Place::None => 0,
        Place::Unknown => return Ok(Answer::UnknownEncoding),
        Place::There(range, decoder) if decoder.is_identity() => range.end - range.start,
        Place::There(range, decoder) => {
            let whole = Decoded { range, decoder, first: 0, length: u64::MAX };
            io::copy(&mut whole.reader(shown)?, &mut io::sink())?
        }
    };
    Ok(Answer::Written(format!("BINARY.SIZE[{}] {size}", numbers(part)).into_bytes()))
}

fn numbers(part: &[NonZeroU32]) -> String {
    encode::section(&Section { part: part.to_vec(), text: None })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// However it is read.
        #[test]
        fn decoding_gives_what_the_decoder_gives(
            body in "[=\\r\\n \ta-fA-F0-9]{0,400}",
            pieces in proptest::collection::vec(1usize..50, 1..9),
        ) {
            for encoding in ["base64", "quoted-printable", "7bit"] {
                let mut decoder = Decoder::known(encoding).unwrap();
                let mut want = Vec::new();
                decoder.feed(body.as_bytes(), &mut want);
                decoder.finish(&mut want);
                let mut reader = Decoding::new(body.as_bytes(), Decoder::known(encoding).unwrap());
                let mut got = Vec::new();
                for size in pieces.iter().cycle() {
                    let mut piece = vec![0; *size];
                    let n = reader.read(&mut piece).unwrap();
                    if n == 0 {
                        break;
                    }
                    got.extend_from_slice(&piece[..n]);
                }
                prop_assert_eq!(got, want);
            }
        }
    }
}
