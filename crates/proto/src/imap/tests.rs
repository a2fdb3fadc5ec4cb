//! The codec as a whole: tables, inverses, cuts at every octet, and imap-codec as the oracle for what both know.

use super::{encode, parse, types::*, *};
use proptest::{collection::vec, option, prelude::*};
use std::num::NonZeroU32;

fn wire(command: &Command, names: Names) -> Vec<u8> {
    encode::command(command, names).iter().flat_map(|p| p.bytes.to_vec()).collect()
}

fn atom() -> impl Strategy<Value = Atom> {
    "[A-Za-z0-9$_.+-]{1,12}".prop_map(|t| Atom::new(t).unwrap())
}
fn text() -> impl Strategy<Value = String> {
    "[ -~äö€\r\n]{0,20}"
}
fn mailbox() -> impl Strategy<Value = MailboxName> {
    "[ -~äö€]{1,12}".prop_map(|t| MailboxName::new(t).unwrap())
}
fn set() -> impl Strategy<Value = SequenceSet> {
    let number = prop_oneof![
        4 => (1..=u32::MAX).prop_map(|n| SeqNumber::Number(NonZeroU32::new(n).unwrap())),
        1 => Just(SeqNumber::Largest)
    ];
    prop_oneof![
        9 => vec((number.clone(), number), 1..5).prop_map(SequenceSet::Ranges),
        1 => Just(SequenceSet::Saved)
    ]
}
fn flag() -> impl Strategy<Value = Flag> {
    prop_oneof![
        Just(Flag::Seen),
        Just(Flag::Answered),
        Just(Flag::Deleted),
        atom().prop_map(Flag::Keyword),
        Just(Flag::Extension(Atom::new("Odd").unwrap()))
    ]
}
fn day() -> impl Strategy<Value = Day> {
    (-700_000i64..2_900_000).prop_map(Day::from_number)
}
fn date_test() -> impl Strategy<Value = DateTest> {
    prop_oneof![Just(DateTest::Before), Just(DateTest::On), Just(DateTest::Since)]
}
fn key() -> impl Strategy<Value = SearchKey> {
    let leaf = prop_oneof![
        Just(SearchKey::All),
        Just(SearchKey::New),
        (prop_oneof![Just(SystemFlag::Seen), Just(SystemFlag::Draft)], any::<bool>())
            .prop_map(|(f, on)| SearchKey::Flag(f, on)),
        (atom(), any::<bool>()).prop_map(|(a, on)| SearchKey::Keyword(a, on)),
        (date_test(), day()).prop_map(|(t, d)| SearchKey::Internal(t, d)),
        (date_test(), day()).prop_map(|(t, d)| SearchKey::Sent(t, d)),
        any::<u32>().prop_map(|n| SearchKey::Larger(n.into())),
        (1u32.., any::<bool>()).prop_map(|(n, y)| SearchKey::Within(NonZeroU32::new(n).unwrap(), y)),
        (date_test(), day()).prop_map(|(t, d)| SearchKey::Saved(t, d)),
        Just(SearchKey::SaveDateSupported),
        (option::of(("/flags/[ -~]{1,9}", Just(Atom::new("all").unwrap()))), modseq())
            .prop_map(|(entry, modseq)| SearchKey::ModSeq { entry, modseq }),
        "[A-Za-z0-9_-]{1,9}".prop_map(|id| SearchKey::EmailId(ObjectId::new(id).unwrap())),
        "[A-Za-z0-9_-]{1,9}".prop_map(|id| SearchKey::ThreadId(ObjectId::new(id).unwrap())),
        ("X-[a-z]{1,5}|SUBJECT|FROM", text()).prop_map(|(field, value)| SearchKey::Header { field, value }),
        text().prop_map(SearchKey::Body),
        text().prop_map(SearchKey::Text),
        set().prop_map(SearchKey::Uid),
        set().prop_map(SearchKey::Sequence),
    ];
    leaf.prop_recursive(4, 20, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 1..4).prop_map(SearchKey::And),
            inner.clone().prop_map(|k| SearchKey::Not(Box::new(k))),
            (inner.clone(), inner).prop_map(|(a, b)| SearchKey::Or(Box::new(a), Box::new(b))),
        ]
    })
}
fn section() -> impl Strategy<Value = Section> {
    let part = vec((1u32..300).prop_map(|n| NonZeroU32::new(n).unwrap()), 0..4);
    let words = prop_oneof![
        Just(SectionText::Header),
        Just(SectionText::Text),
        Just(SectionText::Mime),
        (vec("[A-Za-z-]{1,8}", 1..4), any::<bool>())
            .prop_map(|(names, not)| SectionText::HeaderFields { names, not }),
    ];
    (part, option::of(words)).prop_map(|(part, text)| {
        // MIME needs a part (RFC 9051 §9 `section-text`).
        let text = text.filter(|t| !(part.is_empty() && *t == SectionText::Mime));
        Section { part, text }
    })
}
fn item() -> impl Strategy<Value = FetchItem> {
    prop_oneof![
        Just(FetchItem::Flags),
        Just(FetchItem::Uid),
        Just(FetchItem::Envelope),
        Just(FetchItem::Body),
        Just(FetchItem::BodyStructure),
        any::<bool>().prop_map(|lazy| FetchItem::Preview { lazy }),
        Just(FetchItem::Rfc822Header),
        Just(FetchItem::ModSeq),
        Just(FetchItem::SaveDate),
        Just(FetchItem::EmailId),
        Just(FetchItem::ThreadId),
        (section(), any::<bool>(), option::of((0..1000u64, 1..1000u32))).prop_map(
            |(section, peek, partial)| {
                let partial = partial.map(|(a, b)| (a, NonZeroU32::new(b).unwrap()));
                FetchItem::Section { section, peek, partial }
            }
        ),
        (vec(1u32..300, 0..4), any::<bool>(), option::of((0..1000u64, 1..1000u32))).prop_map(
            |(part, peek, partial)| {
                let part = part.into_iter().map(|n| NonZeroU32::new(n).unwrap()).collect();
                let partial = partial.map(|(a, b)| (a, NonZeroU32::new(b).unwrap()));
                FetchItem::Binary { part, peek, partial }
            }
        ),
        vec(1u32..300, 0..4).prop_map(|part| {
            FetchItem::BinarySize(part.into_iter().map(|n| NonZeroU32::new(n).unwrap()).collect())
        }),
    ]
}
fn status_items() -> impl Strategy<Value = Vec<StatusItem>> {
    vec(
        prop_oneof![
            Just(StatusItem::Messages),
            Just(StatusItem::Size),
            Just(StatusItem::AppendLimit),
            Just(StatusItem::DeletedStorage),
            Just(StatusItem::UidNext),
            Just(StatusItem::HighestModSeq),
            Just(StatusItem::MailboxId)
        ],
        1..3,
    )
}
fn list() -> impl Strategy<Value = List> {
    let select = vec(prop_oneof![Just(ListSelect::Subscribed), Just(ListSelect::SpecialUse)], 0..3);
    let returns = vec(
        prop_oneof![
            Just(ListReturn::Children),
            status_items().prop_map(ListReturn::Status),
            vec(entry(), 1..3).prop_map(ListReturn::Metadata)
        ],
        0..3,
    );
    (select, "[a-z/ä]{0,5}", vec("[a-z*%/ä ]{0,6}", 1..3), returns).prop_map(
        |(select, reference, patterns, returns)| {
            let extended = !select.is_empty() || !returns.is_empty() || patterns.len() > 1;
            List { select, reference, patterns, returns, extended }
        },
    )
}
fn entry() -> impl Strategy<Value = Entry> {
    "/(private|shared)/[a-z .\"]{1,9}(/[a-z\\x1a]{1,3}){0,2}".prop_map(|t| Entry::new(t).unwrap())
}
fn metadata() -> impl Strategy<Value = Body> {
    let depth = prop_oneof![Just(Depth::Zero), Just(Depth::One), Just(Depth::Infinity)];
    let place = || "[ -~ä]{0,9}".prop_map(|t| MailboxName::new(t).unwrap());
    let entry = || entry().prop_filter("a vendor's has more components", Entry::can_have_value);
    prop_oneof![
        (place(), option::of(0..99u64), depth, vec(entry(), 1..4)).prop_map(
            |(mailbox, max_size, depth, entries)| {
                Body::GetMetadata(GetMetadata { mailbox, max_size, depth, entries })
            }
        ),
        (place(), vec((entry(), option::of(vec(any::<u8>(), 0..20))), 1..4))
            .prop_map(|(mailbox, values)| Body::SetMetadata(SetMetadata { mailbox, values })),
    ]
}
fn modseq() -> impl Strategy<Value = u64> {
    0..=9_223_372_036_854_775_807_u64
}
fn numbers() -> impl Strategy<Value = SequenceSet> {
    vec(1..=u32::MAX, 1..5).prop_map(|n| SequenceSet::from_numbers(&n).unwrap())
}
fn select_params() -> impl Strategy<Value = SelectParams> {
    let qresync = (
        1..=u32::MAX,
        modseq().prop_map(|n| n.max(1)),
        option::of(numbers()),
        option::of((numbers(), numbers())),
    )
        .prop_map(|(validity, modseq, known, matching)| Qresync {
            uid_validity: NonZeroU32::new(validity).unwrap(),
            modseq,
            known,
            matching,
        });
    (any::<bool>(), option::of(qresync)).prop_map(|(condstore, qresync)| SelectParams { condstore, qresync })
}
fn body() -> impl Strategy<Value = Body> {
    let how = prop_oneof![Just(StoreHow::Replace), Just(StoreHow::Add), Just(StoreHow::Remove)];
    prop_oneof![
        Just(Body::Noop),
        Just(Body::Unauthenticate),
        Just(Body::Compress(Atom::new("DEFLATE").unwrap())),
        "[ -~]{0,9}".prop_map(Body::GetQuota),
        mailbox().prop_map(Body::GetQuotaRoot),
        metadata(),
        Just(Body::Idle),
        Just(Body::Expunge { uids: None }),
        set().prop_map(|s| Body::Expunge { uids: Some(s) }),
        ("[A-Z0-9-]{1,9}", option::of("([A-Za-z0-9+/]{4}){1,4}")).prop_map(|(m, initial)| {
            Body::Authenticate {
                mechanism: Atom::new(m).unwrap(),
                initial: initial.map(|t| Secret::new(t.into_bytes())),
            }
        }),
        (text(), text()).prop_map(|(user, password)| Body::Login {
            user: user.into_bytes(),
            password: Secret::new(password.into_bytes())
        }),
        vec(atom(), 1..4).prop_map(Body::Enable),
        vec((text(), option::of(text())), 0..3).prop_map(Body::Id),
        (mailbox(), any::<bool>(), select_params()).prop_map(|(mailbox, read_only, params)| Body::Select {
            mailbox,
            read_only,
            params
        }),
        (mailbox(), vec(atom(), 0..2))
            .prop_map(|(mailbox, special_use)| Body::Create { mailbox, special_use }),
        (mailbox(), mailbox()).prop_map(|(from, to)| Body::Rename { from, to }),
        list().prop_map(Body::List),
        (mailbox(), status_items()).prop_map(|(mailbox, items)| Body::Status { mailbox, items }),
        (any::<bool>(), option::of(Just("UTF-8".to_owned())), key())
            .prop_map(|(uid, charset, key)| Body::Search { uid, returns: None, charset, key }),
        key().prop_map(|key| Body::Search {
            uid: true,
            returns: Some(vec![SearchReturn::Min, SearchReturn::Save]),
            charset: None,
            key
        }),
        (any::<bool>(), set(), vec(item(), 1..4), option::of((modseq(), any::<bool>()))).prop_map(
            |(uid, set, items, since)| {
                let changed_since = since.map(|(modseq, vanished)| ChangedSince { modseq, vanished });
                Body::Fetch { uid, set, items, changed_since }
            }
        ),
        (any::<bool>(), set(), how, any::<bool>(), vec(flag(), 0..4), option::of(modseq())).prop_map(
            |(uid, set, how, silent, flags, unchanged_since)| {
                Body::Store { uid, set, how, silent, flags, unchanged_since }
            }
        ),
        sorted_or_threaded(),
        notify().prop_map(Body::Notify),
        (any::<bool>(), any::<bool>(), set(), mailbox()).prop_map(|(uid, remove, set, mailbox)| Body::Copy {
            uid,
            remove,
            set,
            mailbox
        }),
    ]
}
fn notify() -> impl Strategy<Value = Notify> {
    let names = || vec(mailbox(), 1..4);
    let other = prop_oneof![
        Just(MailboxFilter::Inboxes),
        Just(MailboxFilter::Personal),
        Just(MailboxFilter::Subscribed),
        names().prop_map(MailboxFilter::Subtree),
        names().prop_map(MailboxFilter::Mailboxes),
    ];
    let events = |items: Vec<FetchItem>, flags: bool, more: Vec<Event>| {
        let mut all = vec![Event::MessageNew(items), Event::MessageExpunge];
        all.extend(flags.then_some(Event::FlagChange));
        all.extend(more);
        all
    };
    let more = prop_oneof![
        Just(Event::AnnotationChange),
        Just(Event::MailboxName),
        Just(Event::SubscriptionChange),
        Just(Event::MailboxMetadataChange),
        Just(Event::ServerMetadataChange),
        "X-[a-z]{1,5}".prop_map(|name| Event::Other(Atom::new(name).unwrap())),
    ];
    let of_other = (other, option::of((any::<bool>(), vec(more, 0..4)))).prop_map(move |(filter, wanted)| {
        let events = wanted.map(|(flags, more)| events(Vec::new(), flags, more)).unwrap_or_default();
        EventGroup { filter, events }
    });
    let of_selected =
        (any::<bool>(), option::of((vec(item(), 0..3), any::<bool>()))).prop_map(move |(delayed, wanted)| {
            let filter = if delayed { MailboxFilter::SelectedDelayed } else { MailboxFilter::Selected };
            let events = wanted.map(|(items, flags)| events(items, flags, Vec::new())).unwrap_or_default();
            EventGroup { filter, events }
        });
    (any::<bool>(), option::of(of_selected), vec(of_other, 0..3)).prop_map(|(status, selected, others)| {
        let groups: Vec<EventGroup> = selected.into_iter().chain(others).collect();
        if groups.is_empty() { Notify::None } else { Notify::Set { status, groups } }
    })
}
fn order() -> impl Strategy<Value = Vec<SortOrder>> {
    let key = prop_oneof![
        Just(SortKey::Arrival),
        Just(SortKey::Cc),
        Just(SortKey::Date),
        Just(SortKey::From),
        Just(SortKey::Size),
        Just(SortKey::Subject),
        Just(SortKey::To),
        Just(SortKey::DisplayFrom),
        Just(SortKey::DisplayTo)
    ];
    vec((key, any::<bool>()).prop_map(|(key, reverse)| SortOrder { key, reverse }), 1..4)
}
fn sorted_or_threaded() -> impl Strategy<Value = Body> {
    let returns = option::of(Just(vec![SearchReturn::All, SearchReturn::Count]));
    let algorithm = prop_oneof![Just(ThreadAlgorithm::OrderedSubject), Just(ThreadAlgorithm::References)];
    let charset = || "UTF-8".to_owned();
    prop_oneof![
        (any::<bool>(), returns, order(), key()).prop_map(move |(uid, returns, order, key)| Body::Sort {
            uid,
            returns,
            order,
            charset: charset(),
            key
        }),
        (any::<bool>(), algorithm, key()).prop_map(move |(uid, algorithm, key)| Body::Thread {
            uid,
            algorithm,
            charset: charset(),
            key
        }),
    ]
}
fn command() -> impl Strategy<Value = Command> {
    ("[A-Za-z0-9]{1,6}", body()).prop_map(|(tag, body)| Command { tag: Tag::new(tag).unwrap(), body })
}

