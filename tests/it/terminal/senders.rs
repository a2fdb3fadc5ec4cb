//! Which of one's own addresses a message is From: that which was written to, or one that is chosen.

use super::{ALICE, BOB, import};
use crate::support::{Demo, run, run_with, stderr, stdout, succeed};
use serde_json::Value;
use std::fs;

const LIST: &str = "alice+list@example.net";

fn sent(output: &[u8]) -> String {
    let sent: Value = serde_json::from_slice(output).expect("an object");
    sent["message_id"].as_str().expect("an id").to_owned()
}

/// Runs a command of Alice's with this text; the Message-ID.
fn written(demo: &Demo, args: &[&str], text: &str) -> String {
    sent(&run_with(demo.client(0).arg("--json").args(args), text.as_bytes(), 0).stdout)
}

/// Bob's message with this id as it lies in his mailbox.
fn as_it_came(demo: &Demo, id: &str) -> String {
    let maildir = demo.scratch().join("out");
    succeed(demo.client(1).args(["export", "--folder", "INBOX"]).arg(&maildir));
    let folders =
        ["cur", "new"].into_iter().flat_map(|sub| fs::read_dir(maildir.join(sub)).expect("readable"));
    let mut texts = folders.map(|file| fs::read_to_string(file.expect("readable").path()).expect("text"));
    texts.find(|text| text.contains(id)).expect("it came")
}

#[test]
fn answers_come_from_the_address_that_was_written_to() {
    let demo = Demo::start(&["--no-limits"]);
    let mut command = demo.client(1);
    command.args(["--json", "send", "--to", "carol@example.net", "--sealed-only"]);
    command.args(["--to", "Alice+List@example.net", "--subject", "Picnic", "-"]);
    let first = sent(&run_with(&mut command, b"when?", 0).stdout);
    demo.read_when_there(0, &first);

    // For people it is said.
    let output = run_with(demo.client(0).args(["reply", "last"]), b"Saturday.\n", 0);
    let told = stdout(&output);
    assert!(told.contains("From Alice+List@example.net, which it was written to"), "{told}");
    for (args, subject) in [
        (&["reply", "last"][..], "Re: Picnic"),
        (&["send", "--reply", "last"], "Re: Picnic"),
        (&["forward", "last", "--to", BOB], "Fwd: Picnic"),
    ] {
        let id = written(&demo, args, "Sunday.\n");
        let (status, read) = demo.read_when_there(1, &id);
        // Bob sealed to this address, and so knows whose key it is.
        assert_eq!((status, &read["verdict"]), (0, &"good".into()), "{args:?}: {read}");
        assert_eq!((&read["from"], &read["subject"]), (&"Alice+List@example.net".into(), &subject.into()));
        let raw = as_it_came(&demo, &id);
        assert!(raw.contains("Return-Path: <Alice+List@example.net>"), "{args:?}: {raw}");
        assert!(!raw.contains(ALICE), "{args:?}: another address is told: {raw}");
        let (status, read) = demo.json(0, &["read", "last", "--mailbox", "Sent"]);
        assert_eq!((status, &read["from"]), (0, &"Alice+List@example.net".into()), "{read}");
    }
    // One's own message is answered from where it came.
    let id = written(&demo, &["reply", "last", "--mailbox", "Sent"], "And?\n");
    let (_, read) = demo.read_when_there(1, &id);
    assert_eq!(read["from"], "Alice+List@example.net");
    // Bob's answer goes there, and Alice takes it for hers.
    let (status, object) = demo.json(1, &["send", "--reply", "last", "/dev/null"]);
    assert_eq!(
        (status, &object["recipients"][0]["address"]),
        (0, &"Alice+List@example.net".into()),
        "{object}"
    );
    let (status, read) = demo.read_when_there(0, object["message_id"].as_str().expect("an id"));
    assert_eq!((status, &read["verdict"]), (0, &"good".into()), "{read}");

    // Written to the primary address, or to nobody here: the primary one.
    import(&demo, 0, &[b"From: bob@example.com\r\nTo: carol@example.net\r\nSubject: x\r\n\r\nhello\r\n"]);
    let id = written(&demo, &["reply", "last"], "Hello.\n");
    let (_, read) = demo.read_when_there(1, &id);
    assert_eq!(read["from"], ALICE);
}

