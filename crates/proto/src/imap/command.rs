//! Commands as values (RFC 3501, RFC 9051 and the extensions built).

use super::{
    condstore::{ChangedSince, ObjectId, SelectParams},
    date::Day,
    metadata::{Entry, GetMetadata, SetMetadata},
    notify::Notify,
    types::{Atom, Flag, MailboxName, Secret, SeqNumber, SequenceSet, Tag},
};
use crate::time::Timestamp;
use std::{fmt, num::NonZeroU32};

/// A tagged command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The client's tag.
    pub tag: Tag,
    /// What is asked.
    pub body: Body,
}

/// The wire form, secrets left out.
impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if matches!(self, Self::Login { .. } | Self::Authenticate { .. }) {
            return f.write_str("(credentials …)");
        }
        let bytes: Vec<u8> =
            super::encode::body(self, super::Names::Utf8).iter().flat_map(|p| p.bytes.to_vec()).collect();
        f.write_str(&String::from_utf8_lossy(&bytes))
    }
}

/// What a command asks. One variant a verb; UID forms have a field.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body {
    /// CAPABILITY
    Capability,
    /// NOOP
    Noop,
    /// LOGOUT
    Logout,
    /// STARTTLS
    StartTls,
    /// COMPRESS (RFC 4978)
    Compress(Atom),
    /// UNAUTHENTICATE (RFC 8437)
    Unauthenticate,
    /// GETQUOTA (RFC 9208), with the name of a quota root
    GetQuota(String),
    /// GETQUOTAROOT (RFC 9208)
    GetQuotaRoot(MailboxName),
    /// GETMETADATA (RFC 5464)
    GetMetadata(GetMetadata),
    /// SETMETADATA (RFC 5464)
    SetMetadata(SetMetadata),
    /// AUTHENTICATE
    Authenticate {
        /// SASL mechanism.
        mechanism: Atom,
        /// Initial response (SASL-IR, RFC 4959) as on the wire; `=` is the empty one.
        initial: Option<Secret>,
    },
    /// LOGIN
    Login {
        /// User name.
        user: Vec<u8>,
        /// App password.
        password: Secret,
    },
    /// ENABLE (RFC 5161)
    Enable(Vec<Atom>),
    /// ID (RFC 2971)
    Id(Vec<(String, Option<String>)>),
    /// SELECT and EXAMINE
    Select {
        /// Which.
        mailbox: MailboxName,
        /// EXAMINE.
        read_only: bool,
        /// What else is asked for (RFC 4466).
        params: SelectParams,
    },
    /// CREATE, with USE of CREATE-SPECIAL-USE (RFC 6154)
    Create {
        /// Which.
        mailbox: MailboxName,
        /// Special uses asked for (`\Sent` without its backslash).
        special_use: Vec<Atom>,
    },
    /// DELETE
    Delete(MailboxName),
    /// RENAME
    Rename {
        /// Old name.
        from: MailboxName,
        /// New name.
        to: MailboxName,
    },
    /// SUBSCRIBE and UNSUBSCRIBE
    Subscribe {
        /// Which.
        mailbox: MailboxName,
        /// SUBSCRIBE.
        on: bool,
    },
    /// LIST (RFC 9051 §6.3.9, RFC 5258)
    List(List),
    /// LSUB
    Lsub {
        /// Reference.
        reference: MailboxName,
        /// Pattern with `*` and `%`.
        pattern: MailboxName,
    },
    /// NAMESPACE (RFC 2342)
    Namespace,
    /// NOTIFY (RFC 5465)
    Notify(Notify),
    /// STATUS
    Status {
        /// Which.
        mailbox: MailboxName,
        /// What to tell.
        items: Vec<StatusItem>,
    },
    /// IDLE (RFC 2177)
    Idle,
    /// CHECK
    Check,
    /// CLOSE
    Close,
    /// UNSELECT (RFC 3691)
    Unselect,
    /// EXPUNGE, UID EXPUNGE (RFC 4315)
    Expunge {
        /// UID EXPUNGE's set.
        uids: Option<SequenceSet>,
    },
    /// SEARCH, UID SEARCH
    Search {
        /// UID form.
        uid: bool,
        /// RETURN (RFC 4731); `None` is the old form.
        returns: Option<Vec<SearchReturn>>,
        /// CHARSET.
        charset: Option<String>,
        /// What to find.
        key: SearchKey,
    },
    /// SORT, UID SORT (RFC 5256)
    Sort {
        /// UID form.
        uid: bool,
        /// RETURN (RFC 5267); `None` is the old form.
        returns: Option<Vec<SearchReturn>>,
        /// What to sort by, the most important first.
        order: Vec<SortOrder>,
        /// Charset.
        charset: String,
        /// What to find.
        key: SearchKey,
    },
    /// THREAD, UID THREAD (RFC 5256)
    Thread {
        /// UID form.
        uid: bool,
        /// What makes a thread.
        algorithm: ThreadAlgorithm,
        /// Charset.
        charset: String,
        /// What to find.
        key: SearchKey,
    },
    /// FETCH, UID FETCH
    Fetch {
        /// UID form.
        uid: bool,
        /// Which.
        set: SequenceSet,
        /// What.
        items: Vec<FetchItem>,
        /// CHANGEDSINCE (RFC 7162).
        changed_since: Option<ChangedSince>,
    },
    /// STORE, UID STORE
    Store {
        /// UID form.
        uid: bool,
        /// Which.
        set: SequenceSet,
        /// How.
        how: StoreHow,
        /// .SILENT
        silent: bool,
        /// Flags.
        flags: Vec<Flag>,
        /// UNCHANGEDSINCE (RFC 7162): messages whose MODSEQ is above this are left alone.
        unchanged_since: Option<u64>,
    },
    /// COPY, MOVE (RFC 6851) and their UID forms
    Copy {
        /// UID form.
        uid: bool,
        /// MOVE.
        remove: bool,
        /// Which.
        set: SequenceSet,
        /// Where to.
        mailbox: MailboxName,
    },
}

