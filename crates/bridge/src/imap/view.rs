//! What a mail program believes of the mailbox that is open, and what the server tells of one.

use super::{
    listing::{self, Listed},
    wire::{Response, response},
};
use sealpost_proto::imap::{MailboxName, SequenceSet};
use std::collections::VecDeque;

/// Most messages whose UIDs are held.
pub(super) const LISTED_MAX: u32 = 1_000_000;

/// What a mail program believes of the mailbox that is open.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) mailbox: MailboxName,
    pub(super) read_only: bool,
    pub(super) uid_validity: u32,
    /// Messages it was told of.
    pub(super) exists: u32,
    /// Of those that were there or came since, the ones it was told are gone.
    pub(super) gone: u32,
    /// HIGHESTMODSEQ when it was opened.
    pub(super) modseq: Option<u64>,
    /// UIDs of the first of these messages, where a command that removes messages has asked for them.
    pub(super) uids: Option<Uids>,
}

impl View {
    /// What a response tells of it.
    pub(super) fn hear(&mut self, response: &Response<'_>) {
        if let Some(uids) = &mut self.uids {
            uids.hear(response);
        }
        let gone = match response {
            Response::Exists(exists) => {
                self.exists = *exists;
                return;
            }
            Response::Expunge(_) => 1,
            Response::Vanished(false, set) => listing::count(set),
            _ => return,
        };
        self.exists = self.exists.saturating_sub(gone);
        self.gone = self.gone.saturating_add(gone);
    }

    /// Takes note of what was listed, if that are all messages.
    pub(super) fn learn(&mut self, list: &[Listed]) {
        let all = u32::try_from(list.len()) == Ok(self.exists) && self.exists <= LISTED_MAX;
        let in_order = (1_u32..).zip(list).all(|(number, listed)| listed.number == number)
            && list.is_sorted_by(|one, next| one.uid < next.uid);
        if all && in_order {
            self.uids = Some(Uids(list.iter().map(|listed| listed.uid).collect()));
        }
    }

    /// The UIDs of all messages, where they are known.
    pub(super) fn listed(&self) -> Option<&Uids> {
        let all = usize::try_from(self.exists).ok();
        self.uids.as_ref().filter(|uids| Some(uids.0.len()) == all)
    }
}

/// UIDs in the order of message numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Uids(VecDeque<u32>);

impl Uids {
    /// From the set that a search told, which found so many; `None` where it did not, or they are too many to be held.
    pub(super) fn told(set: &[u8], count: u32) -> Option<Self> {
        if count > LISTED_MAX || listing::count(set) != count {
            return None;
        }
        let mut uids: Vec<u32> =
            listing::ranges(set).into_iter().flat_map(|(low, high)| low..=high).collect();
        uids.sort_unstable();
        uids.dedup();
        (u32::try_from(uids.len()) == Ok(count)).then(|| Self(uids.into()))
    }

    /// Keeps it right where messages go.
    pub(super) fn hear(&mut self, response: &Response<'_>) {
        match response {
            Response::Expunge(number) => {
                // Behind what is listed, nothing is.
                if let Some(at) = usize::try_from(*number).ok().and_then(|n| n.checked_sub(1)) {
                    self.0.remove(at);
                }
            }
            Response::Vanished(false, set) => {
                let mut gone = listing::ranges(set);
                gone.sort_unstable();
                self.0.retain(|uid| {
                    let at = gone.partition_point(|(low, _)| low <= uid);
                    at.checked_sub(1).is_none_or(|at| gone[at].1 < *uid)
                });
            }
            _ => {}
        }
    }

    /// The UIDs that a set names: by themselves, or by message numbers; `None` for a saved result.
    pub(super) fn named(&self, set: &SequenceSet, by_uid: bool) -> Option<Vec<u32>> {
        self.within(set, by_uid).map(|named| named.map(|listed| listed.uid).collect())
    }

    /// The messages that a set names, as a server does; `None` for what only the server can tell: a saved result, and a
    /// refusal of message numbers that are none.
    pub(super) fn list(&self, set: &SequenceSet, by_uid: bool) -> Option<Vec<Listed>> {
        let count = u32::try_from(self.0.len()).ok()?;
        if !by_uid && set.resolve(count).last().is_none_or(|(_, high)| *high > count) {
            return None;
        }
        self.within(set, by_uid).map(Iterator::collect)
    }

