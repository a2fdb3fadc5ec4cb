//! Submission for mail programs: what they send is sealed and signed here, and handed to the home server. A recipient
//! who may not get the message is refused as he is named, with a sentence that mail programs show (profile §7). A home
//! server that is away is waited for as long as at login, then it is 451.

use crate::{
    account::Account,
    gate::{Gate, LOCKED, NoEntry},
    imap::{AHEAD_MAX, PATIENCE},
};
use bytes::BytesMut;
use sealpost_client::{
    client::{Policy, SendReport},
    error::ClientError,
    sending::Sending,
    staged::Staging,
};
use sealpost_proto::{
    address::Mailbox,
    sasl::Credentials,
    smtp::{
        reply::Reply,
        server::{Event, Role, Server, Settings},
        verb::Rcpt,
    },
};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};

/// Largest message taken: as IMAP's APPEND.
const MESSAGE_MAX: u64 = 128 * 1024 * 1024;
/// Longest silence (RFC 5321 §4.5.3.2.7).
const SILENCE: Duration = Duration::from_secs(5 * 60);
/// A wrong password waits so long: other programs on this machine may guess.
const WRONG: Duration = Duration::from_secs(2);

struct Session<'a, S> {
    stream: S,
    server: Server,
    input: BytesMut,
    gate: &'a Gate,
    account: Option<Arc<Account>>,
    policy: Policy,
    sending: Option<Sending>,
    /// The mail program has hung up, or says no more.
    gone: Arc<AtomicBool>,
    message: Staging,
    /// Why the message cannot be taken; told at its end.
    failed: Option<String>,
}

