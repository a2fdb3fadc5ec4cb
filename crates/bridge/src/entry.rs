//! What the local index keeps of one message: see [`Entry`].

use sealpost_client::open::{Again, Described, Opened, Verdict};
use sealpost_proto::imap::response;
use std::ops::Range;
use zeroize::Zeroizing;

/// Version of the form in which entries are stored; others are made anew.
const VERSION: u8 = 8;
/// Octets of an entry as it is stored, before its first text.
const FIXED_OCTETS: usize = 14;

/// How much of an entry is asked for: its parts are sealed apart, since some are long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// Keywords.
    Keywords,
    /// Size, ENVELOPE, BODY, BODYSTRUCTURE, PREVIEW.
    Brief,
    /// The header too.
    Head,
    /// And the text.
    All,
}

/// A message that was opened.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// What it was found to be.
    pub(crate) keywords: Keywords,
    /// Octets as shown.
    pub(crate) size: u64,
    /// Octets that it has more as shown than at the server: the verdict. Sealed mail has fewer, which counts as none.
    pub(crate) growth: u32,
    /// What opens it again.
    pub(crate) again: Again,
    /// Its brief part as it is stored, before it is sealed; see [`Need`].
    brief: Zeroizing<Vec<u8>>,
    /// Where in that the texts are.
    texts: [Range<usize>; Text::COUNT],
    /// Header as shown, with the empty line; see [`Need`].
    pub(crate) head: Option<Zeroizing<Vec<u8>>>,
    /// The texts of its parts, in the form in which the server compares too (i;unicode-casemap); see [`Need`].
    text: Option<Zeroizing<String>>,
}

/// A text of an entry's brief part, as IMAP has it, in the order in which they are stored.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Text {
    Envelope,
    Body,
    BodyStructure,
    Preview,
}

impl Text {
    const COUNT: usize = 4;
}

/// What an entry is made of; see there.
pub(crate) struct Brief<'a> {
    pub(crate) keywords: Keywords,
    pub(crate) size: u64,
    pub(crate) growth: u32,
    pub(crate) texts: [&'a [u8]; Text::COUNT],
    pub(crate) again: Again,
}

/// Keywords that tell a verdict, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Keywords(u8);

impl Keywords {
    /// All of them, lowest bit first.
    pub(crate) const NAMES: [&'static str; 6] =
        ["$Sealed", "$Signed", "$KeyChanged", "$Withheld", "$Unconfirmed", "$SignatureMissing"];

    fn of(verdict: Verdict, sealed: bool) -> Self {
        let signed = matches!(verdict, Verdict::Good | Verdict::GoodAltered | Verdict::SenderNotYetConfirmed);
        let changed = matches!(verdict, Verdict::NotTheSendersKey | Verdict::RetiredKey);
        let bits = [
            sealed,
            signed,
            changed,
            verdict.is_withheld(),
            verdict == Verdict::SenderNotYetConfirmed,
            verdict == Verdict::PlainThoughSigns,
        ];
        Self(bits.iter().enumerate().fold(0, |all, (n, set)| all | u8::from(*set) << n))
    }

    /// As [`Keywords::bits`] gave them.
    pub(crate) fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// For storing.
    pub(crate) fn bits(self) -> u8 {
        self.0
    }

    /// Whether the one of this name is set; `None` for other keywords.
    pub(crate) fn has(self, name: &str) -> Option<bool> {
        let at = Self::NAMES.iter().position(|known| known.eq_ignore_ascii_case(name))?;
        Some(self.0 >> at & 1 == 1)
    }

    /// Those that are not among `others`.
    pub(crate) fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Those that are set.
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().enumerate().filter(move |(n, _)| self.0 >> n & 1 == 1).map(|(_, name)| name)
    }
}

impl Entry {
    /// `stored` are its octets at the server.
    pub(crate) fn new(opened: &Opened, described: Described, again: Again, stored: u64) -> Self {
        let mut preview = Vec::new();
        response::string(&mut preview, described.preview.as_bytes());
        let preview = Zeroizing::new(preview);
        let brief = Brief {
            keywords: Keywords::of(opened.verdict, opened.sealed),
            size: described.size,
            growth: u32::try_from(described.size.saturating_sub(stored)).unwrap_or(u32::MAX),
            texts: [&described.envelope, &described.body, &described.body_structure, &preview],
            again,
        };
        Self::of(brief, described.head, described.text)
    }

    pub(crate) fn of(brief: Brief<'_>, head: Zeroizing<Vec<u8>>, text: Zeroizing<String>) -> Self {
        let Brief { keywords, size, growth, texts, again } = brief;
        let opener = again.to_octets();
        let length = FIXED_OCTETS + texts.iter().map(|text| 4 + text.len()).sum::<usize>() + opener.len();
        let mut out = Zeroizing::new(Vec::with_capacity(length));
        out.extend([VERSION, keywords.0]);
        out.extend(size.to_le_bytes());
        out.extend(growth.to_le_bytes());
        let texts = texts.map(|text| {
            // Descriptions are bounded far below 4 GiB.
            out.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
            let start = out.len();
            out.extend_from_slice(text);
            start..out.len()
        });
        out.extend_from_slice(&opener);
        Self { keywords, size, growth, again, brief: out, texts, head: Some(head), text: Some(text) }
    }

    /// Of which nothing but its keywords was asked for ([`Need::Keywords`]).
    pub(crate) fn of_keywords(keywords: Keywords) -> Self {
        Self {
            keywords,
            size: 0,
            growth: 0,
            again: Again::not(),
            brief: Zeroizing::default(),
            texts: [const { 0..0 }; Text::COUNT],
            head: None,
            text: None,
        }
    }

