//! Sending: no silent downgrade (profile §7). One pure function, [`decide`], is the table; each row has a test.

use super::{keyword_name, pins::Learnt};
use crate::send::Policy;
use sealpost_lookup::Keyword;
use sealpost_proto::{
    address::Address,
    key::PublicKey,
    statement::{Chain, SignedStatement},
    time::Timestamp,
};
use std::collections::BTreeSet;

/// What is remembered of a contact and its domain.
#[derive(Debug, Clone, Default)]
pub struct Remembered {
    /// The pinned key.
    pub pin: Option<PublicKey>,
    /// Since when it is pinned.
    pub since: Option<Timestamp>,
    /// The end of a statement that the user accepted although it had passed.
    pub accepted_expiry: Option<Timestamp>,
    /// Keywords seen of the domain in authenticated look-ups.
    pub keywords: BTreeSet<Keyword>,
    /// When the domain was last seen to offer all of these.
    pub offered: Option<Timestamp>,
}

/// Who answered a look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A server of the domain, over verified TLS.
    Direct {
        /// Its name.
        server: String,
        /// Why nothing ties the name to the domain; `None`: something does, the answer is authenticated.
        unbound: Option<String>,
        /// What it offers.
        keywords: BTreeSet<Keyword>,
    },
    /// The home server asked in our place; it could say anything (profile §8).
    Home {
        /// Its name.
        server: String,
    },
}

/// What it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// 220.
    Key(PublicKey, Chain),
    /// 550.
    NoKey,
    /// Nothing definite; says why.
    Failed(String),
}

/// What is done for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Seal to this key.
    Seal {
        /// To.
        key: PublicKey,
        /// What becomes of the pin.
        pin: PinChange,
        /// Why, in words.
        why: String,
    },
    /// Definitely no key: plain mail where the policy allows it.
    Plain {
        /// Why, in words.
        why: String,
    },
    /// Refused; names the option or command that overrules it.
    Refuse {
        /// Why, in words.
        why: String,
    },
    /// Nothing definite is known: try again later, never plain.
    Later {
        /// Why, in words.
        why: String,
    },
}

/// What becomes of the pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinChange {
    /// Stays.
    Keep,
    /// A first pin.
    New(Learnt),
    /// The chain led to the new key.
    Chain,
}

/// Keywords whose vanishing is refused: the three of R03. A server that lost XSEALPOST still does all of the draft.
const GUARDED: [Keyword; 3] = [Keyword::EncryptMessage, Keyword::SignMessage, Keyword::HashedPass];

/// How long before a key ends it is said, in days: time enough to meet.
pub const EXPIRY_NOTICE_DAYS: i64 = 30;

/// Whether an end is near, or past.
pub(crate) fn ends_soon(expires: Timestamp, now: Timestamp) -> bool {
    expires <= now.plus(EXPIRY_NOTICE_DAYS * 86_400)
}

/// The table of profile §7 for `address`.
pub fn decide(
    address: &Address,
    remembered: &Remembered,
    source: &Source,
    answer: &Answer,
    policy: Policy,
    now: Timestamp,
) -> Decision {
    // A server without ENCRYPTMESSAGE need not know PUBKEY: whatever it answered, it does not encrypt.
    let without =
        matches!(source, Source::Direct { keywords, .. } if !keywords.contains(&Keyword::EncryptMessage));
    let answer = match answer {
        Answer::Failed(_) if without => &Answer::NoKey,
        answer => answer,
    };
    match (answer, &remembered.pin) {
        // anything | look-up failed, TLS not verified, 4xx, 551
        (Answer::Failed(reason), _) => {
            later(format!("the key could not be looked up ({reason}); try again later"))
        }
        (answer, Some(pin)) => decide_contact(address, remembered, pin, source, answer, now),
        (answer, None) => decide_new(address, remembered, source, answer, policy, now),
    }
}

