//! SASL over a connection: what is offered on it, and the exchange of a protocol whose sessions wait for its lines, which
//! is IMAP. (The state machines of SMTP and POP3 hold the exchange themselves.)

use crate::{
    auth::{AuthError, Authenticator, SignedIn},
    conn::Conn,
};
use sealpost_proto::{
    base64,
    sasl::{Exchange, Mechanism, Parameters, Question, SaslError, Step},
};
use std::future::Future;
use zeroize::Zeroizing;

/// A session that can put a question to its client.
pub trait Dialogue {
    /// What may go wrong with lines.
    type Error;
    /// Sends a challenge (base64, maybe empty); the client's line, without its end.
    fn ask(
        &mut self,
        challenge: &str,
    ) -> impl Future<Output = Result<Zeroizing<Vec<u8>>, Self::Error>> + Send;
    /// The connection.
    fn conn(&self) -> Result<&Conn, Self::Error>;
}

/// Why nobody is signed in.
pub enum Failure<E> {
    /// 501 / BAD / -ERR: no failed login.
    Exchange(SaslError),
    /// The login failed.
    Auth(AuthError),
    /// The line did not come.
    Line(E),
}

impl<E> From<SaslError> for Failure<E> {
    fn from(error: SaslError) -> Self {
        Self::Exchange(error)
    }
}

impl<E> From<AuthError> for Failure<E> {
    fn from(error: AuthError) -> Self {
        Self::Auth(error)
    }
}

/// The mechanisms offered on a connection: none without TLS.
pub fn offered(conn: &Conn) -> impl Iterator<Item = Mechanism> + use<> {
    let tls = conn.is_tls();
    Mechanism::offered(conn.can_bind()).filter(move |_| tls)
}

/// What SCRAM asks a user with, over this connection.
pub(crate) async fn parameters(
    auth: &Authenticator,
    question: &Question,
    conn: &Conn,
) -> Result<Parameters, AuthError> {
    Ok(Parameters {
        binding: question.binding.and_then(|kind| conn.binding(kind)),
        plus_offered: conn.can_bind(),
        ..auth.scram_parameters(&question.user).await?
    })
}

/// Runs an exchange to its end.
pub async fn run<D: Dialogue + Send>(
    dialogue: &mut D,
    auth: &Authenticator,
    mechanism: Mechanism,
    initial: Option<&[u8]>,
) -> Result<SignedIn, Failure<D::Error>> {
    let mut exchange = Exchange::new(mechanism);
    let mut proving: Option<SignedIn> = None;
    let mut step = exchange.start(initial)?;
    loop {
        step = match step {
            Step::Challenge(octets) => {
                let line = dialogue.ask(&base64::encode(&octets)).await.map_err(Failure::Line)?;
                exchange.line(&line)?
            }
            Step::AskChallenge(user) => exchange.challenge(&auth.challenge(&user).await?)?,
            Step::AskScram(question) => {
                let conn = dialogue.conn().map_err(Failure::Line)?;
                exchange.scram(&parameters(auth, &question, conn).await?)?
            }
            Step::Done(credentials) => {
                let peer = dialogue.conn().map_err(Failure::Line)?.peer.ip();
                let mut signed_in = auth.check(credentials, peer).await?;
                let Some(signature) = signed_in.signature.take() else { return Ok(signed_in) };
                proving = Some(signed_in);
                exchange.proved(&signature)?
            }
            // It may have been revoked while the client looked at the proof: the session would end at once.
            Step::Proved => return proving.ok_or(Failure::Auth(AuthError::Invalid)),
        };
    }
}
