//! Starting and stopping: listeners, the relay, the control socket.

use crate::{
    admin,
    config::{Config, ConfigError},
    conn::Conn,
    context::Context,
    imap,
    limits::Network,
    relay, smtp, tls,
};
use sealpost_proto::{
    smtp::server::Role,
    time::{Clock, SystemClock},
};
use sealpost_store::{Store, StoreError, sqlite::SqliteStore};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinSet,
};

/// Sessions at once, over all listeners: what a machine with the usual limits on files can hold.
const SESSIONS_MAX: usize = 16_384;
/// How long running transactions may take to end after a shutdown began.
const GRACE: Duration = Duration::from_secs(10);
/// Pause after a failed `accept`, which is nearly always "too many open files".
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Certificate or key.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Look-ups.
    #[error(transparent)]
    Lookup(#[from] sealpost_lookup::LookupError),
    /// An address is taken, or needs privileges.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// Address.
        address: String,
        /// Reason.
        source: io::Error,
    },
}

/// What a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    Smtp(Role),
    Imap,
}

/// The addresses really listened on (port 0 settled).
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// MX.
    pub smtp: Vec<SocketAddr>,
    /// Submission, STARTTLS.
    pub submission: Vec<SocketAddr>,
    /// Submission, implicit TLS.
    pub submissions: Vec<SocketAddr>,
    /// IMAP, STARTTLS.
    pub imap: Vec<SocketAddr>,
    /// IMAP, implicit TLS.
    pub imaps: Vec<SocketAddr>,
}

/// A running server.
pub struct RunningServer {
    /// Where it listens.
    pub addresses: Addresses,
    /// What its sessions share.
    pub context: Context,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// Memory holds login hashes and tokens for moments; a core dump would put them on the disk for good (profile §10).
fn forbid_core_dumps() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "core dumps could not be switched off");
    }
    // The limit does not hold for a core_pattern that is a pipe; this does.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
    {
        tracing::warn!(%error, "core dumps could not be switched off");
    }
}

/// Opens the store and starts serving: the program's way in. Core dumps of the process are switched off.
pub async fn run(config: Config) -> Result<RunningServer, RunError> {
    config.check()?;
    forbid_core_dumps();
    let folder = config.data_dir.clone();
    let store = tokio::task::spawn_blocking(move || SqliteStore::open(&folder))
        .await
        .map_err(|e| StoreError::Io(io::Error::other(e)))??;
    run_with(config, store, Arc::new(SystemClock)).await
}

/// Starts serving from a store and by a clock that are handed in.
pub async fn run_with(
    config: Config,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
) -> Result<RunningServer, RunError> {
    let (context, stop) = Context::new(config, store, clock)?;
    let listen = context.config.listen.clone();
    let mut server = RunningServer { addresses: Addresses::default(), context, stop, tasks: JoinSet::new() };
    // Before the ports: who finds them open may administer the server.
    let socket = admin::socket::bind(&server.context)?;
    server.tasks.spawn(admin::socket::serve(socket, server.context.clone()));
    let places = Arc::new(Semaphore::new(SESSIONS_MAX));
    let addresses = &mut server.addresses;
    for (wanted, bound, service, implicit_tls) in [
        (&listen.smtp, &mut addresses.smtp, Service::Smtp(Role::Mx), false),
        (&listen.submission, &mut addresses.submission, Service::Smtp(Role::Submission), false),
        (&listen.submissions, &mut addresses.submissions, Service::Smtp(Role::Submission), true),
        (&listen.imap, &mut addresses.imap, Service::Imap, false),
        (&listen.imaps, &mut addresses.imaps, Service::Imap, true),
    ] {
        for address in wanted {
            let bind = |source| RunError::Bind { address: address.to_string(), source };
            let listener = TcpListener::bind(address).await.map_err(bind)?;
            bound.push(listener.local_addr().map_err(bind)?);
            let context = server.context.clone();
            server.tasks.spawn(accept(listener, service, implicit_tls, context, places.clone()));
        }
    }
    let mut stopping = server.context.shutdown.clone();
    let stopped = async move { drop(stopping.wait_for(|stop| *stop).await) };
    server.tasks.spawn(relay::run(server.context.clone(), stopped));
    Ok(server)
}

impl RunningServer {
    /// Reads certificate and key again (SIGHUP); the old ones stay when that fails.
    pub fn reload(&self) {
        match self.context.certificate.reload() {
            Ok(()) => tracing::info!("certificate reloaded"),
            Err(error) => tracing::error!(%error, "the old certificate stays in use"),
        }
    }

    /// Serves until SIGTERM or SIGINT, reloading at SIGHUP; then shuts down.
    pub async fn run_until_signal(self) -> io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut term, mut int, mut hup) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
        );
        loop {
            tokio::select! {
                _ = term.recv() => break,
                _ = int.recv() => break,
                _ = hup.recv() => self.reload(),
            }
        }
        self.shutdown().await;
        Ok(())
    }

    /// Stops accepting, lets running transactions end within a bounded time, ends every session.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        // Listeners drain their own sessions within GRACE; a little more for them to do so.
        let drain = async { while self.tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(GRACE + Duration::from_secs(1), drain).await;
        self.tasks.shutdown().await;
        let _ = std::fs::remove_file(self.context.config.control_socket());
    }
}

async fn accept(
    listener: TcpListener,
    service: Service,
    implicit_tls: bool,
    context: Context,
    places: Arc<Semaphore>,
) {
    let mut sessions = JoinSet::new();
    let mut stopping = context.shutdown.clone();
    loop {
        let accepted = tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => break,
            Some(_) = sessions.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (Ok(mut conn), Ok(place)) = (Conn::new(socket), places.clone().try_acquire_owned()) else {
            continue;
        };
        let context = context.clone();
        sessions.spawn(async move {
            let _place = place;
            let Some(_session) = context.sessions.enter(Network::from(conn.peer.ip())) else {
                if !implicit_tls {
                    let refusal: &[u8] = match service {
                        Service::Smtp(_) => b"421 4.7.0 Too many sessions from your address\r\n",
                        Service::Imap => b"* BYE Too many sessions from your address\r\n",
                    };
                    let _ = conn.write(refusal).await;
                }
                return;
            };
            if implicit_tls {
                conn = match conn.start_tls(&context.tls).await {
                    Ok(conn) => conn,
                    Err(error) => return tracing::debug!(%error, "TLS handshake failed"),
                };
            }
            match service {
                Service::Smtp(role) => smtp::serve(conn, context, role).await,
                Service::Imap => imap::serve(conn, context).await,
            }
        });
    }
    drop(listener);
    let drain = async { while sessions.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(GRACE, drain).await;
    sessions.shutdown().await;
}
