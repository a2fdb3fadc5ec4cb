//! Signing in, and STARTTLS before it.

use super::{Imap, ImapError, Result, done};
use sealpost_proto::{
    base64,
    imap::{Atom, Body, Command, Condition, Names, Reply, Secret, Text, encode},
};
use tokio::io::{AsyncRead, AsyncWrite};
use zeroize::Zeroizing;

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Imap<S> {
    /// STARTTLS. Gives the stream back for the handshake; [`Imap::resume`] goes on inside TLS.
    pub async fn start_tls(mut self) -> Result<S> {
        self.run(Body::StartTls).await?;
        // What came in clear text behind the answer could be anybody's (RFC 9051 §11.3).
        if !self.input.is_empty() {
            return Err(ImapError::Protocol("it went on in clear text after STARTTLS".into()));
        }
        Ok(self.stream)
    }

    /// AUTHENTICATE HASHEDPASS with the whole message `NUL user NUL hash` (profile §4), as initial response.
    pub async fn authenticate_hashed_pass(&mut self, message: &[u8]) -> Result<()> {
        self.authenticate("HASHEDPASS", message).await
    }

    /// AUTHENTICATE PLAIN (RFC 4616) where the server offers it, which takes any octets, else LOGIN.
    pub async fn sign_in(&mut self, user: &str, password: &str) -> Result<()> {
        if self.has("AUTH=PLAIN") {
            // Sized beforehand: a text that grew would leave uncleared copies behind.
            let message = Zeroizing::new(["\0", user, "\0", password].concat());
            return self.authenticate("PLAIN", message.as_bytes()).await;
        }
        if self.has("LOGINDISABLED") {
            return Err(ImapError::Login("it takes no user name with a password".into()));
        }
        self.login(user, password).await
    }

    /// A mechanism whose one message the client knows beforehand.
    async fn authenticate(&mut self, mechanism: &str, message: &[u8]) -> Result<()> {
        let encoded = Zeroizing::new(base64::encode(message));
        let tag = self.next_tag();
        let mechanism = Atom::new(mechanism).ok_or_else(|| ImapError::Protocol("mechanism".into()))?;
        let sasl_ir = self.has("SASL-IR");
        let initial = sasl_ir.then(|| Secret::new(encoded.as_bytes().to_vec()));
        let command = Command { tag: tag.clone(), body: Body::Authenticate { mechanism, initial } };
        for piece in encode::command(&command, Names::Utf7) {
            self.send(&piece.bytes).await?;
        }
        let (mut sent, mut cancelled) = (sasl_ir, false);
        loop {
            match self.next_reply(None).await? {
                Reply::Continue(_) if !sent => {
                    sent = true;
                    let line = Zeroizing::new([encoded.as_bytes(), b"\r\n"].concat());
                    self.send(&line).await?;
                }
                // A challenge to a whole message: the server wants something else; `*` cancels, once.
                Reply::Continue(_) if !cancelled => {
                    cancelled = true;
                    self.send(b"*\r\n").await?;
                }
                Reply::Continue(_) => return Err(ImapError::Protocol("it asks on and on".into())),
                Reply::Tagged(t, condition, text) if t == tag => {
                    login_result(condition, text)?;
                    return self.read_capabilities().await;
                }
                Reply::Untagged(Condition::Bye, text) => return Err(ImapError::Closed(text.text)),
                _ => {}
            }
        }
    }

    /// LOGIN with an app password.
    pub async fn login(&mut self, user: &str, password: &str) -> Result<()> {
        let password = Secret::new(password.as_bytes().to_vec());
        match self.run(Body::Login { user: user.as_bytes().to_vec(), password }).await {
            Ok(_) => self.read_capabilities().await,
            Err(ImapError::Refused { text, .. }) => Err(ImapError::Login(text)),
            Err(e) => Err(e),
        }
    }
}

fn login_result(condition: Condition, text: Text) -> Result<()> {
    match done(condition, text) {
        Ok(_) => Ok(()),
        Err(ImapError::Refused { text, .. }) => Err(ImapError::Login(text)),
        Err(e) => Err(e),
    }
}
