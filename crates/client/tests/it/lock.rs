//! Locking a device: what still opens it, what does not, and key stores that fail at each step.

use crate::world::{World, address, message, read, secret};
use sealpost_client::{
    client::{Client, Custody, Environment, Which},
    error::ClientError,
    keystore::{KeyStore, KeyStoreError},
    open::Verdict,
    ui::Unattended,
};
use sealpost_crypto::kdf;
use sealpost_proto::{
    base64,
    phc::{Cost, Salt},
};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    fs,
    sync::{Arc, Mutex},
};
use zeroize::Zeroizing;

const ALICE: &str = "alice@example.net";
const FIRST: &str = "purple walrus juggles forty lanterns";
const SECOND: &str = "quiet marble engine borrows thunder";

/// A key store in memory that can be told to fail: a real one cannot, at the moment that a test wants.
#[derive(Default)]
struct Fallible {
    kept: Mutex<HashMap<String, [u8; 32]>>,
    fault: Mutex<Option<KeyStoreError>>,
}

impl Fallible {
    fn fails(&self, fault: Option<KeyStoreError>) {
        *self.fault.lock().unwrap() = fault;
    }
    fn entries(&self) -> usize {
        self.kept.lock().unwrap().len()
    }
    fn fault(&self) -> Result<(), KeyStoreError> {
        self.fault.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

impl KeyStore for Fallible {
    fn get(&self, name: &str) -> Result<Option<Zeroizing<[u8; 32]>>, KeyStoreError> {
        self.fault()?;
        Ok(self.kept.lock().unwrap().get(name).copied().map(Zeroizing::new))
    }
    fn put(&self, name: &str, _: &str, key: &[u8; 32]) -> Result<(), KeyStoreError> {
        self.fault()?;
        self.kept.lock().unwrap().insert(name.to_owned(), *key);
        Ok(())
    }
    fn remove(&self, name: &str) -> Result<(), KeyStoreError> {
        self.fault()?;
        self.kept.lock().unwrap().remove(name);
        Ok(())
    }
}

/// A client of a folder as a new process has it.
fn client(world: &World, folder: &str, store: &Arc<Fallible>) -> Client {
    let key_store = Arc::clone(store) as Arc<dyn KeyStore>;
    Client::new(
        world.settings(folder),
        Environment { key_store, ..Environment::system(Arc::new(Unattended)) },
    )
}

fn file(world: &World, folder: &str) -> String {
    fs::read_to_string(world.folder(folder).join("secrets.json")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_store_may_fail_at_any_moment() {
    let world = World::start().await;
    world.enrolled(ALICE, FIRST).await;
    let store = Arc::new(Fallible::default());
    client(&world, "desk", &store).login(&address(ALICE), &secret(FIRST)).await.unwrap();
    let again = || client(&world, "desk", &store);
    assert_eq!((again().custody().unwrap(), store.entries()), (Custody::KeyStore, 1));
    again().key_show().unwrap();

    let faults = [
        KeyStoreError::Absent,
        KeyStoreError::Locked,
        KeyStoreError::Silent(10),
        KeyStoreError::Failed("odd".to_owned()),
    ];
    for fault in faults {
        store.fails(Some(fault.clone()));
        let refused = again().key_show().unwrap_err();
        assert!(matches!(&refused, ClientError::KeyStore(why) if *why == fault.to_string()), "{refused}");
        assert_eq!(refused.exit_code(), 3);
        // What the key store cannot give, the password can; and as long as the key store fails, a file has it.
        assert_eq!(again().unlock(&secret(FIRST)).await.unwrap(), Custody::File);
        again().key_show().unwrap();
        store.fails(None);
        assert_eq!(again().put_away().await.unwrap(), Custody::KeyStore);
        again().key_show().unwrap();
    }
    // The entries that could not be removed open nothing: each time the key is another one.
    assert_eq!(store.entries(), 5);
    assert_eq!(again().lock().await.unwrap().left, None);
    assert_eq!((again().custody().unwrap(), store.entries()), (Custody::Locked, 4));
    assert!(matches!(again().key_show(), Err(ClientError::Locked)));

    // A key that is not the right one, as of another device's entry.
    assert_eq!(again().unlock(&secret(FIRST)).await.unwrap(), Custody::KeyStore);
    store.kept.lock().unwrap().values_mut().for_each(|key| key[0] ^= 1);
    assert!(matches!(again().key_show(), Err(ClientError::KeyStore(_))));
    store.kept.lock().unwrap().clear();
    let lost = again().key_show().unwrap_err().to_string();
    assert!(lost.contains("no longer there") && lost.contains("sealpost unlock"), "{lost}");
    assert_eq!(again().unlock(&secret(FIRST)).await.unwrap(), Custody::KeyStore);
    again().key_show().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_the_key_store_hinders_says_so() {
    let world = World::start().await;
    world.enrolled(ALICE, FIRST).await;
    let store = Arc::new(Fallible::default());
    let desk = client(&world, "desk", &store);
    desk.login(&address(ALICE), &secret(FIRST)).await.unwrap();

    // This process has the key: the file gets a new one, and what is left is worth nothing.
    store.fails(Some(KeyStoreError::Locked));
    let before = file(&world, "desk");
    let report = desk.lock().await.unwrap();
    assert_eq!((report.left, report.still_opens), (Some(KeyStoreError::Locked), false));
    let entry: Value = serde_json::from_str(&before).unwrap();
    let mut forged: Value = serde_json::from_str(&file(&world, "desk")).unwrap();
    forged["sealed"]["entry"] = entry["sealed"]["entry"].clone();
    fs::write(world.folder("desk").join("secrets.json"), forged.to_string()).unwrap();
    store.fails(None);
    assert!(matches!(client(&world, "desk", &store).key_show(), Err(ClientError::KeyStore(_))));

    // Another has not: the entry stays, and it is said that it opens.
    client(&world, "desk", &store).unlock(&secret(FIRST)).await.unwrap();
    store.fails(Some(KeyStoreError::Silent(10)));
    let report = client(&world, "desk", &store).lock().await.unwrap();
    assert_eq!((report.left, report.still_opens), (Some(KeyStoreError::Silent(10)), true));
    assert!(client(&world, "desk", &store).lock().await.unwrap().already);
    let wrong = client(&world, "desk", &store).unlock(&secret(SECOND)).await.unwrap_err();
    assert_eq!(wrong.exit_code(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn locked_and_unlocked_old_mail_opens_and_a_change_that_was_cut_off_is_kept() {
    let world = World::start().await;
    let alice = world.enrolled(ALICE, FIRST).await;
    let note = message(&[ALICE], "note", "to myself");
    alice.send(note).await.unwrap();
    world.arrived(&alice, 1).await;
    alice.rotate(&secret(FIRST), false).await.unwrap();

    // A password that the server may or may not have taken.
    let path = world.folder("alice").join("secrets.json");
    let mut secrets: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let salt = [7; 16];
    let cost = Cost { m_kib: 19_456, t: 2, p: 1 };
    let key = kdf::derive_key(&address(ALICE), &secret(SECOND), &Salt::new(salt).unwrap(), cost).unwrap();
    secrets["pending"] = json!({
        "login_hash": base64::encode([8; 32]),
        "login_salt": base64::encode([9; 16]),
        "cost": { "m_kib": cost.m_kib, "t": cost.t, "p": cost.p },
        "key": { "seed": base64::encode(key.seed().as_slice()), "salt": base64::encode(salt) },
    });
    fs::write(&path, secrets.to_string()).unwrap();
    for password in [FIRST, SECOND] {
        alice.lock().await.unwrap();
        assert_eq!(alice.custody().unwrap(), Custody::Locked);
        let locked = file(&world, "alice");
        for pointer in ["/current/key/seed", "/current/login_hash", "/pending/key/seed", "/retired/0/seed"] {
            let secret = secrets.pointer(pointer).and_then(Value::as_str).unwrap();
            assert!(!locked.contains(secret), "{pointer}");
        }
        assert_eq!(alice.unlock(&secret(password)).await.unwrap(), Custody::File);
        let after: Value = serde_json::from_str(&file(&world, "alice")).unwrap();
        for part in ["current", "pending", "retired"] {
            assert_eq!(after[part], secrets[part], "{part}");
        }
    }
    secrets["pending"] = Value::Null;
    fs::write(&path, secrets.to_string()).unwrap();
    let old = read(&alice, "INBOX", Which::Uid(1)).await;
    assert_eq!(old.verdict, Verdict::Good, "{old:?}");

    // Nothing to unlock with: not locked.
    secrets["current"] = Value::Null;
    fs::write(&path, secrets.to_string()).unwrap();
    let refused = alice.lock().await.unwrap_err().to_string();
    assert!(refused.contains("no password could unlock it"), "{refused}");
    // Sealed, but damaged.
    fs::write(&path, r#"{"version":1,"sealed":{"entry":null,"doors":[],"octets":"AAAA"}}"#).unwrap();
    assert!(matches!(alice.key_show(), Err(ClientError::Locked)));
    assert_eq!(alice.unlock(&secret(FIRST)).await.unwrap_err().exit_code(), 6);
}
