//! mbox files, written: mboxrd, with flags where mutt, Dovecot and Python look for them.

use super::{
    dates::asctime_of,
    mbox::OWN_FIELDS,
    stage::{Lf, Staged, is_regular},
};
use sealpost_proto::{imap::Flag, time::Timestamp};
use std::io::{self, Read, Write};

/// Writes one message: `From_` line, the three fields with its flags, its octets with every `>*From ` quoted once more,
/// an empty line.
///
/// Line ends are LF where the message has nothing but CRLF, which loses nothing; else its octets stay as they are. A
/// message that does not end in a line end gets one, since mbox has no other way.
pub(crate) fn write(
    out: &mut dyn Write,
    flags: &[Flag],
    date: Option<Timestamp>,
    message: &mut Staged,
) -> io::Result<()> {
    let regular = is_regular(message.reader()?)?;
    let end: &[u8] = if regular || message.size == 0 { b"\n" } else { first_line_end(message)? };
    let date = asctime_of(date.unwrap_or(Timestamp(0)));
    out.write_all(format!("From MAILER-DAEMON {date}").as_bytes())?;
    out.write_all(end)?;
    for (name, value) in OWN_FIELDS.into_iter().zip(values(flags)) {
        out.write_all(format!("{name}: {value}").as_bytes())?;
        out.write_all(end)?;
    }
    let mut quoted = Quote { out: &mut *out, state: Line::Start(0, 0), last: b'\n' };
    let mut reader = message.reader()?;
    if regular {
        io::copy(&mut reader, &mut Lf(&mut quoted))?;
    } else {
        io::copy(&mut reader, &mut quoted)?;
    }
    let last = quoted.finish()?;
    if last != b'\n' {
        out.write_all(end)?;
    }
    out.write_all(end)
}

/// The importer goes by the first line of a message; the lines put before it must not say otherwise.
fn first_line_end(message: &mut Staged) -> io::Result<&'static [u8]> {
    let mut before = 0;
    for octet in io::BufReader::new(message.reader()?).bytes() {
        let octet = octet?;
        if octet == b'\n' {
            return Ok(if before == b'\r' { b"\r\n" } else { b"\n" });
        }
        before = octet;
    }
    Ok(b"\n")
}

/// Status, X-Status and X-Keywords.
fn values(flags: &[Flag]) -> [String; 3] {
    let has = |flag| flags.contains(&flag);
    let status = if has(Flag::Seen) { "RO" } else { "O" };
    let letters = [(Flag::Answered, 'A'), (Flag::Flagged, 'F'), (Flag::Draft, 'T'), (Flag::Deleted, 'D')];
    let letters = letters.into_iter().filter(|(flag, _)| flags.contains(flag)).map(|(_, letter)| letter);
    let keywords = flags.iter().filter_map(|flag| match flag {
        Flag::Keyword(word) => Some(word.as_str()),
        _ => None,
    });
    [status.to_owned(), letters.collect(), keywords.collect::<Vec<_>>().join(" ")]
}

const FROM: &[u8] = b"From ";

/// Puts `>` before each line that is `>*From `.
struct Quote<'a> {
    out: &'a mut dyn Write,
    /// Where in a line we are.
    state: Line,
    last: u8,
}

/// What is held back of a line is known by its numbers.
enum Line {
    /// So many `>`, and then so many octets of `From `.
    Start(u64, usize),
    /// Something else stands there.
    Other,
}

impl Quote<'_> {
    fn finish(mut self) -> io::Result<u8> {
        self.release(b"")?;
        Ok(self.last)
    }
    /// Writes what is held back, with `before` before it.
    fn release(&mut self, before: &[u8]) -> io::Result<()> {
        if let Line::Start(quotes, matched) = self.state {
            self.out.write_all(before)?;
            io::copy(&mut io::repeat(b'>').take(quotes), self.out)?;
            self.out.write_all(&FROM[..matched])?;
            self.state = Line::Other;
        }
        Ok(())
    }
}

impl Write for Quote<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let mut rest = octets;
        while let Some(first) = rest.first() {
            match self.state {
                Line::Start(quotes, 0) if *first == b'>' => self.state = Line::Start(quotes + 1, 0),
                Line::Start(quotes, matched) if *first == FROM[matched] => {
                    self.state = Line::Start(quotes, matched + 1);
                    if matched + 1 == FROM.len() {
                        self.release(b">")?;
                    }
                }
                Line::Start(..) => {
                    self.release(b"")?;
                    continue;
                }
                Line::Other => {
                    let end = memchr::memchr(b'\n', rest).map(|at| at + 1);
                    let (line, after) = rest.split_at(end.unwrap_or(rest.len()));
                    self.out.write_all(line)?;
                    if end.is_some() {
                        self.state = Line::Start(0, 0);
                    }
                    rest = after;
                    continue;
                }
            }
            rest = &rest[1..];
        }
        if let Some(last) = octets.last() {
            self.last = *last;
        }
        Ok(octets.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
