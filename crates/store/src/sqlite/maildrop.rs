//! A mailbox as POP3 sees it.

use super::{convert::number, writer::Tx};
use crate::{
    error::{Result, StoreError},
    mailbox::{ContentId, DropMessage, MailboxId, Maildrop},
};
use rusqlite::{Connection, OptionalExtension};

/// Octets of the CRLF that is sent behind a message that does not end in one.
const CRLF: u64 = 2;

/// Remembers that a content's last line has no end.
pub(super) fn note_unended(tx: &Tx<'_>, content: i64) -> Result<()> {
    tx.conn.prepare_cached("INSERT INTO unended (content_id) VALUES (?1)")?.execute([content])?;
    Ok(())
}

/// All messages and UIDVALIDITY at one moment.
pub(super) fn read(conn: &Connection, mailbox: MailboxId) -> Result<Maildrop> {
    let snapshot = conn.unchecked_transaction()?;
    let uid_validity: i64 = snapshot
        .prepare_cached("SELECT uid_validity FROM mailbox WHERE id = ?1 AND account_id IS NOT NULL")?
        .query_row([mailbox.0], |row| row.get(0))
        .optional()?
        .ok_or(StoreError::Gone("mailbox"))?;
    let mut statement = snapshot.prepare_cached(
        "SELECT uid, size, content_id, EXISTS (SELECT 1 FROM unended WHERE unended.content_id = entry.content_id)
         FROM entry WHERE mailbox_id = ?1 ORDER BY uid",
    )?;
    let mut rows = statement.query([mailbox.0])?;
    let mut messages = Vec::new();
    while let Some(row) = rows.next()? {
        let size: u64 = number(row.get(1)?, "entry")?;
        let unended: bool = row.get(3)?;
        messages.push(DropMessage {
            uid: number(row.get(0)?, "entry")?,
            line_octets: if unended { size.saturating_add(CRLF) } else { size },
            content: ContentId(row.get(2)?),
        });
    }
    Ok(Maildrop { uid_validity: number(uid_validity, "mailbox")?, messages })
}
