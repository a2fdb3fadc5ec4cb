//! `list` and `read`: fetch, gather the facts, judge, remember (profile §6, §8).

use crate::open::{Content, Verdict};
use std::path::PathBuf;

/// Which message of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The one with the highest UID.
    Last,
    /// By UID.
    Uid(u32),
}

/// What `read` needs.
#[derive(Debug, Clone)]
pub struct ReadRequest {
    /// Mailbox.
    pub mailbox: String,
    /// Which.
    pub which: Which,
    /// Show withheld content.
    pub force: bool,
    /// Save attachments here.
    pub save: Option<PathBuf>,
}

/// A message as read.
#[derive(Debug, Clone)]
pub struct ReadReport {
    /// UID.
    pub uid: u32,
    /// The verdict; its `exit_code` is the command's.
    pub verdict: Verdict,
    /// What else must be said, in words.
    pub notes: Vec<String>,
    /// Sealed?
    pub sealed: bool,
    /// The content where it is not withheld, or with `force`.
    pub content: Option<Content>,
}

/// One line of `list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListEntry {
    /// UID.
    pub uid: u32,
    /// `Date:` as written, else the day of arrival.
    pub date: String,
    /// From, decoded.
    pub from: String,
    /// Subject, decoded; of sealed mail as it was when last read here, else `[...]`.
    pub subject: String,
    /// IMAP flags.
    pub flags: Vec<String>,
    /// Octets.
    pub size: u64,
    /// Verdict of the last reading here.
    pub verdict: Option<Verdict>,
}
