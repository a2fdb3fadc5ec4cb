//! What listeners hear.

use crate::support::{account, flagged, inbox, mailbox, message};
use sealpost_store::{
    Store,
    annotation::AnnotationChange,
    events::{EVENTS_MAX, Events, Listener, MessageEvents, NameEvent},
    mailbox::{FlagChange, Flags, MailboxId},
};
use std::sync::Arc;

/// What happened to the messages of a mailbox, and to nothing else.
fn only(listener: &Listener, mailbox: MailboxId) -> MessageEvents {
    let Events { messages, names, annotations, overflow } = listener.take();
    assert!(names.is_empty() && !annotations && !overflow && messages.len() == 1, "{messages:?} {names:?}");
    messages[&mailbox]
}

pub(crate) async fn listeners_hear_what_happens_to_messages(store: Arc<dyn Store>) {
    let (id, inbox) = inbox(&*store).await;
    let archive = mailbox(&*store, id, "Archive").await;
    let listener = store.listen(id);
    assert!(!listener.has_heard());
    store.append(inbox, vec![message("1")]).await.expect("appends");
    listener.heard().await;
    assert_eq!(only(&listener, inbox), MessageEvents { unseen: true, ..MessageEvents::NEW });
    store.append(inbox, vec![flagged("2", Flags::SEEN, &[])]).await.expect("appends");
    assert_eq!(only(&listener, inbox), MessageEvents::NEW);
    for (flags, unseen) in [(Flags::FLAGGED, false), (Flags::SEEN, true), (Flags::DELETED, false)] {
        store.store_flags(inbox, &[1], FlagChange::Add, flags, &[], None).await.expect("stores");
        assert_eq!(only(&listener, inbox), MessageEvents { unseen, ..MessageEvents::FLAGS });
    }
    // What changes nothing is no event.
    store.store_flags(inbox, &[1], FlagChange::Add, Flags::SEEN, &[], None).await.expect("stores");
    assert!(!listener.has_heard());
    store.expunge(inbox, None).await.expect("expunges");
    assert_eq!(only(&listener, inbox), MessageEvents::GONE);
    store.copy(inbox, &[2], archive).await.expect("copies");
    assert_eq!(only(&listener, archive), MessageEvents::NEW);
    store.move_messages(inbox, &[2], archive).await.expect("moves");
    let events = listener.take();
    assert_eq!(events.messages[&inbox], MessageEvents::GONE);
    assert_eq!(events.messages[&archive], MessageEvents::NEW);
    // Several events of one mailbox are kept as one.
    store.append(inbox, vec![message("3")]).await.expect("appends");
    store.remove(inbox, &[3]).await.expect("removes");
    let both = MessageEvents { new: true, gone: true, flags: false, unseen: true };
    assert_eq!(only(&listener, inbox), both);
    assert_eq!(listener.take(), Events::default());
}

pub(crate) async fn listeners_hear_of_names(store: Arc<dyn Store>) {
    let id = account(&*store, "alice@example.net").await;
    let listener = store.listen(id);
    let heard = || listener.take().names;
    let made = |name: &str| NameEvent::Created(name.to_owned());
    store.create_mailbox(id, "a/b", None).await.expect("makes");
    assert_eq!(heard(), [made("a"), made("a/b")]);
    let renamed = |from: &str, to: &str| NameEvent::Renamed { from: from.to_owned(), to: to.to_owned() };
    store.rename_mailbox(id, "a", "x/y").await.expect("renames");
    assert_eq!(heard(), [made("x"), renamed("a", "x/y")]);
    store.rename_mailbox(id, "inbox", "old").await.expect("renames");
    assert_eq!(heard(), [renamed("INBOX", "old")]);
    store.delete_mailbox(id, "old").await.expect("deletes");
    assert_eq!(heard(), [NameEvent::Deleted("old".to_owned())]);
    for _ in 0..2 {
        // The second time nothing happens.
        store.subscribe(id, "none", true).await.expect("subscribes");
    }
    assert_eq!(heard(), [NameEvent::Subscribed("none".to_owned())]);
    for _ in 0..2 {
        store.subscribe(id, "none", false).await.expect("unsubscribes");
    }
    assert_eq!(heard(), [NameEvent::Unsubscribed("none".to_owned())]);
    store.create_mailbox(id, "x", None).await.expect_err("is there");
    assert!(!listener.has_heard());
    store.annotate(id, None, AnnotationChange::default()).await.expect("annotates");
    assert_eq!(listener.take(), Events { annotations: true, ..Events::default() });
}

pub(crate) async fn who_makes_a_change_does_not_hear_of_it(store: Arc<dyn Store>) {
    let (id, inbox) = inbox(&*store).await;
    let bob = account(&*store, "bob@example.net").await;
    let (one, two, other) = (store.listen(id), store.listen(id), store.listen(bob));
    let quiet = store.unheard_by(&one);
    quiet.append(inbox, vec![message("1")]).await.expect("appends");
    quiet.create_mailbox(id, "new", None).await.expect("makes");
    assert!(!one.has_heard() && !other.has_heard());
    let heard = two.take();
    assert_eq!((heard.messages.len(), heard.names.len()), (1, 1));
    // Through its own handle, and after others are gone.
    drop(two);
    store.append(inbox, vec![message("2")]).await.expect("appends");
    assert!(only(&one, inbox).new);
}

pub(crate) async fn a_listener_that_is_far_behind_is_told_so(store: Arc<dyn Store>) {
    let (id, inbox) = inbox(&*store).await;
    let listener = store.listen(id);
    store.append(inbox, vec![message("1")]).await.expect("appends");
    for n in 1..EVENTS_MAX {
        store.subscribe(id, &format!("{n}"), true).await.expect("subscribes");
    }
    store.append(inbox, vec![message("2")]).await.expect("appends");
    let events = listener.take();
    assert_eq!((events.messages.len(), events.names.len(), events.overflow), (1, EVENTS_MAX - 1, false));
    for n in 0..=EVENTS_MAX {
        store.subscribe(id, &format!("{n}"), n == 0).await.expect("subscribes");
    }
    store.subscribe(id, "more", true).await.expect("subscribes");
    assert_eq!(listener.take(), Events { overflow: true, ..Events::default() });
    store.append(inbox, vec![message("3")]).await.expect("appends");
    assert!(only(&listener, inbox).new);
}

pub(crate) async fn mailboxes_are_named(store: Arc<dyn Store>) {
    let (id, inbox) = inbox(&*store).await;
    let sent = mailbox(&*store, id, "Sent").await;
    store.subscribe(id, "Sent", false).await.expect("unsubscribes");
    let gone = store.create_mailbox(id, "gone", None).await.expect("makes");
    store.delete_mailbox(id, "gone").await.expect("deletes");
    let found = store.named(&[sent, gone, inbox]).await.expect("finds");
    let all = store.mailboxes(id).await.expect("lists");
    let listed = |id| all.iter().find(|mailbox| mailbox.id == id).cloned();
    assert_eq!(found, [listed(sent), None, listed(inbox)]);
    assert!(found[0].as_ref().is_some_and(|mailbox| !mailbox.subscribed));
}
