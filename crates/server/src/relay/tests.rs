//! The relay against scripted servers on loopback, a DNS zone and a store on disk. Attempts are run one by one, so that
//! nothing depends on when something happens.

use super::*;
use crate::config::Config;
use fake::{Ca, Fake, Script, script};
use sealpost_lookup::zone::{Zone, ZoneServer};
use sealpost_proto::{
    address::Address,
    time::{Clock, Timestamp},
};
use sealpost_store::{
    Store,
    account::AccountId,
    mailbox::{FlagChange, Flags, NewMessage, Sketch},
    queue::{Accepted, BodyNeeds, RemoteEntry},
    spool::Body,
    sqlite::{Options, SqliteStore},
};
use settle::{Failure, Results};
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};
use tokio::sync::watch;

#[path = "../../../lookup/tests/it/fake.rs"]
mod fake;

struct HandClock(AtomicI64);
impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

struct World {
    ctx: Context,
    clock: Arc<HandClock>,
    alice: AccountId,
    dns: ZoneServer,
    dir: tempfile::TempDir,
    _stop: watch::Sender<bool>,
}

const START: i64 = 1_795_470_000;

impl World {
    /// A server for example.net whose relay finds other domains in `zone` (example.com) and their MX on `mx_port`.
    async fn new(mx_port: u16, extra: &str, zone: impl FnOnce(&mut Zone)) -> Self {
        Self::with_ca(&Ca::new(), mx_port, extra, zone).await
    }
    async fn with_ca(ca: &Ca, mx_port: u16, extra: &str, zone: impl FnOnce(&mut Zone)) -> Self {
        let mut example = Zone::new("example.com");
        zone(&mut example);
        let dns = ZoneServer::start("127.0.0.1:0".parse().unwrap(), vec![example]).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = ca.issue("mail.example.net");
        std::fs::write(dir.path().join("cert.pem"), certificate).unwrap();
        std::fs::write(dir.path().join("key.pem"), key).unwrap();
        let text = format!(
            "hostname = \"mail.example.net\"\ndomains = [\"example.net\"]\ndata_dir = \"data\"\n\
             mx_port = {mx_port}\ndns = \"{}\"\nca_file = \"{}\"\n{extra}\n\
             [tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n\
             [queue]\nretry = [\"10m\", \"1h\"]\nlifetime = \"5d\"\n[debug]\ntranscript = \"transcript.txt\"\n",
            dns.address(),
            ca.file().display(),
        );
        let config = Config::parse(&text, &dir.path().join("sealpost.toml")).unwrap();
        let store: Arc<dyn Store> = SqliteStore::open(&dir.path().join("data")).unwrap();
        let clock = Arc::new(HandClock(AtomicI64::new(START)));
        let alice = Address::parse("alice@example.net").unwrap();
        let alice = store.create_account(&alice, [0; 32], Timestamp(START), Timestamp(START)).await.unwrap();
        let (ctx, stop) = Context::new(config, store, clock.clone()).unwrap();
        Self { ctx, clock, alice, dns, dir, _stop: stop }
    }
    async fn queue(&self, recipients: &[&str], body: &'static [u8], needs: BodyNeeds) {
        self.queue_from(Some("alice@example.net"), recipients, body, needs).await;
    }
    async fn queue_from(
        &self,
        from: Option<&str>,
        recipients: &[&str],
        body: &'static [u8],
        needs: BodyNeeds,
    ) {
        let now = self.ctx.clock.now();
        let remote = RemoteEntry {
            body: Body::from_bytes(body),
            domain: Domain::parse("example.com").unwrap(),
            recipients: recipients.iter().map(ToString::to_string).collect(),
            needs,
            received: now,
            due: now,
        };
        let accepted =
            Accepted { reverse_path: from.map(ToOwned::to_owned), local: vec![], remote: vec![remote] };
        self.ctx.store.accept(accepted).await.unwrap();
    }
    /// One attempt at everything that is due.
    async fn attempt(&self) {
        if let Some(open) = self.attempt_over(None).await {
            open.quit().await;
        }
    }
    /// The same over a connection that was kept; gives it back.
    async fn attempt_over(&self, open: Option<Open>) -> Option<Open> {
        let entries = self.ctx.store.claim_due(self.ctx.clock.now(), LEASE, 100).await.unwrap();
        assert!(!entries.is_empty(), "nothing is due");
        let domain = entries[0].entry.domain.clone();
        let attempts = Attempts::default();
        let claimed = entries.into_iter().filter_map(|entry| attempts.begin(entry));
        attempt::deliver(self.ctx.clone(), domain, claimed.collect(), open).await
    }
    async fn queued(&self) -> Vec<QueueEntry> {
        self.ctx.store.queued().await.unwrap()
    }
    /// What lies in alice's INBOX.
    async fn inbox(&self) -> Vec<String> {
        inbox(&*self.ctx.store, self.alice).await
    }
    /// The one bounce, and nothing left in the queue.
    async fn bounce(&self) -> String {
        let (queued, mut inbox) = (self.queued().await.len(), self.inbox().await);
        assert_eq!((queued, inbox.len()), (0, 1), "{inbox:?}");
        inbox.remove(0)
    }
}

