//! Sealpost's bridge: IMAP and submission on loopback, so that ordinary mail programs read and send sealed mail without
//! knowing of it.
//!
//! It is no second mail store. Each connection of a mail program has one of its own to the home server; what does not
//! speak of content passes through, and a message is opened when it is fetched. An index on this device keeps what was
//! opened once: header, structure, size and text, sealed with a key of this device.
//!
//! Begin at [`Bridge::start`].

mod account;
mod control;
mod entry;
mod gate;
mod imap;
mod index;
pub mod local;
mod settings;
mod submission;

pub use account::BridgeError;
pub use control::tell_to_lock;

pub use imap::background::Progress;
pub use imap::heard::{Heard, heard};
pub use index::Indexed;

use gate::{Activity, Gate, Slot};
use index::Index;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use sealpost_client::{
    client::{Client, Custody, Policy},
    error::ClientError,
};
use sealpost_proto::{address::Address, time::SystemClock};
use settings::{Certificate, Folder};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, Semaphore, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

/// Connections at once; a mail program opens a few for each folder it watches.
const CONNECTIONS: usize = 200;
/// Shaking hands.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// How often trust that has changed goes to the keyring (profile §9).
const MAINTENANCE: Duration = Duration::from_secs(15 * 60);
/// How often it is looked whether to lock, where the time to lock after is not short itself.
const LOOK: Duration = Duration::from_secs(20);

/// What a bridge is started with.
pub struct Config {
    /// Clients and their folders; the bridge's own files lie in the first one.
    pub accounts: Vec<(Client, PathBuf)>,
    /// Where mail programs connect to.
    pub listen: IpAddr,
    /// Ports; without one the first run takes a free one, and later runs the same.
    pub imap_port: Option<u16>,
    /// The same for submission.
    pub submission_port: Option<u16>,
    /// Names under which mail programs know the machine, besides `localhost` and its addresses.
    pub names: Vec<String>,
    /// What may be done for new contacts.
    pub policy: Policy,
    /// Whether the index is made in the background; else a message is indexed when it is asked for.
    pub background: bool,
    /// Whether the index is made anew.
    pub rebuild: bool,
    /// After so long without mail being read, searched, stored or sent, the device is locked.
    pub lock_after: Option<Duration>,
}

/// What mail programs are told.
pub struct Info {
    /// IMAP, TLS from the first octet.
    pub imap: SocketAddr,
    /// Submission, the same.
    pub submission: SocketAddr,
    /// What to trust.
    pub ca_file: PathBuf,
    /// Who may sign in, and with what; `None` while the device is locked.
    pub accounts: Vec<(Address, Option<Zeroizing<String>>)>,
    /// Where the secrets of the first account are.
    pub custody: Custody,
    /// How far the index of the first account is.
    pub indexed: Option<Indexed>,
}

/// A running bridge; it ends when this is dropped.
pub struct Bridge {
    info: Info,
    progress: Vec<(Address, watch::Receiver<Progress>)>,
    tasks: JoinSet<()>,
    closed: Arc<Notify>,
    _folders: Vec<Folder>,
}

impl Bridge {
    /// Opens the index, binds the ports, and serves.
    pub async fn start(config: Config) -> Result<Self, BridgeError> {
        let mut folders = Vec::new();
        let mut slots = Vec::new();
        let mut told = Vec::new();
        let mut progress = Vec::new();
        let activity = Activity::new(Arc::new(SystemClock));
        let closed = Arc::new(Notify::new());
        let mut custody = Custody::Locked;
        for (client, path) in config.accounts {
            folders.push(Folder::take(&path)?);
            let (send, receive) = watch::channel(Progress::default());
            let send = config.background.then_some(send);
            let slot = Slot::new(client.clone(), path, send, activity.clone(), closed.clone())?;
            if config.background {
                progress.push((slot.address.clone(), receive));
            }
            let password = match slot.open(config.rebuild).await {
                Ok(account) => Some(account.password()),
                // It waits for `sealpost unlock`, or for a key store that is not unlocked yet when the machine starts.
                Err(BridgeError::Client(ClientError::Locked | ClientError::KeyStore(_))) => None,
                Err(error) => return Err(error),
            };
            if slots.is_empty() {
                custody = client.custody()?;
            }
            told.push((slot.address.clone(), password));
            slots.push(slot);
        }
        let Some(first) = folders.first() else {
            return Err(BridgeError::Settings("a bridge needs an account".to_owned()));
        };
        let mut settings = first.settings()?;
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        names.extend(
            (!config.listen.is_loopback() && !config.listen.is_unspecified())
                .then(|| config.listen.to_string()),
        );
        names.extend(config.names);
        let certificate = first.certificate(&mut settings, &names)?;
        let tls = acceptor(&certificate)?;
        let imap = bind(config.listen, config.imap_port, settings.imap_port).await?;
        let submission = bind(config.listen, config.submission_port, settings.submission_port).await?;
        let info = Info {
            imap: imap.local_addr()?,
            submission: submission.local_addr()?,
            ca_file: certificate.ca_file,
            accounts: told,
            custody,
            indexed: None,
        };
        settings.imap_port = Some(info.imap.port());
        settings.submission_port = Some(info.submission.port());
        first.write(&settings)?;

        let gate = Arc::new(Gate::new(slots, activity, config.lock_after));
        let mut tasks = JoinSet::new();
        for (number, slot) in gate.slots.iter().enumerate() {
            match control::bind(slot.folder()) {
                Ok(listener) => drop(tasks.spawn(control::serve(listener, gate.clone(), number))),
                // A path too long for a socket, say. It is noticed all the same when the device is locked.
                Err(error) => tracing::warn!("`sealpost lock` cannot tell this bridge at once: {error}"),
            }
        }
        tasks.spawn(listen(imap, tls.clone(), gate.clone(), Service::Imap));
        tasks.spawn(listen(submission, tls, gate.clone(), Service::Submission(config.policy)));
        let every = config.lock_after.map_or(LOOK, |after| LOOK.min(after / 3));
        tasks.spawn(watch_locks(gate.clone(), every));
        tasks.spawn(maintain(gate));
        Ok(Self { info, progress, tasks, closed, _folders: folders })
    }

