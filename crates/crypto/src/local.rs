//! Rows of a file on this device, sealed with a key that this device keeps: what an index holds of opened messages.

use crate::key::SecretKey;
use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use rand_core::{OsRng, RngCore as _};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Octets of a nonce, drawn anew for each row: of 192 random bits none comes twice.
const NONCE_OCTETS: usize = 24;

/// A key of this device.
#[derive(Clone)]
pub struct LocalKey(Zeroizing<[u8; 32]>);

impl LocalKey {
    /// From 32 random octets.
    pub fn new(octets: Zeroizing<[u8; 32]>) -> Self {
        Self(octets)
    }

    /// A new one.
    pub fn generate() -> Self {
        let mut octets = Zeroizing::new([0; 32]);
        OsRng.fill_bytes(octets.as_mut_slice());
        Self(octets)
    }

    /// The key that goes with a key pair: whoever has the password of an account can make it again, nobody else. HKDF-SHA-256
    /// (RFC 5869) of the seed, without salt.
    pub fn of(key: &SecretKey) -> Self {
        let mut octets = Zeroizing::new([0; 32]);
        // 32 octets are one block, far from the 255 that HKDF gives at most.
        Hkdf::<Sha256>::new(None, key.seed().as_slice())
            .expand(b"sealpost device v1", octets.as_mut_slice())
            .unwrap_or_else(|_| unreachable!());
        Self(octets)
    }

    /// For the file it is kept in.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Nonce and sealed octets. `place` says where the row stands: it opens nowhere else.
    pub fn seal(&self, place: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_OCTETS];
        OsRng.fill_bytes(&mut nonce);
        let cipher = XChaCha20Poly1305::new(self.0.as_slice().into());
        let sealed = cipher.encrypt(XNonce::from_slice(&nonce), Payload { msg: plain, aad: place });
        // Only a row of 256 GiB is refused.
        [&nonce[..], &sealed.unwrap_or_default()].concat()
    }

    /// Inverse of [`LocalKey::seal`]; `None` for what was damaged, put elsewhere, or sealed with another key.
    pub fn open(&self, place: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_OCTETS)?;
        let cipher = XChaCha20Poly1305::new(self.0.as_slice().into());
        let plain = cipher.decrypt(XNonce::from_slice(nonce), Payload { msg: sealed, aad: place }).ok()?;
        Some(Zeroizing::new(plain))
    }

    /// A name for `text` that tells nothing of it: HMAC-SHA-256 (RFC 2104), cut to 16 octets.
    pub fn name(&self, text: &[u8]) -> [u8; 16] {
        // HMAC takes keys of any length.
        let mut mac =
            <Hmac<Sha256> as hmac::Mac>::new_from_slice(self.0.as_slice()).unwrap_or_else(|_| unreachable!());
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
