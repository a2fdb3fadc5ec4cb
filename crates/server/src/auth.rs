//! Who may sign in, how often one may try, and which sessions must close (profile §4).

mod scram;

use crate::{
    apppass,
    config::Config,
    limits::{Limiter, Network},
};
use hmac::{Hmac, Mac as _};
use sealpost_proto::{
    address::Address,
    phc::{Challenge, Cost, LoginHash, Salt, Verifier},
    sasl::Credentials,
    time::Clock,
};
use sealpost_store::{
    Store, StoreError,
    account::{AccountId, AppPassword, Enrolment, Login},
};
use sha2::{Digest as _, Sha256};
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use subtle::ConstantTimeEq as _;
use tokio::{
    sync::{OnceCell, watch},
    time::Instant,
};

/// Every failed login is answered at a multiple of this after it came in, so that an unknown user, a wrong password
/// and a used code cannot be told apart by time. Far above what any of the checks takes.
const FAILURE_DELAY: Duration = Duration::from_millis(500);
/// A challenge is answered at a multiple of this after it was asked for: finding an account's salt and making a false one
/// are microseconds apart, which is far below it. Little beside the Argon2id that the client then begins.
const CHALLENGE_DELAY: Duration = Duration::from_millis(20);
/// Stands for the account of users who have none, so that the same work is done for them. The store's ids are positive.
const NOBODY: AccountId = AccountId(-1);
/// Failed logins are counted in stretches of ten minutes (profile §4).
const FAILURE_WINDOW_SECONDS: i64 = 600;

/// How a session signed in: HASHEDPASS may use GETSALT and its kin, an app password may not (profile §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// AUTH HASHEDPASS.
    HashedPass,
    /// PLAIN, LOGIN or SCRAM with an app password.
    AppPassword,
}

/// A signed-in session. `closed` turns true when the account's sessions must end (421 / BYE).
pub struct SignedIn {
    /// Account.
    pub account: AccountId,
    /// Primary address.
    pub address: Address,
    /// How.
    pub method: Method,
    /// Session number, for "all other sessions of the account".
    pub session: u64,
    /// Turns true when this session must close.
    pub closed: watch::Receiver<bool>,
    /// SCRAM: the server's proof, for whoever ends the exchange.
    pub signature: Option<Box<[u8; 32]>>,
    _place: Place,
}

/// Why a login failed. Each maps to one reply in SMTP, IMAP and POP3.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// `535` / `NO [AUTHENTICATIONFAILED]` / `-ERR [AUTH]`; already delayed to constant time.
    #[error("the address or the password is wrong")]
    Invalid,
    /// `421 4.7.0` / `BYE`.
    #[error("too many failed logins from this network; try again in ten minutes")]
    TooMany,
    /// `454 4.7.0` / `NO [UNAVAILABLE]`.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How XENROL ended, beyond failure.
#[derive(Debug, PartialEq, Eq)]
pub enum Enrolled {
    /// Done; the sessions of the old login are closed.
    Done,
    /// 501: the login salt is in use; the code stays usable.
    SaltInUse,
    /// 501: the code is right, and there was no login that could be stored; the code stays usable.
    NoLogin,
}

/// Checks logins, counts failures, knows open sessions.
pub struct Authenticator {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    per_account: Limiter<(Network, [u8; 16])>,
    per_network: Limiter<Network>,
    secret: OnceCell<[u8; 32]>,
    sessions: Arc<Registry>,
    failure_delay: Duration,
    challenge_delay: Duration,
}

