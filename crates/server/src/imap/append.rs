//! APPEND, MULTIAPPEND (RFC 3502) and REPLACE (RFC 8508): messages go from the socket to spools, byte for byte, are
//! stored in one transaction, and are answered when they are durable.

use super::{
    flags::split_flags,
    index::Indexer,
    quota,
    select::read_only,
    session::{Done, Event, LITERAL_TIMEOUT, Refusal, Session},
};
use crate::{limits::transfer_deadline, quota::Held};
use sealpost_proto::imap::{
    AppendMessage, AppendStart, Condition, LiteralHead, MailboxName, Received, SeqNumber, SequenceSet,
    parse::{self, AppendNext},
    response::{self, Code},
};
use sealpost_store::{
    StoreError,
    mailbox::{Copied, Flags, MailboxId, NewMessage, Sketch, Uid},
};
use std::io;
use tokio::time::Instant;

/// Most messages in one command: one transaction stores them while others wait.
const MESSAGES_MAX: usize = 1000;
/// Memory of one command's messages and their indexes together, in octets; what does not fit goes to files.
const MEMORY_MAX: usize = 16 * 1024 * 1024;
/// Most files that one command's messages lie in: each is an open descriptor.
const FILES_MAX: usize = 64;

/// What the account may hold, and what goes of it as this comes: one who replaces a message needs no room for both.
struct Room {
    held: Held,
    octets: u64,
    messages: u64,
}

impl Room {
    fn takes(&self, octets: u64, messages: u64) -> bool {
        self.held.has_room(octets.saturating_sub(self.octets), messages.saturating_sub(self.messages))
    }
}

/// The messages of one command so far.
struct Batch {
    messages: Vec<NewMessage>,
    /// Messages that the command may have.
    most: usize,
    octets: u64,
    /// Where the account has a limit.
    room: Option<Room>,
    memory: usize,
    files: usize,
}

impl Batch {
    fn new(most: usize, room: Option<Room>) -> Self {
        Self { messages: Vec::new(), most, octets: 0, room, memory: MEMORY_MAX, files: 0 }
    }

    /// Whether there is room for a message of `octets`, of `limit` in all.
    fn check(&self, octets: u64, limit: u64) -> Result<(), Refusal> {
        if octets > limit {
            return Err(Refusal::no(Code::TooBig, format!("messages may have {limit} octets")));
        }
        if octets == 0 && !self.messages.is_empty() {
            // A lone empty message is stored as any other; behind others it can only be a mistake or a way to call
            // the command off, and other servers refuse it.
            return Err(Refusal::no(
                Code::Cannot,
                "an empty message calls this APPEND off; nothing is stored",
            ));
        }
        let messages = self.messages.len() as u64 + 1;
        if self.room.as_ref().is_some_and(|room| !room.takes(self.octets.saturating_add(octets), messages)) {
            return Err(quota::over());
        }
        if self.octets.saturating_add(octets) > limit
            || self.messages.len() >= self.most
            || self.files >= FILES_MAX
        {
            return Err(Refusal::no(
                Code::Limit,
                "this is too much for one APPEND; send some of it in another",
            ));
        }
        Ok(())
    }

    fn push(&mut self, message: NewMessage) {
        let inline = message.body.as_slice().map_or(0, <[u8]>::len);
        self.files += usize::from(message.body.as_slice().is_none());
        self.octets += message.body.len();
        self.memory = self.memory.saturating_sub(inline + message.index.len() + message.sketch.len());
        self.messages.push(message);
    }
}

impl Session {
    /// The command up to the announcement of its first literal has come; what is wrong is said before the octets
    /// where the client waits for `+`.
    pub(super) async fn append(&mut self, start: AppendStart, head: LiteralHead) -> Result<Done, Refusal> {
        if let Some((uid, number)) = start.replaces {
            return self.replace(start, uid, number, head).await;
        }
        let mailbox = match self.append_target(&start.mailbox).await {
            Ok(mailbox) => mailbox,
            Err(refusal) => return Err(self.refuse_append(head, refusal).await),
        };
        let messages = self.receive_messages(start.message, head, MESSAGES_MAX, None).await?;
        let copied = self.ctx.store.append(mailbox, messages).await?;
        self.put(mailbox, &copied);
        // What a client stored itself it is told at once (RFC 9051 §6.3.12).
        self.expect_changes();
        self.updates(true).await?;
        Ok(Done { code: append_code(&copied), text: "APPEND done" })
    }

