//! A selected mailbox as this session has told it: message numbers stay as the client knows them until the client
//! is told otherwise (RFC 9051 §5.2, §7.5.1).
//!
//! Nothing is kept of a message but its UID, and the UIDs not before a command asks for numbers: SELECT costs the same
//! in a mailbox of any size. Flags, sizes and dates are read when they are asked for ([`super::batches`]).

use super::{
    batches::{Batches, Wants},
    session::Refusal,
    uids::Uids,
};
use sealpost_proto::imap::{SeqNumber, SequenceSet};
use sealpost_store::{
    Store, StoreError,
    mailbox::{Entry, MailboxId, MailboxStatus, Message, Uid, UidRange},
};
use std::sync::Arc;
use tokio::sync::watch;

/// The messages that a command names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Pick {
    /// From and to UIDs that the client knows; what lies between two of a range it knows, or is gone for good.
    pub(super) ranges: Vec<UidRange>,
    /// How many they are.
    pub(super) count: u32,
}

/// The selected mailbox.
pub(super) struct View {
    pub(super) id: MailboxId,
    pub(super) read_only: bool,
    /// How many keywords the client was told of: a mailbox gets more, and never fewer.
    pub(super) keywords: usize,
    /// What SEARCH RETURN (SAVE) kept (RFC 5182).
    pub(super) saved: Vec<UidRange>,
    /// Messages that the client was told of, those of `vanished` among them.
    exists: u32,
    /// Which they are; read from the store at the first command that needs it.
    uids: Option<Uids>,
    /// Above all of them.
    uid_next: Uid,
    /// The client was told of all changes up to here, but for `vanished`.
    modseq: u64,
    /// UIDs gone that the client has not been told of yet.
    vanished: Vec<Uid>,
    /// Messages whose state the client knows from the answer to a command, and MODSEQ of that state.
    told: Vec<(Uid, u64)>,
    /// Messages that this session itself put here, and that the client knows of by the answer.
    own: Vec<Uid>,
    /// Changes of flags were left out from this MODSEQ on, for the client does not want them (NOTIFY).
    flags_since: Option<u64>,
    watch: watch::Receiver<u64>,
    /// Changes are to be looked for, whatever the watch says.
    expected: bool,
}

/// What has to be told of changes.
#[derive(Default)]
pub(super) struct News {
    /// UIDs gone (ascending), and where they stood.
    pub(super) gone: Vec<(Uid, u32)>,
    /// The number of messages, if it grew, ...
    pub(super) exists: Option<u32>,
    /// ... and by which messages of others (ascending).
    pub(super) arrived: Vec<Uid>,
    /// Messages whose flags were changed.
    pub(super) flags: Vec<Message>,
    /// Whether messages that are new or were changed have keywords.
    pub(super) keywords: bool,
}

impl View {
    /// Of a mailbox as `status` shows it; `watch` is older.
    pub(super) fn new(
        id: MailboxId,
        read_only: bool,
        status: &MailboxStatus,
        keywords: usize,
        watch: watch::Receiver<u64>,
    ) -> Self {
        Self {
            id,
            read_only,
            keywords,
            saved: Vec::new(),
            exists: status.messages,
            uids: (status.messages == 0).then(Uids::default),
            uid_next: status.uid_next,
            modseq: status.modseq,
            vanished: Vec::new(),
            told: Vec::new(),
            own: Vec::new(),
            flags_since: None,
            watch,
            expected: false,
        }
    }

    /// Reads which messages were there when the client was last told.
    pub(super) async fn number(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        if self.uids.is_none() {
            let uids = Uids::new(&store.uids(self.id, self.modseq, self.uid_next).await?);
            self.exists = uids.len();
            self.uids = Some(uids);
        }
        Ok(())
    }

    /// The UIDs by number; [`View::number`] comes first.
    fn uids(&self) -> &Uids {
        const NONE: &Uids = &Uids::EMPTY;
        self.uids.as_ref().unwrap_or(NONE)
    }

    /// The number of a message, if the client knows it.
    pub(super) fn number_of(&self, uid: Uid) -> Option<u32> {
        self.uids().place(uid).map(|place| place + 1)
    }