    /// In ascending order.
    fn within(&self, set: &SequenceSet, by_uid: bool) -> Option<impl Iterator<Item = Listed>> {
        if *set == SequenceSet::Saved {
            return None;
        }
        let count = u32::try_from(self.0.len()).ok()?;
        let ranges = set.resolve(if by_uid { self.0.back().copied().unwrap_or(0) } else { count });
        let places = ranges.into_iter().map(move |(low, high)| {
            if by_uid {
                (self.0.partition_point(|uid| *uid < low), self.0.partition_point(|uid| *uid <= high))
            } else {
                let place = |n: u32| usize::try_from(n.min(count)).unwrap_or(self.0.len());
                (place(low.saturating_sub(1)), place(high))
            }
        });
        let listed = |(number, uid): (u32, &u32)| Listed { number, uid: *uid };
        Some(places.flat_map(move |(start, end)| {
            // No more than are counted by 32 bits.
            let first = u32::try_from(start).map_or(u32::MAX, |start| start.saturating_add(1));
            (first..).zip(self.0.range(start.min(end)..end)).map(listed)
        }))
    }

    /// Those of `uids`, in ascending order, that are here.
    pub(super) fn still(&self, uids: &[u32]) -> Vec<u32> {
        uids.iter().copied().filter(|uid| self.0.binary_search(uid).is_ok()).collect()
    }

    /// Which messages went from here to `now`, with their numbers before, in ascending order. `None` where `now` has what
    /// could not have come: new messages have higher UIDs than those before (RFC 9051 §2.3.1.1).
    pub(super) fn gone(&self, now: &Self) -> Option<Vec<(u32, u32)>> {
        let (mut gone, mut left) = (Vec::new(), now.0.iter().peekable());
        for (number, uid) in (1_u32..).zip(&self.0) {
            match left.peek() {
                Some(next) if *next == uid => drop(left.next()),
                Some(next) if *next < uid => return None,
                _ => gone.push((number, *uid)),
            }
        }
        Some(gone)
    }
}

/// What SELECT told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) uid_validity: Option<u32>,
    pub(super) exists: u32,
    pub(super) modseq: Option<u64>,
}

