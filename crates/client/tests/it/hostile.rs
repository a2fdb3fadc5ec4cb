//! A home server that turned hostile: it changes what it keeps behind the account's back (profile §1, §9).

use crate::world::{World, address, mailbox, message, secret};
use sealpost_client::{client::Client, error::ClientError};
use sealpost_crypto::key::SecretKey;
use sealpost_proto::{
    key::PublicKey,
    phc::{Cost, Salt},
    statement::{LIFE_SECONDS, SignedStatement, Statement},
    time::{Clock as _, Timestamp},
};
use sealpost_store::account::{KeyChange, Login, Swap};

const ALICE: &str = "alice@example.net";
const FIRST: &str = "purple walrus juggles forty lanterns";

/// Changes Alice's account in the store.
async fn tamper(world: &World, change: impl FnOnce(&mut KeyChange, Login)) {
    let store = &world.net.context.store;
    let (account, login) = store.login(&address(ALICE)).await.unwrap().unwrap();
    let state = store.key_state(account).await.unwrap();
    let mut tampered = KeyChange {
        generation: state.generation,
        salt: None,
        key: state.published.unwrap(),
        statement: None,
        login: None,
        keyring: None,
    };
    change(&mut tampered, login);
    assert!(matches!(store.set_key(account, tampered).await.unwrap(), Swap::Done));
}

fn mallory() -> SecretKey {
    SecretKey::from_seed([66; 32])
}

fn self_signed(now: Timestamp) -> SignedStatement {
    let statement = Statement {
        addresses: vec![address(ALICE)],
        key: mallory().public(),
        created: now,
        expires: now.plus(LIFE_SECONDS),
        previous: None,
    };
    mallory().sign_statement(&statement, None).unwrap()
}

/// Neither a new device nor a known one goes on, and what is published stays as the server has it.
async fn both_stop(world: &World, alice: &Client, published: PublicKey, said: &str) {
    let refused = world.client("phone").login(&address(ALICE), &secret(FIRST)).await.unwrap_err();
    assert_eq!(refused.exit_code(), 1, "{refused}");
    assert!(refused.to_string().contains("published and sent nothing"), "{refused}");
    assert!(matches!(world.client("phone").key_show(), Err(ClientError::NoAccount(_))));

    let before = alice.key_show().unwrap();
    for refused in [
        alice.send(message(&[ALICE], "s", "t")).await.map(|_| ()).unwrap_err(),
        alice.rotate(&secret(FIRST), false).await.map(|_| ()).unwrap_err(),
    ] {
        assert_eq!(refused.exit_code(), 3, "{refused}");
        assert!(refused.to_string().contains(said), "{refused}");
    }
    assert_eq!(alice.key_show().unwrap(), before);
    assert_eq!(alice.list("Sent").await.unwrap(), []);
    let there = world.net.context.store.public_key(&address(ALICE)).await.unwrap();
    assert_eq!(there, Some(published));
}

#[tokio::test(flavor = "multi_thread")]
async fn r22_a_false_published_key_stops_new_and_known_devices() {
    let world = World::start().await;
    let alice = world.enrolled(ALICE, FIRST).await;
    let now = world.clock.now();
    tamper(&world, |change, _| {
        change.key = mallory().public();
        change.statement = Some(self_signed(now));
    })
    .await;
    both_stop(&world, &alice, mallory().public(), "attack").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r22_a_false_salt_stops_new_and_known_devices() {
    let world = World::start().await;
    let alice = world.enrolled(ALICE, FIRST).await;
    let key = alice.key_show().unwrap().key;
    tamper(&world, |change, _| change.salt = Some(Salt::new([7; 16]).unwrap())).await;
    both_stop(&world, &alice, key, "another key salt").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r06_a_cost_outside_the_bounds_never_gets_a_hash() {
    let world = World::start().await;
    world.enrolled(ALICE, FIRST).await;
    for (n, cost) in [(1, Cost { m_kib: 8, t: 1, p: 1 }), (2, Cost { m_kib: 4_194_304, t: 2, p: 1 })] {
        let salt = Salt::new([n; 16]).unwrap();
        tamper(&world, |change, login| change.login = Some(Login { cost, salt, ..login })).await;
        let refused = world.client("phone").login(&address(ALICE), &secret(FIRST)).await.unwrap_err();
        assert_eq!(refused.exit_code(), 1);
        assert!(refused.to_string().contains("nothing was sent"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r04_a_withdrawn_key_is_no_leave_to_publish_another() {
    let world = World::start().await;
    let alice = world.enrolled(ALICE, FIRST).await;
    // Reset, and enrolled by somebody else with the same password: the key is another, for the salt is.
    let code = world.reset(ALICE).await;
    let other = world.client("other");
    crate::world::enrol(&other, ALICE, FIRST, code).await.unwrap();
    let refused = alice.login(&address(ALICE), &secret(FIRST)).await.unwrap_err();
    assert_eq!(refused.exit_code(), 3, "{refused}");
    assert!(refused.to_string().contains("--dir"), "{refused}");
    let ui = std::sync::Arc::new(crate::world::Agreeable::default());
    let agreed = world.client_with("alice", ui.clone());
    let report = agreed.login(&address(ALICE), &secret(FIRST)).await.unwrap();
    assert_eq!(report.retired_keys, 1, "what the old key opens stays readable");
    assert_eq!(ui.0.lock().unwrap().len(), 1);
    assert!(agreed.key_lookup(&mailbox(ALICE)).await.unwrap().authenticated);
}
