//! Rows of a mail server that lies over IMAP: about verdicts, contents, numbers, sizes. What the bridge shows as verified
//! is what it has opened itself, whatever the server says beside it.

use super::{
    ALICE, BOB, FIRST, SECOND,
    both::{Row, bridge, cli, inbox},
};
use crate::server::Client as Program;
use sealpost_client::{
    client::Client,
    compose::{Composition, Copy, Draft},
};
use sealpost_hostile::{MailAttack, MailMiddle, mallory, post, world};
use sealpost_proto::time::{Clock as _, SystemClock};
use std::io::Read as _;
use world::World;

/// A row with what is done for it.
pub struct Lie {
    pub row: Row,
    attacks: Vec<MailAttack>,
    /// The command line, and its exit status.
    args: &'static [&'static str],
    status: i32,
    /// What the mail program asks; the whole of what it hears is looked through.
    asks: &'static [&'static str],
}

/// What no mail program may ever hear in such a row.
const NEVER: [&str; 4] = ["forged", "Verdict: good; sealed and signed", "X $Signed", "$Sealed $Forged"];

/// Stands for the message that Mallory makes, which needs Bob's key.
const LATER: &str = "forged by Mallory";

const READ_1: &[&str] = &["read", "1"];
const READ_2: &[&str] = &["read", "2"];
const LIST: &[&str] = &["list"];
const WHOLE_1: &[&str] = &["UID FETCH 1 (FLAGS BODY.PEEK[])"];
const EVERYTHING: &[&str] = &[
    "FETCH 1:3 (FLAGS)",
    "UID FETCH 1:3 (FLAGS ENVELOPE)",
    "NOOP",
    "UID FETCH 1:3 (FLAGS BODYSTRUCTURE BODY.PEEK[HEADER] BODY.PEEK[])",
    "FETCH 2 (FLAGS RFC822.HEADER)",
];

/// A message in plain text that claims a verdict for itself; all of it is the server's own.
fn claiming(from: &str) -> Vec<u8> {
    format!(
        "Sealpost-Verdict: good; sealed and signed\r\nFrom: {from}\r\nTo: {BOB}\r\nSubject: claim\r\n\r\nsend money\r\n"
    )
    .into_bytes()
}

/// An answer that nobody asked for.
fn unasked(uid: u32) -> String {
    let message = "Sealpost-Verdict: good; sealed and signed\r\nFrom: alice@example.net\r\n\r\nforged\r\n";
    format!(
        "* {uid} FETCH (UID {uid} FLAGS ($Sealed X $Signed) BODY[] {{{}}}\r\n{message})\r\n",
        message.len()
    )
}

/// A response in the place of text.
fn smuggled() -> String {
    let response = "* 2 FETCH (UID 2 FLAGS (X $Signed))\r\n";
    format!("* OK hello {{{}}}\r\n{response}\r\n", response.len())
}

