//! Where the secrets of a device lie: in a real key store, in a file where there is none.

use super::{Desktop, Device};
use crate::bridge::Bridge;
use crate::support::{Demo, run, run_with, stderr, succeed};
use serde_json::Value;
use std::{fs, os::unix::fs::PermissionsExt as _};

#[test]
fn the_key_store_opens_a_device_until_it_is_locked() {
    let demo = Demo::start(&[]);
    let mut desktop = Desktop::start();
    {
        let device = Device::new(&demo, "desk", Some(&desktop));
        assert_eq!((device.custody(), desktop.entries()), ("key-store", 1));
        succeed(&mut device.sealpost(&["list"]));
        // Nothing in the folder opens it: the seed is nowhere in the open.
        let text = fs::read_to_string(device.dir.join("secrets.json")).expect("readable");
        assert!(!text.contains("seed") && !text.contains("login_hash"), "{text}");

        let said = succeed(&mut device.sealpost(&["lock"]));
        assert!(said.contains("This device is locked"), "{said}");
        assert_eq!((device.custody(), desktop.entries()), ("locked", 0));
        let said = succeed(&mut device.sealpost(&["lock"]));
        assert!(said.contains("was locked already"), "{said}");
        // What is piped in is a message, and is not taken for a password.
        for command in
            [&["list"][..], &["send", "--to", "bob@example.com", "--subject", "x"], &["key", "show"]]
        {
            let output = run_with(&mut device.sealpost(command), b"words for Bob\n", 3);
            assert!(stderr(&output).contains("`sealpost unlock`"), "{command:?}: {}", stderr(&output));
        }
        let wrong = run_with(&mut device.sealpost(&["unlock"]), b"not the password\n", 6);
        assert!(stderr(&wrong).contains("not the password"), "{}", stderr(&wrong));
        assert_eq!((device.custody(), desktop.entries()), ("locked", 0));

        // The next command asks, and has it kept again.
        succeed(&mut device.knowing(&["list"]));
        assert_eq!((device.custody(), desktop.entries()), ("key-store", 1));
        let again = run_with(device.knowing(&["unlock"]).arg("--json"), b"", 0);
        let again: Value = serde_json::from_slice(&again.stdout).expect("JSON");
        assert_eq!(again["secrets"], "key-store");
        assert_eq!(desktop.entries(), 1, "an old entry is left");

        // A key store that is locked, and nobody there to unlock it: words, and the password as the other way in.
        desktop.lock();
        let output = run_with(&mut device.sealpost(&["list"]), b"", 3);
        for part in ["key store is locked", "sealpost unlock"] {
            assert!(stderr(&output).contains(part), "{}", stderr(&output));
        }
        // A bridge waits for it, and says why.
        let bridge = Bridge::start_as(device.sealpost(&[]), &[]);
        let mut program = bridge.connect("imap");
        program.line();
        let answer = program.imap("LOGIN alice@example.net anything");
        assert!(answer.contains("a NO [UNAVAILABLE] what opens the secrets of this device"), "{answer}");
        let output = run(&mut device.knowing(&["unlock"]));
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(stderr(&output).contains("in a file that only you can read"), "{}", stderr(&output));
        assert_eq!(device.custody(), "file");
        succeed(&mut device.sealpost(&["list"]));
        let mut program = bridge.connect("imap");
        program.line();
        let answer = program.imap("LOGIN alice@example.net anything");
        assert!(answer.contains("a NO [AUTHENTICATIONFAILED]"), "it is open: {answer}");
    }
    desktop.end_key_store();
    let device = Device::new(&demo, "later", Some(&desktop));
    assert_eq!(device.custody(), "file");
}

#[test]
fn a_lost_key_store_loses_nothing() {
    let demo = Demo::start(&[]);
    let mut desktop = Desktop::start();
    let dir = Device::new(&demo, "desk", Some(&desktop)).dir;
    desktop.end_key_store();
    let device =
        Device { demo: &demo, dir, password: demo.scratch().join("alice.password"), desktop: Some(&desktop) };
    let output = run_with(&mut device.sealpost(&["list"]), b"", 3);
    for part in ["there is no key store in this session", "sealpost unlock"] {
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    }
    // Its entry cannot be taken away now, which is said, since the key in it still opens what lies here.
    let said = succeed(&mut device.sealpost(&["lock"]));
    assert!(said.contains("An entry is left in the key store") && said.contains("by hand"), "{said}");
    succeed(&mut device.knowing(&["unlock"]));
    assert_eq!(device.custody(), "file");
    succeed(&mut device.sealpost(&["list"]));
}

#[test]
fn without_a_desktop_a_file_keeps_the_secrets_without_a_word() {
    let demo = Demo::start(&[]);
    let device = Device::new(&demo, "server", None);
    let output = run(&mut device.knowing(&["unlock"]));
    assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));
    assert_eq!(device.custody(), "file");
    let mode = fs::metadata(device.dir.join("secrets.json")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    succeed(&mut device.sealpost(&["lock"]));
    assert_eq!(device.custody(), "locked");
    // A device that is locked may sign in again, with the password that it knows.
    let mut login = device.sealpost(&["login", "alice@example.net"]);
    run_with(&mut login, b"not the password\n", 6);
    assert_eq!(device.custody(), "locked");
    succeed(&mut device.knowing(&["login", "alice@example.net"]));
    assert_eq!(device.custody(), "file");
    succeed(&mut device.sealpost(&["list"]));
    assert_eq!(device.demo.user(0, "address"), "alice@example.net");
}
