//! mbsync through the bridge: UIDs that never change, octets as composed, and runs that find nothing to do.

use super::{
    super::{Client, append, flags, mbsync::*, message},
    Bridged, numbers,
};
use crate::bridge::literal;
use std::fs;

/// What Alice wrote herself.
fn own(number: u32) -> String {
    message(number).replace("From: Bob <bob@example.com>", "From: Alice <alice@example.net>")
}

/// UIDVALIDITY and UIDs.
fn uids(client: &mut Client) -> (String, Vec<u32>) {
    let examined = client.imap("EXAMINE INBOX");
    let (_, validity) = examined.split_once("[UIDVALIDITY ").expect("UIDVALIDITY");
    let found = client.imap("UID SEARCH ALL");
    let line = found.lines().next().and_then(|line| line.strip_prefix("* SEARCH ")).expect("UIDs");
    let uids = line.split(' ').map(|uid| uid.parse().expect("a number")).collect();
    (validity.split(']').next().expect("a number").to_owned(), uids)
}

#[test]
fn mbsync_keeps_a_mixed_mailbox_the_same_on_both_sides() {
    let world = Bridged::new();
    let mixed = world.fill();
    configure(&world.home, &world.login());
    let inbox = world.home.at("mail/INBOX");
    for number in 100..130 {
        deliver(&inbox, number, ["", "S", "FS", "RS", "DS"][number as usize % 5], &own(number));
    }
    let foreign = |number| message(number).replace("bob@example.com", "dave@example.org");
    for number in 130..135 {
        deliver(&inbox, number, "S", &foreign(number));
    }
    deliver(&world.home.at("mail/Projects"), 200, "S", &own(200));
    let check = |number: u32, text: &str| match mixed.get(&number) {
        Some(mail) => world.check(mail, text),
        // What came by APPEND from another program.
        None if (300..400).contains(&number) => assert_eq!(super::without_verdict(text), own(number)),
        None if (130..135).contains(&number) => assert_eq!(text, foreign(number)),
        None => assert_eq!(text, own(number)),
    };

    mbsync(&world.home);
    let mut far = world.far();
    let all = same_on_both_sides(&mut far, &inbox, check);
    assert_eq!(all.len(), mixed.len() + 35);
    assert_eq!([&*all[&100], &all[&101], &all[&102], &all[&103], &all[&104]], ["", "S", "FS", "RS", "DS"]);
    assert_eq!(flags(&mut far, "Projects").len(), 1);
    let before = uids(&mut far);
    assert_eq!(before, uids(&mut world.straight()));
    changes_nothing(&world.home, &mut world.straight());
    changes_nothing(&world.home, &mut far);
    // What Alice filed lies sealed; what others wrote lies as it came.
    let kept = world.straight().messages("INBOX", "(BODY.PEEK[])");
    let kept: Vec<String> = kept
        .into_iter()
        .map(|octets| String::from_utf8(octets).expect("UTF-8"))
        .map(|text| text.split_inclusive('\n').filter(|line| !line.starts_with("X-TUID: ")).collect())
        .collect();
    assert_eq!(kept.iter().filter(|text| (130..135).any(|number| **text == foreign(number))).count(), 5);
    let readable = |text: &&String| (100..130).any(|n| text.contains(&format!("Number {n}\r\n")));
    assert_eq!(kept.iter().filter(readable).count(), 0);

    // Flags and removals on both sides at once, and mail of another program's.
    rename(&inbox, 3, "FS");
    rename(&inbox, 52, "RS");
    rename(&inbox, 101, "");
    rename(&inbox, 5, "ST");
    fs::remove_file(find(&inbox, 10)).expect("removed");
    fs::remove_file(find(&inbox, 110)).expect("removed");
    deliver(&inbox, 140, "F", &own(140));
    far.imap("SELECT INBOX");
    let at = numbers(&mut far);
    for (number, change) in [
        (1, "+FLAGS (\\Flagged)"),
        (30, "+FLAGS (\\Seen own-keyword)"),
        (12, "+FLAGS (\\Answered $Forwarded own-keyword)"),
        (102, "-FLAGS (\\Seen)"),
        (4, "+FLAGS.SILENT (\\Deleted)"),
        (54, "+FLAGS.SILENT (\\Deleted)"),
        (120, "+FLAGS.SILENT (\\Deleted)"),
    ] {
        assert!(far.imap(&format!("STORE {} {change}", at[&number])).contains("a OK"));
    }
    assert!(far.imap("EXPUNGE").contains("a OK"));
    let text = own(300);
    assert!(far.append(text.as_bytes()).contains("a OK"));

    mbsync(&world.home);
    let all = same_on_both_sides(&mut far, &inbox, check);
    assert_eq!([&*all[&3], &all[&52], &all[&101], &all[&140]], ["FS", "RS", "", "F"]);
    assert_eq!([&*all[&1], &all[&30], &all[&12], &all[&102]], ["F", "S", "PR", "F"]);
    assert!([5, 10, 110, 4, 54, 120].iter().all(|gone| !all.contains_key(gone)), "{all:?}");
    assert_eq!(all.len(), mixed.len() + 35 + 2 - 6);
    let after = uids(&mut far);
    assert_eq!(after, uids(&mut world.straight()));
    assert_eq!(before.0, after.0);
    // Those that stayed kept theirs.
    assert_eq!(after.1.iter().filter(|uid| before.1.contains(uid)).count(), before.1.len() - 6);
    for number in [30, 12] {
        assert!(flags(&mut far, "INBOX")[&number].contains("own-keyword"), "{number}");
    }
    changes_nothing(&world.home, &mut world.straight());
    // Moved by hand from one folder to another: filed anew, and removed where it lay. What came sealed stays so.
    let file = find(&inbox, 1);
    fs::rename(&file, world.home.at("mail/Projects/cur/1795470000.moved.near:2,S")).expect("moved");
    mbsync(&world.home);
    assert!(!flags(&mut far, "INBOX").contains_key(&1));
    assert_eq!(flags(&mut far, "Projects")[&1], "$Sealed $Signed \\Seen");
    let kept = world.straight().messages("Projects", "(BODY.PEEK[])");
    assert!(kept.iter().all(|octets| !String::from_utf8_lossy(octets).contains("Number 1\r\n")));
    far.imap("SELECT Projects");
    let at = numbers(&mut far)[&1];
    let shown = literal(&far.imap(&format!("FETCH {at} (BODY.PEEK[])")), "BODY[]");
    let (head, within) = shown.split_once("\r\n\r\n").expect("a header");
    assert!(head.contains("\"Bob <bob@example.com> (kept)\" <alice@example.net>"), "{head}");
    let within =
        within.split_inclusive('\n').filter(|line| !line.starts_with("X-TUID: ")).collect::<String>();
    world.check(&mixed[&1], &within);
    changes_nothing(&world.home, &mut far);
    // Another program's keywords are no news to it.
    append(&mut far, "Projects", "own-keyword", 400..401);
    mbsync(&world.home);
    changes_nothing(&world.home, &mut far);
}
