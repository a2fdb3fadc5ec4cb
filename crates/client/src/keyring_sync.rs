//! The keyring on the server and what this device knows, brought together (profile §9).
//!
//! Every writing begins with reading: what another device stored is merged in first, so that nothing either device
//! learnt is lost and members that only a newer program knows are written back.

use crate::{
    client::Client,
    error::ClientError,
    memory::Seen,
    secrets::RetiredSeed,
    session::{Session, in_force_since, smtp},
    state::State,
    trust::{
        RecoveryMark, Trust, facts,
        pins::{Learnt, Pin},
    },
};
use sealpost_crypto::{
    key::SecretKey,
    keyring::{self, FirstPayload, Keep, Keyring, KeyringError},
    seal::{self, SealError},
};
use sealpost_lookup::Lookup;
use sealpost_proto::{
    address::{Address, Domain},
    key::PublicKey,
    statement::Chain,
    time::Timestamp,
};
use sha2::{Digest as _, Sha256};

/// Attempts when another device of the same user is quicker (profile §9).
const ATTEMPTS: usize = 3;

/// Entries of memory of each kind that a keyring is made with: as many as may fit, and it drops what does not.
const EXPORTED_MAX: u32 = 8_000;

/// What lay on the server.
pub(crate) enum Fetched {
    /// Nothing.
    None,
    /// A keyring, which is merged into the state now.
    Merged {
        /// Its SHA-256: what a new one replaces.
        sha256: [u8; 32],
        /// It and what this device knows.
        keyring: Box<Keyring>,
    },
    /// One that cannot be opened or must not be believed.
    Unreadable {
        /// Its SHA-256.
        sha256: [u8; 32],
        /// Why.
        reason: String,
        /// It is sealed to a recovery kit, and to no key of this device.
        waits: bool,
    },
    /// None, although this device knows that there was one.
    Gone,
}

impl Fetched {
    /// Why the keyring on the server must not be built upon.
    pub(crate) fn fault(&self) -> Option<String> {
        match self {
            Self::None | Self::Merged { .. } => None,
            Self::Unreadable { waits: true, .. } => Some(
                "the keyring on the server is that of a forgotten password and waits for its recovery kit (`sealpost \
                 recovery use`; `sealpost recovery revoke --lost` gives up what is in it)"
                    .to_owned(),
            ),
            Self::Unreadable { reason, .. } => {
                Some(format!("the keyring on the server cannot be opened ({reason})"))
            }
            Self::Gone => {
                Some("the server shows no keyring any more, although this device knows of one".to_owned())
            }
        }
    }
}

impl Client {
    /// Fetches the keyring, opens it, and takes over what it knows. `chain` is that of the own key.
    pub(crate) async fn fetch_keyring(
        &self,
        state: &mut State,
        session: &mut Session,
        chain: &Chain,
    ) -> Result<Fetched, ClientError> {
        let least = state.trust.own.as_ref().map_or(0, |own| own.serial);
        // No keyring is a serial below any, whether the server denies it or the verb that fetches it.
        let none = if least == 0 { Fetched::None } else { Fetched::Gone };
        if !session.has_sealpost() {
            return Ok(none);
        }
        let Some(sealed) = session.home.session().keyring().await.map_err(smtp)? else {
            return Ok(none);
        };
        let sha256: [u8; 32] = Sha256::digest(&sealed).into();
        let signers = signers(state, chain);
        match Keyring::open(&state.secrets.identities(), &sealed, &state.account.address, &signers, least) {
            Ok((theirs, serial)) => {
                let keyring = merge(state, theirs, self.env.clock.now())?;
                if let Some(own) = &mut state.trust.own {
                    own.serial = serial;
                }
                state.trust.waits_for_kit = false;
                Ok(Fetched::Merged { sha256, keyring: Box::new(keyring) })
            }
            Err(error) => {
                let waits = matches!(error, KeyringError::Seal(SealError::NotForUs)) && is_for_kit(&sealed);
                state.trust.waits_for_kit = waits;
                Ok(Fetched::Unreadable { sha256, reason: error.to_string(), waits })
            }
        }
    }

    /// The keyring to stage at a rotation: sealed to the key that comes, signed by it, `old` among the retired ones.
    pub(crate) fn staged_keyring(
        &self,
        state: &State,
        stored: Option<Keyring>,
        key: &SecretKey,
        old: &SecretKey,
        chain: &Chain,
    ) -> Result<(Vec<u8>, u64), ClientError> {
        let mut keyring = match stored {
            Some(keyring) => keyring,
            None => export(state)?,
        };
        let until = chain.retired_at(&old.public()).unwrap_or_else(|| self.env.clock.now());
        let from = in_force_since(state, chain, &old.public()).unwrap_or(until);
        keyring.retired.push(keyring::Retired::new(old.clone(), from, until));
        let serial = next_serial(state);
        let sealed = keyring.seal(&state.account.address, serial, key, &[]).map_err(|e| refused(&e))?;
        Ok((sealed, serial))
    }

