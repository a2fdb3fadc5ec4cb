//! Another IMAP server: how it is named and reached.

use crate::{
    client::Client,
    error::ClientError,
    imap::Imap,
    mailbox::{Mail, connect_tls, imap_error, tcp},
};
use sealpost_lookup::{Lookup, LookupConfig};
use sealpost_proto::drive::BoxStream;
use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};
use tokio::time::timeout;
use zeroize::Zeroizing;

const IMAPS_PORT: u16 = 993;
const IMAP_PORT: u16 = 143;
/// Finding the addresses of a name.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(30);
/// `imaps://user@host[:port]`, or `imap://…`, which is STARTTLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl {
    /// TLS from the first octet; else STARTTLS, never clear text.
    pub implicit_tls: bool,
    /// Who signs in.
    pub user: String,
    /// The server's name, which its certificate must bear.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// What is wrong with a URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Neither imaps:// nor imap://.
    #[error("write it as imaps://user@host (or imap://user@host, for STARTTLS)")]
    Scheme,
    /// A password in it would be seen by all on this machine.
    #[error("leave the password out of it; it is asked for, or read from a file")]
    Password,
    /// No user.
    #[error("say who signs in there: imaps://user@host; an @ in the name may stay as it is")]
    User,
    /// No host or no port.
    #[error("it names no server, or no port that there could be")]
    Host,
}

impl ServerUrl {
    /// Reads `imap[s]://user@host[:port][/]`. The last `@` counts; `%40` may be written for others.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        let implicit_tls = match scheme.to_ascii_lowercase().as_str() {
            "imaps" => true,
            "imap" => false,
            _ => return Err(UrlError::Scheme),
        };
        let (user, place) = rest.rsplit_once('@').ok_or(UrlError::User)?;
        let user = percent_decoded(user).filter(|u| !u.is_empty()).ok_or(UrlError::User)?;
        // No mail address and no usual login name has a colon; a password behind one is the likelier reading.
        if user.contains(':') {
            return Err(UrlError::Password);
        }
        if user.contains(char::is_control) {
            return Err(UrlError::User);
        }
        let place = place.strip_suffix('/').unwrap_or(place);
        let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((literal, rest)) => (literal, rest.strip_prefix(':')),
            None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
        };
        let default = if implicit_tls { IMAPS_PORT } else { IMAP_PORT };
        let port = port.map_or(Some(default), |port| port.parse().ok().filter(|port| *port > 0));
        let plausible = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if host.is_empty() || !host.chars().all(plausible) {
            return Err(UrlError::Host);
        }
        Ok(Self { implicit_tls, user, host: host.to_lowercase(), port: port.ok_or(UrlError::Host)? })
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}", self.user, self.host, self.port)
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        if octet == b'%' {
            let hex = [rest.next()?, rest.next()?];
            octets.push(u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok()?);
        } else {
            octets.push(octet);
        }
    }
    String::from_utf8(octets).ok()
}

/// A server and how to sign in there.
#[derive(Clone)]
pub struct Remote {
    /// Where.
    pub url: ServerUrl,
    /// With what.
    pub password: Zeroizing<String>,
    /// Roots to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
}

impl Remote {
    /// Signs in, inside TLS verified for the host's name and nothing less. `dns` is asked where the user named one.
    pub(super) async fn sign_in(
        &self,
        client: &Client,
        dns: Option<SocketAddr>,
    ) -> Result<Mail, ClientError> {
        let host = &self.url.host;
        let ca_file = self.ca_file.clone().or_else(|| client.settings.ca_file.clone());
        let config = LookupConfig { dns, ca_file, ..LookupConfig::default() };
        let lookup = Lookup::new(config).map_err(|e| ClientError::Refused(e.to_string()))?;
        let later = |reason: &dyn fmt::Display| {
            ClientError::Later(format!("{host} could not be reached securely: {reason}; try again later"))
        };
        let addresses = self.addresses(&lookup, dns.is_some()).await.map_err(|e| later(&e))?;
        let mut last = io::Error::new(io::ErrorKind::NotFound, "it has no address");
        let mut opened = None;
        for address in addresses {
            match self.open(&lookup, address).await? {
                Ok(mail) => {
                    opened = Some(mail);
                    break;
                }
                // What is wrong with its certificate says more than an address that nobody listens at.
                Err(_) if last.kind() == io::ErrorKind::InvalidData => {}
                Err(error) => last = error,
            }
        }
        let mut mail = opened.ok_or_else(|| match last.kind() {
            // What TLS itself finds wrong; no later try would fare better.
            io::ErrorKind::InvalidData => ClientError::Refused(format!(
                "{host} is not proven to be itself: {last}. If its certificate is of an authority of its own, name that \
                 one's roots with --from-ca-file or --ca-file"
            )),
            _ => later(&last),
        })?;
        mail.sign_in(&self.url.user, &self.password).await.map_err(|error| match imap_error(error) {
            ClientError::SignIn(text) => ClientError::SignIn(format!(
                "{}: {text}. Many providers want an app password here instead of one's own",
                self.url
            )),
            other => other,
        })?;
        Ok(mail)
    }

