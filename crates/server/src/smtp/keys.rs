//! GETSALT, RSTSALT, SETPUBKEY, XPASSWD, XKEYRING (profile §5, §9): what a session signed in by HASHEDPASS may do,
//! and what of it is committed together.

use super::{
    auth::{salt_in_use, to_login},
    store_failure,
};
use crate::{auth::SignedIn, context::Context};
use rand_core::{OsRng, RngCore as _};
use sealpost_proto::{
    base64,
    key::PublicKey,
    phc::Salt,
    smtp::{
        reply::Reply,
        server::cut_lines,
        verb::{ChangePassword, KeyCommand},
    },
    statement::SignedStatement,
};
use sealpost_store::account::{KeyChange, KeyState, Login, StagedKeyring, Swap};
use sha2::{Digest as _, Sha256};

/// How often a change is judged again after another session was faster. Each round means that somebody else
/// succeeded, so this many in a row is an abuse of the account by its own sessions.
const ROUNDS: usize = 5;
/// How far ahead a statement's `created` may lie (profile §9), for clocks that are off.
const AHEAD_SECONDS: i64 = 86_400;

/// Salt and key as the session was last told them.
struct Told {
    salt: Salt,
    published: Option<PublicKey>,
}

impl Told {
    fn is(&self, state: &KeyState) -> bool {
        self.salt == state.salt && self.published == state.published
    }
}

impl From<KeyState> for Told {
    fn from(state: KeyState) -> Self {
        Self { salt: state.salt, published: state.published }
    }
}

/// A session signed in by HASHEDPASS.
pub(super) struct KeySession {
    pub(super) signed_in: SignedIn,
    told: Told,
    /// RSTSALT's salt, until the key that goes with it comes. Dies with the session.
    pending: Option<Salt>,
    /// A keyring that becomes current together with that key.
    staged: Option<StagedKeyring>,
}

impl KeySession {
    pub(super) fn new(signed_in: SignedIn, state: KeyState) -> Self {
        Self { signed_in, told: state.into(), pending: None, staged: None }
    }

    pub(super) async fn run(&mut self, command: KeyCommand, context: &Context) -> Result<Reply, Reply> {
        match command {
            KeyCommand::GetSalt => self.get_salt(context).await,
            KeyCommand::RstSalt => self.reset_salt(context).await,
            KeyCommand::SetPubKey { key, statement } => self.set_key(key, statement, context).await,
            KeyCommand::XPasswd(arguments) => {
                if self.pending.is_none() {
                    return Err(Reply::new(503, "5.5.1", "Send RSTSALT first"));
                }
                self.change_password(*arguments?, context).await
            }
            KeyCommand::FetchKeyring => self.fetch_keyring(context).await,
            KeyCommand::StoreKeyring { replaces, data } => {
                self.store_keyring(StagedKeyring { replaces, data }, context).await
            }
        }
    }

    async fn state(&self, context: &Context) -> Result<KeyState, Reply> {
        context.store.key_state(self.signed_in.account).await.map_err(|e| store_failure(&e))
    }

    /// GETSALT: the pending salt in this session, the committed one in all others (R13).
    async fn get_salt(&mut self, context: &Context) -> Result<Reply, Reply> {
        if self.pending.is_none() {
            self.told = self.state(context).await?.into();
        }
        Ok(salt_reply(self.pending.as_ref().unwrap_or(&self.told.salt)))
    }

    /// RSTSALT (R14): pending where a key is published, else in effect at once.
    async fn reset_salt(&mut self, context: &Context) -> Result<Reply, Reply> {
        let mut octets = [0; 16];
        OsRng.fill_bytes(&mut octets);
        let salt = Salt::new(octets).expect("16 octets are a salt");
        for _ in 0..ROUNDS {
            let state = self.state(context).await?;
            if state.published.is_some() {
                self.told = state.into();
                self.pending = Some(salt.clone());
                self.staged = None;
                return Ok(salt_reply(&salt));
            }
            let swap = context
                .store
                .reset_salt(self.signed_in.account, state.generation, salt.clone())
                .await
                .map_err(|e| store_failure(&e))?;
            if swap == Swap::Done {
                self.told = Told { salt: salt.clone(), published: None };
                self.pending = None;
                self.staged = None;
                return Ok(salt_reply(&salt));
            }
        }
        Err(start_again())
    }

    /// SETPUBKEY (R12).
    async fn set_key(
        &mut self,
        key: PublicKey,
        statement: Option<Box<SignedStatement>>,
        context: &Context,
    ) -> Result<Reply, Reply> {
        let statement = statement.map(|s| *s);
        if let Some(statement) = &statement {
            self.is_for(statement, &key)?;
        }
        for _ in 0..ROUNDS {
            let state = self.state(context).await?;
            if state.published.as_ref() == Some(&key) {
                let renewal = renewal(statement.as_ref(), &state, context)?;
                let change = KeyChange {
                    generation: state.generation,
                    salt: None,
                    key: key.clone(),
                    statement: Some(renewal),
                    login: None,
                    keyring: None,
                };
                match self.swap(change, context).await? {
                    Swap::KeyChanged => continue,
                    _ => return Ok(Reply::bare(250, "OK")),
                }
            }
            self.judge(&state, statement.as_ref(), context)?;
            if let Some(reply) = self.commit(state, &key, statement.clone(), None, context).await? {
                return Ok(reply);
            }
        }
        Err(start_again())
    }

