//! A selected mailbox as this session has told it: message numbers stay as the client knows them until the client
//! is told otherwise (RFC 9051 §5.2, §7.5.1).

use super::session::{Done, Refusal, Session, ok};
use sealpost_proto::imap::{
    Atom, Flag, MailboxName, SequenceSet,
    response::{self, Code},
};
use sealpost_proto::time::Timestamp;
use sealpost_store::{
    StoreError,
    mailbox::{ContentId, Entry, Flags, MailboxId, Uid},
};
use tokio::sync::watch;

/// What a session keeps of a message: 56 octets and, rarely, keywords.
#[derive(Clone)]
pub(super) struct Message {
    pub(super) uid: Uid,
    pub(super) flags: Flags,
    /// Boxed twice over: most messages have none, and a pointer is small.
    #[allow(clippy::box_collection, reason = "one word instead of three for each message")]
    pub(super) keywords: Option<Box<Vec<String>>>,
    pub(super) size: u64,
    pub(super) internal_date: Timestamp,
    pub(super) content: ContentId,
}

impl From<Entry> for Message {
    fn from(entry: Entry) -> Self {
        Self {
            uid: entry.uid,
            flags: entry.flags,
            keywords: (!entry.keywords.is_empty()).then(|| Box::new(entry.keywords)),
            size: entry.size,
            internal_date: entry.internal_date,
            content: entry.content,
        }
    }
}

impl Message {
    pub(super) fn keywords(&self) -> &[String] {
        self.keywords.as_deref().map_or(&[], Vec::as_slice)
    }
    /// `(\Seen $Forwarded)`
    pub(super) fn flag_list(&self) -> String {
        let mut all: Vec<&str> =
            SYSTEM.iter().filter(|(f, _)| self.flags.contains(*f)).map(|(_, n)| *n).collect();
        all.extend(self.keywords().iter().map(String::as_str));
        format!("({})", all.join(" "))
    }
    /// Takes over flags; `true` if they differ.
    fn update(&mut self, entry: Entry) -> bool {
        if self.flags == entry.flags && self.keywords() == entry.keywords.as_slice() {
            return false;
        }
        self.flags = entry.flags;
        self.keywords = (!entry.keywords.is_empty()).then(|| Box::new(entry.keywords));
        true
    }
}

/// System flags and their names.
pub(super) const SYSTEM: [(Flags, &str); 5] = [
    (Flags::ANSWERED, "\\Answered"),
    (Flags::FLAGGED, "\\Flagged"),
    (Flags::DELETED, "\\Deleted"),
    (Flags::SEEN, "\\Seen"),
    (Flags::DRAFT, "\\Draft"),
];
/// Most keywords in one STORE or APPEND, and the longest: people use a handful of short ones.
const KEYWORDS_MAX: usize = 100;
const KEYWORD_LEN_MAX: usize = 255;

/// Flags as the store takes them; system flags that are not ours are ignored (RFC 9051 §2.3.2).
pub(super) fn split_flags(flags: &[Flag]) -> Result<(Flags, Vec<String>), Refusal> {
    let mut bits = Flags::default();
    let mut keywords = Vec::new();
    for flag in flags {
        match flag {
            Flag::Seen => bits = bits.union(Flags::SEEN),
            Flag::Answered => bits = bits.union(Flags::ANSWERED),
            Flag::Flagged => bits = bits.union(Flags::FLAGGED),
            Flag::Deleted => bits = bits.union(Flags::DELETED),
            Flag::Draft => bits = bits.union(Flags::DRAFT),
            Flag::Keyword(word) if word.as_str().len() <= KEYWORD_LEN_MAX => {
                keywords.push(word.as_str().to_owned());
            }
            Flag::Keyword(_) => return Err(Refusal::no(Code::Limit, "this keyword is too long")),
            Flag::Extension(_) => {}
        }
    }
    if keywords.len() > KEYWORDS_MAX {
        return Err(Refusal::no(Code::Limit, "these are too many keywords"));
    }
    Ok((bits, keywords))
}

/// The selected mailbox.
pub(super) struct View {
    pub(super) id: MailboxId,
    pub(super) read_only: bool,
    pub(super) messages: Vec<Message>,
    /// What SEARCH RETURN (SAVE) kept: UIDs, ascending (RFC 5182).
    pub(super) saved: Vec<Uid>,
    modseq: u64,
    /// UIDs gone that the client has not been told of yet.
    vanished: Vec<Uid>,
    watch: watch::Receiver<u64>,
}

impl View {
    /// Where a UID stands.
    pub(super) fn position(&self, uid: Uid) -> Option<usize> {
        self.messages.binary_search_by_key(&uid, |m| m.uid).ok()
    }

