//! Which key a signature fits, on the first try or on the second (profile §6).

use super::Facts;
use crate::spool::{self, Spool, SpoolReader, for_each_chunk};
use sealpost_proto::{
    key::PublicKey,
    message::{SenderSignature, SignatureInput},
    time::Timestamp,
};
use std::{
    io::{self, Read},
    sync::Arc,
};

/// Octets looked at in one step when line ends are counted from the end.
const TAIL_OCTETS: u64 = 4096;

/// What a signature is made over: head, a stretch of the message or of the armour laid out again, and a last line end
/// where the second try puts one.
pub(super) struct Signed {
    pub(super) head: SignatureInput,
    pub(super) source: Arc<Spool>,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) tail: &'static [u8],
}

impl Signed {
    fn reader(&self) -> impl Read {
        self.head.head().chain(SpoolReader::range(self.source.clone(), self.start, self.end)).chain(self.tail)
    }

    pub(super) fn sha256(&self) -> io::Result<[u8; 32]> {
        spool::sha256(self.reader())
    }

    /// The first of `keys` that the signature fits.
    fn fits(&self, signature: &SenderSignature, keys: &[PublicKey]) -> io::Result<Option<PublicKey>> {
        let mut verifiers: Vec<_> = keys
            .iter()
            .filter(|key| key.algorithm() == signature.algorithm)
            .filter_map(|key| Some((key, key.verifier(&signature.octets).ok()?)))
            .collect();
        if verifiers.is_empty() {
            return Ok(None);
        }
        for_each_chunk(self.reader(), |chunk| {
            for (_, verifier) in &mut verifiers {
                verifier.update(chunk);
            }
            Ok(())
        })?;
        Ok(verifiers.into_iter().find_map(|(key, verifier)| verifier.finish().ok().map(|()| key.clone())))
    }

    /// Plain mail with all CRLF at its end replaced by one; `None` where it ends so already.
    pub(super) fn with_one_line_end(&self) -> io::Result<Option<Self>> {
        let mut end = self.source.size();
        while end > self.start {
            let from = end.saturating_sub(TAIL_OCTETS).max(self.start);
            let mut tail = Vec::new();
            SpoolReader::range(self.source.clone(), from, end).read_to_end(&mut tail)?;
            let mut rest = tail.as_slice();
            while let Some(shorter) = rest.strip_suffix(b"\r\n") {
                rest = shorter;
            }
            end = from + rest.len() as u64;
            // A step that is all CRLF goes on; so does one cut between CR and LF.
            let goes_on = rest.is_empty() || (rest == b"\n" && from > self.start);
            if !goes_on {
                break;
            }
        }
        if end + 2 == self.source.size() {
            return Ok(None);
        }
        Ok(Some(Self {
            head: self.head.clone(),
            source: self.source.clone(),
            start: self.start,
            end,
            tail: b"\r\n",
        }))
    }
}

/// Whose key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// One of the sender's present keys.
    Senders,
    /// Retired at that moment.
    Retired(Timestamp),
    /// Only the message itself vouches for it.
    Courtesy,
}

/// A signature that fits.
pub(super) struct Fit {
    pub(super) key: PublicKey,
    pub(super) whose: Whose,
    /// On the second try.
    pub(super) altered: bool,
    /// SHA-256 of the input that it fits.
    pub(super) input_sha256: [u8; 32],
}

/// Tries `exact` (whose hash is known), then the second try. The sender's keys come before the one that the message brings along.
pub(super) fn find_key(
    signature: &SenderSignature,
    courtesy: Option<&PublicKey>,
    facts: &Facts,
    exact: &Signed,
    exact_sha256: [u8; 32],
    second: impl FnOnce() -> io::Result<Option<Signed>>,
) -> io::Result<Option<Fit>> {
    let whose = |key: &PublicKey| {
        if facts.keys.contains(key) {
            Whose::Senders
        } else if let Some(at) = facts.retired.iter().filter(|(k, _)| k == key).map(|(_, at)| *at).min() {
            Whose::Retired(at)
        } else {
            Whose::Courtesy
        }
    };
    // Nearly always the message names the key that fits: try it alone first, each key costs a pass of hashing.
    let named: Vec<PublicKey> = courtesy.into_iter().cloned().collect();
    let others: Vec<PublicKey> = facts
        .keys
        .iter()
        .chain(facts.retired.iter().map(|(key, _)| key))
        .filter(|key| Some(*key) != courtesy)
        .cloned()
        .collect();
    let mut all = others.clone();
    all.extend(named.iter().cloned());
    for keys in [&named, &others] {
        if let Some(key) = exact.fits(signature, keys)? {
            return Ok(Some(Fit { whose: whose(&key), key, altered: false, input_sha256: exact_sha256 }));
        }
    }
    if let Some(second) = second()?
        && let Some(key) = second.fits(signature, &all)?
    {
        return Ok(Some(Fit { whose: whose(&key), key, altered: true, input_sha256: second.sha256()? }));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sealpost_proto::message::Header;

    fn with_one_line_end(body: &[u8]) -> Option<Vec<u8>> {
        let header = Header::read(b"From: a@x.org\r\n\r\n").unwrap().0;
        let signed = Signed {
            head: SignatureInput::new(&header).unwrap(),
            source: Arc::new(Spool::Memory([b"head".as_slice(), body].concat())),
            start: 4,
            end: u64::MAX,
            tail: b"",
        };
        let second = signed.with_one_line_end().unwrap()?;
        let mut out = Vec::new();
        second.reader().read_to_end(&mut out).unwrap();
        Some(out[second.head.head().len()..].to_vec())
    }

    #[test]
    fn all_line_ends_become_one() {
        let rows: [(&[u8], Option<&[u8]>); 8] = [
            (b"a\r\n", None),
            (b"a\r\n\r\n", Some(b"a\r\n")),
            (b"a", Some(b"a\r\n")),
            (b"a\n", Some(b"a\n\r\n")),
            (b"a\r\n\n", Some(b"a\r\n\n\r\n")),
            (b"", Some(b"\r\n")),
            (b"\r\n", None),
            (b"\r\n\r\n\r\n", Some(b"\r\n")),
        ];
        for (body, want) in rows {
            assert_eq!(with_one_line_end(body).as_deref(), want, "{body:?}");
        }
        for extra in [4093, 4094, 4095, 4096, 4097, 8192, 20_001] {
            let body = [b"a".as_slice(), &b"\r\n".repeat(extra)].concat();
            assert!(with_one_line_end(&body).as_deref() == Some(b"a\r\n".as_slice()), "{extra}");
            let body = [b"a\n".as_slice(), &b"\r\n".repeat(extra)].concat();
            assert!(with_one_line_end(&body).as_deref() == Some(b"a\n\r\n".as_slice()), "{extra}");
        }
    }

    proptest! {
        #[test]
        fn line_ends_as_counted_naively(body in "[a\r\n]{0,12}") {
            let trimmed = {
                let mut t = body.as_str();
                while let Some(s) = t.strip_suffix("\r\n") { t = s; }
                format!("{t}\r\n")
            };
            let want = (trimmed != body).then(|| trimmed.into_bytes());
            prop_assert_eq!(with_one_line_end(body.as_bytes()), want);
        }
    }
}
