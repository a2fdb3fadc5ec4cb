//! The disk is full: what is said, what is kept, and that all goes on by itself when there is room again. The disk is a
//! real one, filled to the last octet.

use crate::disk::SmallDisk;
use crate::mx::{Dns, Mx, usual};
use crate::server::{ALICE, ALL_PORTS, Client, Server, Setup};
use crate::support::{eventually, run, sealpost, stderr, succeed};
use sealpost_crypto::key::SecretKey;
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{Arc, OnceLock, Weak},
};

const FULL: &str = "452 4.3.1 Insufficient system storage\r\n";
/// Room for what a test writes, and little more.
const DISK_KIB: u32 = 48 * 1024;
/// Octets of a body: in the database in a few pages, in many, and in a file of its own.
const SIZES: [usize; 3] = [500, 90_000, 300_000];
/// KiB that are left, from nothing to enough for everything. Some let the file be written and not the row behind it.
const LEVELS: [u64; 12] = [0, 4, 8, 16, 48, 100, 140, 296, 300, 304, 400, 2_000];

fn setup(top: &str) -> (Setup, SmallDisk) {
    let setup = Setup::new(top, ALL_PORTS);
    let disk = SmallDisk::new(&setup.path("data"), DISK_KIB);
    setup.account(ALICE);
    (setup, disk)
}

fn message(tag: usize, octets: usize) -> Vec<u8> {
    let head = format!("From: {ALICE}\r\nSubject: number {tag}\r\n\r\n");
    let line = format!("{tag} {}\r\n", "x".repeat(70));
    (head + &line.repeat(octets / line.len() + 1)).into_bytes()
}

/// Files below a folder.
fn files(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    entries.map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { 1 }).sum()
}

#[test]
fn mail_is_taken_whole_or_not_at_all_however_little_room_there_is() {
    let (setup, disk) = setup("");
    let server = setup.start();
    let mut kept: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    let (mut taken, mut refused) = (BTreeMap::new(), BTreeMap::new());
    let mut tag = 0;
    for kib in LEVELS {
        for size in SIZES {
            for way in ["DATA", "BDAT", "APPEND"] {
                // Anew each time: what was taken has used the room up.
                disk.fill(kib * 1024);
                tag += 1;
                let message = message(tag, size);
                let reply = if way == "APPEND" {
                    server.alice(&setup).append(&message)
                } else {
                    let mut client = server.smtp();
                    client.smtp("EHLO client.example");
                    client.post("x@example.com", ALICE, &message, way == "BDAT")
                };
                let count = if reply.starts_with("250 2.0.0 OK") || reply.contains("a OK [APPENDUID") {
                    kept.insert(tag, message);
                    &mut taken
                } else {
                    let full = reply == FULL
                        || reply.starts_with("a NO [UNAVAILABLE] the disk is full; free some space");
                    assert!(full, "{kib} KiB left, {size} octets by {way}: {reply}\n{}", server.log());
                    &mut refused
                };
                *count.entry((size, way)).or_insert(0) += 1;
                assert_eq!(files(&setup.path("data/tmp")), 0, "{kib} KiB left, {size} octets by {way}");
            }
        }
        // On a full disk all that was acknowledged can be read, and nothing else is there.
        disk.fill(0);
        there(&mut server.alice(&setup), &kept);
        let large = kept.values().filter(|message| message.len() > 128 * 1024).count();
        assert_eq!(files(&setup.path("data/objects")), large, "{kib} KiB left: files without a message");
    }
    for key in SIZES.iter().flat_map(|size| ["DATA", "BDAT", "APPEND"].map(|way| (*size, way))) {
        assert!(taken.contains_key(&key) && refused.contains_key(&key), "{key:?}: {taken:?} {refused:?}");
    }
    // A session that was refused goes on with the first message for which there is room, every time, and nobody starts
    // anything again.
    let mut client = server.smtp();
    client.smtp("EHLO client.example");
    for round in 0..20 {
        let message = message(1_000 + round, SIZES[round % SIZES.len()]);
        disk.fill(0);
        assert_eq!(client.post("x@example.com", ALICE, &message, round % 2 == 0), FULL);
        disk.clear();
        let reply = client.post("x@example.com", ALICE, &message, round % 2 == 0);
        assert!(reply.starts_with("250 2.0.0"), "{reply}\n{}", server.log());
        kept.insert(1_000 + round, message);
    }
    assert!(server.end().success());
    let server = setup.start();
    there(&mut server.alice(&setup), &kept);
    assert!(server.end().success());
}

