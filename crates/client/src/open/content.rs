//! The second pass: what of a message is shown, and its attachments saved (profile §6). By now every octet is known to
//! be authentic or plain; memory is bounded by [`MAX_TEXT_OCTETS`] all the same.

use super::{Held, OpenError, payload};
use crate::{
    compose::is_message_id,
    mime::{
        file_name,
        parser::{MAX_PARTS, Parser, Part, Sink},
        words::{decode_charset, header_text, mailbox_text, safe_text},
    },
    spool::{SpoolReader, for_each_chunk},
};
use sealpost_proto::message::{Encrypted, Header, MailboxList, SIGNATURE_FIELD, html};
use std::{
    collections::HashSet,
    fs::File,
    io::{self, Read, Write as _},
    path::{Path, PathBuf},
};

/// Most text shown, all parts together; more is cut and said. A book has about one MiB.
const MAX_TEXT_OCTETS: usize = 2 * 1024 * 1024;

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
    /// References, with angle brackets.
    pub references: Vec<String>,
    /// Text.
    pub text: String,
    /// Attachments: name and decoded size.
    pub attachments: Vec<(String, u64)>,
    /// Where attachments were written, when asked for.
    pub saved: Vec<PathBuf>,
    /// What had to be left out or guessed, in words.
    pub notes: Vec<String>,
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

/// Reads what is held; `None` where nothing could be opened.
pub(super) fn read(held: &Held, save: Option<&Path>) -> Result<Option<Content>, OpenError> {
    let reader: Box<dyn Read> = match held {
        Held::Closed => return Ok(None),
        Held::Plain(source, ..) => Box::new(SpoolReader::new(source.clone())),
        Held::Sealed(armour, identities, _) => payload::open(armour, identities)?,
    };
    read_from(reader, save).map(Some)
}

fn read_from(mut reader: impl Read, save: Option<&Path>) -> Result<Content, OpenError> {
    let (header, start, body) = payload::read_header(&mut reader)?;
    if let Some(folder) = save {
        std::fs::create_dir_all(folder).map_err(|e| OpenError::Save(folder.to_owned(), e))?;
    }
    let mut collector = Collector { save, ..Collector::default() };
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
    let mut content = Content {
        from: addresses(&header, "From").join(", "),
        to: addresses(&header, "To"),
        cc: addresses(&header, "Cc"),
        date: text(&header, "Date"),
        subject: text(&header, "Subject"),
        message_id: ids(&header, "Message-ID").into_iter().next().unwrap_or_default(),
        references: ids(&header, "References"),
        ..Content::default()
    };
    collector.show(&mut content);
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

/// A text part.
struct Text {
    html: bool,
    charset: Option<String>,
    alternative: Option<usize>,
    octets: Vec<u8>,
}

enum Current {
    None,
    Text(Text),
    Attachment { name: String, size: u64, file: Option<(File, PathBuf)> },
}

/// Gathers text and attachments.
struct Collector<'a> {
    save: Option<&'a Path>,
    texts: Vec<Text>,
    text_octets: usize,
    cut: bool,
    attachments: Vec<(String, u64)>,
    saved: Vec<PathBuf>,
    current: Current,
    /// Why saving stopped.
    failed: Option<OpenError>,
}

impl Default for Collector<'_> {
    fn default() -> Self {
        Self {
            save: None,
            texts: Vec::new(),
            text_octets: 0,
            cut: false,
            attachments: Vec::new(),
            saved: Vec::new(),
            current: Current::None,
            failed: None,
        }
    }
}

impl Collector<'_> {
    fn show(self, content: &mut Content) {
        // In a multipart/alternative the plain text is the one to show (RFC 2046 §5.1.4), unless it says nothing.
        let has_plain: HashSet<usize> = self
            .texts
            .iter()
            .filter(|t| !t.html && !t.octets.trim_ascii().is_empty())
            .filter_map(|t| t.alternative)
            .collect();
        for part in &self.texts {
            if part.html && part.alternative.is_some_and(|a| has_plain.contains(&a)) {
                continue;
            }
            let mut text = decode_charset(part.charset.as_deref(), &part.octets);
            if part.html {
                text = html::to_text(&text) + "\n";
                content.notes.push("the text is taken from HTML; nothing it refers to was loaded".into());
            }
            if !content.text.is_empty() && !text.trim().is_empty() {
                content.text.push('\n');
            }
            content.text += &safe_text(&text);
        }
        content.notes.dedup();
        if self.cut {
            content.notes.push(format!("the text is cut after {} MiB", MAX_TEXT_OCTETS / (1024 * 1024)));
        }
        content.attachments = self.attachments;
        content.saved = self.saved;
    }

    fn fail<T>(&mut self, path: &Path, e: io::Error) -> io::Result<T> {
        self.failed = Some(OpenError::Save(path.to_owned(), e));
        Err(io::Error::other("saving stopped"))
    }
}

impl Sink for &mut Collector<'_> {
    fn begin(&mut self, part: &Part) -> io::Result<()> {
        let kind = part.content_type.value.as_str();
        let html = kind == "text/html";
        let is_text = html || matches!(kind, "" | "text" | "text/plain");
        // The message's own Content-Disposition is in no signature (profile §6): whoever adds one on the way must not
        // make the text of a message that reads as good vanish among the attachments.
        let set_aside = !part.whole
            && (part.disposition.value == "attachment" || part.disposition.get("filename").is_some());
        if is_text && part.content_type.get("name").is_none() && !set_aside {
            self.current = Current::Text(Text {
                html,
                charset: part.content_type.get("charset").map(str::to_owned),
                alternative: part.alternative,
                octets: Vec::new(),
            });
            return Ok(());
        }
        let unnamed = match kind {
            "message/rfc822" | "message/global" => "message.eml",
            "text/plain" => "text.txt",
            "text/html" => "page.html",
            "text/calendar" => "invitation.ics",
            _ => "attachment",
        };
        let name = file_name::sanitised(part.name().unwrap_or(unnamed));
        let mut file = None;
        if let Some(folder) = self.save {
            match file_name::create(folder, &name) {
                Ok(created) => file = Some(created),
                Err(e) => return self.fail(folder, e),
            }
        }
        self.current = Current::Attachment { name, size: 0, file };
        Ok(())
    }

    fn data(&mut self, octets: &[u8]) -> io::Result<()> {
        let mut failure = None;
        match &mut self.current {
            Current::None => {}
            Current::Text(text) => {
                let taken = octets.len().min(MAX_TEXT_OCTETS - self.text_octets);
                text.octets.extend_from_slice(&octets[..taken]);
                self.text_octets += taken;
                self.cut |= taken < octets.len();
            }
            Current::Attachment { size, file, .. } => {
                *size += octets.len() as u64;
                if let Some((file, path)) = file
                    && let Err(e) = file.write_all(octets)
                {
                    failure = Some((path.clone(), e));
                }
            }
        }
        let Some((path, e)) = failure else { return Ok(()) };
        // Half a file would pass for a whole one.
        let _ = std::fs::remove_file(&path);
        self.fail(&path, e)
    }

    fn end(&mut self) -> io::Result<()> {
        match std::mem::replace(&mut self.current, Current::None) {
            Current::None => {}
            Current::Text(text) => self.texts.push(text),
            Current::Attachment { name, size, file } => {
                self.attachments.push((name, size));
                self.saved.extend(file.map(|(_, path)| path));
            }
        }
        Ok(())
    }
}
