//! A session with the home server: found, bound to the domain or confirmed by the user, signed in, and the account
//! compared with what this device remembers (profile §7, §9).

use crate::{
    client::Client,
    compose::ComposeError,
    error::ClientError,
    secrets::{Credentials, RetiredSeed},
    state::State,
    submit::{Found, Home, HomeError},
    trust::Own,
    ui::Question,
};
use sealpost_crypto::key::SecretKey;
use sealpost_lookup::{Binding, Keyword, Lookup};
use sealpost_proto::{
    address::{Address, Mailbox},
    drive::{ChainAnswer, PubkeyAnswer, SmtpError},
    key::PublicKey,
    phc::Salt,
    statement::{Chain, LIFE_SECONDS, SignedStatement, Statement},
};

/// A signed-in session with the home server.
pub(crate) struct Session {
    pub home: Home,
    /// The key salt as the server told it.
    pub key_salt: Salt,
}

/// What the home server publishes for the own address.
pub(crate) struct PublishedKey {
    pub key: Option<PublicKey>,
    pub chain: Chain,
}

impl Client {
    /// Connects to the home server. A name that nothing ties to the domain is shown and confirmed once; no login hash
    /// leaves before that.
    pub(crate) async fn connect(&self, state: &mut State, lookup: &Lookup) -> Result<Home, ClientError> {
        let address = state.account.address.clone();
        let found = Found::connect(lookup, &address.domain()).await.map_err(|e| match e {
            HomeError::Smtp { server, error } => named(&server, error),
            e @ HomeError::Lookup(_) => {
                ClientError::Away(format!("the mail server of {address} could not be found: {e}"))
            }
        })?;
        match found.if_bound() {
            Ok(home) => Ok(home),
            Err(unbound) => {
                let host = unbound.host().clone();
                self.confirm_server(state, &host.name, &host.binding)?;
                Ok(unbound.confirmed())
            }
        }
    }

    /// The binding rule of profile §8 for one's own servers.
    pub(crate) fn confirm_server(
        &self,
        state: &mut State,
        name: &str,
        binding: &Binding,
    ) -> Result<(), ClientError> {
        let Binding::None(reason) = binding else { return Ok(()) };
        if state.account.confirmed_servers.iter().any(|known| known == name) {
            return Ok(());
        }
        let address = state.account.address.clone();
        let question = Question::HomeServer {
            address: address.clone(),
            server: name.to_owned(),
            reason: reason.clone(),
        };
        if !self.env.ui.confirm(&question) {
            return Err(ClientError::Decide(format!(
                "the mail server of {address} is called {name}, and nothing ties that name to {} ({reason}). Nothing \
                 was sent to it. If it is right, run `sealpost login {address}` on a terminal and confirm it",
                address.domain()
            )));
        }
        state.account.confirmed_servers.push(name.to_owned());
        state.locked.write(&state.account)
    }

    /// Signs in as a known device, settles what a command that was cut off left open, and compares.
    pub(crate) async fn sign_in(&self, state: &mut State, lookup: &Lookup) -> Result<Session, ClientError> {
        let current =
            state.secrets.current.clone().ok_or_else(|| ClientError::NoAccount(self.settings.dir.clone()))?;
        let address = state.account.address.clone();
        let mut home = self.connect(state, lookup).await?;
        // After a lost reply the new password comes first (profile §5, XPASSWD).
        if let Some(pending) = state.secrets.pending.clone()
            && pending.challenge() != current.challenge()
        {
            match home.session().authenticate_hashed_pass(&address, &pending.login_hash()).await {
                Ok(key_salt) => {
                    let mut session = Session { home, key_salt };
                    self.settle(state, &mut session).await?;
                    return Ok(session);
                }
                Err(SmtpError::Refused(refusal)) if refusal.reply.code() == 535 => {
                    // 535 leaves the session open, but a new one owes nothing to what went before.
                    home.quit().await;
                    home = self.connect(state, lookup).await?;
                }
                Err(error) => return Err(smtp(error)),
            }
        }
        let key_salt = match home.session().authenticate_hashed_pass(&address, &current.login_hash()).await {
            Ok(key_salt) => key_salt,
            Err(SmtpError::Refused(refusal)) if refusal.reply.code() == 535 => {
                return Err(ClientError::SignIn(format!(
                    "{} did not take this device's login for {address}. If the password was changed on another \
                     device, run `sealpost login {address}`",
                    home.host().name
                )));
            }
            Err(error) => return Err(smtp(error)),
        };
        let mut session = Session { home, key_salt };
        self.settle(state, &mut session).await?;
        Ok(session)
    }

