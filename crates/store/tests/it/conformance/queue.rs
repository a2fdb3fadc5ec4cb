//! Acceptance and the outbound queue.

use crate::support::{NOW, account, inbox, mailbox, message, octets, read, strings};
use sealpost_proto::address::Domain;
use sealpost_store::{
    Store, StoreError,
    account::AccountId,
    mailbox::NewMessage,
    queue::{Accepted, BodyNeeds, QueueEntry, QueueId, RemoteEntry, Settlement},
    spool::{Body, INLINE_MAX},
};
use std::{io::Read, sync::Arc, time::Duration};

const LEASE: Duration = Duration::from_secs(600);

fn remote(domain: &str, octets: impl Into<Vec<u8>>) -> RemoteEntry {
    RemoteEntry {
        body: Body::from_bytes(octets.into()),
        domain: Domain::parse(domain).expect("a domain"),
        recipients: strings(&["Bob@Example.com", "\"x y\"@example.com"]),
        needs: BodyNeeds { eight_bit: true, smtputf8: false },
        received: NOW,
        due: NOW,
    }
}

fn accepted(local: Vec<(AccountId, NewMessage)>, remote: Vec<RemoteEntry>) -> Accepted {
    Accepted { reverse_path: Some("Alice@example.net".to_owned()), local, remote }
}

fn all_of(body: &Body) -> Vec<u8> {
    let mut all = Vec::new();
    body.reader().expect("a reader").read_to_end(&mut all).expect("reads");
    all
}

async fn claim(store: &dyn Store, at: i64, limit: usize) -> Vec<QueueEntry> {
    store.claim_due(NOW.plus(at), LEASE, limit).await.expect("claims")
}

pub(crate) async fn an_acceptance_is_all_or_nothing(store: Arc<dyn Store>) {
    let (id, inbox) = inbox(&*store).await;
    let local = vec![(id, message("1")), (AccountId(999), message("2"))];
    let refused = store.accept(accepted(local, vec![remote("example.com", "3")])).await;
    assert!(matches!(refused, Err(StoreError::Gone(_))));
    assert_eq!(store.status(inbox).await.expect("a status").messages, 0);
    assert!(store.queued().await.expect("lists").is_empty());
    store.accept(accepted(Vec::new(), Vec::new())).await.expect("nothing to do");
}

pub(crate) async fn accepted_mail_is_delivered_and_queued(store: Arc<dyn Store>) {
    let (alice, inbox) = inbox(&*store).await;
    let bob = account(&*store, "bob@example.net").await;
    let bobs = mailbox(&*store, bob, "INBOX").await;
    let shared = message("one body");
    let local = vec![(alice, shared.clone()), (bob, shared.clone()), (bob, message("another"))];
    let outbound = RemoteEntry { body: shared.body.clone(), ..remote("Example.COM", "") };
    store.accept(accepted(local, vec![outbound, remote("example.org", "x")])).await.expect("accepts");
    let entries = store.entries(inbox).await.expect("entries");
    assert_eq!(read(&*store, entries[0].content).await, b"one body");
    let entries = store.entries(bobs).await.expect("entries");
    assert_eq!(entries.iter().map(|entry| entry.uid).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(read(&*store, entries[1].content).await, b"another");
    let queued = store.queued().await.expect("lists");
    assert_eq!(queued.len(), 2);
    let first = &queued[0];
    assert_eq!(first.reverse_path.as_deref(), Some("Alice@example.net"));
    assert_eq!(first.entry.domain.as_str(), "example.com");
    assert_eq!(first.entry.recipients, strings(&["Bob@Example.com", "\"x y\"@example.com"]));
    assert_eq!(first.entry.needs, BodyNeeds { eight_bit: true, smtputf8: false });
    assert_eq!((first.entry.received, first.entry.due), (NOW, NOW));
    assert_eq!((first.attempts, first.last_error.as_deref()), (0, None));
    assert_eq!(all_of(&first.entry.body), b"one body");
    // A null reverse-path stays one.
    let bounce = Accepted { reverse_path: None, ..accepted(Vec::new(), vec![remote("example.org", "b")]) };
    store.accept(bounce).await.expect("accepts");
    assert_eq!(store.queued().await.expect("lists")[2].reverse_path, None);
}

pub(crate) async fn bodies_in_the_queue_come_back(store: Arc<dyn Store>) {
    let lens = [0, 1, 40_000, INLINE_MAX, INLINE_MAX + 1, 2_000_000];
    for (tag, len) in (0..).zip(lens) {
        let entry = remote("example.com", octets(tag, len));
        store.accept(accepted(Vec::new(), vec![entry])).await.expect("accepts");
    }
    for body in store.queued().await.expect("lists").iter().map(|queued| &queued.entry.body) {
        assert!(lens.contains(&usize::try_from(body.len()).expect("fits")));
    }
    let claimed = claim(&*store, 0, 100).await;
    assert_eq!(claimed.len(), lens.len());
    for (tag, (entry, len)) in (0..).zip(claimed.iter().zip(lens)) {
        assert!(all_of(&entry.entry.body) == octets(tag, len), "{len} octets");
        assert!(all_of(&entry.entry.body) == octets(tag, len), "and again");
    }
    // A body that was taken from the store can be accepted into it.
    let (id, inbox) = inbox(&*store).await;
    for entry in &claimed {
        let again = NewMessage { body: entry.entry.body.clone(), ..message("") };
        store.accept(accepted(vec![(id, again)], Vec::new())).await.expect("accepts");
        store.settle(entry.id, Settlement::Done { bounce: None }).await.expect("settles");
    }
    for (tag, (entry, len)) in (0..).zip(store.entries(inbox).await.expect("entries").iter().zip(lens)) {
        assert!(read(&*store, entry.content).await == octets(tag, len), "{len} octets");
    }
}

pub(crate) async fn an_entry_is_claimed_by_one(store: Arc<dyn Store>) {
    for n in 0..20 {
        let entry = remote("example.com", format!("{n}"));
        store.accept(accepted(Vec::new(), vec![entry])).await.expect("accepts");
    }
    let claims: Vec<_> = (0..10)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.claim_due(NOW, LEASE, 3).await })
        })
        .collect();
    let mut ids = Vec::new();
    for claim in claims {
        let claimed = claim.await.expect("runs").expect("claims");
        assert!(claimed.len() <= 3);
        ids.extend(claimed.into_iter().map(|entry| entry.id));
    }
    assert_eq!(ids.len(), 20);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 20, "none twice");
    assert!(claim(&*store, 0, 100).await.is_empty());
    assert!(claim(&*store, 0, 0).await.is_empty());
    assert_eq!(store.queued().await.expect("lists").len(), 20, "claimed entries are still listed");
}