proptest! {
    #[test]
    fn value_to_octets_and_back(command in command(), utf8 in any::<bool>()) {
        let names = if utf8 { Names::Utf8 } else { Names::Utf7 };
        let bytes = wire(&command, names);
        let back = parse::command(&bytes, names);
        prop_assert!(back.as_ref() == Ok(&command), "{}\n{:?}", String::from_utf8_lossy(&bytes), back);
    }

    #[test]
    fn octets_to_value_and_back(line in "[a-z]{1,2} (UID )?(FETCH|STORE|SEARCH|SORT|THREAD|LIST|STATUS|SELECT|COPY|GETMETADATA|SETMETADATA|NOTIFY) [ -~]{0,40}") {
        if let Ok(command) = parse::command(format!("{line}\r\n").as_bytes(), Names::Utf7) {
            let again = parse::command(&wire(&command, Names::Utf7), Names::Utf7);
            prop_assert_eq!(again, Ok(command));
        }
    }

    #[test]
    fn parsers_never_panic(bytes in vec(any::<u8>(), 0..120), text in "[ -~]{0,80}") {
        for input in [bytes, format!("a {text}\r\n").into_bytes(), format!("* {text}\r\n").into_bytes()] {
            let _ = parse::command(&input, Names::Utf7);
            let _ = parse::append_start(&input, Names::Utf8);
            let _ = (parse::append_next(&input, false), parse::append_next(&input, true));
            let _ = reply(&input, Names::Utf7);
            let _ = parse::tag_of(&input);
        }
    }

    #[test]
    fn a_cut_command_is_refused_and_never_another_one(command in command()) {
        let bytes = wire(&command, Names::Utf7);
        for cut in 0..bytes.len() {
            if let Ok(other) = parse::command(&bytes[..cut], Names::Utf7) {
                // Only the final LF of a CRLF within a literal's neighbourhood could end a command early.
                prop_assert!(bytes[cut - 1] == b'\n', "{:?}", other);
            }
        }
    }

    /// What both know, both read alike: our octets are commands to imap-codec, and what it writes of them is the
    /// same command to us.
    #[test]
    fn oracle(command in command()) {
        use imap_codec::{CommandCodec, decode::Decoder as _, encode::Encoder as _};
        let bytes = wire(&command, Names::Utf7);
        let ours_alone = |body: &Body| match body {
            Body::Unauthenticate
            | Body::Compress(_)
            | Body::GetQuota(_)
            | Body::GetQuotaRoot(_)
            | Body::GetMetadata(_)
            | Body::SetMetadata(_)
            | Body::Sort { .. }
            | Body::Thread { .. }
            | Body::Notify(_)
            | Body::Enable(_)
            | Body::Id(_)
            | Body::Create { .. }
            | Body::List(_) => true,
            Body::Status { items, .. } => {
                let ours = [StatusItem::Size, StatusItem::AppendLimit, StatusItem::DeletedStorage];
                ours.iter().any(|item| items.contains(item))
            }
            Body::Search { returns, .. } => returns.is_some(),
            _ => false,
        };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let words = ["$", "MODSEQ", "CHANGEDSINCE", "CONDSTORE", "QRESYNC", "SAVE", "EMAILID", "THREADID", "MAILBOXID", "OLDER", "YOUNGER", "PREVIEW"];
        if ours_alone(&command.body) || words.iter().any(|word| text.contains(word)) {
            return Ok(());
        }
        let decoded = CommandCodec::default().decode(&bytes);
        let Ok((rest, theirs)) = decoded else {
            return Err(TestCaseError::fail(format!("{decoded:?}\n{}", String::from_utf8_lossy(&bytes))));
        };
        prop_assert!(rest.is_empty());
        let dumped = CommandCodec::default().encode(&theirs).dump();
        prop_assert!(parse::command(&dumped, Names::Utf7) == Ok(command.clone()),
            "{}\n{}", String::from_utf8_lossy(&bytes), String::from_utf8_lossy(&dumped));
    }
}

