//! FETCH BINARY, BINARY.PEEK and BINARY.SIZE (RFC 3516): parts without their transfer encoding, decoded as they are
//! streamed. The size comes before the octets, so that a part is read twice; nothing of it is kept. Programs that read a
//! large part piece by piece cost what reading it at once does: a session remembers where the last pieces ended.

use super::{
    fetch::CHUNK,
    index::Index,
    section::field_value,
    session::{Refusal, Session},
};
use sealpost_proto::{
    imap::{FetchItem, Section, encode, mime::Kind, response, section},
    message::transfer::Decoder,
};
use sealpost_store::mailbox::{ContentId, ContentReader};
use std::{collections::VecDeque, io, num::NonZeroU32};

/// Octets read of a Content-Transfer-Encoding field: no encoding's name is as long.
const FIELD_MAX: u64 = 1024;
/// Octets decoded at a time, and so the most that are decoded once more where a piece ended.
const STEP: usize = 1024;
/// Parts read by pieces of which a session remembers where the last one ended: some programs fetch a few at once. Each
/// takes 200 octets, and a kilobyte more where quoted-printable is cut in the middle of white space.
const PLACES_MAX: usize = 4;

/// A place in a part where decoding can begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Where in the message.
    at: u64,
    /// Decoded octets before it.
    decoded: u64,
    decoder: Decoder,
}

/// Where the last pieces of parts ended; the newest last.
#[derive(Default)]
pub(super) struct Places(VecDeque<(ContentId, Vec<NonZeroU32>, Place)>);

impl Places {
    /// The place in a part from which `first` is reached, if one is known.
    fn before(&self, content: Option<ContentId>, part: &[NonZeroU32], first: u64) -> Option<Place> {
        let known = self.0.iter().find(|(id, numbers, _)| Some(*id) == content && numbers == part);
        known.map(|(.., place)| place).filter(|place| place.decoded <= first).cloned()
    }

    /// Remembers one, in place of an older one in the same part.
    fn keep(&mut self, content: Option<ContentId>, part: &[NonZeroU32], place: Place) {
        let Some(content) = content else { return };
        self.0.retain(|(id, numbers, _)| *id != content || numbers != part);
        if self.0.len() == PLACES_MAX {
            self.0.pop_front();
        }
        self.0.push_back((content, part.to_vec(), place));
    }
}

/// What an item gives of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decoded {
    /// The transfer encoding is not known.
    Unknown,
    /// The octets of `range`, decoded.
    Octets {
        /// Where decoding begins, at `first` or a little before.
        from: Place,
        /// Where the encoded octets end.
        end: u64,
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
    (id, content): (Option<ContentId>, Box<dyn ContentReader>),
    places: &mut Places,
) -> Result<(Vec<Option<Decoded>>, Box<dyn ContentReader>), Refusal> {
    let index = index.cloned();
    let mut known = std::mem::take(places);
    let work = move || -> io::Result<_> {
        let mut measure = |part: &[NonZeroU32], partial| {
            measure(index.as_ref(), (id, content.as_ref()), part, partial, &mut known)
        };
        let all = items.iter().map(|item| match item {
            FetchItem::Binary { part, partial, .. } => measure(part, *partial),
            FetchItem::BinarySize(part) => measure(part, None),
            _ => Ok(None),
        });
        let all = all.collect::<io::Result<Vec<_>>>()?;
        Ok((all, content, known))
    };
    let (all, content, known) = tokio::task::spawn_blocking(work).await.map_err(io::Error::other)??;
    *places = known;
    Ok((all, content))
}

