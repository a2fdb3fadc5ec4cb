//! Message octets as DATA and BDAT carry them, to message octets: dot-unstuffed, otherwise untouched, judged for
//! what a server must not let through (RFC 5321 §4.5.2, RFC 3030, profile §10).
//!
//! Only CRLF `.` CRLF ends DATA. A bare CR or LF is never a line end here, however the line goes on, which is what
//! SMTP smuggling lives on; such a message is read to its real end and then refused.

/// Why a message that was read to its end is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// CR without LF or LF without CR: 550 5.6.11.
    BareLineEnd,
    /// NUL, which neither 7bit nor 8bit content may hold (RFC 2045 §2.7, §2.8) and IMAP cannot hand out.
    Nul,
    /// Larger than the limit: 552 5.3.4.
    TooBig,
}

/// So much is read of any message, however small the limit.
const READ_MIN: u64 = 16 * 1024 * 1024;

/// Octets that are read of a message where `limit` is what it may have: who made a mistake has come to the end by then
/// and is told, and who goes on sends without end.
pub fn read_max(limit: u64) -> u64 {
    limit.saturating_mul(2).max(READ_MIN)
}

/// Judges message octets as they pass, in pieces of any size.
#[derive(Debug)]
pub struct Judge {
    after_cr: bool,
    octets: u64,
    limit: u64,
    eight_bit: bool,
    fault: Option<Fault>,
    /// All octets that came, those behind the fault too.
    seen: u64,
}

impl Judge {
    /// A judge of messages up to `limit` octets.
    pub fn new(limit: u64) -> Self {
        Self { after_cr: false, octets: 0, limit, eight_bit: false, fault: None, seen: 0 }
    }
    /// The next octets of the message.
    pub fn update(&mut self, octets: &[u8]) {
        self.seen = self.seen.saturating_add(octets.len() as u64);
        if self.fault.is_some() {
            return;
        }
        // The first fault counts, however the message is cut: what lies over the limit is not looked at.
        let room = usize::try_from(self.limit - self.octets).unwrap_or(usize::MAX);
        let within = &octets[..octets.len().min(room)];
        self.octets += within.len() as u64;
        self.eight_bit = self.eight_bit || !within.is_ascii();
        let mut rest = within;
        if self.after_cr {
            match rest.first() {
                None => {}
                Some(b'\n') => {
                    self.after_cr = false;
                    rest = &rest[1..];
                }
                Some(_) => return self.fault = Some(Fault::BareLineEnd),
            }
        }
        // From one octet that matters to the next.
        while let Some(at) = memchr::memchr3(b'\r', b'\n', 0, rest) {
            match (rest[at], rest.get(at + 1)) {
                (b'\r', Some(b'\n')) => rest = &rest[at + 2..],
                (b'\r', None) => {
                    self.after_cr = true;
                    break;
                }
                (0, _) => return self.fault = Some(Fault::Nul),
                _ => return self.fault = Some(Fault::BareLineEnd),
            }
        }
        if within.len() < octets.len() {
            self.fault = Some(Fault::TooBig);
        }
    }
    /// What is wrong with it so far; pieces seen after a fault are to be dropped.
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }
    /// What is wrong with the whole of it.
    pub fn finish(&self) -> Option<Fault> {
        self.fault.or(if self.after_cr { Some(Fault::BareLineEnd) } else { None })
    }
    /// A chunk of `len` octets is announced: what cannot fit is not stored first.
    pub fn expect(&mut self, len: u64) {
        if len > self.limit - self.octets {
            self.fault.get_or_insert(Fault::TooBig);
        }
    }
    /// Whether more came than is read of a message that may have `limit` octets.
    pub fn is_endless(&self) -> bool {
        self.seen > read_max(self.limit)
    }
    /// Whether an octet had the high bit.
    pub fn is_eight_bit(&self) -> bool {
        self.eight_bit
    }
}

/// Where the DATA reader stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    LineStart,
    Text,
    Cr,
    /// A dot at the start of a line, held back.
    Dot,
    /// The same and a CR, held back.
    DotCr,
}

/// Undoes dot-stuffing and finds the end. Starts as if just after CRLF, so that a leading dot needs no rule.
#[derive(Debug)]
pub struct DotReader {
    at: At,
}

impl Default for DotReader {
    fn default() -> Self {
        Self { at: At::LineStart }
    }
}

