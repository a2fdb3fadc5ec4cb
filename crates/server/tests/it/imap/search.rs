//! SEARCH: every key, ESEARCH, SEARCHRES.

use super::harness::{NOW, Server};
use sealpost_server::imap::index::describe;
use sealpost_store::{
    mailbox::{Flags, NewMessage, Sketch},
    spool::Body,
};

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

/// Sketches and stored indexes only save work: a mailbox without them gives the same answers.
#[tokio::test]
async fn sketches_change_no_answer() {
    let server = Server::start().await;
    let mut client = server.inbox().await;
    client.ok("CREATE Plain").await;
    let mailboxes = server.ctx.store.mailboxes(server.account).await.unwrap();
    let plain = mailboxes.iter().find(|mailbox| mailbox.name == "Plain").unwrap().id;
    let mut messages: Vec<Vec<u8>> =
        std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/messages"))
            .unwrap()
            .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
            .collect();
    messages.sort();
    let odd: [&[u8]; 6] = [
        b"Subject: =?utf-8?q?Gr=C3=BC?=\r\n =?utf-8?q?=C3=9Fe_aus?= Ulm\r\nTo: a,\r\n\tb@example.com\r\n\r\n\r\n",
        "Subject: \u{39f}\u{394}\u{39f}\u{3a3} \u{39f}\u{394}\u{39f}\u{3a3}\u{391}\r\n\r\n\u{3a3}\u{391}\u{3a3}\r\n".as_bytes(),
        b"Subject: \xfcber =?none?q?x?= =?utf-8?b?w6\r\nX-Odd:\r\n\r\n\xff\xfe\r\n",
        b"Content-Type: text/plain; charset=koi8-r\r\nContent-Transfer-Encoding: base64\r\n\r\n8NLJ18XU\r\n",
        b"Content-Type: text/html; charset=nothing\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nsoft=\r\nwrap =C3=9C\r\n",
        b"A: b\r\n\r\nends without a line",
    ];
    messages.extend(odd.iter().map(|message| message.to_vec()));
    messages.push(
        [b"Subject: long\r\n\r\n".as_slice(), &b"0123456789 abc \r\n".repeat(20_000), b"needle"].concat(),
    );
    for octets in &messages {
        // literal8: one of them has a NUL.
        client.send(format!("x APPEND INBOX ~{{{}+}}\r\n", octets.len())).await;
        client.send(octets).await;
        client.send("\r\n").await;
        assert!(client.until("x").await.1.starts_with("OK"));
        let message = NewMessage {
            body: Body::from_bytes(octets.clone()),
            flags: Flags::default(),
            keywords: Vec::new(),
            internal_date: super::harness::NOW,
            index: Vec::new(),
            sketch: Sketch::default(),
        };
        server.ctx.store.append(plain, vec![message]).await.unwrap();
    }
    let needles = [
        "",
        "a",
        "ab",
        "e",
        "bob",
        "hello",
        "Hello Bob",
        "HELLO",
        "example",
        "example.com",
        "gr\u{fc}\u{df}e",
        "gr\u{fc}\u{df}e aus ulm",
        "\u{dc}\u{df}",
        "a, b",
        "a,\tb@",
        "\u{3bf}\u{3b4}\u{3bf}\u{3c3}",
        "\u{39f}\u{394}\u{39f}\u{3a3}\u{391}",
        "\u{3c3}\u{3b1}\u{3c2}",
        "\u{fc}ber",
        "=?utf-8",
        "none?q",
        "\u{43f}\u{440}\u{438}\u{432}\u{435}\u{442}",
        "\u{41f}\u{420}",
        "softwrap",
        "softwrap \u{fc}",
        "soft=",
        "without a line",
        "needle",
        "9 abc 0",
        "AGE ENCRYPTED",
        "YWdl",
        "leading dots",
        "nowhere",
        "Subject: ",
        "text/plain",
    ];
    let mut keys: Vec<(String, &str)> = vec![
        ("HEADER X-Odd".to_owned(), ""),
        ("HEADER Date".to_owned(), ""),
        ("HEADER A".to_owned(), ""),
        ("NOT HEADER To".to_owned(), "bob"),
    ];
    for needle in needles {
        for key in [
            "SUBJECT",
            "FROM",
            "TO",
            "HEADER Content-Type",
            "BODY",
            "TEXT",
            "NOT TEXT",
            "OR SUBJECT hello BODY",
            "SEEN TEXT",
            "SUBJECT e BODY",
        ] {
            keys.push((key.to_owned(), needle));
        }
    }
    let mut answers = Vec::new();
    for mailbox in ["INBOX", "Plain"] {
        client.ok(&format!("SELECT {mailbox}")).await;
        let mut all = Vec::new();
        for (key, needle) in &keys {
            client.send(format!("x SEARCH CHARSET UTF-8 {key} {{{}+}}\r\n{needle}\r\n", needle.len())).await;
            all.push(client.until("x").await.0);
        }
        answers.push(all);
    }
    for (at, (key, needle)) in keys.iter().enumerate() {
        assert_eq!(answers[0][at], answers[1][at], "{key} {needle:?}");
    }
    let of =
        |wanted: &str| keys.iter().position(|(key, needle)| format!("{key} {needle}") == wanted).unwrap();
    let count = |at: usize| answers[0][at][0].split(' ').count() - 2;
    assert_eq!(count(of("SUBJECT gr\u{fc}\u{df}e aus ulm")), 1);
    assert_eq!(count(of("SUBJECT \u{3bf}\u{3b4}\u{3bf}\u{3c3}")), 1);
    assert_eq!(count(of("BODY \u{43f}\u{440}\u{438}\u{432}\u{435}\u{442}")), 1);
    assert_eq!(count(of("TEXT ")), messages.len());
    // A sealed body has no text (RFC 9051 §6.4.4): nothing but nothing is in it.
    assert_eq!(count(of("BODY AGE ENCRYPTED")), 0);
    assert_eq!(count(of("BODY ")), messages.len());
}

