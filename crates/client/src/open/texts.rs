//! What is searched of a message's body, and its first words: the texts of all text parts, and of messages inside their
//! headers too (RFC 9051 §6.4.4), as they pass.

use super::field_text;
use crate::mime::{
    parser::{Parser, Part, Sink},
    words::decode_charset,
};
use sealpost_proto::message::{Header, preview};
use std::io;
use zeroize::Zeroizing;

/// Most text kept for searching, in octets; what lies behind is not found. A book has about one MiB.
pub const TEXT_MAX: usize = 4 * 1024 * 1024;
/// Messages within messages that are looked into; people forward what was forwarded, but not deeper.
const DEPTH_MAX: usize = 16;
/// Octets of the header of a message inside.
const HEADER_MAX: usize = 64 * 1024;

/// Gathers them.
#[derive(Default)]
pub(super) struct Texts {
    pub(super) all: Zeroizing<String>,
    pub(super) preview: Zeroizing<String>,
    current: Current,
    /// Text parts so far.
    parts: usize,
    /// Messages around this one, and how much text they have.
    depth: usize,
    around: usize,
}

/// A part as it comes.
#[derive(Default)]
enum Current {
    /// It has nothing to be searched.
    #[default]
    Other,
    Text(Text),
    /// The beginning of a message, up to the end of its header.
    Header(Zeroizing<Vec<u8>>),
    /// A message behind its header.
    Message(Box<Parser<Texts>>),
}

struct Text {
    charset: Option<String>,
    is_html: bool,
    is_attachment: bool,
    octets: Zeroizing<Vec<u8>>,
}

impl Sink for Texts {
    fn begin(&mut self, part: &Part) -> io::Result<()> {
        let kind = part.content_type.value.as_str();
        self.current = if kind.is_empty() || kind == "text" || kind.starts_with("text/") {
            Current::Text(Text {
                charset: part.content_type.get("charset").map(str::to_owned),
                is_html: kind == "text/html",
                is_attachment: part.disposition.value == "attachment",
                octets: Zeroizing::new(Vec::new()),
            })
        } else if matches!(kind, "message/rfc822" | "message/global") && self.depth < DEPTH_MAX {
            Current::Header(Zeroizing::new(Vec::new()))
        } else {
            Current::Other
        };
        Ok(())
    }

    fn data(&mut self, octets: &[u8]) -> io::Result<()> {
        let room = self.room();
        match &mut self.current {
            Current::Other => {}
            Current::Text(Text { octets: held, .. }) => {
                let room = room.saturating_sub(held.len()).min(octets.len());
                held.extend_from_slice(&octets[..room]);
            }
            Current::Header(held) => {
                held.extend_from_slice(octets);
                match end_of_header(held) {
                    Some(end) if end <= HEADER_MAX => {
                        let held = std::mem::take(held);
                        self.enter(&held[..end], &held[end..])?;
                    }
                    _ if held.len() > HEADER_MAX => self.current = Current::Other,
                    _ => {}
                }
            }
            Current::Message(parser) => parser.feed(octets)?,
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        if let Current::Header(held) = &mut self.current {
            // All of it is header.
            let held = std::mem::take(held);
            self.enter(&held, b"")?;
        }
        match std::mem::take(&mut self.current) {
            Current::Text(part) => {
                let text = Zeroizing::new(decode_charset(part.charset.as_deref(), &part.octets));
                self.look(&part, &text);
                self.push(&text);
            }
            Current::Message(parser) => {
                let inside = parser.finish()?;
                self.parts += inside.parts;
                if self.preview.is_empty() {
                    self.preview = inside.preview;
                }
                self.push(&inside.all);
            }
            Current::Other | Current::Header(_) => {}
        }
        Ok(())
    }
}

impl Texts {
    fn room(&self) -> usize {
        TEXT_MAX.saturating_sub(self.around + self.all.len())
    }

    fn push(&mut self, text: &str) {
        if !self.all.is_empty() {
            self.all.push('\n');
        }
        self.all.push_str(text);
    }

    /// Goes on in a message inside.
    fn enter(&mut self, header: &[u8], body: &[u8]) -> io::Result<()> {
        let (header, _) = Header::read(header).unwrap_or_default();
        let field = |field: &sealpost_proto::message::Field| {
            format!("{}: {}\n", field.name(), field_text(&field.unfolded()))
        };
        let mut text = Zeroizing::new(header.fields().iter().map(field).collect::<String>());
        let mut cut = text.len().min(self.room());
        while !text.is_char_boundary(cut) {
            cut -= 1;
        }
        text.truncate(cut);
        let inside = Self {
            all: text,
            parts: self.parts,
            depth: self.depth + 1,
            around: self.around + self.all.len(),
            ..Self::default()
        };
        let mut parser = Box::new(Parser::new(&header, inside)?);
        parser.feed(body)?;
        self.current = Current::Message(parser);
        Ok(())
    }

