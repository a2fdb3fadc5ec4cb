//! IMAP over real sockets and TLS, against a store in a temporary folder.

mod append;
mod binary;
mod capability;
mod compress;
mod condstore;
mod deadlines;
mod dialogues;
mod fetch;
mod folders;
mod harness;
mod hostile;
mod i18n;
mod login;
mod messages;
mod metadata;
mod model;
mod multiappend;
mod objectid;
mod qresync;
mod quota;
mod replace;
mod scram;
mod search;
mod sort;
mod updates;
mod utf8;
