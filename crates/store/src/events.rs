//! What happens in an account's mailboxes, for those who listen (NOTIFY): which mailboxes changed and how, not what they
//! have become. A listener at rest costs nothing but its place; one that is slow keeps each mailbox once, and is told of
//! an overflow before it keeps too much.

use crate::mailbox::MailboxId;
use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// Most mailboxes and names, together, that wait for a listener: one that is further behind has less to read when it asks
/// for everything anew.
pub const EVENTS_MAX: usize = 1000;

/// What happened to the messages of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::struct_excessive_bools, reason = "any of them may have happened")]
pub struct MessageEvents {
    /// Messages came.
    pub new: bool,
    /// Messages went.
    pub gone: bool,
    /// Flags of messages changed.
    pub flags: bool,
    /// There are more or fewer messages without \Seen than before.
    pub unseen: bool,
}

impl MessageEvents {
    /// Messages came.
    pub const NEW: Self = Self { new: true, gone: false, flags: false, unseen: false };
    /// Messages went.
    pub const GONE: Self = Self { new: false, gone: true, flags: false, unseen: false };
    /// Flags changed.
    pub const FLAGS: Self = Self { new: false, gone: false, flags: true, unseen: false };

    fn add(&mut self, other: Self) {
        self.new |= other.new;
        self.gone |= other.gone;
        self.flags |= other.flags;
        self.unseen |= other.unseen;
    }
}

/// What happened to the name of a mailbox. Children that are renamed with their parent, and messages that leave with a
/// mailbox, are not told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameEvent {
    /// A mailbox of this name was made.
    Created(String),
    /// It was removed.
    Deleted(String),
    /// It has another name; INBOX, which stays, gave its messages to a new mailbox.
    Renamed {
        /// The name before.
        from: String,
        /// The name now.
        to: String,
    },
    /// The name was subscribed to.
    Subscribed(String),
    /// It was no longer.
    Unsubscribed(String),
}

/// One of any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    Messages(MailboxId, MessageEvents),
    Name(NameEvent),
    Annotations,
}

/// What a listener has not yet been told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Events {
    /// By mailbox.
    pub messages: BTreeMap<MailboxId, MessageEvents>,
    /// In their order.
    pub names: Vec<NameEvent>,
    /// Annotations were set or removed; [`crate::annotation::Annotations::annotation_changes`] knows which.
    pub annotations: bool,
    /// There were more than [`EVENTS_MAX`]; nothing is known of any of them.
    pub overflow: bool,
}

impl Events {
    /// Nothing happened?
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.names.is_empty() && !self.annotations && !self.overflow
    }

    fn add(&mut self, event: &Event) {
        if self.overflow {
            return;
        }
        match event {
            Event::Messages(mailbox, what) => self.messages.entry(*mailbox).or_default().add(*what),
            Event::Name(name) => self.names.push(name.clone()),
            Event::Annotations => self.annotations = true,
        }
        if self.messages.len() + self.names.len() > EVENTS_MAX {
            *self = Self { overflow: true, ..Self::default() };
        }
    }
}

/// Where events wait for one listener.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    waiting: Mutex<Events>,
    wake: Notify,
}

impl Inbox {
    fn waiting(&self) -> MutexGuard<'_, Events> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Events of one commit, all at once: nobody is told a part of them.
    pub(crate) fn put<'a>(&self, events: impl Iterator<Item = &'a Event>) {
        let mut events = events.peekable();
        if events.peek().is_some() {
            let mut waiting = self.waiting();
            events.for_each(|event| waiting.add(event));
            self.wake.notify_one();
        }
    }
}

/// Hears of what happens in one account, from its making on.
#[derive(Debug)]
pub struct Listener {
    inbox: Arc<Inbox>,
    origin: Origin,
}

/// Names who made a change; [`Origin::NOBODY`] is everybody who does not listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Origin(pub(crate) u64);

impl Origin {
    pub(crate) const NOBODY: Self = Self(0);
}

impl Listener {
    pub(crate) fn new(inbox: Arc<Inbox>, origin: Origin) -> Self {
        Self { inbox, origin }
    }

    pub(crate) fn origin(&self) -> Origin {
        self.origin
    }

    /// Whether something waits.
    pub fn has_heard(&self) -> bool {
        !self.inbox.waiting().is_empty()
    }

    /// What happened since this was last asked.
    pub fn take(&self) -> Events {
        mem::take(&mut self.inbox.waiting())
    }

    /// Resolves when something waits. Cancel safe.
    pub async fn heard(&self) {
        while !self.has_heard() {
            self.inbox.wake.notified().await;
        }
    }
}