#[test]
fn append_up_to_its_literal() {
    let start = |text: &str| parse::append_start(text.as_bytes(), Names::Utf7);
    let parsed = start("a APPEND Sent (\\Seen $X) \"01-Feb-2020 03:04:05 +0100\" {5}\r\n").unwrap().unwrap();
    assert_eq!(parsed.mailbox.as_str(), "Sent");
    assert_eq!(parsed.message.flags.len(), 2);
    assert_eq!(parsed.message.date, Some(crate::time::Timestamp(1_580_522_645)));
    assert_eq!(start("a APPEND {5}\r\n"), Ok(None));
    assert!(start("a APPEND {5}\r\nINBOX {3+}\r\n").unwrap().is_some());
    assert!(start("a APPEND INBOX ~{3}\r\n").unwrap().is_some());
    for bad in [
        "a APPEND INBOX\r\n",
        "a APPEND INBOX (\\Recent) {1}\r\n",
        "a APPEND INBOX \"1-Feb-2020\" {1}\r\n",
        "a APPEND INBOX x{1}\r\n",
        "a APPEND INBOX {2}{1}\r\n",
        "a APPEND INBOX { {1}\r\n",
        "a APPEND INBOX  {1}\r\n",
        "a APPEND INBOX () () {1}\r\n",
        "a APPENDX INBOX {1}\r\n",
    ] {
        assert!(start(bad).is_err(), "{bad}");
    }
}

