//! The recovery kit (profile §9): 128 random bits on paper, from which a key comes to which keyrings are sealed as well.
//!
//! # Form
//!
//! ```text
//! words = BIP 39: the 128 bits and the first 4 of their SHA-256, as 12 English words
//! text  = BIP 350 (bech32m), human-readable part "sealpost-recovery-", the 16 octets; written in capitals
//! seed  = HKDF-SHA-256(ikm = the 16 octets, no salt, info = "sealpost recovery v1" ‖ 0x00 ‖ user name, 32 octets)
//! ```
//!
//! The seed is an Ed25519 private key like every other here (profile §3), so that `age` seals to it and opens with it.

use crate::key::SecretKey;
use bech32::{Bech32m, Hrp, primitives::decode::CheckedHrpstring};
use hkdf::Hkdf;
use sealpost_proto::address::Address;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// 128 bits: as strong as the curve, and few enough to be copied by hand.
const OCTETS: usize = 16;
const WORDS: usize = 12;
const BITS: usize = 11;
const PREFIX: &str = "sealpost-recovery-";
const INFO: &[u8] = b"sealpost recovery v1\0";

/// What a kit holds. No `Debug`; cleared on drop.
#[derive(Clone)]
pub struct RecoveryKey(Zeroizing<[u8; OCTETS]>);

impl RecoveryKey {
    /// From randomness.
    pub fn new(random: [u8; OCTETS]) -> Self {
        Self(Zeroizing::new(random))
    }

    /// The words, one space between them.
    pub fn words(&self) -> Zeroizing<String> {
        let list = bip39::Language::English.word_list();
        let bits = self.with_checksum();
        let bit = |i: usize| usize::from(bits[i / 8] >> (7 - i % 8) & 1);
        // Twelve words of at most eight letters: sized beforehand, so that nothing is left behind by growing.
        let mut text = Zeroizing::new(String::with_capacity(WORDS * 9));
        for n in 0..WORDS {
            if n > 0 {
                text.push(' ');
            }
            text.push_str(list[(0..BITS).fold(0, |index, i| index << 1 | bit(n * BITS + i))]);
        }
        text
    }

    /// The text, in capitals, which makes the smaller QR code.
    #[expect(clippy::missing_panics_doc, reason = "it never does: prefix and length are within BIP 173's")]
    pub fn text(&self) -> Zeroizing<String> {
        let prefix = Hrp::parse(PREFIX).expect("printable and short");
        Zeroizing::new(bech32::encode_upper::<Bech32m>(prefix, &*self.0).expect("16 octets are short"))
    }

    /// From words or text, as people type and scanners give it.
    pub fn parse(typed: &str) -> Result<Self, RecoveryKeyError> {
        let words: Vec<&str> = typed.split_whitespace().collect();
        match words.as_slice() {
            [] => Err(RecoveryKeyError::Count(0)),
            [text] => Self::from_text(text),
            words => Self::from_words(words),
        }
    }

    fn from_text(text: &str) -> Result<Self, RecoveryKeyError> {
        let checked = CheckedHrpstring::new::<Bech32m>(text).map_err(|_| RecoveryKeyError::Checksum)?;
        if !checked.hrp().to_lowercase().eq_ignore_ascii_case(PREFIX) {
            return Err(RecoveryKeyError::NoKit);
        }
        let mut key = Zeroizing::new([0; OCTETS]);
        let mut length = 0;
        for octet in checked.byte_iter() {
            *key.get_mut(length).ok_or(RecoveryKeyError::NoKit)? = octet;
            length += 1;
        }
        if length == OCTETS { Ok(Self(key)) } else { Err(RecoveryKeyError::NoKit) }
    }

    fn from_words(words: &[&str]) -> Result<Self, RecoveryKeyError> {
        if words.len() != WORDS {
            return Err(RecoveryKeyError::Count(words.len()));
        }
        let mut bits = Zeroizing::new([0_u8; OCTETS + 1]);
        for (n, word) in words.iter().enumerate() {
            let word = Zeroizing::new(word.to_lowercase());
            let index = bip39::Language::English.find_word(&word).ok_or(RecoveryKeyError::Word(n + 1))?;
            for i in 0..BITS {
                let at = n * BITS + i;
                bits[at / 8] |= u8::from(index >> (BITS - 1 - i) & 1 == 1) << (7 - at % 8);
            }
        }
        let mut key = Zeroizing::new([0; OCTETS]);
        key.copy_from_slice(&bits[..OCTETS]);
        let key = Self(key);
        if key.with_checksum() == bits { Ok(key) } else { Err(RecoveryKeyError::Checksum) }
    }

    fn with_checksum(&self) -> Zeroizing<[u8; OCTETS + 1]> {
        let mut bits = Zeroizing::new([0; OCTETS + 1]);
        bits[..OCTETS].copy_from_slice(&*self.0);
        bits[OCTETS] = Sha256::digest(*self.0)[0] & 0xf0;
        bits
    }

    /// The key to which keyrings of this account are sealed; a kit of one account opens nothing of another's.
    #[expect(clippy::missing_panics_doc, reason = "it never does: 32 octets are one block of HKDF")]
    pub fn key(&self, user: &Address) -> SecretKey {
        let mut seed = Zeroizing::new([0; 32]);
        let info = [INFO, user.as_str().as_bytes()].concat();
        Hkdf::<Sha256>::new(None, &*self.0).expand(&info, &mut *seed).expect("one block");
        SecretKey::from_seed(*seed)
    }
}

