//! How SEARCH goes through a mailbox: the store looks at flags, numbers and sketches, some thousand messages at a time,
//! and of what they leave open the index is read, and then the octets.

use super::{
    batches::Octets,
    index::{self, Index},
    search::{Sight, Test, prepare},
    session::{Refusal, Session},
    sketch::Probe,
    text,
    view::View,
};
use sealpost_proto::imap::SearchKey;
use sealpost_proto::time::Timestamp;
use sealpost_store::{
    StoreError,
    mailbox::{Answers, ContentId, MailboxId, Message, Scan, Scanned, Sketched, Uid, UidRange},
};
use std::{io, sync::Arc};
use tokio::task::JoinSet;

/// Parts of a mailbox that are looked through at once: two cores find twice as fast as one, and whoever has more of them
/// keeps the others for other sessions.
const ABREAST: usize = 2;
/// Messages that are opened at a time: each is some KiB.
const BATCH: usize = 100;
/// Most texts that sketches are asked about: the answers are the bits of a number.
const PROBES_MAX: usize = 64;

/// A search made ready.
pub(super) struct Search {
    pub(super) test: Test,
    probes: Vec<Probe>,
    /// What is read of messages that are opened.
    octets: Octets,
}

/// A text that is looked for.
pub(super) struct Needle {
    /// Folded.
    pub(super) text: String,
    /// Its place among the probes; `None` where sketches cannot rule it out.
    probe: Option<usize>,
}

impl Needle {
    /// Whether an answer to the probes says that the text is not there.
    pub(super) fn is_ruled_out(&self, answer: Option<u64>) -> bool {
        answer.zip(self.probe).is_some_and(|(bits, at)| bits >> at & 1 == 0)
    }
}

impl Session {
    /// The messages that match, in no order.
    pub(super) async fn scan(
        &self,
        search: &Arc<Search>,
        parts: Vec<Vec<UidRange>>,
        mailbox: MailboxId,
    ) -> Result<Vec<(Uid, u64)>, Refusal> {
        let scan = search.scan();
        let mut parts = parts.into_iter();
        let mut scans: JoinSet<Result<Scanned, StoreError>> = JoinSet::new();
        let mut found = Vec::new();
        loop {
            for part in parts.by_ref().take(ABREAST - scans.len()) {
                let (store, scan) = (self.ctx.store.clone(), scan.clone());
                scans.spawn(async move { store.scan(mailbox, &part, scan).await });
            }
            let Some(scanned) = scans.join_next().await else { return Ok(found) };
            let scanned = scanned.map_err(io::Error::other)??;
            found.extend(scanned.found);
            let mut open = scanned.open.into_iter().filter_map(Candidate::new);
            loop {
                let batch: Vec<Candidate> = open.by_ref().take(BATCH).collect();
                if batch.is_empty() {
                    break;
                }
                self.look_into(search, batch, &mut found).await?;
            }
        }
    }

