//! The same programs through the bridge, on a mailbox in which everything lies that may lie in one: sealed, signed,
//! wrapped and withheld mail, plain mail, S/MIME and PGP inside. Each reads Alice's mailbox; Bob writes.

mod crypto;
mod evolution;
mod mbsync;
mod neomutt;
mod offlineimap;
mod python;
mod sending;
mod thunderbird;

use super::{ALICE, Client, Home, Login, message, number_of};
use crate::{
    bridge::{Bridge, straight, without_verdict},
    support::{Demo, eventually, run, sealpost},
};
use crypto::{Form, Keys};
use sealpost_crypto::{key::SecretKey, seal};
use sealpost_proto::{
    base64,
    key::PublicKey,
    message::{Header, SignatureInput, fold_pubkey, fold_signature},
};
use serde_json::Value;
use std::{collections::BTreeMap, fs, io::Write as _, path::Path};

/// Two servers, two bridges, and a home folder for Alice's programs.
struct Bridged {
    demo: Demo,
    alice: Bridge,
    bob: Bridge,
    home: Home,
    keys: Keys,
}

/// A message of the mixed mailbox.
struct Mail {
    /// What its verdict begins with; empty: none is told.
    verdict: &'static str,
    /// As it was composed.
    octets: String,
    form: Form,
    /// How much of it comes out.
    comes_out: ComesOut,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ComesOut {
    /// Every octet.
    Whole,
    /// All of the body, and all fields that were composed beside those of the way.
    Body,
    /// Nothing but a notice.
    Nothing,
}

/// Messages by the number in their Message-ID.
type Mixed = BTreeMap<u32, Mail>;

const SEALED: &str = "good; sealed";
const SIGNED: &str = "good; signed, not encrypted";
/// In all that is withheld, and in no notice.
const SECRET: &str = "the treasure lies under the oak";

impl Bridged {
    fn new() -> Self {
        let demo = Demo::start(&["--no-limits"]);
        // Nobody has enrolled here: no key.
        let carol = ["user", "add", "carol@example.net", "--config", &demo.server(0, "config")];
        assert!(run(sealpost().args(carol)).status.success());
        let alice = Bridge::start(&demo, 0, &[]);
        let bob = Bridge::start(&demo, 1, &["--allow-plain"]);
        let (home, keys) = (Home::new(demo.scratch()), Keys::new(&demo.scratch().join("keys")));
        Self { demo, alice, bob, home, keys }
    }

    /// What Alice tells her programs.
    fn login(&self) -> Login {
        Login {
            host: "localhost",
            imap: self.alice.address("imap").port(),
            submission: self.alice.address("submission").port(),
            user: self.alice.text("/accounts/0/address"),
            password: self.alice.text("/accounts/0/password"),
            ca: self.alice.ca(),
        }
    }

    /// Alice's mailbox through her bridge.
    fn far(&self) -> Client {
        self.alice.imap()
    }

    /// Alice's mailbox at her server.
    fn straight(&self) -> Client {
        straight(&self.demo, 0)
    }

    /// Fills Alice's INBOX.
    fn fill(&self) -> Mixed {
        let mut all = Mixed::new();
        // They have met.
        let hello = message(9000).replace("From: Bob <bob@example.com>", "From: Alice <alice@example.net>");
        assert!(self.alice.send(ALICE, &["bob@example.com"], &hello).starts_with("250 "));

        let sealed = (0..10).map(|number| (number, Form::None));
        let forms = [
            Form::SmimeSigned,
            Form::SmimeOpaque,
            Form::SmimeEncrypted,
            Form::PgpSigned,
            Form::PgpEncrypted,
            Form::PgpInline,
        ];
        for (number, form) in sealed.chain((10..).zip(forms)) {
            let octets = self.keys.message(number, form, "Größe 8 bit");
            let reply = self.bob.send("bob@example.com", &[ALICE], &octets);
            assert!(reply.starts_with("250 "), "{reply}");
            all.insert(number, Mail { verdict: SEALED, octets, form, comes_out: ComesOut::Whole });
        }
        for (number, form) in (20..).zip([Form::SmimeSigned, Form::PgpSigned, Form::PgpInline]) {
            let octets = self.keys.message(number, form, "seven bit");
            let reply = self.bob.send("bob@example.com", &[ALICE, "carol@example.net"], &octets);
            assert!(reply.starts_with("250 "), "{reply}");
            all.insert(number, Mail { verdict: SIGNED, octets, form, comes_out: ComesOut::Body });
        }
        let mut server = self.straight();
        let count = all.len();
        eventually("mail", || {
            server.imap("STATUS INBOX (MESSAGES)").contains(&format!("(MESSAGES {count})")).then_some(())
        });

        // Alice has read what Bob signed: from now on his mail without a signature is noticed.
        let mut far = self.far();
        far.imap("SELECT INBOX");
        assert!(far.imap("FETCH 1 (BODY.PEEK[])").contains("good; sealed"));

        // What other servers brought, and what no honest one would.
        for number in 30..34 {
            let octets = message(number).replace("bob@example.com", "eve@example.org");
            all.insert(number, Mail { verdict: "", octets, form: Form::None, comes_out: ComesOut::Whole });
        }
        let verdict = "plain, though this contact signs";
        let octets = message(40);
        all.insert(40, Mail { verdict, octets, form: Form::None, comes_out: ComesOut::Whole });
        for (number, verdict, octets) in self.withheld() {
            let (form, comes_out) = (Form::None, ComesOut::Nothing);
            all.insert(number, Mail { verdict, octets, form, comes_out });
        }
        for (_, mail) in all.range(30..) {
            assert!(server.append(mail.octets.as_bytes()).contains("a OK"));
        }
        all
    }

