//! Finding text in messages: transfer encodings, charsets and encoded words are decoded, case is folded, and a body
//! of any size goes through in pieces.

use super::{
    index::{Encoding, Index, Part, Text},
    section::{each_field, read},
};
use encoding_rs::{Decoder, UTF_8, WINDOWS_1252};
use sealpost_proto::{
    imap::{casemap::casemap, mime::Kind},
    message::transfer::decode_q,
};
use sealpost_store::mailbox::ContentReader;
use std::{io, ops::Range};

/// Octets read at a time.
const CHUNK: usize = 64 * 1024;
/// Octets of one header that are searched.
pub(super) const HEADER_MAX: u64 = 1024 * 1024;

/// Takes the texts that searches look at, folded and piece by piece: to find something in them, or to sketch them
/// ([`super::sketch`]). Both get the same.
pub(super) trait Sink {
    /// Whatever comes next is not joined to what came.
    fn part(&mut self);
    /// The next piece.
    fn push(&mut self, folded: &str);
    /// Nothing that could come makes a difference.
    fn is_done(&self) -> bool;
}

/// Looks for one text in what is pushed.
pub(super) struct Finder<'a> {
    /// Folded.
    needle: &'a str,
    /// The end of what came before, shorter than the needle.
    tail: String,
    found: bool,
}

/// The form that is compared: i;unicode-casemap, as in SORT and THREAD (RFC 5255 §4). Each character stands for itself, so
/// that a text is folded alike wherever it is cut.
pub(super) fn fold(text: &str) -> String {
    casemap(text)
}

impl<'a> Finder<'a> {
    pub(super) fn new(needle: &'a str) -> Self {
        Self { needle, tail: String::new(), found: needle.is_empty() }
    }
}

impl Sink for Finder<'_> {
    fn part(&mut self) {
        self.tail.clear();
    }

    fn push(&mut self, folded: &str) {
        if self.found || folded.is_empty() {
            return;
        }
        self.tail.push_str(folded);
        self.found = memchr::memmem::find(self.tail.as_bytes(), self.needle.as_bytes()).is_some();
        let mut cut = self.tail.len().saturating_sub(self.needle.len().saturating_sub(1));
        while !self.tail.is_char_boundary(cut) {
            cut -= 1;
        }
        self.tail.drain(..cut);
    }

    fn is_done(&self) -> bool {
        self.found
    }
}

