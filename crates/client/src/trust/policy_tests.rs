//! Every row of the table of profile §7.

use super::*;
use sealpost_crypto::key::SecretKey;
use sealpost_proto::statement::{LIFE_SECONDS, SignedStatement, Statement};

const NOW: Timestamp = Timestamp(1_795_469_760);
const DAY: i64 = 86_400;
const ALL: [Keyword; 4] =
    [Keyword::EncryptMessage, Keyword::SignMessage, Keyword::HashedPass, Keyword::Sealpost];

fn bob() -> Address {
    Address::parse("bob@example.com").expect("an address")
}

fn secret(n: u8) -> SecretKey {
    SecretKey::from_seed([n; 32])
}

fn key(n: u8) -> PublicKey {
    secret(n).public()
}

/// A statement about key `n` after key `previous` (0: none), made `days` from now.
fn statement(n: u8, previous: u8, days: i64) -> SignedStatement {
    let created = NOW.plus(days * DAY);
    let previous = (previous != 0).then(|| secret(previous));
    let statement = Statement {
        addresses: vec![bob()],
        key: key(n),
        created,
        expires: created.plus(LIFE_SECONDS),
        previous: previous.as_ref().map(SecretKey::public),
    };
    secret(n).sign_statement(&statement, previous.as_ref()).expect("right signers")
}

fn chain(newest_first: Vec<SignedStatement>) -> Chain {
    Chain::check(newest_first, &bob(), NOW).expect("a good chain")
}

fn direct(keywords: &[Keyword]) -> Source {
    Source::Direct {
        server: "mail.example.com".to_owned(),
        unbound: None,
        keywords: keywords.iter().copied().collect(),
    }
}

fn unbound(keywords: &[Keyword]) -> Source {
    Source::Direct {
        server: "mx.elsewhere.example".to_owned(),
        unbound: Some("the name is not under the domain".to_owned()),
        keywords: keywords.iter().copied().collect(),
    }
}

fn home() -> Source {
    Source::Home { server: "mail.example.net".to_owned() }
}

fn new_contact() -> Remembered {
    Remembered::default()
}

fn known_domain() -> Remembered {
    Remembered { keywords: ALL.into_iter().collect(), ..Remembered::default() }
}

fn contact(pin: u8) -> Remembered {
    Remembered { pin: Some(key(pin)), ..known_domain() }
}

fn published(n: u8) -> Answer {
    Answer::Key(key(n), chain(vec![statement(n, 0, -10)]))
}

/// What must come out.
#[derive(Debug, Clone, Copy)]
enum Want {
    /// Sealed to this key, and the pin becomes …
    Seal(u8, Pinned),
    Plain,
    /// Refused; the words hold all of these.
    Refuse(&'static [&'static str]),
    Later,
}

#[derive(Debug, Clone, Copy)]
enum Pinned {
    Keep,
    New,
    FirstUse,
    Chain,
}

fn check(row: &str, remembered: &Remembered, source: &Source, answer: &Answer, policy: Policy, want: Want) {
    let decision = decide(&bob(), remembered, source, answer, policy, NOW);
    let fits = match (&decision, want) {
        (Decision::Seal { key: to, pin, why }, Want::Seal(n, pinned)) => {
            let pin = match (pin, pinned) {
                (PinChange::Keep, Pinned::Keep)
                | (PinChange::Chain, Pinned::Chain)
                | (PinChange::New(Learnt::Server(_)), Pinned::New) => true,
                (PinChange::New(Learnt::FirstUse(_) | Learnt::Home(_)), Pinned::FirstUse) => {
                    why.contains("trusted on first use")
                }
                _ => false,
            };
            *to == key(n) && pin && !why.is_empty()
        }
        (Decision::Plain { why }, Want::Plain) => !why.is_empty(),
        (Decision::Refuse { why }, Want::Refuse(words)) => words.iter().all(|word| why.contains(word)),
        (Decision::Later { why }, Want::Later) => {
            why.contains("try again later") || why.contains("Try again later")
        }
        _ => false,
    };
    assert!(fits, "{row}: {decision:?} where {want:?} is wanted");
}

const NONE: Policy = Policy { allow_plain: false, sealed_only: false, trust_first_use: false };
const EVERY_OPTION: Policy = Policy { allow_plain: true, sealed_only: false, trust_first_use: true };

/// With and without every option: what does not depend on them must not.
fn check_whatever(row: &str, remembered: &Remembered, source: &Source, answer: &Answer, want: Want) {
    for policy in [NONE, EVERY_OPTION] {
        check(row, remembered, source, answer, policy, want);
    }
}

