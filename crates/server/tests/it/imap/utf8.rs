//! UTF8=ACCEPT (RFC 6855, RFC 9755): each session has its form of names, all have the octets of messages as they came.

use super::harness::Server;

#[tokio::test]
async fn names_are_in_the_form_of_the_session() {
    let server = Server::start().await;
    let (mut modern, mut old) = (server.session().await, server.session().await);
    // Before it is enabled, UTF-8 is no name.
    assert!(modern.refused("CREATE \"Entwürfe\"").await.starts_with("BAD"));
    assert_eq!(modern.ok("ENABLE UTF8=ACCEPT X-NONE").await, ["* ENABLED UTF8=ACCEPT"]);
    assert_eq!(modern.ok("ENABLE UTF8=ACCEPT").await, ["* ENABLED"]);
    modern.ok("CREATE \"Entwürfe & mehr\"").await;
    assert_eq!(old.ok("LIST \"\" E*").await, ["* LIST (\\HasNoChildren) \"/\" \"Entw&APw-rfe &- mehr\""]);
    assert_eq!(modern.ok("LIST \"\" \"*ü*\"").await, ["* LIST (\\HasNoChildren) \"/\" \"Entwürfe & mehr\""]);
    assert!(old.append("\"Entw&APw-rfe &- mehr\"", b"A: b\r\n\r\n").await.starts_with("OK"));
    let lines = modern.ok("STATUS \"Entwürfe & mehr\" (MESSAGES)").await;
    assert_eq!(lines, ["* STATUS \"Entwürfe & mehr\" (MESSAGES 1)"]);
    // What is modified UTF-7 to others is a name like any other here.
    assert!(modern.refused("SELECT \"Entw&APw-rfe &- mehr\"").await.starts_with("NO [NONEXISTENT]"));
}

#[tokio::test]
async fn headers_in_utf8_come_and_go_as_they_are() {
    let server = Server::start().await;
    let (mut modern, mut old) = (server.session().await, server.inbox().await);
    let message = "From: Jürgen <jürgen@example.net>\r\nSubject: Grüße\r\n\r\nHallo\r\n";
    let len = message.len();
    for (text, start) in [
        (format!("APPEND INBOX UTF8 (~{{{len}+}}\r\n{message})"), "BAD"),
        (format!("APPEND INBOX UTF8 ({{{len}+}}\r\n{message})"), "BAD"),
        ("ENABLE UTF8=ACCEPT".to_owned(), "OK"),
        (format!("APPEND INBOX UTF8 (~{{{len}+}}\r\n{message})"), "OK [APPENDUID"),
        (
            format!("APPEND INBOX (\\Seen) UTF8 (~{{{len}+}}\r\n{message}) {{{len}+}}\r\n{message}"),
            "OK [APPENDUID",
        ),
        (format!("APPEND INBOX UTF8 (~{{{len}+}}\r\n{message}"), "BAD"),
        (format!("APPEND INBOX {{{len}+}}\r\n{message})"), "BAD"),
    ] {
        modern.send(format!("x {text}\r\n")).await;
        let (_, status) = modern.until("x").await;
        assert!(status.starts_with(start), "{text}: {status}");
    }
    assert_eq!(old.ok("NOOP").await, ["* 3 EXISTS"]);
    modern.ok("SELECT INBOX").await;
    for n in 1..=3 {
        // Nothing is downgraded: signatures cover these octets.
        assert_eq!(old.fetch(n, "BODY.PEEK[]").await, message.as_bytes());
        assert_eq!(modern.fetch(n, "BODY.PEEK[]").await, message.as_bytes());
    }
    assert_eq!(modern.ok("SEARCH SUBJECT \"grüße\"").await, ["* SEARCH 1 2 3"]);
    assert_eq!(old.ok("SEARCH CHARSET UTF-8 SUBJECT \"grüße\"").await, ["* SEARCH 1 2 3"]);
    // RFC 6855 §3.
    assert!(modern.refused("SEARCH CHARSET UTF-8 ALL").await.starts_with("BAD"));
    assert_eq!(modern.ok("SORT (ARRIVAL) UTF-8 ALL").await, ["* SORT 1 2 3"]);
}
