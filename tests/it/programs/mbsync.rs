//! mbsync (isync): the strictest reader of UIDs there is. Upload, two-way synchronisation of 2,000 messages, changes on
//! both sides, and runs that find nothing to do.

use super::{Client, Home, Login, World, append, flags, message, number_of, status, tree};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Messages that lie in the Maildir first, and those that the server has first.
const NEAR: std::ops::Range<u32> = 0..1200;
const FAR: std::ops::Range<u32> = 1200..2000;

pub fn configure(home: &Home, login: &Login) {
    let text = format!(
        "IMAPAccount alice\nHost {}\nPort {}\nUser {}\nPass {}\nSSLType IMAPS\n\
         SystemCertificates no\nCertificateFile {}\n\n\
         IMAPStore far\nAccount alice\n\n\
         MaildirStore near\nPath ~/mail/\nInbox ~/mail/INBOX\nSubFolders Verbatim\n\n\
         Channel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nRemove None\nExpunge Both\nSyncState *\n",
        login.host,
        login.imap,
        login.user,
        login.password,
        login.ca.display(),
    );
    home.write(".mbsyncrc", &text);
}

pub fn mbsync(home: &Home) -> String {
    World::succeed(home.program("mbsync").arg("--all"))
}

/// Puts a message into a Maildir, with LF as there.
pub fn deliver(folder: &Path, number: u32, letters: &str, message: &str) {
    for part in ["cur", "new", "tmp"] {
        fs::create_dir_all(folder.join(part)).expect("made");
    }
    let name = format!("cur/{}.{number}.near:2,{letters}", 1_795_469_760 + number);
    fs::write(folder.join(name), message.replace("\r\n", "\n")).expect("written");
}

/// What a Maildir holds: letters of flags by number. `check` gets each message, with the line ends of mail.
pub fn near(folder: &Path, check: impl Fn(u32, &str)) -> BTreeMap<u32, String> {
    let mut all = BTreeMap::new();
    for (path, octets) in ["cur", "new"].iter().flat_map(|part| tree(&folder.join(part))) {
        let text = String::from_utf8(octets).expect("UTF-8");
        let number = number_of(&text).expect("a message of ours");
        // mbsync marks with X-TUID what it has sent to find it again, and leaves the mark.
        let lines = text.split_inclusive('\n').filter(|line| !line.starts_with("X-TUID: "));
        check(number, &lines.collect::<String>().replace('\n', "\r\n"));
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let letters = name.split_once(":2,").map_or("", |(_, letters)| letters).to_owned();
        assert!(all.insert(number, letters).is_none(), "{number} came twice");
    }
    all
}

/// Flags of IMAP as a Maildir writes them.
fn letters(flags: &str) -> String {
    let pairs = [
        ("D", "\\Draft"),
        ("F", "\\Flagged"),
        ("P", "$Forwarded"),
        ("R", "\\Answered"),
        ("S", "\\Seen"),
        ("T", "\\Deleted"),
    ];
    pairs
        .into_iter()
        .filter(|(_, flag)| flags.split(' ').any(|f| f == *flag))
        .map(|(letter, _)| letter)
        .collect()
}

/// Letters of flags by number, which INBOX has on both sides, each message as `check` wants it.
pub fn same_on_both_sides(
    far: &mut Client,
    folder: &Path,
    check: impl Fn(u32, &str),
) -> BTreeMap<u32, String> {
    let far: BTreeMap<_, _> =
        flags(far, "INBOX").into_iter().map(|(number, flags)| (number, letters(&flags))).collect();
    let near = near(folder, check);
    let differs: Vec<_> = far.keys().chain(near.keys()).filter(|n| far.get(n) != near.get(n)).collect();
    assert!(differs.is_empty(), "the two sides differ in {differs:?}");
    far
}

/// A run with nothing to do leaves every octet of both sides, and of its notes, as they were.
pub fn changes_nothing(home: &Home, far: &mut Client) {
    let before = (tree(&home.at("mail")), status(far, "INBOX"));
    mbsync(home);
    let after = (tree(&home.at("mail")), status(far, "INBOX"));
    assert_eq!(before.1, after.1);
    let both = before.0.keys().chain(after.0.keys());
    let changed: BTreeSet<_> = both.filter(|path| before.0.get(*path) != after.0.get(*path)).collect();
    assert!(changed.is_empty(), "a run without need changed {changed:?}");
}

