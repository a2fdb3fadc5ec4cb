//! METADATA (RFC 5464 §5): GETMETADATA, SETMETADATA, the names of entries, and the METADATA response.

use super::{
    encode::Encoder,
    lex::{Cursor, ParseError, Result, expected, utf8},
    parse::ITEMS_MAX,
    response::{self, quote_mailbox},
    types::{MailboxName, Names},
};
use std::fmt;

/// Octets of the name of an entry: registered names have some thirty, and each is a line of a list.
pub const ENTRY_MAX: usize = 255;

/// The name of an entry (RFC 5464 §3.2.1): components behind slashes, `private` or `shared` the first of them. Case makes
/// no difference; it is kept in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry(String);

impl Entry {
    /// Checks `text`. `/private` and `/shared` alone are no entries, but what others lie below (DEPTH).
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let mut text = text.into();
        text.make_ascii_lowercase();
        let mut components = text.strip_prefix('/')?.split('/');
        let fits = text.len() <= ENTRY_MAX
            && components.clone().all(|component| !component.is_empty())
            && matches!(components.next(), Some("private" | "shared"))
            && text.bytes().all(|b| matches!(b, 0x1a..=0x7f) && b != b'*' && b != b'%');
        fits.then_some(Self(text))
    }
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// Whether all users of a mailbox or server share it.
    pub fn is_shared(&self) -> bool {
        self.0.starts_with("/shared")
    }
    /// Whether it can have a value: two components or more, below `vendor` four or more (RFC 5464 §3.2.1).
    pub fn can_have_value(&self) -> bool {
        let mut components = self.0.split('/').skip(2);
        match components.next() {
            Some("vendor") => components.count() >= 2,
            other => other.is_some(),
        }
    }
    /// How many components another one has below this one: 0 for itself, `None` where it lies elsewhere.
    pub fn levels_to(&self, other: &str) -> Option<usize> {
        let below = other.strip_prefix(self.as_str())?;
        (below.is_empty() || below.starts_with('/')).then(|| below.matches('/').count())
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// DEPTH: how far below the entries that are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Depth {
    /// 0
    #[default]
    Zero,
    /// 1
    One,
    /// infinity
    Infinity,
}

impl Depth {
    /// Whether it takes in what lies so many levels below.
    pub fn reaches(self, levels: usize) -> bool {
        match self {
            Self::Zero => levels == 0,
            Self::One => levels <= 1,
            Self::Infinity => true,
        }
    }
}

/// GETMETADATA
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetMetadata {
    /// Of which mailbox; of the server where it is empty.
    pub mailbox: MailboxName,
    /// MAXSIZE: values of more octets are left out.
    pub max_size: Option<u64>,
    /// DEPTH
    pub depth: Depth,
    /// Which.
    pub entries: Vec<Entry>,
}

/// `setmetadata = "SETMETADATA" SP mailbox SP entry-values`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetMetadata {
    /// Of which mailbox; of the server where it is empty.
    pub mailbox: MailboxName,
    /// What becomes of each; `None` (NIL) removes it.
    pub values: Vec<(Entry, Option<Vec<u8>>)>,
}

/// Whether a command, as far as it has come, is SETMETADATA: a literal in it may be a value.
pub fn is_set_metadata(bytes: &[u8]) -> bool {
    let mut c = Cursor::new(bytes);
    super::parse::tag(&mut c).is_ok() && c.take(b' ') && c.word("SETMETADATA")
}

/// `getmetadata = "GETMETADATA" [SP getmetadata-options] SP mailbox SP entries`. The RFC's examples, and programs made
/// after them, have the options behind the mailbox (erratum 1691).
pub(super) fn get_metadata(c: &mut Cursor<'_>, names: Names) -> Result<GetMetadata> {
    let (mut max_size, mut depth) = (None, None);
    let mut options = |c: &mut Cursor<'_>| {
        c.list(2, |c| {
            if c.word("MAXSIZE") && max_size.is_none() {
                c.space()?;
                max_size = Some(c.number()?);
                Ok(())
            } else if c.word("DEPTH") && depth.is_none() {
                c.space()?;
                depth = Some(depth_value(c)?);
                Ok(())
            } else {
                expected("MAXSIZE or DEPTH, each once")
            }
        })
        .and_then(|all| if all.is_empty() { expected("MAXSIZE or DEPTH") } else { c.space() })
    };
    c.space()?;
    let before = c.peek() == Some(b'(');
    if before {
        options(c)?;
    }
    let mailbox = c.mailbox(names)?;
    c.space()?;
    // An entry begins with a slash or a quote: this is an option.
    if !before && c.rest().starts_with(b"(") && c.rest().get(1).is_some_and(u8::is_ascii_alphabetic) {
        options(c)?;
    }
    let entries = entries(c)?;
    Ok(GetMetadata { mailbox, max_size, depth: depth.unwrap_or_default(), entries })
}

