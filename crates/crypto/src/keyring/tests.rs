//! R28: with only the present password, any device reads old mail and keeps its trust.

use super::*;
use proptest::prelude::*;
use sealpost_proto::base64;
use serde_json::json;

const T0: Timestamp = Timestamp(1_795_469_760);

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed([n; 32])
}

fn address(text: &str) -> Address {
    Address::parse(text).expect(text)
}

fn alice() -> Address {
    address("alice@example.net")
}

fn full() -> Keyring {
    let mut keyring = Keyring::default();
    keyring.retired.push(Retired::new(key(7), T0.plus(-1_000), T0));
    keyring.pins.insert(address("bob@example.com"), Pin::new(key(8).public(), T0, true));
    let keywords = ["ENCRYPTMESSAGE", "SIGNMESSAGE"].map(str::to_owned);
    keyring.domains.insert(Domain::parse("example.com").expect("valid"), keywords.into());
    keyring.record_payload(&address("bob@example.com"), "<1@example.com>", [1; 32], T0);
    keyring.record_seen(&address("bob@example.com"), &[2; 32], T0);
    keyring
}

/// Signs and seals any text as the keyring of somebody's making.
fn sealed_text(text: &str, signer: &SecretKey) -> Vec<u8> {
    let plain = [text, &signer.sshsig(NAMESPACE, text.as_bytes())].concat();
    seal::seal_bytes(&[key(1).public()], plain.as_bytes()).expect("sealed")
}

fn open(sealed: &[u8]) -> Result<(Keyring, u64), KeyringError> {
    Keyring::open(&[key(1)], sealed, &alice(), &[key(1).public()], 0)
}

fn open_json(json: &Value) -> Result<Keyring, KeyringError> {
    let text = format!("{FIRST_LINE}address: alice@example.net\nserial: 1\n\n{json}\n");
    open(&sealed_text(&text, &key(1))).map(|(keyring, _)| keyring)
}

fn json_of(keyring: &Keyring) -> Value {
    serde_json::from_str(&json::write(keyring, &key(1))).expect("valid JSON")
}

#[test]
fn r28_form_is_that_of_the_profile() {
    let sealed = full().seal(&alice(), 42, &key(1), &[]).expect("sealed");
    let plain = seal::open_bytes(&[key(1)], &sealed).expect("opened");
    let plain = std::str::from_utf8(&plain).expect("UTF-8");
    let json = json!({
        "retired": [{
            "seed": base64::encode([7; 32]),
            "key": key(7).public().openssh(),
            "from": "2026-11-23T21:19:20Z",
            "until": "2026-11-23T21:36:00Z",
        }],
        "pins": {"bob@example.com": {
            "key": key(8).public().openssh(), "since": "2026-11-23T21:36:00Z", "signs": true,
        }},
        "domains": {"example.com": ["ENCRYPTMESSAGE", "SIGNMESSAGE"]},
        "replay": {"bob@example.com <1@example.com>": ["01".repeat(32), "2026-11-23T21:36:00Z"]},
        "seen": {format!("bob@example.com {}", "02".repeat(32)): "2026-11-23T21:36:00Z"},
    });
    let text = format!("sealpost keyring v1\naddress: alice@example.net\nserial: 42\n\n{json}\n");
    let signature = plain.strip_prefix(text.as_str()).expect("exactly this text before the signature");
    assert_eq!(sshsig::verify(&key(1).public(), "sealpost-keyring", text.as_bytes(), signature), Ok(()));
    let (again, serial) = open(&sealed).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((json_of(&again), serial), (json, 42));
}

#[test]
fn r28_any_device_reads_old_mail_with_the_present_key() {
    let (keyring, _) =
        open(&full().seal(&alice(), 1, &key(1), &[]).expect("sealed")).unwrap_or_else(|e| panic!("{e}"));
    let old = seal::seal_bytes(&[key(7).public()], b"old mail").expect("sealed");
    assert_eq!(
        seal::open_bytes(&[keyring.retired[0].key.clone()], &old).expect("opened").as_slice(),
        b"old mail"
    );
}

