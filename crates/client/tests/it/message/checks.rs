//! The judge's own account of its verdict: each check once, in order, and exactly one that failed where content is held
//! back.

use super::*;
use sealpost_client::open::{
    CheckKind::{self, *},
    CheckResult::{self, *},
    Verdict,
};

fn of(opened: &Opened, kind: CheckKind) -> (CheckResult, &str) {
    let check = opened.checks.iter().find(|c| c.kind == kind).expect("each kind is there");
    (check.result, &check.why)
}

/// What every account has in common.
fn told(octets: &[u8], identities: &[SecretKey], facts: &Facts) -> Opened {
    let opened = message(octets).judge(identities, facts).unwrap();
    let kinds: Vec<_> = opened.checks.iter().map(|c| c.kind).collect();
    assert_eq!(kinds, CheckKind::ALL, "each once, in order");
    assert!(opened.checks.iter().all(|c| !c.why.is_empty()));
    let failed = opened.checks.iter().filter(|c| c.result == Failed).count();
    assert_eq!(
        failed,
        usize::from(opened.verdict.is_withheld()),
        "{:?}: {:?}",
        opened.verdict,
        opened.checks
    );
    opened
}

/// Octets, what is known, the verdict, the check that fails, and what it says.
type Row = (&'static str, Vec<u8>, Facts, Verdict, CheckKind, &'static str);

#[test]
fn each_verdict_comes_from_the_check_that_failed() {
    let good = sealed(draft());
    let unsigned = text(&good).replace("X-Sender-Signature", "X-Other").into_bytes();
    let changed = text(&good).replace("Message-ID: <", "Message-ID: <x").into_bytes();
    let from_mallory = sign(&outer("alice@example.net"), &armour(payload().as_bytes(), &bob()), &mallory());
    let not_bobs = sign(&outer("alice@example.net"), &armour(payload().as_bytes(), &mallory()), &alice());
    let rewrapped = payload().replace("HP-Outer: To: bob@", "HP-Outer: To: carol@");
    let other_inside = payload().replace("\r\nTo: bob", "\r\nTo: carol");
    let sender_inside = payload().replacen("From: alice@example.net", "From: carol@example.net", 1);
    let seen = || Facts { payloads_seen: vec![[9; 32]], ..facts() };
    let retired = || Facts {
        keys: vec![mallory().public()],
        retired: vec![(alice().public(), NOW.plus(-8 * 86_400))],
        ..facts()
    };
    let two_from = [b"From: bob@example.com\r\n".as_slice(), &good].concat();
    let junk = b"-----BEGIN AGE ENCRYPTED FILE-----\r\nQUJD\r\n-----END AGE ENCRYPTED FILE-----\r\n";
    let rows: [Row; 13] = [
        (
            "junk",
            sign(&outer("alice@example.net"), junk, &alice()),
            facts(),
            Verdict::CannotBeOpened,
            Recipients,
            "damaged",
        ),
        (
            "no header",
            [b"X: ".as_slice(), &b"y".repeat(300_000), b"\r\n", &good].concat(),
            facts(),
            Verdict::CannotBeOpened,
            Header,
            "longer",
        ),
        (
            "no armour",
            sign(&outer("alice@example.net"), b"hello\r\n", &alice()),
            facts(),
            Verdict::CannotBeOpened,
            Armour,
            "holds nothing sealed",
        ),
        ("not for Bob", not_bobs, facts(), Verdict::CannotBeOpened, Opens, "not sealed to any of your keys"),
        ("two From", two_from, facts(), Verdict::SignatureBad, Signature, "From"),
        ("unsigned", unsigned, facts(), Verdict::SealedButNotSigned, Signature, "anybody"),
        ("changed", changed, facts(), Verdict::SignatureBad, Fits, "neither"),
        (
            "Mallory's key",
            from_mallory,
            facts(),
            Verdict::NotTheSendersKey,
            Signer,
            "contact compare alice@example.net",
        ),
        ("retired", wrap(&payload()), retired(), Verdict::RetiredKey, Retirement, "retired on"),
        ("wrapped", wrap(&rewrapped), facts(), Verdict::WrappedByAnother, Outer, "outer header"),
        ("another inside", wrap(&sender_inside), facts(), Verdict::WrappedByAnother, Inside, "from another"),
        (
            "to Carol",
            wrap(&other_inside),
            facts(),
            Verdict::NotWrittenToYou,
            WrittenTo,
            "none of your addresses",
        ),
        ("replay", wrap(&payload()), seen(), Verdict::Replay, Replay, "another content"),
    ];
    for (what, octets, facts, verdict, kind, words) in rows {
        let opened = told(&octets, &[bob()], &facts);
        assert_eq!(opened.verdict, verdict, "{what}: {:?}", opened.notes);
        let (result, why) = of(&opened, kind);
        assert!(result == Failed && why.contains(words), "{what}: {words:?} in {result:?} {why:?}");
        // What comes behind was not looked at, and says why.
        let behind = opened.checks.iter().filter(|c| c.kind > kind && c.result == NotMade).count();
        assert!(behind > 0 || kind == Replay, "{what}");
    }
}

#[test]
fn what_is_good_passes_every_check() {
    let opened = told(&wrap(&payload()), &[bob()], &facts());
    for check in &opened.checks {
        let want = if check.kind == Courtesy { Noted } else { Passed };
        assert_eq!(check.result, want, "{check:?}");
    }
    assert!(of(&opened, Opens).1.contains(&bob().public().fingerprint()));
    assert!(of(&opened, Opens).1.contains("present key"));
    assert_eq!(of(&opened, Recipients).1, "1 key(s): 1 ssh-ed25519, one of them yours");
    // Bob's key of old opens it too, and is named.
    let opened = told(&wrap(&payload()), &[mallory(), bob()], &facts());
    assert!(of(&opened, Opens).1.contains("a retired key of yours, SHA256:"), "{:?}", opened.checks);
    // A retired key in its grace.
    let grace = Facts {
        keys: vec![mallory().public()],
        retired: vec![(alice().public(), NOW.plus(-86_400))],
        ..facts()
    };
    let opened = told(&wrap(&payload()), &[bob()], &grace);
    assert_eq!((opened.verdict, of(&opened, Retirement).0), (Verdict::Good, Noted));
    // Signed, not sealed: what only sealed mail has is not looked for.
    let opened = told(&plain(draft()), &[bob()], &facts());
    for kind in [Armour, Recipients, Opens, Outer, Inside, WrittenTo] {
        assert_eq!(of(&opened, kind), (NotMade, "it is not sealed"));
    }
    assert_eq!(of(&opened, Fits), (Passed, "on the exact octets"));
    let altered = [plain(draft()), b"\r\n".to_vec()].concat();
    let opened = told(&altered, &[bob()], &facts());
    assert_eq!((opened.verdict, of(&opened, Fits).0), (Verdict::GoodAltered, Noted));
    // Neither.
    let opened = told(b"From: a@x.org\r\n\r\nhello\r\n", &[bob()], &facts());
    assert_eq!((opened.verdict, of(&opened, Signature).0), (Verdict::Plain, Noted));
    // With no key at all there is nothing that opens it.
    let opened = told(&wrap(&payload()), &[], &Facts { now: NOW, ..Facts::default() });
    assert_eq!(of(&opened, Opens), (Failed, "there is no key here to open it with"));
    assert_eq!(of(&opened, Recipients).0, Noted);
}
