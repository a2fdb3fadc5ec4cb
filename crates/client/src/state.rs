//! What a command loads from the folder, changes, and writes back.

use crate::{
    client::{Client, Settings},
    error::ClientError,
    folder::{Folder, Locked, Stored},
    memory::Memory,
    secrets::Secrets,
    stored,
    trust::{Trust, facts::OwnKeys},
    ui::Ui,
    vault::{Place, Vault},
};
use sealpost_crypto::key::SecretKey;
use sealpost_lookup::{Lookup, LookupConfig};
use sealpost_proto::address::Address;
use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, path::PathBuf, sync::Arc};

/// `account.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    /// The account's primary address.
    #[serde(with = "stored::address")]
    pub address: Address,
    /// `--dns` of `enrol` or `login`.
    pub dns: Option<SocketAddr>,
    /// `--ca-file`, absolute, since later commands may run elsewhere.
    pub ca_file: Option<PathBuf>,
    /// `--mx-port`
    pub mx_port: Option<u16>,
    /// Names of home servers that nothing binds to the domain and that the user confirmed (profile §7).
    #[serde(default)]
    pub confirmed_servers: Vec<String>,
    /// `--no-keyring`: nothing is written to the server's keyring.
    #[serde(default)]
    pub no_keyring: bool,
}

impl Stored for Account {
    const NAME: &'static str = "account.json";
}

impl Account {
    /// A new one with the command's settings.
    pub(crate) fn new(address: Address, settings: &Settings) -> Result<Self, ClientError> {
        let ca_file = match &settings.ca_file {
            Some(path) => Some(std::path::absolute(path).map_err(|e| ClientError::Folder {
                what: "cannot find",
                path: path.clone(),
                reason: e.to_string(),
            })?),
            None => None,
        };
        Ok(Self {
            address,
            dns: settings.dns,
            ca_file,
            mx_port: settings.mx_port,
            confirmed_servers: Vec::new(),
            no_keyring: false,
        })
    }

    /// Look-ups as remembered, or as this command's options say.
    pub(crate) fn lookup(&self, client: &Client) -> Result<Lookup, ClientError> {
        let settings = &client.settings;
        let config = LookupConfig {
            dns: settings.dns.or(self.dns),
            ca_file: settings.ca_file.clone().or_else(|| self.ca_file.clone()),
            mx_port: settings.mx_port.or(self.mx_port),
            ..LookupConfig::default()
        };
        let clock = sealpost_lookup::Settings {
            clock: Arc::clone(&client.env.clock),
            ..sealpost_lookup::Settings::default()
        };
        let lookup = Lookup::with_settings(config, clock).map_err(|e| ClientError::Refused(e.to_string()))?;
        Ok(match &client.env.tap {
            Some(tap) => lookup.with_tap(Arc::clone(tap)),
            None => lookup,
        })
    }
}

/// The folder's content, held by a command that may change it.
pub(crate) struct State {
    pub locked: Locked,
    pub account: Account,
    pub secrets: Secrets,
    pub trust: Trust,
    pub memory: Memory,
    place: Place,
    vault: Arc<Vault>,
    ui: Arc<dyn Ui>,
}

/// The same for commands that only look.
pub(crate) struct Snapshot {
    pub account: Account,
    pub secrets: Secrets,
    pub trust: Trust,
}

impl Snapshot {
    /// Reads the folder without locking it.
    pub(crate) fn load(client: &Client) -> Result<Self, ClientError> {
        Self::load_with_place(client).map(|(snapshot, _)| snapshot)
    }

    fn load_with_place(client: &Client) -> Result<(Self, Place), ClientError> {
        let folder = Folder::new(&client.settings.dir);
        let account = folder.read::<Account>()?.ok_or_else(|| no_account(client))?;
        let (secrets, place) = client.vault.load(&folder)?;
        if secrets.current_public().is_none() {
            return Err(no_account(client));
        }
        let trust = folder.read()?.unwrap_or_default();
        Ok((Self { account, secrets, trust }, place))
    }
}

pub(crate) fn no_account(client: &Client) -> ClientError {
    ClientError::NoAccount(client.settings.dir.clone())
}

impl State {
    /// Locks and reads the folder of an account that is set up.
    pub(crate) async fn load(client: &Client) -> Result<Self, ClientError> {
        let folder = Folder::new(&client.settings.dir);
        if folder.read::<Account>()?.is_none() {
            return Err(no_account(client));
        }
        let locked = folder.lock(&client.env.ui).await?;
        let (Snapshot { account, secrets, trust }, place) = Snapshot::load_with_place(client)?;
        let memory = Memory::open(&locked)?;
        let (vault, ui) = (Arc::clone(&client.vault), Arc::clone(&client.env.ui));
        Ok(Self { locked, account, secrets, trust, memory, place, vault, ui })
    }

    /// Locks the folder for `enrol` or `login`, making it where it does not exist; whatever an earlier, unfinished
    /// attempt left is kept.
    pub(crate) async fn prepare(client: &Client, address: &Address) -> Result<Self, ClientError> {
        let folder = Folder::new(&client.settings.dir);
        folder.create()?;
        let locked = folder.lock(&client.env.ui).await?;
        let mut account = Account::new(address.clone(), &client.settings)?;
        if let Some(known) = locked.read::<Account>()? {
            if known.address != *address {
                return Err(ClientError::OtherAccount(known.address));
            }
            account.dns = account.dns.or(known.dns);
            account.ca_file = account.ca_file.or(known.ca_file);
            account.mx_port = account.mx_port.or(known.mx_port);
            account.confirmed_servers = known.confirmed_servers;
            account.no_keyring = known.no_keyring;
        }
        let (secrets, place) = client.vault.load(&locked)?;
        let trust = locked.read()?.unwrap_or_default();
        let memory = Memory::open(&locked)?;
        let (vault, ui) = (Arc::clone(&client.vault), Arc::clone(&client.env.ui));
        Ok(Self { locked, account, secrets, trust, memory, place, vault, ui })
    }

    /// Writes everything. Secrets go first: what they hold cannot be had again.
    pub(crate) fn save(&mut self) -> Result<(), ClientError> {
        self.vault.save(&self.locked, &self.secrets, &mut self.place, &self.account.address, &self.ui)?;
        self.memory.save()?;
        self.locked.write(&self.trust)?;
        self.locked.write(&self.account)
    }

    /// The current key.
    pub(crate) fn key(&self) -> Result<SecretKey, ClientError> {
        let seed = self.secrets.current.as_ref().and_then(|c| c.key.as_ref());
        seed.map(crate::secrets::Seed::key).ok_or_else(|| {
            ClientError::Refused("this device has no key yet; run `sealpost login`".to_owned())
        })
    }

    /// One's own addresses and keys.
    pub(crate) fn own_keys(&self) -> OwnKeys {
        own_keys(&self.account, &self.secrets, &self.trust)
    }
}

/// One's own addresses and keys: for these no look-up is made (profile §6).
pub(crate) fn own_keys(account: &Account, secrets: &Secrets, trust: &Trust) -> OwnKeys {
    let mut addresses = vec![account.address.clone()];
    if let Some(statement) = trust.own.as_ref().and_then(crate::trust::Own::statement) {
        for address in &statement.statement().addresses {
            if !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
    }
    OwnKeys {
        addresses,
        current: secrets.current_public(),
        retired: secrets.retired.iter().map(|r| (r.key().public(), r.until)).collect(),
    }
}
