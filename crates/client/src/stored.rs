//! How protocol values look in the folder's JSON: keys as `ssh-ed25519 AAAA…`, times as RFC 3339, octets as base64.
//! Everything is checked again when it is read: the disk is no more trusted than the network.

#![allow(
    clippy::ref_option,
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's `with` hands every field by reference"
)]

use sealpost_proto::{address::Address, base64, key::PublicKey, phc::Salt, time::Timestamp};
use serde::{Deserialize, Deserializer, Serializer};

/// `ssh-ed25519 AAAA…`
pub(crate) mod key {
    use super::{Deserialize, Deserializer, PublicKey, Serializer};
    pub(crate) fn serialize<S: Serializer>(key: &PublicKey, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&key.openssh())
    }
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<PublicKey, D::Error> {
        super::parse(&String::deserialize(d)?, |text| PublicKey::from_openssh(text).ok(), "a public key")
    }
}

/// The same, or null.
pub(crate) mod key_option {
    use super::{Deserialize, Deserializer, PublicKey, Serializer};
    pub(crate) fn serialize<S: Serializer>(key: &Option<PublicKey>, s: S) -> Result<S::Ok, S::Error> {
        match key {
            Some(key) => s.serialize_some(&key.openssh()),
            None => s.serialize_none(),
        }
    }
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<PublicKey>, D::Error> {
        match Option::<String>::deserialize(d)? {
            Some(text) => {
                super::parse(&text, |text| PublicKey::from_openssh(text).ok(), "a public key").map(Some)
            }
            None => Ok(None),
        }
    }
}

/// `YYYY-MM-DDTHH:MM:SSZ`
pub(crate) mod time {
    use super::{Deserialize, Deserializer, Serializer, Timestamp};
    pub(crate) fn serialize<S: Serializer>(time: &Timestamp, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&time.to_rfc3339())
    }
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Timestamp, D::Error> {
        super::parse(&String::deserialize(d)?, Timestamp::from_rfc3339, "a time")
    }
}

/// The same, or null.
pub(crate) mod time_option {
    use super::{Deserialize, Deserializer, Serializer, Timestamp};
    pub(crate) fn serialize<S: Serializer>(time: &Option<Timestamp>, s: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => s.serialize_some(&time.to_rfc3339()),
            None => s.serialize_none(),
        }
    }
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Timestamp>, D::Error> {
        match Option::<String>::deserialize(d)? {
            Some(text) => super::parse(&text, Timestamp::from_rfc3339, "a time").map(Some),
            None => Ok(None),
        }
    }
}

/// A canonical address.
pub(crate) mod address {
    use super::{Address, Deserialize, Deserializer, Serializer};
    pub(crate) fn serialize<S: Serializer>(address: &Address, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(address.as_str())
    }
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Address, D::Error> {
        super::parse(&String::deserialize(d)?, |text| Address::parse_canonical(text).ok(), "an address")
    }
}

/// Base64 of a salt.
pub(crate) mod salt {
    use super::{Deserialize, Deserializer, Salt, Serializer, base64};
    pub(crate) fn serialize<S: Serializer>(salt: &Salt, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&base64::encode(salt.as_bytes()))
    }
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Salt, D::Error> {
        let salt = |text: &str| Salt::new(base64::decode(text).ok()?).ok();
        super::parse(&String::deserialize(d)?, salt, "a salt")
    }
}

/// A map whose keys are canonical addresses.
pub(crate) mod by_address {
    use super::{Address, Deserialize, Deserializer, Serializer};
    use serde::Serialize;
    use std::collections::BTreeMap;
    pub(crate) fn serialize<T: Serialize, S: Serializer>(
        map: &BTreeMap<Address, T>,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        s.collect_map(map.iter().map(|(address, value)| (address.as_str(), value)))
    }
    pub(crate) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        d: D,
    ) -> Result<BTreeMap<Address, T>, D::Error> {
        BTreeMap::<String, T>::deserialize(d)?
            .into_iter()
            .map(|(text, value)| {
                super::parse(&text, |text| Address::parse_canonical(text).ok(), "an address")
                    .map(|address| (address, value))
            })
            .collect()
    }
}

fn parse<T, E: serde::de::Error>(
    text: &str,
    parse: impl FnOnce(&str) -> Option<T>,
    what: &str,
) -> Result<T, E> {
    // The text itself stays out of the error: it may stand where a secret should.
    parse(text).ok_or_else(|| E::custom(format_args!("not {what}")))
}

/// Base64 of 32 octets that are secret.
pub(crate) mod secret32 {
    use super::{Deserialize, Deserializer, Serializer};
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde::de::Error as _;
    use zeroize::Zeroizing;

    pub(crate) fn serialize<S: Serializer>(secret: &Zeroizing<[u8; 32]>, s: S) -> Result<S::Ok, S::Error> {
        // 32 octets are 44 characters of base64.
        let mut text = Zeroizing::new([0_u8; 44]);
        STANDARD
            .encode_slice(secret.as_slice(), text.as_mut_slice())
            .map_err(|_| serde::ser::Error::custom("base64"))?;
        s.serialize_str(std::str::from_utf8(text.as_slice()).map_err(serde::ser::Error::custom)?)
    }
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Zeroizing<[u8; 32]>, D::Error> {
        let text = Zeroizing::<String>::deserialize(d)?;
        // `decode_slice` wants room for an estimate of three octets for each four characters.
        let mut octets = Zeroizing::new([0_u8; 33]);
        let length = STANDARD
            .decode_slice(text.as_bytes(), octets.as_mut_slice())
            .map_err(|_| D::Error::custom("not 32 octets of base64"))?;
        let mut secret = Zeroizing::new([0_u8; 32]);
        if length != secret.len() {
            return Err(D::Error::custom("not 32 octets of base64"));
        }
        secret.copy_from_slice(&octets[..32]);
        Ok(secret)
    }
}
