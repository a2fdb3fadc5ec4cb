//! Which octets of an opened message an item of FETCH asks for.

use super::binary::{self, Decoded};
use crate::entry::{Entry, Need, Text};
use sealpost_client::open::Shown;
use sealpost_proto::{
    imap::{FetchItem, Section, SectionText, encode, mime::Structure, section},
    message::Header,
};
use std::{
    io::{self, Read as _},
    num::NonZeroU32,
    ops::Range,
};

/// Longest header of a part in a part that is searched for fields.
const HEADER_MAX: u64 = 1024 * 1024;

/// What answers an item.
pub(super) enum Answer {
    /// Written out, name and value.
    Written(Vec<u8>),
    /// What the index has of it, behind the name.
    Brief(&'static str, Text),
    /// A literal of these octets behind the name, which ends in a space.
    Octets(String, Range<u64>),
    /// A literal in memory behind the name.
    Memory(String, Vec<u8>),
    /// A literal of a part without its transfer encoding behind the name.
    Decoded(String, Decoded),
    /// None: the transfer encoding is not known.
    UnknownEncoding,
}

/// Whether an item speaks of the content, and is thus answered here.
pub(super) fn is_content(item: &FetchItem) -> bool {
    !matches!(
        item,
        FetchItem::Flags
            | FetchItem::Uid
            | FetchItem::InternalDate
            | FetchItem::ModSeq
            | FetchItem::SaveDate
            | FetchItem::EmailId
            | FetchItem::ThreadId
    )
}

/// Whether an entry of the index answers an item without the message's octets.
pub(super) fn is_indexed(item: &FetchItem) -> bool {
    match item {
        FetchItem::Section { section, .. } => {
            section.part.is_empty()
                && matches!(section.text, Some(SectionText::Header | SectionText::HeaderFields { .. }))
        }
        FetchItem::Rfc822 | FetchItem::Rfc822Text | FetchItem::Binary { .. } | FetchItem::BinarySize(_) => {
            false
        }
        _ => true,
    }
}

/// What of the index is needed to answer.
pub(super) fn need(items: &[FetchItem]) -> Need {
    let head = |item: &FetchItem| {
        matches!(item, FetchItem::Section { .. } | FetchItem::Rfc822Header)
            || is_content(item) && !is_indexed(item)
    };
    if items.iter().any(head) {
        Need::Head
    } else if items.iter().any(is_content) {
        Need::Brief
    } else {
        Need::Keywords
    }
}

/// An item that [`is_indexed`].
pub(super) fn from_entry(item: &FetchItem, entry: &Entry) -> Answer {
    match item {
        FetchItem::Envelope => Answer::Brief("ENVELOPE ", Text::Envelope),
        FetchItem::Body => Answer::Brief("BODY ", Text::Body),
        FetchItem::BodyStructure => Answer::Brief("BODYSTRUCTURE ", Text::BodyStructure),
        FetchItem::Preview { .. } => Answer::Brief("PREVIEW ", Text::Preview),
        FetchItem::Size => Answer::Written(format!("RFC822.SIZE {}", entry.size).into_bytes()),
        FetchItem::Rfc822Header => Answer::Memory("RFC822.HEADER ".into(), entry.head().to_vec()),
        FetchItem::Section { section, partial, .. } => {
            let octets = match &section.text {
                Some(SectionText::HeaderFields { names, not }) => fields(entry.head(), names, *not),
                _ => entry.head().to_vec(),
            };
            Answer::Memory(label(section, *partial), cut_octets(&octets, *partial))
        }
        _ => Answer::Written(b"X NIL".to_vec()),
    }
}

/// Whether an item asks for a part of a message, and not for all that is behind its header.
pub(super) fn needs_structure(item: &FetchItem) -> bool {
    match item {
        FetchItem::Section { section, .. } => {
            !section.part.is_empty() || !matches!(section.text, None | Some(SectionText::Text))
        }
        FetchItem::Binary { .. } | FetchItem::BinarySize(_) => true,
        _ => false,
    }
}

/// An item that needs the octets; `structure` where it [`needs_structure`].
pub(super) fn from_octets(
    item: &FetchItem,
    shown: &Shown,
    structure: Option<&Structure>,
) -> io::Result<Answer> {
    let body = shown.head().len() as u64..shown.size();
    Ok(match item {
        FetchItem::Rfc822 => Answer::Octets("RFC822 ".into(), 0..shown.size()),
        FetchItem::Rfc822Text => Answer::Octets("RFC822.TEXT ".into(), body),
        FetchItem::Section { section, partial, .. } => {
            let label = label(section, *partial);
            let found = match (&section.text, structure) {
                (None, _) if section.part.is_empty() => Some(section::Octets::All(0..shown.size())),
                (Some(SectionText::Text), _) if section.part.is_empty() => Some(section::Octets::All(body)),
                (_, Some(structure)) => section::place(&structure.nodes, shown.size(), section),
                (_, None) => None,
            };
            match found {
                None => Answer::Written([label.as_bytes(), b"NIL"].concat()),
                Some(section::Octets::All(range)) => Answer::Octets(label, cut(range, *partial)),
                Some(section::Octets::Fields(header, names, not)) => {
                    let octets = fields(&read(shown, header)?, names, not);
                    Answer::Memory(label, cut_octets(&octets, *partial))
                }
            }
        }
        FetchItem::Binary { part, partial, .. } => match structure {
            Some(structure) => binary::octets(part, *partial, shown, structure)?,
            None => Answer::Written(b"X NIL".to_vec()),
        },
        FetchItem::BinarySize(part) => match structure {
            Some(structure) => binary::size(part, shown, structure)?,
            None => Answer::Written(b"X NIL".to_vec()),
        },
        _ => Answer::Written(b"X NIL".to_vec()),
    })
}

fn label(section: &Section, partial: Option<(u64, NonZeroU32)>) -> String {
    let origin = partial.map(|(first, _)| format!("<{first}>")).unwrap_or_default();
    format!("BODY[{}]{origin} ", encode::section(section))
}

/// The fields whose name is among `names` (or is not), and an empty line.
fn fields(head: &[u8], names: &[String], not: bool) -> Vec<u8> {
    let (header, _) = Header::read(head).unwrap_or_default();
    let mut out = Vec::new();
    for field in header.fields().iter().filter(|field| !field.name().is_empty()) {
        if names.iter().any(|name| field.is(name)) != not {
            out.extend_from_slice(field.raw());
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}

fn read(shown: &Shown, range: Range<u64>) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    shown.reader(range.start)?.take((range.end - range.start).min(HEADER_MAX)).read_to_end(&mut out)?;
    Ok(out)
}

fn cut(range: Range<u64>, partial: Option<(u64, NonZeroU32)>) -> Range<u64> {
    let Some((first, count)) = partial else { return range };
    let start = range.start.saturating_add(first).min(range.end);
    start..start.saturating_add(u64::from(count.get())).min(range.end)
}

fn cut_octets(octets: &[u8], partial: Option<(u64, NonZeroU32)>) -> Vec<u8> {
    let range = cut(0..octets.len() as u64, partial);
    let at = |n: u64| usize::try_from(n).unwrap_or(octets.len());
    octets[at(range.start)..at(range.end)].to_vec()
}
