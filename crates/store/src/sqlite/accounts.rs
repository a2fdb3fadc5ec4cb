//! Accounts, aliases, enrolment, app passwords.

use super::{
    SqliteStore,
    convert::{array, damaged, number},
    directory::{Epoch, Route},
    folders, keys, quotas,
    writer::Tx,
};
use crate::{
    account::{
        Account, AccountId, Accounts, AppPassword, Enrolment, KeyChange, KeyState, Login, Quota, Quotas,
        Resource, StagedKeyring, Swap, Usage,
    },
    error::{Result, StoreError},
};
use async_trait::async_trait;
use rand_core::{OsRng, RngCore};
use rusqlite::{Connection, OptionalExtension, Row, params};
use sealpost_proto::{
    address::{Address, Domain},
    key::PublicKey,
    phc::{Cost, Salt, Verifier},
    statement::SignedStatement,
    time::Timestamp,
};
use std::sync::Arc;

/// App passwords of one account; each costs a PBKDF2 at every login.
const APP_PASSWORDS_MAX: i64 = 100;
/// Octets of an app password's name, which users read in lists.
const APP_PASSWORD_NAME_MAX: usize = 255;

/// A new key salt (R07): 128 random bits.
pub(super) fn new_salt() -> [u8; 16] {
    let mut salt = [0; 16];
    OsRng.fill_bytes(&mut salt);
    salt
}

/// The account that `address` leads to by itself: primary address or alias.
fn exact(conn: &Connection, address: &Address) -> Result<Option<AccountId>> {
    Ok(conn
        .prepare_cached(
            "SELECT id FROM account WHERE address = ?1
             UNION ALL SELECT account_id FROM alias WHERE address = ?1 LIMIT 1",
        )?
        .query_row([address.as_str()], |row| row.get(0))
        .optional()?
        .map(AccountId))
}

/// The same, then with `+detail` cut.
fn lead(conn: &Connection, address: &Address) -> Result<Option<AccountId>> {
    if let Some(found) = exact(conn, address)? {
        return Ok(Some(found));
    }
    address.without_detail().map_or(Ok(None), |base| exact(conn, &base))
}

fn primary(conn: &Connection, address: &Address) -> Result<Option<AccountId>> {
    Ok(conn
        .prepare_cached("SELECT id FROM account WHERE address = ?1")?
        .query_row([address.as_str()], |row| row.get(0))
        .optional()?
        .map(AccountId))
}

fn exists(conn: &Connection, account: AccountId) -> Result<()> {
    conn.prepare_cached("SELECT 1 FROM account WHERE id = ?1")?
        .exists([account.0])?
        .then_some(())
        .ok_or(StoreError::Gone("account"))
}

fn account_of(row: &Row<'_>) -> rusqlite::Result<(i64, String, i64, bool, bool)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
}

const ACCOUNT_COLUMNS: &str = "id, address, created, login_verifier IS NOT NULL, key_blob IS NOT NULL";

fn to_account((id, address, created, enrolled, has_key): (i64, String, i64, bool, bool)) -> Result<Account> {
    let address = Address::parse_canonical(&address).map_err(|_| damaged("address"))?;
    Ok(Account { id: AccountId(id), address, created: Timestamp(created), enrolled, has_key })
}

/// Whether some account, this one included, has this login salt (profile §5).
pub(super) fn salt_in_use(conn: &Connection, salt: &Salt) -> Result<bool> {
    Ok(conn.prepare_cached("SELECT 1 FROM account WHERE login_salt = ?1")?.exists([salt.as_bytes()])?)
}

/// Sets verifier, login salt and cost.
pub(super) fn set_login(conn: &Connection, account: AccountId, login: &Login) -> Result<()> {
    conn.prepare_cached(
        "UPDATE account SET login_salt = ?2, login_m_kib = ?3, login_t = ?4, login_p = ?5, login_verifier = ?6
         WHERE id = ?1",
    )?
    .execute(params![
        account.0,
        login.salt.as_bytes(),
        login.cost.m_kib,
        login.cost.t,
        login.cost.p,
        login.verifier.0
    ])?;
    Ok(())
}

