//! Old mail for ever: what two devices do at the same moment, and what time does, ends with all mail readable and one
//! published key, or stops before harm with words. (Rotation, passwords, new devices: `account.rs`; forgotten passwords:
//! `recovery.rs`.)

use crate::world::{World, address, mailbox, message, read, secret};
use sealpost_client::{
    client::{Client, Outcome, Published, Which},
    error::ClientError,
    open::Verdict,
    ui::{Progress, Question, Ui},
};
use sealpost_hostile::Attack;
use sealpost_proto::key::PublicKey;
use std::sync::{Arc, Mutex, mpsc};

const ALICE: &str = "alice@example.net";
const BOB: &str = "bob@example.com";
const FIRST: &str = "purple walrus juggles forty lanterns";
const SECOND: &str = "quiet marble engine borrows thunder";
const THIRD: &str = "rapid velvet otter compiles gravel";

/// At the given derivation of a key (the second one of a rotation comes after RSTSALT), lets another device do something
/// and waits until it is done.
struct Meanwhile {
    at: Mutex<u32>,
    go: mpsc::Sender<()>,
    done: Mutex<mpsc::Receiver<()>>,
}

impl Ui for Meanwhile {
    fn confirm(&self, _: &Question) -> bool {
        false
    }
    fn progress(&self, event: Progress) {
        if event != Progress::Deriving {
            return;
        }
        let mut at = self.at.lock().unwrap();
        *at -= u32::from(*at > 0);
        if *at == 0 && self.go.send(()).is_ok() {
            let _ = self.done.lock().unwrap().recv();
        }
    }
}

/// Remembers what is said.
#[derive(Default)]
struct Listener(Mutex<Vec<String>>);

