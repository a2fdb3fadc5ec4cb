//! What FETCH, SEARCH, SORT and THREAD want to know of a message without opening it, made once when it is stored
//! (`NewMessage::index`, opaque to the store): ENVELOPE, BODY and BODYSTRUCTURE as they go out, when it says it was
//! sent, what it answers, and where each part lies. What SORT and THREAD compare else stands in the ENVELOPE: see
//! [`Keys`]. `stored` has the layout.

mod stored;

use super::{sketch::sketch, text::decode_header};
use sealpost_proto::{
    imap::{
        Day,
        date::{header_day, header_time},
        envelope::Envelope,
        keys::{Keys, MessageRef, references},
        mime::{Field, Kind, Node, Scanner, Structure},
        section, structure,
    },
    message::transfer::Decoder,
    time::Timestamp,
};
use sealpost_store::{
    mailbox::{ContentReader, Sketch},
    spool::Body,
};
use std::{io, ops::Range};

/// Octets read at a time.
const CHUNK: usize = 64 * 1024;

/// What is known of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    pub(super) envelope: Vec<u8>,
    /// From, Sender and Reply-To in it.
    originators: [Range<usize>; 3],
    pub(super) body_structure: Vec<u8>,
    body: Plain,
    pub(super) sent: Option<Sent>,
    /// What the message answers, oldest first; `None` where an index of version 1 does not know.
    references: Option<Vec<MessageRef>>,
    pub(super) parts: Vec<Part>,
}

/// Where BODY is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Plain {
    /// It is BODYSTRUCTURE without these ranges, its extension data.
    Without(Vec<Range<usize>>),
    /// Version 1 had it written out.
    Written(Vec<u8>),
}

/// When a message says it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    /// As written, without regard to time and zone (SENTON).
    pub(super) day: Day,
    /// In UTC (SORT DATE).
    pub(super) at: Timestamp,
}

/// Where a part lies; see [`Node`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) header: u64,
    pub(super) body: u64,
    pub(super) end: u64,
    pub(super) kind: Kind,
    /// Text to be searched, and how to decode it.
    pub(super) text: Option<Text>,
    pub(super) children: Vec<usize>,
}

/// How the text of a part is encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) encoding: Encoding,
    pub(super) charset: String,
}

/// Content-Transfer-Encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    QuotedPrintable,
    Base64,
}

impl Encoding {
    /// What takes it off.
    pub(super) fn decoder(self) -> Decoder {
        Decoder::new(match self {
            Self::Identity => "8bit",
            Self::QuotedPrintable => "quoted-printable",
            Self::Base64 => "base64",
        })
    }
}

/// Gathers what is kept of a message beside its octets, while they pass.
#[derive(Default)]
pub(crate) struct Indexer(Scanner);

impl Indexer {
    /// The next octets.
    pub(crate) fn push(&mut self, octets: &[u8]) {
        self.0.push(octets);
    }

    /// Index and sketch for a `NewMessage`; `body` has what was pushed.
    pub(crate) async fn finish(self, body: &Body) -> io::Result<(Vec<u8>, Sketch)> {
        let index = Index::of(&self.0.finish());
        let in_memory = body.as_slice().is_some();
        let body = Received(body.clone());
        let work = move || -> io::Result<_> { Ok((index.stored(), sketch(&index, &body)?)) };
        // What is in memory is small, and nothing blocks.
        if in_memory { work() } else { tokio::task::spawn_blocking(work).await.map_err(io::Error::other)? }
    }
}

/// Index and sketch of a message in memory, for a `NewMessage`.
pub fn describe(message: &Body) -> io::Result<(Vec<u8>, Sketch)> {
    let message = Received(message.clone());
    let index = parse(&message)?;
    Ok((index.stored(), sketch(&index, &message)?))
}

/// The index of a message as it is stored; empty where it would be too large to be worth its place.
pub fn build(message: &[u8]) -> Vec<u8> {
    let mut scanner = Scanner::new();
    scanner.push(message);
    Index::of(&scanner.finish()).stored()
}

/// Reads a whole message for its index, where none is stored. Blocks: it may be 100 MB.
pub(super) fn parse(content: &dyn ContentReader) -> io::Result<Index> {
    let mut scanner = Scanner::new();
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    loop {
        let n = content.read_at(at, &mut buffer)?;
        if n == 0 {
            return Ok(Index::of(&scanner.finish()));
        }
        scanner.push(&buffer[..n]);
        at += n as u64;
    }
}

/// A message that is not stored yet.
struct Received(Body);

impl ContentReader for Received {
    fn len(&self) -> u64 {
        self.0.len()
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buf)
    }
}

impl Index {
    /// Everything that is kept of a structure.
    pub(crate) fn of(parsed: &Structure) -> Self {
        let mut index = Self {
            envelope: Vec::new(),
            originators: [0..0, 0..0, 0..0],
            body_structure: Vec::new(),
            body: Plain::Without(Vec::new()),
            sent: None,
            references: Some(Vec::new()),
            parts: parsed.nodes.iter().map(Part::of).collect(),
        };
        if let Some(root) = parsed.nodes.first() {
            index.originators = structure::envelope(&mut index.envelope, root);
            index.sent = root.field(Field::Date).and_then(|date| {
                let date = String::from_utf8_lossy(date);
                header_day(&date).zip(header_time(&date)).map(|(day, at)| Sent { day, at })
            });
            let ids = |field| root.joined(field).unwrap_or_default();
            index.references = Some(references(&ids(Field::References), &ids(Field::InReplyTo)));
        }
        index.body = Plain::Without(structure::body_structure(&mut index.body_structure, parsed));
        index
    }

    /// What SORT and THREAD compare; `None` where the index does not know (version 1): the message has to be parsed anew.
    pub(super) fn keys(&self) -> Option<Keys> {
        let references = self.references.clone()?;
        let envelope = Envelope::read(&self.envelope).ok()?;
        Some(Keys::new(envelope, self.sent.map(|sent| sent.at), references, decode_header))
    }

    /// BODY.
    pub(super) fn body(&self) -> Vec<u8> {
        match &self.body {
            Plain::Without(extensions) => structure::body(&self.body_structure, extensions),
            Plain::Written(body) => body.clone(),
        }
    }
}

impl section::Part for Part {
    fn kind(&self) -> Kind {
        self.kind
    }
    fn place(&self) -> (Range<u64>, Range<u64>) {
        (self.header..self.body, self.body..self.end)
    }
    fn children(&self) -> &[usize] {
        &self.children
    }
}

impl Part {
    fn of(node: &Node) -> Self {
        let searched = node.kind == Kind::Leaf && node.content_type.is("text", "*");
        let text = searched.then(|| {
            let encoding = node.field(Field::Encoding).unwrap_or_default().trim_ascii().to_ascii_lowercase();
            let charset = node.content_type.parameter("charset").unwrap_or_default();
            Text {
                encoding: match encoding.as_slice() {
                    b"quoted-printable" => Encoding::QuotedPrintable,
                    b"base64" => Encoding::Base64,
                    _ => Encoding::Identity,
                },
                // No name of a charset is longer than this.
                charset: String::from_utf8_lossy(&charset[..charset.len().min(64)]).into_owned(),
            }
        });
        Self {
            header: node.header,
            body: node.body,
            end: node.end,
            kind: node.kind,
            text,
            children: node.children.clone(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
