//! From a password to the two secrets (profile §3).

use crate::key::SecretKey;
use hkdf::Hkdf;
use sealpost_proto::{
    address::Address,
    phc::{Cost, LoginHash, Salt},
};
use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;
use zeroize::{Zeroize as _, Zeroizing};

/// Octets of a password in NFC and UTF-8 (profile §3).
pub const MAX_PASSWORD_OCTETS: usize = 1_024;
/// What one's own password must withstand (profile §3): at one guess a second on a thousand machines, 30,000 years.
const MIN_GUESSES: u64 = 1_000_000_000_000_000;
/// Shorter parts of an address are in every password; as a word to look for they would make all look weak.
const MIN_INPUT_CHARS: usize = 3;
/// Domain separation of the bound salt and of the seed (profile §3).
const BOUND_SALT_LABEL: &[u8] = b"sealpost key salt v1";
const SEED_INFO: &[u8] = b"sealpost ed25519 v1";

/// A password in NFC and UTF-8, at most 1,024 bytes, without U+0000. No `Debug`; cleared on drop.
#[derive(Clone, zeroize::ZeroizeOnDrop)]
pub struct Password(String);

impl Password {
    /// Normalises to NFC and checks length and U+0000; nothing is trimmed or mapped.
    pub fn new(text: &str) -> Result<Self, PasswordError> {
        // Sized beforehand, one character over the limit: a buffer that grows leaves uncleared copies behind.
        let mut password = Self(String::with_capacity(MAX_PASSWORD_OCTETS + 4));
        for c in text.nfc() {
            if c == '\0' {
                return Err(PasswordError::Nul);
            }
            password.0.push(c);
            if password.0.len() > MAX_PASSWORD_OCTETS {
                return Err(PasswordError::TooLong);
            }
        }
        Ok(password)
    }

    /// The normalised text.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What enrolment and a password change ask beyond [`Password::new`]: not empty, no control characters,
    /// 10^15 guesses or more by zxcvbn given `user_inputs` (address, name).
    pub fn check_strength(&self, user_inputs: &[&str]) -> Result<(), PasswordError> {
        if self.0.is_empty() {
            return Err(PasswordError::Empty);
        }
        if self.0.chars().any(char::is_control) {
            return Err(PasswordError::Control);
        }
        // zxcvbn looks for each input as a whole; an address is guessed by its parts too.
        let parts = user_inputs.iter().flat_map(|input| input.split(|c: char| !c.is_alphanumeric()));
        let inputs: Vec<&str> = user_inputs
            .iter()
            .copied()
            .chain(parts)
            .filter(|i| i.chars().count() >= MIN_INPUT_CHARS)
            .collect();
        let estimate = zxcvbn::zxcvbn(&self.0, &inputs);
        if estimate.guesses() >= MIN_GUESSES {
            return Ok(());
        }
        // zxcvbn explains only what it finds quite weak; between that and our bound more words are the cure.
        let advice = estimate.feedback().map(ToString::to_string).filter(|text| !text.trim().is_empty());
        Err(PasswordError::Weak(
            advice.unwrap_or_else(|| "Add another word or two. Uncommon words are better.".into()),
        ))
    }
}

/// The login hash; blocking, takes `cost.m_kib` of memory. Does not judge the cost: callers ask
/// [`Cost::is_acceptable`] first.
///
/// `Argon2id(P = 0x00 ‖ user name ‖ 0x00 ‖ password, S = login salt)`
pub fn login_hash(
    user: &Address,
    password: &Password,
    salt: &Salt,
    cost: Cost,
) -> Result<LoginHash, CostError> {
    let hash = login_hash_of(user.as_str(), password, salt.as_bytes(), cost);
    clear_stack();
    hash
}

