//! Content-Transfer-Encoding undone piece by piece (RFC 2045 §6): what makes no sense is passed over or left standing,
//! as RFC 2045 asks of readers.

use crate::base64;

/// Longest run of white space held back in quoted-printable until it is known whether the line ends behind it.
const MAX_HELD_SPACE_OCTETS: usize = 1_000;

/// A decoder in progress.
#[derive(Debug)]
pub struct Decoder(Encoding);

#[derive(Debug)]
enum Encoding {
    /// 7bit, 8bit, binary, or an encoding we do not know.
    Identity,
    /// base64: characters that wait until there are four.
    Base64(Vec<u8>),
    /// quoted-printable.
    Quoted(Quoted),
}

/// What quoted-printable has seen and not yet decided.
#[derive(Debug, Default)]
struct Quoted {
    /// An `=` and what followed it.
    escape: Vec<u8>,
    /// White space that goes if the line ends here (RFC 2045 §6.7 (3)).
    space: Vec<u8>,
}

impl Decoder {
    /// For the value of Content-Transfer-Encoding; one that we do not know changes nothing.
    pub fn new(encoding: &str) -> Self {
        Self::known(encoding).unwrap_or(Self(Encoding::Identity))
    }

    /// The same; `None` for an encoding that we do not know. None at all is 7bit (RFC 2045 §6.1).
    pub fn known(encoding: &str) -> Option<Self> {
        Some(Self(match encoding.trim().to_ascii_lowercase().as_str() {
            "base64" => Encoding::Base64(Vec::new()),
            "quoted-printable" => Encoding::Quoted(Quoted::default()),
            "" | "7bit" | "8bit" | "binary" => Encoding::Identity,
            _ => return None,
        }))
    }

    /// Whether octets come out as they go in.
    pub fn is_identity(&self) -> bool {
        matches!(self.0, Encoding::Identity)
    }

    /// Decodes the next octets to the end of `out`.
    pub fn feed(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        match &mut self.0 {
            Encoding::Identity => out.extend_from_slice(octets),
            Encoding::Base64(waiting) => {
                waiting.extend(
                    octets.iter().filter(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=')),
                );
                let whole = waiting.len() / 4 * 4;
                decode_base64(&waiting[..whole], out);
                waiting.drain(..whole);
            }
            Encoding::Quoted(quoted) => {
                for &b in octets {
                    quoted.push(b, out);
                }
            }
        }
    }

    /// Decodes what is left.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        match &mut self.0 {
            Encoding::Identity => {}
            Encoding::Base64(waiting) => {
                while waiting.len() % 4 != 0 {
                    waiting.push(b'=');
                }
                decode_base64(waiting, out);
                waiting.clear();
            }
            Encoding::Quoted(quoted) => {
                if !quoted.escape.is_empty() && quoted.escape != b"=" && quoted.escape != b"=\r" {
                    out.append(&mut quoted.escape);
                }
                quoted.escape.clear();
                quoted.space.clear();
            }
        }
    }
}

/// Whole groups of four. Padding in the middle (two encodings joined) starts anew; a bad group is passed over.
fn decode_base64(groups: &[u8], out: &mut Vec<u8>) {
    if let Ok(decoded) = base64::decode(groups) {
        out.extend_from_slice(&decoded);
        return;
    }
    for group in groups.chunks(4) {
        let mut group = group.to_vec();
        // Non-zero bits behind the end are cut off rather than refused.
        let end = group.iter().position(|&b| b == b'=').unwrap_or(4);
        if let Some(mask) = [None, None, Some(0x30), Some(0x3c)].get(end).copied().flatten()
            && let Some(value) = ALPHABET.iter().position(|&b| b == group[end - 1])
        {
            group[end - 1] = ALPHABET[value & mask];
            group[end..].fill(b'=');
        }
        if let Ok(decoded) = base64::decode(&group) {
            out.extend_from_slice(&decoded);
        }
    }
}

/// Two hex digits, in either case.
pub fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

