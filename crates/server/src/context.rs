//! What every session shares.

use crate::{
    auth::Authenticator,
    config::Config,
    conn::Conn,
    limits::{self, Gauge, Limiter},
    network::{Internet, Network},
    run::RunError,
    tls::{self, Certificate},
};
use sealpost_lookup::{Lookup, LookupConfig};
use sealpost_proto::time::Clock;
use sealpost_store::Store;
use std::{io, sync::Arc};
use tokio::sync::watch;

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
    /// How the relay reaches them.
    pub network: Arc<dyn Network>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Certificates for STARTTLS and implicit TLS (reloadable).
    pub tls: tokio_rustls::TlsAcceptor,
    /// The certificate behind [`Context::tls`].
    pub certificate: Arc<Certificate>,
    /// PUBKEY and XKEYINFO, by network.
    pub lookups: Arc<Limiter<limits::Network>>,
    /// Open sessions, by network.
    pub sessions: Arc<Gauge<limits::Network>>,
    /// Turns true when the server shuts down: finish what runs, then 421 / BYE.
    pub shutdown: watch::Receiver<bool>,
}

impl Context {
    /// TLS on a connection; given up when the server stops, for nothing has begun that anybody would miss.
    pub async fn start_tls(&self, conn: Conn) -> io::Result<Conn> {
        let mut stopping = self.shutdown.clone();
        let before = self.certificate.current();
        let conn = tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => Err(io::Error::from(io::ErrorKind::ConnectionAborted)),
            shaken = conn.start_tls(&self.tls) => shaken,
        }?;
        // Where the certificate was replaced meanwhile, nobody knows which of both was shown.
        let after = self.certificate.current();
        Ok(if Arc::ptr_eq(&before, &after) { conn.with_end_point(after.end_point.clone()) } else { conn })
    }

    /// Builds everything that sessions share; the sender starts the shutdown.
    pub fn new(
        config: Config,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, watch::Sender<bool>), RunError> {
        let certificate = Certificate::load(&config.tls)?;
        Self::with_certificate(config, certificate, store, clock)
    }

    /// The same with a certificate that was read already.
    pub fn with_certificate(
        config: Config,
        certificate: Arc<Certificate>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, watch::Sender<bool>), RunError> {
        let lookup = Lookup::new(LookupConfig {
            dns: config.dns,
            ca_file: config.ca_file.clone(),
            mx_port: (config.mx_port != 25).then_some(config.mx_port),
            ehlo_name: Some(config.hostname.clone()),
        })?;
        let max = |n: u32| if config.limits.no_limits { 0 } else { n };
        let (stop, shutdown) = watch::channel(false);
        let context = Self {
            auth: Arc::new(Authenticator::new(store.clone(), clock.clone(), &config)),
            lookups: Arc::new(Limiter::new(clock.clone(), max(config.limits.lookups_per_minute), 60)),
            sessions: Arc::new(Gauge::new(max(config.limits.sessions_per_address))),
            tls: tls::acceptor(certificate.clone())?,
            config: Arc::new(config),
            store,
            network: Arc::new(Internet(lookup.clone())),
            lookup,
            clock,
            certificate,
            shutdown,
        };
        Ok((context, stop))
    }
}
