//! What a run has done.

use crate::disk::log::{Call, Kind};
use std::collections::BTreeMap;

/// What a run did.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Operations of clients.
    pub operations: u64,
    /// Of them, told that they failed.
    pub failed: u64,
    /// Disk accesses.
    pub accesses: u64,
    /// Crash images that were opened and compared.
    pub crashes: u64,
    /// Process kills.
    pub kills: u64,
    /// Faults by call and kind.
    pub faults: BTreeMap<(Call, Kind, i32), u64>,
}

impl Counts {
    /// Takes in another run's.
    pub fn add(&mut self, other: &Self) {
        self.operations += other.operations;
        self.failed += other.failed;
        self.accesses += other.accesses;
        self.crashes += other.crashes;
        self.kills += other.kills;
        for (fault, count) in &other.faults {
            *self.faults.entry(*fault).or_default() += count;
        }
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} operations ({} told to have failed)", self.operations, self.failed)?;
        writeln!(f, "{} accesses to the disk", self.accesses)?;
        write!(f, "{} crashes, {} kills", self.crashes, self.kills)?;
        for ((call, kind, error), count) in &self.faults {
            write!(f, "\n{count} × {call:?} {kind:?}")?;
            if *error != 0 {
                write!(f, " ({})", std::io::Error::from_raw_os_error(*error))?;
            }
        }
        Ok(())
    }
}
