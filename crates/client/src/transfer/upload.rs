//! The end of an import where the target is: batches, each written down before it goes and after it is there.

use super::{
    BATCH_MESSAGES, BATCH_OCTETS, TransferEvent, TransferReport,
    again::Again,
    import::{Found, Message},
    journal::{Batch, Entry, Journal, Key},
    pull::{local, too_large},
};
use crate::{
    client::Client,
    error::ClientError,
    imap::{Filed, Folder, ImapError, Outgoing},
    mailbox::{Mail, imap_error},
    ui::Ui,
};
use sealpost_proto::{imap::Flag, time::Clock};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Largest message where the server names no limit, in octets: far over what servers take.
const MESSAGE_MAX: u64 = 1 << 30;
/// Keywords that a message keeps, and their length in octets: what the server takes.
const KEYWORDS_MAX: usize = 100;
const KEYWORD_LEN_MAX: usize = 255;
/// Codes of NO that say nothing of the message, so that the next one would fare no better.
const FINAL_CODES: [&str; 8] =
    ["OVERQUOTA", "UNAVAILABLE", "SERVERBUG", "INUSE", "NOPERM", "TRYCREATE", "NONEXISTENT", "CONTACTADMIN"];

/// The mailbox that is being filled.
struct Filling {
    name: String,
    uid_validity: u32,
    /// UIDNEXT, where it is known without asking.
    uid_next: Option<u32>,
}

/// The end of an import where the target is.
pub(super) struct Upload {
    pub(super) mail: Mail,
    again: Again,
    pub(super) journal: Journal,
    pub(super) ui: Arc<dyn Ui>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) dry_run: bool,
    pub(super) limit: u64,
    pub(super) mailboxes: Vec<Folder>,
    filling: Option<Filling>,
    batch: Vec<Message>,
    pub(super) report: TransferReport,
}

impl Upload {
    pub(super) async fn new(
        client: &Client,
        mut mail: Mail,
        again: Again,
        journal: Journal,
        dry_run: bool,
    ) -> Result<Self, ClientError> {
        let mailboxes = mail.list().await.map_err(imap_error)?;
        let limit = mail.value("APPENDLIMIT").and_then(|limit| limit.parse().ok()).unwrap_or(MESSAGE_MAX);
        Ok(Self {
            mail,
            again,
            journal,
            ui: Arc::clone(&client.env.ui),
            clock: Arc::clone(&client.env.clock),
            dry_run,
            limit,
            mailboxes,
            filling: None,
            batch: Vec::new(),
            report: TransferReport::default(),
        })
    }

    pub(super) fn skipped(&mut self, folder: String, what: String, why: String) {
        self.report.skipped += 1;
        self.ui.transfer(&TransferEvent::Skipped { folder, what, why });
    }

    pub(super) async fn take(&mut self, coming: &mut mpsc::Receiver<Found>) -> Result<(), ClientError> {
        let (mut octets, mut elsewhere) = (0, Vec::new());
        while let Some(found) = coming.recv().await {
            match found {
                Found::Folder { from, to, messages } => {
                    self.send().await?;
                    octets = 0;
                    self.report.folders += 1;
                    self.ui.transfer(&TransferEvent::Folder { from, to: to.clone(), messages });
                    self.fill(to).await?;
                }
                Found::Message(message) => {
                    let Some(message) = self.checked(*message) else { continue };
                    // Servers bound what one command brings as they bound one message.
                    let most = BATCH_OCTETS.min(self.limit);
                    if octets + message.staged.size > most || self.batch.len() == BATCH_MESSAGES {
                        self.send().await?;
                        octets = 0;
                    }
                    octets += message.staged.size;
                    self.batch.push(message);
                }
                Found::Already(messages) => {
                    self.report.already += messages;
                    self.ui.transfer(&TransferEvent::Progress(self.report));
                }
                Found::Elsewhere(key) => {
                    self.report.already += 1;
                    elsewhere.push(key);
                    if elsewhere.len() == BATCH_MESSAGES {
                        self.know(std::mem::take(&mut elsewhere))?;
                    }
                }
                Found::Removed => self.report.removed += 1,
                Found::Skipped { folder, what, why } => self.skipped(folder, what, why),
            }
        }
        self.know(elsewhere)?;
        self.send().await
    }

    /// So that they are not fetched again the next time.
    fn know(&mut self, elsewhere: Vec<Key>) -> Result<(), ClientError> {
        if elsewhere.is_empty() { Ok(()) } else { self.journal.known(elsewhere).map_err(local) }
    }

