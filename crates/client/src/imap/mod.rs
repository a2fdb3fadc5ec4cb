//! Fetching and filing mail: a client of IMAP4rev1 and rev2 over any stream, in practice TLS to the home server.
//!
//! The server is not trusted: every line, literal and count it sends is bounded, and a message goes to the
//! caller's writer without being held in memory.

mod append;
mod fetch;
mod folders;
mod login;

pub use append::{Filed, Outgoing};
pub use fetch::Meta;
pub use folders::{Folder, Selected};

use bytes::{Buf, BytesMut};
use sealpost_proto::{
    drive::Patience,
    imap::{
        Body, Command, Condition, FetchValue, Limits, LiteralHead, MailboxName, Names, Received, Receiver,
        Reply, Tag, Text, encode, reply,
    },
};
use std::time::Duration;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout},
};
use zeroize::Zeroizing;

/// Longest silence of a server: RFC 5321's longest wait, since a slow search answers nothing meanwhile either.
const SILENCE: Duration = Duration::from_secs(600);
/// All the waiting of one session together, what moving octets earn apart ([`Patience`]).
const SESSION: Duration = Duration::from_secs(15 * 60);
/// What each command adds to that, so that a session of many thousand commands is not cut off by their round trips.
const COMMAND: Duration = Duration::from_secs(1);
/// Memory for the responses to one command: a mailbox of 100,000 messages lists in about 80 MiB.
const RESPONSES_MAX: u64 = 128 * 1024 * 1024;
/// Octets read for one response before it is given up, whatever becomes of them; what a receiver keeps is less.
const RESPONSE_OCTETS_MAX: u64 = 2 * Limits::CLIENT.whole as u64;
/// Memory of a value of a response (a flag, a word, an item of FETCH) besides its octets.
const VALUE_OVERHEAD: u64 = 64;
/// Octets moved at a time between stream and reader or writer.
const CHUNK: usize = 64 * 1024;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImapError {
    /// Network.
    #[error("the connection to the mail server failed: {0}")]
    Io(#[from] std::io::Error),
    /// Reading or writing on this side.
    #[error("reading or writing the message here failed: {0}")]
    Local(std::io::Error),
    /// Nothing came.
    #[error("the mail server was silent for ten minutes; try again later")]
    Silent,
    /// It never stopped, and got nowhere.
    #[error("the mail server took too long over its answers; try again later")]
    Slow,
    /// The server closed.
    #[error("the mail server closed the connection: {0}")]
    Closed(String),
    /// NO with AUTHENTICATIONFAILED, or NO to a login.
    #[error("the mail server refused the login: {0}")]
    Login(String),
    /// NO.
    #[error("the mail server refused: {text}")]
    Refused {
        /// Response code, in capitals.
        code: Option<String>,
        /// The server's words.
        text: String,
    },
    /// BAD.
    #[error("the mail server did not understand: {0}")]
    Bad(String),
    /// A response that is none.
    #[error("the mail server broke the protocol: {0}")]
    Protocol(String),
    /// More than a bound of ours.
    #[error("the mail server sent more than this program takes ({0})")]
    TooMuch(&'static str),
    /// The message is not there (any more).
    #[error("there is no message {0} in this mailbox; list it again")]
    NoSuchMessage(u32),
}

type Result<T> = std::result::Result<T, ImapError>;

/// Told how far a transfer is: octets done, octets in all.
pub type Progress<'a> = &'a mut (dyn FnMut(u64, u64) + Send);

/// A session.
pub struct Imap<S> {
    stream: S,
    input: BytesMut,
    receiver: Receiver,
    tags: u32,
    capabilities: Vec<String>,
    patience: Patience,
    /// Memory that the responses to the present command have taken so far.
    taken: u64,
}

/// Where the octets of a `BODY[]` go as they come.
trait Sink: Send {
    /// A body of so many octets begins. `false`: it is a literal like any other.
    fn begin(&mut self, octets: u64) -> Result<bool>;
    /// Some of its octets.
    fn write(&mut self, octets: &[u8]) -> std::io::Result<()>;
}

/// Everything untagged that a command brought.
#[derive(Default)]
struct Answer {
    replies: Vec<Reply>,
    text: Option<Text>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Imap<S> {
    /// Reads the greeting and asks for the capabilities. `stream` is inside TLS already, or gets there by
    /// [`Imap::start_tls`] before anything is said that matters.
    pub async fn start(stream: S) -> Result<Self> {
        let mut imap = Self::new(stream);
        match imap.next_reply(None).await? {
            Reply::Untagged(Condition::Ok, _) => {}
            Reply::Untagged(Condition::Bye, text) => return Err(ImapError::Closed(text.text)),
            Reply::Untagged(Condition::PreAuth, _) => {
                return Err(ImapError::Protocol("it signs in whoever connects".into()));
            }
            _ => return Err(ImapError::Protocol("no greeting".into())),
        }
        imap.read_capabilities().await?;
        Ok(imap)
    }

    /// Goes on inside the TLS that [`Imap::start_tls`] asked for: no greeting comes, and what was said before in clear
    /// text counts for nothing (RFC 9051 §6.2.1).
    pub async fn resume(stream: S) -> Result<Self> {
        let mut imap = Self::new(stream);
        imap.read_capabilities().await?;
        Ok(imap)
    }

    fn new(stream: S) -> Self {
        Self {
            stream,
            input: BytesMut::with_capacity(16 * 1024),
            receiver: Receiver::new(Limits::CLIENT),
            tags: 0,
            capabilities: Vec::new(),
            patience: Patience::new(SESSION),
            taken: 0,
        }
    }

    /// Whether the server has a capability, e.g. `AUTH=HASHEDPASS`.
    pub fn has(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|c| c.eq_ignore_ascii_case(capability))
    }

    /// The value of a capability such as `APPENDLIMIT=1000`.
    pub fn value(&self, capability: &str) -> Option<&str> {
        self.capabilities.iter().find_map(|c| {
            let (name, value) = c.split_once('=')?;
            name.eq_ignore_ascii_case(capability).then_some(value)
        })
    }

    /// The stream, what was read of it already, and the capabilities: for a bridge, which passes on what it does not
    /// need to understand.
    pub(crate) fn into_parts(self) -> (S, BytesMut, Vec<String>) {
        (self.stream, self.input, self.capabilities)
    }

    async fn read_capabilities(&mut self) -> Result<()> {
        for reply in self.run(Body::Capability).await?.replies {
            if let Reply::Capability(all) = reply {
                self.capabilities = all;
            }
        }
        Ok(())
    }

    /// LOGOUT; the connection ends.
    pub async fn logout(mut self) -> Result<()> {
        match self.run(Body::Logout).await {
            Ok(_) | Err(ImapError::Closed(_)) => Ok(()),
            Err(e) => Err(e),
        }
    }

    fn next_tag(&mut self) -> Tag {
        self.tags += 1;
        self.taken = 0;
        self.patience.earn_time(COMMAND);
        Tag::new(format!("s{}", self.tags)).expect("a letter and digits are a tag")
    }

    async fn run(&mut self, body: Body) -> Result<Answer> {
        self.run_with(body, None).await
    }

    async fn run_with(&mut self, body: Body, sink: Option<&mut (dyn Sink + '_)>) -> Result<Answer> {
        let tag = self.write_command(body).await?;
        self.finish(&tag, sink).await
    }

    /// Sends a command whole; what comes back is still to be read.
    async fn write_command(&mut self, body: Body) -> Result<Tag> {
        let tag = self.next_tag();
        for piece in encode::command(&Command { tag: tag.clone(), body }, Names::Utf7) {
            self.send(&piece.bytes).await?;
            if !piece.wait {
                continue;
            }
            loop {
                match self.next_reply(None).await? {
                    Reply::Continue(_) => break,
                    Reply::Tagged(t, condition, text) if t == tag => {
                        done(condition, text)?;
                        return Err(ImapError::Protocol("it answered half a command".into()));
                    }
                    Reply::Untagged(Condition::Bye, text) => return Err(ImapError::Closed(text.text)),
                    _ => {}
                }
            }
        }
        Ok(tag)
    }

    /// Reads up to the tagged response.
    async fn finish(&mut self, tag: &Tag, mut sink: Option<&mut (dyn Sink + '_)>) -> Result<Answer> {
        let mut answer = Answer::default();
        let mut bye = None;
        loop {
            let reply = match (self.next_reply(sink.as_deref_mut()).await, &bye) {
                (Err(ImapError::Closed(_)), Some(text)) => {
                    return Err(ImapError::Closed(String::clone(text)));
                }
                (other, _) => other?,
            };
            match reply {
                Reply::Tagged(t, condition, text) if t == *tag => {
                    answer.text = Some(done(condition, text)?);
                    return Ok(answer);
                }
                Reply::Tagged(..) => return Err(ImapError::Protocol("an answer to another command".into())),
                Reply::Untagged(Condition::Bye, text) => bye = Some(text.text),
                Reply::Other => {}
                other => answer.replies.push(other),
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.write(bytes).await?;
        let (within, began) = (self.patience.step(SILENCE), Instant::now());
        let flushed = timeout(within, self.stream.flush()).await;
        self.patience.waited_since(began);
        Ok(flushed.map_err(|_| late(within))??)
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let (within, began) = (self.patience.step(SILENCE), Instant::now());
        let written = timeout(within, self.stream.write_all(bytes)).await;
        self.patience.waited_since(began);
        written.map_err(|_| late(within))??;
        self.patience.earn(bytes.len() as u64);
        Ok(())
    }

    /// Reads once; says how many octets came.
    async fn fill(&mut self) -> Result<u64> {
        self.input.reserve(CHUNK);
        let (within, began) = (self.patience.step(SILENCE), Instant::now());
        let read = timeout(within, self.stream.read_buf(&mut self.input)).await;
        self.patience.waited_since(began);
        let octets = read.map_err(|_| late(within))??;
        if octets == 0 {
            return Err(ImapError::Closed("it ended without a word".into()));
        }
        self.patience.earn(octets as u64);
        Ok(octets as u64)
    }

    /// The next response. Those to one command are bounded together, whoever waits for what.
    async fn next_reply(&mut self, mut sink: Option<&mut (dyn Sink + '_)>) -> Result<Reply> {
        let mut before = Zeroizing::new(Vec::new());
        let mut octets = 0;
        loop {
            match self.receiver.receive(&mut self.input) {
                // The receiver throws away what is too long up to its end, and an endless line has none.
                Received::More if octets > RESPONSE_OCTETS_MAX => {
                    return Err(ImapError::TooMuch("one response"));
                }
                Received::More => octets += self.fill().await?,
                Received::TooLong | Received::Endless => return Err(ImapError::TooMuch("one response")),
                Received::Literal(head) => {
                    let streamed = match &mut sink {
                        Some(sink) if announces_body(self.receiver.so_far()) => sink.begin(head.len)?,
                        _ => false,
                    };
                    if let Some(sink) = sink.as_deref_mut().filter(|_| streamed) {
                        before.extend_from_slice(&self.receiver.pass_literal());
                        cut_announcement(&mut before);
                        // What was streamed stands as an empty string where the response is parsed.
                        before.extend_from_slice(b"\"\"");
                        self.stream_literal(head, sink).await?;
                    } else if !self.receiver.accept_literal(head) {
                        return Err(ImapError::TooMuch("one literal"));
                    }
                }
                Received::Whole => {
                    before.extend_from_slice(&self.receiver.take());
                    let parsed = reply(&before, Names::Utf7);
                    let parsed = parsed.map_err(|e| ImapError::Protocol(e.to_string()))?;
                    self.taken += before.len() as u64 + values(&parsed) * VALUE_OVERHEAD;
                    if self.taken > RESPONSES_MAX {
                        return Err(ImapError::TooMuch("responses to one command"));
                    }
                    return Ok(parsed);
                }
            }
        }
    }

    async fn stream_literal(&mut self, head: LiteralHead, sink: &mut (dyn Sink + '_)) -> Result<()> {
        let mut left = head.len;
        while left > 0 {
            if self.input.is_empty() {
                self.fill().await?;
            }
            let n = usize::try_from(left).unwrap_or(usize::MAX).min(self.input.len());
            sink.write(&self.input[..n]).map_err(ImapError::Local)?;
            self.input.advance(n);
            left -= n as u64;
        }
        Ok(())
    }
}

/// Whether a server was silent for as long as it may be, or used up what was left of the session.
fn late(within: Duration) -> ImapError {
    if within == SILENCE { ImapError::Silent } else { ImapError::Slow }
}

/// How many values a response holds: each takes more memory than its octets.
fn values(reply: &Reply) -> u64 {
    let count = match reply {
        Reply::Capability(words) => words.len(),
        Reply::List { attributes, .. } => attributes.len(),
        Reply::Search(uids) => uids.len() / 8,
        Reply::Fetch(items) => items
            .iter()
            .map(|item| if let FetchValue::Flags(flags) = item { flags.len() + 1 } else { 1 })
            .sum(),
        _ => 0,
    };
    count as u64 + 1
}

fn name(mailbox: &str) -> Result<MailboxName> {
    MailboxName::new(mailbox).ok_or_else(|| ImapError::Refused {
        code: None,
        text: "this is no name for a mailbox; leave out line breaks and shorten it".into(),
    })
}

/// Whether a response up to a literal's announcement ends in `BODY[] {n}`.
fn announces_body(so_far: &[u8]) -> bool {
    let mut cut = so_far.to_vec();
    cut_announcement(&mut cut);
    cut.to_ascii_uppercase().ends_with(b"BODY[] ")
}

fn cut_announcement(bytes: &mut Vec<u8>) {
    let at = bytes.iter().rposition(|b| *b == b'{').unwrap_or(bytes.len());
    bytes.truncate(at);
}

fn done(condition: Condition, text: Text) -> Result<Text> {
    match condition {
        Condition::Ok => Ok(text),
        Condition::No => Err(ImapError::Refused { code: text.code, text: text.text }),
        Condition::Bad => Err(ImapError::Bad(text.text)),
        Condition::Bye | Condition::PreAuth => Err(ImapError::Protocol("BYE or PREAUTH with a tag".into())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
