//! Where the parts of a message go: texts into memory, attachments to where they are wanted, all of it as it comes.

use super::{
    OpenError,
    content::{Content, PartInfo, Take},
};
use crate::{
    compose::ending,
    mime::{
        file_name, flowed,
        parser::{Part, Sink},
        words::{decode_charset, safe_line, safe_text},
    },
    staged::Staging,
};
use sealpost_proto::message::html;
use std::{
    collections::HashSet,
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// Most text shown, in octets, all parts together; more is cut and said. A book has about one MiB.
const MAX_TEXT_OCTETS: usize = 2 * 1024 * 1024;

/// Longest media type told, in characters: RFC 6838 §4.2 allows 127 on each side of the slash.
const MAX_MEDIA_TYPE_CHARS: usize = 255;

/// A text part.
struct Text {
    html: bool,
    charset: Option<String>,
    /// RFC 3676: lines that go on, and whether the space that says so is part of the text.
    flowed: Option<bool>,
    alternative: Option<usize>,
    octets: Vec<u8>,
}

enum Current {
    None,
    Text(Text),
    Left,
    File(File, PathBuf),
    Aside(Staging),
}

/// Gathers texts and attachments.
pub(super) struct Collector<'a> {
    take: &'a Take,
    texts: Vec<Text>,
    text_octets: usize,
    cut: bool,
    parts: Vec<PartInfo>,
    saved: Vec<PathBuf>,
    aside: Vec<(PartInfo, crate::staged::Staged)>,
    current: Current,
    /// Why saving stopped.
    pub(super) failed: Option<OpenError>,
}

impl<'a> Collector<'a> {
    pub(super) fn new(take: &'a Take) -> Self {
        Self {
            take,
            texts: Vec::new(),
            text_octets: 0,
            cut: false,
            parts: Vec::new(),
            saved: Vec::new(),
            aside: Vec::new(),
            current: Current::None,
            failed: None,
        }
    }

    /// What was gathered.
    pub(super) fn show(self, content: &mut Content) {
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
            } else if let Some(delsp) = part.flowed {
                text = flowed::unflowed(&text, delsp);
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
        content.parts = self.parts;
        content.saved = self.saved;
        content.aside = self.aside;
    }

    fn fail<T>(&mut self, path: &Path, e: io::Error) -> io::Result<T> {
        self.failed = Some(OpenError::Save(path.to_owned(), e));
        Err(io::Error::other("saving stopped"))
    }

    /// Where the part that begins goes.
    fn place(&mut self, info: &PartInfo, text: Option<Text>) -> io::Result<Current> {
        let folder = match self.take {
            Take::Part(number, folder) if *number == info.number => Some(folder),
            Take::Attachments(folder) if info.attachment => Some(folder),
            Take::Aside if info.attachment => return Ok(Current::Aside(Staging::new())),
            Take::PartAside(number) if *number == info.number => return Ok(Current::Aside(Staging::new())),
            _ => None,
        };
        let Some(folder) = folder else { return Ok(text.map_or(Current::Left, Current::Text)) };
        match file_name::create(folder, &info.name) {
            Ok((file, path)) => Ok(Current::File(file, path)),
            Err(e) => self.fail(folder, e),
        }
    }
}

/// The text, where the part is shown as one.
fn text(part: &Part) -> Option<Text> {
    let kind = part.content_type.value.as_str();
    let html = kind == "text/html";
    let is_text = html || matches!(kind, "" | "text" | "text/plain");
    // The message's own Content-Disposition is in no signature (profile §6): whoever adds one on the way must not
    // make the text of a message that reads as good vanish among the attachments.
    let set_aside =
        !part.whole && (part.disposition.value == "attachment" || part.disposition.get("filename").is_some());
    let says = |name: &str, value: &str| {
        part.content_type.get(name).is_some_and(|said| said.trim().eq_ignore_ascii_case(value))
    };
    (is_text && part.content_type.get("name").is_none() && !set_aside).then(|| Text {
        html,
        charset: part.content_type.get("charset").map(str::to_owned),
        flowed: says("format", "flowed").then(|| says("delsp", "yes")),
        alternative: part.alternative,
        octets: Vec::new(),
    })
}

/// A name for a part that has none.
fn unnamed(kind: &str) -> String {
    match kind {
        "" | "text" | "text/plain" => "text.txt".to_owned(),
        "text/html" => "page.html".to_owned(),
        "text/calendar" => "invitation.ics".to_owned(),
        "message/rfc822" | "message/global" => "message.eml".to_owned(),
        kind => ending(kind).map_or("attachment".to_owned(), |ending| format!("attachment.{ending}")),
    }
}

impl Sink for &mut Collector<'_> {
    fn begin(&mut self, part: &Part) -> io::Result<()> {
        let text = text(part);
        let kind = part.content_type.value.as_str();
        let name = part.name().map_or_else(|| unnamed(kind), str::to_owned);
        let info = PartInfo {
            number: u32::try_from(self.parts.len() + 1).unwrap_or(u32::MAX),
            name: file_name::sanitised(&name),
            media_type: safe_line(kind).chars().take(MAX_MEDIA_TYPE_CHARS).collect(),
            charset: part.content_type.get("charset").map(safe_line),
            size: 0,
            attachment: text.is_none(),
        };
        self.current = self.place(&info, text)?;
        self.parts.push(info);
        Ok(())
    }

    fn data(&mut self, octets: &[u8]) -> io::Result<()> {
        if let Some(part) = self.parts.last_mut() {
            part.size += octets.len() as u64;
        }
        match &mut self.current {
            Current::None | Current::Left => {}
            Current::Text(text) => {
                let taken = octets.len().min(MAX_TEXT_OCTETS - self.text_octets);
                text.octets.extend_from_slice(&octets[..taken]);
                self.text_octets += taken;
                self.cut |= taken < octets.len();
            }
            Current::Aside(staging) => staging.push(octets)?,
            Current::File(file, path) => {
                if let Err(e) = file.write_all(octets) {
                    let path = path.clone();
                    // Half a file would pass for a whole one.
                    let _ = std::fs::remove_file(&path);
                    return self.fail(&path, e);
                }
            }
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        match std::mem::replace(&mut self.current, Current::None) {
            Current::None | Current::Left => {}
            Current::Text(text) => self.texts.push(text),
            Current::File(_, path) => self.saved.push(path),
            Current::Aside(staging) => {
                let info = self.parts.last().cloned().unwrap_or_default();
                self.aside.push((info, staging.finish()?));
            }
        }
        Ok(())
    }
}