    /// Takes the first words, where none are there yet.
    fn look(&mut self, part: &Text, text: &str) {
        self.parts += 1;
        // The first is what the message says, whatever it calls itself; others may be files.
        let is_file = self.parts > 1 && part.is_attachment;
        if self.parts > preview::PARTS_MAX || is_file || !self.preview.is_empty() {
            return;
        }
        let most = usize::try_from(preview::LOOKED_AT_MAX).unwrap_or(usize::MAX);
        let mut end = text.len().min(most);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let start = &text[..end];
        if preview::is_sealed(start) {
            self.parts = preview::PARTS_MAX;
            return;
        }
        let words = if part.is_html {
            preview::of_html(start, end == text.len())
        } else {
            preview::of_text(start, true)
        };
        self.preview = Zeroizing::new(words);
    }
}

/// Behind the empty line that ends a header.
fn end_of_header(octets: &[u8]) -> Option<usize> {
    if let Some(rest) = octets.strip_prefix(b"\r\n").or_else(|| octets.strip_prefix(b"\n")) {
        return Some(octets.len() - rest.len());
    }
    let at = |end: &[u8]| memchr::memmem::find(octets, end).map(|at| at + end.len());
    match (at(b"\n\r\n"), at(b"\n\n")) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(message: &str, piece: usize) -> (String, String) {
        let (header, body) = Header::read(message.as_bytes()).expect("a header");
        let mut parser = Parser::new(&header, Texts::default()).expect("no I/O");
        for octets in message.as_bytes()[body..].chunks(piece) {
            parser.feed(octets).expect("no I/O");
        }
        let texts = parser.finish().expect("no I/O");
        (texts.all.to_string(), texts.preview.to_string())
    }

    #[test]
    fn messages_inside_are_searched_with_their_headers() {
        let mixed = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
        for (message, all, preview) in [
            ("Subject: x\r\n\r\nwords\r\n".to_owned(), "words\r\n", "words"),
            (
                format!(
                    "{mixed}--b\r\n\r\nouter\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n\
                     Subject: =?utf-8?q?=C3=A4?=\r\n folded\r\nContent-Transfer-Encoding: base64\r\n\r\naW5uZXI=\r\n--b--\r\n"
                ),
                "outer\nSubject: \u{e4} folded\nContent-Transfer-Encoding: base64\n\ninner",
                "outer",
            ),
            (
                "Content-Type: message/rfc822\r\n\r\nA: 1\n\nall of it".to_owned(),
                "A: 1\n\nall of it",
                "all of it",
            ),
            ("Content-Type: message/rfc822\r\n\r\nA: header alone\r\n".to_owned(), "A: header alone\n\n", ""),
            ("Content-Type: message/rfc822\r\n\r\n\r\nno header".to_owned(), "no header", "no header"),
            ("Content-Type: image/png\r\n\r\nx".to_owned(), "", ""),
        ] {
            for piece in [1, 7, 4096] {
                assert_eq!(texts(&message, piece), (all.to_owned(), preview.to_owned()), "{message}");
            }
        }
    }

    #[test]
    fn limits_one_below_and_one_above() {
        for (depth, found) in [(DEPTH_MAX, true), (DEPTH_MAX + 1, false)] {
            let message = "Content-Type: message/rfc822\r\n\r\n".repeat(depth) + "\r\ndeep";
            assert_eq!(texts(&message, 4096).0.contains("deep"), found, "{depth}");
        }
        for (octets, kept) in [(TEXT_MAX, TEXT_MAX), (TEXT_MAX + 1, TEXT_MAX)] {
            let message = format!("A: b\r\n\r\n{}", "x".repeat(octets));
            assert_eq!(texts(&message, 1 << 16).0.len(), kept);
        }
        for (octets, found) in [(HEADER_MAX - 100, true), (HEADER_MAX + 100, false)] {
            let message =
                format!("Content-Type: message/rfc822\r\n\r\nA: {}\r\n\r\ninside", "x ".repeat(octets / 2));
            assert_eq!(texts(&message, 1000).0.contains("inside"), found, "{octets}");
        }
    }
}
