//! Cuts a stream of octets into commands (or, on the client's side, responses): lines with literals in them.
//!
//! Three outcomes are kept apart: more octets are needed, a literal begins here, and this is wrong. Who receives
//! decides about a literal: take it into memory, or let its octets go past the receiver (APPEND, FETCH).

use bytes::BytesMut;
use zeroize::Zeroizing;

/// What bounds a receiver.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest line (between literals), in octets.
    pub line: usize,
    /// Longest literal taken into memory, in octets.
    pub literal: usize,
    /// Lines and literals of one command together, in octets.
    pub whole: usize,
}

impl Limits {
    /// A server's limits: RFC 7162 §4 asks for lines of 8,192; sets of UIDs make longer ones.
    pub const SERVER: Self = Self { line: 64 * 1024, literal: 64 * 1024, whole: 256 * 1024 };
    /// A client's limits: a server's ENVELOPE or header fields may be long, and a hostile one longer.
    pub const CLIENT: Self = Self { line: 1024 * 1024, literal: 4 * 1024 * 1024, whole: 8 * 1024 * 1024 };
}

/// A literal's announcement: `{n}`, `{n+}`, `~{n}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiteralHead {
    /// Octets that follow.
    pub len: u64,
    /// The sender waits for `+ ` (synchronising).
    pub sync: bool,
    /// literal8 (RFC 3516): may hold NUL.
    pub binary: bool,
}

/// What came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Received {
    /// Feed more octets.
    More,
    /// A literal begins. Answer with [`Receiver::accept_literal`], [`Receiver::pass_literal`] or
    /// [`Receiver::skip_literal`].
    Literal(LiteralHead),
    /// A whole command: [`Receiver::take`] gives it.
    Whole,
    /// A line or the whole was longer than its limit. Its octets have been thrown away, up to its end; the
    /// beginning is there for [`Receiver::take`], so that a reply can carry the tag.
    TooLong,
    /// More would have to be thrown away than anybody sends by mistake. The receiver is of no more use: what follows
    /// must not be read as commands.
    Endless,
}

enum State {
    Line,
    /// Literal octets still to come into memory.
    Literal(u64),
    /// Throwing away the rest of a line that is too long.
    Discard,
    /// Throwing away a literal in a command that is refused.
    DiscardLiteral(u64),
    /// Waiting for the decision about a literal.
    Decide,
}

/// Octets kept of what is thrown away: enough to see `~{4294967295+}` CRLF at the end.
const TAIL: usize = 32;
/// Octets kept of the beginning of a command that is too long: its tag.
const HEAD: usize = 256;
/// Octets of one command that are thrown away in the hope of its end.
const DISCARD_MAX: u64 = 2 * 1024 * 1024;

/// The receiver.
pub struct Receiver {
    limits: Limits,
    state: State,
    buffer: Zeroizing<Vec<u8>>,
    /// Where the current line starts in `buffer`.
    line_start: usize,
    tail: Vec<u8>,
    /// Octets of this command thrown away so far.
    discarded: u64,
}

