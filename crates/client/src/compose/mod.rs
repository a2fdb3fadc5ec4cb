//! From a draft to octets that are sent (profile §6). Bounded memory: attachments are read as they are sealed, and
//! only sealed octets touch the disk.

mod carried;
mod draft;
mod given;
pub(crate) mod kept;
mod media_type;
mod seven_bit;
mod source;

pub use carried::Carried;
pub use draft::Draft;
pub(crate) use given::is_ours;
pub use given::{Given, Purpose, Taken};
pub(crate) use media_type::ending;
pub(crate) use seven_bit::seven_bit;

use crate::{
    protection,
    spool::{Spool, for_each_chunk, spool},
};
use sealpost_crypto::{key::SecretKey, seal};
use sealpost_proto::{
    address::Mailbox,
    key::{Algorithm, PublicKey},
    message::{
        Header, MAX_HEADER_OCTETS, SEALED_CONTENT_TYPE, SEALED_TRANSFER_ENCODING, SignatureInput,
        fold_pubkey, fold_signature, write,
    },
};
use sha2::{Digest as _, Sha256};
use source::{Segment, SegmentReader};
use std::{
    io::{self, Read, Write},
    sync::{Arc, OnceLock},
};

/// Most To and Cc recipients: with the extra stanza that `age` adds, readers take 1,000 (profile §6).
pub const MAX_VISIBLE_RECIPIENTS: usize = seal::MAX_STANZAS - 1;

/// Longest message id taken over from a message that is answered, so that its line stays under RFC 5322's 998.
const MAX_MESSAGE_ID_OCTETS: usize = 900;

/// What the outer Subject of sealed mail says (profile §6).
const HIDDEN_SUBJECT: &str = "[...]";

/// To of a message that has only Bcc recipients (RFC 5322 §3.4: an empty group): some relays write a To of their own
/// where there is none, which would break the signature.
const NO_VISIBLE_RECIPIENT: &str = "undisclosed-recipients:;";

/// A message with its Date, Message-ID and boundaries fixed, so that all its copies are the same octets but for Bcc.
pub struct Composition {
    from: Mailbox,
    message_id: String,
    /// From, To, Cc, Date and Message-ID as they stand outside.
    outer: String,
    /// The message's own header.
    lines: Vec<Line>,
    body: Vec<Segment>,
    payload_sha256: OnceLock<[u8; 32]>,
}

/// A piece of the message's own header.
enum Line {
    /// One field or several, with their line ends.
    Field(Vec<u8>),
    /// Content-Type without `hp`; empty where the message has none.
    ContentType(Vec<u8>),
    /// The full Bcc; empty where there is none. There is exactly one of these.
    Bcc(Vec<u8>),
}

/// Which copy (profile §6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Copy {
    /// For To and Cc: no Bcc field.
    Visible,
    /// For one Bcc recipient: `Bcc:` with that address alone.
    Blind(Mailbox),
    /// The sender's own: full Bcc.
    Sent,
}

/// A finished message: octets with CRLF that can be read any number of times. A sealed one lies in memory or, when
/// large, in an unlinked temporary file; a plain one is made from its sources as it is read, so that plain text never
/// touches the disk.
pub struct Outgoing {
    segments: Vec<Segment>,
    smtputf8: bool,
}

impl Outgoing {
    /// Octets.
    pub fn size(&self) -> u64 {
        self.segments.iter().map(Segment::size).sum()
    }
    /// Whether a header field holds UTF-8, so that every relay must offer SMTPUTF8 (RFC 6531).
    pub fn needs_smtputf8(&self) -> bool {
        self.smtputf8
    }
    /// A reader from the first octet on. It ends in an error, never early, if a source has changed meanwhile.
    pub fn open(&self) -> io::Result<OutgoingReader> {
        Ok(OutgoingReader(SegmentReader::new(self.segments.clone())))
    }
}

/// Reads an [`Outgoing`]; blocking, `Send`, free of borrows.
pub struct OutgoingReader(SegmentReader);

impl Read for OutgoingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Composition {
    fn of_lines(
        from: Mailbox,
        message_id: String,
        outer: String,
        lines: Vec<Line>,
        body: Vec<Segment>,
    ) -> Result<Self, ComposeError> {
        let composition = Self { from, message_id, outer, lines, body, payload_sha256: OnceLock::new() };
        let head = composition.payload_head(&Copy::Sent);
        if head.iter().map(|(piece, _)| piece.len()).sum::<usize>() > MAX_HEADER_OCTETS {
            return Err(ComposeError::HeaderTooLong);
        }
        Ok(composition)
    }
    /// The one From mailbox.
    pub fn from(&self) -> &Mailbox {
        &self.from
    }
    /// With its angle brackets.
    pub fn message_id(&self) -> &str {
        &self.message_id
    }
    /// Whether an address has a local part in UTF-8, so that every relay must offer SMTPUTF8 (RFC 6531).
    pub fn needs_smtputf8(&self) -> bool {
        !self.outer.is_ascii()
    }

