//! The home server's responses as octets: cut where one ends, and looked into only as far as the bridge has to.
//!
//! What is not understood passes on as it came. Nothing the server sends makes the bridge hold more than
//! [`LIMITS`]`.whole` octets: longer literals go past it.

use super::guard;
use bytes::{Buf as _, BytesMut};
use sealpost_proto::imap::{Limits, Received, Receiver};
use std::{io, ops::Range};
use zeroize::Zeroizing;

/// Octets held of one response. A SEARCH that finds a million messages has seven million in its line. Literals up to
/// `literal` are held with it; whole messages are longer for the most part, and go past without being copied.
pub(crate) const LIMITS: Limits = Limits { line: 8 * 1024 * 1024, literal: 4 * 1024, whole: 8 * 1024 * 1024 };

/// What comes next in the stream.
pub(crate) enum Next {
    /// Read more octets.
    More,
    /// A whole response, with its line end; or what is left of one behind a literal that went past.
    Whole(Zeroizing<Vec<u8>>),
    /// The beginning of a response up to and with the announcement of a long literal, whose octets follow: see
    /// [`Cutter::pass`].
    Literal(Zeroizing<Vec<u8>>),
}

/// Cuts a stream into responses.
pub(crate) struct Cutter {
    receiver: Receiver,
    /// Read and not yet cut.
    pub(crate) input: BytesMut,
    /// Octets of a literal that are still to pass.
    passing: u64,
    /// A literal has passed, and its response is not at its end.
    continued: bool,
}

impl Cutter {
    pub(crate) fn new(input: BytesMut) -> Self {
        Self { receiver: Receiver::new(LIMITS), input, passing: 0, continued: false }
    }

    /// The next response.
    pub(crate) fn next(&mut self) -> io::Result<Next> {
        debug_assert_eq!(self.passing, 0, "a literal is passing");
        loop {
            return match self.receiver.receive(&mut self.input) {
                Received::More => Ok(Next::More),
                Received::Whole => {
                    let line = self.receiver.take();
                    self.check(&line, false)?;
                    Ok(Next::Whole(line))
                }
                Received::Literal(head) if self.receiver.accept_literal(head) => continue,
                Received::Literal(head) => {
                    self.passing = head.len;
                    let line = self.receiver.pass_literal();
                    self.check(&line, true)?;
                    Ok(Next::Literal(line))
                }
                Received::TooLong | Received::Endless => {
                    Err(io::Error::new(io::ErrorKind::InvalidData, "a line without an end"))
                }
            };
        }
    }

    fn check(&mut self, piece: &[u8], goes_on: bool) -> io::Result<()> {
        let continued = std::mem::replace(&mut self.continued, goes_on);
        if guard::is_sound(piece, continued) {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "a response that can be read in two ways"))
    }

    /// Octets of the literal that are still to pass.
    pub(crate) fn left(&self) -> u64 {
        self.passing
    }

    /// Octets of the passing literal that are there; `None` when all have passed, an empty slice where more are to be
    /// read. The caller consumes them by [`Cutter::passed`].
    pub(crate) fn pass(&self) -> Option<&[u8]> {
        if self.passing == 0 {
            return None;
        }
        let n = usize::try_from(self.passing).unwrap_or(usize::MAX).min(self.input.len());
        Some(&self.input[..n])
    }

    /// `n` octets of what [`Cutter::pass`] gave are done with.
    pub(crate) fn passed(&mut self, n: usize) {
        self.input.advance(n);
        self.passing -= n as u64;
    }
}

