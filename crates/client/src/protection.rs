//! The parameter `hp` of a payload's Content-Type (RFC 9788 §2.1.1), put in so that it can be taken out again octet for
//! octet: what a mail program composed is what a mail program is given.

use sealpost_proto::message::Field;

/// Behind a value as composed.
const ADDED: &[u8] = b";\r\n hp=\"cipher\"\r\n";
/// Behind a value that ends in a semicolon.
const ADDED_BEHIND: &[u8] = b"\r\n hp=\"cipher\";\r\n";
/// The whole field where nothing was composed (RFC 2045 §5.2's default). Nobody else writes it in one line.
pub(crate) const WHOLE: &[u8] = b"Content-Type: text/plain; hp=\"cipher\"\r\n";

/// A Content-Type field with `hp`; it ends in CRLF.
pub(crate) fn with_hp(field: &Field) -> Vec<u8> {
    let raw = without_other(field);
    let value = raw.strip_suffix(b"\n").unwrap_or(&raw);
    let value = value.strip_suffix(b"\r").unwrap_or(value);
    let added = if value.trim_ascii_end().ends_with(b";") { ADDED_BEHIND } else { ADDED };
    [value, added].concat()
}

/// The field as composed; `None` where nothing was.
pub(crate) fn without_hp(field: &Field) -> Option<Vec<u8>> {
    let raw = field.raw();
    if raw == WHOLE {
        return None;
    }
    if let Some(value) = raw.strip_suffix(ADDED).or_else(|| raw.strip_suffix(ADDED_BEHIND)) {
        return Some([value, b"\r\n"].concat());
    }
    Some(without_other(field))
}

/// Without `hp` as other programs write it.
fn without_other(field: &Field) -> Vec<u8> {
    let raw = field.raw();
    let start = raw.len() - raw.iter().position(|b| *b == b':').map_or(0, |colon| raw.len() - colon - 1);
    let mut out = raw[..start].to_vec();
    let mut first = true;
    for section in sections(&raw[start..]) {
        let name = section.split(|b| *b == b'=').next().unwrap_or_default().trim_ascii();
        let is_hp = !first && section.contains(&b'=') && name.eq_ignore_ascii_case(b"hp");
        if !is_hp {
            if !first {
                out.push(b';');
            }
            out.extend_from_slice(section);
        }
        first = false;
    }
    if !out.ends_with(b"\n") {
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Splits at `;` outside quotes and comments (RFC 2045 §5.1, RFC 5322 §3.2.2).
fn sections(value: &[u8]) -> Vec<&[u8]> {
    let (mut all, mut start, mut quoted, mut depth, mut escaped) = (Vec::new(), 0, false, 0_u32, false);
    for (at, octet) in value.iter().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted || depth > 0 => escaped = true,
            b'"' if depth == 0 => quoted = !quoted,
            b'(' if !quoted => depth += 1,
            b')' if !quoted => depth = depth.saturating_sub(1),
            b';' if !quoted && depth == 0 => {
                all.push(&value[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    all.push(&value[start..]);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sealpost_proto::message::Header;

    fn field(raw: &str) -> Field {
        Header::read(raw.as_bytes()).expect("a header").0.fields()[0].clone()
    }

    #[test]
    fn what_was_put_in_is_taken_out() {
        for raw in [
            "Content-Type: text/plain\r\n",
            "content-type:TEXT/plain; charset=utf-8;\r\n",
            "Content-Type: multipart/mixed;\r\n boundary=\"a;b\"\r\n",
            "Content-Type: text/plain (a; hp=comment)  \r\n",
            "Content-Type: text/plain; hp\r\n",
            "Content-Type:\r\n",
        ] {
            let with = with_hp(&field(raw));
            let with = String::from_utf8(with).expect("text");
            assert!(with.contains("hp=\"cipher\""), "{with}");
            assert_eq!(without_hp(&field(&with)), Some(raw.as_bytes().to_vec()), "{with}");
        }
    }

    #[test]
    fn that_of_others_goes_too() {
        for (raw, want) in [
            ("Content-Type: text/plain; hp=clear\r\n", "Content-Type: text/plain\r\n"),
            ("Content-Type: text/plain;\r\n\tHP = \"cipher\" ; a=b\r\n", "Content-Type: text/plain; a=b\r\n"),
            ("Content-Type: text/plain; a=\"; hp=x\"\r\n", "Content-Type: text/plain; a=\"; hp=x\"\r\n"),
        ] {
            assert_eq!(without_hp(&field(raw)).as_deref(), Some(want.as_bytes()), "{raw}");
            assert_eq!(String::from_utf8_lossy(&with_hp(&field(raw))).matches("cipher").count(), 1);
        }
        assert_eq!(without_hp(&field(std::str::from_utf8(WHOLE).expect("text"))), None);
    }

    proptest! {
        #[test]
        fn any_value_comes_back(value in "([ a-z/;=\"(),\\\\]|\r\n ){0,40}") {
            let raw = format!("Content-Type:{value}\r\n");
            let raw = field(&raw);
            // What names hp itself is the one thing that does not come back.
            prop_assume!(!value.to_ascii_lowercase().contains("hp"));
            let with = with_hp(&raw);
            let with = Header::read(&with).expect("a header").0;
            prop_assert_eq!(with.fields().len(), 1);
            prop_assert_eq!(without_hp(&with.fields()[0]), Some(raw.raw().to_vec()));
        }
    }
}
