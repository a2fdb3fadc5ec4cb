//! Whether the model and the store say the same.

use crate::model::{Answer, Seen};
use std::collections::BTreeMap;

/// A claim may come back with fewer entries where one of them could not be read.
pub(super) fn fewer(answer: &Answer, expected: &Answer) -> bool {
    let ids = |answer: &Answer| -> Option<Vec<i64>> {
        let text = answer.as_ref().ok()?.strip_prefix('[')?.strip_suffix(']')?;
        text.split(", ").filter(|id| !id.is_empty()).map(|id| id.parse().ok()).collect()
    };
    match (ids(answer), ids(expected)) {
        (Some(answer), Some(expected)) => answer.iter().all(|id| expected.contains(id)),
        _ => false,
    }
}

/// Whether they are the same, leaving out what was not asked for.
pub(super) fn same(model: &Seen, seen: &Seen) -> bool {
    match seen.secret {
        None => *seen == Seen { secret: None, ..model.clone() },
        Some(_) => model == seen,
    }
}

/// The first thing in which they differ, in words.
pub(super) fn difference(model: &Seen, seen: &Seen) -> String {
    fn first<K: Ord + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(
        what: &str,
        model: &BTreeMap<K, V>,
        seen: &BTreeMap<K, V>,
    ) -> Option<String> {
        let keys = model.keys().chain(seen.keys());
        keys.into_iter()
            .find(|key| model.get(key) != seen.get(key))
            .map(|key| format!("{what} {key:?}: should be {:?}, is {:?}", model.get(key), seen.get(key)))
    }
    first("account", &model.accounts, &seen.accounts)
        .or_else(|| first("alias", &model.aliases, &seen.aliases))
        .or_else(|| first("mailbox", &model.mailboxes, &seen.mailboxes))
        .or_else(|| first("queue entry", &model.queue, &seen.queue))
        .unwrap_or_else(|| format!("next due: should be {:?}, is {:?}", model.next_due, seen.next_due))
}
