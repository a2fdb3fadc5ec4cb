//! Every row of the table of profile §6, reached with real sealing.

use super::*;
use sealpost_client::open::Verdict::{self, *};

fn says(opened: &Opened, words: &str) -> bool {
    opened.notes.iter().any(|n| n.contains(words))
}

/// The verdict, and that content is held back exactly when it must be.
fn verdict(octets: &[u8], facts: &Facts) -> Opened {
    let mut opened = judge(octets, facts);
    let shown = opened.content(false, None).unwrap();
    assert_eq!(shown.is_none(), opened.verdict.is_withheld(), "{:?}", opened.verdict);
    assert_eq!(opened.verdict.exit_code(), if shown.is_some() { 0 } else { 4 });
    assert_eq!(
        opened.payload_sha256.is_some(),
        matches!(opened.verdict, SenderNotYetConfirmed | GoodAltered | Good)
    );
    assert!(!opened.notes.is_empty(), "every verdict is explained");
    opened
}

fn assert_verdict(octets: &[u8], facts: &Facts, want: Verdict, words: &str) {
    let opened = verdict(octets, facts);
    assert_eq!(opened.verdict, want, "{:?}", opened.notes);
    assert!(says(&opened, words), "{words:?} in {:?}", opened.notes);
}

#[test]
fn cannot_be_opened() {
    let good = sealed(draft());
    let rows: [(Vec<u8>, &str); 6] = [
        (
            sign(&outer("alice@example.net"), &armour(b"x", &alice()), &alice()),
            "not sealed to any of your keys",
        ),
        (sign(&outer("alice@example.net"), b"hello\r\n", &alice()), "holds nothing sealed"),
        (text(&good).replace("END AGE", "END OF AGE").into_bytes(), "damaged"),
        (wrap(&format!("X: {}\r\n\r\n", "y".repeat(300_000))), "header is longer"),
        ([b"X: ".as_slice(), &b"y".repeat(300_000), b"\r\n", &good].concat(), "header is longer"),
        (
            sign(
                &outer("alice@example.net"),
                b"-----BEGIN AGE ENCRYPTED FILE-----\r\nQUJD\r\n-----END AGE ENCRYPTED FILE-----\r\n",
                &alice(),
            ),
            "damaged",
        ),
    ];
    for (octets, words) in rows {
        assert_verdict(&octets, &facts(), CannotBeOpened, words);
        assert!(judge(&octets, &facts()).content(true, None).unwrap().is_none(), "not even by force");
    }
    // It comes before the signature.
    let unsigned = text(&good).replace("X-Sender-Signature", "X-Other").replace("AGE ENC", "AGE DEC");
    assert_verdict(unsigned.as_bytes(), &facts(), CannotBeOpened, "holds nothing sealed");
}

