//! CONDSTORE (RFC 7162 §3.1): MODSEQs are told, asked for, and guard changes.

use super::harness::Server;

/// The number behind a word: `HIGHESTMODSEQ 7`, `MODSEQ (7)`.
pub(super) fn number_behind(lines: &[String], word: &str) -> u64 {
    let text = lines.iter().find_map(|line| line.split_once(&format!("{word} "))).map(|(_, rest)| rest);
    let digits: String =
        text.unwrap_or_default().trim_start_matches('(').chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("no {word} in {lines:?}"))
}

#[tokio::test]
async fn modseqs_ascend_and_are_the_same_for_all_sessions() {
    let server = Server::start().await;
    let mut one = server.session().await;
    for n in 1..=3 {
        one.append("INBOX", format!("A: {n}\r\n\r\n").as_bytes()).await;
    }
    let selected = one.ok("SELECT INBOX").await;
    let start = number_behind(&selected, "HIGHESTMODSEQ");
    let listed = one.ok("FETCH 1:* (UID MODSEQ)").await;
    assert_eq!(number_behind(&listed[..1], "HIGHESTMODSEQ"), start, "asking for MODSEQ turns it on");
    let modseqs: Vec<u64> =
        listed[1..].iter().map(|l| number_behind(std::slice::from_ref(l), "MODSEQ")).collect();
    assert!(modseqs.is_sorted_by(|a, b| a < b) && modseqs[2] == start, "{listed:?}");
    let stored = one.ok("STORE 1 +FLAGS (\\Seen)").await;
    let after = number_behind(&stored, "MODSEQ");
    assert!(after > start);
    assert_eq!(stored, [format!("* 1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ ({after}))")]);
    // .SILENT tells the MODSEQ alone.
    let stored = one.ok("STORE 2 +FLAGS.SILENT (\\Seen)").await;
    let last = number_behind(&stored, "MODSEQ");
    assert_eq!(stored, [format!("* 2 FETCH (UID 2 MODSEQ ({last}))")]);
    // A change that changes nothing has none.
    assert_eq!(
        one.ok("STORE 2 +FLAGS.SILENT (\\Seen)").await,
        [format!("* 2 FETCH (UID 2 MODSEQ ({last}))")]
    );
    let mut two = server.session().await;
    assert_eq!(number_behind(&two.ok("STATUS INBOX (HIGHESTMODSEQ)").await, "HIGHESTMODSEQ"), last);
    assert_eq!(number_behind(&two.ok("EXAMINE INBOX").await, "HIGHESTMODSEQ"), last);
    assert_eq!(
        two.ok(&format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {start})")).await,
        [
            format!("* 1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ ({after}))"),
            format!("* 2 FETCH (UID 2 FLAGS (\\Seen) MODSEQ ({last}))")
        ]
    );
    assert!(two.ok(&format!("FETCH 1:* (FLAGS) (CHANGEDSINCE {last})")).await.is_empty());
    assert!(two.refused("FETCH 1 (FLAGS) (CHANGEDSINCE 1 VANISHED)").await.starts_with("BAD"));
    // Reading tells it too.
    let read = one.ok("FETCH 3 (BODY[TEXT])").await;
    assert!(read[1].starts_with(" FLAGS (\\Seen) MODSEQ (") || read[0].contains("MODSEQ ("), "{read:?}");
}

#[tokio::test]
async fn a_guarded_store_leaves_changed_messages_alone() {
    let server = Server::start().await;
    let mut one = server.inbox().await;
    for n in 1..=4 {
        one.append("INBOX", format!("A: {n}\r\n\r\n").as_bytes()).await;
    }
    let mut two = server.inbox().await;
    let known = number_behind(&one.ok("STATUS INBOX (HIGHESTMODSEQ)").await, "HIGHESTMODSEQ");
    two.ok("STORE 2,4 +FLAGS ($Other)").await;
    let (lines, status) = one.run(&format!("STORE 1:4 (UNCHANGEDSINCE {known}) +FLAGS (\\Seen)")).await;
    assert!(status.starts_with("OK [MODIFIED 2,4]"), "{status}");
    assert!(lines[0].starts_with("* FLAGS ") && lines[1].starts_with("* OK [PERMANENTFLAGS "), "{lines:?}");
    assert_eq!(lines[2..].iter().filter(|line| line.contains("FLAGS ")).count(), 4, "{lines:?}");
    assert!(lines.iter().any(|l| l.starts_with("* 2 FETCH (UID 2 FLAGS ($Other) MODSEQ (")), "{lines:?}");
    assert_eq!(two.ok("SEARCH SEEN").await[0], "* SEARCH 1 3");
    two.ok("UID STORE 2 -FLAGS.SILENT ($Other)").await;
    let (_, status) = one.run(&format!("UID STORE 1:9 (UNCHANGEDSINCE {known}) +FLAGS.SILENT (x)")).await;
    assert!(status.starts_with("OK [MODIFIED 1:4]"), "{status}");
    // 0 fits no message.
    let (_, status) = one.run("STORE 3 (UNCHANGEDSINCE 0) +FLAGS.SILENT (x)").await;
    assert!(status.starts_with("OK [MODIFIED 3]"), "{status}");
    let now = number_behind(&one.ok("STATUS INBOX (HIGHESTMODSEQ)").await, "HIGHESTMODSEQ");
    let (_, status) = one.run(&format!("STORE 3 (UNCHANGEDSINCE {now}) +FLAGS.SILENT (x)")).await;
    assert!(status.starts_with("OK STORE"), "{status}");
    assert_eq!(two.ok("SEARCH KEYWORD x").await[0], "* SEARCH 3");
}

