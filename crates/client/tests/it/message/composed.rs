//! What goes out.

use super::*;
use proptest::prelude::*;
use sealpost_client::compose::ComposeError;
use sealpost_proto::message::write;
use sha2::{Digest as _, Sha256};
use std::{path::PathBuf, process::Command};

fn header(octets: &[u8]) -> Header {
    Header::read(octets).unwrap().0
}

fn value(octets: &[u8], name: &str) -> String {
    let header = header(octets);
    assert_eq!(header.count(name), 1, "{name}");
    text(&header.first(name).unwrap().unfolded())
}

fn body(octets: &[u8]) -> &[u8] {
    &octets[Header::read(octets).unwrap().1..]
}

fn open(octets: &[u8], key: &SecretKey) -> Vec<u8> {
    let mut out = Vec::new();
    seal::open_armoured(std::slice::from_ref(key), body(octets)).unwrap().read_to_end(&mut out).unwrap();
    out
}

fn assert_untouchable(octets: &[u8]) {
    let text = text(octets);
    assert!(text.is_ascii());
    for line in text.split("\r\n") {
        assert!(!line.contains(['\r', '\n']), "bare line end in {line:?}");
        assert!(line.len() <= write::COLUMNS || line.starts_with("Message-ID:"), "{line}");
    }
    assert!(text.ends_with("\r\n") && !text.ends_with("\r\n\r\n"));
}

#[test]
fn r09_r19_r20_r21_the_outer_header_is_that_of_the_profile() {
    let message = sealed(draft());
    let names: Vec<String> = header(&message).fields().iter().map(|f| f.name().to_owned()).collect();
    let want = [
        "From",
        "To",
        "Date",
        "Message-ID",
        "Subject",
        "MIME-Version",
        "Content-Type",
        "Content-Disposition",
        "Content-Transfer-Encoding",
        "X-Sender-Encrypted",
        "X-Sender-Pubkey",
        "X-Sender-Signature",
    ];
    assert_eq!(names, want);
    assert_eq!(value(&message, "Subject"), "[...]");
    assert_eq!(value(&message, "Content-Type"), "application/age");
    assert_eq!(value(&message, "Content-Disposition"), "inline; filename=\"message.age\"");
    assert_eq!(value(&message, "Content-Transfer-Encoding"), "7bit");
    assert_eq!(value(&message, "X-Sender-Encrypted"), "yes");
    let key = value(&message, "X-Sender-Pubkey").replace(' ', "");
    assert_eq!(key, format!("ed25519{}", alice().public().key_string()));
    // Long enough that the armour's base64 does not hold it by chance.
    for subject in ["aus_Basel", "aus Basel", "Gr=C3=BC", "R3LDvMOfZSBhdXM"] {
        assert!(!text(&message).contains(subject), "nothing of the subject is outside");
    }
    assert_untouchable(&message);
}

#[test]
fn r09_the_payload_protects_its_header() {
    let payload = open(&sealed(draft()), &bob());
    assert_eq!(value(&payload, "Subject"), "=?utf-8?q?Gr=C3=BC=C3=9Fe_aus_Basel?=");
    assert!(value(&payload, "Content-Type").contains("hp=\"cipher\""));
    let outer: Vec<String> = header(&payload).all("HP-Outer").map(|f| text(&f.unfolded())).collect();
    let id = value(&payload, "Message-ID");
    let want = [
        "From: alice@example.net",
        "To: bob@example.com",
        "Date: Mon, 23 Nov 2026 21:36:00 +0000",
        &format!("Message-ID: {id}"),
        "Subject: [...]",
    ];
    assert_eq!(outer, want);
    assert!(id.ends_with("@example.net>"));
    assert_untouchable(&payload);
    let body = text(body(&payload));
    assert!(body.contains("\r\n=46rom here: 5 =3D 5.\r\n=2E\r\n"), "{body}");
}

