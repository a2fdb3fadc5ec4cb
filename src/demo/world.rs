//! Two mail servers, their DNS and their certificate authority, all on loopback, all gone when dropped.

use super::{
    ca::Authority,
    proxy::{Port, Proxy},
};
use crate::{cli::Tamper, exit::Failure};
use sealpost_lookup::zone::{Zone, ZoneServer};
use std::{
    fs::{self, File},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    process::{Child, ChildStdin, Command},
    task::JoinSet,
};

/// The two domains; RFC 2606 keeps them for examples.
pub const DOMAINS: [&str; 2] = ["example.net", "example.com"];

/// Loopback addresses tried, 127.0.0.2 and on; a machine may have taken some.
const ADDRESSES: std::ops::RangeInclusive<u8> = 2..=30;

/// How long a server may take to come up on a slow or busy machine.
const START: Duration = Duration::from_secs(20);

/// How long a server may take to end by itself before it is killed.
const STOP: Duration = Duration::from_secs(5);

/// How often it is looked whether a server is up.
const POLL: Duration = Duration::from_millis(10);

/// How often a whole set of ports is tried: another program may take one between choosing and binding.
const ATTEMPTS: usize = 3;

/// The ports of a server, the same on both.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    /// Mail from servers (STARTTLS).
    pub smtp: u16,
    /// Mail from users (STARTTLS).
    pub submission: u16,
    /// Mail from users (implicit TLS).
    pub submissions: u16,
    /// IMAP (STARTTLS).
    pub imap: u16,
    /// IMAP (implicit TLS).
    pub imaps: u16,
    /// POP3 (STLS).
    pub pop3: u16,
    /// POP3 (implicit TLS).
    pub pop3s: u16,
}

impl Ports {
    fn all(self) -> [u16; 7] {
        [self.smtp, self.submission, self.submissions, self.imap, self.imaps, self.pop3, self.pop3s]
    }
}

/// One mail server, a process of its own.
pub struct Server {
    /// Its mail domain.
    pub domain: &'static str,
    /// Its name, which is in its certificate.
    pub host: String,
    /// Where clients reach it.
    pub address: Ipv4Addr,
    /// Its ports.
    pub ports: Ports,
    /// Its configuration file.
    pub config: PathBuf,
    /// Its store.
    pub data: PathBuf,
    /// What its relay said and heard.
    pub transcript: PathBuf,
    process: Child,
    /// Closed to end it; closed by the system if this process dies.
    leash: Option<ChildStdin>,
}

impl Server {
    /// `ADDR:PORT`.
    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address.into(), port)
    }
}

/// What the world is made for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plan {
    /// Lift limits per network, address and account.
    pub no_limits: bool,
    /// Record what the relays say and hear; not for load tests, where it would only cost.
    pub transcripts: bool,
    /// Put a proxy before the second server.
    pub tamper: Option<Tamper>,
}

/// The two servers and what they need. Drop ends everything.
pub struct World {
    /// Root certificate.
    pub ca_file: PathBuf,
    /// Name server.
    pub dns: SocketAddr,
    /// example.net, example.com.
    pub servers: [Server; 2],
    /// The man in the middle, if there is one.
    pub proxy: Option<Proxy>,
    _zones: ZoneServer,
    _proxies: JoinSet<()>,
}

/// Addresses and ports that were free a moment ago.
struct Places {
    /// Where clients find the servers.
    public: [Ipv4Addr; 2],
    /// Where the servers listen: the same, but for one behind a proxy.
    real: [Ipv4Addr; 2],
    ports: Ports,
    /// Keeps the ports taken until they are used.
    held: Vec<TcpListener>,
}

fn places(proxied: bool) -> Result<Places, Failure> {
    let wanted = if proxied { 3 } else { 2 };
    let mut addresses = Vec::new();
    for last in ADDRESSES {
        let address = Ipv4Addr::new(127, 0, 0, last);
        if TcpListener::bind((address, 0)).is_ok() {
            addresses.push(address);
        }
        if addresses.len() == wanted {
            break;
        }
    }
    if addresses.len() < wanted {
        return Err(Failure::failed(
            "the demo needs loopback addresses like 127.0.0.2; on macOS and BSD make them with \
             `ifconfig lo0 alias 127.0.0.2`",
        ));
    }
    let mut held = Vec::new();
    let mut port = || -> io::Result<u16> {
        'port: for _ in 0..100 {
            let first = TcpListener::bind((addresses[0], 0))?;
            let port = first.local_addr()?.port();
            let mut listeners = vec![first];
            for address in &addresses[1..] {
                match TcpListener::bind((*address, port)) {
                    Ok(listener) => listeners.push(listener),
                    Err(_) => continue 'port,
                }
            }
            held.append(&mut listeners);
            return Ok(port);
        }
        Err(io::Error::other("no port is free on all loopback addresses"))
    };
    let ports = Ports {
        smtp: port()?,
        submission: port()?,
        submissions: port()?,
        imap: port()?,
        imaps: port()?,
        pop3: port()?,
        pop3s: port()?,
    };
    let real = if proxied { [addresses[0], addresses[2]] } else { [addresses[0], addresses[1]] };
    Ok(Places { public: [addresses[0], addresses[1]], real, ports, held })
}

