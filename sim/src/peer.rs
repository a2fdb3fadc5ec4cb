//! Mail servers of other domains, as they are met: busy, slow, forgetful, and gone at any octet. What one does is decided
//! by the seed, the recipient and how often it was asked, never by who was faster.

use crate::rng::Rng;
use sealpost_proto::drive::BoxStream;
use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream},
    time::sleep,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivatePkcs8KeyDer},
};

/// What became of one recipient at its server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fate {
    /// Times that the server took responsibility.
    pub taken: u32,
    /// Of these, times that the sender cannot have heard of it.
    pub unheard: u32,
    /// Attempts that named it.
    pub asked: u32,
    /// Whether it was refused for good.
    pub refused: bool,
}

/// All servers of one run.
#[derive(Debug)]
pub struct Peers {
    seed: u64,
    /// By recipient.
    fates: Mutex<BTreeMap<String, Fate>>,
    counts: Mutex<Counts>,
    tls: Arc<ServerConfig>,
}

/// Conversations, and how they were held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub connections: u64,
    /// That went on behind TLS.
    pub tls: u64,
    /// Messages that came by BDAT.
    pub chunked: u64,
}

/// The connection is gone.
struct Gone;

/// One end of a conversation that may be cut at any octet.
struct Wire {
    stream: BufReader<BoxStream>,
    /// Octets that still pass, both ways together.
    left: usize,
    pause: Duration,
}

impl Wire {
    async fn line(&mut self) -> Result<Vec<u8>, Gone> {
        let mut line = Vec::new();
        let budget = self.left as u64;
        let n = (&mut self.stream).take(budget).read_until(b'\n', &mut line).await.map_err(|_| Gone)?;
        self.left -= n;
        if line.ends_with(b"\n") { Ok(line) } else { Err(Gone) }
    }
    /// So many octets, which nobody looks at.
    async fn octets(&mut self, count: u64) -> Result<(), Gone> {
        let budget = count.min(self.left as u64);
        let mut part = (&mut self.stream).take(budget);
        let n = tokio::io::copy(&mut part, &mut tokio::io::sink()).await.map_err(|_| Gone)?;
        self.left -= usize::try_from(n).unwrap_or(self.left);
        if n == count { Ok(()) } else { Err(Gone) }
    }
    async fn say(&mut self, reply: &str) -> Result<(), Gone> {
        sleep(self.pause).await;
        let part = reply.len().min(self.left);
        self.left -= part;
        self.stream.write_all(&reply.as_bytes()[..part]).await.map_err(|_| Gone)?;
        self.stream.flush().await.map_err(|_| Gone)?;
        if part < reply.len() { Err(Gone) } else { Ok(()) }
    }
}

impl Peers {
    /// Servers whose moods `seed` decides.
    pub fn new(seed: u64) -> Self {
        Self { seed, fates: Mutex::default(), counts: Mutex::default(), tls: tls() }
    }

    /// What became of each recipient.
    pub fn fates(&self) -> MutexGuard<'_, BTreeMap<String, Fate>> {
        self.fates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Conversations so far.
    pub fn counts(&self) -> Counts {
        *self.count()
    }

