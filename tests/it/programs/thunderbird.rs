//! Thunderbird, in a virtual display: `tests/interop/thunderbird.py`.

use super::{World, append, flags, message};
use std::collections::BTreeMap;

#[test]
fn thunderbird_lists_the_inbox_reads_a_message_and_deletes_another() {
    let world = World::new();
    let mut alice = world.alice();
    append(&mut alice, "INBOX", "", 1..6);
    let login = world.login();
    let mut python = world.home.script("thunderbird.py", &login, &[login.imap]);
    python.arg(world.home("profile")).args((1..6).map(|number| format!("message {number}")));
    let said = World::succeed(&mut python);
    let seen: serde_json::Value = serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"));
    let (_, body) =
        message(1).split_once("\r\n\r\n").map(|(a, b)| (a.to_owned(), b.to_owned())).expect("a body");
    let text = seen["text"].as_str().expect("the text of a message");
    assert!(body.split_whitespace().all(|word| text.contains(word)), "{text:?} is not {body:?}");
    // By its flags it knows what the server's folders are for, whatever it calls them.
    let folders = seen["folders"].as_array().expect("folders");
    let special =
        [("Drafts", 0x400), ("Sent", 0x200), ("Archive", 0x4000), ("Junk", 0x4000_0000), ("Trash", 0x100)];
    for (name, flag) in special {
        let there = |folder: &&serde_json::Value| {
            folder[0].as_str().is_some_and(|url| url.ends_with(&format!("/{name}")))
        };
        let folder = folders.iter().find(there).unwrap_or_else(|| panic!("no {name} in {folders:?}"));
        assert!(folder[1].as_u64().is_some_and(|flags| flags & flag != 0), "{folder}");
    }
    // What the server has of it, as another session sees it.
    let mut inbox = flags(&mut alice, "INBOX");
    // It goes on to the message beside the one deleted, and may have read it.
    assert!(inbox.remove(&4).is_some_and(|flags| flags.is_empty() || flags == "\\Seen"));
    let expected = [(1, "\\Seen"), (2, ""), (3, "")].map(|(number, flags)| (number, flags.to_owned()));
    assert_eq!(inbox, BTreeMap::from(expected));
    assert_eq!(flags(&mut alice, "Trash").into_keys().collect::<Vec<_>>(), [5]);
}
