//! How long a session that does nothing useful lasts, on a paused clock.

use super::harness::{ALICE, Client, Server, TOKEN};
use crate::torrent::Torrent;
use sealpost_server::{conn::Conn, imap};
use std::time::Duration;
use tokio::{
    io::{AsyncWriteExt as _, DuplexStream},
    task::JoinHandle,
    time::Instant,
};
use tokio_rustls::client::TlsStream;

/// A session over a stream of ours.
fn serve(server: &Server, stream: impl sealpost_server::conn::Io + 'static, tls: bool) -> JoinHandle<()> {
    let (ctx, address) = (server.ctx.clone(), "192.0.2.1:993".parse().unwrap());
    tokio::spawn(async move {
        let mut conn = Conn::over(Box::new(stream), address, address);
        if tls {
            conn = conn.start_tls(&ctx.tls).await.unwrap();
        }
        imap::serve(conn, ctx).await;
    })
}

/// A session behind TLS, greeting read.
async fn tls(server: &Server) -> (Client<TlsStream<DuplexStream>>, JoinHandle<()>) {
    let (ours, theirs) = tokio::io::duplex(16 * 1024);
    let session = serve(server, theirs, true);
    let name = rustls::pki_types::ServerName::try_from("mail.example.net").unwrap();
    let mut client = Client::over(server.connector.connect(name, ours).await.unwrap());
    assert!(client.line().await.starts_with("* OK"));
    (client, session)
}

#[tokio::test(start_paused = true)]
async fn octets_that_never_pause_hold_no_session_open_before_login() {
    let server = Server::start().await;
    for (octets, step, seconds, why) in [
        (&b"a NOOP\r\n"[..], 1, 300..310, "* BYE idle for too long"),
        (&[b'x'; 1000], 1, 300..310, "* BYE idle for too long"),
        (&[b'x'; 12_000], 1, 170..200, "* BYE no end of this command is in sight"),
        (b"a NOOP {9}\r\n", 1, 0..310, "* BYE "),
    ] {
        let start = Instant::now();
        let (torrent, said) = Torrent::new(octets, Duration::from_secs(step), Duration::from_secs(3600));
        serve(&server, torrent, false).await.unwrap();
        let took = start.elapsed().as_secs();
        assert!(seconds.contains(&took), "{took} seconds for {:?}", String::from_utf8_lossy(&octets[..8]));
        let said = said.text();
        assert!(said.lines().last().is_some_and(|line| line.starts_with(why)), "{said}");
    }
}

/// A login that never comes to its end, octet by octet.
#[tokio::test(start_paused = true)]
async fn octets_that_trickle_into_a_login_hold_no_session_open() {
    let server = Server::start().await;
    for begin in ["a AUTHENTICATE PLAIN\r\n", "a LOGIN {4000}\r\n", "a LOG"] {
        let (mut client, session) = tls(&server).await;
        let start = Instant::now();
        client.send(begin).await;
        while !session.is_finished() {
            tokio::time::sleep(Duration::from_secs(50)).await;
            drop(client.stream.write_all(b"x").await);
            drop(client.stream.flush().await);
            assert!(start.elapsed() < Duration::from_secs(3600), "{begin}: it goes on for ever");
        }
        let took = start.elapsed();
        assert!(took <= Duration::from_secs(350), "{begin}: {took:?}");
        while !client.line().await.starts_with("* BYE ") {}
    }
}

/// A message that comes octet by octet has ten minutes; one at a bearable rate has what it needs.
#[tokio::test]
async fn a_message_that_trickles_in_holds_no_session_open() {
    const SIZE: usize = 10_000_000;
    let server = Server::start().await;
    for (octets, lasts) in [(vec![b'x'; 1], false), (vec![b'x'; 250_000], true)] {
        let (mut client, session) = tls(&server).await;
        client.ok(&format!("LOGIN {ALICE} {TOKEN}")).await;
        client.send(format!("a APPEND INBOX {{{SIZE}}}\r\n")).await;
        assert!(client.line().await.starts_with('+'));
        // The store works by the machine's own time; between leave and end it is not asked.
        tokio::time::pause();
        let start = Instant::now();
        for _ in 0..SIZE / octets.len() {
            if session.is_finished() {
                break;
            }
            drop(client.stream.write_all(&octets).await);
            drop(client.stream.flush().await);
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert!(start.elapsed() < Duration::from_secs(2 * 3600), "it goes on for ever");
        }
        let took = start.elapsed();
        tokio::time::resume();
        if lasts {
            assert_eq!(took.as_secs(), 40 * 60);
            client.send("\r\n").await;
            assert!(client.until("a").await.1.starts_with("OK"), "slow, and fast enough");
        } else {
            assert!(took > Duration::from_secs(590) && took <= Duration::from_secs(720), "{took:?}");
            while !client.line().await.starts_with("* BYE ") {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_left_in_five_minutes() {
    let server = Server::start().await;
    let (mut ours, theirs) = tokio::io::duplex(4096);
    let session = serve(&server, theirs, false);
    let start = Instant::now();
    let mut taken = 0;
    while ours.write_all(b"a CAPABILITY\r\n").await.is_ok() {
        taken += 1;
    }
    session.await.unwrap();
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(300) && took < Duration::from_secs(310), "{took:?}");
    assert!(taken < 16_384, "{taken} commands were taken");
}

/// Who is told of events without saying anything is idle all the same (RFC 9051 §5.4, RFC 5465 §3.1).
#[tokio::test]
async fn events_that_are_told_hold_no_silent_session_open() {
    let server = Server::start().await;
    let (mut client, session) = tls(&server).await;
    client.ok(&format!("LOGIN {ALICE} {TOKEN}")).await;
    client.ok("NOTIFY SET (personal (SubscriptionChange))").await;
    tokio::time::pause();
    let start = Instant::now();
    for name in ["x", "y"] {
        tokio::time::sleep(Duration::from_secs(700)).await;
        // The store works by the machine's own time.
        tokio::time::resume();
        server.ctx.store.subscribe(server.account, name, true).await.unwrap();
        assert!(client.line().await.ends_with(name));
        tokio::time::pause();
    }
    session.await.unwrap();
    assert_eq!(start.elapsed().as_secs() / 10, 180, "half an hour after the last command");
    assert!(client.line().await.starts_with("* BYE idle for too long"));
}
