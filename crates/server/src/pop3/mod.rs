//! POP3 sessions (RFC 1939). The grammar, the order of commands and the maildrop are `sealpost_proto::pop3::server`'s; here
//! are logins, the messages, and what QUIT removes.
//!
//! The maildrop is INBOX as it was at login. Nothing is locked, though RFC 1939 §4 speaks of a lock: UIDs do not change,
//! the octets of a message stay readable for an hour after it was removed, and a removal of what is gone already is none.
//! So several devices, and IMAP beside them, may be in one mailbox at once, and a session that hangs keeps nobody out.
//! Nothing is marked as read either: only QUIT changes the mailbox.

mod maildrop;

use crate::{
    auth::{AuthError, SignedIn},
    conn::Conn,
    context::Context,
    sasl,
};
use maildrop::Mailbox;
use sealpost_proto::{
    pop3::{
        reply::{Code, Reply},
        server::{Event, Server},
    },
    sasl::Credentials,
};
use sealpost_store::StoreError;
use std::{io, net::IpAddr, time::Duration};
use tokio::time::Instant;

/// RFC 1939 §3: at least 10 minutes without a command are given to everybody.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);
/// Who has not signed in after this long is gone, whatever commands come: a place is for mail.
const LOGIN_DEADLINE: Duration = Duration::from_secs(600);

/// Serves one connection to its end. Implicit TLS has been shaken by the caller.
pub async fn serve(mut conn: Conn, context: Context) {
    let mut session = Session {
        server: Server::new(&context.config.hostname, conn.is_tls()),
        peer: conn.peer.ip(),
        signed_in: None,
        proving: None,
        heard: Instant::now(),
        started: Instant::now(),
        context,
    };
    session.server.offer_plus(conn.can_bind());
    loop {
        match session.turn(&mut conn).await {
            Ok(Turn::Again) => {}
            Ok(Turn::StartTls) => {
                conn = match session.context.start_tls(conn).await {
                    Ok(conn) => conn,
                    Err(error) => return tracing::debug!(%error, "TLS handshake failed"),
                };
                session.server.tls_started();
                session.server.offer_plus(conn.can_bind());
            }
            Ok(Turn::Close) => return conn.close().await,
            Err(error) => return tracing::debug!(%error, "a POP3 connection broke"),
        }
    }
}

enum Turn {
    Again,
    StartTls,
    Close,
}

struct Session {
    context: Context,
    server: Server,
    peer: IpAddr,
    /// Who, and the mailbox as it was then.
    signed_in: Option<(SignedIn, Mailbox)>,
    /// Who is signed in once the client has seen the server's proof (SCRAM).
    proving: Option<SignedIn>,
    /// When the last whole command came.
    heard: Instant,
    started: Instant,
}

impl Session {
    /// Handles what is there, writes, and reads more.
    async fn turn(&mut self, conn: &mut Conn) -> io::Result<Turn> {
        while let Some(event) = self.server.next(&mut conn.input) {
            match event {
                Event::Flush => self.flush(conn).await?,
                Event::StartTls => {
                    self.flush(conn).await?;
                    return Ok(Turn::StartTls);
                }
                Event::Close => {
                    self.flush(conn).await?;
                    return Ok(Turn::Close);
                }
                event => match self.must_close() {
                    Some(reply) => self.server.close(&reply),
                    None => self.handle(event, conn).await?,
                },
            }
            self.heard = Instant::now();
        }
        // Commands that need no handler are answered by the state machine itself.
        if !self.server.output.is_empty() {
            self.heard = Instant::now();
        }
        self.flush(conn).await?;
        self.wait(conn).await
    }

    async fn flush(&mut self, conn: &mut Conn) -> io::Result<()> {
        if self.server.output.is_empty() {
            return Ok(());
        }
        // Taken whole, so that an idle session does not hold the memory of its largest reply.
        let output = std::mem::take(&mut self.server.output);
        conn.write(&output).await
    }

