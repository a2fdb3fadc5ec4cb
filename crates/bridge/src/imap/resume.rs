//! The home server's connection is lost: its server was started anew, the network went away, the machine slept. The mail
//! program's connection stays. A new one to the server takes the place of the old one if the open mailbox is what the
//! program believes it to be; what changed meanwhile is told as news. Else the program is told to sign in again, which
//! programs do by themselves.
//!
//! Message numbers are what may not change in silence. A connection of its own asks, with QRESYNC (RFC 7162 §3.2.5), which
//! messages went since the mailbox was opened: as many as the program was told of, or the numbers are others now. It is
//! another connection since a program that did not ENABLE QRESYNC must not be told VANISHED.

use super::{
    End, Result, Session,
    ends::{Lost, Server},
    listing,
    wire::{self, Response, response},
};
use sealpost_client::{bridge::MailConnection, error::ClientError};
use sealpost_proto::imap::{Atom, Body, Command, MailboxName, Names, Qresync, SearchReturn, SelectParams};
use std::{io, num::NonZeroU32, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep_until},
};
use zeroize::Zeroizing;

/// First wait before the server is tried again; it doubles up to the longest.
pub(super) const RETRY: Duration = Duration::from_secs(1);
/// Longest wait before the server is tried again.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// How long a mail program that wants something waits for the server: long enough for one that is started anew, and
/// shorter than programs wait for an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(25);
/// How often a command is carried out anew whose connection was lost amid it.
pub(super) const REPEATS: u32 = 3;
/// What a mail program is told in the end.
const LOST: &str = "[UNAVAILABLE] The connection to the mail server was lost; sign in again";

/// What a mail program believes of the mailbox that is open.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) mailbox: MailboxName,
    pub(super) read_only: bool,
    pub(super) uid_validity: u32,
    /// Messages it was told of.
    pub(super) exists: u32,
    /// Of those that were there or came since, the ones it was told are gone.
    pub(super) gone: u32,
    /// HIGHESTMODSEQ when it was opened.
    pub(super) modseq: Option<u64>,
}

impl View {
    /// What a response tells of it.
    pub(super) fn hear(&mut self, response: &Response<'_>) {
        let gone = match response {
            Response::Exists(exists) => {
                self.exists = *exists;
                return;
            }
            Response::Expunge(_) => 1,
            Response::Vanished(false, set) => listing::count(set),
            _ => return,
        };
        self.exists = self.exists.saturating_sub(gone);
        self.gone = self.gone.saturating_add(gone);
    }
}

/// What SELECT told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) uid_validity: Option<u32>,
    pub(super) exists: u32,
    pub(super) modseq: Option<u64>,
}

impl Opened {
    /// One line of the answer.
    pub(super) fn hear(&mut self, line: &[u8]) {
        if let Response::Exists(exists) = response(line) {
            self.exists = exists;
        }
        let code = |name: &[u8]| -> Option<u64> {
            let at = memchr::memmem::find(line, name)? + name.len();
            let digits = line[at..].iter().take_while(|b| b.is_ascii_digit()).count();
            std::str::from_utf8(&line[at..at + digits]).ok()?.parse().ok()
        };
        if let Some(validity) = code(b"[UIDVALIDITY ").and_then(|n| u32::try_from(n).ok()) {
            self.uid_validity = Some(validity);
        }
        self.modseq = code(b"[HIGHESTMODSEQ ").or(self.modseq);
    }
}

/// Why a session does not go on.
enum Changed {
    /// It may another time.
    Lost(Lost),
    /// The mail program has to look anew.
    Anew,
}

impl From<Lost> for Changed {
    fn from(e: Lost) -> Self {
        Self::Lost(e)
    }
}

