//! Looks for many secrets in many forms at once, in a stream of any length and with little memory.
//!
//! Two passes: over the octets as they are, and over what is left when line breaks are taken out, as MIME, PEM, folded
//! headers, quoted-printable, encoded words and line breaks escaped in JSON put them into what is one text.

use super::encodings::{Form, forms, tail};
use aho_corasick::AhoCorasick;
use std::{
    collections::BTreeSet,
    io::{self, Read},
};

/// How much is read at once.
const CHUNK_OCTETS: usize = 256 * 1024;

/// What is looked for.
pub struct Searcher {
    automaton: AhoCorasick,
    /// Secret and encoding of each pattern.
    patterns: Vec<(usize, String)>,
    longest: usize,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hit {
    /// Which of the secrets.
    pub secret: usize,
    /// In which form.
    pub encoding: String,
    /// Where it begins, in octets from the start.
    pub offset: u64,
}

impl Searcher {
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self::of(secrets, forms)
    }

    /// For the memory of processes: also what is left of a secret that was freed and not cleared, the beginning of
    /// which the allocator has written over.
    pub fn of_memory<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self::of(secrets, |secret| {
            let mut all = forms(secret);
            all.extend(tail(secret));
            all
        })
    }

    fn of<'a>(secrets: impl IntoIterator<Item = &'a [u8]>, forms: impl Fn(&[u8]) -> Vec<Form>) -> Self {
        let (mut octets, mut patterns) = (Vec::new(), Vec::new());
        for (number, secret) in secrets.into_iter().enumerate() {
            for form in forms(secret) {
                octets.push(form.octets);
                patterns.push((number, form.encoding));
            }
        }
        let longest = octets.iter().map(Vec::len).max().unwrap_or(0);
        Self { automaton: AhoCorasick::new(&octets).expect("patterns of some MiB"), patterns, longest }
    }

    /// Everything found in `input`, and how long that is.
    pub fn read(&self, mut input: impl Read) -> io::Result<(BTreeSet<Hit>, u64)> {
        let (mut plain, mut joined) = (Window::default(), Window::default());
        let (mut hits, mut found_at, mut total) = (BTreeSet::new(), BTreeSet::new(), 0);
        let (mut lines, mut words) = (Lines::default(), Words::default());
        let mut buffer = vec![0; CHUNK_OCTETS];
        loop {
            let octets = match input.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => &buffer[..n],
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            for &octet in octets {
                plain.push(octet, total);
                lines.feed(octet, total, |octet, at| {
                    words.feed(octet, at, |octet, at| joined.push(octet, at));
                });
                total += 1;
            }
            self.look(&mut plain, "", &mut hits, &mut found_at);
            self.look(&mut joined, ", line breaks taken out", &mut hits, &mut found_at);
        }
        lines.end(|octet, at| words.feed(octet, at, |octet, at| joined.push(octet, at)));
        words.end(|octet, at| joined.push(octet, at));
        self.look(&mut joined, ", line breaks taken out", &mut hits, &mut found_at);
        Ok((hits, total))
    }

    pub fn octets(&self, octets: &[u8]) -> BTreeSet<Hit> {
        self.read(octets).expect("memory can be read").0
    }

    fn look(
        &self,
        window: &mut Window,
        how: &str,
        hits: &mut BTreeSet<Hit>,
        found_at: &mut BTreeSet<(usize, u64)>,
    ) {
        for found in self.automaton.find_overlapping_iter(&window.octets) {
            let (secret, encoding) = &self.patterns[found.pattern().as_usize()];
            let offset = window.places[found.start()];
            // What was found in one piece need not be told twice.
            if found_at.insert((*secret, offset)) || how.is_empty() {
                hits.insert(Hit { secret: *secret, encoding: format!("{encoding}{how}"), offset });
            }
        }
        window.keep(self.longest);
    }
}

/// Octets, and where each of them stood.
#[derive(Default)]
struct Window {
    octets: Vec<u8>,
    places: Vec<u64>,
}

impl Window {
    fn push(&mut self, octet: u8, at: u64) {
        self.octets.push(octet);
        self.places.push(at);
    }

    /// Forgets all but the end, where a secret may have begun.
    fn keep(&mut self, longest: usize) {
        let gone = self.octets.len().saturating_sub(longest);
        self.octets.drain(..gone);
        self.places.drain(..gone);
    }
}

