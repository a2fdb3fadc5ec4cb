//! PREVIEW (RFC 8970): the first words of a message, made when they are asked for from at most 64 KiB of its first text.

use super::{
    index::{Index, Part},
    section::{field_value, read},
    text::decoder,
};
use sealpost_proto::{imap::response, message::SEALED_CONTENT_TYPE};
use sealpost_store::mailbox::ContentReader;
use std::io;

/// Characters of a preview (RFC 8970 §3.2 asks for no more than 200).
const CHARACTERS_MAX: usize = 200;
/// Octets of a part that are looked at: HTML of newsletters begins with kilobytes of style.
const LOOKED_AT_MAX: u64 = 64 * 1024;
/// Octets read of a Content-Type field.
const FIELD_MAX: u64 = 1024;
/// Text that begins like this is sealed: it has no words for people.
const SEALED: [&str; 2] = ["-----BEGIN AGE ENCRYPTED FILE-----", "-----BEGIN PGP MESSAGE-----"];
/// Elements of HTML whose text nobody sees.
const UNSEEN: [&str; 4] = ["head", "script", "style", "title"];

/// Writes `PREVIEW` and its value; empty for sealed mail (profile §6) and where a message has no text.
pub(super) fn write(
    out: &mut Vec<u8>,
    index: Option<&Index>,
    content: Option<&dyn ContentReader>,
) -> io::Result<()> {
    let text = match (index, content) {
        (Some(index), Some(content)) => preview(index, content)?,
        _ => String::new(),
    };
    out.extend_from_slice(b"PREVIEW ");
    response::string(out, text.as_bytes());
    Ok(())
}

fn preview(index: &Index, content: &dyn ContentReader) -> io::Result<String> {
    if is_sealed(index) {
        return Ok(String::new());
    }
    let Some(part) = index.parts.iter().find(|part| part.text.is_some()) else { return Ok(String::new()) };
    let text = beginning(part, content)?;
    if SEALED.iter().any(|start| text.trim_start().starts_with(start)) {
        return Ok(String::new());
    }
    if is_html(part, content)? {
        return Ok(shortened(html_text(&text).chars()));
    }
    // What the sender wrote says more than what he quotes.
    let own = text.lines().filter(|line| !line.starts_with('>'));
    let own = shortened(own.flat_map(|line| line.chars().chain([' '])));
    Ok(if own.is_empty() { shortened(text.chars()) } else { own })
}

/// Whether the message is sealed as profile §6 says: its type stands at the head of BODYSTRUCTURE.
fn is_sealed(index: &Index) -> bool {
    let start = SEALED_CONTENT_TYPE.replace('/', "\" \"");
    let head = index.body_structure.get(2..2 + start.len());
    head.is_some_and(|head| head.eq_ignore_ascii_case(start.as_bytes()))
}

/// The beginning of a part, decoded.
fn beginning(part: &Part, content: &dyn ContentReader) -> io::Result<String> {
    let Some(text) = &part.text else { return Ok(String::new()) };
    let octets = read(content, part.body..part.end, LOOKED_AT_MAX)?;
    let mut transfer = text.encoding.decoder();
    let mut raw = Vec::new();
    transfer.feed(&octets, &mut raw);
    let mut decoder = decoder(&text.charset);
    let mut out = String::with_capacity(decoder.max_utf8_buffer_length(raw.len()).unwrap_or(raw.len()));
    // Not the end: a character that is cut off at the limit is none.
    let _ = decoder.decode_to_string(&raw, &mut out, false);
    Ok(out)
}

fn is_html(part: &Part, content: &dyn ContentReader) -> io::Result<bool> {
    let value = field_value(content, part.header..part.body, b"Content-Type", FIELD_MAX)?.unwrap_or_default();
    let start = value.trim_ascii_start().get(..9);
    Ok(start.is_some_and(|start| start.eq_ignore_ascii_case(b"text/html")))
}

/// As many words as fit, single spaces between them; control characters are spaces.
fn shortened(text: impl Iterator<Item = char>) -> String {
    let mut out = String::new();
    let (mut count, mut space) = (0, false);
    for c in text {
        if c.is_whitespace() || c.is_control() || c == '\u{feff}' {
            space = count > 0;
            continue;
        }
        if count + usize::from(space) >= CHARACTERS_MAX {
            break;
        }
        if std::mem::take(&mut space) {
            out.push(' ');
            count += 1;
        }
        out.push(c);
        count += 1;
    }
    out
}

