//! The keyring's line of JSON. Seeds are moved out of the parsed tree and cleared; the text is written into a buffer
//! measured beforehand, since one that grows leaves uncleared copies behind.

use super::{FirstPayload, Keyring, Pin, Recovery, Retired};
use crate::{hex, key::SecretKey};
use sealpost_proto::{
    address::{Address, Domain},
    base64,
    key::PublicKey,
    time::Timestamp,
};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value};
use std::io::{self, Write};
use zeroize::Zeroizing;

/// `current` is written where there is a recovery kit.
pub(super) fn write(keyring: &Keyring, current: &SecretKey) -> Zeroizing<String> {
    struct Count(usize);
    impl Write for Count {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.0 += buf.len();
            Ok(buf.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    const NEVER: &str = "keys are strings and a vector takes every octet";
    let mut count = Count(0);
    let document = Document(keyring, current);
    serde_json::to_writer(&mut count, &document).expect(NEVER);
    let mut text = Zeroizing::new(Vec::with_capacity(count.0));
    serde_json::to_writer(&mut *text, &document).expect(NEVER);
    Zeroizing::new(String::from_utf8(std::mem::take(&mut *text)).expect("JSON is UTF-8"))
}

pub(super) fn parse(json: &str) -> Option<Keyring> {
    let Value::Object(mut members) = serde_json::from_str(json).ok()? else { return None };
    let mut keyring = Keyring::default();
    for value in take_list(&mut members, "retired")? {
        keyring.retired.push(retired(value)?);
    }
    for (address, value) in take_object(&mut members, "pins")? {
        keyring.pins.insert(Address::parse(&address).ok()?, pin(value)?);
    }
    for (domain, value) in take_object(&mut members, "domains")? {
        let Value::Array(keywords) = value else { return None };
        let keywords: Option<_> = keywords.iter().map(|k| k.as_str().map(str::to_owned)).collect();
        keyring.domains.insert(Domain::parse(&domain).ok()?, keywords?);
    }
    for (name, value) in take_object(&mut members, "replay")? {
        let [sha256, first_seen] = value.as_array()?.as_slice() else { return None };
        let payload =
            FirstPayload { sha256: hex::decode_32(sha256.as_str()?)?, first_seen: time(first_seen)? };
        keyring.replay.insert(name, payload);
    }
    for (name, value) in take_object(&mut members, "seen")? {
        keyring.seen.insert(name, time(&value)?);
    }
    if let Some(value) = members.shift_remove("recovery") {
        keyring.recovery = Some(recovery(value)?);
    }
    if let Some(value) = members.shift_remove("current") {
        let Value::Object(mut value) = value else { return None };
        keyring.current = Some(key_pair(&mut value)?);
    }
    keyring.other = members;
    Some(keyring)
}

fn retired(value: Value) -> Option<Retired> {
    let Value::Object(mut members) = value else { return None };
    let key = key_pair(&mut members)?;
    let from = time(&members.shift_remove("from")?)?;
    let until = time(&members.shift_remove("until")?)?;
    Some(Retired { key, from, until, other: members })
}

/// `seed` and `key`, which must be a pair.
fn key_pair(members: &mut Map<String, Value>) -> Option<SecretKey> {
    let Some(Value::String(seed)) = members.shift_remove("seed") else { return None };
    let seed = Zeroizing::new(seed);
    let seed = Zeroizing::new(base64::decode(seed.as_bytes()).ok()?);
    let key = SecretKey::from_seed(<[u8; 32]>::try_from(seed.as_slice()).ok()?);
    let named = PublicKey::from_openssh(members.shift_remove("key")?.as_str()?).ok()?;
    (key.public() == named).then_some(key)
}

fn recovery(value: Value) -> Option<Recovery> {
    let Value::Object(mut members) = value else { return None };
    let key = match members.shift_remove("key")? {
        Value::Null => None,
        Value::String(text) => Some(PublicKey::from_openssh(&text).ok()?),
        _ => return None,
    };
    Some(Recovery { key, since: time(&members.shift_remove("since")?)? })
}

fn pin(value: Value) -> Option<Pin> {
    let Value::Object(mut members) = value else { return None };
    let key = PublicKey::from_openssh(members.shift_remove("key")?.as_str()?).ok()?;
    let since = time(&members.shift_remove("since")?)?;
    let signs = members.shift_remove("signs").is_some_and(|signs| signs == Value::Bool(true));
    Some(Pin { key, since, signs, other: members })
}

fn time(value: &Value) -> Option<Timestamp> {
    let text = value.as_str()?;
    let other_form = || text.parse::<jiff::Timestamp>().ok().map(|t| Timestamp(t.as_second()));
    Timestamp::from_rfc3339(text).or_else(other_form)
}

/// An absent member is an empty one; one of another type is an error.
fn take_object(members: &mut Map<String, Value>, name: &str) -> Option<Map<String, Value>> {
    match members.shift_remove(name) {
        None => Some(Map::new()),
        Some(Value::Object(object)) => Some(object),
        Some(_) => None,
    }
}

fn take_list(members: &mut Map<String, Value>, name: &str) -> Option<Vec<Value>> {
    match members.shift_remove(name) {
        None => Some(Vec::new()),
        Some(Value::Array(list)) => Some(list),
        Some(_) => None,
    }
}

struct Document<'a>(&'a Keyring, &'a SecretKey);

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Keyring { retired, pins, domains, replay, seen, recovery, current: _, other } = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("retired", &retired.iter().map(RetiredJson).collect::<Vec<_>>())?;
        map.serialize_entry("pins", &MapJson(pins, Address::as_str, PinJson))?;
        map.serialize_entry("domains", &MapJson(domains, Domain::as_str, |keywords| keywords))?;
        let payload = |p: &FirstPayload| [hex::encode(&p.sha256), p.first_seen.to_rfc3339()];
        map.serialize_entry("replay", &MapJson(replay, String::as_str, payload))?;
        map.serialize_entry(
            "seen",
            &MapJson(seen, String::as_str, |moment: &Timestamp| moment.to_rfc3339()),
        )?;
        if let Some(recovery) = recovery {
            map.serialize_entry("recovery", &RecoveryJson(recovery))?;
            if recovery.key.is_some() {
                map.serialize_entry("current", &KeyPairJson(self.1))?;
            }
        }
        for (name, value) in other {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

struct RecoveryJson<'a>(&'a Recovery);

impl Serialize for RecoveryJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("key", &self.0.key.as_ref().map(PublicKey::openssh))?;
        map.serialize_entry("since", &self.0.since.to_rfc3339())?;
        map.end()
    }
}

