//! Keeps docs/security.md true: every row of the protocol that refuses something has a test, every test that is named
//! exists and runs, and what the page says that users see is what the program says.

use crate::tree::{files, root, text};
use sealpost_client::open::Verdict;
use std::collections::BTreeSet;

const PAGE: &str = "docs/security.md";

/// The part of a page under a heading, up to the next one of the same depth or above.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("\n{heading}")).unwrap_or_else(|| panic!("no {heading}"));
    let depth = heading.chars().take_while(|c| *c == '#').count();
    let end = (1..=depth).filter_map(|n| rest.find(&format!("\n{} ", "#".repeat(n)))).min();
    &rest[..end.unwrap_or(rest.len())]
}

/// The rows of the table that begins with these words, by their cells.
fn rows<'a>(section: &'a str, header: &str) -> Vec<Vec<&'a str>> {
    let begin = section.find(header).unwrap_or_else(|| panic!("no table {header}"));
    let lines = section[begin..].lines().skip(2).take_while(|line| line.starts_with('|'));
    lines.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

/// Text in one line, with single spaces.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The tests that a cell names.
fn named(cell: &str) -> Vec<(&str, &str)> {
    cell.split('`').skip(1).step_by(2).filter_map(|words| words.split_once(".rs::")).collect()
}

/// Whether this is a test, and one that runs.
fn runs(source: &str, name: &str) -> bool {
    let Some(at) = source.find(&format!("fn {name}(")) else { return false };
    // The line of the function itself is not whole where something stands before `fn`.
    let begun = usize::from(!source[..at].ends_with('\n'));
    let above: Vec<&str> = source[..at].lines().rev().skip(begun).take(12).map(str::trim).collect();
    let above =
        above.into_iter().take_while(|l| l.starts_with("#[") || l.starts_with("//") || l.ends_with(")]"));
    let attributes: Vec<&str> = above.filter(|l| l.starts_with("#[")).collect();
    let is_test = |l: &&str| l.starts_with("#[test]") || l.starts_with("#[tokio::test");
    attributes.iter().any(is_test) && !attributes.iter().any(|l| l.contains("ignore"))
}

#[test]
fn every_test_that_the_page_names_exists_and_runs() {
    let page = text(PAGE);
    let mut wrong = BTreeSet::new();
    let mut count = 0;
    for (path, name) in page.lines().flat_map(named) {
        let source = std::fs::read_to_string(root().join(format!("{path}.rs"))).unwrap_or_default();
        count += 1;
        if !runs(&source, name) {
            wrong.insert(format!("{path}.rs::{name}"));
        }
    }
    assert!(wrong.is_empty(), "{PAGE} names what is no test, or one that does not run: {wrong:#?}");
    assert!(count > 100, "only {count} names found");
    for line in page.lines().filter(|l| l.starts_with("| ") && !l.starts_with("| the ") && l.contains('/')) {
        let cells: Vec<&str> = line.split(" | ").collect();
        assert!(cells.last().is_some_and(|cell| !named(cell).is_empty()), "no test: {line}");
    }
    for row in rows(&page, "| attack |") {
        assert!(row.len() == 4 && !named(row[3]).is_empty(), "an attack without a test: {row:?}");
    }
}

