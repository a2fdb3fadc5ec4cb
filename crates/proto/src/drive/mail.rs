//! Handing over a message: MAIL, RCPT, and DATA or BDAT, with a result for each recipient. On every kind of
//! connection, since mail between servers may have to go without TLS; who must not do that does not call it there.

use super::{Connection, Refusal, SmtpError};
use crate::{
    smtp::client::{Command, DotStuffer, LineEndCheck, MailParameters, Reply},
    transcript::{DataSummary, Side},
};
use std::io::Read;

/// Octets read, and with BDAT sent, at once. Large enough that waiting for each reply costs little.
const CHUNK_OCTETS: usize = 256 * 1_024;

/// The envelope of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// `None` is the null reverse-path.
    pub reverse_path: Option<String>,
    /// Forward-paths.
    pub recipients: Vec<String>,
    /// The octets contain bytes above 127.
    pub eight_bit: bool,
    /// An address or header is in UTF-8.
    pub smtputf8: bool,
    /// Octets of the message, exactly: a body that turns out shorter is not sent to its end, one that has grown is cut.
    pub size: u64,
}

/// What came of a message, for each recipient of the envelope in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The server's last word for that recipient: 2xx, it has taken responsibility; else why not.
    pub recipients: Vec<Result<Reply, Refusal>>,
}

impl Outcome {
    fn all(count: usize, refusal: &Refusal) -> Self {
        Self { recipients: vec![Err(refusal.clone()); count] }
    }
}

impl<M> Connection<M> {
    /// Sends one message. `Err` means that the connection failed and no recipient can be called done, save that the
    /// server may have taken the message and its last reply got lost (RFC 1047). `progress` is told the octets sent.
    ///
    /// A server's refusal of the whole message stands in the outcome for each recipient. Where the server lacks
    /// SMTPUTF8 or 8BITMIME and the envelope needs it, nothing is sent ([`SmtpError::NotOffered`]).
    pub async fn send_message(
        &mut self,
        envelope: &Envelope,
        body: Box<dyn Read + Send>,
        mut progress: impl FnMut(u64) + Send,
    ) -> Result<Outcome, SmtpError> {
        if envelope.smtputf8 && !self.capabilities.has("SMTPUTF8") {
            return Err(SmtpError::NotOffered("SMTPUTF8"));
        }
        if envelope.eight_bit && !self.capabilities.has("8BITMIME") {
            return Err(SmtpError::NotOffered("8BITMIME"));
        }
        let parameters = MailParameters {
            size: self.capabilities.has("SIZE").then_some(envelope.size),
            eight_bit: envelope.eight_bit,
            smtputf8: envelope.smtputf8,
        };
        let body: Box<dyn Read + Send> = Box::new(body.take(envelope.size));
        let count = envelope.recipients.len();
        let mut commands = Vec::with_capacity(count + 1);
        commands.push(Command::mail(envelope.reverse_path.as_deref(), parameters)?);
        for recipient in &envelope.recipients {
            commands.push(Command::rcpt(recipient)?);
        }
        let mut replies = if self.capabilities.has("PIPELINING") {
            self.batch(&commands).await?.into_iter()
        } else {
            let mail = self.exchange(&commands[0]).await?;
            let mut replies = vec![mail];
            if replies[0].is_positive() {
                replies.extend(self.batch(&commands[1..]).await?);
            }
            replies.into_iter()
        };
        let mail = replies.next().ok_or(SmtpError::OutOfStep)?;
        if !mail.is_positive() {
            self.give_up().await;
            return Ok(Outcome::all(count, &Refusal::new("MAIL", mail)));
        }
        let mut recipients: Vec<Result<Reply, Refusal>> = replies
            .map(|reply| if reply.is_positive() { Ok(reply) } else { Err(Refusal::new("RCPT", reply)) })
            .collect();
        if !recipients.iter().any(Result::is_ok) {
            self.give_up().await;
            return Ok(Outcome { recipients });
        }
        let sent = if self.capabilities.has("CHUNKING") {
            self.bdat(body, envelope.size, &mut progress).await?
        } else {
            self.data(body, envelope.size, &mut progress).await?
        };
        for recipient in &mut recipients {
            if recipient.is_ok() {
                recipient.clone_from(&sent);
            }
        }
        Ok(Outcome { recipients })
    }

    /// Ends the transaction; where that fails the connection counts as broken, and the refusal stands all the same.
    async fn give_up(&mut self) {
        let _ = self.reset().await;
    }

