//! SMTP: sessions in every state, pipelined, with the draft's verbs and arguments that are valid or nearly so.

use super::{bent, one, rarely};
use crate::{Rng, seeds};
use sealpost_proto::base64;

const ADDRESSES: &[&str] = &[
    "alice@example.net",
    "bob@example.org",
    "Bob+x@EXAMPLE.org",
    "\"a b\"@example.net",
    "zoë@example.net",
    "a@bücher.example",
    "a@[192.0.2.1]",
    "postmaster",
    "",
    "a@b@c",
];
/// Steps of a session.
const STEPS_MAX: usize = 24;

fn address(rng: &mut Rng) -> String {
    let address = one(rng, ADDRESSES).to_owned();
    bent(rng, 12, address)
}

fn message(rng: &mut Rng, user: &str) -> String {
    let hash = match rng.below(6) {
        0 => String::new(),
        1 => base64::encode([7; 31]),
        _ => base64::encode([7; 32]),
    };
    let who = one(rng, &["", "", "", "", "bob@example.org"]);
    let text = base64::encode(format!("{who}\0{user}\0{hash}"));
    bent(rng, 10, text)
}

fn phc(rng: &mut Rng) -> String {
    let cost = one(
        rng,
        &["m=65536,t=3,p=1", "m=65536,t=3,p=1", "m=19456,t=2,p=1", "m=8,t=1,p=1", "m=1048577,t=3,p=1"],
    );
    let salt = one(rng, &["AAECAwQFBgcICQoLDA0ODw", "AAECAwQFBgcICQoLDA0ODw", "AAEC"]);
    let text = format!("$argon2id$v=19${cost}${salt}${}", base64::encode_unpadded([7; 32]));
    let text = base64::encode(bent(rng, 10, text));
    bent(rng, 10, text)
}

fn key(rng: &mut Rng) -> String {
    let key = if rng.below(2) == 0 { seeds::alice() } else { seeds::alice_later() };
    let wire = key.public().wire();
    bent(rng, 8, wire)
}

fn statement(rng: &mut Rng) -> String {
    let statement = rng.pick(seeds::wires()).cloned().unwrap_or_default();
    bent(rng, 8, statement)
}

fn command(rng: &mut Rng) -> String {
    let user = address(rng);
    let line = match rng.below(22) {
        0 => format!("EHLO {}", one(rng, &["a", "[127.0.0.1]", "client.example", ""])),
        1 => "HELO a".into(),
        2 => "STARTTLS".into(),
        3 => format!("AUTH HASHEDPASS {}", message(rng, "alice@example.net")),
        4 => {
            let first = if rarely(rng, 2) { String::new() } else { base64::encode("\0alice@example.net\0") };
            let second = if rarely(rng, 6) { "*".into() } else { message(rng, "alice@example.net") };
            format!("AUTH HASHEDPASS {first}\r\n{second}")
        }
        5 => format!("AUTH PLAIN {}", base64::encode("\0alice@example.net\0tok3n")),
        6 => "AUTH LOGIN\r\nYWxpY2VAZXhhbXBsZS5uZXQ=\r\ndG9rM24=".into(),
        7 | 8 => {
            let parameters =
                one(rng, &["", "", " SIZE=10", " BODY=8BITMIME", " SMTPUTF8 SIZE=999", " SIZE=1001", " X=1"]);
            format!("MAIL FROM:<{user}>{parameters}")
        }
        9 | 10 => format!("RCPT TO:<{user}>"),
        // More than a transaction takes here.
        11 => vec!["RCPT TO:<bob@example.org>"; 1 + rng.below(6)].join("\r\n"),
        12 => {
            let body = String::from_utf8_lossy(&body(rng)).into_owned();
            format!("DATA\r\n{body}\r\n.")
        }
        13 | 14 => {
            let body = String::from_utf8_lossy(&body(rng)).into_owned();
            let length = if rarely(rng, 8) { body.len() + 1 } else { body.len() };
            let last = one(rng, &["", " LAST", " LAST", " last", " FIRST"]);
            // The octets follow without a line end; what ends this command begins the next.
            return format!("BDAT {length}{last}\r\n{body}");
        }
        15 => format!("PUBKEY {}", if rarely(rng, 2) { format!("<{user}>") } else { user }),
        16 => format!("XKEYINFO {user}"),
        17 => one(rng, &["GETSALT", "RSTSALT", "GETSALT x"]).into(),
        18 => {
            let key = key(rng);
            if rarely(rng, 3) {
                format!("SETPUBKEY {key}")
            } else {
                format!("SETPUBKEY {key} {}", statement(rng))
            }
        }
        19 => {
            let length = one(rng, &["0", "1", "5", "5", "1048576", "1048577", "05"]);
            let replaces = if rarely(rng, 2) { "none".into() } else { "ab".repeat(32) };
            return match rng.below(3) {
                0 => "XKEYRING\r\n".into(),
                _ => format!("XKEYRING {replaces} {length}\r\nabcde"),
            };
        }
        20 => {
            if rarely(rng, 2) {
                format!("XENROL {user} c0de {}", phc(rng))
            } else {
                format!("XPASSWD {} {} {}", phc(rng), key(rng), statement(rng))
            }
        }
        _ => one(
            rng,
            &["RSET", "NOOP", "QUIT", "HELP", "VRFY a", "EXPN a", "XYZZY", "", "DATA", "AUTH SCRAM-SHA-256"],
        )
        .into(),
    };
    line + "\r\n"
}

