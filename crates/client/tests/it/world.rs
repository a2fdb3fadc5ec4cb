//! Two real servers, example.net and example.com, with certificates of a CA of their own and a DNS of their own, all
//! in this process and on loopback.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use sealpost_client::{
    client::{
        AccountReport, Client, EnrolRequest, Environment, ListEntry, Policy, ReadReport, ReadRequest,
        SendRequest, Settings, Which,
    },
    error::ClientError,
    ui::{Question, Ui, Unattended},
};
use sealpost_crypto::kdf::Password;
use sealpost_lookup::zone::{Zone, ZoneServer};
use sealpost_proto::{
    address::{Address, Mailbox},
    phc::Cost,
    time::{Clock, SystemClock, Timestamp},
};
use sealpost_server::{
    RunningServer,
    admin::{Admin, Request, Response},
    config::Config,
    run_with,
};
use sealpost_store::sqlite::SqliteStore;
use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use zeroize::Zeroizing;

/// The least cost that policy allows: tests derive many keys.
pub const CHEAP: Cost = Cost { m_kib: 19_456, t: 2, p: 1 };
/// How long a relayed message may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A clock that tests set forward.
pub struct TestClock(AtomicI64);

impl TestClock {
    pub fn forward(&self, days: i64) {
        self.0.fetch_add(days * 86_400, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus(self.0.load(Ordering::SeqCst))
    }
}

/// Says yes to everything and remembers the questions.
#[derive(Default)]
pub struct Agreeable(pub Mutex<Vec<Question>>);

impl Ui for Agreeable {
    fn confirm(&self, question: &Question) -> bool {
        self.0.lock().unwrap().push(question.clone());
        true
    }
}

pub struct World {
    pub clock: Arc<TestClock>,
    pub dns: ZoneServer,
    pub net: RunningServer,
    pub com: RunningServer,
    issuer: Issuer<'static, KeyPair>,
    zones: Mutex<Vec<Zone>>,
    dir: TempDir,
}

impl World {
    pub async fn start() -> Self {
        Self::with_names("mail.example.net", "mail.example.com").await
    }

    /// With other names of the servers than those under their domains.
    pub async fn with_names(net_name: &str, com_name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock(AtomicI64::new(0)));
        let dns = ZoneServer::start("127.0.0.1:0".parse().unwrap(), Vec::new()).await.unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        std::fs::write(dir.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        let issuer = Issuer::new(params, key);
        for (name, file) in [(net_name, "net"), (com_name, "com")] {
            let key = KeyPair::generate().unwrap();
            let leaf = CertificateParams::new(vec![name.into()]).unwrap().signed_by(&key, &issuer).unwrap();
            std::fs::write(dir.path().join(format!("{file}.pem")), leaf.pem()).unwrap();
            std::fs::write(dir.path().join(format!("{file}.key")), key.serialize_pem()).unwrap();
        }
        // An MX record has no port, so both servers listen on the same one, each on an address of its own. Somebody
        // else may take it first; then another is tried.
        for _ in 0..50 {
            let port = TcpListener::bind("127.0.0.2:0").unwrap().local_addr().unwrap().port();
            let dns_address = dns.address();
            let net = server(&dir, &clock, dns_address, ("net", net_name, "127.0.0.2"), port).await;
            let Ok(net) = net else { continue };
            let com = server(&dir, &clock, dns_address, ("com", com_name, "127.0.0.3"), port).await;
            let Ok(com) = com else {
                net.shutdown().await;
                continue;
            };
            let world = Self { clock, dns, net, com, issuer, zones: Mutex::default(), dir };
            world.publish(net_name, com_name);
            return world;
        }
        panic!("no free port on 127.0.0.2 and 127.0.0.3");
    }

    fn publish(&self, net_name: &str, com_name: &str) {
        let mut zones = Vec::new();
        for (domain, host, server) in
            [("example.net", net_name, &self.net), ("example.com", com_name, &self.com)]
        {
            let port = |addresses: &[SocketAddr]| addresses[0].port();
            let mut zone = Zone::new(domain);
            zone.mx(domain, 10, host);
            zone.srv(&format!("_submissions._tcp.{domain}"), 0, 0, port(&server.addresses.submissions), host);
            zone.srv(&format!("_imaps._tcp.{domain}"), 0, 0, port(&server.addresses.imaps), host);
            let std::net::IpAddr::V4(ip) = server.addresses.smtp[0].ip() else { unreachable!("127.0.0.x") };
            if host.ends_with(domain) {
                zone.a(host, ip);
            } else {
                let mut other = Zone::new(host);
                other.a(host, ip);
                zones.push(other);
            }
            zones.push(zone);
        }
        self.dns.replace(zones.clone());
        *self.zones.lock().unwrap() = zones;
    }