    async fn data(
        &mut self,
        mut body: Box<dyn Read + Send>,
        size: u64,
        progress: &mut (impl FnMut(u64) + Send),
    ) -> Result<Result<Reply, Refusal>, SmtpError> {
        let command = Command::data();
        self.begin()?;
        self.send(&command).await?;
        let reply = self.reply_to(&command, self.options.timeouts.data_start).await?;
        if reply.code() != 354 {
            self.end(&command, &reply)?;
            self.give_up().await;
            return Ok(Err(Refusal::new("DATA", reply)));
        }
        let (mut stuffer, mut summary) = (DotStuffer::default(), DataSummary::default());
        let (mut total, mut out) = (0, Vec::new());
        loop {
            // An error in here leaves the connection broken and the message without its final dot: the server
            // throws it away.
            let (back, octets) = read_chunk(body, CHUNK_OCTETS).await?;
            body = back;
            summary.push(&octets);
            let end = octets.is_empty();
            if end {
                whole(total, size)?;
                std::mem::take(&mut stuffer).finish(&mut out)?;
                self.show_data(&summary);
            } else {
                stuffer.push(&octets, &mut out)?;
            }
            let block = self.options.timeouts.data_block;
            if let Err(error) = self.write(&out, block, "DATA").await {
                return self.early_answer(&command, error).await;
            }
            out.clear();
            total += octets.len() as u64;
            progress(total);
            if end {
                break;
            }
        }
        self.flush().await?;
        let reply = self.reply_to(&command, self.options.timeouts.data_end).await?;
        if reply.code() == 421 {
            return Err(SmtpError::refused(&command, &reply));
        }
        self.broken = false;
        if reply.is_positive() {
            self.patience.renew();
        }
        Ok(if reply.is_positive() { Ok(reply) } else { Err(Refusal::new("DATA", reply)) })
    }

    /// A server that closes while we write has often said why (552, 421) before it did.
    async fn early_answer(
        &mut self,
        command: &Command,
        error: SmtpError,
    ) -> Result<Result<Reply, Refusal>, SmtpError> {
        match self.reply_to(command, self.options.timeouts.command).await {
            Ok(reply) if reply.is_permanent() => Ok(Err(Refusal::new(command.verb(), reply))),
            Ok(reply) => Err(SmtpError::refused(command, &reply)),
            Err(_) => Err(error),
        }
    }

    /// RFC 3030. The octets go as they are, so the message must end in CRLF; one is added where it does not, as with
    /// DATA.
    async fn bdat(
        &mut self,
        mut body: Box<dyn Read + Send>,
        size: u64,
        progress: &mut (impl FnMut(u64) + Send),
    ) -> Result<Result<Reply, Refusal>, SmtpError> {
        let (mut check, mut summary, mut total) = (LineEndCheck::default(), DataSummary::default(), 0u64);
        loop {
            let (back, mut octets) = read_chunk(body, CHUNK_OCTETS).await?;
            body = back;
            check.push(&octets)?;
            summary.push(&octets);
            total += octets.len() as u64;
            let last = octets.is_empty() || total >= size;
            if last {
                whole(total, size)?;
                if !check.finish()? {
                    octets.extend_from_slice(b"\r\n");
                }
            }
            let command = Command::bdat(octets.len() as u64, last);
            self.begin()?;
            let block = self.options.timeouts.data_block;
            self.show_command(&command);
            if last {
                self.show_data(&summary);
            }
            let written = async {
                self.write(command.wire(), block, "BDAT").await?;
                self.write(&octets, block, "BDAT").await?;
                self.flush().await
            };
            if let Err(error) = written.await {
                return self.early_answer(&command, error).await;
            }
            let within = if last { self.options.timeouts.data_end } else { block };
            let reply = self.reply_to(&command, within).await?;
            self.end(&command, &reply)?;
            progress(total);
            if !reply.is_positive() {
                if !last {
                    self.give_up().await;
                }
                return Ok(Err(Refusal::new("BDAT", reply)));
            }
            if last {
                self.patience.renew();
                return Ok(Ok(reply));
            }
        }
    }

    fn show_data(&self, summary: &DataSummary) {
        if let Some(tap) = &self.options.tap {
            for line in summary.lines() {
                tap.line(Side::Client, &line);
            }
        }
    }
}

/// A message that lost its end on disk must not go out as if it were whole.
fn whole(total: u64, size: u64) -> Result<(), SmtpError> {
    if total == size { Ok(()) } else { Err(SmtpError::Source(std::io::ErrorKind::UnexpectedEof.into())) }
}

/// Reads a full chunk (less only at the end) where blocking is allowed.
async fn read_chunk(
    mut body: Box<dyn Read + Send>,
    octets: usize,
) -> Result<(Box<dyn Read + Send>, Vec<u8>), SmtpError> {
    let read = move || {
        let mut chunk = Vec::new();
        (&mut body).take(octets as u64).read_to_end(&mut chunk).map(|_| (body, chunk))
    };
    let task = tokio::task::spawn_blocking(read).await;
    task.map_err(|error| SmtpError::Source(std::io::Error::other(error)))?.map_err(SmtpError::Source)
}
