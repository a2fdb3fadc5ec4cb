//! Mailboxes, and the messages in them.

use crate::{
    account::AccountId,
    error::Result,
    events::Listener,
    spool::{Body, Spool},
};
use async_trait::async_trait;
use bytes::Bytes;
use sealpost_proto::time::Timestamp;
use std::sync::Arc;
use tokio::sync::watch;

/// Names a mailbox inside one store; never reused (OBJECTID's MAILBOXID comes from it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxId(pub i64);
/// Names message content; shared by copies (OBJECTID's EMAILID comes from it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentId(pub i64);
/// RFC 9051 §2.3.1.1.
pub type Uid = u32;

/// RFC 6154 special use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpecialUse {
    /// \Drafts
    Drafts,
    /// \Sent
    Sent,
    /// \Archive
    Archive,
    /// \Junk
    Junk,
    /// \Trash
    Trash,
}

/// A mailbox as LIST sees it. Names are UTF-8, `/` separates levels, INBOX is in capitals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxInfo {
    /// Id.
    pub id: MailboxId,
    /// Full name.
    pub name: String,
    /// Subscribed?
    pub subscribed: bool,
    /// Special use.
    pub special_use: Option<SpecialUse>,
}

/// What STATUS and SELECT tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailboxStatus {
    /// UIDVALIDITY.
    pub uid_validity: u32,
    /// UIDNEXT.
    pub uid_next: Uid,
    /// HIGHESTMODSEQ.
    pub modseq: u64,
    /// Messages.
    pub messages: u32,
    /// Messages without \Seen.
    pub unseen: u32,
    /// Messages with \Deleted.
    pub deleted: u32,
    /// Sum of sizes.
    pub size: u64,
}

/// System flags as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Flags(pub u8);

impl Flags {
    /// \Seen
    pub const SEEN: Self = Self(1);
    /// \Answered
    pub const ANSWERED: Self = Self(2);
    /// \Flagged
    pub const FLAGGED: Self = Self(4);
    /// \Deleted
    pub const DELETED: Self = Self(8);
    /// \Draft
    pub const DRAFT: Self = Self(16);
    /// Has all of `other`?
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
    /// Both together.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
    /// Without `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// A message in a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// UID.
    pub uid: Uid,
    /// MODSEQ of its last change.
    pub modseq: u64,
    /// System flags.
    pub flags: Flags,
    /// Keywords, sorted, in the spelling first seen.
    pub keywords: Vec<String>,
    /// INTERNALDATE.
    pub internal_date: Timestamp,
    /// When it came into this mailbox (SAVEDATE).
    pub save_date: Timestamp,
    /// RFC822.SIZE.
    pub size: u64,
    /// Its content.
    pub content: ContentId,
}

/// What STORE and FLAGS are about: an [`Entry`] without the rest, for those who ask for many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// UID.
    pub uid: Uid,
    /// MODSEQ of its last change.
    pub modseq: u64,
    /// System flags.
    pub flags: Flags,
    /// Keywords, sorted, in the spelling first seen.
    pub keywords: Vec<String>,
}

/// A message as those see it who look at many: a [`Mark`], and perhaps the rest of an [`Entry`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// UID.
    pub uid: Uid,
    /// MODSEQ of its last change.
    pub modseq: u64,
    /// System flags.
    pub flags: Flags,
    /// Keywords, sorted, in the spelling first seen.
    pub keywords: Vec<String>,
    /// `None` where only marks were asked for.
    pub rest: Option<Rest>,
}

/// What does not change as long as a message lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rest {
    /// RFC822.SIZE.
    pub size: u64,
    /// INTERNALDATE.
    pub internal_date: Timestamp,
    /// SAVEDATE.
    pub save_date: Timestamp,
    /// Its content.
    pub content: ContentId,
}

impl From<Entry> for Message {
    fn from(entry: Entry) -> Self {
        Self {
            uid: entry.uid,
            modseq: entry.modseq,
            flags: entry.flags,
            keywords: entry.keywords,
            rest: Some(Rest {
                size: entry.size,
                internal_date: entry.internal_date,
                save_date: entry.save_date,
                content: entry.content,
            }),
        }
    }
}

impl From<Mark> for Message {
    fn from(mark: Mark) -> Self {
        Self { uid: mark.uid, modseq: mark.modseq, flags: mark.flags, keywords: mark.keywords, rest: None }
    }
}

