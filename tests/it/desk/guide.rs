//! docs/user.md, done as it says: each command of it runs, in order, for somebody who has nothing but a code.

use super::Desktop;
use crate::{
    bridge::{Bridge, wait_for},
    support::{Demo, python, run_with, sealpost, stderr, stdout, succeed},
    tree,
};
use serde_json::Value;
use std::{collections::VecDeque, fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command};

/// The text between fences, each with what stands behind the first one.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    page.split("```").skip(1).step_by(2).filter_map(|block| block.split_once('\n')).collect()
}

/// The commands that stand in blocks of their own, and those that stand in a table or a sentence.
fn commands(page: &str) -> (Vec<String>, Vec<String>) {
    let is = |text: &&str| text.starts_with("sealpost ");
    let shown = blocks(page).into_iter().filter(|(kind, _)| kind.is_empty());
    let shown = shown.flat_map(|(_, text)| text.lines()).filter(is).map(str::to_owned).collect();
    let prose: String = page.split("```").step_by(2).collect();
    let named = prose.split('`').skip(1).step_by(2).filter(is).map(str::to_owned).collect();
    (shown, named)
}

/// A newcomer: an account that was just made, a home, a desktop, and `sealpost` as it is installed.
struct Newcomer<'a> {
    demo: &'a Demo,
    desktop: &'a Desktop,
    home: PathBuf,
    code: String,
}

