//! The server as a process: how it starts, ends, reloads, whose rights it has.

use crate::server::{ALICE, ALL_PORTS, Client, Setup, activated};
use crate::support::eventually;
use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::{fs::MetadataExt as _, net::UnixDatagram},
    time::{Duration, Instant},
};

const STOPPING: &str = "421 4.3.2 Server is shutting down, try again soon\r\n";

fn message(subject: &str) -> Vec<u8> {
    format!("From: x@example.com\r\nSubject: {subject}\r\n\r\ntext\r\n").into_bytes()
}

#[test]
fn sigterm_lets_a_message_end_and_tells_the_idle() {
    let setup = Setup::new("", ALL_PORTS);
    setup.account(ALICE);
    let mut server = setup.start();
    let (mut idle, mut busy, mut imap) = (server.smtp(), server.smtp(), server.imap());
    let mut alice = server.alice(&setup);
    assert!(busy.envelope(ALICE).starts_with("250"));
    assert!(busy.smtp("DATA").starts_with("354"));
    busy.send("Subject: begun before the end\r\n\r\n");
    server.signal("TERM");
    assert_eq!(idle.reply(), STOPPING);
    assert!(idle.is_closed());
    assert!(imap.line().starts_with("* BYE "));
    assert!(alice.line().starts_with("* BYE "));
    // The message may still come to its end, and is promised.
    busy.send("text\r\n");
    assert!(busy.smtp(".").starts_with("250 2.0.0 OK"));
    assert_eq!(busy.reply(), STOPPING);
    assert!(server.wait().success());
    let server = setup.start();
    assert!(server.alice(&setup).imap("STATUS INBOX (MESSAGES)").contains("(MESSAGES 1)"));
}

#[test]
fn a_second_sigterm_cuts_what_runs() {
    let setup = Setup::new("", ALL_PORTS);
    setup.account(ALICE);
    let mut server = setup.start();
    let (mut idle, mut busy) = (server.smtp(), server.smtp());
    assert!(busy.envelope(ALICE).starts_with("250"));
    assert!(busy.smtp("DATA").starts_with("354"));
    busy.send("Subject: never ends\r\n\r\n");
    let start = Instant::now();
    server.signal("TERM");
    assert_eq!(idle.reply(), STOPPING);
    server.signal("TERM");
    assert!(server.wait().success());
    assert!(start.elapsed() < Duration::from_secs(9), "it waited for the grace all the same");
    assert!(busy.is_closed());
    assert!(server.log().contains("running transactions are cut"));
    let server = setup.start();
    assert!(server.alice(&setup).imap("STATUS INBOX (MESSAGES)").contains("(MESSAGES 0)"));
}

