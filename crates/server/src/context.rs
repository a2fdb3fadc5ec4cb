//! What every session shares.

use crate::{auth::Authenticator, config::Config};
use sealpost_lookup::Lookup;
use sealpost_proto::time::Clock;
use sealpost_store::Store;
use std::sync::Arc;

/// Handed to every session; cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// Settled configuration.
    pub config: Arc<Config>,
    /// The store.
    pub store: Arc<dyn Store>,
    /// Logins, their limits, and the registry of sessions to close.
    pub auth: Arc<Authenticator>,
    /// Look-ups in other domains.
    pub lookup: Lookup,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Certificates for STARTTLS and implicit TLS (reloadable).
    pub tls: tokio_rustls::TlsAcceptor,
}
