//! Maildirs: which folders there are, what the name of a file says of its message.
//!
//! A folder with `cur` and `new` is a mailbox. Its subfolders are `.A.B` (Maildir++), or folders within folders.

use super::{Place, mbox::keyword, names};
use sealpost_proto::imap::Flag;
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
};

/// Deepest folder looked at, in levels: deeper than people file, and an end to any loop.
pub(super) const DEPTH_MAX: usize = 32;
/// What flags by letter mean; `P` is "passed" (resent, forwarded, bounced).
const LETTERS: [(u8, Flag); 5] = [
    (b'D', Flag::Draft),
    (b'F', Flag::Flagged),
    (b'R', Flag::Answered),
    (b'S', Flag::Seen),
    (b'T', Flag::Deleted),
];
const FORWARDED: &str = "$Forwarded";
/// Where Dovecot keeps what the letters a to z mean in a folder.
pub(super) const KEYWORDS_FILE: &str = "dovecot-keywords";
/// Longest such file read, in octets.
const KEYWORDS_FILE_MAX: u64 = 64 * 1024;

/// The name of a message's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileName {
    /// What stays the same whatever becomes of the message.
    pub unique: Vec<u8>,
    /// The letters of its flags.
    pub letters: Vec<u8>,
}

impl FileName {
    /// `unique[,S=size…]:2,letters`; some programs write `;` or `!` where the disk takes no colon. A name without
    /// letters is one of `new`.
    pub fn parse(name: &[u8]) -> Self {
        let mark = (0..name.len().saturating_sub(2))
            .rev()
            .find(|at| matches!(name[*at], b':' | b';' | b'!') && &name[at + 1..at + 3] == b"2,");
        let (base, letters) = match mark {
            Some(at) => (&name[..at], &name[at + 3..]),
            None => (name, &b""[..]),
        };
        let end = base.iter().position(|b| *b == b',' || *b == b':').filter(|at| *at > 0);
        Self {
            unique: base[..end.unwrap_or(base.len())].to_vec(),
            letters: letters.iter().copied().filter(u8::is_ascii_alphabetic).collect(),
        }
    }

    /// The flags, given what a to z mean here.
    pub fn flags(&self, keywords: &Keywords) -> Vec<Flag> {
        let mut flags: Vec<Flag> = Vec::new();
        for letter in &self.letters {
            let system = LETTERS.iter().find(|(l, _)| l == letter).map(|(_, flag)| flag.clone());
            let word = match letter {
                b'P' => Some(FORWARDED),
                letter => keywords.0.get(letter).map(String::as_str),
            };
            let flag = system.or_else(|| word.and_then(keyword).map(Flag::Keyword));
            flags.extend(flag.filter(|flag| !flags.contains(flag)));
        }
        flags
    }

    /// When it was delivered: the number that names begin with. Orders messages as they came.
    pub fn delivered(&self) -> u64 {
        let digits: Vec<u8> = self.unique.iter().copied().take_while(u8::is_ascii_digit).take(18).collect();
        std::str::from_utf8(&digits).ok().and_then(|d| d.parse().ok()).unwrap_or(u64::MAX)
    }
}

/// What the letters a to z mean in one folder.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Keywords(BTreeMap<u8, String>);

impl Keywords {
    /// Lines of a number and a word; `0` is `a`.
    pub fn parse(text: &str) -> Self {
        let line = |line: &str| {
            let (number, word) = line.split_once(' ')?;
            let number: u8 = number.parse().ok().filter(|n| *n < 26)?;
            keyword(word.trim()).map(|word| (b'a' + number, word.as_str().to_owned()))
        };
        Self(text.lines().filter_map(line).collect())
    }

