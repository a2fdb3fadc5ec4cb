//! SMTP sessions: MX, submission, and the draft's verbs. The grammar and the order of commands are
//! `sealpost_proto::smtp::server`'s; here every event becomes a [`Reply`].

mod auth;
mod envelope;
mod keys;
mod lookup;
mod receive;
mod trace;

use crate::{auth::SignedIn, conn::Conn, context::Context, limits::transfer_deadline, run::GRACE};
use keys::KeySession;
use receive::Incoming;
use sealpost_proto::smtp::{
    reply::Reply,
    server::{Event, Role, Server, Settings},
};
use sealpost_store::StoreError;
use std::{io, net::IpAddr, sync::Arc, time::Duration};
use tokio::time::Instant;

/// RFC 5321 §4.5.3.2.7: a server waits at least 5 minutes for the next command (and as long inside DATA).
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Without a message accepted, a login or a look-up for this long a session ends, whatever commands it gives: a place is for mail.
const FRUITLESS_TIMEOUT: Duration = Duration::from_secs(3600);
/// After the server began to stop a message has this long to end; then it is told so, a second before the end.
const LAST_CALL: Duration = Duration::from_secs(GRACE.as_secs() - 1);
/// Replies to pipelined commands are collected up to this, then written.
const OUTPUT_FLUSH: usize = 32 * 1024;

/// Serves one connection to its end.
pub async fn serve(mut conn: Conn, context: Context, role: Role) {
    let limits = &context.config.limits;
    let settings = Settings {
        hostname: context.config.hostname.clone(),
        role,
        message_size: limits.message_size,
        recipients: limits.recipients,
        draft: true,
    };
    let mut session = Session {
        server: Server::new(Arc::new(settings), conn.is_tls()),
        peer: conn.peer.ip(),
        local: conn.local.ip(),
        tls: conn.tls_description(),
        who: Who::Nobody,
        proving: None,
        incoming: None,
        heard: Instant::now(),
        transfer: None,
        last_call: None,
        fruitful: Instant::now(),
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
                session.tls = conn.tls_description();
                session.server.tls_started();
                session.server.offer_plus(conn.can_bind());
            }
            Ok(Turn::Close) => return conn.close().await,
            Err(error) => return tracing::debug!(%error, "connection lost"),
        }
    }
}

/// Who is at the other end. What only HASHEDPASS may do takes a [`KeySession`], which nothing else yields.
enum Who {
    Nobody,
    AppPassword(SignedIn),
    HashedPass(Box<KeySession>),
}

