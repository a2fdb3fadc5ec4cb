//! People: each has the client library, an account of their own, and a folder for their device. They enrol, write sealed
//! mail to each other, read, rotate their keys and change their passwords while the servers are killed.
//!
//! After every attempt it is settled what came of it, without asking the device that made it: a new device, which has
//! nothing but a password, must get in with exactly one of the two that may be in force, find the key that belongs to it
//! and no other, and have every retired key in its keyring. An attempt that was reported as done has happened; one that
//! failed has happened whole or not at all.

use super::{
    air::{Airs, Kind, Ticket},
    check::home,
    ledger::{Attempt, Fate, Ledger},
    rng::Rng,
    servers::World,
};
use sealpost_client::{
    client::{AccountReport, Client, EnrolRequest, Environment, Settings},
    error::ClientError,
    list::ListEntry,
    open::Take,
    read::{ReadRequest, Which},
    send::{Outcome, SendRequest},
    ui::Unattended,
};
use sealpost_crypto::kdf::Password;
use sealpost_proto::{
    address::{Address, Mailbox},
    key::PublicKey,
    phc::Cost,
    transcript::{Side, Tap},
};
use sealpost_server::admin::{Request, Response, User};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Write as _,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::time::sleep;

/// How long anything may fail because a server is down: kills leave a server alone for some hundred milliseconds.
const PATIENCE: Duration = Duration::from_secs(120);
/// The first cost of an account, the least there is; a change of password raises it to the default.
const CHEAP: Cost = Cost { m_kib: 19_456, t: 2, p: 1 };

/// Changes of one kind: how they ended.
#[derive(Debug, Clone, Copy, Default)]
pub struct Changes {
    pub tried: usize,
    /// A kill cut the command off.
    pub cut: usize,
    /// Of those that were not reported as done: found done, and found not done.
    pub whole: usize,
    pub undone: usize,
}

impl std::fmt::Display for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { tried, cut, whole, undone } = self;
        write!(f, "{tried} tried, {cut} cut off, unreported ones found whole {whole}, undone {undone}")
    }
}

/// What people did to their accounts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Accounts {
    pub enrolments: Changes,
    pub rotations: Changes,
    pub passwords: Changes,
}

impl std::ops::AddAssign for Changes {
    fn add_assign(&mut self, other: Self) {
        self.tried += other.tried;
        self.cut += other.cut;
        self.whole += other.whole;
        self.undone += other.undone;
    }
}

impl std::ops::AddAssign for Accounts {
    fn add_assign(&mut self, other: Self) {
        self.enrolments += other.enrolments;
        self.rotations += other.rotations;
        self.passwords += other.passwords;
    }
}

/// Somebody with an account.
pub struct Person<'w> {
    pub address: String,
    world: &'w World,
    /// The device's folder.
    dir: PathBuf,
    tap: Arc<Watch>,
    device: Client,
    /// New devices so far.
    devices: usize,
    /// The password in force, and those that were.
    password: String,
    former: Vec<String>,
    /// The keys that were in force, the current one last.
    keys: Vec<PublicKey>,
    /// Messages of which a copy lies in Sent.
    kept: BTreeSet<u64>,
    pub accounts: Accounts,
}

/// Sees the commands of a device as they go out, and so knows which of them a kill cut off.
struct Watch {
    airs: Arc<Airs>,
    server: usize,
    waiting: Mutex<(Option<Ticket>, BTreeSet<Kind>)>,
    /// For whoever looks into a round that failed.
    transcript: Mutex<File>,
}

impl Watch {
    /// What was cut off since the last time.
    fn cut(&self) -> BTreeSet<Kind> {
        let mut waiting = self.waiting.lock().expect("no panic under the lock");
        Self::lose(&mut waiting);
        std::mem::take(&mut waiting.1)
    }

    fn lose((ticket, cut): &mut (Option<Ticket>, BTreeSet<Kind>)) {
        if let Some(ticket) = ticket.take() {
            let kind = ticket.kind();
            if ticket.lost() {
                cut.insert(kind);
            }
        }
    }
}

impl Tap for Watch {
    /// A device waits for one reply at a time.
    fn line(&self, side: Side, text: &str) {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
        let mut transcript = self.transcript.lock().expect("no panic under the lock");
        writeln!(transcript, "{at} {side:?} {text}").expect("written");
        let mut waiting = self.waiting.lock().expect("no panic under the lock");
        match side {
            Side::Server => {
                if let Some(ticket) = waiting.0.take() {
                    ticket.replied();
                }
            }
            Side::Client => {
                Self::lose(&mut waiting);
                let mut words = text.split(' ');
                let kind = match (words.next(), words.next()) {
                    (Some("SETPUBKEY"), _) => Kind::SetPubkey,
                    (Some("XPASSWD"), _) => Kind::Xpasswd,
                    (Some("XENROL"), _) => Kind::Xenrol,
                    (Some("XKEYRING"), Some(_)) => Kind::Xkeyring,
                    _ => return,
                };
                waiting.0 = Some(self.airs.wait(self.server, kind));
            }
            Side::Note => {}
        }
    }
}

