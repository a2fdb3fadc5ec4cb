//! Accounts: login verifiers, key salts, public keys, statements, keyrings, app passwords. No password, no login
//! hash and no private key ever comes here (R17, R22).

use crate::error::Result;
use async_trait::async_trait;
use sealpost_proto::{
    address::{Address, Domain},
    key::PublicKey,
    phc::{Cost, Salt, Verifier},
    statement::SignedStatement,
    time::Timestamp,
};

/// Names an account inside one store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub i64);

/// What AUTH HASHEDPASS needs of an enrolled account.
#[derive(Clone)]
pub struct Login {
    /// Login salt.
    pub salt: Salt,
    /// Argon2id cost.
    pub cost: Cost,
    /// SHA-256 of the login hash.
    pub verifier: Verifier,
}

/// An account as administrators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// Primary address.
    pub address: Address,
    /// When it was made.
    pub created: Timestamp,
    /// Whether a verifier is set.
    pub enrolled: bool,
    /// Whether a key is published.
    pub has_key: bool,
}

/// Salt, key and statements of an account at one moment. `generation` changes with every change of any of them;
/// [`Accounts::set_key`] takes it back, so that two sessions cannot both win.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyState {
    /// Compare-and-swap token.
    pub generation: i64,
    /// The committed key salt (made, and stored, if there was none: R16).
    pub salt: Salt,
    /// The published key.
    pub published: Option<PublicKey>,
    /// Stored statements, newest first.
    pub chain: Vec<SignedStatement>,
}

/// What one SETPUBKEY or XPASSWD commits, in one transaction (profile §9).
pub struct KeyChange {
    /// [`KeyState::generation`] that the caller judged.
    pub generation: i64,
    /// The new committed salt, if it changes.
    pub salt: Option<Salt>,
    /// The key to publish.
    pub key: PublicKey,
    /// A statement to put on top of the chain.
    pub statement: Option<SignedStatement>,
    /// XPASSWD's new login.
    pub login: Option<Login>,
    /// The keyring staged in this session.
    pub keyring: Option<StagedKeyring>,
}

/// A keyring to become current.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedKeyring {
    /// SHA-256 of the keyring it replaces; `None` where there is none.
    pub replaces: Option<[u8; 32]>,
    /// The sealed keyring.
    pub data: Vec<u8>,
}

/// How a compare-and-swap ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Swap {
    /// Done and durable.
    Done,
    /// Somebody was faster: read again. Nothing changed.
    KeyChanged,
    /// The keyring to be replaced is not the current one. Nothing changed.
    KeyringChanged,
    /// XPASSWD's login salt is used by some account: 501. Nothing changed.
    SaltInUse,
}

/// How XENROL ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Enrolment {
    /// Code used up, verifier set; close the account's other sessions.
    Done(AccountId),
    /// No such account, no such code, or an expired one: 535. Nothing changed.
    WrongCode,
    /// The login salt is used by some account: 501. Nothing changed, the code stays usable.
    SaltInUse,
}

/// How much of something an account may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Quota {
    /// As much as the configuration gives to all.
    #[default]
    Default,
    /// Without a limit.
    Unlimited,
    /// So much in all mailboxes together.
    AtMost(u64),
}

/// What is limited of the mail of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Its octets.
    Octets,
    /// How many messages there are.
    Messages,
}

/// How much mail an account may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quotas {
    /// Octets.
    pub octets: Quota,
    /// Messages.
    pub messages: Quota,
}

/// How much mail an account holds: each mailbox counts its messages, copies among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Octets.
    pub octets: u64,
    /// Messages.
    pub messages: u64,
}

/// An app password's SCRAM-SHA-256 material (RFC 5802).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppPassword {
    /// Name given by the user, unique per account.
    pub name: String,
    /// Its own salt.
    pub salt: Vec<u8>,
    /// PBKDF2 iterations.
    pub iterations: u32,
    /// StoredKey.
    pub stored_key: [u8; 32],
    /// ServerKey.
    pub server_key: [u8; 32],
    /// When it was made.
    pub created: Timestamp,
}

