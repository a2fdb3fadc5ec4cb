//! From octets that arrived to a verdict and, when it is not withheld, content (profile §6, "On reading").
//!
//! Two steps, since trust is looked up by sender: [`Message::read`] parses the outer header; [`Message::judge`] takes
//! the facts about that sender and decides. Bounded memory; the plain text of sealed mail touches the disk only where
//! the user saves an attachment.

mod again;
mod armour;
mod checks;
mod collector;
mod content;
mod described;
mod judge;
mod payload;
mod shown;
mod texts;
mod verify;

pub use again::Again;
pub use checks::{Check, CheckKind, CheckResult};
pub use content::{Content, PartInfo, Summary, Take};
pub use described::{Described, field_text};
pub use shown::{Shown, VERDICT_FIELD};
pub use texts::TEXT_MAX;

use crate::{
    compose::is_message_id,
    spool::{Spool, SpoolReader},
};
use armour::Block;
use checks::Checks;
use payload::Payload;
use sealpost_crypto::{
    key::SecretKey,
    seal::{FileKey, Identities},
};
use sealpost_proto::{
    address::{Address, Mailbox},
    key::PublicKey,
    message::{Header, HeaderError, MAX_HEADER_OCTETS, MailboxList, SIGNATURE_FIELD, SignatureInput},
    time::Timestamp,
};
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};
use verify::Signed;

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

/// All of profile §6, in its order.
const VERDICTS: [Verdict; 13] = [
    Verdict::CannotBeOpened,
    Verdict::SignatureBad,
    Verdict::SealedButNotSigned,
    Verdict::NotTheSendersKey,
    Verdict::RetiredKey,
    Verdict::WrappedByAnother,
    Verdict::NotWrittenToYou,
    Verdict::Replay,
    Verdict::SenderNotYetConfirmed,
    Verdict::GoodAltered,
    Verdict::Good,
    Verdict::PlainThoughSigns,
    Verdict::Plain,
];

impl Verdict {
    /// The table's own name.
    pub fn name(self) -> &'static str {
        match self {
            Self::CannotBeOpened => "cannot be opened",
            Self::SignatureBad => "signature bad",
            Self::SealedButNotSigned => "sealed but not signed",
            Self::NotTheSendersKey => "not the sender's key",
            Self::RetiredKey => "retired key",
            Self::WrappedByAnother => "wrapped by another",
            Self::NotWrittenToYou => "not written to you",
            Self::Replay => "replay",
            Self::SenderNotYetConfirmed => "sender not yet confirmed",
            Self::GoodAltered => "good, altered on the way",
            Self::Good => "good",
            Self::PlainThoughSigns => "plain, though this contact signs",
            Self::Plain => "plain",
        }
    }
    /// The verdict with this name.
    pub fn of_name(name: &str) -> Option<Self> {
        VERDICTS.into_iter().find(|verdict| verdict.name() == name)
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
    /// Where `keys` are from and when they were looked up, in words.
    pub source: String,
    /// When the sender's key was last looked up.
    pub looked_up: Option<Timestamp>,
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
    source: Arc<Spool>,
    header: Header,
    /// Why the header is not read further.
    fault: Option<HeaderError>,
    /// Where the body starts.
    body: u64,
    from: Option<Mailbox>,
    id: Option<String>,
    input_sha256: [u8; 32],
}

impl Message {
    /// Parses the outer header of `file` (a spool file as fetched; sealed or plain).
    pub fn read(file: File) -> Result<Self, OpenError> {
        Self::of_spool(Arc::new(Spool::of_file(file)?))
    }

    pub(crate) fn of_spool(source: Arc<Spool>) -> Result<Self, OpenError> {
        let mut start = Vec::new();
        // One octet over the limit shows a header that is cut short.
        SpoolReader::range(source.clone(), 0, MAX_HEADER_OCTETS as u64 + 1).read_to_end(&mut start)?;
        let (header, body, fault) = match Header::read(&start) {
            Ok((header, body)) => (header, body as u64, None),
            Err(fault) => (Header::default(), 0, Some(fault)),
        };
        let from = match header.count("From") {
            1 => header
                .first("From")
                .and_then(|f| MailboxList::parse(f.value()).exactly_one().map(|named| named.mailbox.clone())),
            _ => None,
        };
        let id = header
            .first("Message-ID")
            .and_then(|f| String::from_utf8(f.unfolded()).ok())
            .filter(|id| is_message_id(id));
        let mut message = Self { source, header, fault, body, from, id, input_sha256: [0; 32] };
        message.input_sha256 = match SignatureInput::new(&message.header) {
            Ok(head) => message.signed(head).sha256()?,
            // Never stored: such a signature is never good.
            Err(_) => Sha256::digest(&start).into(),
        };
        Ok(message)
    }

