//! Armoured SSHSIG signatures (OpenSSH PROTOCOL.sshsig), verification only; made in `sealpost-crypto`.
//!
//! Parsed here rather than by the `ssh-key` crate, whose verification is not strict (it takes small-order points) and
//! whose parser takes trailing octets.

use crate::{
    base64,
    key::{Algorithm, BadSignature, PublicKey, put_string, take_string},
};
use sha2::{Digest, Sha512};

/// First line of the armour.
pub const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----\n";
/// Last line of the armour; `ssh-keygen` ends it with LF.
pub const END: &str = "-----END SSH SIGNATURE-----";

const MAGIC: &[u8] = b"SSHSIG";
const VERSION: [u8; 4] = 1_u32.to_be_bytes();
const HASH: &[u8] = b"sha512";
/// An RSA-4096 signature has about 1,150 octets: key, signature, names. Nothing much longer is parsed.
const MAX_BLOB_OCTETS: usize = 2_048;
/// The same armoured, with room for short lines.
pub const MAX_ARMOUR_OCTETS: usize = 4_096;

/// Checks that `armoured` is an SSHSIG by exactly `key`, in `namespace`, hash sha512, over `message`; strict.
///
/// The armour is what `ssh-keygen -Y sign` writes: LF line ends, base64 lines of any one to 76 columns, an LF at
/// the end or none; nothing before or behind it.
pub fn verify(key: &PublicKey, namespace: &str, message: &[u8], armoured: &str) -> Result<(), BadSignature> {
    let blob = dearmour(armoured).ok_or(BadSignature)?;
    let signature = raw_signature(&blob, key, namespace.as_bytes()).ok_or(BadSignature)?;
    key.verify(&signed_data(namespace, message), signature)
}

/// The octets that the key signs: `MAGIC ‖ namespace ‖ reserved ‖ hash name ‖ H(message)`.
pub fn signed_data(namespace: &str, message: &[u8]) -> Vec<u8> {
    let mut data = MAGIC.to_vec();
    put_string(&mut data, namespace.as_bytes());
    put_string(&mut data, b"");
    put_string(&mut data, HASH);
    put_string(&mut data, &Sha512::digest(message));
    data
}

/// Lays out the armour around a raw Ed25519 signature over [`signed_data`], as `ssh-keygen` does: 70 columns.
pub fn armour(key: &PublicKey, namespace: &str, raw: &[u8; 64]) -> String {
    const COLUMNS: usize = 70;
    let mut signature = Vec::new();
    put_string(&mut signature, Algorithm::Ed25519.ssh_name().as_bytes());
    put_string(&mut signature, raw);
    let mut blob = [MAGIC, &VERSION].concat();
    for part in [key.blob(), namespace.as_bytes(), b"", HASH, &signature] {
        put_string(&mut blob, part);
    }
    let text = base64::encode(blob);
    let mut out = String::from(BEGIN);
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(COLUMNS.min(rest.len()));
        out.push_str(line);
        out.push('\n');
        rest = tail;
    }
    out.push_str(END);
    out.push('\n');
    out
}

fn dearmour(armoured: &str) -> Option<Vec<u8>> {
    if armoured.len() > MAX_ARMOUR_OCTETS {
        return None;
    }
    let body = armoured.strip_prefix(BEGIN)?;
    let body = body.strip_suffix('\n').unwrap_or(body).strip_suffix(END)?.strip_suffix('\n')?;
    let mut text = String::with_capacity(body.len());
    for line in body.split('\n') {
        if line.is_empty() || line.len() > 76 {
            return None;
        }
        text.push_str(line);
    }
    base64::decode(text).ok().filter(|blob| blob.len() <= MAX_BLOB_OCTETS)
}

