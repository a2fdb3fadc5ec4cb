//! Public keys as they travel: OpenSSH blobs, their wire and header forms, fingerprints, strict verification
//! (profile §5, §6). No private key is in reach of this crate.

use crate::base64;
use curve25519_dalek::constants::EIGHT_TORSION;
use ed25519_dalek::{Signature as Ed25519Signature, VerifyingKey};
use rsa::{BigUint, RsaPublicKey, pkcs1v15};
use sha2::{Digest, Sha256, Sha512};
use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    sync::{Arc, LazyLock},
};

/// Key type names inside the blob (RFC 8709 §4, RFC 4253 §6.6).
const SSH_ED25519: &str = "ssh-ed25519";
const SSH_RSA: &str = "ssh-rsa";
/// `string "ssh-ed25519" ‖ string point`: 4 + 11 + 4 + 32 octets, always.
const ED25519_BLOB_OCTETS: usize = 51;
/// An RSA blob of 4096 bits has 535 octets; nothing longer is parsed.
const MAX_BLOB_OCTETS: usize = 600;
/// Bounds of an RSA modulus (profile §5).
const RSA_BITS: std::ops::RangeInclusive<usize> = 3072..=4096;
/// 65537, as the octets of its mpint.
const RSA_EXPONENT: &[u8] = &[1, 0, 1];

/// The algorithm token of `PUBKEY` and the X-Sender fields (R29).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// `ed25519`
    Ed25519,
    /// `rsa`
    Rsa,
}

impl Algorithm {
    /// `ed25519` or `rsa`.
    pub fn token(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::Rsa => "rsa",
        }
    }

    /// Inverse of [`Algorithm::token`].
    pub fn from_token(token: &str) -> Option<Self> {
        [Self::Ed25519, Self::Rsa].into_iter().find(|a| a.token() == token)
    }

    /// The name OpenSSH gives the key type: `ssh-ed25519` or `ssh-rsa`.
    pub fn ssh_name(self) -> &'static str {
        match self {
            Self::Ed25519 => SSH_ED25519,
            Self::Rsa => SSH_RSA,
        }
    }
}

/// A checked public key: on the curve, canonical, not of small order; RSA 3072 to 4096 bits with e = 65537.
/// Equality and order are those of the OpenSSH blob. Cheap to clone.
#[derive(Clone)]
pub struct PublicKey(Arc<Checked>);

struct Checked {
    blob: Vec<u8>,
    material: Material,
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.blob() == other.blob()
    }
}

impl Eq for PublicKey {}

impl PartialOrd for PublicKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PublicKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.blob().cmp(other.blob())
    }
}

impl Hash for PublicKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.blob().hash(state);
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PublicKey").field(&self.fingerprint()).finish()
    }
}

impl PublicKey {
    /// Checks and takes an OpenSSH key blob (51 bytes for Ed25519), nothing before or behind it.
    pub fn from_blob(blob: &[u8]) -> Result<Self, KeyError> {
        let material = parse(blob)?;
        Ok(Self(Arc::new(Checked { blob: blob.to_vec(), material })))
    }

    /// From the 32 bytes of RFC 8032 §5.1.5.
    pub fn from_ed25519(point: &[u8; 32]) -> Result<Self, KeyError> {
        let mut blob = Vec::with_capacity(ED25519_BLOB_OCTETS);
        put_string(&mut blob, SSH_ED25519.as_bytes());
        put_string(&mut blob, point);
        Self::from_blob(&blob)
    }

    /// From the key string `AAAAC3NzaC1lZDI1NTE5…`.
    pub fn from_key_string(text: &str) -> Result<Self, KeyError> {
        Self::from_blob(&base64::decode(text).map_err(|_| KeyError::Base64)?)
    }

    /// From the twice-encoded form of `PUBKEY` and `SETPUBKEY` (`QUFBQUMz…`).
    pub fn from_wire(text: &str) -> Result<Self, KeyError> {
        let inner = base64::decode(text).map_err(|_| KeyError::Base64)?;
        Self::from_key_string(std::str::from_utf8(&inner).map_err(|_| KeyError::Base64)?)
    }