/// A LIST command; the first form has no options and one pattern.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct List {
    /// Selection options.
    pub select: Vec<ListSelect>,
    /// Reference.
    pub reference: String,
    /// Patterns with `*` and `%`.
    pub patterns: Vec<String>,
    /// Return options.
    pub returns: Vec<ListReturn>,
    /// Whether options or a list of patterns were written: an empty pattern then has no special meaning.
    pub extended: bool,
}

/// LIST selection options (RFC 5258 §3, RFC 6154).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListSelect {
    /// SUBSCRIBED
    Subscribed,
    /// REMOTE
    Remote,
    /// RECURSIVEMATCH
    RecursiveMatch,
    /// SPECIAL-USE
    SpecialUse,
}

/// LIST return options (RFC 5258 §3, RFC 6154, RFC 5819, RFC 9590).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListReturn {
    /// SUBSCRIBED
    Subscribed,
    /// CHILDREN
    Children,
    /// SPECIAL-USE
    SpecialUse,
    /// STATUS (…)
    Status(Vec<StatusItem>),
    /// METADATA (…) (RFC 9590)
    Metadata(Vec<Entry>),
}

/// STATUS items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusItem {
    /// MESSAGES
    Messages,
    /// RECENT (RFC 3501)
    Recent,
    /// UIDNEXT
    UidNext,
    /// UIDVALIDITY
    UidValidity,
    /// UNSEEN
    Unseen,
    /// DELETED (RFC 9051)
    Deleted,
    /// DELETED-STORAGE (RFC 9208)
    DeletedStorage,
    /// SIZE (RFC 8438)
    Size,
    /// APPENDLIMIT (RFC 7889)
    AppendLimit,
    /// HIGHESTMODSEQ (RFC 7162)
    HighestModSeq,
    /// MAILBOXID (RFC 8474)
    MailboxId,
}

/// SEARCH RETURN options (RFC 4731, RFC 5182).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchReturn {
    /// MIN
    Min,
    /// MAX
    Max,
    /// ALL
    All,
    /// COUNT
    Count,
    /// SAVE
    Save,
}

/// SEARCH keys (RFC 9051 §6.4.4, and RFC 3501's NEW, OLD and RECENT).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SearchKey {
    /// ALL
    All,
    /// Several keys, all of which must hold; a parenthesised list.
    And(Vec<SearchKey>),
    /// OR
    Or(Box<SearchKey>, Box<SearchKey>),
    /// NOT
    Not(Box<SearchKey>),
    /// A system flag is set: SEEN, ANSWERED, FLAGGED, DELETED, DRAFT; `false`: UNSEEN and so on.
    Flag(SystemFlag, bool),
    /// KEYWORD; `false`: UNKEYWORD.
    Keyword(Atom, bool),
    /// NEW
    New,
    /// OLD
    Old,
    /// RECENT
    Recent,
    /// BEFORE, ON, SINCE, by INTERNALDATE.
    Internal(DateTest, Day),
    /// SENTBEFORE, SENTON, SENTSINCE, by the Date field.
    Sent(DateTest, Day),
    /// SAVEDBEFORE, SAVEDON, SAVEDSINCE (RFC 8514).
    Saved(DateTest, Day),
    /// SAVEDATESUPPORTED (RFC 8514)
    SaveDateSupported,
    /// MODSEQ (RFC 7162): the message's is at least this.
    ModSeq {
        /// The flag it is asked of, and whose; servers with one MODSEQ a message take no notice.
        entry: Option<(String, Atom)>,
        /// MODSEQ.
        modseq: u64,
    },
    /// EMAILID (RFC 8474)
    EmailId(ObjectId),
    /// THREADID (RFC 8474)
    ThreadId(ObjectId),
    /// YOUNGER (RFC 5032): came within so many seconds; `false`: OLDER.
    Within(NonZeroU32, bool),
    /// LARGER
    Larger(u64),
    /// SMALLER
    Smaller(u64),
    /// FROM, TO, CC, BCC, SUBJECT (field is that name), HEADER.
    Header {
        /// Field name.
        field: String,
        /// Substring; empty: the field is there.
        value: String,
    },
    /// BODY
    Body(String),
    /// TEXT
    Text(String),
    /// UID
    Uid(SequenceSet),
    /// A set of message numbers.
    Sequence(SequenceSet),
}

