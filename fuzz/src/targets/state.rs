//! The client's folder: whatever lies in it is read or refused with a sentence that holds no secret.

use crate::{feedback, seeds};
use sealpost_client::{
    client::{Client, Environment, Settings},
    ui::Unattended,
};
use sealpost_proto::{base64, time::Timestamp};
use std::{cell::OnceCell, fs, sync::Arc};
use tempfile::TempDir;

thread_local! {
    static FOLDER: OnceCell<TempDir> = const { OnceCell::new() };
}

/// The files, one after the other, each behind a line `== NAME`.
pub(crate) fn state(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    FOLDER.with(|cell| {
        let folder = cell.get_or_init(|| TempDir::new().expect("a temporary folder")).path();
        for name in ["account.json", "secrets.json", "trust.json"] {
            let _ = fs::remove_file(folder.join(name));
        }
        for part in text.split("== ").skip(1) {
            let Some((name, content)) = part.split_once('\n') else { continue };
            if ["account.json", "secrets.json", "trust.json"].contains(&name) {
                fs::write(folder.join(name), content).expect("written");
            }
        }
        let settings = Settings { dir: folder.to_owned(), dns: None, ca_file: None, mx_port: None };
        let client = Client::new(settings, Environment::system(Arc::new(Unattended)));
        let secret = base64::encode([1; 32]);
        let say = |error: String| {
            assert!(!error.is_empty() && !error.contains(&secret), "the seed shows in: {error}");
            feedback::happened(&feedback::shape(&error.replace(&folder.display().to_string(), "")));
        };
        match client.key_show() {
            Ok(report) => {
                feedback::happened("key");
                assert_eq!(report.words.split(' ').count(), 12);
                assert!(report.created > Timestamp(i64::MIN));
            }
            Err(error) => say(error.to_string()),
        }
        match client.contacts() {
            Ok(contacts) => feedback::happened(&format!("{} contacts", contacts.len().min(3))),
            Err(error) => say(error.to_string()),
        }
        match client.key_export(true) {
            Ok(keys) => feedback::happened(&format!("{} keys", keys.len().min(3))),
            Err(error) => say(error.to_string()),
        }
    });
    // The seed of the corpus is known to be hers.
    assert_eq!(seeds::alice().seed().as_slice(), [1; 32]);
}