/// UIDs from the first to the last, both included.
pub type UidRange = (Uid, Uid);

/// A message to store.
#[derive(Clone)]
pub struct NewMessage {
    /// Octets, kept exactly.
    pub body: Body,
    /// Flags.
    pub flags: Flags,
    /// Keywords.
    pub keywords: Vec<String>,
    /// INTERNALDATE.
    pub internal_date: Timestamp,
    /// What readers want without opening the body (envelope, structure); opaque to the store, may be empty.
    pub index: Vec<u8>,
    /// What tells searchers that they need not open it.
    pub sketch: Sketch,
}

/// What a message can hold at the most, in few octets: a search opens only messages whose sketch does not rule it out.
/// Opaque to the store. `None` where there is none: such a message may hold anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sketch {
    /// Of the header.
    pub header: Option<Bytes>,
    /// Of the body's text.
    pub text: Option<Bytes>,
}

impl Sketch {
    /// Octets of both.
    pub fn len(&self) -> usize {
        [&self.header, &self.text].into_iter().flatten().map(Bytes::len).sum()
    }
    /// Nothing?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Which of a message's two sketches is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sketched {
    /// [`Sketch::header`]
    Header,
    /// [`Sketch::text`]
    Text,
}

/// What a searcher makes of a sketch: a bit for each thing that it looks for and that may be there.
pub type Judge = Arc<dyn Fn(Option<&[u8]>) -> u64 + Send + Sync>;

/// What a [`Judge`] said of a message's sketches, as far as it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Answers {
    /// Of [`Sketch::header`].
    pub header: Option<u64>,
    /// Of [`Sketch::text`].
    pub text: Option<u64>,
}

/// Whether a message matches; `None` where that needs a closer look.
pub type Decide = Arc<dyn Fn(&Message, Answers) -> Option<bool> + Send + Sync>;

/// A search, as far as the store takes part in it.
#[derive(Clone)]
pub struct Scan {
    /// Flags that are looked at first, ...
    pub flags: Flags,
    /// ... and those of them that a message must have: it must not have the others.
    pub set: Flags,
    /// Whether keywords are read.
    pub keywords: bool,
    /// Whether [`Message::rest`] is.
    pub rest: bool,
    /// Asked of each message, and again after each sketch.
    pub decide: Decide,
    /// Sketches that are read of messages that are still open, which takes their `rest`.
    pub sketches: &'static [Sketched],
    /// What is made of them.
    pub judge: Judge,
}

/// What a [`Scan`] has come to, by UID.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scanned {
    /// Messages that match, and their MODSEQs.
    pub found: Vec<(Uid, u64)>,
    /// Those that need a closer look.
    pub open: Vec<(Message, Answers)>,
}

/// How many octets of a message are its header, or its header and what else is wanted of its beginning, by its
/// [`NewMessage::index`].
pub type HeaderOf = fn(&[u8]) -> u64;

/// How many of a message's octets are read.
#[derive(Debug, Clone, Copy, Default)]
pub enum Extent {
    /// None.
    #[default]
    Nothing,
    /// Those of the header (or beginning); others, where they are asked for after all, are read then.
    Header(HeaderOf),
    /// All; those of a large message when they are asked for.
    Whole,
}

/// What [`Mailboxes::load`] reads.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Most messages.
    pub messages: usize,
    /// Octets in memory, for all messages together, from which no further message is read.
    pub octets: usize,
    /// Whether [`NewMessage::index`] is read.
    pub index: bool,
    /// What is read of each message.
    pub extent: Extent,
}

/// Messages of a mailbox that were read together.
#[derive(Default)]
pub struct Batch {
    /// In ascending order.
    pub messages: Vec<Loaded>,
    /// Whether there may be others behind them.
    pub more: bool,
}

/// A message with what was asked for.
pub struct Loaded {
    /// Itself.
    pub entry: Entry,
    /// As stored; empty where none is, or none was asked for.
    pub index: Vec<u8>,
    /// `None` where the message is gone meanwhile, or octets were not asked for.
    pub octets: Option<Box<dyn ContentReader>>,
}

/// How STORE changes flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagChange {
    /// FLAGS
    Replace,
    /// +FLAGS
    Add,
    /// -FLAGS
    Remove,
}

