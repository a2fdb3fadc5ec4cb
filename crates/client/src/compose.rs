//! From a draft to octets that are sent (profile §6). Bounded memory: attachments are read as they are sealed, and
//! only sealed octets touch the disk.

use sealpost_crypto::key::SecretKey;
use sealpost_proto::{
    address::{Address, Mailbox},
    key::PublicKey,
    time::Timestamp,
};
use std::path::PathBuf;

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
    /// Text body.
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
    date: Timestamp,
    message_id: String,
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
    size: u64,
    smtputf8: bool,
}

impl Outgoing {
    /// Octets.
    pub fn size(&self) -> u64 {
        self.size
    }
    /// Whether a header field holds UTF-8, so that every relay must offer SMTPUTF8 (RFC 6531).
    pub fn needs_smtputf8(&self) -> bool {
        self.smtputf8
    }
    /// A reader from the first octet on. It ends in an error, never early, if a source has changed meanwhile.
    pub fn open(&self) -> std::io::Result<OutgoingReader> {
        todo!()
    }
}

/// Reads an [`Outgoing`]; blocking, `Send`, free of borrows.
pub struct OutgoingReader {
    _private: (),
}

impl std::io::Read for OutgoingReader {
    fn read(&mut self, _buf: &mut [u8]) -> std::io::Result<usize> {
        todo!()
    }
}

impl Composition {
    /// Fixes Date, Message-ID and boundaries. `entropy` makes the Message-ID and boundaries (16 random octets).
    pub fn new(draft: Draft, date: Timestamp, entropy: [u8; 16]) -> Result<Self, ComposeError> {
        let _ = (draft, date, entropy);
        todo!()
    }
    /// With its angle brackets.
    pub fn message_id(&self) -> &str {
        &self.message_id
    }
    /// Whether an address has a local part in UTF-8, so that every relay must offer SMTPUTF8 (RFC 6531).
    pub fn needs_smtputf8(&self) -> bool {
        todo!()
    }
    /// The draft.
    pub fn draft(&self) -> &Draft {
        let _ = self.date;
        &self.draft
    }
    /// Sealed to `recipients` and signed by `signer`.
    pub fn sealed(
        &self,
        copy: &Copy,
        recipients: &[PublicKey],
        signer: &SecretKey,
    ) -> Result<Outgoing, ComposeError> {
        let _ = (copy, recipients, signer);
        todo!()
    }
    /// Plain and signed (`X-Sender-Encrypted: no`); the same octets for every recipient, without Bcc.
    pub fn plain(&self, signer: &SecretKey) -> Result<Outgoing, ComposeError> {
        let _ = signer;
        todo!()
    }
    /// SHA-256 of the payload without Bcc fields: what replay memory holds for sealed mail.
    pub fn payload_sha256(&self) -> Result<[u8; 32], ComposeError> {
        todo!()
    }
}

/// Why a draft could not become a message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ComposeError {
    /// A file could not be read or a temporary file not written.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Sealing failed.
    #[error(transparent)]
    Seal(#[from] sealpost_crypto::seal::SealError),
    /// Line breaks or control characters where none may be.
    #[error("the {0} holds a line break or control character; remove it")]
    Control(&'static str),
    /// An attachment changed between two readings.
    #[error("the attachment {0} changed while it was being sent; send again")]
    Changed(String),
    /// An attachment could not be read.
    #[error("the attachment {0} cannot be read: {1}")]
    Attachment(String, std::io::Error),
    /// Nobody to send to.
    #[error("the message has no recipient")]
    NoRecipient,
    /// The same address twice is merged; this one names the sender wrongly.
    #[error("{0} is not the sender's own address")]
    NotOwn(Address),
}