pub fn rows() -> Vec<Lie> {
    use MailAttack::{
        Announce, Cut, Fields, Flags, FlagsTwice, Found, HangUp, Items, Message, Say, Strip, Swap,
        UidValidity, Withhold,
    };
    let plain = "plain: neither sealed nor signed";
    let good = "good: from the sender, unchanged";
    let lie = |attack, attacks, (args, status, cli), (asks, bridge)| Lie {
        row: Row { attack, cli, bridge },
        attacks,
        args,
        status,
        asks,
    };
    let envelope =
        "ENVELOPE (NIL \"forged\" ((NIL NIL \"alice\" \"example.net\")) NIL NIL NIL NIL NIL NIL NIL)";
    vec![
        lie(
            "Gives messages the keywords of verdicts",
            vec![Flags("X $Signed $Sealed")],
            (READ_2, 0, plain),
            (EVERYTHING, "UID 2 FLAGS (X)"),
        ),
        lie(
            "Gives them in a second list of flags",
            vec![FlagsTwice("X $Signed $Sealed")],
            (READ_2, 0, plain),
            (EVERYTHING, "UID 2 FLAGS ()"),
        ),
        lie(
            "Writes a verdict into plain mail, and hides it when it is asked",
            vec![Message(2, claiming("dave@nowhere.example")), Fields("From: dave@nowhere.example\r\n")],
            (READ_2, 0, plain),
            (EVERYTHING, "Sealpost-Verdict: plain; not encrypted"),
        ),
        lie(
            "Writes a verdict into plain mail, and says so",
            vec![Message(2, claiming("dave@nowhere.example"))],
            (READ_2, 0, plain),
            (EVERYTHING, "Sealpost-Verdict: plain; not encrypted"),
        ),
        lie(
            "Forges plain mail of a contact who signs, and hides the sender when it is asked",
            vec![Message(2, claiming(ALICE)), Fields("From: dave@nowhere.example\r\n")],
            (READ_2, 0, "plain, though this contact signs: not signed, though this contact's mail is"),
            (EVERYTHING, "Sealpost-Verdict: plain, though this contact signs; not encrypted"),
        ),
        lie(
            "Sends content that nobody asked for",
            vec![Say("FETCH", unasked(1)), Say("UID FETCH", unasked(2)), Say("NOOP", unasked(3))],
            (READ_1, 0, good),
            (EVERYTHING, "Sealpost-Verdict: good; sealed"),
        ),
        lie(
            "Slips a response into text, as a literal",
            vec![Say("NOOP", smuggled())],
            (READ_1, 0, good),
            (&["NOOP"], "* BYE The mail server broke the protocol"),
        ),
        lie(
            "Slips a response into text, behind a carriage return",
            vec![Say("NOOP", "* OK x\r* 2 FETCH (UID 2 FLAGS (X $Signed))\r\n".into())],
            (READ_1, 0, good),
            (&["NOOP"], "* BYE The mail server broke the protocol"),
        ),
        lie(
            "Spells a response so that the bridge might miss it",
            vec![
                Say("NOOP", "*  2 FETCH (UID 2 FLAGS (X $Signed))\r\n".into()),
                Say("NOOP", "*\t2\tFETCH (UID 2 FLAGS (X $Signed))\r\n".into()),
                Say("NOOP", "* 2 FETCH  (UID 2 FLAGS (X $Signed))\r\n".into()),
                Say("NOOP", "* 2 fetch (FLAGS (X $Signed) UID 2\r\n".into()),
                Say("NOOP", "* 2 FETCH (UID 2 FLAGS (X\t$Signed))\r\n".into()),
                Say("NOOP", "* 2 UIDFETCH (FLAGS (X $Signed))\r\n".into()),
            ],
            (READ_1, 0, good),
            (&["NOOP", "UID FETCH 2 (FLAGS)"], "UID 2 FLAGS ()"),
        ),
        lie(
            "Forges ENVELOPE and BODYSTRUCTURE",
            vec![Items(envelope.into()), Items("BODYSTRUCTURE (\"forged\" \"x\" NIL NIL NIL NIL 1)".into())],
            (READ_1, 0, good),
            (&["FETCH 1 (FLAGS ENVELOPE BODYSTRUCTURE)"], "\"the plan\""),
        ),
        lie(
            "Tells another sender of mail that was read before",
            vec![Fields("From: forged@example.net\r\nSubject: forged\r\nDate: forged\r\n")],
            (LIST, 0, "alice@example.net the plan [good]"),
            (&["UID FETCH 1 (FLAGS ENVELOPE BODY.PEEK[HEADER.FIELDS (FROM)])"], "From: alice@example.net"),
        ),
        lie(
            "Puts a forged message under a UID that was opened before",
            vec![Message(1, LATER.into())],
            (READ_1, 4, "not the sender's key: it is signed, but not with a key known to be the sender's"),
            (WHOLE_1, "Subject: [Withheld: not the sender's key]"),
        ),
        lie(
            "Puts plain mail under a UID that was opened before",
            vec![Message(1, claiming(ALICE))],
            (READ_1, 0, "plain, though this contact signs: not signed, though this contact's mail is"),
            (WHOLE_1, "Sealpost-Verdict: plain, though this contact signs; not encrypted"),
        ),
        lie(
            "Puts a stranger's plain mail under a UID that was opened before",
            vec![Message(1, claiming("dave@nowhere.example"))],
            (READ_1, 0, plain),
            (&["UID FETCH 1 (FLAGS)", "UID FETCH 1 (BODY.PEEK[])", "UID FETCH 1 (FLAGS)"], "UID 1 FLAGS ()"),
        ),
        lie(
            "Changes UIDVALIDITY",
            vec![UidValidity(7)],
            (READ_1, 0, good),
            (&["SELECT INBOX", "UID FETCH 1 (FLAGS BODY.PEEK[])"], "Sealpost-Verdict: good; sealed"),
        ),
        lie(
            "Tells mail in another order",
            vec![Swap(1, 3)],
            (READ_1, 0, good),
            (&["UID FETCH 1 (FLAGS BODY.PEEK[])"], "(UID 3 FLAGS ("),
        ),
        lie(
            "Cuts sealed mail",
            vec![Cut(1_500)],
            (READ_1, 4, "cannot be opened: it is not sealed to any of your keys, or it is damaged"),
            (WHOLE_1, "Subject: [Withheld: cannot be opened]"),
        ),
        lie(
            "Announces a message of 8 TiB, and sends without end",
            vec![Announce(8 << 40)],
            (READ_1, 1, "the mail server sent more than this program takes (one message)"),
            (
                WHOLE_1,
                "* BYE The mail server broke the protocol: a message of 8796093022208 octets is announced",
            ),
        ),
        lie(
            "Finds in a search what does not match",
            vec![Found("2")],
            (&["read", "last"], 0, plain),
            (&["UID SEARCH KEYWORD $Signed", "UID FETCH 2 (FLAGS ENVELOPE)"], "UID 2 FLAGS ()"),
        ),
        lie("Withholds mail", vec![Withhold], (LIST, 0, "INBOX is empty"), (&["SELECT INBOX"], "* 0 EXISTS")),
        lie(
            "Hangs up when it is asked for a message",
            vec![HangUp("UID FETCH"), HangUp("FETCH")],
            (READ_1, 5, "the connection to the mail server failed"),
            (WHOLE_1, "* BYE [UNAVAILABLE] The connection to the mail server was lost"),
        ),
        lie(
            "Offers no HASHEDPASS over IMAP",
            vec![Strip("AUTH=HASHEDPASS")],
            (READ_1, 0, good),
            (WHOLE_1, "Sealpost-Verdict: good; sealed"),
        ),
    ]
}

