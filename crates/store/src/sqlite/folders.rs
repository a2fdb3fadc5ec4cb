//! The tree of mailboxes: names, special use, subscriptions.

use super::{
    annotations,
    convert::{damaged, signed},
    entries,
    writer::Tx,
};
use crate::{
    account::AccountId,
    error::{Result, StoreError},
    events::{Event, NameEvent},
    mailbox::{MailboxId, MailboxInfo, SpecialUse},
};
use rusqlite::{Connection, OptionalExtension, params};

/// Octets of a mailbox name: what fits a command line of RFC 9051 with room for the rest.
const NAME_MAX: usize = 1000;
/// Levels of a name; clients show trees.
const DEPTH_MAX: usize = 32;
/// Mailboxes of one account: LIST answers hold them all.
const MAILBOXES_MAX: i64 = 10_000;
/// Subscribed names of one account, for the same reason.
const SUBSCRIPTIONS_MAX: i64 = 10_000;

const STANDARD: [(&str, Option<SpecialUse>); 6] = [
    ("INBOX", None),
    ("Drafts", Some(SpecialUse::Drafts)),
    ("Sent", Some(SpecialUse::Sent)),
    ("Archive", Some(SpecialUse::Archive)),
    ("Junk", Some(SpecialUse::Junk)),
    ("Trash", Some(SpecialUse::Trash)),
];

fn use_number(special_use: SpecialUse) -> i64 {
    match special_use {
        SpecialUse::Drafts => 1,
        SpecialUse::Sent => 2,
        SpecialUse::Archive => 3,
        SpecialUse::Junk => 4,
        SpecialUse::Trash => 5,
    }
}

fn to_use(number: i64) -> Result<SpecialUse> {
    Ok(match number {
        1 => SpecialUse::Drafts,
        2 => SpecialUse::Sent,
        3 => SpecialUse::Archive,
        4 => SpecialUse::Junk,
        5 => SpecialUse::Trash,
        _ => return Err(damaged("mailbox")),
    })
}

/// The name as it is stored: INBOX in capitals where it is the first level (RFC 9051 §5.1).
fn checked(name: &str) -> Result<String> {
    if name.is_empty() || name.len() > NAME_MAX {
        return Err(StoreError::Refused("a mailbox name has 1 to 1000 octets"));
    }
    if name.chars().any(char::is_control) {
        return Err(StoreError::Refused("a mailbox name has no control characters"));
    }
    let levels: Vec<&str> = name.split('/').collect();
    if levels.len() > DEPTH_MAX || levels.iter().any(|level| level.is_empty()) {
        return Err(StoreError::Refused("a mailbox name has 1 to 32 levels, none of them empty"));
    }
    Ok(canonical(name))
}

/// The same for names that are looked up or subscribed to: any that cannot exist is simply not found.
pub(super) fn canonical(name: &str) -> String {
    let first = name.split('/').next().unwrap_or_default();
    if first.eq_ignore_ascii_case("INBOX") {
        format!("INBOX{}", &name[first.len()..])
    } else {
        name.to_owned()
    }
}

pub(super) fn find(conn: &Connection, account: AccountId, name: &str) -> Result<Option<MailboxId>> {
    Ok(conn
        .prepare_cached("SELECT id FROM mailbox WHERE account_id = ?1 AND name = ?2")?
        .query_row(params![account.0, name], |row| row.get(0))
        .optional()?
        .map(MailboxId))
}

/// UIDVALIDITY: greater than any given out before, in this store and (by the clock) in one it was restored over.
fn next_uid_validity(tx: &Tx<'_>) -> Result<i64> {
    let clock = tx.now.0.clamp(0, i64::from(u32::MAX) / 2);
    Ok(tx
        .conn
        .prepare_cached(
            "UPDATE counter SET value = max(value + 1, ?1) WHERE name = 'uid_validity' RETURNING value",
        )?
        .query_row([clock], |row| row.get(0))?)
}

fn insert(
    tx: &mut Tx<'_>,
    account: AccountId,
    name: &str,
    special_use: Option<SpecialUse>,
    event: NameEvent,
) -> Result<MailboxId> {
    let uid_validity = next_uid_validity(tx)?;
    let id = tx
        .conn
        .prepare_cached(
            "INSERT INTO mailbox (account_id, name, special_use, uid_validity) VALUES (?1, ?2, ?3, ?4)
             RETURNING id",
        )?
        .query_row(params![account.0, name, special_use.map(use_number), uid_validity], |row| row.get(0))?;
    tx.happened(account, Event::Name(event));
    Ok(MailboxId(id))
}

