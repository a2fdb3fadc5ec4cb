//! The armour block in a body, wherever a relay put it, laid out again as its sender wrote it (profile §6, second try).

use crate::{
    mime::parser::{Parser, Part, Sink},
    spool::{Spool, SpoolReader, for_each_chunk, spool},
};
use sealpost_proto::message::Header;
use std::{
    io::{self, BufWriter, Write as _},
    ops::Range,
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

/// A whole block in 64 columns with CRLF: where it stands in a message, if it does so there, else laid out again.
#[derive(Clone)]
pub(super) struct Block {
    pub(super) spool: Arc<Spool>,
    /// Octets of that.
    pub(super) range: Range<u64>,
}

impl Block {
    fn laid_out(spool: Spool) -> Self {
        let range = 0..spool.size();
        Self { spool: Arc::new(spool), range }
    }

    pub(super) fn size(&self) -> u64 {
        self.range.end - self.range.start
    }

    pub(super) fn reader(&self) -> SpoolReader {
        SpoolReader::range(self.spool.clone(), self.range.start, self.range.end)
    }
}

/// What a search found.
pub(super) enum Found {
    Block(Block),
    /// A block with something in it that is no armour, or without an end.
    Damaged,
    /// No armour line.
    Nothing,
}

/// Looks through the body, which starts at `body` in `message`: as it stands, else part by part with the transfer
/// encoding undone.
pub(super) fn find(message: &Arc<Spool>, header: &Header, body: u64) -> io::Result<Found> {
    if let Some(range) = as_sealed(message, body) {
        return Ok(Found::Block(Block { spool: message.clone(), range }));
    }
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

/// Where a block stands in a message in memory that is laid out already as [`Finder`] would do it, as nearly all are.
fn as_sealed(message: &Spool, body: u64) -> Option<Range<u64>> {
    let Spool::Memory(octets) = message else { return None };
    let mut at = usize::try_from(body).ok()?;
    let mut line = || {
        let start = at;
        at += memchr::memchr(b'\n', octets.get(start..)?)? + 1;
        Some((start, &octets[start..at]))
    };
    let start = loop {
        match line()? {
            (start, octets) if octets.strip_suffix(b"\r\n") == Some(BEGIN) => break start,
            // In another form: not for this one to say.
            (_, octets) if octets.trim_ascii() == BEGIN => return None,
            _ => {}
        }
    };
    let mut last = false;
    loop {
        let (start_of_line, octets) = line()?;
        let text = octets.strip_suffix(b"\r\n")?;
        if text == END {
            return Some(start as u64..(start_of_line + octets.len()) as u64);
        }
        let letters = text.iter().position(|b| !is_base64(*b)).unwrap_or(text.len());
        // Behind a short line, or a padded one, there is none.
        let whole = text.len() <= COLUMNS && text[letters..].iter().all(|b| *b == b'=');
        if last || !whole || text.is_empty() {
            return None;
        }
        last = text.len() < COLUMNS || letters < COLUMNS;
    }
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
                Found::Block(Block::laid_out(Spool::new(spool)?))
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
                block.reader().read_to_string(&mut text).unwrap();
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

    #[test]
    fn what_is_laid_out_as_it_was_sealed_is_not_laid_out_again() {
        let in_place = |message: &str| as_sealed(&Spool::Memory(message.as_bytes().to_vec()), 8).is_some();
        for data in
            [String::new(), "QUI=".into(), "QUJD".repeat(16), "QUJD".repeat(17), "QUJD".repeat(15) + "QUI="]
        {
            let message = format!(
                "A: b\r\n\r\nlist\r\n{}-- \r\n",
                block(&data, 64, "\r\n").replace("\r\n\r\n", "\r\n")
            );
            assert!(in_place(&message), "{message}");
        }
        let data = "QUJD".repeat(40);
        for other in [
            block(&data, 60, "\r\n"),
            block(&data, 64, "\n"),
            block(&data, 64, " \r\n"),
            block(&(data.clone() + "QUI=QUJD"), 64, "\r\n"),
            block("QU-D", 64, "\r\n"),
            format!(" {}", block(&data, 64, "\r\n")),
            block(&data, 64, "\r\n").trim_end().to_owned(),
        ] {
            assert!(!in_place(&format!("A: b\r\n\r\n{other}")), "{other}");
        }
    }

    proptest! {
        /// Where it is found in place, it is what it would have been laid out as.
        #[test]
        fn in_place_is_as_laid_out(
            text in "(-----BEGIN AGE ENCRYPTED FILE-----\r\n)?(A{64}\r\n|A{63}=\r\n|AB==\r\n|A{1,66}\r\n|=\r\n|\r\n| A\n){0,4}(-----END AGE ENCRYPTED FILE-----\r\n)?x?",
            before in "(a\r\n| -----BEGIN AGE ENCRYPTED FILE-----\r\n){0,2}",
        ) {
            let message = Spool::Memory([b"A: b\r\n\r\n", before.as_bytes(), text.as_bytes()].concat());
            let mut finder = Finder::new();
            let Spool::Memory(octets) = &message else { unreachable!() };
            finder.feed(&octets[8..]).unwrap();
            let found = finder.finish().unwrap();
            if let Some(range) = as_sealed(&message, 8) {
                let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
                let Found::Block(laid_out) = found else { return Err(TestCaseError::fail("no block")) };
                let mut again = Vec::new();
                laid_out.reader().read_to_end(&mut again).unwrap();
                prop_assert_eq!(again, octets[range].to_vec());
            }
        }

        #[test]
        fn never_panics(text in "(-----BEGIN AGE ENCRYPTED FILE-----|-----END AGE ENCRYPTED FILE-----|A|=|\r\n|\n| |-){0,30}") {
            let _ = search(&format!("A: b\r\n\r\n{text}"));
        }
    }
}
