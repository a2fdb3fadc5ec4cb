//! The tree of mailboxes.

use crate::support::{account, address, flagged, inbox, mailbox, message, strings};
use sealpost_store::{
    Store, StoreError,
    account::AccountId,
    mailbox::{Flags, SpecialUse},
};
use std::sync::Arc;

const STANDARD: [&str; 6] = ["Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"];

/// Names besides the six of every account.
async fn names(store: &dyn Store, account: AccountId) -> Vec<String> {
    let all = store.mailboxes(account).await.expect("lists");
    assert!(all.is_sorted_by(|a, b| a.name < b.name));
    all.into_iter().map(|mailbox| mailbox.name).filter(|name| !STANDARD.contains(&name.as_str())).collect()
}

pub(crate) async fn mailboxes_are_made_with_the_levels_above(store: Arc<dyn Store>) {
    let id = account(&*store, "alice@example.net").await;
    let made = store.create_mailbox(id, "Work/2026/März", None).await.expect("makes");
    assert_eq!(names(&*store, id).await, strings(&["Work", "Work/2026", "Work/2026/März"]));
    assert_eq!(mailbox(&*store, id, "Work/2026/März").await, made);
    assert!(matches!(store.create_mailbox(id, "Work/2026/März", None).await, Err(StoreError::Exists(_))));
    assert!(matches!(store.create_mailbox(id, "Work", None).await, Err(StoreError::Exists(_))));
    // Names differ by case, but for INBOX.
    store.create_mailbox(id, "work", None).await.expect("makes");
    for inbox in ["INBOX", "inbox", "InBox"] {
        assert!(matches!(store.create_mailbox(id, inbox, None).await, Err(StoreError::Exists(_))));
    }
    store.create_mailbox(id, "inbox/lists", None).await.expect("makes");
    assert!(names(&*store, id).await.contains(&"INBOX/lists".to_owned()));
    // Each account has a tree of its own.
    let bob = account(&*store, "bob@example.net").await;
    assert!(names(&*store, bob).await.is_empty());
    assert!(matches!(store.create_mailbox(AccountId(999), "x", None).await, Err(StoreError::Gone(_))));
}

pub(crate) async fn names_are_checked(store: Arc<dyn Store>) {
    let id = account(&*store, "alice@example.net").await;
    let deep = |levels: usize| vec!["x"; levels].join("/");
    for bad in ["", "/", "/a", "a/", "a//b", "a\0b", "a\r\nb", &"n".repeat(1001), &deep(33)] {
        let refused = store.create_mailbox(id, bad, None).await;
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{bad:?}");
        assert!(matches!(store.rename_mailbox(id, "Archive", bad).await, Err(StoreError::Refused(_))));
        assert!(matches!(store.subscribe(id, bad, true).await, Err(StoreError::Refused(_))));
    }
    assert!(names(&*store, id).await.is_empty());
    for good in ["n".repeat(1000), deep(32), "%*\"\\ {}~".to_owned()] {
        store.create_mailbox(id, &good, None).await.expect("fits");
    }
}

pub(crate) async fn special_use_is_unique(store: Arc<dyn Store>) {
    let id = account(&*store, "alice@example.net").await;
    let second = store.create_mailbox(id, "Old", Some(SpecialUse::Archive)).await;
    assert!(matches!(second, Err(StoreError::Exists(_))));
    store.delete_mailbox(id, "Archive").await.expect("deletes");
    store.create_mailbox(id, "Old", Some(SpecialUse::Archive)).await.expect("is free now");
    store.rename_mailbox(id, "Old", "Older").await.expect("renames");
    let all = store.mailboxes(id).await.expect("lists");
    assert!(all.iter().any(|m| m.name == "Older" && m.special_use == Some(SpecialUse::Archive)));
}

pub(crate) async fn deleting_leaves_children(store: Arc<dyn Store>) {
    let id = account(&*store, "alice@example.net").await;
    store.create_mailbox(id, "a/b", None).await.expect("makes");
    store.delete_mailbox(id, "a").await.expect("deletes");
    assert_eq!(names(&*store, id).await, strings(&["a/b"]));
    assert!(matches!(store.delete_mailbox(id, "a").await, Err(StoreError::Gone(_))));
    for inbox in ["INBOX", "inbox"] {
        assert!(matches!(store.delete_mailbox(id, inbox).await, Err(StoreError::Refused(_))));
    }
    let bob = account(&*store, "bob@example.net").await;
    assert!(matches!(store.delete_mailbox(bob, "a/b").await, Err(StoreError::Gone(_))));
}

