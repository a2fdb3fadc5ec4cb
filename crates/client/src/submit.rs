//! The conversation with the home server: finding it, proving it, signing in, handing over mail (profile §4, §7).
//!
//! The order is in the types. [`Found`] is a server inside verified TLS whose name may or may not be tied to the
//! address's domain; only a [`Home`], which is bound or which the user has confirmed, can be told a login hash.

use sealpost_lookup::{Keyword, Lookup, LookupError, ServerHost, keywords};
use sealpost_proto::{
    address::{Address, Domain},
    drive::{Connection, Envelope, Refusal, SmtpError, Tls},
    phc::{LoginHash, Salt},
    smtp::client::Reply,
};
use std::{collections::BTreeSet, io::Read, time::Duration};
use tokio::time::{Instant, timeout_at};

/// Finding the server and reaching one of its hosts on one of their addresses, greeting and EHLO included, all told.
const FIND_TIMEOUT: Duration = Duration::from_secs(2 * 60);

/// Why the home server could not be talked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HomeError {
    /// It could not be found.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// It was found and could not be talked to, or refused.
    #[error("{server}: {error}")]
    Smtp {
        /// Its name.
        server: String,
        /// Why.
        error: SmtpError,
    },
}

/// A home server that was reached with implicit TLS and a certificate valid for its name. Nothing secret was said.
pub struct Found {
    host: ServerHost,
    connection: Connection<Tls>,
}

impl Found {
    /// Finds and reaches a submission server of `domain`. Verified TLS or an error, never clear text (R03).
    pub async fn connect(lookup: &Lookup, domain: &Domain) -> Result<Self, HomeError> {
        let deadline = Instant::now() + FIND_TIMEOUT;
        let slow = || LookupError::Dns { domain: domain.clone(), reason: "it took too long".into() };
        let hosts = timeout_at(deadline, lookup.submission(domain)).await.map_err(|_| slow())??;
        let mut last = None;
        for host in hosts {
            let connected = timeout_at(deadline, lookup.connect(&host)).await;
            match connected.unwrap_or(Err(SmtpError::Timeout("EHLO"))) {
                Ok(connection) => return Ok(Self { host, connection }),
                Err(error) => last = Some(HomeError::Smtp { server: host.name, error }),
            }
        }
        let none = || {
            LookupError::Dns { domain: domain.clone(), reason: "it names no submission server".into() }.into()
        };
        Err(last.unwrap_or_else(none))
    }
    /// Who answered, and its tie to the domain: what the user is shown where nothing binds it.
    pub fn host(&self) -> &ServerHost {
        &self.host
    }
    /// The server as home, where its name is bound to the domain (profile §8).
    #[allow(clippy::result_large_err, reason = "the other half of a choice, not a failure")]
    pub fn if_bound(self) -> Result<Home, Self> {
        if self.host.is_authenticated() { Ok(self.into_home()) } else { Err(self) }
    }
    /// The server as home because the user confirmed its name, now or (remembered) before. The caller has compared the
    /// name with the one confirmed.
    pub fn confirmed(self) -> Home {
        self.into_home()
    }
    fn into_home(self) -> Home {
        Home { host: self.host, connection: self.connection }
    }
}

/// The home server, which may be told a login hash.
pub struct Home {
    host: ServerHost,
    connection: Connection<Tls>,
}

/// What came of one recipient.
pub type RecipientResult = (String, Result<Reply, Refusal>);

impl Home {
    /// Who it is.
    pub fn host(&self) -> &ServerHost {
        &self.host
    }
    /// What it offers inside TLS.
    pub fn keywords(&self) -> BTreeSet<Keyword> {
        keywords(self.connection.capabilities())
    }
    /// The conversation, with all the verbs of an account: login in two steps, salts, keys, enrolment, keyring.
    pub fn session(&mut self) -> &mut Connection<Tls> {
        &mut self.connection
    }
    /// AUTH HASHEDPASS in one step. Returns the key salt.
    pub async fn sign_in(&mut self, user: &Address, hash: &LoginHash) -> Result<Salt, HomeError> {
        let salt = self.connection.authenticate_hashed_pass(user, hash).await;
        salt.map_err(|error| self.error(error))
    }
    /// Hands over one message of exactly `envelope.size` octets; `progress` is told the octets sent. One result for
    /// each recipient, in order: 2xx means that the home server has taken responsibility.
    ///
    /// UTF-8 addresses need SMTPUTF8, and 8-bit octets 8BITMIME; where the server lacks them nothing is sent.
    pub async fn submit(
        &mut self,
        envelope: &Envelope,
        octets: Box<dyn Read + Send>,
        progress: impl FnMut(u64) + Send,
    ) -> Result<Vec<RecipientResult>, HomeError> {
        let outcome = self.connection.send_message(envelope, octets, progress).await;
        let outcome = outcome.map_err(|error| self.error(error))?;
        Ok(envelope.recipients.iter().cloned().zip(outcome.recipients).collect())
    }
    /// Names the server in an error of its conversation.
    pub fn error(&self, error: SmtpError) -> HomeError {
        HomeError::Smtp { server: self.host.name.clone(), error }
    }
    /// Says goodbye.
    pub async fn quit(self) {
        self.connection.quit().await;
    }
}