    /// REPLACE and UID REPLACE: the message takes the place of another in one step.
    async fn replace(
        &mut self,
        start: AppendStart,
        uid: bool,
        number: SeqNumber,
        head: LiteralHead,
    ) -> Result<Done, Refusal> {
        let checked = match self.replaced(uid, number).await {
            Ok(replaced) => self.append_target(&start.mailbox).await.map(|to| (replaced, to)),
            Err(refusal) => Err(refusal),
        };
        let ((from, replaced), to) = match checked {
            Ok(checked) => checked,
            Err(refusal) => return Err(self.refuse_append(head, refusal).await),
        };
        let mut messages = self.receive_messages(start.message, head, 1, Some((from, replaced))).await?;
        let Some(message) = messages.pop() else { return Err(Refusal::Bad("expected a message".to_owned())) };
        let copied = match self.ctx.store.replace(from, replaced, to, message).await {
            Err(StoreError::Gone("message")) => return Err(gone()),
            copied => copied?,
        };
        // The new UID comes before the EXPUNGE (RFC 8508 §3.3).
        if let Some(code) = append_code(&copied) {
            response::status(&mut self.out, None, Condition::Ok, Some(&code), "replaced");
        }
        self.put(to, &copied);
        self.remove(&[replaced]);
        self.expect_changes();
        self.updates(true).await?;
        Ok(Done { code: None, text: "REPLACE done" })
    }

    /// The selected mailbox, and the UID of the message to be replaced in it.
    async fn replaced(&mut self, uid: bool, number: SeqNumber) -> Result<(MailboxId, Uid), Refusal> {
        let view = self.numbered().await?;
        if view.read_only {
            return Err(read_only());
        }
        let pick = view.resolve(&SequenceSet::Ranges(vec![(number, number)]), uid)?;
        let found = view.list(&pick).first().copied();
        Ok((view.id, found.ok_or_else(gone)?))
    }

    async fn append_target(&self, name: &MailboxName) -> Result<MailboxId, Refusal> {
        let account = self.account()?;
        self.find(account, name).await.map_err(|refusal| match refusal {
            // RFC 9051 §6.3.12.
            Refusal::No(Some(Code::NonExistent), text) => Refusal::no(Code::TryCreate, text),
            other => other,
        })
    }

    /// All messages of the command, of which the first one's literal begins; a refusal when the command is over.
    async fn receive_messages(
        &mut self,
        first: AppendMessage,
        head: LiteralHead,
        most: usize,
        replaced: Option<(MailboxId, Uid)>,
    ) -> Result<Vec<NewMessage>, Refusal> {
        let mut batch = match self.room(replaced).await {
            Ok(room) => Batch::new(most, room),
            Err(refusal) => return Err(self.refuse_append(head, refusal).await),
        };
        let mut next = Some((first, head));
        while let Some((message, head)) = next {
            let checked = self
                .check_utf8(&message)
                .and_then(|()| batch.check(head.len, self.ctx.config.limits.message_size))
                .and_then(|()| split_flags(&message.flags));
            let (bits, keywords) = match checked {
                Ok(checked) => checked,
                Err(refusal) => return Err(self.refuse_append(head, refusal).await),
            };
            match self.receive_message(&message, head, (bits, keywords), batch.memory).await? {
                Ok(message) => batch.push(message),
                Err(fault) => return Err(self.drain_append(fault).await),
            }
            next = self.append_next(message.utf8).await?;
        }
        Ok(batch.messages)
    }

    async fn room(&self, replaced: Option<(MailboxId, Uid)>) -> Result<Option<Room>, Refusal> {
        let Some(held) = self.held().await? else { return Ok(None) };
        let mut room = Room { held, octets: 0, messages: 0 };
        if let Some((mailbox, uid)) = replaced {
            room.octets = self.ctx.store.octets_of(mailbox, Some(&[uid])).await?;
            room.messages = 1;
        }
        Ok(Some(room))
    }

    /// `UTF8 (…)` is for sessions that have said so (RFC 6855 §4). The octets are those of any other message: headers in
    /// UTF-8 come and go as they are, in both forms (RFC 9755 has done away with this one), and to all sessions, for a
    /// signature covers them (profile §6).
    fn check_utf8(&self, message: &AppendMessage) -> Result<(), Refusal> {
        if message.utf8 && !self.enabled.utf8 {
            return Err(Refusal::Bad("ENABLE UTF8=ACCEPT comes before a message in UTF8".to_owned()));
        }
        Ok(())
    }