    /// Sealed to `recipients` and signed by `signer`.
    pub fn sealed(
        &self,
        copy: &Copy,
        recipients: &[PublicKey],
        signer: &SecretKey,
    ) -> Result<Outgoing, ComposeError> {
        let mut payload = seal::seal_armoured(recipients, spool())?;
        let hash = self.write_payload(copy, &mut payload)?;
        // Attachments are checked one by one as they are read; that the rest is the same is checked here.
        if *self.payload_sha256.get_or_init(|| hash) != hash {
            return Err(ComposeError::Changed("of this message".into()));
        }
        let sealed = Segment::Sealed(Arc::new(Spool::new(payload.finish()?)?));

        let head = format!(
            "{}Subject: {HIDDEN_SUBJECT}\r\nMIME-Version: 1.0\r\nContent-Type: {SEALED_CONTENT_TYPE}\r\n\
             Content-Disposition: inline; filename=\"message.age\"\r\n\
             Content-Transfer-Encoding: {SEALED_TRANSFER_ENCODING}\r\nX-Sender-Encrypted: yes\r\n",
            self.outer
        );
        self.signed(head, vec![sealed], signer)
    }

    /// Plain and signed (`X-Sender-Encrypted: no`); the same octets for every recipient, without Bcc.
    pub fn plain(&self, signer: &SecretKey) -> Result<Outgoing, ComposeError> {
        let mut head = String::new();
        for line in &self.lines {
            if let Line::Field(raw) | Line::ContentType(raw) = line {
                head += std::str::from_utf8(raw).map_err(|_| ComposeError::NotText)?;
            }
        }
        // Senders always write one (profile §6); inside a sealed message nothing is added to what was composed.
        if !Header::read(head.as_bytes()).is_ok_and(|(header, _)| header.first("Subject").is_some()) {
            head += &write::text_field("Subject", "");
        }
        head += "X-Sender-Encrypted: no\r\n";
        self.signed(head, self.body.clone(), signer)
    }

    /// SHA-256 of the payload without Bcc fields: what replay memory holds for sealed mail.
    pub fn payload_sha256(&self) -> Result<[u8; 32], ComposeError> {
        if let Some(hash) = self.payload_sha256.get() {
            return Ok(*hash);
        }
        let hash = self.write_payload(&Copy::Visible, &mut io::sink())?;
        Ok(*self.payload_sha256.get_or_init(|| hash))
    }

    /// Writes the payload of a copy; the hash is that of the payload without Bcc.
    fn write_payload(&self, copy: &Copy, out: &mut impl Write) -> Result<[u8; 32], ComposeError> {
        let mut hash = Sha256::new();
        for (piece, hashed) in self.payload_head(copy) {
            out.write_all(&piece)?;
            if hashed {
                hash.update(&piece);
            }
        }
        for_each_chunk(SegmentReader::new(self.body.clone()), |chunk| {
            hash.update(chunk);
            out.write_all(chunk)
        })?;
        Ok(hash.finalize().into())
    }

    /// The payload's header, empty line included (RFC 9788: `hp="cipher"`, HP-Outer), in pieces; and of each whether it
    /// counts for the payload's hash, as all but Bcc does.
    fn payload_head(&self, copy: &Copy) -> Vec<(Vec<u8>, bool)> {
        let mut head = Vec::with_capacity(self.lines.len() + 1);
        for line in &self.lines {
            head.push(match line {
                Line::Field(raw) => (raw.clone(), true),
                Line::ContentType(raw) => (content_type_of_payload(raw), true),
                Line::Bcc(full) => (bcc_field(copy, full), false),
            });
        }
        let mut outer = String::new();
        for line in self.outer.replace("\r\n ", " ").replace("\r\n\t", " ").lines() {
            outer += &write::words_field("HP-Outer", line.split_ascii_whitespace());
        }
        outer += &write::words_field("HP-Outer", ["Subject:", HIDDEN_SUBJECT]);
        outer += "\r\n";
        head.push((outer.into_bytes(), true));
        head
    }

    /// Adds the two long X-Sender fields and the empty line to `head`.
    fn signed(&self, head: String, body: Vec<Segment>, signer: &SecretKey) -> Result<Outgoing, ComposeError> {
        let (header, _) = Header::read(head.as_bytes()).map_err(|_| ComposeError::HeaderTooLong)?;
        let input = SignatureInput::new(&header)?;
        let signature = signer.sign_stream(|update| {
            update(input.head());
            for_each_chunk(SegmentReader::new(body.clone()), |chunk| {
                update(chunk);
                Ok(())
            })
        })?;
        let head =
            head + &fold_pubkey(&signer.public()) + &fold_signature(Algorithm::Ed25519, &signature) + "\r\n";
        let mut segments = vec![Segment::octets(head)];
        segments.extend(body);
        Ok(Outgoing { segments, smtputf8: self.needs_smtputf8() })
    }
}

