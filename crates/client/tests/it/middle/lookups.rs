//! Where keys come from (profile §8), with lies in the DNS, in certificates and by the home server.

use super::*;
use crate::world::mailbox;
use Outcome::{Refused, Sealed, TryLater};
use sealpost_hostile::{Attack, Certificate, mallory};

/// Mallory has a good certificate for a name of his own, and the DNS says that he serves example.com.
#[tokio::test(flavor = "multi_thread")]
async fn r04_false_srv_and_mx_lead_to_servers_that_nothing_ties_to_the_domain() {
    let world = World::start().await;
    world.enrolled_alone(ALICE, FIRST).await;
    world.enrolled(BOB, SECOND).await;
    let met = world.copy("alice", "met");
    expect("honest", &met, BOB, NONE, Sealed, &["remembered"]).await;

    let evil = "mail.evil.example";
    for name in [evil, "example.com.evil.example", "a.mail.example.com", "mail-example.com"] {
        let liar = world.between_as("example.com", name, Certificate::For(name)).await;
        let new = world.copy("alice", "new");
        // Even the true key proves nothing when he tells it, and a pin or a chain makes it good again.
        expect(name, &new, BOB, PLAIN, Refused, &[name, "nothing ties", "--trust-first-use"]).await;
        expect(name, &met, BOB, NONE, Sealed, &["the key known for"]).await;
        liar.attack(Attack::SwapKey(mallory().public()));
        liar.attack(Attack::DenyChain);
        expect(name, &new, BOB, PLAIN, Refused, &[name, "nothing ties", "--trust-first-use"]).await;
        expect(name, &met, BOB, EVERY, Refused, &["no signed statement leads there"]).await;
        // His "no" is not definite.
        liar.honest();
        liar.attack(Attack::DenyKey);
        expect(name, &new, BOB, PLAIN, TryLater, &["not certain", name]).await;
        liar.honest();
        liar.attack(Attack::Strip("ENCRYPTMESSAGE"));
        expect(name, &new, BOB, PLAIN, TryLater, &["not certain", name]).await;
        assert!(liar.heard_line("PUBKEY") && !liar.heard_line("AUTH"), "{name}");
    }

    // The same by MX, which is asked where there is no SRV record.
    let liar = world.between_mx("example.com").await;
    expect("honest MX", &world.copy("alice", "new"), BOB, NONE, Sealed, &["remembered"]).await;
    assert!(liar.heard_line("STARTTLS"));
    world.zone("example.com", |zone| {
        zone.remove("example.com").mx("example.com", 10, evil);
    });
    world.zone(evil, |zone| {
        zone.a(evil, ip(liar.address));
    });
    let words = ["could be reached securely"];
    expect("false MX", &world.copy("alice", "new"), BOB, EVERY, TryLater, &words).await;
}

fn ip(address: std::net::SocketAddr) -> std::net::Ipv4Addr {
    match address.ip() {
        std::net::IpAddr::V4(ip) => ip,
        std::net::IpAddr::V6(_) => unreachable!("127.0.x.x"),
    }
}

/// The name that counts is the one that SRV or MX tells; an alias behind it is the DNS's own affair and proves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn r04_an_alias_does_not_change_the_name_that_must_be_proven() {
    let world = World::start().await;
    world.enrolled_alone(ALICE, FIRST).await;
    world.enrolled(BOB, SECOND).await;
    let com = &world.com.addresses.submissions[0];
    // The mail exchanger would answer in its place.
    world.zone("example.com", |zone| {
        zone.remove("example.com");
    });
    let alias = |world: &World, to: &str, at: std::net::SocketAddr| {
        world.point("example.com", "mail.example.com", at);
        world.zone("example.com", |zone| {
            zone.remove("mail.example.com").cname("mail.example.com", to);
        });
        world.zone("cloud.example", |zone| {
            zone.remove(to).a(to, ip(at));
        });
    };
    alias(&world, "host.cloud.example", *com);
    expect("honest alias", &world.copy("alice", "new"), BOB, NONE, Sealed, &["remembered"]).await;
    // Another server, with a good certificate for the alias's name.
    let name = "host.cloud.example";
    let liar = world.between_as("example.com", name, Certificate::For(name)).await;
    alias(&world, name, liar.address);
    expect("false alias", &world.copy("alice", "new"), BOB, EVERY, TryLater, &["reached securely"]).await;
    assert!(liar.heard().is_empty() && liar.connections() > 0);
}

