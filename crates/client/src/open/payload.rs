//! The first pass over a sealed payload: everything is authenticated and hashed, nothing is shown (profile §6).

use super::armour::Block;
use crate::spool::for_each_chunk;
use sealpost_crypto::seal::{self, FileKey, Identities, SealError};
use sealpost_proto::{
    address::Address,
    message::{Header, HeaderError, MAX_HEADER_OCTETS, MailboxList, relaxed},
};
use sha2::{Digest as _, Sha256};
use std::{
    io::{self, BufReader, Read},
    sync::Arc,
};
use zeroize::Zeroizing;

/// Fields that HP-Outer names, one for each that the outer header has (profile §6).
const OUTER_FIELDS: [&str; 6] = ["From", "To", "Cc", "Date", "Message-ID", "Subject"];

/// An authenticated payload.
pub(super) struct Payload {
    pub(super) header: Header,
    /// Where the body begins.
    pub(super) body: u64,
    /// Octets in all.
    pub(super) size: u64,
    /// SHA-256 of all octets without the Bcc fields.
    pub(super) sha256: [u8; 32],
    /// All of it, where it is no longer than what is read for the header: it need not be opened twice.
    pub(super) small: Option<Arc<Zeroizing<Vec<u8>>>>,
}

/// Why a payload is not there.
pub(super) enum PayloadError {
    /// "cannot be opened", with the reason.
    Closed(String),
    /// The disk failed; no verdict.
    Io(io::Error),
}

impl From<SealError> for PayloadError {
    fn from(e: SealError) -> Self {
        match e {
            SealError::Io(e) => Self::Io(e),
            e => Self::Closed(e.to_string()),
        }
    }
}

impl From<io::Error> for PayloadError {
    /// Damage shows as an error of the reader too.
    fn from(e: io::Error) -> Self {
        match SealError::from(e) {
            SealError::Io(e) => Self::Io(e),
            e => Self::Closed(e.to_string()),
        }
    }
}

impl From<HeaderError> for PayloadError {
    fn from(e: HeaderError) -> Self {
        Self::Closed(e.to_string())
    }
}

/// Octets of armour read at once.
const CHUNK: usize = 64 * 1024;

/// Opens the armour again; every octet behind the returned reader is authenticated before it comes.
pub(super) fn open(armour: &Block, key: &FileKey) -> Result<Box<dyn Read + Send>, PayloadError> {
    Ok(seal::open_with(key, buffered(armour))?)
}

fn buffered(armour: &Block) -> impl Read + Send + use<> {
    let capacity = CHUNK.min(usize::try_from(armour.size()).unwrap_or(CHUNK));
    BufReader::with_capacity(capacity, armour.reader())
}

/// The header at the start of `reader`, the octets read so far, and where in them the body starts.
pub(super) fn read_header(
    reader: &mut impl Read,
) -> Result<(Header, Zeroizing<Vec<u8>>, usize), PayloadError> {
    let mut start = Zeroizing::new(Vec::new());
    // One octet over the limit shows a header that is cut short.
    reader.take(MAX_HEADER_OCTETS as u64 + 1).read_to_end(&mut start)?;
    let (header, body) = Header::read(&start)?;
    Ok((header, start, body))
}

impl Payload {
    pub(super) fn read(armour: &Block, identities: &Identities) -> Result<(Self, FileKey), PayloadError> {
        let (mut reader, key) = seal::open_keyed(identities, buffered(armour))?;
        let (header, start, body) = read_header(&mut reader)?;
        let mut size = start.len() as u64;
        let mut hash = Sha256::new();
        let mut fields = 0;
        for field in header.fields() {
            fields += field.raw().len();
            if !field.is("Bcc") {
                hash.update(field.raw());
            }
        }
        hash.update(&start[fields..]);
        for_each_chunk(reader, |chunk| {
            size += chunk.len() as u64;
            hash.update(chunk);
            Ok(())
        })?;
        let small = (size == start.len() as u64).then(|| Arc::new(start));
        Ok((Self { header, body: body as u64, size, sha256: hash.finalize().into(), small }, key))
    }

