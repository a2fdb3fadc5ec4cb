//! Messages: trees of MIME parts, and the payloads of header protection.

use super::{bent, one, rarely};
use crate::{Rng, seeds};

/// Deepest tree made by rule.
const DEPTH: usize = 5;

fn part(rng: &mut Rng, depth: usize, extra: &str) -> String {
    let end = if rarely(rng, 20) { "\n" } else { "\r\n" };
    let kind = rng.below(if depth < DEPTH { 6 } else { 3 });
    let mut out = extra.to_owned();
    match kind {
        3 | 4 => {
            // The same boundary in and outside, a prefix of it, none at all.
            let boundary = one(rng, &["b", "bb", "b ", "=_1", "b:c", ""]);
            let mut head = format!(
                "Content-Type: multipart/{}; boundary=\"{boundary}\"",
                one(rng, &["mixed", "alternative", "digest", "signed"])
            );
            head = bent(rng, 12, head);
            out.push_str(&format!("{head}{end}{end}preamble"));
            for _ in 0..rng.below(4) {
                let inner = part(rng, depth + 1, "");
                out.push_str(&format!("{end}--{boundary}{end}{inner}"));
            }
            if !rarely(rng, 4) {
                out.push_str(&format!("{end}--{boundary}--{end}"));
            }
        }
        5 => {
            let inner = part(rng, depth + 1, "Subject: inner\r\nFrom: a@example.net\r\n");
            out.push_str(&format!("Content-Type: message/rfc822{end}{end}{inner}"));
        }
        _ => {
            let name = one(rng, &["a.txt", "../../x", "=?utf-8?q?=2e?=", "é", "con", "a\\b"]);
            out.push_str(&match rng.below(3) {
                0 => format!("Content-Disposition: attachment; filename=\"{name}\"{end}"),
                1 => format!(
                    "Content-Disposition: inline; filename*0*=utf-8''%C3{end} ; filename*1=\"{name}\"{end}"
                ),
                _ => String::new(),
            });
            let kind = one(
                rng,
                &[
                    "text/plain; charset=utf-8",
                    "text/html",
                    "text/plain; charset=iso-8859-1",
                    "application/age",
                    "x",
                ],
            );
            let encoding = one(rng, &["7bit", "8bit", "base64", "quoted-printable", "x-uuencode"]);
            let body = one(rng, &["text", "=C3=B6=\r\n", "aGVsbG8=", "<b>x</b><script>", "a=\r\nb", ""]);
            out.push_str(&format!(
                "Content-Type: {kind}{end}Content-Transfer-Encoding: {encoding}{end}{end}{body}{end}"
            ));
        }
    }
    out
}

fn fields(rng: &mut Rng) -> String {
    let mut out = String::new();
    for _ in 0..rng.below(8) {
        let field = match rng.below(9) {
            0 => format!(
                "From: {}",
                one(rng, &["alice@example.net", "\"A, B\" <a@example.net>", "a@x, b@y", "g: a@x;"])
            ),
            1 => format!("To: {}", one(rng, &["bob@example.org", "undisclosed-recipients:;", "(c) b@x"])),
            2 => format!(
                "Subject: {}",
                one(rng, &["x", "=?utf-8?q?=C3=B6?= =?utf-8?b?w7Y=?=", "a\r\n b\r\n\tc", "[...]"])
            ),
            3 => "Date: Mon, 23 Nov 2026 21:36:00 +0000".into(),
            4 => "Message-ID: <a@example.net>".into(),
            5 => format!("X-Sender-Encrypted: {}", one(rng, &["yes", "no", "maybe"])),
            6 => format!("X-Sender-Pubkey: ed25519 {}", seeds::alice().public().key_string()),
            7 => format!(
                "X-Sender-Signature: {} {}",
                one(rng, &["ed25519", "rsa"]),
                "ab".repeat(one(rng, &["64", "63", "256"]).parse().unwrap_or(1))
            ),
            _ => "X-Y : z".into(),
        };
        out.push_str(&bent(rng, 12, field));
        out.push_str("\r\n");
    }
    out
}

/// A message with any fields over a tree of parts.
pub(super) fn message(rng: &mut Rng) -> Vec<u8> {
    let fields = fields(rng);
    part(rng, 0, &fields).into_bytes()
}

/// An outer header, an empty line, and a payload (see the target): right as a rule, with one line of either bent,
/// doubled, dropped or moved.
pub(super) fn protected(rng: &mut Rng) -> Vec<u8> {
    let people = "From: alice@example.net\r\nTo: bob@example.org\r\nDate: Mon, 23 Nov 2026 21:36:00 +0000\r\nMessage-ID: <p@example.net>\r\n";
    let outer = format!("{people}Subject: [...]\r\n");
    let hp: String = outer.split_inclusive("\r\n").map(|line| format!("HP-Outer: {line}")).collect();
    let inner = format!("{people}Subject: inside\r\n{hp}MIME-Version: 1.0\r\n");
    let tree = if rarely(rng, 2) {
        "Content-Type: text/plain; charset=utf-8;\r\n hp=\"cipher\"\r\n\r\nhello\r\n".into()
    } else {
        part(rng, 0, "")
    };
    let change = |rng: &mut Rng, text: String| {
        let mut lines: Vec<String> = text.split_inclusive("\r\n").map(str::to_owned).collect();
        let (a, b) = (rng.below(lines.len()), rng.below(lines.len()));
        match rng.below(6) {
            0 => lines[a] = bent(rng, 1, lines[a].clone()),
            1 => lines.insert(b, lines[a].clone()),
            2 => {
                lines.remove(a);
            }
            3 => lines.swap(a, b),
            4 => lines.insert(
                a,
                one(
                    rng,
                    &[
                        "Bcc: bob@example.org\r\n",
                        "From: mallory@example.com\r\n",
                        "HP-Outer: Cc: x@example.org\r\n",
                        "Cc: carol@example.com\r\n",
                        " folded\r\n",
                        "Reply-To: x@example.org\r\n",
                    ],
                )
                .into(),
            ),
            _ => lines[a] = lines[a].replace("bob@", "bob+list@").replace("alice@", "mallory@"),
        }
        lines.concat()
    };
    let (mut outer, mut inner) = (outer, inner);
    match rng.below(4) {
        0 => outer = change(rng, outer),
        1 | 2 => inner = change(rng, inner),
        _ => {}
    }
    format!("{outer}\r\n{inner}{tree}").into_bytes()
}
