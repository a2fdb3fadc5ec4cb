//! Key statements and their chains (profile §9): parsing, writing the text, verification. Signing is
//! `sealpost-crypto`'s.

use crate::{address::Address, key::PublicKey, time::Timestamp};

/// SSHSIG namespace of statements.
pub const NAMESPACE: &str = "sealpost-key";
/// Two years, in seconds: how long a statement lives.
pub const LIFE_SECONDS: i64 = 2 * 365 * 86_400;

/// What a statement says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Sorted by octets, no duplicates, at least one.
    pub addresses: Vec<Address>,
    /// The key it is about.
    pub key: PublicKey,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
    /// The key before it, or none for the start of a chain.
    pub previous: Option<PublicKey>,
}

impl Statement {
    /// The exact text that is signed.
    pub fn to_text(&self) -> String {
        todo!()
    }
    /// Parses exactly [`Statement::to_text`]'s form.
    pub fn from_text(text: &str) -> Result<Self, StatementError> {
        let _ = text;
        todo!()
    }
    /// Whether it speaks for `address` (itself, or with `+detail` cut).
    pub fn covers(&self, address: &Address) -> bool {
        let _ = address;
        todo!()
    }
}

/// A statement whose lines and signatures hold; cannot be made otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedStatement {
    statement: Statement,
    wire: Vec<u8>,
}

impl SignedStatement {
    /// Parses and verifies text ‖ armoured SSHSIG by key ‖ armoured SSHSIG by previous (raw bytes, before base64).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StatementError> {
        let _ = bytes;
        todo!()
    }
    /// From the base64 of the wire.
    pub fn from_wire(text: &str) -> Result<Self, StatementError> {
        Self::from_bytes(&crate::base64::decode(text).map_err(|_| StatementError::Base64)?)
    }
    /// The base64 of the wire.
    pub fn to_wire(&self) -> String {
        crate::base64::encode(&self.wire)
    }
    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.wire
    }
    /// What it says.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }
}

/// A whole `XKEYINFO` answer, newest first, checked as profile §9 asks: every statement valid, `created` never
/// going back nor over a day ahead of `now`, no fork, addresses cover the one asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chain {
    statements: Vec<SignedStatement>,
}

impl Chain {
    /// Checks the statements of one answer for `address` at `now`.
    pub fn check(
        newest_first: Vec<SignedStatement>,
        address: &Address,
        now: Timestamp,
    ) -> Result<Self, StatementError> {
        let _ = (newest_first, address, now);
        todo!()
    }
    /// Newest first.
    pub fn statements(&self) -> &[SignedStatement] {
        &self.statements
    }
    /// The newest one.
    pub fn newest(&self) -> Option<&Statement> {
        self.statements.first().map(SignedStatement::statement)
    }
    /// Whether the chain leads from `pinned` to `to` by `previous` links (equal keys: yes).
    pub fn leads(&self, pinned: &PublicKey, to: &PublicKey) -> bool {
        let _ = (pinned, to);
        todo!()
    }
    /// Every key the chain leads to from `pinned`, oldest first, `pinned` included.
    pub fn keys_from(&self, pinned: &PublicKey) -> Vec<PublicKey> {
        let _ = pinned;
        todo!()
    }
    /// When `key` was retired: `created` of the statement whose `previous` is `key` and whose key differs.
    pub fn retired_at(&self, key: &PublicKey) -> Option<Timestamp> {
        let _ = key;
        todo!()
    }
    /// Whether the newest statement is past its `expires` at `now`.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.newest().is_some_and(|s| s.expires <= now)
    }
}

/// Why a statement or a chain was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StatementError {
    /// Not base64.
    #[error("the key statement is not standard base64")]
    Base64,
    /// Unknown, missing, repeated or misplaced lines, or a line that does not parse.
    #[error("the key statement is not well-formed")]
    Syntax,
    /// A signature does not hold.
    #[error("a signature of the key statement does not hold")]
    Signature,
    /// Not about the address asked for.
    #[error("the key statement is not about this address")]
    Address,
    /// Two statements with one previous key and different keys.
    #[error("two key statements follow the same key; refuse both and ask the contact")]
    Fork,
    /// `created` goes back, or lies over a day ahead.
    #[error("the dates of the key statements are out of order; check this machine's clock")]
    Dates,
    /// Statements that do not link.
    #[error("the key statements do not form one chain")]
    Broken,
}
