//! What is known of a mailbox's MODSEQs (RFC 7162 §3.1). The model does not choose them: it numbers the commands that
//! change something, and wants each value that is told to fit that order.

use super::world::{Checked, must};
use std::collections::BTreeMap;

/// The number of a command that changed something: a later one is larger.
pub(super) type Tick = u64;

/// Values as told, and when what they stand for came to be.
#[derive(Debug, Clone, Default)]
pub(super) struct Modseqs {
    /// The last change: of flags, by a new message, by one that was removed.
    pub(super) changed: Tick,
    /// A message as it was since a change.
    told: BTreeMap<(u32, Tick), u64>,
    /// HIGHESTMODSEQ after a change.
    highest: BTreeMap<Tick, u64>,
}

impl Modseqs {
    /// With another UIDVALIDITY all values are new.
    pub(super) fn forget(&mut self) {
        self.told.clear();
        self.highest.clear();
    }

    /// Whether a message that changed at `tick` may have this value.
    pub(super) fn fits(&self, uid: u32, tick: Tick, value: u64) -> bool {
        let same = self.told.get(&(uid, tick)).is_none_or(|told| *told == value);
        let in_order = self.told.iter().all(|((_, other), told)| match other.cmp(&tick) {
            std::cmp::Ordering::Less => *told < value,
            // One command may give one value to all, or one to each.
            std::cmp::Ordering::Equal => true,
            std::cmp::Ordering::Greater => *told > value,
        });
        let mut highest = self.highest.iter();
        same && in_order && highest.all(|(at, told)| if *at < tick { *told < value } else { *told >= value })
    }

    /// The value of a message that changed at `tick`.
    pub(super) fn tell(&mut self, uid: u32, tick: Tick, value: u64) -> Checked {
        must(self.fits(uid, tick, value), || {
            format!("UID {uid} cannot have MODSEQ {value} since change {tick}: {self:?}")
        })?;
        self.told.insert((uid, tick), value);
        Ok(())
    }

    /// HIGHESTMODSEQ as it is now.
    pub(super) fn tell_highest(&mut self, value: u64) -> Checked {
        let known = *self.highest.entry(self.changed).or_insert(value);
        must(known == value, || format!("HIGHESTMODSEQ went from {known} to {value}, and nothing changed"))?;
        let below = self.highest.range(..self.changed).all(|(_, told)| *told < value);
        must(below && self.told.values().all(|told| *told <= value), || {
            format!("HIGHESTMODSEQ cannot be {value}: {self:?}")
        })
    }

    /// The value of a message that changed at `tick`, where it was told.
    pub(super) fn of(&self, uid: u32, tick: Tick) -> Option<u64> {
        self.told.get(&(uid, tick)).copied()
    }

    /// The HIGHESTMODSEQ after a change, where it was told.
    pub(super) fn at(&self, tick: Tick) -> Option<u64> {
        self.highest.get(&tick).copied()
    }

    /// The HIGHESTMODSEQ of now, where it was told.
    pub(super) fn now(&self) -> Option<u64> {
        self.at(self.changed)
    }
}

/// What a session knows of MODSEQs, which decides what it is told (RFC 7162 §3.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Aware {
    #[default]
    No,
    /// A command that tells so was refused.
    Perhaps,
    Yes,
}