impl From<End> for Changed {
    fn from(e: End) -> Self {
        match e {
            End::Lost(e) => Self::Lost(Lost(e)),
            _ => Self::Anew,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    /// Connects anew. `waiting`: the mail program wants something. What comes of it later is in its input.
    pub(super) async fn resume(&mut self, lost: &io::Error, waiting: bool) -> Result<()> {
        tracing::debug!("the connection to the mail server was lost: {lost}");
        if self.bound {
            return self.give_up();
        }
        let mut until = waiting.then(|| Instant::now() + PATIENCE);
        let mut wait = RETRY;
        loop {
            match self.reconnect(&mut until).await? {
                Ok(()) => return Ok(()),
                Err(Changed::Lost(Lost(error))) => {
                    tracing::debug!("the mail server is not there again: {error}");
                }
                Err(Changed::Anew) => return self.give_up(),
            }
            let again = Instant::now() + wait;
            wait = (wait * 2).min(RETRY_MAX);
            let patience = until.unwrap_or(again + RETRY_MAX);
            tokio::select! {
                () = sleep_until(again) => {}
                () = sleep_until(patience) => return self.give_up(),
                read = self.program.fill() => {
                    read?;
                    // It wants something now, be it the end of IDLE.
                    until.get_or_insert_with(|| Instant::now() + PATIENCE);
                    wait = RETRY;
                }
            }
        }
    }

    pub(super) fn give_up(&mut self) -> Result<()> {
        self.program.bye(LOST);
        Err(End::Over)
    }

    /// One attempt.
    async fn reconnect(&mut self, until: &mut Option<Instant>) -> Result<std::result::Result<(), Changed>> {
        let account = self.account.clone();
        let heard = || {
            until.get_or_insert_with(|| Instant::now() + PATIENCE);
        };
        match self.program.meanwhile(account.client.mail_connection(), heard).await? {
            Ok(connection) => Ok(self.restore(connection).await),
            // Only a person can help.
            Err(ClientError::SignIn(_) | ClientError::Decide(_)) => Ok(Err(Changed::Anew)),
            Err(error) => Ok(Err(Changed::Lost(Lost(io::Error::other(error))))),
        }
    }

    /// Makes a new connection what the old one was.
    async fn restore(&mut self, connection: MailConnection) -> std::result::Result<(), Changed> {
        let mut server = Server::new(connection);
        if !self.enabled.is_empty() {
            let enable = Body::Enable(self.enabled.clone());
            server.run(enable, Names::Utf7, |_| {}).await?;
        }
        let mut news = Vec::new();
        let mut now = Opened::default();
        if let Some(view) = self.selected.as_ref().map(|selected| selected.view.clone()) {
            let (seen, told) = self.changes(&view).await?;
            let body = Body::Select {
                mailbox: view.mailbox.clone(),
                read_only: view.read_only,
                params: SelectParams::default(),
            };
            let done = server.run(body, self.names, |line| now.hear(line)).await?;
            if !done.starts_with(b"OK") || now.uid_validity != Some(view.uid_validity) {
                return Err(Changed::Anew);
            }
            // Something happened between the two looks.
            if now != seen {
                return Err(Changed::Lost(Lost(io::Error::other("the mailbox changed meanwhile"))));
            }
            news = told;
        }
        self.server = server;
        if let Some(selected) = &mut self.selected
            && selected.view.exists != now.exists
        {
            selected.view.exists = now.exists;
            self.program.line(&format!("* {} EXISTS", now.exists));
        }
        for line in news {
            self.pass(&line);
        }
        Ok(())
    }

    /// What happened to a mailbox since it was opened: what it is now, and the flags that changed, as responses.
    async fn changes(
        &mut self,
        view: &View,
    ) -> std::result::Result<(Opened, Vec<Zeroizing<Vec<u8>>>), Changed> {
        let qresync = self.can("QRESYNC");
        let (Some(modseq), Some(uid_validity), true) =
            (view.modseq, NonZeroU32::new(view.uid_validity), qresync)
        else {
            return Err(Changed::Anew);
        };
        let connection = self.account.client.mail_connection().await;
        let connection = connection.map_err(|e| Changed::Lost(Lost(io::Error::other(e))))?;
        let mut server = Server::new(connection);
        // An atom.
        let Some(word) = Atom::new("QRESYNC") else { return Err(Changed::Anew) };
        server.run(Body::Enable(vec![word]), Names::Utf7, |_| {}).await?;
        let known = Qresync { uid_validity, modseq, known: None, matching: None };
        let body = Body::Select {
            mailbox: view.mailbox.clone(),
            read_only: true,
            params: SelectParams { condstore: false, qresync: Some(known) },
        };
        let (mut now, mut gone, mut flags) = (Opened::default(), 0_u32, Vec::new());
        let done = server
            .run(body, Names::Utf7, |line| {
                now.hear(line);
                match response(line) {
                    Response::Vanished(true, set) => gone = gone.saturating_add(listing::count(set)),
                    Response::Fetch(..) => flags.push(Zeroizing::new(line.to_vec())),
                    _ => {}
                }
            })
            .await?;
        let _ = server.send(b"bye LOGOUT\r\n").await;
        if !done.starts_with(b"OK") || now.uid_validity != Some(view.uid_validity) || gone != view.gone {
            return Err(Changed::Anew);
        }
        if !self.tells_modseq() {
            flags = flags.iter().map(|line| Zeroizing::new(wire::without_modseq(line))).collect();
        }
        Ok((now, flags))
    }

    /// Whether the mail program reckons with MODSEQ in responses.
    fn tells_modseq(&self) -> bool {
        let asks =
            |word: &Atom| ["CONDSTORE", "QRESYNC"].iter().any(|w| word.as_str().eq_ignore_ascii_case(w));
        self.enabled.iter().any(asks)
    }
}

/// Whether a command leaves something with the server that another connection does not have.
pub(super) fn binds(command: &Command) -> bool {
    match &command.body {
        Body::Notify(_) => true,
        Body::Search { returns: Some(returns), .. } => returns.contains(&SearchReturn::Save),
        _ => false,
    }
}

/// Whether a command may be carried out a second time: it changes nothing, or leaves the same behind.
pub(super) fn may_be_repeated(command: &Command) -> bool {
    match &command.body {
        Body::Capability
        | Body::Noop
        | Body::Check
        | Body::Enable(_)
        | Body::Id(_)
        | Body::Select { .. }
        | Body::List(_)
        | Body::Lsub { .. }
        | Body::Namespace
        | Body::Status { .. }
        | Body::Search { .. }
        | Body::Sort { .. }
        | Body::Thread { .. }
        | Body::Fetch { .. }
        | Body::GetQuota(_)
        | Body::GetQuotaRoot(_)
        | Body::GetMetadata(_)
        | Body::Subscribe { .. }
        | Body::Unselect
        | Body::Idle => true,
        // A condition may not hold the second time because it was met the first.
        Body::Store { unchanged_since, .. } => unchanged_since.is_none(),
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_view_follows_what_is_told() {
        let mut view = View {
            mailbox: MailboxName::new("INBOX").unwrap(),
            read_only: false,
            uid_validity: 7,
            exists: 10,
            gone: 0,
            modseq: Some(5),
        };
        for (line, exists, gone) in [
            ("* 12 EXISTS\r\n", 12, 0),
            ("* 3 EXPUNGE\r\n", 11, 1),
            ("* VANISHED 4:6,9\r\n", 7, 5),
            ("* VANISHED (EARLIER) 1:3\r\n", 7, 5),
            ("* 3 FETCH (FLAGS ())\r\n", 7, 5),
            ("* OK [HIGHESTMODSEQ 9]\r\n", 7, 5),
        ] {
            view.hear(&response(line.as_bytes()));
            assert_eq!((view.exists, view.gone), (exists, gone), "{line}");
        }
    }

    #[test]
    fn what_select_tells_is_read() {
        let mut opened = Opened::default();
        for line in [
            "* 5 EXISTS\r\n",
            "* OK [UIDVALIDITY 1764150000] hold\r\n",
            "* OK [UIDNEXT 9] next\r\n",
            "* OK [HIGHESTMODSEQ 715194045007] Highest\r\n",
            "* OK [UIDVALIDITY x] odd\r\n",
            "* OK [HIGHESTMODSEQ 99999999999999999999999] odd\r\n",
        ] {
            opened.hear(line.as_bytes());
        }
        let want = Opened { uid_validity: Some(1_764_150_000), exists: 5, modseq: Some(715_194_045_007) };
        assert_eq!(opened, want);
    }
}