impl Receiver {
    /// Starts before the first octet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Line,
            buffer: Zeroizing::new(Vec::new()),
            line_start: 0,
            tail: Vec::new(),
            discarded: 0,
        }
    }

    /// Counts what is to be thrown away; `false` if it is too much.
    fn discard(&mut self, octets: u64) -> bool {
        self.discarded = self.discarded.saturating_add(octets);
        self.discarded <= DISCARD_MAX
    }

    /// Consumes octets of `input` up to the next outcome.
    pub fn receive(&mut self, input: &mut BytesMut) -> Received {
        loop {
            match self.state {
                State::Decide => {
                    debug_assert!(false, "a literal was announced and nothing decided");
                    return Received::More;
                }
                State::Literal(left) => {
                    let n = take_len(left, input.len());
                    self.buffer.extend_from_slice(&input.split_to(n));
                    let left = left - n as u64;
                    if left > 0 {
                        self.state = State::Literal(left);
                        return Received::More;
                    }
                    self.line_start = self.buffer.len();
                    self.state = State::Line;
                }
                State::DiscardLiteral(left) => {
                    let n = take_len(left, input.len());
                    drop(input.split_to(n));
                    let left = left - n as u64;
                    if left > 0 {
                        self.state = State::DiscardLiteral(left);
                        return Received::More;
                    }
                    self.tail.clear();
                    self.state = State::Discard;
                }
                State::Line => {
                    let end = memchr::memchr(b'\n', input);
                    let n = end.map_or(input.len(), |at| at + 1);
                    let line = self.buffer.len() - self.line_start + n;
                    if line > self.limits.line || self.buffer.len() + n > self.limits.whole {
                        // What has come of this line may be the beginning of an announcement.
                        let line = &self.buffer[self.line_start..];
                        self.tail = line[line.len().saturating_sub(TAIL)..].to_vec();
                        // Counted from the line's start, so that it does not matter how the input is cut.
                        self.discarded = self.discarded.saturating_add(line.len() as u64);
                        let keep = self.buffer.len().min(HEAD);
                        self.buffer.truncate(keep);
                        let more = (HEAD - keep).min(n);
                        self.buffer.extend_from_slice(&input[..more]);
                        self.state = State::Discard;
                        continue;
                    }
                    self.buffer.extend_from_slice(&input.split_to(n));
                    if end.is_none() {
                        return Received::More;
                    }
                    let Some(head) = literal_head(&self.buffer[self.line_start..]) else {
                        return Received::Whole;
                    };
                    self.state = State::Decide;
                    return Received::Literal(head);
                }
                State::Discard => {
                    let end = memchr::memchr(b'\n', input);
                    let n = end.map_or(input.len(), |at| at + 1);
                    if !self.discard(n as u64) {
                        return Received::Endless;
                    }
                    let taken = input.split_to(n);
                    self.tail.extend_from_slice(&taken[taken.len().saturating_sub(TAIL)..]);
                    let cut = self.tail.len().saturating_sub(TAIL);
                    self.tail.drain(..cut);
                    if end.is_none() {
                        return Received::More;
                    }
                    // A client that does not wait for `+` has sent its literal already: it must not be read as
                    // commands. One that waits gets BAD and sends nothing.
                    match literal_head(&self.tail) {
                        Some(head) if !head.sync => {
                            if !self.discard(head.len) {
                                return Received::Endless;
                            }
                            self.state = State::DiscardLiteral(head.len);
                        }
                        _ => {
                            self.state = State::Line;
                            return Received::TooLong;
                        }
                    }
                }
            }
        }
    }

    /// The command so far (to its literal, announcement included).
    pub fn so_far(&self) -> &[u8] {
        &self.buffer
    }

    /// Takes the announced literal into memory; `false` (and nothing done) if it is longer than the limits.
    #[must_use]
    pub fn accept_literal(&mut self, head: LiteralHead) -> bool {
        let room = self.limits.whole.saturating_sub(self.buffer.len()).min(self.limits.literal);
        if head.len > room as u64 {
            return false;
        }
        self.state = State::Literal(head.len);
        true
    }

    /// The caller takes the literal's octets from the input itself and then calls [`Receiver::receive`] again,
    /// which goes on with the line behind it in a fresh buffer. Gives the command so far.
    pub fn pass_literal(&mut self) -> Zeroizing<Vec<u8>> {
        self.state = State::Line;
        self.take()
    }

    /// Refuses the literal and what follows it up to the end of the command; for one that is synchronising the
    /// command ends here. Afterwards, [`Received::TooLong`] tells that it is over.
    pub fn skip_literal(&mut self, head: LiteralHead) {
        let keep = self.buffer.len().min(HEAD);
        self.buffer.truncate(keep);
        self.discarded = self.discarded.saturating_add(head.len);
        self.state = State::DiscardLiteral(head.len);
    }

    /// The command is over at the announcement of a synchronising literal that is refused; gives the command so far.
    pub fn refuse_literal(&mut self) -> Zeroizing<Vec<u8>> {
        self.state = State::Line;
        self.take()
    }

    /// The received command; the receiver starts again.
    pub fn take(&mut self) -> Zeroizing<Vec<u8>> {
        self.line_start = 0;
        self.discarded = 0;
        std::mem::replace(&mut self.buffer, Zeroizing::new(Vec::new()))
    }
}

fn take_len(left: u64, available: usize) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(available)
}

