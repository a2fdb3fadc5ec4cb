//! PREVIEW (RFC 8970): the first words of a message, made when they are asked for. Mostly the first 4 KiB of a text are
//! enough; of newsletters, whose HTML begins with kilobytes of style, more is read, but never more than 64 KiB of all parts.

use super::{
    index::{Index, Part},
    section::{field_value, read},
    text::decoder,
};
use sealpost_proto::{
    imap::response,
    message::{
        SEALED_CONTENT_TYPE,
        preview::{self, CHARACTERS_MAX, LOOKED_AT_MAX, PARTS_MAX},
    },
};
use sealpost_store::mailbox::ContentReader;
use std::io;

/// Octets of a part that are looked at first; as long as they are too few, four times as many.
const LOOKED_AT_FIRST: u64 = 4 * 1024;
/// Octets read of a field.
const FIELD_MAX: u64 = 1024;

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

/// How many of a message's first octets are mostly enough; none where nothing is read of it.
pub(super) fn octets_wanted(index: &Index) -> u64 {
    let part = if is_sealed(index) { None } else { texts(index).next() };
    part.map_or(0, |part| part.end.min(part.body.saturating_add(LOOKED_AT_FIRST)))
}

fn texts(index: &Index) -> impl Iterator<Item = &Part> {
    index.parts.iter().filter(|part| part.text.is_some()).take(PARTS_MAX)
}

fn preview(index: &Index, content: &dyn ContentReader) -> io::Result<String> {
    if is_sealed(index) {
        return Ok(String::new());
    }
    let mut left = LOOKED_AT_MAX;
    for (at, part) in texts(index).enumerate() {
        // The first is what the message says, whatever it calls itself; others may be files.
        if at > 0 && field_is(part, content, b"Content-Disposition", "attachment")? {
            continue;
        }
        match words_of(part, content, &mut left)? {
            Words::None => {}
            Words::Sealed => break,
            Words::Are(words) => return Ok(words),
        }
    }
    Ok(String::new())
}

/// What a part has for people.
enum Words {
    None,
    /// They are not for the server.
    Sealed,
    Are(String),
}

fn words_of(part: &Part, content: &dyn ContentReader, left: &mut u64) -> io::Result<Words> {
    let is_html = field_is(part, content, b"Content-Type", "text/html")?;
    let len = part.end - part.body;
    let mut look = LOOKED_AT_FIRST;
    loop {
        let octets = look.min(len).min(*left);
        // Whether no more is looked at, and whether there is no more.
        let (last, whole) = (octets == len.min(*left), octets == len);
        let text = beginning(part, content, octets)?;
        if preview::is_sealed(&text) {
            return Ok(Words::Sealed);
        }
        let words = if is_html { preview::of_html(&text, whole) } else { preview::of_text(&text, last) };
        if last || words.chars().count() == CHARACTERS_MAX {
            *left -= octets;
            return Ok(if words.is_empty() { Words::None } else { Words::Are(words) });
        }
        look *= 4;
    }
}

/// Whether the message is sealed as profile §6 says: its type stands at the head of BODYSTRUCTURE.
fn is_sealed(index: &Index) -> bool {
    let start = SEALED_CONTENT_TYPE.replace('/', "\" \"");
    let head = index.body_structure.get(2..2 + start.len());
    head.is_some_and(|head| head.eq_ignore_ascii_case(start.as_bytes()))
}

/// The first octets of a part, decoded.
fn beginning(part: &Part, content: &dyn ContentReader, octets: u64) -> io::Result<String> {
    let Some(text) = &part.text else { return Ok(String::new()) };
    let octets = read(content, part.body..part.end, octets)?;
    let mut transfer = text.encoding.decoder();
    let mut raw = Vec::new();
    transfer.feed(&octets, &mut raw);
    if octets.len() as u64 == part.end - part.body {
        transfer.finish(&mut raw);
    }
    let mut decoder = decoder(&text.charset);
    let mut out = String::with_capacity(decoder.max_utf8_buffer_length(raw.len()).unwrap_or(raw.len()));
    // Not the end: a character that is cut off at the limit is none.
    let _ = decoder.decode_to_string(&raw, &mut out, false);
    Ok(out)
}

