//! NOTIFY (RFC 5465) goes to the server, but for two things:
//!
//! - What is to be told of the content of new messages (`MessageNew (ENVELOPE …)`) is told by the bridge. The server is
//!   asked for their UIDs, with a mark by which they are known from other FETCH responses; where the bridge is at rest, it
//!   fetches the messages as if it had been asked for them.
//! - `selected` lets messages go at any moment, and with them numbers shift that the bridge is about to use. The server is
//!   asked for `selected-delayed`, and where the bridge is at rest, it waits in IDLE, which lets them shift.
//!
//! Another connection is asked for the same, and with STATUS (§3.1), so that the program hears what happened meanwhile in
//! other mailboxes. What came to the open one is asked for; mailboxes and subscriptions that came or went are told as LIST
//! tells them then and told them before (see [`super::known`]). Annotations that changed meanwhile nobody would hear of:
//! sessions that want to end with their connection.

use super::{
    Result, Session,
    fetch::{Asked, Failure},
    idle::Idle,
    known::{self, Known},
    listing::{self, Listed},
    parts,
    wire::{Item, Response, items, response},
};
use sealpost_proto::imap::{
    Body, Command, Event, FetchItem, MailboxFilter, Notify, Section, SectionText, SeqNumber, SequenceSet, Tag,
};
use std::num::NonZeroU32;
use tokio::io::{AsyncRead, AsyncWrite};

/// A field that no message has and no program asks for.
const MARK: &str = "X-SEALPOST-BRIDGE-ARRIVAL";

/// Messages of which something is to be told as soon as the bridge is at rest. Of more the program hears their number, and
/// can ask.
const ARRIVED_MAX: usize = 10_000;

/// What the mail program wants to hear of the selected mailbox, as far as the server does not tell it.
#[derive(Default)]
pub(super) struct Notified {
    /// Messages may go at any moment.
    shifts: bool,
    /// What is told of new messages; empty where the server tells it.
    items: Vec<FetchItem>,
    /// New messages of which nothing was told yet.
    arrived: Vec<Listed>,
    /// With MODSEQ: the server adds it where CONDSTORE is enabled (RFC 7162 §3.1).
    with_modseq: bool,
    /// What the server was asked for.
    asked: Option<Notify>,
    /// The first message that came while there was no connection.
    grown: Option<u32>,
    /// Mailboxes, where it is to be told that they come and go.
    known: Option<Known>,
}

impl Notified {
    /// The mailbox is left.
    pub(super) fn forget(&mut self) {
        self.arrived.clear();
        self.grown = None;
    }

    /// Messages from this one on came while there was no connection.
    pub(super) fn grown(&mut self, first: u32) {
        self.grown = Some(self.grown.map_or(first, |earlier| earlier.min(first)));
    }

    fn events(&self) -> impl Iterator<Item = (&MailboxFilter, &Event)> {
        let groups = match &self.asked {
            Some(Notify::Set { groups, .. }) => &groups[..],
            _ => &[],
        };
        groups.iter().flat_map(|group| group.events.iter().map(|event| (&group.filter, event)))
    }

    /// Whether another connection can take over.
    pub(super) fn goes_on(&self) -> bool {
        let annotations =
            |event: &Event| matches!(event, Event::MailboxMetadataChange | Event::ServerMetadataChange);
        !self.events().any(|(_, event)| annotations(event)) && self.known.as_ref().is_none_or(Known::is_whole)
    }

    /// Whether mailboxes that come and go are to be told.
    fn wants_mailboxes(&self) -> bool {
        self.events().any(|(_, event)| matches!(event, Event::MailboxName | Event::SubscriptionChange))
    }

    /// What is to be told of new messages in the open mailbox, as the server was asked for it.
    fn of_new(&self) -> Option<Vec<FetchItem>> {
        self.events().find_map(|(filter, event)| match event {
            Event::MessageNew(items) if filter.is_selected() && !items.is_empty() => Some(items.clone()),
            _ => None,
        })
    }

