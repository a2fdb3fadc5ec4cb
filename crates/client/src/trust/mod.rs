//! Whom this client trusts, and why: pins, keywords of domains, the state of one's own key. [`policy`] decides on
//! sending, `facts` gathers what a verdict needs; both are pure functions of this state.

pub(crate) mod facts;
pub(crate) mod pins;
pub mod policy;

use crate::{folder::Stored, stored};
use pins::{Observation, Pin};
use sealpost_lookup::Keyword;
use sealpost_proto::{
    address::{Address, Domain},
    key::PublicKey,
    statement::SignedStatement,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// `trust.json`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Trust {
    /// Pinned keys by canonical address.
    #[serde(with = "stored::by_address")]
    pub pins: BTreeMap<Address, Pin>,
    /// What look-ups last gave, also of strangers; bounded, see [`pins::OBSERVATIONS_MAX`].
    #[serde(with = "stored::by_address")]
    pub observations: BTreeMap<Address, Observation>,
    /// Strangers whose mail was signed before (for contacts it stands in the pin).
    #[serde(default)]
    pub signers: BTreeSet<String>,
    /// Keywords seen in authenticated look-ups, by domain (profile §7).
    #[serde(default)]
    pub domains: BTreeMap<String, BTreeSet<String>>,
    /// When each domain was last seen to offer all that is remembered of it.
    #[serde(default)]
    pub offered: BTreeMap<String, Moment>,
    /// Contacts that were forgotten, and when: an older pin in the keyring does not bring them back.
    #[serde(with = "stored::by_address", default)]
    pub forgotten: BTreeMap<Address, Moment>,
    /// Domains whose keywords were replaced or forgotten and that the keyring does not know of yet.
    #[serde(default)]
    pub reset_domains: BTreeSet<String>,
    /// One's own key and keyring.
    pub own: Option<Own>,
    /// The recovery kit to which keyrings are sealed, or that it was revoked.
    #[serde(default)]
    pub recovery: Option<RecoveryMark>,
    /// The keyring on the server is that of a forgotten password and waits for its recovery kit.
    #[serde(default)]
    pub waits_for_kit: bool,
}

/// A moment in the folder's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Moment(#[serde(with = "stored::time")] pub Timestamp);

/// Which recovery kit counts, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecoveryMark {
    /// Its public half; `None` where it was revoked.
    #[serde(with = "stored::key_option")]
    pub key: Option<PublicKey>,
    /// Since when.
    #[serde(with = "stored::time")]
    pub since: Timestamp,
}

impl Stored for Trust {
    const NAME: &'static str = "trust.json";
}

/// One's own published key and the keyring on the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Own {
    /// The key last known to be published.
    #[serde(with = "stored::key")]
    pub key: PublicKey,
    /// Its statement, base64 as on the wire.
    statement: String,
    /// Serial of the newest keyring known; it must not go back.
    #[serde(default)]
    pub serial: u64,
    /// The keyring on the server is older than what this device knows.
    #[serde(default)]
    pub dirty: bool,
    /// An own address other than the primary one is not used yet; kept for statements that name several.
    #[serde(with = "stored::time")]
    pub checked: Timestamp,
}

impl Own {
    pub(crate) fn new(statement: &SignedStatement, now: Timestamp) -> Self {
        Self {
            key: statement.statement().key.clone(),
            statement: statement.to_wire(),
            serial: 0,
            dirty: false,
            checked: now,
        }
    }
    /// The statement, checked again.
    pub(crate) fn statement(&self) -> Option<SignedStatement> {
        SignedStatement::from_wire(&self.statement).ok()
    }
    pub(crate) fn set_statement(&mut self, statement: &SignedStatement) {
        self.key = statement.statement().key.clone();
        self.statement = statement.to_wire();
    }
}

/// Most strangers remembered as signers; the oldest are not known, so the set stops growing instead.
const SIGNERS_MAX: usize = 20_000;

impl Trust {
    /// The keywords remembered for a domain.
    pub(crate) fn keywords(&self, domain: &Domain) -> BTreeSet<Keyword> {
        let names = self.domains.get(domain.as_str());
        names.into_iter().flatten().filter_map(|name| keyword(name)).collect()
    }

    /// Remembers keywords; `true` if one is new.
    pub(crate) fn learn_keywords(
        &mut self,
        domain: &Domain,
        seen: &BTreeSet<Keyword>,
        now: Timestamp,
    ) -> bool {
        if seen.is_empty() {
            return false;
        }
        let names = self.domains.entry(domain.as_str().to_owned()).or_default();
        let before = names.len();
        names.extend(seen.iter().map(|k| keyword_name(*k).to_owned()));
        if names.iter().filter_map(|name| keyword(name)).all(|k| seen.contains(&k)) {
            self.offered.insert(domain.as_str().to_owned(), Moment(now));
        }
        names.len() > before
    }

    /// Whether mail of this sender was signed before.
    pub(crate) fn signs(&self, sender: &Address) -> bool {
        self.pins.get(sender).is_some_and(|p| p.signs) || self.signers.contains(sender.as_str())
    }

    /// Remembers that this sender signs; `true` if the keyring must be told.
    pub(crate) fn learn_signs(&mut self, sender: &Address) -> bool {
        if let Some(pin) = self.pins.get_mut(sender) {
            return !std::mem::replace(&mut pin.signs, true);
        }
        if self.signers.len() < SIGNERS_MAX {
            self.signers.insert(sender.as_str().to_owned());
        }
        false
    }

    /// Forgets a contact as if never met, and what its domain was seen to offer.
    pub(crate) fn forget(&mut self, address: &Address, now: Timestamp) {
        self.pins.remove(address);
        self.observations.remove(address);
        self.signers.remove(address.as_str());
        self.forgotten.insert(address.clone(), Moment(now));
        self.replace_keywords(&address.domain(), &BTreeSet::new(), now);
        self.mark_dirty();
    }

    /// Replaces what a domain was seen to offer, by the user's word.
    pub(crate) fn replace_keywords(&mut self, domain: &Domain, keywords: &BTreeSet<Keyword>, now: Timestamp) {
        self.domains.remove(domain.as_str());
        self.offered.remove(domain.as_str());
        self.learn_keywords(domain, keywords, now);
        self.reset_domains.insert(domain.as_str().to_owned());
    }

    /// The keyring on the server no longer holds all of this.
    pub(crate) fn mark_dirty(&mut self) {
        if let Some(own) = &mut self.own {
            own.dirty = true;
        }
    }
}

/// The name of a keyword in EHLO, which is also its name in the folder and the keyring.
pub fn keyword_name(keyword: Keyword) -> &'static str {
    match keyword {
        Keyword::EncryptMessage => "ENCRYPTMESSAGE",
        Keyword::SignMessage => "SIGNMESSAGE",
        Keyword::HashedPass => "HASHEDPASS",
        Keyword::Sealpost => "XSEALPOST",
    }
}

/// Inverse of [`keyword_name`]; others' programs may remember keywords that mean nothing here.
pub(crate) fn keyword(name: &str) -> Option<Keyword> {
    [Keyword::EncryptMessage, Keyword::SignMessage, Keyword::HashedPass, Keyword::Sealpost]
        .into_iter()
        .find(|k| keyword_name(*k) == name)
}
