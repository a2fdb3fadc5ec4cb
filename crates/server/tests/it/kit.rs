//! A server of its own for each test, a clock set by hand, and a client that talks in lines.

use ed25519_dalek::{Signer as _, SigningKey};
use sealpost_proto::{
    address::Address,
    base64,
    key::PublicKey,
    phc::{Challenge, Cost, LoginHash, LoginPhc, Salt},
    sshsig,
    statement::{LIFE_SECONDS, NAMESPACE, SignedStatement, Statement},
    time::{Clock, Timestamp},
};
use sealpost_server::{
    RunningServer,
    admin::{Admin, Request, Response},
    config::Config,
    run_with,
};
use sealpost_store::{
    Store,
    sqlite::{Options, SqliteStore},
};
use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};

pub(super) const ALICE: &str = "alice@example.net";
pub(super) const BOB: &str = "bob@example.net";
/// An app password of one's own choice.
pub(super) const TOKEN: &str = "a-token-for-scripted-set-ups";
/// When every test begins.
pub(super) const START: i64 = 1_795_469_760;

/// A clock that stands still until a test moves it.
pub(super) struct HandClock(AtomicI64);

impl HandClock {
    pub(super) fn forward(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

/// Certificate and key for mail.example.net, made once for all tests (PEM).
fn certificate() -> &'static (String, String) {
    static PAIR: OnceLock<(String, String)> = OnceLock::new();
    PAIR.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(vec!["mail.example.net".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    })
}

/// A configuration in `folder`, all ports free ones on loopback; `more` is put in front of its tables.
pub(super) fn config(folder: &Path, more: &str) -> Config {
    config_for("\"example.net\", \"example.org\"", folder, more)
}

fn config_for(domains: &str, folder: &Path, more: &str) -> Config {
    let (cert, key) = certificate();
    std::fs::write(folder.join("cert.pem"), cert).unwrap();
    std::fs::write(folder.join("key.pem"), key).unwrap();
    let text = format!(
        "hostname = \"mail.example.net\"\ndomains = [{domains}]\ndata_dir = \"data\"\n\
         {more}\n[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n[listen]\n\
         smtp = \"127.0.0.1:0\"\nsubmission = \"127.0.0.1:0\"\nsubmissions = \"127.0.0.1:0\"\n\
         imap = \"127.0.0.1:0\"\nimaps = \"127.0.0.1:0\"\n\
         pop3 = \"127.0.0.1:0\"\npop3s = \"127.0.0.1:0\"\n"
    );
    Config::parse(&text, &folder.join("sealpost.toml")).unwrap()
}

/// A running server with its folder.
pub(super) struct Kit {
    pub(super) server: RunningServer,
    pub(super) store: Arc<SqliteStore>,
    pub(super) clock: Arc<HandClock>,
    pub(super) folder: TempDir,
}

/// The login hash all test accounts have; the server cannot tell it from a derived one.
pub(super) fn login_hash(n: u8) -> LoginHash {
    LoginHash::from_bytes([n; 32])
}

/// base64(PHC) for XENROL and XPASSWD.
pub(super) fn phc(salt: &[u8], hash: u8) -> String {
    let challenge = Challenge { cost: Cost::DEFAULT, salt: Salt::new(salt).unwrap() };
    base64::encode(LoginPhc { challenge, hash: login_hash(hash) }.to_phc().as_bytes())
}

/// The initial response of HASHEDPASS.
pub(super) fn response(user: &str, hash: &str) -> String {
    base64::encode(format!("\0{user}\0{hash}"))
}

/// `AUTH HASHEDPASS …` with login hash number `n`.
pub(super) fn auth(user: &str, n: u8) -> String {
    format!("AUTH HASHEDPASS {}", response(user, &base64::encode([n; 32])))
}

fn signing_key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

/// Test key number `n`.
pub(super) fn key(n: u8) -> PublicKey {
    PublicKey::from_ed25519(signing_key(n).verifying_key().as_bytes()).unwrap()
}

/// A statement for key `n` after key `previous` (0: none), made `seconds` after the start.
pub(super) fn statement_for(address: &str, n: u8, previous: u8, seconds: i64) -> SignedStatement {
    let created = Timestamp(START + seconds);
    let text = Statement {
        addresses: vec![Address::parse(address).unwrap()],
        key: key(n),
        created,
        expires: created.plus(LIFE_SECONDS),
        previous: (previous != 0).then(|| key(previous)),
    }
    .to_text();
    let sign = |n: u8| {
        let raw = signing_key(n).sign(&sshsig::signed_data(NAMESPACE, text.as_bytes())).to_bytes();
        sshsig::armour(&key(n), NAMESPACE, &raw)
    };
    let mut wire = text.clone() + &sign(n);
    if previous != 0 {
        wire += &sign(previous);
    }
    SignedStatement::from_bytes(wire.as_bytes()).unwrap()
}

/// The same for alice, as it goes on the wire.
pub(super) fn statement(n: u8, previous: u8, seconds: i64) -> String {
    statement_for(ALICE, n, previous, seconds).to_wire()
}

impl Kit {
    /// A server without accounts.
    pub(super) async fn empty() -> Self {
        Self::with("").await
    }