fn create(
    tx: &mut Tx<'_>,
    address: &Address,
    code_sha256: [u8; 32],
    expires: Timestamp,
    now: Timestamp,
) -> Result<AccountId> {
    if exact(tx.conn, address)?.is_some() {
        return Err(StoreError::Exists("address"));
    }
    let id: i64 = tx
        .conn
        .prepare_cached(
            "INSERT INTO account (address, domain, created, code_sha256, code_expires, key_salt)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) RETURNING id",
        )?
        .query_row(
            params![
                address.as_str(),
                address.domain().as_str(),
                now.0,
                code_sha256,
                expires.0,
                // R07: at account creation.
                new_salt()
            ],
            |row| row.get(0),
        )?;
    folders::create_standard(tx, AccountId(id))?;
    tx.rerouted();
    Ok(AccountId(id))
}

fn remove(tx: &mut Tx<'_>, address: &Address) -> Result<()> {
    let Some(account) = primary(tx.conn, address)? else { return Err(StoreError::Gone("account")) };
    // Mailboxes lose their account here, which hides them at once; their mail is cleared away bit by bit.
    for sql in [
        "UPDATE mailbox SET account_id = NULL WHERE account_id = ?1",
        "DELETE FROM alias WHERE account_id = ?1",
        "DELETE FROM statement WHERE account_id = ?1",
        "DELETE FROM keyring WHERE account_id = ?1",
        "DELETE FROM app_password WHERE account_id = ?1",
        "DELETE FROM subscription WHERE account_id = ?1",
        "DELETE FROM annotation WHERE account_id = ?1",
        "DELETE FROM account WHERE id = ?1",
    ] {
        tx.conn.prepare_cached(sql)?.execute([account.0])?;
    }
    tx.touch(account);
    tx.rerouted();
    tx.renamed();
    Ok(())
}

fn enrol(
    tx: &mut Tx<'_>,
    address: &Address,
    code_sha256: [u8; 32],
    login: &Login,
    now: Timestamp,
) -> Result<Enrolment> {
    let found = tx
        .conn
        .prepare_cached(
            "SELECT id, code_sha256, code_expires, key_blob IS NOT NULL FROM account WHERE address = ?1",
        )?
        .query_row([address.as_str()], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, Option<Vec<u8>>>(1)?,
                row.get::<_, Option<i64>>(2)?,
                row.get::<_, bool>(3)?,
            ))
        })
        .optional()?;
    let Some((id, Some(code), Some(expires), had_key)) = found else { return Ok(Enrolment::WrongCode) };
    // Hashes of random codes: how many octets agree tells nothing that a guesser could use.
    if code != code_sha256 || expires <= now.0 {
        return Ok(Enrolment::WrongCode);
    }
    // After the code, so that a wrong code is always that (profile §5).
    if salt_in_use(tx.conn, &login.salt)? {
        return Ok(Enrolment::SaltInUse);
    }
    let account = AccountId(id);
    set_login(tx.conn, account, login)?;
    // The generation moves even without a key: a session of the old login must not set one.
    tx.conn
        .prepare_cached(
            "UPDATE account SET code_sha256 = NULL, code_expires = NULL, generation = generation + 1 WHERE id = ?1",
        )?
        .execute([id])?;
    if had_key {
        tx.conn
            .prepare_cached("UPDATE account SET key_salt = ?2, key_blob = NULL WHERE id = ?1")?
            .execute(params![id, new_salt()])?;
        tx.conn.prepare_cached("DELETE FROM app_password WHERE account_id = ?1")?.execute([id])?;
    }
    tx.rerouted();
    Ok(Enrolment::Done(account))
}

