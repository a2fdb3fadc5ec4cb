//! LIST, LSUB, CREATE, DELETE, RENAME, SUBSCRIBE, STATUS, NAMESPACE.

use super::harness::Server;

#[tokio::test]
async fn default_mailboxes_with_special_use() {
    let server = Server::start().await;
    let mut client = server.session().await;
    let mut lines = client.ok("LIST \"\" *").await;
    lines.sort();
    assert_eq!(
        lines,
        [
            "* LIST (\\HasNoChildren \\Archive) \"/\" Archive",
            "* LIST (\\HasNoChildren \\Drafts) \"/\" Drafts",
            "* LIST (\\HasNoChildren \\Junk) \"/\" Junk",
            "* LIST (\\HasNoChildren \\Sent) \"/\" Sent",
            "* LIST (\\HasNoChildren \\Trash) \"/\" Trash",
            "* LIST (\\HasNoChildren) \"/\" INBOX",
        ]
    );
    assert_eq!(client.ok("LIST \"\" \"\"").await, ["* LIST (\\Noselect) \"/\" \"\""]);
    assert_eq!(client.ok("LIST \"\" inbox").await, ["* LIST (\\HasNoChildren) \"/\" INBOX"]);
    assert_eq!(client.ok("LIST (SPECIAL-USE) \"\" S*").await, ["* LIST (\\HasNoChildren \\Sent) \"/\" Sent"]);
    assert_eq!(client.ok("NAMESPACE").await, ["* NAMESPACE ((\"\" \"/\")) NIL NIL"]);
}

#[tokio::test]
async fn hierarchy_modified_utf7_and_rename() {
    let server = Server::start().await;
    let mut client = server.session().await;
    client.ok("CREATE Entw&APw-rfe/2026/").await;
    client.ok("CREATE \"A \\\"b\\\"\"").await;
    let lines = client.ok("LIST \"\" Entw%").await;
    assert_eq!(lines, ["* LIST (\\HasChildren) \"/\" Entw&APw-rfe"]);
    assert_eq!(client.ok("LIST Entw&APw-rfe/ %").await, ["* LIST (\\HasNoChildren) \"/\" Entw&APw-rfe/2026"]);
    assert_eq!(client.ok("LIST \"\" A*").await.len(), 2);
    client.ok("RENAME Entw&APw-rfe Alt").await;
    assert_eq!(client.ok("LIST \"\" Alt/*").await, ["* LIST (\\HasNoChildren) \"/\" Alt/2026"]);
    // The level above goes, what is below stays.
    client.ok("DELETE Alt").await;
    assert_eq!(
        client.ok("LIST \"\" Alt*").await,
        ["* LIST (\\Noselect \\HasChildren) \"/\" Alt", "* LIST (\\HasNoChildren) \"/\" Alt/2026"]
    );
    for (command, start) in [
        ("CREATE INBOX", "NO [ALREADYEXISTS]"),
        ("CREATE Sent", "NO [ALREADYEXISTS]"),
        ("CREATE \"\"", "NO [CANNOT]"),
        ("CREATE a//b", "NO [CANNOT]"),
        ("CREATE \"a*\"", "NO [CANNOT]"),
        ("CREATE x (USE (\\Sent))", "NO [USEATTR]"),
        ("CREATE x (USE (\\Odd))", "NO [USEATTR]"),
        ("CREATE a&b", "BAD"),
        ("DELETE INBOX", "NO [CANNOT]"),
        ("DELETE Nowhere", "NO [NONEXISTENT]"),
        ("RENAME Nowhere There", "NO [NONEXISTENT]"),
        ("RENAME Alt/2026 Sent", "NO [ALREADYEXISTS]"),
        ("RENAME Alt/2026 Alt/2026/x", "NO [CANNOT]"),
        ("SELECT Nowhere", "NO [NONEXISTENT]"),
        ("STATUS Nowhere (MESSAGES)", "NO [NONEXISTENT]"),
    ] {
        let status = client.refused(command).await;
        assert!(status.starts_with(start), "{command}: {status}");
    }
}

