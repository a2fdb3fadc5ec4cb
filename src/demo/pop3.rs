//! An ordinary mail program of the old kind: it fetches the newest message over POP3 and leaves it where it is.

use super::{narrate::Line, world::Server};
use crate::exit::Failure;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use sealpost_proto::{
    pop3::{command::Command, reply::Reply},
    transcript::{DataSummary, Side},
};
use std::{path::Path, sync::Arc};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use zeroize::Zeroizing;

/// Octets of a line that are read at most; the demo's messages have short ones.
const LINE_MAX: u64 = 16 * 1024;

/// The conversation, secrets left out, and the message.
pub struct Fetched {
    pub lines: Vec<Line>,
    pub message: Vec<u8>,
}

struct Session {
    stream: BufReader<TlsStream<TcpStream>>,
    lines: Vec<Line>,
}

/// Signs in with an app password and fetches the newest message.
pub async fn fetch_newest(
    server: &Server,
    ca_file: &Path,
    user: &str,
    password: &str,
) -> Result<Fetched, Failure> {
    let mut session = Session::begin(server, ca_file).await?;
    session.run(&Command::User(user.to_owned())).await?;
    session.run(&Command::Pass(Zeroizing::new(password.to_owned()))).await?;
    let stat = session.run(&Command::Stat).await?;
    let count = stat.text().split(' ').next().and_then(|count| count.parse().ok());
    let newest = count.ok_or_else(|| Failure::failed("STAT told no number"))?;
    session.run(&Command::Retr(newest)).await?;
    let message = session.message().await?;
    session.run(&Command::Quit).await?;
    Ok(Fetched { lines: session.lines, message })
}

impl Session {
    /// TLS, and the greeting.
    async fn begin(server: &Server, ca_file: &Path) -> Result<Self, Failure> {
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(ca_file).map_err(Failure::failed)?)
            .map_err(Failure::failed)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(Failure::failed)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(server.host.clone()).map_err(Failure::failed)?;
        let stream = TcpStream::connect(server.at(server.ports.pop3s)).await?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let mut session =
            Self { stream: BufReader::new(stream), lines: vec![(Side::Note, "TLS".to_owned())] };
        session.reply().await?;
        Ok(session)
    }

    async fn run(&mut self, command: &Command) -> Result<Reply, Failure> {
        let mut line = Zeroizing::new(Vec::new());
        command.write(&mut line);
        self.lines.push((Side::Client, command.shown()));
        self.stream.write_all(&line).await?;
        self.stream.flush().await?;
        self.reply().await
    }

    async fn reply(&mut self) -> Result<Reply, Failure> {
        let line = String::from_utf8_lossy(&self.line().await?).trim_end().to_owned();
        self.lines.push((Side::Server, line.clone()));
        match Reply::parse(&line) {
            Some(reply) if reply.is_positive() => Ok(reply),
            _ => Err(Failure::failed(format_args!("the server said {line:?}"))),
        }
    }

    async fn line(&mut self) -> Result<Vec<u8>, Failure> {
        let mut line = Vec::new();
        (&mut self.stream).take(LINE_MAX).read_until(b'\n', &mut line).await?;
        if line.ends_with(b"\n") { Ok(line) } else { Err(Failure::failed("the connection ended in a line")) }
    }

    /// What follows RETR's reply, dots taken off.
    async fn message(&mut self) -> Result<Vec<u8>, Failure> {
        let (mut message, mut summary) = (Vec::new(), DataSummary::default());
        loop {
            let line = self.line().await?;
            if line == b".\r\n" {
                break;
            }
            let line = line.strip_prefix(b".").unwrap_or(&line);
            summary.push(line);
            message.extend_from_slice(line);
        }
        self.lines.extend(summary.lines().into_iter().map(|line| (Side::Server, line)));
        self.lines.push((Side::Server, ".".to_owned()));
        Ok(message)
    }
}
