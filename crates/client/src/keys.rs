//! `key …`: one's own keys, and what a server says of somebody's key.

use sealpost_lookup::Keyword;
use sealpost_proto::{
    address::{Address, Mailbox},
    key::PublicKey,
    time::Timestamp,
};
use zeroize::Zeroizing;

/// One's own key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyReport {
    /// The account's primary address.
    pub address: Address,
    /// The key.
    pub key: PublicKey,
    /// `SHA256:…`
    pub fingerprint: String,
    /// Twelve words to read aloud.
    pub words: String,
    /// `created` of its statement.
    pub created: Timestamp,
    /// `expires` of its statement.
    pub expires: Timestamp,
    /// The addresses it speaks for.
    pub addresses: Vec<Address>,
    /// Retired keys at hand, newest first.
    pub retired: Vec<RetiredReport>,
}

/// A retired key of one's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetiredReport {
    /// The key.
    pub key: PublicKey,
    /// `SHA256:…`
    pub fingerprint: String,
    /// In force from.
    pub from: Timestamp,
    /// Retired at.
    pub until: Timestamp,
}

/// A private key on its way to a file. Holds a secret: no `Debug`.
pub struct ExportedKey {
    /// The public half.
    pub key: PublicKey,
    /// Whether it is the current one.
    pub current: bool,
    /// `-----BEGIN OPENSSH PRIVATE KEY-----…`
    pub pem: Zeroizing<String>,
}

/// What the address's own server says now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupReport {
    /// As asked.
    pub address: Mailbox,
    /// Who answered.
    pub server: String,
    /// Whether the server's name is bound to the domain.
    pub authenticated: bool,
    /// How it is bound, or why it is not, in words.
    pub binding: String,
    /// Keywords the server offers.
    pub keywords: Vec<Keyword>,
    /// The answer.
    pub published: Published,
    /// The key pinned for this address.
    pub pinned: Option<PublicKey>,
    /// How the two compare, and whatever else must be said, in words.
    pub notes: Vec<String>,
}

/// What is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// A key.
    Key {
        /// The key.
        key: PublicKey,
        /// `SHA256:…`
        fingerprint: String,
        /// Twelve words.
        words: String,
        /// `created` and `expires` of its statement, where it has one.
        statement: Option<(Timestamp, Timestamp)>,
    },
    /// 550: no such user, or no key.
    NoKey,
    /// No definite answer; says why.
    Failed(String),
}
