//! `sealpost backup` of a server under load (mail comes, mail goes, keys change), `sealpost restore`, and a server on what came back.

use crate::server::{ALICE, ALL_PORTS, Client, Server, Setup};
use crate::support::{eventually, run, sealpost, stderr, succeed};
use sealpost_crypto::key::SecretKey;
use sealpost_proto::key::PublicKey;
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    process::Command,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// One of eight is so large that it becomes a file of its own.
fn message(tag: u64) -> Vec<u8> {
    let lines = if tag.is_multiple_of(8) { 4000 } else { 20 };
    let body = format!("{tag} {}\r\n", "x".repeat(60)).repeat(lines);
    format!("From: x@example.com\r\nSubject: number {tag}\r\n\r\n{body}").into_bytes()
}

/// The tags of all messages of a mailbox, each read in full and compared.
fn read_all(alice: &mut Client, mailbox: &str) -> BTreeSet<u64> {
    let mut tags = BTreeSet::new();
    for octets in alice.messages(mailbox, "BODY.PEEK[]") {
        let text = String::from_utf8(octets).expect("ASCII");
        let (_, rest) = text.split_once("Subject: number ").expect("ours");
        let tag: u64 = rest.split("\r\n").next().expect("a line").parse().expect("a tag");
        assert!(text.as_bytes().ends_with(&message(tag)), "number {tag} has other octets");
        assert!(tags.insert(tag), "number {tag} is there twice");
    }
    tags
}

fn uid_validity(alice: &mut Client) -> u32 {
    let status = alice.imap("STATUS INBOX (UIDVALIDITY)");
    let (_, rest) = status.split_once("UIDVALIDITY ").expect("a number");
    rest.split(')').next().expect("a number").parse().expect("a number")
}

const BOB: &str = "bob@example.net";
/// Messages in the mailbox that is emptied meanwhile, numbers 1 to this.
const OLD: u64 = 150;

fn key(n: u32) -> PublicKey {
    let mut seed = [0; 32];
    seed[..4].copy_from_slice(&n.to_be_bytes());
    SecretKey::from_seed(seed).public()
}

/// What was acknowledged so far.
#[derive(Default, Clone)]
struct Done {
    delivered: BTreeSet<u64>,
    expunged: BTreeSet<u64>,
    /// Bob's keys, in order, each with its salt.
    keys: Vec<(u32, String)>,
}

/// Things that go on until told to stop, or some time.
struct Load<'a> {
    setup: &'a Setup,
    server: &'a Server,
    stop: AtomicBool,
    next: AtomicU64,
    done: Mutex<Done>,
}

impl Load<'_> {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::SeqCst)
    }
    fn done(&self) -> MutexGuard<'_, Done> {
        self.done.lock().expect("nobody panicked")
    }

    fn deliver(&self) {
        let mut client = self.server.smtp();
        client.smtp("EHLO client.example");
        // Bounded, however slow the backup is.
        while self.goes_on() && self.next.load(Ordering::SeqCst) < 20_000 {
            let tag = self.next.fetch_add(1, Ordering::SeqCst);
            let reply = client.mail(ALICE, &message(tag));
            assert!(reply.starts_with("250 2.0.0"), "{reply}");
            self.done().delivered.insert(tag);
        }
    }

    fn expunge(&self) {
        let mut alice = self.server.alice(self.setup);
        alice.imap("SELECT Old");
        for uid in 1..OLD {
            if !self.goes_on() {
                break;
            }
            assert!(alice.imap(&format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)")).contains("a OK"));
            assert!(alice.imap(&format!("UID EXPUNGE {uid}")).contains("a OK"));
            self.done().expunged.insert(uid);
        }
    }

    fn rotate(&self) {
        let mut bob = self.server.signed_in(self.setup, BOB, 2);
        for n in 1..10_000 {
            if !self.goes_on() {
                break;
            }
            let salt = bob.smtp("RSTSALT");
            assert!(salt.starts_with("220 SALT "), "{salt}");
            assert_eq!(bob.smtp(&format!("SETPUBKEY {}", key(n).wire())), "250 OK\r\n");
            self.done().keys.push((n, salt));
        }
    }
}

