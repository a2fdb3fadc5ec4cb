//! The home IMAP server: found, bound to the domain or confirmed, signed in (profile §8, §10).

use crate::{
    client::Client,
    error::ClientError,
    imap::{Imap, ImapError},
    secrets::{Credentials, Secrets},
    state::{Snapshot, State},
};
use rustls::pki_types::ServerName;
use sealpost_lookup::{Binding, Lookup, ServerHost};
use sealpost_proto::{address::Address, base64, drive::BoxStream};
use std::{io, net::SocketAddr, time::Duration};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

/// Reaching one address, or shaking hands.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Finding the server and reaching one of its hosts on one of their addresses, all told.
const FIND_TIMEOUT: Duration = Duration::from_secs(2 * 60);

/// A signed-in IMAP session.
pub(crate) type Mail = Imap<BoxStream>;

impl Client {
    /// Signs in to the home IMAP server, inside TLS verified for its name and nothing less.
    pub(crate) async fn mail(&self, state: &mut State, lookup: &Lookup) -> Result<Mail, ClientError> {
        let (stream, host) = self.reach_mail(&state.account.address, lookup).await?;
        self.confirm_server(state, &host.name, &host.binding)?;
        self.sign_in_mail(&state.account.address, &state.secrets, stream, &host.name).await
    }

    /// The same for a bridge: it holds no lock on the folder, and nobody is there to confirm a name.
    pub(crate) async fn mail_unattended(
        &self,
        folder: &Snapshot,
        lookup: &Lookup,
    ) -> Result<Mail, ClientError> {
        let address = &folder.account.address;
        let (stream, host) = self.reach_mail(address, lookup).await?;
        if matches!(host.binding, Binding::None(_)) && !folder.account.confirmed_servers.contains(&host.name)
        {
            return Err(ClientError::Decide(format!(
                "nothing ties the IMAP server {} to {}; run `sealpost list` on a terminal and confirm it",
                host.name,
                address.domain()
            )));
        }
        self.sign_in_mail(address, &folder.secrets, stream, &host.name).await
    }

    /// Finds the server and shakes hands. Nothing secret is said.
    async fn reach_mail(
        &self,
        address: &Address,
        lookup: &Lookup,
    ) -> Result<(BoxStream, ServerHost), ClientError> {
        let domain = address.domain();
        let deadline = Instant::now() + FIND_TIMEOUT;
        let not_found = |reason: &dyn std::fmt::Display| {
            ClientError::Away(format!("the IMAP server of {domain} could not be found: {reason}"))
        };
        let hosts = timeout_at(deadline, lookup.imap(&domain)).await;
        let hosts = hosts.map_err(|_| not_found(&"it took too long"))?.map_err(|e| not_found(&e))?;
        let (mut reason, mut away) = ("none is announced".to_owned(), true);
        for host in hosts {
            let opened = timeout_at(deadline, open(lookup, &host)).await;
            match opened.unwrap_or_else(|elapsed| Err(elapsed.into())) {
                Ok(stream) => return Ok((stream, host)),
                Err(error) => {
                    // What TLS itself finds wrong does not mend itself.
                    away &= error.kind() != io::ErrorKind::InvalidData;
                    reason = format!("{}: {error}", host.name);
                }
            }
        }
        let text =
            format!("no IMAP server of {domain} could be reached securely ({reason}); try again later");
        Err(if away { ClientError::Away(text) } else { ClientError::Later(text) })
    }

    async fn sign_in_mail(
        &self,
        address: &Address,
        secrets: &Secrets,
        stream: BoxStream,
        server: &str,
    ) -> Result<Mail, ClientError> {
        let mut imap = Imap::start(stream).await.map_err(imap_error)?;
        let current = secrets.current.iter();
        // After a lost reply the new password comes first (profile §5, XPASSWD).
        let mut logins: Vec<_> = secrets.pending.iter().chain(current).map(Credentials::login_hash).collect();
        logins.dedup_by(|a, b| a.expose() == b.expose());
        let last = logins.len().saturating_sub(1);
        for (n, hash) in logins.into_iter().enumerate() {
            let hash = Zeroizing::new(base64::encode(hash.expose()));
            // Sized beforehand: a text that grew would leave uncleared copies behind.
            let message = Zeroizing::new(["\0", address.as_str(), "\0", &hash].concat());
            match imap.authenticate_hashed_pass(message.as_bytes()).await {
                Ok(()) => return Ok(imap),
                Err(ImapError::Login(_)) if n < last => {}
                Err(ImapError::Login(_)) => break,
                Err(error) => return Err(imap_error(error)),
            }
        }
        Err(ClientError::SignIn(format!(
            "{server} did not take this device's login for {address}. If the password was changed on another device, \
             run `sealpost login {address}`"
        )))
    }
}

async fn open(lookup: &Lookup, host: &ServerHost) -> io::Result<BoxStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "it has no address");
    for address in &host.addresses {
        let connect = async { connect_tls(lookup, &host.name, Box::new(tcp(*address).await?)).await };
        match connect.await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Reaches one address.
pub(crate) async fn tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Shakes hands with the server that must bear `name`.
pub(crate) async fn connect_tls(lookup: &Lookup, name: &str, stream: BoxStream) -> io::Result<BoxStream> {
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    let connect = TlsConnector::from(lookup.tls()).connect(name, stream);
    Ok(Box::new(timeout(CONNECT_TIMEOUT, connect).await??))
}

impl From<ImapError> for ClientError {
    fn from(error: ImapError) -> Self {
        imap_error(error)
    }
}

/// An IMAP error, by what the user can do about it.
#[allow(clippy::needless_pass_by_value, reason = "goes to `map_err`")]
pub(crate) fn imap_error(error: ImapError) -> ClientError {
    let text = error.to_string();
    match error {
        ImapError::Login(_) => ClientError::SignIn(text),
        ImapError::Io(_) | ImapError::Closed(_) => ClientError::Away(format!("{text}; try again")),
        ImapError::Silent | ImapError::Slow => ClientError::Later(format!("{text}; try again")),
        _ => ClientError::Refused(text),
    }
}
