//! The life of an account against the real server: enrolment, devices, rotation, password, and what goes wrong.

use crate::world::{Agreeable, World, address, enrol, mailbox, message, read, read_last, secret};
use sealpost_client::{
    client::{Outcome, Published, Which},
    error::ClientError,
    open::Verdict,
    ui::Question,
};
use serde_json::{Value, json};
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc};

const ALICE: &str = "alice@example.net";
const BOB: &str = "bob@example.com";
const FIRST: &str = "purple walrus juggles forty lanterns";
const SECOND: &str = "quiet marble engine borrows thunder";

fn secrets(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("secrets.json")).unwrap()).unwrap()
}

fn set_secrets(folder: &Path, value: &Value) {
    fs::write(folder.join("secrets.json"), value.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn r22_r27_a_new_device_needs_nothing_but_the_password() {
    let world = World::start().await;
    let alice = world.enrolled(ALICE, FIRST).await;
    let shown = alice.key_show().unwrap();
    assert_eq!(shown.words.split(' ').count(), 12);
    assert_eq!(shown.expires.0 - shown.created.0, 2 * 365 * 86_400);

    let report = world.client("phone").login(&address(ALICE), &secret(FIRST)).await.unwrap();
    assert_eq!(report.key.key, shown.key, "the same password makes the same key");
    assert_eq!(report.server, "mail.example.net");

    // The password is in no file of any folder, and what is there is the owner's alone.
    for folder in ["alice", "phone"] {
        let folder = world.folder(folder);
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        for file in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let octets = fs::read(file.path()).unwrap();
            assert!(!octets.windows(6).any(|w| w == b"walrus"), "{:?}", file.path());
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.path());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_unknown_users_and_used_codes_are_refused_alike() {
    let world = World::start().await;
    world.enrolled(ALICE, FIRST).await;
    let fails = |who: &'static str, password: &'static str| {
        let client = world.client("other");
        async move { client.login(&address(who), &secret(password)).await.unwrap_err() }
    };
    let wrong = fails(ALICE, SECOND).await;
    assert_eq!(wrong.exit_code(), 6);
    let unknown = fails("nobody@example.net", FIRST).await;
    assert_eq!(unknown.to_string(), wrong.to_string().replace("alice@", "nobody@"));
    // Nothing of a failed login makes the folder an account's.
    assert!(matches!(world.client("other").key_show(), Err(ClientError::NoAccount(_))));

    let code = world.add("carol@example.net").await;
    let carol = "carol@example.net";
    let bad = enrol(&world.client("c1"), carol, FIRST, "nonsense".to_owned().into()).await.unwrap_err();
    assert_eq!(bad.exit_code(), 6);
    enrol(&world.client("c2"), carol, FIRST, code.clone()).await.unwrap();
    let used = enrol(&world.client("c3"), carol, SECOND, code).await.unwrap_err();
    assert_eq!(used.exit_code(), 6);
    // A weak password never gets as far as the server.
    let weak = enrol(&world.client("c4"), carol, "password1", "x".to_owned().into()).await.unwrap_err();
    assert!(matches!(weak, ClientError::Password(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_one_accounts() {
    let world = World::start().await;
    let alice = world.enrolled(ALICE, FIRST).await;
    let other = alice.login(&address("carol@example.net"), &secret(FIRST)).await.unwrap_err();
    assert!(matches!(other, ClientError::OtherAccount(_)), "{other}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r28_rotation_and_password_change_keep_old_mail_readable_on_new_devices() {
    let world = World::start().await;
    let alice = world.enrolled(ALICE, FIRST).await;
    let bob = world.enrolled(BOB, SECOND).await;
    let sent = bob.send(message(&[ALICE], "Grüße ✉", "first")).await.unwrap();
    assert_eq!(sent.recipients[0].outcome, Outcome::Sealed);
    world.arrived(&alice, 1).await;
    let before = alice.key_show().unwrap();

    let rotated = alice.rotate(&secret(FIRST), false).await.unwrap();
    assert_ne!(rotated.key.key, before.key);
    assert_eq!(rotated.retired_keys, 1);
    assert_eq!(read_last(&alice).await.content.unwrap().text.trim(), "first");

    // Bob's client follows the signed statement, and says so.
    let sent = bob.send(message(&[ALICE], "second", "second")).await.unwrap();
    assert_eq!(sent.recipients[0].outcome, Outcome::Sealed);
    assert_eq!(bob.contact(&mailbox(ALICE)).unwrap().key, rotated.key.key);

    // A new device, the password alone: old mail and the new.
    let phone = world.device("phone", ALICE, FIRST).await;
    world.arrived(&phone, 2).await;
    for (uid, text) in [(1, "first"), (2, "second")] {
        let read = read(&phone, "INBOX", Which::Uid(uid)).await;
        assert_eq!(read.content.unwrap().text.trim(), text, "{:?}", read.verdict);
    }

    // The password changes: the old one is worth nothing any more, old mail still opens.
    let wrong =
        phone.passwd(&secret(SECOND), &secret("rapid velvet otter compiles gravel")).await.unwrap_err();
    assert_eq!(wrong.exit_code(), 6);
    let changed = phone.passwd(&secret(FIRST), &secret(SECOND)).await.unwrap();
    assert_eq!(changed.retired_keys, 2);
    assert_eq!(world.client("x").login(&address(ALICE), &secret(FIRST)).await.unwrap_err().exit_code(), 6);
    let tablet = world.device("tablet", ALICE, SECOND).await;
    assert_eq!(tablet.key_show().unwrap().retired.len(), 2);
    assert_eq!(read(&tablet, "INBOX", Which::Uid(1)).await.content.unwrap().text.trim(), "first");
    assert_eq!(tablet.key_export(true).unwrap().len(), 3);

    // The device of old is told what to do, and its pins and mail are there after it.
    let stale = alice.list("INBOX").await.unwrap_err();
    assert!(stale.to_string().contains("sealpost login"), "{stale}");
    alice.login(&address(ALICE), &secret(SECOND)).await.unwrap();
    assert_eq!(read(&alice, "INBOX", Which::Uid(1)).await.content.unwrap().text.trim(), "first");

    // Bob's pin follows both steps.
    bob.send(message(&[ALICE], "third", "third")).await.unwrap();
    assert_eq!(bob.contact(&mailbox(ALICE)).unwrap().key, changed.key.key);
}

#[tokio::test(flavor = "multi_thread")]
async fn r28_a_device_whose_key_was_rotated_elsewhere_sends_nothing_until_login() {
    let world = World::start().await;
    let alice = world.enrolled(ALICE, FIRST).await;
    let phone = world.device("phone", ALICE, FIRST).await;
    phone.rotate(&secret(FIRST), false).await.unwrap();
    let refused = alice.send(message(&[ALICE], "s", "t")).await.unwrap_err();
    assert_eq!(refused.exit_code(), 3);
    assert!(refused.to_string().contains("sealpost login"), "{refused}");
    assert_eq!(alice.list("Sent").await.unwrap(), []);
    let report = alice.login(&address(ALICE), &secret(FIRST)).await.unwrap();
    assert_eq!(report.key.key, phone.key_show().unwrap().key);
    assert_eq!(report.retired_keys, 1);
    alice.send(message(&[ALICE], "s", "t")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn r28_an_answer_that_got_lost_is_found_out() {
    let world = World::start().await;
    let alice = world.enrolled(ALICE, FIRST).await;
    let folder = world.folder("alice");
    let cut_off = |before: &Value, after: &Value| {
        // As it lies on the disk between sending the change and hearing of it.
        let mut cut = before.clone();
        cut["pending"] = after["current"].clone();
        cut
    };
    let before = secrets(&folder);
    let rotated = alice.rotate(&secret(FIRST), false).await.unwrap().key.key;
    set_secrets(&folder, &cut_off(&before, &secrets(&folder)));
    alice.send(message(&[ALICE], "s", "t")).await.unwrap();
    assert_eq!(alice.key_show().unwrap().key, rotated);
    assert_eq!(alice.key_show().unwrap().retired.len(), 1);

    let before = secrets(&folder);
    let changed = alice.passwd(&secret(FIRST), &secret(SECOND)).await.unwrap().key.key;
    set_secrets(&folder, &cut_off(&before, &secrets(&folder)));
    alice.list("INBOX").await.unwrap();
    alice.send(message(&[ALICE], "s", "t")).await.unwrap();
    assert_eq!(alice.key_show().unwrap().key, changed);

    // A change that the server never took is dropped.
    let mut never = secrets(&folder);
    never["pending"] = before["current"].clone();
    set_secrets(&folder, &never);
    alice.send(message(&[ALICE], "s", "t")).await.unwrap();
    assert_eq!(alice.key_show().unwrap().key, changed);
    assert_eq!(secrets(&folder)["pending"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn enrolment_goes_on_where_it_was_cut_off() {
    let world = World::start().await;
    let code = world.add(ALICE).await;
    let client = world.client("alice");
    enrol(&client, ALICE, FIRST, code.clone()).await.unwrap();
    let folder = world.folder("alice");
    let key = client.key_show().unwrap().key;
    // As after a crash: the code is used up, the login in force, the key published or not.
    let done = secrets(&folder);
    set_secrets(
        &folder,
        &json!({ "version": 1, "current": null, "retired": [], "pending": done["current"] }),
    );
    assert!(matches!(client.key_show(), Err(ClientError::NoAccount(_))));
    enrol(&client, ALICE, FIRST, code.clone()).await.unwrap();
    assert_eq!(client.key_show().unwrap().key, key);
    // With another password it is another attempt, for which the code is used up.
    set_secrets(
        &folder,
        &json!({ "version": 1, "current": null, "retired": [], "pending": done["current"] }),
    );
    assert_eq!(enrol(&client, ALICE, SECOND, code).await.unwrap_err().exit_code(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn r04_a_swapped_key_is_refused_until_accepted() {
    let world = World::start().await;
    let alice = world.enrolled(ALICE, FIRST).await;
    let bob = world.enrolled(BOB, SECOND).await;
    alice.send(message(&[BOB], "one", "one")).await.unwrap();
    let pinned = bob.key_show().unwrap().key;
    assert_eq!(alice.contact(&mailbox(BOB)).unwrap().key, pinned);

    // Somebody with power over the server enrols in Bob's place.
    let code = world.reset(BOB).await;
    let mallory = world.client("mallory");
    let there = enrol(&mallory, BOB, "seventeen copper kites refuse soup", code).await.unwrap().key.key;
    let refused = alice.send(message(&[BOB], "two", "two")).await.unwrap_err();
    assert!(refused.to_string().contains("contact accept bob@example.com"), "{refused}");
    assert!(refused.to_string().contains(&there.fingerprint()), "{refused}");
    let allowed = alice.send({
        let mut request = message(&[BOB], "two", "two");
        request.policy.allow_plain = true;
        request.policy.trust_first_use = true;
        request
    });
    assert!(matches!(allowed.await.unwrap_err(), ClientError::NotSent(_)), "no option overrules a pin");
    // What she writes does not read as Bob's.
    mallory.send(message(&[ALICE], "it is me", "really")).await.unwrap();
    world.arrived(&alice, 1).await;
    let read = read_last(&alice).await;
    assert_eq!(read.verdict, Verdict::NotTheSendersKey);
    assert!(read.content.is_none());

    let lookup = alice.key_lookup(&mailbox(BOB)).await.unwrap();
    assert!(lookup.authenticated && lookup.pinned == Some(pinned));
    assert!(matches!(lookup.published, Published::Key { key, .. } if key == there));
    assert!(lookup.notes.iter().any(|n| n.contains("NOT the key")), "{:?}", lookup.notes);

    // Bob's own device is told, and publishes nothing.
    let told = bob.list("INBOX").await.unwrap_err();
    assert_eq!(told.exit_code(), 6, "{told}");

    assert_eq!(alice.contact_accept(&mailbox(BOB), None).await.unwrap_err().exit_code(), 3, "unattended");
    assert!(alice.contact_accept(&mailbox(BOB), Some("SHA256:abc")).await.is_err());
    let accepted = alice.contact_accept(&mailbox(BOB), Some(&there.fingerprint())).await.unwrap();
    assert_eq!(accepted.contact.key, there);
    alice.send(message(&[BOB], "two", "two")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn r05_a_statement_is_renewed_in_the_last_half_of_its_life() {
    let world = World::start().await;
    let alice = world.enrolled(ALICE, FIRST).await;
    alice.rotate(&secret(FIRST), false).await.unwrap();
    let first = alice.key_show().unwrap();
    world.clock.forward(360);
    alice.list("INBOX").await.unwrap();
    assert_eq!(alice.key_show().unwrap().created, first.created, "not in the first half");
    world.clock.forward(10);
    alice.list("INBOX").await.unwrap();
    let renewed = alice.key_show().unwrap();
    assert!(renewed.created > first.created && renewed.expires > first.expires);
    assert_eq!(renewed.key, first.key);
    let published = alice.key_lookup(&mailbox(ALICE)).await.unwrap().published;
    assert!(
        matches!(published, Published::Key { statement: Some((created, _)), .. } if created == renewed.created)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn r28_devices_share_their_trust_through_the_keyring() {
    let world = World::start().await;
    let alice = world.enrolled(ALICE, FIRST).await;
    let phone = world.device("phone", ALICE, FIRST).await;
    world.enrolled(BOB, SECOND).await;
    world.enrolled("carol@example.com", SECOND).await;
    alice.send(message(&[BOB], "s", "t")).await.unwrap();
    // Written by one device, then by the other, which merges what it finds.
    phone.send(message(&["carol@example.com"], "s", "t")).await.unwrap();
    assert_eq!(phone.contacts().unwrap().len(), 2);
    let tablet = world.device("tablet", ALICE, FIRST).await;
    let names: Vec<String> = tablet.contacts().unwrap().iter().map(|c| c.address.to_string()).collect();
    assert_eq!(names, ["bob@example.com", "carol@example.com"]);
    // Forgotten is forgotten, also where the keyring still knew.
    tablet.contact_forget(&mailbox(BOB)).await.unwrap();
    assert_eq!(tablet.contacts().unwrap().len(), 1);
    assert_eq!(world.device("watch", ALICE, FIRST).await.contacts().unwrap().len(), 1);
    assert!(tablet.contact_forget(&mailbox("dave@example.org")).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyring_that_goes_back_stops_rotation() {
    let world = World::start().await;
    let alice = world.enrolled(ALICE, FIRST).await;
    let trust = world.folder("alice").join("trust.json");
    let mut known: Value = serde_json::from_slice(&fs::read(&trust).unwrap()).unwrap();
    known["own"]["serial"] = json!(1_000);
    fs::write(&trust, known.to_string()).unwrap();
    let refused = alice.rotate(&secret(FIRST), false).await.unwrap_err();
    assert!(refused.to_string().contains("--no-keyring"), "{refused}");
    let before = alice.key_show().unwrap().key;
    assert_ne!(alice.rotate(&secret(FIRST), true).await.unwrap().key.key, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn r04_a_home_server_of_another_name_is_confirmed_once() {
    let world = World::with_names("mx.provider.example", "mail.example.com").await;
    let code = world.add(ALICE).await;
    let unattended = enrol(&world.client("alice"), ALICE, FIRST, code.clone()).await.unwrap_err();
    assert_eq!(unattended.exit_code(), 3);
    assert!(unattended.to_string().contains("mx.provider.example"), "{unattended}");
    let ui = Arc::new(Agreeable::default());
    let client = world.client_with("alice", ui.clone());
    enrol(&client, ALICE, FIRST, code).await.unwrap();
    client.list("INBOX").await.unwrap();
    client.send(message(&[ALICE], "s", "t")).await.unwrap();
    let asked = ui.0.lock().unwrap().clone();
    assert!(
        matches!(asked.as_slice(), [Question::HomeServer { server, .. }] if server == "mx.provider.example")
    );
    // Remembered: nobody is asked again.
    world.client("alice").list("INBOX").await.unwrap();
}
