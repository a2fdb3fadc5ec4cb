//! `list --threads` and `search`: over opened mail, alone and beside a running bridge.

use super::{ALICE, import};
use crate::{
    bridge::Bridge,
    support::{Demo, run, run_with, stderr, stdout},
};
use serde_json::Value;
use std::path::Path;

/// Sends from Bob to Alice; the Message-ID.
fn send(demo: &Demo, subject: &str, text: &str) -> String {
    let args = ["--json", "send", "--to", ALICE, "--subject", subject, "-"];
    let output = run_with(demo.client(1).args(args), text.as_bytes(), 0);
    let sent: Value = serde_json::from_slice(&output.stdout).expect("an object");
    sent["message_id"].as_str().expect("an id").to_owned()
}

fn subjects(found: &Value) -> Vec<&str> {
    found["messages"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|m| m["subject"].as_str().expect("text"))
        .collect()
}

#[test]
fn sealed_mail_is_found_by_what_is_in_it() {
    let demo = Demo::start(&["--no-limits"]);
    let folder = demo.user(0, "client_dir");
    // Nothing there yet.
    let (status, found) = demo.json(0, &["search", "oak"]);
    assert_eq!((status, subjects(&found).len()), (0, 0), "{found}");
    let output = run(demo.client(0).args(["search", "oak"]));
    assert_eq!(
        (output.status.code(), stdout(&output).as_str()),
        (Some(0), "nothing in any mailbox matches\n")
    );
    let last = [("Picnic", "under the big Oak, Grüße"), ("Grüße", "nothing new"), ("Third", "an oak again")]
        .map(|(subject, text)| send(&demo, subject, text))[2]
        .clone();
    demo.read_when_there(0, &last);
    import(&demo, 0, &[b"From: shop@example.org\r\nSubject: Oak table\r\nDate: Mon, 23 Nov 2020 21:36:00 +0000\r\n\r\ncheap\r\n"]);
    let look = |query: &[&str]| {
        let mut args = vec!["search", "--mailbox", "INBOX"];
        args.extend(query);
        let (status, found) = demo.json(0, &args);
        assert_eq!((status, &found["total"]), (0, &subjects(&found).len().into()), "{query:?}: {found}");
        subjects(&found).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let check = || {
        assert_eq!(look(&["oak"]), ["Picnic", "Third", "Oak table"]);
        assert_eq!(look(&["oak", "NOT", "again"]), ["Picnic", "Oak table"]);
        assert_eq!(look(&["subject:oak"]), ["Oak table"]);
        assert_eq!(look(&["grüße"]), ["Picnic", "Grüße"]);
        assert_eq!(look(&["\"big oak\" from:bob to:alice"]), ["Picnic"]);
        assert_eq!(look(&["new OR cheap"]), ["Grüße", "Oak table"]);
        assert_eq!(look(&["is:sealed", "oak"]), ["Picnic", "Third"]);
        assert_eq!(look(&["before:2021-01-01"]), ["Oak table"]);
        assert_eq!(look(&["is:read"]), ["Third"]);
        assert_eq!(look(&["[...]"]), Vec::<String>::new(), "what stands outside is not the subject");
    };
    check();
    let (_, found) = demo.json(0, &["search", "--mailbox", "INBOX", "subject:picnic"]);
    assert_eq!(
        (&found["messages"][0]["verdict"], &found["messages"][0]["from"]),
        (&"sender not yet confirmed".into(), &"bob@example.com".into())
    );
    // A second time, beside a bridge that uses the same index.
    let bridge = Bridge::start(&demo, 0, &[]);
    check();
    let mut imap = bridge.imap();
    assert!(imap.imap("SELECT INBOX").contains("* 4 EXISTS"));
    assert!(imap.imap("SEARCH TEXT oak").contains("* SEARCH 1 3 4"));
    drop(imap);
    drop(bridge);
    // For people, and in another mailbox.
    let output = run(demo.client(0).args(["search", "--mailbox", "INBOX", "oak"]));
    assert_eq!((output.status.code(), stdout(&output).lines().count()), (Some(0), 3), "{}", stderr(&output));
    let output = run(demo.client(1).args(["search", "--mailbox", "Sent", "oak", "again"]));
    assert!(stdout(&output).contains("Third"), "{}{}", stdout(&output), stderr(&output));
    let output = run(demo.client(0).args(["search", "--mailbox", "INBOX", "nowhere"]));
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), "nothing in INBOX matches\n"));
    for (args, status, said) in [
        (vec!["search", "since:yesterday"], 2, "2026-01-31"),
        (vec!["search", "oak", "--mailbox", "Nowhere"], 1, "refused"),
    ] {
        let output = run(demo.client(0).args(&args));
        assert_eq!((output.status.code(), stdout(&output)), (Some(status), String::new()), "{args:?}");
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
    }
    // Nothing that was opened lies open on the disk.
    for file in crate::tree::files(Path::new(&folder).join("bridge").to_str().expect("UTF-8"), "sqlite") {
        let octets = std::fs::read(file).expect("readable");
        assert!(memchr(&octets, b"under the big") && memchr(&octets, b"UNDER THE BIG"));
    }
}