/// Whether a header field of a name has the text in it; an empty text asks for the field alone.
pub(super) fn header_has(
    index: &Index,
    content: &dyn ContentReader,
    field: &str,
    needle: &str,
) -> io::Result<bool> {
    let Some(root) = index.parts.first() else { return Ok(false) };
    let mut places = Vec::new();
    each_field(content, root.header..root.body, |name, range| {
        if name.eq_ignore_ascii_case(field.as_bytes()) {
            places.push(range);
        }
    })?;
    if needle.is_empty() {
        return Ok(!places.is_empty());
    }
    let mut finder = Finder::new(needle);
    for place in places {
        field_text(content, place, &mut finder)?;
        if finder.found {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the body has the text in it: in a text part, or in the header of a message inside.
pub(super) fn body_has(index: &Index, content: &dyn ContentReader, needle: &str) -> io::Result<bool> {
    let mut finder = Finder::new(needle);
    body_text(index, content, &mut finder)?;
    Ok(finder.found)
}

/// Whether header or body has the text in it.
pub(super) fn text_has(index: &Index, content: &dyn ContentReader, needle: &str) -> io::Result<bool> {
    let mut finder = Finder::new(needle);
    if let Some(root) = index.parts.first() {
        header_text(content, root.header..root.body, &mut finder)?;
    }
    if !finder.found {
        body_text(index, content, &mut finder)?;
    }
    Ok(finder.found)
}

/// What is searched of a body.
pub(super) fn body_text(index: &Index, content: &dyn ContentReader, sink: &mut dyn Sink) -> io::Result<()> {
    for part in &index.parts {
        if sink.is_done() {
            break;
        }
        if let Some(text) = &part.text {
            decoded_text(content, part.body..part.end, text, sink)?;
        }
        if let Some(message) = message_in(index, part) {
            header_text(content, message.header..message.body, sink)?;
        }
    }
    Ok(())
}

/// How many octets [`body_text`] reads at the most.
pub(super) fn body_octets(index: &Index) -> u64 {
    let of = |part: &Part| {
        let text = part.text.as_ref().map_or(0, |_| part.end - part.body);
        let header = message_in(index, part).map_or(0, |message| message.body - message.header);
        text + header.min(HEADER_MAX)
    };
    index.parts.iter().map(of).fold(0, u64::saturating_add)
}

/// The message that a part holds.
fn message_in<'a>(index: &'a Index, part: &Part) -> Option<&'a Part> {
    let child = if part.kind == Kind::Message { part.children.first() } else { None };
    child.and_then(|at| index.parts.get(*at))
}

/// What TEXT searches of a header. Whether nothing of it had to be decoded: then [`field_text`] of its fields is in what
/// was pushed.
pub(super) fn header_text(
    content: &dyn ContentReader,
    range: Range<u64>,
    sink: &mut dyn Sink,
) -> io::Result<bool> {
    let octets = read(content, range, HEADER_MAX)?;
    sink.part();
    sink.push(&fold(&decode_header(&octets)));
    if !sink.is_done() {
        // As it stands on the wire, too: people search for what they see in the source.
        sink.part();
        sink.push(&fold(&String::from_utf8_lossy(&octets)));
    }
    Ok(octets.is_ascii() && memchr::memmem::find(&octets, b"=?").is_none())
}

/// What is searched of a single header field: its value.
pub(super) fn field_text(
    content: &dyn ContentReader,
    range: Range<u64>,
    sink: &mut dyn Sink,
) -> io::Result<()> {
    let octets = read(content, range, HEADER_MAX)?;
    let value = octets.splitn(2, |b| *b == b':').nth(1).unwrap_or_default();
    sink.part();
    sink.push(&fold(&decode_header(value)));
    Ok(())
}

fn decoded_text(
    content: &dyn ContentReader,
    range: Range<u64>,
    text: &Text,
    sink: &mut dyn Sink,
) -> io::Result<()> {
    sink.part();
    let mut decoder = decoder(&text.charset);
    let mut transfer = text.encoding.decoder();
    let whole = usize::try_from(range.end - range.start).unwrap_or(CHUNK);
    let mut buffer = vec![0; CHUNK.min(whole)];
    let mut raw = Vec::new();
    let mut at = range.start;
    while at < range.end && !sink.is_done() {
        let want = usize::try_from(range.end - at).unwrap_or(CHUNK).min(buffer.len());
        let n = content.read_at(at, &mut buffer[..want])?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        at += n as u64;
        raw.clear();
        transfer.feed(&buffer[..n], &mut raw);
        let last = at == range.end;
        if last {
            transfer.finish(&mut raw);
        }
        let mut out = String::with_capacity(decoder.max_utf8_buffer_length(raw.len()).unwrap_or(CHUNK * 4));
        let _ = decoder.decode_to_string(&raw, &mut out, last);
        sink.push(&fold(&out));
    }
    Ok(())
}

pub(super) fn decoder(charset: &str) -> Decoder {
    let encoding = match encoding_rs::Encoding::for_label(charset.trim().as_bytes()) {
        // What calls itself ASCII and is not is UTF-8 more often than anything else today.
        Some(encoding) if encoding != WINDOWS_1252 || !charset.to_ascii_lowercase().contains("ascii") => {
            encoding
        }
        _ => UTF_8,
    };
    encoding.new_decoder_without_bom_handling()
}

/// A header as people read it: unfolded, encoded words (RFC 2047) decoded.
pub(super) fn decode_header(octets: &[u8]) -> String {
    let raw = match std::str::from_utf8(octets) {
        Ok(text) => text.to_owned(),
        Err(_) => WINDOWS_1252.decode_without_bom_handling(octets).0.into_owned(),
    };
    let text = raw.replace("\r\n", "\n").replace("\n ", " ").replace("\n\t", "\t");
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    let mut after_word = false;
    while let Some(at) = rest.find("=?") {
        let between = &rest[..at];
        // White space between two encoded words is not text (RFC 2047 §6.2).
        if !(after_word && between.chars().all(char::is_whitespace)) {
            out.push_str(between);
        }
        rest = &rest[at..];
        if let Some((word, len)) = encoded_word(rest) {
            out.push_str(&word);
            rest = &rest[len..];
            after_word = true;
        } else {
            out.push_str("=?");
            rest = &rest[2..];
            after_word = false;
        }
    }
    out.push_str(rest);
    out
}

/// `=?charset?encoding?text?=` at the start of `text`, decoded, and its length.
fn encoded_word(text: &str) -> Option<(String, usize)> {
    let inner = text.strip_prefix("=?")?;
    let (charset, inner) = inner.split_once('?')?;
    let (encoding, inner) = inner.split_once('?')?;
    let (encoded, _) = inner.split_once("?=")?;
    if charset.len() > 64 || encoded.contains(char::is_whitespace) {
        return None;
    }
    let len = 2 + charset.len() + 1 + encoding.len() + 1 + encoded.len() + 2;
    let octets = match encoding {
        "B" | "b" => {
            let (mut decoder, mut octets) = (Encoding::Base64.decoder(), Vec::new());
            decoder.feed(encoded.as_bytes(), &mut octets);
            decoder.finish(&mut octets);
            octets
        }
        "Q" | "q" => decode_q(encoded.as_bytes()),
        _ => return None,
    };
    // `charset*language` (RFC 2231 §5).
    let charset = charset.split('*').next().unwrap_or_default();
    let mut out = String::with_capacity(octets.len() * 4 + 16);
    let _ = decoder(charset).decode_to_string(&octets, &mut out, true);
    Some((out, len))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{
        super::section::tests::{Octets, index_of},
        *,
    };
    use proptest::prelude::*;

    #[test]
    fn encoded_words() {
        for (wire, text) in [
            ("=?utf-8?B?w6TDtg==?=", "äö"),
            ("=?UTF-8?q?a=C3=A4_b?= =?utf-8?q?c?=", "aä bc"),
            ("a =?iso-8859-1?Q?=FC?= b", "a ü b"),
            ("=?x", "=?x"),
            ("=?utf-8?B?w6Q", "=?utf-8?B?w6Q"),
            ("folded\r\n here", "folded here"),
            ("=?utf-8?B?YQ?=", "a"),
            ("=?utf-8?q?a_?= b", "a  b"),
        ] {
            assert_eq!(decode_header(wire.as_bytes()), text, "{wire}");
        }
        assert_eq!(decode_header(b"\xfc"), "ü");
    }

    #[test]
    fn bodies_are_decoded() {
        let message =
            b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
            --b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n\
            w4RwZmVsIHVu\r\nZCBCaXJuZW4=\r\n--b\r\nContent-Type: text/html; charset=iso-8859-1\r\n\
            Content-Transfer-Encoding: quoted-printable\r\n\r\nsoft= \r\nwrap =FCber \t\r\nline\r\n--b\r\n\
            Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\nd2l0aG91dCBwYWRkaW5n\r\nIQ\r\n--b\r\n\
            Content-Type: application/x\r\n\r\nhidden\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n\
            Subject: within\r\n\r\ndeep\r\n--b--\r\n";
        let (content, index) = (Octets(message.to_vec()), index_of(message));
        for (needle, expected) in [
            ("äpfel und birnen", true),
            ("softwrap über\r\nline", true),
            ("without padding!", true),
            ("hidden", false),
            ("within", true),
            ("deep", true),
            ("grüße", false),
        ] {
            assert_eq!(body_has(&index, &content, &fold(needle)).unwrap(), expected, "{needle}");
        }
        assert!(text_has(&index, &content, &fold("grüße")).unwrap());
        assert!(!header_has(&index, &content, "subject", &fold("GRÜSSE")).unwrap());
        assert!(header_has(&index, &content, "Subject", &fold("gru\u{308}ßE")).unwrap());
        assert!(header_has(&index, &content, "content-type", "").unwrap());
        assert!(!header_has(&index, &content, "x-none", "").unwrap());
    }

    #[test]
    fn a_text_across_pieces_is_found() {
        let mut message = b"A: b\r\n\r\n".to_vec();
        message.extend_from_slice(&vec![b'x'; CHUNK - 3]);
        message.extend_from_slice("NEEDLE".as_bytes());
        let (content, index) = (Octets(message.clone()), index_of(&message));
        assert!(body_has(&index, &content, &fold("xneedle")).unwrap());
        assert!(!body_has(&index, &content, &fold("needles")).unwrap());
    }

    proptest! {
        #[test]
        fn never_panics(octets in proptest::collection::vec(any::<u8>(), 0..200), needle in ".{0,5}") {
            let _ = decode_header(&octets);
            let index = index_of(&octets);
            let content = Octets(octets);
            let _ = text_has(&index, &content, &fold(&needle)).unwrap();
        }
        #[test]
        fn finds_what_is_there(before in "[a-c]{0,9}", needle in "[a-c]{1,4}", after in "[a-c]{0,9}", cut in 0usize..20) {
            let text = format!("{before}{needle}{after}");
            let mut finder = Finder::new(&needle);
            let cut = cut.min(text.len());
            finder.push(&text[..cut]);
            finder.push(&text[cut..]);
            prop_assert!(finder.found);
        }
    }
}
