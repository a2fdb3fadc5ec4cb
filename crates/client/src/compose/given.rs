//! A whole message that a mail program composed: its body and its fields stay as they are, octet for octet. Date,
//! Message-ID and MIME-Version are added where they are missing; what only the network writes is taken out.

use super::{
    ComposeError, Composition, Line, MAX_VISIBLE_RECIPIENTS, NO_VISIBLE_RECIPIENT, address_field,
    is_message_id, label, source::Segment,
};
use crate::staged::Staged;
use sealpost_crypto::hex;
use sealpost_proto::{
    address::{Address, Mailbox},
    message::{Field, Header, MailboxList, write},
    time::Timestamp,
};

/// Longest line of a header that is sent as it is (RFC 5322 §2.1.1), without its line end.
const MAX_LINE_OCTETS: usize = 998;

/// What the message does not say itself.
pub struct Given<'a> {
    /// The account's primary address: From where a draft has none yet, the domain of a new Message-ID.
    pub own: &'a Mailbox,
    /// All addresses of the account; From must be one of them, also with `+detail`.
    pub addresses: &'a [Address],
    /// Date where there is none.
    pub now: Timestamp,
    /// 16 random octets for a new Message-ID.
    pub entropy: [u8; 16],
    /// What becomes of it.
    pub purpose: Purpose,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It is sent: its Message-ID stands outside too (profile §6).
    Send,
    /// It is kept for oneself, a draft or what was sent. Programs store many states of one draft under one Message-ID,
    /// which readers would take for a replay: outside it gets one of its own.
    Keep,
}

/// A composition and whom its header names.
pub struct Taken {
    /// The message, ready for its copies.
    pub composition: Composition,
    /// To and Cc.
    pub visible: Vec<Mailbox>,
}

impl Composition {
    /// Takes over a message.
    pub fn of_message(message: &Staged, given: &Given<'_>) -> Result<Taken, ComposeError> {
        let (header, body) = message.header()?.map_err(|_| ComposeError::HeaderTooLong)?;
        let from = from(&header, given)?;
        let to = one(&header, "To")?;
        let cc = one(&header, "Cc")?;
        let visible: Vec<Mailbox> = [to, cc].into_iter().flatten().flat_map(mailboxes).collect();
        if visible.len() > MAX_VISIBLE_RECIPIENTS {
            return Err(ComposeError::TooManyRecipients);
        }

        // Names are for those who read inside: of what one keeps nobody else needs them.
        let outside = |name, field| match given.purpose {
            Purpose::Send => outside(name, field),
            Purpose::Keep => address_field(name, &mailboxes(field)),
        };
        let mut lines = Vec::with_capacity(header.fields().len() + 5);
        let (from, mut outer) = if let Some((mailbox, field)) = from {
            (mailbox, outside("From", field))
        } else {
            let field = address_field("From", std::slice::from_ref(given.own));
            lines.push(Line::Field(field.clone().into_bytes()));
            (given.own.clone(), field)
        };
        match (to, cc) {
            _ if visible.is_empty() => outer += &write::words_field("To", [NO_VISIBLE_RECIPIENT]),
            (to, cc) => {
                outer += &to.map(|field| outside("To", field)).unwrap_or_default();
                outer += &cc.map(|field| outside("Cc", field)).unwrap_or_default();
            }
        }

        let (mut content_type, mut bcc) = (false, false);
        for field in header.fields().iter().filter(|field| !is_of_the_network(field)) {
            if field.is("Bcc") {
                // Several become one run of octets: readers of the copy that keeps them take both.
                match lines.iter_mut().find(|line| matches!(line, Line::Bcc(_))) {
                    Some(Line::Bcc(full)) => full.extend_from_slice(&whole(field)),
                    _ => lines.push(Line::Bcc(whole(field))),
                }
                bcc = true;
            } else if field.is("Content-Type") && !content_type {
                content_type = true;
                lines.push(Line::ContentType(whole(field)));
            } else {
                lines.push(Line::Field(whole(field)));
            }
        }
        let date = match one(&header, "Date")? {
            Some(field) => self::outside("Date", field),
            None => added(&mut lines, write::words_field("Date", [given.now.to_rfc5322().as_str()])),
        };
        let (message_id, message_id_field) = if let Some(field) = one(&header, "Message-ID")? {
            let id = String::from_utf8(field.unfolded()).ok().filter(|id| is_message_id(id));
            let id = id.ok_or(ComposeError::MessageId)?;
            (id.clone(), write::words_field("Message-ID", [id.as_str()]))
        } else {
            let id = format!("<{}@{}>", hex::encode(&label(given.entropy, "message-id")), given.own.domain());
            let field = write::words_field("Message-ID", [id.as_str()]);
            (id, added(&mut lines, field))
        };
        if one(&header, "MIME-Version")?.is_none() {
            added(&mut lines, "MIME-Version: 1.0\r\n".into());
        }
        for name in ["Subject", "Reply-To", "Content-Type", "Content-Transfer-Encoding"] {
            one(&header, name)?;
        }
        if !bcc {
            lines.push(Line::Bcc(Vec::new()));
        }
        if !content_type {
            lines.push(Line::ContentType(Vec::new()));
        }
        let message_id_field = match given.purpose {
            Purpose::Send => message_id_field,
            Purpose::Keep => {
                let id = format!("<{}@{}>", hex::encode(&label(given.entropy, "kept")), given.own.domain());
                write::words_field("Message-ID", [id.as_str()])
            }
        };
        outer = outer + &date + &message_id_field;
        let body = vec![Segment::Body(message.clone(), body)];
        Ok(Taken { composition: Self::of_lines(from, message_id, outer, lines, body)?, visible })
    }
}

