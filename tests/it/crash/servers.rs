//! Two real servers that are killed and started again on the same ports, and the DNS that survives them.

use super::air::{Airs, Kind};
use crate::support::{PATIENCE, sealpost, terminate};
use rustls::pki_types::ServerName;
use sealpost_hostile::{Authority, Certificate};
use sealpost_lookup::zone::{Zone, ZoneServer};
use sealpost_server::admin::{Request, Response};
use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, ChildStdin, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpStream, UnixStream},
    sync::oneshot,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// The domains, by number of their server.
pub const DOMAINS: [&str; 2] = ["example.net", "example.com"];

/// How often it is looked whether a server is up.
const POLL: Duration = Duration::from_millis(5);

/// A server's process, and the leash that ends it should this process die.
struct Running {
    process: Child,
    _leash: Option<ChildStdin>,
}

/// A process or none, in the hands of whoever kills it.
#[derive(Clone, Default)]
struct Process(Arc<Mutex<Option<Running>>>);

impl Process {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Running>> {
        self.0.lock().expect("no panic under the lock")
    }

    /// One that has ended by itself was asked to, and is no kill.
    fn kill(&self, airs: &Airs, server: usize) {
        // Held until it is dead: nobody may start another one before.
        let mut process = self.lock();
        let Some(mut running) = process.take() else { return };
        if let Some(status) = running.process.try_wait().expect("a child") {
            assert!(status.success(), "{} ended with {status}", DOMAINS[server]);
            return;
        }
        airs.kill(server, || running.process.kill().expect("a child"));
        running.process.wait().expect("a child");
    }
}

/// One of the two.
pub struct Server {
    pub number: usize,
    pub ip: Ipv4Addr,
    pub ports: [u16; 3],
    pub config: PathBuf,
    pub data: PathBuf,
    log: PathBuf,
    running: Process,
}

/// Both, and what stays up.
pub struct World {
    pub servers: [Server; 2],
    pub dns: ZoneServer,
    pub dir: TempDir,
    pub airs: Arc<Airs>,
    truces: AtomicUsize,
    tls: TlsConnector,
}

/// Two addresses that no other program on this machine is likely to use, another run of this one least of all: the ports
/// must still be free when a server comes back.
fn addresses() -> [Ipv4Addr; 2] {
    let [_, a, b, c] = (std::process::id() << 1).to_be_bytes();
    [c, c | 1].map(|c| Ipv4Addr::new(127, 64 | (a & 63), b, c))
}

/// Ports that are free on both addresses.
fn ports(addresses: [Ipv4Addr; 2]) -> [u16; 3] {
    let mut held = Vec::new();
    let mut port = || {
        for _ in 0..100 {
            let first = TcpListener::bind((addresses[0], 0)).expect("a port");
            let port = first.local_addr().expect("an address").port();
            if let Ok(second) = TcpListener::bind((addresses[1], port)) {
                held.extend([first, second]);
                return port;
            }
        }
        panic!("no port is free on {addresses:?}");
    };
    [port(), port(), port()]
}

/// While it is held no server is killed: on a busy machine a login may take longer than a server lives.
pub struct Truce<'w>(&'w World);

impl Drop for Truce<'_> {
    fn drop(&mut self) {
        self.0.truces.fetch_sub(1, Ordering::SeqCst);
    }
}