    /// Compares key and salt with what this device remembers (profile §9), after a command that was cut off may have
    /// changed them.
    async fn settle(&self, state: &mut State, session: &mut Session) -> Result<(), ClientError> {
        let published = session.published(&state.account.address, self).await?;
        if let Some(pending) = state.secrets.pending.take() {
            let key = pending.key.as_ref().map(|seed| seed.key().public());
            if key.is_some() && key == published.key {
                self.adopt(state, pending, &published.chain)?;
                self.env.ui.say("the change that was cut off last time had taken effect");
            }
            // Else the server never took it, and its salt is gone with the session that asked for it.
            state.save()?;
        }
        let address = &state.account.address;
        let remembered = state.secrets.current_public();
        let salt = state.secrets.current.as_ref().and_then(|c| c.key.as_ref()).map(|seed| &seed.salt);
        if published.key == remembered && salt == Some(&session.key_salt) {
            // Another device may have renewed the statement.
            let newest = published.chain.statements().first();
            if let (Some(own), Some(newest)) = (&mut state.trust.own, newest)
                && Some(&newest.statement().key) == remembered.as_ref()
            {
                own.set_statement(newest);
            }
            return Ok(());
        }
        let led = match (&remembered, &published.key) {
            (Some(remembered), Some(now)) => published.chain.leads(remembered, now) && remembered != now,
            _ => false,
        };
        if led {
            return Err(ClientError::Decide(format!(
                "the key of {address} was changed on another device of yours, and signed for by the one known here. \
                 Run `sealpost login {address}` to take it over"
            )));
        }
        let what = match &published.key {
            Some(key) if Some(key) == remembered.as_ref() => "tells another key salt than before".to_owned(),
            Some(key) => format!(
                "now publishes the key {} for it, which no statement of yours explains",
                key.fingerprint()
            ),
            None => "publishes no key for it any more".to_owned(),
        };
        Err(ClientError::Decide(format!(
            "{} {what}. Unless you yourself set up {address} anew, take this for an attack: nothing was sent. If it \
             was you, run `sealpost login {address}` and confirm it",
            session.home.host().name
        )))
    }

    /// Takes over credentials that are in force now; the key before them becomes a retired one.
    pub(crate) fn adopt(
        &self,
        state: &mut State,
        credentials: Credentials,
        chain: &Chain,
    ) -> Result<(), ClientError> {
        let now = self.env.clock.now();
        let key = credentials
            .key
            .as_ref()
            .map(crate::secrets::Seed::key)
            .ok_or_else(|| ClientError::Refused("there is no key to take over".to_owned()))?;
        let public = key.public();
        let old = state.secrets.current.replace(credentials);
        if let Some(old) = old.and_then(|c| c.key).map(|seed| seed.key())
            && old.public() != public
        {
            let until = chain.retired_at(&old.public()).unwrap_or(now);
            let from = in_force_since(state, chain, &old.public()).unwrap_or(until);
            state.secrets.retire(&old, from, until);
        }
        state.secrets.retired.retain(|r: &RetiredSeed| r.key().public() != public);
        state.secrets.pending = None;
        let published = chain.statements().iter().find(|s| s.statement().key == public);
        let statement = match published {
            Some(statement) => statement.clone(),
            // A server without XSEALPOST keeps no statements; ours stands for the dates.
            None => self.first_statement(&state.account.address, &key, chain)?,
        };
        match &mut state.trust.own {
            Some(own) => own.set_statement(&statement),
            None => state.trust.own = Some(Own::new(&statement, now)),
        }
        Ok(())
    }

