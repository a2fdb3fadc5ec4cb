//! NeoMutt, driven by the keys that a person would press.

use super::{Home, Login, World, append, flags};
use std::collections::BTreeMap;

/// Its settings, with more of them behind; where they lie.
pub fn configure(home: &Home, login: &Login, more: &str) -> std::path::PathBuf {
    let Login { host, imap, user, password, ca, .. } = login;
    let settings = format!(
        "set imap_user = \"{user}\"\nset imap_pass = \"{password}\"\nset folder = \"imaps://{host}:{imap}\"\n\
         set ssl_force_tls\nunset ssl_usesystemcerts\nset certificate_file = \"{ca}\"\n\
         set ssl_ca_certificates_file = \"{ca}\"\nset delete = yes\nset quit = yes\nset sleep_time = 0\n\
         unset confirmappend\nunset confirmcreate\nunset mark_old\nunset move\nunset wait_key\nunset imap_idle\n\
         set sort = mailbox-order\nset pager_stop\nset header_cache = \"\"\n{more}\n",
        ca = ca.display()
    );
    home.write("muttrc", &settings)
}

/// Runs it on INBOX with these keys, on a terminal of its own.
pub fn press(home: &Home, login: &Login, more: &str, keys: &str) {
    let settings = configure(home, login, &format!("{more}\npush \"{keys}\""));
    let neomutt =
        format!("neomutt -n -F '{}' -f 'imaps://{}:{}/INBOX'", settings.display(), login.host, login.imap);
    let mut script = home.program("script");
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
        &world.home,
        &world.login(),
        "",
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
        &world.home,
        &world.login(),
        "",
        "<delete-pattern>~A<enter><undelete-pattern>~A<enter><last-entry><display-message><exit><quit>",
    );
    let after = flags(&mut alice, "INBOX");
    let mut expected: BTreeMap<u32, String> = inbox;
    expected.insert(31, "\\Seen".to_owned());
    assert_eq!(after, expected);
}
