//! The trait [`Queue`]: acceptance, and the outbound queue.

use super::{
    SqliteStore,
    contents::{Contents, Slot},
    convert::{damaged, number},
    entries::{self, Incoming},
    folders, mailboxes,
    objects::Objects,
    readers,
    writer::Tx,
};
use crate::{
    account::AccountId,
    error::{Result, StoreError},
    mailbox::{ContentId, ContentReader, Sketch},
    queue::{Accepted, BodyNeeds, Queue, QueueEntry, QueueId, RemoteEntry, Settlement},
    spool::{Body, INLINE_MAX},
};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};
use sealpost_proto::{address::Domain, time::Timestamp};
use std::{io, sync::Arc, time::Duration};

/// Octets of a kept error text: what a bounce can show.
const ERROR_MAX: usize = 2000;

/// An acceptance with its contents prepared.
struct Ready {
    contents: Contents,
    reverse_path: Option<String>,
    local: Vec<(AccountId, Incoming)>,
    remote: Vec<(RemoteEntry, Slot)>,
}

impl SqliteStore {
    /// Makes large bodies durable, off the async threads and outside the transaction. Small ones are ready as they
    /// are: most mail makes no detour over another thread.
    async fn ready(&self, message: Accepted) -> Result<Ready> {
        let objects = Arc::clone(&self.shared.objects);
        let local = message.local.iter().map(|(_, message)| &message.body);
        let remote = message.remote.iter().map(|entry| &entry.body);
        if local.chain(remote).all(Body::is_inline) {
            return ready(objects, message);
        }
        self.blocking(move || ready(objects, message)).await
    }
}

/// Blocks where a body is large.
fn ready(objects: Arc<Objects>, message: Accepted) -> Result<Ready> {
    let mut contents = Contents::new(objects);
    let local = message
        .local
        .into_iter()
        .map(|(account, message)| Ok((account, mailboxes::incoming(&mut contents, message)?)))
        .collect::<Result<_>>()?;
    let remote = message
        .remote
        .into_iter()
        .map(|entry| {
            let slot = contents.add(&entry.body, Vec::new(), Sketch::default())?;
            Ok((entry, slot))
        })
        .collect::<Result<_>>()?;
    Ok(Ready { contents, reverse_path: message.reverse_path, local, remote })
}

fn in_memory(reader: &dyn ContentReader) -> Result<Body> {
    let mut bytes = vec![0; usize::try_from(reader.len()).map_err(|_| damaged("message"))?];
    let mut filled = 0;
    while filled < bytes.len() {
        match reader.read_at(filled as u64, &mut bytes[filled..])? {
            0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            n => filled += n,
        }
    }
    Ok(Body::from_bytes(bytes))
}

fn commit(tx: &mut Tx<'_>, ready: Ready) -> Result<()> {
    let inserted = ready.contents.insert(tx)?;
    for (account, message) in &ready.local {
        let inbox = folders::find(tx.conn, *account, "INBOX")?.ok_or(StoreError::Gone("account"))?;
        entries::append(tx, inbox, std::slice::from_ref(message), &inserted)?;
    }
    for (entry, slot) in &ready.remote {
        tx.conn
            .prepare_cached(
                "INSERT INTO queue (reverse_path, content_id, domain, recipients, eight_bit, smtputf8, received,
                     due, claimable) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)",
            )?
            .execute(params![
                ready.reverse_path,
                inserted.id(*slot),
                entry.domain.as_str(),
                recipients_text(&entry.recipients)?,
                entry.needs.eight_bit,
                entry.needs.smtputf8,
                entry.received.0,
                entry.due.0
            ])?;
        tx.queued();
    }
    ready.contents.keep(tx);
    Ok(())
}

fn recipients_text(recipients: &[String]) -> Result<String> {
    serde_json::to_string(recipients).map_err(|_| damaged("queue entry"))
}

struct Row {
    id: i64,
    reverse_path: Option<String>,
    content: i64,
    domain: String,
    recipients: String,
    needs: BodyNeeds,
    received: i64,
    due: i64,
    attempts: i64,
    last_error: Option<String>,
    size: i64,
}

const COLUMNS: &str =
    "id, reverse_path, content_id, domain, recipients, eight_bit, smtputf8, received, due, attempts,
     last_error, (SELECT size FROM content WHERE content.id = content_id)";

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        id: row.get(0)?,
        reverse_path: row.get(1)?,
        content: row.get(2)?,
        domain: row.get(3)?,
        recipients: row.get(4)?,
        needs: BodyNeeds { eight_bit: row.get(5)?, smtputf8: row.get(6)? },
        received: row.get(7)?,
        due: row.get(8)?,
        attempts: row.get(9)?,
        last_error: row.get(10)?,
        size: row.get(11)?,
    })
}

impl Row {
    fn into_entry(self, body: Body) -> Result<QueueEntry> {
        Ok(QueueEntry {
            id: QueueId(self.id),
            reverse_path: self.reverse_path,
            entry: RemoteEntry {
                body,
                domain: Domain::parse(&self.domain).map_err(|_| damaged("queue entry"))?,
                recipients: serde_json::from_str(&self.recipients).map_err(|_| damaged("queue entry"))?,
                needs: self.needs,
                received: Timestamp(self.received),
                due: Timestamp(self.due),
            },
            attempts: number(self.attempts, "queue entry")?,
            last_error: self.last_error,
        })
    }
}

