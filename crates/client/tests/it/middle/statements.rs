//! Key statements (profile §9), forged, cut, dropped, forked, reordered, on the way from the server that keeps them.

use super::*;
use crate::world::{address, secret};
use Outcome::{Refused, Sealed, TryLater};
use sealpost_crypto::key::SecretKey;
use sealpost_hostile::{Attack, mallory};
use sealpost_proto::{
    statement::{LIFE_SECONDS, SignedStatement, Statement},
    time::{Clock as _, Timestamp},
};

fn statement(
    key: &SecretKey,
    previous: Option<&SecretKey>,
    created: Timestamp,
    change: impl FnOnce(&mut Statement),
) -> SignedStatement {
    let mut statement = Statement {
        addresses: vec![address(BOB)],
        key: key.public(),
        created,
        expires: created.plus(LIFE_SECONDS),
        previous: previous.map(SecretKey::public),
    };
    change(&mut statement);
    key.sign_statement(&statement, previous).unwrap()
}

/// What the server can do with statements that Bob made: he has rotated twice, and Alice knows his first key.
#[tokio::test(flavor = "multi_thread")]
async fn r05_a_chain_that_was_tampered_with_leads_nowhere() {
    let world = World::start().await;
    let middle = world.between("example.com").await;
    world.enrolled_alone(ALICE, FIRST).await;
    let bob = world.enrolled(BOB, SECOND).await;
    let alice = world.client("alice");
    expect("honest", &alice, BOB, NONE, Sealed, &["remembered"]).await;
    world.clock.forward(1);
    bob.rotate(&secret(SECOND), false).await.unwrap();
    world.clock.forward(1);
    bob.rotate(&secret(SECOND), false).await.unwrap();
    let unsigned: &[&str] = &["no signed statement leads there"];
    for (attack, outcome, words) in [
        (Attack::CutNewest(1), Refused, unsigned),
        (Attack::CutNewest(2), Refused, unsigned),
        (Attack::CutOldest(2), Refused, unsigned),
        (Attack::DropStatement(1), Refused, unsigned),
        (Attack::DenyChain, Refused, unsigned),
        (Attack::Reorder, TryLater, &["the dates of the key statements are out of order"]),
        (Attack::ForgeStatement, TryLater, &["a signature of the key statement does not hold"]),
        (Attack::Answer("XKEYINFO", "220 !!"), TryLater, &["not standard base64"]),
        (Attack::Answer("XKEYINFO", "220 QUJD"), TryLater, &["not well-formed"]),
        (Attack::SwapKey(mallory().public()), Refused, unsigned),
    ] {
        middle.honest();
        let copy = world.copy("alice", "copy");
        middle.attack(attack.clone());
        for policy in [NONE, EVERY] {
            expect(&format!("{attack:?}"), &copy, BOB, policy, outcome, words).await;
        }
        middle.honest();
        expect("and honest again", &copy, BOB, NONE, Sealed, &["has signed for"]).await;
    }
    // Without its oldest end the chain still leads from the key she knows.
    let copy = world.copy("alice", "copy");
    middle.attack(Attack::CutOldest(1));
    expect("cut behind the pin", &copy, BOB, NONE, Sealed, &["has signed for"]).await;
}

/// What somebody can do who holds keys: Mallory's own, or a key that Bob has retired.
#[tokio::test(flavor = "multi_thread")]
async fn r05_forged_forked_and_dated_statements_are_refused() {
    let world = World::start().await;
    let middle = world.between("example.com").await;
    world.enrolled_alone(ALICE, FIRST).await;
    let now = world.clock.now();
    let (one, two, evil) = (SecretKey::from_seed([1; 32]), SecretKey::from_seed([2; 32]), mallory());
    let day = 86_400;
    let first = statement(&one, None, now.plus(-9 * day), |_| {});
    let second = statement(&two, Some(&one), now.plus(-5 * day), |_| {});
    let serve = |key: &SecretKey, chain: &[&SignedStatement]| {
        middle.honest();
        middle.attack(Attack::SwapKey(key.public()));
        middle.attack(Attack::Chain(chain.iter().map(|s| (*s).clone()).collect()));
    };
    world.enrolled(BOB, SECOND).await;
    let alice = world.client("alice");
    serve(&one, &[&first]);
    expect("honest", &alice, BOB, NONE, Sealed, &["remembered"]).await;
    serve(&two, &[&second, &first]);
    expect("honest", &world.copy("alice", "copy"), BOB, NONE, Sealed, &["has signed for"]).await;

    let at = |days: i64| now.plus(days * day);
    let restart = statement(&evil, None, at(-1), |_| {});
    let fork = statement(&evil, Some(&one), at(-1), |_| {});
    let back = statement(&two, Some(&one), at(-10), |_| {});
    let ahead = statement(&two, Some(&one), at(2), |_| {});
    let of_carol = statement(&two, Some(&one), at(-1), |s| s.addresses = vec![address(CAROL)]);
    let fork_words: &[&str] = &["two key statements follow the same key; refuse both"];
    let dates: &[&str] = &["the dates of the key statements are out of order"];
    for (what, key, chain, outcome, words) in [
        ("a new chain", &evil, vec![&restart, &first], Refused, &["no signed statement leads there"][..]),
        ("a fork", &evil, vec![&fork, &second, &first], TryLater, fork_words),
        ("the other side of it", &two, vec![&fork, &second, &first], TryLater, fork_words),
        ("dated back", &two, vec![&back, &first], TryLater, dates),
        ("dated ahead", &two, vec![&ahead, &first], TryLater, dates),
        ("about Carol", &two, vec![&of_carol, &first], TryLater, &["not about this address"]),
    ] {
        let copy = world.copy("alice", "copy");
        serve(key, &chain);
        for policy in [NONE, EVERY] {
            expect(what, &copy, BOB, policy, outcome, words).await;
        }
    }
}