/// WITHIN (RFC 5032): the clock of the tests stands at 21:36:00.
#[tokio::test]
async fn younger_and_older() {
    let server = Server::start().await;
    let (mut writer, mut reader) = (server.session().await, server.inbox().await);
    for time in ["21:35:01", "21:35:00", "21:34:59"] {
        writer.append(&format!("INBOX \"23-Nov-2026 {time} +0000\""), b"A: b\r\n\r\n").await;
    }
    reader.ok("NOOP").await;
    for (key, expected) in [
        ("YOUNGER 59", "* SEARCH 1"),
        ("YOUNGER 60", "* SEARCH 1 2"),
        ("YOUNGER 61", "* SEARCH 1 2 3"),
        ("OLDER 60", "* SEARCH 2 3"),
        ("NOT OLDER 60", "* SEARCH 1"),
        ("OLDER 60 YOUNGER 60", "* SEARCH 2"),
        ("YOUNGER 4294967295", "* SEARCH 1 2 3"),
    ] {
        assert_eq!(reader.ok(&format!("SEARCH {key}")).await, [expected], "{key}");
    }
    for bad in ["YOUNGER 0", "OLDER", "OLDER x", "YOUNGER 4294967296"] {
        assert!(reader.refused(&format!("SEARCH {bad}")).await.starts_with("BAD"), "{bad}");
    }
}

/// More messages than are looked through or read at a time: nothing is left out, nothing comes twice, and all in order.
#[tokio::test]
async fn a_large_mailbox_is_read_whole() {
    const MESSAGES: u32 = 9000;
    let server = Server::start().await;
    let store = &server.ctx.store;
    let inbox = store.find_mailbox(server.account, "INBOX").await.unwrap().unwrap();
    let message = |n: u32| {
        let body = Body::from_bytes(format!("Subject: number {n} of {}\r\n\r\n{}", n % 100, "x".repeat(100)));
        let (index, sketch) = describe(&body).unwrap();
        let flags = if n.is_multiple_of(3) { Flags::SEEN } else { Flags::default() };
        let keywords = if n.is_multiple_of(1000) { vec!["Thousands".to_owned()] } else { Vec::new() };
        NewMessage { body, flags, keywords, internal_date: NOW, index, sketch }
    };
    store.append(inbox, (1..=MESSAGES).map(message).collect()).await.unwrap();
    let mut client = server.inbox().await;
    for (keys, matches) in [
        ("SUBJECT \"of 77\"", (|n| n % 100 == 77) as fn(u32) -> bool),
        ("UNSEEN", |n| n % 3 != 0),
        ("NOT UNSEEN", |n| n % 3 == 0),
        ("SEEN NOT SEEN", |_| false),
        ("KEYWORD thousands", |n| n % 1000 == 0),
        ("UNSEEN OR KEYWORD Thousands TEXT \"number 8191 \"", |n| n % 3 != 0 && n % 1000 == 0 || n == 8191),
        ("8190:8195 BODY xxx", |n| (8190..=8195).contains(&n)),
    ] {
        let expected: Vec<String> = (1..=MESSAGES).filter(|n| matches(*n)).map(|n| format!(" {n}")).collect();
        assert_eq!(
            client.ok(&format!("SEARCH {keys}")).await,
            [format!("* SEARCH{}", expected.concat())],
            "{keys}"
        );
    }
    for items in ["BODY.PEEK[HEADER.FIELDS (SUBJECT)]", "(BODY.PEEK[HEADER] ENVELOPE)", "BODY.PEEK[]"] {
        let lines = client.ok(&format!("FETCH 1:* {items}")).await;
        let heads: Vec<String> = (1..=MESSAGES).map(|n| format!("* {n} FETCH (")).collect();
        let subjects: Vec<String> =
            (1..=MESSAGES).map(|n| format!("Subject: number {n} of {}", n % 100)).collect();
        let told = |start: &str| lines.iter().filter(|line| line.starts_with(start)).collect::<Vec<_>>();
        assert!(told("* ").iter().zip(&heads).all(|(line, head)| line.starts_with(head)), "{items}");
        assert_eq!(
            (told("* ").len(), told("Subject: ")),
            (heads.len(), subjects.iter().collect()),
            "{items}"
        );
    }
}
