//! The demo: the story, its contract with other programs, and that it fails when something is changed on the way.

use crate::support::{
    Demo, children, eventually, peak_memory_kib, run, run_with, sealpost, stderr, stdout, succeed,
};
use serde_json::Value;
use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::Path,
};

/// R23, R27 and R28: the whole sending, reading and rotation flows, over real servers.
#[test]
fn r23_r27_r28_the_demo_tells_its_whole_story() {
    let temp = tempfile::tempdir().expect("temp dir");
    let output = run(sealpost().arg("demo").env("TMPDIR", temp.path()));
    let story = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{story}\n{}", stderr(&output));
    for said in [
        "C: AUTH HASHEDPASS",
        "S: 235 ",
        "C: PUBKEY bob@example.com",
        "S: 220 ed25519 ",
        "C: SETPUBKEY",
        "C: RSTSALT",
        "verdict: good",
        "verdict: plain",
        "C: PASS …",
        "C: RETR ",
        "contact accept",
        "Summary",
    ] {
        assert!(story.contains(said), "the story does not show {said:?}:\n{story}");
    }
    assert!(!story.contains('✗'), "{story}");
    assert!(!story.contains('\x1b'), "colour without a terminal");
    let left: Vec<_> = fs::read_dir(temp.path()).expect("readable").collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
fn the_demo_with_json_is_one_object() {
    let output = run(sealpost().args(["demo", "--json"]));
    let object: Value = serde_json::from_slice(&output.stdout).expect("one object");
    assert_eq!((object["ok"].clone(), output.status.code()), (true.into(), Some(0)), "{}", stderr(&output));
    assert!(object["steps"].as_array().is_some_and(|s| s.len() >= 8));
}

/// Runs the demo with a man in the middle and expects it to fail at the step with this title.
fn tampered(what: &str, step: &str) {
    let output = run(sealpost().args(["demo", "--json", "--tamper", what]));
    assert_eq!(output.status.code(), Some(1), "{what}: {}", stderr(&output));
    let object: Value = serde_json::from_slice(&output.stdout).expect("one object");
    let steps = object["steps"].as_array().expect("steps");
    let failed = steps.last().expect("a step");
    assert_eq!(failed["ok"], false, "{what}: {object}");
    assert!(failed["step"].as_str().is_some_and(|s| s.contains(step)), "{what} failed at {failed}");
    assert!(steps[..steps.len() - 1].iter().all(|s| s["ok"] == true), "{what}: {object}");
}

#[test]
fn a_changed_octet_of_a_pubkey_reply_is_noticed() {
    tampered("pubkey", "Alice writes to Bob");
}

#[test]
fn a_changed_octet_of_a_body_is_noticed() {
    tampered("body", "Bob reads it on a new device");
}

#[test]
fn a_changed_octet_of_a_salt_is_noticed() {
    tampered("salt", "Bob reads it on a new device");
}

fn is_port(demo: &Demo, server: usize, member: &str) -> SocketAddr {
    let address: SocketAddr = demo.server(server, member).parse().expect("ADDR:PORT");
    assert!(address.ip().is_loopback(), "{member}: {address}");
    TcpStream::connect(address).unwrap_or_else(|e| panic!("{member} at {address}: {e}"));
    address
}

#[test]
fn keep_describes_running_servers_by_its_contract() {
    let demo = Demo::start(&[]);
    let at = |path: &str| demo.home().join(path);
    assert!(at(demo.json["ca_file"].as_str().expect("a path")).is_file());
    assert!(demo.json["dns"].as_str().expect("an address").starts_with("127.0.0.1:"));
    for (number, domain) in ["example.net", "example.com"].iter().enumerate() {
        assert_eq!(demo.server(number, "domain"), *domain);
        assert!(demo.server(number, "host").ends_with(domain));
        assert!(at(&demo.server(number, "config")).is_file());
    }
    for member in ["smtp", "submission", "submissions", "imap", "imaps", "pop3", "pop3s"] {
        let (net, com) = (is_port(&demo, 0, member), is_port(&demo, 1, member));
        assert_eq!(net.port(), com.port(), "{member}");
        assert_ne!(net.ip(), com.ip(), "{member}");
    }
    for (number, address) in ["alice@example.net", "bob@example.com"].iter().enumerate() {
        assert_eq!(demo.user(number, "address"), *address);
        assert_eq!(demo.user(number, "password").split(' ').count(), 6);
        assert!(demo.user(number, "app_password").len() >= 20);
        assert!(at(&demo.user(number, "client_dir")).is_dir());
    }
    // Three commands to paste.
    let log = demo.log();
    assert_eq!(
        log.lines().filter(|l| l.starts_with("  ") && l.contains("--dir") || l.contains("curl")).count(),
        3,
        "{log}"
    );

    // Other processes act as the users.
    let (status, sent) =
        demo.json(0, &["send", "--to", "bob@example.com", "--subject", "Überraschung", "/dev/null"]);
    assert_eq!((status, &sent["recipients"][0]["done"]), (0, &Value::from("sealed")), "{sent}");
    let message_id = sent["message_id"].as_str().expect("a Message-ID").to_owned();
    assert!(message_id.starts_with('<') && message_id.ends_with('>'));
    let (status, read) = demo.read_when_there(1, &message_id);
    // Alice is a stranger to Bob until his client has asked her own server (profile §8).
    assert_eq!((status, &read["subject"]), (0, &"Überraschung".into()), "{read}");
    assert_eq!(read["verdict"], "sender not yet confirmed", "{read}");
    let (_, list) = demo.json(1, &["list"]);
    assert_eq!(list["messages"].as_array().map(Vec::len), Some(1));

    // Administration of the running server; an account is usable by app password before it is enrolled.
    let config = at(&demo.server(0, "config"));
    let admin = |args: &[&str]| -> Value {
        let text = succeed(sealpost().arg("--json").args(args).arg("--config").arg(&config));
        serde_json::from_str(&text).expect("one object")
    };
    let added = admin(&["user", "add", "dave@example.net"]);
    assert_eq!(added["address"], "dave@example.net");
    let code = added["code"].as_str().expect("a code").to_owned();
    let token = demo.scratch().join("token");
    fs::write(&token, "a-token-of-20-characters-or-more\n").expect("written");
    admin(&[
        "app-password",
        "add",
        "dave@example.net",
        "script",
        "--token-file",
        token.to_str().expect("UTF-8"),
    ]);
    enrol_by_hand(&demo, &code);

    let servers = children(demo.pid());
    assert_eq!(servers.len(), 2, "two servers, each a process of its own");
    assert_eq!(demo.end(), Some(0), "SIGTERM ends it with success");
    for server in servers {
        eventually("the end of the servers", || peak_memory_kib(server).is_none().then_some(()));
    }
}

/// `enrol` with a code file and a password file that does not exist yet; then the code is used up.
fn enrol_by_hand(demo: &Demo, code: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let (code_file, password) = (demo.scratch().join("code"), demo.scratch().join("dave.password"));
    fs::write(&code_file, format!("{code}\n")).expect("written");
    let enrol = |dir: &str, password: &Path| {
        let mut command = sealpost();
        command
            .args(["enrol", "dave@example.net", "--json", "--code-file"])
            .arg(&code_file)
            .arg("--dir")
            .arg(demo.scratch().join(dir))
            .arg("--password-file")
            .arg(password)
            .args(["--dns", demo.json["dns"].as_str().expect("an address"), "--ca-file"])
            .arg(demo.home().join(demo.json["ca_file"].as_str().expect("a path")))
            .args(["--mx-port", demo.server(0, "smtp").rsplit(':').next().expect("a port")]);
        command
    };
    succeed(&mut enrol("dave", &password));
    assert_eq!(fs::metadata(&password).expect("made").permissions().mode() & 0o777, 0o600);
    let passphrase = fs::read_to_string(&password).expect("readable");
    assert_eq!(passphrase.trim_end().split(' ').count(), 6);
    let again = run(&mut enrol("dave-again", &demo.scratch().join("other.password")));
    assert_eq!(again.status.code(), Some(6), "a used code: {}", stderr(&again));
    assert!(!demo.scratch().join("other.password").exists(), "a passphrase that nobody took was left behind");

    // Nothing but the password on a new device, given on standard input.
    let mut login = sealpost();
    login
        .args(["login", "dave@example.net", "--json", "--dir"])
        .arg(demo.scratch().join("dave-2"))
        .args(["--dns", demo.json["dns"].as_str().expect("an address"), "--ca-file"])
        .arg(demo.home().join(demo.json["ca_file"].as_str().expect("a path")))
        .args(["--mx-port", demo.server(0, "smtp").rsplit(':').next().expect("a port")]);
    run_with(&mut login, passphrase.as_bytes(), 0);
    run_with(&mut login, b"not the password\n", 6);
}

#[test]
fn keep_refuses_a_folder_with_something_in_it() {
    let dir = tempfile::tempdir().expect("temp dir");
    fs::write(dir.path().join("file"), "x").expect("written");
    let output = run(sealpost().args(["demo", "--keep", "--dir"]).arg(dir.path()));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("empty"), "{}", stderr(&output));
}

