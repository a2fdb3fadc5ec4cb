//! What is in the air: which commands have been given to which server and wait for their reply, and which kills cut
//! them off.
//!
//! The measure of a kill that cut an open transaction: a command whose last octet the client had flushed before the
//! signal was sent, whose reply had not been read then, and whose reply never came. A server that was idle, a command
//! sent to a process already dead, and a reply that was on its way all the same do not count.

use sealpost_proto::time::{Clock as _, SystemClock, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::oneshot;

/// Commands that promise something when they are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The dot that ends DATA.
    FinalDot,
    /// BDAT LAST.
    LastChunk,
    /// SETPUBKEY.
    SetPubkey,
    /// XPASSWD.
    Xpasswd,
    /// XENROL.
    Xenrol,
    /// XKEYRING with octets.
    Xkeyring,
    /// APPEND and its literal.
    Append,
    /// STORE
    Store,
    /// MOVE
    Move,
    /// EXPUNGE
    Expunge,
    /// RENAME
    Rename,
    /// QUIT of POP3, behind DELE.
    Quit,
    /// Half of a BDAT chunk: a moment to aim at, and no promise.
    HalfChunk,
}

/// One kill.
#[derive(Debug, Clone)]
pub struct Kill {
    /// When.
    pub at: Timestamp,
    /// What was in the air.
    waiting: BTreeMap<u64, Kind>,
    /// What never got its reply.
    pub cut: Vec<Kind>,
}

#[derive(Default)]
struct Air {
    /// The number of the last command.
    next: u64,
    waiting: BTreeMap<u64, Kind>,
    kills: Vec<Kill>,
    trap: Option<Trap>,
}

/// A kill that waits for its moment.
struct Trap {
    kinds: Vec<Kind>,
    /// How long after the moment.
    delay: Duration,
    kill: Box<dyn FnOnce() + Send>,
    /// Dropped when it has snapped.
    _snapped: oneshot::Sender<()>,
}

/// The air around both servers.
#[derive(Default)]
pub struct Airs {
    servers: [Mutex<Air>; 2],
}

/// A command that waits for its reply.
pub struct Ticket {
    airs: Arc<Airs>,
    server: usize,
    number: u64,
    kind: Kind,
    replied: bool,
}

impl Airs {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    fn air<T>(&self, server: usize, with: impl FnOnce(&mut Air) -> T) -> T {
        with(&mut self.servers[server].lock().expect("no panic under the lock"))
    }

    /// A command of this kind has been flushed to a server.
    pub fn wait(self: &Arc<Self>, server: usize, kind: Kind) -> Ticket {
        let number = self.air(server, |air| {
            air.next += 1;
            air.waiting.insert(air.next, kind);
            air.next
        });
        let ticket = Ticket { airs: Arc::clone(self), server, number, kind, replied: false };
        self.moment(server, kind);
        ticket
    }

    /// A moment worth aiming at. Where a trap waits for it, the server dies here and now: who wakes another task to do it
    /// comes too late for the moment.
    pub fn moment(&self, server: usize, kind: Kind) {
        let trap = self.air(server, |air| air.trap.take_if(|trap| trap.kinds.contains(&kind)));
        if let Some(trap) = trap {
            // Less than what a timer can tell apart.
            std::thread::sleep(trap.delay);
            (trap.kill)();
        }
    }

    /// Has `kill` called `delay` after the next moment of one of these kinds. The receiver ends when it has been.
    pub fn trap(
        &self,
        server: usize,
        kinds: Vec<Kind>,
        delay: Duration,
        kill: impl FnOnce() + Send + 'static,
    ) -> oneshot::Receiver<()> {
        let (sender, snapped) = oneshot::channel();
        let trap = Trap { kinds, delay, kill: Box::new(kill), _snapped: sender };
        self.air(server, |air| air.trap = Some(trap));
        snapped
    }

    /// Takes a trap away.
    pub fn disarm(&self, server: usize) {
        self.air(server, |air| air.trap = None);
    }

    /// Notes what is in the air around a server and kills it with `kill`.
    pub fn kill(&self, server: usize, kill: impl FnOnce()) {
        self.air(server, |air| {
            // Taken, not copied: what this kill meets is nothing to the next one.
            let waiting = std::mem::take(&mut air.waiting);
            kill();
            air.kills.push(Kill { at: SystemClock.now(), waiting, cut: Vec::new() });
        });
    }

    /// The kills of a server so far.
    pub fn kills(&self, server: usize) -> Vec<Kill> {
        self.air(server, |air| air.kills.clone())
    }

    /// Kills so far, and how many of them cut a transaction.
    pub fn counts(&self, server: usize) -> (usize, usize) {
        self.air(server, |air| {
            (air.kills.len(), air.kills.iter().filter(|kill| !kill.cut.is_empty()).count())
        })
    }

    /// What was cut, by kind.
    pub fn cut(&self, server: usize) -> BTreeMap<Kind, usize> {
        let mut kinds = BTreeMap::new();
        self.air(server, |air| {
            for kill in &air.kills {
                for kind in kill.cut.iter().copied().collect::<BTreeSet<_>>() {
                    *kinds.entry(kind).or_default() += 1;
                }
            }
        });
        kinds
    }
}

impl Ticket {
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The reply came.
    pub fn replied(mut self) {
        self.replied = true;
    }

    /// No reply came, and none will. Whether a kill was the reason.
    pub fn lost(self) -> bool {
        let (airs, server, number) = (Arc::clone(&self.airs), self.server, self.number);
        airs.air(server, |air| air.kills.iter().any(|kill| kill.waiting.contains_key(&number)))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let (number, replied) = (self.number, self.replied);
        self.airs.air(self.server, |air| {
            air.waiting.remove(&number);
            let cut = air.kills.iter_mut().rev().find_map(|kill| Some((kill.waiting.remove(&number)?, kill)));
            if let Some((kind, kill)) = cut.filter(|_| !replied) {
                kill.cut.push(kind);
            }
        });
    }
}

/// The measure itself.
#[test]
fn only_what_waited_and_was_never_answered_was_cut() {
    let airs = Airs::new();
    let cut = airs.wait(0, Kind::FinalDot);
    let answered = airs.wait(0, Kind::LastChunk);
    let elsewhere = airs.wait(1, Kind::FinalDot);
    airs.wait(0, Kind::Xenrol).replied();
    airs.kill(0, || {});
    // The next kill, before anybody has noticed the first.
    airs.kill(0, || {});
    let late = airs.wait(0, Kind::SetPubkey);
    answered.replied();
    drop((cut, late, elsewhere));
    assert_eq!(airs.counts(0), (2, 1));
    assert_eq!(airs.cut(0), BTreeMap::from([(Kind::FinalDot, 1)]));
    airs.kill(0, || {});
    assert_eq!((airs.counts(0), airs.counts(1)), ((3, 1), (0, 0)));
}