    /// The message as it stands under `head`.
    fn signed(&self, head: SignatureInput) -> Signed {
        Signed { head, source: self.source.clone(), start: self.body, end: u64::MAX, tail: b"" }
    }

    /// The one From mailbox, if it is exactly one.
    pub fn from(&self) -> Option<&Mailbox> {
        self.from.as_ref()
    }
    /// Message-ID with its angle brackets.
    pub fn message_id(&self) -> Option<&str> {
        self.id.as_deref()
    }
    /// Whether it carries a signature, and is thus worth a look-up.
    pub fn is_signed(&self) -> bool {
        self.header.first(SIGNATURE_FIELD).is_some()
    }
    /// SHA-256 of the signature input (first-seen memory), of the message as it stands here.
    pub fn signature_input_sha256(&self) -> [u8; 32] {
        self.input_sha256
    }
    /// What a list shows of it, from the outer header.
    pub fn summary(&self) -> Summary {
        Summary::of(&self.header)
    }
    /// Verifies, opens, decides.
    pub fn judge(self, identities: &[SecretKey], facts: &Facts) -> Result<Opened, OpenError> {
        let identities = Identities::new(identities.to_vec()).map_err(io::Error::other)?;
        self.judge_with(&identities, facts)
    }
    /// The same with keys made ready for many messages.
    pub fn judge_with(self, identities: &Identities, facts: &Facts) -> Result<Opened, OpenError> {
        judge::judge(&self, identities, facts)
    }
}

/// A judged message.
pub struct Opened {
    /// The verdict.
    pub verdict: Verdict,
    /// Further rows that apply and whatever else must be said, in words.
    pub notes: Vec<String>,
    /// Set when the signature is good: what replay memory stores (payload hash; signature input for plain mail).
    /// None for withheld verdicts, so that what is withheld leaves no trace in that memory.
    pub payload_sha256: Option<[u8; 32]>,
    /// Sealed?
    pub sealed: bool,
    /// The key that the signature fits, whoever's it is.
    pub signer: Option<PublicKey>,
    /// What was looked at on the way to the verdict, each kind once, in order.
    pub checks: Vec<Check>,
    /// The header as it arrived; `None` where it could not be read.
    outer: Option<Header>,
    held: Held,
}

/// What content is read from, once the verdict stands.
enum Held {
    /// Nothing could be opened.
    Closed,
    /// The armour, what opens it, and what is known of the payload.
    Sealed(Block, FileKey, Arc<Payload>),
    /// The message itself, with its header and where its body begins.
    Plain(Arc<Spool>, Header, u64),
}

impl Opened {
    /// What a list shows of it, from the outer header as it arrived; empty where that could not be read.
    pub fn summary(&self) -> Summary {
        self.outer.as_ref().map(Summary::of).unwrap_or_default()
    }
    /// The content, for verdicts that are not withheld, or with `force`; `None` where it is withheld or could not
    /// be opened. Attachments are written below `save` if given.
    pub fn content(&mut self, force: bool, save: Option<&Path>) -> Result<Option<Content>, OpenError> {
        self.content_with(force, &save.map_or(Take::Nothing, |folder| Take::Attachments(folder.to_owned())))
    }

    /// The same, with what becomes of its parts. A part that is asked for and not there is an error.
    pub fn content_with(&mut self, force: bool, take: &Take) -> Result<Option<Content>, OpenError> {
        if self.verdict.is_withheld() && !force {
            return Ok(None);
        }
        let content = content::read(&self.held, take)?;
        match (take, &content) {
            (Take::Part(number, _) | Take::PartAside(number), Some(content))
                if content.saved.is_empty() && content.aside.is_empty() =>
            {
                Err(OpenError::NoPart(*number))
            }
            _ => Ok(content),
        }
    }
}

/// Why reading failed outright (not a verdict).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Reading or writing failed.
    #[error("the message cannot be read: {0}")]
    Io(#[from] io::Error),
    /// An attachment could not be written.
    #[error("the attachment cannot be saved in {0}: {1}")]
    Save(PathBuf, io::Error),
    /// The message has fewer parts.
    #[error("the message has no part {0}; `sealpost read` shows the numbers of its parts")]
    NoPart(u32),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_is_known_by_its_name() {
        for verdict in VERDICTS {
            assert_eq!(Verdict::of_name(verdict.name()), Some(verdict));
        }
        assert_eq!(Verdict::of_name("fine"), None);
    }
}