    /// From `ed25519 QUFBQUMz…` (the words after `220 `); a token that disagrees with the blob is an error.
    pub fn from_reply(text: &str) -> Result<Self, KeyError> {
        let (token, wire) = text.split_once(' ').ok_or(KeyError::Blob)?;
        let algorithm = Algorithm::from_token(token).ok_or(KeyError::Algorithm)?;
        let key = Self::from_wire(wire)?;
        if key.algorithm() == algorithm { Ok(key) } else { Err(KeyError::Mismatch) }
    }

    /// From `ssh-ed25519 AAAA…` without comment, exactly one space.
    pub fn from_openssh(text: &str) -> Result<Self, KeyError> {
        let (name, string) = text.split_once(' ').ok_or(KeyError::Blob)?;
        if ![SSH_ED25519, SSH_RSA].contains(&name) {
            return Err(KeyError::Algorithm);
        }
        let key = Self::from_key_string(string)?;
        if key.algorithm().ssh_name() == name { Ok(key) } else { Err(KeyError::Mismatch) }
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        match &self.0.material {
            Material::Ed25519(_) => Algorithm::Ed25519,
            Material::Rsa(_) => Algorithm::Rsa,
        }
    }

    /// The blob.
    pub fn blob(&self) -> &[u8] {
        &self.0.blob
    }

    /// `AAAAC3NzaC1lZDI1NTE5…`
    pub fn key_string(&self) -> String {
        base64::encode(self.blob())
    }

    /// The twice-encoded form.
    pub fn wire(&self) -> String {
        base64::encode(self.key_string())
    }

    /// `ssh-ed25519 AAAA…`
    pub fn openssh(&self) -> String {
        format!("{} {}", self.algorithm().ssh_name(), self.key_string())
    }

    /// OpenSSH's `SHA256:…`.
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", base64::encode_unpadded(Sha256::digest(self.blob())))
    }

    /// The raw point for Ed25519.
    pub fn ed25519(&self) -> Option<[u8; 32]> {
        match &self.0.material {
            Material::Ed25519(key) => Some(key.to_bytes()),
            Material::Rsa(_) => None,
        }
    }

    /// Strict verification of raw signature bytes over `message` (RFC 8032: S < L, canonical A and R, no small
    /// order; RSA: RSASSA-PKCS1-v1_5 with SHA-512).
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        let mut v = self.verifier(signature)?;
        v.update(message);
        v.finish()
    }

    /// The same over a message that comes in pieces, in bounded memory.
    pub fn verifier(&self, signature: &[u8]) -> Result<StreamVerifier, BadSignature> {
        match &self.0.material {
            Material::Ed25519(key) => {
                let signature = Ed25519Signature::from_slice(signature).map_err(|_| BadSignature)?;
                // The equation is checked by recomputing R and comparing encodings, so that what is no point, or has another
                // encoding, never fits; small order is asked here. `verify_stream` refuses S >= L.
                if SMALL_ORDER.contains(signature.r_bytes()) {
                    return Err(BadSignature);
                }
                let inner = key.verify_stream(&signature).map_err(|_| BadSignature)?;
                Ok(StreamVerifier(Inner::Ed25519(Box::new(inner))))
            }
            Material::Rsa(key) => {
                let signature = pkcs1v15::Signature::try_from(signature).map_err(|_| BadSignature)?;
                let key = pkcs1v15::VerifyingKey::new(RsaPublicKey::clone(key));
                Ok(StreamVerifier(Inner::Rsa(Box::new((key, signature, Sha512::new())))))
            }
        }
    }
}

/// A strict verification in progress.
pub struct StreamVerifier(Inner);

enum Inner {
    Ed25519(Box<ed25519_dalek::StreamVerifier>),
    Rsa(Box<(pkcs1v15::VerifyingKey<Sha512>, pkcs1v15::Signature, Sha512)>),
}

impl StreamVerifier {
    /// The next bytes of the message.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Inner::Ed25519(inner) => inner.update(bytes),
            Inner::Rsa(inner) => inner.2.update(bytes),
        }
    }

    /// The verdict.
    pub fn finish(self) -> Result<(), BadSignature> {
        match self.0 {
            Inner::Ed25519(inner) => inner.finalize_and_verify().map_err(|_| BadSignature),
            Inner::Rsa(inner) => {
                use rsa::signature::DigestVerifier;
                let (key, signature, digest) = *inner;
                key.verify_digest(digest, &signature).map_err(|_| BadSignature)
            }
        }
    }
}

/// The signature does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not fit the key")]
pub struct BadSignature;

