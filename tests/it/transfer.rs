//! `sealpost import` and `export` as processes: against Python's mailbox module, from server to server, killed on their
//! way, and at the limits of the server.

use crate::{
    server::{ALICE, Setup, TOKEN},
    support::{Demo, eventually, python, run, run_with, sealpost, stderr, stdout},
    tree::root,
};
use serde_json::Value;
use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

#[test]
fn pythons_mailboxes_come_in_and_go_out_as_they_are() {
    let demo = Demo::start(&["--no-limits"]);
    let work = demo.scratch().join("work");
    fs::create_dir(&work).expect("made");
    let output = run(python()
        .arg(root().join("tests/interop/transfer.py"))
        .arg(sealpost().get_program())
        .arg(demo.home().join("demo.json"))
        .arg(work));
    assert!(stdout(&output).ends_with("ok\n"), "{}{}", stdout(&output), stderr(&output));
}

/// The summary of `sealpost --json import|export …`: imported, already there, skipped.
fn summary(command: &mut Command, status: i32) -> (u64, u64, u64) {
    let output = run_with(command.arg("--json"), b"", status);
    let text = stdout(&output);
    let last: Value = serde_json::from_str(text.lines().last().unwrap_or_default())
        .unwrap_or_else(|e| panic!("{e}: {text} {}", stderr(&output)));
    assert_eq!((&last["event"], &last["exit"]), (&"summary".into(), &status.into()), "{text}");
    let number = |name: &str| last[name].as_u64().expect("a number");
    (number("messages"), number("already"), number("skipped"))
}

/// A message whose octets say which it is.
fn numbered(n: usize) -> String {
    format!("From: a@example.org\nSubject: {n}\nMessage-ID: <{n}@example.org>\n\n{}\n", "x".repeat(n % 997))
}

fn maildir(path: &Path, messages: usize) {
    for sub in ["cur", "new", "tmp"] {
        fs::create_dir_all(path.join(sub)).expect("made");
    }
    for n in 0..messages {
        // Every tenth is there twice, octet for octet.
        fs::write(path.join(format!("cur/{n}.x:2,S")), numbered(n - n % 10 % 2)).expect("written");
    }
}

/// Subjects in an exported Maildir, and how often each is there.
fn subjects(path: &Path) -> HashMap<String, usize> {
    let mut all = HashMap::new();
    for entry in fs::read_dir(path.join("cur")).expect("a Maildir") {
        let text = fs::read_to_string(entry.expect("readable").path()).expect("text");
        let subject = text.lines().find(|l| l.starts_with("Subject: ")).expect("a subject").to_owned();
        *all.entry(subject).or_default() += 1;
    }
    all
}

fn journal(demo: &Demo) -> PathBuf {
    let folder = Path::new(&demo.user(0, "client_dir")).join("transfer");
    let mut found = fs::read_dir(folder).expect("journals");
    found.next().expect("one journal").expect("readable").path()
}

/// Killed again and again, each time a little later; and in the one moment that no kill hits at will, between the
/// server's answer and its record.
#[test]
fn an_import_killed_at_any_time_loses_nothing_and_doubles_nothing() {
    const MESSAGES: usize = 3_000;
    let demo = Demo::start(&["--no-limits"]);
    let source = demo.scratch().join("Maildir");
    maildir(&source, MESSAGES);
    let lines = |demo: &Demo| {
        let folder = Path::new(&demo.user(0, "client_dir")).join("transfer");
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|e| fs::read_to_string(e.path()).unwrap_or_default().lines().count()).sum::<usize>()
    };
    let mut kills = 0;
    while kills < 5 {
        let at = lines(&demo) + kills;
        let mut child = demo
            .client(0)
            .arg("import")
            .arg(&source)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        while lines(&demo) <= at && child.try_wait().expect("a child").is_none() {
            std::thread::yield_now();
        }
        if child.try_wait().expect("a child").is_some() {
            break;
        }
        child.kill().expect("killed");
        child.wait().expect("a child");
        kills += 1;
    }
    assert!(kills > 1, "the machine is too fast for this test: make it longer");
    let (now, before, skipped) = summary(demo.client(0).arg("import").arg(&source), 0);
    assert_eq!((now + before, skipped), (MESSAGES as u64, 0));
    assert!(before > 0, "{now} {before}");

    // The server's last answer came, and its record did not.
    let path = journal(&demo);
    let text = fs::read_to_string(&path).expect("the journal");
    let cut = text.trim_end().rfind('\n').expect("lines") + 1;
    assert!(text[cut..].starts_with("{\"end\""), "{}", &text[cut..]);
    fs::write(&path, &text[..cut + 5]).expect("cut");
    assert_eq!(summary(demo.client(0).arg("import").arg(&source), 0), (0, MESSAGES as u64, 0));

    let out = demo.scratch().join("out");
    assert_eq!(summary(demo.client(0).arg("export").arg(&out), 0), (MESSAGES as u64, 0, 0));
    let mut expected = HashMap::new();
    for n in 0..MESSAGES {
        *expected.entry(format!("Subject: {}", n - n % 10 % 2)).or_default() += 1;
    }
    assert!(subjects(&out) == expected, "lost or doubled");
}