impl DotReader {
    /// Reads from `input`, appends message octets to `out`; returns how many octets of `input` were used and whether
    /// the end was reached (if so, the rest of `input` are commands).
    pub fn read(&mut self, input: &[u8], out: &mut Vec<u8>) -> (usize, bool) {
        let mut at = self.at;
        let mut used = 0;
        while let Some(&b) = input.get(used) {
            if at == At::Text {
                // The bulk of every message: straight to the next line that begins with a dot.
                let rest = &input[used..];
                let (run, next) = match memchr::memmem::find(rest, b"\r\n.") {
                    Some(crlf) => (crlf + 2, At::LineStart),
                    None if rest.ends_with(b"\r\n") => (rest.len(), At::LineStart),
                    None if rest.ends_with(b"\r") => (rest.len(), At::Cr),
                    None => (rest.len(), At::Text),
                };
                out.extend_from_slice(&rest[..run]);
                used += run;
                at = next;
                continue;
            }
            used += 1;
            at = match (at, b) {
                (At::LineStart, b'.') => At::Dot,
                (At::Dot, b'\r') => At::DotCr,
                (At::DotCr, b'\n') => {
                    self.at = At::LineStart;
                    return (used, true);
                }
                (At::Cr, b'\n') => {
                    out.push(b'\n');
                    At::LineStart
                }
                (At::LineStart | At::Text | At::Cr, b'\r') => {
                    out.push(b'\r');
                    At::Cr
                }
                // Behind a dot at the start of a line: the dot was stuffing and goes, what follows it stays.
                (At::LineStart | At::Text | At::Cr | At::Dot, b) => {
                    out.push(b);
                    At::Text
                }
                (At::DotCr, b'\r') => {
                    out.extend_from_slice(b"\r\r");
                    At::Cr
                }
                (At::DotCr, b) => {
                    out.extend_from_slice(&[b'\r', b]);
                    At::Text
                }
            };
        }
        self.at = at;
        (used, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(input: &[u8], step: usize) -> (Vec<u8>, Option<Fault>, Option<usize>) {
        let (mut reader, mut judge) = (DotReader::default(), Judge::new(1000));
        let (mut out, mut total) = (Vec::new(), 0);
        for piece in input.chunks(step) {
            let from = out.len();
            let (used, end) = reader.read(piece, &mut out);
            judge.update(&out[from..]);
            total += used;
            if end {
                return (out, judge.finish(), Some(total));
            }
            assert_eq!(used, piece.len());
        }
        (out, judge.finish(), None)
    }

    /// Every smuggling shape; input, message, fault, whether the end was found at the end of the input.
    #[test]
    fn smuggling_table() {
        use Fault::{BareLineEnd, Nul};
        let rows: &[(&str, &str, Option<Fault>, bool)] = &[
            (".\r\n", "", None, true),
            ("a\r\n.\r\n", "a\r\n", None, true),
            ("\r\n.\r\n", "\r\n", None, true),
            ("..\r\n.\r\n", ".\r\n", None, true),
            ("...\r\n.\r\n", "..\r\n", None, true),
            (".a\r\n.\r\n", "a\r\n", None, true),
            ("a.\r\n.\r\n", "a.\r\n", None, true),
            ("a\r\n. \r\n.\r\n", "a\r\n \r\n", None, true),
            ("a\r\n..\r\nb\r\n.\r\n", "a\r\n.\r\nb\r\n", None, true),
            // Not an end, and not a line end either.
            ("a\n.\n", "a\n.\n", Some(BareLineEnd), false),
            ("a\n.\r\n", "a\n.\r\n", Some(BareLineEnd), false),
            ("a\r.\r\n", "a\r.\r\n", Some(BareLineEnd), false),
            ("a\r\n.\n", "a\r\n\n", Some(BareLineEnd), false),
            ("a\r\n.\r", "a\r\n", None, false),
            ("a\r\n.\r\r\n", "a\r\n\r\r\n", Some(BareLineEnd), false),
            ("a\r.\r", "a\r.\r", Some(BareLineEnd), false),
            ("a\r\r\n.\r\n", "a\r\r\n", Some(BareLineEnd), true),
            ("a\n\r\n.\r\n", "a\n\r\n", Some(BareLineEnd), true),
            ("a\n\n.\r\n", "a\n\n.\r\n", Some(BareLineEnd), false),
            ("a\r\n.\r.\r\n", "a\r\n\r.\r\n", Some(BareLineEnd), false),
            (".\n", "\n", Some(BareLineEnd), false),
            (".\r.\r\n", "\r.\r\n", Some(BareLineEnd), false),
            ("a\0\r\n.\r\n", "a\0\r\n", Some(Nul), true),
            ("\n.\r\nMAIL FROM:<x@y>\r\n", "\n.\r\nMAIL FROM:<x@y>\r\n", Some(BareLineEnd), false),
        ];
        for (input, message, fault, end) in rows {
            for step in 1..=input.len() {
                let got = read(input.as_bytes(), step);
                let want = (message.as_bytes().to_vec(), *fault, end.then_some(input.len()));
                assert_eq!(got, want, "{input:?} in pieces of {step}");
            }
        }
    }

    #[test]
    fn what_follows_the_end_is_left_alone() {
        assert_eq!(read(b"a\r\n.\r\nQUIT\r\n", 100).2, Some(6));
    }

    #[test]
    fn one_octet_too_many() {
        for (size, fault) in [(1000, None), (1001, Some(Fault::TooBig))] {
            let mut judge = Judge::new(1000);
            judge.update(&vec![b'x'; size]);
            assert_eq!(judge.finish(), fault);
        }
    }

    /// Found by the fuzzer: a message with two faults was called by the one or the other, by how it was cut.
    #[test]
    fn the_first_fault_counts_however_the_message_is_cut() {
        let message = [b"\0".as_slice(), &[b'x'; 1000]].concat();
        for step in [1, 7, 1001] {
            let mut judge = Judge::new(1000);
            message.chunks(step).for_each(|piece| judge.update(piece));
            assert_eq!(judge.finish(), Some(Fault::Nul), "in pieces of {step}");
        }
    }

    proptest! {
        /// Stuffing by the book and reading it gives the message back, however the input is cut.
        #[test]
        fn round_trip(lines in proptest::collection::vec("[.a\u{e4}]{0,4}", 0..6), step in 1usize..20) {
            let message = lines.iter().fold(String::new(), |all, l| all + l + "\r\n");
            let wire: String = lines.iter().map(|l| {
                if l.starts_with('.') { format!(".{l}\r\n") } else { format!("{l}\r\n") }
            }).collect();
            let wire = wire + ".\r\n";
            let (out, fault, end) = read(wire.as_bytes(), step);
            prop_assert_eq!(out, message.into_bytes());
            prop_assert_eq!((fault, end), (None, Some(wire.len())));
        }
        /// However the input is cut, the outcome is the same.
        #[test]
        fn cuts_do_not_matter(input in "[.\r\na]{0,12}", step in 1usize..6) {
            prop_assert_eq!(read(input.as_bytes(), step), read(input.as_bytes(), 100));
        }
    }
}
