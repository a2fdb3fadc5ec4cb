//! OfflineIMAP 3: a Maildir and a mailbox kept the same, by UIDs and flags alone.

use super::{Home, Login, World, append, flags, number_of, status, tree};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

pub fn offlineimap(home: &Home, login: &Login) {
    let Login { host, imap, user, password, ca, .. } = login;
    let text = format!(
        "[general]\naccounts = alice\nmetadata = {0}/.offlineimap\nui = quiet\n\n\
         [Account alice]\nlocalrepository = near\nremoterepository = far\n\n\
         [Repository near]\ntype = Maildir\nlocalfolders = {0}/mail\n\n\
         [Repository far]\ntype = IMAP\nremotehost = {host}\nremoteport = {imap}\nremoteuser = {user}\n\
         remotepass = {password}\nssl = yes\nsslcacertfile = {1}\n",
        home.at("").display(),
        ca.display(),
    );
    let settings = home.write(".offlineimaprc", &text);
    World::succeed(home.program("offlineimap").arg("-o").arg("-c").arg(settings));
}

/// Files of messages by number.
pub fn near(folder: &Path) -> BTreeMap<u32, PathBuf> {
    let files = ["cur", "new"].iter().flat_map(|part| tree(&folder.join(part)));
    files.map(|(path, octets)| (number_of(&String::from_utf8_lossy(&octets)).expect("ours"), path)).collect()
}

/// Letters of a Maildir's file.
pub fn letters(path: &Path) -> &str {
    path.to_str().and_then(|path| path.rsplit_once(":2,")).map_or("", |(_, letters)| letters)
}

#[test]
fn offlineimap_keeps_two_hundred_messages_the_same_on_both_sides() {
    let world = World::new();
    let mut alice = world.alice();
    append(&mut alice, "INBOX", "", 0..150);
    append(&mut alice, "INBOX", "\\Seen \\Flagged", 150..200);
    append(&mut alice, "Archive", "\\Answered", 200..205);
    offlineimap(&world.home, &world.login());
    let inbox = world.home("mail/INBOX");
    let files = near(&inbox);
    assert_eq!(files.keys().copied().collect::<Vec<_>>(), (0..200).collect::<Vec<_>>());
    assert!(files.iter().all(|(number, path)| letters(path) == if *number < 150 { "" } else { "FS" }));
    assert!(near(&world.home("mail/Archive")).values().all(|path| letters(path) == "R"));

    // A run without need.
    let before = (tree(&world.home("mail")), status(&mut alice, "INBOX"), status(&mut alice, "Archive"));
    offlineimap(&world.home, &world.login());
    assert!(
        before == (tree(&world.home("mail")), status(&mut alice, "INBOX"), status(&mut alice, "Archive"))
    );

    // Changes on both sides: flags, a removal each, a message each.
    let seen = inbox
        .join("cur")
        .join(format!("{}S", files[&1].file_name().expect("a name").display()).replace("/new/", "/cur/"));
    fs::rename(&files[&1], seen).expect("renamed");
    fs::remove_file(&files[&2]).expect("removed");
    let own = super::message(300).replace("\r\n", "\n");
    fs::write(inbox.join("cur/1795469760.own.near:2,S"), own).expect("written");
    assert!(alice.imap("SELECT INBOX").contains("a OK"));
    assert!(alice.imap("STORE 4 +FLAGS.SILENT (\\Answered)").contains("a OK"));
    assert!(alice.imap("STORE 5 +FLAGS.SILENT (\\Deleted)").contains("a OK"));
    assert!(alice.imap("EXPUNGE").contains("* 5 EXPUNGE"));
    append(&mut alice, "INBOX", "\\Draft", 301..302);
    offlineimap(&world.home, &world.login());
    let (far, near) = (flags(&mut alice, "INBOX"), near(&inbox));
    let numbers: Vec<u32> = (0..200).filter(|n| ![2, 4].contains(n)).chain([300, 301]).collect();
    assert_eq!(far.keys().copied().collect::<Vec<_>>(), numbers);
    assert_eq!(near.keys().copied().collect::<Vec<_>>(), numbers);
    assert_eq!(
        [&*far[&1], &*far[&3], &*far[&300], &*far[&301]],
        ["\\Seen", "\\Answered", "\\Seen", "\\Draft"]
    );
    assert_eq!([letters(&near[&3]), letters(&near[&301])], ["R", "D"]);
}
