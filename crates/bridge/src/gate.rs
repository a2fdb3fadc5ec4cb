//! Whether the bridge may open mail: for each account its open index and client, or nothing while it is locked.

use crate::{
    account::{Account, BridgeError},
    imap::background::{self, Progress},
};
use sealpost_client::{client::Client, error::ClientError, lock::Custody};
use sealpost_proto::{
    address::Address,
    time::{Clock, Timestamp},
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};

/// How long a session may go on with what it is doing when its account is locked.
pub(crate) const GRACE: Duration = Duration::from_secs(3);

/// When a person last had the bridge do something with mail. What programs do by themselves, as looking for new mail,
/// does not count: else an account would never be locked.
pub(crate) struct Activity {
    clock: Arc<dyn Clock>,
    last: AtomicI64,
}

impl Activity {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        let last = AtomicI64::new(clock.now().0);
        Arc::new(Self { clock, last })
    }

    /// Now.
    pub(crate) fn touch(&self) {
        self.last.store(self.clock.now().0, Ordering::Relaxed);
    }

    /// Whether so many seconds went by without any. By the clock on the wall, so that a machine that slept locks when it
    /// wakes; one that was set back begins anew.
    fn rests(&self, seconds: i64) -> bool {
        let (now, last) = (self.clock.now(), Timestamp(self.last.load(Ordering::Relaxed)));
        if now < last {
            self.touch();
            return false;
        }
        now.0.saturating_sub(last.0) >= seconds
    }
}

/// Why nobody comes in.
pub(crate) enum NoEntry {
    /// No such address and password.
    Wrong,
    /// The account is locked, or its secrets cannot be had; in words.
    Closed(String),
}

enum State {
    Locked,
    Open {
        account: Arc<Account>,
        /// What ends with it: the index made in the background.
        _tasks: JoinSet<()>,
        /// Sessions hear when it is dropped.
        _alive: watch::Sender<()>,
    },
}

/// An account that may be locked.
pub(crate) struct Slot {
    client: Client,
    folder: PathBuf,
    pub(crate) address: Address,
    progress: Option<watch::Sender<Progress>>,
    activity: Arc<Activity>,
    state: Mutex<State>,
    /// Told when it is locked.
    closed: Arc<Notify>,
    /// One opens it at a time: two would have two indices.
    opening: tokio::sync::Mutex<()>,
}

impl Slot {
    /// Locked. `progress` is where the index made in the background tells how far it is.
    pub(crate) fn new(
        client: Client,
        folder: PathBuf,
        progress: Option<watch::Sender<Progress>>,
        activity: Arc<Activity>,
        closed: Arc<Notify>,
    ) -> Result<Self, BridgeError> {
        let address = client.address()?;
        let (state, opening) = (Mutex::new(State::Locked), tokio::sync::Mutex::new(()));
        Ok(Self { client, folder, address, progress, activity, state, closed, opening })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client's folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The account, if it is open.
    pub(crate) fn account(&self) -> Option<Arc<Account>> {
        match &*self.state() {
            State::Open { account, .. } => Some(account.clone()),
            State::Locked => None,
        }
    }

    /// The account, opened where the device allows it.
    pub(crate) async fn open(&self, rebuild: bool) -> Result<Arc<Account>, BridgeError> {
        let _one = self.opening.lock().await;
        if let Some(account) = self.account() {
            return Ok(account);
        }
        // A key store may take its time, which is no other session's.
        let client = self.client.clone();
        let known = tokio::task::spawn_blocking(move || client.known_bridge_secrets());
        let secrets = match known.await.map_err(io::Error::other)?? {
            Some(secrets) => secrets,
            None => self.client.bridge_secrets().await?,
        };
        let (sender, alive) = watch::channel(());
        let (client, activity) = (self.client.clone(), self.activity.clone());
        let account = Account::open(client, &self.folder, &secrets, rebuild, activity, alive)?;
        let mut tasks = JoinSet::new();
        if let Some(progress) = self.progress.clone() {
            tasks.spawn(background::keep_complete(account.clone(), progress));
        }
        *self.state() = State::Open { account: account.clone(), _tasks: tasks, _alive: sender };
        Ok(account)
    }

    /// Lets go of the keys; sessions end.
    fn close(&self) {
        let open = std::mem::replace(&mut *self.state(), State::Locked);
        self.client.forget();
        if let State::Open { .. } = open {
            self.closed.notify_one();
        }
    }

    /// Locks the device for this account, as `sealpost lock` does.
    pub(crate) async fn lock(&self) -> Result<(), BridgeError> {
        self.close();
        self.client.lock().await?;
        Ok(())
    }
}

/// All accounts.
pub(crate) struct Gate {
    pub(crate) slots: Vec<Slot>,
    activity: Arc<Activity>,
    /// After so many seconds of rest all are locked.
    lock_after: Option<i64>,
}

impl Gate {
    pub(crate) fn new(slots: Vec<Slot>, activity: Arc<Activity>, lock_after: Option<Duration>) -> Self {
        let lock_after = lock_after.map(|after| i64::try_from(after.as_secs()).unwrap_or(i64::MAX));
        Self { slots, activity, lock_after }
    }

