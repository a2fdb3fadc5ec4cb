//! What can go wrong below the store's traits.

use std::io;

/// A store failure. Each maps to one reply: `Full` to 452 4.3.1, `Refused` and `Limit` to a lasting refusal (IMAP's
/// CANNOT and LIMIT), the rest to 451 4.3.0.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No space left.
    #[error("the disk is full; free some space, delivery goes on by itself")]
    Full,
    /// Something that was there is gone (mailbox deleted by another session).
    #[error("the {0} no longer exists")]
    Gone(&'static str),
    /// Something of that name is there already.
    #[error("the {0} exists already")]
    Exists(&'static str),
    /// What was asked for makes no sense for a store of mail (INBOX deleted, a mailbox moved into itself).
    #[error("{0}")]
    Refused(&'static str),
    /// A limit of the store is reached.
    #[error("there can be no more {0}; remove some first")]
    Limit(&'static str),
    /// Input/output failed.
    #[error("the store could not read or write: {0}")]
    Io(#[source] io::Error),
    /// The database failed or is damaged.
    #[error("the store's database failed: {0}")]
    Database(String),
    /// Written by a newer program.
    #[error(
        "the store has schema version {found}, newer than this program knows ({known}); use a newer sealpost"
    )]
    Newer {
        /// Version found.
        found: i64,
        /// Newest version known.
        known: i64,
    },
    /// A backup that is damaged, cut short, or none.
    #[error("this backup cannot be restored: {0}")]
    Archive(String),
    /// Another process holds the store's lock.
    #[error("another process uses this store; stop it or go through its control socket")]
    Locked,
}

/// A full disk and an exhausted quota are [`StoreError::Full`], wherever the write came from.
impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Io(error),
        }
    }
}

/// Result of the store.
pub type Result<T> = std::result::Result<T, StoreError>;