#[test]
fn another_signer_address_serial_or_reader_is_refused() {
    let sealed = full().seal(&alice(), 42, &key(1), &[key(2).public()]).expect("sealed");
    let open = |reader: u8, who: &str, signers: &[u8], least| {
        let signers: Vec<_> = signers.iter().map(|n| key(*n).public()).collect();
        Keyring::open(&[key(reader)], &sealed, &address(who), &signers, least).map(|_| ())
    };
    assert!(open(1, "alice@example.net", &[1], 42).is_ok());
    assert!(open(2, "alice@example.net", &[3, 1], 0).is_ok(), "also sealed to a recovery kit");
    assert!(matches!(open(1, "alice@example.net", &[2], 0), Err(KeyringError::Signer)));
    assert!(matches!(open(1, "alice@example.net", &[], 0), Err(KeyringError::Signer)));
    assert!(matches!(open(1, "bob@example.net", &[1], 0), Err(KeyringError::Address)));
    let older = open(1, "alice@example.net", &[1], 43);
    assert!(matches!(older, Err(KeyringError::Serial { found: 42, least: 43 })));
    assert!(matches!(open(9, "alice@example.net", &[1], 0), Err(KeyringError::Seal(SealError::NotForUs))));
    // A message signature or a statement's is none over a keyring.
    let text = full().to_text(&alice(), 1, &key(1));
    let plain = [text.as_str(), &key(1).sshsig("sealpost-key", text.as_bytes())].concat();
    let sealed = seal::seal_bytes(&[key(1).public()], plain.as_bytes()).expect("sealed");
    assert!(matches!(super::tests::open(&sealed), Err(KeyringError::Signer)));
}

#[test]
fn malformed_texts_are_refused() {
    let good = full().to_text(&alice(), 42, &key(1));
    assert!(open(&sealed_text(&good, &key(1))).is_ok());
    for (from, to) in [
        ("v1", "v2"),
        ("sealpost keyring v1\n", ""),
        ("address: alice", "address:alice"),
        ("serial: 42\n", ""),
        ("serial: 42", "serial: 042"),
        ("serial: 42", "serial: +42"),
        ("serial: 42", "serial: -1"),
        ("serial: 42", "serial: 18446744073709551616"),
        ("serial: 42", "serial: "),
        ("serial: 42\n", "serial: 42\nmore: 1\n"),
        ("serial: 42\n\n", "serial: 42\n"),
        ("serial: 42\n\n", "serial: 42\n\n\n"),
        ("}\n", "}"),
        ("}\n", "}\n\n"),
        ("}\n", "}\r\n{}\n"),
        ("{\"retired\"", "[\"retired\""),
    ] {
        assert!(good.contains(from), "{from}");
        let result = open(&sealed_text(&good.replacen(from, to, 1), &key(1)));
        assert!(result.is_err(), "{from:?} -> {to:?}");
    }
    // Without signature, with something behind it, cut short.
    let whole = [good.as_str(), &key(1).sshsig(NAMESPACE, good.as_bytes())].concat();
    for bad in [good.as_str(), &format!("{whole}x"), &whole[..whole.len() - 10], ""] {
        let sealed = seal::seal_bytes(&[key(1).public()], bad.as_bytes()).expect("sealed");
        assert!(open(&sealed).is_err());
    }
    let not_utf8 = seal::seal_bytes(&[key(1).public()], &[0xff; 40]).expect("sealed");
    assert!(matches!(open(&not_utf8), Err(KeyringError::Syntax)));
    assert!(matches!(open(&vec![0; MAX_SEALED_OCTETS + 1]), Err(KeyringError::TooLarge)));
}

#[test]
fn malformed_json_is_refused() {
    assert!(open_json(&json!({})).is_ok(), "all members may be absent");
    let (seed, k, t) = (base64::encode([7; 32]), key(7).public().openssh(), "2026-11-23T21:36:00Z");
    let retired = |edit: &dyn Fn(&mut Value)| {
        let mut entry = json!({"seed": seed, "key": k, "from": t, "until": t});
        edit(&mut entry);
        json!({"retired": [entry]})
    };
    assert!(open_json(&retired(&|_| {})).is_ok());
    for bad in [
        json!([]),
        json!({"retired": {}}),
        json!({"retired": [1]}),
        retired(&|e| e["seed"] = base64::encode([8; 32]).into()),
        retired(&|e| e["seed"] = base64::encode([7; 31]).into()),
        retired(&|e| e["seed"] = json!(7)),
        retired(&|e| e["key"] = "ssh-ed25519 AAAA".into()),
        retired(&|e| e["from"] = "yesterday".into()),
        retired(&|e| e["until"] = json!(1)),
        json!({"pins": []}),
        json!({"pins": {"bob": {"key": k, "since": t, "signs": true}}}),
        json!({"pins": {"bob@x": {"key": "ssh-ed25519 AAAA", "since": t, "signs": true}}}),
        json!({"pins": {"bob@x": {"key": k, "signs": true}}}),
        json!({"domains": {"example.com": "ENCRYPTMESSAGE"}}),
        json!({"domains": {"example.com": [1]}}),
        json!({"domains": {"exa mple": []}}),
        json!({"replay": {"a <b>": ["00", t]}}),
        json!({"replay": {"a <b>": ["0".repeat(64)]}}),
        json!({"replay": {"a <b>": ["g".repeat(64), t]}}),
        json!({"replay": {"a <b>": ["\u{e4}".repeat(32), t]}}),
        json!({"seen": {"a": 1}}),
    ] {
        assert!(matches!(open_json(&bad), Err(KeyringError::Syntax)), "{bad}");
    }
}

