//! The states, each with what is known by then and the commands that it takes; a command consumes its state and gives the
//! next one. A password reaches [`Authorization`] alone, a message number [`Transaction`] alone.

use super::{State, capabilities, mechanisms};
use crate::{
    pop3::{
        capability::When,
        command::Command,
        maildrop::{Column, Maildrop, Position},
        reply::Reply,
    },
    sasl::{Credentials, Exchange, Mechanism, SaslError, Step},
};

/// What a command came to.
pub(super) enum Outcome {
    /// A reply of one line, good or bad.
    Say(Reply),
    /// A reply to a command that makes no sense, or none here.
    Fault(Reply),
    /// A reply of some lines.
    Lines(Reply, Vec<String>),
    /// A line for each message that is left.
    List(Reply, Column),
    StartTls,
    /// From now on messages go out as they are.
    Utf8,
    Sasl(Exchange, Result<Step, SaslError>),
    Credentials(Credentials),
    Retrieve {
        at: Position,
        octets: u64,
        lines: Option<u64>,
    },
    /// UIDs to remove.
    Update(Vec<u32>),
    Quit,
}

fn fault(text: &str) -> Outcome {
    Outcome::Fault(Reply::err(text))
}

fn capa(when: When, can_bind: bool) -> Outcome {
    Outcome::Lines(Reply::ok("capabilities follow"), capabilities(when, can_bind))
}

/// APOP is answered alike everywhere: the server would have to keep the password itself.
fn apop() -> Outcome {
    fault("APOP is not offered; use USER and PASS, or AUTH")
}

/// Before TLS: nothing that is secret has a place here.
pub(super) struct Clear;

impl Clear {
    pub(super) fn command(self, command: &Command) -> (State, Outcome) {
        let outcome = match command {
            Command::Stls => Outcome::StartTls,
            Command::Capa => capa(When::Clear, false),
            Command::Quit => Outcome::Quit,
            Command::Apop => apop(),
            Command::User(_) | Command::Pass(_) | Command::Auth { .. } | Command::AuthList => {
                fault("begin TLS first: STLS, or the port of implicit TLS")
            }
            _ => fault("begin TLS first (STLS), then sign in"),
        };
        (State::Clear(self), outcome)
    }
}

/// In TLS, and nobody is signed in (RFC 1939 §4).
#[derive(Default)]
pub(super) struct Authorization {
    /// From USER; good for one PASS.
    user: Option<String>,
}

impl Authorization {
    pub(super) fn command(mut self, command: Command, can_bind: bool) -> (State, Outcome) {
        let outcome = match command {
            Command::User(name) => {
                // The same words for every name (RFC 1939 §13 leaves it open): who has an account is not told.
                self.user = Some(name);
                Outcome::Say(Reply::ok("now the password"))
            }
            Command::Pass(token) => match self.user.take() {
                Some(user) => Outcome::Credentials(Credentials::AppPassword { user, token }),
                None => fault("USER comes before PASS"),
            },
            Command::Auth { mechanism, initial } => {
                self.user = None;
                match Mechanism::from_name(&mechanism) {
                    Some(mechanism) => {
                        let mut exchange = Exchange::new(mechanism);
                        let step = exchange.start(initial.as_deref().map(String::as_bytes));
                        Outcome::Sasl(exchange, step)
                    }
                    None => fault("this mechanism is not offered; CAPA tells which are"),
                }
            }
            Command::AuthList => Outcome::Lines(
                Reply::ok("mechanisms follow"),
                mechanisms(can_bind).into_iter().map(str::to_owned).collect(),
            ),
            Command::Capa => capa(When::Tls, can_bind),
            Command::Quit => Outcome::Quit,
            Command::Apop => apop(),
            Command::Stls => fault("TLS is on already"),
            // RFC 6856 §2.1: in this state alone.
            Command::Utf8 => Outcome::Utf8,
            _ => fault("sign in first"),
        };
        (State::Authorization(self), outcome)
    }
}

/// Signed in (RFC 1939 §5).
pub(super) struct Transaction {
    maildrop: Maildrop,
}

impl Transaction {
    pub(super) fn new(maildrop: Maildrop) -> Self {
        Self { maildrop }
    }

    pub(super) fn maildrop(&self) -> &Maildrop {
        &self.maildrop
    }

    pub(super) fn command(mut self, command: &Command, can_bind: bool) -> (State, Outcome) {
        let drop = &mut self.maildrop;
        let outcome = match *command {
            Command::Stat => {
                let (count, octets) = drop.stat();
                Outcome::Say(Reply::ok(format!("{count} {octets}")))
            }
            Command::List(None) => Outcome::List(Reply::ok(summary(drop)), Column::Octets),
            Command::Uidl(None) => Outcome::List(Reply::ok("unique ids follow"), Column::UniqueId),
            Command::List(Some(number)) => one_line(drop, number, Column::Octets),
            Command::Uidl(Some(number)) => one_line(drop, number, Column::UniqueId),
            Command::Retr(number) => retrieve(drop, number, None),
            Command::Top { message, lines } => retrieve(drop, message, Some(lines)),
            Command::Dele(number) => Outcome::Say(match drop.find(number) {
                Ok(at) => {
                    drop.delete(at);
                    Reply::ok(format!("message {number} goes at QUIT"))
                }
                Err(missing) => missing,
            }),
            Command::Rset => {
                drop.reset();
                Outcome::Say(Reply::ok(summary(drop)))
            }
            Command::Noop => Outcome::Say(Reply::ok("")),
            Command::Capa => capa(When::Tls, can_bind),
            Command::Quit => {
                let uids = drop.deleted();
                return if uids.is_empty() {
                    (State::Closed, Outcome::Quit)
                } else {
                    (State::Update, Outcome::Update(uids))
                };
            }
            Command::Apop => apop(),
            Command::User(_)
            | Command::Pass(_)
            | Command::Auth { .. }
            | Command::AuthList
            | Command::Utf8
            | Command::Stls => fault("you are signed in already"),
        };
        (State::Transaction(self), outcome)
    }
}

fn summary(drop: &Maildrop) -> String {
    let (count, octets) = drop.stat();
    format!("{count} messages ({octets} octets)")
}

fn one_line(drop: &Maildrop, number: u64, column: Column) -> Outcome {
    Outcome::Say(match drop.find(number) {
        Ok(at) => Reply::ok(drop.line(at, column)),
        Err(missing) => missing,
    })
}

fn retrieve(drop: &Maildrop, number: u64, lines: Option<u64>) -> Outcome {
    match drop.find(number) {
        Ok(at) => Outcome::Retrieve { at, octets: drop.octets(at), lines },
        Err(missing) => Outcome::Say(missing),
    }
}
