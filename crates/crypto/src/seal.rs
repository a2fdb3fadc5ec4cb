//! Sealing and opening in the age v1 format (profile §6): two nouns, two verbs.

use crate::key::SecretKey;
use sealpost_proto::key::PublicKey;
use std::io::{Read, Write};

/// Most recipient stanzas opened (profile §6).
pub const MAX_STANZAS: usize = 1_000;

/// Seals what is written to the returned writer for `recipients`, ASCII-armoured with CRLF line ends, to `out`.
/// Call [`Sealer::finish`], else the file is truncated. Bounded memory.
pub fn seal_armoured<'a, W: Write + 'a>(
    recipients: &[PublicKey],
    out: W,
) -> Result<Sealer<'a, W>, SealError> {
    let _ = (recipients, out);
    todo!()
}

/// A sealing in progress.
pub struct Sealer<'a, W: Write> {
    _out: std::marker::PhantomData<&'a W>,
}

impl<W: Write> Sealer<'_, W> {
    /// Writes the final chunk and the end of the armour.
    pub fn finish(self) -> Result<W, SealError> {
        todo!()
    }
}

impl<W: Write> Write for Sealer<'_, W> {
    fn write(&mut self, _buf: &[u8]) -> std::io::Result<usize> {
        todo!()
    }
    fn flush(&mut self) -> std::io::Result<()> {
        todo!()
    }
}

/// Opens armoured input with the first of `identities` that fits; the result streams and fails (never silently
/// ends) on damage. Checks the stanza rules of profile §6.
pub fn open_armoured<'a, R: Read + 'a>(
    identities: &[SecretKey],
    input: R,
) -> Result<Box<dyn Read + 'a>, SealError> {
    let _ = (identities, input);
    todo!()
}

/// Binary age, whole in memory: keyrings.
pub fn seal_bytes(recipients: &[PublicKey], plain: &[u8]) -> Result<Vec<u8>, SealError> {
    let _ = (recipients, plain);
    todo!()
}

/// Inverse of [`seal_bytes`].
pub fn open_bytes(identities: &[SecretKey], sealed: &[u8]) -> Result<zeroize::Zeroizing<Vec<u8>>, SealError> {
    let _ = (identities, sealed);
    todo!()
}

/// Why sealing or opening failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// No recipients given.
    #[error("there is nobody to seal to")]
    NoRecipients,
    /// No stanza for any key of ours.
    #[error("this message is not sealed to any of your keys")]
    NotForUs,
    /// Over 1,000 stanzas.
    #[error("this message has more than 1,000 recipients and is not opened")]
    TooManyStanzas,
    /// A stanza of another kind than ssh-ed25519, ssh-rsa and …-grease.
    #[error("this message is sealed in a way that Sealpost does not take")]
    ForeignStanza,
    /// Damaged armour, header or payload.
    #[error("the sealed message is damaged")]
    Damaged,
    /// Input or output failed.
    #[error("reading or writing failed: {0}")]
    Io(#[from] std::io::Error),
}
