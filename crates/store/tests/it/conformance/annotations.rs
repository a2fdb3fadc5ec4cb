//! Annotations.

use crate::support::{account, address, inbox, mailbox, strings};
use sealpost_store::{
    Store, StoreError,
    account::AccountId,
    annotation::{
        ACCOUNT_MAX, ANNOTATIONS_MAX, Annotation, AnnotationChange, ChangedAnnotation, SPECIAL_USE, VALUE_MAX,
    },
    mailbox::{MailboxId, SpecialUse},
};
use std::sync::Arc;

fn change(values: &[(&str, Option<&[u8]>)]) -> AnnotationChange {
    let values =
        values.iter().map(|(entry, value)| ((*entry).to_owned(), value.map(<[u8]>::to_vec))).collect();
    AnnotationChange { values, special_use: None }
}

fn special(special_use: Option<SpecialUse>) -> AnnotationChange {
    AnnotationChange { values: Vec::new(), special_use: Some(special_use) }
}

fn annotation(entry: &str, value: &[u8]) -> Annotation {
    Annotation { entry: entry.to_owned(), value: value.to_vec() }
}

async fn all(store: &dyn Store, account: AccountId, mailbox: Option<MailboxId>) -> Vec<Annotation> {
    store.annotations(account, mailbox).await.expect("annotations").annotations
}

pub(crate) async fn annotations_are_set_changed_and_removed(store: Arc<dyn Store>) {
    let (id, inbox) = inbox(&*store).await;
    for place in [Some(inbox), None] {
        assert_eq!(all(&*store, id, place).await, []);
        let set = change(&[("/shared/b", Some(b"\0\xff\r\n")), ("/private/a", Some(b""))]);
        store.annotate(id, place, set).await.expect("sets");
        let want = [annotation("/private/a", b""), annotation("/shared/b", b"\0\xff\r\n")];
        assert_eq!(all(&*store, id, place).await, want);
        let set = change(&[("/private/a", Some(b"x")), ("/shared/b", None), ("/shared/c", None)]);
        store.annotate(id, place, set).await.expect("sets");
        assert_eq!(all(&*store, id, place).await, [annotation("/private/a", b"x")]);
    }
}

pub(crate) async fn an_annotation_belongs_to_one_mailbox_of_one_account(store: Arc<dyn Store>) {
    let (alice, inbox) = inbox(&*store).await;
    let bob = account(&*store, "bob@example.net").await;
    let sent = mailbox(&*store, alice, "Sent").await;
    let valued = |value: &[u8]| change(&[("/private/a", Some(value))]);
    store.annotate(alice, Some(inbox), valued(b"1")).await.expect("sets");
    store.annotate(alice, Some(sent), valued(b"2")).await.expect("sets");
    store.annotate(alice, Some(sent), change(&[("/private/b", Some(b"3"))])).await.expect("sets");
    store.annotate(alice, None, valued(b"4")).await.expect("sets");
    assert_eq!(all(&*store, bob, None).await, []);
    assert!(matches!(store.annotations(bob, Some(inbox)).await, Err(StoreError::Gone(_))));
    assert!(matches!(store.annotate(bob, Some(inbox), valued(b"5")).await, Err(StoreError::Gone(_))));
    assert!(matches!(store.annotate(AccountId(999), None, valued(b"5")).await, Err(StoreError::Gone(_))));
    let named = store.annotations_named(alice, &strings(&["/private/a", "/private/c"])).await.expect("reads");
    assert_eq!(named, [(inbox, annotation("/private/a", b"1")), (sent, annotation("/private/a", b"2"))]);
}

