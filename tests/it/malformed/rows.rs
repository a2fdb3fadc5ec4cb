//! The rows: how each message is made, and what it is to be found.

use crate::support::run_with;
use sealpost_crypto::key::SecretKey;
use sealpost_hostile::{
    letter::{armour, outer, payload, sign, under},
    mallory,
};
use sealpost_proto::{base64, message::write};
use std::io::Write as _;

const ALICE: &str = super::ALICE;

/// Whoever has written to Bob has these: Alice's by being her, Bob's public one.
pub struct Keys {
    pub alice: SecretKey,
    pub bob: SecretKey,
}

/// Makes the octets of a message, under a Message-ID of its own.
type Made = Box<dyn Fn(&Keys, &str) -> Vec<u8>>;

/// A message and what it is to be found.
pub struct Row {
    pub name: &'static str,
    /// The verdict's name.
    pub verdict: &'static str,
    /// Whether a search for its text finds it.
    pub is_found: bool,
    /// The octets.
    pub made: Made,
}

impl Row {
    pub fn is_withheld(&self) -> bool {
        !self.verdict.starts_with("good") && !self.verdict.starts_with("plain")
    }
}

const GOOD: &str = "good";
const PLAIN: &str = "plain, though this contact signs";
const CLOSED: &str = "cannot be opened";
const BAD: &str = "signature bad";
const WRAPPED: &str = "wrapped by another";

/// Octets as Alice signs them under the outer header of sealed mail.
fn signed(keys: &Keys, id: &str, body: &[u8]) -> Vec<u8> {
    sign(&under(id, &outer(ALICE)), body, &keys.alice)
}

/// A payload sealed to Bob and signed by Alice.
fn sealed(keys: &Keys, id: &str, payload: &[u8]) -> Vec<u8> {
    signed(keys, id, &armour(payload, &keys.bob))
}

/// What stands in the payload besides its Content-Type and body.
fn with_body(id: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let text = under(id, &payload());
    let text = text.replace("text/plain; charset=utf-8; hp=\"cipher\"", content_type);
    let (head, _) = text.split_once("\r\n\r\n").unwrap();
    [head.as_bytes(), b"\r\n\r\n", body].concat()
}

/// More fields in the payload.
fn with_fields(id: &str, fields: &[u8]) -> Vec<u8> {
    [fields, under(id, &payload()).as_bytes()].concat()
}

/// The octets of an age file, and one as an armour block.
fn binary(armour: &[u8]) -> Vec<u8> {
    let text: String =
        String::from_utf8_lossy(armour).lines().filter(|line| !line.starts_with('-')).collect();
    base64::decode(text).unwrap()
}

fn block(octets: &[u8]) -> Vec<u8> {
    let lines: Vec<String> = base64::encode(octets)
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    let lines = if lines.is_empty() { String::new() } else { lines.join("\r\n") + "\r\n" };
    format!("-----BEGIN AGE ENCRYPTED FILE-----\r\n{lines}-----END AGE ENCRYPTED FILE-----\r\n").into_bytes()
}

/// Multiparts in multiparts.
fn nested(depth: usize) -> Vec<u8> {
    let part =
        |level| format!("--b{level}\r\nContent-Type: multipart/mixed; boundary=b{}\r\n\r\n", level + 1);
    let text = format!("--b{depth}\r\n\r\nsecret text\r\n--b{depth}--\r\n");
    ((0..depth).map(part).collect::<String>() + &text).into_bytes()
}

/// Messages in messages.
fn messages(depth: usize) -> Vec<u8> {
    ("Content-Type: message/rfc822\r\n\r\n".repeat(depth) + "Subject: x\r\n\r\nsecret text\r\n").into_bytes()
}

/// base64 of base64 of …
fn in_base64(depth: usize) -> Vec<u8> {
    let mut body = b"secret text\r\n".to_vec();
    for _ in 0..depth {
        body = [
            &b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"[..],
            write::base64_lines(&body).as_bytes(),
        ]
        .concat();
    }
    body
}