/// The file of a message.
pub fn find(folder: &Path, number: u32) -> PathBuf {
    let mut files = ["cur", "new"].iter().flat_map(|part| tree(&folder.join(part)));
    let found = files.find(|(_, octets)| number_of(&String::from_utf8_lossy(octets)) == Some(number));
    found.unwrap_or_else(|| panic!("{number} is not in the Maildir")).0
}

pub fn rename(folder: &Path, number: u32, letters: &str) {
    let path = find(folder, number);
    let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
    let base = name.split_once(":2,").map_or(&*name, |(base, _)| base);
    fs::rename(&path, folder.join("cur").join(format!("{base}:2,{letters}"))).expect("renamed");
}

#[test]
fn mbsync_keeps_two_thousand_messages_the_same_on_both_sides() {
    let world = World::new();
    configure(&world.home, &world.login());
    let deliver = |folder: &Path, number, letters: &str| deliver(folder, number, letters, &message(number));
    // To the octet.
    let as_sent = |number: u32, text: &str| assert_eq!(text, message(number));
    let inbox = world.home("mail/INBOX");
    for number in NEAR {
        deliver(&inbox, number, ["", "S", "FS", "RS", "DS"][number as usize % 5]);
    }
    // mbsync does not translate names: who has such a folder writes it as IMAP does.
    deliver(&world.home("mail/Projects"), 2999, "");
    for number in 3000..3010 {
        deliver(&world.home("mail/Projects/Gr&APYA3w-e"), number, "S");
    }
    let mut alice = world.alice();
    append(&mut alice, "INBOX", "", FAR.start..FAR.start + 400);
    append(&mut alice, "INBOX", "\\Seen $Forwarded", FAR.start + 400..FAR.end);

    mbsync(&world.home);
    let all = same_on_both_sides(&mut world.alice(), &inbox, as_sent);
    assert_eq!(all.len(), 2000);
    assert_eq!([&all[&0], &all[&1], &all[&2], &all[&3], &all[&4]], ["", "S", "FS", "RS", "DS"]);
    assert_eq!([&all[&1200], &all[&1999]], ["", "PS"]);
    // The folder of the Maildir was made, and the server's own folders came to it.
    assert_eq!(flags(&mut alice, "Projects/Gr&APYA3w-e").len(), 10);
    assert!(world.home("mail/Sent/cur").is_dir() && world.home("mail/Trash/cur").is_dir());
    changes_nothing(&world.home, &mut world.alice());

    // Flags and expunges, on both sides at once.
    rename(&inbox, 10, "FS");
    rename(&inbox, 11, "");
    rename(&inbox, 1201, "RS");
    rename(&inbox, 12, "ST");
    fs::remove_file(find(&inbox, 13)).expect("removed");
    assert!(alice.imap("SELECT INBOX").contains("a OK"));
    for (number, change) in [
        (20, "+FLAGS.SILENT (\\Flagged)"),
        (21, "-FLAGS.SILENT (\\Seen)"),
        (1500, "FLAGS.SILENT (\\Answered)"),
        (22, "+FLAGS.SILENT (\\Deleted)"),
        (1999, "+FLAGS.SILENT (\\Deleted)"),
    ] {
        let found = alice.imap(&format!("SEARCH HEADER Message-ID <{number}@programs.example>"));
        let at =
            found.lines().next().and_then(|line| line.strip_prefix("* SEARCH ")).expect("found").to_owned();
        assert!(alice.imap(&format!("STORE {at} {change}")).contains("a OK"));
    }
    assert!(alice.imap("EXPUNGE").contains("a OK"));
    append(&mut alice, "INBOX", "\\Flagged", 2000..2001);
    deliver(&inbox, 2001, "F");

    mbsync(&world.home);
    let all = same_on_both_sides(&mut world.alice(), &inbox, as_sent);
    assert_eq!([&all[&10], &all[&11], &all[&1201]], ["FS", "", "RS"]);
    assert_eq!([&all[&20], &all[&21], &all[&1500]], ["F", "", "R"]);
    assert_eq!([&all[&2000], &all[&2001]], ["F", "F"]);
    assert!([12, 13, 22, 1999].iter().all(|gone| !all.contains_key(gone)), "{all:?}");
    assert_eq!(all.len(), 1998);
    changes_nothing(&world.home, &mut world.alice());
}
