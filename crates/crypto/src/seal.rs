//! Sealing and opening in the age v1 format (profile §6): two nouns, two verbs.
//!
//! The `age` crate does the cryptography. Around it stand the checks it leaves out: keys of small order never get
//! here ([`PublicKey`] has refused them), both of its writers are finished, what is not armour is not taken for it,
//! lines and headers of any length do not fill the memory, and only the stanza kinds of profile §6 are opened.

use crate::key::SecretKey;
use age::{Decryptor, Encryptor, armor, ssh, stream};
use sealpost_proto::key::PublicKey;
use std::{
    collections::BTreeSet,
    io::{self, BufRead, BufReader, Read, Write},
};
use zeroize::Zeroizing;

/// Most recipient stanzas opened (profile §6).
pub const MAX_STANZAS: usize = 1_000;
/// Stanzas that the `age` crate adds by itself.
const GREASE_STANZAS: usize = 1;
/// 1,000 stanzas for RSA keys of 4096 bits take 730 KB; what is longer is none of ours.
const MAX_HEADER_OCTETS: usize = 1 << 20;
/// age wraps at 64; grease has a few short arguments.
const MAX_HEADER_LINE_OCTETS: usize = 1_024;
/// Armour lines have 64 columns and a line end.
const MAX_ARMOUR_LINE_OCTETS: usize = 80;
const ARMOUR_BEGIN: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";
const VERSION_LINE: &[u8] = b"age-encryption.org/v1\n";

/// Seals what is written to the returned writer for `recipients`, ASCII-armoured with CRLF line ends, to `out`.
/// Call [`Sealer::finish`], else the file is truncated. Bounded memory.
pub fn seal_armoured<W: Write>(recipients: &[PublicKey], out: W) -> Result<Sealer<W>, SealError> {
    let armour = armor::ArmoredWriter::wrap_output(CrlfWriter::new(out), armor::Format::AsciiArmor)?;
    Ok(Sealer { inner: encryptor(recipients)?.wrap_output(armour)? })
}

/// A sealing in progress.
pub struct Sealer<W: Write> {
    inner: stream::StreamWriter<armor::ArmoredWriter<CrlfWriter<W>>>,
}

impl<W: Write> Sealer<W> {
    /// Writes the final chunk and the end of the armour.
    pub fn finish(self) -> Result<W, SealError> {
        let mut out = self.inner.finish()?.finish()?.inner;
        out.flush()?;
        Ok(out)
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.inner.write(buf)
    }

    /// Does nothing before [`Sealer::finish`]: a chunk is sealed when it is full, and a flush in between would put
    /// the armour's line ends (age 0.12) into the wrong columns.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Opens armoured input with the first of `identities` that fits; the result streams and fails (never silently
/// ends) on damage. Checks the stanza rules of profile §6.
///
/// The armour must begin at once; after it only white space is taken. Errors while reading convert into
/// [`SealError`] by `?`: damage into [`SealError::Damaged`], all else into [`SealError::Io`].
pub fn open_armoured<'a, R: Read + 'a>(
    identities: &[SecretKey],
    input: R,
) -> Result<Box<dyn Read + 'a>, SealError> {
    let armour = armor::ArmoredReader::new(ArmourGuard { inner: input, at: 0, column: 0 });
    Ok(Box::new(open_stream(identities, BufReader::new(armour))?))
}

/// Binary age, whole in memory: keyrings.
pub fn seal_bytes(recipients: &[PublicKey], plain: &[u8]) -> Result<Vec<u8>, SealError> {
    let mut writer = encryptor(recipients)?.wrap_output(Vec::new())?;
    writer.write_all(plain)?;
    Ok(writer.finish()?)
}

/// Inverse of [`seal_bytes`].
pub fn open_bytes(identities: &[SecretKey], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    // Plain is shorter than sealed: the buffer never grows and leaves no uncleared copies.
    let mut plain = Zeroizing::new(Vec::with_capacity(sealed.len()));
    open_stream(identities, sealed)?.read_to_end(&mut plain)?;
    Ok(plain)
}

