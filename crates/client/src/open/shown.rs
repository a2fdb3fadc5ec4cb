//! A judged message as a mail program is given it: one message in the form it was composed in, with the verdict on top.
//!
//! | verdict | what is given |
//! |---|---|
//! | sealed, not withheld | the payload; HP-Outer and `hp` taken out of its header |
//! | plain, not withheld | the message as it came |
//! | withheld | a notice in words under the outer header; of the content nothing |
//!
//! In all of them fields called `Sealpost-…` that came along are left out, and one [`VERDICT_FIELD`] is put on top.

use super::{
    Held, OpenError, Opened, Verdict,
    armour::Block,
    payload::{self, Payload},
};
use crate::{
    compose::is_ours,
    protection,
    spool::{Spool, SpoolReader},
    staged::Shared,
};
use sealpost_crypto::seal::FileKey;
use sealpost_proto::message::{Field, Header, write};
use std::{
    io::{self, Cursor, Read},
    sync::Arc,
};
use zeroize::Zeroizing;

/// Says what a message was found to be.
pub const VERDICT_FIELD: &str = "Sealpost-Verdict";

/// Longest note told in the verdict's field; all of them stand in the notice of a withheld message.
const MAX_NOTE_OCTETS: usize = 300;

/// A message as a mail program is given it. Its size is known before any of it is read.
pub struct Shown {
    head: Zeroizing<Vec<u8>>,
    body: Body,
    size: u64,
}

/// Where the octets behind the header come from.
pub(super) enum Body {
    /// Of a message as it came: from there on.
    Plain(Arc<Spool>, u64),
    /// Of a small payload, or of a notice.
    Memory(Arc<Zeroizing<Vec<u8>>>, u64),
    /// Of a sealed message, opened once more.
    Sealed(Block, FileKey, u64),
}

impl Shown {
    /// Of a header and what stands behind it; `rest` octets of that.
    pub(super) fn new(head: Zeroizing<Vec<u8>>, body: Body, rest: u64) -> Self {
        let size = head.len() as u64 + rest;
        Self { head, body, size }
    }

    /// All of it, where it is in memory: the header and what stands behind it.
    pub fn in_memory(&self) -> Option<(&[u8], &[u8])> {
        let body = match &self.body {
            Body::Plain(spool, body) => match &**spool {
                Spool::Memory(octets) => octets.get(usize::try_from(*body).ok()?..)?,
                Spool::Disk(..) => return None,
            },
            Body::Memory(octets, body) => octets.get(usize::try_from(*body).ok()?..)?,
            Body::Sealed(..) => return None,
        };
        Some((&self.head, body))
    }

    /// Octets.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The header, with the empty line behind it.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// From octet `at` on.
    pub fn reader(&self, at: u64) -> io::Result<Box<dyn Read + Send>> {
        let head = self.head.len() as u64;
        if at >= head {
            return self.body(at - head);
        }
        let start = usize::try_from(at).unwrap_or(usize::MAX).min(self.head.len());
        Ok(Box::new(Cursor::new(self.head[start..].to_vec()).chain(self.body(0)?)))
    }

    fn body(&self, at: u64) -> io::Result<Box<dyn Read + Send>> {
        Ok(match &self.body {
            Body::Plain(spool, body) => {
                Box::new(SpoolReader::range(spool.clone(), body.saturating_add(at), u64::MAX))
            }
            Body::Memory(octets, body) => {
                let mut cursor = Cursor::new(Shared(octets.clone()));
                cursor.set_position(body.saturating_add(at));
                Box::new(cursor)
            }
            Body::Sealed(armour, key, body) => {
                let mut reader = payload::open(armour, key).map_err(OpenError::from)?;
                io::copy(&mut (&mut reader).take(body.saturating_add(at)), &mut io::sink())?;
                reader
            }
        })
    }
}

impl From<OpenError> for io::Error {
    fn from(e: OpenError) -> Self {
        match e {
            OpenError::Io(e) => e,
            e => Self::other(e),
        }
    }
}

impl Opened {
    /// The message for a mail program. `see` is told in the notice of a withheld message: what shows it all the same.
    pub fn shown(&self, see: &str) -> Shown {
        let verdict = self.verdict_field();
        if self.verdict.is_withheld() {
            return self.notice(&verdict, see);
        }
        let (head, body, rest) = match &self.held {
            // "cannot be opened" is withheld.
            Held::Closed => return self.notice(&verdict, see),
            Held::Plain(source, header, body) => {
                (head(&verdict, header, false), Body::Plain(source.clone(), *body), source.size() - body)
            }
            Held::Sealed(armour, key, payload) => {
                let body = sealed_body(armour, key, payload);
                (head(&verdict, &payload.header, true), body, payload.size - payload.body)
            }
        };
        Shown::new(head, body, rest)
    }