/// The rows "contact's key".
fn decide_contact(
    address: &Address,
    remembered: &Remembered,
    pin: &PublicKey,
    source: &Source,
    answer: &Answer,
    now: Timestamp,
) -> Decision {
    let forget = format!(
        "Ask {address} in another way; `sealpost contact forget {address}` starts anew, as if you had never met"
    );
    let known = remembered.since.map_or(String::new(), |since| format!(", since {}", since.to_rfc3339()));
    // Only what can still be sealed to can be accepted.
    let accept = format!("{forget}; `sealpost contact accept {address}` goes on with what is offered now");
    // A pinned key was used for sealing, so encryption was offered, whatever else is remembered.
    let mut keywords = remembered.keywords.clone();
    keywords.insert(Keyword::EncryptMessage);
    if let Some(gone) = vanished(&keywords, source) {
        return refuse(format!(
            "the server of {} offered {gone} before and no longer does{}. {}",
            address.domain(),
            last_seen(remembered.offered.or(remembered.since)),
            if offers(source, Keyword::EncryptMessage) { &accept } else { &forget }
        ));
    }
    let Answer::Key(key, chain) = answer else {
        return refuse(format!(
            "{address} had a key, and now its server says there is none. The one known is {}{known}. {forget}",
            pin.fingerprint()
        ));
    };
    if !chain.leads(pin, key) && pin != key {
        return refuse(format!(
            "the key of {address} has changed to {}, and no signed statement leads there from the one known until \
             now ({}{known}). {} Compare fingerprints with {address} in another way (`sealpost contact compare \
             {address}` shows how); then `sealpost contact accept {address}`",
            key.fingerprint(),
            pin.fingerprint(),
            made(chain, key),
        ));
    }
    if let Some(ended) = expiry(chain, key, now)
        && remembered.accepted_expiry != Some(ended)
    {
        return refuse(format!(
            "the key of {address} expired on {}. Ask {address} to use Sealpost once, which renews it, or \
             `sealpost contact accept {address}`",
            ended.to_rfc3339()
        ));
    }
    if pin == key {
        let why = format!(
            "sealed to the key known for {address}{}{}",
            by(source),
            near_end(address, chain, key, now)
        );
        Decision::Seal { key: key.clone(), pin: PinChange::Keep, why }
    } else {
        let why = format!(
            "sealed to the new key of {address}, {}, which the one known until now has signed for{}{}",
            key.fingerprint(),
            chain
                .newest()
                .filter(|s| s.key == *key)
                .map_or(String::new(), |s| format!(" on {}", s.created.to_rfc3339())),
            by(source)
        );
        Decision::Seal { key: key.clone(), pin: PinChange::Chain, why }
    }
}

/// The rows "contact new".
fn decide_new(
    address: &Address,
    remembered: &Remembered,
    source: &Source,
    answer: &Answer,
    policy: Policy,
    now: Timestamp,
) -> Decision {
    let domain = address.domain();
    // domain offered it, contact new | extension gone
    if let Some(gone) = vanished(&remembered.keywords, source) {
        return refuse(format!(
            "the servers of {domain} offered {gone} before and no longer do{}. If {domain} really gave it up, \
             `sealpost contact forget {address}` forgets what it offered",
            last_seen(remembered.offered)
        ));
    }
    let unauthenticated = match source {
        Source::Direct { unbound: None, .. } => None,
        Source::Direct { server, unbound: Some(reason), .. } => {
            Some((Learnt::FirstUse(server.clone()), format!("nothing ties {server} to {domain} ({reason})")))
        }
        Source::Home { server } => Some((
            Learnt::Home(server.clone()),
            format!("only {server} could be asked, which is not the server of {domain}"),
        )),
    };
    let negative = match answer {
        _ if !offers(source, Keyword::EncryptMessage) => {
            Some(format!("the server of {domain} does not offer encryption (ENCRYPTMESSAGE)"))
        }
        Answer::Key(..) => None,
        _ => Some(format!("{address} has no key")),
    };
    match (negative, unauthenticated, answer) {
        // nothing of contact or domain | definite 550, or no ENCRYPTMESSAGE, from an authenticated server
        (Some(negative), None, _) => Decision::Plain { why: negative },
        // A negative from a server that could be anybody's is not definite. Somebody who insists on both options has
        // decided to believe it.
        (Some(negative), Some((_, doubt)), _) => {
            if policy.trust_first_use && policy.allow_plain {
                Decision::Plain { why: format!("{negative}; believed although {doubt}") }
            } else {
                later(format!(
                    "{negative}, but that is not certain: {doubt}. Try again later; --trust-first-use with \
                     --allow-plain believes it"
                ))
            }
        }
        (None, unauthenticated, Answer::Key(key, chain)) => {
            if let Some(ended) = expiry(chain, key, now) {
                return refuse(format!(
                    "the key of {address} expired on {} and is not used. Ask {address} to use Sealpost once, which \
                     renews it, or `sealpost contact accept {address}`",
                    ended.to_rfc3339()
                ));
            }
            let sign = if offers(source, Keyword::SignMessage) {
                ""
            } else {
                "; its server does not offer SIGNMESSAGE, so the signature may go unchecked"
            };
            match unauthenticated {
                // nothing of contact or domain | key
                None => Decision::Seal {
                    key: key.clone(),
                    pin: PinChange::New(Learnt::Server(server(source))),
                    why: format!(
                        "sealed to {}, the key of {address}, remembered from now on{sign}{}",
                        key.fingerprint(),
                        near_end(address, chain, key, now)
                    ),
                },
                Some((learnt, doubt)) if policy.trust_first_use => Decision::Seal {
                    key: key.clone(),
                    pin: PinChange::New(learnt),
                    why: format!(
                        "sealed to {}, the key given for {address}, trusted on first use although {doubt}; compare \
                         fingerprints when you can{sign}",
                        key.fingerprint()
                    ),
                },
                Some((_, doubt)) => refuse(format!(
                    "there is a key for {address}, {}, but {doubt}. --trust-first-use takes it; \
                     `sealpost contact accept {address}` takes it after comparing fingerprints",
                    key.fingerprint()
                )),
            }
        }
        // Unreachable: an answer without a key is a negative. Refusing is the safe way to be wrong.
        (None, _, _) => later(format!("the key of {address} could not be looked up; try again later")),
    }
}

