//! Carries commands out: what is asked of the server before one that may not be carried out twice, and after the connection
//! was lost amid it (see [`super::fate`]).

use super::{
    Came, End, Result, Session,
    ends::{Lost, Server},
    fate::{After, Arrivals, Before, Fate, Status, arrivals, came_or_went, find, may_be_repeated, numbers},
    fetch::unasked,
    listing,
    results::saves,
    resume::REPEATS,
    status,
    view::{LISTED_MAX, Opened, Uids},
    wire::{Response, items, response},
};
use sealpost_proto::imap::{
    Body, ChangedSince, Command, FetchItem, MailboxName, Names, ObjectId, SearchKey, SearchReturn,
    SelectParams, SeqNumber, SequenceSet, StatusItem, Tag, parse,
};
use std::{io, num::NonZeroU32};
use tokio::io::{AsyncRead, AsyncWrite};

/// Messages of which something is held at once: what a command may name, and a crowd that came meanwhile.
pub(super) const HELD_MAX: usize = 100_000;
/// Octets of what is held of each: an EMAILID has 255 at most (RFC 8474 §4), in parentheses.
const VALUE_MAX: usize = 257;

/// Asks for the UIDs of the open mailbox.
pub(super) fn all_uids() -> Body {
    let returns = Some(vec![SearchReturn::All]);
    Body::Search { uid: true, returns, charset: None, key: SearchKey::All }
}

