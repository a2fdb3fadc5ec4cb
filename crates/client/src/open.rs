//! From octets that arrived to a verdict and, when it is not withheld, content (profile §6, "On reading").
//!
//! Two steps, since trust is looked up by sender: [`Message::read`] parses the outer header; [`Message::judge`] takes
//! the facts about that sender and decides. Bounded memory.

use sealpost_crypto::key::SecretKey;
use sealpost_proto::{
    address::{Address, Mailbox},
    key::PublicKey,
    time::Timestamp,
};
use std::{
    fs::File,
    path::{Path, PathBuf},
};

/// The verdicts of profile §6, in the table's order; the first that applies is the message's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// cannot be opened
    CannotBeOpened,
    /// signature bad
    SignatureBad,
    /// sealed but not signed
    SealedButNotSigned,
    /// not the sender's key
    NotTheSendersKey,
    /// retired key
    RetiredKey,
    /// wrapped by another
    WrappedByAnother,
    /// not written to you
    NotWrittenToYou,
    /// replay
    Replay,
    /// sender not yet confirmed
    SenderNotYetConfirmed,
    /// good, altered on the way
    GoodAltered,
    /// good
    Good,
    /// plain, though this contact signs
    PlainThoughSigns,
    /// plain
    Plain,
}

impl Verdict {
    /// The table's own name.
    pub fn name(self) -> &'static str {
        todo!()
    }
    /// 4 for withheld verdicts, else 0.
    pub fn exit_code(self) -> u8 {
        if self <= Self::Replay { 4 } else { 0 }
    }
    /// Whether content is shown with `--force` only.
    pub fn is_withheld(self) -> bool {
        self <= Self::Replay
    }
}

/// What is known of the sender and of ourselves; gathered by `trust` from pins, chains, look-ups and memory.
#[derive(Default)]
pub struct Facts {
    /// The sender's keys that count now (profile §6, "The sender's keys are").
    pub keys: Vec<PublicKey>,
    /// Keys that the chain retired, and when.
    pub retired: Vec<(PublicKey, Timestamp)>,
    /// Whether `keys` came from a pin or an authenticated look-up; else "sender not yet confirmed".
    pub confirmed: bool,
    /// A look-up that failed, in words: said, and the verdict is not stored.
    pub lookup_failed: Option<String>,
    /// What `PUBKEY` gives now, when that is not among `keys`: said as a note.
    pub published_otherwise: Option<PublicKey>,
    /// Mail of this contact was signed before.
    pub signs: bool,
    /// Whether the sender is ourselves.
    pub from_self: bool,
    /// Addresses of our own statement.
    pub own_addresses: Vec<Address>,
    /// When a message with this signature input was first seen, if ever.
    pub first_seen: Option<Timestamp>,
    /// Payload hashes seen with this (sender, Message-ID).
    pub payloads_seen: Vec<[u8; 32]>,
    /// The present moment.
    pub now: Timestamp,
}

/// A message whose outer header is parsed.
pub struct Message {
    _private: (),
}

impl Message {
    /// Parses the outer header of `file` (a spool file as fetched; sealed or plain).
    pub fn read(file: File) -> Result<Self, OpenError> {
        let _ = file;
        todo!()
    }
    /// The one From mailbox, if it is exactly one.
    pub fn from(&self) -> Option<&Mailbox> {
        todo!()
    }
    /// Message-ID with its angle brackets.
    pub fn message_id(&self) -> Option<&str> {
        todo!()
    }
    /// Whether it carries a signature, and is thus worth a look-up.
    pub fn is_signed(&self) -> bool {
        todo!()
    }
    /// SHA-256 of the signature input (first-seen memory).
    pub fn signature_input_sha256(&self) -> [u8; 32] {
        todo!()
    }
    /// Verifies, opens, decides.
    pub fn judge(self, identities: &[SecretKey], facts: &Facts) -> Result<Opened, OpenError> {
        let _ = (identities, facts);
        todo!()
    }
}

/// A judged message.
pub struct Opened {
    /// The verdict.
    pub verdict: Verdict,
    /// Further rows that apply and whatever else must be said, in words.
    pub notes: Vec<String>,
    /// Set when the signature is good: what replay memory stores (payload hash; signature input for plain mail).
    pub payload_sha256: Option<[u8; 32]>,
    /// Sealed?
    pub sealed: bool,
    /// The key that the signature fits, whoever's it is.
    pub signer: Option<PublicKey>,
}

/// What a reader shows.
#[derive(Debug, Clone, Default)]
pub struct Content {
    /// From, as written inside.
    pub from: String,
    /// To.
    pub to: Vec<String>,
    /// Cc.
    pub cc: Vec<String>,
    /// Date as written.
    pub date: String,
    /// Subject, decoded.
    pub subject: String,
    /// Message-ID, with angle brackets.
    pub message_id: String,
    /// References, with angle brackets.
    pub references: Vec<String>,
    /// Text.
    pub text: String,
    /// Attachments: name and decoded size.
    pub attachments: Vec<(String, u64)>,
    /// Where attachments were written, when asked for.
    pub saved: Vec<PathBuf>,
    /// What had to be left out or guessed, in words.
    pub notes: Vec<String>,
}

impl Opened {
    /// The content, for verdicts that are not withheld, or with `force`; `None` where it is withheld or could not
    /// be opened. Attachments are written below `save` if given.
    pub fn content(&mut self, force: bool, save: Option<&Path>) -> Result<Option<Content>, OpenError> {
        let _ = (force, save);
        todo!()
    }
}

/// What a list shows of a message of which only the outer header is at hand. Nothing of it is verified.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// From, decoded.
    pub from: String,
    /// To, decoded.
    pub to: Vec<String>,
    /// Date as written.
    pub date: String,
    /// Subject, decoded; `[...]` for sealed mail.
    pub subject: String,
    /// Message-ID, with angle brackets.
    pub message_id: String,
    /// `X-Sender-Encrypted: yes`.
    pub sealed: bool,
    /// Carries X-Sender-Signature.
    pub signed: bool,
}

impl Summary {
    /// From the octets of a header, as `BODY.PEEK[HEADER]` gives them.
    pub fn read(header: &[u8]) -> Self {
        let _ = header;
        todo!()
    }
}

/// Why reading failed outright (not a verdict).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Reading or writing failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}
