//! Crash tests of real processes: two servers that are killed (SIGKILL) again and again while mail flows between them.
//!
//! A round is a world of its own; its seed decides who sends what to whom, and when and at what moment which server is
//! killed, as far as real processes can be told. `CRASH_SEED` gives the seed, `CRASH_SECONDS` runs rounds for that long:
//! `make crash SEED=1 SECONDS=3600`.

mod air;
mod check;
#[path = "../../../sim/src/inspect.rs"]
mod inspect;
mod killer;
mod ledger;
mod mailboxes;
mod maildrop;
mod people;
#[allow(dead_code, reason = "the simulation's, which draws in more ways")]
#[path = "../../../sim/src/rng.rs"]
mod rng;
mod servers;
mod smtp;

use air::Kind;
use check::Tally;
use ledger::{Fate, Ledger};
use people::{Accounts, Person};
use rng::Rng;
use sealpost_server::admin::{Request, Response};
use servers::{DOMAINS, World};
use smtp::{Sender, TOKEN};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// Messages of a round, at least.
const MESSAGES: u64 = 2_000;
/// Messages after the last kill, which must arrive once each.
const CALM: u64 = 60;
/// Kills of each server that must have cut an open transaction.
const CUTS: usize = 20;
/// Users of each server who send by ordinary mail programs.
const SENDERS: usize = 4;
/// Users of each server with the client library.
const PEOPLE: usize = 4;
/// Milliseconds within which people enrol.
const ARRIVALS: usize = 8_000;
/// Most milliseconds between two things that somebody does.
const PAUSE: usize = 800;
/// A round that has not had its kills by then fails.
const ROUND: Duration = Duration::from_secs(600);

/// What a round or several came to.
#[derive(Debug, Default)]
struct Report {
    rounds: usize,
    tally: Tally,
    accounts: Accounts,
    kills: [usize; 2],
    cuts: [usize; 2],
    kinds: BTreeMap<Kind, usize>,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Tally { acknowledged, delivered, committed, undone, sent_again, relayed_again } = self.tally;
        writeln!(f, "rounds:           {}", self.rounds)?;
        for (server, domain) in DOMAINS.iter().enumerate() {
            let (kills, cuts) = (self.kills[server], self.cuts[server]);
            writeln!(f, "{domain}:      {kills} kills, of which {cuts} cut an open transaction")?;
        }
        writeln!(f, "cut off:          {:?}", self.kinds)?;
        writeln!(f, "messages:         {acknowledged} acknowledged, {delivered} copies delivered")?;
        writeln!(f, "cut, unanswered:  {committed} found committed, {undone} found undone")?;
        writeln!(
            f,
            "duplicates:       {sent_again} sent again after a lost reply, {relayed_again} relayed again"
        )?;
        writeln!(f, "enrolments:       {}", self.accounts.enrolments)?;
        writeln!(f, "key rotations:    {}", self.accounts.rotations)?;
        write!(f, "password changes: {}", self.accounts.passwords)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_servers_are_killed() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let mut seed = number("CRASH_SEED").unwrap_or(1);
    let until = Instant::now() + Duration::from_secs(number("CRASH_SECONDS").unwrap_or(0));
    let mut report = Report::default();
    loop {
        let world = World::new().await;
        println!("seed {seed}, in {}", world.dir.path().display());
        round(seed, &world, &mut report).await;
        world.passed();
        println!("{report}");
        if Instant::now() >= until {
            break;
        }
        seed += 1;
    }
}

/// A round in progress.
struct Round<'w> {
    seed: u64,
    world: &'w World,
    ledger: &'w Ledger,
    /// Who sends and receives with ordinary mail programs.
    users: &'w [String],
    /// Who has enrolled.
    enrolled: Mutex<Vec<String>>,
    /// Numbers for sealed messages, which begin where those of others never get to.
    sealed: AtomicU64,
}

