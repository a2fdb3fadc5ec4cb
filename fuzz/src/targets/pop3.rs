//! POP3: commands come back as they were written, nothing that needs TLS or a login happens without, and a message never
//! ends before its end.

use crate::{Rng, feedback};
use bytes::BytesMut;
use sealpost_proto::{
    phc::{Challenge, Cost, Salt},
    pop3::{
        command::Command,
        maildrop::Maildrop,
        message::Writer,
        reply::{Code, Reply},
        server::{Event, OUTPUT_MAX, Server},
        surrogate::Surrogate,
    },
    sasl::Credentials,
};

/// What the maildrop of a session holds.
const MESSAGES: [&[u8]; 3] = [b"A: 1\r\n\r\n.one\r\n.\r\n", b"A: 2\r\n\r\nno end", b""];
const FIRST_UID: u32 = 40;

/// A line that is a command is the command that is written for it, and shows no secret.
pub(crate) fn command(input: &[u8]) {
    for line in input.split(|b| *b == b'\n') {
        let Ok(command) = Command::parse(line) else { continue };
        feedback::happened(command.shown().split(' ').next().unwrap_or_default());
        let mut written = Vec::new();
        command.write(&mut written);
        let written = written.strip_suffix(b"\r\n").expect("a line");
        assert_eq!(Command::parse(written).as_ref(), Ok(&command), "{command:?}");
        if let Command::Pass(_) = &command {
            assert_eq!(command.shown(), "PASS …");
        }
    }
}

/// A session with a server that has one app password, and takes every hash.
#[allow(clippy::struct_excessive_bools, reason = "each is one thing the machine must not get wrong")]
struct Play {
    server: Server,
    tls: bool,
    signed_in: bool,
    input: BytesMut,
    output: Vec<u8>,
    log: Vec<String>,
    over: bool,
    started_tls: bool,
}

impl Play {
    fn new(tls: bool) -> Self {
        let mut play = Self {
            server: Server::new("pop.example.net", tls),
            tls,
            signed_in: false,
            input: BytesMut::new(),
            output: Vec::new(),
            log: Vec::new(),
            over: false,
            started_tls: false,
        };
        play.output();
        play
    }

    fn output(&mut self) {
        let output = self.server.output.split();
        assert!(output.len() < OUTPUT_MAX + 16 * 1024, "{} octets of output at once", output.len());
        self.output.extend_from_slice(&output);
    }

    fn feed(&mut self, octets: &[u8]) {
        if self.over {
            return;
        }
        self.input.extend_from_slice(octets);
        while let Some(event) = self.server.next(&mut self.input) {
            self.output();
            self.event(event);
            if self.over {
                break;
            }
        }
        self.output();
        assert!(self.output.is_empty() || self.output.ends_with(b"\r\n"), "half a line");
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Flush => {}
            Event::StartTls => {
                assert!(!self.tls && !self.signed_in, "TLS in TLS");
                self.note("STLS");
                self.input.clear();
                self.server.tls_started();
                (self.tls, self.started_tls) = (true, true);
            }
            Event::AskChallenge(user) => {
                assert!(self.tls && !self.signed_in, "AUTH where it may not be");
                self.note(&format!("challenge {user}"));
                let salt = Salt::new([9u8; 16]).expect("16 octets are enough");
                self.server.challenge(&Challenge { cost: Cost::DEFAULT, salt });
            }
            Event::Credentials(credentials) => {
                assert!(self.tls && !self.signed_in, "a password where it may not be");
                self.note("credentials");
                match credentials {
                    Credentials::AppPassword { token, .. } if token.as_str() != "tok3n" => {
                        self.server.refuse(&Reply::coded(Code::Auth, "no"));
                    }
                    Credentials::Scram(_) => self.server.proved(&[8; 32]),
                    _ => self.sign_in(),
                }
            }
            Event::AskScram(question) => {
                assert!(self.tls && !self.signed_in, "AUTH where it may not be");
                self.note("scram");
                self.server.scram(&super::scram_parameters(&question));
            }
            Event::Proved => {
                assert!(self.tls && !self.signed_in, "AUTH where it may not be");
                self.note("proved");
                self.sign_in();
            }
            Event::Retrieve(at) => {
                assert!(self.tls && self.signed_in, "a message without a login");
                self.note("message");
                self.server.begin_message();
                for octet in MESSAGES[at.index()] {
                    if !self.server.push_message(&[*octet]) {
                        break;
                    }
                }
                self.server.end_message();
            }
            Event::Update(uids) => {
                assert!(self.tls && self.signed_in && !uids.is_empty(), "a removal out of place");
                let known = FIRST_UID..FIRST_UID + 3;
                assert!(uids.is_sorted() && uids.iter().all(|uid| known.contains(uid)), "{uids:?}");
                self.note(&format!("removal {uids:?}"));
                self.server.updated();
            }
            Event::Close => {
                self.note("close");
                self.over = true;
            }
        }
    }

    fn sign_in(&mut self) {
        self.signed_in = true;
        let sizes = MESSAGES.iter().map(|message| message.len() as u64);
        self.server.signed_in(Maildrop::new(9, (FIRST_UID..).zip(sizes)));
    }

    fn note(&mut self, text: &str) {
        feedback::happened(text.split(' ').next().unwrap_or_default());
        self.log.push(text.to_owned());
    }
}

