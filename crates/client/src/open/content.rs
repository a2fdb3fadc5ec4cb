//! The second pass: what of a message is shown, and its attachments saved (profile §6). By now every octet is known to
//! be authentic or plain; memory is bounded all the same, by what [`Collector`] keeps.

use super::{Held, OpenError, collector::Collector, payload};
use crate::{
    compose::is_message_id,
    mime::{
        parser::{MAX_PARTS, Parser},
        words::{header_text, mailbox_text, safe_line},
    },
    spool::{SpoolReader, for_each_chunk},
    staged::Staged,
};
use sealpost_proto::{
    address::Mailbox,
    message::{Encrypted, Header, MailboxList, SIGNATURE_FIELD},
};
use std::{
    io::{self, Read},
    path::PathBuf,
};

/// Most References read.
const MAX_REFERENCES: usize = 1_000;

/// What a reader shows.
#[derive(Debug, Clone, Default)]
pub struct Content {
    /// From, as written inside.
    pub from: String,
    /// To.
    pub to: Vec<String>,
    /// Cc.
    pub cc: Vec<String>,
    /// Date as written.
    pub date: String,
    /// Subject, decoded.
    pub subject: String,
    /// Message-ID, with angle brackets.
    pub message_id: String,
    /// What it answers, oldest first, with angle brackets: References, or else In-Reply-To (RFC 5322 §3.6.4).
    pub references: Vec<String>,
    /// Whom an answer goes to: Reply-To, or else From.
    pub reply_to: Vec<Mailbox>,
    /// The addresses of To and of Cc.
    pub recipients: [Vec<Mailbox>; 2],
    /// Text.
    pub text: String,
    /// All parts, in their order.
    pub parts: Vec<PartInfo>,
    /// Where parts were written, when asked for.
    pub saved: Vec<PathBuf>,
    /// What was set aside, when asked for.
    pub aside: Vec<(PartInfo, Staged)>,
    /// What had to be left out or guessed, in words.
    pub notes: Vec<String>,
}

impl Content {
    /// The parts that are not shown as text.
    pub fn attachments(&self) -> impl Iterator<Item = &PartInfo> {
        self.parts.iter().filter(|part| part.attachment)
    }
}

/// A part of a message that has none below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartInfo {
    /// Counted from 1, in their order.
    pub number: u32,
    /// What it is called when it is saved; never empty, never a path.
    pub name: String,
    /// Media type, in lower case; empty where none is given.
    pub media_type: String,
    /// Its charset, where one is given.
    pub charset: Option<String>,
    /// Octets, decoded.
    pub size: u64,
    /// Not shown as text.
    pub attachment: bool,
}

/// What becomes of the parts while the content is read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Take {
    /// They are shown, or their names.
    #[default]
    Nothing,
    /// All attachments are written into this folder.
    Attachments(PathBuf),
    /// The part with this number is.
    Part(u32, PathBuf),
    /// The part with this number is set aside.
    PartAside(u32),
    /// Attachments are set aside, to go along with another message.
    Aside,
}

/// What a list shows of a message of which only the outer header is at hand. Nothing of it is verified.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// From, decoded.
    pub from: String,
    /// To, decoded.
    pub to: Vec<String>,
    /// Date as written.
    pub date: String,
    /// Subject, decoded; `[...]` for sealed mail.
    pub subject: String,
    /// Message-ID, with angle brackets.
    pub message_id: String,
    /// `X-Sender-Encrypted: yes`.
    pub sealed: bool,
    /// Carries X-Sender-Signature.
    pub signed: bool,
}

impl Summary {
    /// From the octets of a header, as `BODY.PEEK[HEADER]` gives them.
    pub fn read(header: &[u8]) -> Self {
        Header::read(header).map(|(header, _)| Self::of(&header)).unwrap_or_default()
    }

    pub(super) fn of(header: &Header) -> Self {
        Self {
            from: addresses(header, "From").join(", "),
            to: addresses(header, "To"),
            date: text(header, "Date"),
            subject: text(header, "Subject"),
            message_id: ids(header, "Message-ID").into_iter().next().unwrap_or_default(),
            sealed: Encrypted::of(header) == Encrypted::Yes,
            signed: header.first(SIGNATURE_FIELD).is_some(),
        }
    }
}