#[test]
fn r23_row_new_contact_with_a_key_is_pinned_and_sealed() {
    check_whatever("key", &new_contact(), &direct(&ALL), &published(1), Want::Seal(1, Pinned::New));
    // A key without any statement, as the draft has it.
    let bare = Answer::Key(key(1), Chain::default());
    check_whatever("bare key", &new_contact(), &direct(&ALL), &bare, Want::Seal(1, Pinned::New));
    // A missing SIGNMESSAGE that was never there is said and does not stop sealing.
    let source = direct(&[Keyword::EncryptMessage]);
    check_whatever("no SIGNMESSAGE", &new_contact(), &source, &published(1), Want::Seal(1, Pinned::New));
    let Decision::Seal { why, .. } = decide(&bob(), &new_contact(), &source, &published(1), NONE, NOW) else {
        panic!("sealed above");
    };
    assert!(why.contains("SIGNMESSAGE"), "{why}");
}

#[test]
fn r24_row_new_contact_without_a_key_may_get_plain_mail() {
    check_whatever("550", &new_contact(), &direct(&ALL), &Answer::NoKey, Want::Plain);
    check_whatever("no ENCRYPTMESSAGE", &new_contact(), &direct(&[]), &published(1), Want::Plain);
    check_whatever(
        "knows no PUBKEY",
        &new_contact(),
        &direct(&[]),
        &Answer::Failed("502".into()),
        Want::Plain,
    );
}

#[test]
fn r03_row_a_negative_from_a_server_that_could_be_anybodys_is_not_definite() {
    for source in [unbound(&ALL), unbound(&[]), home()] {
        check("550", &new_contact(), &source, &Answer::NoKey, NONE, Want::Later);
        let allow_plain = Policy { allow_plain: true, ..NONE };
        check("550 --allow-plain", &new_contact(), &source, &Answer::NoKey, allow_plain, Want::Later);
    }
    check("no keywords", &new_contact(), &unbound(&[]), &published(1), NONE, Want::Later);
    check("both options", &new_contact(), &unbound(&ALL), &Answer::NoKey, EVERY_OPTION, Want::Plain);
}

#[test]
fn r24_row_known_domain_new_contact_550_is_as_for_a_new_domain() {
    check_whatever("550", &known_domain(), &direct(&ALL), &Answer::NoKey, Want::Plain);
    check_whatever("key", &known_domain(), &direct(&ALL), &published(1), Want::Seal(1, Pinned::New));
}

#[test]
fn r03_row_known_domain_new_contact_extension_gone_is_refused_and_named() {
    for (gone, name) in [
        (Keyword::EncryptMessage, "ENCRYPTMESSAGE"),
        (Keyword::SignMessage, "SIGNMESSAGE"),
        (Keyword::HashedPass, "HASHEDPASS"),
    ] {
        let left: Vec<Keyword> = ALL.into_iter().filter(|k| *k != gone).collect();
        let want = match name {
            "ENCRYPTMESSAGE" => Want::Refuse(&["ENCRYPTMESSAGE", "contact forget bob@example.com"]),
            "SIGNMESSAGE" => Want::Refuse(&["SIGNMESSAGE", "contact forget bob@example.com"]),
            _ => Want::Refuse(&["HASHEDPASS", "contact forget bob@example.com"]),
        };
        for answer in [published(1), Answer::NoKey] {
            check_whatever(name, &known_domain(), &direct(&left), &answer, want);
            check_whatever(name, &known_domain(), &unbound(&left), &answer, want);
        }
    }
    // Memory is per keyword: what was never there is not gone.
    let remembered =
        Remembered { keywords: [Keyword::EncryptMessage].into_iter().collect(), ..new_contact() };
    let source = direct(&[Keyword::EncryptMessage]);
    check_whatever("never there", &remembered, &source, &published(1), Want::Seal(1, Pinned::New));
}

#[test]
fn r04_row_same_key_is_sealed_whoever_tells_it() {
    for source in [direct(&ALL), unbound(&ALL), home()] {
        check_whatever("same key", &contact(1), &source, &published(1), Want::Seal(1, Pinned::Keep));
    }
}

#[test]
fn r05_row_another_key_with_a_chain_from_the_pinned_one_is_pinned() {
    let answer =
        Answer::Key(key(3), chain(vec![statement(3, 2, -1), statement(2, 1, -5), statement(1, 0, -9)]));
    for source in [direct(&ALL), unbound(&ALL), home()] {
        check_whatever("chain", &contact(1), &source, &answer, Want::Seal(3, Pinned::Chain));
        check_whatever("part of it", &contact(2), &source, &answer, Want::Seal(3, Pinned::Chain));
    }
}

