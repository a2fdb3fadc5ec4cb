//! Finding and fetching messages.

use super::{Imap, ImapError, Progress, Result, Sink};
use sealpost_proto::{
    imap::{
        Body, Condition, FetchItem, FetchValue, Flag, Reply, SearchKey, Section, SectionText, SequenceSet,
    },
    time::Timestamp,
};
use std::{
    io::{self, Write},
    num::NonZeroU32,
};
use tokio::io::{AsyncRead, AsyncWrite};

/// A message in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meta {
    /// UID.
    pub uid: u32,
    /// Flags.
    pub flags: Vec<Flag>,
    /// RFC822.SIZE.
    pub size: u64,
    /// INTERNALDATE.
    pub internal_date: Option<Timestamp>,
    /// The header fields asked for, as they stand in the message, with the empty line behind them.
    pub header: Vec<u8>,
}

/// One body, for [`Imap::fetch_message`].
struct One<'a> {
    writer: &'a mut (dyn Write + Send),
    limit: u64,
    progress: Progress<'a>,
    /// Its octets, once it came, and how many are written.
    of: Option<(u64, u64)>,
}

impl Sink for One<'_> {
    fn begin(&mut self, octets: u64) -> Result<bool> {
        if self.of.is_some() {
            return Ok(false);
        }
        if octets > self.limit {
            return Err(ImapError::TooMuch("one message"));
        }
        self.of = Some((octets, 0));
        Ok(true)
    }
    fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.writer.write_all(octets)?;
        if let Some((total, done)) = &mut self.of {
            *done += octets.len() as u64;
            (self.progress)(*done, *total);
        }
        Ok(())
    }
}

/// Bodies one after the other, for [`Imap::fetch_messages`].
struct Many<W, F> {
    new: F,
    /// Octets that may still come.
    left: u64,
    body: Option<W>,
}

