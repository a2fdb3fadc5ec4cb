//! FETCH of content. Plain mail passes as the server sends it; of sealed and signed messages flags and dates come from the
//! server, all else from the index or from the opened message.
//!
//! ```text
//! which messages?        FETCH set (UID)
//! which are new here?    FETCH … (BODY.PEEK[HEADER.FIELDS (…)])   once for each message, ever
//! plain ones             FETCH … (what was asked)                  passed on
//! the others, indexed    FETCH … (FLAGS …)                         answered with the index
//! the others, not so     FETCH … (FLAGS … BODY.PEEK[])             opened as they come, indexed, answered
//! ```
//!
//! Behind the first line all commands are by message number: the server tells of no EXPUNGE meanwhile (RFC 9051 §7.5.1).

use super::{
    Came, Held, Result, Session,
    listing::{self, Listed},
    parts,
    wire::{self, Response, items, response},
};
use crate::{
    account::{BridgeError, Fresh},
    entry::{Entry, Need},
    index::Known,
};
use sealpost_client::bridge::{Fetched, Judging};
use sealpost_proto::{
    imap::{
        Atom, Body, ChangedSince, Command, FetchItem, Flag, Section, SectionText, SequenceSet, StoreHow, Tag,
    },
    message::{ENCRYPTED_FIELD, Header, MailboxList, SIGNATURE_FIELD},
};
use std::{
    io::{self, Write as _},
    sync::Arc,
};
use tokio::io::{AsyncRead, AsyncWrite};

/// Messages handled together.
const BATCH: usize = 500;
/// What the mail program asked.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) tag: &'a Tag,
    pub(super) by_uid: bool,
    pub(super) items: &'a [FetchItem],
}

/// Messages of a mailbox, by what has to be done for them.
#[derive(Default)]
pub(super) struct Sorted {
    /// Pass as they are.
    pub(super) plain: Vec<Listed>,
    /// Were opened.
    pub(super) known: Vec<(Listed, Entry)>,
    /// Have to be opened.
    pub(super) unknown: Vec<Listed>,
}

/// Why a command failed.
pub(super) enum Failure {
    /// The session ends with it.
    Session(super::End),
    /// The bridge could not do it.
    Command(BridgeError),
    /// The server would not, in the words of its tagged response.
    Refused(Vec<u8>),
}

impl From<super::End> for Failure {
    fn from(e: super::End) -> Self {
        Self::Session(e)
    }
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        Self::Session(e.into())
    }
}

impl From<BridgeError> for Failure {
    fn from(e: BridgeError) -> Self {
        Self::Command(e)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) async fn fetch(
        &mut self,
        asked: &Asked<'_>,
        set: SequenceSet,
        changed_since: Option<ChangedSince>,
    ) -> Result<()> {
        let with_modseq = changed_since.is_some();
        let list = match self.list(asked.by_uid, set, changed_since).await? {
            Ok(list) => list,
            Err(refusal) => {
                self.program.say(&[asked.tag.as_str().as_bytes(), b" ", &refusal, b"\r\n"].concat());
                return Ok(());
            }
        };
        // What is refused of one message ends the command in a NO, and the others are told all the same.
        let mut end = None;
        for batch in list.chunks(BATCH) {
            match self.fetch_batch(asked, batch, with_modseq).await {
                Ok(refused) => end = end.or(refused),
                Err(failure) => return self.searched(asked.tag, None, Err(failure)).await,
            }
        }
        let end = end.unwrap_or_else(|| b"OK FETCH completed".to_vec());
        self.program.say(&[asked.tag.as_str().as_bytes(), b" ", &end, b"\r\n"].concat());
        Ok(())
    }

