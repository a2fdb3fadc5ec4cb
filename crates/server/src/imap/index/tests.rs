use super::*;
use proptest::prelude::*;
use sealpost_proto::imap::keys::REFERENCES_MAX;

const MESSAGE: &[u8] = b"Date: Mon, 23 Nov 2026 21:36:00 -0500\r\nFrom: =?utf-8?q?J=C3=B6rg?= <joerg@example.net>\r\n\
    To: list: b@example.com;\r\nCc: c@example.com\r\nSubject: Re: =?utf-8?q?=5Bx=5D_Gr=C3=BC=C3=9Fe?=\r\n\
    Message-ID: <3@x>\r\nReferences: <1@x>\r\n <2@x>\r\nIn-Reply-To: <0@x>\r\n\
    Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Transfer-Encoding: base64\r\n\r\nYQ==\r\n--b\r\nContent-Type: text/html; charset=koi8-r\r\n\r\nx\r\n--b--\r\n";

/// [`MESSAGE`] as it was stored before version 2.
const VERSION_1: &[u8] = include_bytes!("version1.bin");

#[test]
fn stored_and_read_back() {
    let stored = build(MESSAGE);
    let index = Index::read(&stored).unwrap();
    assert_eq!(index.stored(), stored);
    assert_eq!(index.parts.len(), 3);
    assert_eq!(Index::header_octets(&stored), Some(index.parts[0].body));
    assert_eq!((Index::header_octets(VERSION_1), Index::header_octets(b"")), (None, None));
    assert_eq!(index.parts[1].text.as_ref().unwrap().encoding, Encoding::Base64);
    assert_eq!(index.parts[2].text.as_ref().unwrap().charset, "koi8-r");
    let sent = index.sent.unwrap();
    assert_eq!((Some(sent.day), sent.at), (Day::new(2026, 11, 23), Timestamp(1_795_469_760 + 5 * 3600)));
    for cut in 0..stored.len() {
        assert_eq!(Index::read(&stored[..cut]), None, "{cut}");
    }
}

#[test]
fn version_1_is_read_still() {
    let (old, new) = (Index::read(VERSION_1).unwrap(), Index::read(&build(MESSAGE)).unwrap());
    assert_eq!(old.envelope, new.envelope);
    assert_eq!(old.body(), new.body());
    assert_eq!(old.body_structure, new.body_structure);
    assert_eq!(old.parts, new.parts);
    assert_eq!(old.sent, new.sent);
    assert_eq!(old.keys(), None, "it does not know what the message answers");
    for cut in 0..VERSION_1.len() {
        assert_eq!(Index::read(&VERSION_1[..cut]), None, "{cut}");
    }
}

#[test]
fn what_sort_and_thread_compare() {
    let keys = Index::read(&build(MESSAGE)).unwrap().keys().unwrap();
    assert_eq!(keys.sent, Some(Timestamp(1_795_469_760 + 5 * 3600)));
    assert_eq!((keys.subject.text.as_str(), keys.subject.is_reply), ("Gr\u{fc}\u{df}e", true));
    assert_eq!((keys.from.mailbox.as_str(), keys.from.display.as_str()), ("joerg", "J\u{f6}rg"));
    assert_eq!((keys.to.mailbox.as_str(), keys.to.display.as_str()), ("list", "list"));
    assert_eq!((keys.cc.mailbox.as_str(), keys.cc.display.as_str()), ("c", "c@example.com"));
    assert_eq!(keys.message_id, Some(MessageRef::of(b"3@x")));
    assert_eq!(keys.references, [MessageRef::of(b"1@x"), MessageRef::of(b"2@x")]);
    // Without References the first id in In-Reply-To.
    let keys = Index::read(&build(b"In-Reply-To: <1@x> <2@x>\r\n\r\n")).unwrap().keys().unwrap();
    assert_eq!(keys, Keys { references: vec![MessageRef::of(b"1@x")], ..Keys::default() });
}

#[test]
fn of_many_references_both_ends_are_kept() {
    let of = |count: usize| {
        let ids = (0..count).map(|n| format!("<{n}@x>")).collect::<Vec<_>>().join(" ");
        Index::read(&build(format!("References: {ids}\r\n\r\n").as_bytes())).unwrap().references.unwrap()
    };
    let id = |n: usize| MessageRef::of(format!("{n}@x").as_bytes());
    assert_eq!(of(REFERENCES_MAX), (0..REFERENCES_MAX).map(id).collect::<Vec<_>>());
    let cut = of(REFERENCES_MAX + 1);
    assert_eq!(cut.len(), REFERENCES_MAX);
    assert_eq!((cut[0], cut[REFERENCES_MAX / 2]), (id(0), id(REFERENCES_MAX / 2 + 1)));
    assert_eq!(cut.last(), Some(&id(REFERENCES_MAX)));
}

/// It is written with every delivery.
#[test]
fn an_ordinary_message_takes_few_octets() {
    let message = b"From: Alice Liddell <alice@example.net>\r\nTo: Bob Builder <bob@example.com>\r\n\
        Subject: minutes of yesterday's meeting\r\nDate: Mon, 23 Nov 2026 21:36:00 +0000\r\n\
        Message-ID: <20261123213600.4711@example.net>\r\nMIME-Version: 1.0\r\n\
        Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nHello Bob.\r\n";
    let stored = build(&message[..]);
    assert!(stored.len() < 330, "{}", stored.len());
}

proptest! {
    #[test]
    fn never_panics_and_round_trips(message in proptest::collection::vec(any::<u8>(), 0..300)) {
        let stored = build(&message[..]);
        let index = Index::read(&stored).unwrap();
        prop_assert_eq!(index.stored(), stored);
        prop_assert!(index.keys().is_some());
        let _ = Index::read(&message);
    }
    #[test]
    fn odd_octets_never_panic(version in 1_u8..=2, octets in proptest::collection::vec(any::<u8>(), 0..60)) {
        if let Some(index) = Index::read(&[vec![version], octets].concat()) {
            let _ = (index.keys(), index.body());
        }
    }
    #[test]
    fn headers_round_trip(fields in proptest::collection::vec(
        ("(Date|From|Sender|Reply-To|References|In-Reply-To|Content-Type)",
         "(a@b|, |<|>|<1@x>|text/plain|message/rfc822|; charset=|utf-8|1 Jan|2020|:|\\PC){0,9}"), 0..6)) {
        let message = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<Vec<_>>().concat();
        let mut scanner = Scanner::new();
        scanner.push(message.as_bytes());
        let index = Index::of(&scanner.finish());
        let read = Index::read(&index.stored()).unwrap();
        prop_assert_eq!((&read.envelope, read.body(), &read.body_structure), (&index.envelope, index.body(), &index.body_structure));
        prop_assert_eq!((read.sent, &read.references, &read.parts), (index.sent, &index.references, &index.parts));
    }
}
