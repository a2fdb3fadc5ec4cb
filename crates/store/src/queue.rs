//! Accepting mail: local deliveries and the durable outbound queue, in one transaction.

use crate::{account::AccountId, error::Result, mailbox::NewMessage, spool::Body};
use async_trait::async_trait;
use sealpost_proto::{address::Domain, time::Timestamp};
use std::time::Duration;

/// Names a queue entry: one message to one domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(pub i64);

/// What MAIL FROM asked for the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BodyNeeds {
    /// BODY=8BITMIME was given, or the octets have the high bit.
    pub eight_bit: bool,
    /// SMTPUTF8 was given.
    pub smtputf8: bool,
}

/// One accepted message: everything that its 250 promises.
pub struct Accepted {
    /// Reverse-path as written; `None` is the null reverse-path.
    pub reverse_path: Option<String>,
    /// Deliveries to INBOX of these accounts (each with its own trace header already in `message.body`).
    pub local: Vec<(AccountId, NewMessage)>,
    /// Message for the other domains.
    pub remote: Vec<RemoteEntry>,
}

/// One message to the recipients of one domain.
#[derive(Clone)]
pub struct RemoteEntry {
    /// Octets to relay.
    pub body: Body,
    /// Where to.
    pub domain: Domain,
    /// Forward-paths as written.
    pub recipients: Vec<String>,
    /// What the next hop must offer.
    pub needs: BodyNeeds,
    /// When the message was accepted.
    pub received: Timestamp,
    /// When to try first.
    pub due: Timestamp,
}

/// A claimed queue entry.
#[derive(Clone)]
pub struct QueueEntry {
    /// Id.
    pub id: QueueId,
    /// Reverse-path as written; `None` is the null reverse-path.
    pub reverse_path: Option<String>,
    /// What and where to.
    pub entry: RemoteEntry,
    /// Attempts so far.
    pub attempts: u32,
    /// The last error, for the bounce and `queue list`.
    pub last_error: Option<String>,
}

/// What an attempt came to, committed in one transaction.
pub enum Settlement {
    /// All recipients are done (delivered or bounced); the entry goes.
    Done {
        /// A bounce to be accepted in the same transaction.
        bounce: Option<Accepted>,
    },
    /// Some remain.
    Retry {
        /// Recipients that remain, as written.
        recipients: Vec<String>,
        /// When to try next.
        due: Timestamp,
        /// Why it failed.
        error: String,
        /// A bounce for recipients that failed for good now.
        bounce: Option<Accepted>,
    },
}

/// The outbound queue and acceptance into it.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Commits local deliveries and queue entries of one message, all or none, and returns when they are on stable
    /// storage; `Ok` is the licence for a 250.
    async fn accept(&self, message: Accepted) -> Result<()>;
    /// Claims up to `limit` due entries for `lease`; a claim that is not settled by then (the process died) is due
    /// again. An entry is claimed by one caller at a time.
    async fn claim_due(&self, now: Timestamp, lease: Duration, limit: usize) -> Result<Vec<QueueEntry>>;
    /// Commits what came of an attempt.
    async fn settle(&self, id: QueueId, settlement: Settlement) -> Result<()>;
    /// When the next unclaimed entry is due.
    async fn next_due(&self) -> Result<Option<Timestamp>>;
    /// All entries, for `queue list`.
    async fn queued(&self) -> Result<Vec<QueueEntry>>;
    /// Resolves when something was queued since the last call.
    async fn queue_changed(&self);
}
