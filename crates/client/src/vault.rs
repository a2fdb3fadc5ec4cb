//! How `secrets.json` keeps what it keeps.
//!
//! | kept | what opens it |
//! |---|---|
//! | in the open (0600), where there is no key store | nothing is needed |
//! | sealed, its key in the desktop's key store | the key store, or the password |
//! | locked | the password |
//!
//! A sealed file always has doors, too: its key sealed once for each key pair that a password of this account makes, the
//! one in force and one that was about to be. So a lost key store loses nothing, and locking is to forget one of the two
//! ways in.

use crate::{
    error::ClientError,
    folder::{self, Folder, Locked, Stored},
    keystore::{KeyStore, KeyStoreError},
    secrets::{Credentials, Secrets, Seed},
    stored,
    ui::Ui,
};
use sealpost_crypto::{key::SecretKey, local::LocalKey};
use sealpost_proto::{
    address::Address,
    base64,
    key::PublicKey,
    phc::{Cost, Salt},
};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use zeroize::Zeroizing;

/// What the sealed octets are, for the cipher.
const CONTENT: &[u8] = b"secrets.json";
const DOOR: &[u8] = b"secrets.json door";

/// A sealed `secrets.json`.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Sealed {
    /// The key's name in the key store; none while the device is locked.
    entry: Option<String>,
    doors: Vec<Door>,
    /// [`Secrets`], sealed; base64.
    octets: String,
}

/// A way in by the password.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Door {
    /// What the password makes the key pair with.
    #[serde(with = "stored::salt")]
    pub salt: Salt,
    #[serde(with = "crate::secrets::cost")]
    pub cost: Cost,
    /// The key pair that opens.
    #[serde(with = "stored::key")]
    pub key: PublicKey,
    /// The key of the content, sealed; base64.
    sealed: String,
}

/// The outside of `secrets.json`; a file in the open has nothing of it.
#[derive(Serialize, Deserialize)]
struct Cover {
    sealed: Option<Sealed>,
}

impl Stored for Cover {
    const NAME: &'static str = Secrets::NAME;
}

/// What lies in the folder.
pub(crate) enum Kept {
    Open(Box<Secrets>),
    Sealed(Sealed),
}

/// Where a command found the secrets, which is where they go back to.
pub(crate) enum Place {
    /// Nowhere yet: chosen when they are first written.
    New,
    /// In the open.
    File,
    /// Sealed with a key of the key store.
    KeyStore { entry: String, key: LocalKey },
}

/// The way to the secrets. It remembers the key store's key, so that a bridge need not ask for each message.
pub(crate) struct Vault {
    store: Arc<dyn KeyStore>,
    known: Mutex<Option<(String, LocalKey)>>,
}

impl Vault {
    pub(crate) fn new(store: Arc<dyn KeyStore>) -> Self {
        Self { store, known: Mutex::new(None) }
    }

    fn known(&self) -> MutexGuard<'_, Option<(String, LocalKey)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops what it remembers.
    pub(crate) fn forget(&self) {
        *self.known() = None;
    }

    /// Reads the secrets; [`ClientError::Locked`] where only the password opens them.
    pub(crate) fn load(&self, folder: &Folder) -> Result<(Secrets, Place), ClientError> {
        match Kept::read(folder)? {
            None => Ok((Secrets::default(), Place::New)),
            Some(Kept::Open(secrets)) => Ok((*secrets, Place::File)),
            Some(Kept::Sealed(sealed)) => {
                let entry = sealed.entry.clone().ok_or(ClientError::Locked)?;
                let key = self.key(&entry)?;
                let secrets = sealed.open(&key).ok_or_else(|| {
                    unusable(&"what it keeps does not open the secrets of this device".to_owned())
                })?;
                Ok((secrets, Place::KeyStore { entry, key }))
            }
        }
    }

    fn key(&self, entry: &str) -> Result<LocalKey, ClientError> {
        if let Some((known, key)) = &*self.known()
            && known == entry
        {
            return Ok(key.clone());
        }
        let key = self.store.get(entry).map_err(|e| unusable(&e))?;
        let key = key.ok_or_else(|| unusable(&"the key is no longer there"))?;
        let key = LocalKey::new(key);
        *self.known() = Some((entry.to_owned(), key.clone()));
        Ok(key)
    }

    /// Writes the secrets to their place.
    pub(crate) fn save(
        &self,
        folder: &Locked,
        secrets: &Secrets,
        place: &mut Place,
        address: &Address,
        ui: &Arc<dyn Ui>,
    ) -> Result<(), ClientError> {
        if matches!(place, Place::New) {
            *place = self.choose(address, ui);
        }
        match place {
            Place::KeyStore { entry, key } => {
                let sealed = Sealed::new(secrets, key, Some(entry.clone()))?;
                folder.write(&Cover { sealed: Some(sealed) })
            }
            Place::File | Place::New => folder.write(secrets),
        }
    }

