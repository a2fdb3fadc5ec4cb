//! A message for a program that has not asked for UTF-8 (RFC 6856 §2.1): where its header has UTF-8, the fields that have it
//! are written in ASCII, as they would have been sent without SMTPUTF8. All else stays, octet for octet.
//!
//! Words become encoded words (RFC 2047), which every program reads, so nothing of a subject or a name is lost; an address
//! that ASCII cannot write stands as words before one that leads nowhere (RFC 6858 §2.1 does alike). A header in another
//! charset than UTF-8 is no message of RFC 6532; it goes out as it is.

use crate::message::{
    MailboxList, NamedMailbox,
    write::{encoded_words, is_header_text, text_field, words_field},
};

/// Octets of a field that are looked at as a whole. A longer one goes out with `?` for what is not ASCII: no field that
/// people read is as long.
const FIELD_MAX: usize = 64 * 1024;
/// Stands for an address that cannot be written in ASCII (RFC 2606 §2).
const NOWHERE: &str = "<non-ascii-address@invalid>";
/// Fields of words (RFC 5322 §3.6.5, RFC 2045 §8); those of programs' own (`X-…`) are, too.
const WORDS: &[&str] =
    &["subject", "comments", "keywords", "content-description", "organization", "thread-topic"];
/// Fields of addresses (RFC 5322 §3.6.2, §3.6.3, §3.6.6).
const ADDRESSES: &[&str] = &[
    "from",
    "sender",
    "reply-to",
    "to",
    "cc",
    "bcc",
    "resent-from",
    "resent-sender",
    "resent-to",
    "resent-cc",
    "resent-bcc",
];

/// Passes a message through.
#[derive(Debug, Clone, Default)]
pub struct Surrogate {
    /// The field that is coming, its line ends included.
    field: Vec<u8>,
    /// The field is longer than [`FIELD_MAX`]: what was held is out.
    is_long: bool,
    in_body: bool,
}

impl Surrogate {
    /// Appends what becomes of the next octets to `out`.
    pub fn push(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        let mut rest = octets;
        while !self.in_body && !rest.is_empty() {
            let begins_line = self.field.last().is_none_or(|last| *last == b'\n');
            if begins_line && !matches!(rest[0], b' ' | b'\t') {
                self.flush(out);
            }
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |lf| lf + 1);
            let (piece, then) = rest.split_at(end);
            rest = then;
            self.field.extend_from_slice(piece);
            // The empty line: the body begins.
            if matches!(self.field.as_slice(), b"\r\n" | b"\n") && !self.is_long {
                self.flush(out);
                self.in_body = true;
            } else if self.field.len() > FIELD_MAX {
                self.is_long = true;
                let last = self.field.last().copied();
                out.extend(self.field.drain(..).map(masked));
                // Whether a line has ended must still be seen.
                self.field.extend(last.map(masked));
                out.pop();
            }
        }
        if self.in_body {
            out.extend_from_slice(rest);
        }
    }

    /// The message is whole.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        self.flush(out);
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        let field = std::mem::take(&mut self.field);
        if std::mem::take(&mut self.is_long) {
            out.extend(field.into_iter().map(masked));
        } else {
            out.extend_from_slice(&in_ascii(field));
        }
    }
}

fn masked(octet: u8) -> u8 {
    if octet.is_ascii() { octet } else { b'?' }
}

/// A field in ASCII, if it is one of UTF-8; else as it is.
fn in_ascii(field: Vec<u8>) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(&field) else { return field };
    if text.is_ascii() {
        return field;
    }
    let written = text.split_once(':').and_then(|(name, value)| {
        let known = name.trim_end_matches([' ', '\t']).to_ascii_lowercase();
        let value: String = value.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
        let value = value.trim();
        if !name.is_ascii() || !is_header_text(&value.replace('\t', " ")) {
            None
        } else if WORDS.contains(&known.as_str()) || known.starts_with("x-") {
            Some(text_field(name, value))
        } else if ADDRESSES.contains(&known.as_str()) {
            Some(addresses(name, value))
        } else {
            None
        }
    });
    match written {
        Some(written) => written.into_bytes(),
        // Structured, or no field at all: its form is kept.
        None => text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect::<String>().into_bytes(),
    }
}

fn addresses(name: &str, value: &str) -> String {
    let list = MailboxList::parse(value.as_bytes());
    let mut words: Vec<String> = Vec::new();
    if list.faults > 0 || list.groups > 0 || list.mailboxes.is_empty() {
        words.extend(encoded_words(value));
        words.push(NOWHERE.to_owned());
    } else {
        let most = list.mailboxes.len() - 1;
        for (n, entry) in list.mailboxes.iter().enumerate() {
            let mut entry = mailbox(entry);
            if n < most
                && let Some(end) = entry.last_mut()
            {
                end.push(',');
            }
            words.append(&mut entry);
        }
    }
    words_field(name, words.iter().map(String::as_str))
}

