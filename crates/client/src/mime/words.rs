//! Text of headers and bodies: charsets, encoded words (RFC 2047), and what a terminal must not see.

use mail_parser::decoders::charsets::map::charset_decoder;
use sealpost_proto::{
    base64,
    message::{NamedMailbox, transfer::hex_pair},
};

/// Longest encoded word read. RFC 2047 §2 allows 75 characters and some writers take more; without a limit, many words
/// that never end would each be searched to the end of the text.
const MAX_ENCODED_WORD_OCTETS: usize = 2_000;

/// Longest charset name looked up; mail-parser's table has none longer than 45 octets.
const MAX_CHARSET_OCTETS: usize = 45;

/// `octets` in the named charset. Without a name, or with one that says no more than ASCII: UTF-8 if it is that, else
/// Windows-1252, which is what unlabelled mail mostly is.
pub(crate) fn decode_charset(charset: Option<&str>, octets: &[u8]) -> String {
    let named = charset
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| !name.is_empty() && name.len() <= MAX_CHARSET_OCTETS && name.is_ascii())
        .filter(|name| !matches!(name.as_str(), "us-ascii" | "ascii" | "utf-8" | "utf8"));
    if let Some(decode) = named.and_then(|name| charset_decoder(name.as_bytes())) {
        return decode(octets);
    }
    if let Ok(text) = std::str::from_utf8(octets) {
        return text.to_owned();
    }
    // Labelled UTF-8 with a few bad octets (cut text, say) stays UTF-8.
    if charset.is_some_and(|name| name.trim().to_ascii_lowercase().starts_with("utf")) {
        return String::from_utf8_lossy(octets).into_owned();
    }
    charset_decoder(b"windows-1252")
        .map_or_else(|| String::from_utf8_lossy(octets).into_owned(), |decode| decode(octets))
}

/// An unstructured header value, unfolded, as text for people: encoded words decoded, control characters out.
pub(crate) fn header_text(unfolded: &[u8]) -> String {
    safe_line(&decode_words(&decode_charset(None, unfolded)))
}

/// `Name <address>`, or the address alone.
pub(crate) fn mailbox_text(mailbox: &NamedMailbox) -> String {
    match &mailbox.name {
        Some(name) => safe_line(&format!("{} <{}>", decode_words(name), mailbox.mailbox)),
        None => safe_line(&mailbox.mailbox.to_string()),
    }
}

/// Decodes the encoded words in `text`; those that make no sense stay as they are.
pub(crate) fn decode_words(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // Octets of the encoded words so far that share a charset: some writers cut a character in two.
    let mut pending: Option<(String, Vec<u8>)> = None;
    let flush = |pending: &mut Option<(String, Vec<u8>)>, out: &mut String| {
        if let Some((charset, octets)) = pending.take() {
            out.push_str(&decode_charset(Some(&charset), &octets));
        }
    };
    let mut rest = text;
    while let Some(start) = rest.find("=?") {
        let (before, candidate) = rest.split_at(start);
        let Some((charset, octets, used)) = encoded_word(candidate) else {
            flush(&mut pending, &mut out);
            out.push_str(before);
            out.push_str("=?");
            rest = &candidate[2..];
            continue;
        };
        // White space between two encoded words is not shown (RFC 2047 §6.2).
        if pending.is_none() || !before.trim_matches([' ', '\t']).is_empty() {
            flush(&mut pending, &mut out);
            out.push_str(before);
        }
        match &mut pending {
            Some((same, so_far)) if *same == charset => so_far.extend_from_slice(&octets),
            _ => {
                flush(&mut pending, &mut out);
                pending = Some((charset, octets));
            }
        }
        rest = &candidate[used..];
    }
    flush(&mut pending, &mut out);
    out.push_str(rest);
    out
}

/// `=?charset*language?q?…?=` at the start of `text`: charset, octets, length.
fn encoded_word(text: &str) -> Option<(String, Vec<u8>, usize)> {
    let mut end = text.len().min(MAX_ENCODED_WORD_OCTETS);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let inner = text[..end].strip_prefix("=?")?;
    let (charset, rest) = inner.split_once('?')?;
    let (encoding, rest) = rest.split_once('?')?;
    let (data, _) = rest.split_once("?=")?;
    if charset.is_empty() || [charset, encoding, data].iter().any(|s| s.contains([' ', '\t'])) {
        return None;
    }
    let octets = match encoding {
        "q" | "Q" => decode_q(data)?,
        "b" | "B" => {
            let padded = format!(
                "{}{}",
                data.trim_end_matches('='),
                "=".repeat(data.trim_end_matches('=').len().wrapping_neg() % 4)
            );
            base64::decode(padded).ok()?
        }
        _ => return None,
    };
    let charset = charset.split('*').next().unwrap_or(charset).to_ascii_lowercase();
    Some((charset, octets, 2 + inner.len() - rest.len() + data.len() + 2))
}

