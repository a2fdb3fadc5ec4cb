//! `key rotate` and `passwd`: a new key that the old one signs for (profile §9). Both go through one exchange:
//!
//! ```text
//! XKEYRING                          the keyring as it is, merged into what this device knows
//! RSTSALT                           a pending salt; the new key is derived from it
//! XKEYRING <hash> <length>          staged: sealed to the new key, signed by it, the old seed among the retired ones
//! SETPUBKEY key statement           or XPASSWD login key statement: all of it at once, or nothing
//! ```
//!
//! The staged keyring is signed by the new key, since that is the one current from the moment the keyring is: a device
//! that has only the new password derives the new key and needs no other to check it.

use crate::{
    client::{AccountReport, Client},
    enrol::with_statement,
    error::ClientError,
    keyring_sync::Fetched,
    secrets::{Credentials, Seed},
    session::{Session, is_lost_reply, smtp},
    state::State,
};
use sealpost_crypto::kdf::Password;
use sealpost_lookup::Lookup;
use sealpost_proto::{
    drive::SmtpError,
    phc::{Challenge, Cost, LoginPhc},
};

/// Attempts when another device of the same user is quicker (profile §9).
const ATTEMPTS: usize = 3;

/// Which of the two.
enum Change<'a> {
    Rotation,
    Password { login: &'a LoginPhc },
}

/// How one attempt ended.
enum Attempt {
    Done,
    /// 554: somebody was quicker; nothing changed.
    Again,
    /// The answer was lost; it may have taken effect.
    Lost(SmtpError),
}

impl Client {
    pub(crate) async fn rotate_key(
        &self,
        password: &Password,
        no_keyring: bool,
    ) -> Result<AccountReport, ClientError> {
        let mut state = State::load(self).await?;
        state.account.no_keyring |= no_keyring;
        let lookup = state.account.lookup(self)?;
        let session = self.sign_in(&mut state, &lookup).await?;
        self.check_password(&state, password).await?;
        let session = self.change_key(&mut state, &lookup, session, password, &Change::Rotation).await?;
        let kit = state.trust.recovery.as_ref().is_some_and(|recovery| recovery.key.is_some());
        let notes = (state.account.no_keyring && kit).then(|| {
            "the recovery kit does not know the new key, since no keyring is written any more: mail that comes from now \
             on stays closed after a forgotten password"
                .to_owned()
        });
        self.account_report(state, session, notes.into_iter().collect()).await
    }

    pub(crate) async fn change_password(
        &self,
        current: &Password,
        new: &Password,
    ) -> Result<AccountReport, ClientError> {
        let mut state = State::load(self).await?;
        let address = state.account.address.clone();
        let domain = address.domain();
        new.check_strength(&[address.as_str(), address.local(), domain.as_str()])?;
        let lookup = state.account.lookup(self)?;
        let session = self.sign_in(&mut state, &lookup).await?;
        self.check_password(&state, current).await?;
        let cost = raised(state.secrets.current.as_ref().map_or(Cost::DEFAULT, |c| c.cost));
        let login = self.derive_login(&address, new, &Challenge { cost, salt: self.salt()? }).await?;
        let change = Change::Password { login: &login };
        let session = self.change_key(&mut state, &lookup, session, new, &change).await?;
        self.account_report(state, session, Vec::new()).await
    }

    /// Whether `password` is the one in force, by what this device keeps of it. After signing in, which settles a change
    /// that was cut off: a key derived from any other password would lock every new device out.
    async fn check_password(&self, state: &State, password: &Password) -> Result<(), ClientError> {
        let address = &state.account.address;
        if let Some(current) = &state.secrets.current {
            let login = self.derive_login(address, password, &current.challenge()).await?;
            if login.hash.verifier().matches(&current.login_hash()) {
                return Ok(());
            }
        }
        Err(ClientError::SignIn(format!("this is not the password of {address}")))
    }

    /// The exchange, three times at most. Returns a session that is good for more.
    async fn change_key(
        &self,
        state: &mut State,
        lookup: &Lookup,
        mut session: Session,
        password: &Password,
        change: &Change<'_>,
    ) -> Result<Session, ClientError> {
        let before = state.secrets.current_public();
        let mut broken = None;
        for _ in 0..ATTEMPTS {
            match self.attempt(state, &mut session, password, change).await? {
                Attempt::Done => return Ok(session),
                Attempt::Again => broken = None,
                Attempt::Lost(error) => {
                    // Signing in again compares with what is published, and takes over what had taken effect.
                    session = self.sign_in(state, lookup).await.map_err(|second| {
                        ClientError::Later(format!(
                            "the connection broke while the key was changed ({error}), and asking again failed: \
                             {second}. Run any command to find out what is in force"
                        ))
                    })?;
                    if state.secrets.current_public() != before {
                        return Ok(session);
                    }
                    broken = Some(error);
                }
            }
        }
        if let Some(error) = broken {
            return Err(ClientError::Later(format!(
                "the connection broke each time the key was about to be changed ({error}); nothing was changed. Try \
                 again later"
            )));
        }
        Err(ClientError::Later(
            "another device changed the account at the same time, three times over; nothing was changed here. Try again"
                .to_owned(),
        ))
    }