    /// The same with more configuration keys.
    pub(super) async fn with(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::start(folder, more).await
    }

    /// A server that is home to another domain.
    pub(super) async fn with_domains(domain: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = config_for(&format!("\"{domain}\""), folder.path(), more);
        Self::run(folder, config).await
    }

    pub(super) async fn start(folder: TempDir, more: &str) -> Self {
        // Nothing answers there: tests that look something up bring their own DNS.
        let config = config(folder.path(), &format!("dns = \"127.0.0.1:9\"\n{more}"));
        Self::run(folder, config).await
    }

    /// A server whose database cannot grow beyond `pages`.
    pub(super) async fn with_pages(pages: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), "");
        let options = Options { max_pages: Some(pages), ..Options::default() };
        Self::run_with_options(folder, config, options).await
    }

    async fn run(folder: TempDir, config: Config) -> Self {
        Self::run_with_options(folder, config, Options::default()).await
    }

    /// A server whose store goes by the same clock: removed mail is cleared away when a test moves it.
    pub(super) async fn with_one_clock() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), "");
        let clock = Arc::new(HandClock(AtomicI64::new(START)));
        let options = Options { clock: clock.clone(), ..Options::default() };
        Self::run_with_clock(folder, config, options, clock).await
    }

    async fn run_with_options(folder: TempDir, config: Config, options: Options) -> Self {
        Self::run_with_clock(folder, config, options, Arc::new(HandClock(AtomicI64::new(START)))).await
    }

    async fn run_with_clock(
        folder: TempDir,
        config: Config,
        options: Options,
        clock: Arc<HandClock>,
    ) -> Self {
        let store = SqliteStore::open_with(&config.data_dir, options).unwrap();
        let server = run_with(config, store.clone(), clock.clone()).await.unwrap();
        Self { server, store, clock, folder }
    }

    /// The certificate's file.
    pub(super) fn certificate(&self) -> std::path::PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// A server with alice and bob enrolled (login hashes 1 and 2) and an app password ([`TOKEN`]) for alice.
    pub(super) async fn new() -> Self {
        let kit = Self::empty().await;
        kit.people().await;
        kit
    }

    pub(super) async fn people(&self) {
        for (address, n) in [(ALICE, 1), (BOB, 2)] {
            let code = self.code(address).await;
            let mut client = self.submission().await;
            let line = format!("XENROL {address} {code} {}", phc(&[n; 16], n));
            assert_eq!(client.cmd(&line).await, "250 2.0.0 OK\r\n");
        }
        self.app_password(ALICE, "test").await;
    }

    pub(super) async fn admin(&self, request: Request) -> Response {
        let context = &self.server.context;
        let admin = Admin {
            config: &context.config,
            store: context.store.as_ref(),
            clock: context.clock.as_ref(),
            auth: Some(&context.auth),
        };
        admin.handle(request).await
    }

    /// Adds an account; its one-time code.
    pub(super) async fn code(&self, address: &str) -> String {
        match self.admin(Request::UserAdd { address: address.to_owned() }).await {
            Response::Code { code, .. } => code,
            _ => panic!("no code for {address}"),
        }
    }

    pub(super) async fn app_password(&self, address: &str, name: &str) {
        let request = Request::AppPasswordAdd {
            address: address.to_owned(),
            name: name.to_owned(),
            token: Some(TOKEN.to_owned()),
        };
        assert!(matches!(self.admin(request).await, Response::AppPassword { .. }));
    }

    /// Port 465, TLS, greeting read.
    pub(super) async fn submission(&self) -> Client {
        self.implicit(self.server.addresses.submissions[0]).await
    }

    pub(super) async fn implicit(&self, address: SocketAddr) -> Client {
        let mut client = Client::connect(address).await.start_tls().await;
        assert!(client.reply().await.starts_with("220 mail.example.net "));
        client
    }

    /// Port 25, in the clear, greeting read.
    pub(super) async fn mx(&self) -> Client {
        self.clear(self.server.addresses.smtp[0]).await
    }

    /// Port 587, in the clear, greeting read.
    pub(super) async fn starttls_port(&self) -> Client {
        self.clear(self.server.addresses.submission[0]).await
    }

    async fn clear(&self, address: SocketAddr) -> Client {
        let mut client = Client::connect(address).await;
        assert!(client.reply().await.starts_with("220 mail.example.net "));
        client
    }

    /// Alice by HASHEDPASS on port 465; gives the key salt too.
    pub(super) async fn alice(&self) -> (Client, String) {
        let mut client = self.submission().await;
        let reply = client.cmd(&auth(ALICE, 1)).await;
        assert_eq!(reply, "235 2.7.0 Authentication successful\r\n");
        let salt = client.reply().await;
        let salt = salt.strip_prefix("250 SALT ").unwrap().trim_end().to_owned();
        (client, salt)
    }

    /// Alice by app password on port 465.
    pub(super) async fn alice_by_app_password(&self) -> Client {
        let mut client = self.submission().await;
        let reply = client.cmd(&format!("AUTH PLAIN {}", response(ALICE, TOKEN))).await;
        assert_eq!(reply, "235 2.7.0 Authentication successful\r\n");
        client
    }

    /// The messages in somebody's INBOX, as octets.
    pub(super) async fn inbox(&self, address: &str) -> Vec<String> {
        let store: Arc<dyn Store> = self.store.clone();
        let account = store.account(&Address::parse(address).unwrap()).await.unwrap().unwrap().id;
        let boxes = store.mailboxes(account).await.unwrap();
        let inbox = boxes.iter().find(|m| m.name == "INBOX").unwrap().id;
        let mut messages = Vec::new();
        for entry in store.entries(inbox).await.unwrap() {
            let reader = store.content(entry.content).await.unwrap();
            let mut octets = vec![0; usize::try_from(reader.len()).unwrap()];
            let mut at = 0;
            while at < octets.len() {
                at += reader.read_at(at as u64, &mut octets[at..]).unwrap();
            }
            messages.push(String::from_utf8_lossy(&octets).into_owned());
        }
        messages
    }

    /// Every octet that lies in the data folder.
    pub(super) fn disk(&self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut folders = vec![self.folder.path().join("data")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_file() {
                    all.extend(std::fs::read(entry.path()).unwrap());
                }
            }
        }
        all
    }
}

