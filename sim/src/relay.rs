//! The relay, whole, between a store on a simulated disk and servers that fail; its process is killed and its machine
//! loses power meanwhile. In the end every recipient has the message once, or its sender one bounce: never neither, and
//! twice only where a server took it without its "250" having been heard, or a crash came between that and the commit.

use crate::{
    disk::{
        Disk, Fault,
        image::Image,
        log::{Call, Kind, class},
        scratch,
    },
    peer::{Counts, Peers},
    rng::Rng,
};
use async_trait::async_trait;
use sealpost_lookup::{Binding, LookupError, ServerHost, Transport};
use sealpost_proto::{
    address::{Address, Domain},
    drive::BoxStream,
    time::{Clock, Timestamp},
};
use sealpost_server::{config::Config, context::Context, network::Network, relay};
use sealpost_store::{
    Store,
    account::Accounts,
    mailbox::Mailboxes,
    queue::{Accepted, BodyNeeds, Queue, RemoteEntry},
    spool::{Body, INLINE_MAX},
    sqlite::{Options, SqliteStore},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout};

const START: i64 = 1_795_000_000;
/// How long entries live (days).
const LIFE_DAYS: u64 = 2;
/// Domains that mail goes to, the last octet of their server's address.
const DOMAINS: [&str; 4] = ["example.com", "example.edu", "example.org", "example.biz"];

/// The time of the paused runtime.
struct Paused(Instant, i64);

impl Clock for Paused {
    fn now(&self) -> Timestamp {
        Timestamp(self.1 + i64::try_from(self.0.elapsed().as_secs()).unwrap_or(0))
    }
}

struct Simulated {
    peers: Arc<Peers>,
    seed: u64,
}

#[async_trait]
impl Network for Simulated {
    async fn mail_exchangers(&self, domain: &Domain) -> Result<Vec<(u16, ServerHost)>, LookupError> {
        let number = DOMAINS.iter().position(|known| *known == domain.as_str());
        let Some(number) = number else { return Err(LookupError::NoMail(domain.clone())) };
        if self.seed.is_multiple_of(5) && number == 0 {
            // DNS that never works: mail waits, and is returned in the end.
            return Err(LookupError::Dns { domain: domain.clone(), reason: "SERVFAIL".into() });
        }
        let last = u8::try_from(number).unwrap_or(0);
        let host = ServerHost {
            name: format!("mx.{domain}"),
            addresses: vec![SocketAddr::from(([127, 0, 1, last], 25))],
            transport: Transport::StartTls,
            binding: Binding::Name,
        };
        Ok(vec![(10, host)])
    }
    async fn connect(&self, address: SocketAddr) -> io::Result<BoxStream> {
        let domain = match address {
            SocketAddr::V4(address) => DOMAINS[usize::from(address.ip().octets()[3])],
            SocketAddr::V6(_) => DOMAINS[0],
        };
        Ok(Box::new(self.peers.connect(domain)?))
    }
}

/// What a run came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// Recipients.
    pub recipients: u64,
    /// That were delivered.
    pub delivered: u64,
    /// That were returned.
    pub returned: u64,
    /// That came twice or more, as they may.
    pub twice: u64,
    /// Conversations.
    pub connections: u64,
    /// Of these, behind TLS.
    pub tls: u64,
    /// Messages that went by BDAT.
    pub chunked: u64,
    /// Crashes of the machine.
    pub crashes: u64,
}

impl Settled {
    /// Takes in another run's.
    pub fn add(&mut self, other: &Self) {
        self.recipients += other.recipients;
        self.delivered += other.delivered;
        self.returned += other.returned;
        self.twice += other.twice;
        self.connections += other.connections;
        self.tls += other.tls;
        self.chunked += other.chunked;
        self.crashes += other.crashes;
    }
}

impl fmt::Display for Settled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { recipients, delivered, returned, twice, connections, tls, chunked, crashes } = self;
        write!(
            f,
            "{recipients} recipients, {delivered} delivered, {returned} returned, {twice} twice as may be; \
             {connections} connections, {tls} in TLS, {chunked} messages by BDAT, {crashes} crashes"
        )
    }
}

fn config(folder: &Path) -> Config {
    let key = rcgen::generate_simple_self_signed(["mail.example.net".to_owned()]).expect("a certificate");
    std::fs::write(folder.join("cert.pem"), key.cert.pem()).expect("writes");
    std::fs::write(folder.join("key.pem"), key.signing_key.serialize_pem()).expect("writes");
    let text = format!(
        "hostname = \"mail.example.net\"\ndomains = [\"example.net\"]\ndata_dir = \"data\"\ndns = \"127.0.0.1:1\"\n\
         [tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n\
         [queue]\nretry = [\"5m\", \"1h\", \"6h\"]\nlifetime = \"{LIFE_DAYS}d\"\n"
    );
    Config::parse(&text, &folder.join("sealpost.toml")).expect("the simulation's own configuration")
}

