//! A man in the middle that terminates TLS with a certificate the demo's own authority made, and changes one octet
//! of one thing. It shows that the demo's checks are real: with it in front of a server the demo must fail.

use crate::cli::Tamper;
use rustls::{ClientConfig, ServerConfig, pki_types::ServerName};
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// How a port begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// TLS from the first octet.
    Implicit,
    /// SMTP with STARTTLS.
    StartTls,
    /// Passed through as it is.
    Through,
}

/// The proxy's settings; cheap to clone.
#[derive(Clone)]
pub struct Proxy {
    what: Tamper,
    armed: Arc<AtomicBool>,
    acceptor: TlsAcceptor,
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Proxy {
    /// For the server `name`; changes nothing until [`Proxy::arm`].
    pub fn new(
        what: Tamper,
        name: ServerName<'static>,
        server: ServerConfig,
        client: Arc<ClientConfig>,
    ) -> Self {
        Self {
            what,
            armed: Arc::default(),
            acceptor: TlsAcceptor::from(Arc::new(server)),
            connector: TlsConnector::from(client),
            name,
        }
    }

    /// From now on it changes what it was told to change.
    pub fn arm(&self, what: Tamper) {
        if what == self.what {
            self.armed.store(true, Ordering::SeqCst);
        }
    }

    /// Serves `listener`, in front of `server`, until dropped.
    pub async fn serve(self, listener: TcpListener, server: SocketAddr, port: Port) {
        let mut sessions = tokio::task::JoinSet::new();
        loop {
            let Ok((client, _)) = listener.accept().await else { continue };
            let this = self.clone();
            // A connection that breaks off is its two ends' own affair.
            sessions.spawn(async move { drop(this.session(client, server, port).await) });
        }
    }

    async fn session(self, client: TcpStream, server: SocketAddr, port: Port) -> io::Result<()> {
        let server = TcpStream::connect(server).await?;
        let (client, server) = match port {
            Port::Through => return self.pump(client, server).await,
            Port::Implicit => (client, server),
            Port::StartTls => match start_tls(client, server).await? {
                Some(streams) => streams,
                None => return Ok(()),
            },
        };
        let client = self.acceptor.accept(client).await?;
        let server = self.connector.connect(self.name.clone(), server).await?;
        self.pump(client, server).await
    }

    /// Carries octets both ways.
    async fn pump(
        &self,
        client: impl AsyncRead + AsyncWrite,
        server: impl AsyncRead + AsyncWrite,
    ) -> io::Result<()> {
        let (client_read, client_write) = tokio::io::split(client);
        let (server_read, server_write) = tokio::io::split(server);
        let up = self.carry(client_read, server_write, true);
        let down = self.carry(server_read, client_write, false);
        tokio::try_join!(up, down).map(|_| ())
    }

    async fn carry(&self, from: impl AsyncRead, to: impl AsyncWrite, upwards: bool) -> io::Result<()> {
        let mut from = std::pin::pin!(BufReader::new(from));
        let mut to = std::pin::pin!(to);
        let mut inside_armour = 0;
        let mut line = Vec::new();
        loop {
            line.clear();
            // Lines of these protocols are short; what is longer, or pauses without a line end as a BDAT chunk may,
            // is carried in pieces. A read that is given up has put what it got into `line`.
            let limited = &mut (&mut from).take(MAX_LINE_OCTETS);
            match tokio::time::timeout(PAUSE, limited.read_until(b'\n', &mut line)).await {
                Ok(Ok(0)) => return to.shutdown().await,
                Ok(Err(error)) => return Err(error),
                Ok(Ok(_)) | Err(_) => {}
            }
            if self.armed.load(Ordering::SeqCst) {
                change(self.what, upwards, &mut inside_armour, &mut line);
            }
            to.write_all(&line).await?;
            if from.buffer().is_empty() {
                to.flush().await?;
            }
        }
    }
}

/// Longest line looked at as a whole.
const MAX_LINE_OCTETS: u64 = 16_384;

/// How long a line may pause before its beginning is passed on.
const PAUSE: Duration = Duration::from_millis(50);

/// Which line of the armour is changed: behind the header of a message to few people, inside the payload.
const ARMOUR_LINE: usize = 12;

/// Changes one octet of the line, if it is one that `what` speaks of.
fn change(what: Tamper, upwards: bool, inside_armour: &mut usize, line: &mut [u8]) {
    match what {
        Tamper::Pubkey if !upwards && line.starts_with(b"220 ed25519 ") => swap_letter(line, 60),
        Tamper::Salt if !upwards && (line.starts_with(b"220 SALT ") || line.starts_with(b"250 SALT ")) => {
            swap_letter(line, 9);
        }
        Tamper::Body if upwards => {
            if line.starts_with(b"-----BEGIN AGE") {
                *inside_armour = 1;
            } else if line.starts_with(b"-----END AGE") {
                *inside_armour = 0;
            } else if *inside_armour > 0 {
                *inside_armour += 1;
                if *inside_armour == ARMOUR_LINE {
                    swap_letter(line, 10);
                }
            }
        }
        _ => {}
    }
}

/// Another letter of the base64 alphabet in place of the one at `at`.
fn swap_letter(line: &mut [u8], at: usize) {
    if let Some(octet) = line.get_mut(at) {
        *octet = if *octet == b'A' { b'B' } else { b'A' };
    }
}

/// Carries the plain beginning of an SMTP session; `None` where it ends without TLS.
async fn start_tls(client: TcpStream, server: TcpStream) -> io::Result<Option<(TcpStream, TcpStream)>> {
    let (mut client, mut server) = (BufReader::new(client), BufReader::new(server));
    let mut command = Vec::new();
    loop {
        // The greeting or the reply to `command`, of one or more lines.
        let mut reply = Vec::new();
        loop {
            reply.clear();
            (&mut server).take(MAX_LINE_OCTETS).read_until(b'\n', &mut reply).await?;
            if reply.is_empty() {
                return Ok(None);
            }
            client.write_all(&reply).await?;
            if reply.get(3) != Some(&b'-') {
                break;
            }
        }
        if command.eq_ignore_ascii_case(b"STARTTLS\r\n") && reply.starts_with(b"220") {
            return Ok(Some((client.into_inner(), server.into_inner())));
        }
        command.clear();
        (&mut client).take(MAX_LINE_OCTETS).read_until(b'\n', &mut command).await?;
        if command.is_empty() {
            return Ok(None);
        }
        server.write_all(&command).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(what: Tamper, upwards: bool, lines: &[&str]) -> Vec<(usize, usize)> {
        let mut inside = 0;
        let mut found = Vec::new();
        for (number, line) in lines.iter().enumerate() {
            let mut octets = line.as_bytes().to_vec();
            change(what, upwards, &mut inside, &mut octets);
            found.extend((0..octets.len()).filter(|&i| octets[i] != line.as_bytes()[i]).map(|i| (number, i)));
        }
        found
    }

    #[test]
    fn exactly_one_octet_of_the_right_line_changes() {
        let key = format!("220 ed25519 {}\r\n", "Q".repeat(92));
        assert_eq!(changed(Tamper::Pubkey, false, &["250 OK\r\n", &key]), [(1, 60)]);
        assert_eq!(changed(Tamper::Pubkey, true, &[&key]), []);
        let salts = ["235 2.7.0 Authentication successful\r\n", "250 SALT ODcyZmQwNTFlOTM4OTFh\r\n"];
        assert_eq!(changed(Tamper::Salt, false, &salts), [(1, 9)]);
        assert_eq!(changed(Tamper::Body, false, &salts), []);
        let mut message = vec!["Subject: [...]\r\n", "\r\n", "-----BEGIN AGE ENCRYPTED FILE-----\r\n"];
        message.extend(std::iter::repeat_n("YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHNzaC1l\r\n", 30));
        message.push("-----END AGE ENCRYPTED FILE-----\r\n");
        assert_eq!(changed(Tamper::Body, true, &message), [(13, 10)]);
    }
}
