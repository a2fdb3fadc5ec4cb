//! Looking at a store through its traits; behind them looks `inspect.rs`.

use crate::{
    body::Octets,
    model::{Account, Mailbox, Message, Queued, Seen},
    store::{ALIASES, CODES, address, domain, hex, index, key_number, special, whole},
};
use rusqlite::OptionalExtension as _;
use sealpost_proto::time::Timestamp;
use sealpost_store::{
    StoreError,
    account::Accounts,
    mailbox::{ContentId, Flags, Mailboxes},
    queue::Queue,
    spool::Body,
    sqlite::SqliteStore,
};
use std::{collections::BTreeMap, path::Path};

/// Bodies that were found whole once need not be read again while their store is open.
#[derive(Debug, Default)]
pub struct Known(BTreeMap<i64, Octets>);

impl Known {
    async fn content(&mut self, store: &SqliteStore, id: ContentId, size: u64) -> Result<Octets, String> {
        if let Some(known) = self.0.get(&id.0) {
            return Ok(*known);
        }
        let reader = store.content(id).await.map_err(|error| format!("content {}: {error}", id.0))?;
        let body = Body::from_content(reader);
        let bytes = whole(&body).map_err(|error| format!("content {}: {error}", id.0))?;
        if bytes.len() as u64 != size {
            return Err(format!("content {}: {} octets instead of {size}", id.0, bytes.len()));
        }
        let octets = Octets::of(&bytes)?;
        self.0.insert(id.0, octets);
        Ok(octets)
    }
}

/// The last numbers given out, which cannot be seen through the traits: of accounts, mailboxes, queue entries, and of
/// UIDVALIDITY.
pub fn numbers(store: &Path) -> Result<[i64; 4], String> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let read = || {
        let conn = rusqlite::Connection::open_with_flags(store.join("store.db"), flags)?;
        let number = |sql: &str| conn.query_row(sql, [], |row| row.get(0)).optional();
        let mut numbers = [0; 4];
        for (number_of, table) in numbers.iter_mut().zip(["account", "mailbox", "queue"]) {
            *number_of =
                number(&format!("SELECT seq FROM sqlite_sequence WHERE name = '{table}'"))?.unwrap_or(0);
        }
        numbers[3] = number("SELECT value FROM counter WHERE name = 'uid_validity'")?.unwrap_or(0);
        Ok(numbers)
    };
    read().map_err(|error: rusqlite::Error| error.to_string())
}