    /// The messages that a set names. Message numbers must exist (RFC 9051 §6.4.8 lets UIDs not).
    pub(super) fn resolve(&self, set: &SequenceSet, uid: bool) -> Result<Pick, Refusal> {
        let uids = self.uids();
        let mut pick = Pick::default();
        let SequenceSet::Ranges(ranges) = set else {
            for range in &self.saved {
                pick.add(uids, uids.below(range.0), uids.below(range.1.saturating_add(1)));
            }
            return Ok(pick);
        };
        let exists = uids.len();
        let largest = if uid { uids.last().unwrap_or(0) } else { exists };
        let open = ranges.iter().any(|(a, b)| [a, b].into_iter().any(|n| matches!(n, SeqNumber::Largest)));
        for (low, high) in set.resolve(largest) {
            if uid {
                pick.add(uids, uids.below(low), uids.below(high.saturating_add(1)));
            } else if high > exists && !open {
                return Err(Refusal::Bad("there is no message of that number".to_owned()));
            } else {
                pick.add(uids, low.max(1) - 1, high.min(exists));
            }
        }
        Ok(pick)
    }

    /// All messages.
    pub(super) fn all(&self) -> Pick {
        let uids = self.uids();
        let mut pick = Pick::default();
        pick.add(uids, 0, uids.len());
        pick
    }

    /// A choice in parts of at most so many messages.
    pub(super) fn parts(&self, pick: &Pick, most: u32) -> Vec<Vec<UidRange>> {
        self.uids().parts(&pick.ranges, most)
    }

    /// The UIDs of a choice, one by one.
    pub(super) fn list(&self, pick: &Pick) -> Vec<Uid> {
        let ranges = pick.ranges.iter().flat_map(|range| self.uids().within(*range));
        ranges.flat_map(|(low, high)| low..=high).collect()
    }

    /// The UIDs that a set of UIDs names, whether there are messages or not.
    pub(super) fn named(&self, set: &SequenceSet) -> Vec<UidRange> {
        match set {
            SequenceSet::Saved => self.saved.clone(),
            SequenceSet::Ranges(_) => set.resolve(self.uids().last().unwrap_or(0)),
        }
    }

    /// The parts of ranges that are none of the UIDs that the client knows.
    pub(super) fn unknown(&self, ranges: &[UidRange]) -> Vec<UidRange> {
        ranges.iter().flat_map(|range| self.uids().others(*range)).collect()
    }

    /// The client was told of all changes up to here.
    pub(super) fn modseq(&self) -> u64 {
        self.modseq
    }

    /// Reads messages; see [`Batches`].
    pub(super) fn batches(&self, store: &Arc<dyn Store>, pick: &Pick, wants: Wants) -> Batches {
        Batches::new(store.clone(), self.id, pick.ranges.clone(), wants)
    }

    /// The client knows the flags of a message as they are at this MODSEQ: [`View::take_changes`] does not tell them
    /// again.
    pub(super) fn knows(&mut self, uid: Uid, modseq: u64) {
        self.told.push((uid, modseq));
    }

    /// This session put messages here.
    pub(super) fn put(&mut self, uids: impl IntoIterator<Item = Uid>) {
        self.own.extend(uids);
    }

    /// The client wants to hear of nothing (NOTIFY): what it knows itself need not be kept.
    pub(super) fn stay(&mut self) {
        self.told = Vec::new();
        self.own = Vec::new();
    }

    /// Whether the client knew a message when it was at this MODSEQ.
    pub(super) fn knew(&self, modseq: u64) -> bool {
        modseq <= self.modseq
    }

    /// Forgets messages (ascending); those it knew, and where they stood.
    pub(super) fn remove(&mut self, uids: &[Uid]) -> Vec<(Uid, u32)> {
        let gone = self.uids.as_mut().map(|all| all.remove(uids)).unwrap_or_default();
        self.exists = self.uids().len();
        gone
    }

    /// Whether something happened in the account since this was last asked.
    pub(super) fn is_stale(&self) -> bool {
        self.expected || self.watch.has_changed().unwrap_or(true)
    }

    /// Makes the view stale, whatever the watch says. Nobody who waits for changes is woken by it.
    pub(super) fn expect_changes(&mut self) {
        self.expected = true;
    }