/// Why a key was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Base64 that is not canonical.
    #[error("the key is not standard base64")]
    Base64,
    /// Not a well-formed OpenSSH blob, or something before or behind it.
    #[error("this is not an OpenSSH public key")]
    Blob,
    /// The algorithm is none of ours.
    #[error("only ed25519 and rsa keys are taken")]
    Algorithm,
    /// Token and blob name different algorithms.
    #[error("the named algorithm is not that of the key")]
    Mismatch,
    /// Point off the curve, not canonical, or of small order.
    #[error("the key is a weak or invalid point of the curve")]
    WeakPoint,
    /// RSA outside 3072..=4096 bits or e ≠ 65537.
    #[error("an RSA key must have 3072 to 4096 bits and the exponent 65537")]
    RsaBounds,
}

/// What a checked blob holds.
enum Material {
    Ed25519(VerifyingKey),
    Rsa(Box<RsaPublicKey>),
}

/// The canonical encodings of the eight points of small order.
static SMALL_ORDER: LazyLock<[[u8; 32]; 8]> =
    LazyLock::new(|| EIGHT_TORSION.map(|point| point.compress().to_bytes()));

fn parse(blob: &[u8]) -> Result<Material, KeyError> {
    if blob.len() > MAX_BLOB_OCTETS {
        return Err(KeyError::Blob);
    }
    let mut rest = blob;
    let name = take_string(&mut rest).ok_or(KeyError::Blob)?;
    if name == SSH_ED25519.as_bytes() {
        let point = take_string(&mut rest).ok_or(KeyError::Blob)?;
        let point: [u8; 32] = point.try_into().map_err(|_| KeyError::Blob)?;
        if !rest.is_empty() {
            return Err(KeyError::Blob);
        }
        ed25519(point).map(Material::Ed25519)
    } else if name == SSH_RSA.as_bytes() {
        let exponent = take_mpint(&mut rest).ok_or(KeyError::Blob)?;
        let modulus = take_mpint(&mut rest).ok_or(KeyError::Blob)?;
        if !rest.is_empty() {
            return Err(KeyError::Blob);
        }
        let modulus = BigUint::from_bytes_be(modulus);
        if exponent != RSA_EXPONENT || !RSA_BITS.contains(&modulus.bits()) {
            return Err(KeyError::RsaBounds);
        }
        // Refuses an even modulus.
        RsaPublicKey::new(modulus, BigUint::from(65_537_u32))
            .map(|key| Material::Rsa(Box::new(key)))
            .map_err(|_| KeyError::Blob)
    } else if name.is_ascii() && !name.is_empty() {
        Err(KeyError::Algorithm)
    } else {
        Err(KeyError::Blob)
    }
}

/// RFC 8032 §5.1.3 with the checks dalek leaves out: the encoding is the canonical one of its point, and the point
/// is not one of the eight of small order (nobody's key; anyone could read what is sealed to it).
fn ed25519(bytes: [u8; 32]) -> Result<VerifyingKey, KeyError> {
    let key = VerifyingKey::from_bytes(&bytes).map_err(|_| KeyError::WeakPoint)?;
    if key.is_weak() || !has_canonical_y(&bytes) {
        return Err(KeyError::WeakPoint);
    }
    Ok(key)
}

/// Whether y is below 2^255 - 19. A sign without an x to have it, the other way not to be canonical, have the points of
/// y = 1 and y = -1 alone, which are of small order.
fn has_canonical_y(bytes: &[u8; 32]) -> bool {
    let [low, middle @ .., high] = bytes;
    high & 0x7f != 0x7f || middle.iter().any(|b| *b != 0xff) || *low < 0xed
}

/// `string` of RFC 4251 §5.
pub(crate) fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).expect("only texts and keys far below 4 GiB are written");
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Inverse of [`put_string`].
pub(crate) fn take_string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, tail) = rest.split_first_chunk::<4>()?;
    let (string, tail) = tail.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)?;
    *rest = tail;
    Some(string)
}

/// A positive `mpint` of RFC 4251 §5 in its only canonical form, without the sign octet.
fn take_mpint<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    match take_string(rest)? {
        [0, magnitude @ ..] if magnitude.first().is_some_and(|b| b & 0x80 != 0) => Some(magnitude),
        [first, ..] if *first == 0 || first & 0x80 != 0 => None,
        [] => None,
        magnitude => Some(magnitude),
    }
}

#[cfg(test)]
mod tests;
