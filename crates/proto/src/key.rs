//! Public keys as they travel: OpenSSH blobs, their wire and header forms, fingerprints, strict verification
//! (profile §5, §6). No private key is in reach of this crate.

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
}

/// A checked public key: on the curve, canonical, not of small order; RSA 3072 to 4096 bits with e = 65537.
/// Equality and order are those of the OpenSSH blob.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey {
    blob: Vec<u8>,
}

impl PublicKey {
    /// Checks and takes an OpenSSH key blob (51 bytes for Ed25519), nothing before or behind it.
    pub fn from_blob(blob: &[u8]) -> Result<Self, KeyError> {
        let _ = blob;
        todo!()
    }
    /// From the 32 bytes of RFC 8032 §5.1.5.
    pub fn from_ed25519(point: &[u8; 32]) -> Result<Self, KeyError> {
        let _ = point;
        todo!()
    }
    /// From the key string `AAAAC3NzaC1lZDI1NTE5…`.
    pub fn from_key_string(text: &str) -> Result<Self, KeyError> {
        let _ = text;
        todo!()
    }
    /// From the twice-encoded form of `PUBKEY` and `SETPUBKEY` (`QUFBQUMz…`).
    pub fn from_wire(text: &str) -> Result<Self, KeyError> {
        let _ = text;
        todo!()
    }
    /// From `ed25519 QUFBQUMz…` (the words after `220 `); a token that disagrees with the blob is an error.
    pub fn from_reply(text: &str) -> Result<Self, KeyError> {
        let _ = text;
        todo!()
    }
    /// From `ssh-ed25519 AAAA…` without comment, exactly one space.
    pub fn from_openssh(text: &str) -> Result<Self, KeyError> {
        let _ = text;
        todo!()
    }
    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        todo!()
    }
    /// The blob.
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }
    /// `AAAAC3NzaC1lZDI1NTE5…`
    pub fn key_string(&self) -> String {
        crate::base64::encode(&self.blob)
    }
    /// The twice-encoded form.
    pub fn wire(&self) -> String {
        crate::base64::encode(self.key_string())
    }
    /// `ssh-ed25519 AAAA…`
    pub fn openssh(&self) -> String {
        todo!()
    }
    /// OpenSSH's `SHA256:…`.
    pub fn fingerprint(&self) -> String {
        todo!()
    }
    /// The raw point for Ed25519.
    pub fn ed25519(&self) -> Option<[u8; 32]> {
        todo!()
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
        let _ = signature;
        todo!()
    }
}

/// A strict verification in progress.
pub struct StreamVerifier {
    _private: (),
}

impl StreamVerifier {
    /// The next bytes of the message.
    pub fn update(&mut self, bytes: &[u8]) {
        let _ = bytes;
        todo!()
    }
    /// The verdict.
    pub fn finish(self) -> Result<(), BadSignature> {
        todo!()
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
