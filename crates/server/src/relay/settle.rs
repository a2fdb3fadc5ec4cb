//! What an attempt came to, and what becomes of the entry: done, tried again, or returned to its sender.

use super::bounce;
use crate::context::Context;
use sealpost_proto::{smtp::client::Reply, time::Timestamp};
use sealpost_store::{
    StoreError,
    queue::{QueueEntry, Settlement},
};
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};
use tokio::time::sleep;

/// Why a recipient could not be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// For good?
    pub(super) permanent: bool,
    /// RFC 3463 status.
    pub(super) status: String,
    /// In words.
    pub(super) reason: String,
    /// Whose fault it is, if a server said so.
    pub(super) host: Option<String>,
    /// Its words.
    pub(super) reply: Option<Reply>,
}

impl Failure {
    pub(super) fn permanent(status: &str, reason: String) -> Self {
        Self { permanent: true, status: status.to_owned(), reason, host: None, reply: None }
    }
    pub(super) fn transient(status: &str, reason: String) -> Self {
        Self { permanent: false, ..Self::permanent(status, reason) }
    }
    #[must_use]
    pub(super) fn at(self, host: &str, reply: Option<&Reply>) -> Self {
        Self { host: Some(host.to_owned()), reply: reply.cloned(), ..self }
    }
}

/// Results of one attempt.
#[derive(Debug, Default)]
pub(super) struct Results {
    /// Recipients that the other server has taken responsibility for.
    pub(super) delivered: usize,
    /// The others, as written.
    pub(super) failed: Failed,
}

impl Results {
    pub(super) fn all(entry: &QueueEntry, failure: &Failure) -> Self {
        let failed = entry.entry.recipients.iter().map(|recipient| (recipient.clone(), failure.clone()));
        Self { delivered: 0, failed: failed.collect() }
    }
}

/// Recipients as written, and why each failed.
type Failed = Vec<(String, Failure)>;

/// Splits failures into those to be bounced now and those to be tried again. At the end of the entry's life everything
/// is for good.
fn split(failed: Failed, received: Timestamp, now: Timestamp, lifetime: Duration) -> (Failed, Failed) {
    let over = now >= received.plus(seconds(lifetime));
    failed.into_iter().partition(|(_, failure)| failure.permanent || over)
}

