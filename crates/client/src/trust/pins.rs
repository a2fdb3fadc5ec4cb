//! Pins, and what look-ups last gave.

use crate::stored;
use sealpost_proto::{
    address::Address,
    key::PublicKey,
    statement::{Chain, SignedStatement},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most look-ups remembered; beyond it those of strangers go, the oldest first.
pub(crate) const OBSERVATIONS_MAX: usize = 2_000;
/// Look-ups for reading are made at most daily for each contact (profile §8), in seconds.
pub(crate) const LOOKUP_EVERY: i64 = 86_400;

/// Most earlier keys remembered of a contact: rotated every year, they tell of more than a decade.
pub(crate) const EARLIER_MAX: usize = 16;

/// A pinned key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pin {
    /// The key.
    #[serde(with = "stored::key")]
    pub key: PublicKey,
    /// Pinned since.
    #[serde(with = "stored::time")]
    pub since: Timestamp,
    /// How it was learnt.
    pub learnt: Learnt,
    /// Whether this contact's mail was signed before.
    #[serde(default)]
    pub signs: bool,
    /// A statement that had ended at this moment was accepted by the user all the same.
    #[serde(with = "stored::time_option", default)]
    pub accepted_expiry: Option<Timestamp>,
    /// Keys pinned before on this device, newest first; at most [`EARLIER_MAX`].
    #[serde(default)]
    pub earlier: Vec<Earlier>,
}

impl Pin {
    /// A pin made now, in the place of `old` if there was one.
    pub(crate) fn new(key: PublicKey, since: Timestamp, learnt: Learnt, old: Option<&Self>) -> Self {
        let mut pin = Self {
            key,
            since,
            learnt,
            signs: old.is_some_and(|old| old.signs),
            accepted_expiry: None,
            earlier: old.map(|old| old.earlier.clone()).unwrap_or_default(),
        };
        if let Some(old) = old.filter(|old| old.key != pin.key) {
            let old = Earlier { key: old.key.clone(), since: old.since, learnt: old.learnt.clone() };
            pin.earlier.insert(0, old);
            pin.earlier.truncate(EARLIER_MAX);
        }
        pin
    }
}

/// A key that was pinned before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earlier {
    /// The key.
    #[serde(with = "stored::key")]
    pub key: PublicKey,
    /// Pinned since.
    #[serde(with = "stored::time")]
    pub since: Timestamp,
    /// How it was learnt.
    pub learnt: Learnt,
}

/// How a pinned key was learnt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "by", content = "server")]
pub enum Learnt {
    /// From the domain's own, authenticated server.
    Server(String),
    /// From a server that nothing ties to the domain (`--trust-first-use`).
    FirstUse(String),
    /// Passed on by the home server, which could say anything (`--trust-first-use`).
    Home(String),
    /// By a signed statement of the key pinned before.
    Chain,
    /// The user accepted it.
    Accepted,
    /// From one's own keyring: another device learnt it.
    Keyring,
}

impl Learnt {
    /// One word for programs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Server(_) => "look-up",
            Self::FirstUse(_) => "first-use",
            Self::Home(_) => "home-server",
            Self::Chain => "chain",
            Self::Accepted => "accepted",
            Self::Keyring => "keyring",
        }
    }
}

impl std::fmt::Display for Learnt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Server(server) => write!(f, "asked at {server}, the domain's own server"),
            Self::FirstUse(server) => {
                write!(f, "taken on first use from {server}, which nothing ties to the domain")
            }
            Self::Home(server) => {
                write!(f, "taken on first use from {server}, your own server, which could say anything")
            }
            Self::Chain => f.write_str("signed by the key before it"),
            Self::Accepted => f.write_str("accepted by you"),
            Self::Keyring => f.write_str("learnt on another device of yours"),
        }
    }
}

/// What a look-up gave for one address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Observation {
    /// When.
    #[serde(with = "stored::time")]
    pub at: Timestamp,
    /// Whether it provably came from the domain (directly, or from the home server about its own domain).
    pub authenticated: bool,
    /// The key published then.
    #[serde(with = "stored::key_option")]
    pub key: Option<PublicKey>,
    /// The chain then, base64 as on the wire, newest first.
    chain: Vec<String>,
}

impl Observation {
    pub(crate) fn new(at: Timestamp, authenticated: bool, key: Option<PublicKey>, chain: &Chain) -> Self {
        Self {
            at,
            authenticated,
            key,
            chain: chain.statements().iter().map(SignedStatement::to_wire).collect(),
        }
    }
    /// The chain, checked again; an empty one where it no longer holds.
    pub(crate) fn chain(&self, address: &Address, now: Timestamp) -> Chain {
        let statements: Result<Vec<_>, _> =
            self.chain.iter().map(|s| SignedStatement::from_wire(s)).collect();
        statements.and_then(|s| Chain::check(s, address, now)).unwrap_or_default()
    }
    /// Whether it is young enough to read by.
    pub(crate) fn is_fresh(&self, now: Timestamp) -> bool {
        self.at <= now && now < self.at.plus(LOOKUP_EVERY)
    }
}

/// Keeps the number of look-ups in bounds; those of contacts with a pin stay.
pub(crate) fn bound(observations: &mut BTreeMap<Address, Observation>, pins: &BTreeMap<Address, Pin>) {
    let surplus = observations.len().saturating_sub(OBSERVATIONS_MAX);
    if surplus == 0 {
        return;
    }
    let mut strangers: Vec<(Timestamp, Address)> = observations
        .iter()
        .filter(|(address, _)| !pins.contains_key(*address))
        .map(|(address, o)| (o.at, address.clone()))
        .collect();
    strangers.sort();
    for (_, address) in strangers.into_iter().take(surplus) {
        observations.remove(&address);
    }
}
