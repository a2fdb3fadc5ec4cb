//! Replies (RFC 5321 §4.2), read from octets that may be cut anywhere and may be hostile.

use bytes::{Buf, BytesMut};
use std::fmt;

/// How much of one reply is taken before the server is called broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyLimits {
    /// Octets of one line, CRLF included.
    pub line_octets: usize,
    /// Lines of one reply.
    pub lines: usize,
    /// Octets of one reply.
    pub octets: usize,
}

impl ReplyLimits {
    /// RFC 5321 §4.5.3.1.5 says 512 octets; twice that, since long texts do occur. 128 lines are far above any EHLO.
    pub const STANDARD: Self = Self { line_octets: 1_024, lines: 128, octets: 64 * 1_024 };
    /// The draft's verbs and AUTH: lines of RFC 4954's 12,288 octets (profile §5).
    pub const LONG_LINES: Self = Self { line_octets: 12_288, lines: 128, octets: 64 * 1_024 };
    /// `XKEYINFO`: a line of about 1,400 octets for each statement; 2,000 are a rotation every week for forty years.
    pub const CHAIN: Self = Self { line_octets: 12_288, lines: 2_048, octets: 3 * 1_024 * 1_024 };
    /// `XKEYRING`: 1 MiB in base64 is 2,741 lines of 510 octets of text; room for shorter lines (profile §9).
    pub const KEYRING: Self = Self { line_octets: 12_288, lines: 16_384, octets: 2 * 1_024 * 1_024 };
}

/// A whole reply. Its text is shown to people, so control characters are replaced as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    lines: Vec<String>,
}

/// An enhanced status code (RFC 3463), such as 5.7.8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnhancedCode(pub u8, pub u16, pub u16);

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// Octets of a reply's text that [`Reply`]'s `Display` shows; the rest is cut, for it ends in errors and bounces.
const SHOWN_MAX: usize = 512;

impl Reply {
    /// Makes a reply; `lines` without code and line ends, at least one.
    pub fn new(code: u16, lines: Vec<String>) -> Self {
        Self { code, lines }
    }
    /// The three digits.
    pub fn code(&self) -> u16 {
        self.code
    }
    /// The texts behind the codes, a line each.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
    /// The text of the first line.
    pub fn text(&self) -> &str {
        self.lines.first().map_or("", String::as_str)
    }
    /// 2xx
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }
    /// 4xx
    pub fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }
    /// 5xx
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }
    /// The enhanced code at the start of the text, if its class agrees with the reply's (RFC 2034 §4).
    pub fn enhanced(&self) -> Option<EnhancedCode> {
        let word = self.text().split(' ').next()?;
        let mut parts = word.split('.');
        let number = |part: &str| {
            ((1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit()))
                .then(|| part.parse::<u16>().ok())
                .flatten()
        };
        let (class, subject, detail) =
            (number(parts.next()?)?, number(parts.next()?)?, number(parts.next()?)?);
        if parts.next().is_some() || class != self.code / 100 || !matches!(class, 2 | 4 | 5) {
            return None;
        }
        Some(EnhancedCode(u8::try_from(class).ok()?, subject, detail))
    }
}

/// `550 5.1.1 No such user`, lines joined by a space, cut at 512 octets.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        let mut left = SHOWN_MAX;
        for line in self.lines.iter().filter(|line| !line.is_empty()) {
            let mut end = line.len().min(left);
            while !line.is_char_boundary(end) {
                end -= 1;
            }
            write!(f, " {}", &line[..end])?;
            if end < line.len() {
                return f.write_str("…");
            }
            left -= end;
        }
        Ok(())
    }
}

/// Reads replies from a buffer that grows. Keeps what it has of an unfinished reply between calls.
#[derive(Debug, Default)]
pub struct ReplyReader {
    code: Option<u16>,
    lines: Vec<String>,
    octets: usize,
    /// Octets of `input` known to hold no LF, so that a line that trickles in is scanned once.
    scanned: usize,
}

