//! A message in an editor: From, To, Cc, Bcc, Subject and files to attach as header lines on top, an empty line, the text.
//! Pure: no editor, no file.

use sealpost_proto::{
    address::Mailbox,
    message::{MailboxList, write},
};
use std::path::PathBuf;

/// Widest line of addresses.
const COLUMNS: usize = 76;
/// The fields, as they are written and in this order.
const FIELDS: [&str; 6] = ["From", "To", "Cc", "Bcc", "Subject", "Attach"];

/// A message as a person edits it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edited {
    /// From, where it is not the account's primary address.
    pub from: Option<Mailbox>,
    /// To.
    pub to: Vec<Mailbox>,
    /// Cc.
    pub cc: Vec<Mailbox>,
    /// Bcc.
    pub bcc: Vec<Mailbox>,
    /// Subject; without white space at its ends.
    pub subject: String,
    /// Files, as written.
    pub attachments: Vec<String>,
    /// Text.
    pub text: String,
}

/// Why an edited message is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// A line above the text that is no field.
    #[error("line {0} is no header line; leave an empty line between the header lines and the text")]
    NotAField(usize),
    /// A field that means nothing here.
    #[error("line {0}: there is no header line {1:?} here; From, To, Cc, Bcc, Subject and Attach are taken")]
    Unknown(usize, String),
    /// Several subjects.
    #[error("line {0}: there are two Subject lines; leave one")]
    TwoSubjects(usize),
    /// Several senders.
    #[error("line {0}: there are two addresses in From; leave one")]
    TwoSenders(usize),
    /// Not addresses.
    #[error(
        "line {0}: {1:?} has something that is no mail address; write addresses with commas between them"
    )]
    Address(usize, String),
    /// Control characters.
    #[error("line {0} holds control characters; remove them")]
    Control(usize),
}

impl Edited {
    /// As it stands in the editor.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        if let Some(from) = &self.from {
            addresses(&mut out, "From", std::slice::from_ref(from));
        }
        for (name, list) in [("To", &self.to), ("Cc", &self.cc), ("Bcc", &self.bcc)] {
            addresses(&mut out, name, list);
        }
        line(&mut out, "Subject", &self.subject);
        for file in &self.attachments {
            line(&mut out, "Attach", file);
        }
        out.push('\n');
        out.push_str(&self.text);
        out
    }

    /// Reads it back. Lines may end in CRLF.
    pub fn parse(text: &str) -> Result<Self, EditError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut edited = Self::default();
        let mut subject = None;
        let mut fields: Vec<(usize, &str, String)> = Vec::new();
        let mut rest = text;
        let mut number = 0;
        while !rest.is_empty() {
            number += 1;
            let (line, behind) = rest.split_once('\n').unwrap_or((rest, ""));
            let line = line.strip_suffix('\r').unwrap_or(line);
            rest = behind;
            if line.trim().is_empty() {
                break;
            }
            // A tab is white space here and nothing else.
            let line = line.replace('\t', " ");
            if !write::is_header_text(&line) {
                return Err(EditError::Control(number));
            }
            if line.starts_with(' ') {
                // What goes on belongs to the line before.
                let (_, _, value) = fields.last_mut().ok_or(EditError::NotAField(number))?;
                if !value.is_empty() {
                    value.push(' ');
                }
                value.push_str(line.trim());
                continue;
            }
            let (name, value) = line.split_once(':').ok_or(EditError::NotAField(number))?;
            let known = FIELDS.iter().find(|known| known.eq_ignore_ascii_case(name.trim_end()));
            let Some(known) = known else {
                // A sentence with a colon in it is text.
                let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
                return Err(if is_name {
                    EditError::Unknown(number, name.to_owned())
                } else {
                    EditError::NotAField(number)
                });
            };
            fields.push((number, known, value.trim().to_owned()));
        }
        edited.text = rest.replace("\r\n", "\n").replace('\r', "\n");
        let mut from = Vec::new();
        for (number, name, value) in fields {
            let list = match name {
                "From" => &mut from,
                "To" => &mut edited.to,
                "Cc" => &mut edited.cc,
                "Bcc" => &mut edited.bcc,
                "Subject" => {
                    if subject.replace(value).is_some() {
                        return Err(EditError::TwoSubjects(number));
                    }
                    continue;
                }
                _ => {
                    if !value.is_empty() {
                        edited.attachments.push(value);
                    }
                    continue;
                }
            };
            let read = MailboxList::parse(value.as_bytes());
            if read.faults > 0 {
                return Err(EditError::Address(number, value));
            }
            list.extend(read.mailboxes.into_iter().map(|named| named.mailbox));
            if from.len() > 1 {
                return Err(EditError::TwoSenders(number));
            }
        }
        edited.from = from.pop();
        edited.subject = subject.unwrap_or_default();
        Ok(edited)
    }

    /// Whether nothing was written: no text and no file.
    pub fn is_empty(&self) -> bool {
        self.text.trim().is_empty() && self.attachments.is_empty()
    }

    /// Whether a file's name can stand in a header line and be read back.
    pub fn takes_file(name: &str) -> bool {
        !name.is_empty() && name.trim() == name && write::is_header_text(name)
    }

    /// The files.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        self.attachments.iter().map(PathBuf::from)
    }
}

fn line(out: &mut String, name: &str, value: &str) {
    out.push_str(name);
    out.push_str(if value.is_empty() { ":" } else { ": " });
    out.push_str(value);
    out.push('\n');
}

