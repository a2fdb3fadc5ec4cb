//! Octets to commands. Each parser carries its ABNF (RFC 9051 §9 where nothing else is said).

pub use super::parse_append::{AppendNext, append_next, append_start, is_append};
use super::{
    command::{
        Body, Command, FetchItem, List, ListReturn, ListSelect, SearchReturn, Section, SectionText,
        StatusItem, StoreHow,
    },
    condstore::{fetch_modifiers, select_params, store_modifiers},
    lex::{Cursor, ParseError, Result, expected, utf8},
    types::{Names, Secret, Tag},
};

/// Most items in one list of a command (flags, FETCH items, header names): far above clients' twenty.
pub(super) const ITEMS_MAX: usize = 1024;
/// Most patterns in one LIST: each is matched against every mailbox.
const PATTERNS_MAX: usize = 32;
/// RFC 2971 §3.3: at most 30 field-value pairs.
const ID_PAIRS_MAX: usize = 30;

/// What could not be parsed, and the tag to say so under, if there is one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct BadCommand {
    /// The tag, where one was found.
    pub tag: Option<Tag>,
    /// What was expected.
    pub error: ParseError,
}

/// `command = tag SP (command-any / command-auth / command-nonauth / command-select) CRLF`, literals inline.
pub fn command(bytes: &[u8], names: Names) -> std::result::Result<Command, BadCommand> {
    let mut c = Cursor::new(bytes);
    let tag = tag(&mut c).map_err(|error| BadCommand { tag: None, error })?;
    let parsed = c.space().and_then(|()| body(&mut c, names)).and_then(|body| c.end().map(|()| body));
    match parsed {
        Ok(body) => Ok(Command { tag, body }),
        Err(error) => Err(BadCommand { tag: Some(tag), error }),
    }
}

/// The tag of a line, whatever follows it: for replies to commands that were too long.
pub fn tag_of(bytes: &[u8]) -> Option<Tag> {
    let mut c = Cursor::new(bytes);
    let tag = tag(&mut c).ok()?;
    (c.peek() == Some(b' ')).then_some(tag)
}

/// `tag = 1*<any ASTRING-CHAR except "+">`
pub(super) fn tag(c: &mut Cursor<'_>) -> Result<Tag> {
    let text = c.while_(super::types::is_astring_char);
    Tag::new(super::lex::ascii(text)).ok_or(ParseError { expected: "a tag" })
}

fn body(c: &mut Cursor<'_>, names: Names) -> Result<Body> {
    let verb = c.atom()?.as_str().to_ascii_uppercase();
    if verb != "UID" {
        return plain_body(c, &verb, names);
    }
    c.space()?;
    let verb = c.atom()?.as_str().to_ascii_uppercase();
    match verb.as_str() {
        "FETCH" => fetch(c, true),
        "STORE" => store(c, true),
        "SEARCH" => search(c, true),
        "SORT" => super::parse_sort::sort(c, true),
        "THREAD" => super::parse_sort::thread(c, true),
        "COPY" => copy(c, true, false, names),
        "MOVE" => copy(c, true, true, names),
        "EXPUNGE" => {
            c.space()?;
            Ok(Body::Expunge { uids: Some(c.sequence_set()?) })
        }
        "REPLACE" => expected("a literal with the message"),
        _ => expected("FETCH, STORE, SEARCH, SORT, THREAD, COPY, MOVE, EXPUNGE or REPLACE behind UID"),
    }
}

