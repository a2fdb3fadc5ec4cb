//! From a draft to octets that are sent (profile §6). Bounded memory: attachments are read as they are sealed, and
//! only sealed octets touch the disk.

mod media_type;
mod source;

use crate::spool::{Spool, for_each_chunk, spool};
use sealpost_crypto::{key::SecretKey, seal};
use sealpost_proto::{
    address::{Address, Mailbox},
    key::{Algorithm, PublicKey},
    message::{
        Header, MAX_HEADER_OCTETS, SEALED_CONTENT_TYPE, SEALED_TRANSFER_ENCODING, SignatureInput,
        fold_pubkey, fold_signature, write,
    },
    time::Timestamp,
};
use sha2::{Digest as _, Sha256};
use source::{Attachment, Segment, SegmentReader};
use std::{
    collections::HashSet,
    io::{self, Read, Write},
    path::PathBuf,
    sync::{Arc, OnceLock},
};

/// Most To and Cc recipients: with the extra stanza that `age` adds, readers take 1,000 (profile §6).
pub const MAX_VISIBLE_RECIPIENTS: usize = seal::MAX_STANZAS - 1;

/// Most References kept: the first, which names the thread, and the last ones (RFC 5322 §3.6.4 lets us trim).
const MAX_REFERENCES: usize = 50;

/// Longest message id taken over from a message that is answered, so that its line stays under RFC 5322's 998.
const MAX_MESSAGE_ID_OCTETS: usize = 900;

/// What the outer Subject of sealed mail says (profile §6).
const HIDDEN_SUBJECT: &str = "[...]";

/// To of a message that has only Bcc recipients (RFC 5322 §3.4: an empty group): some relays write a To of their own
/// where there is none, which would break the signature.
const NO_VISIBLE_RECIPIENT: &str = "undisclosed-recipients:;";

/// What the user wrote.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The one From mailbox.
    pub from: Mailbox,
    /// To.
    pub to: Vec<Mailbox>,
    /// Cc.
    pub cc: Vec<Mailbox>,
    /// Bcc.
    pub bcc: Vec<Mailbox>,
    /// Subject, any Unicode without line breaks.
    pub subject: String,
    /// Text body. Empty lines at its end are dropped.
    pub text: String,
    /// Files to attach.
    pub attachments: Vec<PathBuf>,
    /// Message-ID that this answers, with angle brackets.
    pub in_reply_to: Option<String>,
    /// References, with angle brackets.
    pub references: Vec<String>,
}

/// A draft with its Date, Message-ID and boundaries fixed, so that all its copies are the same octets but for Bcc.
pub struct Composition {
    draft: Draft,
    message_id: String,
    /// From, To, Cc: the same inside and outside.
    people: String,
    /// Date, inside and outside.
    date_field: String,
    /// Message-ID, inside and outside.
    message_id_field: String,
    /// Content-Type's value without `hp`, and the field behind it.
    content_type: String,
    transfer_encoding: &'static str,
    body: Vec<Segment>,
    payload_sha256: OnceLock<[u8; 32]>,
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
    /// Fixes Date, Message-ID and boundaries. `entropy` makes the Message-ID and boundaries (16 random octets).
    pub fn new(mut draft: Draft, date: Timestamp, entropy: [u8; 16]) -> Result<Self, ComposeError> {
        if !write::is_header_text(&draft.subject) {
            return Err(ComposeError::Control("subject"));
        }
        merge_recipients(&mut draft);
        if draft.to.is_empty() && draft.cc.is_empty() && draft.bcc.is_empty() {
            return Err(ComposeError::NoRecipient);
        }
        if draft.to.len() + draft.cc.len() > MAX_VISIBLE_RECIPIENTS {
            return Err(ComposeError::TooManyRecipients);
        }
        // Ids come from the message that is answered: what is no id is dropped, it would only break a header.
        draft.in_reply_to = draft.in_reply_to.filter(|id| is_message_id(id));
        draft.references.retain(|id| is_message_id(id));
        if draft.references.len() > MAX_REFERENCES {
            draft.references.drain(1..draft.references.len() + 1 - MAX_REFERENCES);
        }

        let mut people = address_field("From", std::slice::from_ref(&draft.from));
        if draft.to.is_empty() && draft.cc.is_empty() {
            people += &write::words_field("To", [NO_VISIBLE_RECIPIENT]);
        }
        people += &address_field("To", &draft.to);
        people += &address_field("Cc", &draft.cc);
        let message_id = format!("<{}@{}>", hex(&label(entropy, "message-id")), draft.from.domain());
        let boundary = format!("=_{}", hex(&label(entropy, "boundary")));
        let (content_type, transfer_encoding, body) = body(&draft, &boundary)?;
        let composition = Self {
            people,
            date_field: write::words_field("Date", [date.to_rfc5322().as_str()]),
            message_id_field: write::words_field("Message-ID", [message_id.as_str()]),
            message_id,
            draft,
            content_type,
            transfer_encoding,
            body,
            payload_sha256: OnceLock::new(),
        };
        let longest = composition.inner_head().len() + composition.bcc_field(&Copy::Sent).len();
        if longest > MAX_HEADER_OCTETS {
            return Err(ComposeError::HeaderTooLong);
        }
        Ok(composition)
    }
    /// With its angle brackets.
    pub fn message_id(&self) -> &str {
        &self.message_id
    }
    /// Whether an address has a local part in UTF-8, so that every relay must offer SMTPUTF8 (RFC 6531).
    pub fn needs_smtputf8(&self) -> bool {
        !self.people.is_ascii()
    }
    /// The draft, addresses that stood in it twice merged.
    pub fn draft(&self) -> &Draft {
        &self.draft
    }

