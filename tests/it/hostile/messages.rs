//! Rows of profile §6: mail that a server on its way, or somebody with a key, has changed, wrapped, repeated or made up.

use super::{
    ALICE, BOB, FIRST, SECOND,
    both::{Row, bridge, cli, inbox},
};
use sealpost_crypto::key::SecretKey;
use sealpost_hostile::{
    letter::{armour, outer, payload, sign, under},
    mallory, post, world,
};
use world::World;

const CAROL: &str = "carol@example.com";
const ERIN: &str = "erin@example.net";

/// Everybody's keys: whoever attacks has some of them.
pub struct Keys {
    alice: SecretKey,
    bob: SecretKey,
    carol: SecretKey,
    erin: SecretKey,
    retired: SecretKey,
}

/// A row with the message that is filed for it.
pub struct Mail {
    pub row: Row,
    made: fn(&Keys) -> String,
    status: i32,
}

fn text(octets: Vec<u8>) -> String {
    String::from_utf8(octets).unwrap()
}

/// Alice's mail to Bob under an id of its own.
fn honest(keys: &Keys, id: &str) -> String {
    text(sign(&under(id, &outer(ALICE)), &armour(under(id, &payload()).as_bytes(), &keys.bob), &keys.alice))
}

fn to_carol(text: &str) -> String {
    text.replace("To: bob@example.com", "To: carol@example.com")
}

const PLAIN: &str =
    "From: alice@example.net\r\nTo: bob@example.com\r\nSubject: x\r\n\r\nsecret text, it is said\r\n";