    /// Which messages a set means; the server's refusal where it gave one.
    pub(super) async fn list(
        &mut self,
        by_uid: bool,
        set: SequenceSet,
        changed_since: Option<ChangedSince>,
    ) -> Result<std::result::Result<Vec<Listed>, Vec<u8>>> {
        let tag = self.server.tag();
        let body = Body::Fetch { uid: by_uid, set, items: vec![FetchItem::Uid], changed_since };
        self.server.command(&Command { tag: tag.clone(), body }, self.names, &mut Vec::new()).await?;
        let mut list = Vec::new();
        loop {
            let Came::Line(line) = self.server.next().await? else { return Err(unasked()) };
            if let Response::Tagged(found, rest) = response(&line)
                && found == tag.as_str()
            {
                return Ok(if rest.starts_with(b"OK") { Ok(list) } else { Err(rest.to_vec()) });
            }
            if !listing::take(&mut list, &line) {
                self.pass(&line);
                self.program.relieve().await?;
            }
        }
    }

    async fn fetch_batch(
        &mut self,
        asked: &Asked<'_>,
        batch: &[Listed],
        with_modseq: bool,
    ) -> std::result::Result<Option<Vec<u8>>, Failure> {
        let sorted = self.sort(batch, parts::need(asked.items)).await.map_err(Failure::from)??;
        let mut refused = None;
        if !sorted.plain.is_empty() {
            refused = self.pass_plain(asked, &sorted.plain, with_modseq).await?;
        }
        let octets = asked.items.iter().any(|item| parts::is_content(item) && !parts::is_indexed(item));
        let held = self.held.as_ref().map(|held| held.uid);
        let (at_hand, to_open): (Vec<_>, Vec<_>) =
            sorted.known.into_iter().partition(|(listed, _)| !octets || held == Some(listed.uid));
        if !at_hand.is_empty() {
            self.answer_known(asked, at_hand, with_modseq).await?;
        }
        let mut unknown = sorted.unknown;
        unknown.extend(to_open.into_iter().map(|(listed, _)| listed));
        unknown.sort_unstable_by_key(|listed| listed.number);
        if !unknown.is_empty() {
            self.open(Some((asked, with_modseq)), &unknown).await?;
        }
        Ok(refused.or_else(|| self.undecoded.take()))
    }

    /// Tells which messages are what. New ones are looked at: four fields of their headers.
    pub(super) async fn sort(
        &mut self,
        batch: &[Listed],
        need: Need,
    ) -> Result<std::result::Result<Sorted, BridgeError>> {
        let Some(place) = self.selected.as_ref().map(|selected| selected.place) else {
            return Ok(Ok(Sorted::default()));
        };
        let uids: Vec<u32> = batch.iter().map(|listed| listed.uid).collect();
        let mut known = match self.account.index.look(&place, &uids, need) {
            Ok(known) => known,
            Err(error) => return Ok(Err(error.into())),
        };
        let new: Vec<Listed> = batch.iter().filter(|l| !known.contains_key(&l.uid)).copied().collect();
        if !new.is_empty() {
            let signers = match self.account.identity() {
                Ok(identity) => identity.signers,
                Err(error) => return Ok(Err(error)),
            };
            let mut kinds = Vec::with_capacity(new.len());
            self.look_at(&new, |uid, fields| {
                let (header, _) = Header::read(fields).unwrap_or_default();
                let from_signer = header.all("From").any(|field| {
                    let named = MailboxList::parse(field.value()).mailboxes;
                    named.iter().any(|named| signers.contains(&named.mailbox.canonical()))
                });
                let marked = ["Sealpost-Verdict", ENCRYPTED_FIELD, SIGNATURE_FIELD];
                let as_it_is = !from_signer && marked.iter().all(|name| header.first(name).is_none());
                kinds.push((uid, as_it_is));
            })
            .await?;
            if let Err(error) = self.account.index.learn_kinds(&place, &kinds) {
                return Ok(Err(error.into()));
            }
            let kind = |(uid, as_it_is)| (uid, if as_it_is { Known::AsItIs } else { Known::ToOpen });
            known.extend(kinds.into_iter().map(kind));
        }
        let mut sorted = Sorted::default();
        for listed in batch {
            match known.remove(&listed.uid) {
                Some(Known::AsItIs) => sorted.plain.push(*listed),
                Some(Known::Opened(entry)) => sorted.known.push((*listed, *entry)),
                Some(Known::ToOpen) => match self.provisional.get(&listed.uid) {
                    Some(entry) => sorted.known.push((*listed, entry.clone())),
                    None => sorted.unknown.push(*listed),
                },
                // It went away since it was listed.
                None => {}
            }
        }
        Ok(Ok(sorted))
    }

