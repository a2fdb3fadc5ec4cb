//! SORT (RFC 5256, RFC 5957) and its RETURN (RFC 5267): what is compared stands in the index that was stored at
//! delivery, so that no message is opened.

use super::{
    batches::{Loaded, Wants},
    index::{Index, Keys},
    search::{esearch, highest_modseq, saved},
    session::{Done, Refusal, Session, ok},
    view::{Pick, ranges},
};
use sealpost_proto::imap::{
    SearchKey, SearchReturn, SortKey, SortOrder, Tag, casemap::casemap_start, response,
};
use sealpost_store::{StoreError, mailbox::Uid};
use std::{cmp::Ordering, io};

/// Octets of a folded text that are compared: what is alike so far is alike to readers, ...
const COMPARED_MAX: usize = 256;
/// ... and of all texts of a message together, if there are several keys: 100,000 messages are sorted in 60 MB, however
/// long their subjects are.
const TEXTS_MAX: usize = 512;

/// What one key gives of one message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Number(i64),
    Text(Box<str>),
}

/// A message to be sorted.
struct Row {
    uid: Uid,
    values: Vec<Value>,
}

impl Session {
    /// SORT and UID SORT.
    pub(super) async fn sort(
        &mut self,
        tag: &Tag,
        uid: bool,
        returns: Option<&[SearchReturn]>,
        order: Vec<SortOrder>,
        criteria: (&str, &SearchKey),
    ) -> Result<Done, Refusal> {
        let (charset, key) = criteria;
        let found = self.find_for(returns, Some(charset), key).await?;
        let uids: Vec<Uid> = found.iter().map(|(uid, _)| *uid).collect();
        let order = distinct(order);
        let compared_max = compared_max(&order);
        let by_index = order.iter().any(|by| !matches!(by.key, SortKey::Arrival | SortKey::Size));
        let mut rows = Vec::with_capacity(found.len());
        self.each_keys(&uids, by_index, |loaded, keys| {
            let values = order.iter().map(|by| value(by.key, loaded, keys, compared_max)).collect();
            rows.push(Row { uid: loaded.message.uid, values });
        })
        .await?;
        let work = move || {
            rows.sort_by(|a, b| compare(&order, a, b));
            rows.into_iter().map(|row| row.uid).collect::<Vec<Uid>>()
        };
        let sorted = tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?;
        let modseq_of =
            |uid: &Uid| found.binary_search_by_key(uid, |(uid, _)| *uid).map_or(0, |at| found[at].1);
        let in_order: Vec<(Uid, u64)> = sorted.iter().map(|uid| (*uid, modseq_of(uid))).collect();
        let modseq = highest_modseq(&in_order, returns.unwrap_or_default(), key);
        let view = self.view()?;
        let numbers: Vec<u32> =
            if uid { sorted.clone() } else { sorted.iter().filter_map(|uid| view.number_of(*uid)).collect() };
        let Some(returns) = returns else {
            self.out.extend_from_slice(b"* SORT");
            for n in numbers {
                self.out.push(b' ');
                response::number(&mut self.out, u64::from(n));
            }
            let modseq = modseq.map(|modseq| format!(" (MODSEQ {modseq})")).unwrap_or_default();
            response::line(&mut self.out, format_args!("{modseq}"));
            return ok("SORT done");
        };
        if returns.contains(&SearchReturn::Save) {
            // MIN and MAX are the first and the last of this order (RFC 5267 §3).
            let mut kept = saved(&sorted, returns);
            kept.sort_unstable();
            view.saved = ranges(&kept);
        }
        if returns != [SearchReturn::Save] {
            esearch(&mut self.out, (tag, uid), returns, &numbers, modseq);
        }
        ok("SORT done")
    }

    /// Calls `each` with every one of these messages (ascending), and with what is compared of it where that is wanted.
    pub(super) async fn each_keys(
        &mut self,
        uids: &[Uid],
        wanted: bool,
        mut each: impl FnMut(&Loaded, &Keys) + Send,
    ) -> Result<(), Refusal> {
        let store = self.ctx.store.clone();
        let pick = Pick { ranges: ranges(uids), ..Pick::default() };
        let wants = Wants { rest: true, index: wanted, ..Wants::default() };
        let mut batches = self.view()?.batches(&store, &pick, wants);
        loop {
            let batch = batches.next().await?;
            if batch.is_empty() {
                return Ok(());
            }
            for loaded in batch {
                let keys = match Index::read(&loaded.index).and_then(|index| index.keys()) {
                    _ if !wanted => Keys::default(),
                    Some(keys) => keys,
                    // No index is stored, or an old one: the message is parsed.
                    None => match self.parsed_keys(&loaded).await? {
                        Some(keys) => keys,
                        None => continue,
                    },
                };
                each(&loaded, &keys);
            }
        }
    }