#[test]
fn r25_stock_age_opens_the_body() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, bob().to_openssh_pem("bob").as_bytes()).unwrap();
    let message = sealed(draft());
    let sealed_body = folder.path().join("message.age");
    std::fs::write(&sealed_body, body(&message)).unwrap();
    assert!(body(&message).starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----\r\n"));
    let age = Command::new("age")
        .arg("-d")
        .arg("-i")
        .arg(&key)
        .arg(&sealed_body)
        .output()
        .expect("age is installed");
    assert!(age.status.success(), "{}", String::from_utf8_lossy(&age.stderr));
    assert_eq!(age.stdout, open(&message, &bob()));
}

#[test]
fn copies_are_the_same_octets_but_for_bcc() {
    let mut draft = draft();
    draft.cc = vec![mailbox("carol@example.org"), mailbox("Bob@example.com")];
    draft.bcc = vec![mailbox("dave@example.org"), mailbox("erin@example.org"), mailbox("carol@example.org")];
    let composition = compose(draft);
    let sealed = |copy: &Copy, key: &SecretKey| {
        let out = octets(&composition.sealed(copy, &[key.public()], &alice()).unwrap());
        open(&out, key)
    };
    let visible = sealed(&Copy::Visible, &bob());
    let blind = sealed(&Copy::Blind(mailbox("dave@example.org")), &mallory());
    let sent = sealed(&Copy::Sent, &alice());
    assert_eq!(header(&visible).count("Bcc"), 0);
    assert_eq!(value(&visible, "Cc"), "carol@example.org", "who is in To is not repeated");
    assert_eq!(value(&blind, "Bcc"), "dave@example.org");
    assert_eq!(value(&sent, "Bcc"), "dave@example.org, erin@example.org", "nor who is in Cc");
    let without_bcc = |octets: &[u8]| {
        let bcc: Vec<u8> = header(octets).all("Bcc").flat_map(|f| f.raw().to_vec()).collect();
        text(octets).replace(&text(&bcc), "")
    };
    assert_eq!(without_bcc(&blind), text(&visible));
    assert_eq!(without_bcc(&sent), text(&visible));
    let hash: [u8; 32] = Sha256::digest(&visible).into();
    assert_eq!(composition.payload_sha256().unwrap(), hash);
}

#[test]
fn r19_r26_plain_mail_is_signed_as_well() {
    let message = plain(draft());
    assert_eq!(value(&message, "X-Sender-Encrypted"), "no");
    assert_eq!(value(&message, "Subject"), "=?utf-8?q?Gr=C3=BC=C3=9Fe_aus_Basel?=");
    assert!(value(&message, "X-Sender-Signature").starts_with("ed25519 "));
    assert_eq!(header(&message).count("Bcc") + header(&message).count("HP-Outer"), 0);
    assert_untouchable(&message);
    // Signatures over streams are made with fresh randomness; all else is settled by draft, date and entropy.
    let unsigned = |octets: &[u8]| {
        let signature = text(header(octets).first("X-Sender-Signature").unwrap().raw());
        text(octets).replace(&signature, "")
    };
    assert_eq!(unsigned(&message), unsigned(&plain(draft())));
}

#[test]
fn answers_keep_their_thread_inside() {
    let mut draft = draft();
    draft.in_reply_to = Some("<q@example.com>".into());
    draft.references = (0..80).map(|i| format!("<r{i}@example.com>")).collect();
    draft.references.push("<bad id@x>\r\nBcc: evil@x".into());
    let message = sealed(draft.clone());
    assert!(header(&message).first("References").is_none());
    let payload = open(&message, &bob());
    assert_eq!(value(&payload, "In-Reply-To"), "<q@example.com>");
    let references = value(&payload, "References");
    assert!(references.starts_with("<r0@") && references.ends_with("<r79@example.com>"));
    assert_eq!(references.split(' ').count(), 50);
    assert_eq!(header(&payload).count("Bcc"), 0);
    draft.in_reply_to = Some("nonsense\r\nX: y".into());
    assert!(header(&open(&sealed(draft), &bob())).first("In-Reply-To").is_none());
}

#[test]
fn only_bcc_recipients_leave_an_empty_group_in_to() {
    let mut draft = draft();
    draft.bcc = std::mem::take(&mut draft.to);
    let message = sealed(draft);
    assert_eq!(value(&message, "To"), "undisclosed-recipients:;");
}

