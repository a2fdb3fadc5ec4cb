//! What is told to a client that uses NOTIFY, and when: between commands, in IDLE, and behind each command of many that
//! came together.

use super::{Notified, Selected, Wanted};
use crate::imap::{
    list::{Name, names, parents},
    session::{Event, Refusal, Session},
    view::{Pick, ranges},
};
use sealpost_proto::imap::{
    Condition, FetchItem, MailboxName, StatusItem, quote_mailbox,
    response::{self, Code},
};
use sealpost_store::{
    events::{Events, Listener, MessageEvents, NameEvent},
    mailbox::{MailboxId, MailboxInfo, Uid},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    io,
    time::Duration,
};

impl Session {
    /// Between commands: what a client that uses NOTIFY wants to hear of now.
    pub(in crate::imap) async fn tell_at_rest(&mut self) -> io::Result<()> {
        let Some(notify) = &self.notify else { return Ok(()) };
        let numbers_may_shift = notify.selected.as_ref().is_some_and(|selected| !selected.delayed);
        let view = self.selected.as_ref().filter(|_| notify.selected.is_some());
        if !view.is_some_and(|view| view.has_news(numbers_may_shift)) && !notify.has_heard() {
            return Ok(());
        }
        // In a place of its own: sessions at rest are many, and do not need the room.
        match Box::pin(self.tell(numbers_may_shift)).await {
            Err(Refusal::Io(error)) => Err(error),
            Err(Refusal::Bye(text)) => {
                self.bye(&text);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What there is to tell of the selected mailbox and of others.
    pub(in crate::imap) async fn tell(&mut self, numbers_may_shift: bool) -> Result<(), Refusal> {
        // Before anything is read: what happens meanwhile is heard of anew.
        let listener = self.notify.as_ref().and_then(|notify| notify.listener.as_ref());
        let events = listener.map(Listener::take).filter(|events| !events.is_empty());
        // What is annotated is told here too.
        self.updates(numbers_may_shift).await?;
        let Some(events) = events else { return Ok(()) };
        let Some(notify) = self.notify.take() else { return Ok(()) };
        let told = if events.overflow { None } else { Some(self.tell_events(&notify, &events).await) };
        match told {
            Some(Ok(())) => self.notify = Some(notify),
            Some(Err(error @ (Refusal::Io(_) | Refusal::Bye(_)))) => return Err(error),
            // §5.8. What could not be read is lost all the same.
            Some(Err(_)) | None => {
                let code = Some(&Code::NotificationOverflow);
                let text = "there was more than could be told; ask for everything, and for NOTIFY again";
                response::status(&mut self.out, None, Condition::Ok, code, text);
                self.notify = Some(Box::default());
            }
        }
        Ok(())
    }

    /// Waits like [`Session::wait`]; `None` where there may be something to tell: in IDLE, and to those who use NOTIFY.
    pub(in crate::imap) async fn wait_or_news(
        &mut self,
        silence: Duration,
        idle: bool,
    ) -> io::Result<Option<Event>> {
        // What may change is taken out for the wait: both it and the connection are waited for.
        let (mut view, mut heard) = (self.selected.take(), self.heard.take());
        let notify = self.notify.take();
        // With NOTIFY the listener hears of annotations.
        let enabled = idle && notify.is_none();
        let tells_selected = notify.as_ref().map_or(idle, |notify| notify.selected.is_some());
        let event = {
            let changed = async {
                match (view.as_mut().filter(|_| tells_selected), heard.as_mut().filter(|_| enabled)) {
                    // Both see every change in the account.
                    (Some(view), _) => view.changed().await,
                    (None, Some(heard)) => heard.changed().await,
                    (None, None) => pending().await,
                }
            };
            let listened = async {
                match notify.as_ref().and_then(|notify| notify.listener.as_ref()) {
                    Some(listener) => listener.heard().await,
                    None => pending().await,
                }
            };
            tokio::select! {
                event = self.wait(silence) => Some(event),
                () = changed => None,
                () = listened => None,
            }
        };
        (self.selected, self.heard, self.notify) = (view, heard, notify);
        event.transpose()
    }

    /// EXISTS was told; what the client wants to know of the messages that came (§5.2).
    pub(in crate::imap) async fn tell_arrivals(&mut self, uids: &[Uid]) -> Result<(), Refusal> {
        let selected = self.notify.as_ref().and_then(|notify| notify.selected.as_ref());
        let Some(Selected { fetch, .. }) = selected.filter(|_| !uids.is_empty()) else { return Ok(()) };
        if fetch.is_empty() {
            return Ok(());
        }
        let mut items = fetch.clone();
        // RFC 7162 §3.1, §3.2.4: what is told unasked has both.
        for (on, item) in
            [(self.enabled.condstore, FetchItem::ModSeq), (self.enabled.qresync, FetchItem::Uid)]
        {
            if on && !items.contains(&item) {
                items.push(item);
            }
        }
        let pick = Pick { ranges: ranges(uids), count: 0 };
        // The store may fail here as anywhere: the numbers were told, the client can ask for the rest.
        let told = match self.numbered().await {
            Ok(_) => Box::pin(self.fetch_picked(&pick, &items)).await.map(drop),
            Err(refusal) => Err(refusal),
        };
        match told {
            Err(error @ (Refusal::Io(_) | Refusal::Bye(_))) => Err(error),
            _ => Ok(()),
        }
    }

    async fn tell_events(&mut self, notify: &Notified, events: &Events) -> Result<(), Refusal> {
        let mut status = BTreeMap::new();
        if !events.names.is_empty() {
            self.tell_names(notify, &events.names, &mut status).await?;
        }
        let mut ids: BTreeSet<MailboxId> = events.messages.keys().copied().collect();
        ids.extend(status.keys());
        let ids: Vec<MailboxId> = ids.into_iter().collect();
        let mailboxes = self.ctx.store.named(&ids).await?;
        let mailboxes: Vec<MailboxInfo> = mailboxes.into_iter().flatten().collect();
        for mailbox in &mailboxes {
            let Some(what) = events.messages.get(&mailbox.id) else { continue };
            let wanted = notify.wanted(&mailbox.name, mailbox.subscribed);
            let items = status_items(wanted, *what, self.enabled.condstore);
            // Where all is told of a mailbox that is new to the client, this is among it.
            status.entry(mailbox.id).or_insert(items);
        }
        self.write_statuses(&mailboxes, &status).await
    }

    /// LIST for names that came, went or changed (§5.4, §5.5), as they are now. A name that leads to another mailbox than
    /// before has another UIDVALIDITY: it gets a STATUS too, where messages are watched.
    async fn tell_names(
        &mut self,
        notify: &Notified,
        events: &[NameEvent],
        status: &mut BTreeMap<MailboxId, Vec<StatusItem>>,
    ) -> Result<(), Refusal> {
        let account = self.account()?;
        let mailboxes = self.ctx.store.mailboxes(account).await?;
        let subscriptions = self.ctx.store.subscriptions(account).await?;
        let names = names(&mailboxes, &subscriptions);
        let condstore = self.enabled.condstore;
        let get = |name: &str| names.get(name).copied().unwrap_or_default();
        let wanted = |name: &str| notify.wanted(name, get(name).subscribed);
        let mut told = BTreeSet::new();
        for event in events {
            let (affected, old) = match event {
                NameEvent::Created(name) | NameEvent::Deleted(name) => {
                    if let (NameEvent::Created(_), Some(mailbox)) = (event, get(name).mailbox) {
                        status.insert(mailbox.id, wanted(name).first_status(condstore));
                    }
                    // The level above has other children now.
                    let all = [Some(name.as_str()), parents(name).last()].into_iter().flatten();
                    (all.filter(|name| wanted(name).names).collect(), None)
                }
                NameEvent::Renamed { from, to } => {
                    if let Some(mailbox) = get(to).mailbox {
                        status.insert(mailbox.id, wanted(to).first_status(condstore));
                    }
                    let both = wanted(from).and(wanted(to));
                    (if both.names { vec![to.as_str()] } else { Vec::new() }, Some(from))
                }
                NameEvent::Subscribed(name) | NameEvent::Unsubscribed(name) => {
                    // Of what is subscribed: also that it no longer is.
                    let wanted = notify.wanted(name, true);
                    (if wanted.subscriptions { vec![name.as_str()] } else { Vec::new() }, None)
                }
            };
            for name in affected {
                if told.insert(name) || old.is_some() {
                    self.write_list(name, &get(name), old.map(String::as_str));
                }
            }
        }
        Ok(())
    }

    /// `* LIST (attributes) "/" name [("OLDNAME" (name))]`
    fn write_list(&mut self, name: &str, attributes: &Name<'_>, old: Option<&str>) {
        let names = self.enabled.names();
        let quoted = |name: &str| MailboxName::new(name).map(|name| quote_mailbox(&name, names));
        let Some(name) = quoted(name) else { return };
        let old = old.and_then(quoted).map(|old| format!(" (\"OLDNAME\" ({old}))")).unwrap_or_default();
        let attributes = attributes.attributes(true, true);
        response::line(&mut self.out, format_args!("* LIST ({attributes}) \"/\" {name}{old}"));
    }
}

impl Notified {
    fn has_heard(&self) -> bool {
        self.listener.as_ref().is_some_and(Listener::has_heard)
    }
}

/// What STATUS tells of what happened (§5.1 to §5.3). A change of flags that no counter shows and that the client has no
/// MODSEQ for is not told.
fn status_items(wanted: Wanted, what: MessageEvents, condstore: bool) -> Vec<StatusItem> {
    let messages = wanted.messages && (what.new || what.gone);
    let flags = wanted.flags && what.flags;
    let mut items = Vec::new();
    if messages {
        items.extend([StatusItem::Messages, StatusItem::UidNext]);
    }
    if condstore && flags {
        items.push(StatusItem::UidValidity);
    }
    if wanted.flags && what.unseen {
        items.push(StatusItem::Unseen);
    }
    if condstore && (messages || flags) {
        items.push(StatusItem::HighestModSeq);
    }
    items
}
