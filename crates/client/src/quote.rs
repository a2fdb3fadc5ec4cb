//! What a person finds in the editor under a reply or a forward: the other's words, marked as such.

use crate::open::Content;
use std::fmt::Write as _;

/// Widest quoted line, in characters: readers show 78 without breaking them again (RFC 5322 §2.1.1).
pub const COLUMNS: usize = 76;

/// The line above a signature, which nobody needs to read twice (RFC 3676 §4.3).
const SIGNATURE: &str = "-- ";

/// The text for a reply: who wrote when, then the text quoted. Empty where there is no text.
pub fn reply(content: &Content) -> String {
    let quoted = quoted(&content.text);
    if quoted.is_empty() {
        return quoted;
    }
    let wrote = match content.date.as_str() {
        "" => format!("{} wrote:", content.from),
        date => format!("On {date}, {} wrote:", content.from),
    };
    format!("{}\n{quoted}", wrapped(&wrote, COLUMNS))
}

/// The text for a forward: what stood above it, then the text as it is.
pub fn forward(content: &Content) -> String {
    let mut out = String::from("---------- Forwarded message ----------\n");
    let (to, cc) = (content.to.join(", "), content.cc.join(", "));
    for (name, value) in [
        ("From", content.from.as_str()),
        ("Date", &content.date),
        ("Subject", &content.subject),
        ("To", &to),
        ("Cc", &cc),
    ] {
        if !value.is_empty() {
            // Writing to a string does not fail.
            let _ = writeln!(out, "{name}: {value}");
        }
    }
    out.push('\n');
    out.push_str(content.text.trim_end());
    out.push('\n');
    out
}

/// The text with a mark before each line, long lines broken; without the signature and empty lines at the end.
pub fn quoted(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let signature = lines.iter().rposition(|line| *line == SIGNATURE).filter(|at| *at > 0);
    let lines = &lines[..signature.unwrap_or(lines.len())];
    let end = lines.iter().rposition(|line| !line.trim().is_empty()).map_or(0, |last| last + 1);
    let mut out = String::with_capacity(text.len() + 2 * end);
    for line in &lines[..end] {
        out.push_str(match line {
            line if line.is_empty() || line.starts_with('>') => ">",
            _ => "> ",
        });
        out.push_str(line);
        out.push('\n');
    }
    wrapped(&out, COLUMNS)
}

/// The text with lines over `columns` characters broken at white space, each piece behind the quote marks of its line.
/// Words that are longer stay whole: most are addresses on the web.
pub fn wrapped(text: &str, columns: usize) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        if line.chars().nth(columns).is_none() {
            out.push_str(line);
        } else {
            wrap(&mut out, line, columns);
        }
        out.push_str(end);
    }
    out
}

fn wrap(out: &mut String, line: &str, columns: usize) {
    let marks = line.find(|c| c != '>' && c != ' ').unwrap_or(line.len());
    let marks = line[..marks].rfind('>').map_or(0, |last| last + 1);
    let (marks, rest) = line.split_at(marks);
    let space = if marks.is_empty() { "" } else { " " };
    // Where the text is indented, its first line stays so.
    let rest = if marks.is_empty() { rest } else { rest.strip_prefix(' ').unwrap_or(rest) };
    let indent = rest.len() - rest.trim_start().len();
    let first = marks.chars().count() + space.len();
    let mut column = first + rest[..indent].chars().count();
    out.push_str(marks);
    out.push_str(space);
    out.push_str(&rest[..indent]);
    let mut begins = true;
    for word in rest[indent..].split_whitespace() {
        let width = word.chars().count();
        if !begins && column + 1 + width > columns {
            out.push('\n');
            out.push_str(marks);
            out.push_str(space);
            column = first;
            begins = true;
        }
        if !begins {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
        begins = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_marked() {
        for (text, want) in [
            ("", ""),
            ("\n \n", ""),
            ("one\n\ntwo\n\n", "> one\n>\n> two\n"),
            ("> one\n>> two\nthree", ">> one\n>>> two\n> three\n"),
            ("text\n-- \nAlice\nTel. 1\n", "> text\n"),
            ("-- \nall of it\n", "> -- \n> all of it\n"),
            ("a\n-- \nb\n-- \nc\n", "> a\n> -- \n> b\n"),
            ("  code\n", ">   code\n"),
        ] {
            assert_eq!(quoted(text), want, "{text:?}");
        }
    }

    #[test]
    fn long_lines_are_broken_behind_their_marks() {
        for (text, want) in [
            ("aaa bbb ccc\n", "aaa bbb\nccc\n"),
            ("aaa bbb", "aaa bbb"),
            ("> aaa bb ccc\n", "> aaa bb\n> ccc\n"),
            (">> a aa aaa", ">> a aa\n>> aaa"),
            ("> > aa aa aa", "> > aa\n> > aa\n> > aa"),
            ("https://x.example/y z", "https://x.example/y\nz"),
            ("  aaaa bbbbb", "  aaaa\nbbbbb"),
            ("ü ü ü ü ü ü", "ü ü ü ü\nü ü"),
            (">>>>>>>>>>>>", ">>>>>>>>>>>> "),
        ] {
            assert_eq!(wrapped(text, 8), want, "{text:?}");
        }
        let at_most = "x ".repeat(COLUMNS / 2);
        assert_eq!(wrapped(&at_most, COLUMNS), at_most);
        assert_eq!(wrapped(&format!("{at_most}y"), COLUMNS).lines().count(), 2);
    }

    #[test]
    fn replies_and_forwards_say_whose_words_they_are() {
        let mut content = Content {
            from: "Bob <bob@example.com>".into(),
            to: vec!["alice@example.net".into(), "carol@example.net".into()],
            date: "Mon, 23 Nov 2026 21:36:00 +0000".into(),
            subject: "Picnic".into(),
            text: "When?\n\nBob\n".into(),
            ..Content::default()
        };
        assert_eq!(
            reply(&content),
            "On Mon, 23 Nov 2026 21:36:00 +0000, Bob <bob@example.com> wrote:\n> When?\n>\n> Bob\n"
        );
        assert_eq!(
            forward(&content),
            "---------- Forwarded message ----------\nFrom: Bob <bob@example.com>\n\
             Date: Mon, 23 Nov 2026 21:36:00 +0000\nSubject: Picnic\nTo: alice@example.net, carol@example.net\n\n\
             When?\n\nBob\n"
        );
        content.text.clear();
        content.date.clear();
        assert_eq!(reply(&content), "");
        content.text = "x".into();
        assert_eq!(reply(&content), "Bob <bob@example.com> wrote:\n> x\n");
    }

    proptest! {
        #[test]
        fn nothing_stands_without_a_mark(text in "(\\PC|[ >\n]|-- |a{1,30} ){0,120}") {
            let quoted = quoted(&text);
            for line in quoted.lines() {
                prop_assert!(line.starts_with('>'), "{line:?}");
                let marks = line.len() - line.trim_start_matches(['>', ' ']).len();
                let one_word = line[marks..].split_whitespace().count() <= 1;
                prop_assert!(line.chars().count() <= COLUMNS || one_word, "{line:?}");
            }
        }

        #[test]
        fn words_are_kept(text in "(\\PC|[ >\n]|a{1,30} ){0,120}", columns in 1_usize..90) {
            let words = |text: &str| {
                text.replace('>', " ").split_whitespace().map(str::to_owned).collect::<Vec<_>>()
            };
            prop_assert_eq!(words(&wrapped(&text, columns)), words(&text));
        }
    }
}
