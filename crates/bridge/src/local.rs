//! The bridge's IMAP in this process, for the command line: what is asked of content is answered from the same index and
//! by the same rewriting as for mail programs. It works beside a bridge that runs on the same folder.

use crate::{
    account::BridgeError,
    gate::{Activity, Gate, Slot},
    imap,
};
use sealpost_client::{
    client::Client,
    imap::{Imap, ImapError, Meta},
    list::ListEntry,
    open::VERDICT_FIELD,
};
use sealpost_proto::{
    imap::{
        SearchKey, SequenceSet,
        date::header_time,
        keys::{MessageRef, references},
        thread::{self, Threaded},
        threading::message_ids,
    },
    message::{Field, Header},
    time::SystemClock,
};
use std::{collections::HashMap, path::Path, sync::Arc};
use tokio::{io::DuplexStream, task::JoinHandle};

/// Most messages told of, the newest.
pub const MESSAGES_MAX: usize = 1_000;
/// Octets between the two ends.
const BUFFER: usize = 64 * 1024;
/// Fields that are told of a message or tie it to others.
const FIELDS: [&str; 7] =
    ["Date", "From", "Subject", "Message-ID", "References", "In-Reply-To", VERDICT_FIELD];

/// A session of the bridge's IMAP.
pub struct LocalMail {
    imap: Imap<DuplexStream>,
    session: JoinHandle<()>,
}

/// Messages found, the newest last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// At most [`MESSAGES_MAX`].
    pub messages: Vec<ListEntry>,
    /// How many there are in all.
    pub total: usize,
}

/// A message among those it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadLine {
    /// Which conversation, counted from 1.
    pub thread: usize,
    /// How many stand above it.
    pub depth: usize,
    /// The message.
    pub entry: ListEntry,
}

impl LocalMail {
    /// Opens the index of the client's folder, or makes one, and signs in to the home server.
    pub async fn open(client: Client, folder: &Path) -> Result<Self, BridgeError> {
        let activity = Activity::new(Arc::new(SystemClock));
        let slot = Slot::new(client, folder.to_owned(), None, activity.clone(), Arc::default())?;
        let account = slot.open(false).await?;
        let (address, password) = (account.address.clone(), account.password());
        let gate = Gate::new(vec![slot], activity, None);
        let (near, far) = tokio::io::duplex(BUFFER);
        let session = tokio::spawn(async move { imap::serve(far, &gate).await });
        let mut imap = Imap::start(near).await?;
        imap.sign_in(address.as_str(), &password).await?;
        Ok(Self { imap, session })
    }

    /// The messages of a mailbox that match.
    pub async fn search(&mut self, mailbox: &str, key: SearchKey) -> Result<Found, BridgeError> {
        let selected = self.imap.examine(mailbox).await?;
        let uids = if selected.exists == 0 { Vec::new() } else { self.imap.search(key).await? };
        let metas = self.newest(&uids).await?;
        Ok(Found { messages: metas.iter().map(entry).collect(), total: uids.len() })
    }

    /// The newest messages of a mailbox by conversation: the tree of what answers what. How many there are in all.
    pub async fn threads(&mut self, mailbox: &str) -> Result<(Vec<ThreadLine>, usize), BridgeError> {
        let selected = self.imap.examine(mailbox).await?;
        let uids = if selected.exists == 0 { Vec::new() } else { self.imap.uids().await? };
        let metas = self.newest(&uids).await?;
        let threaded = threaded(&metas);
        let mut entries: HashMap<u32, ListEntry> = metas.iter().map(|meta| (meta.uid, entry(meta))).collect();
        let lines = thread::outline(&threaded).into_iter().filter_map(|line| {
            let entry = entries.remove(&line.number)?;
            Some(ThreadLine { thread: line.thread + 1, depth: line.depth, entry })
        });
        Ok((lines.collect(), uids.len()))
    }

