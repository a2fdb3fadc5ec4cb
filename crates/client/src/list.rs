//! `list`: the newest messages of a mailbox, each with its verdict. What was not read here before is opened, as far as
//! that is quick, since the outer header of a sealed message says nothing of its subject.

use crate::{
    client::Client,
    error::ClientError,
    imap::{Folder, Meta},
    mailbox::{Mail, imap_error},
    open::{Summary, Verdict},
    read::{Place, blocking},
    seen::{SeenMessage, SeenMessages},
    session::Session,
    state::State,
};
use sealpost_lookup::Lookup;
use sealpost_proto::{
    imap::{SearchKey, SequenceSet},
    time::Timestamp,
};
use std::collections::BTreeSet;

/// One line of `list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListEntry {
    /// UID.
    pub uid: u32,
    /// When it arrived (INTERNALDATE), where the server says it: the order of messages of several mailboxes.
    pub arrived: Option<Timestamp>,
    /// `Date:` as written, else the day of arrival. Beside a verdict, that of the message that was judged.
    pub date: String,
    /// From, decoded. Beside a verdict, that of the message that was judged.
    pub from: String,
    /// Subject, decoded; of sealed mail as it was when last read here, else `[...]`.
    pub subject: String,
    /// IMAP flags.
    pub flags: Vec<String>,
    /// Octets.
    pub size: u64,
    /// Verdict of the last reading here.
    pub verdict: Option<Verdict>,
}

/// Most messages listed, the newest.
const LIST_MAX: usize = 1_000;
/// Most messages opened by one call, the newest: a first look at a full mailbox must not take minutes.
const OPEN_MAX: usize = 100;
/// Largest message opened, in octets: with [`OPEN_MAX`] this bounds what one call fetches.
const OPEN_SIZE_MAX: u64 = 1 << 20;
/// Failed look-ups after which nothing more is opened: each may have taken its whole time limit.
const FAILED_LOOKUPS_MAX: usize = 3;
/// What stands in place of a subject that is sealed or withheld (profile §6).
const HIDDEN_SUBJECT: &str = "[...]";

impl Client {
    /// The mailboxes that hold messages of their own, INBOX first.
    pub(crate) async fn list_mailboxes(&self) -> Result<Vec<String>, ClientError> {
        let mut state = State::load(self).await?;
        let lookup = state.account.lookup(self)?;
        let mut mail = self.mail(&mut state, &lookup).await?;
        let folders = mail.list().await.map_err(imap_error)?;
        let _ = mail.logout().await;
        self.finish(state, &lookup, None).await?;
        Ok(with_messages(folders))
    }

    pub(crate) async fn list_messages(&self, mailbox: &str) -> Result<Vec<ListEntry>, ClientError> {
        let mut state = State::load(self).await?;
        let lookup = state.account.lookup(self)?;
        let mut mail = self.mail(&mut state, &lookup).await?;
        let selected = mail.examine(mailbox).await.map_err(imap_error)?;
        let mut uids = if selected.exists == 0 {
            Vec::new()
        } else {
            mail.search(SearchKey::All).await.map_err(imap_error)?
        };
        uids.sort_unstable();
        let newest = uids.split_off(uids.len().saturating_sub(LIST_MAX));
        let mut metas = match SequenceSet::from_numbers(&newest) {
            Some(set) => mail
                .fetch_meta(set, &["Date", "From", "Subject", "X-Sender-Encrypted", "X-Sender-Signature"])
                .await
                .map_err(imap_error)?,
            None => Vec::new(),
        };
        metas.sort_by_key(|meta| meta.uid);
        let mut session = None;
        let place = |uid| Place { mailbox, uid_validity: selected.uid_validity, uid };
        self.open_unknown(&mut state, &lookup, &mut session, &mut mail, &metas, place).await?;
        let _ = mail.logout().await;
        let seen: SeenMessages = state.locked.read()?.unwrap_or_default();
        let entries = metas
            .iter()
            .map(|meta| entry(meta, seen.get(mailbox, selected.uid_validity, meta.uid)))
            .collect();
        self.finish(state, &lookup, session).await?;
        Ok(entries)
    }