/// `scope-opt = "DEPTH" SP ("0" / "1" / "infinity")`
fn depth_value(c: &mut Cursor<'_>) -> Result<Depth> {
    let words = [("0", Depth::Zero), ("1", Depth::One), ("infinity", Depth::Infinity)];
    match words.into_iter().find(|(word, _)| c.word(word)) {
        Some((_, depth)) => Ok(depth),
        None => expected("0, 1 or infinity"),
    }
}

/// `entries = entry / "(" entry *(SP entry) ")"`
pub(super) fn entries(c: &mut Cursor<'_>) -> Result<Vec<Entry>> {
    if c.peek() != Some(b'(') {
        return Ok(vec![entry(c)?]);
    }
    let all = c.list(ITEMS_MAX, entry)?;
    if all.is_empty() { expected("the name of an entry") } else { Ok(all) }
}

/// `entry = astring`
fn entry(c: &mut Cursor<'_>) -> Result<Entry> {
    Entry::new(utf8(c.astring()?)?)
        .ok_or(ParseError { expected: "the name of an entry below /private or /shared" })
}

/// `entry-values = "(" entry-value *(SP entry-value) ")"`, `entry-value = entry SP value`, `value = nstring / literal8`
pub(super) fn set_metadata(c: &mut Cursor<'_>, names: Names) -> Result<SetMetadata> {
    c.space()?;
    let mailbox = c.mailbox(names)?;
    c.space()?;
    let values = c.list(ITEMS_MAX, |c| {
        let entry = entry(c)?;
        if !entry.can_have_value() {
            return expected("the name of an entry, of four components where the second is vendor");
        }
        c.space()?;
        Ok((entry, c.nstring()?))
    })?;
    if values.is_empty() { expected("an entry and its value") } else { Ok(SetMetadata { mailbox, values }) }
}

impl Encoder {
    pub(super) fn get_metadata(&mut self, get: &GetMetadata) {
        self.text("GETMETADATA ");
        let mut options = Vec::new();
        options.extend(get.max_size.map(|n| format!("MAXSIZE {n}")));
        match get.depth {
            Depth::Zero => {}
            Depth::One => options.push("DEPTH 1".to_owned()),
            Depth::Infinity => options.push("DEPTH infinity".to_owned()),
        }
        if !options.is_empty() {
            self.text(&format!("({}) ", options.join(" ")));
        }
        self.mailbox(get.mailbox.as_str());
        self.text(" ");
        self.entries(&get.entries);
    }

    pub(super) fn entries(&mut self, entries: &[Entry]) {
        self.list(entries, |e, entry| e.astring(entry.as_str().as_bytes()));
    }

    pub(super) fn set_metadata(&mut self, set: &SetMetadata) {
        self.text("SETMETADATA ");
        self.mailbox(set.mailbox.as_str());
        self.text(" ");
        self.list(&set.values, |e, (entry, value)| {
            e.astring(entry.as_str().as_bytes());
            e.text(" ");
            match value {
                Some(value) if value.contains(&0) => e.literal8(value),
                Some(value) => e.string(value),
                None => e.text("NIL"),
            }
        });
    }
}

