//! `login`: a device that has nothing but the password, or one whose key was changed elsewhere (profile §4 two steps,
//! §9 "A new device").

use crate::{
    client::{AccountReport, Client},
    error::ClientError,
    lock::Custody,
    secrets::{Credentials, Seed},
    session::{PublishedKey, Session, published, smtp},
    state::State,
    submit::Home,
    ui::Question,
};
use sealpost_crypto::{kdf::Password, key::SecretKey};
use sealpost_proto::{
    address::Address,
    drive::SmtpError,
    phc::{LoginPhc, Salt},
};

impl Client {
    pub(crate) async fn login_account(
        &self,
        address: &Address,
        password: &Password,
    ) -> Result<AccountReport, ClientError> {
        // What is locked would be lost if it were written over.
        if matches!(self.show_custody(), Ok(Custody::Locked)) {
            self.unlock_device(password).await?;
        }
        let mut state = State::prepare(self, address).await?;
        let lookup = state.account.lookup(self)?;
        let mut home = self.connect(&mut state, &lookup).await?;
        let confirmed = self.same_login(&state, &mut home, address).await?;
        let (login, key_salt) = self.two_steps(&mut home, address, password).await?;
        let key = self.derive_key(address, password, &key_salt, login.challenge.cost).await?;
        let mut session = Session { home, key_salt: key_salt.clone() };
        let published = session.published(address, self).await?;
        let chain = match published.key {
            Some(ref there) if *there == key.public() => published.chain,
            Some(there) => return Err(not_ours(&session, address, &there, &key)),
            None => {
                if !self.env.ui.confirm(&Question::FirstKey { address: address.clone() }) {
                    return Err(ClientError::Decide(format!(
                        "no key is published for {address}, and nothing was published now. If this account was never \
                         used on any device, run `sealpost login {address}` on a terminal and say so; if it was, its \
                         server has lost or hidden the key: ask its administrator"
                    )));
                }
                if !confirmed {
                    self.compare(&state, address, &key, &published)?;
                }
                self.publish_first(&mut session, address, &key, published.chain).await?
            }
        };
        if !confirmed {
            let published = PublishedKey { key: Some(key.public()), chain: chain.clone() };
            self.compare(&state, address, &key, &published)?;
        }
        self.adopt(&mut state, Credentials::new(&login, Some(Seed::new(&key, key_salt))), &chain)?;
        state.save()?;
        let mut notes = Vec::new();
        if let Some(fault) = self.fetch_keyring(&mut state, &mut session, &chain).await?.fault() {
            notes.push(format!("{fault}: old mail and known contacts of other devices are not at hand here"));
        }
        state.save()?;
        self.account_report(state, session, notes).await
    }

    /// On a known device: whether the server asks for the login that it remembers. Another one is explained by a key
    /// that the remembered one has signed for (a password changed on another device); else it is an attack until the
    /// user says otherwise, and `true` says that the user did (profile §9). Nothing made from the password leaves before.
    async fn same_login(
        &self,
        state: &State,
        home: &mut Home,
        address: &Address,
    ) -> Result<bool, ClientError> {
        let (Some(current), Some(remembered)) = (&state.secrets.current, state.secrets.current_public())
        else {
            return Ok(false);
        };
        let pending = home.session().login_challenge(address).await.map_err(smtp)?;
        let asked = pending.challenge().clone();
        pending.cancel().await.map_err(smtp)?;
        let known = state.secrets.pending.iter().chain([current]).any(|c| c.challenge() == asked);
        if known {
            return Ok(false);
        }
        let published = published(home, address, self).await?;
        if published.key.is_some_and(|key| key != remembered && published.chain.leads(&remembered, &key)) {
            return Ok(false);
        }
        let server = home.host().name.clone();
        let question = Question::LoginChanged { address: address.clone(), server: server.clone() };
        if self.env.ui.confirm(&question) {
            return Ok(true);
        }
        Err(ClientError::Decide(format!(
            "{server} asks for another hash of the password of {address} than this device remembers, and no signed \
             statement tells of a new password: take this for an attack. Nothing was sent. If you set up the account \
             anew yourself, run `sealpost login {address}` on a terminal and confirm it, or use a new folder (--dir)"
        )))
    }

    /// The two-step login: salt and cost from the server, judged before the password is used with them.
    async fn two_steps(
        &self,
        home: &mut Home,
        address: &Address,
        password: &Password,
    ) -> Result<(LoginPhc, Salt), ClientError> {
        let server = home.host().name.clone();
        let pending = home.session().login_challenge(address).await.map_err(smtp)?;
        let login = match self.derive_login(address, password, &pending.challenge().clone()).await {
            Ok(login) => login,
            Err(error) => {
                // Being polite to a server that asked for too much is not worth a second error.
                let _ = pending.cancel().await;
                return Err(error);
            }
        };
        let key_salt = pending.finish(&login.hash).await.map_err(|error| match &error {
            SmtpError::Refused(refusal) if refusal.reply.code() == 535 => ClientError::SignIn(format!(
                "{server} did not take the login: the address or the password is wrong"
            )),
            _ => smtp(error),
        })?;
        Ok((login, key_salt))
    }

    /// On a known device, what differs from memory without a statement chain is an attack until the user says
    /// otherwise.
    fn compare(
        &self,
        state: &State,
        address: &Address,
        derived: &SecretKey,
        published: &PublishedKey,
    ) -> Result<(), ClientError> {
        let Some(remembered) = state.secrets.current_public() else { return Ok(()) };
        let now = derived.public();
        if remembered == now || published.chain.leads(&remembered, &now) {
            return Ok(());
        }
        let what = if published.key.is_some() { "The key" } else { "The missing key" };
        let question = Question::OwnAccountChanged {
            address: address.clone(),
            what: what.to_owned(),
            remembered: Some(remembered),
            derived: now,
        };
        if self.env.ui.confirm(&question) {
            return Ok(());
        }
        Err(ClientError::Decide(format!(
            "what is published for {address} is not what this device remembers, and no signed statement explains it; \
             nothing was changed. If you set up the account anew yourself, run `sealpost login {address}` on a \
             terminal and confirm it, or use a new folder (--dir)"
        )))
    }
}

fn not_ours(
    session: &Session,
    address: &Address,
    there: &sealpost_proto::key::PublicKey,
    derived: &SecretKey,
) -> ClientError {
    ClientError::Refused(format!(
        "{} publishes the key {} for {address}, but your password makes {}. Either the server told a false salt or \
         publishes a false key; this device published and sent nothing. Compare with `sealpost key show` on another \
         device of yours",
        session.home.host().name,
        there.fingerprint(),
        derived.public().fingerprint()
    ))
}
