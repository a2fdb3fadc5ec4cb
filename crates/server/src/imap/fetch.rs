//! FETCH: what is small from memory and index, what is large streamed from the store to the socket.

use super::{
    index::Index,
    section::Pieces,
    session::{Done, Refusal, Session, ok},
    view::Message,
};
use sealpost_proto::imap::{
    FetchItem, Section, SectionText, SequenceSet, date_time, encode,
    mime::Scanner,
    response::{self, Code},
};
use sealpost_store::{
    StoreError,
    mailbox::{ContentReader, FlagChange, Flags},
};
use std::io;

/// Messages whose flags are set and whose indexes are read at a time.
const BATCH: usize = 200;
/// Octets read from the store and written to the socket at a time.
const CHUNK: usize = 64 * 1024;

impl Session {
    /// FETCH and UID FETCH.
    pub(super) async fn fetch(
        &mut self,
        uid: bool,
        set: &SequenceSet,
        items: &[FetchItem],
    ) -> Result<Done, Refusal> {
        let view = self.view()?;
        let positions = view.resolve(set, uid)?;
        let mut items = items.to_vec();
        if uid && !items.contains(&FetchItem::Uid) {
            // RFC 9051 §6.4.9.
            items.insert(0, FetchItem::Uid);
        }
        let sets_seen = !view.read_only && items.iter().any(sets_seen);
        let by_index = items.iter().any(wants_index);
        let mut missing = false;
        for batch in positions.chunks(BATCH) {
            let seen = if sets_seen { self.set_seen(batch).await? } else { Vec::new() };
            let indexes = if by_index { self.stored_indexes(batch).await? } else { Vec::new() };
            for (n, at) in batch.iter().enumerate() {
                let index = indexes.get(n).and_then(|stored| Index::read(stored));
                let with_flags = seen.contains(at);
                missing |= !self.fetch_one(*at, &items, with_flags, index).await?;
            }
        }
        if missing {
            // RFC 5530: they were removed by another session, which the client learns after this command.
            return Err(Refusal::no(Code::ExpungeIssued, "some of the messages are no longer there"));
        }
        ok("FETCH done")
    }