#[test]
fn utf8_addresses_need_smtputf8_and_utf8_domains_do_not() {
    let mut draft = draft();
    draft.to = vec![mailbox("bob@müller.example")];
    let composition = compose(draft.clone());
    assert!(!composition.needs_smtputf8());
    assert_eq!(value(&sealed(draft.clone()), "To"), "bob@xn--mller-kva.example");
    draft.to = vec![mailbox("jürgen@example.com")];
    assert!(compose(draft.clone()).needs_smtputf8());
    assert!(compose(draft).plain(&alice()).unwrap().needs_smtputf8());
}

#[test]
fn drafts_that_are_refused() {
    let refused = |change: &dyn Fn(&mut Draft)| {
        let mut draft = draft();
        change(&mut draft);
        Composition::new(draft, NOW, [7; 16]).err().map(|e| e.to_string()).unwrap_or_default()
    };
    for subject in ["a\r\nBcc: evil@x", "a\nb", "a\rb", "a\u{0}b", "a\u{1b}[2J", "a\tb", "a\u{2028}b"] {
        assert!(refused(&|d| d.subject = subject.into()).contains("subject"), "{subject:?}");
    }
    assert!(refused(&|d| d.to.clear()).contains("no recipient"));
    assert!(refused(&|d| d.subject = "x y ".repeat(100_000)).contains("too long"));
    let many = |n: usize| (0..n).map(|i| mailbox(&format!("u{i}@example.com"))).collect::<Vec<_>>();
    assert!(refused(&|d| d.to = many(1_000)).contains("999"));
    assert!(refused(&|d| d.to = many(999)).is_empty());
    assert!(refused(&|d| d.attachments = vec![PathBuf::from("/nowhere/at-all")]).contains("/nowhere/at-all"));
    assert!(refused(&|d| d.attachments = vec![std::env::temp_dir()]).contains("not a file"));
    let folder = tempfile::tempdir().unwrap();
    let odd = folder.path().join("a\nb");
    std::fs::write(&odd, "x").unwrap();
    assert!(refused(&|d| d.attachments = vec![odd.clone()]).contains("name of an attachment"));
}

#[test]
fn a_file_that_changes_stops_the_sending() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.bin");
    std::fs::write(&file, vec![1; 1000]).unwrap();
    let mut draft = draft();
    draft.attachments = vec![file.clone()];
    let composition = compose(draft);
    let outgoing = composition.plain(&alice()).unwrap();
    assert_eq!(octets(&outgoing).len() as u64, outgoing.size());
    std::fs::write(&file, vec![2; 1000]).unwrap();
    let mut out = Vec::new();
    let error = outgoing.open().unwrap().read_to_end(&mut out).unwrap_err();
    assert!(error.to_string().contains("a.bin changed"), "{error}");
    let error = composition.sealed(&Copy::Sent, &[alice().public()], &alice()).err().unwrap();
    assert!(matches!(error, ComposeError::Changed(name) if name == "a.bin"));
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(composition.plain(&alice()).err(), Some(ComposeError::Attachment(..))));
}

#[test]
fn mostly_foreign_text_goes_as_base64() {
    let mut draft = draft();
    draft.text = "日本語のテキスト\n".repeat(50);
    let payload = open(&sealed(draft), &bob());
    assert_eq!(value(&payload, "Content-Transfer-Encoding"), "base64");
    assert_untouchable(&payload);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_is_written_goes_out_untouchable(
        subject in "[ -~äß日🎉]{0,120}",
        body in "[ -~\t\r\näF.=日\u{0}]{0,400}",
        name in "[a-zäöü日 ;\"'%\\\\]{1,60}",
        content in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(format!("{name}.txt"));
        std::fs::write(&path, &content).unwrap();
        let mut draft = draft();
        draft.subject = subject;
        draft.text = body;
        draft.attachments = vec![path];
        assert_untouchable(&plain(draft.clone()));
        let message = sealed(draft);
        assert_untouchable(&message);
        assert_untouchable(&open(&message, &bob()));
    }
}
