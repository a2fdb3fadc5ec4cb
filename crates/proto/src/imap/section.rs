//! Where a section of FETCH lies in a message (RFC 9051 §6.4.5.1), whatever tree of parts is kept of it.

use super::{
    command::{Section, SectionText},
    mime::Kind,
};
use std::{num::NonZeroU32, ops::Range};

/// A part of a message, or a message inside one; the first of a tree is the whole message.
pub trait Part {
    /// What it holds.
    fn kind(&self) -> Kind;
    /// Its header, the empty line included, and its body.
    fn place(&self) -> (Range<u64>, Range<u64>);
    /// Parts in it, by their place in the tree.
    fn children(&self) -> &[usize];
}

/// Which octets a section is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Octets<'a> {
    /// These.
    All(Range<u64>),
    /// Of this header the fields with these names (`true`: all others), and an empty line.
    Fields(Range<u64>, &'a [String], bool),
}

/// The part that numbers name; the message itself for none.
pub fn part<'a, P: Part>(tree: &'a [P], numbers: &[NonZeroU32]) -> Option<&'a P> {
    let mut current: Option<usize> = None;
    for number in numbers {
        let container = match current {
            None => 0,
            Some(at) => {
                let part = tree.get(at)?;
                match part.kind() {
                    Kind::Multipart => at,
                    Kind::Message => *part.children().first()?,
                    Kind::Leaf => return None,
                }
            }
        };
        let index = usize::try_from(number.get()).ok()?.checked_sub(1)?;
        let part = tree.get(container)?;
        current = Some(match part.kind() {
            Kind::Multipart => *part.children().get(index)?,
            // A message that is not multipart has one part: its body.
            _ if index == 0 => container,
            _ => return None,
        });
    }
    tree.get(current.unwrap_or(0))
}

/// Where a section lies in a message of `size` octets; `None` where it has no such part (NIL).
pub fn place<'a, P: Part>(tree: &[P], size: u64, section: &'a Section) -> Option<Octets<'a>> {
    let part = part(tree, &section.part)?;
    let whole = section.part.is_empty();
    let (header, body) = part.place();
    // HEADER and TEXT of a part are those of the message in it.
    let message = match part.kind() {
        _ if whole => Some(part),
        Kind::Message => part.children().first().and_then(|at| tree.get(*at)),
        _ => None,
    };
    Some(match (&section.text, message.map(Part::place)) {
        (None, _) if whole => Octets::All(0..size),
        (None, _) => Octets::All(body),
        (Some(SectionText::Mime), _) => Octets::All(header),
        (Some(SectionText::Header), Some((header, _))) => Octets::All(header),
        (Some(SectionText::Text), Some((_, body))) => Octets::All(body),
        (Some(SectionText::HeaderFields { names, not }), Some((header, _))) => {
            Octets::Fields(header, names, *not)
        }
        (Some(_), None) => return None,
    })
}
