//! The stored form of an [`Index`].
//!
//! Version 2, numbers in LEB128: version (1 octet), flags (1), the length of the header, the ENVELOPE with its length (without Sender and
//! Reply-To where they are From once more, which its place and length then precede), BODYSTRUCTURE with its length, its
//! extension data (how many; for each how far behind the one before, and how long), the day of the Date field (zigzag)
//! and the seconds from its midnight to the moment (zigzag) where there is one, references (how many, 8 octets each),
//! parts (how many; for each an octet of its kind, encoding and charset, but for the first where it begins and the length
//! of its header, the length of its body, the charset with its length where the octet does not say it, children). It is written with every delivery: each
//! octet is paid for.
//!
//! Version 1, integers little-endian, is read still: three texts each with its length (u32), day (i64, `i64::MIN` for
//! none), node count (u32), nodes. It does not know the references.
//!
//! What does not read back whole counts as absent, and the message is parsed anew.

use super::{Encoding, Index, Kind, MessageRef, Part, Plain, Sent, Text};
use sealpost_proto::{
    imap::{Day, date::header_time, envelope::Envelope, keys::REFERENCES_MAX, mime},
    time::Timestamp,
};
use std::ops::Range;

/// Version of the layout written.
const VERSION: u8 = 2;
/// An index above this is not stored: the message is parsed when it is asked for.
const STORED_MAX: usize = 256 * 1024;
/// Most parts that one index can have.
const PARTS_MAX: usize = mime::PARTS_MAX + mime::DEPTH_MAX;

/// Sender and Reply-To are left out of the ENVELOPE.
const ONE_ORIGINATOR: u8 = 1;
/// There is a day and a moment.
const DATED: u8 = 2;

/// Charsets that need no text.
const CHARSETS: [&str; 3] = ["", "us-ascii", "utf-8"];

impl Index {
    /// The stored form.
    pub(crate) fn stored(&self) -> Vec<u8> {
        let [from, sender, reply_to] = self.originators.clone();
        let text = |range: &Range<usize>| self.envelope.get(range.clone()).unwrap_or_default();
        let alike = !from.is_empty() && text(&from) == text(&sender) && text(&from) == text(&reply_to);
        let mut flags = 0;
        flags |= if alike { ONE_ORIGINATOR } else { 0 };
        flags |= if self.sent.is_some() { DATED } else { 0 };
        let mut out = vec![VERSION, flags];
        put_u64(&mut out, self.parts.first().map_or(0, |root| root.body));
        if alike {
            put(&mut out, from.start);
            put(&mut out, from.len());
            put(&mut out, self.envelope.len() - (reply_to.end - from.end));
            out.extend_from_slice(&self.envelope[..from.end]);
            out.extend_from_slice(&self.envelope[reply_to.end..]);
        } else {
            put_counted(&mut out, &self.envelope);
        }
        put_counted(&mut out, &self.body_structure);
        match &self.body {
            Plain::Without(extensions) => {
                put(&mut out, extensions.len());
                let mut at = 0;
                for extension in extensions {
                    put(&mut out, extension.start - at);
                    put(&mut out, extension.len());
                    at = extension.end;
                }
            }
            // An index of version 1 is never written again: the message is parsed for a new one.
            Plain::Written(_) => return Vec::new(),
        }
        if let Some(Sent { day, at }) = self.sent {
            put_signed(&mut out, day.number());
            put_signed(&mut out, at.0.saturating_sub(day.number().saturating_mul(86_400)));
        }
        let references = self.references.as_deref().unwrap_or_default();
        put(&mut out, references.len());
        for reference in references {
            out.extend_from_slice(&reference.0.to_be_bytes());
        }
        put(&mut out, self.parts.len());
        for (at, part) in self.parts.iter().enumerate() {
            put_part(&mut out, at, part);
        }
        if out.len() > STORED_MAX { Vec::new() } else { out }
    }

    /// Octets of the header, the empty line behind it included, without reading the whole; `None` where that does not
    /// tell (version 1, or none stored).
    pub(crate) fn header_octets(stored: &[u8]) -> Option<u64> {
        let mut from = Reader(stored);
        if from.octet()? != VERSION {
            return None;
        }
        from.octet()?;
        from.u64()
    }

