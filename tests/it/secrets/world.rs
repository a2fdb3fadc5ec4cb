//! Two servers and their users as processes, with everybody listening who can.

use super::{
    memory::{self, Stretch},
    rules::{Kind, Place},
    wire::{Door, Taps},
};
use crate::{
    server::{ALL_PORTS, Client, Server, Setup},
    support::{children, eventually, finish, sealpost, stderr, stdout},
};
use hkdf::Hkdf;
use sealpost_crypto::key::SecretKey;
use sealpost_hostile::{Authority, Certificate};
use sealpost_lookup::zone::{Zone, ZoneServer};
use sealpost_proto::base64;
use serde_json::Value;
use sha2::{Digest as _, Sha256, Sha512};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};
use tempfile::TempDir;

pub const DOMAINS: [&str; 2] = ["example.net", "example.com"];
/// Where clients think the servers are, and where they are.
const PUBLIC: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 0, 4, 2), Ipv4Addr::new(127, 0, 4, 3)];
const REAL: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 0, 4, 4), Ipv4Addr::new(127, 0, 4, 5)];
/// No secret, and in every process's environment.
pub const PLANTED_VARIABLE: &str = "planted-in-the-environment-5e81";

/// What processes looked like from outside while they ran.
#[derive(Default)]
pub struct Seen {
    pub command_lines: BTreeSet<Vec<u8>>,
    pub environments: BTreeSet<Vec<u8>>,
}

