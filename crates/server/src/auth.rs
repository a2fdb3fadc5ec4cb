//! Who may sign in, how often one may try, and which sessions must close (profile §4).

use sealpost_proto::{
    address::Address,
    phc::{Challenge, LoginHash},
};
use sealpost_store::{StoreError, account::AccountId};
use std::net::IpAddr;
use tokio::sync::watch;

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
}

/// Why a login failed. Each maps to one reply in SMTP, IMAP and POP3.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// 535 / NO [AUTHENTICATIONFAILED] / -ERR [AUTH]; already delayed to constant time.
    #[error("the address or the password is wrong")]
    Invalid,
    /// 421 4.7.0 / BYE.
    #[error("too many failed logins from this network; try again in ten minutes")]
    TooMany,
    /// 454 4.7.0 / NO [UNAVAILABLE].
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Checks logins, counts failures, knows open sessions.
pub struct Authenticator {
    _private: (),
}

impl Authenticator {
    /// The challenge for a user name: the account's own, else a steady false one (profile §4).
    pub async fn challenge(&self, user: &Address) -> Result<Challenge, AuthError> {
        let _ = user;
        todo!()
    }
    /// HASHEDPASS.
    pub async fn hashed_pass(
        &self,
        user: &Address,
        hash: &LoginHash,
        peer: IpAddr,
    ) -> Result<SignedIn, AuthError> {
        let _ = (user, hash, peer);
        todo!()
    }
    /// PLAIN and LOGIN: app passwords only.
    pub async fn app_password(&self, user: &str, token: &str, peer: IpAddr) -> Result<SignedIn, AuthError> {
        let _ = (user, token, peer);
        todo!()
    }
    /// Closes all sessions of an account but `except` (XPASSWD, XENROL, revocation).
    pub fn close_sessions(&self, account: AccountId, except: Option<u64>) {
        let _ = (account, except);
        todo!()
    }
}
