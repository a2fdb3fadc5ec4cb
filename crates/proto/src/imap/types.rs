//! The words of IMAP as types that cannot hold an invalid value: built by the parser or by checked constructors.

use std::{fmt, num::NonZeroU32};
use zeroize::Zeroizing;

/// Longest tag taken. Clients use up to about 20 octets; the bound keeps every reply line short.
pub const TAG_MAX: usize = 128;
/// Longest mailbox name, in octets of UTF-8. Deeper and longer than people name folders, small enough for a LIST line.
pub const MAILBOX_MAX: usize = 1000;
/// Most ranges in one sequence set: a 64 KiB line could hold 32,768; real clients compress theirs.
pub const RANGES_MAX: usize = 16_384;

/// Any ASTRING-CHAR except `+` (RFC 9051 §9 `tag`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tag(String);

impl Tag {
    /// Checks `text`.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        (!text.is_empty() && text.len() <= TAG_MAX && text.bytes().all(|b| is_astring_char(b) && b != b'+'))
            .then_some(Self(text))
    }
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `1*ATOM-CHAR`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Atom(String);

impl Atom {
    /// Checks `text`.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        (!text.is_empty() && text.bytes().all(is_atom_char)).then_some(Self(text))
    }
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// Equal without regard to ASCII case.
    pub fn is(&self, other: &str) -> bool {
        self.0.eq_ignore_ascii_case(other)
    }
}

impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `ATOM-CHAR = <any CHAR except atom-specials>`
pub(crate) fn is_atom_char(b: u8) -> bool {
    b > 0x20 && b < 0x7f && !matches!(b, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']')
}

/// `ASTRING-CHAR = ATOM-CHAR / resp-specials`
pub(crate) fn is_astring_char(b: u8) -> bool {
    is_atom_char(b) || b == b']'
}

/// A flag as FETCH, STORE and APPEND write it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Flag {
    /// `\Seen`
    Seen,
    /// `\Answered`
    Answered,
    /// `\Flagged`
    Flagged,
    /// `\Deleted`
    Deleted,
    /// `\Draft`
    Draft,
    /// A keyword.
    Keyword(Atom),
    /// `\` and an atom of some later standard; servers that do not know it ignore it.
    Extension(Atom),
}

impl Flag {
    /// Reads the text behind the optional backslash; `\Recent` is no flag that can be set (RFC 3501 §2.3.2).
    pub(crate) fn from_parts(system: bool, word: Atom) -> Option<Self> {
        if !system {
            return Some(Self::Keyword(word));
        }
        Some(match word.as_str().to_ascii_lowercase().as_str() {
            "seen" => Self::Seen,
            "answered" => Self::Answered,
            "flagged" => Self::Flagged,
            "deleted" => Self::Deleted,
            "draft" => Self::Draft,
            "recent" => return None,
            _ => Self::Extension(word),
        })
    }
}

impl fmt::Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seen => f.write_str("\\Seen"),
            Self::Answered => f.write_str("\\Answered"),
            Self::Flagged => f.write_str("\\Flagged"),
            Self::Deleted => f.write_str("\\Deleted"),
            Self::Draft => f.write_str("\\Draft"),
            Self::Keyword(word) => write!(f, "{word}"),
            Self::Extension(word) => write!(f, "\\{word}"),
        }
    }
}

/// A mailbox name in UTF-8, at most [`MAILBOX_MAX`] octets, without NUL, CR and LF; INBOX in capitals however it
/// was written (RFC 9051 §5.1). May be empty where a command gives that a meaning.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxName(String);

impl MailboxName {
    /// Checks `text`.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        if text.len() > MAILBOX_MAX || text.contains(['\0', '\r', '\n']) {
            return None;
        }
        Some(if text.eq_ignore_ascii_case("INBOX") { Self::inbox() } else { Self(text) })
    }
    /// INBOX.
    pub fn inbox() -> Self {
        Self("INBOX".to_owned())
    }
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// Whether a mailbox of this name may be made: no empty level, no control characters, no wildcards.
    pub fn is_creatable(&self) -> bool {
        !self.0.is_empty()
            && self.0.split('/').all(|level| !level.is_empty())
            && !self.0.contains(|c: char| c.is_control() || matches!(c, '%' | '*' | '\u{2028}' | '\u{2029}'))
    }
}

impl fmt::Display for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How mailbox names are written: modified UTF-7 (RFC 3501 §5.1.3), or plain UTF-8 once the client has enabled
/// IMAP4rev2 or UTF8=ACCEPT (RFC 9051 §5.1, RFC 6855 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Names {
    /// Modified UTF-7.
    #[default]
    Utf7,
    /// UTF-8.
    Utf8,
}

/// Octets that must not leak: no `Debug`, cleared on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes ownership.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
    /// The octets.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// One end of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SeqNumber {
    /// A number.
    Number(NonZeroU32),
    /// `*`, the largest in use.
    Largest,
}

impl fmt::Display for SeqNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(n) => write!(f, "{n}"),
            Self::Largest => f.write_str("*"),
        }
    }
}

impl SeqNumber {
    fn resolve(self, largest: u32) -> u32 {
        match self {
            Self::Number(n) => n.get(),
            Self::Largest => largest,
        }
    }
}

