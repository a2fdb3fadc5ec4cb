//! How much accounts may hold. Limits are few, seldom changed, and asked for with every RCPT: they are remembered, all of
//! them, from the first question on. What an account holds is the sum over its mailboxes, which count themselves.

use super::{SqliteStore, convert::number};
use crate::{
    account::{AccountId, Quota, Usage},
    error::{Result, StoreError},
};
use rusqlite::{Connection, params};
use sealpost_proto::address::Address;
use std::collections::HashMap;
use tokio::sync::{OnceCell, RwLock};

/// The limits that differ from the configured one. Held for writing while one is changed, so that what is remembered is
/// what was committed last.
#[derive(Default)]
pub(super) struct Quotas(OnceCell<RwLock<HashMap<AccountId, Quota>>>);

impl SqliteStore {
    async fn quotas(&self) -> Result<&RwLock<HashMap<AccountId, Quota>>> {
        let load = async || self.read(all).await.map(RwLock::new);
        self.shared.quotas.0.get_or_try_init(load).await
    }

    pub(super) async fn quota_of(&self, account: AccountId) -> Result<Quota> {
        Ok(self.quotas().await?.read().await.get(&account).copied().unwrap_or_default())
    }

    pub(super) async fn limit(&self, address: &Address, quota: Quota) -> Result<()> {
        let mut quotas = self.quotas().await?.write().await;
        let address = address.clone();
        let account = self
            .write(0, move |tx| {
                let value = match quota {
                    Quota::Default => None,
                    Quota::Unlimited => Some(-1),
                    Quota::Octets(octets) => Some(i64::try_from(octets).unwrap_or(i64::MAX)),
                };
                tx.conn
                    .prepare_cached("UPDATE account SET quota = ?2 WHERE address = ?1 RETURNING id")?
                    .query_row(params![address.as_str(), value], |row| row.get(0))
                    .map(AccountId)
                    .map_err(|error| match error {
                        rusqlite::Error::QueryReturnedNoRows => StoreError::Gone("account"),
                        other => other.into(),
                    })
            })
            .await?;
        quotas.insert(account, quota);
        Ok(())
    }
}

fn all(conn: &Connection) -> Result<HashMap<AccountId, Quota>> {
    conn.prepare_cached("SELECT id, quota FROM account WHERE quota IS NOT NULL")?
        .query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))?
        .map(|row| {
            let (id, quota) = row?;
            Ok((AccountId(id), u64::try_from(quota).map_or(Quota::Unlimited, Quota::Octets)))
        })
        .collect()
}

pub(super) fn usage(conn: &Connection, account: AccountId) -> Result<Usage> {
    let (octets, messages) = conn
        .prepare_cached(
            "SELECT coalesce(sum(size), 0), coalesce(sum(messages), 0) FROM mailbox WHERE account_id = ?1",
        )?
        .query_row([account.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Usage { octets: number(octets, "mailbox")?, messages: number(messages, "mailbox")? })
}