impl Quoted {
    fn push(&mut self, b: u8, out: &mut Vec<u8>) {
        if !self.escape.is_empty() {
            self.escape.push(b);
            match self.escape.as_slice() {
                [b'=', b'\r' | b' ' | b'\t'] => {}
                // A soft line break; white space between `=` and the line end was added on the way.
                [b'=', .., b' ' | b'\t' | b'\r'] if self.escape.len() < MAX_HELD_SPACE_OCTETS => {}
                [b'=', .., b'\n'] => self.escape.clear(),
                [b'=', high] if high.is_ascii_hexdigit() => {}
                [b'=', high, low] if hex_pair(*high, *low).is_some() => {
                    out.extend(hex_pair(*high, *low));
                    self.escape.clear();
                }
                _ => {
                    // Not an encoding: stands as it is, but the last octet may begin something.
                    let last = self.escape.pop();
                    out.append(&mut self.escape);
                    if let Some(last) = last {
                        self.push(last, out);
                    }
                }
            }
            return;
        }
        match b {
            b'=' => {
                out.append(&mut self.space);
                self.escape.push(b);
            }
            b' ' | b'\t' | b'\r' if self.space.len() < MAX_HELD_SPACE_OCTETS => self.space.push(b),
            b'\n' => {
                let crlf = self.space.last() == Some(&b'\r');
                self.space.clear();
                out.extend_from_slice(if crlf { b"\r\n" } else { b"\n" });
            }
            _ => {
                out.append(&mut self.space);
                out.push(b);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::write;
    use proptest::prelude::*;

    fn decode(encoding: &str, text: &[u8], cut: usize) -> Vec<u8> {
        let mut decoder = Decoder::new(encoding);
        let mut out = Vec::new();
        let (a, b) = text.split_at(cut.min(text.len()));
        decoder.feed(a, &mut out);
        decoder.feed(b, &mut out);
        decoder.finish(&mut out);
        out
    }

    #[test]
    fn quoted_printable_of_the_wild() {
        let rows: [(&[u8], &[u8]); 14] = [
            (b"a=3Db", b"a=b"),
            (b"a=3db", b"a=b"),
            (b"a=\r\nb", b"ab"),
            (b"a=\nb", b"ab"),
            (b"a=  \r\nb", b"ab"),
            (b"a \t\r\nb", b"a\r\nb"),
            (b"a b", b"a b"),
            (b"a=zzb", b"a=zzb"),
            (b"a==3D", b"a=="),
            (b"a=3", b"a=3"),
            (b"a=", b"a"),
            (b"a\n", b"a\n"),
            (b"=E2=82=AC", "€".as_bytes()),
            (b"a\rb", b"a\rb"),
        ];
        for (text, want) in rows {
            for cut in 0..=text.len() {
                let got = decode("Quoted-Printable", text, cut);
                assert_eq!(got, want, "{:?} cut at {cut}", String::from_utf8_lossy(text));
            }
        }
    }

    #[test]
    fn encodings_that_are_known() {
        for known in ["", "7bit", " 8BIT ", "binary", "Base64", "QUOTED-PRINTABLE"] {
            assert!(Decoder::known(known).is_some(), "{known}");
        }
        for unknown in ["x-uuencode", "base64 x", "gzip64"] {
            assert!(Decoder::known(unknown).is_none() && Decoder::new(unknown).is_identity(), "{unknown}");
        }
    }

    #[test]
    fn what_is_held_back_is_limited() {
        for held in [b'\r', b' ', b'='] {
            let mut decoder = Decoder::new("quoted-printable");
            let mut out = Vec::new();
            decoder.feed(&vec![held; 100_000], &mut out);
            assert!(out.len() >= 99_000 - MAX_HELD_SPACE_OCTETS, "{held}: {}", out.len());
        }
        let mut decoder = Decoder::new("quoted-printable");
        let mut out = Vec::new();
        decoder.feed(&[b"=".as_slice(), &vec![b' '; 100_000]].concat(), &mut out);
        assert!(out.len() >= 98_000, "{}", out.len());
    }

    #[test]
    fn base64_of_the_wild() {
        let rows: [(&[u8], &[u8]); 9] = [
            (b"aGVsbG8=", b"hello"),
            (b"aGVs\r\nbG8=\r\n", b"hello"),
            (b"aGVsbG8", b"hello"),
            (b"aGVsbG9=", b"hello"),
            (b"aGU=aGU=", b"hehe"),
            (b"a G!V-sbG8=", b"hello"),
            (b"", b""),
            (b"a", b""),
            (b"====", b""),
        ];
        for (text, want) in rows {
            for cut in 0..=text.len() {
                assert_eq!(decode("base64", text, cut), want, "{:?}", String::from_utf8_lossy(text));
            }
        }
    }

    proptest! {
        #[test]
        fn what_we_write_we_read(text in "[ -~\t\näF.=]{0,300}", cut in 0..300_usize) {
            let trimmed = text.trim_end_matches('\n');
            let want = trimmed.replace('\n', "\r\n") + "\r\n";
            prop_assert_eq!(decode("quoted-printable", write::quoted_printable(&text).as_bytes(), cut), want.as_bytes());
            prop_assert_eq!(decode("base64", write::base64_lines(text.as_bytes()).as_bytes(), cut), text.as_bytes());
        }

        #[test]
        fn cuts_change_nothing(text in proptest::collection::vec(any::<u8>(), 0..120), cut in 0..120_usize) {
            for encoding in ["base64", "quoted-printable", "7bit"] {
                prop_assert_eq!(decode(encoding, &text, cut), decode(encoding, &text, 0));
            }
        }
    }
}
