//! The session: its state, the loop from command to reply, and what ends it.

use super::{
    binary::Places,
    enable::Enabled,
    messages::StoreChange,
    metadata::{self, Heard},
    notify::Notified,
    view::View,
};
use crate::{auth::SignedIn, conn::Conn, context::Context};
use sealpost_proto::imap::{
    Body, Command, Condition, Limits, LiteralHead, Received, Receiver, Tag,
    metadata::is_set_metadata,
    parse::{self, BadCommand},
    response::{self, Code},
};
use sealpost_store::{StoreError, account::AccountId, annotation::VALUE_MAX};
use std::{io, time::Duration};
use tokio::time::Instant;

/// RFC 9051 §5.4: at least 30 minutes of idleness are given to who is signed in.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// Before login a connection may be silent for this long, ...
const LOGIN_TIMEOUT: Duration = Duration::from_secs(60);
/// ... and lasts this long in all, so that trickled octets do not hold it open.
const LOGIN_DEADLINE: Duration = Duration::from_secs(300);
/// How long the octets of a literal may pause.
pub(super) const LITERAL_TIMEOUT: Duration = Duration::from_secs(300);
/// Faulty commands in a row until the session ends: a program that does not speak IMAP is not helped by more.
const FAULTS_MAX: u32 = 20;
/// Output held back at most: replies to pipelined commands go out together.
pub(super) const OUTPUT_MAX: usize = 64 * 1024;
/// A literal that does not wait for `+` is read and dropped when it is refused, up to this; a longer one ends the
/// session (RFC 7888 §4).
const SKIP_MAX: u64 = 1024 * 1024;
/// Longest literal before login: a user name or a password.
const LOGIN_LITERAL_MAX: u64 = 4096;
/// Why the session ends where a command does not.
const NO_END: &str = "no end of this command is in sight";

/// A handler's success: the tagged OK.
pub(super) struct Done {
    pub(super) code: Option<Code>,
    pub(super) text: &'static str,
}

/// `OK` with words.
#[allow(clippy::unnecessary_wraps, reason = "every handler ends in it")]
pub(super) fn ok(text: &'static str) -> Result<Done, Refusal> {
    Ok(Done { code: None, text })
}

/// A handler's refusal; each is one kind of reply.
pub(super) enum Refusal {
    /// NO
    No(Option<Code>, String),
    /// BAD
    Bad(String),
    /// BYE, and the connection ends.
    Bye(String),
    /// The reply has been written already (STARTTLS).
    Silent,
    /// The connection is of no more use.
    Io(io::Error),
}

impl Refusal {
    pub(super) fn no(code: Code, text: impl Into<String>) -> Self {
        Self::No(Some(code), text.into())
    }

    /// For [`Received::Endless`].
    pub(super) fn endless() -> Self {
        Self::Bye(NO_END.to_owned())
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Gone(_) => Self::no(Code::NonExistent, error.to_string()),
            StoreError::Exists(_) => Self::no(Code::AlreadyExists, error.to_string()),
            StoreError::Refused(_) => Self::no(Code::Cannot, error.to_string()),
            StoreError::Limit(_) => Self::no(Code::Limit, error.to_string()),
            StoreError::Full => Self::no(Code::Unavailable, error.to_string()),
            other => {
                // The words may name files of this machine: they are for the log.
                tracing::error!(error = %other, "the store failed");
                Self::no(Code::Unavailable, "the mail store failed; try again later")
            }
        }
    }
}

/// What the connection brought.
pub(super) enum Event {
    /// More octets lie in `conn.input`.
    Input,
    /// The client has gone.
    End,
    /// Nothing came for the given time.
    Silence,
    /// The account's sessions must end.
    Closed,
    /// The server shuts down.
    Shutdown,
}

impl Event {
    /// The words of the BYE that these events mean between commands; `None` for the others.
    pub(super) fn bye(&self) -> Option<&'static str> {
        match self {
            Self::Input | Self::End => None,
            Self::Silence => Some("idle for too long; connect again when needed"),
            Self::Closed => Some("the password or key of this account has changed; log in again"),
            Self::Shutdown => Some("the server is shutting down; connect again in a moment"),
        }
    }
}

