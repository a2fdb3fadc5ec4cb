//! The mail server that turned hostile: a man in the middle before IMAP, who changes what the honest server says. He
//! knows as much of the protocol as a lie needs.

use crate::{
    between::Between,
    listening::Listening,
    mail_attack::{MailAttack, Said},
};
use rustls::ClientConfig;
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
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, client, server};

#[derive(Default)]
struct State {
    attacks: Vec<MailAttack>,
    heard: Vec<String>,
}

#[derive(Clone)]
struct Shared {
    state: Arc<Mutex<State>>,
    between: Between,
}

/// A running man in the middle before IMAP; stops when dropped.
pub struct MailMiddle {
    /// Where he listens.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    _listening: Listening,
}

impl MailMiddle {
    /// Listens on `listen` with what `acceptor` shows, in front of the server `honest`: its name and where it is.
    pub async fn start(
        listen: SocketAddr,
        acceptor: TlsAcceptor,
        honest: (&str, SocketAddr),
        client: Arc<ClientConfig>,
    ) -> io::Result<Self> {
        let state = Arc::<Mutex<State>>::default();
        let between = Between::new(acceptor, honest, client)?;
        let shared = Shared { state: Arc::clone(&state), between };
        let listening = Listening::start(listen, move |client| {
            let shared = shared.clone();
            async move { shared.session(client).await }
        });
        let listening = listening.await?;
        Ok(Self { address: listening.address, state, _listening: listening })
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

type Front = server::TlsStream<TcpStream>;
type Back = client::TlsStream<TcpStream>;
/// The command that belongs to a tag, in capitals.
type Asked = Mutex<HashMap<String, String>>;

impl Shared {
    async fn session(&self, client: TcpStream) -> io::Result<()> {
        let server = self.between.reach(&client).await?;
        let (from_client, to_client) = tokio::io::split(self.between.acceptor.accept(client).await?);
        let (from_server, to_server) =
            tokio::io::split(self.between.connector.connect(self.between.name.clone(), server).await?);
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
