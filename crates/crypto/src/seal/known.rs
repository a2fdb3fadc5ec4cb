//! A file whose key is known and whose octets are known to be those it was opened from: no stanza is unwrapped and no header
//! authenticated again, the payload is.

use super::{ARMOUR_BEGIN, ARMOUR_END, FileKey, VERSION_LINE};
use age_core::primitives::hkdf;
use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use zeroize::Zeroizing;

/// Columns of the armour.
const COLUMNS: usize = 64;
/// Octets of plain text in each chunk of the payload but the last, and of the tag behind each (age v1, "Payload").
const CHUNK: usize = 64 * 1024;
const TAG: usize = 16;
/// Octets of the payload's nonce.
const NONCE: usize = 16;

/// Opens armour that lies in memory, laid out as [`super::seal_armoured`] lays it out, with the key that
/// [`super::open_keyed`] told of the very same octets. `None` where it does not open in this way: then
/// [`super::open_with`] tells why, or knows how.
pub fn open_again(key: &FileKey, armour: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut file = dearmour(armour)?;
    let payload = payload(&file)?;
    let nonce = file.get(payload..)?.first_chunk::<NONCE>()?;
    let payload_key = Zeroizing::new(hkdf(nonce, b"payload", key.expose()));
    let cipher = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &*payload_key).ok()?);
    // Plain text takes the place of what was sealed, from the start of the file on: it is always behind.
    let (mut sealed, mut plain) = (payload + NONCE, 0);
    for counter in 0_u64.. {
        let end = file.len().min(sealed + CHUNK + TAG);
        let last = end == file.len();
        let nonce = Nonce::assume_unique_for_key(chunk_nonce(counter, last));
        let octets = file.get_mut(plain..end)?;
        let opened = cipher.open_within(nonce, Aad::empty(), octets, sealed - plain..).ok()?.len();
        // Only an empty file ends in an empty chunk.
        if opened == 0 && counter > 0 {
            return None;
        }
        plain += opened;
        sealed = end;
        if last {
            break;
        }
    }
    file.truncate(plain);
    Some(file)
}

/// Eleven octets of a counter, and whether it is the last chunk.
fn chunk_nonce(counter: u64, last: bool) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[3..11].copy_from_slice(&counter.to_be_bytes());
    nonce[11] = last.into();
    nonce
}

/// The octets of armour in full lines.
fn dearmour(armour: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let text = armour.strip_prefix(ARMOUR_BEGIN)?.strip_prefix(b"\r\n")?;
    let text = text.strip_suffix(b"\r\n")?.strip_suffix(ARMOUR_END)?.strip_suffix(b"\r\n")?;
    let mut base64 = Vec::with_capacity(text.len());
    for line in text.chunks(COLUMNS + 2) {
        let octets = if line.len() > COLUMNS { line.strip_suffix(b"\r\n")? } else { line };
        base64.extend_from_slice(octets);
    }
    // Decoded into what is cleared: plain text will lie there.
    let mut file = Zeroizing::new(vec![0; base64.len() / 4 * 3 + 3]);
    let length = BASE64_STANDARD.decode_slice(&base64, &mut file).ok()?;
    file.truncate(length);
    Some(file)
}

/// Where the payload begins: behind the line of the MAC.
fn payload(file: &[u8]) -> Option<usize> {
    if !file.starts_with(VERSION_LINE) {
        return None;
    }
    let mac = memchr::memmem::find(file, b"\n--- ")? + 1;
    Some(mac + memchr::memchr(b'\n', file.get(mac..)?)? + 1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::{
        key::SecretKey,
        seal::{Identities, open_keyed, open_with, seal_armoured},
    };
    use proptest::prelude::*;
    use std::io::{Read as _, Write as _};

    fn sealed(plain: &[u8]) -> (Vec<u8>, FileKey) {
        let key = SecretKey::from_seed([1; 32]);
        let mut sealer =
            seal_armoured(&[key.public(), SecretKey::from_seed([2; 32]).public()], Vec::new()).unwrap();
        sealer.write_all(plain).unwrap();
        let armour = sealer.finish().unwrap();
        let (_, file_key) = open_keyed(&Identities::new(vec![key]).unwrap(), &armour[..]).unwrap();
        (armour, file_key)
    }

    fn slowly(key: &FileKey, armour: &[u8]) -> Option<Vec<u8>> {
        let mut plain = Vec::new();
        open_with(key, armour).ok()?.read_to_end(&mut plain).ok()?;
        Some(plain)
    }

    #[test]
    fn it_opens_what_the_other_way_opens() {
        for length in [0, 1, 47, 48, 49, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 200_000] {
            let plain: Vec<u8> = (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect();
            let (armour, key) = sealed(&plain);
            assert!(open_again(&key, &armour).unwrap().as_slice() == plain, "{length}");
        }
    }

    #[test]
    fn with_another_key_or_in_another_form_it_does_not() {
        let (armour, key) = sealed(&vec![7; 100_000]);
        assert!(open_again(&sealed(b"").1, &armour).is_none());
        let text = String::from_utf8(armour.clone()).unwrap();
        for other in [
            text.replace("\r\n", "\n"),
            text.replacen("\r\n", "\r\n\r\n", 1),
            format!("{text}\r\n"),
            text[..text.len() - 2].to_owned(),
            text[..text.len() / 2].to_owned(),
            String::new(),
        ] {
            assert!(open_again(&key, other.as_bytes()).is_none());
        }
    }

    proptest! {
        /// Never other octets than the other way gives, whatever is changed behind the header.
        #[test]
        fn damage_shows(length in 0..140_000_usize, at: prop::sample::Index, to: u8, cut in any::<bool>()) {
            let (mut armour, key) = sealed(&vec![3; length]);
            let at = at.index(armour.len());
            if cut {
                armour.truncate(at);
            } else {
                armour[at] = to;
            }
            if let (Some(quick), Some(slow)) = (open_again(&key, &armour), slowly(&key, &armour)) {
                prop_assert!(quick.as_slice() == slow);
            }
        }
    }
}