impl World {
    /// For somebody who has waited since then, if that is long.
    pub fn truce(&self, since: Instant) -> Option<Truce<'_>> {
        (since.elapsed() > PATIENCE / 6).then(|| {
            self.truces.fetch_add(1, Ordering::SeqCst);
            Truce(self)
        })
    }

    pub fn has_truce(&self) -> bool {
        self.truces.load(Ordering::SeqCst) > 0
    }

    /// Makes it; the servers are not running yet.
    pub async fn new() -> Self {
        // Kept unless the round passes.
        let mut dir = tempfile::Builder::new().prefix("sealpost-crash-").tempdir().expect("a folder");
        dir.disable_cleanup(true);
        let authority = Authority::default();
        fs::write(dir.path().join("ca.pem"), authority.root()).expect("written");
        let addresses = addresses();
        let ports = ports(addresses);
        let [smtp, submissions, imaps] = ports;
        let zones = (0..2).map(|n| {
            let (domain, host) = (DOMAINS[n], host(n));
            let mut zone = Zone::new(domain);
            zone.mx(domain, 10, &host)
                .a(&host, addresses[n])
                .srv(&format!("_submissions._tcp.{domain}"), 0, 0, submissions, &host)
                .srv(&format!("_imaps._tcp.{domain}"), 0, 0, imaps, &host);
            zone
        });
        let dns = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let dns = ZoneServer::start(dns, zones.collect()).await.expect("a name server");
        let servers = [0, 1].map(|number| {
            let folder = dir.path().join(DOMAINS[number]);
            fs::create_dir(&folder).expect("a folder");
            let (certificate, key) = authority.pem(Certificate::For(&host(number)));
            fs::write(folder.join("cert.pem"), certificate).expect("written");
            fs::write(folder.join("key.pem"), key).expect("written");
            let ip = addresses[number];
            let text = format!(
                "hostname = \"{}\"\ndomains = [\"{}\"]\ndata_dir = \"data\"\nmx_port = {smtp}\ndns = \"{}\"\n\
                 ca_file = \"../ca.pem\"\nrequire_tls = [\"{}\"]\n[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n\
                 [listen]\nsmtp = \"{ip}:{smtp}\"\nsubmissions = \"{ip}:{submissions}\"\nimaps = \"{ip}:{imaps}\"\n\
                 [limits]\nno_limits = true\n[queue]\nretry = [\"1s\"]\nlifetime = \"1d\"\n",
                host(number),
                DOMAINS[number],
                dns.address(),
                DOMAINS[1 - number],
            );
            let config = folder.join("sealpost.toml");
            fs::write(&config, text).expect("written");
            let (data, log) = (folder.join("data"), folder.join("log"));
            Server { number, ip, ports, config, data, log, running: Process::default() }
        });
        let tls = TlsConnector::from(authority.client());
        Self { servers, dns, dir, airs: Airs::new(), truces: AtomicUsize::new(0), tls }
    }

    /// Ends it, and leaves nothing behind.
    pub fn passed(mut self) {
        self.dir.disable_cleanup(false);
    }

    /// TLS to one of the ports of a server.
    pub async fn connect(&self, server: usize, port: u16) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect((self.servers[server].ip, port)).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(host(server)).map_err(io::Error::other)?;
        self.tls.connect(name, stream).await
    }

    /// Kills a server, whatever it does.
    pub fn kill(&self, server: usize) {
        self.servers[server].running.kill(&self.airs, server);
    }

    /// The same at the next moment of one of these kinds. The receiver ends when it is dead.
    pub fn trap(&self, server: usize, kinds: Vec<Kind>, delay: Duration) -> oneshot::Receiver<()> {
        let (airs, running) = (Arc::clone(&self.airs), self.servers[server].running.clone());
        self.airs.trap(server, kinds, delay, move || running.kill(&airs, server))
    }
}

fn host(number: usize) -> String {
    format!("mail.{}", DOMAINS[number])
}

impl Server {
    /// Starts the process and does not wait.
    pub fn spawn(&self) {
        let log = File::options().create(true).append(true).open(&self.log).expect("a log");
        let mut process = sealpost()
            .args(["serve", "--until-stdin-closes", "--config"])
            .arg(&self.config)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the server starts");
        let leash = process.stdin.take();
        *self.running.lock() = Some(Running { process, _leash: leash });
    }

    /// Waits until it takes connections. It must: whatever a kill left behind, the store opens.
    pub async fn ready(&self) -> Duration {
        let begin = Instant::now();
        loop {
            let ended = match &mut *self.running.lock() {
                Some(running) => running.process.try_wait().expect("a child"),
                None => panic!("{} is not running", self.number),
            };
            if let Some(status) = ended {
                panic!("{} did not start ({status}): {}", DOMAINS[self.number], self.said());
            }
            // What a killed server leaves of its control socket takes no connection.
            let mut up = UnixStream::connect(self.data.join("control.sock")).await.is_ok();
            for port in self.ports {
                up = up && TcpStream::connect((self.ip, port)).await.is_ok();
            }
            if up {
                return begin.elapsed();
            }
            assert!(begin.elapsed() < PATIENCE, "{} does not come up: {}", DOMAINS[self.number], self.said());
            tokio::time::sleep(POLL).await;
        }
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        if let Some(running) = &*self.running.lock() {
            terminate(running.process.id());
        }
    }

    /// Asks it to end and waits for it.
    pub fn stop(&self) -> ExitStatus {
        self.terminate();
        let mut running = self.running.lock().take().expect("it runs");
        running.process.wait().expect("a child")
    }

    /// The end of its log.
    pub fn said(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// What an administrator asks the running server.
    pub async fn admin(&self, request: Request) -> Response {
        let response = self.try_admin(request).await;
        response.unwrap_or_else(|error| panic!("{}: {error}", DOMAINS[self.number]))
    }

    /// The same of one that may be down.
    pub async fn try_admin(&self, request: Request) -> io::Result<Response> {
        let stream = UnixStream::connect(self.data.join("control.sock")).await?;
        let mut stream = BufReader::new(stream);
        let line = serde_json::to_string(&request)? + "\n";
        stream.write_all(line.as_bytes()).await?;
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        Ok(serde_json::from_str(&line)?)
    }

    /// Entries in the outbound queue.
    pub async fn queued(&self) -> usize {
        match self.admin(Request::QueueList).await {
            Response::Queue { entries } => entries.len(),
            _ => panic!("no queue"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.lock().take() {
            drop(running.process.kill());
            drop(running.process.wait());
        }
    }
}