/// A key to sort by, and its direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortOrder {
    /// What is compared.
    pub key: SortKey,
    /// REVERSE.
    pub reverse: bool,
}

/// What SORT compares (RFC 5256 §5, RFC 5957).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortKey {
    /// ARRIVAL
    Arrival,
    /// CC
    Cc,
    /// DATE
    Date,
    /// FROM
    From,
    /// SIZE
    Size,
    /// SUBJECT
    Subject,
    /// TO
    To,
    /// DISPLAYFROM
    DisplayFrom,
    /// DISPLAYTO
    DisplayTo,
}

/// What makes a thread (RFC 5256 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThreadAlgorithm {
    /// ORDEREDSUBJECT
    OrderedSubject,
    /// REFERENCES
    References,
}

/// Flags that SEARCH has keys for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SystemFlag {
    /// `\Seen`
    Seen,
    /// `\Answered`
    Answered,
    /// `\Flagged`
    Flagged,
    /// `\Deleted`
    Deleted,
    /// `\Draft`
    Draft,
}

/// How days are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateTest {
    /// Earlier than the day.
    Before,
    /// Within the day.
    On,
    /// Within the day or later.
    Since,
}

/// FETCH items; macros are written out by the parser.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchItem {
    /// FLAGS
    Flags,
    /// UID
    Uid,
    /// INTERNALDATE
    InternalDate,
    /// RFC822.SIZE
    Size,
    /// ENVELOPE
    Envelope,
    /// BODY
    Body,
    /// BODYSTRUCTURE
    BodyStructure,
    /// MODSEQ (RFC 7162)
    ModSeq,
    /// SAVEDATE (RFC 8514)
    SaveDate,
    /// EMAILID (RFC 8474)
    EmailId,
    /// THREADID (RFC 8474)
    ThreadId,
    /// RFC822
    Rfc822,
    /// RFC822.HEADER
    Rfc822Header,
    /// RFC822.TEXT
    Rfc822Text,
    /// BODY[…]
    Section {
        /// Which part.
        section: Section,
        /// BODY.PEEK: does not set \Seen.
        peek: bool,
        /// `<first.count>`
        partial: Option<(u64, NonZeroU32)>,
    },
    /// PREVIEW (RFC 8970), with LAZY: only if it is at hand.
    Preview {
        /// LAZY
        lazy: bool,
    },
    /// BINARY[…] (RFC 3516): a part without its transfer encoding.
    Binary {
        /// Part numbers; none is the message.
        part: Vec<NonZeroU32>,
        /// BINARY.PEEK: does not set \Seen.
        peek: bool,
        /// `<first.count>` of what is decoded.
        partial: Option<(u64, NonZeroU32)>,
    },
    /// BINARY.SIZE[…]
    BinarySize(Vec<NonZeroU32>),
}

impl FetchItem {
    /// Whether it sets \Seen (RFC 9051 §6.4.5, RFC 3501 §6.4.5, RFC 3516 §4.2).
    pub fn sets_seen(&self) -> bool {
        matches!(
            self,
            Self::Section { peek: false, .. }
                | Self::Binary { peek: false, .. }
                | Self::Rfc822
                | Self::Rfc822Text
        )
    }
}

/// `section-spec`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Section {
    /// Part numbers; none is the message.
    pub part: Vec<NonZeroU32>,
    /// What of it; `None` is all.
    pub text: Option<SectionText>,
}

/// `section-text`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SectionText {
    /// HEADER
    Header,
    /// HEADER.FIELDS, HEADER.FIELDS.NOT
    HeaderFields {
        /// Field names as written.
        names: Vec<String>,
        /// .NOT
        not: bool,
    },
    /// TEXT
    Text,
    /// MIME
    Mime,
}

/// How STORE changes flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreHow {
    /// FLAGS
    Replace,
    /// +FLAGS
    Add,
    /// -FLAGS
    Remove,
}

/// What APPEND says of one message, up to its literal; the octets go past the codec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendMessage {
    /// Flags.
    pub flags: Vec<Flag>,
    /// INTERNALDATE.
    pub date: Option<Timestamp>,
    /// Its literal stands in `UTF8 (…)` (RFC 6855 §4).
    pub utf8: bool,
}

/// APPEND or REPLACE up to its first literal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendStart {
    /// The client's tag.
    pub tag: Tag,
    /// REPLACE (RFC 8508): the message to be replaced, by UID or by number.
    pub replaces: Option<(bool, SeqNumber)>,
    /// Where to.
    pub mailbox: MailboxName,
    /// The message whose literal follows.
    pub message: AppendMessage,
}
