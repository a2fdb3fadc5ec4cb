//! Another IMAP server as a source: its folders, and their messages in groups.

use super::{
    BATCH_MESSAGES, BATCH_OCTETS,
    import::{Found, Message, Selected},
    journal::{Key, key},
    names::{shown, special_use},
    stage::{Hash, Stage},
};
use crate::{
    error::ClientError,
    imap::{Folder, Meta},
    mailbox::{Mail, imap_error},
};
use sealpost_proto::imap::SequenceSet;
use std::{collections::HashSet, io, path::PathBuf, sync::Arc};
use tokio::sync::mpsc;

/// Messages asked about at once.
const METAS: usize = 500;
/// What a server may send above the sizes it told, in octets: some reckon lines with one octet.
const SLACK: u64 = 64 << 20;

/// A folder of the server.
pub(super) struct RemoteFolder {
    /// As the server calls it.
    pub name: String,
    /// By levels, without what stands before all of them.
    pub levels: Vec<String>,
    /// `\Sent` and its like.
    pub special: Option<&'static str>,
    /// It shows messages of other folders, too (`\All`): only what was in no other is taken.
    pub is_all: bool,
    /// A mere view of others (`\Flagged`, `\Important`): only where it is asked for by name.
    pub is_view: bool,
}

/// A server as a source.
pub(super) struct Pull {
    pub mail: Mail,
    pub folders: Vec<RemoteFolder>,
}

impl Pull {
    /// Its folders, those that show others last.
    pub(super) async fn find(mut mail: Mail) -> Result<Self, ClientError> {
        let listed = mail.list().await.map_err(imap_error)?;
        Ok(Self { mail, folders: folders(listed) })
    }

