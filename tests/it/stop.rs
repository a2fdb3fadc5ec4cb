//! The end of a server in the middle of everything: what is under way is finished or given back, never half done.

use crate::mx::{Dns, Mx, usual};
use crate::server::{ALICE, ALL_PORTS, Client, Server, Setup};
use crate::support::{eventually, succeed};
use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    process::Command,
    sync::{
        Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    time::{Duration, Instant},
};

const STOPPING: &str = "421 4.3.2 Server is shutting down, try again soon\r\n";
/// What a server gives to that which runs, and a little for a busy machine.
const GRACE: Duration = Duration::from_secs(10);

fn messages(server: &Server, setup: &Setup) -> usize {
    server.alice(setup).messages("INBOX", "BODY.PEEK[]").len()
}

fn submit(server: &Server, setup: &Setup) -> String {
    let message = format!("From: {ALICE}\r\nSubject: out\r\n\r\ntext\r\n");
    server.alice_writes(setup).post(ALICE, "bob@example.com", message.as_bytes(), false)
}

#[test]
fn chunks_come_to_their_end_and_what_breaks_off_is_not_there() {
    let setup = Setup::new("", ALL_PORTS);
    setup.account(ALICE);
    let mut server = setup.start();
    let (mut whole, mut cut) = (server.smtp(), server.smtp());
    for client in [&mut whole, &mut cut] {
        assert!(client.envelope(ALICE).starts_with("250"));
        client.send("BDAT 14\r\nSubject: x\r\n\r\n");
        assert!(client.reply().starts_with("250"));
    }
    // In the middle of a literal: octets that were announced, and do not all come.
    let (mut literal, mut idle) = (server.alice(&setup), server.alice(&setup));
    literal.send("a APPEND INBOX {1000}\r\n");
    assert!(literal.line().starts_with("+ "));
    literal.send("Subject: half\r\n");
    assert!(idle.imap("SELECT INBOX").contains("a OK"));
    idle.send("a IDLE\r\n");
    assert!(idle.line().starts_with("+ "));
    server.signal("TERM");
    assert!(literal.line().starts_with("* BYE "));
    assert!(idle.line().starts_with("* BYE "));
    whole.send("BDAT 6 LAST\r\ntext\r\n");
    assert!(whole.reply().starts_with("250 2.0.0 OK"));
    assert_eq!(whole.reply(), STOPPING);
    drop(cut);
    assert!(server.wait().success());
    // All of it is in the database, so that the next start is a quick one.
    assert_eq!(std::fs::metadata(setup.path("data/store.db-wal")).map_or(0, |log| log.len()), 0);
    assert_eq!(messages(&setup.start(), &setup), 1);
}

/// A connection that never shakes hands is nothing to wait for.
#[test]
fn silent_handshakes_do_not_hold_a_server_up() {
    let setup = Setup::new("", ALL_PORTS);
    let mut server = setup.start();
    let mut silent = ["submissions", "imaps"].map(|port| Client::connect(server.address(port)));
    let mut half = server.smtp();
    half.smtp("EHLO client.example");
    assert!(half.smtp("STARTTLS").starts_with("220 "));
    let start = Instant::now();
    server.signal("TERM");
    assert!(server.wait().success());
    assert!(start.elapsed() < GRACE / 2, "{:?}", start.elapsed());
    for client in &mut silent {
        assert!(client.is_closed());
    }
    assert!(half.is_closed());
}

/// An MX that waits before its last word, and what tells it to go on.
fn waiting() -> (Mx, Receiver<()>, Sender<()>) {
    let ((arrived, waits), (go, told)) = (channel(), channel::<()>());
    let told = Mutex::new(told);
    let mx = Mx::start(([127, 0, 0, 1], 0).into(), move |command| {
        if command == "." {
            let _ = arrived.send(());
            // Until the test says so, or is over.
            let _ = told.lock().expect("one at a time").recv();
        }
        usual(command)
    });
    (mx, waits, go)
}

fn queue(setup: &Setup) -> String {
    succeed(&mut setup.admin(&["queue", "list"]))
}

