//! Programs that fetch over POP3: Python's poplib, curl, fetchmail and getmail. Each gets every octet, knows the second
//! time what it has, and what it removes is gone for IMAP.

use super::{ALICE, HOST, TOKEN, World, append, flags, message, number_of};
use crate::{support::run_with, tree::root};
use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

const COUNT: u32 = 30;

fn with_mail() -> World {
    let world = World::new();
    append(&mut world.alice(), "INBOX", "", 0..COUNT);
    world
}

/// Numbers of the messages that are on the server.
fn on_the_server(world: &World) -> BTreeSet<u32> {
    flags(&mut world.alice(), "INBOX").into_keys().collect()
}

#[test]
fn python_poplib() {
    let world = with_mail();
    let mut python = world.program("/usr/bin/python3");
    python.arg(root().join("tests/interop/pop3.py")).arg(HOST);
    python.args([world.port("pop3").to_string(), world.port("pop3s").to_string()]);
    python.arg(world.ca()).args([ALICE, TOKEN, &COUNT.to_string()]);
    assert_eq!(World::succeed(&mut python), "ok\n");
    let left = on_the_server(&world);
    assert_eq!(left, (0..COUNT).filter(|number| *number != 1).collect());
}

fn curl(world: &World, scheme: &str, path: &str) -> Command {
    let mut curl = world.program("curl");
    curl.args(["--silent", "--show-error", "--max-time", "60", "--ssl-reqd", "--cacert"]).arg(world.ca());
    curl.args(["--user", &format!("{ALICE}:{TOKEN}")]);
    curl.arg(format!("{scheme}://{HOST}:{}/{path}", world.port(scheme)));
    curl
}

#[test]
fn curl_lists_fetches_and_removes() {
    let world = with_mail();
    for (scheme, login) in [("pop3s", "AUTH=*"), ("pop3", "AUTH=PLAIN"), ("pop3s", "AUTH=LOGIN")] {
        let get = |path: &str, more: &[&str]| {
            World::succeed(curl(&world, scheme, path).args(["--login-options", login]).args(more))
        };
        let list = get("", &[]);
        assert_eq!(list.lines().count(), COUNT as usize, "{list}");
        for number in 0..10 {
            let text = get(&format!("{}", number + 1), &[]);
            assert_eq!(text, message(number), "{scheme} {login}");
            let line = list.lines().nth(number as usize).expect("its line");
            assert_eq!(line, format!("{} {}", number + 1, text.len()));
        }
        // It puts the path behind the command.
        let top = get("0", &["--request", "TOP 2"]);
        assert!(message(1).starts_with(&top) && top.ends_with("\r\n\r\n"), "{top}");
        assert_eq!(get("", &["--request", "UIDL"]).lines().count(), COUNT as usize);
    }
    World::succeed(curl(&world, "pop3s", "3").args(["--request", "DELE", "--list-only"]));
    assert!(!on_the_server(&world).contains(&2));
    // A wrong password is a login denied (67), and nothing is tried in clear text (64).
    let mut wrong = curl(&world, "pop3s", "1");
    wrong.args(["--user", &format!("{ALICE}:wrong")]);
    run_with(&mut wrong, b"", 67);
}

/// What a program handed on, by number: the delivery is a shell that appends to a file, with LF as they have it.
fn handed_on(world: &World) -> BTreeMap<u32, String> {
    let text = std::fs::read_to_string(world.home("inbox")).unwrap_or_default();
    let messages = text.split("=== end\n").filter(|part| !part.is_empty());
    messages.map(|part| (number_of(part).expect("a message of ours"), part.to_owned())).collect()
}

fn fetchmail(world: &World, service: &str, tls: &str, more: &str) -> Command {
    let text = format!(
        "set no bouncemail\nset no spambounce\npoll {HOST} service {} protocol pop3 uidl\n\
         user \"{ALICE}\" password \"{TOKEN}\" {tls} sslcertck sslcertfile {}\n\
         mda \"cat >> inbox && echo === end >> inbox\"\n{more}\n",
        world.port(service),
        world.ca().display(),
    );
    world.write(".fetchmailrc", &text);
    let mut fetchmail = world.program("fetchmail");
    fetchmail.args(["--invisible", "--nosyslog", "--verbose"]);
    fetchmail
}

#[test]
fn fetchmail_keeps_then_takes() {
    let world = with_mail();
    World::succeed(&mut fetchmail(&world, "pop3s", "ssl", "keep"));
    let got = handed_on(&world);
    assert_eq!(got.keys().copied().collect::<Vec<_>>(), (0..COUNT).collect::<Vec<_>>());
    for (number, text) in got {
        // fetchmail puts a Received field of its own in front.
        assert!(text.ends_with(&message(number).replace("\r\n", "\n")), "{number}: {text}");
    }
    // It knows what it has by the unique ids, also after one more came. (Exit status 1: there was nothing.)
    std::fs::remove_file(world.home("inbox")).expect("there");
    run_with(&mut fetchmail(&world, "pop3s", "ssl", "keep"), b"", 1);
    append(&mut world.alice(), "INBOX", "", COUNT..=COUNT);
    World::succeed(&mut fetchmail(&world, "pop3", "sslproto TLS1.2+", "keep"));
    assert_eq!(handed_on(&world).into_keys().collect::<Vec<_>>(), [COUNT]);
    assert_eq!(on_the_server(&world).len(), COUNT as usize + 1);
    // And takes all.
    std::fs::remove_file(world.home("inbox")).expect("there");
    World::succeed(&mut fetchmail(&world, "pop3", "sslproto TLS1.2+", "fetchall nokeep"));
    assert_eq!(handed_on(&world).len(), COUNT as usize + 1);
    assert!(on_the_server(&world).is_empty());
}

fn getmail(world: &World, delete: bool) {
    let text = format!(
        "[retriever]\ntype = SimplePOP3SSLRetriever\nserver = {HOST}\nport = {}\nusername = {ALICE}\npassword = {TOKEN}\n\
         ca_certs = {}\n[destination]\ntype = MDA_external\npath = /bin/sh\n\
         arguments = (\"-c\", \"cat >> inbox && echo === end >> inbox\")\nallow_root_commands = true\n\
         [options]\ndelete = {delete}\nread_all = false\ndelivered_to = false\nreceived = false\n",
        world.port("pop3s"),
        world.ca().display(),
    );
    world.write(".getmail/getmailrc", &text);
    World::succeed(&mut world.program("getmail"));
}

#[test]
fn getmail_knows_what_it_has() {
    let world = with_mail();
    getmail(&world, false);
    let got = handed_on(&world);
    assert_eq!(got.len(), COUNT as usize);
    for (number, text) in &got {
        assert!(text.ends_with(&message(*number).replace("\r\n", "\n")), "{number}: {text}");
    }
    getmail(&world, false);
    assert_eq!(handed_on(&world), got, "it fetched what it has");
    append(&mut world.alice(), "INBOX", "", COUNT..=COUNT);
    getmail(&world, true);
    assert_eq!(handed_on(&world).len(), COUNT as usize + 1);
    assert!(on_the_server(&world).is_empty());
}
