//! The armour block in a body, wherever a relay put it, laid out again as its sender wrote it (profile §6, second try).

use crate::{
    mime::parser::{Parser, Part, Sink},
    spool::{Spool, SpoolReader, for_each_chunk, spool},
};
use sealpost_proto::message::Header;
use std::{
    io::{self, BufWriter, Write as _},
    sync::Arc,
};
use tempfile::SpooledTempFile;

const BEGIN: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";
const END: &[u8] = b"-----END AGE ENCRYPTED FILE-----";

/// Columns of the armour (age v1: RFC 7468's strict form).
const COLUMNS: usize = 64;

/// Longest line that can be a marker, white space around it included.
const MAX_MARKER_LINE_OCTETS: usize = 200;

/// How deep multiparts are entered: a relay wraps once (profile §6).
const MAX_DEPTH: usize = 1;

/// What a search found.
pub(super) enum Found {
    /// A whole block, laid out again in 64 columns with CRLF.
    Block(Arc<Spool>),
    /// A block with something in it that is no armour, or without an end.
    Damaged,
    /// No armour line.
    Nothing,
}

/// Looks through the body, which starts at `body` in `message`: as it stands, else part by part with the transfer
/// encoding undone.
pub(super) fn find(message: &Arc<Spool>, header: &Header, body: u64) -> io::Result<Found> {
    let reader = || SpoolReader::range(message.clone(), body, u64::MAX);
    let mut finder = Finder::new();
    for_each_chunk(reader(), |chunk| finder.feed(chunk))?;
    let as_it_stands = finder.finish()?;
    if matches!(as_it_stands, Found::Block(_)) {
        return Ok(as_it_stands);
    }
    let search = Search { found: Found::Nothing, finder: None };
    let mut parser = Parser::with_depth(header, search, MAX_DEPTH)?;
    for_each_chunk(reader(), |chunk| parser.feed(chunk))?;
    Ok(match (parser.finish()?.found, as_it_stands) {
        (Found::Nothing, other) | (other, _) => other,
    })
}

/// Whether an armour line stands in the body: what a plain message must have said of it.
pub(super) fn is_there(message: &Arc<Spool>, body: u64) -> io::Result<bool> {
    let mut finder = Finder { quiet: true, ..Finder::new() };
    for_each_chunk(SpoolReader::range(message.clone(), body, u64::MAX), |chunk| finder.feed(chunk))?;
    Ok(!matches!(finder.state, State::Looking))
}

/// Gives every part a finder of its own and keeps the first whole block.
struct Search {
    found: Found,
    finder: Option<Finder>,
}

impl Sink for Search {
    fn begin(&mut self, _: &Part) -> io::Result<()> {
        self.finder = (!matches!(self.found, Found::Block(_))).then(Finder::new);
        Ok(())
    }

    fn data(&mut self, octets: &[u8]) -> io::Result<()> {
        self.finder.as_mut().map_or(Ok(()), |finder| finder.feed(octets))
    }

    fn end(&mut self) -> io::Result<()> {
        if let Some(finder) = self.finder.take() {
            match finder.finish()? {
                Found::Nothing => {}
                found => self.found = found,
            }
        }
        Ok(())
    }
}

