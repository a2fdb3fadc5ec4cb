//! A server of IMAP alone, and a client that speaks octets.

use sealpost_proto::{
    address::Address,
    phc::{Cost, LoginHash, Salt},
    time::{Clock, Timestamp},
};
use sealpost_server::{apppass, config::Config, conn::Conn, context::Context, imap};
use sealpost_store::{
    Store,
    account::{AccountId, Accounts as _, Enrolment, Login},
    sqlite::SqliteStore,
};
use std::{net::SocketAddr, path::Path, sync::Arc};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

pub(super) const TOKEN: &str = "app-password-of-alice-0001";
pub(super) const ALICE: &str = "alice@example.net";
pub(super) const HASH: [u8; 32] = [7; 32];
/// 2026-11-23 21:36:00 UTC
pub(super) const NOW: Timestamp = Timestamp(1_795_469_760);

struct FixedClock;
impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        NOW
    }
}

/// A running server; ends with the test.
pub(super) struct Server {
    pub(super) imap: SocketAddr,
    pub(super) imaps: SocketAddr,
    pub(super) ctx: Context,
    pub(super) account: AccountId,
    pub(super) connector: TlsConnector,
    pub(super) stop: tokio::sync::watch::Sender<bool>,
    /// `None` where somebody else keeps the folder.
    _dir: Option<tempfile::TempDir>,
}

impl Server {
    pub(super) async fn start() -> Self {
        Self::start_with("").await
    }

    /// With lines for `[limits]`.
    pub(super) async fn start_with(limits: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Self::start_in(dir.path(), limits).await;
        Self { _dir: Some(dir), ..server }
    }

    /// In a folder where one may have run before: Alice's account is made once.
    pub(super) async fn start_in(dir: &Path, limits: &str) -> Self {
        let key = rcgen::generate_simple_self_signed(vec!["mail.example.net".to_owned()]).unwrap();
        let (cert_file, key_file) = (dir.join("cert.pem"), dir.join("key.pem"));
        std::fs::write(&cert_file, key.cert.pem()).unwrap();
        std::fs::write(&key_file, key.signing_key.serialize_pem()).unwrap();
        let text = format!(
            "hostname = 'mail.example.net'\ndomains = ['example.net']\ndata_dir = '{0}/data'\n\
             ca_file = '{0}/cert.pem'\n\
             [tls]\ncert = '{0}/cert.pem'\nkey = '{0}/key.pem'\n[limits]\n{limits}\n",
            dir.display()
        );
        let config = Config::parse(&text, Path::new("test.toml")).unwrap();
        let store = SqliteStore::open(&dir.join("data")).unwrap();
        let alice = Address::parse(ALICE).unwrap();
        let account = match store.resolve(&alice).await.unwrap() {
            Some(account) => account,
            None => enrol(&store, &alice).await,
        };
        let store: Arc<dyn Store> = store;
        let clock: Arc<dyn Clock> = Arc::new(FixedClock);
        let (ctx, stop) = Context::new(config, store, clock).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(key.cert.der().clone()).unwrap();
        let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(tls));
        let imap = listen(ctx.clone(), false).await;
        let imaps = listen(ctx.clone(), true).await;
        Self { imap, imaps, ctx, account, connector, stop, _dir: None }
    }

    /// Inside TLS, greeting read.
    pub(super) async fn connect(&self) -> Client<TlsStream<TcpStream>> {
        let mut client = Client::over(self.tls().await);
        let greeting = client.line().await;
        assert!(greeting.starts_with("* OK [CAPABILITY "), "{greeting}");
        client
    }

    pub(super) async fn tls(&self) -> TlsStream<TcpStream> {
        let socket = TcpStream::connect(self.imaps).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from("mail.example.net").unwrap();
        self.connector.connect(name, socket).await.unwrap()
    }

    /// Signed in with an app password.
    pub(super) async fn session(&self) -> Client<TlsStream<TcpStream>> {
        let mut client = self.connect().await;
        client.ok(&format!("LOGIN {ALICE} {TOKEN}")).await;
        client
    }

    /// Signed in, INBOX selected.
    pub(super) async fn inbox(&self) -> Client<TlsStream<TcpStream>> {
        let mut client = self.session().await;
        client.ok("SELECT INBOX").await;
        client
    }
}

