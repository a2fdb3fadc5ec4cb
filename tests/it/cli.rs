//! The command line as others see it: statuses, streams, refusals.

use crate::{
    support::{run, run_with, sealpost, stderr, stdout, succeed},
    tree::{files, root, text},
};
use serde_json::Value;
use std::{fs, process::Stdio};

#[test]
fn help_and_version_go_to_standard_output() {
    assert!(succeed(sealpost().arg("--version")).starts_with("sealpost 0."));
    let help = succeed(sealpost().arg("--help"));
    for word in ["demo", "enrol", "serve", "app-password", "Exit status", "NO_COLOR"] {
        assert!(help.contains(word), "--help does not speak of {word}");
    }
}

#[test]
fn statuses_tell_usage_from_failure() {
    let dir = tempfile::tempdir().expect("temp dir");
    let empty = dir.path().to_str().expect("UTF-8");
    for (args, status, said) in [
        (vec!["nonsense"], 2, "unrecognized"),
        (vec!["send", "--subject", "x"], 2, "--to"),
        (vec!["--dir", empty, "read", "zero"], 2, "no UID"),
        (vec!["--dir", empty, "key", "lookup", "nobody"], 2, "not a mail address"),
        (vec!["--dir", empty, "enrol", "nobody"], 2, "not a mail address"),
        (vec!["--dir", empty, "key", "show"], 1, "sealpost enrol"),
        (vec!["--dir", empty, "list"], 1, "sealpost enrol"),
        (vec!["--dir", empty, "contact", "list"], 1, "sealpost enrol"),
        (vec!["user", "list"], 2, "--config"),
        (vec!["demo", "--keep"], 2, "--dir"),
        (vec!["--dir", empty, "demo"], 2, "--keep"),
        (vec!["serve", "--config", "/nonexistent/sealpost.toml"], 1, "/nonexistent/sealpost.toml"),
    ] {
        let output = run(sealpost().args(&args));
        assert_eq!(output.status.code(), Some(status), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(said), "{args:?} said {:?}", stderr(&output));
        assert_eq!(stdout(&output), "", "{args:?}");
    }
}

#[test]
fn json_failures_are_one_object_on_standard_output() {
    let dir = tempfile::tempdir().expect("temp dir");
    let output = run(sealpost().arg("--dir").arg(dir.path()).args(["key", "show", "--json"]));
    let object: Value = serde_json::from_slice(&output.stdout).expect("one object");
    assert_eq!(object["exit"], 1);
    assert!(object["error"].as_str().is_some_and(|e| e.contains("sealpost enrol")));
    for args in [vec!["nonsense", "--json"], vec!["--json"], vec!["send", "--json", "--subject", "x"]] {
        let output = run(sealpost().args(&args));
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let object: Value = serde_json::from_slice(&output.stdout).expect("one object");
        assert_eq!(object["exit"], 2, "{args:?}");
        assert!(object["error"].as_str().is_some_and(|e| e.contains("Usage: sealpost")), "{object}");
    }
    let output = run(sealpost().args(["send", "--", "--json"]));
    assert_eq!((output.status.code(), stdout(&output)), (Some(2), String::new()));
}

#[test]
fn vectors_end_in_the_count_whatever_the_file_is() {
    let dir = tempfile::tempdir().expect("temp dir");
    let binary = dir.path().join("binary.json");
    fs::write(&binary, b"\xff\xfe").expect("written");
    for path in ["/nonexistent.json".as_ref(), binary.as_path(), dir.path()] {
        let output = run(sealpost().arg("vectors").arg(path));
        assert_eq!(output.status.code(), Some(1), "{}", path.display());
        assert_eq!(stdout(&output), "0 passed, 1 failed\n", "{}", path.display());
        assert!(stderr(&output).contains(&*path.display().to_string()), "{}", stderr(&output));
    }
}

#[test]
fn no_option_takes_a_secret() {
    for page in ["enrol", "login", "passwd", "key", "app-password", "send"] {
        let help = succeed(sealpost().args([page, "--help"]));
        for wrong in
            ["--password <", "--code <", "--token <", "--new-password <", "<PASSWORD>", "<CODE>", "<TOKEN>"]
        {
            assert!(!help.contains(wrong), "{page} takes {wrong} on the command line");
        }
    }
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let mut child = sealpost()
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("ran");
    assert_eq!(stderr(&output), "");
    assert!(matches!(output.status.code(), Some(0 | 141)), "{:?}", output.status);
}

#[test]
fn completions_and_manual_pages_cover_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = succeed(sealpost().args(["completions", shell]));
        assert!(script.contains("app-password"), "{shell}");
    }
    let dir = tempfile::tempdir().expect("temp dir");
    succeed(sealpost().arg("man").arg(dir.path()));
    for page in ["sealpost.1", "sealpost-send.1", "sealpost-key-rotate.1", "sealpost-app-password-add.1"] {
        let text = fs::read_to_string(dir.path().join(page)).unwrap_or_else(|e| panic!("{page}: {e}"));
        assert!(text.contains(".TH"), "{page}");
    }
}

