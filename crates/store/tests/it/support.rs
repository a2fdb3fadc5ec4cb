//! What the tests share.

use sealpost_proto::{
    address::Address,
    key::PublicKey,
    phc::{Cost, Salt, Verifier},
    statement::SignedStatement,
    time::{Clock, Timestamp},
};
use sealpost_store::{
    Store,
    account::{AccountId, Login},
    mailbox::{ContentId, Flags, MailboxId, NewMessage, Sketch},
    spool::Body,
    sqlite::{Options, SqliteStore},
};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

/// When the tests take place.
pub(crate) const NOW: Timestamp = Timestamp(1_795_000_000);

/// A clock set by hand.
pub(crate) struct TestClock(pub(crate) AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

impl TestClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(NOW.0)))
    }
    pub(crate) fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

pub(crate) fn options(clock: &Arc<TestClock>) -> Options {
    let clock = Arc::clone(clock);
    Options { clock, collect_garbage: false, ..Options::default() }
}

pub(crate) fn open_in(dir: &Path) -> Arc<SqliteStore> {
    SqliteStore::open_with(dir, options(&TestClock::new())).expect("the store opens")
}

pub(crate) fn open() -> (Arc<SqliteStore>, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a folder");
    (open_in(&dir.path().join("store")), dir)
}

pub(crate) fn address(text: &str) -> Address {
    Address::parse(text).expect("an address")
}

pub(crate) const CODE: [u8; 32] = [7; 32];

pub(crate) async fn account(store: &dyn Store, name: &str) -> AccountId {
    store.create_account(&address(name), CODE, NOW.plus(3600), NOW).await.expect("an account")
}

pub(crate) async fn mailbox(store: &dyn Store, account: AccountId, name: &str) -> MailboxId {
    let all = store.mailboxes(account).await.expect("lists");
    all.into_iter().find(|mailbox| mailbox.name == name).expect("the mailbox").id
}

/// A new account and its INBOX.
pub(crate) async fn inbox(store: &dyn Store) -> (AccountId, MailboxId) {
    let account = account(store, "alice@example.net").await;
    (account, mailbox(store, account, "INBOX").await)
}

pub(crate) fn message(octets: impl Into<Vec<u8>>) -> NewMessage {
    NewMessage {
        body: Body::from_bytes(octets.into()),
        flags: Flags::default(),
        keywords: Vec::new(),
        internal_date: NOW,
        index: Vec::new(),
        sketch: Sketch::default(),
    }
}

pub(crate) fn flagged(octets: &str, flags: Flags, keywords: &[&str]) -> NewMessage {
    NewMessage { flags, keywords: strings(keywords), ..message(octets) }
}

pub(crate) fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Octets that differ from message to message and from place to place.
pub(crate) fn octets(tag: u64, len: usize) -> Vec<u8> {
    let mut state = tag.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

/// All octets of a stored message, read in odd pieces.
pub(crate) async fn read(store: &dyn Store, content: ContentId) -> Vec<u8> {
    let reader = store.content(content).await.expect("the content");
    let mut all = Vec::new();
    let mut piece = [0; 1009];
    loop {
        match reader.read_at(all.len() as u64, &mut piece).expect("reads") {
            0 => break,
            n => all.extend_from_slice(&piece[..n]),
        }
    }
    assert_eq!(all.len() as u64, reader.len());
    all
}

pub(crate) fn login(tag: u8) -> Login {
    Login {
        salt: Salt::new([tag; 16]).expect("a salt"),
        cost: Cost::DEFAULT,
        verifier: Verifier([tag.wrapping_add(100); 32]),
    }
}

pub(crate) fn salt(tag: u8) -> Salt {
    Salt::new([tag; 16]).expect("a salt")
}

/// A chain of three keys, each with its statement (made with `ssh-keygen -Y sign -n sealpost-key`).
pub(crate) fn chain() -> [(PublicKey, SignedStatement); 3] {
    [
        include_bytes!("../data/first.statement").as_slice(),
        include_bytes!("../data/second.statement"),
        include_bytes!("../data/third.statement"),
    ]
    .map(|wire| {
        let statement = SignedStatement::from_bytes(wire).expect("a valid statement");
        (statement.statement().key.clone(), statement)
    })
}
