//! A fingerprint to read aloud: 12 BIP-39 English words (profile §8).

use sealpost_proto::key::PublicKey;
use sha2::{Digest, Sha256};

/// 12 words of 11 bits: 132 bits.
const WORDS: usize = 12;
const BITS: usize = 11;

/// The first 132 bits of SHA-256(key blob) as 12 BIP-39 English words, most significant bits first. They are a
/// fingerprint, not a BIP-39 mnemonic: there is no checksum in them.
pub fn fingerprint_words(key: &PublicKey) -> String {
    let list = bip39::Language::English.word_list();
    let digest = Sha256::digest(key.blob());
    let bit = |i: usize| usize::from(digest[i / 8] >> (7 - i % 8) & 1);
    let word = |n: usize| list[(0..BITS).fold(0, |index, i| index << 1 | bit(n * BITS + i))];
    (0..WORDS).map(word).collect::<Vec<_>>().join(" ")
}

/// Whether this is a word of the list.
pub fn is_word(word: &str) -> bool {
    bip39::Language::English.find_word(word).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_follow_the_bits_of_the_digest() {
        let key = PublicKey::from_openssh(
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB+piVHuIXGRWRk62uU8aoMOLI45P2B8y3h9fABOyLVc",
        )
        .expect("a good key");
        // Computed by other software from the blob and the BIP-39 list.
        assert_eq!(
            fingerprint_words(&key),
            "once mule body physical quiz group emerge blush muffin item grocery arrow"
        );
    }
}
