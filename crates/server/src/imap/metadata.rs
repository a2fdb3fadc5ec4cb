//! METADATA (RFC 5464): GETMETADATA, SETMETADATA, and what sessions that enabled it are told unasked.
//!
//! A mailbox has one owner here, so that /private and /shared of a mailbox are seen by the same sessions; they are different
//! entries all the same. Of the server /private belongs to the account; what all users share, /shared/comment and
//! /shared/admin (§6.1), is the administrator's and comes from the configuration. [METADATA NOPRIVATE] is never sent:
//! every mailbox has private annotations.

use super::{
    folders::{use_attribute, use_named, use_refused},
    session::{Done, Refusal, Session, ok},
};
use crate::config::Config;
use sealpost_proto::imap::{
    Depth, Entry, GetMetadata, ListReturn, MailboxName, Names, SetMetadata, metadata, response::Code,
};
use sealpost_store::{
    StoreError,
    account::AccountId,
    annotation::{Annotation, AnnotationChange, SPECIAL_USE, VALUE_MAX},
    mailbox::{MailboxId, MailboxInfo, SpecialUse},
};
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::watch;

/// Names in one unasked METADATA: lines stay below the 8,192 octets that RFC 7162 §4 asks clients to take.
const NAMES_PER_LINE: usize = 20;

/// Of a session that enabled METADATA, or uses NOTIFY: what it was told.
pub(super) struct Heard {
    /// The number of the last change it knows; `None` before it was asked for.
    since: Option<u64>,
    /// Numbers of changes of its own: it is not told of them.
    own: Vec<u64>,
    /// The store could not be asked.
    failed: bool,
    watch: watch::Receiver<u64>,
}

impl Heard {
    fn new(watch: watch::Receiver<u64>) -> Self {
        Self { since: None, own: Vec::new(), failed: false, watch }
    }

    /// Resolves at the next change in the account, which stays to be told.
    pub(super) async fn changed(&mut self) {
        match self.watch.changed().await {
            Ok(()) => self.watch.mark_changed(),
            Err(_) => std::future::pending().await,
        }
    }
}

impl Session {
    /// The mailbox that is meant; `None`: the server.
    async fn annotated(&self, name: &MailboxName) -> Result<(AccountId, Option<MailboxId>), Refusal> {
        let account = self.account()?;
        let mailbox = if name.as_str().is_empty() { None } else { Some(self.find(account, name).await?) };
        Ok((account, mailbox))
    }

    pub(super) async fn get_metadata(&mut self, get: &GetMetadata) -> Result<Done, Refusal> {
        let (account, mailbox) = self.annotated(&get.mailbox).await?;
        let found = self.ctx.store.annotations(account, mailbox).await?;
        let mut all = found.annotations;
        match mailbox {
            Some(_) => all.extend(special_use(found.special_use)),
            None => all.extend(of_server(&self.ctx.config)),
        }
        let mut told: BTreeMap<&str, Option<&[u8]>> = BTreeMap::new();
        if get.depth == Depth::Zero {
            // What is asked for by its name and has no value is NIL.
            told.extend(
                get.entries.iter().filter(|e| e.can_have_value()).map(|entry| (entry.as_str(), None)),
            );
        }
        let mut longest = None;
        for Annotation { entry, value } in &all {
            let named = |base: &Entry| base.levels_to(entry).is_some_and(|levels| get.depth.reaches(levels));
            if !get.entries.iter().any(named) {
                continue;
            }
            let octets = value.len() as u64;
            if get.max_size.is_some_and(|max| octets > max) {
                longest = longest.max(Some(octets));
                told.remove(entry.as_str());
            } else {
                told.insert(entry, Some(value));
            }
        }
        if !told.is_empty() {
            metadata::values(&mut self.out, &get.mailbox, self.enabled.names(), told);
        }
        Ok(Done { code: longest.map(Code::MetadataLongEntries), text: "GETMETADATA done" })
    }

    pub(super) async fn set_metadata(&mut self, set: SetMetadata) -> Result<Done, Refusal> {
        let (account, mailbox) = self.annotated(&set.mailbox).await?;
        let mut change = AnnotationChange::default();
        for (entry, value) in set.values {
            if value.as_ref().is_some_and(|value| value.len() > VALUE_MAX) {
                return Err(value_too_long());
            }
            if mailbox.is_none() && entry.is_shared() {
                let why =
                    "what all users of this server share is set by its administrator; set /private entries";
                return Err(Refusal::no(Code::NoPerm, why));
            }
            if mailbox.is_some() && entry.as_str() == SPECIAL_USE {
                change.special_use = Some(use_of(value.as_deref().unwrap_or_default())?);
            } else {
                change.values.push((entry.as_str().to_owned(), value));
            }
        }
        let number = match self.ctx.store.annotate(account, mailbox, change).await {
            Err(StoreError::Exists(_)) => return Err(use_refused()),
            Err(StoreError::Refused(why)) => return Err(Refusal::no(Code::UseAttr, why)),
            Err(error @ StoreError::Limit(_)) => {
                return Err(Refusal::no(Code::MetadataTooMany, error.to_string()));
            }
            number => number?,
        };
        if let Some(heard) = &mut self.heard {
            heard.own.push(number);
        }
        ok("SETMETADATA done")
    }

