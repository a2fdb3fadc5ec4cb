//! The trait [`Mailboxes`]: reads, and changes handed to the writer.

use super::{
    SqliteStore,
    contents::Contents,
    convert::number,
    entries::{self, FlagStore, Incoming},
    folders, listing, loads, maildrop, readers, scans,
    writer::Tx,
};
use crate::{
    account::AccountId,
    error::{Result, StoreError},
    events::Listener,
    mailbox::{
        Batch, Changed, Changes, ContentId, ContentReader, Copied, Entry, FlagChange, Flags, Load, MailboxId,
        MailboxInfo, MailboxStatus, Mailboxes, Maildrop, Mark, NewMessage, Scan, Scanned, SpecialUse,
        Touched, Uid, UidRange,
    },
    spool::Spool,
};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension};
use std::sync::Arc;
use tokio::sync::watch;

/// Messages in one transaction of STORE and EXPUNGE; between two of them others get their turn.
const CHUNK: usize = 500;
/// Longest name whose mailbox is remembered, in octets: longer ones are rare, and what is remembered has a bound.
const REMEMBERED_NAME_MAX: usize = 128;

pub(super) fn status(conn: &Connection, mailbox: MailboxId) -> Result<MailboxStatus> {
    let numbers: [i64; 7] = conn
        .prepare_cached(
            "SELECT uid_validity, uid_next, modseq, messages, unseen, deleted, size FROM mailbox
             WHERE id = ?1 AND account_id IS NOT NULL",
        )?
        .query_row([mailbox.0], |row| {
            Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?])
        })
        .optional()?
        .ok_or(StoreError::Gone("mailbox"))?;
    let [uid_validity, uid_next, modseq, messages, unseen, deleted, size] = numbers;
    Ok(MailboxStatus {
        uid_validity: number(uid_validity, "mailbox")?,
        uid_next: number(uid_next, "mailbox")?,
        modseq: number(modseq, "mailbox")?,
        messages: number(messages, "mailbox")?,
        unseen: number(unseen, "mailbox")?,
        deleted: number(deleted, "mailbox")?,
        size: number(size, "mailbox")?,
    })
}

impl SqliteStore {
    async fn transfer(&self, from: MailboxId, uids: &[Uid], to: MailboxId, remove: bool) -> Result<Copied> {
        let uids = uids.to_vec();
        self.write(0, move |tx| entries::copy(tx, from, &uids, to, remove)).await
    }

    /// Stores messages and does something else, in one transaction.
    async fn append_and(
        &self,
        mailbox: MailboxId,
        messages: Vec<NewMessage>,
        also: impl FnOnce(&mut Tx<'_>) -> Result<()> + Send + 'static,
    ) -> Result<Copied> {
        let objects = Arc::clone(&self.shared.objects);
        let small = messages.iter().all(|message| message.body.is_inline());
        let prepare = move || {
            let mut contents = Contents::new(objects);
            let incoming = messages
                .into_iter()
                .map(|message| incoming(&mut contents, message))
                .collect::<Result<Vec<_>>>()?;
            Ok((contents, incoming))
        };
        let (contents, incoming) = if small { prepare()? } else { self.blocking(prepare).await? };
        self.write(contents.inline_bytes(), move |tx| {
            let inserted = contents.insert(tx)?;
            let copied = entries::append(tx, mailbox, &incoming, &inserted)?;
            also(tx)?;
            contents.keep(tx);
            Ok(copied)
        })
        .await
    }
}

#[async_trait]
impl Mailboxes for SqliteStore {
    fn spool(&self) -> Spool {
        Spool::new(Arc::clone(&self.shared.tmp))
    }

    async fn mailboxes(&self, account: AccountId) -> Result<Vec<MailboxInfo>> {
        self.read(move |conn| folders::list(conn, account)).await
    }

    async fn create_mailbox(
        &self,
        account: AccountId,
        name: &str,
        special_use: Option<SpecialUse>,
    ) -> Result<MailboxId> {
        let name = name.to_owned();
        self.write(0, move |tx| folders::create(tx, account, &name, special_use)).await
    }

    async fn delete_mailbox(&self, account: AccountId, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.write(0, move |tx| folders::delete(tx, account, &name)).await
    }

    async fn rename_mailbox(&self, account: AccountId, from: &str, to: &str) -> Result<()> {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.write(0, move |tx| folders::rename(tx, account, &from, &to)).await
    }

    async fn subscribe(&self, account: AccountId, name: &str, on: bool) -> Result<()> {
        let name = name.to_owned();
        self.write(0, move |tx| folders::set_subscription(tx, account, &name, on)).await
    }

    async fn subscriptions(&self, account: AccountId) -> Result<Vec<String>> {
        self.read(move |conn| folders::subscriptions(conn, account)).await
    }

