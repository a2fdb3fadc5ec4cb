//! APPEND, MULTIAPPEND (RFC 3502) and REPLACE (RFC 8508): what is kept for oneself (a draft, a copy of what was sent) goes
//! to the server sealed. Mail of others, as programs copy it from elsewhere, goes as it is: it came in plain, and sealed by
//! us it would look wrapped. What came sealed is kept whole within a message of one's own: programs that move mail file it
//! anew and remove it where it lay, whatever is answered.
//!
//! Each message is taken, sealed and handed on before the next one is taken (see [`super::handing`]). All of them are one
//! command of the server's, which stores all or none.

use super::{
    End, Names, Result, Session,
    handing::{Handing, Kept},
    one_line,
};
use sealpost_client::{
    compose::ComposeError,
    error::ClientError,
    staged::{Staged, Staging},
};
use sealpost_proto::imap::{
    AppendMessage, AppendStart, Received, date_time,
    parse::{self, AppendNext},
    receive::LiteralHead,
};
use tokio::io::{AsyncRead, AsyncWrite};
use zeroize::Zeroizing;

/// Octets of the messages of one command: what servers take, with room for the sealing.
pub(super) const OCTETS_MAX: u64 = 128 * 1024 * 1024;
/// Most messages in one command: what the server takes.
const MESSAGES_MAX: u32 = 1000;
/// What came in one command so far.
#[derive(Default)]
struct Taken {
    messages: u32,
    octets: u64,
}

impl Taken {
    /// Whether another message is taken; or the reply, without its tag.
    fn take(&mut self, octets: u64) -> std::result::Result<(), &'static str> {
        if octets > OCTETS_MAX {
            return Err("NO [TOOBIG] The message is too large");
        }
        if self.messages > 0 && octets == 0 {
            // So a client calls the command off (RFC 3502 §6.3.11).
            return Err("NO [CANNOT] An empty message calls this APPEND off; nothing is stored");
        }
        if self.messages >= MESSAGES_MAX || self.octets.saturating_add(octets) > OCTETS_MAX {
            return Err("NO [LIMIT] This is too much for one APPEND; send some of it in another");
        }
        self.messages += 1;
        self.octets += octets;
        Ok(())
    }
}