    fn count(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn chance(&self, what: &str, times: u64) -> Rng {
        let mut hasher = DefaultHasher::new();
        (self.seed, what, times).hash(&mut hasher);
        Rng::new(hasher.finish())
    }

    /// A connection to a server of `domain`, unless it takes none.
    pub fn connect(self: &Arc<Self>, domain: &str) -> std::io::Result<DuplexStream> {
        let nth = {
            let mut counts = self.count();
            counts.connections += 1;
            counts.connections
        };
        let mut rng = self.chance(domain, nth);
        if rng.one_in(8) {
            return Err(std::io::ErrorKind::ConnectionRefused.into());
        }
        let (ours, theirs) = tokio::io::duplex(4096);
        let peers = Arc::clone(self);
        tokio::spawn(async move {
            let left = if rng.one_in(4) { rng.below(1500) } else { usize::MAX };
            // Longer than any of RFC 5321 §4.5.3.2's timeouts, now and then.
            let pause = Duration::from_secs([0, 0, 0, 1, 20, 4000][rng.below(6)]);
            let wire = Wire { stream: BufReader::new(Box::new(theirs)), left, pause };
            let _ = peers.talk(wire, &mut rng).await;
        });
        Ok(ours)
    }

    async fn talk(&self, mut wire: Wire, rng: &mut Rng) -> Result<(), Gone> {
        if rng.one_in(10) {
            return wire.say("421 4.3.2 busy\r\n").await;
        }
        wire.say("220 peer ESMTP\r\n").await?;
        let mut recipients: Vec<String> = Vec::new();
        // What it can do, and what it says of that, differs from one connection to the next.
        let (pipelining, chunking, mut starttls) = (rng.one_in(2), rng.one_in(2), rng.one_in(2));
        let mut chunks = false;
        loop {
            let line = wire.line().await?;
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            match verb.as_str() {
                "EHLO" => {
                    let offers = [
                        (pipelining, "250-PIPELINING\r\n"),
                        (chunking, "250-CHUNKING\r\n"),
                        (starttls, "250-STARTTLS\r\n"),
                    ];
                    let offers: String =
                        offers.iter().filter(|(there, _)| *there).map(|(_, line)| *line).collect();
                    wire.say(&format!("250-peer\r\n{offers}250 8BITMIME\r\n")).await?;
                }
                "STARTTLS" if starttls => {
                    starttls = false;
                    match rng.below(8) {
                        0 => wire.say("454 4.7.0 not now\r\n").await?,
                        1 => {
                            wire.say("220 2.0.0 go\r\n").await?;
                            return wire.say("and then no TLS\r\n").await;
                        }
                        _ => {
                            wire.say("220 2.0.0 go\r\n").await?;
                            let acceptor = TlsAcceptor::from(Arc::clone(&self.tls));
                            let stream = acceptor.accept(wire.stream.into_inner()).await.map_err(|_| Gone)?;
                            wire.stream = BufReader::new(Box::new(stream));
                            self.count().tls += 1;
                        }
                    }
                }
                "MAIL" => {
                    (recipients, chunks) = (Vec::new(), false);
                    let reply = if rng.one_in(12) { "451 4.3.0 not now\r\n" } else { "250 2.1.0 ok\r\n" };
                    wire.say(reply).await?;
                }
                "RCPT" => {
                    let recipient = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                    let asked = {
                        let mut fates = self.fates();
                        let fate = fates.entry(recipient.clone()).or_default();
                        fate.asked += 1;
                        u64::from(fate.asked)
                    };
                    let reply = match self.chance(&recipient, asked).below(10) {
                        0 => "450 4.2.1 later\r\n",
                        1 => {
                            self.fates().entry(recipient).or_default().refused = true;
                            "550 5.1.1 nobody\r\n"
                        }
                        _ => {
                            recipients.push(recipient);
                            "250 2.1.5 ok\r\n"
                        }
                    };
                    wire.say(reply).await?;
                }
                "DATA" if chunks || recipients.is_empty() => wire.say("554 5.5.1 no recipients\r\n").await?,
                "DATA" => {
                    wire.say("354 go\r\n").await?;
                    while wire.line().await? != b".\r\n" {}
                    self.judge(&mut wire, &recipients, rng).await?;
                    recipients.clear();
                }
                "BDAT" if chunking => {
                    let mut words = line.split(' ').skip(1);
                    let count = words.next().and_then(|count| count.parse().ok()).ok_or(Gone)?;
                    wire.octets(count).await?;
                    chunks = true;
                    match words.next() {
                        _ if recipients.is_empty() => wire.say("554 5.5.1 no recipients\r\n").await?,
                        Some("LAST") => {
                            self.count().chunked += 1;
                            self.judge(&mut wire, &recipients, rng).await?;
                            recipients.clear();
                        }
                        _ => wire.say("250 2.0.0 more\r\n").await?,
                    }
                }
                "RSET" | "NOOP" => wire.say("250 2.0.0 ok\r\n").await?,
                "QUIT" => return wire.say("221 2.0.0 bye\r\n").await,
                _ => wire.say("500 5.5.2 what?\r\n").await?,
            }
        }
    }

    /// The end of the data: taken, refused, or taken and never told.
    async fn judge(&self, wire: &mut Wire, recipients: &[String], rng: &mut Rng) -> Result<(), Gone> {
        let outcome = rng.below(12);
        match outcome {
            0 => return wire.say("451 4.3.0 no room\r\n").await,
            1 => {
                for recipient in recipients {
                    self.fates().entry(recipient.clone()).or_default().refused = true;
                }
                return wire.say("554 5.6.0 not that\r\n").await;
            }
            2 => return Err(Gone),
            _ => {}
        }
        let each = |change: fn(&mut Fate)| {
            let mut fates = self.fates();
            for recipient in recipients {
                change(fates.entry(recipient.clone()).or_default());
            }
        };
        each(|fate| fate.taken += 1);
        // Dies behind the acceptance: before a word, or in the middle of it.
        let heard = match outcome {
            3 => Err(Gone),
            4 => {
                wire.left = wire.left.min(rng.below(14));
                wire.say("250 2.0.0 ok\r\n").await
            }
            _ => wire.say("250 2.0.0 ok\r\n").await,
        };
        // Whether a late reply was heard is the sender's secret.
        if heard.is_err() || wire.pause > Duration::from_secs(500) {
            each(|fate| fate.unheard += 1);
        }
        heard
    }
}

/// A certificate that nobody knows: between servers TLS hides what passes, and proves no name without DANE.
fn tls() -> Arc<ServerConfig> {
    let key = rcgen::generate_simple_self_signed(["mx.example.com".to_owned()]).expect("a certificate");
    let secret = PrivatePkcs8KeyDer::from(key.signing_key.serialize_der());
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], secret.into())
        .expect("a key for it");
    Arc::new(config)
}