    /// The message if the server can take it.
    fn checked(&mut self, mut message: Message) -> Option<Message> {
        let why = if message.staged.size > self.limit {
            too_large(message.staged.size, self.limit)
        } else if message.staged.size == 0 {
            "it is empty".to_owned()
        } else if message.staged.nul && !self.mail.has("BINARY") {
            "it holds NUL octets, which this server does not take".to_owned()
        } else {
            let before = message.flags.len();
            let mut keywords = 0;
            message.flags.retain(|flag| match flag {
                Flag::Keyword(word) => {
                    keywords += 1;
                    keywords <= KEYWORDS_MAX && word.as_str().len() <= KEYWORD_LEN_MAX
                }
                // Of some other server's own making.
                Flag::Extension(_) => false,
                _ => true,
            });
            if message.flags.len() < before {
                let left_out = before - message.flags.len();
                self.ui.transfer(&TransferEvent::Note(format!(
                    "{}: {}: {left_out} flags that the server does not take are left out",
                    message.folder, message.what
                )));
            }
            return Some(message);
        };
        self.skipped(message.folder, message.what, why);
        None
    }

    /// Makes the mailbox where it is not there.
    async fn fill(&mut self, name: String) -> Result<(), ClientError> {
        if self.dry_run || self.filling.as_ref().is_some_and(|filling| filling.name == name) {
            return Ok(());
        }
        if !self.is_there(&name) && name != "INBOX" {
            loop {
                match self.make(&name).await {
                    Ok(()) => break,
                    Err(ClientError::Later(why) | ClientError::Away(why)) => self.reconnect(why).await?,
                    Err(error) => return Err(error),
                }
            }
            self.mailboxes.push(Folder { name: name.clone(), attributes: Vec::new(), delimiter: Some('/') });
        }
        self.filling = Some(Filling { name, uid_validity: 0, uid_next: None });
        Ok(())
    }

    fn is_there(&self, name: &str) -> bool {
        self.mailboxes.iter().any(|folder| folder.name == name && !folder.has("\\NonExistent"))
    }

    async fn make(&mut self, name: &str) -> Result<(), ClientError> {
        // Where the connection broke on the way, it may have been made.
        if !self.is_there(name) {
            match self.mail.create(name).await {
                Ok(()) => {}
                Err(ImapError::Refused { code, .. }) if code.as_deref() == Some("ALREADYEXISTS") => {}
                Err(ImapError::Refused { text, .. }) => {
                    return Err(ClientError::Refused(format!(
                        "the server does not make the mailbox {name:?}: {text}. Give the folder another one: --folder SOURCE=MAILBOX"
                    )));
                }
                Err(error) => return Err(imap_error(error)),
            }
        }
        self.mail.subscribe(name).await.map_err(imap_error)
    }

