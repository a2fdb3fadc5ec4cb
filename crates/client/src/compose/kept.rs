//! A message that cannot be sealed as one's own, kept whole within one that can: somebody else's that came sealed and is
//! filed anew, or one's own in a form that no signature would hold.

use super::{address_field, is_message_id};
use crate::{
    mime::words::{header_text, mailbox_text},
    staged::{Staged, Staging},
};
use sealpost_proto::{
    address::Mailbox,
    message::{Header, MailboxList, write},
};
use std::io::{self, Read as _};

/// Characters of a Subject or a name that are told; the whole message has them all.
const MAX_TOLD_CHARS: usize = 400;
/// Ids of References that are kept: the last ones, which threads are made by.
const MAX_REFERENCES: usize = 50;
/// Octets copied at once.
const CHUNK: usize = 64 * 1024;

/// The message as the only part of one From oneself, with what lists and threads of mail programs show: Subject, Date,
/// Message-ID, References, and whose it is in the name of the sender.
pub(crate) fn within(message: &Staged, own: &Mailbox) -> io::Result<Staged> {
    // A header longer than any has nothing to tell.
    let header = message.header()?.map(|(header, _)| header).unwrap_or_default();
    let mut staging = Staging::new();
    staging.push(head(&header, own).as_bytes())?;
    let (mut reader, mut chunk) = (message.reader()?, Vec::with_capacity(CHUNK));
    loop {
        chunk.clear();
        (&mut reader).take(CHUNK as u64).read_to_end(&mut chunk)?;
        if chunk.is_empty() {
            return staging.finish();
        }
        staging.push(&chunk)?;
    }
}

fn head(header: &Header, own: &Mailbox) -> String {
    let value = |name: &str| header.first(name).map(sealpost_proto::message::Field::unfolded);
    let mut out = from(header, own) + &address_field("To", std::slice::from_ref(own));
    if let Some(date) = value("Date").filter(|date| date.iter().all(|b| (0x20..0x7f).contains(b))) {
        out += &write::words_field("Date", String::from_utf8_lossy(&date).split_ascii_whitespace());
    }
    out += &write::text_field("Subject", &told(&value("Subject").unwrap_or_default()));
    for (name, most) in [("Message-ID", 1), ("In-Reply-To", 1), ("References", MAX_REFERENCES)] {
        let text = String::from_utf8(value(name).unwrap_or_default()).unwrap_or_default();
        let ids: Vec<&str> = text.split_ascii_whitespace().filter(|id| is_message_id(id)).collect();
        if !ids.is_empty() {
            out += &write::words_field(name, ids[ids.len().saturating_sub(most)..].iter().copied());
        }
    }
    out + "MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\nContent-Disposition: inline\r\n\
           Content-Transfer-Encoding: 8bit\r\n\r\n"
}

/// `"Bob <bob@example.com> (kept)" <alice@example.net>`
fn from(header: &Header, own: &Mailbox) -> String {
    let list = header.first("From").map(|field| MailboxList::parse(field.value()));
    let whose = list.and_then(|list| list.mailboxes.first().map(mailbox_text));
    let name = whose.map_or_else(|| "(kept)".to_owned(), |whose| format!("{} (kept)", cut(&whose)));
    let address = address_field("From", std::slice::from_ref(own));
    let address = address.trim_start_matches("From:").trim().trim_matches(['<', '>']);
    let name = if name.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        format!("\"{}\"", name.replace(['"', '\\'], "'"))
    } else {
        write::text_field("", &name)
            .trim_start_matches(':')
            .split_ascii_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    let address = format!("<{address}>");
    write::words_field("From", name.split(' ').chain([address.as_str()]))
}

fn told(unfolded: &[u8]) -> String {
    cut(&header_text(unfolded))
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_TOLD_CHARS).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn kept(message: &str) -> String {
        let own = Mailbox::parse("alice@example.net").unwrap();
        let whole = within(&Staged::of(message.as_bytes()).unwrap(), &own).unwrap();
        let mut text = String::new();
        whole.reader().unwrap().read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn lists_and_threads_are_told_what_they_show() {
        let message = "Sealpost-Verdict: good; sealed\r\nFrom: Bob B <bob@example.com>\r\nTo: alice@example.net\r\n\
                       Date: Mon, 23 Nov 2026 21:36:00 +0000\r\nMessage-ID: <1@example.com>\r\nReferences: <a@b>\r\n <c@d>\r\n\
                       Subject: =?utf-8?q?Gr=C3=B6=C3=9Fe?=\r\n\r\nbody\r\n";
        let text = kept(message);
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, message);
        assert_eq!(
            head,
            "From: \"Bob B <bob@example.com> (kept)\" <alice@example.net>\r\nTo: alice@example.net\r\n\
             Date: Mon, 23 Nov 2026 21:36:00 +0000\r\nSubject: =?utf-8?b?R3LDtsOfZQ==?=\r\nMessage-ID: <1@example.com>\r\n\
             References: <a@b> <c@d>\r\nMIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n\
             Content-Disposition: inline\r\nContent-Transfer-Encoding: 8bit"
        );
    }

    #[test]
    fn odd_headers_make_no_odd_ones() {
        for (message, want) in [
            ("", "From: \"(kept)\" <alice@example.net>\r\n"),
            ("\r\nbody", "From: \"(kept)\" <alice@example.net>\r\n"),
            ("From: \"a\\\"b\" <b@x.org>\r\n\r\n", "From: \"a'b <b@x.org> (kept)\" <alice@example.net>\r\n"),
            ("Message-ID: no id\r\nDate: \u{fc}\r\nIn-Reply-To: <>\r\n\r\n", "Subject: \r\nMIME-Version"),
            ("Subject: =?utf-8?q?a=0D=0AX:_y?=\r\n\r\n", "Subject: "),
        ] {
            let text = kept(message);
            assert!(text.contains(want), "{text}");
            assert!(text.ends_with(message) && !text.contains("\r\nX:"), "{text}");
            let (header, body) = Header::read(text.as_bytes()).unwrap();
            assert!(header.fields().iter().all(|field| field.raw().ends_with(b"\r\n")));
            assert_eq!(&text[body..], message);
            let from = MailboxList::parse(header.first("From").unwrap().value());
            assert_eq!(from.exactly_one().unwrap().mailbox.to_string(), "alice@example.net");
        }
        let name = "ö".repeat(500);
        let text = kept(&format!("From: \"{name}\" <b@x.org>\r\nSubject: {name}\r\n\r\n"));
        let (header, _) = Header::read(text.as_bytes()).unwrap();
        let from = MailboxList::parse(header.first("From").unwrap().value());
        assert_eq!(from.exactly_one().unwrap().mailbox.to_string(), "alice@example.net");
        assert_eq!(header_text(&header.first("Subject").unwrap().unfolded()), "ö".repeat(MAX_TOLD_CHARS));
    }
}
