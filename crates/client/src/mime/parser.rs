//! The structure of a MIME message, fed piece by piece (RFC 2046 §5.1). Line by line: a part's octets go to a [`Sink`]
//! as they are decoded, and nothing but the current header and one line is held.

use super::parameters::Parameters;
use sealpost_proto::message::Header;
use sealpost_proto::message::transfer::Decoder;
use std::io;

/// Deepest nesting of multiparts entered; what lies deeper is one attachment.
const MAX_DEPTH: usize = 20;

/// Most parts given to the sink; real mail has fewer than 100.
pub(crate) const MAX_PARTS: usize = 1_000;

/// Longest header of a part.
const MAX_PART_HEADER_OCTETS: usize = 64 * 1024;

/// Longest line compared with boundaries: RFC 2046 allows 70 characters, with two dashes at each end and white space.
const MAX_BOUNDARY_LINE_OCTETS: usize = 300;

/// Longest boundary taken: RFC 2046 says 70, some writers say more.
const MAX_BOUNDARY_OCTETS: usize = 200;

/// A leaf of the message.
#[derive(Debug, Clone, Default)]
pub(crate) struct Part {
    /// Content-Type.
    pub(crate) content_type: Parameters,
    /// Content-Disposition.
    pub(crate) disposition: Parameters,
    /// Which multipart/alternative it stands in, the innermost, counted from 1.
    pub(crate) alternative: Option<usize>,
    /// It is all there is: the message has one part, and the message's own header describes it.
    pub(crate) whole: bool,
}

impl Part {
    /// The file's name, if it has one.
    pub(crate) fn name(&self) -> Option<&str> {
        self.disposition.get("filename").or_else(|| self.content_type.get("name"))
    }
}

/// Takes the leaves of a message.
pub(crate) trait Sink {
    /// A leaf begins.
    fn begin(&mut self, part: &Part) -> io::Result<()>;
    /// Decoded octets of the leaf.
    fn data(&mut self, octets: &[u8]) -> io::Result<()>;
    /// The leaf ends.
    fn end(&mut self) -> io::Result<()>;
}

struct Multipart {
    boundary: Vec<u8>,
    alternative: Option<usize>,
}

enum State {
    /// In the header of a part.
    Header(Vec<u8>),
    /// In a leaf. The line end last seen is held back: before a boundary it belongs to the boundary.
    Leaf(Decoder),
    /// Outside any part: before the first boundary of a multipart or behind the last.
    Between,
}

/// A message in the reading.
pub(crate) struct Parser<S> {
    sink: S,
    max_depth: usize,
    state: State,
    open: Vec<Multipart>,
    /// The line so far.
    line: Vec<u8>,
    /// Whether `line` is the rest of a line whose start was too long to be a boundary.
    inside_line: bool,
    held_line_end: Vec<u8>,
    alternatives: usize,
    parts: usize,
    decoded: Vec<u8>,
    /// More parts or deeper ones than are read.
    pub(crate) overfull: bool,
}

impl<S: Sink> Parser<S> {
    /// For the body of a message with this header.
    pub(crate) fn new(header: &Header, sink: S) -> io::Result<Self> {
        Self::with_depth(header, sink, MAX_DEPTH)
    }

    /// The same, entering multiparts no deeper than `max_depth`.
    pub(crate) fn with_depth(header: &Header, sink: S, max_depth: usize) -> io::Result<Self> {
        let mut parser = Self {
            sink,
            max_depth,
            state: State::Between,
            open: Vec::new(),
            line: Vec::new(),
            inside_line: false,
            held_line_end: Vec::new(),
            alternatives: 0,
            parts: 0,
            decoded: Vec::new(),
            overfull: false,
        };
        parser.enter(header)?;
        Ok(parser)
    }

    /// The next octets.
    pub(crate) fn feed(&mut self, octets: &[u8]) -> io::Result<()> {
        let mut rest = octets;
        while !rest.is_empty() {
            let end = rest.iter().position(|&b| b == b'\n').map(|i| i + 1);
            let (piece, behind) = rest.split_at(end.unwrap_or(rest.len()));
            rest = behind;
            self.line.extend_from_slice(piece);
            if end.is_some() {
                self.line_done()?;
            } else if self.line.len() > MAX_BOUNDARY_LINE_OCTETS {
                // No boundary: hand on what there is, without a CR that may belong to the line's end.
                let mut line = std::mem::take(&mut self.line);
                let cr = line.ends_with(b"\r");
                line.truncate(line.len() - usize::from(cr));
                self.content(&line)?;
                line.clear();
                line.extend_from_slice(if cr { b"\r" } else { b"" });
                self.line = line;
                self.inside_line = true;
            }
        }
        Ok(())
    }

    /// The end; gives the sink back.
    pub(crate) fn finish(mut self) -> io::Result<S> {
        if !self.line.is_empty() {
            self.line_done()?;
        }
        if let State::Header(octets) = &mut self.state {
            let octets = std::mem::take(octets);
            self.header_done(&octets)?;
        }
        // Nothing followed: the line end was content.
        self.release_line_end()?;
        self.end_leaf()?;
        Ok(self.sink)
    }