    /// Sets \Seen on those that lack it; positions that changed.
    async fn set_seen(&mut self, batch: &[usize]) -> Result<Vec<usize>, Refusal> {
        let view = self.view()?;
        let unseen: Vec<usize> =
            batch.iter().copied().filter(|at| !view.messages[*at].flags.contains(Flags::SEEN)).collect();
        if unseen.is_empty() {
            return Ok(unseen);
        }
        let (id, uids) = (view.id, view.uids(&unseen));
        let stored = self.ctx.store.store_flags(id, &uids, FlagChange::Add, Flags::SEEN, &[], None).await;
        match stored {
            Ok((entries, _)) => Ok(self.view()?.update(entries)),
            // People must be able to read on a full disk; what they read stays unseen.
            Err(StoreError::Full) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    async fn stored_indexes(&mut self, batch: &[usize]) -> Result<Vec<Vec<u8>>, Refusal> {
        let view = self.view()?;
        let contents: Vec<_> = batch.iter().map(|at| view.messages[*at].content).collect();
        Ok(self.ctx.store.indexes(&contents).await?)
    }

    /// One message; `false` if its content is gone.
    async fn fetch_one(
        &mut self,
        at: usize,
        items: &[FetchItem],
        with_flags: bool,
        mut index: Option<Index>,
    ) -> Result<bool, Refusal> {
        let content_id = self.view()?.messages[at].content;
        let indexed = items.iter().any(wants_index);
        let mut content: Option<Box<dyn ContentReader>> = None;
        if items.iter().any(wants_content) || (indexed && index.is_none()) {
            content = match self.ctx.store.content(content_id).await {
                Ok(content) => Some(content),
                Err(StoreError::Gone(_)) => return Ok(false),
                Err(error) => return Err(error.into()),
            };
        }
        if indexed && index.is_none() {
            let Some(reader) = content.take() else { return Ok(false) };
            let (parsed, reader) = parse(reader).await?;
            (index, content) = (Some(parsed), Some(reader));
        }
        self.out.extend_from_slice(format!("* {} FETCH (", at + 1).as_bytes());
        let mut first = true;
        let flags = FetchItem::Flags;
        let extra = (with_flags && !items.contains(&flags)).then_some(&flags);
        for item in items.iter().chain(extra) {
            if !std::mem::take(&mut first) {
                self.out.push(b' ');
            }
            let pieces = match (item, &index, &content) {
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
            if let Some(label) = label(item) {
                self.out.extend_from_slice(label.as_bytes());
                self.write_pieces(item, pieces, content.as_deref()).await?;
            } else if let Some(view) = &self.selected {
                write_small(&mut self.out, item, &view.messages[at], index.as_ref());
            }
        }
        self.out.extend_from_slice(b")\r\n");
        if self.out.len() > CHUNK {
            self.flush().await?;
        }
        Ok(true)
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
        self.out.extend_from_slice(format!(" {{{}}}\r\n", pieces.len()).as_bytes());
        for range in pieces.ranges() {
            let mut at = range.start;
            while at < range.end {
                let want = usize::try_from(range.end - at).unwrap_or(CHUNK).min(CHUNK);
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

/// Parses a message for want of a stored index; off the async threads, since it may be 100 MB.
pub(super) async fn parse(
    reader: Box<dyn ContentReader>,
) -> Result<(Index, Box<dyn ContentReader>), Refusal> {
    let work = move || -> io::Result<_> {
        let mut scanner = Scanner::new();
        let mut buffer = vec![0; CHUNK];
        let mut at = 0;
        loop {
            let n = reader.read_at(at, &mut buffer)?;
            if n == 0 {
                return Ok((Index::of(&scanner.finish()), reader));
            }
            scanner.push(&buffer[..n]);
            at += n as u64;
        }
    };
    Ok(tokio::task::spawn_blocking(work).await.map_err(io::Error::other)??)
}

fn text_section(text: SectionText) -> Section {
    Section { part: Vec::new(), text: Some(text) }
}

/// Whether an item sets \Seen (RFC 9051 §6.4.5, RFC 3501 §6.4.5).
fn sets_seen(item: &FetchItem) -> bool {
    matches!(item, FetchItem::Section { peek: false, .. } | FetchItem::Rfc822 | FetchItem::Rfc822Text)
}

fn wants_content(item: &FetchItem) -> bool {
    matches!(
        item,
        FetchItem::Section { .. } | FetchItem::Rfc822 | FetchItem::Rfc822Header | FetchItem::Rfc822Text
    )
}

fn wants_index(item: &FetchItem) -> bool {
    match item {
        FetchItem::Section { section, .. } => *section != Section::default(),
        FetchItem::Envelope
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
    let mut indexed = |name: &str, pick: fn(&Index) -> &[u8]| {
        out.extend_from_slice(name.as_bytes());
        out.push(b' ');
        // The caller parses where no index is stored.
        response_or_nil(out, index.map(pick));
    };
    match item {
        FetchItem::Envelope => indexed("ENVELOPE", |i| &i.envelope),
        FetchItem::Body => indexed("BODY", |i| &i.body),
        FetchItem::BodyStructure => indexed("BODYSTRUCTURE", |i| &i.body_structure),
        FetchItem::Flags => out.extend_from_slice(format!("FLAGS {}", message.flag_list()).as_bytes()),
        FetchItem::Uid => out.extend_from_slice(format!("UID {}", message.uid).as_bytes()),
        FetchItem::Size => out.extend_from_slice(format!("RFC822.SIZE {}", message.size).as_bytes()),
        FetchItem::InternalDate => {
            out.extend_from_slice(b"INTERNALDATE ");
            response::string(out, date_time(message.internal_date).as_bytes());
        }
        _ => {}
    }
}

fn response_or_nil(out: &mut Vec<u8>, written: Option<&[u8]>) {
    out.extend_from_slice(written.unwrap_or(b"NIL"));
}
