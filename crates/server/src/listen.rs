//! Listening sockets: bound here while the process may still bind low ports, or passed in by systemd.

use crate::{config::Listen, run::RunError};
use listenfd::ListenFd;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use sealpost_proto::smtp::server::Role;
use std::{
    io,
    net::{SocketAddr, TcpListener},
};

/// Connections that wait to be accepted; the kernel's `somaxconn` bounds it too. A burst of thousands of sessions
/// must not meet refused or repeated SYNs.
const BACKLOG: i32 = 4096;

/// What a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Smtp(Role),
    Imap,
    Pop3,
}

/// One key of `[listen]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Port {
    /// The key, and the name of a passed socket.
    pub(crate) name: &'static str,
    pub(crate) service: Service,
    pub(crate) implicit_tls: bool,
}

const PORTS: [Port; 7] = [
    Port { name: "smtp", service: Service::Smtp(Role::Mx), implicit_tls: false },
    Port { name: "submission", service: Service::Smtp(Role::Submission), implicit_tls: false },
    Port { name: "submissions", service: Service::Smtp(Role::Submission), implicit_tls: true },
    Port { name: "imap", service: Service::Imap, implicit_tls: false },
    Port { name: "imaps", service: Service::Imap, implicit_tls: true },
    Port { name: "pop3", service: Service::Pop3, implicit_tls: false },
    Port { name: "pop3s", service: Service::Pop3, implicit_tls: true },
];

/// The addresses really listened on (port 0 settled).
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// MX.
    pub smtp: Vec<SocketAddr>,
    /// Submission, STARTTLS.
    pub submission: Vec<SocketAddr>,
    /// Submission, implicit TLS.
    pub submissions: Vec<SocketAddr>,
    /// IMAP, STARTTLS.
    pub imap: Vec<SocketAddr>,
    /// IMAP, implicit TLS.
    pub imaps: Vec<SocketAddr>,
    /// POP3, STLS.
    pub pop3: Vec<SocketAddr>,
    /// POP3, implicit TLS.
    pub pop3s: Vec<SocketAddr>,
}

impl Addresses {
    fn of(&mut self, port: Port) -> &mut Vec<SocketAddr> {
        match (port.service, port.implicit_tls) {
            (Service::Smtp(Role::Mx), _) => &mut self.smtp,
            (Service::Smtp(Role::Submission), false) => &mut self.submission,
            (Service::Smtp(Role::Submission), true) => &mut self.submissions,
            (Service::Imap, false) => &mut self.imap,
            (Service::Imap, true) => &mut self.imaps,
            (Service::Pop3, false) => &mut self.pop3,
            (Service::Pop3, true) => &mut self.pop3s,
        }
    }
}

/// Sockets that a service manager passed (`LISTEN_FDS`, sd_listen_fds(3)), each with its name.
#[derive(Debug, Default)]
pub struct Passed(Vec<(Port, TcpListener)>);

impl Passed {
    /// None.
    pub fn none() -> Self {
        Self::default()
    }

    /// Those of this process's environment, which is changed so that no child takes them for its own: call it before
    /// there are threads.
    pub fn from_environment() -> Result<Self, RunError> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut passed = ListenFd::from_env();
        let mut names = names.split(':');
        let mut sockets = Vec::new();
        for index in 0..passed.len() {
            let name = names.next().unwrap_or_default();
            let fail = |source| RunError::Passed { name: name.to_owned(), source };
            let port = named(name).ok_or_else(|| {
                fail(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "FileDescriptorName= of a socket unit is smtp, submission, submissions, imap, imaps, pop3 or \
                     pop3s",
                ))
            })?;
            let Some(socket) = passed.take_tcp_listener(index).map_err(fail)? else { continue };
            if !sockopt::socket_acceptconn(&socket).map_err(|e| fail(e.into()))? {
                return Err(fail(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "it does not listen; a socket unit for it has Accept=no",
                )));
            }
            sockets.push((port, socket));
        }
        Ok(Self(sockets))
    }
}

fn named(name: &str) -> Option<Port> {
    PORTS.into_iter().find(|port| port.name == name)
}

/// All sockets of a server.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) addresses: Addresses,
    pub(crate) listeners: Vec<(Port, TcpListener)>,
}

impl Sockets {
    /// Takes what was passed, and binds the addresses of the keys of which nothing was.
    pub(crate) fn open(listen: &Listen, passed: Passed) -> Result<Self, RunError> {
        let mut listeners = passed.0;
        for (port, addresses) in PORTS.into_iter().zip(listen.all()) {
            if listeners.iter().any(|(passed, _)| *passed == port) {
                continue;
            }
            for address in addresses {
                let listener = bind(*address)
                    .map_err(|source| RunError::Bind { address: address.to_string(), source })?;
                listeners.push((port, listener));
            }
        }
        let mut addresses = Addresses::default();
        for (port, listener) in &listeners {
            let bind = |source| RunError::Bind { address: port.name.to_owned(), source };
            listener.set_nonblocking(true).map_err(bind)?;
            addresses.of(*port).push(listener.local_addr().map_err(bind)?);
        }
        Ok(Self { addresses, listeners })
    }
}

/// IPv6 sockets take IPv6 alone, so that `0.0.0.0:25` and `[::]:25` can stand side by side and peers are always seen
/// by their own addresses.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // A restart must not wait for the last connections of the process before.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn both_families_listen_on_one_port() {
        let four = bind("0.0.0.0:0".parse().unwrap()).unwrap();
        let port = four.local_addr().unwrap().port();
        // What the example configuration asks for.
        let six = bind(SocketAddr::new("::".parse().unwrap(), port)).unwrap();
        let client = std::net::TcpStream::connect(("::1", port)).unwrap();
        assert_eq!(six.accept().unwrap().1, client.local_addr().unwrap());
        let client = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert_eq!(four.accept().unwrap().1, client.local_addr().unwrap());
    }

    #[test]
    fn names_of_passed_sockets_are_the_keys_of_the_configuration() {
        for name in ["smtp", "submission", "submissions", "imap", "imaps", "pop3", "pop3s"] {
            assert_eq!(named(name).unwrap().name, name);
        }
        for wrong in ["", "unknown", "connection", "SMTP"] {
            assert!(named(wrong).is_none(), "{wrong}");
        }
    }
}