struct Mailbox {
    world: World,
    middle: MailMiddle,
    /// A sealed message that Mallory signed in Alice's name.
    forged: Vec<u8>,
}

impl Mailbox {
    /// Bob and Alice have met; in his INBOX lie sealed mail of hers, plain mail of somebody, and sealed mail again.
    async fn start() -> Self {
        let world = World::start().await;
        let alice = world.enrolled(ALICE, FIRST).await;
        let bob = world.enrolled_alone(BOB, SECOND).await;
        std::fs::write(world.folder("password-bob"), SECOND).unwrap();
        bob.send(world::message(&[ALICE], "hello", "hello")).await.unwrap();
        send(&alice, "the plan").await;
        world.arrived(&bob, 1).await;
        let plain =
            "From: dave@nowhere.example\r\nTo: bob@example.com\r\nSubject: x\r\n\r\nanybody wrote this\r\n";
        post(world.mx(BOB), "dave@nowhere.example", BOB, plain.as_bytes()).await.unwrap();
        world.arrived(&bob, 2).await;
        send(&alice, "the plan").await;
        world.arrived(&bob, 3).await;
        let middle = world.between_imap("example.com").await;
        let forged = forged(&world);
        drop(world.copy("bob", "bob-before"));
        Self { world, middle, forged }
    }

