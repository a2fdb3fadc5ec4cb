//! The store's part in a search: one walk through a mailbox, in one snapshot, in which flags and numbers decide first,
//! and sketches of what they leave open. What comes out of it are the few messages that matter.

use super::{
    convert::number,
    entries::{spell, spellings},
    listing::keywords_in,
    mailboxes::status,
    sketches,
};
use crate::{
    error::Result,
    mailbox::{
        Answers, ContentId, Flags, MailboxId, MailboxStatus, Message, Rest, Scan, Scanned, Sketched, UidRange,
    },
};
use rusqlite::{Connection, Row, params};
use sealpost_proto::time::Timestamp;
use std::collections::BTreeMap;

/// Messages whose sketches are read together: they lie near each other.
const RUN: usize = 1024;

/// See [`crate::mailbox::Mailboxes::scan`].
pub(super) fn scan(
    conn: &Connection,
    mailbox: MailboxId,
    ranges: &[UidRange],
    scan: &Scan,
) -> Result<Scanned> {
    let snapshot = conn.unchecked_transaction()?;
    if is_nowhere(&status(&snapshot, mailbox)?, scan) {
        return Ok(Scanned::default());
    }
    let spellings = if scan.keywords { spellings(&snapshot, mailbox)? } else { BTreeMap::default() };
    let rest = if scan.rest { ", internal_date, save_date, size, content_id" } else { "" };
    let mut statement = snapshot.prepare_cached(&format!(
        "SELECT uid, modseq, flags{rest} FROM entry
         WHERE mailbox_id = ?1 AND uid BETWEEN ?2 AND ?3 AND flags & ?4 = ?5 ORDER BY uid"
    ))?;
    let (mut scanned, mut open) = (Scanned::default(), Vec::new());
    for (low, high) in ranges {
        let mut keywords =
            if spellings.is_empty() { Vec::new() } else { keywords_in(&snapshot, mailbox, (*low, *high))? }
                .into_iter()
                .peekable();
        let mut rows = statement.query(params![mailbox.0, low, high, scan.flags.0, scan.set.0])?;
        while let Some(row) = rows.next()? {
            let mut message = message(row, scan.rest)?;
            while let Some((uid, word)) = keywords.next_if(|(uid, _)| *uid <= message.uid) {
                if uid == message.uid {
                    message.keywords.push(word);
                }
            }
            if !message.keywords.is_empty() {
                message.keywords = spell(message.keywords, &spellings);
            }
            match (scan.decide)(&message, Answers::default()) {
                Some(true) => scanned.found.push((message.uid, message.modseq)),
                Some(false) => {}
                None => open.push((message, Answers::default())),
            }
            if open.len() >= RUN {
                sift(&snapshot, scan, &mut open, &mut scanned)?;
            }
        }
    }
    sift(&snapshot, scan, &mut open, &mut scanned)?;
    scanned.found.sort_unstable();
    Ok(scanned)
}

/// Whether the mailbox's own counters say that no message has these flags: programs look for unseen mail where there is
/// none more often than where there is some.
fn is_nowhere(counted: &MailboxStatus, scan: &Scan) -> bool {
    let asks = |flag: Flags, set: bool| scan.flags.contains(flag) && scan.set.contains(flag) == set;
    asks(Flags::SEEN, false) && counted.unseen == 0
        || asks(Flags::SEEN, true) && counted.unseen == counted.messages
        || asks(Flags::DELETED, true) && counted.deleted == 0
        || asks(Flags::DELETED, false) && counted.deleted == counted.messages
}

/// Decides of `open`, and empties it, as far as sketches tell.
fn sift(
    snapshot: &Connection,
    scan: &Scan,
    open: &mut Vec<(Message, Answers)>,
    scanned: &mut Scanned,
) -> Result<()> {
    for which in scan.sketches {
        let content = |(message, _): &(Message, _)| message.rest.map(|rest: Rest| rest.content);
        let contents: Vec<ContentId> = open.iter().filter_map(content).collect();
        if contents.len() < open.len() {
            break;
        }
        let mut judged = sketches::judge(snapshot, *which, &contents, &*scan.judge)?.into_iter();
        open.retain_mut(|(message, answers)| {
            match which {
                Sketched::Header => answers.header = judged.next(),
                Sketched::Text => answers.text = judged.next(),
            }
            let decided = (scan.decide)(message, *answers);
            if decided == Some(true) {
                scanned.found.push((message.uid, message.modseq));
            }
            decided.is_none()
        });
    }
    scanned.open.append(open);
    Ok(())
}

fn message(row: &Row<'_>, rest: bool) -> Result<Message> {
    let rest = if rest {
        Some(Rest {
            internal_date: Timestamp(row.get(3)?),
            save_date: Timestamp(row.get(4)?),
            size: number(row.get(5)?, "entry")?,
            content: ContentId(row.get(6)?),
        })
    } else {
        None
    };
    Ok(Message {
        uid: row.get(0)?,
        modseq: number(row.get(1)?, "entry")?,
        flags: Flags(row.get(2)?),
        keywords: Vec::new(),
        rest,
    })
}
