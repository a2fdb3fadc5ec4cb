//! What a person sees of trust: where a contact's key came from, since when, and what is wrong with it.

use crate::world::{World, mailbox, message, secret};
use sealpost_client::{
    client::{Heard, Match},
    contact::Learnt,
};
use sealpost_hostile::Attack;

const ALICE: &str = "alice@example.net";
const BOB: &str = "bob@example.com";
const FIRST: &str = "purple walrus juggles forty lanterns";
const SECOND: &str = "quiet marble engine borrows thunder";

#[tokio::test(flavor = "multi_thread")]
async fn r04_a_contact_tells_where_its_key_came_from_and_by_which_statements() {
    let world = World::start().await;
    let alice = world.enrolled(ALICE, FIRST).await;
    let bob = world.enrolled(BOB, SECOND).await;
    alice.send(message(&[BOB], "s", "t")).await.unwrap();
    let first = bob.key_show().unwrap();
    let met = alice.contact(&mailbox(BOB)).unwrap();
    assert_eq!(met.learnt, Learnt::Server("mail.example.com".to_owned()));
    assert_eq!((met.learnt.name(), met.earlier.len(), met.warnings.len()), ("look-up", 0, 0));
    let looked_up = met.looked_up.unwrap();
    assert!(looked_up.authenticated && looked_up.key.as_ref() == Some(&first.key));
    assert_eq!(looked_up.statements.len(), 1);
    assert_eq!(looked_up.statements[0].previous, None);

    // Bob rotates: the chain is shown, and where the first key came from is not forgotten.
    world.clock.forward(40);
    let second = bob.rotate(&secret(SECOND), false).await.unwrap().key;
    alice.send(message(&[BOB], "s", "t")).await.unwrap();
    let moved = alice.contact(&mailbox(BOB)).unwrap();
    assert_eq!((moved.key.clone(), moved.learnt.name()), (second.key.clone(), "chain"));
    assert!(moved.since > met.since);
    assert_eq!(moved.earlier.len(), 1);
    assert_eq!(moved.earlier[0].key, first.key);
    assert_eq!((moved.earlier[0].since, &moved.earlier[0].learnt), (met.since, &met.learnt));
    let statements = moved.looked_up.unwrap().statements;
    let keys: Vec<_> = statements.iter().map(|s| (s.key.clone(), s.previous.clone())).collect();
    assert_eq!(keys, [(second.key.clone(), Some(first.key.clone())), (first.key, None)]);

    // Another device of Alice's knows the key from her keyring, and says so.
    let phone = world.device("phone", ALICE, FIRST).await;
    let known = phone.contact(&mailbox(BOB)).unwrap();
    assert_eq!((known.learnt, known.looked_up), (Learnt::Keyring, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn r04_keys_are_compared_by_words_and_by_fingerprint() {
    let world = World::start().await;
    let alice = world.enrolled(ALICE, FIRST).await;
    let bob = world.enrolled(BOB, SECOND).await;
    assert!(alice.contact_compare(&mailbox(BOB)).unwrap_err().to_string().contains("no contact of yours"));
    alice.send(message(&[BOB], "s", "t")).await.unwrap();
    bob.send(message(&[ALICE], "s", "t")).await.unwrap();
    let (here, there) =
        (alice.contact_compare(&mailbox(BOB)).unwrap(), bob.contact_compare(&mailbox(ALICE)).unwrap());
    // What each reads aloud is what the other sees.
    assert_eq!((&here.own, &here.theirs), (&there.theirs, &there.own));
    assert_eq!(here.hold_against(Heard::Words(&bob.key_show().unwrap().words)), Ok(Match::Same));
    assert_eq!(here.hold_against(Heard::Fingerprint(&there.own.qr_text())), Ok(Match::Same));
    assert_eq!(here.hold_against(Heard::Words(&alice.key_show().unwrap().words)), Ok(Match::Other));
}

#[tokio::test(flavor = "multi_thread")]
async fn r04_a_contact_whose_key_was_swapped_or_is_about_to_end_says_so() {
    let world = World::start().await;
    let middle = world.between("example.com").await;
    let alice = world.enrolled(ALICE, FIRST).await;
    let bob = world.enrolled(BOB, SECOND).await;
    alice.send(message(&[BOB], "s", "t")).await.unwrap();
    let evil = sealpost_hostile::mallory().public();
    let warned = async |attack: Option<Attack>| {
        attack.map_or_else(|| middle.honest(), |attack| middle.attack(attack));
        drop(alice.send(message(&[BOB], "s", "t")).await);
        middle.honest();
        alice.contact(&mailbox(BOB)).unwrap().warnings.join("\n")
    };
    let swapped = warned(Some(Attack::SwapKey(evil.clone()))).await;
    for word in
        [&*evil.fingerprint(), "when asked on 20", "known since 20", "contact compare bob@example.com"]
    {
        assert!(swapped.contains(word), "{word} in {swapped}");
    }
    // The false key is told from any other, and accepting is what it takes.
    let comparison = alice.contact_compare(&mailbox(BOB)).unwrap();
    assert_eq!(comparison.hold_against(Heard::Fingerprint(&evil.fingerprint())), Ok(Match::Published));
    let true_one = bob.key_show().unwrap();
    assert_eq!(comparison.hold_against(Heard::Words(&true_one.words)), Ok(Match::Same));
    let denied = warned(Some(Attack::DenyKey)).await;
    assert!(denied.contains("there is no key, though one is known since 20"), "{denied}");
    assert_eq!(warned(None).await, "");

    // Bob does nothing for two years.
    let days_left = |n: i64| world.clock.forward(n);
    days_left(730 - 31);
    assert_eq!(warned(None).await, "", "31 days before");
    days_left(2);
    let ends = warned(None).await;
    assert!(ends.contains("expires on") && ends.contains("use Sealpost once"), "{ends}");
    days_left(30);
    let ended = warned(None).await;
    assert!(ended.contains("expired on") && ended.contains("contact accept bob@example.com"), "{ended}");
    bob.list("INBOX").await.unwrap();
    assert_eq!(warned(None).await, "", "renewed");
}