fn text(header: &Header, name: &str) -> String {
    header.first(name).map(|f| header_text(&f.unfolded())).unwrap_or_default()
}

/// The addresses of all fields called `name`; a field that cannot be read in full is shown as it stands.
fn addresses(header: &Header, name: &str) -> Vec<String> {
    header
        .all(name)
        .flat_map(|field| {
            let list = MailboxList::parse(field.value());
            if list.faults > 0 {
                vec![header_text(&field.unfolded())]
            } else {
                list.mailboxes.iter().map(mailbox_text).collect()
            }
        })
        .collect()
}

fn ids(header: &Header, name: &str) -> Vec<String> {
    let Some(field) = header.first(name) else { return Vec::new() };
    let value = String::from_utf8_lossy(&field.unfolded()).into_owned();
    value.split_whitespace().filter(|id| is_message_id(id)).take(MAX_REFERENCES).map(str::to_owned).collect()
}

fn references(header: &Header) -> Vec<String> {
    let references = ids(header, "References");
    if !references.is_empty() {
        return references;
    }
    // More than one may be there, and none of them is known to be the parent.
    Some(ids(header, "In-Reply-To")).filter(|ids| ids.len() == 1).unwrap_or_default()
}

fn mailboxes(header: &Header, name: &str) -> Vec<Mailbox> {
    let lists = header.all(name).map(|field| MailboxList::parse(field.value()));
    lists.flat_map(|list| list.mailboxes).map(|named| named.mailbox).collect()
}

/// Reads what is held; `None` where nothing could be opened.
pub(super) fn read(held: &Held, take: &Take) -> Result<Option<Content>, OpenError> {
    let reader: Box<dyn Read> = match held {
        Held::Closed => return Ok(None),
        Held::Plain(source, ..) => Box::new(SpoolReader::new(source.clone())),
        Held::Sealed(armour, key, _) => payload::open(armour, key)?,
    };
    read_from(reader, take).map(Some)
}

fn read_from(mut reader: impl Read, take: &Take) -> Result<Content, OpenError> {
    let (header, start, body) = payload::read_header(&mut reader)?;
    if let Take::Attachments(folder) | Take::Part(_, folder) = take {
        std::fs::create_dir_all(folder).map_err(|e| OpenError::Save(folder.clone(), e))?;
    }
    let mut collector = Collector::new(take);
    let mut parser = Parser::new(&header, &mut collector)?;
    let fed = parser
        .feed(&start[body..])
        .and_then(|()| for_each_chunk(reader, |chunk| parser.feed(chunk)))
        .and_then(|()| {
            let overfull = parser.overfull;
            parser.finish().map(|_| overfull)
        });
    let overfull = fed.map_err(|e| match collector.failed.take() {
        Some(failed) => failed,
        None => OpenError::Io(e),
    })?;
    let (asked, from) = (mailboxes(&header, "Reply-To"), mailboxes(&header, "From"));
    let asks_others = asked.iter().any(|to| from.iter().all(|from| from.canonical() != to.canonical()));
    let mut content = Content {
        from: addresses(&header, "From").join(", "),
        to: addresses(&header, "To"),
        cc: addresses(&header, "Cc"),
        date: text(&header, "Date"),
        subject: text(&header, "Subject"),
        message_id: ids(&header, "Message-ID").into_iter().next().unwrap_or_default(),
        references: references(&header),
        reply_to: if asked.is_empty() { from } else { asked },
        recipients: ["To", "Cc"].map(|name| mailboxes(&header, name)),
        ..Content::default()
    };
    collector.show(&mut content);
    if asks_others {
        let asked: Vec<String> = content.reply_to.iter().map(|to| safe_line(&to.to_string())).collect();
        content.notes.push(format!("an answer goes to {}, as its Reply-To says", asked.join(", ")));
    }
    if overfull {
        content.notes.push(format!("only the first {MAX_PARTS} parts of the message are read"));
    }
    Ok(content)
}

impl From<payload::PayloadError> for OpenError {
    /// In the second pass: the first has opened the same octets.
    fn from(e: payload::PayloadError) -> Self {
        match e {
            payload::PayloadError::Io(e) => Self::Io(e),
            payload::PayloadError::Closed(why) => Self::Io(io::Error::other(why)),
        }
    }
}