    /// Sealed to `recipients` and signed by `signer`.
    pub fn sealed(
        &self,
        copy: &Copy,
        recipients: &[PublicKey],
        signer: &SecretKey,
    ) -> Result<Outgoing, ComposeError> {
        let mut payload = seal::seal_armoured(recipients, spool())?;
        let hash = self.write_payload(&self.bcc_field(copy), &mut payload)?;
        // Attachments are checked one by one as they are read; that the rest is the same is checked here.
        if *self.payload_sha256.get_or_init(|| hash) != hash {
            return Err(ComposeError::Changed("of this message".into()));
        }
        let sealed = Segment::Sealed(Arc::new(Spool::new(payload.finish()?)?));

        let head = format!(
            "{}{}{}Subject: {HIDDEN_SUBJECT}\r\nMIME-Version: 1.0\r\nContent-Type: {SEALED_CONTENT_TYPE}\r\n\
             Content-Disposition: inline; filename=\"message.age\"\r\n\
             Content-Transfer-Encoding: {SEALED_TRANSFER_ENCODING}\r\nX-Sender-Encrypted: yes\r\n",
            self.people, self.date_field, self.message_id_field
        );
        self.signed(head, vec![sealed], signer)
    }

    /// Plain and signed (`X-Sender-Encrypted: no`); the same octets for every recipient, without Bcc.
    pub fn plain(&self, signer: &SecretKey) -> Result<Outgoing, ComposeError> {
        let head = format!(
            "{}{}{}{}{}MIME-Version: 1.0\r\nContent-Type: {}\r\nContent-Transfer-Encoding: {}\r\n\
             X-Sender-Encrypted: no\r\n",
            self.people,
            self.date_field,
            self.message_id_field,
            write::text_field("Subject", &self.draft.subject),
            self.thread_fields(),
            self.content_type,
            self.transfer_encoding,
        );
        self.signed(head, self.body.clone(), signer)
    }

    /// SHA-256 of the payload without Bcc fields: what replay memory holds for sealed mail.
    pub fn payload_sha256(&self) -> Result<[u8; 32], ComposeError> {
        if let Some(hash) = self.payload_sha256.get() {
            return Ok(*hash);
        }
        let hash = self.write_payload("", &mut io::sink())?;
        Ok(*self.payload_sha256.get_or_init(|| hash))
    }

    /// Writes the payload with `bcc` among its fields; the hash is that of the payload without it.
    fn write_payload(&self, bcc: &str, out: &mut impl Write) -> Result<[u8; 32], ComposeError> {
        out.write_all(self.people.as_bytes())?;
        out.write_all(bcc.as_bytes())?;
        let mut hash = Sha256::new();
        hash.update(&self.people);
        let rest = &self.inner_head()[self.people.len()..];
        let mut segments = vec![Segment::octets(rest)];
        segments.extend(self.body.iter().cloned());
        for_each_chunk(SegmentReader::new(segments), |chunk| {
            hash.update(chunk);
            out.write_all(chunk)
        })?;
        Ok(hash.finalize().into())
    }

