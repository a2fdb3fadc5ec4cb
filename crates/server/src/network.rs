//! The relay's way to other domains: DNS and TCP, or what a simulation puts in their place.

use async_trait::async_trait;
use sealpost_lookup::{Lookup, LookupError, ServerHost};
use sealpost_proto::{address::Domain, drive::BoxStream};
use std::{io, net::SocketAddr};
use tokio::net::TcpStream;

/// Where mail servers are, and a connection to one.
#[async_trait]
pub trait Network: Send + Sync {
    /// The mail servers of a domain, with the preference of each.
    async fn mail_exchangers(&self, domain: &Domain) -> Result<Vec<(u16, ServerHost)>, LookupError>;
    /// A connection. Waits as long as the network does.
    async fn connect(&self, address: SocketAddr) -> io::Result<BoxStream>;
}

/// DNS and TCP.
pub(crate) struct Internet(pub(crate) Lookup);

#[async_trait]
impl Network for Internet {
    async fn mail_exchangers(&self, domain: &Domain) -> Result<Vec<(u16, ServerHost)>, LookupError> {
        self.0.mail_exchangers(domain).await
    }
    async fn connect(&self, address: SocketAddr) -> io::Result<BoxStream> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}
