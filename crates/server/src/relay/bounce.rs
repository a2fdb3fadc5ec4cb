//! Delivery status notifications (RFC 3461, RFC 3462, RFC 3464): what could not be delivered is told to the sender, with
//! the header of the original and never its body. A message without reverse-path is never answered (RFC 5321 §4.5.5).

use super::settle::Failure;
use crate::context::Context;
use sealpost_proto::{address::Mailbox, time::Timestamp};
use sealpost_store::{
    StoreError,
    mailbox::{Flags, NewMessage},
    queue::{Accepted, BodyNeeds, QueueEntry, RemoteEntry},
    spool::Body,
};
use std::{collections::hash_map::RandomState, fmt::Write as _, hash::BuildHasher as _, io::Read as _};

/// Octets of the original's header that are returned.
const HEADER_MAX: u64 = 64 * 1_024;
/// Octets of a line of text; RFC 5322 §2.1.1 allows 998.
const LINE_MAX: usize = 900;

/// The bounce for `returned` recipients of `entry`, ready to be accepted; `None` where nobody is to be told.
pub(super) async fn accepted(
    ctx: &Context,
    entry: &QueueEntry,
    returned: &[(String, Failure)],
    now: Timestamp,
) -> Result<Option<Accepted>, StoreError> {
    let Some(sender) = &entry.reverse_path else {
        tracing::warn!(
            id = entry.id.0,
            "a message without reverse-path could not be delivered; it is dropped"
        );
        return Ok(None);
    };
    let Ok(mailbox) = Mailbox::parse(sender) else {
        tracing::warn!(id = entry.id.0, "the reverse-path of an undeliverable message is no address");
        return Ok(None);
    };
    let header = original_header(&entry.entry.body).await?;
    let boundary = format!("=_bounce_{:016x}", RandomState::new().hash_one((entry.id.0, now.0)));
    let report = Report {
        hostname: &ctx.config.hostname,
        sender,
        message_id: format!("<bounce.{}.{}.{}@{}>", entry.id.0, entry.attempts, now.0, ctx.config.hostname),
        boundary,
        received: entry.entry.received,
        now,
        returned,
        header: &header,
    };
    let text = report.to_text();
    let eight_bit = !text.is_ascii();
    if ctx.config.domains.contains(&mailbox.domain()) {
        let Some(account) = ctx.store.resolve(&mailbox.canonical()).await? else {
            tracing::warn!(id = entry.id.0, "the sender of an undeliverable message has no account any more");
            return Ok(None);
        };
        let text = format!("Return-Path: <>\r\n{text}");
        let body = Body::from_bytes(text.into_bytes());
        let (index, sketch) = crate::imap::index::describe(&body)?;
        let message = NewMessage {
            index,
            sketch,
            body,
            flags: Flags::default(),
            keywords: Vec::new(),
            internal_date: now,
        };
        return Ok(Some(Accepted {
            reverse_path: None,
            local: vec![(account, message)],
            remote: Vec::new(),
        }));
    }
    let remote = RemoteEntry {
        body: Body::from_bytes(text.into_bytes()),
        domain: mailbox.domain(),
        recipients: vec![sender.clone()],
        needs: BodyNeeds { eight_bit, smtputf8: eight_bit || !sender.is_ascii() },
        received: now,
        due: now,
    };
    Ok(Some(Accepted { reverse_path: None, local: Vec::new(), remote: vec![remote] }))
}

/// The header of the original, its line ends CRLF, without the empty line.
async fn original_header(body: &Body) -> Result<String, StoreError> {
    let body = body.clone();
    let read = move || {
        let mut octets = Vec::new();
        body.reader()?.take(HEADER_MAX).read_to_end(&mut octets)?;
        Ok::<_, std::io::Error>(octets)
    };
    let octets = tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other)??;
    let end = octets.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or(octets.len());
    let mut header = String::new();
    for line in String::from_utf8_lossy(&octets[..end]).split("\r\n") {
        let line: String = line.chars().filter(|c| *c == '\t' || !c.is_control()).collect();
        header.push_str(cut(&line));
        header.push_str("\r\n");
    }
    Ok(header)
}

