//! The table of profile §7 against a real server with a man in the middle before it: what was seen before, what is
//! seen now, what happens.

use super::*;
use crate::world::{address, mailbox, secret};
use Outcome::{Plain, Refused, Sealed, TryLater};
use sealpost_hostile::{Attack, Certificate, Middle, mallory};

/// What the client has seen before.
#[derive(Debug, Clone, Copy)]
enum Seen {
    Nothing,
    Domain,
    Contact,
}
use Seen::{Contact, Domain, Nothing};

/// What happens with a policy, and words that the user is told.
type Happens<'a> = (Policy, Outcome, &'a [&'a str]);

struct Net {
    world: World,
    middle: Middle,
}

impl Net {
    async fn start() -> Self {
        let world = World::start().await;
        let middle = world.between("example.com").await;
        world.enrolled_alone(ALICE, FIRST).await;
        world.enrolled(BOB, SECOND).await;
        world.enrolled(CAROL, SECOND).await;
        Self { world, middle }
    }

    /// Alice as somebody who has seen this, and without any attack could write to Bob.
    async fn alice(&self, seen: Seen) -> Client {
        self.middle.honest();
        let alice = self.world.copy("alice", "alice-copy");
        let met = ["sealed to", "remembered from now on"];
        match seen {
            Nothing => {
                expect("honest", &self.world.copy("alice", "alice-probe"), BOB, NONE, Sealed, &met).await;
            }
            Domain => expect("honest", &alice, CAROL, NONE, Sealed, &met).await,
            Contact => expect("honest", &alice, BOB, NONE, Sealed, &met).await,
        }
        alice
    }

    /// One row: the attack, and what comes of it with each policy. What is refused is not sent; once the attack is
    /// over the client goes on as if it had not been.
    async fn row(&self, seen: Seen, now: Attack, happens: &[Happens<'_>]) {
        for (policy, outcome, words) in happens {
            let alice = self.alice(seen).await;
            let sent = alice.list("Sent").await.unwrap().len();
            self.middle.attack(now.clone());
            let what = format!("{seen:?}, now {now:?}, {policy:?}");
            expect(&what, &alice, BOB, *policy, *outcome, words).await;
            let left = matches!(outcome, Sealed | Plain);
            assert_eq!(alice.list("Sent").await.unwrap().len(), sent + usize::from(left), "{what}");
            self.middle.honest();
            expect(&what, &alice, BOB, NONE, Sealed, &[]).await;
        }
    }

    /// A row that no option changes.
    async fn row_whatever(&self, seen: Seen, now: Attack, outcome: Outcome, words: &[&str]) {
        self.row(seen, now, &[(NONE, outcome, words), (EVERY, outcome, words)]).await;
    }
}

const KEYWORDS: [&str; 3] = ["ENCRYPTMESSAGE", "SIGNMESSAGE", "HASHEDPASS"];

/// Rows 1 and 2, and 3 as "the row above".
#[tokio::test(flavor = "multi_thread")]
async fn r24_rows_of_new_contacts() {
    let net = Net::start().await;
    // key: pin it, seal, say so. (Nobody can tell a first key from a false one that its own domain gives.)
    let fingerprint = mallory().public().fingerprint();
    let alice = net.alice(Nothing).await;
    net.middle.attack(Attack::SwapKey(mallory().public()));
    net.middle.attack(Attack::DenyChain);
    expect("a false first key", &alice, BOB, NONE, Sealed, &[&fingerprint, "remembered from now on"]).await;
    assert_eq!(alice.contact(&mailbox(BOB)).unwrap().fingerprint, fingerprint);
    net.middle.honest();
    expect("and it shows", &alice, BOB, EVERY, Refused, &["contact accept", &fingerprint]).await;

    for seen in [Nothing, Domain] {
        let refused: Happens = (NONE, Refused, &["bob@example.com has no key", "--allow-plain"]);
        let plain: Happens = (PLAIN, Plain, &["bob@example.com has no key"]);
        net.row(seen, Attack::DenyKey, &[refused, plain]).await;
    }
    let words = "does not offer encryption (ENCRYPTMESSAGE)";
    let happens: [Happens; 2] = [(NONE, Refused, &[words, "--allow-plain"]), (PLAIN, Plain, &[words])];
    net.row(Nothing, Attack::Strip("ENCRYPTMESSAGE"), &happens).await;
}

/// Rows 4 and 8: each of the three, by name, with every option.
#[tokio::test(flavor = "multi_thread")]
async fn r03_rows_of_vanished_extensions() {
    let net = Net::start().await;
    for keyword in KEYWORDS {
        for seen in [Domain, Contact] {
            net.row_whatever(
                seen,
                Attack::Strip(keyword),
                Refused,
                &[keyword, "before and no longer do", "contact forget bob@example.com"],
            )
            .await;
        }
    }
    let gone = ["bob@example.com had a key, and now its server says there is none", "contact forget"];
    net.row_whatever(Contact, Attack::DenyKey, Refused, &gone).await;
}

/// Rows 5, 6 and 7.
#[tokio::test(flavor = "multi_thread")]
async fn r04_rows_of_a_contacts_key() {
    let net = Net::start().await;
    let fingerprint = mallory().public().fingerprint();
    let said = [fingerprint.as_str(), "no signed statement leads there", "contact accept bob@example.com"];
    let swapped = || Attack::SwapKey(mallory().public());
    // Another key: over the honest chain, and over none.
    net.row_whatever(Contact, swapped(), Refused, &said).await;
    let alice = net.alice(Contact).await;
    expect("same key", &alice, BOB, NONE, Sealed, &["the key known for bob@example.com"]).await;
    net.middle.attack(swapped());
    net.middle.attack(Attack::DenyChain);
    expect("no chain", &alice, BOB, EVERY, Refused, &said).await;
    net.middle.honest();

    // Bob rotates. Whoever sees his statement follows, who is kept from it does not.
    let early = net.alice(Contact).await;
    let bob = net.world.client("bob");
    let kept = net.world.copy("alice-copy", "alice-kept");
    let rotated = bob.rotate(&secret(SECOND), false).await.unwrap().key.key.fingerprint();
    net.middle.attack(Attack::DenyChain);
    expect("withheld statement", &kept, BOB, EVERY, Refused, &[&rotated, "no signed statement leads there"])
        .await;
    net.middle.honest();
    let followed = ["the new key of bob@example.com", "which the one known until now has signed for"];
    expect("by chain", &early, BOB, NONE, Sealed, &followed).await;
    assert_eq!(early.contact(&mailbox(BOB)).unwrap().fingerprint, rotated);

    // Two years without Bob: his statement has ended. (Alice's own client renews hers.)
    net.world.clock.forward(740);
    for policy in [NONE, EVERY] {
        let words = ["the key of bob@example.com expired on", "contact accept bob@example.com"];
        expect("expired", &early, BOB, policy, Refused, &words).await;
        let words = ["the key of bob@example.com expired on", "is not used"];
        expect("expired", &net.world.copy("alice", "x"), BOB, policy, Refused, &words).await;
    }
    bob.list("INBOX").await.unwrap();
    expect("renewed", &early, BOB, NONE, Sealed, &[]).await;
    assert_eq!(address(BOB), early.contact(&mailbox(BOB)).unwrap().address);
}

/// Row 9: never plain, whatever is allowed and whatever was seen before.
#[tokio::test(flavor = "multi_thread")]
async fn r03_row_of_failed_look_ups() {
    let net = Net::start().await;
    // The mail exchanger would answer in its place.
    net.world.zone("example.com", |zone| {
        zone.remove("example.com");
    });
    for (attack, words) in [
        (Attack::Answer("PUBKEY", "450 4.7.1 Too many look-ups"), "450 4.7.1"),
        (Attack::Answer("PUBKEY", "451 4.4.1 Key lookup failed"), "451 4.4.1"),
        (Attack::Answer("PUBKEY", "551 5.7.1 Not a domain of this server"), "551 5.7.1"),
        (Attack::Answer("PUBKEY", "502 5.5.1 What?"), "502 5.5.1"),
        (Attack::Answer("PUBKEY", "220 ed25519 QUJD"), "a key that must not be used"),
        (Attack::Answer("PUBKEY", "220 rsa QUFBQUMzTnphQzFsWkRJMU5URTVBQUFBSUE9PQ=="), "must not be used"),
        (Attack::Answer("XKEYINFO", "450 4.7.1 Too many look-ups"), "did not show its key statements"),
        (Attack::HangUp("GREETING"), "try again"),
        (Attack::HangUp("EHLO"), "try again"),
        (Attack::HangUp("PUBKEY"), "try again"),
        (Attack::LoseAnswer("XKEYINFO"), "try again"),
        (Attack::Answer("GREETING", "554 5.3.2 No service"), "try again"),
    ] {
        for seen in [Nothing, Domain, Contact] {
            let alice = net.alice(seen).await;
            net.middle.attack(attack.clone());
            let what = format!("{seen:?}, now {attack:?}");
            expect(&what, &alice, BOB, EVERY, TryLater, &[words]).await;
        }
    }
    // TLS that proves nothing, or something else.
    for certificate in [
        Certificate::Expired("mail.example.com"),
        Certificate::NotYet("mail.example.com"),
        Certificate::SelfSigned("mail.example.com"),
        Certificate::Stranger("mail.example.com"),
        Certificate::For("mail.example.net"),
        Certificate::For("example.com"),
    ] {
        let mut clients = Vec::new();
        for seen in [Nothing, Domain, Contact] {
            let alice = net.alice(seen).await;
            clients.push(net.world.copy("alice-copy", &format!("alice-{seen:?}")));
            drop(alice);
        }
        let liar = net.world.between_as("example.com", "mail.example.com", certificate).await;
        for alice in &clients {
            let words = ["no server of example.com could be reached securely"];
            expect(&format!("{certificate:?}"), alice, BOB, EVERY, TryLater, &words).await;
        }
        assert!(liar.connections() > 0 && liar.heard().is_empty(), "{certificate:?}: nothing was said");
        net.world.point("example.com", "mail.example.com", net.middle.address);
    }
}
