//! FETCH of content. Plain mail passes as the server sends it; of sealed and signed messages flags and dates come from the
//! server, all else from the index or from the opened message.
//!
//! ```text
//! which messages?        FETCH set (UID)
//! which are new here?    FETCH … (BODY.PEEK[HEADER.FIELDS (…)])   once for each message, ever
//! plain ones             FETCH … (what was asked)                  passed on
//! the others, indexed    FETCH … (FLAGS …)                         answered with the index
//! the others, not so     FETCH … (FLAGS … BODY.PEEK[])             opened as they come, indexed, answered: see [`opening`]
//! ```
//!
//! Behind the first line all commands are by message number: the server tells of no EXPUNGE meanwhile (RFC 9051 §7.5.1).

use super::{
    Came, Result, Session,
    ends::Lost,
    guard,
    listing::{self, Listed},
    parts,
    wire::{self, Response, items, response},
};
use crate::{
    account::BridgeError,
    entry::{Entry, Need},
    index::{IndexError, Known, Place},
};
use sealpost_proto::{
    imap::{Body, ChangedSince, Command, FetchItem, Section, SectionText, SequenceSet, Tag},
    message::Header,
};
use std::{collections::HashMap, io};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::{JoinHandle, spawn_blocking},
};

/// Messages handled together.
const BATCH: usize = 500;
/// The same where some have to be opened: everything waits between two batches.
const OPENING_BATCH: usize = 2_000;
/// Most messages of a mailbox: 8 octets are kept for each, and the server may tell of any number.
const LISTED_MAX: usize = 4_000_000;

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

/// What became of some messages of a FETCH.
pub(super) struct Fetched {
    /// Some of them had to be opened.
    opened: bool,
    /// What was refused of one of them: how the command is to end.
    refused: Option<Vec<u8>>,
}

/// Messages that are being looked up in the index.
pub(super) struct Ahead {
    place: Place,
    uids: Vec<u32>,
    need: Need,
    found: JoinHandle<std::result::Result<HashMap<u32, Known>, IndexError>>,
}

impl Ahead {
    fn is_for(&self, place: &Place, uids: &[u32], need: Need) -> bool {
        self.place == *place && self.uids == uids && self.need == need
    }
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

impl From<Lost> for Failure {
    fn from(e: Lost) -> Self {
        Self::Session(e.into())
    }
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        Self::Session(e.into())
    }
}

impl From<IndexError> for Failure {
    fn from(e: IndexError) -> Self {
        Self::Command(e.into())
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
        let (mut rest, mut size) = (&list[..], BATCH);
        while !rest.is_empty() {
            let (batch, behind) = rest.split_at(size.min(rest.len()));
            let next = &behind[..BATCH.min(behind.len())];
            match self.fetch_batch(asked, batch, next, with_modseq).await {
                Ok(Fetched { opened, refused }) => {
                    size = if opened { OPENING_BATCH } else { BATCH };
                    end = end.or(refused);
                }
                Err(failure) => return self.searched(asked.tag, None, Err(failure)).await,
            }
            rest = behind;
        }
        let end = end.unwrap_or_else(|| b"OK FETCH completed".to_vec());
        self.program.say(&[asked.tag.as_str().as_bytes(), b" ", &end, b"\r\n"].concat());
        Ok(())
    }

    /// Which messages a set means, where that is known here.
    async fn listed(&mut self, by_uid: bool, set: &SequenceSet) -> Result<Option<Vec<Listed>>> {
        // Amid a command by message numbers the server may not be asked: it could tell that messages went (RFC 9051
        // §7.5.1).
        if by_uid && *set != SequenceSet::Saved {
            self.learn_uids().await?;
        }
        Ok(self.uids().and_then(|listed| listed.list(set, by_uid)))
    }