/// Whether the server that answered offers this; what the home server passes on does not tell.
fn offers(source: &Source, keyword: Keyword) -> bool {
    match source {
        Source::Direct { keywords, .. } => keywords.contains(&keyword),
        Source::Home { .. } => true,
    }
}

/// What of `remembered` the server that answered no longer offers, named; the home server's answers do not tell.
fn vanished(remembered: &BTreeSet<Keyword>, source: &Source) -> Option<String> {
    let Source::Direct { keywords, .. } = source else { return None };
    let gone: Vec<&str> = GUARDED
        .into_iter()
        .filter(|k| remembered.contains(k) && !keywords.contains(k))
        .map(keyword_name)
        .collect();
    (!gone.is_empty()).then(|| gone.join(" and "))
}

/// When the newest statement ended, if it has, and if it is about `key` at all (a key set without a statement leaves
/// the old chain in place).
fn expiry(chain: &Chain, key: &PublicKey, now: Timestamp) -> Option<Timestamp> {
    chain.newest().filter(|s| s.key == *key && chain.is_expired(now)).map(|s| s.expires)
}

/// When what has vanished was last there, in brackets.
fn last_seen(offered: Option<Timestamp>) -> String {
    offered.map_or(String::new(), |at| format!(" (it was there on {})", at.to_rfc3339()))
}

/// When a key that nothing leads to was made, as far as it tells.
fn made(chain: &Chain, key: &PublicKey) -> String {
    match chain.statements().iter().map(SignedStatement::statement).rfind(|s| s.key == *key) {
        Some(statement) => {
            format!("The new one says of itself that it was made on {}.", statement.created.to_rfc3339())
        }
        None => "The new one does not say when it was made.".to_owned(),
    }
}

/// A key that ends soon: its owner's client renews it in the last half of its life, so nobody has used one for long.
fn near_end(address: &Address, chain: &Chain, key: &PublicKey, now: Timestamp) -> String {
    match chain.newest().filter(|s| s.key == *key && ends_soon(s.expires, now)) {
        Some(statement) => format!(
            "; it expires on {}, so ask {address} to use Sealpost once, which renews it",
            statement.expires.to_rfc3339()
        ),
        None => String::new(),
    }
}

fn server(source: &Source) -> String {
    match source {
        Source::Direct { server, .. } | Source::Home { server } => server.clone(),
    }
}

fn by(source: &Source) -> String {
    match source {
        Source::Direct { keywords, .. } if !keywords.contains(&Keyword::SignMessage) => {
            "; its server does not offer SIGNMESSAGE, so the signature may go unchecked".to_owned()
        }
        Source::Direct { .. } => String::new(),
        Source::Home { server } => format!(", as {server} passed it on"),
    }
}

fn refuse(why: String) -> Decision {
    Decision::Refuse { why }
}

fn later(why: String) -> Decision {
    Decision::Later { why }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