impl<W: Write + Send, F: FnMut() -> W + Send> Sink for Many<W, F> {
    fn begin(&mut self, octets: u64) -> Result<bool> {
        if self.body.is_some() {
            return Err(ImapError::Protocol("a message with two bodies".into()));
        }
        let left = self.left.checked_sub(octets);
        self.left = left.ok_or(ImapError::TooMuch("messages of one command"))?;
        self.body = Some((self.new)());
        Ok(true)
    }
    fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.body.as_mut().map_or(Ok(()), |body| body.write_all(octets))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Imap<S> {
    /// UIDs of the messages that match, ascending.
    pub async fn search(&mut self, key: SearchKey) -> Result<Vec<u32>> {
        let charset = Some("UTF-8".to_owned());
        let answer = self.run(Body::Search { uid: true, returns: None, charset, key }).await?;
        let mut all: Vec<u32> = Vec::new();
        for reply in answer.replies {
            if let Reply::Search(uids) = reply {
                all.extend(uids);
            }
        }
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }

    /// Flags, size, date and some header fields of messages, by UID. Those that do not exist are left out.
    pub async fn fetch_meta(&mut self, uids: SequenceSet, header_fields: &[&str]) -> Result<Vec<Meta>> {
        let mut items = vec![FetchItem::Uid, FetchItem::Flags, FetchItem::Size, FetchItem::InternalDate];
        if !header_fields.is_empty() {
            let names = header_fields.iter().map(|f| (*f).to_owned()).collect();
            let text = Some(SectionText::HeaderFields { names, not: false });
            let section = Section { part: Vec::new(), text };
            items.push(FetchItem::Section { section, peek: true, partial: None });
        }
        let answer = self.run(Body::Fetch { uid: true, set: uids, items, changed_since: None }).await?;
        let mut all: Vec<Meta> = Vec::new();
        for reply in answer.replies {
            let Reply::Fetch(values) = reply else { continue };
            let mut meta = Meta::default();
            // A bare flag update of another session has no size: it is not a row of this listing.
            let mut whole = false;
            for value in values {
                match value {
                    FetchValue::Uid(uid) => meta.uid = uid,
                    FetchValue::Flags(flags) => meta.flags = flags,
                    FetchValue::Size(size) => (meta.size, whole) = (size, true),
                    FetchValue::InternalDate(date) => meta.internal_date = Some(date),
                    FetchValue::Section { data, .. } => meta.header = data.unwrap_or_default(),
                    FetchValue::Other => {}
                }
            }
            if whole && meta.uid != 0 {
                all.push(meta);
            }
        }
        all.sort_by_key(|m| m.uid);
        all.dedup_by_key(|m| m.uid);
        Ok(all)
    }

    /// Writes the whole message to `writer` without setting \Seen; at most `limit` octets. Returns its length.
    pub async fn fetch_message(
        &mut self,
        uid: u32,
        limit: u64,
        writer: &mut (dyn Write + Send),
        progress: Progress<'_>,
    ) -> Result<u64> {
        let number = NonZeroU32::new(uid).ok_or(ImapError::NoSuchMessage(uid))?;
        let item = FetchItem::Section { section: Section::default(), peek: true, partial: None };
        let body =
            Body::Fetch { uid: true, set: SequenceSet::one(number), items: vec![item], changed_since: None };
        let mut one = One { writer, limit, progress, of: None };
        self.run_with(body, Some(&mut one)).await?;
        one.of.map(|(octets, _)| octets).ok_or(ImapError::NoSuchMessage(uid))
    }

    /// Whole messages by one command, each written to what `new` gives, without setting \Seen; in the server's order.
    /// All together may have `limit` octets. Those that are gone are left out.
    pub async fn fetch_messages<W: Write + Send>(
        &mut self,
        uids: &[u32],
        limit: u64,
        new: impl FnMut() -> W + Send,
    ) -> Result<Vec<(u32, W)>> {
        let Some(set) = SequenceSet::from_numbers(uids) else { return Ok(Vec::new()) };
        let section = FetchItem::Section { section: Section::default(), peek: true, partial: None };
        let items = vec![FetchItem::Uid, section];
        let tag = self.write_command(Body::Fetch { uid: true, set, items, changed_since: None }).await?;
        let mut many = Many { new, left: limit, body: None };
        let mut got: Vec<(u32, W)> = Vec::new();
        loop {
            let reply = self.next_reply(Some(&mut many)).await?;
            match reply {
                Reply::Tagged(t, condition, text) if t == tag => {
                    super::done(condition, text)?;
                    return Ok(got);
                }
                Reply::Tagged(..) => return Err(ImapError::Protocol("an answer to another command".into())),
                Reply::Untagged(Condition::Bye, text) => return Err(ImapError::Closed(text.text)),
                Reply::Fetch(values) => {
                    let mut uid = None;
                    for value in values {
                        match value {
                            FetchValue::Uid(u) => uid = Some(u),
                            // A short body may come as a string and not as a literal.
                            FetchValue::Section { section, data: Some(data) }
                                if section.is_empty() && many.body.is_none() =>
                            {
                                many.begin(data.len() as u64)?;
                                many.write(&data).map_err(ImapError::Local)?;
                            }
                            _ => {}
                        }
                    }
                    // Flags that another session changed come without a body, and what was not asked for is nobody's.
                    if let (Some(body), Some(uid)) = (many.body.take(), uid)
                        && uids.contains(&uid)
                        && got.iter().all(|(known, _)| *known != uid)
                    {
                        got.push((uid, body));
                    }
                }
                _ => {}
            }
        }
    }

    /// UIDs of all messages of the open mailbox, ascending. Not by SEARCH, whose answer is one line.
    pub async fn uids(&mut self) -> Result<Vec<u32>> {
        let items = vec![FetchItem::Uid];
        let answer =
            self.run(Body::Fetch { uid: true, set: SequenceSet::all(), items, changed_since: None }).await?;
        let mut all: Vec<u32> = answer
            .replies
            .into_iter()
            .filter_map(|reply| match reply {
                Reply::Fetch(values) => values.into_iter().find_map(|value| match value {
                    FetchValue::Uid(uid) => Some(uid),
                    _ => None,
                }),
                _ => None,
            })
            .collect();
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }
}
