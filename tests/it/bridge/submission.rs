//! Writing through the bridge.

use super::{Bridge, composed, literal, wait_for};
use crate::support::Demo;

#[test]
fn what_may_not_go_out_is_refused_at_rcpt_in_words() {
    let demo = Demo::start(&[]);
    let alice = Bridge::start(&demo, 0, &[]);
    let mut client = alice.submission();
    let ehlo = client.smtp("EHLO program");
    assert!(ehlo.contains("AUTH PLAIN LOGIN") && ehlo.contains("8BITMIME"), "{ehlo}");
    for absent in ["HASHEDPASS", "ENCRYPTMESSAGE", "XSEALPOST", "SCRAM"] {
        assert!(!ehlo.contains(absent), "{ehlo}");
    }
    for (command, code) in
        [("PUBKEY bob@example.com", "502 "), ("GETSALT", "502 "), ("AUTH HASHEDPASS", "50")]
    {
        assert!(client.smtp(command).starts_with(code), "{command}");
    }
    let answer = client.smtp("MAIL FROM:<eve@example.org>");
    assert!(answer.starts_with("550 ") && answer.contains("alice@example.net"), "{answer}");
    assert!(client.smtp("MAIL FROM:<alice@example.net> BODY=8BITMIME").starts_with("250 "));
    let answer = client.smtp("RCPT TO:<nobody@example.com>");
    assert!(answer.starts_with("550 5.7.1") && answer.contains("has no key"), "{answer}");
    assert!(client.smtp("RCPT TO:<bob@example.com>").starts_with("250 "));
    let answer = client.smtp("RCPT TO:<x@nowhere.invalid>");
    assert!(answer.starts_with("451 ") || answer.starts_with("550 "), "{answer}");
    // From is another's: refused before anything leaves.
    assert!(client.smtp("DATA").starts_with("354 "));
    client.send("From: eve@example.org\r\nTo: bob@example.com\r\n\r\nx\r\n");
    let answer = client.smtp(".");
    assert!(answer.starts_with("554 ") && answer.contains("no address of this account"), "{answer}");
    assert!(client.smtp("QUIT").starts_with("221 "));
}

#[test]
fn blind_copies_are_sealed_apart_and_named_to_nobody() {
    let demo = Demo::start(&[]);
    let (alice, bob) = (Bridge::start(&demo, 0, &[]), Bridge::start(&demo, 1, &[]));
    // Alice writes to herself, and blindly to Bob; her program left the Bcc field in.
    let message = composed("quiet", "psst")
        .replace("To: Bob <bob@example.com>\r\n", "To: alice@example.net\r\nBcc: bob@example.com\r\n");
    let reply = alice.send("alice@example.net", &["alice@example.net", "bob@example.com"], &message);
    assert!(reply.starts_with("250 "), "{reply}");
    let mut program = bob.imap();
    wait_for(&mut program, 1);
    let shown = literal(&program.imap("FETCH 1 (BODY.PEEK[])"), "BODY[]");
    assert!(shown.contains("\r\nBcc: bob@example.com\r\n") && shown.contains("psst"), "{shown}");
    let mut program = alice.imap();
    wait_for(&mut program, 1);
    let shown = literal(&program.imap("FETCH 1 (BODY.PEEK[])"), "BODY[]");
    assert!(!shown.contains("Bcc") && !shown.contains("bob@"), "{shown}");
}

#[test]
fn plain_mail_goes_out_only_where_it_was_allowed() {
    let demo = Demo::start(&[]);
    let (alice, bob) = (Bridge::start(&demo, 0, &["--allow-plain"]), Bridge::start(&demo, 1, &[]));
    // The account is there, but nobody has enrolled: no key.
    let config = demo.server(1, "config");
    let added = crate::support::run(crate::support::sealpost().args([
        "user",
        "--config",
        &config,
        "add",
        "carol@example.com",
    ]));
    assert!(added.status.success());
    let message = composed("offen für alle", "Grüße, for all to see");
    let reply = alice.send("alice@example.net", &["carol@example.com", "bob@example.com"], &message);
    assert!(reply.starts_with("250 "), "{reply}");
    let mut program = bob.imap();
    wait_for(&mut program, 1);
    let shown = literal(&program.imap("FETCH 1 (BODY.PEEK[])"), "BODY[]");
    assert!(shown.contains("signed, not encrypted"), "{shown}");
    assert!(shown.contains("Gr=C3=BC=C3=9Fe, for all to see") && shown.is_ascii(), "{shown}");
}
