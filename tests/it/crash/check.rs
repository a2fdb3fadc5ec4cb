//! Afterwards: what is in the mailboxes against the ledger, and the stores by themselves.

use super::{
    air::Airs,
    inspect,
    ledger::{Fate, Ledger, number_of, octets},
    servers::{DOMAINS, World},
    smtp::TOKEN,
};
use sealpost_client::imap::{Imap, Selected};
use sealpost_proto::{
    imap::{SearchKey, SequenceSet},
    time::Timestamp,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    time::Duration,
};
use tokio::{net::TcpStream, time::sleep};
use tokio_rustls::client::TlsStream;

/// Relay connections to one domain at once, each with one message in the air (`server/src/relay`).
const RELAY_CONNECTIONS: usize = 4;

/// Seconds between the delivery of a message and the kill that kept its sender from knowing, at most: the reply, and
/// the commit that settles the entry, on a machine that does other things too.
const UNSETTLED: i64 = 5;

/// A message as found in a mailbox.
#[derive(Debug, Clone)]
pub struct Copy {
    pub uid: u32,
    pub delivered: Timestamp,
    /// With what the servers put before it.
    pub octets: Vec<u8>,
}

/// Counts of a round.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// Attempts answered with 250.
    pub acknowledged: usize,
    /// Copies found.
    pub delivered: usize,
    /// Attempts that were cut, and had been committed.
    pub committed: usize,
    /// Attempts that were cut, and had not.
    pub undone: usize,
    /// Second copies of the same message to the same person: the sender tried again after a cut that had been
    /// committed.
    pub sent_again: usize,
    /// The same, because the relay did.
    pub relayed_again: usize,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.delivered += other.delivered;
        self.committed += other.committed;
        self.undone += other.undone;
        self.sent_again += other.sent_again;
        self.relayed_again += other.relayed_again;
    }
}

/// The number of the server that an address is at.
pub fn home(address: &str) -> usize {
    usize::from(address.ends_with(DOMAINS[1]))
}

/// An IMAP session with an app password.
pub async fn mail(world: &World, user: &str) -> io::Result<Imap<TlsStream<TcpStream>>> {
    let server = home(user);
    let stream = world.connect(server, world.servers[server].ports[2]).await?;
    let mut imap = Imap::start(stream).await.map_err(io::Error::other)?;
    imap.login(user, TOKEN).await.map_err(io::Error::other)?;
    Ok(imap)
}

/// Everything in a mailbox.
pub async fn fetch(world: &World, user: &str, mailbox: &str) -> (Selected, Vec<Copy>) {
    let mut imap = mail(world, user).await.expect("the server is up");
    let selected = imap.examine(mailbox).await.expect("a mailbox");
    let mut copies = Vec::new();
    let uids = imap.search(SearchKey::All).await.expect("found");
    let metas = match SequenceSet::from_numbers(&uids) {
        Some(uids) => imap.fetch_meta(uids, &[]).await.expect("fetched"),
        None => Vec::new(),
    };
    for meta in metas {
        let mut octets = Vec::new();
        imap.fetch_message(meta.uid, u64::MAX, &mut octets, &mut |_, _| {}).await.expect("fetched");
        assert_eq!(octets.len() as u64, meta.size, "{user}: RFC822.SIZE of UID {}", meta.uid);
        copies.push(Copy { uid: meta.uid, delivered: meta.internal_date.expect("a date"), octets });
    }
    imap.logout().await.expect("logged out");
    (selected, copies)
}

