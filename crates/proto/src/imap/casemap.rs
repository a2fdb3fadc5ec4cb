//! Collation i;unicode-casemap (RFC 5051): texts that differ in case or in how characters are composed are alike.

use unicode_normalization::UnicodeNormalization as _;

/// What is compared octet by octet in place of `text`, of which so many octets are kept at most: characters decomposed,
/// each in its simple capital form. RFC 5051 §2 takes title case and decomposes what comes of it; decomposed first, a
/// character and its parts are alike in every case, and so are ligatures and their letters.
pub fn casemap(text: &str, octets_max: usize) -> String {
    let mut out = String::new();
    for c in text.nfkd() {
        let mut upper = c.to_uppercase();
        let c = match (upper.next(), upper.next()) {
            (Some(single), None) => single,
            // A mapping to several characters (ß) is none of the simple ones.
            _ => c,
        };
        if out.len() + c.len_utf8() > octets_max {
            break;
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn case_and_composition_make_no_difference() {
        for (one, other) in
            [("hello", "HELLO"), ("Grüße", "GRu\u{308}ßE"), ("ǆ", "ǅ"), ("ﬁ", "FI"), ("ς", "Σ")]
        {
            assert_eq!(casemap(one, 100), casemap(other, 100), "{one} {other}");
        }
        assert!(casemap("a", 100) < casemap("B", 100));
        assert_ne!(casemap("a", 100), casemap("ä", 100));
    }

    #[test]
    fn is_as_long_as_it_may_be() {
        for (len, kept) in [(99, 99), (100, 100), (101, 100)] {
            assert_eq!(casemap(&"x".repeat(len), 100).len(), kept);
        }
        assert_eq!(casemap("xä", 2), "XA");
        assert_eq!(casemap("", 0), "");
    }

    proptest! {
        #[test]
        fn however_it_is_composed(text in "\\PC{0,20}") {
            let (composed, decomposed): (String, String) = (text.nfc().collect(), text.nfd().collect());
            prop_assert_eq!(casemap(&composed, 1000), casemap(&decomposed, 1000));
            let once = casemap(&text, 1000);
            prop_assert_eq!(casemap(&once, 1000), once);
        }
    }
}