/// The configuration of one server, as a person would write it.
fn config(number: usize, host: &str, dir: &Path, places: &Places, dns: SocketAddr, plan: Plan) -> String {
    let (domain, address, ports) = (DOMAINS[number], places.real[number], places.ports);
    let other = DOMAINS[1 - number];
    let quoted = |path: &Path| toml::Value::from(path.to_string_lossy().into_owned()).to_string();
    format!(
        "# A server of `sealpost demo`.\n\
         hostname = \"{host}\"\n\
         domains = [\"{domain}\"]\n\
         data_dir = {data}\n\
         mx_port = {mx}\n\
         dns = \"{dns}\"\n\
         ca_file = {ca}\n\
         require_tls = [\"{other}\"]\n\
         \n\
         [tls]\n\
         cert = {cert}\n\
         key = {key}\n\
         \n\
         [listen]\n\
         smtp = \"{address}:{smtp}\"\n\
         submission = \"{address}:{submission}\"\n\
         submissions = \"{address}:{submissions}\"\n\
         imap = \"{address}:{imap}\"\n\
         imaps = \"{address}:{imaps}\"\n\
         pop3 = \"{address}:{pop3}\"\n\
         pop3s = \"{address}:{pop3s}\"\n\
         \n\
         [limits]\n\
         no_limits = {no_limits}\n\
         \n\
         [queue]\n\
         retry = [\"1s\", \"2s\", \"5s\"]\n\
         lifetime = \"1d\"\n\
         {debug}",
        data = quoted(&dir.join("data")),
        ca = quoted(&dir.with_file_name("ca.pem")),
        cert = quoted(&dir.join("cert.pem")),
        key = quoted(&dir.join("key.pem")),
        debug = if plan.transcripts {
            format!("\n[debug]\ntranscript = {}\n", quoted(&dir.join("relay.txt")))
        } else {
            String::new()
        },
        mx = ports.smtp,
        smtp = ports.smtp,
        submission = ports.submission,
        submissions = ports.submissions,
        imap = ports.imap,
        imaps = ports.imaps,
        pop3 = ports.pop3,
        pop3s = ports.pop3s,
        no_limits = plan.no_limits,
    )
}

fn zone(domain: &str, host: &str, address: Ipv4Addr, ports: Ports) -> Zone {
    let mut zone = Zone::new(domain);
    zone.mx(domain, 10, host)
        .a(host, address)
        .srv(&format!("_submissions._tcp.{domain}"), 0, 0, ports.submissions, host)
        .srv(&format!("_imaps._tcp.{domain}"), 0, 0, ports.imaps, host)
        .srv(&format!("_pop3s._tcp.{domain}"), 10, 0, ports.pop3s, host);
    zone
}

/// Runs the program that this is: `sealpost serve`.
fn spawn(config: &Path, log: &Path) -> io::Result<Child> {
    Command::new(std::env::current_exe()?)
        .args(["serve", "--until-stdin-closes", "--config"])
        .arg(config)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(File::create(log)?)
        .kill_on_drop(true)
        .spawn()
}

/// Waits until a server takes connections on all its ports and on its control socket.
async fn ready(
    process: &mut Child,
    address: IpAddr,
    ports: Ports,
    data: &Path,
    log: &Path,
) -> Result<(), Failure> {
    let begin = Instant::now();
    loop {
        if let Some(status) = process.try_wait()? {
            let said = fs::read_to_string(log).unwrap_or_default();
            return Err(Failure::failed(format_args!(
                "a mail server did not start ({status}): {}",
                said.trim()
            )));
        }
        let mut up = data.join("control.sock").exists();
        for port in ports.all() {
            up = up && tokio::net::TcpStream::connect((address, port)).await.is_ok();
        }
        if up {
            return Ok(());
        }
        if begin.elapsed() > START {
            return Err(Failure::failed("a mail server did not come up in time"));
        }
        tokio::time::sleep(POLL).await;
    }
}

