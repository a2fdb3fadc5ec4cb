//! Where addresses lead, remembered: every RCPT and every PUBKEY asks, and the answer seldom changes.

use crate::account::AccountId;
use sealpost_proto::{address::Address, key::PublicKey};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Addresses remembered; some 10 MB at most. When they are more, it starts anew.
const ROUTES_MAX: usize = 32 * 1024;

/// What an address of ours leads to.
pub(super) struct Route {
    pub(super) account: AccountId,
    pub(super) key: Option<PublicKey>,
}

/// Only addresses that lead somewhere: who tries out names cannot push others out of it.
#[derive(Default)]
pub(super) struct Directory(Mutex<State>);

#[derive(Default)]
struct State {
    /// Moves on with each change of what is remembered here, so that what was read before the change is not kept
    /// after it.
    epoch: Epoch,
    routes: HashMap<String, Route>,
}

/// When a look into the tables began.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Epoch(u64);

impl Directory {
    /// What `pick` takes of the route; where the address is not known, the epoch to [`Directory::learn`] it in.
    pub(super) fn find<T>(&self, address: &Address, pick: impl FnOnce(&Route) -> T) -> Result<T, Epoch> {
        let state = self.lock();
        state.routes.get(address.as_str()).map(pick).ok_or(state.epoch)
    }

    /// Remembers a route that was read after `epoch` was given out, unless something has changed since.
    pub(super) fn learn(&self, epoch: Epoch, address: &Address, route: Route) {
        let mut state = self.lock();
        if state.epoch != epoch {
            return;
        }
        if state.routes.len() >= ROUTES_MAX {
            state.routes.clear();
        }
        state.routes.insert(address.as_str().to_owned(), route);
    }

    /// An account, an alias or a key has changed, or may have: called after the commit and before anybody is told
    /// of it.
    pub(super) fn forget(&self) {
        let mut state = self.lock();
        state.epoch.0 = state.epoch.0.wrapping_add(1);
        state.routes.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).expect("an address")
    }

    fn route(id: i64) -> Route {
        Route { account: AccountId(id), key: None }
    }

    #[test]
    fn what_was_read_before_a_change_is_not_kept_after_it() {
        let (directory, alice) = (Directory::default(), address("alice@example.net"));
        let before = directory.find(&alice, |_| ()).expect_err("nothing is known");
        directory.forget();
        directory.learn(before, &alice, route(1));
        let after = directory.find(&alice, |_| ()).expect_err("the old route was not kept");
        directory.learn(after, &alice, route(2));
        assert!(directory.find(&alice, |route| route.account).is_ok_and(|id| id == AccountId(2)));
        directory.forget();
        assert!(directory.find(&alice, |_| ()).is_err());
    }

    #[test]
    fn stays_bounded() {
        let directory = Directory::default();
        for i in 0..=ROUTES_MAX {
            directory.learn(Epoch(0), &address(&format!("u{i}@example.net")), route(1));
        }
        assert!(directory.lock().routes.len() <= ROUTES_MAX);
    }
}