    /// Positions that a set names, ascending. Message numbers must exist (RFC 9051 §6.4.8 lets UIDs not).
    pub(super) fn resolve(&self, set: &SequenceSet, uid: bool) -> Result<Vec<usize>, Refusal> {
        let SequenceSet::Ranges(ranges) = set else {
            return Ok(self.saved.iter().filter_map(|uid| self.position(*uid)).collect());
        };
        let exists = u32::try_from(self.messages.len()).unwrap_or(u32::MAX);
        let largest = if uid { self.messages.last().map_or(0, |m| m.uid) } else { exists };
        let open = ranges
            .iter()
            .any(|(a, b)| [a, b].into_iter().any(|n| matches!(n, sealpost_proto::imap::SeqNumber::Largest)));
        let mut positions = Vec::new();
        for (low, high) in set.resolve(largest) {
            if uid {
                let start = self.messages.partition_point(|m| m.uid < low);
                let end = self.messages.partition_point(|m| m.uid <= high);
                positions.extend(start..end);
            } else if high > exists && !open {
                return Err(Refusal::Bad("there is no message of that number".to_owned()));
            } else {
                let (low, high) = (low.max(1), high.min(exists));
                positions.extend((low..=high).map(|n| n as usize - 1));
            }
        }
        Ok(positions)
    }

    pub(super) fn uids(&self, positions: &[usize]) -> Vec<Uid> {
        positions.iter().map(|at| self.messages[*at].uid).collect()
    }

    /// Takes over entries after a change of ours; positions whose flags differ from before.
    pub(super) fn update(&mut self, entries: Vec<Entry>) -> Vec<usize> {
        let mut changed = Vec::new();
        for entry in entries {
            if let Some(at) = self.position(entry.uid)
                && self.messages[at].update(entry)
            {
                changed.push(at);
            }
        }
        changed
    }

    /// Forgets messages and tells so, from the highest number down so that none shifts another.
    pub(super) fn remove(&mut self, uids: &[Uid], out: &mut Vec<u8>) {
        let mut positions: Vec<usize> = uids.iter().filter_map(|uid| self.position(*uid)).collect();
        positions.sort_unstable();
        positions.dedup();
        for at in positions.iter().rev() {
            response::line(out, format_args!("* {} EXPUNGE", at + 1));
        }
        let mut gone = positions.into_iter().peekable();
        let mut at = 0;
        self.messages.retain(|_| {
            let stays = gone.next_if_eq(&at).is_none();
            at += 1;
            stays
        });
        self.saved.retain(|uid| uids.binary_search(uid).is_err());
    }

    pub(super) fn write_flags(&self, at: usize, out: &mut Vec<u8>) {
        let message = &self.messages[at];
        response::line(
            out,
            format_args!("* {} FETCH (UID {} FLAGS {})", at + 1, message.uid, message.flag_list()),
        );
    }

    /// Resolves at the next change in the account.
    /// It stays visible to [`Session::updates`].
    pub(super) async fn changed(&mut self) {
        match self.watch.changed().await {
            Ok(()) => self.watch.mark_changed(),
            Err(_) => std::future::pending().await,
        }
    }
}

impl Session {
    /// SELECT and EXAMINE. A failure leaves nothing selected (RFC 9051 §6.3.2).
    pub(super) async fn select(&mut self, name: &MailboxName, read_only: bool) -> Result<Done, Refusal> {
        let account = self.account()?;
        self.selected = None;
        let store = self.ctx.store.clone();
        // The watch and the counters first: what changes while the entries are read is seen again as a change.
        let mut watch = store.watch(account);
        watch.mark_unchanged();
        let id = self.find(account, name).await?;
        let status = store.status(id).await?;
        let messages: Vec<Message> = store.entries(id).await?.into_iter().map(Message::from).collect();
        let uid_next = messages.last().map_or(0, |m| m.uid.saturating_add(1)).max(status.uid_next);
        let mut keywords: Vec<&str> =
            messages.iter().flat_map(Message::keywords).map(String::as_str).collect();
        keywords.sort_unstable();
        keywords.dedup();
        let system = SYSTEM.map(|(_, name)| name).join(" ");
        let words = keywords.iter().fold(String::new(), |all, k| all + " " + k);
        let out = &mut self.out;
        response::line(out, format_args!("* FLAGS ({system}{words})"));
        response::line(out, format_args!("* {} EXISTS", messages.len()));
        response::line(out, format_args!("* 0 RECENT"));
        let permanent = if read_only { String::new() } else { format!("{system}{words} \\*") };
        let mut code = |code: Code, text: &str| {
            response::status(out, None, sealpost_proto::imap::Condition::Ok, Some(&code), text);
        };
        if let Some(first) = messages.iter().position(|m| !m.flags.contains(Flags::SEEN)) {
            code(Code::Unseen(u32::try_from(first + 1).unwrap_or(u32::MAX)), "first unseen message");
        }
        code(Code::PermanentFlags(permanent), "flags that are kept");
        code(Code::UidValidity(status.uid_validity), "UIDs are valid");
        code(Code::UidNext(uid_next), "next UID");
        let modseq = status.modseq;
        self.selected =
            Some(View { id, read_only, messages, saved: Vec::new(), modseq, vanished: Vec::new(), watch });
        let code = Some(if read_only { Code::ReadOnly } else { Code::ReadWrite });
        Ok(Done { code, text: if read_only { "EXAMINE done" } else { "SELECT done" } })
    }

