//! Trust at the terminal: contacts, and keys compared.

use crate::support::{Demo, run, run_with, sealpost, stderr, stdout, succeed};

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

/// Every file below a folder, with its octets.
fn contents(folder: &std::path::Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path()) {
        if entry.is_dir() {
            found.extend(contents(&entry));
        } else {
            let octets = std::fs::read(&entry).expect("readable");
            found.push((entry, octets));
        }
    }
    found.sort();
    found
}

#[test]
fn a_message_in_a_file_is_explained() {
    let demo = Demo::start(&[]);
    // Bob has met Alice.
    let (status, met) = demo.json(1, &["send", "--to", "alice@example.net", "--subject", "s", "/dev/null"]);
    assert_eq!(status, 0, "{met}");
    let (status, sent) = demo.json(0, &["send", "--to", BOB, "--subject", "s", "/dev/null"]);
    assert_eq!(status, 0, "{sent}");
    let (status, read) = demo.read_when_there(1, sent["message_id"].as_str().expect("an id"));
    assert_eq!(status, 0, "{read}");
    let out = demo.scratch().join("out");
    succeed(demo.client(1).arg("export").arg(&out));
    let (_, octets) = contents(&out)
        .into_iter()
        .find(|(path, _)| path.parent() == Some(&out.join("cur")))
        .expect("exported");
    // A Maildir has LF; the message came with CRLF.
    let output = run_with(demo.client(1).args(["verify", "--json"]), &octets, 0);
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("an object");
    assert_eq!(told["verdict"], "good, altered on the way", "{told}");
    let octets = String::from_utf8(octets).expect("ASCII").replace('\n', "\r\n").into_bytes();
    let file = demo.scratch().join("message.eml");
    std::fs::write(&file, &octets).expect("written");
    let file = file.to_str().expect("UTF-8");

    let home = std::path::PathBuf::from(demo.user(1, "client_dir"));
    let before = contents(&home);
    let (status, told) = demo.json(1, &["verify", file]);
    assert_eq!(status, 0, "{told}");
    for member in ["verdict", "sealed", "message_id"] {
        assert_eq!(told[member], read[member], "{told}");
    }
    let checks = told["checks"].as_array().expect("a list");
    let of = |name: &str| checks.iter().find(|c| c["check"] == name).expect(name)["result"].clone();
    assert_eq!(checks.len(), 15);
    for name in ["opens", "signature fits", "whose key", "header outside", "written to you", "replay"] {
        assert_eq!(of(name), "passed", "{name}: {told}");
    }
    assert!(contents(&home) == before, "nothing was written");

    // From a pipe, for people: the checks, then the verdict.
    let mut command = demo.client(1);
    let output = run_with(command.args(["verify", "-"]), &octets, 0);
    let text = stdout(&output);
    let (checks, verdict) = text.split_once("\ngood: ").expect("a verdict");
    assert!(checks.contains("  passed   signature fits     on the exact octets"), "{checks}");
    assert!(verdict.contains("note: sealed and signed"), "{verdict}");

    // Alice cannot open what she sealed to Bob, and nobody can without keys.
    let (status, told) = demo.json(0, &["verify", file]);
    assert_eq!((status, told["verdict"].as_str()), (4, Some("cannot be opened")), "{told}");
    let empty = demo.scratch().join("nobody");
    let output = run(sealpost().arg("--json").arg("--dir").arg(&empty).args(["verify", file]));
    assert_eq!(output.status.code(), Some(4));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("an object");
    assert_eq!(told["account"], serde_json::Value::Null);
    assert!(told["notes"].to_string().contains("there is no account in"), "{told}");
    assert!(!empty.exists(), "nothing was made");

    // Changed on the way.
    let changed = String::from_utf8(octets).expect("ASCII").replace("To: bob", "To: bobby");
    let output = run_with(demo.client(1).args(["verify", "--json"]), changed.as_bytes(), 4);
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("an object");
    assert_eq!(told["verdict"], "signature bad", "{told}");
    let output = run(demo.client(1).args(["verify", "/nonexistent.eml"]));
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
}

