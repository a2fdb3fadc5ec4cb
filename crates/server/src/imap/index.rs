//! What FETCH and SEARCH want to know of a message without opening it, made once when it is stored
//! (`NewMessage::index`, opaque to the store): ENVELOPE, BODY and BODYSTRUCTURE as they go out, the day of the Date
//! field, and where each part lies.
//!
//! Layout, integers little-endian: version (1), three texts each with its length (u32), day (i64, `i64::MIN` for
//! none), node count (u32), nodes. What does not read back whole counts as absent, and the message is parsed anew.

use sealpost_proto::imap::{
    Day,
    date::header_day,
    mime::{self, Field, Kind, Node, Scanner, Structure},
    structure,
};
use std::io::{self, Read};

/// Version of the layout.
const VERSION: u8 = 1;
/// An index above this is not stored: the message is parsed when it is asked for.
const STORED_MAX: usize = 256 * 1024;
/// Octets read at a time.
const CHUNK: usize = 64 * 1024;

/// What is known of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    pub(super) envelope: Vec<u8>,
    pub(super) body: Vec<u8>,
    pub(super) body_structure: Vec<u8>,
    pub(super) sent: Option<Day>,
    pub(super) parts: Vec<Part>,
}

/// Where a part lies; see [`Node`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) header: u64,
    pub(super) body: u64,
    pub(super) end: u64,
    pub(super) kind: Kind,
    /// Text to be searched, and how to decode it.
    pub(super) text: Option<Text>,
    pub(super) children: Vec<usize>,
}

/// How the text of a part is encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) encoding: Encoding,
    pub(super) charset: String,
}

/// Content-Transfer-Encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    QuotedPrintable,
    Base64,
}

