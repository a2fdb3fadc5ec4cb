//! Whose server is it, and is it really: SRV, MX, TLS, the binding of server names to domains, PUBKEY asked
//! directly (profile §8). Shared by `sealpost-server` (relay, keys of other domains) and `sealpost-client`.

pub mod zone;

use sealpost_proto::{
    address::{Domain, Mailbox},
    key::PublicKey,
    statement::Chain,
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
    /// SRV or MX are DNSSEC-valid.
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
    /// 550, definite.
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
    /// Roots could not be read.
    #[error("the certificate file could not be read: {0}")]
    Roots(String),
}

/// Look-ups. Cheap to clone.
#[derive(Clone)]
pub struct Lookup {
    config: Arc<LookupConfig>,
}

impl Lookup {
    /// Reads roots and sets up the resolver.
    pub fn new(config: LookupConfig) -> Result<Self, LookupError> {
        Ok(Self { config: Arc::new(config) })
    }
    /// TLS settings with the roots of this look-up.
    pub fn tls(&self) -> Arc<rustls::ClientConfig> {
        let _ = &self.config;
        todo!()
    }
    /// The domain's MX servers by preference, each most-preferred group first; the domain itself where there is no
    /// MX (RFC 5321 §5.1).
    pub async fn mx(&self, domain: &Domain) -> Result<Vec<ServerHost>, LookupError> {
        let _ = domain;
        todo!()
    }
    /// Submission servers (SRV `_submissions._tcp`), for one's own domain.
    pub async fn submission(&self, domain: &Domain) -> Result<Vec<ServerHost>, LookupError> {
        let _ = domain;
        todo!()
    }
    /// IMAP servers (SRV `_imaps._tcp`, else the submission host on 993).
    pub async fn imap(&self, domain: &Domain) -> Result<Vec<ServerHost>, LookupError> {
        let _ = domain;
        todo!()
    }
    /// Asks the domain's own server for the keys of `addresses` (all of one domain), in the order of profile §8
    /// steps 1 to 3, over verified TLS only; one connection, pipelined.
    pub async fn keys(&self, domain: &Domain, addresses: &[Mailbox]) -> Result<DirectAnswer, LookupError> {
        let _ = (domain, addresses);
        todo!()
    }
}
