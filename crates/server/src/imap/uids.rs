//! Message numbers and UIDs: which UID stands where. A mailbox whose messages came one after the other and stayed is a
//! single run, however many they are.

use sealpost_store::mailbox::{Uid, UidRange};

/// UIDs that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    first: Uid,
    /// Messages before this run. Its length is the difference to the next one's.
    before: u32,
}

/// UIDs in ascending order, each with its place: 8 octets for a run of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Uids {
    runs: Vec<Run>,
    len: u32,
}

impl Uids {
    /// None.
    pub(super) const EMPTY: Self = Self { runs: Vec::new(), len: 0 };

    /// Of ranges in ascending order that do not touch.
    pub(super) fn new(ranges: &[UidRange]) -> Self {
        let mut all = Self { runs: Vec::with_capacity(ranges.len()), len: 0 };
        for (low, high) in ranges {
            all.push((*low, *high));
        }
        all
    }

    /// Messages.
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// Adds UIDs behind all others.
    pub(super) fn push(&mut self, (low, high): UidRange) {
        if self.last().is_none_or(|last| last.saturating_add(1) != low) {
            self.runs.push(Run { first: low, before: self.len });
        }
        self.len += high - low + 1;
    }

    pub(super) fn last(&self) -> Option<Uid> {
        self.len.checked_sub(1).and_then(|at| self.at(at))
    }

    /// The UID at a place, counted from 0.
    pub(super) fn at(&self, place: u32) -> Option<Uid> {
        if place >= self.len {
            return None;
        }
        let run = self.runs.partition_point(|run| run.before <= place).checked_sub(1)?;
        let run = self.runs.get(run)?;
        Some(run.first + (place - run.before))
    }

    /// How many UIDs are below this one.
    pub(super) fn below(&self, uid: Uid) -> u32 {
        let Some(run) = self.runs.partition_point(|run| run.first < uid).checked_sub(1) else { return 0 };
        let end = self.runs.get(run + 1).map_or(self.len, |next| next.before);
        self.runs.get(run).map_or(0, |run| (run.before + (uid - run.first)).min(end))
    }

    /// Where a UID stands.
    pub(super) fn place(&self, uid: Uid) -> Option<u32> {
        let place = self.below(uid);
        (self.at(place) == Some(uid)).then_some(place)
    }

    /// Ranges of the UIDs, as few as there can be.
    pub(super) fn ranges(&self) -> impl Iterator<Item = UidRange> + '_ {
        let ends = self.runs.iter().skip(1).map(|run| run.before).chain([self.len]);
        self.runs.iter().zip(ends).map(|(run, end)| (run.first, run.first + (end - run.before - 1)))
    }

    /// The UIDs that lie in a range, as ranges.
    pub(super) fn within(&self, (low, high): UidRange) -> impl Iterator<Item = UidRange> + '_ {
        let first = self.runs.partition_point(|run| run.first <= low).saturating_sub(1);
        self.ranges()
            .skip(first)
            .take_while(move |(a, _)| *a <= high)
            .filter(move |(_, b)| low <= high && *b >= low)
            .map(move |(a, b)| (a.max(low), b.min(high)))
    }

    /// What lies in ranges, in parts of at most so many UIDs; each part is ranges between UIDs that are there.
    pub(super) fn parts(&self, ranges: &[UidRange], most: u32) -> Vec<Vec<UidRange>> {
        let mut parts: Vec<Vec<UidRange>> = Vec::new();
        let mut room = 0;
        for (low, high) in ranges {
            let (mut from, to) = (self.below(*low), self.below(high.saturating_add(1)));
            while from < to {
                if room == 0 {
                    parts.push(Vec::new());
                    room = most.max(1);
                }
                let n = room.min(to - from);
                if let (Some(part), Some(first), Some(last)) =
                    (parts.last_mut(), self.at(from), self.at(from + n - 1))
                {
                    part.push((first, last));
                }
                (from, room) = (from + n, room - n);
            }
        }
        parts
    }

    /// The parts of a range that are none of the UIDs.
    pub(super) fn others(&self, (low, high): UidRange) -> Vec<UidRange> {
        let mut others = Vec::new();
        let mut from = low;
        for (a, b) in self.within((low, high)) {
            if from < a {
                others.push((from, a - 1));
            }
            from = b.saturating_add(1);
        }
        if from <= high {
            others.push((from, high));
        }
        others
    }

    /// Takes UIDs (ascending) out; those that were there, and where they stood before.
    pub(super) fn remove(&mut self, uids: &[Uid]) -> Vec<(Uid, u32)> {
        let gone: Vec<(Uid, u32)> =
            uids.iter().filter_map(|uid| self.place(*uid).map(|place| (*uid, place))).collect();
        if gone.is_empty() {
            return gone;
        }
        let mut rest = Self::default();
        let mut next = gone.iter().map(|(uid, _)| *uid).peekable();
        for (mut low, high) in self.ranges() {
            while let Some(uid) = next.next_if(|uid| *uid <= high) {
                if uid > low {
                    rest.push((low, uid - 1));
                }
                low = uid + 1;
            }
            if low <= high {
                rest.push((low, high));
            }
        }
        rest.runs.shrink_to_fit();
        *self = rest;
        gone
    }
}

