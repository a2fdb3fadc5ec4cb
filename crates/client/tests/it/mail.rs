//! Sending and reading between two real servers.

use crate::world::{World, mailbox, message, read, read_last};
use sealpost_client::{
    client::{MessageAt, Outcome, Which},
    error::ClientError,
    open::Verdict,
};

const ALICE: &str = "alice@example.net";
const BOB: &str = "bob@example.com";
const FIRST: &str = "purple walrus juggles forty lanterns";
const SECOND: &str = "quiet marble engine borrows thunder";

#[tokio::test(flavor = "multi_thread")]
async fn r23_r27_a_letter_and_its_answer() {
    let world = World::start().await;
    let alice = world.enrolled(ALICE, FIRST).await;
    let bob = world.enrolled(BOB, SECOND).await;
    let file = world.folder("photo é.bin");
    std::fs::write(&file, [0, 1, 2, 255]).unwrap();
    let mut letter = message(&[BOB], "Grüße ✉ 你好", "hello\nfrom me");
    letter.attachments = vec![file];
    letter.bcc = vec![mailbox("carol@example.com")];
    world.enrolled("carol@example.com", SECOND).await;
    let report = alice.send(letter).await.unwrap();
    assert_eq!(report.recipients.len(), 2);
    assert!(report.recipients.iter().all(|r| r.outcome == Outcome::Sealed), "{report:?}");
    assert!(report.message_id.starts_with('<') && report.message_id.ends_with('>'));
    assert_eq!(report.notes, Vec::<String>::new());

    // The sender's copy has the full Bcc, for the sender alone.
    let copy = read(&alice, "Sent", Which::Last).await;
    assert_eq!(copy.verdict, Verdict::Good, "{:?}", copy.notes);

    // Bob has never met Alice: her key comes through his home server and is said to be unconfirmed.
    let listed = world.arrived(&bob, 1).await;
    // Listing opens what was not read yet, and marks nothing as read.
    assert_eq!(listed[0].subject, "Grüße ✉ 你好");
    assert_eq!(listed[0].verdict, Some(Verdict::SenderNotYetConfirmed));
    assert!(!listed[0].flags.iter().any(|f| f == "\\Seen"));
    let first = read_last(&bob).await;
    assert_eq!(first.verdict, Verdict::SenderNotYetConfirmed, "{:?}", first.notes);
    let content = first.content.unwrap();
    assert_eq!(content.subject, "Grüße ✉ 你好");
    assert_eq!(content.text.replace("\r\n", "\n").trim_end(), "hello\nfrom me");
    let attachments: Vec<_> = content.attachments().map(|a| (a.number, a.name.as_str(), a.size)).collect();
    assert_eq!(attachments, [(2, "photo é.bin", 4)]);
    assert!(bob.contacts().unwrap().is_empty(), "nothing is pinned by reading");
    let listed = bob.list("INBOX").await.unwrap();
    assert_eq!(listed[0].subject, "Grüße ✉ 你好");
    assert_eq!(listed[0].verdict, Some(Verdict::SenderNotYetConfirmed));
    assert!(listed[0].flags.iter().any(|f| f == "\\Seen"));

    // Answering looks Alice up directly and pins her.
    let mut answer = message(&[], "", "thanks");
    answer.subject = None;
    answer.reply = Some(MessageAt { mailbox: "INBOX".to_owned(), which: Which::Last });
    let report = bob.send(answer).await.unwrap();
    assert_eq!(report.recipients[0].address, mailbox(ALICE));
    assert_eq!(bob.contacts().unwrap().len(), 1);
    assert_eq!(read_last(&bob).await.verdict, Verdict::Good);

    world.arrived(&alice, 1).await;
    let answer = read_last(&alice).await;
    assert_eq!(answer.verdict, Verdict::Good, "{:?}", answer.notes);
    let content = answer.content.unwrap();
    assert_eq!(content.subject, "Re: Grüße ✉ 你好");
    assert_eq!(content.references.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn r24_who_has_no_key_gets_plain_mail_only_if_the_user_says_so() {
    let world = World::start().await;
    let alice = world.enrolled(ALICE, FIRST).await;
    let bob = world.enrolled(BOB, SECOND).await;
    world.add("carol@example.com").await;
    let mixed = || message(&[BOB, "carol@example.com"], "s", "t");
    let Err(ClientError::NotSent(report)) = alice.send(mixed()).await else { panic!("unattended") };
    assert!(report.recipients.iter().all(|r| r.outcome == Outcome::Refused));
    assert!(report.recipients[1].why.contains("--allow-plain"), "{}", report.recipients[1].why);
    assert_eq!(alice.list("Sent").await.unwrap(), []);

    let mut only = mixed();
    only.policy.sealed_only = true;
    let outcomes = |report: sealpost_client::client::SendReport| -> Vec<Outcome> {
        report.recipients.iter().map(|r| r.outcome).collect()
    };
    assert_eq!(outcomes(alice.send(only).await.unwrap()), [Outcome::Sealed, Outcome::LeftOut]);
    let mut plain = mixed();
    plain.policy.allow_plain = true;
    assert_eq!(outcomes(alice.send(plain).await.unwrap()), [Outcome::Plain, Outcome::Plain]);
    world.arrived(&bob, 2).await;
    let sealed = read(&bob, "INBOX", Which::Uid(1)).await;
    assert!(sealed.sealed && !sealed.content.unwrap().to.iter().any(|to| to.contains("carol")));
    let plain = read(&bob, "INBOX", Which::Uid(2)).await;
    assert!(!plain.sealed && plain.verdict == Verdict::SenderNotYetConfirmed, "{:?}", plain.verdict);

    // Nobody there, and nobody to ask.
    let nobody = alice.send(message(&["x@nowhere.example"], "s", "t")).await.unwrap_err();
    assert_eq!(nobody.exit_code(), 5, "{nobody}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r03_a_server_that_cannot_be_asked_is_no_reason_for_plain_mail() {
    let world = World::start().await;
    let alice = world.enrolled(ALICE, FIRST).await;
    world.enrolled(BOB, SECOND).await;
    alice.send(message(&[BOB], "s", "t")).await.unwrap();
    // All of the three are remembered of the domain.
    let text = std::fs::read_to_string(world.folder("alice").join("trust.json")).unwrap();
    assert!(text.contains("ENCRYPTMESSAGE") && text.contains("SIGNMESSAGE") && text.contains("HASHEDPASS"));
    world.com.shutdown().await;
    for to in [BOB, "carol@example.com"] {
        let mut request = message(&[to], "s", "t");
        request.policy.allow_plain = true;
        request.policy.trust_first_use = true;
        assert_eq!(alice.send(request).await.unwrap_err().exit_code(), 5, "{to}");
    }
}
