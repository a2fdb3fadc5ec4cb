//! R10, R20, R21, R29: forms of keys, what is refused, strict signatures.

use super::*;
use ed25519_dalek::{Signer, SigningKey};
use proptest::prelude::*;
use rsa::traits::PublicKeyParts;

/// First key of vectors/keys.json.
const ALICE: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIB+piVHuIXGRWRk62uU8aoMOLI45P2B8y3h9fABOyLVc";
const ALICE_WIRE: &str =
    "QUFBQUMzTnphQzFsWkRJMU5URTVBQUFBSUIrcGlWSHVJWEdSV1JrNjJ1VThhb01PTEk0NVAyQjh5M2g5ZkFCT3lMVmM=";

fn signer() -> (SigningKey, PublicKey) {
    let secret = SigningKey::from_bytes(&[7; 32]);
    let public = PublicKey::from_ed25519(secret.verifying_key().as_bytes()).expect("a good key");
    (secret, public)
}

fn rsa_blob(exponent: &[u8], modulus: &[u8]) -> Vec<u8> {
    let mut blob = Vec::new();
    put_string(&mut blob, b"ssh-rsa");
    put_string(&mut blob, exponent);
    put_string(&mut blob, modulus);
    blob
}

/// A modulus of `bits` bits, odd; parsing does not factor it.
fn modulus(bits: usize) -> Vec<u8> {
    let mut n = vec![0xff; bits.div_ceil(8)];
    n[0] = if bits.is_multiple_of(8) { 0xff } else { 0xff >> (8 - bits % 8) };
    if n[0] & 0x80 != 0 {
        n.insert(0, 0);
    }
    n
}

#[test]
fn r10_r20_forms_of_one_key() {
    let key = PublicKey::from_key_string(ALICE).expect("a good key");
    assert_eq!(key.algorithm(), Algorithm::Ed25519);
    assert_eq!(key.blob().len(), 51);
    assert_eq!(key.key_string(), ALICE);
    assert_eq!(key.wire(), ALICE_WIRE);
    assert_eq!(key.openssh(), format!("ssh-ed25519 {ALICE}"));
    assert_eq!(PublicKey::from_wire(ALICE_WIRE), Ok(key.clone()));
    assert_eq!(PublicKey::from_reply(&format!("ed25519 {ALICE_WIRE}")), Ok(key.clone()));
    assert_eq!(PublicKey::from_openssh(&key.openssh()), Ok(key.clone()));
    assert_eq!(PublicKey::from_ed25519(&key.ed25519().expect("is one")), Ok(key));
}

#[test]
fn r29_tokens_name_the_algorithm_and_must_agree_with_the_blob() {
    for a in [Algorithm::Ed25519, Algorithm::Rsa] {
        assert_eq!(Algorithm::from_token(a.token()), Some(a));
    }
    assert_eq!(Algorithm::from_token("ED25519"), None);
    let rsa = PublicKey::from_blob(&rsa_blob(RSA_EXPONENT, &modulus(3072))).expect("in bounds");
    assert_eq!(rsa.algorithm(), Algorithm::Rsa);
    assert_eq!(rsa.ed25519(), None);
    assert!(rsa.openssh().starts_with("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABg"));
    for (text, error) in [
        (format!("rsa {ALICE_WIRE}"), KeyError::Mismatch),
        (format!("ed25519 {}", rsa.wire()), KeyError::Mismatch),
        (format!("ed448 {ALICE_WIRE}"), KeyError::Algorithm),
        (format!("ED25519 {ALICE_WIRE}"), KeyError::Algorithm),
        (format!(" ed25519 {ALICE_WIRE}"), KeyError::Algorithm),
        (format!("ed25519  {ALICE_WIRE}"), KeyError::Base64),
        (format!("ed25519 {ALICE_WIRE} "), KeyError::Base64),
        (format!("ed25519 {ALICE}"), KeyError::Base64),
        (format!("ed25519 {}", &ALICE_WIRE[..ALICE_WIRE.len() - 1]), KeyError::Base64),
        ("ed25519 ".to_owned(), KeyError::Blob),
        ("ed25519".to_owned(), KeyError::Blob),
        (String::new(), KeyError::Blob),
    ] {
        assert_eq!(PublicKey::from_reply(&text), Err(error), "{text}");
    }
    for (text, error) in [
        (format!("ssh-rsa {ALICE}"), KeyError::Mismatch),
        (format!("ssh-ed25519  {ALICE}"), KeyError::Base64),
        (format!("ssh-ed25519 {ALICE} comment"), KeyError::Base64),
        (format!("ecdsa-sha2-nistp256 {ALICE}"), KeyError::Algorithm),
        (ALICE.to_owned(), KeyError::Blob),
    ] {
        assert_eq!(PublicKey::from_openssh(&text), Err(error), "{text}");
    }
}

