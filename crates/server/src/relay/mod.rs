//! The outbound queue's worker: claims what is due, takes it to the other domain's servers, settles what came of it.
//!
//! An entry is one message to one domain. It leaves the queue in the same transaction in which its last recipient is
//! done: delivered, or told of in a bounce. A crash before that leaves it in the queue, so a message may arrive twice
//! and never not at all (RFC 5321 §4.5.4.1, RFC 1047).

mod attempt;
mod bounce;
mod record;
mod route;
mod session;
mod settle;

use crate::context::Context;
use attempt::Open;
use sealpost_proto::address::Domain;
use sealpost_store::queue::{QueueEntry, QueueId};
use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    task::{Id, JoinSet},
    time::{Instant, sleep, timeout},
};

/// Entries claimed and not settled at any time: each may hold a message of up to 128 KiB in memory.
const CLAIMED_MAX: usize = 256;
/// Connections at once.
const CONNECTIONS_MAX: usize = 64;
/// Connections to one domain at once: what large receivers take without complaint.
const CONNECTIONS_PER_DOMAIN: usize = 4;
/// Messages sent over one connection before it is closed.
const PER_CONNECTION: usize = 32;
/// How long a connection is kept open for more mail to the domain. Long enough for the next of a conversation, short
/// enough that nobody's server minds (Postfix keeps 2 s, and closes what is silent for longer than minutes).
const KEEP: Duration = Duration::from_secs(5);
/// Connections kept at once, over all domains: each is a descriptor.
const KEPT_MAX: usize = 64;
/// A connection older than this is not kept: certificates, MX records and the other's patience change.
const AGE_MAX: Duration = Duration::from_secs(60);
/// How long a claim holds. Longer than [`DONE_WITHIN`], so that no other node takes an entry that this one still works
/// on.
const LEASE: Duration = Duration::from_secs(90 * 60);
/// An entry claimed longer ago than this is put back rather than begun.
const START_WITHIN: Duration = Duration::from_secs(20 * 60);
/// An entry must be sent within this time of its claim, whatever each step is allowed to take. It leaves 100 MiB an
/// hour at least: 256 kbit/s.
const DONE_WITHIN: Duration = Duration::from_secs(80 * 60);
/// Longest sleep: `next_due` is asked again at least this often, whatever the clocks do.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// Pause after the store failed.
const STORE_PAUSE: Duration = Duration::from_secs(5);
/// How long running deliveries may go on after the shutdown began.
const DRAIN: Duration = Duration::from_secs(10);

/// A claimed entry, and since when.
struct Claimed {
    entry: QueueEntry,
    since: Instant,
    /// Until it is settled.
    _held: Held,
}

/// The attempts under way: each entry, and how many it had before. One whose lease ends meanwhile (it was delivered, and
/// on a full disk that cannot be written down) is claimed again with the same number, and must not be begun again.
#[derive(Clone, Default)]
struct Attempts(Arc<Mutex<HashMap<QueueId, u32>>>);

impl Attempts {
    /// `None` if this very attempt is under way; the claim was then a new lease for it.
    fn begin(&self, entry: QueueEntry) -> Option<Claimed> {
        let (id, number) = (entry.id, entry.attempts);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.insert(id, number) == Some(number) {
            return None;
        }
        let held = Held { attempts: self.clone(), id, number };
        Some(Claimed { entry, since: Instant::now(), _held: held })
    }
}

struct Held {
    attempts: Attempts,
    id: QueueId,
    number: u32,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut all = self.attempts.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The next attempt may have begun between the commit and this.
        if all.get(&self.id) == Some(&self.number) {
            all.remove(&self.id);
        }
    }
}

#[derive(Default)]
struct Destination {
    waiting: VecDeque<Claimed>,
    connections: usize,
    /// Open connections that nobody uses, and when each goes.
    kept: Vec<(Open, Instant)>,
}

impl Destination {
    fn is_idle(&self) -> bool {
        self.connections == 0 && self.waiting.is_empty() && self.kept.is_empty()
    }
}

/// Entries under way, by domain.
#[derive(Default)]
struct Work {
    destinations: HashMap<Domain, Destination>,
    /// Deliveries; each gives back its connection if that can be used again.
    tasks: JoinSet<Option<Open>>,
    attempts: Attempts,
    running: HashMap<Id, (Domain, usize)>,
    claimed: usize,
}

