//! `contact …`: whose keys are trusted, since when, and why.

use crate::{
    client::Client,
    error::ClientError,
    keys::{is_fingerprint, lookup_report, pin_of},
    state::{Snapshot, State},
    trust::{
        pins::{Learnt, Pin},
        policy::{Answer, Source},
    },
    ui::Question,
};
use sealpost_crypto::words::fingerprint_words;
use sealpost_proto::{
    address::{Address, Mailbox},
    key::PublicKey,
    time::Timestamp,
};

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
    /// How the key was learnt, in words.
    pub learnt: String,
    /// Whether this contact's mail was signed before.
    pub signs: bool,
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

fn report(address: &Address, pin: &Pin) -> ContactReport {
    ContactReport {
        address: address.clone(),
        key: pin.key.clone(),
        fingerprint: pin.key.fingerprint(),
        words: fingerprint_words(&pin.key),
        since: pin.since,
        learnt: pin.learnt.to_string(),
        signs: pin.signs,
    }
}

fn unknown(address: &Mailbox) -> ClientError {
    ClientError::Refused(format!(
        "{address} is no contact of yours; sending to it makes it one, `sealpost key lookup {address}` shows its key"
    ))
}

impl Client {
    pub(crate) fn list_contacts(&self) -> Result<Vec<ContactReport>, ClientError> {
        let trust = Snapshot::load(self)?.trust;
        Ok(trust.pins.iter().map(|(address, pin)| report(address, pin)).collect())
    }

    pub(crate) fn show_contact(&self, mailbox: &Mailbox) -> Result<ContactReport, ClientError> {
        let trust = Snapshot::load(self)?.trust;
        let (address, pin) = pin_of(&trust, mailbox).ok_or_else(|| unknown(mailbox))?;
        Ok(report(&address, pin))
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
        let pin = Pin { key, since: now, learnt: Learnt::Accepted, signs, accepted_expiry: expired };
        let contact = report(&address, &pin);
        let replaced = pinned.filter(|old| *old != pin.key);
        state.trust.pins.insert(address.clone(), pin);
        // What the domain no longer offers was looked at and taken too: from now on only what it offers counts.
        if let Source::Direct { unbound: None, keywords, .. } = &found.source {
            state.trust.replace_keywords(&domain, keywords);
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
        let forgotten = state.trust.pins.get(&address).map(|pin| report(&address, pin));
        // Without a pin there may still be what its domain offered once, which is forgotten too.
        if forgotten.is_none() && state.trust.keywords(&address.domain()).is_empty() {
            return Err(unknown(mailbox));
        }
        state.trust.forget(&address, self.env.clock.now());
        let lookup = state.account.lookup(self)?;
        self.finish(state, &lookup, None).await?;
        Ok(forgotten)
    }
}