    async fn named(&self, mailboxes: &[MailboxId]) -> Result<Vec<Option<MailboxInfo>>> {
        let mailboxes = mailboxes.to_vec();
        self.read(move |conn| folders::named(conn, &mailboxes)).await
    }

    async fn find_mailbox(&self, account: AccountId, name: &str) -> Result<Option<MailboxId>> {
        let (key, names) = ((account, folders::canonical(name)), Arc::clone(&self.shared.listeners.names));
        let epoch = match names.find(&key, |mailbox| *mailbox) {
            Ok(mailbox) => return Ok(Some(mailbox)),
            Err(epoch) => epoch,
        };
        self.read(move |conn| {
            let found = folders::find(conn, account, &key.1)?;
            if let Some(mailbox) = found
                && key.1.len() <= REMEMBERED_NAME_MAX
            {
                names.learn(epoch, key, mailbox);
            }
            Ok(found)
        })
        .await
    }

    async fn status(&self, mailbox: MailboxId) -> Result<MailboxStatus> {
        self.read(move |conn| status(conn, mailbox)).await
    }

    async fn statuses(&self, mailboxes: &[MailboxId]) -> Result<Vec<Option<MailboxStatus>>> {
        let mailboxes = mailboxes.to_vec();
        self.read(move |conn| {
            let snapshot = conn.unchecked_transaction()?;
            let one = |mailbox: &MailboxId| match status(&snapshot, *mailbox) {
                Ok(status) => Ok(Some(status)),
                Err(StoreError::Gone(_)) => Ok(None),
                Err(error) => Err(error),
            };
            mailboxes.iter().map(one).collect()
        })
        .await
    }

    async fn entries(&self, mailbox: MailboxId) -> Result<Vec<Entry>> {
        self.read(move |conn| listing::all(conn, mailbox)).await
    }

    async fn octets_of(&self, mailbox: MailboxId, uids: Option<&[Uid]>) -> Result<u64> {
        let uids = uids.map(<[Uid]>::to_vec);
        self.read(move |conn| entries::octets_of(conn, mailbox, uids.as_deref())).await
    }

    async fn keywords(&self, mailbox: MailboxId) -> Result<Vec<String>> {
        self.read(move |conn| listing::keywords(conn, mailbox)).await
    }

    async fn uids(&self, mailbox: MailboxId, modseq: u64, below: Uid) -> Result<Vec<UidRange>> {
        self.read(move |conn| listing::uids(conn, mailbox, modseq, below)).await
    }

    async fn entries_in(&self, mailbox: MailboxId, ranges: &[UidRange], limit: usize) -> Result<Vec<Entry>> {
        let ranges = ranges.to_vec();
        self.read(move |conn| {
            let snapshot = conn.unchecked_transaction()?;
            listing::entries_in(&snapshot, mailbox, &ranges, limit)
        })
        .await
    }

    async fn marks_in(&self, mailbox: MailboxId, ranges: &[UidRange], limit: usize) -> Result<Vec<Mark>> {
        let ranges = ranges.to_vec();
        self.read(move |conn| listing::marks_in(conn, mailbox, &ranges, limit)).await
    }

    async fn load(&self, mailbox: MailboxId, ranges: &[UidRange], load: Load) -> Result<Batch> {
        let (shared, ranges) = (Arc::clone(&self.shared), ranges.to_vec());
        self.blocking(move || loads::load(&shared, mailbox, &ranges, load)).await
    }

    async fn scan(&self, mailbox: MailboxId, ranges: &[UidRange], scan: Scan) -> Result<Scanned> {
        let ranges = ranges.to_vec();
        self.read(move |conn| scans::scan(conn, mailbox, &ranges, &scan)).await
    }

    async fn maildrop(&self, mailbox: MailboxId) -> Result<Maildrop> {
        self.read(move |conn| maildrop::read(conn, mailbox)).await
    }

    async fn changes(&self, mailbox: MailboxId, since: u64) -> Result<Changes> {
        self.read(move |conn| listing::changes(conn, mailbox, since)).await
    }

    async fn touched(&self, mailbox: MailboxId, since: u64) -> Result<Touched> {
        self.read(move |conn| listing::touched(conn, mailbox, since)).await
    }

    async fn append(&self, mailbox: MailboxId, messages: Vec<NewMessage>) -> Result<Copied> {
        self.append_and(mailbox, messages, |_| Ok(())).await
    }

    async fn replace(&self, from: MailboxId, uid: Uid, to: MailboxId, message: NewMessage) -> Result<Copied> {
        self.append_and(to, vec![message], move |tx| {
            let removed = entries::remove_all(tx, from, &[uid])?;
            if removed.is_empty() { Err(StoreError::Gone("message")) } else { Ok(()) }
        })
        .await
    }

