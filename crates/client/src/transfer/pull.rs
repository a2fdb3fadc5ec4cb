//! Another IMAP server as a source: its folders, and their messages in groups.

use super::{
    BATCH_MESSAGES, BATCH_OCTETS,
    again::Again,
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

/// A folder while it is read, over as many connections as that takes.
struct Visit {
    at: usize,
    from: String,
    to: String,
    /// Whoever takes its messages knows of it.
    told: bool,
    /// What was handed over or told of.
    handed: HashSet<Key>,
}

impl Pull {
    /// Its folders, those that show others last.
    pub(super) async fn find(mut mail: Mail) -> Result<Self, ClientError> {
        let listed = mail.list().await.map_err(imap_error)?;
        Ok(Self { mail, folders: folders(listed) })
    }

    /// Reads the selected folders; where the connection breaks, over a new one. Ends early where nobody listens any more.
    pub(super) async fn read(
        mut self,
        pulling: &Pulling,
        mut again: Again,
        selected: Vec<Selected>,
    ) -> Result<(), ClientError> {
        let mut contents = pulling.contents.as_ref().clone();
        for Selected { at, to } in selected {
            let from = shown(&self.folders[at].levels);
            let mut visit = Visit { at, from, to, told: false, handed: HashSet::new() };
            loop {
                match self.folder(pulling, &mut again, &mut visit, &mut contents).await {
                    Ok(true) => break,
                    Ok(false) => return Ok(()),
                    // The server is still there, only the folder cannot be had.
                    Err(ClientError::Refused(why)) => {
                        let found = Found::Skipped { folder: visit.from, what: "the folder".into(), why };
                        if pulling.found.send(found).await.is_err() {
                            return Ok(());
                        }
                        break;
                    }
                    Err(ClientError::Later(why) | ClientError::Away(why)) => {
                        self.mail = tokio::select! {
                            mail = again.connect(why) => mail?,
                            () = pulling.found.closed() => return Ok(()),
                        };
                    }
                    Err(error) => return Err(error),
                }
            }
            again.progress();
        }
        let _ = self.mail.logout().await;
        Ok(())
    }

    async fn folder(
        &mut self,
        pulling: &Pulling,
        again: &mut Again,
        visit: &mut Visit,
        contents: &mut HashSet<Hash>,
    ) -> Result<bool, ClientError> {
        let RemoteFolder { name, is_all, .. } = &self.folders[visit.at];
        let is_all = *is_all;
        let selected = self.mail.examine(name).await.map_err(imap_error)?;
        let uids =
            if selected.exists == 0 { Vec::new() } else { self.mail.uids().await.map_err(imap_error)? };
        let key_of = |uid: u32| {
            let id = [selected.uid_validity.to_be_bytes(), uid.to_be_bytes()].concat();
            key(name, &id)
        };
        let known = uids.len();
        let mut new: Vec<u32> =
            uids.into_iter().filter(|uid| !pulling.done.contains(&key_of(*uid))).collect();
        if !visit.told {
            visit.told = true;
            let (from, to) = (visit.from.clone(), visit.to.clone());
            let begun = Found::Folder { from, to, messages: Some(known as u64) };
            let already = Found::Already((known - new.len()) as u64);
            if pulling.found.send(begun).await.is_err() || pulling.found.send(already).await.is_err() {
                return Ok(false);
            }
        }
        new.retain(|uid| !visit.handed.contains(&key_of(*uid)));
        for uids in new.chunks(METAS) {
            let Some(set) = SequenceSet::from_numbers(uids) else { continue };
            let mut metas = self.mail.fetch_meta(set, &[]).await.map_err(imap_error)?;
            metas.retain(|meta| uids.contains(&meta.uid));
            let mut rest = &metas[..];
            while !rest.is_empty() {
                // What broke the connection may be one of them; and a line that carries no more than a message at a time
                // gets on with it, too.
                let (group, behind) = rest.split_at(if again.is_in_trouble() { 1 } else { group_len(rest) });
                rest = behind;
                if let [meta] = group
                    && meta.size > pulling.limit
                {
                    visit.handed.insert(key_of(meta.uid));
                    let why = too_large(meta.size, pulling.limit);
                    let what = format!("UID {}", meta.uid);
                    let found = Found::Skipped { folder: visit.from.clone(), what, why };
                    if pulling.found.send(found).await.is_err() {
                        return Ok(false);
                    }
                    continue;
                }
                let uids: Vec<u32> = group.iter().map(|meta| meta.uid).collect();
                let most = group.iter().map(|meta| meta.size).sum::<u64>().saturating_add(SLACK);
                let stage = || Stage::new(&pulling.dir, pulling.limit);
                let got = self.mail.fetch_messages(&uids, most, stage).await.map_err(imap_error)?;
                again.progress();
                for (uid, stage) in got {
                    let Some(meta) = group.iter().find(|meta| meta.uid == uid) else { continue };
                    let staged = stage.finish().map_err(local)?;
                    visit.handed.insert(key_of(uid));
                    let found = if !contents.insert(staged.hash) && is_all {
                        Found::Elsewhere(key_of(uid))
                    } else {
                        Found::Message(Box::new(Message {
                            folder: visit.from.clone(),
                            what: format!("UID {uid}"),
                            key: key_of(uid),
                            staged,
                            flags: meta.flags.clone(),
                            date: meta.internal_date,
                        }))
                    };
                    if pulling.found.send(found).await.is_err() {
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

/// How many of the first messages are to be fetched by one command; a large one by itself.
fn group_len(metas: &[Meta]) -> usize {
    let mut octets = 0_u64;
    let fits = |meta: &&Meta| {
        octets = octets.saturating_add(meta.size);
        octets <= BATCH_OCTETS
    };
    metas.iter().take(BATCH_MESSAGES).take_while(fits).count().max(1)
}

/// Messages in groups, each to be fetched by one command.
pub(super) fn groups(metas: &[Meta]) -> Vec<&[Meta]> {
    let (mut all, mut rest) = (Vec::new(), metas);
    while !rest.is_empty() {
        let (group, behind) = rest.split_at(group_len(rest));
        all.push(group);
        rest = behind;
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
