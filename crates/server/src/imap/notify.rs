//! NOTIFY (RFC 5465): a client says what it wants to hear of, and hears of it whatever it is doing.
//!
//! Of the selected mailbox the session's view knows what is new ([`super::updates`]); of all others a listener of the
//! store does, and their counters are read when something happened. Nothing is kept of a mailbox.

mod tell;

use super::session::{Done, Refusal, Session, ok};
use sealpost_proto::imap::{Event, EventGroup, FetchItem, MailboxFilter, Notify, StatusItem, response::Code};
use sealpost_store::{
    events::Listener,
    mailbox::{MailboxId, MailboxInfo},
};
use std::collections::BTreeMap;

/// Most event groups in one NOTIFY; people have a handful of kinds of mailboxes.
const GROUPS_MAX: usize = 64;
/// Most names of mailboxes in one NOTIFY: each is compared with whatever changes, and held as long as the session lasts.
/// Who follows more says `personal`.
const NAMES_MAX: usize = 1000;
/// What can be heard of here: messages have no annotations.
const EVENTS: [&str; 7] = [
    "MessageNew",
    "MessageExpunge",
    "FlagChange",
    "MailboxName",
    "SubscriptionChange",
    "MailboxMetadataChange",
    "ServerMetadataChange",
];

/// What a client wants to hear of; nothing by default.
#[derive(Default)]
pub(super) struct Notified {
    /// Of the selected mailbox; `None`: it stays as the client knows it.
    selected: Option<Selected>,
    /// Of other mailboxes. All that fit a mailbox count together (RFC 5465 §6).
    others: Vec<(MailboxFilter, Wanted)>,
    /// Where there are others.
    listener: Option<Listener>,
}

/// Messages that come and go, and ...
struct Selected {
    /// Messages that are gone keep their numbers until a command lets numbers shift (§6.1).
    delayed: bool,
    /// Changes of flags.
    flags: bool,
    /// What is told of new messages, beyond their number.
    fetch: Vec<FetchItem>,
}

/// Of a mailbox that is not selected.
#[derive(Clone, Copy, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is an event that may be asked for")]
struct Wanted {
    /// MessageNew and MessageExpunge: never one of them alone.
    messages: bool,
    /// FlagChange, with both of them.
    flags: bool,
    /// MailboxName
    names: bool,
    /// SubscriptionChange
    subscriptions: bool,
    /// MailboxMetadataChange
    metadata: bool,
    /// ServerMetadataChange, of whatever mailboxes it was asked for.
    server_metadata: bool,
}

impl Wanted {
    fn of(events: &[Event]) -> Self {
        let mut wanted = Self::default();
        for event in events {
            match event {
                Event::MessageNew(_) | Event::MessageExpunge => wanted.messages = true,
                Event::FlagChange => wanted.flags = true,
                Event::MailboxName => wanted.names = true,
                Event::SubscriptionChange => wanted.subscriptions = true,
                Event::MailboxMetadataChange => wanted.metadata = true,
                Event::ServerMetadataChange => wanted.server_metadata = true,
                Event::AnnotationChange | Event::Other(_) => {}
            }
        }
        wanted
    }

    fn and(self, other: Self) -> Self {
        Self {
            messages: self.messages || other.messages,
            flags: self.flags || other.flags,
            names: self.names || other.names,
            subscriptions: self.subscriptions || other.subscriptions,
            metadata: self.metadata || other.metadata,
            server_metadata: self.server_metadata || other.server_metadata,
        }
    }

    /// What STATUS tells of a mailbox that is new to the client (§3.1).
    fn first_status(self, condstore: bool) -> Vec<StatusItem> {
        let mut items = Vec::new();
        if self.messages {
            items.extend([StatusItem::Messages, StatusItem::UidNext, StatusItem::UidValidity]);
            items.extend(self.flags.then_some(StatusItem::Unseen));
            items.extend((self.flags || condstore).then_some(StatusItem::HighestModSeq));
        }
        items
    }
}

impl Notified {
    fn new(groups: Vec<EventGroup>) -> Self {
        let mut all = Self::default();
        for EventGroup { filter, events } in groups {
            let wanted = Wanted::of(&events);
            if !filter.is_selected() {
                if !events.is_empty() {
                    all.others.push((canonical(filter), wanted));
                }
            } else if wanted.messages {
                let delayed = filter == MailboxFilter::SelectedDelayed;
                let fetch = events.into_iter().find_map(|event| match event {
                    Event::MessageNew(items) => Some(items),
                    _ => None,
                });
                let fetch = fetch.unwrap_or_default();
                all.selected = Some(Selected { delayed, flags: wanted.flags, fetch });
            }
        }
        all
    }

    /// Whether changes of flags in the selected mailbox are wanted; `None` where nothing of it is.
    pub(super) fn flags_of_selected(&self) -> Option<bool> {
        self.selected.as_ref().map(|selected| selected.flags)
    }

    /// What is wanted of a name.
    fn wanted(&self, name: &str, subscribed: bool) -> Wanted {
        let fitting = self.others.iter().filter(|(filter, _)| covers(filter, name, subscribed));
        fitting.fold(Wanted::default(), |all, (_, wanted)| all.and(*wanted))
    }

