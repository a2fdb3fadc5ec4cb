//! What SEARCH does with messages that flags and numbers leave open: sketches rule most of them out, then the index is
//! read, and then the octets, of many at a time.

use super::{
    batches::{Message, Octets},
    index::{self, Index},
    search::{Sight, Test, prepare},
    session::{Refusal, Session},
    sketch::Probe,
    text,
    view::View,
};
use sealpost_proto::imap::SearchKey;
use sealpost_proto::time::Timestamp;
use sealpost_store::mailbox::{ContentId, Judge, Sketched, Uid};
use std::{io, sync::Arc};

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
    /// Decides what needs a closer look.
    pub(super) async fn decide_open(
        &self,
        search: &Arc<Search>,
        open: Vec<Message>,
        found: &mut Vec<(Uid, u64)>,
    ) -> Result<(), Refusal> {
        let open = open.into_iter().filter_map(Candidate::new).collect();
        let mut open = self.sift(search, open, found).await?.into_iter();
        loop {
            let batch: Vec<Candidate> = open.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                return Ok(());
            }
            self.look_into(search, batch, found).await?;
        }
    }

    /// What sketches do not rule out.
    async fn sift(
        &self,
        search: &Arc<Search>,
        mut open: Vec<Candidate>,
        found: &mut Vec<(Uid, u64)>,
    ) -> Result<Vec<Candidate>, Refusal> {
        for which in [Sketched::Header, Sketched::Text] {
            if open.is_empty() || search.probes.is_empty() || !search.test.asks(which) {
                continue;
            }
            let contents: Vec<_> = open.iter().map(|candidate| candidate.content).collect();
            let answers = self.ctx.store.judge(which, &contents, search.judge()).await?;
            let mut left = Vec::new();
            for (mut candidate, answer) in open.into_iter().zip(answers) {
                match which {
                    Sketched::Header => candidate.header = Some(answer),
                    Sketched::Text => candidate.text = Some(answer),
                }
                match search.test.decide(&candidate.message, candidate.sight())? {
                    Some(true) => found.push(candidate.entry()),
                    Some(false) => {}
                    None => left.push(candidate),
                }
            }
            open = left;
        }
        Ok(open)
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
    header: Option<u64>,
    text: Option<u64>,
}

impl Candidate {
    fn new(message: Message) -> Option<Self> {
        let content = message.rest?.content;
        Some(Self { message, content, header: None, text: None })
    }

    /// What SEARCH tells of it where it matches.
    fn entry(&self) -> (Uid, u64) {
        (self.message.uid, self.message.modseq)
    }

    fn sight(&self) -> Sight<'static> {
        Sight { header: self.header, text: self.text, index: None, content: None }
    }
}

impl Search {
    pub(super) fn new(view: &View, key: &SearchKey, now: Timestamp) -> Result<Self, Refusal> {
        let mut probes = Vec::new();
        let test = prepare(view, key, now, &mut probes)?;
        let octets = if test.asks(Sketched::Text) { Octets::All } else { Octets::Header };
        Ok(Self { test, probes, octets })
    }

    /// Which of the texts may be there, by a sketch.
    fn judge(self: &Arc<Self>) -> Judge {
        let search = Arc::clone(self);
        Arc::new(move |sketch| {
            let may = search.probes.iter().map(|probe| u64::from(probe.may_be_in(sketch)));
            may.enumerate().fold(0, |bits, (at, may)| bits | may << at)
        })
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