/// One connection's session.
pub(super) struct Session {
    /// `None` only while TLS is being shaken.
    pub(super) conn: Option<Conn>,
    pub(super) ctx: Context,
    pub(super) receiver: Receiver,
    pub(super) out: Vec<u8>,
    pub(super) signed_in: Option<SignedIn>,
    pub(super) selected: Option<View>,
    pub(super) enabled: Enabled,
    /// Where FETCH BINARY by pieces goes on.
    pub(super) places: Places,
    /// Set where METADATA is enabled (RFC 5464 §4.4), or changes of it were asked for with NOTIFY.
    pub(super) heard: Option<Heard>,
    /// A value that is too long for an annotation is being skipped.
    long_value: bool,
    /// What NOTIFY asked for; `None` before the first one, where the selected mailbox is told of between commands.
    pub(super) notify: Option<Box<Notified>>,
    faults: u32,
    started: Instant,
    /// LOGOUT was answered, or BYE said.
    pub(super) over: bool,
}

impl Session {
    pub(super) fn new(conn: Conn, ctx: Context) -> Self {
        Self {
            conn: Some(conn),
            ctx,
            receiver: Receiver::new(Limits::SERVER),
            out: Vec::new(),
            signed_in: None,
            selected: None,
            enabled: Enabled::default(),
            places: Places::default(),
            heard: None,
            long_value: false,
            notify: None,
            faults: 0,
            started: Instant::now(),
            over: false,
        }
    }

    /// Whoever signed in is forgotten, and everything that came with it: the session is as it was before login, TLS and
    /// compression apart (RFC 8437 §4).
    pub(super) fn forget_user(&mut self) {
        self.selected = None;
        self.signed_in = None;
        self.enabled = Enabled::default();
        self.places = Places::default();
        self.heard = None;
        self.notify = None;
        self.faults = 0;
        self.started = Instant::now();
    }

    /// Greets, serves, closes.
    pub(super) async fn run(mut self) {
        let capabilities = self.capabilities();
        let text = format!("{} Sealpost is ready", self.ctx.config.hostname);
        response::status(&mut self.out, None, Condition::Ok, Some(&Code::Capability(capabilities)), &text);
        if let Err(error) = self.commands().await {
            tracing::debug!(%error, "an IMAP connection broke");
        }
        if let Some(conn) = self.conn.take() {
            conn.close().await;
        }
    }

    async fn commands(&mut self) -> io::Result<()> {
        // From when on the client says nothing, however much it is told meanwhile.
        let mut silent = Instant::now();
        while !self.over {
            self.tell_at_rest().await?;
            if self.over {
                break;
            }
            let Some(mut input) = self.conn.as_mut().map(|c| std::mem::take(&mut c.input)) else { break };
            let received = self.receiver.receive(&mut input);
            if let Some(conn) = &mut self.conn {
                conn.input = input;
            }
            match received {
                Received::More => {
                    self.flush().await?;
                    let left = self.timeout().saturating_sub(silent.elapsed());
                    let Some(event) = self.wait_or_news(left, false).await? else { continue };
                    if matches!(event, Event::End) {
                        break;
                    }
                    if let Some(text) = event.bye() {
                        self.bye(text);
                    }
                }
                Received::Whole => {
                    let bytes = self.receiver.take();
                    match parse::command(&bytes, self.enabled.names()) {
                        Ok(command) => self.command(command).await?,
                        Err(bad) => self.bad(&bad),
                    }
                }
                Received::TooLong => {
                    let tag = parse::tag_of(&self.receiver.take());
                    match tag {
                        Some(tag) if std::mem::take(&mut self.long_value) => {
                            self.reply(&tag, Err(metadata::value_too_long()))?;
                        }
                        tag => self.fault(tag.as_ref(), "this command is too long; split it"),
                    }
                }
                Received::Endless => self.bye(NO_END),
                Received::Literal(head) => self.literal(head).await?,
            }
            if self.out.len() > OUTPUT_MAX {
                self.flush().await?;
            }
            silent = Instant::now();
        }
        self.flush().await
    }

    fn timeout(&self) -> Duration {
        if self.signed_in.is_some() {
            return IDLE_TIMEOUT;
        }
        self.before_login(LOGIN_TIMEOUT)
    }

    /// `within`, and no longer than a connection lasts before login.
    pub(super) fn before_login(&self, within: Duration) -> Duration {
        within.min(LOGIN_DEADLINE.saturating_sub(self.started.elapsed()))
    }

