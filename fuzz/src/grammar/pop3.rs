//! POP3: sessions from the greeting to QUIT, pipelined, and messages with every kind of line end.

use super::{bent, one, rarely};
use crate::Rng;
use sealpost_proto::base64;

/// Steps of a session.
const STEPS_MAX: usize = 24;

fn number(rng: &mut Rng) -> &'static str {
    one(rng, &["1", "2", "3", "3", "0", "4", "007", "18446744073709551616", "-1", "x", ""])
}

fn command(rng: &mut Rng) -> String {
    let line = match rng.below(18) {
        0 => "STLS".to_owned(),
        1 => "CAPA".to_owned(),
        2 => format!("USER {}", one(rng, &["alice@example.net", "a", "", "zoë@example.net", "a b"])),
        3 => format!("PASS {}", one(rng, &["tok3n", " two words ", "", "\u{7f}"])),
        4 => "USER alice@example.net\r\nPASS tok3n".to_owned(),
        5 => format!("AUTH PLAIN {}", base64::encode("\0alice@example.net\0tok3n")),
        6 => {
            let first = if rarely(rng, 2) { String::new() } else { base64::encode("\0alice@example.net\0") };
            let second = base64::encode(format!("\0alice@example.net\0{}", base64::encode([7; 32])));
            let second = if rarely(rng, 6) { "*".to_owned() } else { bent(rng, 8, second) };
            format!("AUTH HASHEDPASS\r\n{first}\r\n{second}")
        }
        7 if rarely(rng, 2) => {
            // The nonces are the play's; the proof is judged by nobody there.
            let first = base64::encode("n,,n=alice@example.net,r=c");
            let last = format!("c=biws,r=cs,p={}", base64::encode([7; 32]));
            format!("AUTH SCRAM-SHA-256 {first}\r\n{}\r\n", base64::encode(bent(rng, 8, last)))
        }
        7 => "AUTH LOGIN\r\nYWxpY2VAZXhhbXBsZS5uZXQ=\r\ndG9rM24=".to_owned(),
        8 => one(rng, &["STAT", "NOOP", "RSET", "AUTH", "APOP a b", "FOO", "UTF8", ""]).to_owned(),
        9 | 10 => format!("RETR {}", number(rng)),
        11 => format!("TOP {} {}", number(rng), number(rng)),
        12 | 13 => format!("DELE {}", number(rng)),
        14 => format!("LIST {}", number(rng)),
        15 => format!("UIDL {}", number(rng)),
        16 => one(rng, &["LIST", "UIDL", "LIST ", "uidl"]).to_owned(),
        _ => "QUIT".to_owned(),
    };
    line + one(rng, &["\r\n", "\r\n", "\r\n", "\n"])
}

/// A path that leads somewhere, then anything.
pub(super) fn session(rng: &mut Rng) -> Vec<u8> {
    let mut session = String::new();
    match rng.below(4) {
        0 => {}
        1 => session.push_str("AUTH PLAIN AGFsaWNlQGV4YW1wbGUubmV0AHRvazNu\r\n"),
        _ => session.push_str("USER alice@example.net\r\nPASS tok3n\r\n"),
    }
    for _ in 0..rng.below(STEPS_MAX) {
        let line = command(rng);
        session.push_str(&bent(rng, 16, line));
    }
    session.into_bytes()
}

/// Lines of dots and nothing, ended in every way.
pub(super) fn message(rng: &mut Rng) -> Vec<u8> {
    let mut message = String::new();
    for _ in 0..rng.below(24) {
        message.push_str(one(
            rng,
            &[
                "",
                "",
                ".",
                "..",
                "A: b",
                ".a",
                "\r",
                "\0",
                "+OK",
                "Subject: grün",
                "From: Zoë <zoë@a.example>, b@c.d",
                " ü",
            ],
        ));
        message.push_str(one(rng, &["\r\n", "\r\n", "\r\n", "\n", "\r", ""]));
    }
    message.into_bytes()
}
