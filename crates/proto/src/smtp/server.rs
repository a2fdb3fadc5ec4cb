//! The server's side of SMTP as a state machine: octets in, [`Event`]s and reply octets out.
//!
//! The caller loops: [`Server::next`] until it gives `None`, then write [`Server::output`], then read. Events that
//! ask a question (all but [`Event::Body`] and [`Event::Reset`]) wait for one of the answering methods; until then
//! `next` gives nothing, so that pipelined commands are answered in order. What needs TLS or a signed-in session is
//! judged here, before arguments are looked at, and its events exist in no other state (profile §5).

mod auth;
mod command;

use super::{
    body::{DotReader, Fault, Judge},
    reply::{LINE_MAX as REPLY_LINE_MAX, Reply},
    verb::{self, Asked, Enrol, KeyCommand, LONG_LINE_MAX, Mail, Rcpt},
};
use crate::{
    address::Address,
    sasl::{Credentials, Exchange, Question},
};
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use zeroize::Zeroize as _;

/// Commands that were not understood or out of order before the session is ended: enough for a clumsy program, few
/// enough that nobody uses a session to guess.
const ERRORS_MAX: u32 = 100;
/// Octets of an over-long line that are dropped in the hope of its end: far above any mistake.
const LINE_DROP_MAX: usize = 1024 * 1024;

/// What the port is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Port 25: mail from other servers for local users.
    Mx,
    /// Ports 587 and 465: mail from signed-in users.
    Submission,
}

/// Settings of a session.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Our name.
    pub hostname: String,
    /// What the port is for.
    pub role: Role,
    /// Largest message, in octets.
    pub message_size: u64,
    /// Recipients of one message.
    pub recipients: usize,
    /// The verbs and mechanisms of the draft are offered. A bridge, which asks them itself, offers none of them.
    pub draft: bool,
}

/// How the session is signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignedIn {
    /// Not.
    Nobody,
    /// By an app password: may send, and is nobody to the draft's verbs.
    AppPassword,
    /// By HASHEDPASS.
    HashedPass,
}

/// What the caller is to do.
pub enum Event {
    /// Write the output, throw away input, shake hands, call [`Server::tls_started`]. Any transaction is over.
    StartTls,
    /// MAIL: [`Server::answer`].
    Mail(Mail),
    /// RCPT: [`Server::answer`].
    Rcpt(Rcpt),
    /// Octets of the message.
    Body(Bytes),
    /// The message is whole: [`Server::answer`] once it is on stable storage.
    BodyEnd {
        /// Whether an octet had the high bit.
        eight_bit: bool,
    },
    /// The transaction is over without a message.
    Reset,
    /// HASHEDPASS asks for a challenge: [`Server::challenge`].
    AskChallenge(Address),
    /// SCRAM asks for the user's parameters: [`Server::scram`].
    AskScram(Question),
    /// Check these: [`Server::signed_in`] (SCRAM: [`Server::proved`]) or [`Server::answer`].
    Credentials(Credentials),
    /// SCRAM is over, and who was checked is signed in: [`Server::signed_in`].
    Proved,
    /// PUBKEY, XKEYINFO: [`Server::answer`].
    Asked(Asked),
    /// A verb of a session signed in by HASHEDPASS: [`Server::answer`].
    Key(KeyCommand),
    /// XENROL: [`Server::answer`].
    Enrol(Enrol),
    /// Write the output and close.
    Close,
}

/// The channel; what stands only in `Tls` cannot happen without it.
enum Channel {
    Clear,
    Tls(SignedIn),
}

struct Transaction {
    smtputf8: bool,
    recipients: usize,
    /// Set by the first BDAT.
    chunks: Option<Judge>,
}

enum Mode {
    Command,
    /// An over-long line: dropped up to its CRLF, then the reply.
    Overlong {
        dropped: usize,
        then: Reply,
    },
    Sasl(Exchange),
    Data(DotReader, Judge),
    Chunk {
        left: u64,
        last: bool,
    },
    /// Octets of a refused BDAT or XKEYRING: dropped, then the reply.
    Drop {
        left: u64,
        then: Reply,
    },
    Keyring {
        replaces: Option<[u8; 32]>,
        len: usize,
    },
    Closed,
}

/// What the last event asked.
enum Asking {
    Nothing,
    StartTls,
    Mail {
        smtputf8: bool,
    },
    Rcpt,
    BodyEnd,
    Challenge(Exchange),
    Credentials(SignedIn),
    /// Credentials of SCRAM, whose exchange goes on when they are right.
    Proof(Exchange),
    Other,
}

