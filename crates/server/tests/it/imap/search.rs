//! SEARCH: every key, ESEARCH, SEARCHRES.

use super::harness::Server;

#[tokio::test]
async fn every_key() {
    let server = Server::start().await;
    let mut client = server.inbox().await;
    client.append("INBOX (\\Seen \\Answered $Work) \"01-Feb-2020 12:00:00 +0000\"",
        b"From: Alice <alice@example.net>\r\nTo: bob@example.com\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\
          Date: Fri, 31 Jan 2020 23:00:00 -0500\r\nX-Odd: yes\r\n\r\nHello World\r\n").await;
    client
        .append(
            "INBOX (\\Flagged) \"02-Feb-2020 12:00:00 +0000\"",
            b"From: carol@example.org\r\nCc: dave@example.org\r\nBcc: eve@example.org\r\nSubject: second\r\n\
          Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nw4RwZmVs\r\n",
        )
        .await;
    client
        .append(
            "INBOX (\\Deleted \\Draft) \"03-Feb-2020 12:00:00 +0000\"",
            &[b"\r\n".as_slice(), &[b'x'; 500]].concat(),
        )
        .await;
    for (keys, expected) in [
        ("ALL", "1 2 3"),
        ("2:*", "2 3"),
        ("UID 1,3", "1 3"),
        ("SEEN", "1"),
        ("UNSEEN", "2 3"),
        ("ANSWERED", "1"),
        ("UNANSWERED FLAGGED", "2"),
        ("DELETED DRAFT", "3"),
        ("UNDELETED UNDRAFT UNFLAGGED", "1"),
        ("KEYWORD $work", "1"),
        ("UNKEYWORD $Work", "2 3"),
        ("NEW", ""),
        ("RECENT", ""),
        ("OLD", "1 2 3"),
        ("BEFORE 2-Feb-2020", "1"),
        ("ON 2-Feb-2020", "2"),
        ("SINCE \"2-Feb-2020\"", "2 3"),
        ("SENTON 31-Jan-2020", "1"),
        ("SENTBEFORE 1-Feb-2020", "1"),
        ("SENTSINCE 1-Feb-2020", ""),
        ("LARGER 499", "3"),
        ("SMALLER 502", "1 2"),
        ("FROM ALICE", "1"),
        ("TO bob", "1"),
        ("CC dave", "2"),
        ("BCC eve", "2"),
        ("SUBJECT second", "2"),
        ("HEADER X-Odd \"\"", "1"),
        ("HEADER X-Odd no", ""),
        ("BODY world", "1"),
        ("BODY alice", ""),
        ("TEXT alice", "1"),
        ("OR SEEN FLAGGED", "1 2"),
        ("NOT (OR SEEN FLAGGED)", "3"),
        ("(NOT SEEN) (NOT DELETED)", "2"),
        ("CHARSET US-ASCII TEXT hello", "1"),
    ] {
        let lines = client.ok(&format!("SEARCH {keys}")).await;
        let expected = format!("* SEARCH {expected}");
        assert_eq!(lines, [expected.trim_end()], "{keys}");
    }
    // Non-ASCII, as literal and charset UTF-8; in an encoded word and in base64.
    for (key, expected) in [("SUBJECT", "* SEARCH 1"), ("BODY", "* SEARCH 2")] {
        let text = if key == "SUBJECT" { "grüße" } else { "äpfel" };
        client.send(format!("x SEARCH CHARSET UTF-8 {key} {{{}+}}\r\n{text}\r\n", text.len())).await;
        assert_eq!(client.until("x").await.0, [expected]);
    }
    for (command, start) in [
        ("SEARCH CHARSET KOI8-R ALL", "NO [BADCHARSET (US-ASCII UTF-8)]"),
        ("SEARCH", "BAD"),
        ("SEARCH ()", "BAD"),
        ("SEARCH FOO", "BAD"),
        ("SEARCH OR SEEN", "BAD"),
        ("SEARCH ON 31-Feb-2020", "BAD"),
        ("SEARCH 9", "BAD"),
    ] {
        let status = client.refused(command).await;
        assert!(status.starts_with(start), "{command}: {status}");
    }
}

#[tokio::test]
async fn esearch_and_saved_results() {
    let server = Server::start().await;
    let mut client = server.inbox().await;
    for n in 0..5 {
        client.append(if n % 2 == 0 { "INBOX (\\Seen)" } else { "INBOX" }, b"A: b\r\n\r\n").await;
    }
    let esearch = |lines: Vec<String>| {
        let (_, rest) = lines[0].split_once(')').unwrap();
        assert!(lines.len() == 1 && lines[0].starts_with("* ESEARCH (TAG \"t"), "{lines:?}");
        rest.to_owned()
    };
    assert_eq!(esearch(client.ok("SEARCH RETURN () SEEN").await), " ALL 1,3,5");
    assert_eq!(
        esearch(client.ok("UID SEARCH RETURN (MIN MAX COUNT) SEEN").await),
        " UID MIN 1 MAX 5 COUNT 3"
    );
    assert_eq!(esearch(client.ok("SEARCH RETURN (ALL COUNT) FLAGGED").await), " COUNT 0");
    assert!(client.ok("SEARCH RETURN (SAVE) UNSEEN").await.is_empty());
    assert_eq!(client.ok("FETCH $ UID").await, ["* 2 FETCH (UID 2)", "* 4 FETCH (UID 4)"]);
    client.ok("UID STORE $ +FLAGS.SILENT (\\Deleted)").await;
    client.ok("UID EXPUNGE 2").await;
    assert_eq!(client.ok("FETCH $ UID").await, ["* 3 FETCH (UID 4)"]);
    assert_eq!(client.ok("SEARCH NOT $").await, ["* SEARCH 1 2 4"]);
    assert_eq!(esearch(client.ok("SEARCH RETURN (SAVE MIN) SEEN").await), " MIN 1");
    assert_eq!(client.ok("FETCH $ UID").await, ["* 1 FETCH (UID 1)"]);
    client.refused("SEARCH RETURN (SAVE) CHARSET X ALL").await;
    assert!(client.ok("FETCH $ UID").await.is_empty());
}