async fn inbox(store: &dyn Store, account: AccountId) -> Vec<String> {
    let boxes = store.mailboxes(account).await.unwrap();
    let inbox = boxes.iter().find(|mailbox| mailbox.name == "INBOX").unwrap();
    let mut all = Vec::new();
    for entry in store.entries(inbox.id).await.unwrap() {
        let content = store.content(entry.content).await.unwrap();
        let mut octets = vec![0; usize::try_from(content.len()).unwrap()];
        content.read_at(0, &mut octets).unwrap();
        all.push(String::from_utf8(octets).unwrap());
    }
    all
}

fn mx(zone: &mut Zone) {
    zone.mx("example.com", 10, "mail.example.com").a("mail.example.com", [127, 0, 0, 1].into());
}

const MESSAGE: &[u8] = b"From: alice@example.net\r\nSubject: [...]\r\n\r\n.sealed\r\n";
const TLS: &str = "250-mail.example.com\r\n250-PIPELINING\r\n250 STARTTLS\r\n";

fn takes(ehlo: &str, rcpt: &str) -> Script {
    script(&[
        ("EHLO mail.example.net", ehlo),
        ("STARTTLS", "220 go\r\n"),
        ("MAIL FROM:<", "250 ok\r\n"),
        ("RCPT TO:<nobody", "550 5.1.1 No such user\r\n"),
        ("RCPT TO:<full", "452 4.2.2 Mailbox full\r\n"),
        ("RCPT TO:<", rcpt),
        ("DATA END", "250 2.0.0 queued\r\n"),
        ("DATA", "354 go\r\n"),
        ("RSET", "250 ok\r\n"),
    ])
}

#[tokio::test]
async fn r23_delivers_over_whatever_tls_there_is() {
    let stranger = Ca::new();
    for (what, tls, implicit) in
        [("none", None, false), ("of anybody", Some(stranger.acceptor("whatever.invalid")), true)]
    {
        let ehlo = if tls.is_some() { TLS } else { "250 mail.example.com\r\n" };
        let server = Fake::start(tls, false, takes(ehlo, "250 ok\r\n")).await;
        let world = World::new(server.address.port(), "", mx).await;
        world.queue(&["bob@example.com"], MESSAGE, BodyNeeds::default()).await;
        world.queue(&["carol@example.com"], MESSAGE, BodyNeeds::default()).await;
        world.attempt().await;
        assert!(world.queued().await.is_empty(), "{what}");
        assert!(world.inbox().await.is_empty(), "{what}: no bounce");
        assert_eq!(server.connections(), 1, "one connection for both");
        assert!(server.heard().contains(&(implicit, "..sealed".into())), "{what}: {:?}", server.heard());
        let transcript = std::fs::read_to_string(world.dir.path().join("transcript.txt")).unwrap();
        for line in ["C: MAIL FROM:<alice@example.net>\n", "C: Subject: [...]\n", "S: 250 2.0.0 queued\n"] {
            assert!(transcript.contains(line), "{line} in {transcript}");
        }
        assert!(!transcript.contains("sealed\n"), "no body");
    }
}