    /// Fetches the fields that tell what has to be done for a message.
    async fn look_at(&mut self, new: &[Listed], mut each: impl FnMut(u32, &[u8]) + Send) -> Result<()> {
        let names = ["FROM", "X-SENDER-ENCRYPTED", "X-SENDER-SIGNATURE", "SEALPOST-VERDICT"];
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let text = Some(SectionText::HeaderFields { names, not: false });
        let section =
            FetchItem::Section { section: Section { part: Vec::new(), text }, peek: true, partial: None };
        let tag = self.send_fetch(new, vec![FetchItem::Uid, section]).await?;
        loop {
            let line = match self.server.next().await? {
                Came::Line(line) => line,
                // Fields that are longer than any: the message has to be opened to be judged.
                Came::Literal(line) => {
                    while let Some(n) = self.server.literal().await? {
                        self.server.cutter.passed(n);
                    }
                    let Came::Line(_) = self.server.next().await? else { return Err(unasked()) };
                    line
                }
            };
            match response(&line) {
                Response::Tagged(found, _) if found == tag.as_str() => return Ok(()),
                Response::Fetch(_, octets) => {
                    let Some(all) = items(octets) else { continue };
                    let Some(uid) = listing::value(octets, &all, "UID").and_then(listing::number) else {
                        self.pass(&line);
                        continue;
                    };
                    let fields = all.iter().find(|item| octets[item.name.clone()].starts_with(b"BODY["));
                    match fields {
                        Some(item) => {
                            let fields = wire::string(&octets[item.value.clone()]);
                            each(uid, fields.as_deref().unwrap_or(b"Sealpost-Verdict: unread\r\n"));
                        }
                        None => self.pass(&line),
                    }
                }
                _ => self.pass(&line),
            }
        }
    }

    async fn send_fetch(&mut self, which: &[Listed], items: Vec<FetchItem>) -> Result<Tag> {
        let numbers: Vec<u32> = which.iter().map(|listed| listed.number).collect();
        let tag = self.server.tag();
        // There is at least one, and none is zero: the server's numbers are checked when they are listed.
        let Some(set) = SequenceSet::from_numbers(&numbers) else { return Err(unasked()) };
        let body = Body::Fetch { uid: false, set, items, changed_since: None };
        self.server.command(&Command { tag: tag.clone(), body }, self.names, &mut Vec::new()).await?;
        Ok(tag)
    }

    /// What the server says of messages that are as they are; and what it refuses.
    async fn pass_plain(
        &mut self,
        asked: &Asked<'_>,
        plain: &[Listed],
        with_modseq: bool,
    ) -> Result<Option<Vec<u8>>> {
        let mut wanted = asked.items.to_vec();
        for (needed, item) in [(asked.by_uid, FetchItem::Uid), (with_modseq, FetchItem::ModSeq)] {
            if needed && !wanted.contains(&item) {
                wanted.push(item);
            }
        }
        let tag = self.send_fetch(plain, wanted).await?;
        let mut inside = false;
        loop {
            match self.server.next().await? {
                Came::Line(line) => {
                    if !std::mem::take(&mut inside)
                        && let Response::Tagged(found, rest) = response(&line)
                        && found == tag.as_str()
                    {
                        return Ok((!rest.starts_with(b"OK")).then(|| rest.to_vec()));
                    }
                    self.pass(&line);
                }
                Came::Literal(line) => {
                    inside = true;
                    self.pass(&line);
                    self.pass_literal().await?;
                }
            }
            self.program.relieve().await?;
        }
    }

