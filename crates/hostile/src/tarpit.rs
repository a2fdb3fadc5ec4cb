//! A server that never gets to the point: it takes connections and holds on to whoever made them.

use crate::{attack::Flood, lines::Lines, listening::Listening, middle::without_end};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

/// A running tarpit on a free port of 127.0.0.1; stops when dropped.
pub struct Tarpit {
    /// Where it listens.
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    heard: Arc<AtomicU64>,
    _listening: Listening,
}

impl Tarpit {
    /// Shakes hands where there is an `acceptor` (without one it does not even do that), greets with `greeting`, and
    /// goes on with `flood` for ever; says nothing more where there is none.
    pub async fn start(
        acceptor: Option<TlsAcceptor>,
        greeting: &'static str,
        flood: Option<Flood>,
    ) -> io::Result<Self> {
        let connections = Arc::<AtomicUsize>::default();
        let heard = Arc::<AtomicU64>::default();
        let (count, log) = (Arc::clone(&connections), Arc::clone(&heard));
        let listening = Listening::start((Ipv4Addr::LOCALHOST, 0).into(), move |client| {
            count.fetch_add(1, Ordering::SeqCst);
            let (acceptor, log) = (acceptor.clone(), Arc::clone(&log));
            async move {
                match acceptor {
                    Some(acceptor) => hold(acceptor.accept(client).await?, greeting, flood, &log).await,
                    None => hold(client, greeting, flood, &log).await,
                }
            }
        });
        let listening = listening.await?;
        Ok(Self { address: listening.address, connections, heard, _listening: listening })
    }

    /// Octets that were said to it, inside TLS where there is TLS; not counted while it floods.
    pub fn heard(&self) -> u64 {
        self.heard.load(Ordering::SeqCst)
    }

    /// How many it caught.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn hold<C>(client: C, greeting: &str, flood: Option<Flood>, heard: &AtomicU64) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let mut client = Lines::new(client);
    client.say(greeting).await?;
    if let Some(flood) = flood {
        return without_end(flood, &mut client).await;
    }
    while let Some(line) = client.line().await? {
        heard.fetch_add(line.len() as u64 + 1, Ordering::SeqCst);
    }
    Ok(())
}
