//! Thousands of sessions at once, and one more.

use super::{connect, submission};
use crate::server::{ALICE, ALL_PORTS, Client, Server, Setup, TOKEN, client_config, server_name};
use crate::support::{eventually, succeed};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{
    fs,
    io::Read,
    net::{SocketAddr, TcpStream},
    process::Command,
    sync::Arc,
    time::Instant,
};

/// Sessions of the crowd, where the limit on descriptors lets it come; `LOAD_SESSIONS` of the environment asks for more.
const CROWD: u64 = 5000;
/// What one of them, in the clear and behind TLS by turns, may cost on average.
const SESSION_KIB: u64 = 20;
/// Each kind of port.
const KINDS: [&str; 4] = ["smtp", "imap", "submissions", "imaps"];
const FULL: &str = "421 4.3.2 Too many sessions, try again later\r\n";
const BYE: &str = "* BYE Too many sessions, try again later\r\n";

/// Raises this process's own limit, which the server inherits and raises to the same; the sessions that fit.
fn crowd() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).expect("raised");
    let hard = limit.maximum.unwrap_or(u64::MAX);
    let wanted = std::env::var("LOAD_SESSIONS").map_or(CROWD, |text| text.parse().expect("a number"));
    // The server keeps 320 back and counts three for a session; other tests of this process need some here.
    wanted.min(hard.saturating_sub(320) / 3).min(hard.saturating_sub(600))
}

/// One of the crowd: a socket, and TLS on it for some. It says nothing more once it has its greeting.
struct Guest {
    _socket: TcpStream,
    _tls: Option<rustls::ClientConnection>,
}

impl Guest {
    fn plain(address: SocketAddr) -> Self {
        let mut socket = TcpStream::connect(address).expect("it listens");
        greeting(&mut socket);
        Self { _socket: socket, _tls: None }
    }

    fn tls(address: SocketAddr, config: &Arc<rustls::ClientConfig>) -> Self {
        let mut socket = TcpStream::connect(address).expect("it listens");
        let mut tls = rustls::ClientConnection::new(config.clone(), server_name()).expect("a client");
        greeting(&mut rustls::Stream::new(&mut tls, &mut socket));
        Self { _socket: socket, _tls: Some(tls) }
    }
}

fn greeting(stream: &mut impl Read) {
    let mut start = [0; 4];
    stream.read_exact(&mut start).expect("a greeting");
    assert!(&start == b"220 " || &start == b"* OK", "{}", String::from_utf8_lossy(&start));
}

/// No room for more, and that is said on every kind of port: also behind TLS, where mail programs wait for the
/// greeting of the protocol and would take a bare end for a broken network.
fn is_full(server: &Server, setup: &Setup) {
    for kind in KINDS {
        let mut client = connect(server, setup, kind);
        assert_eq!(client.line(), if kind.starts_with("imap") { BYE } else { FULL }, "{kind}");
        assert!(client.is_closed(), "{kind}");
    }
}

#[test]
fn five_thousand_sessions_have_a_bounded_cost_and_the_next_is_told() {
    let crowd = crowd();
    let setup =
        Setup::new(&format!("limits.sessions_per_address = 0\nlimits.sessions = {crowd}\n"), ALL_PORTS);
    setup.account(ALICE);
    let server = setup.start();
    let rest = server.rss_kib();
    let config = client_config(&setup.path("cert.pem"));
    let begin = Instant::now();
    let mut guests: Vec<Vec<Guest>> = std::thread::scope(|scope| {
        let come = |(n, kind): (u64, &str)| {
            let (config, address, tls) = (&config, server.address(kind), kind.ends_with('s'));
            let guest = move || if tls { Guest::tls(address, config) } else { Guest::plain(address) };
            scope.spawn(move || (n..crowd).step_by(KINDS.len()).map(|_| guest()).collect())
        };
        let kinds: Vec<_> = (0..).zip(KINDS).map(come).collect();
        kinds.into_iter().map(|kind| kind.join().expect("they come in")).collect()
    });
    let used = server.rss_kib().saturating_sub(rest);
    println!("{crowd} sessions in {:?}: {used} KiB, {rest} KiB at rest", begin.elapsed());
    assert!(used / crowd < SESSION_KIB, "{crowd} sessions cost {used} KiB");

    is_full(&server, &setup);
    // The administrator does not suffer.
    succeed(&mut setup.admin(&["user", "list"]));
    // When one of each kind has left, one of each kind is served, once the server has let go of the places.
    for guests in &mut guests {
        drop(guests.pop().expect("somebody"));
    }
    let mut newcomers = KINDS.map(|kind| {
        eventually("a place", || {
            let mut client = connect(&server, &setup, kind);
            let line = client.line();
            (line.starts_with("220 ") || line.starts_with("* OK ")).then_some(client)
        })
    });
    is_full(&server, &setup);
    let [smtp, imap, _, imaps] = &mut newcomers;
    smtp.smtp("EHLO client.example");
    assert!(smtp.mail(ALICE, b"Subject: in a crowd\r\n\r\ntext\r\n").starts_with("250"));
    assert!(imap.imap("NOOP").contains("a OK"));
    assert!(imaps.imap(&format!("LOGIN {ALICE} {TOKEN}")).contains("a OK"));
    assert!(imaps.imap("STATUS INBOX (MESSAGES)").contains("(MESSAGES 1)"));
    drop(guests);
    assert!(server.end().success());
}