    /// Items that the server is asked for, of messages whose content is answered here.
    fn server_items(asked: &Asked<'_>, with_modseq: bool) -> Vec<FetchItem> {
        let mut wanted = vec![FetchItem::Uid];
        wanted.extend(asked.items.iter().filter(|i| !parts::is_content(i) && **i != FetchItem::Uid).cloned());
        if with_modseq && !wanted.contains(&FetchItem::ModSeq) {
            wanted.push(FetchItem::ModSeq);
        }
        wanted
    }

    /// Messages of which everything asked is at hand.
    async fn answer_known(
        &mut self,
        asked: &Asked<'_>,
        mut known: Vec<(Listed, Entry)>,
        with_modseq: bool,
    ) -> Result<()> {
        let mut wanted = Self::server_items(asked, with_modseq);
        if asked.items.iter().any(parts::sets_seen) {
            // Whatever is read of a message marks it as seen.
            let text = Some(SectionText::HeaderFields { names: vec!["DATE".to_owned()], not: false });
            let section = Section { part: Vec::new(), text };
            wanted.push(FetchItem::Section { section, peek: false, partial: None });
        }
        let which: Vec<Listed> = known.iter().map(|(listed, _)| *listed).collect();
        let tag = self.send_fetch(&which, wanted).await?;
        loop {
            let Came::Line(line) = self.server.next().await? else { return Err(unasked()) };
            match response(&line) {
                Response::Tagged(found, _) if found == tag.as_str() => return Ok(()),
                Response::Fetch(number, octets) => {
                    let at = known.iter().position(|(listed, _)| listed.number == number);
                    let Some(at) = at.filter(|_| items(octets).is_some()) else {
                        self.pass(&line);
                        continue;
                    };
                    let (_, entry) = known.swap_remove(at);
                    let told = told(&line, &entry);
                    let content = self.held.as_ref().map(|held| (held.shown.clone(), held.structure.clone()));
                    self.answer(asked, number, &told, &entry, content).await?;
                }
                _ => self.pass(&line),
            }
        }
    }

    /// Fetches messages whole, opens and indexes them as they come, and answers where a mail program asked.
    pub(super) async fn open_all(
        &mut self,
        which: &[Listed],
    ) -> Result<std::result::Result<(), BridgeError>> {
        match self.open(None, which).await {
            Ok(()) => Ok(Ok(())),
            Err(Failure::Session(end)) => Err(end),
            Err(Failure::Command(error)) => Ok(Err(error)),
            Err(Failure::Refused(_)) => Err(unasked()),
        }
    }

