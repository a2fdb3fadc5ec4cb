//! How much accounts may hold. Limits are few, seldom changed, and asked for with every RCPT: they are remembered, all of
//! them, from the first question on. What an account holds is the sum over its mailboxes, which count themselves.

use super::{SqliteStore, convert::number};
use crate::{
    account::{AccountId, Quota, Quotas, Resource, Usage},
    error::{Result, StoreError},
};
use rusqlite::{Connection, Row, params};
use sealpost_proto::address::Address;
use std::collections::HashMap;
use tokio::sync::{OnceCell, RwLock};

/// The limits that differ from the configured ones. Held for writing while one is changed, so that what is remembered is
/// what was committed last.
#[derive(Default)]
pub(super) struct Remembered(OnceCell<RwLock<HashMap<AccountId, Quotas>>>);

impl SqliteStore {
    async fn remembered_quotas(&self) -> Result<&RwLock<HashMap<AccountId, Quotas>>> {
        let load = async || self.read(all).await.map(RwLock::new);
        self.shared.quotas.0.get_or_try_init(load).await
    }

    pub(super) async fn quotas_of(&self, account: AccountId) -> Result<Quotas> {
        Ok(self.remembered_quotas().await?.read().await.get(&account).copied().unwrap_or_default())
    }

    pub(super) async fn limit(&self, address: &Address, resource: Resource, quota: Quota) -> Result<()> {
        let mut remembered = self.remembered_quotas().await?.write().await;
        let address = address.clone();
        let (account, quotas) = self
            .write(0, move |tx| {
                let value = match quota {
                    Quota::Default => None,
                    Quota::Unlimited => Some(-1),
                    Quota::AtMost(limit) => Some(i64::try_from(limit).unwrap_or(i64::MAX)),
                };
                let column = match resource {
                    Resource::Octets => "quota",
                    Resource::Messages => "quota_messages",
                };
                tx.conn
                    .prepare_cached(&format!(
                        "UPDATE account SET {column} = ?2 WHERE address = ?1 RETURNING id, quota, quota_messages"
                    ))?
                    .query_row(params![address.as_str(), value], quotas)
                    .map_err(|error| match error {
                        rusqlite::Error::QueryReturnedNoRows => StoreError::Gone("account"),
                        other => other.into(),
                    })
            })
            .await?;
        remembered.insert(account, quotas);
        Ok(())
    }
}

/// Of a row of id, quota and quota_messages.
fn quotas(row: &Row<'_>) -> rusqlite::Result<(AccountId, Quotas)> {
    let quota = |at| -> rusqlite::Result<Quota> {
        let value: Option<i64> = row.get(at)?;
        let limit = |value: i64| u64::try_from(value).map_or(Quota::Unlimited, Quota::AtMost);
        Ok(value.map_or(Quota::Default, limit))
    };
    Ok((AccountId(row.get(0)?), Quotas { octets: quota(1)?, messages: quota(2)? }))
}

fn all(conn: &Connection) -> Result<HashMap<AccountId, Quotas>> {
    let mut statement = conn.prepare_cached(
        "SELECT id, quota, quota_messages FROM account WHERE quota IS NOT NULL OR quota_messages IS NOT NULL",
    )?;
    let all = statement.query_map([], quotas)?.collect::<rusqlite::Result<_>>()?;
    Ok(all)
}

pub(super) fn usage(conn: &Connection, account: AccountId) -> Result<Usage> {
    let (octets, messages) = conn
        .prepare_cached(
            "SELECT coalesce(sum(size), 0), coalesce(sum(messages), 0) FROM mailbox WHERE account_id = ?1",
        )?
        .query_row([account.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Usage { octets: number(octets, "mailbox")?, messages: number(messages, "mailbox")? })
}