    /// Takes note of a response for the mail program; `true` where it is for the bridge alone.
    pub(super) fn take(&mut self, line: &[u8]) -> bool {
        if !self.arrived.is_empty() {
            listing::shift(&mut self.arrived, line);
        }
        if let Some(known) = &mut self.known {
            known.hear(line);
        }
        if self.items.is_empty() {
            return false;
        }
        let Response::Fetch(number, octets) = response(line) else { return false };
        let Some(all) = items(octets) else { return false };
        let is_mark =
            |item: &Item| memchr::memmem::find(&octets[item.name.clone()], MARK.as_bytes()).is_some();
        let uid = listing::value(octets, &all, "UID").and_then(listing::number);
        let Some(uid) = uid.filter(|_| all.iter().any(is_mark)) else { return false };
        self.with_modseq = listing::value(octets, &all, "MODSEQ").is_some();
        if self.arrived.len() < ARRIVED_MAX {
            self.arrived.push(Listed { number, uid });
        }
        true
    }
}

/// Messages by number; `None` where there are none.
fn range(first: u32, last: u32) -> Option<SequenceSet> {
    let number = |n| NonZeroU32::new(n).map(SeqNumber::Number);
    let ends = (number(first)?, number(last)?);
    (first <= last).then(|| SequenceSet::Ranges(vec![ends]))
}