impl ReplyReader {
    /// Takes whole lines from `input`; `None` asks for more octets. After an error the connection is of no use.
    pub fn next(&mut self, input: &mut BytesMut, limits: ReplyLimits) -> Result<Option<Reply>, ReplyError> {
        loop {
            let from = self.scanned.min(input.len());
            let Some(lf) = input[from..].iter().position(|b| *b == b'\n').map(|at| from + at) else {
                self.scanned = input.len();
                return if input.len() >= limits.line_octets {
                    Err(ReplyError::LineTooLong)
                } else {
                    Ok(None)
                };
            };
            self.scanned = 0;
            if lf + 1 > limits.line_octets {
                return Err(ReplyError::LineTooLong);
            }
            self.octets += lf + 1;
            if self.octets > limits.octets || self.lines.len() >= limits.lines {
                return Err(ReplyError::TooLong);
            }
            let (code, last, text) = parse_line(&input[..=lf])?;
            if self.code.is_some_and(|first| first != code) {
                return Err(ReplyError::Codes);
            }
            self.code = Some(code);
            self.lines.push(text);
            input.advance(lf + 1);
            if last {
                let whole = std::mem::take(self);
                return Ok(Some(Reply { code, lines: whole.lines }));
            }
        }
    }
    /// Whether a reply has begun and not ended.
    pub fn is_partial(&self) -> bool {
        self.code.is_some()
    }
}

/// ```abnf
/// Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF
/// Reply-code = %x32-35 %x30-35 %x30-39
/// ```
fn parse_line(line: &[u8]) -> Result<(u16, bool, String), ReplyError> {
    let line = line.strip_suffix(b"\r\n").ok_or(ReplyError::Syntax)?;
    if line.contains(&b'\r') || line.contains(&0) {
        return Err(ReplyError::Syntax);
    }
    let (digits, rest) = line.split_at_checked(3).ok_or(ReplyError::Syntax)?;
    let [a @ b'2'..=b'5', b @ b'0'..=b'5', c @ b'0'..=b'9'] = *digits else {
        return Err(ReplyError::Syntax);
    };
    let code = u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0');
    let (last, text) = match rest.split_first() {
        None => (true, rest),
        Some((b' ', text)) => (true, text),
        Some((b'-', text)) => (false, text),
        Some(_) => return Err(ReplyError::Syntax),
    };
    // What a server writes may end on somebody's terminal: no escape sequences.
    let text = String::from_utf8_lossy(text);
    let text = text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
    Ok((code, last, text))
}

