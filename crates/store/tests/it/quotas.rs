//! Quotas: what is set is remembered, over a restart too, and what an account holds is the sum over its mailboxes.

use crate::support::{account, address, inbox, message, open_in};
use sealpost_store::{
    StoreError,
    account::{AccountId, Accounts as _, Quota, Quotas, Resource, Usage},
    mailbox::{FlagChange, Flags, Mailboxes as _},
};

#[tokio::test]
async fn limits_are_remembered_and_survive_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    let (alice, bob, carol);
    let (octets, messages) = (Resource::Octets, Resource::Messages);
    {
        let store = open_in(&dir.path().join("store"));
        alice = account(&*store, "alice@example.net").await;
        bob = account(&*store, "bob@example.net").await;
        carol = account(&*store, "carol@example.net").await;
        for (name, resource, quota) in [
            ("alice@example.net", octets, Quota::AtMost(5 << 30)),
            ("alice@example.net", messages, Quota::AtMost(7)),
            ("bob@example.net", messages, Quota::Unlimited),
            ("carol@example.net", octets, Quota::AtMost(0)),
            ("carol@example.net", octets, Quota::Default),
        ] {
            store.set_quota(&address(name), resource, quota).await.expect("sets");
        }
        let error = store.set_quota(&address("nobody@example.net"), octets, Quota::AtMost(1)).await;
        assert!(matches!(error, Err(StoreError::Gone(_))));
        let both = Quotas { octets: Quota::AtMost(5 << 30), messages: Quota::AtMost(7) };
        assert_eq!(store.quotas(alice).await.expect("quotas"), both);
    }
    let store = open_in(&dir.path().join("store"));
    for (account, octets, messages) in [
        (alice, Quota::AtMost(5 << 30), Quota::AtMost(7)),
        (bob, Quota::Default, Quota::Unlimited),
        (carol, Quota::Default, Quota::Default),
        (AccountId(999), Quota::Default, Quota::Default),
    ] {
        assert_eq!(store.quotas(account).await.expect("quotas"), Quotas { octets, messages });
    }
}

#[tokio::test]
async fn usage_follows_what_comes_and_goes() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open_in(&dir.path().join("store"));
    let (alice, mailbox) = inbox(&*store).await;
    let usage = async || store.usage(alice).await.expect("usage");
    assert_eq!(usage().await, Usage { octets: 0, messages: 0 });
    let messages = vec![message(b"four"), message(b"sixsix")];
    store.append(mailbox, messages).await.expect("appends");
    assert_eq!(usage().await, Usage { octets: 10, messages: 2 });
    assert_eq!(store.octets_of(mailbox, Some(&[2, 7])).await.expect("octets"), 6);
    assert_eq!(store.octets_of(mailbox, None).await.expect("octets"), 0);
    store.copy(mailbox, &[2], mailbox).await.expect("copies");
    assert_eq!(usage().await, Usage { octets: 16, messages: 3 });
    let how = FlagChange::Add;
    store.store_flags(mailbox, &[1, 3], how, Flags::DELETED, &[], None).await.map(drop).expect("stores");
    assert_eq!(store.octets_of(mailbox, None).await.expect("octets"), 10);
    store.expunge(mailbox, None).await.expect("expunges");
    assert_eq!(usage().await, Usage { octets: 6, messages: 1 });
}