#[test]
fn a_stanza_of_another_kind_cannot_be_opened() {
    use std::{
        io::Write as _,
        process::{Command, Stdio},
    };
    // A passphrase or X25519 recipient is not of the profile's kinds; age mixes kinds with -r.
    let key =
        Command::new("age-keygen").stderr(Stdio::null()).output().expect("age-keygen is installed").stdout;
    let key = text(&key);
    let recipient = key.lines().find_map(|l| l.strip_prefix("# public key: ")).unwrap();
    let mut age = Command::new("age")
        .args(["-a", "-r", recipient, "-r", &bob().public().openssh()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("age is installed");
    age.stdin.take().unwrap().write_all(payload().as_bytes()).unwrap();
    let body = text(&age.wait_with_output().unwrap().stdout).replace('\n', "\r\n");
    let message = sign(&outer("alice@example.net"), body.as_bytes(), &alice());
    assert_verdict(&message, &facts(), CannotBeOpened, "a way that Sealpost does not take");
}

#[test]
fn r08_r21_signature_bad() {
    let good = text(&sealed(draft()));
    let plain = text(&plain(draft()));
    let rows: Vec<(String, &str)> = vec![
        (good.replace("To: bob@", "To: eve@"), "changed on the way"),
        (good.replace("Date: Mon, 23", "Date: Mon, 24"), "changed on the way"),
        (good.replace("Subject: [...]", "Subject: buy"), "changed on the way"),
        (good.replace("Message-ID: <", "Message-ID: <x"), "changed on the way"),
        (good.replace("Subject: [...]\r\n", ""), "changed on the way"),
        (format!("Reply-To: eve@example.org\r\n{good}"), "changed on the way"),
        (format!("Cc: eve@example.org\r\n{good}"), "changed on the way"),
        (plain.replace("Hello Bob", "Hello Eve"), "changed on the way"),
        (plain.replace("X-Sender-Encrypted: no\r\n", ""), "changed on the way"),
        (format!("Subject: other\r\n{good}"), "Subject occurs more than once"),
        (format!("From: eve@example.org\r\n{plain}"), "From occurs more than once"),
        (format!("X-Sender-Pubkey: x\r\n{good}"), "X-Sender-Pubkey occurs more than once"),
        (format!("X-Sender-Signature: x\r\n{good}"), "X-Sender-Signature occurs more than once"),
        (
            plain.replace("From: alice@example.net", "From: alice@example.net, eve@example.org"),
            "not exactly one",
        ),
        (
            plain.replace("X-Sender-Signature: ed25519 ", "X-Sender-Signature: ed25519 0"),
            "not a signature in hex",
        ),
        (plain.replace("X-Sender-Signature: ed25519", "X-Sender-Signature: rsa"), "changed on the way"),
        (plain.replace("X-Sender-Signature: ed25519", "X-Sender-Signature: dsa"), "no algorithm"),
    ];
    for (message, words) in rows {
        assert_verdict(message.as_bytes(), &facts(), SignatureBad, words);
        assert!(judge(message.as_bytes(), &facts()).content(true, None).unwrap().is_some(), "shown by force");
    }
}

#[test]
fn sealed_but_not_signed() {
    let message = text(&sealed(draft())).replace("X-Sender-Signature:", "X-Other:");
    assert_verdict(message.as_bytes(), &facts(), SealedButNotSigned, "anybody");
    assert!(!super::message(message.as_bytes()).is_signed());
}

#[test]
fn r20_not_the_senders_key() {
    let from_mallory = sign(&outer("alice@example.net"), &armour(payload().as_bytes(), &bob()), &mallory());
    assert_verdict(&from_mallory, &facts(), NotTheSendersKey, "not the sender's");
    assert_eq!(judge(&from_mallory, &facts()).signer, Some(mallory().public()));
    // Nothing is known of the sender: the key in the message is no source of trust.
    let unknown = Facts { keys: Vec::new(), ..facts() };
    assert_verdict(&sealed(draft()), &unknown, NotTheSendersKey, "no key of the sender is known");
    assert_verdict(&plain(draft()), &unknown, NotTheSendersKey, "no key of the sender is known");
    let bare = text(&plain(draft())).replace("X-Sender-Pubkey:", "X-Other:");
    assert_verdict(bare.as_bytes(), &unknown, NotTheSendersKey, "no key of the sender is known");
    // With a key that does not fit there is nothing to say but that it is bad.
    let altered = text(&plain(draft())).replace("Hello", "Jello");
    assert_verdict(altered.as_bytes(), &unknown, SignatureBad, "changed on the way");
    // A failed look-up is said.
    let failed = Facts { lookup_failed: Some("no answer".into()), ..unknown };
    assert_verdict(&sealed(draft()), &failed, NotTheSendersKey, "no answer");
}

#[test]
fn retired_key() {
    let day = 24 * 60 * 60;
    let retired = |days: i64, first_seen: Option<Timestamp>| Facts {
        keys: vec![mallory().public()],
        retired: vec![(alice().public(), NOW.plus(-days * day))],
        first_seen,
        ..facts()
    };
    let message = sealed(draft());
    assert_verdict(&message, &retired(8, None), RetiredKey, "retired on 2026-11-15");
    assert_verdict(&message, &retired(7, None), Good, "retired on 2026-11-16");
    assert_verdict(&message, &retired(400, Some(NOW.plus(-400 * day))), Good, "retired on");
    assert_verdict(&message, &retired(400, Some(NOW.plus(-392 * day))), RetiredKey, "7 days");
    // A key that counts now is not retired, whatever an older chain says.
    let both = Facts { keys: vec![alice().public()], ..retired(400, None) };
    assert_verdict(&message, &both, Good, "sealed and signed");
    // Nor does a withdrawn key make old mail unreadable.
    let none_now = Facts { keys: Vec::new(), ..retired(1, None) };
    assert_verdict(&message, &none_now, Good, "retired on");
}

#[test]
fn wrapped_by_another() {
    let rows = [
        payload().replace("HP-Outer: To: bob@example.com", "HP-Outer: To: carol@example.com"),
        payload().replace("HP-Outer: Subject: [...]\r\n", ""),
        payload().replace("HP-Outer: Subject", "HP-Outer: Cc: x@example.com\r\nHP-Outer: Subject"),
        payload().replace("HP-Outer: Subject", "HP-Outer: MIME-Version: 1.0\r\nHP-Outer: Subject"),
        payload().replace("\r\nFrom: alice@example.net", "\r\nX: y").replacen(
            "From: alice@",
            "From: carol@",
            1,
        ),
        payload().replacen("From: alice@example.net\r\n", "", 1),
        format!("From: alice@example.net\r\n{}", payload()),
    ];
    for payload in rows {
        assert_verdict(&wrap(&payload), &facts(), WrappedByAnother, "the sealed message");
    }
    // Mallory takes what Alice sealed to him, seals it to Bob and signs it as himself.
    let forwarded = sign(&outer("mallory@example.org"), &armour(payload().as_bytes(), &bob()), &mallory());
    let knows_mallory = Facts { keys: vec![mallory().public()], ..facts() };
    assert_verdict(&forwarded, &knows_mallory, WrappedByAnother, "");
}

#[test]
fn not_written_to_you() {
    // Alice wrote to Carol; Carol sealed the payload to Bob under Alice's own outer header is "wrapped"; Alice
    // herself sealing to Bob what names only Carol is this row.
    let to_carol = |text: String| text.replace("To: bob@example.com", "To: carol@example.com");
    let message = sign(
        &to_carol(outer("alice@example.net")),
        &armour(to_carol(payload()).as_bytes(), &bob()),
        &alice(),
    );
    assert_verdict(&message, &facts(), NotWrittenToYou, "none of your addresses");
    let own = Facts { own_addresses: vec![Address::parse("carol@example.com").unwrap()], ..facts() };
    assert_verdict(&message, &own, Good, "");
    let myself = Facts {
        from_self: true,
        own_addresses: vec![Address::parse("alice@example.net").unwrap()],
        ..facts()
    };
    assert_verdict(&message, &myself, Good, "");
    let with_bcc = to_carol(payload()).replacen("Date:", "Bcc: Bob+list@example.com\r\nDate:", 1);
    let blind = sign(&to_carol(outer("alice@example.net")), &armour(with_bcc.as_bytes(), &bob()), &alice());
    assert_verdict(&blind, &facts(), Good, "");
}

#[test]
fn r08_replay() {
    let message = sealed(draft());
    let hash = judge(&message, &facts()).payload_sha256.unwrap();
    let seen = |payloads_seen| Facts { payloads_seen, ..facts() };
    assert_verdict(&message, &seen(vec![[9; 32]]), Replay, "seen before");
    assert_verdict(&message, &seen(vec![hash]), Good, "");
    // Another sealing of the same payload, Bcc apart, is the same.
    let again =
        compose(draft()).sealed(&Copy::Blind(mailbox("x@example.org")), &[bob().public()], &alice()).unwrap();
    assert_verdict(&octets(&again), &seen(vec![hash]), Good, "");
    assert_eq!(compose(draft()).payload_sha256().unwrap(), hash);
    // Plain mail: the signature input.
    let message = plain(draft());
    let opened = judge(&message, &facts());
    assert_eq!(opened.payload_sha256, Some(super::message(&message).signature_input_sha256()));
    assert_verdict(&message, &seen(vec![[9; 32]]), Replay, "seen before");
}

#[test]
fn sender_not_yet_confirmed() {
    let unconfirmed = Facts { confirmed: false, ..facts() };
    assert_verdict(&sealed(draft()), &unconfirmed, SenderNotYetConfirmed, "good: sealed and signed");
    assert_verdict(&plain(draft()), &unconfirmed, SenderNotYetConfirmed, "not encrypted");
    let altered = [plain(draft()), b"\r\n".to_vec()].concat();
    assert_verdict(&altered, &unconfirmed, SenderNotYetConfirmed, "good, altered on the way");
}

#[test]
fn good() {
    let opened = verdict(&sealed(draft()), &facts());
    assert_eq!((opened.verdict, opened.sealed), (Good, true));
    assert_eq!(opened.signer, Some(alice().public()));
    assert_eq!(opened.verdict.name(), "good");
    assert_verdict(&plain(draft()), &facts(), Good, "not encrypted");
    // Even where nobody vouches for a second key, the right one counts.
    let two = Facts { keys: vec![mallory().public(), alice().public()], ..facts() };
    assert_verdict(&sealed(draft()), &two, Good, "");
}

#[test]
fn plain_and_plain_though_this_contact_signs() {
    let unsigned = "From: alice@example.net\r\nSubject: x\r\n\r\nhello\r\n";
    assert_verdict(unsigned.as_bytes(), &facts(), Plain, "neither sealed nor signed");
    let signs = Facts { signs: true, ..facts() };
    assert_verdict(unsigned.as_bytes(), &signs, PlainThoughSigns, "plain: neither");
    // Odd mail without a signature is plain.
    for odd in ["", "\r\n", "no header at all", "From: a@x\r\nFrom: b@x\r\nSubject: y\r\nSubject: z\r\n\r\n"]
    {
        assert_verdict(odd.as_bytes(), &facts(), Plain, "");
    }
}

#[test]
fn r19_sealed_or_plain_is_said_by_the_field_and_the_armour() {
    let good = text(&sealed(draft()));
    // Armour without `yes` is plain and not opened; the signature covers the field.
    let without = good.replace("X-Sender-Encrypted: yes\r\n", "");
    assert_verdict(without.as_bytes(), &facts(), SignatureBad, "not opened");
    let unsigned = without.replace("X-Sender-Signature:", "X-Other:");
    let mut opened = verdict(unsigned.as_bytes(), &facts());
    assert_eq!(opened.verdict, Plain);
    assert!(says(&opened, "not opened"));
    // Its type alone makes it an attachment, still sealed.
    assert!(opened.content(false, None).unwrap().unwrap().text.is_empty());
    let odd = good.replace("X-Sender-Encrypted: yes", "X-Sender-Encrypted: true");
    assert_verdict(odd.as_bytes(), &facts(), SignatureBad, "counts as no");
    // In any case of letters, as long as that is what was signed.
    let head = outer("alice@example.net").replace("Encrypted: yes", "Encrypted: YES");
    let loud = sign(&head, &armour(payload().as_bytes(), &bob()), &alice());
    assert_verdict(&loud, &facts(), Good, "");
}

#[test]
fn r20_a_differing_pubkey_is_said_and_ignored() {
    let good = text(&plain(draft()));
    let fields = fold_pubkey(&alice().public());
    let other = good.replace(&fields, &fold_pubkey(&mallory().public()));
    assert_verdict(other.as_bytes(), &facts(), Good, "names another key");
    let broken = good.replace(&fields, "X-Sender-Pubkey: ed25519 AAAA\r\n");
    assert_verdict(broken.as_bytes(), &facts(), Good, "no valid key");
    let moved = Facts { published_otherwise: Some(mallory().public()), ..facts() };
    assert_verdict(good.as_bytes(), &moved, Good, "now publishes a key");
}

#[test]
fn the_second_copy_to_oneself_opens_with_a_retired_seed() {
    let message = sealed(draft());
    let opened = super::message(&message).judge(&[mallory(), bob()], &facts()).unwrap();
    assert_eq!(opened.verdict, Good);
    let none = super::message(&message).judge(&[], &facts()).unwrap();
    assert_eq!(none.verdict, CannotBeOpened);
}

#[test]
fn many_recipients_and_bcc_only_are_good_for_each() {
    let mut many = draft();
    many.to.extend((0..200).map(|i| mailbox(&format!("somebody-with-a-long-name-{i}@example.org"))));
    many.cc = vec![mailbox("\"odd  name\"@example.org"), mailbox("carol@müller.example")];
    assert_verdict(&sealed(many.clone()), &facts(), Good, "sealed and signed");
    assert_verdict(&plain(many), &facts(), Good, "not encrypted");
    let mut blind = draft();
    blind.bcc = std::mem::take(&mut blind.to);
    let copy = Copy::Blind(blind.bcc[0].clone());
    let message = octets(&compose(blind.clone()).sealed(&copy, &[bob().public()], &alice()).unwrap());
    assert_verdict(&message, &facts(), Good, "sealed and signed");
    // The same without its Bcc field names nobody.
    assert_verdict(&sealed(blind), &facts(), NotWrittenToYou, "none of your addresses");
}
