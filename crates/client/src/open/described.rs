//! What an index keeps of a message as shown: all that is asked of it without its octets.

use super::shown::Shown;
use crate::{
    mime::{
        parser::{Parser, Part, Sink},
        words::{decode_charset, decode_words},
    },
    spool::for_each_chunk,
};
use sealpost_proto::{
    imap::{
        casemap::casemap,
        mime::{Scanner, Structure},
        structure,
    },
    message::{Header, preview},
};
use std::io;
use zeroize::Zeroizing;

/// Most text kept for searching, in octets; what lies behind is not found. A book has about one MiB.
pub const TEXT_MAX: usize = 4 * 1024 * 1024;

/// A message in short.
pub struct Described {
    /// Octets.
    pub size: u64,
    /// Its header, with the empty line.
    pub head: Zeroizing<Vec<u8>>,
    /// ENVELOPE (RFC 9051 §7.5.2).
    pub envelope: Zeroizing<Vec<u8>>,
    /// BODY.
    pub body: Zeroizing<Vec<u8>>,
    /// BODYSTRUCTURE.
    pub body_structure: Zeroizing<Vec<u8>>,
    /// The texts of its parts, decoded; a line feed between them. In the form in which IMAP compares (i;unicode-casemap).
    pub text: Zeroizing<String>,
    /// Its first words (RFC 8970).
    pub preview: Zeroizing<String>,
}

impl Shown {
    /// Where the parts are.
    pub fn structure(&self) -> io::Result<Structure> {
        let mut scanner = Scanner::new();
        for_each_chunk(self.reader(0)?, |chunk| {
            scanner.push(chunk);
            Ok(())
        })?;
        Ok(scanner.finish())
    }

    /// Reads it once and tells what an index keeps.
    pub fn describe(&self) -> io::Result<Described> {
        // The header was read before, with the same limits; the verdict on top does not bring it over them.
        let (header, _) = Header::read(self.head()).unwrap_or_default();
        let mut scanner = Scanner::new();
        scanner.push(self.head());
        let mut parser = Parser::new(&header, Texts::default())?;
        for_each_chunk(self.reader(self.head().len() as u64)?, |chunk| {
            scanner.push(chunk);
            parser.feed(chunk)
        })?;
        let structure = scanner.finish();
        let mut envelope = Vec::new();
        if let Some(root) = structure.nodes.first() {
            structure::envelope(&mut envelope, root);
        }
        let mut body_structure = Vec::new();
        let extensions = structure::body_structure(&mut body_structure, &structure);
        let body = structure::body(&body_structure, &extensions);
        let texts = parser.finish()?;
        Ok(Described {
            size: self.size(),
            head: Zeroizing::new(self.head().to_vec()),
            envelope: Zeroizing::new(envelope),
            body: Zeroizing::new(body),
            body_structure: Zeroizing::new(body_structure),
            text: Zeroizing::new(casemap(&texts.all)),
            preview: texts.preview,
        })
    }
}

/// The decoded value of a header field, for searching.
pub fn field_text(unfolded: &[u8]) -> String {
    decode_words(&decode_charset(None, unfolded))
}

/// Gathers the texts of all text parts.
#[derive(Default)]
struct Texts {
    all: Zeroizing<String>,
    preview: Zeroizing<String>,
    current: Option<Current>,
    /// Text parts so far.
    parts: usize,
}

/// A text part as it comes.
struct Current {
    charset: Option<String>,
    is_html: bool,
    is_attachment: bool,
    octets: Zeroizing<Vec<u8>>,
}

impl Sink for Texts {
    fn begin(&mut self, part: &Part) -> io::Result<()> {
        let kind = part.content_type.value.as_str();
        let text = kind.is_empty() || kind == "text" || kind.starts_with("text/");
        let charset = part.content_type.get("charset").map(str::to_owned);
        self.current = text.then(|| Current {
            charset,
            is_html: kind == "text/html",
            is_attachment: part.disposition.value == "attachment",
            octets: Zeroizing::new(Vec::new()),
        });
        Ok(())
    }

    fn data(&mut self, octets: &[u8]) -> io::Result<()> {
        if let Some(Current { octets: held, .. }) = &mut self.current {
            let room = TEXT_MAX.saturating_sub(self.all.len() + held.len()).min(octets.len());
            held.extend_from_slice(&octets[..room]);
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        if let Some(current) = self.current.take() {
            if !self.all.is_empty() {
                self.all.push('\n');
            }
            let text = Zeroizing::new(decode_charset(current.charset.as_deref(), &current.octets));
            self.look(&current, &text);
            self.all.push_str(&text);
        }
        Ok(())
    }
}

impl Texts {
    /// Takes the first words, where none are there yet.
    fn look(&mut self, part: &Current, text: &str) {
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
