//! NeoMutt, driven by the keys that a person would press.

use super::{ALICE, HOST, TOKEN, World, append, flags};
use std::collections::BTreeMap;

/// Runs it on INBOX with these keys, on a terminal of its own.
fn press(world: &World, keys: &str) {
    let place = format!("imaps://{HOST}:{}", world.port("imaps"));
    let settings = format!(
        "set imap_user = \"{ALICE}\"\nset imap_pass = \"{TOKEN}\"\nset folder = \"{place}\"\n\
         set ssl_force_tls\nunset ssl_usesystemcerts\nset certificate_file = \"{}\"\n\
         set ssl_ca_certificates_file = \"{0}\"\nset delete = yes\nset quit = yes\nset sleep_time = 0\n\
         unset confirmappend\nunset confirmcreate\nunset mark_old\nunset move\nunset wait_key\nunset imap_idle\n\
         set sort = mailbox-order\nset pager_stop\nset header_cache = \"\"\npush \"{keys}\"\n",
        world.ca().display()
    );
    let settings = world.write("muttrc", &settings);
    let neomutt = format!("neomutt -n -F '{}' -f '{place}/INBOX'", settings.display());
    let mut script = world.program("script");
    World::succeed(script.env("TERM", "xterm").args([
        "--quiet",
        "--return",
        "--command",
        &neomutt,
        "/dev/null",
    ]));
}

#[test]
fn neomutt_reads_flags_saves_and_purges() {
    let world = World::new();
    let mut alice = world.alice();
    append(&mut alice, "INBOX", "", 1..31);
    press(
        &world,
        "3<enter><display-message><exit>5<enter><flag-message>7<enter><delete-message>\
         9<enter><save-message>=Archive<enter>11<enter><copy-message>=Projects/Oak<enter>\
         13<enter><tag-entry>14<enter><tag-entry><tag-prefix><save-message>=Projects/Oak<enter>\
         15<enter><set-flag>r<sync-mailbox><quit>",
    );
    let inbox = flags(&mut alice, "INBOX");
    let gone = [7, 9, 13, 14];
    assert_eq!(
        inbox.keys().copied().collect::<Vec<_>>(),
        (1..31).filter(|n| !gone.contains(n)).collect::<Vec<_>>()
    );
    // What is answered has been seen.
    assert_eq!(
        [&*inbox[&3], &*inbox[&5], &*inbox[&15], &*inbox[&16]],
        ["\\Seen", "\\Flagged", "\\Answered \\Seen", ""]
    );
    assert_eq!(flags(&mut alice, "Archive").into_keys().collect::<Vec<_>>(), [9]);
    assert_eq!(flags(&mut alice, "Projects/Oak").into_keys().collect::<Vec<_>>(), [11, 13, 14]);
    // Undone before it is written: nothing changes. What another session adds is there the next time.
    append(&mut alice, "INBOX", "", 31..32);
    press(
        &world,
        "<delete-pattern>~A<enter><undelete-pattern>~A<enter><last-entry><display-message><exit><quit>",
    );
    let after = flags(&mut alice, "INBOX");
    let mut expected: BTreeMap<u32, String> = inbox;
    expected.insert(31, "\\Seen".to_owned());
    assert_eq!(after, expected);
}
