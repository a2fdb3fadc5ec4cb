//! The server's side of POP3 as a state machine: octets in, [`Event`]s and reply octets out.
//!
//! The caller loops: [`Server::next`] until it gives `None`, then write [`Server::output`], then read. An event that asks
//! a question waits for one of the answering methods; until then `next` gives nothing, so that pipelined commands are
//! answered in order. STAT, LIST, UIDL, DELE and RSET need nobody: the maildrop is here.

mod state;

use super::{
    capability,
    command::Command,
    line::{self, AUTH_LINE_MAX, DROP_MAX, LINE_MAX, Line},
    maildrop::{Column, Maildrop, Position},
    message::Writer,
    reply::Reply,
    surrogate::Surrogate,
};
use crate::{
    address::Address,
    base64,
    phc::Challenge,
    sasl::{Credentials, Exchange, Mechanism, Parameters, Question, SaslError, Step},
};
use bytes::BytesMut;
use state::{Authorization, Clear, Outcome, Transaction};
use zeroize::Zeroize as _;

/// Faulty commands in a row until the session ends: a program that does not speak POP3 is not helped by more.
pub const FAULTS_MAX: u32 = 20;
/// Output from which on [`Event::Flush`] asks to write it, in octets: a listing of 100,000 messages, and replies to
/// commands that never pause, take no more memory than this.
pub const OUTPUT_MAX: usize = 32 * 1024;

/// What the caller is to do.
pub enum Event {
    /// Write the output, and go on.
    Flush,
    /// Write the output, throw away input, shake hands, call [`Server::tls_started`].
    StartTls,
    /// HASHEDPASS asks for a challenge: [`Server::challenge`] or [`Server::refuse`].
    AskChallenge(Address),
    /// SCRAM asks for the user's parameters: [`Server::scram`] or [`Server::refuse`].
    AskScram(Question),
    /// Check these: [`Server::signed_in`] (SCRAM: [`Server::proved`]) or [`Server::refuse`]. Never happens outside TLS.
    Credentials(Credentials),
    /// SCRAM is over, and who was checked is signed in: [`Server::signed_in`] or [`Server::refuse`].
    Proved,
    /// RETR, TOP: [`Server::begin_message`], [`Server::push_message`] until it says that there is enough or the message
    /// ends, [`Server::end_message`]; or [`Server::refuse`].
    Retrieve(Position),
    /// QUIT: remove all of these UIDs or none, then [`Server::updated`] or [`Server::refuse`].
    Update(Vec<u32>),
    /// Write the output and close.
    Close,
}

/// Where the session stands; what can be asked of it there is in [`state`].
enum State {
    Clear(Clear),
    Authorization(Authorization),
    Sasl(Exchange),
    Transaction(Transaction),
    /// RFC 1939 §6: QUIT was given in a transaction.
    Update,
    Closed,
}

/// What the last event asked.
enum Asking {
    Nothing,
    StartTls,
    Challenge(Exchange),
    Credentials,
    /// Credentials of SCRAM, whose exchange goes on when they are right.
    Proof(Exchange),
    Retrieve {
        octets: u64,
        lines: Option<u64>,
    },
    /// The message is on its way, by a surrogate of it where the client has not asked for UTF-8.
    Message(Writer, Option<Surrogate>),
    Update,
}

/// What a step came to.
enum Progress {
    Event(Event),
    Again,
    /// More octets are needed.
    More,
}

/// A listing that is being written.
#[derive(Clone, Copy)]
struct Listing {
    column: Column,
    next: usize,
}

/// One session.
pub struct Server {
    state: State,
    asking: Asking,
    listing: Option<Listing>,
    /// Octets dropped of a line that is too long.
    dropping: Option<usize>,
    faults: u32,
    can_bind: bool,
    /// RFC 6856: the client takes headers in UTF-8.
    utf8: bool,
    /// Octets to write.
    pub output: BytesMut,
}

