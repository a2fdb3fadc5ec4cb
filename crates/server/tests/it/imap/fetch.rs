//! FETCH: every item, sections, partial ranges, \Seen, and large messages.

use super::harness::{Client, Server};
use std::path::Path;

/// Odd messages of our own, and those of the folder that `SEALPOST_CORPUS` names, if it is set.
pub(super) fn corpus() -> Vec<(String, Vec<u8>)> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages");
    let mut all = Vec::new();
    let mut folders = vec![own];
    folders.extend(std::env::var_os("SEALPOST_CORPUS").map(Into::into));
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                all.push((path.display().to_string(), std::fs::read(path).unwrap()));
            }
        }
    }
    all.sort();
    assert!(all.len() >= 15);
    all
}

fn own(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages").join(name)).unwrap()
}

/// One message in INBOX, and the single FETCH line (literals inline) for some items.
async fn fetched(name: &str, items: &str) -> String {
    let server = Server::start().await;
    let mut client = server.inbox().await;
    assert!(client.append("INBOX", &own(name)).await.starts_with("OK"));
    let (lines, status) = client.run(&format!("FETCH 1 {items}")).await;
    assert!(status.starts_with("OK"), "{status}");
    lines.join("\r\n")
}

#[tokio::test]
async fn envelope_with_groups_comments_and_routes() {
    let line = fetched("13-addresses.eml", "ENVELOPE").await;
    let expected = concat!(
        "* 1 FETCH (ENVELOPE (\"garbage\" \"=?utf-8?q?=C3=A4?= and \\\"quotes\\\" \\\\ backslash\" ",
        "((\"Doe, John\" NIL \"john\" \"example.net\")(\"Comment (nested) Name\" NIL \"plain\" \"example.net\")) ",
        "((\"Doe, John\" NIL \"john\" \"example.net\")(\"Comment (nested) Name\" NIL \"plain\" \"example.net\")) ",
        "((\"Doe, John\" NIL \"john\" \"example.net\")(\"Comment (nested) Name\" NIL \"plain\" \"example.net\")) ",
        "((NIL NIL \"friends\" NIL)(NIL NIL \"a\" \"example.net\")(\"B\" NIL \"b\" \"example.net\")(NIL NIL NIL NIL)",
        "(NIL NIL \"undisclosed-recipients\" NIL)(NIL NIL NIL NIL)) ",
        "((NIL NIL \"c\" \"example.net\")(NIL NIL \"no-domain\" \"\")(NIL NIL \"quo\\\"ted\" \"example.net\")) ",
        "NIL NIL NIL))"
    );
    assert_eq!(line, expected);
}

#[tokio::test]
async fn bodystructure_of_odd_messages() {
    for (name, expected) in [
        (
            "01-plain.eml",
            "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 31 3 NIL NIL NIL NIL)",
        ),
        (
            "02-empty.eml",
            "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL)",
        ),
        (
            "09-no-boundary.eml",
            "(\"application\" \"octet-stream\" NIL NIL NIL \"7bit\" 26 4 NIL NIL NIL NIL)",
        ),
        (
            "05-lone-lf.eml",
            "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 3 0 NIL NIL NIL NIL)\
             (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 3 0 NIL NIL NIL NIL) \
             \"mixed\" (\"boundary\" \"x\") NIL NIL NIL)",
        ),
        (
            "08-unterminated.eml",
            "(((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 5 0 NIL NIL NIL NIL) \
             \"alternative\" (\"boundary\" \"inner\") NIL NIL NIL)\
             (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 6 1 NIL NIL NIL NIL) \
             \"mixed\" (\"boundary\" \"outer\") NIL NIL NIL)",
        ),
        (
            "12-parameters.eml",
            "((\"text\" \"plain\" (\"charset\" \"utf-8\" \"format\" \"flowed\" \"name*0\" \"very long\" \"name*1*\" \
             \"%20name\") \"<part@example.net>\" NIL \"7bit\" 1 0 \"Q2hlY2s=\" (\"attachment\" (\"filename\" \
             \"two words.txt\")) (\"de\" \"en\") \"http://example.net/x\") \"mixed\" (\"boundary\" \"a b (c)\") NIL NIL NIL)",
        ),
    ] {
        let line = fetched(name, "BODYSTRUCTURE").await;
        let expected = match name {
            // An opaque part is no text: it has no line count.
            "09-no-boundary.eml" => expected.replace(" 26 4 NIL", " 26 NIL"),
            _ => expected.to_owned(),
        };
        assert_eq!(line, format!("* 1 FETCH (BODYSTRUCTURE {expected})"), "{name}");
    }
}

