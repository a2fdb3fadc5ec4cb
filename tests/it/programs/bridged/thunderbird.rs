//! Thunderbird through the bridge, in a virtual display: `tests/interop/thunderbird_bridge.py`.

use super::{
    super::{World, message},
    Bridged, ComesOut,
};
use crate::bridge::{literal, wait_for, without_verdict};
use std::fs;

#[test]
fn thunderbird_reads_tags_keeps_and_writes_through_the_bridge() {
    let world = Bridged::new();
    let mixed = world.fill();
    let login = world.login();
    let mut python = world.home.script("thunderbird_bridge.py", &login, &[login.imap, login.submission]);
    python.arg(world.home.at("profile")).args([
        &mixed.len().to_string(),
        "bob@example.com",
        "carol@example.net",
    ]);
    let said = World::succeed(&mut python);
    let seen: serde_json::Value = serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"));
    let text = seen["text"].as_str().expect("the text of a message");
    let words = message(3);
    let (_, words) = words.split_once("\r\n\r\n").expect("a body");
    assert!(words.split_whitespace().all(|word| text.contains(word)), "{text:?}");

    // Its list: what is inside, and the verdicts as tags.
    let rows = seen["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), mixed.len());
    for (number, mail) in &mixed {
        let id = format!("{number}@programs.example");
        let row = rows.iter().find(|row| row["id"] == *id).unwrap_or_else(|| panic!("{id}: {said}"));
        let subject = match mail.comes_out {
            ComesOut::Nothing => format!("[Withheld: {}]", mail.verdict),
            _ => format!("message {number}"),
        };
        assert_eq!(row["subject"], *subject);
        let author = if mail.verdict.is_empty() { "Bob <eve@example.org>" } else { "Bob <bob@example.com>" };
        assert_eq!(row["author"], author);
        let tags: Vec<&str> =
            row["tags"].as_array().into_iter().flatten().filter_map(|t| t.as_str()).collect();
        let has = |tag: &str| tags.contains(&tag);
        assert_eq!(has("$signed"), mail.verdict.starts_with("good"), "{id}: {tags:?}");
        assert_eq!(has("$withheld"), mail.comes_out == ComesOut::Nothing, "{id}: {tags:?}");
        assert_eq!(has("$signaturemissing"), *number == 40, "{id}: {tags:?}");
    }
    // What it keeps for offline use: an mbox, in which lines that begin with From are quoted.
    let store = fs::read_to_string(seen["store"].as_str().expect("a path")).expect("UTF-8");
    let store = store.replace("\r\n", "\n").replace("\n>From ", "\nFrom ").replace('\n', "\r\n");
    for mail in mixed.values().filter(|mail| mail.comes_out == ComesOut::Whole) {
        assert!(store.contains(&mail.octets), "{} is not in {store}", mail.octets);
    }

    // What it wrote: sealed on the way, in Sent and in Drafts; readable to both.
    let mut bob = world.bob.imap();
    wait_for(&mut bob, 2);
    let sent = literal(&bob.imap("FETCH 2 (BODY.PEEK[])"), "BODY[]");
    // format=flowed: a space before From (RFC 3676 §4.4).
    let end = "Dear Bob,\r\n\r\nthe answer is größer, topic99.\r\n.\r\n From here on\r\n";
    assert!(sent.contains(end), "{sent}");
    let (mut server, mut far) = (world.straight(), world.far());
    for (folder, subject) in [("Sent", "R3LDtsOfZSA3"), ("Drafts", "half a thought")] {
        let kept = server.messages(folder, "(BODY.PEEK[])");
        assert_eq!(kept.len(), 1, "{folder}");
        let kept = String::from_utf8_lossy(&kept[0]).into_owned();
        assert!(
            kept.contains("BEGIN AGE") && !kept.contains("topic99") && !kept.contains("thought"),
            "{kept}"
        );
        far.imap(&format!("SELECT {folder}"));
        let own = literal(&far.imap("FETCH 1 (BODY.PEEK[])"), "BODY[]");
        assert!(without_verdict(&own).contains("topic99"), "{own}");
        assert!(far.imap("FETCH 1 (ENVELOPE)").contains(subject));
    }
    let refusal = seen["refusal"].as_str().expect("words");
    assert!(refusal.contains("carol@example.net") && refusal.contains("has no key"), "{refusal}");
    assert!(server.imap("STATUS Sent (MESSAGES)").contains("(MESSAGES 1)"));
}
