//! Programs that only send: Python's smtplib, and msmtp, which stands in for sendmail.

use super::{
    super::{World, message},
    ALICE, Bridged,
};
use crate::{
    bridge::{literal, wait_for, without_verdict},
    support::{run_with, stderr},
};

#[test]
fn smtplib_sends_and_is_refused_in_words() {
    let world = Bridged::new();
    let login = world.login();
    let mut python = world.home.script("sending.py", &login, &[login.submission]);
    python.args(["bob@example.com", "carol@example.net"]);
    assert_eq!(World::succeed(&mut python), "ok\n");
    let mut bob = world.bob.imap();
    wait_for(&mut bob, 3);
    for (subject, words) in
        [("Größe 9", "topic66"), ("raw", "bare größer topic67"), ("raw 2", "bare größer topic67")]
    {
        bob.send(format!("a SEARCH CHARSET UTF-8 SUBJECT {{{}+}}\r\n{subject}\r\n", subject.len()));
        let found = bob.tagged();
        let line = found.lines().find(|line| line.starts_with("* SEARCH ")).expect("found");
        let at = line.rsplit(' ').next().expect("a number");
        let shown = literal(&bob.imap(&format!("FETCH {at} (BODY.PEEK[])")), "BODY[]");
        assert!(shown.contains(words) && !shown.contains("eve@"), "{shown}");
    }
}

/// The whole message as it was given, under the verdict: nothing of it is changed on the way, and nothing is lost.
#[test]
fn msmtp_sends_what_it_is_given_octet_for_octet() {
    let world = Bridged::new();
    let login = world.login();
    let settings = format!(
        "account alice\nhost {}\nport {}\ntls on\ntls_starttls off\ntls_trust_file {}\nauth plain\nuser {}\n\
         password {}\nfrom {ALICE}\nlogfile -\n",
        login.host,
        login.submission,
        login.ca.display(),
        login.user,
        login.password
    );
    let settings = world.home.write("msmtprc", &settings);
    let msmtp = || {
        let mut command = world.home.program("msmtp");
        command.arg("--file").arg(&settings).args(["--account", "alice", "--read-recipients"]);
        command
    };
    let own = |number: u32, to: &str| {
        message(number)
            .replace("From: Bob <bob@example.com>", &format!("From: Alice <{ALICE}>"))
            .replace(&format!("To: {ALICE}"), &format!("To: {to}"))
    };
    let mut bob = world.bob.imap();
    for number in 0..5 {
        let text = own(number, "bob@example.com");
        run_with(&mut msmtp(), text.replace("\r\n", "\n").as_bytes(), 0);
        wait_for(&mut bob, number + 1);
        let shown = literal(&bob.imap(&format!("FETCH {} (BODY.PEEK[])", number + 1)), "BODY[]");
        assert_eq!(without_verdict(&shown), text);
    }
    // Its own status for "not accepted" (EX_DATAERR of sysexits), and the bridge's words.
    let output = run_with(&mut msmtp(), own(5, "carol@example.net").as_bytes(), 65);
    let said = stderr(&output);
    assert!(said.contains("carol@example.net") && said.contains("has no key"), "{said}");
}