#[tokio::test]
async fn subscriptions() {
    let server = Server::start().await;
    let mut client = server.session().await;
    client.ok("CREATE a/b").await;
    client.ok("SUBSCRIBE a/b").await;
    client.ok("SUBSCRIBE gone").await;
    let lines = client.ok("LIST (SUBSCRIBED) \"\" *").await;
    assert!(lines.contains(&"* LIST (\\Subscribed \\HasNoChildren) \"/\" a/b".to_owned()), "{lines:?}");
    assert!(
        lines.contains(&"* LIST (\\NonExistent \\Subscribed \\HasNoChildren) \"/\" gone".to_owned()),
        "{lines:?}"
    );
    assert_eq!(client.ok("LSUB \"\" a*").await, ["* LSUB () \"/\" a/b"]);
    assert_eq!(client.ok("LSUB \"\" a%").await, ["* LSUB (\\Noselect) \"/\" a"]);
    let lines = client.ok("LIST (SUBSCRIBED RECURSIVEMATCH) \"\" a").await;
    assert_eq!(lines, ["* LIST (\\HasChildren) \"/\" a (\"CHILDINFO\" (\"SUBSCRIBED\"))"]);
    client.ok("UNSUBSCRIBE a/b").await;
    assert!(client.ok("LSUB \"\" a*").await.is_empty());
    assert!(client.refused("LIST (RECURSIVEMATCH) \"\" *").await.starts_with("BAD"));
}

#[tokio::test]
async fn status_counts() {
    let server = Server::start().await;
    let mut client = server.session().await;
    client.append("Sent (\\Seen)", b"A: b\r\n\r\n").await;
    client.append("Sent (\\Deleted)", b"A: b\r\n\r\n").await;
    let lines = client.ok("STATUS Sent (MESSAGES RECENT UIDNEXT UNSEEN DELETED SIZE)").await;
    assert_eq!(lines, ["* STATUS Sent (MESSAGES 2 RECENT 0 UIDNEXT 3 UNSEEN 1 DELETED 1 SIZE 16)"]);
    let lines = client.ok("LIST \"\" Sent RETURN (SPECIAL-USE STATUS (MESSAGES))").await;
    assert_eq!(lines, ["* LIST (\\HasNoChildren \\Sent) \"/\" Sent", "* STATUS Sent (MESSAGES 2)"]);
    assert!(client.refused("STATUS Sent ()").await.starts_with("BAD"));
}

/// CREATE-SPECIAL-USE (RFC 6154 §3).
#[tokio::test]
async fn a_use_belongs_to_one_mailbox() {
    let server = Server::start().await;
    let (mut client, mut other) = (server.session().await, server.session().await);
    for (command, start) in [
        ("CREATE a (USE (\\Sent))", "NO [USEATTR]"),
        ("CREATE a (USE (\\Sent \\Trash))", "NO [USEATTR]"),
        ("CREATE a (USE (\\Flagged))", "NO [USEATTR]"),
        ("CREATE a (USE Sent)", "BAD"),
        ("CREATE Sent (USE (\\Sent))", "NO [ALREADYEXISTS]"),
    ] {
        let status = client.refused(command).await;
        assert!(status.starts_with(start), "{command}: {status}");
    }
    // A use goes with its mailbox when that is renamed, and is free when it is removed.
    client.ok("RENAME Sent Gesendet").await;
    assert!(client.refused("CREATE b (USE (\\Sent))").await.starts_with("NO [USEATTR]"));
    client.ok("DELETE Gesendet").await;
    client.ok("CREATE b/c (USE (\\sent))").await;
    client.ok("CREATE d (USE ())").await;
    let lines = other.ok("LIST (SPECIAL-USE) \"\" *").await;
    assert_eq!(lines.iter().filter(|line| line.contains("\\Sent")).count(), 1, "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("\\Sent) \"/\" b/c")), "{lines:?}");
}

/// What the store refuses is told with its reason: it has not failed.
#[tokio::test]
async fn limits_of_the_store_are_no_failures() {
    let server = Server::start().await;
    let mut client = server.inbox().await;
    // The child's name would be too long, by one octet.
    client.ok(&format!("CREATE a/{}", "x".repeat(498))).await;
    let too_long = client.refused(&format!("RENAME a {}", "y".repeat(502))).await;
    assert!(too_long.starts_with("NO [CANNOT] a mailbox name has 1 to 1000 octets"), "{too_long}");
    client.ok(&format!("RENAME a {}", "y".repeat(501))).await;
    // A mailbox has a thousand different keywords.
    client.append("INBOX", b"A: b\r\n\r\n").await;
    client.ok("NOOP").await;
    for part in 0..10 {
        let words: Vec<String> = (0..100).map(|n| format!("k{}", part * 100 + n)).collect();
        client.ok(&format!("STORE 1 FLAGS.SILENT ({})", words.join(" "))).await;
    }
    let one_more = client.refused("STORE 1 +FLAGS (more)").await;
    assert!(one_more.starts_with("NO [LIMIT] there can be no more different keywords"), "{one_more}");
    client.ok("STORE 1 +FLAGS (k5)").await;
}