#[test]
fn weak_and_malformed_points_are_refused() {
    // The eight points of small order in all their encodings (the last six are not canonical), then a point off
    // the curve and non-canonical encodings (y + p) of points that are not of small order.
    let hex = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "0200000000000000000000000000000000000000000000000000000000000000",
        "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ];
    for h in hex {
        let mut point = [0; 32];
        for (i, b) in point.iter_mut().enumerate() {
            *b = u8::from_str_radix(&h[2 * i..2 * i + 2], 16).expect("hex");
        }
        assert_eq!(PublicKey::from_ed25519(&point), Err(KeyError::WeakPoint), "{h}");
    }
}

#[test]
fn blobs_are_taken_whole_or_not_at_all() {
    let good = base64::decode(ALICE).expect("base64");
    assert!(PublicKey::from_blob(&good).is_ok());
    for cut in 0..good.len() {
        assert_eq!(PublicKey::from_blob(&good[..cut]), Err(KeyError::Blob), "cut at {cut}");
    }
    let mut longer = good.clone();
    longer.push(0);
    assert_eq!(PublicKey::from_blob(&longer), Err(KeyError::Blob));
    let mut wrong_name = good.clone();
    wrong_name[14] = b'8';
    assert_eq!(PublicKey::from_blob(&wrong_name), Err(KeyError::Algorithm));
    let mut huge_length = good;
    huge_length[..4].copy_from_slice(&[0xff; 4]);
    assert_eq!(PublicKey::from_blob(&huge_length), Err(KeyError::Blob));
    assert_eq!(PublicKey::from_blob(&vec![0; 100_000]), Err(KeyError::Blob));
}

#[test]
fn r29_rsa_bounds() {
    for (bits, ok) in [(2048, false), (3071, false), (3072, true), (3500, true), (4096, true), (4097, false)]
    {
        let key = PublicKey::from_blob(&rsa_blob(RSA_EXPONENT, &modulus(bits)));
        assert_eq!(key.as_ref().err(), (!ok).then_some(&KeyError::RsaBounds), "{bits}");
    }
    let n = modulus(3072);
    for exponent in [&[3][..], &[17], &[1, 0, 0, 1], &[2]] {
        assert_eq!(PublicKey::from_blob(&rsa_blob(exponent, &n)), Err(KeyError::RsaBounds), "{exponent:?}");
    }
    let mut even = n.clone();
    *even.last_mut().expect("not empty") = 0xfe;
    let padded = [&[0][..], &n].concat();
    for (exponent, modulus) in [
        (&[0, 1, 0, 1][..], &n[..]),
        (&[], &n),
        (&[0], &n),
        (&[0x80], &n),
        (RSA_EXPONENT, &padded),
        (RSA_EXPONENT, &n[1..]),
        (RSA_EXPONENT, &[]),
        (RSA_EXPONENT, &even),
    ] {
        assert_eq!(PublicKey::from_blob(&rsa_blob(exponent, modulus)), Err(KeyError::Blob));
    }
    let mut trailing = rsa_blob(RSA_EXPONENT, &n);
    trailing.push(0);
    assert_eq!(PublicKey::from_blob(&trailing), Err(KeyError::Blob));
}