    /// The message as it was composed, for a message that takes it along: without what only its reader is to know.
    /// `None` where its content is withheld.
    pub fn forwarded(&self) -> Option<Shown> {
        let without_bcc = |header: &Header, protected| {
            let raw: Vec<u8> = header
                .fields()
                .iter()
                .filter(|field| !field.is("Bcc"))
                .flat_map(|field| field.raw().to_vec())
                .collect();
            head("", &Header::read(&raw).unwrap_or_default().0, protected)
        };
        let shown = match (&self.held, self.verdict.is_withheld()) {
            (_, true) | (Held::Closed, _) => return None,
            (Held::Plain(source, header, body), false) => {
                let rest = source.size() - body;
                Shown::new(without_bcc(header, false), Body::Plain(source.clone(), *body), rest)
            }
            (Held::Sealed(armour, key, payload), false) => {
                let rest = payload.size - payload.body;
                Shown::new(without_bcc(&payload.header, true), sealed_body(armour, key, payload), rest)
            }
        };
        Some(shown)
    }

    /// `Sealpost-Verdict: NAME; how; notes`.
    fn verdict_field(&self) -> String {
        let mut text = self.verdict.name().to_owned();
        if self.sealed {
            text += "; sealed";
        } else if self.signer.is_some() {
            text += "; signed, not encrypted";
        } else {
            text += "; not encrypted";
        }
        for note in &self.notes {
            let note: String = note.chars().map(|c| if c.is_ascii_graphic() { c } else { ' ' }).collect();
            let cut = note.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
            text += "; ";
            text += cut.get(..MAX_NOTE_OCTETS).unwrap_or(&cut);
        }
        write::words_field(VERDICT_FIELD, text.split(' '))
    }

    /// What stands in the place of a withheld message.
    fn notice(&self, verdict: &str, see: &str) -> Shown {
        let mut head = Zeroizing::new(verdict.as_bytes().to_vec());
        let kept = ["From", "To", "Cc", "Date", "Message-ID"];
        for field in self.outer.iter().flat_map(Header::fields).filter(|f| kept.iter().any(|k| f.is(k))) {
            push(&mut head, field);
        }
        let subject = format!("[Withheld: {}]", self.verdict.name());
        head.extend_from_slice(write::text_field("Subject", &subject).as_bytes());
        head.extend_from_slice(
            b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
              Content-Transfer-Encoding: quoted-printable\r\n\r\n",
        );
        let notes = self.notes.iter().map(|note| format!("- {}\n", crate::mime::words::safe_text(note)));
        let text = [format!("Sealpost does not show this message: {}.\n\n", self.verdict.name())]
            .into_iter()
            .chain(notes)
            .chain([format!(
                "\nWho sent it and when stands above as the message itself says; nobody vouches for it.\n{see}\n"
            )])
            .chain((self.verdict == Verdict::CannotBeOpened).then(|| {
                "If you have just come to this device, your earlier keys may not have arrived yet.\n".to_owned()
            }))
            .collect::<String>();
        let body = Zeroizing::new(write::quoted_printable(&text).into_bytes());
        let rest = body.len() as u64;
        Shown::new(head, Body::Memory(Arc::new(body), 0), rest)
    }
}

/// The octets behind a payload's header.
fn sealed_body(armour: &Block, key: &FileKey, payload: &Payload) -> Body {
    match &payload.small {
        Some(octets) => Body::Memory(octets.clone(), payload.body),
        None => Body::Sealed(armour.clone(), key.clone(), payload.body),
    }
}

fn push(out: &mut Vec<u8>, field: &Field) {
    out.extend_from_slice(field.raw());
    // The last field of a message that is all header.
    if !out.ends_with(b"\n") {
        out.extend_from_slice(b"\r\n");
    }
}

/// The header as composed, the verdict on top, the empty line behind.
fn head(verdict: &str, header: &Header, protected: bool) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(verdict.as_bytes().to_vec());
    for field in header.fields().iter().filter(|field| !is_ours(field)) {
        if protected && field.is("HP-Outer") {
            continue;
        }
        if protected && field.is("Content-Type") {
            out.extend_from_slice(&protection::without_hp(field).unwrap_or_default());
        } else {
            push(&mut out, field);
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}
