//! The bridge as a service: the unit that `bridge install` writes, by systemd's own judgement, and what is said where no
//! systemd of the user's runs.

use super::Device;
use crate::support::{Demo, run, run_with, stderr, stdout, succeed};
use serde_json::Value;
use std::{
    fs,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::Command,
};

/// `sealpost` on a device whose configuration lies here; no user manager is in reach.
fn service(device: &Device<'_>, configuration: &Path, args: &[&str]) -> Command {
    let mut command = device.sealpost(args);
    command.env("XDG_CONFIG_HOME", configuration);
    command
}

/// systemd's opinion of a unit.
fn verify(unit: &Path) {
    let runtime = unit.parent().expect("a folder");
    let mut analyze = Command::new("systemd-analyze");
    analyze.env("XDG_RUNTIME_DIR", runtime).args(["--user", "verify", "--man=no"]).arg(unit);
    let output = run(&mut analyze);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));
}

#[test]
fn install_writes_a_unit_that_systemd_takes_and_says_how_to_start_it() {
    let demo = Demo::start(&[]);
    let device = Device::new(&demo, "a device at 100% of $HOME", None);
    let configuration = demo.scratch().join("configuration");
    let unit = configuration.join("systemd/user/sealpost-bridge.service");
    let said = succeed(&mut service(&device, &configuration, &["bridge", "install", "--lock-after", "30"]));
    let line = |said: &str, part: &str| assert!(said.contains(part), "{part}: {said}");
    line(&said, &format!("Wrote {}", unit.display()));
    line(&said, "It was not started: ");
    line(&said, "systemctl --user daemon-reload && systemctl --user enable --now sealpost-bridge.service");
    verify(&unit);
    let text = fs::read_to_string(&unit).expect("the unit");
    line(&text, "\"--lock-after\" \"30\"");
    line(&text, "a device at 100%% of $$HOME\" bridge");
    assert!(!text.contains("LoadCredential"), "{text}");

    // Once more is the same; with the password for a machine where nobody can type it, systemd hands it over.
    let again = run_with(
        service(&device, &configuration, &["bridge", "install", "--lock-after", "30"]).arg("--json"),
        b"",
        0,
    );
    let again: Value = serde_json::from_slice(&again.stdout).expect("JSON");
    assert_eq!((&again["started"], again["unit"].as_str()), (&Value::Bool(false), unit.to_str()));
    assert_eq!(fs::read_to_string(&unit).expect("the unit"), text);
    let mut headless = device.knowing(&["bridge", "install"]);
    succeed(headless.env("XDG_CONFIG_HOME", &configuration).env("SEALPOST_KEY_STORE", "none"));
    verify(&unit);
    let text = fs::read_to_string(&unit).expect("the unit");
    line(&text, &format!("LoadCredential=password:{}\n", demo.scratch().join("alice.password").display()));
    line(&text, " --password-file ${CREDENTIALS_DIRECTORY}/password bridge ");
    line(&text, "Environment=SEALPOST_KEY_STORE=none\n");
    assert!(!text.contains(&demo.user(0, "password")), "the password itself");
    let missing =
        run(service(&device, &configuration, &["bridge", "install"]).args(["--password-file", "/none"]));
    assert!(!missing.status.success() && stderr(&missing).contains("/none"), "{}", stderr(&missing));

    // Without any systemd the unit is written all the same.
    let nowhere =
        succeed(service(&device, &configuration, &["bridge", "install"]).env("PATH", demo.scratch()));
    line(&nowhere, "It was not started: systemctl cannot be run");

    let gone = succeed(&mut service(&device, &configuration, &["bridge", "uninstall"]));
    line(&gone, &format!("Removed {}", unit.display()));
    assert!(!unit.exists());
    line(&succeed(&mut service(&device, &configuration, &["bridge", "uninstall"])), "No bridge is installed");

    // What somebody else wrote stays.
    fs::write(&unit, "[Service]\nExecStart=/bin/true\n").expect("written");
    for command in ["install", "uninstall"] {
        let output = run_with(&mut service(&device, &configuration, &["bridge", command]), b"", 1);
        assert!(stderr(&output).contains("was not written by"), "{}", stderr(&output));
    }
}

#[test]
fn a_service_manager_is_told_when_the_bridge_serves() {
    let demo = Demo::start(&[]);
    let path: PathBuf = demo.scratch().join("notify");
    let socket = UnixDatagram::bind(&path).expect("bound");
    let mut command = crate::support::sealpost();
    command.arg("--dir").arg(demo.user(0, "client_dir")).env("NOTIFY_SOCKET", &path);
    let bridge = crate::bridge::Bridge::start_as(command, &[]);
    let mut told = [0; 64];
    let mut heard = || {
        let length = socket.recv(&mut told).expect("a datagram");
        String::from_utf8_lossy(&told[..length]).into_owned()
    };
    assert_eq!(heard(), "READY=1\n");
    drop(bridge);
    assert_eq!(heard(), "STOPPING=1\n");
}

#[test]
fn the_password_for_mail_programs_stands_alone() {
    let demo = Demo::start(&[]);
    let device = Device::new(&demo, "desk", None);
    let none = run_with(&mut device.sealpost(&["bridge", "password"]), b"", 1);
    assert!(stderr(&none).contains("no bridge ever ran"), "{}", stderr(&none));
    let bridge = crate::bridge::Bridge::start_as(device.sealpost(&[]), &[]);
    let password = bridge.text("/accounts/0/password");
    assert_eq!(password.len(), 25);
    assert_eq!(stdout(&run(&mut device.sealpost(&["bridge", "password"]))), format!("{password}\n"));
    succeed(&mut device.sealpost(&["lock"]));
    let locked = run_with(&mut device.sealpost(&["bridge", "password"]), b"", 3);
    assert!(locked.stdout.is_empty() && stderr(&locked).contains("sealpost unlock"), "{}", stderr(&locked));
}