/// Whether it may work later. Everything else must not happen, whatever is killed.
fn later(error: &ClientError) -> bool {
    error.exit_code() == 5
}

/// Repeats until it is certain.
async fn certain<T, F: Future<Output = Result<T, ClientError>>>(
    world: &World,
    what: &str,
    mut attempt: impl FnMut() -> F,
) -> Result<T, ClientError> {
    let begin = Instant::now();
    let mut truce = None;
    loop {
        match attempt().await {
            Err(error) if later(&error) => {
                assert!(begin.elapsed() < PATIENCE, "{what}: {error}");
                truce = truce.or_else(|| world.truce(begin));
                sleep(Duration::from_millis(50)).await;
            }
            other => return other,
        }
    }
}

fn word(rng: &mut Rng) -> String {
    format!("{:016x}{:016x}", rng.draw(), rng.draw())
}

fn secret(text: &str) -> Password {
    Password::new(text).expect("a password")
}

impl<'w> Person<'w> {
    /// Somebody who has not enrolled yet.
    pub fn new(world: &'w World, address: &str) -> Self {
        let dir = world.dir.path().join("people").join(address);
        let server = home(address);
        fs::create_dir_all(&dir).expect("a folder");
        let transcript = Mutex::new(File::create(dir.join("transcript")).expect("a file"));
        let (airs, waiting) = (Arc::clone(&world.airs), Mutex::default());
        let tap = Arc::new(Watch { airs, server, waiting, transcript });
        let device = client(world, dir.join("device"), Some(Arc::<Watch>::clone(&tap)));
        Self {
            address: address.to_owned(),
            world,
            dir,
            tap,
            device,
            devices: 0,
            password: String::new(),
            former: Vec::new(),
            keys: Vec::new(),
            kept: BTreeSet::new(),
            accounts: Accounts::default(),
        }
    }

    fn parsed(&self) -> Address {
        Address::parse(&self.address).expect("an address")
    }

    /// Enrols, with the same code and password until it is done.
    pub async fn enrol(&mut self, rng: &mut Rng, code: &str) {
        self.password = word(rng);
        let (begin, mut truce) = (Instant::now(), None);
        self.accounts.enrolments.tried += 1;
        loop {
            let request = EnrolRequest {
                address: self.parsed(),
                code: code.to_owned().into(),
                password: secret(&self.password),
                cost: Some(CHEAP),
                no_keyring: false,
            };
            let done = self.device.enrol(request).await;
            let cut = self.tap.cut();
            let cut = [Kind::Xenrol, Kind::SetPubkey, Kind::Xkeyring].iter().any(|kind| cut.contains(kind));
            self.accounts.enrolments.cut += usize::from(cut);
            match done {
                Ok(report) => {
                    self.keys.push(report.key.key);
                    break;
                }
                Err(error) if later(&error) => {
                    let user = self.user().await;
                    assert!(user.enrolled || !user.has_key, "{}: a key without a login", self.address);
                    *(if user.enrolled {
                        &mut self.accounts.enrolments.whole
                    } else {
                        &mut self.accounts.enrolments.undone
                    }) += 1;
                }
                Err(error) => panic!("{} cannot enrol: {error}", self.address),
            }
            assert!(begin.elapsed() < PATIENCE, "{} did not get to enrol", self.address);
            truce = truce.or_else(|| self.world.truce(begin));
            sleep(Duration::from_millis(20)).await;
        }
        self.settled(None).await;
    }

