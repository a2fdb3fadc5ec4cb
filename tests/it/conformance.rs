//! Keeps docs/protocol.md true: R01 to R29 each have code and a test that names the number, and what the table
//! points at exists.

use crate::tree::{files, root, text};
use std::collections::BTreeMap;

/// The draft's requirements as the profile numbers them.
const REQUIREMENTS: std::ops::RangeInclusive<u8> = 1..=29;

/// The words in backticks of one cell.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Rows `| R01 | section | code | tests |` of the table.
fn rows() -> BTreeMap<u8, (Vec<String>, Vec<String>)> {
    let mut rows = BTreeMap::new();
    let page = text("docs/protocol.md");
    let (_, table) =
        page.split_once("\n## Conformance\n").expect("docs/protocol.md has a section Conformance");
    for line in table.lines() {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let Some(number) = cells[0].strip_prefix('R').and_then(|n| n.parse::<u8>().ok()) else { continue };
        assert_eq!(cells.len(), 4, "a row has four cells: {line}");
        let owned = |cell| quoted(cell).into_iter().map(str::to_owned).collect::<Vec<_>>();
        let before = rows.insert(number, (owned(cells[2]), owned(cells[3])));
        assert!(before.is_none(), "R{number:02} has two rows");
    }
    rows
}

/// Whether the function `name` in `source` is a test that names the requirement, in its name or doc comment.
fn names(source: &str, name: &str, number: u8) -> bool {
    if name.starts_with(&format!("r{number:02}_")) || name.contains(&format!("_r{number:02}_")) {
        return true;
    }
    let Some(at) = source.find(&format!("fn {name}(")) else { return false };
    let above = source[..at].lines().rev().skip(usize::from(!source[..at].ends_with('\n')));
    above
        .take_while(|l| {
            let l = l.trim();
            l.starts_with("///") || l.starts_with("#[") || l.ends_with(")]")
        })
        .any(|l| l.contains(&format!("R{number:02}")))
}

#[test]
fn every_requirement_has_a_row_with_code_and_tests_that_exist() {
    let rows = rows();
    let mut wrong = Vec::new();
    for number in REQUIREMENTS {
        let Some((code, tests)) = rows.get(&number) else {
            wrong.push(format!("R{number:02} has no row"));
            continue;
        };
        for path in code {
            if !root().join(path).exists() {
                wrong.push(format!("R{number:02}: there is no {path}"));
            }
        }
        if code.is_empty() || tests.is_empty() {
            wrong.push(format!("R{number:02}: names no code or no test"));
        }
        for test in tests {
            let Some((path, name)) = test.split_once("::") else {
                wrong.push(format!("R{number:02}: write {test} as path::function"));
                continue;
            };
            let source = std::fs::read_to_string(root().join(path)).unwrap_or_default();
            if !source.contains(&format!("fn {name}(")) {
                wrong.push(format!("R{number:02}: there is no test {name} in {path}"));
            } else if !names(&source, name, number) {
                wrong.push(format!("R{number:02}: {name} in {path} does not name the number"));
            }
        }
    }
    assert!(rows.keys().all(|n| REQUIREMENTS.contains(n)), "a row for a number that is none");
    assert!(wrong.is_empty(), "docs/protocol.md:\n{}", wrong.join("\n"));
}

#[test]
fn every_requirement_is_named_by_a_test_function() {
    let sources: String =
        ["crates", "tests", "src"].iter().flat_map(|dir| files(dir, "rs")).map(text).collect();
    let missing: Vec<String> = REQUIREMENTS
        .filter(|n| !sources.contains(&format!("fn r{n:02}_")) && !sources.contains(&format!("_r{n:02}_")))
        .map(|n| format!("R{n:02}"))
        .collect();
    assert!(missing.is_empty(), "no test function names {}", missing.join(", "));
}