/// A response, as far as the bridge tells them apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Response<'a> {
    /// `+ …`
    Continue,
    /// `tag OK …`: the tag, and what follows it.
    Tagged(&'a str, &'a [u8]),
    /// `* n FETCH (…)`: the number, and the octets within the parentheses where they are whole.
    Fetch(u32, &'a [u8]),
    /// `* n EXPUNGE`
    Expunge(u32),
    /// `* n EXISTS`
    Exists(u32),
    /// `* VANISHED 1:3,5` and `* VANISHED (EARLIER) 1:3,5`: the set, and whether (EARLIER) stands before it.
    Vanished(bool, &'a [u8]),
    /// `* ESEARCH … ALL 1:3,5`: the set; empty where there is none.
    Esearch(&'a [u8]),
    /// `* BYE …`
    Bye,
    /// `* CAPABILITY …`
    Capability,
    /// Anything else.
    Other,
}

/// Tells a response; of a FETCH that ends in a literal's announcement the beginning.
pub(crate) fn response(line: &[u8]) -> Response<'_> {
    parse(line).unwrap_or(Response::Other)
}

fn parse(line: &[u8]) -> Option<Response<'_>> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (first, rest) = word(line);
    if first == b"+" {
        return Some(Response::Continue);
    }
    if first != b"*" {
        return Some(Response::Tagged(std::str::from_utf8(first).ok()?, rest));
    }
    let (second, rest) = word(rest);
    if second.eq_ignore_ascii_case(b"VANISHED") {
        let (third, behind) = word(rest);
        return Some(if third.eq_ignore_ascii_case(b"(EARLIER)") {
            Response::Vanished(true, behind)
        } else {
            Response::Vanished(false, rest)
        });
    }
    if second.eq_ignore_ascii_case(b"ESEARCH") {
        let mut words = rest.split(|b| *b == b' ');
        let all = words.any(|word| word.eq_ignore_ascii_case(b"ALL"));
        return Some(Response::Esearch(words.next().filter(|_| all).unwrap_or_default()));
    }
    if second.eq_ignore_ascii_case(b"BYE") {
        return Some(Response::Bye);
    }
    if second.eq_ignore_ascii_case(b"CAPABILITY") {
        return Some(Response::Capability);
    }
    let number: u32 = std::str::from_utf8(second).ok()?.parse().ok()?;
    let (verb, rest) = word(rest);
    if verb.eq_ignore_ascii_case(b"EXPUNGE") {
        return Some(Response::Expunge(number));
    }
    if verb.eq_ignore_ascii_case(b"EXISTS") {
        return Some(Response::Exists(number));
    }
    if verb.eq_ignore_ascii_case(b"FETCH") {
        let items = rest.strip_prefix(b"(")?;
        return Some(Response::Fetch(number, items.strip_suffix(b")").unwrap_or(items)));
    }
    None
}

fn word(line: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b' ', line) {
        Some(at) => (&line[..at], &line[at + 1..]),
        None => (line, b""),
    }
}

/// An item of a FETCH response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// `FLAGS`, `BODY[HEADER.FIELDS (X)]<0>`: as written.
    pub(crate) name: Range<usize>,
    /// Its value, as written.
    pub(crate) value: Range<usize>,
}

/// The items of a FETCH response: what [`Response::Fetch`] gave. `None` where they cannot be told apart. A value that is
/// only announced (its literal goes past) is the announcement.
pub(crate) fn items(octets: &[u8]) -> Option<Vec<Item>> {
    let mut all = Vec::new();
    let mut at = 0;
    loop {
        while octets.get(at) == Some(&b' ') {
            at += 1;
        }
        if at >= octets.len() {
            return Some(all);
        }
        let name_end = end_of_name(octets, at)?;
        let start = name_end + 1;
        let end = end_of_value(octets, start)?;
        all.push(Item { name: at..name_end, value: start..end });
        at = end;
    }
}

/// A name ends at a space outside brackets.
fn end_of_name(octets: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_u32;
    loop {
        match octets.get(at)? {
            b'[' => depth += 1,
            b']' => depth = depth.checked_sub(1)?,
            b'"' => at = end_of_quoted(octets, at)? - 1,
            b'{' => at = end_of_literal(octets, at)? - 1,
            b' ' if depth == 0 => return Some(at),
            _ => {}
        }
        at += 1;
    }
}

pub(super) fn end_of_value(octets: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_u32;
    loop {
        match octets.get(at) {
            None => return (depth == 0).then_some(at),
            Some(b'(') => depth += 1,
            Some(b')') => depth = depth.checked_sub(1)?,
            Some(b'"') => at = end_of_quoted(octets, at)? - 1,
            Some(b'{') => at = end_of_literal(octets, at)? - 1,
            Some(b' ') if depth == 0 => return Some(at),
            Some(_) => {}
        }
        at += 1;
    }
}

/// Behind the parenthesis that closes the one at `at`.
pub(super) fn end_of_list(octets: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_u32;
    loop {
        match octets.get(at)? {
            b'(' => depth += 1,
            b')' if depth == 1 => return Some(at + 1),
            b')' => depth = depth.checked_sub(1)?,
            b'"' => at = end_of_quoted(octets, at)? - 1,
            b'{' => at = end_of_literal(octets, at)? - 1,
            _ => {}
        }
        at += 1;
    }
}