/// The index of a message, for `NewMessage::index`; empty where it would be too large to be worth its place.
pub fn build(mut message: impl Read) -> io::Result<Vec<u8>> {
    let mut scanner = Scanner::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        match message.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => scanner.push(&buffer[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(Index::of(&scanner.finish()).stored())
}

impl Index {
    /// Everything that is kept of a structure.
    pub(crate) fn of(parsed: &Structure) -> Self {
        let mut index = Self {
            envelope: Vec::new(),
            body: Vec::new(),
            body_structure: Vec::new(),
            sent: None,
            parts: parsed.nodes.iter().map(Part::of).collect(),
        };
        if let Some(root) = parsed.nodes.first() {
            structure::envelope(&mut index.envelope, root);
            index.sent = root.field(Field::Date).and_then(|d| header_day(&String::from_utf8_lossy(d)));
        }
        structure::body(&mut index.body, parsed, false);
        structure::body(&mut index.body_structure, parsed, true);
        index
    }

    /// The part that a section's numbers name.
    pub(super) fn part(&self, numbers: &[std::num::NonZeroU32]) -> Option<&Part> {
        let numbers = numbers.iter().map(|n| n.get());
        mime::part(&self.parts, |p| (p.kind, &p.children), numbers).and_then(|at| self.parts.get(at))
    }

    /// The stored form.
    pub(crate) fn stored(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        for text in [&self.envelope, &self.body, &self.body_structure] {
            put_u32(&mut out, text.len());
            out.extend_from_slice(text);
        }
        out.extend_from_slice(&self.sent.map_or(i64::MIN, Day::number).to_le_bytes());
        put_u32(&mut out, self.parts.len());
        for part in &self.parts {
            for offset in [part.header, part.body, part.end] {
                out.extend_from_slice(&offset.to_le_bytes());
            }
            out.push(match part.kind {
                Kind::Leaf => 0,
                Kind::Multipart => 1,
                Kind::Message => 2,
            });
            out.push(match part.text.as_ref().map(|t| t.encoding) {
                None => 0,
                Some(Encoding::Identity) => 1,
                Some(Encoding::QuotedPrintable) => 2,
                Some(Encoding::Base64) => 3,
            });
            let charset = part.text.as_ref().map_or("", |t| t.charset.as_str());
            put_u32(&mut out, charset.len());
            out.extend_from_slice(charset.as_bytes());
            put_u32(&mut out, part.children.len());
            for child in &part.children {
                put_u32(&mut out, *child);
            }
        }
        if out.len() > STORED_MAX { Vec::new() } else { out }
    }

    /// Inverse of [`Index::stored`].
    pub(super) fn read(stored: &[u8]) -> Option<Self> {
        let mut from = Reader(stored);
        if from.take(1)? != [VERSION] {
            return None;
        }
        let envelope = from.counted()?.to_vec();
        let body = from.counted()?.to_vec();
        let body_structure = from.counted()?.to_vec();
        let sent = i64::from_le_bytes(from.take(8)?.try_into().ok()?);
        let count = from.u32()?;
        if count == 0 || count > mime::PARTS_MAX + mime::DEPTH_MAX {
            return None;
        }
        let mut parts = Vec::with_capacity(count);
        for at in 0..count {
            let (header, body, end) = (from.u64()?, from.u64()?, from.u64()?);
            let kind = match from.take(1)? {
                [0] => Kind::Leaf,
                [1] => Kind::Multipart,
                [2] => Kind::Message,
                _ => return None,
            };
            let encoding = match from.take(1)? {
                [0] => None,
                [1] => Some(Encoding::Identity),
                [2] => Some(Encoding::QuotedPrintable),
                [3] => Some(Encoding::Base64),
                _ => return None,
            };
            let charset = String::from_utf8(from.counted()?.to_vec()).ok()?;
            let text = encoding.map(|encoding| Text { encoding, charset });
            let mut children = Vec::new();
            for _ in 0..from.u32()? {
                // Children stand behind their parent: no walk can go round.
                children.push(from.u32().filter(|child| *child > at && *child < count)?);
            }
            if header > body || body > end {
                return None;
            }
            parts.push(Part { header, body, end, kind, text, children });
        }
        let sent = (sent != i64::MIN).then(|| Day::from_number(sent));
        from.0.is_empty().then_some(Self { envelope, body, body_structure, sent, parts })
    }
}

impl Part {
    fn of(node: &Node) -> Self {
        let searched = node.kind == Kind::Leaf && node.content_type.is("text", "*");
        let text = searched.then(|| {
            let encoding = node.field(Field::Encoding).unwrap_or_default().trim_ascii().to_ascii_lowercase();
            let charset = node.content_type.parameter("charset").unwrap_or_default();
            Text {
                encoding: match encoding.as_slice() {
                    b"quoted-printable" => Encoding::QuotedPrintable,
                    b"base64" => Encoding::Base64,
                    _ => Encoding::Identity,
                },
                // No name of a charset is longer than this.
                charset: String::from_utf8_lossy(&charset[..charset.len().min(64)]).into_owned(),
            }
        });
        Self {
            header: node.header,
            body: node.body,
            end: node.end,
            kind: node.kind,
            text,
            children: node.children.clone(),
        }
    }
}

fn put_u32(out: &mut Vec<u8>, n: usize) {
    // Lengths are bounded by the parser's limits, far below 4 GiB; a stored index over STORED_MAX is dropped anyway.
    out.extend_from_slice(&u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes());
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }
    fn u32(&mut self) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.take(4)?.try_into().ok()?)).ok()
    }
    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }
    fn counted(&mut self) -> Option<&'a [u8]> {
        let n = self.u32()?;
        self.take(n)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stored_and_read_back() {
        let message = b"Date: Mon, 23 Nov 2026 21:36:00 +0000\r\nFrom: A <a@example.net>\r\nSubject: x\r\n\
            Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\
            Content-Transfer-Encoding: base64\r\n\r\nYQ==\r\n--b--\r\n";
        let stored = build(&message[..]).unwrap();
        let index = Index::read(&stored).unwrap();
        assert_eq!(index.stored(), stored);
        assert_eq!(index.parts.len(), 2);
        assert_eq!(index.parts[1].text.as_ref().unwrap().encoding, Encoding::Base64);
        assert_eq!(index.sent, Day::new(2026, 11, 23));
        for cut in 0..stored.len() {
            assert_eq!(Index::read(&stored[..cut]), None);
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_round_trips(message in proptest::collection::vec(any::<u8>(), 0..300)) {
            let stored = build(&message[..]).unwrap();
            prop_assert_eq!(Index::read(&stored).map(|i| i.stored()), Some(stored));
            let _ = Index::read(&message);
        }
    }
}