/// A person who looks for something does not know where it lies: all mailboxes are searched, also beside a bridge.
#[test]
fn all_mailboxes_are_searched_unless_one_is_named() {
    let demo = Demo::start(&["--no-limits"]);
    // What came lies in INBOX, what Alice sent in Sent, and what she filed years ago in a mailbox of her own.
    let first = send(&demo, "Picnic", "under the big oak");
    demo.read_when_there(0, &first);
    let (status, sent) = demo.json(0, &["send", "--reply", "last", "/dev/null"]);
    assert_eq!(status, 0, "{sent}");
    let bridge = Bridge::start(&demo, 0, &[]);
    let mut imap = bridge.imap();
    assert!(imap.imap("CREATE \"Trees of M&APw-nchen\"").contains("a OK "));
    let filed = "From: alice@example.net\r\nSubject: Picnic of old\r\n\r\nunder a small one\r\n";
    imap.send(format!(
        "a APPEND \"Trees of M&APw-nchen\" \"23-Nov-2020 21:36:00 +0000\" {{{}+}}\r\n{filed}\r\n",
        filed.len()
    ));
    let answer = imap.tagged();
    assert!(answer.contains("a OK "), "{answer}");
    drop(imap);
    let rows = |found: &Value| {
        let row = |m: &Value| ["mailbox", "subject"].map(|name| m[name].as_str().expect("text").to_owned());
        found["messages"].as_array().expect("a list").iter().map(row).collect::<Vec<_>>()
    };
    let check = || {
        let (status, found) = demo.json(0, &["search", "subject:picnic"]);
        // As they arrived, wherever they are.
        let want = [["Trees of München", "Picnic of old"], ["INBOX", "Picnic"], ["Sent", "Re: Picnic"]];
        assert_eq!((status, rows(&found)), (0, want.map(|row| row.map(str::to_owned)).to_vec()), "{found}");
        assert_eq!((&found["total"], &found["mailbox"]), (&3.into(), &Value::Null));
        let uid = found["messages"][2]["uid"].to_string();
        let (_, message) = demo.json(0, &["read", "--mailbox", "Sent", &uid]);
        assert_eq!(message["subject"], "Re: Picnic", "the UID is one of that mailbox");
        let (status, found) = demo.json(0, &["search", "subject:picnic", "--mailbox", "Sent"]);
        assert_eq!((status, rows(&found)), (0, vec![["Sent", "Re: Picnic"].map(str::to_owned)]));
        assert_eq!((&found["total"], &found["mailbox"]), (&1.into(), &"Sent".into()));
    };
    check();
    drop(bridge);
    check();
    let output = run(demo.client(0).args(["search", "subject:picnic NOT subject:re:"]));
    let text = stdout(&output);
    let begin = |line: &str| text.lines().any(|row| row.starts_with(line) && row.contains("Picnic"));
    assert!(
        begin("INBOX                 1 ") && begin("Trees of München      1 "),
        "{text}{}",
        stderr(&output)
    );
    assert_eq!((text.lines().count(), output.status.code()), (2, Some(0)), "{text}");
}

/// Whether this is nowhere in there.
fn memchr(octets: &[u8], what: &[u8]) -> bool {
    !octets.windows(what.len()).any(|window| window == what)
}

#[test]
fn conversations_are_shown_as_trees() {
    let demo = Demo::start(&["--no-limits"]);
    let first = send(&demo, "Picnic", "when?");
    demo.read_when_there(0, &first);
    // Alice answers, Bob answers that; what ties them is inside.
    for (who, to) in [(0, 1), (1, 0)] {
        let (status, sent) = demo.json(who, &["send", "--reply", "last", "/dev/null"]);
        assert_eq!(status, 0, "{sent}");
        demo.read_when_there(to, sent["message_id"].as_str().expect("an id"));
    }
    let other = send(&demo, "Other", "x");
    demo.read_when_there(0, &other);
    import(
        &demo,
        0,
        &[format!("From: c@example.org\r\nSubject: Me too\r\nMessage-ID: <c@example.org>\r\nDate: Mon, 23 Nov 2099 21:36:00 +0000\r\nIn-Reply-To: {first}\r\n\r\nx\r\n").as_bytes()],
    );
    let (status, listed) = demo.json(0, &["list", "--threads"]);
    assert_eq!(status, 0, "{listed}");
    let rows: Vec<_> = listed["messages"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|m| {
            (
                m["thread"].as_u64().expect("a number"),
                m["depth"].as_u64().expect("a number"),
                m["subject"].as_str().expect("text"),
            )
        })
        .collect();
    // Alice's own answer is in Sent: Bob's stands below what both answer.
    assert_eq!(rows, [(1, 0, "Picnic"), (1, 1, "Re: Picnic"), (1, 1, "Me too"), (2, 0, "Other")]);
    let output = run(demo.client(0).args(["list", "--threads"]));
    let text = stdout(&output);
    let order: Vec<_> =
        ["Picnic", "└ Re: Picnic", "└ Me too", "Other"].iter().map(|s| text.find(s)).collect();
    assert!(order.iter().all(Option::is_some) && order.is_sorted(), "{text}");
    let output = run(demo.client(0).args(["list", "--threads", "--mailbox", "Drafts"]));
    assert_eq!(stdout(&output), "Drafts is empty\n", "{}", stderr(&output));
}
