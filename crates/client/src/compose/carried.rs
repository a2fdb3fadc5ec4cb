//! What goes along from another message when it is forwarded: its attachments, or all of it.

use super::{
    ComposeError, seven_bit,
    source::{Attachment, Segment},
};
use crate::{open::PartInfo, staged::Staged};
use sealpost_proto::message::write;
use std::sync::Arc;

/// Type of a message in a message (RFC 2046 §5.2.1). It may not be sent in base64.
const MESSAGE: &str = "message/rfc822";
/// Type of what has none that may be passed on.
const OCTETS: &str = "application/octet-stream";

/// A part of another message, or the whole of one.
#[derive(Debug, Clone)]
pub struct Carried {
    pub(super) name: String,
    pub(super) media_type: String,
    octets: Staged,
    /// In 7-bit lines, so that it goes as it is.
    seven_bit: bool,
}

impl Carried {
    /// An attachment of another message.
    pub fn attachment(part: &PartInfo, octets: Staged) -> Self {
        if part.media_type == MESSAGE
            && let Ok(message) = Self::message(&part.name, &octets)
        {
            return message;
        }
        let name =
            Some(part.name.as_str()).filter(|name| write::is_header_text(name)).unwrap_or("attachment");
        Self { name: name.to_owned(), media_type: media_type(part), octets, seven_bit: false }
    }

    /// A whole message, in 7-bit lines as `message/rfc822` has it in mail that every relay takes.
    pub fn message(name: &str, octets: &Staged) -> Result<Self, ComposeError> {
        let octets = seven_bit(octets)?;
        let name = if write::is_header_text(name) { name } else { "message.eml" };
        Ok(Self { name: name.to_owned(), media_type: MESSAGE.to_owned(), octets, seven_bit: true })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn encoding(&self) -> &'static str {
        if self.seven_bit { "7bit" } else { "base64" }
    }

    pub(super) fn segment(&self) -> Segment {
        if self.seven_bit {
            return Segment::Body(self.octets.clone(), 0);
        }
        Segment::File(Arc::new(Attachment::aside(self.name.clone(), self.octets.clone())))
    }
}

/// The type as it came, if it is one and may be sent in base64 (RFC 2045 §6.4).
fn media_type(part: &PartInfo) -> String {
    let token = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b))
    };
    let usable = part.media_type.split_once('/').is_some_and(|(kind, subtype)| {
        token(kind) && token(subtype) && !matches!(kind, "message" | "multipart")
    });
    match &part.charset {
        _ if !usable => OCTETS.to_owned(),
        Some(charset) if part.media_type.starts_with("text/") && token(charset) => {
            format!("{}; charset={charset}", part.media_type)
        }
        _ => part.media_type.clone(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn part(media_type: &str, charset: Option<&str>) -> PartInfo {
        PartInfo {
            name: "a.bin".into(),
            media_type: media_type.into(),
            charset: charset.map(Into::into),
            ..PartInfo::default()
        }
    }

    #[test]
    fn types_are_passed_on_where_they_are_types() {
        for (media_type, charset, want) in [
            ("image/png", None, "image/png"),
            ("image/png", Some("utf-8"), "image/png"),
            ("text/csv", Some("koi8-r"), "text/csv; charset=koi8-r"),
            ("text/csv", Some("a\r\nb"), "text/csv"),
            ("text/csv", None, "text/csv"),
            ("", None, OCTETS),
            ("image", None, OCTETS),
            ("image/", None, OCTETS),
            ("a/b c", None, OCTETS),
            ("multipart/mixed", None, OCTETS),
            ("message/partial", None, OCTETS),
        ] {
            let carried = Carried::attachment(&part(media_type, charset), Staged::of(b"x").unwrap());
            assert_eq!((carried.media_type.as_str(), carried.encoding()), (want, "base64"), "{media_type}");
        }
    }

    #[test]
    fn messages_go_in_7_bit_lines_or_else_as_octets() {
        let message = Staged::of("Subject: \u{fc}\r\n\r\n\u{fc}\r\n".as_bytes()).unwrap();
        let carried = Carried::attachment(&part(MESSAGE, None), message);
        assert_eq!((carried.media_type.as_str(), carried.encoding()), (MESSAGE, "7bit"));
        let signed = "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\u{fc}\r\n--b--\r\n";
        let carried = Carried::attachment(&part(MESSAGE, None), Staged::of(signed.as_bytes()).unwrap());
        assert_eq!((carried.media_type.as_str(), carried.encoding()), (OCTETS, "base64"));
    }
}