/// Takes line breaks out: CR, LF, white space at the begin of a line, quoted-printable's `=` at its end, and `\r`, `\n`
/// as JSON writes them.
#[derive(Default)]
struct Lines {
    /// `=` or `\`, until it is known what follows.
    held: Option<(u8, u64)>,
    /// At the begin of a line.
    begin: bool,
}

impl Lines {
    fn feed(&mut self, octet: u8, at: u64, mut give: impl FnMut(u8, u64)) {
        if let Some((held, place)) = self.held.take() {
            match (held, octet) {
                (b'=', b'\r' | b'\n') => {}
                (b'\\', b'r' | b'n') => {
                    self.begin = true;
                    return;
                }
                _ => {
                    give(held, place);
                    self.begin = false;
                }
            }
        }
        match octet {
            b'\r' | b'\n' => self.begin = true,
            b' ' | b'\t' if self.begin => {}
            b'=' | b'\\' => self.held = Some((octet, at)),
            _ => {
                give(octet, at);
                self.begin = false;
            }
        }
    }

    fn end(self, mut give: impl FnMut(u8, u64)) {
        if let Some((octet, at)) = self.held {
            give(octet, at);
        }
    }
}

/// Takes out where one encoded word ends and the next begins (RFC 2047 §2), once line breaks are gone, and with them the
/// `=` before them.
#[derive(Default)]
struct Words {
    /// What may become a border.
    held: Vec<(u8, u64)>,
}

const BORDERS: [&[u8]; 4] = [b"?=?utf-8?q?", b"?==?utf-8?q?", b"?=?utf-8?b?", b"?==?utf-8?b?"];

impl Words {
    fn feed(&mut self, octet: u8, at: u64, mut give: impl FnMut(u8, u64)) {
        if self.held.is_empty() && octet != b'?' {
            return give(octet, at);
        }
        self.held.push((octet, at));
        while !self.held.is_empty() {
            let held: Vec<u8> = self.held.iter().map(|(octet, _)| octet.to_ascii_lowercase()).collect();
            if BORDERS.contains(&&*held) {
                self.held.clear();
            } else if BORDERS.iter().any(|border| border.starts_with(&held)) {
                return;
            } else {
                let (octet, at) = self.held.remove(0);
                give(octet, at);
            }
        }
    }

