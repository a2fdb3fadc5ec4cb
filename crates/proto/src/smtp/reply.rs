//! Replies of a server (RFC 5321 §4.2), with enhanced status codes (RFC 2034, RFC 3463).

use bytes::{BufMut as _, BytesMut};
use std::borrow::Cow;

/// Reply lines of RFC 5321 §4.5.3.1.5, without CRLF.
pub const LINE_MAX: usize = 510;
/// Reply lines of the draft's verbs and of AUTH (profile §5), without CRLF.
pub const LONG_LINE_MAX: usize = 12_286;

/// One reply: code, enhanced code, text lines, and whether the connection ends with it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "every command is answered"]
pub struct Reply {
    code: u16,
    enhanced: Option<&'static str>,
    lines: Vec<Cow<'static, str>>,
    close: bool,
}

impl Reply {
    /// A one-line reply with an enhanced code: `250 2.1.0 OK`.
    pub fn new(code: u16, enhanced: &'static str, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, enhanced: Some(enhanced), lines: vec![text.into()], close: false }
    }
    /// A one-line reply as the draft prints them, without enhanced code: `250 OK`.
    pub fn bare(code: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, enhanced: None, lines: vec![text.into()], close: false }
    }
    /// A reply of several lines without enhanced code: `220-…`, `220 …`. An empty list is one empty line.
    pub fn lines<T: Into<Cow<'static, str>>>(code: u16, lines: impl IntoIterator<Item = T>) -> Self {
        let mut lines: Vec<_> = lines.into_iter().map(Into::into).collect();
        if lines.is_empty() {
            lines.push(Cow::Borrowed(""));
        }
        Self { code, enhanced: None, lines, close: false }
    }
    /// The same reply, with the connection closed after it.
    pub fn and_close(mut self) -> Self {
        self.close = true;
        self
    }
    /// Its code.
    pub fn code(&self) -> u16 {
        self.code
    }
    /// Whether the connection ends with it.
    pub fn closes(&self) -> bool {
        self.close
    }
    /// 2xx or 3xx.
    pub fn is_positive(&self) -> bool {
        self.code < 400
    }

    /// Appends the octets. Control characters (there should be none) become `?`, so that no text can end a line and
    /// forge another reply; over-long lines are cut.
    pub fn write(&self, out: &mut BytesMut) {
        for (i, line) in self.lines.iter().enumerate() {
            let start = out.len();
            out.put_slice(self.code.to_string().as_bytes());
            out.put_u8(if i + 1 < self.lines.len() { b'-' } else { b' ' });
            if let Some(enhanced) = self.enhanced {
                out.put_slice(enhanced.as_bytes());
                out.put_u8(b' ');
            }
            let mut end = line.len().min((start + LONG_LINE_MAX).saturating_sub(out.len()));
            while !line.is_char_boundary(end) {
                end -= 1;
            }
            out.extend(line.as_bytes()[..end].iter().map(|b| if b.is_ascii_control() { b'?' } else { *b }));
            out.put_slice(b"\r\n");
        }
    }

    /// The octets.
    pub fn to_bytes(&self) -> BytesMut {
        let mut out = BytesMut::new();
        self.write(&mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (reply, want) in [
            (Reply::new(250, "2.1.0", "OK"), "250 2.1.0 OK\r\n"),
            (Reply::bare(250, "OK"), "250 OK\r\n"),
            (Reply::lines(220, ["a", "b"]), "220-a\r\n220 b\r\n"),
            (Reply::lines(220, Vec::<String>::new()), "220 \r\n"),
            (Reply::bare(550, "x\r\n250 forged"), "550 x??250 forged\r\n"),
        ] {
            assert_eq!(reply.to_bytes(), want);
        }
        assert_eq!(Reply::bare(220, "ä".repeat(20_000)).to_bytes().len(), LONG_LINE_MAX + 2);
    }
}