    /// Which messages a set means; the server's refusal where it gave one.
    pub(super) async fn list(
        &mut self,
        by_uid: bool,
        set: SequenceSet,
        changed_since: Option<ChangedSince>,
    ) -> Result<std::result::Result<Vec<Listed>, Vec<u8>>> {
        if changed_since.is_none()
            && let Some(list) = self.listed(by_uid, &set).await?
        {
            return Ok(Ok(list));
        }
        let tag = self.server.tag();
        let body = Body::Fetch { uid: by_uid, set, items: vec![FetchItem::Uid], changed_since };
        self.server.command(&Command { tag: tag.clone(), body }, self.names, &mut Vec::new()).await?;
        let mut list = Vec::new();
        loop {
            let Came::Line(line) = self.server.next().await? else { return Err(unasked()) };
            if let Response::Tagged(found, rest) = response(&line)
                && found == tag.as_str()
            {
                if !rest.starts_with(b"OK") {
                    return Ok(Err(rest.to_vec()));
                }
                if let Some(selected) = &mut self.selected {
                    selected.view.learn(&list);
                }
                return Ok(Ok(list));
            }
            if list.len() > LISTED_MAX {
                let error = format!("more than {LISTED_MAX} messages in a mailbox");
                return Err(io::Error::new(io::ErrorKind::InvalidData, error).into());
            }
            if self.notified.take(&line) {
                continue;
            }
            if !listing::take(&mut list, &line) {
                self.pass(&line);
                self.program.relieve().await?;
            }
        }
    }

    /// Answers for some messages. The `next` ones are looked up meanwhile.
    pub(super) async fn fetch_batch(
        &mut self,
        asked: &Asked<'_>,
        batch: &[Listed],
        next: &[Listed],
        with_modseq: bool,
    ) -> std::result::Result<Fetched, Failure> {
        let need = parts::need(asked.items);
        let sorted = self.sort(batch, need).await?;
        if !next.is_empty() && !sorted.known.is_empty() {
            self.look_ahead(next, need);
        }
        let (mut otherwise, mut refused) = (Vec::new(), None);
        if !sorted.plain.is_empty() {
            let identity = self.account.identity()?;
            (otherwise, refused) =
                self.pass_plain(asked, &sorted.plain, with_modseq, &identity.signers).await?;
        }
        let octets = asked.items.iter().any(|item| parts::is_content(item) && !parts::is_indexed(item));
        let held = self.held.as_ref().map(|held| held.uid);
        let (at_hand, to_open): (Vec<_>, Vec<_>) =
            sorted.known.into_iter().partition(|(listed, _)| !octets || held == Some(listed.uid));
        if !at_hand.is_empty() {
            self.answer_known(asked, at_hand, with_modseq).await?;
        }
        let mut unknown = sorted.unknown;
        unknown.extend(otherwise);
        // What is withheld may be so no more.
        let (anew, to_open): (Vec<_>, Vec<_>) =
            to_open.into_iter().partition(|(_, entry)| entry.again.is_not());
        unknown.extend(anew.into_iter().map(|(listed, _)| listed));
        if !to_open.is_empty() {
            // Apart, so that sessions that rest are small.
            unknown.extend(Box::pin(self.open_again(asked, to_open, with_modseq)).await?);
        }
        unknown.sort_unstable_by_key(|listed| listed.number);
        let opened = !unknown.is_empty();
        if opened {
            Box::pin(self.open(Some((asked, with_modseq)), &unknown)).await?;
        }
        Ok(Fetched { opened, refused: refused.or_else(|| self.undecoded.take()) })
    }

    /// Has another thread look messages up in the index.
    fn look_ahead(&mut self, next: &[Listed], need: Need) {
        let Some(place) = self.selected.as_ref().map(|selected| selected.place) else { return };
        let uids: Vec<u32> = next.iter().map(|listed| listed.uid).collect();
        let (account, asked) = (self.account.clone(), uids.clone());
        let found = spawn_blocking(move || account.index.look(&place, &asked, need));
        self.ahead = Some(Ahead { place, uids, need, found });
    }

