//! Accounts, aliases, enrolment, app passwords.

use crate::support::{CODE, NOW, account, address, chain, login, message, salt, strings};
use sealpost_store::{
    Store, StoreError,
    account::{AccountId, AppPassword, Enrolment, KeyChange, StagedKeyring, Swap},
    mailbox::SpecialUse,
};
use std::{collections::HashSet, sync::Arc};

pub(crate) async fn r07_every_account_gets_salts_of_its_own(store: Arc<dyn Store>) {
    let mut salts = HashSet::new();
    for n in 0..20 {
        let id = account(&*store, &format!("user{n}@example.net")).await;
        // Made at account creation: it is there before anybody enrols or asks.
        let state = store.key_state(id).await.expect("the state");
        assert!(state.salt.as_bytes().len() >= 16, "128 bits or more");
        assert_eq!(state, store.key_state(id).await.expect("the state"), "and stays");
        assert!(salts.insert(state.salt), "unique for each user");
    }
    assert!(salts.iter().all(|salt| salt.as_bytes().iter().any(|b| *b != salt.as_bytes()[0])));
}

pub(crate) async fn an_account_has_its_mailboxes_from_the_start(store: Arc<dyn Store>) {
    let id = account(&*store, "alice@example.net").await;
    let mut found: Vec<_> = store
        .mailboxes(id)
        .await
        .expect("lists")
        .into_iter()
        .map(|mailbox| {
            assert!(mailbox.subscribed);
            (mailbox.name, mailbox.special_use)
        })
        .collect();
    found.sort();
    let expected = [
        ("Archive", Some(SpecialUse::Archive)),
        ("Drafts", Some(SpecialUse::Drafts)),
        ("INBOX", None),
        ("Junk", Some(SpecialUse::Junk)),
        ("Sent", Some(SpecialUse::Sent)),
        ("Trash", Some(SpecialUse::Trash)),
    ];
    assert_eq!(found, expected.map(|(name, special_use)| (name.to_owned(), special_use)));
}

pub(crate) async fn an_address_is_given_out_once(store: Arc<dyn Store>) {
    let alice = account(&*store, "alice@example.net").await;
    let again = store.create_account(&address("ALICE@example.NET"), CODE, NOW, NOW).await;
    assert!(matches!(again, Err(StoreError::Exists(_))));
    let bob = account(&*store, "bob@example.net").await;
    store.set_alias(&address("sales@example.net"), alice).await.expect("an alias");
    let taken = store.create_account(&address("sales@example.net"), CODE, NOW, NOW).await;
    assert!(matches!(taken, Err(StoreError::Exists(_))));
    let shadow = store.set_alias(&address("bob@example.net"), alice).await;
    assert!(matches!(shadow, Err(StoreError::Exists(_))));
    // An alias may be pointed elsewhere.
    store.set_alias(&address("sales@example.net"), bob).await.expect("moves");
    assert_eq!(store.resolve(&address("sales@example.net")).await.expect("resolves"), Some(bob));
}

pub(crate) async fn ids_are_never_given_out_again(store: Arc<dyn Store>) {
    let (mut accounts, mut mailboxes) = (HashSet::new(), HashSet::new());
    for _ in 0..3 {
        let id = account(&*store, "alice@example.net").await;
        assert!(accounts.insert(id));
        for mailbox in store.mailboxes(id).await.expect("lists") {
            assert!(mailboxes.insert(mailbox.id));
        }
        store.remove_account(&address("alice@example.net")).await.expect("removes");
    }
}