/// Runs the queue until `shutdown` resolves; then lets deliveries under way end, in bounded time.
pub async fn run(ctx: Context, shutdown: impl Future<Output = ()> + Send) {
    let mut shutdown = std::pin::pin!(shutdown);
    let mut work = Work::default();
    loop {
        let pause = match claim(&ctx, &mut work).await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::error!(%error, "the outbound queue could not be read");
                STORE_PAUSE
            }
        };
        work.start(&ctx);
        let pause = work.expire().map_or(pause, |expiry| pause.min(expiry.duration_since(Instant::now())));
        tokio::select! {
            () = &mut shutdown => break,
            () = ctx.store.queue_changed() => {}
            () = sleep(pause) => {}
            Some(ended) = work.tasks.join_next_with_id() => work.ended(ended),
        }
    }
    work.close_kept();
    let drain = async {
        while let Some(ended) = work.tasks.join_next().await {
            if let Ok(Some(open)) = ended {
                work.tasks.spawn(async {
                    open.quit().await;
                    None
                });
            }
        }
    };
    if timeout(DRAIN, drain).await.is_err() {
        tracing::info!(deliveries = work.tasks.len(), "shutdown interrupts deliveries; they are tried again");
    }
}

/// Claims what is due as far as there is room; says how long to sleep.
async fn claim(ctx: &Context, work: &mut Work) -> Result<Duration, sealpost_store::StoreError> {
    let room = CLAIMED_MAX.saturating_sub(work.claimed);
    if room == 0 {
        // The end of a delivery wakes us.
        return Ok(SLEEP_MAX);
    }
    let now = ctx.clock.now();
    let entries = ctx.store.claim_due(now, LEASE, room).await?;
    let full = entries.len() == room;
    for entry in entries {
        let domain = entry.entry.domain.clone();
        let Some(claimed) = work.attempts.begin(entry) else { continue };
        work.claimed += 1;
        work.destinations.entry(domain).or_default().waiting.push_back(claimed);
    }
    if full {
        return Ok(SLEEP_MAX);
    }
    let seconds = ctx.store.next_due().await?.map_or(i64::MAX, |due| due.0.saturating_sub(now.0));
    Ok(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).clamp(Duration::from_secs(1), SLEEP_MAX))
}

impl Work {
    /// Starts connections for domains that have entries waiting.
    fn start(&mut self, ctx: &Context) {
        for (domain, destination) in &mut self.destinations {
            while !destination.waiting.is_empty()
                && destination.connections < CONNECTIONS_PER_DOMAIN
                && self.tasks.len() < CONNECTIONS_MAX
            {
                // Spread over the connections that may still be opened.
                let free = CONNECTIONS_PER_DOMAIN - destination.connections;
                let share = destination.waiting.len().div_ceil(free).min(PER_CONNECTION);
                let entries: Vec<Claimed> = destination.waiting.drain(..share).collect();
                destination.connections += 1;
                let count = entries.len();
                let open = destination.kept.pop().map(|(open, _)| open);
                let task = self.tasks.spawn(attempt::deliver(ctx.clone(), domain.clone(), entries, open));
                self.running.insert(task.id(), (domain.clone(), count));
            }
        }
    }
    /// Notes that a task has ended, be it by a panic: its entries come back when their lease is over.
    fn ended(&mut self, ended: Result<(Id, Option<Open>), tokio::task::JoinError>) {
        let (id, open) = ended.unwrap_or_else(|error| {
            tracing::error!(%error, "a delivery broke off");
            (error.id(), None)
        });
        let Some((domain, count)) = self.running.remove(&id) else { return };
        self.claimed = self.claimed.saturating_sub(count);
        let kept: usize = self.destinations.values().map(|destination| destination.kept.len()).sum();
        if let Some(destination) = self.destinations.get_mut(&domain) {
            destination.connections -= 1;
            match open {
                Some(open) if kept < KEPT_MAX => destination.kept.push((open, Instant::now() + KEEP)),
                Some(open) => drop(tokio::spawn(open.quit())),
                None => {}
            }
            if destination.is_idle() {
                self.destinations.remove(&domain);
            }
        }
    }
    /// Closes what was kept long enough; says when the next one is to go.
    fn expire(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let mut next = None;
        self.destinations.retain(|_, destination| {
            for (open, _) in destination.kept.extract_if(.., |(_, until)| *until <= now) {
                tokio::spawn(open.quit());
            }
            let soonest = destination.kept.iter().map(|(_, until)| *until).min();
            next = next.into_iter().chain(soonest).min();
            !destination.is_idle()
        });
        next
    }
    /// At the end: the others are told, and nobody waits for their answers.
    fn close_kept(&mut self) {
        for (open, _) in self.destinations.values_mut().flat_map(|destination| destination.kept.drain(..)) {
            self.tasks.spawn(async {
                open.quit().await;
                None
            });
        }
    }
}

#[cfg(test)]
mod tests;