    /// A statement that starts a chain (`previous: none`), dated not before what is stored already.
    pub(crate) fn first_statement(
        &self,
        address: &Address,
        key: &SecretKey,
        chain: &Chain,
    ) -> Result<SignedStatement, ClientError> {
        self.statement(vec![address.clone()], key, None, chain)
    }

    /// A statement about `key`, signed by it and by `previous`.
    pub(crate) fn statement(
        &self,
        addresses: Vec<Address>,
        key: &SecretKey,
        previous: Option<&SecretKey>,
        chain: &Chain,
    ) -> Result<SignedStatement, ClientError> {
        let now = self.env.clock.now();
        // `created` never goes back, even where this machine's clock does.
        let created = chain.newest().map_or(now, |newest| newest.created.max(now));
        let statement = Statement {
            addresses,
            key: key.public(),
            created,
            expires: created.plus(LIFE_SECONDS),
            previous: previous.map(SecretKey::public),
        };
        sign(key, &statement, previous)
    }
}

/// Signs, whichever way the crypto crate reports a wrong signer.
pub(crate) fn sign(
    key: &SecretKey,
    statement: &Statement,
    previous: Option<&SecretKey>,
) -> Result<SignedStatement, ClientError> {
    key.sign_statement(statement, previous).map_err(|e| ClientError::Refused(e.to_string()))
}

/// Since when a key of one's own was in force.
pub(crate) fn in_force_since(
    state: &State,
    chain: &Chain,
    key: &PublicKey,
) -> Option<sealpost_proto::time::Timestamp> {
    let of_chain = chain.statements().iter().map(SignedStatement::statement).filter(|s| s.key == *key);
    of_chain.map(|s| s.created).min().or_else(|| {
        let own = state.trust.own.as_ref()?.statement()?;
        (own.statement().key == *key).then(|| own.statement().created)
    })
}

impl Session {
    /// Whether the server keeps statements, keyrings and the rest of `XSEALPOST 1`.
    pub(crate) fn has_sealpost(&self) -> bool {
        has_sealpost(&self.home)
    }
    /// What is published for the own address, asked in this session.
    pub(crate) async fn published(
        &mut self,
        address: &Address,
        client: &Client,
    ) -> Result<PublishedKey, ClientError> {
        published(&mut self.home, address, client).await
    }
}

/// What the home server publishes for its own user.
pub(crate) async fn published(
    home: &mut Home,
    address: &Address,
    client: &Client,
) -> Result<PublishedKey, ClientError> {
    let mailbox = mailbox(address)?;
    let chain = chains(home, std::slice::from_ref(&mailbox), client).await?.remove(0);
    let answer = home.session().pubkeys(std::slice::from_ref(&mailbox)).await.map_err(smtp)?.remove(0);
    let chain = chain.map_err(|reason| {
        ClientError::Refused(format!(
            "the key statements that your server keeps for {address} are wrong: {reason}"
        ))
    })?;
    let key = match answer {
        PubkeyAnswer::Key(key) => Some(key),
        PubkeyAnswer::NoKey => None,
        PubkeyAnswer::BadKey(e) => {
            return Err(ClientError::Refused(format!(
                "your server publishes an unusable key for {address}: {e}"
            )));
        }
        PubkeyAnswer::Failed(reply) => {
            return Err(ClientError::Later(format!(
                "your server did not tell the key of {address}: {reply}"
            )));
        }
    };
    Ok(PublishedKey { key, chain })
}

