//! Message octets on their way out: dot-stuffing (RFC 5321 §4.5.2), and no bare CR or LF ever, since what one server
//! takes for the end of a message another must not (profile §10; "SMTP smuggling").

/// A CR without LF or an LF without CR in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message has a line end that is not CRLF; it cannot be sent as it is")]
pub struct BareLineEnd;

/// Checks that octets hold CR and LF only as CRLF, across pieces.
#[derive(Debug, Default)]
pub struct LineEndCheck {
    after_cr: bool,
    ends_in_crlf: bool,
}

impl LineEndCheck {
    /// The next octets.
    pub fn push(&mut self, octets: &[u8]) -> Result<(), BareLineEnd> {
        for &octet in octets {
            if (octet == b'\n') != self.after_cr {
                return Err(BareLineEnd);
            }
            self.ends_in_crlf = octet == b'\n';
            self.after_cr = octet == b'\r';
        }
        Ok(())
    }
    /// The end; says whether the last octets were CRLF (or there were none).
    pub fn finish(&self) -> Result<bool, BareLineEnd> {
        if self.after_cr { Err(BareLineEnd) } else { Ok(self.ends_in_crlf) }
    }
}

/// Turns a message into what goes between 354 and the final reply.
#[derive(Debug)]
pub struct DotStuffer {
    check: LineEndCheck,
    at_line_start: bool,
}

impl Default for DotStuffer {
    /// Starts as if just after CRLF, so that a leading dot needs no rule of its own.
    fn default() -> Self {
        Self { check: LineEndCheck::default(), at_line_start: true }
    }
}

impl DotStuffer {
    /// Appends the wire form of `octets` to `out`. After an error the connection must be closed without the final
    /// dot.
    pub fn push(&mut self, octets: &[u8], out: &mut Vec<u8>) -> Result<(), BareLineEnd> {
        self.check.push(octets)?;
        out.reserve(octets.len() + 16);
        let mut rest = octets;
        while !rest.is_empty() {
            if self.at_line_start && rest[0] == b'.' {
                out.push(b'.');
            }
            let end = rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |at| at + 1);
            out.extend_from_slice(&rest[..end]);
            self.at_line_start = rest[end - 1] == b'\n';
            rest = &rest[end..];
        }
        Ok(())
    }
    /// Appends the end: `.` CRLF, after a CRLF of its own where the message does not end in one.
    pub fn finish(self, out: &mut Vec<u8>) -> Result<(), BareLineEnd> {
        self.check.finish()?;
        if !self.at_line_start {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stuff(pieces: &[&[u8]]) -> Result<Vec<u8>, BareLineEnd> {
        let (mut stuffer, mut out) = (DotStuffer::default(), Vec::new());
        for piece in pieces {
            stuffer.push(piece, &mut out)?;
        }
        stuffer.finish(&mut out)?;
        Ok(out)
    }

    #[test]
    fn stuffs_dots_and_refuses_bare_line_ends() {
        type Case<'a> = (&'a [u8], Result<&'a [u8], BareLineEnd>);
        let cases: &[Case<'_>] = &[
            (b"", Ok(b".\r\n")),
            (b"a", Ok(b"a\r\n.\r\n")),
            (b"a\r\n", Ok(b"a\r\n.\r\n")),
            (b".\r\n", Ok(b"..\r\n.\r\n")),
            (b".", Ok(b"..\r\n.\r\n")),
            (b"..a\r\n.b\r\n", Ok(b"...a\r\n..b\r\n.\r\n")),
            (b"a\r\n.\r\nb\r\n", Ok(b"a\r\n..\r\nb\r\n.\r\n")),
            (b"a.\r\n", Ok(b"a.\r\n.\r\n")),
            (b"a\n.\r\n", Err(BareLineEnd)),
            (b"a\r.\r\n", Err(BareLineEnd)),
            (b"a\n.\n", Err(BareLineEnd)),
            (b"a\r\r\n", Err(BareLineEnd)),
            (b"\n", Err(BareLineEnd)),
            (b"a\r", Err(BareLineEnd)),
            (b"a\r\n\n", Err(BareLineEnd)),
        ];
        for (message, expected) in cases {
            let expected = expected.map(<[u8]>::to_vec);
            assert_eq!(stuff(&[message]), expected, "{message:?}");
            for cut in 0..message.len() {
                assert_eq!(stuff(&[&message[..cut], &message[cut..]]), expected, "{message:?} cut at {cut}");
            }
        }
    }

    proptest! {
        #[test]
        fn the_final_dot_stands_alone(message in "([.a]|\r\n){0,40}") {
            let out = stuff(&[message.as_bytes()]).unwrap();
            let text = String::from_utf8(out).unwrap();
            let end = format!("\r\n{text}").find("\r\n.\r\n").unwrap();
            prop_assert_eq!(end + 3, text.len());
        }
    }
}
