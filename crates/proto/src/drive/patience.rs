//! How long one conversation may keep us waiting, all its steps together.
//!
//! A limit for each step alone is none at all: a server that answers every command just in time, or takes a message
//! one octet a minute, holds its client for days. So the waiting of all steps is summed up. Octets that move earn time
//! back, at a rate that every line in use exceeds, so that a large message over a slow line still arrives; and a
//! message taken, or the time the user needs for an answer, costs nothing.

use std::time::Duration;
use tokio::time::Instant;

/// Octets that earn a second: 64 kbit/s, the slowest line that anybody still reads mail over.
const OCTETS_A_SECOND: u64 = 8 * 1_024;

/// What is left of the time that one conversation gets.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    whole: Duration,
    left: Duration,
}

impl Patience {
    /// A conversation may keep us waiting for `whole`.
    pub const fn new(whole: Duration) -> Self {
        Self { whole, left: whole }
    }
    /// How long a step may take that alone may take `step`.
    pub fn step(&self, step: Duration) -> Duration {
        self.left.min(step)
    }
    /// A step that began then has ended now.
    pub fn waited_since(&mut self, began: Instant) {
        self.left = self.left.saturating_sub(began.elapsed());
    }
    /// So many octets moved. Never more than the whole is left, whatever was earned.
    pub fn earn(&mut self, octets: u64) {
        self.earn_time(Duration::from_millis(octets.saturating_mul(1_000) / OCTETS_A_SECOND));
    }
    /// Something was done that is worth this much time.
    pub fn earn_time(&mut self, time: Duration) {
        self.left = self.left.saturating_add(time).min(self.whole);
    }
    /// The conversation got somewhere, and begins anew.
    pub fn renew(&mut self) {
        self.left = self.whole;
    }
}