    /// What it takes of memory, about.
    pub(crate) fn octets(&self) -> usize {
        let (head, text) =
            (self.head.as_ref().map_or(0, |h| h.len()), self.text.as_ref().map_or(0, |t| t.len()));
        self.brief.len() + head + text
    }

    /// Goes on without its header and its text.
    pub(crate) fn forget_text(&mut self) {
        self.head = Some(Zeroizing::default());
        self.text = Some(Zeroizing::default());
    }

    /// One of the texts of its brief part. To be asked for ([`Need::Brief`]).
    pub(crate) fn brief(&self, which: Text) -> &[u8] {
        debug_assert!(!self.brief.is_empty(), "nobody asked for more than keywords");
        &self.brief[self.texts[which as usize].clone()]
    }

    /// Header as shown, with the empty line. To be asked for ([`Need::Head`]).
    pub(crate) fn head(&self) -> &[u8] {
        debug_assert!(self.head.is_some(), "nobody asked for the header");
        self.head.as_deref().map(Vec::as_slice).unwrap_or_default()
    }

    /// The texts of its parts, for comparing. To be asked for ([`Need::All`]).
    pub(crate) fn text(&self) -> &str {
        debug_assert!(self.text.is_some(), "nobody asked for the text");
        self.text.as_deref().map(String::as_str).unwrap_or_default()
    }

    /// Its brief part as it is stored, before it is sealed: version, keywords, size (8 octets, little-endian), growth
    /// (4), each of the texts behind its length (4), what opens it again.
    pub(crate) fn stored(&self) -> &[u8] {
        &self.brief
    }

    /// Inverse of [`Entry::stored`], with what else was asked for.
    pub(crate) fn read(
        brief: Zeroizing<Vec<u8>>,
        head: Option<Zeroizing<Vec<u8>>>,
        text: Option<Zeroizing<Vec<u8>>>,
    ) -> Option<Self> {
        let start = brief.first_chunk::<FIXED_OCTETS>()?;
        if start[0] != VERSION {
            return None;
        }
        let keywords = Keywords(start[1]);
        let size = u64::from_le_bytes(start[2..10].try_into().ok()?);
        let growth = u32::from_le_bytes(start[10..].try_into().ok()?);
        let mut texts = [const { 0..0 }; Text::COUNT];
        let mut at = FIXED_OCTETS;
        for text in &mut texts {
            let length = brief.get(at..)?.first_chunk()?;
            let start = at + length.len();
            at = start.checked_add(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
            *text = start..at;
        }
        let again = Again::read(brief.get(at..)?)?;
        let text = match text {
            Some(mut octets) => Some(Zeroizing::new(String::from_utf8(std::mem::take(&mut *octets)).ok()?)),
            None => None,
        };
        Some(Self { keywords, size, growth, again, brief, texts, head, text })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use sealpost_proto::imap::casemap::casemap;

    #[test]
    fn entries_are_read_back_whole_or_not_at_all() {
        let text = |text: &str| Zeroizing::new(text.as_bytes().to_vec());
        let head = || text("Subject: x\r\n\r\n");
        let folded = casemap("Grüße ΣΑΣ");
        for opener in [vec![0], [&[1], &[7; 40][..]].concat(), [&[3], &[7; 72][..]].concat()] {
            let brief = Brief {
                keywords: Keywords::of(Verdict::Good, true),
                size: 1 << 40,
                growth: 300,
                texts: [b"(NIL)", b"", b"()", b"\"\""],
                again: Again::read(&opener).unwrap(),
            };
            let entry = Entry::of(brief, head(), Zeroizing::new(folded.clone()));
            let read = |octets: &[u8]| {
                Entry::read(Zeroizing::new(octets.to_vec()), Some(head()), Some(text(&folded)))
            };
            let octets = entry.stored().to_vec();
            assert!(read(&octets).unwrap() == entry);
            let texts =
                [Text::Envelope, Text::Body, Text::BodyStructure, Text::Preview].map(|t| entry.brief(t));
            assert_eq!(texts, [&b"(NIL)"[..], b"", b"()", b"\"\""]);
            let alone = Entry::read(Zeroizing::new(octets.clone()), None, None).unwrap();
            assert!(alone == Entry { head: None, text: None, ..entry.clone() });
            let no_text = Some(Zeroizing::new(vec![0xff]));
            assert!(Entry::read(Zeroizing::new(octets.clone()), None, no_text).is_none());
            for cut in 0..octets.len() {
                assert!(read(&octets[..cut]).is_none(), "{cut}");
            }
            assert!(read(&[&octets[..], b"x"].concat()).is_none());
            let mut other = octets.clone();
            other[0] = VERSION + 1;
            assert!(read(&other).is_none());
        }
    }

    #[test]
    fn keywords_follow_the_verdict() {
        for (verdict, sealed, want) in [
            (Verdict::Good, true, vec!["$Sealed", "$Signed"]),
            (Verdict::Good, false, vec!["$Signed"]),
            (Verdict::SenderNotYetConfirmed, true, vec!["$Sealed", "$Signed", "$Unconfirmed"]),
            (Verdict::NotTheSendersKey, true, vec!["$Sealed", "$KeyChanged", "$Withheld"]),
            (Verdict::CannotBeOpened, true, vec!["$Sealed", "$Withheld"]),
            (Verdict::PlainThoughSigns, false, vec!["$SignatureMissing"]),
            (Verdict::Plain, false, vec![]),
        ] {
            assert_eq!(Keywords::of(verdict, sealed).names().collect::<Vec<_>>(), want, "{verdict:?}");
        }
    }
}
