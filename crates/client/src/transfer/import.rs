//! `import`: from the source, in batches, to the target; each batch written down before it goes and after it is there.

use super::{
    BATCH_MESSAGES, BATCH_OCTETS, Format, TransferEvent, TransferReport,
    journal::{Batch, Entry, Journal, JournalError, Key},
    local::{Local, Reading},
    names::{self, FolderRule, Mapping, shown, special_use},
    pull::{Pull, Pulling, local, too_large},
    remote::Remote,
    stage::Staged,
};
use crate::{
    client::Client,
    error::ClientError,
    imap::{Filed, Folder, ImapError, Outgoing},
    mailbox::{Mail, imap_error},
    ui::Ui,
};
use sealpost_proto::{
    imap::Flag,
    time::{Clock, Timestamp},
};
use std::{path::PathBuf, sync::Arc};
use tokio::sync::mpsc;

/// Messages read ahead of those that are sent.
const AHEAD: usize = 2 * BATCH_MESSAGES;
/// Largest message where the server names no limit, in octets: far over what servers take.
const MESSAGE_MAX: u64 = 1 << 30;
/// Keywords that a message keeps, and their length in octets: what the server takes.
const KEYWORDS_MAX: usize = 100;
const KEYWORD_LEN_MAX: usize = 255;
/// Codes of NO that say nothing of the message, so that the next one would fare no better.
const FINAL_CODES: [&str; 8] =
    ["OVERQUOTA", "UNAVAILABLE", "SERVERBUG", "INUSE", "NOPERM", "TRYCREATE", "NONEXISTENT", "CONTACTADMIN"];

/// Where mail comes from.
#[derive(Clone)]
pub enum Source {
    /// Files here.
    Path {
        /// A file or a folder.
        path: PathBuf,
        /// As it is, where `None`.
        format: Option<Format>,
    },
    /// Another server.
    Server(Remote),
}

/// What `import` needs.
#[derive(Clone)]
pub struct ImportRequest {
    /// Where mail comes from.
    pub source: Source,
    /// Where it goes; the account of the client's folder where `None`.
    pub to: Option<Remote>,
    /// Only these folders, and where each goes; all where empty.
    pub folders: Vec<FolderRule>,
    /// The mailbox that everything goes into.
    pub into: Option<String>,
    /// Say what would be done.
    pub dry_run: bool,
    /// Forget what was imported before.
    pub anew: bool,
    /// Take dates from what messages say of themselves, not from their files.
    pub received_dates: bool,
}

/// A folder that is to be read: its place in the source's list, its mailbox here.
pub(super) struct Selected {
    pub at: usize,
    pub to: String,
}

/// What reading a source brings.
pub(super) enum Found {
    Folder {
        from: String,
        to: String,
        messages: Option<u64>,
    },
    Message(Box<Message>),
    Already(u64),
    /// Its content came by another folder.
    Elsewhere(Key),
    Removed,
    Skipped {
        folder: String,
        what: String,
        why: String,
    },
}

/// A message at hand.
pub(super) struct Message {
    pub folder: String,
    /// Which it is there, in words.
    pub what: String,
    pub key: Key,
    pub staged: Staged,
    pub flags: Vec<Flag>,
    pub date: Option<Timestamp>,
}

/// A source with its folders listed.
enum Opened {
    Local(Local),
    Server(Box<Pull>),
}

impl Client {
    pub(crate) async fn import_mail(&self, request: ImportRequest) -> Result<TransferReport, ClientError> {
        let target = self.transfer_session(request.to.as_ref()).await?;
        let (opened, from) = match &request.source {
            Source::Path { path, format } => {
                let failed = |e: std::io::Error| ClientError::Folder {
                    what: "cannot read",
                    path: path.clone(),
                    reason: e.to_string(),
                };
                let whole = path.canonicalize().map_err(failed)?;
                let found = Local::find(&whole, *format).map_err(failed)?;
                let kind = if found.format == Format::Maildir { "maildir" } else { "mbox" };
                (Opened::Local(found), format!("{kind}:{}", whole.display()))
            }
            Source::Server(remote) => {
                let mail = remote.sign_in(self, target.dns).await?;
                (Opened::Server(Box::new(Pull::find(mail).await?)), format!("imap:{}", remote.url))
            }
        };
        let path = self.journal_path(&from, &target.name);
        let journal = Journal::open(&path, &from, &target.name, request.anew, request.dry_run);
        let journal = journal.map_err(|e| match e {
            JournalError::Busy => ClientError::Refused(e.to_string()),
            e => ClientError::Folder { what: "cannot use", path, reason: e.to_string() },
        })?;
        let mut upload = Upload::new(self, target.mail, journal, request.dry_run).await?;
        upload.look_for_pending().await?;
        let selected = upload.select(&request, &opened)?;
        let (found, mut coming) = mpsc::channel(AHEAD);
        let done = Arc::new(upload.journal.done().clone());
        let (dir, limit) = (self.settings.dir.clone(), upload.limit);
        let reading = match opened {
            Opened::Local(source) => {
                for (path, why) in &source.passed {
                    upload.skipped(String::new(), path.display().to_string(), why.clone());
                }
                let received_dates = request.received_dates;
                tokio::task::spawn_blocking(move || {
                    let reading = Reading { found, done, dir, limit, received_dates };
                    // It ends early where this end hung up, which then knows why.
                    let _ = source.read(&reading, selected);
                    Ok(())
                })
            }
            Opened::Server(source) => {
                let contents = Arc::new(upload.journal.contents().clone());
                tokio::spawn(async move {
                    let pulling = Pulling { found, done, contents, dir, limit };
                    source.read(&pulling, selected).await
                })
            }
        };
        let uploaded = upload.take(&mut coming).await;
        drop(coming);
        let read = reading.await.map_err(|e| ClientError::Refused(e.to_string()))?;
        uploaded.and(read)?;
        let _ = upload.mail.logout().await;
        Ok(upload.report)
    }
}

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
    pub(super) journal: Journal,
    pub(super) ui: Arc<dyn Ui>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) dry_run: bool,
    limit: u64,
    mailboxes: Vec<Folder>,
    filling: Option<Filling>,
    batch: Vec<Message>,
    report: TransferReport,
}

