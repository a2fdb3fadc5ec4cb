//! `sealpost lock` beside a running bridge.

use super::Device;
use crate::{
    bridge::{Bridge, composed_by, wait_for},
    secrets::memory,
    server::Client,
    support::{Demo, PATIENCE, eventually, run_with, stderr, succeed},
};
use aho_corasick::AhoCorasick;
use sealpost_bridge::Config;
use sealpost_client::{
    client::{Environment, Policy, Settings},
    ui::Unattended,
};
use serde_json::Value;
use std::{fs, net::Ipv4Addr, os::unix::fs::PermissionsExt as _, sync::Arc, time::Duration};
use tokio::time::timeout;

/// Signed in or not, by what is answered.
fn login(client: &mut Client, bridge: &Bridge) -> String {
    let (user, password) = (bridge.text("/accounts/0/address"), bridge.text("/accounts/0/password"));
    client.imap(&format!("LOGIN {user} {password}"))
}

/// A bridge that was locked takes a new memory, in the same process and on the same ports. A connection to it.
fn begun_anew(bridge: &Bridge) -> Client {
    let environment = format!("/proc/{}/environ", bridge.pid());
    eventually("a bridge that begins anew", || {
        let text = fs::read(&environment).expect("its environment");
        String::from_utf8_lossy(&text).contains("SEALPOST_BRIDGE_AGAIN=1").then_some(())
    });
    let mut program = eventually("its ports", || bridge.try_connect("imap"));
    assert!(program.line().starts_with("* OK "));
    program
}

#[test]
fn a_locked_bridge_keeps_running_and_says_what_to_do() {
    let demo = Demo::start(&[]);
    let device = Device::new(&demo, "desk", None);
    let bridge = Bridge::start_as(device.sealpost(&[]), &[]);
    assert_eq!(bridge.json["secrets"], "file");
    let bob = Bridge::start(&demo, 1, &[]);
    let message = composed_by(
        "Bob <bob@example.com>",
        "Alice <alice@example.net>",
        "for the locked",
        "kept from others",
    );
    assert!(bob.send("bob@example.com", &["alice@example.net"], &message).starts_with("250 "));
    let (mut idle, mut submission) = (bridge.imap(), bridge.submission());
    wait_for(&mut idle, 1);
    let shown = idle.imap("FETCH 1 BODY[]");
    assert!(shown.contains("kept from others"), "{shown}");
    idle.send("a IDLE\r\n");
    assert!(idle.line().starts_with("+ "));
    let mut waiting = bridge.imap();
    let socket = device.dir.join("bridge/control.sock");
    assert_eq!(fs::metadata(&socket).expect("a socket").permissions().mode() & 0o777, 0o600);

    let said = succeed(&mut device.sealpost(&["lock"]));
    assert!(said.contains("running bridge let go"), "{said}");
    assert_eq!(device.custody(), "locked");
    for program in [&mut idle, &mut waiting] {
        let said = program.line();
        assert!(
            said.starts_with("* BYE [UNAVAILABLE] This device is locked. Run \"sealpost unlock\""),
            "{said}"
        );
    }
    assert!(submission.line().starts_with("421 4.7.0 This device is locked"));
    let mut program = begun_anew(&bridge);
    let answer = login(&mut program, &bridge);
    assert!(answer.contains("a NO [UNAVAILABLE] This device is locked. Run \"sealpost unlock\""), "{answer}");
    let mut submission = bridge.connect("submission");
    submission.line();
    submission.smtp("EHLO program");
    let (user, password) = (bridge.text("/accounts/0/address"), bridge.text("/accounts/0/password"));
    let plain = sealpost_proto::base64::encode(format!("\0{user}\0{password}").as_bytes());
    let answer = submission.smtp(&format!("AUTH PLAIN {plain}"));
    assert!(answer.starts_with("454 4.7.0 This device is locked"), "{answer}");
    // What it is told to be, it tells.
    let info = run_with(device.sealpost(&["bridge", "info"]).arg("--json"), b"", 0);
    let info: Value = serde_json::from_slice(&info.stdout).expect("JSON");
    assert_eq!((&info["secrets"], &info["accounts"][0]["password"]), (&Value::from("locked"), &Value::Null));

    // Programs come back, once it is unlocked, and find all as it was.
    succeed(&mut device.knowing(&["unlock"]));
    let mut program = bridge.imap();
    program.imap("SELECT INBOX");
    let shown = program.imap("FETCH 1 BODY[]");
    assert!(shown.contains("kept from others"), "{shown}");
}