    /// Sealed mail in Bob's name as a hostile server can file it.
    fn withheld(&self) -> [(u32, &'static str, String); 5] {
        let bob = stolen_key(&self.demo.user(1, "client_dir"));
        let alice = stolen_key(&self.demo.user(0, "client_dir")).public();
        let head = |number: u32| {
            let (fields, _) = message(number).split_once("Subject: ").map(own).expect("a Subject");
            fields
                + "Subject: [...]\r\nMIME-Version: 1.0\r\nContent-Type: application/age\r\n\
                      Content-Transfer-Encoding: 7bit\r\nX-Sender-Encrypted: yes\r\n"
        };
        let payload = |number: u32, to: &str| {
            let text = message(number);
            let (fields, _) = text.split_once("MIME-Version: ").expect("a field");
            let outer = fields.replace("alice@example.net", to);
            let (outer, _) = outer.split_once("Subject: ").expect("a Subject");
            let outside = format!("{outer}Subject: [...]\r\n");
            let outside = format!("HP-Outer: {}", outside.trim_end().replace('\n', "\nHP-Outer: ") + "\r\n");
            format!(
                "{fields}MIME-Version: 1.0\r\nContent-Type: text/plain; hp=\"cipher\"\r\n{outside}\r\n{SECRET}\r\n"
            )
        };
        let sealed = |number, to| armour(payload(number, to).as_bytes(), &alice);
        let signed = |number, to, by| sign(&head(number), &sealed(number, to), by);
        let unsigned = format!("{}\r\n{}", head(50), sealed(50, ALICE));
        let changed = signed(51, ALICE, &bob).replace("Subject: [...]", "Subject: urgent");
        let damaged = signed(53, ALICE, &bob).replace("-----END AGE", "-----END OF");
        [
            (50, "sealed but not signed", unsigned),
            (51, "signature bad", changed),
            (52, "wrapped by another", signed(52, "carol@example.net", &bob)),
            (53, "cannot be opened", damaged),
            (54, "not the sender's key", signed(54, ALICE, &sealpost_hostile::mallory())),
        ]
    }

    /// A message as a program got it.
    fn check(&self, mail: &Mail, shown: &str) {
        let what = || mail.octets.lines().take(5).collect::<Vec<_>>().join(" / ");
        if mail.verdict.is_empty() {
            assert_eq!(shown, mail.octets);
            return;
        }
        let begins = format!("Sealpost-Verdict: {}", mail.verdict);
        let unfolded = shown.replace("\r\n ", " ");
        assert!(unfolded.starts_with(&begins), "{}: {unfolded}", what());
        let rest = without_verdict(shown);
        match mail.comes_out {
            ComesOut::Whole => assert_eq!(rest, mail.octets),
            ComesOut::Body => {
                let (fields, body) = mail.octets.split_once("\r\n\r\n").expect("a header");
                let (header, shown_body) = rest.split_once("\r\n\r\n").expect("a header");
                assert_eq!(shown_body, body);
                assert!(fields.lines().all(|line| header.contains(line)), "{header}");
            }
            ComesOut::Nothing => {
                assert!(!rest.contains(SECRET) && !rest.contains("BEGIN AGE"), "{rest}");
                assert!(rest.contains("Sealpost does not show this message"), "{rest}");
            }
        }
        self.keys.check(mail.form, shown);
    }
}

/// Which message has which place in the mailbox that is open.
fn numbers(client: &mut Client) -> BTreeMap<u32, u32> {
    client.send("a FETCH 1:* (BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])\r\n");
    let mut all = BTreeMap::new();
    loop {
        let line = client.line();
        if line.starts_with("a ") {
            return all;
        }
        // Else news of keywords that the bridge has set.
        if !line.ends_with("}\r\n") {
            continue;
        }
        let at = line.split(' ').nth(1).and_then(|at| at.parse().ok()).expect("a number");
        let field = client.line();
        all.insert(number_of(&field).expect("ours"), at);
        // An empty line, and the end of the response.
        client.line();
        client.line();
    }
}

fn own((a, b): (&str, &str)) -> (String, String) {
    (a.to_owned(), b.to_owned())
}

/// What lies in a client's folder, as whoever steals the device has it.
fn stolen_key(folder: &str) -> SecretKey {
    let file = fs::read(Path::new(folder).join("secrets.json")).expect("readable");
    let secrets: Value = serde_json::from_slice(&file).expect("JSON");
    let seed = secrets["current"]["key"]["seed"].as_str().and_then(|seed| base64::decode(seed).ok());
    SecretKey::from_seed(seed.and_then(|seed| seed.try_into().ok()).expect("a seed"))
}

fn armour(payload: &[u8], to: &PublicKey) -> String {
    let mut sealer = seal::seal_armoured(std::slice::from_ref(to), Vec::new()).expect("a key to seal to");
    sealer.write_all(payload).expect("into memory");
    String::from_utf8(sealer.finish().expect("into memory")).expect("ASCII")
}

/// A header (without the two long fields) and a body, signed.
fn sign(head: &str, body: &str, by: &SecretKey) -> String {
    let (header, _) = Header::read(head.as_bytes()).expect("a header");
    let input = SignatureInput::new(&header).expect("fit to be signed");
    let signature = by.sign(&[input.head(), body.as_bytes()].concat());
    let fields = fold_pubkey(&by.public()) + &fold_signature(by.public().algorithm(), &signature);
    format!("{head}{fields}\r\n{body}")
}