#[test]
fn one_of_ones_own_addresses_may_be_chosen() {
    let demo = Demo::start(&["--no-limits"]);
    let to = ["--to", BOB, "--subject", "x"];
    let text = demo.scratch().join("text");
    fs::write(&text, "x").expect("written");
    for command in ["send", "compose"] {
        let id = written(&demo, &[&[command, "--from", LIST][..], &to, &["-"]].concat(), "x\n");
        let (_, read) = demo.read_when_there(1, &id);
        assert_eq!(read["from"], LIST, "{command}");
        assert!(as_it_came(&demo, &id).contains("Return-Path: <alice+list@example.net>"));
        // Before anything is sealed, signed or sent.
        for wrong in [BOB, "alicia@example.net", "alice@example.org"] {
            let (status, object) = demo
                .json(0, &[&[command, "--from", wrong][..], &to, &[text.to_str().expect("UTF-8")]].concat());
            let error = object["error"].as_str().expect("text");
            assert_eq!(status, 1, "{object}");
            assert!(error.contains("no address of this account"), "{command} {wrong}: {error}");
        }
    }
    // Whoever answers may choose as well, and change their mind in the editor.
    let mut command = demo.client(1);
    let first = sent(
        &run_with(command.args(["--json", "send", "--to", LIST, "--subject", "y", "-"]), b"y", 0).stdout,
    );
    demo.read_when_there(0, &first);
    let id = written(&demo, &["reply", "last", "--from", ALICE], "z\n");
    let (_, read) = demo.read_when_there(1, &id);
    assert_eq!(read["from"], ALICE);
    let script = demo.scratch().join("editor.sh");
    let seen = demo.scratch().join("seen");
    let edit = |change: &str, args: &[&str]| {
        fs::write(&script, format!("cp \"$1\" {}\n{change}\necho z >> \"$1\"\n", seen.display()))
            .expect("written");
        let output =
            run(demo.client(0).arg("--json").args(args).env("VISUAL", format!("sh -e {}", script.display())));
        let object: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("{args:?}: {e}: {}", stderr(&output)));
        (output.status.code(), object)
    };
    let (status, object) =
        edit("sed -i 's/^From: .*/From: alice+other@example.net/' \"$1\"", &["reply", "last", "--edit"]);
    assert_eq!(status, Some(0), "{object}");
    let text = fs::read_to_string(&seen).expect("the editor ran");
    assert!(text.starts_with(&format!("From: {LIST}\nTo: {BOB}\n")), "{text}");
    let (_, read) = demo.read_when_there(1, object["message_id"].as_str().expect("an id"));
    assert_eq!(read["from"], "alice+other@example.net");
    // What was written under a wrong name is kept, and goes out under a right one.
    let (status, object) =
        edit("sed -i 's/^From: .*/From: bob@example.com/' \"$1\"", &["reply", "last", "--edit"]);
    assert_eq!(status, Some(1), "{object}");
    let kept = object["kept"].as_str().expect("a path").to_owned();
    let (status, object) = edit(
        "sed -i 's/^From: .*/From: alice+third@example.net/' \"$1\"",
        &["reply", "last", "--resume", &kept, "--edit"],
    );
    assert_eq!(status, Some(0), "{object}");
    let (_, read) = demo.read_when_there(1, object["message_id"].as_str().expect("an id"));
    assert_eq!(
        (&read["from"], read["text"].as_str().map(|text| text.ends_with("z\nz\n"))),
        (&"alice+third@example.net".into(), Some(true))
    );
}
