//! SASL (RFC 4422): HASHEDPASS (profile §4), SCRAM-SHA-256 with and without -PLUS (RFC 5802, RFC 7677), PLAIN (RFC 4616)
//! and LOGIN; the server's exchange as a state machine that SMTP, IMAP and POP3 share.
//!
//! The protocol around it decodes nothing: it hands in the client's lines (still base64) and sends what comes out:
//!
//! ```text
//! Exchange::new(mechanism) ─ start(initial response) ─┬─► Step::Challenge(bytes)   send base64, wait for a line
//!                                    line(octets) ────┼─► Step::AskChallenge(user) ask the authenticator, then
//!                                 challenge(&…) ──────┤                            call `challenge`
//!                                     scram(&…) ──────┼─► Step::AskScram(question) likewise, then call `scram`
//!                                                     ├─► Step::Done(credentials)  ask the authenticator; SCRAM only:
//!                                   proved(&…) ───────┤                            then call `proved`
//!                                                     └─► Step::Proved             the client has seen the proof
//! ```
//!
//! Every [`SaslError`] is 501 5.5.2 in SMTP, `BAD` in IMAP, and no failed login (profile §4).

mod scram;

pub use scram::{Binding, Parameters, Question};

use crate::{
    address::Address,
    base64,
    phc::{Challenge, LoginHash},
};
use zeroize::Zeroizing;

/// Longest PLAIN or LOGIN token taken, in octets: the bound profile §3 sets for passwords.
const TOKEN_MAX: usize = 1024;
/// Longest PLAIN or LOGIN user name, in octets: local part, `@`, domain (RFC 5321 §4.5.3.1).
const USER_MAX: usize = 64 + 1 + 253;

/// A mechanism of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// HASHEDPASS (profile §4).
    HashedPass,
    /// SCRAM-SHA-256-PLUS (RFC 7677), app passwords only; offered where the connection can be bound to.
    ScramSha256Plus,
    /// SCRAM-SHA-256 (RFC 7677), app passwords only.
    ScramSha256,
    /// PLAIN (RFC 4616), app passwords only.
    Plain,
    /// LOGIN (draft-murchison-sasl-login), app passwords only.
    Login,
}

impl Mechanism {
    /// In the order in which they are offered.
    pub const ALL: [Self; 5] =
        [Self::HashedPass, Self::ScramSha256Plus, Self::ScramSha256, Self::Plain, Self::Login];

    /// Those that are offered in TLS; `can_bind` where the connection can be bound to.
    pub fn offered(can_bind: bool) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |m| can_bind || *m != Self::ScramSha256Plus)
    }

    /// Its registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::HashedPass => "HASHEDPASS",
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
        }
    }
    /// By name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.name().eq_ignore_ascii_case(name))
    }
}

/// What the client wants to sign in with. Holds secrets: no `Debug`, cleared on drop.
pub enum Credentials {
    /// HASHEDPASS: the canonical primary address and the login hash.
    HashedPass {
        /// User name.
        user: Address,
        /// Login hash.
        hash: LoginHash,
    },
    /// PLAIN and LOGIN: a user name as typed and an app password.
    AppPassword {
        /// User name, not yet parsed as an address.
        user: String,
        /// The token.
        token: Zeroizing<String>,
    },
    /// SCRAM: a proof that the client knows an app password.
    Scram(Proof),
}

/// What a client proves with in SCRAM (RFC 5802 §3). Worth nothing in another conversation.
pub struct Proof {
    /// User name, not yet parsed as an address.
    pub user: String,
    /// `ClientProof`
    pub proof: [u8; 32],
    /// `AuthMessage`: all that was said.
    pub auth_message: String,
}

/// What to do next.
pub enum Step {
    /// Send these octets in base64 (`334 …`, `+ …`) and hand the client's next line to [`Exchange::line`].
    Challenge(Vec<u8>),
    /// Ask for this user's [`Challenge`] and hand it to [`Exchange::challenge`].
    AskChallenge(Address),
    /// Ask for this user's [`Parameters`] and hand them to [`Exchange::scram`].
    AskScram(Question),
    /// Check these. Those of SCRAM do not end the exchange: the server's signature goes to [`Exchange::proved`].
    Done(Credentials),
    /// The client has the server's proof and goes on: what was checked is signed in now.
    Proved,
}