/// Looks at all processes that this one started, over and over.
struct Watch {
    seen: Arc<Mutex<Seen>>,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    fn start() -> Self {
        let (seen, done) = (Arc::<Mutex<Seen>>::default(), Arc::<AtomicBool>::default());
        let (here, end) = (Arc::clone(&seen), Arc::clone(&done));
        let thread = std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                let mut pids = children(std::process::id());
                let mut at = 0;
                while at < pids.len() {
                    pids.extend(children(pids[at]));
                    at += 1;
                }
                for pid in pids {
                    let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
                    let (line, environment) = (read("cmdline"), read("environ"));
                    let mut seen = here.lock().expect("no panic");
                    seen.command_lines.insert(line);
                    seen.environments.insert(environment);
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        Self { seen, done, thread: Some(thread) }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// Which commands' output something was.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    Reader,
    Lister,
    Administrator,
    Other,
}

pub struct World {
    pub taps: Taps,
    pub setups: [Setup; 2],
    pub servers: Vec<Server>,
    /// What commands wrote, and which they were.
    pub outputs: Vec<(Speaker, String, Vec<u8>)>,
    /// What processes had in memory.
    pub memories: Vec<(Place, String, Vec<Stretch>)>,
    /// Whether that can be known here.
    pub reads_memory: bool,
    /// All secrets so far, by octets.
    secrets: BTreeMap<Vec<u8>, (Kind, String)>,
    dir: TempDir,
    dns: SocketAddr,
    mx_port: u16,
    watch: Watch,
    /// Where all listen before the first server, by service.
    public: BTreeMap<&'static str, SocketAddr>,
    zones: ZoneServer,
}

fn free_port() -> u16 {
    for _ in 0..50 {
        let first = TcpListener::bind((PUBLIC[0], 0)).expect("a port");
        let port = first.local_addr().expect("bound").port();
        if [PUBLIC[1], REAL[0], REAL[1]].iter().all(|ip| TcpListener::bind((*ip, port)).is_ok()) {
            return port;
        }
    }
    panic!("no port is free on four addresses");
}

impl World {
    pub fn start() -> Self {
        let taps = Taps::new();
        let dir = TempDir::new().expect("a folder");
        let authority = Authority::default();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let zones = taps.runtime.block_on(ZoneServer::start(any, Vec::new())).expect("a port");
        let (dns, mx_port) = (taps.before_dns(zones.address()), free_port());
        fs::write(dir.path().join("ca.pem"), authority.root()).expect("written");
        for folder in ["tmp", "clients"] {
            fs::create_dir(dir.path().join(folder)).expect("made");
        }
        let setups = [0, 1].map(|n| {
            let setup = Setup::new("", ALL_PORTS);
            let host = format!("mail.{}", DOMAINS[n]);
            let (certificate, key) = authority.pem(Certificate::For(&host));
            fs::write(setup.path("cert.pem"), certificate).expect("written");
            fs::write(setup.path("key.pem"), key).expect("written");
            let ip = REAL[n];
            let text = format!(
                "hostname = \"{host}\"\ndomains = [\"{}\"]\ndata_dir = \"data\"\nmx_port = {mx_port}\n\
                 dns = \"{dns}\"\nca_file = \"{}\"\nrequire_tls = [\"{}\"]\n\
                 [tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n[limits]\nno_limits = true\n\
                 [queue]\nretry = [\"1s\"]\nlifetime = \"1d\"\n\
                 [listen]\nsmtp = \"{ip}:{mx_port}\"\nsubmission = \"{ip}:0\"\nsubmissions = \"{ip}:0\"\n\
                 imap = \"{ip}:0\"\nimaps = \"{ip}:0\"\npop3s = \"{ip}:0\"\n",
                DOMAINS[n],
                dir.path().join("ca.pem").display(),
                DOMAINS[1 - n],
            );
            fs::write(setup.config(), &text).expect("written");
            // What administrators use: the same, with a control socket that is listened at.
            let listened = setup.path("listened");
            fs::create_dir(&listened).expect("made");
            let text = text.replace("data_dir = \"data\"", "data_dir = \"listened\"");
            fs::write(setup.path("admin.toml"), text).expect("written");
            taps.before_control(listened.join("control.sock"), setup.path("data/control.sock"));
            setup
        });
        let mut world = Self {
            taps,
            setups,
            servers: Vec::new(),
            outputs: Vec::new(),
            memories: Vec::new(),
            reads_memory: memory::is_readable(),
            secrets: BTreeMap::new(),
            dir,
            dns,
            mx_port,
            watch: Watch::start(),
            public: BTreeMap::new(),
            zones,
        };
        // The watch sees this one whoever it is; the environments of ours are for root alone.
        let mut planted = Command::new("sleep");
        world.environment(planted.arg("0.3"));
        assert!(planted.status().expect("it runs").success());
        world.servers = [0, 1].map(|n| world.serve(n)).into();
        let mut published = Vec::new();
        for n in 0..2 {
            let (server, host, domain) = (&world.servers[n], format!("mail.{}", DOMAINS[n]), DOMAINS[n]);
            let acceptor = || authority.acceptor(Certificate::For(&host));
            let address = |name: &str| server.address(name);
            let addresses: BTreeMap<&str, SocketAddr> =
                ["smtp", "submissions", "imaps"].into_iter().map(|name| (name, address(name))).collect();
            let taps = &world.taps;
            let before = |port: u16, name: &str, door| {
                let (listen, tls) = (SocketAddr::from((PUBLIC[n], port)), (acceptor(), authority.client()));
                taps.before(listen, addresses[name], (door, &host), tls).port()
            };
            let mut zone = Zone::new(domain);
            zone.mx(domain, 10, &host).a(&host, PUBLIC[n]);
            before(mx_port, "smtp", Door::StartTls);
            let port = before(0, "submissions", Door::Implicit);
            if n == 0 {
                world.public.insert("smtp", SocketAddr::from((PUBLIC[0], mx_port)));
                world.public.insert("submissions", SocketAddr::from((PUBLIC[0], port)));
            }
            zone.srv(&format!("_submissions._tcp.{domain}"), 0, 0, port, &host);
            let port = before(0, "imaps", Door::Implicit);
            zone.srv(&format!("_imaps._tcp.{domain}"), 0, 0, port, &host);
            published.push(zone);
        }
        world.zones.replace(published);
        for n in 0..2 {
            let pem = fs::read_to_string(world.setups[n].path("key.pem")).expect("a key");
            let der: String = pem.lines().filter(|l| !l.starts_with('-')).collect();
            let der = base64::decode(der).expect("PEM");
            // PKCS #8 around RFC 5915: the scalar is an OCTET STRING of 32 octets.
            let at = der.windows(2).position(|w| w == [4, 32]).expect("a P-256 key") + 2;
            world.know(Kind::TlsKey, "a server's TLS key", &der[at..at + 32]);
        }
        world
    }

    /// Starts a server (again), as slow to forget as it can be.
    pub fn serve(&self, n: usize) -> Server {
        let mut command = self.setups[n].command();
        command.stdout(fs::File::create(self.setups[n].path("stdout")).expect("a file"));
        self.environment(&mut command);
        self.setups[n].start_as(command)
    }

    fn environment(&self, command: &mut Command) {
        command
            .env("SEALPOST_LOG", "trace")
            .env("RUST_LOG", "trace")
            .env("RUST_BACKTRACE", "full")
            .env("TMPDIR", self.temporary())
            .env("PLANTED", PLANTED_VARIABLE);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A client's.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.path("clients").join(name)
    }

    pub fn temporary(&self) -> PathBuf {
        self.path("tmp")
    }

    /// A file that holds a secret, and is no place to look in.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let folder = self.path("given");
        fs::create_dir_all(&folder).expect("made");
        fs::write(folder.join(name), content).expect("written");
        folder.join(name)
    }

    pub fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.watch.seen.lock().expect("no panic")
    }

