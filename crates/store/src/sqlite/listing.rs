//! Messages in mailboxes: reading of many. Each function is one short read.

use super::{
    convert::{number, signed},
    entries::{COLUMNS, row, spell, spellings, to_entry},
    mailboxes::status,
};
use crate::{
    error::Result,
    mailbox::{Changes, Entry, Flags, MailboxId, Mark, Touched, Uid, UidRange},
};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeMap;

/// Something read for each message, to which its keywords are added: they lie in a table of their own.
trait Listed: Sized {
    fn uid(&self) -> Uid;
    fn keywords(&mut self) -> &mut Vec<String>;
}

impl Listed for Entry {
    fn uid(&self) -> Uid {
        self.uid
    }
    fn keywords(&mut self) -> &mut Vec<String> {
        &mut self.keywords
    }
}

impl Listed for Mark {
    fn uid(&self) -> Uid {
        self.uid
    }
    fn keywords(&mut self) -> &mut Vec<String> {
        &mut self.keywords
    }
}

fn entry(from: &rusqlite::Row<'_>) -> Result<Entry> {
    to_entry(&row(from)?, Vec::new())
}

fn mark(from: &rusqlite::Row<'_>) -> Result<Mark> {
    Ok(Mark {
        uid: from.get(0)?,
        modseq: number(from.get(1)?, "entry")?,
        flags: Flags(from.get(2)?),
        keywords: Vec::new(),
    })
}