#[test]
fn r04_row_another_key_without_a_chain_is_refused() {
    let want = Want::Refuse(&["contact accept bob@example.com", "fingerprint"]);
    let restarted = chain(vec![statement(2, 0, -1), statement(1, 0, -9)]);
    let unrelated = chain(vec![statement(2, 3, -1), statement(3, 0, -9)]);
    let old_chain = chain(vec![statement(1, 0, -9)]);
    for (row, answer) in [
        ("no chain", Answer::Key(key(2), Chain::default())),
        ("self-signed", published(2)),
        ("previous: none", Answer::Key(key(2), restarted)),
        ("chain of others", Answer::Key(key(2), unrelated)),
        ("set without a statement", Answer::Key(key(2), old_chain)),
        ("back to an older key", Answer::Key(key(1), chain(vec![statement(2, 1, -1), statement(1, 0, -9)]))),
    ] {
        let pin = if row == "back to an older key" { 2 } else { 1 };
        for source in [direct(&ALL), unbound(&ALL), home()] {
            check_whatever(row, &contact(pin), &source, &answer, want);
        }
    }
}

#[test]
fn r05_row_an_expired_key_is_refused_until_accepted() {
    let ended = chain(vec![statement(1, 0, -731)]);
    let answer = Answer::Key(key(1), ended.clone());
    let want = Want::Refuse(&["expired", "contact accept bob@example.com"]);
    check_whatever("contact", &contact(1), &direct(&ALL), &answer, want);
    check_whatever("new contact", &new_contact(), &direct(&ALL), &answer, want);
    let moved = Answer::Key(key(2), chain(vec![statement(2, 1, -731), statement(1, 0, -800)]));
    check_whatever("by chain", &contact(1), &direct(&ALL), &moved, want);
    // Accepted as it is; another end is another question.
    let expires = ended.newest().map(|s| s.expires);
    let accepted = Remembered { accepted_expiry: expires, ..contact(1) };
    check_whatever("accepted", &accepted, &direct(&ALL), &answer, Want::Seal(1, Pinned::Keep));
    let other = Remembered { accepted_expiry: Some(NOW), ..contact(1) };
    check_whatever("another end", &other, &direct(&ALL), &answer, want);
    // Expiry counts for the newest statement only, and only if it is about the key.
    let renewed = Answer::Key(key(1), chain(vec![statement(1, 0, -1), statement(1, 0, -731)]));
    check_whatever("renewed", &contact(1), &direct(&ALL), &renewed, Want::Seal(1, Pinned::Keep));
}

#[test]
fn r03_row_a_contacts_key_that_vanishes_is_refused_and_named() {
    let overrule = &["contact forget bob@example.com"];
    for source in [direct(&ALL), unbound(&ALL), home()] {
        check_whatever("550", &contact(1), &source, &Answer::NoKey, Want::Refuse(overrule));
    }
    for source in [direct(&[]), unbound(&[])] {
        for answer in [published(1), Answer::NoKey, Answer::Failed("502".into())] {
            let want = Want::Refuse(&["ENCRYPTMESSAGE", "contact forget bob@example.com"]);
            check_whatever("extension gone", &contact(1), &source, &answer, want);
        }
    }
    // Where sealing still works, accepting is another way out.
    let left = direct(&[Keyword::EncryptMessage, Keyword::HashedPass]);
    let want =
        Want::Refuse(&["SIGNMESSAGE", "contact accept bob@example.com", "contact forget bob@example.com"]);
    check_whatever("SIGNMESSAGE gone", &contact(1), &left, &published(1), want);
    // Without any memory of the domain a pin says that encryption was offered.
    let pin_only = Remembered { pin: Some(key(1)), ..new_contact() };
    check_whatever("pin only", &pin_only, &direct(&[]), &published(1), Want::Refuse(&["ENCRYPTMESSAGE"]));
}

#[test]
fn r03_row_a_failed_look_up_is_never_plain() {
    let failed = Answer::Failed("450 4.7.1 later".to_owned());
    for remembered in [new_contact(), known_domain(), contact(1)] {
        for source in [direct(&ALL), unbound(&ALL), home()] {
            check_whatever("failed", &remembered, &source, &failed, Want::Later);
        }
    }
}

#[test]
fn r04_an_unauthenticated_key_needs_trust_first_use() {
    for source in [unbound(&ALL), home()] {
        let want = Want::Refuse(&["--trust-first-use", "contact accept bob@example.com"]);
        check("refused", &new_contact(), &source, &published(1), NONE, want);
        let allow_plain = Policy { allow_plain: true, ..NONE };
        check("--allow-plain does not help", &new_contact(), &source, &published(1), allow_plain, want);
        let trust = Policy { trust_first_use: true, ..NONE };
        let want = Want::Seal(1, Pinned::FirstUse);
        check("taken", &new_contact(), &source, &published(1), trust, want);
    }
}