#[tokio::test]
async fn a_kept_connection_is_used_again_while_it_stands() {
    // The second server closes when it is asked whether it is still there.
    for (stands, connections) in [(true, 1), (false, 2)] {
        let answers = takes("250 mail.example.com\r\n", "250 ok\r\n");
        let answers: Script =
            Arc::new(move |line, tls| if line == "RSET" && !stands { None } else { answers(line, tls) });
        let server = Fake::start(None, false, answers).await;
        let mut world = World::new(server.address.port(), "", mx).await;
        // A connection that is recorded is not kept.
        Arc::make_mut(&mut world.ctx.config).debug.transcript = None;
        let mut open = None;
        for recipient in ["bob@example.com", "carol@example.com"] {
            world.queue(&[recipient], MESSAGE, BodyNeeds::default()).await;
            open = world.attempt_over(open).await;
            assert!(open.is_some(), "is given back");
            assert!(world.queued().await.is_empty(), "{recipient}");
        }
        assert_eq!(server.connections(), connections);
        let told = |start: &str| server.heard().iter().filter(|(_, line)| line.starts_with(start)).count();
        assert_eq!((told("RSET"), told("..sealed")), (1, 2), "asked once; each message once");
        assert!(world.inbox().await.is_empty(), "no bounce");
    }
}

#[tokio::test]
async fn connections_are_kept_for_a_while_and_in_bounded_number() {
    let server = Fake::start(None, false, takes("250 mail.example.com\r\n", "250 ok\r\n")).await;
    let mut world = World::new(server.address.port(), "", mx).await;
    Arc::make_mut(&mut world.ctx.config).debug.transcript = None;
    world.queue(&["bob@example.com"], MESSAGE, BodyNeeds::default()).await;
    let mut work = Work::default();
    claim(&world.ctx, &mut work).await.unwrap();
    work.start(&world.ctx);
    let ended = work.tasks.join_next_with_id().await.unwrap();
    work.ended(ended);
    let expiry = work.expire().expect("one is kept");
    assert!(expiry <= Instant::now() + KEEP);
    let domain = Domain::parse("example.com").unwrap();
    work.destinations.get_mut(&domain).unwrap().kept[0].1 = Instant::now();
    assert_eq!((work.expire(), work.destinations.len()), (None, 0), "closed when its time is over");
}

#[tokio::test]
async fn an_attempt_that_outlives_its_lease_is_not_begun_again() {
    let world = World::new(9, "", mx).await;
    world.queue(&["bob@example.com"], MESSAGE, BodyNeeds::default()).await;
    let mut work = Work::default();
    let domain = Domain::parse("example.com").unwrap();
    let after_lease = i64::try_from(LEASE.as_secs()).unwrap() + 1;
    let pass = || world.clock.0.fetch_add(after_lease, Ordering::SeqCst);
    for _ in 0..3 {
        claim(&world.ctx, &mut work).await.unwrap();
        assert_eq!((work.claimed, work.destinations[&domain].waiting.len()), (1, 1));
        pass();
    }
    // Settled, to be tried again: the next attempt is another one, also while the old one is being put away.
    let old = work.destinations.get_mut(&domain).unwrap().waiting.pop_front().unwrap();
    let failure = Failure::transient("4.4.1", "later".to_owned());
    settle::settle(&world.ctx, &old.entry, Results::all(&old.entry, &failure)).await;
    pass();
    claim(&world.ctx, &mut work).await.unwrap();
    drop(old);
    assert_eq!((work.claimed, work.destinations[&domain].waiting[0].entry.attempts), (2, 1));
    pass();
    claim(&world.ctx, &mut work).await.unwrap();
    assert_eq!(work.destinations[&domain].waiting.len(), 1, "the second attempt is still under way");
}

