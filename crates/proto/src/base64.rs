//! Base64 as the profile wants it: standard alphabet, padded, canonical, no white space (profile §5).

use ::base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};

/// Text that is not canonical, padded, standard base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not standard padded base64; encode the value again without line breaks")]
pub struct Base64Error;

/// Standard padded base64 of `bytes`.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

/// Inverse of [`encode`]; refuses missing padding, line breaks and non-zero trailing bits.
pub fn decode(text: impl AsRef<[u8]>) -> Result<Vec<u8>, Base64Error> {
    STANDARD.decode(text).map_err(|_| Base64Error)
}

/// Unpadded standard base64, as PHC strings carry it.
pub fn encode_unpadded(bytes: impl AsRef<[u8]>) -> String {
    STANDARD_NO_PAD.encode(bytes)
}

/// Inverse of [`encode_unpadded`].
pub fn decode_unpadded(text: impl AsRef<[u8]>) -> Result<Vec<u8>, Base64Error> {
    STANDARD_NO_PAD.decode(text).map_err(|_| Base64Error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_canonical_padded_text_is_taken() {
        assert_eq!(decode("AAA="), Ok(vec![0, 0]));
        assert_eq!(decode(""), Ok(vec![]));
        for bad in ["AAA", "AAB=", "AAA==", "=", "AA\nA=", " AAA=", "AAA=\r\n", "A-_=", "AAA=AAA=", "A"] {
            assert_eq!(decode(bad), Err(Base64Error), "{bad:?}");
        }
        assert_eq!(decode_unpadded("AAA"), Ok(vec![0, 0]));
        for bad in ["AAA=", "AAB", "A", "AA A", "AA\n"] {
            assert_eq!(decode_unpadded(bad), Err(Base64Error), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn round_trips(bytes: Vec<u8>) {
            prop_assert_eq!(decode(encode(&bytes)), Ok(bytes.clone()));
            prop_assert_eq!(decode_unpadded(encode_unpadded(&bytes)), Ok(bytes));
        }

        #[test]
        fn one_text_for_one_value(text in "[A-Za-z0-9+/=]{0,16}") {
            if let Ok(bytes) = decode(&text) {
                prop_assert_eq!(encode(bytes), text);
            }
        }
    }
}