/// Why a server's octets are no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// Not `NNN text CRLF`.
    #[error("the server's answer is not an SMTP reply; is this the right port?")]
    Syntax,
    /// Two codes in one reply.
    #[error("the lines of one reply of the server have different codes")]
    Codes,
    /// A line over the limit.
    #[error("a line of the server's reply is too long")]
    LineTooLong,
    /// A reply over the limit of lines or octets.
    #[error("the server's reply is too long")]
    TooLong,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(octets: &[u8]) -> Result<Option<Reply>, ReplyError> {
        ReplyReader::default().next(&mut BytesMut::from(octets), ReplyLimits::STANDARD)
    }

    #[test]
    fn reads_replies() {
        let cases: &[(&[u8], u16, &[&str])] = &[
            (b"250 OK\r\n", 250, &["OK"]),
            (b"250\r\n", 250, &[""]),
            (b"250 \r\n", 250, &[""]),
            (b"250-a\r\n250-\r\n250 c\r\n", 250, &["a", "", "c"]),
            (b"220 ed25519 QUFB\r\n", 220, &["ed25519 QUFB"]),
            (b"559 \xc3\xbc\r\n", 559, &["ü"]),
            (b"250 \xff\r\n", 250, &["\u{fffd}"]),
            (b"250 a\x1b[2Jb\r\n", 250, &["a\u{fffd}[2Jb"]),
        ];
        for (octets, code, lines) in cases {
            let reply = read(octets).unwrap().unwrap();
            assert_eq!((reply.code(), reply.lines()), (*code, &lines.map_to_string()[..]), "{octets:?}");
            // Cut at every octet: the same reply, and never one too early.
            for cut in 0..octets.len() {
                let mut input = BytesMut::from(&octets[..cut]);
                let mut reader = ReplyReader::default();
                assert_eq!(
                    reader.next(&mut input, ReplyLimits::STANDARD),
                    Ok(None),
                    "{octets:?} cut at {cut}"
                );
                input.extend_from_slice(&octets[cut..]);
                assert_eq!(reader.next(&mut input, ReplyLimits::STANDARD), Ok(Some(reply.clone())));
                assert!(input.is_empty());
            }
        }
    }

    trait MapToString {
        fn map_to_string(&self) -> Vec<String>;
    }
    impl MapToString for &[&str] {
        fn map_to_string(&self) -> Vec<String> {
            self.iter().map(ToString::to_string).collect()
        }
    }

    #[test]
    fn refuses_what_is_no_reply() {
        let cases: &[(&[u8], ReplyError)] = &[
            (b"\r\n", ReplyError::Syntax),
            (b"25\r\n", ReplyError::Syntax),
            (b"250 bare line feed\n", ReplyError::Syntax),
            (b"250 a\rb\r\n", ReplyError::Syntax),
            (b"250 a\0b\r\n", ReplyError::Syntax),
            (b"150 a\r\n", ReplyError::Syntax),
            (b"650 a\r\n", ReplyError::Syntax),
            (b"265 a\r\n", ReplyError::Syntax),
            (b"2500 a\r\n", ReplyError::Syntax),
            (b"250_a\r\n", ReplyError::Syntax),
            (b"HTTP/1.1 400 Bad Request\r\n", ReplyError::Syntax),
            (b"250-a\r\n251 b\r\n", ReplyError::Codes),
        ];
        for (octets, error) in cases {
            assert_eq!(read(octets), Err(*error), "{octets:?}");
        }
    }

    #[test]
    fn bounds_lines_and_replies() {
        let limits = ReplyLimits { line_octets: 16, lines: 3, octets: 40 };
        let next = |octets: &[u8]| ReplyReader::default().next(&mut BytesMut::from(octets), limits);
        assert!(next(b"250 1234567890\r\n").unwrap().is_some());
        assert_eq!(next(b"250 12345678901\r\n"), Err(ReplyError::LineTooLong));
        assert_eq!(next(b"250 12345678901234567890"), Err(ReplyError::LineTooLong));
        assert!(next(b"250-a\r\n250-b\r\n250 c\r\n").unwrap().is_some());
        assert_eq!(next(b"250-a\r\n250-b\r\n250-c\r\n250 d\r\n"), Err(ReplyError::TooLong));
        assert_eq!(next(b"250-1234567890\r\n250-1234567890\r\n250 1234567890\r\n"), Err(ReplyError::TooLong));
        // A keyring of 1 MiB in lines of 510 octets fits.
        let text = crate::base64::encode(vec![7; 1 << 20]);
        let mut wire = Vec::new();
        for chunk in text.as_bytes().chunks(510) {
            wire.extend_from_slice(b"220-");
            wire.extend_from_slice(chunk);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"220 \r\n");
        let reply = ReplyReader::default().next(&mut BytesMut::from(&wire[..]), ReplyLimits::KEYRING);
        assert_eq!(reply.unwrap().unwrap().lines().concat(), text);
    }

    #[test]
    fn enhanced_codes() {
        let code = |code, text: &str| Reply::new(code, vec![text.into()]).enhanced();
        assert_eq!(code(535, "5.7.8 no"), Some(EnhancedCode(5, 7, 8)));
        assert_eq!(code(250, "2.1.0"), Some(EnhancedCode(2, 1, 0)));
        for (number, text) in
            [(550, "4.1.1 x"), (550, "5.1 x"), (550, "5.1.1.1 x"), (550, "5..1 x"), (354, "3.0.0 x")]
        {
            assert_eq!(code(number, text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(pieces in proptest::collection::vec(any::<Vec<u8>>(), 0..8)) {
            let (mut reader, mut input) = (ReplyReader::default(), BytesMut::new());
            for piece in pieces {
                input.extend_from_slice(&piece);
                while let Ok(Some(_)) = reader.next(&mut input, ReplyLimits::STANDARD) {}
            }
        }

        #[test]
        fn round_trips(code in 200u16..256, lines in proptest::collection::vec("[ -~]{0,60}", 1..6)) {
            let mut wire = String::new();
            for (at, line) in lines.iter().enumerate() {
                let mark = if at + 1 == lines.len() { " " } else { "-" };
                wire.extend([&code.to_string(), mark, line, "\r\n"]);
            }
            prop_assert_eq!(read(wire.as_bytes()), Ok(Some(Reply::new(code, lines))));
        }
    }
}