    /// From now on this is looked for.
    pub fn know(&mut self, kind: Kind, name: &str, octets: impl AsRef<[u8]>) {
        let entry = self.secrets.entry(octets.as_ref().to_vec());
        entry.or_insert_with(|| (kind, name.to_owned()));
    }

    pub fn secrets(&self) -> Vec<(Kind, String, Vec<u8>)> {
        self.secrets.iter().map(|(octets, (kind, name))| (*kind, name.clone(), octets.clone())).collect()
    }

    /// Learns what lies in a client's folder, and what it was made from.
    pub fn learn(&mut self, address: &str, folder: &str, passwords: &[&str]) {
        let text = fs::read(self.folder(folder).join("secrets.json")).expect("the client's secrets");
        let kept: Value = serde_json::from_slice(&text).expect("JSON");
        let octets = |value: &Value| value.as_str().map(|text| base64::decode(text).expect("base64"));
        for current in [&kept["current"], &kept["pending"]] {
            if let Some(hash) = octets(&current["login_hash"]) {
                self.know(Kind::LoginHash, &format!("a login hash of {address}"), hash);
            }
            let Some(seed) = octets(&current["key"]["seed"]) else { continue };
            self.know_key(address, &seed);
            let salt = octets(&current["key"]["salt"]).expect("a salt");
            let hash = passwords.iter().find_map(|p| key_hash(address, p, &salt, &current["cost"], &seed));
            self.know(
                Kind::KeyHash,
                &format!("Argon2id's output for {address}"),
                hash.expect("of a password"),
            );
        }
        for retired in kept["retired"].as_array().expect("a list") {
            self.know_key(address, &octets(&retired["seed"]).expect("a seed"));
        }
    }

    fn know_key(&mut self, address: &str, seed: &[u8]) {
        let expanded = Sha512::digest(seed);
        let mut scalar: [u8; 32] = expanded[..32].try_into().expect("half");
        self.know(Kind::Seed, &format!("a seed of {address}"), seed);
        self.know(Kind::PrivateKey, &format!("half a private key of {address}"), &expanded[32..]);
        self.know(Kind::PrivateKey, &format!("an unclamped private key of {address}"), scalar);
        scalar[0] &= 0xf8;
        scalar[31] = scalar[31] & 0x7f | 0x40;
        self.know(Kind::PrivateKey, &format!("a private key of {address}"), scalar);
    }

    /// A command of the client whose folder is `folder`.
    pub fn client(&self, folder: &str) -> Command {
        let mut command = sealpost();
        self.environment(&mut command);
        command
            .arg("--dir")
            .arg(self.folder(folder))
            .args(["--dns", &self.dns.to_string(), "--mx-port", &self.mx_port.to_string(), "--ca-file"])
            .arg(self.path("ca.pem"));
        command
    }

    pub fn note(&mut self, speaker: Speaker, command: &Command, output: &Output) {
        let octets = [&output.stdout[..], b"\n", &output.stderr].concat();
        self.outputs.push((speaker, format!("the output of {}", words(command)), octets));
    }

    /// Runs it and expects this exit status.
    pub fn run(&mut self, speaker: Speaker, command: &mut Command, status: i32) -> Output {
        let child = spawn(command);
        self.end(speaker, command, child, status)
    }