/// `uid:*`
pub(super) fn from(uid: u32) -> SequenceSet {
    let first = SeqNumber::Number(NonZeroU32::new(uid).unwrap_or(NonZeroU32::MIN));
    SequenceSet::Ranges(vec![(first, SeqNumber::Largest)])
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    /// Carries a command out. Where the connection to the server was lost amid it, what became of it is found out.
    pub(super) async fn carry_out(&mut self, octets: &[u8]) -> Result<()> {
        let mut command = match parse::command(octets, self.names) {
            Ok(command) => command,
            Err(bad) => {
                let tag = bad.tag.as_ref().map_or("*", Tag::as_str).to_owned();
                self.program.line(&format!("{tag} BAD {}", bad.error));
                return Ok(());
            }
        };
        let numbers = numbers(&command.body);
        let mut before = None;
        for _ in 0..REPEATS {
            let done = self.attempt(&mut command, &mut before).await;
            match done {
                Err(End::Lost(error)) if !self.amid && before != Some(Before::Unknown) => {
                    Box::pin(self.resume(&error, true, numbers)).await?;
                }
                // Else nobody knows what became of the command; the mail program looks anew.
                other => return other,
            }
        }
        Err(self.give_up())
    }

    async fn attempt(&mut self, command: &mut Command, before: &mut Option<Before>) -> Result<()> {
        match before {
            None => *before = Some(self.look_before(&command.body).await?),
            Some(before) => match self.look_after(command, before).await? {
                After::Done(reply) => {
                    self.program.done(&command.tag, &reply);
                    return Ok(());
                }
                After::Again => {}
                After::Unclear => return Err(self.give_up()),
            },
        }
        self.command(command.clone()).await?;
        if self.selected.is_some() && saves(&command.body) {
            self.learn_saved().await?;
        }
        Ok(())
    }

    /// Before a command is sent.
    pub(super) async fn look_before(&mut self, body: &Body) -> Result<Before> {
        Ok(match body {
            Body::Expunge { .. } => {
                self.learn_uids().await?;
                Before::Repeats
            }
            Body::Copy { remove: true, uid, set, .. } => {
                self.learn_uids().await?;
                self.uids().and_then(|listed| listed.named(set, *uid)).map_or(Before::Unknown, Before::Move)
            }
            // Copies of a message share its EMAILID with it, and nothing else does (RFC 8474 §5.1).
            Body::Copy { remove: false, mailbox, .. } if self.can("OBJECTID") => {
                Before::Copy(self.status_of(mailbox).await?)
            }
            Body::Store { unchanged_since: Some(_), .. } => Before::Store,
            Body::Create { mailbox, .. } | Body::Delete(mailbox) | Body::Rename { to: mailbox, .. } => {
                Before::Mailbox(self.status_of(mailbox).await?.map(|status| status.uid_validity))
            }
            Body::Unselect if self.selected.is_some() => Before::Leaves,
            body if may_be_repeated(body) => Before::Repeats,
            _ => Before::Unknown,
        })
    }

    /// On a new connection, after the last one was lost when the command had perhaps been sent. It may be another one by
    /// which the rest of it is carried out.
    pub(super) async fn look_after(&mut self, command: &mut Command, before: &Before) -> Result<After> {
        Ok(match (before, &command.body) {
            (Before::Repeats, _) => After::Again,
            (Before::Leaves, _) => After::Done("OK UNSELECT completed".to_owned()),
            (Before::Move(asked), Body::Copy { mailbox, .. }) => {
                let Some(left) = self.uids().map(|listed| listed.still(asked)) else {
                    return Ok(After::Unclear);
                };
                if let Some(set) = SequenceSet::from_numbers(&left) {
                    let mailbox = mailbox.clone();
                    command.body = Body::Copy { uid: true, remove: true, set, mailbox };
                }
                if left.is_empty() && !asked.is_empty() {
                    // COPYUID is told where it is known (RFC 6851 §4.3).
                    After::Done("OK MOVE completed".to_owned())
                } else {
                    After::Again
                }
            }
            (Before::Copy(was), Body::Copy { uid, set, mailbox, .. }) => {
                let now = self.status_of(mailbox).await?;
                match arrivals(was.as_ref(), now.as_ref()) {
                    Arrivals::None => After::Again,
                    Arrivals::From(first) => self.copied(*uid, set, mailbox, first).await?,
                    Arrivals::Unclear => After::Unclear,
                }
            }
            (Before::Store, Body::Store { uid, set, unchanged_since: Some(since), .. }) => {
                if self.has_changed(*uid, set, *since).await? { After::Unclear } else { After::Again }
            }
            (Before::Mailbox(was), body) => {
                let (mailbox, verb) = match body {
                    Body::Create { mailbox, .. } => (mailbox, "CREATE"),
                    Body::Rename { to, .. } => (to, "RENAME"),
                    Body::Delete(mailbox) => (mailbox, "DELETE"),
                    _ => return Ok(After::Unclear),
                };
                let now = self.status_of(mailbox).await?;
                if came_or_went(body, *was, now.as_ref().map(|now| now.uid_validity)) {
                    // RFC 8474 §4.1
                    let id = now.and_then(|now| now.id).filter(|_| verb == "CREATE");
                    let code = id.map(|id| format!("[MAILBOXID ({id})] ")).unwrap_or_default();
                    After::Done(format!("OK {code}{verb} completed"))
                } else {
                    After::Again
                }
            }
            _ => After::Unclear,
        })
    }

    /// Sends a command of the bridge's own at a time when the program may be told anything. Lines that `take` does not take
    /// are news. Whether it was carried out.
    pub(super) async fn ask(
        &mut self,
        body: Body,
        mut take: impl FnMut(&[u8]) -> bool + Send,
    ) -> Result<bool> {
        let (tag, mut before) = (self.server.tag(), Vec::new());
        let command = Command { tag: tag.clone(), body };
        let goes_on = self.server.command(&command, self.names, &mut before).await?;
        for line in &before {
            if !matches!(response(line), Response::Tagged(..)) {
                self.pass(line);
            }
        }
        if !goes_on {
            return Ok(false);
        }
        loop {
            let Came::Line(line) = self.server.next().await? else { return Err(unasked()) };
            match response(&line) {
                Response::Tagged(found, rest) if found == tag.as_str() => return Ok(rest.starts_with(b"OK")),
                Response::Bye => return Err(Lost(io::ErrorKind::ConnectionAborted.into()).into()),
                _ if take(&line) => {}
                _ => {
                    self.pass(&line);
                    self.program.relieve().await?;
                }
            }
        }
    }

    /// Asks for the UIDs of the open mailbox, unless they are known.
    pub(super) async fn learn_uids(&mut self) -> Result<()> {
        let Some(view) = self.selected.as_ref().map(|selected| &selected.view) else { return Ok(()) };
        if view.listed().is_some() || view.exists > LISTED_MAX {
            return Ok(());
        }
        let mut exists = view.exists;
        let mut found: Option<Uids> = None;
        self.ask(all_uids(), |line| {
            let told = response(line);
            match &told {
                Response::Esearch(set) => {
                    found = Uids::told(set, exists);
                    return true;
                }
                Response::Exists(now) => exists = *now,
                Response::Expunge(_) => exists = exists.saturating_sub(1),
                Response::Vanished(false, set) => exists = exists.saturating_sub(listing::count(set)),
                _ => {}
            }
            if let Some(uids) = &mut found {
                uids.hear(&told);
            }
            false
        })
        .await?;
        if let Some(selected) = &mut self.selected {
            selected.view.uids = found;
        }
        Ok(())
    }

    /// The UIDs of all messages of the open mailbox, where they are known.
    pub(super) fn uids(&self) -> Option<&Uids> {
        self.selected.as_ref()?.view.listed()
    }

    /// What a mailbox is now; `None` where it is none.
    pub(super) async fn status_of(&mut self, mailbox: &MailboxName) -> Result<Option<Status>> {
        let mut wanted = vec![StatusItem::UidNext, StatusItem::UidValidity];
        if self.can("OBJECTID") {
            wanted.push(StatusItem::MailboxId);
        }
        let (names, count) = (self.names, wanted.len());
        let mut told = None;
        let body = Body::Status { mailbox: mailbox.clone(), items: wanted };
        let done = self
            .ask(body, |line| {
                let Some((name, list)) = status::split(line) else { return false };
                if status::mailbox(name, names).as_deref() != Some(mailbox.as_str()) {
                    return false;
                }
                let Some(all) = items(list) else { return false };
                let number = |name: &str| listing::value(list, &all, name).and_then(listing::number);
                if let (Some(uid_validity), Some(uid_next)) = (number("UIDVALIDITY"), number("UIDNEXT")) {
                    let id = listing::value(list, &all, "MAILBOXID");
                    let id = id
                        .and_then(|id| std::str::from_utf8(id.strip_prefix(b"(")?.strip_suffix(b")")?).ok());
                    let id = id.and_then(ObjectId::new);
                    told = Some(Status { uid_validity, uid_next, id });
                }
                // With other items it is what NOTIFY tells.
                all.len() == count
            })
            .await?;
        Ok(told.filter(|_| done))
    }

    /// Whether the messages of a COPY are among those that came.
    async fn copied(
        &mut self,
        by_uid: bool,
        set: &SequenceSet,
        mailbox: &MailboxName,
        first: u32,
    ) -> Result<After> {
        let wanted = vec![FetchItem::Uid, FetchItem::EmailId];
        let mut sources = Vec::new();
        let body = Body::Fetch { uid: by_uid, set: set.clone(), items: wanted.clone(), changed_since: None };
        let done = self.ask(body, |line| take_value(&mut sources, line, "EMAILID")).await?;
        let Some((mut server, uid_validity)) = self.beside(mailbox).await? else {
            return Ok(After::Unclear);
        };
        let mut came = Vec::new();
        let body = Body::Fetch { uid: true, set: from(first), items: wanted, changed_since: None };
        let take = |line: &[u8]| {
            take_value(&mut came, line, "EMAILID");
        };
        let told = server.run(body, Names::Utf7, take).await?;
        server.leave().await;
        let held = sources.len() < HELD_MAX && came.len() < HELD_MAX;
        if !done || !told.starts_with(b"OK") || !held {
            return Ok(After::Unclear);
        }
        sources.sort_unstable();
        came.sort_unstable();
        // `*` is the last message, whichever that is.
        came.retain(|(uid, _)| *uid >= first);
        let (uids, ids): (Vec<u32>, Vec<Vec<u8>>) = sources.into_iter().unzip();
        Ok(match find(&ids, came) {
            Fate::NotDone => After::Again,
            Fate::Unclear => After::Unclear,
            Fate::Done(copies) => {
                let sets = (SequenceSet::in_order(&uids), SequenceSet::in_order(&copies));
                let code = match sets {
                    (Some(from), Some(to)) if self.can("UIDPLUS") => {
                        format!("[COPYUID {uid_validity} {from} {to}] ")
                    }
                    _ => String::new(),
                };
                After::Done(format!("OK {code}COPY completed"))
            }
        })
    }

    /// A connection of its own.
    pub(super) async fn another(&mut self) -> std::result::Result<Server, Lost> {
        let connection = self.account.client.mail_connection().await;
        Ok(Server::new(connection.map_err(|e| Lost(io::Error::other(e)))?))
    }

    /// A connection of its own that looks into a mailbox, and the mailbox's UIDVALIDITY.
    pub(super) async fn beside(&mut self, mailbox: &MailboxName) -> Result<Option<(Server, u32)>> {
        let mut server = self.another().await?;
        let mut opened = Opened::default();
        let params = SelectParams::default();
        let body = Body::Select { mailbox: mailbox.clone(), read_only: true, params };
        let done = server.run(body, Names::Utf7, |line| opened.hear(line)).await?;
        Ok(opened.uid_validity.filter(|_| done.starts_with(b"OK")).map(|validity| (server, validity)))
    }

    /// Whether any of these messages was changed, by whomever.
    async fn has_changed(&mut self, by_uid: bool, set: &SequenceSet, since: u64) -> Result<bool> {
        let mut changed = false;
        let changed_since = Some(ChangedSince { modseq: since, vanished: false });
        let body = Body::Fetch { uid: by_uid, set: set.clone(), items: vec![FetchItem::Uid], changed_since };
        let done = self
            .ask(body, |line| {
                let Response::Fetch(_, octets) = response(line) else { return false };
                changed = true;
                // With flags it is news.
                items(octets).is_some_and(|all| listing::value(octets, &all, "FLAGS").is_none())
            })
            .await?;
        Ok(changed || !done)
    }
}

/// Takes UID and another item from a FETCH response; `false` where it is none of what was asked for.
pub(super) fn take_value(list: &mut Vec<(u32, Vec<u8>)>, line: &[u8], name: &str) -> bool {
    let Response::Fetch(_, octets) = response(line) else { return false };
    let Some(all) = items(octets) else { return false };
    let value = |name: &str| -> Option<&[u8]> { listing::value(octets, &all, name) };
    let (Some(uid), Some(found)) = (value("UID").and_then(listing::number), value(name)) else {
        return false;
    };
    if list.len() < HELD_MAX && found.len() <= VALUE_MAX {
        list.push((uid, found.to_vec()));
    }
    value("FLAGS").is_none()
}