impl Upload {
    async fn new(
        client: &Client,
        mut mail: Mail,
        journal: Journal,
        dry_run: bool,
    ) -> Result<Self, ClientError> {
        let mailboxes = mail.list().await.map_err(imap_error)?;
        let limit = mail.value("APPENDLIMIT").and_then(|limit| limit.parse().ok()).unwrap_or(MESSAGE_MAX);
        Ok(Self {
            mail,
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

    /// Which folders are read, and into what.
    fn select(&self, request: &ImportRequest, opened: &Opened) -> Result<Vec<Selected>, ClientError> {
        let mapping =
            Mapping { rules: &request.folders, into: request.into.as_deref(), target: &self.mailboxes };
        let single = matches!(&request.source, Source::Path { path, .. } if path.is_file());
        let (mut selected, mut names) = (Vec::new(), Vec::new());
        let mut add = |at, levels: &[String], special, view: bool| {
            names.push(shown(levels));
            let to = match &request.into {
                Some(into) if single => Some(names::clean(into)),
                _ => mapping.target_of(levels, special),
            };
            selected
                .extend(to.filter(|_| !view || !request.folders.is_empty()).map(|to| Selected { at, to }));
        };
        match opened {
            Opened::Local(local) => {
                for (at, place) in local.places.iter().enumerate() {
                    add(at, &place.levels, special_use(&[], &place.levels), false);
                }
            }
            Opened::Server(pull) => {
                for (at, folder) in pull.folders.iter().enumerate() {
                    add(at, &folder.levels, folder.special, folder.is_view);
                }
            }
        }
        for rule in &request.folders {
            if !names.iter().any(|name| rule.matches(name)) {
                return Err(ClientError::Refused(format!(
                    "there is no folder {:?}; there are: {}",
                    rule.source,
                    names.join(", ")
                )));
            }
        }
        Ok(selected)
    }

    fn skipped(&mut self, folder: String, what: String, why: String) {
        self.report.skipped += 1;
        self.ui.transfer(&TransferEvent::Skipped { folder, what, why });
    }

    async fn take(&mut self, coming: &mut mpsc::Receiver<Found>) -> Result<(), ClientError> {
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
        if self.filling.as_ref().is_some_and(|filling| filling.name == name) {
            return Ok(());
        }
        let there = self.mailboxes.iter().any(|folder| folder.name == name && !folder.has("\\NonExistent"));
        if self.dry_run {
            return Ok(());
        }
        if !there && name != "INBOX" {
            match self.mail.create(&name).await {
                Ok(()) => {}
                Err(ImapError::Refused { code, .. }) if code.as_deref() == Some("ALREADYEXISTS") => {}
                Err(ImapError::Refused { text, .. }) => {
                    return Err(ClientError::Refused(format!(
                        "the server does not make the mailbox {name:?}: {text}. Give the folder another one: --folder SOURCE=MAILBOX"
                    )));
                }
                Err(error) => return Err(imap_error(error)),
            }
            self.mail.subscribe(&name).await.map_err(imap_error)?;
            self.mailboxes.push(Folder { name: name.clone(), attributes: Vec::new(), delimiter: Some('/') });
        }
        self.filling = Some(Filling { name, uid_validity: 0, uid_next: None });
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

    /// Sends the batch.
    async fn send(&mut self) -> Result<(), ClientError> {
        let mut batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return Ok(());
        }
        if !self.dry_run {
            let (mailbox, uid_validity, uid_next) = self.next().await?;
            let entry = |m: &Message| Entry { key: m.key, hash: m.staged.hash, size: m.staged.size };
            let messages = batch.iter().map(entry).collect();
            let at = self.clock.now().0;
            let begun = Batch { mailbox: mailbox.clone(), uid_validity, uid_next, at, messages };
            self.journal.begin(begun).map_err(local)?;
            let refused = self.append(&mailbox, &mut batch).await?;
            self.journal.end(refused.iter().map(|(at, _)| *at).collect()).map_err(local)?;
            for (at, why) in refused.into_iter().rev() {
                let message = batch.remove(at);
                self.skipped(message.folder, message.what, why);
            }
        }
        self.report.messages += batch.len() as u64;
        self.report.octets += batch.iter().map(|m| m.staged.size).sum::<u64>();
        self.ui.transfer(&TransferEvent::Progress(self.report));
        Ok(())
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
                Err(error) => return Err(Self::gave_up(error)),
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
                Err(error) => return Err(Self::gave_up(error)),
            }
        }
        Ok(refused)
    }

    /// An error that ends the import. The batch stays without an end in the journal, and is looked for the next time.
    fn gave_up(error: ImapError) -> ClientError {
        let again = "what is done is written down: run the same command again to go on";
        match imap_error(error) {
            ClientError::Later(text) => ClientError::Later(format!("{text}; {again}")),
            ClientError::Refused(text) => ClientError::Refused(format!("{text}; {again}")),
            other => other,
        }
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

fn is_final(code: Option<&str>) -> bool {
    code.is_some_and(|code| FINAL_CODES.contains(&code))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
#[path = "import_tests.rs"]
mod tests;
