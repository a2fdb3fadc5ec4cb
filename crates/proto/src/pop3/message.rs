//! A message on its way out: octets as they are stored, dots doubled where a line begins, and `.` at the end
//! (RFC 1939 §3); for TOP the header and some lines (§7).
//!
//! What is stored goes out octet for octet, also a bare CR or LF and a NUL, which IMAP APPEND may have brought: a message
//! is not to change by the way it is read. A dot is doubled behind every LF, not only behind CRLF. Most programs read
//! lines up to an LF, and to them `LF . CRLF` in a message would be its end, and what follows a reply.

use bytes::BytesMut;

/// Writes one message.
#[derive(Debug, Clone)]
pub struct Writer {
    last: Last,
    line: Line,
    part: Part,
}

/// The octets before the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    /// CRLF, or nothing came yet.
    LineEnd,
    /// LF alone: a line begins, and CRLF is still wanting at the end.
    BareLf,
    Cr,
    Other,
}

/// What came of the line so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Nothing,
    Cr,
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// All of it.
    Whole,
    /// In the header; so many lines are to follow the empty one.
    Header(u64),
    /// So many lines are still to come.
    Lines(u64),
}

impl Writer {
    /// The whole message, or its header and so many lines of the body.
    pub fn new(lines: Option<u64>) -> Self {
        Self { last: Last::LineEnd, line: Line::Nothing, part: lines.map_or(Part::Whole, Part::Header) }
    }