fn addresses(out: &mut String, name: &str, list: &[Mailbox]) {
    out.push_str(name);
    out.push(':');
    let mut column = name.len() + 1;
    for (n, mailbox) in list.iter().enumerate() {
        let word = mailbox.to_string() + if n + 1 < list.len() { "," } else { "" };
        if n > 0 && column + 1 + word.len() > COLUMNS {
            out.push('\n');
            column = 0;
        }
        out.push(' ');
        out.push_str(&word);
        column += 1 + word.len();
    }
    out.push('\n');
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn boxes(text: &str) -> Vec<Mailbox> {
        text.split_whitespace().map(|a| Mailbox::parse(a).unwrap()).collect()
    }

    #[test]
    fn what_is_edited_is_read() {
        let empty = Edited::default().to_text();
        assert_eq!(empty, "To:\nCc:\nBcc:\nSubject:\n\n");
        assert_eq!(Edited::parse(&empty), Ok(Edited::default()));
        let text = "\u{feff}to: Bob <bob@x.org>, \"C, D\" <c@x.org>,\r\n e@x.org\r\nSUBJECT:  Hello: you \r\n\
                    Attach: /tmp/a b.pdf\r\nTo: f@x.org\r\nAttach:\r\n \t\r\nOne\r\n\r\nSubject: text\r\n";
        let want = Edited {
            to: boxes("bob@x.org c@x.org e@x.org f@x.org"),
            subject: "Hello: you".into(),
            attachments: vec!["/tmp/a b.pdf".into()],
            text: "One\n\nSubject: text\n".into(),
            ..Edited::default()
        };
        assert_eq!(Edited::parse(text), Ok(want));
        assert_eq!(Edited::parse("").unwrap(), Edited::default());
        let text = Edited { from: boxes("me+list@x.org").pop(), ..Edited::default() }.to_text();
        assert_eq!(text, "From: me+list@x.org\nTo:\nCc:\nBcc:\nSubject:\n\n");
        assert_eq!(Edited::parse(&text).unwrap().from, boxes("me+list@x.org").pop());
        assert_eq!(Edited::parse("From: Me <me@x.org>\nFrom:\n\n").unwrap().from, boxes("me@x.org").pop());
        assert_eq!(Edited::parse("Subject: x").unwrap().subject, "x");
        assert!(Edited::parse("To: a@x.org\n\n \n").unwrap().is_empty());
        assert_eq!(Edited::parse("Attach:\n a b\n").unwrap().attachments, ["a b"]);
        assert_eq!(Edited::parse("Subject:\ta\tb\n\tc\n").unwrap().subject, "a b c");
        // Found by the fuzzer: it must be the same when it is edited once more.
        assert_eq!(Edited::parse("Subject: x\n\na\r\r\nb\rc").unwrap().text, "a\n\nb\nc");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, error) in [
            ("Hello Bob,\n", EditError::NotAField(1)),
            ("To: a@x.org\nDear Bob: hello\n", EditError::NotAField(2)),
            (" a@x.org\n", EditError::NotAField(1)),
            ("To: a@x.org\nSender: b@x.org\n\n", EditError::Unknown(2, "Sender".into())),
            ("From: a@x.org, b@x.org\n\n", EditError::TwoSenders(1)),
            ("From: a@x.org\nTo: b@x.org\nfrom: a@x.org\n\n", EditError::TwoSenders(3)),
            ("From: me\n\n", EditError::Address(1, "me".into())),
            ("Subject: a\nsubject: b\n\n", EditError::TwoSubjects(2)),
            ("To: a@x.org b\n\n", EditError::Address(1, "a@x.org b".into())),
            ("To: a@x.org,\n nobody\n\n", EditError::Address(1, "a@x.org, nobody".into())),
            ("Subject: a\u{1b}[2Jb\n\n", EditError::Control(1)),
            ("Subject: a\rTo: b@x.org\n\n", EditError::Control(1)),
        ] {
            assert_eq!(Edited::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn many_recipients_are_folded() {
        let to: Vec<Mailbox> = (0..20).flat_map(|n| boxes(&format!("somebody-{n}@example.net"))).collect();
        let edited = Edited { to, ..Edited::default() };
        let text = edited.to_text();
        assert!(text.lines().count() > 8 && text.lines().all(|line| line.len() <= COLUMNS), "{text}");
        assert_eq!(Edited::parse(&text), Ok(edited));
    }

    proptest! {
        #[test]
        fn it_comes_back(
            to in proptest::collection::vec("[a-zü]{1,20}@[a-z]{1,20}\\.org", 0..9),
            subject in "([a-zü:,][ -~ü]{0,60}[a-zü:,])?",
            files in proptest::collection::vec("[a-zü/][ -~ü]{0,30}[a-z]", 0..3),
            text in "(\\PC|\n){0,200}",
        ) {
            let to: Vec<Mailbox> = to.iter().map(|a| Mailbox::parse(a).unwrap()).collect();
            let from = to.first().cloned();
            let edited = Edited { from, cc: to.clone(), bcc: to.clone(), to, subject, attachments: files, text };
            prop_assert_eq!(Edited::parse(&edited.to_text()), Ok(edited));
        }

        #[test]
        fn never_panics(text in "(From|To|Cc|Bcc|Subject|Attach|X|:| |\n|\r\n|,|<|>|\"|\\(|a@b.org|\u{1b}|ü){0,60}") {
            if let Ok(edited) = Edited::parse(&text) {
                prop_assert!(write::is_header_text(&edited.subject));
                prop_assert_eq!(Edited::parse(&edited.to_text()), Ok(edited));
            }
        }
    }
}