impl Server {
    /// A session; `tls` where TLS is on from the first octet. The greeting is in the output: without a timestamp, since
    /// APOP, which begins with one, needs passwords that the server does not have (RFC 1939 §7).
    pub fn new(hostname: &str, tls: bool) -> Self {
        let mut output = BytesMut::new();
        Reply::ok(format!("{hostname} Sealpost is ready")).write(&mut output);
        Self {
            state: if tls { State::Authorization(Authorization::default()) } else { State::Clear(Clear) },
            asking: Asking::Nothing,
            listing: None,
            dropping: None,
            faults: 0,
            can_bind: false,
            utf8: false,
            output,
        }
    }

    /// Whether SCRAM-SHA-256-PLUS is offered: whether this TLS connection can be bound to.
    pub fn offer_plus(&mut self, can_bind: bool) {
        self.can_bind = can_bind;
    }

    /// Ends the session; nothing is removed (RFC 1939 §6).
    pub fn close(&mut self, reply: &Reply) {
        reply.write(&mut self.output);
        self.state = State::Closed;
        self.asking = Asking::Nothing;
        self.listing = None;
    }

    /// The next event in `input`; `None` where more octets or an answer are needed.
    pub fn next(&mut self, input: &mut BytesMut) -> Option<Event> {
        loop {
            if !matches!(self.asking, Asking::Nothing) {
                return None;
            }
            if self.output.len() >= OUTPUT_MAX {
                return Some(Event::Flush);
            }
            if matches!(self.state, State::Closed) {
                return Some(Event::Close);
            }
            let progress = if let Some(listing) = self.listing.take() {
                self.list(listing);
                Progress::Again
            } else if let Some(dropped) = self.dropping.take() {
                self.drop_line(input, dropped)
            } else {
                self.line(input)
            };
            match progress {
                Progress::Event(event) => return Some(event),
                Progress::Again => {}
                Progress::More => return None,
            }
        }
    }

    fn line(&mut self, input: &mut BytesMut) -> Progress {
        let in_sasl = matches!(self.state, State::Sasl(_));
        let max = if in_sasl || begins_auth(input) { AUTH_LINE_MAX } else { LINE_MAX };
        let mut line = match line::take(input, max) {
            Line::Whole(line) => line,
            Line::More => return Progress::More,
            Line::TooLong => {
                self.dropping = Some(0);
                return Progress::Again;
            }
        };
        let event = match std::mem::replace(&mut self.state, State::Closed) {
            State::Sasl(mut exchange) => {
                let step = exchange.line(&line);
                self.sasl(exchange, step)
            }
            state => match Command::parse(&line) {
                Ok(command) => self.command(state, command),
                Err(fault) => {
                    self.state = state;
                    self.fault(&Reply::err(fault.to_string()));
                    None
                }
            },
        };
        line.zeroize(); // it may hold a login hash or a token
        event.map_or(Progress::Again, Progress::Event)
    }

    /// Drops up to the end of a line that is too long.
    fn drop_line(&mut self, input: &mut BytesMut, dropped: usize) -> Progress {
        let before = input.len();
        let ended = line::skip(input);
        let dropped = dropped + before - input.len();
        if dropped > DROP_MAX {
            self.close(&Reply::err("no end of this line is in sight"));
            return Progress::Again;
        }
        if !ended {
            self.dropping = Some(dropped);
            return Progress::More;
        }
        if matches!(self.state, State::Sasl(_)) {
            self.state = State::Authorization(Authorization::default());
        }
        self.fault(&Reply::err("this line is too long"));
        Progress::Again
    }