/// An account with a login and an app password.
async fn enrol(store: &SqliteStore, alice: &Address) -> AccountId {
    let account = store.create_account(alice, [1; 32], Timestamp(i64::MAX), NOW).await.unwrap();
    let verifier = LoginHash::from_bytes(HASH).verifier();
    let login = Login { salt: Salt::new([3; 16]).unwrap(), cost: Cost::DEFAULT, verifier };
    assert_eq!(store.enrol(alice, [1; 32], login, NOW).await.unwrap(), Enrolment::Done(account));
    let salt = apppass::salt(&store.server_secret().await.unwrap(), ALICE);
    store.add_app_password(account, apppass::make("test", TOKEN, salt, NOW)).await.unwrap();
    account
}

async fn listen(ctx: Context, implicit: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let ctx = ctx.clone();
            tokio::spawn(async move {
                let mut conn = Conn::new(socket).unwrap();
                if implicit {
                    let Ok(tls) = ctx.start_tls(conn).await else { return };
                    conn = tls;
                }
                imap::serve(conn, ctx).await;
            });
        }
    });
    address
}

/// A client of octets.
pub(super) struct Client<S> {
    pub(super) stream: S,
    pub(super) buffer: Vec<u8>,
    tags: u32,
}

impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Client<S> {
    pub(super) fn over(stream: S) -> Self {
        Self { stream, buffer: Vec::new(), tags: 0 }
    }
    pub(super) async fn send(&mut self, text: impl AsRef<[u8]>) {
        self.stream.write_all(text.as_ref()).await.unwrap();
        self.stream.flush().await.unwrap();
    }
    /// One line, without its end; empty at the end of the connection.
    pub(super) async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return String::from_utf8_lossy(&line).trim_end().to_owned();
            }
            if self.stream.read_buf(&mut self.buffer).await.unwrap_or(0) == 0 {
                return String::new();
            }
        }
    }
    /// Exactly so many octets.
    pub(super) async fn octets(&mut self, n: usize) -> Vec<u8> {
        while self.buffer.len() < n {
            assert!(self.stream.read_buf(&mut self.buffer).await.unwrap() > 0, "the connection ended");
        }
        self.buffer.drain(..n).collect()
    }
    /// Sends a command; everything up to its tagged reply, and that reply's words.
    pub(super) async fn run(&mut self, command: &str) -> (Vec<String>, String) {
        self.tags += 1;
        let tag = format!("t{}", self.tags);
        self.send(format!("{tag} {command}\r\n")).await;
        self.until(&tag).await
    }
    pub(super) async fn until(&mut self, tag: &str) -> (Vec<String>, String) {
        let mut untagged = Vec::new();
        loop {
            let line = self.line().await;
            assert!(
                !line.is_empty() || !self.buffer.is_empty() || !untagged.is_empty(),
                "the connection ended"
            );
            if let Some(status) = line.strip_prefix(&format!("{tag} ")) {
                return (untagged, status.to_owned());
            }
            if line.is_empty()
                && self.buffer.is_empty()
                && untagged.last().is_some_and(|l: &String| l.starts_with("* BYE"))
            {
                return (untagged, String::new());
            }
            untagged.push(line);
        }
    }
    /// A command that must succeed; its untagged lines.
    pub(super) async fn ok(&mut self, command: &str) -> Vec<String> {
        let (untagged, status) = self.run(command).await;
        assert!(status.starts_with("OK"), "{command}: {status}");
        untagged
    }
    /// A command that must not; its tagged words.
    pub(super) async fn refused(&mut self, command: &str) -> String {
        let (_, status) = self.run(command).await;
        assert!(!status.starts_with("OK"), "{command}: {status}");
        status
    }
    /// APPEND with a literal that does not wait; the tagged words.
    pub(super) async fn append(&mut self, head: &str, message: &[u8]) -> String {
        self.tags += 1;
        let tag = format!("t{}", self.tags);
        self.send(format!("{tag} APPEND {head} {{{}+}}\r\n", message.len())).await;
        self.send(message).await;
        self.send("\r\n").await;
        self.until(&tag).await.1
    }
    /// FETCH of one literal of one message: its octets.
    pub(super) async fn fetch(&mut self, n: u32, item: &str) -> Vec<u8> {
        self.tags += 1;
        let tag = format!("t{}", self.tags);
        self.send(format!("{tag} FETCH {n} {item}\r\n")).await;
        let line = self.line().await;
        let len = line.rsplit_once('{').and_then(|(_, n)| n.strip_suffix('}')).and_then(|n| n.parse().ok());
        let octets = self.octets(len.unwrap_or_else(|| panic!("no literal: {line}"))).await;
        let (_, status) = self.until(&tag).await;
        assert!(status.starts_with("OK"), "{status}");
        octets
    }
}
