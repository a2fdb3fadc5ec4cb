//! Sketches: what a message can hold at the most. A search opens only messages whose sketch has all trigrams of what it
//! looks for; it may only narrow, so a sketch is made from the very texts that [`super::text`] searches.
//!
//! A trigram is three octets of a folded text in a row; a sketch is a bitmap of their hashes, two to six bits for each
//! different one, its length a power of two. Chance lets 39 % of trigrams pass at the most, so that a word of five letters
//! rules out 15 messages of 16, and a name of ten all but one in some thousand. The hash has no key: who writes a
//! message can fill the bitmap of that message, which then is opened by every search, as it was before there were
//! sketches, and that of no other.
//!
//! What makes more text searched than before ([`super::text`], the scanner) makes sketches of stored messages wrong: it
//! comes with a migration that removes them. Why this and not a full-text index: `docs/decisions/0008-search.md`.

use super::{
    index::Index,
    section::each_field,
    text::{self, HEADER_MAX, Sink},
};
use bytes::Bytes;
use sealpost_store::mailbox::{ContentReader, Sketch};
use std::io;

/// Bits of the largest sketch of a header, a power of two: 4 KiB, half of them set at the most. A header of 1 KiB has some
/// 500 trigrams.
const HEADER_BITS: usize = 1 << 15;
/// Bits of the largest sketch of a text, a power of two: 16 KiB, half of them set at the most. A book in one language has
/// fewer trigrams.
const TEXT_BITS: usize = 1 << 17;
/// Least bits for each trigram of a header, ...
const HEADER_BITS_EACH: usize = 3;
/// ... and of a text, of which searches have more time to open a few too many.
const TEXT_BITS_EACH: usize = 2;
/// Bits of the smallest one that is not empty.
const BITS_MIN: usize = 64;
/// A message with more octets of text than this has no sketch of them: it is made while the sender waits.
const TEXT_MAX: u64 = 1024 * 1024;
/// Octets in a row that are looked at together.
const GRAM: usize = 3;

/// Where a trigram (in the lower 24 bits) stands in a bitmap, of which a smaller one takes the lower bits.
fn place(trigram: u32) -> u32 {
    // Multiplied by 2^64 divided by the golden ratio, the bits from 40 on depend on all 24.
    let mixed = u64::from(trigram).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    u32::try_from(mixed).unwrap_or(0)
}

/// The trigrams of texts that are pushed piece by piece.
struct Trigrams {
    words: Vec<u64>,
    different: usize,
    /// The last octets, ...
    last: u32,
    /// ... so many of this text, up to two.
    before: usize,
}

impl Trigrams {
    /// For texts of about so many octets, in at most so many bits (a power of two).
    fn new(octets: u64, bits_max: usize) -> Self {
        // Four bits for each octet: so few trigrams fall together in it that they are counted well enough.
        let bits = usize::try_from(octets.saturating_mul(4)).unwrap_or(bits_max).min(bits_max);
        Self { words: vec![0; bits.next_power_of_two().max(BITS_MIN) / 64], different: 0, last: 0, before: 0 }
    }

    /// The sketch, of at least so many bits for each trigram, and less than twice as many; `None` where it would rule
    /// out too little.
    fn finish(mut self, bits_each: usize) -> Option<Bytes> {
        if self.is_done() {
            return None;
        }
        if self.different == 0 {
            return Some(Bytes::new());
        }
        let words = (bits_each * self.different).next_power_of_two().max(BITS_MIN) / 64;
        while self.words.len() > words {
            let half = self.words.len() / 2;
            let (lower, upper) = self.words.split_at_mut(half);
            for (word, other) in lower.iter_mut().zip(upper) {
                *word |= *other;
            }
            self.words.truncate(half);
        }
        let mut octets = Vec::with_capacity(self.words.len() * 8);
        for word in &self.words {
            octets.extend_from_slice(&word.to_le_bytes());
        }
        Some(octets.into())
    }
}

impl Sink for Trigrams {
    fn part(&mut self) {
        self.before = 0;
    }