pub(crate) async fn an_address_leads_to_its_account(store: Arc<dyn Store>) {
    let alice = account(&*store, "alice@example.net").await;
    let list = account(&*store, "alice+list@example.net").await;
    store.set_alias(&address("postmaster@example.net"), alice).await.expect("an alias");
    for (text, leads_to) in [
        ("alice@example.net", Some(alice)),
        ("Alice@EXAMPLE.net", Some(alice)),
        ("alice+news@example.net", Some(alice)),
        ("postmaster@example.net", Some(alice)),
        ("postmaster+x@example.net", Some(alice)),
        // The exact address wins over the cut one.
        ("alice+list@example.net", Some(list)),
        ("bob@example.net", None),
        ("alice@example.com", None),
        ("ali@example.net", None),
    ] {
        assert_eq!(store.resolve(&address(text)).await.expect("resolves"), leads_to, "{text}");
    }
    let account = store.account(&address("alice@example.net")).await.expect("asks").expect("is there");
    assert_eq!((account.id, account.created, account.enrolled, account.has_key), (alice, NOW, false, false));
    // Only the primary address names an account.
    for other in ["postmaster@example.net", "alice+news@example.net", "bob@example.net"] {
        assert_eq!(store.account(&address(other)).await.expect("asks"), None);
        assert!(store.login(&address(other)).await.expect("asks").is_none());
    }
    let nobody = store.set_alias(&address("x@example.net"), AccountId(999)).await;
    assert!(matches!(nobody, Err(StoreError::Gone(_))));
}

pub(crate) async fn what_is_removed_is_gone(store: Arc<dyn Store>) {
    let alice = address("alice@example.net");
    let id = account(&*store, alice.as_str()).await;
    let inbox = crate::support::mailbox(&*store, id, "INBOX").await;
    store.append(inbox, vec![message("x")]).await.expect("appends");
    store.set_alias(&address("sales@example.net"), id).await.expect("an alias");
    store.add_app_password(id, app_password("phone")).await.expect("adds");
    assert!(matches!(store.enrol(&alice, CODE, login(1), NOW).await, Ok(Enrolment::Done(_))));
    store.remove_account(&alice).await.expect("removes");
    assert!(matches!(store.remove_account(&alice).await, Err(StoreError::Gone(_))));
    assert_eq!(store.resolve(&alice).await.expect("resolves"), None);
    assert_eq!(store.resolve(&address("sales@example.net")).await.expect("resolves"), None);
    assert!(store.login(&alice).await.expect("asks").is_none());
    assert!(store.accounts().await.expect("lists").is_empty());
    assert!(matches!(store.status(inbox).await, Err(StoreError::Gone(_))));
    assert!(matches!(store.mailboxes(id).await, Err(StoreError::Gone(_))));
    assert!(matches!(store.append(inbox, vec![message("x")]).await, Err(StoreError::Gone(_))));
    // The name is free, and its new owner finds nothing of the old one's.
    let next = account(&*store, alice.as_str()).await;
    let inbox = crate::support::mailbox(&*store, next, "INBOX").await;
    assert_eq!(store.status(inbox).await.expect("a status").messages, 0);
    assert!(store.app_passwords(next).await.expect("lists").is_empty());
    assert_eq!(store.keyring(next).await.expect("asks"), None);
}

pub(crate) async fn a_reset_needs_an_account(store: Arc<dyn Store>) {
    let alice = address("alice@example.net");
    assert!(matches!(store.reset_account(&alice, CODE, NOW).await, Err(StoreError::Gone(_))));
    let id = account(&*store, alice.as_str()).await;
    assert_eq!(store.reset_account(&alice, [8; 32], NOW.plus(60)).await.expect("resets"), id);
    // The old code is void, the new one holds.
    assert_eq!(store.enrol(&alice, CODE, login(1), NOW).await.expect("asks"), Enrolment::WrongCode);
    assert_eq!(store.enrol(&alice, [8; 32], login(1), NOW).await.expect("asks"), Enrolment::Done(id));
}

pub(crate) async fn accounts_are_listed_by_address(store: Arc<dyn Store>) {
    for name in ["zoe@example.net", "alice@example.net", "bob@example.com"] {
        account(&*store, name).await;
    }
    let names: Vec<_> = store
        .accounts()
        .await
        .expect("lists")
        .into_iter()
        .map(|account| account.address.to_string())
        .collect();
    assert_eq!(names, strings(&["alice@example.net", "bob@example.com", "zoe@example.net"]));
    let domains: Vec<_> =
        store.domains().await.expect("lists").into_iter().map(|domain| domain.to_string()).collect();
    assert_eq!(domains, strings(&["example.com", "example.net"]));
}

