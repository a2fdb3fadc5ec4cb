//! `recovery …`: a page in a drawer that brings everything back after a forgotten password (profile §9).
//!
//! The page holds a random key. Its public half stands in the keyring, so that every device seals to it as well whenever
//! it writes one; it is known to no server, which could otherwise plant what the kit opens. The keyring then also holds
//! the key in force, for no other thing can make it again once the password is gone. After enrolment with a new code the
//! old keyring stays on the server as it is, until the kit opens it or its owner gives it up.

pub mod page;

use crate::{
    client::Client,
    error::ClientError,
    keyring_sync::{Fetched, export, merge},
    secrets::Secrets,
    session::{Session, in_force_since, smtp},
    state::{Snapshot, State},
    trust::RecoveryMark,
};
use sealpost_crypto::{
    key::SecretKey,
    keyring::{Keyring, KeyringError},
    recovery::RecoveryKey,
    seal::SealError,
};
use sealpost_lookup::Lookup;
use sealpost_proto::{
    address::Address,
    key::PublicKey,
    statement::{Chain, SignedStatement},
    time::Timestamp,
};
use sha2::{Digest as _, Sha256};

/// Attempts when another device of the same user is quicker (profile §9).
const ATTEMPTS: usize = 3;

/// Whether there is a kit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Whose.
    pub address: Address,
    /// The kit in force: its fingerprint (which stands on the page) and since when.
    pub kit: Option<(String, Timestamp)>,
    /// When the last one was revoked.
    pub revoked: Option<Timestamp>,
    /// The keyring of a forgotten password waits for its kit.
    pub waits: bool,
}

/// What a kit brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveredReport {
    /// Whose.
    pub address: Address,
    /// Keys that came back, each with the time in which it was in force, oldest first.
    pub keys: Vec<(PublicKey, Timestamp, Timestamp)>,
    /// Contacts with a known key, now.
    pub contacts: usize,
    /// What else must be said: keys of old that are still missing.
    pub notes: Vec<String>,
}

fn report(address: &Address, mark: Option<&RecoveryMark>, waits: bool) -> RecoveryReport {
    RecoveryReport {
        address: address.clone(),
        kit: mark.and_then(|m| m.key.as_ref().map(|key| (key.fingerprint(), m.since))),
        revoked: mark.filter(|m| m.key.is_none()).map(|m| m.since),
        waits,
    }
}

impl Client {
    pub(crate) fn new_recovery_key(&self) -> RecoveryKey {
        let mut octets = zeroize::Zeroizing::new([0; 16]);
        self.env.random.fill(&mut *octets);
        RecoveryKey::new(*octets)
    }

    pub(crate) fn show_recovery(&self) -> Result<RecoveryReport, ClientError> {
        let Snapshot { account, trust, .. } = self.snapshot()?;
        Ok(report(&account.address, trust.recovery.as_ref(), trust.waits_for_kit))
    }

    pub(crate) async fn make_recovery(&self, kit: &RecoveryKey) -> Result<RecoveryReport, ClientError> {
        let mut state = State::load(self).await?;
        let key = kit.key(&state.account.address).public();
        let (lookup, mut session) = self.online(&mut state).await?;
        self.mark(&mut state, &mut session, Some(key)).await?;
        let made = report(&state.account.address, state.trust.recovery.as_ref(), false);
        self.finish(state, &lookup, Some(session)).await?;
        Ok(made)
    }

