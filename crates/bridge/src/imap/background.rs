//! The index made in the background: mailbox by mailbox, the newest messages first, over a connection of its own. What was
//! indexed before a stop is not asked for again. It works like a mail program that reads everything and shows nothing.

use super::{
    Came, End, Result, Session,
    ends::{Program, Server},
    fetch::Failure,
    wire::{Response, response},
};
use crate::{account::Account, entry::Need, index::Indexed};
use sealpost_client::error::ClientError;
use sealpost_proto::imap::{
    Body, Command, List, MailboxName, Names, Reply, SelectParams, SequenceSet, StatusItem, reply,
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::Empty,
    sync::watch,
    time::{Instant, sleep, timeout_at},
};

/// Messages handled before mail programs get the client's folder again: it is held while messages are judged.
const STEP: usize = 500;
/// How often all mailboxes are looked through. New mail in INBOX is heard of at once.
const ROUND: Duration = Duration::from_secs(9 * 60);
/// First wait after a failure; it doubles up to the longest.
const RETRY: Duration = Duration::from_secs(5);
/// Longest wait after a failure.
const RETRY_MAX: Duration = Duration::from_secs(10 * 60);

/// How far the index is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// The mailbox that is gone through; empty where nothing is to be done.
    pub mailbox: String,
    /// Messages of it that are indexed.
    pub done: usize,
    /// Messages in it.
    pub total: usize,
}

/// Keeps the index of an account complete, for ever.
pub(crate) async fn keep_complete(account: Arc<Account>, progress: watch::Sender<Progress>) {
    let mut wait = RETRY;
    let mut state = HashMap::new();
    loop {
        let reason = match connect(&account).await {
            Ok(mut session) => {
                wait = RETRY;
                match session.keep_complete(&progress, &mut state).await {
                    Ok(never) => match never {},
                    Err(Failure::Session(End::Over)) => "the mail server closed the connection".to_owned(),
                    Err(Failure::Session(End::Lost(error) | End::Io(error))) => error.to_string(),
                    Err(Failure::Command(error)) => error.to_string(),
                    Err(Failure::Refused(reply)) => String::from_utf8_lossy(&reply).into_owned(),
                }
            }
            Err(error) => error.to_string(),
        };
        progress.send_replace(Progress::default());
        tracing::debug!("the index of {} waits {} s: {reason}", account.address, wait.as_secs());
        sleep(wait).await;
        wait = (wait * 2).min(RETRY_MAX);
    }
}

async fn connect(account: &Arc<Account>) -> std::result::Result<Session<Empty>, ClientError> {
    let connection = account.client.mail_connection().await?;
    let capabilities = connection.capabilities.join(" ");
    let program = Program::new(tokio::io::empty());
    Ok(Session::new(program, Server::new(connection), account.clone(), capabilities))
}

fn indexed(messages: usize, left: usize) -> Indexed {
    let count = |n| u32::try_from(n).unwrap_or(u32::MAX);
    Indexed { messages: count(messages), left: count(left) }
}

/// What the server told of a mailbox when all of it was indexed.
type Complete = HashMap<String, Vec<u8>>;

impl Session<Empty> {
    async fn keep_complete(
        &mut self,
        progress: &watch::Sender<Progress>,
        complete: &mut Complete,
    ) -> std::result::Result<std::convert::Infallible, Failure> {
        loop {
            let mailboxes = self.mailboxes().await?;
            self.account.index.forget_other_mailboxes(&mailboxes)?;
            complete.retain(|name, _| mailboxes.contains(name));
            for name in mailboxes {
                let status = self.status(&name).await?;
                if complete.get(&name).is_some_and(|known| *known == status) {
                    continue;
                }
                self.index_mailbox(&name, progress).await?;
                // What came meanwhile changes the answer, and is looked at the next time.
                complete.insert(name, status);
            }
            progress.send_replace(Progress::default());
            self.news().await?;
        }
    }

    /// Mailboxes with messages, INBOX first.
    async fn mailboxes(&mut self) -> Result<Vec<String>> {
        let list = List { patterns: vec!["*".into()], ..List::default() };
        let mut all = Vec::new();
        self.server
            .run(Body::List(list), Names::Utf7, |line| {
                if let Ok(Reply::List { attributes, name, .. }) = reply(line, Names::Utf7) {
                    let has = |attribute: &str| attributes.iter().any(|a| a.eq_ignore_ascii_case(attribute));
                    if !has("\\Noselect") && !has("\\NonExistent") {
                        all.push(name);
                    }
                }
            })
            .await?;
        all.sort_by_key(|name| !name.eq_ignore_ascii_case("INBOX"));
        Ok(all)
    }