    /// XPASSWD: login, key, statement, salt, keyring at once; every other session of the account is closed.
    async fn change_password(&mut self, change: ChangePassword, context: &Context) -> Result<Reply, Reply> {
        let ChangePassword { login, key, statement } = change;
        self.is_for(&statement, &key)?;
        for _ in 0..ROUNDS {
            let state = self.state(context).await?;
            if state.published.as_ref() == Some(&key) {
                return Err(refuse("A new password needs a new key"));
            }
            self.judge(&state, Some(&statement), context)?;
            let commit =
                self.commit(state, &key, Some(statement.clone()), Some(to_login(&login)), context).await?;
            if let Some(reply) = commit {
                context.auth.close_sessions(self.signed_in.account, Some(self.signed_in.session));
                return Ok(reply);
            }
        }
        Err(start_again())
    }

    /// A statement for this key and account.
    fn is_for(&self, statement: &SignedStatement, key: &PublicKey) -> Result<(), Reply> {
        let says = statement.statement();
        if says.key != *key {
            Err(refuse("The key statement is about another key"))
        } else if !says.covers(&self.signed_in.address) {
            Err(refuse("The key statement is not about this account"))
        } else {
            Ok(())
        }
    }

    /// Whether a change of the key may be committed on top of `state` (profile §9). What changed behind the
    /// session's back comes before faults of the statement, since it causes them.
    fn judge(
        &self,
        state: &KeyState,
        statement: Option<&SignedStatement>,
        context: &Context,
    ) -> Result<(), Reply> {
        if !self.told.is(state) {
            return Err(start_again());
        }
        let Some(says) = statement.map(SignedStatement::statement) else { return Ok(()) };
        if says.previous != state.published {
            return Err(start_again());
        }
        let newest = state.chain.first().map(|s| s.statement().created);
        if newest.is_some_and(|newest| says.created < newest) {
            return Err(refuse("The key statement is older than the newest one stored"));
        }
        not_ahead(says.created, context)
    }

    /// Commits a change of the key with everything that hangs on it. `None`: somebody was faster, judge again.
    async fn commit(
        &mut self,
        state: KeyState,
        key: &PublicKey,
        statement: Option<SignedStatement>,
        login: Option<Login>,
        context: &Context,
    ) -> Result<Option<Reply>, Reply> {
        let change = KeyChange {
            generation: state.generation,
            salt: self.pending.clone(),
            key: key.clone(),
            statement,
            login,
            keyring: self.staged.clone(),
        };
        if self.swap(change, context).await? == Swap::KeyChanged {
            return Ok(None);
        }
        self.told = Told { salt: self.pending.take().unwrap_or(state.salt), published: Some(key.clone()) };
        self.staged = None;
        Ok(Some(Reply::bare(250, "OK")))
    }

    /// `Done` or `KeyChanged`.
    async fn swap(&self, change: KeyChange, context: &Context) -> Result<Swap, Reply> {
        let swap = context.store.set_key(self.signed_in.account, change).await;
        match swap.map_err(|e| store_failure(&e))? {
            Swap::KeyringChanged => Err(keyring_changed()),
            Swap::SaltInUse => Err(salt_in_use()),
            swap => Ok(swap),
        }
    }

    async fn fetch_keyring(&self, context: &Context) -> Result<Reply, Reply> {
        match context.store.keyring(self.signed_in.account).await.map_err(|e| store_failure(&e))? {
            Some(data) => Ok(Reply::lines(220, cut_lines(&base64::encode(data)))),
            None => Err(Reply::bare(550, "No keyring stored")),
        }
    }

    /// Staged where a salt is pending, stored else. The hash is compared here, and for a staged one again later.
    async fn store_keyring(&mut self, keyring: StagedKeyring, context: &Context) -> Result<Reply, Reply> {
        let account = self.signed_in.account;
        if self.pending.is_some() {
            let current = context.store.keyring(account).await.map_err(|e| store_failure(&e))?;
            if current.map(|data| <[u8; 32]>::from(Sha256::digest(data))) != keyring.replaces {
                return Err(keyring_changed());
            }
            self.staged = Some(keyring);
            return Ok(Reply::bare(250, "OK"));
        }
        match context.store.put_keyring(account, keyring).await.map_err(|e| store_failure(&e))? {
            Swap::Done => Ok(Reply::bare(250, "OK")),
            _ => Err(keyring_changed()),
        }
    }
}

/// A SETPUBKEY that does not change the key takes only a renewal: key and `previous:` of the newest statement, later
/// `created` (profile §9).
fn renewal(
    statement: Option<&SignedStatement>,
    state: &KeyState,
    context: &Context,
) -> Result<SignedStatement, Reply> {
    let no = || refuse("The key is published already; only a renewed statement is taken");
    let (statement, newest) = (statement.ok_or_else(no)?, state.chain.first().ok_or_else(no)?.statement());
    let says = statement.statement();
    if says.key != newest.key || says.previous != newest.previous || says.created <= newest.created {
        return Err(no());
    }
    not_ahead(says.created, context)?;
    Ok(statement.clone())
}

fn not_ahead(created: sealpost_proto::time::Timestamp, context: &Context) -> Result<(), Reply> {
    if created > context.clock.now().plus(AHEAD_SECONDS) {
        Err(refuse("The key statement is dated in the future; check the clock"))
    } else {
        Ok(())
    }
}

fn salt_reply(salt: &Salt) -> Reply {
    Reply::bare(220, format!("SALT {}", base64::encode(salt.as_bytes())))
}

fn refuse(why: &'static str) -> Reply {
    Reply::new(501, "5.5.4", why)
}

fn start_again() -> Reply {
    Reply::new(554, "5.5.1", "Key salt or key changed, start again")
}

fn keyring_changed() -> Reply {
    Reply::new(554, "5.5.1", "Keyring changed, fetch it and start again")
}