/// INBOX holds these messages, octet for octet, and no others; also for a program that does not say PEEK.
fn there(alice: &mut Client, kept: &BTreeMap<usize, Vec<u8>>) {
    for item in ["BODY.PEEK[]", "BODY[]"] {
        let found = alice.messages("INBOX", item);
        assert_eq!(found.len(), kept.len(), "{item}");
        for message in kept.values() {
            assert!(found.iter().any(|found| found.ends_with(message)), "{item}: one is lost or changed");
        }
    }
}

#[test]
fn a_server_starts_on_a_full_disk_and_says_so_where_it_cannot() {
    let (setup, disk) = setup("");
    assert!(setup.start().end().success());
    // The index of the log is made anew where it is not there, as after a copy by hand.
    fs::remove_file(setup.path("data/store.db-shm")).expect("removed");
    disk.fill(0);
    let said = setup.refused();
    assert!(said.contains("the disk is full; free some space"), "{said}");
    disk.clear();
    let server = setup.start();
    let mut client = server.smtp();
    client.smtp("EHLO client.example");
    assert!(client.post("x@example.com", ALICE, &message(1, 500), false).starts_with("250"));
    assert!(server.end().success());
    // Now it is, and people can read.
    disk.fill(0);
    let server = setup.start();
    there(&mut server.alice(&setup), &BTreeMap::from([(1, message(1, 500))]));
    let mut client = server.smtp();
    client.smtp("EHLO client.example");
    assert_eq!(client.post("x@example.com", ALICE, &message(2, 500), false), FULL);
    disk.clear();
    assert!(client.post("x@example.com", ALICE, &message(2, 500), false).starts_with("250"));
    assert!(server.end().success());
}

fn set_key(n: u8) -> String {
    format!("SETPUBKEY {}", SecretKey::from_seed([n; 32]).public().wire())
}

/// Logins work, and what must be written down is written whole or not at all: salts, keys, keyrings, passwords.
#[test]
fn keys_and_passwords_stay_as_they_are() {
    const BOB: &str = "bob@example.net";
    let (setup, disk) = setup("");
    let server = setup.start();
    setup.enrol(&server, BOB, 2);
    disk.fill(0);
    let mut bob = server.signed_in(&setup, BOB, 2);
    let salt = bob.smtp("GETSALT");
    assert!(salt.starts_with("220 SALT "), "{salt}");
    // Nothing is published yet: the salt would be in effect at once.
    assert_eq!(bob.smtp("RSTSALT"), FULL);
    assert_eq!(server.signed_in(&setup, BOB, 2).smtp("GETSALT"), salt);
    assert_eq!(bob.smtp(&set_key(1)), FULL);
    let asked = format!("PUBKEY {BOB}");
    assert!(server.submission(&setup).smtp(&asked).starts_with("550 "));
    bob.send("XKEYRING none 5\r\nhello");
    assert_eq!(bob.reply(), FULL);
    assert!(bob.smtp("XKEYRING").starts_with("550 "));
    // The same session, with room.
    disk.clear();
    assert_eq!(bob.smtp(&set_key(1)), "250 OK\r\n");
    let published = server.submission(&setup).smtp(&asked);
    assert!(published.starts_with("220 ed25519 "), "{published}");
    // A rotation: the pending salt lives in the session and needs no room, the new key does.
    disk.fill(0);
    let pending = bob.smtp("RSTSALT");
    assert!(pending.starts_with("220 SALT ") && pending != salt, "{pending}");
    assert_eq!(bob.smtp(&set_key(2)), FULL);
    assert_eq!(server.submission(&setup).smtp(&asked), published);
    assert_eq!(
        server.signed_in(&setup, BOB, 2).smtp("GETSALT"),
        salt,
        "the salt of the key that is published"
    );
    disk.clear();
    assert_eq!(bob.smtp("GETSALT"), pending, "the rotation is still under way");
    assert_eq!(bob.smtp(&set_key(2)), "250 OK\r\n");
    assert_ne!(server.submission(&setup).smtp(&asked), published);
    assert_eq!(server.signed_in(&setup, BOB, 2).smtp("GETSALT"), pending);
    // An administrator is told as well, and nothing is half made.
    disk.fill(0);
    let refused = run(&mut setup.admin(&["user", "add", "carol@example.net"]));
    assert!(
        !refused.status.success() && stderr(&refused).contains("the disk is full"),
        "{}",
        stderr(&refused)
    );
    disk.clear();
    succeed(&mut setup.admin(&["user", "add", "carol@example.net"]));
    assert!(server.end().success());
}

