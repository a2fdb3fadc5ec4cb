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
        mime::{Scanner, Structure},
        structure,
    },
    message::Header,
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
    /// The texts of its parts, decoded; a line feed between them.
    pub text: Zeroizing<String>,
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
        Ok(Described {
            size: self.size(),
            head: Zeroizing::new(self.head().to_vec()),
            envelope: Zeroizing::new(envelope),
            body: Zeroizing::new(body),
            body_structure: Zeroizing::new(body_structure),
            text: parser.finish()?.all,
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
    current: Option<(Option<String>, Zeroizing<Vec<u8>>)>,
}

impl Sink for Texts {
    fn begin(&mut self, part: &Part) -> io::Result<()> {
        let kind = part.content_type.value.as_str();
        let text = kind.is_empty() || kind == "text" || kind.starts_with("text/");
        let charset = part.content_type.get("charset").map(str::to_owned);
        self.current = text.then(|| (charset, Zeroizing::new(Vec::new())));
        Ok(())
    }

    fn data(&mut self, octets: &[u8]) -> io::Result<()> {
        if let Some((_, held)) = &mut self.current {
            let room = TEXT_MAX.saturating_sub(self.all.len() + held.len()).min(octets.len());
            held.extend_from_slice(&octets[..room]);
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        if let Some((charset, octets)) = self.current.take() {
            if !self.all.is_empty() {
                self.all.push('\n');
            }
            self.all.push_str(&Zeroizing::new(decode_charset(charset.as_deref(), &octets)));
        }
        Ok(())
    }
}
