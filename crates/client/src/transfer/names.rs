//! From a folder of the source to a mailbox of the target: levels, special uses, selection.

use crate::imap::Folder;
use sealpost_proto::imap::{MailboxName, utf7};
use std::fmt::Write as _;

/// What a target makes of names; the home server and most others.
const DELIMITER: char = '/';
/// Longest level made, in octets; what is longer is cut.
const LEVEL_MAX: usize = 200;

/// Special uses, and what programs that know none call such a folder. Compared without regard to case.
const USES: [(&str, &[&str]); 5] = [
    ("\\Drafts", &["drafts", "draft", "entwürfe"]),
    ("\\Sent", &["sent", "sent items", "sent messages", "sent mail", "sent-mail", "gesendet"]),
    ("\\Archive", &["archive", "archives", "archiv"]),
    ("\\Junk", &["junk", "spam", "junk e-mail", "junk email", "junk mail", "bulk mail"]),
    ("\\Trash", &["trash", "deleted items", "deleted messages", "deleted", "bin", "papierkorb"]),
];

/// The special use of a folder: told by the server, else by its name.
pub(crate) fn special_use(attributes: &[String], levels: &[String]) -> Option<&'static str> {
    let told = USES.iter().find(|(use_, _)| attributes.iter().any(|a| a.eq_ignore_ascii_case(use_)));
    let [name] = levels else { return told.map(|(use_, _)| *use_) };
    let name = name.to_lowercase();
    let named = || USES.iter().find(|(_, names)| names.contains(&name.as_str()));
    told.or_else(named).map(|(use_, _)| *use_)
}

/// `--folder SOURCE[=TARGET]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderRule {
    /// Name at the source, levels by `/`, as the listing shows it; all below it is meant as well.
    pub source: String,
    /// Mailbox here.
    pub target: Option<String>,
}

impl FolderRule {
    /// `SOURCE[=TARGET]`; a source with `=` in its name cannot be given a target.
    pub fn parse(text: &str) -> Self {
        match text.split_once('=') {
            Some((source, target)) if !source.is_empty() && !target.is_empty() => {
                Self { source: source.to_owned(), target: Some(target.to_owned()) }
            }
            _ => Self { source: text.to_owned(), target: None },
        }
    }
    /// Whether it selects a folder.
    pub(crate) fn matches(&self, name: &str) -> bool {
        self.below(name).is_some()
    }
    /// What stands below `source` in `name`; empty for itself.
    fn below<'a>(&self, name: &'a str) -> Option<&'a str> {
        if self.source.eq_ignore_ascii_case(name) {
            return Some("");
        }
        name.strip_prefix(&self.source).filter(|rest| rest.starts_with(DELIMITER))
    }
}

/// The name of a folder as rules and listings have it; no levels are INBOX.
pub(crate) fn shown(levels: &[String]) -> String {
    if levels.is_empty() { "INBOX".to_owned() } else { levels.join("/") }
}

/// Which mailboxes of the target stand for what.
pub(crate) struct Mapping<'a> {
    pub rules: &'a [FolderRule],
    /// Mailbox into which everything goes.
    pub into: Option<&'a str>,
    /// The target's mailboxes.
    pub target: &'a [Folder],
}

impl Mapping<'_> {
    /// The mailbox for a folder; `None` where it was not selected.
    pub(crate) fn target_of(&self, levels: &[String], special: Option<&str>) -> Option<String> {
        let name = shown(levels);
        let rule = self.rules.iter().find_map(|rule| rule.below(&name).map(|below| (rule, below)));
        if rule.is_none() && !self.rules.is_empty() {
            return None;
        }
        if let Some((FolderRule { target: Some(target), .. }, below)) = rule {
            return Some(clean(&format!("{target}{below}")));
        }
        let inbox = name.eq_ignore_ascii_case("INBOX");
        if let Some(into) = self.into {
            return Some(clean(&if inbox { into.to_owned() } else { format!("{into}/{name}") }));
        }
        let special = special.and_then(|special| self.target.iter().find(|folder| folder.has(special)));
        match special {
            Some(folder) if !inbox => Some(folder.name.clone()),
            _ => Some(clean(&name)),
        }
    }
}