/// Waits until nothing waits in either queue, twice over: a bounce would go into the other one.
pub async fn drained(world: &World) {
    let mut empty = 0;
    for _ in 0..1_200 {
        let queued = world.servers[0].queued().await + world.servers[1].queued().await;
        empty = if queued == 0 { empty + 1 } else { 0 };
        if empty == 2 {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("the queues do not drain: {}\n{}", world.servers[0].said(), world.servers[1].said());
}

/// Compares. `sealed` has the numbers of sealed copies, which stand inside; `calm` is the number of the first attempt
/// after the last kill.
pub fn compare(
    seed: u64,
    ledger: &Ledger,
    airs: &Airs,
    mailboxes: &BTreeMap<String, Vec<Copy>>,
    sealed: &BTreeMap<String, BTreeMap<u32, u64>>,
    calm: u64,
) -> Tally {
    let attempts = ledger.all();
    let mut found: BTreeMap<(u64, &str), Vec<&Copy>> = BTreeMap::new();
    for (user, copies) in mailboxes {
        for copy in copies {
            let opened = sealed.get(user).and_then(|numbers| numbers.get(&copy.uid).copied());
            let number = opened.or_else(|| number_of(&copy.octets)).unwrap_or_else(|| {
                panic!(
                    "{user}: UID {} is no message of ours: {}",
                    copy.uid,
                    String::from_utf8_lossy(&copy.octets)
                )
            });
            let attempt = attempts.get(&number).expect("an attempt");
            assert!(attempt.to.contains(user), "{user} got what went to {:?}", attempt.to);
            assert_eq!(attempt.sealed, opened.is_some(), "{user}: UID {} is not as it was sent", copy.uid);
            if !attempt.sealed {
                whole(user, copy, &octets(seed, number, attempt));
            }
            found.entry((number, user)).or_default().push(copy);
        }
    }
    let mut tally = Tally::default();
    let mut excused = Excuses::new(airs);
    let mut messages: BTreeMap<(u64, &str), usize> = BTreeMap::new();
    for (number, attempt) in &attempts {
        let got = |to: &String| found.get(&(*number, to.as_str())).map_or(0, Vec::len);
        let served = attempt.to.iter().filter(|to| got(to) > 0).count();
        let what = format!("attempt {number}, {attempt:?}");
        match attempt.fate.unwrap_or_else(|| panic!("{what} never ended")) {
            Fate::Answered => {
                assert_eq!(served, attempt.to.len(), "lost though answered with 250: {what}");
                tally.acknowledged += 1;
            }
            Fate::Cut => {
                assert!(served == 0 || served == attempt.to.len(), "half of a transaction: {what}");
                *(if served == 0 { &mut tally.undone } else { &mut tally.committed }) += 1;
            }
            Fate::Broken => assert_eq!(served, 0, "came though it never was whole: {what}"),
        }
        for to in &attempt.to {
            let Some(copies) = found.get(&(*number, to.as_str())) else { continue };
            tally.delivered += copies.len();
            *messages.entry((attempt.message, to)).or_default() += 1;
            for pair in copies.windows(2) {
                assert!(*number < calm, "twice, and nobody had died: {what}");
                assert_ne!(home(to), attempt.server, "twice without a relay: {what}");
                excused.excuse(*number, to, pair[0].delivered, &what);
                tally.relayed_again += 1;
            }
        }
    }
    // Nothing was ever given up: each message was tried until it was answered.
    let answered: BTreeSet<u64> =
        attempts.values().filter(|a| a.fate == Some(Fate::Answered)).map(|a| a.message).collect();
    let all: BTreeSet<u64> = attempts.values().map(|a| a.message).collect();
    assert_eq!(answered, all, "a message without its 250");
    tally.sent_again = messages.values().map(|copies| copies - 1).sum();
    tally
}

/// The octets end as they were sent, and before them stand trace fields alone.
fn whole(user: &str, copy: &Copy, sent: &[u8]) {
    let trace = copy
        .octets
        .strip_suffix(sent)
        .unwrap_or_else(|| panic!("{user}: the octets of UID {} are not those that were sent", copy.uid));
    for line in String::from_utf8_lossy(trace).lines() {
        let trace = ["Return-Path:", "Received:", "\t"].iter().any(|begin| line.starts_with(begin));
        assert!(trace, "{user}: UID {} was changed: {line}", copy.uid);
    }
}

/// What kills excuse: a delivery again of what was in the air at that moment, one for each connection.
struct Excuses {
    /// When, and how many deliveries to each server by one kill are still to be excused.
    kills: Vec<(Timestamp, [BTreeSet<u64>; 2])>,
}

impl Excuses {
    fn new(airs: &Airs) -> Self {
        let kills = (0..2).flat_map(|server| airs.kills(server));
        Self { kills: kills.map(|kill| (kill.at, Default::default())).collect() }
    }

    /// A delivery that was made again must have been in the air of a kill, and there is room for few.
    fn excuse(&mut self, attempt: u64, to: &str, delivered: Timestamp, what: &str) {
        let destination = home(to);
        // Dates have seconds.
        let near = |at: Timestamp| (delivered.0 - 1..=delivered.0 + UNSETTLED).contains(&at.0);
        let room = self.kills.iter_mut().find(|(at, excused)| {
            let there = &excused[destination];
            near(*at) && (there.contains(&attempt) || there.len() < RELAY_CONNECTIONS)
        });
        let (_, excused) = room.unwrap_or_else(|| panic!("twice, and no server died meanwhile: {what}"));
        excused[destination].insert(attempt);
    }
}

/// The stores of stopped servers.
pub fn stores(world: &World) {
    for server in &world.servers {
        inspect::inspect(&server.data, false)
            .unwrap_or_else(|fault| panic!("the store of {}: {fault}", DOMAINS[server.number]));
    }
}