/// The key pair of `user`; blocking as [`login_hash`].
///
/// ```text
/// bound salt = SHA-256("sealpost key salt v1" ‖ 0x00 ‖ user name ‖ 0x00 ‖ key salt)
/// key seed   = HKDF-SHA-256(ikm = Argon2id(P = password, S = bound salt), no salt, info = "sealpost ed25519 v1")
/// ```
pub fn derive_key(
    user: &Address,
    password: &Password,
    key_salt: &Salt,
    cost: Cost,
) -> Result<SecretKey, CostError> {
    let bound = bound_salt(user.as_str(), key_salt.as_bytes());
    let seed = seed(password, &bound, cost);
    clear_stack();
    Ok(SecretKey::from_seed(*seed?))
}

/// What hash functions may use of the stack, with much to spare.
const STACK_OCTETS: usize = 256 * 1024;

/// Writes over what was on the stack below the caller. Argon2id, BLAKE2b and HMAC keep the first block of what they hash
/// (the password, here) in buffers that they do not clear.
#[inline(never)]
#[allow(clippy::large_stack_arrays, reason = "that is what it is for")]
fn clear_stack() {
    // Written, one by one and volatile: a borrowed constant would be promoted to a static, and the stack left as it is.
    let mut octets = [0_u8; STACK_OCTETS];
    octets.zeroize();
}

/// Why a derivation could not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the password parameters m={}, t={}, p={} are impossible", .0.m_kib, .0.t, .0.p)]
pub struct CostError(pub Cost);

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

/// [`login_hash`] over a user name taken octet for octet.
#[inline(never)]
pub(crate) fn login_hash_of(
    user: &str,
    password: &Password,
    salt: &[u8],
    cost: Cost,
) -> Result<LoginHash, CostError> {
    let mut input = Zeroizing::new(Vec::with_capacity(user.len() + password.0.len() + 2));
    for part in [b"\0", user.as_bytes(), b"\0", password.0.as_bytes()] {
        input.extend_from_slice(part);
    }
    argon2id(&input, salt, cost).map(|hash| LoginHash::from_bytes(*hash))
}

pub(crate) fn bound_salt(user: &str, key_salt: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [BOUND_SALT_LABEL, b"\0", user.as_bytes(), b"\0", key_salt] {
        hash.update(part);
    }
    hash.finalize().into()
}

#[inline(never)]
pub(crate) fn seed(
    password: &Password,
    bound_salt: &[u8; 32],
    cost: Cost,
) -> Result<Zeroizing<[u8; 32]>, CostError> {
    let ikm = argon2id(password.0.as_bytes(), bound_salt, cost)?;
    let mut seed = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, &*ikm)
        .expand(SEED_INFO, &mut *seed)
        .expect("32 octets are far below HKDF's limit");
    Ok(seed)
}

