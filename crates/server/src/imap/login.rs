//! Before and at login, and what is for the connection as a whole: CAPABILITY, ID, ENABLE, STARTTLS, COMPRESS,
//! AUTHENTICATE, LOGIN, UNAUTHENTICATE (profile §4).

use super::{
    capability::{self, Moment},
    session::{Done, Event, Refusal, Session, ok},
};
use crate::{
    auth::{AuthError, SignedIn},
    conn::Conn,
    sasl::{self, Dialogue, Failure},
};
use sealpost_proto::{
    imap::{
        Atom, Condition, Limits, Received, Receiver, Secret, Tag,
        response::{self, Code},
    },
    sasl::{Credentials, Mechanism},
};
use std::time::Duration;
use zeroize::Zeroizing;

/// How long a client may think between two steps of AUTHENTICATE (Argon2id on a slow telephone).
const STEP_TIMEOUT: Duration = Duration::from_secs(120);

impl Session {
    fn is_tls(&self) -> bool {
        self.conn.as_ref().is_some_and(crate::conn::Conn::is_tls)
    }

    /// The capabilities at this moment.
    pub(super) fn capabilities(&self) -> String {
        capability::list(Moment {
            tls: self.is_tls(),
            can_bind: self.conn.as_ref().is_some_and(Conn::can_bind),
            signed_in: self.signed_in.is_some(),
            message_size: self.ctx.config.limits.message_size,
        })
    }

    pub(super) fn capability(&mut self) -> Result<Done, Refusal> {
        let all = self.capabilities();
        response::line(&mut self.out, format_args!("* CAPABILITY {all}"));
        ok("CAPABILITY done")
    }

    /// RFC 2971. The version is not told: it helps those who look for old ones.
    pub(super) fn id(&mut self) -> Result<Done, Refusal> {
        response::line(&mut self.out, format_args!("* ID (\"name\" \"Sealpost\")"));
        ok("ID done")
    }

    /// RFC 9051 §6.2.1: what the client sent behind the command, in clear text, is thrown away.
    pub(super) async fn start_tls(&mut self, tag: &Tag) -> Result<Done, Refusal> {
        if self.is_tls() {
            return Err(Refusal::Bad("TLS is on already".to_owned()));
        }
        response::status(&mut self.out, Some(tag), Condition::Ok, None, "begin TLS");
        self.flush().await?;
        let Some(conn) = self.conn.take() else { return Err(Refusal::Bye("no connection".to_owned())) };
        self.conn = Some(self.ctx.start_tls(conn).await?);
        self.receiver = Receiver::new(Limits::SERVER);
        // The tagged OK went out before the handshake; nothing more is said.
        Err(Refusal::Silent)
    }

    /// RFC 4978 §3. The OK is the last thing said in the clear; what the client sends next is compressed.
    pub(super) async fn compress(&mut self, tag: &Tag, algorithm: &Atom) -> Result<Done, Refusal> {
        self.account()?;
        if !algorithm.as_str().eq_ignore_ascii_case("DEFLATE") {
            return Err(Refusal::no(Code::Cannot, "only DEFLATE is known here"));
        }
        if self.conn()?.is_compressed() {
            return Err(Refusal::no(Code::CompressionActive, "compression is on already"));
        }
        response::status(&mut self.out, Some(tag), Condition::Ok, None, "compression begins");
        self.flush().await?;
        if let Some(conn) = &mut self.conn {
            conn.compress();
        }
        Err(Refusal::Silent)
    }

    /// RFC 8437: back to the state before login, for another user on the same connection.
    pub(super) fn unauthenticate(&mut self) -> Result<Done, Refusal> {
        self.account()?;
        self.forget_user();
        Ok(Done { code: Some(Code::Capability(self.capabilities())), text: "nobody is signed in" })
    }

    fn may_log_in(&self) -> Result<(), Refusal> {
        if self.signed_in.is_some() {
            Err(Refusal::Bad("this session is signed in already".to_owned()))
        } else if self.is_tls() {
            Ok(())
        } else {
            Err(Refusal::no(Code::PrivacyRequired, "begin TLS first"))
        }
    }