/// Serves one connection of a mail program.
pub(crate) async fn serve<S>(stream: S, gate: &Gate, policy: Policy)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let settings = Settings {
        hostname: "localhost".to_owned(),
        role: Role::Submission,
        message_size: MESSAGE_MAX,
        recipients: sealpost_client::send::RECIPIENTS_MAX,
        draft: false,
    };
    let mut session = Session {
        stream,
        server: Server::new(Arc::new(settings), true),
        input: BytesMut::new(),
        gate,
        account: None,
        policy,
        sending: None,
        gone: Arc::default(),
        message: Staging::new(),
        failed: None,
    };
    if let Err(error) = session.run().await {
        tracing::debug!("a submission session ended: {error}");
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<'_, S> {
    async fn run(&mut self) -> io::Result<()> {
        loop {
            while let Some(event) = self.server.next(&mut self.input) {
                if matches!(event, Event::Close) {
                    return self.flush().await;
                }
                self.handle(event).await;
            }
            self.flush().await?;
            self.input.reserve(64 * 1024);
            let account = self.account.clone();
            let locked = async {
                match account {
                    Some(account) => account.locked().await,
                    None => std::future::pending().await,
                }
            };
            let read = tokio::select! {
                read = timeout(SILENCE, self.stream.read_buf(&mut self.input)) => read,
                () = locked => {
                    self.server.close(&Reply::new(421, "4.7.0", LOCKED));
                    continue;
                }
            };
            match read {
                Ok(Ok(0)) => return Ok(()),
                Ok(read) => drop(read?),
                Err(_) => {
                    self.server.close(&Reply::new(421, "4.4.2", "Idle for too long, closing the connection"));
                }
            }
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        let output = self.server.output.split();
        if output.is_empty() {
            return Ok(());
        }
        let write = async {
            self.stream.write_all(&output).await?;
            self.stream.flush().await
        };
        timeout(SILENCE, write).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    async fn handle(&mut self, event: Event) {
        let reply = match event {
            Event::Body(octets) => {
                if self.failed.is_none()
                    && let Err(error) = self.message.push(&octets)
                {
                    self.failed = Some(error.to_string());
                }
                return;
            }
            Event::Reset => return self.reset(),
            Event::Credentials(Credentials::AppPassword { user, token }) => {
                match self.gate.enter(&user, token.as_bytes()).await {
                    Ok(account) => {
                        self.account = Some(account);
                        return self.server.signed_in(None);
                    }
                    // RFC 4954 §6
                    Err(NoEntry::Closed(why)) => Reply::new(454, "4.7.0", in_a_line(&why)),
                    Err(NoEntry::Wrong) => {
                        tokio::time::sleep(WRONG).await;
                        Reply::new(
                            535,
                            "5.7.8",
                            "Not the password that `sealpost bridge info` shows for this address",
                        )
                    }
                }
            }
            Event::Mail(mail) => self.mail(mail.reverse_path.as_ref()),
            Event::Rcpt(rcpt) => self.rcpt(rcpt).await,
            Event::BodyEnd { .. } => {
                let reply = self.body_end().await;
                self.reset();
                reply
            }
            // What the state machine does not yield in this role.
            _ => Reply::new(502, "5.5.1", "Command not implemented"),
        };
        self.server.answer(&reply);
    }

    fn reset(&mut self) {
        self.sending = None;
        self.message = Staging::new();
        self.failed = None;
    }

    fn mail(&mut self, from: Option<&Mailbox>) -> Reply {
        let Some(account) = &self.account else {
            return Reply::new(530, "5.7.0", "Authentication required");
        };
        let own = match account.identity() {
            Ok(identity) => identity.addresses.clone(),
            Err(error) => return Reply::new(451, "4.7.0", in_a_line(&error.to_string())),
        };
        let address = from.map(Mailbox::canonical);
        let is_own = address.as_ref().is_some_and(|address| {
            let bare = address.without_detail();
            own.iter().any(|own| own == address || bare.as_ref() == Some(own))
        });
        if !is_own {
            let text = format!("You are signed in as {}; choose this address as the sender", account.address);
            return Reply::new(550, "5.7.1", text);
        }
        self.sending = Some(account.client.sending(self.policy, PATIENCE, self.gone.clone()));
        Reply::new(250, "2.1.0", "OK")
    }

    async fn rcpt(&mut self, rcpt: Rcpt) -> Reply {
        let Some(mut sending) = self.sending.take() else {
            return Reply::new(503, "5.5.1", "Send MAIL first");
        };
        let Rcpt::Mailbox(recipient) = rcpt else {
            self.sending = Some(sending);
            return Reply::new(550, "5.1.1", "Name a whole address");
        };
        let taken = self.meanwhile(Box::pin(sending.recipient(&recipient))).await;
        self.sending = Some(sending);
        match taken {
            Ok(()) => Reply::new(250, "2.1.5", "OK"),
            Err(refused) => {
                let text = format!("{recipient}: {}", in_a_line(&refused.why));
                if refused.later { Reply::new(451, "4.7.1", text) } else { Reply::new(550, "5.7.1", text) }
            }
        }
    }

    /// Does what may wait for the home server. What the mail program says meanwhile is read, so that it is noticed when it
    /// hangs up.
    async fn meanwhile<T>(&mut self, mut work: impl Future<Output = T> + Unpin) -> T {
        loop {
            let listening = !self.gone.load(Ordering::Relaxed) && self.input.len() < AHEAD_MAX;
            tokio::select! {
                done = &mut work => return done,
                read = self.stream.read_buf(&mut self.input), if listening => {
                    if !read.is_ok_and(|octets| octets > 0) {
                        self.gone.store(true, Ordering::Relaxed);
                    }
                }
            }
        }
    }

    async fn body_end(&mut self) -> Reply {
        if let Some(account) = &self.account {
            account.touch();
        }
        if let Some(why) = self.failed.take() {
            return Reply::new(452, "4.3.1", format!("The message could not be held: {}", in_a_line(&why)));
        }
        let Some(sending) = self.sending.take() else {
            return Reply::new(503, "5.5.1", "Send MAIL first");
        };
        let message = match std::mem::take(&mut self.message).finish() {
            Ok(message) => message,
            Err(error) => return Reply::new(452, "4.3.1", format!("The message could not be held: {error}")),
        };
        match self.meanwhile(Box::pin(sending.send(&message))).await {
            Ok(_) => Reply::new(250, "2.0.0", "Handed to your mail server"),
            Err(ClientError::NotSent(report)) => in_part(&report),
            Err(error) => {
                let text = in_a_line(&error.to_string());
                if let ClientError::Locked | ClientError::KeyStore(_) = error {
                    Reply::new(451, "4.7.0", text)
                } else if error.exit_code() == 5 {
                    Reply::new(451, "4.4.0", text)
                } else {
                    Reply::new(554, "5.6.0", text)
                }
            }
        }
    }
}

/// Not everybody got it. Mail programs send again what was refused for a while: where some have it, or may have it, the
/// person decides: home servers remove no duplicates.
fn in_part(report: &SendReport) -> Reply {
    let later =
        |r: &sealpost_client::send::RecipientReport| r.outcome == sealpost_client::send::Outcome::TryLater;
    let unsure = ClientError::NotSent(Box::new(report.clone())).to_string();
    let sent: Vec<String> =
        report.recipients.iter().filter(|r| r.outcome.is_sent()).map(|r| r.address.to_string()).collect();
    let text = in_a_line(&unsure);
    if !sent.is_empty() {
        return Reply::new(554, "5.0.0", format!("Sent to {} alone. {text}", sent.join(", ")));
    }
    if report.recipients.iter().all(later) && !text.starts_with("it is not certain") {
        Reply::new(451, "4.4.0", text)
    } else {
        Reply::new(554, "5.0.0", text)
    }
}

/// Text for a reply.
fn in_a_line(text: &str) -> String {
    text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}
