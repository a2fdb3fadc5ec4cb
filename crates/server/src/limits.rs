//! Counting what a network may do in a stretch of time (profile §4): a sharded table in memory, bounded in size,
//! with the clock handed in.

use sealpost_proto::time::{Clock, Timestamp};
use std::{
    collections::HashMap,
    hash::{BuildHasher as _, Hash, RandomState},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Of a message at least this many octets must come in a second on average, ...
const RATE_MIN: u64 = 4096;
/// ... after this start: octets that trickle in do not hold a session open for ever.
const RATE_START: Duration = Duration::from_secs(600);

/// Until when more of a message must have come, of which there are `octets` since `since`.
pub(crate) fn transfer_deadline(since: Instant, octets: u64) -> Instant {
    since + RATE_START + Duration::from_secs(octets / RATE_MIN)
}

/// Shards, so that sessions on several cores seldom meet on one lock.
const SHARDS: usize = 16;
/// Entries in one shard: 16 × 8192 networks take some 10 MB at most, and a flood of addresses cannot take more.
const SHARD_ENTRIES: usize = 8192;

/// What limits are counted for: one IPv4 address, or one IPv6 /64 (profile §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network(u64, bool);

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(u64::from(u32::from(v4)), false),
            IpAddr::V6(v6) => Self(u64::try_from(u128::from(v6) >> 64).unwrap_or_default(), true),
        }
    }
}

#[derive(Clone, Copy)]
struct Window {
    since: Timestamp,
    count: u32,
}

struct Shard<K> {
    windows: HashMap<K, Window>,
    /// When expired windows were last cleared away: at most once a second, so that a flood cannot make it the work.
    swept: Timestamp,
}

/// At most `max` events for each key in `seconds`, counted from the first one.
pub struct Limiter<K> {
    shards: Vec<Mutex<Shard<K>>>,
    hasher: RandomState,
    clock: Arc<dyn Clock>,
    max: u32,
    seconds: i64,
}

impl<K: Hash + Eq + Clone> Limiter<K> {
    /// A limiter; `max` 0 means no limit.
    pub fn new(clock: Arc<dyn Clock>, max: u32, seconds: i64) -> Self {
        let shards = (0..SHARDS)
            .map(|_| Mutex::new(Shard { windows: HashMap::new(), swept: Timestamp(i64::MIN) }))
            .collect();
        Self { shards, hasher: RandomState::new(), clock, max, seconds }
    }

    fn shard(&self, key: &K) -> std::sync::MutexGuard<'_, Shard<K>> {
        let index = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or_default();
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self, window: Window, now: Timestamp) -> bool {
        now < window.since || now >= window.since.plus(self.seconds)
    }

    /// Whether another event is still allowed; counts nothing.
    pub fn has_room(&self, key: &K) -> bool {
        if self.max == 0 {
            return true;
        }
        let now = self.clock.now();
        self.shard(key).windows.get(key).is_none_or(|w| self.is_over(*w, now) || w.count < self.max)
    }

    /// Counts an event; false if it is one too many.
    pub fn take(&self, key: &K) -> bool {
        if self.max == 0 {
            return true;
        }
        let now = self.clock.now();
        let mut shard = self.shard(key);
        let Shard { windows, swept } = &mut *shard;
        if windows.len() >= SHARD_ENTRIES && !windows.contains_key(key) {
            if *swept != now {
                *swept = now;
                windows.retain(|_, w| !self.is_over(*w, now));
            }
            // Still full: a flood from many networks. The least guilty of a few goes, so that the guilty stay.
            if windows.len() >= SHARD_ENTRIES
                && let Some(victim) =
                    windows.iter().take(16).min_by_key(|(_, w)| w.count).map(|(k, _)| k.clone())
            {
                windows.remove(&victim);
            }
        }
        let window = windows.entry(key.clone()).or_insert(Window { since: now, count: 0 });
        if self.is_over(*window, now) {
            *window = Window { since: now, count: 0 };
        }
        window.count = window.count.saturating_add(1);
        window.count <= self.max
    }
}