#[test]
fn append_in_utf8() {
    use parse::{AppendNext, append_next};
    let start = |text: &str| parse::append_start(text.as_bytes(), Names::Utf8);
    let parsed = start("a APPEND \"Entwürfe\" (\\Seen) UTF8 (~{5}\r\n").unwrap().unwrap();
    assert!(parsed.message.utf8);
    assert_eq!(parsed.mailbox.as_str(), "Entwürfe");
    assert_eq!(append_next(b")\r\n", true), Ok(AppendNext::End));
    let Ok(AppendNext::Message(next)) = append_next(b") UTF8 (~{5+}\r\n", true) else { panic!() };
    assert!(next.utf8);
    let Ok(AppendNext::Message(next)) = append_next(b") {5+}\r\n", true) else { panic!() };
    assert!(!next.utf8);
    for bad in ["UTF8 ({5}", "UTF8 ~{5}", "UTF8(~{5}", "(UTF8 (~{5}", "UTF8 (~{5} ~{5}", "UTF8"] {
        assert!(start(&format!("a APPEND INBOX {bad}\r\n")).is_err(), "{bad}");
    }
    for bad in ["\r\n", " {5}\r\n", "))\r\n", ") \r\n"] {
        assert!(append_next(bad.as_bytes(), true).is_err(), "{bad}");
    }
}