fn login(conn: &Connection, address: &Address) -> Result<Option<(AccountId, Login)>> {
    let found = conn
        .prepare_cached(
            "SELECT id, login_salt, login_m_kib, login_t, login_p, login_verifier FROM account
             WHERE address = ?1 AND login_verifier IS NOT NULL",
        )?
        .query_row([address.as_str()], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, Vec<u8>>(1)?,
                [row.get::<_, i64>(2)?, row.get(3)?, row.get(4)?],
                row.get::<_, Vec<u8>>(5)?,
            ))
        })
        .optional()?;
    let Some((id, salt, [m_kib, t, p], verifier)) = found else { return Ok(None) };
    let login = Login {
        salt: Salt::new(salt).map_err(|_| damaged("login salt"))?,
        cost: Cost {
            m_kib: number(m_kib, "login cost")?,
            t: number(t, "login cost")?,
            p: number(p, "login cost")?,
        },
        verifier: Verifier(array(&verifier, "verifier")?),
    };
    Ok(Some((AccountId(id), login)))
}

fn add_app_password(conn: &Connection, account: AccountId, password: &AppPassword) -> Result<()> {
    exists(conn, account)?;
    if password.name.is_empty() || password.name.len() > APP_PASSWORD_NAME_MAX {
        return Err(StoreError::Refused("the name of an app password has 1 to 255 octets"));
    }
    if conn
        .prepare_cached("SELECT 1 FROM app_password WHERE account_id = ?1 AND name = ?2")?
        .exists(params![account.0, password.name])?
    {
        return Err(StoreError::Exists("app password of that name"));
    }
    let count: i64 = conn
        .prepare_cached("SELECT count(*) FROM app_password WHERE account_id = ?1")?
        .query_row([account.0], |row| row.get(0))?;
    if count >= APP_PASSWORDS_MAX {
        return Err(StoreError::Limit("app passwords of this account"));
    }
    conn.prepare_cached(
        "INSERT INTO app_password (account_id, name, salt, iterations, stored_key, server_key, created)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        account.0,
        password.name,
        password.salt,
        password.iterations,
        password.stored_key,
        password.server_key,
        password.created.0
    ])?;
    Ok(())
}

fn app_passwords(conn: &Connection, account: AccountId) -> Result<Vec<AppPassword>> {
    let mut statement = conn.prepare_cached(
        "SELECT name, salt, iterations, stored_key, server_key, created FROM app_password
         WHERE account_id = ?1 ORDER BY name",
    )?;
    let mut rows = statement.query([account.0])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(AppPassword {
            name: row.get(0)?,
            salt: row.get(1)?,
            iterations: number(row.get(2)?, "app password")?,
            stored_key: array(&row.get::<_, Vec<u8>>(3)?, "app password")?,
            server_key: array(&row.get::<_, Vec<u8>>(4)?, "app password")?,
            created: Timestamp(row.get(5)?),
        });
    }
    // Behind the query, so that a login takes the same work where there is no such account (profile §4).
    exists(conn, account)?;
    Ok(all)
}

impl SqliteStore {
    /// Reads where an address leads, and remembers it.
    async fn route<T: Send + 'static>(
        &self,
        address: &Address,
        epoch: Epoch,
        pick: impl FnOnce(&Route) -> T + Send + 'static,
    ) -> Result<Option<T>> {
        let (address, directory) = (address.clone(), Arc::clone(&self.shared.listeners.directory));
        self.read(move |conn| {
            // Account and key of one moment.
            let snapshot = conn.unchecked_transaction()?;
            let Some(account) = lead(&snapshot, &address)? else { return Ok(None) };
            let route = Route { account, key: keys::published(&snapshot, account)? };
            let picked = pick(&route);
            directory.learn(epoch, address.as_str().to_owned(), route);
            Ok(Some(picked))
        })
        .await
    }
}

