//! [`Client`]: what the command line, the demo and a bridge call. Each method is one command: it takes the folder's
//! lock, loads the state, acts, and writes the state back, so that a crash or a second command never leaves half.

use crate::{
    error::ClientError,
    keystore::{KeyStore, NoKeyStore},
    ui::Ui,
    vault::Vault,
};
use sealpost_crypto::{kdf::Password, recovery::RecoveryKey};
use sealpost_proto::{
    address::{Address, Mailbox},
    phc::Cost,
    time::{Clock, SystemClock},
    transcript::Tap,
};
use std::{net::SocketAddr, path::PathBuf, sync::Arc};
use zeroize::Zeroizing;

pub use crate::transfer::{ExportRequest, ImportRequest, TransferReport};
pub use crate::{
    answer::{Carry, Link, MessageAt, Original, Thread},
    compare::{Comparison, Heard, HeardError, Match},
    contact::{Accepted, ContactReport},
    keys::{ExportedKey, KeyReport, LookupReport, Published, RetiredReport},
    list::ListEntry,
    lock::{Custody, LockReport},
    read::{ReadReport, ReadRequest, Which},
    recovery::{RecoveredReport, RecoveryReport},
    send::{Outcome, Policy, RecipientReport, SendReport, SendRequest},
    verify::VerifyReport,
};

/// Where the folder is, and what the command line says about the network. `enrol` and `login` remember the last
/// three; on other commands they hold for that command only.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The client's folder.
    pub dir: PathBuf,
    /// `--dns`
    pub dns: Option<SocketAddr>,
    /// `--ca-file`
    pub ca_file: Option<PathBuf>,
    /// `--mx-port`
    pub mx_port: Option<u16>,
}

/// Randomness, injected so that tests can repeat a run.
pub trait Random: Send + Sync {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        rand_core::RngCore::fill_bytes(&mut rand_core::OsRng, bytes);
    }
}

/// What the library takes from outside.
#[derive(Clone)]
pub struct Environment {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Salts, Message-IDs, boundaries.
    pub random: Arc<dyn Random>,
    /// The person in front.
    pub ui: Arc<dyn Ui>,
    /// Where conversations with SMTP servers are recorded, secrets replaced.
    pub tap: Option<Arc<dyn Tap>>,
    /// Where the key of this device's secrets is kept.
    pub key_store: Arc<dyn KeyStore>,
}

impl Environment {
    /// The machine's clock and randomness, and this person; no key store.
    pub fn system(ui: Arc<dyn Ui>) -> Self {
        Self {
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            ui,
            tap: None,
            key_store: Arc::new(NoKeyStore),
        }
    }
}

/// An account's client. Cheap to make; holds nothing open between commands, and of the secrets at most the key that the
/// key store gave it.
#[derive(Clone)]
pub struct Client {
    pub(crate) settings: Settings,
    pub(crate) env: Environment,
    pub(crate) vault: Arc<Vault>,
}

/// What `enrol` needs.
pub struct EnrolRequest {
    /// The account's primary address.
    pub address: Address,
    /// One-time code of the administrator.
    pub code: Zeroizing<String>,
    /// The password; show or store a generated one before the call, it is in force afterwards. Strength is checked.
    pub password: Password,
    /// Cost; the default where `None`.
    pub cost: Option<Cost>,
    /// Keep retired keys and trust on this device alone.
    pub no_keyring: bool,
}

/// What `enrol`, `login`, `key rotate` and `passwd` end with.
#[derive(Debug, Clone)]
pub struct AccountReport {
    /// Own key, as `key show` has it.
    pub key: KeyReport,
    /// The home server's name.
    pub server: String,
    /// Retired keys at hand, so that old mail stays readable.
    pub retired_keys: usize,
    /// Contacts with a pinned key.
    pub contacts: usize,
    /// The keyring of a forgotten password waits for its recovery kit.
    pub waits_for_kit: bool,
    /// What else must be said, in words.
    pub notes: Vec<String>,
}

impl Client {
    /// Does not touch the disk yet.
    pub fn new(settings: Settings, env: Environment) -> Self {
        let vault = Arc::new(Vault::new(Arc::clone(&env.key_store)));
        Self { settings, env, vault }
    }

    /// `enrol`: first use of an account with its code. Repeatable after a crash with the same password.
    pub async fn enrol(&self, request: EnrolRequest) -> Result<AccountReport, ClientError> {
        self.enrol_account(request).await
    }
    /// `login`: a new device with nothing but the password, or this one again after the key was rotated elsewhere.
    pub async fn login(&self, address: &Address, password: &Password) -> Result<AccountReport, ClientError> {
        self.login_account(address, password).await
    }
    /// `key rotate`: a new key from the same password and a new salt.
    pub async fn rotate(&self, password: &Password, no_keyring: bool) -> Result<AccountReport, ClientError> {
        self.rotate_key(password, no_keyring).await
    }
    /// `passwd`: a new password, which makes a new key as well. `current` is checked first.
    pub async fn passwd(&self, current: &Password, new: &Password) -> Result<AccountReport, ClientError> {
        self.change_password(current, new).await
    }

