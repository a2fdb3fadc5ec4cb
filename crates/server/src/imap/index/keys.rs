//! What SORT and THREAD (RFC 5256) compare, from an index alone.

use super::{Index, MessageRef};
use crate::imap::text::decode_header;
use sealpost_proto::{
    imap::{
        envelope::Envelope,
        structure::Address,
        threading::{self, BaseSubject},
    },
    time::Timestamp,
};

/// What is compared of one message. Texts are decoded, their case is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::imap) struct Keys {
    /// DATE; INTERNALDATE stands in where a message has none.
    pub(in crate::imap) sent: Option<Timestamp>,
    /// SUBJECT
    pub(in crate::imap) subject: BaseSubject,
    /// FROM
    pub(in crate::imap) from: First,
    /// TO
    pub(in crate::imap) to: First,
    /// CC
    pub(in crate::imap) cc: First,
    /// The first id in Message-ID.
    pub(in crate::imap) message_id: Option<MessageRef>,
    /// What it answers, oldest first.
    pub(in crate::imap) references: Vec<MessageRef>,
}

/// The first address of a list; empty where there is none, which comes first (RFC 5256 §3).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::imap) struct First {
    /// Its local part, or a group's name: what SORT compares.
    pub(in crate::imap) mailbox: String,
    /// Its display name, or the address: what people see (RFC 5957).
    pub(in crate::imap) display: String,
}

impl Index {
    /// `None` where the index does not know (version 1): the message has to be parsed anew.
    pub(in crate::imap) fn keys(&self) -> Option<Keys> {
        let references = self.references.clone()?;
        let envelope = Envelope::read(&self.envelope).ok()?;
        let text = |field: Option<Vec<u8>>| decode_header(&field.unwrap_or_default());
        Some(Keys {
            sent: self.sent.map(|sent| sent.at),
            subject: threading::base_subject(&text(envelope.subject)),
            from: First::of(&envelope.from),
            to: First::of(&envelope.to),
            cc: First::of(&envelope.cc),
            message_id: threading::message_ids(&envelope.message_id.unwrap_or_default())
                .next()
                .map(|id| MessageRef::of(&id)),
            references,
        })
    }
}

impl First {
    fn of(addresses: &[Address]) -> Self {
        let Some(first) = addresses.first() else { return Self::default() };
        let text = |field: &Option<Vec<u8>>| decode_header(field.as_deref().unwrap_or_default());
        let mailbox = text(&first.mailbox);
        let display = match (&first.name, &first.host) {
            (Some(_), _) => text(&first.name),
            (None, Some(_)) => format!("{mailbox}@{}", text(&first.host)),
            (None, None) => mailbox.clone(),
        };
        Self { mailbox, display }
    }
}
