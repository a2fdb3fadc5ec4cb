//! A fingerprint to read aloud: 12 BIP-39 English words (profile §8).

use sealpost_proto::key::PublicKey;

/// The first 132 bits of SHA-256(key blob) as 12 BIP-39 English words.
pub fn fingerprint_words(key: &PublicKey) -> String {
    let _ = key;
    todo!()
}