fn measure(
    index: Option<&Index>,
    (id, content): (Option<ContentId>, &dyn ContentReader),
    numbers: &[NonZeroU32],
    partial: Option<(u64, NonZeroU32)>,
    places: &mut Places,
) -> io::Result<Option<Decoded>> {
    let (range, decoder) = if numbers.is_empty() {
        // The message itself has no transfer encoding; its parts have.
        (0..content.len(), Decoder::known(""))
    } else {
        let Some(part) = index.and_then(|index| section::part(&index.parts, numbers)) else {
            return Ok(None);
        };
        let decoder = match part.kind {
            // RFC 2045 §6.4: nothing but an identity is allowed here.
            Kind::Multipart => Decoder::known(""),
            Kind::Leaf | Kind::Message => {
                let header = part.header..part.body;
                let value = field_value(content, header, b"Content-Transfer-Encoding", FIELD_MAX)?;
                Decoder::of_field(&value.unwrap_or_default())
            }
        };
        (part.body..part.end, decoder)
    };
    let Some(decoder) = decoder else { return Ok(Some(Decoded::Unknown)) };
    let first = partial.map_or(0, |(first, _)| first);
    let end = partial.map_or(u64::MAX, |(first, count)| first.saturating_add(u64::from(count.get())));
    let mut place = if decoder.is_identity() {
        let skipped = first.min(range.end - range.start);
        Place { at: range.start + skipped, decoded: skipped, decoder }
    } else {
        let start = Place { at: range.start, decoded: 0, decoder };
        places.before(id, numbers, first).unwrap_or(start)
    };
    let (mut from, mut next, mut nul) = (place.clone(), place.clone(), false);
    walk(content, range.end, &mut place, end, |before, octets| {
        if before.decoded <= first {
            from.clone_from(before);
        }
        next.clone_from(before);
        nul |= memchr::memchr(0, window(octets, before.decoded, first, end)).is_some();
    })?;
    if partial.is_some() && place.at < range.end && !place.decoder.is_identity() {
        places.keep(id, numbers, next);
    }
    let len = place.decoded.min(end).saturating_sub(first);
    Ok(Some(Decoded::Octets { from, end: range.end, first, len, nul }))
}

/// Decodes from `place` on, step by step, until there are `until` octets or the part ends; `each` gets the place before
/// them and the octets.
fn walk(
    content: &dyn ContentReader,
    end: u64,
    place: &mut Place,
    until: u64,
    mut each: impl FnMut(&Place, &[u8]),
) -> io::Result<()> {
    let (mut buffer, mut out) = (Vec::new(), Vec::new());
    while place.at < end && place.decoded < until {
        // As many as base64 takes, so that little is read in vain; what takes more is read in turns.
        let wanted = until - place.decoded;
        let about = usize::try_from(wanted.saturating_add(wanted / 8 * 3));
        let most = about.unwrap_or(CHUNK).min(CHUNK).next_multiple_of(STEP);
        buffer.resize(usize::try_from(end - place.at).unwrap_or(CHUNK).min(most), 0);
        let n = content.read_at(place.at, &mut buffer)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for step in buffer[..n].chunks(STEP) {
            let before = place.clone();
            place.at += step.len() as u64;
            place.decoder.feed(step, &mut out);
            if place.at == end {
                place.decoder.finish(&mut out);
            }
            place.decoded += out.len() as u64;
            each(&before, &out);
            out.clear();
            if place.decoded >= until {
                break;
            }
        }
    }
    Ok(())
}

