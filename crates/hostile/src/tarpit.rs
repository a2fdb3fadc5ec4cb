//! A server that never gets to the point: it takes connections and holds on to whoever made them.

use crate::{attack::Flood, lines::Lines, middle::without_end};
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

/// A running tarpit on a free port of 127.0.0.1; stops when dropped.
pub struct Tarpit {
    /// Where it listens.
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    heard: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Tarpit {
    /// Shakes hands where there is an `acceptor` (without one it does not even do that), greets with `greeting`, and
    /// goes on with `flood` for ever; says nothing more where there is none.
    pub async fn start(
        acceptor: Option<TlsAcceptor>,
        greeting: &'static str,
        flood: Option<Flood>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let connections = Arc::<AtomicUsize>::default();
        let heard = Arc::<AtomicU64>::default();
        let (count, log) = (Arc::clone(&connections), Arc::clone(&heard));
        let task = tokio::spawn(async move {
            let mut sessions = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let (acceptor, log) = (acceptor.clone(), Arc::clone(&log));
                sessions.spawn(async move {
                    let _ = match acceptor {
                        Some(acceptor) => match acceptor.accept(client).await {
                            Ok(client) => hold(client, greeting, flood, &log).await,
                            Err(error) => Err(error),
                        },
                        None => hold(client, greeting, flood, &log).await,
                    };
                });
            }
        });
        Ok(Self { address, connections, heard, task })
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

impl Drop for Tarpit {
    fn drop(&mut self) {
        self.task.abort();
    }
}