pub(crate) async fn annotations_go_with_their_mailbox(store: Arc<dyn Store>) {
    let (id, inbox) = inbox(&*store).await;
    let made = store.create_mailbox(id, "a/b", None).await.expect("makes");
    let set = change(&[("/private/a", Some(b"x"))]);
    for place in [inbox, made] {
        store.annotate(id, Some(place), set.clone()).await.expect("sets");
    }
    store.rename_mailbox(id, "a", "c").await.expect("renames");
    assert_eq!(store.find_mailbox(id, "c/b").await.expect("finds"), Some(made));
    assert_eq!(all(&*store, id, Some(made)).await.len(), 1);
    // INBOX stays when it is renamed, and what is said of it.
    store.rename_mailbox(id, "INBOX", "old").await.expect("renames");
    assert_eq!(all(&*store, id, Some(inbox)).await.len(), 1);
    let old = mailbox(&*store, id, "old").await;
    assert_eq!(all(&*store, id, Some(old)).await, []);
    store.delete_mailbox(id, "c/b").await.expect("deletes");
    assert!(matches!(store.annotations(id, Some(made)).await, Err(StoreError::Gone(_))));
    let again = store.create_mailbox(id, "c/b", None).await.expect("makes");
    assert_eq!(all(&*store, id, Some(again)).await, []);
    // With its account too.
    store.annotate(id, None, set).await.expect("sets");
    store.remove_account(&address("alice@example.net")).await.expect("removes");
    let id = account(&*store, "alice@example.net").await;
    assert_eq!(all(&*store, id, None).await, []);
}

pub(crate) async fn a_change_is_all_or_nothing(store: Arc<dyn Store>) {
    let (id, _) = inbox(&*store).await;
    let sent = mailbox(&*store, id, "Sent").await;
    let long = vec![b'x'; VALUE_MAX + 1];
    let refused =
        store.annotate(id, Some(sent), change(&[("/private/a", Some(b"x")), ("/private/b", Some(&long))]));
    assert!(matches!(refused.await, Err(StoreError::Refused(_))));
    let both = AnnotationChange {
        special_use: Some(Some(SpecialUse::Junk)),
        ..change(&[("/private/a", Some(b"x"))])
    };
    assert!(matches!(store.annotate(id, Some(sent), both).await, Err(StoreError::Exists(_))));
    assert_eq!(all(&*store, id, Some(sent)).await, []);
    store.annotate(id, Some(sent), change(&[("/private/b", Some(&long[1..]))])).await.expect("fits");
}

pub(crate) async fn annotations_have_limits(store: Arc<dyn Store>) {
    let (id, inbox) = inbox(&*store).await;
    let set = |n: usize, value: Option<&[u8]>| change(&[(&format!("/private/{n}"), value)]);
    for n in 0..ANNOTATIONS_MAX {
        store.annotate(id, Some(inbox), set(n, Some(b""))).await.expect("fits");
    }
    let more = store.annotate(id, Some(inbox), set(ANNOTATIONS_MAX, Some(b""))).await;
    assert!(matches!(more, Err(StoreError::Limit(_))));
    // What is there can change; where one goes there is room for another; other places have room of their own.
    store.annotate(id, Some(inbox), set(0, Some(b"x"))).await.expect("fits");
    store.annotate(id, Some(inbox), set(1, None)).await.expect("removes");
    store.annotate(id, Some(inbox), set(ANNOTATIONS_MAX, Some(b""))).await.expect("fits");
    store.annotate(id, None, set(0, Some(b""))).await.expect("fits");
    for n in 0..=ANNOTATIONS_MAX {
        store.annotate(id, Some(inbox), set(n, None)).await.expect("removes");
    }
    store.annotate(id, None, set(0, None)).await.expect("removes");
    // All together: names and values, to the octet.
    let value = vec![b'x'; VALUE_MAX];
    let (entry, mut left) = ("/private/12", ACCOUNT_MAX);
    for n in 10.. {
        let octets = (left - entry.len()).min(VALUE_MAX);
        store.annotate(id, Some(inbox), set(n, Some(&value[..octets]))).await.expect("fits");
        left -= octets + entry.len();
        if octets < VALUE_MAX {
            break;
        }
    }
    assert_eq!(left, 0);
    let made = store.create_mailbox(id, "x", None).await.expect("makes");
    let short = change(&[(entry, Some(b""))]);
    assert!(matches!(store.annotate(id, Some(made), short.clone()).await, Err(StoreError::Limit(_))));
    store.annotate(id, Some(inbox), set(10, Some(&value[entry.len()..]))).await.expect("shrinks");
    store.annotate(id, Some(made), short.clone()).await.expect("fits");
    let longer = store.annotate(id, Some(made), change(&[(entry, Some(b"1"))])).await;
    assert!(matches!(longer, Err(StoreError::Limit(_))));
    // What a removed mailbox had is free.
    store.delete_mailbox(id, "x").await.expect("deletes");
    let made = store.create_mailbox(id, "x", None).await.expect("makes");
    store.annotate(id, Some(made), short).await.expect("fits");
}

