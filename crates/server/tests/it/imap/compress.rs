//! COMPRESS=DEFLATE (RFC 4978): both directions through a client of its own, and what it may cost.

use super::harness::{Client, Server};
use miniz_oxide::{
    DataFormat, MZFlush,
    deflate::{
        core::{CompressorOxide, create_comp_flags_from_zip_params},
        stream::deflate,
    },
    inflate::stream::{InflateState, inflate},
};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

/// The client's side, as programs have it: one compressor with its memory for the whole connection.
pub(super) struct Deflated {
    stream: TlsStream<TcpStream>,
    compressor: Box<CompressorOxide>,
    state: Box<InflateState>,
    clear: Vec<u8>,
    unsent: Vec<u8>,
}

impl Deflated {
    fn over(stream: TlsStream<TcpStream>) -> Self {
        let flags = create_comp_flags_from_zip_params(9, -15, 0);
        Self {
            stream,
            compressor: Box::new(CompressorOxide::new(flags)),
            state: InflateState::new_boxed(DataFormat::Raw),
            clear: Vec::new(),
            unsent: Vec::new(),
        }
    }

    fn inflate(&mut self, mut wire: &[u8]) {
        loop {
            let mut out = [0; 8192];
            let result = inflate(&mut self.state, wire, &mut out, MZFlush::None);
            wire = &wire[result.bytes_consumed..];
            self.clear.extend_from_slice(&out[..result.bytes_written]);
            if wire.is_empty() && result.bytes_written < out.len() {
                break;
            }
        }
    }

    fn compressed(&mut self, octets: &[u8]) -> Vec<u8> {
        let mut out = vec![0; octets.len() + 1024];
        let result = deflate(&mut self.compressor, octets, &mut out, MZFlush::Sync);
        assert_eq!(result.bytes_consumed, octets.len());
        out.truncate(result.bytes_written);
        out
    }
}

impl AsyncRead for Deflated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.clear.is_empty() {
            let mut octets = [0; 4096];
            let mut wire = ReadBuf::new(&mut octets);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut wire))?;
            if wire.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.inflate(wire.filled());
        }
        let n = this.clear.len().min(buf.remaining());
        buf.put_slice(&this.clear.drain(..n).collect::<Vec<_>>());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Deflated {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let compressed = self.compressed(octets);
        self.unsent.extend(compressed);
        Poll::Ready(Ok(octets.len()))
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while !this.unsent.is_empty() {
            let n = ready!(Pin::new(&mut this.stream).poll_write(cx, &this.unsent))?;
            this.unsent.drain(..n);
        }
        Pin::new(&mut this.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

pub(super) async fn compressed(server: &Server) -> Client<Deflated> {
    let mut client = server.session().await;
    client.ok("COMPRESS DEFLATE").await;
    Client::over(Deflated::over(client.stream))
}

#[tokio::test]
async fn what_is_stored_compressed_another_session_reads_in_the_clear() {
    let server = Server::start().await;
    let mut client = compressed(&server).await;
    let mut message = b"Subject: compressed\r\n\r\n".to_vec();
    message.extend(b"the same line again\r\n".repeat(50_000));
    let status = client.append("INBOX", &message).await;
    assert!(status.starts_with("OK [APPENDUID "), "{status}");
    let mut other = server.inbox().await;
    assert!(other.fetch(1, "BODY.PEEK[]").await == message);
    // And back, through the compressor; pipelined, in one piece.
    client.ok("SELECT INBOX").await;
    assert!(client.fetch(1, "BODY.PEEK[]").await == message);
    client.send("p1 NOOP\r\np2 STORE 1 +FLAGS (\\Flagged)\r\np3 NOOP\r\n").await;
    for tag in ["p1", "p2", "p3"] {
        assert!(client.until(tag).await.1.starts_with("OK"));
    }
    let seen = other.ok("FETCH 1 FLAGS").await.join("\n");
    assert!(seen.contains("\\Flagged"), "{seen}");
    // IDLE wakes through it, and who unauthenticates stays compressed.
    client.send("i IDLE\r\n").await;
    assert!(client.line().await.starts_with('+'));
    other.ok("STORE 1 -FLAGS (\\Flagged)").await;
    assert!(client.line().await.starts_with("* 1 FETCH"));
    client.send("DONE\r\n").await;
    assert!(client.until("i").await.1.starts_with("OK"));
    client.ok("UNAUTHENTICATE").await;
    client.ok("CAPABILITY").await;
}

#[tokio::test]
async fn refusals_and_what_is_pipelined_before_and_behind() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    assert!(client.refused("COMPRESS DEFLATE").await.starts_with("BAD log in first"));
    let mut client = server.session().await;
    assert!(client.refused("COMPRESS").await.starts_with("BAD"));
    assert!(client.refused("COMPRESS LZW").await.starts_with("NO [CANNOT]"));
    // What came before is answered in the clear; what comes behind, in the same write, is compressed.
    let mut deflated = Deflated::over(client.stream);
    let mut octets = b"a NOOP\r\nb LIST \"\" INBOX\r\nc COMPRESS DEFLATE\r\n".to_vec();
    octets.extend(deflated.compressed(b"d LIST \"\" INBOX\r\n"));
    deflated.stream.write_all(&octets).await.unwrap();
    deflated.stream.flush().await.unwrap();
    let Deflated { stream, compressor, state, .. } = deflated;
    let mut clear = Client::over(stream);
    assert!(clear.until("a").await.1.starts_with("OK"));
    assert_eq!(clear.until("b").await.0.len(), 1);
    assert!(clear.until("c").await.1.starts_with("OK"));
    let rest = std::mem::take(&mut clear.buffer);
    let mut deflated =
        Deflated { stream: clear.stream, compressor, state, clear: Vec::new(), unsent: Vec::new() };
    deflated.inflate(&rest);
    let mut client = Client::over(deflated);
    assert_eq!(client.until("d").await.0.len(), 1);
    assert!(client.refused("COMPRESS DEFLATE").await.starts_with("NO [COMPRESSIONACTIVE]"));
}

#[tokio::test]
async fn octets_that_are_no_deflate_end_the_session_and_no_other() {
    let server = Server::start().await;
    let mut other = compressed(&server).await;
    for octets in [b"x NOOP\r\n".as_slice(), b"\xff\xff\xff\xff", b"\x03\x00"] {
        let mut client = server.session().await;
        client.ok("COMPRESS DEFLATE").await;
        client.send(octets).await;
        assert_eq!(client.line().await, "");
    }
    other.ok("NOOP").await;
    assert!(other.refused("COMPRESS DEFLATE").await.starts_with("NO [COMPRESSIONACTIVE]"));
}

/// A command of 64 MiB in 64 KiB: it is refused as any other that is too long, a step at a time.
#[tokio::test]
async fn a_bomb_meets_the_limits_of_commands() {
    let server = Server::start().await;
    let mut client = compressed(&server).await;
    client.send(vec![b'x'; 64 * 1024 * 1024]).await;
    client.send("\r\n").await;
    let said = client.line().await;
    assert!(said.starts_with("* B"), "{said}");
    server.session().await.ok("NOOP").await;
}
