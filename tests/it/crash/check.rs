//! Afterwards: what is in the mailboxes against the ledger, and the stores by themselves.

use super::{
    inspect,
    ledger::{Attempt, Fate, number_of, octets},
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
/// after the last kill. Says what does not add up.
pub fn compare(
    seed: u64,
    attempts: &BTreeMap<u64, Attempt>,
    kills: &[Timestamp],
    mailboxes: &BTreeMap<String, Vec<Copy>>,
    sealed: &BTreeMap<String, BTreeMap<u32, u64>>,
    calm: u64,
) -> Result<Tally, String> {
    let mut found: BTreeMap<(u64, &str), Vec<&Copy>> = BTreeMap::new();
    for (user, copies) in mailboxes {
        for copy in copies {
            let opened = sealed.get(user).and_then(|numbers| numbers.get(&copy.uid).copied());
            let what = format!("{user}, UID {}", copy.uid);
            let number = opened.or_else(|| number_of(&copy.octets)).ok_or_else(|| {
                format!("{what} is no message of ours: {}", String::from_utf8_lossy(&copy.octets))
            })?;
            let attempt = attempts.get(&number).ok_or_else(|| format!("{what} was never sent"))?;
            if !attempt.to.contains(user) {
                return Err(format!("{what} went to {:?}", attempt.to));
            }
            if attempt.sealed != opened.is_some() {
                return Err(format!("{what} was sealed and is not, or the other way round"));
            }
            if !attempt.sealed {
                whole(&copy.octets, &octets(seed, number, attempt))
                    .map_err(|fault| format!("{what}: {fault}"))?;
            }
            found.entry((number, user)).or_default().push(copy);
        }
    }
    let mut tally = Tally::default();
    let mut excuses = Excuses::new(kills);
    let mut messages: BTreeMap<(u64, &str), usize> = BTreeMap::new();
    for (number, attempt) in attempts {
        let got = |to: &String| found.get(&(*number, to.as_str())).map_or(0, Vec::len);
        let served = attempt.to.iter().filter(|to| got(to) > 0).count();
        let fault = |fault: &str| Err(format!("{fault}: attempt {number}, {attempt:?}"));
        match attempt.fate {
            Some(Fate::Answered) if served < attempt.to.len() => {
                return fault("lost though answered with 250");
            }
            Some(Fate::Answered) => tally.acknowledged += 1,
            Some(Fate::Cut) if served == 0 => tally.undone += 1,
            Some(Fate::Cut) if served < attempt.to.len() => return fault("half of a transaction"),
            Some(Fate::Cut) => tally.committed += 1,
            Some(Fate::Broken) if served > 0 => return fault("came though it never was whole"),
            Some(Fate::Broken) => {}
            None => return fault("never ended"),
        }
        for to in &attempt.to {
            let Some(copies) = found.get(&(*number, to.as_str())) else { continue };
            tally.delivered += copies.len();
            *messages.entry((attempt.message, to)).or_default() += 1;
            for pair in copies.windows(2) {
                if *number >= calm {
                    return fault("twice, and nobody had died");
                }
                if home(to) == attempt.server {
                    return fault("twice without a relay");
                }
                if !excuses.excuse(*number, home(to), pair[0].delivered) {
                    return fault("twice, and no server died meanwhile");
                }
                tally.relayed_again += 1;
            }
        }
    }
    // Nothing was ever given up: each message was tried until it was answered.
    let answered: BTreeSet<u64> =
        attempts.values().filter(|a| a.fate == Some(Fate::Answered)).map(|a| a.message).collect();
    if let Some(attempt) = attempts.values().find(|a| !answered.contains(&a.message)) {
        return Err(format!("a message without its 250: {attempt:?}"));
    }
    tally.sent_again = messages.values().map(|copies| copies - 1).sum();
    Ok(tally)
}

/// The octets end as they were sent, and before them stand trace fields alone.
fn whole(copy: &[u8], sent: &[u8]) -> Result<(), String> {
    let trace = copy.strip_suffix(sent).ok_or("the octets are not those that were sent")?;
    let known = |line: &str| ["Return-Path:", "Received:", "\t"].iter().any(|begin| line.starts_with(begin));
    match String::from_utf8_lossy(trace).lines().find(|line| !known(line)) {
        Some(line) => Err(format!("a line was put in: {line}")),
        None => Ok(()),
    }
}

/// What kills excuse: a delivery again of what was in the air at that moment, one for each connection.
struct Excuses {
    /// When, and which attempts were delivered again to each server because of it.
    kills: Vec<(Timestamp, [BTreeSet<u64>; 2])>,
}

impl Excuses {
    fn new(kills: &[Timestamp]) -> Self {
        Self { kills: kills.iter().map(|at| (*at, Default::default())).collect() }
    }

    /// What was delivered twice must have been in the air of a kill, and there is room for few.
    fn excuse(&mut self, attempt: u64, destination: usize, delivered: Timestamp) -> bool {
        // Dates have seconds.
        let near = |at: Timestamp| (delivered.0 - 1..=delivered.0 + UNSETTLED).contains(&at.0);
        let room = self.kills.iter_mut().find(|(at, excused)| {
            let there = &excused[destination];
            near(*at) && (there.contains(&attempt) || there.len() < RELAY_CONNECTIONS)
        });
        room.is_some_and(|(_, excused)| {
            excused[destination].insert(attempt);
            true
        })
    }
}

/// The stores of stopped servers.
pub fn stores(world: &World) {
    for server in &world.servers {
        inspect::inspect(&server.data, false)
            .unwrap_or_else(|fault| panic!("the store of {}: {fault}", DOMAINS[server.number]));
    }
}

/// That the comparison finds what it is there for: a book and mailboxes that agree, and then one thing wrong at a time.
#[cfg(test)]
mod tests {
    use super::*;

    const SEED: u64 = 7;
    const ANN: &str = "ann@example.net";
    const BEN: &str = "ben@example.com";

    struct Books {
        attempts: BTreeMap<u64, Attempt>,
        mailboxes: BTreeMap<String, Vec<Copy>>,
        kills: Vec<Timestamp>,
        calm: u64,
    }

    impl Books {
        /// Message 1 was cut and sent again, 2 broke off and was sent again; all at second 100, and a server died then.
        fn new() -> Self {
            let mut books = Self {
                attempts: BTreeMap::new(),
                mailboxes: BTreeMap::new(),
                kills: vec![Timestamp(100)],
                calm: 5,
            };
            for (number, message, fate) in
                [(1, 1, Fate::Cut), (2, 1, Fate::Answered), (3, 2, Fate::Broken), (4, 2, Fate::Answered)]
            {
                let to = vec![ANN.to_owned(), BEN.to_owned()];
                let from = ANN.to_owned();
                let attempt =
                    Attempt { message, sealed: false, server: 0, from, to, size: 90, fate: Some(fate) };
                books.attempts.insert(number, attempt);
            }
            for number in [1, 2, 4] {
                books.deliver(ANN, number, 100);
                books.deliver(BEN, number, 100);
            }
            books
        }

        fn deliver(&mut self, user: &str, number: u64, at: i64) {
            let copies = self.mailboxes.entry(user.to_owned()).or_default();
            let uid = u32::try_from(copies.len()).expect("few") + 1;
            let octets =
                [b"Received: by\r\n\tone\r\n", &*octets(SEED, number, &self.attempts[&number])].concat();
            copies.push(Copy { uid, delivered: Timestamp(at), octets });
        }

        fn lose(&mut self, user: &str, number: u64) {
            let copies = self.mailboxes.get_mut(user).expect("a mailbox");
            copies.retain(|copy| number_of(&copy.octets) != Some(number));
        }

        fn compare(&self) -> Result<Tally, String> {
            let sealed = BTreeMap::new();
            compare(SEED, &self.attempts, &self.kills, &self.mailboxes, &sealed, self.calm)
        }
    }

    #[test]
    fn books_that_agree_are_counted() {
        let mut books = Books::new();
        let tally = books.compare().expect("agreed");
        assert_eq!((tally.acknowledged, tally.delivered, tally.committed, tally.undone), (2, 6, 1, 0));
        assert_eq!((tally.sent_again, tally.relayed_again), (2, 0));
        // Undone is as good, for both together; and the relay may come again near a kill.
        books.lose(ANN, 1);
        books.lose(BEN, 1);
        books.deliver(BEN, 4, 102);
        let tally = books.compare().expect("agreed");
        assert_eq!((tally.committed, tally.undone), (0, 1));
        assert_eq!((tally.sent_again, tally.relayed_again), (0, 1));
    }

    #[test]
    fn every_fault_is_found() {
        type Fault = fn(&mut Books);
        let faults: [(&str, Fault); 12] = [
            ("lost though answered", |books| books.lose(BEN, 2)),
            ("half of a transaction", |books| books.lose(ANN, 1)),
            ("never was whole", |books| books.deliver(BEN, 3, 100)),
            ("twice without a relay", |books| books.deliver(ANN, 4, 100)),
            ("no server died", |books| {
                books.kills = vec![Timestamp(200)];
                books.deliver(BEN, 4, 100);
            }),
            ("no server died", |books| {
                // One kill does not excuse more than what its connections carried.
                for number in 10..15 {
                    let attempt = Attempt { message: number, ..books.attempts[&4].clone() };
                    books.attempts.insert(number, attempt);
                    books.calm = 20;
                    books.deliver(ANN, number, 100);
                    books.deliver(BEN, number, 100);
                    books.deliver(BEN, number, 100);
                }
            }),
            ("nobody had died", |books| {
                books.calm = 4;
                books.deliver(BEN, 4, 100);
            }),
            ("not those that were sent", |books| {
                let octets = &mut books.mailboxes.get_mut(BEN).expect("a mailbox")[0].octets;
                octets.pop();
            }),
            ("a line was put in", |books| {
                let octets = &mut books.mailboxes.get_mut(BEN).expect("a mailbox")[0].octets;
                octets.splice(0..0, *b"Bcc: x\r\n");
            }),
            ("no message of ours", |books| {
                let bounce = b"Subject: Undelivered\r\n\r\n".to_vec();
                let copy = Copy { uid: 9, delivered: Timestamp(100), octets: bounce };
                books.mailboxes.get_mut(ANN).expect("a mailbox").push(copy);
            }),
            ("without its 250", |books| {
                books.attempts.get_mut(&2).expect("an attempt").fate = Some(Fate::Cut);
            }),
            ("never ended", |books| books.attempts.get_mut(&4).expect("an attempt").fate = None),
        ];
        for (words, fault) in faults {
            let mut books = Books::new();
            fault(&mut books);
            let found = books.compare().expect_err(words);
            assert!(found.contains(words), "{words}: {found}");
        }
    }
}
