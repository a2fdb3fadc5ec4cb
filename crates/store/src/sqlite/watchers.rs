//! Who waits for changes in an account's mailboxes: watchers, who are woken at each (IDLE), and listeners, who hear what it
//! was (NOTIFY).

use crate::{
    account::AccountId,
    events::{Event, Inbox, Listener, Origin},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};
use tokio::sync::watch;

#[derive(Default)]
pub(super) struct Watchers {
    senders: Mutex<HashMap<AccountId, watch::Sender<u64>>>,
    listeners: Mutex<Listeners>,
}

#[derive(Default)]
struct Listeners {
    /// Inboxes whose listener is gone are forgotten at the next chance.
    all: HashMap<AccountId, Vec<(Origin, Weak<Inbox>)>>,
    /// The last one given out.
    origin: Origin,
}

/// An event, where it happened, and who made it.
pub(super) type Told = (AccountId, Origin, Event);

impl Watchers {
    pub(super) fn watch(&self, account: AccountId) -> watch::Receiver<u64> {
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        senders.entry(account).or_insert_with(|| watch::Sender::new(0)).subscribe()
    }

    fn listeners(&self) -> MutexGuard<'_, Listeners> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn listen(&self, account: AccountId) -> Listener {
        let mut listeners = self.listeners();
        listeners.origin.0 += 1;
        let (origin, inbox) = (listeners.origin, Arc::<Inbox>::default());
        let here = listeners.all.entry(account).or_default();
        here.retain(|(_, inbox)| inbox.strong_count() > 0);
        here.push((origin, Arc::downgrade(&inbox)));
        Listener::new(inbox, origin)
    }

    /// Tells listeners, but for the one who made the change, and forgets those that are gone.
    pub(super) fn tell(&self, events: &[Told]) {
        let mut listeners = self.listeners();
        if listeners.all.is_empty() {
            return;
        }
        let mut accounts: Vec<AccountId> = events.iter().map(|(account, _, _)| *account).collect();
        accounts.sort_unstable();
        accounts.dedup();
        for account in accounts {
            let Some(here) = listeners.all.get_mut(&account) else { continue };
            here.retain(|(origin, inbox)| {
                let Some(inbox) = inbox.upgrade() else { return false };
                let by_others = events.iter().filter(|(at, from, _)| *at == account && from != origin);
                inbox.put(by_others.map(|(_, _, event)| event));
                true
            });
            if here.is_empty() {
                listeners.all.remove(&account);
            }
        }
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
