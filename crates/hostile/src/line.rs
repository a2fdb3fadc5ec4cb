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
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
};

/// Octets carried at once.
const CHUNK: usize = 64 * 1024;

/// When a line breaks in an exchange: octets to the server, and octets back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breaks {
    /// The server has none of what was said.
    BeforeItIsHeard,
    /// The server has answered, and nothing of that arrives.
    BeforeItIsAnswered,
}

/// A break to come.
struct Plan {
    /// Exchanges until then, that one included.
    exchanges: u32,
    how: Breaks,
    /// Nothing comes through afterwards.
    stays: bool,
}

/// Whether connections come through, and how often all were cut.
type State = (bool, u64);

/// A running line; it breaks for good when dropped.
pub struct Line {
    /// Where it begins.
    pub address: SocketAddr,
    /// Whether connections come through; the number tells those apart that a cut ended.
    state: watch::Sender<State>,
    /// How many octets each of the next connections carries down before it breaks; without an end once these are used up.
    carries: Arc<Mutex<VecDeque<u64>>>,
    plan: Arc<Mutex<Option<Plan>>>,
    connections: Arc<AtomicU64>,
    open: Arc<()>,
    refused: Arc<AtomicU64>,
    _listening: Listening,
}

impl Line {
    /// From a free port at the address of `server` to `server`.
    pub async fn to(server: SocketAddr) -> io::Result<Self> {
        let (state, watched) = watch::channel((true, 0));
        let carries = Arc::<Mutex<VecDeque<u64>>>::default();
        let (connections, refused) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let plan = Arc::<Mutex<Option<Plan>>>::default();
        let (most, count, no) = (carries.clone(), connections.clone(), refused.clone());
        let (breaks, broken) = (plan.clone(), state.clone());
        // Each connection holds one more while it is open.
        let open = Arc::new(());
        let held = Arc::downgrade(&open);
        let listening = Listening::start((server.ip(), 0).into(), move |near| {
            let mut watched = watched.clone();
            let up = watched.borrow_and_update().0;
            let most = up.then(|| most.lock().unwrap().pop_front().unwrap_or(u64::MAX));
            let (breaks, broken, held) = (breaks.clone(), broken.clone(), held.upgrade());
            if up { &count } else { &no }.fetch_add(1, Ordering::SeqCst);
            async move {
                let (Some(most), Some(_held)) = (most, held) else { return Ok(()) };
                tokio::select! {
                    _ = watched.changed() => Ok(()),
                    end = carry(near, server, most, (&breaks, &broken)) => end,
                }
            }
        });
        let listening = listening.await?;
        let address = listening.address;
        Ok(Self { address, state, carries, plan, connections, open, refused, _listening: listening })
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

    /// Breaks once, in the exchange with this number from now on, the next one being the first.
    pub fn breaks_in(&self, exchange: u32, how: Breaks) {
        *self.plan.lock().unwrap() = Some(Plan { exchanges: exchange, how, stays: false });
    }

    /// The same, and lets no connection through afterwards until [`Line::mend`].
    pub fn breaks_and_stays_down_in(&self, exchange: u32, how: Breaks) {
        *self.plan.lock().unwrap() = Some(Plan { exchanges: exchange, how, stays: true });
    }

    /// Whether it was still to break; it does not now.
    pub fn holds(&self) -> bool {
        self.plan.lock().unwrap().take().is_some()
    }

    /// How many came while it was down.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::SeqCst)
    }

    /// How many are open now.
    pub fn open(&self) -> usize {
        Arc::strong_count(&self.open) - 1
    }

    /// How many came through.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }
}

type Broken<'a> = (&'a Mutex<Option<Plan>>, &'a watch::Sender<State>);

async fn carry(
    near: TcpStream,
    server: SocketAddr,
    mut most: u64,
    (plan, state): Broken<'_>,
) -> io::Result<()> {
    let (mut near_read, mut near_write) = near.into_split();
    let (mut far_read, mut far_write) = TcpStream::connect(server).await?.into_split();
    let (mut up, mut down) = (vec![0; CHUNK], vec![0; CHUNK]);
    // An exchange begins where something goes up behind something that came down.
    let (mut answered, mut last) = (true, None);
    let break_here = |planned: &Plan| {
        if planned.stays {
            state.send_modify(|(up, _)| *up = false);
        }
    };
    loop {
        tokio::select! {
            read = near_read.read(&mut up) => {
                let n = read?;
                if n == 0 {
                    return Ok(());
                }
                if std::mem::take(&mut answered) && let Some(planned) = due(plan) {
                    if planned.how == Breaks::BeforeItIsHeard {
                        break_here(&planned);
                        return Ok(());
                    }
                    last = Some(planned);
                }
                far_write.write_all(&up[..n]).await?;
            }
            read = far_read.read(&mut down) => {
                let n = read?.min(usize::try_from(most).unwrap_or(usize::MAX));
                if let Some(planned) = &last {
                    break_here(planned);
                    return Ok(());
                }
                if n == 0 {
                    return Ok(());
                }
                near_write.write_all(&down[..n]).await?;
                most -= n as u64;
                if most == 0 {
                    return near_write.shutdown().await;
                }
                answered = true;
            }
        }
    }
}

/// Counts an exchange; the break that is planned for it.
fn due(plan: &Mutex<Option<Plan>>) -> Option<Plan> {
    let mut plan = plan.lock().unwrap();
    let planned = plan.as_mut()?;
    planned.exchanges -= 1;
    if planned.exchanges == 0 { plan.take() } else { None }
}
