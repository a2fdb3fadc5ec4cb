//! Which octets of a message a section is, as ranges of the stored content: nothing is copied to answer FETCH.

use super::index::Index;
use sealpost_proto::imap::{Section, section};
use sealpost_store::mailbox::ContentReader;
use std::{io, num::NonZeroU32, ops::Range};

/// Most pieces of one header that HEADER.FIELDS picks; further fields are left out. Neighbours are one piece, so
/// only a header of as many alternating fields comes near.
const PIECES_MAX: usize = 100_000;
/// Octets read at a time.
const CHUNK: usize = 16 * 1024;

/// The octets of a section: ranges of the content, and perhaps an empty line behind them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Pieces {
    ranges: Vec<Range<u64>>,
    /// What stands behind the ranges: an empty line, or what a partial range leaves of it.
    tail: &'static [u8],
}

impl Pieces {
    fn one(range: Range<u64>) -> Self {
        Self { ranges: vec![range], tail: b"" }
    }

    /// A section of a message; `None` where it has no such part (NIL).
    pub(super) fn of(
        index: &Index,
        section: &Section,
        content: &dyn ContentReader,
    ) -> io::Result<Option<Self>> {
        Ok(match section::place(&index.parts, content.len(), section) {
            None => None,
            Some(section::Octets::All(range)) => Some(Self::one(range)),
            Some(section::Octets::Fields(header, names, not)) => Some(fields(content, header, names, not)?),
        })
    }

    /// The whole content.
    pub(super) fn whole(content: &dyn ContentReader) -> Self {
        Self::one(0..content.len())
    }

    /// Octets.
    pub(super) fn len(&self) -> u64 {
        self.ranges.iter().map(|r| r.end - r.start).sum::<u64>() + self.tail.len() as u64
    }

    /// `<first.count>` of them.
    pub(super) fn cut(&mut self, first: u64, count: NonZeroU32) {
        let end = first.saturating_add(u64::from(count.get()));
        let mut at = 0;
        for range in &mut self.ranges {
            let len = range.end - range.start;
            let low = first.clamp(at, at + len) - at;
            let high = end.clamp(at, at + len) - at;
            *range = range.start + low..range.start + high;
            at += len;
        }
        let place = |n: u64| usize::try_from(n.saturating_sub(at)).unwrap_or(usize::MAX).min(self.tail.len());
        self.tail = &self.tail[place(first)..place(end)];
    }

    /// Ranges of the content, in order.
    pub(super) fn ranges(&self) -> &[Range<u64>] {
        &self.ranges
    }

    /// Octets behind the ranges.
    pub(super) fn tail(&self) -> &'static [u8] {
        self.tail
    }
}

/// The header fields whose name is among `names` (or is not), and an empty line.
fn fields(
    content: &dyn ContentReader,
    header: Range<u64>,
    names: &[String],
    not: bool,
) -> io::Result<Pieces> {
    let mut pieces = Pieces { ranges: Vec::new(), tail: b"\r\n" };
    each_field(content, header, |name, range| {
        let listed = names.iter().any(|n| n.as_bytes().eq_ignore_ascii_case(name));
        if listed != not {
            let room = pieces.ranges.len() < PIECES_MAX;
            match pieces.ranges.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ if room => pieces.ranges.push(range),
                _ => {}
            }
        }
    })?;
    Ok(pieces)
}

/// The octets of a range, at most so many.
pub(super) fn read(content: &dyn ContentReader, range: Range<u64>, most: u64) -> io::Result<Vec<u8>> {
    let len = usize::try_from((range.end - range.start).min(most)).unwrap_or(0);
    if let Some(ready) = content.in_memory(range.start).get(..len) {
        return Ok(ready.to_vec());
    }
    let mut octets = vec![0; len];
    let mut at = 0;
    while at < octets.len() {
        let n = content.read_at(range.start + at as u64, &mut octets[at..])?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        at += n;
    }
    Ok(octets)
}