pub(crate) async fn changes_are_told_by_number(store: Arc<dyn Store>) {
    let (id, inbox) = inbox(&*store).await;
    let mut watch = store.watch(id);
    watch.mark_unchanged();
    let (none, start) = store.annotation_changes(id, None).await.expect("changes");
    assert_eq!(none, []);
    let first = store.annotate(id, Some(inbox), change(&[("/private/a", Some(b"1"))])).await.expect("sets");
    assert!(watch.has_changed().expect("a watch"));
    let second = store.annotate(id, None, change(&[("/shared/b", Some(b"1"))])).await.expect("sets");
    assert!(start < first && first < second);
    let told = |place: Option<(MailboxId, &str)>, entry: &str, number| ChangedAnnotation {
        mailbox: place.map(|(id, name)| (id, name.to_owned())),
        entry: entry.to_owned(),
        number,
    };
    let changes = store.annotation_changes(id, Some(start)).await.expect("changes");
    let want = [told(None, "/shared/b", second), told(Some((inbox, "INBOX")), "/private/a", first)];
    assert_eq!(changes, (want.to_vec(), second));
    let third = store.annotate(id, Some(inbox), change(&[("/private/a", None)])).await.expect("removes");
    let want = vec![told(Some((inbox, "INBOX")), "/private/a", third)];
    assert_eq!(store.annotation_changes(id, Some(second)).await.expect("changes"), (want, third));
    assert_eq!(store.annotation_changes(id, Some(third)).await.expect("changes"), (vec![], third));
    // What was not there cannot go.
    let fourth = store.annotate(id, Some(inbox), change(&[("/private/x", None)])).await.expect("removes");
    assert_eq!(store.annotation_changes(id, Some(third)).await.expect("changes"), (vec![], fourth));
    let bob = account(&*store, "bob@example.net").await;
    assert_eq!(store.annotation_changes(bob, Some(start)).await.expect("changes"), (vec![], fourth));
    // A thousand removed names are remembered, the last ones.
    for part in 0..11 {
        let names: Vec<String> = (0..100).map(|n| format!("/private/{part}/{n}")).collect();
        for value in [Some(&b""[..]), None] {
            let values: Vec<_> = names.iter().map(|name| (name.as_str(), value)).collect();
            store.annotate(id, Some(inbox), change(&values)).await.expect("sets");
        }
    }
    let (changes, _) = store.annotation_changes(id, Some(start)).await.expect("changes");
    assert_eq!(changes.len(), 1001, "and one that is there");
    assert!(changes.iter().any(|told| told.entry == "/private/1/0"));
    assert!(changes.iter().all(|told| told.entry != "/private/0/0"));
}

pub(crate) async fn a_special_use_is_given_and_taken(store: Arc<dyn Store>) {
    let (id, inbox) = inbox(&*store).await;
    let (trash, made) =
        (mailbox(&*store, id, "Trash").await, store.create_mailbox(id, "x", None).await.expect("makes"));
    let use_of = async |mailbox| store.annotations(id, Some(mailbox)).await.expect("reads").special_use;
    assert_eq!(use_of(trash).await, Some(SpecialUse::Trash));
    let wanted = special(Some(SpecialUse::Trash));
    assert!(matches!(store.annotate(id, Some(made), wanted.clone()).await, Err(StoreError::Exists(_))));
    assert!(matches!(store.annotate(id, Some(inbox), wanted.clone()).await, Err(StoreError::Refused(_))));
    let before = store.annotate(id, Some(trash), wanted.clone()).await.expect("as it was");
    assert_eq!(store.annotation_changes(id, Some(before - 1)).await.expect("changes").0, []);
    store.annotate(id, Some(trash), special(None)).await.expect("takes");
    let last = store.annotate(id, Some(made), wanted).await.expect("gives");
    assert_eq!((use_of(trash).await, use_of(made).await), (None, Some(SpecialUse::Trash)));
    assert!(
        store.mailboxes(id).await.expect("lists").iter().any(|m| m.id == made && m.special_use.is_some())
    );
    let changes = store.annotation_changes(id, Some(before)).await.expect("changes").0;
    assert_eq!(changes.len(), 2);
    assert!(changes.iter().all(|told| told.entry == SPECIAL_USE && told.number <= last));
}