/// What lies in both of two lists of ranges, each ascending and apart.
pub(super) fn intersect(one: &[UidRange], other: &[UidRange]) -> Vec<UidRange> {
    let (mut one, mut other) = (one.iter().peekable(), other.iter().peekable());
    let mut both = Vec::new();
    while let (Some(a), Some(b)) = (one.peek(), other.peek()) {
        let (low, high) = (a.0.max(b.0), a.1.min(b.1));
        if low <= high {
            both.push((low, high));
        }
        let _ = if a.1 < b.1 { one.next() } else { other.next() };
    }
    both
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn ranges(uids: &BTreeSet<Uid>) -> Vec<UidRange> {
        let mut all: Vec<UidRange> = Vec::new();
        for uid in uids {
            match all.last_mut() {
                Some(last) if last.1 + 1 == *uid => last.1 = *uid,
                _ => all.push((*uid, *uid)),
            }
        }
        all
    }

    #[test]
    fn a_mailbox_that_only_grew_is_one_run() {
        let mut uids = Uids::new(&[(1, 100_000)]);
        uids.push((100_001, 100_001));
        assert_eq!((uids.runs.len(), uids.len()), (1, 100_001));
        assert_eq!(uids.place(100_001), Some(100_000));
        assert_eq!(uids.remove(&[5]), [(5, 4)]);
        assert_eq!(uids.runs.len(), 2);
        assert_eq!(uids.remove(&[5]), []);
    }

    proptest! {
        #[test]
        fn like_a_set(
            all in proptest::collection::btree_set(1..60_u32, 0..40),
            gone in proptest::collection::btree_set(1..70_u32, 0..20),
            more in proptest::collection::btree_set(60..70_u32, 0..5),
            range in (0..70_u32, 0..70_u32),
        ) {
            let mut set = all;
            let mut uids = Uids::new(&ranges(&set));
            for uid in &more {
                uids.push((*uid, *uid));
                set.insert(*uid);
            }
            let list: Vec<Uid> = set.iter().copied().collect();
            let removed: Vec<(Uid, u32)> = gone.iter().filter_map(|uid| {
                list.binary_search(uid).ok().map(|at| (*uid, u32::try_from(at).unwrap()))
            }).collect();
            prop_assert_eq!(uids.remove(&gone.iter().copied().collect::<Vec<_>>()), removed);
            set.retain(|uid| !gone.contains(uid));
            let list: Vec<Uid> = set.iter().copied().collect();
            prop_assert_eq!(&uids, &Uids::new(&ranges(&set)));
            prop_assert_eq!(uids.ranges().collect::<Vec<_>>(), ranges(&set));
            prop_assert_eq!(uids.len() as usize, list.len());
            prop_assert_eq!(uids.last(), list.last().copied());
            for uid in 0..72 {
                let below = list.partition_point(|u| *u < uid);
                prop_assert_eq!(uids.below(uid) as usize, below);
                prop_assert_eq!(uids.place(uid).map(|p| p as usize), list.binary_search(&uid).ok());
                prop_assert_eq!(uids.at(uid), list.get(uid as usize).copied());
            }
            let part: BTreeSet<Uid> = set.into_iter().filter(|u| (range.0..=range.1).contains(u)).collect();
            prop_assert_eq!(uids.within(range).collect::<Vec<_>>(), ranges(&part));
            for most in 1..5 {
                let parts = uids.parts(&[range, (range.1 + 2, 70)], most);
                let asked = |uid: &Uid| (range.0..=range.1).contains(uid) || (range.1 + 2..=70).contains(uid);
                let of = |part: &Vec<UidRange>| -> Vec<Uid> {
                    part.iter().flat_map(|(a, b)| *a..=*b).filter(|uid| list.contains(uid)).collect()
                };
                let read: Vec<Vec<Uid>> = parts.iter().map(of).collect();
                let expected: Vec<Uid> = list.iter().copied().filter(asked).collect();
                let expected: Vec<Vec<Uid>> = expected.chunks(most as usize).map(<[Uid]>::to_vec).collect();
                prop_assert_eq!(read, expected, "nothing twice, nothing left out");
            }
            let others: BTreeSet<Uid> = (range.0..=range.1).filter(|u| !part.contains(u)).collect();
            prop_assert_eq!(uids.others(range), ranges(&others));
            let both: BTreeSet<Uid> = part.intersection(&gone).copied().collect();
            prop_assert_eq!(intersect(&ranges(&part), &ranges(&gone)), ranges(&both));
        }
    }
}
