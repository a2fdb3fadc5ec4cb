//! What a writer needs so that no relay has cause to change anything (profile §6): 7-bit lines of at most 76 columns.

use crate::base64;
use std::fmt::Write as _;

/// Widest line written.
pub const COLUMNS: usize = 76;

/// Longest encoded word (RFC 2047 §2).
const MAX_ENCODED_WORD: usize = 75;

/// Whether `text` may stand in a header field: no line break, no control character, nor Unicode's line and paragraph
/// separators.
pub fn is_header_text(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'))
}

/// A field of unstructured text (RFC 5322 §3.6.5) with its line end: plain where it survives as it is, else in encoded
/// words (RFC 2047). Control characters must have been refused before ([`is_header_text`]).
pub fn text_field(name: &str, text: &str) -> String {
    let mut out = format!("{name}:");
    // White space at the ends or in runs does not survive unfolding everywhere; a long word cannot be folded.
    let room = COLUMNS.saturating_sub(name.len() + ": ".len());
    let plain = text.bytes().all(|b| (0x20..0x7f).contains(&b))
        && text.split(' ').all(|word| !word.is_empty() && word.len() <= room && !word.contains("=?"));
    if text.is_empty() {
        out.push(' ');
    } else if plain {
        fold_words(&mut out, text.split(' '));
    } else {
        fold_words(&mut out, encoded_words(text).iter().map(String::as_str));
    }
    out.push_str("\r\n");
    out
}

/// A field whose words (addresses with their commas, message ids) may be folded apart, with its line end.
pub fn words_field<'a>(name: &str, words: impl IntoIterator<Item = &'a str>) -> String {
    let mut out = format!("{name}:");
    fold_words(&mut out, words);
    out.push_str("\r\n");
    out
}

fn fold_words<'a>(out: &mut String, words: impl IntoIterator<Item = &'a str>) {
    let mut column = out.len();
    let mut first = true;
    for word in words {
        // The first word stays beside the name: some programs take a line that is only white space for the end.
        if !first && column + 1 + word.len() > COLUMNS {
            out.push_str("\r\n");
            column = 0;
        }
        out.push(' ');
        out.push_str(word);
        column += 1 + word.len();
        first = false;
    }
}

/// `text` as encoded words, each whole characters of UTF-8 (RFC 2047 §5), in Q where most of it
/// stays readable, else in B.
pub(crate) fn encoded_words(text: &str) -> Vec<String> {
    let q_len = |c: char| if is_q_plain(c) || c == ' ' { 1 } else { 3 * c.len_utf8() };
    let q_total: usize = text.chars().map(q_len).sum();
    let q = q_total <= text.len() * 2;
    let frame = "=?utf-8?q??=".len();
    // 12 columns are left for the field's name, so that the first word fits beside it.
    let room = MAX_ENCODED_WORD - frame - 12;
    let mut words = Vec::new();
    let mut chunk = String::new();
    let mut used = 0;
    for c in text.chars() {
        let grown = if q { used + q_len(c) } else { (chunk.len() + c.len_utf8()).div_ceil(3) * 4 };
        if grown > room && !chunk.is_empty() {
            words.push(encoded_word(&chunk, q));
            chunk.clear();
            used = 0;
        }
        chunk.push(c);
        used += q_len(c);
    }
    if !chunk.is_empty() {
        words.push(encoded_word(&chunk, q));
    }
    words
}

/// Safe in Q everywhere, phrases too (RFC 2047 §5 (3)).
fn is_q_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '!' | '*' | '+' | '-' | '/')
}

fn encoded_word(chunk: &str, q: bool) -> String {
    if !q {
        return format!("=?utf-8?b?{}?=", base64::encode(chunk));
    }
    let mut out = String::from("=?utf-8?q?");
    for c in chunk.chars() {
        if is_q_plain(c) {
            out.push(c);
        } else if c == ' ' {
            out.push('_');
        } else {
            let mut buffer = [0; 4];
            for b in c.encode_utf8(&mut buffer).bytes() {
                push_hex(&mut out, '=', b);
            }
        }
    }
    out.push_str("?=");
    out
}

