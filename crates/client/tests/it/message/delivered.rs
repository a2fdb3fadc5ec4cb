//! Mail as a hostile server can file it, fetched by real clients from a real server: copied, replayed, wrapped, sealed
//! anew to somebody else, cut, changed, in another's name (profile §6). The verdicts' own table is in `verdicts.rs`;
//! here is what reaches them by way of IMAP, the look-ups and a device's memory.

use super::*;
use crate::world::{World, message as letter, read_last, secret};
use sealpost_client::{client::Client, open::Verdict};
use sealpost_hostile::{letter::under, post};

const ALICE: &str = "alice@example.net";
const BOB: &str = "bob@example.com";
const CAROL: &str = "carol@example.com";
const FIRST: &str = "purple walrus juggles forty lanterns";
const SECOND: &str = "quiet marble engine borrows thunder";

/// Bob's mailbox, into which everybody puts what he likes.
struct Mailbag {
    world: World,
    bob: Client,
    count: usize,
}

impl Mailbag {
    /// Files a message and gives what Bob is told of it.
    async fn verdict(&mut self, octets: &[u8]) -> (Verdict, String) {
        post(self.world.mx(BOB), ALICE, BOB, octets).await.unwrap();
        self.count += 1;
        self.world.arrived(&self.bob, self.count).await;
        let read = read_last(&self.bob).await;
        assert_eq!(read.content.is_none(), read.verdict.is_withheld(), "{:?}", read.verdict);
        (read.verdict, read.notes.join(" / "))
    }

    async fn expect(&mut self, what: &str, octets: &[u8], verdict: Verdict, words: &str) {
        let (found, notes) = self.verdict(octets).await;
        assert_eq!(found, verdict, "{what}: {notes}");
        assert!(notes.contains(words), "{what}: {words:?} in {notes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r08_what_a_server_can_do_to_mail_gets_its_verdict() {
    let world = World::start().await;
    let alice_client = world.enrolled(ALICE, FIRST).await;
    let bob_client = world.enrolled(BOB, SECOND).await;
    let carol_client = world.enrolled(CAROL, SECOND).await;
    let (alice, bob, carol) = (world.stolen_key("alice"), world.stolen_key("bob"), world.stolen_key("carol"));
    // Sealed to `to` and signed by `by`, as real clients make it.
    let made = |id: &str, to: &SecretKey, by: &SecretKey| {
        sign(&under(id, &outer(ALICE)), &armour(under(id, &payload()).as_bytes(), to), by)
    };
    let mut bag = Mailbag { world, bob: bob_client, count: 0 };

    // A stranger's mail, and nothing of him is believed but what his server says through the home server.
    bag.expect("stranger", &made("s", &bob, &alice), Verdict::SenderNotYetConfirmed, "sealed and signed")
        .await;
    bag.expect("stranger, forged", &made("t", &bob, &mallory()), Verdict::NotTheSendersKey, "").await;
    // They meet.
    bag.bob.send(letter(&[ALICE], "hello", "hello")).await.unwrap();
    bag.bob.send(letter(&[CAROL], "hello", "hello")).await.unwrap();

    let honest = made("1", &bob, &alice);
    bag.expect("honest", &honest, Verdict::Good, "sealed and signed").await;
    let text = text(&honest);
    bag.expect("filed twice", &honest, Verdict::Good, "a copy of message").await;
    let again =
        sign(&outer(ALICE), &armour(payload().replace("secret text", "other text").as_bytes(), &bob), &alice);
    bag.expect("another text under its Message-ID", &again, Verdict::Replay, "seen before").await;

    for (what, changed, verdict, words) in [
        (
            "subject",
            text.replace("Subject: [...]", "Subject: urgent"),
            Verdict::SignatureBad,
            "changed on the way",
        ),
        (
            "sender",
            text.replace("From: alice@example.net", "From: carol@example.com"),
            Verdict::SignatureBad,
            "",
        ),
        (
            "two senders",
            format!("From: carol@example.com\r\n{text}"),
            Verdict::SignatureBad,
            "more than once",
        ),
        ("unsigned", text.replace("X-Sender-Signature:", "X-Other:"), Verdict::SealedButNotSigned, "anybody"),
        ("cut short", text.replace("-----END AGE", "-----END OF"), Verdict::CannotBeOpened, "damaged"),
        (
            "called plain",
            text.replace("Encrypted: yes", "Encrypted: no"),
            Verdict::SignatureBad,
            "not opened",
        ),
        ("longer", format!("{text}\r\n\r\n"), Verdict::GoodAltered, "a relay changed the form"),
    ] {
        bag.expect(what, changed.as_bytes(), verdict, words).await;
    }

    // Carol was written to. She, or her server with her key, seals it to Bob: in her own name, and as Alice's.
    let to_carol = |text: &str| text.replace("To: bob@example.com", "To: carol@example.com");
    let for_carol = to_carol(&under("c", &payload()));
    let head = to_carol(&under("c", &outer(ALICE)));
    let (verdict, notes) = bag.verdict(&sign(&head, &armour(for_carol.as_bytes(), &carol), &alice)).await;
    assert_eq!(verdict, Verdict::CannotBeOpened, "Carol's mail in Bob's mailbox: {notes}");
    let sealed_anew = sign(&head, &armour(for_carol.as_bytes(), &bob), &alice);
    bag.expect("to Bob, by Alice herself", &sealed_anew, Verdict::NotWrittenToYou, "none of your addresses")
        .await;
    let stitched =
        super::text(&sign(&under("d", &outer(ALICE)), &armour(for_carol.as_bytes(), &bob), &carol));
    bag.expect("sealed anew as Alice's", stitched.as_bytes(), Verdict::NotTheSendersKey, "").await;
    let own_name = under("e", &outer(CAROL));
    let wrapped = sign(&own_name, &armour(under("e", &payload()).as_bytes(), &bob), &carol);
    bag.expect("in Carol's name", &wrapped, Verdict::WrappedByAnother, "the sealed message").await;

    // Without any signature: a contact who signs, and somebody who never did.
    let plain = "From: alice@example.net\r\nTo: bob@example.com\r\nSubject: x\r\n\r\nhello\r\n";
    bag.expect("plain, from Alice", plain.as_bytes(), Verdict::PlainThoughSigns, "neither sealed nor signed")
        .await;
    let stranger = plain.replace("alice@example.net", "dave@nowhere.example");
    bag.expect("plain", stranger.as_bytes(), Verdict::Plain, "neither sealed nor signed").await;

    // Alice rotates; her old key turns up elsewhere, eight days later.
    alice_client.rotate(&secret(FIRST), false).await.unwrap();
    bag.world.clock.forward(1);
    bag.expect("in the week after", &made("w", &bob, &alice), Verdict::Good, "retired on").await;
    bag.world.clock.forward(8);
    bag.expect("after it", &made("r", &bob, &alice), Verdict::RetiredKey, "retired on").await;
    bag.expect("her own key", &made("n", &bob, &bag.world.stolen_key("alice")), Verdict::Good, "").await;

    // Another device of Bob's knows of the replay what the first one knew: by the keyring.
    bag.bob.send(letter(&[CAROL], "x", "x")).await.unwrap();
    let phone = bag.world.device("phone", BOB, SECOND).await;
    let replayed =
        sign(&outer(ALICE), &armour(payload().replace("secret", "third").as_bytes(), &bob), &alice);
    post(bag.world.mx(BOB), ALICE, BOB, &replayed).await.unwrap();
    bag.world.arrived(&phone, bag.count + 1).await;
    assert_eq!(read_last(&phone).await.verdict, Verdict::Replay);
    drop(carol_client);
}
