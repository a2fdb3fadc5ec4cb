//! Everything that needs a password or a private key: derivation, sealing, signing. Bytes in, bytes out; no mail.

pub mod aside;
pub mod hex;
pub mod kdf;
pub mod key;
pub mod keyring;
pub mod local;
pub mod passphrase;
pub mod recovery;
pub mod same;
pub mod seal;
pub mod vectors;
pub mod words;
