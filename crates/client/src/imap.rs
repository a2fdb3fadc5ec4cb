//! Fetching and filing mail: a client of IMAP4rev1 and rev2 over any stream, in practice TLS to the home server.
//!
//! The server is not trusted: every line, literal and count it sends is bounded, and a message goes to the
//! caller's writer without being held in memory.

use bytes::{Buf, BytesMut};
use sealpost_proto::{
    base64,
    drive::Patience,
    imap::{
        Atom, Body, Command, Condition, FetchItem, FetchValue, Flag, Limits, LiteralHead, MailboxName, Names,
        Received, Receiver, Reply, SearchKey, Section, SectionText, SequenceSet, StoreHow, Tag, Text,
        date_time, encode, reply,
    },
    time::Timestamp,
};
use std::{
    io::{Read, Write},
    num::NonZeroU32,
    time::Duration,
};
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
    /// BAD, or a response that is none.
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

/// A mailbox in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Name in UTF-8.
    pub name: String,
    /// Attributes with their backslash: `\Sent`, `\HasNoChildren`, …
    pub attributes: Vec<String>,
}

impl Folder {
    /// Whether it has an attribute, e.g. `\Sent`.
    pub fn has(&self, attribute: &str) -> bool {
        self.attributes.iter().any(|a| a.eq_ignore_ascii_case(attribute))
    }
}

/// What SELECT and EXAMINE tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Selected {
    /// Messages.
    pub exists: u32,
    /// UIDVALIDITY.
    pub uid_validity: u32,
    /// UIDNEXT, where the server says it.
    pub uid_next: Option<u32>,
}

/// A message in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meta {
    /// UID.
    pub uid: u32,
    /// Flags.
    pub flags: Vec<Flag>,
    /// RFC822.SIZE.
    pub size: u64,
    /// INTERNALDATE.
    pub internal_date: Option<Timestamp>,
    /// The header fields asked for, as they stand in the message, with the empty line behind them.
    pub header: Vec<u8>,
}

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

/// Where a `BODY[]` goes.
struct Sink<'a> {
    writer: &'a mut (dyn Write + Send),
    limit: u64,
    progress: Progress<'a>,
    /// Octets written, once a body came.
    written: Option<u64>,
}