/// The value of the first field of that name, of at most so many octets of field.
pub(super) fn field_value(
    content: &dyn ContentReader,
    header: Range<u64>,
    name: &[u8],
    most: u64,
) -> io::Result<Option<Vec<u8>>> {
    let mut place = None;
    each_field(content, header, |found, range| {
        if place.is_none() && found.eq_ignore_ascii_case(name) {
            place = Some(range);
        }
    })?;
    let Some(place) = place else { return Ok(None) };
    let mut field = read(content, place, most)?;
    let colon = field.iter().position(|b| *b == b':').map_or(field.len(), |at| at + 1);
    Ok(Some(field.split_off(colon)))
}

/// Calls `each` with the name of every field of a header and where it lies, continuation lines included.
pub(super) fn each_field(
    content: &dyn ContentReader,
    header: Range<u64>,
    mut each: impl FnMut(&[u8], Range<u64>),
) -> io::Result<()> {
    let left = |at: u64| usize::try_from(header.end - at).unwrap_or(usize::MAX);
    let mut fields = Fields::new(header.start);
    let ready = content.in_memory(header.start);
    fields.push(&ready[..ready.len().min(left(header.start))], &mut each);
    if fields.at < header.end {
        let mut buffer = vec![0; CHUNK.min(left(fields.at))];
        while fields.at < header.end {
            let want = buffer.len().min(left(fields.at));
            let n = content.read_at(fields.at, &mut buffer[..want])?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            fields.push(&buffer[..n], &mut each);
        }
    }
    fields.finish(each);
    Ok(())
}

/// Where the fields of a header lie that comes in pieces.
struct Fields {
    at: u64,
    line_start: u64,
    /// No colon has come on the current line, which begins a field if one comes.
    in_name: bool,
    /// What has come of its name.
    name: Vec<u8>,
    /// The field that may still be continued: where it begins, ...
    field: Option<u64>,
    /// ... and its name.
    field_name: Vec<u8>,
}

impl Fields {
    /// Longest name compared: the longest that FETCH could ask for in its line is cut alike by nobody.
    const NAME_MAX: usize = 1024;

    fn new(at: u64) -> Self {
        Self { at, line_start: at, in_name: true, name: Vec::new(), field: None, field_name: Vec::new() }
    }

    fn push(&mut self, octets: &[u8], each: &mut impl FnMut(&[u8], Range<u64>)) {
        let mut rest = octets;
        while let Some(first) = rest.first() {
            if self.at == self.line_start {
                let continues = matches!(first, b' ' | b'\t');
                if !continues && let Some(start) = self.field.take() {
                    each(self.field_name.trim_ascii_end(), start..self.at);
                }
                self.in_name = !continues;
                self.name.clear();
            }
            let end = memchr::memchr(b'\n', rest);
            let (line, behind) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
            // A line without a colon is no field and belongs to none.
            if self.in_name {
                let colon = memchr::memchr(b':', line);
                let part = &line[..colon.or(end).unwrap_or(line.len())];
                self.name.extend_from_slice(&part[..part.len().min(Self::NAME_MAX - self.name.len())]);
                if colon.is_some() {
                    self.in_name = false;
                    self.field = Some(self.line_start);
                    std::mem::swap(&mut self.name, &mut self.field_name);
                }
            }
            self.at += line.len() as u64;
            if end.is_some() {
                self.line_start = self.at;
            }
            rest = behind;
        }
    }

    fn finish(self, mut each: impl FnMut(&[u8], Range<u64>)) {
        if let Some(start) = self.field {
            each(self.field_name.trim_ascii_end(), start..self.at);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;
    use sealpost_proto::imap::{SectionText, mime::Scanner};
    use std::sync::atomic::{AtomicU64, Ordering};

    pub(in crate::imap) struct Octets(pub(in crate::imap) Vec<u8>);
    impl ContentReader for Octets {
        fn len(&self) -> u64 {
            self.0.len() as u64
        }
        fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
            let from = usize::try_from(offset).unwrap().min(self.0.len());
            let n = buf.len().min(self.0.len() - from);
            buf[..n].copy_from_slice(&self.0[from..from + n]);
            Ok(n)
        }
    }

    /// Counts the octets that are read.
    pub(in crate::imap) struct Counted(Octets, AtomicU64);

    impl ContentReader for Counted {
        fn len(&self) -> u64 {
            self.0.len()
        }
        fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
            let n = self.0.read_at(offset, buf)?;
            self.1.fetch_add(n as u64, Ordering::Relaxed);
            Ok(n)
        }
    }

