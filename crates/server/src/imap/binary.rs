//! FETCH BINARY, BINARY.PEEK and BINARY.SIZE (RFC 3516): parts without their transfer encoding, decoded as they are
//! streamed. The size comes before the octets, so that a part is read twice; nothing of it is kept.

use super::{
    fetch::CHUNK,
    index::Index,
    section::field_value,
    session::{Refusal, Session},
};
use sealpost_proto::{
    imap::{FetchItem, Section, encode, mime::Kind, response},
    message::transfer::Decoder,
};
use sealpost_store::mailbox::ContentReader;
use std::{io, num::NonZeroU32, ops::Range};

/// Octets read of a Content-Transfer-Encoding field: no encoding's name is as long.
const FIELD_MAX: u64 = 1024;

/// What an item gives of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decoded {
    /// The transfer encoding is not known.
    Unknown,
    /// The octets of `range`, decoded.
    Octets {
        /// Where the encoded octets lie.
        range: Range<u64>,
        /// Content-Transfer-Encoding.
        encoding: String,
        /// Decoded octets that come before.
        first: u64,
        /// Decoded octets from there on.
        len: u64,
        /// Among them a NUL, which takes a literal8.
        nul: bool,
    },
}

/// Whether an item is one of these.
pub(super) fn is_binary(item: &FetchItem) -> bool {
    matches!(item, FetchItem::Binary { .. } | FetchItem::BinarySize(_))
}

/// Measures what these items give; `None` for other items and for parts that are not there. Off the async threads: a
/// part may have 100 MB.
pub(super) async fn survey(
    items: Vec<FetchItem>,
    index: Option<&Index>,
    content: Box<dyn ContentReader>,
) -> Result<(Vec<Option<Decoded>>, Box<dyn ContentReader>), Refusal> {
    let index = index.cloned();
    let work = move || -> io::Result<_> {
        let all = items.iter().map(|item| match item {
            FetchItem::Binary { part, partial, .. } => {
                measure(index.as_ref(), content.as_ref(), part, *partial)
            }
            FetchItem::BinarySize(part) => measure(index.as_ref(), content.as_ref(), part, None),
            _ => Ok(None),
        });
        let all = all.collect::<io::Result<Vec<_>>>()?;
        Ok((all, content))
    };
    Ok(tokio::task::spawn_blocking(work).await.map_err(io::Error::other)??)
}

fn measure(
    index: Option<&Index>,
    content: &dyn ContentReader,
    part: &[NonZeroU32],
    partial: Option<(u64, NonZeroU32)>,
) -> io::Result<Option<Decoded>> {
    let (range, encoding) = if part.is_empty() {
        // The message itself has no transfer encoding; its parts have.
        (0..content.len(), String::new())
    } else {
        let Some(part) = index.and_then(|index| index.part(part)) else { return Ok(None) };
        let encoding = match part.kind {
            // RFC 2045 §6.4: nothing but an identity is allowed here.
            Kind::Multipart => String::new(),
            Kind::Leaf | Kind::Message => transfer_encoding(content, part.header..part.body)?,
        };
        (part.body..part.end, encoding)
    };
    let Some(mut decoder) = Decoder::known(&encoding) else { return Ok(Some(Decoded::Unknown)) };
    let first = partial.map_or(0, |(first, _)| first);
    let end = partial.map_or(u64::MAX, |(first, count)| first.saturating_add(u64::from(count.get())));
    let (mut total, mut nul) = (0_u64, false);
    decode(content, range.clone(), &mut decoder, |octets| {
        let cut = window(octets, total, first, end);
        nul |= memchr::memchr(0, cut).is_some();
        total += octets.len() as u64;
        total < end
    })?;
    let len = total.min(end).saturating_sub(first);
    Ok(Some(Decoded::Octets { range, encoding, first, len, nul }))
}

/// Those of `octets`, which begin at `at`, that lie within `first..end`.
fn window(octets: &[u8], at: u64, first: u64, end: u64) -> &[u8] {
    let place = |n: u64| usize::try_from(n.saturating_sub(at)).unwrap_or(usize::MAX).min(octets.len());
    &octets[place(first)..place(end).max(place(first))]
}

/// The value of a header's Content-Transfer-Encoding field, without comment; empty where there is none.
fn transfer_encoding(content: &dyn ContentReader, header: Range<u64>) -> io::Result<String> {
    let value = field_value(content, header, b"Content-Transfer-Encoding", FIELD_MAX)?.unwrap_or_default();
    let value = String::from_utf8_lossy(&value).trim().to_ascii_lowercase();
    let end = value.find(|c: char| c.is_whitespace() || matches!(c, '(' | ';')).unwrap_or(value.len());
    Ok(value[..end].to_owned())
}

/// Decodes a range piece by piece, as long as `each` wants more.
fn decode(
    content: &dyn ContentReader,
    range: Range<u64>,
    decoder: &mut Decoder,
    mut each: impl FnMut(&[u8]) -> bool,
) -> io::Result<()> {
    let (mut buffer, mut out) = (vec![0; CHUNK], Vec::new());
    let mut at = range.start;
    while at < range.end {
        at += decode_piece(content, at..range.end, decoder, &mut buffer, &mut out)?;
        if !each(&out) {
            return Ok(());
        }
        out.clear();
    }
    Ok(())
}

