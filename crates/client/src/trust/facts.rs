//! What a verdict needs to know of a sender (profile §6, "The sender's keys are"), gathered from pins, look-ups and
//! memory. Pure: the look-ups were made before.

use super::{
    Trust,
    pins::{Observation, Pin},
};
use crate::open::Facts;
use sealpost_proto::{address::Address, key::PublicKey, statement::Chain, time::Timestamp};

/// The message's side of the question.
pub(crate) struct Asked<'a> {
    /// Sender, canonical.
    pub sender: &'a Address,
    /// What memory holds of it.
    pub earlier: Earlier,
    /// Who we are.
    pub own: OwnKeys,
    /// Why the look-up failed, if one was made and failed.
    pub lookup_failed: Option<String>,
    /// The present moment.
    pub now: Timestamp,
}

/// What replay and first-seen memory hold of a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Earlier {
    /// The payload first seen under its sender and Message-ID, and when.
    pub payload: Option<([u8; 32], Timestamp)>,
    /// When its signature input was first seen.
    pub input: Option<Timestamp>,
}

/// One's own addresses and keys; for these no look-up is made.
#[derive(Debug, Clone)]
pub(crate) struct OwnKeys {
    /// Addresses of one's own statement.
    pub addresses: Vec<Address>,
    /// The current key.
    pub current: Option<PublicKey>,
    /// Retired keys, and when.
    pub retired: Vec<(PublicKey, Timestamp)>,
}

/// Gathers the facts.
pub(crate) fn gather(trust: &Trust, asked: &Asked<'_>) -> Facts {
    let sender = asked.sender;
    let from_self = sender.is_of(&asked.own.addresses);
    let Earlier { payload, input } = asked.earlier;
    // A message whose payload was seen has been seen, even where another device read it and only the keyring tells.
    let first_seen = [input, payload.map(|(_, at)| at)].into_iter().flatten().min();
    let mut facts = Facts {
        own_addresses: asked.own.addresses.clone(),
        from_self,
        signs: trust.signs(sender),
        first_seen,
        payloads_seen: payload.into_iter().map(|(payload, _)| payload).collect(),
        lookup_failed: asked.lookup_failed.clone(),
        now: asked.now,
        ..Facts::default()
    };
    if from_self {
        facts.keys = asked.own.current.iter().cloned().collect();
        facts.retired.clone_from(&asked.own.retired);
        facts.confirmed = true;
        facts.lookup_failed = None;
        "your own, for which nobody is asked".clone_into(&mut facts.source);
        return facts;
    }
    let observation = trust.observations.get(sender);
    facts.looked_up = observation.map(|o| o.at);
    facts.source = source(trust.pins.get(sender), observation);
    let chain = observation.map(|o| o.chain(sender, asked.now)).unwrap_or_default();
    let published = observation.and_then(|o| o.key.clone());
    if let Some(pin) = trust.pins.get(sender) {
        let known = chain.keys_from(&pin.key);
        // Where the chain has moved on, the newest key is the one that counts; the others are retired below.
        let current = known.last().cloned().unwrap_or_else(|| pin.key.clone());
        facts.confirmed = true;
        facts.published_otherwise = published.filter(|key| *key != current && !known.contains(key));
        facts.retired = retired(&chain, &current);
        facts.keys = vec![current];
    } else if let Some(key) = published {
        facts.confirmed = observation.is_some_and(|o| o.authenticated);
        facts.retired = retired(&chain, &key);
        facts.keys = vec![key];
    }
    facts
}

/// Where the sender's keys are from, in words.
fn source(pin: Option<&Pin>, observation: Option<&Observation>) -> String {
    let pinned = match pin {
        Some(pin) => format!("known since {} ({})", pin.since.to_rfc3339(), pin.learnt),
        None => "no contact of yours".to_owned(),
    };
    match observation {
        Some(o) if o.authenticated => {
            format!("{pinned}, last looked up on {} at its own server", o.at.to_rfc3339())
        }
        Some(o) => format!(
            "{pinned}, last looked up on {} through another server, which could say anything",
            o.at.to_rfc3339()
        ),
        None => format!("{pinned}, not looked up on this device"),
    }
}

/// The keys before `current` by `previous` links, with the moments they were retired. What lies before a
/// `previous: none` is not linked: somebody else may have been there.
pub(crate) fn retired(chain: &Chain, current: &PublicKey) -> Vec<(PublicKey, Timestamp)> {
    let mut retired: Vec<(PublicKey, Timestamp)> = Vec::new();
    let mut key = current.clone();
    // Newest first, so one pass follows the links backwards and cannot run in a circle.
    for statement in chain.statements() {
        let statement = statement.statement();
        if statement.key != key {
            continue;
        }
        if let Some(previous) = &statement.previous
            && *previous != key
            && !retired.iter().any(|(known, _)| known == previous)
            && previous != current
        {
            let at = chain.retired_at(previous).unwrap_or(statement.created);
            retired.push((previous.clone(), at));
            key = previous.clone();
        }
    }
    retired
}

/// Whether a message of this sender needs a look-up before it is judged: never for oneself, at most daily for others
/// (profile §8).
pub(crate) fn needs_lookup(trust: &Trust, own: &OwnKeys, sender: &Address, now: Timestamp) -> bool {
    !own.addresses.contains(sender)
        && !trust.observations.get(sender).is_some_and(|o: &Observation| o.is_fresh(now))
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