impl Authenticator {
    /// An authenticator over the accounts of `store`, with the limits of `config`.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, config: &Config) -> Self {
        let limits = &config.limits;
        let max = |n: u32| if limits.no_limits { 0 } else { n };
        Self {
            store,
            per_account: Limiter::new(clock.clone(), max(limits.failed_logins), FAILURE_WINDOW_SECONDS),
            per_network: Limiter::new(
                clock.clone(),
                max(limits.failed_logins_per_network),
                FAILURE_WINDOW_SECONDS,
            ),
            clock,
            secret: OnceCell::new(),
            sessions: Arc::default(),
            failure_delay: FAILURE_DELAY,
            challenge_delay: CHALLENGE_DELAY,
        }
    }

    /// Without the delays that hide what the work takes, for those who measure it.
    #[must_use]
    pub fn undelayed(self) -> Self {
        Self { failure_delay: Duration::ZERO, challenge_delay: Duration::ZERO, ..self }
    }

    /// The challenge for a user name: the account's own, else a steady false one (profile §4).
    pub async fn challenge(&self, user: &Address) -> Result<Challenge, AuthError> {
        let since = Instant::now();
        // Both are made in every case, so that the work is the same whoever asks.
        let secret = self.secret().await?;
        let steady = Challenge { cost: Cost::DEFAULT, salt: false_salt(secret, user) };
        let login = self.store.login(user).await?;
        tokio::time::sleep_until(next_step(since, self.challenge_delay)).await;
        Ok(login.map_or(steady, |(_, l)| Challenge { cost: l.cost, salt: l.salt }))
    }

    async fn secret(&self) -> Result<&[u8; 32], AuthError> {
        Ok(self.secret.get_or_try_init(|| self.store.server_secret()).await?)
    }

    /// Checks what a [`sealpost_proto::sasl::Exchange`] came to.
    pub async fn check(&self, credentials: Credentials, peer: IpAddr) -> Result<SignedIn, AuthError> {
        match credentials {
            Credentials::HashedPass { user, hash } => self.hashed_pass(&user, &hash, peer).await,
            Credentials::AppPassword { user, token } => self.app_password(&user, &token, peer).await,
            Credentials::Scram(proof) => self.scram(&proof, peer).await,
        }
    }

    /// HASHEDPASS.
    pub async fn hashed_pass(
        &self,
        user: &Address,
        hash: &LoginHash,
        peer: IpAddr,
    ) -> Result<SignedIn, AuthError> {
        let attempt = self.attempt(user.as_str(), peer)?;
        // In the registry before the verifier is read: a password change that commits in between closes it.
        let login = self.store.login(user).await?;
        let (place, closed) = self.sessions.enter(login.as_ref().map_or(NOBODY, |(id, _)| *id));
        let login = self.store.login(user).await?;
        let (account, verifier) = match &login {
            Some((id, login)) => (Some(*id), login.verifier.clone()),
            None => (None, Verifier([0; 32])),
        };
        let matches = verifier.matches(hash);
        match (matches, account) {
            (true, Some(account)) if place.account == account => {
                self.allowed(&attempt)?;
                place.set(Kind::HashedPass);
                Ok(SignedIn {
                    account,
                    address: user.clone(),
                    method: Method::HashedPass,
                    session: place.session,
                    closed,
                    signature: None,
                    _place: place,
                })
            }
            _ => Err(self.failed(attempt).await),
        }
    }

    /// PLAIN and LOGIN: app passwords only; never compared with the HASHEDPASS verifier.
    pub async fn app_password(&self, user: &str, token: &str, peer: IpAddr) -> Result<SignedIn, AuthError> {
        let mut found = self.app_passwords(user, peer).await?;
        let passwords = std::mem::take(&mut found.passwords);
        let token = zeroize::Zeroizing::new(token.to_owned());
        // PBKDF2 is a few milliseconds of pure computation: off the async threads.
        let name = tokio::task::spawn_blocking(move || apppass::find(&passwords, &token))
            .await
            .map_err(|e| StoreError::Io(std::io::Error::other(e)))?;
        self.found(found, name).await
    }

    /// The app passwords that `user` may have signed in with; nobody's where there is no such user.
    async fn app_passwords(&self, user: &str, peer: IpAddr) -> Result<Found, AuthError> {
        let address = Address::parse(user).ok();
        let attempt = self.attempt(address.as_ref().map_or(user, Address::as_str), peer)?;
        let account = match &address {
            Some(address) => self.store.account(address).await?,
            None => None,
        };
        // In the registry before they are read: a revocation that commits in between closes it.
        let (place, closed) = self.sessions.enter(account.map_or(NOBODY, |a| a.id));
        let passwords = match self.store.app_passwords(place.account).await {
            Ok(passwords) => passwords,
            // Nobody's, or those of an account that was removed a moment ago.
            Err(StoreError::Gone(_)) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        Ok(Found { address, attempt, place, closed, passwords })
    }

    /// Signs in with the app password of that name, or fails.
    async fn found(&self, found: Found, name: Option<String>) -> Result<SignedIn, AuthError> {
        let Found { address, attempt, place, closed, .. } = found;
        match (name, address) {
            (Some(name), Some(address)) => {
                self.allowed(&attempt)?;
                place.set(Kind::AppPassword(name));
                Ok(SignedIn {
                    account: place.account,
                    address,
                    method: Method::AppPassword,
                    session: place.session,
                    closed,
                    signature: None,
                    _place: place,
                })
            }
            _ => Err(self.failed(attempt).await),
        }
    }

    /// XENROL (profile §5): a wrong address or code fails as a login does, and counts as one. The code is judged
    /// before `login`, whose faults the caller knows.
    pub async fn enrol(
        &self,
        user: Option<&Address>,
        code: &str,
        login: Option<Login>,
        peer: IpAddr,
    ) -> Result<Enrolled, AuthError> {
        let attempt = self.attempt(user.map_or("", Address::as_str), peer)?;
        let Some(user) = user else { return Err(self.failed(attempt).await) };
        let (code_sha256, now) = (Sha256::digest(code.as_bytes()).into(), self.clock.now());
        let Some(login) = login else {
            return if self.store.is_code(user, code_sha256, now).await? {
                Ok(Enrolled::NoLogin)
            } else {
                Err(self.failed(attempt).await)
            };
        };
        match self.store.enrol(user, code_sha256, login, now).await? {
            Enrolment::Done(account) => {
                // App passwords go with a key that is withdrawn (profile §5); where there was none they stay, and so
                // do their sessions. Where that cannot be told, all are closed: the enrolment is done.
                let kept = self.store.app_passwords(account).await.unwrap_or_default();
                self.sessions.close(account, |_, kind| match kind {
                    Kind::AppPassword(name) => !kept.iter().any(|password| password.name == *name),
                    Kind::Pending | Kind::HashedPass => true,
                });
                Ok(Enrolled::Done)
            }
            Enrolment::SaltInUse => Ok(Enrolled::SaltInUse),
            Enrolment::WrongCode => Err(self.failed(attempt).await),
        }
    }

    /// Closes all sessions of an account but `except` (XPASSWD, XENROL, removal).
    pub fn close_sessions(&self, account: AccountId, except: Option<u64>) {
        self.sessions.close(account, |session, _| Some(session) != except);
    }

    /// Closes the sessions that were signed in with a revoked app password.
    pub fn close_app_password(&self, account: AccountId, name: &str) {
        self.sessions.close(account, |_, kind| match kind {
            Kind::Pending => true,
            Kind::AppPassword(n) => n == name,
            Kind::HashedPass => false,
        });
    }

    fn attempt(&self, user: &str, peer: IpAddr) -> Result<Attempt, AuthError> {
        let network = Network::from(peer);
        // A digest instead of the name: entries of one size, whatever is sent.
        let mut account = [0; 16];
        account.copy_from_slice(&Sha256::digest(user.as_bytes())[..16]);
        let attempt = Attempt { network, account, since: Instant::now() };
        self.allowed(&attempt)?;
        Ok(attempt)
    }

    /// Asked when an attempt begins, and again when it came out right: else as many guesses as one has sessions
    /// could be made at once, all of them begun before the first failure was counted.
    fn allowed(&self, attempt: &Attempt) -> Result<(), AuthError> {
        if self.per_account.has_room(&(attempt.network, attempt.account))
            && self.per_network.has_room(&attempt.network)
        {
            Ok(())
        } else {
            Err(AuthError::TooMany)
        }
    }

    /// Counts a failure at once, then waits.
    async fn failed(&self, attempt: Attempt) -> AuthError {
        let one_of_the_account = self.per_account.take(&(attempt.network, attempt.account));
        let one_of_the_network = self.per_network.take(&attempt.network);
        tokio::time::sleep_until(next_step(attempt.since, self.failure_delay)).await;
        if one_of_the_account && one_of_the_network { AuthError::Invalid } else { AuthError::TooMany }
    }
}