    /// CLOSE (which removes what is \Deleted, silently) and UNSELECT.
    pub(super) async fn close(&mut self, expunge: bool) -> Result<Done, Refusal> {
        let view = self.view()?;
        let (id, read_only) = (view.id, view.read_only);
        if expunge && !read_only {
            match self.ctx.store.expunge(id, None).await {
                Ok(_) | Err(StoreError::Gone(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.selected = None;
        ok(if expunge { "CLOSE done" } else { "UNSELECT done" })
    }

    /// EXPUNGE and UID EXPUNGE (RFC 4315).
    pub(super) async fn expunge(&mut self, uids: Option<&SequenceSet>) -> Result<Done, Refusal> {
        let view = self.view()?;
        if view.read_only {
            return Err(read_only());
        }
        let uids = match uids {
            Some(set) => Some(view.uids(&view.resolve(set, true)?)),
            None => None,
        };
        let id = view.id;
        let mut gone = self.ctx.store.expunge(id, uids.as_deref()).await?;
        gone.sort_unstable();
        if let Some(view) = &mut self.selected {
            view.remove(&gone, &mut self.out);
        }
        ok("EXPUNGE done")
    }

    /// Tells what other sessions changed: EXPUNGE only where `numbers_may_shift`. A store that fails here is logged;
    /// the changes are told after a later command.
    pub(super) async fn updates(&mut self, numbers_may_shift: bool) {
        let Some(view) = &mut self.selected else { return };
        let mut changed = Vec::new();
        let mut new = Vec::new();
        if view.watch.has_changed().unwrap_or(true) {
            view.watch.mark_unchanged();
            match self.ctx.store.changes(view.id, view.modseq).await {
                Ok(news) => {
                    let last = view.messages.last().map_or(0, |m| m.uid);
                    let known: Vec<Entry>;
                    (new, known) = news.entries.into_iter().partition(|e| e.uid > last);
                    let positions = view.update(known);
                    changed = view.uids(&positions);
                    view.modseq = news.modseq;
                    view.vanished.extend(news.vanished);
                }
                // Another session removed the mailbox: all its messages are gone.
                Err(StoreError::Gone(_)) => view.vanished = view.messages.iter().map(|m| m.uid).collect(),
                Err(error) => {
                    tracing::error!(%error, "the store failed");
                    view.watch.mark_changed();
                }
            }
        }
        if numbers_may_shift && !view.vanished.is_empty() {
            let mut gone = std::mem::take(&mut view.vanished);
            gone.sort_unstable();
            view.remove(&gone, &mut self.out);
        }
        if !new.is_empty() {
            view.messages.extend(new.into_iter().map(Message::from));
            response::line(&mut self.out, format_args!("* {} EXISTS", view.messages.len()));
        }
        for at in changed.into_iter().filter_map(|uid| view.position(uid)) {
            view.write_flags(at, &mut self.out);
        }
    }

    /// Makes the next [`Session::updates`] ask the store, whatever the watch says.
    pub(super) fn expect_changes(&mut self) {
        if let Some(view) = &mut self.selected {
            view.watch.mark_changed();
        }
    }

    /// The mailbox of a name.
    pub(super) async fn find(
        &self,
        account: sealpost_store::account::AccountId,
        name: &MailboxName,
    ) -> Result<MailboxId, Refusal> {
        let all = self.ctx.store.mailboxes(account).await?;
        let found = all.iter().find(|m| m.name == name.as_str());
        found.map(|m| m.id).ok_or_else(|| Refusal::no(Code::NonExistent, "there is no mailbox of that name"))
    }
}

pub(super) fn read_only() -> Refusal {
    Refusal::no(Code::Cannot, "this mailbox is open to read only; SELECT it")
}

/// Special uses by name.
pub(super) fn special_use(name: &Atom) -> Option<sealpost_store::mailbox::SpecialUse> {
    use sealpost_store::mailbox::SpecialUse as S;
    [
        ("Drafts", S::Drafts),
        ("Sent", S::Sent),
        ("Archive", S::Archive),
        ("Junk", S::Junk),
        ("Trash", S::Trash),
    ]
    .into_iter()
    .find(|(n, _)| name.is(n))
    .map(|(_, s)| s)
}