    fn line_done(&mut self) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        let whole = !std::mem::replace(&mut self.inside_line, false);
        let result = match self.boundary(&line).filter(|_| whole) {
            Some((level, last)) => self.at_boundary(level, last),
            None => self.content(&line),
        };
        self.line = line;
        self.line.clear();
        result
    }

    /// Which open multipart the line is a boundary of, and whether it is the closing one.
    fn boundary(&self, line: &[u8]) -> Option<(usize, bool)> {
        let text = line.strip_prefix(b"--")?.trim_ascii_end();
        if line.len() > MAX_BOUNDARY_LINE_OCTETS {
            return None;
        }
        self.open.iter().enumerate().rev().find_map(|(level, multipart)| {
            match text.strip_prefix(multipart.boundary.as_slice())? {
                b"" => Some((level, false)),
                b"--" => Some((level, true)),
                _ => None,
            }
        })
    }

    fn at_boundary(&mut self, level: usize, last: bool) -> io::Result<()> {
        if let State::Header(octets) = &mut self.state {
            let octets = std::mem::take(octets);
            self.header_done(&octets)?;
        }
        self.held_line_end.clear();
        self.end_leaf()?;
        self.open.truncate(if last { level } else { level + 1 });
        self.state = if last { State::Between } else { State::Header(Vec::new()) };
        Ok(())
    }

    /// A line, or a piece of a long one.
    fn content(&mut self, line: &[u8]) -> io::Result<()> {
        match &mut self.state {
            State::Between => Ok(()),
            State::Header(octets) => {
                let blank = !self.inside_line && matches!(line, b"\r\n" | b"\n");
                if !blank && octets.len() + line.len() <= MAX_PART_HEADER_OCTETS {
                    octets.extend_from_slice(line);
                    return Ok(());
                }
                let octets = std::mem::take(octets);
                self.header_done(&octets)
            }
            State::Leaf(_) => {
                self.release_line_end()?;
                let end = if line.ends_with(b"\r\n") { 2 } else { usize::from(line.ends_with(b"\n")) };
                let (text, line_end) = line.split_at(line.len() - end);
                self.held_line_end.extend_from_slice(line_end);
                self.decode(text)
            }
        }
    }

    fn release_line_end(&mut self) -> io::Result<()> {
        let held = std::mem::take(&mut self.held_line_end);
        let result = if held.is_empty() { Ok(()) } else { self.decode(&held) };
        self.held_line_end = held;
        self.held_line_end.clear();
        result
    }

    fn decode(&mut self, octets: &[u8]) -> io::Result<()> {
        let State::Leaf(decoder) = &mut self.state else { return Ok(()) };
        decoder.feed(octets, &mut self.decoded);
        // In pieces worth a call: lines are short.
        if self.decoded.len() >= 32 * 1024 {
            self.sink.data(&self.decoded)?;
            self.decoded.clear();
        }
        Ok(())
    }

    fn end_leaf(&mut self) -> io::Result<()> {
        if let State::Leaf(decoder) = &mut self.state {
            decoder.finish(&mut self.decoded);
            self.state = State::Between;
            self.sink.data(&self.decoded)?;
            self.decoded.clear();
            self.sink.end()?;
        }
        Ok(())
    }

    fn header_done(&mut self, octets: &[u8]) -> io::Result<()> {
        // A header with too many fields is no header.
        let header = Header::read(octets).map(|(header, _)| header).unwrap_or_default();
        self.enter(&header)
    }

    /// Begins the entity with this header.
    fn enter(&mut self, header: &Header) -> io::Result<()> {
        let field =
            |name: &str| header.first(name).map(sealpost_proto::message::Field::unfolded).unwrap_or_default();
        let content_type = Parameters::parse(&field("Content-Type"));
        if content_type.value.starts_with("multipart/")
            && let Some(boundary) = content_type.get("boundary").filter(|b| !b.is_empty())
            && boundary.len() <= MAX_BOUNDARY_OCTETS
            && self.open.len() < self.max_depth
        {
            let alternative = if content_type.value == "multipart/alternative" {
                self.alternatives += 1;
                Some(self.alternatives)
            } else {
                self.open.last().and_then(|m| m.alternative)
            };
            self.open.push(Multipart { boundary: boundary.trim_end().as_bytes().to_vec(), alternative });
            self.state = State::Between;
            return Ok(());
        }
        self.parts += 1;
        if self.parts > MAX_PARTS {
            self.overfull = true;
            self.state = State::Between;
            return Ok(());
        }
        self.overfull |= self.open.len() >= self.max_depth && content_type.value.starts_with("multipart/");
        let part = Part {
            content_type,
            disposition: Parameters::parse(&field("Content-Disposition")),
            alternative: self.open.last().and_then(|m| m.alternative),
            whole: self.open.is_empty() && self.parts == 1,
        };
        self.sink.begin(&part)?;
        let encoding = field("Content-Transfer-Encoding");
        self.state = State::Leaf(Decoder::new(&String::from_utf8_lossy(&encoding)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Type, alternative and content of each leaf.
    type Leaves = Vec<(String, Option<usize>, Vec<u8>)>;

    #[derive(Default)]
    struct Collect(Leaves);

    impl Sink for Collect {
        fn begin(&mut self, part: &Part) -> io::Result<()> {
            self.0.push((part.content_type.value.clone(), part.alternative, Vec::new()));
            Ok(())
        }
        fn data(&mut self, octets: &[u8]) -> io::Result<()> {
            if let Some((_, _, data)) = self.0.last_mut() {
                data.extend_from_slice(octets);
            }
            Ok(())
        }
        fn end(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn parse(octets: &[u8], step: usize) -> (Leaves, bool) {
        let (header, body) = Header::read(octets).unwrap_or_default();
        let mut parser = Parser::new(&header, Collect::default()).expect("no I/O");
        for piece in octets[body..].chunks(step.max(1)) {
            parser.feed(piece).expect("no I/O");
        }
        let overfull = parser.overfull;
        (parser.finish().expect("no I/O").0, overfull)
    }

    fn texts(message: &str) -> Vec<String> {
        let whole = parse(message.as_bytes(), usize::MAX).0;
        for step in [1, 2, 3, 7] {
            assert_eq!(parse(message.as_bytes(), step).0, whole, "in steps of {step}");
        }
        whole.into_iter().map(|(t, a, d)| format!("{t}|{a:?}|{}", String::from_utf8_lossy(&d))).collect()
    }

    #[test]
    fn a_message_without_mime_is_one_leaf() {
        assert_eq!(texts("Subject: x\r\n\r\nhello\r\nyou\r\n"), ["|None|hello\r\nyou\r\n"]);
        assert_eq!(texts("Content-Transfer-Encoding: base64\r\n\r\naGVs\r\nbG8=\r\n"), ["|None|hello"]);
        assert_eq!(texts("Subject: x\r\n\r\n"), ["|None|"]);
    }

    #[test]
    fn multiparts_nest_and_an_outer_boundary_closes_the_inner() {
        let message = "Content-Type: multipart/mixed; boundary=\"a b\"\r\n\r\npreamble\r\n--a b\r\n\
            Content-Type: multipart/alternative; boundary=in\r\n\r\n--in\r\nContent-Type: text/plain\r\n\r\none\r\n\r\n\
            --in \t\r\nContent-Type: text/html\r\n\r\n<two>\r\n--a b\r\n\r\nthree\r\n--a b--\r\nepilogue\r\n--a b\r\nx\r\n";
        assert_eq!(texts(message), ["text/plain|Some(1)|one\r\n", "text/html|Some(1)|<two>", "|None|three"]);
    }

    #[test]
    fn odd_structures() {
        let rows: [(&str, &[&str]); 6] = [
            // Never closed.
            ("Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nhello", &["|None|hello"]),
            // No boundary given: one leaf.
            ("Content-Type: multipart/mixed\r\n\r\nhello\r\n", &["multipart/mixed|None|hello\r\n"]),
            // Boundary directly behind the header.
            ("Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nA: b\r\n--x--\r\n", &["|None|"]),
            // Longer line with the same start is no boundary.
            ("Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\n--xy\r\n--x--", &["|None|--xy"]),
            // LF only.
            ("Content-Type: multipart/mixed; boundary=x\n\n--x\n\na\nb\n--x--\n", &["|None|a\nb"]),
            // An attached message is not entered.
            (
                "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: message/rfc822\r\n\r\nA: b\r\n\r\nc\r\n--x--",
                &["message/rfc822|None|A: b\r\n\r\nc"],
            ),
        ];
        for (message, want) in rows {
            assert_eq!(texts(message), want, "{message:?}");
        }
        let long = format!("A: b\r\n\r\n{}\r\n--\r\n", "x".repeat(100_000));
        assert_eq!(parse(long.as_bytes(), 1000).0[0].2.len(), 100_006);
    }

    #[test]
    fn depth_and_parts_are_limited() {
        let message: Vec<String> = (0..MAX_DEPTH + 5)
            .map(|i| format!("Content-Type: multipart/mixed; boundary=b{i}x\r\n\r\n--b{i}x\r\n"))
            .collect();
        let message = message.concat();
        let (parts, overfull) = parse(message.as_bytes(), 100);
        assert!(overfull && parts.len() == 1);
        for (n, over) in [(MAX_PARTS, false), (MAX_PARTS + 1, true)] {
            let message =
                format!("Content-Type: multipart/mixed; boundary=x\r\n\r\n{}", "--x\r\n\r\na\r\n".repeat(n));
            let (parts, overfull) = parse(message.as_bytes(), 5000);
            assert_eq!((parts.len(), overfull), (MAX_PARTS, over));
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_cuts_change_nothing(
            text in "(--x|--y|\r\n|\n|--|Content-Type: multipart/mixed; boundary=[xy]|a|=|: ){0,40}",
            step in 1..20_usize,
        ) {
            let message = format!("Content-Type: multipart/mixed; boundary=x\r\n\r\n{text}");
            prop_assert_eq!(parse(message.as_bytes(), step), parse(message.as_bytes(), usize::MAX));
        }
    }
}
