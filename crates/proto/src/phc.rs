//! Argon2id cost and salts, and the PHC strings that carry them (profile §3, §4, §5).

use crate::base64;
use zeroize::Zeroizing;

/// Algorithm and version are part of the form, not a choice.
const PREFIX: &str = "$argon2id$v=19$";

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
        let Cost { m_kib, t, p } = self.cost;
        format!("{PREFIX}m={m_kib},t={t},p={p}${}", base64::encode_unpadded(self.salt.as_bytes()))
    }

    /// Parses exactly [`Challenge::to_phc`]'s form; does not judge the cost (see [`Cost::is_acceptable`]).
    pub fn from_phc(text: &str) -> Result<Self, PhcError> {
        let (cost, salt) =
            text.strip_prefix(PREFIX).and_then(|rest| rest.split_once('$')).ok_or(PhcError::Syntax)?;
        let mut parts = cost.split(',');
        let cost = Cost {
            m_kib: parameter(parts.next(), "m=")?,
            t: parameter(parts.next(), "t=")?,
            p: parameter(parts.next(), "p=")?,
        };
        if parts.next().is_some() {
            return Err(PhcError::Syntax);
        }
        let salt = Salt::new(base64::decode_unpadded(salt).map_err(|_| PhcError::Syntax)?)?;
        Ok(Self { cost, salt })
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
    pub fn to_phc(&self) -> Zeroizing<String> {
        let challenge = self.challenge.to_phc();
        let hash = Zeroizing::new(base64::encode_unpadded(self.hash.expose()));
        // Sized beforehand: a buffer that grows leaves uncleared copies behind.
        let mut text = Zeroizing::new(String::with_capacity(challenge.len() + 1 + hash.len()));
        text.push_str(&challenge);
        text.push('$');
        text.push_str(&hash);
        text
    }

    /// Parses it; cost and salt policy is the caller's ([`Cost::is_acceptable`]).
    pub fn from_phc(text: &str) -> Result<Self, PhcError> {
        let (challenge, hash) = text.rsplit_once('$').ok_or(PhcError::Syntax)?;
        let challenge = Challenge::from_phc(challenge)?;
        let hash = Zeroizing::new(base64::decode_unpadded(hash).map_err(|_| PhcError::Syntax)?);
        let hash = <[u8; 32]>::try_from(hash.as_slice()).map_err(|_| PhcError::Syntax)?;
        Ok(Self { challenge, hash: LoginHash::from_bytes(hash) })
    }
}