fn end_of_quoted(octets: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match octets.get(at)? {
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            _ => at += 1,
        }
    }
}

/// Behind the octets of a literal, or behind its announcement where its octets went past. `{` elsewhere is a letter.
fn end_of_literal(octets: &[u8], start: usize) -> Option<usize> {
    let rest = octets.get(start + 1..)?;
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let behind = rest.get(digits..)?;
    let behind = behind.strip_prefix(b"+").unwrap_or(behind);
    if digits == 0 || !behind.starts_with(b"}") {
        return Some(start + 1);
    }
    let announced = start + 1 + digits + (rest.len() - digits - behind.len()) + 1;
    let Some(line_end) = octets.get(announced..).filter(|rest| rest.starts_with(b"\r\n")) else {
        return Some(octets.len().min(announced));
    };
    let length: usize = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    if line_end.len() == 2 && length > 0 {
        return Some(octets.len());
    }
    let end = announced.checked_add(2)?.checked_add(length)?;
    (end <= octets.len()).then_some(end)
}

/// A FETCH response without MODSEQ, for programs that did not ask for it. Others as they are.
pub(crate) fn without_modseq(line: &[u8]) -> Vec<u8> {
    let cut = || {
        let Response::Fetch(number, octets) = response(line) else { return None };
        let kept: Vec<&[u8]> = items(octets)?
            .iter()
            .filter(|item| !octets[item.name.clone()].eq_ignore_ascii_case(b"MODSEQ"))
            .map(|item| &octets[item.name.start..item.value.end])
            .collect();
        Some([format!("* {number} FETCH (").as_bytes(), &kept.join(&b' '), b")\r\n"].concat())
    };
    cut().unwrap_or_else(|| line.to_vec())
}