/// At most `max` of something at once for each key.
pub struct Gauge<K: Hash + Eq + Clone> {
    counts: Arc<Mutex<HashMap<K, u32>>>,
    max: u32,
}

impl<K: Hash + Eq + Clone> Gauge<K> {
    /// A gauge; `max` 0 means no limit. Bounded by the number of sessions.
    pub fn new(max: u32) -> Self {
        Self { counts: Arc::default(), max }
    }

    /// Takes a place until the guard is dropped.
    pub fn enter(&self, key: K) -> Option<Entered<K>> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(key.clone()).or_insert(0);
        if self.max != 0 && *count >= self.max {
            return None;
        }
        *count = count.saturating_add(1);
        Some(Entered { counts: self.counts.clone(), key })
    }
}

/// A place taken in a [`Gauge`].
pub struct Entered<K: Hash + Eq + Clone> {
    counts: Arc<Mutex<HashMap<K, u32>>>,
    key: K,
}

impl<K: Hash + Eq + Clone> Drop for Entered<K> {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicI64, Ordering};

    struct Hand(AtomicI64);
    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp(self.0.load(Ordering::Relaxed))
        }
    }

    #[test]
    fn counts_in_a_window() {
        let clock = Arc::new(Hand(AtomicI64::new(1000)));
        let limiter = Limiter::new(clock.clone(), 3, 60);
        for _ in 0..3 {
            assert!(limiter.has_room(&1));
            assert!(limiter.take(&1));
        }
        assert!(!limiter.has_room(&1) && !limiter.take(&1));
        assert!(limiter.has_room(&2));
        clock.0.store(1059, Ordering::Relaxed);
        assert!(!limiter.has_room(&1));
        clock.0.store(1060, Ordering::Relaxed);
        assert!(limiter.has_room(&1) && limiter.take(&1));
    }

    #[test]
    fn stays_bounded() {
        let limiter = Limiter::new(Arc::new(Hand(AtomicI64::new(0))), 3, 60);
        for i in 0..(SHARDS * SHARD_ENTRIES * 2) {
            limiter.take(&i);
        }
        assert!(limiter.shards.iter().all(|s| s.lock().unwrap().windows.len() <= SHARD_ENTRIES));
    }

    /// The key of failed logins is the largest: a network and a name.
    #[test]
    fn a_flood_of_names_from_a_flood_of_networks_takes_little_memory() {
        const NAMES: u64 = 400_000;
        let limiter = Limiter::new(Arc::new(Hand(AtomicI64::new(0))), 10, 600);
        let key = |n: u64| (Network(n, true), u128::from(n).to_ne_bytes());
        // Who is guessing already is not pushed out by the flood that follows.
        for _ in 0..10 {
            assert!(limiter.take(&key(0)));
        }
        for n in 1..NAMES {
            limiter.take(&key(n));
        }
        let entry = size_of::<((Network, [u8; 16]), Window)>() + 1;
        let entries: usize = limiter.shards.iter().map(|s| s.lock().unwrap().windows.capacity()).sum();
        // A table of hashbrown has room for eighths of a power of two, and a control octet for each place.
        let octets = entries * 8 / 7 * entry;
        assert!(octets < 16 * 1024 * 1024, "{octets} octets");
        assert!(!limiter.take(&key(0)), "the guilty are forgotten");
    }

    #[test]
    fn networks() {
        let net = |s: &str| Network::from(s.parse::<IpAddr>().unwrap());
        assert_eq!(net("2001:db8::1"), net("2001:db8::ffff"));
        assert_ne!(net("2001:db8::1"), net("2001:db8:0:1::1"));
        assert_eq!(net("192.0.2.1"), net("::ffff:192.0.2.1"));
        assert_ne!(net("192.0.2.1"), net("192.0.2.2"));
    }

    #[test]
    fn gauge_counts_what_is_open() {
        let gauge = Gauge::new(2);
        let (a, _b) = (gauge.enter(1).unwrap(), gauge.enter(1).unwrap());
        assert!(gauge.enter(1).is_none() && gauge.enter(2).is_some());
        drop(a);
        assert!(gauge.enter(1).is_some());
    }
}
