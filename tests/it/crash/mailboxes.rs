//! Mailboxes of a server that is killed amid APPEND, STORE, MOVE, EXPUNGE and RENAME, by several clients at once.
//!
//! Each client has a mailbox and one below it, and moves messages to a pool that all share. A command that was answered
//! OK has happened; one that was cut off has happened whole or not at all, which its client settles when the server is
//! back. A UID never means another message than before.

use super::{
    air::{Airs, Kind},
    inspect,
    rng::Rng,
};
use crate::{
    server::{ALICE, ALL_PORTS, Client, Server, Setup, TOKEN},
    support::eventually,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    process::ExitStatus,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Clients at once.
const CLIENTS: usize = 4;
/// What is aimed at, and how often each must have been cut off.
const KINDS: [Kind; 5] = [Kind::Append, Kind::Store, Kind::Move, Kind::Expunge, Kind::Rename];
const CUTS: usize = 3;
/// The shared mailbox.
const POOL: &str = "pool";
/// Nobody is killed more often, lest a kind that is never cut off run for ever.
const KILLS_MAX: usize = 400;

/// The server, which is there or not.
#[derive(Clone, Default)]
pub struct Running(Arc<Mutex<Option<Server>>>);

impl Running {
    fn lock(&self) -> MutexGuard<'_, Option<Server>> {
        self.0.lock().expect("no panic under the lock")
    }

    pub fn kill(&self, airs: &Airs) {
        // Held until it is dead: nobody may start another one before.
        let mut server = self.lock();
        if let Some(mut server) = server.take() {
            airs.kill(0, || server.process.kill().expect("a child"));
            server.process.wait().expect("a child");
        }
    }
}

impl Running {
    pub fn start(&self, setup: &Setup) {
        *self.lock() = Some(setup.start());
    }

    /// Asks it to end.
    pub fn end(&self) -> ExitStatus {
        self.lock().take().expect("it is up").end()
    }

    /// A session of IMAP, if the server is up.
    pub fn imap(&self, setup: &Setup) -> Option<Client> {
        let address = self.lock().as_ref()?.address("imaps");
        let mut client = Client::try_connect(address).ok()?.tls(&setup.path("cert.pem"));
        client.line().starts_with("* OK ").then_some(())?;
        ask(&mut client, &format!("LOGIN {ALICE} {TOKEN}"))?.contains("a OK ").then_some(client)
    }

    /// One of POP3, nobody signed in.
    pub fn pop3(&self, setup: &Setup) -> Option<Client> {
        let address = self.lock().as_ref()?.address("pop3s");
        let mut client = Client::try_connect(address).ok()?.tls(&setup.path("cert.pem"));
        client.line().starts_with("+OK").then_some(client)
    }
}

struct World {
    setup: Setup,
    airs: Arc<Airs>,
    running: Running,
    over: AtomicBool,
    /// UIDs of the pool as they were told, and the message that each means.
    pool: Mutex<BTreeMap<u32, u64>>,
}

/// What a client knows of a mailbox.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Mailbox {
    /// Numbers of messages by UID.
    messages: BTreeMap<u32, u64>,
    /// Those that have \Deleted.
    deleted: BTreeSet<u32>,
}

/// The state of a client's mailboxes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    /// The name of the first; the second lies below it.
    root: String,
    mailboxes: [Mailbox; 2],
}

/// A command that changes something.
#[derive(Debug, Clone)]
enum Change {
    Append(u64),
    Store(Vec<u32>),
    /// To the mailbox below, or to the pool.
    Move(Vec<u32>, bool),
    Expunge,
    Rename(String),
}

struct Worker<'w> {
    world: &'w World,
    number: u64,
    rng: Rng,
    client: Option<Client>,
    /// Before anything was made there is no state.
    state: State,
    messages: u64,
    /// What each UID of the two ever meant.
    given: [BTreeMap<u32, u64>; 2],
    validity: [Option<u32>; 2],
    /// Messages moved to the pool.
    pooled: BTreeSet<u64>,
    /// Commands without an answer that were found done, and not done.
    whole: usize,
    undone: usize,
}

