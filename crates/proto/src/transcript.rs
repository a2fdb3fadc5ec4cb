//! Records of conversations, `C: …` and `S: …` as the draft prints them. Only what a command's own writer calls
//! showable gets here (`Command::shown`, `Command::shown_reply`); of message data, the header fields that a server sees
//! anyway and the count of octets.

use std::sync::{Mutex, PoisonError};

/// Who says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client.
    Client,
    /// The server.
    Server,
    /// Neither: what happens on the connection ("TLS").
    Note,
}

/// Receives the lines of a conversation as they are sent and received, secrets already replaced.
pub trait Tap: Send + Sync {
    /// One line, without line end.
    fn line(&self, side: Side, text: &str);
}

/// Lines one recorder keeps; a hostile server's XKEYINFO answers shall not fill memory.
const LINES_MAX: usize = 10_000;
/// Characters of a line that are kept; statements are longer, and nobody reads them.
const LINE_MAX: usize = 200;

/// Keeps a conversation in memory.
#[derive(Debug, Default)]
pub struct Recorder {
    lines: Mutex<Vec<(Side, String)>>,
}

impl Recorder {
    /// The lines so far.
    pub fn lines(&self) -> Vec<(Side, String)> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// Takes the lines so far out.
    pub fn take(&self) -> Vec<(Side, String)> {
        std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }
    /// The conversation as text, a line each, ended by LF.
    pub fn to_text(&self) -> String {
        to_text(&self.lines())
    }
}

impl Tap for Recorder {
    fn line(&self, side: Side, text: &str) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < LINES_MAX {
            lines.push((side, shorten(text)));
        }
    }
}

/// `C: …`, `S: …` and `-- …` lines.
pub fn to_text(lines: &[(Side, String)]) -> String {
    let mut text = String::new();
    for (side, line) in lines {
        text.push_str(match side {
            Side::Client => "C: ",
            Side::Server => "S: ",
            Side::Note => "-- ",
        });
        text.push_str(line);
        text.push('\n');
    }
    text
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(LINE_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// Header fields whose content may be shown. Subject is not among them: that of plain mail is part of the message.
const SHOWN_FIELDS: &[&str] = &[
    "from",
    "to",
    "cc",
    "date",
    "message-id",
    "mime-version",
    "content-type",
    "content-disposition",
    "content-transfer-encoding",
    "x-sender-encrypted",
    "x-sender-pubkey",
    "x-sender-signature",
    "return-path",
    "received",
];
/// The outer Subject of a sealed message (profile §6), which says nothing.
const SEALED_SUBJECT: &str = "[...]";
/// Header octets looked at.
const HEADER_MAX: usize = 8_192;
/// Header lines shown.
const HEADER_LINES_MAX: usize = 24;

/// Makes the shown form of message data that passes by in pieces.
#[derive(Debug, Default)]
pub struct DataSummary {
    start: Vec<u8>,
    octets: u64,
}

impl DataSummary {
    /// The next octets of the message (before dot-stuffing).
    pub fn push(&mut self, octets: &[u8]) {
        let room = HEADER_MAX - self.start.len();
        self.start.extend_from_slice(&octets[..octets.len().min(room)]);
        self.octets += octets.len() as u64;
    }
    /// The lines to show.
    pub fn lines(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.start);
        let (header, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines = Vec::new();
        let mut shown = false;
        for line in header.split("\r\n") {
            if line.starts_with([' ', '\t']) {
                if !shown {
                    continue;
                }
            } else if let Some((name, value)) = line.split_once(':') {
                let name = name.trim_end().to_ascii_lowercase();
                shown = SHOWN_FIELDS.contains(&name.as_str())
                    || (name == "subject" && value.trim() == SEALED_SUBJECT);
                if name == "subject" && !shown {
                    lines.push("Subject: …".to_owned());
                }
            } else {
                shown = false;
            }
            if shown {
                lines.push(line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect());
            }
            if lines.len() >= HEADER_LINES_MAX {
                break;
            }
        }
        let armour = "-----BEGIN AGE ENCRYPTED FILE-----";
        if body.starts_with(armour) {
            lines.extend([String::new(), armour.to_owned()]);
        }
        lines.push(format!("… ({} octets in all)", self.octets));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_header_of_sealed_mail_and_no_body() {
        let mut summary = DataSummary::default();
        let message = "From: alice@example.net\r\nSubject: [...]\r\nX-Sender-Signature: ed25519 00\r\n 11\r\n\r\n\
                       -----BEGIN AGE ENCRYPTED FILE-----\r\nYWdl\r\n";
        for piece in message.as_bytes().chunks(7) {
            summary.push(piece);
        }
        let octets = message.len();
        assert_eq!(
            summary.lines(),
            [
                "From: alice@example.net",
                "Subject: [...]",
                "X-Sender-Signature: ed25519 00",
                " 11",
                "",
                "-----BEGIN AGE ENCRYPTED FILE-----",
                &format!("… ({octets} octets in all)"),
            ]
        );
    }

    #[test]
    fn hides_what_plain_mail_says() {
        let mut summary = DataSummary::default();
        summary.push(b"From: a@b\r\nSubject: secret\r\n plan\r\nX-Other: secret\r\nsecret\r\n\r\nsecret\r\n");
        let text = summary.lines().join("\n");
        assert!(text.contains("From: a@b") && !text.contains("secret") && !text.contains("plan"), "{text}");
    }

    #[test]
    fn recorder_is_bounded() {
        let recorder = Recorder::default();
        for _ in 0..LINES_MAX + 5 {
            recorder.line(Side::Server, &"ü".repeat(1_000));
        }
        assert_eq!(recorder.lines().len(), LINES_MAX);
        assert_eq!(recorder.lines()[0].1.chars().count(), LINE_MAX + 1);
    }
}
