//! Messages whose octets have to be asked for: those that were never opened are judged and indexed, those that were are
//! opened again. They are handled as they come, several at once, and answered in their order.

use super::{
    Came, Held, Result, Session,
    fetch::{Asked, Failure, unasked},
    guard,
    listing::{self, Listed},
    parts,
    pipeline::{Messages, Pipeline},
    wire::{self, Response, items, response},
};
use crate::{
    account::BridgeError,
    entry::{Entry, Keywords},
};
use sealpost_client::{
    bridge::{Begun, Decided, Fetched, Judgement, Judging},
    error::ClientError,
    open::Shown,
};
use sealpost_proto::imap::{
    Atom, Body, Command, FetchItem, Flag, Section, SequenceSet, StoreHow, Tag, mime::Structure,
};
use std::{
    collections::HashMap,
    io::{self, Write as _},
    sync::Arc,
};
use tokio::io::{AsyncRead, AsyncWrite};
use zeroize::Zeroizing;

/// Octets of entries that wait for the index: the text of one message may have 4 MiB.
const WAITING_OCTETS_MAX: usize = 4 * 1024 * 1024;
/// Entries that wait for it: the index takes them while others are judged.
const WAITING_MAX: usize = 256;
/// Octets of entries kept for a session alone; of more, neither header nor text is found by a search.
const PROVISIONAL_MAX: usize = 16 * 1024 * 1024;
/// Longest message taken from the server, in octets: as the command line has it.
const MESSAGE_MAX: u64 = 1 << 30;

/// The octets of an opened message, and where its parts are if that is asked.
#[derive(Clone)]
pub(super) struct Content {
    pub(super) shown: Arc<Shown>,
    pub(super) structure: Option<Arc<Structure>>,
}

impl Content {
    pub(super) fn new(shown: Shown, items: &[FetchItem]) -> io::Result<Self> {
        let structure = items.iter().any(parts::needs_structure).then(|| shown.structure()).transpose()?;
        Ok(Self { shown: Arc::new(shown), structure: structure.map(Arc::new) })
    }

    /// With the places of parts, where `items` ask for them.
    pub(super) async fn for_items(mut self, items: &[FetchItem]) -> Result<Self> {
        if self.structure.is_none() && items.iter().any(parts::needs_structure) {
            let shown = self.shown.clone();
            let structure = tokio::task::spawn_blocking(move || shown.structure());
            self.structure = Some(Arc::new(structure.await.map_err(io::Error::other)??));
        }
        Ok(self)
    }
}

/// A message that came, and what stood around it.
struct Arrived {
    listed: Listed,
    /// Within the parentheses; a long message is left out.
    octets: Vec<u8>,
    message: Fetched,
}

/// A message on its way through a [`Pipeline`].
struct Passing<T> {
    listed: Listed,
    /// Within the parentheses; a long message is left out.
    octets: Vec<u8>,
    /// Its octets at the server.
    stored: u64,
    work: T,
}

impl<T> Passing<T> {
    fn map<U>(self, f: impl FnOnce(T) -> U) -> Passing<U> {
        Passing { listed: self.listed, octets: self.octets, stored: self.stored, work: f(self.work) }
    }
}

/// An indexed message; without content where it is not what was indexed.
type Again = io::Result<(Entry, Option<Content>)>;

type Judged = Passing<std::result::Result<Decided, ClientError>>;

/// Messages that were judged, and what is to become of them.
struct Opening<'a> {
    asked: Option<Asked<'a>>,
    judging: Judging,
    learning: Learning,
    failure: Option<BridgeError>,
}

/// What was learnt of messages that were opened by one command.
#[derive(Default)]
struct Learning {
    /// What the index does not have yet.
    waiting: Vec<(u32, Entry)>,
    /// Octets of that.
    octets: usize,
    /// All of them.
    opened: Vec<(Listed, Keywords)>,
    /// Keywords that were told of them in this session and are not true any more.
    taken_back: Vec<(Listed, Keywords)>,
}