/// What a step came to.
enum Progress {
    Event(Event),
    Again,
    /// More octets are needed.
    More,
}

impl From<Option<Event>> for Progress {
    fn from(event: Option<Event>) -> Self {
        event.map_or(Self::Again, Self::Event)
    }
}

/// One session.
pub struct Server {
    settings: Arc<Settings>,
    channel: Channel,
    /// The client's name and whether it said EHLO.
    hello: Option<(String, bool)>,
    transaction: Option<Transaction>,
    mode: Mode,
    asking: Asking,
    errors: u32,
    can_bind: bool,
    /// Octets to write.
    pub output: BytesMut,
}

impl Server {
    /// A session; `tls` where TLS is on from the first octet. The greeting is in the output.
    pub fn new(settings: Arc<Settings>, tls: bool) -> Self {
        let greeting = Reply::bare(220, format!("{} ESMTP Sealpost", settings.hostname));
        let channel = if tls { Channel::Tls(SignedIn::Nobody) } else { Channel::Clear };
        Self {
            settings,
            channel,
            hello: None,
            transaction: None,
            mode: Mode::Command,
            asking: Asking::Nothing,
            errors: 0,
            can_bind: false,
            output: greeting.to_bytes(),
        }
    }

    /// The name the client gave, and whether by EHLO.
    pub fn hello(&self) -> Option<(&str, bool)> {
        self.hello.as_ref().map(|(name, extended)| (name.as_str(), *extended))
    }
    /// Whether a message is being received: the one state in which a shutdown waits.
    pub fn is_receiving(&self) -> bool {
        matches!(self.mode, Mode::Data(..) | Mode::Chunk { .. })
            || matches!(self.asking, Asking::BodyEnd)
            || self.transaction.as_ref().is_some_and(|t| t.chunks.is_some())
    }
    /// Whether the next octets are no command line: those of a message, or of what is refused.
    pub fn takes_octets(&self) -> bool {
        matches!(self.mode, Mode::Data(..) | Mode::Chunk { .. } | Mode::Drop { .. } | Mode::Keyring { .. })
    }
    /// Ends the session with a 421.
    pub fn close(&mut self, reply: &Reply) {
        reply.write(&mut self.output);
        self.mode = Mode::Closed;
        self.asking = Asking::Nothing;
    }

    /// The next event in `input`; `None` where more octets or an answer are needed.
    pub fn next(&mut self, input: &mut BytesMut) -> Option<Event> {
        loop {
            if !matches!(self.asking, Asking::Nothing) {
                return None;
            }
            if matches!(self.mode, Mode::Closed) {
                return Some(Event::Close);
            }
            match self.step(input) {
                Progress::Event(event) => return Some(event),
                Progress::Again => {}
                Progress::More => return None,
            }
        }
    }