/// Letters of base64, by octet.
const BASE64: [bool; 256] = {
    let (mut table, letters) =
        ([false; 256], b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
    let mut at = 0;
    while at < letters.len() {
        table[letters[at] as usize] = true;
        at += 1;
    }
    table
};

fn is_base64(octet: u8) -> bool {
    BASE64[usize::from(octet)]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Looking,
    Inside,
    Done,
    Damaged,
}

struct Finder {
    state: State,
    /// The line so far, and whether its start was given up as too long.
    line: Vec<u8>,
    long: bool,
    /// Base64 of the line being laid out.
    row: Vec<u8>,
    padded: bool,
    /// Only looks for the first marker.
    quiet: bool,
    out: BufWriter<SpooledTempFile>,
}

impl Finder {
    fn new() -> Self {
        Self {
            state: State::Looking,
            line: Vec::new(),
            long: false,
            row: Vec::new(),
            padded: false,
            quiet: false,
            out: BufWriter::with_capacity(64 * 1024, spool()),
        }
    }

    fn feed(&mut self, octets: &[u8]) -> io::Result<()> {
        let mut rest = octets;
        while !rest.is_empty() && !matches!(self.state, State::Done | State::Damaged) {
            let end = rest.iter().position(|&b| b == b'\n').map(|i| i + 1);
            let (piece, behind) = rest.split_at(end.unwrap_or(rest.len()));
            rest = behind;
            self.line.extend_from_slice(piece);
            if end.is_some() {
                self.line_done()?;
            } else if self.line.len() > MAX_MARKER_LINE_OCTETS {
                // No marker: what came so far is data, or not for us.
                let line = std::mem::take(&mut self.line);
                self.long = true;
                if self.state == State::Inside {
                    self.data(&line)?;
                }
            }
        }
        Ok(())
    }

    fn line_done(&mut self) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        let whole = !std::mem::replace(&mut self.long, false);
        let text = line.trim_ascii();
        match self.state {
            State::Looking if whole && text == BEGIN => {
                self.state = if self.quiet { State::Done } else { State::Inside };
                self.out.write_all(BEGIN)?;
                self.out.write_all(b"\r\n")?;
            }
            State::Inside if whole && text == END => {
                self.end_row()?;
                self.out.write_all(END)?;
                self.out.write_all(b"\r\n")?;
                self.state = State::Done;
            }
            State::Inside => self.data(text)?,
            _ => {}
        }
        self.line = line;
        self.line.clear();
        Ok(())
    }

    fn data(&mut self, text: &[u8]) -> io::Result<()> {
        // A line as its sender wrote it, which is nearly every one.
        if text.len() == COLUMNS && self.row.is_empty() && !self.padded && text.iter().all(|b| is_base64(*b))
        {
            self.out.write_all(text)?;
            return self.out.write_all(b"\r\n");
        }
        for &b in text {
            match b {
                b' ' | b'\t' | b'\r' | b'\n' => continue,
                b'=' => self.padded = true,
                _ if !self.padded && is_base64(b) => {}
                _ => {
                    self.state = State::Damaged;
                    return Ok(());
                }
            }
            self.row.push(b);
            if self.row.len() == COLUMNS {
                self.end_row()?;
            }
        }
        Ok(())
    }

    fn end_row(&mut self) -> io::Result<()> {
        if !self.row.is_empty() {
            self.out.write_all(&self.row)?;
            self.out.write_all(b"\r\n")?;
            self.row.clear();
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<Found> {
        if !self.line.is_empty() && !matches!(self.state, State::Done | State::Damaged) {
            self.line_done()?;
        }
        Ok(match self.state {
            State::Looking => Found::Nothing,
            State::Inside | State::Damaged => Found::Damaged,
            State::Done => {
                let spool = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
                Found::Block(Arc::new(Spool::new(spool)?))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Read as _;

    fn search(message: &str) -> Result<String, &'static str> {
        let (header, body) = Header::read(message.as_bytes()).unwrap();
        let spool = Arc::new(Spool::Memory(message.as_bytes().to_vec()));
        match find(&spool, &header, body as u64).unwrap() {
            Found::Block(block) => {
                let mut text = String::new();
                SpoolReader::new(block).read_to_string(&mut text).unwrap();
                Ok(text)
            }
            Found::Damaged => Err("damaged"),
            Found::Nothing => Err("nothing"),
        }
    }

    fn block(data: &str, columns: usize, line_end: &str) -> String {
        let lines: Vec<&str> =
            data.as_bytes().chunks(columns).map(|l| std::str::from_utf8(l).unwrap()).collect();
        format!(
            "-----BEGIN AGE ENCRYPTED FILE-----{line_end}{}{line_end}-----END AGE ENCRYPTED FILE-----{line_end}",
            lines.join(line_end)
        )
    }

    #[test]
    fn finds_the_block_wherever_a_relay_put_it() {
        use sealpost_proto::message::write;
        let data = "QUJD".repeat(40) + "QUI=";
        let want = block(&data, 64, "\r\n");
        let encoded = write::base64_lines(want.as_bytes());
        let quoted = write::quoted_printable(&want);
        assert!(quoted.contains("=3D"));
        let rows = [
            format!("A: b\r\n\r\n{want}"),
            format!("A: b\r\n\r\n{}", block(&data, 60, "\r\n")),
            format!("A: b\r\n\r\n{}", block(&data, 64, "\n")),
            format!("A: b\r\n\r\n{}", block(&data, 1000, "\r\n")),
            format!("A: b\r\n\r\n{}", block(&data, 64, "  \r\n")),
            format!("A: b\r\n\r\n\r\nsome list's header\r\n{want}-- \r\nfooter\r\n"),
            format!("Content-Transfer-Encoding: base64\r\n\r\n{encoded}"),
            format!("Content-Transfer-Encoding: quoted-printable\r\n\r\n{quoted}"),
            format!(
                "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\n{want}\r\n--x\r\n\r\nfooter\r\n--x--\r\n"
            ),
            format!(
                "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nhello\r\n--x\r\n\
                 Content-Transfer-Encoding: base64\r\n\r\n{encoded}\r\n--x--\r\n"
            ),
            // The outer field lies about the encoding.
            format!("Content-Transfer-Encoding: base64\r\n\r\n{want}"),
        ];
        for message in rows {
            assert_eq!(search(&message).as_deref(), Ok(want.as_str()), "{message}");
        }
    }

    #[test]
    fn what_is_no_block() {
        let want = block("QUJD", 64, "\r\n");
        let two_levels = format!(
            "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n\
             --y\r\nContent-Transfer-Encoding: base64\r\n\r\n{}--y--\r\n--x--\r\n",
            sealpost_proto::message::write::base64_lines(want.as_bytes())
        );
        let rows = [
            ("A: b\r\n\r\n".into(), "nothing"),
            ("A: b\r\n\r\nhello\r\n".into(), "nothing"),
            (format!("A: b\r\n\r\n> {want}"), "nothing"),
            (two_levels, "nothing"),
            (format!("A: b\r\n\r\n{}", want.replace("END", "FIN")), "damaged"),
            (format!("A: b\r\n\r\n{}", want.replace("QUJD", "QU-D")), "damaged"),
            (format!("A: b\r\n\r\n{}", want.replace("QUJD", "QU=D")), "damaged"),
            (format!("A: b\r\n\r\n{}", &want[..want.len() - 10]), "damaged"),
        ];
        for (message, outcome) in rows {
            assert_eq!(search(&message), Err(outcome), "{message}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(-----BEGIN AGE ENCRYPTED FILE-----|-----END AGE ENCRYPTED FILE-----|A|=|\r\n|\n| |-){0,30}") {
            let _ = search(&format!("A: b\r\n\r\n{text}"));
        }
    }
}