pub(crate) async fn enrolment_needs_the_code(store: Arc<dyn Store>) {
    let alice = address("alice@example.net");
    let id = account(&*store, alice.as_str()).await;
    assert!(store.login(&alice).await.expect("asks").is_none(), "not enrolled");
    for (who, code, when) in [
        ("bob@example.net", CODE, NOW),
        ("alice@example.net", [8; 32], NOW),
        ("alice@example.net", CODE, NOW.plus(3600)),
        ("alice@example.net", CODE, NOW.plus(99_999)),
        ("alice+x@example.net", CODE, NOW),
    ] {
        let outcome = store.enrol(&address(who), code, login(1), when).await.expect("asks");
        assert_eq!(outcome, Enrolment::WrongCode, "{who} at {when:?}");
    }
    assert!(store.login(&alice).await.expect("asks").is_none());
    let last = NOW.plus(3599);
    assert_eq!(store.enrol(&alice, CODE, login(1), last).await.expect("asks"), Enrolment::Done(id));
    let (who, stored) = store.login(&alice).await.expect("asks").expect("enrolled");
    assert_eq!((who, stored.salt, stored.cost), (id, login(1).salt, login(1).cost));
    assert_eq!(stored.verifier.0, login(1).verifier.0);
    assert!(store.account(&alice).await.expect("asks").expect("is there").enrolled);
    // Used up.
    assert_eq!(store.enrol(&alice, CODE, login(2), NOW).await.expect("asks"), Enrolment::WrongCode);
}

pub(crate) async fn a_code_can_be_judged_without_using_it(store: Arc<dyn Store>) {
    let alice = address("alice@example.net");
    account(&*store, alice.as_str()).await;
    for (who, code, at, valid) in [
        ("alice@example.net", CODE, 3599, true),
        ("alice@example.net", CODE, 3600, false),
        ("alice@example.net", [8; 32], 0, false),
        ("alice+x@example.net", CODE, 0, false),
        ("bob@example.net", CODE, 0, false),
        ("alice@example.net", CODE, 0, true),
    ] {
        assert_eq!(
            store.is_code(&address(who), code, NOW.plus(at)).await.expect("asks"),
            valid,
            "{who} {at}"
        );
    }
    assert!(matches!(store.enrol(&alice, CODE, login(1), NOW).await, Ok(Enrolment::Done(_))));
    assert!(!store.is_code(&alice, CODE, NOW).await.expect("asks"), "used up");
}

pub(crate) async fn a_login_salt_serves_one_account(store: Arc<dyn Store>) {
    let (alice, bob) = (address("alice@example.net"), address("bob@example.net"));
    account(&*store, alice.as_str()).await;
    let id = account(&*store, bob.as_str()).await;
    assert!(matches!(store.enrol(&alice, CODE, login(1), NOW).await, Ok(Enrolment::Done(_))));
    // A wrong code is that, whatever the salt (profile §5).
    assert_eq!(store.enrol(&bob, [9; 32], login(1), NOW).await.expect("asks"), Enrolment::WrongCode);
    assert_eq!(store.enrol(&bob, CODE, login(1), NOW).await.expect("asks"), Enrolment::SaltInUse);
    assert!(store.login(&bob).await.expect("asks").is_none());
    // The code stayed usable.
    assert_eq!(store.enrol(&bob, CODE, login(2), NOW).await.expect("asks"), Enrolment::Done(id));
    // One's own salt is in use too.
    store.reset_account(&bob, CODE, NOW.plus(60)).await.expect("resets");
    assert_eq!(store.enrol(&bob, CODE, login(2), NOW).await.expect("asks"), Enrolment::SaltInUse);
}