    fn push(&mut self, folded: &str) {
        let mut octets = folded.as_bytes();
        while self.before + 1 < GRAM
            && let Some((first, rest)) = octets.split_first()
        {
            self.last = self.last << 8 | u32::from(*first);
            self.before += 1;
            octets = rest;
        }
        let (mut last, mut different) = (self.last, self.different);
        let mask = self.words.len() - 1;
        for octet in octets {
            last = (last << 8 | u32::from(*octet)) & 0xff_ffff;
            let at = place(last) as usize;
            let (word, bit) = (&mut self.words[(at / 64) & mask], at % 64);
            different += usize::from(*word >> bit & 1 == 0);
            *word |= 1 << bit;
        }
        (self.last, self.different) = (last, different);
    }

    /// More than half of the largest bitmap: it gets no better.
    fn is_done(&self) -> bool {
        self.different > self.words.len() * 32
    }
}

/// The sketches of a message.
pub(super) fn sketch(index: &Index, content: &dyn ContentReader) -> io::Result<Sketch> {
    let Some(root) = index.parts.first() else { return Ok(Sketch::default()) };
    let range = root.header..root.body;
    let mut header = None;
    if root.body - root.header <= HEADER_MAX {
        let mut trigrams = Trigrams::new(root.body - root.header, HEADER_BITS);
        // As TEXT looks at it, ...
        let plain = text::header_text(content, range.clone(), &mut trigrams)?;
        if !plain {
            // ... and as the keys for single fields do; where nothing is decoded that is the same text, in pieces.
            let mut fields = Vec::new();
            each_field(content, range, |_, field| fields.push(field))?;
            for field in fields {
                text::field_text(content, field, &mut trigrams)?;
            }
        }
        header = trigrams.finish(HEADER_BITS_EACH);
    }
    let octets = text::body_octets(index);
    let mut body = None;
    if octets <= TEXT_MAX {
        let mut trigrams = Trigrams::new(octets, TEXT_BITS);
        text::body_text(index, content, &mut trigrams)?;
        body = trigrams.finish(TEXT_BITS_EACH);
    }
    Ok(Sketch { header, text: body })
}

/// What has to be in a sketch of a message that has a text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Probe(Vec<u32>);

impl Probe {
    /// For a folded text. One shorter than a trigram rules nothing out.
    pub(super) fn of(folded: &str) -> Self {
        let trigram = |w: &[u8]| w.iter().fold(0, |n, octet| n << 8 | u32::from(*octet));
        let mut places: Vec<u32> = folded.as_bytes().windows(GRAM).map(|w| place(trigram(w))).collect();
        places.sort_unstable();
        places.dedup();
        Self(places)
    }