struct KeyPairJson<'a>(&'a SecretKey);

impl Serialize for KeyPairJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("seed", Zeroizing::new(base64::encode(*self.0.seed())).as_str())?;
        map.serialize_entry("key", &self.0.public().openssh())?;
        map.end()
    }
}

/// A map with its keys and values written by functions.
struct MapJson<'a, K, V, F, G>(&'a std::collections::BTreeMap<K, V>, F, G);

impl<'a, K, V, F, G, T> Serialize for MapJson<'a, K, V, F, G>
where
    F: Fn(&'a K) -> &'a str,
    G: Fn(&'a V) -> T,
    T: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| ((self.1)(key), (self.2)(value))))
    }
}

struct RetiredJson<'a>(&'a Retired);

impl Serialize for RetiredJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Retired { key, from, until, other } = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("seed", Zeroizing::new(base64::encode(*key.seed())).as_str())?;
        map.serialize_entry("key", &key.public().openssh())?;
        map.serialize_entry("from", &from.to_rfc3339())?;
        map.serialize_entry("until", &until.to_rfc3339())?;
        for (name, value) in other {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

struct PinJson<'a>(&'a Pin);

impl Serialize for PinJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Pin { key, since, signs, other } = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("key", &key.openssh())?;
        map.serialize_entry("since", &since.to_rfc3339())?;
        map.serialize_entry("signs", signs)?;
        for (name, value) in other {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