#[tokio::test]
async fn a_result_waits_for_the_disk_however_long_it_is_full() {
    let mut world = World::new(9, "", mx).await;
    let options = Options { max_pages: Some(120), clock: world.clock.clone(), ..Options::default() };
    let store = SqliteStore::open_with(&world.dir.path().join("small"), options).unwrap();
    let collector = Arc::clone(&store);
    let store: Arc<dyn Store> = store;
    world.ctx.store = Arc::clone(&store);
    let now = Timestamp(START);
    let alice = Address::parse("alice@example.net").unwrap();
    world.alice = store.create_account(&alice, [0; 32], now, now).await.unwrap();
    // Its bounce will take more room than is left.
    let large = format!("X-Long: {}\r\n", "x".repeat(800)).repeat(60) + "\r\n";
    world.queue(&["nobody@example.com"], large.leak().as_bytes(), BodyNeeds::default()).await;
    let entry = store.claim_due(now, LEASE, 1).await.unwrap().remove(0);
    // Other mail fills the rest.
    let boxes = store.mailboxes(world.alice).await.unwrap();
    let inbox = boxes.iter().find(|mailbox| mailbox.name == "INBOX").unwrap().id;
    let mut filling = 0;
    for octets in [100_000, 30_000] {
        let message = || NewMessage {
            body: Body::from_bytes(vec![b'x'; octets]),
            flags: Flags::default(),
            keywords: Vec::new(),
            internal_date: now,
            index: Vec::new(),
            sketch: Sketch::default(),
        };
        while store.append(inbox, vec![message()]).await.is_ok() {
            filling += 1;
        }
    }
    tokio::time::pause();
    let failure = Failure::permanent("5.1.1", "no such user".to_owned());
    let results = Results::all(&entry, &failure);
    let mut settling = std::pin::pin!(settle::settle(&world.ctx, &entry, results));
    // Longer than any lease, and nothing is given up.
    let long = Duration::from_secs(4 * 3600);
    assert!(tokio::time::timeout(long, &mut settling).await.is_err(), "it is done, or was given up");
    tokio::time::resume();
    assert_eq!(store.status(inbox).await.unwrap().messages, filling, "half a bounce");
    assert_eq!(store.queued().await.unwrap().len(), 1);
    // An administrator takes an account's mail away, and its grace is over.
    let uids: Vec<u32> = store.entries(inbox).await.unwrap().iter().map(|entry| entry.uid).collect();
    // The last try to write the bounce may still lie with the store's writer, and takes what shares its transaction along.
    let mark = || store.store_flags(inbox, &uids, FlagChange::Add, Flags::DELETED, &[], None);
    if mark().await.is_err() {
        mark().await.unwrap();
    }
    store.expunge(inbox, Some(&uids)).await.unwrap();
    world.clock.0.fetch_add(3601, Ordering::SeqCst);
    collector.collect_garbage().await.unwrap();
    settling.await;
    assert!(world.bounce().await.contains("Status: 5.1.1\r\n"));
}

#[tokio::test]
async fn r03_require_tls_waits_rather_than_going_in_the_open() {
    let (ca, stranger) = (Ca::new(), Ca::new());
    let required = "require_tls = [\"example.com\"]";
    for (what, tls, delivered) in [
        ("no TLS", None, false),
        ("another authority", Some(stranger.acceptor("mail.example.com")), false),
        ("another name", Some(ca.acceptor("mail.example.org")), false),
        ("verified", Some(ca.acceptor("mail.example.com")), true),
    ] {
        let ehlo = if tls.is_some() { TLS } else { "250 mail.example.com\r\n" };
        let server = Fake::start(tls, false, takes(ehlo, "250 ok\r\n")).await;
        let world = World::with_ca(&ca, server.address.port(), required, mx).await;
        world.queue(&["bob@example.com"], MESSAGE, BodyNeeds::default()).await;
        world.attempt().await;
        assert_eq!(world.queued().await.is_empty(), delivered, "{what}");
        assert_eq!(server.heard_line("MAIL"), delivered, "{what}");
        assert!(server.heard().iter().all(|(tls, line)| *tls || !line.starts_with("MAIL")), "{what}");
    }
}