    /// The same for one that runs.
    pub fn end(&mut self, speaker: Speaker, command: &Command, child: Child, status: i32) -> Output {
        let output = finish(command, child);
        self.note(speaker, command, &output);
        let code = output.status.code();
        assert_eq!(code, Some(status), "{command:?}: {}{}", stdout(&output), stderr(&output));
        output
    }

    /// Runs a client and stops it when it says good-bye, with everything done: what is in its memory then?
    pub fn held(&mut self, place: Place, command: &mut Command) -> Output {
        let word = "QUIT";
        self.taps.gate.arm(word);
        let mut child = spawn(command);
        eventually(word, || {
            let ended = child.try_wait().expect("a child");
            assert!(ended.is_none(), "{command:?} ended ({ended:?}) and never said {word}");
            self.taps.gate.is_closed().then_some(())
        });
        self.remember(place, &format!("the memory of {} at {word}", words(command)), child.id());
        self.taps.gate.open();
        self.end(Speaker::Other, command, child, 0)
    }

    /// What a process has in its memory now.
    pub fn remember(&mut self, place: Place, what: &str, pid: u32) {
        if self.reads_memory {
            match memory::image(pid) {
                Ok(image) => self.memories.push((place, what.to_owned(), image)),
                // Ours forbid it to all but root (`forbid_core_dumps`), which is as good as finding nothing.
                Err(error) if error.kind() == ErrorKind::PermissionDenied && self.memories.is_empty() => {
                    eprintln!("{what} is for root alone ({error}): not searched");
                    self.reads_memory = false;
                }
                Err(error) => panic!("{what}: {error}"),
            }
        }
    }

    /// An administrator's command; its JSON.
    pub fn admin(&mut self, n: usize, args: &[&str]) -> Value {
        let mut command = sealpost();
        self.environment(&mut command);
        command.arg("--json").args(args).arg("--config").arg(self.setups[n].path("admin.toml"));
        let output = self.run(Speaker::Administrator, &mut command, 0);
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// The first server as the world sees it, with all who listen before it.
    pub fn through(&self, name: &str) -> Client {
        let client = Client::connect(self.public[name]);
        let mut client = if name == "smtp" { client } else { client.tls(&self.path("ca.pem")) };
        assert!(client.line().starts_with("220 "));
        client
    }

    /// Straight to a server inside TLS, past everybody: what a broken client does, the network would hear.
    pub fn direct(&self, name: &str) -> Client {
        let mut client = Client::connect(self.servers[0].address(name)).tls(&self.path("ca.pem"));
        let greeting = client.line();
        assert!(
            ["220 ", "* OK ", "+OK "].iter().any(|start| greeting.starts_with(start)),
            "{name}: {greeting}"
        );
        client
    }
}

/// Argon2id's output behind the seed, if this is the password (profile §3).
fn key_hash(address: &str, password: &str, salt: &[u8], cost: &Value, seed: &[u8]) -> Option<[u8; 32]> {
    use argon2::{Algorithm, Argon2, Params, Version};
    let bound = [b"sealpost key salt v1\0", address.as_bytes(), b"\0", salt].concat();
    let number = |name: &str| u32::try_from(cost[name].as_u64().expect("a number")).expect("small");
    let params = Params::new(number("m_kib"), number("t"), number("p"), Some(32)).expect("a cost");
    let mut hash = [0; 32];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into(password.as_bytes(), &Sha256::digest(bound), &mut hash).expect("it runs");
    let mut made = [0; 32];
    Hkdf::<Sha256>::new(None, &hash).expand(b"sealpost ed25519 v1", &mut made).expect("32 octets");
    (made == seed && SecretKey::from_seed(made).seed()[..] == *seed).then_some(hash)
}

/// The words of a command, without its environment.
fn words(command: &Command) -> String {
    command.get_args().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Starts it, its output to be read at its end.
pub fn spawn(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
}

/// A copy of a folder as it lies there at this moment.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).into_iter().flatten().flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => copy(&path, &target),
            // What has gone meanwhile is not there.
            Ok(kind) if kind.is_file() => drop(fs::copy(path, target)),
            _ => {}
        }
    }
}