    async fn open(
        &mut self,
        asked: Option<(&Asked<'_>, bool)>,
        which: &[Listed],
    ) -> std::result::Result<(), Failure> {
        let mut wanted =
            asked.map_or_else(|| vec![FetchItem::Uid], |(asked, modseq)| Self::server_items(asked, modseq));
        let peek = asked.is_none_or(|(asked, _)| !asked.items.iter().any(parts::sets_seen));
        wanted.push(FetchItem::Section { section: Section::default(), peek, partial: None });
        let tag = self.send_fetch(which, wanted).await?;
        let mut judging = self.account.judging().await?;
        let mut fresh = Vec::new();
        let opened = self.open_answers(asked, &tag, which, &mut judging, &mut fresh).await;
        // What was learnt is kept, whatever became of the rest.
        let finished = judging.finish().await.map_err(BridgeError::from);
        self.keep(&fresh).await?;
        opened?;
        Ok(finished?)
    }

    async fn open_answers(
        &mut self,
        asked: Option<(&Asked<'_>, bool)>,
        tag: &Tag,
        which: &[Listed],
        judging: &mut Judging,
        fresh: &mut Vec<(Listed, Entry, bool)>,
    ) -> std::result::Result<(), Failure> {
        let mut failure = None;
        loop {
            let mut message = Fetched::new();
            let mut line = Vec::new();
            // One response: what stands around the message, and the message apart from it.
            let mut came = self.server.next().await?;
            while let Came::Literal(start) = came {
                line.extend_from_slice(&start);
                while let Some(n) = self.server.literal().await? {
                    message.write_all(&self.server.cutter.input[..n])?;
                    self.server.cutter.passed(n);
                }
                came = self.server.next().await?;
            }
            let Came::Line(end) = came else { continue };
            let long = !line.is_empty();
            line.extend_from_slice(&end);
            let octets = match response(&line) {
                Response::Tagged(found, _) if found == tag.as_str() => break,
                Response::Fetch(_, octets) => octets,
                _ => {
                    self.pass(&line);
                    continue;
                }
            };
            let Some(all) = items(octets) else { continue };
            let body = all.iter().find(|item| octets[item.name.clone()].eq_ignore_ascii_case(b"BODY[]"));
            let uid = listing::value(octets, &all, "UID").and_then(listing::number);
            let listed = which.iter().find(|listed| Some(listed.uid) == uid);
            let (Some(body), Some(listed)) = (body, listed) else {
                self.pass(&line);
                continue;
            };
            if failure.is_some() {
                continue;
            }
            if !long && let Some(short) = wire::string(&octets[body.value.clone()]) {
                message.write_all(&short)?;
            }
            let Fresh { entry, shown, provisional } =
                match self.account.open_message(judging, message, listed.uid).await {
                    Ok(fresh) => fresh,
                    Err(error) => {
                        failure = Some(error);
                        continue;
                    }
                };
            fresh.push((*listed, entry.clone(), provisional));
            if let Some((asked, _)) = asked {
                let shown = Arc::new(shown);
                let content = if asked.items.iter().any(|i| parts::is_content(i) && !parts::is_indexed(i)) {
                    let again = shown.clone();
                    let structure = tokio::task::spawn_blocking(move || again.structure());
                    let structure = Arc::new(structure.await.map_err(io::Error::other)??);
                    let held = Held { uid: listed.uid, shown: shown.clone(), structure: structure.clone() };
                    self.held = Some(held);
                    Some((shown, structure))
                } else {
                    None
                };
                let told = told(&line, &entry);
                self.answer(asked, listed.number, &told, &entry, content).await?;
            }
        }
        failure.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Puts what was opened into the index, and its keywords to the messages: the server then tells all programs of them
    /// as of any other flag.
    async fn keep(&mut self, fresh: &[(Listed, Entry, bool)]) -> std::result::Result<(), Failure> {
        let Some(place) = self.selected.as_ref().map(|selected| selected.place) else { return Ok(()) };
        let mut kept = Vec::with_capacity(fresh.len());
        for (listed, entry, provisional) in fresh {
            if *provisional {
                self.provisional.insert(listed.uid, entry.clone());
            } else {
                kept.push((listed.uid, entry.clone()));
            }
        }
        self.account.index.learn(&place, &kept).map_err(BridgeError::from)?;
        if let Some(verdicts) = &mut self.verdicts {
            verdicts.extend(kept.iter().map(|(uid, entry)| (*uid, entry.keywords)));
        }
        let mut by_keywords: Vec<(Vec<&'static str>, Vec<u32>)> = Vec::new();
        for (listed, entry, _) in fresh {
            let names: Vec<&'static str> = entry.keywords.names().collect();
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
            let body = Body::Store {
                uid: false,
                set,
                how: StoreHow::Add,
                silent: false,
                flags,
                unchanged_since: None,
            };
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

/// What the server told of a message that is not its content, written out, with the keywords of its verdict.
fn told(line: &[u8], entry: &Entry) -> Vec<u8> {
    let changed = wire::with_keywords(line, |_| entry.keywords);
    let line = changed.as_deref().unwrap_or(line);
    let Response::Fetch(_, octets) = response(line) else { return Vec::new() };
    let mut out = Vec::new();
    for item in items(octets).unwrap_or_default() {
        let name = &octets[item.name.clone()];
        if name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"BODY")) {
            continue;
        }
        if !out.is_empty() {
            out.push(b' ');
        }
        out.extend_from_slice(&octets[item.name.start..item.value.end]);
    }
    out
}

fn unasked() -> super::End {
    io::Error::new(io::ErrorKind::InvalidData, "the mail server answered what was not asked").into()
}
