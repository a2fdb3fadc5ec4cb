//! `compose`, `reply`, `forward`: by an editor, from pipes, on a terminal; what the other side gets, by stock programs too.

use super::{ALICE, BOB, import, pty::on_terminal};
use crate::{
    support::{Demo, python, run, run_with, sealpost, stderr, stdout, succeed},
    tree::root,
};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// An editor: a script that changes `$1`. The name of it.
fn editor(demo: &Demo, script: &str) -> String {
    let path = demo.scratch().join("editor.sh");
    fs::write(&path, script).expect("written");
    // With an option, as people have them.
    format!("sh -e {}", path.display())
}

/// `sealpost --json …` as Alice with this editor.
fn with_editor(demo: &Demo, script: &str, args: &[&str]) -> (i32, Value) {
    let mut command = demo.client(0);
    command.arg("--json").args(args).env("VISUAL", editor(demo, script)).env("EDITOR", "false");
    let output = run(&mut command);
    let object = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{args:?}: {e}: {}{}", stdout(&output), stderr(&output)));
    (output.status.code().unwrap_or(-1), object)
}

/// What unsent messages Alice has.
fn drafts(demo: &Demo) -> Vec<PathBuf> {
    let folder = Path::new(&demo.user(0, "client_dir")).join("drafts");
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn id(sent: &(i32, Value)) -> &str {
    assert_eq!(sent.0, 0, "{}", sent.1);
    sent.1["message_id"].as_str().expect("an id")
}

/// A user's message as `age` and Python open it.
fn opened(demo: &Demo, user: usize, id: &str) -> Value {
    let (maildir, key) =
        (demo.scratch().join(format!("out-{user}")), demo.scratch().join(format!("key-{user}")));
    succeed(demo.client(user).args(["export", "--folder", "INBOX"]).arg(&maildir));
    if !key.exists() {
        succeed(demo.client(user).args(["key", "export"]).arg(&key));
    }
    let mut command = python();
    command.arg(root().join("tests/it/terminal/opened.py")).arg(&maildir).arg(&key).arg(id);
    let output = run(&mut command);
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).expect("an object")
}

#[test]
fn a_message_is_written_in_the_persons_editor() {
    let demo = Demo::start(&["--no-limits"]);
    let seen = demo.scratch().join("seen");
    let plan = demo.scratch().join("the plan.pdf");
    fs::write(&plan, b"%PDF").expect("written");
    let script = format!(
        "stat -c %a \"$1\" \"$(dirname \"$1\")\" > {0}\ncat \"$1\" >> {0}\ntest ! -t 0\n\
         printf 'To: Bob <{BOB}>\\nCc: {ALICE}\\nSubject: Grüße\\nAttach: {1}\\n\\nFrom the editor\\n' > \"$1.new\"\n\
         mv \"$1.new\" \"$1\"\necho backup > \"$1~\"\n",
        seen.display(),
        plan.display()
    );
    let sent =
        with_editor(&demo, &script, &["compose", "--edit", "--to", "carol@example.org", "--subject", "S"]);
    let seen = fs::read_to_string(seen).expect("the editor ran");
    assert_eq!(seen, "600\n700\nTo: carol@example.org\nCc:\nBcc:\nSubject: S\n\n");
    assert_eq!(drafts(&demo), Vec::<PathBuf>::new(), "nothing is left, backups neither");
    let (_, read) = demo.read_when_there(1, id(&sent));
    for (member, want) in [
        ("subject", json!("Grüße")),
        ("to", json!([BOB])),
        ("cc", json!([ALICE])),
        ("text", json!("From the editor\n")),
        ("attachments", json!([{ "name": "the plan.pdf", "size": 4 }])),
    ] {
        assert_eq!(read[member], want, "{member}: {read}");
    }
    assert_eq!(opened(&demo, 1, id(&sent))["defects"], json!([]));

    // FILE is what the editor begins with.
    let text = demo.scratch().join("text");
    fs::write(&text, "begun\n").expect("written");
    let args = ["compose", "--to", BOB, "--subject", "s", "--edit", text.to_str().expect("UTF-8")];
    let sent = with_editor(&demo, "echo ended >> \"$1\"", &args);
    let (_, read) = demo.read_when_there(1, id(&sent));
    assert_eq!(read["text"], "begun\nended\n");
}