/// When to try next: the schedule's wait for this attempt, up to a tenth more so that what failed together does not
/// come back together, and a last time when the life of the entry ends.
fn next_due(entry: &QueueEntry, schedule: &[Duration], lifetime: Duration, now: Timestamp) -> Timestamp {
    let at = usize::try_from(entry.attempts).unwrap_or(usize::MAX).min(schedule.len().saturating_sub(1));
    let wait = schedule.get(at).map_or(900, |wait| seconds(*wait)).max(1);
    let mut hasher = DefaultHasher::new();
    (entry.id.0, entry.attempts).hash(&mut hasher);
    let jitter = i64::try_from(hasher.finish() % 1_000).unwrap_or(0) * wait / 10_000;
    let end = entry.entry.received.plus(seconds(lifetime));
    now.plus(wait + jitter).min(end.max(now.plus(1)))
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// Commits what came of an attempt.
pub(super) async fn settle(ctx: &Context, entry: &QueueEntry, results: Results) {
    let now = ctx.clock.now();
    let queue = &ctx.config.queue;
    let (returned, again) = split(results.failed, entry.entry.received, now, queue.lifetime);
    tracing::info!(
        id = entry.id.0,
        domain = %entry.entry.domain,
        delivered = results.delivered,
        returned = returned.len(),
        again = again.len(),
        "relayed"
    );
    let error = again.first().map(|(_, failure)| failure.reason.clone());
    let recipients: Vec<String> = again.into_iter().map(|(recipient, _)| recipient).collect();
    commit(ctx, entry, || async {
        // Made anew for each try: a bounce is consumed by the store.
        let bounce =
            if returned.is_empty() { None } else { bounce::accepted(ctx, entry, &returned, now).await? };
        Ok(match &error {
            Some(error) => Settlement::Retry {
                recipients: recipients.clone(),
                due: next_due(entry, &queue.retry, queue.lifetime, now),
                error: error.clone(),
                bounce,
            },
            None => Settlement::Done { bounce },
        })
    })
    .await;
}

/// Gives a claimed entry back without an attempt.
pub(super) async fn put_back(ctx: &Context, entry: &QueueEntry) {
    let now = ctx.clock.now();
    commit(ctx, entry, || async {
        Ok(Settlement::Retry {
            recipients: entry.entry.recipients.clone(),
            due: now,
            error: entry.last_error.clone().unwrap_or_else(|| "there was no time to try".to_owned()),
            bounce: None,
        })
    })
    .await;
}

/// Pauses between tries.
const PAUSES: [u64; 5] = [1, 5, 15, 60, 300];
/// Pause where the disk is full, as long as it is.
const FULL_PAUSE: u64 = 15;

/// Tries until the store takes it: giving up here after a delivery means delivering twice. A full disk is waited out.
async fn commit<F>(ctx: &Context, entry: &QueueEntry, settlement: impl Fn() -> F)
where
    F: Future<Output = Result<Settlement, StoreError>>,
{
    let mut pauses = PAUSES.into_iter();
    let mut said = false;
    loop {
        let done = match settlement().await {
            Ok(settlement) => ctx.store.settle(entry.id, settlement).await,
            Err(error) => Err(error),
        };
        let pause = match done {
            // "Gone": settled by another node after our lease had ended.
            Ok(()) | Err(StoreError::Gone(_)) => return,
            Err(error) => {
                let full = matches!(error, StoreError::Full);
                // Once, however long the disk is full.
                if !(full && std::mem::replace(&mut said, full)) {
                    tracing::error!(id = entry.id.0, %error, "a delivery's result could not be stored");
                }
                if full { Some(FULL_PAUSE) } else { pauses.next() }
            }
        };
        let Some(pause) = pause else { break };
        sleep(Duration::from_secs(pause)).await;
    }
    tracing::error!(id = entry.id.0, "gave up storing a delivery's result; the message may arrive twice");
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealpost_proto::address::Domain;
    use sealpost_store::{
        queue::{BodyNeeds, QueueId, RemoteEntry},
        spool::Body,
    };

    fn entry(attempts: u32) -> QueueEntry {
        QueueEntry {
            id: QueueId(7),
            reverse_path: None,
            entry: RemoteEntry {
                body: Body::from_bytes(&b"a\r\n"[..]),
                domain: Domain::parse("example.com").unwrap(),
                recipients: vec!["bob@example.com".into()],
                needs: BodyNeeds::default(),
                received: Timestamp(1_000),
                due: Timestamp(1_000),
            },
            attempts,
            last_error: None,
        }
    }

    #[test]
    fn waits_grow_and_end_with_the_life_of_the_entry() {
        let schedule = [60, 300, 900].map(Duration::from_secs);
        let life = Duration::from_secs(5_000);
        for (attempts, now, low, high) in [
            (0, 1_000, 1_060, 1_066),
            (1, 1_000, 1_300, 1_330),
            (2, 1_000, 1_900, 1_990),
            (50, 1_000, 1_900, 1_990),
            (2, 5_900, 6_000, 6_000),
            (2, 7_000, 7_001, 7_001),
        ] {
            let due = next_due(&entry(attempts), &schedule, life, Timestamp(now)).0;
            assert!((low..=high).contains(&due), "attempt {attempts} at {now}: {due}");
        }
        assert!(next_due(&entry(0), &[], life, Timestamp(1_000)).0 > 1_000);
    }

    #[test]
    fn permanent_failures_and_old_entries_are_returned() {
        let life = Duration::from_secs(100);
        let failed = || {
            vec![
                ("a".to_owned(), Failure::permanent("5.1.1", "no".into())),
                ("b".to_owned(), Failure::transient("4.2.2", "full".into())),
            ]
        };
        let (returned, again) = split(failed(), Timestamp(0), Timestamp(99), life);
        assert_eq!((returned[0].0.as_str(), again[0].0.as_str()), ("a", "b"));
        let (returned, again) = split(failed(), Timestamp(0), Timestamp(100), life);
        assert_eq!((returned.len(), again.len()), (2, 0));
    }
}
