//! Idle time-outs and the shutdown.

use super::kit::*;
use sealpost_proto::{smtp::server::Role, time::SystemClock};
use sealpost_server::{conn::Conn, context::Context, smtp};
use sealpost_store::sqlite::SqliteStore;
use std::{sync::Arc, time::Duration};

#[tokio::test(start_paused = true)]
async fn idle_sessions_end_after_five_minutes() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "");
    let store = SqliteStore::open(&config.data_dir).unwrap();
    let (context, _stop) = Context::new(config, store, Arc::new(SystemClock)).unwrap();
    let (ours, theirs) = tokio::io::duplex(4096);
    let address = "192.0.2.1:25".parse().unwrap();
    let session =
        tokio::spawn(smtp::serve(Conn::over(Box::new(theirs), address, address), context, Role::Mx));
    let mut client = Client::over(ours);
    let start = tokio::time::Instant::now();
    assert!(client.line().await.starts_with("220 "));
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
