//! A development CA and scripted mail servers on loopback, for tests here and in the server's relay.
#![allow(dead_code, reason = "each test binary uses its part")]

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

/// A certificate authority and its root in a file.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    dir: tempfile::TempDir,
}

impl Ca {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), root.pem()).unwrap();
        Self { issuer: Issuer::new(params, key), dir }
    }
    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }
    /// Certificate and key for `name`, in PEM.
    pub(crate) fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec![name.into()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
    pub(crate) fn acceptor(&self, name: &str) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec![name.into()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let chain = vec![CertificateDer::from(certificate)];
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// What a scripted server answers to a line; the flag tells whether TLS is on. Empty: nothing; `None`: it closes.
pub(crate) type Script = Arc<dyn Fn(&str, bool) -> Option<String> + Send + Sync>;

/// A scripted mail server; stops when dropped.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    pub(crate) connections: Arc<AtomicUsize>,
    /// Every line it was told, with whether TLS was on; message data too.
    pub(crate) heard: Arc<Mutex<Vec<(bool, String)>>>,
    task: JoinHandle<()>,
}

impl Fake {
    pub(crate) async fn start(tls: Option<TlsAcceptor>, implicit: bool, script: Script) -> Self {
        Self::start_on("127.0.0.1:0".parse().unwrap(), tls, implicit, script).await
    }
    pub(crate) async fn start_on(
        listen: SocketAddr,
        tls: Option<TlsAcceptor>,
        implicit: bool,
        script: Script,
    ) -> Self {
        Self::serve(listen, tls, implicit, script, "220 fake ready\r\n").await
    }
    /// Implicit TLS without a greeting: another protocol.
    pub(crate) async fn silent(tls: TlsAcceptor, script: Script) -> Self {
        Self::serve("127.0.0.1:0".parse().unwrap(), Some(tls), true, script, "").await
    }
    async fn serve(
        listen: SocketAddr,
        tls: Option<TlsAcceptor>,
        implicit: bool,
        script: Script,
        greeting: &'static str,
    ) -> Self {
        let listener = TcpListener::bind(listen).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (count, log) = (Arc::clone(&connections), Arc::clone(&heard));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let (tls, script, log) = (tls.clone(), Arc::clone(&script), Arc::clone(&log));
                tokio::spawn(async move {
                    if implicit {
                        if let Ok(stream) = tls.unwrap().accept(stream).await {
                            converse(stream, true, greeting, &script, &log).await;
                        }
                    } else if let (Some(stream), Some(tls)) =
                        (converse(stream, false, greeting, &script, &log).await, tls)
                        && let Ok(stream) = tls.accept(stream).await
                    {
                        converse(stream, true, "", &script, &log).await;
                    }
                });
            }
        });
        Self { address, connections, heard, task }
    }
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
    pub(crate) fn heard(&self) -> Vec<(bool, String)> {
        self.heard.lock().unwrap().clone()
    }
    pub(crate) fn heard_line(&self, start: &str) -> bool {
        self.heard().iter().any(|(_, line)| line.starts_with(start))
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Returns the stream after a STARTTLS that was answered with 220. A script may have a greeting of its own.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    tls: bool,
    greeting: &str,
    script: &Script,
    log: &Mutex<Vec<(bool, String)>>,
) -> Option<S> {
    let mut input = Vec::new();
    let scripted = if greeting.is_empty() { None } else { script("GREETING", tls) };
    let greeting = scripted.filter(|text| !text.is_empty()).unwrap_or_else(|| greeting.to_owned());
    stream.write_all(greeting.as_bytes()).await.ok()?;
    stream.flush().await.ok()?;
    let mut data = false;
    loop {
        while let Some(end) = input.windows(2).position(|w| w == b"\r\n") {
            let line: Vec<u8> = input.drain(..end + 2).collect();
            let line = String::from_utf8_lossy(&line[..end]).into_owned();
            log.lock().unwrap().push((tls, line.clone()));
            let asked = match (data, line.as_str()) {
                (true, ".") => "DATA END",
                (true, _) => continue,
                (false, line) => line,
            };
            let answer = script(asked, tls)?;
            stream.write_all(answer.as_bytes()).await.ok()?;
            stream.flush().await.ok()?;
            data = answer.starts_with("354");
            if asked == "STARTTLS" && answer.starts_with("220") {
                return Some(stream);
            }
        }
        if stream.read_buf(&mut input).await.ok()? == 0 {
            return None;
        }
    }
}

/// A script: the first entry whose start fits answers; `QUIT` and EHLO have sensible defaults.
pub(crate) fn script(answers: &[(&str, &str)]) -> Script {
    let answers: Vec<(String, String)> =
        answers.iter().map(|(start, answer)| ((*start).to_owned(), (*answer).to_owned())).collect();
    Arc::new(move |line, _tls| {
        let found = answers.iter().find(|(start, _)| line.starts_with(start.as_str()));
        Some(match found {
            Some((_, answer)) => answer.clone(),
            None if line == "GREETING" => String::new(),
            None if line == "QUIT" => "221 bye\r\n".into(),
            None => "500 5.5.2 not in the script\r\n".into(),
        })
    })
}
