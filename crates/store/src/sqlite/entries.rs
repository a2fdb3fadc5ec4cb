//! Messages in mailboxes: what changes them. Every function runs inside the writer's transaction.

use super::{
    contents::{Inserted, Slot},
    convert::{number, signed},
    mailboxes::status,
    writer::Tx,
};
use crate::{
    account::AccountId,
    error::{Result, StoreError},
    events::{Event, MessageEvents},
    mailbox::{Changed, Copied, Entry, FlagChange, Flags, MailboxId, Uid},
};
use rusqlite::{Connection, OptionalExtension, params};
use sealpost_proto::time::Timestamp;
use std::collections::BTreeMap;

/// How long content outlives its last entry, for sessions that have not yet heard of the expunge.
const GRACE_SECONDS: i64 = 3600;
/// Octets of a keyword; clients make them up, users rarely see them.
const KEYWORD_MAX: usize = 255;
/// Different keywords in one mailbox: FLAGS responses name them all.
const KEYWORDS_MAX: i64 = 1000;

/// A message to be put in a mailbox, its content prepared.
pub(super) struct Incoming {
    pub(super) slot: Slot,
    pub(super) flags: Flags,
    pub(super) keywords: Vec<String>,
    pub(super) internal_date: Timestamp,
}

/// What a change does to a mailbox's counters.
#[derive(Default)]
struct Delta {
    uids: i64,
    messages: i64,
    unseen: i64,
    deleted: i64,
    size: i64,
}

impl Delta {
    fn add(&mut self, flags: Flags, size: i64, sign: i64) {
        self.messages += sign;
        self.size += sign * size;
        self.flags(flags, sign);
    }
    fn flags(&mut self, flags: Flags, sign: i64) {
        self.unseen += sign * i64::from(!flags.contains(Flags::SEEN));
        self.deleted += sign * i64::from(flags.contains(Flags::DELETED));
    }
}

/// A mailbox after [`advance`].
struct Advanced {
    first_uid: i64,
    modseq: i64,
    uid_validity: u32,
}

/// The one statement that gives out UIDs and MODSEQs (in PostgreSQL its row lock orders all sessions).
fn advance(tx: &mut Tx<'_>, mailbox: MailboxId, delta: &Delta, events: MessageEvents) -> Result<Advanced> {
    let (first_uid, next, modseq, uid_validity, account) = tx
        .conn
        .prepare_cached(
            "UPDATE mailbox SET uid_next = uid_next + ?2, modseq = modseq + 1, messages = messages + ?3,
                 unseen = unseen + ?4, deleted = deleted + ?5, size = size + ?6
             WHERE id = ?1 AND account_id IS NOT NULL
             RETURNING uid_next - ?2, uid_next, modseq, uid_validity, account_id",
        )?
        .query_row(
            params![mailbox.0, delta.uids, delta.messages, delta.unseen, delta.deleted, delta.size],
            |row| Ok((row.get(0)?, row.get::<_, i64>(1)?, row.get(2)?, row.get::<_, i64>(3)?, row.get(4)?)),
        )
        .optional()?
        .ok_or(StoreError::Gone("mailbox"))?;
    // UIDNEXT itself must be a UID (RFC 9051 §2.3.1.1).
    if next > i64::from(Uid::MAX) {
        return Err(StoreError::Limit("messages in this mailbox, its UIDs are used up"));
    }
    let events = MessageEvents { unseen: delta.unseen != 0, ..events };
    tx.happened(AccountId(account), Event::Messages(mailbox, events));
    Ok(Advanced { first_uid, modseq, uid_validity: number(uid_validity, "mailbox")? })
}

fn uid_validity(conn: &Connection, mailbox: MailboxId) -> Result<u32> {
    let found: Option<i64> = conn
        .prepare_cached("SELECT uid_validity FROM mailbox WHERE id = ?1 AND account_id IS NOT NULL")?
        .query_row([mailbox.0], |row| row.get(0))
        .optional()?;
    number(found.ok_or(StoreError::Gone("mailbox"))?, "mailbox")
}

/// An entry as the tables have it.
pub(super) struct Row {
    pub(super) uid: i64,
    modseq: i64,
    flags: Flags,
    internal_date: i64,
    save_date: i64,
    size: i64,
    content: i64,
}

pub(super) const COLUMNS: &str = "uid, modseq, flags, internal_date, save_date, size, content_id";