    /// Why the session must end before the next command.
    fn must_close(&self) -> Option<Reply> {
        if self.signed_in.as_ref().is_some_and(|(signed_in, _)| *signed_in.closed.borrow()) {
            return Some(closed_elsewhere());
        }
        self.context.shutdown.borrow().then(shutting_down)
    }

    async fn wait(&mut self, conn: &mut Conn) -> io::Result<Turn> {
        let mut shutdown = self.context.shutdown.clone();
        let mut closed = self.signed_in.as_ref().map(|(signed_in, _)| signed_in.closed.clone());
        let closing = async {
            match &mut closed {
                Some(closed) => drop(closed.wait_for(|c| *c).await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = closing => self.server.close(&closed_elsewhere()),
            _ = shutdown.wait_for(|stop| *stop) => self.server.close(&shutting_down()),
            read = conn.read_by(self.deadline()) => match read? {
                // RFC 1939 §3: when the time is over nothing is removed, and nothing said.
                Some(0) | None => return Ok(Turn::Close),
                Some(_) => {}
            },
        }
        Ok(Turn::Again)
    }

    /// Until when a whole command must have come: half a command does not count.
    fn deadline(&self) -> Instant {
        let idle = self.heard + IDLE_TIMEOUT;
        if self.signed_in.is_some() { idle } else { idle.min(self.started + LOGIN_DEADLINE) }
    }

    async fn handle(&mut self, event: Event, conn: &mut Conn) -> io::Result<()> {
        match event {
            Event::AskChallenge(user) => match self.context.auth.challenge(&user).await {
                Ok(challenge) => self.server.challenge(&challenge),
                Err(error) => self.refuse_login(&error),
            },
            Event::AskScram(question) => match sasl::parameters(&self.context.auth, &question, conn).await {
                Ok(parameters) => self.server.scram(&parameters),
                Err(error) => self.refuse_login(&error),
            },
            Event::Credentials(credentials) => self.sign_in(credentials).await,
            Event::Proved => match self.proving.take() {
                Some(signed_in) if !*signed_in.closed.borrow() => self.open(signed_in).await,
                _ => self.refuse_login(&AuthError::Invalid),
            },
            Event::Retrieve(at) => self.retrieve(at, conn).await?,
            Event::Update(uids) => self.update(&uids).await,
            // Handled by `turn`.
            Event::Flush | Event::StartTls | Event::Close => {}
        }
        Ok(())
    }

    async fn sign_in(&mut self, credentials: Credentials) {
        self.proving = None;
        match self.context.auth.check(credentials, self.peer).await {
            Ok(mut signed_in) => match signed_in.signature.take() {
                Some(signature) => {
                    self.proving = Some(signed_in);
                    self.server.proved(&signature);
                }
                None => self.open(signed_in).await,
            },
            Err(error) => self.refuse_login(&error),
        }
    }

    async fn open(&mut self, signed_in: SignedIn) {
        match Mailbox::open(&*self.context.store, signed_in.account).await {
            Ok((mailbox, maildrop)) => {
                tracing::info!(account = %signed_in.address, peer = %self.peer, "POP3 login");
                self.signed_in = Some((signed_in, mailbox));
                self.server.signed_in(maildrop);
            }
            Err(error) => self.server.refuse(&store_failure(&error)),
        }
    }

    fn refuse_login(&mut self, error: &AuthError) {
        match error {
            AuthError::Invalid => self.server.refuse(&Reply::coded(Code::Auth, error.to_string())),
            AuthError::TooMany => self.server.close(&Reply::coded(Code::LoginDelay, error.to_string())),
            AuthError::Store(error) => self.server.refuse(&store_failure(error)),
        }
    }
}

fn closed_elsewhere() -> Reply {
    Reply::err("the password or key of this account has changed; sign in again")
}

fn shutting_down() -> Reply {
    Reply::coded(Code::SysTemp, "the server is shutting down; connect again in a moment")
}

/// What went wrong is for the log, not for the client.
fn store_failure(error: &StoreError) -> Reply {
    tracing::error!(%error, "the store failed");
    Reply::coded(Code::SysTemp, "the mail store failed; nothing was changed, try again later")
}