/// Accounts and what hangs on them.
#[async_trait]
pub trait Accounts: Send + Sync {
    /// Makes an account with a one-time code (stored hashed: SHA-256 of the code's text). `Exists` if it is there.
    async fn create_account(
        &self,
        address: &Address,
        code_sha256: [u8; 32],
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<AccountId>;
    /// Gives an account a new one-time code. `Gone` if there is no such account.
    async fn reset_account(
        &self,
        address: &Address,
        code_sha256: [u8; 32],
        expires: Timestamp,
    ) -> Result<AccountId>;
    /// Removes an account, its mailboxes and its mail.
    async fn remove_account(&self, address: &Address) -> Result<()>;
    /// All accounts, by address.
    async fn accounts(&self) -> Result<Vec<Account>>;
    /// The account whose primary address this is.
    async fn account(&self, primary: &Address) -> Result<Option<Account>>;
    /// The account that mail for `address` goes to: primary address, alias, or either with `+detail` cut.
    async fn resolve(&self, address: &Address) -> Result<Option<AccountId>>;
    /// Points `alias` at an account (`postmaster@` among them).
    async fn set_alias(&self, alias: &Address, account: AccountId) -> Result<()>;
    /// Login material; `None` for unknown and for not yet enrolled accounts.
    async fn login(&self, primary: &Address) -> Result<Option<(AccountId, Login)>>;
    /// XENROL, in one transaction (profile §5): also withdraws key, salt, app passwords of an account that had a key.
    async fn enrol(
        &self,
        primary: &Address,
        code_sha256: [u8; 32],
        login: Login,
        now: Timestamp,
    ) -> Result<Enrolment>;
    /// Whether this is the account's valid one-time code; changes nothing. Lets XENROL judge the code before the
    /// rest of its arguments (profile §5).
    async fn is_code(&self, primary: &Address, code_sha256: [u8; 32], now: Timestamp) -> Result<bool>;
    /// Salt, key and chain; makes a salt where there is none.
    async fn key_state(&self, account: AccountId) -> Result<KeyState>;
    /// Published key and chain for PUBKEY and XKEYINFO, by any address that leads to the account.
    async fn public_key(&self, address: &Address) -> Result<Option<PublicKey>>;
    /// The statement chain, newest first; empty where there is none.
    async fn key_chain(&self, address: &Address) -> Result<Vec<SignedStatement>>;
    /// RSTSALT where no key is published: the salt takes effect at once. `KeyChanged` if `generation` is no longer
    /// that of the account, or a key is published (then the salt is pending, and goes with [`Accounts::set_key`]).
    async fn reset_salt(&self, account: AccountId, generation: i64, salt: Salt) -> Result<Swap>;
    /// SETPUBKEY and XPASSWD.
    async fn set_key(&self, account: AccountId, change: KeyChange) -> Result<Swap>;
    /// The current keyring.
    async fn keyring(&self, account: AccountId) -> Result<Option<Vec<u8>>>;
    /// Stores a keyring outside a rotation; keeps five back.
    async fn put_keyring(&self, account: AccountId, keyring: StagedKeyring) -> Result<Swap>;
    /// Adds an app password. `Exists` if the name is taken.
    async fn add_app_password(&self, account: AccountId, password: AppPassword) -> Result<()>;
    /// App passwords of an account.
    async fn app_passwords(&self, account: AccountId) -> Result<Vec<AppPassword>>;
    /// Removes one; `Gone` if there is none of that name.
    async fn revoke_app_password(&self, account: AccountId, name: &str) -> Result<()>;
    /// Sets how much of something an account may hold; `Gone` if there is no such account.
    async fn set_quota(&self, address: &Address, resource: Resource, quota: Quota) -> Result<()>;
    /// How much an account may hold; from memory.
    async fn quotas(&self, account: AccountId) -> Result<Quotas>;
    /// How much it holds.
    async fn usage(&self, account: AccountId) -> Result<Usage>;
    /// The server's own secret (32 random bytes, made once): salts for unknown users (profile §4).
    async fn server_secret(&self) -> Result<[u8; 32]>;
    /// Domains that have accounts (configuration decides which are served; this is for `user list`).
    async fn domains(&self) -> Result<Vec<Domain>>;
}