/// What the server is asked for, and what the bridge is to do.
fn split(notify: Notify) -> (Notify, Notified) {
    let mut own = Notified::default();
    let Notify::Set { status, mut groups } = notify else { return (notify, own) };
    for group in groups.iter_mut().filter(|group| group.filter.is_selected()) {
        if group.filter == MailboxFilter::Selected && !group.events.is_empty() {
            own.shifts = true;
            group.filter = MailboxFilter::SelectedDelayed;
        }
        for event in &mut group.events {
            if let Event::MessageNew(wanted) = event
                && wanted.iter().any(parts::is_content)
            {
                let text = SectionText::HeaderFields { names: vec![MARK.to_owned()], not: false };
                let section = Section { part: Vec::new(), text: Some(text) };
                let mark = FetchItem::Section { section, peek: true, partial: None };
                own.items = std::mem::replace(wanted, vec![FetchItem::Uid, mark]);
            }
        }
    }
    (Notify::Set { status, groups }, own)
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) async fn notify(&mut self, tag: &Tag, notify: Notify) -> Result<()> {
        let (asked, mut own) = split(notify);
        own.asked = Some(asked.clone());
        if own.wants_mailboxes() {
            let mut known = Known::default();
            self.ask(known::list(), |line| known.hear(line)).await?;
            own.known = Some(known);
        }
        let before = std::mem::replace(&mut self.notified, own);
        let done = self.forward(&Command { tag: tag.clone(), body: Body::Notify(asked) }).await;
        if !done.as_ref().is_ok_and(|rest| rest.starts_with(b"OK")) {
            // What was asked for before goes on.
            self.notified = before;
        }
        done.map(drop)
    }

    /// Has a new connection tell what the last one did, and tells what happened meanwhile; `false` where it does not.
    pub(super) async fn notify_again(&mut self) -> Result<bool> {
        let Some(asked) = self.notified.asked.clone() else { return Ok(true) };
        let again = match asked {
            Notify::Set { groups, .. } => Notify::Set { status: true, groups },
            Notify::None => Notify::None,
        };
        if !self.ask(Body::Notify(again), |_| false).await? {
            return Ok(false);
        }
        if let Some(before) = self.notified.known.take() {
            let mut now = Known::default();
            if !self.ask(known::list(), |line| now.hear(line)).await? || !now.is_whole() {
                return Ok(false);
            }
            for line in before.changes(&now) {
                self.program.say(&line);
            }
            self.notified.known = Some(now);
        }
        let exists = self.selected.as_ref().map_or(0, |selected| selected.view.exists);
        if let (Some(mut items), Some(first)) = (self.notified.of_new(), self.notified.grown)
            && let Some(set) = range(first, exists)
        {
            if self.tells_modseq() && !items.contains(&FetchItem::ModSeq) {
                items.push(FetchItem::ModSeq);
            }
            self.ask(Body::Fetch { uid: false, set, items, changed_since: None }, |_| false).await?;
        }
        self.notified.grown = None;
        Ok(true)
    }

    /// Tells what was asked for of messages that came. Between commands.
    pub(super) async fn tell_arrivals(&mut self) -> Result<()> {
        while !self.notified.arrived.is_empty() {
            let arrived = std::mem::take(&mut self.notified.arrived);
            let wanted = self.notified.items.clone();
            let with_modseq = self.notified.with_modseq;
            let tag = self.server.tag();
            let asked = Asked { tag: &tag, by_uid: true, items: &wanted };
            match self.fetch_batch(&asked, &arrived, &[], with_modseq).await {
                Err(Failure::Session(end)) => return Err(end),
                // Their numbers were told: the program can ask for the rest.
                Err(Failure::Command(error)) => tracing::warn!("{error}"),
                Ok(_) | Err(Failure::Refused(_)) => {}
            }
        }
        Ok(self.program.flush().await?)
    }

    /// Where messages may go at any moment: waits in IDLE until the mail program says something. `false` where there is
    /// nothing to wait for so.
    pub(super) async fn rest_in_idle(&mut self) -> Result<bool> {
        if !self.notified.shifts || self.selected.is_none() {
            return Ok(false);
        }
        Ok(match self.listen(|program| !program.is_empty()).await? {
            Idle::Ended(_) => true,
            Idle::Refused(_) => false,
        })
    }

    /// Whether there is something to tell of messages that came.
    pub(super) fn has_arrivals(&self) -> bool {
        !self.notified.arrived.is_empty()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use sealpost_proto::imap::{Names, encode, parse};

    fn split_text(text: &str) -> (String, Notified) {
        let Body::Notify(notify) =
            parse::command(format!("a NOTIFY {text}\r\n").as_bytes(), Names::Utf7).unwrap().body
        else {
            panic!("{text}")
        };
        let (asked, own) = split(notify);
        let command = Command { tag: Tag::new("a").unwrap(), body: Body::Notify(asked) };
        let written: Vec<u8> =
            encode::command(&command, Names::Utf7).iter().flat_map(|piece| piece.bytes.to_vec()).collect();
        (String::from_utf8(written).unwrap().trim_start_matches("a NOTIFY ").trim_end().to_owned(), own)
    }

    #[test]
    fn the_server_is_asked_for_what_it_can_tell() {
        for (text, asked, shifts, told) in [
            ("NONE", "NONE", false, 0),
            (
                "SET STATUS (personal (MessageNew MessageExpunge))",
                "SET STATUS (personal (MessageNew MessageExpunge))",
                false,
                0,
            ),
            (
                "SET (selected (MessageNew (UID FLAGS) MessageExpunge)) (inboxes NONE)",
                "SET (selected-delayed (MessageNew (UID FLAGS) MessageExpunge)) (inboxes NONE)",
                true,
                0,
            ),
            (
                "SET (selected-delayed (MessageNew (FLAGS ENVELOPE) MessageExpunge FlagChange))",
                "SET (selected-delayed (MessageNew (UID \
                 BODY.PEEK[HEADER.FIELDS (X-SEALPOST-BRIDGE-ARRIVAL)]) MessageExpunge FlagChange))",
                false,
                2,
            ),
        ] {
            let (written, own) = split_text(text);
            assert_eq!((written.as_str(), own.shifts, own.items.len()), (asked, shifts, told));
        }
    }

    #[test]
    fn arrivals_are_known_and_keep_their_numbers() {
        let (_, mut own) = split_text("SET (selected (MessageNew (ENVELOPE) MessageExpunge))");
        let arrival = "(UID 30 BODY[HEADER.FIELDS (X-SEALPOST-BRIDGE-ARRIVAL)] {2}\r\n\r\n MODSEQ (9))\r\n";
        for (line, taken) in [
            (format!("* 7 FETCH {arrival}"), true),
            ("* 7 FETCH (UID 30)\r\n".to_owned(), false),
            ("* 7 FETCH (UID 30 FLAGS (\\Seen))\r\n".to_owned(), false),
            ("* 3 EXPUNGE\r\n".to_owned(), false),
            ("* VANISHED 9\r\n".to_owned(), false),
        ] {
            assert_eq!(own.take(line.as_bytes()), taken, "{line}");
        }
        assert_eq!(own.arrived, [Listed { number: 5, uid: 30 }]);
        assert!(own.with_modseq);
        own.take(b"* 5 EXPUNGE\r\n");
        assert!(own.arrived.is_empty());
        for number in 1..=ARRIVED_MAX + 1 {
            assert!(own.take(format!("* {number} FETCH {arrival}").as_bytes()));
            assert_eq!(own.arrived.len(), number.min(ARRIVED_MAX));
        }
        // Where nobody asked, it is passed on.
        assert!(!Notified::default().take(format!("* 7 FETCH {arrival}").as_bytes()));
    }
}
