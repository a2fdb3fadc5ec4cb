//! `enrol`: first use of an account, with the one-time code of its administrator (profile §5 XENROL, §9).
//!
//! Crash safety: what is about to be put in force is on the disk before it is sent, so that the same command with the
//! same password goes on where it stopped: a login that the server took already is found by trying it, a key by
//! comparing it with the one published.

use crate::{
    client::{AccountReport, Client, EnrolRequest},
    error::ClientError,
    secrets::{Credentials, Seed},
    session::{PublishedKey, Session, published, smtp},
    state::State,
};
use sealpost_proto::{
    drive::SmtpError,
    phc::{Challenge, Cost, LoginPhc},
    statement::{Chain, SignedStatement},
};

impl Client {
    pub(crate) async fn enrol_account(&self, request: EnrolRequest) -> Result<AccountReport, ClientError> {
        let address = request.address.clone();
        let domain = address.domain();
        request.password.check_strength(&[address.as_str(), address.local(), domain.as_str()])?;
        let mut state = State::prepare(self, &address).await?;
        state.account.no_keyring = request.no_keyring;
        let lookup = state.account.lookup(self)?;
        let mut home = self.connect(&mut state, &lookup).await?;

        let (login, resumed) = self.enrolment_login(&state, &request).await?;
        state.secrets.pending = Some(Credentials::new(&login, None));
        state.save()?;
        let signed_in = if resumed {
            match home.session().authenticate_hashed_pass(&address, &login.hash).await {
                Ok(key_salt) => Some(key_salt),
                Err(SmtpError::Refused(refusal)) if refusal.reply.code() == 535 => None,
                // Whether the server took the login is still not known, and if it did, the code is used up.
                Err(error) => return Err(smtp(error)),
            }
        } else {
            None
        };
        let key_salt = if let Some(key_salt) = signed_in {
            key_salt
        } else {
            if resumed {
                // Whatever the failed attempt left behind, the code deserves a clean session.
                home.quit().await;
                home = self.connect(&mut state, &lookup).await?;
            }
            home.session().enrol(&address, &request.code, &login).await.map_err(|error| match &error {
                SmtpError::Refused(refusal) if refusal.reply.code() == 535 => ClientError::SignIn(format!(
                    "{} did not take the enrolment code for {address}: it is wrong, used up or too old. Ask your \
                     administrator for a new one",
                    home.host().name
                )),
                _ => smtp(error),
            })?;
            home.session().authenticate_hashed_pass(&address, &login.hash).await.map_err(smtp)?
        };

        let cost = login.challenge.cost;
        let key = self.derive_key(&address, &request.password, &key_salt, cost).await?;
        let credentials = Credentials::new(&login, Some(Seed::new(&key, key_salt.clone())));
        state.secrets.pending = Some(credentials.clone());
        state.save()?;
        let mut session = Session { home, key_salt };
        let chain = match session.published(&address, self).await? {
            // A code is for an account that has no device (any more): no key is there, though an old chain may be.
            PublishedKey { key: None, chain } => {
                self.publish_first(&mut session, &address, &key, chain).await?
            }
            PublishedKey { key: Some(there), chain } if there == key.public() => chain,
            PublishedKey { key: Some(there), .. } => {
                return Err(ClientError::Refused(format!(
                    "{} publishes the key {} for {address} already, which is not one of this password. Nothing was \
                     published. Ask your administrator",
                    session.home.host().name,
                    there.fingerprint()
                )));
            }
        };
        self.adopt(&mut state, credentials.clone(), &chain)?;
        let mut notes = Vec::new();
        if !state.account.no_keyring {
            // Pending still: until the keyring is there the same command must find its way back here without the code.
            state.secrets.pending = Some(credentials);
            state.save()?;
            notes.extend(self.start_keyring(&mut state, &mut session, &chain).await?);
            state.secrets.pending = None;
        }
        state.save()?;
        self.account_report(state, session, notes).await
    }

    /// The login to enrol with: that of an attempt that was cut off, if the password is the same, else a fresh one.
    async fn enrolment_login(
        &self,
        state: &State,
        request: &EnrolRequest,
    ) -> Result<(LoginPhc, bool), ClientError> {
        if let Some(pending) = &state.secrets.pending {
            let login = self.derive_login(&request.address, &request.password, &pending.challenge()).await?;
            if login.hash.verifier().matches(&pending.login_hash()) {
                return Ok((login, true));
            }
        }
        let challenge = Challenge { cost: request.cost.unwrap_or(Cost::DEFAULT), salt: self.salt()? };
        let login = self.derive_login(&request.address, &request.password, &challenge).await?;
        Ok((login, false))
    }

    /// Publishes the first key of a chain. Returns the chain with it.
    pub(crate) async fn publish_first(
        &self,
        session: &mut Session,
        address: &sealpost_proto::address::Address,
        key: &sealpost_crypto::key::SecretKey,
        chain: Chain,
    ) -> Result<Chain, ClientError> {
        let statement = self.first_statement(address, key, &chain)?;
        let told = session.has_sealpost().then_some(&statement);
        session.home.session().set_key(&key.public(), told).await.map_err(smtp)?;
        // Believe what is published, not what was said about it.
        let now = published(&mut session.home, address, self).await?;
        if now.key.as_ref() != Some(&key.public()) {
            return Err(ClientError::Refused(format!(
                "{} took the key of {address} and publishes another one; ask its administrator",
                session.home.host().name
            )));
        }
        Ok(with_statement(now.chain, statement))
    }
}

/// A chain with one more statement at its newer end, unless it is there already (or the server keeps none).
pub(crate) fn with_statement(chain: Chain, statement: SignedStatement) -> Chain {
    if chain.statements().iter().any(|s| s.as_bytes() == statement.as_bytes()) {
        return chain;
    }
    let Some(address) = statement.statement().addresses.first().cloned() else { return chain };
    let now = statement.statement().created;
    let statements = std::iter::once(statement).chain(chain.statements().iter().cloned()).collect();
    Chain::check(statements, &address, now).unwrap_or(chain)
}