#[test]
fn unknown_members_are_kept_and_times_are_read_in_any_form() {
    let json = json!({
        "retired": [{"seed": base64::encode([7; 32]), "key": key(7).public().openssh(),
                     "from": "2026-11-23T22:36:00+01:00", "until": "2026-11-23T21:36:00.5Z", "why": ["x"]}],
        "pins": {"bob@x": {"key": key(8).public().openssh(), "since": "2026-11-23T21:36:00Z", "signs": false, "via": 1}},
        "domains": {}, "replay": {}, "seen": {}, "future": {"a": [1, 2.5, null]},
    });
    let mut expected = json.clone();
    for name in ["from", "until"] {
        expected["retired"][0][name] = "2026-11-23T21:36:00Z".into();
    }
    let keyring = open_json(&json).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(json_of(&keyring), expected);
}

/// Found by the fuzzer: unknown members changed places at each writing, so that a keyring nobody changed was another.
#[test]
fn unknown_members_keep_their_order() {
    let json =
        json!({"retired": [], "pins": {}, "domains": {}, "replay": {}, "seen": {}, "one": 1, "two": 2});
    let keyring = open_json(&json).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(json_of(&keyring).to_string(), json.to_string());
}

#[test]
fn r08_replay_memory_keeps_the_first_payload() {
    let (bob, mut keyring) = (address("bob@example.com"), Keyring::default());
    assert_eq!(keyring.first_payload(&bob, "<1@x>"), None);
    keyring.record_payload(&bob, "<1@x>", [1; 32], T0);
    keyring.record_payload(&bob, "<1@x>", [2; 32], T0.plus(-9));
    let first = FirstPayload { sha256: [1; 32], first_seen: T0 };
    assert_eq!(keyring.first_payload(&bob, "<1@x>"), Some(first));
    assert_eq!(keyring.first_payload(&bob, "<2@x>"), None);
    assert_eq!(keyring.first_payload(&address("eve@example.com"), "<1@x>"), None);
    keyring.record_payload(&bob, &"\u{e4}".repeat(2_000), [3; 32], T0);
    assert!(keyring.first_payload(&bob, &"\u{e4}".repeat(2_000)).is_some());
    assert_eq!(keyring.first_seen(&bob, &[1; 32]), None);
    keyring.record_seen(&bob, &[1; 32], T0);
    keyring.record_seen(&bob, &[1; 32], T0.plus(9));
    assert_eq!(keyring.first_seen(&bob, &[1; 32]), Some(T0));
}

#[test]
fn merging_takes_the_union_and_the_earliest_moments() {
    let bob = address("bob@example.com");
    let (mut ours, mut theirs) = (full(), Keyring::default());
    theirs.retired = vec![Retired::new(key(7), T0.plus(-2_000), T0.plus(5)), Retired::new(key(6), T0, T0)];
    theirs.pins.insert(bob.clone(), Pin::new(key(8).public(), T0.plus(-3), false));
    theirs.pins.insert(address("carol@example.com"), Pin::new(key(9).public(), T0, false));
    theirs.domains.insert(Domain::parse("example.com").expect("valid"), ["XSEALPOST".to_owned()].into());
    theirs.record_payload(&bob, "<1@example.com>", [9; 32], T0.plus(-1));
    theirs.record_payload(&bob, "<2@example.com>", [2; 32], T0);
    theirs.record_seen(&bob, &[2; 32], T0.plus(-7));
    theirs.other.insert("future".into(), json!(1));
    ours.other.insert("mine".into(), json!(2));
    ours.merge(theirs, |_, _, _| unreachable!("no pins differ"));

    assert_eq!(ours.retired.len(), 2);
    assert_eq!((ours.retired[0].from, ours.retired[0].until), (T0.plus(-2_000), T0));
    let pin = &ours.pins[&bob];
    assert_eq!((pin.since, pin.signs), (T0.plus(-3), true));
    assert_eq!(ours.pins.len(), 2);
    assert_eq!(ours.domains.values().map(BTreeSet::len).sum::<usize>(), 3);
    assert_eq!(ours.first_payload(&bob, "<1@example.com>").map(|p| p.sha256), Some([9; 32]), "earliest wins");
    assert!(ours.first_payload(&bob, "<2@example.com>").is_some());
    assert_eq!(ours.first_seen(&bob, &[2; 32]), Some(T0.plus(-7)));
    assert_eq!(ours.other.len(), 2);
}

