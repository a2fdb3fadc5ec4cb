//! Messages read from the store, many at a time: while one batch is being answered, the next one is being read.

use super::index::Index;
use sealpost_proto::time::Timestamp;
use sealpost_store::{
    Store, StoreError,
    mailbox::{ContentId, ContentReader, Entry, Flags, MailboxId, Mark, Uid, UidRange},
};
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Messages in a batch of flags, ...
const MARKS: usize = 4000;
/// ... of entries, ...
const ENTRIES: usize = 1000;
/// ... and of what is larger: an index or a small body is some KiB.
const LARGE: usize = 100;

/// A message as FETCH and SEARCH need it.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) uid: Uid,
    pub(super) modseq: u64,
    pub(super) flags: Flags,
    pub(super) keywords: Vec<String>,
    /// `None` where only marks were asked for.
    pub(super) rest: Option<Rest>,
}

/// What does not change as long as a message lives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rest {
    pub(super) size: u64,
    pub(super) internal_date: Timestamp,
    pub(super) save_date: Timestamp,
    pub(super) content: ContentId,
}

impl From<Entry> for Message {
    fn from(entry: Entry) -> Self {
        Self {
            uid: entry.uid,
            modseq: entry.modseq,
            flags: entry.flags,
            keywords: entry.keywords,
            rest: Some(Rest {
                size: entry.size,
                internal_date: entry.internal_date,
                save_date: entry.save_date,
                content: entry.content,
            }),
        }
    }
}

impl From<Mark> for Message {
    fn from(mark: Mark) -> Self {
        Self { uid: mark.uid, modseq: mark.modseq, flags: mark.flags, keywords: mark.keywords, rest: None }
    }
}

/// How much is read of each message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Wants {
    /// Size, dates and content.
    pub(super) rest: bool,
    /// `NewMessage::index`.
    pub(super) index: bool,
    /// The octets. Those of the header alone go with the index.
    pub(super) octets: Octets,
}

/// How many of a message's octets are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Octets {
    #[default]
    None,
    /// Those of the header; others, where they are asked for after all, are read then.
    Header,
    All,
}

/// A message with what was asked for.
pub(super) struct Loaded {
    pub(super) message: Message,
    /// As stored; empty where none is, or none was asked for.
    pub(super) index: Vec<u8>,
    /// `None` where the message is gone meanwhile, or octets were not asked for.
    pub(super) octets: Option<Box<dyn ContentReader>>,
}

/// Reads messages in ascending order.
pub(super) struct Batches {
    store: Arc<dyn Store>,
    mailbox: MailboxId,
    /// What is left to be read.
    ranges: Vec<UidRange>,
    wants: Wants,
    next: Option<JoinHandle<Result<Vec<Loaded>, StoreError>>>,
}

impl Batches {
    pub(super) fn new(
        store: Arc<dyn Store>,
        mailbox: MailboxId,
        ranges: Vec<UidRange>,
        wants: Wants,
    ) -> Self {
        Self { store, mailbox, ranges, wants, next: None }
    }

    fn limit(&self) -> usize {
        match self.wants {
            Wants { index: true, .. } | Wants { octets: Octets::Header | Octets::All, .. } => LARGE,
            Wants { rest: true, .. } => ENTRIES,
            Wants { .. } => MARKS,
        }
    }

    /// Some messages; none at the end. Those that are gone are left out.
    pub(super) async fn next(&mut self) -> Result<Vec<Loaded>, StoreError> {
        let limit = self.limit();
        loop {
            let batch = match self.next.take() {
                Some(reading) => match reading.await {
                    Ok(batch) => batch?,
                    Err(_) => return Err(StoreError::Database("an internal error ended a read".into())),
                },
                None if self.ranges.is_empty() => return Ok(Vec::new()),
                None => read(&*self.store, self.mailbox, self.part(), limit, self.wants).await?,
            };
            match batch.last() {
                // More may follow in the same ranges.
                Some(last) if batch.len() >= limit => {
                    let last = last.message.uid;
                    self.ranges.retain(|(_, high)| *high > last);
                    if let Some(first) = self.ranges.first_mut() {
                        first.0 = first.0.max(last + 1);
                    }
                }
                _ => drop(self.ranges.drain(..self.part().len())),
            }
            if !self.ranges.is_empty() {
                let (store, ranges) = (self.store.clone(), self.part().to_vec());
                let (mailbox, wants) = (self.mailbox, self.wants);
                self.next =
                    Some(tokio::spawn(async move { read(&*store, mailbox, &ranges, limit, wants).await }));
            }
            if !batch.is_empty() {
                return Ok(batch);
            }
        }
    }

    /// The ranges of one read: there may be many, of a message each.
    fn part(&self) -> &[UidRange] {
        &self.ranges[..self.ranges.len().min(self.limit())]
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        if let Some(reading) = &self.next {
            reading.abort();
        }
    }
}

async fn read(
    store: &dyn Store,
    mailbox: MailboxId,
    ranges: &[UidRange],
    limit: usize,
    wants: Wants,
) -> Result<Vec<Loaded>, StoreError> {
    let plain = |message: Message| Loaded { message, index: Vec::new(), octets: None };
    if wants == Wants::default() {
        let marks = store.marks_in(mailbox, ranges, limit).await?;
        return Ok(marks.into_iter().map(|mark| plain(mark.into())).collect());
    }
    let entries = store.entries_in(mailbox, ranges, limit).await?;
    let contents: Vec<ContentId> = entries.iter().map(|entry| entry.content).collect();
    let mut batch: Vec<Loaded> = entries.into_iter().map(|entry| plain(entry.into())).collect();
    if wants.index {
        for (loaded, index) in batch.iter_mut().zip(store.indexes(&contents).await?) {
            loaded.index = index;
        }
    }
    let octets = match wants.octets {
        Octets::None => return Ok(batch),
        Octets::Header => {
            // Without an index nobody knows how long it is.
            let len = |loaded: &Loaded| Index::header_octets(&loaded.index).unwrap_or(u64::MAX);
            let heads: Vec<_> = contents.into_iter().zip(batch.iter().map(len)).collect();
            store.heads(&heads).await?
        }
        Octets::All => store.contents(&contents).await?,
    };
    for (loaded, octets) in batch.iter_mut().zip(octets) {
        loaded.octets = octets;
    }
    Ok(batch)
}
