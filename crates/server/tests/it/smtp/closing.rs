//! Idle time-outs and the shutdown.

use super::kit::*;
use crate::torrent::{Said, Torrent};
use sealpost_proto::{smtp::server::Role, time::SystemClock};
use sealpost_server::{conn::Conn, context::Context, smtp};
use sealpost_store::sqlite::SqliteStore;
use std::{sync::Arc, time::Duration};
use tokio::io::AsyncWriteExt as _;

/// An MX session over a pair of buffers, greeting read, for tests with a paused clock.
struct Session {
    client: Client,
    task: tokio::task::JoinHandle<()>,
    _stop: tokio::sync::watch::Sender<bool>,
    _folder: tempfile::TempDir,
}

async fn session() -> Session {
    let (ours, theirs) = tokio::io::duplex(4096);
    let (task, stop, folder) = serve(theirs).await;
    let mut client = Client::over(ours);
    assert!(client.line().await.starts_with("220 "));
    Session { client, task, _stop: stop, _folder: folder }
}

type Serving = (tokio::task::JoinHandle<()>, tokio::sync::watch::Sender<bool>, tempfile::TempDir);

/// An MX session with whoever is at the other end of `stream`.
async fn serve(stream: impl sealpost_server::conn::Io + 'static) -> Serving {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "");
    let store = SqliteStore::open(&config.data_dir).unwrap();
    let bob = sealpost_proto::address::Address::parse(BOB).unwrap();
    let now = sealpost_proto::time::Timestamp(START);
    sealpost_store::account::Accounts::create_account(&*store, &bob, [0; 32], now, now).await.unwrap();
    let (context, stop) = Context::new(config, store, Arc::new(SystemClock)).unwrap();
    let address = "192.0.2.1:25".parse().unwrap();
    let task = tokio::spawn(smtp::serve(Conn::over(Box::new(stream), address, address), context, Role::Mx));
    (task, stop, folder)
}