/// STARTTLS taken out, refused, or with answers slipped in before TLS.
#[tokio::test(flavor = "multi_thread")]
async fn r03_starttls_stripped_refused_or_injected() {
    let world = World::start().await;
    world.enrolled_alone(ALICE, FIRST).await;
    world.enrolled(BOB, SECOND).await;
    let middle = world.between_mx("example.com").await;
    for attack in [
        Attack::Strip("STARTTLS"),
        Attack::Answer("STARTTLS", "454 4.7.0 TLS not available"),
        Attack::Inject("250-mail.example.com\r\n250 ENCRYPTMESSAGE\r\n"),
        Attack::HangUp("STARTTLS"),
    ] {
        middle.honest();
        expect("honest", &world.copy("alice", "new"), BOB, NONE, Sealed, &["remembered"]).await;
        middle.forget();
        middle.attack(attack.clone());
        let what = format!("{attack:?}");
        expect(&what, &world.copy("alice", "new"), BOB, EVERY, TryLater, &["reached securely"]).await;
        assert!(!middle.heard_line("PUBKEY"), "{what}: nothing was asked without TLS");
    }
    // What is said before TLS is not believed in it: keywords that only the clear text offered.
    middle.honest();
    middle.attack(Attack::Strip("ENCRYPTMESSAGE"));
    let words = ["does not offer encryption"];
    expect("in TLS only", &world.copy("alice", "new"), BOB, NONE, Refused, &words).await;
}

/// The answer to another question: its statements are not about the address asked for.
#[tokio::test(flavor = "multi_thread")]
async fn r04_the_key_of_another_address_is_not_taken() {
    let world = World::start().await;
    let middle = world.between("example.com").await;
    world.enrolled_alone(ALICE, FIRST).await;
    world.enrolled(BOB, SECOND).await;
    world.enrolled(CAROL, SECOND).await;
    for seen in [false, true] {
        middle.honest();
        let alice = world.copy("alice", "reader");
        if seen {
            expect("honest", &alice, BOB, NONE, Sealed, &[]).await;
        }
        middle.attack(Attack::KeyOf(CAROL));
        expect("Carol's", &alice, BOB, EVERY, TryLater, &["not about this address"]).await;
        // Without its statements it is a bare key: for a contact, one that nothing leads to.
        middle.attack(Attack::DenyChain);
        if seen {
            expect("bare", &alice, BOB, EVERY, Refused, &["no signed statement leads there"]).await;
        }
    }
}

/// Step 4: the home server asks, and lies.
#[tokio::test(flavor = "multi_thread")]
async fn r04_what_the_home_server_passes_on_proves_nothing() {
    let world = World::start().await;
    let home = world.between("example.net").await;
    world.enrolled_alone(ALICE, FIRST).await;
    world.enrolled(BOB, SECOND).await;
    let met = world.copy("alice", "met");
    expect("honest", &met, BOB, NONE, Sealed, &["remembered"]).await;
    // To Alice example.com cannot be reached: nobody listens where its records lead.
    world.point("example.com", "mail.example.com", "127.0.0.77:1".parse().unwrap());
    world.zone("example.com", |zone| {
        zone.remove("example.com");
    });
    let said = |key: String| format!("220 ed25519 {key}");
    let honest: &'static str = said(world.client("bob").key_show().unwrap().key.wire()).leak();
    let no_chain = "550 No public key available for bob@example.com";
    home.attack(Attack::Answer("PUBKEY bob@example.com", honest));
    home.attack(Attack::Answer("XKEYINFO bob@example.com", no_chain));
    expect("the pin proves it", &met, BOB, NONE, Sealed, &["as mail.example.net passed it on"]).await;
    let new = world.copy("alice", "new");
    let words = ["only mail.example.net could be asked", "--trust-first-use"];
    expect("new contact", &new, BOB, PLAIN, Refused, &words).await;

    home.honest();
    home.attack(Attack::Answer("PUBKEY bob@example.com", said(mallory().public().wire()).leak()));
    home.attack(Attack::Answer("XKEYINFO bob@example.com", no_chain));
    expect("false key", &met, BOB, EVERY, Refused, &["no signed statement leads there"]).await;
    expect("false key", &new, BOB, PLAIN, Refused, &words).await;
    assert!(new.contact(&mailbox(BOB)).is_err(), "nothing was pinned");
    // 550 for another domain: no leave for plain mail.
    home.honest();
    home.attack(Attack::Answer("PUBKEY bob@example.com", no_chain));
    expect("false 550", &met, BOB, EVERY, Refused, &["had a key, and now"]).await;
    expect("false 550", &new, BOB, PLAIN, TryLater, &["not certain"]).await;
}