/// `sequence-set`: message numbers or UIDs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SequenceSet {
    /// Ranges as written; ends in any order.
    Ranges(Vec<(SeqNumber, SeqNumber)>),
    /// `$`: what the last SEARCH saved (RFC 5182).
    Saved,
}

impl SequenceSet {
    /// A set of one number.
    pub fn one(number: NonZeroU32) -> Self {
        Self::Ranges(vec![(SeqNumber::Number(number), SeqNumber::Number(number))])
    }
    /// `1:*`
    pub fn all() -> Self {
        Self::Ranges(vec![(SeqNumber::Number(NonZeroU32::MIN), SeqNumber::Largest)])
    }
    /// Numbers, in any order, as few ranges as they need; `None` for none (the grammar has no empty set) or a zero.
    pub fn from_numbers(numbers: &[u32]) -> Option<Self> {
        let mut sorted = numbers.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let mut ranges: Vec<(SeqNumber, SeqNumber)> = Vec::new();
        let mut last = 0;
        for n in sorted {
            let number = SeqNumber::Number(NonZeroU32::new(n)?);
            match ranges.last_mut() {
                Some(range) if n == last + 1 => range.1 = number,
                _ => ranges.push((number, number)),
            }
            last = n;
        }
        (!ranges.is_empty()).then_some(Self::Ranges(ranges))
    }
    /// Numbers in their order, as SORT gives them (RFC 5267 §3); what ascends by ones is a range.
    pub fn in_order(numbers: &[u32]) -> Option<Self> {
        let mut ranges: Vec<(SeqNumber, SeqNumber)> = Vec::new();
        let mut last = 0;
        for &n in numbers {
            let number = SeqNumber::Number(NonZeroU32::new(n)?);
            match ranges.last_mut() {
                Some(range) if last != 0 && n.checked_sub(1) == Some(last) => range.1 = number,
                _ => ranges.push((number, number)),
            }
            last = n;
        }
        (!ranges.is_empty()).then_some(Self::Ranges(ranges))
    }
    /// Ascending, disjoint, inclusive ranges with `*` replaced; empty for [`SequenceSet::Saved`].
    pub fn resolve(&self, largest: u32) -> Vec<(u32, u32)> {
        let Self::Ranges(ranges) = self else { return Vec::new() };
        let mut all: Vec<(u32, u32)> = ranges
            .iter()
            .map(|(a, b)| {
                let (a, b) = (a.resolve(largest), b.resolve(largest));
                (a.min(b), a.max(b))
            })
            .collect();
        all.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(all.len());
        for (low, high) in all {
            match merged.last_mut() {
                Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
                _ => merged.push((low, high)),
            }
        }
        merged
    }
}

impl fmt::Display for SequenceSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Ranges(ranges) = self else { return f.write_str("$") };
        for (i, (low, high)) in ranges.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            low.fmt(f)?;
            if low != high {
                write!(f, ":{high}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn tags_and_atoms_refuse_what_the_grammar_does() {
        for good in ["a1", "A.001", "x]", "[", "1"] {
            assert!(Tag::new(good).is_some(), "{good}");
        }
        for bad in ["", "+", "a+", "a b", "a(", "é", "a\"", "a\r", "*", "%", "a{"] {
            assert!(Tag::new(bad).is_none(), "{bad}");
        }
        assert!(Tag::new("x".repeat(TAG_MAX)).is_some());
        assert!(Tag::new("x".repeat(TAG_MAX + 1)).is_none());
        assert!(Atom::new("a]").is_none());
        assert!(Atom::new("a+").is_some());
    }

    #[test]
    fn inbox_has_one_spelling() {
        assert_eq!(MailboxName::new("inBox").unwrap().as_str(), "INBOX");
        assert_eq!(MailboxName::new("inBox/x").unwrap().as_str(), "inBox/x");
        assert!(MailboxName::new("a\0").is_none());
        assert!(MailboxName::new("a".repeat(MAILBOX_MAX + 1)).is_none());
        for bad in ["", "/a", "a//b", "a/", "a%", "a*b", "a\u{7}"] {
            assert!(!MailboxName::new(bad).unwrap().is_creatable(), "{bad}");
        }
        assert!(MailboxName::new("Entwürfe/2026 & so").unwrap().is_creatable());
    }

    #[test]
    fn sets_are_resolved_merged_and_swapped() {
        let n = |x| SeqNumber::Number(NonZeroU32::new(x).unwrap());
        let set =
            SequenceSet::Ranges(vec![(n(7), n(5)), (n(1), n(2)), (n(3), n(3)), (SeqNumber::Largest, n(12))]);
        assert_eq!(set.resolve(10), [(1, 3), (5, 7), (10, 12)]);
        assert_eq!(set.to_string(), "7:5,1:2,3,*:12");
        assert_eq!(SequenceSet::from_numbers(&[5, 1, 2, 3, 9, 2]).unwrap().to_string(), "1:3,5,9");
        assert_eq!(SequenceSet::in_order(&[5, 1, 2, 3, 9, 8]).unwrap().to_string(), "5,1:3,9,8");
        assert!(SequenceSet::in_order(&[]).is_none());
        assert!(SequenceSet::in_order(&[0]).is_none());
        assert!(SequenceSet::from_numbers(&[]).is_none());
        assert!(SequenceSet::from_numbers(&[0]).is_none());
        assert_eq!(SequenceSet::all().resolve(0), [(0, 1)]);
    }
}