/// Everything untagged that a command brought.
#[derive(Default)]
struct Answer {
    replies: Vec<Reply>,
    text: Option<Text>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Imap<S> {
    /// Reads the greeting and asks for the capabilities. `stream` is inside TLS already.
    pub async fn start(stream: S) -> Result<Self> {
        let mut imap = Self {
            stream,
            input: BytesMut::with_capacity(16 * 1024),
            receiver: Receiver::new(Limits::CLIENT),
            tags: 0,
            capabilities: Vec::new(),
            patience: Patience::new(SESSION),
            taken: 0,
        };
        match imap.next_reply(&mut None).await? {
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

    /// Whether the server has a capability, e.g. `AUTH=HASHEDPASS`.
    pub fn has(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|c| c.eq_ignore_ascii_case(capability))
    }

    async fn read_capabilities(&mut self) -> Result<()> {
        for reply in self.run(Body::Capability).await?.replies {
            if let Reply::Capability(all) = reply {
                self.capabilities = all;
            }
        }
        Ok(())
    }

    /// AUTHENTICATE HASHEDPASS with the whole message `NUL user NUL hash` (profile §4), as initial response.
    pub async fn authenticate_hashed_pass(&mut self, message: &[u8]) -> Result<()> {
        let encoded = Zeroizing::new(base64::encode(message));
        let tag = self.next_tag();
        let mechanism = Atom::new("HASHEDPASS").ok_or_else(|| ImapError::Protocol("mechanism".into()))?;
        let sasl_ir = self.has("SASL-IR");
        let initial = sasl_ir.then(|| sealpost_proto::imap::Secret::new(encoded.as_bytes().to_vec()));
        let command = Command { tag: tag.clone(), body: Body::Authenticate { mechanism, initial } };
        for piece in encode::command(&command, Names::Utf7) {
            self.send(&piece.bytes).await?;
        }
        let (mut sent, mut cancelled) = (sasl_ir, false);
        loop {
            match self.next_reply(&mut None).await? {
                Reply::Continue(_) if !sent => {
                    sent = true;
                    let line = Zeroizing::new([encoded.as_bytes(), b"\r\n"].concat());
                    self.send(&line).await?;
                }
                // A challenge to a whole message: the server wants something else; `*` cancels, once.
                Reply::Continue(_) if !cancelled => {
                    cancelled = true;
                    self.send(b"*\r\n").await?;
                }
                Reply::Continue(_) => return Err(ImapError::Protocol("it asks on and on".into())),
                Reply::Tagged(t, condition, text) if t == tag => {
                    login_result(condition, text)?;
                    return self.read_capabilities().await;
                }
                Reply::Untagged(Condition::Bye, text) => return Err(ImapError::Closed(text.text)),
                _ => {}
            }
        }
    }

    /// LOGIN with an app password.
    pub async fn login(&mut self, user: &str, password: &str) -> Result<()> {
        let password = sealpost_proto::imap::Secret::new(password.as_bytes().to_vec());
        match self.run(Body::Login { user: user.as_bytes().to_vec(), password }).await {
            Ok(_) => self.read_capabilities().await,
            Err(ImapError::Refused { text, .. }) => Err(ImapError::Login(text)),
            Err(e) => Err(e),
        }
    }

    /// All mailboxes.
    pub async fn list(&mut self) -> Result<Vec<Folder>> {
        let list = sealpost_proto::imap::List { patterns: vec!["*".into()], ..Default::default() };
        let answer = self.run(Body::List(list)).await?;
        Ok(answer
            .replies
            .into_iter()
            .filter_map(|reply| match reply {
                Reply::List { attributes, name, .. } => Some(Folder { name, attributes }),
                _ => None,
            })
            .collect())
    }

    /// Opens a mailbox to read and change.
    pub async fn select(&mut self, mailbox: &str) -> Result<Selected> {
        self.open(mailbox, false).await
    }

    /// Opens a mailbox to read only.
    pub async fn examine(&mut self, mailbox: &str) -> Result<Selected> {
        self.open(mailbox, true).await
    }

    async fn open(&mut self, mailbox: &str, read_only: bool) -> Result<Selected> {
        let answer = self.run(Body::Select { mailbox: name(mailbox)?, read_only }).await?;
        let mut selected = Selected::default();
        for reply in &answer.replies {
            match reply {
                Reply::Exists(n) => selected.exists = *n,
                Reply::Untagged(Condition::Ok, text) => {
                    let number = text.arguments.parse().ok();
                    match text.code.as_deref() {
                        Some("UIDVALIDITY") => selected.uid_validity = number.unwrap_or_default(),
                        Some("UIDNEXT") => selected.uid_next = number,
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        if selected.uid_validity == 0 {
            return Err(ImapError::Protocol("no UIDVALIDITY".into()));
        }
        Ok(selected)
    }

    /// CREATE.
    pub async fn create(&mut self, mailbox: &str) -> Result<()> {
        self.run(Body::Create { mailbox: name(mailbox)?, special_use: Vec::new() }).await.map(drop)
    }

    /// UIDs of the messages that match, ascending.
    pub async fn search(&mut self, key: SearchKey) -> Result<Vec<u32>> {
        let charset = Some("UTF-8".to_owned());
        let answer = self.run(Body::Search { uid: true, returns: None, charset, key }).await?;
        let mut all: Vec<u32> = Vec::new();
        for reply in answer.replies {
            if let Reply::Search(uids) = reply {
                all.extend(uids);
            }
        }
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }

    /// Flags, size, date and some header fields of messages, by UID. Those that do not exist are left out.
    pub async fn fetch_meta(&mut self, uids: SequenceSet, header_fields: &[&str]) -> Result<Vec<Meta>> {
        let mut items = vec![FetchItem::Uid, FetchItem::Flags, FetchItem::Size, FetchItem::InternalDate];
        if !header_fields.is_empty() {
            let names = header_fields.iter().map(|f| (*f).to_owned()).collect();
            let text = Some(SectionText::HeaderFields { names, not: false });
            let section = Section { part: Vec::new(), text };
            items.push(FetchItem::Section { section, peek: true, partial: None });
        }
        let answer = self.run(Body::Fetch { uid: true, set: uids, items }).await?;
        let mut all: Vec<Meta> = Vec::new();
        for reply in answer.replies {
            let Reply::Fetch(values) = reply else { continue };
            let mut meta = Meta::default();
            // A bare flag update of another session has no size: it is not a row of this listing.
            let mut whole = false;
            for value in values {
                match value {
                    FetchValue::Uid(uid) => meta.uid = uid,
                    FetchValue::Flags(flags) => meta.flags = flags,
                    FetchValue::Size(size) => (meta.size, whole) = (size, true),
                    FetchValue::InternalDate(date) => meta.internal_date = Some(date),
                    FetchValue::Section { data, .. } => meta.header = data.unwrap_or_default(),
                    FetchValue::Other => {}
                }
            }
            if whole && meta.uid != 0 {
                all.push(meta);
            }
        }
        all.sort_by_key(|m| m.uid);
        all.dedup_by_key(|m| m.uid);
        Ok(all)
    }

    /// Writes the whole message to `writer` without setting \Seen; at most `limit` octets. Returns its length.
    pub async fn fetch_message(
        &mut self,
        uid: u32,
        limit: u64,
        writer: &mut (dyn Write + Send),
        progress: Progress<'_>,
    ) -> Result<u64> {
        let number = NonZeroU32::new(uid).ok_or(ImapError::NoSuchMessage(uid))?;
        let item = FetchItem::Section { section: Section::default(), peek: true, partial: None };
        let body = Body::Fetch { uid: true, set: SequenceSet::one(number), items: vec![item] };
        let mut sink = Some(Sink { writer, limit, progress, written: None });
        self.run_with(body, &mut sink).await?;
        sink.and_then(|s| s.written).ok_or(ImapError::NoSuchMessage(uid))
    }

    /// APPEND of exactly `size` octets from `reader`. Returns the UID, where the server says it (UIDPLUS).
    pub async fn append(
        &mut self,
        mailbox: &str,
        flags: &[Flag],
        date: Option<Timestamp>,
        size: u64,
        reader: &mut (dyn Read + Send),
        progress: Progress<'_>,
    ) -> Result<Option<u32>> {
        let tag = self.next_tag();
        let flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
        let date = date.map(|d| format!("\"{}\" ", date_time(d))).unwrap_or_default();
        let name = sealpost_proto::imap::quote_mailbox(&name(mailbox)?, Names::Utf7);
        let head = format!("{tag} APPEND {name} ({}) {date}{{{size}}}\r\n", flags.join(" "));
        self.send(head.as_bytes()).await?;
        loop {
            match self.next_reply(&mut None).await? {
                Reply::Continue(_) => break,
                Reply::Tagged(t, condition, text) if t == tag => {
                    done(condition, text)?;
                    return Err(ImapError::Protocol("it took a message before it came".into()));
                }
                Reply::Untagged(Condition::Bye, text) => return Err(ImapError::Closed(text.text)),
                _ => {}
            }
        }
        let mut buffer = vec![0; CHUNK];
        let mut left = size;
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            let n = reader.read(&mut buffer[..want]).map_err(ImapError::Local)?;
            if n == 0 {
                return Err(ImapError::Local(std::io::ErrorKind::UnexpectedEof.into()));
            }
            self.write(&buffer[..n]).await?;
            left -= n as u64;
            progress(size - left, size);
        }
        self.send(b"\r\n").await?;
        let answer = self.finish(&tag, &mut None).await?;
        // `APPENDUID uidvalidity uid` (RFC 4315).
        let text = answer.text.filter(|t| t.code.as_deref() == Some("APPENDUID"));
        Ok(text.and_then(|t| t.arguments.split(' ').nth(1)?.parse().ok()))
    }

    /// UID STORE, silently.
    pub async fn store_flags(&mut self, uids: SequenceSet, how: StoreHow, flags: Vec<Flag>) -> Result<()> {
        self.run(Body::Store { uid: true, set: uids, how, silent: true, flags }).await.map(drop)
    }

    /// UID COPY.
    pub async fn copy(&mut self, uids: SequenceSet, mailbox: &str) -> Result<()> {
        let mailbox = name(mailbox)?;
        self.run(Body::Copy { uid: true, remove: false, set: uids, mailbox }).await.map(drop)
    }

    /// UID MOVE (RFC 6851).
    pub async fn move_to(&mut self, uids: SequenceSet, mailbox: &str) -> Result<()> {
        let mailbox = name(mailbox)?;
        self.run(Body::Copy { uid: true, remove: true, set: uids, mailbox }).await.map(drop)
    }

    /// Removes those of `uids` that have \Deleted (UIDPLUS); all that have it for `None`.
    pub async fn expunge(&mut self, uids: Option<SequenceSet>) -> Result<()> {
        self.run(Body::Expunge { uids }).await.map(drop)
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
        self.run_with(body, &mut None).await
    }

    async fn run_with(&mut self, body: Body, sink: &mut Option<Sink<'_>>) -> Result<Answer> {
        let tag = self.next_tag();
        for piece in encode::command(&Command { tag: tag.clone(), body }, Names::Utf7) {
            self.send(&piece.bytes).await?;
            if !piece.wait {
                continue;
            }
            loop {
                match self.next_reply(&mut None).await? {
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
        self.finish(&tag, sink).await
    }

    /// Reads up to the tagged response.
    async fn finish(&mut self, tag: &Tag, sink: &mut Option<Sink<'_>>) -> Result<Answer> {
        let mut answer = Answer::default();
        let mut bye = None;
        loop {
            let reply = match (self.next_reply(sink).await, &bye) {
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
    async fn next_reply(&mut self, sink: &mut Option<Sink<'_>>) -> Result<Reply> {
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
                Received::Literal(head) => match sink {
                    Some(sink) if sink.written.is_none() && announces_body(self.receiver.so_far()) => {
                        before = self.receiver.pass_literal();
                        cut_announcement(&mut before);
                        // What was streamed stands as an empty string where the response is parsed.
                        before.extend_from_slice(b"\"\"");
                        self.stream_literal(head, sink).await?;
                    }
                    _ => {
                        if !self.receiver.accept_literal(head) {
                            return Err(ImapError::TooMuch("one literal"));
                        }
                    }
                },
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

    async fn stream_literal(&mut self, head: LiteralHead, sink: &mut Sink<'_>) -> Result<()> {
        if head.len > sink.limit {
            return Err(ImapError::TooMuch("one message"));
        }
        let mut left = head.len;
        while left > 0 {
            if self.input.is_empty() {
                self.fill().await?;
            }
            let n = usize::try_from(left).unwrap_or(usize::MAX).min(self.input.len());
            sink.writer.write_all(&self.input[..n]).map_err(ImapError::Local)?;
            self.input.advance(n);
            left -= n as u64;
            (sink.progress)(head.len - left, head.len);
        }
        sink.written = Some(head.len);
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
        Condition::Bad => Err(ImapError::Protocol(text.text)),
        Condition::Bye | Condition::PreAuth => Err(ImapError::Protocol("BYE or PREAUTH with a tag".into())),
    }
}

fn login_result(condition: Condition, text: Text) -> Result<()> {
    match done(condition, text) {
        Ok(_) => Ok(()),
        Err(ImapError::Refused { text, .. }) => Err(ImapError::Login(text)),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
#[path = "imap_tests.rs"]
mod tests;
