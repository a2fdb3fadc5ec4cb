//! Annotations of mailboxes and accounts (IMAP METADATA): small named values that clients keep for each other.

use crate::{
    account::AccountId,
    error::Result,
    mailbox::{MailboxId, SpecialUse},
};
use async_trait::async_trait;

/// Annotations of one mailbox, or of an account beside its mailboxes: programs keep a handful each.
pub const ANNOTATIONS_MAX: usize = 100;
/// Octets of a value (RFC 5464 §4.1 asks clients to keep them short): half of what an argument of IMAP may have.
pub const VALUE_MAX: usize = 32 * 1024;
/// Octets of the names and values of one account together: a hundred for each of ten thousand mailboxes. They are no mail
/// and count in no quota.
pub const ACCOUNT_MAX: usize = 1024 * 1024;
/// The entry that stands for the special use of a mailbox (RFC 6154 §4). It has no value of its own.
pub const SPECIAL_USE: &str = "/private/specialuse";

/// An annotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// Its name, in lower case.
    pub entry: String,
    /// Its value.
    pub value: Vec<u8>,
}

/// What is annotated of a mailbox or an account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Annotated {
    /// By name.
    pub annotations: Vec<Annotation>,
    /// Of a mailbox.
    pub special_use: Option<SpecialUse>,
}

/// What becomes of annotations; all of it or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AnnotationChange {
    /// Names in lower case, and values; `None` removes.
    pub values: Vec<(String, Option<Vec<u8>>)>,
    /// What the mailbox is for from now on, if that changes.
    pub special_use: Option<Option<SpecialUse>>,
}

/// An annotation that was set or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedAnnotation {
    /// Of which mailbox, and its name; `None`: of the account.
    pub mailbox: Option<(MailboxId, String)>,
    /// Its name; [`SPECIAL_USE`] among them.
    pub entry: String,
    /// The number of the change.
    pub number: u64,
}

/// Annotations of all accounts.
#[async_trait]
pub trait Annotations: Send + Sync {
    /// Those of a mailbox; of the account for `None`.
    async fn annotations(&self, account: AccountId, mailbox: Option<MailboxId>) -> Result<Annotated>;
    /// Those of these names, of all mailboxes of an account, by mailbox and name.
    async fn annotations_named(
        &self,
        account: AccountId,
        entries: &[String],
    ) -> Result<Vec<(MailboxId, Annotation)>>;
    /// Changes those of a mailbox (of the account for `None`), and what the mailbox is for; the number of the change. `Gone`
    /// if there is no such mailbox, `Exists` if another one has that use, `Limit` at a limit. Watchers wake.
    async fn annotate(
        &self,
        account: AccountId,
        mailbox: Option<MailboxId>,
        change: AnnotationChange,
    ) -> Result<u64>;
    /// What was changed after the change of this number, and the number of the last one. Without a number: where the count
    /// stands. Names that were removed are remembered, the last thousand of an account.
    async fn annotation_changes(
        &self,
        account: AccountId,
        since: Option<u64>,
    ) -> Result<(Vec<ChangedAnnotation>, u64)>;
}
