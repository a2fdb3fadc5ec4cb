//! Certificates, and the TLS settings of the listeners: TLS 1.2 and 1.3, hybrid post-quantum key exchange preferred.

mod end_point;

use crate::config;
use rustls::{
    ServerConfig,
    client::verify_server_name,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    server::{ClientHello, ParsedCertificate, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

/// Why certificate or key were refused. Never holds key material.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file could not be read, or holds no PEM of the kind asked for.
    #[error("{path} could not be used: {reason}")]
    File {
        /// File.
        path: PathBuf,
        /// Reason.
        reason: String,
    },
    /// The key is not that of the certificate, or of a kind that TLS cannot use.
    #[error("certificate and key do not fit together: {0}")]
    Pair(rustls::Error),
}

fn file_error(path: &Path, reason: impl std::fmt::Display) -> TlsError {
    TlsError::File { path: path.to_owned(), reason: reason.to_string() }
}

fn certified_key(files: &config::Tls) -> Result<CertifiedKey, TlsError> {
    let chain = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| file_error(&files.cert, e))?;
    if chain.is_empty() {
        return Err(file_error(&files.cert, "it holds no certificate"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| file_error(&files.key, e))?;
    CertifiedKey::from_der(chain, key, &rustls::crypto::aws_lc_rs::default_provider()).map_err(TlsError::Pair)
}

/// A certificate with its key, as one handshake uses it.
pub(crate) struct Current {
    key: Arc<CertifiedKey>,
    /// Its hash for channel bindings (RFC 5929 §4.1), where it has one.
    pub(crate) end_point: Option<Arc<[u8]>>,
}

impl Current {
    fn read(files: &config::Tls) -> Result<Arc<Self>, TlsError> {
        let key = certified_key(files)?;
        let end_point = key.cert.first().and_then(|own| end_point::hash(own)).map(Arc::from);
        Ok(Arc::new(Self { key: Arc::new(key), end_point }))
    }
}

/// The certificate in use; a reload replaces it for new handshakes and touches no open session.
pub struct Certificate {
    files: config::Tls,
    current: RwLock<Arc<Current>>,
}

impl Certificate {
    /// Reads certificate and key.
    pub fn load(files: &config::Tls) -> Result<Arc<Self>, TlsError> {
        let current = RwLock::new(Current::read(files)?);
        Ok(Arc::new(Self { files: files.clone(), current }))
    }
    /// What handshakes use now.
    pub(crate) fn current(&self) -> Arc<Current> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// Reads both files again; the old certificate stays when that fails.
    pub fn reload(&self) -> Result<(), TlsError> {
        let fresh = Current::read(&self.files)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").field("files", &self.files).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current().key.clone())
    }
}

/// TLS settings around a certificate.
pub fn acceptor(certificate: Arc<Certificate>) -> Result<tokio_rustls::TlsAcceptor, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(TlsError::Pair)?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    Ok(tokio_rustls::TlsAcceptor::from(Arc::new(config)))
}

/// `serve --check`: the files can be read, fit together, and the certificate bears `hostname`.
pub fn check(files: &config::Tls, hostname: &str) -> Result<(), TlsError> {
    let certificate = Certificate::load(files)?;
    let chain = certificate.current().key.cert.clone();
    let bears = |name: &str| -> Result<(), rustls::Error> {
        let own = chain.first().ok_or(rustls::Error::NoCertificatesPresented)?;
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| rustls::Error::General("not a host name".to_owned()))?;
        verify_server_name(&ParsedCertificate::try_from(own)?, &name)
    };
    bears(hostname).map_err(|e| {
        file_error(&files.cert, format!("the certificate does not bear the name {hostname}: {e}"))
    })?;
    acceptor(certificate).map(|_| ())
}

/// That a file holds certificates, for `serve --check`.
pub fn check_roots(file: &Path) -> Result<(), TlsError> {
    let count = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| file_error(file, e))?
        .len();
    if count == 0 { Err(file_error(file, "it holds no certificate")) } else { Ok(()) }
}