fn plain_body(c: &mut Cursor<'_>, verb: &str, names: Names) -> Result<Body> {
    let mailbox = |c: &mut Cursor<'_>| c.space().and_then(|()| c.mailbox(names));
    Ok(match verb {
        "CAPABILITY" => Body::Capability,
        "NOOP" => Body::Noop,
        "LOGOUT" => Body::Logout,
        "STARTTLS" => Body::StartTls,
        "COMPRESS" => c.space().and_then(|()| c.atom()).map(Body::Compress)?,
        "UNAUTHENTICATE" => Body::Unauthenticate,
        "GETQUOTA" => c.space().and_then(|()| c.astring_text()).map(Body::GetQuota)?,
        "GETQUOTAROOT" => Body::GetQuotaRoot(mailbox(c)?),
        "GETMETADATA" => Body::GetMetadata(super::metadata::get_metadata(c, names)?),
        "SETMETADATA" => Body::SetMetadata(super::metadata::set_metadata(c, names)?),
        "NAMESPACE" => Body::Namespace,
        "NOTIFY" => Body::Notify(super::notify::notify(c, names)?),
        "IDLE" => Body::Idle,
        "CHECK" => Body::Check,
        "CLOSE" => Body::Close,
        "UNSELECT" => Body::Unselect,
        "EXPUNGE" => Body::Expunge { uids: None },
        "AUTHENTICATE" => authenticate(c)?,
        "LOGIN" => login(c)?,
        "ENABLE" => enable(c)?,
        "ID" => id(c)?,
        "SELECT" => Body::Select { mailbox: mailbox(c)?, read_only: false, params: select_params(c)? },
        "EXAMINE" => Body::Select { mailbox: mailbox(c)?, read_only: true, params: select_params(c)? },
        "CREATE" => Body::Create { mailbox: mailbox(c)?, special_use: special_use(c)? },
        "DELETE" => Body::Delete(mailbox(c)?),
        "RENAME" => Body::Rename { from: mailbox(c)?, to: mailbox(c)? },
        "SUBSCRIBE" => Body::Subscribe { mailbox: mailbox(c)?, on: true },
        "UNSUBSCRIBE" => Body::Subscribe { mailbox: mailbox(c)?, on: false },
        "LIST" => list(c, names)?,
        "LSUB" => lsub(c, names)?,
        "STATUS" => {
            let mailbox = mailbox(c)?;
            c.space()?;
            Body::Status { mailbox, items: status_items(c)? }
        }
        "SEARCH" => search(c, false)?,
        "SORT" => super::parse_sort::sort(c, false)?,
        "THREAD" => super::parse_sort::thread(c, false)?,
        "FETCH" => fetch(c, false)?,
        "STORE" => store(c, false)?,
        "COPY" => copy(c, false, false, names)?,
        "MOVE" => copy(c, false, true, names)?,
        "APPEND" | "REPLACE" => return expected("a literal with the message"),
        _ => return expected("a command"),
    })
}

