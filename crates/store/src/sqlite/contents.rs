//! Message contents on their way into the store: prepared before the transaction, inserted by it.

use super::{
    convert::signed,
    maildrop,
    objects::{Objects, Prepared},
    sketches,
    writer::Tx,
};
use crate::{error::Result, mailbox::Sketch, spool::Body};
use rusqlite::params;
use std::sync::Arc;

/// The distinct contents of one change. Objects that were made for it go again unless it was committed.
pub(super) struct Contents {
    objects: Arc<Objects>,
    items: Vec<Item>,
    keep: bool,
}

struct Item {
    body: Body,
    index: Vec<u8>,
    sketch: Sketch,
    prepared: Prepared,
    ends_in_crlf: bool,
    refs: i64,
}

/// Names a content within [`Contents`].
#[derive(Clone, Copy)]
pub(super) struct Slot(usize);

/// Ids and sizes after the insertion, by slot.
pub(super) struct Inserted(Vec<(i64, u64)>);

impl Inserted {
    pub(super) fn id(&self, slot: Slot) -> i64 {
        self.0[slot.0].0
    }
    pub(super) fn size(&self, slot: Slot) -> u64 {
        self.0[slot.0].1
    }
}

impl Contents {
    pub(super) fn new(objects: Arc<Objects>) -> Self {
        Self { objects, items: Vec::new(), keep: false }
    }

    /// Adds a use of a body; the same body with the same index is stored once. Blocks: large bodies are synced here.
    pub(super) fn add(&mut self, body: &Body, index: Vec<u8>, sketch: Sketch) -> Result<Slot> {
        if let Some(at) = self.items.iter().position(|item| item.body.same(body) && item.index == index) {
            self.items[at].refs += 1;
            return Ok(Slot(at));
        }
        let prepared = self.objects.prepare(body)?;
        let ends_in_crlf = ends_in_crlf(body)?;
        self.items.push(Item { body: body.clone(), index, sketch, prepared, ends_in_crlf, refs: 1 });
        Ok(Slot(self.items.len() - 1))
    }

    /// What goes through the writer.
    pub(super) fn inline_bytes(&self) -> usize {
        let of = |item: &Item| item.prepared.inline_len() + item.index.len() + item.sketch.len();
        self.items.iter().map(of).sum()
    }

    pub(super) fn insert(&self, tx: &Tx<'_>) -> Result<Inserted> {
        let mut inserted = Vec::with_capacity(self.items.len());
        for item in &self.items {
            let key = match &item.prepared {
                Prepared::Inline(_) => None,
                Prepared::Object { key, .. } => Some(key),
            };
            let size = item.prepared.size();
            let id: i64 = tx
                .conn
                .prepare_cached(
                    "INSERT INTO content (refs, size, object_key, idx, sketch) VALUES (?1, ?2, ?3, ?4, ?5)
                     RETURNING id",
                )?
                .query_row(
                    params![item.refs, signed(size), key, item.index, item.sketch.header.as_deref()],
                    |row| row.get(0),
                )?;
            if let Prepared::Inline(bytes) = &item.prepared {
                tx.conn
                    .prepare_cached("INSERT INTO body (content_id, data) VALUES (?1, ?2)")?
                    .execute(params![id, &bytes[..]])?;
            }
            if let Some(text) = &item.sketch.text {
                sketches::keep_text(tx, id, text)?;
            }
            if !item.ends_in_crlf {
                maildrop::note_unended(tx, id)?;
            }
            inserted.push((id, size));
        }
        Ok(Inserted(inserted))
    }

    /// The rows may be committed from here on, and the objects are the writer's. Should the commit fail after all, it
    /// removes them where it knows that their rows are not on the disk, else the next opening sweeps them.
    pub(super) fn keep(mut self, tx: &mut Tx<'_>) {
        self.keep = true;
        for item in &self.items {
            if let Prepared::Object { key, .. } = &item.prepared {
                tx.placed(key);
            }
        }
    }
}

/// Whether a message is whole lines; a message of no octets is.
fn ends_in_crlf(body: &Body) -> Result<bool> {
    let mut end = [0; 2];
    let Some(at) = body.len().checked_sub(2) else { return Ok(body.is_empty()) };
    let read = body.read_at(at, &mut end)?;
    Ok(end[..read] == *b"\r\n")
}

impl Drop for Contents {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        for item in &self.items {
            if let Prepared::Object { key, .. } = &item.prepared {
                self.objects.discard(key);
            }
        }
    }
}