    /// Appends the wire form of the next octets to `out`; `false` when enough has come.
    pub fn push(&mut self, octets: &[u8], out: &mut BytesMut) -> bool {
        out.reserve(octets.len() + 64);
        let mut rest = octets;
        while self.part != Part::Lines(0) && !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |lf| lf + 1);
            let (piece, then) = rest.split_at(end);
            if matches!(self.last, Last::LineEnd | Last::BareLf) && piece[0] == b'.' {
                out.extend_from_slice(b".");
            }
            out.extend_from_slice(piece);
            match piece.split_last() {
                Some((b'\n', before)) => self.end_of_line(before),
                _ => self.middle_of_line(piece),
            }
            rest = then;
        }
        self.part != Part::Lines(0)
    }

    fn middle_of_line(&mut self, octets: &[u8]) {
        let Some(last) = octets.last() else { return };
        self.line = if self.line == Line::Nothing && octets == b"\r" { Line::Cr } else { Line::Text };
        self.last = if *last == b'\r' { Last::Cr } else { Last::Other };
    }

    /// `before` is what came of the line before its LF, in this piece.
    fn end_of_line(&mut self, before: &[u8]) {
        self.middle_of_line(before);
        self.last = if self.last == Last::Cr { Last::LineEnd } else { Last::BareLf };
        let is_blank = std::mem::replace(&mut self.line, Line::Nothing) != Line::Text;
        self.part = match self.part {
            Part::Header(lines) if is_blank => Part::Lines(lines),
            Part::Lines(lines) => Part::Lines(lines.saturating_sub(1)),
            part => part,
        };
    }

    /// Appends the end, after a CRLF of its own where the octets do not end in one.
    pub fn finish(self, out: &mut BytesMut) {
        if self.last != Last::LineEnd {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn write(pieces: &[&[u8]], lines: Option<u64>) -> Vec<u8> {
        let (mut writer, mut out) = (Writer::new(lines), BytesMut::new());
        for piece in pieces {
            if !writer.push(piece, &mut out) {
                break;
            }
        }
        writer.finish(&mut out);
        out.to_vec()
    }

    /// What a program does that takes lines up to LF, as most do; the octets behind the end of the message, too.
    fn read(wire: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let (mut message, mut rest) = (Vec::new(), wire);
        loop {
            let end = rest.iter().position(|b| *b == b'\n').expect("the message has an end") + 1;
            let (line, then) = rest.split_at(end);
            rest = then;
            match line.strip_prefix(b".") {
                Some(b"\r\n" | b"\n") => return (message, rest.to_vec()),
                Some(stuffed) => message.extend_from_slice(stuffed),
                None => message.extend_from_slice(line),
            }
        }
    }

    #[test]
    fn rows() {
        type Row<'a> = (&'a [u8], Option<u64>, &'a [u8]);
        let rows: &[Row<'_>] = &[
            (b"", None, b".\r\n"),
            (b"a", None, b"a\r\n.\r\n"),
            (b"a\r\n", None, b"a\r\n.\r\n"),
            (b"\r\n", None, b"\r\n.\r\n"),
            (b".\r\n", None, b"..\r\n.\r\n"),
            (b".", None, b"..\r\n.\r\n"),
            (b"a.\r\n..b\r\n", None, b"a.\r\n...b\r\n.\r\n"),
            // Profile §10: stored by IMAP as they came.
            (b"a\n", None, b"a\n\r\n.\r\n"),
            (b"a\n.\r\n+OK\r\n", None, b"a\n..\r\n+OK\r\n.\r\n"),
            (b"a\n.\nb\r\n", None, b"a\n..\nb\r\n.\r\n"),
            (b"a\r.\rb\r\n", None, b"a\r.\rb\r\n.\r\n"),
            (b"a\r", None, b"a\r\r\n.\r\n"),
            (b"a\0b\r\n", None, b"a\0b\r\n.\r\n"),
            // TOP
            (b"A: b\r\n\r\nx\r\ny\r\n", Some(0), b"A: b\r\n\r\n.\r\n"),
            (b"A: b\r\n\r\nx\r\ny\r\n", Some(1), b"A: b\r\n\r\nx\r\n.\r\n"),
            (b"A: b\r\n\r\nx\r\ny\r\n", Some(2), b"A: b\r\n\r\nx\r\ny\r\n.\r\n"),
            (b"A: b\r\n\r\nx\r\ny\r\n", Some(u64::MAX), b"A: b\r\n\r\nx\r\ny\r\n.\r\n"),
            (b"A: b\r\n\r\nx", Some(9), b"A: b\r\n\r\nx\r\n.\r\n"),
            (b"A: b\r\n\r\n.x\r\ny", Some(1), b"A: b\r\n\r\n..x\r\n.\r\n"),
            (b"A: b\r\n", Some(0), b"A: b\r\n.\r\n"),
            (b"\r\nx\r\ny\r\n", Some(1), b"\r\nx\r\n.\r\n"),
            (b"A: b\n\nx\ny\n", Some(1), b"A: b\n\nx\n\r\n.\r\n"),
            (b"A: b\r\n \r\n\r\r\n\r\nx\r\n", Some(0), b"A: b\r\n \r\n\r\r\n\r\n.\r\n"),
        ];
        for (message, lines, expected) in rows {
            let show = || format!("{:?} {lines:?}", String::from_utf8_lossy(message));
            assert_eq!(write(&[message], *lines), *expected, "{}", show());
            for cut in 0..message.len() {
                let (one, two) = message.split_at(cut);
                assert_eq!(write(&[one, two], *lines), *expected, "{} cut at {cut}", show());
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_stored(message in "([.a]|\r\n|\r|\n|\0){0,40}", cut in 0usize..41) {
            let octets = message.as_bytes();
            let (one, two) = octets.split_at(cut.min(octets.len()));
            let mut wire = write(&[one, two], None);
            wire.extend_from_slice(b"+OK next");
            let (read, rest) = read(&wire);
            let more: &[u8] = if octets.is_empty() || octets.ends_with(b"\r\n") { b"" } else { b"\r\n" };
            prop_assert_eq!(read, [octets, more].concat());
            prop_assert_eq!(rest, b"+OK next");
        }

        #[test]
        fn top_is_a_beginning_of_the_message(message in "([.a]|\r\n|\r|\n){0,40}", lines in 0u64..6) {
            let (top, rest) = read(&write(&[message.as_bytes()], Some(lines)));
            prop_assert!(rest.is_empty());
            let whole = read(&write(&[message.as_bytes()], None)).0;
            let top = if whole.starts_with(&top) { &top[..] } else { &top[..top.len() - 2] };
            prop_assert!(whole.starts_with(top));
        }
    }
}