/// Those of `octets`, which begin at `at`, that lie within `first..end`.
fn window(octets: &[u8], at: u64, first: u64, end: u64) -> &[u8] {
    let place = |n: u64| usize::try_from(n.saturating_sub(at)).unwrap_or(usize::MAX).min(octets.len());
    &octets[place(first)..place(end).max(place(first))]
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
        let (Some(Decoded::Octets { mut from, end, first, len, nul }), Some(content)) = (measured, content)
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
        let last = if len > 0 { first.saturating_add(len) } else { 0 };
        while from.decoded < last {
            // A message that ends before its length leaves the client waiting: the connection must break.
            if from.at >= end {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            let until = last.min(from.decoded.saturating_add(CHUNK as u64));
            let out = &mut self.out;
            walk(content, end, &mut from, until, |before, octets| {
                out.extend_from_slice(window(octets, before.decoded, first, last));
            })?;
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
        super::section::tests::{Counted, Octets, index_of},
        *,
    };
    use proptest::prelude::*;

    const ID: Option<ContentId> = Some(ContentId(7));

    fn measured(message: &[u8], part: u32, partial: Option<(u64, u32)>) -> Option<Decoded> {
        let (index, content) = (index_of(message), Octets(message.to_vec()));
        let part: Vec<NonZeroU32> = NonZeroU32::new(part).into_iter().collect();
        let partial = partial.map(|(first, count)| (first, NonZeroU32::new(count).unwrap()));
        measure(Some(&index), (ID, &content), &part, partial, &mut Places::default()).unwrap()
    }

    /// What a partial FETCH of part 1 of a message gives.
    fn fetched(
        (id, index, content): (ContentId, &Index, &dyn ContentReader),
        (first, count): (u64, u32),
        places: &mut Places,
    ) -> Vec<u8> {
        let (part, count) = ([NonZeroU32::MIN], NonZeroU32::new(count).unwrap());
        let measured =
            measure(Some(index), (Some(id), content), &part, Some((first, count)), places).unwrap();
        let Some(Decoded::Octets { mut from, end, first, len, nul }) = measured else {
            panic!("{measured:?}")
        };
        assert!(len == 0 || from.decoded <= first);
        let (mut all, last) = (Vec::new(), first + len);
        if len > 0 {
            walk(content, end, &mut from, last, |before, octets| {
                all.extend_from_slice(window(octets, before.decoded, first, last));
            })
            .unwrap();
        }
        assert_eq!((all.len() as u64, all.contains(&0)), (len, nul));
        all
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

    /// A part that is read piece by piece is decoded as often as one that is read at once (before its size is told, and
    /// for its octets), but for what is looked at once more at each cut.
    #[test]
    fn pieces_in_order_cost_what_the_whole_does() {
        let octets: Vec<u8> = (0..30_000_u64).map(|n| u8::try_from(n * n % 251).unwrap()).collect();
        let lines = |text: String| -> String {
            let lines = text.as_bytes().chunks(75).map(|line| String::from_utf8_lossy(line).into_owned());
            lines.collect::<Vec<_>>().join("\r\n")
        };
        let base64 = lines(sealpost_proto::base64::encode(&octets));
        let quoted: Vec<String> = octets
            .chunks(25)
            .map(|line| line.iter().fold(String::new(), |line, octet| line + "=" + &format!("{octet:02X}")))
            .collect();
        let quoted = quoted.join("=\r\n");
        for (encoding, body) in [("base64", base64), ("quoted-printable", quoted)] {
            let message = message(encoding, &body);
            let (index, content) = (index_of(&message), Counted::new(&message));
            for piece in [500_u32, 4_096, 65_536] {
                // As many at a time as are remembered, and one more.
                for (parts, in_order) in [(1, true), (PLACES_MAX, true), (PLACES_MAX + 1, false)] {
                    let mut places = Places::default();
                    let mut first = 0;
                    let mut pieces = 0;
                    while first < octets.len() {
                        let end = (first + piece as usize).min(octets.len());
                        for id in 0..parts {
                            let id = ContentId(i64::try_from(id).unwrap());
                            let got = fetched((id, &index, &content), (first as u64, piece), &mut places);
                            assert!(got == octets[first..end], "{encoding} {first}");
                        }
                        (first, pieces) = (end, pieces + 1);
                    }
                    let each = content.read() / parts as u64;
                    // The field with the encoding is read for each.
                    let cuts = pieces * (4 * STEP as u64 + FIELD_MAX);
                    let most = 2 * message.len() as u64 + cuts;
                    assert!(!in_order || each <= most, "{encoding} by {piece}: {each} octets, not {most}");
                    if !in_order && pieces > 50 {
                        assert!(each > most, "{encoding} by {piece}: {each} octets: PLACES_MAX may be more");
                    }
                }
            }
        }
    }

    proptest! {
        /// Whatever was fetched before.
        #[test]
        fn pieces_in_any_order_are_the_same(
            body in "[=\\r\\n \ta-fA-F0-9]{0,4000}",
            cuts in proptest::collection::vec((0u64..4_100, 1u32..2_000), 1..12),
        ) {
            for encoding in ["base64", "quoted-printable", "7bit"] {
                let message = message(encoding, &body);
                let (index, content) = (index_of(&message), Octets(message.clone()));
                let mut places = Places::default();
                for cut in &cuts {
                    let of = (ContentId(7), &index, &content as &dyn ContentReader);
                    let fresh = fetched(of, *cut, &mut Places::default());
                    prop_assert_eq!(fetched(of, *cut, &mut places), fresh);
                }
            }
        }

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