pub(crate) async fn a_deleted_mailbox_is_gone_for_its_sessions(store: Arc<dyn Store>) {
    let (id, inbox) = inbox(&*store).await;
    let old = store.create_mailbox(id, "old", None).await.expect("makes");
    store.append(old, vec![message("x")]).await.expect("appends");
    store.delete_mailbox(id, "old").await.expect("deletes");
    assert!(matches!(store.status(old).await, Err(StoreError::Gone(_))));
    assert!(matches!(store.entries(old).await, Err(StoreError::Gone(_))));
    assert!(matches!(store.changes(old, 0).await, Err(StoreError::Gone(_))));
    assert!(matches!(store.append(old, vec![message("x")]).await, Err(StoreError::Gone(_))));
    assert!(matches!(store.append(old, Vec::new()).await, Err(StoreError::Gone(_))));
    assert!(matches!(store.copy(old, &[1], inbox).await, Err(StoreError::Gone(_))));
    assert!(matches!(store.copy(inbox, &[1], old).await, Err(StoreError::Gone(_))));
    assert!(matches!(store.move_messages(old, &[1], inbox).await, Err(StoreError::Gone(_))));
    assert!(matches!(store.expunge(old, None).await, Err(StoreError::Gone(_))));
    assert!(matches!(store.expunge(old, Some(&[1])).await, Err(StoreError::Gone(_))));
    assert_eq!(store.status(inbox).await.expect("a status").messages, 0);
}

pub(crate) async fn a_name_used_again_has_another_uid_validity(store: Arc<dyn Store>) {
    let id = account(&*store, "alice@example.net").await;
    let (mut last_validity, mut last_id) = (0, None);
    for _ in 0..5 {
        let made = store.create_mailbox(id, "again", None).await.expect("makes");
        let validity = store.status(made).await.expect("a status").uid_validity;
        assert!(validity > last_validity, "only ever grows");
        assert!(last_id.is_none_or(|last| made > last), "ids too");
        (last_validity, last_id) = (validity, Some(made));
        store.delete_mailbox(id, "again").await.expect("deletes");
    }
}

pub(crate) async fn renaming_takes_the_children_along(store: Arc<dyn Store>) {
    let id = account(&*store, "alice@example.net").await;
    for name in ["a", "a/b", "a/b/c", "ab", "a0", "a.x"] {
        store.create_mailbox(id, name, None).await.expect("makes");
    }
    let (before, child) = (mailbox(&*store, id, "a").await, mailbox(&*store, id, "a/b/c").await);
    store.append(before, vec![message("x")]).await.expect("appends");
    let status = store.status(before).await.expect("a status");
    store.rename_mailbox(id, "a", "new/place").await.expect("renames");
    assert_eq!(
        names(&*store, id).await,
        strings(&["a.x", "a0", "ab", "new", "new/place", "new/place/b", "new/place/b/c"])
    );
    assert_eq!(mailbox(&*store, id, "new/place").await, before, "the mailbox is the same");
    assert_eq!(mailbox(&*store, id, "new/place/b/c").await, child);
    assert_eq!(store.status(before).await.expect("a status"), status);
}

/// Asked twice each time: a store may remember what it was asked.
pub(crate) async fn a_name_leads_where_it_leads_now(store: Arc<dyn Store>) {
    let id = account(&*store, "alice@example.net").await;
    let find = async |name: &str| {
        let first = store.find_mailbox(id, name).await.expect("looks");
        assert_eq!(store.find_mailbox(id, name).await.expect("looks"), first);
        first
    };
    assert_eq!(find("a/b").await, None);
    let made = store.create_mailbox(id, "a/b", None).await.expect("makes");
    let above = find("a").await;
    assert_eq!(find("a/b").await, Some(made));
    store.rename_mailbox(id, "a", "c").await.expect("renames");
    assert_eq!((find("a").await, find("a/b").await), (None, None));
    assert_eq!((find("c").await, find("c/b").await), (above, Some(made)));
    store.delete_mailbox(id, "c/b").await.expect("deletes");
    assert_eq!((find("c").await, find("c/b").await), (above, None));
    let again = store.create_mailbox(id, "c/b", None).await.expect("makes");
    assert!(again != made && find("c/b").await == Some(again));
    // Names that are too long to be remembered.
    let long = |end: &str| format!("{}{end}", "x".repeat(128));
    let made = store.create_mailbox(id, &long("1"), None).await.expect("makes");
    assert_eq!(find(&long("1")).await, Some(made));
    store.rename_mailbox(id, &long("1"), &long("2")).await.expect("renames");
    assert_eq!((find(&long("1")).await, find(&long("2")).await), (None, Some(made)));
    store.remove_account(&address("alice@example.net")).await.expect("removes");
    assert_eq!((find("INBOX").await, find("c").await), (None, None));
}

