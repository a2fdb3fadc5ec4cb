//! A server that never gets to the point: it takes connections and holds on to whoever made them.

use crate::{attack::Flood, lines::Lines, middle::without_end};
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
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
        let count = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            let mut sessions = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let acceptor = acceptor.clone();
                sessions.spawn(async move {
                    let _ = match acceptor {
                        Some(acceptor) => match acceptor.accept(client).await {
                            Ok(client) => hold(client, greeting, flood).await,
                            Err(error) => Err(error),
                        },
                        None => hold(client, greeting, flood).await,
                    };
                });
            }
        });
        Ok(Self { address, connections, task })
    }

    /// How many it caught.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn hold<C>(client: C, greeting: &str, flood: Option<Flood>) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let mut client = Lines::new(client);
    client.say(greeting).await?;
    match flood {
        Some(flood) => without_end(flood, &mut client).await,
        None => client.drain().await,
    }
}

impl Drop for Tarpit {
    fn drop(&mut self) {
        self.task.abort();
    }
}