/// The name, the verdict, and how it is made.
fn row(name: &'static str, verdict: &'static str, made: impl Fn(&Keys, &str) -> Vec<u8> + 'static) -> Row {
    let made: Made = Box::new(made);
    let mut row = Row { name, verdict, is_found: true, made };
    row.is_found = !row.is_withheld();
    row
}

/// A payload of this type with this body, sealed by Alice: good, whatever a reader makes of it.
fn good(name: &'static str, content_type: &'static str, body: fn() -> Vec<u8>) -> Row {
    row(name, GOOD, move |keys, id| sealed(keys, id, &with_body(id, content_type, &body())))
}

/// The same where the text is not found: it is no text, or lies too deep.
fn good_unfound(name: &'static str, content_type: &'static str, body: fn() -> Vec<u8>) -> Row {
    Row { is_found: false, ..good(name, content_type, body) }
}

/// Plain mail that says it is from Alice.
fn plain(name: &'static str, verdict: &'static str, made: fn() -> Vec<u8>) -> Row {
    row(name, verdict, move |_, _| made())
}

pub fn rows() -> Vec<Row> {
    let mut all = armours();
    all.extend(cut());
    all.extend(headers());
    all.extend(bombs());
    all.extend(characters());
    all.extend(outside());
    all
}

fn armours() -> Vec<Row> {
    vec![
        row("whole", GOOD, |keys, id| sealed(keys, id, under(id, &payload()).as_bytes())),
        row("armour without an end", CLOSED, |keys, id| {
            let whole = armour(under(id, &payload()).as_bytes(), &keys.bob);
            signed(keys, id, &whole[..whole.len() - 40])
        }),
        row("armour with a letter that is none", CLOSED, |keys, id| {
            let mut whole = armour(under(id, &payload()).as_bytes(), &keys.bob);
            whole[100] = b'!';
            signed(keys, id, &whole)
        }),
        row("armour with a changed letter", CLOSED, |keys, id| {
            let mut whole = armour(under(id, &payload()).as_bytes(), &keys.bob);
            let at = whole.len() - 60;
            whole[at] = if whole[at] == b'A' { b'B' } else { b'A' };
            signed(keys, id, &whole)
        }),
        row("armour around nothing", CLOSED, |keys, id| signed(keys, id, &block(b""))),
        row("armour around what is no age file", CLOSED, |keys, id| signed(keys, id, &block(&[0; 10_000]))),
        row("no armour", CLOSED, |keys, id| signed(keys, id, b"secret text\r\n")),
        row("lines between and behind", GOOD, |keys, id| {
            let whole = armour(under(id, &payload()).as_bytes(), &keys.bob);
            signed(keys, id, &[b"before\r\n", &whole[..], b"behind\r\n"].concat())
        }),
        row("two armour blocks", GOOD, |keys, id| {
            let first = armour(under(id, &payload()).as_bytes(), &keys.bob);
            let second =
                armour(under(id, &payload().replace("secret text", "another")).as_bytes(), &keys.bob);
            signed(keys, id, &[first, second].concat())
        }),
        row("a thousand recipients", GOOD, |keys, id| {
            signed(keys, id, &to_many(under(id, &payload()).as_bytes(), &keys.bob, 999))
        }),
        row("a thousand and one recipients", CLOSED, |keys, id| {
            signed(keys, id, &to_many(under(id, &payload()).as_bytes(), &keys.bob, 1_000))
        }),
        row("a hundred thousand recipients", CLOSED, |keys, id| {
            let stanzas =
                "-> ssh-ed25519 AAAAAA AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\nAAAA\n".repeat(100_000);
            signed(keys, id, &block(format!("age-encryption.org/v1\n{stanzas}--- AAAA\n").as_bytes()))
        }),
        row("a stanza of ten megabytes", CLOSED, |keys, id| {
            let lines = ("A".repeat(64) + "\n").repeat(150_000);
            signed(
                keys,
                id,
                &block(format!("age-encryption.org/v1\n-> X x\n{lines}AAAA\n--- AAAA\n").as_bytes()),
            )
        }),
        row("a sealed message inside a sealed one", WRAPPED, |keys, id| {
            let inner = sealed(keys, id, under(id, &payload()).as_bytes());
            sealed(keys, id, &inner)
        }),
        Row {
            is_found: false,
            ..row("a sealed message attached to a sealed one", GOOD, |keys, id| {
                let inner = sealed(keys, id, under(id, &payload()).as_bytes());
                sealed(keys, id, &with_body(id, "message/rfc822", &inner))
            })
        },
    ]
}