#[test]
fn r21_strict_verification() {
    // L, little-endian (RFC 8032 §5.1).
    const L: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let (secret, key) = signer();
    let good = secret.sign(b"hello").to_bytes();
    assert_eq!(key.verify(b"hello", &good), Ok(()));
    assert_eq!(key.verify(b"hellO", &good), Err(BadSignature));
    assert_eq!(key.verify(b"hello", &good[..63]), Err(BadSignature));
    assert_eq!(key.verify(b"hello", &[&good[..], &[0]].concat()), Err(BadSignature));
    for bit in 0..512 {
        let mut bad = good;
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(key.verify(b"hello", &bad), Err(BadSignature), "bit {bit}");
    }
    // S + L verifies in a lax verifier.
    let mut malleable = good;
    let mut carry = 0;
    for (s, l) in malleable[32..].iter_mut().zip(L) {
        let sum = u16::from(*s) + u16::from(l) + carry;
        *s = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    assert_eq!(key.verify(b"hello", &malleable), Err(BadSignature));
    // A signature whose R is the identity: S·B = k·A has a solution for whoever knows the key, and one signature
    // of that kind would fit more than one reading.
    let expanded = ed25519_dalek::hazmat::ExpandedSecretKey::from(&[7; 32]);
    let mut identity = [0; 64];
    identity[0] = 1;
    let k = Sha512::new()
        .chain_update(&identity[..32])
        .chain_update(secret.verifying_key())
        .chain_update(b"hello");
    let k = curve25519_dalek::Scalar::from_hash(k);
    identity[32..].copy_from_slice((k * expanded.scalar).as_bytes());
    assert!(
        secret.verifying_key().verify_strict(b"hello", &Ed25519Signature::from_bytes(&identity)).is_err()
    );
    assert!(
        ed25519_dalek::Verifier::verify(
            &secret.verifying_key(),
            b"hello",
            &Ed25519Signature::from_bytes(&identity)
        )
        .is_ok()
    );
    assert_eq!(key.verify(b"hello", &identity), Err(BadSignature));
}

#[test]
fn r29_rsa_signatures() {
    use rsa::signature::{SignatureEncoding, Signer as _};
    // A fixed seed and a real generator: slow to make larger, so the lower bound it is.
    let mut rng = <rand_chacha_like::Rng as Default>::default();
    let secret = rsa::RsaPrivateKey::new(&mut rng, 3072).expect("a key");
    let mut n = secret.n().to_bytes_be();
    n.insert(0, 0);
    let key = PublicKey::from_blob(&rsa_blob(RSA_EXPONENT, &n)).expect("in bounds");
    let good = rsa::pkcs1v15::SigningKey::<Sha512>::new(secret.clone()).sign(b"hello").to_bytes();
    assert_eq!(key.verify(b"hello", &good), Ok(()));
    assert_eq!(key.verify(b"hellO", &good), Err(BadSignature));
    assert_eq!(key.verify(b"hello", &good[1..]), Err(BadSignature));
    assert_eq!(key.verify(b"hello", &[&[0], &good[..]].concat()), Err(BadSignature));
    assert_eq!(key.verify(b"hello", &[]), Err(BadSignature));
    let sha256 = rsa::pkcs1v15::SigningKey::<Sha256>::new(secret).sign(b"hello").to_bytes();
    assert_eq!(key.verify(b"hello", &sha256), Err(BadSignature));
}

/// A deterministic generator for the one RSA key of these tests; not for anything else.
mod rand_chacha_like {
    use sha2::{Digest, Sha256};

    #[derive(Default)]
    pub(super) struct Rng(u64);

    impl rsa::rand_core::RngCore for Rng {
        fn next_u32(&mut self) -> u32 {
            rsa::rand_core::impls::next_u32_via_fill(self)
        }
        fn next_u64(&mut self) -> u64 {
            rsa::rand_core::impls::next_u64_via_fill(self)
        }
        fn fill_bytes(&mut self, dest: &mut [u8]) {
            for chunk in dest.chunks_mut(32) {
                self.0 += 1;
                chunk.copy_from_slice(&Sha256::digest(self.0.to_be_bytes())[..chunk.len()]);
            }
        }
        fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rsa::rand_core::Error> {
            self.fill_bytes(dest);
            Ok(())
        }
    }
    impl rsa::rand_core::CryptoRng for Rng {}
}

proptest! {
    /// Canonical and strong is what comes out as it went in and is not of small order.
    #[test]
    fn points_are_taken_as_their_definition_has_it(random: [u8; 32], low: u8, high in prop_oneof![Just(0x7f_u8), Just(0xff)]) {
        let mut at_the_edge = [0xff; 32];
        (at_the_edge[0], at_the_edge[31]) = (low, high);
        for octets in [random, at_the_edge] {
            let point = curve25519_dalek::edwards::CompressedEdwardsY(octets).decompress();
            let good = point.is_some_and(|p| p.compress().to_bytes() == octets && !p.is_small_order());
            prop_assert_eq!(PublicKey::from_ed25519(&octets).is_ok(), good);
        }
    }

    #[test]
    fn parsers_never_panic(bytes: Vec<u8>, text in "\\PC{0,90}") {
        let _ = PublicKey::from_blob(&bytes);
        let _ = PublicKey::from_wire(&text);
        let _ = PublicKey::from_reply(&text);
        let _ = PublicKey::from_openssh(&text);
    }

    #[test]
    fn keys_round_trip(seed: [u8; 32]) {
        let public = SigningKey::from_bytes(&seed).verifying_key();
        let key = PublicKey::from_ed25519(public.as_bytes()).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(PublicKey::from_blob(key.blob()), Ok(key.clone()));
        prop_assert_eq!(PublicKey::from_wire(&key.wire()), Ok(key.clone()));
        prop_assert_eq!(PublicKey::from_openssh(&key.openssh()), Ok(key));
    }

    #[test]
    fn streamed_and_whole_agree(message: Vec<u8>, cut in 0usize..64, flip in any::<bool>()) {
        let (secret, key) = signer();
        let mut signature = secret.sign(&message).to_bytes();
        signature[3] ^= u8::from(flip);
        let whole = key.verify(&message, &signature);
        let streamed = key.verifier(&signature).and_then(|mut v| {
            let cut = cut.min(message.len());
            v.update(&message[..cut]);
            v.update(&message[cut..]);
            v.finish()
        });
        prop_assert_eq!(whole, streamed);
        prop_assert_eq!(whole.is_ok(), !flip);
    }
}