    fn step(&mut self, input: &mut BytesMut) -> Progress {
        match &mut self.mode {
            Mode::Command => {
                let mut line = match take_line(input, verb::line_max(input)) {
                    Line::Whole(line) => line,
                    Line::More => return Progress::More,
                    Line::TooLong => {
                        let then = match verb::at_start(input) {
                            Some(verb) if verb.brings_octets() => command::malformed_length(),
                            _ => Reply::new(500, "5.5.2", "Line too long"),
                        };
                        self.mode = Mode::Overlong { dropped: 0, then };
                        return Progress::Again;
                    }
                };
                let event = self.command(&line);
                line.zeroize(); // it may hold a login hash, a code or a token
                event.into()
            }
            Mode::Overlong { dropped, then } => {
                let before = input.len();
                let ended = drop_line(input);
                *dropped += before - input.len();
                let is_endless = *dropped > LINE_DROP_MAX;
                if !ended && !is_endless {
                    return Progress::More;
                }
                let then = then.clone();
                self.mode = Mode::Command;
                self.fail(&then);
                if is_endless && !matches!(self.mode, Mode::Closed) {
                    self.close(&without_end());
                }
                Progress::Again
            }
            Mode::Sasl(_) => {
                let line = take_line(input, LONG_LINE_MAX);
                let Mode::Sasl(mut exchange) = std::mem::replace(&mut self.mode, Mode::Command) else {
                    return Progress::Again;
                };
                match line {
                    Line::Whole(mut line) => {
                        let step = exchange.line(&line);
                        line.zeroize();
                        self.sasl(exchange, step).into()
                    }
                    Line::More => {
                        self.mode = Mode::Sasl(exchange);
                        Progress::More
                    }
                    Line::TooLong => {
                        // RFC 4954 §4 gives this code.
                        let then = Reply::new(500, "5.5.6", "Authentication line too long");
                        self.mode = Mode::Overlong { dropped: 0, then };
                        Progress::Again
                    }
                }
            }
            Mode::Data(reader, judge) => {
                if input.is_empty() {
                    return Progress::More;
                }
                let mut out = Vec::with_capacity(input.len());
                let (used, end) = reader.read(input, &mut out);
                let _ = input.split_to(used);
                judge.update(&out);
                if judge.is_endless() {
                    return self.cut_body().into();
                }
                if end {
                    // The last octets and the end are two events: the end is found again at the next step.
                    let Mode::Data(_, judge) = std::mem::replace(&mut self.mode, Mode::Command) else {
                        return Progress::Again;
                    };
                    if let Some(fault) = judge.finish() {
                        return Progress::Event(self.refuse_body(fault));
                    }
                    if out.is_empty() {
                        return Progress::Event(self.body_end(judge.is_eight_bit()));
                    }
                    if let Some(t) = &mut self.transaction {
                        t.chunks = Some(judge);
                    }
                    self.mode = Mode::Chunk { left: 0, last: true };
                    return Progress::Event(Event::Body(out.into()));
                }
                let keep = judge.fault().is_none() && !out.is_empty();
                keep.then(|| Event::Body(out.into())).into()
            }
            Mode::Chunk { left, last } => {
                if *left == 0 {
                    let last = *last;
                    self.mode = Mode::Command;
                    return self.chunk_end(last).into();
                }
                if input.is_empty() {
                    return Progress::More;
                }
                let octets = take_up_to(input, left);
                let Some(judge) = self.transaction.as_mut().and_then(|t| t.chunks.as_mut()) else {
                    return Progress::Again;
                };
                judge.update(&octets);
                if judge.is_endless() {
                    return self.cut_body().into();
                }
                judge.fault().is_none().then_some(Event::Body(octets)).into()
            }
            Mode::Drop { left, then } => {
                if *left > 0 {
                    if input.is_empty() {
                        return Progress::More;
                    }
                    let _ = take_up_to(input, left);
                    return Progress::Again;
                }
                let then = then.clone();
                self.mode = Mode::Command;
                self.fail(&then);
                Progress::Again
            }
            Mode::Keyring { replaces, len } => {
                if input.len() < *len {
                    return Progress::More;
                }
                let (replaces, data) = (*replaces, input.split_to(*len).to_vec());
                self.mode = Mode::Command;
                Progress::Event(
                    self.ask(Asking::Other, Event::Key(KeyCommand::StoreKeyring { replaces, data })),
                )
            }
            Mode::Closed => Progress::Event(Event::Close),
        }
    }

    fn chunk_end(&mut self, last: bool) -> Option<Event> {
        let judge = self.transaction.as_ref()?.chunks.as_ref()?;
        match (judge.fault(), judge.finish(), last) {
            // Nothing can shrink it again: refused at once, the rest of the BDATs get 503.
            (Some(Fault::TooBig), _, _) => Some(self.refuse_body(Fault::TooBig)),
            (_, Some(fault), true) => Some(self.refuse_body(fault)),
            (_, None, true) => {
                let eight_bit = judge.is_eight_bit();
                Some(self.body_end(eight_bit))
            }
            (_, _, false) => {
                Reply::new(250, "2.0.0", "Chunk received").write(&mut self.output);
                None
            }
        }
    }

    fn body_end(&mut self, eight_bit: bool) -> Event {
        self.asking = Asking::BodyEnd;
        Event::BodyEnd { eight_bit }
    }

    fn refuse_body(&mut self, fault: Fault) -> Event {
        let reply = match fault {
            Fault::BareLineEnd => Reply::new(550, "5.6.11", "The message contains a bare CR or LF"),
            Fault::Nul => Reply::new(550, "5.6.0", "The message contains a NUL octet"),
            Fault::TooBig => self.too_big(),
        };
        reply.write(&mut self.output);
        self.transaction = None;
        Event::Reset
    }

    /// The message has no end: it is refused, and its octets are not read any further.
    fn cut_body(&mut self) -> Option<Event> {
        self.too_big().write(&mut self.output);
        self.transaction = None;
        self.close(&without_end());
        None
    }

