//! SORT (RFC 5256, RFC 5957, RFC 5267) and THREAD (RFC 5256) over the wire.

use super::harness::{Client, Server};
use tokio::{io::AsyncRead, io::AsyncWrite};

async fn store<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Client<S>, arrived: u32, header: &str) {
    let message = format!("{}\r\n\r\nbody\r\n", header.replace('\n', "\r\n"));
    let head = format!("INBOX \"{arrived:02}-Feb-2020 12:00:00 +0000\"");
    assert!(client.append(&head, message.as_bytes()).await.starts_with("OK"));
}

async fn filled(client: &mut Client<impl AsyncRead + AsyncWrite + Unpin>) {
    for (arrived, header) in [
        (
            3,
            "Date: Sat, 01 Feb 2020 10:00:00 +0000\nSubject: Re: =?utf-8?q?=C3=84pfel?=\n\
             From: \"Zoe\" <anton@example.net>\nTo: c@x\nCc: q@x\nMessage-ID: <2@x>\nReferences: <1@x>",
        ),
        // Earlier in UTC than the first one, although the clock reads later.
        (
            2,
            "Date: Sat, 01 Feb 2020 11:00:00 +0300\nSubject: a\u{308}pfel\nFrom: berta@example.net\n\
             To: \"A\" <d@x>\nMessage-ID: <1@x>",
        ),
        // No date: when it came counts.
        (
            1,
            "Subject: [list] birnen\nFrom: \"Adam\" <zacharias@example.net>\nTo: B@x\n\
             Message-ID: <3@x>\nIn-Reply-To: your letter <2@x>",
        ),
        (
            4,
            "Date: Sun, 02 Feb 2020 10:00:00 +0000\nX: a much longer message than the others\nMessage-ID: <4@x>",
        ),
    ] {
        store(client, arrived, header).await;
    }
}

#[tokio::test]
async fn every_key_and_its_reverse() {
    let server = Server::start().await;
    let (mut writer, mut reader) = (server.session().await, server.inbox().await);
    filled(&mut writer).await;
    reader.ok("NOOP").await;
    for (order, expected) in [
        ("ARRIVAL", "3 2 1 4"),
        ("REVERSE ARRIVAL", "4 1 2 3"),
        ("DATE", "2 1 3 4"),
        ("REVERSE DATE", "4 3 1 2"),
        ("SUBJECT", "4 1 2 3"),
        // What is alike keeps its order.
        ("REVERSE SUBJECT", "3 1 2 4"),
        ("SUBJECT REVERSE DATE", "4 1 2 3"),
        ("SUBJECT DATE", "4 2 1 3"),
        ("FROM", "4 1 2 3"),
        ("DISPLAYFROM", "4 3 2 1"),
        ("TO", "4 3 1 2"),
        ("DISPLAYTO", "4 2 3 1"),
        ("CC", "2 3 4 1"),
        ("CC REVERSE CC ARRIVAL", "3 2 4 1"),
        ("REVERSE SIZE", "1 2 3 4"),
    ] {
        let lines = reader.ok(&format!("SORT ({order}) UTF-8 ALL")).await;
        if order == "REVERSE SIZE" {
            // Sizes as FETCH tells them.
            let mut sizes = Vec::new();
            for line in reader.ok("FETCH 1:* RFC822.SIZE").await {
                let size: u32 = line.rsplit_once(' ').unwrap().1.trim_end_matches(')').parse().unwrap();
                sizes.push((std::cmp::Reverse(size), sizes.len() + 1));
            }
            sizes.sort_unstable();
            let expected: Vec<String> = sizes.iter().map(|(_, n)| n.to_string()).collect();
            assert_eq!(lines, [format!("* SORT {}", expected.join(" "))]);
        } else {
            assert_eq!(lines, [format!("* SORT {expected}")], "{order}");
        }
    }
    // UIDs where they differ from numbers, and a search that leaves some out.
    reader.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    reader.ok("EXPUNGE").await;
    assert_eq!(reader.ok("UID SORT (REVERSE ARRIVAL) US-ASCII TEXT body").await, ["* SORT 4 2 3"]);
    assert_eq!(reader.ok("SORT (REVERSE ARRIVAL) US-ASCII SUBJECT birnen").await, ["* SORT 2"]);
    assert_eq!(reader.ok("SORT (DATE) UTF-8 SEEN").await, ["* SORT"]);
    for (command, start) in [
        ("SORT () UTF-8 ALL", "BAD"),
        ("SORT (COLOUR) UTF-8 ALL", "BAD"),
        ("SORT (REVERSE) UTF-8 ALL", "BAD"),
        ("SORT (DATE) ALL", "BAD"),
        ("SORT (DATE) KOI8-R ALL", "NO [BADCHARSET"),
        ("THREAD REFS UTF-8 ALL", "BAD"),
        ("THREAD REFERENCES KOI8-R ALL", "NO [BADCHARSET"),
    ] {
        let status = reader.refused(command).await;
        assert!(status.starts_with(start), "{command}: {status}");
    }
    assert!(writer.refused("SORT (DATE) UTF-8 ALL").await.starts_with("BAD"));
}

