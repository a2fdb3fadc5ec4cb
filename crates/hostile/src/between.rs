//! What a man in the middle stands between.

use rustls::{ClientConfig, pki_types::ServerName};
use std::{io, net::SocketAddr, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// What he shows to clients, and the honest server.
#[derive(Clone)]
pub(crate) struct Between {
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) connector: TlsConnector,
    honest: SocketAddr,
    pub(crate) name: ServerName<'static>,
}

impl Between {
    pub(crate) fn new(
        acceptor: TlsAcceptor,
        (name, honest): (&str, SocketAddr),
        client: Arc<ClientConfig>,
    ) -> io::Result<Self> {
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        Ok(Self { acceptor, connector: TlsConnector::from(client), honest, name })
    }

    /// Connects to the honest server for a client.
    pub(crate) async fn reach(&self, client: &TcpStream) -> io::Result<TcpStream> {
        let server = TcpStream::connect(self.honest).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        Ok(server)
    }
}
