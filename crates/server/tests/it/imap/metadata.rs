//! METADATA (RFC 5464): annotations, and who hears of them.

use super::harness::Server;
use sealpost_store::annotation::{ANNOTATIONS_MAX, VALUE_MAX};

#[tokio::test]
async fn values_of_any_octets_come_back() {
    let server = Server::start().await;
    let (mut one, mut two) = (server.session().await, server.session().await);
    let mut nul = b"\0\r\n~{1}\r\n\xff".to_vec();
    nul.resize(VALUE_MAX, b'x');
    for (value, head, back) in [
        (&b""[..], "\"\"".to_owned(), "\"\"".to_owned()),
        (b"a\"\\b", "\"a\\\"\\\\b\"".to_owned(), "\"a\\\"\\\\b\"".to_owned()),
        (b"two\r\nlines", "{10+}".to_owned(), "{10}".to_owned()),
        ("ü".as_bytes(), "{2+}".to_owned(), "{2}".to_owned()),
        (&nul, format!("~{{{VALUE_MAX}+}}"), format!("~{{{VALUE_MAX}}}")),
    ] {
        one.send(format!("s SETMETADATA INBOX (/private/comment {head}")).await;
        if head.ends_with('}') {
            one.send("\r\n").await;
            one.send(value).await;
        }
        one.send(")\r\n").await;
        assert!(one.until("s").await.1.starts_with("OK"), "{head}");
        two.send("g GETMETADATA INBOX /private/comment\r\n").await;
        if back.ends_with('}') {
            assert_eq!(two.line().await, format!("* METADATA INBOX (/private/comment {back}"));
            assert_eq!(two.octets(value.len()).await, value);
            assert_eq!(two.line().await, ")");
        } else {
            assert_eq!(two.line().await, format!("* METADATA INBOX (/private/comment {back})"));
        }
        assert!(two.line().await.starts_with("g OK"));
    }
}

#[tokio::test]
async fn limits_have_their_codes() {
    let server = Server::start().await;
    let mut client = server.session().await;
    let max_size = format!("NO [METADATA MAXSIZE {VALUE_MAX}]");
    // Too long for an annotation, for an argument, and for all commands together; it waits or it does not.
    for octets in [VALUE_MAX + 1, 64 * 1024 + 1, 300 * 1024] {
        client.send(format!("a SETMETADATA INBOX (/private/a \"x\" /private/b {{{octets}+}}\r\n")).await;
        client.send(vec![b'x'; octets]).await;
        client.send(")\r\n").await;
        assert!(client.until("a").await.1.starts_with(&max_size), "{octets}");
        client.send(format!("b SETMETADATA INBOX (/private/b {{{octets}}}\r\n")).await;
        let line = client.line().await;
        if line.starts_with('+') {
            client.send(vec![b'x'; octets]).await;
            client.send(")\r\n").await;
            assert!(client.until("b").await.1.starts_with(&max_size), "{octets}");
        } else {
            assert!(line.starts_with(&format!("b {max_size}")), "{line}");
        }
    }
    // Another command's literal has none of that.
    client.send("c GETMETADATA INBOX {70000}\r\n").await;
    assert!(client.line().await.starts_with("c BAD"));
    client.send(format!("d GETMETADATA INBOX {{70000+}}\r\n{}\r\n", "x".repeat(70_000))).await;
    assert!(client.line().await.starts_with("d BAD"));
    assert!(client.ok("GETMETADATA (DEPTH 1) INBOX /private").await.is_empty(), "all or nothing");
    for n in 0..ANNOTATIONS_MAX {
        client.ok(&format!("SETMETADATA INBOX (/private/{n} \"\")")).await;
    }
    assert!(
        client.refused("SETMETADATA INBOX (/private/one \"\")").await.starts_with("NO [METADATA TOOMANY]")
    );
    client.ok("SETMETADATA INBOX (/private/0 NIL)").await;
    client.ok("SETMETADATA INBOX (/private/one \"\")").await;
}

