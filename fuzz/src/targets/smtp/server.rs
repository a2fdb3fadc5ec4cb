//! The server's state machine: how the input is cut does not matter, replies are replies, and nothing that needs TLS
//! or a login happens without.

use crate::{Rng, feedback};
use bytes::BytesMut;
use sealpost_proto::{
    phc::{Challenge, Cost, Salt},
    sasl::Credentials,
    smtp::{
        client::{ReplyLimits, ReplyReader},
        reply::Reply,
        server::{Event, Role, Server, Settings},
        verb::KeyCommand,
    },
};
use std::sync::Arc;

/// Largest message here; small, so that inputs get over it.
const MESSAGE_SIZE: u64 = 1_000;

fn new_server(role: Role, tls: bool) -> Server {
    let hostname = "mx.example.net".to_owned();
    let settings = Settings { hostname, role, message_size: MESSAGE_SIZE, recipients: 3, draft: true };
    Server::new(Arc::new(settings), tls)
}

fn salt() -> Salt {
    Salt::new([9; 16]).expect("16 octets are enough")
}

/// A session that says yes to most things and notes what happened.
#[allow(clippy::struct_excessive_bools, reason = "each is one thing the machine must not get wrong")]
struct Play {
    server: Server,
    role: Role,
    tls: bool,
    hashed_pass: bool,
    signed_in: bool,
    transaction: bool,
    recipients: usize,
    input: BytesMut,
    body: Vec<u8>,
    replies: ReplyReader,
    log: Vec<String>,
    /// Answers, made from what the events say, so that they do not depend on how the input is cut.
    asked: u64,
    over: bool,
    started_tls: bool,
}

impl Play {
    fn new(role: Role, tls: bool) -> Self {
        let mut play = Self {
            server: new_server(role, tls),
            role,
            tls,
            hashed_pass: false,
            signed_in: false,
            transaction: false,
            recipients: 0,
            input: BytesMut::new(),
            body: Vec::new(),
            replies: ReplyReader::default(),
            log: Vec::new(),
            asked: 0,
            over: false,
            started_tls: false,
        };
        play.output();
        play
    }

    /// All output is whole, well-formed replies within the limits.
    fn output(&mut self) {
        let mut output = self.server.output.split();
        while let Some(reply) = self.replies.next(&mut output, ReplyLimits::LONG_LINES).expect("a reply") {
            feedback::happened(&reply.code().to_string());
            self.log.push(format!("{} {:?}", reply.code(), reply.lines()));
        }
        assert!(output.is_empty() && !self.replies.is_partial(), "half a reply");
    }

    fn answer(&mut self) -> bool {
        self.asked += 1;
        // Now and then a refusal, and a long run of yes in between.
        let yes = !self.asked.is_multiple_of(7);
        let reply = if yes { Reply::new(250, "2.0.0", "OK") } else { Reply::new(450, "4.2.0", "Not now") };
        self.server.answer(&reply);
        yes
    }

