//! Responses as a client reads them (RFC 9051 §7). What a client of ours has no use for is skipped by its grammar.

use super::{
    date::parse_date_time,
    lex::{Cursor, ParseError, Result, ascii, expected, mailbox_name, utf8},
    types::{Flag, Names, Tag},
};
use crate::time::Timestamp;

/// Most values in one list of a response.
const VALUES_MAX: usize = 1_000_000;

/// A condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// OK
    Ok,
    /// NO
    No,
    /// BAD
    Bad,
    /// BYE
    Bye,
    /// PREAUTH
    PreAuth,
}

/// `resp-text`: a code in brackets and words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The code's name, in capitals.
    pub code: Option<String>,
    /// What follows it within the brackets.
    pub arguments: String,
    /// Words for people; control characters are replaced.
    pub text: String,
}

/// One response.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// `+ …`
    Continue(String),
    /// The end of a command.
    Tagged(Tag, Condition, Text),
    /// `* OK …` and its kin.
    Untagged(Condition, Text),
    /// CAPABILITY
    Capability(Vec<String>),
    /// LIST
    List {
        /// Attributes with their backslash.
        attributes: Vec<String>,
        /// Hierarchy delimiter.
        delimiter: Option<char>,
        /// Name.
        name: String,
    },
    /// SEARCH
    Search(Vec<u32>),
    /// EXISTS
    Exists(u32),
    /// EXPUNGE
    Expunge(u32),
    /// FETCH
    Fetch(Vec<FetchValue>),
    /// Something else that is well framed.
    Other,
}

/// What FETCH says of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchValue {
    /// UID
    Uid(u32),
    /// FLAGS
    Flags(Vec<Flag>),
    /// RFC822.SIZE
    Size(u64),
    /// INTERNALDATE
    InternalDate(Timestamp),
    /// BODY[…]
    Section {
        /// What stands between the brackets.
        section: String,
        /// The octets; `None` is NIL.
        data: Option<Vec<u8>>,
    },
    /// Something else.
    Other,
}

/// `response = *(continue-req / response-data) response-done`, one of them with its literals inline.
pub fn reply(bytes: &[u8], names: Names) -> Result<Reply> {
    let mut c = Cursor::new(bytes);
    if c.take(b'+') {
        c.take(b' ');
        let text = words(&mut c);
        return c.end().map(|()| Reply::Continue(text));
    }
    if !c.take(b'*') {
        let tag = Tag::new(ascii(c.while_(super::types::is_astring_char)));
        let tag = tag.ok_or(ParseError { expected: "a response" })?;
        c.space()?;
        let condition = condition(&mut c)?;
        let text = resp_text(&mut c)?;
        return Ok(Reply::Tagged(tag, condition, text));
    }
    c.space()?;
    if c.peek().is_some_and(|b| b.is_ascii_digit()) {
        let n = u32::try_from(c.number()?).map_err(|_| ParseError { expected: "a message number" })?;
        c.space()?;
        let word = c.atom()?;
        let reply = if word.is("EXISTS") {
            Reply::Exists(n)
        } else if word.is("EXPUNGE") {
            Reply::Expunge(n)
        } else if word.is("FETCH") {
            c.space()?;
            Reply::Fetch(c.list(VALUES_MAX, fetch_value)?)
        } else {
            return Ok(Reply::Other);
        };
        return c.end().map(|()| reply);
    }
    let mut ahead = c.clone();
    if let Ok(condition) = condition(&mut ahead) {
        return Ok(Reply::Untagged(condition, resp_text(&mut ahead)?));
    }
    let word = c.atom()?;
    if word.is("CAPABILITY") {
        let text = words(&mut c);
        return Ok(Reply::Capability(text.split_ascii_whitespace().map(str::to_ascii_uppercase).collect()));
    }
    if word.is("LIST") {
        return list(&mut c, names);
    }
    if word.is("SEARCH") {
        let mut all = Vec::new();
        while c.take(b' ') && c.peek().is_some_and(|b| b.is_ascii_digit()) {
            all.push(c.nz_number()?.get());
        }
        return c.end().map(|()| Reply::Search(all));
    }
    Ok(Reply::Other)
}