    /// Another session in place of the one that broke because of `why`.
    async fn reconnect(&mut self, why: String) -> Result<(), ClientError> {
        let mut why = why;
        loop {
            self.mail = self.again.connect(why).await.map_err(go_on)?;
            if let Some(filling) = &mut self.filling {
                filling.uid_next = None;
            }
            match self.mail.list().await.map_err(imap_error) {
                Ok(mailboxes) => break self.mailboxes = mailboxes,
                Err(ClientError::Later(reason) | ClientError::Away(reason)) => why = reason,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The mailbox with its UIDNEXT, asked for where no answer to an APPEND told it.
    async fn next(&mut self) -> Result<(String, u32, u32), ClientError> {
        let Some(filling) = &mut self.filling else {
            return Err(ClientError::Refused("a message came before its folder".to_owned()));
        };
        if filling.uid_next.is_none() {
            let selected = self.mail.examine(&filling.name).await.map_err(imap_error)?;
            filling.uid_validity = selected.uid_validity;
            // RFC 3501 §6.3.1 has old servers that do not tell it.
            let uid_next = match selected.uid_next {
                Some(uid_next) => uid_next,
                None if selected.exists == 0 => 1,
                None => {
                    let last = self.mail.uids().await.map_err(imap_error)?.pop();
                    last.map_or(1, |last| last.saturating_add(1))
                }
            };
            filling.uid_next = Some(uid_next);
            self.mail.unselect().await.map_err(imap_error)?;
        }
        Ok((filling.name.clone(), filling.uid_validity, filling.uid_next.unwrap_or(1)))
    }

    /// Sends the batch, over as many connections as that takes.
    async fn send(&mut self) -> Result<(), ClientError> {
        let mut batch = std::mem::take(&mut self.batch);
        if self.dry_run {
            self.arrived(&batch);
            return Ok(());
        }
        while !batch.is_empty() {
            match self.send_once(&mut batch).await {
                Ok(()) => self.again.progress(),
                Err(ClientError::Later(why) | ClientError::Away(why)) => self.reconnect(why).await?,
                Err(error) => return Err(go_on(error)),
            }
        }
        Ok(())
    }

    /// Sends the batch; what is dealt with leaves it.
    async fn send_once(&mut self, batch: &mut Vec<Message>) -> Result<(), ClientError> {
        // The same batch, as far as it got before the connection broke.
        if let Some(begun) = self.journal.pending().cloned() {
            let mut rest = Vec::new();
            for at in self.settle(&begun).await?.into_iter().rev() {
                rest.push(batch.swap_remove(at));
            }
            rest.reverse();
            self.arrived(&std::mem::replace(batch, rest));
            if batch.is_empty() {
                return Ok(());
            }
        }
        let (mailbox, uid_validity, uid_next) = self.next().await?;
        let entry = |m: &Message| Entry { key: m.key, hash: m.staged.hash, size: m.staged.size };
        let messages = batch.iter().map(entry).collect();
        let at = self.clock.now().0;
        let begun = Batch { mailbox: mailbox.clone(), uid_validity, uid_next, at, messages };
        self.journal.begin(begun).map_err(local)?;
        let refused = self.append(&mailbox, batch).await?;
        self.journal.end(refused.iter().map(|(at, _)| *at).collect()).map_err(local)?;
        for (at, why) in refused.into_iter().rev() {
            let message = batch.remove(at);
            self.skipped(message.folder, message.what, why);
        }
        self.arrived(&std::mem::take(batch));
        Ok(())
    }

    fn arrived(&mut self, messages: &[Message]) {
        if messages.is_empty() {
            return;
        }
        self.report.messages += messages.len() as u64;
        self.report.octets += messages.iter().map(|m| m.staged.size).sum::<u64>();
        self.ui.transfer(&TransferEvent::Progress(self.report));
    }

    /// All at once where the server can; where it cannot, or takes not all, one by one. Gives back those that it refused.
    async fn append(
        &mut self,
        mailbox: &str,
        batch: &mut [Message],
    ) -> Result<Vec<(usize, String)>, ClientError> {
        if batch.len() > 1 && self.mail.has("MULTIAPPEND") {
            match self.append_some(mailbox, batch).await {
                Ok(()) => return Ok(Vec::new()),
                // None of them is there (RFC 3502 §6.3.11): which one is at fault is found out one by one.
                Err(ImapError::Refused { code, text }) if !is_final(code.as_deref()) => drop(text),
                Err(ImapError::Bad(_)) => {}
                Err(error) => return Err(imap_error(error)),
            }
        }
        let mut refused = Vec::new();
        for (at, message) in batch.iter_mut().enumerate() {
            match self.append_some(mailbox, std::slice::from_mut(message)).await {
                Ok(()) => {}
                Err(ImapError::Refused { code, text }) if !is_final(code.as_deref()) => {
                    refused.push((at, format!("the server refused it: {text}")));
                }
                Err(ImapError::Bad(text)) => refused.push((at, format!("the server refused it: {text}"))),
                Err(error) => return Err(imap_error(error)),
            }
        }
        Ok(refused)
    }

    async fn append_some(&mut self, mailbox: &str, some: &mut [Message]) -> Result<(), ImapError> {
        let mut outgoing = Vec::with_capacity(some.len());
        for message in some {
            let (size, binary) = (message.staged.size, message.staged.nul);
            let reader = message.staged.reader().map_err(ImapError::Local)?;
            outgoing.push(Outgoing { flags: &message.flags, date: message.date, size, binary, reader });
        }
        let filed = self.mail.append_all(mailbox, &mut outgoing, &mut |_, _| {}).await?;
        if let Some(filling) = &mut self.filling {
            filling.uid_next = match filed {
                Some(Filed { uid_validity, last_uid }) if uid_validity == filling.uid_validity => {
                    last_uid.checked_add(1)
                }
                _ => None,
            };
        }
        Ok(())
    }
}

/// An error that ends the import. A batch that was on its way stays without an end in the journal, and is looked for the
/// next time.
pub(super) fn go_on(error: ClientError) -> ClientError {
    let again = "what is done is written down: run the same command again to go on";
    match error {
        ClientError::Later(text) | ClientError::Away(text) => ClientError::Later(format!("{text}; {again}")),
        ClientError::Refused(text) => ClientError::Refused(format!("{text}; {again}")),
        other => other,
    }
}

fn is_final(code: Option<&str>) -> bool {
    code.is_some_and(|code| FINAL_CODES.contains(&code))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
#[path = "upload_tests.rs"]
mod tests;