/// The keywords of a range of messages, folded, ascending by UID.
pub(super) fn keywords_in(
    conn: &Connection,
    mailbox: MailboxId,
    (first, last): UidRange,
) -> Result<Vec<(Uid, String)>> {
    Ok(conn
        .prepare_cached(
            "SELECT uid, folded FROM entry_keyword WHERE mailbox_id = ?1 AND uid BETWEEN ?2 AND ?3 ORDER BY uid",
        )?
        .query_map(params![mailbox.0, first, last], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?)
}

/// Fills in the keywords of a run of messages, ascending by UID.
fn add_keywords<T: Listed>(
    conn: &Connection,
    mailbox: MailboxId,
    run: &mut [T],
    spellings: &BTreeMap<String, String>,
) -> Result<()> {
    let (Some(first), Some(last)) = (run.first().map(T::uid), run.last().map(T::uid)) else {
        return Ok(());
    };
    if spellings.is_empty() {
        return Ok(());
    }
    let mut at = 0;
    for (uid, word) in keywords_in(conn, mailbox, (first, last))? {
        while run.get(at).is_some_and(|listed| listed.uid() < uid) {
            at += 1;
        }
        match run.get_mut(at) {
            Some(listed) if listed.uid() == uid => listed.keywords().push(word),
            _ => {}
        }
    }
    for listed in run {
        let words = listed.keywords();
        if !words.is_empty() {
            *words = spell(std::mem::take(words), spellings);
        }
    }
    Ok(())
}

/// `snapshot` is in a transaction.
fn in_ranges<T: Listed>(
    snapshot: &Connection,
    mailbox: MailboxId,
    (ranges, limit): (&[UidRange], usize),
    columns: &str,
    read: impl Fn(&rusqlite::Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    status(snapshot, mailbox)?;
    let spellings = spellings(snapshot, mailbox)?;
    let mut statement = snapshot.prepare_cached(&format!(
        "SELECT {columns} FROM entry WHERE mailbox_id = ?1 AND uid BETWEEN ?2 AND ?3 ORDER BY uid LIMIT ?4"
    ))?;
    let mut all: Vec<T> = Vec::new();
    for (low, high) in ranges {
        let start = all.len();
        let mut rows = statement.query(params![mailbox.0, low, high, signed(limit - start)])?;
        while let Some(next) = rows.next()? {
            all.push(read(next)?);
        }
        add_keywords(snapshot, mailbox, &mut all[start..], &spellings)?;
        if all.len() >= limit {
            break;
        }
    }
    Ok(all)
}

/// See [`crate::mailbox::Mailboxes::entries_in`]; `snapshot` is in a transaction.
pub(super) fn entries_in(
    snapshot: &Connection,
    mailbox: MailboxId,
    ranges: &[UidRange],
    limit: usize,
) -> Result<Vec<Entry>> {
    in_ranges(snapshot, mailbox, (ranges, limit), COLUMNS, entry)
}

/// See [`crate::mailbox::Mailboxes::marks_in`].
pub(super) fn marks_in(
    conn: &Connection,
    mailbox: MailboxId,
    ranges: &[UidRange],
    limit: usize,
) -> Result<Vec<Mark>> {
    let snapshot = conn.unchecked_transaction()?;
    in_ranges(&snapshot, mailbox, (ranges, limit), "uid, modseq, flags", mark)
}

/// Puts a run of UIDs behind or into the last one.
fn extend(ranges: &mut Vec<UidRange>, (low, high): UidRange) {
    match ranges.last_mut() {
        Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
        _ => ranges.push((low, high)),
    }
}

/// See [`crate::mailbox::Mailboxes::uids`].
pub(super) fn uids(conn: &Connection, mailbox: MailboxId, modseq: u64, below: Uid) -> Result<Vec<UidRange>> {
    let snapshot = conn.unchecked_transaction()?;
    let Some(last) = below.checked_sub(1) else { return Ok(Vec::new()) };
    let mut gone = Vec::new();
    if status(&snapshot, mailbox)?.modseq > modseq {
        gone = vanished(&snapshot, mailbox, modseq)?;
        gone.retain(|(low, _)| *low <= last);
    }
    let mut gone = gone.into_iter().map(|(low, high)| (low, high.min(last))).peekable();
    let mut statement =
        snapshot.prepare_cached("SELECT uid FROM entry WHERE mailbox_id = ?1 AND uid <= ?2 ORDER BY uid")?;
    let mut rows = statement.query(params![mailbox.0, last])?;
    let mut ranges = Vec::new();
    while let Some(row) = rows.next()? {
        let uid: Uid = row.get(0)?;
        while let Some(range) = gone.next_if(|(low, _)| *low < uid) {
            extend(&mut ranges, range);
        }
        extend(&mut ranges, (uid, uid));
    }
    gone.for_each(|range| extend(&mut ranges, range));
    Ok(ranges)
}

/// Ranges of UIDs gone since a MODSEQ, ascending.
fn vanished(conn: &Connection, mailbox: MailboxId, since: u64) -> Result<Vec<UidRange>> {
    let mut ranges: Vec<UidRange> = conn
        .prepare_cached("SELECT uid_lo, uid_hi FROM vanished WHERE mailbox_id = ?1 AND modseq > ?2")?
        .query_map(params![mailbox.0, signed(since)], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    ranges.sort_unstable();
    Ok(ranges)
}

/// See [`crate::mailbox::Mailboxes::changes`].
pub(super) fn changes(conn: &Connection, mailbox: MailboxId, since: u64) -> Result<Changes> {
    let snapshot = conn.unchecked_transaction()?;
    let modseq = status(&snapshot, mailbox)?.modseq;
    if modseq == since {
        return Ok(Changes { modseq, ..Changes::default() });
    }
    let mut entries = changed(&snapshot, mailbox, since, COLUMNS, entry)?;
    add_keywords(&snapshot, mailbox, &mut entries, &spellings(&snapshot, mailbox)?)?;
    let vanished =
        vanished(&snapshot, mailbox, since)?.into_iter().flat_map(|(low, high)| low..=high).collect();
    Ok(Changes { entries, vanished, modseq })
}

/// See [`crate::mailbox::Mailboxes::touched`].
pub(super) fn touched(conn: &Connection, mailbox: MailboxId, since: u64) -> Result<Touched> {
    let snapshot = conn.unchecked_transaction()?;
    if status(&snapshot, mailbox)?.modseq == since {
        return Ok(Touched::default());
    }
    let mut touched = Touched::default();
    for uid in changed(&snapshot, mailbox, since, "uid", |row| Ok(row.get(0)?))? {
        extend(&mut touched.changed, (uid, uid));
    }
    for range in vanished(&snapshot, mailbox, since)? {
        extend(&mut touched.vanished, range);
    }
    Ok(touched)
}

/// All entries, by UID.
pub(super) fn all(conn: &Connection, mailbox: MailboxId) -> Result<Vec<Entry>> {
    let snapshot = conn.unchecked_transaction()?;
    entries_in(&snapshot, mailbox, &[(0, Uid::MAX)], usize::MAX)
}

/// The first UID that came after a MODSEQ: MODSEQs of arrival ascend with the UIDs.
fn first_arrival(conn: &Connection, mailbox: MailboxId, since: u64) -> Result<Uid> {
    let mut statement = conn.prepare_cached(
        "SELECT uid, born FROM entry WHERE mailbox_id = ?1 AND uid >= ?2 ORDER BY uid LIMIT 1",
    )?;
    // What is below `low` came before; from `high` on there is nothing or what came after.
    let (mut low, mut high) = (0, Uid::MAX);
    while low < high {
        let middle = low + (high - low) / 2;
        let found: Option<(Uid, i64)> = statement
            .query_row(params![mailbox.0, middle], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        match found {
            Some((uid, born)) if born <= signed(since) => low = uid.saturating_add(1),
            _ => high = middle,
        }
    }
    Ok(low)
}

/// Something of each entry whose MODSEQ is above `since`, by UID.
fn changed<T>(
    conn: &Connection,
    mailbox: MailboxId,
    since: u64,
    columns: &str,
    read: impl Fn(&rusqlite::Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let arrivals = first_arrival(conn, mailbox, since)?;
    let mut all = Vec::new();
    // `+` keeps SQLite from a walk along the primary key.
    for condition in ["modseq > ?2 AND modseq > born AND +uid < ?3", "modseq > ?2 AND uid >= ?3"] {
        let mut statement = conn.prepare_cached(&format!(
            "SELECT {columns} FROM entry WHERE mailbox_id = ?1 AND {condition} ORDER BY +uid"
        ))?;
        let mut rows = statement.query(params![mailbox.0, signed(since), arrivals])?;
        while let Some(next) = rows.next()? {
            all.push(read(next)?);
        }
    }
    Ok(all)
}

/// See [`crate::mailbox::Mailboxes::keywords`].
pub(super) fn keywords(conn: &Connection, mailbox: MailboxId) -> Result<Vec<String>> {
    let mut all: Vec<String> = spellings(conn, mailbox)?.into_values().collect();
    all.sort_unstable();
    Ok(all)
}

#[cfg(test)]
mod tests {
    /// Neither a list of changes nor one of UIDs walks through the mailbox.
    #[test]
    fn changes_are_found_by_index() {
        let conn = rusqlite::Connection::open_in_memory().expect("opens");
        for step in super::super::migrate::MIGRATIONS {
            conn.execute_batch(step).expect("runs");
        }
        for (condition, way) in [
            (
                "modseq > ?2 AND modseq > born AND +uid < ?3",
                "USING INDEX entry_changed (mailbox_id=? AND modseq>?)",
            ),
            ("modseq > ?2 AND uid >= ?3", "USING PRIMARY KEY (mailbox_id=? AND uid>?)"),
        ] {
            let plan: String = conn
                .query_row(
                    &format!("EXPLAIN QUERY PLAN SELECT uid FROM entry WHERE mailbox_id = ?1 AND {condition} ORDER BY +uid"),
                    [1, 1, 1],
                    |row| row.get(3),
                )
                .expect("a plan");
            assert!(plan.contains(way), "{plan}");
        }
    }
}
