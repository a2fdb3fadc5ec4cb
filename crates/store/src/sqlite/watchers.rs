//! Who waits for changes in an account's mailboxes (IDLE).

use crate::account::AccountId;
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};
use tokio::sync::watch;

#[derive(Default)]
pub(super) struct Watchers {
    senders: Mutex<HashMap<AccountId, watch::Sender<u64>>>,
}

impl Watchers {
    pub(super) fn watch(&self, account: AccountId) -> watch::Receiver<u64> {
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        senders.entry(account).or_insert_with(|| watch::Sender::new(0)).subscribe()
    }

    /// Wakes those who watch these accounts, and forgets accounts that nobody watches.
    pub(super) fn bump(&self, touched: &mut Vec<AccountId>) {
        touched.sort_unstable();
        touched.dedup();
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        for account in touched.iter() {
            if let Some(sender) = senders.get(account) {
                if sender.receiver_count() == 0 {
                    senders.remove(account);
                } else {
                    sender.send_modify(|n| *n = n.wrapping_add(1));
                }
            }
        }
    }
}