    /// Decides from index and octets, off the async threads.
    async fn look_into(
        &self,
        search: &Arc<Search>,
        batch: Vec<Candidate>,
        found: &mut Vec<(Uid, u64)>,
    ) -> Result<(), Refusal> {
        let contents: Vec<ContentId> = batch.iter().map(|candidate| candidate.content).collect();
        let mut open = Vec::new();
        for (candidate, stored) in batch.into_iter().zip(self.ctx.store.indexes(&contents).await?) {
            let index = Index::read(&stored);
            let sight = Sight { index: index.as_ref(), ..candidate.sight() };
            match search.test.decide(&candidate.message, sight)? {
                Some(true) => found.push(candidate.entry()),
                Some(false) => {}
                None => open.push((candidate, index)),
            }
        }
        if open.is_empty() {
            return Ok(());
        }
        let readers = if search.octets == Octets::Header {
            let header = |index: &Option<Index>| {
                index.as_ref().and_then(|index| index.parts.first()).map_or(u64::MAX, |root| root.body)
            };
            let heads: Vec<_> = open.iter().map(|(c, index)| (c.content, header(index))).collect();
            self.ctx.store.heads(&heads).await?
        } else {
            let contents: Vec<_> = open.iter().map(|(c, _)| c.content).collect();
            self.ctx.store.contents(&contents).await?
        };
        let search = Arc::clone(search);
        let work = move || -> io::Result<Vec<(Uid, u64)>> {
            let mut found = Vec::new();
            for ((candidate, index), content) in open.into_iter().zip(readers) {
                // Removed by another session meanwhile.
                let Some(content) = content else { continue };
                let index = match index {
                    Some(index) => index,
                    None => index::parse(content.as_ref())?,
                };
                let sight =
                    Sight { index: Some(&index), content: Some(content.as_ref()), ..candidate.sight() };
                if search.test.decide(&candidate.message, sight)? == Some(true) {
                    found.push(candidate.entry());
                }
            }
            Ok(found)
        };
        found.extend(tokio::task::spawn_blocking(work).await.map_err(io::Error::other)??);
        Ok(())
    }
}

/// A message that may match.
struct Candidate {
    message: Message,
    content: ContentId,
    answers: Answers,
}

impl Candidate {
    fn new((message, answers): (Message, Answers)) -> Option<Self> {
        let content = message.rest?.content;
        Some(Self { message, content, answers })
    }

    /// What SEARCH tells of it where it matches.
    fn entry(&self) -> (Uid, u64) {
        (self.message.uid, self.message.modseq)
    }

    fn sight(&self) -> Sight<'static> {
        Sight { answers: self.answers, ..Sight::default() }
    }
}

impl Search {
    pub(super) fn new(view: &View, key: &SearchKey, now: Timestamp) -> Result<Self, Refusal> {
        let mut probes = Vec::new();
        let test = prepare(view, key, now, &mut probes)?;
        let octets = if test.asks(Sketched::Text) { Octets::All } else { Octets::Header };
        Ok(Self { test, probes, octets })
    }

    /// What the store can do of it.
    fn scan(self: &Arc<Self>) -> Scan {
        let (on, off) = self.test.flags();
        // What has to be there and must not be there is nowhere, which the test says itself.
        let flags = on.union(off.without(on));
        let sketches: &[Sketched] = match [Sketched::Header, Sketched::Text].map(|which| self.asks(which)) {
            [true, true] => &[Sketched::Header, Sketched::Text],
            [true, false] => &[Sketched::Header],
            [false, true] => &[Sketched::Text],
            [false, false] => &[],
        };
        let (deciding, judging) = (Arc::clone(self), Arc::clone(self));
        Scan {
            flags,
            set: on,
            keywords: self.test.wants_keywords(),
            rest: self.test.wants_rest(),
            decide: Arc::new(move |message, answers| {
                // Nothing is opened here, so that nothing can fail.
                deciding.test.decide(message, Sight { answers, ..Sight::default() }).unwrap_or_default()
            }),
            sketches,
            judge: Arc::new(move |sketch| {
                let may = judging.probes.iter().map(|probe| u64::from(probe.may_be_in(sketch)));
                may.enumerate().fold(0, |bits, (at, may)| bits | may << at)
            }),
        }
    }

    fn asks(&self, which: Sketched) -> bool {
        !self.probes.is_empty() && self.test.asks(which)
    }
}

/// A text to be looked for, and whatever else `names` has to be in the sketch.
pub(super) fn needle(probes: &mut Vec<Probe>, text: &str, name: Option<&str>) -> Needle {
    let text = text::fold(text);
    let probe = Probe::of(&text).and(Probe::of(&text::fold(name.unwrap_or_default())));
    let at = (probe.narrows() && probes.len() < PROBES_MAX).then_some(probes.len());
    if at.is_some() {
        probes.push(probe);
    }
    Needle { text, probe: at }
}
