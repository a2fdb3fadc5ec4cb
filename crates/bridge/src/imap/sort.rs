//! SORT (RFC 5256, RFC 5957, RFC 5267) and THREAD (RFC 5256) over messages that the server cannot read: what is compared
//! of opened messages stands in the index, of plain ones the server tells it. Where no message of a mailbox is opened,
//! the server does it all.

use super::{
    Result, Session,
    fetch::Failure,
    listing::{self, Listed},
    results::{NAMED_MAX, Told},
    search::{Looked, is_known_charset},
    wire::{self, Item},
};
use crate::entry::{Entry, Need, Text};
use sealpost_client::open::field_text;
use sealpost_proto::{
    imap::{
        Body, Command, FetchItem, Section, SectionText, SortOrder, ThreadAlgorithm,
        date::{header_time, parse_date_time},
        envelope::Envelope,
        keys::{Keys, references},
        sort::Sorter,
        thread::{Threaded, threads},
    },
    message::{Field, Header},
};
use std::io;
use tokio::io::{AsyncRead, AsyncWrite};

/// What has to be known of messages beside when they arrived.
#[derive(Clone, Copy)]
struct Wanted {
    size: bool,
    keys: bool,
    references: bool,
}

/// What is known of one.
struct Facts {
    listed: Listed,
    arrived: i64,
    size: u64,
    keys: Keys,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    /// SORT and THREAD.
    pub(super) async fn arrange(&mut self, command: &Command) -> Result<()> {
        let returns = match &command.body {
            Body::Sort { returns, .. } => returns.as_deref(),
            _ => None,
        };
        let done = self.arranged(command).await;
        self.searched(&command.tag, returns, done).await
    }