#[test]
fn servers_end_with_a_demo_that_is_killed() {
    let demo = Demo::start(&[]);
    let servers = children(demo.pid());
    assert_eq!(servers.len(), 2);
    demo.kill();
    for server in servers {
        eventually("the end of the servers", || peak_memory_kib(server).is_none().then_some(()));
    }
}

/// R17 and R18: the servers never see the password, and neither hash, code nor app password is in a log or a file
/// of theirs, however much is logged.
#[test]
fn r17_r18_no_secret_is_in_logs_or_in_the_store() {
    let demo = Demo::start_with(&[], &[("SEALPOST_LOG", "trace")]);
    let (_, sent) = demo.json(0, &["send", "--to", "bob@example.com", "--subject", "x", "/dev/null"]);
    demo.read_when_there(1, sent["message_id"].as_str().expect("a Message-ID"));
    let mut secrets = Vec::new();
    for number in 0..2 {
        let password = demo.user(number, "password");
        secrets.push(("app password", demo.user(number, "app_password")));
        let file = Path::new(&demo.user(number, "client_dir")).join("secrets.json");
        let kept: Value =
            serde_json::from_str(&fs::read_to_string(file).expect("the client's secrets")).expect("JSON");
        let text = |pointer: &str| kept.pointer(pointer).and_then(Value::as_str).expect(pointer).to_owned();
        secrets.push(("login hash", text("/current/login_hash")));
        secrets.push(("seed", text("/current/key/seed")));
        // Also as SMTP carries it: base64 of NUL, user, NUL, hash.
        let sasl = format!("\0{}\0{}", demo.user(number, "address"), text("/current/login_hash"));
        secrets.push(("AUTH message", sealpost_proto::base64::encode(sasl.as_bytes())));
        secrets.push(("base64 of the password", sealpost_proto::base64::encode(password.as_bytes())));
        secrets.push(("password", password));
    }
    let mut looked_at = 0;
    let mut traced = false;
    for domain in ["example.net", "example.com"] {
        let mut folders = vec![demo.home().join(domain)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("readable") {
                let path = entry.expect("readable").path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let Ok(octets) = fs::read(&path) else { continue };
                looked_at += 1;
                traced |= path.ends_with("server.log") && String::from_utf8_lossy(&octets).contains("TRACE");
                for (what, secret) in &secrets {
                    let found = octets.windows(secret.len()).any(|w| w == secret.as_bytes());
                    assert!(!found, "the {what} is in {}", path.display());
                }
            }
        }
    }
    assert!(looked_at >= 8 && traced, "only {looked_at} files were looked at; traced: {traced}");
}