    fn end(self, mut give: impl FnMut(u8, u64)) {
        for (octet, at) in self.held {
            give(octet, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealpost_crypto::key::SecretKey;
    use sealpost_proto::{base64, message::write};

    const WORDS: &str = "Grüße: \"six\" words = a \\ passphrase";
    const OCTETS: [u8; 32] = [
        0x9f, 0x02, 0xff, 0x41, 0x0a, 0x00, 0x7e, 0xfb, 0xfe, 0x3c, 0x22, 0x5c, 0x0d, 0x80, 0xc3, 0x28, 0x3d,
        0x11, 0x64, 0xe0, 0xa1, 0x90, 0x5f, 0x3f, 0xee, 0x2b, 0x2f, 0x77, 0x18, 0xd0, 0x01, 0x99,
    ];

    fn searcher() -> Searcher {
        Searcher::new([WORDS.as_bytes(), &OCTETS])
    }

    fn hexadecimal(octets: &[u8]) -> String {
        octets.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().concat()
    }

    fn found(secret: usize, text: &[u8]) {
        let hits = searcher().octets(text);
        let told = String::from_utf8_lossy(text);
        assert!(!hits.is_empty(), "not found in {told}");
        assert!(hits.iter().all(|hit| hit.secret == secret), "{hits:?} in {told}");
    }

    #[test]
    fn every_form_is_found() {
        for (number, secret) in [WORDS.as_bytes(), &OCTETS].into_iter().enumerate() {
            let hex = hexadecimal(secret);
            for before in ["", "x", "xy", "xyz"] {
                let text = base64::encode([before.as_bytes(), secret, b"and more"].concat());
                found(number, text.as_bytes());
                found(number, text.replace('+', "-").replace('/', "_").as_bytes());
                // SASL: base64 of text that holds base64.
                let sasl = format!("\0alice@example.net{before}\0{}", base64::encode(secret));
                found(number, base64::encode(sasl).as_bytes());
                found(number, write::base64_lines(&[before.as_bytes(), secret].concat()).as_bytes());
            }
            found(number, &[b"before ", secret, b" after"].concat());
            found(number, hex.as_bytes());
            found(number, hex.to_uppercase().as_bytes());
            found(number, format!("{secret:?}").as_bytes());
            found(number, format!("{secret:#?}").as_bytes());
            found(number, format!("{secret:02x?}").as_bytes());
            found(number, format!("{}", secret.escape_ascii()).as_bytes());
            found(number, &secret.iter().rev().copied().collect::<Vec<_>>());
            found(number, base64::encode(hex.as_bytes()).as_bytes());
        }
        found(0, serde_json::to_string(WORDS).expect("JSON").as_bytes());
        found(0, format!("{WORDS:?}").as_bytes());
        found(0, write::quoted_printable(WORDS).as_bytes());
        found(0, write::text_field("Subject", WORDS).as_bytes());
        found(0, b"Gr%C3%BC%C3%9Fe%3A%20%22six%22%20words%20%3D%20a%20%5C%20passphrase");
        for order in [u16::to_le_bytes, u16::to_be_bytes] {
            found(0, &WORDS.encode_utf16().flat_map(order).collect::<Vec<u8>>());
        }
    }

    /// Vectors of RFC 4648 §10 and of BIP 173, whose letters are somebody else's work.
    #[test]
    fn base32_and_bech32_are_those_of_the_standards() {
        let searcher = Searcher::new([&b"foobarfoobar"[..]]);
        for text in ["MZXW6YTBOJTG633CMFZA====", "mzxw6ytbojtg633cmfza", "CPNMUOJ1E9J6URR2C5P0"] {
            assert!(!searcher.octets(text.as_bytes()).is_empty(), "{text}");
        }
        let program = [
            0x75, 0x1e, 0x76, 0xe8, 0x19, 0x91, 0x96, 0xd4, 0x54, 0x94, 0x1c, 0x45, 0xd1, 0xb3, 0xa3, 0x23,
            0xf1, 0x43, 0x3b, 0xd6,
        ];
        let searcher = Searcher::new([&program[..]]);
        let address = "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4";
        assert!(!searcher.octets(address.as_bytes()).is_empty());
        assert!(!searcher.octets(address.to_lowercase().as_bytes()).is_empty());
    }

    #[test]
    fn a_private_key_is_found_in_its_file() {
        let pem = SecretKey::from_seed(OCTETS).to_openssh_pem("a comment");
        found(1, pem.as_bytes());
        found(1, pem.replace('\n', "\r\n").as_bytes());
        found(1, serde_json::to_string(&*pem).expect("JSON").as_bytes());
        // Folded, as a header is.
        found(1, pem.replace('\n', "\r\n ").as_bytes());
    }

    #[test]
    fn line_breaks_anywhere_hide_nothing() {
        let hex = hexadecimal(&OCTETS);
        for text in [base64::encode(OCTETS), hex] {
            for at in 1..text.len() {
                for end in ["\n", "\r\n", "=\r\n", "\r\n\t", "\\n", "\\r\\n"] {
                    found(1, format!("x={}{end}{}", &text[..at], &text[at..]).as_bytes());
                }
            }
        }
    }

    #[test]
    fn a_hit_names_secret_encoding_and_offset() {
        let text = [b"0123456789".as_slice(), &OCTETS, b"..", WORDS.as_bytes()].concat();
        let hits: Vec<_> = searcher().octets(&text).into_iter().collect();
        assert!(hits.iter().any(|h| (h.secret, h.offset, h.encoding.as_str()) == (1, 10, "raw")), "{hits:?}");
        assert!(hits.iter().any(|h| (h.secret, h.offset) == (0, 44)), "{hits:?}");
    }

    #[test]
    fn a_secret_across_two_reads_is_found() {
        struct Pieces<'a>(&'a [u8], usize);
        impl Read for Pieces<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let n = self.1.min(self.0.len()).min(buffer.len());
                buffer[..n].copy_from_slice(&self.0[..n]);
                self.0 = &self.0[n..];
                Ok(n)
            }
        }
        let text = [&vec![b'.'; CHUNK_OCTETS - 20], WORDS.as_bytes(), b"..."].concat();
        for piece in [1_000, 4_097, CHUNK_OCTETS] {
            let (hits, octets) = searcher().read(Pieces(&text, piece)).expect("memory");
            assert_eq!(octets, text.len() as u64);
            assert!(hits.iter().any(|h| h.secret == 0 && h.offset == CHUNK_OCTETS as u64 - 20), "{hits:?}");
        }
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let searcher = searcher();
        for text in [&b""[..], &[0; 10_000], &WORDS.as_bytes()[1..], &OCTETS[..31], &OCTETS[1..]] {
            assert!(searcher.octets(text).is_empty(), "{}", text.escape_ascii());
        }
    }
}