    /// Reads the selected folders. Ends early where nobody listens any more.
    pub(super) async fn read(
        mut self,
        pulling: &Pulling,
        selected: Vec<Selected>,
    ) -> Result<(), ClientError> {
        let mut contents = pulling.contents.as_ref().clone();
        for Selected { at, to } in selected {
            let from = shown(&self.folders[at].levels);
            match self.folder(pulling, at, &from, to, &mut contents).await {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                // The server is still there, only the folder cannot be had.
                Err(ClientError::Refused(why)) => {
                    let found = Found::Skipped { folder: from, what: "the folder".into(), why };
                    if pulling.found.send(found).await.is_err() {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        let _ = self.mail.logout().await;
        Ok(())
    }

    async fn folder(
        &mut self,
        pulling: &Pulling,
        at: usize,
        from: &str,
        to: String,
        contents: &mut HashSet<Hash>,
    ) -> Result<bool, ClientError> {
        let RemoteFolder { name, is_all, .. } = &self.folders[at];
        let is_all = *is_all;
        let selected = self.mail.examine(name).await.map_err(imap_error)?;
        let uids =
            if selected.exists == 0 { Vec::new() } else { self.mail.uids().await.map_err(imap_error)? };
        let key_of = |uid: u32| {
            let id = [selected.uid_validity.to_be_bytes(), uid.to_be_bytes()].concat();
            key(name, &id)
        };
        let known = uids.len();
        let new: Vec<u32> = uids.into_iter().filter(|uid| !pulling.done.contains(&key_of(*uid))).collect();
        let begun = Found::Folder { from: from.to_owned(), to, messages: Some(known as u64) };
        let already = Found::Already((known - new.len()) as u64);
        if pulling.found.send(begun).await.is_err() || pulling.found.send(already).await.is_err() {
            return Ok(false);
        }
        for uids in new.chunks(METAS) {
            let Some(set) = SequenceSet::from_numbers(uids) else { continue };
            let mut metas = self.mail.fetch_meta(set, &[]).await.map_err(imap_error)?;
            metas.retain(|meta| uids.contains(&meta.uid));
            for group in groups(&metas) {
                if let [meta] = group
                    && meta.size > pulling.limit
                {
                    let why = too_large(meta.size, pulling.limit);
                    let what = format!("UID {}", meta.uid);
                    let found = Found::Skipped { folder: from.to_owned(), what, why };
                    if pulling.found.send(found).await.is_err() {
                        return Ok(false);
                    }
                    continue;
                }
                let uids: Vec<u32> = group.iter().map(|meta| meta.uid).collect();
                let most = group.iter().map(|meta| meta.size).sum::<u64>().saturating_add(SLACK);
                let stage = || Stage::new(&pulling.dir, pulling.limit);
                let got = self.mail.fetch_messages(&uids, most, stage).await.map_err(imap_error)?;
                for (uid, stage) in got {
                    let Some(meta) = group.iter().find(|meta| meta.uid == uid) else { continue };
                    let staged = stage.finish().map_err(local)?;
                    if !contents.insert(staged.hash) && is_all {
                        if pulling.found.send(Found::Elsewhere(key_of(uid))).await.is_err() {
                            return Ok(false);
                        }
                        continue;
                    }
                    let message = Message {
                        folder: from.to_owned(),
                        what: format!("UID {uid}"),
                        key: key_of(uid),
                        staged,
                        flags: meta.flags.clone(),
                        date: meta.internal_date,
                    };
                    if pulling.found.send(Found::Message(Box::new(message))).await.is_err() {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }
}

pub(super) fn too_large(size: u64, limit: u64) -> String {
    format!("it has {size} octets, and the server takes {limit} at most")
}

pub(super) fn local(error: io::Error) -> ClientError {
    imap_error(crate::imap::ImapError::Local(error))
}

/// Messages to be fetched by one command; a large one by itself.
pub(super) fn groups(metas: &[Meta]) -> Vec<&[Meta]> {
    let (mut all, mut start, mut octets) = (Vec::new(), 0, 0_u64);
    for (at, meta) in metas.iter().enumerate() {
        let full = octets.saturating_add(meta.size) > BATCH_OCTETS || at - start == BATCH_MESSAGES;
        if at > start && full {
            all.push(&metas[start..at]);
            (start, octets) = (at, 0);
        }
        octets = octets.saturating_add(meta.size);
    }
    if start < metas.len() {
        all.push(&metas[start..]);
    }
    all
}

/// What LIST gave as folders with messages, in the order in which they are read.
fn folders(listed: Vec<Folder>) -> Vec<RemoteFolder> {
    let levels = |folder: &Folder| -> Vec<String> {
        match folder.delimiter {
            Some(delimiter) => folder.name.split(delimiter).map(str::to_owned).collect(),
            None => vec![folder.name.clone()],
        }
    };
    let is_inbox = |levels: &[String]| matches!(levels, [one] if one.eq_ignore_ascii_case("INBOX"));
    // Courier and others keep all folders below INBOX (RFC 2342's personal namespace "INBOX.").
    let others: Vec<Vec<String>> = listed.iter().map(levels).filter(|l| !is_inbox(l)).collect();
    let below_inbox = others.iter().all(|l| l.len() > 1 && l[0].eq_ignore_ascii_case("INBOX"));
    let mut all: Vec<RemoteFolder> = listed
        .into_iter()
        .filter(|folder| !folder.has("\\Noselect") && !folder.has("\\NonExistent"))
        .map(|folder| {
            let mut levels = levels(&folder);
            if is_inbox(&levels) || (below_inbox && !levels.is_empty()) {
                levels.remove(0);
            }
            RemoteFolder {
                special: special_use(&folder.attributes, &levels).filter(|_| !levels.is_empty()),
                is_all: folder.has("\\All"),
                is_view: folder.has("\\Flagged") || folder.has("\\Important"),
                name: folder.name,
                levels,
            }
        })
        .collect();
    for folder in &mut all {
        // What is in no other folder was archived.
        if folder.is_all {
            folder.special = Some("\\Archive");
        }
    }
    all.sort_by(|a, b| (a.is_all, &a.levels).cmp(&(b.is_all, &b.levels)));
    all
}

/// What reading a server needs.
pub(super) struct Pulling {
    pub found: mpsc::Sender<Found>,
    pub done: Arc<HashSet<Key>>,
    /// The contents of what is there already.
    pub contents: Arc<HashSet<Hash>>,
    pub dir: PathBuf,
    pub limit: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str, delimiter: char, attributes: &[&str]) -> Folder {
        let attributes = attributes.iter().map(|a| (*a).to_owned()).collect();
        Folder { name: name.into(), attributes, delimiter: Some(delimiter) }
    }

    #[test]
    fn folders_of_different_servers() {
        let shape = |listed: Vec<Folder>| -> Vec<(String, Option<&'static str>)> {
            folders(listed).iter().map(|f| (shown(&f.levels), f.special)).collect()
        };
        // Dovecot, Courier, Gmail.
        assert_eq!(
            shape(vec![
                folder("Work.2024", '.', &[]),
                folder("INBOX", '.', &[]),
                folder("Work", '.', &["\\NoSelect"]),
                folder("Sent Items", '.', &["\\Sent"]),
            ]),
            [("INBOX".into(), None), ("Sent Items".into(), Some("\\Sent")), ("Work/2024".into(), None)]
        );
        assert_eq!(
            shape(vec![
                folder("INBOX", '.', &[]),
                folder("INBOX.Trash", '.', &[]),
                folder("INBOX.a.b", '.', &[])
            ]),
            [("INBOX".into(), None), ("Trash".into(), Some("\\Trash")), ("a/b".into(), None)]
        );
        assert_eq!(
            shape(vec![
                folder("[Gmail]/All Mail", '/', &["\\All"]),
                folder("[Gmail]/Starred", '/', &["\\Flagged"]),
                folder("INBOX", '/', &[]),
            ]),
            [
                ("INBOX".into(), None),
                ("[Gmail]/Starred".into(), None),
                ("[Gmail]/All Mail".into(), Some("\\Archive"))
            ]
        );
    }

    #[test]
    fn groups_are_bounded_by_count_and_octets() {
        let metas = |sizes: &[u64]| -> Vec<Meta> {
            sizes.iter().zip(1..).map(|(size, uid)| Meta { uid, size: *size, ..Meta::default() }).collect()
        };
        let lens = |sizes: &[u64]| -> Vec<usize> { groups(&metas(sizes)).iter().map(|g| g.len()).collect() };
        assert_eq!(lens(&[]), [0; 0]);
        assert_eq!(lens(&[BATCH_OCTETS, 1, 2, u64::MAX, u64::MAX]), [1, 2, 1, 1]);
        assert_eq!(lens(&[BATCH_OCTETS - 1, 1, 1]), [2, 1]);
        assert_eq!(lens(&vec![0; 2 * BATCH_MESSAGES + 1]), [BATCH_MESSAGES, BATCH_MESSAGES, 1]);
    }
}
