//! The recovery kit over the real server: from a forgotten password to all mail readable.

use crate::world::{Agreeable, World, address, enrol, mailbox, message, read, secret};
use sealpost_client::{
    client::{Client, Outcome, Which},
    error::ClientError,
    open::Verdict,
};
use sealpost_crypto::{keyring::Keyring, recovery::RecoveryKey};
use sealpost_hostile::{Attack, mallory};
use std::{fs, sync::Arc};

const ALICE: &str = "alice@example.net";
const BOB: &str = "bob@example.com";
const FIRST: &str = "purple walrus juggles forty lanterns";
const SECOND: &str = "quiet marble engine borrows thunder";
const THIRD: &str = "rapid velvet otter compiles gravel";

async fn text(client: &Client, folder: &str, uid: u32) -> Option<(Verdict, String)> {
    let report = read(client, folder, Which::Uid(uid)).await;
    report.content.map(|content| (report.verdict, content.text.trim().to_owned()))
}

/// Alice with mail of two keys, a contact, and a kit made before the second key.
async fn with_kit(world: &World) -> (Client, Client, RecoveryKey) {
    let alice = world.enrolled(ALICE, FIRST).await;
    let bob = world.enrolled(BOB, SECOND).await;
    bob.send(message(&[ALICE], "one", "one")).await.unwrap();
    alice.send(message(&[BOB], "from alice", "from alice")).await.unwrap();
    let kit = alice.recovery_key();
    let made = alice.recovery_make(&kit).await.unwrap();
    let on_page = kit.key(&address(ALICE)).public().fingerprint();
    assert_eq!(made.kit.as_ref().map(|(kit, _)| kit.clone()), Some(on_page));
    // Another device learns of it, and rotates: the kit goes along.
    let phone = world.device("phone", ALICE, FIRST).await;
    phone.rotate(&secret(FIRST), false).await.unwrap();
    assert_eq!(phone.recovery().unwrap().kit, made.kit);
    bob.send(message(&[ALICE], "two", "two")).await.unwrap();
    world.arrived(&phone, 2).await;
    (alice, bob, kit)
}