    /// Certificate and key for `name`, in DER.
    pub fn issue(&self, name: &str) -> (Vec<u8>, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec![name.into()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        (leaf.der().to_vec(), key.serialize_der())
    }

    /// One more domain, whose keys are asked for at `host` on this port of 127.0.0.1.
    pub fn add_domain(&self, domain: &str, host: &str, port: u16) {
        let mut zones = self.zones.lock().unwrap();
        let mut zone = Zone::new(domain);
        zone.srv(&format!("_submissions._tcp.{domain}"), 0, 0, port, host);
        let ip = std::net::Ipv4Addr::LOCALHOST;
        if host.ends_with(domain) {
            zone.a(host, ip);
        } else {
            let mut other = Zone::new(host);
            other.a(host, ip);
            zones.push(other);
        }
        zones.push(zone);
        self.dns.replace(zones.clone());
    }

    fn server(&self, address: &str) -> &RunningServer {
        if address.ends_with("example.net") { &self.net } else { &self.com }
    }

    async fn admin(&self, address: &str, request: Request) -> Response {
        let context = &self.server(address).context;
        let admin = Admin {
            config: &context.config,
            store: &*context.store,
            clock: &*context.clock,
            auth: Some(&context.auth),
        };
        admin.handle(request).await
    }

    /// A new account's code.
    pub async fn add(&self, address: &str) -> Zeroizing<String> {
        code(self.admin(address, Request::UserAdd { address: address.to_owned() }).await)
    }

    /// A code for a forgotten password.
    pub async fn reset(&self, address: &str) -> Zeroizing<String> {
        code(self.admin(address, Request::UserReset { address: address.to_owned() }).await)
    }

    /// A client with a folder of this name.
    pub fn client(&self, folder: &str) -> Client {
        self.client_with(folder, Arc::new(Unattended))
    }

    pub fn client_with(&self, folder: &str, ui: Arc<dyn Ui>) -> Client {
        let settings = Settings {
            dir: self.folder(folder),
            dns: Some(self.dns.address()),
            ca_file: Some(self.dir.path().join("ca.pem")),
            mx_port: Some(self.net.addresses.smtp[0].port()),
        };
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        Client::new(settings, Environment { clock, ..Environment::system(ui) })
    }

    pub fn folder(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Adds an account and enrols it; the folder is named as the local part.
    pub async fn enrolled(&self, address: &str, password: &str) -> Client {
        let code = self.add(address).await;
        let client = self.client(address.split('@').next().unwrap());
        enrol(&client, address, password, code).await.unwrap();
        client
    }

    /// Logs in on a new device.
    pub async fn device(&self, folder: &str, who: &str, password: &str) -> Client {
        let client = self.client(folder);
        client.login(&address(who), &secret(password)).await.unwrap();
        client
    }

    /// Waits until `client` has `count` messages in INBOX: between servers mail takes its own time.
    pub async fn arrived(&self, client: &Client, count: usize) -> Vec<ListEntry> {
        let waiting = async {
            loop {
                let entries = client.list("INBOX").await.unwrap();
                if entries.len() >= count {
                    return entries;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the message did not arrive")
    }
}

async fn server(
    dir: &TempDir,
    clock: &Arc<TestClock>,
    dns: SocketAddr,
    (name, host, ip): (&str, &str, &str),
    port: u16,
) -> Result<RunningServer, sealpost_server::RunError> {
    let text = format!(
        r#"
hostname = "{host}"
domains = ["example.{name}"]
data_dir = "server-{name}-{port}"
mx_port = {port}
dns = "{dns}"
ca_file = "ca.pem"
tls = {{ cert = "{name}.pem", key = "{name}.key" }}
listen = {{ smtp = ["{ip}:{port}"], submissions = ["{ip}:0"], imaps = ["{ip}:0"] }}
limits = {{ no_limits = true }}
"#
    );
    let config = Config::parse(&text, &dir.path().join("config.toml")).unwrap();
    std::fs::create_dir_all(&config.data_dir).unwrap();
    let store = SqliteStore::open(&config.data_dir).unwrap();
    run_with(config, store, Arc::clone(clock) as Arc<dyn Clock>).await
}

fn code(response: Response) -> Zeroizing<String> {
    match response {
        Response::Code { code, .. } => Zeroizing::new(code),
        Response::Error { message } => panic!("{message}"),
        _ => panic!("no code"),
    }
}

pub async fn enrol(
    client: &Client,
    who: &str,
    password: &str,
    code: Zeroizing<String>,
) -> Result<AccountReport, ClientError> {
    let request = EnrolRequest {
        address: address(who),
        code,
        password: secret(password),
        cost: Some(CHEAP),
        no_keyring: false,
    };
    client.enrol(request).await
}

pub fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

pub fn mailbox(text: &str) -> Mailbox {
    Mailbox::parse(text).unwrap()
}

pub fn secret(text: &str) -> Password {
    Password::new(text).unwrap()
}

pub fn message(to: &[&str], subject: &str, text: &str) -> SendRequest {
    SendRequest {
        to: to.iter().map(|m| mailbox(m)).collect(),
        subject: Some(subject.to_owned()),
        text: text.to_owned(),
        policy: Policy::default(),
        ..SendRequest::default()
    }
}

pub async fn read_last(client: &Client) -> ReadReport {
    read(client, "INBOX", Which::Last).await
}

pub async fn read(client: &Client, mailbox: &str, which: Which) -> ReadReport {
    let request = ReadRequest { mailbox: mailbox.to_owned(), which, force: false, save: None };
    client.read(request).await.unwrap()
}
