//! Content-Transfer-Encoding undone piece by piece (RFC 2045 §6): what makes no sense is passed over or left standing,
//! as RFC 2045 asks of readers.

/// Longest run of white space held back in quoted-printable until it is known whether the line ends behind it.
const MAX_HELD_SPACE_OCTETS: usize = 1_000;

/// A decoder in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoder(Encoding);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Encoding {
    /// 7bit, 8bit, binary, or an encoding we do not know.
    Identity,
    /// base64.
    Base64(Base64),
    /// quoted-printable.
    Quoted(Quoted),
}

impl Decoder {
    /// For the value of Content-Transfer-Encoding; one that we do not know changes nothing.
    pub fn new(encoding: &str) -> Self {
        Self::known(encoding).unwrap_or(Self(Encoding::Identity))
    }

    /// The same; `None` for an encoding that we do not know. None at all is 7bit (RFC 2045 §6.1).
    pub fn known(encoding: &str) -> Option<Self> {
        Some(Self(match encoding.trim().to_ascii_lowercase().as_str() {
            "base64" => Encoding::Base64(Base64::default()),
            "quoted-printable" => Encoding::Quoted(Quoted::default()),
            "" | "7bit" | "8bit" | "binary" => Encoding::Identity,
            _ => return None,
        }))
    }

    /// The same for a field's value as it stands in a header, perhaps with a comment (RFC 3516 §4.1: what is not known is
    /// to be told).
    pub fn of_field(value: &[u8]) -> Option<Self> {
        let value = String::from_utf8_lossy(value);
        let name = value.trim_start();
        let end = name.find(|c: char| c.is_whitespace() || matches!(c, '(' | ';')).unwrap_or(name.len());
        Self::known(&name[..end])
    }

    /// Whether octets come out as they go in.
    pub fn is_identity(&self) -> bool {
        matches!(self.0, Encoding::Identity)
    }

    /// Decodes the next octets to the end of `out`.
    pub fn feed(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        match &mut self.0 {
            Encoding::Identity => out.extend_from_slice(octets),
            Encoding::Base64(base64) => base64.feed(octets, out),
            Encoding::Quoted(quoted) => quoted.feed(octets, out),
        }
    }

    /// Decodes what is left.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        match &mut self.0 {
            Encoding::Identity => {}
            Encoding::Base64(base64) => base64.end(out),
            Encoding::Quoted(quoted) => quoted.end(out),
        }
    }
}

/// Sextets that do not make octets yet. Whatever is no sextet is passed over, but for padding, which ends a run: what
/// follows it (two encodings joined) starts anew.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Base64 {
    bits: u32,
    /// Sextets in them, up to three.
    count: u8,
}

/// Two that are no values of sextets.
const OTHER: u8 = 64;
const PADDING: u8 = 65;

/// What each octet is in base64.
const VALUES: [u8; 256] = {
    let mut values = [OTHER; 256];
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut value = 0;
    while value < OTHER {
        values[alphabet[value as usize] as usize] = value;
        value += 1;
    }
    values[b'=' as usize] = PADDING;
    values
};

impl Base64 {
    fn feed(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        let mut rest = octets;
        loop {
            while self.count == 0
                && let Some((group, behind)) = rest.split_first_chunk::<4>()
            {
                let values = group.map(|octet| VALUES[usize::from(octet)]);
                if values.iter().any(|value| *value >= OTHER) {
                    break;
                }
                let bits = values.iter().fold(0, |bits, value| bits << 6 | u32::from(*value));
                out.extend_from_slice(&bits.to_be_bytes()[1..]);
                rest = behind;
            }
            let Some((octet, behind)) = rest.split_first() else { return };
            rest = behind;
            match VALUES[usize::from(*octet)] {
                OTHER => {}
                PADDING => self.end(out),
                value => {
                    self.bits = self.bits << 6 | u32::from(value);
                    self.count += 1;
                    if self.count == 4 {
                        out.extend_from_slice(&self.bits.to_be_bytes()[1..]);
                        *self = Self::default();
                    }
                }
            }
        }
    }

    /// Two or three sextets are one or two octets; bits behind these are cut off rather than refused.
    fn end(&mut self, out: &mut Vec<u8>) {
        let Self { bits, count } = std::mem::take(self);
        let octets = (bits << (6 * (4 - u32::from(count.min(4))))).to_be_bytes();
        out.extend_from_slice(&octets[1..usize::from(count.max(1))]);
    }
}

/// The text of an encoded word in the encoding `Q` (RFC 2047 §4.2). What is no encoding stands as it is, with the octets
/// that were looked at; one that the end cuts off is left out. What servers have sketched of stored headers rests on this.
pub fn decode_q(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let spaced = |octet: u8| if octet == b'_' { b' ' } else { octet };
    let mut rest = text;
    while let Some((octet, behind)) = rest.split_first() {
        let taken = match *behind {
            _ if *octet != b'=' => 1,
            [high, low, ..] if hex_pair(high, low).is_some() => {
                out.extend(hex_pair(high, low));
                rest = &behind[2..];
                continue;
            }
            [high, _, ..] if high.is_ascii_hexdigit() => 3,
            [other, ..] if !other.is_ascii_hexdigit() => 2,
            _ => return out,
        };
        out.extend(rest[..taken].iter().copied().map(spaced));
        rest = &rest[taken..];
    }
    out
}

/// Two hex digits, in either case.
pub fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// What quoted-printable has seen and not yet decided.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Quoted {
    /// An `=` and what followed it.
    escape: Vec<u8>,
    /// White space that goes if the line ends here (RFC 2045 §6.7 (3)).
    space: Vec<u8>,
}

