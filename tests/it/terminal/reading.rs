//! `read` and `save`.

use super::import;
use crate::support::{Demo, run, run_with, stderr, stdout, succeed};
use serde_json::json;
use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

/// What moves cursors, sets titles, turns text around and names files elsewhere.
const HOSTILE: &[u8] = b"From: =?utf-8?q?Bank=1B]0;owned=07?= <bank@example.org>\r\nTo: alice@example.net\r\n\
    Subject: =?utf-8?q?a=1B[2J=C2=9B31m=E2=80=AEb=0D=0AX:_y?=\r\nMIME-Version: 1.0\r\n\
    Content-Type: multipart/mixed; boundary=b\r\n\r\n\
    --b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nbefore\x1b[1Aafter\x07\xc2\x9b2K\r\ngood: from the sender\r\n\
    --b\r\nContent-Type: text/html\r\n\r\n<p>esc &#27;[31m &#x9b;1m <script>alert(1)</script>\
    <a href=\"https://example.org/?\x1b[0m\">link</a></p>\r\n\
    --b\r\nContent-Type: x/\x1b[5my\r\nContent-Disposition: attachment; filename=\"../../\x1b[7mevil\xe2\x80\xaegnp.sh\"\r\n\r\n\
    #!/bin/sh\r\n--b--\r\n";

#[test]
fn hostile_mail_cannot_steer_the_terminal() {
    let demo = Demo::start(&["--no-limits"]);
    import(&demo, 0, &[HOSTILE]);
    let folder = demo.scratch().join("saved");
    for args in [vec!["list"], vec!["read", "1"], vec!["save", "1", "--to", folder.to_str().expect("UTF-8")]]
    {
        let output = run_with(demo.client(0).args(&args), b"", 0);
        for text in [stdout(&output), stderr(&output)] {
            let odd = |c: char| {
                c.is_control() && c != '\n' || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            };
            assert!(!text.contains(odd), "{args:?}: {text:?}");
        }
    }
    let (_, read) = demo.json(0, &["read", "1"]);
    assert_eq!(read["subject"], "a [2J 31mb  X: y");
    let text = read["text"].as_str().expect("text");
    assert!(text.contains("before[1Aafter2K") && text.contains("esc [31m"), "{text:?}");
    assert!(text.contains("link <https://example.org/? [0m>") && !text.contains("alert"), "{text:?}");
    let part =
        json!({ "part": 3, "name": "[7mevilgnp.sh", "type": "x/ [5my", "size": 9, "attachment": true });
    assert_eq!(read["parts"][2], part, "{read}");
    // What is shown of a message cannot pass for the verdict: that stands on top.
    let shown = succeed(demo.client(0).args(["read", "1"]));
    assert!(shown.starts_with("plain: ") && shown.contains("\n────\n"), "{shown}");
    let saved: Vec<_> = fs::read_dir(&folder).expect("made").map(|e| e.expect("readable").path()).collect();
    assert_eq!(saved.len(), 1, "{saved:?}");
    assert!(saved[0].to_string_lossy().ends_with("[7mevilgnp.sh"), "{saved:?}");
    assert_eq!(fs::metadata(&saved[0]).expect("there").permissions().mode() & 0o777, 0o600);
}

