//! The async driver of the SMTP client: [`crate::smtp::client`] on a stream, with the time-outs of RFC 5321 §4.5.3.2.
//!
//! What a connection may be used for is in its type: [`Plain`] can greet and start TLS; [`Opportunistic`] (TLS whose
//! other end is not proven) can hand over mail; only [`Tls`], whose server's certificate was verified by whoever made
//! the connection, has AUTH, the key directory and the account's verbs (R02, profile §4). One driver serves the client,
//! look-ups and the server's relay.

mod account;
mod directory;
mod error;
mod mail;
mod patience;

pub use account::PendingLogin;
pub use directory::{ChainAnswer, PubkeyAnswer};
pub use error::{Refusal, SmtpError};
pub use mail::{Envelope, Outcome};
pub use patience::Patience;

use crate::{
    smtp::client::{Capabilities, Command, Reply, ReplyError, ReplyLimits, ReplyReader},
    transcript::{Side, Tap},
};
use bytes::BytesMut;
use std::{future::Future, marker::PhantomData, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout},
};

/// Any stream that can carry a conversation.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}
/// A stream of some kind.
pub type BoxStream = Box<dyn Stream>;

/// No TLS.
#[derive(Debug)]
pub enum Plain {}
/// TLS, but nobody has proven who the other end is.
#[derive(Debug)]
pub enum Opportunistic {}
/// TLS with a verified certificate for the server's name.
#[derive(Debug)]
pub enum Tls {}

/// How long each step may take. A whole reply must come within its time, however slowly its octets trickle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// The greeting.
    pub greeting: Duration,
    /// Any command but those below.
    pub command: Duration,
    /// DATA's 354.
    pub data_start: Duration,
    /// Sending one block of a message.
    pub data_block: Duration,
    /// The reply to the final dot.
    pub data_end: Duration,
    /// The reply to QUIT, which nobody needs.
    pub quit: Duration,
    /// All the waiting of one conversation together ([`Patience`]); a message that is taken begins it anew.
    pub session: Duration,
}

impl Timeouts {
    /// RFC 5321 §4.5.3.2: between servers.
    pub const RFC5321: Self = Self {
        greeting: Duration::from_secs(5 * 60),
        command: Duration::from_secs(5 * 60),
        data_start: Duration::from_secs(2 * 60),
        data_block: Duration::from_secs(3 * 60),
        data_end: Duration::from_secs(10 * 60),
        quit: Duration::from_secs(5),
        session: Duration::from_secs(60 * 60),
    };
    /// Where a person waits: what a server says is short and comes at once, only a message's end may take long.
    pub const INTERACTIVE: Self = Self {
        greeting: Duration::from_secs(30),
        command: Duration::from_secs(30),
        data_start: Duration::from_secs(30),
        data_block: Duration::from_secs(60),
        data_end: Duration::from_secs(10 * 60),
        quit: Duration::from_secs(2),
        session: Duration::from_secs(15 * 60),
    };
}

/// What a connection needs besides the stream.
#[derive(Clone)]
pub struct Options {
    /// Time-outs.
    pub timeouts: Timeouts,
    /// Where the conversation is recorded.
    pub tap: Option<Arc<dyn Tap>>,
}

impl Default for Options {
    fn default() -> Self {
        Self { timeouts: Timeouts::INTERACTIVE, tap: None }
    }
}

/// Octets read at once. Reading stops as soon as one whole reply is there, so this and one line bound the buffer.
const READ_OCTETS: usize = 8 * 1_024;

/// A client's connection to a server; `M` says what it may be used for.
pub struct Connection<M> {
    stream: BoxStream,
    input: BytesMut,
    reader: ReplyReader,
    patience: Patience,
    options: Options,
    capabilities: Capabilities,
    /// Set while a command and its reply are under way, and for good where that did not end well: a connection whose
    /// replies may be out of step is never used again.
    broken: bool,
    mode: PhantomData<fn() -> M>,
}

impl Connection<Plain> {
    /// A connection without TLS whose greeting is still to come.
    pub fn plain(stream: BoxStream, options: Options) -> Self {
        Self::over(stream, options)
    }

