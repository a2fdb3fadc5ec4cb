//! `contact …`: whose keys are trusted, since when, and why.

use crate::{
    client::Client,
    error::ClientError,
    keys::{is_fingerprint, lookup_report, pin_of},
    state::State,
    trust::{
        Trust,
        pins::{Observation, Pin},
        policy::{Answer, Source, ends_soon},
    },
    ui::Question,
};
use sealpost_crypto::words::fingerprint_words;
use sealpost_proto::{
    address::{Address, Mailbox},
    key::PublicKey,
    statement::{Chain, Statement},
    time::Timestamp,
};

pub use crate::trust::pins::{Earlier, Learnt};

/// A contact as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactReport {
    /// Canonical address.
    pub address: Address,
    /// The pinned key.
    pub key: PublicKey,
    /// `SHA256:…`
    pub fingerprint: String,
    /// Twelve words.
    pub words: String,
    /// Pinned since.
    pub since: Timestamp,
    /// How the key was learnt.
    pub learnt: Learnt,
    /// Keys known before it on this device, newest first.
    pub earlier: Vec<Earlier>,
    /// Whether this contact's mail was signed before.
    pub signs: bool,
    /// What the last look-up gave, if one was made on this device.
    pub looked_up: Option<LookedUp>,
    /// What must be said: a key that changed, vanished or is about to end; what, when, and what to do.
    pub warnings: Vec<String>,
}

/// The last look-up of a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookedUp {
    /// When.
    pub at: Timestamp,
    /// Whether it provably came from the domain.
    pub authenticated: bool,
    /// The key published then.
    pub key: Option<PublicKey>,
    /// The statements then, newest first.
    pub statements: Vec<Statement>,
}

/// What `contact accept` did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The contact now.
    pub contact: ContactReport,
    /// The key that was pinned before, if another.
    pub replaced: Option<PublicKey>,
    /// What else must be said.
    pub notes: Vec<String>,
}

#[cfg(test)]
impl ContactReport {
    pub(crate) fn for_tests(address: &Address, key: PublicKey) -> Self {
        let pin = Pin::new(key, Timestamp(0), Learnt::Accepted, None);
        report(&Trust::default(), address, &pin, Timestamp(0))
    }
}

fn report(trust: &Trust, address: &Address, pin: &Pin, now: Timestamp) -> ContactReport {
    let observation = trust.observations.get(address);
    let chain = observation.map(|o| o.chain(address, now)).unwrap_or_default();
    ContactReport {
        warnings: observation.map(|o| warnings(address, pin, o, &chain, now)).unwrap_or_default(),
        looked_up: observation.map(|o| LookedUp {
            at: o.at,
            authenticated: o.authenticated,
            key: o.key.clone(),
            statements: chain.statements().iter().map(|s| s.statement().clone()).collect(),
        }),
        address: address.clone(),
        key: pin.key.clone(),
        fingerprint: pin.key.fingerprint(),
        words: fingerprint_words(&pin.key),
        since: pin.since,
        learnt: pin.learnt.clone(),
        earlier: pin.earlier.clone(),
        signs: pin.signs,
    }
}

/// What of the last look-up does not fit the pin, or will soon not fit.
fn warnings(
    address: &Address,
    pin: &Pin,
    observation: &Observation,
    chain: &Chain,
    now: Timestamp,
) -> Vec<String> {
    let mut warnings = Vec::new();
    let at = observation.at.to_rfc3339();
    match &observation.key {
        Some(key) if *key != pin.key && !chain.leads(&pin.key, key) => warnings.push(format!(
            "when asked on {at}, its server gave another key, {}, and no signed statement leads there from the one known \
             since {}. Compare with {address} in another way (`sealpost contact compare {address}`); until then \
             nothing is sealed to the other",
            key.fingerprint(),
            pin.since.to_rfc3339()
        )),
        None => warnings.push(format!(
            "when asked on {at}, its server said that there is no key, though one is known since {}. Ask {address} in \
             another way; `sealpost contact forget {address}` starts anew",
            pin.since.to_rfc3339()
        )),
        Some(_) => {}
    }
    if let Some(newest) = chain.newest().filter(|s| Some(&s.key) == observation.key.as_ref()) {
        warnings.extend(expiry_warning(address, newest, pin.accepted_expiry, now));
    }
    warnings
}

/// A key of a contact that has ended, or is about to: its owner's client renews it by itself, so nobody has used one
/// for a year.
fn expiry_warning(
    address: &Address,
    newest: &Statement,
    accepted: Option<Timestamp>,
    now: Timestamp,
) -> Option<String> {
    let end = newest.expires.to_rfc3339();
    if newest.expires <= now {
        return (accepted != Some(newest.expires)).then(|| {
            format!(
                "its key expired on {end}, so nothing is sealed to it. Ask {address} to use Sealpost once, which renews \
                 it, or `sealpost contact accept {address}`"
            )
        });
    }
    ends_soon(newest.expires, now).then(|| {
        format!(
            "its key expires on {end}; from then on nothing is sealed to it. Ask {address} to use Sealpost once, which \
             renews it"
        )
    })
}

