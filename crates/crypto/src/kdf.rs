//! From a password to the two secrets (profile §3).

use crate::key::SecretKey;
use sealpost_proto::{
    address::Address,
    phc::{Cost, LoginHash, Salt},
};

/// A password in NFC and UTF-8, at most 1,024 bytes, without U+0000. No `Debug`; cleared on drop.
#[derive(Clone, zeroize::ZeroizeOnDrop)]
pub struct Password(String);

impl Password {
    /// Normalises to NFC and checks length and U+0000; nothing is trimmed or mapped.
    pub fn new(text: &str) -> Result<Self, PasswordError> {
        let _ = text;
        todo!()
    }
    /// The normalised text.
    pub fn expose(&self) -> &str {
        &self.0
    }
    /// What enrolment and a password change ask beyond [`Password::new`]: not empty, no control characters,
    /// 10^15 guesses or more by zxcvbn given `user_inputs` (address, name).
    pub fn check_strength(&self, user_inputs: &[&str]) -> Result<(), PasswordError> {
        let _ = user_inputs;
        todo!()
    }
}

/// The login hash; blocking, takes `cost.m_kib` of memory. Does not judge the cost: callers ask
/// [`Cost::is_acceptable`] first.
pub fn login_hash(user: &Address, password: &Password, salt: &Salt, cost: Cost) -> LoginHash {
    let _ = (user, password, salt, cost);
    todo!()
}

/// The key pair of `user`; blocking as [`login_hash`].
pub fn derive_key(user: &Address, password: &Password, key_salt: &Salt, cost: Cost) -> SecretKey {
    let _ = (user, password, key_salt, cost);
    todo!()
}

/// Why a password was refused; says what to do, never holds the password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// Over 1,024 bytes of UTF-8.
    #[error("a password may be at most 1,024 bytes long")]
    TooLong,
    /// Holds U+0000.
    #[error("a password cannot hold the character U+0000")]
    Nul,
    /// Empty.
    #[error("the password is empty")]
    Empty,
    /// Holds a control character.
    #[error("the password holds a control character; remove it")]
    Control,
    /// Too easy to guess, with zxcvbn's reason.
    #[error("the password is too easy to guess: {0}")]
    Weak(String),
}