    /// Answers the last event.
    pub fn answer(&mut self, reply: &Reply) {
        let positive = reply.is_positive();
        match std::mem::replace(&mut self.asking, Asking::Nothing) {
            Asking::Mail { smtputf8 } if positive => {
                self.transaction = Some(Transaction { smtputf8, recipients: 0, chunks: None });
            }
            Asking::Rcpt if positive => {
                if let Some(t) = &mut self.transaction {
                    t.recipients += 1;
                }
            }
            Asking::BodyEnd => self.transaction = None,
            _ => {}
        }
        reply.write(&mut self.output);
        if reply.closes() {
            self.mode = Mode::Closed;
        }
    }

    /// TLS is on: everything said before is forgotten (RFC 3207 §4.2).
    pub fn tls_started(&mut self) {
        self.asking = Asking::Nothing;
        self.channel = Channel::Tls(SignedIn::Nobody);
        self.hello = None;
        self.transaction = None;
        self.mode = Mode::Command;
    }

    fn ask(&mut self, asking: Asking, event: Event) -> Event {
        self.asking = asking;
        event
    }

    fn say(&mut self, reply: &Reply) {
        reply.write(&mut self.output);
        if reply.closes() {
            self.mode = Mode::Closed;
        }
    }

    /// Says that a command was refused, and counts it.
    fn fail(&mut self, reply: &Reply) -> Option<Event> {
        reply.write(&mut self.output);
        // Refusals that a well-meaning client may meet by the hundred (too many recipients) do not count.
        self.errors += u32::from(matches!(reply.code(), 500..=504 | 530 | 555));
        if reply.closes() {
            self.mode = Mode::Closed;
        } else if self.errors >= ERRORS_MAX {
            self.close(&Reply::new(421, "4.7.0", "Too many errors, closing the connection"));
        }
        None
    }

    fn reset(&mut self) -> Option<Event> {
        self.transaction.take().map(|_| Event::Reset)
    }

    fn too_big(&self) -> Reply {
        let size = self.settings.message_size;
        Reply::new(552, "5.3.4", format!("The message is larger than {size} octets"))
    }
}

/// Behind the refusal of what was given up: the client must not take what it still sends for commands.
fn without_end() -> Reply {
    Reply::new(421, "4.7.0", "No end in sight, closing the connection")
}

/// Before TLS.
fn starttls_first() -> Reply {
    Reply::new(530, "5.7.0", "Must issue a STARTTLS command first")
}

/// In TLS, not signed in (by HASHEDPASS, where that is asked for).
pub fn authentication_required() -> Reply {
    Reply::new(530, "5.7.0", "Authentication required")
}

fn out_of_order(text: &'static str) -> Reply {
    Reply::new(503, "5.5.1", text)
}

/// One base64 text as reply lines of at most 510 octets, code included (profile §9).
pub fn cut_lines(text: &str) -> Vec<String> {
    let width = REPLY_LINE_MAX - "220-".len();
    text.as_bytes().chunks(width).map(|c| String::from_utf8_lossy(c).into_owned()).collect()
}

enum Line {
    Whole(BytesMut),
    More,
    TooLong,
}

/// A line without its CRLF; only CRLF ends it (RFC 5321 §2.3.8). `max` counts the CRLF.
fn take_line(input: &mut BytesMut, max: usize) -> Line {
    let window = &input[..input.len().min(max)];
    match crlf(window) {
        Some(end) => {
            let mut line = input.split_to(end + 2);
            line.truncate(end);
            Line::Whole(line)
        }
        None if input.len() >= max => Line::TooLong,
        None => Line::More,
    }
}

/// Where the first CRLF is. A line may trickle in octet by octet and is looked at each time: at memchr's speed that
/// costs nothing beside the system call.
fn crlf(octets: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'\n', octets).find_map(|lf| lf.checked_sub(1).filter(|cr| octets[*cr] == b'\r'))
}

/// Drops up to the next CRLF; a CR at the end stays, as its LF may follow.
fn drop_line(input: &mut BytesMut) -> bool {
    if let Some(end) = crlf(input) {
        let _ = input.split_to(end + 2);
        return true;
    }
    let keep = usize::from(input.last() == Some(&b'\r'));
    let _ = input.split_to(input.len() - keep);
    false
}

fn take_up_to(input: &mut BytesMut, left: &mut u64) -> Bytes {
    let n = input.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
    *left -= n as u64;
    input.split_to(n).freeze()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