pub(crate) async fn renaming_is_refused(store: Arc<dyn Store>) {
    let id = account(&*store, "alice@example.net").await;
    for name in ["a/b", "c", "d/b"] {
        store.create_mailbox(id, name, None).await.expect("makes");
    }
    store.delete_mailbox(id, "d").await.expect("deletes");
    let all = names(&*store, id).await;
    for (from, to) in [("nowhere", "x"), ("a/x", "y")] {
        assert!(matches!(store.rename_mailbox(id, from, to).await, Err(StoreError::Gone(_))), "{from} {to}");
    }
    // The last: a/b would become d/b, which is there.
    for (from, to) in [("a", "c"), ("a", "a"), ("a", "inbox"), ("INBOX", "c"), ("a", "d")] {
        assert!(
            matches!(store.rename_mailbox(id, from, to).await, Err(StoreError::Exists(_))),
            "{from} {to}"
        );
    }
    assert!(matches!(store.rename_mailbox(id, "a", "a/b/c").await, Err(StoreError::Refused(_))));
    let long = "n".repeat(999);
    assert!(matches!(store.rename_mailbox(id, "a", &long).await, Err(StoreError::Refused(_))));
    assert_eq!(names(&*store, id).await, all, "nothing changed");
}

pub(crate) async fn renaming_inbox_moves_its_messages(store: Arc<dyn Store>) {
    let (id, inbox) = inbox(&*store).await;
    store.create_mailbox(id, "INBOX/child", None).await.expect("makes");
    let messages = vec![message("one"), flagged("two", Flags::SEEN, &["Work"]), message("three")];
    store.append(inbox, messages).await.expect("appends");
    let before = store.status(inbox).await.expect("a status");
    store.rename_mailbox(id, "inbox", "old/mail").await.expect("renames");
    assert_eq!(names(&*store, id).await, strings(&["INBOX/child", "old", "old/mail"]));
    assert_eq!(mailbox(&*store, id, "INBOX").await, inbox, "INBOX stays");
    let after = store.status(inbox).await.expect("a status");
    assert_eq!((after.messages, after.unseen, after.size), (0, 0, 0));
    assert_eq!((after.uid_validity, after.uid_next), (before.uid_validity, before.uid_next));
    assert_eq!(store.changes(inbox, before.modseq).await.expect("changes").vanished, [1, 2, 3]);
    let moved = mailbox(&*store, id, "old/mail").await;
    let entries = store.entries(moved).await.expect("entries");
    assert_eq!(entries.iter().map(|entry| entry.uid).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!((entries[1].flags, entries[1].keywords.clone()), (Flags::SEEN, strings(&["Work"])));
    assert_eq!(store.status(moved).await.expect("a status").unseen, 2);
    assert_eq!(crate::support::read(&*store, entries[2].content).await, b"three");
}

pub(crate) async fn subscriptions_are_names(store: Arc<dyn Store>) {
    let id = account(&*store, "alice@example.net").await;
    store.subscribe(id, "not/there", true).await.expect("subscribes");
    store.subscribe(id, "not/there", true).await.expect("again");
    store.subscribe(id, "inbox", false).await.expect("unsubscribes");
    store.subscribe(id, "never was", false).await.expect("nothing to do");
    let subscribed = store.subscriptions(id).await.expect("lists");
    assert_eq!(subscribed, strings(&["Archive", "Drafts", "Junk", "Sent", "Trash", "not/there"]));
    store.delete_mailbox(id, "Junk").await.expect("deletes");
    assert!(store.subscriptions(id).await.expect("lists").contains(&"Junk".to_owned()), "RFC 9051 §6.3.5");
    store.create_mailbox(id, "not/there", None).await.expect("makes");
    for info in store.mailboxes(id).await.expect("lists") {
        assert_eq!(info.subscribed, !["INBOX", "not"].contains(&info.name.as_str()), "{}", info.name);
    }
    assert!(matches!(store.subscribe(AccountId(999), "x", true).await, Err(StoreError::Gone(_))));
}