#[test]
fn a_delivery_under_way_may_end() {
    let (mx, waits, go) = waiting();
    let dns = Dns::leading_to(&mx);
    let setup = Setup::new(&dns.config(mx.address.port()), ALL_PORTS);
    setup.account(ALICE);
    let mut server = setup.start();
    assert!(submit(&server, &setup).starts_with("250 2.0.0"));
    waits.recv().expect("the message");
    server.signal("TERM");
    eventually("the end to begin", || server.log().contains("ending").then_some(()));
    go.send(()).expect("it waits");
    assert!(server.wait().success());
    assert!(queue(&setup).contains("Nothing waits."), "it was written down");
    assert_eq!((mx.count("MESSAGE"), mx.count("QUIT")), (1, 1), "{:?}", mx.heard());
    assert_eq!(messages(&setup.start(), &setup), 0, "no bounce");
}

#[test]
fn a_delivery_that_does_not_end_is_tried_again_later() {
    let (mx, waits, go) = waiting();
    let dns = Dns::leading_to(&mx);
    let setup = Setup::new(&dns.config(mx.address.port()), ALL_PORTS);
    setup.account(ALICE);
    let mut server = setup.start();
    assert!(submit(&server, &setup).starts_with("250 2.0.0"));
    waits.recv().expect("the message");
    let start = Instant::now();
    server.signal("TERM");
    assert!(server.wait().success());
    assert!(start.elapsed() < GRACE * 3, "{:?}", start.elapsed());
    assert!(queue(&setup).contains("bob@example.com"), "it is not lost");
    // Who never heard the last word sends again (RFC 5321 §4.5.4.1).
    drop(go);
    let server = setup.start();
    eventually("the second time", || queue(&setup).contains("Nothing waits.").then_some(()));
    assert_eq!(mx.count("MESSAGE"), 2);
    assert_eq!(messages(&server, &setup), 0, "no bounce");
    assert!(server.end().success());
}

/// A file that cannot be opened for ever, as on a network disk that is gone.
#[test]
fn a_disk_that_hangs_does_not_hold_a_server_up() {
    let mx = Mx::start(([127, 0, 0, 1], 0).into(), usual);
    let dns = Dns::leading_to(&mx);
    let setup = Setup::new(&dns.config(mx.address.port()), ALL_PORTS);
    setup.account(ALICE);
    succeed(Command::new("mkfifo").arg(setup.path("transcript")));
    setup.configure(
        &format!("{}debug.transcript = \"transcript\"\n", dns.config(mx.address.port())),
        ALL_PORTS,
    );
    let mut server = setup.start();
    assert!(submit(&server, &setup).starts_with("250 2.0.0"));
    eventually("the delivery", || (mx.count("QUIT") == 1).then_some(()));
    let start = Instant::now();
    server.signal("TERM");
    assert!(server.wait().success());
    assert!(start.elapsed() < GRACE * 3, "{:?}", start.elapsed());
    assert!(queue(&setup).contains("Nothing waits."));
}

/// Somebody asks for a backup and does not read it.
#[test]
fn a_backup_that_nobody_reads_does_not_hold_a_server_up() {
    let setup = Setup::new("", ALL_PORTS);
    setup.account(ALICE);
    let mut server = setup.start();
    let mut client = server.smtp();
    client.smtp("EHLO client.example");
    let large = [b"Subject: large\r\n\r\n".to_vec(), b"0123456789abcdef\r\n".repeat(60_000)].concat();
    for chunked in [true, false, true, false] {
        assert!(client.post("x@example.com", ALICE, &large, chunked).starts_with("250"));
    }
    let mut asking = UnixStream::connect(setup.path("data/control.sock")).expect("the control socket");
    asking.write_all(b"{\"request\":\"backup\"}\n").expect("asked");
    let mut first = [0; 16];
    asking.read_exact(&mut first).expect("it begins");
    let start = Instant::now();
    server.signal("TERM");
    assert!(server.wait().success());
    assert!(start.elapsed() < GRACE * 3, "{:?}", start.elapsed());
    assert_eq!(std::fs::read_dir(setup.path("data/tmp")).expect("a folder").count(), 0, "a copy is left");
    assert_eq!(messages(&setup.start(), &setup), 4);
}

#[test]
fn a_connection_kept_for_more_mail_is_told() {
    let mx = Mx::start(([127, 0, 0, 1], 0).into(), usual);
    let dns = Dns::leading_to(&mx);
    let setup = Setup::new(&dns.config(mx.address.port()), ALL_PORTS);
    setup.account(ALICE);
    let server = setup.start();
    assert!(submit(&server, &setup).starts_with("250 2.0.0"));
    eventually("the delivery", || queue(&setup).contains("Nothing waits.").then_some(()));
    assert!(server.end().success());
    eventually("a goodbye", || (mx.count("QUIT") == 1).then_some(()));
}
