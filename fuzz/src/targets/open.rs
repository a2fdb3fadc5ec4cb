//! Opening: whatever becomes of a signed or sealed message on its way, nobody's words pass for Alice's.

use crate::{Rng, feedback, seeds};
use sealpost_client::open::{Facts, Message, Verdict};
use sealpost_proto::{
    address::Address,
    key::Algorithm,
    message::{Header, MailboxList, SignatureInput, fold_pubkey, fold_signature},
    time::Timestamp,
};
use std::{
    cell::OnceCell,
    fs::{self, File},
    io::{Seek as _, Write as _},
};
use tempfile::TempDir;

thread_local! {
    /// One file, written anew for each input.
    static FILE: OnceCell<File> = const { OnceCell::new() };
    static FOLDER: OnceCell<TempDir> = const { OnceCell::new() };
    static WRITTEN: OnceCell<Vec<seeds::Written>> = const { OnceCell::new() };
}

fn message(input: &[u8]) -> Message {
    FILE.with(|cell| {
        let mut file = cell.get_or_init(|| tempfile::tempfile().expect("a temporary file"));
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(input)).expect("written");
        Message::read(file.try_clone().expect("a handle")).expect("read")
    })
}

fn facts() -> Facts {
    Facts {
        keys: vec![seeds::alice().public()],
        confirmed: true,
        own_addresses: vec![Address::parse("bob@example.org").expect("an address")],
        now: Timestamp(seeds::NOW),
        ..Facts::default()
    }
}

