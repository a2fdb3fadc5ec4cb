//! Mail addresses: as written on the wire, and in the canonical form that names an account or a pin (profile §3).

use std::fmt;

/// A domain in canonical form: lower-case A-labels (UTS 46, non-transitional), or an address literal `[…]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(String);

impl Domain {
    /// Parses and canonicalises (`MÜLLER.example` → `xn--mller-kva.example`).
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let _ = text;
        todo!()
    }
    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An address in canonical form: unquoted where possible, NFC, local part in Unicode default lower case, NFC
/// again; domain as lower-case A-labels. Names accounts and pins; never sent to foreign servers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    text: String,
    at: usize,
}

impl Address {
    /// Parses any valid spelling and canonicalises it.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        Mailbox::parse(text).map(|m| m.canonical())
    }
    /// Accepts `text` only if it is already canonical (HASHEDPASS user names, profile §4).
    pub fn parse_canonical(text: &str) -> Result<Self, AddressError> {
        let _ = text;
        todo!()
    }
    /// `local@domain`.
    pub fn as_str(&self) -> &str {
        &self.text
    }
    /// The canonical local part.
    pub fn local(&self) -> &str {
        &self.text[..self.at]
    }
    /// The domain.
    pub fn domain(&self) -> Domain {
        Domain(self.text[self.at + 1..].to_owned())
    }
    /// `alice+list@x` → `Some(alice@x)`; `None` where there is no detail.
    pub fn without_detail(&self) -> Option<Self> {
        todo!()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// An address as somebody wrote it: what goes on the wire for foreign local parts (profile §3).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mailbox {
    local: String,
    domain: String,
}

impl Mailbox {
    /// RFC 5321 §4.1.2 `Mailbox` with RFC 6531's UTF-8; local part at most 64 octets, domain at most 253.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let _ = text;
        todo!()
    }
    /// The local part as written, quotes included.
    pub fn local(&self) -> &str {
        &self.local
    }
    /// The domain as written.
    pub fn domain_as_written(&self) -> &str {
        &self.domain
    }
    /// The canonical domain.
    pub fn domain(&self) -> Domain {
        todo!()
    }
    /// The canonical address.
    pub fn canonical(&self) -> Address {
        todo!()
    }
    /// Whether it goes through a relay without SMTPUTF8 (local part in ASCII; domain is sent as A-labels).
    pub fn is_ascii(&self) -> bool {
        self.local.is_ascii()
    }
}

/// As written.
impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

/// Why a text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Not `local@domain` by RFC 5321 §4.1.2 and RFC 6531.
    #[error("this is not a mail address; write it as name@domain")]
    Syntax,
    /// Local part over 64 octets.
    #[error("the part before the @ is longer than 64 octets")]
    LocalTooLong,
    /// Domain over 253 octets.
    #[error("the domain is longer than 253 octets")]
    DomainTooLong,
    /// The domain is not valid under UTS 46.
    #[error("the domain is not a valid name; check its spelling")]
    Domain,
    /// Valid, but not in canonical form where that is asked for.
    #[error("write the address in its canonical form: lower case, no quotes, domain in A-labels")]
    NotCanonical,
}
