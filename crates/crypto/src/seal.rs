//! Sealing and opening in the age v1 format (profile §6): two nouns, two verbs.
//!
//! The `age` crate does the cryptography. Around it stand the checks it leaves out: keys of small order never get
//! here ([`PublicKey`] has refused them), what is not armour is not taken for it, messages, lines and headers of any
//! length do not fill the memory, and only the stanza kinds of profile §6 are opened.

mod file_key;
mod known;
mod unwrap;

pub use file_key::{FILE_KEY_OCTETS, FileKey, Identities, open_keyed, open_with};
pub use known::open_again;

use crate::key::SecretKey;
use age::{Decryptor, Encryptor, armor, ssh, stream};
use sealpost_proto::{base64, key::PublicKey};
use sha2::{Digest as _, Sha256};
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
const ARMOUR_END: &[u8] = b"-----END AGE ENCRYPTED FILE-----";
/// 64 columns of base64.
const ARMOUR_LINE_BYTES: usize = 48;
const VERSION_LINE: &[u8] = b"age-encryption.org/v1\n";

/// Seals what is written to the returned writer for `recipients`, ASCII-armoured with CRLF line ends, to `out`.
/// Call [`Sealer::finish`], else the file is truncated. Bounded memory.
pub fn seal_armoured<W: Write>(recipients: &[PublicKey], out: W) -> Result<Sealer<W>, SealError> {
    let encryptor = encryptor(recipients)?;
    Ok(Sealer { inner: encryptor.wrap_output(ArmourWriter::new(out)?)? })
}

/// A sealing in progress.
pub struct Sealer<W: Write> {
    inner: stream::StreamWriter<ArmourWriter<W>>,
}

impl<W: Write> Sealer<W> {
    /// Writes the final chunk and the end of the armour.
    pub fn finish(self) -> Result<W, SealError> {
        Ok(self.inner.finish()?.finish()?)
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.inner.write(buf)
    }

    /// Passes on what is sealed already; a chunk is sealed when it is full.
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Opens armoured input with the first of `identities` that fits; the result streams and fails (never silently
/// ends) on damage. Checks the stanza rules of profile §6.
///
/// The armour must begin at once; after it only white space is taken. Errors while reading convert into
/// [`SealError`] by `?`: damage into [`SealError::Damaged`], all else into [`SealError::Io`].
pub fn open_armoured<'a, R: Read + Send + 'a>(
    identities: &[SecretKey],
    input: R,
) -> Result<Box<dyn Read + Send + 'a>, SealError> {
    Ok(Box::new(open_stream(identities, armoured(input))?))
}

fn armoured<R: Read>(input: R) -> impl BufRead {
    BufReader::new(armor::ArmoredReader::new(ArmourGuard { inner: input, at: 0, column: 0 }))
}

/// The stanzas of armoured input, by the rules of profile §6; reads the header and nothing else.
pub fn stanzas(input: impl Read) -> Result<Vec<Stanza>, SealError> {
    Ok(stanzas_of(&read_header(&mut armoured(input))?))
}

/// The same of binary age.
pub fn stanzas_of_bytes(mut sealed: &[u8]) -> Result<Vec<Stanza>, SealError> {
    Ok(stanzas_of(&read_header(&mut sealed)?))
}

/// For whom a file is sealed, as far as it tells. Grease is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stanza {
    /// `ssh-ed25519` or `ssh-rsa`.
    pub kind: String,
    /// The first four octets of SHA-256(key blob), base64 without padding.
    pub tag: String,
}

impl Stanza {
    /// Whether it is (as good as certainly) for this key.
    pub fn is_for(&self, key: &PublicKey) -> bool {
        self.tag == tag(key)
    }
}

/// What stanzas for a key are told by.
fn tag(key: &PublicKey) -> String {
    base64::encode_unpadded(&Sha256::digest(key.blob())[..4])
}

