//! Content-Type and Content-Disposition: a value and its parameters (RFC 2045 §5.1, RFC 2231).

use super::words::{decode_charset, decode_words};
use sealpost_proto::message::transfer::hex_pair;
use std::collections::BTreeMap;

/// Most parameters read from one field; real ones have fewer than ten.
const MAX_PARAMETERS: usize = 200;

/// The parsed value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parameters {
    /// What stands before the first `;`, in lower case.
    pub(crate) value: String,
    /// Names in lower case; values decoded.
    parameters: BTreeMap<String, String>,
}

/// One `name*2*=…` as written.
struct Piece {
    index: Option<u16>,
    extended: bool,
    octets: Vec<u8>,
}

impl Parameters {
    /// Parses an unfolded value. What makes no sense is left out.
    pub(crate) fn parse(unfolded: &[u8]) -> Self {
        let text = decode_charset(None, unfolded);
        let mut sections = split_sections(&text).into_iter();
        let value = sections.next().unwrap_or_default().trim().to_ascii_lowercase();
        let mut pieces: BTreeMap<String, Vec<Piece>> = BTreeMap::new();
        for section in sections.take(MAX_PARAMETERS) {
            let Some((name, raw)) = section.split_once('=') else { continue };
            let (name, extended) = match name.trim().strip_suffix('*') {
                Some(name) => (name, true),
                None => (name.trim(), false),
            };
            let (name, index) = match name.rsplit_once('*') {
                Some((name, index)) => match index.parse() {
                    Ok(index) => (name, Some(index)),
                    Err(_) => continue,
                },
                None => (name, None),
            };
            let piece = Piece { index, extended, octets: unquote(raw).into_bytes() };
            pieces.entry(name.to_ascii_lowercase()).or_default().push(piece);
        }
        let parameters =
            pieces.into_iter().filter_map(|(name, pieces)| Some((name, join(pieces)?))).collect();
        Self { value, parameters }
    }

    /// The parameter `name` (lower case).
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }
}

/// Splits at `;` outside quotes.
fn split_sections(text: &str) -> Vec<&str> {
    let mut sections = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ';' if !quoted => {
                sections.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    sections.push(&text[start..]);
    sections
}

fn unquote(raw: &str) -> String {
    let raw = raw.trim();
    let Some(inner) = raw.strip_prefix('"') else { return raw.to_owned() };
    let mut out = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => out.extend(chars.next()),
            _ => out.push(c),
        }
    }
    out
}

/// The form that says most wins: `name*`, then `name*0…`, then `name`.
fn join(mut pieces: Vec<Piece>) -> Option<String> {
    if let Some(whole) = pieces.iter().find(|p| p.index.is_none() && p.extended) {
        let (charset, octets) = split_charset(&whole.octets);
        return Some(decode_charset(charset.as_deref(), &percent_decode(octets)));
    }
    if pieces.iter().any(|p| p.index.is_some()) {
        pieces.retain(|p| p.index.is_some());
        pieces.sort_by_key(|p| p.index);
        let mut charset = None;
        let mut joined = Vec::new();
        for (i, piece) in pieces.iter().enumerate() {
            // A gap ends it: what comes behind belongs to we know not what.
            if piece.index.map(usize::from) != Some(i) {
                break;
            }
            let mut octets = piece.octets.as_slice();
            if i == 0 && piece.extended {
                (charset, octets) = split_charset(octets);
            }
            if piece.extended {
                joined.extend(percent_decode(octets));
            } else {
                joined.extend_from_slice(octets);
            }
        }
        return Some(decode_charset(charset.as_deref(), &joined));
    }
    // Encoded words are not allowed here (RFC 2047 §5) and common all the same.
    pieces.first().map(|p| decode_words(&String::from_utf8_lossy(&p.octets)))
}

/// `charset'language'octets`.
fn split_charset(octets: &[u8]) -> (Option<String>, &[u8]) {
    let mut parts = octets.splitn(3, |&b| b == b'\'');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(charset), Some(_), Some(rest)) => (Some(String::from_utf8_lossy(charset).into_owned()), rest),
        _ => (None, octets),
    }
}

fn percent_decode(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len());
    let mut i = 0;
    while i < octets.len() {
        let pair = (octets[i] == b'%').then(|| octets.get(i + 1..i + 3)).flatten();
        if let Some(b) = pair.and_then(|p| hex_pair(p[0], p[1])) {
            out.push(b);
            i += 3;
        } else {
            out.push(octets[i]);
            i += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sealpost_proto::message::write;

    #[test]
    fn names_of_the_wild() {
        let rows = [
            ("attachment; filename=a.txt", "a.txt"),
            ("attachment; filename=\"a;\\\"b.txt\"", "a;\"b.txt"),
            ("attachment; filename*=utf-8''gr%C3%BCn.txt", "grün.txt"),
            ("attachment; filename*=iso-8859-1'de'gr%FCn.txt; filename=\"gruen.txt\"", "grün.txt"),
            ("attachment; filename*0=\"a\"; filename*1=\"b.txt\"", "ab.txt"),
            ("attachment; filename*1*=%BC.txt; filename*0*=utf-8''gr%C3", "gr\u{fc}.txt"),
            ("attachment; filename*0=\"a\"; filename*2=\"c\"", "a"),
            ("attachment; filename=\"=?utf-8?q?gr=C3=BCn?=.txt\"", "grün.txt"),
            ("attachment; FileName = x ;", "x"),
            ("attachment; filename=\"open", "open"),
            ("attachment; filename*=utf-8''100%", "100%"),
        ];
        for (text, want) in rows {
            let parsed = Parameters::parse(text.as_bytes());
            assert_eq!(parsed.value, "attachment");
            assert_eq!(parsed.get("filename"), Some(want), "{text:?}");
        }
        assert_eq!(Parameters::parse(b"Text/PLAIN ; charset=x").value, "text/plain");
        assert_eq!(Parameters::parse(b"").get("filename"), None);
    }

    proptest! {
        #[test]
        fn what_we_write_we_read(name in "\\PC{1,120}") {
            prop_assume!(!name.starts_with([' ', '\t']) && !name.ends_with([' ', '\t']));
            let field = format!("attachment{}", write::parameter("filename", &name)).replace("\r\n", "");
            let parsed = Parameters::parse(field.as_bytes());
            prop_assert_eq!(parsed.get("filename"), Some(name.as_str()));
        }

        #[test]
        fn never_panics(text in "[a-z*0-9;=\"'% \\\\é]{0,120}") {
            Parameters::parse(text.as_bytes());
        }
    }
}
