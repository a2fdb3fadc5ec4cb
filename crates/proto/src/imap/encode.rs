//! Commands to octets (the client's side), cut where a synchronising literal makes the client wait.

use super::{
    command::{
        Body, Command, DateTest, FetchItem, ListReturn, ListSelect, SearchKey, SearchReturn, Section,
        SectionText, SortKey, StatusItem, StoreHow, SystemFlag, ThreadAlgorithm,
    },
    types::{Flag, Names, is_astring_char},
};
use zeroize::Zeroizing;

/// A piece of a command: send it; where `wait` is set, it ends in a synchronising literal's announcement, and the
/// next piece may only go after the server's `+`.
pub struct Piece {
    /// Octets.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Wait for `+` behind it.
    pub wait: bool,
}

/// Writes strings in the cheapest form that holds them.
pub(crate) struct Encoder {
    pieces: Vec<Piece>,
    out: Zeroizing<Vec<u8>>,
    names: Names,
}

/// The pieces of a command; all but the last one wait.
pub fn command(command: &Command, names: Names) -> Vec<Piece> {
    let mut e = Encoder { pieces: Vec::new(), out: Zeroizing::new(Vec::new()), names };
    e.text(command.tag.as_str());
    e.text(" ");
    e.body(&command.body);
    e.text("\r\n");
    e.pieces.push(Piece { bytes: e.out, wait: false });
    e.pieces
}

/// The same without tag and line end.
pub(crate) fn body(body: &Body, names: Names) -> Vec<Piece> {
    let mut e = Encoder { pieces: Vec::new(), out: Zeroizing::new(Vec::new()), names };
    e.body(body);
    e.pieces.push(Piece { bytes: e.out, wait: false });
    e.pieces
}

