//! SORT (RFC 5256, RFC 5957): messages in the order of their keys.

use super::{
    casemap::casemap_start,
    command::{SortKey, SortOrder},
    keys::Keys,
};
use std::cmp::Ordering;

/// Octets of a folded text that are compared: what is alike so far is alike to readers, ...
pub const COMPARED_MAX: usize = 256;
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
pub struct Row {
    number: u32,
    values: Vec<Value>,
}

/// What SORT was asked to compare.
pub struct Sorter {
    order: Vec<SortOrder>,
    compared_max: usize,
}

impl Sorter {
    /// A key that comes again decides nothing.
    pub fn new(order: Vec<SortOrder>) -> Self {
        let mut kept: Vec<SortOrder> = Vec::new();
        for by in order {
            if kept.iter().all(|before| before.key != by.key) {
                kept.push(by);
            }
        }
        let is_text = |by: &&SortOrder| !matches!(by.key, SortKey::Arrival | SortKey::Date | SortKey::Size);
        let compared_max = (TEXTS_MAX / kept.iter().filter(is_text).count().max(1)).min(COMPARED_MAX);
        Self { order: kept, compared_max }
    }

    /// Whether anything of the header is compared.
    pub fn wants_keys(&self) -> bool {
        self.order.iter().any(|by| !matches!(by.key, SortKey::Arrival | SortKey::Size))
    }

    /// Whether sizes are compared.
    pub fn wants_size(&self) -> bool {
        self.order.iter().any(|by| by.key == SortKey::Size)
    }

    /// What is compared of a message: `number` is its number or UID, `arrived` its INTERNALDATE.
    pub fn row(&self, number: u32, arrived: i64, size: u64, keys: &Keys) -> Row {
        let values = self.order.iter().map(|by| self.value(by.key, arrived, size, keys)).collect();
        Row { number, values }
    }

    fn value(&self, key: SortKey, arrived: i64, size: u64, keys: &Keys) -> Value {
        let text = |text: &str| Value::Text(casemap_start(text, self.compared_max).into());
        match key {
            SortKey::Arrival => Value::Number(arrived),
            SortKey::Size => Value::Number(i64::try_from(size).unwrap_or(i64::MAX)),
            SortKey::Date => Value::Number(keys.sent_or(arrived)),
            SortKey::Subject => text(&keys.subject.text),
            SortKey::From => text(&keys.from.mailbox),
            SortKey::To => text(&keys.to.mailbox),
            SortKey::Cc => text(&keys.cc.mailbox),
            SortKey::DisplayFrom => text(&keys.from.display),
            SortKey::DisplayTo => text(&keys.to.display),
        }
    }

    /// The numbers in their order.
    pub fn sorted(&self, mut rows: Vec<Row>) -> Vec<u32> {
        rows.sort_by(|a, b| self.compare(a, b));
        rows.into_iter().map(|row| row.number).collect()
    }

    /// What is alike by all keys stays in the order of the numbers, which REVERSE does not turn (RFC 5256 §3).
    fn compare(&self, a: &Row, b: &Row) -> Ordering {
        for (by, (a, b)) in self.order.iter().zip(a.values.iter().zip(&b.values)) {
            let found = if by.reverse { b.cmp(a) } else { a.cmp(b) };
            if found != Ordering::Equal {
                return found;
            }
        }
        a.number.cmp(&b.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{imap::threading::base_subject, time::Timestamp};
    use proptest::{collection::vec, prelude::*};

    const fn by(key: SortKey) -> SortOrder {
        SortOrder { key, reverse: false }
    }

    #[test]
    fn texts_are_compared_up_to_the_limit() {
        let sorter = Sorter::new(vec![by(SortKey::Subject)]);
        let keys = |subject: String| Keys { subject: base_subject(&subject), ..Keys::default() };
        for (len, alike) in [(COMPARED_MAX - 1, false), (COMPARED_MAX, true)] {
            let [a, b] = ["a", "b"].map(|end| keys("x".repeat(len) + end));
            assert_eq!(sorter.row(1, 0, 0, &a).values == sorter.row(1, 0, 0, &b).values, alike, "{len}");
        }
    }

    #[test]
    fn many_keys_share_the_octets() {
        let all = [SortKey::Subject, SortKey::From, SortKey::To, SortKey::Cc, SortKey::DisplayFrom];
        for (texts, octets) in [(0, 256), (1, 256), (2, 256), (3, 170), (5, 102)] {
            let order: Vec<SortOrder> = all[..texts].iter().copied().chain([SortKey::Date]).map(by).collect();
            assert_eq!(Sorter::new(order).compared_max, octets, "{texts}");
        }
        let again =
            vec![by(SortKey::Date), SortOrder { key: SortKey::Date, reverse: true }, by(SortKey::Size)];
        assert_eq!(Sorter::new(again).order, [by(SortKey::Date), by(SortKey::Size)]);
    }

    #[test]
    fn what_has_no_date_was_sent_when_it_arrived() {
        let sorter = Sorter::new(vec![by(SortKey::Date)]);
        let sent = |sent| Keys { sent: Some(Timestamp(sent)), ..Keys::default() };
        let rows = vec![
            sorter.row(1, 9, 0, &sent(5)),
            sorter.row(2, 4, 0, &Keys::default()),
            sorter.row(3, 1, 0, &sent(6)),
        ];
        assert_eq!(sorter.sorted(rows), [2, 1, 3]);
    }

    proptest! {
        /// Beside a sort that knows one key only, and takes the keys from the last to the first.
        #[test]
        fn several_keys_are_several_sorts(
            values in vec((0i64..4, 0u64..4), 0..30),
            reverse in any::<[bool; 2]>(),
        ) {
            let order = [SortKey::Arrival, SortKey::Size].into_iter().zip(reverse);
            let sorter = Sorter::new(order.map(|(key, reverse)| SortOrder { key, reverse }).collect());
            let row = |(n, (a, b)): (u32, &(i64, u64))| sorter.row(n, *a, *b, &Keys::default());
            let rows: Vec<Row> = (1..).zip(&values).map(row).collect();
            let mut model: Vec<(u32, i64, i64)> =
                (1..).zip(&values).map(|(n, (a, b))| (n, *a, i64::try_from(*b).unwrap_or(0))).collect();
            let sign = |reverse: bool| if reverse { -1 } else { 1 };
            model.sort_by_key(|(_, _, b)| b * sign(reverse[1]));
            model.sort_by_key(|(_, a, _)| a * sign(reverse[0]));
            prop_assert_eq!(sorter.sorted(rows), model.iter().map(|row| row.0).collect::<Vec<_>>());
        }
    }
}