#[test]
fn a_backup_under_load_holds_all_that_was_acknowledged_before() {
    let setup = Setup::new("", ALL_PORTS);
    setup.account(ALICE);
    let server = setup.start();
    setup.enrol(&server, BOB, 2);
    let mut alice = server.alice(&setup);
    for tag in 1..=OLD {
        assert!(alice.append(&message(tag)).contains("a OK"));
    }
    alice.imap("CREATE Old");
    alice.imap("SELECT INBOX");
    assert!(alice.imap("UID MOVE 1:* Old").contains("a OK"));
    let load = Load {
        setup: &setup,
        server: &server,
        stop: AtomicBool::new(false),
        next: AtomicU64::new(OLD + 1),
        done: Mutex::default(),
    };
    let file = setup.path("backup.tar");
    let (before, during) = std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| load.deliver());
        }
        scope.spawn(|| load.expunge());
        scope.spawn(|| load.rotate());
        eventually("some of everything", || {
            let done = load.done();
            (done.delivered.len() >= 150 && done.expunged.len() >= 10 && done.keys.len() >= 10).then_some(())
        });
        let before = load.done().clone();
        let output = run(setup.admin(&["backup"]).arg(&file));
        let after = load.done().delivered.len();
        load.stop.store(true, Ordering::SeqCst);
        assert!(output.status.success(), "{}", stderr(&output));
        let during = after - before.delivered.len();
        (before, during)
    });
    let after = load.done().clone();
    assert!(during > 0, "deliveries stood still during the backup");
    assert_eq!(fs::metadata(&file).expect("written").permissions().mode() & 0o777, 0o600);
    assert_eq!(
        fs::read_dir(setup.path(""))
            .expect("lists")
            .flatten()
            .filter(|f| f.file_name().to_string_lossy().starts_with(".tmp"))
            .count(),
        0,
        "no temporary file is left"
    );
    let validity = uid_validity(&mut server.alice(&setup));
    assert!(server.end().success());

    // Anybody's tools read it.
    let listed = succeed(Command::new("tar").arg("-tf").arg(&file));
    assert!(listed.starts_with("sealpost-backup\nstore.db\nobjects/") && listed.ends_with("SHA256SUMS\n"));
    let unpacked = setup.path("unpacked");
    fs::create_dir(&unpacked).expect("a folder");
    succeed(Command::new("tar").arg("-xf").arg(&file).arg("-C").arg(&unpacked));
    succeed(Command::new("sha256sum").args(["--check", "--quiet", "SHA256SUMS"]).current_dir(&unpacked));

    let refused = run(sealpost().arg("restore").arg(&file).arg("--config").arg(setup.config()));
    assert!(!refused.status.success() && stderr(&refused).contains("not empty"), "{}", stderr(&refused));
    fs::rename(setup.path("data"), setup.path("lost")).expect("moved");
    let json = succeed(sealpost().args(["--json", "restore"]).arg(&file).arg("--config").arg(setup.config()));
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["accounts"], 2);
    let server = setup.start();
    let mut alice = server.alice(&setup);
    let there = read_all(&mut alice, "INBOX");
    let lost: Vec<_> = before.delivered.difference(&there).collect();
    assert!(lost.is_empty(), "acknowledged before the backup and not in it: {lost:?}");
    assert!(uid_validity(&mut alice) > validity);
    // What was expunged before is gone, what nobody touched is there.
    let old = read_all(&mut alice, "Old");
    assert!(old.is_disjoint(&before.expunged), "expunged before the backup and in it");
    let untouched: BTreeSet<u64> = (1..=OLD).filter(|uid| !after.expunged.contains(uid)).collect();
    assert!(old.is_superset(&untouched), "lost: {:?}", untouched.difference(&old));
    // The key is one that was published, no older than the last one before, with the salt that belongs to it; and its
    // owner can sign in.
    let published = server.submission(&setup).smtp(&format!("PUBKEY {BOB}"));
    let salt = server.signed_in(&setup, BOB, 2).smtp("GETSALT");
    let is_published = |n: u32| published == format!("220 ed25519 {}\r\n", key(n).wire());
    let (n, its_salt) = after.keys.iter().find(|(n, _)| is_published(*n)).expect("one of Bob's keys");
    assert_eq!(&salt, its_salt, "key {n} with another salt");
    assert!(*n >= before.keys.last().expect("some").0, "a key from before the backup is lost");
    // It is a server like any other.
    let mut client = server.smtp();
    client.smtp("EHLO client.example");
    assert!(client.mail(ALICE, &message(1_000_000)).starts_with("250"));
    assert!(read_all(&mut alice, "INBOX").contains(&1_000_000));
    assert!(server.end().success());
}

#[test]
fn backups_without_a_server_and_backups_that_fail() {
    let setup = Setup::new("", ALL_PORTS);
    let file = setup.path("backup.tar");
    let none = run(setup.admin(&["backup"]).arg(&file));
    assert!(!none.status.success() && stderr(&none).contains("there is no store"), "{}", stderr(&none));
    assert!(!file.exists() && !setup.path("data").exists(), "nothing was made");
    setup.account(ALICE);
    succeed(setup.admin(&["backup"]).arg(&file));
    let first = fs::read(&file).expect("a backup");
    // To another place, with nothing but the file.
    let place = setup.path("elsewhere");
    succeed(sealpost().arg("restore").arg(&file).arg("--data-dir").arg(&place));
    assert_eq!(fs::metadata(&place).expect("made").permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(place.join("store.db")).expect("made").permissions().mode() & 0o777, 0o600);
    // A failure leaves the backup that was there.
    let server = setup.start();
    fs::remove_dir_all(setup.path("data/tmp")).expect("removed");
    let failed = run(setup.admin(&["backup"]).arg(&file));
    assert!(!failed.status.success());
    assert_eq!(fs::read(&file).expect("still there"), first);
    drop(server);
    // One that was cut short is refused.
    fs::write(&file, &first[..first.len() / 2]).expect("cut");
    let cut = run(sealpost().arg("restore").arg(&file).arg("--data-dir").arg(setup.path("cut")));
    assert!(!cut.status.success() && stderr(&cut).contains("cannot be restored"), "{}", stderr(&cut));
}