impl Encoder {
    pub(crate) fn text(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }
    /// `astring`
    pub(crate) fn astring(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() && bytes.iter().all(|b| is_astring_char(*b)) {
            self.out.extend_from_slice(bytes);
        } else {
            self.string(bytes);
        }
    }
    /// `string`: quoted where ASCII allows it, else a literal. NUL cannot be said; callers' types hold none, and a
    /// hostile caller gets BAD from the server.
    pub(crate) fn string(&mut self, bytes: &[u8]) {
        let plain = bytes.len() <= 512 && bytes.iter().all(|b| matches!(b, 0x20..=0x7e | b'\t'));
        if !plain {
            return self.literal("", bytes);
        }
        self.out.push(b'"');
        for b in bytes {
            if matches!(b, b'"' | b'\\') {
                self.out.push(b'\\');
            }
            self.out.push(*b);
        }
        self.out.push(b'"');
    }
    /// `literal8` (RFC 3516)
    pub(crate) fn literal8(&mut self, bytes: &[u8]) {
        self.literal("~", bytes);
    }
    fn literal(&mut self, tilde: &str, bytes: &[u8]) {
        self.text(&format!("{tilde}{{{}}}\r\n", bytes.len()));
        let bytes_so_far = std::mem::replace(&mut self.out, Zeroizing::new(Vec::new()));
        self.pieces.push(Piece { bytes: bytes_so_far, wait: true });
        self.out.extend_from_slice(bytes);
    }
    pub(crate) fn mailbox(&mut self, name: &str) {
        match self.names {
            Names::Utf7 => self.astring(super::utf7::encode(name).as_bytes()),
            Names::Utf8 => self.astring(name.as_bytes()),
        }
    }
    fn pattern(&mut self, name: &str) {
        let wire = match self.names {
            Names::Utf7 => super::utf7::encode(name),
            Names::Utf8 => name.to_owned(),
        };
        self.string(wire.as_bytes());
    }
    pub(crate) fn list<T>(&mut self, items: &[T], mut each: impl FnMut(&mut Self, &T)) {
        self.text("(");
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.text(" ");
            }
            each(self, item);
        }
        self.text(")");
    }
    fn flags(&mut self, flags: &[Flag]) {
        self.list(flags, |e, flag| e.text(&flag.to_string()));
    }

    fn body(&mut self, body: &Body) {
        let uid_form = |uid: bool| if uid { "UID " } else { "" };
        match body {
            Body::Capability => self.text("CAPABILITY"),
            Body::Noop => self.text("NOOP"),
            Body::Logout => self.text("LOGOUT"),
            Body::StartTls => self.text("STARTTLS"),
            Body::Compress(algorithm) => self.text(&format!("COMPRESS {algorithm}")),
            Body::Unauthenticate => self.text("UNAUTHENTICATE"),
            Body::Namespace => self.text("NAMESPACE"),
            Body::Notify(notify) => self.notify(notify),
            Body::Idle => self.text("IDLE"),
            Body::Check => self.text("CHECK"),
            Body::Close => self.text("CLOSE"),
            Body::Unselect => self.text("UNSELECT"),
            Body::Authenticate { mechanism, initial } => {
                self.text(&format!("AUTHENTICATE {mechanism}"));
                if let Some(initial) = initial {
                    self.text(" ");
                    self.out.extend_from_slice(initial.expose());
                }
            }
            Body::Login { user, password } => {
                self.text("LOGIN ");
                self.astring(user);
                self.text(" ");
                self.astring(password.expose());
            }
            Body::Enable(all) => {
                self.text("ENABLE");
                for name in all {
                    self.text(&format!(" {name}"));
                }
            }
            Body::Id(pairs) if pairs.is_empty() => self.text("ID NIL"),
            Body::Id(pairs) => {
                self.text("ID ");
                self.list(pairs, |e, (name, value)| {
                    e.string(name.as_bytes());
                    e.text(" ");
                    match value {
                        Some(value) => e.string(value.as_bytes()),
                        None => e.text("NIL"),
                    }
                });
            }
            Body::Select { mailbox, read_only, params } => {
                self.text(if *read_only { "EXAMINE " } else { "SELECT " });
                self.mailbox(mailbox.as_str());
                self.select_params(params);
            }
            Body::Create { mailbox, special_use } => {
                self.text("CREATE ");
                self.mailbox(mailbox.as_str());
                if !special_use.is_empty() {
                    self.text(" (USE ");
                    self.list(special_use, |e, name| e.text(&format!("\\{name}")));
                    self.text(")");
                }
            }
            Body::GetQuota(root) => {
                self.text("GETQUOTA ");
                self.astring(root.as_bytes());
            }
            Body::GetQuotaRoot(mailbox) => {
                self.text("GETQUOTAROOT ");
                self.mailbox(mailbox.as_str());
            }
            Body::GetMetadata(get) => self.get_metadata(get),
            Body::SetMetadata(set) => self.set_metadata(set),
            Body::Delete(mailbox) => {
                self.text("DELETE ");
                self.mailbox(mailbox.as_str());
            }
            Body::Rename { from, to } => {
                self.text("RENAME ");
                self.mailbox(from.as_str());
                self.text(" ");
                self.mailbox(to.as_str());
            }
            Body::Subscribe { mailbox, on } => {
                self.text(if *on { "SUBSCRIBE " } else { "UNSUBSCRIBE " });
                self.mailbox(mailbox.as_str());
            }
            Body::List(list) => self.list_command(list),
            Body::Lsub { reference, pattern } => {
                self.text("LSUB ");
                self.mailbox(reference.as_str());
                self.text(" ");
                self.pattern(pattern.as_str());
            }
            Body::Status { mailbox, items } => {
                self.text("STATUS ");
                self.mailbox(mailbox.as_str());
                self.text(" ");
                self.list(items, |e, item| e.text(status_item(*item)));
            }
            Body::Expunge { uids: None } => self.text("EXPUNGE"),
            Body::Expunge { uids: Some(set) } => self.text(&format!("UID EXPUNGE {set}")),
            Body::Search { uid, returns, charset, key } => {
                self.text(&format!("{}SEARCH ", uid_form(*uid)));
                self.search_returns(returns.as_deref());
                if let Some(charset) = charset {
                    self.text("CHARSET ");
                    self.astring(charset.as_bytes());
                    self.text(" ");
                }
                self.search_program(key);
            }
            Body::Sort { uid, returns, order, charset, key } => {
                self.text(&format!("{}SORT ", uid_form(*uid)));
                self.search_returns(returns.as_deref());
                self.list(order, |e, by| {
                    e.text(if by.reverse { "REVERSE " } else { "" });
                    e.text(sort_key(by.key));
                });
                self.text(" ");
                self.astring(charset.as_bytes());
                self.text(" ");
                self.search_program(key);
            }
            Body::Thread { uid, algorithm, charset, key } => {
                let algorithm = match algorithm {
                    ThreadAlgorithm::OrderedSubject => "ORDEREDSUBJECT",
                    ThreadAlgorithm::References => "REFERENCES",
                };
                self.text(&format!("{}THREAD {algorithm} ", uid_form(*uid)));
                self.astring(charset.as_bytes());
                self.text(" ");
                self.search_program(key);
            }
            Body::Fetch { uid, set, items, changed_since } => {
                self.text(&format!("{}FETCH {set} ", uid_form(*uid)));
                self.list(items, Self::fetch_item);
                self.fetch_modifiers(*changed_since);
            }
            Body::Store { uid, set, how, silent, flags, unchanged_since } => {
                let sign = match how {
                    StoreHow::Replace => "",
                    StoreHow::Add => "+",
                    StoreHow::Remove => "-",
                };
                let silent = if *silent { ".SILENT" } else { "" };
                let since = unchanged_since.map(|n| format!("(UNCHANGEDSINCE {n}) ")).unwrap_or_default();
                self.text(&format!("{}STORE {set} {since}{sign}FLAGS{silent} ", uid_form(*uid)));
                self.flags(flags);
            }
            Body::Copy { uid, remove, set, mailbox } => {
                let verb = if *remove { "MOVE" } else { "COPY" };
                self.text(&format!("{}{verb} {set} ", uid_form(*uid)));
                self.mailbox(mailbox.as_str());
            }
        }
    }

    fn list_command(&mut self, list: &super::List) {
        self.text("LIST ");
        if !list.select.is_empty() {
            self.list(&list.select, |e, option| {
                e.text(match option {
                    ListSelect::Subscribed => "SUBSCRIBED",
                    ListSelect::Remote => "REMOTE",
                    ListSelect::RecursiveMatch => "RECURSIVEMATCH",
                    ListSelect::SpecialUse => "SPECIAL-USE",
                });
            });
            self.text(" ");
        }
        self.mailbox(&list.reference);
        self.text(" ");
        if let ([pattern], false) = (list.patterns.as_slice(), list.extended && list.returns.is_empty()) {
            self.pattern(pattern);
        } else {
            self.list(&list.patterns, |e, pattern| e.pattern(pattern));
        }
        if !list.returns.is_empty() {
            self.text(" RETURN ");
            self.list(&list.returns, |e, option| match option {
                ListReturn::Subscribed => e.text("SUBSCRIBED"),
                ListReturn::Children => e.text("CHILDREN"),
                ListReturn::SpecialUse => e.text("SPECIAL-USE"),
                ListReturn::Status(items) => {
                    e.text("STATUS ");
                    e.list(items, |e, item| e.text(status_item(*item)));
                }
                ListReturn::Metadata(entries) => {
                    e.text("METADATA ");
                    e.entries(entries);
                }
            });
        }
    }

    fn search_returns(&mut self, returns: Option<&[SearchReturn]>) {
        if let Some(returns) = returns {
            self.text("RETURN ");
            self.list(returns, |e, option| e.text(search_return(*option)));
            self.text(" ");
        }
    }

    /// `search-key *(SP search-key)`
    fn search_program(&mut self, key: &SearchKey) {
        match key {
            SearchKey::And(all) if all.len() > 1 => {
                for (i, key) in all.iter().enumerate() {
                    if i > 0 {
                        self.text(" ");
                    }
                    self.search_key(key);
                }
            }
            key => self.search_key(key),
        }
    }

    fn search_key(&mut self, key: &SearchKey) {
        match key {
            SearchKey::All => self.text("ALL"),
            SearchKey::New => self.text("NEW"),
            SearchKey::Old => self.text("OLD"),
            SearchKey::Recent => self.text("RECENT"),
            SearchKey::And(all) => self.list(all, Self::search_key),
            SearchKey::Or(a, b) => {
                self.text("OR ");
                self.search_key(a);
                self.text(" ");
                self.search_key(b);
            }
            SearchKey::Not(key) => {
                self.text("NOT ");
                self.search_key(key);
            }
            SearchKey::Flag(flag, on) => {
                let name = match flag {
                    SystemFlag::Seen => "SEEN",
                    SystemFlag::Answered => "ANSWERED",
                    SystemFlag::Flagged => "FLAGGED",
                    SystemFlag::Deleted => "DELETED",
                    SystemFlag::Draft => "DRAFT",
                };
                self.text(if *on { "" } else { "UN" });
                self.text(name);
            }
            SearchKey::Keyword(word, on) => {
                self.text(&format!("{} {word}", if *on { "KEYWORD" } else { "UNKEYWORD" }));
            }
            SearchKey::Internal(test, day) => self.text(&format!("{} {day}", date_test(*test))),
            SearchKey::Sent(test, day) => self.text(&format!("SENT{} {day}", date_test(*test))),
            SearchKey::Saved(test, day) => self.text(&format!("SAVED{} {day}", date_test(*test))),
            SearchKey::SaveDateSupported => self.text("SAVEDATESUPPORTED"),
            SearchKey::ModSeq { entry, modseq } => self.search_modseq(entry.as_ref(), *modseq),
            SearchKey::EmailId(id) => self.text(&format!("EMAILID {id}")),
            SearchKey::ThreadId(id) => self.text(&format!("THREADID {id}")),
            SearchKey::Within(n, true) => self.text(&format!("YOUNGER {n}")),
            SearchKey::Within(n, false) => self.text(&format!("OLDER {n}")),
            SearchKey::Larger(n) => self.text(&format!("LARGER {n}")),
            SearchKey::Smaller(n) => self.text(&format!("SMALLER {n}")),
            SearchKey::Header { field, value } => {
                if ["FROM", "TO", "CC", "BCC", "SUBJECT"].contains(&field.as_str()) {
                    self.text(field);
                } else {
                    self.text("HEADER ");
                    self.astring(field.as_bytes());
                }
                self.text(" ");
                self.astring(value.as_bytes());
            }
            SearchKey::Body(text) => {
                self.text("BODY ");
                self.astring(text.as_bytes());
            }
            SearchKey::Text(text) => {
                self.text("TEXT ");
                self.astring(text.as_bytes());
            }
            SearchKey::Uid(set) => self.text(&format!("UID {set}")),
            SearchKey::Sequence(set) => self.text(&set.to_string()),
        }
    }

    pub(super) fn fetch_item(&mut self, item: &FetchItem) {
        match item {
            FetchItem::Flags => self.text("FLAGS"),
            FetchItem::Uid => self.text("UID"),
            FetchItem::InternalDate => self.text("INTERNALDATE"),
            FetchItem::Size => self.text("RFC822.SIZE"),
            FetchItem::Envelope => self.text("ENVELOPE"),
            FetchItem::Body => self.text("BODY"),
            FetchItem::BodyStructure => self.text("BODYSTRUCTURE"),
            FetchItem::ModSeq => self.text("MODSEQ"),
            FetchItem::SaveDate => self.text("SAVEDATE"),
            FetchItem::EmailId => self.text("EMAILID"),
            FetchItem::ThreadId => self.text("THREADID"),
            FetchItem::Rfc822 => self.text("RFC822"),
            FetchItem::Rfc822Header => self.text("RFC822.HEADER"),
            FetchItem::Rfc822Text => self.text("RFC822.TEXT"),
            FetchItem::Section { section, peek, partial } => {
                self.text(if *peek { "BODY.PEEK[" } else { "BODY[" });
                self.section(section);
                self.text("]");
                self.partial(*partial);
            }
            FetchItem::Preview { lazy } => self.text(if *lazy { "PREVIEW (LAZY)" } else { "PREVIEW" }),
            FetchItem::Binary { part, peek, partial } => {
                self.text(if *peek { "BINARY.PEEK[" } else { "BINARY[" });
                self.part(part);
                self.text("]");
                self.partial(*partial);
            }
            FetchItem::BinarySize(part) => {
                self.text("BINARY.SIZE[");
                self.part(part);
                self.text("]");
            }
        }
    }

    fn partial(&mut self, partial: Option<(u64, std::num::NonZeroU32)>) {
        if let Some((first, count)) = partial {
            self.text(&format!("<{first}.{count}>"));
        }
    }

    fn part(&mut self, part: &[std::num::NonZeroU32]) {
        for (i, number) in part.iter().enumerate() {
            let dot = if i > 0 { "." } else { "" };
            self.text(&format!("{dot}{number}"));
        }
    }

    fn section(&mut self, section: &Section) {
        self.part(&section.part);
        let Some(text) = &section.text else { return };
        if !section.part.is_empty() {
            self.text(".");
        }
        match text {
            SectionText::Header => self.text("HEADER"),
            SectionText::Text => self.text("TEXT"),
            SectionText::Mime => self.text("MIME"),
            SectionText::HeaderFields { names, not } => {
                self.text(if *not { "HEADER.FIELDS.NOT " } else { "HEADER.FIELDS " });
                self.list(names, |e, name| e.astring(name.as_bytes()));
            }
        }
    }
}

