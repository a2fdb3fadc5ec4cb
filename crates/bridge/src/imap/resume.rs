//! The home server's connection is lost: its server was started anew, the network went away, the machine slept. The mail
//! program's connection stays. A new one to the server takes the place of the old one if the open mailbox is what the
//! program believes it to be; what changed meanwhile is told as news. Else the program is told to sign in again, which
//! programs do by themselves.
//!
//! Message numbers are what may not change in silence. A connection of its own asks, with QRESYNC (RFC 7162 §3.2.5), which
//! messages went since the mailbox was opened: as many as the program was told of, or the numbers are others now. It is
//! another connection since a program that did not ENABLE QRESYNC must not be told VANISHED. Where the command that was lost
//! may have removed messages itself, their UIDs were asked for before: what is missing then is told as it would have been.
//!
//! What the server holds for a session beside its mailbox is set again: ENABLE, saved results, NOTIFY.

use super::{
    End, Result, Session,
    ends::{AHEAD_MAX, Lost, Server},
    inquiry, listing,
    results::Saved,
    view::{Opened, Uids, View},
    wire::{self, Response, response},
};
use sealpost_client::{bridge::MailConnection, error::ClientError};
use sealpost_proto::imap::{Atom, Body, Names, Qresync, SelectParams, SequenceSet};
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
pub(crate) const PATIENCE: Duration = Duration::from_secs(25);
/// How often a command is carried out anew whose connection was lost amid it.
pub(super) const REPEATS: u32 = 3;
/// Octets of changed flags that are held until they are told: those of a million messages. Of more the program has to look.
const FLAGS_MAX: usize = 64 * 1024 * 1024;
/// What a mail program is told in the end.
const LOST: &str = "[UNAVAILABLE] The connection to the mail server was lost; sign in again";

/// What a mail program is to find of message numbers once its session goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Numbers {
    /// They are the same.
    Same,
    /// Messages may go: it waits for a command amid which that can be told (RFC 9051 §7.5.1).
    MayShift,
    /// It leaves the mailbox and needs none.
    Unheeded,
}

/// What happened to a mailbox since it was opened.
struct Changes {
    now: Opened,
    /// Messages that went.
    gone: u32,
    /// Flags that changed, as responses.
    flags: Vec<Zeroizing<Vec<u8>>>,
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
    pub(super) async fn resume(&mut self, lost: &io::Error, waiting: bool, numbers: Numbers) -> Result<()> {
        tracing::debug!("the connection to the mail server was lost: {lost}");
        if self.saved == Saved::Unknown || !self.notified.goes_on() {
            return Err(self.give_up());
        }
        let mut until = waiting.then(|| Instant::now() + PATIENCE);
        let mut wait = RETRY;
        loop {
            match self.reconnect(&mut until, numbers).await? {
                Ok(()) => return Ok(()),
                Err(Changed::Lost(Lost(error))) => {
                    tracing::debug!("the mail server is not there again: {error}");
                }
                Err(Changed::Anew) => return Err(self.give_up()),
            }
            let again = Instant::now() + wait;
            wait = (wait * 2).min(RETRY_MAX);
            let patience = until.unwrap_or(again + RETRY_MAX);
            tokio::select! {
                () = sleep_until(again) => {}
                () = sleep_until(patience) => return Err(self.give_up()),
                read = self.program.fill(), if self.program.input.len() < AHEAD_MAX => {
                    read?;
                    // It wants something now, be it the end of IDLE.
                    until.get_or_insert_with(|| Instant::now() + PATIENCE);
                    wait = RETRY;
                }
            }
        }
    }

    /// The mail program has to sign in again.
    pub(super) fn give_up(&mut self) -> End {
        self.program.bye(LOST);
        End::Over
    }

    /// One attempt.
    async fn reconnect(
        &mut self,
        until: &mut Option<Instant>,
        numbers: Numbers,
    ) -> Result<std::result::Result<(), Changed>> {
        let account = self.account.clone();
        let heard = || {
            until.get_or_insert_with(|| Instant::now() + PATIENCE);
        };
        match self.program.meanwhile(account.client.mail_connection(), heard).await? {
            Ok(connection) => Ok(self.restore(connection, numbers).await),
            // Only a person can help.
            Err(ClientError::SignIn(_) | ClientError::Decide(_)) => Ok(Err(Changed::Anew)),
            Err(error) => Ok(Err(Changed::Lost(Lost(io::Error::other(error))))),
        }
    }

    /// Makes a new connection what the old one was.
    async fn restore(
        &mut self,
        connection: MailConnection,
        numbers: Numbers,
    ) -> std::result::Result<(), Changed> {
        let mut server = Server::new(connection);
        if !self.enabled.is_empty() {
            let enable = Body::Enable(self.enabled.clone());
            server.run(enable, Names::Utf7, |_| {}).await?;
        }
        if let Some(view) = self.selected.as_ref().map(|selected| selected.view.clone()) {
            self.restore_mailbox(&mut server, &view, numbers).await?;
        }
        self.server = server;
        if numbers == Numbers::Unheeded {
            // The mailbox is left in a moment, and what was saved with it.
            self.saved = Saved::Nothing;
        }
        if self.save_again().await? && self.notify_again().await? { Ok(()) } else { Err(Changed::Anew) }
    }

