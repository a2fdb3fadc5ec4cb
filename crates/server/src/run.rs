//! Starting and stopping: listeners, the relay, the control socket.

use crate::{
    admin,
    config::{Config, ConfigError},
    conn::Conn,
    context::Context,
    imap,
    limits::Network,
    listen::{Addresses, Passed, Port, Service, Sockets},
    notify, places, pop3,
    privileges::{self, PrivilegeError},
    relay, smtp,
    tls::{self, Certificate},
};
use sealpost_proto::time::{Clock, SystemClock};
use sealpost_store::{Store, StoreError, sqlite::SqliteStore};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinSet,
};

/// Sessions that are told at once that there is no room for them; more are closed without a word.
const REFUSALS_MAX: usize = 64;
/// The same where a handshake comes first, which costs what a flood wants to cost us.
const TLS_REFUSALS_MAX: usize = 16;
/// How long it may take to tell them.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long running transactions may take to end after a shutdown began.
pub(crate) const GRACE: Duration = Duration::from_secs(10);
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
    /// The change of user.
    #[error(transparent)]
    Privileges(#[from] PrivilegeError),
    /// A socket of the service manager.
    #[error("the socket `{name}` that was passed in LISTEN_FDS cannot be used: {source}")]
    Passed {
        /// Its name.
        name: String,
        /// Reason.
        source: io::Error,
    },
    /// An address is taken, or needs privileges.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// Address.
        address: String,
        /// Reason.
        source: io::Error,
    },
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