    fn command(&mut self, state: State, command: Command) -> Option<Event> {
        let (state, outcome) = match state {
            State::Clear(clear) => clear.command(&command),
            State::Authorization(authorization) => authorization.command(command, self.can_bind),
            State::Transaction(transaction) => transaction.command(&command, self.can_bind),
            // No line is read in these.
            state @ (State::Sasl(_) | State::Update | State::Closed) => (state, Outcome::Quit),
        };
        self.state = state;
        match outcome {
            Outcome::Fault(reply) => {
                self.fault(&reply);
                return None;
            }
            Outcome::Sasl(exchange, step) => return self.sasl(exchange, step),
            _ => self.faults = 0,
        }
        match outcome {
            Outcome::Say(reply) => reply.write(&mut self.output),
            Outcome::Quit => {
                Reply::ok("goodbye").write(&mut self.output);
                self.state = State::Closed;
            }
            Outcome::Lines(reply, lines) => {
                reply.write(&mut self.output);
                for line in lines {
                    self.output.extend_from_slice(line.as_bytes());
                    self.output.extend_from_slice(b"\r\n");
                }
                self.output.extend_from_slice(b".\r\n");
            }
            Outcome::List(reply, column) => {
                reply.write(&mut self.output);
                self.listing = Some(Listing { column, next: 0 });
            }
            Outcome::StartTls => {
                Reply::ok("begin TLS").write(&mut self.output);
                return self.ask(Asking::StartTls, Event::StartTls);
            }
            Outcome::Utf8 => {
                self.utf8 = true;
                Reply::ok("headers come in UTF-8").write(&mut self.output);
            }
            Outcome::Credentials(credentials) => {
                return self.ask(Asking::Credentials, Event::Credentials(credentials));
            }
            Outcome::Retrieve { at, octets, lines } => {
                return self.ask(Asking::Retrieve { octets, lines }, Event::Retrieve(at));
            }
            Outcome::Update(uids) => return self.ask(Asking::Update, Event::Update(uids)),
            Outcome::Fault(_) | Outcome::Sasl(..) => {}
        }
        None
    }

    fn sasl(&mut self, exchange: Exchange, step: Result<Step, SaslError>) -> Option<Event> {
        self.state = State::Authorization(Authorization::default());
        match step {
            Ok(Step::Challenge(octets)) => {
                self.output.extend_from_slice(format!("+ {}\r\n", base64::encode(octets)).as_bytes());
                self.state = State::Sasl(exchange);
                None
            }
            Ok(Step::AskChallenge(user)) => self.ask(Asking::Challenge(exchange), Event::AskChallenge(user)),
            Ok(Step::AskScram(question)) => self.ask(Asking::Challenge(exchange), Event::AskScram(question)),
            Ok(Step::Done(credentials)) => {
                let asking = match credentials {
                    Credentials::Scram(_) => Asking::Proof(exchange),
                    _ => Asking::Credentials,
                };
                self.ask(asking, Event::Credentials(credentials))
            }
            Ok(Step::Proved) => self.ask(Asking::Credentials, Event::Proved),
            Err(error) => {
                self.fault(&Reply::err(error.to_string()));
                None
            }
        }
    }

    /// More of a listing, as much as the output has room for.
    fn list(&mut self, Listing { column, next }: Listing) {
        let State::Transaction(transaction) = &self.state else { return };
        let room = OUTPUT_MAX.saturating_sub(self.output.len());
        let (lines, next) = transaction.maildrop().lines(column, next, room);
        self.output.extend_from_slice(lines.as_bytes());
        match next {
            Some(next) => self.listing = Some(Listing { column, next }),
            None => self.output.extend_from_slice(b".\r\n"),
        }
    }

    #[allow(clippy::unnecessary_wraps, reason = "what a command comes to is an event or none")]
    fn ask(&mut self, asking: Asking, event: Event) -> Option<Event> {
        self.asking = asking;
        Some(event)
    }

    /// Says what was wrong, and counts it.
    fn fault(&mut self, reply: &Reply) {
        reply.write(&mut self.output);
        self.faults += 1;
        if self.faults >= FAULTS_MAX {
            self.close(&Reply::err("too many faulty commands"));
        }
    }

    fn answered(&mut self) -> Asking {
        std::mem::replace(&mut self.asking, Asking::Nothing)
    }

    /// TLS is on: everything said before is forgotten (RFC 2595 §4).
    pub fn tls_started(&mut self) {
        if let Asking::StartTls = self.answered() {
            self.state = State::Authorization(Authorization::default());
        }
    }

