//! An account of several addresses: which of them a message is From, and what its readers make of that.

use crate::world::{World, address, mailbox, message, read, read_last, secret};
use sealpost_client::{
    client::{Carry, MessageAt, Outcome, SendRequest, Which},
    error::ClientError,
    open::Verdict,
};
use sealpost_proto::{
    statement::{LIFE_SECONDS, Statement},
    time::Clock as _,
};
use sealpost_store::account::{KeyChange, Swap};

const ALICE: &str = "alice@example.net";
const SALES: &str = "sales@example.net";
const BOB: &str = "bob@example.com";
const FIRST: &str = "purple walrus juggles forty lanterns";
const SECOND: &str = "quiet marble engine borrows thunder";

/// Makes `sales@` an address of Alice's: mail for it is hers, and her key speaks for it.
async fn grant(world: &World) {
    let store = &world.net.context.store;
    let account = store.resolve(&address(ALICE)).await.unwrap().unwrap();
    store.set_alias(&address(SALES), account).await.unwrap();
    let key = world.stolen_key("alice");
    let now = world.clock.now();
    let statement = Statement {
        addresses: vec![address(ALICE), address(SALES)],
        key: key.public(),
        created: now,
        expires: now.plus(LIFE_SECONDS),
        previous: None,
    };
    let change = KeyChange {
        generation: store.key_state(account).await.unwrap().generation,
        salt: None,
        key: key.public(),
        statement: Some(key.sign_statement(&statement, None).unwrap()),
        login: None,
        keyring: None,
    };
    assert!(matches!(store.set_key(account, change).await.unwrap(), Swap::Done));
}

fn last() -> MessageAt {
    MessageAt { mailbox: "INBOX".to_owned(), which: Which::Last }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_to_another_of_ones_addresses_is_answered_from_there() {
    let world = World::start().await;
    let alice = world.enrolled(ALICE, FIRST).await;
    let bob = world.enrolled(BOB, SECOND).await;
    let from = |from: &str| SendRequest { from: Some(mailbox(from)), ..message(&[BOB], "offer", "cheap") };
    let refused = alice.send(from(SALES)).await.unwrap_err();
    assert!(refused.to_string().contains("no address of this account"), "{refused}");

    // Her devices learn of it from the statement that is published.
    grant(&world).await;
    alice.login(&address(ALICE), &secret(FIRST)).await.unwrap();
    assert_eq!(alice.key_show().unwrap().addresses, [address(ALICE), address(SALES)]);
    let report = bob.send(message(&["Sales@example.net"], "price?", "of an oak")).await.unwrap();
    assert_eq!(report.recipients[0].outcome, Outcome::Sealed, "{report:?}");
    world.arrived(&alice, 1).await;
    let original = alice.original(&last(), Carry::Nothing).await.unwrap();
    assert_eq!(original.from(), Some(mailbox("Sales@example.net")));

    let answer = SendRequest { reply: Some(last()), ..message(&[], "the price", "100") };
    alice.send(answer.clone()).await.unwrap();
    world.arrived(&bob, 1).await;
    let report = read_last(&bob).await;
    assert_eq!(report.verdict, Verdict::Good, "{:?}", report.notes);
    assert_eq!(report.content.unwrap().from, "Sales@example.net");
    let copy = read(&alice, "Sent", Which::Last).await;
    assert_eq!((copy.verdict, copy.content.unwrap().from), (Verdict::Good, "Sales@example.net".to_owned()));

    // By choice from the one or the other.
    alice.send(SendRequest { from: Some(mailbox(ALICE)), ..answer.clone() }).await.unwrap();
    world.arrived(&bob, 2).await;
    assert_eq!(read_last(&bob).await.content.unwrap().from, ALICE);
    alice.send(from(SALES)).await.unwrap();
    world.arrived(&bob, 3).await;
    assert_eq!(read_last(&bob).await.content.unwrap().from, SALES);

    // The server has the last word: the address was given to somebody else.
    world.enrolled("carol@example.net", SECOND).await;
    let store = &world.net.context.store;
    let carol = store.resolve(&address("carol@example.net")).await.unwrap().unwrap();
    store.set_alias(&address(SALES), carol).await.unwrap();
    let Err(ClientError::NotSent(report)) = alice.send(answer).await else { panic!("it was sent") };
    let told = &report.recipients[0];
    assert_eq!(told.outcome, Outcome::Rejected, "{told:?}");
    assert!(told.why.contains("your own address only"), "{told:?}");
}
