//! How long a session that does nothing useful lasts, on a paused clock.

use super::harness::Pop3;
use crate::{
    kit::{ALICE, Client, Kit, TOKEN},
    torrent::Torrent,
};
use sealpost_server::{conn::Conn, pop3};
use std::time::Duration;
use tokio::{task::JoinHandle, time::Instant};

/// A session over a stream of ours.
fn serve(kit: &Kit, stream: impl sealpost_server::conn::Io + 'static, tls: bool) -> JoinHandle<()> {
    let (context, address) = (kit.server.context.clone(), "192.0.2.1:995".parse().unwrap());
    tokio::spawn(async move {
        let mut conn = Conn::over(Box::new(stream), address, address);
        if tls {
            conn = conn.start_tls(&context.tls).await.unwrap();
        }
        pop3::serve(conn, context).await;
    })
}

/// A session in TLS, greeting read, over a pair of buffers.
async fn tls(kit: &Kit) -> (Pop3, JoinHandle<()>) {
    let (ours, theirs) = tokio::io::duplex(16 * 1024);
    let session = serve(kit, theirs, true);
    (Pop3::greeted(Client::over(ours).start_tls().await).await, session)
}

/// RFC 1939 §3: ten minutes at least, and then nothing is said or removed.
#[tokio::test]
async fn an_idle_session_ends_after_ten_minutes_without_a_word() {
    let kit = Kit::new().await;
    for signed_in in [false, true] {
        let (mut client, session) = tls(&kit).await;
        if signed_in {
            client.ok(&format!("USER {ALICE}")).await;
            client.ok(&format!("PASS {TOKEN}")).await;
        }
        tokio::time::pause();
        tokio::time::sleep(Duration::from_secs(599)).await;
        assert!(!session.is_finished());
        if signed_in {
            client.ok("NOOP").await;
            tokio::time::sleep(Duration::from_secs(599)).await;
            assert!(!session.is_finished());
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        tokio::time::resume();
        assert!(client.is_closed().await);
        session.await.unwrap();
    }
}

#[tokio::test]
async fn octets_that_never_pause_hold_no_session_open_before_login() {
    let kit = Kit::new().await;
    tokio::time::pause();
    for (octets, why) in [
        (&b"CAPA\r\n"[..], "."),
        (&[b'x'; 100], "+OK mail"),
        (b"USER a\r\n", "-ERR"),
        (&[b'x'; 12_000], "-ERR no end of this line is in sight"),
    ] {
        let start = Instant::now();
        let (torrent, said) = Torrent::new(octets, Duration::from_secs(1), Duration::from_secs(3600));
        serve(&kit, torrent, false).await.unwrap();
        let took = start.elapsed().as_secs();
        assert!(took <= 610, "{took} seconds for {:?}", String::from_utf8_lossy(&octets[..6]));
        let said = said.text();
        assert!(said.lines().last().is_some_and(|line| line.starts_with(why)), "{said}");
    }
}

#[tokio::test]
async fn octets_that_trickle_in_hold_no_session_open() {
    let kit = Kit::new().await;
    for (login, begin) in [(false, "USER "), (false, "AUTH PLAIN\r\n"), (true, "RETR ")] {
        let (mut client, session) = tls(&kit).await;
        if login {
            client.ok(&format!("USER {ALICE}")).await;
            client.ok(&format!("PASS {TOKEN}")).await;
        }
        client.0.send(begin).await;
        tokio::time::pause();
        let start = Instant::now();
        while !session.is_finished() {
            tokio::time::sleep(Duration::from_secs(50)).await;
            if !session.is_finished() {
                client.0.send("x").await;
            }
            assert!(start.elapsed() < Duration::from_secs(3600), "{begin}: it goes on for ever");
        }
        assert!(start.elapsed() <= Duration::from_secs(650), "{begin}: {:?}", start.elapsed());
        tokio::time::resume();
    }
}