/// UIDs given out by APPEND, COPY, MOVE: `(source, destination)`; for APPEND source is 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// UIDVALIDITY of the destination.
    pub uid_validity: u32,
    /// Pairs in ascending order.
    pub uids: Vec<(Uid, Uid)>,
}

/// An entry after a change of its flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// As it is now.
    pub entry: Entry,
    /// MODSEQ of the change before: one who knew the message as it was then knows it now.
    pub before: u64,
}

/// What changed in a mailbox since a MODSEQ.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// New or changed entries, by UID.
    pub entries: Vec<Entry>,
    /// UIDs gone, ascending.
    pub vanished: Vec<Uid>,
    /// The MODSEQ these changes lead to.
    pub modseq: u64,
}

/// A message as POP3 sees it: no flags, no dates, 24 octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DropMessage {
    /// UID.
    pub uid: Uid,
    /// Octets of the message as lines carry it: its size, and two more where it does not end in CRLF.
    pub line_octets: u64,
    /// Its content.
    pub content: ContentId,
}

/// A mailbox at one moment, as POP3 sees it (RFC 1939 §3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maildrop {
    /// UIDVALIDITY.
    pub uid_validity: u32,
    /// Messages by UID.
    pub messages: Vec<DropMessage>,
}

/// Which messages changed in a mailbox since a MODSEQ, in ranges.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Touched {
    /// UIDs that are new or were changed.
    pub changed: Vec<UidRange>,
    /// UIDs gone.
    pub vanished: Vec<UidRange>,
}

/// Random access to the octets of a stored message, for partial fetches and streaming.
pub trait ContentReader: Send + Sync {
    /// Octets.
    fn len(&self) -> u64;
    /// Nothing?
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Reads up to `buf.len()` octets at `offset`; 0 at the end. Short blocking reads.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<usize>;
    /// Octets from `offset` on that lie in memory: some, all, or none. The others are to be read.
    fn in_memory(&self, offset: u64) -> &[u8] {
        let _ = offset;
        &[]
    }
}

