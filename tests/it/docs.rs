//! Keeps the documents true where a program can tell: the table of RFCs and the links between the pages.

use crate::tree::{files, root, text};
use std::{collections::BTreeSet, path::Path};

#[test]
fn the_table_of_rfcs_points_at_files_that_exist() {
    let table = text("docs/rfc.tsv");
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some("section\ttitle\tstatus\tfile"));
    let mut sections = BTreeSet::new();
    for line in lines {
        let cells: Vec<&str> = line.split('\t').collect();
        let &[section, title, status, file] = cells.as_slice() else {
            panic!("a row has four cells: {line}")
        };
        assert!(section.starts_with("RFC ") && !title.is_empty(), "{line}");
        assert!(sections.insert((section, title)), "{section} {title} stands twice");
        match status {
            "yes" | "partial" => assert!(root().join(file).exists(), "{section}: there is no {file}"),
            "no" => assert!(file.is_empty() || root().join(file).exists(), "{section}: there is no {file}"),
            other => panic!("{section}: the status is yes, partial or no, not {other}"),
        }
    }
    assert!(!sections.is_empty());
}

#[test]
fn links_between_the_documents_lead_somewhere() {
    let top = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"].map(|name| root().join(name));
    let mut checked = 0;
    for page in top.into_iter().chain(files("docs", "md")) {
        let folder = page.parent().unwrap_or(Path::new("/")).to_owned();
        let text = text(&page);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains(':') || target.contains(char::is_whitespace) {
                continue;
            }
            assert!(folder.join(target).exists(), "{}: the link to {target} leads nowhere", page.display());
            checked += 1;
        }
    }
    assert!(checked > 10, "only {checked} links found");
}
