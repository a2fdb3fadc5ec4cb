//! A line to a server that can break, and be mended: octets pass as they are.

use crate::listening::Listening;
use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::TcpStream,
    sync::watch,
};

/// A running line; it breaks for good when dropped.
pub struct Line {
    /// Where it begins.
    pub address: SocketAddr,
    /// Whether connections come through; the number tells those apart that a cut ended.
    state: watch::Sender<(bool, u64)>,
    /// How many octets each of the next connections carries down before it breaks; without an end once these are used up.
    carries: Arc<Mutex<VecDeque<u64>>>,
    connections: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
    _listening: Listening,
}

impl Line {
    /// From a free port at the address of `server` to `server`.
    pub async fn to(server: SocketAddr) -> io::Result<Self> {
        let (state, watched) = watch::channel((true, 0));
        let carries = Arc::<Mutex<VecDeque<u64>>>::default();
        let (connections, refused) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let (plan, count, no) = (carries.clone(), connections.clone(), refused.clone());
        let listening = Listening::start((server.ip(), 0).into(), move |near| {
            let mut watched = watched.clone();
            let up = watched.borrow_and_update().0;
            let most = up.then(|| plan.lock().unwrap().pop_front().unwrap_or(u64::MAX));
            if up { &count } else { &no }.fetch_add(1, Ordering::SeqCst);
            async move {
                let Some(most) = most else { return Ok(()) };
                tokio::select! {
                    _ = watched.changed() => Ok(()),
                    end = carry(near, server, most) => end,
                }
            }
        });
        let listening = listening.await?;
        let address = listening.address;
        Ok(Self { address, state, carries, connections, refused, _listening: listening })
    }

    /// Ends all connections; new ones come through.
    pub fn cut(&self) {
        self.state.send_modify(|(_, cuts)| *cuts += 1);
    }

    /// Ends all connections, and lets none through until [`Line::mend`].
    pub fn down(&self) {
        self.state.send_modify(|(up, cuts)| (*up, *cuts) = (false, *cuts + 1));
    }

    /// Connections come through again.
    pub fn mend(&self) {
        self.state.send_modify(|(up, _)| *up = true);
    }

    /// How many octets each of the next connections carries from the server before it breaks.
    pub fn carries(&self, octets: impl IntoIterator<Item = u64>) {
        *self.carries.lock().unwrap() = octets.into_iter().collect();
    }

    /// How many came while it was down.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::SeqCst)
    }

    /// How many came through.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn carry(mut near: TcpStream, server: SocketAddr, most: u64) -> io::Result<()> {
    let mut far = TcpStream::connect(server).await?;
    if most == u64::MAX {
        return copy_bidirectional(&mut near, &mut far).await.map(drop);
    }
    let ((mut near_read, mut near_write), (far_read, mut far_write)) = (near.split(), far.split());
    let mut far_read = far_read.take(most);
    tokio::select! {
        up = tokio::io::copy(&mut near_read, &mut far_write) => up?,
        down = tokio::io::copy(&mut far_read, &mut near_write) => down?,
    };
    near_write.shutdown().await
}