    /// The first keyring of a new key. One that nobody can open any more (its password is forgotten) is replaced; the
    /// server keeps five back.
    pub(crate) async fn start_keyring(
        &self,
        state: &mut State,
        session: &mut Session,
        chain: &Chain,
    ) -> Result<Vec<String>, ClientError> {
        if !session.has_sealpost() {
            return Ok(vec![
                "your server keeps no keyrings; retired keys stay on this device alone".to_owned(),
            ]);
        }
        let mut notes = Vec::new();
        let (replaces, keyring) = match self.fetch_keyring(state, session, chain).await? {
            // Enrolment anew: what an earlier account of this folder left behind is no claim on this one.
            Fetched::None | Fetched::Gone => (None, export(state)?),
            Fetched::Merged { sha256, keyring } => (Some(sha256), *keyring),
            // Replacing it would lose for good what a page in a drawer can bring back.
            waiting @ Fetched::Unreadable { waits: true, .. } => {
                notes.push(format!(
                    "{}. Until then old mail stays closed, and contacts learnt here stay on this device",
                    waiting.fault().unwrap_or_default()
                ));
                return Ok(notes);
            }
            Fetched::Unreadable { sha256, .. } => {
                notes.push(
                    "the keyring of the forgotten password cannot be opened and was replaced".to_owned(),
                );
                self.begin_serial(state);
                (Some(sha256), export(state)?)
            }
        };
        self.put(state, session, replaces, &keyring).await.map_err(smtp)?;
        Ok(notes)
    }

    /// The serial of a keyring that replaces one whose serial is not known. Devices of the old days refuse a lower one, so
    /// begin where no count gets to.
    pub(crate) fn begin_serial(&self, state: &mut State) {
        let now = u64::try_from(self.env.clock.now().0).unwrap_or(0);
        if let Some(own) = &mut state.trust.own {
            own.serial = own.serial.max(now);
        }
    }

    /// Writes what this device learnt, if anything, at the end of a command. Never fails the command: what could not
    /// be written is written by a later one.
    pub(crate) async fn sync_keyring(
        &self,
        state: &mut State,
        lookup: &Lookup,
        session: &mut Option<Session>,
    ) {
        let dirty = state.trust.own.as_ref().is_some_and(|own| own.dirty);
        if !dirty || state.account.no_keyring {
            return;
        }
        let result = async {
            let session = match session {
                Some(session) => session,
                None => session.insert(self.sign_in(state, lookup).await?),
            };
            self.push_keyring(state, session).await
        };
        if let Err(error) = result.await {
            self.env
                .ui
                .say(&format!("the keyring could not be brought up to date; a later command will ({error})"));
        }
    }

    pub(crate) async fn push_keyring(
        &self,
        state: &mut State,
        session: &mut Session,
    ) -> Result<(), ClientError> {
        if !session.has_sealpost() && state.trust.own.as_ref().is_none_or(|own| own.serial == 0) {
            return Ok(());
        }
        let address = state.account.address.clone();
        for _ in 0..ATTEMPTS {
            let chain = session.published(&address, self).await?.chain;
            let (replaces, keyring) = match self.fetch_keyring(state, session, &chain).await? {
                Fetched::None => (None, export(state)?),
                Fetched::Merged { sha256, keyring } => (Some(sha256), *keyring),
                fault @ (Fetched::Unreadable { .. } | Fetched::Gone) => {
                    return Err(ClientError::Refused(fault.fault().unwrap_or_default()));
                }
            };
            match self.put(state, session, replaces, &keyring).await {
                Ok(()) => return state.save(),
                // Another device was quicker: fetch, merge, try again.
                Err(error) if error.code() == Some(554) => {}
                Err(error) => return Err(smtp(error)),
            }
        }
        Err(ClientError::Later("another device wrote it at the same time, three times over".to_owned()))
    }

    pub(crate) async fn put(
        &self,
        state: &mut State,
        session: &mut Session,
        replaces: Option<[u8; 32]>,
        keyring: &Keyring,
    ) -> Result<(), sealpost_proto::drive::SmtpError> {
        let serial = next_serial(state);
        let sealed = match state
            .key()
            .and_then(|key| keyring.seal(&state.account.address, serial, &key, &[]).map_err(|e| refused(&e)))
        {
            Ok(sealed) => sealed,
            Err(error) => {
                return Err(sealpost_proto::drive::SmtpError::Source(std::io::Error::other(error)));
            }
        };
        session.home.session().put_keyring(replaces, &sealed).await?;
        if let Some(own) = &mut state.trust.own {
            own.serial = serial;
            own.dirty = false;
        }
        state.trust.reset_domains.clear();
        Ok(())
    }
}

/// Whether a keyring has more readers than its owner's key.
fn is_for_kit(sealed: &[u8]) -> bool {
    seal::stanzas_of_bytes(sealed).is_ok_and(|stanzas| stanzas.len() > 1)
}

fn refused(error: &keyring::KeyringError) -> ClientError {
    ClientError::Refused(format!("the keyring could not be made: {error}"))
}