    /// Of a folder; nothing where there is no such file.
    pub(super) fn read(folder: &Path) -> io::Result<Self> {
        match fs::File::open(folder.join(KEYWORDS_FILE)) {
            Ok(file) => {
                let mut octets = Vec::new();
                io::Read::read_to_end(&mut io::Read::take(file, KEYWORDS_FILE_MAX), &mut octets)?;
                Ok(Self::parse(&String::from_utf8_lossy(&octets)))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(e),
        }
    }

    /// Inverse of [`Keywords::parse`].
    pub fn text(&self) -> String {
        let line = |(letter, word): (&u8, &String)| format!("{} {word}\n", letter - b'a');
        self.0.iter().map(line).collect::<Vec<_>>().concat()
    }

    /// The letters of flags, ascending; `true` where words are new here, so that the file has to be written first. Words
    /// for which no letter is left are given back.
    pub fn letters(&mut self, flags: &[Flag]) -> (String, bool, Vec<String>) {
        let (mut letters, mut new, mut left_out) = (Vec::new(), false, Vec::new());
        for flag in flags {
            if let Some((letter, _)) = LETTERS.iter().find(|(_, f)| f == flag) {
                letters.push(*letter);
            } else if let Flag::Keyword(word) = flag {
                if word.is(FORWARDED) {
                    letters.push(b'P');
                    continue;
                }
                let known = self.0.iter().find(|(_, w)| w.eq_ignore_ascii_case(word.as_str()));
                let known = known.map(|(letter, _)| *letter);
                match known.or_else(|| (b'a'..=b'z').find(|letter| !self.0.contains_key(letter))) {
                    Some(letter) => {
                        new |= known.is_none();
                        self.0.entry(letter).or_insert_with(|| word.as_str().to_owned());
                        letters.push(letter);
                    }
                    None => left_out.push(word.as_str().to_owned()),
                }
            }
        }
        letters.sort_unstable();
        letters.dedup();
        (letters.into_iter().map(char::from).collect(), new, left_out)
    }
}

/// Whether a folder is a mailbox.
pub(super) fn is_mailbox(path: &Path) -> bool {
    path.join("cur").is_dir() && path.join("new").is_dir()
}

/// All mailboxes at and below `root`, and what was passed over.
pub(super) fn mailboxes(root: &Path) -> io::Result<(Vec<Place>, Vec<PathBuf>)> {
    let (mut found, mut passed) = (Vec::new(), Vec::new());
    walk(root, &[], &mut found, &mut passed)?;
    found.sort_by(|a, b| a.levels.cmp(&b.levels));
    Ok((found, passed))
}

fn walk(path: &Path, levels: &[String], found: &mut Vec<Place>, passed: &mut Vec<PathBuf>) -> io::Result<()> {
    if is_mailbox(path) {
        found.push(Place { path: path.to_owned(), levels: levels.to_vec() });
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        if matches!(name.as_bytes(), b"cur" | b"new" | b"tmp") || kind.is_file() {
            continue;
        }
        if !kind.is_dir() || levels.len() >= DEPTH_MAX {
            // A symbolic link could lead in a circle.
            if entry.path().is_dir() {
                passed.push(entry.path());
            }
            continue;
        }
        let mut below = levels.to_vec();
        below.extend(levels_of(&name));
        walk(&entry.path(), &below, found, passed)?;
    }
    Ok(())
}

/// The levels that a folder's name stands for: `.A.B` are two, in modified UTF-7.
fn levels_of(name: &OsString) -> Vec<String> {
    let name = String::from_utf8_lossy(name.as_bytes());
    match name.strip_prefix('.') {
        Some(dotted) => dotted.split('.').map(names::from_utf7).collect(),
        None => vec![names::from_utf7(&name)],
    }
}

/// Inverse of what [`mailboxes`] does: `.A.B` for levels, the root itself for none. A dot within a level is written as
/// `%2E`, which the importer undoes.
pub(super) fn folder_name(levels: &[String]) -> OsString {
    let mut name = String::new();
    for level in levels {
        name.push('.');
        name.push_str(&names::to_utf7(&names::escape(level, &['.', '/'])));
    }
    OsString::from_vec(name.into_bytes())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sealpost_proto::imap::Atom;

    #[test]
    fn names_as_programs_write_them() {
        for (name, unique, letters) in [
            ("1696.M1P2.host:2,", "1696.M1P2.host", ""),
            ("1696.M1P2.host,S=12,W=13:2,FRS", "1696.M1P2.host", "FRS"),
            ("1696.M1P2.host:2,Sab", "1696.M1P2.host", "Sab"),
            ("1696.M1P2.host;2,S", "1696.M1P2.host", "S"),
            ("1696.M1P2.host!2,S", "1696.M1P2.host", "S"),
            ("1696.M1P2.host:1,experimental", "1696.M1P2.host", ""),
            ("1696.M1P2.host", "1696.M1P2.host", ""),
            ("plain:2,:2,T", "plain", "T"),
            (":2,S", "", "S"),
            (",odd", ",odd", ""),
            ("", "", ""),
        ] {
            let parsed = FileName::parse(name.as_bytes());
            assert_eq!(parsed.unique, unique.as_bytes(), "{name}");
            assert_eq!(parsed.letters, letters.as_bytes(), "{name}");
        }
        assert_eq!(FileName::parse(b"1696.x").delivered(), 1696);
        assert_eq!(FileName::parse(b"x").delivered(), u64::MAX);
        assert_eq!(FileName::parse(&[b'9'; 99]).delivered(), 999_999_999_999_999_999);
    }

    #[test]
    fn letters_and_dovecots_keywords_are_flags() {
        let keywords = Keywords::parse("0 $Junk\n1 work\n25 z(z\n26 too-many\nodd\n2 \n");
        let word = |word| Flag::Keyword(Atom::new(word).unwrap());
        let flags = FileName::parse(b"x:2,DFPRSTabzc").flags(&keywords);
        assert_eq!(
            flags,
            [
                Flag::Draft,
                Flag::Flagged,
                word("$Forwarded"),
                Flag::Answered,
                Flag::Seen,
                Flag::Deleted,
                word("$Junk"),
                word("work"),
                word("z_z")
            ]
        );
    }

    #[test]
    fn twenty_six_keywords_have_letters_and_no_more() {
        let words = |n: usize| -> Vec<Flag> {
            (0..n).map(|i| Flag::Keyword(Atom::new(format!("k{i}")).unwrap())).collect()
        };
        let mut keywords = Keywords::default();
        let (letters, new, left_out) = keywords.letters(&words(26));
        assert_eq!((letters.len(), new, left_out.len()), (26, true, 0));
        let (letters, new, left_out) = keywords.letters(&words(27));
        assert_eq!((letters.len(), new, left_out), (26, false, vec!["k26".to_owned()]));
    }

    #[test]
    fn both_layouts_are_mailboxes_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["", ".Sent", ".Work.Entw&APw-rfe", ".a%2Eb", "Lists/rust", "Lists/none"] {
            for sub in ["cur", "new", "tmp"] {
                if folder != "Lists/none" || sub == "tmp" {
                    fs::create_dir_all(dir.path().join(folder).join(sub)).unwrap();
                }
            }
        }
        std::os::unix::fs::symlink(dir.path(), dir.path().join("loop")).unwrap();
        let (found, passed) = mailboxes(dir.path()).unwrap();
        let names: Vec<String> = found.iter().map(|p| p.levels.join("/")).collect();
        assert_eq!(names, ["", "Lists/rust", "Sent", "Work/Entwürfe", "a.b"]);
        assert_eq!(passed, [dir.path().join("loop")]);
    }

