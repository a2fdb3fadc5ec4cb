//! Programs written elsewhere: Python's mail libraries, curl, age, ssh-keygen, and a second implementation of the
//! protocol.

use crate::{
    support::{Demo, eventually, python, run, run_with, sealpost, stderr, stdout, succeed},
    tree::root,
};
use std::{fs, process::Command};

#[test]
fn python_smtplib_imaplib_and_poplib() {
    let demo = Demo::start(&[]);
    let output = run(python().arg(root().join("tests/interop/mail.py")).arg(demo.home().join("demo.json")));
    assert!(stdout(&output).ends_with("ok\n"), "{}{}", stdout(&output), stderr(&output));
}

/// Runs a script of `tests/second` against two servers.
fn second(script: &str) {
    let demo = Demo::start(&["--no-limits"]);
    let output = run(python()
        .arg(root().join("tests/second").join(script))
        .arg(sealpost().get_program())
        .arg(demo.home()));
    let said = stdout(&output);
    assert!(output.status.success(), "{said}{}", stderr(&output));
    assert!(said.trim_end().ends_with(" passed, 0 failed"), "{said}");
}

/// Requirements R01 to R29 as another program sees them: a client written from docs/protocol.md alone.
#[test]
fn a_second_implementation_exchanges_sealed_mail_with_ours() {
    second("exchange.py");
}

/// R03 to R09, R17 to R29 at the client's side: mail that is wrong in every way, keys that change in every way, and
/// what each command promises.
#[test]
fn the_client_judges_what_a_second_implementation_sends() {
    second("client.py");
}

/// The server's side of the profile by sentence: odd and hostile input, limits, signals, crashes.
#[test]
fn a_hostile_client_gets_the_replies_of_the_profile() {
    second("probes.py");
}

/// `curl` to a server of the demo, which it finds by name as others do.
fn curl(demo: &Demo, server: usize, scheme: &str, port: &str, path: &str) -> Command {
    let host = demo.server(server, "host");
    let place = demo.server(server, port);
    let (address, port) = place.rsplit_once(':').expect("ADDR:PORT");
    let mut command = Command::new("curl");
    command
        .args(["--silent", "--show-error", "--max-time", "60", "--cacert"])
        .arg(demo.home().join(demo.json["ca_file"].as_str().expect("a path")))
        .args(["--resolve", &format!("{host}:{port}:{address}"), "--user"])
        .arg(format!("{}:{}", demo.user(server, "address"), demo.user(server, "app_password")))
        .arg(format!("{scheme}://{host}:{port}/{path}"));
    command
}

#[test]
fn curl_submits_with_tls_and_fetches_by_imap() {
    let demo = Demo::start(&[]);
    let message = b"From: alice@example.net\r\nTo: bob@example.com\r\nSubject: by curl\r\nMessage-ID: <curl@example.net>\r\n\r\n.leading dot\r\nlast line\r\n";
    let envelope =
        ["--mail-from", "alice@example.net", "--mail-rcpt", "bob@example.com", "--upload-file", "-"];
    run_with(curl(&demo, 0, "smtps", "submissions", "client.example").args(envelope), message, 0);
    run_with(
        curl(&demo, 0, "smtp", "submission", "client.example").arg("--ssl-reqd").args(envelope),
        message,
        0,
    );
    let fetched = eventually("mail by curl", || {
        let output = run(&mut curl(&demo, 1, "imaps", "imaps", "INBOX;MAILINDEX=2"));
        output.status.success().then_some(output.stdout)
    });
    assert!(fetched.ends_with(&message[..]), "{}", String::from_utf8_lossy(&fetched));
    let found = succeed(curl(&demo, 1, "imaps", "imaps", "INBOX").args(["-X", "SEARCH SUBJECT curl"]));
    assert_eq!(found.trim(), "* SEARCH 1 2");
    let starttls = succeed(curl(&demo, 1, "imap", "imap", "INBOX;MAILINDEX=1").arg("--ssl-reqd"));
    assert!(starttls.contains("by curl"));
    let (status, read) = demo.json(1, &["read", "last"]);
    assert_eq!((status, &read["verdict"]), (0, &"plain".into()));
}

/// R25: what lies on the server is an ordinary age file, which the stock program opens with the exported key.
#[test]
fn r25_age_and_ssh_keygen_take_what_we_export() {
    let demo = Demo::start(&[]);
    let text = demo.scratch().join("text");
    fs::write(&text, "Für age.\n").expect("written");
    let (_, sent) = demo
        .json(0, &["send", "--to", "bob@example.com", "--subject", "Prüfung", text.to_str().expect("UTF-8")]);
    let (status, read) = demo.read_when_there(1, sent["message_id"].as_str().expect("a Message-ID"));
    assert_eq!((status, &read["text"]), (0, &"Für age.\n".into()), "{read}");

    let raw = run(&mut curl(&demo, 1, "imaps", "imaps", "INBOX;MAILINDEX=1")).stdout;
    let end = raw.windows(4).position(|w| w == b"\r\n\r\n").expect("a header") + 4;
    let sealed = demo.scratch().join("message.age");
    fs::write(&sealed, &raw[end..]).expect("written");
    let key = demo.scratch().join("bob.key");
    succeed(demo.client(1).args(["key", "export"]).arg(&key));
    let payload = succeed(Command::new("age").args(["-d", "-i"]).arg(&key).arg(&sealed));
    // RFC 2047 and quoted-printable inside, as for any mail program.
    assert!(payload.contains("F=C3=BCr age.") || payload.contains("RsO8ciBhZ2Uu"), "{payload}");
    assert!(payload.contains("HP-Outer: Subject: [...]"), "{payload}");

    let (_, shown) = demo.json(1, &["key", "show"]);
    let public = succeed(Command::new("ssh-keygen").arg("-y").arg("-f").arg(&key));
    let words = |text: &str| text.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    assert_eq!(words(&public), words(shown["key"].as_str().expect("a key")));
    let listed = succeed(Command::new("ssh-keygen").arg("-l").arg("-f").arg(&key));
    assert!(listed.contains(shown["fingerprint"].as_str().expect("a fingerprint")), "{listed}");

    let again = run(demo.client(1).args(["key", "export"]).arg(&key));
    assert_eq!(again.status.code(), Some(1), "an existing file was replaced");
}