fn next_serial(state: &State) -> u64 {
    state.trust.own.as_ref().map_or(0, |own| own.serial).saturating_add(1)
}

/// Who may have signed it: the current key, those whose seeds are at hand, and those the chain links to the current
/// one. A key from before a `previous: none` is none of these.
fn signers(state: &State, chain: &Chain) -> Vec<PublicKey> {
    let mut signers: Vec<PublicKey> = state.secrets.identities().iter().map(SecretKey::public).collect();
    if let Some(current) = state.secrets.current_public() {
        for (key, _) in facts::retired(chain, &current) {
            if !signers.contains(&key) {
                signers.push(key);
            }
        }
    }
    signers
}

/// What this device knows, as a keyring.
pub(crate) fn export(state: &State) -> Result<Keyring, ClientError> {
    let mut keyring = Keyring::default();
    for retired in &state.secrets.retired {
        keyring.retired.push(keyring::Retired::new(retired.key(), retired.from, retired.until));
    }
    for (address, pin) in &state.trust.pins {
        keyring.pins.insert(address.clone(), keyring::Pin::new(pin.key.clone(), pin.since, pin.signs));
    }
    for (domain, keywords) in &state.trust.domains {
        if let Ok(domain) = Domain::parse(domain) {
            keyring.domains.insert(domain, keywords.clone());
        }
    }
    for (name, seen, at) in state.memory.newest(EXPORTED_MAX)? {
        match seen {
            Seen::Payload(sha256) => {
                keyring.replay.insert(name, FirstPayload { sha256, first_seen: at });
            }
            Seen::Input => {
                keyring.seen.insert(name, at);
            }
        }
    }
    keyring.recovery =
        state.trust.recovery.as_ref().map(|r| keyring::Recovery { key: r.key.clone(), since: r.since });
    Ok(keyring)
}

/// Merges `theirs` with what this device knows, takes the result over, and returns it with everything that only the
/// keyring holds.
pub(crate) fn merge(state: &mut State, mut theirs: Keyring, now: Timestamp) -> Result<Keyring, ClientError> {
    let mut keyring = export(state)?;
    let trust = &state.trust;
    theirs.pins.retain(|address, pin| trust.forgotten.get(address).is_none_or(|at| pin.since > at.0));
    theirs.domains.retain(|domain, _| !trust.reset_domains.contains(domain.as_str()));
    keyring.merge(theirs, |address, ours, theirs| choose(trust, address, ours, theirs, now));
    import(state, &mut keyring)?;
    Ok(keyring)
}

/// Which of two pins: the one the statement chain leads to; without a chain the later one, since only the user's own
/// word (`contact accept`) replaces a pin without one.
fn choose(
    trust: &Trust,
    address: &Address,
    ours: &keyring::Pin,
    theirs: &keyring::Pin,
    now: Timestamp,
) -> Keep {
    let chain = trust.observations.get(address).map(|o| o.chain(address, now)).unwrap_or_default();
    if chain.leads(&ours.key, &theirs.key) {
        Keep::Theirs
    } else if chain.leads(&theirs.key, &ours.key) || ours.since >= theirs.since {
        Keep::Ours
    } else {
        Keep::Theirs
    }
}

fn import(state: &mut State, keyring: &mut Keyring) -> Result<(), ClientError> {
    let current = state.secrets.current_public();
    for retired in &keyring.retired {
        let public = retired.key.public();
        if Some(&public) != current.as_ref() && !state.secrets.has_retired(&public) {
            state.secrets.retired.push(RetiredSeed::new(&retired.key, retired.from, retired.until));
        }
    }
    state.secrets.retired.sort_by_key(|r| (r.until, r.from));
    let trust = &mut state.trust;
    trust.recovery = keyring.recovery.as_ref().map(|r| RecoveryMark { key: r.key.clone(), since: r.since });
    for (address, pin) in &keyring.pins {
        match trust.pins.get_mut(address) {
            Some(ours) if ours.key == pin.key => {
                ours.since = ours.since.min(pin.since);
                ours.signs |= pin.signs;
            }
            ours => {
                let pin = Pin {
                    signs: pin.signs,
                    ..Pin::new(pin.key.clone(), pin.since, Learnt::Keyring, ours.as_deref())
                };
                trust.pins.insert(address.clone(), pin);
            }
        }
    }
    for (domain, keywords) in &keyring.domains {
        trust.domains.entry(domain.as_str().to_owned()).or_default().extend(keywords.iter().cloned());
    }
    // What is older than what was exported may be known here all the same, and then the earlier moment is the right one.
    for (name, payload) in &mut keyring.replay {
        let learnt = state.memory.learn(name, Seen::Payload(payload.sha256), payload.first_seen)?;
        if let Seen::Payload(sha256) = learnt.seen {
            *payload = FirstPayload { sha256, first_seen: learnt.at };
        }
    }
    for (name, moment) in &mut keyring.seen {
        *moment = state.memory.learn(name, Seen::Input, *moment)?.at;
    }
    Ok(())
}