impl Opened {
    /// One line of the answer.
    pub(super) fn hear(&mut self, line: &[u8]) {
        if let Response::Exists(exists) = response(line) {
            self.exists = exists;
        }
        let code = |name: &[u8]| -> Option<u64> {
            let at = memchr::memmem::find(line, name)? + name.len();
            let digits = line[at..].iter().take_while(|b| b.is_ascii_digit()).count();
            std::str::from_utf8(&line[at..at + digits]).ok()?.parse().ok()
        };
        if let Some(validity) = code(b"[UIDVALIDITY ").and_then(|n| u32::try_from(n).ok()) {
            self.uid_validity = Some(validity);
        }
        self.modseq = code(b"[HIGHESTMODSEQ ").or(self.modseq);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use sealpost_proto::imap::{Body, Names, parse};

    #[test]
    fn a_view_follows_what_is_told() {
        let mut view = View {
            mailbox: MailboxName::new("INBOX").unwrap(),
            read_only: false,
            uid_validity: 7,
            exists: 10,
            gone: 0,
            modseq: Some(5),
            uids: Uids::told(b"11:20", 10),
        };
        for (line, exists, gone) in [
            ("* 12 EXISTS\r\n", 12, 0),
            ("* 3 EXPUNGE\r\n", 11, 1),
            ("* VANISHED 4:6,9\r\n", 7, 5),
            ("* VANISHED (EARLIER) 1:3\r\n", 7, 5),
            ("* 3 FETCH (FLAGS ())\r\n", 7, 5),
            ("* OK [HIGHESTMODSEQ 9]\r\n", 7, 5),
        ] {
            view.hear(&response(line.as_bytes()));
            assert_eq!((view.exists, view.gone), (exists, gone), "{line}");
        }
    }

    #[test]
    fn what_select_tells_is_read() {
        let mut opened = Opened::default();
        for line in [
            "* 5 EXISTS\r\n",
            "* OK [UIDVALIDITY 1764150000] hold\r\n",
            "* OK [UIDNEXT 9] next\r\n",
            "* OK [HIGHESTMODSEQ 715194045007] Highest\r\n",
            "* OK [UIDVALIDITY x] odd\r\n",
            "* OK [HIGHESTMODSEQ 99999999999999999999999] odd\r\n",
        ] {
            opened.hear(line.as_bytes());
        }
        let want = Opened { uid_validity: Some(1_764_150_000), exists: 5, modseq: Some(715_194_045_007) };
        assert_eq!(opened, want);
    }

    fn uids(all: &[u32]) -> Uids {
        Uids(all.to_vec().into())
    }

    #[test]
    fn uids_are_what_a_search_told() {
        assert_eq!(Uids::told(b"3:4,9", 3), Some(uids(&[3, 4, 9])));
        assert_eq!(Uids::told(b"", 0), Some(uids(&[])));
        // A liar's, and more than is held.
        for (set, count) in [("3:4,9", 2), ("3,3", 2), ("1:4294967295", u32::MAX), ("", 1)] {
            assert_eq!(Uids::told(set.as_bytes(), count), None, "{set}");
        }
        let all = format!("1:{}", LISTED_MAX + 1);
        assert!(Uids::told(all.as_bytes(), LISTED_MAX + 1).is_none());
        assert!(Uids::told(format!("1:{LISTED_MAX}").as_bytes(), LISTED_MAX).is_some());
    }

    #[test]
    fn uids_follow_what_is_told() {
        let mut known = uids(&[3, 4, 9, 10, 12]);
        for (line, left) in [
            ("* 2 EXPUNGE\r\n", &[3, 9, 10, 12][..]),
            ("* 9 EXPUNGE\r\n", &[3, 9, 10, 12]),
            ("* 0 EXPUNGE\r\n", &[3, 9, 10, 12]),
            ("* VANISHED (EARLIER) 3\r\n", &[3, 9, 10, 12]),
            ("* VANISHED 12,4:9\r\n", &[3, 10]),
            ("* 7 EXISTS\r\n", &[3, 10]),
        ] {
            known.hear(&response(line.as_bytes()));
            assert_eq!(known, uids(left), "{line}");
        }
    }

    #[test]
    fn a_set_names_messages_by_either() {
        let known = uids(&[3, 4, 9]);
        let set = |text: &str| {
            let line = format!("a UID EXPUNGE {text}\r\n");
            match parse::command(line.as_bytes(), Names::Utf7).unwrap().body {
                Body::Expunge { uids: Some(set) } => set,
                other => panic!("{other:?}"),
            }
        };
        for (text, by_uid, named) in [
            ("1:2", false, Some(&[3, 4][..])),
            ("*", false, Some(&[9])),
            ("4,2:3", false, Some(&[4, 9])),
            ("4:*", true, Some(&[4, 9])),
            ("99:*", true, Some(&[9])),
            ("5", true, Some(&[])),
            ("$", true, None),
            ("1:4294967295", false, Some(&[3, 4, 9])),
            ("9,3:4", true, Some(&[3, 4, 9])),
        ] {
            assert_eq!(known.named(&set(text), by_uid).as_deref(), named, "{text}");
        }
        let numbers = |text, by_uid| {
            let listed = known.list(&set(text), by_uid)?;
            Some(listed.iter().map(|l| (l.number, l.uid)).collect::<Vec<_>>())
        };
        assert_eq!(numbers("4:8,9", true), Some(vec![(2, 4), (3, 9)]));
        assert_eq!(numbers("3,1", false), Some(vec![(1, 3), (3, 9)]));
        // What a server refuses, it is to refuse.
        assert_eq!((numbers("4", false), numbers("2:9", false)), (None, None));
        assert_eq!(uids(&[]).list(&SequenceSet::all(), false), None);
        assert_eq!(known.still(&[3, 5, 9]), [3, 9]);
    }

    #[test]
    fn what_was_listed_is_known_if_that_is_all() {
        let mut view = View {
            mailbox: MailboxName::new("INBOX").unwrap(),
            read_only: false,
            uid_validity: 7,
            exists: 2,
            gone: 0,
            modseq: None,
            uids: None,
        };
        let listed = |all: &[(u32, u32)]| -> Vec<Listed> {
            all.iter().map(|(number, uid)| Listed { number: *number, uid: *uid }).collect()
        };
        for other in [&[][..], &[(1, 5)], &[(2, 5), (3, 6)], &[(1, 6), (2, 5)], &[(1, 5), (2, 5)]] {
            view.learn(&listed(other));
            assert_eq!(view.listed(), None, "{other:?}");
        }
        view.learn(&listed(&[(1, 5), (2, 6)]));
        assert_eq!(view.listed(), Some(&uids(&[5, 6])));
        view.hear(&response(b"* 3 EXISTS\r\n"));
        assert_eq!(view.listed(), None, "one more is not known");
    }

    #[test]
    fn what_went_is_told_by_its_number_before() {
        let before = [3, 4, 9, 10];
        for (now, gone) in [
            (&[3, 4, 9, 10][..], Some(&[][..])),
            (&[3, 9, 10, 11], Some(&[(2, 4)])),
            (&[12], Some(&[(1, 3), (2, 4), (3, 9), (4, 10)])),
            (&[], Some(&[(1, 3), (2, 4), (3, 9), (4, 10)])),
            // One that came amid the others.
            (&[3, 4, 5, 9, 10], None),
            (&[1, 3], None),
        ] {
            assert_eq!(uids(&before).gone(&uids(now)).as_deref(), gone, "{now:?}");
        }
    }
}
