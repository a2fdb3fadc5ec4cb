//! Whether octets are still the same: for a sealed index, which nobody but this device reads.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rand_core::{OsRng, RngCore as _};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Octets of a [`Same`].
pub const SAME_OCTETS: usize = 32;
const KEY: usize = 16;

/// A key that is used once, and the tag of some octets by it (GMAC, NIST SP 800-38D). Who does not know the key finds no
/// other octets with this tag, however often he is told that he did not (one in 2^128 for each 16 octets of a try); who
/// does, does: it has to be kept where nobody else reads. Several times as fast as a hash.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Same([u8; SAME_OCTETS]);

impl Same {
    /// Of these octets.
    pub fn of(octets: &[u8]) -> Self {
        let mut key = [0; KEY];
        OsRng.fill_bytes(&mut key);
        let tag = tag(&key, octets);
        let mut all = [0; SAME_OCTETS];
        all[..KEY].copy_from_slice(&key);
        all[KEY..].copy_from_slice(&tag);
        Self(all)
    }

    /// As [`Same::expose`] gave it.
    pub fn new(octets: [u8; SAME_OCTETS]) -> Self {
        Self(octets)
    }

    /// For an index that is itself sealed.
    pub fn expose(&self) -> &[u8; SAME_OCTETS] {
        &self.0
    }

    /// Whether these are the octets.
    pub fn is(&self, octets: &[u8]) -> bool {
        let (key, known) = self.0.split_at(KEY);
        // Nobody learns how far they agree who could make use of it: the key is used for one message alone.
        tag(key, octets) == known
    }
}

fn tag(key: &[u8], octets: &[u8]) -> [u8; SAME_OCTETS - KEY] {
    // 16 octets are what AES-128 wants, and no message has 2^36.
    let key = UnboundKey::new(&AES_128_GCM, key).unwrap_or_else(|_| unreachable!());
    let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
    let tag = LessSafeKey::new(key).seal_in_place_separate_tag(nonce, Aad::from(octets), &mut []);
    let mut out = [0; SAME_OCTETS - KEY];
    out.copy_from_slice(tag.unwrap_or_else(|_| unreachable!()).as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_octet_is_enough() {
        for length in [0, 1, 15, 16, 17, 100_000] {
            let octets = vec![7; length];
            let same = Same::of(&octets);
            assert!(same.is(&octets) && Same::new(*same.expose()).is(&octets), "{length}");
            assert!(!same.is(&vec![7; length + 1]), "{length}");
            for at in (0..length).step_by(977) {
                let mut other = octets.clone();
                other[at] ^= 1;
                assert!(!same.is(&other), "{length}, {at}");
            }
        }
        assert!(Same::of(b"a") != Same::of(b"a"));
    }

    #[test]
    fn it_is_gmac() {
        // AES-128-GCM of nothing under a key and nonce of zeros (the GCM specification's test case 1).
        let expected =
            [0x58, 0xe2, 0xfc, 0xce, 0xfa, 0x7e, 0x30, 0x61, 0x36, 0x7f, 0x1d, 0x57, 0xa4, 0xe7, 0x45, 0x5a];
        assert_eq!(tag(&[0; KEY], b""), expected);
    }
}