/// Mailboxes of all accounts.
#[async_trait]
pub trait Mailboxes: Send + Sync {
    /// A place to receive a message into.
    fn spool(&self) -> Spool;
    /// All mailboxes of an account, by name. Every account has INBOX, Drafts, Sent, Archive, Junk, Trash.
    async fn mailboxes(&self, account: AccountId) -> Result<Vec<MailboxInfo>>;
    /// Makes a mailbox (and the levels above it). `Exists` if it is there.
    async fn create_mailbox(
        &self,
        account: AccountId,
        name: &str,
        special_use: Option<SpecialUse>,
    ) -> Result<MailboxId>;
    /// Removes a mailbox and its messages; children stay.
    async fn delete_mailbox(&self, account: AccountId, name: &str) -> Result<()>;
    /// Renames a mailbox and its children; INBOX moves its messages instead (RFC 9051 §6.3.6).
    async fn rename_mailbox(&self, account: AccountId, from: &str, to: &str) -> Result<()>;
    /// Sets or clears a subscription (names need not exist).
    async fn subscribe(&self, account: AccountId, name: &str, on: bool) -> Result<()>;
    /// Subscribed names, existing or not.
    async fn subscriptions(&self, account: AccountId) -> Result<Vec<String>>;
    /// Mailboxes by their ids, in order; `None` for those that are gone.
    async fn named(&self, mailboxes: &[MailboxId]) -> Result<Vec<Option<MailboxInfo>>>;
    /// The mailbox of a name.
    async fn find_mailbox(&self, account: AccountId, name: &str) -> Result<Option<MailboxId>>;
    /// Counters.
    async fn status(&self, mailbox: MailboxId) -> Result<MailboxStatus>;
    /// The same of several, in order; `None` for those that are gone.
    async fn statuses(&self, mailboxes: &[MailboxId]) -> Result<Vec<Option<MailboxStatus>>>;
    /// All entries by UID.
    async fn entries(&self, mailbox: MailboxId) -> Result<Vec<Entry>>;
    /// The octets of these messages together, as far as they are there; of all that are marked \Deleted for `None`.
    async fn octets_of(&self, mailbox: MailboxId, uids: Option<&[Uid]>) -> Result<u64>;
    /// The mailbox for POP3: one read at one moment, without opening any message.
    async fn maildrop(&self, mailbox: MailboxId) -> Result<Maildrop>;
    /// Keywords that messages of this mailbox have or have had, sorted.
    async fn keywords(&self, mailbox: MailboxId) -> Result<Vec<String>>;
    /// UIDs below `below` that were there when the mailbox was at `modseq`, ascending.
    async fn uids(&self, mailbox: MailboxId, modseq: u64, below: Uid) -> Result<Vec<UidRange>>;
    /// The first `limit` of the entries whose UIDs lie in `ranges` (ascending, apart from each other).
    async fn entries_in(&self, mailbox: MailboxId, ranges: &[UidRange], limit: usize) -> Result<Vec<Entry>>;
    /// The same, less of each.
    async fn marks_in(&self, mailbox: MailboxId, ranges: &[UidRange], limit: usize) -> Result<Vec<Mark>>;
    /// The first of the messages whose UIDs lie in `ranges` (ascending, apart from each other), with what `load` asks
    /// for.
    async fn load(&self, mailbox: MailboxId, ranges: &[UidRange], load: Load) -> Result<Batch>;
    /// Looks through the messages whose UIDs lie in `ranges` (ascending, apart from each other). One read: callers ask for
    /// some thousands at a time.
    async fn scan(&self, mailbox: MailboxId, ranges: &[UidRange], scan: Scan) -> Result<Scanned>;
    /// Entries changed and UIDs vanished since `modseq`.
    async fn changes(&self, mailbox: MailboxId, since: u64) -> Result<Changes>;
    /// The same, without what they have become.
    async fn touched(&self, mailbox: MailboxId, since: u64) -> Result<Touched>;
    /// Stores messages, all or none, in order.
    async fn append(&self, mailbox: MailboxId, messages: Vec<NewMessage>) -> Result<Copied>;
    /// Changes flags of those of `uids` that exist and, if given, whose MODSEQ is at most `unchanged_since`; returns
    /// the entries after the change, and the UIDs left alone because they had changed.
    async fn store_flags(
        &self,
        mailbox: MailboxId,
        uids: &[Uid],
        how: FlagChange,
        flags: Flags,
        keywords: &[String],
        unchanged_since: Option<u64>,
    ) -> Result<(Vec<Changed>, Vec<Uid>)>;
    /// COPY: all or none.
    async fn copy(&self, from: MailboxId, uids: &[Uid], to: MailboxId) -> Result<Copied>;
    /// MOVE: all or none.
    async fn move_messages(&self, from: MailboxId, uids: &[Uid], to: MailboxId) -> Result<Copied>;
    /// Removes those of `uids` that exist and have \Deleted (all that have it for `None`); returns those removed.
    async fn expunge(&self, mailbox: MailboxId, uids: Option<&[Uid]>) -> Result<Vec<Uid>>;
    /// REPLACE: stores a message in `to` and removes `uid` from `from`, both or neither. `Gone` if `uid` is not there.
    async fn replace(&self, from: MailboxId, uid: Uid, to: MailboxId, message: NewMessage) -> Result<Copied>;
    /// Removes those of `uids` that exist, whatever their flags, all or none in one transaction; returns those removed.
    async fn remove(&self, mailbox: MailboxId, uids: &[Uid]) -> Result<Vec<Uid>>;
    /// The octets of a message.
    async fn content(&self, content: ContentId) -> Result<Box<dyn ContentReader>>;
    /// The same for several at once, in order; those whose octets are gone are `None`.
    async fn contents(&self, contents: &[ContentId]) -> Result<Vec<Option<Box<dyn ContentReader>>>>;
    /// The same, where no more than the first octets are wanted, so many of each: the others are not read, unless they
    /// are asked for after all.
    async fn heads(&self, contents: &[(ContentId, u64)]) -> Result<Vec<Option<Box<dyn ContentReader>>>>;
    /// [`NewMessage::index`] as stored, for each of `contents`, in order; empty where none was stored.
    async fn indexes(&self, contents: &[ContentId]) -> Result<Vec<Vec<u8>>>;
    /// Wakes at every change in any mailbox of the account: the value is a counter (IDLE).
    fn watch(&self, account: AccountId) -> watch::Receiver<u64>;
    /// Hears what happens in the account's mailboxes from now on (NOTIFY).
    fn listen(&self, account: AccountId) -> Listener;
    /// The same store; what is changed through it is not told to this listener.
    fn unheard_by(&self, listener: &Listener) -> Arc<dyn crate::Store>;
}