    /// Waits for octets, the end, or an order to close. Where there is no time left, octets that are there already
    /// do not count: one who never pauses would put off every end.
    pub(super) async fn wait(&mut self, silence: Duration) -> io::Result<Event> {
        if silence.is_zero() {
            return Ok(Event::Silence);
        }
        let Some(conn) = &mut self.conn else { return Ok(Event::End) };
        let closed = async {
            // The sender lives as long as the session's place in the registry, which we hold.
            let ordered = match &mut self.signed_in {
                Some(signed_in) => signed_in.closed.wait_for(|c| *c).await.is_ok(),
                None => false,
            };
            if !ordered {
                std::future::pending::<()>().await;
            }
        };
        let shutdown = async {
            if self.ctx.shutdown.wait_for(|s| *s).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = shutdown => Ok(Event::Shutdown),
            () = closed => Ok(Event::Closed),
            read = conn.read() => Ok(if read? == 0 { Event::End } else { Event::Input }),
            () = tokio::time::sleep(silence) => Ok(Event::Silence),
        }
    }

    pub(super) async fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let Some(conn) = &mut self.conn else { return Err(io::ErrorKind::NotConnected.into()) };
        conn.write(&self.out).await?;
        // An idle session must not hold the memory of its largest reply.
        self.out.clear();
        self.out.shrink_to(4096);
        Ok(())
    }

    pub(super) fn bye(&mut self, text: &str) {
        response::status(&mut self.out, None, Condition::Bye, None, text);
        self.over = true;
    }

    fn bad(&mut self, bad: &BadCommand) {
        self.fault(bad.tag.as_ref(), &bad.to_string());
    }

    pub(super) fn fault(&mut self, tag: Option<&Tag>, text: &str) {
        response::status(&mut self.out, tag, Condition::Bad, None, text);
        self.faults += 1;
        if self.faults >= FAULTS_MAX {
            self.bye("too many faulty commands");
        }
    }

    /// A literal begins: an argument, or the message of an APPEND.
    async fn literal(&mut self, head: LiteralHead) -> io::Result<()> {
        if parse::is_append(self.receiver.so_far()) {
            if self.signed_in.is_none() {
                let tag = parse::tag_of(self.receiver.so_far());
                if self.drop_literal(head) {
                    self.fault(tag.as_ref(), "log in first");
                }
                return Ok(());
            }
            match parse::append_start(self.receiver.so_far(), self.enabled.names()) {
                Ok(Some(start)) => {
                    let tag = start.tag.clone();
                    let result = self.append(start, head).await;
                    return self.reply(&tag, result);
                }
                Ok(None) => {}
                Err(bad) => {
                    if self.drop_literal(head) {
                        self.bad(&bad);
                    }
                    return Ok(());
                }
            }
        }
        let allowed = self.signed_in.is_some() || head.len <= LOGIN_LITERAL_MAX;
        if allowed && self.receiver.accept_literal(head) {
            if head.sync {
                self.out.extend_from_slice(b"+ go ahead\r\n");
                self.flush().await?;
            }
            return Ok(());
        }
        let tag = parse::tag_of(self.receiver.so_far());
        // RFC 5464 §4.3 has a word for values that are too long, however long they are.
        let value = allowed && head.len > VALUE_MAX as u64 && is_set_metadata(self.receiver.so_far());
        if !self.drop_literal(head) {
            self.long_value = value;
            return Ok(());
        }
        match tag {
            Some(tag) if value => self.reply(&tag, Err(metadata::value_too_long())),
            tag => {
                self.fault(tag.as_ref(), "this literal is too long for an argument");
                Ok(())
            }
        }
    }

    /// Refuses a literal. `true`: the command ends here and wants its reply; `false`: it will be reported as too
    /// long once it is over, or the session ends.
    pub(super) fn drop_literal(&mut self, head: LiteralHead) -> bool {
        if head.sync {
            drop(self.receiver.refuse_literal());
            true
        } else if head.len <= SKIP_MAX {
            self.receiver.skip_literal(head);
            false
        } else {
            self.bye("a refused literal is too long to be skipped");
            false
        }
    }

    /// Runs a command and writes its tagged reply.
    async fn command(&mut self, command: Command) -> io::Result<()> {
        let Command { tag, body } = command;
        let result = self.dispatch(&tag, body).await;
        self.reply(&tag, result)
    }

    fn reply(&mut self, tag: &Tag, result: Result<Done, Refusal>) -> io::Result<()> {
        match result {
            Ok(done) => {
                self.faults = 0;
                response::status(&mut self.out, Some(tag), Condition::Ok, done.code.as_ref(), done.text);
            }
            Err(Refusal::No(code, text)) => {
                response::status(&mut self.out, Some(tag), Condition::No, code.as_ref(), &text);
            }
            Err(Refusal::Bad(text)) => self.fault(Some(tag), &text),
            Err(Refusal::Bye(text)) => self.bye(&text),
            Err(Refusal::Silent) => {}
            Err(Refusal::Io(error)) => return Err(error),
        }
        Ok(())
    }

    /// Every verb, and the state it needs (RFC 9051 §3).
    async fn dispatch(&mut self, tag: &Tag, body: Body) -> Result<Done, Refusal> {
        // EXPUNGE must not be sent while these are answered: message numbers would shift under the client
        // (RFC 9051 §7.5.1).
        let numbers_stay = matches!(
            body,
            Body::Fetch { uid: false, .. }
                | Body::Store { uid: false, .. }
                | Body::Search { uid: false, .. }
                | Body::Sort { uid: false, .. }
                | Body::Thread { uid: false, .. }
        );
        let done = match body {
            Body::Capability => self.capability(),
            Body::Noop => {
                self.expect_changes();
                ok("NOOP done")
            }
            Body::Logout => {
                self.bye("goodbye");
                return ok("LOGOUT done");
            }
            Body::Id(_) => self.id(),
            Body::StartTls => return self.start_tls(tag).await,
            Body::Compress(algorithm) => return self.compress(tag, &algorithm).await,
            Body::Unauthenticate => return self.unauthenticate(),
            Body::GetQuota(root) => self.get_quota(&root).await,
            Body::GetQuotaRoot(mailbox) => self.get_quota_root(&mailbox).await,
            Body::GetMetadata(get) => self.get_metadata(&get).await,
            Body::SetMetadata(set) => self.set_metadata(set).await,
            Body::Authenticate { mechanism, initial } => return self.authenticate(&mechanism, initial).await,
            Body::Login { user, password } => return self.login(&user, &password).await,
            Body::Enable(names) => self.enable(&names),
            Body::Namespace => self.namespace(),
            Body::Notify(notify) => self.notify(notify).await,
            Body::Select { mailbox, read_only, params } => {
                return self.select(&mailbox, read_only, &params).await;
            }
            Body::Create { mailbox, special_use } => self.create(&mailbox, &special_use).await,
            Body::Delete(mailbox) => self.delete(&mailbox).await,
            Body::Rename { from, to } => self.rename(&from, &to).await,
            Body::Subscribe { mailbox, on } => self.subscribe(&mailbox, on).await,
            Body::List(list) => self.list(list).await,
            Body::Lsub { reference, pattern } => self.lsub(&reference, &pattern).await,
            Body::Status { mailbox, items } => self.status(&mailbox, &items).await,
            Body::Idle => self.idle().await,
            Body::Check => {
                self.expect_changes();
                self.view().map(drop).and_then(|()| ok("CHECK done"))
            }
            Body::Close => return self.close(true).await,
            Body::Unselect => return self.close(false).await,
            Body::Expunge { uids } => self.expunge(uids.as_ref()).await,
            Body::Search { uid, returns, charset, key } => {
                self.search(tag, uid, returns.as_deref(), charset.as_deref(), &key).await
            }
            Body::Sort { uid, returns, order, charset, key } => {
                self.sort(tag, uid, returns.as_deref(), order, (&charset, &key)).await
            }
            Body::Thread { uid, algorithm, charset, key } => {
                self.thread(uid, algorithm, &charset, &key).await
            }
            Body::Fetch { uid, set, items, changed_since } => {
                self.fetch(uid, &set, &items, changed_since).await
            }
            Body::Store { uid, set, how, silent, flags, unchanged_since } => {
                self.store(uid, &set, StoreChange { how, silent, flags: &flags, unchanged_since }).await
            }
            Body::Copy { uid, remove, set, mailbox } => self.copy(uid, remove, &set, &mailbox).await,
            _ => Err(Refusal::Bad("this command is not built".to_owned())),
        };
        if !matches!(done, Err(Refusal::Io(_) | Refusal::Bye(_))) {
            self.updates(!numbers_stay).await?;
        }
        done
    }

    /// The account, or why there is none.
    pub(super) fn account(&self) -> Result<AccountId, Refusal> {
        match &self.signed_in {
            Some(signed_in) => Ok(signed_in.account),
            None => Err(Refusal::Bad("log in first".to_owned())),
        }
    }

    /// The selected mailbox, or why there is none.
    pub(super) fn view(&mut self) -> Result<&mut View, Refusal> {
        self.account()?;
        self.selected.as_mut().ok_or_else(|| Refusal::Bad("select a mailbox first".to_owned()))
    }
}
