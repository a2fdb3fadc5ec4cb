//! Messages read from the store, many at a time: while one batch is being answered, the next one is being read.

use super::{index::Index, preview};
use sealpost_store::{
    Store, StoreError,
    mailbox::{ContentReader, Extent, Load, MailboxId, Message, UidRange},
};
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Messages in a batch of flags, ...
const MARKS: usize = 4000;
/// ... of entries, ...
const ENTRIES: usize = 1000;
/// ... and of what is larger: an index or a header is some KiB, ...
const LARGE: usize = 400;
/// ... and so many octets of a batch are in memory: a session has two of them.
const OCTETS: usize = 512 * 1024;

/// How much is read of each message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Wants {
    /// Size, dates and content.
    pub(super) rest: bool,
    /// `NewMessage::index`.
    pub(super) index: bool,
    /// The octets. Those of the header or beginning alone go with the index.
    pub(super) octets: Octets,
}

/// How many of a message's octets are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Octets {
    #[default]
    None,
    /// Those of the header; others, where they are asked for after all, are read then.
    Header,
    /// The header and the beginning of the first text, likewise.
    Beginning,
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
    next: Option<JoinHandle<Result<Read, StoreError>>>,
}

/// What one read gave, and whether the same ranges may have more.
type Read = (Vec<Loaded>, bool);

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
            Wants { index: true, .. }
            | Wants { octets: Octets::Header | Octets::Beginning | Octets::All, .. } => LARGE,
            Wants { rest: true, .. } => ENTRIES,
            Wants { .. } => MARKS,
        }
    }

    /// Some messages; none at the end. Those that are gone are left out.
    pub(super) async fn next(&mut self) -> Result<Vec<Loaded>, StoreError> {
        let limit = self.limit();
        loop {
            let (batch, more) = match self.next.take() {
                Some(reading) => match reading.await {
                    Ok(read) => read?,
                    Err(_) => return Err(StoreError::Database("an internal error ended a read".into())),
                },
                None if self.ranges.is_empty() => return Ok(Vec::new()),
                None => read(&*self.store, self.mailbox, self.part(), limit, self.wants).await?,
            };
            match batch.last() {
                Some(last) if more => {
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
) -> Result<Read, StoreError> {
    let plain = |message: Message| Loaded { message, index: Vec::new(), octets: None };
    if !wants.index && wants.octets == Octets::None {
        let all: Vec<Loaded> = if wants.rest {
            let entries = store.entries_in(mailbox, ranges, limit).await?;
            entries.into_iter().map(|entry| plain(entry.into())).collect()
        } else {
            let marks = store.marks_in(mailbox, ranges, limit).await?;
            marks.into_iter().map(|mark| plain(mark.into())).collect()
        };
        let more = all.len() >= limit;
        return Ok((all, more));
    }
    let extent = match wants.octets {
        Octets::None => Extent::Nothing,
        // Without an index nobody knows how long it is.
        Octets::Header => Extent::Header(|index| Index::header_octets(index).unwrap_or(u64::MAX)),
        Octets::Beginning => Extent::Header(beginning),
        Octets::All => Extent::Whole,
    };
    let load = Load { messages: limit, octets: OCTETS, index: wants.index, extent };
    let batch = store.load(mailbox, ranges, load).await?;
    let loaded = batch.messages.into_iter().map(|loaded| Loaded {
        message: loaded.entry.into(),
        index: loaded.index,
        octets: loaded.octets,
    });
    Ok((loaded.collect(), batch.more))
}

/// How many octets hold the header and the beginning of the first text, likewise.
fn beginning(index: &[u8]) -> u64 {
    let header = Index::header_octets(index).unwrap_or_default();
    Index::read(index).map_or(u64::MAX, |index| preview::octets_wanted(&index).max(header))
}
