//! `sealpost backup` of a server under load, `sealpost restore`, and a server on what came back.

use crate::server::{ALICE, ALL_PORTS, Client, Setup};
use crate::support::{run, sealpost, stderr, succeed};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// One of eight is so large that it becomes a file of its own.
fn message(tag: u64) -> Vec<u8> {
    let lines = if tag.is_multiple_of(8) { 4000 } else { 20 };
    let body = format!("{tag} {}\r\n", "x".repeat(60)).repeat(lines);
    format!("From: x@example.com\r\nSubject: number {tag}\r\n\r\n{body}").into_bytes()
}

/// The tags of all messages in INBOX, each read in full and compared.
fn read_all(alice: &mut Client) -> BTreeSet<u64> {
    let mut tags = BTreeSet::new();
    for octets in alice.messages("INBOX", "BODY.PEEK[]") {
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

#[test]
fn a_backup_under_load_holds_all_that_was_acknowledged_before() {
    let setup = Setup::new("", ALL_PORTS);
    setup.account(ALICE);
    let server = setup.start();
    let (next, stop) = (AtomicU64::new(1), AtomicBool::new(false));
    let acknowledged = Mutex::new(BTreeSet::new());
    let file = setup.path("backup.tar");
    let (before, during) = std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = server.smtp();
                client.smtp("EHLO client.example");
                // Bounded, however slow the backup is.
                while !stop.load(Ordering::SeqCst) && next.load(Ordering::SeqCst) < 20_000 {
                    let tag = next.fetch_add(1, Ordering::SeqCst);
                    let reply = client.mail(ALICE, &message(tag));
                    assert!(reply.starts_with("250 2.0.0"), "{reply}");
                    acknowledged.lock().expect("alone").insert(tag);
                }
            });
        }
        crate::support::eventually("some mail", || {
            (acknowledged.lock().expect("alone").len() >= 200).then_some(())
        });
        let before = acknowledged.lock().expect("alone").clone();
        let output = run(setup.admin(&["backup"]).arg(&file));
        let after = acknowledged.lock().expect("alone").len();
        stop.store(true, Ordering::SeqCst);
        assert!(output.status.success(), "{}", stderr(&output));
        (before.clone(), after - before.len())
    });
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
    assert_eq!(json["accounts"], 1);
    let server = setup.start();
    let mut alice = server.alice(&setup);
    let there = read_all(&mut alice);
    let lost: Vec<_> = before.difference(&there).collect();
    assert!(lost.is_empty(), "acknowledged before the backup and not in it: {lost:?}");
    assert_eq!(json["messages"], there.len());
    assert!(uid_validity(&mut alice) > validity);
    // It is a server like any other.
    let mut client = server.smtp();
    client.smtp("EHLO client.example");
    assert!(client.mail(ALICE, &message(1_000_000)).starts_with("250"));
    assert!(read_all(&mut alice).contains(&1_000_000));
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