/// Why a command ends before its last message: the reply without its tag, and the literal whose announcement it is, if it
/// is one.
type Fault = (String, Option<LiteralHead>);

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    /// The command up to the announcement of its first literal has come.
    pub(super) async fn append(&mut self, start: AppendStart, head: LiteralHead) -> Result<()> {
        self.account.touch();
        let AppendStart { tag, replaces, mailbox, message } = start;
        let mut handing = Handing::new(tag, replaces, mailbox);
        match self.append_all(message, head, &mut handing).await? {
            Ok(()) => self.end_handing(&mut handing).await,
            Err((reply, head)) => {
                self.call_off(&handing).await?;
                let reply = format!("{} {reply}", handing.tag.as_str());
                if let Some(head) = head {
                    return self.refuse_message(head, &reply).await;
                }
                self.program.line(&reply);
                Ok(())
            }
        }
    }

    async fn append_all(
        &mut self,
        first: AppendMessage,
        head: LiteralHead,
        handing: &mut Handing,
    ) -> Result<std::result::Result<(), Fault>> {
        let mut taken = Taken::default();
        let mut next = Some((first, head));
        while let Some((message, head)) = next {
            if let Err(reply) = taken.take(head.len) {
                return Ok(Err((reply.to_owned(), Some(head))));
            }
            if message.utf8 && self.names == Names::Utf7 {
                let reply = "BAD ENABLE UTF8=ACCEPT comes before a message in UTF8";
                return Ok(Err((reply.to_owned(), Some(head))));
            }
            let kept = match self.take_message(head).await? {
                Ok(staged) => self.prepare(staged).await?,
                Err(reply) => Err(reply),
            };
            let kept = match kept {
                Ok(kept) => kept,
                Err(reply) => return Ok(Err((reply, self.rest_of_command().await?))),
            };
            // Octets of a message in UTF8 (…) are those of any other (RFC 9755); sealed ones are ASCII.
            let binary = head.binary && matches!(kept, Kept::AsItIs(_));
            handing.push(&parameters(&message), binary, kept);
            if let Some(refused) = self.hand(handing).await? {
                let text = String::from_utf8_lossy(&refused);
                let reply = text.split_once(' ').map_or("", |(_, reply)| reply.trim_end()).to_owned();
                return Ok(Err((reply, self.rest_of_command().await?)));
            }
            next = match self.next_message(message.utf8).await? {
                Ok(next) => next,
                Err(fault) => return Ok(Err(fault)),
            };
        }
        Ok(Ok(()))
    }

    /// The octets of a message; or the reply if they are none.
    async fn take_message(&mut self, head: LiteralHead) -> Result<std::result::Result<Staged, String>> {
        let _ = self.program.receiver.pass_literal();
        if head.sync {
            self.program.line("+ Go on");
        }
        self.program.flush().await?;
        let (mut staging, mut left, mut nul) = (Staging::new(), head.len, false);
        while left > 0 {
            let octets = self.literal_octets(left).await?;
            left -= octets.len() as u64;
            nul |= memchr::memchr(0, &octets).is_some();
            staging.push(&octets)?;
        }
        if nul && !head.binary {
            return Ok(Err("BAD NUL is allowed in a literal8 (~{…}) only".replace('…', "...")));
        }
        Ok(Ok(staging.finish()?))
    }

    async fn literal_octets(&mut self, left: u64) -> Result<bytes::BytesMut> {
        if self.program.input.is_empty() {
            self.program.fill().await?;
        }
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(self.program.input.len());
        Ok(self.program.input.split_to(n))
    }

    /// The line behind a literal: the command so far, and the literal at its end, if there is another.
    async fn line_behind(&mut self) -> Result<(Zeroizing<Vec<u8>>, Option<LiteralHead>)> {
        loop {
            match self.program.receiver.receive(&mut self.program.input) {
                Received::More => self.program.fill().await?,
                Received::Whole | Received::TooLong => return Ok((self.program.receiver.take(), None)),
                Received::Literal(head) => {
                    return Ok((Zeroizing::new(self.program.receiver.so_far().to_vec()), Some(head)));
                }
                Received::Endless => {
                    self.program.bye("The command has no end");
                    return Err(End::Over);
                }
            }
        }
    }

    /// What follows a message: the next one, or the end of the command.
    async fn next_message(
        &mut self,
        utf8: bool,
    ) -> Result<std::result::Result<Option<(AppendMessage, LiteralHead)>, Fault>> {
        let (line, head) = self.line_behind().await?;
        Ok(match (parse::append_next(&line, utf8), head) {
            (Ok(AppendNext::End), None) => Ok(None),
            (Ok(AppendNext::Message(message)), Some(head)) => Ok(Some((message, head))),
            (Ok(_), head) => Err(("BAD expected a message".to_owned(), head)),
            (Err(error), head) => Err((format!("BAD {error}"), head)),
        })
    }

    /// The literal that follows in a command that is over.
    async fn rest_of_command(&mut self) -> Result<Option<LiteralHead>> {
        Ok(self.line_behind().await?.1)
    }

    /// Ends a command at the announcement of a literal. Octets that come in any case (LITERAL+) are dropped with all that
    /// follows, so that the session goes on (RFC 7888 §4).
    pub(super) async fn refuse_message(&mut self, mut head: LiteralHead, reply: &str) -> Result<()> {
        let mut dropped = 0_u64;
        loop {
            let _ = self.program.receiver.pass_literal();
            if head.sync {
                break;
            }
            dropped = dropped.saturating_add(head.len);
            if dropped > OCTETS_MAX {
                self.program.bye("This is more than any message taken here");
                return Err(End::Over);
            }
            let mut left = head.len;
            while left > 0 {
                left -= self.literal_octets(left).await?.len() as u64;
            }
            match self.rest_of_command().await? {
                Some(next) => head = next,
                None => break,
            }
        }
        self.program.line(reply);
        Ok(())
    }

    /// Seals; or says why not.
    async fn prepare(&mut self, message: Staged) -> Result<std::result::Result<Kept, String>> {
        let header = message.header()?.map(|(header, _)| header).unwrap_or_default();
        let came_sealed = header.first("Sealpost-Verdict").is_some_and(|field| {
            String::from_utf8_lossy(&field.unfolded()).split(';').any(|word| word.trim() == "sealed")
        });
        let client = &self.account.client;
        let kept = match client.kept(&message).await {
            // Another's, or nobody's: the server may read it as it could before, unless it never could.
            Err(ClientError::Compose(
                ComposeError::NotYours(_) | ComposeError::From | ComposeError::Twice("From"),
            )) if !came_sealed => return Ok(Ok(Kept::AsItIs(message))),
            // So it lies no more open than it did, and no draft lies in plain because it is odd.
            Err(ClientError::Compose(
                ComposeError::NotYours(_)
                | ComposeError::From
                | ComposeError::Twice(_)
                | ComposeError::MessageId
                | ComposeError::HeaderTooLong,
            )) => client.kept_within(&message).await,
            kept => kept,
        };
        Ok(match kept {
            Ok(outgoing) => Ok(Kept::Sealed(outgoing)),
            Err(error) => Err(format!("NO [SERVERBUG] {}", one_line(&error.to_string()))),
        })
    }
}

/// ` (flags) "date"`
fn parameters(message: &AppendMessage) -> String {
    let flags: Vec<String> = message.flags.iter().map(ToString::to_string).collect();
    let date = message.date.map(|date| format!(" \"{}\"", date_time(date))).unwrap_or_default();
    format!(" ({}){date}", flags.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_one_below_and_one_above() {
        let mut taken = Taken::default();
        assert!(Taken::default().take(OCTETS_MAX + 1).is_err_and(|reply| reply.contains("[TOOBIG]")));
        assert!(Taken::default().take(OCTETS_MAX).is_ok());
        assert!(taken.take(0).is_ok(), "a lone empty message");
        assert!(taken.take(0).is_err_and(|reply| reply.contains("[CANNOT]")));
        assert!(taken.take(OCTETS_MAX + 1).is_err());
        assert!(taken.take(OCTETS_MAX).is_ok());
        assert!(taken.take(1).is_err_and(|reply| reply.contains("[LIMIT]")));
        let mut taken = Taken::default();
        for _ in 0..MESSAGES_MAX {
            assert!(taken.take(1).is_ok());
        }
        assert!(taken.take(1).is_err_and(|reply| reply.contains("[LIMIT]")));
    }
}