    /// LOGIN takes app passwords only (profile §4).
    pub(super) async fn login(&mut self, user: &[u8], password: &Secret) -> Result<Done, Refusal> {
        self.may_log_in()?;
        let user = String::from_utf8_lossy(user).into_owned();
        // Octets that are no UTF-8 are no token of ours; the reply and its time are those of a wrong one.
        let token = Zeroizing::new(String::from_utf8_lossy(password.expose()).into_owned());
        self.check(Credentials::AppPassword { user, token }).await
    }

    /// AUTHENTICATE with SASL-IR (RFC 4959).
    pub(super) async fn authenticate(
        &mut self,
        mechanism: &Atom,
        initial: Option<Secret>,
    ) -> Result<Done, Refusal> {
        self.may_log_in()?;
        let mechanism = Mechanism::from_name(mechanism.as_str());
        let offered = |m: &Mechanism| self.conn.as_ref().is_some_and(|c| sasl::offered(c).any(|o| o == *m));
        let Some(mechanism) = mechanism.filter(offered) else {
            return Err(Refusal::No(None, "this mechanism is not offered; see CAPABILITY".to_owned()));
        };
        let auth = self.ctx.auth.clone();
        let initial = initial.as_ref().map(Secret::expose);
        match sasl::run(self, &auth, mechanism, initial).await {
            Ok(signed_in) => self.welcome(signed_in),
            Err(Failure::Exchange(error)) => Err(Refusal::Bad(error.to_string())),
            Err(Failure::Auth(error)) => Err(refusal(error)),
            Err(Failure::Line(refusal)) => Err(refusal),
        }
    }

    /// One line of an exchange, without its end.
    async fn line(&mut self) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        // RFC 4954's bound for lines of AUTH. A literal has no place here: its announcement is a faulty line.
        let mut receiver = Receiver::new(Limits { line: 12_288, literal: 0, whole: 12_288 });
        loop {
            let Some(conn) = &mut self.conn else { return Err(Refusal::Bye("no connection".to_owned())) };
            match receiver.receive(&mut conn.input) {
                Received::More => match self.wait(self.before_login(STEP_TIMEOUT)).await? {
                    Event::Input => {}
                    Event::End => return Err(Refusal::Io(std::io::ErrorKind::UnexpectedEof.into())),
                    event => {
                        return Err(Refusal::Bye(
                            event.bye().unwrap_or("the login took too long").to_owned(),
                        ));
                    }
                },
                Received::Whole | Received::Literal(_) => {
                    let mut line = receiver.take();
                    while line.last().is_some_and(|b| matches!(b, b'\r' | b'\n')) {
                        line.pop();
                    }
                    return Ok(line);
                }
                Received::Endless => return Err(Refusal::endless()),
                Received::TooLong => return Err(Refusal::Bad("this line is too long".to_owned())),
            }
        }
    }

    async fn check(&mut self, credentials: Credentials) -> Result<Done, Refusal> {
        let peer = self.conn()?.peer.ip();
        let signed_in = self.ctx.auth.check(credentials, peer).await.map_err(refusal)?;
        self.welcome(signed_in)
    }

    fn welcome(&mut self, signed_in: SignedIn) -> Result<Done, Refusal> {
        let peer = self.conn()?.peer.ip();
        tracing::info!(account = %signed_in.address, %peer, "IMAP login");
        self.signed_in = Some(signed_in);
        Ok(Done { code: Some(Code::Capability(self.capabilities())), text: "signed in" })
    }
}

impl Dialogue for Session {
    type Error = Refusal;

    async fn ask(&mut self, challenge: &str) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        response::line(&mut self.out, format_args!("+ {challenge}"));
        self.flush().await?;
        self.line().await
    }

    fn conn(&self) -> Result<&Conn, Refusal> {
        self.conn.as_ref().ok_or_else(|| Refusal::Bye("no connection".to_owned()))
    }
}

fn refusal(error: AuthError) -> Refusal {
    match error {
        AuthError::Invalid => Refusal::no(Code::AuthenticationFailed, error.to_string()),
        AuthError::TooMany => Refusal::Bye(error.to_string()),
        AuthError::Store(error) => error.into(),
    }
}