#[test]
fn vectors_pass_and_every_kind_of_damage_fails() {
    let good = text("vectors/keys.json");
    let output = succeed(sealpost().args(["vectors", "vectors/keys.json"]).current_dir(root()));
    let last = output.lines().last().expect("a last line");
    assert!(last.ends_with(" passed, 0 failed") && !last.starts_with("0 "), "{last}");
    let dir = tempfile::tempdir().expect("temp dir");
    let file = dir.path().join("keys.json");
    let mut value: Value = serde_json::from_str(&good).expect("JSON");
    let is_cases = |v: &Value| v.as_array().is_some_and(|a| a.first().is_some_and(Value::is_object));
    let cases =
        value.as_object().expect("an object").iter().find(|(_, v)| is_cases(v)).expect("cases").0.clone();
    let mut unknown = value.clone();
    unknown[&cases][0]["surprise"] = 1.into();
    let mut empty = value.clone();
    empty[&cases] = Value::Array(Vec::new());
    let first = value[&cases][0].as_object_mut().expect("a case");
    let hex = first.values_mut().rfind(|v| v.as_str().is_some_and(|s| s.len() > 20)).expect("a long field");
    let changed = hex.as_str().expect("text").to_owned();
    let swapped = if changed.ends_with('0') { '1' } else { '0' };
    *hex = format!("{}{swapped}", &changed[..changed.len() - 1]).into();
    for (what, text) in [
        ("a changed field", value.to_string()),
        ("an unknown field", unknown.to_string()),
        ("an empty list", empty.to_string()),
        ("no list", "{}".to_owned()),
        ("no JSON", good[..good.len() / 2].to_owned()),
    ] {
        fs::write(&file, text).expect("written");
        let output = run(sealpost().arg("vectors").arg(&file));
        assert_eq!(output.status.code(), Some(1), "{what}: {}", stdout(&output));
        let last = stdout(&output).lines().last().unwrap_or_default().to_owned();
        assert!(last.contains(" passed, ") && !last.ends_with(" 0 failed"), "{what}: {last}");
    }
}

#[test]
fn a_wrong_configuration_is_named_with_line_and_column() {
    let dir = tempfile::tempdir().expect("temp dir");
    let file = dir.path().join("sealpost.toml");
    fs::write(&file, "hostname = \"mail.example.net\"\nnonsense = 1\n").expect("written");
    let output = run(sealpost().args(["serve", "--check", "--config"]).arg(&file));
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("line 2") && said.contains("column 1") && said.contains("nonsense"), "{said}");
}

#[test]
fn enrolment_without_a_place_for_the_passphrase_is_refused_before_it_begins() {
    let dir = tempfile::tempdir().expect("temp dir");
    let mut command = sealpost();
    command.arg("--dir").arg(dir.path().join("client")).args([
        "enrol",
        "alice@example.net",
        "--dns",
        "127.0.0.1:9",
    ]);
    let output = run_with(&mut command, b"some-code\n", 2);
    assert!(stderr(&output).contains("--password-file"), "{}", stderr(&output));
}

/// Commands in backticks or code blocks of the documents.
fn documented() -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    let mut pages = files("docs", "md");
    pages.extend(["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(|p| root().join(p)));
    for page in pages {
        let name = page.file_name().expect("a file").to_string_lossy().into_owned();
        for piece in text(&page).split(['`', '\n']) {
            let piece = piece.trim().trim_start_matches("$ ");
            // First lines of formats, not commands.
            if piece.ends_with(" v1") {
                continue;
            }
            let words =
                piece.strip_prefix("sealpost ").or_else(|| piece.strip_prefix("cargo run --release -- "));
            let Some(words) = words else { continue };
            let command: Vec<String> = words
                .split_whitespace()
                .skip_while(|w| w.starts_with('-'))
                .take_while(|w| w.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !w.starts_with('-'))
                .map(str::to_owned)
                .collect();
            if !command.is_empty() {
                found.push((format!("{name}: {piece}"), command));
            }
        }
    }
    found
}

#[test]
fn every_command_in_the_documents_exists() {
    let commands = documented();
    assert!(commands.len() > 20, "only {} commands found in the documents", commands.len());
    for (place, words) in commands {
        // An argument such as `last` or `bash` may follow the command itself.
        let known = (1..=words.len()).rev().any(|n| {
            let output = run(sealpost().args(&words[..n]).arg("--help"));
            output.status.success() && stdout(&output).contains(&format!("sealpost {}", words[..n].join(" ")))
        });
        assert!(known, "{place}: there is no such command");
    }
}