    /// Judges what is not known yet, exactly as `read` does but for showing it; oldest first, so that of two messages
    /// with one Message-ID the later one is the replay.
    async fn open_unknown<'a>(
        &self,
        state: &mut State,
        lookup: &Lookup,
        session: &mut Option<Session>,
        mail: &mut Mail,
        metas: &[Meta],
        place: impl Fn(u32) -> Place<'a>,
    ) -> Result<(), ClientError> {
        let seen: SeenMessages = state.locked.read()?.unwrap_or_default();
        let unknown = |meta: &&Meta| {
            let Place { mailbox, uid_validity, uid } = place(meta.uid);
            meta.size <= OPEN_SIZE_MAX && seen.get(mailbox, uid_validity, uid).is_none_or(is_incomplete)
        };
        let newest: Vec<&Meta> = metas.iter().rev().filter(unknown).take(OPEN_MAX).collect();
        let mut unanswered = BTreeSet::new();
        for meta in newest.into_iter().rev() {
            let from = Summary::read(&meta.header).from;
            if unanswered.contains(&from) {
                continue;
            }
            // A message that is gone meanwhile or a connection that broke: the list is worth having without.
            let Ok(file) = self.fetch(mail, meta.uid).await else { break };
            let place = place(meta.uid);
            let judged = self.judge(state, lookup, session, file, Some(&place)).await?;
            if judged.lookup_failed {
                unanswered.insert(from);
                if unanswered.len() >= FAILED_LOOKUPS_MAX {
                    break;
                }
                continue;
            }
            let opened = judged.opened;
            let (opened, content) = blocking(move || {
                let mut opened = opened;
                let content = opened.content(false, None)?;
                Ok((opened, content))
            })
            .await?;
            Self::remember_subject(state, &place, &opened, content.as_ref())?;
        }
        Ok(())
    }
}

/// The names of those that can be opened and do not merely show what lies in others (RFC 9051 §7.3.1, RFC 6154 §2): every
/// message once. INBOX first, the others by name.
fn with_messages(folders: Vec<Folder>) -> Vec<String> {
    const NOTHING_OF_THEIR_OWN: [&str; 4] = ["\\Noselect", "\\NonExistent", "\\All", "\\Flagged"];
    let mut names: Vec<String> = folders
        .into_iter()
        .filter(|folder| !NOTHING_OF_THEIR_OWN.iter().any(|attribute| folder.has(attribute)))
        .map(|folder| folder.name)
        .collect();
    names.sort_by_cached_key(|name| (!name.eq_ignore_ascii_case("INBOX"), name.clone()));
    names.dedup();
    names
}

/// Whether a message was judged and may be shown, but what a list shows of it was not kept, as when it was only answered.
fn is_incomplete(message: &SeenMessage) -> bool {
    message.from_and_date.is_none()
        || message.subject.is_none() && message.verdict().is_some_and(|v| !v.is_withheld())
}

fn entry(meta: &Meta, seen: Option<&SeenMessage>) -> ListEntry {
    let mut summary = Summary::read(&meta.header);
    // What the server tells of the header now is not what the verdict is about.
    let judged = seen.and_then(|message| Some((message.verdict()?, message.from_and_date.clone()?)));
    let verdict = judged.map(|(verdict, from_and_date)| {
        (summary.from, summary.date) = from_and_date;
        verdict
    });
    if let Some(subject) = seen.and_then(|message| message.subject.clone()) {
        summary.subject = subject;
    }
    ListEntry::with(meta, summary, verdict)
}

impl ListEntry {
    /// A message by its header as fetched; of a withheld one the subject is not told.
    pub fn of(meta: &Meta, verdict: Option<Verdict>) -> Self {
        Self::with(meta, Summary::read(&meta.header), verdict)
    }

    fn with(meta: &Meta, summary: Summary, verdict: Option<Verdict>) -> Self {
        let date = if summary.date.is_empty() {
            meta.internal_date.map(Timestamp::to_rfc5322).unwrap_or_default()
        } else {
            summary.date
        };
        let withheld = verdict.is_some_and(Verdict::is_withheld);
        Self {
            uid: meta.uid,
            arrived: meta.internal_date,
            date,
            from: summary.from,
            subject: if withheld { HIDDEN_SUBJECT.to_owned() } else { summary.subject },
            flags: meta.flags.iter().map(ToString::to_string).collect(),
            size: meta.size,
            verdict,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_in_one_of_the_mailboxes() {
        let folder = |name: &str, attributes: &[&str]| Folder {
            name: name.to_owned(),
            attributes: attributes.iter().map(|a| (*a).to_owned()).collect(),
            delimiter: Some('/'),
        };
        let folders = vec![
            folder("Archive", &["\\Archive"]),
            folder("lists", &["\\Noselect", "\\HasChildren"]),
            folder("lists/rust", &[]),
            folder("gone", &["\\nonexistent"]),
            folder("Everything", &["\\All"]),
            folder("Starred", &["\\Flagged"]),
            folder("inbox", &[]),
            folder("Trash", &["\\Trash"]),
            folder("Archive", &[]),
        ];
        assert_eq!(with_messages(folders), ["inbox", "Archive", "Trash", "lists/rust"]);
        assert_eq!(with_messages(Vec::new()), Vec::<String>::new());
    }
}