#[test]
fn what_is_given_up_is_not_sent_and_what_was_written_is_not_lost() {
    let demo = Demo::start(&["--no-limits"]);
    let to = ["compose", "--edit", "--to", BOB, "--subject", "s"];
    for (script, said) in [
        ("true", "nothing was written"),
        ("printf 'To: bob@example.com\\nSubject: s\\n\\n \\n' > \"$1\"", "nothing was written"),
        (": > \"$1\"", "nothing was written"),
        ("rm \"$1\"", "nothing was written"),
        // vi does that to what it takes for mail.
        ("sed -i 's/$/\r/' \"$1\"; echo >> \"$1\"", "nothing was written"),
        ("rm \"$1\"; exit 3", "the editor sh -e "),
        ("exit 3", "the editor sh -e "),
    ] {
        let (status, object) = with_editor(&demo, script, &to);
        assert_eq!((status, object.get("kept")), (1, None), "{script}: {object}");
        assert!(object["error"].as_str().expect("text").contains(said), "{script}: {object}");
        assert_eq!(drafts(&demo), Vec::<PathBuf>::new(), "{script}");
    }
    // Whatever goes wrong once something was written: it is kept, for its owner alone, and told.
    let kept = |(status, object): (i32, Value), want: i32, said: &str| -> PathBuf {
        assert_eq!(status, want, "{object}");
        let path = object["kept"].as_str().unwrap_or_else(|| panic!("{object}"));
        let error = object["error"].as_str().expect("text");
        assert!(error.contains(said) && error.contains(path) && error.contains("--resume"), "{error}");
        let path = PathBuf::from(path);
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert!(fs::read_to_string(&path).expect("there").contains("precious"));
        path
    };
    let failed = with_editor(&demo, "echo precious >> \"$1\"; exit 1", &to);
    kept(failed, 1, "the editor");
    let headless = with_editor(&demo, "echo precious > \"$1\"", &to);
    kept(headless, 1, "line 1 is no header line");
    let binary = with_editor(
        &demo,
        "echo precious >> \"$1\"; chmod 644 \"$1\"",
        &["compose", "--edit", "--to", "x@nowhere.example", "--subject", "s"],
    );
    kept(binary, 5, "nowhere.example");
    assert_eq!(drafts(&demo).len(), 3);
    // From a pipe too.
    let mut piped = demo.client(0);
    let output = run_with(
        piped.args(["--json", "compose", "--to", "x@nowhere.example", "--subject", "s"]),
        b"precious\n",
        5,
    );
    let path = kept((5, serde_json::from_slice(&output.stdout).expect("an object")), 5, "nowhere.example");
    let written = fs::read_to_string(&path).expect("there");
    assert_eq!(written, "To: x@nowhere.example\nCc:\nBcc:\nSubject: s\n\nprecious\n");
    // Without a recipient or a subject it is kept as well.
    let output = run_with(demo.client(0).args(["--json", "compose", "--to", BOB]), b"precious\n", 3);
    let unnamed = kept((3, serde_json::from_slice(&output.stdout).expect("an object")), 3, "--subject");

    // Going on with it, by hand or in the editor, until it is sent.
    fs::write(&path, written.replace("x@nowhere.example", BOB)).expect("written");
    let resumed = demo.json(0, &["compose", "--resume", path.to_str().expect("UTF-8")]);
    let (_, read) = demo.read_when_there(1, id(&resumed));
    assert_eq!((&read["text"], &read["subject"]), (&json!("precious\n"), &json!("s")));
    assert!(!path.exists() && !path.parent().expect("a folder").exists());
    let args = ["compose", "--edit", "--resume", unnamed.to_str().expect("UTF-8")];
    let resumed = with_editor(&demo, "sed -i 's/^Subject:/Subject: named/' \"$1\"", &args);
    let (_, read) = demo.read_when_there(1, id(&resumed));
    assert_eq!(read["subject"], "named");
    assert_eq!(drafts(&demo).len(), 3);
    // Nothing is read or written where there is no such file.
    let (status, object) = demo.json(0, &["compose", "--resume", "/nowhere/at-all"]);
    assert_eq!(status, 1, "{object}");
    // No editor.
    let output =
        run(demo.client(0).args(to).env("PATH", "/nowhere").env_remove("VISUAL").env_remove("EDITOR"));
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("set EDITOR"), "{}", stderr(&output));
}