fn created(name: &str) -> NameEvent {
    NameEvent::Created(name.to_owned())
}

pub(super) fn create_standard(tx: &mut Tx<'_>, account: AccountId) -> Result<()> {
    for (name, special_use) in STANDARD {
        insert(tx, account, name, special_use, created(name))?;
        set_subscription(tx, account, name, true)?;
    }
    Ok(())
}

fn check_room(tx: &Tx<'_>, account: AccountId, more: usize) -> Result<()> {
    let count: i64 = tx
        .conn
        .prepare_cached("SELECT count(*) FROM mailbox WHERE account_id = ?1")?
        .query_row([account.0], |row| row.get(0))?;
    if count == 0 {
        // Every account has an INBOX.
        return Err(StoreError::Gone("account"));
    }
    if count + signed(more) > MAILBOXES_MAX {
        Err(StoreError::Limit("mailboxes in this account"))
    } else {
        Ok(())
    }
}

/// The levels above `name` that are missing, outermost first.
fn create_above(tx: &mut Tx<'_>, account: AccountId, name: &str) -> Result<()> {
    for (at, _) in name.match_indices('/') {
        if find(tx.conn, account, &name[..at])?.is_none() {
            insert(tx, account, &name[..at], None, created(&name[..at]))?;
        }
    }
    Ok(())
}

pub(super) fn create(
    tx: &mut Tx<'_>,
    account: AccountId,
    name: &str,
    special_use: Option<SpecialUse>,
) -> Result<MailboxId> {
    let name = checked(name)?;
    check_room(tx, account, name.split('/').count())?;
    if find(tx.conn, account, &name)?.is_some() {
        return Err(StoreError::Exists("mailbox"));
    }
    check_use(tx, account, special_use)?;
    create_above(tx, account, &name)?;
    insert(tx, account, &name, special_use, created(&name))
}

/// A use belongs to one mailbox.
fn check_use(tx: &Tx<'_>, account: AccountId, special_use: Option<SpecialUse>) -> Result<()> {
    let Some(wanted) = special_use else { return Ok(()) };
    let taken = tx
        .conn
        .prepare_cached("SELECT 1 FROM mailbox WHERE account_id = ?1 AND special_use = ?2")?
        .exists(params![account.0, use_number(wanted)])?;
    if taken { Err(StoreError::Exists("mailbox with this special use")) } else { Ok(()) }
}

/// What a mailbox of an account is for.
pub(super) fn special_use(
    conn: &Connection,
    account: AccountId,
    mailbox: MailboxId,
) -> Result<Option<SpecialUse>> {
    conn.prepare_cached("SELECT special_use FROM mailbox WHERE id = ?1 AND account_id = ?2")?
        .query_row([mailbox.0, account.0], |row| row.get::<_, Option<i64>>(0))
        .optional()?
        .ok_or(StoreError::Gone("mailbox"))?
        .map(to_use)
        .transpose()
}

/// Changes it. INBOX is for what comes in, and for nothing else.
pub(super) fn set_special_use(
    tx: &Tx<'_>,
    account: AccountId,
    mailbox: MailboxId,
    special_use: Option<SpecialUse>,
) -> Result<()> {
    if special_use.is_some() && find(tx.conn, account, "INBOX")? == Some(mailbox) {
        return Err(StoreError::Refused("INBOX has no special use"));
    }
    check_use(tx, account, special_use)?;
    tx.conn
        .prepare_cached("UPDATE mailbox SET special_use = ?2 WHERE id = ?1")?
        .execute(params![mailbox.0, special_use.map(use_number)])?;
    Ok(())
}

pub(super) fn delete(tx: &mut Tx<'_>, account: AccountId, name: &str) -> Result<()> {
    let name = canonical(name);
    if name == "INBOX" {
        return Err(StoreError::Refused("INBOX cannot be deleted"));
    }
    let id = find(tx.conn, account, &name)?.ok_or(StoreError::Gone("mailbox"))?;
    annotations::remove(tx, account, id)?;
    tx.conn.prepare_cached("UPDATE mailbox SET account_id = NULL WHERE id = ?1")?.execute([id.0])?;
    tx.happened(account, Event::Name(NameEvent::Deleted(name)));
    tx.renamed();
    Ok(())
}

