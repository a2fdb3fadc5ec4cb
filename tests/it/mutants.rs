//! Keeps mutants/ true between the runs of `scripts/mutants`: each requirement of the draft (R) and each promise of
//! mailboxes (M) has a patch, each patch still applies to the source, and the tests it names exist.

use crate::tree::{files, root};
use std::{collections::BTreeSet, fs};

/// Promises of IMAP and POP3 to those who keep mail here, numbered as their patches are.
const PROMISES: std::ops::RangeInclusive<u8> = 1..=15;

/// One file of one patch: its path, and what each hunk takes out and leaves.
struct Change {
    path: String,
    hunks: Vec<(String, String)>,
}

struct Mutant {
    name: String,
    /// The requirement that its first line names.
    of: String,
    tests: Vec<[String; 3]>,
    changes: Vec<Change>,
}

fn read(name: &str, text: &str) -> Mutant {
    let (head, diff) = text.split_once("\n\n").expect("an empty line before the patch");
    let (first, tests) = head.split_once('\n').unwrap_or((head, ""));
    let (of, what) = first.split_once(": ").expect("R07: what it takes out");
    assert!(!what.is_empty(), "{name} does not say what it takes out");
    let tests = tests
        .lines()
        .map(|line| {
            let words: Vec<String> =
                line.strip_prefix("test: ").expect("test: …").split(' ').map(str::to_owned).collect();
            words.try_into().unwrap_or_else(|_| panic!("{name}: write test: PACKAGE lib|it NAME"))
        })
        .collect();
    let mut changes: Vec<Change> = Vec::new();
    for line in diff.split_inclusive('\n') {
        if let Some(path) = line.strip_prefix("+++ b/") {
            changes.push(Change { path: path.trim_end().to_owned(), hunks: Vec::new() });
        } else if line.starts_with("@@ ") {
            changes.last_mut().expect("a file").hunks.push(Default::default());
        } else if let Some((old, new)) = changes.last_mut().and_then(|change| change.hunks.last_mut()) {
            match line.split_at(1) {
                (" ", rest) => {
                    old.push_str(rest);
                    new.push_str(rest);
                }
                ("-", rest) if !line.starts_with("--- a/") => old.push_str(rest),
                ("+", rest) => new.push_str(rest),
                _ => {}
            }
        }
    }
    Mutant { name: name.to_owned(), of: of.to_owned(), tests, changes }
}

fn mutants() -> Vec<Mutant> {
    files("mutants", "patch")
        .iter()
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy();
            read(&name, &fs::read_to_string(path).expect("readable"))
        })
        .collect()
}

#[test]
fn every_requirement_has_a_mutant() {
    let all: BTreeSet<String> = mutants().into_iter().map(|mutant| mutant.of).collect();
    let requirements = (1..=29).map(|n| format!("R{n:02}"));
    assert_eq!(all, requirements.chain(PROMISES.map(|n| format!("M{n:02}"))).collect());
}

#[test]
fn every_mutant_applies_and_changes_something() {
    for Mutant { name, of, changes, .. } in mutants() {
        assert!(name == of || name.starts_with(&format!("{of}-")), "{name} is about {of}");
        assert!(!changes.is_empty(), "{name} changes no file");
        for Change { path, hunks } in changes {
            assert!(
                path.contains("/src/") && !path.contains("tests"),
                "{name}: a mutant is of the source, not of {path}"
            );
            let source =
                fs::read_to_string(root().join(&path)).unwrap_or_else(|e| panic!("{name}: {path}: {e}"));
            assert!(!hunks.is_empty());
            for (old, new) in hunks {
                assert_ne!(old, new, "{name} changes nothing in {path}");
                assert_eq!(source.matches(&old).count(), 1, "{name}: {path} does not have once:\n{old}");
            }
        }
    }
}

/// Whether a test program has a test of this name.
fn exists(package: &str, target: &str, test: &str) -> bool {
    let folder = if target == "lib" { "src" } else { "tests" };
    let place = match package.strip_prefix("sealpost-") {
        Some(krate) => format!("crates/{krate}/{folder}"),
        None => folder.to_owned(),
    };
    let has = |path: &std::path::PathBuf| {
        fs::read_to_string(path).is_ok_and(|source| source.contains(&format!("fn {test}(")))
    };
    files(&place, "rs").iter().any(has)
}

/// As docs/protocol.md has it: the test is in the row of the requirement that the mutant takes out. Promises have no
/// rows.
#[test]
fn the_tests_of_every_mutant_exist_and_name_its_requirement() {
    let page = fs::read_to_string(root().join("docs/protocol.md")).expect("readable");
    let (_, table) = page.split_once("\n## Conformance\n").expect("a section Conformance");
    for Mutant { name, of, tests, .. } in mutants() {
        assert!(!tests.is_empty(), "{name} names no test");
        if of.starts_with('M') {
            for [package, target, test] in tests {
                assert!(exists(&package, &target, &test), "{name}: there is no {package} {target} {test}");
            }
            continue;
        }
        let row = table.lines().find(|line| line.starts_with(&format!("| {of} |"))).expect("a row");
        for [package, target, test] in tests {
            let krate = package.strip_prefix("sealpost-").unwrap_or_else(|| panic!("{name}: {package}"));
            assert!(matches!(target.as_str(), "lib" | "it"), "{name}: lib or it, not {target}");
            let folder = if target == "lib" { "src" } else { "tests" };
            let place = format!("`crates/{krate}/{folder}/");
            let named =
                row.split(' ').any(|word| word.starts_with(&place) && word.ends_with(&format!("::{test}`")));
            assert!(named, "{name}: the row of {of} in docs/protocol.md has no {place}…::{test}`");
        }
    }
}

#[test]
fn a_patch_is_read() {
    let text = "R07: salts\ntest: sealpost-store it r07_x\n\n--- a/crates/a/src/b.rs\n+++ b/crates/a/src/b.rs\n@@ -1,2 +1,2 @@\n one\n-two\n+three\n--- a/crates/c/src/d.rs\n+++ b/crates/c/src/d.rs\n@@ -1 +1 @@\n-x\n+y\n";
    let mutant = read("R07-salt", text);
    assert_eq!(mutant.tests, [["sealpost-store", "it", "r07_x"].map(str::to_owned)]);
    let [first, second] = mutant.changes.as_slice() else { panic!("two files") };
    assert_eq!(first.path, "crates/a/src/b.rs");
    assert_eq!(first.hunks, [("one\ntwo\n".to_owned(), "one\nthree\n".to_owned())]);
    assert_eq!(second.hunks, [("x\n".to_owned(), "y\n".to_owned())]);
}
