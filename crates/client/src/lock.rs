//! `lock` and `unlock`: whether this device opens mail without the password.

use crate::{
    client::Client,
    error::ClientError,
    folder::{Folder, Locked},
    keystore::KeyStoreError,
    secrets::Secrets,
    state::{Account, no_account},
    vault::{Kept, Place, Sealed},
};
use sealpost_crypto::kdf::Password;
use sealpost_proto::address::Address;
use std::fmt;

/// Who looks after the secrets of this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Custody {
    /// A file that only its owner reads.
    File,
    /// The desktop's key store.
    KeyStore,
    /// Nobody: the password opens them.
    Locked,
}

impl fmt::Display for Custody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "in a file that only you can read",
            Self::KeyStore => "sealed; the key is in the desktop's key store",
            Self::Locked => "locked; the password opens them",
        })
    }
}

/// What `lock` did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockReport {
    /// It was locked before.
    pub already: bool,
    /// An entry that the key store did not forget. It opens nothing any more, unless `still_opens`.
    pub left: Option<KeyStoreError>,
    /// The key store could not be asked for the key, so its entry could not be made worthless.
    pub still_opens: bool,
}

impl Client {
    pub(crate) async fn lock_device(&self) -> Result<LockReport, ClientError> {
        let (_, locked, kept) = self.held().await?;
        let report = |left, still_opens| LockReport { already: false, left, still_opens };
        match kept {
            Kept::Sealed(sealed) if sealed.entry().is_none() => {
                self.vault.forget();
                Ok(LockReport { already: true, left: None, still_opens: false })
            }
            Kept::Open(secrets) => Ok(report(self.vault.lock(&locked, &secrets, &Place::File)?, false)),
            Kept::Sealed(sealed) => match self.vault.load(&locked) {
                Ok((secrets, place)) => Ok(report(self.vault.lock(&locked, &secrets, &place)?, false)),
                Err(ClientError::KeyStore(_)) => {
                    let left = self.vault.close(&locked, sealed)?;
                    Ok(report(left.clone(), left.is_some()))
                }
                Err(error) => Err(error),
            },
        }
    }

    pub(crate) async fn unlock_device(&self, password: &Password) -> Result<Custody, ClientError> {
        let (address, locked, kept) = self.held().await?;
        let secrets = match kept {
            Kept::Open(secrets) => *secrets,
            Kept::Sealed(sealed) => {
                let secrets = self.open_with_password(&sealed, &address, password).await?;
                if let Some(entry) = sealed.entry() {
                    // Its key is not to stay behind where it can be reached after all.
                    drop(self.vault.remove(entry));
                }
                secrets
            }
        };
        self.keep_safe(&locked, &secrets, &address)
    }

    pub(crate) async fn put_secrets_away(&self) -> Result<Custody, ClientError> {
        let (address, locked, kept) = self.held().await?;
        match kept {
            Kept::Open(secrets) => self.keep_safe(&locked, &secrets, &address),
            Kept::Sealed(sealed) => Ok(custody(&sealed)),
        }
    }

    pub(crate) fn show_custody(&self) -> Result<Custody, ClientError> {
        match Kept::read(&Folder::new(&self.settings.dir))? {
            None => Err(no_account(self)),
            Some(Kept::Open(_)) => Ok(Custody::File),
            Some(Kept::Sealed(sealed)) => Ok(custody(&sealed)),
        }
    }

    /// Takes the folder's lock and looks what lies there.
    async fn held(&self) -> Result<(Address, Locked, Kept), ClientError> {
        let folder = Folder::new(&self.settings.dir);
        if folder.read::<Account>()?.is_none() {
            return Err(no_account(self));
        }
        let locked = folder.lock(&self.env.ui).await?;
        let account = locked.read::<Account>()?.ok_or_else(|| no_account(self))?;
        let kept = Kept::read(&locked)?.ok_or_else(|| no_account(self))?;
        Ok((account.address, locked, kept))
    }

    /// Writes secrets to wherever they are best kept.
    fn keep_safe(
        &self,
        locked: &Locked,
        secrets: &Secrets,
        address: &Address,
    ) -> Result<Custody, ClientError> {
        let mut place = Place::New;
        self.vault.save(locked, secrets, &mut place, address, &self.env.ui)?;
        Ok(match place {
            Place::KeyStore { .. } => Custody::KeyStore,
            Place::New | Place::File => Custody::File,
        })
    }

    async fn open_with_password(
        &self,
        sealed: &Sealed,
        address: &Address,
        password: &Password,
    ) -> Result<Secrets, ClientError> {
        for door in sealed.doors() {
            let key = self.derive_key(address, password, &door.salt, door.cost).await?;
            if key.public() == door.key {
                return sealed.open_with(door, &key).ok_or_else(|| {
                    ClientError::Refused(
                        "the secrets of this device are damaged; log in in a new folder (--dir)".to_owned(),
                    )
                });
            }
        }
        Err(ClientError::SignIn(format!(
            "that is not the password of {address} that this device knows. If it was changed on another device since, give \
             the one before, then run `sealpost login {address}`"
        )))
    }
}

fn custody(sealed: &Sealed) -> Custody {
    if sealed.entry().is_some() { Custody::KeyStore } else { Custody::Locked }
}