    /// Whether there is something to tell a client that listens all the time. Where the store fails it is asked again at
    /// the next change.
    pub(super) fn has_news(&self, numbers_may_shift: bool) -> bool {
        self.watch.has_changed().unwrap_or(false)
            || numbers_may_shift && !self.expected && !self.vanished.is_empty()
    }

    /// Resolves at the next change in the account, which stays visible to [`View::is_stale`].
    pub(super) async fn changed(&mut self) {
        match self.watch.changed().await {
            Ok(()) => self.watch.mark_changed(),
            Err(_) => std::future::pending().await,
        }
    }

    /// What others changed. Messages that are gone are told only where `numbers_may_shift`; until then they keep their
    /// numbers. Without `flags` changes of flags are left out, and made up for when they are wanted again.
    pub(super) async fn take_changes(
        &mut self,
        store: &dyn Store,
        numbers_may_shift: bool,
        flags: bool,
    ) -> Result<News, StoreError> {
        let mut news = News::default();
        let mut new = Vec::new();
        if self.is_stale() {
            self.watch.mark_unchanged();
            // What is told twice for an older MODSEQ does no harm, and what has vanished is no longer known.
            let since = self.flags_since.filter(|_| flags).unwrap_or(self.modseq);
            let changes = store.changes(self.id, since).await?;
            self.expected = false;
            news.keywords = changes.entries.iter().any(|entry| !entry.keywords.is_empty());
            let (arrived, known): (_, Vec<Entry>) =
                changes.entries.into_iter().partition(|e| e.uid >= self.uid_next);
            let mut vanished = changes.vanished;
            vanished.retain(|uid| *uid < self.uid_next);
            if !known.is_empty() || !vanished.is_empty() {
                // The state before: numbers are still those that the client knows.
                self.number(store).await?;
            }
            if flags {
                self.flags_since = None;
            } else if !known.is_empty() {
                self.flags_since.get_or_insert(self.modseq);
            }
            self.modseq = changes.modseq;
            self.vanished.append(&mut vanished);
            let mut told = std::mem::take(&mut self.told);
            told.sort_unstable();
            let is_told = |entry: &Entry| {
                let after = told.partition_point(|(uid, _)| *uid <= entry.uid);
                after.checked_sub(1).is_some_and(|at| told[at].0 == entry.uid && told[at].1 >= entry.modseq)
            };
            if flags {
                news.flags = known.into_iter().filter(|e| !is_told(e)).map(Message::from).collect();
            }
            new = arrived;
        }
        if numbers_may_shift && !self.vanished.is_empty() {
            let mut vanished = std::mem::take(&mut self.vanished);
            vanished.sort_unstable();
            vanished.dedup();
            news.gone = self.remove(&vanished);
        }
        if let Some(last) = new.last() {
            self.uid_next = last.uid.saturating_add(1);
            self.exists += u32::try_from(new.len()).unwrap_or(u32::MAX);
            if let Some(uids) = &mut self.uids {
                for entry in &new {
                    uids.push((entry.uid, entry.uid));
                }
            }
            news.exists = Some(self.exists);
            let mut own = std::mem::take(&mut self.own);
            own.sort_unstable();
            let arrived = new.iter().map(|entry| entry.uid);
            news.arrived = arrived.filter(|uid| own.binary_search(uid).is_err()).collect();
        }
        Ok(news)
    }

    /// The mailbox itself is gone, and all messages with it; how many they were, and their UIDs where they are known.
    pub(super) fn take_all(&mut self) -> (u32, Option<Uids>) {
        self.vanished.clear();
        (std::mem::take(&mut self.exists), self.uids.replace(Uids::EMPTY))
    }
}

impl Pick {
    /// Adds the messages from one place up to, but not including, another.
    fn add(&mut self, uids: &Uids, from: u32, to: u32) {
        if let (true, Some(first), Some(last)) = (from < to, uids.at(from), uids.at(to.saturating_sub(1))) {
            self.ranges.push((first, last));
            self.count += to - from;
        }
    }
}

/// UIDs (ascending) as ranges.
pub(super) fn ranges(uids: &[Uid]) -> Vec<UidRange> {
    let mut all: Vec<UidRange> = Vec::new();
    for uid in uids {
        match all.last_mut() {
            Some(last) if last.1.saturating_add(1) == *uid => last.1 = *uid,
            _ => all.push((*uid, *uid)),
        }
    }
    all
}