/// Why sealing or opening failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// No recipients given.
    #[error("there is nobody to seal to")]
    NoRecipients,
    /// No stanza for any key of ours.
    #[error("this message is not sealed to any of your keys")]
    NotForUs,
    /// Over 1,000 stanzas.
    #[error("a message for more than 1,000 recipients is neither sealed nor opened")]
    TooManyStanzas,
    /// A stanza of another kind than ssh-ed25519, ssh-rsa and …-grease.
    #[error("this message is sealed in a way that Sealpost does not take")]
    ForeignStanza,
    /// Damaged armour, header or payload.
    #[error("the sealed message is damaged")]
    Damaged,
    /// Input or output failed.
    #[error("reading or writing failed: {0}")]
    Io(#[source] io::Error),
}

/// Damage shows as `InvalidData` or `UnexpectedEof`, in `age` and here; everything else is the machine's.
impl From<io::Error> for SealError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Self::Damaged,
            _ => Self::Io(error),
        }
    }
}

fn encryptor(recipients: &[PublicKey]) -> Result<Encryptor, SealError> {
    let unique: BTreeSet<&PublicKey> = recipients.iter().collect();
    if unique.is_empty() {
        return Err(SealError::NoRecipients);
    }
    if unique.len() + GREASE_STANZAS > MAX_STANZAS {
        return Err(SealError::TooManyStanzas);
    }
    let parsed: Result<Vec<ssh::Recipient>, _> = unique.iter().map(|key| key.openssh().parse()).collect();
    let parsed = parsed.map_err(|_| damaged("age refuses a checked key"))?;
    Encryptor::with_recipients(parsed.iter().map(|r| r as &dyn age::Recipient))
        .map_err(|e| SealError::Io(io::Error::other(e.to_string())))
}

fn open_stream<'a, R: BufRead + 'a>(
    identities: &[SecretKey],
    mut input: R,
) -> Result<Opened<'a, R>, SealError> {
    let header = read_header(&mut input)?;
    let decryptor =
        Decryptor::new_buffered(HeaderFirst { header, given: 0, rest: input }).map_err(decrypt_error)?;
    let identities = identities.iter().map(age_identity).collect::<Result<Vec<_>, _>>()?;
    let reader =
        decryptor.decrypt(identities.iter().map(|i| i as &dyn age::Identity)).map_err(decrypt_error)?;
    Ok(Opened { inner: reader, failed: false, _input: std::marker::PhantomData })
}

/// The crate's ssh identity is made from the text of an OpenSSH key file only.
fn age_identity(key: &SecretKey) -> Result<ssh::Identity, SealError> {
    let pem = key.to_openssh_pem("");
    ssh::Identity::from_buffer(pem.as_bytes(), None).map_err(|_| damaged("age refuses a key file").into())
}

fn decrypt_error(error: age::DecryptError) -> SealError {
    match error {
        age::DecryptError::NoMatchingKeys => SealError::NotForUs,
        age::DecryptError::Io(error) => error.into(),
        _ => SealError::Damaged,
    }
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Reads the header up to and with its MAC line, and judges its stanzas (profile §6).
///
/// ```text
/// header = "age-encryption.org/v1" LF 1*("-> " kind *(SP arg) LF *(64base64 LF) short LF) "--- " mac LF
/// ```
fn read_header(input: &mut impl BufRead) -> Result<Vec<u8>, SealError> {
    let mut header = Vec::new();
    let mut stanzas = 0_usize;
    let mut foreign = false;
    loop {
        let start = header.len();
        let limit = u64::try_from(MAX_HEADER_LINE_OCTETS).unwrap_or(u64::MAX);
        input.take(limit).read_until(b'\n', &mut header)?;
        let line = &header[start..];
        if !line.ends_with(b"\n") || header.len() > MAX_HEADER_OCTETS {
            return Err(SealError::Damaged);
        }
        if start == 0 {
            if line != VERSION_LINE {
                return Err(SealError::Damaged);
            }
        } else if line.starts_with(b"---") {
            break;
        } else if let Some(stanza) = line.strip_prefix(b"-> ") {
            stanzas += 1;
            if stanzas > MAX_STANZAS {
                return Err(SealError::TooManyStanzas);
            }
            let kind = stanza.split(|b| matches!(b, b' ' | b'\n')).next().unwrap_or_default();
            foreign |= !(kind == b"ssh-ed25519" || kind == b"ssh-rsa" || kind.ends_with(b"-grease"));
        }
    }
    if foreign { Err(SealError::ForeignStanza) } else { Ok(header) }
}

/// Gives the header again that [`read_header`] took, and then the rest. `age` parses the header anew after each
/// `read_until`; given a line at a time, 1,000 stanzas would take minutes, so it gets all of it at once.
struct HeaderFirst<R> {
    header: Vec<u8>,
    given: usize,
    rest: R,
}

impl<R: BufRead> Read for HeaderFirst<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut header = &self.header[self.given..];
        if header.is_empty() {
            return self.rest.read(buf);
        }
        let n = header.read(buf)?;
        self.given += n;
        Ok(n)
    }
}