fn content_type_of_payload(raw: &[u8]) -> Vec<u8> {
    match Header::read(raw) {
        Ok((header, _)) if !raw.is_empty() => {
            header.fields().first().map_or_else(|| protection::WHOLE.to_vec(), protection::with_hp)
        }
        _ => protection::WHOLE.to_vec(),
    }
}

fn bcc_field(copy: &Copy, full: &[u8]) -> Vec<u8> {
    match copy {
        Copy::Visible => Vec::new(),
        Copy::Blind(mailbox) => address_field("Bcc", std::slice::from_ref(mailbox)).into_bytes(),
        Copy::Sent => full.to_vec(),
    }
}

/// An address as it stands in a header: the domain as A-labels, so that only a UTF-8 local part asks for SMTPUTF8.
fn written(mailbox: &Mailbox) -> String {
    format!("{}@{}", mailbox.local(), mailbox.domain())
}

/// Nothing for no mailboxes.
fn address_field(name: &str, mailboxes: &[Mailbox]) -> String {
    if mailboxes.is_empty() {
        return String::new();
    }
    let last = mailboxes.len() - 1;
    let words: Vec<String> = mailboxes
        .iter()
        .enumerate()
        .map(|(i, m)| if i == last { written(m) } else { written(m) + "," })
        .collect();
    write::words_field(name, words.iter().map(String::as_str))
}

/// `<…>` of visible ASCII (RFC 5322 §3.6.4, loosely: ids of the wild have odd characters, but no white space).
pub(crate) fn is_message_id(id: &str) -> bool {
    id.len() <= MAX_MESSAGE_ID_OCTETS
        && id.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).is_some_and(|inner| {
            !inner.is_empty() && inner.bytes().all(|b| (0x21..0x7f).contains(&b) && !matches!(b, b'<' | b'>'))
        })
}

/// 16 octets from the entropy for each use.
fn label(entropy: [u8; 16], purpose: &str) -> [u8; 16] {
    let digest: [u8; 32] = Sha256::new().chain_update(entropy).chain_update(purpose).finalize().into();
    let mut out = [0; 16];
    out.copy_from_slice(&digest[..16]);
    out
}

/// Why a draft could not become a message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ComposeError {
    /// A temporary file could not be written or read.
    #[error("the message cannot be prepared: {0}")]
    Io(io::Error),
    /// Sealing failed.
    #[error(transparent)]
    Seal(#[from] seal::SealError),
    /// Line breaks or control characters where none may be.
    #[error("the {0} holds a line break or control character; remove it")]
    Control(&'static str),
    /// An attachment changed between two readings.
    #[error("the attachment {0} changed while it was being sent; send again")]
    Changed(String),
    /// An attachment could not be read.
    #[error("the attachment {0} cannot be read: {1}")]
    Attachment(String, io::Error),
    /// Nobody to send to.
    #[error("the message has no recipient")]
    NoRecipient,
    /// Over [`MAX_VISIBLE_RECIPIENTS`].
    #[error("the message has more than 999 recipients in To and Cc; send it in parts")]
    TooManyRecipients,
    /// A header that no reader would take.
    #[error("the subject or the list of recipients is too long; shorten it or send the message in parts")]
    HeaderTooLong,
    /// A field that may stand once only.
    #[error("the message has the field {0} twice; send it again with one")]
    Twice(&'static str),
    /// From is not exactly one address.
    #[error("the message must come From exactly one address")]
    From,
    /// From is another's.
    #[error("the message says it is From {0}, which is no address of this account; choose the account's own")]
    NotYours(String),
    /// A Message-ID that is none.
    #[error("the Message-ID of the message is none; leave it out and it gets one")]
    MessageId,
    /// Signed by the program, in a form that does not survive the way.
    #[error(
        "the message carries a signature of your mail program over 8-bit text, which cannot be sent unencrypted without \
         breaking it; let the program sign in 7-bit (quoted-printable)"
    )]
    SignedEightBit,
    /// 8-bit octets where nothing says how to write them otherwise.
    #[error("the message has 8-bit octets in its {0}, where they cannot be sent unencrypted; take them out")]
    NotSevenBit(String),
    /// A field whose octets are no text.
    #[error("the header has octets that are no text; write it in UTF-8 or in encoded words")]
    NotText,
    /// The header cannot be signed.
    #[error("the message cannot be signed: {0}")]
    Unsignable(#[from] sealpost_proto::message::SignatureFault),
}

impl ComposeError {
    /// To go through a reader.
    fn into_io(self) -> io::Error {
        io::Error::other(self)
    }
}

/// Takes out what `ComposeError::into_io` put in.
impl From<io::Error> for ComposeError {
    fn from(e: io::Error) -> Self {
        e.downcast::<Self>().unwrap_or_else(Self::Io)
    }
}