    /// What those need who want the header of the message and nothing else: all but its place is missing.
    pub(crate) fn header_alone(stored: &[u8]) -> Option<Self> {
        let body = Self::header_octets(stored)?;
        let root = Part { header: 0, body, end: body, kind: Kind::Leaf, text: None, children: Vec::new() };
        Some(Self {
            envelope: Vec::new(),
            originators: [0..0, 0..0, 0..0],
            body_structure: Vec::new(),
            body: Plain::Without(Vec::new()),
            sent: None,
            references: None,
            parts: vec![root],
        })
    }

    /// Inverse of [`Index::stored`].
    pub(crate) fn read(stored: &[u8]) -> Option<Self> {
        let mut from = Reader(stored);
        let index = match from.octet()? {
            1 => version_1(&mut from),
            VERSION => version_2(&mut from),
            _ => None,
        };
        index.filter(|_| from.0.is_empty())
    }
}

fn put_part(out: &mut Vec<u8>, at: usize, part: &Part) {
    let kind = match part.kind {
        Kind::Leaf => 0,
        Kind::Multipart => 1,
        Kind::Message => 2,
    };
    let encoding = match part.text.as_ref().map(|t| t.encoding) {
        None => 0,
        Some(Encoding::Identity) => 1,
        Some(Encoding::QuotedPrintable) => 2,
        Some(Encoding::Base64) => 3,
    };
    let charset = part.text.as_ref().map_or("", |t| t.charset.as_str());
    let known = (0..3_u8).zip(CHARSETS).find(|(_, name)| *name == charset).map(|(n, _)| n);
    out.push(kind | encoding << 2 | known.unwrap_or(3) << 4);
    if at > 0 {
        put_u64(out, part.header);
        put_u64(out, part.body.saturating_sub(part.header));
    }
    put_u64(out, part.end.saturating_sub(part.body));
    if known.is_none() {
        put_counted(out, charset.as_bytes());
    }
    put(out, part.children.len());
    for child in &part.children {
        put(out, *child);
    }
}

fn version_2(from: &mut Reader<'_>) -> Option<Index> {
    let flags = from.octet()?;
    if flags & !(ONE_ORIGINATOR | DATED) != 0 {
        return None;
    }
    let header = from.u64()?;
    let mut originators = [0..0, 0..0, 0..0];
    let envelope = if flags & ONE_ORIGINATOR == 0 {
        from.counted()?.to_vec()
    } else {
        let (start, len) = (from.number()?, from.number()?);
        let short = from.counted()?;
        let end = start.checked_add(len).filter(|end| len > 0 && *end <= short.len())?;
        let one = &short[start..end];
        originators = [start..end, end + 1..end + 1 + len, end + 2 + len..end + 2 + 2 * len];
        [&short[..end], b" ", one, b" ", one, &short[end..]].concat()
    };
    let body_structure = from.counted()?.to_vec();
    let mut extensions: Vec<Range<usize>> = Vec::new();
    for _ in 0..from.count(PARTS_MAX)? {
        let start = from.number()?.checked_add(extensions.last().map_or(0, |last| last.end))?;
        let end = start.checked_add(from.number()?).filter(|end| *end <= body_structure.len())?;
        extensions.push(start..end);
    }
    let sent = if flags & DATED == 0 {
        None
    } else {
        let day = from.signed()?;
        let at = day.checked_mul(86_400)?.checked_add(from.signed()?)?;
        Some(Sent { day: Day::from_number(day), at: Timestamp(at) })
    };
    let mut references = Vec::new();
    for _ in 0..from.count(REFERENCES_MAX)? {
        references.push(MessageRef(u64::from_be_bytes(from.take(8)?.try_into().ok()?)));
    }
    let count = from.count(PARTS_MAX).filter(|count| *count > 0)?;
    let mut parts = Vec::with_capacity(count);
    for at in 0..count {
        parts.push(part(from, header, at, count)?);
    }
    Some(Index {
        envelope,
        originators,
        body_structure,
        body: Plain::Without(extensions),
        sent,
        references: Some(references),
        parts,
    })
}

fn part(from: &mut Reader<'_>, first: u64, at: usize, count: usize) -> Option<Part> {
    let how = from.octet()?;
    let kind = kind(how & 3)?;
    let (header, body) = if at == 0 {
        (0, first)
    } else {
        let header = from.u64()?;
        (header, header.checked_add(from.u64()?)?)
    };
    let end = body.checked_add(from.u64()?)?;
    let charset = match CHARSETS.get(usize::from(how >> 4)) {
        Some(known) => (*known).to_owned(),
        None if how >> 4 == 3 => String::from_utf8(from.counted()?.to_vec()).ok()?,
        None => return None,
    };
    let text = text(how >> 2 & 3, charset);
    let mut children = Vec::new();
    for _ in 0..from.count(count)? {
        // Children stand behind their parent: no walk can go round.
        children.push(from.number().filter(|child| *child > at && *child < count)?);
    }
    Some(Part { header, body, end, kind, text, children })
}