fn decode_q(data: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(data.len());
    let mut octets = data.bytes();
    while let Some(b) = octets.next() {
        out.push(match b {
            b'_' => b' ',
            b'=' => hex_pair(octets.next()?, octets.next()?)?,
            _ => b,
        });
    }
    Some(out)
}

/// Text that turns the direction of writing, with which a name can pretend to be another (Unicode UAX 9).
fn is_direction_control(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// One line without control characters, line separators or direction controls: a sender must not write escape
/// sequences to the reader's terminal.
pub(crate) fn safe_line(text: &str) -> String {
    text.chars()
        .filter(|c| !is_direction_control(*c))
        .map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c })
        .collect::<String>()
        .trim()
        .to_owned()
}

/// Text of many lines: line ends become LF, other control characters but the tab go.
pub(crate) fn safe_text(text: &str) -> String {
    text.replace("\r\n", "\n")
        .replace('\r', "\n")
        .chars()
        .filter(|c| matches!(c, '\n' | '\t') || !c.is_control())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sealpost_proto::message::{Header, write};

    #[test]
    fn encoded_words_of_the_wild() {
        let rows = [
            ("plain", "plain"),
            ("=?iso-8859-1?q?J=FCrgen?= M", "Jürgen M"),
            ("=?UTF-8?B?5pel5pys6Kqe?=", "日本語"),
            ("=?UTF-8?B?5pel5pys6Kq?= x", "=?UTF-8?B?5pel5pys6Kq?= x"),
            ("=?utf-8?q?a?= =?utf-8?q?b?=", "ab"),
            ("=?utf-8?q?a?=  x =?utf-8?q?b?=", "a  x b"),
            ("=?utf-8?q?=C3?= =?utf-8?q?=BC?=", "ü"),
            ("=?utf-8*de?q?gr=C3=BCn?=", "grün"),
            ("=?nonsense?q?x?=", "x"),
            ("=?utf-8?x?y?=", "=?utf-8?x?y?="),
            ("=?utf-8?q?a b?=", "=?utf-8?q?a b?="),
            ("a=?b", "a=?b"),
            ("=?shift_jis?b?g26DjYFbgUWDj4Fbg4uDaA==?=", "ハロー・ワールド"),
        ];
        for (text, want) in rows {
            assert_eq!(decode_words(text), want, "{text:?}");
        }
    }

    #[test]
    fn nothing_reaches_the_terminal_as_a_command() {
        assert_eq!(header_text(b"a\x1b[31mb\x07\xc2\x9bc"), "a [31mb  c");
        assert_eq!(header_text("invoice\u{202e}fdp.exe".as_bytes()), "invoicefdp.exe");
        assert_eq!(header_text(b"=?utf-8?q?a=0D=0ASubject:_b?="), "a  Subject: b");
        assert_eq!(safe_text("a\r\nb\rc\u{1b}[2J\td\n"), "a\nb\nc[2J\td\n");
    }

    #[test]
    fn charsets_fall_back() {
        assert_eq!(decode_charset(None, b"gr\xfcn"), "grün");
        assert_eq!(decode_charset(Some("us-ascii"), "grün".as_bytes()), "grün");
        assert_eq!(decode_charset(Some("utf-8"), b"gr\xfcn"), "gr\u{fffd}n");
        assert_eq!(decode_charset(Some("koi8-r"), b"\xf0\xd2"), "Пр");
        assert_eq!(decode_charset(Some(&"x".repeat(500)), b"a"), "a");
        assert_eq!(decode_charset(Some(""), b"a"), "a");
    }

    proptest! {
        #[test]
        fn what_we_write_we_read(text in "[ -~äß日🎉]{0,200}") {
            let field = write::text_field("Subject", &text);
            let (header, _) = Header::read(field.as_bytes()).unwrap_or_default();
            prop_assert_eq!(decode_words(&String::from_utf8_lossy(&header.fields()[0].unfolded())), text);
        }

        #[test]
        fn never_panics(octets in proptest::collection::vec(any::<u8>(), 0..200), charset in "\\PC{0,60}") {
            header_text(&octets);
            decode_charset(Some(&charset), &octets);
        }

        #[test]
        fn no_charset_panics(
            charset in prop::sample::select(vec![
                "utf-7", "utf-16", "utf-16le", "shift_jis", "iso-2022-jp", "iso-2022-kr", "big5", "euc-jp", "euc-kr",
                "gb18030", "gbk", "ibm850", "koi8-u", "macintosh", "tis-620", "windows-1258", "iso-8859-8-i",
            ]),
            octets in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            decode_charset(Some(charset), &octets);
        }

        #[test]
        fn never_panics_on_what_looks_like_words(text in "(=\\?|\\?=|[?=qb_ 0-9A-Fü]|utf-8){0,40}") {
            decode_words(&text);
        }
    }
}
