//! STORE: flags, keywords, MODSEQ.

use crate::support::{flagged, inbox, message, strings};
use sealpost_store::{
    Store, StoreError,
    mailbox::{FlagChange, Flags, MailboxId, Uid},
};
use std::sync::Arc;

const NONE: Flags = Flags(0);

async fn set(
    store: &dyn Store,
    mailbox: MailboxId,
    uids: &[Uid],
    how: FlagChange,
    flags: Flags,
    keywords: &[&str],
) -> u64 {
    let (entries, left) =
        store.store_flags(mailbox, uids, how, flags, &strings(keywords), None).await.expect("stores");
    assert!(left.is_empty());
    entries.iter().map(|changed| changed.entry.modseq).max().unwrap_or(0)
}

async fn state(store: &dyn Store, mailbox: MailboxId, uid: Uid) -> (Flags, Vec<String>) {
    let entries = store.entries(mailbox).await.expect("entries");
    let entry = entries.into_iter().find(|entry| entry.uid == uid).expect("the entry");
    (entry.flags, entry.keywords)
}

pub(crate) async fn flags_are_added_removed_replaced(store: Arc<dyn Store>) {
    let (_, inbox) = inbox(&*store).await;
    store.append(inbox, vec![message("1"), message("2"), message("3")]).await.expect("appends");
    let both = Flags::SEEN.union(Flags::FLAGGED);
    let first = set(&*store, inbox, &[1, 3, 3, 99], FlagChange::Add, both, &["Work", "$Forwarded"]).await;
    assert_eq!(state(&*store, inbox, 1).await, (both, strings(&["$Forwarded", "Work"])));
    assert_eq!(state(&*store, inbox, 2).await, (NONE, Vec::new()));
    let second = set(&*store, inbox, &[1], FlagChange::Remove, Flags::SEEN, &["WORK"]).await;
    assert!(second > first);
    assert_eq!(state(&*store, inbox, 1).await, (Flags::FLAGGED, strings(&["$Forwarded"])));
    assert_eq!(state(&*store, inbox, 3).await, (both, strings(&["$Forwarded", "Work"])));
    set(&*store, inbox, &[3], FlagChange::Replace, Flags::DELETED, &["new"]).await;
    assert_eq!(state(&*store, inbox, 3).await, (Flags::DELETED, strings(&["new"])));
    set(&*store, inbox, &[3], FlagChange::Replace, NONE, &[]).await;
    assert_eq!(state(&*store, inbox, 3).await, (NONE, Vec::new()));
    let (entries, left) =
        store.store_flags(inbox, &[], FlagChange::Add, Flags::SEEN, &[], None).await.expect("nothing to do");
    assert!(entries.is_empty() && left.is_empty());
}

pub(crate) async fn keywords_keep_the_spelling_first_seen(store: Arc<dyn Store>) {
    let (_, inbox) = inbox(&*store).await;
    store.append(inbox, vec![flagged("1", NONE, &["Work", "WORK"]), message("2")]).await.expect("appends");
    set(&*store, inbox, &[2], FlagChange::Add, NONE, &["wOrK", "zebra", "Apple"]).await;
    assert_eq!(state(&*store, inbox, 1).await.1, strings(&["Work"]));
    assert_eq!(state(&*store, inbox, 2).await.1, strings(&["Apple", "Work", "zebra"]));
}

pub(crate) async fn a_store_that_changes_nothing_has_no_modseq(store: Arc<dyn Store>) {
    let (_, inbox) = inbox(&*store).await;
    store.append(inbox, vec![flagged("1", Flags::SEEN, &["Work"])]).await.expect("appends");
    let before = store.status(inbox).await.expect("a status").modseq;
    set(&*store, inbox, &[1], FlagChange::Add, Flags::SEEN, &["work"]).await;
    set(&*store, inbox, &[1], FlagChange::Remove, Flags::DRAFT, &["unknown"]).await;
    set(&*store, inbox, &[1], FlagChange::Replace, Flags::SEEN, &["Work"]).await;
    set(&*store, inbox, &[77], FlagChange::Add, Flags::SEEN, &[]).await;
    assert_eq!(store.status(inbox).await.expect("a status").modseq, before);
    assert_eq!(store.entries(inbox).await.expect("entries")[0].modseq, before);
}

pub(crate) async fn unchanged_since_leaves_changed_messages_alone(store: Arc<dyn Store>) {
    let (_, inbox) = inbox(&*store).await;
    store.append(inbox, vec![message("1"), message("2"), message("3")]).await.expect("appends");
    let since = store.status(inbox).await.expect("a status").modseq;
    set(&*store, inbox, &[2], FlagChange::Add, Flags::FLAGGED, &[]).await;
    let (entries, left) = store
        .store_flags(inbox, &[1, 2, 3, 4], FlagChange::Add, Flags::SEEN, &[], Some(since))
        .await
        .expect("stores");
    assert_eq!(entries.iter().map(|changed| changed.entry.uid).collect::<Vec<_>>(), [1, 3]);
    assert!(entries.iter().all(|changed| changed.entry.flags == Flags::SEEN && changed.entry.modseq > since));
    assert!(entries.iter().all(|changed| changed.before == since), "nobody changed them meanwhile");
    assert_eq!(left, [2]);
    assert_eq!(state(&*store, inbox, 2).await.0, Flags::FLAGGED);
    // 0 fits no message that exists.
    let (entries, left) =
        store.store_flags(inbox, &[1], FlagChange::Add, Flags::DRAFT, &[], Some(0)).await.expect("stores");
    assert!(entries.is_empty());
    assert_eq!(left, [1]);
    let (entries, _) = store
        .store_flags(inbox, &[1], FlagChange::Add, Flags::DRAFT, &[], Some(u64::MAX))
        .await
        .expect("stores");
    assert_eq!(entries.len(), 1);
}

pub(crate) async fn keywords_are_checked(store: Arc<dyn Store>) {
    let (_, inbox) = inbox(&*store).await;
    store.append(inbox, vec![message("1")]).await.expect("appends");
    for bad in [String::new(), "k".repeat(256), "two words".to_owned(), "line\r\n".to_owned()] {
        let keywords = [bad.clone()];
        let refused =
            store.store_flags(inbox, &[1], FlagChange::Add, Flags::SEEN, &keywords, None).await.map(drop);
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{bad:?}");
        assert!(store.append(inbox, vec![flagged("x", NONE, &[&bad])]).await.is_err());
    }
    assert_eq!(state(&*store, inbox, 1).await, (NONE, Vec::new()), "nothing changed");
    let many: Vec<String> = (0..1000).map(|n| format!("k{n}")).collect();
    store.store_flags(inbox, &[1], FlagChange::Add, NONE, &many, None).await.expect("fits");
    let one_more = store.store_flags(inbox, &[1], FlagChange::Add, NONE, &strings(&["more"]), None).await;
    assert!(matches!(one_more.map(drop), Err(StoreError::Limit(_))));
    assert_eq!(state(&*store, inbox, 1).await.1.len(), 1000);
}

pub(crate) async fn flags_need_a_mailbox(store: Arc<dyn Store>) {
    for uids in [&[][..], &[1]] {
        let refused = store.store_flags(MailboxId(999), uids, FlagChange::Add, Flags::SEEN, &[], None).await;
        assert!(matches!(refused.map(drop), Err(StoreError::Gone(_))));
    }
}