    /// All that tells whether a mailbox is as it was.
    async fn status(&mut self, mailbox: &str) -> Result<Vec<u8>> {
        let mut items = vec![StatusItem::Messages, StatusItem::UidNext, StatusItem::UidValidity];
        if self.can("CONDSTORE") {
            items.push(StatusItem::HighestModSeq);
        }
        let Some(name) = MailboxName::new(mailbox) else { return Ok(Vec::new()) };
        let mut told = Vec::new();
        self.server
            .run(Body::Status { mailbox: name, items }, Names::Utf7, |line| {
                if line.starts_with(b"* STATUS ") {
                    told = line.to_vec();
                }
            })
            .await?;
        Ok(told)
    }

    async fn index_mailbox(
        &mut self,
        name: &str,
        progress: &watch::Sender<Progress>,
    ) -> std::result::Result<(), Failure> {
        let Some(mailbox) = MailboxName::new(name) else { return Ok(()) };
        let body = Body::Select { mailbox, read_only: false, params: SelectParams::default() };
        let tag = self.server.tag();
        self.select(&Command { tag, body }).await?;
        self.program.flush().await?;
        let Some(place) = self.selected.as_ref().map(|selected| selected.place) else { return Ok(()) };
        let Ok(list) = self.list(true, SequenceSet::all(), None).await? else { return Ok(()) };
        let index = &self.account.index;
        let uids: HashSet<u32> = list.iter().map(|listed| listed.uid).collect();
        index.keep_only(&place, &uids)?;
        let settled = index.settled(&place)?;
        let total = list.len();
        let to_do: Vec<u32> = list.iter().map(|l| l.uid).filter(|uid| !settled.contains(uid)).collect();
        drop((list, uids, settled));
        // The server chose the name, and a terminal may show it.
        let shown: String = name.chars().filter(|c| !c.is_control()).collect();
        let mut left = to_do.len();
        index.note_progress(&place, indexed(total, left))?;
        for step in to_do.rchunks(STEP) {
            progress.send_replace(Progress { mailbox: shown.clone(), done: total - left, total });
            let Some(set) = SequenceSet::from_numbers(step) else { continue };
            // By number from here on, and the numbers may have changed since the last step.
            let Ok(step_now) = self.list(true, set, None).await? else { return Ok(()) };
            let sorted = self.sort(&step_now, Need::Brief).await?;
            if !sorted.unknown.is_empty() {
                self.open_all(&sorted.unknown).await?;
            }
            left -= step.len();
            self.account.index.note_progress(&place, indexed(total, left))?;
            self.provisional.clear();
            self.provisional_octets = 0;
            self.held = None;
            self.program.flush().await?;
        }
        Ok(())
    }

    /// Waits for news, or for the next round.
    async fn news(&mut self) -> Result<()> {
        let until = Instant::now() + ROUND;
        let Some(mailbox) = MailboxName::new("INBOX").filter(|_| self.can("IDLE")) else {
            tokio::time::sleep_until(until).await;
            return Ok(());
        };
        let body = Body::Select { mailbox, read_only: true, params: SelectParams::default() };
        self.leave();
        self.server.run(body, Names::Utf7, |_| {}).await?;
        let tag = self.server.tag();
        self.server.send(format!("{} IDLE\r\n", tag.as_str()).as_bytes()).await?;
        let mut asked_to_end = false;
        loop {
            let came = match timeout_at(until, self.server.next()).await {
                Ok(came) => came?,
                Err(_) if asked_to_end => self.server.next().await?,
                Err(_) => {
                    asked_to_end = true;
                    self.server.send(b"DONE\r\n").await?;
                    continue;
                }
            };
            let Came::Line(line) = came else { return Err(End::Over) };
            match response(&line) {
                Response::Tagged(found, _) if found == tag.as_str() => return Ok(()),
                Response::Bye => return Err(End::Over),
                Response::Continue | Response::Other => {}
                _ if asked_to_end => {}
                _ => {
                    asked_to_end = true;
                    self.server.send(b"DONE\r\n").await?;
                }
            }
        }
    }
}