    /// STARTTLS with verification: `upgrade` shakes hands and must fail where the certificate is not valid for the
    /// server's name. EHLO has to be said again.
    pub async fn starttls<F, U>(self, upgrade: U) -> Result<Connection<Tls>, SmtpError>
    where
        F: Future<Output = std::io::Result<BoxStream>>,
        U: FnOnce(BoxStream) -> F,
    {
        self.upgrade(upgrade).await
    }
    /// STARTTLS without proof of the other end: better than clear text between servers, and no more (RFC 7435).
    pub async fn starttls_opportunistic<F, U>(
        self,
        upgrade: U,
    ) -> Result<Connection<Opportunistic>, SmtpError>
    where
        F: Future<Output = std::io::Result<BoxStream>>,
        U: FnOnce(BoxStream) -> F,
    {
        self.upgrade(upgrade).await
    }
    async fn upgrade<M, F, U>(mut self, upgrade: U) -> Result<Connection<M>, SmtpError>
    where
        F: Future<Output = std::io::Result<BoxStream>>,
        U: FnOnce(BoxStream) -> F,
    {
        let command = Command::starttls();
        let reply = self.exchange(&command).await?;
        if reply.code() != 220 {
            return Err(SmtpError::refused(&command, &reply));
        }
        // What came behind the 220 was said in clear text, by whoever could write there: believing it inside TLS is
        // the response injection of CVE-2011-0411's kind.
        if !self.input.is_empty() || self.reader.is_partial() {
            return Err(SmtpError::Injected);
        }
        let handshake = timeout(self.options.timeouts.command, upgrade(self.stream));
        let stream = handshake.await.map_err(|_| SmtpError::Timeout("TLS"))?.map_err(SmtpError::Tls)?;
        note(&self.options, "TLS");
        Ok(Connection::over(stream, self.options))
    }
}

impl Connection<Tls> {
    /// A connection inside TLS whose certificate the caller has verified for the server's name; the greeting is still
    /// to come.
    pub fn verified_tls(stream: BoxStream, options: Options) -> Self {
        note(&options, "TLS");
        Self::over(stream, options)
    }
}

fn note(options: &Options, text: &str) {
    if let Some(tap) = &options.tap {
        tap.line(Side::Note, text);
    }
}

