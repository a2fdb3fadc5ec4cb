//! What the local index keeps of one message: see [`Entry`].

use sealpost_client::open::{Again, Described, Opened, Verdict};
use sealpost_proto::imap::response;
use zeroize::Zeroizing;

/// Version of the form in which entries are stored; others are made anew.
const VERSION: u8 = 7;

/// How much of an entry is asked for: its parts are sealed apart, since some are long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// Keywords, size, ENVELOPE, BODY, BODYSTRUCTURE, PREVIEW.
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
    /// ENVELOPE.
    pub(crate) envelope: Zeroizing<Vec<u8>>,
    /// BODY.
    pub(crate) body: Zeroizing<Vec<u8>>,
    /// BODYSTRUCTURE.
    pub(crate) body_structure: Zeroizing<Vec<u8>>,
    /// PREVIEW.
    pub(crate) preview: Zeroizing<Vec<u8>>,
    /// What opens it again.
    pub(crate) again: Again,
    /// Header as shown, with the empty line; see [`Need`].
    pub(crate) head: Option<Zeroizing<Vec<u8>>>,
    /// The texts of its parts, in the form in which the server compares too (i;unicode-casemap); see [`Need`].
    pub(crate) text: Option<Zeroizing<String>>,
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
        Self {
            keywords: Keywords::of(opened.verdict, opened.sealed),
            size: described.size,
            growth: u32::try_from(described.size.saturating_sub(stored)).unwrap_or(u32::MAX),
            envelope: described.envelope,
            body: described.body,
            body_structure: described.body_structure,
            preview: Zeroizing::new(preview),
            again,
            text: Some(described.text),
            head: Some(described.head),
        }
    }

    /// What it takes of memory, about.
    pub(crate) fn octets(&self) -> usize {
        let (head, text) =
            (self.head.as_ref().map_or(0, |h| h.len()), self.text.as_ref().map_or(0, |t| t.len()));
        self.envelope.len() + self.body.len() + self.body_structure.len() + head + text
    }

    /// Goes on without its header and its text.
    pub(crate) fn forget_text(&mut self) {
        self.head = Some(Zeroizing::default());
        self.text = Some(Zeroizing::default());
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
    /// (4), then each text behind its length (4).
    pub(crate) fn to_octets(&self) -> Zeroizing<Vec<u8>> {
        let again = self.again.to_octets();
        let texts = [&self.envelope, &self.body, &self.body_structure, &self.preview, &again];
        let length = 14 + texts.iter().map(|text| 4 + text.len()).sum::<usize>();
        let mut out = Zeroizing::new(Vec::with_capacity(length));
        out.extend([VERSION, self.keywords.0]);
        out.extend(self.size.to_le_bytes());
        out.extend(self.growth.to_le_bytes());
        for text in texts {
            // Descriptions are bounded far below 4 GiB.
            out.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
            out.extend_from_slice(text);
        }
        out
    }

    /// Inverse of [`Entry::to_octets`], with what else was asked for.
    pub(crate) fn read(
        octets: &[u8],
        head: Option<Zeroizing<Vec<u8>>>,
        text: Option<Zeroizing<Vec<u8>>>,
    ) -> Option<Self> {
        let (start, mut rest) = octets.split_at_checked(14)?;
        if start[0] != VERSION {
            return None;
        }
        let size = u64::from_le_bytes(start[2..10].try_into().ok()?);
        let growth = u32::from_le_bytes(start[10..].try_into().ok()?);
        let mut next = || -> Option<Zeroizing<Vec<u8>>> {
            let (length, behind) = rest.split_at_checked(4)?;
            let length = usize::try_from(u32::from_le_bytes(length.try_into().ok()?)).ok()?;
            let (text, behind) = behind.split_at_checked(length)?;
            rest = behind;
            Some(Zeroizing::new(text.to_vec()))
        };
        let (envelope, body, body_structure, preview) = (next()?, next()?, next()?, next()?);
        let again = Again::read(&next()?)?;
        let text = match text {
            Some(mut octets) => Some(Zeroizing::new(String::from_utf8(std::mem::take(&mut *octets)).ok()?)),
            None => None,
        };
        rest.is_empty().then_some(Self {
            keywords: Keywords(start[1]),
            size,
            growth,
            envelope,
            body,
            body_structure,
            preview,
            again,
            head,
            text,
        })
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
        let entry = Entry {
            keywords: Keywords::of(Verdict::Good, true),
            size: 1 << 40,
            growth: 300,
            envelope: text("(NIL)"),
            body: text(""),
            body_structure: text("()"),
            preview: text("\"\""),
            again: Again::read(&[0]).unwrap(),
            head: Some(text("Subject: x\r\n\r\n")),
            text: Some(Zeroizing::new(casemap("Grüße ΣΑΣ"))),
        };
        let octets = entry.to_octets();
        let others = || (entry.head.clone(), Some(text(entry.text())));
        let read = |octets: &[u8]| Entry::read(octets, others().0, others().1);
        assert!(read(&octets).unwrap() == entry);
        assert!(
            Entry::read(&octets, None, None).unwrap() == Entry { head: None, text: None, ..entry.clone() }
        );
        assert!(Entry::read(&octets, None, Some(Zeroizing::new(vec![0xff]))).is_none());
        for cut in 0..octets.len() {
            assert!(read(&octets[..cut]).is_none(), "{cut}");
        }
        assert!(read(&[&octets[..], b"x"].concat()).is_none());
        let mut other = octets.to_vec();
        other[0] = VERSION + 1;
        assert!(read(&other).is_none());
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