/// The text of HTML, by and large: tags are spaces, elements that nobody sees are left out, the commonest entities are
/// decoded.
fn html_text(html: &str) -> String {
    let mut out = String::new();
    let mut rest = html;
    while let Some(at) = rest.find(['<', '&']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with('&') {
            let (character, len) = entity(rest);
            out.push(character);
            rest = &rest[len..];
            continue;
        }
        if let Some(comment) = rest.strip_prefix("<!--") {
            rest = comment.find("-->").map_or("", |end| &comment[end + 3..]);
            continue;
        }
        if !rest[1..].starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?')) {
            out.push('<');
            rest = &rest[1..];
            continue;
        }
        let Some(end) = rest.find('>') else { return out };
        let name = rest[1..end].split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        rest = &rest[end + 1..];
        out.push(' ');
        if let Some(unseen) = UNSEEN.iter().find(|unseen| name.eq_ignore_ascii_case(unseen)) {
            rest = behind_end_tag(rest, unseen);
        }
    }
    out.push_str(rest);
    out
}

/// What follows the end tag of an element; nothing where it does not end.
fn behind_end_tag<'a>(text: &'a str, name: &str) -> &'a str {
    let mut rest = text;
    while let Some(at) = rest.find("</") {
        rest = &rest[at + 2..];
        if rest.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name)) {
            return rest.find('>').map_or("", |end| &rest[end + 1..]);
        }
    }
    ""
}

/// The character that an entity at the start of the text is, and its length; what is none stands as it is.
fn entity(text: &str) -> (char, usize) {
    /// Longest entity read.
    const ENTITY_MAX: usize = 12;
    let end = text.bytes().take(ENTITY_MAX).position(|b| b == b';');
    let found = end.and_then(|end| {
        let name = text.get(1..end)?;
        let character = match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            "nbsp" => ' ',
            _ => {
                let number = name.strip_prefix('#')?;
                let number = match number.strip_prefix(['x', 'X']) {
                    Some(hex) => u32::from_str_radix(hex, 16),
                    None => number.parse(),
                };
                char::from_u32(number.ok()?)?
            }
        };
        Some((character, end + 1))
    });
    found.unwrap_or(('&', 1))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{
        super::section::tests::{Octets, index_of},
        *,
    };
    use proptest::prelude::*;

    fn preview_of(message: &[u8]) -> String {
        preview(&index_of(message), &Octets(message.to_vec())).unwrap()
    }

    #[test]
    fn words_for_people() {
        for (message, expected) in [
            ("Subject: x\r\n\r\nHello,\r\n\r\n  how are   you?\r\n", "Hello, how are you?"),
            ("\r\n> quoted\r\n>> twice\r\nanswer\r\n", "answer"),
            ("\r\n> quoted alone\r\n", "> quoted alone"),
            (
                "Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=FC=\r\n=DFe",
                "Grüße",
            ),
            (
                "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nw4RwZmVs\r\n",
                "Äpfel",
            ),
            (
                "Content-Type: text/html\r\n\r\n<html><head><title>no</title><style>p{}</style></head><!-- no -->\
                 <body><P>a &amp; b<br>c&#8364;&#x21; &bogus; 1 < 2</p><script>no</script>end",
                "a & b c€! &bogus; 1 < 2 end",
            ),
            (
                "Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\nplain\r\n--b\r\n\
                 Content-Type: text/html\r\n\r\n<b>rich</b>\r\n--b--\r\n",
                "plain",
            ),
            ("Content-Type: image/png\r\n\r\nxx", ""),
            ("Content-Type: Application/Age\r\n\r\nplain", ""),
            ("Subject: [...]\r\n\r\n\r\n-----BEGIN AGE ENCRYPTED FILE-----\r\nYWdl\r\n", ""),
            ("Subject: x\r\n\r\n", ""),
            ("", ""),
        ] {
            assert_eq!(preview_of(message.as_bytes()), expected, "{message}");
        }
    }

    #[test]
    fn is_as_long_as_it_may_be() {
        for (len, kept) in [(199, 199), (200, 200), (201, 200)] {
            assert_eq!(preview_of(format!("\r\n{}", "ä".repeat(len)).as_bytes()).chars().count(), kept);
        }
        // No space stands at the end.
        assert_eq!(preview_of(format!("\r\n{} y", "x".repeat(199)).as_bytes()), "x".repeat(199));
        // What lies beyond the limit is not looked at.
        let far = |blank: u64| {
            preview_of(format!("\r\n{}x", " ".repeat(usize::try_from(blank).unwrap())).as_bytes())
        };
        assert_eq!((far(LOOKED_AT_MAX - 1).as_str(), far(LOOKED_AT_MAX).as_str()), ("x", ""));
    }

    proptest! {
        #[test]
        fn never_panics_and_never_writes_control_characters(
            octets in proptest::collection::vec(any::<u8>(), 0..300),
            html in "(<|>|&|;|#|x|1|</?(head|p|style)|!--|-->|ä| ){0,40}",
        ) {
            for message in [octets, format!("Content-Type: text/html\r\n\r\n{html}").into_bytes()] {
                let text = preview_of(&message);
                prop_assert!(text.chars().count() <= CHARACTERS_MAX && !text.contains(char::is_control));
                prop_assert!(!text.starts_with(' ') && !text.ends_with(' '));
            }
        }
    }
}
