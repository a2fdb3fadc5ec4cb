//! Generated passphrases: six words of the EFF large list, 77 bits (profile §3).

use diceware_wordlists::EFF_LONG_WORDLIST;
use rand_core::{OsRng, RngCore};
use zeroize::Zeroizing;

/// 6 · log2(7776) = 77.5 bits.
const WORDS: usize = 6;
/// 6^5: five dice a word.
const LIST_LEN: u32 = 7_776;
/// The longest word of the list has nine letters.
const MAX_OCTETS: usize = WORDS * 10;

/// Six words, separated by single spaces, drawn from the operating system's randomness.
pub fn generate() -> Zeroizing<String> {
    from_rng(&mut OsRng)
}

fn from_rng(rng: &mut impl RngCore) -> Zeroizing<String> {
    // Sized beforehand: a buffer that grows leaves uncleared copies behind.
    let mut text = Zeroizing::new(String::with_capacity(MAX_OCTETS));
    for i in 0..WORDS {
        if i > 0 {
            text.push(' ');
        }
        text.push_str(EFF_LONG_WORDLIST[uniform(rng)]);
    }
    text
}

/// An index of the list, each with the same chance: values in the incomplete last run are drawn again.
fn uniform(rng: &mut impl RngCore) -> usize {
    const END: u32 = u32::MAX - u32::MAX % LIST_LEN;
    loop {
        let value = rng.next_u32();
        if value < END {
            return usize::try_from(value % LIST_LEN).expect("below 7,776");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    struct Fixed(Vec<u32>);

    impl RngCore for Fixed {
        fn next_u32(&mut self) -> u32 {
            self.0.remove(0)
        }
        fn next_u64(&mut self) -> u64 {
            unreachable!("not asked for")
        }
        fn fill_bytes(&mut self, _: &mut [u8]) {
            unreachable!("not asked for")
        }
        fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), rand_core::Error> {
            unreachable!("not asked for")
        }
    }

    #[test]
    fn the_list_is_the_eff_large_one() {
        use sha2::{Digest, Sha256};
        assert_eq!(EFF_LONG_WORDLIST.len(), usize::try_from(LIST_LEN).expect("small"));
        assert_eq!(EFF_LONG_WORDLIST.iter().collect::<HashSet<_>>().len(), EFF_LONG_WORDLIST.len());
        assert!(EFF_LONG_WORDLIST.iter().all(|w| w.len() <= 9));
        assert_eq!((EFF_LONG_WORDLIST[0], EFF_LONG_WORDLIST[7_775]), ("abacus", "zoom"));
        let joined = EFF_LONG_WORDLIST.join("\n");
        assert_eq!(
            crate::hex::encode(&Sha256::digest(joined)[..8]),
            "abae49761b88f3f1",
            "SHA-256 of the words, one a line; the same as of eff_large_wordlist.txt cut to its words"
        );
    }

    #[test]
    fn every_index_has_the_same_chance() {
        // u32::MAX is in the incomplete last run and is drawn again.
        let mut rng = Fixed(vec![0, 7_775, 7_776, u32::MAX, 1, 2, 3]);
        let text = from_rng(&mut rng);
        assert_eq!(text.as_str(), "abacus zoom abacus abdomen abdominal abide");
        assert!(rng.0.is_empty());
    }

    #[test]
    fn passphrases_are_six_words_and_differ() {
        let (a, b) = (generate(), generate());
        assert_ne!(*a, *b);
        assert_eq!(a.split(' ').count(), WORDS);
        assert!(a.capacity() <= MAX_OCTETS, "never grown");
    }

    #[test]
    fn passphrases_are_strong_enough() {
        let values: Vec<u32> = (1_u32..=60).map(|n| n.wrapping_mul(0x9e37_79b9)).collect();
        for six in values.chunks(6) {
            let text = from_rng(&mut Fixed(six.to_vec()));
            let password = crate::kdf::Password::new(&text).expect("short");
            assert_eq!(password.check_strength(&["alice@example.net", "Alice"]), Ok(()), "{}", *text);
        }
    }
}