    proptest! {
        #[test]
        fn folder_names_are_read_back(levels in proptest::collection::vec("[^/\\p{Cc}%*]{1,8}", 0..4)) {
            let name = folder_name(&levels);
            let read = if levels.is_empty() { Vec::new() } else { levels_of(&name) };
            prop_assert_eq!(read, levels);
        }
        #[test]
        fn flags_are_read_back(letters in "[DFPRSTa-z]{0,20}") {
            let mut keywords = Keywords::default();
            for letter in b'a'..=b'z' {
                keywords.0.insert(letter, format!("word-{}", char::from(letter)));
            }
            let flags = FileName::parse(format!("x:2,{letters}").as_bytes()).flags(&keywords);
            let (again, new, left_out) = keywords.letters(&flags);
            let mut sorted: Vec<char> = letters.chars().collect();
            sorted.sort_unstable();
            sorted.dedup();
            prop_assert_eq!(again, sorted.into_iter().collect::<String>());
            prop_assert!(!new && left_out.is_empty());
            prop_assert_eq!(Keywords::parse(&keywords.text()), keywords);
        }
        #[test]
        fn never_panics(name in proptest::collection::vec(any::<u8>(), 0..60), text in "\\PC{0,60}") {
            let _ = FileName::parse(&name).flags(&Keywords::parse(&text));
        }
    }
}