    /// One message. The inner error is a fault of this message; what follows it is still to be read.
    async fn receive_message(
        &mut self,
        message: &AppendMessage,
        head: LiteralHead,
        (flags, keywords): (Flags, Vec<String>),
        memory: usize,
    ) -> Result<Result<NewMessage, Refusal>, Refusal> {
        drop(self.receiver.pass_literal());
        if head.sync {
            self.out.extend_from_slice(b"+ go ahead\r\n");
        }
        self.flush().await?;
        let mut spool = self.ctx.store.spool().with_memory(memory);
        let mut indexer = Indexer::default();
        let since = Instant::now();
        let mut left = head.len;
        // A fault is said when all has come: what follows must not be read as commands.
        let mut fault: Option<Refusal> = None;
        while left > 0 {
            let chunk = self.literal_octets(left, transfer_deadline(since, head.len - left)).await?;
            left -= chunk.len() as u64;
            if fault.is_some() {
                continue;
            }
            if !head.binary && memchr::memchr(0, &chunk).is_some() {
                fault = Some(Refusal::Bad("NUL is allowed in a literal8 (~{…}) only".to_owned()));
                continue;
            }
            indexer.push(&chunk);
            if let Err(error) = spool.write(&chunk) {
                fault = Some(StoreError::from(error).into());
            }
        }
        if let Some(fault) = fault {
            return Ok(Err(fault));
        }
        let body = match spool.finish() {
            Ok(body) => body,
            Err(error) => return Ok(Err(StoreError::from(error).into())),
        };
        let (mut index, mut sketch) = match indexer.finish(&body).await {
            Ok(described) => described,
            Err(error) => return Ok(Err(StoreError::from(error).into())),
        };
        if index.len() + sketch.len() > memory {
            // As for one that is too large by itself: the message is parsed when it is asked for.
            (index, sketch) = (Vec::new(), Sketch::default());
        }
        let internal_date = message.date.unwrap_or_else(|| self.ctx.clock.now());
        Ok(Ok(NewMessage { body, flags, keywords, internal_date, index, sketch }))
    }

    /// What follows a message: the next one, or the end of the command. Errors when the command is over.
    async fn append_next(&mut self, utf8: bool) -> Result<Option<(AppendMessage, LiteralHead)>, Refusal> {
        let (line, head) = match self.append_line().await? {
            AppendLine::End(line) => (line, None),
            AppendLine::Literal(head) => (self.receiver.so_far().to_vec(), Some(head)),
        };
        match (parse::append_next(&line, utf8), head) {
            (Ok(AppendNext::End), None) => Ok(None),
            (Ok(AppendNext::Message(message)), Some(head)) => Ok(Some((message, head))),
            (parsed, head) => {
                let why = parsed.err().map_or_else(|| "expected a message".to_owned(), |e| e.to_string());
                let refusal = Refusal::Bad(why);
                Err(match head {
                    Some(head) => self.refuse_append(head, refusal).await,
                    None => refusal,
                })
            }
        }
    }

    /// Ends a command in a refusal, at the announcement of a literal. Octets that come in any case (LITERAL+) are read
    /// and dropped with all that follows, so that the session goes on; beyond the size of any message it ends
    /// (RFC 7888 §4). Gives what is to be answered.
    pub(super) async fn refuse_append(&mut self, head: LiteralHead, refusal: Refusal) -> Refusal {
        let mut dropped = 0_u64;
        let mut head = head;
        loop {
            drop(self.receiver.pass_literal());
            if head.sync {
                return refusal;
            }
            dropped = dropped.saturating_add(head.len);
            if dropped > self.ctx.config.limits.message_size {
                return Refusal::Bye("this is more than any message taken here".to_owned());
            }
            let since = Instant::now();
            let mut left = head.len;
            while left > 0 {
                match self.literal_octets(left, transfer_deadline(since, head.len - left)).await {
                    Ok(octets) => left -= octets.len() as u64,
                    Err(refusal) => return refusal,
                }
            }
            match self.append_line().await {
                Ok(AppendLine::End(_)) => return refusal,
                Ok(AppendLine::Literal(next)) => head = next,
                Err(other) => return other,
            }
        }
    }

    /// The same behind a literal.
    async fn drain_append(&mut self, refusal: Refusal) -> Refusal {
        match self.append_line().await {
            Ok(AppendLine::End(_)) => refusal,
            Ok(AppendLine::Literal(head)) => self.refuse_append(head, refusal).await,
            Err(other) => other,
        }
    }