#[test]
fn attachments_are_saved_octet_for_octet_and_nothing_is_overwritten() {
    let demo = Demo::start(&["--no-limits"]);
    let work = demo.scratch().join("work");
    fs::create_dir(&work).expect("made");
    // Larger than what is held in memory, with octets of every kind.
    let large: Vec<u8> =
        (0..3_000_001_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]).collect();
    let files: [(&str, &[u8]); 3] =
        [("grüße 日本.bin", &large), ("a.txt", b"one\r\ntwo\n\rlast"), ("empty.png", b"")];
    let mut command = demo.client(1);
    command.args(["--json", "send", "--to", super::ALICE, "--subject", "files", "-"]);
    for (name, octets) in files {
        fs::write(work.join(name), octets).expect("written");
        command.arg("--attach").arg(work.join(name));
    }
    let output = run_with(&mut command, b"here they are", 0);
    let sent: serde_json::Value = serde_json::from_slice(&output.stdout).expect("an object");
    let (_, read) = demo.read_when_there(0, sent["message_id"].as_str().expect("an id"));
    let uid = read["uid"].to_string();
    let part = |n: u8, name: &str, media_type: &str, size: u32| json!({ "part": n, "name": name, "type": media_type, "size": size, "attachment": n > 1 });
    assert_eq!(
        read["parts"],
        json!([
            part(1, "text.txt", "text/plain", 15),
            part(2, "grüße 日本.bin", "application/octet-stream", 3_000_001),
            part(3, "a.txt", "text/plain", 14),
            part(4, "empty.png", "image/png", 0),
        ])
    );

    let to = demo.scratch().join("to");
    let to = to.to_str().expect("UTF-8");
    for again in 0..2 {
        let (status, saved) = demo.json(0, &["save", &uid, "--all", "--to", to]);
        assert_eq!((status, &saved["exit"]), (0, &json!(0)), "{saved}");
        for ((name, octets), saved) in files.iter().zip(saved["saved"].as_array().expect("a list")) {
            let path = std::path::Path::new(saved["path"].as_str().expect("a path"));
            assert!(fs::read(path).expect("saved") == *octets, "{name}");
            let (stem, ending) = name.rsplit_once('.').expect("an ending");
            let want = if again == 0 { (*name).to_owned() } else { format!("{stem} (2).{ending}") };
            assert_eq!(path.file_name().and_then(|n| n.to_str()), Some(want.as_str()));
        }
    }
    // One part, the text too; into the present folder.
    let here = demo.scratch().join("here");
    fs::create_dir(&here).expect("made");
    succeed(demo.client(0).current_dir(&here).args(["save", &uid, "--part", "1"]));
    assert_eq!(fs::read(here.join("text.txt")).expect("saved"), b"here they are\r\n");
    let said = succeed(demo.client(0).current_dir(&here).args(["save", &uid, "--part", "3"]));
    assert!(said.contains("Saved ./a.txt (14 octets)"), "{said}");
    let output = run(demo.client(0).current_dir(&here).args(["save", &uid, "--part", "9"]));
    assert_eq!((output.status.code(), stdout(&output)), (Some(1), String::new()));
    assert!(stderr(&output).contains("no part 9"), "{}", stderr(&output));

    // Into a pipe, with nothing around it.
    let output = run(demo.client(0).args(["save", &uid, "--part", "2", "--to", "-"]));
    assert!(output.status.success() && output.stdout == large, "{}", stderr(&output));
    assert!(stderr(&output).contains("sender not yet confirmed"), "{}", stderr(&output));
    for args in [vec!["--to", "-"], vec!["--part", "2", "--to", "-", "--json"]] {
        let output = run(demo.client(0).args(["save", &uid]).args(&args));
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
    }

    // Without attachments, and withheld.
    let (status, none) = demo.json(0, &["send", "--to", super::ALICE, "--subject", "x", "/dev/null"]);
    assert_eq!(status, 0, "{none}");
    let (_, read) = demo.read_when_there(0, none["message_id"].as_str().expect("an id"));
    let output = run(demo.client(0).args(["save", &read["uid"].to_string(), "--to", to]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("no attachment"), "{}", stderr(&output));
    let forged =
        b"From: bob@example.com\r\nTo: alice@example.net\r\nSubject: x\r\nX-Sender-Encrypted: no\r\n\
        X-Sender-Signature: ed25519 00\r\nContent-Type: x/y; name=forged\r\n\r\nx\r\n";
    import(&demo, 0, &[forged]);
    let output = run(demo.client(0).args(["save", "last", "--to", to]));
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    assert!(!std::path::Path::new(to).join("forged").exists());
    let output = run(demo.client(0).args(["save", "last", "--to", to, "--force"]));
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    assert!(std::path::Path::new(to).join("forged").exists());
}

#[test]
fn mail_of_other_programs_is_shown_as_text() {
    let demo = Demo::start(&["--no-limits"]);
    // Written by Python's email package.
    let script = r#"
import sys, email.message, email.policy
m = email.message.EmailMessage(policy=email.policy.SMTP)
m["From"] = "Jörg Müller <joerg@example.org>"
m["To"] = "alice@example.net"
m["Subject"] = "Grüße, 日本"
m["Date"] = "Mon, 23 Nov 2026 21:36:00 +0000"
m["Message-ID"] = "<1@example.org>"
if sys.argv[1] == "alternative":
    m.set_content("plain: Grüße\n", charset="iso-8859-1")
    m.add_alternative("<p>html</p>", subtype="html")
elif sys.argv[1] == "html":
    m.set_content("<h1>Hi</h1><p>привет <b>you</b></p><style>p{}</style><ul><li>one<li>two</ul>"
                  "<blockquote>quoted</blockquote><a href='https://example.org/x'>there</a>",
                  subtype="html", charset="koi8-r")
elif sys.argv[1] == "flowed":
    m.set_content("A paragraph that \ngoes on.\n>> quoted \n>> too\n", params={"format": "flowed"})
sys.stdout.buffer.write(m.as_bytes())
"#;
    let messages: Vec<Vec<u8>> = ["alternative", "html", "flowed"]
        .iter()
        .map(|kind| {
            let output = run(Command::new("/usr/bin/python3").args(["-c", script, kind]));
            assert!(output.status.success(), "{}", stderr(&output));
            output.stdout
        })
        .collect();
    import(&demo, 0, &messages.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let text = |uid: &str| {
        let (status, read) = demo.json(0, &["read", uid]);
        assert_eq!((status, &read["from"]), (0, &json!("Jörg Müller <joerg@example.org>")), "{read}");
        assert_eq!(read["subject"], "Grüße, 日本");
        read["text"].as_str().expect("text").to_owned()
    };
    assert_eq!(text("1"), "plain: Grüße\n");
    let html = text("2");
    for line in ["Hi", "привет you", "- one", "- two", "there <https://example.org/x>"] {
        assert!(html.lines().any(|shown| shown.contains(line)), "{line} in {html:?}");
    }
    assert!(!html.contains("p{}"), "{html:?}");
    assert_eq!(text("3"), "A paragraph that goes on.\n>> quoted too\n");
}
