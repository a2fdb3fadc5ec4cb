//! One connection: octets in and out, plain or TLS.

use bytes::BytesMut;
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// A client's connection.
pub struct Conn {
    /// Received and not yet consumed octets.
    pub input: BytesMut,
    /// The other end.
    pub peer: SocketAddr,
    stream: Stream,
}

#[allow(dead_code, reason = "boxed so that an idle plain connection stays small")]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Conn {
    /// Whether TLS is on.
    pub fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }
    /// Reads more into `input`; 0 at the end. Idle time-outs are the caller's.
    pub async fn read(&mut self) -> std::io::Result<usize> {
        todo!()
    }
    /// Writes all and flushes.
    pub async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let _ = bytes;
        todo!()
    }
    /// STARTTLS: throws away `input` (RFC 3207 §4.2), shakes hands.
    pub async fn start_tls(self, acceptor: &TlsAcceptor) -> std::io::Result<Self> {
        let _ = acceptor;
        todo!()
    }
    /// TLS channel binding `tls-exporter` (RFC 9266), for SCRAM-PLUS.
    pub fn tls_exporter(&self) -> Option<[u8; 32]> {
        todo!()
    }
}
