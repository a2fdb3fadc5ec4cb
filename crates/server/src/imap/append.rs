//! APPEND: the message goes from the socket to the spool, byte for byte, and is answered when it is durable.

use super::{
    flags::split_flags,
    index::Index,
    session::{Done, Event, LITERAL_TIMEOUT, Refusal, Session},
};
use crate::limits::transfer_deadline;
use sealpost_proto::imap::{AppendStart, LiteralHead, Received, SequenceSet, mime::Scanner, response::Code};
use sealpost_store::{StoreError, mailbox::NewMessage};
use std::io;
use tokio::time::Instant;

impl Session {
    /// The command up to the announcement of its literal has come; what is wrong is said before the octets where
    /// the client waits for `+`.
    pub(super) async fn append(&mut self, start: AppendStart, head: LiteralHead) -> Result<Done, Refusal> {
        let checked = self.check_append(&start, head).await;
        let (mailbox, bits, keywords) = match checked {
            Ok(checked) => checked,
            Err(refusal) => return self.refuse_append(head, refusal).await,
        };
        drop(self.receiver.pass_literal());
        if head.sync {
            self.out.extend_from_slice(b"+ go ahead\r\n");
        }
        self.flush().await?;
        let mut spool = self.ctx.store.spool();
        let mut scanner = Scanner::new();
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
            scanner.push(&chunk);
            if let Err(error) = spool.write(&chunk) {
                fault = Some(StoreError::from(error).into());
            }
        }
        self.append_end().await?;
        if let Some(fault) = fault {
            return Err(fault);
        }
        let body = spool.finish().map_err(StoreError::from)?;
        let message = NewMessage {
            body,
            flags: bits,
            keywords,
            internal_date: start.message.date.unwrap_or_else(|| self.ctx.clock.now()),
            index: Index::of(&scanner.finish()).stored(),
        };
        let copied = self.ctx.store.append(mailbox, vec![message]).await?;
        let uids: Vec<u32> = copied.uids.iter().map(|(_, uid)| *uid).collect();
        let code = SequenceSet::from_numbers(&uids)
            .map(|uids| Code::AppendUid(copied.uid_validity, uids.to_string()));
        // What a client stored itself it is told at once (RFC 9051 §6.3.12).
        self.expect_changes();
        self.updates(true).await;
        Ok(Done { code, text: "APPEND done" })
    }

    async fn check_append(
        &self,
        start: &AppendStart,
        head: LiteralHead,
    ) -> Result<(sealpost_store::mailbox::MailboxId, sealpost_store::mailbox::Flags, Vec<String>), Refusal>
    {
        let account = self.account()?;
        let limit = self.ctx.config.limits.message_size;
        if head.len > limit {
            return Err(Refusal::no(Code::TooBig, format!("messages may have {limit} octets")));
        }
        let (bits, keywords) = split_flags(&start.message.flags)?;
        let mailbox = self.find(account, &start.mailbox).await.map_err(|refusal| match refusal {
            // RFC 9051 §6.3.12.
            Refusal::No(Some(Code::NonExistent), text) => Refusal::no(Code::TryCreate, text),
            other => other,
        })?;
        Ok((mailbox, bits, keywords))
    }

    /// A refusal before the octets. Where they come in any case (LITERAL+) they are read and dropped, so that the
    /// session goes on; beyond the size of any message it ends (RFC 7888 §4).
    async fn refuse_append(&mut self, head: LiteralHead, refusal: Refusal) -> Result<Done, Refusal> {
        drop(self.receiver.pass_literal());
        if head.sync {
            return Err(refusal);
        }
        if head.len > self.ctx.config.limits.message_size {
            return Err(Refusal::Bye("this message is larger than any taken here".to_owned()));
        }
        let since = Instant::now();
        let mut left = head.len;
        while left > 0 {
            let deadline = transfer_deadline(since, head.len - left);
            left -= self.literal_octets(left, deadline).await?.len() as u64;
        }
        self.append_end().await?;
        Err(refusal)
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

    /// The end of the line behind the literal. Another message there would be MULTIAPPEND, which is not offered.
    async fn append_end(&mut self) -> Result<(), Refusal> {
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
                Received::Whole => {
                    let line = self.receiver.take();
                    return if matches!(&line[..], b"\r\n" | b"\n") {
                        Ok(())
                    } else {
                        Err(Refusal::Bad("expected the end of the line behind the message".to_owned()))
                    };
                }
                Received::TooLong => {
                    drop(self.receiver.take());
                    return Err(Refusal::Bad("expected the end of the line behind the message".to_owned()));
                }
                Received::Endless => return Err(Refusal::endless()),
                Received::Literal(head) => {
                    if self.drop_literal(head) {
                        return Err(Refusal::Bad("one message in one APPEND".to_owned()));
                    }
                    if self.over {
                        return Err(Refusal::Bye("one message in one APPEND".to_owned()));
                    }
                }
            }
        }
    }
}
