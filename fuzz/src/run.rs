//! Runs a target: the corpus as it is, then changed inputs for as long as the budget lasts.

use crate::{Target, corpus, dictionary::dictionary, mutate::Mutator};
use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

/// One input taking longer than this is a finding: nothing here does I/O over a network, and a server that spends ten
/// seconds on 64 KiB can be stopped with a modem.
const SLOW: Duration = Duration::from_secs(10);
/// How long a finding is made smaller.
const SHRINK: Duration = Duration::from_secs(20);

/// How long a target runs behind its corpus.
#[derive(Debug, Clone, Copy)]
pub enum Budget {
    /// That many changed inputs.
    Runs(u64),
    /// That long.
    Time(Duration),
}

/// What came of it when nothing was found.
#[derive(Debug, Clone, Copy)]
pub struct Done {
    /// Inputs tried.
    pub runs: u64,
    /// How long it took.
    pub took: Duration,
    /// The longest that one input took.
    pub slowest: Duration,
}

/// An input that a target does not stand.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Of which target.
    pub target: &'static str,
    /// The panic's message.
    pub message: String,
    /// The input, made smaller where that was possible.
    pub input: Vec<u8>,
}

/// Runs one target. Panics are caught; set a quiet panic hook if their text is not wanted on stderr.
pub fn run((name, target): Target, budget: Budget, seed: u64) -> Result<Done, Finding> {
    let corpus = corpus(name);
    let start = Instant::now();
    let mut done = Done { runs: 0, took: Duration::ZERO, slowest: Duration::ZERO };
    let mut attempt = |input: Vec<u8>| {
        let before = Instant::now();
        let outcome = outcome(target, &input);
        let took = before.elapsed();
        done.runs += 1;
        done.slowest = done.slowest.max(took);
        match outcome {
            Err(message) => {
                let input = shrink(target, input);
                Err(Finding { target: name, message, input })
            }
            Ok(()) if took > SLOW => Err(Finding { target: name, message: format!("took {took:?}"), input }),
            Ok(()) => Ok(()),
        }
    };
    for input in &corpus {
        attempt(input.clone())?;
    }
    let mut mutator = Mutator::new(seed, &corpus, dictionary(name));
    match budget {
        Budget::Runs(runs) => (0..runs).try_for_each(|_| attempt(mutator.input()))?,
        Budget::Time(time) => {
            while start.elapsed() < time {
                attempt(mutator.input())?;
            }
        }
    }
    done.took = start.elapsed();
    Ok(done)
}

fn outcome(target: fn(&[u8]), input: &[u8]) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| target(input))).map_err(|panic| message(&*panic))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words").to_owned()
}

/// Takes out ever smaller pieces as long as what is left still panics.
fn shrink(target: fn(&[u8]), mut input: Vec<u8>) -> Vec<u8> {
    let start = Instant::now();
    let mut size = input.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < input.len() {
            if start.elapsed() > SHRINK {
                return input;
            }
            let mut smaller = input.clone();
            smaller.drain(at..(at + size).min(input.len()));
            if outcome(target, &smaller).is_err() {
                input = smaller;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    input
}
