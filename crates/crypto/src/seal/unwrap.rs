//! The stanza `ssh-ed25519` of age, unwrapped by a key that was made ready: one multiplication on Curve25519.
//!
//! As age has it there are two after one another, by the private key and by a tweak, which the public key determines, and a
//! third for the recipient's point (<https://age-encryption.org/v1>, "The ssh-ed25519 recipient type"):
//!
//! ```text
//! shared = X25519(tweak, X25519(private, ephemeral))
//! ```
//!
//! Multiplying by `private` and then by `tweak` is multiplying by their product, which is made once. X25519 sets and clears
//! bits of its scalar, so the product takes a form in which they are as it wants them. It is one only for points on the curve
//! itself, as every X25519 key is; for points on its twist, which nobody has unless he wants to, `age` decides as ever.

use super::{SealError, age_identity, tag};
use crate::key::SecretKey;
use age::{DecryptError, Identity, ssh};
use age_core::{
    format::{FILE_KEY_BYTES, FileKey, Stanza},
    primitives::{aead_decrypt, hkdf},
};
use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};
use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use curve25519_dalek::{Scalar, scalar::clamp_integer};
use sha2::{Digest as _, Sha512};
use zeroize::{Zeroize as _, Zeroizing};

const KIND: &str = "ssh-ed25519";
const LABEL: &[u8] = b"age-encryption.org/v1/ssh-ed25519";
/// A file key with its tag.
const WRAPPED_OCTETS: usize = FILE_KEY_BYTES + 16;

/// A private key made ready.
pub(super) struct Ready {
    quick: Option<Quick>,
    age: ssh::Identity,
}

struct Quick {
    /// The first argument of stanzas for this key.
    tag: String,
    /// The point of the recipient, as HKDF wants it.
    own: [u8; 32],
    /// `private` times `tweak`.
    product: PrivateKey,
}

impl Ready {
    pub(super) fn new(key: &SecretKey) -> Result<Self, SealError> {
        Ok(Self { quick: Quick::new(key), age: age_identity(key)? })
    }
}

impl Quick {
    fn new(key: &SecretKey) -> Option<Self> {
        let public = key.public();
        let mut private = [0; 32];
        let expanded = Zeroizing::new(<[u8; 64]>::from(Sha512::digest(*key.seed())));
        private.copy_from_slice(&expanded[..32]);
        let tweak = clamp_integer(hkdf(public.blob(), LABEL, &[]));
        let product = product(clamp_integer(private), tweak);
        private.zeroize();
        Some(Self {
            tag: tag(&public),
            own: key.montgomery(),
            product: PrivateKey::from_private_key(&X25519, &*product?).ok()?,
        })
    }

    fn unwrap(&self, stanza: &Stanza) -> Option<FileKey> {
        let [_, ephemeral, ..] = stanza.args.as_slice() else { return None };
        if stanza.body.len() != WRAPPED_OCTETS {
            return None;
        }
        let ephemeral: [u8; 32] = BASE64_STANDARD_NO_PAD.decode(ephemeral).ok()?.try_into().ok()?;
        let salt = [ephemeral, self.own].concat();
        let peer = UnparsedPublicKey::new(&X25519, ephemeral);
        let key = agreement::agree(&self.product, peer, (), |shared| {
            Ok(Zeroizing::new(hkdf(&salt, LABEL, shared)))
        });
        let plain = Zeroizing::new(aead_decrypt(&*key.ok()?, FILE_KEY_BYTES, &stanza.body).ok()?);
        Some(FileKey::init_with_mut(|file_key| file_key.copy_from_slice(&plain)))
    }
}

impl Identity for Ready {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        if let Some(quick) = &self.quick
            && stanza.tag == KIND
        {
            // What is for others costs nothing.
            if stanza.args.first() != Some(&quick.tag) {
                return None;
            }
            if let Some(key) = quick.unwrap(stanza) {
                return Some(Ok(key));
            }
        }
        self.age.unwrap_stanza(stanza)
    }
}