    /// `lock`: from now on only the password opens what this device keeps.
    pub async fn lock(&self) -> Result<LockReport, ClientError> {
        self.lock_device().await
    }
    /// `unlock`: commands need no password again. Needs no network, and none of it where nothing is locked.
    pub async fn unlock(&self, password: &Password) -> Result<Custody, ClientError> {
        self.unlock_device(password).await
    }
    /// Moves secrets that lie in the open into the key store, where there is one.
    pub async fn put_away(&self) -> Result<Custody, ClientError> {
        self.put_secrets_away().await
    }
    /// Where the secrets of this device are, without opening them.
    pub fn custody(&self) -> Result<Custody, ClientError> {
        self.show_custody()
    }

    /// `send`. [`ClientError::NotSent`] holds the same report where nothing was sent.
    pub async fn send(&self, request: SendRequest) -> Result<SendReport, ClientError> {
        self.send_message(request).await
    }
    /// A message to be answered or forwarded.
    pub async fn original(&self, at: &MessageAt, carry: Carry) -> Result<Original, ClientError> {
        self.original_message(at, carry).await
    }
    /// The mailboxes that hold messages of their own, INBOX first.
    pub async fn mailboxes(&self) -> Result<Vec<String>, ClientError> {
        self.list_mailboxes().await
    }
    /// `list`: newest last.
    pub async fn list(&self, mailbox: &str) -> Result<Vec<ListEntry>, ClientError> {
        self.list_messages(mailbox).await
    }
    /// `read`: fetch, verify, open, judge.
    pub async fn read(&self, request: ReadRequest) -> Result<ReadReport, ClientError> {
        self.read_message(request).await
    }

    /// `verify`: why a message in a file gets its verdict. Asks nobody, changes nothing, works without an account too.
    pub async fn verify(&self, message: std::fs::File) -> Result<VerifyReport, ClientError> {
        self.verify_message(message).await
    }

    /// `import`: mail of files or of another server into the account, as it is. May be stopped and called again.
    pub async fn import(&self, request: ImportRequest) -> Result<TransferReport, ClientError> {
        self.import_mail(request).await
    }
    /// `export`: the account's mail as files. May be stopped and called again.
    pub async fn export(&self, request: ExportRequest) -> Result<TransferReport, ClientError> {
        self.export_mail(request).await
    }

    /// `key show`: from the folder, without network.
    pub fn key_show(&self) -> Result<KeyReport, ClientError> {
        self.show_key()
    }
    /// `key lookup`: what the address's own server says now; trusts and stores nothing.
    pub async fn key_lookup(&self, address: &Mailbox) -> Result<LookupReport, ClientError> {
        self.lookup_key(address).await
    }
    /// `key export`: OpenSSH private keys, the current one first; `all` adds the retired ones.
    pub fn key_export(&self, all: bool) -> Result<Vec<ExportedKey>, ClientError> {
        self.export_keys(all)
    }

    /// `recovery show`: whether there is a kit, from the folder.
    pub fn recovery(&self) -> Result<RecoveryReport, ClientError> {
        self.show_recovery()
    }
    /// A new recovery key; show or store its page before it is put in force by [`Client::recovery_make`].
    pub fn recovery_key(&self) -> RecoveryKey {
        self.new_recovery_key()
    }
    /// `recovery make`: from now on keyrings are sealed to this kit as well, and to no earlier one.
    pub async fn recovery_make(&self, kit: &RecoveryKey) -> Result<RecoveryReport, ClientError> {
        self.make_recovery(kit).await
    }
    /// `recovery use`: takes over what the keyring of a forgotten password holds.
    pub async fn recovery_use(&self, kit: &RecoveryKey) -> Result<RecoveredReport, ClientError> {
        self.use_recovery(kit).await
    }
    /// `recovery revoke`: keyrings are sealed to no kit from now on. `lost` gives up a keyring that waits for one.
    pub async fn recovery_revoke(&self, lost: bool) -> Result<RecoveryReport, ClientError> {
        self.revoke_recovery(lost).await
    }

    /// `contact list`.
    pub fn contacts(&self) -> Result<Vec<ContactReport>, ClientError> {
        self.list_contacts()
    }
    /// `contact show`.
    pub fn contact(&self, address: &Mailbox) -> Result<ContactReport, ClientError> {
        self.show_contact(address)
    }
    /// `contact compare`: both keys, to be held against what the contact says. From the folder, without network.
    pub fn contact_compare(&self, address: &Mailbox) -> Result<Comparison, ClientError> {
        self.compare_contact(address)
    }
    /// `contact accept`: asks [`crate::ui::Question::AcceptKey`], unless `fingerprint` (`SHA256:…`) was given and is
    /// that of the key; then pins it.
    pub async fn contact_accept(
        &self,
        address: &Mailbox,
        fingerprint: Option<&str>,
    ) -> Result<Accepted, ClientError> {
        self.accept_contact(address, fingerprint).await
    }
    /// `contact forget`: returns what was forgotten; `None` where only the domain's offers were remembered.
    pub async fn contact_forget(&self, address: &Mailbox) -> Result<Option<ContactReport>, ClientError> {
        self.forget_contact(address).await
    }
}