#[tokio::test]
async fn tls_that_does_not_work_is_done_without_where_nothing_asks_for_it() {
    // 220 to STARTTLS, and then no TLS: the scripted server without a certificate just closes.
    let server = Fake::start(None, false, takes(TLS, "250 ok\r\n")).await;
    let world = World::new(server.address.port(), "", mx).await;
    world.queue(&["bob@example.com"], MESSAGE, BodyNeeds::default()).await;
    world.attempt().await;
    assert!(world.queued().await.is_empty());
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn each_recipient_has_its_own_result() {
    let server = Fake::start(None, false, takes("250 mail.example.com\r\n", "250 ok\r\n")).await;
    let world = World::new(server.address.port(), "", mx).await;
    world
        .queue(&["bob@example.com", "nobody@example.com", "full@example.com"], MESSAGE, BodyNeeds::default())
        .await;
    world.attempt().await;
    // One is delivered, one returned, one remains.
    let queued = world.queued().await;
    assert_eq!(queued[0].entry.recipients, ["full@example.com"]);
    assert_eq!(queued[0].attempts, 1);
    assert!(queued[0].last_error.as_ref().unwrap().contains("452 4.2.2"));
    let wait = queued[0].entry.due.0 - START;
    assert!((600..=660).contains(&wait), "{wait}");
    let inbox = world.inbox().await;
    assert_eq!(inbox.len(), 1);
    assert!(inbox[0].starts_with("Return-Path: <>\r\n"));
    for part in [
        "Final-Recipient: rfc822; nobody@example.com\r\nAction: failed\r\nStatus: 5.1.1\r\n",
        "Diagnostic-Code: smtp; 550 5.1.1 No such user\r\n",
        "Remote-MTA: dns; mail.example.com\r\n",
        "Subject: [...]\r\n",
    ] {
        assert!(inbox[0].contains(part), "{part} in {}", inbox[0]);
    }
    assert!(!inbox[0].contains("bob@example.com") && !inbox[0].contains(".sealed"));
    // At the end of its life the rest is returned too.
    world.clock.0.store(START + 5 * 86_400, Ordering::SeqCst);
    world.attempt().await;
    assert!(world.queued().await.is_empty());
    let inbox = world.inbox().await;
    assert!(
        inbox[1].contains("Final-Recipient: rfc822; full@example.com\r\nAction: failed\r\nStatus: 5.4.7\r\n")
    );
}

#[tokio::test]
async fn never_a_bounce_for_a_bounce() {
    let server = Fake::start(None, false, takes("250 mail.example.com\r\n", "250 ok\r\n")).await;
    let world = World::new(server.address.port(), "", mx).await;
    world.queue_from(None, &["nobody@example.com"], MESSAGE, BodyNeeds::default()).await;
    world.attempt().await;
    assert!(server.heard_line("MAIL FROM:<>"));
    assert!(world.queued().await.is_empty() && world.inbox().await.is_empty());
}

#[tokio::test]
async fn a_bounce_to_another_domain_is_queued_with_the_null_reverse_path() {
    let server = Fake::start(None, false, takes("250 mail.example.com\r\n", "250 ok\r\n")).await;
    let world = World::new(server.address.port(), "", mx).await;
    world
        .queue_from(Some("list@lists.example.org"), &["nobody@example.com"], MESSAGE, BodyNeeds::default())
        .await;
    world.attempt().await;
    let queued = world.queued().await;
    assert_eq!(queued.len(), 1);
    assert_eq!(queued[0].reverse_path, None);
    assert_eq!(queued[0].entry.domain.as_str(), "lists.example.org");
    assert_eq!(queued[0].entry.recipients, ["list@lists.example.org"]);
}

#[tokio::test]
async fn what_the_next_hop_cannot_take_comes_back() {
    let utf8 = BodyNeeds { smtputf8: true, eight_bit: false };
    let eight_bit = BodyNeeds { smtputf8: false, eight_bit: true };
    let header: &[u8] = "Subject: ü\r\n\r\nx\r\n".as_bytes();
    for (what, ehlo, recipient, message, needs, status) in [
        ("address", "250 m\r\n", "müller@example.com", MESSAGE, utf8, Some("5.6.7")),
        ("header", "250 m\r\n", "bob@example.com", header, utf8, Some("5.6.7")),
        ("said without need", "250 m\r\n", "bob@example.com", MESSAGE, utf8, None),
        ("offered", "250-m\r\n250 SMTPUTF8\r\n", "müller@example.com", header, utf8, None),
        ("8-bit", "250 m\r\n", "bob@example.com", header, eight_bit, Some("5.6.3")),
        ("8-bit offered", "250-m\r\n250 8BITMIME\r\n", "bob@example.com", header, eight_bit, None),
        ("size", "250-m\r\n250 SIZE 10\r\n", "bob@example.com", MESSAGE, BodyNeeds::default(), Some("5.3.4")),
    ] {
        let server = Fake::start(None, false, takes(ehlo, "250 ok\r\n")).await;
        let world = World::new(server.address.port(), "", mx).await;
        world.queue(&[recipient], message, needs).await;
        world.attempt().await;
        assert_eq!(server.heard_line("MAIL"), status.is_none(), "{what}");
        match status {
            Some(status) => {
                let bounce = world.bounce().await;
                assert!(bounce.contains(&format!("\r\nStatus: {status}\r\n")), "{what}: {bounce}");
            }
            None => assert!(world.queued().await.is_empty() && world.inbox().await.is_empty(), "{what}"),
        }
    }
}

#[tokio::test]
async fn domains_that_take_no_mail_and_loops() {
    for (what, status) in [("null", "5.1.2"), ("gone", "5.1.2"), ("ourselves", "5.4.6")] {
        let world = World::new(1, "", |zone| {
            match what {
                "null" => zone.mx("example.com", 0, "."),
                "ourselves" => zone
                    .mx("example.com", 10, "mail.example.net.example.com")
                    .mx("example.com", 5, "mail.example.com")
                    .a("mail.example.com", [127, 0, 0, 1].into()),
                _ => zone,
            };
        })
        .await;
        if what == "gone" {
            world.dns.replace(vec![Zone::new("com")]);
        }
        if what == "ourselves" {
            // The MX is this very server.
            let mut zone = Zone::new("example.com");
            zone.mx("example.com", 10, "mail.example.net");
            let mut net = Zone::new("example.net");
            net.a("mail.example.net", [127, 0, 0, 1].into());
            world.dns.replace(vec![zone, net]);
        }
        world.queue(&["bob@example.com"], MESSAGE, BodyNeeds::default()).await;
        world.attempt().await;
        let bounce = world.bounce().await;
        assert!(bounce.contains(&format!("\r\nStatus: {status}\r\n")), "{what}: {bounce}");
    }
    // DNS that does not work is no reason to give up.
    let world = World::new(1, "", mx).await;
    world.dns.replace(vec![]);
    world.queue(&["bob@example.com"], MESSAGE, BodyNeeds::default()).await;
    world.attempt().await;
    assert_eq!(world.queued().await.len(), 1);
    assert!(world.inbox().await.is_empty());
}

#[tokio::test]
async fn a_lame_mx_gives_way_to_the_next() {
    let good = Fake::start(None, false, takes("250 mail.example.com\r\n", "250 ok\r\n")).await;
    let port = good.address.port();
    let closes =
        |line: &str, _: bool| Some(if line == "GREETING" { "421 4.3.2 busy\r\n" } else { "" }.into());
    let lame = Fake::start_on(([127, 0, 0, 2], port).into(), None, false, Arc::new(closes)).await;
    let world = World::new(port, "", |zone| {
        // 127.0.0.3: nobody listens.
        zone.mx("example.com", 5, "down.example.com").a("down.example.com", [127, 0, 0, 3].into());
        zone.mx("example.com", 10, "lame.example.com").a("lame.example.com", [127, 0, 0, 2].into());
        zone.mx("example.com", 20, "mail.example.com").a("mail.example.com", [127, 0, 0, 1].into());
    })
    .await;
    world.queue(&["bob@example.com"], MESSAGE, BodyNeeds::default()).await;
    world.attempt().await;
    assert!(world.queued().await.is_empty());
    assert_eq!((lame.connections(), good.connections()), (1, 1));
}

#[tokio::test]
async fn a_connection_that_breaks_keeps_the_message() {
    for script in [
        script(&[("EHLO", "250 m\r\n"), ("MAIL", "421 4.3.2 going down\r\n")]),
        Arc::new(|line: &str, _: bool| match line {
            "GREETING" => Some(String::new()),
            line if line.starts_with("EHLO") => Some("250 m\r\n".into()),
            _ => None,
        }),
    ] {
        let server = Fake::start(None, false, script).await;
        let world = World::new(server.address.port(), "", mx).await;
        world.queue(&["bob@example.com"], MESSAGE, BodyNeeds::default()).await;
        world.attempt().await;
        assert_eq!(world.queued().await[0].attempts, 1);
        assert!(world.inbox().await.is_empty());
    }
}

#[tokio::test]
async fn the_worker_delivers_what_is_queued_and_stops_when_told() {
    let server = Fake::start(None, false, takes("250 mail.example.com\r\n", "250 ok\r\n")).await;
    let world = World::new(server.address.port(), "", mx).await;
    world.queue(&["bob@example.com"], MESSAGE, BodyNeeds::default()).await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let worker = tokio::spawn(run(world.ctx.clone(), async move {
        let _ = stopped.await;
    }));
    let all_sent = async |count: usize| {
        while server.heard().iter().filter(|(_, line)| line == ".").count() < count
            || !world.queued().await.is_empty()
        {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), all_sent(1)).await.unwrap();
    // What comes later wakes it.
    world.queue(&["carol@example.com"], MESSAGE, BodyNeeds::default()).await;
    timeout(Duration::from_secs(20), all_sent(2)).await.unwrap();
    stop.send(()).unwrap();
    timeout(Duration::from_secs(20), worker).await.unwrap().unwrap();
}

#[tokio::test]
async fn r23_between_two_real_servers_every_octet_arrives() {
    let ca = Ca::new();
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = ca.issue("mail.example.com");
    std::fs::write(dir.path().join("cert.pem"), certificate).unwrap();
    std::fs::write(dir.path().join("key.pem"), key).unwrap();
    let text = "hostname = \"mail.example.com\"\ndomains = [\"example.com\"]\ndata_dir = \"data\"\n\
                [tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n[listen]\nsmtp = \"127.0.0.1:0\"\n";
    let config = Config::parse(text, &dir.path().join("sealpost.toml")).unwrap();
    let store: Arc<dyn Store> = SqliteStore::open(&dir.path().join("data")).unwrap();
    let clock = Arc::new(HandClock(AtomicI64::new(START)));
    let bob = Address::parse("bob@example.com").unwrap();
    let bob = store.create_account(&bob, [0; 32], Timestamp(START), Timestamp(START)).await.unwrap();
    let server = crate::run_with(config, Arc::clone(&store), clock).await.unwrap();

    let world =
        World::with_ca(&ca, server.addresses.smtp[0].port(), "require_tls = [\"example.com\"]", mx).await;
    // Dots where they hurt, and more than one chunk.
    let mut message = String::from("From: alice@example.net\r\nSubject: [...]\r\n\r\n.\r\n..\r\n");
    while message.len() < 600_000 {
        message.push_str(".line that begins with a dot\r\n\r\n");
    }
    message.push_str(".\r\n");
    let message: &'static str = message.leak();
    let recipients = ["bob@example.com", "nobody@example.com"];
    world.queue(&recipients, message.as_bytes(), BodyNeeds::default()).await;
    world.attempt().await;
    let received = inbox(&*store, bob).await;
    assert_eq!(received.len(), 1);
    assert!(received[0].ends_with(message), "not an octet changed");
    let bounce = world.bounce().await;
    assert!(bounce.contains("\r\nFinal-Recipient: rfc822; nobody@example.com\r\n"));
    let transcript = std::fs::read_to_string(world.dir.path().join("transcript.txt")).unwrap();
    assert!(transcript.contains("-- TLS\n"), "{transcript}");
    server.shutdown().await;
}