fn open(disk: &Disk, clock: Arc<dyn Clock>) -> Result<Arc<SqliteStore>, String> {
    let options = Options { clock, collect_garbage: false, threads: false, ..Options::default() };
    SqliteStore::open_with(&disk.store(), options)
        .map_err(|error| format!("the store does not open: {error}"))
}

/// Runs a seed; with `synced` false on a disk that syncs no log, to see that this is found.
pub fn run(seed: u64, synced: bool) -> Result<Settled, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .map_err(|error| error.to_string())?;
    let folder = scratch().map_err(|error| error.to_string())?;
    let config = config(folder.path());
    runtime.block_on(simulate(seed, &config, synced))
}

fn disk(synced: bool) -> Result<Disk, String> {
    let mut disk = Disk::new().map_err(|error| error.to_string())?;
    if !synced {
        break_log(&mut disk)?;
    }
    Ok(disk)
}

fn break_log(disk: &mut Disk) -> Result<(), String> {
    let (calls, classes) = (Call::Sync.bit(), class::LOG);
    let fault = Fault { calls, classes, nth: 1, kind: Kind::Lies, error: 0, count: 0 };
    disk.fault(fault).map_err(|error| error.to_string())
}

/// Commits what waits, as the store's own thread would; seconds later, since days of this time must pass quickly.
async fn commits(store: Arc<SqliteStore>) {
    loop {
        while store.commit_waiting() {
            tokio::task::yield_now().await;
        }
        sleep(Duration::from_secs(5)).await;
    }
}

async fn simulate(seed: u64, config: &Config, synced: bool) -> Result<Settled, String> {
    let mut rng = Rng::new(seed);
    let clock: Arc<dyn Clock> = Arc::new(Paused(Instant::now(), START));
    let peers = Arc::new(Peers::new(seed));
    let network = Arc::new(Simulated { peers: Arc::clone(&peers), seed });
    let mut disk = disk(true)?;
    let mut store = open(&disk, Arc::clone(&clock))?;
    let mut committing = tokio::spawn(commits(Arc::clone(&store)));
    let alice = Address::parse("alice@example.net").map_err(|_| "an address")?;
    let account = store
        .create_account(&alice, [0; 32], Timestamp(START), Timestamp(START))
        .await
        .map_err(|error| error.to_string())?;
    let mut start = Image::default();
    let mut recipients = BTreeSet::new();
    for message in 0..4 + rng.below(12) {
        accept(&store, &*clock, message, &mut recipients, &mut rng).await?;
    }
    if !synced {
        break_log(&mut disk)?;
    }
    let mut settled = Settled { recipients: recipients.len() as u64, ..Settled::default() };
    let mut crashes = rng.below(4);
    // Crashes after which a recipient may get what it has again.
    let mut doubts: BTreeMap<String, u32> = BTreeMap::new();
    loop {
        let over = Duration::from_secs(86_400 * (LIFE_DAYS + 1));
        let span = if crashes > 0 { Duration::from_secs(rng.below(30_000) as u64) } else { over };
        let shown: Arc<dyn Store> = store.clone();
        let (mut ctx, _stop) =
            Context::new(config.clone(), shown, Arc::clone(&clock)).map_err(|error| error.to_string())?;
        ctx.network = Arc::clone(&network) as Arc<dyn Network>;
        let worker = tokio::spawn(relay::run(ctx, std::future::pending()));
        let _ = timeout(span, async {
            while store.next_due().await.is_ok_and(|due| due.is_some()) {
                sleep(Duration::from_secs(600)).await;
            }
        })
        .await;
        if crashes == 0 {
            worker.abort();
            let _ = worker.await;
            break;
        }
        crashes -= 1;
        settled.crashes += 1;
        // The process ends in the middle of whatever it does, and the machine with it.
        worker.abort();
        let _ = worker.await;
        committing.abort();
        let _ = committing.await;
        let before = queued(&store).await?;
        for (place, record) in disk.take_log().map_err(|error| error.to_string())?.iter().enumerate() {
            start.apply(record, &mut Rng::new(place as u64));
        }
        drop(store);
        let next = self::disk(synced)?;
        start.crash(&mut rng, next.path()).map_err(|error| error.to_string())?;
        disk = next;
        disk.take_log().map_err(|error| error.to_string())?;
        start = Image::of(disk.path()).map_err(|error| error.to_string())?;
        store = open(&disk, Arc::clone(&clock))?;
        committing = tokio::spawn(commits(Arc::clone(&store)));
        for recipient in queued(&store).await? {
            if !before.contains(&recipient) {
                return Err(format!("{recipient} was settled, and is queued again after a crash"));
            }
            if peers.fates().get(&recipient).is_some_and(|fate| fate.taken > 0) {
                *doubts.entry(recipient).or_default() += 1;
            }
        }
    }
    let left = store.queued().await.map_err(|error| error.to_string())?.len();
    let returned = returned(&store, account).await?;
    committing.abort();
    if left > 0 {
        return Err(format!("{left} entries are still queued after their life has ended"));
    }
    let Counts { connections, tls, chunked } = peers.counts();
    settled = Settled { connections, tls, chunked, ..settled };
    for recipient in &recipients {
        let fate = peers.fates().get(recipient).copied().unwrap_or_default();
        let bounces = returned.get(recipient).copied().unwrap_or(0);
        let doubt = fate.unheard + doubts.get(recipient).copied().unwrap_or(0);
        settled.delivered += u64::from(fate.taken > 0);
        settled.returned += u64::from(bounces > 0);
        settled.twice += u64::from(fate.taken > 1);
        let what = match (fate.taken, bounces) {
            (0, 0) => "was neither delivered nor returned",
            (taken, _) if taken > 1 + doubt => "was delivered again without need",
            (_, bounces) if bounces > 1 => "was returned more than once",
            (taken, 1) if taken > 0 && doubt == 0 => "was delivered and returned",
            _ => continue,
        };
        return Err(format!("{recipient} {what}: {fate:?}, {bounces} bounces, {doubt} doubts"));
    }
    Ok(settled)
}

