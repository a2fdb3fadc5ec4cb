//! The server's side of SMTP as a state machine: octets in, [`Event`]s and reply octets out.
//!
//! The caller loops: [`Server::next`] until it gives `None`, then write [`Server::output`], then read. Events that
//! ask a question (all but [`Event::Body`] and [`Event::Reset`]) wait for one of the answering methods; until then
//! `next` gives nothing, so that pipelined commands are answered in order. What needs TLS or a signed-in session is
//! judged here, before arguments are looked at, and its events exist in no other state (profile §5).

use super::{
    body::{DotReader, Fault, Judge},
    parse,
    reply::{LINE_MAX as REPLY_LINE_MAX, Reply},
    verb::{
        self, Asked, AskedFor, Chunk, Enrol, KeyCommand, KeyringCommand, LONG_LINE_MAX, Mail, Needs, Rcpt,
        Verb,
    },
};
use crate::{
    address::Address,
    base64,
    phc::{Challenge, Salt},
    sasl::{Credentials, Exchange, SaslError, Step},
};
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use zeroize::Zeroize as _;

/// Commands that were not understood or out of order before the session is ended: enough for a clumsy program, few
/// enough that nobody uses a session to guess.
const ERRORS_MAX: u32 = 50;

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
    /// Check these: [`Server::signed_in`] or [`Server::answer`].
    Credentials(Credentials),
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
    Overlong(Reply),
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
    Mail { smtputf8: bool },
    Rcpt,
    BodyEnd,
    Challenge(Exchange),
    Credentials(SignedIn),
    Other,
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
            match self.step(input)? {
                Some(event) => return Some(event),
                None => continue,
            }
        }
    }

    /// One step: `None` for "more octets", `Some(None)` for "go on".
    fn step(&mut self, input: &mut BytesMut) -> Option<Option<Event>> {
        match &mut self.mode {
            Mode::Command => {
                let mut line = match take_line(input, verb::line_max(input)) {
                    Line::Whole(line) => line,
                    Line::More => return None,
                    Line::TooLong => {
                        self.mode = Mode::Overlong(Reply::new(500, "5.5.2", "Line too long"));
                        return Some(None);
                    }
                };
                let event = self.command(&line);
                line.zeroize(); // it may hold a login hash, a code or a token
                Some(event)
            }
            Mode::Overlong(reply) => {
                if !drop_line(input) {
                    return None;
                }
                let reply = reply.clone();
                self.mode = Mode::Command;
                self.fail(&reply);
                Some(None)
            }
            Mode::Sasl(_) => {
                let line = take_line(input, LONG_LINE_MAX);
                let Mode::Sasl(mut exchange) = std::mem::replace(&mut self.mode, Mode::Command) else {
                    return Some(None);
                };
                match line {
                    Line::Whole(mut line) => {
                        let step = exchange.line(&line);
                        line.zeroize();
                        Some(self.sasl(exchange, step))
                    }
                    Line::More => {
                        self.mode = Mode::Sasl(exchange);
                        None
                    }
                    Line::TooLong => {
                        // RFC 4954 §4 gives this code.
                        self.mode = Mode::Overlong(Reply::new(500, "5.5.6", "Authentication line too long"));
                        Some(None)
                    }
                }
            }
            Mode::Data(reader, judge) => {
                if input.is_empty() {
                    return None;
                }
                let mut out = Vec::with_capacity(input.len());
                let (used, end) = reader.read(input, &mut out);
                let _ = input.split_to(used);
                judge.update(&out);
                if end {
                    // The last octets and the end are two events: the end is found again at the next step.
                    let Mode::Data(_, judge) = std::mem::replace(&mut self.mode, Mode::Command) else {
                        return Some(None);
                    };
                    if let Some(fault) = judge.finish() {
                        return Some(Some(self.refuse_body(fault)));
                    }
                    if out.is_empty() {
                        return Some(Some(self.body_end(judge.is_eight_bit())));
                    }
                    if let Some(t) = &mut self.transaction {
                        t.chunks = Some(judge);
                    }
                    self.mode = Mode::Chunk { left: 0, last: true };
                    return Some(Some(Event::Body(out.into())));
                }
                let keep = judge.fault().is_none() && !out.is_empty();
                Some(keep.then(|| Event::Body(out.into())))
            }
            Mode::Chunk { left, last } => {
                if *left == 0 {
                    let last = *last;
                    self.mode = Mode::Command;
                    return Some(self.chunk_end(last));
                }
                if input.is_empty() {
                    return None;
                }
                let octets = take_up_to(input, left);
                let judge = self.transaction.as_mut()?.chunks.as_mut()?;
                judge.update(&octets);
                Some(judge.fault().is_none().then_some(Event::Body(octets)))
            }
            Mode::Drop { left, then } => {
                if *left > 0 {
                    if input.is_empty() {
                        return None;
                    }
                    let _ = take_up_to(input, left);
                    return Some(None);
                }
                let then = then.clone();
                self.mode = Mode::Command;
                self.fail(&then);
                Some(None)
            }
            Mode::Keyring { replaces, len } => {
                if input.len() < *len {
                    return None;
                }
                let (replaces, data) = (*replaces, input.split_to(*len).to_vec());
                self.mode = Mode::Command;
                Some(self.ask(Asking::Other, Event::Key(KeyCommand::StoreKeyring { replaces, data })))
            }
            Mode::Closed => Some(Some(Event::Close)),
        }
    }

    fn command(&mut self, line: &[u8]) -> Option<Event> {
        let (keyword, args) = match line.iter().position(|b| *b == b' ') {
            Some(space) => (&line[..space], trim(&line[space..])),
            None => (line, &line[line.len()..]),
        };
        let Some(verb) = Verb::from_keyword(keyword) else {
            return self.fail(&Reply::new(500, "5.5.2", "Command not recognized"));
        };
        if args.iter().any(u8::is_ascii_control) {
            return self.fail(&Reply::new(500, "5.5.2", "Control characters in the command line"));
        }
        // XKEYRING brings octets, which must be read whatever the answer is.
        let lack = self.lack(verb.needs());
        if verb == Verb::XKeyring {
            return self.keyring(args, lack);
        }
        if let Some(lack) = lack {
            return self.fail(&lack);
        }
        match self.allowed(verb, args) {
            Ok(event) => event,
            Err(reply) => self.fail(&reply),
        }
    }

    /// What the channel lacks for a verb (profile §5's table).
    fn lack(&self, needs: Needs) -> Option<Reply> {
        match (&self.channel, needs) {
            (_, Needs::Nothing)
            | (Channel::Tls(_), Needs::Tls)
            | (Channel::Tls(SignedIn::HashedPass), Needs::HashedPass) => None,
            (Channel::Clear, _) => Some(starttls_first()),
            (Channel::Tls(_), Needs::HashedPass) => Some(authentication_required()),
        }
    }

    /// A verb whose needs of the channel are met.
    fn allowed(&mut self, verb: Verb, args: &[u8]) -> Result<Option<Event>, Reply> {
        match verb {
            Verb::Helo | Verb::Ehlo => {
                let name = parse::hello(args)?;
                let extended = verb == Verb::Ehlo;
                self.hello = Some((name, extended));
                let reply =
                    if extended { self.ehlo() } else { Reply::bare(250, self.settings.hostname.clone()) };
                reply.write(&mut self.output);
                Ok(self.reset())
            }
            Verb::Mail => {
                self.needs_hello()?;
                if self.transaction.is_some() {
                    return Err(out_of_order("A mail transaction is open; finish it or send RSET"));
                }
                if self.settings.role == Role::Submission {
                    match self.channel {
                        Channel::Clear => return Err(starttls_first()),
                        Channel::Tls(SignedIn::Nobody) => return Err(authentication_required()),
                        Channel::Tls(_) => {}
                    }
                }
                let mail = parse::mail(args)?;
                if mail.size.is_some_and(|size| size > self.settings.message_size) {
                    return Err(self.too_big());
                }
                Ok(self.ask(Asking::Mail { smtputf8: mail.smtputf8 }, Event::Mail(mail)))
            }
            Verb::Rcpt => {
                let limit = self.settings.recipients;
                let transaction = self.open_transaction()?;
                let rcpt = parse::rcpt(args, transaction.smtputf8)?;
                if transaction.recipients >= limit {
                    return Err(Reply::new(452, "4.5.3", "Too many recipients"));
                }
                Ok(self.ask(Asking::Rcpt, Event::Rcpt(rcpt)))
            }
            Verb::Data => {
                parse::nothing(args)?;
                if self.open_transaction()?.recipients == 0 {
                    return Err(out_of_order("No valid recipients"));
                }
                Reply::bare(354, "End data with <CR><LF>.<CR><LF>").write(&mut self.output);
                self.mode = Mode::Data(DotReader::default(), Judge::new(self.settings.message_size));
                Ok(None)
            }
            Verb::Bdat => {
                let chunk = parse::bdat(args)?;
                self.bdat(chunk);
                Ok(None)
            }
            Verb::Rset => {
                parse::nothing(args)?;
                Reply::new(250, "2.0.0", "OK").write(&mut self.output);
                Ok(self.reset())
            }
            Verb::Noop => self.say(&Reply::new(250, "2.0.0", "OK")),
            Verb::Quit => {
                parse::nothing(args)?;
                self.say(&Reply::new(221, "2.0.0", "Bye").and_close())
            }
            Verb::Vrfy => self.say(&Reply::new(252, "2.1.5", "Cannot verify; send mail and see")),
            Verb::Expn => Err(Reply::new(502, "5.5.1", "Command not implemented")),
            Verb::Help => self.say(&Reply::new(214, "2.0.0", "See RFC 5321")),
            Verb::StartTls => {
                parse::nothing(args)?;
                if matches!(self.channel, Channel::Tls(_)) {
                    return Err(out_of_order("TLS is on already"));
                }
                Reply::new(220, "2.0.0", "Ready to start TLS").write(&mut self.output);
                Ok(self.ask(Asking::StartTls, Event::StartTls))
            }
            Verb::Auth => {
                if self.transaction.is_some() {
                    return Err(out_of_order("Not inside a mail transaction"));
                }
                if !matches!(self.channel, Channel::Tls(SignedIn::Nobody)) {
                    return Err(out_of_order("Already signed in"));
                }
                let (mechanism, initial) = parse::auth(args)?;
                let mut exchange = Exchange::new(mechanism);
                let step = exchange.start(initial.as_deref().map(Vec::as_slice));
                Ok(self.sasl(exchange, step))
            }
            Verb::PubKey => self.asked(AskedFor::Key, args),
            Verb::XKeyInfo => self.asked(AskedFor::Chain, args),
            Verb::GetSalt => {
                parse::nothing(args)?;
                Ok(self.ask(Asking::Other, Event::Key(KeyCommand::GetSalt)))
            }
            Verb::RstSalt => {
                parse::nothing(args)?;
                Ok(self.ask(Asking::Other, Event::Key(KeyCommand::RstSalt)))
            }
            Verb::SetPubKey => {
                let command = parse::set_pub_key(args)?;
                Ok(self.ask(Asking::Other, Event::Key(command)))
            }
            Verb::XPasswd => {
                let command = KeyCommand::XPasswd(parse::change_password(args));
                Ok(self.ask(Asking::Other, Event::Key(command)))
            }
            Verb::XEnrol => {
                if matches!(self.channel, Channel::Tls(SignedIn::HashedPass)) {
                    return Err(out_of_order("Already signed in"));
                }
                let enrol = parse::enrol(args)?;
                Ok(self.ask(Asking::Other, Event::Enrol(enrol)))
            }
            // Handled by `keyring`, which reads the octets behind the line.
            Verb::XKeyring => Ok(None),
        }
    }

    fn asked(&mut self, what: AskedFor, args: &[u8]) -> Result<Option<Event>, Reply> {
        let asked = parse::asked(what, args)?;
        Ok(self.ask(Asking::Other, Event::Asked(asked)))
    }

    fn keyring(&mut self, args: &[u8], lack: Option<Reply>) -> Option<Event> {
        match (parse::keyring(args), lack) {
            (Err(reply), _) => self.fail(&reply),
            (Ok(KeyringCommand::Store { len, .. }), Some(lack)) => {
                self.mode = Mode::Drop { left: len as u64, then: lack };
                None
            }
            (Ok(KeyringCommand::Fetch), Some(lack)) => self.fail(&lack),
            (Ok(KeyringCommand::Fetch), None) => {
                self.ask(Asking::Other, Event::Key(KeyCommand::FetchKeyring))
            }
            (Ok(KeyringCommand::Store { replaces, len }), None) => {
                self.mode = Mode::Keyring { replaces, len };
                None
            }
        }
    }

    fn bdat(&mut self, chunk: Chunk) {
        let limit = self.settings.message_size;
        let refusal = match &self.transaction {
            None => Some(out_of_order("No mail transaction is open; send MAIL first")),
            Some(t) if t.recipients == 0 => Some(out_of_order("No valid recipients")),
            Some(_) => None,
        };
        self.mode = match (refusal, &mut self.transaction) {
            (None, Some(t)) => {
                t.chunks.get_or_insert_with(|| Judge::new(limit));
                Mode::Chunk { left: chunk.len, last: chunk.last }
            }
            // RFC 3030 §2: the octets of a refused BDAT are read all the same.
            (refusal, _) => Mode::Drop {
                left: chunk.len,
                then: refusal.unwrap_or_else(|| out_of_order("No mail transaction is open")),
            },
        };
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

    fn sasl(&mut self, exchange: Exchange, step: Result<Step, SaslError>) -> Option<Event> {
        match step {
            Ok(Step::Challenge(octets)) => {
                Reply::bare(334, base64::encode(octets)).write(&mut self.output);
                self.mode = Mode::Sasl(exchange);
                None
            }
            Ok(Step::AskChallenge(user)) => self.ask(Asking::Challenge(exchange), Event::AskChallenge(user)),
            Ok(Step::Done(credentials)) => {
                let kind = match credentials {
                    Credentials::HashedPass { .. } => SignedIn::HashedPass,
                    Credentials::AppPassword { .. } => SignedIn::AppPassword,
                };
                self.ask(Asking::Credentials(kind), Event::Credentials(credentials))
            }
            Err(e) => self.fail(&Reply::new(501, "5.5.2", e.to_string())),
        }
    }

    fn ehlo(&self) -> Reply {
        let mut lines = vec![
            self.settings.hostname.clone(),
            "PIPELINING".into(),
            format!("SIZE {}", self.settings.message_size),
            "8BITMIME".into(),
            "ENHANCEDSTATUSCODES".into(),
            "SMTPUTF8".into(),
            "CHUNKING".into(),
        ];
        lines.push(match self.channel {
            Channel::Clear => "STARTTLS".into(),
            Channel::Tls(_) => "AUTH HASHEDPASS PLAIN LOGIN".into(),
        });
        lines.extend(["ENCRYPTMESSAGE".into(), "SIGNMESSAGE".into(), "XSEALPOST 1".into()]);
        Reply::lines(250, lines)
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

    /// Answers [`Event::AskChallenge`].
    pub fn challenge(&mut self, challenge: &Challenge) {
        if let Asking::Challenge(mut exchange) = std::mem::replace(&mut self.asking, Asking::Nothing) {
            let step = exchange.challenge(challenge);
            let _ = self.sasl(exchange, step);
        }
    }

    /// Answers [`Event::Credentials`]: 235, and for HASHEDPASS `250 SALT` with it (R16).
    pub fn signed_in(&mut self, key_salt: Option<&Salt>) {
        if let Asking::Credentials(kind) = std::mem::replace(&mut self.asking, Asking::Nothing) {
            self.channel = Channel::Tls(kind);
            Reply::new(235, "2.7.0", "Authentication successful").write(&mut self.output);
            if let Some(salt) = key_salt {
                Reply::bare(250, format!("SALT {}", base64::encode(salt.as_bytes()))).write(&mut self.output);
            }
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

    fn ask(&mut self, asking: Asking, event: Event) -> Option<Event> {
        self.asking = asking;
        Some(event)
    }

    fn say(&mut self, reply: &Reply) -> Result<Option<Event>, Reply> {
        reply.write(&mut self.output);
        if reply.closes() {
            self.mode = Mode::Closed;
        }
        Ok(None)
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

    fn needs_hello(&self) -> Result<(), Reply> {
        if self.hello.is_some() { Ok(()) } else { Err(out_of_order("Send EHLO or HELO first")) }
    }

    fn open_transaction(&self) -> Result<&Transaction, Reply> {
        match &self.transaction {
            Some(t) if t.chunks.is_some() => Err(out_of_order("Send the rest of the chunks, or RSET")),
            Some(t) => Ok(t),
            None => Err(out_of_order("No mail transaction is open; send MAIL first")),
        }
    }

    fn too_big(&self) -> Reply {
        let size = self.settings.message_size;
        Reply::new(552, "5.3.4", format!("The message is larger than {size} octets"))
    }
}

/// Without white space at the ends, which RFC 5321 §4.1.1 asks to tolerate before the CRLF.
fn trim(args: &[u8]) -> &[u8] {
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let start = args.iter().position(|b| !blank(b)).unwrap_or(args.len());
    let end = args.iter().rposition(|b| !blank(b)).map_or(start, |last| last + 1);
    &args[start..end]
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
    match window.windows(2).position(|w| w == b"\r\n") {
        Some(end) => {
            let mut line = input.split_to(end + 2);
            line.truncate(end);
            Line::Whole(line)
        }
        None if input.len() >= max => Line::TooLong,
        None => Line::More,
    }
}

/// Drops up to the next CRLF; a CR at the end stays, as its LF may follow.
fn drop_line(input: &mut BytesMut) -> bool {
    if let Some(end) = input.windows(2).position(|w| w == b"\r\n") {
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
