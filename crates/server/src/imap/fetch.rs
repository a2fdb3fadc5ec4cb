//! FETCH: what is small from memory and index, what is large streamed from the store to the socket.

use super::{
    batches::{Loaded, Octets, Wants},
    binary::{self, Decoded},
    flags::write_flag_list,
    index::{self, Index},
    objectid, preview,
    section::Pieces,
    session::{Done, Refusal, Session, ok},
    uids::intersect,
    view::Pick,
};
use sealpost_proto::imap::{
    ChangedSince, FetchItem, Section, SectionText, SequenceSet, date_time, encode,
    response::{self, Code},
};
use sealpost_proto::time::Timestamp;
use sealpost_store::{
    StoreError,
    mailbox::{Changed, ContentReader, FlagChange, Flags, Message, Uid},
};
use std::io;

/// Octets read from the store and written to the socket at a time.
pub(super) const CHUNK: usize = 64 * 1024;

impl Session {
    /// FETCH and UID FETCH.
    pub(super) async fn fetch(
        &mut self,
        uid: bool,
        set: &SequenceSet,
        items: &[FetchItem],
        changed_since: Option<ChangedSince>,
    ) -> Result<Done, Refusal> {
        let vanished = changed_since.is_some_and(|since| since.vanished);
        if vanished && !(uid && self.enabled.qresync) {
            // RFC 7162 §3.2.6.
            return Err(Refusal::Bad("VANISHED is for UID FETCH, after ENABLE QRESYNC".to_owned()));
        }
        if changed_since.is_some() || items.contains(&FetchItem::ModSeq) {
            self.enable_condstore();
        }
        if items.contains(&FetchItem::Flags) && self.view()?.is_stale() {
            self.keyword_updates().await;
        }
        let store = self.ctx.store.clone();
        let view = self.numbered().await?;
        let mut pick = view.resolve(set, uid)?;
        let mut items = items.to_vec();
        if uid && !items.contains(&FetchItem::Uid) {
            // RFC 9051 §6.4.9.
            items.insert(0, FetchItem::Uid);
        }
        let mut gone = Vec::new();
        if let Some(since) = changed_since {
            if !items.contains(&FetchItem::ModSeq) {
                // RFC 7162 §3.1.4.1.
                items.push(FetchItem::ModSeq);
            }
            let touched = store.touched(view.id, since.modseq).await?;
            pick.ranges = intersect(&pick.ranges, &touched.changed);
            if vanished {
                gone = view.unknown(&intersect(&view.named(set), &touched.vanished));
            }
        }
        self.write_vanished("(EARLIER) ", &gone);
        let (found, undecoded) = self.fetch_picked(&pick, &items).await?;
        if undecoded {
            // RFC 3516 §4.3.
            return Err(Refusal::no(Code::UnknownCte, "a part's transfer encoding is not known; use BODY"));
        }
        if found == pick.count || changed_since.is_some() {
            return ok("FETCH done");
        }
        // RFC 5530: some were removed by another session, which the client learns when numbers may shift.
        if found == 0 && !uid {
            return Err(Refusal::no(Code::ExpungeIssued, "the messages are no longer there"));
        }
        Ok(Done { code: Some(Code::ExpungeIssued), text: "some of the messages are no longer there" })
    }

    /// Tells `items` of the messages picked, which are numbered; how many of them were there, and whether a part of one
    /// could not be decoded.
    pub(super) async fn fetch_picked(
        &mut self,
        pick: &Pick,
        items: &[FetchItem],
    ) -> Result<(u32, bool), Refusal> {
        let store = self.ctx.store.clone();
        let view = self.view()?;
        let sets_seen = !view.read_only && items.iter().any(FetchItem::sets_seen);
        let wants = Wants {
            rest: !items.iter().all(by_mark),
            index: items.iter().any(wants_index),
            octets: items.iter().map(octets).max().unwrap_or_default(),
        };
        let labels: Vec<Option<String>> = items.iter().map(label).collect();
        let mut batches = view.batches(&store, pick, wants);
        let (mut found, mut undecoded) = (0, false);
        loop {
            let mut batch = batches.next().await?;
            if batch.is_empty() {
                return Ok((found, undecoded));
            }
            let seen = if sets_seen { self.set_seen(&mut batch).await? } else { Vec::new() };
            for loaded in batch {
                let with_flags = seen.binary_search(&loaded.message.uid).is_ok();
                let fetched = self.fetch_one(loaded, (items, &labels), with_flags).await?;
                found += u32::from(fetched != Fetched::Gone);
                undecoded |= fetched == Fetched::Undecoded;
            }
        }
    }

