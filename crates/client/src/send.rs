//! `send`: look up, decide, seal, sign, submit, keep a copy (profile §6, §7).

use crate::read::Which;
use sealpost_proto::address::Mailbox;
use std::path::PathBuf;

/// What the user wants sent.
#[derive(Debug, Clone, Default)]
pub struct SendRequest {
    /// To; empty with `reply`: the sender of that message.
    pub to: Vec<Mailbox>,
    /// Cc.
    pub cc: Vec<Mailbox>,
    /// Bcc.
    pub bcc: Vec<Mailbox>,
    /// Subject; `None` with `reply`: `Re: …`.
    pub subject: Option<String>,
    /// Text.
    pub text: String,
    /// Files.
    pub attachments: Vec<PathBuf>,
    /// The message that this answers.
    pub reply: Option<ReplyTo>,
    /// What may be done for new contacts.
    pub policy: Policy,
}

/// A message in a mailbox.
#[derive(Debug, Clone)]
pub struct ReplyTo {
    /// Mailbox, usually INBOX.
    pub mailbox: String,
    /// Which.
    pub which: Which,
}

/// The options that act on new contacts (profile §7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// `--allow-plain`: plain to all when one has no key.
    pub allow_plain: bool,
    /// `--sealed-only`: leave out those without a key.
    pub sealed_only: bool,
    /// `--trust-first-use`: take a new contact's key from an unauthenticated server.
    pub trust_first_use: bool,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendReport {
    /// With its angle brackets.
    pub message_id: String,
    /// One for each recipient, in the order To, Cc, Bcc.
    pub recipients: Vec<RecipientReport>,
    /// Whatever else must be said, in words.
    pub notes: Vec<String>,
}

/// What was done for one recipient, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipientReport {
    /// As written.
    pub address: Mailbox,
    /// What was done.
    pub outcome: Outcome,
    /// Why, in words; a refusal names the option or command that would overrule it.
    pub why: String,
}

/// What was done for a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Sealed, signed, taken by the home server.
    Sealed,
    /// Plain and signed, taken by the home server.
    Plain,
    /// Left out (`--sealed-only`).
    LeftOut,
    /// Refused by this client (profile §7), or held back because another recipient was refused.
    Refused,
    /// The look-up failed; try again later.
    TryLater,
    /// The home server did not take it.
    Rejected,
}

impl Outcome {
    /// A word for JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::Plain => "plain",
            Self::LeftOut => "left out",
            Self::Refused => "refused",
            Self::TryLater => "try later",
            Self::Rejected => "rejected",
        }
    }
    /// Whether it left.
    pub fn is_sent(self) -> bool {
        matches!(self, Self::Sealed | Self::Plain)
    }
}