    /// Whether changes of annotations are wanted: of this name, or of the server.
    pub(super) fn wants_metadata_of(&self, mailbox: Option<(&str, bool)>) -> bool {
        match mailbox {
            Some((name, subscribed)) => self.wanted(name, subscribed).metadata,
            None => self.others.iter().any(|(_, wanted)| wanted.server_metadata),
        }
    }

    fn wants_metadata(&self) -> bool {
        self.others.iter().any(|(_, wanted)| wanted.metadata || wanted.server_metadata)
    }
}

/// Names as the store has them.
fn canonical(filter: MailboxFilter) -> MailboxFilter {
    let names = |names: Vec<_>| names.into_iter().map(|name| super::list::canonical(&name)).collect();
    match filter {
        MailboxFilter::Subtree(all) => MailboxFilter::Subtree(names(all)),
        MailboxFilter::Mailboxes(all) => MailboxFilter::Mailboxes(names(all)),
        other => other,
    }
}

/// Whether a name, as it is now, is one of those that a filter means (§6).
fn covers(filter: &MailboxFilter, name: &str, subscribed: bool) -> bool {
    match filter {
        MailboxFilter::Selected | MailboxFilter::SelectedDelayed => false,
        // Mail is delivered there and nowhere else.
        MailboxFilter::Inboxes => name == "INBOX",
        MailboxFilter::Personal => true,
        MailboxFilter::Subscribed => subscribed,
        MailboxFilter::Subtree(roots) => {
            roots.iter().any(|root| name == root.as_str() || super::list::below(name, root.as_str()))
        }
        MailboxFilter::Mailboxes(names) => names.iter().any(|one| name == one.as_str()),
    }
}

impl Session {
    pub(super) async fn notify(&mut self, notify: Notify) -> Result<Done, Refusal> {
        let account = self.account()?;
        let Notify::Set { status, groups } = notify else {
            self.notify = Some(Box::default());
            return ok("NOTIFY done");
        };
        let names: usize = groups.iter().map(|group| group.filter.names().len()).sum();
        if groups.len() > GROUPS_MAX || names > NAMES_MAX {
            return Err(Refusal::no(
                Code::Limit,
                format!(
                    "a NOTIFY has up to {GROUPS_MAX} groups and {NAMES_MAX} names; use personal or subtree"
                ),
            ));
        }
        let mut events = groups.iter().flat_map(|group| &group.events);
        if events.any(|event| !EVENTS.contains(&event.name())) {
            let code = Code::BadEvent(EVENTS.join(" "));
            return Err(Refusal::no(code, "one of these events cannot be heard of here"));
        }
        let mut notified = Notified::new(groups);
        if notified.selected.as_ref().is_some_and(|selected| selected.fetch.contains(&FetchItem::ModSeq)) {
            self.enable_condstore();
        }
        if notified.wants_metadata() {
            self.hear_of_metadata(account);
        }
        if !notified.others.is_empty() {
            // Before the counters are read: what changes after is heard of.
            let listener = self.ctx.store.listen(account);
            // What the session does itself it need not hear of (§5).
            self.ctx.store = self.ctx.store.unheard_by(&listener);
            notified.listener = Some(listener);
        }
        if status {
            self.first_statuses(&notified).await?;
        }
        self.notify = Some(Box::new(notified));
        // §3.1: what has gathered in the selected mailbox is told at once, as by NOOP.
        self.expect_changes();
        ok("NOTIFY done")
    }

    /// The counters of every mailbox that is watched and not selected (§3.1).
    async fn first_statuses(&mut self, notified: &Notified) -> Result<(), Refusal> {
        let mailboxes = self.ctx.store.mailboxes(self.account()?).await?;
        let mut watched = BTreeMap::new();
        for mailbox in &mailboxes {
            let wanted = notified.wanted(&mailbox.name, mailbox.subscribed);
            watched.insert(mailbox.id, wanted.first_status(false));
        }
        self.write_statuses(&mailboxes, &watched).await
    }

    /// STATUS of some mailboxes, in their order, each with what it is to tell: nothing of the selected one.
    async fn write_statuses(
        &mut self,
        mailboxes: &[MailboxInfo],
        items: &BTreeMap<MailboxId, Vec<StatusItem>>,
    ) -> Result<(), Refusal> {
        let selected = self.selected.as_ref().map(|view| view.id);
        let told: Vec<&MailboxInfo> = mailboxes
            .iter()
            .filter(|mailbox| Some(mailbox.id) != selected)
            .filter(|mailbox| items.get(&mailbox.id).is_some_and(|items| !items.is_empty()))
            .collect();
        let ids: Vec<MailboxId> = told.iter().map(|mailbox| mailbox.id).collect();
        let statuses = self.ctx.store.statuses(&ids).await?;
        for (mailbox, status) in told.into_iter().zip(statuses) {
            let name = sealpost_proto::imap::MailboxName::new(mailbox.name.as_str());
            if let (Some(name), Some(status), Some(items)) = (name, status, items.get(&mailbox.id)) {
                self.write_status(&name, mailbox.id, &status, items).await?;
            }
        }
        Ok(())
    }
}
