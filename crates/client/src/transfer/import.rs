//! `import`: what is read where, and what of it goes on.

use super::{
    BATCH_MESSAGES, Format, TransferReport,
    again::Again,
    journal::{Journal, JournalError, Key},
    local::{Local, Reading},
    names::{self, FolderRule, Mapping, shown, special_use},
    pull::{Pull, Pulling},
    remote::Remote,
    stage::Staged,
    upload::{Upload, go_on},
};
use crate::{client::Client, error::ClientError, imap::Folder};
use sealpost_proto::{imap::Flag, time::Timestamp};
use std::{path::PathBuf, sync::Arc};
use tokio::sync::mpsc;

/// Messages read ahead of those that are sent.
pub(super) const AHEAD: usize = 2 * BATCH_MESSAGES;

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
    Server(Box<(Pull, Again)>),
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
                let again = Again::at(self, remote, target.dns);
                (Opened::Server(Box::new((Pull::find(mail).await?, again))), format!("imap:{}", remote.url))
            }
        };
        let path = self.journal_path(&from, &target.name);
        let journal = Journal::open(&path, &from, &target.name, request.anew, request.dry_run);
        let journal = journal.map_err(|e| match e {
            JournalError::Busy => ClientError::Refused(e.to_string()),
            e => ClientError::Folder { what: "cannot use", path, reason: e.to_string() },
        })?;
        let again = Again::account(self, request.to.as_ref(), target.name);
        let mut upload = Upload::new(self, target.mail, again, journal, request.dry_run).await?;
        upload.look_for_pending().await?;
        let selected = select(&request, &opened, &upload.mailboxes)?;
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
                    let (pull, again) = *source;
                    pull.read(&pulling, again, selected).await.map_err(go_on)
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

/// Which folders are read, and into what.
fn select(request: &ImportRequest, opened: &Opened, target: &[Folder]) -> Result<Vec<Selected>, ClientError> {
    let mapping = Mapping { rules: &request.folders, into: request.into.as_deref(), target };
    let single = matches!(&request.source, Source::Path { path, .. } if path.is_file());
    let (mut selected, mut names) = (Vec::new(), Vec::new());
    let mut add = |at, levels: &[String], special, view: bool| {
        names.push(shown(levels));
        let to = match &request.into {
            Some(into) if single => Some(names::clean(into)),
            _ => mapping.target_of(levels, special),
        };
        selected.extend(to.filter(|_| !view || !request.folders.is_empty()).map(|to| Selected { at, to }));
    };
    match opened {
        Opened::Local(local) => {
            for (at, place) in local.places.iter().enumerate() {
                add(at, &place.levels, special_use(&[], &place.levels), false);
            }
        }
        Opened::Server(pull) => {
            for (at, folder) in pull.0.folders.iter().enumerate() {
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