/// The signature inside `blob`, if everything around it is as it must be.
fn raw_signature<'a>(blob: &'a [u8], key: &PublicKey, namespace: &[u8]) -> Option<&'a [u8]> {
    let mut rest = blob.strip_prefix(MAGIC)?.strip_prefix(&VERSION)?;
    let fits = take_string(&mut rest)? == key.blob()
        && take_string(&mut rest)? == namespace
        && take_string(&mut rest)?.is_empty()
        && take_string(&mut rest)? == HASH;
    let mut signature = take_string(&mut rest)?;
    // RFC 8332 §3: an RSA signature with SHA-512 is named apart from the key type.
    let name = match key.algorithm() {
        Algorithm::Ed25519 => "ssh-ed25519",
        Algorithm::Rsa => "rsa-sha2-512",
    };
    let named = take_string(&mut signature)? == name.as_bytes();
    let raw = take_string(&mut signature)?;
    (fits && named && rest.is_empty() && signature.is_empty()).then_some(raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signer, SigningKey};
    use proptest::prelude::*;

    fn sign(seed: u8, namespace: &str, message: &[u8]) -> (PublicKey, String) {
        let secret = SigningKey::from_bytes(&[seed; 32]);
        let key = PublicKey::from_ed25519(secret.verifying_key().as_bytes()).expect("a good key");
        let raw = secret.sign(&signed_data(namespace, message)).to_bytes();
        let text = armour(&key, namespace, &raw);
        (key, text)
    }

    #[test]
    fn verifies_what_it_armours() {
        let (key, text) = sign(1, "sealpost-key", b"statement\n");
        assert_eq!(verify(&key, "sealpost-key", b"statement\n", &text), Ok(()));
        assert_eq!(verify(&key, "sealpost-key", b"statement\n", text.trim_end()), Ok(()));
        let narrow = text.replace("\nU1NI", "\nU1N\nI");
        assert_ne!(narrow, text);
        assert_eq!(verify(&key, "sealpost-key", b"statement\n", &narrow), Ok(()), "any line length");
    }

    #[test]
    fn refusals() {
        let (key, text) = sign(1, "sealpost-key", b"statement\n");
        let (other, _) = sign(2, "sealpost-key", b"statement\n");
        let ok = |k: &PublicKey, n: &str, m: &[u8], t: &str| verify(k, n, m, t).is_ok();
        assert!(!ok(&other, "sealpost-key", b"statement\n", &text), "another key");
        assert!(!ok(&key, "sealpost-keyring", b"statement\n", &text), "another namespace");
        assert!(!ok(&key, "sealpost-key", b"statement", &text), "another message");
        for (what, bad) in [
            ("empty", String::new()),
            ("before", format!("\n{text}")),
            ("behind", format!("{text}\n")),
            ("two", format!("{text}{text}")),
            ("CRLF", text.replace('\n', "\r\n")),
            ("blank line", text.replacen('\n', "\n\n", 1)),
            ("no begin", text.replace(BEGIN, "")),
            ("no end", text.replace(END, "")),
            ("padding cut", text.replace('=', "")),
            ("space", text.replace("U1NI", "U1N I")),
            ("long", format!("{BEGIN}{}{END}\n", "AAAA\n".repeat(1_000))),
            (
                "one line",
                format!(
                    "{BEGIN}{}\n{END}\n",
                    text.lines().filter(|l| !l.starts_with('-')).collect::<String>()
                ),
            ),
        ] {
            assert!(!ok(&key, "sealpost-key", b"statement\n", &bad), "{what}");
        }
        let blob = dearmour(&text).expect("armour");
        for i in 0..blob.len() {
            let mut bad = blob.clone();
            bad[i] ^= 1;
            assert!(!ok(&key, "sealpost-key", b"statement\n", &rearmour(&bad)), "octet {i}");
            assert!(!ok(&key, "sealpost-key", b"statement\n", &rearmour(&blob[..i])), "cut at {i}");
        }
        assert!(ok(&key, "sealpost-key", b"statement\n", &rearmour(&blob)));
        assert!(!ok(&key, "sealpost-key", b"statement\n", &rearmour(&[&blob[..], &[0]].concat())));
    }

    fn rearmour(blob: &[u8]) -> String {
        let text = base64::encode(blob);
        let lines: Vec<_> =
            text.as_bytes().chunks(70).map(|l| std::str::from_utf8(l).expect("ASCII")).collect();
        format!("{BEGIN}{}\n{END}\n", lines.join("\n"))
    }

    proptest! {
        #[test]
        fn never_panics(body in "[A-Za-z0-9+/=\n]{0,300}", blob: Vec<u8>) {
            let (key, _) = sign(1, "n", b"");
            prop_assert!(verify(&key, "n", b"", &[BEGIN, body.as_str(), "\n", END].concat()).is_err());
            prop_assert!(verify(&key, "n", b"", &rearmour(&[MAGIC, &VERSION, &blob].concat())).is_err());
        }
    }
}
