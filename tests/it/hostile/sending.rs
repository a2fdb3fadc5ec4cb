//! Rows of profile §7 and §8: a contact's server, or somebody before it, lies while Alice writes. Nothing leaves that is
//! not sealed to the right key.

use super::{
    ALICE, BOB, FIRST, SECOND,
    both::{Row, bridge, cli, submit},
};
use sealpost_hostile::{Attack, Certificate, Middle, mallory, world};
use world::World;

/// What Alice has seen of Bob before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Nothing.
    Nothing,
    /// His key.
    Contact,
    /// His key, which he has changed since.
    OldKey,
}
use Seen::{Contact, Nothing, OldKey};

/// What stands between Alice and the server of example.com.
#[derive(Debug, Clone)]
pub enum Between {
    /// Somebody who does this.
    Attack(Vec<Attack>),
    /// Somebody who shows this certificate, under this name.
    Server(&'static str, Certificate<'static>),
    /// Nothing gets there; her own server asks, and says this.
    Home(Vec<Attack>),
}
use Between::{Home, Server};

/// A row with what is done for it.
pub struct Sending {
    pub row: Row,
    seen: Seen,
    between: Between,
    /// Exit status; 5 is "later".
    status: i32,
}

/// Both say the same: the reply to RCPT carries the sentence of the command line.
fn same(attack: &'static str, seen: Seen, between: Between, status: i32, said: &'static str) -> Sending {
    Sending { row: Row { attack, cli: said, bridge: said }, seen, between, status }
}

/// A stranger gets no plain mail unasked: how to allow it is said by each in its own words.
fn plain(attack: &'static str, between: Between, cli: &'static str) -> Sending {
    let bridge = "the bridge sends nothing unencrypted unless it was started with --allow-plain";
    Sending { row: Row { attack, cli, bridge }, seen: Nothing, between, status: 3 }
}

const NO_KEY: &str = "550 No public key available for bob@example.com";

pub fn rows() -> Vec<Sending> {
    let one = |attack| Between::Attack(vec![attack]);
    let mail = "mail.example.com";
    let evil = "mail.evil.example";
    let unreached = "no server of example.com could be reached securely";
    let unsigned = "no signed statement leads there from the one known until now";
    let swapped = || Attack::SwapKey(mallory().public());
    let told = |answer| Attack::Answer("PUBKEY bob@example.com", answer);
    let told_chain = Attack::Answer("XKEYINFO bob@example.com", NO_KEY);
    // Attacks hold texts that are there from the beginning; this is one more.
    let false_key: &str = format!("220 ed25519 {}", mallory().public().wire()).leak();
    vec![
        same("Swaps a contact's key", Contact, one(swapped()), 3, unsigned),
        same(
            "Swaps it and shows no statements",
            Contact,
            Between::Attack(vec![swapped(), Attack::DenyChain]),
            3,
            unsigned,
        ),
        same("Withholds the statements of a change", OldKey, one(Attack::DenyChain), 3, unsigned),
        same("Drops the newest statement", OldKey, one(Attack::CutNewest(1)), 3, unsigned),
        same(
            "Reorders the statements",
            OldKey,
            one(Attack::Reorder),
            5,
            "the dates of the key statements are out of order",
        ),
        same(
            "Forges a statement",
            Contact,
            one(Attack::ForgeStatement),
            5,
            "a signature of the key statement does not hold",
        ),
        same(
            "Hands out the key of another address",
            Nothing,
            one(Attack::KeyOf("carol@example.com")),
            5,
            "the key statement is not about this address",
        ),
        same(
            "Says that a contact has no key any more",
            Contact,
            one(Attack::DenyKey),
            3,
            "had a key, and now its server says there is none",
        ),
        same(
            "Strips ENCRYPTMESSAGE",
            Contact,
            one(Attack::Strip("ENCRYPTMESSAGE")),
            3,
            "the server of example.com offered ENCRYPTMESSAGE before and no longer does",
        ),
        same(
            "Strips SIGNMESSAGE",
            Contact,
            one(Attack::Strip("SIGNMESSAGE")),
            3,
            "the server of example.com offered SIGNMESSAGE before and no longer does",
        ),
        same(
            "Strips HASHEDPASS",
            Contact,
            one(Attack::Strip("HASHEDPASS")),
            3,
            "the server of example.com offered HASHEDPASS before and no longer does",
        ),
        plain("Says that a stranger has no key", one(Attack::DenyKey), "bob@example.com has no key"),
        plain(
            "Offers a stranger's mail no encryption",
            one(Attack::Strip("ENCRYPTMESSAGE")),
            "does not offer encryption (ENCRYPTMESSAGE)",
        ),
        same(
            "Gives no definite answer",
            Contact,
            one(Attack::Answer("PUBKEY", "450 4.7.1 later")),
            5,
            "the server gave no definite answer: 450 4.7.1 later",
        ),
        same(
            "Answers with a key that is none",
            Contact,
            one(Attack::Answer("PUBKEY", "220 ed25519 QUJD")),
            5,
            "a key that must not be used",
        ),
        same("Hangs up when it is asked for a key", Contact, one(Attack::HangUp("PUBKEY")), 5, "try again"),
        same(
            "Shows a valid certificate of another domain",
            Contact,
            Server(mail, Certificate::For("mail.example.net")),
            5,
            unreached,
        ),
        same("Shows an expired certificate", Contact, Server(mail, Certificate::Expired(mail)), 5, unreached),
        same(
            "Shows a certificate of its own",
            Contact,
            Server(mail, Certificate::SelfSigned(mail)),
            5,
            unreached,
        ),
        same(
            "Is another server, by a lie in the DNS",
            Nothing,
            Server(evil, Certificate::For(evil)),
            3,
            "nothing ties mail.evil.example to example.com",
        ),
        same(
            "Lies at home about the key of another domain",
            Contact,
            Home(vec![told(false_key), told_chain]),
            3,
            unsigned,
        ),
        same("Denies at home the key of another domain", Nothing, Home(vec![told(NO_KEY)]), 5, "not certain"),
    ]
}