/// The next multiple of `delay` after `since`.
fn next_step(since: Instant, delay: Duration) -> Instant {
    let steps = since.elapsed().as_millis().checked_div(delay.as_millis()).map_or(0, |whole| whole + 1);
    since + delay.saturating_mul(u32::try_from(steps).unwrap_or(1))
}

struct Attempt {
    network: Network,
    account: [u8; 16],
    since: Instant,
}

/// An attempt with an app password, before it is judged.
struct Found {
    address: Option<Address>,
    attempt: Attempt,
    place: Place,
    closed: watch::Receiver<bool>,
    passwords: Vec<AppPassword>,
}

/// HMAC-SHA-256(server secret, user name) cut to 16 bytes (profile §4).
fn false_salt(secret: &[u8; 32], user: &Address) -> Salt {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(user.as_str().as_bytes());
    Salt::new(&mac.finalize().into_bytes()[..16]).expect("16 bytes are a salt")
}

/// Constant-time equality of two digests.
pub(crate) fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.ct_eq(b).into()
}

enum Kind {
    Pending,
    HashedPass,
    AppPassword(String),
}

struct Session {
    kind: Kind,
    close: watch::Sender<bool>,
}

#[derive(Default)]
struct Registry {
    next: AtomicU64,
    open: Mutex<HashMap<AccountId, HashMap<u64, Session>>>,
}

impl Registry {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<AccountId, HashMap<u64, Session>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn enter(self: &Arc<Self>, account: AccountId) -> (Place, watch::Receiver<bool>) {
        let session = self.next.fetch_add(1, Ordering::Relaxed);
        let (close, closed) = watch::channel(false);
        self.lock().entry(account).or_default().insert(session, Session { kind: Kind::Pending, close });
        (Place { registry: self.clone(), account, session }, closed)
    }
    fn close(&self, account: AccountId, which: impl Fn(u64, &Kind) -> bool) {
        if let Some(sessions) = self.lock().get(&account) {
            for (number, session) in sessions {
                if which(*number, &session.kind) {
                    session.close.send_replace(true);
                }
            }
        }
    }
}

/// A place in the registry, given back on drop.
struct Place {
    registry: Arc<Registry>,
    account: AccountId,
    session: u64,
}

impl Place {
    fn set(&self, kind: Kind) {
        if let Some(session) =
            self.registry.lock().get_mut(&self.account).and_then(|s| s.get_mut(&self.session))
        {
            session.kind = kind;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.registry.lock();
        if let Some(sessions) = open.get_mut(&self.account) {
            sessions.remove(&self.session);
            if sessions.is_empty() {
                open.remove(&self.account);
            }
        }
    }
}
