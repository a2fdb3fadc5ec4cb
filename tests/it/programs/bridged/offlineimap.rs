//! OfflineIMAP through the bridge.

use super::{
    super::{offlineimap::*, status, tree},
    Bridged, numbers,
};
use std::{fs, path::Path};

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("UTF-8").replace('\n', "\r\n")
}

#[test]
fn offlineimap_keeps_a_mixed_mailbox_the_same_on_both_sides() {
    let world = Bridged::new();
    let mixed = world.fill();
    let (login, inbox) = (world.login(), world.home.at("mail/INBOX"));
    offlineimap(&world.home, &login);
    let files = near(&inbox);
    assert_eq!(files.keys().collect::<Vec<_>>(), mixed.keys().collect::<Vec<_>>());
    for (number, mail) in &mixed {
        world.check(mail, &read(&files[number]));
    }
    // A run without need.
    let (mut far, mut server) = (world.far(), world.straight());
    let before = (tree(&world.home.at("mail")), status(&mut server, "INBOX"));
    offlineimap(&world.home, &login);
    assert!(before == (tree(&world.home.at("mail")), status(&mut server, "INBOX")));

    // Changes on both sides.
    fs::remove_file(&files[&2]).expect("removed");
    let name = format!("{}S", files[&1].file_name().expect("a name").display());
    fs::rename(&files[&1], inbox.join("cur").join(name)).expect("renamed");
    let own = super::super::message(300).replace("From: Bob <bob@example.com>", "From: alice@example.net");
    fs::write(inbox.join("cur/1795469760.own.near:2,S"), own.replace("\r\n", "\n")).expect("written");
    far.imap("SELECT INBOX");
    let at = numbers(&mut far);
    assert!(far.imap(&format!("STORE {} +FLAGS (\\Answered own-keyword)", at[&3])).contains("a OK"));
    assert!(far.imap(&format!("STORE {} +FLAGS (\\Deleted)", at[&52])).contains("a OK"));
    assert!(far.imap("EXPUNGE").contains("a OK"));
    offlineimap(&world.home, &login);
    let files = near(&inbox);
    let wanted: Vec<u32> = mixed.keys().copied().filter(|n| ![2, 52].contains(n)).chain([300]).collect();
    assert_eq!(files.keys().copied().collect::<Vec<_>>(), wanted);
    let flags = super::super::flags(&mut far, "INBOX");
    assert_eq!(flags.keys().copied().collect::<Vec<_>>(), wanted);
    assert_eq!([letters(&files[&3]), letters(&files[&1])], ["R", "S"]);
    assert_eq!(flags[&3], "$Sealed $Signed \\Answered own-keyword");
    assert_eq!(flags[&1], "$Sealed $Signed \\Seen");
    // What it filed for Alice lies sealed.
    let kept = server.messages("INBOX", "(BODY.PEEK[])");
    let kept = String::from_utf8_lossy(kept.last().expect("there")).into_owned();
    assert!(kept.contains("BEGIN AGE") && !kept.contains("Number 300"), "{kept}");
    let before = (tree(&world.home.at("mail")), status(&mut server, "INBOX"));
    offlineimap(&world.home, &login);
    assert!(before == (tree(&world.home.at("mail")), status(&mut server, "INBOX")));
}