impl Ui for Listener {
    fn confirm(&self, _: &Question) -> bool {
        false
    }
    fn say(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
}

impl Listener {
    fn said(&self) -> String {
        std::mem::take(&mut *self.0.lock().unwrap()).join("\n")
    }
}

async fn published(client: &Client, who: &str) -> PublicKey {
    match client.key_lookup(&mailbox(who)).await.unwrap().published {
        Published::Key { key, .. } => key,
        other => panic!("{other:?}"),
    }
}

/// While the first device is between its new salt and its new key, the second one does all of its change.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn r28_two_devices_that_change_the_key_at_the_same_moment() {
    for (first_changes_password, second_changes_password) in
        [(false, false), (false, true), (true, false), (true, true)]
    {
        let what = format!("passwords: {first_changes_password}, {second_changes_password}");
        let world = World::start().await;
        world.enrolled(ALICE, FIRST).await;
        let bob = world.enrolled(BOB, SECOND).await;
        let phone = world.device("phone", ALICE, FIRST).await;
        bob.send(message(&[ALICE], "one", "one")).await.unwrap();
        world.arrived(&phone, 1).await;

        let (go, gone) = mpsc::channel();
        let (finish, done) = mpsc::channel();
        // A password change derives the new login before the salt.
        let at = Mutex::new(if first_changes_password { 3 } else { 2 });
        let slow = world.client_with("alice", Arc::new(Meanwhile { at, go, done: Mutex::new(done) }));
        let quick = phone.clone();
        let second = tokio::spawn(async move {
            tokio::task::spawn_blocking(move || gone.recv().unwrap()).await.unwrap();
            let changed = if second_changes_password {
                quick.passwd(&secret(FIRST), &secret(SECOND)).await
            } else {
                quick.rotate(&secret(FIRST), false).await
            };
            finish.send(()).unwrap();
            changed
        });
        let first = if first_changes_password {
            slow.passwd(&secret(FIRST), &secret(THIRD)).await
        } else {
            slow.rotate(&secret(FIRST), false).await
        };
        let second = second.await.unwrap().unwrap();
        // The one that was slower changed nothing, and says what to do.
        let refused: ClientError = first.expect_err(&what);
        assert!(matches!(refused.exit_code(), 3 | 5), "{what}: {refused}");
        let told = world.client("alice").list("INBOX").await.map(drop);
        let told = told.and(world.client("alice").send(message(&[BOB], "s", "t")).await.map(drop));
        let told = told.expect_err("nothing is sent with a key of before").to_string();
        assert!(told.contains("sealpost login"), "{what}: {told}");
        assert_eq!(published(&bob, ALICE).await, second.key.key, "{what}");
        let password = if second_changes_password { SECOND } else { FIRST };
        let alice = world.client("alice");
        alice.login(&address(ALICE), &secret(password)).await.unwrap();
        bob.send(message(&[ALICE], "two", "two")).await.unwrap();
        world.arrived(&alice, 2).await;
        let tablet = world.device("tablet", ALICE, password).await;
        for client in [&alice, &phone, &tablet] {
            assert_eq!(client.key_show().unwrap().key, second.key.key, "{what}");
            for (uid, text) in [(1, "one"), (2, "two")] {
                let read = read(client, "INBOX", Which::Uid(uid)).await;
                assert_eq!(read.content.unwrap().text.trim(), text, "{what}: {:?}", read.verdict);
            }
        }
        assert_eq!(bob.contact(&mailbox(ALICE)).unwrap().key, second.key.key, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r05_a_key_that_is_about_to_end_is_said_and_one_that_has_ended_comes_back() {
    let world = World::start().await;
    let middle = world.between("example.net").await;
    world.enrolled(ALICE, FIRST).await;
    let bob = world.enrolled(BOB, SECOND).await;
    let ear = Arc::new(Listener::default());
    let alice = world.client_with("alice", ear.clone());
    alice.send(message(&[BOB], "one", "one")).await.unwrap();
    bob.send(message(&[ALICE], "one", "one")).await.unwrap();
    let key = alice.key_show().unwrap();
    // A server that takes no renewal; each command tries, and from 30 days before the end says what it means.
    middle.attack(Attack::HangUp("SETPUBKEY"));
    world.clock.forward(730 - 31);
    alice.list("INBOX").await.unwrap();
    let said = ear.said();
    assert!(said.contains("could not be renewed") && !said.contains("expires on"), "{said}");
    alice.contacts().unwrap();
    assert_eq!(ear.said(), "", "31 days before");
    world.clock.forward(2);
    let expires = format!("your key expires on {}", key.expires.to_rfc3339());
    alice.list("INBOX").await.unwrap();
    let said = ear.said();
    for word in [expires.as_str(), "could not be renewed", "sealpost list"] {
        assert!(said.contains(word), "{word} in {said}");
    }
    let offline: [&dyn Fn() -> Result<(), ClientError>; 3] =
        [&|| alice.contacts().map(drop), &|| alice.key_show().map(drop), &|| alice.recovery().map(drop)];
    for command in offline {
        command().unwrap();
        assert!(ear.said().contains(&expires));
    }
    // Whoever writes to her is told as well.
    let sent = bob.send(message(&[ALICE], "two", "two")).await.unwrap();
    assert!(sent.recipients[0].why.contains("ask alice@example.net to use Sealpost once"), "{sent:?}");
    world.clock.forward(40);
    let refused = bob.send(message(&[ALICE], "three", "three")).await.unwrap_err();
    assert!(refused.to_string().contains("expired on"), "{refused}");
    alice.contacts().unwrap();
    assert!(ear.said().contains("your key expired on"));
    // The server takes it again: one command, and all is well.
    middle.honest();
    alice.list("INBOX").await.unwrap();
    let said = ear.said();
    assert!(said.contains("renewed for two years") && !said.contains("expired"), "{said}");
    let sent = bob.send(message(&[ALICE], "three", "three")).await.unwrap();
    assert_eq!(sent.recipients[0].outcome, Outcome::Sealed);
    assert!(!sent.recipients[0].why.contains("expires"), "{sent:?}");
    world.arrived(&alice, 3).await;
    for (uid, text) in [(1, "one"), (2, "two"), (3, "three")] {
        let read = read(&alice, "INBOX", Which::Uid(uid)).await;
        assert_eq!((read.verdict, read.content.unwrap().text.trim()), (Verdict::Good, text));
    }
    assert_eq!(published(&bob, ALICE).await, key.key);
}