/// Argon2id version 0x13, 32 bytes out.
fn argon2id(password: &[u8], salt: &[u8], cost: Cost) -> Result<Zeroizing<[u8; 32]>, CostError> {
    use argon2::{Algorithm, Argon2, Params, Version};
    // `Params::new` multiplies p before it looks at it (argon2 0.5.3), so RFC 9106's m >= 8p is asked first.
    if u64::from(cost.m_kib) < 8 * u64::from(cost.p) {
        return Err(CostError(cost));
    }
    let params = Params::new(cost.m_kib, cost.t, cost.p, Some(32)).map_err(|_| CostError(cost))?;
    let mut out = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password, salt, &mut *out)
        .map_err(|_| CostError(cost))?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CHEAP: Cost = Cost { m_kib: 8, t: 1, p: 1 };

    fn password(text: &str) -> Password {
        Password::new(text).unwrap_or_else(|e| panic!("{e}"))
    }

    fn salt(n: u8) -> Salt {
        Salt::new([n; 16]).expect("16 bytes")
    }

    fn user(text: &str) -> Address {
        Address::parse(text).expect(text)
    }

    #[test]
    fn passwords_are_normalised_and_nothing_else() {
        assert_eq!(password("pa\u{308}ss").expose(), "p\u{e4}ss");
        assert_eq!(password("  two  spaces\t ").expose(), "  two  spaces\t ");
        assert_eq!(password("\u{fb01}le").expose(), "\u{fb01}le", "never NFKC");
        assert_eq!(password("").expose(), "");
        assert!(Password::new(&"a".repeat(1_024)).is_ok());
        assert_eq!(Password::new(&"a".repeat(1_025)).err(), Some(PasswordError::TooLong));
        assert_eq!(Password::new(&"\u{e4}".repeat(513)).err(), Some(PasswordError::TooLong));
        // 1,026 bytes as typed, 684 once composed.
        assert!(Password::new(&"a\u{308}".repeat(342)).is_ok());
        assert_eq!(Password::new("a\0b").err(), Some(PasswordError::Nul));
    }

    #[test]
    fn strength() {
        let weak = |text: &str, inputs: &[&str]| password(text).check_strength(inputs).err();
        assert_eq!(weak("", &[]), Some(PasswordError::Empty));
        assert_eq!(weak("tr\u{7}oublesome gargoyle lantern", &[]), Some(PasswordError::Control));
        for text in ["password", "Tr0ub4dor&3", "aaaaaaaaaaaaaaaaaaaaaaaa", "qwertyuiop1234567890"] {
            assert!(matches!(weak(text, &[]), Some(PasswordError::Weak(_))), "{text}");
        }
        assert_eq!(weak("gusto scrimmage tubular obvious", &[]), None);
        let Some(PasswordError::Weak(reason)) = weak("password", &[]) else { panic!("weak") };
        assert!(reason.contains("top-10"), "{reason}");
        // What would do for others does not for the one whose name it is.
        let own = "wolfeschlegelsteinhausen example";
        assert_eq!(weak(own, &[]), None);
        assert!(matches!(weak(own, &["wolfeschlegelsteinhausen@example.net"]), Some(PasswordError::Weak(_))));
        assert_eq!(weak("gusto scrimmage tubular obvious", &["a@b.s", "O T"]), None);
    }

    #[test]
    fn r22_key_depends_on_password_user_salt_and_cost() {
        let seed = |u: &str, p: &str, s: u8, cost| {
            *derive_key(&user(u), &password(p), &salt(s), cost).expect("possible").seed()
        };
        let base = seed("a@x.example", "secret", 1, CHEAP);
        assert_eq!(base, seed("A@X.example", "secret", 1, CHEAP));
        assert_ne!(base, seed("b@x.example", "secret", 1, CHEAP));
        assert_ne!(base, seed("a@x.example", "Secret", 1, CHEAP));
        assert_ne!(base, seed("a@x.example", "secret", 2, CHEAP));
        assert_ne!(base, seed("a@x.example", "secret", 1, Cost { m_kib: 16, ..CHEAP }));
    }

    #[test]
    fn r17_login_hash_says_nothing_about_the_key() {
        // The same salt on both sides is the worst case; user and password still lead to unrelated values.
        let (u, p) = (user("a@x.example"), password("secret"));
        let hash = login_hash(&u, &p, &salt(1), CHEAP).expect("possible");
        let key = derive_key(&u, &p, &salt(1), CHEAP).expect("possible");
        assert_ne!(hash.expose(), &*key.seed());
    }

    #[test]
    fn r06_impossible_costs_are_refused() {
        for cost in [
            Cost { m_kib: 7, t: 1, p: 1 },
            Cost { m_kib: 8, t: 0, p: 1 },
            Cost { m_kib: 8, t: 1, p: 0 },
            Cost { m_kib: 8, t: 1, p: 2 },
            Cost { m_kib: 8, t: 1, p: u32::MAX },
        ] {
            let error = login_hash(&user("a@x"), &password("p"), &salt(1), cost).err();
            assert_eq!(error, Some(CostError(cost)));
        }
    }

    proptest! {
        #[test]
        fn passwords_are_a_fixed_point(text in "\\PC{0,200}") {
            if let Ok(once) = Password::new(&text) {
                let twice = Password::new(once.expose()).map_err(|e| TestCaseError::fail(e.to_string()))?;
                prop_assert_eq!(once.expose(), twice.expose());
            }
        }
    }
}