#[test]
fn a_recovery_kit_brings_everything_back() {
    let demo = Demo::start(&[]);
    let alice = "alice@example.net";
    let (status, none) = demo.json(0, &["recovery", "show"]);
    assert_eq!((status, &none["kit"]), (0, &serde_json::Value::Null), "{none}");
    let output = run(demo.client(0).args(["recovery", "make"]));
    assert_eq!(output.status.code(), Some(2), "the page is shown to nobody: {}", stderr(&output));
    // To a printer: the page and nothing else; then HTML, which replaces it.
    let output = run(demo.client(0).args(["recovery", "make", "-"]));
    let first = stdout(&output);
    assert!(first.starts_with("SEALPOST RECOVERY KIT\n") && first.ends_with("make a new one.\n"), "{first}");
    let page = demo.scratch().join("kit.html");
    let (status, made) = demo.json(0, &["recovery", "make", page.to_str().expect("UTF-8")]);
    assert_eq!((status, made.get("words")), (0, None), "{made}");
    assert_eq!(demo.json(0, &["recovery", "show"]).1["kit"], made["kit"]);
    let html = std::fs::read_to_string(&page).expect("written");
    assert!(html.starts_with("<!DOCTYPE html>") && html.contains("<svg"), "{html}");
    let again = run(demo.client(0).args(["recovery", "make"]).arg(&page));
    assert_eq!(again.status.code(), Some(1), "a page is never replaced");
    assert_eq!(
        demo.json(0, &["recovery", "show"]).1["kit"],
        made["kit"],
        "nor the kit, where its page cannot be"
    );
    let text =
        html.split("SEALPOST-RECOVERY-1").nth(1).and_then(|rest| rest.split('<').next()).expect("the text");
    let kit = demo.scratch().join("kit");
    std::fs::write(&kit, format!("SEALPOST-RECOVERY-1{text}\n")).expect("written");
    let kit = kit.to_str().expect("UTF-8").to_owned();

    // The password is forgotten: a folder and a password of their own, with the administrator's new code.
    let (status, sent) = demo.json(1, &["send", "--to", alice, "--subject", "s", "/dev/null"]);
    assert_eq!(status, 0, "{sent}");
    demo.read_when_there(0, sent["message_id"].as_str().expect("an id"));
    let reset =
        run(sealpost().args(["--json", "user", "reset", alice, "--config"]).arg(demo.server(0, "config")));
    let reset: serde_json::Value = serde_json::from_slice(&reset.stdout).expect("an object");
    let (code, password) = (demo.scratch().join("code"), demo.scratch().join("new-password"));
    std::fs::write(&code, reset["code"].as_str().expect("a code")).expect("written");
    let (home, account) = (demo.scratch().join("anew"), std::path::PathBuf::from(demo.user(0, "client_dir")));
    let account = std::fs::read_to_string(account.join("account.json")).expect("readable");
    let account: serde_json::Value = serde_json::from_str(&account).expect("JSON");
    let anew = |args: &[&str], status: i32| {
        let (dir, args) = match args {
            ["--dir", dir, others @ ..] => (std::path::PathBuf::from(dir), others),
            _ => (home.clone(), args),
        };
        let output = run(sealpost()
            .args(["--json", "--dns", account["dns"].as_str().expect("dns"), "--ca-file"])
            .arg(account["ca_file"].as_str().expect("a file"))
            .args(["--mx-port", &account["mx_port"].to_string(), "--dir"])
            .arg(dir)
            .arg("--password-file")
            .arg(&password)
            .args(args));
        assert_eq!(output.status.code(), Some(status), "{args:?}: {}", stderr(&output));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("an object")
    };
    let enrolled = anew(&["enrol", alice, "--code-file", code.to_str().expect("UTF-8")], 0);
    assert!(enrolled["notes"].to_string().contains("sealpost recovery use"), "{enrolled}");
    assert_eq!(anew(&["recovery", "show"], 0)["waits"], true);
    assert_eq!(anew(&["read", "last"], 4)["verdict"], "cannot be opened");
    assert_eq!(anew(&["recovery", "revoke"], 3)["exit"], 3);
    let slip = demo.scratch().join("slip");
    std::fs::write(&slip, "legal winner thank year wave sausage worth useful legal winner thank year")
        .expect("written");
    let slip = anew(&["recovery", "use", "--kit-file", slip.to_str().expect("UTF-8")], 2);
    assert!(slip["error"].to_string().contains("a slip in it"), "{slip}");
    let back = anew(&["recovery", "use", "--kit-file", &kit], 0);
    assert_eq!(back["keys"].as_array().map(Vec::len), Some(1), "{back}");
    assert_eq!(anew(&["read", "last"], 0)["message_id"], sent["message_id"]);
    // Somebody new, with a kit from the beginning.
    let added = run(sealpost()
        .args(["--json", "user", "add", "carol@example.net", "--config"])
        .arg(demo.server(0, "config")));
    let added: serde_json::Value = serde_json::from_slice(&added.stdout).expect("an object");
    std::fs::write(&code, added["code"].as_str().expect("a code")).expect("written");
    let code = code.to_str().expect("UTF-8");
    let (carol, page) = (demo.scratch().join("carol"), demo.scratch().join("carol.txt"));
    let (folder, page) = (carol.to_str().expect("UTF-8"), page.to_str().expect("UTF-8"));
    let enrol = ["enrol", "carol@example.net", "--code-file", code, "--recovery-kit", page];
    anew(&[&["--dir", folder], &enrol[..]].concat(), 0);
    let text = std::fs::read_to_string(page).expect("written");
    assert!(text.contains("Address   carol@example.net"), "{text}");
    let kit_of_carol = anew(&["--dir", folder, "recovery", "show"], 0);
    assert!(kit_of_carol["kit"].as_str().is_some_and(|kit| text.contains(kit)), "{kit_of_carol}");

    let revoked = anew(&["recovery", "revoke"], 0);
    assert_eq!(revoked["kit"], serde_json::Value::Null);
    let closed = anew(&["recovery", "use", "--kit-file", &kit], 1);
    assert!(closed["error"].to_string().contains("revoked or replaced"), "{closed}");
}
