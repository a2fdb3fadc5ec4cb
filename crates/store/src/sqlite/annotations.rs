//! Annotations in rows of their own. Each change has a number, so that sessions can ask what others changed.

use super::{
    SqliteStore,
    convert::{number, signed},
    folders,
    writer::Tx,
};
use crate::{
    account::AccountId,
    annotation::{
        ACCOUNT_MAX, ANNOTATIONS_MAX, Annotated, Annotation, AnnotationChange, Annotations,
        ChangedAnnotation, SPECIAL_USE, VALUE_MAX,
    },
    error::{Result, StoreError},
    events::Event,
    mailbox::MailboxId,
};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};

/// Removed names that are remembered of one account: sessions ask between two commands.
const REMOVED_MAX: usize = 1000;

/// mailbox_id of what belongs to the account: ids of mailboxes begin at 1.
const ACCOUNT: i64 = 0;

fn row_id(mailbox: Option<MailboxId>) -> i64 {
    mailbox.map_or(ACCOUNT, |mailbox| mailbox.0)
}

#[async_trait]
impl Annotations for SqliteStore {
    async fn annotations(&self, account: AccountId, mailbox: Option<MailboxId>) -> Result<Annotated> {
        self.read(move |conn| read(conn, account, mailbox)).await
    }

    async fn annotations_named(
        &self,
        account: AccountId,
        entries: &[String],
    ) -> Result<Vec<(MailboxId, Annotation)>> {
        let entries = entries.to_vec();
        self.read(move |conn| named(conn, account, &entries)).await
    }

    async fn annotate(
        &self,
        account: AccountId,
        mailbox: Option<MailboxId>,
        change: AnnotationChange,
    ) -> Result<u64> {
        let octets = change.values.iter().map(|(_, value)| value.as_ref().map_or(0, Vec::len)).sum();
        self.write(octets, move |tx| set(tx, account, mailbox, &change)).await
    }

    async fn annotation_changes(
        &self,
        account: AccountId,
        since: Option<u64>,
    ) -> Result<(Vec<ChangedAnnotation>, u64)> {
        self.read(move |conn| changes(conn, account, since)).await
    }
}

fn read(conn: &Connection, account: AccountId, mailbox: Option<MailboxId>) -> Result<Annotated> {
    let snapshot = conn.unchecked_transaction()?;
    let special_use = match mailbox {
        Some(mailbox) => folders::special_use(&snapshot, account, mailbox)?,
        None => None,
    };
    let annotations = snapshot
        .prepare_cached(
            "SELECT entry, value FROM annotation
             WHERE account_id = ?1 AND mailbox_id = ?2 AND value IS NOT NULL ORDER BY entry",
        )?
        .query_map([account.0, row_id(mailbox)], |row| {
            Ok(Annotation { entry: row.get(0)?, value: row.get(1)? })
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Annotated { annotations, special_use })
}

fn named(conn: &Connection, account: AccountId, entries: &[String]) -> Result<Vec<(MailboxId, Annotation)>> {
    let mut statement = conn.prepare_cached(
        "SELECT mailbox_id, entry, value FROM annotation
         WHERE account_id = ?1 AND mailbox_id > ?2 AND value IS NOT NULL ORDER BY mailbox_id, entry",
    )?;
    let mut rows = statement.query([account.0, ACCOUNT])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let entry: String = row.get(1)?;
        if entries.contains(&entry) {
            all.push((MailboxId(row.get(0)?), Annotation { entry, value: row.get(2)? }));
        }
    }
    Ok(all)
}

fn set(
    tx: &mut Tx<'_>,
    account: AccountId,
    mailbox: Option<MailboxId>,
    change: &AnnotationChange,
) -> Result<u64> {
    let place = row_id(mailbox);
    let changed: i64 = tx
        .conn
        .prepare_cached("UPDATE counter SET value = value + 1 WHERE name = 'annotation' RETURNING value")?
        .query_row([], |row| row.get(0))?;
    if let Some(mailbox) = mailbox {
        let before = folders::special_use(tx.conn, account, mailbox)?;
        if let Some(special_use) = change.special_use
            && special_use != before
        {
            folders::set_special_use(tx, account, mailbox, special_use)?;
            put(tx, (account.0, place, changed), SPECIAL_USE, None)?;
        }
    }
    let (mut more, mut octets) = (false, 0);
    for (entry, value) in &change.values {
        if value.as_ref().is_some_and(|value| value.len() > VALUE_MAX) {
            return Err(StoreError::Refused("the value of an annotation has at most 32768 octets"));
        }
        let before = tx
            .conn
            .prepare_cached(
                "SELECT length(value) FROM annotation WHERE account_id = ?1 AND mailbox_id = ?2 AND entry = ?3",
            )?
            .query_row(params![account.0, place, entry], |row| row.get::<_, Option<i64>>(0))
            .optional()?
            .flatten();
        if before.is_none() && value.is_none() {
            continue;
        }
        more |= before.is_none();
        let of = |value: Option<i64>| value.map_or(0, |octets| octets + signed(entry.len()));
        octets += of(value.as_ref().map(|value| signed(value.len()))) - of(before);
        put(tx, (account.0, place, changed), entry, value.as_deref())?;
    }
    let total = count(tx, account, octets)?;
    if octets > 0 && total > signed(ACCOUNT_MAX) {
        return Err(StoreError::Limit("annotations in this account"));
    }
    if more && live(tx.conn, account, place)? > signed(ANNOTATIONS_MAX) {
        let what =
            if mailbox.is_some() { "annotations of this mailbox" } else { "annotations of the server" };
        return Err(StoreError::Limit(what));
    }
    forget_removed(tx, account)?;
    tx.happened(account, Event::Annotations);
    number(changed, "annotation")
}

