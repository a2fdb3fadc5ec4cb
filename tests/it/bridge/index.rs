//! The index of the bridge: made in the background, kept, made anew at will.

use super::{Bridge, composed, wait_for};
use crate::{
    server::Client,
    support::{Demo, eventually},
};

/// What `bridge info` tells of the index.
fn indexed(demo: &Demo) -> (u64, u64) {
    let (status, json) = demo.json(1, &["bridge", "info"]);
    assert_eq!(status, 0, "{json}");
    let number = |name: &str| json["index"][name].as_u64().unwrap_or_else(|| panic!("{json}"));
    (number("messages"), number("left"))
}

/// What is told of the messages, without news of their flags.
fn envelopes(program: &mut Client) -> String {
    program.imap("SELECT INBOX");
    let answer = program.imap("FETCH 1:* (ENVELOPE RFC822.SIZE)");
    answer.lines().filter(|line| line.contains("ENVELOPE")).collect()
}

#[test]
fn mail_is_indexed_before_anybody_asks_and_never_twice() {
    let demo = Demo::start(&[]);
    let alice = Bridge::start(&demo, 0, &[]);
    let send = |subject: &str| {
        let message = composed(subject, "words");
        assert!(alice.send("alice@example.net", &["bob@example.com"], &message).starts_with("250 "));
    };
    send("one");
    send("two");
    let bob = Bridge::start(&demo, 1, &[]);
    eventually("an index", || (indexed(&demo) == (2, 0)).then_some(()));
    // New mail is heard of.
    send("three");
    eventually("an index of new mail", || (indexed(&demo) == (3, 0)).then_some(()));
    let first = envelopes(&mut bob.imap());
    for subject in ["one", "two", "three"] {
        assert!(first.contains(&format!("\"{subject}\"")), "{first}");
    }
    drop(bob);

    // Another bridge finds it as it was, and made anew it says the same.
    for options in
        [&["--no-background-index"][..], &["--rebuild-index"], &["--rebuild-index", "--no-background-index"]]
    {
        let bob = Bridge::start(&demo, 1, options);
        let mut program = bob.imap();
        wait_for(&mut program, 3);
        assert_eq!(envelopes(&mut program), first, "{options:?}");
    }
}