async fn accept(
    store: &SqliteStore,
    clock: &dyn Clock,
    message: usize,
    recipients: &mut BTreeSet<String>,
    rng: &mut Rng,
) -> Result<(), String> {
    let mut octets =
        format!("From: alice@example.net\r\nSubject: [{message}]\r\n\r\n.sealed\r\n").into_bytes();
    if rng.one_in(6) {
        octets.extend(b"a line of some length, with more of them behind\r\n".repeat(INLINE_MAX / 48));
    }
    let body = Body::from_bytes(octets);
    let now = clock.now();
    let mut remote = Vec::new();
    for domain in DOMAINS {
        if !rng.one_in(2) {
            continue;
        }
        let names: Vec<String> =
            (0..=rng.below(3)).map(|number| format!("m{message}-r{number}@{domain}")).collect();
        recipients.extend(names.iter().cloned());
        remote.push(RemoteEntry {
            body: body.clone(),
            domain: Domain::parse(domain).map_err(|_| "a domain")?,
            recipients: names,
            needs: BodyNeeds::default(),
            received: now,
            due: now,
        });
    }
    let accepted = Accepted { reverse_path: Some("alice@example.net".into()), local: Vec::new(), remote };
    store.accept(accepted).await.map_err(|error| error.to_string())
}

/// Recipients that are still to be served.
async fn queued(store: &SqliteStore) -> Result<BTreeSet<String>, String> {
    let entries = store.queued().await.map_err(|error| error.to_string())?;
    Ok(entries.into_iter().flat_map(|entry| entry.entry.recipients).collect())
}

/// How often each recipient is named in the bounces.
async fn returned(
    store: &SqliteStore,
    account: sealpost_store::account::AccountId,
) -> Result<BTreeMap<String, u32>, String> {
    let say = |error: sealpost_store::StoreError| error.to_string();
    let mailboxes = store.mailboxes(account).await.map_err(say)?;
    let mut counts = BTreeMap::new();
    for inbox in mailboxes.iter().filter(|mailbox| mailbox.name == "INBOX") {
        for entry in store.entries(inbox.id).await.map_err(say)? {
            let reader = store.content(entry.content).await.map_err(say)?;
            let mut octets = vec![0; usize::try_from(reader.len()).unwrap_or(0)];
            reader.read_at(0, &mut octets).map_err(|error| error.to_string())?;
            for line in String::from_utf8_lossy(&octets).lines() {
                if let Some(recipient) = line.strip_prefix("Final-Recipient: rfc822; ") {
                    *counts.entry(recipient.to_owned()).or_default() += 1;
                }
            }
        }
    }
    Ok(counts)
}