    async fn attempt(
        &self,
        state: &mut State,
        session: &mut Session,
        password: &Password,
        change: &Change<'_>,
    ) -> Result<Attempt, ClientError> {
        let address = state.account.address.clone();
        let current =
            state.secrets.current.clone().ok_or_else(|| ClientError::NoAccount(self.settings.dir.clone()))?;
        let old = state.key()?;
        let published = session.published(&address, self).await?;
        if published.key.as_ref() != Some(&old.public()) {
            return Err(ClientError::Decide(format!(
                "the key published for {address} is no longer the one of this device; nothing was changed. Run \
                 `sealpost login {address}`"
            )));
        }
        let (replaces, stored) = if state.account.no_keyring {
            (None, None)
        } else {
            let fetched = self.fetch_keyring(state, session, &published.chain).await?;
            if let Some(fault) = fetched.fault() {
                return Err(ClientError::Refused(format!(
                    "{fault}, so the key is not changed: a new device could no longer read your old mail. \
                     --no-keyring changes it and keeps the retired key on this device alone"
                )));
            }
            match fetched {
                Fetched::Merged { sha256, keyring } => (Some(sha256), Some(*keyring)),
                _ => (None, None),
            }
        };
        let keyring = !state.account.no_keyring && session.has_sealpost();

        let salt = session.home.session().reset_salt().await.map_err(smtp)?;
        let (login, cost) = match change {
            Change::Rotation => (current.login(), current.cost),
            Change::Password { login } => ((*login).clone(), login.challenge.cost),
        };
        let key = self.derive_key(&address, password, &salt, cost).await?;
        let addresses = state
            .trust
            .own
            .as_ref()
            .and_then(crate::trust::Own::statement)
            .map_or_else(|| vec![address.clone()], |s| s.statement().addresses.clone());
        let statement = self.statement(addresses, &key, Some(&old), &published.chain)?;
        let chain = with_statement(published.chain, statement.clone());

        let mut serial = None;
        if keyring {
            let (sealed, number) = self.staged_keyring(state, stored, &key, &old, &chain)?;
            match session.home.session().put_keyring(replaces, &sealed).await {
                Ok(()) => serial = Some(number),
                Err(error) if error.code() == Some(554) => return Ok(Attempt::Again),
                Err(error) => return Err(smtp(error)),
            }
        }
        // On the disk before it is sent: should the answer get lost, the seed must not.
        let credentials = Credentials::new(&login, Some(Seed::new(&key, salt.clone())));
        state.secrets.pending = Some(credentials.clone());
        state.save()?;
        let told = session.has_sealpost().then_some(&statement);
        let done = match change {
            Change::Rotation => session.home.session().set_key(&key.public(), told).await,
            Change::Password { login } => {
                session.home.session().change_password(login, &key.public(), &statement).await
            }
        };
        match done {
            Ok(()) => {
                self.adopt(state, credentials, &chain)?;
                session.key_salt = salt;
                if let (Some(own), Some(serial)) = (&mut state.trust.own, serial) {
                    own.serial = serial;
                    own.dirty = false;
                }
                state.save()?;
                Ok(Attempt::Done)
            }
            Err(error) if is_lost_reply(&error) => Ok(Attempt::Lost(error)),
            Err(error) => {
                state.secrets.pending = None;
                state.save()?;
                if error.code() == Some(554) { Ok(Attempt::Again) } else { Err(smtp(error)) }
            }
        }
    }
}

/// A password change is the moment to raise the cost (profile §3).
fn raised(cost: Cost) -> Cost {
    Cost {
        m_kib: cost.m_kib.max(Cost::DEFAULT.m_kib),
        t: cost.t.max(Cost::DEFAULT.t),
        p: cost.p.max(Cost::DEFAULT.p),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_change_never_lowers_the_cost() {
        let cost = |m_kib, t, p| Cost { m_kib, t, p };
        assert_eq!(raised(cost(19_456, 2, 1)), Cost::DEFAULT);
        assert_eq!(raised(cost(131_072, 2, 4)), cost(131_072, 3, 4));
    }
}