/// A name that every server makes: no empty level, no control character, no wildcard, none too long.
pub(crate) fn clean(name: &str) -> String {
    let level = |level: &str| {
        let level: String = level
            .chars()
            .map(|c| match c {
                '%' | '*' | '\u{2028}' | '\u{2029}' => '_',
                DELIMITER => '-',
                c if c.is_control() => '_',
                c => c,
            })
            .collect();
        let mut end = level.len().min(LEVEL_MAX);
        while !level.is_char_boundary(end) {
            end -= 1;
        }
        level[..end].to_owned()
    };
    let levels: Vec<String> = name.split(DELIMITER).filter(|l| !l.is_empty()).map(level).collect();
    match MailboxName::new(levels.join("/")) {
        Some(name) if name.is_creatable() => name.as_str().to_owned(),
        // Too deep to be named in full.
        _ => levels.last().filter(|l| !l.is_empty()).cloned().unwrap_or_else(|| "Imported".to_owned()),
    }
}

/// A level in modified UTF-7, as Maildir++ and Dovecot have it; as it stands where it is none.
pub(crate) fn from_utf7(level: &str) -> String {
    unescape(&utf7::decode(level).unwrap_or_else(|| level.to_owned()))
}

/// Inverse of [`from_utf7`] but for escapes.
pub(crate) fn to_utf7(level: &str) -> String {
    utf7::encode(level)
}

/// Writes `%` and these characters as `%XX`, so that a level can be the name of a file.
pub(crate) fn escape(level: &str, special: &[char]) -> String {
    let mut out = String::with_capacity(level.len());
    for c in level.chars() {
        if c == '%' || (c.is_ascii() && special.contains(&c)) {
            let _ = write!(out, "%{:02X}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// Inverse of [`escape`]. What is no escape stays as it is.
pub(crate) fn unescape(level: &str) -> String {
    let mut out = String::with_capacity(level.len());
    let mut rest = level;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let code = code.filter(|code| (0x20..0x7f).contains(code));
        out.push(code.map_or('%', char::from));
        rest = &rest[at + if code.is_some() { 3 } else { 1 }..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn levels(name: &str) -> Vec<String> {
        name.split('/').filter(|l| !l.is_empty()).map(str::to_owned).collect()
    }

    fn target() -> Vec<Folder> {
        [("INBOX", ""), ("Sent", "\\Sent"), ("Papierkorb", "\\Trash")]
            .map(|(name, attribute)| Folder {
                name: name.into(),
                attributes: vec![attribute.into()],
                delimiter: Some('/'),
            })
            .to_vec()
    }

    #[test]
    fn folders_go_where_they_belong() {
        let target = target();
        let rule = |text| FolderRule::parse(text);
        for (rules, into, source, expected) in [
            (vec![], None, "", Some("INBOX")),
            (vec![], None, "inbox", Some("INBOX")),
            (vec![], None, "Work/2024", Some("Work/2024")),
            (vec![], None, "Sent Items", Some("Sent")),
            (vec![], None, "Deleted Messages", Some("Papierkorb")),
            (vec![], None, "Work/Sent Items", Some("Work/Sent Items")),
            // The target has no mailbox for junk.
            (vec![], None, "Spam", Some("Spam")),
            (vec![], None, "a*b%zz", Some("a_b_zz")),
            (vec![], Some("Old"), "", Some("Old")),
            (vec![], Some("Old"), "Sent Items", Some("Old/Sent Items")),
            (vec![rule("Work")], None, "Work/2024", Some("Work/2024")),
            (vec![rule("Work")], None, "Workshop", None),
            (vec![rule("Work=Archive/Work")], None, "Work/2024", Some("Archive/Work/2024")),
            (vec![rule("INBOX=Old")], None, "", Some("Old")),
            (vec![rule("Sent")], None, "Sent", Some("Sent")),
            (vec![rule("a=")], None, "a=", Some("a=")),
        ] {
            let mapping = Mapping { rules: &rules, into, target: &target };
            let levels = levels(source);
            let got = mapping.target_of(&levels, special_use(&[], &levels));
            assert_eq!(got.as_deref(), expected, "{source} {rules:?}");
        }
        let told = special_use(&["\\HasNoChildren".into(), "\\sent".into()], &levels("Envoyés/tous"));
        assert_eq!(told, Some("\\Sent"));
    }

    proptest! {
        #[test]
        fn every_name_can_be_made(name in ".{0,300}") {
            let name = clean(&name);
            prop_assert!(MailboxName::new(name.as_str()).is_some_and(|n| n.is_creatable()), "{}", name);
        }
        #[test]
        fn escapes_are_undone(level in "[ -~ü]{0,20}") {
            prop_assert_eq!(unescape(&escape(&level, &['.', '/'])), level);
        }
    }
}
