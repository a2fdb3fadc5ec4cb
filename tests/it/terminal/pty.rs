//! On a pseudo-terminal: the pager, and what is asked.

use super::import;
use crate::{
    support::{Demo, python, run_with, stdout},
    tree::root,
};
use serde_json::{Value, json};
use std::process::Command;

/// A program on a terminal of 24 lines, and what is answered to what it prints: its status, and all that it printed.
pub fn on_terminal(command: &Command, env: &[(&str, &str)], talk: &[(&str, &str)]) -> (i64, String) {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<&str> = words.map(|word| word.to_str().expect("UTF-8")).collect();
    let mut variables: Vec<(&str, &str)> = vec![("TERM", "xterm"), ("NO_COLOR", "1"), ("SEALPOST_DIR", "")];
    variables.extend(env);
    let env: serde_json::Map<String, Value> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    let job = json!({ "args": words, "env": env, "talk": talk, "rows": 24, "columns": 60 });
    let output = run_with(
        python().arg(root().join("tests/it/terminal/on_terminal.py")),
        job.to_string().as_bytes(),
        0,
    );
    let done: Value = serde_json::from_str(&stdout(&output)).expect("an object");
    (done["status"].as_i64().expect("a number"), done["output"].as_str().expect("text").to_owned())
}

/// A message of so many lines.
fn long(lines: usize) -> Vec<u8> {
    let lines: Vec<String> = (1..=lines).map(|n| format!("line {n} of many\r\n")).collect();
    let text = lines.concat();
    format!("From: a@example.org\r\nSubject: long\r\n\r\n{text}").into_bytes()
}

#[test]
fn long_output_is_paged_on_terminals_alone() {
    let demo = Demo::start(&["--no-limits"]);
    let words = "word ".repeat(30);
    let wide = format!("From: a@example.org\r\nSubject: wide\r\n\r\n{words}\r\n");
    import(&demo, 0, &[&long(100), &long(3), wide.as_bytes()]);
    let read = |uid: &str| {
        let mut command = demo.client(0);
        command.args(["read", uid]);
        command
    };
    // `less` holds what is longer than the screen, and lets go when asked to.
    let (status, shown) = on_terminal(&read("1"), &[("PAGER", "less")], &[("line 10 of many", "q")]);
    assert_eq!(status, 0, "{shown}");
    assert!(shown.contains("plain: ") && !shown.contains("line 99 of many"), "{shown}");
    // Ctrl-C is for `less`, which rings and goes on; it is not left alone with the shell.
    // Whether it prints the prompt once more depends on whether it was reading already, and what is typed before it does
    // is lost.
    let talk = [("\n:", "\x03"), ("\x07", ""), ("", "G"), ("line 100 of many", "q")];
    let (status, shown) = on_terminal(&read("1"), &[("PAGER", "less")], &talk);
    assert_eq!(status, 0, "{shown}");
    // What fits is shown, and nobody has to press a key.
    let (status, shown) = on_terminal(&read("2"), &[("PAGER", "less")], &[]);
    assert_eq!(status, 0);
    assert!(shown.contains("line 3 of many"), "{shown}");
    // Lines are broken at words.
    let (_, shown) = on_terminal(&read("3"), &[("PAGER", "")], &[]);
    let lines: Vec<&str> = shown.lines().filter(|line| line.starts_with("word ")).collect();
    assert!(lines.len() == 3 && lines.iter().all(|line| line.trim_end().len() <= 60), "{shown}");
    // The person's own pager, with its options; one that is not there; none.
    let (status, shown) = on_terminal(&read("1"), &[("PAGER", "sed -e 's/^/PAGED /'")], &[]);
    assert_eq!(status, 0);
    assert!(shown.contains("PAGED line 100 of many"), "{shown}");
    let (_, shown) = on_terminal(&read("1"), &[("PAGER", "cat")], &[]);
    assert!(shown.contains("\nline 100 of many"), "{shown}");
    // One who reads the beginning has seen enough.
    let (status, _) = on_terminal(&read("1"), &[("PAGER", "head -n 1")], &[]);
    assert_eq!(status, 0);
    // The verdict is the status, whatever the pager says of itself.
    let (status, _) = on_terminal(&read("1"), &[("PAGER", "cat >/dev/null; false")], &[]);
    assert_eq!(status, 0);
    // Never in a pipe, never with --json.
    let output = run_with(read("1").env("PAGER", "sed -e 's/^/PAGED /'"), b"", 0);
    assert!(!stdout(&output).contains("PAGED"), "{}", stdout(&output));
    let mut command = demo.client(0);
    command.args(["read", "1", "--json"]);
    let (status, shown) = on_terminal(&command, &[("PAGER", "sed -e 's/^/PAGED /'")], &[]);
    assert_eq!(status, 0);
    assert!(!shown.contains("PAGED"), "{shown}");
}

#[test]
fn what_a_contact_says_is_asked_for_until_it_can_be_compared() {
    let demo = Demo::start(&[]);
    let sent = demo.json(0, &["send", "--to", "bob@example.com", "--subject", "x", "/dev/null"]);
    assert_eq!(sent.0, 0, "{}", sent.1);
    let words =
        |who: usize| demo.json(who, &["key", "show"]).1["words"].as_str().expect("words").to_owned() + "\n";
    let (own, bobs) = (words(0), words(1));
    let mut command = demo.client(0);
    command.args(["contact", "compare", "bob@example.com"]);
    let ask = "What you hear or scan";
    let (status, said) =
        on_terminal(&command, &[], &[(ask, "one two three\n"), ("twelve words", ""), (ask, &bobs)]);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("The same: this is the key known here"), "{said}");
    let (status, said) = on_terminal(&command, &[], &[(ask, &own)]);
    assert_eq!(status, 4, "{said}");
    // Left alone.
    let (status, said) = on_terminal(&command, &[], &[(ask, "\n")]);
    assert_eq!(status, 0, "{said}");
    assert!(!said.contains("The same"), "{said}");
}

#[test]
fn a_recovery_kit_is_shown_on_the_terminal_and_nowhere_else() {
    let demo = Demo::start(&[]);
    let mut command = demo.client(0);
    command.args(["recovery", "make"]);
    let (status, said) = on_terminal(&command, &[], &[]);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("in force") && said.contains('▀'), "{said}");
    let (_, kit) = demo.json(0, &["recovery", "show"]);
    let fingerprint = kit["kit"].as_str().expect("a fingerprint");
    assert!(said.contains(fingerprint), "{fingerprint} in {said}");
}
