//! Work on messages by several threads, in order: see [`Pipeline`].

use std::{collections::VecDeque, io, thread::available_parallelism};
use tokio::task::{JoinHandle, spawn_blocking};

/// Messages given to a thread together: handing over costs as much as opening a few of them.
#[derive(Clone, Copy)]
pub(super) enum Messages {
    /// That are judged.
    Judged = 16,
    /// That are only opened again.
    Known = 48,
}

/// Octets given to a thread together, unless one message has more.
const OCTETS: u64 = 256 * 1024;

/// Takes pieces of work, does several at once, and gives back what became of them in their order.
pub(super) struct Pipeline<F, J, D> {
    work: F,
    gathered: Vec<J>,
    octets: u64,
    running: VecDeque<JoinHandle<Vec<D>>>,
    most: usize,
    messages: usize,
}

impl<F, J, D> Pipeline<F, J, D>
where
    F: Fn(J) -> D + Clone + Send + 'static,
    J: Send + 'static,
    D: Send + 'static,
{
    pub(super) fn new(messages: Messages, work: F) -> Self {
        let most = 2 * available_parallelism().map_or(1, usize::from);
        let messages = messages as usize;
        Self { work, gathered: Vec::new(), octets: 0, running: VecDeque::new(), most, messages }
    }

    /// One more; `octets` as an estimate of how much work it is.
    pub(super) fn push(&mut self, job: J, octets: u64) {
        self.gathered.push(job);
        self.octets += octets;
        if self.gathered.len() >= self.messages || self.octets >= OCTETS {
            self.start();
        }
    }

    fn start(&mut self) {
        self.octets = 0;
        let (jobs, work) = (std::mem::take(&mut self.gathered), self.work.clone());
        if !jobs.is_empty() {
            self.running.push_back(spawn_blocking(move || jobs.into_iter().map(work).collect()));
        }
    }

    /// What became of the oldest, where as many are at work as may be.
    pub(super) async fn when_full(&mut self) -> io::Result<Option<Vec<D>>> {
        if self.running.len() < self.most { Ok(None) } else { self.oldest().await }
    }

    /// What became of the oldest; `None` when nothing is left.
    pub(super) async fn rest(&mut self) -> io::Result<Option<Vec<D>>> {
        self.start();
        self.oldest().await
    }

    async fn oldest(&mut self) -> io::Result<Option<Vec<D>>> {
        match self.running.pop_front() {
            Some(done) => Ok(Some(done.await.map_err(io::Error::other)?)),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_that_goes_in_comes_out_in_order() {
        for count in [0, 1, 15, 16, 17, 1000] {
            let mut pipeline = Pipeline::new(Messages::Judged, |n: u64| n * 2);
            let mut out = Vec::new();
            for n in 0..count {
                pipeline.push(n, if n % 7 == 0 { OCTETS } else { 1 });
                while let Some(done) = pipeline.when_full().await.unwrap() {
                    out.extend(done);
                }
                assert!(pipeline.running.len() < pipeline.most, "work is bounded");
            }
            while let Some(done) = pipeline.rest().await.unwrap() {
                out.extend(done);
            }
            assert_eq!(out, (0..count).map(|n| n * 2).collect::<Vec<_>>());
        }
    }
}