#[async_trait]
impl Accounts for SqliteStore {
    async fn create_account(
        &self,
        address: &Address,
        code_sha256: [u8; 32],
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<AccountId> {
        let address = address.clone();
        self.write(0, move |tx| create(tx, &address, code_sha256, expires, now)).await
    }

    async fn reset_account(
        &self,
        address: &Address,
        code_sha256: [u8; 32],
        expires: Timestamp,
    ) -> Result<AccountId> {
        let address = address.clone();
        self.write(0, move |tx| {
            tx.conn
                .prepare_cached(
                    "UPDATE account SET code_sha256 = ?2, code_expires = ?3 WHERE address = ?1 RETURNING id",
                )?
                .query_row(params![address.as_str(), code_sha256, expires.0], |row| row.get(0))
                .optional()?
                .map(AccountId)
                .ok_or(StoreError::Gone("account"))
        })
        .await
    }

    async fn remove_account(&self, address: &Address) -> Result<()> {
        let address = address.clone();
        self.write(0, move |tx| remove(tx, &address)).await
    }

    async fn accounts(&self) -> Result<Vec<Account>> {
        self.read(|conn| {
            conn.prepare_cached(&format!("SELECT {ACCOUNT_COLUMNS} FROM account ORDER BY address"))?
                .query_map([], account_of)?
                .map(|row| to_account(row?))
                .collect()
        })
        .await
    }

    async fn account(&self, primary: &Address) -> Result<Option<Account>> {
        let address = primary.clone();
        self.read(move |conn| {
            conn.prepare_cached(&format!("SELECT {ACCOUNT_COLUMNS} FROM account WHERE address = ?1"))?
                .query_row([address.as_str()], account_of)
                .optional()?
                .map(to_account)
                .transpose()
        })
        .await
    }

    async fn resolve(&self, address: &Address) -> Result<Option<AccountId>> {
        match self.shared.listeners.directory.find(address.as_str(), |route| route.account) {
            Ok(account) => Ok(Some(account)),
            Err(epoch) => self.route(address, epoch, |route| route.account).await,
        }
    }

    async fn set_alias(&self, alias: &Address, account: AccountId) -> Result<()> {
        let alias = alias.clone();
        self.write(0, move |tx| {
            exists(tx.conn, account)?;
            if primary(tx.conn, &alias)?.is_some() {
                return Err(StoreError::Exists("address"));
            }
            tx.conn
                .prepare_cached(
                    "INSERT INTO alias (address, account_id) VALUES (?1, ?2)
                     ON CONFLICT (address) DO UPDATE SET account_id = excluded.account_id",
                )?
                .execute(params![alias.as_str(), account.0])?;
            tx.rerouted();
            Ok(())
        })
        .await
    }

    async fn login(&self, primary: &Address) -> Result<Option<(AccountId, Login)>> {
        let address = primary.clone();
        self.read(move |conn| login(conn, &address)).await
    }

    async fn enrol(
        &self,
        primary: &Address,
        code_sha256: [u8; 32],
        login: Login,
        now: Timestamp,
    ) -> Result<Enrolment> {
        let address = primary.clone();
        self.write(0, move |tx| enrol(tx, &address, code_sha256, &login, now)).await
    }

    async fn is_code(&self, primary: &Address, code_sha256: [u8; 32], now: Timestamp) -> Result<bool> {
        let address = primary.clone();
        self.read(move |conn| {
            Ok(conn
                .prepare_cached(
                    "SELECT 1 FROM account WHERE address = ?1 AND code_sha256 = ?2 AND code_expires > ?3",
                )?
                .exists(params![address.as_str(), code_sha256, now.0])?)
        })
        .await
    }

    async fn key_state(&self, account: AccountId) -> Result<KeyState> {
        let chains = Arc::clone(&self.shared.chains);
        if let Some(state) = self.read(move |conn| keys::state(conn, account, Some(&chains))).await? {
            return Ok(state);
        }
        // R16: no salt is stored; the one we tell is stored first.
        self.write(0, move |tx| {
            keys::make_salt(tx.conn, account)?;
            keys::state(tx.conn, account, None)?.ok_or_else(|| damaged("key salt"))
        })
        .await
    }

    async fn public_key(&self, address: &Address) -> Result<Option<PublicKey>> {
        match self.shared.listeners.directory.find(address.as_str(), |route| route.key.clone()) {
            Ok(key) => Ok(key),
            Err(epoch) => Ok(self.route(address, epoch, |route| route.key.clone()).await?.flatten()),
        }
    }

    async fn key_chain(&self, address: &Address) -> Result<Vec<SignedStatement>> {
        let address = address.clone();
        let chains = Arc::clone(&self.shared.chains);
        self.read(move |conn| match lead(conn, &address)? {
            Some(account) => keys::read_chain(conn, account, &chains),
            None => Ok(Vec::new()),
        })
        .await
    }

    async fn reset_salt(&self, account: AccountId, generation: i64, salt: Salt) -> Result<Swap> {
        self.write(0, move |tx| keys::reset_salt(tx.conn, account, generation, &salt)).await
    }

    async fn set_key(&self, account: AccountId, change: KeyChange) -> Result<Swap> {
        let bytes = change.keyring.as_ref().map_or(0, |keyring| keyring.data.len());
        self.write(bytes, move |tx| keys::set_key(tx, account, &change)).await
    }

    async fn keyring(&self, account: AccountId) -> Result<Option<Vec<u8>>> {
        self.read(move |conn| {
            exists(conn, account)?;
            keys::keyring(conn, account)
        })
        .await
    }

    async fn put_keyring(&self, account: AccountId, keyring: StagedKeyring) -> Result<Swap> {
        self.write(keyring.data.len(), move |tx| {
            exists(tx.conn, account)?;
            keys::put_keyring(tx.conn, account, &keyring)
        })
        .await
    }

    async fn add_app_password(&self, account: AccountId, password: AppPassword) -> Result<()> {
        self.write(0, move |tx| add_app_password(tx.conn, account, &password)).await
    }

    async fn app_passwords(&self, account: AccountId) -> Result<Vec<AppPassword>> {
        self.read(move |conn| app_passwords(conn, account)).await
    }

    async fn revoke_app_password(&self, account: AccountId, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.write(0, move |tx| {
            let gone = tx
                .conn
                .prepare_cached("DELETE FROM app_password WHERE account_id = ?1 AND name = ?2")?
                .execute(params![account.0, name])?;
            if gone == 0 { Err(StoreError::Gone("app password")) } else { Ok(()) }
        })
        .await
    }

    async fn set_quota(&self, address: &Address, resource: Resource, quota: Quota) -> Result<()> {
        self.limit(address, resource, quota).await
    }

    async fn quotas(&self, account: AccountId) -> Result<Quotas> {
        self.quotas_of(account).await
    }

    async fn usage(&self, account: AccountId) -> Result<Usage> {
        self.read(move |conn| quotas::usage(conn, account)).await
    }

    async fn server_secret(&self) -> Result<[u8; 32]> {
        let stored = |conn: &Connection| -> Result<Option<[u8; 32]>> {
            conn.prepare_cached("SELECT value FROM meta WHERE name = 'server_secret'")?
                .query_row([], |row| row.get::<_, Vec<u8>>(0))
                .optional()?
                .map(|bytes| array(&bytes, "server secret"))
                .transpose()
        };
        if let Some(secret) = self.read(stored).await? {
            return Ok(secret);
        }
        self.write(0, move |tx| {
            if let Some(secret) = stored(tx.conn)? {
                return Ok(secret);
            }
            let mut secret = [0; 32];
            OsRng.fill_bytes(&mut secret);
            tx.conn
                .prepare_cached("INSERT INTO meta (name, value) VALUES ('server_secret', ?1)")?
                .execute([secret])?;
            Ok(secret)
        })
        .await
    }

    async fn domains(&self) -> Result<Vec<Domain>> {
        self.read(|conn| {
            conn.prepare_cached("SELECT DISTINCT domain FROM account ORDER BY domain")?
                .query_map([], |row| row.get::<_, String>(0))?
                .map(|row| Domain::parse(&row?).map_err(|_| damaged("domain")))
                .collect()
        })
        .await
    }
}