pub(crate) async fn enrolling_again_withdraws_the_key(store: Arc<dyn Store>) {
    let alice = address("alice@example.net");
    let id = account(&*store, alice.as_str()).await;
    assert!(matches!(store.enrol(&alice, CODE, login(1), NOW).await, Ok(Enrolment::Done(_))));
    let before = store.key_state(id).await.expect("the state");
    let [(key, statement), ..] = chain();
    let change = KeyChange {
        generation: before.generation,
        salt: Some(salt(77)),
        key,
        statement: Some(statement.clone()),
        login: None,
        keyring: Some(StagedKeyring { replaces: None, data: b"sealed".to_vec() }),
    };
    assert_eq!(store.set_key(id, change).await.expect("sets"), Swap::Done);
    store.add_app_password(id, app_password("phone")).await.expect("adds");
    let with_key = store.key_state(id).await.expect("the state");

    store.reset_account(&alice, CODE, NOW.plus(60)).await.expect("resets");
    assert!(store.public_key(&alice).await.expect("asks").is_some(), "a new code alone changes nothing");
    assert_eq!(store.enrol(&alice, CODE, login(2), NOW).await.expect("asks"), Enrolment::Done(id));
    let after = store.key_state(id).await.expect("the state");
    assert_eq!(after.published, None, "key withdrawn");
    assert_eq!(store.public_key(&alice).await.expect("asks"), None);
    assert!(after.salt != with_key.salt && after.salt != before.salt, "new key salt");
    assert!(store.app_passwords(id).await.expect("lists").is_empty(), "app passwords revoked");
    assert_eq!(after.chain, vec![statement.clone()], "statement chain kept");
    assert_eq!(store.key_chain(&alice).await.expect("asks"), vec![statement]);
    assert_eq!(store.keyring(id).await.expect("asks"), Some(b"sealed".to_vec()), "keyring kept");
    assert_ne!(after.generation, with_key.generation, "a session of the old login sets no key");
}

pub(crate) async fn enrolling_again_without_a_key_keeps_the_salt(store: Arc<dyn Store>) {
    let alice = address("alice@example.net");
    let id = account(&*store, alice.as_str()).await;
    let before = store.key_state(id).await.expect("the state");
    // An account can be used by app password before it is enrolled.
    store.add_app_password(id, app_password("phone")).await.expect("adds");
    assert!(matches!(store.enrol(&alice, CODE, login(1), NOW).await, Ok(Enrolment::Done(_))));
    let after = store.key_state(id).await.expect("the state");
    assert_eq!(after.salt, before.salt);
    assert_eq!(store.app_passwords(id).await.expect("lists").len(), 1);
}

pub(crate) fn app_password(name: &str) -> AppPassword {
    AppPassword {
        name: name.to_owned(),
        salt: vec![1, 2, 3],
        iterations: 4096,
        stored_key: [4; 32],
        server_key: [5; 32],
        created: NOW,
    }
}

pub(crate) async fn app_passwords_are_added_listed_revoked(store: Arc<dyn Store>) {
    let alice = account(&*store, "alice@example.net").await;
    let bob = account(&*store, "bob@example.net").await;
    for name in ["phone", "laptop"] {
        store.add_app_password(alice, app_password(name)).await.expect("adds");
    }
    store.add_app_password(bob, app_password("phone")).await.expect("names are per account");
    let again = store.add_app_password(alice, app_password("phone")).await;
    assert!(matches!(again, Err(StoreError::Exists(_))));
    assert_eq!(
        store.app_passwords(alice).await.expect("lists"),
        vec![app_password("laptop"), app_password("phone")]
    );
    store.revoke_app_password(alice, "phone").await.expect("revokes");
    assert!(matches!(store.revoke_app_password(alice, "phone").await, Err(StoreError::Gone(_))));
    assert_eq!(store.app_passwords(alice).await.expect("lists"), vec![app_password("laptop")]);
    assert_eq!(store.app_passwords(bob).await.expect("lists").len(), 1);
}

pub(crate) async fn app_passwords_have_limits(store: Arc<dyn Store>) {
    let alice = account(&*store, "alice@example.net").await;
    let nobody = store.add_app_password(AccountId(999), app_password("x")).await;
    assert!(matches!(nobody, Err(StoreError::Gone(_))));
    for name in [String::new(), "n".repeat(256)] {
        let refused = store.add_app_password(alice, app_password(&name)).await;
        assert!(matches!(refused, Err(StoreError::Refused(_))));
    }
    store.add_app_password(alice, app_password(&"n".repeat(255))).await.expect("fits");
    for n in 1..100 {
        store.add_app_password(alice, app_password(&format!("{n}"))).await.expect("adds");
    }
    let one_more = store.add_app_password(alice, app_password("one more")).await;
    assert!(matches!(one_more, Err(StoreError::Limit(_))));
}

pub(crate) async fn the_server_secret_stays(store: Arc<dyn Store>) {
    let secret = store.server_secret().await.expect("a secret");
    assert_ne!(secret, [0; 32]);
    assert_eq!(store.server_secret().await.expect("a secret"), secret);
}
