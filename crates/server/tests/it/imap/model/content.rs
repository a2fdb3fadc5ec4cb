//! Messages as they are drawn: their octets, and what those mean, each written down by itself. The server has to find
//! the one in the other.

use super::script::WORDS;

/// Words and how they stand in a header, in UTF-8 with quoted-printable, and in ISO 8859-1 with it.
const FORMS: [[&str; 3]; 4] = [
    ["apple", "apple", "apple"],
    ["pear", "pear", "pear"],
    ["=?iso-8859-1?q?pl=FCm?=", "pl=C3=BCm", "pl=FCm"],
    ["=?utf-8?b?w4RwZmVs?=", "=C3=84pfel", "=C4pfel"],
];
/// What subjects begin with, and whether that makes a reply or a forwarded message (RFC 5256 §2.1).
const PREFIXES: [(&str, bool); 5] =
    [("", false), ("Re: ", true), ("[list] ", false), ("Fwd: ", true), ("[list] Re: ", true)];
/// Senders as they stand in a header; the second in another case than the rest.
pub(super) const SENDERS: [&str; 3] =
    ["ann@example.net", "\"Ann\" <Bert@example.net>", "Zoe <carl@example.net>"];
/// By local part, without regard to case (RFC 5256 §3).
const SENDER_KEYS: [&str; 3] = ["ANN", "BERT", "CARL"];
/// The second that the server takes for now, 21:36 on 23 November 2026; messages come some days and hours before.
const LAST_DAY: u64 = 23;
pub(super) const HOUR: u64 = 3600;

/// What a message means.
#[derive(Debug, Clone, Default)]
pub(super) struct Look {
    /// Decoded.
    pub(super) subject: String,
    /// One of [`WORDS`].
    pub(super) base: usize,
    pub(super) is_reply: bool,
    pub(super) body: String,
    pub(super) sender: usize,
    /// Hours from the beginning of February 2020, in UTC.
    pub(super) sent: u64,
    /// Hours before now.
    pub(super) age: u64,
    pub(super) id: String,
    pub(super) references: Vec<String>,
}

impl Look {
    /// The day of November 2026 on which it came.
    pub(super) fn day(&self) -> u64 {
        LAST_DAY - self.age / 24
    }

    /// INTERNALDATE as an argument.
    pub(super) fn arrived(&self) -> String {
        format!("\"{:02}-Nov-2026 {:02}:36:00 +0000\"", self.day(), 21 - self.age % 24)
    }

    /// What SORT SUBJECT compares: the base subject in capitals, decomposed (RFC 5051).
    pub(super) fn subject_key(&self) -> String {
        WORDS[self.base].to_uppercase().replace('Ä', "A\u{308}").replace('Ü', "U\u{308}")
    }

    pub(super) fn sender_key(&self) -> &'static str {
        SENDER_KEYS[self.sender]
    }
}

/// A message, and what it means. It may answer one of `earlier`.
pub(super) fn message(serial: u64, drawn: u32, earlier: &[Look]) -> (String, Look) {
    let mut rest = drawn;
    let mut draw = |n: usize| {
        let n = u32::try_from(n).expect("few");
        let one = rest % n;
        rest /= n;
        one as usize
    };
    let (base, word, size, prefix) = (draw(4), draw(4), draw(16), draw(PREFIXES.len()));
    let (sender, zone, charset) = (draw(SENDERS.len()), draw(2), draw(3));
    let (sent, days, hours, parent) = (draw(20) as u64, draw(7) as u64, draw(20) as u64, draw(6));
    let (prefix, is_reply) = PREFIXES[prefix];
    let id = format!("{serial}@example.net");
    // Some answer what is not there, some two at once that know nothing of each other.
    let references = match parent {
        0 | 1 => match earlier.iter().rev().nth(parent) {
            Some(parent) => parent.references.iter().chain([&parent.id]).cloned().collect(),
            None => Vec::new(),
        },
        2 => vec![format!("{}@lost.example.net", serial % 3)],
        3 => earlier.iter().rev().take(2).map(|look| look.id.clone()).collect(),
        _ => Vec::new(),
    };
    let (charset, encoding, body_word) = match charset {
        0 => ("utf-8", "8bit", WORDS[word]),
        1 => ("utf-8", "quoted-printable", FORMS[word][1]),
        _ => ("iso-8859-1", "quoted-printable", FORMS[word][2]),
    };
    // The same moment on another clock.
    let date = match zone {
        0 => format!("Sat, 01 Feb 2020 {sent:02}:00:00 +0000"),
        _ => format!("Sat, 01 Feb 2020 {:02}:00:00 +0300", sent + 3),
    };
    let ids: Vec<String> = references.iter().map(|id| format!("<{id}>")).collect();
    let answers =
        if ids.is_empty() { String::new() } else { format!("References: {}\r\n", ids.join("\r\n ")) };
    let tail = "x".repeat(size * 20);
    let text = format!(
        "Message-ID: <{id}>\r\nFrom: {}\r\nDate: {date}\r\nSubject: {prefix}{}\r\n{answers}\
         Content-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n\
         {body_word}\r\n{tail}\r\n",
        SENDERS[sender], FORMS[base][0]
    );
    let look = Look {
        subject: format!("{prefix}{}", WORDS[base]),
        base,
        is_reply,
        body: format!("{}\r\n{tail}\r\n", WORDS[word]),
        sender,
        sent,
        age: days * 24 + hours,
        id,
        references,
    };
    (text, look)
}