    /// Tells which messages are what. New ones are looked at: four fields of their headers.
    pub(super) async fn sort(
        &mut self,
        batch: &[Listed],
        need: Need,
    ) -> std::result::Result<Sorted, Failure> {
        let Some(place) = self.selected.as_ref().map(|selected| selected.place) else {
            return Ok(Sorted::default());
        };
        let uids: Vec<u32> = batch.iter().map(|listed| listed.uid).collect();
        let mut known = match self.ahead.take().filter(|ahead| ahead.is_for(&place, &uids, need)) {
            Some(ahead) => ahead.found.await.map_err(io::Error::other)??,
            None => self.account.index.look(&place, &uids, need)?,
        };
        let new: Vec<Listed> = batch.iter().filter(|l| !known.contains_key(&l.uid)).copied().collect();
        if !new.is_empty() {
            let identity = self.account.identity()?;
            let mut kinds = Vec::with_capacity(new.len());
            self.look_at(&new, |uid, fields| {
                // What cannot be read has to be opened, and is told so.
                let header = Header::read(fields);
                kinds.push((
                    uid,
                    header.is_ok_and(|(header, _)| guard::passes_as_it_is(&header, &identity.signers)),
                ));
            })
            .await?;
            self.account.index.learn_kinds(&place, &kinds)?;
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
        Ok(sorted)
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
                    self.skip_literal().await?;
                    let Came::Line(_) = self.server.next().await? else { return Err(unasked()) };
                    line
                }
            };
            match response(&line) {
                Response::Tagged(found, _) if found == tag.as_str() => return Ok(()),
                Response::Fetch(_, octets) => {
                    let Some(all) = items(octets) else { continue };
                    let uid = listing::value(octets, &all, "UID").and_then(listing::number);
                    let Some(uid) = uid.filter(|uid| new.iter().any(|listed| listed.uid == *uid)) else {
                        self.aside(&line)?;
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
                _ => self.aside(&line)?,
            }
        }
    }

    pub(super) async fn send_fetch(&mut self, which: &[Listed], items: Vec<FetchItem>) -> Result<Tag> {
        let numbers: Vec<u32> = which.iter().map(|listed| listed.number).collect();
        let tag = self.server.tag();
        // There is at least one, and none is zero: the server's numbers are checked when they are listed.
        let Some(set) = SequenceSet::from_numbers(&numbers) else { return Err(unasked()) };
        let body = Body::Fetch { uid: false, set, items, changed_since: None };
        self.server.command(&Command { tag: tag.clone(), body }, self.names, &mut Vec::new()).await?;
        Ok(tag)
    }

    /// Items that the server is asked for, of messages whose content is answered here.
    pub(super) fn server_items(asked: &Asked<'_>, with_modseq: bool) -> Vec<FetchItem> {
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
        known: Vec<(Listed, Entry)>,
        with_modseq: bool,
    ) -> Result<()> {
        let mut wanted = Self::server_items(asked, with_modseq);
        if asked.items.iter().any(FetchItem::sets_seen) {
            // Whatever is read of a message marks it as seen.
            let text = Some(SectionText::HeaderFields { names: vec!["DATE".to_owned()], not: false });
            let section = Section { part: Vec::new(), text };
            wanted.push(FetchItem::Section { section, peek: false, partial: None });
        }
        if wanted == [FetchItem::Uid] {
            // Nothing that the server knows better.
            for (listed, entry) in known {
                let told = format!("UID {}", listed.uid);
                self.answer_indexed(asked, listed, told.as_bytes(), &entry).await?;
            }
            return Ok(());
        }
        let which: Vec<Listed> = known.iter().map(|(listed, _)| *listed).collect();
        let mut known: HashMap<u32, (Listed, Entry)> =
            known.into_iter().map(|(listed, entry)| (listed.number, (listed, entry))).collect();
        let tag = self.send_fetch(&which, wanted).await?;
        loop {
            let Came::Line(line) = self.server.next().await? else { return Err(unasked()) };
            match response(&line) {
                Response::Tagged(found, _) if found == tag.as_str() => return Ok(()),
                Response::Fetch(number, octets) => {
                    let uid = items(octets).and_then(|all| guard::uid(octets, &all));
                    let is_it = known.get(&number).is_some_and(|(listed, _)| Some(listed.uid) == uid);
                    let Some((listed, entry)) = is_it.then(|| known.remove(&number)).flatten() else {
                        self.pass(&line);
                        continue;
                    };
                    let told = guard::told(octets, |_| entry.keywords);
                    self.answer_indexed(asked, listed, &told, &entry).await?;
                }
                _ => self.aside(&line)?,
            }
        }
    }

    /// From the index, or from the message asked for last.
    async fn answer_indexed(
        &mut self,
        asked: &Asked<'_>,
        listed: Listed,
        told: &[u8],
        entry: &Entry,
    ) -> Result<()> {
        let content = match &self.held {
            Some(held) if held.uid == listed.uid => Some(held.content.clone().for_items(asked.items).await?),
            _ => None,
        };
        self.answer(asked, listed.number, told, entry, content).await
    }
}

/// The server does not do as the protocol has it.
pub(super) fn unasked() -> super::End {
    io::Error::new(io::ErrorKind::InvalidData, "an answer that nobody asked for").into()
}
