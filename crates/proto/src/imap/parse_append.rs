//! APPEND, MULTIAPPEND (RFC 3502) and REPLACE (RFC 8508): what stands around the messages, whose octets go past the
//! codec.

use super::{
    command::{AppendMessage, AppendStart},
    date::parse_date_time,
    lex::{Cursor, ParseError, Result, expected, utf8},
    parse::{BadCommand, ITEMS_MAX, tag},
    types::Names,
};

/// Whether a line that ends in a literal's announcement is an APPEND or REPLACE, whose literal goes to the spool.
pub fn is_append(bytes: &[u8]) -> bool {
    let mut c = Cursor::new(bytes);
    tag(&mut c).is_ok() && c.take(b' ') && verb(&mut c).is_some()
}

/// What stands before the mailbox; `None` for other commands.
enum Verb {
    Append,
    Replace { uid: bool },
}

fn verb(c: &mut Cursor<'_>) -> Option<Verb> {
    if c.word("APPEND") {
        return Some(Verb::Append);
    }
    let uid = c.word("UID");
    if uid && !c.take(b' ') {
        return None;
    }
    c.word("REPLACE").then_some(Verb::Replace { uid })
}

/// `append = "APPEND" SP mailbox SP [flag-list SP] [date-time SP] literal` and
/// `replace = ["UID" SP] "REPLACE" SP seq-number SP mailbox append-message` (RFC 8508 §6), up to the literal's
/// announcement; `None` where the literal at the end is the mailbox name.
pub fn append_start(bytes: &[u8], names: Names) -> std::result::Result<Option<AppendStart>, BadCommand> {
    let mut c = Cursor::new(bytes);
    let tag = tag(&mut c).map_err(|error| BadCommand { tag: None, error })?;
    let bad = |error| BadCommand { tag: Some(tag.clone()), error };
    c.space().map_err(bad)?;
    let verb = verb(&mut c).ok_or(ParseError { expected: "APPEND or REPLACE" }).map_err(bad)?;
    c.space().map_err(bad)?;
    let mut replaces = None;
    if let Verb::Replace { uid } = verb {
        replaces = Some((uid, c.seq_number().map_err(bad)?));
        c.space().map_err(bad)?;
    }
    if announcement_is_all(&c) {
        return Ok(None);
    }
    let mailbox = c.mailbox(names).map_err(bad)?;
    let message = append_message(&mut c).map_err(bad)?;
    Ok(Some(AppendStart { tag, replaces, mailbox, message }))
}

fn announcement_is_all(c: &Cursor<'_>) -> bool {
    let rest = c.rest();
    rest.starts_with(b"{")
        && rest.iter().position(|b| *b == b'\n') == Some(rest.len() - 1)
        && super::receive::literal_head(rest).is_some()
}

/// ` [flag-list SP] [date-time SP] (literal / "UTF8" SP "(" literal8 ")")` (RFC 3502, RFC 6855 §4): what stands before a message's literal in APPEND; the next ones of
/// MULTIAPPEND (RFC 3502) have the same form.
fn append_message(c: &mut Cursor<'_>) -> Result<AppendMessage> {
    c.space()?;
    let mut flags = Vec::new();
    if c.peek() == Some(b'(') {
        flags = c.list(ITEMS_MAX, Cursor::flag)?;
        c.space()?;
    }
    let mut date = None;
    if c.peek() == Some(b'"') {
        let text = utf8(c.quoted()?)?;
        date = Some(parse_date_time(&text).ok_or(ParseError { expected: "a date and time" })?);
        c.space()?;
    }
    let utf8 = c.word("UTF8");
    if utf8 {
        c.space()?;
        c.need(b'(', "an opening parenthesis")?;
    }
    // The announcement is all that is left: no other brace stands before it.
    let rest = c.rest();
    let brace = rest.strip_prefix(b"~").unwrap_or(rest);
    let alone = brace.first() == Some(&b'{') && memchr::memrchr(b'{', brace) == Some(0);
    match super::receive::literal_head(rest) {
        Some(head) if alone && (head.binary || !utf8) => Ok(AppendMessage { flags, date, utf8 }),
        _ if utf8 => expected("a literal8 (~{…}) with the message"),
        _ => expected("a literal with the message"),
    }
}

/// What follows a message's literal in APPEND.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppendNext {
    /// Another message, whose literal comes (RFC 3502).
    Message(AppendMessage),
    /// The end of the command.
    End,
}

/// `*(append-message) CRLF` behind a message's literal, up to the next literal's announcement; behind one in `UTF8 (…)`
/// the parenthesis comes first.
pub fn append_next(bytes: &[u8], utf8: bool) -> Result<AppendNext> {
    let mut c = Cursor::new(bytes);
    if utf8 {
        c.need(b')', "a closing parenthesis")?;
    }
    // IMAPClient (4.1) writes two spaces.
    while c.rest().starts_with(b"  ") {
        c.space()?;
    }
    if c.peek() == Some(b' ') {
        append_message(&mut c).map(AppendNext::Message)
    } else {
        c.end().map(|()| AppendNext::End)
    }
}