fn stanzas_of(header: &[u8]) -> Vec<Stanza> {
    let lines = header.split(|b| *b == b'\n').filter_map(|line| line.strip_prefix(b"-> "));
    lines
        .filter_map(|line| {
            let mut words = std::str::from_utf8(line).ok()?.split(' ');
            let kind = words.next().filter(|kind| kind.starts_with("ssh-"))?;
            Some(Stanza { kind: kind.to_owned(), tag: words.next().unwrap_or_default().to_owned() })
        })
        .collect()
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

fn open_stream<'a, R: BufRead + 'a>(identities: &[SecretKey], input: R) -> Result<Opened<'a, R>, SealError> {
    let decryptor = decryptor(input)?;
    let identities = identities.iter().map(age_identity).collect::<Result<Vec<_>, _>>()?;
    let reader =
        decryptor.decrypt(identities.iter().map(|i| i as &dyn age::Identity)).map_err(decrypt_error)?;
    Ok(Opened { inner: reader, failed: false, _input: std::marker::PhantomData })
}

/// The file behind its header, whose stanzas are checked.
fn decryptor<R: BufRead>(mut input: R) -> Result<Decryptor<HeaderFirst<R>>, SealError> {
    let header = read_header(&mut input)?;
    Decryptor::new_buffered(HeaderFirst { header, given: 0, rest: input }).map_err(decrypt_error)
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
        let octets = &buf[..n];
        let want = ARMOUR_BEGIN.get(self.at..).unwrap_or_default();
        let seen = want.len().min(n);
        if octets[..seen] != want[..seen] {
            return Err(damaged("no armour"));
        }
        self.at += seen;
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', octets) {
            if self.column + (end - start) > MAX_ARMOUR_LINE_OCTETS {
                return Err(damaged("overlong line in the armour"));
            }
            (self.column, start) = (0, end + 1);
        }
        self.column += n - start;
        if self.column > MAX_ARMOUR_LINE_OCTETS {
            return Err(damaged("overlong line in the armour"));
        }
        Ok(n)
    }
}

/// Writes age's armour with CRLF line ends. Ours, because the one of `age` 0.12 keeps all of a message in memory (the
/// buffer it means to empty when full grows instead), and has the platform's line ends.
struct ArmourWriter<W> {
    inner: W,
    /// What does not fill a line yet.
    partial: Vec<u8>,
    lines: Vec<u8>,
}

impl<W: Write> ArmourWriter<W> {
    fn new(mut inner: W) -> io::Result<Self> {
        inner.write_all(ARMOUR_BEGIN)?;
        inner.write_all(b"\r\n")?;
        Ok(Self { inner, partial: Vec::with_capacity(ARMOUR_LINE_BYTES), lines: Vec::new() })
    }

    fn put_line(lines: &mut Vec<u8>, bytes: &[u8]) {
        lines.extend_from_slice(base64::encode(bytes).as_bytes());
        lines.extend_from_slice(b"\r\n");
    }

    fn finish(mut self) -> io::Result<W> {
        self.lines.clear();
        if !self.partial.is_empty() {
            Self::put_line(&mut self.lines, &self.partial);
        }
        self.lines.extend_from_slice(ARMOUR_END);
        self.lines.extend_from_slice(b"\r\n");
        self.inner.write_all(&self.lines)?;
        self.inner.flush()?;
        Ok(self.inner)
    }
}

impl<W: Write> Write for ArmourWriter<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let (fill, rest) = buf.split_at(buf.len().min(ARMOUR_LINE_BYTES - self.partial.len()));
        self.partial.extend_from_slice(fill);
        if self.partial.len() < ARMOUR_LINE_BYTES {
            return Ok(buf.len());
        }
        self.lines.clear();
        Self::put_line(&mut self.lines, &self.partial);
        let whole = rest.chunks_exact(ARMOUR_LINE_BYTES);
        self.partial.clear();
        self.partial.extend_from_slice(whole.remainder());
        whole.for_each(|line| Self::put_line(&mut self.lines, line));
        self.inner.write_all(&self.lines)?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests;
