//! What SORT and THREAD (RFC 5256) compare of one message, from its ENVELOPE and its References.

use super::{
    envelope::Envelope,
    structure::Address,
    threading::{self, BaseSubject},
};
use crate::time::Timestamp;
use sha2::{Digest as _, Sha256};

/// Most references kept of a message; of more the oldest half and the newest half are. Servers write them with every
/// delivery, and conversations that long are read by their ends.
pub const REFERENCES_MAX: usize = 64;

/// A message id: the first eight octets of its SHA-256. They are as good as the id where ids are only compared, and
/// a fifth of its length. Whoever makes two ids alike joins messages of his own to a conversation, which a References
/// field does for less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageRef(pub u64);

impl MessageRef {
    /// Of an id as [`threading::message_ids`] gives it.
    pub fn of(id: &[u8]) -> Self {
        let digest: [u8; 32] = Sha256::digest(id).into();
        Self(digest.iter().take(8).fold(0, |n, octet| n << 8 | u64::from(*octet)))
    }
}

/// What is compared of one message. Texts are decoded, their case is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Keys {
    /// DATE; INTERNALDATE stands in where a message has none.
    pub sent: Option<Timestamp>,
    /// SUBJECT
    pub subject: BaseSubject,
    /// FROM
    pub from: First,
    /// TO
    pub to: First,
    /// CC
    pub cc: First,
    /// The first id in Message-ID.
    pub message_id: Option<MessageRef>,
    /// What it answers, oldest first: see [`references`].
    pub references: Vec<MessageRef>,
}

/// The first address of a list; empty where there is none, which comes first (RFC 5256 §3).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct First {
    /// Its local part, or a group's name: what SORT compares.
    pub mailbox: String,
    /// Its display name, or the address: what people see (RFC 5957).
    pub display: String,
}

impl Keys {
    /// `decode` turns a field's value with encoded words into text.
    pub fn new(
        envelope: Envelope,
        sent: Option<Timestamp>,
        references: Vec<MessageRef>,
        decode: impl Fn(&[u8]) -> String,
    ) -> Self {
        Self {
            sent,
            subject: threading::base_subject(&decode(&envelope.subject.unwrap_or_default())),
            from: First::of(&envelope.from, &decode),
            to: First::of(&envelope.to, &decode),
            cc: First::of(&envelope.cc, &decode),
            message_id: threading::message_ids(&envelope.message_id.unwrap_or_default())
                .next()
                .map(|id| MessageRef::of(&id)),
            references,
        }
    }

    /// DATE: when it was sent, or else when it arrived (RFC 5256 §2.2).
    pub fn sent_or(&self, arrived: i64) -> i64 {
        self.sent.map_or(arrived, |sent| sent.0)
    }
}

impl First {
    fn of(addresses: &[Address], decode: impl Fn(&[u8]) -> String) -> Self {
        let Some(first) = addresses.first() else { return Self::default() };
        let text = |field: &Option<Vec<u8>>| decode(field.as_deref().unwrap_or_default());
        let mailbox = text(&first.mailbox);
        let display = match (&first.name, &first.host) {
            (Some(_), _) => text(&first.name),
            (None, Some(_)) => format!("{mailbox}@{}", text(&first.host)),
            (None, None) => mailbox.clone(),
        };
        Self { mailbox, display }
    }
}

/// What a message answers (RFC 5256 §3, REFERENCES step 1): its References, or else the first id in In-Reply-To.
pub fn references(references: &[u8], in_reply_to: &[u8]) -> Vec<MessageRef> {
    let of = |value: &[u8], most| -> Vec<_> {
        threading::message_ids(value).take(most).map(|id| MessageRef::of(&id)).collect()
    };
    let mut all = of(references, usize::MAX);
    if all.is_empty() {
        all = of(in_reply_to, 1);
    }
    if all.len() > REFERENCES_MAX {
        all.drain(REFERENCES_MAX / 2..all.len() - REFERENCES_MAX / 2);
    }
    all
}