    pub(crate) async fn revoke_recovery(&self, lost: bool) -> Result<RecoveryReport, ClientError> {
        let mut state = State::load(self).await?;
        let (lookup, mut session) = self.online(&mut state).await?;
        let address = state.account.address.clone();
        let chain = session.published(&address, self).await?.chain;
        match self.fetch_keyring(&mut state, &mut session, &chain).await? {
            Fetched::Unreadable { sha256, waits: true, .. } if lost => {
                self.begin_serial(&mut state);
                state.trust.recovery = Some(self.next_mark(&state, None));
                let keyring = export(&state)?;
                self.put(&mut state, &mut session, Some(sha256), &keyring).await.map_err(smtp)?;
                state.trust.waits_for_kit = false;
            }
            Fetched::Unreadable { waits: true, .. } => {
                return Err(ClientError::Decide(
                    "the keyring on the server is that of a forgotten password and waits for its recovery kit. `sealpost \
                     recovery use` opens it; if the kit is lost, `sealpost recovery revoke --lost` gives up the old mail \
                     and contacts in it for good"
                        .to_owned(),
                ));
            }
            _ if state.trust.recovery.as_ref().is_none_or(|mark| mark.key.is_none()) => {
                return Err(ClientError::Refused(format!(
                    "there is no recovery kit for {address}; `sealpost recovery make` makes one"
                )));
            }
            _ => self.mark(&mut state, &mut session, None).await?,
        }
        let revoked = report(&address, state.trust.recovery.as_ref(), false);
        self.finish(state, &lookup, Some(session)).await?;
        Ok(revoked)
    }

    /// Signed in to a server that keeps keyrings, for an account that has them.
    async fn online(&self, state: &mut State) -> Result<(Lookup, Session), ClientError> {
        if state.account.no_keyring {
            return Err(ClientError::Refused(format!(
                "{} keeps its retired keys and contacts on this device alone (--no-keyring), so there is nothing on the \
                 server that a recovery kit could open; copy this folder instead",
                state.account.address
            )));
        }
        let lookup = state.account.lookup(self)?;
        let session = self.sign_in(state, &lookup).await?;
        if !session.has_sealpost() {
            return Err(ClientError::Refused(format!(
                "{} keeps no keyrings, which a recovery kit needs; keep a copy of this folder instead",
                session.home.host().name
            )));
        }
        Ok((lookup, session))
    }

    /// The mark that counts from now on, whatever was there and whatever this machine's clock says.
    fn next_mark(&self, state: &State, key: Option<PublicKey>) -> RecoveryMark {
        let now = self.env.clock.now();
        let since = state.trust.recovery.as_ref().map_or(now, |mark| now.max(mark.since.plus(1)));
        RecoveryMark { key, since }
    }

    /// Puts a kit, or that there is none, in force: nothing is remembered here unless the server has it.
    async fn mark(
        &self,
        state: &mut State,
        session: &mut Session,
        key: Option<PublicKey>,
    ) -> Result<(), ClientError> {
        let address = state.account.address.clone();
        let chain = session.published(&address, self).await?.chain;
        // Merged first, so that the mark is later than any that another device made.
        if let Some(fault) = self.fetch_keyring(state, session, &chain).await?.fault() {
            return Err(ClientError::Refused(format!("{fault}; nothing was changed")));
        }
        state.trust.recovery = Some(self.next_mark(state, key));
        self.push_keyring(state, session).await
    }

    pub(crate) async fn use_recovery(&self, kit: &RecoveryKey) -> Result<RecoveredReport, ClientError> {
        let mut state = State::load(self).await?;
        let (lookup, mut session) = self.online(&mut state).await?;
        let address = state.account.address.clone();
        let kit = kit.key(&address);
        let before = known(&state.secrets);
        for _ in 0..ATTEMPTS {
            let chain = session.published(&address, self).await?.chain;
            let Some(sealed) = session.home.session().keyring().await.map_err(smtp)? else {
                return Err(ClientError::Refused(format!(
                    "{} keeps no keyring of {address}, so there is nothing that a kit could open. Ask its administrator \
                     for a backup of it",
                    session.home.host().name
                )));
            };
            let least = state.trust.own.as_ref().map_or(0, |own| own.serial);
            let (theirs, serial) =
                Keyring::recover(&kit, &sealed, &address, least).map_err(|e| not_recovered(&e))?;
            let keyring = self.take_over(&mut state, theirs, serial, &chain)?;
            // On the disk before anything else happens: what came back must not be lost again.
            state.save()?;
            let replaces = Sha256::digest(&sealed).into();
            match self.put(&mut state, &mut session, Some(replaces), &keyring).await {
                Ok(()) => {
                    state.trust.waits_for_kit = false;
                    let report = recovered(&state, &before, &chain);
                    self.finish(state, &lookup, Some(session)).await?;
                    return Ok(report);
                }
                Err(error) if error.code() == Some(554) => {}
                Err(error) => return Err(smtp(error)),
            }
        }
        Err(ClientError::Later(
            "another device wrote the keyring at the same time, three times over; what the kit holds is safe on this \
             device. Run the command again"
                .to_owned(),
        ))
    }

