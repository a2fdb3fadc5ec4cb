//! NeoMutt through the bridge: it reads, flags and files, and it writes.

use super::{
    super::{flags, neomutt::*},
    ALICE, Bridged, numbers,
};
use crate::{
    bridge::{literal, wait_for, without_verdict},
    support::{run_with, stderr, stdout},
};

#[test]
fn neomutt_reads_files_and_writes_through_the_bridge() {
    let world = Bridged::new();
    let mixed = world.fill();
    let login = world.login();
    let mut far = world.far();
    far.imap("SELECT INBOX");
    let at = numbers(&mut far);
    let at = |number: u32| at[&number];
    // One by the keyword of its verdict; two it finds by asking the server for words of the text: only the bridge can tell.
    let keys = format!(
        "{}<enter><display-message><exit>{}<enter><flag-message>{}<enter><display-message><exit>\
         {}<enter><copy-message>=Projects/Oak<enter>{}<enter><save-message>=Projects/Oak<enter>\
         <delete-pattern>=b 'Number 7'<enter><tag-pattern>=b 'Number 9'<enter>\
         <tag-prefix><save-message>=Archive<enter><tag-pattern>~Y SignatureMissing<enter>\
         <tag-prefix><save-message>=Trash<enter><sync-mailbox><quit>",
        at(3),
        at(5),
        at(51),
        at(10),
        at(30),
    );
    press(&world.home, &login, "", &keys);
    let inbox = flags(&mut far, "INBOX");
    let gone: Vec<u32> = mixed.keys().copied().filter(|number| !inbox.contains_key(number)).collect();
    assert_eq!(gone, [7, 9, 30, 40]);
    assert_eq!(flags(&mut far, "Trash").into_keys().collect::<Vec<_>>(), [40]);
    assert_eq!(
        [&*inbox[&3], &inbox[&5], &inbox[&6]],
        ["$Sealed $Signed \\Seen", "$Sealed $Signed \\Flagged", "$Sealed $Signed"]
    );
    assert_eq!(inbox[&51], "$Sealed $Withheld \\Seen");
    assert_eq!(flags(&mut far, "Archive").into_keys().collect::<Vec<_>>(), [9]);
    assert_eq!(flags(&mut far, "Projects/Oak").into_keys().collect::<Vec<_>>(), [10, 30]);
    // What was filed by COPY or MOVE is what was sent, octet for octet.
    far.imap("SELECT Projects/Oak");
    for (at, number) in [(1, 10), (2, 30)] {
        world.check(&mixed[&number], &literal(&far.imap(&format!("FETCH {at} (BODY.PEEK[])")), "BODY[]"));
    }

    // It sends over the bridge's submission and keeps a copy in Sent.
    let writing = format!(
        "set smtp_url = \"smtps://alice%40example.net@{}:{}\"\nset smtp_pass = \"{}\"\nset from = \"{ALICE}\"\n\
         set realname = \"Alice\"\nset record = \"=Sent\"\nset copy = yes\nset send_charset = \"utf-8\"\n",
        login.host, login.submission, login.password
    );
    let body = "Dear Bob,\n\n.\nFrom here on: größer, topic88\n";
    world.home.write("body", body);
    let editor = "set editor = \"cp body\"\nunset edit_headers\nunset signature\n";
    press(
        &world.home,
        &login,
        &(writing.clone() + editor),
        "<mail>bob@example.com<enter>Größe 7<enter><send-message><quit>",
    );
    let mut bob = world.bob.imap();
    // One message stands before it: they have met.
    wait_for(&mut bob, 2);
    let shown = literal(&bob.imap("FETCH 2 (BODY.PEEK[])"), "BODY[]");
    assert!(
        shown.contains("größer, topic88") && shown.contains("From: Alice <alice@example.net>"),
        "{shown}"
    );
    let mut server = world.straight();
    let kept = server.messages("Sent", "(BODY.PEEK[])");
    let kept = String::from_utf8_lossy(kept.first().expect("a copy in Sent")).into_owned();
    assert!(kept.contains("BEGIN AGE") && !kept.contains("topic88"), "{kept}");
    far.imap("SELECT Sent");
    let own = literal(&far.imap("FETCH 1 (BODY.PEEK[])"), "BODY[]");
    let text =
        |message: &str| without_verdict(message).split_once("\r\n\r\n").expect("a header").1.to_owned();
    assert_eq!(text(&own), text(&shown));

    // Who has no key is refused in words that it shows.
    let settings = configure(&world.home, &login, &writing);
    let mut neomutt = world.home.program("neomutt");
    neomutt.arg("-n").arg("-F").arg(&settings).args(["-s", "x", "carol@example.net"]);
    let output = run_with(&mut neomutt, b"x\n", 1);
    let said = stdout(&output) + &stderr(&output);
    assert!(said.contains("carol@example.net") && said.contains("has no key"), "{said}");
    assert!(server.imap("STATUS Sent (MESSAGES)").contains("(MESSAGES 1)"));
}