    fn feed(&mut self, octets: &[u8]) {
        if self.over {
            return;
        }
        self.input.extend_from_slice(octets);
        while let Some(event) = self.server.next(&mut self.input) {
            if let Event::Body(octets) = &event {
                assert!(self.transaction && self.recipients > 0, "a message without a recipient");
                assert!(!octets.is_empty());
                self.body.extend_from_slice(octets);
                assert!(self.body.len() as u64 <= MESSAGE_SIZE, "more than the limit is passed on");
                continue;
            }
            self.output();
            self.event(event);
            if self.over {
                return;
            }
        }
        self.output();
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::StartTls => {
                assert!(!self.tls, "TLS in TLS");
                self.note("STARTTLS");
                self.input.clear();
                self.server.tls_started();
                assert!(self.server.hello().is_none(), "EHLO survives STARTTLS");
                (self.tls, self.started_tls, self.transaction) = (true, true, false);
                self.body.clear();
            }
            Event::Mail(mail) => {
                assert!(self.server.hello().is_some(), "MAIL before EHLO");
                assert!(!self.transaction, "MAIL in a transaction");
                assert!(self.role == Role::Mx || self.signed_in, "submission without a login");
                assert!(mail.size.is_none_or(|size| size <= MESSAGE_SIZE));
                self.note(&format!("{mail:?}"));
                self.transaction = self.answer();
                self.recipients = 0;
            }
            Event::Rcpt(rcpt) => {
                assert!(self.transaction && self.recipients < 3);
                self.note(&format!("{rcpt:?}"));
                self.recipients += usize::from(self.answer());
            }
            Event::BodyEnd { eight_bit } => {
                assert!(self.transaction && self.recipients > 0);
                assert_eq!(eight_bit, !self.body.is_ascii());
                assert!(is_clean(&self.body), "a bare CR or LF or a NUL gets through");
                let body = std::mem::take(&mut self.body);
                self.note(&format!("message {:?}", String::from_utf8_lossy(&body)));
                self.answer();
                self.transaction = false;
            }
            Event::Reset => {
                assert!(self.transaction, "a reset of nothing");
                self.note("reset");
                self.transaction = false;
                self.body.clear();
            }
            Event::AskChallenge(user) => {
                assert!(self.tls && !self.signed_in && !self.transaction, "AUTH where it may not be");
                self.note(&format!("challenge {user}"));
                self.server.challenge(&Challenge { cost: Cost::DEFAULT, salt: salt() });
            }
            Event::AskScram(question) => {
                assert!(self.tls && !self.signed_in && !self.transaction, "AUTH where it may not be");
                self.note("scram");
                self.server.scram(&crate::targets::scram_parameters(&question));
            }
            Event::Proved => {
                assert!(self.tls && !self.signed_in && !self.transaction, "AUTH where it may not be");
                (self.signed_in, self.hashed_pass) = (true, false);
                self.note("proved");
                self.server.signed_in(None);
            }
            Event::Credentials(credentials) => {
                assert!(self.tls && !self.signed_in && !self.transaction, "AUTH where it may not be");
                let hashed_pass = matches!(credentials, Credentials::HashedPass { .. });
                self.note("credentials");
                self.asked += 1;
                if self.asked.is_multiple_of(7) {
                    self.server.answer(&Reply::new(535, "5.7.8", "Authentication credentials invalid"));
                } else if matches!(credentials, Credentials::Scram(_)) {
                    self.server.proved(&[8; 32]);
                } else {
                    (self.signed_in, self.hashed_pass) = (true, hashed_pass);
                    self.server.signed_in(hashed_pass.then(salt).as_ref());
                }
            }
            Event::Asked(asked) => {
                self.note(&format!("{asked:?}"));
                self.answer();
            }
            Event::Key(command) => {
                assert!(self.tls && self.hashed_pass, "a key command without HASHEDPASS");
                if let KeyCommand::StoreKeyring { replaces, data } = command {
                    self.note(&format!("keyring {replaces:?} {data:?}"));
                } else {
                    self.note("key");
                }
                self.answer();
            }
            Event::Enrol(enrol) => {
                assert!(self.tls && !self.hashed_pass, "XENROL where it may not be");
                self.note(&format!("enrol {:?}", enrol.address));
                self.answer();
            }
            Event::Close => {
                self.note("close");
                self.over = true;
            }
            Event::Body(_) => {}
        }
    }

    fn note(&mut self, text: &str) {
        feedback::happened(text.split([' ', '(', '{']).next().unwrap_or_default());
        self.log.push(format!("[{text}]"));
    }
}

/// CR and LF as CRLF only, and no NUL.
fn is_clean(octets: &[u8]) -> bool {
    let mut before = 0;
    for &b in octets {
        if (b == b'\n') != (before == b'\r') || b == 0 {
            return false;
        }
        before = b;
    }
    before != b'\r'
}

/// Any octets, on each kind of port.
pub(crate) fn session(input: &[u8]) {
    let mut rng = Rng::of(input);
    for role in [Role::Mx, Role::Submission] {
        for tls in [false, true] {
            let mut whole = Play::new(role, tls);
            whole.feed(input);
            let mut cut = Play::new(role, tls);
            rng.pieces(input).into_iter().for_each(|piece| cut.feed(piece));
            // What is in one piece with STARTTLS is thrown away: there, cuts matter by design (RFC 3207 §6).
            if !whole.started_tls && !cut.started_tls {
                assert_eq!(cut.log, whole.log, "it matters how the input is cut");
            }
        }
    }
}

