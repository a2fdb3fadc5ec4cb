//! The desktop's key store: where a device keeps the key of its secrets, so that who copies the disk gets neither.

mod secret_service;

pub use secret_service::{Limits, SecretService};

use zeroize::Zeroizing;

/// A place outside of the client's folder for a key of 32 octets. Called from blocking and async code alike, so
/// implementations must not need a runtime; none may wait without end.
pub trait KeyStore: Send + Sync {
    /// The key kept under a name; `None` where there is none.
    fn get(&self, name: &str) -> Result<Option<Zeroizing<[u8; 32]>>, KeyStoreError>;
    /// Keeps a key. `label` is what people see of it in the key store's own program.
    fn put(&self, name: &str, label: &str, key: &[u8; 32]) -> Result<(), KeyStoreError>;
    /// Forgets it, if it is there.
    fn remove(&self, name: &str) -> Result<(), KeyStoreError>;
}

/// Why a key store was of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyStoreError {
    /// There is none for this session.
    #[error("there is no key store in this session")]
    Absent,
    /// It is locked, and whoever was asked for its password did not give it.
    #[error("the desktop's key store is locked and was not unlocked")]
    Locked,
    /// No answer within the time limit, in seconds.
    #[error("the desktop's key store gave no answer within {0} seconds")]
    Silent(u64),
    /// It said no.
    #[error("the desktop's key store failed: {0}")]
    Failed(String),
}

/// No key store: headless machines, tests, and who wants none.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoKeyStore;

impl KeyStore for NoKeyStore {
    fn get(&self, _: &str) -> Result<Option<Zeroizing<[u8; 32]>>, KeyStoreError> {
        Err(KeyStoreError::Absent)
    }
    fn put(&self, _: &str, _: &str, _: &[u8; 32]) -> Result<(), KeyStoreError> {
        Err(KeyStoreError::Absent)
    }
    fn remove(&self, _: &str) -> Result<(), KeyStoreError> {
        Err(KeyStoreError::Absent)
    }
}
