//! Runs a target: the corpus as it is, then changed inputs for as long as the budget lasts.

use crate::{
    Target, corpus,
    dictionary::dictionary,
    feedback::{self, Map},
    mutate::Mutator,
};
use rustix::time::{ClockId, clock_gettime};
use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

/// One input taking longer than this is a finding: nothing here does I/O over a network, and a server that spends ten
/// seconds on 64 KiB can be stopped with a modem. The processor's time, since a busy machine is nobody's fault.
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
    /// The longest that one input took, of the processor's time.
    pub slowest: Duration,
    /// Inputs kept because they made something new happen.
    pub kept: usize,
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
pub fn run(target: Target, budget: Budget, seed: u64) -> Result<Done, Finding> {
    let corpus = corpus(target.0);
    let mut session = Session::new(target, &corpus, seed);
    session.go(budget)?;
    Ok(session.done)
}

/// A target in the course of being run: what it has tried and kept, so that it can go on where it was.
pub struct Session<'a> {
    target: Target,
    corpus: &'a [Vec<u8>],
    mutator: Mutator<'a>,
    map: Map,
    /// Octets of the inputs of this session that were kept, newest last, until somebody takes them.
    news: Vec<Vec<u8>>,
    /// So far.
    pub done: Done,
}

impl<'a> Session<'a> {
    /// Nothing tried yet.
    pub fn new(target: Target, corpus: &'a [Vec<u8>], seed: u64) -> Self {
        let mutator = Mutator::new(seed, corpus, dictionary(target.0)).for_target(target.0);
        let done = Done { runs: 0, took: Duration::ZERO, slowest: Duration::ZERO, kept: 0 };
        Self { target, corpus, mutator, map: Map::default(), news: Vec::new(), done }
    }

    /// The target's name.
    pub fn name(&self) -> &'static str {
        self.target.0
    }

    /// What was kept since this was asked the last time.
    pub fn news(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.news)
    }

    /// The corpus first, once, then changed inputs, within the budget. May be called again, also after a finding.
    pub fn go(&mut self, budget: Budget) -> Result<(), Finding> {
        feedback::swap(&mut self.map);
        let start = Instant::now();
        let outcome = self.inputs(budget, start);
        self.done.took += start.elapsed();
        self.done.kept = self.mutator.kept();
        feedback::swap(&mut self.map);
        outcome
    }

    fn inputs(&mut self, budget: Budget, start: Instant) -> Result<(), Finding> {
        if self.done.runs == 0 {
            for input in self.corpus {
                self.attempt(input)?;
            }
            feedback::take();
        }
        let mut left = match budget {
            Budget::Runs(runs) => runs,
            Budget::Time(_) => u64::MAX,
        };
        while left > 0 {
            if let Budget::Time(time) = budget
                && start.elapsed() >= time
            {
                break;
            }
            let input = self.mutator.input();
            self.attempt(&input)?;
            if feedback::take() {
                self.news.push(input.clone());
                self.mutator.keep(input);
            }
            left -= 1;
        }
        Ok(())
    }

    fn attempt(&mut self, input: &[u8]) -> Result<(), Finding> {
        let (name, target) = self.target;
        let before = spent();
        let outcome = outcome(target, input);
        let took = spent().saturating_sub(before);
        self.done.runs += 1;
        self.done.slowest = self.done.slowest.max(took);
        match outcome {
            Err(message) => {
                let input = shrink(target, input.to_vec());
                Err(Finding { target: name, message, input })
            }
            Ok(()) if took > SLOW => {
                Err(Finding { target: name, message: format!("took {took:?}"), input: input.to_vec() })
            }
            Ok(()) => Ok(()),
        }
    }
}

/// The processor's time of this thread so far.
fn spent() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
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