/// Whether `needle` lies in `haystack`.
pub(super) fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|w| w == needle)
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A client that talks in lines.
pub(super) struct Client {
    stream: Box<dyn Io>,
    input: Vec<u8>,
}

impl Client {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        Self { stream: Box::new(socket), input: Vec::new() }
    }

    /// Over any stream.
    pub(super) fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self { stream: Box::new(stream), input: Vec::new() }
    }

    /// Shakes hands; the certificate is not the subject of these tests.
    pub(super) async fn start_tls(self) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        let pem = certificate().0.as_bytes();
        let der = rustls::pki_types::pem::PemObject::from_pem_slice(pem).unwrap();
        roots.add(der).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = rustls::pki_types::ServerName::try_from("mail.example.net").unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = connector.connect(name, self.stream).await.unwrap();
        Self { stream: Box::new(stream), input: Vec::new() }
    }

    /// EHLO, STARTTLS, handshake.
    pub(super) async fn upgrade(mut self) -> Self {
        self.cmd("EHLO client.example").await;
        assert_eq!(self.cmd("STARTTLS").await, "220 2.0.0 Ready to start TLS\r\n");
        self.start_tls().await
    }

    pub(super) async fn send(&mut self, octets: impl AsRef<[u8]>) {
        self.stream.write_all(octets.as_ref()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// One whole reply; empty at the end of the connection.
    pub(super) async fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let line = self.line().await;
            let last = line.as_bytes().get(3) != Some(&b'-');
            reply += &line;
            if last {
                return reply;
            }
        }
    }

    /// One line with its CRLF; empty at the end of the connection.
    pub(super) async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.input.windows(2).position(|w| w == b"\r\n") {
                let line: Vec<u8> = self.input.drain(..end + 2).collect();
                return String::from_utf8(line).unwrap();
            }
            let mut buffer = [0; 4096];
            let read = tokio::time::timeout(Duration::from_secs(30), self.stream.read(&mut buffer));
            match read.await.expect("the server answers in time") {
                Ok(0) | Err(_) => return String::new(),
                Ok(n) => self.input.extend_from_slice(&buffer[..n]),
            }
        }
    }

    /// What came in the first read, whole: for "in the same write".
    pub(super) async fn one_read(&mut self) -> String {
        assert!(self.input.is_empty());
        let mut buffer = vec![0; 4096];
        let n = self.stream.read(&mut buffer).await.unwrap();
        String::from_utf8(buffer[..n].to_vec()).unwrap()
    }

    pub(super) async fn cmd(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n")).await;
        self.reply().await
    }

    /// A whole message from MAIL to the reply behind the final dot.
    pub(super) async fn mail(&mut self, from: &str, to: &[&str], message: &str) -> String {
        let reply = self.cmd(&format!("MAIL FROM:<{from}>")).await;
        if !reply.starts_with("250") {
            return reply;
        }
        for to in to {
            let reply = self.cmd(&format!("RCPT TO:<{to}>")).await;
            if !reply.starts_with("250") {
                return reply;
            }
        }
        assert!(self.cmd("DATA").await.starts_with("354"));
        self.send(message).await;
        self.cmd(".").await
    }

    /// Whether the server has closed the connection.
    pub(super) async fn is_closed(&mut self) -> bool {
        self.line().await.is_empty()
    }
}