    async fn newest(&mut self, uids: &[u32]) -> Result<Vec<Meta>, BridgeError> {
        let newest = &uids[uids.len().saturating_sub(MESSAGES_MAX)..];
        let Some(set) = SequenceSet::from_numbers(newest) else { return Ok(Vec::new()) };
        Ok(self.imap.fetch_meta(set, &FIELDS).await?)
    }

    /// Says goodbye, so that what was learnt is written down.
    pub async fn close(self) {
        let _ = self.imap.logout().await;
        let _ = self.session.await;
    }
}

/// A message by its opened header; the verdict is the bridge's word, since no message brings its own.
fn entry(meta: &Meta) -> ListEntry {
    let (header, _) = Header::read(&meta.header).unwrap_or_default();
    let verdict = header.first(VERDICT_FIELD).map(Field::unfolded);
    let verdict = verdict.and_then(|value| {
        let text = String::from_utf8_lossy(&value);
        sealpost_client::open::Verdict::of_name(text.split(';').next().unwrap_or_default().trim())
    });
    ListEntry::of(meta, verdict)
}

/// What ties messages to each other.
fn threaded(metas: &[Meta]) -> Vec<Threaded> {
    metas
        .iter()
        .map(|meta| {
            let (header, _) = Header::read(&meta.header).unwrap_or_default();
            let value = |name: &str| header.first(name).map(Field::unfolded).unwrap_or_default();
            let sent = header_time(&String::from_utf8_lossy(&value("Date"))).or(meta.internal_date);
            let references = references(&value("References"), &value("In-Reply-To"));
            Threaded {
                number: meta.uid,
                sent: sent.map_or(0, |sent| sent.0),
                id: message_ids(&value("Message-ID")).next().map(|id| MessageRef::of(&id).0),
                references: references.into_iter().map(|id| id.0).collect(),
                ..Threaded::default()
            }
        })
        .collect()
}

impl From<ImapError> for BridgeError {
    fn from(error: ImapError) -> Self {
        Self::Client(error.into())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use sealpost_client::open::Verdict;

    fn meta(uid: u32, header: &str) -> Meta {
        Meta { uid, header: format!("{header}\r\n").into_bytes(), ..Meta::default() }
    }

    #[test]
    fn a_row_tells_what_was_opened() {
        let row = entry(&meta(
            7,
            "Sealpost-Verdict: good, altered on the way; sealed; a note\r\nFrom: a@x.org\r\nSubject: =?utf-8?q?=C3=BC?=\r\n",
        ));
        assert_eq!((row.verdict, row.subject.as_str()), (Some(Verdict::GoodAltered), "ü"));
        let row = entry(&meta(7, "Sealpost-Verdict: replay; sealed\r\nSubject: [Withheld: replay]\r\n"));
        assert_eq!((row.verdict, row.subject.as_str()), (Some(Verdict::Replay), "[...]"));
        assert_eq!(entry(&meta(7, "Subject: x\r\n")).verdict, None);
    }

    #[test]
    fn answers_are_tied_by_references_or_else_by_in_reply_to() {
        let messages = threaded(&[
            meta(1, "Message-ID: <a@x>\r\nDate: Mon, 23 Nov 2026 21:36:00 +0000\r\n"),
            meta(2, "Message-ID: <b@x>\r\nIn-Reply-To: <a@x> <z@x>\r\n"),
            meta(3, "Message-ID: <c@x>\r\nReferences: <a@x>\r\n <b@x>\r\nIn-Reply-To: <z@x>\r\n"),
            meta(4, ""),
        ]);
        let all: Vec<_> = messages.iter().map(|m| (m.id, m.references.clone())).collect();
        let id = |id: &str| MessageRef::of(id.as_bytes()).0;
        let (a, b, c) = (id("a@x"), id("b@x"), id("c@x"));
        assert_eq!(all, [(Some(a), vec![]), (Some(b), vec![a]), (Some(c), vec![a, b]), (None, vec![])]);
        assert!(messages[0].sent > 0);
    }
}
