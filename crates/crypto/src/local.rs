//! Rows of a file on this device, sealed with a key that this device keeps: what an index holds of opened messages.

use crate::key::SecretKey;
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use rand_core::{OsRng, RngCore as _};
use sha2::Sha256;
use std::sync::Arc;
use zeroize::Zeroizing;

/// A key of this device, for AES-256-GCM-SIV (RFC 8452). A nonce is drawn for each row; should one come twice among 2^48, it
/// tells whether two rows are the same, and nothing else.
#[derive(Clone)]
pub struct LocalKey(Arc<Ready>);

struct Ready {
    octets: Zeroizing<[u8; 32]>,
    cipher: LessSafeKey,
}

impl LocalKey {
    /// From 32 random octets.
    pub fn new(octets: Zeroizing<[u8; 32]>) -> Self {
        // 32 octets are what this cipher wants.
        let key = UnboundKey::new(&AES_256_GCM_SIV, &*octets).unwrap_or_else(|_| unreachable!());
        Self(Arc::new(Ready { octets, cipher: LessSafeKey::new(key) }))
    }

    /// A new one.
    pub fn generate() -> Self {
        let mut octets = Zeroizing::new([0; 32]);
        OsRng.fill_bytes(octets.as_mut_slice());
        Self::new(octets)
    }

    /// The key that goes with a key pair: whoever has the password of an account can make it again, nobody else. HKDF-SHA-256
    /// (RFC 5869) of the seed, without salt.
    pub fn of(key: &SecretKey) -> Self {
        let mut octets = Zeroizing::new([0; 32]);
        // 32 octets are one block, far from the 255 that HKDF gives at most.
        Hkdf::<Sha256>::new(None, key.seed().as_slice())
            .expand(b"sealpost device v1", octets.as_mut_slice())
            .unwrap_or_else(|_| unreachable!());
        Self::new(octets)
    }

    /// For the file it is kept in.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0.octets
    }

    /// Nonce, sealed octets, tag. `place` says where the row stands: it opens nowhere else.
    pub fn seal(&self, place: &[u8], plain: &[u8]) -> Vec<u8> {
        let cipher = &self.0.cipher;
        let mut row = Vec::with_capacity(NONCE_LEN + plain.len() + cipher.algorithm().tag_len());
        let mut nonce = [0; NONCE_LEN];
        OsRng.fill_bytes(&mut nonce);
        row.extend_from_slice(&nonce);
        row.extend_from_slice(plain);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = cipher.seal_in_place_separate_tag(nonce, Aad::from(place), &mut row[NONCE_LEN..]);
        // Refused are rows of 64 GiB alone.
        let tag = tag.unwrap_or_else(|_| unreachable!());
        row.extend_from_slice(tag.as_ref());
        row
    }

    /// Inverse of [`LocalKey::seal`]; `None` for what was damaged, put elsewhere, or sealed with another key.
    pub fn open(&self, place: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut octets = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = self.0.cipher.open_in_place(nonce, Aad::from(place), &mut octets).ok()?.len();
        octets.truncate(plain);
        Some(octets)
    }

    /// A name for `text` that tells nothing of it: HMAC-SHA-256 (RFC 2104), cut to 16 octets.
    pub fn name(&self, text: &[u8]) -> [u8; 16] {
        // HMAC takes keys of any length.
        let mut mac =
            <Hmac<Sha256> as hmac::Mac>::new_from_slice(self.expose()).unwrap_or_else(|_| unreachable!());
        mac.update(b"sealpost local name");
        mac.update(text);
        let tag: [u8; 32] = mac.finalize().into_bytes().into();
        let mut name = [0; 16];
        name.copy_from_slice(&tag[..16]);
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_opens_in_its_place_alone() {
        let (key, other) = (LocalKey::generate(), LocalKey::generate());
        let sealed = key.seal(b"row 1", b"a subject");
        assert_eq!(key.open(b"row 1", &sealed).as_deref().map(Vec::as_slice), Some(&b"a subject"[..]));
        assert!(key.open(b"row 2", &sealed).is_none());
        assert!(other.open(b"row 1", &sealed).is_none());
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(key.open(b"row 1", &damaged).is_none(), "{at}");
            assert!(key.open(b"row 1", &sealed[..at]).is_none(), "{at}");
        }
        assert_ne!(sealed, key.seal(b"row 1", b"a subject"));
        assert_eq!(key.name(b"INBOX"), key.name(b"INBOX"));
        assert_ne!(key.name(b"INBOX"), other.name(b"INBOX"));
    }

    #[test]
    fn it_is_the_cipher_of_rfc_8452() {
        // Appendix C.2: key 01 00…, nonce 03 00…, plaintext 01 00…, no additional data.
        let first = |octet| {
            let mut octets = [0; 32];
            octets[0] = octet;
            octets
        };
        let (key, nonce) = (LocalKey::new(Zeroizing::new(first(1))), first(3));
        let sealed = [
            0xc2, 0xef, 0x32, 0x8e, 0x5c, 0x71, 0xc8, 0x3b, 0x84, 0x31, 0x22, 0x13, 0x0f, 0x73, 0x64, 0xb7,
            0x61, 0xe0, 0xb9, 0x74, 0x27, 0xe3, 0xdf, 0x28,
        ];
        let row = [&nonce[..NONCE_LEN], &sealed].concat();
        assert_eq!(key.open(b"", &row).as_deref().map(Vec::as_slice), Some(&first(1)[..8]));
    }

    #[test]
    fn a_key_pair_has_one_key_of_its_own() {
        let of = |seed| LocalKey::of(&SecretKey::from_seed([seed; 32]));
        // HKDF-SHA-256 by Python's hmac and hashlib.
        assert_eq!(
            crate::hex::encode(of(7).expose()),
            "52fb345e0bc4fd6c55fbb821bf16b9b4aa7f84cd38809d0f7fe14c40935cf129"
        );
        assert_ne!(of(7).expose(), of(8).expose());
        assert_ne!(of(7).expose(), &[7; 32]);
    }
}