/// Sends `octets` every four minutes until the server has had enough; how long that took.
async fn trickle(mut session: Session, octets: &str) -> Duration {
    let start = tokio::time::Instant::now();
    loop {
        tokio::time::sleep(Duration::from_secs(240)).await;
        if session.task.is_finished() {
            break;
        }
        session.client.send(octets).await;
        assert!(start.elapsed() < Duration::from_secs(4 * 3600), "it goes on for ever");
    }
    loop {
        let line = session.client.line().await;
        assert!(!line.is_empty(), "it said why");
        if line.starts_with("421 4.4.2 ") {
            assert!(session.client.is_closed().await);
            return start.elapsed();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn octets_that_trickle_in_hold_no_session_open() {
    // A command that never ends: five minutes, however often a part of it comes.
    assert!(trickle(session().await, "N").await <= Duration::from_secs(481));
    // Whole commands that lead to nothing: an hour.
    let fruitless = trickle(session().await, "NOOP\r\n").await;
    assert!(fruitless > Duration::from_secs(3500) && fruitless < Duration::from_secs(4000), "{fruitless:?}");
    // A message that never ends: ten minutes.
    let mut slow = session().await;
    slow.client.cmd("EHLO client.example").await;
    slow.client.cmd("MAIL FROM:<x@example.com>").await;
    assert!(slow.client.cmd(&format!("RCPT TO:<{BOB}>")).await.starts_with("250"));
    slow.client.cmd("DATA").await;
    slow.client.send("Subject: slow\r\n").await;
    let took = trickle(slow, "x\r\n").await;
    assert!(took > Duration::from_secs(590) && took < Duration::from_secs(1000), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_line_has_the_time_it_needs() {
    let Session { client: mut slow, task: _task, _stop, _folder } = session().await;
    slow.cmd("EHLO client.example").await;
    slow.cmd("MAIL FROM:<x@example.com>").await;
    slow.cmd(&format!("RCPT TO:<{BOB}>")).await;
    slow.cmd("DATA").await;
    slow.send("Subject: slow\r\n\r\n").await;
    // 8 KiB a second for three quarters of an hour.
    let piece = format!("{}\r\n", "x".repeat(78)).repeat(6144);
    for _ in 0..45 {
        slow.send(&piece).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    // The store works by the machine's own time.
    tokio::time::resume();
    assert!(slow.cmd(".").await.starts_with("250 2.0.0 OK"));
}

/// How long a session lasted whose client sends `octets` without a pause, once in each `step`; what it was told.
async fn torrent(octets: &'static [u8], step: Duration) -> (Duration, Said) {
    let start = tokio::time::Instant::now();
    let (torrent, said) = Torrent::new(octets, step, Duration::from_secs(3 * 3600));
    let (task, _stop, _folder) = serve(torrent).await;
    task.await.unwrap();
    (start.elapsed(), said)
}

#[tokio::test(start_paused = true)]
async fn octets_that_never_pause_hold_no_session_open() {
    let (took, said) = torrent(b"NOOP\r\n", Duration::from_secs(10)).await;
    assert!(took > Duration::from_secs(3500) && took < Duration::from_secs(3700), "{took:?}");
    assert!(said.text().ends_with("421 4.4.2 Idle for too long, closing the connection\r\n"));
    // A line without an end: five minutes, or as much as is thrown away.
    let (took, said) = torrent(&[b'x'; 1000], Duration::from_secs(1)).await;
    assert!(took >= Duration::from_secs(300) && took < Duration::from_secs(310), "{took:?}");
    assert!(said.text().ends_with("421 4.4.2 Idle for too long, closing the connection\r\n"));
    let (took, said) = torrent(&[b'x'; 10_000], Duration::from_secs(1)).await;
    assert!(took > Duration::from_secs(100) && took < Duration::from_secs(120), "{took:?}");
    assert!(said.text().ends_with("Line too long\r\n421 4.7.0 No end in sight, closing the connection\r\n"));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_left_in_five_minutes() {
    let (mut ours, theirs) = tokio::io::duplex(4096);
    let (task, _stop, _folder) = serve(theirs).await;
    let start = tokio::time::Instant::now();
    // Commands for as long as anybody takes them; their replies are more than the pair of buffers holds.
    let mut taken = 0;
    while ours.write_all(b"EHLO x\r\n").await.is_ok() {
        taken += 1;
    }
    task.await.unwrap();
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(300) && took < Duration::from_secs(310), "{took:?}");
    assert!(taken < 16_384, "{taken} commands were taken");
}

/// A message that is going to be refused is read as patiently as any other: 421 would have it sent again for days.
#[tokio::test(start_paused = true)]
async fn a_slow_line_has_the_time_it_needs_for_a_message_that_is_refused() {
    let start =
        ["EHLO client.example", "MAIL FROM:<x@example.com>", &format!("RCPT TO:<{BOB}>")].map(String::from);
    let piece = format!("{}\r\n", "x".repeat(78)).repeat(6144);
    for (begin, refusal) in [
        ("DATA\r\nSubject: bare\n", "550 5.6.11"),
        (&format!("BDAT {} LAST\r\nSubject: bare\n", 14 + 15 * piece.len()), "550 5.6.11"),
        (&format!("RSET\r\nBDAT {} LAST\r\n", 15 * piece.len()), "503 5.5.1"),
    ] {
        let Session { client: mut slow, task: _task, _stop, _folder } = session().await;
        for command in &start {
            assert!(slow.cmd(command).await.starts_with("250"));
        }
        slow.send(begin).await;
        // 8 KiB a second for a quarter of an hour.
        for _ in 0..15 {
            slow.send(&piece).await;
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        tokio::time::resume();
        if begin.starts_with("DATA") {
            assert!(slow.reply().await.starts_with("354"));
            slow.send("\r\n.\r\n").await;
        } else if begin.starts_with("RSET") {
            assert!(slow.reply().await.starts_with("250"));
        }
        let said = slow.reply().await;
        assert!(said.starts_with(refusal), "{begin:?}: {said}");
        tokio::time::pause();
    }
}

#[tokio::test(start_paused = true)]
async fn idle_sessions_end_after_five_minutes() {
    let Session { mut client, task: session, _stop, _folder } = session().await;
    let start = tokio::time::Instant::now();
    tokio::time::sleep(Duration::from_secs(299)).await;
    assert_eq!(client.cmd("NOOP").await, "250 2.0.0 OK\r\n");
    tokio::time::sleep(Duration::from_secs(299)).await;
    client.send("NO").await; // half a command is something, too
    tokio::time::sleep(Duration::from_secs(301)).await;
    assert!(client.line().await.starts_with("421 4.4.2 "));
    assert!(client.is_closed().await);
    assert!(start.elapsed() < Duration::from_secs(1000));
    session.await.unwrap();
}

#[tokio::test]
async fn a_shutdown_lets_a_message_end() {
    let kit = Kit::new().await;
    let (mut idle, mut busy) = (kit.mx().await, kit.mx().await);
    busy.cmd("EHLO relay.example.com").await;
    busy.cmd("MAIL FROM:<x@example.com>").await;
    busy.cmd(&format!("RCPT TO:<{BOB}>")).await;
    busy.cmd("DATA").await;
    busy.send("Subject: last\r\n").await;
    let Kit { server, store, folder, .. } = kit;
    let address = server.addresses.smtp[0];
    let stopping = tokio::spawn(server.shutdown());
    assert_eq!(idle.reply().await, "421 4.3.2 Server is shutting down, try again soon\r\n");
    assert!(idle.is_closed().await);
    assert!(busy.cmd("\r\nx\r\n.").await.starts_with("250 2.0.0 OK"));
    assert!(busy.reply().await.starts_with("421 4.3.2"));
    stopping.await.unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    assert!(!folder.path().join("data/control.sock").exists());
    // And it is there after a restart, on the same store folder.
    drop(store);
    let kit = Kit::start(folder, "").await;
    assert_eq!(kit.inbox(BOB).await.len(), 1);
}

#[tokio::test]
async fn certificates_are_read_again() {
    let kit = Kit::empty().await;
    let made = rcgen::generate_simple_self_signed(vec!["other.example.net".to_owned()]).unwrap();
    kit.submission().await;
    std::fs::write(kit.folder.path().join("cert.pem"), made.cert.pem()).unwrap();
    kit.server.reload();
    kit.submission().await; // certificate and key do not fit: the old ones stay
    std::fs::write(kit.folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    kit.server.reload();
    let address = kit.server.addresses.submissions[0];
    let shaken = tokio::spawn(async move { Client::connect(address).await.start_tls().await });
    assert!(shaken.await.is_err(), "the new certificate is another one");
}

/// R18: no core dump can hold a login hash.
#[tokio::test]
async fn r18_core_dumps_are_off() {
    let folder = tempfile::tempdir().unwrap();
    let server = sealpost_server::run(config(folder.path(), "")).await.unwrap();
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let core = limits.lines().find(|l| l.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    server.shutdown().await;
}