/// `metadata-resp = "METADATA" SP mailbox SP entry-values`: what GETMETADATA and LIST are answered with.
pub fn values<'a>(
    out: &mut Vec<u8>,
    mailbox: &MailboxName,
    names: Names,
    values: impl IntoIterator<Item = (&'a str, Option<&'a [u8]>)>,
) {
    head(out, mailbox, names);
    for (n, (entry, value)) in values.into_iter().enumerate() {
        out.extend_from_slice(if n == 0 { b" (" } else { b" " });
        response::astring(out, entry.as_bytes());
        out.push(b' ');
        match value {
            // A string cannot hold it.
            Some(value) if value.contains(&0) => response::literal8(out, value),
            value => response::nstring(out, value),
        }
    }
    out.extend_from_slice(b")\r\n");
}

/// `metadata-resp = "METADATA" SP mailbox SP entry-list`: what is told unasked has no values (RFC 5464 §4.4.2).
pub fn names<'a>(
    out: &mut Vec<u8>,
    mailbox: &MailboxName,
    names: Names,
    entries: impl IntoIterator<Item = &'a str>,
) {
    head(out, mailbox, names);
    for entry in entries {
        out.push(b' ');
        response::astring(out, entry.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

fn head(out: &mut Vec<u8>, mailbox: &MailboxName, names: Names) {
    out.extend_from_slice(b"* METADATA ");
    out.extend_from_slice(quote_mailbox(mailbox, names).as_bytes());
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::{Body, parse};
    use super::*;

    fn body(text: &str) -> Option<Body> {
        parse::command(format!("a {text}\r\n").as_bytes(), Names::Utf7).ok().map(|command| command.body)
    }

    fn entry(text: &str) -> Entry {
        Entry::new(text).unwrap()
    }

    #[test]
    fn names_of_entries() {
        for good in ["/private/comment", "/SHARED/x/y", "/private", "/private/a b\"", "/shared/vendor/x/y"] {
            assert_eq!(entry(good).as_str(), good.to_ascii_lowercase());
        }
        for bad in [
            "",
            "/",
            "private/x",
            "/public/x",
            "/private/",
            "/private//x",
            "/private/*",
            "/private/%",
            "/private/ä",
            "/private/\r",
            "/private/\0",
            "/private/\u{19}",
            "/privatex",
            "//private",
        ] {
            assert!(Entry::new(bad).is_none(), "{bad:?}");
        }
        for (octets, fits) in [(ENTRY_MAX, true), (ENTRY_MAX + 1, false)] {
            assert_eq!(
                Entry::new(format!("/private/{}", "x".repeat(octets - 9))).is_some(),
                fits,
                "{octets}"
            );
        }
        for (name, can) in [
            ("/private", false),
            ("/private/x", true),
            ("/shared/vendor", false),
            ("/shared/vendor/x", false),
            ("/shared/vendor/x/y", true),
            ("/shared/vendors", true),
        ] {
            assert_eq!(entry(name).can_have_value(), can, "{name}");
        }
    }

    #[test]
    fn depth_counts_components() {
        for (base, other, levels) in [
            ("/private", "/private", Some(0)),
            ("/private", "/private/a", Some(1)),
            ("/private/a", "/private/a/b/c", Some(2)),
            ("/private/a", "/private/ab", None),
            ("/private/a", "/shared/a", None),
            ("/private/a/b", "/private/a", None),
        ] {
            assert_eq!(entry(base).levels_to(other), levels, "{base} {other}");
        }
        for (depth, reached) in [(Depth::Zero, 1), (Depth::One, 2), (Depth::Infinity, 9)] {
            assert_eq!((0..9).filter(|n| depth.reaches(*n)).count(), reached, "{depth:?}");
        }
    }

    #[test]
    fn get_metadata_in_all_its_forms() {
        let get = |max_size, depth, names: &[&str]| {
            let mailbox = MailboxName::new("INBOX").unwrap();
            let entries = names.iter().map(|name| entry(name)).collect();
            Some(Body::GetMetadata(GetMetadata { mailbox, max_size, depth, entries }))
        };
        let comment = ["/private/comment"];
        for (text, want) in [
            ("GETMETADATA INBOX /private/comment", get(None, Depth::Zero, &comment)),
            ("getmetadata inbox (/Private/Comment)", get(None, Depth::Zero, &comment)),
            ("GETMETADATA (MAXSIZE 9) INBOX \"/private/comment\"", get(Some(9), Depth::Zero, &comment)),
            (
                "GETMETADATA (DEPTH 1 MAXSIZE 0) INBOX {16+}\r\n/private/comment",
                get(Some(0), Depth::One, &comment),
            ),
            ("GETMETADATA INBOX (DEPTH infinity) (/private/comment)", get(None, Depth::Infinity, &comment)),
            (
                "GETMETADATA (DEPTH INFINITY) INBOX (/private /shared)",
                get(None, Depth::Infinity, &["/private", "/shared"]),
            ),
            ("GETMETADATA (DEPTH 0) INBOX /private/comment", get(None, Depth::Zero, &comment)),
        ] {
            assert_eq!(body(text), want, "{text}");
        }
        for bad in [
            "GETMETADATA",
            "GETMETADATA INBOX",
            "GETMETADATA INBOX ()",
            "GETMETADATA () INBOX /private/comment",
            "GETMETADATA (DEPTH 2) INBOX /private/comment",
            "GETMETADATA (DEPTH 1 DEPTH 1) INBOX /private/comment",
            "GETMETADATA (DEPTH 1) INBOX (MAXSIZE 1) /private/comment",
            "GETMETADATA (MAXSIZE -1) INBOX /private/comment",
            "GETMETADATA INBOX /private/%",
            "GETMETADATA INBOX comment",
            "GETMETADATA INBOX /private/comment /shared/comment",
        ] {
            assert_eq!(body(bad), None, "{bad}");
        }
    }

    #[test]
    fn set_metadata_in_all_its_forms() {
        let set = |values: &[(&str, Option<&[u8]>)]| {
            let mailbox = MailboxName::new("").unwrap();
            let values =
                values.iter().map(|(name, value)| (entry(name), value.map(<[u8]>::to_vec))).collect();
            Some(Body::SetMetadata(SetMetadata { mailbox, values }))
        };
        for (text, want) in [
            ("SETMETADATA \"\" (/private/comment NIL)", set(&[("/private/comment", None)])),
            ("SETMETADATA \"\" (/private/comment \"\")", set(&[("/private/comment", Some(b""))])),
            ("SETMETADATA \"\" (/private/comment {2+}\r\nhi)", set(&[("/private/comment", Some(b"hi"))])),
            (
                "SETMETADATA \"\" (/private/comment ~{3+}\r\n\0\r\n)",
                set(&[("/private/comment", Some(b"\0\r\n"))]),
            ),
            (
                "SETMETADATA \"\" (/private/a \"1\" /shared/B \"\u{e4}\")",
                set(&[("/private/a", Some(b"1")), ("/shared/b", Some("ä".as_bytes()))]),
            ),
        ] {
            assert_eq!(body(text), want, "{text:?}");
            assert!(is_set_metadata(format!("a {text}").as_bytes()));
        }
        for bad in [
            "SETMETADATA \"\" ()",
            "SETMETADATA \"\" (/private \"x\")",
            "SETMETADATA \"\" (/private/vendor/x \"x\")",
            "SETMETADATA \"\" (/private/x)",
            "SETMETADATA \"\" (/private/x atom)",
            "SETMETADATA \"\" /private/x \"x\"",
            "SETMETADATA \"\" (/private/x {1+}\r\n\0)",
        ] {
            assert_eq!(body(bad), None, "{bad:?}");
        }
        assert!(!is_set_metadata(b"a GETMETADATA {9}\r\n"));
        assert!(!is_set_metadata(b"a SETMETADATAX {9}\r\n"));
    }

    #[test]
    fn responses() {
        let name = MailboxName::new("Entwürfe").unwrap();
        let mut out = Vec::new();
        values(
            &mut out,
            &name,
            Names::Utf7,
            [("/private/a", None), ("/private/b c", Some(&b"x"[..])), ("/shared/d", Some(&b"\0"[..]))],
        );
        assert_eq!(
            out,
            b"* METADATA Entw&APw-rfe (/private/a NIL \"/private/b c\" \"x\" /shared/d ~{1}\r\n\0)\r\n"
        );
        out.clear();
        names(&mut out, &MailboxName::new("").unwrap(), Names::Utf7, ["/private/a", "/private/b c"]);
        assert_eq!(out, b"* METADATA \"\" /private/a \"/private/b c\"\r\n");
    }
}
