//! APPEND: what is kept for oneself (a draft, a copy of what was sent) goes to the server sealed. Mail of others, as
//! programs copy it from elsewhere, goes as it is: it came in plain, and sealed by us it would look wrapped.

use super::{End, Result, Session, one_line};
use sealpost_client::{
    compose::ComposeError,
    error::ClientError,
    staged::{Staged, Staging},
};
use sealpost_proto::imap::{AppendStart, Received, Tag, date_time, quote_mailbox, receive::LiteralHead};
use std::io::{self, Read};
use tokio::io::{AsyncRead, AsyncWrite};

/// Largest message taken from a mail program: what servers take, with room for the sealing.
const MESSAGE_MAX: u64 = 128 * 1024 * 1024;
/// Octets sent at a time.
const CHUNK: usize = 64 * 1024;

/// What goes to the server.
enum Kept {
    Sealed(sealpost_client::compose::Outgoing),
    AsItIs(Staged),
}

impl Kept {
    fn size(&self) -> u64 {
        match self {
            Self::Sealed(outgoing) => outgoing.size(),
            Self::AsItIs(staged) => staged.size(),
        }
    }
    fn reader(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::Sealed(outgoing) => Box::new(outgoing.open()?),
            Self::AsItIs(staged) => staged.reader()?,
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) async fn append(&mut self, start: AppendStart, head: LiteralHead) -> Result<()> {
        let tag = start.tag.clone();
        if head.len > MESSAGE_MAX {
            return self
                .refuse_literal(head, &format!("{} NO [TOOBIG] The message is too large", tag.as_str()));
        }
        if head.binary || start.message.utf8 {
            let text = format!("{} NO [CANNOT] The bridge takes messages as plain literals", tag.as_str());
            return self.refuse_literal(head, &text);
        }
        let _ = self.program.receiver.pass_literal();
        if head.sync {
            self.program.line("+ Go on");
        }
        let message = self.take_literal(head.len).await?;
        self.end_of_command().await?;
        let kept = match self.prepare(message).await? {
            Ok(kept) => kept,
            Err(text) => {
                self.program.done(&tag, &text);
                return Ok(());
            }
        };
        self.hand_on(&start, &tag, &kept).await
    }

    async fn take_literal(&mut self, mut left: u64) -> Result<Staged> {
        let mut staging = Staging::new();
        self.program.flush().await?;
        while left > 0 {
            if self.program.input.is_empty() {
                self.program.fill().await?;
            }
            let n = usize::try_from(left).unwrap_or(usize::MAX).min(self.program.input.len());
            staging.push(&self.program.input.split_to(n))?;
            left -= n as u64;
        }
        Ok(staging.finish()?)
    }

    /// The line end behind the literal. Another message behind it (MULTIAPPEND) is not offered.
    async fn end_of_command(&mut self) -> Result<()> {
        loop {
            match self.program.receiver.receive(&mut self.program.input) {
                Received::More => self.program.fill().await?,
                Received::Whole if self.program.receiver.take().trim_ascii().is_empty() => return Ok(()),
                _ => {
                    self.program.line("* BYE The bridge takes one message in each APPEND");
                    return Err(End::Over);
                }
            }
        }
    }

    /// Seals; or says why not.
    async fn prepare(&mut self, message: Staged) -> Result<std::result::Result<Kept, String>> {
        let header = message.header()?.map(|(header, _)| header).unwrap_or_default();
        let came_sealed = header.first("Sealpost-Verdict").is_some_and(|field| {
            String::from_utf8_lossy(&field.unfolded()).split(';').any(|word| word.trim() == "sealed")
        });
        match self.account.client.kept(&message).await {
            Ok(outgoing) => Ok(Ok(Kept::Sealed(outgoing))),
            Err(ClientError::Compose(ComposeError::NotYours(_) | ComposeError::From)) if came_sealed => {
                Ok(Err("NO [CANNOT] This message came sealed and would lie on the server in plain; forward it to \
                        this account to keep it here"
                    .into()))
            }
            // Not ours, or odd: whoever wrote it, the server may read it as it could before.
            Err(ClientError::Compose(
                ComposeError::NotYours(_)
                | ComposeError::From
                | ComposeError::Twice(_)
                | ComposeError::MessageId
                | ComposeError::HeaderTooLong,
            )) => Ok(Ok(Kept::AsItIs(message))),
            Err(error) => Ok(Err(format!("NO [SERVERBUG] {}", one_line(&error.to_string())))),
        }
    }

    async fn hand_on(&mut self, start: &AppendStart, tag: &Tag, kept: &Kept) -> Result<()> {
        let flags: Vec<String> = start.message.flags.iter().map(ToString::to_string).collect();
        let date = start.message.date.map(|date| format!(" \"{}\"", date_time(date))).unwrap_or_default();
        let command = format!(
            "{} APPEND {} ({}){date} {{{}}}\r\n",
            tag.as_str(),
            quote_mailbox(&start.mailbox, self.names),
            flags.join(" "),
            kept.size()
        );
        self.server.send(command.as_bytes()).await?;
        loop {
            let super::Came::Line(line) = self.server.next().await? else { return Err(End::Over) };
            if line.starts_with(b"+") {
                break;
            }
            self.pass(&line);
            if line.starts_with(format!("{} ", tag.as_str()).as_bytes()) {
                return Ok(());
            }
        }
        let mut reader = kept.reader()?;
        let mut left = kept.size();
        while left > 0 {
            // Small messages are in memory; sealed ones come from an unlinked file.
            let (octets, back) = tokio::task::spawn_blocking(move || -> io::Result<_> {
                let mut octets = Vec::with_capacity(CHUNK);
                (&mut reader).take(CHUNK as u64).read_to_end(&mut octets)?;
                Ok((octets, reader))
            })
            .await
            .map_err(io::Error::other)??;
            reader = back;
            if octets.is_empty() {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            left = left.saturating_sub(octets.len() as u64);
            self.server.send(&octets).await?;
        }
        self.server.send(b"\r\n").await?;
        loop {
            let super::Came::Line(line) = self.server.next().await? else { return Err(End::Over) };
            self.pass(&line);
            if line.starts_with(format!("{} ", tag.as_str()).as_bytes()) {
                return Ok(());
            }
        }
    }
}
