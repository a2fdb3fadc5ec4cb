//! `sealpost serve` as a process of its own, and the plainest clients that can talk to it.

use crate::support::{PATIENCE, eventually, sealpost, succeed};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use sealpost_proto::{
    base64,
    phc::{Challenge, Cost, LoginHash, LoginPhc, Salt},
};
use std::{
    fs,
    io::{self, BufRead as _, BufReader, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
};
use tempfile::TempDir;

pub const ALICE: &str = "alice@example.net";
/// Alice's app password.
pub const TOKEN: &str = "a-token-for-scripted-set-ups";
const HOST: &str = "mail.example.net";

/// Ports for everything, on 127.0.0.1.
pub const ALL_PORTS: &str = "smtp = \"127.0.0.1:0\"\nsubmission = \"127.0.0.1:0\"\nsubmissions = \"127.0.0.1:0\"\n\
                             imap = \"127.0.0.1:0\"\nimaps = \"127.0.0.1:0\"\n\
                             pop3 = \"127.0.0.1:0\"\npop3s = \"127.0.0.1:0\"\n";

/// A folder with certificate, key and configuration.
pub struct Setup {
    dir: TempDir,
}

impl Setup {
    /// `top` are lines for the top of the file, `listen` those of `[listen]`.
    pub fn new(top: &str, listen: &str) -> Self {
        let setup = Self { dir: TempDir::new().expect("a folder") };
        setup.certify();
        setup.configure(top, listen);
        setup
    }

    /// Writes the configuration (anew).
    pub fn configure(&self, top: &str, listen: &str) {
        let data = if top.contains("data_dir") { "" } else { "data_dir = \"data\"\n" };
        let dns = if top.contains("dns =") { "" } else { "dns = \"127.0.0.1:9\"\n" };
        let text = format!(
            "hostname = \"{HOST}\"\ndomains = [\"example.net\", \"example.org\"]\n{data}{dns}{top}\n\
             [tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n[listen]\n{listen}"
        );
        fs::write(self.config(), text).expect("written");
    }

    /// A new certificate and key, self-signed, for the name and for clients that know the address alone.
    pub fn certify(&self) {
        let made = rcgen::generate_simple_self_signed(vec![HOST.to_owned(), "127.0.0.1".to_owned()])
            .expect("a certificate");
        fs::write(self.path("cert.pem"), made.cert.pem()).expect("written");
        fs::write(self.path("key.pem"), made.signing_key.serialize_pem()).expect("written");
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn config(&self) -> PathBuf {
        self.path("sealpost.toml")
    }

    /// `sealpost ARGS --config …`.
    pub fn admin(&self, args: &[&str]) -> Command {
        let mut command = sealpost();
        command.args(args).arg("--config").arg(self.config());
        command
    }

    /// Makes an account with an app password ([`TOKEN`]).
    pub fn account(&self, address: &str) {
        succeed(&mut self.admin(&["user", "add", address]));
        fs::write(self.path("token"), TOKEN).expect("written");
        let mut add = self.admin(&["app-password", "add", address, "test"]);
        succeed(add.arg("--token-file").arg(self.path("token")));
    }

    /// Makes an account whose login hash is `[n; 32]`, as a client enrols it.
    pub fn enrol(&self, server: &Server, address: &str, n: u8) {
        let added = succeed(&mut self.admin(&["user", "add", address, "--json"]));
        let added: serde_json::Value = serde_json::from_str(&added).expect("one object");
        let challenge = Challenge { cost: Cost::DEFAULT, salt: Salt::new([n; 16]).expect("a salt") };
        let login = LoginPhc { challenge, hash: LoginHash::from_bytes([n; 32]) };
        let line = format!(
            "XENROL {address} {} {}",
            added["code"].as_str().expect("a code"),
            base64::encode(login.to_phc().as_bytes())
        );
        assert!(server.submission(self).smtp(&line).starts_with("250"));
    }

    /// The server as a command; `through` is a program that starts it (`sh -c …`), if any.
    pub fn command(&self) -> Command {
        self.admin(&["serve"])
    }

    pub fn start(&self) -> Server {
        self.start_as(self.command())
    }

    /// Starts `command`, which is or becomes the server.
    pub fn start_as(&self, mut command: Command) -> Server {
        let log = self.path("log");
        command.stderr(fs::File::create(&log).expect("a log"));
        let process = command.spawn().expect("the server starts");
        let mut server = Server { process, log, addresses: String::new() };
        server.addresses = eventually("the server", || {
            if let Some(status) = server.process.try_wait().expect("a child") {
                panic!("the server ended ({status}): {}", server.log());
            }
            server.log().lines().find(|line| line.contains(" serving ")).map(str::to_owned)
        });
        server
    }

    /// Starts it and expects it to refuse; what it said.
    pub fn refused(&self) -> String {
        self.refused_as(self.command())
    }

    /// The same by a command of one's own.
    pub fn refused_as(&self, mut command: Command) -> String {
        let log = self.path("refused");
        command.stderr(fs::File::create(&log).expect("a log"));
        let mut server =
            Server { process: command.spawn().expect("it starts"), log, addresses: String::new() };
        let status = eventually("its end", || {
            assert!(!server.log().contains(" serving "), "it serves");
            server.process.try_wait().expect("a child")
        });
        assert!(!status.success());
        server.log()
    }
}

/// A running server, ended when dropped.
pub struct Server {
    pub process: Child,
    log: PathBuf,
    addresses: String,
}

impl Server {
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The first address of a key of `[listen]`, as the log tells it.
    pub fn address(&self, name: &str) -> SocketAddr {
        self.addresses(name)[0]
    }

    pub fn addresses(&self, name: &str) -> Vec<SocketAddr> {
        let (_, rest) = self.addresses.split_once(&format!(" {name}: [")).expect("its addresses");
        // Brackets of IPv6 literals are part of an address; the list ends in `]` and a comma or brace.
        let list = rest.split("], ").next().unwrap_or(rest).trim_end_matches(" }").trim_end_matches(']');
        let parse = |text: &str| {
            let text = text.trim();
            text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
        };
        list.split(", ").filter(|text| !text.is_empty()).map(parse).collect()
    }

    pub fn signal(&self, signal: &str) {
        succeed(Command::new("kill").arg(format!("-{signal}")).arg(self.pid().to_string()));
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        eventually("the end of the server", || self.process.try_wait().expect("a child"))
    }

    /// SIGTERM, and waits.
    pub fn end(mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// A line of /proc/PID/status, without its name.
    pub fn status(&self, name: &str) -> String {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it lives");
        let line = text.lines().find(|line| line.starts_with(name)).expect("the line");
        line.split_once(':').map(|(_, rest)| rest.trim().to_owned()).unwrap_or_default()
    }

    /// Resident memory, in KiB.
    pub fn rss_kib(&self) -> u64 {
        self.status("VmRSS").trim_end_matches(" kB").trim().parse().expect("a number")
    }

    pub fn smtp(&self) -> Client {
        Client::greeted(self.address("smtp"), "220 ")
    }

    pub fn imap(&self) -> Client {
        Client::greeted(self.address("imap"), "* OK ")
    }

    /// Port 465, nobody signed in.
    pub fn submission(&self, setup: &Setup) -> Client {
        let mut client = Client::connect(self.address("submissions")).tls(&setup.path("cert.pem"));
        client.send("NOOP\r\n");
        assert!(client.reply().starts_with("220 ") && client.reply().starts_with("250 "));
        client
    }

    /// Port 465, Alice by app password.
    pub fn alice_writes(&self, setup: &Setup) -> Client {
        let mut client = self.submission(setup);
        assert!(client.smtp("EHLO client.example").starts_with("250"));
        let response = base64::encode(format!("\0{ALICE}\0{TOKEN}"));
        assert!(client.smtp(&format!("AUTH PLAIN {response}")).starts_with("235"));
        client
    }

    /// Port 465, somebody who was enrolled with `n`, by HASHEDPASS.
    pub fn signed_in(&self, setup: &Setup, address: &str, n: u8) -> Client {
        let mut client = self.submission(setup);
        let response = base64::encode(format!("\0{address}\0{}", base64::encode([n; 32])));
        assert!(client.smtp(&format!("AUTH HASHEDPASS {response}")).starts_with("235"));
        assert!(client.reply().starts_with("250 SALT "));
        client
    }

    /// Alice over IMAP and TLS.
    pub fn alice(&self, setup: &Setup) -> Client {
        let mut client = Client::connect(self.address("imaps")).tls(&setup.path("cert.pem"));
        assert!(client.line().starts_with("* OK "));
        let login = client.imap(&format!("LOGIN {ALICE} {TOKEN}"));
        assert!(login.contains("a OK "), "{login}");
        client
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            drop(self.process.kill());
            drop(self.process.wait());
        }
    }
}

trait Io: Read + Write + Send {}
impl<T: Read + Write + Send> Io for T {}

/// A client that talks in lines and waits for each answer.
pub struct Client {
    stream: BufReader<Box<dyn Io>>,
    socket: TcpStream,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).expect("it listens"))
    }

    /// To a server that may be down.
    pub fn try_connect(address: SocketAddr) -> io::Result<Self> {
        TcpStream::connect(address).map(Self::over)
    }

    /// From an address of our own choice.
    pub fn connect_from(source: IpAddr, address: SocketAddr) -> Self {
        use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
        let family = if source.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
        let made = socket(family, SocketType::STREAM, None).expect("a socket");
        bind(&made, &SocketAddr::new(source, 0)).expect("an address of this machine");
        connect(&made, &address).expect("it listens");
        Self::over(made.into())
    }

    fn over(socket: TcpStream) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
        socket.set_write_timeout(Some(PATIENCE)).expect("a socket");
        socket.set_nodelay(true).expect("a socket");
        let stream: Box<dyn Io> = Box::new(socket.try_clone().expect("a socket"));
        Self { stream: BufReader::with_capacity(1024, stream), socket }
    }

    pub fn greeted(address: SocketAddr, greeting: &str) -> Self {
        let mut client = Self::connect(address);
        let line = client.line();
        assert!(line.starts_with(greeting), "{line}");
        client
    }

    /// TLS with the server whose certificate lies at `cert`. Shakes hands at the first octet.
    pub fn tls(self, cert: &Path) -> Self {
        self.tls_named(cert, HOST)
    }

    /// The same with a server of another name.
    pub fn tls_named(self, cert: &Path, name: &str) -> Self {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let connection = rustls::ClientConnection::new(client_config(cert), name);
        let stream = rustls::StreamOwned::new(connection.expect("a client"), self.stream.into_inner());
        Self { stream: BufReader::with_capacity(1024, Box::new(stream)), socket: self.socket }
    }

    pub fn send(&mut self, octets: impl AsRef<[u8]>) {
        self.try_send(octets.as_ref()).expect("sent");
    }

    pub fn try_send(&mut self, octets: &[u8]) -> io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(octets)?;
        stream.flush()
    }

    /// Says no more; answers still come.
    pub fn hang_up(&self) {
        self.socket.shutdown(std::net::Shutdown::Write).expect("it was open");
    }

    /// One line with its end; empty at the end of the connection.
    pub fn line(&mut self) -> String {
        let mut line = Vec::new();
        match self.stream.read_until(b'\n', &mut line) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                panic!("no answer in time")
            }
            // A reset, or TLS without its end: gone is gone.
            Ok(_) | Err(_) => String::from_utf8_lossy(&line).into_owned(),
        }
    }

    /// The next octets, so many.
    pub fn octets(&mut self, count: usize) -> Vec<u8> {
        let mut octets = vec![0; count];
        self.stream.read_exact(&mut octets).expect("they come");
        octets
    }

    /// An SMTP reply, all of its lines.
    pub fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let line = self.line();
            reply += &line;
            if line.as_bytes().get(3) != Some(&b'-') {
                return reply;
            }
        }
    }

    /// An SMTP command and its reply.
    pub fn smtp(&mut self, command: &str) -> String {
        self.send(format!("{command}\r\n"));
        self.reply()
    }

    /// An IMAP command and all up to its tagged response.
    pub fn imap(&mut self, command: &str) -> String {
        self.send(format!("a {command}\r\n"));
        self.tagged()
    }

    pub fn tagged(&mut self) -> String {
        let mut all = String::new();
        loop {
            let line = self.line();
            all += &line;
            if line.starts_with("a ") || line.is_empty() {
                return all;
            }
        }
    }

    /// EHLO, MAIL, RCPT; the last reply.
    pub fn envelope(&mut self, to: &str) -> String {
        self.smtp("EHLO client.example");
        assert!(self.smtp("MAIL FROM:<x@example.com>").starts_with("250"));
        self.smtp(&format!("RCPT TO:<{to}>"))
    }

    /// A whole message to `to`; the reply behind its end, or the first refusal.
    pub fn mail(&mut self, to: &str, message: &[u8]) -> String {
        let mail = self.smtp("MAIL FROM:<x@example.com>");
        if !mail.starts_with("250") {
            return mail;
        }
        let rcpt = self.smtp(&format!("RCPT TO:<{to}>"));
        if !rcpt.starts_with("250") {
            self.smtp("RSET");
            return rcpt;
        }
        assert!(self.smtp("DATA").starts_with("354"));
        self.send(message);
        self.smtp(".")
    }

    /// IMAP APPEND to INBOX; the tagged response.
    pub fn append(&mut self, message: &[u8]) -> String {
        self.send(format!("a APPEND INBOX {{{}}}\r\n", message.len()));
        let line = self.line();
        if !line.starts_with('+') {
            return line;
        }
        self.send(message);
        self.send("\r\n");
        self.tagged()
    }

    /// The same from and to somebody else, by DATA or in two chunks.
    pub fn post(&mut self, from: &str, to: &str, message: &[u8], chunked: bool) -> String {
        for command in [format!("MAIL FROM:<{from}>"), format!("RCPT TO:<{to}>")] {
            let reply = self.smtp(&command);
            if !reply.starts_with("250") {
                self.smtp("RSET");
                return reply;
            }
        }
        if !chunked {
            assert!(self.smtp("DATA").starts_with("354"));
            self.send(message);
            return self.smtp(".");
        }
        let (first, last) = message.split_at(message.len() / 2);
        self.send([format!("BDAT {}\r\n", first.len()).as_bytes(), first].concat());
        let reply = self.reply();
        if !reply.starts_with("250") {
            self.smtp("RSET");
            return reply;
        }
        self.send([format!("BDAT {} LAST\r\n", last.len()).as_bytes(), last].concat());
        self.reply()
    }

    /// What `item` gives of all messages of a mailbox.
    pub fn messages(&mut self, mailbox: &str, item: &str) -> Vec<Vec<u8>> {
        let selected = self.imap(&format!("SELECT {mailbox}"));
        if selected.contains("* 0 EXISTS") {
            return Vec::new();
        }
        let mut all = Vec::new();
        self.send(format!("a UID FETCH 1:* {item}\r\n"));
        loop {
            let line = self.line();
            if line.starts_with("a ") {
                assert!(line.starts_with("a OK"), "{line}");
                return all;
            }
            if let Some((_, size)) = line.trim_end().strip_suffix('}').and_then(|l| l.rsplit_once('{')) {
                all.push(self.octets(size.parse().expect("a size")));
            }
        }
    }

    pub fn is_closed(&mut self) -> bool {
        self.line().is_empty()
    }
}

pub fn server_name() -> ServerName<'static> {
    ServerName::try_from(HOST).expect("a name")
}

/// A client's settings that trust this certificate alone.
pub fn client_config(cert: &Path) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(cert).expect("a certificate")).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// The server as systemd starts it: `first` and `second` are descriptors 3 and 4, with these names.
pub fn activated(setup: &Setup, names: &str, first: OwnedFd, second: OwnedFd) -> Command {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", "LISTEN_PID=$$ exec \"$@\" 3<&0 4<&1 0</dev/null 1>/dev/null", "sh"])
        .arg(env!("CARGO_BIN_EXE_sealpost"))
        .args(["serve", "--config"])
        .arg(setup.config())
        .env("LISTEN_FDS", "2")
        .env("LISTEN_FDNAMES", names)
        .env_remove("SEALPOST_LOG")
        .stdin(Stdio::from(first))
        .stdout(Stdio::from(second));
    command
}