/// A verdict that shows what is called Alice's is given to what Alice wrote, and to that only; what is withheld is
/// not shown; an attachment's name leads nowhere but into the folder.
pub(crate) fn open(input: &[u8]) {
    let stranger = message(input).judge(&[seeds::mallory()], &facts()).expect("no disk fails");
    assert!(!stranger.sealed || stranger.verdict.is_withheld(), "opened by whom it is not sealed to");

    let mut opened = message(input).judge(&[seeds::bob()], &facts()).expect("no disk fails");
    feedback::happened(opened.verdict.name());
    opened.notes.iter().for_each(|note| feedback::happened(&feedback::shape(note)));
    assert!(!opened.notes.iter().any(|note| note.contains(['\u{1b}', '\0'])), "a note steers the terminal");
    let shown = opened.content(false, None).expect("no disk fails");
    assert_eq!(shown.is_some(), !opened.verdict.is_withheld());
    let vouched =
        matches!(opened.verdict, Verdict::Good | Verdict::GoodAltered | Verdict::SenderNotYetConfirmed);
    if opened.sealed && !opened.verdict.is_withheld() {
        assert!(vouched, "sealed, shown and not signed: {:?}", opened.verdict);
    }
    if let Some(content) = &shown {
        let header = [&content.from, &content.subject, &content.date, &content.message_id];
        assert!(!header.iter().any(|field| field.chars().any(char::is_control)), "{content:?}");
        assert!(!content.text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')), "{content:?}");
    }
    if vouched {
        let content = shown.expect("it is not withheld");
        assert_eq!(opened.signer, Some(seeds::alice().public()));
        assert!(opened.payload_sha256.is_some());
        assert_eq!(content.from, "alice@example.net");
        WRITTEN.with(|cell| {
            let written = cell.get_or_init(seeds::written);
            let known =
                written.iter().find(|w| w.id == content.message_id).expect("Alice wrote no such message");
            assert_eq!(content.subject, known.subject);
            assert_eq!(content.text.trim_end(), known.text.trim_end());
        });
    } else {
        assert!(opened.verdict == Verdict::Plain || opened.payload_sha256.is_none());
    }
    // Forced, it is read whatever it is; now and then with its attachments.
    if Rng::of(input).below(4) > 0 {
        let _ = opened.content(true, None);
        return;
    }
    FOLDER.with(|cell| {
        let folder = cell.get_or_init(|| TempDir::new().expect("a temporary folder"));
        if let Ok(Some(content)) = opened.content(true, Some(folder.path())) {
            for path in &content.saved {
                assert_eq!(path.parent(), Some(folder.path()), "saved elsewhere");
                assert!(
                    fs::symlink_metadata(path).is_ok_and(|m| m.is_file()),
                    "{} is no file",
                    path.display()
                );
                let _ = fs::remove_file(path);
            }
        }
    });
}

/// An outer header and a payload that are what they like, sealed to Bob and signed by Alice all the same: behind a good
/// seal and a good signature nothing but a payload that is protected as it should be reads as good.
pub(crate) fn protected(input: &[u8]) {
    let end = input.windows(4).position(|w| w == b"\r\n\r\n").map_or(input.len(), |at| at + 2);
    let (outer, payload) = (&input[..end], input.get(end + 2..).unwrap_or_default());
    let Ok(mut sealer) = sealpost_crypto::seal::seal_armoured(&[seeds::bob().public()], Vec::new()) else {
        return;
    };
    sealer.write_all(payload).expect("in memory");
    let body = sealer.finish().expect("in memory");
    let head = [
        outer,
        b"MIME-Version: 1.0\r\nContent-Type: application/age\r\nContent-Transfer-Encoding: 7bit\r\nX-Sender-Encrypted: yes\r\n",
    ]
    .concat();
    let Ok((header, _)) = Header::read(&head) else { return };
    let Ok(signed) = SignatureInput::new(&header) else { return };
    let signature = seeds::alice().sign(&[signed.head(), &body].concat());
    let fields = fold_pubkey(&seeds::alice().public()) + &fold_signature(Algorithm::Ed25519, &signature);
    let whole = [head.as_slice(), fields.as_bytes(), b"\r\n", &body].concat();

    // A header that ends early is that of a plain, unsigned message.
    if Header::read(&whole).map_or(0, |(_, end)| end) + body.len() != whole.len() {
        return;
    }

    let mut opened = message(&whole).judge(&[seeds::bob()], &facts()).expect("no disk fails");
    feedback::happened(opened.verdict.name());
    opened.notes.iter().for_each(|note| feedback::happened(&feedback::shape(note)));
    assert!(!opened.notes.iter().any(|note| note.contains(['\u{1b}', '\0'])), "a note steers the terminal");
    assert_ne!(opened.verdict, Verdict::SealedButNotSigned);
    let shown = opened.content(false, None).expect("no disk fails");
    assert_eq!(shown.is_some(), !opened.verdict.is_withheld());
    let Some(content) = shown else { return };
    assert!(matches!(opened.verdict, Verdict::Good | Verdict::GoodAltered), "{:?}", opened.verdict);
    let from = Address::parse(&content.from).map(|from| from.as_str().to_owned());
    assert_eq!(from.as_deref(), Ok("alice@example.net"), "another than the signer");
    assert!(!content.text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')), "{content:?}");
    let (inner, _) = Header::read(payload).expect("it was read");
    let lists = ["To", "Cc", "Bcc"].into_iter().flat_map(|name| inner.all(name));
    let written = lists.flat_map(|field| MailboxList::parse(field.value()).mailboxes);
    let to_bob = |m: &sealpost_proto::address::Address| {
        m.as_str() == "bob@example.org" || m.without_detail().is_some_and(|m| m.as_str() == "bob@example.org")
    };
    assert!(written.map(|named| named.mailbox.canonical()).any(|m| to_bob(&m)), "not written to Bob");
    for name in ["From", "To", "Cc", "Date", "Message-ID", "Subject"] {
        let plain = |octets: &[u8]| String::from_utf8_lossy(octets).split_whitespace().collect::<String>();
        let mut outside: Vec<String> = header.all(name).map(|field| plain(field.value())).collect();
        let mut named: Vec<String> = inner
            .all("HP-Outer")
            .filter_map(|field| {
                let value = plain(field.value());
                let (of, value) = value.split_once(':')?;
                of.eq_ignore_ascii_case(name).then(|| value.to_owned())
            })
            .collect();
        outside.sort();
        named.sort();
        assert_eq!(named, outside, "HP-Outer and the outer {name}");
    }
}