/// A path that leads somewhere, then anything; a line is bent now and then.
pub(super) fn session(rng: &mut Rng) -> Vec<u8> {
    let mut session = String::new();
    match rng.below(4) {
        0 => {}
        1 => session.push_str("EHLO a\r\n"),
        2 => {
            session.push_str("EHLO a\r\nAUTH HASHEDPASS ");
            session.push_str(&message(rng, "alice@example.net"));
            session.push_str("\r\n");
        }
        _ => session.push_str("EHLO a\r\nMAIL FROM:<alice@example.net>\r\nRCPT TO:<bob@example.org>\r\n"),
    }
    for _ in 0..rng.below(STEPS_MAX) {
        let command = command(rng);
        session.push_str(&bent(rng, 30, command));
    }
    session.into_bytes()
}

/// Commands alone.
pub(super) fn lines(rng: &mut Rng) -> Vec<u8> {
    (0..=rng.below(8)).map(|_| command(rng)).collect::<String>().replace('\r', "").into_bytes()
}

/// Message octets with all that can be mistaken for an end.
pub(super) fn body(rng: &mut Rng) -> Vec<u8> {
    let pieces: &[&str] = &[
        "a",
        ".",
        "..",
        "\r\n",
        "\r\n",
        "\r\n",
        "\r\n.",
        ".\r\n",
        "\r",
        "\n",
        "\0",
        "ä",
        "Subject: x",
        "QUIT",
        "\r\n..\r\n",
    ];
    let clean = !rarely(rng, 4);
    let count = if rarely(rng, 10) { 600 } else { rng.below(30) };
    let mut body = String::new();
    for _ in 0..count {
        let piece = one(rng, pieces);
        if !(clean && matches!(piece, "\r" | "\n" | "\0")) {
            body.push_str(piece);
        }
    }
    body.into_bytes()
}

/// What follows DATA: a stuffed body and its end, or a raw one; then commands.
pub(super) fn data(rng: &mut Rng) -> Vec<u8> {
    let mut octets = body(rng);
    if rarely(rng, 2) {
        octets.extend_from_slice(b"\r\n.\r\n");
        octets.extend_from_slice(command(rng).as_bytes());
    }
    octets
}

/// What a server might say.
pub(super) fn replies(rng: &mut Rng) -> Vec<u8> {
    let mut out = String::new();
    for _ in 0..=rng.below(10) {
        let code = one(
            rng,
            &[
                "220", "250", "250", "235", "334", "354", "421", "450", "501", "530", "535", "550", "554",
                "999", "25",
            ],
        );
        let lines = if rarely(rng, 4) { 1 + rng.below(5) } else { 1 };
        for n in 0..lines {
            let text = match rng.below(12) {
                0 => format!("ed25519 {}", key(rng)),
                1 => format!("SALT {}", base64::encode([9; 16])),
                2 => statement(rng),
                3 => base64::encode("$argon2id$v=19$m=65536,t=3,p=1$AAECAwQFBgcICQoLDA0ODw"),
                4 => "No public key available for bob@example.org".into(),
                5 => one(
                    rng,
                    &["ENCRYPTMESSAGE", "SIGNMESSAGE", "AUTH HASHEDPASS PLAIN", "XSEALPOST 1", "CHUNKING"],
                )
                .into(),
                6 => one(rng, &["@HASH@", "@MESSAGE@", "@PLAIN@", "@TOKEN@", "@CODE@", "@LOGIN@", "@PHC@"])
                    .into(),
                7 => "2.0.0 OK".into(),
                8 => "x".repeat(rng.below(1_200)),
                9 => "\u{1b}[2J ä".into(),
                _ => String::new(),
            };
            let text = bent(rng, 12, text);
            let dash = if n + 1 == lines { " " } else { "-" };
            out.push_str(&format!("{code}{dash}{text}{}", if rarely(rng, 40) { "\n" } else { "\r\n" }));
        }
    }
    out.into_bytes()
}
