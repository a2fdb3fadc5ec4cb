//! The channel binding `tls-server-end-point` (RFC 5929 §4.1): the hash of the server's certificate, by the hash function
//! of the signature on it.

use sha2::{Digest as _, Sha256, Sha384, Sha512};

// Object identifiers as DER holds them, and what they hash with.
const SHA1_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05];
const SHA256_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
const SHA384_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c];
const SHA512_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d];
const SHA256_ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const SHA384_ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];
const SHA512_ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04];

/// The hash of a certificate; `None` where its signature has no hash function (Ed25519), or one that is not known here:
/// then this binding is undefined.
pub(super) fn hash(certificate: &[u8]) -> Option<Vec<u8>> {
    // Certificate ::= SEQUENCE { tbsCertificate SEQUENCE, signatureAlgorithm SEQUENCE { algorithm OID, … }, … }
    let (whole, _) = element(certificate, SEQUENCE)?;
    let (_, rest) = element(whole, SEQUENCE)?;
    let (algorithm, _) = element(rest, SEQUENCE)?;
    let (oid, _) = element(algorithm, OID)?;
    match oid {
        // RFC 5929: SHA-1 counts as SHA-256.
        SHA1_RSA | SHA256_RSA | SHA256_ECDSA => Some(Sha256::digest(certificate).to_vec()),
        SHA384_RSA | SHA384_ECDSA => Some(Sha384::digest(certificate).to_vec()),
        SHA512_RSA | SHA512_ECDSA => Some(Sha512::digest(certificate).to_vec()),
        _ => None,
    }
}

const SEQUENCE: u8 = 0x30;
const OID: u8 = 0x06;

/// The content of the DER element in front, if it is of this kind, and what follows it.
fn element(der: &[u8], kind: u8) -> Option<(&[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if tag != kind {
        return None;
    }
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // A certificate is shorter than 2^24 octets.
        0x81..=0x83 => {
            let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (octets.iter().fold(0, |len, octet| len << 8 | usize::from(*octet)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(len)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn signed_with(algorithm: &'static rcgen::SignatureAlgorithm) -> Vec<u8> {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let params = rcgen::CertificateParams::new(vec!["mail.example.net".to_owned()]).unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_hash_is_that_of_the_signature() {
        let p256 = signed_with(&rcgen::PKCS_ECDSA_P256_SHA256);
        assert_eq!(hash(&p256).unwrap(), Sha256::digest(&p256).to_vec());
        let p384 = signed_with(&rcgen::PKCS_ECDSA_P384_SHA384);
        assert_eq!(hash(&p384).unwrap(), Sha384::digest(&p384).to_vec());
        assert_eq!(hash(&signed_with(&rcgen::PKCS_ED25519)), None, "undefined");
    }

    #[test]
    fn what_is_cut_off_has_none() {
        let certificate = signed_with(&rcgen::PKCS_ECDSA_P256_SHA256);
        for end in 0..certificate.len() {
            assert_eq!(hash(&certificate[..end]), None, "{end}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(octets: Vec<u8>) {
            let _ = hash(&octets);
        }
    }
}