    /// For two texts of which both have to be there.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Whether it rules anything out.
    pub(super) fn narrows(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether a message with this sketch may have the text.
    pub(super) fn may_be_in(&self, sketch: Option<&[u8]>) -> bool {
        let Some(sketch) = sketch else { return true };
        let bits = sketch.len() * 8;
        if sketch.is_empty() {
            return self.0.is_empty();
        }
        // What is none of ours rules nothing out.
        if !bits.is_power_of_two() {
            return true;
        }
        self.0.iter().all(|place| {
            let at = *place as usize & (bits - 1);
            sketch[at / 8] >> (at % 8) & 1 == 1
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{
        super::{
            section::tests::{Octets, index_of},
            text::fold,
        },
        *,
    };
    use proptest::prelude::*;

    fn of(texts: &[&str], bits: usize) -> Option<Bytes> {
        let mut trigrams = Trigrams::new(u64::MAX, bits);
        for text in texts {
            trigrams.part();
            // However it is cut.
            for piece in text.split_inclusive('e') {
                trigrams.push(piece);
            }
        }
        trigrams.finish(TEXT_BITS_EACH)
    }

    #[test]
    fn what_is_in_the_text_is_in_the_sketch() {
        let sketch = of(&["the quick brown fox", "jumps over"], TEXT_BITS).unwrap();
        assert_eq!(sketch.len(), BITS_MIN / 8);
        for (needle, expected) in [
            ("", true),
            ("q", true),
            ("zz", true),
            ("the", true),
            ("the quick brown fox", true),
            ("over", true),
            ("slow", false),
            ("fox jumps", false),
        ] {
            assert_eq!(Probe::of(needle).may_be_in(Some(&sketch)), expected, "{needle}");
        }
        assert!(Probe::of("anything").may_be_in(None), "of what has no sketch nothing is known");
        assert!(Probe::of("anything").may_be_in(Some(&[0; 24])), "nor of what is none");
        assert!(!Probe::of("anything").may_be_in(Some(&[])));
        assert!(Probe::of("ab").may_be_in(Some(&[])) && !Probe::of("ab").narrows());
        assert!(!Probe::of("the").and(Probe::of("slow")).may_be_in(Some(&sketch)));
    }

    #[test]
    fn sizes_follow_the_number_of_trigrams() {
        // Words of digits: each is new.
        let words = |count: usize| (0..count).map(|n| format!("{n:03x}")).collect::<Vec<_>>();
        for (count, octets) in [(0, 0), (1, 8), (32, 8), (33, 16), (64, 16), (65, 32), (1024, 256)] {
            let words = words(count);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            assert_eq!(of(&words, TEXT_BITS).unwrap().len(), octets, "{count}");
        }
        // One below and one above what the largest takes.
        let mut trigrams = Trigrams::new(u64::MAX, 128);
        (trigrams.different, trigrams.words) = (64, vec![u64::MAX, 0]);
        assert!(!trigrams.is_done());
        assert_eq!(trigrams.finish(2).unwrap().len(), 16);
        let mut trigrams = Trigrams::new(u64::MAX, 128);
        trigrams.different = 65;
        assert!(trigrams.is_done());
        assert_eq!(trigrams.finish(2), None);
    }

    #[test]
    fn what_is_too_long_has_none() {
        let header = |len: u64| {
            let message = format!("A: {}\r\n\r\n", "x".repeat(usize::try_from(len).unwrap() - 7));
            sketch(&index_of(message.as_bytes()), &Octets(message.into_bytes())).unwrap().header
        };
        assert!(header(HEADER_MAX).is_some());
        assert!(header(HEADER_MAX + 1).is_none());
        let text = |len: u64| {
            let message = format!("\r\n{}", "x".repeat(usize::try_from(len).unwrap()));
            sketch(&index_of(message.as_bytes()), &Octets(message.into_bytes())).unwrap().text
        };
        assert_eq!(text(TEXT_MAX).unwrap().len(), 8);
        assert!(text(TEXT_MAX + 1).is_none());
    }

    /// profile §6: nobody but who has the key can read it, so there is nothing to find.
    #[test]
    fn a_sealed_body_has_nothing_to_be_found_in() {
        let message = include_bytes!("../../tests/messages/15-sealed.eml");
        let sketch = sketch(&index_of(message), &Octets(message.to_vec())).unwrap();
        assert_eq!(sketch.text, Some(Bytes::new()));
        assert!(Probe::of(&fold("x-sender-encrypted")).may_be_in(sketch.header.as_deref()));
    }

    /// The bound that the documentation names: a third of all trigrams pass by chance at the most.
    #[test]
    fn few_pass_by_chance() {
        let text: String =
            (0..600_u32).map(|n| char::from(b'a' + u8::try_from(n * n % 1009 * 31 % 26).unwrap())).collect();
        let sketch = of(&[&text], TEXT_BITS).unwrap();
        let passed = (0..1000).filter(|n| Probe::of(&format!("{n:03}")).may_be_in(Some(&sketch))).count();
        assert!(passed < 420, "{passed} of 1000");
        let passed = (0..1000)
            .filter(|n| Probe::of(&fold(&format!("N{n:03}-{n:03}-{n:03}"))).may_be_in(Some(&sketch)))
            .count();
        assert!(passed < 20, "{passed} of 1000");
    }

    /// Keeps what is pushed, by parts.
    #[derive(Default)]
    struct Collector(Vec<String>);

    impl Sink for Collector {
        fn part(&mut self) {
            self.0.push(String::new());
        }
        fn push(&mut self, folded: &str) {
            self.0.last_mut().unwrap().push_str(folded);
        }
        fn is_done(&self) -> bool {
            false
        }
    }

    /// Odd messages: encoded words that are split, broken, in charsets that are none; folds; raw octets; parts that do
    /// not end, that are encoded wrongly, and messages within.
    fn message() -> impl Strategy<Value = Vec<u8>> {
        let word: Vec<&[u8]> = vec![
            b"plain",
            b" ",
            b"  ",
            b"\r\n ",
            b"\r\n\t",
            b"=?utf-8?q?Gr=C3=BC=C3=9Fe?=",
            b"=?utf-8?B?w6TDtg==?=",
            b"=?koi8-r?B?8NLJ18XU?=",
            b"=?none?Q?a_b?=",
            b"=?utf-8?Q?=C3?=",
            b"=?utf-8?Q?=BC?=",
            b"=?",
            b"?=",
            "\u{39f}\u{394}\u{39f}\u{3a3}".as_bytes(),
            "\u{130}\u{df}\u{212a}".as_bytes(),
            b"\xff\xfe",
            b"\xc3",
            b"\0",
            b":",
        ];
        let field = (
            "(Subject|From|X-Odd|SUBJECT |\\PC{0,3})",
            prop::collection::vec(prop::sample::select(word), 0..8),
        )
            .prop_map(|(name, words)| [name.as_bytes(), b":", &words.concat(), b"\r\n"].concat());
        let content_type = prop::sample::select(vec![
            "text/plain; charset=utf-8",
            "text/html; charset=iso-8859-1",
            "text/plain; charset=shift_jis",
            "text/x; charset=utf-16",
            "text/plain; charset=us-ascii",
            "message/rfc822",
            "multipart/mixed; boundary=b",
            "application/age",
            "",
        ]);
        let encoding = prop::sample::select(vec!["7bit", "base64", "quoted-printable", "odd"]);
        let piece: Vec<&[u8]> = vec![
            b"Some text ",
            b"=\r\n",
            b"=FC",
            b"=C3=",
            b"w4RwZmVs",
            b"IHVuZA==",
            b"\r\n",
            b"\r\n--b\r\n",
            b"\r\n\r\n",
            b"\r\n--b--\r\n",
            "\u{c4}PFEL".as_bytes(),
            b"\x83e\x83X",
            b"\xff",
            b"\0",
            b"Subject: within\r\n",
            b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n",
        ];
        let body = prop::collection::vec(prop::sample::select(piece), 0..20);
        (prop::collection::vec(field, 0..5), content_type, encoding, body).prop_map(
            |(fields, kind, encoding, body)| {
                let mime = format!("Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n");
                [fields.concat(), mime.into_bytes(), body.concat()].concat()
            },
        )
    }

    /// A piece of one of the texts; of nothing where there is none.
    fn piece(
        texts: &[String],
        (which, from, len): (prop::sample::Index, prop::sample::Index, usize),
    ) -> String {
        if texts.is_empty() {
            return String::new();
        }
        let all: Vec<char> = which.get(texts).chars().collect();
        let from = from.index(all.len() + 1);
        all[from..].iter().take(len).collect()
    }

    proptest! {
        /// A sketch may only narrow: whatever a search would find in a message, its sketch lets pass.
        #[test]
        fn nothing_that_is_there_is_ruled_out(
            octets in message(),
            at in (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0_usize..9),
            other in "[a-z =?]{0,4}",
        ) {
            let (index, content) = (index_of(&octets), Octets(octets));
            let root = &index.parts[0];
            let sketch = sketch(&index, &content).unwrap();
            let (header, body) = (sketch.header.as_deref(), sketch.text.as_deref());
            let mut texts = Collector::default();
            text::header_text(&content, root.header..root.body, &mut texts).unwrap();
            let mut fields = Vec::new();
            each_field(&content, root.header..root.body, |name, range| fields.push((name.to_vec(), range))).unwrap();
            for (_, range) in &fields {
                text::field_text(&content, range.clone(), &mut texts).unwrap();
            }
            let of_header = piece(&texts.0, at);
            prop_assert!(Probe::of(&of_header).may_be_in(header), "{of_header:?}");
            let mut texts = Collector::default();
            text::body_text(&index, &content, &mut texts).unwrap();
            let of_body = piece(&texts.0, at);
            prop_assert!(text::body_has(&index, &content, &of_body).unwrap(), "{of_body:?}");
            prop_assert!(text::text_has(&index, &content, &of_body).unwrap(), "{of_body:?}");
            for needle in [of_header, of_body, fold(&other)] {
                let probe = Probe::of(&needle);
                if text::body_has(&index, &content, &needle).unwrap() {
                    prop_assert!(probe.may_be_in(body), "{needle:?}");
                }
                if text::text_has(&index, &content, &needle).unwrap() {
                    prop_assert!(probe.may_be_in(header) || probe.may_be_in(body), "{needle:?}");
                }
                for (name, _) in &fields {
                    let name = String::from_utf8_lossy(name).to_uppercase();
                    if text::header_has(&index, &content, &name, &needle).unwrap() {
                        let probe = probe.clone().and(Probe::of(&fold(&name)));
                        prop_assert!(probe.may_be_in(header), "{name}: {needle:?}");
                    }
                }
            }
        }
    }
}