    /// Some of the `left` octets of a literal, which have to come until `deadline`.
    async fn literal_octets(&mut self, left: u64, deadline: Instant) -> Result<bytes::BytesMut, Refusal> {
        loop {
            if let Some(conn) = &mut self.conn
                && !conn.input.is_empty()
            {
                let n = usize::try_from(left).unwrap_or(usize::MAX).min(conn.input.len());
                return Ok(conn.input.split_to(n));
            }
            let silence = LITERAL_TIMEOUT.min(deadline.saturating_duration_since(Instant::now()));
            match self.wait(silence).await? {
                Event::Input => {}
                Event::End => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                event => {
                    return Err(Refusal::Bye(event.bye().unwrap_or("the message did not come").to_owned()));
                }
            }
        }
    }

    /// The line behind a literal, up to its end or the next literal.
    async fn append_line(&mut self) -> Result<AppendLine, Refusal> {
        loop {
            let Some(conn) = &mut self.conn else { return Err(Refusal::Bye("no connection".to_owned())) };
            match self.receiver.receive(&mut conn.input) {
                Received::More => match self.wait(LITERAL_TIMEOUT).await? {
                    Event::Input => {}
                    Event::End => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                    event => {
                        return Err(Refusal::Bye(
                            event.bye().unwrap_or("the command did not end").to_owned(),
                        ));
                    }
                },
                Received::Whole => return Ok(AppendLine::End(self.receiver.take().to_vec())),
                Received::TooLong => {
                    drop(self.receiver.take());
                    return Err(Refusal::Bad("expected the end of the line behind the message".to_owned()));
                }
                Received::Endless => return Err(Refusal::endless()),
                Received::Literal(head) => return Ok(AppendLine::Literal(head)),
            }
        }
    }
}

/// APPENDUID (RFC 4315).
fn append_code(copied: &Copied) -> Option<Code> {
    let uids: Vec<Uid> = copied.uids.iter().map(|(_, uid)| *uid).collect();
    SequenceSet::from_numbers(&uids).map(|uids| Code::AppendUid(copied.uid_validity, uids.to_string()))
}

/// For REPLACE of a message that is not there.
fn gone() -> Refusal {
    Refusal::no(Code::NonExistent, "the message to be replaced is not there; nothing was stored")
}

/// What stands behind a literal.
enum AppendLine {
    /// The end of the command.
    End(Vec<u8>),
    /// Another literal begins: its announcement is in the receiver.
    Literal(LiteralHead),
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use sealpost_proto::time::Timestamp;
    use sealpost_store::{spool::Body, spool::Spool};

    fn message(body: Body) -> NewMessage {
        let (flags, keywords, index) = (Flags::default(), Vec::new(), vec![0; 10]);
        NewMessage { body, flags, keywords, internal_date: Timestamp(0), index, sketch: Sketch::default() }
    }

    fn refused(batch: &Batch, octets: u64, limit: u64) -> Option<Code> {
        match batch.check(octets, limit) {
            Err(Refusal::No(code, _)) => code,
            _ => None,
        }
    }

    #[test]
    fn limits_one_below_and_one_above() {
        let mut batch = Batch::new(MESSAGES_MAX, None);
        assert_eq!(refused(&batch, 100, 100), None);
        assert_eq!(refused(&batch, 101, 100), Some(Code::TooBig));
        assert_eq!(refused(&batch, 0, 100), None);
        batch.push(message(Body::from_bytes(vec![b'x'; 40])));
        assert_eq!(batch.memory, MEMORY_MAX - 50);
        assert_eq!(refused(&batch, 60, 100), None);
        assert_eq!(refused(&batch, 61, 100), Some(Code::Limit));
        assert_eq!(refused(&batch, 0, 100), Some(Code::Cannot));
        while batch.messages.len() < MESSAGES_MAX {
            assert_eq!(refused(&batch, 1, u64::MAX), None);
            batch.push(message(Body::from_bytes("x")));
        }
        assert_eq!(refused(&batch, 1, u64::MAX), Some(Code::Limit));
    }

    #[test]
    fn files_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let mut batch = Batch::new(MESSAGES_MAX, None);
        for _ in 0..FILES_MAX {
            assert_eq!(refused(&batch, 1, 1000), None);
            let mut spool = Spool::new(dir.path()).with_memory(0);
            spool.write(b"x").unwrap();
            batch.push(message(spool.finish().unwrap()));
        }
        assert_eq!(refused(&batch, 1, 1000), Some(Code::Limit));
    }
}
