//! Sealpost's store: accounts, mailboxes and the outbound queue, on stable storage.
//!
//! The traits here speak of mail, not of SQL: a caller cannot tell one machine with SQLite ([`sqlite`]) from many
//! with PostgreSQL and an object store (`docs/decisions/0003-store.md`). Every method that returns `Ok` after a
//! change returns it after the change is on stable storage.

pub mod account;
pub mod annotation;
pub mod backup;
pub mod error;
pub mod events;
mod files;
pub mod mailbox;
pub mod queue;
pub mod spool;
pub mod sqlite;

pub use error::StoreError;

/// A store of everything a server keeps.
pub trait Store:
    account::Accounts + mailbox::Mailboxes + annotation::Annotations + queue::Queue + backup::Backup
{
}
impl<T: account::Accounts + mailbox::Mailboxes + annotation::Annotations + queue::Queue + backup::Backup>
    Store for T
{
}
