//! Which messages a command speaks of: message numbers and UIDs as the server tells them, kept right while messages are
//! expunged.

use super::wire::{Item, Response, items, response};

/// A message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listed {
    /// Its number now.
    pub(super) number: u32,
    /// Its UID.
    pub(super) uid: u32,
}

/// The value of a FETCH item by its name.
pub(super) fn value<'a>(octets: &'a [u8], all: &[Item], name: &str) -> Option<&'a [u8]> {
    let item = all.iter().find(|item| octets[item.name.clone()].eq_ignore_ascii_case(name.as_bytes()))?;
    octets.get(item.value.clone())
}

/// A number.
pub(super) fn number(value: &[u8]) -> Option<u32> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// The same where 64 bits are wanted.
pub(super) fn long_number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Takes one response to a listing (`FETCH … (UID)`). `true`: it was nothing else, and the mail program need not see it.
pub(super) fn take(list: &mut Vec<Listed>, line: &[u8]) -> bool {
    let Response::Fetch(number_now, octets) = response(line) else {
        shift(list, line);
        return false;
    };
    let Some(all) = items(octets) else { return false };
    let Some(uid) = value(octets, &all, "UID").and_then(number) else { return false };
    // With flags it is news of another session's doing, and perhaps of a message that nobody asked for.
    let is_news = value(octets, &all, "FLAGS").is_some();
    if !is_news {
        list.push(Listed { number: number_now, uid });
    }
    !is_news
}

/// Keeps numbers right where a response says that messages are gone.
pub(super) fn shift(list: &mut Vec<Listed>, line: &[u8]) {
    match response(line) {
        Response::Expunge(gone) => {
            list.retain(|listed| listed.number != gone);
            for listed in list.iter_mut().filter(|listed| listed.number > gone) {
                listed.number -= 1;
            }
        }
        Response::Vanished(false, set) => {
            let gone = ranges(set);
            let before = |uid: u32| -> u32 {
                let below = gone.iter().filter(|(low, _)| *low < uid);
                // Ranges that overlap are no sane server's, but must not overflow.
                below
                    .map(|(low, high)| ((*high).min(uid - 1) - low).saturating_add(1))
                    .fold(0, u32::saturating_add)
            };
            let is_gone = |uid: u32| gone.iter().any(|(low, high)| (*low..=*high).contains(&uid));
            // UIDs that were no message any more cannot be told from those that were; the server names existing ones
            // (RFC 7162 §3.2.10).
            list.retain(|listed| !is_gone(listed.uid));
            for listed in list.iter_mut() {
                listed.number = listed.number.saturating_sub(before(listed.uid));
            }
        }
        _ => {}
    }
}

/// How many UIDs stand in a set.
pub(super) fn count(set: &[u8]) -> u32 {
    ranges(set).iter().fold(0, |sum: u32, (low, high)| sum.saturating_add((high - low).saturating_add(1)))
}

/// `1:3,5`
pub(super) fn ranges(set: &[u8]) -> Vec<(u32, u32)> {
    let text = std::str::from_utf8(set).unwrap_or_default();
    text.trim()
        .split(',')
        .filter_map(|range| {
            let (low, high) = range.split_once(':').unwrap_or((range, range));
            let (low, high) = (low.parse::<u32>().ok()?, high.parse::<u32>().ok()?);
            Some((low.min(high), low.max(high)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_stay_right_while_messages_go() {
        let mut list = Vec::new();
        for line in ["* 2 FETCH (UID 20)", "* 3 FETCH (MODSEQ (7) UID 30)", "* 5 FETCH (UID 50)"] {
            assert!(take(&mut list, line.as_bytes()), "{line}");
        }
        assert!(!take(&mut list, b"* 3 FETCH (UID 30 FLAGS (\\Seen))"));
        assert!(!take(&mut list, b"* 9 EXISTS"));
        let numbers = |list: &[Listed]| list.iter().map(|l| (l.number, l.uid)).collect::<Vec<_>>();
        assert!(!take(&mut list, b"* 1 EXPUNGE"));
        assert_eq!(numbers(&list), [(1, 20), (2, 30), (4, 50)]);
        assert!(!take(&mut list, b"* 2 EXPUNGE"));
        assert_eq!(numbers(&list), [(1, 20), (3, 50)]);
        assert!(!take(&mut list, b"* VANISHED 40:41,60"));
        assert_eq!(numbers(&list), [(1, 20), (1, 50)]);
        assert!(!take(&mut list, b"* VANISHED (EARLIER) 20"));
        assert_eq!(numbers(&list).len(), 2);
        assert!(take(&mut list, b"* 9 FETCH (UID 4294967295)"));
        assert!(!take(&mut list, b"* VANISHED 0:4294967294,1:4294967294"));
        assert_eq!(numbers(&list), [(0, u32::MAX)]);
    }

    proptest! {
        /// Beside a mailbox that counts anew each time.
        #[test]
        fn numbers_are_those_of_the_mailbox(
            uids in proptest::collection::btree_set(1u32..90, 1..40),
            listed in any::<u64>(),
            gone in proptest::collection::vec((any::<bool>(), any::<prop::sample::Index>(), 1usize..6), 0..12),
        ) {
            let mut mailbox: Vec<u32> = uids.into_iter().collect();
            let mut list = Vec::new();
            for (number, uid) in (1_u32..).zip(&mailbox) {
                if listed >> (uid % 64) & 1 == 1 {
                    let line = format!("* {number} FETCH (UID {uid})\r\n");
                    prop_assert!(take(&mut list, line.as_bytes()));
                }
            }
            for (by_number, at, count) in gone {
                if mailbox.is_empty() {
                    break;
                }
                let at = at.index(mailbox.len());
                let line = if by_number {
                    mailbox.remove(at);
                    format!("* {} EXPUNGE\r\n", at + 1)
                } else {
                    let end = mailbox.len().min(at + count);
                    let uids: Vec<String> = mailbox.drain(at..end).map(|uid| uid.to_string()).collect();
                    format!("* VANISHED {}\r\n", uids.join(","))
                };
                prop_assert!(!take(&mut list, line.as_bytes()));
                let expected: Vec<(u32, u32)> = (1_u32..)
                    .zip(&mailbox)
                    .filter(|(_, uid)| listed >> (*uid % 64) & 1 == 1)
                    .map(|(number, uid)| (number, *uid))
                    .collect();
                let told: Vec<(u32, u32)> = list.iter().map(|listed| (listed.number, listed.uid)).collect();
                prop_assert_eq!(told, expected);
            }
        }
    }
}