fn push_hex(out: &mut String, mark: char, octet: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push(mark);
    out.push(char::from(DIGITS[usize::from(octet >> 4)]));
    out.push(char::from(DIGITS[usize::from(octet & 15)]));
}

/// A MIME parameter as lines to be put behind a field: `;` CRLF SP `name="value"`, or in the form of RFC 2231 with
/// continuations where the value is not plain ASCII or too long.
pub fn parameter(name: &str, value: &str) -> String {
    let quoted_plain = value.bytes().all(|b| (0x20..0x7f).contains(&b) && !matches!(b, b'"' | b'\\'));
    let simple = format!(";\r\n {name}=\"{value}\"");
    if quoted_plain && simple.len() <= COLUMNS + 3 && !value.contains("=?") {
        return simple;
    }
    let attribute_char =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'+' | b'!');
    let room = COLUMNS - format!(" {name}*99*=;").len();
    let mut pieces = vec![String::from("utf-8''")];
    for b in value.bytes() {
        let mut piece = String::new();
        if attribute_char(b) {
            piece.push(char::from(b));
        } else {
            push_hex(&mut piece, '%', b);
        }
        match pieces.last_mut() {
            Some(last) if last.len() + piece.len() <= room => last.push_str(&piece),
            _ => pieces.push(piece),
        }
    }
    if let [only] = pieces.as_slice() {
        return format!(";\r\n {name}*={only}");
    }
    let mut out = String::new();
    for (i, piece) in pieces.iter().enumerate() {
        let _ = write!(out, ";\r\n {name}*{i}*={piece}");
    }
    out
}

/// Quoted-printable (RFC 2045 §6.7) of text whose lines end in LF or CRLF. Also encodes what relays are known to
/// change: `From ` and a dot where a line starts, and white space where it ends. Ends in CRLF, exactly one: empty
/// lines at the end are dropped.
pub fn quoted_printable(text: &str) -> String {
    let text = text.trim_end_matches(['\n', '\r']);
    let mut out = String::with_capacity(text.len() + text.len() / 8 + 2);
    for line in text.split('\n') {
        let line = line.strip_suffix('\r').unwrap_or(line).as_bytes();
        let mut column = 0;
        for (i, &b) in line.iter().enumerate() {
            let last = i + 1 == line.len();
            let plain = match b {
                b'=' => false,
                b' ' | b'\t' => !last,
                // `From ` would become `>From ` in an mbox, a dot is what DATA stuffs.
                b'F' if column == 0 => !line[i..].starts_with(b"From "),
                b'.' if column == 0 => false,
                0x21..=0x7e => true,
                _ => false,
            };
            let width = if plain { 1 } else { 3 };
            // A soft line break takes one column, unless this is the end of the line.
            if column + width > COLUMNS - usize::from(!last) {
                out.push_str("=\r\n");
                column = 0;
            }
            // Behind a soft break a line starts anew.
            let plain = plain && !(column == 0 && (b == b'.' || line[i..].starts_with(b"From ")));
            if plain {
                out.push(char::from(b));
                column += 1;
            } else {
                push_hex(&mut out, '=', b);
                column += 3;
            }
        }
        out.push_str("\r\n");
    }
    out
}