    /// The account as its administrator sees it.
    async fn user(&self) -> User {
        let begin = Instant::now();
        loop {
            if let Ok(Response::Users { users }) =
                self.world.servers[home(&self.address)].try_admin(Request::UserList).await
            {
                return users.into_iter().find(|user| user.address == self.address).expect("an account");
            }
            assert!(begin.elapsed() < PATIENCE, "no answer to an administrator");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// A new device with nothing but this password: what it found, or `None` where it was not let in.
    async fn new_device(&mut self, password: &str) -> Option<(Client, AccountReport)> {
        self.devices += 1;
        let what = format!("{} on new device {}", self.address, self.devices);
        let device = client(self.world, self.dir.join(format!("device-{}", self.devices)), None);
        let (address, secret) = (self.parsed(), secret(password));
        match certain(self.world, &what, || device.login(&address, &secret)).await {
            Ok(report) => Some((device, report)),
            Err(ClientError::SignIn(_)) => None,
            Err(error) => panic!("{what} cannot log in: {error}"),
        }
    }

    /// Which password is in force, by new devices alone: `new` or the one before; both or none must not be. The key must
    /// go with it. Returns whether the key is another one than before, and with it the password.
    async fn settled(&mut self, new: Option<&str>) -> bool {
        let old = self.password.clone();
        let (with_old, with_new) = match new {
            None => (self.new_device(&old).await, None),
            Some(new) => (self.new_device(&old).await, self.new_device(new).await),
        };
        let changed = with_new.is_some();
        let (with_old, with_new) = (with_old.map(|(_, report)| report), with_new.map(|(_, report)| report));
        let found = match (with_old, with_new) {
            (Some(report), None) | (None, Some(report)) => report,
            (None, None) => panic!("{} can log in with no password", self.address),
            (Some(_), Some(_)) => {
                panic!("{} can log in with the old password and with the new one", self.address)
            }
        };
        let what = &self.address;
        assert!(found.notes.is_empty(), "{what}: {:?}", found.notes);
        let known = self.keys.last().expect("enrolled");
        let other = found.key.key != *known;
        assert!(
            !self.keys[..self.keys.len() - 1].contains(&found.key.key),
            "{what}: an older key is in force again"
        );
        if new.is_some() {
            assert_eq!(
                changed, other,
                "{what}: the password was changed without the key, or the key without it"
            );
        }
        if other {
            self.keys.push(found.key.key);
        }
        assert_eq!(
            found.key.retired.iter().map(|retired| &retired.key).collect::<BTreeSet<_>>(),
            self.keys[..self.keys.len() - 1].iter().collect(),
            "{what}: the keyring does not hold the retired keys"
        );
        if changed && let Some(new) = new {
            self.former.push(std::mem::replace(&mut self.password, new.to_owned()));
        }
        other
    }

    /// `key rotate`, once. Returns whether it was reported as done.
    pub async fn rotate(&mut self) -> bool {
        let done = self.device.rotate(&secret(&self.password), false).await;
        let cut = self.tap.cut().contains(&Kind::SetPubkey);
        let changed = self.settled(None).await;
        let reported = reported(&self.address, "rotate", &done, changed, self.keys.last());
        count(&mut self.accounts.rotations, cut, reported, changed);
        reported
    }

    /// `passwd`, once. Returns whether it was reported as done.
    pub async fn passwd(&mut self, rng: &mut Rng) -> bool {
        let new = word(rng);
        let done = self.device.passwd(&secret(&self.password), &secret(&new)).await;
        let cut = self.tap.cut().contains(&Kind::Xpasswd);
        let changed = self.settled(Some(&new)).await;
        let reported = reported(&self.address, "change the password", &done, changed, self.keys.last());
        count(&mut self.accounts.passwords, cut, reported, changed);
        reported
    }

    /// A sealed message to somebody, once.
    pub async fn write(&mut self, ledger: &Ledger, seed: u64, message: u64, to: &str) -> Fate {
        let attempt = Attempt {
            message,
            sealed: true,
            server: home(&self.address),
            from: self.address.clone(),
            to: vec![to.to_owned()],
            size: 0,
            fate: None,
        };
        let number = ledger.begin(attempt);
        let request = SendRequest {
            to: vec![Mailbox::parse(to).expect("an address")],
            subject: Some(subject(number)),
            text: text(seed, number),
            ..SendRequest::default()
        };
        let fate = match self.device.send(request).await {
            Ok(report) => {
                let sealed = report.recipients.iter().all(|r| r.outcome == Outcome::Sealed);
                assert!(sealed, "{}: not sealed: {report:?}", self.address);
                if !report.notes.iter().any(|note| note.contains("no copy could be kept in Sent")) {
                    self.kept.insert(number);
                }
                Fate::Answered
            }
            Err(error) if later(&error) => {
                if error.to_string().contains("it is not certain") {
                    Fate::Cut
                } else {
                    Fate::Broken
                }
            }
            // While the other server is down, one's own may know the key, whose word is not enough for a new contact.
            Err(ClientError::NotSent(report))
                if report.recipients.iter().all(|r| r.why.contains("could be asked")) =>
            {
                Fate::Broken
            }
            Err(error) => panic!("{} cannot write to {to}: {error}", self.address),
        };
        self.tap.cut();
        ledger.end(number, fate);
        fate
    }

    /// `list`, which opens what is new.
    pub async fn look(&self) {
        match self.device.list("INBOX").await {
            Ok(_) => {}
            Err(error) if later(&error) => {}
            Err(error) => panic!("{} cannot look: {error}", self.address),
        }
        self.tap.cut();
    }

    /// In the end, with the servers up: the device that did everything still works, the last
    /// former passwords do not, and a new
    /// device opens every message there is. Numbers of the attempts by UID.
    pub async fn last_look(&mut self, seed: u64) -> BTreeMap<u32, u64> {
        self.device.list("INBOX").await.unwrap_or_else(|error| panic!("{}'s device: {error}", self.address));
        let current = self.device.key_show().expect("a key");
        assert_eq!(Some(&current.key), self.keys.last(), "{}: the device has another key", self.address);
        for former in self.former.iter().rev().take(2).cloned().collect::<Vec<_>>() {
            assert!(
                self.new_device(&former).await.is_none(),
                "{}: a former password is in force",
                self.address
            );
        }
        let password = self.password.clone();
        let (device, report) = self.new_device(&password).await.expect("let in");
        assert_eq!(report.retired_keys + 1, self.keys.len(), "{}: retired keys are missing", self.address);
        let sent = all(&device, "Sent").await;
        let sent: BTreeSet<u64> = sent.iter().filter_map(|entry| number_of(&entry.subject)).collect();
        assert!(sent.is_superset(&self.kept), "{}: copies are missing in Sent", self.address);
        // Some are opened by `read`, all by `list`.
        let entries = all(&device, "INBOX").await;
        let mut numbers = BTreeMap::new();
        for (at, entry) in entries.iter().enumerate() {
            let what = format!("{}, UID {}", self.address, entry.uid);
            let verdict = entry.verdict.unwrap_or_else(|| panic!("{what} was not opened"));
            assert!(!verdict.is_withheld(), "{what} is withheld: {verdict:?}");
            let number = number_of(&entry.subject)
                .unwrap_or_else(|| panic!("{what} is no message of ours: {entry:?}"));
            if at % 10 == 0 {
                let which = Which::Uid(entry.uid);
                let request =
                    ReadRequest { mailbox: "INBOX".to_owned(), which, force: false, take: Take::Nothing };
                let read = device.read(request).await.unwrap_or_else(|error| panic!("{what}: {error}"));
                assert!(read.sealed, "{what} is no sealed message: {read:?}");
                let content =
                    read.content.unwrap_or_else(|| panic!("{what} is withheld: {:?}", read.verdict));
                assert_eq!(content.text.trim_end(), text(seed, number), "{what} was changed");
            }
            numbers.insert(entry.uid, number);
        }
        numbers
    }
}

/// Everything in a mailbox, opened: `list` opens the newest hundred of what is not open yet.
async fn all(device: &Client, mailbox: &str) -> Vec<ListEntry> {
    let mut entries = device.list(mailbox).await.expect("a list");
    for _ in 0..entries.len() / 100 {
        entries = device.list(mailbox).await.expect("a list");
    }
    entries
}

/// Whether the device reported the change as done; then it must have been, with the key it says.
fn reported(
    who: &str,
    what: &str,
    done: &Result<AccountReport, ClientError>,
    changed: bool,
    key: Option<&PublicKey>,
) -> bool {
    match done {
        Ok(report) => {
            assert!(changed, "{who}: reported as done and not done: {what}");
            assert_eq!(Some(&report.key.key), key, "{who}: another key than reported");
            true
        }
        Err(error) if later(error) => false,
        Err(error) => panic!("{who} cannot {what}: {error}"),
    }
}

fn count(to: &mut Changes, cut: bool, reported: bool, changed: bool) {
    to.tried += 1;
    to.cut += usize::from(cut);
    to.whole += usize::from(!reported && changed);
    to.undone += usize::from(!reported && !changed);
}

/// The subject of an attempt, which is inside.
fn subject(number: u64) -> String {
    format!("attempt {number}")
}

fn number_of(subject: &str) -> Option<u64> {
    subject.strip_prefix("attempt ")?.parse().ok()
}

/// Its text.
fn text(seed: u64, number: u64) -> String {
    let mut rng = Rng::new(seed ^ (number << 24));
    (0..=rng.below(40)).map(|_| word(&mut rng)).collect::<Vec<_>>().join("\n")
}

/// The library as a program would use it.
fn client(world: &World, dir: PathBuf, tap: Option<Arc<dyn Tap>>) -> Client {
    let settings = Settings {
        dir,
        dns: Some(world.dns.address()),
        ca_file: Some(world.dir.path().join("ca.pem")),
        mx_port: Some(world.servers[0].ports[0]),
    };
    Client::new(settings, Environment { tap, ..Environment::system(Arc::new(Unattended)) })
}
