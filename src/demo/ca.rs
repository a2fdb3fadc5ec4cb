//! A development certificate authority: a new one for each demo, its key never on disk.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose,
};
use sealpost_proto::time::{Clock as _, SystemClock, Timestamp};
use std::{fs, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path};

/// How long certificates are good, in days, before and after the moment they are made; a demo with `--keep` may
/// stand for a while, and clocks of virtual machines differ.
const DAYS: (i64, i64) = (2, 90);

/// The authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, both PEM.
pub struct Certified {
    /// The chain (one certificate).
    pub certificate: String,
    /// PKCS #8.
    pub key: zeroize::Zeroizing<String>,
}

/// The day of a moment, as rcgen takes it.
fn date(moment: Timestamp) -> (i32, u8, u8) {
    let text = moment.to_rfc3339();
    let number = |range: std::ops::Range<usize>| text[range].parse().unwrap_or(1);
    (text[..4].parse().unwrap_or(2026), number(5..7), number(8..10))
}

fn parameters(names: Vec<String>, common_name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let now = SystemClock.now();
    let (from, until) = (date(now.plus(-DAYS.0 * 86_400)), date(now.plus(DAYS.1 * 86_400)));
    params.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
    params.not_after = rcgen::date_time_ymd(until.0, until.1, until.2);
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

impl Authority {
    /// Makes a new one.
    pub fn new() -> Result<Self, rcgen::Error> {
        let mut params = parameters(Vec::new(), "Sealpost demo CA")?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = false;
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)? })
    }

    /// The root certificate, PEM.
    pub fn root(&self) -> String {
        self.issuer.pem()
    }

    /// A server certificate for one host name.
    pub fn certify(&self, host: &str) -> Result<Certified, rcgen::Error> {
        let mut params = parameters(vec![host.to_owned()], host)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Certified { certificate: certificate.pem(), key: key.serialize_pem().into() })
    }
}

impl Certified {
    /// Writes both files; the key readable by its owner alone.
    pub fn write(&self, certificate: &Path, key: &Path) -> std::io::Result<()> {
        fs::write(certificate, &self.certificate)?;
        fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(key)?
            .write_all(self.key.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{
        RootCertStore,
        client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
        pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
    };
    use std::sync::Arc;

    fn der(pem: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM")
    }

    #[test]
    fn certificates_verify_for_their_host_under_their_root_alone() {
        let (ours, other) = (Authority::new().expect("made"), Authority::new().expect("made"));
        let server = ours.certify("mail.example.net").expect("made");
        for (authority, host, good) in [
            (&ours, "mail.example.net", true),
            (&ours, "mail.example.com", false),
            (&ours, "example.net", false),
            (&other, "mail.example.net", false),
        ] {
            let mut roots = RootCertStore::empty();
            roots.add(der(&authority.root())).expect("a root");
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .expect("built");
            let name = ServerName::try_from(host).expect("a name");
            let result =
                verifier.verify_server_cert(&der(&server.certificate), &[], &name, &[], UnixTime::now());
            assert_eq!(result.is_ok(), good, "{host}: {result:?}");
        }
    }
}