pub(super) fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        uid: row.get(0)?,
        modseq: row.get(1)?,
        flags: Flags(row.get(2)?),
        internal_date: row.get(3)?,
        save_date: row.get(4)?,
        size: row.get(5)?,
        content: row.get(6)?,
    })
}

fn find(conn: &Connection, mailbox: MailboxId, uid: Uid) -> Result<Option<Row>> {
    Ok(conn
        .prepare_cached(&format!("SELECT {COLUMNS} FROM entry WHERE mailbox_id = ?1 AND uid = ?2"))?
        .query_row(params![mailbox.0, uid], row)
        .optional()?)
}

/// Those of `uids` that exist, ascending, each once.
fn find_all(conn: &Connection, mailbox: MailboxId, uids: &[Uid]) -> Result<Vec<Row>> {
    let mut uids = uids.to_vec();
    uids.sort_unstable();
    uids.dedup();
    uids.into_iter().filter_map(|uid| find(conn, mailbox, uid).transpose()).collect()
}

/// The octets of some messages together; of those marked \Deleted where none are named.
pub(super) fn octets_of(conn: &Connection, mailbox: MailboxId, uids: Option<&[Uid]>) -> Result<u64> {
    let octets: i64 = match uids {
        Some(uids) => find_all(conn, mailbox, uids)?.iter().map(|row| row.size).sum(),
        None => conn
            .prepare_cached(
                "SELECT coalesce(sum(size), 0) FROM entry WHERE mailbox_id = ?1 AND flags & ?2 <> 0",
            )?
            .query_row(params![mailbox.0, Flags::DELETED.0], |row| row.get(0))?,
    };
    number(octets, "entry")
}

fn insert(tx: &Tx<'_>, mailbox: MailboxId, row: &Row) -> Result<()> {
    tx.conn
        .prepare_cached(
            "INSERT INTO entry (mailbox_id, uid, modseq, flags, internal_date, save_date, size, content_id, born)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?3)",
        )?
        .execute(params![
            mailbox.0,
            row.uid,
            row.modseq,
            row.flags.0,
            row.internal_date,
            row.save_date,
            row.size,
            row.content
        ])?;
    Ok(())
}

/// Makes keywords known to the mailbox; returns their folded forms, sorted.
fn fold_keywords(tx: &Tx<'_>, mailbox: MailboxId, keywords: &[String]) -> Result<Vec<String>> {
    let mut folded = Vec::with_capacity(keywords.len());
    for keyword in keywords {
        if keyword.is_empty() || keyword.len() > KEYWORD_MAX || keyword.contains(|c: char| c <= ' ') {
            return Err(StoreError::Refused("a keyword has 1 to 255 octets without spaces"));
        }
        let fold = keyword.to_ascii_lowercase();
        let known = tx
            .conn
            .prepare_cached("SELECT 1 FROM keyword WHERE mailbox_id = ?1 AND folded = ?2")?
            .exists(params![mailbox.0, fold])?;
        if !known {
            let count: i64 = tx
                .conn
                .prepare_cached("SELECT count(*) FROM keyword WHERE mailbox_id = ?1")?
                .query_row([mailbox.0], |row| row.get(0))?;
            if count >= KEYWORDS_MAX {
                return Err(StoreError::Limit("different keywords in this mailbox"));
            }
            tx.conn
                .prepare_cached("INSERT INTO keyword (mailbox_id, folded, spelling) VALUES (?1, ?2, ?3)")?
                .execute(params![mailbox.0, fold, keyword])?;
        }
        folded.push(fold);
    }
    folded.sort_unstable();
    folded.dedup();
    Ok(folded)
}

fn add_keywords(tx: &Tx<'_>, mailbox: MailboxId, uid: i64, folded: &[String]) -> Result<()> {
    for fold in folded {
        tx.conn
            .prepare_cached("INSERT INTO entry_keyword (mailbox_id, uid, folded) VALUES (?1, ?2, ?3)")?
            .execute(params![mailbox.0, uid, fold])?;
    }
    Ok(())
}