    /// What LIST tells of annotations (RFC 9590), read for all mailboxes at once; `None` where it is not asked for.
    pub(super) async fn list_annotations(
        &self,
        account: AccountId,
        returns: &[ListReturn],
    ) -> Result<Option<ListAnnotations>, Refusal> {
        let entries = returns.iter().find_map(|option| match option {
            ListReturn::Metadata(entries) => Some(entries),
            _ => None,
        });
        let Some(entries) = entries else { return Ok(None) };
        let mut entries: Vec<String> = entries.iter().map(|entry| entry.as_str().to_owned()).collect();
        entries.sort_unstable();
        entries.dedup();
        let mut of: BTreeMap<MailboxId, Vec<Annotation>> = BTreeMap::new();
        for (mailbox, annotation) in self.ctx.store.annotations_named(account, &entries).await? {
            of.entry(mailbox).or_default().push(annotation);
        }
        Ok(Some(ListAnnotations { entries, of }))
    }

    /// From now on changes of annotations are told, as far as the client wants to hear of them.
    pub(super) fn hear_of_metadata(&mut self, account: AccountId) {
        self.heard.get_or_insert_with(|| Heard::new(self.ctx.store.watch(account)));
    }

    /// Tells what other sessions changed: names alone, to be asked for (RFC 5464 §4.4.2). A store that fails here is logged;
    /// the changes are told after a later command.
    pub(super) async fn annotation_updates(&mut self) {
        let (Some(heard), Some(signed_in)) = (&mut self.heard, &self.signed_in) else { return };
        if heard.since.is_some() && !heard.failed && !heard.watch.has_changed().unwrap_or(true) {
            return;
        }
        heard.watch.mark_unchanged();
        let changes = self.ctx.store.annotation_changes(signed_in.account, heard.since).await;
        heard.failed = changes.is_err();
        let (mut changes, last) = match changes {
            Ok(changes) => changes,
            Err(error) => {
                tracing::error!(%error, "the store failed");
                return;
            }
        };
        changes.retain(|change| !heard.own.contains(&change.number));
        heard.own.clear();
        heard.since = Some(last);
        if let Some(notify) = self.notify.as_ref().filter(|_| !changes.is_empty()) {
            // Who uses NOTIFY hears of what he asked for there, and of nothing else.
            let ids: Vec<MailboxId> = changes.iter().filter_map(|c| Some(c.mailbox.as_ref()?.0)).collect();
            let subscribed: BTreeSet<MailboxId> = match self.ctx.store.named(&ids).await {
                Ok(all) => all.into_iter().flatten().filter(|m| m.subscribed).map(|m| m.id).collect(),
                Err(error) => {
                    tracing::error!(%error, "the store failed");
                    BTreeSet::new()
                }
            };
            changes.retain(|change| {
                let mailbox =
                    change.mailbox.as_ref().map(|(id, name)| (name.as_str(), subscribed.contains(id)));
                notify.wants_metadata_of(mailbox)
            });
        }
        for of_one in changes.chunk_by(|a, b| a.mailbox == b.mailbox) {
            let name = of_one[0].mailbox.as_ref().map_or("", |(_, name)| name);
            let Some(name) = MailboxName::new(name) else { continue };
            for line in of_one.chunks(NAMES_PER_LINE) {
                let names = line.iter().map(|change| change.entry.as_str());
                metadata::names(&mut self.out, &name, self.enabled.names(), names);
            }
        }
    }
}

/// Annotations of all mailboxes, those that LIST was asked for.
pub(super) struct ListAnnotations {
    entries: Vec<String>,
    of: BTreeMap<MailboxId, Vec<Annotation>>,
}

impl ListAnnotations {
    /// METADATA for one mailbox. What it has not is NIL, as in the RFC's example.
    pub(super) fn write(&self, out: &mut Vec<u8>, mailbox: &MailboxInfo, name: &MailboxName, names: Names) {
        let special = special_use(mailbox.special_use);
        let own = self.of.get(&mailbox.id).into_iter().flatten().chain(&special);
        let own: BTreeMap<&str, &[u8]> = own.map(|a| (a.entry.as_str(), a.value.as_slice())).collect();
        let all = self.entries.iter().map(|entry| (entry.as_str(), own.get(entry.as_str()).copied()));
        metadata::values(out, name, names, all);
    }
}

/// RFC 5464 §4.3.
pub(super) fn value_too_long() -> Refusal {
    Refusal::no(Code::MetadataMaxSize(VALUE_MAX), "this value is too long")
}

/// What all users see of the server (§6.1).
fn of_server(config: &Config) -> impl Iterator<Item = Annotation> {
    let entry =
        |entry: &str, value: String| Annotation { entry: entry.to_owned(), value: value.into_bytes() };
    let comment = config.comment.clone().map(|comment| entry("/shared/comment", comment));
    comment.into_iter().chain([entry("/shared/admin", config.admin())])
}

/// The special use of a mailbox as an annotation (RFC 6154 §4).
fn special_use(special_use: Option<SpecialUse>) -> Option<Annotation> {
    let value = use_attribute(special_use?).as_bytes().to_vec();
    Some(Annotation { entry: SPECIAL_USE.to_owned(), value })
}

/// The other way round: a list of attributes, of which a mailbox has one at most here.
fn use_of(value: &[u8]) -> Result<Option<SpecialUse>, Refusal> {
    let mut words = value.split(|b| *b == b' ').filter(|word| !word.is_empty());
    match (words.next(), words.next()) {
        (None, _) => Ok(None),
        (Some(word), None) => {
            let name = word.strip_prefix(b"\\").and_then(|name| std::str::from_utf8(name).ok());
            name.and_then(use_named).map(Some).ok_or_else(use_refused)
        }
        _ => Err(use_refused()),
    }
}