    async fn arranged(&mut self, command: &Command) -> std::result::Result<(), Failure> {
        let (uid, charset, key) = match &command.body {
            Body::Sort { uid, charset, key, .. } | Body::Thread { uid, charset, key, .. } => {
                (*uid, charset, key)
            }
            _ => return Ok(()),
        };
        if !is_known_charset(charset) {
            self.forward(command).await?;
            return Ok(());
        }
        let looked = self.look_into(uid, key).await?;
        if looked.opened.is_empty()
            && let [only] = looked.keys(key)?.as_slice()
        {
            let mut body = command.body.clone();
            if let Body::Sort { key, .. } | Body::Thread { key, .. } = &mut body {
                *key = only.clone();
            }
            self.forward(&Command { tag: command.tag.clone(), body }).await?;
            return Ok(());
        }
        let found = self.find(&looked, Some(charset), key).await?;
        match &command.body {
            Body::Sort { uid, returns, order, key, .. } => {
                let order = self.sorted(&looked, &found, order).await?;
                let told =
                    Told { tag: &command.tag, uid: *uid, verb: "SORT", returns: returns.as_deref(), key };
                self.tell(&told, &order).await
            }
            Body::Thread { uid, algorithm, .. } => {
                self.threaded(&looked, &found, *uid, *algorithm).await?;
                self.program.done(&command.tag, "OK THREAD completed");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn sorted(
        &mut self,
        looked: &Looked,
        found: &[Listed],
        order: &[SortOrder],
    ) -> std::result::Result<Vec<Listed>, Failure> {
        let by = Sorter::new(order.to_vec());
        let wanted = Wanted { size: by.wants_size(), keys: by.wants_keys(), references: false };
        let mut rows = Vec::with_capacity(found.len());
        self.facts(looked, found, wanted, |facts| {
            rows.push(by.row(facts.listed.number, facts.arrived, facts.size, &facts.keys));
        })
        .await?;
        let sorted = tokio::task::spawn_blocking(move || by.sorted(rows)).await.map_err(io::Error::other)?;
        let listed = |number| found.binary_search_by_key(&number, |listed| listed.number);
        Ok(sorted.into_iter().filter_map(|number| Some(found[listed(number).ok()?])).collect())
    }

    async fn threaded(
        &mut self,
        looked: &Looked,
        found: &[Listed],
        uid: bool,
        algorithm: ThreadAlgorithm,
    ) -> std::result::Result<(), Failure> {
        let references = algorithm == ThreadAlgorithm::References;
        let wanted = Wanted { size: false, keys: true, references };
        let mut messages = Vec::with_capacity(found.len());
        self.facts(looked, found, wanted, |facts| {
            let number = if uid { facts.listed.uid } else { facts.listed.number };
            messages.push(Threaded::new(number, facts.arrived, &facts.keys));
        })
        .await?;
        let work = move || {
            messages.sort_unstable_by_key(|message| message.number);
            let mut out = Vec::new();
            threads(&mut out, algorithm, &messages);
            out
        };
        let told = tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?;
        self.program.say(&told);
        Ok(())
    }

    /// Calls `each` with what is compared of every one of these messages, in no order.
    async fn facts(
        &mut self,
        looked: &Looked,
        found: &[Listed],
        wanted: Wanted,
        mut each: impl FnMut(Facts) + Send,
    ) -> std::result::Result<(), Failure> {
        let (opened, plain): (Vec<Listed>, Vec<Listed>) =
            found.iter().partition(|listed| looked.opened.binary_search(&listed.uid).is_ok());
        let arrived = [FetchItem::Uid, FetchItem::InternalDate];
        for batch in opened.chunks(super::search::BATCH) {
            let need = if wanted.keys { Need::Head } else { Need::Brief };
            let known =
                if wanted.size || wanted.keys { self.entries(batch, need).await? } else { Vec::new() };
            self.items_of(batch, &arrived, |listed, octets, all| {
                let Some(arrived) = arrived_of(octets, all) else { return false };
                let at = known.binary_search_by_key(&listed.uid, |(listed, _)| listed.uid);
                let entry = at.ok().map(|at| &known[at].1);
                let (size, keys) = entry.map_or((0, Keys::default()), |entry| {
                    (entry.size, if wanted.keys { keys_of(entry) } else { Keys::default() })
                });
                each(Facts { listed, arrived, size, keys });
                true
            })
            .await?;
        }
        let mut asked = arrived.to_vec();
        asked.extend(wanted.size.then_some(FetchItem::Size));
        asked.extend(wanted.keys.then_some(FetchItem::Envelope));
        if wanted.references {
            let text = Some(SectionText::HeaderFields { names: vec!["REFERENCES".to_owned()], not: false });
            let section = Section { part: Vec::new(), text };
            asked.push(FetchItem::Section { section, peek: true, partial: None });
        }
        for part in plain.chunks(NAMED_MAX) {
            self.items_of(part, &asked, |listed, octets, all| {
                let Some(arrived) = arrived_of(octets, all) else { return false };
                let size = listing::value(octets, all, "RFC822.SIZE").and_then(listing::long_number);
                each(Facts { listed, arrived, size: size.unwrap_or(0), keys: told_keys(octets, all) });
                true
            })
            .await?;
        }
        Ok(())
    }
}

fn arrived_of(octets: &[u8], all: &[Item]) -> Option<i64> {
    let value = wire::string(listing::value(octets, all, "INTERNALDATE")?)?;
    Some(parse_date_time(std::str::from_utf8(&value).ok()?)?.0)
}

fn sent(date: &[u8]) -> Option<sealpost_proto::time::Timestamp> {
    header_time(&String::from_utf8_lossy(date))
}

/// Of an opened message.
fn keys_of(entry: &Entry) -> Keys {
    let (header, _) = Header::read(entry.head()).unwrap_or_default();
    // All fields of a name as one list, as the server takes them.
    let ids = |name: &str| header.all(name).map(Field::unfolded).collect::<Vec<_>>().join(&b' ');
    let references = references(&ids("References"), &ids("In-Reply-To"));
    let date = header.first("Date").and_then(|field| sent(&field.unfolded()));
    Keys::new(Envelope::read(entry.brief(Text::Envelope)).unwrap_or_default(), date, references, field_text)
}

/// Of a plain one, as the server tells it.
fn told_keys(octets: &[u8], all: &[Item]) -> Keys {
    let Some(envelope) = listing::value(octets, all, "ENVELOPE") else { return Keys::default() };
    // A server's ENVELOPE that cannot be read, or whose strings are longer than what is held, compares as an empty one.
    let envelope = Envelope::read(envelope).unwrap_or_default();
    let fields = all.iter().find(|item| octets[item.name.clone()].starts_with(b"BODY["));
    let fields = fields.and_then(|item| wire::string(&octets[item.value.clone()])).unwrap_or_default();
    let references = references(&fields, envelope.in_reply_to.as_deref().unwrap_or_default());
    let date = envelope.date.as_deref().and_then(sent);
    Keys::new(envelope, date, references, field_text)
}