#[tokio::test]
async fn esort_and_saved_results() {
    let server = Server::start().await;
    let (mut writer, mut reader) = (server.session().await, server.inbox().await);
    filled(&mut writer).await;
    reader.ok("NOOP").await;
    for (command, expected) in [
        ("SORT RETURN () (ARRIVAL) UTF-8 ALL", "ALL 3,2,1,4"),
        ("SORT RETURN (ALL COUNT) (REVERSE ARRIVAL) UTF-8 1:3", "ALL 1:3 COUNT 3"),
        ("SORT RETURN (MIN MAX) (ARRIVAL) UTF-8 ALL", "MIN 3 MAX 4"),
        ("UID SORT RETURN (MIN) (DATE) UTF-8 ALL", "UID MIN 2"),
        ("SORT RETURN (COUNT) (DATE) UTF-8 SEEN", "COUNT 0"),
    ] {
        let lines = reader.ok(command).await;
        let (head, rest) = lines[0].split_once(") ").unwrap();
        assert!(head.starts_with("* ESEARCH (TAG "), "{head}");
        assert_eq!(rest, expected, "{command}");
    }
    assert!(reader.ok("SORT RETURN (SAVE) (ARRIVAL) UTF-8 1:2").await.is_empty());
    assert_eq!(reader.ok("FETCH $ UID").await, ["* 1 FETCH (UID 1)", "* 2 FETCH (UID 2)"]);
    reader.ok("SORT RETURN (SAVE MIN) (ARRIVAL) UTF-8 ALL").await;
    assert_eq!(reader.ok("FETCH $ UID").await, ["* 3 FETCH (UID 3)"]);
    // MODSEQ is told where it is asked for (RFC 7162 §3.1.6).
    let lines = reader.ok("SORT (ARRIVAL) UTF-8 MODSEQ 1").await;
    assert!(lines.iter().any(|l| l.starts_with("* SORT 3 2 1 4 (MODSEQ ")), "{lines:?}");
}

#[tokio::test]
async fn threads() {
    let server = Server::start().await;
    let (mut writer, mut reader) = (server.session().await, server.inbox().await);
    filled(&mut writer).await;
    reader.ok("NOOP").await;
    assert_eq!(reader.ok("THREAD REFERENCES UTF-8 ALL").await, ["* THREAD (2 1 3)(4)"]);
    assert_eq!(reader.ok("THREAD ORDEREDSUBJECT UTF-8 ALL").await, ["* THREAD (2 1)(3)(4)"]);
    // Messages that are not found bind others all the same, where they are named by both.
    assert_eq!(reader.ok("THREAD REFERENCES UTF-8 2:4").await, ["* THREAD (2)(3)(4)"]);
    assert_eq!(reader.ok("THREAD REFERENCES UTF-8 SEEN").await, ["* THREAD"]);
    reader.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    reader.ok("EXPUNGE").await;
    assert_eq!(reader.ok("UID THREAD REFERENCES UTF-8 ALL").await, ["* THREAD (2)(3)(4)"]);
}

/// Numbers stay while SORT and THREAD are answered.
#[tokio::test]
async fn expunge_waits() {
    let server = Server::start().await;
    let (mut writer, mut reader) = (server.inbox().await, server.inbox().await);
    filled(&mut writer).await;
    reader.ok("NOOP").await;
    writer.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    writer.ok("EXPUNGE").await;
    for command in ["SORT (ARRIVAL) UTF-8 ALL", "THREAD REFERENCES UTF-8 ALL"] {
        let lines = reader.ok(command).await;
        assert!(lines.iter().all(|line| !line.contains("EXPUNGE")), "{command}: {lines:?}");
    }
    assert_eq!(reader.ok("NOOP").await, ["* 1 EXPUNGE"]);
}
