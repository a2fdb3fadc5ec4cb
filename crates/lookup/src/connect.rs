//! From a server found to a conversation inside verified TLS.

use crate::{Lookup, ServerHost, Transport};
use rustls::pki_types::ServerName;
use sealpost_proto::drive::{BoxStream, Connection, Options, SmtpError, Timeouts, Tls};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

/// Reaching one address; a host that drops packets shall not eat the time of the next.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// Opens a TCP connection to one address, in bounded time, without Nagle's delay.
pub(crate) async fn tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Shakes hands with the server that must bear `name`.
pub(crate) async fn handshake(
    config: &Arc<rustls::ClientConfig>,
    name: &str,
    stream: BoxStream,
) -> io::Result<BoxStream> {
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    let connect = TlsConnector::from(Arc::clone(config)).connect(name, stream);
    Ok(Box::new(timeout(HANDSHAKE_TIMEOUT, connect).await??))
}

impl Lookup {
    /// Connects to `host` on the first of its addresses that works; greeting and EHLO are done, inside TLS whose
    /// certificate is verified for its name. Never anything less (R02, R03).
    pub async fn connect(&self, host: &ServerHost) -> Result<Connection<Tls>, SmtpError> {
        let options = Options { timeouts: Timeouts::INTERACTIVE, tap: self.tap.clone() };
        let mut last = SmtpError::Io(io::Error::new(io::ErrorKind::NotFound, "the server has no address"));
        for address in &host.addresses {
            match self.connect_to(host, *address, options.clone()).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn connect_to(
        &self,
        host: &ServerHost,
        address: SocketAddr,
        options: Options,
    ) -> Result<Connection<Tls>, SmtpError> {
        let stream = tcp(address).await?;
        let ehlo_name = self.ehlo_name(stream.local_addr()?);
        let mut connection = match host.transport {
            Transport::Implicit => {
                let stream = handshake(&self.inner.tls, &host.name, Box::new(stream)).await;
                let mut connection = Connection::verified_tls(stream.map_err(SmtpError::Tls)?, options);
                connection.greeting().await?;
                connection
            }
            Transport::StartTls => {
                let mut connection = Connection::plain(Box::new(stream), options);
                connection.greeting().await?;
                if !connection.ehlo(&ehlo_name).await?.has("STARTTLS") {
                    return Err(SmtpError::NotOffered("STARTTLS"));
                }
                connection.starttls(|stream| handshake(&self.inner.tls, &host.name, stream)).await?
            }
        };
        connection.ehlo(&ehlo_name).await?;
        Ok(connection)
    }

    /// The configured name, else the address literal that RFC 5321 §4.1.4 asks of nameless clients.
    pub fn ehlo_name(&self, local: SocketAddr) -> String {
        match (&self.inner.config.ehlo_name, local) {
            (Some(name), _) => name.clone(),
            (None, SocketAddr::V4(address)) => format!("[{}]", address.ip()),
            (None, SocketAddr::V6(address)) => format!("[IPv6:{}]", address.ip()),
        }
    }
}
