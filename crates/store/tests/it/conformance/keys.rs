//! Key changes, chains, keyrings.

use crate::support::{CODE, NOW, account, address, chain, login, salt};
use sealpost_proto::{key::PublicKey, statement::SignedStatement};
use sealpost_store::{
    Store, StoreError,
    account::{AccountId, Enrolment, KeyChange, StagedKeyring, Swap},
};
use sha2::{Digest, Sha256};
use std::sync::Arc;

fn change(generation: i64, key: &PublicKey, statement: Option<&SignedStatement>) -> KeyChange {
    KeyChange {
        generation,
        salt: None,
        key: key.clone(),
        statement: statement.cloned(),
        login: None,
        keyring: None,
    }
}

fn ring(replaces: Option<&[u8]>, data: &[u8]) -> StagedKeyring {
    StagedKeyring { replaces: replaces.map(|old| Sha256::digest(old).into()), data: data.to_vec() }
}

pub(crate) async fn r05_r28_a_rotation_is_one_change(store: Arc<dyn Store>) {
    let alice = address("alice@example.net");
    let id = account(&*store, alice.as_str()).await;
    let mut newest_first = Vec::new();
    let mut kept: Option<Vec<u8>> = None;
    for (n, (key, statement)) in (1..).zip(chain()) {
        let before = store.key_state(id).await.expect("the state");
        let sealed = vec![n; 100];
        let rotation = KeyChange {
            salt: Some(salt(n)),
            keyring: Some(ring(kept.as_deref(), &sealed)),
            ..change(before.generation, &key, Some(&statement))
        };
        assert_eq!(store.set_key(id, rotation).await.expect("sets"), Swap::Done);
        newest_first.insert(0, statement);
        kept = Some(sealed);
        let after = store.key_state(id).await.expect("the state");
        assert_ne!(after.generation, before.generation);
        assert_eq!((after.salt, after.published.as_ref()), (salt(n), Some(&key)));
        assert_eq!(after.chain, newest_first);
        assert_eq!(store.keyring(id).await.expect("asks"), kept);
        // By any address that leads to the account.
        for asked in [&alice, &address("alice+list@example.net")] {
            assert_eq!(store.public_key(asked).await.expect("asks").as_ref(), Some(&key));
            assert_eq!(store.key_chain(asked).await.expect("asks"), newest_first);
        }
    }
    assert!(store.account(&alice).await.expect("asks").expect("is there").has_key);
}

pub(crate) async fn r11_no_key_and_no_account_are_alike(store: Arc<dyn Store>) {
    account(&*store, "alice@example.net").await;
    for asked in ["alice@example.net", "bob@example.net"] {
        assert_eq!(store.public_key(&address(asked)).await.expect("asks"), None);
        assert!(store.key_chain(&address(asked)).await.expect("asks").is_empty());
    }
}

pub(crate) async fn a_key_without_a_statement_keeps_the_chain(store: Arc<dyn Store>) {
    let id = account(&*store, "alice@example.net").await;
    let [(first, statement), (second, _), _] = chain();
    let state = store.key_state(id).await.expect("the state");
    assert_eq!(
        store.set_key(id, change(state.generation, &first, Some(&statement))).await.expect("sets"),
        Swap::Done
    );
    let state = store.key_state(id).await.expect("the state");
    assert_eq!(store.set_key(id, change(state.generation, &second, None)).await.expect("sets"), Swap::Done);
    let after = store.key_state(id).await.expect("the state");
    assert_eq!((after.published, after.chain), (Some(second), vec![statement]));
    assert_eq!(after.salt, state.salt, "no salt was given: it stays");
}

pub(crate) async fn of_two_changes_of_one_state_one_wins(store: Arc<dyn Store>) {
    let id = account(&*store, "alice@example.net").await;
    let [(first, one), (second, two), _] = chain();
    for round in 0..20 {
        let before = store.key_state(id).await.expect("the state");
        let (a, b) = tokio::join!(
            store.set_key(
                id,
                KeyChange { salt: Some(salt(1)), ..change(before.generation, &first, Some(&one)) }
            ),
            store.set_key(
                id,
                KeyChange { salt: Some(salt(2)), ..change(before.generation, &second, Some(&two)) }
            ),
        );
        let (a, b) = (a.expect("asks"), b.expect("asks"));
        let after = store.key_state(id).await.expect("the state");
        let (key, salt) = match (a, b) {
            (Swap::Done, Swap::KeyChanged) => (&first, salt(1)),
            (Swap::KeyChanged, Swap::Done) => (&second, salt(2)),
            other => panic!("exactly one wins, not {other:?}"),
        };
        assert_eq!((after.published.as_ref(), after.salt), (Some(key), salt));
        assert_eq!(after.chain.len(), round + 1, "the loser's statement is not there");
    }
}

pub(crate) async fn r14_a_salt_is_reset_where_no_key_hangs_on_it(store: Arc<dyn Store>) {
    let id = account(&*store, "alice@example.net").await;
    let before = store.key_state(id).await.expect("the state");
    assert_eq!(store.reset_salt(id, before.generation, salt(1)).await.expect("resets"), Swap::Done);
    let after = store.key_state(id).await.expect("the state");
    assert_eq!(after.salt, salt(1));
    let stale = store.reset_salt(id, before.generation, salt(2)).await;
    assert_eq!(stale.expect("asks"), Swap::KeyChanged);
    // Where a key is published its salt goes with the next key alone (profile §9).
    let [(first, _), ..] = chain();
    assert_eq!(store.set_key(id, change(after.generation, &first, None)).await.expect("sets"), Swap::Done);
    let with_key = store.key_state(id).await.expect("the state");
    let refused = store.reset_salt(id, with_key.generation, salt(3)).await;
    assert_eq!(refused.expect("asks"), Swap::KeyChanged);
    assert_eq!(store.key_state(id).await.expect("the state"), with_key, "nothing changed");
}