/// Base64 in lines of 76 columns, the last one ended too; nothing for nothing.
pub fn base64_lines(octets: &[u8]) -> String {
    let mut out = String::with_capacity(octets.len() / 57 * 78 + 80);
    for line in octets.chunks(COLUMNS / 4 * 3) {
        out.push_str(&base64::encode(line));
        out.push_str("\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_narrow(text: &str) -> bool {
        text.is_ascii() && text.split("\r\n").all(|l| l.len() <= COLUMNS && !l.contains(['\r', '\n']))
    }

    #[test]
    fn subjects() {
        let rows = [
            ("Hello there", "Subject: Hello there\r\n"),
            ("", "Subject: \r\n"),
            ("Grüße aus Basel", "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe_aus_Basel?=\r\n"),
            ("日本語", "Subject: =?utf-8?b?5pel5pys6Kqe?=\r\n"),
            (" two  spaces ", "Subject: =?utf-8?q?_two__spaces_?=\r\n"),
            ("=?utf-8?q?fake?=", "Subject: =?utf-8?q?=3D=3Futf-8=3Fq=3Ffake=3F=3D?=\r\n"),
        ];
        for (text, want) in rows {
            assert_eq!(text_field("Subject", text), want);
        }
        // Found by the fuzzer: the first word stays beside the name, so that it needs room there.
        for length in [67, 68, 75, 76, 77] {
            assert!(is_narrow(&text_field("Subject", &"x".repeat(length))), "{length}");
        }
        let long = "word ".repeat(40);
        assert!(text_field("Subject", long.trim()).matches("\r\n ").count() >= 2);
        assert!(!is_header_text("a\nb") && !is_header_text("a\u{2028}b") && is_header_text("Grüße 🎉"));
    }

    #[test]
    fn parameters() {
        assert_eq!(parameter("filename", "a b.txt"), ";\r\n filename=\"a b.txt\"");
        assert_eq!(parameter("filename", "a\"b"), ";\r\n filename*=utf-8''a%22b");
        assert_eq!(parameter("filename", "ü.txt"), ";\r\n filename*=utf-8''%C3%BC.txt");
        let long = parameter("filename", &"ü".repeat(60));
        assert!(long.starts_with(";\r\n filename*0*=utf-8''%C3") && long.contains(";\r\n filename*1*=%"));
        assert!(is_narrow(&long));
    }

    #[test]
    fn quoted_printable_leaves_nothing_to_change() {
        let rows = [
            ("", "\r\n"),
            ("a", "a\r\n"),
            ("a\n\n\n", "a\r\n"),
            ("a\r\n\r\nb\n", "a\r\n\r\nb\r\n"),
            ("From me\n.\n..x\nFromage", "=46rom me\r\n=2E\r\n=2E.x\r\nFromage\r\n"),
            ("x \ny\t", "x=20\r\ny=09\r\n"),
            ("a=b ü", "a=3Db =C3=BC\r\n"),
            ("a\rb", "a=0Db\r\n"),
            ("\u{0}", "=00\r\n"),
        ];
        for (text, want) in rows {
            assert_eq!(quoted_printable(text), want, "{text:?}");
        }
        assert_eq!(quoted_printable(&"x".repeat(76)), format!("{}\r\n", "x".repeat(76)));
        assert_eq!(quoted_printable(&"x".repeat(77)), format!("{}=\r\nxx\r\n", "x".repeat(75)));
        let dots = format!("{}.y", "x".repeat(75));
        assert_eq!(quoted_printable(&dots), format!("{}=\r\n=2Ey\r\n", "x".repeat(75)));
    }

    proptest! {
        #[test]
        fn fields_are_narrow(text in "[ -~äß日🎉]{0,300}") {
            let field = text_field("Subject", &text);
            prop_assert!(is_narrow(&field), "{}", field);
            for line in field.trim_end_matches("\r\n").split("\r\n").skip(1) {
                prop_assert!(line.starts_with(' ') && line.trim() != "");
            }
        }

        #[test]
        fn parameters_are_narrow(text in "\\PC{0,200}") {
            prop_assert!(is_narrow(&parameter("filename", &text)));
        }

        #[test]
        fn quoted_printable_is_narrow_and_untouchable(text in "[ -~\tä\r\nF.]{0,400}") {
            let out = quoted_printable(&text);
            prop_assert!(is_narrow(&out), "{:?}", out);
            prop_assert!(out.ends_with("\r\n") && (out.len() == 2 || !out.ends_with("\r\n\r\n")));
            for line in out.split("\r\n") {
                prop_assert!(!line.starts_with('.') && !line.starts_with("From "));
                prop_assert!(!line.ends_with([' ', '\t']));
            }
        }
    }
}