pub(crate) async fn a_lease_ends(store: Arc<dyn Store>) {
    store.accept(accepted(Vec::new(), vec![remote("example.com", "x")])).await.expect("accepts");
    let first = claim(&*store, 0, 10).await;
    assert_eq!(first.len(), 1);
    assert!(claim(&*store, 599, 10).await.is_empty());
    assert_eq!(store.next_due().await.expect("asks"), Some(NOW.plus(600)), "when it can be claimed again");
    let second = claim(&*store, 600, 10).await;
    assert_eq!(second.iter().map(|entry| entry.id).collect::<Vec<_>>(), [first[0].id]);
    assert_eq!(second[0].attempts, 0, "an attempt that nobody settled is none");
}

pub(crate) async fn a_retry_is_due_later(store: Arc<dyn Store>) {
    store.accept(accepted(Vec::new(), vec![remote("example.com", "x")])).await.expect("accepts");
    let claimed = claim(&*store, 0, 10).await;
    let retry = |error: &str| Settlement::Retry {
        recipients: strings(&["Bob@Example.com"]),
        due: NOW.plus(1800),
        error: error.to_owned(),
        bounce: None,
    };
    store.settle(claimed[0].id, retry("450 4.7.1 later")).await.expect("settles");
    assert!(claim(&*store, 1799, 10).await.is_empty());
    assert_eq!(store.next_due().await.expect("asks"), Some(NOW.plus(1800)));
    let again = claim(&*store, 1800, 10).await;
    assert_eq!(again.len(), 1);
    assert_eq!((again[0].attempts, again[0].last_error.as_deref()), (1, Some("450 4.7.1 later")));
    assert_eq!(again[0].entry.recipients, strings(&["Bob@Example.com"]));
    assert_eq!(all_of(&again[0].entry.body), b"x");
    assert_eq!(again[0].entry.received, NOW);
    // A hostile peer's error text is cut, between characters.
    store.settle(again[0].id, retry(&"ü".repeat(50_000))).await.expect("settles");
    let kept = store.queued().await.expect("lists")[0].last_error.clone().expect("an error");
    assert!(kept.len() <= 2000 && kept.chars().all(|c| c == 'ü'));
}