    /// Opens the mailbox again, if it is what the program believes it to be.
    async fn restore_mailbox(
        &mut self,
        server: &mut Server,
        view: &View,
        numbers: Numbers,
    ) -> std::result::Result<(), Changed> {
        let changes = match numbers {
            Numbers::Unheeded => None,
            Numbers::Same | Numbers::MayShift => Some(self.changes(view).await?),
        };
        let body = Body::Select {
            mailbox: view.mailbox.clone(),
            read_only: view.read_only,
            params: SelectParams::default(),
        };
        let mut now = Opened::default();
        let done = server.run(body, self.names, |line| now.hear(line)).await?;
        if !done.starts_with(b"OK") || now.uid_validity != Some(view.uid_validity) {
            return Err(Changed::Anew);
        }
        if let Some(changes) = changes {
            // Something happened between the two looks.
            if now != changes.now {
                return Err(Changed::Lost(Lost(io::Error::other("the mailbox changed meanwhile"))));
            }
            let gone = match numbers {
                _ if changes.gone == view.gone => Vec::new(),
                Numbers::MayShift => self.gone_since(server, view, now.exists).await?,
                _ => return Err(Changed::Anew),
            };
            self.tell_changes(&changes, &gone).await.map_err(|_| Changed::Anew)?;
        }
        Ok(())
    }

    /// Which messages of a view are not there any more, by number and UID.
    async fn gone_since(
        &mut self,
        server: &mut Server,
        view: &View,
        exists: u32,
    ) -> std::result::Result<Vec<(u32, u32)>, Changed> {
        let before = view.listed().ok_or(Changed::Anew)?;
        let (mut found, mut moved) = (None, false);
        let done = server
            .run(inquiry::all_uids(), self.names, |line| match response(line) {
                Response::Esearch(set) => found = Uids::told(set, exists),
                Response::Exists(_) | Response::Expunge(_) | Response::Vanished(false, _) => moved = true,
                _ => {}
            })
            .await?;
        if moved {
            return Err(Changed::Lost(Lost(io::Error::other("the mailbox changed meanwhile"))));
        }
        let now = found.filter(|_| done.starts_with(b"OK")).ok_or(Changed::Anew)?;
        before.gone(&now).ok_or(Changed::Anew)
    }

    /// Tells what happened: numbers first, which what is told next speaks of.
    async fn tell_changes(&mut self, changes: &Changes, gone: &[(u32, u32)]) -> io::Result<()> {
        if self.has_enabled("QRESYNC") {
            // RFC 7162 §3.2.10
            let uids: Vec<u32> = gone.iter().map(|(_, uid)| *uid).collect();
            if let Some(set) = SequenceSet::from_numbers(&uids) {
                self.pass(format!("* VANISHED {set}\r\n").as_bytes());
            }
        } else {
            // From behind, each keeps its number until it is told.
            for (number, _) in gone.iter().rev() {
                self.pass(format!("* {number} EXPUNGE\r\n").as_bytes());
                self.program.relieve().await?;
            }
        }
        if let Some(selected) = &mut self.selected {
            selected.view.gone = changes.gone;
            let exists = changes.now.exists;
            let known = std::mem::replace(&mut selected.view.exists, exists);
            if known != exists {
                self.notified.grown(known.saturating_add(1));
                self.program.line(&format!("* {exists} EXISTS"));
            }
        }
        for line in &changes.flags {
            self.pass(line);
        }
        Ok(())
    }

    /// What happened to a mailbox since it was opened.
    async fn changes(&mut self, view: &View) -> std::result::Result<Changes, Changed> {
        let qresync = self.can("QRESYNC");
        let (Some(modseq), Some(uid_validity), true) =
            (view.modseq, NonZeroU32::new(view.uid_validity), qresync)
        else {
            return Err(Changed::Anew);
        };
        let mut server = self.another().await?;
        // An atom.
        let Some(word) = Atom::new("QRESYNC") else { return Err(Changed::Anew) };
        server.run(Body::Enable(vec![word]), Names::Utf7, |_| {}).await?;
        let known = Qresync { uid_validity, modseq, known: None, matching: None };
        let body = Body::Select {
            mailbox: view.mailbox.clone(),
            read_only: true,
            params: SelectParams { condstore: false, qresync: Some(known) },
        };
        let (mut now, mut gone, mut flags, mut octets) = (Opened::default(), 0_u32, Vec::new(), 0_usize);
        let done = server
            .run(body, Names::Utf7, |line| {
                now.hear(line);
                match response(line) {
                    Response::Vanished(true, set) => gone = gone.saturating_add(listing::count(set)),
                    Response::Fetch(..) => {
                        octets = octets.saturating_add(line.len());
                        if octets <= FLAGS_MAX {
                            flags.push(Zeroizing::new(line.to_vec()));
                        }
                    }
                    _ => {}
                }
            })
            .await?;
        server.leave().await;
        if !done.starts_with(b"OK") || now.uid_validity != Some(view.uid_validity) || octets > FLAGS_MAX {
            return Err(Changed::Anew);
        }
        if !self.tells_modseq() {
            flags = flags.iter().map(|line| Zeroizing::new(wire::without_modseq(line))).collect();
        }
        Ok(Changes { now, gone, flags })
    }

    /// Whether the mail program reckons with MODSEQ in responses.
    pub(super) fn tells_modseq(&self) -> bool {
        self.has_enabled("CONDSTORE") || self.has_enabled("QRESYNC")
    }

    fn has_enabled(&self, word: &str) -> bool {
        self.enabled.iter().any(|enabled| enabled.as_str().eq_ignore_ascii_case(word))
    }
}