#[test]
fn what_is_sent_is_kept_where_no_copy_of_it_could_be() {
    let demo = Demo::start(&["--no-limits"]);
    let config = demo.home().join(demo.server(0, "config"));
    run_with(sealpost().args(["user", "quota", ALICE, "1", "--config"]).arg(config), b"", 0);
    let mut command = demo.client(0);
    let output =
        run_with(command.args(["--json", "compose", "--to", BOB, "--subject", "s"]), b"precious\n", 0);
    let sent: Value = serde_json::from_slice(&output.stdout).expect("an object");
    assert!(sent["notes"][0].as_str().expect("a note").contains("no copy could be kept in Sent"), "{sent}");
    let kept = fs::read_to_string(sent["kept"].as_str().expect("a path")).expect("there");
    assert_eq!(kept, "To: bob@example.com\nCc:\nBcc:\nSubject: s\n\nprecious\n");
    demo.read_when_there(1, sent["message_id"].as_str().expect("an id"));
}

#[test]
fn answers_quote_and_stay_in_the_conversation() {
    let demo = Demo::start(&["--no-limits"]);
    let text = "When shall we meet? I am free on Saturday, all of it, and on Sunday in the morning, if that is better.\n\n> earlier\n-- \nBob\n";
    let mut first = demo.client(1);
    first.args([
        "--json",
        "send",
        "--to",
        ALICE,
        "--cc",
        "alice+list@example.net",
        "--subject",
        "Picnic",
        "-",
    ]);
    let first: Value =
        serde_json::from_slice(&run_with(&mut first, text.as_bytes(), 0).stdout).expect("an object");
    let first = first["message_id"].as_str().expect("an id").to_owned();
    let (_, read) = demo.read_when_there(0, &first);
    let uid = read["uid"].to_string();
    let (date, quoted) = (
        read["date"].as_str().expect("text").to_owned(),
        "> When shall we meet? I am free on Saturday, all of it, and on Sunday in the\n> morning, if that is better.\n>\n>> earlier\n",
    );

    // In an editor the quote stands there to be cut down.
    let seen = demo.scratch().join("seen");
    let sent = with_editor(
        &demo,
        &format!("cp \"$1\" {}; echo 'Saturday!' >> \"$1\"", seen.display()),
        &["reply", &uid, "--all", "--edit"],
    );
    assert_eq!(
        fs::read_to_string(seen).expect("the editor ran"),
        format!("To: {BOB}\nCc:\nBcc:\nSubject: Re: Picnic\n\nOn {date}, {BOB} wrote:\n{quoted}\n")
    );
    let second = id(&sent).to_owned();
    let (status, read) = demo.read_when_there(1, &second);
    assert_eq!((status, &read["verdict"]), (0, &json!("good")), "{read}");
    let message = opened(&demo, 1, &second);
    assert_eq!(message["defects"], json!([]));
    assert_eq!(
        (&message["fields"]["in-reply-to"], &message["fields"]["references"]),
        (&json!(first), &json!(first))
    );
    assert_eq!(message["fields"]["subject"], "Re: Picnic");
    assert_eq!(message["text"], format!("On {date}, {BOB} wrote:\n{quoted}\nSaturday!\n"));
    // What ties it stays inside.
    assert!(message["outer"].get("in-reply-to").is_none() && message["outer"].get("references").is_none());
    let (_, listed) = demo.json(0, &["list"]);
    assert_eq!(
        listed["messages"][0]["flags"].as_array().map(|flags| flags.contains(&json!("\\Answered"))),
        Some(true)
    );

    // From a pipe: one's own words on top, or alone.
    let mut command = demo.client(1);
    let output = run_with(command.args(["--json", "reply", "last"]), b"Fine.\n", 0);
    let third: Value = serde_json::from_slice(&output.stdout).expect("an object");
    let third = third["message_id"].as_str().expect("an id").to_owned();
    let (_, read) = demo.read_when_there(0, &third);
    assert!(read["text"].as_str().expect("text").starts_with("Fine.\n\nOn "), "{read}");
    assert!(read["text"].as_str().expect("text").ends_with(">\n> Saturday!\n"), "{read}");
    assert_eq!(opened(&demo, 0, &third)["fields"]["references"], format!("{first} {second}"));
    let mut command = demo.client(0);
    let output =
        run_with(command.args(["--json", "reply", "last", "--no-quote", "--subject", "Other"]), b"Yes.\n", 0);
    let sent: Value = serde_json::from_slice(&output.stdout).expect("an object");
    let (_, read) = demo.read_when_there(1, sent["message_id"].as_str().expect("an id"));
    assert_eq!((&read["text"], &read["subject"]), (&json!("Yes.\n"), &json!("Other")));
    // Left as it was, it is not sent; a quote alone says nothing.
    let output = run(demo.client(0).args(["reply", &uid]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("nothing was written"), "{}", stderr(&output));
    let (status, object) = with_editor(&demo, "true", &["reply", &uid, "--edit"]);
    assert_eq!((status, drafts(&demo).len()), (1, 0), "{object}");
}

#[test]
fn answers_go_where_the_message_asks() {
    let demo = Demo::start(&["--no-limits"]);
    let message = |head: &str| {
        format!("{head}Subject: =?utf-8?q?x=1B[2Jy?=\r\nMessage-ID: <1@example.org>\r\n\r\nhello\x1b[2J\r\n")
    };
    let forged = "From: bob@example.com\r\nTo: alice@example.net\r\nReply-To: mallory@example.org\r\nSubject: secret\r\n\
                  Message-ID: <f@example.com>\r\nX-Sender-Encrypted: no\r\nX-Sender-Signature: ed25519 00\r\n\r\npretended\r\n";
    let messages = [
        message(
            "From: list@example.org\r\nReply-To: Bob <bob@example.com>\r\nTo: Alice <alice@example.net>, carol@example.org\r\nCc: dave@example.org\r\n",
        ),
        message("From: Alice <alice@example.net>\r\nTo: bob@example.com\r\n"),
        forged.to_owned(),
    ];
    import(&demo, 0, &messages.iter().map(String::as_bytes).collect::<Vec<_>>());
    let seen = demo.scratch().join("seen");
    let begins = |args: &[&str]| {
        let mut all = args.to_vec();
        all.push("--edit");
        let (status, object) = with_editor(&demo, &format!("cp \"$1\" {}", seen.display()), &all);
        assert_eq!(status, 1, "{object}");
        fs::read_to_string(&seen).expect("the editor ran")
    };
    assert!(begins(&["reply", "1"]).starts_with("To: bob@example.com\nCc:\nBcc:\nSubject: Re: x [2Jy\n\n"));
    assert!(
        begins(&["reply", "1", "--all"])
            .starts_with("To: bob@example.com\nCc: carol@example.org, dave@example.org\nBcc:\n")
    );
    assert!(begins(&["reply", "1", "--to", "eve@example.org"]).starts_with("To: eve@example.org\nCc:\n"));
    // What one wrote oneself is answered to whom it went.
    assert!(begins(&["reply", "2", "--all"]).starts_with("To: bob@example.com\nCc:\n"));
    // Escape sequences do not reach the editor, nor the terminal.
    assert!(!begins(&["reply", "1"]).contains('\u{1b}'));
    let output = run(demo.client(0).args(["reply", "1", "--edit"]).env("VISUAL", "true"));
    assert!(!stdout(&output).contains('\u{1b}') && !stderr(&output).contains('\u{1b}'));
    assert!(
        stdout(&output).contains("an answer goes to bob@example.com, as its Reply-To says"),
        "{}",
        stdout(&output)
    );
    // Of what is withheld nothing is taken over, by force neither.
    assert_eq!(begins(&["reply", "3"]), "To:\nCc:\nBcc:\nSubject:\n\n");
    let (status, object) = demo.json(0, &["forward", "3", "--to", BOB, "/dev/null"]);
    assert_eq!(status, 4, "{object}");
}

#[test]
fn messages_are_sent_on() {
    let demo = Demo::start(&["--no-limits"]);
    let octets: Vec<u8> = (0..=255_u8).cycle().take(400_000).collect();
    let plan = demo.scratch().join("the plän.bin");
    fs::write(&plan, &octets).expect("written");
    let mut first = demo.client(1);
    first
        .args(["--json", "send", "--to", ALICE, "--bcc", BOB, "--subject", "Picnic/plan", "--attach"])
        .arg(&plan)
        .arg("-");
    let output = run_with(&mut first, "See the plän.\n".as_bytes(), 0);
    let first: Value = serde_json::from_slice(&output.stdout).expect("an object");
    let (_, read) = demo.read_when_there(0, first["message_id"].as_str().expect("an id"));
    let uid = read["uid"].to_string();

    // Its text and its attachments, below one's own words.
    let output = run_with(demo.client(0).args(["--json", "forward", &uid, "--to", BOB, "-"]), b"Look:\n", 0);
    let sent: Value = serde_json::from_slice(&output.stdout).expect("an object");
    let sent = sent["message_id"].as_str().expect("an id").to_owned();
    demo.read_when_there(1, &sent);
    let message = opened(&demo, 1, &sent);
    assert_eq!(message["defects"], json!([]));
    assert_eq!(message["fields"]["subject"], "Fwd: Picnic/plan");
    assert!(message["fields"].get("in-reply-to").is_none(), "a forward answers nothing");
    let text = message["text"].as_str().expect("text");
    assert!(
        text.starts_with("Look:\n\n---------- Forwarded message ----------\nFrom: bob@example.com\nDate: "),
        "{text}"
    );
    assert!(text.contains("\nTo: alice@example.net\n\nSee the plän.\n"), "{text}");
    let hex: String = octets
        .iter()
        .flat_map(|b| [b >> 4, b & 15])
        .map(|n| char::from_digit(u32::from(n), 16).expect("a digit"))
        .collect();
    assert_eq!(message["parts"][0]["name"], "the plän.bin");
    assert!(message["parts"][0]["octets"] == json!(hex), "octet for octet");
    let (_, listed) = demo.json(0, &["list"]);
    assert_eq!(
        listed["messages"][0]["flags"].as_array().map(|flags| flags.contains(&json!("$Forwarded"))),
        Some(true),
        "{listed}"
    );

    // Whole, as a message in the message.
    let output =
        run_with(demo.client(0).args(["--json", "forward", &uid, "--to", BOB, "--as-attachment"]), b"", 0);
    let sent: Value = serde_json::from_slice(&output.stdout).expect("an object");
    let sent = sent["message_id"].as_str().expect("an id").to_owned();
    demo.read_when_there(1, &sent);
    let message = opened(&demo, 1, &sent);
    assert_eq!(message["defects"], json!([]));
    let part = &message["parts"][0];
    assert_eq!(
        (&part["name"], &part["type"], &part["encoding"]),
        (&json!("Picnic_plan.eml"), &json!("message/rfc822"), &json!("7bit"))
    );
    assert_eq!((&part["fields"]["subject"], &part["fields"]["from"]), (&json!("Picnic/plan"), &json!(BOB)));
    assert_eq!(part["text"], "See the plän.\n");
    for hidden in ["bcc", "hp-outer", "sealpost-verdict", "x-sender-signature"] {
        assert!(part["fields"].get(hidden).is_none(), "{hidden}: {part}");
    }
    // One's own copy of it names the blind recipient; the one that is sent on does not.
    let (_, own) = demo.json(1, &["list", "--mailbox", "Sent"]);
    let own = own["messages"][0]["uid"].to_string();
    let output = run_with(
        demo.client(1).args([
            "--json",
            "forward",
            &own,
            "--mailbox",
            "Sent",
            "--to",
            ALICE,
            "--as-attachment",
        ]),
        b"",
        0,
    );
    let sent: Value = serde_json::from_slice(&output.stdout).expect("an object");
    let sent = sent["message_id"].as_str().expect("an id").to_owned();
    demo.read_when_there(0, &sent);
    let message = opened(&demo, 0, &sent);
    assert_eq!(message["parts"][0]["fields"]["subject"], "Picnic/plan");
    assert!(message["parts"][0]["fields"].get("bcc").is_none(), "{message}");

    // The text alone; unchanged in the editor it goes too, since it speaks for itself.
    let sent = with_editor(&demo, "true", &["forward", &uid, "--to", BOB, "--no-attachments", "--edit"]);
    let (_, read) = demo.read_when_there(1, id(&sent));
    assert_eq!(read["attachments"], json!([]));
}

#[test]
fn on_a_terminal_it_is_asked_before_it_is_sent() {
    let demo = Demo::start(&["--no-limits"]);
    let editor = editor(&demo, "printf 'line\\n' >> \"$1\"");
    let mut command = demo.client(0);
    command.args(["compose", "--to", BOB, "--subject", "Hello"]);
    let env = [("VISUAL", editor.as_str())];
    let question = "Type yes, edit or no: ";
    let (status, said) = on_terminal(&command, &env, &[(question, "no\n")]);
    assert_eq!((status, drafts(&demo).len()), (1, 1), "{said}");
    assert!(said.contains("kept in") && said.contains("sealpost compose --resume"), "{said}");
    // An answer that is none is asked for again; the editor comes back with what is there.
    let (status, said) =
        on_terminal(&command, &env, &[(question, "y\n"), (question, "edit\n"), (question, "yes\n")]);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("Unsent messages in") && said.contains("bob@example.com: sealed"), "{said}");
    assert_eq!(drafts(&demo).len(), 1);
    // Ctrl-C at the question ends it, and what was written stays.
    let (status, said) = on_terminal(&command, &env, &[(question, "\x03")]);
    assert_eq!((status, drafts(&demo).len()), (130, 2), "{said}");
    // A wrong header line: it is said, and can be mended.
    let mending = "grep -q '^Subject' \"$1\" && echo oops > \"$1\" || printf 'To: bob@example.com\\nSubject: Mended\\n\\ntext\\n' > \"$1\"";
    let mending = self::editor(&demo, mending);
    let (status, said) = on_terminal(
        &command,
        &[("VISUAL", &mending)],
        &[("Type edit or no: ", "edit\n"), (question, "yes\n")],
    );
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("line 1 is no header line"), "{said}");
    let read = crate::support::eventually("Mended", || {
        let (_, read) = demo.json(1, &["read", "last"]);
        (read["subject"] == "Mended").then_some(read)
    });
    assert_eq!(read["text"], "text\n");
    let (_, listed) = demo.json(1, &["list"]);
    assert_eq!(listed["messages"].as_array().map(Vec::len), Some(2), "{listed}");
    let (_, read) = demo.json(1, &["read", "1"]);
    assert_eq!(read["text"], "line\nline\n", "{read}");
}