#[tokio::test]
async fn sessions_that_enable_it_are_told_what_others_change() {
    let server = Server::start().await;
    let (mut one, mut two, mut three) =
        (server.session().await, server.session().await, server.inbox().await);
    one.ok("SETMETADATA INBOX (/private/old \"x\")").await;
    assert_eq!(two.ok("ENABLE METADATA").await, ["* ENABLED METADATA"]);
    assert_eq!(two.ok("ENABLE METADATA").await, ["* ENABLED"]);
    assert!(two.ok("NOOP").await.is_empty());
    one.ok("CREATE Entw&APw-rfe").await;
    one.ok("SETMETADATA Entw&APw-rfe (/private/a \"1\" /shared/b \"2\")").await;
    one.ok("SETMETADATA \"\" (/private/a \"1\")").await;
    one.ok("SETMETADATA INBOX (/private/old NIL /private/never NIL)").await;
    assert_eq!(
        two.ok("NOOP").await,
        [
            "* METADATA \"\" /private/a",
            "* METADATA INBOX /private/old",
            "* METADATA Entw&APw-rfe /private/a /shared/b"
        ],
        "names alone"
    );
    assert!(two.ok("NOOP").await.is_empty());
    assert!(three.ok("NOOP").await.is_empty(), "it has not asked for it");
    // What a session does itself it knows; what others did before that, it does not.
    one.ok("SETMETADATA INBOX (/private/a \"1\" /private/b \"1\")").await;
    assert!(two.ok("SETMETADATA INBOX (/private/b \"2\")").await == ["* METADATA INBOX /private/a"]);
    assert!(two.ok("NOOP").await.is_empty());
    // IDLE wakes, with and without a mailbox.
    for select in ["NOOP", "SELECT INBOX"] {
        two.ok(select).await;
        two.send("i IDLE\r\n").await;
        assert!(two.line().await.starts_with('+'));
        one.ok("SETMETADATA Sent (/private/c \"1\")").await;
        assert_eq!(two.line().await, "* METADATA Sent /private/c");
        two.send("DONE\r\n").await;
        assert!(two.until("i").await.1.starts_with("OK"));
    }
    // Lines stay short.
    let values: Vec<String> = (0..50).map(|n| format!("/private/{n:0200} \"x\"")).collect();
    one.ok(&format!("SETMETADATA INBOX ({})", values.join(" "))).await;
    let told = two.ok("NOOP").await;
    assert_eq!(told.iter().map(|line| line.matches("/private/").count()).sum::<usize>(), 50);
    assert!(told.iter().all(|line| line.len() < 8192));
}

#[tokio::test]
async fn the_special_use_of_a_mailbox_is_an_annotation() {
    let server = Server::start().await;
    let (mut one, mut two) = (server.session().await, server.session().await);
    two.ok("ENABLE METADATA").await;
    let trash = "GETMETADATA Trash /private/specialuse";
    assert_eq!(two.ok(trash).await, ["* METADATA Trash (/private/specialuse \"\\\\Trash\")"]);
    one.ok("CREATE Papierkorb").await;
    // One use a mailbox, one mailbox a use, and INBOX has none.
    for refused in [
        "Papierkorb (/private/specialuse \"\\\\Trash\")",
        "Papierkorb (/private/specialuse \"\\\\All\")",
        "Papierkorb (/private/specialuse \"Trash\")",
        "Papierkorb (/private/a \"x\" /private/specialuse \"\\\\Trash \\\\Junk\")",
        "INBOX (/private/specialuse \"\\\\Trash\")",
    ] {
        let status = one.refused(&format!("SETMETADATA {refused}")).await;
        assert!(status.starts_with("NO [USEATTR]"), "{refused}: {status}");
    }
    assert_eq!(
        one.ok("GETMETADATA Papierkorb (/private/a /private/specialuse)").await,
        ["* METADATA Papierkorb (/private/a NIL /private/specialuse NIL)"]
    );
    one.ok("SETMETADATA Trash (/private/specialuse NIL)").await;
    one.ok("SETMETADATA Papierkorb (/private/specialuse \"\\\\trash\")").await;
    let told = two.ok("NOOP").await;
    assert_eq!(told, ["* METADATA Trash /private/specialuse", "* METADATA Papierkorb /private/specialuse"]);
    assert_eq!(
        two.ok("LIST (SPECIAL-USE) \"\" (Trash Papierkorb)").await,
        ["* LIST (\\HasNoChildren \\Trash) \"/\" Papierkorb"]
    );
    // It can be made a plain mailbox and go; a new one may have its use.
    one.ok("DELETE Papierkorb").await;
    one.ok("SETMETADATA Trash (/private/specialuse \"\\\\Trash\")").await;
}

#[tokio::test]
async fn annotations_go_with_their_mailbox_and_belong_to_their_account() {
    let server = Server::start().await;
    let mut client = server.session().await;
    client.ok("CREATE a/b").await;
    client.ok("SETMETADATA a/b (/private/comment \"x\")").await;
    client.ok("RENAME a c").await;
    assert_eq!(
        client.ok("GETMETADATA c/b /private/comment").await,
        ["* METADATA c/b (/private/comment \"x\")"]
    );
    client.ok("DELETE c/b").await;
    client.ok("CREATE c/b").await;
    assert_eq!(
        client.ok("GETMETADATA c/b /private/comment").await,
        ["* METADATA c/b (/private/comment NIL)"]
    );
    let mut stranger = server.connect().await;
    for command in ["GETMETADATA INBOX /private/comment", "SETMETADATA INBOX (/private/comment NIL)"] {
        assert!(stranger.refused(command).await.starts_with("BAD log in first"), "{command}");
    }
    // No more than the name of an argument is taken before login, and no word of values.
    stranger.send("a SETMETADATA INBOX (/private/comment {50000}\r\n").await;
    assert!(stranger.line().await.starts_with("a BAD"));
}