fn claim(tx: &Tx<'_>, now: Timestamp, lease: Duration, limit: i64) -> Result<Vec<Row>> {
    let until = now.plus(i64::try_from(lease.as_secs()).unwrap_or(i64::MAX));
    let rows = tx
        .conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM queue WHERE claimable <= ?1 ORDER BY claimable, id LIMIT ?2"
        ))?
        .query_map([now.0, limit], row)?
        .collect::<rusqlite::Result<Vec<Row>>>()?;
    for row in &rows {
        tx.conn
            .prepare_cached("UPDATE queue SET claimable = ?2 WHERE id = ?1")?
            .execute([row.id, until.0])?;
    }
    Ok(rows)
}

fn settle(tx: &mut Tx<'_>, id: QueueId, outcome: Outcome, bounce: Option<Ready>) -> Result<()> {
    let changed = match outcome {
        Outcome::Done => {
            let content: Option<i64> = tx
                .conn
                .prepare_cached("DELETE FROM queue WHERE id = ?1 RETURNING content_id")?
                .query_row([id.0], |row| row.get(0))
                .optional()?;
            if let Some(content) = content {
                entries::release(tx, content)?;
            }
            content.is_some()
        }
        Outcome::Retry { recipients, due, error } => {
            tx.queued();
            tx.conn
                .prepare_cached(
                    "UPDATE queue SET recipients = ?2, due = ?3, claimable = ?3, attempts = attempts + 1,
                         last_error = ?4 WHERE id = ?1",
                )?
                .execute(params![id.0, recipients_text(&recipients)?, due.0, error])?
                > 0
        }
    };
    if !changed {
        // Settled by another node after our lease ended; its bounce is the one that counts.
        return Err(StoreError::Gone("queue entry"));
    }
    bounce.map_or(Ok(()), |bounce| commit(tx, bounce))
}

enum Outcome {
    Done,
    Retry { recipients: Vec<String>, due: Timestamp, error: String },
}

/// At most [`ERROR_MAX`] octets, cut between characters.
fn clipped(mut text: String) -> String {
    if text.len() > ERROR_MAX {
        let end = (0..=ERROR_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

/// Claims of a process that is gone: the store's lock proves that nobody else has any.
pub(super) fn release_claims(conn: &Connection) -> Result<()> {
    conn.execute("UPDATE queue SET claimable = due WHERE claimable <> due", [])?;
    Ok(())
}

#[async_trait]
impl Queue for SqliteStore {
    async fn accept(&self, message: Accepted) -> Result<()> {
        let ready = self.ready(message).await?;
        self.write(ready.contents.inline_bytes(), move |tx| commit(tx, ready)).await
    }

    async fn claim_due(&self, now: Timestamp, lease: Duration, limit: usize) -> Result<Vec<QueueEntry>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        // An idle relay asks often; a look is cheaper than a commit.
        let due = self
            .read(move |conn| {
                Ok(conn.prepare_cached("SELECT 1 FROM queue WHERE claimable <= ?1")?.exists([now.0])?)
            })
            .await?;
        if !due || limit == 0 {
            return Ok(Vec::new());
        }
        let rows = self.write(0, move |tx| claim(tx, now, lease, limit)).await?;
        let shared = Arc::clone(&self.shared);
        self.blocking(move || {
            let read = |row: Row| {
                let reader = readers::open(&shared, ContentId(row.content))?;
                let small = reader.len() <= INLINE_MAX as u64;
                row.into_entry(if small { in_memory(&*reader)? } else { Body::from_content(reader) })
            };
            // One entry that cannot be read must not hold up the others; it comes up again when its lease ends.
            Ok(rows
                .into_iter()
                .filter_map(|row| {
                    let id = row.id;
                    read(row)
                        .inspect_err(|error| tracing::error!(%error, id, "a queue entry cannot be read"))
                        .ok()
                })
                .collect())
        })
        .await
    }

    async fn settle(&self, id: QueueId, settlement: Settlement) -> Result<()> {
        let (outcome, bounce) = match settlement {
            Settlement::Done { bounce } => (Outcome::Done, bounce),
            Settlement::Retry { recipients, due, error, bounce } => {
                (Outcome::Retry { recipients, due, error: clipped(error) }, bounce)
            }
        };
        let bounce = match bounce {
            Some(bounce) => Some(self.ready(bounce).await?),
            None => None,
        };
        let bytes = bounce.as_ref().map_or(0, |ready| ready.contents.inline_bytes());
        self.write(bytes, move |tx| settle(tx, id, outcome, bounce)).await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        self.read(|conn| {
            Ok(conn
                .prepare_cached("SELECT min(claimable) FROM queue")?
                .query_row([], |row| row.get::<_, Option<i64>>(0))?
                .map(Timestamp))
        })
        .await
    }

    async fn queued(&self) -> Result<Vec<QueueEntry>> {
        let shared = Arc::clone(&self.shared);
        self.blocking(move || {
            let rows = shared.pool.with(|conn| {
                Ok(conn
                    .prepare_cached(&format!("SELECT {COLUMNS} FROM queue ORDER BY id"))?
                    .query_map([], row)?
                    .collect::<rusqlite::Result<Vec<Row>>>()?)
            })?;
            // The queue may be long: bodies are found when somebody reads one.
            rows.into_iter()
                .map(|row| {
                    let size = number(row.size, "message")?;
                    let body = Body::from_content(readers::lazy(&shared, ContentId(row.content), size));
                    row.into_entry(body)
                })
                .collect()
        })
        .await
    }

    async fn queue_changed(&self) {
        self.shared.listeners.queue_changed.notified().await;
    }
}