fn folded_keywords_of(conn: &Connection, mailbox: MailboxId, uid: i64) -> Result<Vec<String>> {
    Ok(conn
        .prepare_cached(
            "SELECT folded FROM entry_keyword WHERE mailbox_id = ?1 AND uid = ?2 ORDER BY folded",
        )?
        .query_map([mailbox.0, uid], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?)
}

/// A mailbox's keywords: folded to the spelling seen first. Few, and none in most mailboxes.
pub(super) fn spellings(conn: &Connection, mailbox: MailboxId) -> Result<BTreeMap<String, String>> {
    Ok(conn
        .prepare_cached("SELECT folded, spelling FROM keyword WHERE mailbox_id = ?1")?
        .query_map([mailbox.0], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?)
}

pub(super) fn spell(folded: Vec<String>, spellings: &BTreeMap<String, String>) -> Vec<String> {
    let mut all: Vec<String> =
        folded.into_iter().map(|fold| spellings.get(&fold).cloned().unwrap_or(fold)).collect();
    all.sort_unstable();
    all
}

pub(super) fn to_entry(row: &Row, keywords: Vec<String>) -> Result<Entry> {
    Ok(Entry {
        uid: number(row.uid, "entry")?,
        modseq: number(row.modseq, "entry")?,
        flags: row.flags,
        keywords,
        internal_date: Timestamp(row.internal_date),
        save_date: Timestamp(row.save_date),
        size: number(row.size, "entry")?,
        content: crate::mailbox::ContentId(row.content),
    })
}

/// Puts messages into a mailbox, in order.
pub(super) fn append(
    tx: &mut Tx<'_>,
    mailbox: MailboxId,
    messages: &[Incoming],
    contents: &Inserted,
) -> Result<Copied> {
    if messages.is_empty() {
        return Ok(Copied { uid_validity: uid_validity(tx.conn, mailbox)?, uids: Vec::new() });
    }
    let mut delta = Delta { uids: signed(messages.len()), ..Delta::default() };
    for message in messages {
        delta.add(message.flags, signed(contents.size(message.slot)), 1);
    }
    let at = advance(tx, mailbox, &delta, MessageEvents::NEW)?;
    let mut uids = Vec::with_capacity(messages.len());
    for (uid, message) in (at.first_uid..).zip(messages) {
        let row = Row {
            uid,
            modseq: at.modseq,
            flags: message.flags,
            internal_date: message.internal_date.0,
            save_date: tx.now.0,
            size: signed(contents.size(message.slot)),
            content: contents.id(message.slot),
        };
        insert(tx, mailbox, &row)?;
        let folded = fold_keywords(tx, mailbox, &message.keywords)?;
        add_keywords(tx, mailbox, uid, &folded)?;
        uids.push((0, number(uid, "entry")?));
    }
    Ok(Copied { uid_validity: at.uid_validity, uids })
}

/// COPY and MOVE.
pub(super) fn copy(
    tx: &mut Tx<'_>,
    from: MailboxId,
    uids: &[Uid],
    to: MailboxId,
    remove: bool,
) -> Result<Copied> {
    uid_validity(tx.conn, from)?;
    let rows = find_all(tx.conn, from, uids)?;
    transfer(tx, from, &rows, to, remove)
}

/// All messages of one mailbox into another (RENAME INBOX).
pub(super) fn relocate_all(tx: &mut Tx<'_>, from: MailboxId, to: MailboxId) -> Result<()> {
    let rows = tx
        .conn
        .prepare_cached(&format!("SELECT {COLUMNS} FROM entry WHERE mailbox_id = ?1 ORDER BY uid"))?
        .query_map([from.0], row)?
        .collect::<rusqlite::Result<Vec<Row>>>()?;
    transfer(tx, from, &rows, to, true).map(drop)
}

fn transfer(
    tx: &mut Tx<'_>,
    from: MailboxId,
    rows: &[Row],
    to: MailboxId,
    remove_source: bool,
) -> Result<Copied> {
    if rows.is_empty() {
        return Ok(Copied { uid_validity: uid_validity(tx.conn, to)?, uids: Vec::new() });
    }
    let mut delta = Delta { uids: signed(rows.len()), ..Delta::default() };
    for row in rows {
        delta.add(row.flags, row.size, 1);
    }
    let at = advance(tx, to, &delta, MessageEvents::NEW)?;
    let source_spellings = spellings(tx.conn, from)?;
    let mut pairs = Vec::with_capacity(rows.len());
    for (uid, source) in (at.first_uid..).zip(rows) {
        insert(tx, to, &Row { uid, modseq: at.modseq, save_date: tx.now.0, ..*source })?;
        if !source_spellings.is_empty() {
            let keywords = spell(folded_keywords_of(tx.conn, from, source.uid)?, &source_spellings);
            let folded = fold_keywords(tx, to, &keywords)?;
            add_keywords(tx, to, uid, &folded)?;
        }
        if !remove_source {
            tx.conn
                .prepare_cached("UPDATE content SET refs = refs + 1 WHERE id = ?1")?
                .execute([source.content])?;
        }
        pairs.push((number(source.uid, "entry")?, number(uid, "entry")?));
    }
    if remove_source {
        remove(tx, from, rows)?;
    }
    Ok(Copied { uid_validity: at.uid_validity, uids: pairs })
}

/// Takes entries (ascending) out of a mailbox; what becomes of their content is the caller's.
fn remove(tx: &mut Tx<'_>, mailbox: MailboxId, rows: &[Row]) -> Result<()> {
    let mut delta = Delta::default();
    for row in rows {
        delta.add(row.flags, row.size, -1);
    }
    let at = advance(tx, mailbox, &delta, MessageEvents::GONE)?;
    let mut ranges: Vec<(i64, i64)> = Vec::new();
    for row in rows {
        tx.conn
            .prepare_cached("DELETE FROM entry WHERE mailbox_id = ?1 AND uid = ?2")?
            .execute([mailbox.0, row.uid])?;
        tx.conn
            .prepare_cached("DELETE FROM entry_keyword WHERE mailbox_id = ?1 AND uid = ?2")?
            .execute([mailbox.0, row.uid])?;
        match ranges.last_mut() {
            Some((_, hi)) if *hi + 1 == row.uid => *hi = row.uid,
            _ => ranges.push((row.uid, row.uid)),
        }
    }
    for (lo, hi) in ranges {
        tx.conn
            .prepare_cached(
                "INSERT INTO vanished (mailbox_id, modseq, uid_lo, uid_hi) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute([mailbox.0, at.modseq, lo, hi])?;
    }
    Ok(())
}

/// One reference less; content without any goes when its grace is over.
pub(super) fn release(tx: &Tx<'_>, content: i64) -> Result<()> {
    let refs: Option<i64> = tx
        .conn
        .prepare_cached("UPDATE content SET refs = refs - 1 WHERE id = ?1 RETURNING refs")?
        .query_row([content], |row| row.get(0))
        .optional()?;
    if refs == Some(0) {
        tx.conn
            .prepare_cached("INSERT INTO gc (content_id, not_before) VALUES (?1, ?2)")?
            .execute([content, tx.now.0.saturating_add(GRACE_SECONDS)])?;
    }
    Ok(())
}

/// Removes those of `uids` that have \Deleted.
pub(super) fn expunge(tx: &mut Tx<'_>, mailbox: MailboxId, uids: &[Uid]) -> Result<Vec<Uid>> {
    uid_validity(tx.conn, mailbox)?;
    let mut rows = find_all(tx.conn, mailbox, uids)?;
    rows.retain(|row| row.flags.contains(Flags::DELETED));
    remove_rows(tx, mailbox, &rows)
}

/// Removes those of `uids` that exist.
pub(super) fn remove_all(tx: &mut Tx<'_>, mailbox: MailboxId, uids: &[Uid]) -> Result<Vec<Uid>> {
    uid_validity(tx.conn, mailbox)?;
    let rows = find_all(tx.conn, mailbox, uids)?;
    remove_rows(tx, mailbox, &rows)
}

/// Takes entries out of a mailbox, and what they stood for where nothing else refers to it.
fn remove_rows(tx: &mut Tx<'_>, mailbox: MailboxId, rows: &[Row]) -> Result<Vec<Uid>> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    remove(tx, mailbox, rows)?;
    rows.iter()
        .map(|row| {
            release(tx, row.content)?;
            number(row.uid, "entry")
        })
        .collect()
}

/// UIDs that have \Deleted, and HIGHESTMODSEQ when they were all that have it.
pub(super) fn marked_deleted(conn: &Connection, mailbox: MailboxId) -> Result<(u64, Vec<Uid>)> {
    let modseq = status(conn, mailbox)?.modseq;
    let marked = conn
        .prepare_cached("SELECT uid FROM entry WHERE mailbox_id = ?1 AND flags & ?2 <> 0 ORDER BY uid")?
        .query_map(params![mailbox.0, Flags::DELETED.0], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok((modseq, marked))
}

/// Removes what has \Deleted, the first `most` of it; the UIDs of those, and of the rest. `listed` is what
/// [`marked_deleted`] found.
pub(super) fn expunge_marked(
    tx: &mut Tx<'_>,
    mailbox: MailboxId,
    listed: (u64, Vec<Uid>),
    most: usize,
) -> Result<(Vec<Uid>, Vec<Uid>)> {
    // What changed between the two reads there is caught here as well: each change has a MODSEQ of its own.
    let mut marked = if status(tx.conn, mailbox)?.modseq == listed.0 {
        listed.1
    } else {
        marked_deleted(tx.conn, mailbox)?.1
    };
    let later = marked.split_off(most.min(marked.len()));
    Ok((expunge(tx, mailbox, &marked)?, later))
}

/// What STORE asks for.
pub(super) struct FlagStore {
    pub(super) how: FlagChange,
    pub(super) flags: Flags,
    pub(super) keywords: Vec<String>,
    pub(super) unchanged_since: Option<u64>,
}

/// STORE on some messages; see [`crate::mailbox::Mailboxes::store_flags`].
pub(super) fn store_flags(
    tx: &mut Tx<'_>,
    mailbox: MailboxId,
    uids: &[Uid],
    change: &FlagStore,
) -> Result<(Vec<Changed>, Vec<Uid>)> {
    uid_validity(tx.conn, mailbox)?;
    let wanted = if change.how == FlagChange::Remove {
        change.keywords.iter().map(|keyword| keyword.to_ascii_lowercase()).collect()
    } else {
        fold_keywords(tx, mailbox, &change.keywords)?
    };
    let spellings = spellings(tx.conn, mailbox)?;
    let (mut touched, mut left_alone) = (Vec::new(), Vec::new());
    let mut delta = Delta::default();
    let mut changed = Vec::new();
    for mut row in find_all(tx.conn, mailbox, uids)? {
        if change.unchanged_since.is_some_and(|since| signed(since) < row.modseq) {
            left_alone.push(number(row.uid, "entry")?);
            continue;
        }
        let flags = match change.how {
            FlagChange::Replace => change.flags,
            FlagChange::Add => row.flags.union(change.flags),
            FlagChange::Remove => row.flags.without(change.flags),
        };
        let before =
            if spellings.is_empty() { Vec::new() } else { folded_keywords_of(tx.conn, mailbox, row.uid)? };
        let mut after = before.clone();
        match change.how {
            FlagChange::Replace => after.clone_from(&wanted),
            FlagChange::Add => after.extend_from_slice(&wanted),
            FlagChange::Remove => after.retain(|keyword| !wanted.contains(keyword)),
        }
        after.sort_unstable();
        after.dedup();
        let other_keywords = before != after;
        if flags != row.flags || other_keywords {
            delta.flags(row.flags, -1);
            delta.flags(flags, 1);
            row.flags = flags;
            if other_keywords {
                tx.conn
                    .prepare_cached("DELETE FROM entry_keyword WHERE mailbox_id = ?1 AND uid = ?2")?
                    .execute([mailbox.0, row.uid])?;
                add_keywords(tx, mailbox, row.uid, &after)?;
            }
            changed.push(touched.len());
        }
        let before = row.modseq;
        touched.push((row, after, before));
    }
    // A STORE that changes nothing gives out no MODSEQ (RFC 7162 §3.1.3).
    if !changed.is_empty() {
        let at = advance(tx, mailbox, &delta, MessageEvents::FLAGS)?;
        for index in changed {
            let row = &mut touched[index].0;
            row.modseq = at.modseq;
            tx.conn
                .prepare_cached(
                    "UPDATE entry SET flags = ?3, modseq = ?4 WHERE mailbox_id = ?1 AND uid = ?2",
                )?
                .execute(params![mailbox.0, row.uid, row.flags.0, at.modseq])?;
        }
    }
    let entries = touched
        .into_iter()
        .map(|(row, folded, before)| {
            let entry = to_entry(&row, spell(folded, &spellings))?;
            Ok(Changed { entry, before: number(before, "entry")? })
        })
        .collect::<Result<_>>()?;
    Ok((entries, left_alone))
}