const BEFORE_DATA: &[u8] = b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nDATA\r\n";

/// DATA as the book has it: ends at the first CRLF `.` CRLF, one dot less on lines that begin with one.
fn by_the_book(input: &[u8]) -> Option<(Vec<u8>, usize)> {
    let lined = [b"\r\n", input].concat();
    let end = lined.windows(5).position(|w| w == b"\r\n.\r\n")?;
    let mut message = Vec::new();
    let mut rest = &lined[2..(end + 2).max(2)];
    while !rest.is_empty() {
        let length = rest.windows(2).position(|w| w == b"\r\n").map_or(rest.len(), |at| at + 2);
        let (line, after) = rest.split_at(length);
        message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        rest = after;
    }
    Some((message, end + 3))
}

/// A message in DATA, however it is cut, is what the simplest reading of RFC 5321 §4.5.2 makes of it; what follows are
/// commands.
pub(crate) fn data(input: &[u8]) {
    let mut rng = Rng::of(input);
    let whole = [input];
    let pieces = rng.pieces(input);
    for pieces in [whole.as_slice(), pieces.as_slice()] {
        let mut play = Play::new(Role::Mx, true);
        play.feed(BEFORE_DATA);
        assert!(play.log.last().is_some_and(|line| line.starts_with("354")), "{:?}", play.log);
        let before = play.log.len();
        for piece in pieces {
            play.feed(piece);
        }
        let Some((message, used)) = by_the_book(input) else {
            assert_eq!(play.log.len(), before, "an end where there is none");
            continue;
        };
        let said = play.log.get(before).map(String::as_str).unwrap_or_default();
        if message.len() as u64 > MESSAGE_SIZE || !is_clean(&message) {
            assert!(said.starts_with("552") || said.starts_with("550"), "{said}");
        } else {
            assert_eq!(said, format!("[message {:?}]", String::from_utf8_lossy(&message)));
        }
        // What follows is read as commands from the right octet on.
        let mut after = Play::new(Role::Mx, true);
        after.feed(BEFORE_DATA);
        after.feed(&input[..used]);
        after.feed(&input[used..]);
        assert_eq!(after.log, play.log);
    }
}

/// The input in chunks of BDAT, however these and the wire are cut: what goes in comes out octet for octet, or is
/// refused for a reason that the input gives.
pub(crate) fn bdat(input: &[u8]) {
    let mut rng = Rng::of(input);
    let chunks = rng.pieces(input);
    let mut wire = b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\n".to_vec();
    let before = 6;
    for (n, chunk) in chunks.iter().enumerate() {
        let last = if n + 1 == chunks.len() { " LAST" } else { "" };
        wire.extend_from_slice(format!("BDAT {}{last}\r\n", chunk.len()).as_bytes());
        wire.extend_from_slice(chunk);
    }
    if chunks.is_empty() {
        wire.extend_from_slice(b"BDAT 0 LAST\r\n");
    }
    wire.extend_from_slice(b"NOOP\r\n");
    let mut whole = Play::new(Role::Mx, true);
    whole.feed(&wire);
    let mut cut = Play::new(Role::Mx, true);
    rng.pieces(&wire).into_iter().for_each(|piece| cut.feed(piece));
    assert_eq!(cut.log, whole.log, "it matters how the input is cut");
    let said = whole.log.get(before.min(whole.log.len())..).unwrap_or_default();
    let message = format!("[message {:?}]", String::from_utf8_lossy(input));
    let good = input.len() as u64 <= MESSAGE_SIZE && is_clean(input);
    let passed = whole.log.iter().filter(|line| line.starts_with("[message ")).count();
    assert_eq!(passed, usize::from(good), "{:?}", whole.log);
    assert!(!good || whole.log.contains(&message), "another message: {:?}", whole.log);
    assert!(good || said.iter().any(|line| line.starts_with("552") || line.starts_with("550")), "{said:?}");
    // The octets are never commands, and what follows them is: one answer to NOOP, the last.
    // Or so many chunks came behind a refusal that the server had enough.
    let last = whole.log.last().map(String::as_str).unwrap_or_default();
    assert!(last.starts_with("250 [\"2.0.0") || (!good && last == "[close]"), "{:?}", whole.log);
}
