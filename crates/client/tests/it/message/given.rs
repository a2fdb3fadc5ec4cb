//! What a mail program composed, on its way out and back.

use super::*;
use sealpost_client::{
    compose::{ComposeError, Given, Purpose, Taken},
    open::Shown,
    staged::{Staged, Staging},
};

const SEE: &str = "To see it: sealpost read --force";

fn take(octets: &[u8], purpose: Purpose) -> Result<Taken, ComposeError> {
    let own = mailbox("alice@example.net");
    let addresses = [own.canonical(), Address::parse("al@example.net").unwrap()];
    let given = Given { own: &own, addresses: &addresses, now: NOW, entropy: [9; 16], purpose };
    Composition::of_message(&Staged::of(octets).unwrap(), &given)
}

fn all(shown: &Shown) -> Vec<u8> {
    let mut out = Vec::new();
    shown.reader(0).unwrap().read_to_end(&mut out).unwrap();
    assert_eq!(out.len() as u64, shown.size());
    // From any octet on it is the same.
    for at in [1, shown.head().len() / 2, shown.head().len(), out.len().saturating_sub(1), out.len()] {
        let mut rest = Vec::new();
        shown.reader(at as u64).unwrap().read_to_end(&mut rest).unwrap();
        assert!(rest == out[at..], "from {at}");
    }
    out
}

/// What Bob's mail program gets of what Alice's composed.
fn through(composed: &[u8]) -> Vec<u8> {
    let taken = take(composed, Purpose::Send).unwrap();
    let outgoing = taken.composition.sealed(&Copy::Visible, &[bob().public()], &alice()).unwrap();
    let opened = judge(&octets(&outgoing), &facts());
    assert_eq!(opened.verdict.name(), "good", "{:?}", opened.notes);
    all(&opened.shown(SEE))
}

const TOP: &str = "From: Alice <alice@example.net>\r\nTo: Bob <bob@example.com>\r\n";
const DATE: &str = "Date: Mon, 23 Nov 2026 21:00:00 +0000\r\n";
const ID: &str = "Message-ID: <x@example.net>\r\n";
const MIME: &str = "MIME-Version: 1.0\r\n";
const VERDICT: &str = "Sealpost-Verdict: good; sealed; sealed and signed\r\n";

#[test]
fn body_and_header_come_back_octet_for_octet() {
    let whole = format!("{TOP}{DATE}{ID}{MIME}");
    for rest in [
        "Subject: hello\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGr\u{fc}\u{df}e\r\n",
        "Subject: raw \u{fc}\r\nContent-Type: multipart/mixed;\r\n\tboundary=\"b\";\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n\r\n\r\n",
        "Content-type:text/plain;format=flowed\r\n\r\n",
        "Subject: no type\r\n\r\nFrom here\r\n.\r\n..\r\nno line end",
        "X-Odd:\r\nx-odd: twice\r\nSubject: a\r\n b\r\n\tc\r\nContent-Type: text/plain (comment; hp=x)  \r\n\r\nx\r\n",
        "Subject: \r\nReferences: <a@x>\r\n <b@x>\r\nReply-To: al@example.net\r\n\r\n\r\n",
        "Subject: all header\r\n",
        "Content-Type: multipart/signed; protocol=\"application/pgp-signature\"; boundary=s\r\n\r\n--s\r\n\r\nsigned  \r\n--s\r\n\
         Content-Type: application/pgp-signature\r\n\r\nx\r\n--s--\r\n",
    ] {
        let composed = format!("{whole}{rest}");
        let end = if rest.contains("\r\n\r\n") { "" } else { "\r\n" };
        assert_eq!(text(&through(composed.as_bytes())), format!("{VERDICT}{composed}{end}"));
    }
}

#[test]
fn what_is_missing_is_added_and_nothing_else() {
    let got = text(&through(format!("{TOP}Subject: x\r\n\r\nbody\r\n").as_bytes()));
    let (head, body) = got.split_once("\r\n\r\n").unwrap();
    let rest =
        head.strip_prefix(&format!("{VERDICT}{TOP}Subject: x\r\nDate: Mon, 23 Nov 2026 21:36:00 +0000\r\n"));
    let rest = rest.and_then(|rest| rest.strip_prefix("Message-ID: <")).unwrap();
    let (id, rest) = rest.split_once(">\r\n").unwrap();
    assert!(id.ends_with("@example.net") && id.len() == 32 + "@example.net".len(), "{id}");
    assert_eq!((rest, body), ("MIME-Version: 1.0", "body\r\n"));
}

