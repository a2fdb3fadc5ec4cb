//! XKEYINFO behind a look-up: a statement that does not hold makes the answer a failed one (profile §9).

use crate::{
    fake::script,
    world::{EHLO, NOW, World, domain, loopback, mailboxes},
};
use sealpost_crypto::key::SecretKey;
use sealpost_lookup::KeyAnswer;
use sealpost_proto::{
    address::Address,
    statement::{LIFE_SECONDS, Statement},
    time::Timestamp,
};

fn statement(address: &str, key: &SecretKey, previous: Option<&SecretKey>, created: Timestamp) -> String {
    let statement = Statement {
        addresses: vec![Address::parse(address).unwrap()],
        key: key.public(),
        created,
        expires: created.plus(LIFE_SECONDS),
        previous: previous.map(SecretKey::public),
    };
    key.sign_statement(&statement, previous).unwrap().to_wire()
}

#[tokio::test]
async fn r05_chains_come_with_the_key_and_bad_ones_fail_the_look_up() {
    let (one, two) = (SecretKey::from_seed([1; 32]), SecretKey::from_seed([2; 32]));
    let first = statement("alice@example.net", &one, None, NOW.plus(-100));
    let second = statement("alice@example.net", &two, Some(&one), NOW.plus(-50));
    let ahead = statement("alice@example.net", &two, Some(&one), NOW.plus(3 * 86_400));
    let of_bob = statement("bob@example.net", &two, None, NOW);
    let lines = |lines: &[&str]| {
        let last = lines.len() - 1;
        let line = |(at, text): (usize, &&str)| format!("220{}{text}\r\n", if at < last { '-' } else { ' ' });
        lines.iter().enumerate().map(line).collect::<String>()
    };
    let mut broken = second.clone().into_bytes();
    broken[40] ^= 1;
    let broken = String::from_utf8(broken).unwrap();
    for (info, expected) in [
        (lines(&[&second, &first]), Some(2)),
        (lines(&[&second]), Some(1)),
        ("550 No public key available for alice@example.net\r\n".to_owned(), Some(0)),
        (lines(&[&first, &second]), None),
        (lines(&[&ahead, &first]), None),
        (lines(&[&of_bob]), None),
        (lines(&[&broken, &first]), None),
        (lines(&["!!"]), None),
        ("450 4.7.1 later\r\n".to_owned(), None),
    ] {
        let world = World::new(|_| {}).await;
        let pubkey = format!("220 ed25519 {}\r\n", two.public().wire());
        let answers = [("EHLO", EHLO), ("PUBKEY", &pubkey), ("XKEYINFO alice@example.net", &info)];
        let server = world.implicit("mail.example.net", script(&answers)).await;
        world.zone(|zone| {
            zone.srv("_submissions._tcp.example.net", 0, 0, server.address.port(), "mail.example.net");
            zone.a("mail.example.net", loopback());
        });
        let answer = world.lookup(Some(1), 1, 1).keys(&domain(), &mailboxes(&["alice"])).await.unwrap();
        let found = match &answer.answers[0].1 {
            KeyAnswer::Key(key, chain) => {
                assert_eq!(*key, two.public());
                Some(chain.statements().len())
            }
            _ => None,
        };
        assert_eq!(found, expected, "{info}: {:?}", answer.answers[0].1);
    }
}