#[test]
fn differing_pins_are_decided_by_the_caller() {
    let bob = address("bob@example.com");
    for (keep, expected) in [(Keep::Ours, 8), (Keep::Theirs, 9)] {
        let (mut ours, mut theirs) = (full(), Keyring::default());
        theirs.pins.insert(bob.clone(), Pin::new(key(9).public(), T0, false));
        ours.merge(theirs, |who, our, their| {
            assert_eq!((who, &our.key, &their.key), (&bob, &key(8).public(), &key(9).public()));
            keep
        });
        assert_eq!(ours.pins[&bob].key, key(expected).public());
        assert!(ours.pins[&bob].signs, "that a contact signs is never forgotten");
    }
}

#[test]
fn what_does_not_fit_loses_its_oldest_memory_first() {
    let (bob, mut keyring) = (address("bob@example.com"), full());
    for n in 0..12_000_u32 {
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&n.to_be_bytes());
        keyring.record_seen(&bob, &hash, T0.plus(n.into()));
    }
    let sealed = keyring.seal(&alice(), 1, &key(1), &[]).expect("made to fit");
    assert!(sealed.len() <= MAX_SEALED_OCTETS);
    let (kept, _) = open(&sealed).unwrap_or_else(|e| panic!("{e}"));
    let hash = |n: u32| {
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&n.to_be_bytes());
        hash
    };
    assert_eq!(kept.first_seen(&bob, &hash(11_999)), Some(T0.plus(11_999)));
    assert_eq!(kept.first_seen(&bob, &hash(0)), None);
    assert_eq!((kept.retired.len(), kept.pins.len()), (1, 1), "keys and pins never go");
    keyring.other.insert("large".into(), "x".repeat(MAX_SEALED_OCTETS).into());
    assert!(matches!(keyring.seal(&alice(), 1, &key(1), &[]), Err(KeyringError::TooLarge)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn round_trips(serial: u64, ids in prop::collection::vec("\\PC{1,30}", 0..5), moment in 0i64..200_000_000_000) {
        let (bob, mut keyring) = (address("bob@example.com"), full());
        for id in &ids {
            keyring.record_payload(&bob, id, [5; 32], Timestamp(moment));
        }
        let sealed = keyring.seal(&alice(), serial, &key(1), &[]).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let (again, found) = open(&sealed).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(found, serial);
        prop_assert_eq!(json_of(&again), json_of(&keyring));
    }

    #[test]
    fn parsing_never_panics(text in "\\PC{0,80}", json in "[\\[\\]{}\":,a-z0-9]{0,60}") {
        let _ = split(&text);
        let _ = split(&format!("{FIRST_LINE}address: a\nserial: 1\n\n{json}\n"));
        let _ = json::parse(&json);
    }
}

fn for_kit(n: u8) -> Keyring {
    Keyring { recovery: Some(Recovery { key: Some(key(n).public()), since: T0 }), ..full() }
}

#[test]
fn r28_a_recovery_kit_opens_everything_the_account_has() {
    let kit = key(30);
    let sealed = for_kit(30).seal(&alice(), 5, &key(1), &[]).expect("sealed");
    assert_eq!(seal::stanzas_of_bytes(&sealed).expect("two").len(), 2);
    let (found, serial) = Keyring::recover(&kit, &sealed, &alice(), 0).expect("opened");
    assert_eq!(serial, 5);
    assert_eq!(
        found.current.as_ref().map(SecretKey::public),
        Some(key(1).public()),
        "the key that sealed it"
    );
    assert_eq!(found.retired[0].key.public(), key(7).public());
    assert_eq!(found.pins, full().pins);
    // A device opens it as ever, and writes the kit on; whoever is current then is in it.
    let (mut known, _) = open(&sealed).expect("opened");
    assert_eq!(known.recovery, for_kit(30).recovery);
    known.retired.push(Retired::new(key(1), T0, T0));
    let next = known.seal(&alice(), 6, &key(2), &[]).expect("sealed");
    let (found, _) = Keyring::recover(&kit, &next, &alice(), 0).expect("opened");
    assert_eq!(found.current.as_ref().map(SecretKey::public), Some(key(2).public()));
    assert_eq!(json_of(&known)["current"]["key"], key(1).public().openssh());
}

#[test]
fn what_a_recovery_kit_does_not_take() {
    let kit = key(30);
    let sealed = for_kit(30).seal(&alice(), 5, &key(1), &[]).expect("sealed");
    let recover =
        |sealed: &[u8], kit: &SecretKey, least| Keyring::recover(kit, sealed, &alice(), least).map(|_| ());
    assert!(recover(&sealed, &kit, 5).is_ok());
    assert!(matches!(recover(&sealed, &kit, 6), Err(KeyringError::Serial { found: 5, least: 6 })));
    assert!(matches!(recover(&sealed, &key(31), 0), Err(KeyringError::Seal(SealError::NotForUs))));
    let others = for_kit(30).seal(&address("carol@example.net"), 5, &key(1), &[]).expect("sealed");
    assert!(matches!(recover(&others, &kit, 0), Err(KeyringError::Address)));
    // Sealed to it without its knowledge of the account, or signed by another than the key inside.
    let planted = full().seal(&alice(), 5, &key(9), &[kit.public()]).expect("sealed");
    assert!(matches!(recover(&planted, &kit, 0), Err(KeyringError::Signer)));
    let of_other = for_kit(31).seal(&alice(), 5, &key(9), &[kit.public()]).expect("sealed");
    assert!(matches!(recover(&of_other, &kit, 0), Err(KeyringError::Signer)));
    let json = json_of(&for_kit(30)).to_string();
    let text = format!("{FIRST_LINE}address: alice@example.net\nserial: 1\n\n{json}\n");
    let plain = [&*text, &key(9).sshsig(NAMESPACE, text.as_bytes())].concat();
    let forged = seal::seal_bytes(&[kit.public()], plain.as_bytes()).expect("sealed");
    assert!(matches!(recover(&forged, &kit, 0), Err(KeyringError::Signer)));
    // Revoked: nothing is sealed to it, and no current seed is written.
    let revoked = Keyring { recovery: Some(Recovery { key: None, since: T0 }), ..full() };
    let sealed = revoked.seal(&alice(), 5, &key(1), &[]).expect("sealed");
    assert_eq!(seal::stanzas_of_bytes(&sealed).expect("one").len(), 1);
    assert_eq!(json_of(&revoked).get("current"), None);
    assert_eq!(open(&sealed).expect("opened").0.recovery, revoked.recovery);
}

#[test]
fn of_two_recovery_kits_the_later_counts() {
    let mark = |key: Option<PublicKey>, days: i64| Some(Recovery { key, since: T0.plus(days * 86_400) });
    let (old, new, gone) = (mark(Some(key(30).public()), 1), mark(Some(key(31).public()), 2), mark(None, 3));
    for (ours, theirs, want) in [
        (None, None, None),
        (None, old.clone(), old.clone()),
        (old.clone(), None, old.clone()),
        (old.clone(), new.clone(), new.clone()),
        (new.clone(), old.clone(), new.clone()),
        (new.clone(), gone.clone(), gone.clone()),
        (gone.clone(), new, gone),
        (old.clone(), mark(Some(key(33).public()), 1), old),
    ] {
        let mut keyring = Keyring { recovery: ours, ..full() };
        keyring.merge(Keyring { recovery: theirs, current: Some(key(9)), ..full() }, |_, _, _| Keep::Ours);
        assert_eq!(keyring.recovery, want);
        assert!(keyring.current.is_none(), "the current key is whoever's writes");
    }
}

#[test]
fn damaged_marks_of_recovery_kits_are_refused() {
    let good = json_of(&for_kit(30));
    assert!(open_json(&good).is_ok());
    for (member, value) in [
        ("recovery", json!(null)),
        ("recovery", json!({ "key": 1, "since": T0.to_rfc3339() })),
        ("recovery", json!({ "key": "ssh-ed25519 x", "since": T0.to_rfc3339() })),
        ("recovery", json!({ "key": null })),
        ("current", json!({ "seed": base64::encode([1; 32]), "key": key(2).public().openssh() })),
        ("current", json!(null)),
    ] {
        let mut json = good.clone();
        json[member] = value;
        assert!(matches!(open_json(&json), Err(KeyringError::Syntax)), "{json}");
    }
}
