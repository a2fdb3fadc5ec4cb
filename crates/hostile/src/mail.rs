//! The mail server that turned hostile: a man in the middle before IMAP, who changes what the honest server says. He
//! knows as much of the protocol as a lie needs.

use crate::mail_attack::{MailAttack, Said};
use rustls::{ClientConfig, pki_types::ServerName};
use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{
        AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
        ReadHalf, WriteHalf,
    },
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

#[derive(Default)]
struct State {
    attacks: Vec<MailAttack>,
    heard: Vec<String>,
}

#[derive(Clone)]
struct Shared {
    state: Arc<Mutex<State>>,
    acceptor: TlsAcceptor,
    connector: TlsConnector,
    honest: SocketAddr,
    name: ServerName<'static>,
}

/// A running man in the middle before IMAP; stops when dropped.
pub struct MailMiddle {
    /// Where he listens.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl MailMiddle {
    /// Listens on `listen` with what `acceptor` shows, in front of the server `name` at `honest`.
    pub async fn start(
        listen: SocketAddr,
        acceptor: TlsAcceptor,
        (name, honest): (&str, SocketAddr),
        client: Arc<ClientConfig>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let state = Arc::<Mutex<State>>::default();
        let shared = Shared {
            state: Arc::clone(&state),
            acceptor,
            connector: TlsConnector::from(client),
            honest,
            name: ServerName::try_from(name.to_owned()).map_err(io::Error::other)?,
        };
        let task = tokio::spawn(async move {
            let mut sessions = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let shared = shared.clone();
                // A connection that breaks off is its two ends' own affair.
                sessions.spawn(async move { drop(shared.session(client).await) });
            }
        });
        Ok(Self { address, state, task })
    }

    /// From now on he does this too, in sessions that run already as well.
    pub fn attack(&self, attack: MailAttack) {
        self.state.lock().unwrap().attacks.push(attack);
    }

    /// From now on he only listens.
    pub fn honest(&self) {
        self.state.lock().unwrap().attacks.clear();
    }

    /// The command lines he heard since he was last asked.
    pub fn heard(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().heard)
    }
}

impl Drop for MailMiddle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Front = server::TlsStream<TcpStream>;
type Back = client::TlsStream<TcpStream>;
/// The command that belongs to a tag, in capitals.
type Asked = Mutex<HashMap<String, String>>;

impl Shared {
    async fn session(&self, client: TcpStream) -> io::Result<()> {
        let server = TcpStream::connect(self.honest).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (from_client, to_client) = tokio::io::split(self.acceptor.accept(client).await?);
        let (from_server, to_server) =
            tokio::io::split(self.connector.connect(self.name.clone(), server).await?);
        let asked = Asked::default();
        tokio::select! {
            ended = self.commands(BufReader::new(from_client), to_server, &asked) => ended,
            ended = self.responses(BufReader::new(from_server), to_client, &asked) => ended,
        }
    }

    fn attacks(&self) -> Vec<MailAttack> {
        self.state.lock().unwrap().attacks.clone()
    }

    /// Carries commands, and remembers which tag asked for what.
    async fn commands(
        &self,
        mut from: BufReader<ReadHalf<Front>>,
        mut to: WriteHalf<Back>,
        asked: &Asked,
    ) -> io::Result<()> {
        let mut begins = true;
        loop {
            let mut line = Vec::new();
            if from.read_until(b'\n', &mut line).await? == 0 {
                return Ok(());
            }
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if std::mem::take(&mut begins) {
                let (tag, command) = text.split_once(' ').unwrap_or((&text, ""));
                let command = command.to_ascii_uppercase();
                let attacks = self.attacks();
                if attacks.iter().any(|a| matches!(a, MailAttack::HangUp(verb) if command.starts_with(verb)))
                {
                    return Ok(());
                }
                asked.lock().unwrap().insert(tag.to_owned(), command);
            }
            self.state.lock().unwrap().heard.push(text);
            to.write_all(&line).await?;
            match announced(&line) {
                Some(octets) => {
                    to.flush().await?;
                    copy(&mut from, &mut to, octets).await?;
                }
                None => begins = true,
            }
            to.flush().await?;
        }
    }

    /// Carries responses, or what the attacks make of them.
    async fn responses(
        &self,
        mut from: BufReader<ReadHalf<Back>>,
        mut to: WriteHalf<Front>,
        asked: &Asked,
    ) -> io::Result<()> {
        loop {
            let mut response = Vec::new();
            loop {
                if from.read_until(b'\n', &mut response).await? == 0 {
                    return Ok(());
                }
                let Some(octets) = announced(&response) else { break };
                (&mut from).take(octets).read_to_end(&mut response).await?;
            }
            let tag = String::from_utf8_lossy(response.split(|b| *b == b' ').next().unwrap_or_default());
            let command = asked.lock().unwrap().remove(&*tag);
            let mut said = Said { command, octets: vec![response], endless: false };
            for attack in self.attacks() {
                attack.change(&mut said);
            }
            for octets in &said.octets {
                to.write_all(octets).await?;
            }
            to.flush().await?;
            if said.endless {
                let flood = vec![b'x'; 64 * 1024];
                loop {
                    to.write_all(&flood).await?;
                }
            }
        }
    }
}

/// The octets of the literal that a line announces.
pub(crate) fn announced(line: &[u8]) -> Option<u64> {
    let line = line.strip_suffix(b"\r\n")?.strip_suffix(b"}")?;
    let line = line.strip_suffix(b"+").unwrap_or(line);
    let start = line.iter().rposition(|b| *b == b'{')? + 1;
    std::str::from_utf8(&line[start..]).ok()?.parse().ok()
}

async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    octets: u64,
) -> io::Result<()> {
    tokio::io::copy(&mut from.take(octets), to).await.map(drop)
}
