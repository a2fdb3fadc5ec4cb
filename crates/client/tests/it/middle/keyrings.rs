//! Keyrings (profile §9) dropped, cut, replayed and planted by the server that keeps them.

use super::*;
use crate::world::{address, secret};
use sealpost_crypto::{key::SecretKey, keyring::Keyring};
use sealpost_hostile::{Attack, mallory};

const NOT_CHANGED: &str = "so the key is not changed";

#[tokio::test(flavor = "multi_thread")]
async fn r28_a_keyring_that_is_not_the_newest_of_ones_own_is_refused() {
    let world = World::start().await;
    let middle = world.between("example.net").await;
    let alice = world.enrolled(ALICE, FIRST).await;
    world.enrolled(BOB, SECOND).await;
    let store = &world.net.context.store;
    let (account, _) = store.login(&address(ALICE)).await.unwrap().unwrap();
    let older = store.keyring(account).await.unwrap().unwrap();
    expect("a contact", &alice, BOB, NONE, Outcome::Sealed, &[]).await;
    alice.rotate(&secret(FIRST), false).await.unwrap();
    let present = alice.key_show().unwrap().key;
    let planted = |who: &str, by: &SecretKey| {
        Keyring::default().seal(&address(who), 1_000_000, by, std::slice::from_ref(&present)).unwrap()
    };
    let own = world.stolen_key("alice");
    for (attack, why) in [
        (Attack::Keyring(older), "older than number"),
        (Attack::Keyring(planted(ALICE, &mallory())), "sign"),
        (Attack::Keyring(planted("carol@example.net", &own)), "another"),
        (Attack::Keyring(b"no keyring at all".to_vec()), ""),
        (Attack::CutKeyring(1), ""),
        (Attack::CutKeyring(600), ""),
        (Attack::Answer("XKEYRING", "220 !!"), ""),
        (Attack::DenyKeyring, "no keyring any more"),
        (Attack::Strip("XSEALPOST"), "no keyring any more"),
    ] {
        middle.attack(attack.clone());
        let what: String = format!("{attack:?}").chars().take(60).collect();
        let error = alice.rotate(&secret(FIRST), false).await.expect_err(&what);
        assert_eq!(error.exit_code(), 1, "{what}: {error}");
        assert!(error.to_string().contains(why), "{what}: {why:?} in {error}");
        if !matches!(attack, Attack::Answer(..)) {
            assert!(error.to_string().contains(NOT_CHANGED), "{what}: {error}");
            assert!(error.to_string().contains("--no-keyring"), "{what}: {error}");
        }
        // A new device is told that it does not have everything. (That there is an older or no keyring it cannot know.)
        if matches!(attack, Attack::Keyring(_) | Attack::CutKeyring(_)) && why != "older than number" {
            let report = world.client("phone").login(&address(ALICE), &secret(FIRST)).await.unwrap();
            let said = report.notes.join(" ");
            assert!(said.contains("the keyring on the server cannot be opened"), "{what}: {said}");
            assert_eq!(report.contacts, 0, "{what}: nothing of a planted keyring is believed");
            std::fs::remove_dir_all(world.folder("phone")).unwrap();
        }
        middle.honest();
        assert_eq!(alice.key_show().unwrap().key, present, "{what}");
    }
    let phone = world.device("phone", ALICE, FIRST).await;
    assert_eq!(phone.contacts().unwrap().len(), 1);
    assert_ne!(alice.rotate(&secret(FIRST), false).await.unwrap().key.key, present, "honest again");
}

/// Another device that is always quicker: three attempts, and no fourth.
#[tokio::test(flavor = "multi_thread")]
async fn r28_a_keyring_that_is_never_taken_is_tried_three_times() {
    let world = World::start().await;
    let middle = world.between("example.net").await;
    let alice = world.enrolled(ALICE, FIRST).await;
    alice.rotate(&secret(FIRST), false).await.unwrap();
    let before = alice.key_show().unwrap();
    middle.forget();
    middle.attack(Attack::Answer("XKEYRING ", "554 5.5.1 Another keyring"));
    let error = alice.rotate(&secret(FIRST), false).await.unwrap_err();
    assert_eq!(error.exit_code(), 5, "{error}");
    assert!(error.to_string().contains("three times over; nothing was changed here"), "{error}");
    assert_eq!(middle.heard().iter().filter(|line| line.starts_with("XKEYRING ")).count(), 3);
    assert_eq!(alice.key_show().unwrap(), before);
    middle.honest();
    alice.rotate(&secret(FIRST), false).await.unwrap();
}
