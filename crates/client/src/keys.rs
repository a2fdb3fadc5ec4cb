//! `key …`: one's own keys, and what a server says of somebody's key.

use crate::{
    client::{AccountReport, Client},
    error::ClientError,
    folder::Folder,
    lookups::{Found, translate},
    session::{Session, published, sign, smtp},
    state::{Account, Snapshot, State},
    trust::{
        Own, Trust,
        policy::{Answer, Source, ends_soon},
    },
};
use sealpost_crypto::words::fingerprint_words;
use sealpost_lookup::{Binding, Keyword, Lookup, ServerHost};
use sealpost_proto::{
    address::{Address, Mailbox},
    key::PublicKey,
    statement::{Chain, LIFE_SECONDS, Statement},
    time::Timestamp,
};
use zeroize::Zeroizing;

/// One's own key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyReport {
    /// The account's primary address.
    pub address: Address,
    /// The key.
    pub key: PublicKey,
    /// `SHA256:…`
    pub fingerprint: String,
    /// Twelve words to read aloud.
    pub words: String,
    /// `created` of its statement.
    pub created: Timestamp,
    /// `expires` of its statement.
    pub expires: Timestamp,
    /// The addresses it speaks for.
    pub addresses: Vec<Address>,
    /// Retired keys at hand, newest first.
    pub retired: Vec<RetiredReport>,
}

/// A retired key of one's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetiredReport {
    /// The key.
    pub key: PublicKey,
    /// `SHA256:…`
    pub fingerprint: String,
    /// In force from.
    pub from: Timestamp,
    /// Retired at.
    pub until: Timestamp,
}

/// A private key on its way to a file. Holds a secret: no `Debug`.
pub struct ExportedKey {
    /// The public half.
    pub key: PublicKey,
    /// Whether it is the current one.
    pub current: bool,
    /// `-----BEGIN OPENSSH PRIVATE KEY-----…`
    pub pem: Zeroizing<String>,
}

/// What the address's own server says now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupReport {
    /// As asked.
    pub address: Mailbox,
    /// Who answered.
    pub server: String,
    /// Whether the server's name is bound to the domain.
    pub authenticated: bool,
    /// How it is bound, or why it is not, in words.
    pub binding: String,
    /// Keywords the server offers.
    pub keywords: Vec<Keyword>,
    /// The answer.
    pub published: Published,
    /// The key pinned for this address.
    pub pinned: Option<PublicKey>,
    /// How the two compare, and whatever else must be said, in words.
    pub notes: Vec<String>,
}

/// What is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// A key.
    Key {
        /// The key.
        key: PublicKey,
        /// `SHA256:…`
        fingerprint: String,
        /// Twelve words.
        words: String,
        /// `created` and `expires` of its statement, where it has one.
        statement: Option<(Timestamp, Timestamp)>,
    },
    /// 550: no such user, or no key.
    NoKey,
    /// No definite answer; says why.
    Failed(String),
}

/// The own key as reports show it.
pub(crate) fn key_report(snapshot: &Snapshot) -> Result<KeyReport, ClientError> {
    let Snapshot { account, secrets, trust } = snapshot;
    let key = secrets.current_public();
    let own = trust.own.as_ref().and_then(Own::statement);
    let (Some(key), Some(statement)) = (key, own) else {
        return Err(ClientError::Refused(format!(
            "this folder's files do not fit together; run `sealpost login {}`",
            account.address
        )));
    };
    let statement = statement.statement();
    let retired = secrets.retired.iter().rev().map(|r| {
        let key = r.key().public();
        RetiredReport { fingerprint: key.fingerprint(), key, from: r.from, until: r.until }
    });
    Ok(KeyReport {
        address: account.address.clone(),
        fingerprint: key.fingerprint(),
        words: fingerprint_words(&key),
        key,
        created: statement.created,
        expires: statement.expires,
        addresses: statement.addresses.clone(),
        retired: retired.collect(),
    })
}

/// How the own statement stands after a look at it.
enum Renewal {
    /// It is not due, or was renewed.
    Current,
    /// The server keeps none.
    NoStatements,
}