    /// Those that are open.
    pub(crate) fn accounts(&self) -> Vec<Arc<Account>> {
        self.slots.iter().filter_map(Slot::account).collect()
    }

    /// A mail program signs in.
    pub(crate) async fn enter(&self, user: &str, password: &[u8]) -> Result<Arc<Account>, NoEntry> {
        let asked = Address::parse(user).ok();
        let Some(slot) = self.slots.iter().find(|slot| Some(&slot.address) == asked.as_ref()) else {
            return Err(NoEntry::Wrong);
        };
        // While it is locked nobody knows the right password.
        let account = slot.open(false).await.map_err(|error| match error {
            BridgeError::Client(ClientError::Locked) => NoEntry::Closed(LOCKED.to_owned()),
            other => NoEntry::Closed(other.to_string()),
        })?;
        if account.lets_in(user, password) { Ok(account) } else { Err(NoEntry::Wrong) }
    }

    /// Looked at from time to time: whether somebody locked a device without a word, and whether it is time to.
    pub(crate) async fn look(&self) {
        let rests = self.lock_after.is_some_and(|after| self.activity.rests(after));
        for slot in self.slots.iter().filter(|slot| slot.account().is_some()) {
            if rests {
                tracing::info!("{} is locked, since no mail was read or sent for a while", slot.address);
                if let Err(error) = slot.lock().await {
                    tracing::warn!("{} could not be locked: {error}", slot.address);
                }
            } else if matches!(slot.client.custody(), Ok(Custody::Locked)) {
                slot.close();
            }
        }
    }
}

/// What mail programs show of a locked device.
pub(crate) const LOCKED: &str = "This device is locked. Run \"sealpost unlock\" and try again";

#[cfg(test)]
mod tests {
    use super::*;

    struct Wall(AtomicI64);

    impl Clock for Wall {
        fn now(&self) -> Timestamp {
            Timestamp(self.0.load(Ordering::Relaxed))
        }
    }

    #[test]
    fn rest_is_what_went_by_since_somebody_did_something() {
        let clock = Arc::new(Wall(AtomicI64::new(1_000)));
        let activity = Activity::new(clock.clone());
        let at = |seconds| {
            clock.0.store(seconds, Ordering::Relaxed);
            activity.rests(60)
        };
        assert!(!at(1_059) && at(1_060) && at(9_999), "one below, and at the limit");
        activity.touch();
        assert!(!at(10_058) && at(10_059));
        // Set back by an hour: counted from there.
        assert!(!at(6_000) && !at(6_059) && at(6_060));
    }
}