/// Why an exchange ended without credentials: 501 5.5.2 / BAD. Never holds what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SaslError {
    /// The client sent `*`.
    #[error("Authentication cancelled")]
    Cancelled,
    /// Malformed base64, or `=`.
    #[error("Malformed base64 in the authentication exchange")]
    Base64,
    /// Not the message that the mechanism asks for.
    #[error("Malformed authentication message")]
    Message,
    /// An authorization identity where none may be.
    #[error("An authorization identity is not supported")]
    AuthorizationId,
    /// A user name that is empty or not canonical, or another one in the second step.
    #[error("The user name must be the account's address in canonical form")]
    User,
    /// Not 44 characters of canonical base64, or empty in the second step.
    #[error("The login hash must be 32 octets in padded base64")]
    Hash,
    /// A channel binding that is unknown, not to be had in this connection, or does not go with the mechanism.
    #[error("This channel binding is not supported; use tls-exporter with SCRAM-SHA-256-PLUS, or none")]
    BindingType,
    /// The client is bound to another connection.
    #[error("The channel bindings differ; somebody may stand between client and server")]
    Binding,
    /// The client did not see the mechanisms that were offered.
    #[error("SCRAM-SHA-256-PLUS was offered and not seen; somebody may stand between client and server")]
    Downgrade,
    /// A line where none was asked for; a fault of the caller.
    #[error("Unexpected authentication message")]
    Order,
}

enum State {
    Fresh,
    /// HASHEDPASS or PLAIN without initial response: the empty challenge is out.
    FirstMessage,
    /// HASHEDPASS: waiting for the caller's challenge.
    Asked(Address),
    /// HASHEDPASS: the challenge is out.
    Challenged(Address),
    LoginUser,
    LoginPassword(String),
    /// SCRAM: waiting for the caller's parameters.
    ScramAsked(Box<scram::First>),
    /// SCRAM: waiting for the client's proof.
    Scram(Box<scram::Waiting>),
    /// SCRAM: the caller checks the proof.
    Checking,
    /// SCRAM: the server's proof is out.
    Proved,
    Over,
}

/// One exchange.
pub struct Exchange {
    mechanism: Mechanism,
    state: State,
}

impl Exchange {
    /// A fresh exchange.
    pub fn new(mechanism: Mechanism) -> Self {
        Self { mechanism, state: State::Fresh }
    }

    /// Begins, with the initial response in base64 if the command had one.
    pub fn start(&mut self, initial: Option<&[u8]>) -> Result<Step, SaslError> {
        if !matches!(self.state, State::Fresh) {
            return Err(SaslError::Order);
        }
        self.state = match self.mechanism {
            Mechanism::Login => State::LoginUser,
            _ => State::FirstMessage,
        };
        match (initial, self.mechanism) {
            (Some(text), _) => self.message(text),
            (None, Mechanism::Login) => Ok(Step::Challenge(b"Username:".to_vec())),
            (None, _) => Ok(Step::Challenge(Vec::new())),
        }
    }

    /// The client's answer to a challenge, without CRLF.
    pub fn line(&mut self, text: &[u8]) -> Result<Step, SaslError> {
        if text == b"*" {
            self.state = State::Over;
            return Err(SaslError::Cancelled);
        }
        self.message(text)
    }

    /// The answer to [`Step::AskChallenge`].
    pub fn challenge(&mut self, challenge: &Challenge) -> Result<Step, SaslError> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Asked(user) => {
                self.state = State::Challenged(user);
                Ok(Step::Challenge(challenge.to_phc().into_bytes()))
            }
            _ => Err(SaslError::Order),
        }
    }

    /// The answer to [`Step::AskScram`].
    pub fn scram(&mut self, parameters: &Parameters) -> Result<Step, SaslError> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::ScramAsked(first) => {
                let (message, waiting) = first.answer(parameters)?;
                self.state = State::Scram(Box::new(waiting));
                Ok(Step::Challenge(message.into_bytes()))
            }
            _ => Err(SaslError::Order),
        }
    }

    /// The proof of SCRAM was right: tells the client so, with `ServerSignature` as the server's own proof.
    pub fn proved(&mut self, signature: &[u8; 32]) -> Result<Step, SaslError> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Checking => {
                self.state = State::Proved;
                Ok(Step::Challenge(format!("v={}", base64::encode(signature)).into_bytes()))
            }
            _ => Err(SaslError::Order),
        }
    }

    fn message(&mut self, text: &[u8]) -> Result<Step, SaslError> {
        // Whatever is wrong with the message, the exchange is over.
        let state = std::mem::replace(&mut self.state, State::Over);
        let octets = Zeroizing::new(base64::decode(text).map_err(|_| SaslError::Base64)?);
        match (state, self.mechanism) {
            (State::FirstMessage, Mechanism::HashedPass) => {
                let (user, hash) = hashed_pass(&octets)?;
                if let Some(hash) = hash {
                    Ok(Step::Done(Credentials::HashedPass { user, hash }))
                } else {
                    self.state = State::Asked(user.clone());
                    Ok(Step::AskChallenge(user))
                }
            }
            (State::Challenged(first), _) => {
                let (user, hash) = hashed_pass(&octets)?;
                if user != first {
                    return Err(SaslError::User);
                }
                Ok(Step::Done(Credentials::HashedPass { user, hash: hash.ok_or(SaslError::Hash)? }))
            }
            (State::FirstMessage, Mechanism::ScramSha256 | Mechanism::ScramSha256Plus) => {
                let first = scram::First::parse(&octets, self.mechanism == Mechanism::ScramSha256Plus)?;
                let question = first.question();
                self.state = State::ScramAsked(Box::new(first));
                Ok(Step::AskScram(question))
            }
            (State::Scram(waiting), _) => {
                let proof = waiting.finish(&octets)?;
                self.state = State::Checking;
                Ok(Step::Done(Credentials::Scram(proof)))
            }
            (State::Proved, _) if octets.is_empty() => Ok(Step::Proved),
            (State::Proved, _) => Err(SaslError::Message),
            (State::FirstMessage, _) => plain(&octets),
            (State::LoginUser, _) => {
                self.state = State::LoginPassword(user_name(&octets)?);
                Ok(Step::Challenge(b"Password:".to_vec()))
            }
            (State::LoginPassword(user), _) => {
                Ok(Step::Done(Credentials::AppPassword { user, token: token(&octets)? }))
            }
            (State::Fresh | State::Asked(_) | State::ScramAsked(_) | State::Checking | State::Over, _) => {
                Err(SaslError::Order)
            }
        }
    }
}