/// `literal = "{" number64 ["+"] "}" CRLF`, `literal8 = "~" literal` at the end of a line. A lone LF ends lines too:
/// clients by hand do that, and what is read as a literal must never depend on a CR.
pub fn literal_head(line: &[u8]) -> Option<LiteralHead> {
    let line = line.strip_suffix(b"\n")?;
    let line = line.strip_suffix(b"\r").unwrap_or(line).strip_suffix(b"}")?;
    let open = line.iter().rposition(|b| *b == b'{')?;
    let (before, digits) = (&line[..open], &line[open + 1..]);
    let (digits, sync) = digits.strip_suffix(b"+").map_or((digits, true), |d| (d, false));
    if digits.is_empty() || digits.len() > 19 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let len = std::str::from_utf8(digits).ok()?.parse::<u64>().ok().filter(|n| i64::try_from(*n).is_ok())?;
    // A literal stands where a value starts: behind a space, a parenthesis or a `~`; `"a{1}"` within quotes ends in
    // a quote and cannot come here.
    Some(LiteralHead { len, sync, binary: before.ends_with(b"~") })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn receiver() -> Receiver {
        Receiver::new(Limits { line: 100, literal: 50, whole: 200 })
    }

    #[test]
    fn a_line() {
        let mut r = receiver();
        let mut input = BytesMut::from(&b"a NOOP\r\nb "[..]);
        assert_eq!(r.receive(&mut input), Received::Whole);
        assert_eq!(&r.take()[..], b"a NOOP\r\n");
        assert_eq!(r.receive(&mut input), Received::More);
    }

    #[test]
    fn literals_in_memory() {
        let mut r = receiver();
        let mut input = BytesMut::from(&b"a LOGIN {2}\r\nxy {3+}\r\n\r\nz\r\n"[..]);
        let head = LiteralHead { len: 2, sync: true, binary: false };
        assert_eq!(r.receive(&mut input), Received::Literal(head));
        assert!(r.accept_literal(head));
        let head = LiteralHead { len: 3, sync: false, binary: false };
        assert_eq!(r.receive(&mut input), Received::Literal(head));
        assert!(r.accept_literal(head));
        assert_eq!(r.receive(&mut input), Received::Whole);
        assert_eq!(&r.take()[..], b"a LOGIN {2}\r\nxy {3+}\r\n\r\nz\r\n");
    }

    #[test]
    fn passing_a_literal_leaves_its_octets_to_the_caller() {
        let mut r = receiver();
        let mut input = BytesMut::from(&b"a APPEND x ~{3}\r\nabc\r\n"[..]);
        let Received::Literal(head) = r.receive(&mut input) else { panic!() };
        assert!(head.binary);
        assert_eq!(&r.pass_literal()[..], b"a APPEND x ~{3}\r\n");
        assert_eq!(&input.split_to(3)[..], b"abc");
        assert_eq!(r.receive(&mut input), Received::Whole);
        assert_eq!(&r.take()[..], b"\r\n");
    }

    #[test]
    fn limits_one_below_and_one_above() {
        let mut r = receiver();
        let mut input =
            BytesMut::from(format!("{}\r\n{}\r\nc\r\n", "a".repeat(98), "b".repeat(99)).as_bytes());
        assert_eq!(r.receive(&mut input), Received::Whole);
        let _ = r.take();
        assert_eq!(r.receive(&mut input), Received::TooLong);
        let _ = r.take();
        assert_eq!(r.receive(&mut input), Received::Whole);
        assert_eq!(&r.take()[..], b"c\r\n");
        let mut input = BytesMut::from(&b"a {51}\r\n"[..]);
        let Received::Literal(head) = r.receive(&mut input) else { panic!() };
        assert!(!r.accept_literal(head));
        assert_eq!(&r.refuse_literal()[..], b"a {51}\r\n");
    }

    #[test]
    fn a_refused_literal_is_never_read_as_commands() {
        let mut r = receiver();
        let long = "x".repeat(300);
        let mut input = BytesMut::from(format!("a {long} {{9+}}\r\nb LOGOUT\n\r\nc NOOP\r\n").as_bytes());
        assert_eq!(r.receive(&mut input), Received::TooLong);
        assert!(r.take().starts_with(b"a xx"));
        assert_eq!(r.receive(&mut input), Received::Whole);
        assert_eq!(&r.take()[..], b"c NOOP\r\n");
        let mut input = BytesMut::from(&b"a {60+}\r\n"[..]);
        let Received::Literal(head) = r.receive(&mut input) else { panic!() };
        r.skip_literal(head);
        input.extend_from_slice(&[b'\n'; 60]);
        input.extend_from_slice(b" {1+}\r\n\n\r\nd\r\n");
        assert_eq!(r.receive(&mut input), Received::TooLong);
        let _ = r.take();
        assert_eq!(r.receive(&mut input), Received::Whole);
        assert_eq!(&r.take()[..], b"d\r\n");
    }

    #[test]
    fn what_has_no_end_is_given_up_however_it_is_cut() {
        let max = usize::try_from(DISCARD_MAX).unwrap();
        for (octets, end, outcome) in [
            (max - 2, "\r\n", Received::TooLong),
            (max - 1, "\r\n", Received::Endless),
            (2 * max, "", Received::Endless),
            (1000, " {99999999999+}\r\n", Received::Endless),
        ] {
            let command = "x".repeat(octets) + end;
            for piece in [7, 4096, command.len()] {
                let mut r = receiver();
                let (mut input, mut fed, mut last) = (BytesMut::new(), 0, Received::More);
                for octets in command.as_bytes().chunks(piece) {
                    input.extend_from_slice(octets);
                    fed += octets.len();
                    last = r.receive(&mut input);
                    if last != Received::More {
                        break;
                    }
                }
                assert_eq!(last, outcome, "{octets} {piece}");
                assert!(fed <= max + piece, "{octets} {piece}: it waited for {fed} octets");
            }
        }
        // A literal that is skipped counts, and with each command the count begins anew.
        let mut r = receiver();
        for _ in 0..3 {
            let mut input = BytesMut::from(&b"a {1048576+}\r\n"[..]);
            let Received::Literal(head) = r.receive(&mut input) else { panic!() };
            r.skip_literal(head);
            input.extend_from_slice(&vec![b'x'; 1_048_576]);
            input.extend_from_slice(b"\r\n");
            assert_eq!(r.receive(&mut input), Received::TooLong);
            assert_eq!(&r.take()[..2], b"a ");
        }
    }

    #[test]
    fn an_announcement_cut_where_the_line_gets_too_long_still_counts() {
        let line = format!("{}{{9+}}\r\nb LOGOUT\n\r\nc NOOP\r\n", "x".repeat(95));
        for cut in 90..110 {
            let outcomes = outcomes(&[&line.as_bytes()[..cut], &line.as_bytes()[cut..]]);
            assert_eq!(outcomes.len(), 2, "{cut}");
            assert_eq!((outcomes[0].0, outcomes[1].0), (Received::TooLong, Received::Whole));
            assert_eq!(outcomes[1].1, b"c NOOP\r\n");
        }
    }

    #[test]
    fn announcements() {
        for (line, expected) in [
            ("{0}\r\n", Some((0, true, false))),
            ("~{5+}\r\n", Some((5, false, true))),
            ("{4294967296}\n", Some((4_294_967_296, true, false))),
            ("{9223372036854775808}\r\n", None),
            ("{}\r\n", None),
            ("{+}\r\n", None),
            ("{1 }\r\n", None),
            ("{-1}\r\n", None),
            ("\"{1}\"\r\n", None),
            ("{1}", None),
        ] {
            let head = literal_head(line.as_bytes()).map(|h| (h.len, h.sync, h.binary));
            assert_eq!(head, expected, "{line:?}");
        }
    }

    /// All outcomes of a receiver that takes every literal it can.
    fn outcomes(chunks: &[&[u8]]) -> Vec<(Received, Vec<u8>)> {
        let mut r = receiver();
        let mut input = BytesMut::new();
        let mut all = Vec::new();
        for chunk in chunks {
            input.extend_from_slice(chunk);
            loop {
                let received = r.receive(&mut input);
                match received {
                    Received::More | Received::Endless => break,
                    Received::Literal(head) => {
                        if !r.accept_literal(head) {
                            if head.sync {
                                all.push((received, r.refuse_literal().to_vec()));
                            } else {
                                r.skip_literal(head);
                            }
                        }
                    }
                    Received::Whole | Received::TooLong => all.push((received, r.take().to_vec())),
                }
            }
        }
        all
    }

    proptest! {
        #[test]
        fn cut_at_every_octet_the_outcome_is_the_same(
            bytes in proptest::collection::vec(
                proptest::sample::select(vec![
                    &b"\r\n"[..], b"{3+}\r\n", b"{2}\r\n", b"{60+}\r\n", b"{70}\r\n", b"ab ", b"\n",
                    b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                ]),
                0..20,
            ).prop_map(|v| v.concat())
        ) {
            let whole = outcomes(&[&bytes]);
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            let cut = outcomes(&single);
            prop_assert_eq!(whole.len(), cut.len());
            for (a, b) in whole.iter().zip(&cut) {
                prop_assert_eq!(a.0, b.0);
                if a.0 != Received::TooLong {
                    prop_assert_eq!(&a.1, &b.1);
                }
            }
        }
    }
}
