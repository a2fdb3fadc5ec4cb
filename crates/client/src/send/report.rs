//! What `send` tells of what was done.

use sealpost_proto::address::Mailbox;

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendReport {
    /// With its angle brackets.
    pub message_id: String,
    /// One for each recipient, in the order To, Cc, Bcc.
    pub recipients: Vec<RecipientReport>,
    /// Whatever else must be said, in words.
    pub notes: Vec<String>,
    /// A copy lies in Sent.
    pub copy_kept: bool,
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
    /// The look-up failed, or the home server did not take it now; try again later.
    TryLater,
    /// The home server did not take it.
    Rejected,
}

impl RecipientReport {
    /// The home server did not take the message for this recipient.
    pub(crate) fn not_taken(&mut self, reason: &str, later: bool) {
        self.outcome = if later { Outcome::TryLater } else { Outcome::Rejected };
        self.why = format!("your server did not take it: {reason}");
    }
}

/// Said where the connection broke while a message was handed over.
pub(crate) const UNSURE: &str =
    "it may have taken the message all the same: ask whether it came before you send it again";

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
