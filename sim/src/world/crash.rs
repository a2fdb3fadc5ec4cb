//! Crashes at single accesses to the disk: what they leave is opened and compared with what was answered until then.

use super::{
    Crashes, Found, Version, World,
    compare::{difference, same},
    finish,
};
use crate::{
    disk::{
        image::Image,
        log::{Call, Kind, class},
        scratch,
    },
    look::{self, Known},
    model::{Model, Seen},
    rng::Rng,
    store::{self, HandClock},
};
use std::{
    path::Path,
    sync::{Arc, atomic::AtomicI64},
};

/// Octets of the head of SQLite's log, which begins it anew.
const LOG_HEAD: usize = 32;

/// What a disk that lied has left in doubt.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lies {
    /// Where it lied about the log, and has not synced it since.
    pub(super) uncovered: Option<usize>,
    /// It lied about something else, or about the beginning of a new log, or what it lied about was built upon: nothing
    /// is sure any more.
    pub(super) built_on: bool,
}

impl World {
    /// The disk after so many accesses of this life.
    pub(super) fn image(&self, at: usize) -> Image {
        let mut image = self.life.start.clone();
        self.advance(&mut image, 0, at);
        image
    }

    /// Takes an image from one access to another. What a failed sync had written is decided by its place alone.
    pub(super) fn advance(&self, image: &mut Image, from: usize, to: usize) {
        for (place, record) in self.life.log[..to].iter().enumerate().skip(from) {
            image.apply(record, &mut Rng::new(place as u64));
        }
    }

    /// Crashes at accesses that were not looked at yet.
    pub(super) fn look_for_crashes(&mut self) -> Found<()> {
        let (from, to) = (self.life.looked, self.life.log.len());
        self.life.looked = to;
        let points: Vec<usize> = match self.crashes {
            Crashes::Every => (from + 1..=to).collect(),
            Crashes::Some(count) => {
                let mut points: Vec<usize> =
                    (0..count.min(to - from)).map(|_| from + 1 + self.rng.below(to - from)).collect();
                points.sort_unstable();
                points.dedup();
                points
            }
        };
        let mut image = self.life.looked_image.take().unwrap_or_else(|| self.life.start.clone());
        let mut at = from;
        for point in points {
            self.advance(&mut image, at, point);
            at = point;
            let seed = self.rng.draw();
            let folder = scratch().map_err(|error| error.to_string())?;
            self.check_crash(&image, point, seed, folder.path())
                .map_err(|what| format!("a crash at access {point} of {to}: {what}"))?;
        }
        self.advance(&mut image, at, to);
        self.life.looked_image = Some(image);
        Ok(())
    }

    /// Opens what a crash leaves and says which state it is; `None` where a lying disk leaves no promise.
    pub(super) fn check_crash(
        &mut self,
        image: &Image,
        at: usize,
        seed: u64,
        folder: &Path,
    ) -> Found<Option<Model>> {
        image.crash(&mut Rng::new(seed), folder).map_err(|error| error.to_string())?;
        self.counts.crashes += 1;
        let promise = self.promise(at);
        let path = folder.join("store");
        let ask = promise.is_some_and(|floor| self.life.versions[floor].model.seen.secret.is_some());
        let clock = Arc::new(HandClock(AtomicI64::new(self.now())));
        let opened = (|| -> Found<(Seen, [i64; 4])> {
            let store = store::open(&path, &clock, &mut Rng::new(seed))
                .map_err(|error| format!("the store does not open: {error}"))?;
            let found = finish(&store, look::observe(&store, &mut Known::default(), ask))?;
            crate::inspect::inspect(&path, false)?;
            Ok((found, look::numbers(&path)?))
        })();
        let Some(floor) = promise else { return Ok(None) };
        let (found, numbers) = opened?;
        if let Some(index) = self.find_version(&found, numbers, floor, at) {
            return Ok(Some(self.life.versions[index].restarted()));
        }
        let wanted = self.life.versions[floor].restarted();
        Err(format!("what was answered is not there: {}", difference(&wanted.seen, &found)))
    }

    /// Which of the versions it is that a crash at this access may lead to, if any. Where several look the same (an
    /// account was made and removed again) the numbers given out tell them apart.
    pub(super) fn find_version(
        &self,
        seen: &Seen,
        numbers: [i64; 4],
        floor: usize,
        at: usize,
    ) -> Option<usize> {
        let possible = |(index, version): &(usize, &Version)| match version.dead_on {
            _ if *index == floor => true,
            _ if version.began >= at => false,
            Some(base) => base >= floor,
            None => *index > floor,
        };
        let all = self.life.versions.iter().enumerate().filter(possible);
        let mut same = all.filter(|(_, version)| same(&version.restarted().seen, seen));
        same.find(|(_, version)| version.model.numbers() == numbers).map(|(index, _)| index)
    }

    /// The oldest version that a crash may lead back to: the newest that was answered. Where syncs lied it is the
    /// newest that was answered before; and none if what was lied about has been built upon (a checkpoint), for then
    /// SQLite cannot know what it has.
    pub(super) fn promise(&self, at: usize) -> Option<usize> {
        let mut safe = at;
        if self.broken.is_none() {
            let lies = self.lies(at);
            if lies.built_on {
                return None;
            }
            safe = lies.uncovered.unwrap_or(at);
        }
        let newest = self
            .life
            .versions
            .iter()
            .enumerate()
            .filter(|(_, version)| {
                version.dead_on.is_none() && version.answered.is_some_and(|answered| answered <= safe)
            })
            .map(|(index, _)| index)
            .next_back();
        newest.or(Some(0))
    }

    /// What lies of the disk mean for the accesses up to `at`.
    pub(super) fn lies(&self, at: usize) -> Lies {
        let mut lies = self.life.lies;
        let mut begun = false;
        for (place, record) in self.life.log[..at].iter().enumerate() {
            if record.class == class::LOG {
                match record.call {
                    Call::Write if record.offset == 0 && record.data.len() == LOG_HEAD => begun = true,
                    Call::Sync if record.kind.is_none() => begun = false,
                    // What follows is written over the frames of a log that is in force: what is left of them can be
                    // older than the database.
                    Call::Sync if record.kind == Some(Kind::Lies) && begun => lies.built_on = true,
                    _ => {}
                }
            }
            match (record.call, record.class, record.kind) {
                (Call::Sync, class::LOG, Some(Kind::Lies)) => drop(lies.uncovered.get_or_insert(place)),
                (Call::Sync, _, Some(Kind::Lies)) => lies.built_on = true,
                (Call::Sync, class::LOG, None) => lies.uncovered = None,
                (Call::Write, class::DATABASE, _) if lies.uncovered.is_some() => lies.built_on = true,
                _ => {}
            }
        }
        lies
    }
}