/// Whether a field of a part's header begins with a word, without regard to case.
fn field_is(part: &Part, content: &dyn ContentReader, name: &[u8], word: &str) -> io::Result<bool> {
    let value = field_value(content, part.header..part.body, name, FIELD_MAX)?.unwrap_or_default();
    let start = value.trim_ascii_start().get(..word.len());
    Ok(start.is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes())))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{
        super::section::tests::{Counted, Octets, index_of},
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
                "Content-Type: text/html\r\n\r\n<p title=\"a>b\">Gr&uuml;&szlig;e,<td>i<b>nne</b>n</td>\
                 <a href=\"https://x.example/\">hier</a>&nbsp;&zwnj;&nbsp;&#847;&shy;\u{feff}</p>",
                "Grüße, innen hier",
            ),
            ("\r\n\u{200d}a\u{200d}b \u{200c} c\u{200c}", "a\u{200d}b c"),
            (
                "Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\n \r\n--b\r\n\
                 Content-Type: text/html\r\n\r\n<b>rich</b>\r\n--b--\r\n",
                "rich",
            ),
            (
                "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n\r\n--b\r\nContent-Type: text/csv\r\n\
                 Content-Disposition: attachment; filename=a.csv\r\n\r\n1;2\r\n--b--\r\n",
                "",
            ),
            (
                "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n-----BEGIN PGP MESSAGE-----\r\n\r\nx\r\n\
                 --b\r\n\r\nlist footer\r\n--b--\r\n",
                "",
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

    fn octets_read(message: &[u8]) -> (String, u64) {
        let content = Counted::new(message);
        let preview = preview(&index_of(message), &content).unwrap();
        (preview, content.read())
    }

    #[test]
    fn little_is_read_and_never_more_than_may_be() {
        let header = "Subject: x\r\nContent-Type: text/html\r\n\r\n";
        let words = "many words ".repeat(100_000);
        // The header, and of it Content-Type once more.
        let fields = (header.len() + "Content-Type: text/html\r\n".len()) as u64;
        let (preview, read) = octets_read(format!("{header}{words}").as_bytes());
        assert_eq!((preview.chars().count(), read), (CHARACTERS_MAX, fields + LOOKED_AT_FIRST));
        // Newsletters.
        let style = format!("<style>{}</style>", "p{} ".repeat(3_000));
        let (preview, read) = octets_read(format!("{header}{style}{words}").as_bytes());
        assert_eq!((preview.chars().count(), read), (CHARACTERS_MAX, fields + LOOKED_AT_FIRST * (1 + 4)));
        let style = format!("<style>{}</style>", "p{} ".repeat(100_000));
        let (preview, read) = octets_read(format!("{header}{style}{words}").as_bytes());
        assert_eq!((preview.as_str(), read), ("", fields + LOOKED_AT_FIRST * (1 + 4) + LOOKED_AT_MAX));
        // Many empty parts: as far as the fourth, all of them together within the limit.
        let parts = |count| {
            let blank = format!("--b\r\n\r\n{}\r\n", " ".repeat(1_000)).repeat(count);
            let message = format!(
                "Content-Type: multipart/mixed; boundary=b\r\n\r\n{blank}--b\r\n\r\nwords\r\n--b--\r\n"
            );
            octets_read(message.as_bytes()).0
        };
        assert_eq!((parts(PARTS_MAX - 1).as_str(), parts(PARTS_MAX).as_str()), ("words", ""));
        // What is read ahead is enough.
        let message = format!("{header}{words}");
        assert_eq!(octets_wanted(&index_of(message.as_bytes())), header.len() as u64 + LOOKED_AT_FIRST);
        assert_eq!(octets_wanted(&index_of(b"Content-Type: application/age\r\n\r\nx")), 0);
        assert_eq!(octets_wanted(&index_of(b"\r\nabc")), 5);
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

        /// However little is looked at first, the words are the same.
        #[test]
        fn a_beginning_is_enough(
            pieces in proptest::collection::vec(
                prop::sample::select(vec![
                    "<p>", "</p>", "<style>", "</style>", "<!--", "-->", "&uuml;", "&zwnj;", "words and words ", "\r\n",
                    "> quoted ", "<p title='", "=\r\n", "=C3=A4", "\u{e4}\u{200d}b",
                ]),
                0..2_000,
            ),
            kind in prop::sample::select(vec!["html", "plain"]),
        ) {
            let encoding = "Content-Transfer-Encoding: quoted-printable";
            let message = format!(
                "Content-Type: text/{kind}; charset=utf-8\r\n{encoding}\r\n\r\n{}", pieces.concat()
            ).into_bytes();
            let (index, content) = (index_of(&message), Octets(message.clone()));
            let mut left = LOOKED_AT_MAX;
            let Words::Are(words) = words_of(&index.parts[0], &content, &mut left).unwrap() else { return Ok(()) };
            let text = beginning(&index.parts[0], &content, LOOKED_AT_MAX).unwrap();
            let is_whole = LOOKED_AT_MAX >= index.parts[0].end - index.parts[0].body;
            let expected =
                if kind == "html" { preview::of_html(&text, is_whole) } else { preview::of_text(&text, true) };
            prop_assert_eq!(words, expected);
        }
    }
}
