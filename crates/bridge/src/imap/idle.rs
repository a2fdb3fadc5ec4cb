//! IDLE (RFC 2177): both ends are listened to until the mail program says DONE.

use super::{
    Came, End, Result, Session, response,
    resume::Numbers,
    wire::{Next, Response},
};
use sealpost_proto::imap::Tag;
use tokio::io::{AsyncRead, AsyncWrite};

/// Longest line in place of DONE.
const LINE_MAX: usize = 1024;

/// How IDLE at the server came out: what follows the tag.
pub(super) enum Idle {
    /// It did not begin.
    Refused(Vec<u8>),
    /// It ended.
    Ended(Vec<u8>),
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) async fn idle(&mut self, tag: &Tag) -> Result<()> {
        self.tell_arrivals().await?;
        self.program.line("+ idling");
        let told =
            self.listen(|input| memchr::memchr(b'\n', input).is_some() || input.len() > LINE_MAX).await?;
        let rest = match told {
            Idle::Refused(rest) | Idle::Ended(rest) => rest,
        };
        let Some(at) = memchr::memchr(b'\n', &self.program.input) else {
            self.program.bye("The line is too long");
            return Err(End::Over);
        };
        let line = self.program.input.split_to(at + 1);
        let done = line.trim_ascii().eq_ignore_ascii_case(b"DONE");
        let rest = if done { rest } else { b"BAD Say DONE to end IDLE".to_vec() };
        self.program.say(&[tag.as_str().as_bytes(), b" ", &rest, b"\r\n"].concat());
        Ok(())
    }

    /// IDLE at the server until `done` is true of what the mail program has said. News is passed on as it comes; to tell
    /// more of new messages than the server does, IDLE ends and begins again.
    pub(super) async fn listen(&mut self, done: impl Fn(&[u8]) -> bool + Send + Sync) -> Result<Idle> {
        loop {
            match self.listen_here(&done).await {
                // It goes on over another connection, or was about to end.
                Err(End::Lost(error)) => {
                    let waiting = done(&self.program.input);
                    Box::pin(self.resume(&error, waiting, Numbers::Same)).await?;
                    if done(&self.program.input) {
                        return Ok(Idle::Ended(b"OK IDLE completed".to_vec()));
                    }
                }
                other => return other,
            }
        }
    }

    async fn listen_here(&mut self, done: &(impl Fn(&[u8]) -> bool + Send + Sync)) -> Result<Idle> {
        loop {
            let own = self.server.tag();
            self.server.send(format!("{} IDLE\r\n", own.as_str()).as_bytes()).await?;
            loop {
                let Came::Line(line) = self.server.next().await? else { return Err(End::Over) };
                match response(&line) {
                    Response::Continue => break,
                    Response::Tagged(found, rest) if found == own.as_str() => {
                        return Ok(Idle::Refused(rest.to_vec()));
                    }
                    _ => self.pass(&line),
                }
            }
            loop {
                // News may have come with the last answer.
                self.hear()?;
                self.program.flush().await?;
                if done(&self.program.input) || self.has_arrivals() {
                    break;
                }
                tokio::select! {
                    read = self.program.fill() => read?,
                    read = self.server.fill() => read?,
                    () = self.account.locked() => return Err(self.locked()),
                }
            }
            self.server.send(b"DONE\r\n").await?;
            let rest = loop {
                let line = match self.server.cutter.next()? {
                    Next::Whole(line) => line,
                    Next::More => {
                        self.server.fill().await?;
                        continue;
                    }
                    Next::Literal(..) => return Err(End::Over),
                };
                match response(&line) {
                    Response::Tagged(found, rest) if found == own.as_str() => break rest.to_vec(),
                    _ => self.pass(&line),
                }
            };
            self.tell_arrivals().await?;
            if done(&self.program.input) {
                return Ok(Idle::Ended(rest));
            }
        }
    }
}