impl<R: BufRead> BufRead for HeaderFirst<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let header = &self.header[self.given..];
        if header.is_empty() { self.rest.fill_buf() } else { Ok(header) }
    }

    fn consume(&mut self, n: usize) {
        if self.given < self.header.len() {
            self.given += n;
        } else {
            self.rest.consume(n);
        }
    }

    fn read_until(&mut self, byte: u8, buf: &mut Vec<u8>) -> io::Result<usize> {
        let header = &self.header[self.given..];
        if header.is_empty() {
            return self.rest.read_until(byte, buf);
        }
        buf.extend_from_slice(header);
        let n = header.len();
        self.given = self.header.len();
        Ok(n)
    }
}

/// Once failed, always failed: whoever reads on after an error gets no end of file.
struct Opened<'a, R> {
    inner: stream::StreamReader<HeaderFirst<R>>,
    failed: bool,
    _input: std::marker::PhantomData<&'a ()>,
}

impl<R: BufRead> Read for Opened<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.failed {
            return Err(damaged("the sealed message is damaged"));
        }
        let result = self.inner.read(buf);
        self.failed = result.as_ref().is_err_and(|e| e.kind() != io::ErrorKind::Interrupted);
        result
    }
}

/// Lets through what begins with the armour's first line and has no overlong lines.
struct ArmourGuard<R> {
    inner: R,
    /// How much of the first line was seen.
    at: usize,
    column: usize,
}

impl<R: Read> Read for ArmourGuard<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        for &byte in &buf[..n] {
            if ARMOUR_BEGIN.get(self.at).is_some_and(|want| *want != byte) {
                return Err(damaged("no armour"));
            }
            self.at = self.at.saturating_add(1);
            self.column = if byte == b'\n' { 0 } else { self.column + 1 };
            if self.column > MAX_ARMOUR_LINE_OCTETS {
                return Err(damaged("overlong line in the armour"));
            }
        }
        Ok(n)
    }
}

/// Writes every line end as CRLF, whatever the platform's is.
struct CrlfWriter<W> {
    inner: W,
    after_cr: bool,
    line: Vec<u8>,
}

impl<W: Write> CrlfWriter<W> {
    fn new(inner: W) -> Self {
        Self { inner, after_cr: false, line: Vec::new() }
    }
}