    /// For mail programs.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// How far the index of each account is, where it is made in the background.
    pub fn progress(&self) -> &[(Address, watch::Receiver<Progress>)] {
        &self.progress
    }

    /// Comes back when an account was locked and its sessions had their time to end. The keys are gone from where they were
    /// kept, but what passed over the stacks of threads may lie there still: the process is to begin anew.
    pub async fn locked(&self) {
        self.closed.notified().await;
        tokio::time::sleep(gate::GRACE).await;
    }

    /// Ends it: connections are closed, nothing half done.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

/// What a bridge on this folder tells mail programs, without starting it; `None` where none ever ran.
pub fn info(client: &Client, folder: &Path) -> Result<Option<Info>, BridgeError> {
    let path = std::path::absolute(folder)?.join(account::FOLDER);
    let Some(settings) = settings::read(&path)? else { return Ok(None) };
    let (Some(imap), Some(submission)) = (settings.imap_port, settings.submission_port) else {
        return Ok(None);
    };
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let password = match client.known_bridge_secrets() {
        Ok(Some(secrets)) => Some(secrets.password),
        Ok(None) => return Ok(None),
        Err(ClientError::Locked | ClientError::KeyStore(_)) => None,
        Err(error) => return Err(error.into()),
    };
    Ok(Some(Info {
        imap: at(imap),
        submission: at(submission),
        ca_file: path.join("ca.pem"),
        accounts: vec![(client.address()?, password)],
        custody: client.custody()?,
        indexed: Index::indexed(&path.join(account::INDEX)),
    }))
}

fn acceptor(certificate: &Certificate) -> Result<TlsAcceptor, BridgeError> {
    let odd = |e: &dyn std::fmt::Display| {
        BridgeError::Settings(format!("the bridge's certificate is damaged: {e}"))
    };
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(&certificate.chain).collect::<Result<_, _>>().map_err(|e| odd(&e))?;
    let key = PrivateKeyDer::from_pem_slice(&certificate.key).map_err(|e| odd(&e))?;
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
    Ok(TlsAcceptor::from(Arc::new(config.map_err(|e| odd(&e))?)))
}

/// The port asked for, else the one of the runs before, else a free one.
async fn bind(listen: IpAddr, asked: Option<u16>, known: Option<u16>) -> Result<TcpListener, BridgeError> {
    let port = asked.or(known).unwrap_or(0);
    TcpListener::bind((listen, port)).await.map_err(|e| {
        BridgeError::Settings(format!(
            "{listen} port {port} cannot be used: {e}. Name another one with --imap-port or --submission-port, and \
             tell your mail program"
        ))
    })
}

#[derive(Clone, Copy)]
enum Service {
    Imap,
    Submission(Policy),
}

async fn listen(listener: TcpListener, tls: TlsAcceptor, gate: Arc<Gate>, service: Service) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut sessions: JoinSet<()> = JoinSet::new();
    loop {
        // Ended ones are let go.
        while sessions.try_join_next().is_some() {}
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (tls, gate) = (tls.clone(), gate.clone());
                sessions.spawn(async move {
                    serve(stream, tls, &gate, service).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!("no connection could be taken: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, tls: TlsAcceptor, gate: &Gate, service: Service) {
    let _ = stream.set_nodelay(true);
    let stream = match timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!("a TLS handshake failed: {error}"),
        Err(_) => return,
    };
    match service {
        Service::Imap => imap::serve(stream, gate).await,
        Service::Submission(policy) => submission::serve(stream, gate, policy).await,
    }
}

async fn watch_locks(gate: Arc<Gate>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        gate.look().await;
    }
}

async fn maintain(gate: Arc<Gate>) {
    loop {
        tokio::time::sleep(MAINTENANCE).await;
        for account in gate.accounts() {
            if let Err(error) = account.client.maintain().await {
                tracing::warn!("{}: {error}", account.address);
            }
        }
    }
}
