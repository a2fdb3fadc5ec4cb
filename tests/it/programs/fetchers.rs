//! Programs that fetch mail and go: curl, fetchmail, getmail.

use super::{ALICE, HOST, TOKEN, World, append, flags, message, number_of};
use crate::support::{run_with, stdout};
use std::{collections::BTreeMap, fs, process::Command};

/// Numbers of the messages in the file that programs deliver to, in order; their bodies must be what was sent.
fn got(world: &World) -> Vec<u32> {
    let text = fs::read_to_string(world.home("got")).unwrap_or_default();
    let numbers: Vec<u32> =
        text.lines().filter(|line| line.starts_with("Message-ID: ")).filter_map(number_of).collect();
    for number in &numbers {
        let body = message(*number).split_once("\r\n\r\n").expect("a header").1.replace("\r\n", "\n");
        assert!(text.contains(&body), "{number} was changed");
    }
    numbers
}

fn curl(world: &World, path: &str) -> Command {
    let mut command = world.program("curl");
    command
        .args(["--silent", "--show-error", "--max-time", "60", "--cacert"])
        .arg(world.ca())
        .args(["--user", &format!("{ALICE}:{TOKEN}")])
        .arg(format!("imaps://{HOST}:{}/{path}", world.port("imaps")));
    command
}

#[test]
fn curl_lists_appends_fetches_and_removes() {
    let world = World::new();
    let listed = World::succeed(&mut curl(&world, ""));
    for (name, attribute) in [("INBOX", "\\HasNoChildren"), ("Sent", "\\Sent"), ("Trash", "\\Trash")] {
        assert!(
            listed.lines().any(|line| line.contains(attribute) && line.trim_end().ends_with(name)),
            "{listed}"
        );
    }
    for number in [1, 2] {
        let file = world.write(&format!("{number}.eml"), &message(number));
        World::succeed(curl(&world, "Drafts").arg("--upload-file").arg(file));
    }
    // curl marks what it uploads as \Seen.
    let mut alice = world.alice();
    assert_eq!(flags(&mut alice, "Drafts"), BTreeMap::from([1, 2].map(|n| (n, "\\Seen".to_owned()))));
    let fetched = run_with(&mut curl(&world, "Drafts;UID=1"), b"", 0);
    assert_eq!(stdout(&fetched), message(1));
    let header = World::succeed(&mut curl(&world, "Drafts;UID=2;SECTION=HEADER.FIELDS%20(Message-ID)"));
    assert_eq!(header.trim(), "Message-ID: <2@programs.example>");
    let found = World::succeed(&mut curl(&world, "Drafts?SUBJECT%20%22message%202%22"));
    assert_eq!(found.trim(), "* SEARCH 2");
    World::succeed(curl(&world, "Drafts").args(["-X", "STORE 1 +FLAGS \\Deleted"]));
    assert_eq!(flags(&mut alice, "Drafts")[&1], "\\Deleted \\Seen");
    assert!(World::succeed(curl(&world, "Drafts").args(["-X", "EXPUNGE"])).contains("* 1 EXPUNGE"));
    assert_eq!(flags(&mut alice, "Drafts").into_keys().collect::<Vec<_>>(), [2]);
}

#[test]
fn fetchmail_takes_what_is_new_and_leaves_or_removes_it() {
    let world = World::new();
    let configuration = |how: &str| {
        let text = format!(
            "poll {HOST} service {} protocol IMAP\n user \"{ALICE}\" password \"{TOKEN}\"\n ssl sslcertck \
             sslcertfile \"{}\" {how}\n mda \"cat >> {}\"\n",
            world.port("imaps"),
            world.ca().display(),
            world.home("got").display()
        );
        world.write("fetchmailrc", &text)
    };
    let fetch = |how: &str, status: i32| {
        let mut command = world.program("fetchmail");
        command.arg("--fetchmailrc").arg(configuration(how)).args(["--nosyslog", "--nodetach", "--pidfile"]);
        run_with(command.arg(world.home("fetchmail.pid")), b"", status);
        got(&world)
    };
    let mut alice = world.alice();
    append(&mut alice, "INBOX", "", 1..21);
    append(&mut alice, "INBOX", "\\Seen", 21..23);
    assert_eq!(fetch("keep", 0), (1..21).collect::<Vec<_>>());
    assert!(flags(&mut alice, "INBOX").values().all(|flags| flags == "\\Seen"));
    // Status 1: there was nothing new.
    assert_eq!(fetch("keep", 1).len(), 20);
    append(&mut alice, "INBOX", "", 23..25);
    assert_eq!(fetch("nokeep", 0)[20..], [23, 24]);
    assert_eq!(flags(&mut alice, "INBOX").into_keys().collect::<Vec<_>>(), (1..23).collect::<Vec<_>>());
}

#[test]
fn getmail_takes_each_message_once() {
    let world = World::new();
    let text = format!(
        "[retriever]\ntype = SimpleIMAPSSLRetriever\nserver = {HOST}\nport = {}\nusername = {ALICE}\n\
         password = {TOKEN}\nca_certs = {}\nmailboxes = (\"INBOX\", \"Archive\")\n\n\
         [destination]\ntype = MDA_external\npath = /bin/sh\narguments = (\"-c\", \"cat >> {}\")\n\
         allow_root_commands = true\n\n\
         [options]\nread_all = false\ndelete = false\ndelivered_to = false\nreceived = false\n",
        world.port("imaps"),
        world.ca().display(),
        world.home("got").display(),
    );
    world.write(".getmail/getmailrc", &text);
    let get = || {
        World::succeed(world.program("getmail").arg("--getmaildir").arg(world.home(".getmail")));
        got(&world)
    };
    let mut alice = world.alice();
    append(&mut alice, "INBOX", "", 1..21);
    append(&mut alice, "Archive", "\\Seen", 21..31);
    assert_eq!(get(), (1..31).collect::<Vec<_>>());
    assert_eq!(get().len(), 30);
    append(&mut alice, "INBOX", "", 31..32);
    assert_eq!(get(), (1..32).collect::<Vec<_>>());
    // It reads without marking.
    assert!(flags(&mut alice, "INBOX").values().all(|flags| !flags.contains("Deleted")));
}