/// The octets of a message: always the same for the same number, and some longer than what the database holds itself.
fn octets(number: u64) -> String {
    let mut rng = Rng::new(number);
    let mut text = format!("Message-ID: <{number}@crash.example>\r\nSubject: {number}\r\n\r\n");
    let end = if rng.one_in(20) { 130_000 } else { rng.below(3_000) };
    while text.len() < end {
        // Writing into a String cannot fail.
        let _ = write!(text, "{:016x}{:016x}\r\n", rng.draw(), rng.draw());
    }
    text + "the end\r\n"
}

/// Numbers of a set such as `3:5,9`.
pub fn numbers(set: &str) -> Vec<u32> {
    let number = |text: &str| text.parse::<u32>().expect("a number");
    let ranges = set.split(',').map(|range| range.split_once(':').unwrap_or((range, range)));
    ranges.flat_map(|(low, high)| number(low)..=number(high)).collect()
}

fn set(uids: &[u32]) -> String {
    uids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

impl World {
    /// A session, if the server is up.
    fn connect(&self) -> Option<Client> {
        self.running.imap(&self.setup)
    }
}

/// A command and all up to its tagged response; `None` where the connection ended before.
pub fn ask(client: &mut Client, command: &str) -> Option<String> {
    client.try_send(format!("a {command}\r\n").as_bytes()).ok()?;
    answer(client)
}

fn answer(client: &mut Client) -> Option<String> {
    let said = client.tagged();
    let last = said.lines().last()?;
    // A line without its end is no answer.
    (last.starts_with("a ") && said.ends_with('\n')).then_some(said)
}

/// A mailbox as the server has it: UIDVALIDITY and content. `Some(None)`: it is not there.
type Read = Option<Option<(u32, Mailbox)>>;

fn read(client: &mut Client, name: &str) -> Read {
    let examined = ask(client, &format!("EXAMINE {name}"))?;
    if examined.contains("a NO ") {
        return Some(None);
    }
    let (_, validity) = examined.split_once("[UIDVALIDITY ").expect("UIDVALIDITY");
    let validity = validity.split(']').next().and_then(|text| text.parse().ok()).expect("a number");
    client.try_send(b"a UID FETCH 1:* (FLAGS BODY.PEEK[])\r\n").ok()?;
    let mut mailbox = Mailbox::default();
    loop {
        let line = client.line();
        if line.starts_with("a OK") && line.ends_with('\n') {
            return Some(Some((validity, mailbox)));
        }
        let (_, items) = line.split_once(" FETCH (")?;
        let uid: u32 = items.split_once("UID ")?.1.split(' ').next()?.parse().ok()?;
        let size: usize = items.trim_end().strip_suffix('}')?.rsplit_once('{')?.1.parse().ok()?;
        let mut text = String::with_capacity(size);
        while text.len() < size {
            let line = client.line();
            if line.is_empty() {
                return None;
            }
            text += &line;
        }
        let number =
            text.split_once("Subject: ").and_then(|(_, rest)| rest.split_once("\r\n")).expect("a subject");
        let number = number.0.parse().expect("a number");
        assert!(text == octets(number), "UID {uid} of {name} is not as it was sent");
        assert!(mailbox.messages.insert(uid, number).is_none());
        if items.contains("\\Deleted") {
            mailbox.deleted.insert(uid);
        }
        client.line();
    }
}

impl<'w> Worker<'w> {
    fn new(world: &'w World, number: u64, rng: Rng) -> Self {
        let state = State { root: format!("w{number}"), mailboxes: Default::default() };
        Self {
            world,
            number,
            rng,
            client: None,
            state,
            messages: 0,
            given: Default::default(),
            validity: [None; 2],
            pooled: BTreeSet::new(),
            whole: 0,
            undone: 0,
        }
    }

    /// Changes mailboxes until it is over.
    fn run(mut self) -> Self {
        while !self.world.over.load(Ordering::SeqCst) {
            let change = self.draw();
            let Some(mut client) = self.client.take() else {
                self.reconnect();
                continue;
            };
            let (before, kind) = (self.state.clone(), change.kind());
            match self.apply(&mut client, &change) {
                Some(after) => {
                    self.state = after;
                    self.client = Some(client);
                }
                // Cut off, or refused by a server that ends.
                None => self.settle(&before, &change, kind),
            }
        }
        self.check();
        self
    }

    /// A session, when the server is there again.
    fn reconnect(&mut self) {
        self.client = Some(eventually("a session", || self.world.connect()));
    }

    fn draw(&mut self) -> Change {
        let first = &self.state.mailboxes[0];
        let mut some = || -> Vec<u32> {
            let uids = first.messages.keys().copied().filter(|_| self.rng.one_in(3));
            uids.collect()
        };
        match some() {
            uids if !uids.is_empty() && first.messages.len() > 3 => match self.rng.below(8) {
                0 | 1 => Change::Store(uids),
                2 | 3 => Change::Move(uids, self.rng.one_in(2)),
                4 | 5 if !first.deleted.is_empty() => Change::Expunge,
                6 => Change::Rename(format!("w{}.{}", self.number, self.rng.below(1_000_000))),
                _ => self.next_message(),
            },
            _ => self.next_message(),
        }
    }

    fn next_message(&mut self) -> Change {
        self.messages += 1;
        Change::Append(self.number * 1_000_000 + self.messages)
    }

    /// Sends a command whose reply is a promise; `None` if none came.
    fn promise(&self, client: &mut Client, kind: Kind, command: &str) -> Option<String> {
        client.try_send(format!("a {command}\r\n").as_bytes()).ok()?;
        let ticket = self.world.airs.wait(0, kind);
        let said = answer(client)?;
        ticket.replied();
        assert!(said.contains("a OK"), "{command}: {said}");
        Some(said)
    }

    /// Does it; the state afterwards as the answer tells it.
    fn apply(&mut self, client: &mut Client, change: &Change) -> Option<State> {
        let mut after = self.state.clone();
        let root = after.root.clone();
        let [first, second] = &mut after.mailboxes;
        if !matches!(change, Change::Append(_) | Change::Rename(_)) {
            ask(client, &format!("SELECT {root}"))?;
        }
        match change {
            Change::Append(number) => {
                let text = octets(*number);
                let command = format!("APPEND {root} {{{}+}}\r\n{text}", text.len());
                let said = self.promise(client, Kind::Append, &command)?;
                let (_, code) = said.split_once("[APPENDUID ").expect("APPENDUID");
                let uid = code.split([' ', ']']).nth(1).and_then(|uid| uid.parse().ok()).expect("a UID");
                self.give(0, uid, *number);
                first.messages.insert(uid, *number);
            }
            Change::Store(uids) => {
                let command = format!("UID STORE {} +FLAGS.SILENT (\\Deleted)", set(uids));
                self.promise(client, Kind::Store, &command)?;
                first.deleted.extend(uids);
            }
            Change::Move(uids, pool) => {
                let to = if *pool { POOL.to_owned() } else { format!("{root}/below") };
                let said = self.promise(client, Kind::Move, &format!("UID MOVE {} {to}", set(uids)))?;
                let (_, code) = said.split_once("[COPYUID ").expect("COPYUID");
                let mut words = code.split([' ', ']']).skip(1).map(numbers);
                let (from, to) = (words.next().expect("from"), words.next().expect("to"));
                assert_eq!((&from, to.len()), (uids, uids.len()));
                for (from, to) in from.into_iter().zip(to) {
                    let number = first.messages.remove(&from).expect("there");
                    let deleted = first.deleted.remove(&from);
                    if *pool {
                        self.pooled.insert(number);
                        let mut told = self.world.pool.lock().expect("no panic under the lock");
                        assert!(told.insert(to, number).is_none(), "UID {to} of the pool was given twice");
                        continue;
                    }
                    self.give(1, to, number);
                    second.messages.insert(to, number);
                    if deleted {
                        second.deleted.insert(to);
                    }
                }
            }
            Change::Expunge => {
                self.promise(client, Kind::Expunge, "EXPUNGE")?;
                for uid in std::mem::take(&mut first.deleted) {
                    first.messages.remove(&uid);
                }
            }
            Change::Rename(name) => {
                self.promise(client, Kind::Rename, &format!("RENAME {root} {name}"))?;
                after.root.clone_from(name);
            }
        }
        Some(after)
    }

    /// A UID means a message, and no other ever.
    fn give(&mut self, mailbox: usize, uid: u32, number: u64) {
        let before = *self.given[mailbox].entry(uid).or_insert(number);
        assert_eq!(before, number, "UID {uid} of {} came again", self.state.root);
    }

    /// Both mailboxes as they are, under whichever name.
    fn look(&mut self, names: &[String]) -> State {
        loop {
            self.reconnect();
            let Some(client) = &mut self.client else { continue };
            let mut found = Vec::new();
            for name in names {
                let (Some(first), Some(second)) =
                    (read(client, name), read(client, &format!("{name}/below")))
                else {
                    found.clear();
                    break;
                };
                assert_eq!(first.is_some(), second.is_some(), "{name} was renamed by half");
                if let (Some(first), Some(second)) = (first, second) {
                    found.push((name.clone(), [first, second]));
                }
            }
            let Some((root, mailboxes)) = found.pop() else { continue };
            assert!(found.is_empty(), "there are both {root} and {}", found[0].0);
            for (place, (validity, mailbox)) in mailboxes.iter().enumerate() {
                assert_eq!(
                    *self.validity[place].get_or_insert(*validity),
                    *validity,
                    "UIDVALIDITY of {root}"
                );
                for (uid, number) in &mailbox.messages {
                    self.give(place, *uid, *number);
                }
            }
            return State { root, mailboxes: mailboxes.map(|(_, mailbox)| mailbox) };
        }
    }

    /// What came of a command that was not answered: all of it or nothing.
    fn settle(&mut self, before: &State, change: &Change, kind: Kind) {
        let mut names = vec![before.root.clone()];
        if let Change::Rename(name) = change {
            names.push(name.clone());
        }
        let found = self.look(&names);
        if found == *before {
            self.undone += 1;
        } else {
            self.whole += 1;
            let whole = before.after(change, &found);
            assert!(whole == found, "half of {kind:?} {change:?}: {before:?} became {found:?}");
            if let Change::Move(uids, true) = change {
                self.pooled.extend(uids.iter().map(|uid| before.mailboxes[0].messages[uid]));
            }
        }
        self.state = found;
    }

    /// All that was promised is there.
    fn check(&mut self) {
        let name = self.state.root.clone();
        let found = self.look(&[name]);
        assert_eq!(found, self.state);
    }
}

impl Change {
    fn kind(&self) -> Kind {
        match self {
            Self::Append(_) => Kind::Append,
            Self::Store(_) => Kind::Store,
            Self::Move(..) => Kind::Move,
            Self::Expunge => Kind::Expunge,
            Self::Rename(_) => Kind::Rename,
        }
    }
}

impl State {
    /// After the whole of a change. The UIDs that were given are those in `found`.
    fn after(&self, change: &Change, found: &Self) -> Self {
        let mut after = self.clone();
        let [first, second] = &mut after.mailboxes;
        let [found_first, found_second] = &found.mailboxes;
        let uid_of = |mailbox: &Mailbox, number: u64| {
            let found = mailbox.messages.iter().find(|(_, is)| **is == number);
            found.map_or(0, |(uid, _)| *uid)
        };
        match change {
            Change::Append(number) => {
                first.messages.insert(uid_of(found_first, *number), *number);
            }
            Change::Store(uids) => first.deleted.extend(uids),
            Change::Move(uids, pool) => {
                for uid in uids {
                    let number = first.messages.remove(uid).expect("drawn from it");
                    let deleted = first.deleted.remove(uid);
                    if !pool {
                        let uid = uid_of(found_second, number);
                        second.messages.insert(uid, number);
                        if deleted {
                            second.deleted.insert(uid);
                        }
                    }
                }
            }
            Change::Expunge => {
                for uid in std::mem::take(&mut first.deleted) {
                    first.messages.remove(&uid);
                }
            }
            Change::Rename(name) => after.root.clone_from(name),
        }
        after
    }
}

/// Kills at a moment of each kind in turn, until all have been cut off often enough.
fn kill(world: &World, mut rng: Rng, least: Duration) {
    let begin = Instant::now();
    loop {
        let cut = world.airs.cut(0);
        let missing = KINDS.into_iter().find(|kind| cut.get(kind).copied().unwrap_or(0) < CUTS);
        let kind = match missing {
            Some(kind) => kind,
            None if begin.elapsed() >= least => return,
            None => *rng.pick(&KINDS),
        };
        let (kills, _) = world.airs.counts(0);
        assert!(kills < KILLS_MAX || !least.is_zero(), "{kills} kills cut off no more than {cut:?}");
        let most = *rng.pick(&[1, 500, 2_000, 6_000]);
        let (airs, running) = (Arc::clone(&world.airs), world.running.clone());
        let delay = Duration::from_micros(rng.below(most) as u64);
        let mut snapped = world.airs.trap(0, vec![kind], delay, move || running.kill(&airs));
        eventually("a moment to kill at", || {
            matches!(snapped.try_recv(), Err(tokio::sync::oneshot::error::TryRecvError::Closed)).then_some(())
        });
        world.running.start(&world.setup);
    }
}

#[test]
fn mailboxes_are_whole_when_the_server_is_killed() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let mut rng = Rng::new(number("CRASH_SEED").unwrap_or(1));
    let least = Duration::from_secs(number("CRASH_SECONDS").unwrap_or(0));
    let setup = Setup::new("[limits]\nno_limits = true\n", ALL_PORTS);
    setup.account(ALICE);
    let running = Running::default();
    running.start(&setup);
    let (airs, pool, over) = (Airs::new(), Mutex::default(), AtomicBool::new(false));
    let world = World { setup, airs, running, over, pool };
    let mut client = world.connect().expect("it is up");
    for name in (0..CLIENTS).map(|n| format!("w{n}/below")).chain([POOL.to_owned()]) {
        assert!(ask(&mut client, &format!("CREATE {name}")).is_some_and(|said| said.contains("a OK")));
    }
    let workers: Vec<Worker<'_>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..CLIENTS)
            .map(|n| Worker::new(&world, n as u64, rng.fork()))
            .map(|worker| scope.spawn(move || worker.run()))
            .collect();
        let killer = scope.spawn(|| kill(&world, rng.fork(), least));
        let ended = killer.join();
        world.over.store(true, Ordering::SeqCst);
        let workers = workers.into_iter().map(|worker| worker.join().expect("no fault")).collect();
        ended.expect("no fault");
        workers
    });

    let mut client = world.connect().expect("it is up");
    let (_, pool) = read(&mut client, POOL).expect("it is up").expect("the pool");
    let told = world.pool.lock().expect("no panic under the lock");
    for (uid, number) in told.iter() {
        assert_eq!(pool.messages.get(uid), Some(number), "UID {uid} of the pool");
    }
    let mut found: Vec<u64> = pool.messages.into_values().collect();
    found.sort_unstable();
    let moved: BTreeSet<u64> = workers.iter().flat_map(|worker| worker.pooled.iter().copied()).collect();
    assert!(
        found.iter().eq(&moved),
        "{} messages were moved to the pool, and {} are there",
        moved.len(),
        found.len()
    );
    assert!(world.running.end().success());
    inspect::inspect(&world.setup.path("data"), false).unwrap_or_else(|fault| panic!("the store: {fault}"));
    let (kills, cuts) = world.airs.counts(0);
    let (whole, undone) = workers.iter().fold((0, 0), |(w, u), worker| (w + worker.whole, u + worker.undone));
    println!(
        "{kills} kills, {cuts} cut commands off: {:?}; {whole} were done, {undone} not",
        world.airs.cut(0)
    );
}
