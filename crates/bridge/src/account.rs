//! An account that the bridge serves: its client, its index, and the opening of messages.

use crate::{
    gate::{Activity, GRACE},
    index::{Index, IndexError, Place},
};
use sealpost_client::{
    bridge::{BridgeSecrets, Identity, Judging, Moment},
    client::Client,
    error::ClientError,
};
use sealpost_proto::address::Address;
use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::Path,
    sync::{Arc, Mutex},
};
use subtle::ConstantTimeEq as _;
use tokio::sync::watch;
use zeroize::Zeroizing;

/// Folder for the bridge's own files, in the client's.
pub(crate) const FOLDER: &str = "bridge";
/// The index's file.
pub(crate) const INDEX: &str = "index.sqlite";

/// Why the bridge could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BridgeError {
    /// The client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The index.
    #[error(transparent)]
    Index(Box<dyn std::error::Error + Send + Sync>),
    /// A file, a socket.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The bridge's settings.
    #[error("{0}")]
    Settings(String),
}

impl From<IndexError> for BridgeError {
    fn from(e: IndexError) -> Self {
        Self::Index(Box::new(e))
    }
}

/// An account.
pub(crate) struct Account {
    pub(crate) client: Client,
    pub(crate) address: Address,
    /// For mail programs on this machine; never the account's own.
    password: Zeroizing<String>,
    pub(crate) index: Index,
    /// The identity at some moment.
    known: Mutex<Option<(Moment, Arc<Identity>)>>,
    activity: Arc<Activity>,
    alive: watch::Receiver<()>,
}

impl Account {
    pub(crate) fn open(
        client: Client,
        folder: &Path,
        secrets: &BridgeSecrets,
        rebuild: bool,
        activity: Arc<Activity>,
        alive: watch::Receiver<()>,
    ) -> Result<Arc<Self>, BridgeError> {
        let identity = client.identity()?;
        let own = folder.join(FOLDER);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&own)?;
        let index = own.join(INDEX);
        if rebuild {
            Index::remove(&index)?;
        }
        let index = Index::open(&index, secrets.index_key())?;
        let (address, password) = (identity.address, secrets.password.clone());
        Ok(Arc::new(Self { client, address, password, index, known: Mutex::default(), activity, alive }))
    }

    /// A person had something done with mail.
    pub(crate) fn touch(&self) {
        self.activity.touch();
    }

    /// Comes back once the account is locked.
    pub(crate) async fn locked(&self) {
        let mut alive = self.alive.clone();
        // Nothing is ever sent: it ends when the other side is dropped.
        while alive.changed().await.is_ok() {}
    }

    /// The same, when sessions have had their time to end.
    pub(crate) async fn cut(&self) {
        self.locked().await;
        tokio::time::sleep(GRACE).await;
    }

    /// What mail programs sign in with.
    pub(crate) fn password(&self) -> Zeroizing<String> {
        self.password.clone()
    }

    /// Whether a mail program may come in.
    pub(crate) fn lets_in(&self, user: &str, password: &[u8]) -> bool {
        let known = Address::parse(user).is_ok_and(|address| address == self.address);
        // Both are looked at, whichever is wrong.
        let right = bool::from(password.ct_eq(self.password.as_bytes()));
        known & right
    }

    /// Who this is. Read anew only where the client's folder has changed: its memory of messages may be long.
    pub(crate) fn identity(&self) -> Result<Arc<Identity>, BridgeError> {
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Before it is read: a change meanwhile is then seen the next time.
        let now = self.client.moment();
        if let Some((moment, identity)) = &*known
            && *moment == now
        {
            return Ok(identity.clone());
        }
        let identity = Arc::new(self.client.identity()?);
        *known = Some((now, identity.clone()));
        Ok(identity)
    }

    pub(crate) async fn judging(&self) -> Result<Judging, BridgeError> {
        Ok(self.client.judging().await?)
    }

    /// A mailbox's place in the index.
    pub(crate) fn place(&self, mailbox: &str, uid_validity: u32) -> Result<Place, BridgeError> {
        let place = self.index.place(mailbox, uid_validity)?;
        self.index.forget_other_lives(&place)?;
        Ok(place)
    }
}