/// `m=65536`: decimal without sign or leading zeros.
fn parameter(text: Option<&str>, name: &str) -> Result<u32, PhcError> {
    let digits = text.and_then(|t| t.strip_prefix(name)).ok_or(PhcError::Syntax)?;
    let canonical = !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| canonical).ok_or(PhcError::Syntax)
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SALT: &str = "AAECAwQFBgcICQoLDA0ODw";
    const HASH: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    #[test]
    fn challenge_has_exactly_this_form() {
        let salt = Salt::new((0..16).collect::<Vec<u8>>()).expect("16 bytes");
        let challenge = Challenge { cost: Cost::DEFAULT, salt };
        let text = format!("$argon2id$v=19$m=65536,t=3,p=1${SALT}");
        assert_eq!(challenge.to_phc(), text);
        assert_eq!(Challenge::from_phc(&text), Ok(challenge));
    }

    #[test]
    fn challenge_refusals() {
        let ok = format!("$argon2id$v=19$m=65536,t=3,p=1${SALT}");
        for (from, to) in [
            ("$argon2id", "$argon2i"),
            ("$argon2id", "argon2id"),
            ("v=19", "v=16"),
            ("v=19", "v=0x13"),
            ("v=19$", ""),
            ("m=65536", "m=065536"),
            ("m=65536", "m=+65536"),
            ("m=65536", "m=-1"),
            ("m=65536", "m=0"),
            ("m=65536", "m="),
            ("m=65536", "m=4294967296"),
            ("m=65536", "m= 65536"),
            ("m=65536,t=3", "t=3,m=65536"),
            (",p=1", ""),
            (",p=1", ",p=1,p=1"),
            (",p=1", ",p=1,keyid=AA"),
            (",p=1", ", p=1"),
            ("ODw", "ODw=="),
            ("ODw", "ODx"),
            ("ODw", "OD w"),
            ("ODw", "ODw\n"),
            ("ODw", "ODw$"),
            ("AAEC", "$AAEC"),
        ] {
            assert!(ok.contains(from), "{from}");
            assert_eq!(
                Challenge::from_phc(&ok.replacen(from, to, 1)),
                Err(PhcError::Syntax),
                "{from} -> {to}"
            );
        }
    }

    #[test]
    fn r07_salts_have_128_bits_or_more() {
        for (len, ok) in [(0, false), (15, false), (16, true), (64, true), (65, false)] {
            assert_eq!(Salt::new(vec![7; len]).is_ok(), ok, "{len}");
            let text = format!("$argon2id$v=19$m=8,t=1,p=1${}", base64::encode_unpadded(vec![7; len]));
            assert_eq!(Challenge::from_phc(&text).is_ok(), ok, "{len}");
            if !ok {
                assert_eq!(Challenge::from_phc(&text), Err(PhcError::Salt));
            }
        }
    }

    #[test]
    fn r06_cost_bounds() {
        for (m_kib, t, p, ok) in [
            (65_536, 3, 1, true),
            (19_456, 2, 1, true),
            (1_048_576, 16, 8, true),
            (19_455, 2, 1, false),
            (1_048_577, 2, 1, false),
            (19_456, 1, 1, false),
            (19_456, 17, 1, false),
            (19_456, 2, 0, false),
            (19_456, 2, 9, false),
        ] {
            assert_eq!(Cost { m_kib, t, p }.is_acceptable(), ok, "m={m_kib} t={t} p={p}");
        }
        assert!(Cost::DEFAULT.is_acceptable());
    }

    #[test]
    fn login_phc_round_trip_and_refusals() {
        let text = format!("$argon2id$v=19$m=65536,t=3,p=1${SALT}${HASH}");
        let phc = LoginPhc::from_phc(&text).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(phc.to_phc().as_str(), text);
        assert_eq!(phc.hash.expose(), &[0; 32]);
        let short = format!("$argon2id$v=19$m=65536,t=3,p=1$AAECAwQFBgcICQoLDA0O${HASH}");
        assert_eq!(LoginPhc::from_phc(&short).err(), Some(PhcError::Salt));
        for bad in [
            format!("$argon2id$v=19$m=65536,t=3,p=1${SALT}"),
            format!("{text}="),
            format!("{text}A"),
            format!("{text}$"),
            format!("{text} "),
            text.replace("AAAA$", ""),
            text[..text.len() - 2].to_owned(),
            format!("$argon2id$v=19$m=65536,t=3,p=1${SALT}$"),
            String::new(),
        ] {
            assert_eq!(LoginPhc::from_phc(&bad).err(), bad.ne(&text).then_some(PhcError::Syntax), "{bad}");
        }
    }

    #[test]
    fn r17_verifier_is_a_hash_of_the_hash_and_matches_only_it() {
        let hash = LoginHash::from_bytes([7; 32]);
        assert_ne!(&hash.verifier().0, hash.expose());
        assert!(hash.verifier().matches(&hash));
        assert!(!hash.verifier().matches(&LoginHash::from_bytes([8; 32])));
        // A leaked verifier logs nobody in.
        assert!(!hash.verifier().matches(&LoginHash::from_bytes(hash.verifier().0)));
    }

    proptest! {
        #[test]
        fn round_trips(m_kib in 1u32.., t in 1u32.., p in 1u32.., salt in prop::collection::vec(any::<u8>(), 16..=64),
                       hash in any::<[u8; 32]>()) {
            let challenge = Challenge { cost: Cost { m_kib, t, p }, salt: Salt::new(salt).expect("length fits") };
            prop_assert_eq!(Challenge::from_phc(&challenge.to_phc()), Ok(challenge.clone()));
            let phc = LoginPhc { challenge, hash: LoginHash::from_bytes(hash) };
            let again = LoginPhc::from_phc(&phc.to_phc()).map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!(again.challenge, phc.challenge);
            prop_assert_eq!(again.hash.expose(), &hash);
        }

        #[test]
        fn never_panics(text in "(\\$argon2id\\$v=19\\$)?[m=,tp0-9$A-Za-z+/]{0,120}") {
            if let Ok(c) = Challenge::from_phc(&text) {
                prop_assert_eq!(c.to_phc(), text.clone());
            }
            if let Ok(p) = LoginPhc::from_phc(&text) {
                let again = p.to_phc();
                prop_assert_eq!(again.as_str(), text);
            }
        }
    }
}
