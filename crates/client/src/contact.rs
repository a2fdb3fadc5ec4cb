//! `contact …`: whose keys are trusted, since when, and why.

use sealpost_proto::{address::Address, key::PublicKey, time::Timestamp};

/// A contact as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactReport {
    /// Canonical address.
    pub address: Address,
    /// The pinned key.
    pub key: PublicKey,
    /// `SHA256:…`
    pub fingerprint: String,
    /// Twelve words.
    pub words: String,
    /// Pinned since.
    pub since: Timestamp,
    /// How the key was learnt, in words.
    pub learnt: String,
    /// Whether this contact's mail was signed before.
    pub signs: bool,
}

/// What `contact accept` did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The contact now.
    pub contact: ContactReport,
    /// The key that was pinned before, if another.
    pub replaced: Option<PublicKey>,
    /// What else must be said.
    pub notes: Vec<String>,
}