#[test]
fn what_only_the_network_writes_is_taken_out() {
    let composed = format!(
        "Sealpost-Verdict: good\r\nReturn-Path: <x>\r\nReceived: by x\r\n{TOP}{DATE}{ID}{MIME}HP-Outer: From: x\r\n\
         X-Sender-Encrypted: no\r\nx-sender-PUBKEY: ed25519 x\r\nSealpost-Other: y\r\nSubject: s\r\n\
         Content-Type: text/plain; hp=\"clear\"; charset=utf-8\r\n\r\nx\r\n"
    );
    let want = format!(
        "{VERDICT}{TOP}{DATE}{ID}{MIME}Subject: s\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nx\r\n"
    );
    assert_eq!(text(&through(composed.as_bytes())), want);
}

#[test]
fn bcc_stands_in_the_copies_that_profile_6_names() {
    let composed = format!(
        "{TOP}Bcc: carol@example.com,\r\n dave@example.com\r\n{DATE}{ID}{MIME}Subject: s\r\n\r\nx\r\n"
    );
    let taken = take(composed.as_bytes(), Purpose::Send).unwrap();
    assert_eq!(taken.visible, [mailbox("bob@example.com")]);
    let payload = |copy: Copy| {
        let octets = octets(&taken.composition.sealed(&copy, &[bob().public()], &alice()).unwrap());
        assert!(!text(&octets).contains("Bcc"));
        text(&all(&judge(&octets, &Facts { from_self: true, ..facts() }).shown(SEE)))
    };
    let without = payload(Copy::Visible);
    assert!(!without.contains("Bcc"));
    assert!(
        payload(Copy::Blind(mailbox("carol@example.com"))).contains("\r\nBcc: carol@example.com\r\nDate")
    );
    assert_eq!(payload(Copy::Sent), format!("{VERDICT}{composed}"));
    // One hash for all of them, whatever stands in Bcc.
    let hash = |copy: Copy| {
        let octets = octets(&taken.composition.sealed(&copy, &[bob().public()], &alice()).unwrap());
        judge(&octets, &Facts { from_self: true, ..facts() }).payload_sha256.unwrap()
    };
    assert_eq!(hash(Copy::Sent), hash(Copy::Visible));
    assert_eq!(hash(Copy::Blind(mailbox("dave@example.com"))), hash(Copy::Visible));
    assert_eq!(taken.composition.payload_sha256().unwrap(), hash(Copy::Visible));
}

#[test]
fn nobody_visible_is_said_outside() {
    let composed = format!("From: al+x@example.net\r\nBcc: bob@example.com\r\n{DATE}{ID}{MIME}\r\nx\r\n");
    let taken = take(composed.as_bytes(), Purpose::Send).unwrap();
    assert!(taken.visible.is_empty());
    assert_eq!(taken.composition.from(), &mailbox("al+x@example.net"), "the envelope names no other address");
    let copy = Copy::Blind(mailbox("bob@example.com"));
    let octets = octets(&taken.composition.sealed(&copy, &[bob().public()], &alice()).unwrap());
    assert!(text(&octets).starts_with("From: al+x@example.net\r\nTo: undisclosed-recipients:;\r\n"));
    let opened = judge(&octets, &facts());
    assert_eq!(opened.verdict.name(), "good", "{:?}", opened.notes);
    assert!(!text(&all(&opened.shown(SEE))).contains("undisclosed"));
}

#[test]
fn a_header_that_is_no_7_bit_stays_inside() {
    let composed = "From: J\u{f6}rg <alice@example.net>\r\nTo: \"B\u{f6}b\" <bob@example.com>,\n Carol <carol@example.com>\r\n\
                    Subject: s\r\n\r\nx\r\n";
    let taken = take(composed.as_bytes(), Purpose::Send).unwrap();
    let octets = octets(&taken.composition.sealed(&Copy::Visible, &[bob().public()], &alice()).unwrap());
    assert!(
        text(&octets).starts_with("From: alice@example.net\r\nTo: bob@example.com, carol@example.com\r\n")
    );
    let shown = text(&all(&judge(&octets, &facts()).shown(SEE)));
    assert!(
        shown.starts_with(&format!("{VERDICT}From: J\u{f6}rg <alice@example.net>\r\nTo: \"B\u{f6}b\"")),
        "{shown}"
    );
}