impl Client {
    /// Says goodbye and reports.
    pub(crate) async fn account_report(
        &self,
        state: State,
        session: Session,
        notes: Vec<String>,
    ) -> Result<AccountReport, ClientError> {
        let server = session.home.host().name.clone();
        session.home.quit().await;
        let State { locked: _locked, account, secrets, trust, .. } = state;
        let snapshot = Snapshot { account, secrets, trust };
        Ok(AccountReport {
            key: key_report(&snapshot)?,
            server,
            retired_keys: snapshot.secrets.retired.len(),
            contacts: snapshot.trust.pins.len(),
            waits_for_kit: snapshot.trust.waits_for_kit,
            notes,
        })
    }

    /// The end of a command that was online: renews the own statement in the last half of its life, brings the keyring
    /// up to date, says goodbye, saves.
    pub(crate) async fn finish(
        &self,
        mut state: State,
        lookup: &Lookup,
        mut session: Option<Session>,
    ) -> Result<(), ClientError> {
        // What was learnt is safe first, whatever the network does now.
        state.save()?;
        match self.renew(&mut state, lookup, &mut session).await {
            Ok(Renewal::NoStatements) => {}
            Ok(Renewal::Current) => self.remind(&state.account, &state.trust),
            Err(error) => {
                self.env
                    .ui
                    .say(&format!("your key statement could not be renewed; a later command will ({error})"));
                self.remind(&state.account, &state.trust);
            }
        }
        self.sync_keyring(&mut state, lookup, &mut session).await;
        if let Some(session) = session {
            session.home.quit().await;
        }
        state.save()
    }

    /// What lies in the folder, for a command that asks nobody; the end of the own key is said where it is near.
    pub(crate) fn snapshot(&self) -> Result<Snapshot, ClientError> {
        let snapshot = Snapshot::load(self)?;
        // Where the server keeps no keyring it keeps no statements either, and nobody sees an end.
        if snapshot.trust.own.as_ref().is_some_and(|own| own.serial > 0) {
            self.remind(&snapshot.account, &snapshot.trust);
        }
        Ok(snapshot)
    }

    /// Statements are renewed a year before they end, so one that is about to end could not be.
    fn remind(&self, account: &Account, trust: &Trust) {
        let now = self.env.clock.now();
        let Some(own) = trust.own.as_ref().and_then(Own::statement) else { return };
        let expires = own.statement().expires;
        if !ends_soon(expires, now) {
            return;
        }
        let when = if expires <= now { "expired" } else { "expires" };
        self.env.ui.say(&format!(
            "your key {when} on {}, after which nobody seals to it. A command that reaches the mail server of {} renews it, \
             and none has for a year: run `sealpost list`, and if the renewal fails again, show what it says to the \
             server's administrator",
            expires.to_rfc3339(),
            account.address
        ));
    }

    /// Renews the statement of the own key: same key and previous, later times (profile §9).
    async fn renew(
        &self,
        state: &mut State,
        lookup: &Lookup,
        session: &mut Option<Session>,
    ) -> Result<Renewal, ClientError> {
        let Some(own) = state.trust.own.as_ref().and_then(Own::statement) else {
            return Ok(Renewal::NoStatements);
        };
        let own = own.statement().clone();
        let now = self.env.clock.now();
        if !is_renewal_due(&own, now) {
            return Ok(Renewal::Current);
        }
        let session = match session {
            Some(session) => session,
            None => session.insert(self.sign_in(state, lookup).await?),
        };
        if !session.has_sealpost() {
            return Ok(Renewal::NoStatements);
        }
        // The newest one may be another device's.
        let there = published(&mut session.home, &state.account.address, self).await?;
        let Some(newest) = there.chain.newest().filter(|s| s.key == own.key) else {
            return Err(ClientError::Refused("the server keeps no statement of the key in force".to_owned()));
        };
        if !is_renewal_due(newest, now) {
            return Ok(Renewal::Current);
        }
        let identities = state.secrets.identities();
        let previous = match &newest.previous {
            None => None,
            Some(key) => Some(identities.iter().find(|i| i.public() == *key).ok_or_else(|| {
                ClientError::Refused(format!(
                    "it needs the retired key {}, which is not at hand on this device",
                    key.fingerprint()
                ))
            })?),
        };
        let renewed = Statement { created: now, expires: now.plus(LIFE_SECONDS), ..newest.clone() };
        let renewed = sign(&state.key()?, &renewed, previous)?;
        match session.home.session().set_key(&own.key, Some(&renewed)).await {
            Ok(()) => {
                if let Some(own) = &mut state.trust.own {
                    own.set_statement(&renewed);
                }
                self.env.ui.say("your key statement was renewed for two years");
                Ok(Renewal::Current)
            }
            Err(error) => Err(smtp(error)),
        }
    }

