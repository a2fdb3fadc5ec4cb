//! The settings that `bridge info --for` writes, taken by the programs they are for as they are.

use super::Device;
use crate::{
    bridge::{Bridge, composed_by, wait_for},
    support::{Demo, python, run_with, stdout, succeed},
    tree::root,
};
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

/// Alice's device with its bridge, one sealed message from Bob in INBOX, and a home for her programs.
struct Home<'a> {
    device: Device<'a>,
    bridge: Bridge,
    path: PathBuf,
}

impl<'a> Home<'a> {
    fn new(demo: &'a Demo) -> Self {
        let device = Device::new(demo, "desk", None);
        let bridge = Bridge::start_as(device.sealpost(&[]), &[]);
        let bob = Bridge::start(demo, 1, &[]);
        let message = composed_by(
            "Bob <bob@example.com>",
            "Alice <alice@example.net>",
            "for the programs",
            "only for Alice",
        );
        assert!(bob.send("bob@example.com", &["alice@example.net"], &message).starts_with("250 "));
        wait_for(&mut bridge.imap(), 1);
        let path = demo.scratch().join("home");
        fs::create_dir(&path).expect("made");
        Self { device, bridge, path }
    }

    /// Settings in a file of her home that nobody else may read, as some programs insist.
    fn settings(&self, program: &str, file: &str) -> PathBuf {
        let text =
            stdout(&run_with(&mut self.device.sealpost(&["bridge", "info", "--for", program]), b"", 0));
        assert!(!text.contains(&self.bridge.text("/accounts/0/password")), "the password stands in {text}");
        let path = self.path.join(file);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("set");
        path
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", &self.path)
            .env("LC_ALL", "C.UTF-8");
        command.current_dir(&self.path);
        command
    }
}

/// All files below a folder, as text.
fn texts(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    crate::tree::below(folder, &mut found);
    found
        .iter()
        .map(|path| String::from_utf8_lossy(&fs::read(path).expect("readable")).into_owned())
        .collect()
}

#[test]
fn mbsync_msmtp_and_neomutt_take_their_settings_as_they_are() {
    let demo = Demo::start(&[]);
    let home = Home::new(&demo);
    home.settings("mbsync", ".mbsyncrc");
    fs::create_dir_all(home.path.join("Mail/sealpost")).expect("made");
    run_with(home.program("mbsync").arg("sealpost"), b"", 0);
    let maildir = texts(&home.path.join("Mail/sealpost/INBOX"));
    assert!(maildir.iter().any(|text| text.contains("only for Alice")), "{maildir:?}");

    home.settings("msmtp", ".msmtprc");
    let letter = "From: Alice <alice@example.net>\nTo: bob@example.com\nSubject: by msmtp\nMessage-ID: <msmtp@example.net>\n\
                  Date: Mon, 23 Nov 2026 21:36:00 +0000\n\nwith a password from a command\n";
    run_with(home.program("msmtp").args(["-a", "sealpost", "bob@example.com"]), letter.as_bytes(), 0);
    let (status, read) = demo.read_when_there(1, "<msmtp@example.net>");
    assert_eq!((status, read["subject"].as_str()), (0, Some("by msmtp")), "{read}");

    let neomuttrc = home.settings("neomutt", "neomuttrc");
    let mut neomutt = home.program("neomutt");
    neomutt.arg("-n").arg("-F").arg(&neomuttrc).args(["-s", "by neomutt", "--", "bob@example.com"]);
    run_with(&mut neomutt, b"from a terminal\n", 0);
    // And reading, on a terminal.
    let keys = "set quit = yes; unset wait_key; unset header_cache; push <first-entry><flag-message><sync-mailbox><quit>";
    let command = format!("neomutt -n -F '{}' -e '{keys}'", neomuttrc.display());
    let mut script = home.program("script");
    run_with(
        script.env("TERM", "xterm").args(["--quiet", "--return", "--command", &command, "/dev/null"]),
        b"",
        0,
    );
    let mut inbox = home.bridge.imap();
    inbox.imap("SELECT INBOX");
    let flags = inbox.imap("FETCH 1 FLAGS");
    assert!(flags.contains("\\Flagged"), "{flags}");
    let bob = Bridge::start(&demo, 1, &[]);
    let mut bob = bob.imap();
    wait_for(&mut bob, 2);
    let envelope = bob.imap("FETCH 2 ENVELOPE");
    assert!(envelope.contains("by neomutt"), "{envelope}");
}

#[test]
fn thunderbird_finds_the_settings_beside_its_program_and_signs_in() {
    let demo = Demo::start(&[]);
    let home = Home::new(&demo);
    fs::create_dir(home.path.join("isp")).expect("made");
    home.settings("thunderbird", "isp/example.net.xml");
    let mut thunderbird = home.program("/usr/bin/python3");
    thunderbird
        .env("PASSWORD", home.bridge.text("/accounts/0/password"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(root().join("tests/interop/thunderbird_setup.py"))
        .arg(&home.path)
        .arg(home.bridge.text("/ca_file"))
        .arg("alice@example.net")
        .arg(home.path.join("profile"));
    let said = stdout(&run_with(&mut thunderbird, b"", 0));
    let said: Value = serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"));
    let port = |name: &str| {
        home.bridge
            .text(&format!("/{name}"))
            .rsplit(':')
            .next()
            .expect("a port")
            .parse::<u64>()
            .expect("a number")
    };
    assert_eq!(said["incoming"], serde_json::json!(["imap", "localhost", port("imap"), "alice@example.net"]));
    assert_eq!(
        said["outgoing"],
        serde_json::json!(["smtp", "localhost", port("submission"), "alice@example.net"])
    );
    // It tried them by signing in.
    assert_eq!(said["verified"], true);
}

#[test]
fn the_profile_for_apple_has_account_and_certificate() {
    let demo = Demo::start(&[]);
    let home = Home::new(&demo);
    let profile = home.settings("apple", "sealpost.mobileconfig");
    let script = "import json, plistlib, ssl, sys\n\
                  profile = plistlib.load(open(sys.argv[1], 'rb'))\n\
                  root, mail = profile['PayloadContent']\n\
                  root['PayloadContent'] = ssl.DER_cert_to_PEM_cert(root['PayloadContent'])\n\
                  print(json.dumps(profile))\n";
    let said = succeed(python().args(["-c", script]).arg(&profile));
    let profile: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(profile["PayloadType"], "Configuration");
    let [certificate, mail] = profile["PayloadContent"].as_array().expect("a list").as_slice() else {
        panic!("{profile}")
    };
    let squeezed = |text: &str| text.split_whitespace().collect::<String>();
    let ca = fs::read_to_string(home.bridge.text("/ca_file")).expect("the certificate");
    assert_eq!(certificate["PayloadType"], "com.apple.security.root");
    assert_eq!(squeezed(certificate["PayloadContent"].as_str().expect("PEM")), squeezed(&ca));
    for (name, value) in [
        ("PayloadType", "com.apple.mail.managed"),
        ("EmailAccountType", "EmailTypeIMAP"),
        ("EmailAddress", "alice@example.net"),
        ("IncomingMailServerHostName", "localhost"),
        ("OutgoingMailServerUsername", "alice@example.net"),
        ("OutgoingMailServerAuthentication", "EmailAuthPassword"),
    ] {
        assert_eq!(mail[name], value, "{name}");
    }
    assert!(mail.get("IncomingPassword").is_none());
    let uuids: Vec<_> = [&profile, certificate, mail]
        .iter()
        .map(|p| p["PayloadUUID"].as_str().expect("a UUID").len())
        .collect();
    assert_eq!(uuids, [36; 3]);
}
