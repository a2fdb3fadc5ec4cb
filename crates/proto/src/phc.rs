//! Argon2id cost and salts, and the PHC strings that carry them (profile §3, §4, §5).

/// An Argon2id parameter set (version 0x13, 32 bytes out).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cost {
    /// Memory in KiB.
    pub m_kib: u32,
    /// Passes.
    pub t: u32,
    /// Lanes.
    pub p: u32,
}

impl Cost {
    /// m = 65536 KiB, t = 3, p = 1 (profile §3).
    pub const DEFAULT: Self = Self { m_kib: 65_536, t: 3, p: 1 };

    /// Whether client and server policy allow it: m 19456..=1048576, t 2..=16, p 1..=8.
    pub fn is_acceptable(self) -> bool {
        (19_456..=1_048_576).contains(&self.m_kib) && (2..=16).contains(&self.t) && (1..=8).contains(&self.p)
    }
}

/// A salt: 16 random bytes here; 16 to 64 are taken from others.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Salt(Vec<u8>);

impl Salt {
    /// Takes 16 to 64 bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, PhcError> {
        let bytes = bytes.into();
        if (16..=64).contains(&bytes.len()) { Ok(Self(bytes)) } else { Err(PhcError::Salt) }
    }
    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// `$argon2id$v=19$m=…,t=…,p=…$<salt, unpadded>`: the challenge of AUTH HASHEDPASS, exactly this form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Cost of the account.
    pub cost: Cost,
    /// Login salt of the account.
    pub salt: Salt,
}

impl Challenge {
    /// The text of the challenge (before SASL's base64).
    pub fn to_phc(&self) -> String {
        todo!()
    }
    /// Parses exactly [`Challenge::to_phc`]'s form; does not judge the cost (see [`Cost::is_acceptable`]).
    pub fn from_phc(text: &str) -> Result<Self, PhcError> {
        let _ = text;
        todo!()
    }
}

/// Raw login hash: Argon2id over `NUL user NUL password` (profile §3). A secret: no `Debug`, cleared on drop.
#[derive(Clone, zeroize::ZeroizeOnDrop)]
pub struct LoginHash([u8; 32]);

impl LoginHash {
    /// Wraps the raw hash.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
    /// The raw hash; keep it out of logs and errors.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
    /// What the server keeps: SHA-256 of the hash.
    pub fn verifier(&self) -> Verifier {
        use sha2::{Digest, Sha256};
        Verifier(Sha256::digest(self.0).into())
    }
}

/// SHA-256 of a login hash: what lies in the server's store (profile §3). It logs nobody in.
#[derive(Clone)]
pub struct Verifier(pub [u8; 32]);

impl Verifier {
    /// Constant-time comparison.
    pub fn matches(&self, hash: &LoginHash) -> bool {
        use subtle::ConstantTimeEq;
        self.0.ct_eq(&hash.verifier().0).into()
    }
}

/// `$argon2id$v=19$m=…,t=…,p=…$<salt>$<login hash>`: what XENROL and XPASSWD carry (profile §5). Holds a secret.
#[derive(Clone)]
pub struct LoginPhc {
    /// Cost and login salt.
    pub challenge: Challenge,
    /// The login hash.
    pub hash: LoginHash,
}

impl LoginPhc {
    /// The PHC text, cleared on drop.
    pub fn to_phc(&self) -> zeroize::Zeroizing<String> {
        todo!()
    }
    /// Parses it; cost and salt policy is the caller's ([`Cost::is_acceptable`]).
    pub fn from_phc(text: &str) -> Result<Self, PhcError> {
        let _ = text;
        todo!()
    }
}

/// Why a PHC string was refused. Never holds the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PhcError {
    /// Not of the exact form.
    #[error("the password parameters are not of the form $argon2id$v=19$m=…,t=…,p=…$salt")]
    Syntax,
    /// Salt under 16 or over 64 bytes.
    #[error("a salt must be 16 to 64 bytes long")]
    Salt,
}
