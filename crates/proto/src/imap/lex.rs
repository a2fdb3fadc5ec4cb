//! The cursor under every IMAP parser: words, strings, numbers, lists.

use super::types::{Atom, Flag, MailboxName, Names, SeqNumber, SequenceSet, is_astring_char, is_atom_char};
use std::num::NonZeroU32;

/// Deepest nesting of parentheses: people nest SEARCH keys three deep, hostile ones ten thousand.
pub(crate) const DEPTH_MAX: usize = 64;

/// Why octets are no command; the text says what was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct ParseError {
    /// What was expected.
    pub expected: &'static str,
}

pub(crate) type Result<T> = std::result::Result<T, ParseError>;

pub(crate) fn expected<T>(expected: &'static str) -> Result<T> {
    Err(ParseError { expected })
}

/// A place in the octets of one command or response.
#[derive(Clone)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    pub(crate) depth: usize,
}

impl<'a> Cursor<'a> {
    /// At the start.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, depth: 0 }
    }
    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }
    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }
    pub(crate) fn need(&mut self, byte: u8, what: &'static str) -> Result<()> {
        if self.take(byte) { Ok(()) } else { expected(what) }
    }
    pub(crate) fn space(&mut self) -> Result<()> {
        self.need(b' ', "a space")
    }
    /// Takes `word` in any case if it is next and ends there.
    pub(crate) fn word(&mut self, word: &str) -> bool {
        let rest = self.rest();
        let found = rest.len() >= word.len()
            && rest[..word.len()].eq_ignore_ascii_case(word.as_bytes())
            && !rest.get(word.len()).is_some_and(|b| is_atom_char(*b) && *b != b'[');
        if found {
            self.at += word.len();
        }
        found
    }
    /// Takes `text` in any case if it is next.
    pub(crate) fn literally(&mut self, text: &str) -> bool {
        let found =
            self.rest().get(..text.len()).is_some_and(|found| found.eq_ignore_ascii_case(text.as_bytes()));
        if found {
            self.at += text.len();
        }
        found
    }
    pub(crate) fn while_(&mut self, accept: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let n = rest.iter().position(|b| !accept(*b)).unwrap_or(rest.len());
        self.at += n;
        &rest[..n]
    }
    /// `atom = 1*ATOM-CHAR`
    pub(crate) fn atom(&mut self) -> Result<Atom> {
        let text = ascii(self.while_(is_atom_char));
        Atom::new(text).ok_or(ParseError { expected: "an atom" })
    }
    /// `CRLF` at the end of all; a lone LF is taken (as by every server), anything behind it is not.
    pub(crate) fn end(&mut self) -> Result<()> {
        self.take(b'\r');
        if self.take(b'\n') && self.at == self.bytes.len() { Ok(()) } else { expected("the end of the line") }
    }
    /// `number64`
    pub(crate) fn number(&mut self) -> Result<u64> {
        let digits = ascii(self.while_(|b| b.is_ascii_digit()));
        digits
            .parse::<u64>()
            .ok()
            .filter(|n| i64::try_from(*n).is_ok())
            .ok_or(ParseError { expected: "a number" })
    }
    /// `nz-number`
    pub(crate) fn nz_number(&mut self) -> Result<NonZeroU32> {
        let n = self.number()?;
        u32::try_from(n)
            .ok()
            .and_then(NonZeroU32::new)
            .ok_or(ParseError { expected: "a number from 1 to 4294967295" })
    }
    /// `quoted = DQUOTE *QUOTED-CHAR DQUOTE`, with UTF-8 inside (RFC 9051 §4.3; checked by those who need text).
    pub(crate) fn quoted(&mut self) -> Result<Vec<u8>> {
        self.need(b'"', "a quoted string")?;
        let mut out = Vec::new();
        loop {
            let Some(byte) = self.peek() else { return expected("a closing quote") };
            self.at += 1;
            match byte {
                b'"' => return Ok(out),
                b'\\' => match self.peek() {
                    Some(c @ (b'"' | b'\\')) => {
                        self.at += 1;
                        out.push(c);
                    }
                    _ => return expected("\\\" or \\\\ in a quoted string"),
                },
                b'\r' | b'\n' | 0 => return expected("a closing quote"),
                c => out.push(c),
            }
        }
    }
    /// A literal whose octets stand inline, as [`super::receive::Receiver`] leaves them.
    pub(crate) fn literal(&mut self) -> Result<&'a [u8]> {
        let binary = self.take(b'~');
        self.need(b'{', "a literal")?;
        let len = self.number()?;
        self.take(b'+');
        self.need(b'}', "}")?;
        self.take(b'\r');
        self.need(b'\n', "CRLF behind a literal's length")?;
        let len = usize::try_from(len).map_err(|_| ParseError { expected: "a shorter literal" })?;
        let Some(data) = self.rest().get(..len) else { return expected("a literal's octets") };
        if !binary && data.contains(&0) {
            return expected("no NUL in a literal");
        }
        self.at += len;
        Ok(data)
    }
    /// `string = quoted / literal`
    pub(crate) fn string(&mut self) -> Result<Vec<u8>> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{' | b'~') => self.literal().map(<[u8]>::to_vec),
            _ => expected("a string"),
        }
    }
    /// `astring = 1*ASTRING-CHAR / string`
    pub(crate) fn astring(&mut self) -> Result<Vec<u8>> {
        if let Some(b'"' | b'{') = self.peek() {
            return self.string();
        }
        let text = self.while_(is_astring_char);
        if text.is_empty() { expected("an atom or a string") } else { Ok(text.to_vec()) }
    }
    /// An astring that is text.
    pub(crate) fn astring_text(&mut self) -> Result<String> {
        utf8(self.astring()?)
    }
    /// `nstring = string / "NIL"`
    pub(crate) fn nstring(&mut self) -> Result<Option<Vec<u8>>> {
        if self.word("NIL") { Ok(None) } else { self.string().map(Some) }
    }
    /// `mailbox = "INBOX" / astring`
    pub(crate) fn mailbox(&mut self, names: Names) -> Result<MailboxName> {
        let raw = self.astring_text()?;
        mailbox_name(raw, names)
    }
    /// `list-mailbox = 1*list-char / string`
    pub(crate) fn list_mailbox(&mut self, names: Names) -> Result<String> {
        let raw = if let Some(b'"' | b'{') = self.peek() {
            utf8(self.string()?)?
        } else {
            let text = self.while_(|b| is_astring_char(b) || b == b'%' || b == b'*');
            if text.is_empty() {
                return expected("a mailbox pattern");
            }
            ascii(text).to_owned()
        };
        Ok(mailbox_name(raw, names)?.as_str().to_owned())
    }
    /// `flag`
    pub(crate) fn flag(&mut self) -> Result<Flag> {
        let system = self.take(b'\\');
        let word = self.atom()?;
        Flag::from_parts(system, word).ok_or(ParseError { expected: "a flag that can be set" })
    }
    /// `"(" [item *(SP item)] ")"`
    pub(crate) fn list<T>(
        &mut self,
        limit: usize,
        mut item: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.need(b'(', "an opening parenthesis")?;
        self.enter()?;
        let mut all = Vec::new();
        if !self.take(b')') {
            loop {
                if all.len() >= limit {
                    return expected("a shorter list");
                }
                all.push(item(self)?);
                if self.take(b')') {
                    break;
                }
                self.space()?;
            }
        }
        self.depth -= 1;
        Ok(all)
    }
    pub(crate) fn enter(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > DEPTH_MAX { expected("less nesting") } else { Ok(()) }
    }
    /// `sequence-set`
    pub(crate) fn sequence_set(&mut self) -> Result<SequenceSet> {
        if self.take(b'$') {
            return Ok(SequenceSet::Saved);
        }
        let mut ranges = Vec::new();
        loop {
            if ranges.len() >= super::types::RANGES_MAX {
                return expected("a sequence set of fewer ranges");
            }
            let low = self.seq_number()?;
            let high = if self.take(b':') { self.seq_number()? } else { low };
            ranges.push((low, high));
            if !self.take(b',') {
                return Ok(SequenceSet::Ranges(ranges));
            }
        }
    }
    pub(crate) fn seq_number(&mut self) -> Result<SeqNumber> {
        if self.take(b'*') { Ok(SeqNumber::Largest) } else { self.nz_number().map(SeqNumber::Number) }
    }
}

/// A mailbox name from its wire form.
pub(crate) fn mailbox_name(raw: String, names: Names) -> Result<MailboxName> {
    let name = match names {
        Names::Utf8 => Some(raw),
        Names::Utf7 => super::utf7::decode(&raw),
    };
    name.and_then(MailboxName::new).ok_or(ParseError { expected: "a mailbox name in modified UTF-7" })
}

pub(crate) fn ascii(bytes: &[u8]) -> &str {
    // Callers' character classes are subsets of ASCII.
    std::str::from_utf8(bytes).unwrap_or("")
}

pub(crate) fn utf8(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|_| ParseError { expected: "UTF-8" })
}