impl<W: Write> Write for CrlfWriter<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.line.clear();
        for &byte in buf {
            if byte == b'\n' && !self.after_cr {
                self.line.push(b'\r');
            }
            self.line.push(byte);
            self.after_cr = byte == b'\r';
        }
        self.inner.write_all(&self.line)?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(n: u16) -> SecretKey {
        let mut seed = [0; 32];
        seed[..2].copy_from_slice(&n.to_be_bytes());
        SecretKey::from_seed(seed)
    }

    fn seal(recipients: &[u16], plain: &[u8]) -> Vec<u8> {
        let recipients: Vec<_> = recipients.iter().map(|n| key(*n).public()).collect();
        let mut writer = seal_armoured(&recipients, Vec::new()).expect("sealed");
        writer.write_all(plain).expect("sealed");
        writer.finish().expect("sealed")
    }

    fn open(identities: &[u16], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let identities: Vec<_> = identities.iter().map(|n| key(*n)).collect();
        let mut plain = Vec::new();
        open_armoured(&identities, sealed)?.read_to_end(&mut plain)?;
        Ok(plain)
    }

    fn outcome<T>(result: &Result<T, SealError>) -> &'static str {
        match result {
            Ok(_) => "opened",
            Err(SealError::NotForUs) => "not for us",
            Err(SealError::TooManyStanzas) => "too many",
            Err(SealError::ForeignStanza) => "foreign",
            Err(SealError::Damaged) => "damaged",
            Err(_) => "other",
        }
    }

    /// Lays binary age out as armour.
    fn armour(binary: &[u8]) -> Vec<u8> {
        let mut writer =
            armor::ArmoredWriter::wrap_output(Vec::new(), armor::Format::AsciiArmor).expect("vec");
        writer.write_all(binary).expect("vec");
        writer.finish().expect("vec")
    }

    fn dearmour(text: &[u8]) -> Vec<u8> {
        let mut binary = Vec::new();
        armor::ArmoredReader::new(text).read_to_end(&mut binary).expect("armour");
        binary
    }

    /// Binary age with another header put before the MAC line.
    fn with_header(sealed: &[u8], edit: impl FnOnce(&str) -> String) -> Vec<u8> {
        let binary = dearmour(sealed);
        let end = binary.windows(4).position(|w| w == b"\n---").expect("a MAC line") + 1;
        let header = std::str::from_utf8(&binary[..end]).expect("ASCII");
        armour(&[edit(header).as_bytes(), &binary[end..]].concat())
    }

    #[test]
    fn r25_armour_is_ascii_with_crlf_and_64_columns() {
        for size in [0, 1, 47, 48, 100, 6_143, 6_144, 65_536, 200_000] {
            let sealed = seal(&[1], &vec![b'x'; size]);
            let text = String::from_utf8(sealed).expect("ASCII");
            assert!(text.is_ascii());
            let lines: Vec<&str> = text.split("\r\n").collect();
            let [first, body @ .., tail, last, end] = &lines[..] else { panic!("too few lines") };
            assert_eq!(first.as_bytes(), ARMOUR_BEGIN);
            assert!(body.iter().all(|l| l.len() == 64 && !l.contains(['\r', '\n'])), "{size}");
            assert!((1..=64).contains(&tail.len()), "{size}");
            assert_eq!((*last, *end), ("-----END AGE ENCRYPTED FILE-----", ""));
        }
    }

    #[test]
    fn flushing_in_between_changes_nothing() {
        let mut writer = seal_armoured(&[key(1).public()], Vec::new()).expect("sealed");
        for _ in 0..1_000 {
            writer.write_all(&[7; 100]).expect("sealed");
            writer.flush().expect("sealed");
        }
        let sealed = writer.finish().expect("sealed");
        assert!(sealed.split(|b| *b == b'\n').all(|l| l.len() <= 65));
        assert_eq!(open(&[1], &sealed).expect("opened"), vec![7; 100_000]);
    }

    #[test]
    fn each_recipient_opens_and_nobody_else() {
        let sealed = seal(&[1, 2, 2, 1], b"hello");
        for n in [1, 2] {
            assert_eq!(open(&[n], &sealed).expect("opened"), b"hello");
            assert_eq!(open(&[8, 9, n], &sealed).expect("opened"), b"hello");
        }
        assert_eq!(outcome(&open(&[3], &sealed)), "not for us");
        assert_eq!(outcome(&open(&[], &sealed)), "not for us");
        // Repeated recipients get one stanza each; the third is the crate's grease.
        let text = dearmour(&sealed);
        assert_eq!(text.windows(4).filter(|w| w == b"\n-> ").count(), 3);
        assert!(matches!(seal_armoured(&[], Vec::new()), Err(SealError::NoRecipients)));
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_damage() {
        let sealed = seal(&[1], &[b'x'; 500]);
        // Without the END line's line end the armour is whole.
        for cut in 0..sealed.len() - 2 {
            let got = outcome(&open(&[1], &sealed[..cut]));
            assert_eq!(got, "damaged", "cut at {cut}");
        }
        let binary = dearmour(&sealed);
        let mac = binary.windows(4).position(|w| w == b"--- ").expect("a MAC line");
        for i in 0..binary.len() {
            let mut bad = binary.clone();
            bad[i] ^= 1;
            let got = outcome(&open(&[1], &armour(&bad)));
            assert_ne!(got, "opened", "octet {i}");
            if i >= mac {
                assert_eq!(got, "damaged", "octet {i}");
            }
        }
        for size in [0, 1, 65_535, 65_536, 65_537, 131_072] {
            let binary = dearmour(&seal(&[1], &vec![b'x'; size]));
            assert_eq!(open(&[1], &armour(&binary)).expect("whole").len(), size);
            for (what, bad) in [
                ("trailing octet", [&binary[..], &[0]].concat()),
                ("last octet gone", binary[..binary.len() - 1].to_vec()),
                ("last chunk gone", binary[..binary.len() - (size % 65_536 + 16)].to_vec()),
            ] {
                assert_eq!(outcome(&open(&[1], &armour(&bad))), "damaged", "{size}: {what}");
            }
        }
    }

    #[test]
    fn reading_on_after_damage_gives_no_end_of_file() {
        let binary = dearmour(&seal(&[1], &vec![b'x'; 70_000]));
        let bad = armour(&binary[..binary.len() - 20]);
        let mut reader = open_armoured(&[key(1)], &bad[..]).expect("the header is whole");
        let mut plain = Vec::new();
        assert!(reader.read_to_end(&mut plain).is_err());
        for _ in 0..3 {
            assert!(reader.read(&mut [0; 10]).is_err());
        }
    }

    #[test]
    fn armour_is_found_by_the_caller_and_taken_strictly() {
        let sealed = String::from_utf8(seal(&[1], b"hello")).expect("ASCII");
        assert_eq!(outcome(&open(&[1], sealed.replace("\r\n", "\n").as_bytes())), "opened", "LF");
        assert_eq!(
            outcome(&open(&[1], format!("{sealed}\r\n \r\n").as_bytes())),
            "opened",
            "white space behind"
        );
        assert_eq!(outcome(&open(&[1], sealed.trim_end().as_bytes())), "opened", "no line end behind");
        let body_start = sealed.find("\r\n").expect("lines") + 2;
        for (what, bad) in [
            ("nothing", String::new()),
            ("blank line before", format!("\r\n{sealed}")),
            ("space before", format!(" {sealed}")),
            ("text behind", format!("{sealed}x")),
            ("no end", sealed.replace("-----END AGE ENCRYPTED FILE-----\r\n", "")),
            ("blank line in between", sealed.replacen("\r\n", "\r\n\r\n", 1)),
            ("other columns", format!("{}\r\n{}", &sealed[..body_start + 60], &sealed[body_start + 60..])),
            ("one long line", format!("{}{}", &sealed[..body_start], "A".repeat(100_000))),
            ("long first line", "-".repeat(100_000)),
            ("other armour", sealed.replace("AGE ENCRYPTED FILE", "PGP MESSAGE")),
            ("space in a line", format!("{} {}", &sealed[..body_start + 3], &sealed[body_start + 4..])),
        ] {
            assert_eq!(outcome(&open(&[1], bad.as_bytes())), "damaged", "{what}");
        }
        assert_eq!(outcome(&open(&[1], &dearmour(sealed.as_bytes()))), "damaged", "binary");
    }

    #[test]
    fn foreign_stanzas_are_refused_and_grease_is_not() {
        let sealed = seal(&[1], b"hello");
        let add = |line: &str| with_header(&sealed, |h| format!("{h}-> {line}\nAAAA\n"));
        for kind in [
            "X25519 abc",
            "scrypt abc 18",
            "piv-p256 abc",
            "ssh-ed25519x abc",
            "SSH-ED25519 a",
            "grease",
            "-grease-x",
        ] {
            assert_eq!(outcome(&open(&[1], &add(kind))), "foreign", "{kind}");
        }
        // Taken, so that the MAC is what fails.
        for kind in ["ssh-rsa abc", "ssh-ed25519 abcdef", "x-grease abc", "-grease"] {
            assert_eq!(outcome(&open(&[1], &add(kind))), "damaged", "{kind}");
        }
        for (what, bad) in [
            ("version 2", with_header(&sealed, |h| h.replace("org/v1", "org/v2"))),
            ("overlong line", with_header(&sealed, |h| format!("{h}-> x-grease {}\n\n", "a".repeat(2_000)))),
            (
                "overlong header",
                with_header(&sealed, |h| {
                    format!("{h}-> x-grease\n{}\n", format!("{}\n", "A".repeat(64)).repeat(20_000))
                }),
            ),
            ("no stanza", with_header(&sealed, |_| "age-encryption.org/v1\n".to_owned())),
            ("CR", with_header(&sealed, |h| h.replace('\n', "\r\n"))),
        ] {
            assert_eq!(outcome(&open(&[1], &bad)), "damaged", "{what}");
        }
    }

    #[test]
    fn a_thousand_stanzas_are_opened_and_not_one_more() {
        let all: Vec<u16> = (0..999).collect();
        let sealed = seal(&all, b"hello");
        assert_eq!(open(&[998], &sealed).expect("1,000 with grease"), b"hello");
        let more = with_header(&sealed, |h| format!("{h}-> x-grease\n\n"));
        assert_eq!(outcome(&open(&[998], &more)), "too many");
        let keys: Vec<_> = (0..1_000).map(|n| key(n).public()).collect();
        assert!(matches!(seal_armoured(&keys, Vec::new()), Err(SealError::TooManyStanzas)));
    }

    #[test]
    fn bytes_round_trip() {
        let sealed = seal_bytes(&[key(1).public(), key(2).public()], b"hello").expect("sealed");
        assert!(sealed.starts_with(VERSION_LINE));
        assert_eq!(open_bytes(&[key(2)], &sealed).expect("opened").as_slice(), b"hello");
        assert!(matches!(open_bytes(&[key(3)], &sealed), Err(SealError::NotForUs)));
        assert!(matches!(open_bytes(&[key(1)], &sealed[..sealed.len() - 1]), Err(SealError::Damaged)));
        assert!(matches!(open_bytes(&[key(1)], b""), Err(SealError::Damaged)));
    }

    #[test]
    fn failing_input_is_not_called_damage() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::new(io::ErrorKind::PermissionDenied, "no"))
            }
        }
        assert!(matches!(open_armoured(&[key(1)], Broken), Err(SealError::Io(_))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn round_trips(plain: Vec<u8>, pieces in 1usize..50) {
            let mut writer = seal_armoured(&[key(1).public()], Vec::new()).expect("sealed");
            for piece in plain.chunks(pieces) {
                writer.write_all(piece).expect("sealed");
            }
            let sealed = writer.finish().expect("sealed");
            prop_assert_eq!(open(&[1], &sealed).map_err(|e| TestCaseError::fail(e.to_string()))?, plain);
        }

        #[test]
        fn opening_never_panics(bytes: Vec<u8>, stanzas in "(-> [a-z0-9 -]{0,20}\n[A-Za-z0-9+/]{0,64}\n){0,4}") {
            let _ = open(&[1], &bytes);
            let binary = [b"age-encryption.org/v1\n", stanzas.as_bytes(), b"--- ", &bytes].concat();
            let _ = open(&[1], &armour(&binary));
            let _ = open_bytes(&[key(1)], &binary);
        }
    }
}