impl Quoted {
    fn feed(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        let mut rest = octets;
        while let Some(first) = rest.first() {
            if !self.escape.is_empty() {
                self.push(*first, out);
                rest = &rest[1..];
                continue;
            }
            // Up to the next octet that means anything, all but the white space before it stands as it is.
            let (run, behind) = rest.split_at(memchr::memchr2(b'=', b'\n', rest).unwrap_or(rest.len()));
            let is_space = |octet: &u8| matches!(octet, b' ' | b'\t' | b'\r');
            let (plain, space) = run.split_at(run.iter().rposition(|b| !is_space(b)).map_or(0, |at| at + 1));
            if !plain.is_empty() {
                out.append(&mut self.space);
                out.extend_from_slice(plain);
            }
            for octet in space {
                self.push(*octet, out);
            }
            rest = behind;
            match *behind {
                [b'=', high, low, ref behind @ ..] if hex_pair(high, low).is_some() => {
                    out.append(&mut self.space);
                    out.extend(hex_pair(high, low));
                    rest = behind;
                }
                [octet, ref behind @ ..] => {
                    self.push(octet, out);
                    rest = behind;
                }
                [] => {}
            }
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if !self.escape.is_empty() && self.escape != b"=" && self.escape != b"=\r" {
            out.append(&mut self.escape);
        }
        self.escape.clear();
        self.space.clear();
    }

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
        let rows: [(&[u8], &[u8]); 11] = [
            (b"aGVsbG8=", b"hello"),
            (b"aGVs\r\nbG8=\r\n", b"hello"),
            (b"aGVsbG8", b"hello"),
            (b"aGVsbG9=", b"hello"),
            (b"aGU=aGU=", b"hehe"),
            (b"a G!V-sbG8=", b"hello"),
            (b"", b""),
            (b"a", b""),
            (b"====", b""),
            // Padding where none belongs.
            (b"aGU=bG8=x", b"helo"),
            (b"aG=VsbG8=", b"h\x56\xc6\xc6"),
        ];
        for (text, want) in rows {
            for cut in 0..=text.len() {
                assert_eq!(decode("base64", text, cut), want, "{:?}", String::from_utf8_lossy(text));
            }
        }
    }

    #[test]
    fn q_of_the_wild() {
        let rows: [(&[u8], &[u8]); 10] = [
            (b"a_b", b"a b"),
            (b"a_", b"a "),
            (b"=C3=bc_=3D", "\u{fc} =".as_bytes()),
            (b"a=4", b"a"),
            (b"a=", b"a"),
            (b"==41", b"==41"),
            (b"===41", b"==A"),
            (b"=4_=4=41=__", b"=4 =4=41=  "),
            (b"=zz=5F", b"=zz_"),
            (b"", b""),
        ];
        for (text, want) in rows {
            assert_eq!(decode_q(text), want, "{:?}", String::from_utf8_lossy(text));
        }
    }

    /// The way in which headers were decoded for sketches up to schema version 6.
    fn q_of_version_6(text: &[u8]) -> Vec<u8> {
        let (mut pending, mut out) = (Vec::new(), Vec::new());
        for octet in text {
            let octet = if *octet == b'_' { b' ' } else { *octet };
            if pending.is_empty() && octet != b'=' {
                out.push(octet);
                continue;
            }
            pending.push(octet);
            match pending.as_slice() {
                [_] => {}
                [_, a, b] if hex_pair(*a, *b).is_some() => {
                    out.extend(hex_pair(*a, *b));
                    pending.clear();
                }
                [_, a] if a.is_ascii_hexdigit() => {}
                _ => out.append(&mut pending),
            }
        }
        out
    }

    proptest! {
        #[test]
        fn q_is_what_stored_sketches_have(text in "[=_4aG]{0,20}") {
            prop_assert_eq!(decode_q(text.as_bytes()), q_of_version_6(text.as_bytes()));
        }

        #[test]
        fn what_we_write_we_read(text in "[ -~\t\näF.=]{0,300}", cut in 0..300_usize) {
            let trimmed = text.trim_end_matches('\n');
            let want = trimmed.replace('\n', "\r\n") + "\r\n";
            prop_assert_eq!(decode("quoted-printable", write::quoted_printable(&text).as_bytes(), cut), want.as_bytes());
            prop_assert_eq!(decode("base64", write::base64_lines(text.as_bytes()).as_bytes(), cut), text.as_bytes());
        }

        #[test]
        fn cuts_change_nothing(
            octets in proptest::collection::vec(any::<u8>(), 0..120),
            text in "[=\\r\\n \tA-Fa4/]{0,120}",
            cut in 0..120_usize,
        ) {
            for text in [&octets[..], text.as_bytes()] {
                for encoding in ["base64", "quoted-printable", "7bit"] {
                    let whole = decode(encoding, text, 0);
                    prop_assert_eq!(decode(encoding, text, cut), whole.as_slice());
                    // Octet by octet, where nothing is passed in bulk.
                    let (mut decoder, mut out) = (Decoder::new(encoding), Vec::new());
                    for octet in text {
                        decoder.feed(&[*octet], &mut out);
                    }
                    decoder.finish(&mut out);
                    prop_assert_eq!(out, whole);
                }
            }
        }

        #[test]
        fn base64_is_what_the_crate_makes_of_it(octets in proptest::collection::vec(any::<u8>(), 0..120)) {
            let text = crate::base64::encode(&octets);
            prop_assert_eq!(decode("base64", text.as_bytes(), 0), octets.as_slice());
            prop_assert_eq!(decode("base64", text.trim_end_matches('=').as_bytes(), 0), octets);
        }
    }
}
