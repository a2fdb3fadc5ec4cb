//! IMAP4rev1 (RFC 3501) and IMAP4rev2 (RFC 9051), both sides, sans-IO.
//!
//! [`receive`] cuts octets into commands and responses; [`parse`] and [`encode`] turn commands into values and back;
//! [`response`] writes a server's responses, [`mod@reply`] reads them; [`mime`] finds the parts of a message, [`section`]
//! what FETCH asks of them, and [`structure`] writes ENVELOPE and BODYSTRUCTURE; [`keys`] are what [`sort`] and [`thread`]
//! compare, and [`found`] writes what was found. Why a codec of our own: `docs/decisions/0004-imap-codec.md`.
//!
//! An extension adds: variants in [`command`], an arm in [`parse`] and [`encode`], a code or line in [`response`].

pub mod casemap;
pub mod command;
pub mod condstore;
pub mod date;
pub mod encode;
pub mod envelope;
pub mod found;
pub mod keys;
mod lex;
pub mod metadata;
pub mod mime;
pub mod notify;
pub mod parse;
mod parse_append;
mod parse_binary;
mod parse_search;
mod parse_sort;
pub mod receive;
pub mod reply;
pub mod response;
pub mod section;
pub mod sort;
pub mod structure;
pub mod thread;
pub mod threading;
pub mod types;
pub mod utf7;

pub use command::{
    AppendMessage, AppendStart, Body, Command, DateTest, FetchItem, List, ListReturn, ListSelect, SearchKey,
    SearchReturn, Section, SectionText, SortKey, SortOrder, StatusItem, StoreHow, SystemFlag,
    ThreadAlgorithm,
};
pub use condstore::{ChangedSince, ObjectId, Qresync, SelectParams};
pub use date::{Day, date_time};
pub use lex::{Cursor, ParseError};
pub use metadata::{Depth, Entry, GetMetadata, SetMetadata};
pub use notify::{Event, EventGroup, MailboxFilter, Notify};
pub use parse_search::KEYS_MAX as SEARCH_KEYS_MAX;
pub use receive::{Limits, LiteralHead, Received, Receiver};
pub use reply::{Condition, FetchValue, Reply, Text, reply};
pub use response::quote_mailbox;
pub use types::{Atom, Flag, MailboxName, Names, Secret, SeqNumber, SequenceSet, Tag};

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::wildcard_imports, reason = "tests")]
mod tests;
