//! The key store of GNOME, KDE, KeePassXC and others: the Secret Service over D-Bus
//! (<https://specifications.freedesktop.org/secret-service-spec/>).

use super::{KeyStore, KeyStoreError};
use crate::ui::Ui;
use ::secret_service::{Collection, EncryptionType, Error, Item, SecretService as Service};
use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};
use tokio::time::timeout;
use zeroize::Zeroizing;

/// Attribute that says whose items these are.
const SCHEMA: &str = "org.sealpost.DeviceKey";
const CONTENT_TYPE: &str = "application/octet-stream";

/// How long the key store may take. A service that hangs must not hang the mail.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For what needs nobody.
    pub call: Duration,
    /// For what may ask a person for the key store's password.
    pub prompt: Duration,
}

impl Default for Limits {
    /// A call takes milliseconds, but the first one may start the service; two minutes are enough to type a password,
    /// and to find out that the window is on another screen.
    fn default() -> Self {
        Self { call: Duration::from_secs(10), prompt: Duration::from_secs(120) }
    }
}

/// The Secret Service of the session.
pub struct SecretService {
    ui: Arc<dyn Ui>,
    limits: Limits,
    bus: Option<String>,
}

type Result<T> = std::result::Result<T, KeyStoreError>;

impl SecretService {
    /// On the session's bus. `ui` is told when somebody has to type a password elsewhere.
    pub fn new(ui: Arc<dyn Ui>) -> Self {
        Self { ui, limits: Limits::default(), bus: None }
    }

    /// Other limits.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Another bus: an address as in `DBUS_SESSION_BUS_ADDRESS`.
    #[must_use]
    pub fn with_bus(self, address: String) -> Self {
        Self { bus: Some(address), ..self }
    }

    async fn connect(&self) -> Result<Service<'static>> {
        let connect = async {
            let connection = match &self.bus {
                Some(address) => zbus::connection::Builder::address(address.as_str())?.build().await?,
                None => zbus::Connection::session().await?,
            };
            Service::connect_with_existing(EncryptionType::Dh, connection).await
        };
        // Whatever fails here means that there is no bus, or nobody on it who keeps secrets: nothing a person has to be
        // told. A bus that does not answer is another matter.
        timeout(self.limits.call, connect)
            .await
            .map_err(|_| silent(self.limits.call))?
            .map_err(|_| KeyStoreError::Absent)
    }

    async fn call<T>(&self, call: impl Future<Output = std::result::Result<T, Error>>) -> Result<T> {
        within(self.limits.call, call).await
    }

    /// A call for which the key store may ask its owner.
    async fn prompted<T>(&self, call: impl Future<Output = std::result::Result<T, Error>>) -> Result<T> {
        let seconds = self.limits.prompt.as_secs();
        self.ui.say(&format!(
            "the desktop's key store is locked; it is asked to unlock for at most {seconds} seconds"
        ));
        within(self.limits.prompt, call).await
    }

    /// All items of a name, unlocked.
    async fn items<'a>(&self, service: &'a Service<'static>, name: &str) -> Result<Vec<Item<'a>>> {
        let found = self.call(service.search_items(attributes(name))).await?;
        let mut items = found.unlocked;
        if items.is_empty() {
            for item in found.locked {
                self.prompted(item.unlock()).await?;
                items.push(item);
            }
        }
        Ok(items)
    }

    /// Where new items go: what desktops unlock at login.
    async fn collection<'a>(&self, service: &'a Service<'static>) -> Result<Collection<'a>> {
        let collection = self.call(service.get_default_collection()).await.map_err(|e| match e {
            // A service without a default collection has none for us.
            KeyStoreError::Failed(_) => KeyStoreError::Absent,
            other => other,
        })?;
        if self.call(collection.is_locked()).await? {
            self.prompted(collection.unlock()).await?;
        }
        Ok(collection)
    }

    /// Does the work on a thread of its own, since the caller may stand in a runtime already; a fault in it ends there.
    fn work<T: Send>(&self, work: impl AsyncFnOnce(&Self) -> Result<T> + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.map_err(|e| KeyStoreError::Failed(e.to_string()))?.block_on(work(self))
            });
            thread.join().unwrap_or_else(|_| Err(KeyStoreError::Failed("it answered nonsense".to_owned())))
        })
    }
}

impl KeyStore for SecretService {
    fn get(&self, name: &str) -> Result<Option<Zeroizing<[u8; 32]>>> {
        self.work(async |this| {
            let service = this.connect().await?;
            let Some(item) = this.items(&service, name).await?.into_iter().next() else { return Ok(None) };
            let secret = Zeroizing::new(this.call(item.get_secret()).await?);
            let key = secret.as_slice().try_into().map(Zeroizing::new);
            key.map(Some).map_err(|_| KeyStoreError::Failed("it holds something else".to_owned()))
        })
    }

    fn put(&self, name: &str, label: &str, key: &[u8; 32]) -> Result<()> {
        self.work(async |this| {
            let service = this.connect().await?;
            let collection = this.collection(&service).await?;
            this.call(collection.create_item(label, attributes(name), key, true, CONTENT_TYPE)).await?;
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.work(async |this| {
            let service = this.connect().await?;
            let found = this.call(service.search_items(attributes(name))).await?;
            for item in &found.unlocked {
                this.call(item.delete()).await?;
            }
            // Nobody is asked for a password only to forget something.
            if found.locked.is_empty() { Ok(()) } else { Err(KeyStoreError::Locked) }
        })
    }
}

fn attributes(name: &str) -> HashMap<&str, &str> {
    HashMap::from([("xdg:schema", SCHEMA), ("device", name)])
}

fn silent(limit: Duration) -> KeyStoreError {
    KeyStoreError::Silent(limit.as_secs())
}

async fn within<T>(limit: Duration, call: impl Future<Output = std::result::Result<T, Error>>) -> Result<T> {
    timeout(limit, call).await.map_err(|_| silent(limit))?.map_err(|error| match error {
        Error::Locked | Error::Prompt => KeyStoreError::Locked,
        other => KeyStoreError::Failed(other.to_string()),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::ui::Unattended;

    fn store(bus: String) -> SecretService {
        let limits = Limits { call: Duration::from_millis(50), prompt: Duration::from_millis(50) };
        SecretService::new(Arc::new(Unattended)).with_limits(limits).with_bus(bus)
    }

    #[test]
    fn no_bus_is_no_key_store() {
        let dir = tempfile::tempdir().unwrap();
        for bus in [format!("unix:path={}/none", dir.path().display()), "disabled:".to_owned()] {
            let store = store(bus);
            assert_eq!(store.get("x").unwrap_err(), KeyStoreError::Absent);
            assert_eq!(store.put("x", "label", &[7; 32]).unwrap_err(), KeyStoreError::Absent);
            assert_eq!(store.remove("x").unwrap_err(), KeyStoreError::Absent);
        }
    }

    /// Within a runtime too, as commands call it.
    #[tokio::test]
    async fn a_bus_that_says_nothing_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bus");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let store = store(format!("unix:path={}", path.display()));
        assert_eq!(store.get("x").unwrap_err(), KeyStoreError::Silent(0));
        assert_eq!(store.put("x", "label", &[7; 32]).unwrap_err(), KeyStoreError::Silent(0));
    }
}