/// `authenticate = "AUTHENTICATE" SP auth-type [SP initial-resp]`
fn authenticate(c: &mut Cursor<'_>) -> Result<Body> {
    c.space()?;
    let mechanism = c.atom()?;
    let mut initial = None;
    if c.take(b' ') {
        let text = c.while_(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='));
        if text.is_empty() {
            return expected("base64 or =");
        }
        initial = Some(Secret::new(text.to_vec()));
    }
    Ok(Body::Authenticate { mechanism, initial })
}

/// `login = "LOGIN" SP userid SP password`
fn login(c: &mut Cursor<'_>) -> Result<Body> {
    c.space()?;
    let user = c.astring()?;
    c.space()?;
    Ok(Body::Login { user, password: Secret::new(c.astring()?) })
}

/// `enable = "ENABLE" 1*(SP capability)`
fn enable(c: &mut Cursor<'_>) -> Result<Body> {
    let mut all = Vec::new();
    while c.take(b' ') {
        if all.len() >= ITEMS_MAX {
            return expected("fewer capabilities");
        }
        all.push(c.atom()?);
    }
    if all.is_empty() { expected("a capability") } else { Ok(Body::Enable(all)) }
}

/// `id = "ID" SP id-params-list` (RFC 2971 §4)
fn id(c: &mut Cursor<'_>) -> Result<Body> {
    c.space()?;
    if c.word("NIL") {
        return Ok(Body::Id(Vec::new()));
    }
    let pairs = c.list(ID_PAIRS_MAX, |c| {
        let name = utf8(c.string()?)?;
        c.space()?;
        Ok((name, c.nstring()?.map(utf8).transpose()?))
    })?;
    Ok(Body::Id(pairs))
}

/// `create-param = "USE" SP "(" [use-attr *(SP use-attr)] ")"` (RFC 6154 §6)
fn special_use(c: &mut Cursor<'_>) -> Result<Vec<super::Atom>> {
    if !c.take(b' ') {
        return Ok(Vec::new());
    }
    c.need(b'(', "(USE (…))")?;
    if !c.word("USE") {
        return expected("USE");
    }
    c.space()?;
    let uses = c.list(ITEMS_MAX, |c| {
        c.need(b'\\', "a special use")?;
        c.atom()
    })?;
    c.need(b')', "a closing parenthesis")?;
    Ok(uses)
}

/// `list = "LIST" [SP list-select-opts] SP mailbox SP mbox-or-pat [SP list-return-opts]`
fn list(c: &mut Cursor<'_>, names: Names) -> Result<Body> {
    let mut list = List::default();
    c.space()?;
    if c.peek() == Some(b'(') {
        list.extended = true;
        list.select = c.list(ITEMS_MAX, |c| {
            Ok(match c.atom()?.as_str().to_ascii_uppercase().as_str() {
                "SUBSCRIBED" => ListSelect::Subscribed,
                "REMOTE" => ListSelect::Remote,
                "RECURSIVEMATCH" => ListSelect::RecursiveMatch,
                "SPECIAL-USE" => ListSelect::SpecialUse,
                _ => return expected("a LIST selection option"),
            })
        })?;
        c.space()?;
        let alone = |o: &ListSelect| matches!(o, ListSelect::Remote | ListSelect::RecursiveMatch);
        if list.select.contains(&ListSelect::RecursiveMatch) && list.select.iter().all(alone) {
            // RFC 5258 §3.1.
            return expected("another selection option beside RECURSIVEMATCH");
        }
    }
    c.mailbox(names)?.as_str().clone_into(&mut list.reference);
    c.space()?;
    if c.peek() == Some(b'(') {
        list.extended = true;
        list.patterns = c.list(PATTERNS_MAX, |c| c.list_mailbox(names))?;
    } else {
        list.patterns = vec![c.list_mailbox(names)?];
    }
    if c.take(b' ') {
        list.extended = true;
        if !c.word("RETURN") {
            return expected("RETURN");
        }
        c.space()?;
        list.returns = c.list(ITEMS_MAX, |c| {
            Ok(match c.atom()?.as_str().to_ascii_uppercase().as_str() {
                "SUBSCRIBED" => ListReturn::Subscribed,
                "CHILDREN" => ListReturn::Children,
                "SPECIAL-USE" => ListReturn::SpecialUse,
                "STATUS" => {
                    c.space()?;
                    ListReturn::Status(status_items(c)?)
                }
                "METADATA" => {
                    c.space()?;
                    ListReturn::Metadata(super::metadata::entries(c)?)
                }
                _ => return expected("a LIST return option"),
            })
        })?;
    }
    Ok(Body::List(list))
}

/// `lsub = "LSUB" SP mailbox SP list-mailbox` (RFC 3501)
fn lsub(c: &mut Cursor<'_>, names: Names) -> Result<Body> {
    c.space()?;
    let reference = c.mailbox(names)?;
    c.space()?;
    let pattern = c.list_mailbox(names)?;
    let pattern = super::MailboxName::new(pattern).ok_or(ParseError { expected: "a mailbox pattern" })?;
    Ok(Body::Lsub { reference, pattern })
}

/// `"(" status-att *(SP status-att) ")"`
fn status_items(c: &mut Cursor<'_>) -> Result<Vec<StatusItem>> {
    let items = c.list(ITEMS_MAX, |c| {
        Ok(match c.atom()?.as_str().to_ascii_uppercase().as_str() {
            "MESSAGES" => StatusItem::Messages,
            "RECENT" => StatusItem::Recent,
            "UIDNEXT" => StatusItem::UidNext,
            "UIDVALIDITY" => StatusItem::UidValidity,
            "UNSEEN" => StatusItem::Unseen,
            "DELETED" => StatusItem::Deleted,
            "DELETED-STORAGE" => StatusItem::DeletedStorage,
            "SIZE" => StatusItem::Size,
            "APPENDLIMIT" => StatusItem::AppendLimit,
            "HIGHESTMODSEQ" => StatusItem::HighestModSeq,
            "MAILBOXID" => StatusItem::MailboxId,
            _ => return expected("a STATUS item"),
        })
    })?;
    if items.is_empty() { expected("a STATUS item") } else { Ok(items) }
}

/// `[search-return-opts SP]` (RFC 4731)
pub(super) fn search_returns(c: &mut Cursor<'_>) -> Result<Option<Vec<SearchReturn>>> {
    let mut returns = None;
    if c.word("RETURN") {
        c.space()?;
        let options = c.list(ITEMS_MAX, |c| {
            Ok(match c.atom()?.as_str().to_ascii_uppercase().as_str() {
                "MIN" => SearchReturn::Min,
                "MAX" => SearchReturn::Max,
                "ALL" => SearchReturn::All,
                "COUNT" => SearchReturn::Count,
                "SAVE" => SearchReturn::Save,
                _ => return expected("a SEARCH result option"),
            })
        })?;
        returns = Some(options);
        c.space()?;
    }
    Ok(returns)
}

/// `search = "SEARCH" [search-return-opts] SP search-program`
fn search(c: &mut Cursor<'_>, uid: bool) -> Result<Body> {
    c.space()?;
    let returns = search_returns(c)?;
    let mut charset = None;
    if c.word("CHARSET") {
        c.space()?;
        charset = Some(c.astring_text()?);
        c.space()?;
    }
    let key = super::parse_search::search_keys(c)?;
    Ok(Body::Search { uid, returns, charset, key })
}

/// `fetch = "FETCH" SP sequence-set SP ("ALL" / "FULL" / "FAST" / fetch-att / "(" fetch-att *(SP fetch-att) ")")
/// [fetch-modifiers]`
fn fetch(c: &mut Cursor<'_>, uid: bool) -> Result<Body> {
    use FetchItem as I;
    c.space()?;
    let set = c.sequence_set()?;
    c.space()?;
    let items = if c.peek() == Some(b'(') {
        c.list(ITEMS_MAX, fetch_item)?
    } else if c.word("ALL") {
        vec![I::Flags, I::InternalDate, I::Size, I::Envelope]
    } else if c.word("FAST") {
        vec![I::Flags, I::InternalDate, I::Size]
    } else if c.word("FULL") {
        vec![I::Flags, I::InternalDate, I::Size, I::Envelope, I::Body]
    } else {
        vec![fetch_item(c)?]
    };
    if items.is_empty() {
        return expected("a FETCH item");
    }
    Ok(Body::Fetch { uid, set, items, changed_since: fetch_modifiers(c)? })
}

/// `fetch-att`
pub(super) fn fetch_item(c: &mut Cursor<'_>) -> Result<FetchItem> {
    let peek = c.literally("BODY.PEEK[");
    if peek || c.literally("BODY[") {
        let section = section(c)?;
        c.need(b']', "]")?;
        let partial = partial(c)?;
        return Ok(FetchItem::Section { section, peek, partial });
    }
    if let Some(item) = super::parse_binary::item(c)? {
        return Ok(item);
    }
    Ok(match c.atom()?.as_str().to_ascii_uppercase().as_str() {
        "PREVIEW" => FetchItem::Preview { lazy: preview_modifiers(c)? },
        "FLAGS" => FetchItem::Flags,
        "UID" => FetchItem::Uid,
        "INTERNALDATE" => FetchItem::InternalDate,
        "RFC822.SIZE" => FetchItem::Size,
        "ENVELOPE" => FetchItem::Envelope,
        "BODY" => FetchItem::Body,
        "BODYSTRUCTURE" => FetchItem::BodyStructure,
        "MODSEQ" => FetchItem::ModSeq,
        "SAVEDATE" => FetchItem::SaveDate,
        "EMAILID" => FetchItem::EmailId,
        "THREADID" => FetchItem::ThreadId,
        "RFC822" => FetchItem::Rfc822,
        "RFC822.HEADER" => FetchItem::Rfc822Header,
        "RFC822.TEXT" => FetchItem::Rfc822Text,
        _ => return expected("a FETCH item"),
    })
}

/// `[SP "(" preview-mod *(SP preview-mod) ")"]` (RFC 8970 §6); whether LAZY is among them.
fn preview_modifiers(c: &mut Cursor<'_>) -> Result<bool> {
    if !c.rest().starts_with(b" (") {
        return Ok(false);
    }
    c.space()?;
    let all = c.list(ITEMS_MAX, |c| if c.word("LAZY") { Ok(()) } else { expected("LAZY") })?;
    if all.is_empty() { expected("LAZY") } else { Ok(true) }
}

/// `section-spec = section-msgtext / (section-part ["." section-text])`
pub(crate) fn section(c: &mut Cursor<'_>) -> Result<Section> {
    let mut section = Section::default();
    while c.peek().is_some_and(|b| b.is_ascii_digit()) {
        if section.part.len() >= crate::imap::mime::DEPTH_MAX {
            return expected("a section of fewer levels");
        }
        section.part.push(c.nz_number()?);
        if !c.take(b'.') {
            return Ok(section);
        }
    }
    if section.part.is_empty() && c.peek() == Some(b']') {
        return Ok(section);
    }
    // The longer words first: `word` ends at a character that cannot belong to an atom.
    let fields = |c: &mut Cursor<'_>, not| {
        c.space()?;
        let names = c.list(ITEMS_MAX, |c| {
            let name = c.astring_text()?;
            let ok = !name.is_empty() && name.bytes().all(|b| b > 0x20 && b < 0x7f && b != b':');
            if ok { Ok(name) } else { expected("a header field's name") }
        })?;
        if names.is_empty() {
            expected("a header field's name")
        } else {
            Ok(SectionText::HeaderFields { names, not })
        }
    };
    section.text = Some(if c.literally("HEADER.FIELDS.NOT") {
        fields(c, true)?
    } else if c.literally("HEADER.FIELDS") {
        fields(c, false)?
    } else if c.literally("HEADER") {
        SectionText::Header
    } else if c.literally("TEXT") {
        SectionText::Text
    } else if !section.part.is_empty() && c.literally("MIME") {
        SectionText::Mime
    } else {
        return expected("a section");
    });
    Ok(section)
}