    fn stand(&self, attacks: &[MailAttack]) {
        for attack in attacks {
            self.middle.attack(match attack {
                MailAttack::Message(uid, octets) if octets == LATER.as_bytes() => {
                    MailAttack::Message(*uid, self.forged.clone())
                }
                other => other.clone(),
            });
        }
    }
}

async fn send(from: &Client, subject: &str) {
    from.send(world::message(&[BOB], subject, "rendezvous")).await.unwrap();
}

fn forged(world: &World) -> Vec<u8> {
    let draft = Draft {
        from: world::mailbox(ALICE),
        to: vec![world::mailbox(BOB)],
        cc: Vec::new(),
        bcc: Vec::new(),
        subject: "forged".into(),
        text: "forged".into(),
        attachments: Vec::new(),
        carried: Vec::new(),
        in_reply_to: None,
        references: Vec::new(),
    };
    let composition = Composition::new(draft, SystemClock.now(), [9; 16]).unwrap();
    let bob = world.stolen_key("bob").public();
    let outgoing = composition.sealed(&Copy::Visible, &[bob], &mallory()).unwrap();
    let mut octets = Vec::new();
    outgoing.open().unwrap().read_to_end(&mut octets).unwrap();
    octets
}

/// Asks, and gives all that was heard, up to the end of the connection if that comes.
fn hear(program: &mut Program, asks: &[&str]) -> String {
    let mut heard = String::new();
    for ask in asks {
        if program.try_send(format!("a {ask}\r\n").as_bytes()).is_err() {
            break;
        }
        heard += &program.tagged();
    }
    // What was read on the way is no matter here.
    heard.replace("\\Seen ", "").replace("\\Seen", "")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_mail_server_can_do_while_somebody_reads() {
    let mailbox = Mailbox::start().await;
    let (world, middle) = (&mailbox.world, &mailbox.middle);
    let before = ["UID FETCH 1:* (BODY.PEEK[])", "FETCH 1:* (ENVELOPE FLAGS)"];
    for Lie { row, attacks, args, status, asks } in rows() {
        println!("{}", row.attack);
        // Nothing was read here before; then, without the attack, everything was.
        for opened_before in [false, true] {
            drop(world.copy("bob-before", "bob"));
            let _ = std::fs::remove_dir_all(world.folder("bob").join("bridge"));
            let bob = bridge(world, "bob", "bob");
            if opened_before {
                let honest = hear(&mut inbox(&bob), &before);
                assert_eq!(honest.matches("Sealpost-Verdict: good").count(), 2, "{honest}");
                cli(world, "bob", "bob", &["list"], 0).await;
            } else if row.attack.ends_with(" before") {
                continue;
            }
            mailbox.stand(&attacks);
            let (mut program, mut heard) = bob.imap_login();
            if heard.contains("a OK ") {
                heard += &hear(&mut program, &["SELECT INBOX"]);
                heard += &hear(&mut program, asks);
            }
            assert!(heard.contains(row.bridge), "{}: {:?} in {heard}", row.attack, row.bridge);
            for never in NEVER {
                assert!(!heard.contains(never), "{}: {never:?} in {heard}", row.attack);
            }
            let said = cli(world, "bob", "bob", args, status).await;
            assert!(said.contains(row.cli), "{}: {:?} in {said}", row.attack, row.cli);
            assert!(!said.contains("forged [good"), "{}: {said}", row.attack);
            middle.honest();
            // Without it both are as they were.
            let said = cli(world, "bob", "bob", READ_1, 0).await;
            assert!(said.contains("good: from the sender, unchanged"), "{}, without it: {said}", row.attack);
            let honest = hear(&mut inbox(&bob), &before);
            assert_eq!(honest.matches("Sealpost-Verdict: good").count(), 2, "{}: {honest}", row.attack);
            assert_eq!(honest.matches("$Sealed $Signed) ENVELOPE").count(), 2, "{}: {honest}", row.attack);
        }
    }
}