pub(super) fn rename(tx: &mut Tx<'_>, account: AccountId, from: &str, to: &str) -> Result<()> {
    let (from, to) = (canonical(from), checked(to)?);
    let id = find(tx.conn, account, &from)?.ok_or(StoreError::Gone("mailbox"))?;
    if find(tx.conn, account, &to)?.is_some() {
        return Err(StoreError::Exists("mailbox"));
    }
    check_room(tx, account, to.split('/').count())?;
    let event = NameEvent::Renamed { from: from.clone(), to: to.clone() };
    if from == "INBOX" {
        // RFC 9051 §6.3.6: its messages move to the new mailbox, it stays, and so do its children.
        create_above(tx, account, &to)?;
        let target = insert(tx, account, &to, None, event)?;
        entries::relocate_all(tx, id, target)?;
        return Ok(());
    }
    if to.strip_prefix(from.as_str()).is_some_and(|rest| rest.starts_with('/')) {
        return Err(StoreError::Refused("a mailbox cannot be moved into itself"));
    }
    let below = format!("{from}/");
    // '0' is the octet after '/': the range is exactly the names that begin with `below`.
    let behind = format!("{from}0");
    let children: Vec<(i64, String)> = tx
        .conn
        .prepare_cached("SELECT id, name FROM mailbox WHERE account_id = ?1 AND name > ?2 AND name < ?3")?
        .query_map(params![account.0, below, behind], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut renamed = vec![(id.0, to.clone())];
    for (child, name) in children {
        let name = checked(&format!("{to}{}", &name[from.len()..]))?;
        if find(tx.conn, account, &name)?.is_some() {
            return Err(StoreError::Exists("mailbox"));
        }
        renamed.push((child, name));
    }
    create_above(tx, account, &to)?;
    for (id, name) in renamed {
        tx.conn.prepare_cached("UPDATE mailbox SET name = ?2 WHERE id = ?1")?.execute(params![id, name])?;
    }
    tx.happened(account, Event::Name(event));
    tx.renamed();
    Ok(())
}

pub(super) fn set_subscription(tx: &mut Tx<'_>, account: AccountId, name: &str, on: bool) -> Result<()> {
    if !on {
        let name = canonical(name);
        let gone = tx
            .conn
            .prepare_cached("DELETE FROM subscription WHERE account_id = ?1 AND name = ?2")?
            .execute(params![account.0, name])?;
        if gone > 0 {
            tx.happened(account, Event::Name(NameEvent::Unsubscribed(name)));
        }
        return Ok(());
    }
    let name = checked(name)?;
    let count: i64 = tx
        .conn
        .prepare_cached("SELECT count(*) FROM subscription WHERE account_id = ?1")?
        .query_row([account.0], |row| row.get(0))?;
    if count >= SUBSCRIPTIONS_MAX {
        return Err(StoreError::Limit("subscriptions in this account"));
    }
    let new = tx
        .conn
        .prepare_cached("INSERT INTO subscription (account_id, name) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
        .execute(params![account.0, name])?;
    if new > 0 {
        tx.happened(account, Event::Name(NameEvent::Subscribed(name)));
    }
    Ok(())
}

pub(super) fn subscriptions(conn: &Connection, account: AccountId) -> Result<Vec<String>> {
    Ok(conn
        .prepare_cached("SELECT name FROM subscription WHERE account_id = ?1 ORDER BY name")?
        .query_map([account.0], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?)
}

/// A mailbox as LIST sees it; conditions follow.
const INFO: &str = "SELECT m.id, m.name, s.name IS NOT NULL, m.special_use FROM mailbox m
     LEFT JOIN subscription s ON s.account_id = m.account_id AND s.name = m.name";

fn info(row: &rusqlite::Row<'_>) -> Result<MailboxInfo> {
    Ok(MailboxInfo {
        id: MailboxId(row.get(0)?),
        name: row.get(1)?,
        subscribed: row.get(2)?,
        special_use: row.get::<_, Option<i64>>(3)?.map(to_use).transpose()?,
    })
}

pub(super) fn list(conn: &Connection, account: AccountId) -> Result<Vec<MailboxInfo>> {
    let mut statement = conn.prepare_cached(&format!("{INFO} WHERE m.account_id = ?1 ORDER BY m.name"))?;
    let mut rows = statement.query([account.0])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(info(row)?);
    }
    if all.is_empty() { Err(StoreError::Gone("account")) } else { Ok(all) }
}

/// Mailboxes by their ids.
pub(super) fn named(conn: &Connection, mailboxes: &[MailboxId]) -> Result<Vec<Option<MailboxInfo>>> {
    let snapshot = conn.unchecked_transaction()?;
    let mut statement =
        snapshot.prepare_cached(&format!("{INFO} WHERE m.id = ?1 AND m.account_id IS NOT NULL"))?;
    let mut all = Vec::with_capacity(mailboxes.len());
    for mailbox in mailboxes {
        all.push(statement.query([mailbox.0])?.next()?.map(info).transpose()?);
    }
    Ok(all)
}