fn added(lines: &mut Vec<Line>, field: String) -> String {
    lines.push(Line::Field(field.clone().into_bytes()));
    field
}

/// The field if it is there; twice is an error, since no signature would hold (profile §6).
fn one<'a>(header: &'a Header, name: &'static str) -> Result<Option<&'a Field>, ComposeError> {
    let mut all = header.fields().iter().filter(|field| field.is(name));
    let first = all.next();
    if all.next().is_some() { Err(ComposeError::Twice(name)) } else { Ok(first) }
}

/// From: none yet, or one that is ours.
fn from<'a>(header: &'a Header, given: &Given<'_>) -> Result<Option<(Mailbox, &'a Field)>, ComposeError> {
    let Some(field) = one(header, "From")? else { return Ok(None) };
    let list = MailboxList::parse(field.value());
    let mailbox = list.exactly_one().ok_or(ComposeError::From)?.mailbox.clone();
    if mailbox.canonical().is_of(given.addresses) {
        Ok(Some((mailbox, field)))
    } else {
        Err(ComposeError::NotYours(mailbox.canonical().to_string()))
    }
}

fn mailboxes(field: &Field) -> Vec<Mailbox> {
    MailboxList::parse(field.value()).mailboxes.into_iter().map(|named| named.mailbox).collect()
}

/// Written on the way or by Sealpost itself: whoever composes has no business with these.
fn is_of_the_network(field: &Field) -> bool {
    ["Return-Path", "Received", "HP-Outer"].iter().any(|name| field.is(name))
        || is_ours(field)
        || field.name().get(..9).is_some_and(|start| start.eq_ignore_ascii_case("X-Sender-"))
}

/// `Sealpost-…`
pub(crate) fn is_ours(field: &Field) -> bool {
    field.name().get(..9).is_some_and(|start| start.eq_ignore_ascii_case("Sealpost-"))
}

/// All octets; the last field of a header without an empty line may lack its line end.
fn whole(field: &Field) -> Vec<u8> {
    let raw = field.raw();
    if raw.ends_with(b"\n") { raw.to_vec() } else { [raw, b"\r\n"].concat() }
}

/// The field as it stands outside: as composed where that is 7-bit lines that no relay has cause to change, else the
/// addresses alone, or what is ASCII of it.
fn outside(name: &str, field: &Field) -> String {
    let raw = whole(field);
    let plain = raw.split_inclusive(|b| *b == b'\n').all(|line| {
        line.strip_suffix(b"\r\n").is_some_and(|line| {
            line.len() <= MAX_LINE_OCTETS && line.iter().all(|b| matches!(b, b'\t' | 0x20..0x7f))
        }) && !line.trim_ascii().is_empty()
    });
    if plain {
        return String::from_utf8_lossy(&raw).into_owned();
    }
    let addresses = mailboxes(field);
    if !addresses.is_empty() {
        return address_field(name, &addresses);
    }
    let text: String =
        field.unfolded().iter().filter(|b| (0x20..0x7f).contains(*b)).map(|b| char::from(*b)).collect();
    write::words_field(name, text.split_ascii_whitespace())
}