    pub(crate) fn show_key(&self) -> Result<KeyReport, ClientError> {
        key_report(&self.snapshot()?)
    }

    pub(crate) fn export_keys(&self, all: bool) -> Result<Vec<ExportedKey>, ClientError> {
        let Snapshot { account, secrets, .. } = Snapshot::load(self)?;
        let current = secrets.current_public();
        let exported = secrets.identities().into_iter().map(|key| {
            let public = key.public();
            let current = Some(&public) == current.as_ref();
            let comment =
                if current { account.address.to_string() } else { format!("{} (retired)", account.address) };
            ExportedKey { pem: key.to_openssh_pem(&comment), key: public, current }
        });
        Ok(exported.take(if all { usize::MAX } else { 1 }).collect())
    }

    /// Looks up without trusting or storing anything. Works in an empty folder too.
    pub(crate) async fn lookup_key(&self, mailbox: &Mailbox) -> Result<LookupReport, ClientError> {
        let address = mailbox.canonical();
        if Folder::new(&self.settings.dir).read::<Account>()?.is_some() {
            let mut state = State::load(self).await?;
            let lookup = state.account.lookup(self)?;
            let mut session = None;
            let pinned = state.trust.pins.get(&address).map(|p| p.key.clone());
            let found = self.look_up(&mut state, &lookup, &mut session, std::slice::from_ref(mailbox)).await;
            if let Some(session) = session {
                session.home.quit().await;
            }
            let found = found.into_iter().next().ok_or_else(|| {
                ClientError::Later(format!("the key of {address} could not be looked up; try again later"))
            })?;
            // `look_up` follows chains; only in memory here, since nothing is saved.
            return Ok(lookup_report(&found, pinned, self.env.clock.now()));
        }
        let lookup = Account::new(address.clone(), &self.settings)?.lookup(self)?;
        let answer = lookup
            .keys(&mailbox.domain(), std::slice::from_ref(mailbox))
            .await
            .map_err(|e| ClientError::Later(format!("{e}; try again later")))?;
        let source = Source::Direct {
            server: answer.host.name.clone(),
            unbound: unbound(&answer.host),
            keywords: answer.keywords,
        };
        let (mailbox, answer) = answer.answers.into_iter().next().ok_or_else(|| {
            ClientError::Later(format!("the key of {address} could not be looked up; try again later"))
        })?;
        let found = Found { mailbox, source, answer: translate(answer) };
        Ok(lookup_report(&found, None, self.env.clock.now()))
    }
}

fn unbound(host: &ServerHost) -> Option<String> {
    match &host.binding {
        Binding::None(reason) => Some(reason.clone()),
        _ => None,
    }
}

fn is_renewal_due(statement: &Statement, now: Timestamp) -> bool {
    now.0 >= statement.created.0 + (statement.expires.0 - statement.created.0) / 2
}

/// What a look-up says, next to what is pinned.
pub(crate) fn lookup_report(found: &Found, pinned: Option<PublicKey>, now: Timestamp) -> LookupReport {
    let address = found.mailbox.canonical();
    let (server, authenticated, binding, keywords) = match &found.source {
        Source::Direct { server, unbound: None, keywords } => (
            server,
            true,
            format!("{server} is bound to {}", address.domain()),
            keywords.iter().copied().collect(),
        ),
        Source::Direct { server, unbound: Some(reason), keywords } => (
            server,
            false,
            format!("nothing ties {server} to {}: {reason}", address.domain()),
            keywords.iter().copied().collect(),
        ),
        Source::Home { server } => {
            (server, false, format!("passed on by {server}, which could say anything"), Vec::new())
        }
    };
    let mut notes = Vec::new();
    let published = match &found.answer {
        Answer::Key(key, chain) => {
            notes.extend(compare(&address, pinned.as_ref(), key, chain, now));
            let of_key = chain.newest().filter(|s| s.key == *key);
            Published::Key {
                key: key.clone(),
                fingerprint: key.fingerprint(),
                words: fingerprint_words(key),
                statement: of_key.map(|s| (s.created, s.expires)),
            }
        }
        Answer::NoKey => {
            if pinned.is_some() {
                notes.push(format!(
                    "a key was known for {address} before; take a key that vanishes for an attack"
                ));
            }
            Published::NoKey
        }
        Answer::Failed(reason) => Published::Failed(reason.clone()),
    };
    LookupReport {
        address: found.mailbox.clone(),
        server: server.clone(),
        authenticated,
        binding,
        keywords,
        published,
        pinned,
        notes,
    }
}