/// Looks at everything through the traits; what contradicts itself is an error.
/// The server's own secret is asked for only where there must be one, for asking makes it.
pub async fn observe(store: &SqliteStore, known: &mut Known, secret: bool) -> Result<Seen, String> {
    let say = |error: StoreError| error.to_string();
    let mut seen = Seen::default();
    for account in store.accounts().await.map_err(say)? {
        let id = account.id;
        let state = store.key_state(id).await.map_err(say)?;
        let mut code = None;
        for tag in 0..CODES {
            if store.is_code(&account.address, [tag; 32], Timestamp(i64::MIN)).await.map_err(say)? {
                code = Some(tag);
            }
        }
        let login = store.login(&account.address).await.map_err(say)?;
        if login.is_some() != account.enrolled || state.published.is_some() != account.has_key {
            return Err(format!("account {} contradicts itself", id.0));
        }
        let found = Account {
            address: account.address.as_str().to_owned(),
            code,
            login: login.map(|(_, login)| login.salt.as_bytes()[0]),
            key: state.published.as_ref().and_then(key_number),
            chain: state.chain.iter().filter_map(|s| key_number(&s.statement().key)).collect(),
            generation: state.generation,
            salt: state
                .salt
                .as_bytes()
                .iter()
                .all(|octet| *octet == state.salt.as_bytes()[0])
                .then(|| state.salt.as_bytes()[0]),
            keyring: store.keyring(id).await.map_err(say)?,
            passwords: store.app_passwords(id).await.map_err(say)?.into_iter().map(|p| p.name).collect(),
            subscribed: store.subscriptions(id).await.map_err(say)?.into_iter().collect(),
        };
        seen.accounts.insert(id.0, found);
        for mailbox in store.mailboxes(id).await.map_err(say)? {
            let found = observe_mailbox(store, known, id.0, &mailbox).await?;
            seen.mailboxes.insert(mailbox.id.0, found);
        }
    }
    for alias in ALIASES {
        let led = store.resolve(&address(alias)).await.map_err(say)?;
        let own = seen.accounts.values().any(|account| account.address == alias);
        if let Some(account) = led.filter(|_| !own) {
            seen.aliases.insert(alias.to_owned(), account.0);
        }
    }
    for entry in store.queued().await.map_err(say)? {
        let body =
            whole(&entry.entry.body).map_err(|error| format!("queue entry {}: {error}", entry.id.0))?;
        if entry.entry.domain != domain(&entry.entry.recipients[0]) {
            return Err(format!("queue entry {} goes to another domain", entry.id.0));
        }
        let found = Queued {
            octets: Octets::of(&body)?,
            from: entry.reverse_path,
            to: entry.entry.recipients,
            attempts: entry.attempts,
            error: entry.last_error,
            due: entry.entry.due.0,
        };
        seen.queue.insert(entry.id.0, found);
    }
    if secret {
        seen.secret = Some(hex(&store.server_secret().await.map_err(say)?));
    }
    seen.next_due = store.next_due().await.map_err(say)?.map(|due| due.0);
    Ok(seen)
}

async fn observe_mailbox(
    store: &SqliteStore,
    known: &mut Known,
    account: i64,
    info: &sealpost_store::mailbox::MailboxInfo,
) -> Result<Mailbox, String> {
    let say = |error: StoreError| format!("{}: {error}", info.name);
    let status = store.status(info.id).await.map_err(say)?;
    let entries = store.entries(info.id).await.map_err(say)?;
    let count = |wanted: fn(Flags) -> bool| entries.iter().filter(|entry| wanted(entry.flags)).count();
    let counters = [
        (status.messages as usize, entries.len()),
        (status.unseen as usize, count(|flags| !flags.contains(Flags::SEEN))),
        (status.deleted as usize, count(|flags| flags.contains(Flags::DELETED))),
    ];
    let size: u64 = entries.iter().map(|entry| entry.size).sum();
    if counters.iter().any(|(told, counted)| told != counted) || status.size != size {
        return Err(format!("{}: the counters are wrong: {status:?}", info.name));
    }
    let contents: Vec<ContentId> = entries.iter().map(|entry| entry.content).collect();
    let indexes = store.indexes(&contents).await.map_err(say)?;
    let changes = store.changes(info.id, 0).await.map_err(say)?;
    if changes.entries != entries || changes.modseq != status.modseq {
        return Err(format!("{}: CHANGEDSINCE 0 is not everything", info.name));
    }
    let mut messages = BTreeMap::new();
    for (entry, kept) in entries.iter().zip(indexes) {
        let octets = known.content(store, entry.content, entry.size).await?;
        if !kept.is_empty() && kept != index(octets) {
            return Err(format!("{}: UID {} has the index of another message", info.name, entry.uid));
        }
        if entry.uid >= status.uid_next || changes.vanished.contains(&entry.uid) {
            return Err(format!("{}: UID {} cannot be", info.name, entry.uid));
        }
        let message = Message {
            octets,
            flags: entry.flags.0,
            keywords: entry.keywords.iter().cloned().collect(),
            modseq: entry.modseq,
            saved: entry.save_date.0,
        };
        messages.insert(entry.uid, message);
    }
    Ok(Mailbox {
        account,
        name: info.name.clone(),
        special: special(info.special_use),
        validity: status.uid_validity,
        next: status.uid_next,
        modseq: status.modseq,
        messages,
    })
}
