//! A draft: what a person wrote in the terminal, before it is a message.

use super::{
    Carried, ComposeError, Composition, Line, MAX_VISIBLE_RECIPIENTS, NO_VISIBLE_RECIPIENT, address_field,
    is_message_id, label, media_type,
    source::{Attachment, Segment},
};
use sealpost_crypto::hex;
use sealpost_proto::{
    address::{Address, Mailbox},
    message::write,
    time::Timestamp,
};
use std::{collections::HashSet, path::PathBuf, sync::Arc};

/// Most References kept: the first, which names the thread, and the last ones (RFC 5322 §3.6.4 lets us trim).
const MAX_REFERENCES: usize = 50;

/// What the user wrote.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The one From mailbox.
    pub from: Mailbox,
    /// To.
    pub to: Vec<Mailbox>,
    /// Cc.
    pub cc: Vec<Mailbox>,
    /// Bcc.
    pub bcc: Vec<Mailbox>,
    /// Subject, any Unicode without line breaks.
    pub subject: String,
    /// Text body. Empty lines at its end are dropped.
    pub text: String,
    /// Files to attach.
    pub attachments: Vec<PathBuf>,
    /// What goes along from another message, before the files.
    pub carried: Vec<Carried>,
    /// Message-ID that this answers, with angle brackets.
    pub in_reply_to: Option<String>,
    /// References, with angle brackets.
    pub references: Vec<String>,
}

impl Composition {
    /// Fixes Date, Message-ID and boundaries. `entropy` makes the Message-ID and boundaries (16 random octets).
    pub fn new(mut draft: Draft, date: Timestamp, entropy: [u8; 16]) -> Result<Self, ComposeError> {
        if !write::is_header_text(&draft.subject) {
            return Err(ComposeError::Control("subject"));
        }
        merge_recipients(&mut draft);
        if draft.to.is_empty() && draft.cc.is_empty() && draft.bcc.is_empty() {
            return Err(ComposeError::NoRecipient);
        }
        if draft.to.len() + draft.cc.len() > MAX_VISIBLE_RECIPIENTS {
            return Err(ComposeError::TooManyRecipients);
        }
        // Ids come from the message that is answered: what is no id is dropped, it would only break a header.
        draft.in_reply_to = draft.in_reply_to.filter(|id| is_message_id(id));
        draft.references.retain(|id| is_message_id(id));
        if draft.references.len() > MAX_REFERENCES {
            draft.references.drain(1..draft.references.len() + 1 - MAX_REFERENCES);
        }

        let mut people = address_field("From", std::slice::from_ref(&draft.from));
        if draft.to.is_empty() && draft.cc.is_empty() {
            people += &write::words_field("To", [NO_VISIBLE_RECIPIENT]);
        }
        people += &address_field("To", &draft.to);
        people += &address_field("Cc", &draft.cc);
        let message_id = format!("<{}@{}>", hex::encode(&label(entropy, "message-id")), draft.from.domain());
        let date_field = write::words_field("Date", [date.to_rfc5322().as_str()]);
        let message_id_field = write::words_field("Message-ID", [message_id.as_str()]);
        let boundary = format!("=_{}", hex::encode(&label(entropy, "boundary")));
        let (content_type, transfer_encoding, body) = body(&draft, &boundary)?;
        let lines = vec![
            Line::Field(people.clone().into_bytes()),
            Line::Bcc(address_field("Bcc", &draft.bcc).into_bytes()),
            Line::Field(date_field.clone().into_bytes()),
            Line::Field(write::text_field("Subject", &draft.subject).into_bytes()),
            Line::Field(message_id_field.clone().into_bytes()),
            Line::Field(thread_fields(&draft).into_bytes()),
            Line::Field(b"MIME-Version: 1.0\r\n".to_vec()),
            Line::ContentType(format!("Content-Type: {content_type}\r\n").into_bytes()),
            Line::Field(format!("Content-Transfer-Encoding: {transfer_encoding}\r\n").into_bytes()),
        ];
        let outer = people + &date_field + &message_id_field;
        Self::of_lines(draft.from, message_id, outer, lines, body)
    }
}

fn thread_fields(draft: &Draft) -> String {
    let mut out = String::new();
    if let Some(id) = &draft.in_reply_to {
        out += &write::words_field("In-Reply-To", [id.as_str()]);
    }
    if !draft.references.is_empty() {
        out += &write::words_field("References", draft.references.iter().map(String::as_str));
    }
    out
}

/// The message's Content-Type, Content-Transfer-Encoding and body, which ends in exactly one CRLF.
fn body(draft: &Draft, boundary: &str) -> Result<(String, &'static str, Vec<Segment>), ComposeError> {
    let (text_encoding, text) = encode_text(&draft.text);
    let text_type = "text/plain; charset=utf-8";
    if draft.attachments.is_empty() && draft.carried.is_empty() {
        return Ok((text_type.into(), text_encoding, vec![Segment::octets(text)]));
    }
    let mut segments = vec![Segment::octets(format!(
        "--{boundary}\r\nContent-Type: {text_type}\r\nContent-Transfer-Encoding: {text_encoding}\r\n\r\n{text}"
    ))];
    // The CRLF before a boundary belongs to the boundary, and the part before ends in one of its own.
    let head = |media_type: &str, name: &str, encoding: &str| {
        Segment::octets(format!(
            "\r\n--{boundary}\r\nContent-Type: {media_type}\r\nContent-Disposition: attachment{}\r\n\
             Content-Transfer-Encoding: {encoding}\r\n\r\n",
            write::parameter("filename", name),
        ))
    };
    for carried in &draft.carried {
        segments.push(head(&carried.media_type, &carried.name, carried.encoding()));
        segments.push(carried.segment());
    }
    for path in &draft.attachments {
        let attachment = Attachment::file(path.clone())?;
        segments.push(head(media_type::guess(&attachment.name), &attachment.name, "base64"));
        segments.push(Segment::File(Arc::new(attachment)));
    }
    segments.push(Segment::octets(format!("\r\n--{boundary}--\r\n")));
    Ok((format!("multipart/mixed;\r\n boundary=\"{boundary}\""), "7bit", segments))
}

/// Quoted-printable, or base64 where that is clearly shorter (text that is mostly not Latin).
fn encode_text(text: &str) -> (&'static str, String) {
    let quoted = write::quoted_printable(text);
    let base64_octets = text.len().div_ceil(57) * 78;
    if quoted.len() <= base64_octets + base64_octets / 4 + 80 {
        return ("quoted-printable", quoted);
    }
    let trimmed = text.trim_end_matches(['\n', '\r']);
    let lines: Vec<&str> = trimmed.split('\n').map(|l| l.strip_suffix('\r').unwrap_or(l)).collect();
    ("base64", write::base64_lines((lines.join("\r\n") + "\r\n").as_bytes()))
}

/// Who stands in To is not repeated in Cc, nor who stands in either in Bcc.
fn merge_recipients(draft: &mut Draft) {
    let mut seen: HashSet<Address> = HashSet::new();
    for list in [&mut draft.to, &mut draft.cc, &mut draft.bcc] {
        list.retain(|m| seen.insert(m.canonical()));
    }
}