fn compare(
    address: &Address,
    pinned: Option<&PublicKey>,
    key: &PublicKey,
    chain: &Chain,
    now: Timestamp,
) -> Vec<String> {
    let mut notes = Vec::new();
    match pinned {
        None => notes.push(format!("{address} is no contact of yours yet")),
        Some(pinned) if pinned == key => notes.push(format!("this is the key known for {address}")),
        Some(pinned) if chain.leads(pinned, key) => {
            notes.push(format!(
                "the key known for {address}, {}, has signed for this one",
                pinned.fingerprint()
            ));
        }
        Some(pinned) => notes.push(format!(
            "this is NOT the key known for {address}, {}, and no signed statement explains it",
            pinned.fingerprint()
        )),
    }
    match chain.newest() {
        Some(newest) if newest.key != *key => {
            notes.push("its statements are about another key: it was set without one".to_owned());
        }
        Some(newest) if chain.is_expired(now) => {
            notes.push(format!("it expired on {}", newest.expires.to_rfc3339()));
        }
        Some(_) => {}
        None => notes.push("it has no statement, so a change of it cannot be signed for".to_owned()),
    }
    notes
}

/// Whether a fingerprint as people write it (with or without `SHA256:`, padding cut) is that of `key`.
pub(crate) fn is_fingerprint(text: &str, key: &PublicKey) -> bool {
    let plain = |text: &str| text.trim().trim_start_matches("SHA256:").trim_end_matches('=').to_owned();
    !plain(text).is_empty() && plain(text) == plain(&key.fingerprint())
}

/// The pin of a contact, by any spelling of its address.
pub(crate) fn pin_of<'a>(
    trust: &'a Trust,
    mailbox: &Mailbox,
) -> Option<(Address, &'a crate::trust::pins::Pin)> {
    let address = mailbox.canonical();
    trust.pins.get(&address).map(|pin| (address, pin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealpost_crypto::key::SecretKey;

    #[test]
    fn fingerprints_are_taken_as_people_copy_them_and_only_whole() {
        let key = SecretKey::from_seed([1; 32]).public();
        let whole = key.fingerprint();
        let bare = whole.strip_prefix("SHA256:").expect("OpenSSH's form");
        for good in [whole.as_str(), bare, &format!(" {whole}\n"), &format!("{whole}=")] {
            assert!(is_fingerprint(good, &key), "{good:?}");
        }
        let other = SecretKey::from_seed([2; 32]).public().fingerprint();
        for bad in ["", "SHA256:", "=", &bare[..42], &bare.to_lowercase(), &other, &format!("{whole}x")] {
            assert!(!is_fingerprint(bad, &key), "{bad:?}");
        }
    }

    #[test]
    fn r05_renewal_is_due_in_the_last_half_of_a_statements_life() {
        let created = Timestamp(1_795_469_760);
        let statement = Statement {
            addresses: vec![Address::parse("alice@example.net").expect("an address")],
            key: SecretKey::from_seed([1; 32]).public(),
            created,
            expires: created.plus(LIFE_SECONDS),
            previous: None,
        };
        for (seconds, due) in
            [(0, false), (LIFE_SECONDS / 2 - 1, false), (LIFE_SECONDS / 2, true), (LIFE_SECONDS + 1, true)]
        {
            assert_eq!(is_renewal_due(&statement, created.plus(seconds)), due, "{seconds}");
        }
    }
}