/// Any octets, before and in TLS; how they are cut does not matter.
pub(crate) fn session(input: &[u8]) {
    let mut rng = Rng::of(input);
    for tls in [false, true] {
        let mut whole = Play::new(tls);
        whole.feed(input);
        let mut cut = Play::new(tls);
        rng.pieces(input).into_iter().for_each(|piece| cut.feed(piece));
        for line in whole.output.split(|b| *b == b'\n') {
            let words = line.split(|b| *b == b' ').take(2).collect::<Vec<_>>().join(&b' ');
            feedback::happened(&String::from_utf8_lossy(&words));
        }
        // What is in one piece with STLS is thrown away: there, cuts matter by design (RFC 2595 §4).
        if !whole.started_tls && !cut.started_tls {
            assert_eq!(cut.log, whole.log, "it matters how the input is cut");
            assert_eq!(cut.output, whole.output, "it matters how the input is cut");
        }
    }
}

/// What a program gets that has not asked for UTF-8, for a message in pieces.
fn surrogate(pieces: &[&[u8]]) -> Vec<u8> {
    let (mut surrogate, mut out) = (Surrogate::default(), Vec::new());
    for piece in pieces {
        surrogate.push(piece, &mut out);
    }
    surrogate.finish(&mut out);
    out
}

/// Any octets as a message, in pieces: a reader of lines gets them back, and what follows the end is a reply.
pub(crate) fn message(input: &[u8]) {
    let mut rng = Rng::of(input);
    let whole = surrogate(&[input]);
    assert_eq!(surrogate(&rng.pieces(input)), whole, "it matters how the message is cut");
    if input.is_ascii() {
        assert_eq!(whole, input, "ASCII needs no surrogate");
    } else if whole != input {
        feedback::happened("surrogate");
    }
    for lines in [None, Some(rng.below(4) as u64)] {
        let (mut writer, mut wire) = (Writer::new(lines), BytesMut::new());
        for piece in rng.pieces(input) {
            if !writer.push(piece, &mut wire) {
                feedback::happened("enough");
                break;
            }
        }
        writer.finish(&mut wire);
        wire.extend_from_slice(b"+OK next");
        let (mut read, mut rest) = (Vec::new(), &wire[..]);
        loop {
            let end = rest.iter().position(|b| *b == b'\n').expect("the message has an end") + 1;
            let (line, then) = rest.split_at(end);
            rest = then;
            match line.strip_prefix(b".") {
                Some(b"\r\n" | b"\n") => break,
                Some(stuffed) => read.extend_from_slice(stuffed),
                None => read.extend_from_slice(line),
            }
        }
        assert_eq!(rest, b"+OK next", "the message ends too early");
        let has_end = |octets: &[u8]| octets.is_empty() || octets.ends_with(b"\r\n");
        assert!(has_end(&read));
        let whole = if has_end(input) { input.to_vec() } else { [input, b"\r\n"].concat() };
        if lines.is_none() {
            assert_eq!(read, whole);
        } else {
            assert!(whole.starts_with(&read) || whole.starts_with(&read[..read.len() - 2]));
        }
    }
}