/// A section as FETCH responses repeat it. Field names are in the grammar's ASCII, so no literal occurs.
pub fn section(section: &Section) -> String {
    let mut e = Encoder { pieces: Vec::new(), out: Zeroizing::new(Vec::new()), names: Names::Utf8 };
    e.section(section);
    String::from_utf8_lossy(&e.out).into_owned()
}

pub(crate) fn status_item(item: StatusItem) -> &'static str {
    match item {
        StatusItem::Messages => "MESSAGES",
        StatusItem::Recent => "RECENT",
        StatusItem::UidNext => "UIDNEXT",
        StatusItem::UidValidity => "UIDVALIDITY",
        StatusItem::Unseen => "UNSEEN",
        StatusItem::Deleted => "DELETED",
        StatusItem::DeletedStorage => "DELETED-STORAGE",
        StatusItem::Size => "SIZE",
        StatusItem::AppendLimit => "APPENDLIMIT",
        StatusItem::HighestModSeq => "HIGHESTMODSEQ",
        StatusItem::MailboxId => "MAILBOXID",
    }
}

fn sort_key(key: SortKey) -> &'static str {
    match key {
        SortKey::Arrival => "ARRIVAL",
        SortKey::Cc => "CC",
        SortKey::Date => "DATE",
        SortKey::From => "FROM",
        SortKey::Size => "SIZE",
        SortKey::Subject => "SUBJECT",
        SortKey::To => "TO",
        SortKey::DisplayFrom => "DISPLAYFROM",
        SortKey::DisplayTo => "DISPLAYTO",
    }
}

fn search_return(option: SearchReturn) -> &'static str {
    match option {
        SearchReturn::Min => "MIN",
        SearchReturn::Max => "MAX",
        SearchReturn::All => "ALL",
        SearchReturn::Count => "COUNT",
        SearchReturn::Save => "SAVE",
    }
}

fn date_test(test: DateTest) -> &'static str {
    match test {
        DateTest::Before => "BEFORE",
        DateTest::On => "ON",
        DateTest::Since => "SINCE",
    }
}
