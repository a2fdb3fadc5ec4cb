//! Collation i;unicode-casemap (RFC 5051): texts that differ in case or in how characters are composed are alike. SEARCH,
//! SORT and THREAD compare by it (RFC 5255 §4, I18NLEVEL=1).

use unicode_normalization::char::decompose_compatible;

/// What is compared octet by octet in place of `text` (RFC 5051 §2): each character in its simple titlecase form, and what
/// comes of it decomposed. Each stands for itself, so that a text is mapped alike wherever it is cut.
pub fn casemap(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_uppercase();
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            out.push(c.to_ascii_uppercase());
        } else {
            decompose_compatible(titlecase(c), |part| out.push(part));
        }
    }
    out
}

/// The same, of which so many octets are kept at most.
pub fn casemap_start(text: &str, octets_max: usize) -> String {
    // No character becomes less than a quarter of its octets (a letter of mathematics one of ASCII): what stands further
    // behind changes nothing.
    let mut cut = text.len().min(octets_max.saturating_mul(4));
    while !text.is_char_boundary(cut) {
        cut -= 1;
    }
    let mut mapped = casemap(&text[..cut]);
    let mut cut = mapped.len().min(octets_max);
    while !mapped.is_char_boundary(cut) {
        cut -= 1;
    }
    mapped.truncate(cut);
    mapped
}

/// The titlecase property of UnicodeData.txt: what it says of the uppercase one, but for digraphs and Georgian.
fn titlecase(c: char) -> char {
    let later = |by: u32| char::from_u32(u32::from(c) + by).unwrap_or(c);
    match c {
        'Ǆ'..='ǆ' => 'ǅ',
        'Ǉ'..='ǉ' => 'ǈ',
        'Ǌ'..='ǌ' => 'ǋ',
        'Ǳ'..='ǳ' => 'ǲ',
        // Georgian writes whole words in capitals, and no letter alone.
        'ა'..='ჺ' | 'ჽ'..='ჿ' => c,
        // Greek with an iota below, which `to_uppercase` writes as a letter of its own (SpecialCasing.txt).
        '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => later(8),
        '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => later(9),
        _ => {
            let mut upper = c.to_uppercase();
            match (upper.next(), upper.next()) {
                (Some(single), None) => single,
                // Other mappings to several characters (ß) stand in SpecialCasing.txt alone.
                _ => c,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The example of RFC 5051 §2, and each rule once.
    #[test]
    fn known_answers() {
        for (text, mapped) in [
            ("\u{1c4}", "Dz\u{30c}"),
            ("ǆ", "Dz\u{30c}"),
            ("Hello", "HELLO"),
            ("Grüße", "GRU\u{308}ßE"),
            ("gru\u{308}ßE", "GRU\u{308}ßE"),
            ("Σίσυφος", "ΣΙ\u{301}ΣΥΦΟΣ"),
            ("ﬁ ℎ", "fi h"),
            ("ᾳ", "Α\u{345}"),
            ("\u{345}", "Ι"),
            ("საქართველო", "საქართველო"),
            ("한", "\u{1112}\u{1161}\u{11ab}"),
            ("Ⅻ ½", "XII 1\u{2044}2"),
            ("①", "1"),
        ] {
            assert_eq!(casemap(text), mapped, "{text}");
        }
    }

    #[test]
    fn case_and_composition_make_no_difference() {
        for (one, other) in
            [("hello", "HELLO"), ("Grüße", "GRu\u{308}ßE"), ("ǆ", "Ǆ"), ("ς", "Σ"), ("Å", "å")]
        {
            assert_eq!(casemap(one), casemap(other), "{one} {other}");
        }
        assert!(casemap("a") < casemap("B"));
        assert_ne!(casemap("a"), casemap("ä"));
    }

    /// What maps to the fewest octets, up to the limit.
    #[test]
    fn what_shrinks_is_not_cut_early() {
        assert_eq!(casemap_start(&"𝐚".repeat(9), 7), "aaaaaaa");
    }

    #[test]
    fn is_as_long_as_it_may_be() {
        for (len, kept) in [(99, 99), (100, 100), (101, 100)] {
            assert_eq!(casemap_start(&"x".repeat(len), 100).len(), kept);
        }
        assert_eq!(casemap_start("xä", 2), "XA");
        assert_eq!(casemap_start("xä", 3), "XA");
        assert_eq!(casemap_start("", 0), "");
    }

    proptest! {
        #[test]
        fn wherever_it_is_cut(text in "\\PC{0,20}", other in "\\PC{0,20}", len in 0..50_usize) {
            let whole = casemap(&format!("{text}{other}"));
            prop_assert_eq!(&whole, &(casemap(&text) + &casemap(&other)));
            let start = casemap_start(&format!("{text}{other}"), len);
            prop_assert!(whole.starts_with(&start) && start.len() <= len);
            prop_assert!(start == whole || start.len() + 4 > len, "{} octets of {}", start.len(), len);
        }
    }
}