/// No option and no answer gets plain mail to a contact with a pin, and none sends without a look-up.
#[test]
fn r03_no_combination_downgrades_a_contact() {
    let answers = [published(1), published(2), Answer::NoKey, Answer::Failed("x".into())];
    for source in [direct(&ALL), direct(&[]), unbound(&ALL), unbound(&[]), home()] {
        for answer in &answers {
            for options in 0..8_u8 {
                let policy = Policy {
                    allow_plain: options & 1 != 0,
                    sealed_only: options & 2 != 0,
                    trust_first_use: options & 4 != 0,
                };
                let decision = decide(&bob(), &contact(1), &source, answer, policy, NOW);
                assert!(!matches!(decision, Decision::Plain { .. }), "{source:?} {answer:?} {policy:?}");
                if let Decision::Seal { key: to, .. } = decision {
                    assert_eq!(to, key(1), "{source:?} {answer:?} {policy:?}");
                }
            }
        }
    }
}

/// Each warning of a change says what changed, when, and what to do.
#[test]
fn warnings_name_what_changed_when_and_what_to_do() {
    let (since, offered) = (NOW.plus(-90 * DAY), NOW.plus(-3 * DAY));
    let remembered = |base: Remembered| Remembered { since: base.pin.as_ref().map(|_| since), ..base };
    let offering = |base: Remembered| Remembered { offered: Some(offered), ..remembered(base) };
    let accept = "`sealpost contact accept bob@example.com`";
    let forget = "`sealpost contact forget bob@example.com`";
    let compare = "`sealpost contact compare bob@example.com`";
    let made = NOW.plus(-10 * DAY).to_rfc3339();
    let ended = NOW.plus(-731 * DAY + LIFE_SECONDS).to_rfc3339();
    let (known, new) = (key(1).fingerprint(), key(2).fingerprint());
    let (since, offered) = (since.to_rfc3339(), offered.to_rfc3339());
    let expired = Answer::Key(key(1), chain(vec![statement(1, 0, -731)]));
    let no_signing = direct(&[Keyword::EncryptMessage, Keyword::HashedPass]);
    for (row, remembered, source, answer, words) in [
        (
            "another key",
            remembered(contact(1)),
            direct(&ALL),
            published(2),
            vec![&*known, &*new, &*since, &*made, compare, accept],
        ),
        (
            "another key without a statement",
            remembered(contact(1)),
            direct(&ALL),
            Answer::Key(key(2), Chain::default()),
            vec![&*known, &*new, &*since, "does not say when", compare, accept],
        ),
        ("no key", remembered(contact(1)), direct(&ALL), Answer::NoKey, vec![&*known, &*since, forget]),
        (
            "expired",
            remembered(contact(1)),
            direct(&ALL),
            expired.clone(),
            vec![&*ended, "renews it", accept],
        ),
        ("expired stranger", new_contact(), direct(&ALL), expired, vec![&*ended, "renews it", accept]),
        (
            "encryption gone",
            offering(contact(1)),
            direct(&[]),
            published(1),
            vec!["ENCRYPTMESSAGE", &*offered, "another way", forget],
        ),
        (
            "encryption gone, by the pin alone",
            remembered(Remembered { keywords: BTreeSet::new(), ..contact(1) }),
            direct(&[]),
            published(1),
            vec!["ENCRYPTMESSAGE", &*since, forget],
        ),
        (
            "signing gone",
            offering(contact(1)),
            no_signing.clone(),
            published(1),
            vec!["SIGNMESSAGE", &*offered, accept, forget],
        ),
        (
            "signing gone at a known domain",
            offering(known_domain()),
            no_signing,
            published(1),
            vec!["SIGNMESSAGE", &*offered, forget],
        ),
    ] {
        let decision = decide(&bob(), &remembered, &source, &answer, NONE, NOW);
        let Decision::Refuse { why } = decision else { panic!("{row}: {decision:?}") };
        for word in words {
            assert!(why.contains(word), "{row}: {word:?} in {why:?}");
        }
    }
    // What is well and worth a word says when, too.
    let moved = Answer::Key(key(2), chain(vec![statement(2, 1, -10), statement(1, 0, -20)]));
    let decision = decide(&bob(), &contact(1), &direct(&ALL), &moved, NONE, NOW);
    assert!(
        matches!(&decision, Decision::Seal { why, .. } if why.contains(&new) && why.contains(&made)),
        "{decision:?}"
    );
}
