//! What an index keeps of a message as shown: all that is asked of it without its octets.

use super::{shown::Shown, texts::Texts};
use crate::{
    mime::{
        parser::Parser,
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
    message::Header,
};
use std::io;
use zeroize::Zeroizing;

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
    /// The texts of its parts and the headers of messages inside, decoded; a line feed between them. In the form in which IMAP
    /// compares (i;unicode-casemap).
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