/// Why something is no recovery key. Holds nothing of what was typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryKeyError {
    /// Neither one piece of text nor twelve words.
    #[error("a recovery kit has twelve words, not {0}; type all of them, or the text below them")]
    Count(usize),
    /// Not of the list.
    #[error("word number {0} is no word of a recovery kit; look at the page again")]
    Word(usize),
    /// The checksum is wrong.
    #[error("there is a slip in it, for its checksum is wrong; look at the page again")]
    Checksum,
    /// Good text, but of something else.
    #[error("this is no recovery key; it begins with SEALPOST-RECOVERY-1")]
    NoKit,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Result<[u8; OCTETS], RecoveryKeyError> {
        RecoveryKey::parse(text).map(|key| *key.0)
    }

    #[test]
    fn known_words_and_text() {
        // BIP 39's own vectors.
        let zero = RecoveryKey::new([0; 16]);
        let about = format!("{}about", "abandon ".repeat(11));
        assert_eq!(*zero.words(), about);
        let legal = "legal winner thank year wave sausage worth useful legal winner thank yellow";
        assert_eq!(*RecoveryKey::new([0x7f; 16]).words(), legal);
        assert_eq!(parsed(legal), Ok([0x7f; 16]));
        assert_eq!(parsed(&legal.to_uppercase().replace(' ', " \n ")), Ok([0x7f; 16]));
        let text = zero.text();
        assert!(text.starts_with("SEALPOST-RECOVERY-1QQQQ") && text.len() == 51, "{}", *text);
        assert_eq!(parsed(&text), Ok([0; 16]));
        assert_eq!(parsed(&format!(" {}\n", text.to_lowercase())), Ok([0; 16]));
    }

    /// Computed by other software (Python's hmac and cryptography, and BIP 350's own code).
    #[test]
    fn known_answers_of_other_software() {
        let kit = RecoveryKey::new([0x7f; 16]);
        assert_eq!(*kit.text(), "SEALPOST-RECOVERY-10ALH7LML0ALH7LML0ALH7LML0U7P6MJZ");
        assert_eq!(*RecoveryKey::new([0; 16]).text(), "SEALPOST-RECOVERY-1QQQQQQQQQQQQQQQQQQQQQQQQQQRUJ33C");
        let key = kit.key(&Address::parse("alice@example.org").expect("an address"));
        assert_eq!(
            key.public().openssh(),
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEAnXDJlwUph2O/xEG76PNW3ZTJM9n/qcgqRXyFbpbWk"
        );
    }

    #[test]
    fn slips_are_named_and_nothing_else_is_taken() {
        let legal = "legal winner thank year wave sausage worth useful legal winner thank yellow";
        let text = RecoveryKey::new([0; 16]).text();
        let other = bech32::encode_upper::<Bech32m>(Hrp::parse("age-secret-key-").expect("short"), &[0; 16]);
        let long = bech32::encode_upper::<Bech32m>(Hrp::parse(PREFIX).expect("short"), &[0; 17]);
        let short = bech32::encode_upper::<Bech32m>(Hrp::parse(PREFIX).expect("short"), &[0; 15]);
        let old = bech32::encode_upper::<bech32::Bech32>(Hrp::parse(PREFIX).expect("short"), &[0; 16]);
        for (typed, error) in [
            ("", RecoveryKeyError::Count(0)),
            ("legal winner", RecoveryKeyError::Count(2)),
            (&legal.replace("worth", "wort"), RecoveryKeyError::Word(7)),
            (&legal.replace("yellow", "year"), RecoveryKeyError::Checksum),
            (&text.replace("QQQQ", "QQQP"), RecoveryKeyError::Checksum),
            (&text[..50], RecoveryKeyError::Checksum),
            ("legal", RecoveryKeyError::Checksum),
            (&other.expect("text"), RecoveryKeyError::NoKit),
            (&long.expect("text"), RecoveryKeyError::NoKit),
            (&short.expect("text"), RecoveryKeyError::NoKit),
            (&old.expect("text"), RecoveryKeyError::Checksum),
        ] {
            assert_eq!(parsed(typed), Err(error), "{typed}");
        }
    }

    #[test]
    fn a_kit_is_one_accounts() {
        let address = |text| Address::parse(text).expect("an address");
        let kit = RecoveryKey::new([5; 16]);
        assert_eq!(kit.key(&address("a@x.org")).public(), kit.key(&address("a@x.org")).public());
        assert_ne!(kit.key(&address("a@x.org")).public(), kit.key(&address("b@x.org")).public());
        assert_ne!(
            kit.key(&address("a@x.org")).public(),
            RecoveryKey::new([6; 16]).key(&address("a@x.org")).public()
        );
    }

    proptest! {
        #[test]
        fn both_forms_round_trip(octets: [u8; 16]) {
            let kit = RecoveryKey::new(octets);
            prop_assert_eq!(parsed(&kit.words()), Ok(octets));
            prop_assert_eq!(parsed(&kit.text()), Ok(octets));
        }

        #[test]
        fn never_panics(text in "(SEALPOST-RECOVERY-1)?[a-zA-Z0-9 -]{0,80}|\\PC{0,60}") {
            let _ = parsed(&text);
        }
    }
}