fn queue(setup: &Setup) -> String {
    succeed(&mut setup.admin(&["queue", "list"]))
}

/// An MX that calls back before it answers some command, and a server with a small disk that relays to it.
fn relaying(
    answer: impl Fn(&str) -> &'static str + Send + Sync + 'static,
) -> (Setup, Arc<SmallDisk>, Mx, Dns) {
    let mx = Mx::start(([127, 0, 0, 1], 0).into(), answer);
    let dns = Dns::leading_to(&mx);
    let top = dns.config(mx.address.port());
    let (setup, disk) = setup(&top);
    (setup, Arc::new(disk), mx, dns)
}

fn submit(server: &Server, setup: &Setup, tag: usize, size: usize) -> String {
    let mut alice = server.alice_writes(setup);
    alice.post(ALICE, "bob@example.com", &message(tag, size), tag.is_multiple_of(2))
}

#[test]
fn mail_for_elsewhere_waits_with_its_sender() {
    let (setup, disk, mx, _dns) = relaying(usual);
    let server = setup.start();
    disk.fill(0);
    for (tag, size) in [(1, 500), (2, 500), (3, 300_000), (4, 300_000)] {
        assert_eq!(submit(&server, &setup, tag, size), FULL, "{tag}");
    }
    assert!(queue(&setup).contains("Nothing waits."));
    assert_eq!((files(&setup.path("data/objects")), files(&setup.path("data/tmp"))), (0, 0));
    disk.clear();
    assert!(submit(&server, &setup, 5, 300_000).starts_with("250 2.0.0"));
    eventually("the delivery", || (mx.count("MESSAGE") == 1).then_some(()));
    assert!(mx.heard().iter().any(|line| line.contains("Subject: number 5\r\n")));
    assert!(server.end().success());
}

/// A server of another domain whose last word comes when the disk of ours has become full.
fn fills_at(command: &'static str, reply: &'static str) -> (Setup, Arc<SmallDisk>, Mx, Dns) {
    // Weak: the server's threads live as long as the tests, the disk does not.
    let disk: Arc<OnceLock<Weak<SmallDisk>>> = Arc::default();
    let there = Arc::clone(&disk);
    let (setup, small, mx, dns) = relaying(move |heard| {
        if !heard.starts_with(command) {
            return usual(heard);
        }
        there.get().and_then(Weak::upgrade).expect("it was handed in").fill(0);
        reply
    });
    assert!(disk.set(Arc::downgrade(&small)).is_ok());
    (setup, small, mx, dns)
}