/// The statement chains of `mailboxes`, one result each; empty ones where the server keeps none.
async fn chains(
    home: &mut Home,
    mailboxes: &[Mailbox],
    client: &Client,
) -> Result<Vec<Result<Chain, String>>, ClientError> {
    if !has_sealpost(home) {
        return Ok(mailboxes.iter().map(|_| Ok(Chain::default())).collect());
    }
    let now = client.env.clock.now();
    let answers = home.session().key_infos(mailboxes).await.map_err(smtp)?;
    let checked = answers.into_iter().zip(mailboxes).map(|(answer, mailbox)| match answer {
        ChainAnswer::Statements(statements) => {
            Chain::check(statements, &mailbox.canonical(), now).map_err(|e| e.to_string())
        }
        ChainAnswer::BadStatement(e) => Err(e.to_string()),
        ChainAnswer::Failed(reply) => Err(reply.to_string()),
    });
    Ok(checked.collect())
}

fn has_sealpost(home: &Home) -> bool {
    home.keywords().contains(&Keyword::Sealpost)
}

/// A canonical address as a mailbox to ask for.
pub(crate) fn mailbox(address: &Address) -> Result<Mailbox, ClientError> {
    Mailbox::parse(address.as_str()).map_err(|e| ClientError::Refused(format!("{address}: {e}")))
}

/// One's own address that a message is From: the chosen one, else the primary one.
pub(crate) fn own_mailbox(state: &State, chosen: Option<Mailbox>) -> Result<Mailbox, ClientError> {
    match chosen {
        None => mailbox(&state.account.address),
        Some(chosen) if chosen.canonical().is_of(&state.own_keys().addresses) => Ok(chosen),
        Some(chosen) => Err(ComposeError::NotYours(chosen.to_string()).into()),
    }
}

/// An error of a conversation, by what the user can do about it.
#[allow(clippy::needless_pass_by_value, reason = "goes to `map_err`")]
pub(crate) fn smtp(error: SmtpError) -> ClientError {
    let text = error.to_string();
    match &error {
        SmtpError::Refused(refusal) => match refusal.reply.code() {
            535 => ClientError::SignIn(text),
            400..=499 => ClientError::Later(format!("{text}; try again later")),
            _ => ClientError::Refused(text),
        },
        SmtpError::Io(_) | SmtpError::Closed(_) | SmtpError::Timeout(_) | SmtpError::OutOfStep => {
            ClientError::Away(format!("{text}; try again"))
        }
        // What TLS itself finds wrong is `InvalidData`. All else is a connection that broke during the handshake, which
        // says nothing about the server but that it was not there.
        SmtpError::Tls(broken) if broken.kind() != std::io::ErrorKind::InvalidData => {
            ClientError::Away(format!("the connection broke during the TLS handshake: {broken}; try again"))
        }
        _ => ClientError::Refused(text),
    }
}

/// The same with the server's name.
fn named(server: &str, error: SmtpError) -> ClientError {
    match smtp(error) {
        ClientError::Later(text) => ClientError::Later(format!("{server}: {text}")),
        ClientError::Away(text) => ClientError::Away(format!("{server}: {text}")),
        ClientError::Refused(text) => ClientError::Refused(format!("{server}: {text}")),
        other => other,
    }
}

/// Whether the server may have carried out a command although its answer never came.
pub(crate) fn is_lost_reply(error: &SmtpError) -> bool {
    matches!(error, SmtpError::Io(_) | SmtpError::Closed(_) | SmtpError::Timeout(_) | SmtpError::OutOfStep)
        || error.code() == Some(421)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Error, ErrorKind};

    #[test]
    fn a_handshake_that_broke_off_is_tried_again_and_one_that_failed_is_not() {
        for kind in [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe] {
            assert_eq!(smtp(SmtpError::Tls(Error::from(kind))).exit_code(), 5, "{kind:?}");
        }
        let untrusted = Error::new(ErrorKind::InvalidData, "invalid peer certificate: UnknownIssuer");
        assert_eq!(smtp(SmtpError::Tls(untrusted)).exit_code(), 1);
    }
}