impl<M> Connection<M> {
    fn over(stream: BoxStream, options: Options) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            reader: ReplyReader::default(),
            patience: Patience::new(options.timeouts.session),
            options,
            capabilities: Capabilities::default(),
            broken: false,
            mode: PhantomData,
        }
    }
    /// What the last EHLO offered; nothing before it.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }
    /// Waits for the 220 greeting.
    pub async fn greeting(&mut self) -> Result<Reply, SmtpError> {
        self.begin()?;
        let reply = self.read(ReplyLimits::STANDARD, self.options.timeouts.greeting, "greeting").await?;
        self.show_reply(&reply);
        if reply.code() != 220 {
            return Err(SmtpError::Refused(Refusal::new("greeting", reply)));
        }
        self.broken = false;
        Ok(reply)
    }
    /// EHLO.
    pub async fn ehlo(&mut self, name: &str) -> Result<&Capabilities, SmtpError> {
        let command = Command::ehlo(name)?;
        let reply = self.expect(&command, 250).await?;
        self.capabilities = Capabilities::from_reply(&reply);
        Ok(&self.capabilities)
    }
    /// EHLO, or HELO where the server knows none (RFC 5321 §3.2): for the relay, which needs no extension.
    pub async fn hello(&mut self, name: &str) -> Result<&Capabilities, SmtpError> {
        match self.ehlo(name).await {
            Err(SmtpError::Refused(refusal)) if refusal.reply.is_permanent() => {
                self.capabilities = Capabilities::default();
                self.expect(&Command::helo(name)?, 250).await?;
            }
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        Ok(&self.capabilities)
    }
    /// Ends a mail transaction.
    pub async fn reset(&mut self) -> Result<(), SmtpError> {
        self.expect(&Command::rset(), 250).await.map(|_| ())
    }
    /// Says QUIT and closes; nothing that can go wrong here matters any more.
    pub async fn quit(mut self) {
        if self.broken {
            return;
        }
        let within = self.options.timeouts.quit;
        let goodbye = async {
            let command = Command::quit();
            if self.send(&command).await.is_ok() {
                let _ = self.reply_to(&command, within).await;
            }
            let _ = self.stream.shutdown().await;
        };
        let _ = timeout(within, goodbye).await;
    }

    /// Marks the start of an exchange; refused where the last one did not end.
    fn begin(&mut self) -> Result<(), SmtpError> {
        if std::mem::replace(&mut self.broken, true) { Err(SmtpError::OutOfStep) } else { Ok(()) }
    }
    /// One command and its reply, whatever it is.
    async fn exchange(&mut self, command: &Command) -> Result<Reply, SmtpError> {
        self.begin()?;
        self.send(command).await?;
        let reply = self.reply_to(command, self.options.timeouts.command).await?;
        self.end(command, &reply)?;
        Ok(reply)
    }
    /// Marks the end of an exchange. 421 may answer anything and announces that the server closes.
    fn end(&mut self, command: &Command, reply: &Reply) -> Result<(), SmtpError> {
        if reply.code() == 421 {
            return Err(SmtpError::refused(command, reply));
        }
        self.broken = false;
        Ok(())
    }
    /// One command whose reply must have `code`.
    async fn expect(&mut self, command: &Command, code: u16) -> Result<Reply, SmtpError> {
        let reply = self.exchange(command).await?;
        if reply.code() == code { Ok(reply) } else { Err(SmtpError::refused(command, &reply)) }
    }
    /// Several commands in one write where the server takes that (RFC 2920), and one reply each, in order.
    async fn batch(&mut self, commands: &[Command]) -> Result<Vec<Reply>, SmtpError> {
        let mut replies = Vec::with_capacity(commands.len());
        let mut octets = 0;
        if !self.capabilities.has("PIPELINING") {
            for command in commands {
                let reply = self.exchange(command).await?;
                self.room_for(&reply, &mut octets)?;
                replies.push(reply);
            }
            return Ok(replies);
        }
        for group in commands.chunks(PIPELINE_MAX) {
            self.begin()?;
            for command in group {
                self.write(command.wire(), self.options.timeouts.command, command.verb()).await?;
                self.show_command(command);
            }
            self.flush().await?;
            for command in group {
                let reply = self.reply_to(command, self.options.timeouts.command).await?;
                if reply.code() == 421 {
                    return Err(SmtpError::refused(command, &reply));
                }
                self.room_for(&reply, &mut octets)?;
                replies.push(reply);
            }
            self.broken = false;
        }
        Ok(replies)
    }
    /// Each reply has its limit, and all that are held together have one: a list of recipients must not be multiplied
    /// by the longest reply.
    fn room_for(&mut self, reply: &Reply, octets: &mut usize) -> Result<(), SmtpError> {
        *octets += reply.lines().iter().map(|line| line.len() + LINE_OVERHEAD).sum::<usize>();
        if *octets > BATCH_OCTETS_MAX {
            self.broken = true;
            return Err(ReplyError::TooLong.into());
        }
        Ok(())
    }

    fn show_command(&self, command: &Command) {
        if let Some(tap) = &self.options.tap {
            tap.line(Side::Client, command.shown());
        }
    }
    fn show_reply(&self, reply: &Reply) {
        if let Some(tap) = &self.options.tap {
            for (at, text) in reply.lines().iter().enumerate() {
                let mark = if at + 1 < reply.lines().len() { '-' } else { ' ' };
                tap.line(Side::Server, format!("{}{mark}{text}", reply.code()).trim_end());
            }
        }
    }
    async fn send(&mut self, command: &Command) -> Result<(), SmtpError> {
        self.write(command.wire(), self.options.timeouts.command, command.verb()).await?;
        self.flush().await?;
        self.show_command(command);
        Ok(())
    }
    async fn reply_to(&mut self, command: &Command, within: Duration) -> Result<Reply, SmtpError> {
        let reply = self.read(command.limits(), within, command.verb()).await?;
        if self.options.tap.is_some() {
            self.show_reply(&command.shown_reply(&reply));
        }
        Ok(reply)
    }
    async fn write(&mut self, octets: &[u8], within: Duration, verb: &'static str) -> Result<(), SmtpError> {
        let (within, began) = (self.patience.step(within), Instant::now());
        let written = timeout(within, self.stream.write_all(octets)).await;
        self.patience.waited_since(began);
        written.map_err(|_| SmtpError::Timeout(verb))??;
        self.patience.earn(octets.len() as u64);
        Ok(())
    }
    async fn flush(&mut self) -> Result<(), SmtpError> {
        let (within, began) = (self.patience.step(self.options.timeouts.command), Instant::now());
        let flushed = timeout(within, self.stream.flush()).await;
        self.patience.waited_since(began);
        flushed.map_err(|_| SmtpError::Timeout("flush"))??;
        Ok(())
    }
    async fn read(
        &mut self,
        limits: ReplyLimits,
        within: Duration,
        verb: &'static str,
    ) -> Result<Reply, SmtpError> {
        let (within, began) = (self.patience.step(within), Instant::now());
        let whole = async {
            loop {
                if let Some(reply) = self.reader.next(&mut self.input, limits)? {
                    return Ok(reply);
                }
                self.input.reserve(READ_OCTETS);
                let mut window = (&mut self.stream).take(READ_OCTETS as u64);
                if window.read_buf(&mut self.input).await? == 0 {
                    return Err(SmtpError::Closed(verb));
                }
            }
        };
        let reply = timeout(within, whole).await;
        self.patience.waited_since(began);
        reply.map_err(|_| SmtpError::Timeout(verb))?
    }
}

/// Octets of all replies to one batch of commands: a chain of statements for each of 1,000 recipients is a third of it.
const BATCH_OCTETS_MAX: usize = 16 * 1_024 * 1_024;
/// What a line of a reply costs besides its octets.
const LINE_OVERHEAD: usize = 40;

/// Commands sent before their replies are read: 32 of at most 12 KiB fit what two ends buffer, so that neither waits
/// for the other to read.
const PIPELINE_MAX: usize = 32;

#[cfg(test)]
mod tests;