pub(crate) async fn xpasswd_replaces_the_login(store: Arc<dyn Store>) {
    let alice = address("alice@example.net");
    let id = account(&*store, alice.as_str()).await;
    assert_eq!(store.enrol(&alice, CODE, login(1), NOW).await.expect("asks"), Enrolment::Done(id));
    let [(first, one), ..] = chain();
    let state = store.key_state(id).await.expect("the state");
    let passwd = KeyChange {
        salt: Some(salt(9)),
        login: Some(login(2)),
        ..change(state.generation, &first, Some(&one))
    };
    assert_eq!(store.set_key(id, passwd).await.expect("sets"), Swap::Done);
    let (_, stored) = store.login(&alice).await.expect("asks").expect("enrolled");
    assert_eq!((stored.salt, stored.verifier.0), (login(2).salt, login(2).verifier.0));
    assert_eq!(store.key_state(id).await.expect("the state").published, Some(first));
}

pub(crate) async fn xpasswd_refuses_a_salt_in_use(store: Arc<dyn Store>) {
    let (alice, bob) = (address("alice@example.net"), address("bob@example.net"));
    let id = account(&*store, alice.as_str()).await;
    account(&*store, bob.as_str()).await;
    assert_eq!(store.enrol(&alice, CODE, login(1), NOW).await.expect("asks"), Enrolment::Done(id));
    assert!(matches!(store.enrol(&bob, CODE, login(2), NOW).await, Ok(Enrolment::Done(_))));
    let [(first, one), ..] = chain();
    let before = store.key_state(id).await.expect("the state");
    for used in [1, 2] {
        let passwd = KeyChange {
            login: Some(login(used)),
            keyring: Some(ring(None, b"staged")),
            ..change(before.generation, &first, Some(&one))
        };
        assert_eq!(store.set_key(id, passwd).await.expect("asks"), Swap::SaltInUse);
        assert_eq!(store.key_state(id).await.expect("the state"), before, "nothing changed");
        assert_eq!(store.keyring(id).await.expect("asks"), None);
    }
}

pub(crate) async fn a_staged_keyring_must_replace_the_current_one(store: Arc<dyn Store>) {
    let alice = address("alice@example.net");
    let id = account(&*store, alice.as_str()).await;
    assert_eq!(store.enrol(&alice, CODE, login(1), NOW).await.expect("asks"), Enrolment::Done(id));
    assert_eq!(store.put_keyring(id, ring(None, b"current")).await.expect("puts"), Swap::Done);
    let [(first, one), ..] = chain();
    let before = store.key_state(id).await.expect("the state");
    for wrong in [None, Some(b"another".as_slice())] {
        let rotation = KeyChange {
            salt: Some(salt(3)),
            login: Some(login(5)),
            keyring: Some(ring(wrong, b"new")),
            ..change(before.generation, &first, Some(&one))
        };
        assert_eq!(store.set_key(id, rotation).await.expect("asks"), Swap::KeyringChanged);
        assert_eq!(store.key_state(id).await.expect("the state"), before, "nothing changed");
        assert_eq!(store.keyring(id).await.expect("asks"), Some(b"current".to_vec()));
        let (_, stored) = store.login(&alice).await.expect("asks").expect("enrolled");
        assert_eq!(stored.salt, login(1).salt);
    }
    let right = KeyChange {
        keyring: Some(ring(Some(b"current"), b"new")),
        ..change(before.generation, &first, None)
    };
    assert_eq!(store.set_key(id, right).await.expect("sets"), Swap::Done);
    assert_eq!(store.keyring(id).await.expect("asks"), Some(b"new".to_vec()));
}

pub(crate) async fn keyrings_are_compared_and_swapped(store: Arc<dyn Store>) {
    let id = account(&*store, "alice@example.net").await;
    assert_eq!(store.keyring(id).await.expect("asks"), None);
    assert_eq!(store.put_keyring(id, ring(Some(b"x"), b"a")).await.expect("asks"), Swap::KeyringChanged);
    let mut current: Option<Vec<u8>> = None;
    for n in 0..12_u8 {
        let next = vec![n; 10];
        assert_eq!(store.put_keyring(id, ring(current.as_deref(), &next)).await.expect("puts"), Swap::Done);
        let stale = store.put_keyring(id, ring(current.as_deref(), b"stale")).await;
        assert_eq!(stale.expect("asks"), Swap::KeyringChanged);
        assert_eq!(store.keyring(id).await.expect("asks"), Some(next.clone()));
        current = Some(next);
    }
    let (a, b) = tokio::join!(
        store.put_keyring(id, ring(current.as_deref(), b"a")),
        store.put_keyring(id, ring(current.as_deref(), b"b"))
    );
    let outcomes = [a.expect("asks"), b.expect("asks")];
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Swap::Done).count(), 1);
}

pub(crate) async fn keys_need_an_account(store: Arc<dyn Store>) {
    let nobody = AccountId(999);
    let [(first, _), ..] = chain();
    assert!(matches!(store.key_state(nobody).await, Err(StoreError::Gone(_))));
    assert!(matches!(store.set_key(nobody, change(1, &first, None)).await, Err(StoreError::Gone(_))));
    assert!(matches!(store.keyring(nobody).await, Err(StoreError::Gone(_))));
    assert!(matches!(store.put_keyring(nobody, ring(None, b"x")).await, Err(StoreError::Gone(_))));
    assert!(matches!(store.app_passwords(nobody).await, Err(StoreError::Gone(_))));
}
