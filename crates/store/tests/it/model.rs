//! Random histories of three mailboxes, compared step by step with a model that fits on a page.

use crate::support::{TestClock, account, flagged, mailbox, options, read};
use proptest::{collection::vec, prelude::*, sample::subsequence};
use sealpost_store::{
    account::AccountId,
    mailbox::{Entry, FlagChange, Flags, MailboxId, Mailboxes, Mark, NewMessage, Uid, UidRange},
    sqlite::SqliteStore,
};
use std::collections::{BTreeMap, BTreeSet};

const MAILBOXES: [&str; 3] = ["INBOX", "Archive", "Trash"];
const KEYWORDS: [&str; 3] = ["work", "home", "$forwarded"];

#[derive(Debug, Clone)]
enum Step {
    Append { to: usize, messages: Vec<(u8, Vec<&'static str>)> },
    Store { at: usize, uids: Vec<Uid>, how: u8, flags: u8, keywords: Vec<&'static str>, guarded: bool },
    Copy { from: usize, uids: Vec<Uid>, to: usize },
    Move { from: usize, uids: Vec<Uid>, to: usize },
    Expunge { at: usize, uids: Option<Vec<Uid>> },
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let at = 0..MAILBOXES.len();
    let uids = || vec(1..12_u32, 0..6);
    let keywords = || subsequence(KEYWORDS.to_vec(), 0..=2);
    let step = prop_oneof![
        4 => (at.clone(), vec((0..32_u8, keywords()), 0..4))
            .prop_map(|(to, messages)| Step::Append { to, messages }),
        4 => (at.clone(), uids(), 0..3_u8, 0..32_u8, keywords(), any::<bool>())
            .prop_map(|(at, uids, how, flags, keywords, guarded)|
                Step::Store { at, uids, how, flags, keywords, guarded }),
        2 => (at.clone(), uids(), at.clone()).prop_map(|(from, uids, to)| Step::Copy { from, uids, to }),
        2 => (at.clone(), uids(), at.clone()).prop_map(|(from, uids, to)| Step::Move { from, uids, to }),
        2 => (at, proptest::option::of(uids())).prop_map(|(at, uids)| Step::Expunge { at, uids }),
        1 => Just(Step::Restart),
    ];
    vec(step, 1..40)
}

#[derive(Debug, Clone, PartialEq)]
struct Message {
    octets: String,
    flags: Flags,
    keywords: BTreeSet<String>,
    changed: u64,
}

#[derive(Debug, Default)]
struct Model {
    next: Uid,
    messages: BTreeMap<Uid, Message>,
    /// UID to the step of its going.
    gone: BTreeMap<Uid, u64>,
}

impl Model {
    fn put(&mut self, message: Message) -> Uid {
        self.next += 1;
        self.messages.insert(self.next, message);
        self.next
    }
    fn those(&self, uids: &[Uid]) -> Vec<Uid> {
        let wanted: BTreeSet<_> = uids.iter().copied().collect();
        wanted.into_iter().filter(|uid| self.messages.contains_key(uid)).collect()
    }
}

/// The store, its model, and the MODSEQ of each mailbox after each step.
struct World {
    dir: tempfile::TempDir,
    /// None for a moment while it is opened again.
    store: Option<std::sync::Arc<SqliteStore>>,
    ids: Vec<MailboxId>,
    models: Vec<Model>,
    /// For each mailbox: MODSEQ and UIDNEXT before the step of that number.
    moments: Vec<Vec<(u64, Uid)>>,
    made: u64,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Self::open(&dir);
        let owner: AccountId = account(&*store, "alice@example.net").await;
        let mut ids = Vec::new();
        for name in MAILBOXES {
            ids.push(mailbox(&*store, owner, name).await);
        }
        let models = MAILBOXES.iter().map(|_| Model::default()).collect();
        Self { dir, store: Some(store), ids, models, moments: vec![Vec::new(); MAILBOXES.len()], made: 0 }
    }

    fn open(dir: &tempfile::TempDir) -> std::sync::Arc<SqliteStore> {
        SqliteStore::open_with(dir.path(), options(&TestClock::new())).expect("opens")
    }

    fn store(&self) -> &SqliteStore {
        self.store.as_deref().expect("is open")
    }

    async fn run(&mut self, step: Step, n: u64) {
        for at in 0..self.ids.len() {
            let status = self.store().status(self.ids[at]).await.expect("a status");
            self.moments[at].push((status.modseq, status.uid_next));
        }
        match step {
            Step::Append { to, messages } => self.append(to, messages, n).await,
            Step::Store { at, uids, how, flags, keywords, guarded } => {
                let how = [FlagChange::Replace, FlagChange::Add, FlagChange::Remove][usize::from(how)];
                self.flag(at, &uids, how, Flags(flags), &keywords, guarded, n).await;
            }
            Step::Copy { from, uids, to } => {
                let there = self.models[from].those(&uids);
                let copied = self.store().copy(self.ids[from], &uids, self.ids[to]).await.expect("copies");
                assert_eq!(copied.uids, self.put_all(from, &there, to, n));
            }
            Step::Move { from, uids, to } => {
                let there = self.models[from].those(&uids);
                let moved =
                    self.store().move_messages(self.ids[from], &uids, self.ids[to]).await.expect("moves");
                assert_eq!(moved.uids, self.put_all(from, &there, to, n));
                self.take(from, &there, n);
            }
            Step::Expunge { at, uids } => {
                let model = &self.models[at];
                let candidates = uids.clone().unwrap_or_else(|| model.messages.keys().copied().collect());
                let mut there = model.those(&candidates);
                there.retain(|uid| model.messages[uid].flags.contains(Flags::DELETED));
                let gone = self.store().expunge(self.ids[at], uids.as_deref()).await.expect("expunges");
                assert_eq!(gone, there);
                self.take(at, &there, n);
            }
            Step::Restart => {
                self.store().collect_garbage().await.expect("collects");
                // The old one first: it holds the lock.
                self.store = None;
                self.store = Some(Self::open(&self.dir));
            }
        }
        self.compare().await;
    }

    async fn append(&mut self, to: usize, messages: Vec<(u8, Vec<&'static str>)>, n: u64) {
        let mut expected = Vec::new();
        let mut new: Vec<NewMessage> = Vec::new();
        for (flags, keywords) in messages {
            self.made += 1;
            let octets = format!("message {}", self.made);
            new.push(flagged(&octets, Flags(flags), &keywords));
            let keywords = keywords.into_iter().map(str::to_owned).collect();
            expected.push((
                0,
                self.models[to].put(Message { octets, flags: Flags(flags), keywords, changed: n }),
            ));
        }
        assert_eq!(self.store().append(self.ids[to], new).await.expect("appends").uids, expected);
    }

    #[expect(clippy::too_many_arguments, reason = "they are STORE's own")]
    async fn flag(
        &mut self,
        at: usize,
        uids: &[Uid],
        how: FlagChange,
        flags: Flags,
        keywords: &[&str],
        guarded: bool,
        n: u64,
    ) {
        let keywords: Vec<String> = keywords.iter().map(|keyword| (*keyword).to_owned()).collect();
        // Guarded by the state before the step before.
        let moments = &self.moments[at];
        let since = guarded.then(|| moments[moments.len().saturating_sub(2)].0);
        let seen_since = guarded.then(|| n.saturating_sub(1));
        let (mut touched, mut left) = (Vec::new(), Vec::new());
        for uid in self.models[at].those(uids) {
            let message = self.models[at].messages.get_mut(&uid).expect("is there");
            if seen_since.is_some_and(|since| message.changed >= since) {
                left.push(uid);
                continue;
            }
            let before = message.clone();
            match how {
                FlagChange::Replace => {
                    message.flags = flags;
                    message.keywords = keywords.iter().cloned().collect();
                }
                FlagChange::Add => {
                    message.flags = message.flags.union(flags);
                    message.keywords.extend(keywords.iter().cloned());
                }
                FlagChange::Remove => {
                    message.flags = message.flags.without(flags);
                    message.keywords.retain(|keyword| !keywords.contains(keyword));
                }
            }
            if *message != before {
                message.changed = n;
            }
            touched.push(uid);
        }
        let (entries, left_alone) =
            self.store().store_flags(self.ids[at], uids, how, flags, &keywords, since).await.expect("stores");
        assert_eq!(entries.iter().map(|changed| changed.entry.uid).collect::<Vec<_>>(), touched);
        assert_eq!(left_alone, left);
    }

    fn put_all(&mut self, from: usize, uids: &[Uid], to: usize, n: u64) -> Vec<(Uid, Uid)> {
        uids.iter()
            .map(|uid| {
                let message = Message { changed: n, ..self.models[from].messages[uid].clone() };
                (*uid, self.models[to].put(message))
            })
            .collect()
    }

    fn take(&mut self, from: usize, uids: &[Uid], n: u64) {
        for uid in uids {
            self.models[from].messages.remove(uid);
            self.models[from].gone.insert(*uid, n);
        }
    }

    /// Lists of some are parts of the list of all.
    async fn compare_parts(&self, id: MailboxId, entries: &[Entry]) {
        for (ranges, limit) in [
            (&[][..], 9),
            (&[(1, Uid::MAX)], 1000),
            (&[(1, Uid::MAX)], 3),
            (&[(2, 3), (5, 5), (7, 20)], 4),
            (&[(2, 3), (5, 5), (7, 20)], 0),
        ] {
            let within = |entry: &&Entry| ranges.iter().any(|(low, high)| (low..=high).contains(&&entry.uid));
            let expected: Vec<Entry> = entries.iter().filter(within).take(limit).cloned().collect();
            let marks: Vec<Mark> = expected.iter().map(mark).collect();
            assert_eq!(self.store().entries_in(id, ranges, limit).await.expect("entries"), expected);
            assert_eq!(self.store().marks_in(id, ranges, limit).await.expect("marks"), marks);
        }
    }

    async fn compare(&self) {
        for ((id, model), moments) in self.ids.iter().zip(&self.models).zip(&self.moments) {
            let status = self.store().status(*id).await.expect("a status");
            let entries = self.store().entries(*id).await.expect("entries");
            let last = moments.last().expect("at least one");
            assert!(status.modseq >= last.0, "MODSEQ never falls");
            assert_eq!(status.uid_next, model.next + 1);
            assert_eq!(entries.len(), model.messages.len());
            for (entry, (uid, message)) in entries.iter().zip(&model.messages) {
                assert_eq!(entry.uid, *uid);
                assert_eq!(entry.flags, message.flags);
                assert_eq!(entry.keywords, message.keywords.iter().cloned().collect::<Vec<_>>());
                assert_eq!(entry.size, message.octets.len() as u64);
                assert!(entry.modseq <= status.modseq);
                assert_eq!(read(self.store(), entry.content).await, message.octets.as_bytes());
            }
            self.compare_parts(*id, &entries).await;
            let how_many =
                |wanted: fn(Flags) -> bool| model.messages.values().filter(|m| wanted(m.flags)).count();
            assert_eq!(status.messages as usize, model.messages.len());
            assert_eq!(status.unseen as usize, how_many(|flags| !flags.contains(Flags::SEEN)));
            assert_eq!(status.deleted as usize, how_many(|flags| flags.contains(Flags::DELETED)));
            assert_eq!(status.size, entries.iter().map(|entry| entry.size).sum::<u64>());
            // What changed since each earlier moment.
            for (step, (since, uid_next)) in (0..).zip(moments) {
                let changes = self.store().changes(*id, *since).await.expect("changes");
                let expected: Vec<Uid> = model
                    .messages
                    .iter()
                    .filter(|(_, message)| message.changed >= step)
                    .map(|(uid, _)| *uid)
                    .collect();
                assert_eq!(changes.entries.iter().map(|entry| entry.uid).collect::<Vec<_>>(), expected);
                let gone: Vec<Uid> =
                    model.gone.iter().filter(|(_, at)| **at >= step).map(|(uid, _)| *uid).collect();
                assert_eq!(changes.vanished, gone);
                let touched = self.store().touched(*id, *since).await.expect("UIDs");
                assert_eq!(one_by_one(touched.changed), expected);
                assert_eq!(one_by_one(touched.vanished), gone);
                // Who was there then: those who are here, and those who have gone since.
                let mut there: Vec<Uid> = model.messages.keys().copied().chain(gone).collect();
                there.retain(|uid| uid < uid_next);
                there.sort_unstable();
                let ranges = self.store().uids(*id, *since, *uid_next).await.expect("UIDs");
                assert_eq!(one_by_one(ranges), there);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn mailboxes_behave_like_the_model(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let mut world = World::new().await;
            for (n, step) in (0..).zip(steps) {
                world.run(step, n).await;
            }
        });
    }
}

fn one_by_one(ranges: Vec<UidRange>) -> Vec<Uid> {
    assert!(ranges.windows(2).all(|two| two[0].1 + 1 < two[1].0), "as few ranges as can be");
    ranges.into_iter().flat_map(|(low, high)| low..=high).collect()
}

fn mark(entry: &Entry) -> Mark {
    Mark { uid: entry.uid, modseq: entry.modseq, flags: entry.flags, keywords: entry.keywords.clone() }
}
