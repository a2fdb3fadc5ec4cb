//! What was seen before, of messages whose signature is good (profile §6): payloads by (sender, Message-ID), so that a
//! Message-ID used twice is noticed, and signature inputs with the moment they were first seen, so that a retired key
//! cannot date new mail back.

use crate::stored;
use sealpost_proto::{address::Address, time::Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most messages remembered on the device; beyond it the oldest go.
pub(crate) const MESSAGES_MAX: usize = 100_000;
/// The payload first seen under each `SENDER MESSAGE-ID`. One is enough: whatever comes later under the same name with
/// another payload is the replay, and of two devices that disagree the earlier moment wins (profile §9).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Replay(pub BTreeMap<String, Seen>);

/// A hash and when it was first seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// SHA-256, hex.
    pub sha256: String,
    /// First seen.
    #[serde(with = "stored::time")]
    pub at: Timestamp,
}

/// The key of replay memory.
pub(crate) fn replay_key(sender: &Address, message_id: &str) -> String {
    format!("{sender} {message_id}")
}

impl Replay {
    /// What was first seen under this sender and Message-ID.
    pub(crate) fn get(&self, sender: &Address, message_id: &str) -> Option<([u8; 32], Timestamp)> {
        let seen = self.0.get(&replay_key(sender, message_id))?;
        from_hex(&seen.sha256).map(|sha256| (sha256, seen.at))
    }

    /// Remembers a payload; `true` if something changed.
    pub(crate) fn learn(
        &mut self,
        sender: &Address,
        message_id: &str,
        payload: &[u8; 32],
        at: Timestamp,
    ) -> bool {
        self.learn_hex(replay_key(sender, message_id), &hex(payload), at)
    }

    /// The same by the key of the memory; the earliest moment wins.
    pub(crate) fn learn_hex(&mut self, key: String, sha256: &str, at: Timestamp) -> bool {
        let seen = Seen { sha256: sha256.to_owned(), at };
        match self.0.get_mut(&key) {
            Some(known) if known.at <= at => false,
            Some(known) => {
                *known = seen;
                true
            }
            None => {
                self.0.insert(key, seen);
                bound(&mut self.0, |seen| seen.at);
                true
            }
        }
    }
}

/// Signature inputs by `SENDER SHA-256`, and when each was first seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct FirstSeen(pub BTreeMap<String, Moment>);

/// A moment in the folder's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Moment(#[serde(with = "stored::time")] pub Timestamp);

impl FirstSeen {
    /// When this signature input of this sender was first seen.
    pub(crate) fn get(&self, sender: &Address, input: &[u8; 32]) -> Option<Timestamp> {
        self.0.get(&format!("{sender} {}", hex(input))).map(|m| m.0)
    }
    /// Remembers it; the earliest moment wins. `true` if something changed.
    pub(crate) fn learn(&mut self, sender: &Address, input: &[u8; 32], at: Timestamp) -> bool {
        self.learn_key(format!("{sender} {}", hex(input)), at)
    }
    /// The same by the key of the memory.
    pub(crate) fn learn_key(&mut self, key: String, at: Timestamp) -> bool {
        match self.0.get_mut(&key) {
            Some(known) if known.0 <= at => false,
            Some(known) => {
                known.0 = at;
                true
            }
            None => {
                self.0.insert(key, Moment(at));
                bound(&mut self.0, |m| m.0);
                true
            }
        }
    }
}

/// Drops the oldest tenth when the bound is passed, so that this happens rarely.
fn bound<T>(map: &mut BTreeMap<String, T>, at: impl Fn(&T) -> Timestamp) {
    if map.len() <= MESSAGES_MAX {
        return;
    }
    let mut ages: Vec<Timestamp> = map.values().map(&at).collect();
    ages.sort_unstable();
    let limit = ages[MESSAGES_MAX / 10];
    map.retain(|_, value| at(value) > limit);
}

/// Lower-case hex.
pub(crate) fn hex(octets: &[u8]) -> String {
    use std::fmt::Write as _;
    octets.iter().fold(String::with_capacity(octets.len() * 2), |mut text, octet| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{octet:02x}");
        text
    })
}

/// Inverse of [`hex`].
pub(crate) fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut octets = [0; 32];
    for (octet, pair) in octets.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |d: u8| char::from(d).to_digit(16).and_then(|d| u8::try_from(d).ok());
        *octet = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alice() -> Address {
        Address::parse("alice@example.net").expect("an address")
    }

    #[test]
    fn r08_the_payload_first_seen_under_a_message_id_stays() {
        let mut replay = Replay::default();
        assert!(replay.learn(&alice(), "<1@x>", &[1; 32], Timestamp(20)));
        assert!(!replay.learn(&alice(), "<1@x>", &[1; 32], Timestamp(30)), "the same again changes nothing");
        assert!(
            !replay.learn(&alice(), "<1@x>", &[2; 32], Timestamp(30)),
            "another payload later is no news"
        );
        assert_eq!(replay.get(&alice(), "<1@x>"), Some(([1; 32], Timestamp(20))));
        assert!(replay.learn(&alice(), "<1@x>", &[2; 32], Timestamp(10)), "another device saw it earlier");
        assert_eq!(replay.get(&alice(), "<1@x>"), Some(([2; 32], Timestamp(10))));
        assert_eq!(replay.get(&alice(), "<2@x>"), None);
    }

    #[test]
    fn first_seen_is_the_earliest() {
        let mut memory = FirstSeen::default();
        assert!(memory.learn(&alice(), &[7; 32], Timestamp(9)));
        assert!(!memory.learn(&alice(), &[7; 32], Timestamp(10)));
        assert!(memory.learn(&alice(), &[7; 32], Timestamp(8)));
        assert_eq!(memory.get(&alice(), &[7; 32]), Some(Timestamp(8)));
        assert_eq!(memory.get(&alice(), &[8; 32]), None);
    }

    #[test]
    fn the_oldest_go_when_it_is_full() {
        let mut map: BTreeMap<String, Moment> = (0..=MESSAGES_MAX)
            .map(|n| (n.to_string(), Moment(Timestamp(i64::try_from(n).expect("small")))))
            .collect();
        bound(&mut map, |m| m.0);
        assert!(!map.contains_key("0") && map.contains_key(&MESSAGES_MAX.to_string()));
        assert!(map.len() <= MESSAGES_MAX * 9 / 10);
    }

    #[test]
    fn hex_is_undone_by_from_hex() {
        assert_eq!(from_hex(&hex(&[0xab; 32])), Some([0xab; 32]));
        for wrong in ["", "ab", &"g".repeat(64), &"ü".repeat(32), &"a".repeat(65)] {
            assert_eq!(from_hex(wrong), None, "{wrong}");
        }
    }
}