impl Learning {
    /// Whether it is time to put what waits into the index.
    fn is_much(&self) -> bool {
        self.octets > WAITING_OCTETS_MAX || self.waiting.len() >= WAITING_MAX
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    /// Messages whose octets are asked for and that were opened before. Those that are no longer what they were then come
    /// back.
    pub(super) async fn open_again(
        &mut self,
        asked: &Asked<'_>,
        known: Vec<(Listed, Entry)>,
        with_modseq: bool,
    ) -> std::result::Result<Vec<Listed>, Failure> {
        let which: Vec<Listed> = known.iter().map(|(listed, _)| *listed).collect();
        let mut known: HashMap<u32, Entry> =
            known.into_iter().map(|(listed, entry)| (listed.uid, entry)).collect();
        let tag = self.ask_for_octets(Some((asked, with_modseq)), &which).await?;
        let wanted: Arc<[FetchItem]> = asked.items.into();
        let (mut changed, mut pending) = (Vec::new(), which);
        let mut pipeline = Pipeline::new(Messages::Known, move |passing: Passing<(Entry, Fetched)>| {
            let wanted = wanted.clone();
            passing.map(move |(entry, message)| again(entry, message, &wanted))
        });
        while let Some(Arrived { listed, octets, message }) = self.arrived(&tag, &mut pending).await? {
            let Some(entry) = known.remove(&listed.uid) else { continue };
            let stored = message.size();
            pipeline.push(Passing { listed, octets, stored, work: (entry, message) }, stored);
            while let Some(done) = pipeline.when_full().await? {
                self.answer_again(asked, done, &mut changed).await?;
            }
        }
        while let Some(done) = pipeline.rest().await? {
            self.answer_again(asked, done, &mut changed).await?;
        }
        Ok(changed)
    }

    async fn answer_again(
        &mut self,
        asked: &Asked<'_>,
        done: Vec<Passing<Again>>,
        changed: &mut Vec<Listed>,
    ) -> std::result::Result<(), Failure> {
        for Passing { listed, octets, work, .. } in done {
            let (entry, content) = work.map_err(BridgeError::from)?;
            let Some(content) = content else {
                changed.push(listed);
                continue;
            };
            self.held = Some(Held { uid: listed.uid, content: content.clone() });
            self.answer(
                asked,
                listed.number,
                &guard::told(&octets, |_| entry.keywords),
                &entry,
                Some(content),
            )
            .await?;
        }
        Ok(())
    }

    /// Fetches messages whole, opens and indexes them, and answers nobody.
    pub(super) async fn open_all(&mut self, which: &[Listed]) -> std::result::Result<(), Failure> {
        // Apart, so that sessions that rest are small.
        Box::pin(self.open(None, which)).await
    }

    /// The same, and answers where a mail program asked.
    pub(super) async fn open(
        &mut self,
        asked: Option<(&Asked<'_>, bool)>,
        which: &[Listed],
    ) -> std::result::Result<(), Failure> {
        let tag = self.ask_for_octets(asked, which).await?;
        let judging = self.account.judging().await?;
        let asked = asked.map(|(asked, _)| *asked);
        let mut opening = Opening { asked, judging, learning: Learning::default(), failure: None };
        let opened = self.judge_all(&mut opening, &tag, which).await;
        // What was learnt is kept, whatever became of the rest.
        let Opening { judging, mut learning, failure, .. } = opening;
        let finished = judging.finish().await.map_err(BridgeError::from);
        self.learn(&mut learning)?;
        self.mark(StoreHow::Remove, &learning.taken_back).await?;
        self.mark(StoreHow::Add, &learning.opened).await?;
        opened?;
        if let Some(error) = failure {
            return Err(error.into());
        }
        Ok(finished?)
    }

    async fn judge_all(&mut self, opening: &mut Opening<'_>, tag: &Tag, which: &[Listed]) -> Result<()> {
        let mut pending = which.to_vec();
        let mut pipeline =
            Pipeline::new(Messages::Judged, |passing: Passing<Begun>| passing.map(Begun::decide));
        while let Some(Arrived { listed, octets, message }) = self.arrived(tag, &mut pending).await? {
            if opening.failure.is_some() {
                continue;
            }
            let stored = message.size();
            let begun = async {
                let message = opening.judging.read(message).await?;
                if opening.judging.depends(&message) {
                    Ok::<_, ClientError>(Err(message))
                } else {
                    Ok(Ok(opening.judging.begin(message, see(listed.uid)).await?))
                }
            };
            let begun = match begun.await {
                Ok(Err(message)) => {
                    while let Some(done) = pipeline.rest().await? {
                        self.conclude(opening, done).await?;
                    }
                    opening.judging.begin(message, see(listed.uid)).await
                }
                Ok(Ok(begun)) => Ok(begun),
                Err(error) => Err(error),
            };
            match begun {
                Ok(begun) => pipeline.push(Passing { listed, octets, stored, work: begun }, stored),
                Err(error) => opening.failure = Some(error.into()),
            }
            while let Some(done) = pipeline.when_full().await? {
                self.conclude(opening, done).await?;
            }
        }
        while let Some(done) = pipeline.rest().await? {
            self.conclude(opening, done).await?;
        }
        Ok(())
    }

    async fn conclude(&mut self, opening: &mut Opening<'_>, done: Vec<Judged>) -> Result<()> {
        for Passing { listed, octets, stored, work } in done {
            if opening.failure.is_some() {
                continue;
            }
            let judgement = match work {
                Ok(decided) => opening.judging.conclude(decided).await,
                Err(error) => Err(error),
            };
            let Judgement { opened, shown, described, again, provisional } = match judgement {
                Ok(judgement) => judgement,
                Err(error) => {
                    opening.failure = Some(error.into());
                    continue;
                }
            };
            let entry = Entry::new(&opened, described, again, stored);
            if let Some(asked) = &opening.asked {
                let content = if asked.items.iter().any(|i| parts::is_content(i) && !parts::is_indexed(i)) {
                    let content = Content { shown: Arc::new(shown), structure: None };
                    let content = content.for_items(asked.items).await?;
                    self.held = Some(Held { uid: listed.uid, content: content.clone() });
                    Some(content)
                } else {
                    None
                };
                self.answer(asked, listed.number, &guard::told(&octets, |_| entry.keywords), &entry, content)
                    .await?;
            }
            self.learnt(&mut opening.learning, listed, entry, provisional);
            if opening.learning.is_much() {
                let kept = opening.judging.keep().map_err(BridgeError::from);
                if let Err(error) = kept.and_then(|()| self.learn(&mut opening.learning)) {
                    opening.failure = Some(error);
                }
            }
        }
        Ok(())
    }

    /// Takes what was learnt of a message.
    fn learnt(&mut self, learning: &mut Learning, listed: Listed, mut entry: Entry, provisional: bool) {
        // What was told of it before may have been true of another message under this UID.
        let former = self.verdicts.as_ref().and_then(|verdicts| verdicts.get(&listed.uid));
        let lost = former.map_or(Keywords::default(), |former| former.without(entry.keywords));
        learning.taken_back.push((listed, lost));
        learning.opened.push((listed, entry.keywords));
        if provisional {
            if self.provisional_octets + entry.octets() > PROVISIONAL_MAX {
                entry.forget_text();
            }
            self.provisional_octets += entry.octets();
            self.provisional.insert(listed.uid, entry);
            return;
        }
        learning.octets += entry.octets();
        learning.waiting.push((listed.uid, entry));
    }

    /// Puts what waits into the index.
    fn learn(&mut self, learning: &mut Learning) -> std::result::Result<(), BridgeError> {
        let waiting = std::mem::take(&mut learning.waiting);
        learning.octets = 0;
        let Some(place) = self.selected.as_ref().map(|selected| selected.place) else { return Ok(()) };
        self.account.index.learn(&place, &waiting)?;
        if let Some(verdicts) = &mut self.verdicts {
            verdicts.extend(waiting.iter().map(|(uid, entry)| (*uid, entry.keywords)));
        }
        Ok(())
    }

    /// Asks for messages whole, and what else is asked of them.
    async fn ask_for_octets(&mut self, asked: Option<(&Asked<'_>, bool)>, which: &[Listed]) -> Result<Tag> {
        let mut wanted =
            asked.map_or_else(|| vec![FetchItem::Uid], |(asked, modseq)| Self::server_items(asked, modseq));
        let peek = asked.is_none_or(|(asked, _)| !asked.items.iter().any(FetchItem::sets_seen));
        wanted.push(FetchItem::Section { section: Section::default(), peek, partial: None });
        self.send_fetch(which, wanted).await
    }

    /// The next of the messages that were asked for and are still `pending`; `None` behind the last.
    async fn arrived(&mut self, tag: &Tag, pending: &mut Vec<Listed>) -> Result<Option<Arrived>> {
        loop {
            let mut message = Fetched::new();
            let mut line = Vec::new();
            // One response: what stands around the message, and the message apart from it.
            let mut came = self.server.next().await?;
            if let Came::Literal(start) = came {
                let octets = self.server.cutter.left();
                if octets > MESSAGE_MAX {
                    let error =
                        format!("a message of {octets} octets is announced, and {MESSAGE_MAX} are the most");
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error).into());
                }
                line.extend_from_slice(&start);
                while let Some(n) = self.server.literal().await? {
                    message.write_all(&self.server.cutter.input[..n])?;
                    self.server.cutter.passed(n);
                }
                came = self.server.next().await?;
            }
            // A second one has no place in what was asked for.
            let Came::Line(end) = came else { return Err(unasked()) };
            let long = !line.is_empty();
            line.extend_from_slice(&end);
            let octets = match response(&line) {
                Response::Tagged(found, _) if found == tag.as_str() => return Ok(None),
                Response::Fetch(_, octets) => octets,
                _ => {
                    self.aside(&line)?;
                    continue;
                }
            };
            let Some(all) = items(octets) else { continue };
            let body = all.iter().find(|item| octets[item.name.clone()].eq_ignore_ascii_case(b"BODY[]"));
            let uid = listing::value(octets, &all, "UID").and_then(listing::number);
            let place = pending.iter().position(|listed| Some(listed.uid) == uid);
            // Each message once: what comes behind it nobody asked for.
            let (Some(body), Some(place)) = (body, place) else {
                self.pass(&line);
                continue;
            };
            let listed = pending.swap_remove(place);
            if !long && let Some(short) = wire::string(&octets[body.value.clone()]) {
                message.write_all(&short)?;
            }
            return Ok(Some(Arrived { listed, octets: octets.to_vec(), message }));
        }
    }

    /// Puts the keywords of what was opened to the messages, or takes them away: the server then tells all programs of
    /// them as of any other flag.
    async fn mark(
        &mut self,
        how: StoreHow,
        opened: &[(Listed, Keywords)],
    ) -> std::result::Result<(), Failure> {
        let mut by_keywords: Vec<(Vec<&'static str>, Vec<u32>)> = Vec::new();
        for (listed, keywords) in opened {
            let names: Vec<&'static str> = keywords.names().collect();
            match by_keywords.iter_mut().find(|(known, _)| *known == names) {
                Some((_, numbers)) => numbers.push(listed.number),
                None => by_keywords.push((names, vec![listed.number])),
            }
        }
        for (names, numbers) in by_keywords {
            let flags: Vec<Flag> =
                names.iter().filter_map(|name| Some(Flag::Keyword(Atom::new(*name)?))).collect();
            let Some(set) = SequenceSet::from_numbers(&numbers).filter(|_| !flags.is_empty()) else {
                continue;
            };
            let tag = self.server.tag();
            let body = Body::Store { uid: false, set, how, silent: false, flags, unchanged_since: None };
            self.server.command(&Command { tag: tag.clone(), body }, self.names, &mut Vec::new()).await?;
            loop {
                let Came::Line(line) = self.server.next().await? else { return Err(unasked().into()) };
                // A mailbox that was opened to read only takes none: the verdict stands in the message.
                if matches!(response(&line), Response::Tagged(found, _) if found == tag.as_str()) {
                    break;
                }
                self.pass(&line);
            }
        }
        Ok(())
    }
}

/// What shows a withheld message all the same.
fn see(uid: u32) -> String {
    format!("To see it all the same: sealpost read {uid} --force")
}

/// Opens a message again; without content where it is not what was indexed.
fn again(mut entry: Entry, message: Fetched, items: &[FetchItem]) -> Again {
    let head = entry.head.take().unwrap_or_default();
    let shown = entry.again.shown(message, head, entry.size)?;
    let content = shown.map(|shown| Content::new(shown, items)).transpose()?;
    if let Some(content) = &content {
        entry.head = Some(Zeroizing::new(content.shown.head().to_vec()));
    }
    Ok((entry, content))
}
