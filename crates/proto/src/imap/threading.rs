//! What THREAD compares: message ids and base subjects (RFC 5256 §2.1, §3).

/// Longest message id taken: a line of RFC 5322 holds none longer.
const ID_MAX: usize = 998;
/// Octets of a subject from which its base is made; beyond it subjects differ for no reader.
const SUBJECT_MAX: usize = 4096;

/// The message ids in a Message-ID, In-Reply-To or References field, without angle brackets, quoting, comments and
/// white space, so that equal ids have equal octets. What stands outside of brackets (`In-Reply-To: your letter of
/// Monday <1@example.net>`) is none; programs that write ids without `@` exist, and are taken.
pub fn message_ids(value: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let mut rest = value;
    std::iter::from_fn(move || {
        loop {
            let start = memchr::memchr(b'<', rest)?;
            let (id, behind) = message_id(&rest[start + 1..]);
            rest = behind;
            if let Some(id) = id.filter(|id| !id.is_empty() && id.len() <= ID_MAX) {
                return Some(id);
            }
        }
    })
}

/// The id behind `<`, if it ends, and what stands behind it.
fn message_id(text: &[u8]) -> (Option<Vec<u8>>, &[u8]) {
    let mut id = Vec::new();
    let (mut quoted, mut at) = (false, 0);
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => {
                id.extend(text.get(at));
                at += 1;
            }
            b'>' if !quoted => return (Some(id), &text[at..]),
            // The id before was not ended; this one may be.
            b'<' if !quoted => return (None, &text[at - 1..]),
            b' ' | b'\t' | b'\r' | b'\n' if !quoted => {}
            byte => id.push(byte),
        }
    }
    (None, &[])
}

/// A subject without what replies, forwards and lists put around it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BaseSubject {
    /// RFC 5256 §2.1, case kept.
    pub text: String,
    /// Whether something of a reply or a forward was taken off.
    pub is_reply: bool,
}

/// The base of a subject whose encoded words are decoded.
pub fn base_subject(subject: &str) -> BaseSubject {
    let mut cut = subject.len().min(SUBJECT_MAX);
    while !subject.is_char_boundary(cut) {
        cut -= 1;
    }
    // (1)
    let text =
        subject[..cut].split([' ', '\t', '\r', '\n']).filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ");
    let mut is_reply = false;
    let mut text = text.as_str();
    loop {
        // (2)
        loop {
            text = text.trim_end_matches(' ');
            match strip_end(text, "(fwd)") {
                Some(rest) => (text, is_reply) = (rest, true),
                None => break,
            }
        }
        // (3) to (5): blobs go with the `re:` behind them, or else one by one while something is left.
        text = text.trim_start_matches(' ');
        while let Some(rest) = refwd(blobs(text, usize::MAX)) {
            (text, is_reply) = (rest.trim_start_matches(' '), true);
        }
        let behind = blobs(text, usize::MAX);
        if behind.is_empty() {
            while let Some(rest) = Some(blobs(text, 1)).filter(|rest| !rest.is_empty() && *rest != text) {
                text = rest;
            }
        } else {
            text = behind;
        }
        // (6)
        let forwarded = strip_start(text, "[fwd:").and_then(|inner| inner.strip_suffix(']'));
        match forwarded {
            Some(inner) => (text, is_reply) = (inner, true),
            None => return BaseSubject { text: text.to_owned(), is_reply },
        }
    }
}

/// Behind up to `most` times `subj-blob = "[" *BLOBCHAR "]" *WSP`.
fn blobs(mut text: &str, most: usize) -> &str {
    for _ in 0..most {
        let Some(inner) = text.strip_prefix('[') else { break };
        match inner.find(['[', ']']) {
            Some(end) if inner.as_bytes()[end] == b']' => text = inner[end + 1..].trim_start_matches(' '),
            _ => break,
        }
    }
    text
}

/// Behind `subj-refwd = ("re" / ("fw" ["d"])) *WSP [subj-blob] ":"`.
fn refwd(text: &str) -> Option<&str> {
    let rest = ["re", "fwd", "fw"].iter().find_map(|word| strip_start(text, word))?;
    blobs(rest.trim_start_matches(' '), 1).strip_prefix(':')
}

