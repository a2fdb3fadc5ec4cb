//! Whose server is it, and is it really: SRV, MX, TLS, the binding of server names to domains, PUBKEY asked
//! directly (profile §8). Shared by `sealpost-server` (relay, keys of other domains) and `sealpost-client`.

mod binding;
mod connect;
mod dns;
#[doc(hidden)]
pub mod hostile;
mod https;
mod keys;
mod mta_sts;
mod servers;
mod tls;
pub mod zone;

pub use keys::keywords;

use sealpost_proto::{
    address::{Domain, Mailbox},
    key::PublicKey,
    statement::Chain,
    time::{Clock, SystemClock},
    transcript::Tap,
};
use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, sync::Arc};

/// Where names are resolved, which certificates are trusted, which port MX servers listen on.
#[derive(Debug, Clone, Default)]
pub struct LookupConfig {
    /// A resolver of one's own; the system's where `None`.
    pub dns: Option<SocketAddr>,
    /// PEM file of trusted roots; the system's where `None`.
    pub ca_file: Option<PathBuf>,
    /// Port of MX servers where it is not 25.
    pub mx_port: Option<u16>,
    /// Name for EHLO.
    pub ehlo_name: Option<String>,
}

/// How a server's name is bound to the mail domain it answered for (profile §8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binding {
    /// The name is the domain, or one label under it and the domain is not a public suffix.
    Name,
    /// An MTA-STS policy in mode enforce lists it.
    MtaSts,
    /// SRV or MX are DNSSEC-valid. Not reached yet: the resolver does not validate (`docs/protocol.md`).
    Dnssec,
    /// Nothing binds it: unauthenticated. Says why.
    None(String),
}

impl Binding {
    /// Whether it authenticates.
    pub fn is_authenticated(&self) -> bool {
        !matches!(self, Self::None(_))
    }
}

/// How a server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TLS from the first octet.
    Implicit,
    /// STARTTLS, required.
    StartTls,
}

/// A server to talk to, found in DNS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerHost {
    /// Its name, which its certificate must bear.
    pub name: String,
    /// Addresses with port.
    pub addresses: Vec<SocketAddr>,
    /// How.
    pub transport: Transport,
    /// Its tie to the domain.
    pub binding: Binding,
}

/// EHLO keywords that trust remembers per domain (profile §7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Keyword {
    /// ENCRYPTMESSAGE
    EncryptMessage,
    /// SIGNMESSAGE
    SignMessage,
    /// AUTH HASHEDPASS
    HashedPass,
    /// XSEALPOST 1
    Sealpost,
}

/// What a server said of one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyAnswer {
    /// 220, with the chain from XKEYINFO (empty where the server has none or no XSEALPOST).
    Key(PublicKey, Chain),
    /// The server said 550. It is definite only where the host is authenticated (profile §8): whoever takes this for
    /// leave to send plain mail must look at [`ServerHost::binding`] first.
    NoKey,
    /// No definite answer; says why.
    Failed(String),
}

/// What one server said of the addresses of its domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectAnswer {
    /// Who answered.
    pub host: ServerHost,
    /// Keywords inside TLS.
    pub keywords: BTreeSet<Keyword>,
    /// One answer for each address asked for, in order.
    pub answers: Vec<(Mailbox, KeyAnswer)>,
}

/// Why no server could be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// DNS failed or timed out.
    #[error("the servers of {domain} could not be found: {reason}")]
    Dns {
        /// Domain.
        domain: Domain,
        /// Reason.
        reason: String,
    },
    /// No server could be reached with verified TLS.
    #[error("no server of {domain} could be reached securely: {reason}")]
    Unreachable {
        /// Domain.
        domain: Domain,
        /// Reason, one clause for each server tried.
        reason: String,
    },
    /// The domain says it takes no mail (RFC 7505), or does not exist.
    #[error("{0} takes no mail")]
    NoMail(Domain),
    /// The resolver could not be set up.
    #[error("the system's resolver could not be used: {0}; name one with --dns")]
    Resolver(String),
    /// Roots could not be read.
    #[error("the certificate file could not be read: {0}")]
    Roots(String),
}

/// What tests and unusual set-ups change.
#[derive(Clone)]
pub struct Settings {
    /// The time: statements are judged by it, and kept MTA-STS policies.
    pub clock: Arc<dyn Clock>,
    /// Port of the HTTPS servers that MTA-STS policies come from.
    pub https_port: u16,
    /// Port of the MX servers' submission service (profile §8 step 2).
    pub submissions_port: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), https_port: 443, submissions_port: SUBMISSIONS_PORT }
    }
}

/// Look-ups. Cheap to clone.
#[derive(Clone)]
pub struct Lookup {
    inner: Arc<Inner>,
    tap: Option<Arc<dyn Tap>>,
}

struct Inner {
    config: LookupConfig,
    settings: Settings,
    dns: dns::Dns,
    tls: Arc<rustls::ClientConfig>,
    tls_opportunistic: Arc<rustls::ClientConfig>,
    policies: mta_sts::Cache,
}

impl Lookup {
    /// Reads roots and sets up the resolver.
    pub fn new(config: LookupConfig) -> Result<Self, LookupError> {
        Self::with_settings(config, Settings::default())
    }
    /// The same with another clock or HTTPS port.
    pub fn with_settings(config: LookupConfig, settings: Settings) -> Result<Self, LookupError> {
        let inner = Inner {
            dns: dns::Dns::new(&config)?,
            tls: tls::verified(&config)?,
            tls_opportunistic: tls::opportunistic()?,
            policies: mta_sts::Cache::default(),
            config,
            settings,
        };
        Ok(Self { inner: Arc::new(inner), tap: None })
    }
    /// The same look-up (caches and all), whose conversations are recorded.
    #[must_use]
    pub fn with_tap(&self, tap: Arc<dyn Tap>) -> Self {
        Self { inner: Arc::clone(&self.inner), tap: Some(tap) }
    }
    /// TLS settings with the roots of this look-up: chain and name are verified.
    pub fn tls(&self) -> Arc<rustls::ClientConfig> {
        Arc::clone(&self.inner.tls)
    }
    /// TLS settings that take any certificate, for the relay where nothing asks for more (RFC 7435).
    pub fn tls_opportunistic(&self) -> Arc<rustls::ClientConfig> {
        Arc::clone(&self.inner.tls_opportunistic)
    }
    /// The port MX servers listen on.
    pub fn mx_port(&self) -> u16 {
        self.inner.config.mx_port.unwrap_or(SMTP_PORT)
    }
}

/// RFC 5321 §4.5.4.2
const SMTP_PORT: u16 = 25;
/// RFC 8314 §7.3
const SUBMISSIONS_PORT: u16 = 465;
/// RFC 8314 §7.2
const IMAPS_PORT: u16 = 993;
