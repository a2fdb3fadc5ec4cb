//! Two who listen: one on the network, who hears octets as they go over the wire, and one inside TLS, who has the
//! servers' certificates. A third one sits before the control socket.

use crate::support::eventually;
use rustls::{ClientConfig, pki_types::ServerName};
use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf},
    net::{TcpListener, TcpStream, UdpSocket, UnixListener, UnixStream},
    runtime::Runtime,
    sync::watch,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// How long a name server may take. Without an end one answer that got lost would silence all that follow.
const DNS_PATIENCE: Duration = Duration::from_secs(2);

/// One direction of one conversation.
#[derive(Clone)]
pub struct Reel {
    pub label: String,
    pub octets: Vec<u8>,
}

/// All that one of them heard.
#[derive(Clone, Default)]
pub struct Tape(Arc<Mutex<Vec<Reel>>>);

impl Tape {
    fn reel(&self, label: String) -> usize {
        let mut reels = self.0.lock().expect("no panic");
        reels.push(Reel { label, octets: Vec::new() });
        reels.len() - 1
    }

    fn hear(&self, reel: usize, octets: &[u8]) {
        self.0.lock().expect("no panic")[reel].octets.extend_from_slice(octets);
    }

    pub fn reels(&self) -> Vec<Reel> {
        self.0.lock().expect("no panic").clone()
    }
}

