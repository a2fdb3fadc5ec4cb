//! I18NLEVEL=1 (RFC 5255 §4): SEARCH, SORT and THREAD compare by i;unicode-casemap (RFC 5051), whatever charset and transfer
//! encoding the text came in.

use super::harness::{Client, Server};
use tokio_rustls::client::TlsStream;

type Tls = Client<TlsStream<tokio::net::TcpStream>>;

async fn filled(server: &Server) -> Tls {
    let mut writer = server.session().await;
    for message in [
        // u with diaeresis as one character, in an encoded word; an accent behind its letter in the body.
        "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nFrom: =?iso-8859-1?q?J=F6rg?= <a@x>\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\nCAFE\u{301} au lait\r\n",
        // As two, in UTF-8; e with acute as one octet of ISO 8859-1 in base64.
        "Subject: gru\u{308}\u{df}E\r\nFrom: JO\u{308}RG <b@x>\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\
         Content-Transfer-Encoding: base64\r\n\r\nY2Fm6Q==\r\n",
        "Subject: Re: \u{395}\u{3c3}\u{3c4}\u{3af}\u{3b1}\u{3c2}\r\nFrom: b@x\r\n\r\n\u{1c6}ez \u{fb01}n\r\n",
        "Subject: \u{395}\u{3a3}\u{3a4}\u{399}\u{301}\u{391}\u{3a3}\r\nFrom: c@x\r\n\r\n\u{1c4}EZ\r\n",
        "Subject: b\r\n\r\n",
        "Subject: \u{c4}\r\n\r\n",
        "Subject: az\r\n\r\n",
    ] {
        assert!(writer.append("INBOX", message.as_bytes()).await.starts_with("OK"));
    }
    server.inbox().await
}

async fn search(reader: &mut Tls, key: &str, text: &str) -> String {
    reader.send(format!("s SEARCH CHARSET UTF-8 {key} {{{}+}}\r\n{text}\r\n", text.len())).await;
    let (lines, status) = reader.until("s").await;
    assert!(status.starts_with("OK"), "{status}");
    lines[0].trim_start_matches("* SEARCH").trim_start().to_owned()
}

#[tokio::test]
async fn search_finds_text_in_any_case_and_composition() {
    let server = Server::start().await;
    let mut reader = filled(&server).await;
    for (key, text, expected) in [
        ("SUBJECT", "gr\u{fc}\u{df}e", "1 2"),
        ("SUBJECT", "GRU\u{308}\u{df}E", "1 2"),
        // What follows a letter belongs to it no more than the next letter: the octets are in it (RFC 5051 §2).
        ("SUBJECT", "GRU", "1 2"),
        ("SUBJECT", "gruss", ""),
        ("FROM", "j\u{f6}rg", "1 2"),
        ("HEADER From", "O\u{308}r", "1 2"),
        ("BODY", "Caf\u{e9}", "1 2"),
        ("TEXT", "cafe\u{301}", "1 2"),
        ("BODY", "CAF\u{c9} AU", "1"),
        // The sigma at the end of a word is one; an accent is an accent, behind a capital too.
        ("SUBJECT", "\u{3b5}\u{3c3}\u{3c4}\u{3af}\u{3b1}\u{3c3}", "3 4"),
        ("SUBJECT", "\u{395}\u{3a3}\u{3a4}\u{399}\u{391}\u{3a3}", ""),
        // The example of RFC 5051 §2: a digraph has one form for all its cases.
        ("BODY", "\u{1c5}ez", "3 4"),
        // Its letters one by one are others to this collation, and so are the capitals of a ligature.
        ("BODY", "dz\u{30c}", ""),
        ("BODY", "\u{fb01}N", "3"),
        ("BODY", "fin", ""),
    ] {
        assert_eq!(search(&mut reader, key, text).await, expected, "{key} {text}");
    }
}

#[tokio::test]
async fn sort_and_thread_compare_alike() {
    let server = Server::start().await;
    let mut reader = filled(&server).await;
    assert_eq!(
        reader.ok("SORT (SUBJECT) UTF-8 ALL").await,
        ["* SORT 7 6 5 1 2 3 4"],
        "a letter with a mark comes behind all words of that letter, not behind the alphabet; what is alike keeps its order"
    );
    assert_eq!(
        reader.ok("THREAD ORDEREDSUBJECT UTF-8 ALL").await,
        ["* THREAD (1 2)(3 4)(5)(6)(7)"],
        "subjects that differ in case or composition are one"
    );
    assert_eq!(reader.ok("SORT (FROM) UTF-8 1:2").await, ["* SORT 1 2"]);
    assert_eq!(reader.ok("SORT (REVERSE DISPLAYFROM) UTF-8 1:2").await, ["* SORT 1 2"], "they are alike");
}
