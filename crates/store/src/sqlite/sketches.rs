//! Sketches of messages, which tell searchers what need not be opened. The header's is a column of `content`, behind
//! the index: it costs a delivery no page more, and searches in headers are the common ones. The text's is larger and in
//! a table of its own, so that they need not read it. Figures: `docs/decisions/0008-search.md`.

use super::writer::Tx;
use crate::{
    error::Result,
    mailbox::{ContentId, Sketched},
};
use rusqlite::{Connection, Row};

/// Contents that are looked for together.
const RUN: usize = 128;
/// A run is read from its first to its last where no more than so many rows stand there for each that is wanted: a row
/// that is passed over costs a quarter of one that is looked for.
const SPREAD: i64 = 4;

/// Keeps the sketch of a text.
pub(super) fn keep_text(tx: &Tx<'_>, content: i64, sketch: &[u8]) -> Result<()> {
    tx.conn
        .prepare_cached("INSERT INTO text_sketch (content_id, sketch) VALUES (?1, ?2)")?
        .execute((content, sketch))?;
    Ok(())
}

/// The sketch in a row, not copied.
fn stored<'a>(row: &'a Row<'_>) -> Result<Option<&'a [u8]>> {
    Ok(row.get_ref(1)?.as_blob_or_null().map_err(rusqlite::Error::from)?)
}

/// What `judge` says of the sketches of `contents`, in order; `snapshot` is in a transaction.
pub(super) fn judge(
    snapshot: &Connection,
    which: Sketched,
    contents: &[ContentId],
    judge: &dyn Fn(Option<&[u8]>) -> u64,
) -> Result<Vec<u64>> {
    let (one, many) = match which {
        Sketched::Header => (
            "SELECT id, sketch FROM content WHERE id = ?1",
            "SELECT id, sketch FROM content WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
        ),
        Sketched::Text => (
            "SELECT content_id, sketch FROM text_sketch WHERE content_id = ?1",
            "SELECT content_id, sketch FROM text_sketch WHERE content_id BETWEEN ?1 AND ?2 ORDER BY content_id",
        ),
    };
    let (mut one, mut many) = (snapshot.prepare_cached(one)?, snapshot.prepare_cached(many)?);
    let mut judged = vec![judge(None); contents.len()];
    // As they lie on the disk.
    let mut order: Vec<usize> = (0..contents.len()).collect();
    order.sort_unstable_by_key(|at| contents[*at]);
    for run in order.chunks(RUN) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
        let (first, last) = (contents[*first].0, contents[*last].0);
        if last.saturating_sub(first) < SPREAD.saturating_mul(i64::try_from(run.len()).unwrap_or(i64::MAX)) {
            let mut rows = many.query((first, last))?;
            let mut next = 0;
            while let Some(row) = rows.next()? {
                let id: i64 = row.get(0)?;
                while run.get(next).is_some_and(|at| contents[*at].0 < id) {
                    next += 1;
                }
                // Copies in one mailbox share a content.
                while let Some(at) = run.get(next).filter(|at| contents[**at].0 == id) {
                    judged[*at] = judge(stored(row)?);
                    next += 1;
                }
            }
        } else {
            for at in run {
                let mut rows = one.query([contents[*at].0])?;
                if let Some(row) = rows.next()? {
                    judged[*at] = judge(stored(row)?);
                }
            }
        }
    }
    Ok(judged)
}
