//! What a signature covers (profile §6; R08).

use super::{
    Header, MailboxList,
    header::relaxed,
    sender::{ENCRYPTED_FIELD, PUBKEY_FIELD, SIGNATURE_FIELD},
};

/// The signed fields, in the order in which they are signed.
pub const SIGNED_FIELDS: [&str; 11] = [
    "From",
    "Reply-To",
    "To",
    "Cc",
    "Date",
    "Subject",
    "Message-ID",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    ENCRYPTED_FIELD,
];

/// `Content-Type` of sealed mail as its sender wrote it; the second try puts it back.
pub const SEALED_CONTENT_TYPE: &str = "application/age";
/// `Content-Transfer-Encoding` of sealed mail as its sender wrote it; the second try puts it back.
pub const SEALED_TRANSFER_ENCODING: &str = "7bit";

/// Why no signature over this header can be valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureFault {
    /// A signed field, or X-Sender-Pubkey or X-Sender-Signature, occurs twice.
    #[error("the field {0} occurs more than once")]
    Twice(&'static str),
    /// From is not exactly one mailbox.
    #[error("From is not exactly one address")]
    From,
}

/// Everything of the signature input that comes before the body; the body follows byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureInput {
    head: Vec<u8>,
}

impl SignatureInput {
    /// For a message as it stands.
    pub fn new(header: &Header) -> Result<Self, SignatureFault> {
        Self::build(header, false)
    }

    /// For the second try at sealed mail: Content-Type and Content-Transfer-Encoding as the sender wrote them, since
    /// a relay that re-encoded the body changed these as well.
    pub fn as_sealed(header: &Header) -> Result<Self, SignatureFault> {
        Self::build(header, true)
    }

    fn build(header: &Header, as_sealed: bool) -> Result<Self, SignatureFault> {
        for name in SIGNED_FIELDS.into_iter().chain([PUBKEY_FIELD, SIGNATURE_FIELD]) {
            if header.count(name) > 1 {
                return Err(SignatureFault::Twice(name));
            }
        }
        let from = header.first("From").ok_or(SignatureFault::From)?;
        MailboxList::parse(from.value()).exactly_one().ok_or(SignatureFault::From)?;

        let mut head = b"sealpost message v1\r\n".to_vec();
        for name in SIGNED_FIELDS {
            let line = match name {
                "Content-Type" if as_sealed => Some(relaxed(name, SEALED_CONTENT_TYPE.as_bytes())),
                "Content-Transfer-Encoding" if as_sealed => {
                    Some(relaxed(name, SEALED_TRANSFER_ENCODING.as_bytes()))
                }
                _ => header.first(name).map(super::Field::relaxed),
            };
            if let Some(line) = line {
                head.extend_from_slice(&line);
                head.extend_from_slice(b"\r\n");
            }
        }
        head.extend_from_slice(b"\r\n");
        Ok(Self { head })
    }

    /// The octets before the body.
    pub fn head(&self) -> &[u8] {
        &self.head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "Received: by x\r\nSubject:  Hello\r\n  there \r\nFrom: A <a@example.net>\r\nTo: b@example.com\r\n\
                        DATE: Mon, 23 Nov 2026 21:36:00 +0000\r\nMessage-ID: <1@example.net>\r\nReferences: <0@x>\r\n\
                        X-Sender-Encrypted: no\r\n\r\n";

    fn input(text: &str) -> Result<String, SignatureFault> {
        let (h, _) = Header::read(text.as_bytes()).unwrap_or_default();
        SignatureInput::new(&h).map(|i| String::from_utf8_lossy(i.head()).into_owned())
    }

    #[test]
    fn r08_input_has_the_fields_in_the_profile_s_order() {
        let want = "sealpost message v1\r\nfrom:A <a@example.net>\r\nto:b@example.com\r\n\
                    date:Mon, 23 Nov 2026 21:36:00 +0000\r\nsubject:Hello there\r\nmessage-id:<1@example.net>\r\n\
                    x-sender-encrypted:no\r\n\r\n";
        assert_eq!(input(BASE).as_deref(), Ok(want));
    }

    #[test]
    fn r08_every_signed_field_changes_the_input_and_others_do_not() {
        let base = input(BASE);
        for name in SIGNED_FIELDS {
            let (h, _) = Header::read(BASE.as_bytes()).unwrap_or_default();
            let text = match h.first(name) {
                Some(f) => {
                    let raw = String::from_utf8_lossy(f.raw()).into_owned();
                    let other = if name == "From" {
                        "From: c@example.net\r\n".into()
                    } else {
                        format!("{name}: q\r\n")
                    };
                    BASE.replace(&raw, &other)
                }
                None => format!("{name}: q\r\n{BASE}"),
            };
            assert_ne!(input(&text), base, "{name}");
        }
        assert_eq!(input(&BASE.replace("<0@x>", "<2@x>")), base);
        assert_eq!(input(&BASE.replace("Received: by x\r\n", "")), base);
    }

    #[test]
    fn fields_that_occur_twice_are_refused() {
        for name in SIGNED_FIELDS.into_iter().chain([PUBKEY_FIELD, SIGNATURE_FIELD]) {
            let twice = format!("{name}: x\r\n{}: x\r\n{BASE}", name.to_lowercase());
            assert_eq!(input(&twice), Err(SignatureFault::Twice(name)));
        }
        assert!(input(&format!("Received: by y\r\n{BASE}")).is_ok());
    }

    #[test]
    fn from_must_be_exactly_one_mailbox() {
        for from in ["", "a@x, b@x", "friends: a@x;", "nobody", "a@x b@x", "<a@x> <b@x>"] {
            let text = BASE.replace("A <a@example.net>", from);
            assert_eq!(input(&text), Err(SignatureFault::From), "{from:?}");
        }
        assert_eq!(input(&BASE.replace("From: A <a@example.net>\r\n", "")), Err(SignatureFault::From));
    }

    #[test]
    fn second_try_restores_type_and_encoding() {
        let sealed = BASE
            .replace("Received: by x", "Content-Type: application/age\r\nContent-Transfer-Encoding: 7bit");
        let altered =
            BASE.replace("Received: by x", "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64");
        let (h, _) = Header::read(altered.as_bytes()).unwrap_or_default();
        let again = SignatureInput::as_sealed(&h).map(|i| String::from_utf8_lossy(i.head()).into_owned());
        assert_eq!(again, input(&sealed));
        assert_ne!(input(&altered), input(&sealed));
    }
}