/// Memory holds login hashes and tokens for moments, a client's passwords and keys too; a core dump would put them on the
/// disk for good (profile §10).
pub fn forbid_core_dumps() {
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

/// A server that has what only root can get, and is root no more.
pub struct Prepared {
    config: Config,
    sockets: Sockets,
    certificate: Arc<Certificate>,
    places: usize,
}

/// All that comes before the store is opened: core dumps are switched off, the limit on descriptors is raised, ports
/// are bound, certificate and key are read; then the process becomes `user`. Best called before there are threads.
pub fn prepare(config: Config, passed: Passed) -> Result<Prepared, RunError> {
    config.check()?;
    forbid_core_dumps();
    let descriptors = places::raise_descriptor_limit();
    let sockets = Sockets::open(&config.listen, passed)?;
    let certificate = Certificate::load(&config.tls)?;
    if let Some(user) = &config.user {
        privileges::become_user(user, &config.data_dir)?;
        if let Err(error) = std::fs::File::open(&config.tls.key) {
            tracing::warn!(
                %error,
                key = %config.tls.key.display(),
                user,
                "this user cannot read the key, so SIGHUP cannot load a new certificate; give the file to its group \
                 (mode 0640)"
            );
        }
    }
    privileges::check_owner(&config.data_dir)?;
    let places = places::places(config.limits.sessions, descriptors, places::memory());
    tracing::info!(places, descriptors, "room for sessions");
    Ok(Prepared { config, sockets, certificate, places })
}

impl Prepared {
    /// Opens the store and serves.
    pub async fn run(self) -> Result<RunningServer, RunError> {
        let folder = self.config.data_dir.clone();
        let store = tokio::task::spawn_blocking(move || SqliteStore::open(&folder))
            .await
            .map_err(|e| StoreError::Io(io::Error::other(e)))??;
        let Self { config, sockets, certificate, places } = self;
        let clock = Arc::new(SystemClock);
        let (context, stop) = Context::with_certificate(config, certificate, store, clock)?;
        let server = start(context, stop, sockets, places)?;
        notify::ready();
        Ok(server)
    }
}

/// [`prepare`] and [`Prepared::run`], without sockets from elsewhere.
pub async fn run(config: Config) -> Result<RunningServer, RunError> {
    prepare(config, Passed::none())?.run().await
}

/// Starts serving from a store and by a clock that are handed in.
pub async fn run_with(
    config: Config,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
) -> Result<RunningServer, RunError> {
    let sockets = Sockets::open(&config.listen, Passed::none())?;
    let places = places::places(config.limits.sessions, places::raise_descriptor_limit(), places::memory());
    let (context, stop) = Context::new(config, store, clock)?;
    start(context, stop, sockets, places)
}

fn start(
    context: Context,
    stop: watch::Sender<bool>,
    sockets: Sockets,
    places: usize,
) -> Result<RunningServer, RunError> {
    let mut server = RunningServer { addresses: sockets.addresses, context, stop, tasks: JoinSet::new() };
    // Before the ports are served: who finds them open may administer the server.
    let socket = admin::socket::bind(&server.context)?;
    server.tasks.spawn(admin::socket::serve(socket, server.context.clone()));
    let doorman = Arc::new(Doorman {
        places: Arc::new(Semaphore::new(places)),
        refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
        tls_refusals: Arc::new(Semaphore::new(TLS_REFUSALS_MAX)),
    });
    for (port, listener) in sockets.listeners {
        let listener = TcpListener::from_std(listener)
            .map_err(|source| RunError::Bind { address: port.name.to_owned(), source })?;
        server.tasks.spawn(accept(listener, port, server.context.clone(), Arc::clone(&doorman)));
    }
    let mut stopping = server.context.shutdown.clone();
    let stopped = async move { drop(stopping.wait_for(|stop| *stop).await) };
    server.tasks.spawn(relay::run(server.context.clone(), stopped));
    Ok(server)
}

impl RunningServer {
    /// Reads certificate and key again (SIGHUP); the old ones stay when that fails.
    pub fn reload(&self) {
        notify::reloading();
        match self.context.certificate.reload() {
            Ok(()) => tracing::info!("certificate reloaded"),
            Err(error) => tracing::error!(%error, "the old certificate stays in use"),
        }
        notify::ready();
    }

    /// Stops accepting, lets running transactions end within a bounded time, ends every session.
    pub async fn shutdown(mut self) {
        notify::stopping();
        self.stop.send_replace(true);
        // Listeners drain their own sessions within GRACE; a little more for them to do so.
        let drain = async { while self.tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(GRACE + Duration::from_secs(1), drain).await;
        self.tasks.shutdown().await;
        let _ = std::fs::remove_file(self.context.config.control_socket());
    }
}

/// Decides over all listeners who comes in.
struct Doorman {
    /// Sessions, over all listeners.
    places: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    tls_refusals: Arc<Semaphore>,
}

/// Why somebody does not come in.
#[derive(Debug, Clone, Copy)]
enum Refusal {
    /// There is no room for anybody.
    Full,
    /// This network has its share.
    Share,
}

impl Refusal {
    /// What is said instead of a greeting (RFC 5321 §3.1, RFC 9051 §7.1.5, RFC 3206 §3).
    fn words(self, service: Service) -> &'static [u8] {
        match (service, self) {
            (Service::Smtp(_), Self::Full) => b"421 4.3.2 Too many sessions, try again later\r\n",
            (Service::Smtp(_), Self::Share) => b"421 4.7.0 Too many sessions from your address\r\n",
            (Service::Imap, Self::Full) => b"* BYE Too many sessions, try again later\r\n",
            (Service::Imap, Self::Share) => b"* BYE Too many sessions from your address\r\n",
            (Service::Pop3, Self::Full) => b"-ERR [SYS/TEMP] Too many sessions, try again later\r\n",
            (Service::Pop3, Self::Share) => b"-ERR [SYS/TEMP] Too many sessions from your address\r\n",
        }
    }
}

/// Says why and closes, where there is room even for that.
async fn refuse(conn: Conn, port: Port, refusal: Refusal, context: Context, doorman: Arc<Doorman>) {
    let Ok(_room) = doorman.refusals.try_acquire() else { return };
    let work = async {
        let mut conn = conn;
        if port.implicit_tls {
            let Ok(_room) = doorman.tls_refusals.try_acquire() else { return };
            let Ok(shaken) = context.start_tls(conn).await else { return };
            conn = shaken;
            let _ = conn.write(refusal.words(port.service)).await;
            return conn.close().await;
        }
        let _ = conn.write(refusal.words(port.service)).await;
        conn.close().await;
    };
    let _ = tokio::time::timeout(REFUSAL_TIMEOUT, work).await;
}

async fn accept(listener: TcpListener, port: Port, context: Context, doorman: Arc<Doorman>) {
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
        let Ok(mut conn) = Conn::new(socket) else { continue };
        let context = context.clone();
        let refusal = match doorman.places.clone().try_acquire_owned() {
            Err(_) => Refusal::Full,
            Ok(place) => match context.sessions.enter(Network::from(conn.peer.ip())) {
                None => Refusal::Share,
                Some(session) => {
                    sessions.spawn(async move {
                        let _held = (place, session);
                        if port.implicit_tls {
                            conn = match context.start_tls(conn).await {
                                Ok(conn) => conn,
                                Err(error) => return tracing::debug!(%error, "TLS handshake failed"),
                            };
                        }
                        match port.service {
                            Service::Smtp(role) => smtp::serve(conn, context, role).await,
                            Service::Imap => imap::serve(conn, context).await,
                            Service::Pop3 => pop3::serve(conn, context).await,
                        }
                    });
                    continue;
                }
            },
        };
        sessions.spawn(refuse(conn, port, refusal, context, Arc::clone(&doorman)));
    }
    drop(listener);
    let drain = async { while sessions.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(GRACE, drain).await;
    sessions.shutdown().await;
}