const SEND: [&str; 6] = super::SEND;

/// Alice as she was, in a folder of her own for each row.
fn folder(world: &World, seen: Seen) -> &'static str {
    let from = match seen {
        Nothing => "alice-new",
        Contact => "alice-met",
        OldKey => "alice-early",
    };
    drop(world.copy(from, "alice"));
    "alice"
}

async fn stand(world: &World, middle: &Middle, home: &Middle, between: &Between) -> Option<Middle> {
    // The mail exchanger would answer in its place.
    world.zone("example.com", |zone| {
        zone.remove("example.com");
    });
    match between {
        Between::Attack(attacks) => {
            for attack in attacks {
                middle.attack(attack.clone());
            }
        }
        Server(host, certificate) => {
            return Some(world.between_as("example.com", host, *certificate).await);
        }
        Home(attacks) => {
            world.point("example.com", "mail.example.com", "127.0.0.77:1".parse().unwrap());
            for attack in attacks {
                home.attack(attack.clone());
            }
        }
    }
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_contacts_server_can_do_while_somebody_writes() {
    let world = World::start().await;
    // What a copy of her folder learns, no other is to know.
    world.enrolled_alone(ALICE, FIRST).await;
    // He changes his key on another day than he made it.
    world.clock.forward(-2);
    let bob = world.enrolled(BOB, SECOND).await;
    world.clock.forward(2);
    std::fs::write(world.folder("password-alice"), FIRST).unwrap();
    world.enrolled("carol@example.com", SECOND).await;
    let (middle, home) = (world.between("example.com").await, world.between("example.net").await);
    drop(world.copy("alice", "alice-new"));
    cli(&world, "alice", "alice", &SEND, 0).await;
    drop(world.copy("alice", "alice-early"));
    // A key that changed with a statement is followed.
    bob.rotate(&world::secret(SECOND), false).await.unwrap();
    cli(&world, "alice", "alice", &SEND, 0).await;
    drop(world.copy("alice", "alice-met"));
    let mut arrived = 2;
    for Sending { row, seen, between, status } in rows() {
        println!("{}", row.attack);
        let who = folder(&world, seen);
        let bridge = bridge(&world, "alice", who);
        let liar = stand(&world, &middle, &home, &between).await;
        let said = cli(&world, "alice", who, &SEND, status).await;
        assert!(said.contains(row.cli), "{}: {:?} in {said}", row.attack, row.cli);
        let reply = submit(&bridge, ALICE, BOB);
        let code = if status == 5 { "451 " } else { "550 " };
        assert!(
            reply.starts_with(code) && reply.contains(row.bridge),
            "{}: {:?} in {reply}",
            row.attack,
            row.bridge
        );
        // Without the attack both send.
        drop(liar);
        middle.honest();
        home.honest();
        world.point("example.com", "mail.example.com", middle.address);
        world.zone("example.com", |zone| {
            zone.remove("example.com").mx("example.com", 10, "mail.example.com");
        });
        let reply = submit(&bridge, ALICE, BOB);
        assert!(reply.starts_with("250 "), "{}, without it: {reply}", row.attack);
        arrived += 1;
        world.arrived(&bob, arrived).await;
    }
    // Nothing but what was sent without an attack ever came, and all of it sealed.
    assert_eq!(bob.list("INBOX").await.unwrap().len(), arrived);
}