fn unknown(address: &Mailbox) -> ClientError {
    ClientError::Refused(format!(
        "{address} is no contact of yours; sending to it makes it one, `sealpost key lookup {address}` shows its key"
    ))
}

impl Client {
    pub(crate) fn list_contacts(&self) -> Result<Vec<ContactReport>, ClientError> {
        let trust = self.snapshot()?.trust;
        let now = self.env.clock.now();
        Ok(trust.pins.iter().map(|(address, pin)| report(&trust, address, pin, now)).collect())
    }

    pub(crate) fn show_contact(&self, mailbox: &Mailbox) -> Result<ContactReport, ClientError> {
        let trust = self.snapshot()?.trust;
        let (address, pin) = pin_of(&trust, mailbox).ok_or_else(|| unknown(mailbox))?;
        Ok(report(&trust, &address, pin, self.env.clock.now()))
    }

    pub(crate) async fn accept_contact(
        &self,
        mailbox: &Mailbox,
        fingerprint: Option<&str>,
    ) -> Result<Accepted, ClientError> {
        let mut state = State::load(self).await?;
        let lookup = state.account.lookup(self)?;
        let address = mailbox.canonical();
        let domain = address.domain();
        let pinned = state.trust.pins.get(&address).map(|pin| pin.key.clone());
        let mut session = None;
        let found = self.look_up(&mut state, &lookup, &mut session, std::slice::from_ref(mailbox)).await;
        let found = found.into_iter().next().ok_or_else(|| unknown(mailbox))?;
        let (key, chain) = match &found.answer {
            Answer::Key(key, chain) => (key.clone(), chain.clone()),
            Answer::NoKey => {
                return Err(ClientError::Refused(format!(
                    "there is no key for {address} to accept now; `sealpost contact forget {address}` forgets the one \
                     known before"
                )));
            }
            Answer::Failed(reason) => {
                return Err(ClientError::Later(format!(
                    "the key of {address} could not be looked up ({reason}); try again later"
                )));
            }
        };
        let now = self.env.clock.now();
        let shown = lookup_report(&found, pinned.clone(), now);
        let mut notes = vec![shown.binding.clone()];
        notes.extend(shown.notes);
        let agreed = match fingerprint {
            Some(text) if is_fingerprint(text, &key) => true,
            Some(_) => {
                return Err(ClientError::Refused(format!(
                    "the key of {address} is {}, not the one you gave; nothing was accepted",
                    key.fingerprint()
                )));
            }
            None => self.env.ui.confirm(&Question::AcceptKey {
                address: address.clone(),
                pinned: pinned.clone(),
                key: key.clone(),
                fingerprint: key.fingerprint(),
                words: fingerprint_words(&key),
                notes: notes.clone(),
            }),
        };
        if !agreed {
            return Err(ClientError::Decide(format!(
                "the key of {address}, {}, was not accepted. Compare it with {address} in person or on the telephone, \
                 then run `sealpost contact accept {address}` on a terminal, or with --fingerprint and the fingerprint \
                 you were told",
                key.fingerprint()
            )));
        }
        let expired = chain.newest().filter(|s| s.key == key && chain.is_expired(now)).map(|s| s.expires);
        let signs = state.trust.signs(&address);
        let old = state.trust.pins.get(&address);
        let pin = Pin { signs, accepted_expiry: expired, ..Pin::new(key, now, Learnt::Accepted, old) };
        let contact = report(&state.trust, &address, &pin, now);
        let replaced = pinned.filter(|old| *old != pin.key);
        state.trust.pins.insert(address.clone(), pin);
        // What the domain no longer offers was looked at and taken too: from now on only what it offers counts.
        if let Source::Direct { unbound: None, keywords, .. } = &found.source {
            state.trust.replace_keywords(&domain, keywords, now);
        }
        state.trust.mark_dirty();
        self.finish(state, &lookup, session).await?;
        Ok(Accepted { contact, replaced, notes })
    }

    pub(crate) async fn forget_contact(
        &self,
        mailbox: &Mailbox,
    ) -> Result<Option<ContactReport>, ClientError> {
        let mut state = State::load(self).await?;
        let address = mailbox.canonical();
        let now = self.env.clock.now();
        let forgotten = state.trust.pins.get(&address).map(|pin| report(&state.trust, &address, pin, now));
        // Without a pin there may still be what its domain offered once, which is forgotten too.
        if forgotten.is_none() && state.trust.keywords(&address.domain()).is_empty() {
            return Err(unknown(mailbox));
        }
        state.trust.forget(&address, now);
        let lookup = state.account.lookup(self)?;
        self.finish(state, &lookup, None).await?;
        Ok(forgotten)
    }
}
