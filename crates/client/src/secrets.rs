//! What a signed-in device keeps instead of the password (profile §3): seed, login hash, salts, cost; seeds of retired
//! keys; and what a command that was cut off may have put in force.

use crate::{client::Random, error::ClientError, folder::Stored, stored};
use sealpost_crypto::{key::SecretKey, local::LocalKey, seal::Identities};
use sealpost_proto::{
    key::PublicKey,
    phc::{Challenge, Cost, LoginHash, LoginPhc, Salt},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// `secrets.json`. No `Debug`; cleared on drop.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Secrets {
    /// What is in force, as far as this device knows; `None` until enrolment or login is done.
    pub current: Option<Credentials>,
    /// Seeds of retired keys, oldest first.
    #[serde(default)]
    pub retired: Vec<RetiredSeed>,
    /// What a command was about to put in force when it last wrote: the server may or may not have taken it.
    #[serde(default)]
    pub pending: Option<Credentials>,
    /// Of the bridge, once one ran.
    #[serde(default)]
    pub bridge: Option<BridgeSecrets>,
}

impl Stored for Secrets {
    const NAME: &'static str = "secrets.json";
}

/// Both secrets of an account and what they were made with.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Credentials {
    /// Login hash.
    #[serde(with = "stored::secret32")]
    login_hash: Zeroizing<[u8; 32]>,
    /// Login salt.
    #[serde(with = "stored::salt")]
    pub login_salt: Salt,
    /// Cost of both.
    #[serde(with = "cost")]
    pub cost: Cost,
    /// Seed and key salt; `None` while enrolment has set the login only.
    pub key: Option<Seed>,
}

/// What a bridge on this device has of its own: neither is made from the password, so neither changes with it.
#[derive(Clone, Serialize, Deserialize)]
pub struct BridgeSecrets {
    /// What mail programs sign in with.
    pub password: Zeroizing<String>,
    /// Key of the local index.
    #[serde(with = "stored::secret32")]
    index_key: Zeroizing<[u8; 32]>,
}

/// A password for mail programs: 25 letters and digits without those that look alike, 125 bits.
const PASSWORD_LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const PASSWORD_LENGTH: usize = 25;

impl BridgeSecrets {
    pub(crate) fn new(random: &dyn Random) -> Self {
        let mut letters = Zeroizing::new([0; PASSWORD_LENGTH]);
        random.fill(letters.as_mut_slice());
        // 256 is a multiple of 32: every letter is as likely.
        let letter = |n: &u8| char::from(PASSWORD_LETTERS[usize::from(n % 32)]);
        let password = Zeroizing::new(letters.iter().map(letter).collect());
        let mut index_key = Zeroizing::new([0; 32]);
        random.fill(index_key.as_mut_slice());
        Self { password, index_key }
    }

    /// Key of the local index.
    pub fn index_key(&self) -> LocalKey {
        LocalKey::new(self.index_key.clone())
    }
}

/// An Ed25519 seed and its salt.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Seed {
    #[serde(with = "stored::secret32")]
    seed: Zeroizing<[u8; 32]>,
    /// Key salt.
    #[serde(with = "stored::salt")]
    pub salt: Salt,
}

impl Seed {
    pub(crate) fn new(key: &SecretKey, salt: Salt) -> Self {
        Self { seed: key.seed(), salt }
    }
    pub(crate) fn key(&self) -> SecretKey {
        SecretKey::from_seed(*self.seed)
    }
}

impl Credentials {
    pub(crate) fn new(login: &LoginPhc, key: Option<Seed>) -> Self {
        Self {
            login_hash: Zeroizing::new(*login.hash.expose()),
            login_salt: login.challenge.salt.clone(),
            cost: login.challenge.cost,
            key,
        }
    }
    pub(crate) fn login_hash(&self) -> LoginHash {
        LoginHash::from_bytes(*self.login_hash)
    }
    pub(crate) fn challenge(&self) -> Challenge {
        Challenge { cost: self.cost, salt: self.login_salt.clone() }
    }
    pub(crate) fn login(&self) -> LoginPhc {
        LoginPhc { challenge: self.challenge(), hash: self.login_hash() }
    }
}

/// A retired key pair and when it was in force.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct RetiredSeed {
    #[serde(with = "stored::secret32")]
    seed: Zeroizing<[u8; 32]>,
    /// In force from.
    #[serde(with = "stored::time")]
    pub from: Timestamp,
    /// Retired at.
    #[serde(with = "stored::time")]
    pub until: Timestamp,
}

impl RetiredSeed {
    pub(crate) fn new(key: &SecretKey, from: Timestamp, until: Timestamp) -> Self {
        Self { seed: key.seed(), from, until }
    }
    pub(crate) fn key(&self) -> SecretKey {
        SecretKey::from_seed(*self.seed)
    }
}

impl Secrets {
    /// Current key first, then retired ones, newest first: what opens mail.
    pub(crate) fn identities(&self) -> Vec<SecretKey> {
        let current = self.current.iter().filter_map(|c| c.key.as_ref()).map(Seed::key);
        current.chain(self.retired.iter().rev().map(RetiredSeed::key)).collect()
    }

    /// The same, ready to open many messages.
    pub(crate) fn ready(&self) -> Result<Identities, ClientError> {
        Identities::new(self.identities())
            .map_err(|e| ClientError::Refused(format!("your keys cannot be used: {e}")))
    }

    /// Keeps `key` as retired, once; never the current one.
    pub(crate) fn retire(&mut self, key: &SecretKey, from: Timestamp, until: Timestamp) {
        let public = key.public();
        if !self.has_retired(&public) && self.current_public().as_ref() != Some(&public) {
            self.retired.push(RetiredSeed::new(key, from, until));
            self.retired.sort_by_key(|r| (r.until, r.from));
        }
    }

    /// Whether the seed of this retired key is at hand.
    pub(crate) fn has_retired(&self, key: &PublicKey) -> bool {
        self.retired.iter().any(|r| r.key().public() == *key)
    }

    /// The public half of the current key.
    pub(crate) fn current_public(&self) -> Option<PublicKey> {
        self.current.as_ref().and_then(|c| c.key.as_ref()).map(|seed| seed.key().public())
    }
}

pub(crate) mod cost {
    use sealpost_proto::phc::Cost;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

    #[derive(Serialize, Deserialize)]
    struct Plain {
        m_kib: u32,
        t: u32,
        p: u32,
    }

    pub(crate) fn serialize<S: Serializer>(cost: &Cost, s: S) -> Result<S::Ok, S::Error> {
        Plain { m_kib: cost.m_kib, t: cost.t, p: cost.p }.serialize(s)
    }
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Cost, D::Error> {
        let Plain { m_kib, t, p } = Plain::deserialize(d)?;
        let cost = Cost { m_kib, t, p };
        if cost.is_acceptable() { Ok(cost) } else { Err(D::Error::custom("a cost out of bounds")) }
    }
}
