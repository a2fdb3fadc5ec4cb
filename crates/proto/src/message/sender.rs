//! The X-Sender fields (profile §6; R19, R20, R21).

use super::{Field, Header};
use crate::key::{Algorithm, KeyError, PublicKey};

/// Says whether the body is sealed (R19).
pub const ENCRYPTED_FIELD: &str = "X-Sender-Encrypted";
/// The sender's key, a courtesy and never a source of trust (R20).
pub const PUBKEY_FIELD: &str = "X-Sender-Pubkey";
/// The signature (R21).
pub const SIGNATURE_FIELD: &str = "X-Sender-Signature";

/// Widest line of the two long fields.
const COLUMNS: usize = 76;

/// Longest signature taken: RSA of 4,096 bits.
const MAX_SIGNATURE_OCTETS: usize = 512;

/// What `X-Sender-Encrypted` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encrypted {
    /// `yes`, in any case.
    Yes,
    /// `no`, or no such field.
    No,
    /// Something else: counts as no, and is said.
    Odd(String),
}

impl Encrypted {
    /// From a message's outer header; a second field is the signature's concern (it makes it invalid).
    pub fn of(header: &Header) -> Self {
        let Some(field) = header.first(ENCRYPTED_FIELD) else { return Self::No };
        let value = field.unfolded();
        if value.eq_ignore_ascii_case(b"yes") {
            Self::Yes
        } else if value.eq_ignore_ascii_case(b"no") {
            Self::No
        } else {
            Self::Odd(String::from_utf8_lossy(&value).chars().filter(|c| !c.is_control()).take(40).collect())
        }
    }
}

/// An X-Sender-Signature as found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SenderSignature {
    /// The named algorithm.
    pub algorithm: Algorithm,
    /// Raw signature octets.
    pub octets: Vec<u8>,
}

/// Why an X-Sender field makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SenderFieldError {
    /// No algorithm token, or none of ours.
    #[error("names no algorithm that Sealpost knows")]
    Algorithm,
    /// Not hex, or of a length no signature has.
    #[error("is not a signature in hex")]
    Hex,
    /// Not a key.
    #[error("holds no valid key: {0}")]
    Key(#[from] KeyError),
}

/// Token and value, white space inside the value dropped.
fn split(field: &Field) -> Result<(Algorithm, String), SenderFieldError> {
    let text = String::from_utf8(field.unfolded()).map_err(|_| SenderFieldError::Algorithm)?;
    let (token, value) = text.split_once([' ', '\t']).ok_or(SenderFieldError::Algorithm)?;
    let algorithm = Algorithm::from_token(token).ok_or(SenderFieldError::Algorithm)?;
    Ok((algorithm, value.chars().filter(|c| !matches!(c, ' ' | '\t')).collect()))
}

/// Parses X-Sender-Signature: `ed25519 <hex>`, hex in either case.
pub fn parse_signature(field: &Field) -> Result<SenderSignature, SenderFieldError> {
    let (algorithm, hex) = split(field)?;
    if hex.is_empty() || hex.len() % 2 != 0 || hex.len() > MAX_SIGNATURE_OCTETS * 2 {
        return Err(SenderFieldError::Hex);
    }
    let digit =
        |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok()).ok_or(SenderFieldError::Hex);
    let octets = hex
        .as_bytes()
        .chunks_exact(2)
        .map(|pair| Ok(digit(pair[0])? << 4 | digit(pair[1])?))
        .collect::<Result<_, SenderFieldError>>()?;
    Ok(SenderSignature { algorithm, octets })
}

/// Parses X-Sender-Pubkey: `ed25519 AAAA…`; a token that disagrees with the key is an error.
pub fn parse_pubkey(field: &Field) -> Result<PublicKey, SenderFieldError> {
    let (algorithm, text) = split(field)?;
    let key = PublicKey::from_key_string(&text)?;
    if key.algorithm() == algorithm { Ok(key) } else { Err(KeyError::Mismatch.into()) }
}