    async fn addresses(&self, lookup: &Lookup, asked: bool) -> io::Result<Vec<SocketAddr>> {
        let (host, port) = (self.url.host.as_str(), self.url.port);
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        if asked && let Ok(found) = timeout(RESOLVE_TIMEOUT, lookup.addresses(host, port)).await? {
            return Ok(found);
        }
        Ok(timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host((host, port))).await??.collect())
    }

    /// The inner error is one of the network: the next address may do.
    async fn open(&self, lookup: &Lookup, address: SocketAddr) -> Result<io::Result<Mail>, ClientError> {
        let host = &self.url.host;
        let stream = match tcp(address).await {
            Ok(stream) => stream,
            Err(error) => return Ok(Err(error)),
        };
        if self.url.implicit_tls {
            return match connect_tls(lookup, host, Box::new(stream)).await {
                Ok(stream) => Ok(Ok(Imap::start(stream).await.map_err(imap_error)?)),
                Err(error) => Ok(Err(error)),
            };
        }
        let stream: BoxStream = Box::new(stream);
        let mail = Imap::start(stream).await.map_err(imap_error)?;
        if !mail.has("STARTTLS") {
            return Err(ClientError::Refused(format!(
                "{host} offers no STARTTLS on port {}; nothing was sent to it. Use imaps://",
                self.url.port
            )));
        }
        let stream = mail.start_tls().await.map_err(imap_error)?;
        match connect_tls(lookup, host, stream).await {
            Ok(stream) => Ok(Ok(Imap::resume(stream).await.map_err(imap_error)?)),
            Err(error) => Ok(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_named_by_url() {
        for (text, user, host, port, implicit_tls) in [
            ("imaps://alice@example.net", "alice", "example.net", 993, true),
            ("imap://alice@example.net/", "alice", "example.net", 143, false),
            (
                "imaps://alice@example.net@Mail.example.org:1993",
                "alice@example.net",
                "mail.example.org",
                1993,
                true,
            ),
            ("IMAPS://alice%40example.net@h", "alice@example.net", "h", 993, true),
            ("imaps://a@[2001:db8::1]:99", "a", "2001:db8::1", 99, true),
            ("imaps://a@[2001:db8::1]", "a", "2001:db8::1", 993, true),
        ] {
            let url = ServerUrl::parse(text);
            let expected = ServerUrl { implicit_tls, user: user.into(), host: host.into(), port };
            assert_eq!(url, Ok(expected), "{text}");
        }
        for (text, error) in [
            ("https://a@b", UrlError::Scheme),
            ("alice@example.net", UrlError::Scheme),
            ("imaps://example.net", UrlError::User),
            ("imaps://@example.net", UrlError::User),
            ("imaps://a%0d@b", UrlError::User),
            ("imaps://a%4@b", UrlError::User),
            ("imaps://a:secret@b", UrlError::Password),
            ("imaps://a@", UrlError::Host),
            ("imaps://a@b:0", UrlError::Host),
            ("imaps://a@b:65536", UrlError::Host),
            ("imaps://a@b/INBOX", UrlError::Host),
            ("imaps://a@b c", UrlError::Host),
        ] {
            assert_eq!(ServerUrl::parse(text), Err(error), "{text}");
        }
    }
}