#[tokio::test(flavor = "multi_thread")]
async fn r28_from_a_forgotten_password_to_all_mail_readable() {
    let world = World::start().await;
    let (_, bob, kit) = with_kit(&world).await;
    let before = world.client("phone").key_show().unwrap();

    // Every device and the password are gone. A new code, a new password, a new key.
    let code = world.reset(ALICE).await;
    let new = world.client("new");
    let enrolled = enrol(&new, ALICE, THIRD, code).await.unwrap();
    assert!(
        enrolled.waits_for_kit && enrolled.notes.join(" ").contains("sealpost recovery use"),
        "{:?}",
        enrolled.notes
    );
    assert!(new.recovery().unwrap().waits);
    for uid in [1, 2] {
        assert_eq!(text(&new, "INBOX", uid).await, None);
    }
    // Until the kit comes, nothing is done that would bury the old keyring.
    for refused in [
        new.rotate(&secret(THIRD), false).await.unwrap_err(),
        new.passwd(&secret(THIRD), &secret(FIRST)).await.unwrap_err(),
        new.recovery_make(&new.recovery_key()).await.unwrap_err(),
        new.recovery_revoke(false).await.unwrap_err(),
    ] {
        assert!(refused.to_string().contains("sealpost recovery use"), "{refused}");
    }
    // Contacts see an unsigned change.
    let refused = bob.send(message(&[ALICE], "three", "three")).await.unwrap_err();
    assert!(refused.to_string().contains("no signed statement leads there"), "{refused}");
    bob.contact_accept(&mailbox(ALICE), Some(&enrolled.key.fingerprint)).await.unwrap();
    bob.send(message(&[ALICE], "three", "three")).await.unwrap();
    world.arrived(&new, 3).await;

    // A wrong kit takes nothing over.
    let wrong = new.recovery_use(&new.recovery_key()).await.unwrap_err();
    assert!(wrong.to_string().contains("not sealed to this kit"), "{wrong}");
    // The words as they stand on the page.
    let typed = RecoveryKey::parse(&kit.words()).ok().unwrap();
    let back = new.recovery_use(&typed).await.unwrap();
    assert_eq!((back.keys.len(), back.contacts, back.notes.len()), (2, 1, 0), "{back:?}");
    // In the order of their ends, which may be the same second.
    assert!(back.keys.iter().any(|(key, ..)| *key == before.key), "{back:?}");
    assert!(!new.recovery().unwrap().waits);
    for (uid, want) in [(1, "one"), (2, "two"), (3, "three")] {
        assert_eq!(text(&new, "INBOX", uid).await, Some((Verdict::Good, want.to_owned())), "{uid}");
    }
    assert_eq!(text(&new, "Sent", 1).await, Some((Verdict::Good, "from alice".to_owned())));
    // Bob's pin is back, and one key is published: the new one.
    assert_eq!(new.contact(&mailbox(BOB)).unwrap().key, bob.key_show().unwrap().key);
    assert_eq!(new.key_show().unwrap().key, enrolled.key.key);
    let sent = bob.send(message(&[ALICE], "four", "four")).await.unwrap();
    assert_eq!(sent.recipients[0].outcome, Outcome::Sealed);

    // From then on all is as it was: a new device needs the password alone, the page stays good, keys rotate.
    new.rotate(&secret(THIRD), false).await.unwrap();
    let tablet = world.device("tablet", ALICE, THIRD).await;
    assert_eq!(text(&tablet, "INBOX", 1).await, Some((Verdict::Good, "one".to_owned())));
    assert_eq!(tablet.key_show().unwrap().retired.len(), 3);
    let again = tablet.recovery_use(&kit).await.unwrap();
    assert_eq!((again.keys.len(), again.contacts), (0, 1), "the kit fits, and nothing is missing");
    // Forgotten once more.
    let code = world.reset(ALICE).await;
    let newest = world.client("newest");
    enrol(&newest, ALICE, FIRST, code).await.unwrap();
    assert_eq!(newest.recovery_use(&kit).await.unwrap().keys.len(), 4);
    assert_eq!(text(&newest, "INBOX", 2).await, Some((Verdict::Good, "two".to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_still_has_the_old_key_needs_no_kit() {
    let world = World::start().await;
    let (..) = with_kit(&world).await;
    let code = world.reset(ALICE).await;
    let new = world.client("new");
    enrol(&new, ALICE, THIRD, code).await.unwrap();
    // The phone is set up anew with the new password; its owner says that this is right.
    let phone = world.client_with("phone", Arc::new(Agreeable::default()));
    phone.login(&address(ALICE), &secret(THIRD)).await.unwrap();
    assert_eq!(text(&phone, "INBOX", 2).await.map(|(_, text)| text).as_deref(), Some("two"));
    // It writes the keyring, and so the new device has everything too.
    phone.send(message(&["bob@example.com"], "s", "t")).await.unwrap();
    phone.rotate(&secret(THIRD), false).await.unwrap();
    let tablet = world.device("tablet", ALICE, THIRD).await;
    assert_eq!(text(&tablet, "INBOX", 1).await.map(|(_, text)| text).as_deref(), Some("one"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kit_that_was_revoked_or_replaced_opens_nothing() {
    let world = World::start().await;
    let (alice, _, first) = with_kit(&world).await;
    alice.login(&address(ALICE), &secret(FIRST)).await.unwrap();
    let second = alice.recovery_key();
    let made = alice.recovery_make(&second).await.unwrap();
    let closed = |error: ClientError| {
        assert!(error.to_string().contains("it was revoked or replaced"), "{error}");
    };
    closed(alice.recovery_use(&first).await.unwrap_err());
    assert!(alice.recovery_use(&second).await.is_ok());
    // The other device hears of it with the next keyring that it writes.
    let phone = world.client("phone");
    phone.login(&address(ALICE), &secret(FIRST)).await.unwrap();
    assert_eq!(phone.recovery().unwrap().kit, made.kit);
    let revoked = phone.recovery_revoke(false).await.unwrap();
    assert!(revoked.kit.is_none() && revoked.revoked.is_some());
    closed(alice.recovery_use(&second).await.unwrap_err());
    let none = phone.recovery_revoke(false).await.unwrap_err();
    assert!(none.to_string().contains("there is no recovery kit"), "{none}");
    // A kit can be made again.
    assert!(alice.recovery_make(&alice.recovery_key()).await.unwrap().kit.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_kit_is_given_up_by_word_alone() {
    let world = World::start().await;
    with_kit(&world).await;
    let code = world.reset(ALICE).await;
    let new = world.client("new");
    enrol(&new, ALICE, THIRD, code).await.unwrap();
    let asked = new.recovery_revoke(false).await.unwrap_err();
    assert_eq!(asked.exit_code(), 3, "{asked}");
    assert!(asked.to_string().contains("--lost"), "{asked}");
    assert!(!new.recovery_revoke(true).await.unwrap().waits);
    // It goes on without the old mail, and with a keyring.
    assert_eq!(text(&new, "INBOX", 1).await, None);
    new.send(message(&[BOB], "s", "t")).await.unwrap();
    new.rotate(&secret(THIRD), false).await.unwrap();
    let tablet = world.device("tablet", ALICE, THIRD).await;
    assert_eq!((tablet.contacts().unwrap().len(), tablet.key_show().unwrap().retired.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kit_needs_a_keyring_and_lies_on_no_disk() {
    let world = World::start().await;
    let (alice, _, kit) = with_kit(&world).await;
    for folder in ["alice", "phone"] {
        for file in fs::read_dir(world.folder(folder)).unwrap().map(|e| fs::read(e.unwrap().path()).unwrap())
        {
            let file = String::from_utf8_lossy(&file).into_owned();
            for secret in [&*kit.words(), &*kit.text()] {
                assert!(!file.contains(secret));
            }
        }
    }
    alice.login(&address(ALICE), &secret(FIRST)).await.unwrap();
    let rotated = alice.rotate(&secret(FIRST), true).await.unwrap();
    assert!(
        rotated.notes.join(" ").contains("the recovery kit does not know the new key"),
        "{:?}",
        rotated.notes
    );
    let refused = alice.recovery_make(&alice.recovery_key()).await.unwrap_err();
    assert!(refused.to_string().contains("--no-keyring"), "{refused}");
}

/// A server that shows an older keyring to the kit: what is missing is named.
#[tokio::test(flavor = "multi_thread")]
async fn r28_an_older_keyring_does_not_pass_for_the_whole() {
    let world = World::start().await;
    let middle = world.between("example.net").await;
    let alice = world.enrolled(ALICE, FIRST).await;
    let kit = alice.recovery_key();
    alice.recovery_make(&kit).await.unwrap();
    let store = &world.net.context.store;
    let (account, _) = store.login(&address(ALICE)).await.unwrap().unwrap();
    let older = store.keyring(account).await.unwrap().unwrap();
    let first = alice.key_show().unwrap().fingerprint;
    let second = alice.rotate(&secret(FIRST), false).await.unwrap().key.fingerprint;
    let code = world.reset(ALICE).await;
    let new = world.client("new");
    enrol(&new, ALICE, THIRD, code).await.unwrap();
    middle.attack(Attack::Keyring(older));
    // It is what the server has, so nothing can be written in its place.
    let back = new.recovery_use(&kit).await;
    middle.honest();
    assert_eq!(back.unwrap_err().exit_code(), 5);
    assert_eq!(new.key_show().unwrap().retired.iter().map(|r| &r.fingerprint).collect::<Vec<_>>(), [&first]);
    let back = new.recovery_use(&kit).await.unwrap();
    assert_eq!(back.keys.iter().map(|(key, ..)| key.fingerprint()).collect::<Vec<_>>(), [second]);
    assert_eq!(back.notes.len(), 0);
    // One of its own making, even by somebody who knew the kit, is nobody's.
    let planted = Keyring::default()
        .seal(&address(ALICE), 1_000, &mallory(), &[kit.key(&address(ALICE)).public()])
        .unwrap();
    middle.attack(Attack::Keyring(planted));
    let refused = new.recovery_use(&kit).await.unwrap_err();
    assert!(refused.to_string().contains("the server may have planted it"), "{refused}");
}