pub fn rows() -> Vec<Mail> {
    let mail = |attack, made, (status, cli), bridge| Mail { row: Row { attack, cli, bridge }, made, status };
    vec![
        mail(
            "Changes nothing",
            |keys| honest(keys, "1"),
            (0, "good: from the sender, unchanged"),
            "good; sealed",
        ),
        mail(
            "Files the same mail twice",
            |keys| honest(keys, "1"),
            (0, "good: from the sender, unchanged"),
            "good; sealed",
        ),
        mail(
            "Uses a Message-ID again, with other content",
            |keys| {
                let other = payload().replace("secret text", "secret text, and more");
                text(sign(&outer(ALICE), &armour(other.as_bytes(), &keys.bob), &keys.alice))
            },
            (4, "replay: a message that came before was used again with other content"),
            "Subject: [Withheld: replay]",
        ),
        mail(
            "Changes the header of sealed mail",
            |keys| honest(keys, "2").replace("Subject: [...]", "Subject: urgent"),
            (4, "signature bad: it was changed on the way, or the sender did not write it"),
            "Subject: [Withheld: signature bad]",
        ),
        mail(
            "Adds a second From",
            |keys| format!("From: {CAROL}\r\n{}", honest(keys, "3")),
            (4, "signature bad: it was changed on the way, or the sender did not write it"),
            "Subject: [Withheld: signature bad]",
        ),
        mail(
            "Calls sealed mail plain",
            |keys| honest(keys, "4").replace("Encrypted: yes", "Encrypted: no"),
            (4, "signature bad: it was changed on the way, or the sender did not write it"),
            "Subject: [Withheld: signature bad]",
        ),
        mail(
            "Takes the signature off",
            |keys| honest(keys, "5").replace("X-Sender-Signature:", "X-Other:"),
            (4, "sealed but not signed: anybody could have written it"),
            "Subject: [Withheld: sealed but not signed]",
        ),
        mail(
            "Signs with a key of its own, which the message names",
            |keys| {
                let sealed = armour(under("6", &payload()).as_bytes(), &keys.bob);
                text(sign(&under("6", &outer(ALICE)), &sealed, &mallory()))
            },
            (4, "not the sender's key: it is signed, but not with a key known to be the sender's"),
            "Subject: [Withheld: not the sender's key]",
        ),
        mail(
            "Signs with a stolen key that was given up",
            |keys| {
                let sealed = armour(under("7", &payload()).as_bytes(), &keys.bob);
                text(sign(&under("7", &outer(ALICE)), &sealed, &keys.retired))
            },
            (4, "retired key: it is signed with a key that the sender gave up before it came"),
            "Subject: [Withheld: retired key]",
        ),
        mail(
            "Wraps a contact's mail and signs it in another's name",
            |keys| {
                let sealed = armour(under("8", &payload()).as_bytes(), &keys.bob);
                text(sign(&under("8", &outer(CAROL)), &sealed, &keys.carol))
            },
            (4, "wrapped by another: the sender inside is not the one outside"),
            "Subject: [Withheld: wrapped by another]",
        ),
        mail(
            "Passes on mail that was written to somebody else",
            |keys| {
                let sealed = armour(to_carol(&under("9", &payload())).as_bytes(), &keys.bob);
                text(sign(&to_carol(&under("9", &outer(ALICE))), &sealed, &keys.alice))
            },
            (4, "not written to you: the sender wrote it to somebody else, and another sent it on to you"),
            "Subject: [Withheld: not written to you]",
        ),
        mail(
            "Puts mail of another mailbox into this one",
            |keys| {
                let sealed = armour(to_carol(&under("10", &payload())).as_bytes(), &keys.carol);
                text(sign(&to_carol(&under("10", &outer(ALICE))), &sealed, &keys.alice))
            },
            (4, "cannot be opened: it is not sealed to any of your keys, or it is damaged"),
            "Subject: [Withheld: cannot be opened]",
        ),
        mail(
            "Adds lines behind sealed mail",
            |keys| honest(keys, "11") + "\r\n\r\n",
            (0, "good, altered on the way: from the sender; a relay changed its form, not its content"),
            "good, altered on the way; sealed",
        ),
        mail(
            "Writes plain mail in the name of a contact who signs",
            |_| PLAIN.to_owned(),
            (0, "plain, though this contact signs: not signed, though this contact's mail is"),
            "plain, though this contact signs; not encrypted",
        ),
        mail(
            "Signs in a stranger's name",
            |keys| {
                let from = |text: String| text.replace(ALICE, ERIN);
                let sealed = armour(from(under("12", &payload())).as_bytes(), &keys.bob);
                text(sign(&from(under("12", &outer(ALICE))), &sealed, &keys.alice))
            },
            (4, "not the sender's key: it is signed, but not with a key known to be the sender's"),
            "Subject: [Withheld: not the sender's key]",
        ),
        mail(
            "Is alone in vouching for a stranger's key",
            |keys| {
                let from = |text: String| text.replace(ALICE, ERIN);
                let sealed = armour(from(under("13", &payload())).as_bytes(), &keys.bob);
                text(sign(&from(under("13", &outer(ALICE))), &sealed, &keys.erin))
            },
            (0, "sender not yet confirmed: signed, but only your own server vouches for the sender's key"),
            "sender not yet confirmed; sealed",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_done_to_mail_on_its_way() {
    let world = World::start().await;
    // Alice has had another key, up to ten days ago.
    world.clock.forward(-20);
    let alice = world.enrolled(ALICE, FIRST).await;
    let retired = world.stolen_key("alice");
    world.clock.forward(10);
    alice.rotate(&world::secret(FIRST), false).await.unwrap();
    world.clock.forward(10);
    world.enrolled(ERIN, FIRST).await;
    world.enrolled(CAROL, SECOND).await;
    let client = world.enrolled(BOB, SECOND).await;
    std::fs::write(world.folder("password-bob"), SECOND).unwrap();
    let [alice, bob, carol, erin] = ["alice", "bob", "carol", "erin"].map(|who| world.stolen_key(who));
    let keys = Keys { alice, bob, carol, erin, retired };
    for contact in [ALICE, CAROL] {
        client.send(world::message(&[contact], "hello", "hello")).await.unwrap();
    }
    let bob = bridge(&world, "bob", "bob");
    for (Mail { row, made, status }, uid) in rows().into_iter().zip(1..) {
        println!("{}", row.attack);
        post(world.mx(BOB), ALICE, BOB, made(&keys).as_bytes()).await.unwrap();
        world.arrived(&client, uid).await;
        let said = cli(&world, "bob", "bob", &["read", "last"], status).await;
        assert!(said.starts_with(row.cli), "{}: {:?} before anything else: {said}", row.attack, row.cli);
        let mut program = inbox(&bob);
        let heard = program.imap(&format!("UID FETCH {uid} (FLAGS BODY.PEEK[])"));
        assert!(heard.contains(row.bridge), "{}: {:?} in {heard}", row.attack, row.bridge);
        let withheld = status != 0;
        for said in [&said, &heard] {
            assert_eq!(said.contains("secret text"), !withheld, "{}: {said}", row.attack);
        }
        let structure = program.imap(&format!("UID FETCH {uid} (FLAGS ENVELOPE BODYSTRUCTURE)"));
        assert!(!structure.contains("\"inner\"") || !withheld, "{}: {structure}", row.attack);
        assert_eq!(structure.contains("$Withheld"), withheld, "{}: {structure}", row.attack);
        let signed = status == 0 && !row.cli.starts_with("plain");
        assert_eq!(structure.contains("$Signed"), signed, "{}: {structure}", row.attack);
        assert_eq!(structure.contains("$Unconfirmed"), row.cli.starts_with("sender"), "{}", row.attack);
        let found = program.imap(&format!("UID SEARCH UID {uid} TEXT \"secret text\""));
        let hit = if withheld { "* SEARCH\r\n".to_owned() } else { format!("* SEARCH {uid}\r\n") };
        assert!(found.contains(&hit), "{}: {found}", row.attack);
    }
}