/// An export killed on its way goes on, in both formats.
#[test]
fn an_export_killed_on_its_way_doubles_nothing() {
    const MESSAGES: usize = 1_500;
    let demo = Demo::start(&["--no-limits"]);
    let source = demo.scratch().join("Maildir");
    maildir(&source, MESSAGES);
    summary(demo.client(0).arg("import").arg(&source), 0);
    for format in ["maildir", "mbox"] {
        let out = demo.scratch().join(format);
        let mut command = demo.client(0);
        command.args(["export", "--format", format]).arg(&out);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let some = || match format {
            "maildir" => fs::read_dir(out.join("cur")).is_ok_and(|dir| dir.count() > 150),
            _ => fs::metadata(out.join("INBOX")).is_ok_and(|file| file.len() > 50_000),
        };
        eventually("some of the export", || {
            (some() || child.try_wait().expect("a child").is_some()).then_some(())
        });
        child.kill().expect("killed");
        child.wait().expect("a child");
        let mut again = demo.client(0);
        let (now, before, _) = summary(again.args(["export", "--format", format]).arg(&out), 0);
        assert_eq!(now + before, MESSAGES as u64, "{format}");
        // Read back by the importer, as dry runs do.
        let mut back = demo.client(0);
        let read = summary(back.args(["import", "--dry-run"]).arg(&out), 0);
        assert_eq!(read, (MESSAGES as u64, 0, 0), "{format}");
    }
}

/// An administrator's way, and the server's limit: one octet below, at it, one above.
#[test]
fn an_app_password_imports_for_an_account_up_to_the_servers_limit() {
    const LIMIT: usize = 70_000;
    let setup = Setup::new(&format!("[limits]\nmessage_size = {LIMIT}"), crate::server::ALL_PORTS);
    setup.account(ALICE);
    let server = setup.start();
    let source = setup.path("Maildir");
    maildir(&source, 0);
    let head = "Subject: large\r\n\r\n";
    for size in [LIMIT - 1, LIMIT, LIMIT + 1] {
        let body = "x".repeat(size - head.len() - 2);
        fs::write(source.join(format!("new/{size}.x")), format!("{head}{body}\r\n")).expect("written");
    }
    fs::write(source.join("new/1.empty"), "").expect("written");
    fs::create_dir(source.join("new/2.folder")).expect("made");
    fs::write(setup.path("token"), TOKEN).expect("written");
    let url = format!("imaps://{ALICE}@127.0.0.1:{}", server.address("imaps").port());
    let command = |args: &[&str]| {
        let mut command = sealpost();
        command.arg("--dir").arg(setup.path("client")).arg("--ca-file").arg(setup.path("cert.pem"));
        command.args(args).arg(&source).args(["--account", &url, "--account-password-file"]);
        command.arg(setup.path("token"));
        command
    };
    assert_eq!(summary(&mut command(&["import"]), 1), (2, 0, 3));
    let output = run(&mut command(&["import"]));
    let said = stderr(&output);
    for what in
        ["70001.x: it has 70001 octets", "70000 at most", "1.empty: it is empty", "2.folder: it is no file"]
    {
        assert!(said.contains(what), "{what}: {said}");
    }
    assert!(stdout(&output).contains("2 were there already; 3 could not be"), "{}", stdout(&output));
}