    async fn store_flags(
        &self,
        mailbox: MailboxId,
        uids: &[Uid],
        how: FlagChange,
        flags: Flags,
        keywords: &[String],
        unchanged_since: Option<u64>,
    ) -> Result<(Vec<Changed>, Vec<Uid>)> {
        let mut uids = uids.to_vec();
        uids.sort_unstable();
        uids.dedup();
        let change = Arc::new(FlagStore { how, flags, keywords: keywords.to_vec(), unchanged_since });
        let (mut entries, mut left_alone) = (Vec::new(), Vec::new());
        let mut rest = uids.as_slice();
        loop {
            let (now, later) = rest.split_at(rest.len().min(CHUNK));
            rest = later;
            let (chunk, change) = (now.to_vec(), Arc::clone(&change));
            let (mut changed, mut left) =
                self.write(0, move |tx| entries::store_flags(tx, mailbox, &chunk, &change)).await?;
            entries.append(&mut changed);
            left_alone.append(&mut left);
            if rest.is_empty() {
                return Ok((entries, left_alone));
            }
        }
    }

    async fn copy(&self, from: MailboxId, uids: &[Uid], to: MailboxId) -> Result<Copied> {
        self.transfer(from, uids, to, false).await
    }

    async fn move_messages(&self, from: MailboxId, uids: &[Uid], to: MailboxId) -> Result<Copied> {
        self.transfer(from, uids, to, true).await
    }

    async fn expunge(&self, mailbox: MailboxId, uids: Option<&[Uid]>) -> Result<Vec<Uid>> {
        let mut gone = Vec::new();
        let mut uids = if let Some(uids) = uids {
            uids.to_vec()
        } else {
            // Looked for outside the transaction, which all others wait for; in it only where something came between.
            let (modseq, marked) = self.read(move |conn| entries::marked_deleted(conn, mailbox)).await?;
            let first = move |tx: &mut Tx<'_>| entries::expunge_marked(tx, mailbox, (modseq, marked), CHUNK);
            let later;
            (gone, later) = self.write(0, first).await?;
            if later.is_empty() {
                return Ok(gone);
            }
            later
        };
        uids.sort_unstable();
        uids.dedup();
        let mut rest = uids.as_slice();
        loop {
            let (now, later) = rest.split_at(rest.len().min(CHUNK));
            rest = later;
            let chunk = now.to_vec();
            gone.append(&mut self.write(0, move |tx| entries::expunge(tx, mailbox, &chunk)).await?);
            if rest.is_empty() {
                return Ok(gone);
            }
        }
    }

    async fn remove(&self, mailbox: MailboxId, uids: &[Uid]) -> Result<Vec<Uid>> {
        let uids = uids.to_vec();
        self.write(0, move |tx| entries::remove_all(tx, mailbox, &uids)).await
    }

    async fn content(&self, content: ContentId) -> Result<Box<dyn ContentReader>> {
        let shared = Arc::clone(&self.shared);
        self.blocking(move || readers::open(&shared, content)).await
    }

    async fn contents(&self, contents: &[ContentId]) -> Result<Vec<Option<Box<dyn ContentReader>>>> {
        let (shared, contents) = (Arc::clone(&self.shared), contents.to_vec());
        self.blocking(move || readers::open_all(&shared, &contents)).await
    }

    async fn heads(&self, contents: &[(ContentId, u64)]) -> Result<Vec<Option<Box<dyn ContentReader>>>> {
        let (shared, contents) = (Arc::clone(&self.shared), contents.to_vec());
        self.blocking(move || readers::open_heads(&shared, &contents)).await
    }

    async fn indexes(&self, contents: &[ContentId]) -> Result<Vec<Vec<u8>>> {
        let contents = contents.to_vec();
        self.read(move |conn| {
            // In one snapshot: without, each statement locks and unlocks the log (two calls of the kernel).
            let snapshot = conn.unchecked_transaction()?;
            let mut statement = snapshot.prepare_cached("SELECT idx FROM content WHERE id = ?1")?;
            contents
                .iter()
                .map(|content| {
                    Ok(statement.query_row([content.0], |row| row.get(0)).optional()?.unwrap_or_default())
                })
                .collect()
        })
        .await
    }

    fn watch(&self, account: AccountId) -> watch::Receiver<u64> {
        self.shared.listeners.watchers.watch(account)
    }

    fn listen(&self, account: AccountId) -> Listener {
        self.shared.listeners.watchers.listen(account)
    }

    fn unheard_by(&self, listener: &Listener) -> Arc<dyn crate::Store> {
        let shared = Arc::clone(&self.shared);
        Arc::new(Self { _collector: None, shared, origin: listener.origin() })
    }
}

/// Prepares one message; its body may be shared with others of the same change.
pub(super) fn incoming(contents: &mut Contents, message: NewMessage) -> Result<Incoming> {
    Ok(Incoming {
        slot: contents.add(&message.body, message.index, message.sketch)?,
        flags: message.flags,
        keywords: message.keywords,
        internal_date: message.internal_date,
    })
}
