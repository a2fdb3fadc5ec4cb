//! Opening a file more than once: the first time gives the key of the file, which opens it again without a recipient's
//! private key, at a tenth of the cost.

use super::{Opened, SealError, armoured, decrypt_error, decryptor, unwrap::Ready};
use crate::key::SecretKey;
use age::{DecryptError, secrecy::ExposeSecret as _};
use age_core::format::{self, Stanza};
use std::{
    cell::RefCell,
    io::{BufRead, Read},
};
use zeroize::Zeroizing;

/// Octets of a file key (age v1).
pub const FILE_KEY_OCTETS: usize = 16;

/// The key that the recipients' stanzas of one file wrap. It opens this file alone. No `Debug`; cleared on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct FileKey(Zeroizing<[u8; FILE_KEY_OCTETS]>);

impl FileKey {
    /// As [`FileKey::expose`] gave it.
    pub fn new(octets: Zeroizing<[u8; FILE_KEY_OCTETS]>) -> Self {
        Self(octets)
    }

    /// For an index that is itself sealed.
    pub fn expose(&self) -> &[u8; FILE_KEY_OCTETS] {
        &self.0
    }
}

/// Private keys made ready for many files.
pub struct Identities {
    keys: Vec<SecretKey>,
    ready: Vec<Ready>,
}

impl Identities {
    /// In the order in which they are tried.
    pub fn new(keys: Vec<SecretKey>) -> Result<Self, SealError> {
        let ready = keys.iter().map(Ready::new).collect::<Result<_, _>>()?;
        Ok(Self { keys, ready })
    }

    /// The keys.
    pub fn keys(&self) -> &[SecretKey] {
        &self.keys
    }
}

/// As [`super::open_armoured`]; tells the key of the file too.
pub fn open_keyed<'a, R: Read + Send + 'a>(
    identities: &Identities,
    input: R,
) -> Result<(Box<dyn Read + Send + 'a>, FileKey), SealError> {
    let recorder = Recorder { identities: &identities.ready, found: RefCell::new(None) };
    let reader = decrypt(&recorder, armoured(input))?;
    // Whoever opened it has told its key.
    let key = recorder.found.into_inner().ok_or(SealError::NotForUs)?;
    Ok((Box::new(reader), key))
}

/// Opens armoured input with the key that [`open_keyed`] told. Header and payload are authenticated as ever.
pub fn open_with<'a, R: Read + Send + 'a>(
    key: &FileKey,
    input: R,
) -> Result<Box<dyn Read + Send + 'a>, SealError> {
    Ok(Box::new(decrypt(&Known(key), armoured(input))?))
}

fn decrypt<'a, R: BufRead + 'a>(identity: &dyn age::Identity, input: R) -> Result<Opened<'a, R>, SealError> {
    let reader = decryptor(input)?.decrypt(std::iter::once(identity)).map_err(decrypt_error)?;
    Ok(Opened { inner: reader, failed: false, _input: std::marker::PhantomData })
}

/// Tries identities in their order, and keeps what the first that fits unwraps.
struct Recorder<'a> {
    identities: &'a [Ready],
    found: RefCell<Option<FileKey>>,
}

impl age::Identity for Recorder<'_> {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<format::FileKey, DecryptError>> {
        self.unwrap_stanzas(std::slice::from_ref(stanza))
    }

    fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<format::FileKey, DecryptError>> {
        let unwrapped = self.identities.iter().find_map(|identity| identity.unwrap_stanzas(stanzas))?;
        if let Ok(key) = &unwrapped {
            *self.found.borrow_mut() = Some(FileKey(Zeroizing::new(*key.expose_secret())));
        }
        Some(unwrapped)
    }
}

/// Needs no stanza to know the key.
struct Known<'a>(&'a FileKey);

impl age::Identity for Known<'_> {
    fn unwrap_stanza(&self, _: &Stanza) -> Option<Result<format::FileKey, DecryptError>> {
        Some(Ok(format::FileKey::init_with_mut(|octets| octets.copy_from_slice(self.0.expose()))))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::seal::seal_armoured;
    use std::io::Write as _;

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed([seed; 32])
    }

    fn sealed(to: &[u8], text: &[u8]) -> Vec<u8> {
        let to: Vec<_> = to.iter().map(|seed| key(*seed).public()).collect();
        let mut sealer = seal_armoured(&to, Vec::new()).unwrap();
        sealer.write_all(text).unwrap();
        sealer.finish().unwrap()
    }

    fn all(mut reader: impl Read) -> std::io::Result<Vec<u8>> {
        let mut out = Vec::new();
        reader.read_to_end(&mut out).map(|_| out)
    }

    #[test]
    fn what_was_opened_once_opens_again_by_its_own_key_and_nothing_else_does() {
        let text = vec![7; 200_000];
        let file = sealed(&[1, 2], &text);
        let identities = Identities::new(vec![key(9), key(2)]).unwrap();
        let (reader, file_key) = open_keyed(&identities, &file[..]).unwrap();
        assert_eq!(all(reader).unwrap(), text);
        let again = FileKey::new(Zeroizing::new(*file_key.expose()));
        assert!(again == file_key);
        assert_eq!(all(open_with(&again, &file[..]).unwrap()).unwrap(), text);
        // Another file has another key, and its header says so.
        let other = sealed(&[1, 2], &text);
        assert!(matches!(open_with(&file_key, &other[..]), Err(SealError::Damaged)));
        let stranger = Identities::new(vec![key(9)]).unwrap();
        assert!(matches!(open_keyed(&stranger, &file[..]), Err(SealError::NotForUs)));
    }

    #[test]
    fn damage_shows_the_second_time_too() {
        let file = sealed(&[1], &vec![7; 200_000]);
        let identities = Identities::new(vec![key(1)]).unwrap();
        let (_, file_key) = open_keyed(&identities, &file[..]).unwrap();
        let mut changed = file.clone();
        let middle = changed.len() / 2;
        changed[middle] = if changed[middle] == b'A' { b'B' } else { b'A' };
        assert!(all(open_with(&file_key, &changed[..]).unwrap()).is_err());
        let cut = &file[..file.len() / 2];
        assert!(open_with(&file_key, cut).map_or(true, |reader| all(reader).is_err()));
    }
}