fn kind(number: u8) -> Option<Kind> {
    match number {
        0 => Some(Kind::Leaf),
        1 => Some(Kind::Multipart),
        2 => Some(Kind::Message),
        _ => None,
    }
}

/// Text and how it is encoded, or (0) no text.
fn text(number: u8, charset: String) -> Option<Text> {
    let encoding = match number {
        1 => Encoding::Identity,
        2 => Encoding::QuotedPrintable,
        3 => Encoding::Base64,
        _ => return None,
    };
    Some(Text { encoding, charset })
}

fn version_1(from: &mut Reader<'_>) -> Option<Index> {
    let envelope = from.counted_fixed()?.to_vec();
    let body = from.counted_fixed()?.to_vec();
    let body_structure = from.counted_fixed()?.to_vec();
    let sent = i64::from_le_bytes(from.take(8)?.try_into().ok()?);
    let count = from.fixed()?;
    if count == 0 || count > PARTS_MAX {
        return None;
    }
    let mut parts = Vec::with_capacity(count);
    for at in 0..count {
        let mut offset = || Some(u64::from_le_bytes(from.take(8)?.try_into().ok()?));
        let (header, body, end) = (offset()?, offset()?, offset()?);
        let kind = kind(from.octet()?)?;
        let encoding = from.octet().filter(|number| *number <= 3)?;
        let charset = String::from_utf8(from.counted_fixed()?.to_vec()).ok()?;
        let text = text(encoding, charset);
        let mut children = Vec::new();
        for _ in 0..from.fixed()? {
            children.push(from.fixed().filter(|child| *child > at && *child < count)?);
        }
        if header > body || body > end {
            return None;
        }
        parts.push(Part { header, body, end, kind, text, children });
    }
    let sent = (sent != i64::MIN).then(|| {
        let date = Envelope::read(&envelope).ok().and_then(|e| e.date).unwrap_or_default();
        let midnight = Timestamp(sent.saturating_mul(86_400));
        Sent {
            day: Day::from_number(sent),
            at: header_time(&String::from_utf8_lossy(&date)).unwrap_or(midnight),
        }
    });
    Some(Index {
        envelope,
        originators: [0..0, 0..0, 0..0],
        body_structure,
        body: Plain::Written(body),
        sent,
        references: None,
        parts,
    })
}

fn put(out: &mut Vec<u8>, n: usize) {
    put_u64(out, n as u64);
}

fn put_u64(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n.to_le_bytes()[0] | 0x80);
        n >>= 7;
    }
    out.push(n.to_le_bytes()[0]);
}

fn put_signed(out: &mut Vec<u8>, n: i64) {
    put_u64(out, (n.cast_unsigned() << 1) ^ (n >> 63).cast_unsigned());
}

fn put_counted(out: &mut Vec<u8>, octets: &[u8]) {
    put(out, octets.len());
    out.extend_from_slice(octets);
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }
    fn octet(&mut self) -> Option<u8> {
        self.take(1).map(|octet| octet[0])
    }
    fn u64(&mut self) -> Option<u64> {
        let mut n = 0;
        for place in 0..10 {
            let octet = self.octet()?;
            let bits = u64::from(octet & 0x7f);
            n |= bits << (7 * place);
            if n >> (7 * place) != bits {
                return None;
            }
            if octet < 0x80 {
                // One spelling of each number.
                return (octet != 0 || place == 0).then_some(n);
            }
        }
        None
    }
    fn number(&mut self) -> Option<usize> {
        usize::try_from(self.u64()?).ok()
    }
    fn count(&mut self, most: usize) -> Option<usize> {
        self.number().filter(|n| *n <= most)
    }
    fn signed(&mut self) -> Option<i64> {
        let n = self.u64()?;
        Some((n >> 1).cast_signed() ^ -(n & 1).cast_signed())
    }
    fn counted(&mut self) -> Option<&'a [u8]> {
        let n = self.number()?;
        self.take(n)
    }
    /// Version 1's numbers, ...
    fn fixed(&mut self) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.take(4)?.try_into().ok()?)).ok()
    }
    /// ... and its texts.
    fn counted_fixed(&mut self) -> Option<&'a [u8]> {
        let n = self.fixed()?;
        self.take(n)
    }
}