    /// Answers [`Event::AskChallenge`].
    pub fn challenge(&mut self, challenge: &Challenge) {
        self.go_on(|exchange| exchange.challenge(challenge));
    }

    /// Answers [`Event::AskScram`].
    pub fn scram(&mut self, parameters: &Parameters) {
        self.go_on(|exchange| exchange.scram(parameters));
    }

    /// Answers [`Event::Credentials`] of SCRAM: the client may now check the server. [`Event::Proved`] follows.
    pub fn proved(&mut self, signature: &[u8; 32]) {
        self.go_on(|exchange| exchange.proved(signature));
    }

    fn go_on(&mut self, answer: impl FnOnce(&mut Exchange) -> Result<Step, SaslError>) {
        if let Asking::Challenge(mut exchange) | Asking::Proof(mut exchange) = self.answered() {
            let step = answer(&mut exchange);
            let _ = self.sasl(exchange, step);
        }
    }

    /// Answers [`Event::Credentials`] and [`Event::Proved`]: the transaction begins.
    pub fn signed_in(&mut self, maildrop: Maildrop) {
        if let Asking::Credentials = self.answered() {
            let (count, octets) = maildrop.stat();
            Reply::ok(format!("{count} messages ({octets} octets)")).write(&mut self.output);
            self.state = State::Transaction(Transaction::new(maildrop));
        }
    }

    /// Answers [`Event::Retrieve`]: the message follows.
    pub fn begin_message(&mut self) {
        if let Asking::Retrieve { octets, lines } = self.answered() {
            let text =
                if lines.is_some() { "the top follows".to_owned() } else { format!("{octets} octets") };
            Reply::ok(text).write(&mut self.output);
            let surrogate = (!self.utf8).then(Surrogate::default);
            self.asking = Asking::Message(Writer::new(lines), surrogate);
        }
    }

    /// The next octets of the message; `false` when enough has come.
    pub fn push_message(&mut self, octets: &[u8]) -> bool {
        match &mut self.asking {
            Asking::Message(writer, None) => writer.push(octets, &mut self.output),
            Asking::Message(writer, Some(surrogate)) => {
                let mut made = Vec::with_capacity(octets.len());
                surrogate.push(octets, &mut made);
                writer.push(&made, &mut self.output)
            }
            _ => false,
        }
    }

    /// The message is whole.
    pub fn end_message(&mut self) {
        if let Asking::Message(mut writer, surrogate) = self.answered() {
            if let Some(surrogate) = surrogate {
                let mut made = Vec::new();
                surrogate.finish(&mut made);
                writer.push(&made, &mut self.output);
            }
            writer.finish(&mut self.output);
        }
    }

    /// Answers [`Event::Update`]: all are gone.
    pub fn updated(&mut self) {
        if let Asking::Update = self.answered() {
            Reply::ok("goodbye, what was marked is gone").write(&mut self.output);
            self.state = State::Closed;
        }
    }

    /// Answers an event with a refusal. Behind QUIT the session ends nevertheless (RFC 1939 §6).
    pub fn refuse(&mut self, reply: &Reply) {
        if let Asking::Update = self.answered() {
            self.state = State::Closed;
        }
        reply.write(&mut self.output);
    }
}

/// AUTH may bring an initial response.
fn begins_auth(input: &[u8]) -> bool {
    input.get(..5).is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH "))
}

/// The lines of CAPA.
fn capabilities(now: capability::When, can_bind: bool) -> Vec<String> {
    let holds = |row: &&capability::Capability| row.when == capability::When::Always || row.when == now;
    let tag = |row: &capability::Capability| match row.tag {
        capability::SASL => format!("SASL {}", mechanisms(can_bind).join(" ")),
        tag => tag.to_owned(),
    };
    capability::ALL.iter().filter(holds).map(tag).collect()
}

fn mechanisms(can_bind: bool) -> Vec<&'static str> {
    Mechanism::offered(can_bind).map(Mechanism::name).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