impl Who {
    fn signed_in(&self) -> Option<&SignedIn> {
        match self {
            Self::Nobody => None,
            Self::AppPassword(signed_in) => Some(signed_in),
            Self::HashedPass(session) => Some(&session.signed_in),
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
    /// Our end of the connection.
    local: IpAddr,
    /// TLS version and suite, for the trace header.
    tls: Option<String>,
    who: Who,
    /// Who is signed in once the client has seen the server's proof (SCRAM).
    proving: Option<SignedIn>,
    /// The mail transaction, if one is open.
    incoming: Option<Incoming>,
    /// When the last whole command, or piece of a message, came.
    heard: Instant,
    /// When the message, or chunk of octets, on its way in began, and how many octets came of it.
    transfer: Option<(Instant, u64)>,
    /// Until when the message must be whole that was on its way in when the server began to stop.
    last_call: Option<Instant>,
    /// When the session began, or last did what it is for.
    fruitful: Instant,
}

impl Session {
    /// Handles what is there, writes, and reads more.
    async fn turn(&mut self, conn: &mut Conn) -> io::Result<Turn> {
        while let Some(event) = self.server.next(&mut conn.input) {
            self.heard = Instant::now();
            match event {
                Event::StartTls => {
                    self.incoming = None;
                    self.flush(conn).await?;
                    return Ok(Turn::StartTls);
                }
                Event::Close => {
                    self.flush(conn).await?;
                    return Ok(Turn::Close);
                }
                event => {
                    if let Some(reply) =
                        self.must_close(matches!(event, Event::Body(_) | Event::BodyEnd { .. }))
                    {
                        self.server.close(&reply);
                    } else {
                        self.handle(event, conn).await;
                    }
                }
            }
            if self.server.output.len() > OUTPUT_FLUSH {
                self.flush(conn).await?;
            }
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
        let output = self.server.output.split();
        conn.write(&output).await
    }

    /// The 421, if the session must end before the next command: its account was closed, or the server stops (which
    /// lets a message that is being received end first).
    fn must_close(&self, receiving: bool) -> Option<Reply> {
        if self.who.signed_in().is_some_and(|s| *s.closed.borrow()) {
            return Some(closed_elsewhere());
        }
        (*self.context.shutdown.borrow() && !receiving).then(shutting_down)
    }

    async fn wait(&mut self, conn: &mut Conn) -> io::Result<Turn> {
        let mut shutdown = self.context.shutdown.clone();
        let mut closed = self.who.signed_in().map(|s| s.closed.clone());
        let receiving = self.server.is_receiving();
        // Who could say so being gone counts as the end, too.
        if receiving && (*shutdown.borrow() || shutdown.has_changed().is_err()) {
            self.last_call.get_or_insert_with(|| Instant::now() + LAST_CALL);
        }
        if receiving || self.server.takes_octets() {
            self.transfer.get_or_insert((Instant::now(), 0));
        } else {
            self.transfer = None;
        }
        let closing = async {
            match &mut closed {
                Some(closed) => drop(closed.wait_for(|c| *c).await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = closing => self.server.close(&closed_elsewhere()),
            _ = shutdown.wait_for(|stop| *stop), if !receiving || self.last_call.is_none() => {
                // The time of a message that is on its way in begins with the next turn.
                if !receiving {
                    self.server.close(&shutting_down());
                }
            }
            read = conn.read_by(self.deadline()) => match read? {
                Some(0) => return Ok(Turn::Close),
                Some(octets) => self.transferred(octets),
                None if self.last_call.is_some_and(|end| end <= Instant::now()) => {
                    self.server.close(&shutting_down());
                }
                None => {
                    self.server.close(&Reply::new(421, "4.4.2", "Idle for too long, closing the connection"));
                }
            },
        }
        Ok(Turn::Again)
    }

    /// Until when something must have come of what the client does: a command or a piece of the message in
    /// [`IDLE_TIMEOUT`] (half a command does not count), the message at a bearable rate, a message or login in
    /// [`FRUITLESS_TIMEOUT`].
    fn deadline(&self) -> Instant {
        let idle = self.heard + IDLE_TIMEOUT;
        let idle = self.last_call.map_or(idle, |end| idle.min(end));
        match self.transfer {
            Some((since, octets)) => idle.min(transfer_deadline(since, octets)),
            None if self.who.signed_in().is_some() => idle,
            None => idle.min(self.fruitful + FRUITLESS_TIMEOUT),
        }
    }

    /// Octets came. Those of a message or chunk are progress, also where it is going to be refused: it is read to its
    /// end as patiently as any other.
    fn transferred(&mut self, octets: usize) {
        if self.server.takes_octets()
            && let Some((_, all)) = &mut self.transfer
        {
            *all = all.saturating_add(octets as u64);
            self.heard = Instant::now();
        }
    }

    async fn handle(&mut self, event: Event, conn: &Conn) {
        let reply = match event {
            Event::Body(octets) => return self.body(&octets),
            Event::Reset => {
                self.incoming = None;
                return;
            }
            Event::AskChallenge(user) => match self.context.auth.challenge(&user).await {
                Ok(challenge) => return self.server.challenge(&challenge),
                Err(error) => auth::failure(&error),
            },
            Event::AskScram(question) => match self.scram(&question, conn).await {
                Ok(parameters) => return self.server.scram(&parameters),
                Err(reply) => reply,
            },
            Event::Proved => match self.proved() {
                Ok(()) => return,
                Err(reply) => reply,
            },
            Event::Credentials(credentials) => match self.sign_in(credentials).await {
                Ok(()) => return,
                Err(reply) => reply,
            },
            Event::Mail(mail) => self.mail(mail).await.unwrap_or_else(|reply| reply),
            Event::Rcpt(rcpt) => self.rcpt(rcpt).await.unwrap_or_else(|reply| reply),
            Event::BodyEnd { eight_bit } => self.body_end(eight_bit).await.unwrap_or_else(|reply| reply),
            Event::Asked(asked) => {
                self.fruitful = Instant::now();
                self.asked(asked).await.unwrap_or_else(|reply| reply)
            }
            Event::Enrol(enrol) => self.enrol(enrol).await.unwrap_or_else(|reply| reply),
            Event::Key(command) => match &mut self.who {
                Who::HashedPass(session) => {
                    session.run(command, &self.context).await.unwrap_or_else(|reply| reply)
                }
                // The state machine yields no such event here; if it did, this is the answer.
                _ => sealpost_proto::smtp::server::authentication_required(),
            },
            // Handled by `turn`.
            Event::StartTls | Event::Close => return,
        };
        self.server.answer(&reply);
    }
}

fn closed_elsewhere() -> Reply {
    Reply::new(421, "4.7.0", "The account's login has changed, closing the connection")
}

fn shutting_down() -> Reply {
    Reply::new(421, "4.3.2", "Server is shutting down, try again soon")
}

/// The reply to a store failure. What went wrong is for the log, not for the client.
fn store_failure(error: &StoreError) -> Reply {
    tracing::error!(%error, "the store failed");
    match error {
        StoreError::Full => Reply::new(452, "4.3.1", "Insufficient system storage"),
        _ => Reply::new(451, "4.3.0", "Local error, try again later"),
    }
}