#[test]
fn drafts_are_kept_in_many_states_under_one_message_id() {
    let mut seen = Vec::new();
    for body in ["first", "second"] {
        let to = "To: \"Deep Throat\" <carol@example.com>\r\n";
        let composed = format!("{ID}Subject: half\r\n{to}\r\n{body}\r\n");
        let mut entropy = [0; 16];
        entropy[0] = body.as_bytes()[0];
        let own = mailbox("alice@example.net");
        let given =
            Given { own: &own, addresses: &[own.canonical()], now: NOW, entropy, purpose: Purpose::Keep };
        let taken = Composition::of_message(&Staged::of(composed.as_bytes()).unwrap(), &given).unwrap();
        let octets = octets(&taken.composition.sealed(&Copy::Sent, &[bob().public()], &alice()).unwrap());
        assert!(text(&octets).contains("\r\nTo: carol@example.com\r\n") && !text(&octets).contains("Throat"));
        seen.push(message(&octets).message_id().unwrap().to_owned());
        let opened = judge(&octets, &Facts { from_self: true, ..facts() });
        assert_eq!(opened.verdict.name(), "good", "{:?}", opened.notes);
        let shown = text(&all(&opened.shown(SEE)));
        assert!(shown.contains(&format!("From: alice@example.net\r\n{ID}Subject: half\r\n{to}")), "{shown}");
    }
    assert_ne!(seen[0], seen[1]);
    assert!(!seen.contains(&"<x@example.net>".to_owned()));
}

#[test]
fn what_cannot_be_signed_is_refused_with_words() {
    for (composed, words) in [
        (format!("{TOP}{TOP}\r\nx"), "twice"),
        (format!("{TOP}Subject: a\r\nSubject: b\r\n\r\nx"), "twice"),
        ("From: mallory@example.net\r\n\r\nx".into(), "no address of this account"),
        ("From: alice@example.net, bob@example.com\r\n\r\nx".into(), "exactly one"),
        (format!("{TOP}Message-ID: odd\r\n\r\nx"), "Message-ID"),
        (format!("{TOP}X: {}\r\n\r\nx", "y".repeat(300_000)), "too long"),
    ] {
        let Err(refused) = take(composed.as_bytes(), Purpose::Send) else { panic!("{composed:.60}") };
        assert!(refused.to_string().contains(words), "{refused}");
    }
}

#[test]
fn large_messages_pass_in_pieces() {
    let mut staging = Staging::new();
    let top = format!("{TOP}{DATE}{ID}{MIME}Subject: large\r\n\r\n");
    staging.push(top.as_bytes()).unwrap();
    let line = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\r\n";
    for _ in 0..50_000 {
        staging.push(line).unwrap();
    }
    let own = mailbox("alice@example.net");
    let given = Given {
        own: &own,
        addresses: &[own.canonical()],
        now: NOW,
        entropy: [1; 16],
        purpose: Purpose::Send,
    };
    let taken = Composition::of_message(&staging.finish().unwrap(), &given).unwrap();
    let octets = octets(&taken.composition.sealed(&Copy::Visible, &[bob().public()], &alice()).unwrap());
    let shown = all(&judge(&octets, &facts()).shown(SEE));
    let want = [VERDICT.as_bytes(), top.as_bytes(), &line.repeat(50_000)].concat();
    assert!(shown == want);
}

#[test]
fn forged_verdicts_go_and_withheld_content_is_a_notice() {
    // Plain and unsigned: the verdict on top is the only one.
    let opened =
        judge(b"From: eve@example.org\r\nsealpost-verdict: good\r\nSubject: x\r\n\r\nbody\r\n", &facts());
    assert_eq!(
        text(&all(&opened.shown(SEE))),
        "Sealpost-Verdict: plain; not encrypted; neither sealed nor signed\r\nFrom: eve@example.org\r\nSubject: x\r\n\r\nbody\r\n"
    );
    // Inside a sealed message too.
    let forged = payload()
        .replace("Subject: inner\r\n", "Subject: inner\r\nSealpost-Verdict: good; from the king\r\n");
    let shown = text(&all(&judge(&wrap(&forged), &facts()).shown(SEE)));
    assert!(
        shown.starts_with(VERDICT) && !shown.contains("king") && shown.contains("secret text"),
        "{shown}"
    );
    assert!(!shown.contains("HP-Outer") && !shown.contains("hp="), "{shown}");
    // Withheld: nothing of the content, but why.
    let sealed = wrap(&payload().replace("From: alice", "From: mallory"));
    for (octets, name) in [
        (sealed.clone(), "wrapped by another"),
        (sealed.iter().map(|b| if *b == b'[' { b'(' } else { *b }).collect(), "signature bad"),
        (sealed[..sealed.len() - 200].to_vec(), "cannot be opened"),
    ] {
        let shown = judge(&octets, &facts()).shown(SEE);
        let head = text(shown.head());
        assert!(head.ends_with("\r\n\r\n") && !head.contains("does not show"), "{head}");
        let shown = text(&all(&shown));
        assert!(shown.starts_with(&format!("Sealpost-Verdict: {name}; sealed")), "{shown}");
        assert!(shown.contains(&format!("Subject: [Withheld: {name}]")) && shown.contains(SEE), "{shown}");
        assert!(shown.contains("From: alice@example.net\r\n") && !shown.contains("secret text"), "{shown}");
    }
}