impl Round<'_> {
    /// Mail programs send, each message until it is answered, until `next` has no number more.
    async fn send(&self, mut rng: Rng, next: impl Fn() -> Option<u64> + Copy, pause: usize) {
        let senders = self.users.iter().map(|user| {
            let rng = rng.fork();
            async move {
                let (world, ledger, server) = (self.world, self.ledger, check::home(user));
                let sender =
                    Sender { world, ledger, seed: self.seed, server, user: user.clone(), people: self.users };
                sender.run(rng, next, pause).await;
            }
        });
        join_all(senders).await;
    }

    /// Somebody enrols and goes on until `over`.
    async fn live(&self, mut rng: Rng, person: &mut Person<'_>, code: &str, over: impl Fn() -> bool) {
        sleep(Duration::from_millis(rng.below(ARRIVALS) as u64)).await;
        person.enrol(&mut rng, code).await;
        self.enrolled.lock().expect("no panic under the lock").push(person.address.clone());
        while !over() {
            sleep(Duration::from_millis(rng.below(PAUSE) as u64)).await;
            match rng.below(10) {
                0..2 => drop(person.rotate().await),
                2 => drop(person.passwd(&mut rng).await),
                3..8 => self.write(&mut rng, person).await,
                _ => person.look().await,
            }
        }
    }

    /// A sealed message to somebody else, until it is answered.
    async fn write(&self, rng: &mut Rng, person: &mut Person<'_>) {
        let others: Vec<String> = {
            let enrolled = self.enrolled.lock().expect("no panic under the lock");
            enrolled.iter().filter(|other| **other != person.address).cloned().collect()
        };
        if others.is_empty() {
            return;
        }
        let (to, message) = (rng.pick(&others), self.sealed.fetch_add(1, Ordering::SeqCst));
        while person.write(self.ledger, self.seed, message, to).await != Fate::Answered {
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// With nobody killed everything works at once.
    async fn calm(&self, mut rng: Rng, person: &mut Person<'_>) {
        assert!(person.rotate().await, "{} could not rotate the key", person.address);
        self.write(&mut rng, person).await;
        assert!(person.passwd(&mut rng).await, "{} could not change the password", person.address);
        self.write(&mut rng, person).await;
    }
}

async fn round(seed: u64, world: &World, report: &mut Report) {
    let mut rng = Rng::new(seed);
    for server in &world.servers {
        server.spawn();
        server.ready().await;
    }
    let users = addresses("user", SENDERS);
    for user in &users {
        account(world, user).await;
    }
    let mut people = Vec::new();
    for address in addresses("person", PEOPLE) {
        let code = account(world, &address).await;
        people.push((Person::new(world, &address), code));
    }
    let ledger = Ledger::default();
    let (enrolled, sealed) = (Mutex::default(), AtomicU64::new(1 << 32));
    let round = Round { seed, world, ledger: &ledger, users: &users, enrolled, sealed };
    let begin = Instant::now();

    // With kills.
    let given = AtomicU64::new(0);
    let (sent, lived) = (AtomicBool::new(false), AtomicBool::new(false));
    let enough = || (0..2).all(|server| world.airs.counts(server).1 >= CUTS);
    let next = || {
        let number = given.fetch_add(1, Ordering::SeqCst) + 1;
        assert!(begin.elapsed() < ROUND, "{} and {} kills", world.airs.counts(0).1, world.airs.counts(1).1);
        (number <= MESSAGES || !enough()).then_some(number)
    };
    let mut sequences = rng.fork();
    let of_senders = rng.fork();
    let sending = async {
        round.send(of_senders, &next, 80).await;
        sent.store(true, Ordering::SeqCst);
    };
    let living = async {
        let all = people.iter_mut().map(|(person, code)| {
            let (rng, round, sent) = (sequences.fork(), &round, &sent);
            async move { round.live(rng, person, code, || sent.load(Ordering::SeqCst)).await }
        });
        join_all(all).await;
        lived.store(true, Ordering::SeqCst);
    };
    let killing = [0, 1].map(|server| {
        let (rng, lived) = (rng.fork(), &lived);
        async move { killer::run(world, server, rng, || lived.load(Ordering::SeqCst)).await }
    });
    let [first, second] = killing;
    tokio::join!(sending, living, first, second);
    let killed = begin.elapsed();
    check::drained(world).await;

    // Without: every hop has its reply, so nothing comes twice.
    let calm = ledger.all().len() as u64 + 1;
    let last = given.load(Ordering::SeqCst) + CALM;
    let next = || Some(given.fetch_add(1, Ordering::SeqCst) + 1).filter(|number| *number <= last);
    let mut sequences = rng.fork();
    let living = people.iter_mut().map(|(person, _)| {
        let (rng, round) = (sequences.fork(), &round);
        async move { round.calm(rng, person).await }
    });
    tokio::join!(round.send(rng.fork(), &next, 2), join_all(living));
    check::drained(world).await;
    let calmed = begin.elapsed();
    let broken = ledger.all().range(calm..).filter(|(_, a)| a.fate != Some(Fate::Answered)).count();
    assert_eq!(broken, 0, "attempts failed though nobody died");

    let opened = gather(people.iter_mut().map(async |(person, _)| {
        let numbers = person.last_look(seed).await;
        (person.address.clone(), numbers)
    }))
    .await;
    let looked = begin.elapsed();
    let mailboxes = gather(users.iter().chain(opened.keys()).map(async |user| {
        let (_, copies) = check::fetch(world, user, "INBOX").await;
        (user.clone(), copies)
    }))
    .await;
    let kills: Vec<_> = (0..2).flat_map(|server| world.airs.kills(server)).map(|kill| kill.at).collect();
    let tally = check::compare(seed, &ledger.all(), &kills, &mailboxes, &opened, calm);
    let tally = tally.unwrap_or_else(|fault| panic!("{fault}"));
    for server in &world.servers {
        let status = server.stop();
        assert!(status.success(), "{} ended with {status}: {}", DOMAINS[server.number], server.said());
    }
    check::stores(world);

    report.rounds += 1;
    report.tally += tally;
    for (person, _) in &people {
        report.accounts += person.accounts;
    }
    for (server, domain) in DOMAINS.iter().enumerate() {
        let (kills, cuts) = world.airs.counts(server);
        report.kills[server] += kills;
        report.cuts[server] += cuts;
        for (kind, count) in world.airs.cut(server) {
            *report.kinds.entry(kind).or_default() += count;
        }
        assert!(cuts >= CUTS, "{domain}: only {cuts} of {kills} kills cut a transaction");
        println!("  {domain}: {kills} kills, {cuts} cut a transaction: {:?}", world.airs.cut(server));
    }
    println!(
        "  {} attempts, {} cut, in {killed:.1?}, calm {calmed:.1?}, looked {looked:.1?}, all told {:.1?}",
        ledger.all().len(),
        ledger.count(Fate::Cut),
        begin.elapsed()
    );
}

/// What all of them give.
async fn gather<T>(futures: impl Iterator<Item = impl Future<Output = (String, T)>>) -> BTreeMap<String, T> {
    let all = Mutex::new(BTreeMap::new());
    join_all(futures.map(async |future| {
        let (name, value) = future.await;
        all.lock().expect("no panic under the lock").insert(name, value);
    }))
    .await;
    all.into_inner().expect("no panic under the lock")
}

/// All of them at once.
async fn join_all(futures: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut all: Vec<_> = futures.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        all.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

/// So many addresses at each server.
fn addresses(name: &str, count: usize) -> Vec<String> {
    DOMAINS.iter().flat_map(|domain| (0..count).map(move |n| format!("{name}{n}@{domain}"))).collect()
}

/// An account that also has an app password. Its code.
async fn account(world: &World, address: &str) -> String {
    let server = &world.servers[check::home(address)];
    let request = Request::UserAdd { address: address.to_owned() };
    let Response::Code { code, .. } = server.admin(request).await else { panic!("no code for {address}") };
    let (name, token) = ("test".to_owned(), Some(TOKEN.to_owned()));
    let request = Request::AppPasswordAdd { address: address.to_owned(), name, token };
    assert!(matches!(server.admin(request).await, Response::AppPassword { .. }));
    code
}