    impl Counted {
        pub(in crate::imap) fn new(message: &[u8]) -> Self {
            Self(Octets(message.to_vec()), AtomicU64::new(0))
        }
        /// Since this was asked last.
        pub(in crate::imap) fn read(&self) -> u64 {
            self.1.swap(0, Ordering::Relaxed)
        }
    }

    pub(in crate::imap) fn index_of(message: &[u8]) -> Index {
        let mut scanner = Scanner::new();
        scanner.push(message);
        Index::of(&scanner.finish())
    }

    fn read(message: &str, section: &Section, partial: Option<(u64, u32)>) -> Option<String> {
        let content = Octets(message.as_bytes().to_vec());
        let mut pieces = Pieces::of(&index_of(&content.0), section, &content).unwrap()?;
        if let Some((first, count)) = partial {
            pieces.cut(first, NonZeroU32::new(count).unwrap());
        }
        let mut out = Vec::new();
        for r in pieces.ranges() {
            let (a, b) = (usize::try_from(r.start).unwrap(), usize::try_from(r.end).unwrap());
            out.extend_from_slice(&content.0[a..b]);
        }
        out.extend_from_slice(pieces.tail());
        assert_eq!(out.len() as u64, pieces.len());
        Some(String::from_utf8(out).unwrap())
    }

    const NESTED: &str = "Subject: outer\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n\r\npreamble\r\n--b\r\n\r\n\
        one\r\n--b\r\nContent-Type: message/rfc822\r\nX: y\r\n\r\nSubject: inner\r\nFrom: a@b\r\n\
        Content-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\nA: 1\r\n\r\nplain\r\n--c\r\n\r\nrich\r\n--c--\r\n\
        \r\n--b--\r\nepilogue\r\n";

    fn section(part: &[u32], text: Option<SectionText>) -> Section {
        Section { part: part.iter().map(|n| NonZeroU32::new(*n).unwrap()).collect(), text }
    }
    fn header_fields(names: &[&str], not: bool) -> SectionText {
        SectionText::HeaderFields { names: names.iter().map(|n| (*n).to_owned()).collect(), not }
    }

    #[test]
    fn parts_of_a_nested_message() {
        let table = [
            (section(&[], None), Some(NESTED)),
            (section(&[1], None), Some("one")),
            (section(&[1], Some(SectionText::Mime)), Some("\r\n")),
            (section(&[2], Some(SectionText::Mime)), Some("Content-Type: message/rfc822\r\nX: y\r\n\r\n")),
            (section(&[2], Some(header_fields(&["SUBJECT"], false))), Some("Subject: inner\r\n\r\n")),
            (section(&[2, 1], None), Some("plain")),
            (section(&[2, 1], Some(SectionText::Mime)), Some("A: 1\r\n\r\n")),
            (section(&[2, 2], None), Some("rich")),
            (
                section(&[2], Some(SectionText::Text)),
                Some("--c\r\nA: 1\r\n\r\nplain\r\n--c\r\n\r\nrich\r\n--c--\r\n"),
            ),
            (section(&[3], None), None),
            (section(&[1, 1], None), None),
            (section(&[1], Some(SectionText::Header)), None),
            (section(&[], Some(header_fields(&["x"], false))), Some("\r\n")),
            (section(&[], Some(header_fields(&["content-type"], true))), Some("Subject: outer\r\n\r\n")),
        ];
        for (section, expected) in table {
            assert_eq!(read(NESTED, &section, None).as_deref(), expected, "{section:?}");
        }
    }

