//! The man in the middle: TLS ends at him, and begins anew towards the honest server. He goes in lock-step (one
//! command, one answer), which the other two cannot tell from a slow line.

use crate::{
    attack::{Attack, Flood, is},
    between::Between,
    lines::Lines,
    listening::Listening,
};
use rustls::ClientConfig;
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsAcceptor;

/// How the port begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// TLS from the first octet.
    Implicit,
    /// STARTTLS.
    StartTls,
}

/// Between two octets of a trickle: shorter than any time-out.
const TRICKLE: Duration = Duration::from_secs(1);

#[derive(Default)]
struct State {
    attacks: Vec<Attack>,
    heard: Vec<String>,
    connections: usize,
}

#[derive(Clone)]
struct Shared {
    state: Arc<Mutex<State>>,
    door: Door,
    between: Between,
}

/// A running man in the middle; stops when dropped.
pub struct Middle {
    /// Where he listens.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    _listening: Listening,
}

impl Middle {
    /// Listens on `listen` with what `acceptor` shows, in front of the server `honest`: its name and where it is.
    pub async fn start(
        listen: SocketAddr,
        door: Door,
        acceptor: TlsAcceptor,
        honest: (&str, SocketAddr),
        client: Arc<ClientConfig>,
    ) -> io::Result<Self> {
        let state = Arc::<Mutex<State>>::default();
        let between = Between::new(acceptor, honest, client)?;
        let shared = Shared { state: Arc::clone(&state), door, between };
        let listening = Listening::start(listen, move |client| {
            let shared = shared.clone();
            shared.state.lock().unwrap().connections += 1;
            async move { shared.session(client).await }
        });
        let listening = listening.await?;
        Ok(Self { address: listening.address, state, _listening: listening })
    }

    /// From now on he does this too.
    pub fn attack(&self, attack: Attack) {
        self.state.lock().unwrap().attacks.push(attack);
    }

    /// From now on he only listens.
    pub fn honest(&self) {
        self.state.lock().unwrap().attacks.clear();
    }

    /// The lines he heard from clients, message data left out.
    pub fn heard(&self) -> Vec<String> {
        self.state.lock().unwrap().heard.clone()
    }

    /// Whether he heard a line that begins so.
    pub fn heard_line(&self, start: &str) -> bool {
        self.heard().iter().any(|line| line.starts_with(start))
    }

    /// Forgets what he heard.
    pub fn forget(&self) {
        self.state.lock().unwrap().heard.clear();
    }

    /// How many connected.
    pub fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }
}

impl Shared {
    async fn session(&self, client: TcpStream) -> io::Result<()> {
        let server = self.between.reach(&client).await?;
        match self.door {
            Door::Implicit => {
                let client = self.between.acceptor.accept(client).await?;
                let server = self.between.connector.connect(self.between.name.clone(), server).await?;
                self.converse(client, server, true).await?;
            }
            Door::StartTls => {
                let Some((client, server)) = self.converse(client, server, true).await? else {
                    return Ok(());
                };
                let server = self.between.connector.connect(self.between.name.clone(), server).await?;
                let client = self.between.acceptor.accept(client).await?;
                self.converse(client, server, false).await?;
            }
        }
        Ok(())
    }

    /// Carries a conversation; returns the streams where STARTTLS was agreed on.
    async fn converse<C, S>(&self, client: C, server: S, greeting: bool) -> io::Result<Option<(C, S)>>
    where
        C: AsyncRead + AsyncWrite + Unpin,
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (mut client, mut server) = (Lines::new(client), Lines::new(server));
        if greeting {
            let reply = server.reply().await?;
            if !self.answer("GREETING", reply, &mut client).await? {
                return Ok(None);
            }
        }
        while let Some(command) = client.line().await? {
            self.state.lock().unwrap().heard.push(command.clone());
            let attacks = self.state.lock().unwrap().attacks.clone();
            if attacks.iter().any(|a| matches!(a, Attack::HangUp(verb) if is(&command, verb))) {
                return Ok(None);
            }
            let said = attacks.iter().find_map(|a| a.command(&command));
            server.say_line(said.as_deref().unwrap_or(&command)).await?;
            if let Some(octets) = payload(&command) {
                client.carry(&mut server, octets).await?;
            }
            let reply = server.reply().await?;
            let (code, starttls) = (reply[0][..3].to_owned(), is(&command, "STARTTLS"));
            if !self.answer(&command, reply, &mut client).await? {
                return Ok(None);
            }
            match code.as_str() {
                "220" if starttls => {
                    for attack in &attacks {
                        if let Attack::Inject(lines) = attack {
                            client.say(lines).await?;
                        }
                    }
                    return Ok(Some((client.into_inner(), server.into_inner())));
                }
                // The honest server says `250 SALT` behind the 235 of HASHEDPASS.
                "235" => {
                    let salt = server.reply().await?;
                    if !self.answer("", salt, &mut client).await? {
                        return Ok(None);
                    }
                }
                "354" => {
                    while let Some(line) = client.line().await? {
                        server.say_line(&line).await?;
                        if line == "." {
                            break;
                        }
                    }
                    let reply = server.reply().await?;
                    if !self.answer("DATA END", reply, &mut client).await? {
                        return Ok(None);
                    }
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// Tells the client the answer, or what the attacks make of it; `false` where that was the last.
    async fn answer<C>(
        &self,
        command: &str,
        mut reply: Vec<String>,
        client: &mut Lines<C>,
    ) -> io::Result<bool>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let attacks = self.state.lock().unwrap().attacks.clone();
        for attack in &attacks {
            match attack {
                Attack::HangUp(verb) | Attack::LoseAnswer(verb) if is(command, verb) => return Ok(false),
                Attack::Silent(verb) if is(command, verb) => return client.drain().await.map(|()| false),
                Attack::Endless(verb, flood) if is(command, verb) => {
                    return without_end(*flood, client).await.map(|()| false);
                }
                _ => attack.reply(command, &mut reply),
            }
        }
        client.say_reply(&reply).await.map(|()| true)
    }
}

/// Until the other end has had enough.
pub(crate) async fn without_end<C: AsyncRead + AsyncWrite + Unpin>(
    flood: Flood,
    client: &mut Lines<C>,
) -> io::Result<()> {
    let (piece, pause) = flood.piece();
    loop {
        client.say(&piece).await?;
        if pause {
            tokio::time::sleep(TRICKLE).await;
        }
    }
}

/// Octets behind a command that are no commands.
fn payload(command: &str) -> Option<u64> {
    let words: Vec<&str> = command.split(' ').collect();
    match words.as_slice() {
        [verb, octets, ..] if verb.eq_ignore_ascii_case("BDAT") => octets.parse().ok(),
        [verb, _, octets] if verb.eq_ignore_ascii_case("XKEYRING") => octets.parse().ok(),
        _ => None,
    }
}
