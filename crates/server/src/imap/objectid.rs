//! Identifiers of mailboxes and messages (RFC 8474): the store's own numbers, which it never gives out again. Copies of
//! a message share its content, and so its EMAILID. Threads are not kept
//! (docs/decisions/0009-threads.md): every THREADID is NIL.

use sealpost_proto::imap::ObjectId;
use sealpost_store::mailbox::{ContentId, MailboxId};

/// MAILBOXID
pub(super) fn mailbox(id: MailboxId) -> String {
    format!("F{}", id.0)
}

/// EMAILID
pub(super) fn email(id: ContentId) -> String {
    format!("M{}", id.0)
}

/// The content that an EMAILID names, if it has the form of ours.
pub(super) fn content(id: &ObjectId) -> Option<ContentId> {
    let content = ContentId(id.as_str().strip_prefix('M')?.parse().ok()?);
    (email(content) == id.as_str()).then_some(content)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn an_emailid_names_one_content() {
        for id in [1, 77, i64::MAX] {
            let written = ObjectId::new(email(ContentId(id))).unwrap();
            assert_eq!(content(&written), Some(ContentId(id)));
        }
        for other in ["M01", "M", "F1", "m1", "M1x", "M99999999999999999999"] {
            assert_eq!(content(&ObjectId::new(other).unwrap()), None, "{other}");
        }
    }
}