#[test]
fn the_end_of_the_grace_cuts_what_runs() {
    let setup = Setup::new("", ALL_PORTS);
    setup.account(ALICE);
    let mut server = setup.start();
    let (mut busy, mut silent) = (server.smtp(), server.smtp());
    for client in [&mut busy, &mut silent] {
        assert!(client.envelope(ALICE).starts_with("250"));
        assert!(client.smtp("DATA").starts_with("354"));
        client.send("Subject: never whole\r\n\r\n");
    }
    let start = Instant::now();
    server.signal("TERM");
    // It goes on sending, and never comes to an end.
    while busy.try_send(b"text\r\n").is_ok() {
        assert!(start.elapsed() < Duration::from_secs(60), "nothing cuts it");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(start.elapsed() >= Duration::from_secs(9), "cut before the grace was over");
    // With words, in the middle of the message.
    for client in [&mut busy, &mut silent] {
        assert_eq!(client.reply(), STOPPING);
        assert!(client.is_closed());
    }
    assert!(server.wait().success());
    let server = setup.start();
    assert!(server.alice(&setup).imap("STATUS INBOX (MESSAGES)").contains("(MESSAGES 0)"));
}

#[test]
fn sighup_reads_the_certificate_again() {
    let setup = Setup::new("", ALL_PORTS);
    setup.account(ALICE);
    let server = setup.start();
    let old = setup.path("old.pem");
    fs::copy(setup.path("cert.pem"), &old).expect("copied");
    let mut open = server.alice(&setup);
    let greeted = |cert: &str| {
        let mut client = Client::connect(server.address("submissions")).tls(&setup.path(cert));
        client.try_send(b"NOOP\r\n").is_ok() && client.reply().starts_with("220 ")
    };
    assert!(greeted("old.pem"));
    // A broken file leaves the old one, and says so.
    fs::write(setup.path("cert.pem"), "no certificate").expect("written");
    server.signal("HUP");
    eventually("the complaint", || server.log().contains("the old certificate stays in use").then_some(()));
    assert!(greeted("old.pem"));
    setup.certify();
    server.signal("HUP");
    eventually("the reload", || server.log().contains("certificate reloaded").then_some(()));
    assert!(greeted("cert.pem"), "new handshakes see the new one");
    assert!(!greeted("old.pem"), "and no longer the old one");
    assert!(open.imap("NOOP").ends_with("NOOP done\r\n"), "open sessions go on");
    assert!(server.end().success());
}

#[test]
fn a_service_manager_is_told() {
    let setup = Setup::new("", ALL_PORTS);
    let socket = UnixDatagram::bind(setup.path("notify")).expect("a socket");
    socket.set_read_timeout(Some(crate::support::PATIENCE)).expect("a socket");
    let told = || {
        let mut buffer = [0; 256];
        let n = socket.recv(&mut buffer).expect("told in time");
        String::from_utf8_lossy(&buffer[..n]).into_owned()
    };
    let mut command = setup.command();
    command.env("NOTIFY_SOCKET", setup.path("notify"));
    let server = setup.start_as(command);
    assert_eq!(told(), "READY=1\n");
    server.signal("HUP");
    let reloading = told();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(told(), "READY=1\n");
    assert!(server.end().success());
    assert_eq!(told(), "STOPPING=1\n");
}

#[test]
fn sockets_of_systemd_are_served() {
    let setup = Setup::new("", ALL_PORTS);
    let (smtp, imap) = (TcpListener::bind("127.0.0.1:0"), TcpListener::bind("[::1]:0"));
    let (smtp, imap) = (smtp.expect("a port"), imap.expect("a port"));
    let (at_smtp, at_imap) = (smtp.local_addr().expect("bound"), imap.local_addr().expect("bound"));
    let server = setup.start_as(activated(&setup, "smtp:imap", smtp.into(), imap.into()));
    assert_eq!(server.addresses("smtp"), [at_smtp], "what is passed replaces what is configured");
    assert_eq!(server.addresses("imap"), [at_imap]);
    assert_eq!(server.addresses("imaps").len(), 1, "the others are bound as configured");
    assert!(server.smtp().smtp("NOOP").starts_with("250"));
    assert!(server.imap().imap("NOOP").contains("OK"));
    assert!(server.end().success());
}

#[test]
fn sockets_that_cannot_be_served_are_refused() {
    let setup = Setup::new("", ALL_PORTS);
    let listener = || TcpListener::bind("127.0.0.1:0").expect("a port");
    for (names, second, word) in [
        ("smtp:http", listener().into(), "FileDescriptorName="),
        ("smtp", listener().into(), "FileDescriptorName="),
        ("smtp:imap", fs::File::open("/dev/null").expect("a file").into(), "not a socket"),
    ] {
        let said = setup.refused_as(activated(&setup, names, listener().into(), second));
        assert!(said.contains(word), "{names}: {said}");
    }
}

/// `nobody` of this machine: number and group.
fn nobody() -> (u32, u32) {
    let passwd = fs::read_to_string("/etc/passwd").expect("users");
    let line = passwd.lines().find(|line| line.starts_with("nobody:")).expect("nobody");
    let mut cells = line.split(':').skip(2).map(|cell| cell.parse().expect("a number"));
    (cells.next().expect("a user"), cells.next().expect("a group"))
}

/// A free port below 1024 on a loopback address of its own.
fn low_port() -> SocketAddr {
    (600..1024)
        .rev()
        .map(|port| SocketAddr::from(([127, 0, 0, 77], port)))
        .find(|address| TcpListener::bind(address).is_ok())
        .expect("a free port below 1024; these tests run as root")
}

#[test]
fn root_is_given_up_behind_a_low_port() {
    let address = low_port();
    let listen = format!("smtp = \"{address}\"\nsubmissions = \"127.0.0.1:0\"\nimaps = \"127.0.0.1:0\"\n");
    let setup = Setup::new("user = \"nobody\"\n", &listen);
    open_folder(&setup);
    let (uid, gid) = nobody();
    // The key is root's alone: it is read before.
    restrict(&setup.path("key.pem"), 0o600);
    // Directly, as root, with no server running: what it makes is the server's.
    setup.account(ALICE);
    let server = setup.start();
    assert_eq!(server.address("smtp"), address);
    let four = |id: u32| [id; 4].map(|id| id.to_string()).join("\t");
    assert_eq!(server.status("Uid"), four(uid));
    assert_eq!(server.status("Gid"), four(gid));
    assert_eq!(server.status("Groups"), "");
    assert_eq!(u64::from_str_radix(&server.status("CapEff"), 16), Ok(0), "no right of root is left");
    assert_eq!(u64::from_str_radix(&server.status("CapPrm"), 16), Ok(0));
    // Every thread of it, not just one.
    for task in fs::read_dir(format!("/proc/{}/task", server.pid())).expect("threads") {
        let status = fs::read_to_string(task.expect("a thread").path().join("status")).unwrap_or_default();
        assert!(!status.contains("\nUid:\t0"), "{status}");
    }
    let mut client = server.smtp();
    client.smtp("EHLO client.example");
    assert!(client.mail(ALICE, &message("to a low port")).starts_with("250"));
    assert!(server.alice(&setup).imap("STATUS INBOX (MESSAGES)").contains("(MESSAGES 1)"));
    for name in ["data", "data/store.db", "data/control.sock", "data/lock"] {
        let found = fs::metadata(setup.path(name)).expect("it is there");
        assert_eq!((found.uid(), found.gid()), (uid, gid), "{name}");
    }
    // What SIGHUP will meet is said at the start, and again when it does.
    assert!(server.log().contains("this user cannot read the key"), "{}", server.log());
    server.signal("HUP");
    eventually("the complaint", || server.log().contains("the old certificate stays in use").then_some(()));
    // With the rights that the guide names, it works.
    std::os::unix::fs::chown(setup.path("key.pem"), None, Some(gid)).expect("given");
    restrict(&setup.path("key.pem"), 0o640);
    server.signal("HUP");
    eventually("the reload", || server.log().contains("certificate reloaded").then_some(()));
    // Root still administers it, through the control socket.
    crate::support::succeed(&mut setup.admin(&["user", "list"]));
    assert!(server.end().success());
}

fn restrict(path: &std::path::Path, mode: u32) {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("restricted");
}

/// Lets others than root reach the files in the test's folder.
fn open_folder(setup: &Setup) {
    restrict(&setup.path(""), 0o755);
}

#[test]
fn a_store_of_another_user_is_refused_with_words() {
    let setup = Setup::new("", ALL_PORTS);
    open_folder(&setup);
    setup.account(ALICE); // root's
    setup.configure("user = \"nobody\"\n", ALL_PORTS);
    let said = setup.refused();
    assert!(said.contains("belongs to user number 0") && said.contains("chown"), "{said}");
    setup.configure("user = \"no-such-user-here\"\n", ALL_PORTS);
    assert!(setup.refused().contains("there is no user `no-such-user-here`"));
    setup.configure("user = \"root\"\n", ALL_PORTS);
    assert!(setup.refused().contains("must not be root"));
}
