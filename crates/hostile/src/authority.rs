//! Certificates, good ones and the kinds that must not be taken.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// What a server shows.
#[derive(Debug, Clone, Copy)]
pub enum Certificate<'a> {
    /// Issued by the world's authority for this name.
    For(&'a str),
    /// The same, and it ended in 2001.
    Expired(&'a str),
    /// The same, and it begins in 2099.
    NotYet(&'a str),
    /// For this name, signed by its own key.
    SelfSigned(&'a str),
    /// For this name, issued by an authority that nobody trusts.
    Stranger(&'a str),
}

/// A certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
    root_pem: String,
}

impl Default for Authority {
    fn default() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap();
        Self { root: root.der().clone(), root_pem: root.pem(), issuer: Issuer::new(params, key) }
    }
}

impl Authority {
    /// The root, PEM.
    pub fn root(&self) -> &str {
        &self.root_pem
    }

    fn leaf(&self, kind: Certificate<'_>) -> (rcgen::Certificate, KeyPair) {
        let (Certificate::For(name)
        | Certificate::Expired(name)
        | Certificate::NotYet(name)
        | Certificate::SelfSigned(name)
        | Certificate::Stranger(name)) = kind;
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.into()]).unwrap();
        let certificate = match kind {
            Certificate::For(_) => params.signed_by(&key, &self.issuer),
            Certificate::Expired(_) => {
                params.not_before = rcgen::date_time_ymd(2000, 1, 1);
                params.not_after = rcgen::date_time_ymd(2001, 1, 1);
                params.signed_by(&key, &self.issuer)
            }
            Certificate::NotYet(_) => {
                params.not_before = rcgen::date_time_ymd(2099, 1, 1);
                params.not_after = rcgen::date_time_ymd(2100, 1, 1);
                params.signed_by(&key, &self.issuer)
            }
            Certificate::SelfSigned(_) => params.self_signed(&key),
            Certificate::Stranger(_) => params.signed_by(&key, &Self::default().issuer),
        };
        (certificate.unwrap(), key)
    }

    /// Certificate and key, PEM.
    pub fn pem(&self, kind: Certificate<'_>) -> (String, String) {
        let (certificate, key) = self.leaf(kind);
        (certificate.pem(), key.serialize_pem())
    }

    /// Certificate and key, DER.
    pub fn der(&self, kind: Certificate<'_>) -> (Vec<u8>, Vec<u8>) {
        let (certificate, key) = self.leaf(kind);
        (certificate.der().to_vec(), key.serialize_der())
    }

    /// A server's side of TLS.
    pub fn acceptor(&self, kind: Certificate<'_>) -> TlsAcceptor {
        let (certificate, key) = self.der(kind);
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from(certificate)],
                PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key)),
            )
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    /// A client's side that trusts this authority.
    pub fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