#[tokio::test]
async fn digests_and_nested_messages() {
    let server = Server::start().await;
    let mut client = server.inbox().await;
    client.append("INBOX", &own("10-digest.eml")).await;
    client.append("INBOX", &own("11-nested-rfc822.eml")).await;
    assert_eq!(client.fetch(1, "BODY.PEEK[2.TEXT]").await, b"second");
    assert_eq!(client.fetch(1, "BODY.PEEK[1.HEADER]").await, b"Subject: one\r\n\r\n");
    assert_eq!(client.fetch(1, "BODY.PEEK[1.1]").await, b"first");
    let (lines, _) = client.run("FETCH 1 BODY").await;
    assert!(lines[0].contains("\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 21 (NIL \"one\""), "{lines:?}");
    assert_eq!(
        client.fetch(2, "BODY.PEEK[1.HEADER]").await,
        b"Subject: middle\r\nContent-Type: message/rfc822\r\n\r\n"
    );
    assert_eq!(client.fetch(2, "BODY.PEEK[1.1.HEADER.FIELDS (subject)]").await, b"Subject: inner\r\n\r\n");
    assert_eq!(client.fetch(2, "BODY.PEEK[1.1.TEXT]").await, b"innermost\r\n");
    let (lines, status) = client.run("FETCH 2 (BODY.PEEK[7] BODY.PEEK[1.1.1.1.1])").await;
    assert_eq!(lines, ["* 2 FETCH (BODY[7] NIL BODY[1.1.1.1.1] NIL)"]);
    assert!(status.starts_with("OK"));
}

#[tokio::test]
async fn partial_ranges_name_their_origin() {
    let server = Server::start().await;
    let mut client = server.inbox().await;
    client.append("INBOX", b"A: 1\r\nB: 2\r\n\r\n0123456789").await;
    for (item, label, expected) in [
        ("BODY.PEEK[TEXT]<2.3>", "BODY[TEXT]<2>", "234"),
        ("BODY.PEEK[]<14.100>", "BODY[]<14>", "0123456789"),
        ("BODY.PEEK[1]<10.1>", "BODY[1]<10>", ""),
        ("BODY.PEEK[HEADER.FIELDS (b)]<3.9>", "BODY[HEADER.FIELDS (b)]<3>", "2\r\n\r\n"),
        ("BODY.PEEK[]<18446744073709551.1>", "BODY[]<18446744073709551>", ""),
    ] {
        let raw = format!("* 1 FETCH ({label} {{{}}}\r\n{expected})", expected.len());
        let (lines, _) = client.run(&format!("FETCH 1 {item}")).await;
        assert_eq!(lines.join("\r\n"), raw, "{item}");
    }
    for bad in [
        "BODY[]<0.0>",
        "BODY[]<-1.1>",
        "BODY[]<1>",
        "BODY[MIME]",
        "BODY[0]",
        "BODY[1.]",
        "BODY[HEADER.FIELDS ()]",
    ] {
        assert!(client.refused(&format!("FETCH 1 {bad}")).await.starts_with("BAD"), "{bad}");
    }
}

#[tokio::test]
async fn reading_sets_seen_and_peeking_does_not() {
    let server = Server::start().await;
    let mut client = server.inbox().await;
    client.append("INBOX", b"A: 1\r\n\r\nx").await;
    for peek in ["BODY.PEEK[]", "RFC822.HEADER", "ENVELOPE", "BODYSTRUCTURE", "FULL"] {
        client.ok(&format!("FETCH 1 {peek}")).await;
        assert_eq!(client.ok("FETCH 1 FLAGS").await, ["* 1 FETCH (FLAGS ())"], "{peek}");
    }
    let lines = client.ok("UID FETCH 1 BODY[TEXT]").await.join("\r\n");
    assert_eq!(lines, "* 1 FETCH (UID 1 BODY[TEXT] {1}\r\nx FLAGS (\\Seen))");
    client.ok("STORE 1 FLAGS ()").await;
    client.ok("EXAMINE INBOX").await;
    client.ok("FETCH 1 RFC822").await;
    assert_eq!(client.ok("FETCH 1 FLAGS").await, ["* 1 FETCH (FLAGS ())"]);
}

#[tokio::test]
async fn header_fields_of_every_corpus_message_are_well_framed() {
    let server = Server::start().await;
    let mut client = server.inbox().await;
    let mut n = 0;
    for (name, message) in corpus() {
        if !client.append("INBOX", &message).await.starts_with("OK") {
            continue;
        }
        n += 1;
        let header = client.fetch(n, "BODY.PEEK[HEADER]").await;
        let text = client.fetch(n, "BODY.PEEK[TEXT]").await;
        assert_eq!([header, text].concat(), message, "{name}");
        check_framing(&mut client, n, &name).await;
    }
}