/// Sealed to Bob and so many others, by age itself: our own sealing refuses too many.
fn to_many(payload: &[u8], bob: &SecretKey, others: u16) -> Vec<u8> {
    use std::process::{Command, Stdio};
    let mut recipients = bob.public().openssh() + "\n";
    for n in 0..others {
        let mut seed = [7; 32];
        seed[..2].copy_from_slice(&n.to_le_bytes());
        recipients += &(SecretKey::from_seed(seed).public().openssh() + "\n");
    }
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(recipients.as_bytes()).unwrap();
    let mut age = Command::new("age");
    age.args(["-a", "-R"]).arg(file.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let sealed = run_with(&mut age, payload, 0).stdout;
    String::from_utf8(sealed).unwrap().replace('\n', "\r\n").into_bytes()
}

/// Payloads that end too early, each under a signature of Alice's: places counted from the start, and from the end.
fn cut() -> Vec<Row> {
    const PLACES: [(&str, i64); 14] = [
        ("cut behind 1 octet", 1),
        ("cut in the first line", 10),
        ("cut behind the first line", 22),
        ("cut in a stanza", 60),
        ("cut in the header's MAC", 190),
        ("cut in the nonce", 235),
        ("cut in the first chunk", 1_000),
        ("cut before the end of the first chunk", 65_700),
        ("cut amid the second chunk", 100_000),
        ("cut behind the second chunk", 131_400),
        ("cut before the last chunk", -18_000),
        ("cut in the last tag", -8),
        ("cut before the last tag", -16),
        ("cut by 1 octet", -1),
    ];
    PLACES
        .into_iter()
        .map(|(name, at)| {
            row(name, CLOSED, move |keys, id| {
                let text = under(id, &payload()) + &"secret text\r\n".repeat(11_000);
                let whole = binary(&armour(text.as_bytes(), &keys.bob));
                let length = i64::try_from(whole.len()).unwrap();
                let end = usize::try_from(if at < 0 { length + at } else { at }).unwrap();
                signed(keys, id, &block(&whole[..end]))
            })
        })
        .collect()
}

/// Headers inside that are not what they should be.
fn headers() -> Vec<Row> {
    fn changed(name: &'static str, verdict: &'static str, change: fn(&str) -> String) -> Row {
        row(name, verdict, move |keys, id| sealed(keys, id, change(&under(id, &payload())).as_bytes()))
    }
    vec![
        changed("no From inside", WRAPPED, |text| text.replacen("From: alice@example.net\r\n", "", 1)),
        changed("From inside is another", WRAPPED, |text| {
            text.replacen("From: alice@example.net", "From: eve@example.org", 1)
        }),
        changed("two From inside", WRAPPED, |text| format!("From: eve@example.org\r\n{text}")),
        changed("two senders in From inside", WRAPPED, |text| {
            text.replacen("From: alice@example.net", "From: alice@example.net, eve@example.org", 1)
        }),
        changed("no HP-Outer", WRAPPED, |text| text.replace("HP-Outer", "X-Outer")),
        changed("HP-Outer of another subject", WRAPPED, |text| {
            text.replace("HP-Outer: Subject: [...]", "HP-Outer: Subject: pay")
        }),
        changed("HP-Outer doubled", WRAPPED, |text| format!("HP-Outer: Subject: [...]\r\n{text}")),
        changed("HP-Outer without a name", WRAPPED, |text| format!("HP-Outer: nonsense\r\n{text}")),
        changed("no header inside", WRAPPED, |text| format!("\r\n{text}")),
        changed("nothing inside", WRAPPED, |_| String::new()),
        changed("a header without an end", GOOD, |text| text.replace("\r\n\r\n", "\r\nX-Text: ")),
        changed("no recipient inside", "not written to you", |text| {
            text.replacen("To: bob@example.com\r\n", "X-To: x\r\n", 1)
        }),
        changed("a verdict of its own", GOOD, |text| {
            format!("Sealpost-Verdict: good; forged\r\nSEALPOST-verdict : x\r\nSealpost-Other: y\r\n{text}")
        }),
        changed("fields of a sealed message inside", GOOD, |text| {
            format!(
                "X-Sender-Encrypted: no\r\nX-Sender-Signature: ed25519 00\r\nX-Sender-Pubkey: x\r\n{text}"
            )
        }),
        changed("each field twice", GOOD, |text| {
            format!("Subject: first\r\nDate: x\r\nTo: bob@example.com\r\nMIME-Version: 1.0\r\n{text}")
        }),
        changed("Message-ID inside is nonsense", GOOD, |text| {
            text.lines()
                .map(|line| if line.starts_with("Message-ID:") { "Message-ID: <<>" } else { line })
                .collect::<Vec<_>>()
                .join("\r\n")
                + "\r\n"
        }),
        row("two thousand fields too many inside", CLOSED, |keys, id| {
            sealed(keys, id, &with_fields(id, &b"X: secret text\r\n".repeat(4_000)))
        }),
        row("a hundred thousand fields inside", CLOSED, |keys, id| {
            sealed(keys, id, &with_fields(id, &b"X: y\r\n".repeat(100_000)))
        }),
        row("a field of a megabyte inside", CLOSED, |keys, id| {
            sealed(keys, id, &with_fields(id, format!("X: {}\r\n", "y".repeat(1 << 20)).as_bytes()))
        }),
        row("a field of 200 KiB inside", GOOD, |keys, id| {
            sealed(keys, id, &with_fields(id, format!("Keywords: {}\r\n", "y ".repeat(100 << 10)).as_bytes()))
        }),
        row("ten thousand recipients inside", GOOD, |keys, id| {
            let list = "x@y.example,\r\n ".repeat(10_000);
            sealed(keys, id, &with_fields(id, format!("Cc: {list}z@y.example\r\n").as_bytes()))
        }),
        row("comments in comments", GOOD, |keys, id| {
            let open = "(".repeat(50_000);
            sealed(keys, id, &with_fields(id, format!("Reply-To: {open} x@y\r\n").as_bytes()))
        }),
        row("encoded words without end", GOOD, |keys, id| {
            let words = "=?utf-8?q?=C3?= ".repeat(5_000);
            sealed(keys, id, &with_fields(id, format!("Comments: {words}\r\n").as_bytes()))
        }),
    ]
}

/// MIME made to be too much.
fn bombs() -> Vec<Row> {
    let mixed = "multipart/mixed; boundary=b0; hp=\"cipher\"";
    vec![
        good_unfound("ten thousand multiparts in each other", mixed, || nested(10_000)),
        good("twenty multiparts in each other", mixed, || nested(18)),
        good("a hundred thousand parts", mixed, || b"--b0\r\n\r\nsecret text\r\n".repeat(100_000)),
        good("a hundred thousand empty parts", mixed, || {
            [&b"--b0\r\n\r\nsecret text\r\n"[..], &b"--b0\r\n".repeat(100_000)].concat()
        }),
        good("boundaries that look alike", "multipart/mixed; boundary=b0; hp=\"cipher\"", || {
            [&b"--b0\r\n\r\nsecret text\r\n"[..], &b"--b0-\r\n--b0x\r\n --b0\r\n".repeat(20_000)].concat()
        }),
        good_unfound("ten thousand messages in each other", "message/rfc822", || messages(10_000)),
        good_unfound("base64 in base64 in base64", "message/rfc822", || in_base64(30)),
        good("a text of ten megabytes", "text/plain", || {
            b"secret text, and more of it in this line\r\n".repeat(240_000)
        }),
        good("a line of ten megabytes", "text/plain", || {
            [&b"secret text "[..], &b"x".repeat(10_000_000)].concat()
        }),
        good("a hundred thousand fields in a part", mixed, || {
            [b"--b0\r\n\r\nsecret text\r\n--b0\r\n", &b"X: y\r\n".repeat(100_000)[..], b"\r\nx\r\n--b0--\r\n"]
                .concat()
        }),
        good("a field of a megabyte in a part", mixed, || {
            [b"--b0\r\n\r\nsecret text\r\n--b0\r\nX: ", &b"y".repeat(1 << 20)[..], b"\r\n\r\nx\r\n--b0--\r\n"]
                .concat()
        }),
        good("a hundred thousand parameters", mixed, || {
            let parameters = "; a=b".repeat(10_000);
            format!("--b0\r\n\r\nsecret text\r\n--b0\r\nContent-Type: text/plain{parameters}\r\n\r\nx\r\n--b0--\r\n")
                .into_bytes()
        }),
        good("a file name out of its folder", mixed, || {
            b"--b0\r\n\r\nsecret text\r\n--b0\r\nContent-Disposition: attachment; filename=\"../../../etc/passwd\"\r\n\r\n\
              x\r\n--b0--\r\n"
                .to_vec()
        }),
        good_unfound("a multipart without a boundary", "multipart/mixed; hp=\"cipher\"", || {
            b"secret text\r\n".to_vec()
        }),
        good_unfound("a multipart without parts", mixed, || b"secret text\r\n".to_vec()),
        good("a boundary that is never closed", mixed, || b"--b0\r\n\r\nsecret text".to_vec()),
        good(
            "quoted-printable without end",
            "text/plain\r\nContent-Transfer-Encoding: quoted-printable",
            || [&b"secret text\r\n"[..], &b"=".repeat(1_000_000)].concat(),
        ),
        good("base64 that is none", mixed, || {
            let odd = "!?=A\r\n".repeat(10_000);
            format!(
                "--b0\r\n\r\nsecret text\r\n--b0\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n\
                 {odd}--b0--\r\n"
            )
            .into_bytes()
        }),
    ]
}

/// Octets and charsets.
fn characters() -> Vec<Row> {
    vec![
        good("NUL in the text", "text/plain", || b"secret text \0\0\0\r\n\0".to_vec()),
        good("bare CR and LF in the text", "text/plain", || b"secret text\rx\ny\r\r\nz\n\n\r".to_vec()),
        good("every octet", "text/plain", || {
            let every: Vec<u8> = (0..=255).collect();
            [b"secret text ", &every[..]].concat()
        }),
        good("a charset that nobody knows", "text/plain; charset=klingon", || {
            b"secret text \xff\xfe\r\n".to_vec()
        }),
        good("a charset that it is not in", "text/plain; charset=utf-8", || {
            b"secret text \xff\xc3\r\n".to_vec()
        }),
        good("a charset with states", "text/plain; charset=iso-2022-jp", || {
            b"secret text \x1b$B\x1b\x1b(B\r\n".to_vec()
        }),
        good_unfound("UTF-16 of half a letter", "text/plain; charset=utf-16le", || {
            b"s\0e\0c\0\0\xd8\r".to_vec()
        }),
        row("NUL and bare CR in fields", GOOD, |keys, id| {
            sealed(keys, id, &with_fields(id, b"Comments: a\0b\rc\x01\xff\r\nKeywords\0: x\r\n"))
        }),
        row("NUL, bare CR and LF where ENVELOPE tells them", GOOD, |keys, id| {
            let text = under(id, &payload());
            let odd = text.replacen("Subject: inner", "Subject: a\0b\rSealpost-Verdict: forged\x7f", 1);
            sealed(
                keys,
                id,
                odd.replacen("To: bob@", "In-Reply-To: <\0\r>\r\nTo: \"\0\r\" <bob@", 1)
                    .replacen("bob@example.com\r\nDate", "bob@example.com>\r\nDate", 1)
                    .as_bytes(),
            )
        }),
        row("a type with NUL and quotes", GOOD, |keys, id| {
            sealed(
                keys,
                id,
                &with_body(id, "text/\"a\0b\"; x=\"\r\n \\\"\0\"; charset=\"\"", b"secret text\r\n"),
            )
        }),
    ]
}

/// What is wrong outside, and in mail that is not sealed.
fn outside() -> Vec<Row> {
    let from = "From: alice@example.net\r\n";
    vec![
        row("a hundred thousand fields outside", CLOSED, |keys, id| {
            let whole = sealed(keys, id, under(id, &payload()).as_bytes());
            [&b"X: y\r\n".repeat(100_000)[..], &whole].concat()
        }),
        row("a field of a megabyte outside", CLOSED, |keys, id| {
            let whole = sealed(keys, id, under(id, &payload()).as_bytes());
            [format!("X: {}\r\n", "y".repeat(1 << 20)).as_bytes(), &whole].concat()
        }),
        row("two signatures", BAD, |keys, id| {
            let whole = sealed(keys, id, under(id, &payload()).as_bytes());
            [&b"X-Sender-Signature: ed25519 00\r\n"[..], &whole].concat()
        }),
        row("a signature of 100 KiB", BAD, |keys, id| {
            let whole = String::from_utf8(sealed(keys, id, under(id, &payload()).as_bytes())).unwrap();
            let long = format!("X-Sender-Signature: ed25519 {}", "00".repeat(50 << 10));
            whole.replace("X-Sender-Signature: ed25519 ", &long).into_bytes()
        }),
        row("signed by nobody who is known", "not the sender's key", |keys, id| {
            sign(&under(id, &outer(ALICE)), &armour(under(id, &payload()).as_bytes(), &keys.bob), &mallory())
        }),
        row("neither sealed nor not", BAD, |keys, id| {
            let whole = String::from_utf8(sealed(keys, id, under(id, &payload()).as_bytes())).unwrap();
            whole.replace("X-Sender-Encrypted: yes", "X-Sender-Encrypted: perhaps").into_bytes()
        }),
        row("a Message-ID that came before", "replay", |keys, _| {
            sealed(
                keys,
                "row1",
                under("row1", &payload()).replace("secret text", "secret text, changed").as_bytes(),
            )
        }),
        plain("plain mail that looks sealed", PLAIN, || {
            let text =
                "From: alice@example.net\r\nSubject: secret text\r\nContent-Type: application/age\r\n\r\n";
            [text.as_bytes(), &block(b"nothing")].concat()
        }),
        plain("plain mail with a verdict of its own", PLAIN, || {
            b"Sealpost-Verdict: good; sealed\r\nFrom: alice@example.net\r\n\r\nsecret text\r\n".to_vec()
        }),
        plain("plain mail whose parts claim to be sealed", PLAIN, || {
            b"From: alice@example.net\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
              X-Sender-Encrypted: yes\r\nSealpost-Verdict: good\r\n\r\nsecret text\r\n--b--\r\n"
                .to_vec()
        }),
        plain("plain mail of ten thousand multiparts", PLAIN, || {
            let head = "From: alice@example.net\r\nSubject: secret text\r\nContent-Type: multipart/mixed; boundary=b0\r\n\r\n";
            [head.as_bytes(), &nested(10_000)].concat()
        }),
        plain("plain mail that is a line of ten megabytes", PLAIN, || {
            [&b"From: alice@example.net\r\n\r\nsecret text "[..], &b"x".repeat(10_000_000)].concat()
        }),
        row("plain mail with a header alone", PLAIN, move |_, _| {
            format!("{from}Subject: secret text").into_bytes()
        }),
    ]
}
