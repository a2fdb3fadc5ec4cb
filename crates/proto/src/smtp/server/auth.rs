//! AUTH: the exchange between the client and whoever knows the accounts (RFC 4954, profile §4).

use super::{Asking, Channel, Event, Mode, Reply, Server, SignedIn};
use crate::{
    base64,
    phc::{Challenge, Salt},
    sasl::{Credentials, Exchange, Mechanism, Parameters, SaslError, Step},
};

impl Server {
    /// Whether SCRAM-SHA-256-PLUS is offered: whether this TLS connection can be bound to.
    pub fn offer_plus(&mut self, can_bind: bool) {
        self.can_bind = can_bind;
    }

    /// The line of EHLO.
    pub(super) fn mechanisms(&self) -> String {
        let offered = Mechanism::offered(self.can_bind).filter(|m| self.offers(*m));
        offered.fold("AUTH".to_owned(), |line, m| line + " " + m.name())
    }

    /// A bridge knows a password of its own, and nothing else.
    pub(super) fn offers(&self, mechanism: Mechanism) -> bool {
        self.settings.draft || matches!(mechanism, Mechanism::Plain | Mechanism::Login)
    }

    pub(super) fn sasl(&mut self, exchange: Exchange, step: Result<Step, SaslError>) -> Option<Event> {
        match step {
            Ok(Step::Challenge(octets)) => {
                Reply::bare(334, base64::encode(octets)).write(&mut self.output);
                self.mode = Mode::Sasl(exchange);
                None
            }
            Ok(Step::AskChallenge(user)) => {
                Some(self.ask(Asking::Challenge(exchange), Event::AskChallenge(user)))
            }
            Ok(Step::AskScram(question)) => {
                Some(self.ask(Asking::Challenge(exchange), Event::AskScram(question)))
            }
            Ok(Step::Done(credentials)) => {
                let asking = match credentials {
                    Credentials::HashedPass { .. } => Asking::Credentials(SignedIn::HashedPass),
                    Credentials::AppPassword { .. } => Asking::Credentials(SignedIn::AppPassword),
                    Credentials::Scram(_) => Asking::Proof(exchange),
                };
                Some(self.ask(asking, Event::Credentials(credentials)))
            }
            Ok(Step::Proved) => Some(self.ask(Asking::Credentials(SignedIn::AppPassword), Event::Proved)),
            Err(e) => self.fail(&Reply::new(501, "5.5.2", e.to_string())),
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
        if let Asking::Challenge(mut exchange) | Asking::Proof(mut exchange) =
            std::mem::replace(&mut self.asking, Asking::Nothing)
        {
            let step = answer(&mut exchange);
            let _ = self.sasl(exchange, step);
        }
    }

    /// Answers [`Event::Credentials`] and [`Event::Proved`]: 235, and for HASHEDPASS `250 SALT` with it (R16).
    pub fn signed_in(&mut self, key_salt: Option<&Salt>) {
        if let Asking::Credentials(kind) = std::mem::replace(&mut self.asking, Asking::Nothing) {
            self.channel = Channel::Tls(kind);
            Reply::new(235, "2.7.0", "Authentication successful").write(&mut self.output);
            if let Some(salt) = key_salt {
                Reply::bare(250, format!("SALT {}", base64::encode(salt.as_bytes()))).write(&mut self.output);
            }
        }
    }
}
