//! Key salts, published keys, statement chains and keyrings of an account (profile §9).

use super::{
    accounts::{new_salt, salt_in_use, set_login},
    convert::damaged,
    writer::Tx,
};
use crate::{
    account::{AccountId, KeyChange, KeyState, StagedKeyring, Swap},
    error::{Result, StoreError},
};
use rusqlite::{Connection, OptionalExtension, params};
use sealpost_proto::{key::PublicKey, phc::Salt, statement::SignedStatement};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Keyrings kept besides the current one (profile §9).
const KEYRINGS_BACK: i64 = 5;
/// Statements kept: two years each, or rotations; the oldest go first, so that a user can always rotate.
const STATEMENTS_MAX: i64 = 1024;
/// Accounts whose chains are remembered, and the octets of all of them.
const CACHED_CHAINS_MAX: usize = 1024;
const CACHED_BYTES_MAX: usize = 16 * 1024 * 1024;

fn gone() -> StoreError {
    StoreError::Gone("account")
}

/// Salt, key and chain at one moment; `None` where there is no salt yet.
pub(super) fn state(
    conn: &Connection,
    account: AccountId,
    chains: Option<&Chains>,
) -> Result<Option<KeyState>> {
    // One snapshot for the account and its chain. Inside the writer there is a transaction already.
    let _snapshot = if conn.is_autocommit() { Some(conn.unchecked_transaction()?) } else { None };
    let (generation, salt, key) = conn
        .prepare_cached("SELECT generation, key_salt, key_blob FROM account WHERE id = ?1")?
        .query_row([account.0], |row| {
            Ok((row.get(0)?, row.get::<_, Option<Vec<u8>>>(1)?, row.get::<_, Option<Vec<u8>>>(2)?))
        })
        .optional()?
        .ok_or_else(gone)?;
    let Some(salt) = salt else { return Ok(None) };
    Ok(Some(KeyState {
        generation,
        salt: Salt::new(salt).map_err(|_| damaged("key salt"))?,
        published: key.map(|blob| to_key(&blob)).transpose()?,
        chain: match chains {
            Some(chains) => chains.get(conn, account, generation)?,
            None => chain(conn, account)?,
        },
    }))
}

/// Makes the salt of an account that has none.
pub(super) fn make_salt(conn: &Connection, account: AccountId) -> Result<()> {
    conn.prepare_cached(
        "UPDATE account SET key_salt = ?2, generation = generation + 1 WHERE id = ?1 AND key_salt IS NULL",
    )?
    .execute(params![account.0, new_salt()])?;
    Ok(())
}

fn to_key(blob: &[u8]) -> Result<PublicKey> {
    PublicKey::from_blob(blob).map_err(|_| damaged("public key"))
}

pub(super) fn published(conn: &Connection, account: AccountId) -> Result<Option<PublicKey>> {
    conn.prepare_cached("SELECT key_blob FROM account WHERE id = ?1")?
        .query_row([account.0], |row| row.get::<_, Option<Vec<u8>>>(0))
        .optional()?
        .flatten()
        .map(|blob| to_key(&blob))
        .transpose()
}

/// The statements, newest first.
fn chain(conn: &Connection, account: AccountId) -> Result<Vec<SignedStatement>> {
    conn.prepare_cached("SELECT wire FROM statement WHERE account_id = ?1 ORDER BY serial DESC")?
        .query_map([account.0], |row| row.get::<_, Vec<u8>>(0))?
        .map(|wire| SignedStatement::from_bytes(&wire?).map_err(|_| damaged("key statement")))
        .collect()
}

/// RSTSALT of an account without a published key.
pub(super) fn reset_salt(
    conn: &Connection,
    account: AccountId,
    generation: i64,
    salt: &Salt,
) -> Result<Swap> {
    let changed = conn
        .prepare_cached(
            "UPDATE account SET key_salt = ?3, generation = generation + 1
             WHERE id = ?1 AND generation = ?2 AND key_blob IS NULL",
        )?
        .execute(params![account.0, generation, salt.as_bytes()])?;
    Ok(if changed == 1 { Swap::Done } else { Swap::KeyChanged })
}

/// Chains read lately. Reading one verifies its signatures anew, and anybody may ask for it (XKEYINFO).
#[derive(Default)]
pub(super) struct Chains(Mutex<HashMap<AccountId, Cached>>);

struct Cached {
    /// [`KeyState::generation`] it was read at: every change of a chain moves that on.
    generation: i64,
    chain: Arc<[SignedStatement]>,
}