#[test]
fn what_was_delivered_is_not_sent_again_because_that_could_not_be_written_down() {
    let (setup, disk, mx, _dns) = fills_at(".", "250 2.0.0 queued\r\n");
    let server = setup.start();
    assert!(submit(&server, &setup, 1, 500).starts_with("250 2.0.0"));
    eventually("the complaint", || server.log().contains("result could not be stored").then_some(()));
    assert!(queue(&setup).contains("bob@example.com"), "it cannot be taken out");
    disk.clear();
    eventually("the record", || queue(&setup).contains("Nothing waits.").then_some(()));
    assert_eq!(mx.count("MESSAGE"), 1);
    // More goes out, and nothing came back.
    assert!(server.alice(&setup).messages("INBOX", "BODY.PEEK[]").is_empty());
    assert!(server.end().success());
}

#[test]
fn a_bounce_comes_once_there_is_room_for_it() {
    let (setup, disk, mx, _dns) = fills_at("RCPT", "550 5.1.1 No such user\r\n");
    let server = setup.start();
    assert!(submit(&server, &setup, 1, 500).starts_with("250 2.0.0"));
    eventually("the complaint", || server.log().contains("result could not be stored").then_some(()));
    assert!(server.alice(&setup).messages("INBOX", "BODY.PEEK[]").is_empty(), "half a bounce");
    disk.clear();
    eventually("the end of it", || queue(&setup).contains("Nothing waits.").then_some(()));
    let inbox = server.alice(&setup).messages("INBOX", "BODY.PEEK[]");
    assert_eq!(inbox.len(), 1);
    assert!(String::from_utf8_lossy(&inbox[0]).contains("Status: 5.1.1\r\n"));
    assert_eq!(mx.count("RCPT"), 1, "it was asked again");
    assert!(server.end().success());
}

#[test]
fn a_backup_that_has_no_room_leaves_what_was_there() {
    let (setup, disk) = setup("");
    let server = setup.start();
    let mut client = server.smtp();
    client.smtp("EHLO client.example");
    for tag in 0..4 {
        assert!(client.post("x@example.com", ALICE, &message(tag, 300_000), false).starts_with("250"));
    }
    let elsewhere = SmallDisk::new(&setup.path("backups"), 8 * 1024);
    let file = setup.path("backups/sealpost.tar");
    succeed(setup.admin(&["backup"]).arg(&file));
    let first = fs::read(&file).expect("a backup");
    // No room where the backup goes ...
    for free in [0, 100, 1_000] {
        elsewhere.fill(free * 1024);
        let failed = run(setup.admin(&["backup"]).arg(&file));
        let said = stderr(&failed);
        assert_eq!(failed.status.code(), Some(1), "{said}");
        assert!(said.contains("sealpost.tar") && said.contains("another disk"), "{said}");
        assert_eq!(fs::read(&file).expect("still there"), first);
        assert_eq!(files(&setup.path("backups")), 2, "the backup, what fills the disk, and nothing half");
    }
    elsewhere.clear();
    // ... and none for the copy that the server makes of its database, with or without a server.
    disk.fill(8 * 1024);
    let mut server = Some(server);
    for _ in 0..2 {
        let failed = run(setup.admin(&["backup"]).arg(&file));
        let said = stderr(&failed);
        assert!(!failed.status.success() && said.contains("the disk of the store is full"), "{said}");
        assert_eq!(fs::read(&file).expect("still there"), first);
        assert_eq!((files(&setup.path("backups")), files(&setup.path("data/tmp"))), (1, 0));
        if let Some(server) = server.take() {
            assert!(server.end().success());
        }
    }
    disk.clear();
    succeed(setup.admin(&["backup"]).arg(&file));
    // A restore without room says so, and leaves the folder empty.
    elsewhere.fill(600 * 1024);
    let place = setup.path("backups/store");
    let failed = run(sealpost().arg("restore").arg(&file).arg("--data-dir").arg(&place));
    assert!(stderr(&failed).contains("the disk is full"), "{}", stderr(&failed));
    assert_eq!(files(&place), 0);
}
