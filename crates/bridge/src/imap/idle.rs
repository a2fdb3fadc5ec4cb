//! IDLE (RFC 2177): both ends are listened to until the mail program says DONE.

use super::{
    Came, End, Result, Session, response,
    wire::{Next, Response},
};
use sealpost_proto::imap::Tag;
use tokio::io::{AsyncRead, AsyncWrite};

/// Longest line in place of DONE.
const LINE_MAX: usize = 1024;

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) async fn idle(&mut self, tag: &Tag) -> Result<()> {
        let own = self.server.tag();
        self.server.send(format!("{} IDLE\r\n", own.as_str()).as_bytes()).await?;
        loop {
            let Came::Line(line) = self.server.next().await? else { return Err(End::Over) };
            match response(&line) {
                Response::Continue => break,
                Response::Tagged(found, rest) if found == own.as_str() => {
                    self.program.say(&[tag.as_str().as_bytes(), b" ", rest, b"\r\n"].concat());
                    return Ok(());
                }
                _ => self.pass(&line),
            }
        }
        self.program.line("+ idling");
        let done = loop {
            self.program.flush().await?;
            if let Some(at) = memchr::memchr(b'\n', &self.program.input) {
                let line = self.program.input.split_to(at + 1);
                break line.trim_ascii().eq_ignore_ascii_case(b"DONE");
            }
            if self.program.input.len() > LINE_MAX {
                self.program.bye("The line is too long");
                return Err(End::Over);
            }
            tokio::select! {
                read = self.program.fill() => read?,
                read = self.server.fill() => {
                    if let Err(error) = read {
                        self.program.bye("The connection to the mail server was lost; sign in again");
                        return Err(error.into());
                    }
                    self.hear()?;
                }
            }
        };
        self.server.send(b"DONE\r\n").await?;
        loop {
            let line = match self.server.cutter.next()? {
                Next::Whole(line) => line,
                Next::More => {
                    self.server.fill().await?;
                    continue;
                }
                Next::Literal(..) => return Err(End::Over),
            };
            match response(&line) {
                Response::Tagged(found, rest) if found == own.as_str() => {
                    let rest = if done { rest } else { &b"BAD Say DONE to end IDLE"[..] };
                    self.program.say(&[tag.as_str().as_bytes(), b" ", rest, b"\r\n"].concat());
                    return Ok(());
                }
                _ => self.pass(&line),
            }
        }
    }
}
