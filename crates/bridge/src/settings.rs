//! What the bridge keeps in its folder: `bridge.json` with the ports; the certificate and its key. All 0600 in a 0700
//! folder. Password and key of the index are among the secrets of the client, which locks them.

use crate::account::{BridgeError, FOLDER};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose,
};
use sealpost_proto::time::{Clock as _, SystemClock, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

const VERSION: u32 = 1;
/// How long a certificate is good, in days. Mail programs are told of it once.
const DAYS: i64 = 3650;
/// A certificate with less left is made anew, in seconds.
const LEFT: i64 = 30 * 86_400;

/// `bridge.json`.
#[derive(Serialize, Deserialize)]
pub(crate) struct Settings {
    version: u32,
    /// Kept from the first run on.
    pub(crate) imap_port: Option<u16>,
    /// The same.
    pub(crate) submission_port: Option<u16>,
    /// Until when the certificate is good, and for which names.
    certificate: Option<(i64, Vec<String>)>,
}

/// The folder of the bridge in a client's folder.
pub(crate) struct Folder {
    path: PathBuf,
    _lock: File,
}

/// Certificate chain and key.
pub(crate) struct Certificate {
    pub(crate) chain: Vec<u8>,
    pub(crate) key: Zeroizing<Vec<u8>>,
    /// What mail programs are to trust.
    pub(crate) ca_file: PathBuf,
}

impl Folder {
    /// Takes it; one bridge at a time.
    pub(crate) fn take(client: &Path) -> Result<Self, BridgeError> {
        let path = std::path::absolute(client)?.join(FOLDER);
        DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(BridgeError::Settings(format!(
                "another bridge runs on {}; stop it first",
                client.display()
            ))),
            Err(TryLockError::Error(e)) => Err(e.into()),
        }
    }

    /// Reads the settings, or makes new ones.
    pub(crate) fn settings(&self) -> Result<Settings, BridgeError> {
        if let Some(settings) = read(&self.path)? {
            return Ok(settings);
        }
        let settings =
            Settings { version: VERSION, imap_port: None, submission_port: None, certificate: None };
        self.write(&settings)?;
        Ok(settings)
    }

    /// Replaces the settings as a whole.
    pub(crate) fn write(&self, settings: &Settings) -> Result<(), BridgeError> {
        let octets = serde_json::to_vec(settings).map_err(std::io::Error::other)?;
        self.replace("bridge.json", &octets)
    }

    fn replace(&self, name: &str, octets: &[u8]) -> Result<(), BridgeError> {
        let new = self.path.join(format!(".{name}.new"));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(octets)?;
        file.sync_all()?;
        fs::rename(&new, self.path.join(name))?;
        File::open(&self.path)?.sync_all()?;
        Ok(())
    }

    /// The certificate for `names`, made where there is none that will do.
    pub(crate) fn certificate(
        &self,
        settings: &mut Settings,
        names: &[String],
    ) -> Result<Certificate, BridgeError> {
        let now = SystemClock.now();
        let good = settings.certificate.as_ref().is_some_and(|(until, known)| {
            *until > now.0 + LEFT && names.iter().all(|name| known.contains(name))
        });
        let files = ["ca.pem", "certificate.pem", "key.pem"].map(|name| self.path.join(name));
        if !good || !files.iter().all(|file| file.is_file()) {
            let made = make(names, now).map_err(|e| {
                BridgeError::Settings(format!("no certificate could be made for {}: {e}", names.join(", ")))
            })?;
            self.replace("key.pem", made.key.as_bytes())?;
            self.replace("certificate.pem", made.certificate.as_bytes())?;
            self.replace("ca.pem", made.root.as_bytes())?;
            settings.certificate = Some((now.0 + DAYS * 86_400, names.to_vec()));
            self.write(settings)?;
        }
        let [ca_file, chain, key] = files;
        Ok(Certificate { chain: fs::read(chain)?, key: Zeroizing::new(fs::read(key)?), ca_file })
    }
}

/// The settings of a folder, if a bridge ever ran on it.
pub(crate) fn read(folder: &Path) -> Result<Option<Settings>, BridgeError> {
    let path = folder.join("bridge.json");
    let octets = match fs::read(&path) {
        Ok(octets) => octets,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    let settings: Settings = serde_json::from_slice(&octets).map_err(|e| {
        BridgeError::Settings(format!(
            "{} cannot be understood (line {}); remove it, and the bridge takes new ports",
            path.display(),
            e.line()
        ))
    })?;
    if settings.version > VERSION {
        return Err(BridgeError::Settings(format!("{} is of a newer Sealpost", path.display())));
    }
    Ok(Some(settings))
}

struct Made {
    root: String,
    certificate: String,
    key: Zeroizing<String>,
}

/// A root that signs this one certificate; its key is gone with this function.
fn make(names: &[String], now: Timestamp) -> Result<Made, rcgen::Error> {
    let mut root = parameters(Vec::new(), "Sealpost bridge on this machine", now)?;
    root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let issuer = CertifiedIssuer::self_signed(root, KeyPair::generate()?)?;
    let mut leaf = parameters(names.to_vec(), "Sealpost bridge", now)?;
    leaf.use_authority_key_identifier_extension = true;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = leaf.signed_by(&key, &issuer)?;
    Ok(Made { root: issuer.pem(), certificate: certificate.pem(), key: Zeroizing::new(key.serialize_pem()) })
}

fn parameters(names: Vec<String>, name: &str, now: Timestamp) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let day = |moment: Timestamp| {
        let text = moment.to_rfc3339();
        let part = |range: std::ops::Range<usize>| text[range].parse().unwrap_or(1);
        rcgen::date_time_ymd(text[..4].parse().unwrap_or(2026), part(5..7), part(8..10))
    };
    params.not_before = day(now.plus(-2 * 86_400));
    params.not_after = day(now.plus(DAYS * 86_400));
    Ok(params)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn settings_and_certificate_stay_and_are_private() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::take(dir.path()).unwrap();
        assert!(Folder::take(dir.path()).is_err(), "one bridge at a time");
        let mut settings = folder.settings().unwrap();
        settings.imap_port = Some(1143);
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let first = folder.certificate(&mut settings, &names).unwrap();
        let again = folder.certificate(&mut folder.settings().unwrap(), &names[..1]).unwrap();
        assert_eq!((first.chain, first.ca_file), (again.chain.clone(), again.ca_file));
        let more = folder.certificate(&mut folder.settings().unwrap(), &["mail.lan".to_owned()]).unwrap();
        assert_ne!(again.chain, more.chain, "a new name needs a new certificate");
        let kept = folder.settings().unwrap();
        assert_eq!(kept.imap_port, Some(1143));
        for file in fs::read_dir(dir.path().join(FOLDER)).unwrap() {
            let file = file.unwrap();
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.path());
        }
        drop(folder);
        Folder::take(dir.path()).unwrap();
    }
}