/// One mailbox, as words between which a line may be folded.
fn mailbox(entry: &NamedMailbox) -> Vec<String> {
    let (address, name) = (&entry.mailbox, entry.name.as_deref());
    if !address.local().is_ascii() {
        let shown = name.map_or_else(|| address.to_string(), |name| format!("{name} {address}"));
        return [encoded_words(&shown), vec![NOWHERE.to_owned()]].concat();
    }
    // Every domain has a form in ASCII (RFC 5891).
    let ascii = format!("{}@{}", address.local(), address.domain().as_str());
    let Some(name) = name else { return vec![ascii] };
    let simple = |c: char| c.is_ascii_alphanumeric() || " !#$%&'*+-/=?^_`{|}~".contains(c);
    let name = if name.chars().all(simple) {
        // Encoded words among them stay what they are.
        name.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
    } else {
        encoded_words(name)
    };
    [name, vec![format!("<{ascii}>")]].concat()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pass(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut surrogate, mut out) = (Surrogate::default(), Vec::new());
        for piece in pieces {
            surrogate.push(piece, &mut out);
        }
        surrogate.finish(&mut out);
        out
    }

    #[test]
    fn rows() {
        for (field, expected) in [
            ("Subject: plain\r\n", "Subject: plain\r\n"),
            ("Subject: grün\r\n", "Subject: =?utf-8?q?gr=C3=BCn?=\r\n"),
            ("SUBJECT : grün\r\n\tund blau\r\n", "SUBJECT : =?utf-8?q?gr=C3=BCn=09und_blau?=\r\n"),
            ("X-Colour: 緑\r\n", "X-Colour: =?utf-8?b?57eR?=\r\n"),
            ("From: Zoë <z@example.net>\r\n", "From: =?utf-8?q?Zo=C3=AB?= <z@example.net>\r\n"),
            (
                "To: Zoë <z@example.net>, Bob B <bob@example.com>,\r\n carl@example.org\r\n",
                "To: =?utf-8?q?Zo=C3=AB?= <z@example.net>, Bob B <bob@example.com>,\r\n carl@example.org\r\n",
            ),
            ("From: z@bücher.example\r\n", "From: z@xn--bcher-kva.example\r\n"),
            (
                "From: Z <zoë@example.net>\r\n",
                "From: =?utf-8?q?Z_zo=C3=AB=40example=2Enet?= <non-ascii-address@invalid>\r\n",
            ),
            ("From: ö <<\r\n", "From: =?utf-8?b?w7YgPDw=?= <non-ascii-address@invalid>\r\n"),
            (
                "Content-Type: text/plain; name=\"grün.txt\"\r\n",
                "Content-Type: text/plain; name=\"gr?n.txt\"\r\n",
            ),
            ("Grün: x\r\n", "Gr?n: x\r\n"),
            ("grün\r\n", "gr?n\r\n"),
        ] {
            let message = format!("A: b\r\n{field}C: d\r\n\r\nbödy\r\n");
            let want = format!("A: b\r\n{expected}C: d\r\n\r\nbödy\r\n");
            let got = pass(&[message.as_bytes()]);
            assert_eq!(String::from_utf8_lossy(&got), want);
            for cut in 0..message.len() {
                let (one, two) = message.as_bytes().split_at(cut);
                assert_eq!(pass(&[one, two]), got, "{field} cut at {cut}");
            }
        }
    }

    #[test]
    fn what_is_not_utf8_stays_as_it_is() {
        let message = b"Subject: gr\xfcn\r\n\r\nbody \xfc\r\n";
        assert_eq!(pass(&[message]), message);
    }

    #[test]
    fn a_field_without_an_end_takes_little_memory() {
        for (length, whole) in [(FIELD_MAX - 15, true), (FIELD_MAX - 14, false)] {
            let message = format!("Subject: {}ü\r\n 1\r\n\r\nü", "x".repeat(length - 2));
            let mut surrogate = Surrogate::default();
            let mut out = Vec::new();
            for piece in message.as_bytes().chunks(1000) {
                surrogate.push(piece, &mut out);
                assert!(surrogate.field.capacity() <= 4 * FIELD_MAX);
            }
            surrogate.finish(&mut out);
            assert!(out.ends_with("\r\n\r\nü".as_bytes()));
            assert_eq!(out.starts_with(b"Subject: =?utf-8?q?"), whole, "{length}");
            assert_eq!(out.starts_with(b"Subject: xxx"), !whole);
        }
    }

    proptest! {
        #[test]
        fn ascii_passes_and_utf8_becomes_ascii(
            header in "(([A-Za-z-]{1,12}|From|To|Subject): [ -~äß緑]{0,80}(\r\n [ -~ä]{1,20})?\r\n){0,6}",
            body in "[ -~ä\r\n]{0,60}",
            cut in 0usize..400,
        ) {
            let message = format!("{header}\r\n{body}");
            let octets = message.as_bytes();
            let out = pass(&[octets]);
            let head = out.len() - body.len() - 2;
            prop_assert!(out[..head].is_ascii());
            let end = format!("\r\n{body}");
            prop_assert!(out.ends_with(end.as_bytes()));
            if header.is_ascii() {
                prop_assert_eq!(&out, octets);
            }
            let (one, two) = octets.split_at(cut.min(octets.len()));
            prop_assert_eq!(pass(&[one, two]), out);
        }
    }
}
