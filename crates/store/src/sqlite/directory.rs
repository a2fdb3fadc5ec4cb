//! What is asked with every command and seldom changes, remembered: where addresses lead, for every RCPT and PUBKEY, and
//! which mailbox has a name, for every APPEND and STATUS.

use crate::{account::AccountId, mailbox::MailboxId};
use sealpost_proto::key::PublicKey;
use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Things remembered; some 10 MB at most. When they are more, it starts anew.
const REMEMBERED_MAX: usize = 32 * 1024;

/// What an address of ours leads to.
pub(super) struct Route {
    pub(super) account: AccountId,
    pub(super) key: Option<PublicKey>,
}

/// Addresses in their canonical form.
pub(super) type Directory = Remembered<String, Route>;

/// Mailboxes by their owner and canonical name.
pub(super) type Names = Remembered<(AccountId, String), MailboxId>;

/// Only what is there: who tries out names cannot push others out of it.
pub(super) struct Remembered<K, V>(Mutex<State<K, V>>);

struct State<K, V> {
    /// Moves on with each change of what is remembered here, so that what was read before the change is not kept
    /// after it.
    epoch: Epoch,
    known: HashMap<K, V>,
}

/// When a look into the tables began.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Epoch(u64);

impl<K, V> Default for Remembered<K, V> {
    fn default() -> Self {
        Self(Mutex::new(State { epoch: Epoch::default(), known: HashMap::new() }))
    }
}

impl<K: Hash + Eq, V> Remembered<K, V> {
    /// What `pick` takes of it; where nothing is known, the epoch to [`Remembered::learn`] it in.
    pub(super) fn find<Q, T>(&self, key: &Q, pick: impl FnOnce(&V) -> T) -> Result<T, Epoch>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let state = self.lock();
        state.known.get(key).map(pick).ok_or(state.epoch)
    }

    /// Remembers what was read after `epoch` was given out, unless something has changed since.
    pub(super) fn learn(&self, epoch: Epoch, key: K, value: V) {
        let mut state = self.lock();
        if state.epoch != epoch {
            return;
        }
        if state.known.len() >= REMEMBERED_MAX {
            state.known.clear();
        }
        state.known.insert(key, value);
    }

    /// Something of the kind has changed, or may have: called after the commit and before anybody is told of it.
    pub(super) fn forget(&self) {
        let mut state = self.lock();
        state.epoch.0 = state.epoch.0.wrapping_add(1);
        state.known.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(id: i64) -> Route {
        Route { account: AccountId(id), key: None }
    }

    #[test]
    fn what_was_read_before_a_change_is_not_kept_after_it() {
        let (directory, alice) = (Directory::default(), "alice@example.net".to_owned());
        let before = directory.find(alice.as_str(), |_| ()).expect_err("nothing is known");
        directory.forget();
        directory.learn(before, alice.clone(), route(1));
        let after = directory.find(alice.as_str(), |_| ()).expect_err("the old route was not kept");
        directory.learn(after, alice.clone(), route(2));
        assert!(directory.find(alice.as_str(), |route| route.account).is_ok_and(|id| id == AccountId(2)));
        directory.forget();
        assert!(directory.find(alice.as_str(), |_| ()).is_err());
    }

    #[test]
    fn stays_bounded() {
        let directory = Directory::default();
        for i in 0..=REMEMBERED_MAX {
            directory.learn(Epoch(0), format!("u{i}@example.net"), route(1));
        }
        assert!(directory.lock().known.len() <= REMEMBERED_MAX);
    }
}