/// One scalar for two, both clamped (RFC 7748 §5) and so multiples of eight: eight times `k`, by which every point of small
/// order vanishes, as it does by either. Its sign makes no difference where only the abscissa counts, so of `k` and `-k` that is
/// taken which X25519 leaves as it is: the one at or over 2^251.
fn product(a: [u8; 32], b: [u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
    let (mut a, mut b) = (Scalar::from_bytes_mod_order(a), Scalar::from_bytes_mod_order(b));
    let mut k = a * b * Scalar::from(8_u8).invert();
    let mut eightfold = Zeroizing::new([0; 32]);
    let mut found = false;
    for _ in 0..2 {
        let octets = Zeroizing::new(k.to_bytes());
        let mut carry = 0;
        for (to, from) in eightfold.iter_mut().zip(octets.iter()) {
            *to = from << 3 | carry;
            carry = from >> 5;
        }
        found = carry == 0 && *eightfold == clamp_integer(*eightfold);
        if found {
            break;
        }
        k = -k;
    }
    a.zeroize();
    b.zeroize();
    k.zeroize();
    found.then_some(eightfold)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use age::secrecy::ExposeSecret as _;
    use curve25519_dalek::MontgomeryPoint;
    use proptest::prelude::*;
    use sha2::Sha256;

    /// A stanza of which `age` makes what it makes, whatever the point.
    fn stanza(key: &SecretKey, ephemeral: [u8; 32], file_key: [u8; 16]) -> Stanza {
        let blob = key.public().blob().to_vec();
        let expanded = Sha512::digest(*key.seed());
        let tweak = hkdf(&blob, LABEL, &[]);
        let shared =
            MontgomeryPoint(ephemeral).mul_clamped(expanded[..32].try_into().unwrap()).mul_clamped(tweak);
        let salt = [ephemeral, key.montgomery()].concat();
        let wrap = hkdf(&salt, LABEL, &shared.0);
        Stanza {
            tag: KIND.to_owned(),
            args: vec![
                BASE64_STANDARD_NO_PAD.encode(&Sha256::digest(&blob)[..4]),
                BASE64_STANDARD_NO_PAD.encode(ephemeral),
            ],
            body: age_core::primitives::aead_encrypt(&wrap, &file_key),
        }
    }

    fn keys_of(unwrapped: Option<Result<FileKey, DecryptError>>) -> Option<Result<[u8; 16], ()>> {
        unwrapped.map(|key| key.map(|key| *key.expose_secret()).map_err(drop))
    }

    proptest! {
        #[test]
        fn it_is_what_age_says(seed: [u8; 32], point: [u8; 32], file_key: [u8; 16], damage in 0..64_usize) {
            let key = SecretKey::from_seed(seed);
            let ready = Ready::new(&key).unwrap();
            // Half of all octets are points of the twist.
            let on_curve = MontgomeryPoint::mul_base_clamped(point).0;
            for ephemeral in [on_curve, point, [0; 32]] {
                let mut stanza = stanza(&key, ephemeral, file_key);
                prop_assert_eq!(keys_of(ready.unwrap_stanza(&stanza)), keys_of(ready.age.unwrap_stanza(&stanza)));
                if ephemeral == on_curve {
                    prop_assert!(ready.quick.as_ref().unwrap().unwrap(&stanza).is_some());
                }
                stanza.body[damage % 32] ^= 1;
                prop_assert_eq!(keys_of(ready.unwrap_stanza(&stanza)), keys_of(ready.age.unwrap_stanza(&stanza)));
            }
        }

        #[test]
        fn a_product_does_what_its_factors_do(a: [u8; 32], b: [u8; 32], point: [u8; 32]) {
            let both = product(clamp_integer(a), clamp_integer(b)).unwrap();
            let point = MontgomeryPoint::mul_base_clamped(point);
            prop_assert_eq!(point.mul_clamped(*both), point.mul_clamped(a).mul_clamped(b));
        }
    }

    #[test]
    fn stanzas_of_others_and_broken_ones_are_left_to_age() {
        let (key, other) = (SecretKey::from_seed([1; 32]), SecretKey::from_seed([2; 32]));
        let ready = Ready::new(&key).unwrap();
        let ephemeral = MontgomeryPoint::mul_base_clamped([3; 32]).0;
        let good = stanza(&key, ephemeral, [4; 16]);
        assert_eq!(keys_of(ready.unwrap_stanza(&good)), Some(Ok([4; 16])));
        assert!(ready.unwrap_stanza(&stanza(&other, ephemeral, [4; 16])).is_none());
        for change in [
            |s: &mut Stanza| s.args.truncate(1),
            |s: &mut Stanza| s.args.clear(),
            |s: &mut Stanza| s.args[1].push('A'),
            |s: &mut Stanza| s.args[1] = "=".to_owned(),
            |s: &mut Stanza| s.body.truncate(31),
            |s: &mut Stanza| s.tag = "ssh-rsa".to_owned(),
        ] {
            let mut bad = stanza(&key, ephemeral, [4; 16]);
            change(&mut bad);
            assert_eq!(
                keys_of(ready.unwrap_stanza(&bad)),
                keys_of(ready.age.unwrap_stanza(&bad)),
                "{:?}",
                bad.args
            );
        }
    }
}