/// The client's own parser takes everything that the server writes.
async fn check_framing<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    client: &mut Client<S>,
    n: u32,
    name: &str,
) {
    use sealpost_proto::imap::{Names, Reply, reply};
    client
        .send(format!("x FETCH {n} (FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (From To Subject)])\r\n"))
        .await;
    let mut response = Vec::new();
    loop {
        let byte = client.octets(1).await;
        response.extend(byte);
        if !response.ends_with(b"\r\n") {
            continue;
        }
        let line = response.rsplit(|b| *b == b'\n').nth(1).map(|l| [l, b"\n"].concat()).unwrap_or_default();
        if let Some(head) = sealpost_proto::imap::receive::literal_head(&line) {
            let literal = client.octets(usize::try_from(head.len).unwrap()).await;
            response.extend(literal);
            continue;
        }
        break;
    }
    let parsed = reply(&response, Names::Utf7);
    let text = String::from_utf8_lossy(&response);
    assert!(matches!(parsed, Ok(Reply::Fetch(_))), "{name}: {parsed:?}\n{text}");
    assert!(client.until("x").await.1.starts_with("OK"));
}

#[tokio::test]
async fn a_message_of_94_mb_streams_through() {
    let server = Server::start().await;
    let mut client = server.inbox().await;
    let size: usize = 94 * 1024 * 1024;
    client.send(format!("a APPEND INBOX {{{size}+}}\r\n")).await;
    let head = b"Subject: large\r\nContent-Type: application/age\r\n\r\n";
    client.send(head).await;
    let line = [&[b'x'; 62][..], b"\r\n"].concat().repeat(1024);
    let mut left = size - head.len();
    while left > 0 {
        let n = left.min(line.len());
        client.send(&line[..n]).await;
        left -= n;
    }
    client.send("\r\n").await;
    assert!(client.until("a").await.1.starts_with("OK [APPENDUID"));
    client.send("b FETCH 1 BODY.PEEK[]\r\n").await;
    assert_eq!(client.line().await, format!("* 1 FETCH (BODY[] {{{size}}}"));
    assert_eq!(client.octets(head.len()).await, head);
    let mut left = size - head.len();
    while left > 0 {
        let n = left.min(line.len());
        assert!(client.octets(n).await == line[..n]);
        left -= n;
    }
    assert!(client.until("b").await.1.starts_with("OK"));
}

/// All the octets of a message but its header are taken away behind the server's back: what asks for the header alone
/// does not notice.
#[tokio::test]
async fn header_fetches_read_no_octet_of_a_body() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_in(dir.path(), "").await;
    let mut client = server.inbox().await;
    let header = b"Subject: large\r\nFrom: a@example.net\r\nTo: b@example.com\r\nX-Odd: yes\r\n\r\n";
    let small = [&header[..], b"small\r\n"].concat();
    let message = [&header[..], &b"0123456789abcd\r\n".repeat(20_000)[..]].concat();
    client.append("INBOX", &small).await;
    client.append("INBOX", &message).await;
    let mut objects = Vec::new();
    let mut folders = vec![dir.path().join("data/objects")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { &mut folders } else { &mut objects }.push(path);
        }
    }
    let [object] = objects.as_slice() else { panic!("one message lies in a file: {objects:?}") };
    assert_eq!(std::fs::metadata(object).unwrap().len(), message.len() as u64);
    let file = std::fs::File::options().write(true).open(object).unwrap();
    file.set_len(header.len() as u64).unwrap();
    for n in [1, 2] {
        assert_eq!(client.fetch(n, "BODY.PEEK[HEADER]").await, header);
        assert_eq!(client.fetch(n, "RFC822.HEADER").await, header);
        assert_eq!(client.fetch(n, "BODY.PEEK[HEADER]<9.5>").await, b"large");
        assert_eq!(
            client.fetch(n, "BODY.PEEK[HEADER.FIELDS (To X-Odd)]").await,
            b"To: b@example.com\r\nX-Odd: yes\r\n\r\n"
        );
        assert_eq!(
            client.fetch(n, "BODY.PEEK[HEADER.FIELDS.NOT (Subject From To)]").await,
            b"X-Odd: yes\r\n\r\n"
        );
    }
    assert_eq!(client.ok("SEARCH SUBJECT large HEADER X-Odd yes").await, ["* SEARCH 1 2"]);
    // What asks for more does.
    client.send("x FETCH 2 BODY.PEEK[]\r\n").await;
    assert_eq!(client.line().await, "", "the connection ends: what is missing cannot be sent");
}