    /// Sets \Seen on those that lack it; UIDs of those that were changed.
    async fn set_seen(&mut self, batch: &mut [Loaded]) -> Result<Vec<Uid>, Refusal> {
        let unseen = batch.iter().map(|l| &l.message).filter(|m| !m.flags.contains(Flags::SEEN));
        let uids: Vec<Uid> = unseen.map(|message| message.uid).collect();
        if uids.is_empty() {
            return Ok(uids);
        }
        let id = self.view()?.id;
        let stored = self.ctx.store.store_flags(id, &uids, FlagChange::Add, Flags::SEEN, &[], None).await;
        let changed = match stored {
            Ok((changed, _)) => changed,
            // People must be able to read on a full disk; what they read stays unseen.
            Err(StoreError::Full) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut seen = Vec::with_capacity(changed.len());
        for Changed { entry, .. } in changed {
            self.view()?.knows(entry.uid, entry.modseq);
            seen.push(entry.uid);
            if let Ok(at) = batch.binary_search_by_key(&entry.uid, |loaded| loaded.message.uid) {
                batch[at].message = entry.into();
            }
        }
        Ok(seen)
    }

    /// One message. An item that is octets of it has a label, its name.
    async fn fetch_one(
        &mut self,
        loaded: Loaded,
        (items, labels): (&[FetchItem], &[Option<String>]),
        with_flags: bool,
    ) -> Result<Fetched, Refusal> {
        let Loaded { message, index, mut octets } = loaded;
        let Some(number) = self.view()?.number_of(message.uid) else { return Ok(Fetched::Gone) };
        let needs_more = |item: &FetchItem| wants_index(item) && self::octets(item) != Octets::Header;
        let mut index =
            if items.iter().any(needs_more) { Index::read(&index) } else { Index::header_alone(&index) };
        if octets.is_none() && items.iter().any(|item| self::octets(item) != Octets::None) {
            return Ok(Fetched::Gone);
        }
        if index.is_none() && items.iter().any(wants_index) {
            let Some(content) = message.rest.map(|rest| rest.content) else { return Ok(Fetched::Gone) };
            let reader = match octets.take() {
                Some(reader) => reader,
                None => match self.ctx.store.content(content).await {
                    Ok(reader) => reader,
                    Err(StoreError::Gone(_)) => return Ok(Fetched::Gone),
                    Err(error) => return Err(error.into()),
                },
            };
            let (parsed, reader) = parse(reader).await?;
            (index, octets) = (Some(parsed), Some(reader));
        }
        let mut decoded = Vec::new();
        if items.iter().any(binary::is_binary)
            && let Some(reader) = octets.take()
        {
            let content = (message.rest.map(|rest| rest.content), reader);
            let (all, reader) =
                binary::survey(items.to_vec(), index.as_ref(), content, &mut self.places).await?;
            (decoded, octets) = (all, Some(reader));
        }
        let undecoded = decoded.contains(&Some(Decoded::Unknown));
        let mut decoded = decoded.into_iter();
        self.out.extend_from_slice(b"* ");
        response::number(&mut self.out, u64::from(number));
        self.out.extend_from_slice(b" FETCH (");
        let mut first = true;
        let flags = FetchItem::Flags;
        let mut extra = (with_flags && !items.contains(&flags)).then_some(&flags);
        if undecoded && !items.iter().any(|item| !binary::is_binary(item)) {
            // Something has to stand between the parentheses.
            extra = Some(&flags);
        }
        let modseq = FetchItem::ModSeq;
        let with_modseq = with_flags && self.enabled.condstore && !items.contains(&modseq);
        for (at, item) in items.iter().chain(extra).chain(with_modseq.then_some(&modseq)).enumerate() {
            let binary = decoded.next().flatten();
            if binary == Some(Decoded::Unknown) {
                continue;
            }
            if !std::mem::take(&mut first) {
                self.out.push(b' ');
            }
            if binary::is_binary(item) {
                self.write_binary(item, binary, octets.as_deref()).await?;
                continue;
            }
            if matches!(item, FetchItem::Preview { .. }) {
                preview::write(&mut self.out, index.as_ref(), octets.as_deref())?;
                continue;
            }
            let Some(label) = labels.get(at).and_then(Option::as_ref) else {
                write_small(&mut self.out, item, &message, index.as_ref());
                continue;
            };
            self.out.extend_from_slice(label.as_bytes());
            let pieces = match (item, &index, &octets) {
                (FetchItem::Section { section, .. }, Some(index), Some(content)) => {
                    Pieces::of(index, section, content.as_ref())?
                }
                (FetchItem::Rfc822 | FetchItem::Section { .. }, _, Some(content)) => {
                    Some(Pieces::whole(content.as_ref()))
                }
                (FetchItem::Rfc822Header, Some(index), Some(content)) => {
                    Pieces::of(index, &text_section(SectionText::Header), content.as_ref())?
                }
                (FetchItem::Rfc822Text, Some(index), Some(content)) => {
                    Pieces::of(index, &text_section(SectionText::Text), content.as_ref())?
                }
                _ => None,
            };
            self.write_pieces(item, pieces, octets.as_deref()).await?;
        }
        self.out.extend_from_slice(b")\r\n");
        if self.out.len() > CHUNK {
            self.flush().await?;
        }
        Ok(if undecoded { Fetched::Undecoded } else { Fetched::Whole })
    }

    async fn write_pieces(
        &mut self,
        item: &FetchItem,
        pieces: Option<Pieces>,
        content: Option<&dyn ContentReader>,
    ) -> Result<(), Refusal> {
        let (Some(mut pieces), Some(content)) = (pieces, content) else {
            self.out.extend_from_slice(b" NIL");
            return Ok(());
        };
        if let FetchItem::Section { partial: Some((first, count)), .. } = item {
            pieces.cut(*first, *count);
        }
        self.out.extend_from_slice(b" {");
        response::number(&mut self.out, pieces.len());
        self.out.extend_from_slice(b"}\r\n");
        for range in pieces.ranges() {
            let mut at = range.start;
            while at < range.end {
                let want = usize::try_from(range.end - at).unwrap_or(CHUNK).min(CHUNK);
                if let Some(ready) = content.in_memory(at).get(..want) {
                    self.out.extend_from_slice(ready);
                    at += want as u64;
                    if self.out.len() >= CHUNK {
                        self.flush().await?;
                    }
                    continue;
                }
                let start = self.out.len();
                self.out.resize(start + want, 0);
                // A message that ends before its length leaves the client waiting: the connection must break.
                let n = content.read_at(at, &mut self.out[start..])?;
                self.out.truncate(start + n);
                if n == 0 {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
                at += n as u64;
                if self.out.len() >= CHUNK {
                    self.flush().await?;
                }
            }
        }
        self.out.extend_from_slice(pieces.tail());
        Ok(())
    }
}

/// What became of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fetched {
    /// It is no longer there.
    Gone,
    /// All items were told.
    Whole,
    /// All but those whose transfer encoding is not known.
    Undecoded,
}

/// Parses a message for want of a stored index; off the async threads, since it may be 100 MB.
pub(super) async fn parse(
    reader: Box<dyn ContentReader>,
) -> Result<(Index, Box<dyn ContentReader>), Refusal> {
    let work = move || index::parse(reader.as_ref()).map(|index| (index, reader));
    Ok(tokio::task::spawn_blocking(work).await.map_err(io::Error::other)??)
}

fn text_section(text: SectionText) -> Section {
    Section { part: Vec::new(), text: Some(text) }
}

/// Whether an item is known without the rest of an entry.
fn by_mark(item: &FetchItem) -> bool {
    matches!(item, FetchItem::Flags | FetchItem::Uid | FetchItem::ModSeq | FetchItem::ThreadId)
}

/// What an item needs of a message's octets.
fn octets(item: &FetchItem) -> Octets {
    match item {
        FetchItem::Rfc822Header => Octets::Header,
        FetchItem::Section { section, .. } => match &section.text {
            Some(SectionText::Header | SectionText::HeaderFields { .. }) if section.part.is_empty() => {
                Octets::Header
            }
            _ => Octets::All,
        },
        FetchItem::Preview { .. } => Octets::Beginning,
        FetchItem::Binary { .. } | FetchItem::BinarySize(_) | FetchItem::Rfc822 | FetchItem::Rfc822Text => {
            Octets::All
        }
        _ => Octets::None,
    }
}

fn wants_index(item: &FetchItem) -> bool {
    match item {
        FetchItem::Section { section, .. } => *section != Section::default(),
        FetchItem::Binary { part, .. } | FetchItem::BinarySize(part) => !part.is_empty(),
        FetchItem::Preview { .. }
        | FetchItem::Envelope
        | FetchItem::Body
        | FetchItem::BodyStructure
        | FetchItem::Rfc822Header
        | FetchItem::Rfc822Text => true,
        _ => false,
    }
}

/// The name of an item that is octets of the message.
fn label(item: &FetchItem) -> Option<String> {
    Some(match item {
        FetchItem::Section { section, partial, .. } => {
            let origin = partial.map(|(first, _)| format!("<{first}>")).unwrap_or_default();
            format!("BODY[{}]{origin}", encode::section(section))
        }
        FetchItem::Rfc822 => "RFC822".to_owned(),
        FetchItem::Rfc822Header => "RFC822.HEADER".to_owned(),
        FetchItem::Rfc822Text => "RFC822.TEXT".to_owned(),
        _ => return None,
    })
}

fn write_small(out: &mut Vec<u8>, item: &FetchItem, message: &Message, index: Option<&Index>) {
    let mut indexed = |name: &str, written: Option<&[u8]>| {
        out.extend_from_slice(name.as_bytes());
        out.push(b' ');
        // The caller parses where no index is stored.
        out.extend_from_slice(written.unwrap_or(b"NIL"));
    };
    match item {
        FetchItem::Envelope => indexed("ENVELOPE", index.map(|i| i.envelope.as_slice())),
        FetchItem::Body => indexed("BODY", index.map(Index::body).as_deref()),
        FetchItem::BodyStructure => indexed("BODYSTRUCTURE", index.map(|i| i.body_structure.as_slice())),
        FetchItem::Flags => {
            out.extend_from_slice(b"FLAGS ");
            write_flag_list(out, message.flags, &message.keywords);
        }
        FetchItem::Uid => {
            out.extend_from_slice(b"UID ");
            response::number(out, u64::from(message.uid));
        }
        FetchItem::ModSeq => {
            out.extend_from_slice(b"MODSEQ (");
            response::number(out, message.modseq);
            out.push(b')');
        }
        FetchItem::SaveDate => {
            out.extend_from_slice(b"SAVEDATE ");
            let date = message.rest.map_or(Timestamp(0), |rest| rest.save_date);
            response::string(out, date_time(date).as_bytes());
        }
        FetchItem::EmailId => {
            let id = message.rest.map(|rest| objectid::email(rest.content)).unwrap_or_default();
            out.extend_from_slice(format!("EMAILID ({id})").as_bytes());
        }
        // RFC 8474 §5.2: where threads are not kept.
        FetchItem::ThreadId => out.extend_from_slice(b"THREADID NIL"),
        FetchItem::Size => {
            out.extend_from_slice(b"RFC822.SIZE ");
            response::number(out, message.rest.map_or(0, |rest| rest.size));
        }
        FetchItem::InternalDate => {
            out.extend_from_slice(b"INTERNALDATE ");
            let date = message.rest.map_or(Timestamp(0), |rest| rest.internal_date);
            response::string(out, date_time(date).as_bytes());
        }
        _ => {}
    }
}