#[test]
fn every_row_of_sending_and_every_verdict_has_a_test() {
    let (page, protocol) = (text(PAGE), text("docs/protocol.md"));
    let key = |row: &Vec<&str>| (flat(row[0]), flat(row[1]));
    let there: Vec<_> = rows(section(&protocol, "## 7."), "| seen before |").iter().map(key).collect();
    let here = rows(section(&page, "### Sending"), "| seen before |");
    assert_eq!(here.iter().map(key).collect::<Vec<_>>(), there);
    assert!(there.len() == 9 && here.iter().all(|row| !named(row[2]).is_empty()));

    let verdicts = |page: &str, header| -> Vec<String> {
        rows(page, header).iter().map(|row| row[0].to_owned()).collect()
    };
    let there = verdicts(section(&protocol, "### On reading"), "| verdict |");
    assert_eq!(verdicts(section(&page, "### Verdicts"), "| verdict |"), there);
    let known = [
        Verdict::CannotBeOpened,
        Verdict::SignatureBad,
        Verdict::SealedButNotSigned,
        Verdict::NotTheSendersKey,
        Verdict::RetiredKey,
        Verdict::WrappedByAnother,
        Verdict::NotWrittenToYou,
        Verdict::Replay,
        Verdict::SenderNotYetConfirmed,
        Verdict::GoodAltered,
        Verdict::Good,
        Verdict::PlainThoughSigns,
        Verdict::Plain,
    ];
    assert_eq!(there, known.map(Verdict::name), "the program's own names");
}

/// Words with which the protocol refuses, stops, or fails something.
const REFUSALS: [&str; 14] = [
    "refuse",
    "stops",
    "invalid",
    "failed look-up",
    "attack",
    "unauthenticated",
    "does not rotate",
    "554",
    "501",
    "552",
    "530",
    "never goes back",
    "unsigned change",
    "only where",
];

#[test]
fn every_refusal_of_sections_8_and_9_has_a_test() {
    let (page, protocol) = (text(PAGE), text("docs/protocol.md"));
    let mut wrong = Vec::new();
    for (heading, table) in [("## 8.", "### Where keys come from"), ("## 9.", "### Rotation, devices")] {
        let there = flat(section(&protocol, heading));
        let quoted: Vec<String> =
            rows(section(&page, table), "| the protocol's words |").iter().map(|row| flat(row[0])).collect();
        wrong
            .extend(quoted.iter().filter(|q| !there.contains(*q)).map(|q| format!("not in §{heading}: {q}")));
        let places: Vec<_> =
            quoted.iter().filter_map(|q| there.find(q).map(|begin| begin..begin + q.len())).collect();
        let mut begin = 0;
        // Clause by clause; a quotation may begin in one and end in the next.
        for clause in there.split_inclusive(". ").flat_map(|sentence| sentence.split_inclusive("; ")) {
            let end = begin + clause.len();
            let refuses = REFUSALS.iter().any(|word| clause.contains(word));
            if refuses && !places.iter().any(|place| place.start < end && begin < place.end) {
                wrong.push(format!("§{heading} refuses something without a row: {clause}"));
            }
            begin = end;
        }
    }
    assert!(wrong.is_empty(), "{PAGE}:\n{}", wrong.join("\n"));
}

/// The sources' strings as they come out: a backslash at the end of a line takes the indentation with it.
fn sources() -> String {
    let all = ["src", "crates/client/src", "crates/lookup/src", "crates/proto/src", "crates/crypto/src"];
    let mut whole = String::new();
    for source in all.iter().flat_map(|dir| files(dir, "rs")).map(text) {
        for line in source.lines() {
            let line = line.trim();
            let Some(start) = line.strip_suffix('\\') else {
                whole.push_str(line);
                whole.push('\n');
                continue;
            };
            whole.push_str(start);
        }
    }
    whole
}

#[test]
fn what_users_are_said_to_see_is_what_the_program_says() {
    let (page, sources) = (text(PAGE), sources());
    let mut count = 0;
    for row in rows(&page, "| attack |") {
        for words in row[2].split('“').skip(1).filter_map(|rest| rest.split('”').next()) {
            // An ellipsis stands for what differs.
            for piece in words.split('…').map(|piece| piece.trim_matches([' ', ',', '.'])) {
                assert!(sources.contains(piece), "{PAGE}: no program says {piece:?} ({words})");
            }
            count += 1;
        }
        for verdict in row[2].split('`').skip(1).step_by(2).filter(|word| !word.contains("--")) {
            assert!(sources.contains(&format!("\"{verdict}\"")), "{PAGE}: {verdict} is no verdict");
        }
    }
    assert!(count > 15, "only {count} sentences found");
}