impl Chains {
    /// The statements, newest first. For reading connections alone: the writer sees what may yet be rolled back.
    fn get(&self, conn: &Connection, account: AccountId, generation: i64) -> Result<Vec<SignedStatement>> {
        let known =
            self.lock().get(&account).filter(|known| known.generation == generation).map(|c| c.chain.clone());
        if let Some(chain) = known {
            return Ok(chain.to_vec());
        }
        let chain: Arc<[SignedStatement]> = chain(conn, account)?.into();
        let mut all = self.lock();
        let octets = |chain: &[SignedStatement]| chain.iter().map(|s| s.as_bytes().len()).sum::<usize>();
        if all.len() >= CACHED_CHAINS_MAX
            || all.values().map(|cached| octets(&cached.chain)).sum::<usize>() + octets(&chain)
                > CACHED_BYTES_MAX
        {
            all.clear();
        }
        all.insert(account, Cached { generation, chain: Arc::clone(&chain) });
        Ok(chain.to_vec())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AccountId, Cached>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The chain of an account, by way of the cache.
pub(super) fn read_chain(
    conn: &Connection,
    account: AccountId,
    chains: &Chains,
) -> Result<Vec<SignedStatement>> {
    let snapshot = conn.unchecked_transaction()?;
    let generation: Option<i64> = snapshot
        .prepare_cached("SELECT generation FROM account WHERE id = ?1")?
        .query_row([account.0], |row| row.get(0))
        .optional()?;
    generation.map_or(Ok(Vec::new()), |generation| chains.get(&snapshot, account, generation))
}

/// SETPUBKEY and XPASSWD: everything, or nothing and why not.
pub(super) fn set_key(tx: &mut Tx<'_>, account: AccountId, change: &KeyChange) -> Result<Swap> {
    let conn = tx.conn;
    let generation: i64 = conn
        .prepare_cached("SELECT generation FROM account WHERE id = ?1")?
        .query_row([account.0], |row| row.get(0))
        .optional()?
        .ok_or_else(gone)?;
    if generation != change.generation {
        return Ok(Swap::KeyChanged);
    }
    // All that can refuse comes before the first change.
    if change.login.as_ref().map_or(Ok(false), |login| salt_in_use(conn, &login.salt))? {
        return Ok(Swap::SaltInUse);
    }
    if let Some(keyring) = &change.keyring
        && put_keyring(conn, account, keyring)? == Swap::KeyringChanged
    {
        return Ok(Swap::KeyringChanged);
    }
    conn.prepare_cached(
        "UPDATE account SET generation = generation + 1, key_blob = ?2, key_salt = coalesce(?3, key_salt)
         WHERE id = ?1",
    )?
    .execute(params![account.0, change.key.blob(), change.salt.as_ref().map(Salt::as_bytes)])?;
    if let Some(login) = &change.login {
        set_login(conn, account, login)?;
    }
    if let Some(statement) = &change.statement {
        let serial: i64 = conn
            .prepare_cached(
                "INSERT INTO statement (account_id, serial, wire) VALUES (?1,
                     (SELECT coalesce(max(serial), 0) + 1 FROM statement WHERE account_id = ?1), ?2)
                 RETURNING serial",
            )?
            .query_row(params![account.0, statement.as_bytes()], |row| row.get(0))?;
        conn.prepare_cached("DELETE FROM statement WHERE account_id = ?1 AND serial <= ?2")?
            .execute([account.0, serial - STATEMENTS_MAX])?;
    }
    tx.rerouted();
    Ok(Swap::Done)
}

pub(super) fn keyring(conn: &Connection, account: AccountId) -> Result<Option<Vec<u8>>> {
    Ok(conn
        .prepare_cached("SELECT data FROM keyring WHERE account_id = ?1 ORDER BY serial DESC LIMIT 1")?
        .query_row([account.0], |row| row.get(0))
        .optional()?)
}

/// Makes a keyring current if it replaces the current one.
pub(super) fn put_keyring(conn: &Connection, account: AccountId, keyring: &StagedKeyring) -> Result<Swap> {
    let current: Option<(i64, Vec<u8>)> = conn
        .prepare_cached(
            "SELECT serial, sha256 FROM keyring WHERE account_id = ?1 ORDER BY serial DESC LIMIT 1",
        )?
        .query_row([account.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if current.as_ref().map(|(_, hash)| hash.as_slice())
        != keyring.replaces.as_ref().map(<[u8; 32]>::as_slice)
    {
        return Ok(Swap::KeyringChanged);
    }
    let serial = current.map_or(0, |(serial, _)| serial) + 1;
    let hash: [u8; 32] = Sha256::digest(&keyring.data).into();
    conn.prepare_cached("INSERT INTO keyring (account_id, serial, sha256, data) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![account.0, serial, hash, keyring.data])?;
    conn.prepare_cached("DELETE FROM keyring WHERE account_id = ?1 AND serial < ?2")?
        .execute([account.0, serial - KEYRINGS_BACK])?;
    Ok(Swap::Done)
}