#[test]
fn administration_works_without_a_running_server() {
    let demo = Demo::start(&[]);
    let config = demo.home().join(demo.server(0, "config"));
    let admin = |args: &[&str]| run(sealpost().args(args).arg("--config").arg(&config));
    // The server holds the store's lock; the control socket is the way.
    assert_eq!(admin(&["user", "add", "erin@example.net"]).status.code(), Some(0));
    let dir = demo.keep_folder();
    let config = dir.path().join("demo").join("example.net/sealpost.toml");
    let admin = |args: &[&str]| run(sealpost().args(args).arg("--config").arg(&config));
    for (args, status, said) in [
        (vec!["user", "add", "frank@example.net"], 0, "sealpost enrol frank@example.net"),
        (vec!["user", "add", "frank@example.net"], 1, "user reset"),
        (vec!["user", "add", "frank@example.com"], 1, "domains"),
        (vec!["user", "add", "nobody"], 1, "mail address"),
        (vec!["user", "reset", "frank@example.net"], 0, "One-time code"),
        (vec!["user", "reset", "ghost@example.net"], 1, "no account"),
        (vec!["user", "list"], 0, "erin@example.net"),
        (vec!["app-password", "add", "frank@example.net", "phone"], 0, "shown this once"),
        (vec!["app-password", "add", "frank@example.net", "phone"], 1, "already"),
        (vec!["app-password", "list", "frank@example.net"], 0, "phone"),
        (vec!["app-password", "revoke", "frank@example.net", "phone"], 0, "revoked"),
        (vec!["app-password", "revoke", "frank@example.net", "phone"], 1, "no app password"),
        (vec!["user", "remove", "frank@example.net"], 0, "removed"),
        (vec!["user", "remove", "frank@example.net"], 1, "no account"),
        (vec!["queue", "list"], 0, "Nothing waits"),
    ] {
        let output = admin(&args);
        let text = format!("{}{}", stdout(&output), stderr(&output));
        assert_eq!(output.status.code(), Some(status), "{args:?}: {text}");
        assert!(text.contains(said), "{args:?} said {text}");
    }
    let short = dir.path().join("short");
    fs::write(&short, "nineteen characters\n").expect("written");
    let short = short.to_str().expect("UTF-8");
    let output = admin(&["app-password", "add", "erin@example.net", "x", "--token-file", short]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("20 characters"), "{}", stderr(&output));
}