/// Stops a conversation at the moment when a word is said, until it is let through.
#[derive(Clone)]
pub struct Gate(Arc<watch::Sender<Gateway>>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Gateway {
    Open,
    /// Until this is said.
    Until(&'static str),
    Closed,
}

impl Gate {
    pub fn arm(&self, word: &'static str) {
        self.0.send_replace(Gateway::Until(word));
    }

    pub fn is_closed(&self) -> bool {
        *self.0.borrow() == Gateway::Closed
    }

    pub fn open(&self) {
        self.0.send_replace(Gateway::Open);
    }

    async fn pass(&self, octets: &[u8]) {
        let armed = *self.0.borrow();
        if let Gateway::Until(word) = armed
            && octets.windows(word.len()).any(|window| window == word.as_bytes())
        {
            self.0.send_replace(Gateway::Closed);
            let mut state = self.0.subscribe();
            // The sender lives in `self`.
            drop(state.wait_for(|state| *state != Gateway::Closed).await);
        }
    }
}

async fn carry<R, W>(
    mut from: ReadHalf<R>,
    mut to: WriteHalf<W>,
    (tape, label): (Tape, String),
    gate: Option<Gate>,
) -> io::Result<()>
where
    R: AsyncRead,
    W: AsyncWrite,
{
    let (reel, mut buffer) = (tape.reel(label), vec![0; 64 * 1024]);
    loop {
        match from.read(&mut buffer).await? {
            0 => return to.shutdown().await,
            n => {
                tape.hear(reel, &buffer[..n]);
                if let Some(gate) = &gate {
                    gate.pass(&buffer[..n]).await;
                }
                to.write_all(&buffer[..n]).await?;
                to.flush().await?;
            }
        }
    }
}

/// Carries both ways until both ends are done. A connection that breaks off is its two ends' own affair.
async fn pump<C, S>(client: C, server: S, tape: Tape, name: String, gate: Option<Gate>)
where
    C: AsyncRead + AsyncWrite,
    S: AsyncRead + AsyncWrite,
{
    let (client_read, client_write) = tokio::io::split(client);
    let (server_read, server_write) = tokio::io::split(server);
    let up = carry(client_read, server_write, (tape.clone(), format!("{name}, to the server")), gate);
    let down = carry(server_read, client_write, (tape, format!("{name}, from the server")), None);
    drop(tokio::join!(up, down));
}

/// How a port begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Implicit,
    StartTls,
}

/// What all listeners share.
pub struct Taps {
    pub runtime: Runtime,
    /// Heard on the network.
    pub outside: Tape,
    /// Heard inside TLS.
    pub inside: Tape,
    /// Heard at the control sockets.
    pub control: Tape,
    /// Inside TLS, on the way from clients to servers.
    pub gate: Gate,
}

impl Taps {
    pub fn new() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let gate = Gate(Arc::new(watch::Sender::new(Gateway::Open)));
        Self { runtime, outside: Tape::default(), inside: Tape::default(), control: Tape::default(), gate }
    }

    /// On the network, before `server`; `listen` may have port 0.
    fn network(&self, listen: SocketAddr, server: SocketAddr, name: &str) -> SocketAddr {
        let listener = self.runtime.block_on(TcpListener::bind(listen)).expect("a port");
        let address = listener.local_addr().expect("bound");
        let (tape, name) = (self.outside.clone(), name.to_owned());
        self.runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(server).await else { continue };
                tokio::spawn(pump(client, server, tape.clone(), name.clone(), None));
            }
        });
        address
    }

    /// All three hops before `server`: the network, inside TLS, and the network again.
    pub fn before(
        &self,
        listen: SocketAddr,
        server: SocketAddr,
        (door, host): (Door, &str),
        (acceptor, client): (TlsAcceptor, Arc<ClientConfig>),
    ) -> SocketAddr {
        let any = SocketAddr::new(listen.ip(), 0);
        let behind = self.network(any, server, &format!("{host} ({door:?}), behind"));
        let listener = self.runtime.block_on(TcpListener::bind(any)).expect("a port");
        let middle = listener.local_addr().expect("bound");
        let (tape, name) = (self.inside.clone(), ServerName::try_from(host.to_owned()).expect("a name"));
        // Clients alone: a server that relays mail says good-bye as well.
        let gate = (door == Door::Implicit).then(|| self.gate.clone());
        let (label, connector) = (format!("{host} ({door:?})"), TlsConnector::from(client));
        self.runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, connector, name) = (acceptor.clone(), connector.clone(), name.clone());
                let (tape, label, gate) = (tape.clone(), label.clone(), gate.clone());
                tokio::spawn(async move {
                    let server = TcpStream::connect(behind).await?;
                    let streams = match door {
                        Door::Implicit => Some((client, server)),
                        Door::StartTls => until_tls(client, server).await?,
                    };
                    let Some((client, server)) = streams else { return Ok(()) };
                    let server = connector.connect(name, server).await?;
                    let client = acceptor.accept(client).await?;
                    pump(client, server, tape, label, gate).await;
                    io::Result::Ok(())
                });
            }
        });
        self.network(listen, middle, &format!("{host} ({door:?})"))
    }

    /// Before a name server.
    pub fn before_dns(&self, server: SocketAddr) -> SocketAddr {
        let socket = self.runtime.block_on(UdpSocket::bind("127.0.0.1:0")).expect("a port");
        let address = socket.local_addr().expect("bound");
        let tape = self.outside.clone();
        self.runtime.spawn(async move {
            let reel = tape.reel("DNS".to_owned());
            let mut buffer = vec![0; 64 * 1024];
            while let Ok((n, client)) = socket.recv_from(&mut buffer).await {
                tape.hear(reel, &buffer[..n]);
                // One at a time: a lost answer is asked for again.
                let ask = async {
                    let onward = UdpSocket::bind("127.0.0.1:0").await?;
                    onward.send_to(&buffer[..n], server).await?;
                    let mut answer = vec![0; 64 * 1024];
                    let n = onward.recv(&mut answer).await?;
                    tape.hear(reel, &answer[..n]);
                    socket.send_to(&answer[..n], client).await
                };
                drop(timeout(DNS_PATIENCE, ask).await);
            }
        });
        address
    }

    /// At `listen`, before the control socket `server`.
    pub fn before_control(&self, listen: PathBuf, server: PathBuf) {
        let _guard = self.runtime.enter();
        let listener = UnixListener::bind(listen).expect("a socket");
        let tape = self.control.clone();
        self.runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = UnixStream::connect(&server).await else { continue };
                tokio::spawn(pump(client, server, tape.clone(), "control socket".to_owned(), None));
            }
        });
    }

    /// Waits until what is said last by each is on the tapes.
    pub fn settle(&self) {
        let heard = |tape: &Tape| tape.reels().iter().map(|reel| reel.octets.len()).sum::<usize>();
        let mut before = usize::MAX;
        eventually("silence", || {
            let now = heard(&self.outside) + heard(&self.inside) + heard(&self.control);
            (std::mem::replace(&mut before, now) == now).then_some(())
        });
    }
}

/// Carries clear text until STARTTLS was agreed on; `None` where it never was.
async fn until_tls(
    mut client: TcpStream,
    mut server: TcpStream,
) -> io::Result<Option<(TcpStream, TcpStream)>> {
    let (mut said, mut answered) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    let mut asked = false;
    loop {
        tokio::select! {
            n = client.read(&mut said) => {
                let said = &said[..n?];
                if said.is_empty() {
                    return server.shutdown().await.map(|()| None);
                }
                asked = said.trim_ascii_end().to_ascii_uppercase().ends_with(b"STARTTLS");
                server.write_all(said).await?;
            }
            n = server.read(&mut answered) => {
                let answer = &answered[..n?];
                if answer.is_empty() {
                    return client.shutdown().await.map(|()| None);
                }
                client.write_all(answer).await?;
                if asked && (answer.starts_with(b"220 ") || answer.windows(4).any(|w| w == b" OK ")) {
                    return Ok(Some((client, server)));
                }
            }
        }
    }
}