/// `NUL user NUL hash`; an empty hash is `None`.
fn hashed_pass(octets: &[u8]) -> Result<(Address, Option<LoginHash>), SaslError> {
    let mut parts = octets.split(|&b| b == 0);
    let (Some(authzid), Some(user), Some(hash), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(SaslError::Message);
    };
    if !authzid.is_empty() {
        return Err(SaslError::AuthorizationId);
    }
    let user = std::str::from_utf8(user).map_err(|_| SaslError::User)?;
    let user = Address::parse_canonical(user).map_err(|_| SaslError::User)?;
    if hash.is_empty() {
        return Ok((user, None));
    }
    let hash = Zeroizing::new(base64::decode(hash).map_err(|_| SaslError::Hash)?);
    let mut raw = Zeroizing::new([0; 32]);
    if hash.len() != raw.len() {
        return Err(SaslError::Hash);
    }
    raw.copy_from_slice(&hash);
    Ok((user, Some(LoginHash::from_bytes(*raw))))
}

/// RFC 4616 §2. An authorization identity is taken only where it is the user's own name, as some programs send it.
fn plain(octets: &[u8]) -> Result<Step, SaslError> {
    let mut parts = octets.split(|&b| b == 0);
    let (Some(authzid), Some(user), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(SaslError::Message);
    };
    if !authzid.is_empty() && authzid != user {
        return Err(SaslError::AuthorizationId);
    }
    Ok(Step::Done(Credentials::AppPassword { user: user_name(user)?, token: token(password)? }))
}

fn user_name(octets: &[u8]) -> Result<String, SaslError> {
    if octets.is_empty() || octets.len() > USER_MAX || octets.contains(&0) {
        return Err(SaslError::User);
    }
    String::from_utf8(octets.to_vec()).map_err(|_| SaslError::User)
}