    /// Takes over what the kit opened: the key that was in force is a retired one now.
    fn take_over(
        &self,
        state: &mut State,
        mut theirs: Keyring,
        serial: u64,
        chain: &Chain,
    ) -> Result<Keyring, ClientError> {
        let now = self.env.clock.now();
        if let Some(old) = theirs.current.take() {
            let public = old.public();
            let own = state.secrets.current_public();
            let until = retired_at(chain, &public, own.as_ref()).unwrap_or(now);
            let from = in_force_since(state, chain, &public).unwrap_or(until);
            state.secrets.retire(&old, from, until);
        }
        let keyring = merge(state, theirs, now)?;
        if let Some(own) = &mut state.trust.own {
            own.serial = serial;
        }
        Ok(keyring)
    }
}

/// When a key that nothing leads away from was given up: when the chain in force began. Mail that its thief signs later
/// must not read as its owner's.
fn retired_at(chain: &Chain, old: &PublicKey, current: Option<&PublicKey>) -> Option<Timestamp> {
    let mut first = current?.clone();
    let statements = || chain.statements().iter().map(SignedStatement::statement);
    // Newest first: back along the links to the key that began it.
    for statement in statements() {
        if statement.key == first
            && let Some(previous) = &statement.previous
        {
            first = previous.clone();
        }
    }
    let began = statements().filter(|s| s.key == first).map(|s| s.created).min();
    chain.retired_at(old).or(began)
}

fn known(secrets: &Secrets) -> Vec<PublicKey> {
    secrets.identities().iter().map(SecretKey::public).collect()
}

fn recovered(state: &State, before: &[PublicKey], chain: &Chain) -> RecoveredReport {
    let keys = state
        .secrets
        .retired
        .iter()
        .map(|r| (r.key().public(), r.from, r.until))
        .filter(|(key, ..)| !before.contains(key))
        .collect();
    let known = known(&state.secrets);
    let mut missing: Vec<(PublicKey, Timestamp)> = Vec::new();
    for statement in chain.statements().iter().map(SignedStatement::statement) {
        let seen = missing.iter().any(|(key, _)| *key == statement.key);
        if !seen && !known.contains(&statement.key) {
            missing.push((statement.key.clone(), statement.created));
        }
    }
    let notes = missing.iter().map(|(key, created)| {
        format!(
            "the key {}, published since {}, is not in the keyring: mail sealed to it stays closed",
            key.fingerprint(),
            created.to_rfc3339()
        )
    });
    RecoveredReport {
        address: state.account.address.clone(),
        keys,
        contacts: state.trust.pins.len(),
        notes: notes.collect(),
    }
}

fn not_recovered(error: &KeyringError) -> ClientError {
    ClientError::Refused(match error {
        KeyringError::Seal(SealError::NotForUs) => {
            "the keyring on the server is not sealed to this kit: it was revoked or replaced by a later one, or it is \
             another account's. `sealpost recovery show` on a device that is set up names the page in force"
                .to_owned()
        }
        KeyringError::Signer => "what this kit opens was not written by a device of yours; the server may have planted it. \
             Nothing was taken over"
            .to_owned(),
        error => format!("{error}. Nothing was taken over"),
    })
}
