//! mbox files, read as a stream: where a message ends, what a mail program noted inside of it, and what the message is
//! without that.
//!
//! A `From_` line begins a message: at the start of the file, or with a whole date (RFC 4155, and mutt's rule: text that
//! happens to begin a line with "From " has none), or bare behind an empty line as Thunderbird writes it. Lengths that
//! some programs note (`Content-Length`) are not believed.

use super::dates;
use sealpost_proto::{
    imap::{Atom, Flag},
    time::Timestamp,
};
use std::io::{self, BufRead, Read as _, Write};

/// Longest piece of a line looked at, in octets: longer lines come in several.
const PIECE_MAX: u64 = 64 * 1024;

/// How lines that look like a `From_` line were quoted when they were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quoting {
    /// mboxrd: a `>` more before every `>*From `.
    Rd,
    /// mboxo: `>` before `From ` alone, so that `>>From ` is the text's own.
    O,
}

/// What the file says of a message besides its octets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Envelope {
    /// Of its `From_` line.
    pub date: Option<Timestamp>,
    /// Of Status, X-Status, X-Keywords and Thunderbird's fields.
    pub flags: Vec<Flag>,
    /// Thunderbird removed it and did not compact the file yet.
    pub expunged: bool,
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum MboxError {
    /// Its first line is no `From_` line.
    #[error("it does not begin with a \"From \" line, so it is no mbox")]
    NotMbox,
    /// Reading it, or writing what is in it.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A file of messages.
pub struct Reader<R> {
    input: R,
    quoting: Quoting,
    /// The `From_` line of the next message.
    next: Option<Vec<u8>>,
    started: bool,
    /// The next piece begins a line.
    at_line: bool,
    /// Octets read.
    at: u64,
}

impl<R: BufRead> Reader<R> {
    /// Reads nothing yet.
    pub fn new(input: R, quoting: Quoting) -> Self {
        Self { input, quoting, next: None, started: false, at_line: true, at: 0 }
    }

    /// Octets of the file read so far.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// A line, or the next part of a long one; `true` where it begins a line.
    fn piece(&mut self) -> io::Result<Option<(bool, Vec<u8>)>> {
        let mut piece = Vec::new();
        let n = (&mut self.input).take(PIECE_MAX).read_until(b'\n', &mut piece)?;
        self.at += n as u64;
        let begins = std::mem::replace(&mut self.at_line, piece.ends_with(b"\n"));
        Ok((n > 0).then_some((begins, piece)))
    }

    /// Writes the next message to `out`, with the file's line ends; `None` at the end of the file.
    pub fn next(&mut self, out: &mut dyn Write) -> Result<Option<Envelope>, MboxError> {
        if !self.started {
            self.started = true;
            while let Some((_, piece)) = self.piece()? {
                if is_blank(&piece) {
                    continue;
                }
                if !piece.starts_with(b"From ") || !piece.ends_with(b"\n") {
                    return Err(MboxError::NotMbox);
                }
                self.next = Some(piece);
                break;
            }
        }
        let Some(from) = self.next.take() else { return Ok(None) };
        let mut message = Message::new(self.quoting);
        message.envelope.date = dates::from_line(&from[b"From ".len()..]);
        // The empty line before a `From_` line is the file's; whether this one is turns out with the next.
        let mut blank: Option<Vec<u8>> = None;
        while let Some((begins, piece)) = self.piece()? {
            if begins && is_from_line(&piece, blank.is_some()) {
                self.next = Some(piece);
                return Ok(Some(message.envelope));
            }
            if let Some(blank) = blank.take() {
                out.write_all(&blank)?;
            }
            if begins && is_blank(&piece) {
                message.in_header = false;
                blank = Some(piece);
            } else {
                message.line(begins, &piece, out)?;
            }
        }
        Ok(Some(message.envelope))
    }
}

fn is_blank(piece: &[u8]) -> bool {
    matches!(piece, b"\n" | b"\r\n")
}

fn is_from_line(piece: &[u8], after_blank: bool) -> bool {
    let Some(rest) = piece.strip_prefix(b"From ") else { return false };
    piece.ends_with(b"\n")
        && (dates::from_line(rest).is_some() || (after_blank && rest.trim_ascii().is_empty()))
}

/// The state within one message.
struct Message {
    envelope: Envelope,
    quoting: Quoting,
    in_header: bool,
    /// Lines of the header so far.
    lines: u32,
    /// Our own export puts its three fields first and in this order: then these are the file's and all others the
    /// message's own. So many of them came.
    own: usize,
    /// Fields taken out already: each is taken once.
    taken: Vec<&'static str>,
    /// What follows in the header continues a field taken out.
    dropping: Option<&'static str>,
}

/// The fields of an export, in its order.
pub(super) const OWN_FIELDS: [&str; 3] = ["Status", "X-Status", "X-Keywords"];
/// All that mail programs keep in a message's header for themselves.
const FIELDS: [&str; 6] =
    ["Status", "X-Status", "X-Keywords", "X-Mozilla-Status", "X-Mozilla-Status2", "X-Mozilla-Keys"];

impl Message {
    fn new(quoting: Quoting) -> Self {
        Self {
            envelope: Envelope::default(),
            quoting,
            in_header: true,
            lines: 0,
            own: 0,
            taken: Vec::new(),
            dropping: None,
        }
    }

    fn line(&mut self, begins: bool, piece: &[u8], out: &mut dyn Write) -> io::Result<()> {
        if self.in_header && begins && self.is_the_files(piece) {
            return Ok(());
        }
        let quoted = begins && {
            let from = piece.iter().position(|b| *b != b'>').filter(|n| match self.quoting {
                Quoting::Rd => *n > 0,
                Quoting::O => *n == 1,
            });
            from.is_some_and(|n| piece[n..].starts_with(b"From "))
        };
        out.write_all(if quoted { &piece[1..] } else { piece })
    }

    /// Whether a line of the header is a note of a mail program, which is then taken.
    fn is_the_files(&mut self, line: &[u8]) -> bool {
        if matches!(line, [b' ' | b'\t', ..]) {
            if let Some(field) = self.dropping {
                self.note(field, line);
            }
            return self.dropping.is_some();
        }
        self.dropping = None;
        let first = self.lines;
        self.lines = self.lines.saturating_add(1);
        let Some(colon) = memchr::memchr(b':', line) else { return false };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let Some(field) = FIELDS.into_iter().find(|f| f.as_bytes().eq_ignore_ascii_case(name)) else {
            return false;
        };
        if self.own == OWN_FIELDS.len() || self.taken.contains(&field) || !is_note(field, value) {
            return false;
        }
        if first as usize == self.own && OWN_FIELDS[self.own] == field {
            self.own += 1;
        }
        self.taken.push(field);
        // Ours have no second line: what looks like one is the message's own first.
        self.dropping = (self.own < OWN_FIELDS.len()).then_some(field);
        self.note(field, value);
        true
    }

    fn note(&mut self, field: &str, value: &[u8]) {
        match field {
            "Status" if value.contains(&b'R') => self.flag(Flag::Seen),
            "X-Status" => {
                for letter in value {
                    match letter {
                        b'A' => self.flag(Flag::Answered),
                        b'F' => self.flag(Flag::Flagged),
                        b'T' => self.flag(Flag::Draft),
                        b'D' => self.flag(Flag::Deleted),
                        _ => {}
                    }
                }
            }
            "X-Keywords" | "X-Mozilla-Keys" => {
                for word in String::from_utf8_lossy(value).split_whitespace() {
                    self.flags_word(word);
                }
            }
            "X-Mozilla-Status" => {
                let bits = std::str::from_utf8(value).ok().and_then(|v| u32::from_str_radix(v, 16).ok());
                let bits = bits.unwrap_or(0);
                // nsMsgMessageFlags.idl
                for (bit, flag) in [(0x1, Flag::Seen), (0x2, Flag::Answered), (0x4, Flag::Flagged)] {
                    if bits & bit != 0 {
                        self.flag(flag);
                    }
                }
                if bits & 0x1000 != 0 {
                    self.flags_word("$Forwarded");
                }
                self.envelope.expunged |= bits & 0x8 != 0;
            }
            _ => {}
        }
    }

    fn flag(&mut self, flag: Flag) {
        if !self.envelope.flags.contains(&flag) {
            self.envelope.flags.push(flag);
        }
    }

    fn flags_word(&mut self, word: &str) {
        if let Some(atom) = keyword(word) {
            self.flag(Flag::Keyword(atom));
        }
    }
}

/// Whether a field's value is what mail programs write there; a bug tracker's `Status: fixed` is the message's own.
fn is_note(field: &str, value: &[u8]) -> bool {
    let only = |letters: &[u8]| value.iter().all(|b| letters.contains(b));
    match field {
        "Status" => only(b"RONUD"),
        "X-Status" => only(b"AFDTRO"),
        "X-Mozilla-Status" | "X-Mozilla-Status2" => {
            matches!(value.len(), 4 | 8) && value.iter().all(u8::is_ascii_hexdigit)
        }
        _ => true,
    }
}

/// A word as an IMAP keyword; what an atom may not hold becomes `_`.
pub(crate) fn keyword(word: &str) -> Option<Atom> {
    let clean = |c: char| if c.is_ascii() && Atom::new(c).is_some() { c } else { '_' };
    Atom::new(word.chars().map(clean).collect::<String>())
}
