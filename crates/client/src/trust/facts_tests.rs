//! "The sender's keys are" (profile §6), case by case.

use super::*;
use crate::trust::pins::{Learnt, Pin};
use sealpost_crypto::key::SecretKey;
use sealpost_proto::statement::{LIFE_SECONDS, SignedStatement, Statement};

const NOW: Timestamp = Timestamp(1_795_469_760);
const DAY: i64 = 86_400;

fn bob() -> Address {
    Address::parse("bob@example.com").expect("an address")
}

fn me() -> Address {
    Address::parse("alice@example.net").expect("an address")
}

fn secret(n: u8) -> SecretKey {
    SecretKey::from_seed([n; 32])
}

fn key(n: u8) -> PublicKey {
    secret(n).public()
}

fn statement(n: u8, previous: u8, days: i64) -> SignedStatement {
    let created = NOW.plus(days * DAY);
    let previous = (previous != 0).then(|| secret(previous));
    let statement = Statement {
        addresses: vec![bob()],
        key: key(n),
        created,
        expires: created.plus(LIFE_SECONDS),
        previous: previous.as_ref().map(SecretKey::public),
    };
    secret(n).sign_statement(&statement, previous.as_ref()).expect("right signers")
}

fn own() -> OwnKeys {
    OwnKeys { addresses: vec![me()], current: Some(key(100)), retired: vec![(key(101), NOW)] }
}

fn pinned(n: u8) -> Pin {
    Pin { signs: true, ..Pin::new(key(n), NOW, Learnt::Accepted, None) }
}

fn observed(published: Option<u8>, authenticated: bool, chain: Vec<SignedStatement>) -> Observation {
    let chain = Chain::check(chain, &bob(), NOW).expect("a good chain");
    Observation::new(NOW, authenticated, published.map(key), &chain)
}

fn facts(trust: &Trust, sender: &Address) -> Facts {
    facts_with(trust, sender, Earlier::default())
}

fn facts_with(trust: &Trust, sender: &Address, earlier: Earlier) -> Facts {
    let asked = Asked { sender, earlier, own: own(), lookup_failed: None, now: NOW };
    gather(trust, &asked)
}

#[test]
fn r21_a_strangers_key_is_what_pubkey_gives_now() {
    let mut trust = Trust::default();
    let nothing = facts(&trust, &bob());
    assert!(nothing.keys.is_empty() && !nothing.confirmed && !nothing.signs);
    for authenticated in [false, true] {
        trust.observations.insert(bob(), observed(Some(1), authenticated, vec![statement(1, 0, -9)]));
        let known = facts(&trust, &bob());
        assert_eq!(known.keys, [key(1)]);
        assert_eq!(known.confirmed, authenticated);
        assert_eq!(known.retired, []);
    }
    trust.observations.insert(bob(), observed(None, true, vec![]));
    assert!(facts(&trust, &bob()).keys.is_empty());
}

#[test]
fn r04_a_swapped_key_does_not_read_as_good() {
    let mut trust = Trust::default();
    trust.pins.insert(bob(), pinned(1));
    // The key that PUBKEY gives now counts only if the chain leads to it from the pin.
    for chain in [vec![], vec![statement(2, 0, -1)], vec![statement(2, 0, -1), statement(1, 0, -9)]] {
        trust.observations.insert(bob(), observed(Some(2), true, chain));
        let known = facts(&trust, &bob());
        assert_eq!(known.keys, [key(1)]);
        assert!(known.confirmed && known.signs);
        assert_eq!(known.published_otherwise, Some(key(2)));
        assert_eq!(known.retired, []);
    }
}

#[test]
fn r05_the_chain_moves_the_key_and_retires_the_others() {
    let mut trust = Trust::default();
    trust.pins.insert(bob(), pinned(2));
    let chain = vec![statement(3, 2, -1), statement(2, 1, -5), statement(1, 0, -9)];
    trust.observations.insert(bob(), observed(Some(3), false, chain.clone()));
    let known = facts(&trust, &bob());
    assert_eq!(known.keys, [key(3)]);
    assert!(known.confirmed, "a chain from the pin proves itself, whoever passed it on");
    assert_eq!(known.published_otherwise, None);
    assert_eq!(known.retired, [(key(2), NOW.plus(-DAY)), (key(1), NOW.plus(-5 * DAY))]);
    // Of a stranger too.
    trust.pins.clear();
    assert_eq!(facts(&trust, &bob()).retired.len(), 2);
    // A renewal in between changes nothing.
    let renewed = [vec![statement(3, 2, 0)], chain].concat();
    trust.observations.insert(bob(), observed(Some(3), false, renewed));
    assert_eq!(facts(&trust, &bob()).retired.len(), 2);
}

#[test]
fn r05_keys_before_a_new_chain_are_not_the_senders() {
    let mut trust = Trust::default();
    let chain = vec![statement(4, 3, -1), statement(3, 0, -2), statement(2, 1, -5), statement(1, 0, -9)];
    trust.observations.insert(bob(), observed(Some(4), true, chain));
    let known = facts(&trust, &bob());
    assert_eq!(known.keys, [key(4)]);
    assert_eq!(known.retired, [(key(3), NOW.plus(-DAY))]);
}

#[test]
fn own_mail_needs_no_look_up() {
    let trust = Trust::default();
    let known = facts(&trust, &me());
    assert!(known.from_self && known.confirmed);
    assert_eq!(known.keys, [key(100)]);
    assert_eq!(known.retired, [(key(101), NOW)]);
    let detail = Address::parse("alice+list@example.net").expect("an address");
    assert!(facts(&trust, &detail).from_self);
    assert!(!needs_lookup(&trust, &own(), &me(), NOW));
}

#[test]
fn look_ups_for_reading_are_made_daily() {
    let mut trust = Trust::default();
    assert!(needs_lookup(&trust, &own(), &bob(), NOW));
    trust.observations.insert(bob(), observed(Some(1), true, vec![]));
    for (seconds, needed) in [(0, false), (DAY - 1, false), (DAY, true), (-1, true)] {
        assert_eq!(needs_lookup(&trust, &own(), &bob(), NOW.plus(seconds)), needed, "{seconds}");
    }
}

#[test]
fn r08_memory_tells_when_a_message_was_first_seen() {
    let trust = Trust::default();
    let (seen, payload) = (Some(Timestamp(50)), Some(([3; 32], Timestamp(40))));
    for (earlier, first_seen, payloads) in [
        (Earlier::default(), None, 0),
        (Earlier { input: seen, payload: None }, Some(Timestamp(50)), 0),
        // Another device saw the payload earlier; the keyring tells.
        (Earlier { input: seen, payload }, Some(Timestamp(40)), 1),
        (Earlier { input: None, payload }, Some(Timestamp(40)), 1),
    ] {
        let known = facts_with(&trust, &bob(), earlier);
        assert_eq!((known.first_seen, known.payloads_seen.len()), (first_seen, payloads), "{earlier:?}");
    }
}

#[test]
fn strangers_who_signed_are_remembered_as_signing() {
    let mut trust = Trust::default();
    assert!(!trust.learn_signs(&bob()), "the keyring holds pins only");
    assert!(facts(&trust, &bob()).signs);
    trust.pins.insert(bob(), Pin { signs: false, ..pinned(1) });
    assert!(trust.learn_signs(&bob()) && !trust.learn_signs(&bob()));
}