#[test]
fn a_bridge_on_a_locked_device_waits() {
    let demo = Demo::start(&[]);
    let device = Device::new(&demo, "desk", None);
    drop(Bridge::start_as(device.sealpost(&[]), &[]));
    succeed(&mut device.sealpost(&["lock"]));
    let bridge = Bridge::start_as(device.sealpost(&[]), &["--lock-after", "10"]);
    assert_eq!(bridge.json["secrets"], "locked");
    let mut program = bridge.connect("imap");
    program.line();
    let answer = program.imap("LOGIN alice@example.net anything");
    assert!(answer.contains("NO [UNAVAILABLE]"), "{answer}");
    drop(bridge);
    // With the password at hand, as a service on a machine without a desktop has it, it does not wait.
    let bridge = Bridge::start_as(device.knowing(&[]), &[]);
    bridge.imap();
    for minutes in ["0", "10081"] {
        let output = run_with(&mut device.sealpost(&["bridge", "--lock-after", minutes]), b"", 2);
        assert!(stderr(&output).contains("--lock-after"), "{}", stderr(&output));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_nobody_uses_locks_the_device() {
    let demo = Demo::start(&[]);
    let device = Device::new(&demo, "desk", None);
    let settings = Settings { dir: device.dir.clone(), ..Settings::default() };
    let client = sealpost_client::client::Client::new(settings, Environment::system(Arc::new(Unattended)));
    let config = Config {
        accounts: vec![(client, device.dir.clone())],
        listen: Ipv4Addr::LOCALHOST.into(),
        imap_port: None,
        submission_port: None,
        names: Vec::new(),
        policy: Policy::default(),
        background: true,
        rebuild: false,
        lock_after: Some(Duration::from_secs(1)),
    };
    let bridge = sealpost_bridge::Bridge::start(config).await.expect("it starts");
    timeout(PATIENCE, bridge.locked()).await.expect("it locks");
    assert_eq!(device.custody(), "locked");
}

/// What opens mail is gone from the memory of a bridge that was locked.
#[test]
fn a_locked_bridge_holds_no_key() {
    if !memory::is_readable() {
        return;
    }
    let demo = Demo::start(&[]);
    let device = Device::new(&demo, "desk", None);
    let bridge = Bridge::start_as(device.sealpost(&[]), &["--no-background-index"]);
    let kept = device.secrets();
    let secret = |pointer: &str| {
        let text = kept.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer}"));
        (pointer.to_owned(), sealpost_proto::base64::decode(text.as_bytes()).expect("base64"))
    };
    let keys = [secret("/current/key/seed"), secret("/current/login_hash"), secret("/bridge/index_key")];
    let holds = |octets: &[u8]| {
        let image = memory::image(bridge.pid()).expect("readable");
        let search = AhoCorasick::new([octets]).expect("a pattern");
        image.iter().any(|stretch| search.is_match(&stretch.octets))
    };
    wait_for(&mut bridge.imap(), 0);
    assert!(holds(&keys[2].1), "the key of the index is not found where it must be");
    succeed(&mut device.sealpost(&["lock"]));
    let mut program = begun_anew(&bridge);
    assert!(login(&mut program, &bridge).contains("UNAVAILABLE"));
    for (name, octets) in &keys {
        assert!(!holds(octets), "{name}");
    }
}
