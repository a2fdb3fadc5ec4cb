//! What an administrator may ask: accounts, app passwords, the queue. Goes through the control socket while a server
//! runs, else directly under the store's lock ([`call`]).

mod backup;
mod reach;
pub mod socket;

pub use backup::{backup, restore};

use crate::{
    apppass,
    auth::Authenticator,
    config::Config,
    privileges::{self, PrivilegeError},
    quota,
};
use reach::Reached;
use sealpost_proto::{address::Address, time::Clock};
use sealpost_store::{
    Store, StoreError,
    account::{Quota, Resource},
    sqlite::SqliteStore,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Longest name of an app password, in characters: a line on a terminal.
const NAME_MAX: usize = 64;

/// A request: one line of JSON, `{"request": "user-add", "address": "…"}`. May hold a token: no `Debug`.
#[derive(Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Request {
    UserAdd {
        address: String,
    },
    UserList,
    /// A new one-time code; the old login stays until it is used.
    UserReset {
        address: String,
    },
    /// Sets the quota where one is given (`5G`, `none`, `default`); tells it, and what the account holds.
    UserQuota {
        address: String,
        quota: Option<String>,
        /// The same of messages (`100000`, `none`, `default`).
        messages: Option<String>,
    },
    /// The account with all its mail.
    UserRemove {
        address: String,
    },
    /// A random token where none is given.
    AppPasswordAdd {
        address: String,
        name: String,
        token: Option<String>,
    },
    AppPasswordList {
        address: String,
    },
    AppPasswordRevoke {
        address: String,
        name: String,
    },
    QueueList,
    /// Answered with an archive; see [`backup()`].
    Backup,
}

/// A response: one line of JSON, `{"response": "code", …}`. May hold a code or a token: no `Debug`.
#[derive(Serialize, Deserialize)]
#[serde(tag = "response", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Response {
    /// Done, nothing to say.
    Done,
    /// A one-time code, shown once.
    Code {
        address: String,
        code: String,
    },
    Users {
        users: Vec<User>,
    },
    /// An app password; `token` is shown once.
    AppPassword {
        address: String,
        name: String,
        token: String,
    },
    AppPasswords {
        address: String,
        app_passwords: Vec<AppPasswordInfo>,
    },
    Queue {
        entries: Vec<Queued>,
    },
    /// No limit: as much as there is room for. `is_default`: the limit is the configured one.
    Quota {
        address: String,
        limit: Option<u64>,
        is_default: bool,
        octets: u64,
        message_limit: Option<u64>,
        is_message_default: bool,
        messages: u64,
    },
    /// An archive follows.
    Backup,
    /// It is whole.
    BackupDone {
        accounts: u64,
        messages: u64,
        octets: u64,
    },
    /// Refused; the sentence says what to do.
    Error {
        message: String,
    },
}

/// An account.
#[derive(Debug, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct User {
    pub address: String,
    /// RFC 3339.
    pub created: String,
    pub enrolled: bool,
    pub has_key: bool,
}

/// An app password, without its token.
#[derive(Debug, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct AppPasswordInfo {
    pub name: String,
    /// RFC 3339.
    pub created: String,
}

/// A queue entry.
#[derive(Debug, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Queued {
    pub id: i64,
    pub sender: Option<String>,
    pub domain: String,
    pub recipients: Vec<String>,
    pub octets: u64,
    pub received: String,
    pub due: String,
    pub attempts: u32,
    pub last_error: Option<String>,
}

/// Why a request was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// The request makes no sense here.
    #[error("{0}")]
    Refused(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The change to the server's user.
    #[error(transparent)]
    Privileges(#[from] PrivilegeError),
    /// The control socket.
    #[error("the control socket {path} failed: {source}")]
    Socket {
        /// Where.
        path: std::path::PathBuf,
        /// Reason.
        source: std::io::Error,
    },
    /// Where the backup was to go.
    #[error("the backup could not be written: {0}; free some space there or name a file on another disk")]
    Output(String),
    /// The server said something that is no response.
    #[error("the server's answer was not understood; is it of another version?")]
    Answer,
}

fn refused(text: impl Into<String>) -> AdminError {
    AdminError::Refused(text.into())
}

/// What a request works on.
pub struct Admin<'a> {
    /// Settings.
    pub config: &'a Config,
    /// The store.
    pub store: &'a dyn Store,
    /// The time.
    pub clock: &'a dyn Clock,
    /// The running server's sessions, if one runs.
    pub auth: Option<&'a Authenticator>,
}

