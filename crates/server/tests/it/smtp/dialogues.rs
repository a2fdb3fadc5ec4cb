//! The dialogues in `tests/dialogues/*.txt`, each against a server of its own with alice, bob and alice's app
//! password.
//!
//! ```text
//! # A comment.
//! port submissions          smtp, submission or submissions; a new connection, without its greeting read
//! C: EHLO client.example    sent with CRLF; {b64:…} is base64 with \0 for NUL, {xN:c} is N times c, \xHH one octet
//! C> half a line            sent without CRLF
//! S: 250 2.0.0 *            one line; * stands for anything
//! S+ 250 SIZE *             the rest of one reply, in which this line is (250- and 250 are the same)
//! tls                       shake hands
//! end                       the server closes
//! ```

use super::kit::*;
use sealpost_proto::base64;

fn expand(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out.extend(unescape(before));
        let (inner, tail) = after.split_once('}').unwrap_or_else(|| panic!("no }} in {text}"));
        let (what, value) = inner.split_once(':').unwrap_or_else(|| panic!("no : in {text}"));
        if what == "b64" {
            out.extend(base64::encode(unescape(value)).into_bytes());
        } else {
            let times: usize = what.strip_prefix('x').and_then(|n| n.parse().ok()).unwrap();
            out.extend(unescape(value).repeat(times));
        }
        rest = tail;
    }
    out.extend(unescape(rest));
    out
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.extend(c.to_string().bytes());
            continue;
        }
        match chars.next() {
            Some('0') => out.push(0),
            Some('r') => out.push(b'\r'),
            Some('n') => out.push(b'\n'),
            Some('x') => {
                let hex: String = chars.by_ref().take(2).collect();
                out.push(u8::from_str_radix(&hex, 16).unwrap());
            }
            other => panic!("\\{other:?} in {text}"),
        }
    }
    out
}

/// `*` stands for anything.
fn fits(pattern: &str, line: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == line,
        Some((head, tail)) => {
            line.starts_with(head)
                && (head.len()..=line.len())
                    .filter(|i| line.is_char_boundary(*i))
                    .any(|i| fits(tail, &line[i..]))
        }
    }
}

async fn run(kit: &Kit, name: &str, text: &str) {
    let mut client: Option<Client> = None;
    for (number, line) in text.lines().enumerate() {
        let place = format!("{name}:{}: {line}", number + 1);
        let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
        if what.is_empty() || what == "#" {
            continue;
        }
        if what == "port" {
            let ports = &kit.server.addresses;
            let (address, tls) = match rest {
                "smtp" => (ports.smtp[0], false),
                "submission" => (ports.submission[0], false),
                "submissions" => (ports.submissions[0], true),
                _ => panic!("{place}"),
            };
            let fresh = Client::connect(address).await;
            client = Some(if tls { fresh.start_tls().await } else { fresh });
            continue;
        }
        let current = client.as_mut().unwrap_or_else(|| panic!("{place}: no port yet"));
        match what {
            "C:" => current.send([expand(rest).as_slice(), b"\r\n"].concat()).await,
            "C>" => current.send(expand(rest)).await,
            "S:" => {
                let got = current.line().await;
                assert!(fits(rest, got.trim_end_matches("\r\n")), "{place}\n  got: {got}");
            }
            "S+" => {
                let got = current.reply().await;
                let dashed = rest.replacen(' ', "-", 1);
                assert!(got.lines().any(|l| fits(rest, l) || fits(&dashed, l)), "{place}\n  got: {got}");
            }
            "tls" => client = Some(client.take().unwrap().start_tls().await),
            "end" => assert!(current.is_closed().await, "{place}"),
            _ => panic!("{place}: what is this?"),
        }
    }
}

#[tokio::test]
async fn dialogues() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dialogues");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|p| p.extension().is_some_and(|e| e == "txt"));
    files.sort();
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        run(&Kit::new().await, &name, &std::fs::read_to_string(&file).unwrap()).await;
    }
}
