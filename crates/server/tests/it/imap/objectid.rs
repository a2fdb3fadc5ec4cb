//! OBJECTID (RFC 8474) and SAVEDATE (RFC 8514).

use super::harness::Server;

/// What stands in parentheses behind a word.
fn id(text: &str, word: &str) -> String {
    let rest = text.split_once(&format!("{word} (")).map(|(_, rest)| rest).unwrap_or_default();
    rest.split(')').next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_mailbox_keeps_its_id_through_rename() {
    let server = Server::start().await;
    let (mut one, mut two) = (server.session().await, server.session().await);
    let (_, status) = one.run("CREATE x").await;
    let made = id(&status, "MAILBOXID");
    assert!(!made.is_empty(), "{status}");
    one.ok("RENAME x y/z").await;
    assert_eq!(two.ok("STATUS y/z (MAILBOXID)").await, [format!("* STATUS y/z (MAILBOXID ({made}))")]);
    let selected = two.ok("SELECT y/z").await;
    assert!(selected.iter().any(|l| l.contains(&format!("[MAILBOXID ({made})]"))), "{selected:?}");
    let listed = two.ok("LIST \"\" * RETURN (STATUS (MAILBOXID))").await;
    let mut ids: Vec<String> =
        listed.iter().filter(|l| l.contains("MAILBOXID")).map(|l| id(l, "MAILBOXID")).collect();
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), all > 6), (all, true), "each its own: {listed:?}");
    one.ok("DELETE y/z").await;
    let (_, status) = one.run("CREATE x").await;
    assert_ne!(id(&status, "MAILBOXID"), made, "never given out again");
}

#[tokio::test]
async fn copies_of_a_message_share_its_emailid() {
    let server = Server::start().await;
    let (mut one, mut two) = (server.inbox().await, server.session().await);
    for n in 1..=2 {
        one.append("INBOX", format!("A: {n}\r\n\r\n").as_bytes()).await;
    }
    one.ok("COPY 2 Archive").await;
    one.ok("MOVE 2 Sent").await;
    let here = one.ok("FETCH 1 (EMAILID THREADID)").await;
    let first = id(&here[0], "EMAILID");
    assert_eq!(here, [format!("* 1 FETCH (EMAILID ({first}) THREADID NIL)")]);
    let mut second = Vec::new();
    for mailbox in ["Archive", "Sent"] {
        two.ok(&format!("SELECT {mailbox}")).await;
        second.push(id(&two.ok("FETCH 1 EMAILID").await[0], "EMAILID"));
        assert_eq!(two.ok(&format!("SEARCH EMAILID {}", second[0])).await, ["* SEARCH 1"]);
        for none in [first.as_str(), "M0", "X", "M999999"] {
            assert_eq!(two.ok(&format!("SEARCH EMAILID {none}")).await, ["* SEARCH"], "{none}");
        }
        assert_eq!(two.ok("SEARCH THREADID T1").await, ["* SEARCH"]);
        assert_eq!(two.ok("SEARCH NOT THREADID T1").await, ["* SEARCH 1"]);
    }
    assert_eq!(second[0], second[1]);
    assert_ne!(first, second[0]);
}

/// The harness's clock stands at 23-Nov-2026; the store's runs.
#[tokio::test]
async fn save_dates_are_told_and_found() {
    let server = Server::start().await;
    let (mut one, mut two) = (server.inbox().await, server.session().await);
    one.append("INBOX \"01-Feb-2020 12:00:00 +0000\"", b"A: 1\r\n\r\n").await;
    one.ok("COPY 1 Archive").await;
    two.ok("SELECT Archive").await;
    let told = two.ok("FETCH 1 (INTERNALDATE SAVEDATE)").await;
    let saved = told[0].split_once("SAVEDATE \"").map(|(_, rest)| rest[..11].trim().to_owned()).unwrap();
    assert!(
        told[0].contains("INTERNALDATE \"01-Feb-2020") || told[0].contains("INTERNALDATE \" 1-Feb-2020"),
        "{told:?}"
    );
    for (keys, found) in [
        (format!("SAVEDON {saved}"), " 1"),
        (format!("SAVEDSINCE {saved}"), " 1"),
        (format!("SAVEDBEFORE {saved}"), ""),
        ("SAVEDSINCE 2-Feb-2020".to_owned(), " 1"),
        ("SAVEDBEFORE 2-Feb-2020".to_owned(), ""),
        ("BEFORE 2-Feb-2020 SAVEDATESUPPORTED".to_owned(), " 1"),
        ("NOT SAVEDATESUPPORTED".to_owned(), ""),
    ] {
        assert_eq!(two.ok(&format!("SEARCH {keys}")).await, [format!("* SEARCH{found}")], "{keys}");
    }
}
