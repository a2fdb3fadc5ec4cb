//! Replies: `+OK` and `-ERR`, with response codes (RFC 2449 §8, RFC 3206, RFC 6856 §5).

use std::fmt;

/// Longest first line of a reply, its CRLF included (RFC 1939 §3).
pub const LINE_MAX: usize = 512;

/// Why a command failed, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The credentials are wrong (RFC 3206 §4).
    Auth,
    /// A fault of the server that will pass (RFC 3206 §3).
    SysTemp,
    /// Too many logins failed; wait (RFC 2449 §8.1.1).
    LoginDelay,
}

impl Code {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Auth, "AUTH"), (Self::SysTemp, "SYS/TEMP"), (Self::LoginDelay, "LOGIN-DELAY")];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(code, _)| *code == self).map_or("", |(_, name)| name)
    }
}

/// The first line of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    positive: bool,
    code: Option<Code>,
    text: String,
}

impl Reply {
    /// `+OK text`
    pub fn ok(text: impl Into<String>) -> Self {
        Self { positive: true, code: None, text: clean(text.into()) }
    }
    /// `-ERR text`
    pub fn err(text: impl Into<String>) -> Self {
        Self { positive: false, code: None, text: clean(text.into()) }
    }
    /// `-ERR [code] text`
    pub fn coded(code: Code, text: impl Into<String>) -> Self {
        Self { code: Some(code), ..Self::err(text) }
    }
    /// `+OK`?
    pub fn is_positive(&self) -> bool {
        self.positive
    }
    /// The response code, if it is one of ours.
    pub fn code(&self) -> Option<Code> {
        self.code
    }
    /// The words.
    pub fn text(&self) -> &str {
        &self.text
    }
    /// Appends the line.
    pub fn write(&self, out: &mut impl Extend<u8>) {
        out.extend(format!("{self}\r\n").into_bytes());
    }
    /// Reads a line without its end; `None` if it is no reply.
    pub fn parse(line: &str) -> Option<Self> {
        let (positive, rest) = match (line.strip_prefix("+OK"), line.strip_prefix("-ERR")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return None,
        };
        let text = match rest.strip_prefix(' ') {
            Some(text) => text,
            None if rest.is_empty() => rest,
            None => return None,
        };
        if positive {
            return Some(Self::ok(text));
        }
        let coded = text.strip_prefix('[').and_then(|text| text.split_once(']')).and_then(|(name, text)| {
            let (code, _) = Code::ALL.into_iter().find(|(_, known)| known.eq_ignore_ascii_case(name))?;
            Some(Self::coded(code, text.strip_prefix(' ').unwrap_or(text)))
        });
        Some(coded.unwrap_or_else(|| Self::err(text)))
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.positive { "+OK" } else { "-ERR" })?;
        if let Some(code) = self.code {
            write!(f, " [{}]", code.name())?;
        }
        if self.text.is_empty() { Ok(()) } else { write!(f, " {}", self.text) }
    }
}

/// One line, and short enough: no word of a reply can begin another one.
fn clean(text: String) -> String {
    const ROOM: usize = LINE_MAX - "-ERR [LOGIN-DELAY] \r\n".len();
    let mut text = if text.contains(char::is_control) {
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    } else {
        text
    };
    if text.len() > ROOM {
        let end = (0..=ROOM).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines() {
        for (reply, line) in [
            (Reply::ok(""), "+OK"),
            (Reply::ok("2 320"), "+OK 2 320"),
            (Reply::err("no such message"), "-ERR no such message"),
            (Reply::coded(Code::Auth, "wrong"), "-ERR [AUTH] wrong"),
            (Reply::coded(Code::SysTemp, "later"), "-ERR [SYS/TEMP] later"),
            (Reply::coded(Code::LoginDelay, "wait"), "-ERR [LOGIN-DELAY] wait"),
        ] {
            assert_eq!(reply.to_string(), line);
            assert_eq!(Reply::parse(line), Some(reply));
        }
        for wrong in ["", "OK", "+OKAY", "-ERROR", "+ ", "* OK", "+ok"] {
            assert_eq!(Reply::parse(wrong), None, "{wrong:?}");
        }
        assert_eq!(Reply::parse("-ERR [IN-USE] busy").map(|r| (r.code(), r.text().to_owned())), {
            Some((None, "[IN-USE] busy".to_owned()))
        });
    }

    proptest! {
        #[test]
        fn a_reply_is_one_short_line_and_comes_back(text in ".{0,600}", which in 0usize..5) {
            let reply = match which {
                0 => Reply::ok(text),
                1 => Reply::err(text),
                n => Reply::coded(Code::ALL[n - 2].0, text),
            };
            let mut line = Vec::new();
            reply.write(&mut line);
            prop_assert!(line.len() <= LINE_MAX && line.ends_with(b"\r\n"));
            let line = std::str::from_utf8(&line[..line.len() - 2]).unwrap();
            prop_assert!(!line.contains(['\r', '\n']));
            // A text that looks like a code is read as one; ours never do.
            prop_assume!(reply.code().is_some() || !reply.text().starts_with('['));
            prop_assert_eq!(Reply::parse(line), Some(reply));
        }
    }
}