    /// `None` where the message is gone.
    async fn parsed_keys(&self, loaded: &Loaded) -> Result<Option<Keys>, Refusal> {
        let Some(rest) = loaded.message.rest else { return Ok(None) };
        let reader = match self.ctx.store.content(rest.content).await {
            Ok(reader) => reader,
            Err(StoreError::Gone(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let (index, _) = super::fetch::parse(reader).await?;
        Ok(index.keys())
    }
}

/// DATE: when a message was sent, or else INTERNALDATE (RFC 5256 §2.2).
pub(super) fn sent(loaded: &Loaded, keys: &Keys) -> i64 {
    let arrived = loaded.message.rest.map_or(0, |rest| rest.internal_date.0);
    keys.sent.map_or(arrived, |sent| sent.0)
}

/// A key that comes again decides nothing.
fn distinct(order: Vec<SortOrder>) -> Vec<SortOrder> {
    let mut kept: Vec<SortOrder> = Vec::new();
    for by in order {
        if kept.iter().all(|before| before.key != by.key) {
            kept.push(by);
        }
    }
    kept
}

/// Octets that are compared of each text.
fn compared_max(order: &[SortOrder]) -> usize {
    let is_text = |by: &&SortOrder| !matches!(by.key, SortKey::Arrival | SortKey::Date | SortKey::Size);
    (TEXTS_MAX / order.iter().filter(is_text).count().max(1)).min(COMPARED_MAX)
}

fn value(key: SortKey, loaded: &Loaded, keys: &Keys, compared_max: usize) -> Value {
    let text = |text: &str| Value::Text(casemap_start(text, compared_max).into());
    let rest = loaded.message.rest;
    match key {
        SortKey::Arrival => Value::Number(rest.map_or(0, |rest| rest.internal_date.0)),
        SortKey::Size => Value::Number(i64::try_from(rest.map_or(0, |rest| rest.size)).unwrap_or(i64::MAX)),
        SortKey::Date => Value::Number(sent(loaded, keys)),
        SortKey::Subject => text(&keys.subject.text),
        SortKey::From => text(&keys.from.mailbox),
        SortKey::To => text(&keys.to.mailbox),
        SortKey::Cc => text(&keys.cc.mailbox),
        SortKey::DisplayFrom => text(&keys.from.display),
        SortKey::DisplayTo => text(&keys.to.display),
    }
}

/// What is alike by all keys stays in the order of the numbers, which REVERSE does not turn (RFC 5256 §3).
fn compare(order: &[SortOrder], a: &Row, b: &Row) -> Ordering {
    for (by, (a, b)) in order.iter().zip(a.values.iter().zip(&b.values)) {
        let found = if by.reverse { b.cmp(a) } else { a.cmp(b) };
        if found != Ordering::Equal {
            return found;
        }
    }
    a.uid.cmp(&b.uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};
    use sealpost_proto::time::Timestamp;
    use sealpost_store::mailbox::{ContentId, Entry, Flags};

    #[test]
    fn texts_are_compared_up_to_the_limit() {
        let keys = |subject: String| {
            let subject = sealpost_proto::imap::threading::base_subject(&subject);
            Keys { subject, ..Keys::default() }
        };
        let entry = Entry {
            uid: 1,
            modseq: 1,
            flags: Flags::default(),
            keywords: Vec::new(),
            internal_date: Timestamp(0),
            save_date: Timestamp(0),
            size: 0,
            content: ContentId(0),
        };
        let loaded = Loaded { message: entry.into(), index: Vec::new(), octets: None };
        for (len, alike) in [(COMPARED_MAX - 1, false), (COMPARED_MAX, true)] {
            let [a, b] = ["a", "b"].map(|end| keys("x".repeat(len) + end));
            let same = value(SortKey::Subject, &loaded, &a, COMPARED_MAX)
                == value(SortKey::Subject, &loaded, &b, COMPARED_MAX);
            assert_eq!(same, alike, "{len}");
        }
    }

    #[test]
    fn many_keys_share_the_octets() {
        let all = [SortKey::Subject, SortKey::From, SortKey::To, SortKey::Cc, SortKey::DisplayFrom];
        let by = |key| SortOrder { key, reverse: false };
        for (texts, octets) in [(0, 256), (1, 256), (2, 256), (3, 170), (5, 102)] {
            let order: Vec<SortOrder> = all[..texts].iter().copied().chain([SortKey::Date]).map(by).collect();
            assert_eq!(compared_max(&order), octets, "{texts}");
        }
        let again =
            vec![by(SortKey::Date), SortOrder { key: SortKey::Date, reverse: true }, by(SortKey::Size)];
        assert_eq!(distinct(again), [by(SortKey::Date), by(SortKey::Size)]);
    }

    proptest! {
        /// Beside a sort that knows one key only, and takes the keys from the last to the first.
        #[test]
        fn several_keys_are_several_sorts(
            values in vec((0i64..4, 0i64..4), 0..30),
            reverse in any::<[bool; 2]>(),
        ) {
            let order = reverse.map(|reverse| SortOrder { key: SortKey::Size, reverse });
            let mut rows: Vec<Row> = (1..)
                .zip(&values)
                .map(|(uid, (a, b))| Row { uid, values: vec![Value::Number(*a), Value::Number(*b)] })
                .collect();
            let mut model: Vec<(u32, i64, i64)> = (1..).zip(&values).map(|(uid, (a, b))| (uid, *a, *b)).collect();
            let sign = |reverse: bool| if reverse { -1 } else { 1 };
            model.sort_by_key(|(_, _, b)| b * sign(reverse[1]));
            model.sort_by_key(|(_, a, _)| a * sign(reverse[0]));
            rows.sort_by(|a, b| compare(&order, a, b));
            let uids: Vec<u32> = rows.iter().map(|row| row.uid).collect();
            prop_assert_eq!(uids, model.iter().map(|row| row.0).collect::<Vec<_>>());
        }
    }
}