/// Writes a row: account, mailbox, number of the change.
fn put(
    tx: &Tx<'_>,
    (account, place, changed): (i64, i64, i64),
    entry: &str,
    value: Option<&[u8]>,
) -> Result<()> {
    tx.conn
        .prepare_cached(
            "INSERT INTO annotation (account_id, mailbox_id, entry, value, changed) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET value = excluded.value, changed = excluded.changed",
        )?
        .execute(params![account, place, entry, value, changed])?;
    Ok(())
}

/// Adds to the octets of an account; how many they are now.
fn count(tx: &Tx<'_>, account: AccountId, octets: i64) -> Result<i64> {
    tx.conn
        .prepare_cached(
            "UPDATE account SET annotation_octets = annotation_octets + ?2 WHERE id = ?1 RETURNING annotation_octets",
        )?
        .query_row([account.0, octets], |row| row.get(0))
        .optional()?
        .ok_or(StoreError::Gone("account"))
}

fn live(conn: &Connection, account: AccountId, place: i64) -> Result<i64> {
    Ok(conn
        .prepare_cached("SELECT count(value) FROM annotation WHERE account_id = ?1 AND mailbox_id = ?2")?
        .query_row([account.0, place], |row| row.get(0))?)
}

fn forget_removed(tx: &Tx<'_>, account: AccountId) -> Result<()> {
    tx.conn
        .prepare_cached(
            "DELETE FROM annotation WHERE rowid IN
             (SELECT rowid FROM annotation WHERE account_id = ?1 AND value IS NULL
              ORDER BY changed DESC LIMIT -1 OFFSET ?2)",
        )?
        .execute([account.0, signed(REMOVED_MAX)])?;
    Ok(())
}

/// A mailbox goes, and with it what was said of it.
pub(super) fn remove(tx: &Tx<'_>, account: AccountId, mailbox: MailboxId) -> Result<()> {
    let octets: i64 = tx
        .conn
        .prepare_cached(
            "SELECT coalesce(sum(length(entry) + length(value)), 0) FROM annotation
             WHERE account_id = ?1 AND mailbox_id = ?2",
        )?
        .query_row([account.0, mailbox.0], |row| row.get(0))?;
    count(tx, account, -octets)?;
    tx.conn
        .prepare_cached("DELETE FROM annotation WHERE account_id = ?1 AND mailbox_id = ?2")?
        .execute([account.0, mailbox.0])?;
    Ok(())
}

fn changes(
    conn: &Connection,
    account: AccountId,
    since: Option<u64>,
) -> Result<(Vec<ChangedAnnotation>, u64)> {
    let snapshot = conn.unchecked_transaction()?;
    let last = snapshot
        .prepare_cached("SELECT value FROM counter WHERE name = 'annotation'")?
        .query_row([], |row| row.get(0))?;
    let last = number(last, "counter")?;
    let Some(since) = since else { return Ok((Vec::new(), last)) };
    let mut statement = snapshot.prepare_cached(
        "SELECT a.mailbox_id, m.name, a.entry, a.changed FROM annotation a LEFT JOIN mailbox m ON m.id = a.mailbox_id
         WHERE a.account_id = ?1 AND a.changed > ?2 ORDER BY a.mailbox_id, a.entry",
    )?;
    let mut rows = statement.query(params![account.0, signed(since)])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let name: Option<String> = row.get(1)?;
        let id = MailboxId(row.get(0)?);
        all.push(ChangedAnnotation {
            mailbox: name.map(|name| (id, name)),
            entry: row.get(2)?,
            number: number(row.get(3)?, "annotation")?,
        });
    }
    Ok((all, last))
}