#[test]
fn replace_up_to_its_literal() {
    let start = |text: &str| parse::append_start(text.as_bytes(), Names::Utf7);
    let number = |n| SeqNumber::Number(NonZeroU32::new(n).unwrap());
    for (text, replaces) in [
        ("a REPLACE 4 Drafts (\\Seen) {5}\r\n", (false, number(4))),
        ("a replace * Drafts ~{5+}\r\n", (false, SeqNumber::Largest)),
        ("a UID REPLACE 99 Drafts {5}\r\n", (true, number(99))),
        ("a UID REPLACE 99 {6+}\r\nDrafts {5}\r\n", (true, number(99))),
    ] {
        assert!(parse::is_append(text.as_bytes()), "{text}");
        let parsed = start(text).unwrap().unwrap();
        assert_eq!((parsed.replaces, parsed.mailbox.as_str()), (Some(replaces), "Drafts"), "{text}");
    }
    assert_eq!(start("a UID REPLACE 4 {6}\r\n"), Ok(None));
    for bad in [
        "a REPLACE Drafts {5}\r\n",
        "a REPLACE 0 Drafts {5}\r\n",
        "a REPLACE 1:2 Drafts {5}\r\n",
        "a REPLACE 1 Drafts\r\n",
        "a UID APPEND Drafts {5}\r\n",
        "a UIDREPLACE 1 Drafts {5}\r\n",
    ] {
        assert!(start(bad).is_err(), "{bad}");
    }
    assert!(!parse::is_append(b"a UID FETCH 1 {5}\r\n"));
    assert!(parse::command(b"a UID REPLACE 1 Drafts\r\n", Names::Utf7).is_err());
}

