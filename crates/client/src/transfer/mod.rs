//! `import` and `export`: mail in and out, octet for octet, with flags and dates, from and to mbox files, Maildirs and
//! other IMAP servers.
//!
//! | file | what it knows |
//! |---|---|
//! | `mbox`, `mbox_write` | where messages of a file begin, and what is noted in them |
//! | `maildir` | what the names of files and folders say |
//! | `dates` | dates outside of IMAP |
//! | `names` | which mailbox a folder becomes |
//! | `stage` | a message between source and target |
//! | `local`, `pull` | sources: files here, another server |
//! | `remote`, `target`, `again` | how another server and the account are reached, and reached again |
//! | `journal`, `recover` | what is done, so that nothing is done twice |
//! | `import`, `upload`, `export` | the two commands |

mod again;
mod dates;
mod export;
mod files;
mod import;
mod journal;
mod local;
pub mod maildir;
pub mod mbox;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod mbox_tests;
mod mbox_write;
mod names;
mod pull;
mod recover;
mod remote;
mod stage;
mod target;
mod upload;

pub use export::ExportRequest;
pub use import::{ImportRequest, Source};
pub use names::FolderRule;
pub use remote::{Remote, ServerUrl, UrlError};

use std::path::PathBuf;

/// Octets of all messages that go by one command, and messages: what has to be sent again, and looked for, after a break.
pub(crate) const BATCH_OCTETS: u64 = 4 << 20;
pub(crate) const BATCH_MESSAGES: usize = 100;

/// How mail lies on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Files of messages, quoted as mboxrd.
    Mbox,
    /// Files of messages, quoted as mboxo.
    Mboxo,
    /// A file for each message.
    Maildir,
}

/// A mailbox on this disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its file or folder.
    pub path: PathBuf,
    /// Its name by levels; none for INBOX.
    pub levels: Vec<String>,
}

/// What happens, for whoever shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransferEvent {
    /// A folder begins.
    Folder {
        /// Its name where it comes from.
        from: String,
        /// Its name where it goes to.
        to: String,
        /// Its messages, where that is known beforehand.
        messages: Option<u64>,
    },
    /// So far, in all.
    Progress(TransferReport),
    /// A message or more stays where it is.
    Skipped {
        /// The folder at the source.
        folder: String,
        /// Which.
        what: String,
        /// Why.
        why: String,
    },
    /// Something worth a line.
    Note(String),
}

/// What came of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TransferReport {
    /// Folders.
    pub folders: u64,
    /// Messages transferred now; with `--dry-run` those that would be.
    pub messages: u64,
    /// Their octets.
    pub octets: u64,
    /// Messages that were there already.
    pub already: u64,
    /// Messages and folders that could not be transferred; each was told.
    pub skipped: u64,
    /// Messages that their mail program had removed and not yet taken out of the file.
    pub removed: u64,
}
