//! A conversation with another mail server: TLS wherever it is offered, verified where the configuration asks for it.

use super::settle::Failure;
use crate::context::Context;
use rustls::{ClientConfig, pki_types::ServerName};
use sealpost_lookup::ServerHost;
use sealpost_proto::{
    address::Domain,
    drive::{
        BoxStream, Connection, Envelope, Opportunistic, Options, Outcome, Plain, SmtpError, Timeouts, Tls,
    },
    smtp::client::Capabilities,
    transcript::Tap,
};
use std::{
    io::{self, Read},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Reaching one address; the next one waits for it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// An open conversation after EHLO. The type of the connection says what is proven of the other end.
pub(super) enum Session {
    /// Clear text: the server offers no TLS, or its TLS does not work, and nothing asks for it.
    Plain(Connection<Plain>),
    /// TLS with whoever it is.
    Opportunistic(Connection<Opportunistic>),
    /// TLS with a certificate valid for the MX's name.
    Verified(Connection<Tls>),
}

impl Session {
    pub(super) fn capabilities(&self) -> &Capabilities {
        match self {
            Self::Plain(connection) => connection.capabilities(),
            Self::Opportunistic(connection) => connection.capabilities(),
            Self::Verified(connection) => connection.capabilities(),
        }
    }
    pub(super) async fn send(
        &mut self,
        envelope: &Envelope,
        body: Box<dyn Read + Send>,
    ) -> Result<Outcome, SmtpError> {
        match self {
            Self::Plain(connection) => connection.send_message(envelope, body, |_| {}).await,
            Self::Opportunistic(connection) => connection.send_message(envelope, body, |_| {}).await,
            Self::Verified(connection) => connection.send_message(envelope, body, |_| {}).await,
        }
    }
    /// RSET: the end of any transaction, and a sign of life.
    pub(super) async fn reset(&mut self) -> Result<(), SmtpError> {
        match self {
            Self::Plain(connection) => connection.reset().await,
            Self::Opportunistic(connection) => connection.reset().await,
            Self::Verified(connection) => connection.reset().await,
        }
    }
    pub(super) async fn quit(self) {
        match self {
            Self::Plain(connection) => connection.quit().await,
            Self::Opportunistic(connection) => connection.quit().await,
            Self::Verified(connection) => connection.quit().await,
        }
    }
}

/// Opens a conversation with the first of `hosts` that takes one. A host that refuses in its greeting is passed over
/// like one that is down: another may be up.
pub(super) async fn open(
    ctx: &Context,
    domain: &Domain,
    hosts: &[ServerHost],
    tap: Option<&Arc<dyn Tap>>,
) -> Result<(Session, String), Failure> {
    let verified = ctx.config.require_tls.contains(domain);
    let mut last = Failure::transient("4.4.1", "the domain's mail servers have no address".into());
    for host in hosts {
        for address in &host.addresses {
            match open_one(ctx, host, *address, verified, tap).await {
                Ok(session) => return Ok((session, host.name.clone())),
                Err(error) => {
                    tracing::info!(%domain, host = host.name, %address, %error, "mail server not usable");
                    let status = match error {
                        SmtpError::Tls(_) | SmtpError::NotOffered(_) | SmtpError::Injected => "4.7.5",
                        SmtpError::Refused(_) => "4.3.2",
                        _ => "4.4.1",
                    };
                    last = Failure::transient(status, error.to_string()).at(&host.name, error.reply());
                }
            }
        }
    }
    Err(last)
}

async fn open_one(
    ctx: &Context,
    host: &ServerHost,
    address: SocketAddr,
    verified: bool,
    tap: Option<&Arc<dyn Tap>>,
) -> Result<Session, SmtpError> {
    let name = &ctx.config.hostname;
    let connection = greet(ctx, address, tap).await?;
    let offered = connection.capabilities().has("STARTTLS");
    if verified {
        // Never less for these domains (profile §7): the mail waits until it can be had.
        if !offered {
            return Err(SmtpError::NotOffered("STARTTLS, which this domain must have"));
        }
        let tls = ctx.lookup.tls();
        let mut connection = connection.starttls(|stream| handshake(tls, &host.name, stream)).await?;
        connection.hello(name).await?;
        return Ok(Session::Verified(connection));
    }
    if !offered {
        return Ok(Session::Plain(connection));
    }
    let tls = ctx.lookup.tls_opportunistic();
    match connection.starttls_opportunistic(|stream| handshake(tls, &host.name, stream)).await {
        Ok(mut connection) => {
            connection.hello(name).await?;
            Ok(Session::Opportunistic(connection))
        }
        // TLS that does not work is no reason to keep mail back that would have gone without any (RFC 7435 §3).
        Err(SmtpError::Tls(error)) => {
            tracing::info!(host = host.name, %error, "TLS failed; going on without");
            Ok(Session::Plain(greet(ctx, address, tap).await?))
        }
        Err(SmtpError::Refused(refusal)) => {
            tracing::info!(host = host.name, reply = %refusal.reply, "STARTTLS refused; going on without");
            Ok(Session::Plain(greet(ctx, address, tap).await?))
        }
        Err(error) => Err(error),
    }
}

async fn greet(
    ctx: &Context,
    address: SocketAddr,
    tap: Option<&Arc<dyn Tap>>,
) -> Result<Connection<Plain>, SmtpError> {
    let name = &ctx.config.hostname;
    let connect = timeout(CONNECT_TIMEOUT, ctx.network.connect(address));
    let stream = connect.await.map_err(|_| SmtpError::Timeout("connecting"))??;
    let options = Options { timeouts: Timeouts::RFC5321, tap: tap.cloned() };
    let mut connection = Connection::plain(stream, options);
    connection.greeting().await?;
    connection.hello(name).await?;
    Ok(connection)
}

async fn handshake(tls: Arc<ClientConfig>, name: &str, stream: BoxStream) -> io::Result<BoxStream> {
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    Ok(Box::new(TlsConnector::from(tls).connect(name, stream).await?))
}