/// Reads some octets at the beginning of `range` and decodes them to the end of `out`; how many were read. At the end of
/// the range, the decoder is finished.
fn decode_piece(
    content: &dyn ContentReader,
    range: Range<u64>,
    decoder: &mut Decoder,
    buffer: &mut [u8],
    out: &mut Vec<u8>,
) -> io::Result<u64> {
    let len = range.end - range.start;
    let want = usize::try_from(len).unwrap_or(buffer.len()).min(buffer.len());
    let n = content.read_at(range.start, &mut buffer[..want])?;
    if n == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    decoder.feed(&buffer[..n], out);
    if n as u64 == len {
        decoder.finish(out);
    }
    Ok(n as u64)
}

impl Session {
    /// One of these items, which [`survey`] has measured.
    pub(super) async fn write_binary(
        &mut self,
        item: &FetchItem,
        measured: Option<Decoded>,
        content: Option<&dyn ContentReader>,
    ) -> Result<(), Refusal> {
        let numbers = |part: &[NonZeroU32]| encode::section(&Section { part: part.to_vec(), text: None });
        let (Some(Decoded::Octets { range, encoding, first, len, nul }), Some(content)) = (measured, content)
        else {
            // There is no such part.
            let (name, part, none) = match item {
                FetchItem::BinarySize(part) => ("BINARY.SIZE", part.as_slice(), "0"),
                FetchItem::Binary { part, .. } => ("BINARY", part.as_slice(), "NIL"),
                _ => return Ok(()),
            };
            self.out.extend_from_slice(format!("{name}[{}] {none}", numbers(part)).as_bytes());
            return Ok(());
        };
        let (part, partial) = match item {
            FetchItem::BinarySize(part) => {
                self.out.extend_from_slice(format!("BINARY.SIZE[{}] ", numbers(part)).as_bytes());
                response::number(&mut self.out, len);
                return Ok(());
            }
            FetchItem::Binary { part, partial, .. } => (part, partial),
            _ => return Ok(()),
        };
        let origin = partial.map(|(first, _)| format!("<{first}>")).unwrap_or_default();
        // Programs that know no literal8 can read all but what needs one.
        let tilde = if nul { "~" } else { "" };
        let head = format!("BINARY[{}]{origin} {tilde}{{{len}}}\r\n", numbers(part));
        self.out.extend_from_slice(head.as_bytes());
        let mut decoder = Decoder::new(&encoding);
        let mut buffer = vec![0; CHUNK];
        let (mut at, mut seen, end) = (range.start, 0, if len > 0 { first.saturating_add(len) } else { 0 });
        let mut piece = Vec::new();
        while seen < end {
            // A message that ends before its length leaves the client waiting: the connection must break.
            at += decode_piece(content, at..range.end, &mut decoder, &mut buffer, &mut piece)?;
            self.out.extend_from_slice(window(&piece, seen, first, end));
            seen += piece.len() as u64;
            piece.clear();
            if self.out.len() >= CHUNK {
                self.flush().await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{
        super::section::tests::{Octets, index_of},
        *,
    };
    use proptest::prelude::*;

    fn measured(message: &[u8], part: u32, partial: Option<(u64, u32)>) -> Option<Decoded> {
        let (index, content) = (index_of(message), Octets(message.to_vec()));
        let part: Vec<NonZeroU32> = NonZeroU32::new(part).into_iter().collect();
        let partial = partial.map(|(first, count)| (first, NonZeroU32::new(count).unwrap()));
        measure(Some(&index), &content, &part, partial).unwrap()
    }

    fn message(encoding: &str, body: &str) -> Vec<u8> {
        format!("Content-Transfer-Encoding: {encoding}\r\nContent-Type: image/png\r\n\r\n{body}").into_bytes()
    }

    fn len_of(decoded: Option<Decoded>) -> Option<(u64, bool)> {
        match decoded? {
            Decoded::Octets { len, nul, .. } => Some((len, nul)),
            Decoded::Unknown => None,
        }
    }

    #[test]
    fn sizes_are_those_of_the_decoded_octets() {
        for (encoding, body, expected) in [
            ("base64", "AAEC\r\nAwQ=\r\n", (5, true)),
            ("BASE64 (of a picture)", "AQEC", (3, false)),
            ("quoted-printable", "a=00=\r\nb \r\n", (5, true)),
            ("8bit", "abc", (3, false)),
            ("\r\n binary", "a\0c", (3, true)),
        ] {
            let message = message(encoding, body);
            assert_eq!(len_of(measured(&message, 1, None)), Some(expected), "{encoding}");
            assert_eq!(len_of(measured(&message, 0, None)).unwrap().0, message.len() as u64);
        }
        assert_eq!(measured(&message("x-unknown", "a"), 1, None), Some(Decoded::Unknown));
        assert_eq!(measured(&message("7bit", "a"), 2, None), None);
    }

    proptest! {
        #[test]
        fn partial_ranges_are_those_of_the_decoded_octets(
            octets in proptest::collection::vec(0u8..3, 0..200),
            first in 0u64..220,
            count in 1u32..220,
        ) {
            let body = sealpost_proto::base64::encode(&octets);
            let message = message("base64", &body);
            let from = usize::try_from(first).unwrap().min(octets.len());
            let to = (from + count as usize).min(octets.len());
            let expected = &octets[from..to];
            let len = expected.len() as u64;
            prop_assert_eq!(len_of(measured(&message, 1, Some((first, count)))), Some((len, expected.contains(&0))));
        }
    }
}