    /// The payload's header without Bcc, empty line included (RFC 9788: `hp="cipher"`, HP-Outer).
    fn inner_head(&self) -> String {
        let mut head = format!(
            "{}{}{}{}{}MIME-Version: 1.0\r\nContent-Type: {};\r\n hp=\"cipher\"\r\nContent-Transfer-Encoding: {}\r\n",
            self.people,
            self.date_field,
            write::text_field("Subject", &self.draft.subject),
            self.message_id_field,
            self.thread_fields(),
            self.content_type,
            self.transfer_encoding,
        );
        let outer = format!("{}{}{}", self.people, self.date_field, self.message_id_field);
        for line in outer.replace("\r\n ", " ").lines() {
            head += &write::words_field("HP-Outer", line.split(' '));
        }
        head += &write::words_field("HP-Outer", ["Subject:", HIDDEN_SUBJECT]);
        head += "\r\n";
        head
    }

    fn thread_fields(&self) -> String {
        let mut out = String::new();
        if let Some(id) = &self.draft.in_reply_to {
            out += &write::words_field("In-Reply-To", [id.as_str()]);
        }
        if !self.draft.references.is_empty() {
            out += &write::words_field("References", self.draft.references.iter().map(String::as_str));
        }
        out
    }

    fn bcc_field(&self, copy: &Copy) -> String {
        match copy {
            Copy::Visible => String::new(),
            Copy::Blind(mailbox) => address_field("Bcc", std::slice::from_ref(mailbox)),
            Copy::Sent => address_field("Bcc", &self.draft.bcc),
        }
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

/// The message's Content-Type, Content-Transfer-Encoding and body, which ends in exactly one CRLF.
fn body(draft: &Draft, boundary: &str) -> Result<(String, &'static str, Vec<Segment>), ComposeError> {
    let (text_encoding, text) = encode_text(&draft.text);
    let text_type = "text/plain; charset=utf-8";
    if draft.attachments.is_empty() {
        return Ok((text_type.into(), text_encoding, vec![Segment::octets(text)]));
    }
    let mut segments = vec![Segment::octets(format!(
        "--{boundary}\r\nContent-Type: {text_type}\r\nContent-Transfer-Encoding: {text_encoding}\r\n\r\n{text}"
    ))];
    for path in &draft.attachments {
        let attachment = Attachment::new(path.clone())?;
        // The CRLF before a boundary belongs to the boundary, and the part before ends in one of its own.
        segments.push(Segment::octets(format!(
            "\r\n--{boundary}\r\nContent-Type: {}\r\nContent-Disposition: attachment{}\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n",
            media_type::guess(&attachment.name),
            write::parameter("filename", &attachment.name),
        )));
        segments.push(Segment::File(Arc::new(attachment)));
    }
    segments.push(Segment::octets(format!("\r\n--{boundary}--\r\n")));
    Ok((format!("multipart/mixed;\r\n boundary=\"{boundary}\""), "7bit", segments))
}

/// Quoted-printable, or base64 where that is clearly shorter (text that is mostly not Latin).
fn encode_text(text: &str) -> (&'static str, String) {
    let quoted = write::quoted_printable(text);
    let base64_octets = text.len().div_ceil(57) * 78;
    if quoted.len() <= base64_octets + base64_octets / 4 + 80 {
        return ("quoted-printable", quoted);
    }
    let trimmed = text.trim_end_matches(['\n', '\r']);
    let lines: Vec<&str> = trimmed.split('\n').map(|l| l.strip_suffix('\r').unwrap_or(l)).collect();
    ("base64", write::base64_lines((lines.join("\r\n") + "\r\n").as_bytes()))
}

/// Who stands in To is not repeated in Cc, nor who stands in either in Bcc.
fn merge_recipients(draft: &mut Draft) {
    let mut seen: HashSet<Address> = HashSet::new();
    for list in [&mut draft.to, &mut draft.cc, &mut draft.bcc] {
        list.retain(|m| seen.insert(m.canonical()));
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

fn hex(octets: &[u8]) -> String {
    use std::fmt::Write as _;
    octets.iter().fold(String::new(), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
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

/// Takes out what [`ComposeError::into_io`] put in.
impl From<io::Error> for ComposeError {
    fn from(e: io::Error) -> Self {
        e.downcast::<Self>().unwrap_or_else(Self::Io)
    }
}
