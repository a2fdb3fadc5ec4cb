//! What reading messages here gave: verdicts and subjects for `list`, and which messages are copies of which.

use crate::{folder::Stored, open::Verdict};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most messages remembered; beyond it those with the lowest UIDs go.
const MESSAGES_MAX: usize = 20_000;
/// Longest subject kept, in characters: a list line shows less.
const SUBJECT_MAX: usize = 200;

/// `seen.json`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct SeenMessages {
    /// By mailbox.
    mailboxes: BTreeMap<String, SeenMailbox>,
}

impl Stored for SeenMessages {
    const NAME: &'static str = "seen.json";
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct SeenMailbox {
    uid_validity: u32,
    messages: BTreeMap<u32, SeenMessage>,
}

/// A message as it was last read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SeenMessage {
    /// The verdict's name.
    pub verdict: String,
    /// The subject, if it was not withheld.
    pub subject: Option<String>,
    /// SHA-256 of the payload, hex, where the signature was good.
    pub payload: Option<String>,
    /// From and Date of the message that was judged: a server may tell a list of others. Earlier versions kept none.
    #[serde(default)]
    pub from_and_date: Option<(String, String)>,
}

impl SeenMessage {
    /// The verdict, if this program knows it.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        Verdict::of_name(&self.verdict)
    }
}

impl SeenMessages {
    /// What is known of a message.
    pub(crate) fn get(&self, mailbox: &str, uid_validity: u32, uid: u32) -> Option<&SeenMessage> {
        let known = self.mailboxes.get(mailbox).filter(|m| m.uid_validity == uid_validity)?;
        known.messages.get(&uid)
    }

    /// An earlier message of the mailbox with the same payload: of that one, this is a copy.
    pub(crate) fn copy_of(&self, mailbox: &str, uid_validity: u32, uid: u32, payload: &str) -> Option<u32> {
        let known = self.mailboxes.get(mailbox).filter(|m| m.uid_validity == uid_validity)?;
        let same = |(other, m): (&u32, &SeenMessage)| {
            (*other < uid && m.payload.as_deref() == Some(payload)).then_some(*other)
        };
        known.messages.iter().find_map(same)
    }

    /// Remembers a message.
    pub(crate) fn set(&mut self, mailbox: &str, uid_validity: u32, uid: u32, mut message: SeenMessage) {
        if let Some(subject) = &mut message.subject
            && let Some((at, _)) = subject.char_indices().nth(SUBJECT_MAX)
        {
            subject.truncate(at);
        }
        let known = self.mailboxes.entry(mailbox.to_owned()).or_default();
        if known.uid_validity != uid_validity {
            *known = SeenMailbox { uid_validity, messages: BTreeMap::new() };
        }
        known.messages.insert(uid, message);
        if known.messages.len() > MESSAGES_MAX {
            known.messages.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(payload: &str) -> SeenMessage {
        SeenMessage {
            verdict: Verdict::Good.name().to_owned(),
            subject: Some("ü".repeat(500)),
            payload: Some(payload.to_owned()),
            from_and_date: Some(("a@x.org".into(), "D".into())),
        }
    }

    #[test]
    fn a_new_uidvalidity_forgets_the_mailbox() {
        let mut seen = SeenMessages::default();
        seen.set("INBOX", 1, 7, message("a"));
        assert_eq!(seen.get("INBOX", 1, 7).and_then(SeenMessage::verdict), Some(Verdict::Good));
        assert_eq!(
            seen.get("INBOX", 1, 7).and_then(|m| m.subject.as_ref()).map(|s| s.chars().count()),
            Some(200)
        );
        assert_eq!(seen.get("INBOX", 2, 7), None);
        seen.set("INBOX", 2, 8, message("b"));
        assert_eq!(seen.get("INBOX", 1, 7), None);
    }

    #[test]
    fn r08_a_second_copy_in_one_mailbox_is_found() {
        let mut seen = SeenMessages::default();
        seen.set("INBOX", 1, 7, message("a"));
        seen.set("Sent", 1, 8, message("b"));
        assert_eq!(seen.copy_of("INBOX", 1, 9, "a"), Some(7));
        assert_eq!(seen.copy_of("INBOX", 1, 7, "a"), None, "not of itself");
        assert_eq!(seen.copy_of("INBOX", 1, 6, "a"), None, "the first is no copy of the second");
        assert_eq!(seen.copy_of("INBOX", 1, 9, "b"), None, "not across mailboxes");
    }
}
