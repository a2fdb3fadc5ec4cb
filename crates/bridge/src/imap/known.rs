//! Mailboxes as LIST tells them, so that it can be told which came and went while there was no connection (RFC 5465 §5.4,
//! §5.5).

use super::wire::{end_of_list, end_of_value};
use sealpost_proto::imap::{Body, List, ListReturn};
use std::collections::BTreeMap;

/// Most octets of responses that are remembered: more than 10,000 mailboxes.
const OCTETS_MAX: usize = 2 * 1024 * 1024;

/// Asks for all of them.
pub(super) fn list() -> Body {
    Body::List(List {
        patterns: vec!["*".into()],
        returns: vec![ListReturn::Subscribed],
        extended: true,
        ..List::default()
    })
}

/// Mailboxes by their names, as written, with the response that told of each last.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    mailboxes: BTreeMap<Vec<u8>, Vec<u8>>,
    octets: usize,
    /// There are more than are remembered.
    more: bool,
}

impl Known {
    /// Takes note of a response; whether it is one of LIST.
    pub(super) fn hear(&mut self, line: &[u8]) -> bool {
        let Some((_, name)) = split(line) else { return false };
        let before = self.mailboxes.get(name).map_or(0, Vec::len);
        let octets = self.octets - before + line.len();
        if octets > OCTETS_MAX {
            self.more = true;
        } else {
            self.octets = octets;
            self.mailboxes.insert(name.to_vec(), line.to_vec());
        }
        true
    }

    pub(super) fn is_whole(&self) -> bool {
        !self.more
    }

    /// What is to be told of them as they are `now`.
    pub(super) fn changes(&self, now: &Self) -> Vec<Vec<u8>> {
        let gone = self.mailboxes.iter().filter(|(name, line)| {
            // Of one that went before, that was told.
            !now.mailboxes.contains_key(*name) && !is_gone(line)
        });
        let gone = gone.filter_map(|(_, line)| {
            let (behind, _) = split(line)?;
            // What else was told of it (its old name) is over.
            Some([b"* LIST (\\NonExistent) ", behind, b"\r\n"].concat())
        });
        let changed = now.mailboxes.iter().filter(|(name, line)| self.mailboxes.get(*name) != Some(*line));
        gone.chain(changed.map(|(_, line)| line.clone())).collect()
    }
}

fn is_gone(line: &[u8]) -> bool {
    line.to_ascii_uppercase().windows(12).any(|octets| octets == b"\\NONEXISTENT")
}

/// Delimiter and name together, and the name, of a LIST response.
fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    const START: usize = b"* LIST ".len();
    line.get(..START).filter(|start| start.eq_ignore_ascii_case(b"* LIST "))?;
    let rest = line[START..].strip_suffix(b"\r\n")?;
    let behind = rest.get(end_of_list(rest, 0)?..)?.strip_prefix(b" ")?;
    let start = end_of_value(behind, 0)? + 1;
    let end = end_of_value(behind, start)?;
    let name = behind.get(start..end).filter(|name| !name.is_empty())?;
    Some((&behind[..end], name))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn known(lines: &[&str]) -> Known {
        let mut known = Known::default();
        for line in lines {
            assert!(known.hear(format!("{line}\r\n").as_bytes()), "{line}");
        }
        known
    }

    #[test]
    fn what_came_and_went_is_told() {
        let before = known(&[
            "* LIST () \"/\" INBOX",
            "* LIST (\\Subscribed) \"/\" Same",
            "* LIST (\\Subscribed) \"/\" \"Left off\"",
            "* LIST () \"/\" New (\"OLDNAME\" (\"Old\"))",
            "* LIST () NIL {4}\r\na\"b)",
            "* LIST (\\NonExistent) \"/\" Before",
        ]);
        let now = known(&[
            "* LIST () \"/\" INBOX",
            "* LIST (\\Subscribed) \"/\" Same",
            "* LIST () \"/\" \"Left off\"",
            "* LIST () \"/\" Come",
        ]);
        let told: Vec<String> =
            before.changes(&now).into_iter().map(|line| String::from_utf8(line).unwrap()).collect();
        assert_eq!(
            told,
            [
                "* LIST (\\NonExistent) \"/\" New\r\n",
                "* LIST (\\NonExistent) NIL {4}\r\na\"b)\r\n",
                "* LIST () \"/\" \"Left off\"\r\n",
                "* LIST () \"/\" Come\r\n",
            ]
        );
        assert!(now.changes(&now).is_empty());
        for other in ["* LIST", "* LIST ()", "* LIST () \"/\"", "* LSUB () \"/\" x", "a OK x"] {
            assert!(!Known::default().hear(format!("{other}\r\n").as_bytes()), "{other}");
        }
    }

    #[test]
    fn one_more_than_are_remembered() {
        let mut all = Known::default();
        let line = |n: usize| format!("* LIST () \"/\" m{n:05}\r\n");
        let most = OCTETS_MAX / line(0).len();
        for n in 0..=most {
            assert!(all.is_whole(), "{n}");
            // What is told twice is remembered once.
            all.hear(line(n).as_bytes());
            all.hear(line(n).as_bytes());
        }
        assert!(!all.is_whole());
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\* LIST [A-Z \\[\\](){}\"\\\\0-9+]{0,40}\r\n") {
            let mut known = Known::default();
            known.hear(text.as_bytes());
            let _ = known.changes(&Known::default());
        }
    }
}