fn strip_start<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    text.get(..start.len()).filter(|found| found.eq_ignore_ascii_case(start)).map(|_| &text[start.len()..])
}

fn strip_end<'a>(text: &'a str, end: &str) -> Option<&'a str> {
    let at = text.len().checked_sub(end.len())?;
    text.get(at..).filter(|found| found.eq_ignore_ascii_case(end)).map(|_| &text[..at])
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids() {
        for (value, ids) in [
            ("<1@example.net>", &["1@example.net"][..]),
            ("your letter of Monday <1@x> (and\r\n <2@x>)", &["1@x", "2@x"]),
            ("<\"01KF8JCEOCBS0045PS\"@xxx.yyy.com>", &["01KF8JCEOCBS0045PS@xxx.yyy.com"]),
            ("<\"a\\\"> b\"@x>", &["a\"> b@x"]),
            ("<broken <1@x><2@x>", &["1@x", "2@x"]),
            ("<a\r\n b@x>", &["ab@x"]),
            ("<no-at>", &["no-at"]),
            ("<>", &[]),
            ("<", &[]),
            ("1@x", &[]),
            ("", &[]),
        ] {
            let found: Vec<_> =
                message_ids(value.as_bytes()).map(|id| String::from_utf8(id).unwrap()).collect();
            assert_eq!(found, ids, "{value}");
        }
        for (len, taken) in [(ID_MAX, 1), (ID_MAX + 1, 0)] {
            assert_eq!(message_ids(format!("<{}>", "x".repeat(len)).as_bytes()).count(), taken);
        }
    }

    #[test]
    fn bases() {
        for (subject, base, is_reply) in [
            ("hello", "hello", false),
            ("  hello \t there\r\n ", "hello there", false),
            ("Re: hello", "hello", true),
            ("RE: Fwd: fw: hello", "hello", true),
            ("Re : hello", "hello", true),
            ("Re [2]: hello", "hello", true),
            ("[list] hello", "hello", false),
            ("[list] Re: [list] hello", "hello", true),
            ("[a] [b] hello", "hello", false),
            ("[a][b]", "[b]", false),
            ("Re: [a]", "[a]", true),
            ("hello (fwd) (Fwd) ", "hello", true),
            ("[Fwd: hello]", "hello", true),
            ("[Fwd: Re: [Fwd: hello (fwd)]]", "hello", true),
            ("regarding: hello", "regarding: hello", false),
            ("re", "re", false),
            ("Re:", "", true),
            ("", "", false),
            ("[", "[", false),
            ("[a", "[a", false),
            ("[a[b]] c", "[a[b]] c", false),
            ("[fwd: a] b", "b", false),
            ("Ré: hello", "Ré: hello", false),
            ("Re: Grüße", "Grüße", true),
        ] {
            let expected = BaseSubject { text: base.to_owned(), is_reply };
            assert_eq!(base_subject(subject), expected, "{subject:?}");
        }
        for (len, kept) in [(SUBJECT_MAX, SUBJECT_MAX), (SUBJECT_MAX + 1, SUBJECT_MAX)] {
            assert_eq!(base_subject(&"x".repeat(len)).text.len(), kept);
        }
        assert_eq!(base_subject(&format!("x{}", "ä".repeat(SUBJECT_MAX / 2))).text.len(), SUBJECT_MAX - 1);
    }

    proptest! {
        #[test]
        fn never_panics(octets in proptest::collection::vec(any::<u8>(), 0..60), subject in "\\PC{0,40}") {
            prop_assert!(message_ids(&octets).all(|id| !id.is_empty()));
            let _ = base_subject(&subject);
        }
        #[test]
        fn a_base_has_itself_as_base(subject in "(re|fwd?|\\[|\\]|:| |a|ä|\\(fwd\\)|\\[fwd:){0,12}") {
            let base = base_subject(&subject).text;
            prop_assert_eq!(base_subject(&base), BaseSubject { text: base.clone(), is_reply: false });
        }
    }
}