/// Descriptors of a running server.
fn descriptors(server: &Server) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("it lives").count()
}

/// A submission that has half a message under way, large enough for files.
fn half(server: &Server, setup: &Setup) -> Client {
    let mut client = submission(server, setup);
    assert!(client.smtp("DATA").starts_with("354"));
    let line = format!("{}\r\n", "x".repeat(998));
    client.send(format!("From: {ALICE}\r\nSubject: half\r\n\r\n{}", line.repeat(160)));
    client
}

#[test]
fn descriptors_never_run_out_before_421_is_said() {
    const HARD: usize = 1024;
    let setup = Setup::new("limits.sessions_per_address = 0\n", ALL_PORTS);
    setup.account(ALICE);
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", &format!("ulimit -Sn 64; ulimit -Hn {HARD}; exec \"$@\""), "sh"])
        .arg(env!("CARGO_BIN_EXE_sealpost"))
        .args(["serve", "--config"])
        .arg(setup.config());
    let server = setup.start_as(command);
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.pid())).expect("it lives");
    let files = limits.lines().find(|line| line.starts_with("Max open files")).expect("the line");
    let soft = files.split_whitespace().nth(3).expect("a number");
    assert_eq!(soft, HARD.to_string(), "the soft limit is raised to the hard one");

    let log = server.log();
    let places = log.split_once("places=").and_then(|(_, rest)| rest.split_whitespace().next());
    let places: usize = places.and_then(|places| places.parse().ok()).unwrap_or_else(|| panic!("{log}"));
    // Every place is taken by what holds the most descriptors.
    let mut busy: Vec<Client> = std::thread::scope(|scope| {
        let part = |from: usize| {
            let (server, setup) = (&server, &setup);
            scope.spawn(move || (from..places).step_by(8).map(|_| half(server, setup)).collect::<Vec<_>>())
        };
        let parts: Vec<_> = (0..8).map(part).collect();
        parts.into_iter().flat_map(|part| part.join().expect("they come in")).collect()
    });
    eventually("two files for each session", || (descriptors(&server) >= places * 3).then_some(()));
    println!("{places} sessions that receive hold {} of {HARD} descriptors", descriptors(&server));
    is_full(&server, &setup);
    succeed(&mut setup.admin(&["queue", "list"]));
    // All that is under way comes to its end.
    for client in &mut busy {
        let reply = client.smtp("\r\n.");
        assert!(reply.starts_with("250 2.0.0"), "{reply}");
    }
    drop(busy.pop());
    let mut alice = eventually("a place", || {
        let mut client = connect(&server, &setup, "imaps");
        client.line().starts_with("* OK ").then_some(client)
    });
    assert!(alice.imap(&format!("LOGIN {ALICE} {TOKEN}")).contains("a OK"));
    assert!(alice.imap("STATUS INBOX (MESSAGES)").contains(&format!("(MESSAGES {places})")));
    let log = server.log();
    assert!(!log.contains("accept failed") && !log.contains("the store failed"), "{log}");
}