    /// The key store where there is one that takes a key, else the folder.
    pub(crate) fn choose(&self, address: &Address, ui: &Arc<dyn Ui>) -> Place {
        let key = LocalKey::generate();
        let entry = entry_name();
        match self.store.put(&entry, &format!("Sealpost: this device's key for {address}"), key.expose()) {
            Ok(()) => {
                *self.known() = Some((entry.clone(), key.clone()));
                Place::KeyStore { entry, key }
            }
            Err(error) => {
                // That a machine has no key store is nothing to talk about.
                if error != KeyStoreError::Absent {
                    ui.say(&format!(
                        "{error}; the secrets of this device lie in a file that only you can read. `sealpost unlock` \
                         tries the key store again"
                    ));
                }
                Place::File
            }
        }
    }

    /// Writes the secrets so that only the password opens them. Says what could not be forgotten.
    pub(crate) fn lock(
        &self,
        folder: &Locked,
        secrets: &Secrets,
        place: &Place,
    ) -> Result<Option<KeyStoreError>, ClientError> {
        // With a new key: the one in the key store, or in a backup of it, opens nothing any more.
        let sealed = Sealed::new(secrets, &LocalKey::generate(), None)?;
        if sealed.doors.is_empty() {
            return Err(ClientError::Refused(
                "this device has no key yet, so no password could unlock it; finish `sealpost enrol` or `sealpost \
                 login` first"
                    .to_owned(),
            ));
        }
        folder.write(&Cover { sealed: Some(sealed) })?;
        self.forget();
        Ok(match place {
            Place::KeyStore { entry, .. } => self.store.remove(entry).err(),
            Place::New | Place::File => None,
        })
    }

    /// Locks without having opened: the entry is no longer named, and forgotten where the key store can be asked. Where it
    /// cannot, the entry still opens what lies here, which is said.
    pub(crate) fn close(
        &self,
        folder: &Locked,
        sealed: Sealed,
    ) -> Result<Option<KeyStoreError>, ClientError> {
        let entry = sealed.entry.clone();
        folder.write(&Cover { sealed: Some(Sealed { entry: None, ..sealed }) })?;
        Ok(entry.and_then(|entry| self.remove(&entry)))
    }

    /// Takes the key out of the key store's care.
    pub(crate) fn remove(&self, entry: &str) -> Option<KeyStoreError> {
        self.forget();
        self.store.remove(entry).err()
    }
}

impl Kept {
    pub(crate) fn read(folder: &Folder) -> Result<Option<Self>, ClientError> {
        // Read once: between two readings another command could have locked it.
        let Some(octets) = folder.octets(Secrets::NAME)? else { return Ok(None) };
        Ok(Some(match folder.parse::<Cover>(&octets)?.sealed {
            Some(sealed) => Self::Sealed(sealed),
            None => Self::Open(Box::new(folder.parse(&octets)?)),
        }))
    }
}

impl Sealed {
    fn new(secrets: &Secrets, key: &LocalKey, entry: Option<String>) -> Result<Self, ClientError> {
        let octets = folder::json(secrets)
            .map_err(|e| ClientError::Refused(format!("the secrets cannot be written: {e}")))?;
        let credentials = secrets.current.iter().chain(&secrets.pending);
        let doors = credentials.filter_map(|c| c.key.as_ref().map(|seed| Door::new(c, seed, key))).collect();
        Ok(Self { entry, doors, octets: base64::encode(key.seal(CONTENT, &octets)) })
    }

    fn open(&self, key: &LocalKey) -> Option<Secrets> {
        let octets = key.open(CONTENT, &base64::decode(self.octets.as_bytes()).ok()?)?;
        serde_json::from_slice(&octets).ok()
    }

    /// The key's name in the key store; none while the device is locked.
    pub(crate) fn entry(&self) -> Option<&str> {
        self.entry.as_deref()
    }

    pub(crate) fn doors(&self) -> &[Door] {
        &self.doors
    }

    /// Opens it with the key pair of a door.
    pub(crate) fn open_with(&self, door: &Door, key: &SecretKey) -> Option<Secrets> {
        let sealed = base64::decode(door.sealed.as_bytes()).ok()?;
        let octets = LocalKey::of(key).open(DOOR, &sealed)?;
        self.open(&LocalKey::new(Zeroizing::new(octets.as_slice().try_into().ok()?)))
    }
}

impl Door {
    fn new(credentials: &Credentials, seed: &Seed, content: &LocalKey) -> Self {
        let key = seed.key();
        Self {
            salt: seed.salt.clone(),
            cost: credentials.cost,
            key: key.public(),
            sealed: base64::encode(LocalKey::of(&key).seal(DOOR, content.expose())),
        }
    }
}

fn entry_name() -> String {
    // As random as a key, and of half its length.
    sealpost_crypto::hex::encode(&LocalKey::generate().expose()[..16])
}

fn unusable(why: &dyn std::fmt::Display) -> ClientError {
    ClientError::KeyStore(why.to_string())
}