pub(crate) async fn a_bounce_is_accepted_with_the_settlement(store: Arc<dyn Store>) {
    let (id, inbox) = inbox(&*store).await;
    for text in ["1", "2"] {
        store.accept(accepted(Vec::new(), vec![remote("example.com", text)])).await.expect("accepts");
    }
    let claimed = claim(&*store, 0, 10).await;
    let bounce = |to: AccountId| {
        let local = vec![(to, message("bounce"))];
        Some(Accepted { reverse_path: None, ..accepted(local, vec![remote("example.org", "bounce")]) })
    };
    // A bounce that cannot be accepted leaves the entry as it was.
    let nowhere = Settlement::Done { bounce: bounce(AccountId(999)) };
    assert!(matches!(store.settle(claimed[0].id, nowhere).await, Err(StoreError::Gone(_))));
    assert_eq!(store.queued().await.expect("lists").len(), 2);
    store.settle(claimed[0].id, Settlement::Done { bounce: bounce(id) }).await.expect("settles");
    let retry = Settlement::Retry {
        recipients: strings(&["Bob@Example.com"]),
        due: NOW.plus(60),
        error: "550".to_owned(),
        bounce: bounce(id),
    };
    store.settle(claimed[1].id, retry).await.expect("settles");
    assert_eq!(store.status(inbox).await.expect("a status").messages, 2);
    let domains: Vec<_> =
        store.queued().await.expect("lists").iter().map(|entry| entry.entry.domain.to_string()).collect();
    assert_eq!(domains, strings(&["example.com", "example.org", "example.org"]));
}

pub(crate) async fn settling_twice_is_refused(store: Arc<dyn Store>) {
    let (id, inbox) = inbox(&*store).await;
    store.accept(accepted(Vec::new(), vec![remote("example.com", "x")])).await.expect("accepts");
    let entry = claim(&*store, 0, 1).await.remove(0).id;
    store.settle(entry, Settlement::Done { bounce: None }).await.expect("settles");
    let bounce = Some(accepted(vec![(id, message("bounce"))], Vec::new()));
    assert!(matches!(store.settle(entry, Settlement::Done { bounce }).await, Err(StoreError::Gone(_))));
    let retry = Settlement::Retry { recipients: Vec::new(), due: NOW, error: String::new(), bounce: None };
    assert!(matches!(store.settle(entry, retry).await, Err(StoreError::Gone(_))));
    let never = store.settle(QueueId(999), Settlement::Done { bounce: None }).await;
    assert!(matches!(never, Err(StoreError::Gone(_))));
    assert_eq!(store.status(inbox).await.expect("a status").messages, 0, "and no bounce was accepted");
    assert_eq!(store.next_due().await.expect("asks"), None);
}

pub(crate) async fn the_queue_tells_when_it_changed(store: Arc<dyn Store>) {
    let (id, _) = inbox(&*store).await;
    // One poll: whether it resolves at once.
    let changed = async || {
        tokio::select! {
            biased;
            () = store.queue_changed() => true,
            () = std::future::ready(()) => false,
        }
    };
    // Local mail queues nothing.
    store.accept(accepted(vec![(id, message("x"))], Vec::new())).await.expect("accepts");
    assert!(!changed().await);
    // Queued before anybody waits.
    store.accept(accepted(Vec::new(), vec![remote("example.com", "x")])).await.expect("accepts");
    store.queue_changed().await;
    assert!(!changed().await, "once");
    // And while somebody does.
    let ((), done) = tokio::join!(
        store.queue_changed(),
        store.accept(accepted(Vec::new(), vec![remote("example.com", "x")]))
    );
    done.expect("accepts");
    let claimed = claim(&*store, 0, 1).await;
    let retry = Settlement::Retry { recipients: Vec::new(), due: NOW, error: String::new(), bounce: None };
    store.settle(claimed[0].id, retry).await.expect("settles");
    assert!(changed().await, "a new time to try is news too");
}

pub(crate) async fn the_queue_keeps_its_order(store: Arc<dyn Store>) {
    assert_eq!(store.next_due().await.expect("asks"), None);
    for (due, text) in [(30, "c"), (10, "a"), (20, "b"), (40, "d")] {
        let entry = RemoteEntry { due: NOW.plus(due), ..remote("example.com", text) };
        store.accept(accepted(Vec::new(), vec![entry])).await.expect("accepts");
    }
    assert!(claim(&*store, 9, 10).await.is_empty());
    assert_eq!(store.next_due().await.expect("asks"), Some(NOW.plus(10)));
    let texts = |claimed: Vec<QueueEntry>| claimed.iter().map(|e| all_of(&e.entry.body)).collect::<Vec<_>>();
    assert_eq!(texts(claim(&*store, 35, 2).await), [b"a", b"b"], "the longest due first");
    assert_eq!(texts(claim(&*store, 35, 10).await), [b"c"]);
    assert_eq!(store.next_due().await.expect("asks"), Some(NOW.plus(40)));
}