fn token(octets: &[u8]) -> Result<Zeroizing<String>, SaslError> {
    if octets.is_empty() || octets.len() > TOKEN_MAX || octets.contains(&0) {
        return Err(SaslError::Message);
    }
    let text = std::str::from_utf8(octets).map_err(|_| SaslError::Message)?;
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::phc::{Cost, Salt};
    use proptest::prelude::*;

    const USER: &str = "alice@example.net";

    fn b64(text: &str) -> Vec<u8> {
        base64::encode(text).into_bytes()
    }
    fn hash_text() -> String {
        base64::encode([7u8; 32])
    }
    fn message(authzid: &str, user: &str, hash: &str) -> Vec<u8> {
        b64(&format!("{authzid}\0{user}\0{hash}"))
    }
    fn error(step: Result<Step, SaslError>) -> SaslError {
        step.err().unwrap()
    }
    fn challenge() -> Challenge {
        Challenge { cost: Cost::DEFAULT, salt: Salt::new([9u8; 16]).unwrap() }
    }

    #[test]
    fn r15_one_step() {
        let step = Exchange::new(Mechanism::HashedPass).start(Some(&message("", USER, &hash_text())));
        let Ok(Step::Done(Credentials::HashedPass { user, hash })) = step else { panic!("not done") };
        assert_eq!((user.as_str(), hash.expose()), (USER, &[7; 32]));
    }

    #[test]
    fn r15_two_steps_and_without_initial_response() {
        for initial in [true, false] {
            let mut exchange = Exchange::new(Mechanism::HashedPass);
            let first = message("", USER, "");
            let step = if initial {
                exchange.start(Some(&first))
            } else {
                assert!(matches!(exchange.start(None), Ok(Step::Challenge(c)) if c.is_empty()));
                exchange.line(&first)
            };
            assert!(matches!(step, Ok(Step::AskChallenge(user)) if user.as_str() == USER));
            let Ok(Step::Challenge(text)) = exchange.challenge(&challenge()) else { panic!("no challenge") };
            assert!(text.starts_with(b"$argon2id$v=19$m=65536,t=3,p=1$"));
            let step = exchange.line(&message("", USER, &hash_text()));
            assert!(matches!(step, Ok(Step::Done(_))));
        }
    }

    #[test]
    fn r15_hashed_pass_refusals() {
        use SaslError as E;
        let hash = hash_text();
        let mut not_canonical = hash.clone();
        not_canonical.replace_range(42..43, "d"); // trailing bits of the last group are not zero
        let rows: [(Vec<u8>, E); 15] = [
            (b"=".to_vec(), E::Base64),
            (b"AAA".to_vec(), E::Base64),
            (b"!!!!".to_vec(), E::Base64),
            (b"".to_vec(), E::Message),
            (b64("alice"), E::Message),
            (b64("\0alice@example.net"), E::Message),
            (b64("\0alice@example.net\0\0"), E::Message),
            (message("bob@example.net", USER, &hash), E::AuthorizationId),
            (message("", "", &hash), E::User),
            (message("", "Alice@example.net", &hash), E::User),
            (message("", "alice", &hash), E::User),
            (message("", USER, &base64::encode([7u8; 31])), E::Hash),
            (message("", USER, &base64::encode([7u8; 33])), E::Hash),
            (message("", USER, hash.trim_end_matches('=')), E::Hash),
            (message("", USER, &not_canonical), E::Hash),
        ];
        for (text, want) in rows {
            let got = error(Exchange::new(Mechanism::HashedPass).start(Some(&text)));
            assert_eq!(got, want, "{}", String::from_utf8_lossy(&text));
        }
    }

    #[test]
    fn second_step_needs_the_same_user_and_a_hash() {
        for (text, want) in [
            (message("", "bob@example.net", &hash_text()), SaslError::User),
            (message("", USER, ""), SaslError::Hash),
            (b"*".to_vec(), SaslError::Cancelled),
        ] {
            let mut exchange = Exchange::new(Mechanism::HashedPass);
            assert!(exchange.start(Some(&message("", USER, ""))).is_ok());
            assert!(exchange.challenge(&challenge()).is_ok());
            assert_eq!(error(exchange.line(&text)), want);
            assert_eq!(error(exchange.line(&text)), if text == b"*" { want } else { SaslError::Order });
        }
    }

    /// Found by the fuzzer: after malformed base64 the exchange went on with the next line.
    #[test]
    fn an_exchange_is_over_after_malformed_base64() {
        let mut exchange = Exchange::new(Mechanism::HashedPass);
        assert_eq!(error(exchange.start(Some(b"!"))), SaslError::Base64);
        assert_eq!(error(exchange.line(&message("", USER, &hash_text()))), SaslError::Order);
    }

    #[test]
    fn plain_and_login() {
        for mut exchange in [Exchange::new(Mechanism::Plain), Exchange::new(Mechanism::Login)] {
            let step = if exchange.mechanism == Mechanism::Plain {
                exchange.start(Some(&b64("\0alice@example.net\0token")))
            } else {
                assert!(matches!(exchange.start(None), Ok(Step::Challenge(c)) if c == b"Username:"));
                let step = exchange.line(&b64(USER));
                assert!(matches!(step, Ok(Step::Challenge(c)) if c == b"Password:"));
                exchange.line(&b64("token"))
            };
            let Ok(Step::Done(Credentials::AppPassword { user, token })) = step else { panic!("not done") };
            assert_eq!((user.as_str(), token.as_str()), (USER, "token"));
        }
        let mut own_name = Exchange::new(Mechanism::Plain);
        assert!(own_name.start(Some(&b64("a@b\0a@b\0token"))).is_ok());
        for bad in ["x\0alice\0token", "\0alice\0", "\0\0token", "token", "\0a\0b\0c"] {
            assert!(Exchange::new(Mechanism::Plain).start(Some(&b64(bad))).is_err(), "{bad:?}");
        }
        let long = format!("\0alice\0{}", "x".repeat(TOKEN_MAX + 1));
        assert!(Exchange::new(Mechanism::Plain).start(Some(&b64(&long))).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(lines in proptest::collection::vec(".{0,60}", 0..4), octets: Vec<u8>) {
            for mechanism in Mechanism::ALL {
                let mut exchange = Exchange::new(mechanism);
                let _ = exchange.start(lines.first().map(String::as_bytes));
                for line in &lines { let _ = exchange.line(line.as_bytes()); }
                let _ = Exchange::new(mechanism).start(Some(base64::encode(&octets).as_bytes()));
            }
        }
    }
}