    /// Whether HP-Outer says exactly what the outer header says (RFC 9788 §2.2; profile §6).
    pub(super) fn hp_outer_matches(&self, outer: &Header) -> bool {
        let mut inside: Vec<Vec<Vec<u8>>> = vec![Vec::new(); OUTER_FIELDS.len()];
        for field in self.header.all("HP-Outer") {
            let value = field.unfolded();
            let Some(colon) = value.iter().position(|&b| b == b':') else { return false };
            let name = value[..colon].trim_ascii();
            let Some(i) = OUTER_FIELDS.iter().position(|f| f.as_bytes().eq_ignore_ascii_case(name)) else {
                return false;
            };
            inside[i].push(relaxed(OUTER_FIELDS[i], &value[colon + 1..]));
        }
        OUTER_FIELDS.iter().zip(inside).all(|(name, inside)| {
            outer.all(name).map(sealpost_proto::message::Field::relaxed).collect::<Vec<_>>() == inside
        })
    }

    /// The one inner From.
    pub(super) fn from(&self) -> Option<Address> {
        let mut fields = self.header.all("From");
        let (first, second) = (fields.next()?, fields.next());
        let list = MailboxList::parse(first.value());
        list.exactly_one().filter(|_| second.is_none()).map(|m| m.mailbox.canonical())
    }

    /// Whether one of `own`, also with `+detail`, is among the inner To, Cc and Bcc.
    pub(super) fn is_written_to(&self, own: &[Address]) -> bool {
        ["To", "Cc", "Bcc"].iter().flat_map(|name| self.header.all(name)).any(|field| {
            MailboxList::parse(field.value())
                .mailboxes
                .iter()
                .any(|named| named.mailbox.canonical().is_of(own))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(text: &str) -> Payload {
        Payload {
            header: Header::read(text.as_bytes()).unwrap().0,
            body: 0,
            size: 0,
            sha256: [0; 32],
            small: None,
        }
    }

    #[test]
    fn hp_outer_is_compared_as_lists() {
        let outer = "From: a@x.org\r\nTo: b@x.org,\r\n c@x.org\r\nDate: D\r\nMessage-ID: <1@x>\r\nSubject: [...]\r\n\
                     X-Sender-Encrypted: yes\r\nReceived: by y\r\n\r\n";
        let outer = Header::read(outer.as_bytes()).unwrap().0;
        let good = "HP-Outer: From: a@x.org\r\nhp-outer: To:  b@x.org, c@x.org\r\nHP-Outer: Message-ID: <1@x>\r\n\
                    HP-Outer:\r\n Date: D\r\nHP-Outer: Subject: [...]\r\n\r\n";
        assert!(payload(good).hp_outer_matches(&outer));
        let bad = [
            good.replace("hp-outer: To:  b@x.org, c@x.org\r\n", ""),
            good.replace("c@x.org", "d@x.org"),
            good.replace("[...]", "other"),
            format!("HP-Outer: Cc: d@x.org\r\n{good}"),
            format!("HP-Outer: From: a@x.org\r\n{good}"),
            format!("HP-Outer: X-Sender-Encrypted: yes\r\n{good}"),
            format!("HP-Outer: nonsense\r\n{good}"),
            String::from("\r\n"),
        ];
        for text in bad {
            assert!(!payload(&text).hp_outer_matches(&outer), "{text}");
        }
    }

    #[test]
    fn whom_it_is_written_to() {
        let own = [Address::parse("me@x.org").unwrap()];
        for (text, want) in [
            ("To: me@x.org\r\n", true),
            ("Cc: A <a@x.org>, Me <ME+list@X.org>\r\n", true),
            ("Bcc: me@x.org\r\n", true),
            ("To: a@x.org\r\nTo: me@x.org\r\n", true),
            ("To: g: me@x.org;\r\n", true),
            ("To: not+me@x.org\r\n", false),
            ("To: \"me@x.org\" <a@x.org>\r\n", false),
            ("Reply-To: me@x.org\r\n", false),
            ("", false),
        ] {
            assert_eq!(payload(text).is_written_to(&own), want, "{text:?}");
        }
    }

    #[test]
    fn inner_from_is_exactly_one() {
        assert_eq!(payload("From: A@X.org\r\n").from(), Address::parse("a@x.org").ok());
        for text in ["", "From: a@x.org, b@x.org\r\n", "From: a@x.org\r\nFrom: a@x.org\r\n", "From: x\r\n"] {
            assert_eq!(payload(text).from(), None, "{text:?}");
        }
    }
}