impl World {
    /// Sets everything up below `dir`, an empty folder.
    pub async fn start(dir: &Path, plan: Plan) -> Result<Self, Failure> {
        let mut attempt = 1;
        loop {
            match Self::try_start(dir, plan).await {
                Err(failure) if attempt < ATTEMPTS => {
                    tracing::debug!(%failure, attempt, "starting the demo's servers failed");
                    for name in DOMAINS {
                        drop(fs::remove_dir_all(dir.join(name)));
                    }
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    async fn try_start(dir: &Path, plan: Plan) -> Result<Self, Failure> {
        let authority = Authority::new().map_err(Failure::failed)?;
        let ca_file = dir.join("ca.pem");
        fs::write(&ca_file, authority.root())?;
        let mut places = places(plan.tamper.is_some())?;
        let hosts = DOMAINS.map(|domain| format!("mail.{domain}"));
        let zones = (0..2).map(|n| zone(DOMAINS[n], &hosts[n], places.public[n], places.ports)).collect();
        let zones = ZoneServer::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), zones).await?;
        let dns = zones.address();
        for number in 0..2 {
            let folder = dir.join(DOMAINS[number]);
            fs::create_dir(&folder)?;
            let certified = authority.certify(&hosts[number]).map_err(Failure::failed)?;
            certified.write(&folder.join("cert.pem"), &folder.join("key.pem"))?;
            let text = config(number, &hosts[number], &folder, &places, dns, plan);
            fs::write(folder.join("sealpost.toml"), text)?;
        }
        let held = std::mem::take(&mut places.held);
        drop(held);
        let mut proxies = JoinSet::new();
        let proxy = match plan.tamper {
            Some(what) => Some(proxy(what, &authority, &ca_file, &hosts[1], &places, &mut proxies).await?),
            None => None,
        };
        let (first, second) =
            tokio::try_join!(server(0, &hosts[0], dir, &places), server(1, &hosts[1], dir, &places))?;
        Ok(Self { ca_file, dns, servers: [first, second], proxy, _zones: zones, _proxies: proxies })
    }

    /// Ends the servers, giving them time to finish what they do.
    pub async fn stop(mut self) {
        for server in &mut self.servers {
            server.leash = None;
        }
        for server in &mut self.servers {
            if tokio::time::timeout(STOP, server.process.wait()).await.is_err() {
                // Gone already, or killed on drop.
                drop(server.process.kill().await);
            }
        }
    }
}

async fn server(number: usize, host: &str, dir: &Path, places: &Places) -> Result<Server, Failure> {
    let folder = dir.join(DOMAINS[number]);
    let (config, data, log) = (folder.join("sealpost.toml"), folder.join("data"), folder.join("server.log"));
    let mut process = spawn(&config, &log)?;
    let leash = process.stdin.take();
    ready(&mut process, places.real[number].into(), places.ports, &data, &log).await?;
    Ok(Server {
        domain: DOMAINS[number],
        host: host.to_owned(),
        address: places.public[number],
        ports: places.ports,
        config,
        data,
        transcript: folder.join("relay.txt"),
        process,
        leash,
    })
}

/// The man in the middle before the second server.
async fn proxy(
    what: Tamper,
    authority: &Authority,
    ca_file: &Path,
    host: &str,
    places: &Places,
    tasks: &mut JoinSet<()>,
) -> Result<Proxy, Failure> {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
    let certified = authority.certify(host).map_err(Failure::failed)?;
    let chain =
        vec![CertificateDer::from_pem_slice(certified.certificate.as_bytes()).map_err(Failure::failed)?];
    let key = PrivateKeyDer::from_pem_slice(certified.key.as_bytes()).map_err(Failure::failed)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(Failure::failed)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(Failure::failed)?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca_file).map_err(Failure::failed)?).map_err(Failure::failed)?;
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Failure::failed)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(Failure::failed)?;
    let proxy = Proxy::new(what, name, server, Arc::new(client));
    let ports = places.ports;
    for (port, kind) in [
        (ports.smtp, Port::StartTls),
        (ports.submission, Port::StartTls),
        (ports.submissions, Port::Implicit),
        (ports.imap, Port::Through),
        (ports.imaps, Port::Implicit),
        (ports.pop3, Port::Through),
        (ports.pop3s, Port::Implicit),
    ] {
        let listener = tokio::net::TcpListener::bind((places.public[1], port)).await?;
        tasks.spawn(proxy.clone().serve(listener, SocketAddr::from((places.real[1], port)), kind));
    }
    Ok(proxy)
}