impl<'a> Newcomer<'a> {
    fn new(demo: &'a Demo, desktop: &'a Desktop) -> Self {
        let config = demo.home().join(demo.server(0, "config"));
        let added =
            succeed(sealpost().args(["user", "add", "you@example.net", "--json", "--config"]).arg(config));
        let added: Value = serde_json::from_str(&added).expect("JSON");
        let code = added["code"].as_str().unwrap_or_else(|| panic!("{added}")).to_owned();
        let home = demo.scratch().join("you");
        for folder in ["bin", ".config/neomutt", "Mail"] {
            fs::create_dir_all(home.join(folder)).expect("made");
        }
        // Where servers are is the world's to say, not the guide's.
        let script = format!(
            "#!/bin/sh\nexec '{}' --dns {} --ca-file '{}' --mx-port {} \"$@\"\n",
            env!("CARGO_BIN_EXE_sealpost"),
            demo.json["dns"].as_str().expect("an address"),
            demo.home().join(demo.json["ca_file"].as_str().expect("a path")).display(),
            demo.server(0, "smtp").rsplit(':').next().expect("a port"),
        );
        let program = home.join("bin/sealpost");
        fs::write(&program, script).expect("written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).expect("set");
        Self { demo, desktop, home, code }
    }

    /// A command as it stands on the page.
    fn shell(&self, line: &str) -> Command {
        let mut shell = Command::new("sh");
        shell
            .env_clear()
            .envs(self.desktop.environment())
            .env_remove("XDG_DATA_HOME")
            // Nobody's systemd is to run the bridge of a test.
            .env_remove("XDG_RUNTIME_DIR")
            .env("HOME", &self.home)
            .env("PATH", format!("{}/bin:/usr/local/bin:/usr/bin:/bin", self.home.display()))
            .current_dir(&self.home)
            .args(["-c", line]);
        shell
    }

    /// Done by somebody who types this at a terminal. What the terminal showed.
    fn types(&self, line: &str, typed: &str) -> String {
        let mut script = self.shell("exec script --quiet --return --command \"$0\" /dev/null");
        stdout(&run_with(script.env("TERM", "dumb").arg(line), typed.as_bytes(), 0))
    }

    /// Done where nothing is asked, with this on standard input.
    fn does(&self, line: &str, given: &str) -> String {
        stdout(&run_with(&mut self.shell(line), given.as_bytes(), 0))
    }
}

#[test]
fn the_guide_leads_from_a_code_to_a_mail_program() {
    let page = tree::text("docs/user.md");
    let (shown, named) = commands(&page);
    let mut shown: VecDeque<String> = shown.into();
    // The next command of the page, which must be this one: none is left out, and none comes before its turn.
    let mut next = |line: &str| {
        assert_eq!(shown.pop_front().as_deref(), Some(line));
        line.to_owned()
    };
    let (demo, desktop) = (Demo::start(&[]), Desktop::start());
    let you = Newcomer::new(&demo, &desktop);

    // 1. The code, no password of one's own but the passphrase that is shown, and a recovery kit at another time.
    let told = you.types(&next("sealpost enrol you@example.net"), &format!("{}\n\nno\n", you.code));
    let is_words = |line: &&str| {
        line.split(' ').count() == 6 && line.chars().all(|c| " -".contains(c) || c.is_ascii_lowercase())
    };
    let words = told.lines().map(str::trim).find(is_words).unwrap_or_else(|| panic!("no six words: {told}"));
    let words = format!("{words}\n");

    // 2. The service cannot be started here, which is said with the command that does it; a bridge runs instead.
    let installed = you.does(&next("sealpost bridge install"), "");
    assert!(installed.contains("systemctl --user"), "{installed}");
    let mut command = you.shell("exec sealpost \"$@\"");
    command.arg("sealpost");
    let bridge = Bridge::start_as(command, &[]);
    let info = you.does(&next("sealpost bridge info"), "");
    for (name, value) in [
        ("IMAP", bridge.text("/imap")),
        ("Submission", bridge.text("/submission")),
        ("Trust", bridge.text("/ca_file")),
        ("User", "you@example.net".to_owned()),
        ("Password", bridge.text("/accounts/0/password")),
        ("Secrets", "sealed; the key is in the desktop's key store".to_owned()),
    ] {
        let line = info
            .lines()
            .find(|line| line.split(' ').next() == Some(name))
            .unwrap_or_else(|| panic!("{name}: {info}"));
        assert!(line.contains(&value), "{line}");
    }
    // The page shows what is shown.
    let example =
        blocks(&page).into_iter().find(|(_, text)| text.starts_with("IMAP ")).expect("an example").1;
    let firsts = |text: &str| {
        text.lines().filter_map(|line| line.split(' ').next().map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!(firsts(&info)[..6], firsts(example)[..]);

    // 3. Each of the settings, as the table has it; then a letter goes out and comes in.
    let settings: Vec<&String> =
        named.iter().filter(|line| line.starts_with("sealpost bridge info --for")).collect();
    assert_eq!(settings.len(), 5);
    for line in settings {
        you.does(line, "");
    }
    you.does("chmod 600 ~/.msmtprc ~/.mbsyncrc", "");
    let letter = "From: you@example.net\nTo: bob@example.com\nSubject: the first\nMessage-ID: <first@example.net>\n\
                  Date: Mon, 23 Nov 2026 21:36:00 +0000\n\nin five minutes\n";
    you.does("msmtp -a sealpost bob@example.com", letter);
    let (status, read) = you.demo.read_when_there(1, "<first@example.net>");
    assert_eq!((status, read["subject"].as_str()), (0, Some("the first")), "{read}");
    let bob = Bridge::start(&demo, 1, &[]);
    let answer = crate::bridge::composed_by("bob@example.com", "you@example.net", "the answer", "welcome");
    assert!(bob.send("bob@example.com", &["you@example.net"], &answer).starts_with("250 "));
    wait_for(&mut bridge.imap(), 1);
    you.does("mkdir -p ~/Mail/sealpost && mbsync sealpost", "");
    assert!(you.does("cat ~/Mail/sealpost/INBOX/*/*", "").contains("welcome"));

    // Locked and unlocked.
    assert!(you.does(&next("sealpost lock"), "").contains("running bridge let go"));
    let refused = run_with(&mut you.shell("mbsync sealpost"), b"", 1);
    assert!(stderr(&refused).contains("sealpost unlock"), "{}", stderr(&refused));
    assert!(you.types(&next("sealpost unlock"), &words).contains("is unlocked"));
    you.does(&next("sealpost bridge install --lock-after 30"), "");
    assert!(
        you.does("cat ~/.config/systemd/user/sealpost-bridge.service", "")
            .contains("\"--lock-after\" \"30\"")
    );
    drop(bridge);

    // Another device, another day: what stands in sentences.
    let spoken = |line: &str| assert!(named.iter().any(|named| named == line), "{line} is not in {named:?}");
    spoken("sealpost login you@example.net");
    you.types("SEALPOST_DIR=$HOME/other sealpost login you@example.net", &words);
    spoken("sealpost contact show ADDR");
    spoken("sealpost contact compare ADDR");
    assert!(you.does("sealpost contact show bob@example.com", "").contains("bob@example.com"));
    you.does("sealpost contact compare bob@example.com", "");
    spoken("sealpost verify FILE");
    you.does("sealpost verify \"$(ls ~/Mail/sealpost/INBOX/*/* | head -n 1)\" || test $? = 4", "");
    spoken("sealpost passwd");
    you.types("sealpost passwd", &format!("{words}\n"));
    spoken("sealpost recovery use");
    spoken("sealpost enrol");
    spoken("sealpost bridge uninstall");
    spoken("sealpost --password-file FILE bridge install");
    you.does("echo words > FILE; sealpost --password-file FILE bridge install", "");
    assert!(you.does("sealpost bridge uninstall", "").contains("Removed"));
    // Without systemd: it is what ran all the time.
    next("sealpost bridge");
    assert!(shown.is_empty(), "not tried: {shown:?}");
}

#[test]
fn the_example_for_launchd_is_a_property_list_that_runs_a_bridge() {
    let page = tree::text("docs/user.md");
    let (_, list) = blocks(&page).into_iter().find(|(kind, _)| *kind == "xml").expect("the example");
    let script = "import json, plistlib, sys; print(json.dumps(plistlib.loads(sys.stdin.buffer.read())))";
    let read = run_with(python().args(["-c", script]), list.as_bytes(), 0);
    let read: Value = serde_json::from_slice(&read.stdout).expect("JSON");
    let words: Vec<&str> =
        read["ProgramArguments"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    let [_, words @ ..] = words.as_slice() else { panic!("{read}") };
    assert_eq!((words[0], &read["KeepAlive"]), ("bridge", &Value::Bool(true)));
    // The program takes these words.
    succeed(sealpost().args(words).arg("--help"));
}
