//! Two real servers, example.net and example.com, with certificates of a CA of their own and a DNS of their own, all
//! in this process and on loopback.

use crate::{
    authority::{Authority, Certificate},
    mail::MailMiddle,
    middle::{Door, Middle},
};
use sealpost_client::{
    client::{
        AccountReport, Client, EnrolRequest, Environment, ListEntry, Policy, ReadReport, ReadRequest,
        SendRequest, Settings, Which,
    },
    error::ClientError,
    open::Take,
    ui::{Question, Ui, Unattended},
};
use sealpost_crypto::{kdf::Password, key::SecretKey};
use sealpost_lookup::zone::{Zone, ZoneServer};
use sealpost_proto::{
    address::{Address, Mailbox},
    base64,
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
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
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
    /// Sets it forward.
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

/// Two domains, each with its server.
pub struct World {
    /// The time there.
    pub clock: Arc<TestClock>,
    /// The only resolver anybody asks.
    pub dns: ZoneServer,
    /// The server of example.net.
    pub net: RunningServer,
    /// The server of example.com.
    pub com: RunningServer,
    /// Who made the servers' certificates.
    pub authority: Authority,
    zones: Mutex<BTreeMap<String, Zone>>,
    dir: TempDir,
}

impl World {
    /// Starts it.
    pub async fn start() -> Self {
        Self::with_names("mail.example.net", "mail.example.com").await
    }

    /// With other names of the servers than those under their domains.
    pub async fn with_names(net_name: &str, com_name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock(AtomicI64::new(0)));
        let dns = ZoneServer::start("127.0.0.1:0".parse().unwrap(), Vec::new()).await.unwrap();
        let authority = Authority::default();
        std::fs::write(dir.path().join("ca.pem"), authority.root()).unwrap();
        for (name, file) in [(net_name, "net"), (com_name, "com")] {
            let (certificate, key) = authority.pem(Certificate::For(name));
            std::fs::write(dir.path().join(format!("{file}.pem")), certificate).unwrap();
            std::fs::write(dir.path().join(format!("{file}.key")), key).unwrap();
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
            let world = Self { clock, dns, net, com, authority, zones: Mutex::default(), dir };
            world.publish(net_name, com_name);
            return world;
        }
        panic!("no free port on 127.0.0.2 and 127.0.0.3");
    }

    fn publish(&self, net_name: &str, com_name: &str) {
        for (domain, host, server) in
            [("example.net", net_name, &self.net), ("example.com", com_name, &self.com)]
        {
            let port = |addresses: &[SocketAddr]| addresses[0].port();
            self.zone(domain, |zone| {
                zone.mx(domain, 10, host);
                zone.srv(&submissions(domain), 0, 0, port(&server.addresses.submissions), host);
                zone.srv(&format!("_imaps._tcp.{domain}"), 0, 0, port(&server.addresses.imaps), host);
            });
            let IpAddr::V4(ip) = server.addresses.smtp[0].ip() else { unreachable!("127.0.0.x") };
            self.host(domain, host, ip);
        }
    }

    /// Changes the records of a domain, which begins without any.
    pub fn zone(&self, origin: &str, change: impl FnOnce(&mut Zone)) {
        let mut zones = self.zones.lock().unwrap();
        change(zones.entry(origin.to_owned()).or_insert_with(|| Zone::new(origin)));
        self.dns.replace(zones.values().cloned().collect());
    }

    /// An address for `host`, in the zone of `domain` if it lies there, else in one of its own.
    fn host(&self, domain: &str, host: &str, ip: Ipv4Addr) {
        let origin = if host == domain || host.ends_with(&format!(".{domain}")) { domain } else { host };
        self.zone(origin, |zone| {
            zone.remove(host).a(host, ip);
        });
    }

    /// One more domain, whose keys are asked for at `host` on this port of 127.0.0.1.
    pub fn add_domain(&self, domain: &str, host: &str, port: u16) {
        self.point(domain, host, SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }

    /// A lie in the DNS: the submission service of `domain` is `host`, at this address.
    pub fn point(&self, domain: &str, host: &str, address: SocketAddr) {
        self.zone(domain, |zone| {
            zone.remove(&submissions(domain)).srv(&submissions(domain), 0, 0, address.port(), host);
        });
        let IpAddr::V4(ip) = address.ip() else { unreachable!("127.0.0.x") };
        self.host(domain, host, ip);
    }

    /// The submission service of `domain` (example.net or example.com) as it is without anybody in between.
    pub fn direct(&self, domain: &str) {
        let server = self.server(domain);
        self.point(domain, &server.context.config.hostname.clone(), server.addresses.submissions[0]);
    }

    /// A lie in the DNS: the IMAP service of `domain` is `host`, at this address.
    pub fn point_imap(&self, domain: &str, host: &str, address: SocketAddr) {
        let service = format!("_imaps._tcp.{domain}");
        self.zone(domain, |zone| {
            zone.remove(&service).srv(&service, 0, 0, address.port(), host);
        });
        let IpAddr::V4(ip) = address.ip() else { unreachable!("127.0.0.x") };
        self.host(domain, host, ip);
    }

    /// A man in the middle before the submission service of `domain`, showing the real certificate. He is honest until
    /// told otherwise.
    pub async fn between(&self, domain: &str) -> Middle {
        let name = self.server(domain).context.config.hostname.clone();
        self.between_as(domain, &name, Certificate::For(&name)).await
    }

    /// The same under the name `host` and with another certificate.
    pub async fn between_as(&self, domain: &str, host: &str, certificate: Certificate<'_>) -> Middle {
        let server = self.server(domain);
        let honest = (server.context.config.hostname.clone(), server.addresses.submissions[0]);
        // On an address of his own, so that the other services stay where they are.
        let listen = SocketAddr::new(honest.1.ip(), 0);
        let acceptor = self.authority.acceptor(certificate);
        let middle =
            Middle::start(listen, Door::Implicit, acceptor, (&honest.0, honest.1), self.authority.client());
        let middle = middle.await.unwrap();
        self.point(domain, host, middle.address);
        middle
    }

    /// A man in the middle before the mail exchanger of `domain`; its SRV record is gone, so that STARTTLS is all
    /// there is.
    pub async fn between_mx(&self, domain: &str) -> Middle {
        let server = self.server(domain);
        let name = server.context.config.hostname.clone();
        let honest = server.addresses.smtp[0];
        let IpAddr::V4(ip) = honest.ip() else { unreachable!("127.0.0.x") };
        // MX records have no port: another address, then, the next network of loopback.
        let ip = Ipv4Addr::new(127, 0, 1, ip.octets()[3]);
        let acceptor = self.authority.acceptor(Certificate::For(&name));
        let listen = SocketAddr::from((ip, honest.port()));
        let middle =
            Middle::start(listen, Door::StartTls, acceptor, (&name, honest), self.authority.client());
        let middle = middle.await.unwrap();
        self.zone(domain, |zone| {
            zone.remove(&submissions(domain));
        });
        self.host(domain, &name, ip);
        middle
    }

    /// A man in the middle before the IMAP service of `domain`, showing the real certificate. He is honest until told
    /// otherwise.
    pub async fn between_imap(&self, domain: &str) -> MailMiddle {
        let server = self.server(domain);
        let name = server.context.config.hostname.clone();
        let honest = server.addresses.imaps[0];
        let acceptor = self.authority.acceptor(Certificate::For(&name));
        let listen = SocketAddr::new(honest.ip(), 0);
        let middle =
            MailMiddle::start(listen, acceptor, (&name, honest), self.authority.client()).await.unwrap();
        self.point_imap(domain, &name, middle.address);
        middle
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

    /// The same with somebody in front of it.
    pub fn client_with(&self, folder: &str, ui: Arc<dyn Ui>) -> Client {
        let settings = self.settings(folder);
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        Client::new(settings, Environment { clock, ..Environment::system(ui) })
    }

    /// What a client of this world is told, as options of the program too.
    pub fn settings(&self, folder: &str) -> Settings {
        Settings {
            dir: self.folder(folder),
            dns: Some(self.dns.address()),
            ca_file: Some(self.dir.path().join("ca.pem")),
            mx_port: Some(self.net.addresses.smtp[0].port()),
        }
    }

    /// A copy of a client's folder, as a client of its own.
    pub fn copy(&self, from: &str, to: &str) -> Client {
        let (from, into) = (self.folder(from), self.folder(to));
        let _ = std::fs::remove_dir_all(&into);
        std::fs::create_dir(&into).unwrap();
        for file in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
            std::fs::copy(file.path(), into.join(file.file_name())).unwrap();
        }
        self.client(to)
    }

    /// The private key that a client's folder holds: a thief's view of it.
    pub fn stolen_key(&self, folder: &str) -> SecretKey {
        let file = std::fs::read(self.folder(folder).join("secrets.json")).unwrap();
        let secrets: serde_json::Value = serde_json::from_slice(&file).unwrap();
        let seed = secrets["current"]["key"]["seed"].as_str().unwrap();
        SecretKey::from_seed(base64::decode(seed).unwrap().try_into().unwrap())
    }

    /// Where anybody's mail for `address` goes.
    pub fn mx(&self, address: &str) -> SocketAddr {
        self.server(address).addresses.smtp[0]
    }

    /// A client's folder, or what else is to lie in the world's.
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

    /// The same without a keyring: what one copy of its folder learns, no other does.
    pub async fn enrolled_alone(&self, who: &str, password: &str) -> Client {
        let code = self.add(who).await;
        let client = self.client(who.split('@').next().unwrap());
        let request = EnrolRequest {
            address: address(who),
            code,
            password: secret(password),
            cost: Some(CHEAP),
            no_keyring: true,
        };
        client.enrol(request).await.unwrap();
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

fn submissions(domain: &str) -> String {
    format!("_submissions._tcp.{domain}")
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

/// Enrols at the least cost that policy allows.
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

/// An address.
pub fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// A mailbox.
pub fn mailbox(text: &str) -> Mailbox {
    Mailbox::parse(text).unwrap()
}

/// A password.
pub fn secret(text: &str) -> Password {
    Password::new(text).unwrap()
}

/// A message that nobody decides anything about.
pub fn message(to: &[&str], subject: &str, text: &str) -> SendRequest {
    SendRequest {
        to: to.iter().map(|m| mailbox(m)).collect(),
        subject: Some(subject.to_owned()),
        text: text.to_owned(),
        policy: Policy::default(),
        ..SendRequest::default()
    }
}

/// Reads the last message of INBOX.
pub async fn read_last(client: &Client) -> ReadReport {
    read(client, "INBOX", Which::Last).await
}

/// Reads a message.
pub async fn read(client: &Client, mailbox: &str, which: Which) -> ReadReport {
    let request = ReadRequest { mailbox: mailbox.to_owned(), which, force: false, take: Take::Nothing };
    client.read(request).await.unwrap()
}