fn condition(c: &mut Cursor<'_>) -> Result<Condition> {
    let words = [
        ("OK", Condition::Ok),
        ("NO", Condition::No),
        ("BAD", Condition::Bad),
        ("BYE", Condition::Bye),
        ("PREAUTH", Condition::PreAuth),
    ];
    match words.into_iter().find(|(word, _)| c.word(word)) {
        Some((_, condition)) => Ok(condition),
        None => expected("OK, NO, BAD, BYE or PREAUTH"),
    }
}

/// `resp-text = ["[" resp-text-code "]" SP] [text]`
fn resp_text(c: &mut Cursor<'_>) -> Result<Text> {
    c.take(b' ');
    let (mut code, mut arguments) = (None, String::new());
    if c.take(b'[') {
        code = Some(c.atom()?.as_str().to_ascii_uppercase());
        c.take(b' ');
        arguments = printable(c.while_(|b| b != b']' && b != b'\r' && b != b'\n'));
        c.need(b']', "]")?;
        c.take(b' ');
    }
    let text = words(c);
    c.end()?;
    Ok(Text { code, arguments, text })
}

fn words(c: &mut Cursor<'_>) -> String {
    printable(c.while_(|b| b != b'\r' && b != b'\n'))
}

/// A server's words may end on a terminal.
fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace(char::is_control, "\u{fffd}")
}

/// `mailbox-list = "(" [mbx-list-flags] ")" SP (DQUOTE QUOTED-CHAR DQUOTE / nil) SP mailbox [SP …]`
fn list(c: &mut Cursor<'_>, names: Names) -> Result<Reply> {
    c.space()?;
    let attributes = c.list(VALUES_MAX, |c| {
        c.take(b'\\');
        c.atom().map(|a| format!("\\{a}"))
    })?;
    c.space()?;
    let delimiter = c.nstring()?.map(utf8).transpose()?.and_then(|d| d.chars().next());
    c.space()?;
    let raw = c.astring_text()?;
    // A name that is not canonical modified UTF-7 is shown as it stands; SELECT of it will fail by its own words.
    let name = mailbox_name(raw.clone(), names).map_or(raw, |name| name.as_str().to_owned());
    Ok(Reply::List { attributes, delimiter, name })
}

/// One name and value of `msg-att`.
fn fetch_value(c: &mut Cursor<'_>) -> Result<FetchValue> {
    if c.literally("BODY[") {
        let section = printable(c.while_(|b| b != b']' && b != b'\r' && b != b'\n'));
        c.need(b']', "]")?;
        if c.take(b'<') {
            c.number()?;
            c.need(b'>', ">")?;
        }
        c.space()?;
        return Ok(FetchValue::Section { section, data: c.nstring()? });
    }
    let word = c.atom()?;
    c.space()?;
    Ok(if word.is("UID") {
        FetchValue::Uid(c.nz_number()?.get())
    } else if word.is("RFC822.SIZE") {
        FetchValue::Size(c.number()?)
    } else if word.is("INTERNALDATE") {
        let text = utf8(c.quoted()?)?;
        FetchValue::InternalDate(parse_date_time(&text).ok_or(ParseError { expected: "a date and time" })?)
    } else if word.is("FLAGS") {
        // \Recent is no flag of ours; it is left out.
        let flags =
            c.list(VALUES_MAX, |c| if c.literally("\\Recent") { Ok(None) } else { c.flag().map(Some) })?;
        FetchValue::Flags(flags.into_iter().flatten().collect())
    } else {
        skip_value(c)?;
        FetchValue::Other
    })
}

/// Any value: a list, a string, an atom or a number.
fn skip_value(c: &mut Cursor<'_>) -> Result<()> {
    match c.peek() {
        Some(b'(') => {
            // Lists in ENVELOPE stand side by side without a space between them.
            c.take(b'(');
            c.enter()?;
            loop {
                if c.take(b')') {
                    break;
                }
                if !c.take(b' ') {
                    skip_value(c)?;
                }
            }
            c.depth -= 1;
            Ok(())
        }
        Some(b'"' | b'{' | b'~') => c.string().map(drop),
        _ => {
            let word = c.while_(|b| super::types::is_astring_char(b) || b == b'\\');
            if word.is_empty() { expected("a value") } else { Ok(()) }
        }
    }
}