    #[test]
    fn a_message_that_is_not_multipart_has_one_part() {
        let message = "A: b\r\n\r\nbody\r\n";
        assert_eq!(read(message, &section(&[1], None), None).as_deref(), Some("body\r\n"));
        assert_eq!(
            read(message, &section(&[1], Some(SectionText::Mime)), None).as_deref(),
            Some("A: b\r\n\r\n")
        );
        assert_eq!(read(message, &section(&[2], None), None), None);
        assert_eq!(read("", &section(&[], Some(SectionText::Text)), None).as_deref(), Some(""));
    }

    #[test]
    fn folded_fields_and_odd_lines() {
        let message = "junk\r\nA: 1\r\n 2\r\nB : 3\r\n\tx\r\na: 4\r\n\r\n";
        assert_eq!(
            read(message, &section(&[], Some(header_fields(&["A"], false))), None).as_deref(),
            Some("A: 1\r\n 2\r\na: 4\r\n\r\n")
        );
        assert_eq!(
            read(message, &section(&[], Some(header_fields(&["b"], false))), None).as_deref(),
            Some("B : 3\r\n\tx\r\n\r\n")
        );
    }

    /// What [`Fields`] does, one octet at a time.
    fn fields_by_octets(header: &[u8]) -> Vec<(Vec<u8>, Range<u64>)> {
        let mut all = Vec::new();
        let (mut field, mut line_start, mut in_name, mut name) = (None, 0, true, Vec::new());
        for (at, octet) in header.iter().enumerate() {
            if at == line_start {
                in_name = !matches!(octet, b' ' | b'\t');
                name.clear();
                if in_name && let Some((name, start)) = field.take() {
                    all.push((name, start..at as u64));
                }
            }
            match octet {
                b':' if in_name => {
                    in_name = false;
                    field = Some((name.trim_ascii_end().to_vec(), line_start as u64));
                }
                b'\n' => line_start = at + 1,
                octet if in_name && name.len() < Fields::NAME_MAX => name.push(*octet),
                _ => {}
            }
        }
        all.extend(field.map(|(name, start)| (name, start..header.len() as u64)));
        all
    }

    proptest! {
        #[test]
        fn fields_are_found_wherever_a_header_is_cut(
            words in prop::collection::vec(prop::sample::select(vec!["A", "Bc", ":", " ", "\t", "\r\n", "\n", "\r", "\0"]), 0..40),
            cuts in prop::collection::vec(1_usize..9, 1..5),
        ) {
            let header = words.concat().into_bytes();
            let (mut found, mut rest) = (Vec::new(), header.as_slice());
            let mut each = |name: &[u8], range| found.push((name.to_vec(), range));
            let mut fields = Fields::new(0);
            for cut in cuts.iter().cycle() {
                let (piece, behind) = rest.split_at(rest.len().min(*cut));
                fields.push(piece, &mut each);
                rest = behind;
                if rest.is_empty() {
                    break;
                }
            }
            fields.finish(each);
            prop_assert_eq!(found, fields_by_octets(&header));
        }
    }

    #[test]
    fn a_name_is_compared_as_far_as_any_can_be_asked_for() {
        for len in [Fields::NAME_MAX - 1, Fields::NAME_MAX, Fields::NAME_MAX + 1] {
            let header = format!("{}: b\r\n", "a".repeat(len));
            let found = fields_by_octets(header.as_bytes());
            assert_eq!(found[0].0.len(), len.min(Fields::NAME_MAX));
            let mut all = Vec::new();
            let end = header.len() as u64;
            each_field(&Octets(header.into_bytes()), 0..end, |name, range| all.push((name.to_vec(), range)))
                .unwrap();
            assert_eq!(all, found);
        }
    }

    #[test]
    fn partial_ranges() {
        let s = section(&[], Some(header_fields(&["a", "c"], false)));
        let message = "A: 1\r\nB: 2\r\nC: 3\r\n\r\n";
        let whole = "A: 1\r\nC: 3\r\n\r\n";
        for first in 0..16u64 {
            for count in 1..16u32 {
                let from = usize::try_from(first).unwrap().min(whole.len());
                let to = (from + count as usize).min(whole.len());
                assert_eq!(
                    read(message, &s, Some((first, count))).as_deref(),
                    Some(&whole[from..to]),
                    "{first}.{count}"
                );
            }
        }
    }
}
