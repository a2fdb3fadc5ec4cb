//! SORT (RFC 5256, RFC 5957) and its RETURN (RFC 5267): what is compared stands in the index that was stored at
//! delivery, so that no message is opened.

use super::{
    batches::{Loaded, Wants},
    index::Index,
    session::{Done, Refusal, Session, ok},
    view::{Pick, ranges},
};
use sealpost_proto::imap::{
    SearchKey, SearchReturn, SortOrder, Tag,
    found::{self, highest_modseq},
    keys::Keys,
    sort::Sorter,
};
use sealpost_store::{StoreError, mailbox::Uid};
use std::io;

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
        let by = Sorter::new(order);
        let mut rows = Vec::with_capacity(found.len());
        self.each_keys(&uids, by.wants_keys(), |loaded, keys| {
            let size = loaded.message.rest.map_or(0, |rest| rest.size);
            rows.push(by.row(loaded.message.uid, arrived(loaded), size, keys));
        })
        .await?;
        let sorted = tokio::task::spawn_blocking(move || by.sorted(rows)).await.map_err(io::Error::other)?;
        let modseq_of =
            |uid: &Uid| found.binary_search_by_key(uid, |(uid, _)| *uid).map_or(0, |at| found[at].1);
        let in_order: Vec<(Uid, u64)> = sorted.iter().map(|uid| (*uid, modseq_of(uid))).collect();
        let modseq = highest_modseq(&in_order, returns.unwrap_or_default(), key);
        let view = self.view()?;
        let numbers: Vec<u32> =
            if uid { sorted.clone() } else { sorted.iter().filter_map(|uid| view.number_of(*uid)).collect() };
        let Some(returns) = returns else {
            found::plain(&mut self.out, "SORT", &numbers, modseq);
            return ok("SORT done");
        };
        if returns.contains(&SearchReturn::Save) {
            let mut kept = found::saved(&sorted, returns);
            kept.sort_unstable();
            view.saved = ranges(&kept);
        }
        if returns != [SearchReturn::Save] {
            found::esearch(&mut self.out, (tag, uid), returns, &numbers, modseq);
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

/// INTERNALDATE.
pub(super) fn arrived(loaded: &Loaded) -> i64 {
    loaded.message.rest.map_or(0, |rest| rest.internal_date.0)
}