impl Admin<'_> {
    /// Does what is asked; failures are [`Response::Error`].
    pub async fn handle(&self, request: Request) -> Response {
        match self.try_handle(request).await {
            Ok(response) => response,
            Err(error) => Response::Error { message: error.to_string() },
        }
    }

    async fn try_handle(&self, request: Request) -> Result<Response, AdminError> {
        match request {
            Request::UserAdd { address } => self.user_add(&address).await,
            Request::UserList => self.user_list().await,
            Request::UserReset { address } => self.user_reset(&address).await,
            Request::UserQuota { address, quota, messages } => {
                self.user_quota(&address, quota.as_deref(), messages.as_deref()).await
            }
            Request::UserRemove { address } => self.user_remove(&address).await,
            Request::AppPasswordAdd { address, name, token } => {
                self.app_password_add(&address, name, token).await
            }
            Request::AppPasswordList { address } => self.app_password_list(&address).await,
            Request::AppPasswordRevoke { address, name } => self.app_password_revoke(&address, &name).await,
            Request::QueueList => self.queue_list().await,
            Request::Backup => Err(refused("a backup is more than one response")),
        }
    }

    fn address(&self, text: &str) -> Result<Address, AdminError> {
        let address = Address::parse(text).map_err(|e| refused(format!("{text}: {e}")))?;
        if self.config.is_local(&address.domain()) {
            return Ok(address);
        }
        let ours: Vec<_> = self.config.domains.iter().map(ToString::to_string).collect();
        Err(refused(format!("{address} is in none of this server's domains ({})", ours.join(", "))))
    }

    async fn account(&self, text: &str) -> Result<(Address, sealpost_store::account::AccountId), AdminError> {
        let address = self.address(text)?;
        match self.store.account(&address).await? {
            Some(account) => Ok((address, account.id)),
            None => Err(refused(format!("there is no account {address}; see `sealpost user list`"))),
        }
    }

    /// A one-time code (130 bits), its hash and its end.
    fn code(&self) -> (zeroize::Zeroizing<String>, [u8; 32], sealpost_proto::time::Timestamp) {
        let code = apppass::random_token();
        let hash = Sha256::digest(code.as_bytes()).into();
        let life = self.config.accounts.code_lifetime.as_secs();
        (code, hash, self.clock.now().plus(i64::try_from(life).unwrap_or(i64::MAX)))
    }

    async fn user_add(&self, text: &str) -> Result<Response, AdminError> {
        let address = self.address(text)?;
        if address.without_detail().is_some() {
            return Err(refused(format!("{address} has a +detail, which belongs to the account without it")));
        }
        let (code, hash, expires) = self.code();
        match self.store.create_account(&address, hash, expires, self.clock.now()).await {
            Ok(_) => Ok(Response::Code { address: address.to_string(), code: code.to_string() }),
            Err(StoreError::Exists(_)) => Err(refused(format!(
                "{address} exists already; `sealpost user reset` makes a new code for it"
            ))),
            Err(error) => Err(error.into()),
        }
    }

    async fn user_reset(&self, text: &str) -> Result<Response, AdminError> {
        let (address, _) = self.account(text).await?;
        let (code, hash, expires) = self.code();
        self.store.reset_account(&address, hash, expires).await?;
        Ok(Response::Code { address: address.to_string(), code: code.to_string() })
    }

    async fn user_quota(
        &self,
        text: &str,
        quota: Option<&str>,
        messages: Option<&str>,
    ) -> Result<Response, AdminError> {
        let (address, account) = self.account(text).await?;
        let parse = |text: &str, parse: fn(&str) -> Result<Quota, &'static str>| match text {
            "default" => Ok(Quota::Default),
            text => parse(text).map_err(|what| refused(format!("{what}, or `default`"))),
        };
        // Both are read before one is set.
        let quota = quota.map(|text| parse(text, quota::parse)).transpose()?;
        let messages = messages.map(|text| parse(text, quota::parse_messages)).transpose()?;
        if let Some(quota) = quota {
            self.store.set_quota(&address, Resource::Octets, quota).await?;
        }
        if let Some(quota) = messages {
            self.store.set_quota(&address, Resource::Messages, quota).await?;
        }
        let own = self.store.quotas(account).await?;
        let (limit, message_limit) = quota::limits(self.config, own);
        let held = self.store.usage(account).await?;
        Ok(Response::Quota {
            address: address.to_string(),
            limit,
            is_default: own.octets == Quota::Default,
            octets: held.octets,
            message_limit,
            is_message_default: own.messages == Quota::Default,
            messages: held.messages,
        })
    }

    async fn user_remove(&self, text: &str) -> Result<Response, AdminError> {
        let (address, account) = self.account(text).await?;
        self.store.remove_account(&address).await?;
        if let Some(auth) = self.auth {
            auth.close_sessions(account, None);
        }
        Ok(Response::Done)
    }

    async fn user_list(&self) -> Result<Response, AdminError> {
        let user = |a: sealpost_store::account::Account| User {
            address: a.address.to_string(),
            created: a.created.to_rfc3339(),
            enrolled: a.enrolled,
            has_key: a.has_key,
        };
        Ok(Response::Users { users: self.store.accounts().await?.into_iter().map(user).collect() })
    }

    async fn app_password_add(
        &self,
        text: &str,
        name: String,
        token: Option<String>,
    ) -> Result<Response, AdminError> {
        let (address, account) = self.account(text).await?;
        let length = name.chars().count();
        if length == 0 || length > NAME_MAX || name.chars().any(char::is_control) {
            return Err(refused(format!(
                "the name of an app password has 1 to {NAME_MAX} printable characters"
            )));
        }
        let token = match token.map(zeroize::Zeroizing::new) {
            None => apppass::random_token(),
            Some(token) if token.chars().count() < apppass::TOKEN_MIN => {
                return Err(refused(format!("a token has at least {} characters", apppass::TOKEN_MIN)));
            }
            // Programs hash other characters each in a way of their own (SASLprep or not), and all of ASCII alike.
            Some(token)
                if token.len() > apppass::TOKEN_MAX || !token.bytes().all(|b| (b' '..=b'~').contains(&b)) =>
            {
                return Err(refused(format!(
                    "a token has at most {} characters, all of them printable ASCII",
                    apppass::TOKEN_MAX
                )));
            }
            Some(token) => token,
        };
        if self.store.app_passwords(account).await?.len() >= apppass::PER_ACCOUNT_MAX {
            return Err(refused(format!(
                "{address} has {} app passwords already; revoke one first",
                apppass::PER_ACCOUNT_MAX
            )));
        }
        let salt = apppass::salt(&self.store.server_secret().await?, address.as_str());
        let made = apppass::make(&name, &token, salt, self.clock.now());
        match self.store.add_app_password(account, made).await {
            Ok(()) => {
                Ok(Response::AppPassword { address: address.to_string(), name, token: token.to_string() })
            }
            Err(StoreError::Exists(_)) => {
                Err(refused(format!("{address} has an app password `{name}` already; choose another name")))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn app_password_list(&self, text: &str) -> Result<Response, AdminError> {
        let (address, account) = self.account(text).await?;
        let info = |p: sealpost_store::account::AppPassword| AppPasswordInfo {
            name: p.name,
            created: p.created.to_rfc3339(),
        };
        let app_passwords = self.store.app_passwords(account).await?.into_iter().map(info).collect();
        Ok(Response::AppPasswords { address: address.to_string(), app_passwords })
    }

    async fn app_password_revoke(&self, text: &str, name: &str) -> Result<Response, AdminError> {
        let (address, account) = self.account(text).await?;
        match self.store.revoke_app_password(account, name).await {
            Ok(()) => {}
            Err(StoreError::Gone(_)) => {
                return Err(refused(format!("{address} has no app password `{name}`")));
            }
            Err(error) => return Err(error.into()),
        }
        if let Some(auth) = self.auth {
            auth.close_app_password(account, name);
        }
        Ok(Response::Done)
    }

    async fn queue_list(&self) -> Result<Response, AdminError> {
        let queued = |q: sealpost_store::queue::QueueEntry| Queued {
            id: q.id.0,
            sender: q.reverse_path,
            domain: q.entry.domain.to_string(),
            recipients: q.entry.recipients,
            octets: q.entry.body.len(),
            received: q.entry.received.to_rfc3339(),
            due: q.entry.due.to_rfc3339(),
            attempts: q.attempts,
            last_error: q.last_error,
        };
        Ok(Response::Queue { entries: self.store.queued().await?.into_iter().map(queued).collect() })
    }
}

/// The store itself, as the server's user: what root made, the server could not open.
async fn open(config: &Config) -> Result<std::sync::Arc<SqliteStore>, AdminError> {
    if let Some(user) = &config.user {
        privileges::become_user(user, &config.data_dir)?;
    }
    privileges::check_owner(&config.data_dir)?;
    open_as_is(config).await
}

/// The same for a look: makes no store where there is none, and stays who we are.
async fn open_existing(config: &Config) -> Result<std::sync::Arc<SqliteStore>, AdminError> {
    if !config.data_dir.join("store.db").exists() {
        return Err(refused(format!("there is no store in {}", config.data_dir.display())));
    }
    open_as_is(config).await
}

async fn open_as_is(config: &Config) -> Result<std::sync::Arc<SqliteStore>, AdminError> {
    let folder = config.data_dir.clone();
    let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&folder)).await;
    Ok(opened.map_err(|e| StoreError::Io(std::io::Error::other(e)))??)
}

/// Asks the running server through its control socket; where none runs, opens the store (whose lock keeps a server
/// out meanwhile) and does it here.
pub async fn call(config: &Config, request: Request) -> Result<Response, AdminError> {
    let response = match reach::reach(config, || open(config)).await? {
        Reached::Server(stream) => socket::ask(config, stream, &request).await?,
        Reached::Store(store) => {
            let admin = Admin {
                config,
                store: store.as_ref(),
                clock: &sealpost_proto::time::SystemClock,
                auth: None,
            };
            admin.handle(request).await
        }
    };
    match response {
        Response::Error { message } => Err(AdminError::Refused(message)),
        response => Ok(response),
    }
}