/// The octets of a string, quoted or literal; `None` for NIL and what is none.
pub(crate) fn string(value: &[u8]) -> Option<Vec<u8>> {
    if let Some(inner) = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) {
        let mut out = Vec::with_capacity(inner.len());
        let mut octets = inner.iter();
        while let Some(octet) = octets.next() {
            out.push(if *octet == b'\\' { *octets.next()? } else { *octet });
        }
        return Some(out);
    }
    let value = value.strip_prefix(b"~").unwrap_or(value);
    value.strip_prefix(b"{")?;
    let at = memchr::memchr(b'\n', value)?;
    Some(value[at + 1..].to_vec())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(stream: &[u8], piece: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut cutter = Cutter::new(BytesMut::new());
        let mut all = Vec::new();
        for octets in stream.chunks(piece) {
            cutter.input.extend_from_slice(octets);
            loop {
                if let Some(passing) = cutter.pass() {
                    let n = passing.len();
                    if n == 0 {
                        break;
                    }
                    let passed = passing.to_vec();
                    all.last_mut()
                        .map(|(_, literal): &mut (Vec<u8>, Vec<u8>)| literal.extend(passed))
                        .unwrap();
                    cutter.passed(n);
                    continue;
                }
                match cutter.next().unwrap() {
                    Next::More => break,
                    Next::Whole(line) | Next::Literal(line) => all.push((line.to_vec(), Vec::new())),
                }
            }
        }
        all
    }

    #[test]
    fn modseq_is_cut_out() {
        for (line, want) in [
            ("* 5 FETCH (UID 9 FLAGS (\\Seen) MODSEQ (77))\r\n", "* 5 FETCH (UID 9 FLAGS (\\Seen))\r\n"),
            ("* 5 FETCH (MODSEQ (77) FLAGS ())\r\n", "* 5 FETCH (FLAGS ())\r\n"),
            ("* 5 EXISTS\r\n", "* 5 EXISTS\r\n"),
        ] {
            assert_eq!(without_modseq(line.as_bytes()), want.as_bytes(), "{line}");
        }
    }

    #[test]
    fn responses_are_cut_and_long_literals_pass() {
        let long = "x".repeat(70_000);
        let stream = format!(
            "* OK hi\r\n* 1 FETCH (BODY[] {{3}}\r\na\r\n UID 5)\r\n* 2 FETCH (UID 6 BODY[] {{70000}}\r\n{long})\r\nt OK\r\n"
        );
        let want: Vec<(&str, usize)> = vec![
            ("* OK hi\r\n", 0),
            ("* 1 FETCH (BODY[] {3}\r\na\r\n UID 5)\r\n", 0),
            ("* 2 FETCH (UID 6 BODY[] {70000}\r\n", 70_000),
            (")\r\n", 0),
            ("t OK\r\n", 0),
        ];
        for piece in [1, 7, 4096, stream.len()] {
            let got = cut(stream.as_bytes(), piece);
            let got: Vec<(&str, usize)> = got
                .iter()
                .map(|(line, literal)| (std::str::from_utf8(line).unwrap(), literal.len()))
                .collect();
            assert_eq!(got, want, "{piece}");
        }
    }

    #[test]
    fn a_line_may_be_as_long_as_a_search_of_a_million_messages() {
        for (octets, taken) in [(LIMITS.line, true), (LIMITS.line + 1, false)] {
            let line = format!("* SEARCH{}\r\n", " ".repeat(octets - 10));
            let mut cutter = Cutter::new(BytesMut::from(line.as_bytes()));
            assert_eq!(cutter.next().is_ok(), taken, "{octets}");
        }
    }

    #[test]
    fn responses_are_told_apart() {
        for (line, want) in [
            ("+ idling\r\n", Response::Continue),
            ("a1 OK [X] done\r\n", Response::Tagged("a1", b"OK [X] done")),
            ("* 5 FETCH (UID 7)\r\n", Response::Fetch(5, b"UID 7")),
            ("* 5 FETCH (BODY[] {9}\r\n", Response::Fetch(5, b"BODY[] {9}")),
            ("* 3 expunge\r\n", Response::Expunge(3)),
            ("* 3 EXISTS\r\n", Response::Exists(3)),
            ("* VANISHED 1:3\r\n", Response::Vanished(false, b"1:3")),
            ("* VANISHED (EARLIER) 1:3\r\n", Response::Vanished(true, b"1:3")),
            ("* ESEARCH (TAG \"a\") UID MIN 2 ALL 2:4,9 COUNT 4\r\n", Response::Esearch(b"2:4,9")),
            ("* ESEARCH (TAG \"a\") ALL 7\r\n", Response::Esearch(b"7")),
            ("* ESEARCH (TAG \"a\")\r\n", Response::Esearch(b"")),
            ("* BYE gone\r\n", Response::Bye),
            ("* CAPABILITY IMAP4rev1\r\n", Response::Capability),
            ("* 4294967296 EXISTS\r\n", Response::Other),
            ("* LIST () \"/\" x\r\n", Response::Other),
            ("* 1 FETCH x\r\n", Response::Other),
        ] {
            assert_eq!(response(line.as_bytes()), want, "{line}");
        }
    }

    #[test]
    fn items_are_told_apart() {
        let octets = b"UID 7 FLAGS (\\Seen a) BODY[HEADER.FIELDS (\"X ]\" Y)]<0> {5}\r\na) \r\n ENVELOPE (\"a\\\")\" NIL (x)) \
                       INTERNALDATE \"1 (\" BODY[] {99}\r\n";
        let all: Vec<(&str, &str)> = items(octets)
            .unwrap()
            .into_iter()
            .map(|i| {
                (
                    std::str::from_utf8(&octets[i.name]).unwrap(),
                    std::str::from_utf8(&octets[i.value]).unwrap(),
                )
            })
            .collect();
        assert_eq!(
            all,
            [
                ("UID", "7"),
                ("FLAGS", "(\\Seen a)"),
                ("BODY[HEADER.FIELDS (\"X ]\" Y)]<0>", "{5}\r\na) \r\n"),
                ("ENVELOPE", "(\"a\\\")\" NIL (x))"),
                ("INTERNALDATE", "\"1 (\""),
                ("BODY[]", "{99}\r\n"),
            ]
        );
        for bad in ["UID", "UID (", "UID )", "X \"", "BODY[ 1", "X {5}\r\na"] {
            assert_eq!(items(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(string(b"\"a\\\"b\""), Some(b"a\"b".to_vec()));
        assert_eq!(string(b"~{3}\r\na\r\n"), Some(b"a\r\n".to_vec()));
        assert_eq!(string(b"NIL"), None);
    }

    proptest! {
        #[test]
        fn never_panics(octets in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = (response(&octets), items(&octets), string(&octets));
        }
        #[test]
        fn items_of_odd_grammar(text in "[A-Z \\[\\](){}\"\\\\0-9+\r\n]{0,40}") {
            if let Some(all) = items(text.as_bytes()) {
                for item in all {
                    prop_assert!(item.name.end < item.value.start && item.value.end <= text.len());
                }
            }
        }
    }
}