fn cut(line: &str) -> &str {
    let end = (0..=line.len().min(LINE_MAX)).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
    &line[..end]
}

/// What others wrote, on one line of printable ASCII.
fn printable(text: &str) -> String {
    let line: String = text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect();
    cut(&line).to_owned()
}

/// An address as written; control characters cannot be in it, but nothing is taken on trust here.
fn address(text: &str) -> String {
    let line: String = text.chars().filter(|c| !c.is_control()).collect();
    cut(&line).to_owned()
}

struct Report<'a> {
    hostname: &'a str,
    sender: &'a str,
    message_id: String,
    boundary: String,
    received: Timestamp,
    now: Timestamp,
    returned: &'a [(String, Failure)],
    header: &'a str,
}

impl Report<'_> {
    fn to_text(&self) -> String {
        let utf8_addresses = self.returned.iter().any(|(recipient, _)| !recipient.is_ascii());
        let utf8_header = !self.header.is_ascii();
        let encoding = |utf8: bool| if utf8 { "8bit" } else { "7bit" };
        let mut text = String::new();
        let boundary = &self.boundary;
        let _ = write!(
            text,
            "From: Mail Delivery System <MAILER-DAEMON@{}>\r\n\
             To: <{}>\r\n\
             Subject: Your message could not be delivered\r\n\
             Date: {}\r\n\
             Message-ID: {}\r\n\
             Auto-Submitted: auto-replied\r\n\
             MIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=delivery-status;\r\n boundary=\"{boundary}\"\r\n\
             Content-Transfer-Encoding: {}\r\n\
             \r\n\
             --{boundary}\r\n\
             Content-Type: text/plain; charset=utf-8\r\n\
             Content-Transfer-Encoding: {}\r\n\
             \r\n\
             The mail server {} could not deliver your message to:\r\n\r\n",
            self.hostname,
            address(self.sender),
            self.now.to_rfc5322(),
            self.message_id,
            encoding(utf8_addresses || utf8_header || !self.sender.is_ascii()),
            encoding(utf8_addresses),
            self.hostname,
        );
        for (recipient, failure) in self.returned {
            let _ = write!(text, "<{}>\r\n    {}\r\n", address(recipient), printable(&failure.reason));
            if let Some(host) = &failure.host {
                let _ = write!(text, "    (so said {})\r\n", printable(host));
            }
            if !failure.permanent {
                text.push_str("    It was tried again and again, and is not tried any more.\r\n");
            }
            text.push_str("\r\n");
        }
        text.push_str("The header of your message follows; its content is not repeated here.\r\n\r\n");
        self.status_part(&mut text, utf8_addresses);
        let kind = if utf8_header { "message/global-headers" } else { "text/rfc822-headers" };
        let _ = write!(
            text,
            "--{boundary}\r\n\
             Content-Type: {kind}\r\n\
             Content-Transfer-Encoding: {}\r\n\
             \r\n\
             {}\r\n\
             --{boundary}--\r\n",
            encoding(utf8_header),
            self.header,
        );
        text
    }

    /// RFC 3464; with UTF-8 addresses RFC 6533's form.
    fn status_part(&self, text: &mut String, utf8: bool) {
        let kind = if utf8 { "message/global-delivery-status" } else { "message/delivery-status" };
        let _ = write!(
            text,
            "--{}\r\n\
             Content-Type: {kind}\r\n\
             Content-Transfer-Encoding: {}\r\n\
             \r\n\
             Reporting-MTA: dns; {}\r\n\
             Arrival-Date: {}\r\n",
            self.boundary,
            if utf8 { "8bit" } else { "7bit" },
            self.hostname,
            self.received.to_rfc5322(),
        );
        for (recipient, failure) in self.returned {
            let kind = if recipient.is_ascii() { "rfc822" } else { "utf-8" };
            // At the end of its life a transient failure is one for good (RFC 3463 §3.5, X.4.7).
            let status = if failure.permanent { failure.status.as_str() } else { "5.4.7" };
            let _ = write!(
                text,
                "\r\n\
                 Final-Recipient: {kind}; {}\r\n\
                 Action: failed\r\n\
                 Status: {status}\r\n\
                 Last-Attempt-Date: {}\r\n",
                address(recipient),
                self.now.to_rfc5322(),
            );
            if let Some(host) = &failure.host {
                let _ = write!(text, "Remote-MTA: dns; {}\r\n", printable(host));
            }
            if let Some(reply) = &failure.reply {
                let _ = write!(text, "Diagnostic-Code: smtp; {}\r\n", printable(&reply.to_string()));
            }
        }
        text.push_str("\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealpost_proto::smtp::client::Reply;

    fn report(returned: &[(String, Failure)], header: &str) -> String {
        Report {
            hostname: "mail.example.net",
            sender: "alice@example.net",
            message_id: "<b@mail.example.net>".into(),
            boundary: "=_b".into(),
            received: Timestamp(0),
            now: Timestamp(60),
            returned,
            header,
        }
        .to_text()
    }

    #[test]
    fn says_what_rfc_3464_asks() {
        let reply = Reply::new(550, vec!["5.1.1 No such user\u{fffd}".into()]);
        let failure = Failure::permanent("5.1.1", reply.to_string()).at("mx.example.com", Some(&reply));
        let late = Failure::transient("4.4.1", "connection refused".into());
        let returned = [("bob@example.com".to_owned(), failure), ("eve@example.com".to_owned(), late)];
        let text = report(&returned, "Subject: [...]\r\n");
        for expected in [
            "\r\nContent-Type: multipart/report; report-type=delivery-status;\r\n boundary=\"=_b\"\r\n",
            "\r\nFinal-Recipient: rfc822; bob@example.com\r\nAction: failed\r\nStatus: 5.1.1\r\n",
            "\r\nRemote-MTA: dns; mx.example.com\r\nDiagnostic-Code: smtp; 550 5.1.1 No such user?\r\n",
            "\r\nFinal-Recipient: rfc822; eve@example.com\r\nAction: failed\r\nStatus: 5.4.7\r\n",
            "\r\nContent-Type: text/rfc822-headers\r\n",
            "\r\nSubject: [...]\r\n\r\n--=_b--\r\n",
        ] {
            assert!(text.contains(expected), "{expected} in {text}");
        }
        assert!(text.is_ascii());
        assert!(text.split("\r\n").all(|line| !line.contains(['\r', '\n'])));
    }

    #[test]
    fn utf8_addresses_and_headers_have_their_own_types() {
        let failure = Failure::permanent("5.6.7", "no UTF-8".into());
        let text = report(&[("müller@example.com".to_owned(), failure)], "Subject: ü\r\n");
        for expected in [
            "Content-Type: message/global-delivery-status\r\n",
            "Final-Recipient: utf-8; müller@example.com\r\n",
            "Content-Type: message/global-headers\r\n",
            "Content-Transfer-Encoding: 8bit\r\n",
        ] {
            assert!(text.contains(expected), "{expected}");
        }
    }

    #[tokio::test]
    async fn returns_the_header_and_never_the_body() {
        let body = Body::from_bytes(&b"Subject: x\r\nX: \x1b[2J\r\n\r\nthe body\r\n"[..]);
        assert_eq!(original_header(&body).await.unwrap(), "Subject: x\r\nX: [2J\r\n");
        let headless = Body::from_bytes(vec![b'a'; 100_000]);
        assert!(original_header(&headless).await.unwrap().len() <= LINE_MAX + 2);
    }
}
