//! Senders: each signs in at its own server with an app password and hands over one message after another, by DATA and
//! by BDAT, and again when it was cut off.

use super::{
    air::Kind,
    ledger::{Attempt, Fate, Ledger, octets},
    rng::Rng,
    servers::World,
};
use sealpost_proto::base64;
use std::{io, time::Duration};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::client::TlsStream;

/// The password of every account that ordinary mail programs use here.
pub const TOKEN: &str = "a-token-for-scripted-set-ups";

/// A server that is up answers within this time, on the slowest machine; one that was killed resets the connection.
const ANSWER: Duration = Duration::from_secs(60);

/// Octets of a BDAT chunk.
const CHUNK: usize = 60_000;

/// A signed-in session.
pub struct Session<'w> {
    world: &'w World,
    server: usize,
    stream: BufReader<TlsStream<TcpStream>>,
}

impl<'w> Session<'w> {
    pub async fn open(world: &'w World, server: usize, user: &str) -> io::Result<Self> {
        let stream = world.connect(server, world.servers[server].ports[1]).await?;
        let mut session = Self { world, server, stream: BufReader::new(stream) };
        session.expect("220").await?;
        session.say(b"EHLO client.example\r\n").await?;
        session.expect("250").await?;
        let login = base64::encode(format!("\0{user}\0{TOKEN}"));
        session.say(format!("AUTH PLAIN {login}\r\n").as_bytes()).await?;
        session.expect("235").await?;
        Ok(session)
    }

    async fn say(&mut self, octets: &[u8]) -> io::Result<()> {
        self.stream.write_all(octets).await?;
        self.stream.flush().await
    }

    async fn reply(&mut self) -> io::Result<String> {
        let whole = async {
            loop {
                let mut line = String::new();
                // A line without its end is no reply: the server died in the middle of it.
                if self.stream.read_line(&mut line).await? == 0 || !line.ends_with('\n') {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                if line.as_bytes().get(3) != Some(&b'-') {
                    return Ok(line);
                }
            }
        };
        timeout(ANSWER, whole).await.expect("a server hangs: no reply and no end")
    }

    async fn expect(&mut self, code: &str) -> io::Result<()> {
        let reply = self.reply().await?;
        if reply.starts_with(code) { Ok(()) } else { Err(io::Error::other(reply)) }
    }

    /// One message.
    async fn send(&mut self, rng: &mut Rng, attempt: &Attempt, octets: &[u8]) -> Fate {
        let chunked = rng.one_in(3);
        let outcome =
            if chunked { self.bdat(rng, attempt, octets).await } else { self.data(attempt, octets).await };
        outcome.unwrap_or(Fate::Broken)
    }

    fn envelope(attempt: &Attempt) -> String {
        let to = attempt.to.iter().map(|to| format!("RCPT TO:<{to}>\r\n")).collect::<Vec<_>>();
        format!("MAIL FROM:<{}>\r\n{}", attempt.from, to.concat())
    }

    async fn data(&mut self, attempt: &Attempt, octets: &[u8]) -> io::Result<Fate> {
        self.say(format!("{}DATA\r\n", Self::envelope(attempt)).as_bytes()).await?;
        for _ in 0..=attempt.to.len() {
            self.expect("250").await?;
        }
        self.expect("354").await?;
        let mut stuffed = Vec::with_capacity(octets.len() + 64);
        for line in octets.split_inclusive(|octet| *octet == b'\n') {
            if line[0] == b'.' {
                stuffed.push(b'.');
            }
            stuffed.extend_from_slice(line);
        }
        self.say(&stuffed).await?;
        // From here on nobody but the server knows.
        self.last(b".\r\n", Kind::FinalDot).await
    }

    async fn bdat(&mut self, rng: &mut Rng, attempt: &Attempt, octets: &[u8]) -> io::Result<Fate> {
        self.say(Self::envelope(attempt).as_bytes()).await?;
        for _ in 0..=attempt.to.len() {
            self.expect("250").await?;
        }
        let count = octets.len().div_ceil(CHUNK).max(1 + rng.below(2));
        let chunks: Vec<&[u8]> = octets.chunks(octets.len().div_ceil(count)).collect();
        for (at, chunk) in chunks.iter().enumerate() {
            let last = at + 1 == chunks.len();
            let command = format!("BDAT {}{}\r\n", chunk.len(), if last { " LAST" } else { "" });
            let half = chunk.len() / 2;
            self.say(&[command.as_bytes(), &chunk[..half]].concat()).await?;
            self.world.airs.moment(self.server, Kind::HalfChunk);
            if last {
                return self.last(&chunk[half..], Kind::LastChunk).await;
            }
            self.say(&chunk[half..]).await?;
            self.expect("250").await?;
        }
        unreachable!("there is a last chunk")
    }

    async fn last(&mut self, octets: &[u8], kind: Kind) -> io::Result<Fate> {
        if self.say(octets).await.is_err() {
            return Ok(Fate::Cut);
        }
        let ticket = self.world.airs.wait(self.server, kind);
        let Ok(reply) = self.reply().await else { return Ok(Fate::Cut) };
        ticket.replied();
        // Anything else than a yes is a no, also from a server that is being shut down.
        Ok(if reply.starts_with("250") { Fate::Answered } else { Fate::Broken })
    }
}

/// What a sender works from.
pub struct Sender<'w> {
    pub world: &'w World,
    pub ledger: &'w Ledger,
    pub seed: u64,
    pub server: usize,
    pub user: String,
    /// Who may get mail.
    pub people: &'w [String],
}

impl Sender<'_> {
    /// Sends messages with the numbers that `next` gives, until it gives none. Each is tried until it is answered.
    pub async fn run(&self, mut rng: Rng, mut next: impl FnMut() -> Option<u64>, pause: usize) {
        let mut session = None;
        while let Some(message) = next() {
            let mut to: Vec<String> = self.people.to_vec();
            let count = *rng.pick(&[1, 1, 1, 2, 4]);
            while to.len() > count {
                to.remove(rng.below(to.len()));
            }
            // Some above what the store keeps in its database.
            let size = if rng.one_in(50) { 130_000 + rng.below(150_000) } else { 20 + rng.below(4_000) };
            loop {
                let Some(open) = &mut session else {
                    session = Session::open(self.world, self.server, &self.user).await.ok();
                    if session.is_none() {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    continue;
                };
                let attempt = Attempt {
                    message,
                    sealed: false,
                    server: self.server,
                    from: self.user.clone(),
                    to: to.clone(),
                    size,
                    fate: None,
                };
                let number = self.ledger.begin(attempt.clone());
                let octets = octets(self.seed, number, &attempt);
                let fate = open.send(&mut rng, &attempt, &octets).await;
                self.ledger.end(number, fate);
                if fate == Fate::Answered {
                    break;
                }
                session = None;
            }
            tokio::time::sleep(Duration::from_millis(rng.below(pause) as u64)).await;
        }
    }
}