#[test]
fn append_behind_a_literal() {
    use parse::{AppendNext, append_next};
    for end in ["\r\n", "\n"] {
        assert_eq!(append_next(end.as_bytes(), false), Ok(AppendNext::End));
    }
    let Ok(AppendNext::Message(message)) = append_next(b" (\\Seen) {5+}\r\n", false) else { panic!() };
    assert_eq!(message.flags, [Flag::Seen]);
    for good in [" ~{5}\r\n", "  {5}\r\n"] {
        assert!(matches!(append_next(good.as_bytes(), false), Ok(AppendNext::Message(_))), "{good}");
    }
    for bad in ["", "x\r\n", "{5}\r\n", " \r\n", "  \r\n", " () {5} {5}\r\n", ") {5}\r\n"] {
        assert!(append_next(bad.as_bytes(), false).is_err(), "{bad}");
    }
}

#[test]
fn secrets_are_not_in_debug() {
    let command = parse::command(b"a LOGIN alice hunter2\r\n", Names::Utf7).unwrap();
    assert!(!format!("{command:?}").contains("hunter2"));
}

#[test]
fn replies_a_client_meets() {
    let parse = |text: &str| reply(text.as_bytes(), Names::Utf7);
    assert_eq!(parse("* SEARCH 1 2 3\r\n"), Ok(Reply::Search(vec![1, 2, 3])));
    assert_eq!(parse("* SEARCH\r\n"), Ok(Reply::Search(vec![])));
    assert_eq!(parse("* 5 EXISTS\r\n"), Ok(Reply::Exists(5)));
    assert_eq!(parse("* 5 RECENT\r\n"), Ok(Reply::Other));
    assert_eq!(parse("* FLAGS (\\Seen)\r\n"), Ok(Reply::Other));
    let Ok(Reply::Tagged(_, Condition::No, text)) = parse("a NO [CODE x y] words\u{7}\r\n") else { panic!() };
    assert_eq!((text.code.as_deref(), text.arguments.as_str()), (Some("CODE"), "x y"));
    assert!(!text.text.contains('\u{7}'));
    let Ok(Reply::List { name, attributes, .. }) = parse("* LIST (\\Sent \\X) \"/\" \"Entw&APw-rfe\"\r\n")
    else {
        panic!()
    };
    assert_eq!((name.as_str(), attributes.len()), ("Entwürfe", 2));
    let fetch = "* 1 FETCH (UID 7 FLAGS (\\Seen \\Recent a) ENVELOPE (\"d\" NIL ((\"x\" NIL \"y\" \"z\")(NIL NIL \"b\" \"c\"))) \
                 RFC822.SIZE 9 BODY[HEADER.FIELDS (A)] {3}\r\na:b BODY[]<0> NIL)\r\n";
    let Ok(Reply::Fetch(values)) = parse(fetch) else { panic!("{:?}", parse(fetch)) };
    assert_eq!(values.len(), 6);
    for bad in [
        "",
        "*\r\n",
        "* 5 EXISTS x\r\n",
        "* 1 FETCH (UID 0)\r\n",
        "* 1 FETCH (FLAGS\r\n",
        "a MAYBE\r\n",
        "* 1 FETCH (BODY[] {9}\r\nx)\r\n",
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}