#[tokio::test]
async fn search_by_modseq_tells_the_highest() {
    let server = Server::start().await;
    let mut one = server.inbox().await;
    for n in 1..=3 {
        one.append("INBOX", format!("A: {n}\r\n\r\n").as_bytes()).await;
    }
    let mut two = server.inbox().await;
    one.ok("STORE 2 +FLAGS (\\Flagged)").await;
    let first = number_behind(&one.ok("STATUS INBOX (HIGHESTMODSEQ)").await, "HIGHESTMODSEQ");
    one.ok("STORE 1 +FLAGS (\\Flagged)").await;
    two.ok("NOOP").await;
    let found = two.ok(&format!("SEARCH MODSEQ {first}")).await;
    let last = first + 1;
    assert_eq!(found.last().unwrap(), &format!("* SEARCH 1 2 (MODSEQ {last})"));
    assert_eq!(
        two.ok(&format!("SEARCH MODSEQ \"/flags/\\\\Flagged\" all {last}")).await,
        [format!("* SEARCH 1 (MODSEQ {last})")]
    );
    assert_eq!(two.ok(&format!("SEARCH MODSEQ {}", last + 1)).await, ["* SEARCH"]);
    let found = two.ok(&format!("SEARCH RETURN (MAX) MODSEQ {first}")).await;
    assert!(found[0].ends_with(&format!(" MAX 2 MODSEQ {first}")), "{found:?}");
    let found = two.ok(&format!("UID SEARCH RETURN (MIN MAX) MODSEQ {first}")).await;
    assert!(found[0].ends_with(&format!(" UID MIN 1 MAX 2 MODSEQ {last}")), "{found:?}");
    let found = two.ok(&format!("SEARCH RETURN () NOT MODSEQ {first}")).await;
    assert!(found[0].contains(" ALL 3 MODSEQ "), "{found:?}");
}

/// Each command of RFC 7162 §3.1 that shows that a client knows MODSEQs; others are not sent any.
#[tokio::test]
async fn what_turns_modseqs_on() {
    let server = Server::start().await;
    let mut one = server.inbox().await;
    one.append("INBOX", b"A: 1\r\n\r\n").await;
    let mut flag = "-";
    for (command, on) in [
        ("NOOP", false),
        ("FETCH 1 FLAGS", false),
        ("STATUS INBOX (MESSAGES)", false),
        ("STATUS INBOX (HIGHESTMODSEQ)", true),
        ("LIST \"\" INBOX RETURN (STATUS (HIGHESTMODSEQ))", true),
        ("FETCH 1 (MODSEQ)", true),
        ("FETCH 1 (FLAGS) (CHANGEDSINCE 1)", true),
        ("SEARCH NOT MODSEQ 1", true),
        ("STORE 1 (UNCHANGEDSINCE 0) +FLAGS (a)", true),
        ("ENABLE X-NONE CONDSTORE", true),
        ("ENABLE QRESYNC", true),
        ("SELECT INBOX (CONDSTORE)", true),
        ("EXAMINE INBOX (CONDSTORE)", true),
    ] {
        let mut two = server.inbox().await;
        two.ok(command).await;
        flag = if flag == "+" { "-" } else { "+" };
        one.ok(&format!("STORE 1 {flag}FLAGS.SILENT (\\Flagged)")).await;
        let told = two.ok("NOOP").await;
        assert!(told[0].starts_with("* 1 FETCH (UID 1 FLAGS"), "{command}: {told:?}");
        assert_eq!(told[0].contains("MODSEQ ("), on, "{command}: {told:?}");
    }
    assert_eq!(
        one.ok("ENABLE CONDSTORE QRESYNC CONDSTORE").await.last().unwrap(),
        "* ENABLED CONDSTORE QRESYNC"
    );
    assert_eq!(one.ok("ENABLE CONDSTORE").await, ["* ENABLED"]);
}
