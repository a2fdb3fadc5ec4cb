//! `export`: mailboxes of the account as files, as they are stored: what is sealed stays sealed.

use super::{
    Format, TransferEvent, TransferReport,
    files::Writer,
    names::{FolderRule, shown},
    pull::{Pull, groups, local, too_large},
    remote::Remote,
    stage::Stage,
};
use crate::{client::Client, error::ClientError, mailbox::imap_error};
use sealpost_proto::imap::SequenceSet;
use std::{io, path::PathBuf};

/// Largest message exported, in octets: far over what servers take, far under what fills a disk.
const MESSAGE_MAX: u64 = 1 << 30;
/// Messages asked about at once.
const METAS: usize = 500;
/// What a server may send above the sizes it told, in octets.
const SLACK: u64 = 64 << 20;

/// What `export` needs.
#[derive(Clone)]
pub struct ExportRequest {
    /// The folder to write into.
    pub dir: PathBuf,
    /// As what.
    pub format: Format,
    /// From where; the account of the client's folder where `None`.
    pub from: Option<Remote>,
    /// Only these mailboxes and what is below them; all where empty.
    pub folders: Vec<String>,
    /// Say what would be done.
    pub dry_run: bool,
}

impl Client {
    pub(crate) async fn export_mail(&self, request: ExportRequest) -> Result<TransferReport, ClientError> {
        let target = self.transfer_session(request.from.as_ref()).await?;
        let pull = Pull::find(target.mail).await?;
        let rules: Vec<FolderRule> =
            request.folders.iter().map(|f| FolderRule { source: f.clone(), target: None }).collect();
        let names: Vec<String> = pull.folders.iter().map(|f| shown(&f.levels)).collect();
        for rule in &rules {
            if !names.iter().any(|name| rule.matches(name)) {
                return Err(ClientError::Refused(format!(
                    "there is no mailbox {:?}; there are: {}",
                    rule.source,
                    names.join(", ")
                )));
            }
        }
        let mut export = Export { client: self, request: &request, pull, report: TransferReport::default() };
        for (at, name) in names.iter().enumerate() {
            if !rules.is_empty() && !rules.iter().any(|rule| rule.matches(name)) {
                continue;
            }
            match export.folder(at, name).await {
                Ok(()) => {}
                // The server does not show it, or it cannot be written: the others are worth having.
                Err(ClientError::Refused(why)) => export.skipped(name, "the mailbox".to_owned(), why),
                Err(error) => return Err(error),
            }
        }
        let report = export.report;
        let _ = export.pull.mail.logout().await;
        Ok(report)
    }
}

struct Export<'a> {
    client: &'a Client,
    request: &'a ExportRequest,
    pull: Pull,
    report: TransferReport,
}

impl Export<'_> {
    fn tell(&self, event: &TransferEvent) {
        self.client.env.ui.transfer(event);
    }

    fn skipped(&mut self, folder: &str, what: String, why: String) {
        self.report.skipped += 1;
        self.tell(&TransferEvent::Skipped { folder: folder.to_owned(), what, why });
    }

    async fn folder(&mut self, at: usize, name: &str) -> Result<(), ClientError> {
        let folder = &self.pull.folders[at];
        let levels = folder.levels.clone();
        let selected = self.pull.mail.examine(&folder.name).await.map_err(imap_error)?;
        let uids = if selected.exists == 0 {
            Vec::new()
        } else {
            self.pull.mail.uids().await.map_err(imap_error)?
        };
        let ExportRequest { dir, format, dry_run, .. } = self.request;
        // Only looking: what is there already is not known, and nothing is made.
        let mut writer = if *dry_run {
            None
        } else {
            Some(Writer::open(dir, *format, &levels, selected.uid_validity).map_err(refused)?)
        };
        self.report.folders += 1;
        let messages = Some(uids.len() as u64);
        self.tell(&TransferEvent::Folder { from: name.to_owned(), to: name.to_owned(), messages });
        let known = uids.len();
        let new: Vec<u32> =
            uids.into_iter().filter(|uid| writer.as_ref().is_none_or(|w| !w.has(*uid))).collect();
        self.report.already += (known - new.len()) as u64;
        for uids in new.chunks(METAS) {
            let Some(set) = SequenceSet::from_numbers(uids) else { continue };
            let mut metas = self.pull.mail.fetch_meta(set, &[]).await.map_err(imap_error)?;
            metas.retain(|meta| uids.contains(&meta.uid));
            for group in groups(&metas) {
                if let [meta] = group
                    && meta.size > MESSAGE_MAX
                {
                    self.skipped(name, format!("UID {}", meta.uid), too_large(meta.size, MESSAGE_MAX));
                    continue;
                }
                let sum = group.iter().map(|meta| meta.size).sum::<u64>();
                if let Some(writer) = &mut writer {
                    let uids: Vec<u32> = group.iter().map(|meta| meta.uid).collect();
                    let stage = || Stage::new(&self.client.settings.dir, MESSAGE_MAX);
                    let got = self.pull.mail.fetch_messages(&uids, sum.saturating_add(SLACK), stage).await;
                    let mut got = got.map_err(imap_error)?;
                    got.sort_by_key(|(uid, _)| *uid);
                    for (uid, stage) in got {
                        let Some(meta) = group.iter().find(|meta| meta.uid == uid) else { continue };
                        let mut staged = stage.finish().map_err(local)?;
                        let left_out = writer
                            .write(uid, &meta.flags, meta.internal_date, &mut staged)
                            .map_err(refused)?;
                        for word in left_out {
                            let note = format!(
                                "{name}: UID {uid}: the keyword {word} is left out; a Maildir has room for 26"
                            );
                            self.client.env.ui.transfer(&TransferEvent::Note(note));
                        }
                        self.report.messages += 1;
                        self.report.octets += staged.size;
                    }
                    writer.checkpoint().map_err(refused)?;
                } else {
                    self.report.messages += group.len() as u64;
                    self.report.octets += sum;
                }
                self.tell(&TransferEvent::Progress(self.report));
            }
        }
        writer.map_or(Ok(()), Writer::finish).map_err(refused)
    }
}

#[allow(clippy::needless_pass_by_value, reason = "goes to `map_err`")]
fn refused(error: io::Error) -> ClientError {
    ClientError::Refused(error.to_string())
}
