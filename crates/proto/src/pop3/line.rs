//! Command lines. LF ends one, with or without a CR before it: people test servers by hand, and since no message comes
//! in this way nothing can be hidden behind a bare LF.

use bytes::BytesMut;

/// Longest command line, its end included. RFC 2449 §4 asks for 255; a user name may have 318 octets and an app password
/// 1,024.
pub(super) const LINE_MAX: usize = 2_048;
/// Longest line of AUTH and of the exchange behind it (RFC 4954 §4's bound; RFC 5034 leaves it to the mechanism).
pub(super) const AUTH_LINE_MAX: usize = 12_288;
/// Octets of a line that is too long which are dropped in the hope of its end, the end included: far above any mistake.
pub(super) const DROP_MAX: usize = 1024 * 1024;

pub(super) enum Line {
    /// Without its end.
    Whole(BytesMut),
    More,
    TooLong,
}

/// The next line; `max` counts its end.
pub(super) fn take(input: &mut BytesMut, max: usize) -> Line {
    let window = &input[..input.len().min(max)];
    match memchr::memchr(b'\n', window) {
        Some(end) => {
            let mut line = input.split_to(end + 1);
            line.truncate(end - usize::from(line[..end].last() == Some(&b'\r')));
            Line::Whole(line)
        }
        None if input.len() >= max => Line::TooLong,
        None => Line::More,
    }
}

/// Drops up to the end of the line; whether it was there.
pub(super) fn skip(input: &mut BytesMut) -> bool {
    let end = memchr::memchr(b'\n', input);
    let _ = input.split_to(end.map_or(input.len(), |end| end + 1));
    end.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_at_lf_and_loses_one_cr() {
        for (octets, line) in [
            (&b"NOOP\r\nX"[..], &b"NOOP"[..]),
            (b"NOOP\nX", b"NOOP"),
            (b"\r\nX", b""),
            (b"\nX", b""),
            (b"a\r\r\nX", b"a\r"),
        ] {
            let mut input = BytesMut::from(octets);
            assert!(matches!(take(&mut input, 100), Line::Whole(found) if found == line), "{octets:?}");
            assert_eq!(&input[..], b"X");
        }
    }

    #[test]
    fn the_limit_counts_the_end() {
        for (length, max, whole) in [(8, 10, true), (9, 10, false)] {
            let mut input = BytesMut::from(&[&vec![b'x'; length][..], b"\r\n"].concat()[..]);
            assert_eq!(matches!(take(&mut input, max), Line::Whole(_)), whole);
            assert_eq!(matches!(take(&mut input, max), Line::TooLong), !whole);
        }
        assert!(matches!(take(&mut BytesMut::from(&b"NOOP\r"[..]), 10), Line::More));
    }

    #[test]
    fn skipping_stops_behind_the_end() {
        let mut input = BytesMut::from(&b"xxx\r\nNOOP"[..]);
        assert!(skip(&mut input) && input == b"NOOP"[..]);
        assert!(!skip(&mut input) && input.is_empty());
    }
}