/// `partial = "<" number64 "." nz-number64 ">"`
pub(super) fn partial(c: &mut Cursor<'_>) -> Result<Option<(u64, std::num::NonZeroU32)>> {
    if !c.take(b'<') {
        return Ok(None);
    }
    let first = c.number()?;
    c.need(b'.', "a dot")?;
    // RFC 9051's nz-number64: what is beyond 4 GiB - 1 asks for more than any message has.
    let count = c.number()?;
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let count = std::num::NonZeroU32::new(count).ok_or(ParseError { expected: "a count above 0" })?;
    c.need(b'>', ">")?;
    Ok(Some((first, count)))
}

/// `store = "STORE" SP sequence-set [store-modifiers] SP store-att-flags`
fn store(c: &mut Cursor<'_>, uid: bool) -> Result<Body> {
    c.space()?;
    let set = c.sequence_set()?;
    c.space()?;
    let unchanged_since = store_modifiers(c)?;
    let how = match c.peek() {
        Some(b'+') => StoreHow::Add,
        Some(b'-') => StoreHow::Remove,
        _ => StoreHow::Replace,
    };
    let _ = c.take(b'+') || c.take(b'-');
    let silent = if c.word("FLAGS.SILENT") {
        true
    } else if c.word("FLAGS") {
        false
    } else {
        return expected("FLAGS");
    };
    c.space()?;
    let flags = if c.peek() == Some(b'(') {
        c.list(ITEMS_MAX, Cursor::flag)?
    } else {
        let mut flags = vec![c.flag()?];
        while c.take(b' ') {
            if flags.len() >= ITEMS_MAX {
                return expected("fewer flags");
            }
            flags.push(c.flag()?);
        }
        flags
    };
    Ok(Body::Store { uid, set, how, silent, flags, unchanged_since })
}

/// `copy = "COPY" SP sequence-set SP mailbox`, `move` alike (RFC 6851).
fn copy(c: &mut Cursor<'_>, uid: bool, remove: bool, names: Names) -> Result<Body> {
    c.space()?;
    let set = c.sequence_set()?;
    c.space()?;
    Ok(Body::Copy { uid, remove, set, mailbox: c.mailbox(names)? })
}