/// The whole X-Sender-Pubkey field with its line end, folded inside the value only.
pub fn fold_pubkey(key: &PublicKey) -> String {
    fold(PUBKEY_FIELD, key.algorithm(), &key.key_string())
}

/// The whole X-Sender-Signature field with its line end, folded inside the value only.
pub fn fold_signature(algorithm: Algorithm, signature: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut hex = String::with_capacity(signature.len() * 2);
    for b in signature {
        let _ = write!(hex, "{b:02x}");
    }
    fold(SIGNATURE_FIELD, algorithm, &hex)
}

fn fold(name: &str, algorithm: Algorithm, value: &str) -> String {
    let mut out = format!("{name}: {} ", algorithm.token());
    let mut column = out.len();
    for c in value.chars() {
        if column == COLUMNS {
            out.push_str("\r\n ");
            column = 1;
        }
        out.push(c);
        column += 1;
    }
    out.push_str("\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn field(text: &str) -> Field {
        Header::read(text.as_bytes()).expect("test header").0.fields()[0].clone()
    }

    #[test]
    fn r19_encrypted_is_yes_no_or_odd() {
        let rows = [
            ("X-Sender-Encrypted: yes\r\n", Encrypted::Yes),
            ("x-sender-encrypted:YES \r\n", Encrypted::Yes),
            ("X-Sender-Encrypted:\r\n yEs\r\n", Encrypted::Yes),
            ("X-Sender-Encrypted: no\r\n", Encrypted::No),
            ("X-Sender-Encrypted: NO\r\n", Encrypted::No),
            ("Subject: yes\r\n", Encrypted::No),
            ("X-Sender-Encrypted: true\r\n", Encrypted::Odd("true".into())),
            ("X-Sender-Encrypted:\r\n", Encrypted::Odd(String::new())),
            ("X-Sender-Encrypted: yes please\r\n", Encrypted::Odd("yes please".into())),
        ];
        for (text, want) in rows {
            let (h, _) = Header::read(text.as_bytes()).unwrap_or_default();
            assert_eq!(Encrypted::of(&h), want, "{text:?}");
        }
    }

    #[test]
    fn r21_signature_field_folds_inside_the_value_and_reads_back() {
        let octets: Vec<u8> = (0..64).collect();
        let text = fold_signature(Algorithm::Ed25519, &octets);
        for line in text.trim_end_matches("\r\n").split("\r\n") {
            assert!(line.len() <= COLUMNS, "{line}");
        }
        assert!(text.starts_with("X-Sender-Signature: ed25519 000102"));
        let back = SenderSignature { algorithm: Algorithm::Ed25519, octets };
        assert_eq!(parse_signature(&field(&text)), Ok(back.clone()));
        let spaced = text.to_uppercase().replace("ED25519", "ed25519").replace("0C0D", "0C \t 0D");
        assert_eq!(parse_signature(&field(&spaced)), Ok(back));
    }

    #[test]
    fn signatures_that_are_none() {
        for value in
            ["", "ed25519", "ed25519 ", "ed25519 0", "ed25519 0g", "ED25519 00", "dsa 00", "ed25519 é0"]
        {
            assert!(
                parse_signature(&field(&format!("X-Sender-Signature: {value}\r\n"))).is_err(),
                "{value:?}"
            );
        }
        let most = format!("X-Sender-Signature: rsa {}\r\n", "00".repeat(512));
        assert!(parse_signature(&field(&most)).is_ok());
        let more = format!("X-Sender-Signature: rsa {}\r\n", "00".repeat(513));
        assert_eq!(parse_signature(&field(&more)), Err(SenderFieldError::Hex));
    }

    proptest! {
        #[test]
        fn parsers_never_panic(value in "\\PC{0,200}") {
            let f = field(&format!("X: {value}\r\n"));
            let _ = parse_signature(&f);
        }

        #[test]
        fn signatures_round_trip(octets in proptest::collection::vec(any::<u8>(), 1..=512)) {
            let text = fold_signature(Algorithm::Rsa, &octets);
            let back = parse_signature(&field(&text)).map(|s| s.octets);
            prop_assert_eq!(back, Ok(octets));
        }
    }
}
