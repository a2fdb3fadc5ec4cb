//! Lower-case hexadecimal, for digests in keyrings and vectors.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Lower-case digits.
pub fn encode(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}

/// 64 digits in either case; `None` for all else.
pub fn decode_32(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refusals() {
        assert!(decode_32(&"A0".repeat(32)).is_some());
        for bad in
            [String::new(), "0".repeat(63), "0".repeat(65), "g".repeat(64), "+0".repeat(32), "ä".repeat(32)]
        {
            assert_eq!(decode_32(&bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn round_trips(bytes: [u8; 32]) {
            prop_assert_eq!(decode_32(&encode(&bytes)), Some(bytes));
        }
    }
}
