//! Trust at the terminal: contacts, and keys compared.

use crate::support::{Demo, run, stderr, stdout};

const BOB: &str = "bob@example.com";

#[test]
fn contacts_are_shown_and_compared() {
    let demo = Demo::start(&[]);
    let sent = demo.json(0, &["send", "--to", BOB, "--subject", "x", "/dev/null"]);
    assert_eq!(sent.0, 0, "{}", sent.1);
    let (_, alice) = demo.json(0, &["key", "show"]);
    let (_, bob) = demo.json(1, &["key", "show"]);
    let (status, shown) = demo.json(0, &["contact", "show", BOB]);
    assert_eq!(status, 0, "{shown}");
    assert_eq!((&shown["fingerprint"], &shown["words"]), (&bob["fingerprint"], &bob["words"]));
    assert_eq!(shown["learnt_by"], "look-up");
    assert_eq!(shown["looked_up"]["statements"][0]["fingerprint"], bob["fingerprint"]);
    assert_eq!(shown["looked_up"]["statements"][0]["created"], bob["created"]);
    assert_eq!(shown["looked_up"]["authenticated"], true);
    assert_eq!((&shown["warnings"], &shown["earlier"]), (&serde_json::json!([]), &serde_json::json!([])));
    let text = run(demo.client(0).args(["contact", "show", BOB, "--qr"]));
    let text = stdout(&text);
    let bobs = bob["fingerprint"].as_str().unwrap_or_default();
    for word in ["asked at", "Looked up", "Statement", "the first of its chain", bobs, "▀"] {
        assert!(text.contains(word), "{word} in {text}");
    }

    let words = bob["words"].as_str().unwrap_or_default();
    let scanned = format!("{BOB} {bobs}");
    let own = alice["words"].as_str().unwrap_or_default();
    let of_other = format!("carol@example.com {bobs}");
    for (option, heard, status, result) in [
        ("--words", words, 0, "same"),
        ("--words", own, 4, "other"),
        ("--words", "one two", 2, "twelve words"),
        ("--fingerprint", bobs, 0, "same"),
        ("--fingerprint", &scanned, 0, "same"),
        ("--fingerprint", alice["fingerprint"].as_str().unwrap_or_default(), 4, "other"),
        ("--fingerprint", "SHA256:abc", 2, "no fingerprint"),
        ("--fingerprint", &of_other, 2, "carol@example.com"),
    ] {
        let (exit, object) = demo.json(0, &["contact", "compare", BOB, option, heard]);
        assert_eq!(exit, status, "{option} {heard}: {object}");
        let said = if status == 2 { &object["error"] } else { &object["result"] };
        assert!(said.as_str().is_some_and(|said| said.contains(result)), "{option} {heard}: {object}");
    }
    // Without anything to hold against it, both sides and the way to do it.
    let output = run(demo.client(0).args(["contact", "compare", BOB]));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    for word in [own, words, "call a number that you know"] {
        assert!(text.contains(word), "{word} in {text}");
    }
    let (status, compared) = demo.json(0, &["contact", "compare", BOB]);
    assert_eq!((status, &compared["result"]), (0, &serde_json::Value::Null));
    assert_eq!(compared["contact"]["qr"], scanned);
    let (status, _) = demo.json(0, &["contact", "compare", "nobody@example.com"]);
    assert_eq!(status, 1);
}
