//! SEARCH keys (RFC 9051 §6.4.4).

use super::{
    command::{DateTest, SearchKey, SystemFlag},
    condstore::{object_id, search_modseq},
    date::Day,
    lex::{Cursor, ParseError, Result, expected, utf8},
};

/// Most keys in one command: each may cost a pass over a message.
pub const KEYS_MAX: usize = 1024;

/// `search-program = search-key *(SP search-key)`
pub(crate) fn search_keys(c: &mut Cursor<'_>) -> Result<SearchKey> {
    let mut budget = KEYS_MAX;
    let first = key(c, &mut budget)?;
    if c.peek() != Some(b' ') {
        return Ok(first);
    }
    let mut all = vec![first];
    while c.take(b' ') {
        all.push(key(c, &mut budget)?);
    }
    Ok(SearchKey::And(all))
}

fn key(c: &mut Cursor<'_>, budget: &mut usize) -> Result<SearchKey> {
    *budget = budget.checked_sub(1).ok_or(ParseError { expected: "fewer search keys" })?;
    match c.peek() {
        Some(b'(') => {
            let all = c.list(KEYS_MAX, |c| key(c, budget))?;
            return if all.is_empty() { expected("a search key") } else { Ok(SearchKey::And(all)) };
        }
        Some(b'0'..=b'9' | b'*' | b'$') => return c.sequence_set().map(SearchKey::Sequence),
        _ => {}
    }
    let word = c.atom()?.as_str().to_ascii_uppercase();
    if let Some(simple) = simple(&word) {
        return Ok(simple);
    }
    c.space()?;
    Ok(match word.as_str() {
        "KEYWORD" => SearchKey::Keyword(c.atom()?, true),
        "UNKEYWORD" => SearchKey::Keyword(c.atom()?, false),
        "BEFORE" => SearchKey::Internal(DateTest::Before, date(c)?),
        "ON" => SearchKey::Internal(DateTest::On, date(c)?),
        "SINCE" => SearchKey::Internal(DateTest::Since, date(c)?),
        "SENTBEFORE" => SearchKey::Sent(DateTest::Before, date(c)?),
        "SENTON" => SearchKey::Sent(DateTest::On, date(c)?),
        "SENTSINCE" => SearchKey::Sent(DateTest::Since, date(c)?),
        "SAVEDBEFORE" => SearchKey::Saved(DateTest::Before, date(c)?),
        "SAVEDON" => SearchKey::Saved(DateTest::On, date(c)?),
        "SAVEDSINCE" => SearchKey::Saved(DateTest::Since, date(c)?),
        "MODSEQ" => {
            let (entry, modseq) = search_modseq(c)?;
            SearchKey::ModSeq { entry, modseq }
        }
        "EMAILID" => SearchKey::EmailId(object_id(c)?),
        "THREADID" => SearchKey::ThreadId(object_id(c)?),
        "YOUNGER" => SearchKey::Within(c.nz_number()?, true),
        "OLDER" => SearchKey::Within(c.nz_number()?, false),
        "LARGER" => SearchKey::Larger(c.number()?),
        "SMALLER" => SearchKey::Smaller(c.number()?),
        "FROM" | "TO" | "CC" | "BCC" | "SUBJECT" => SearchKey::Header { field: word, value: text(c)? },
        "HEADER" => {
            let field = c.astring_text()?;
            c.space()?;
            SearchKey::Header { field, value: text(c)? }
        }
        "BODY" => SearchKey::Body(text(c)?),
        "TEXT" => SearchKey::Text(text(c)?),
        "UID" => SearchKey::Uid(c.sequence_set()?),
        "NOT" => {
            c.enter()?;
            let inner = key(c, budget)?;
            c.depth -= 1;
            SearchKey::Not(Box::new(inner))
        }
        "OR" => {
            c.enter()?;
            let one = key(c, budget)?;
            c.space()?;
            let other = key(c, budget)?;
            c.depth -= 1;
            SearchKey::Or(Box::new(one), Box::new(other))
        }
        _ => return expected("a search key"),
    })
}

/// What to look for. Octets that are no UTF-8 match nothing (the charset they came in is refused by the server, or is
/// not what it was said to be).
fn text(c: &mut Cursor<'_>) -> Result<String> {
    Ok(String::from_utf8_lossy(&c.astring()?).into_owned())
}

fn simple(word: &str) -> Option<SearchKey> {
    let flag = |name| {
        Some(match name {
            "SEEN" => SystemFlag::Seen,
            "ANSWERED" => SystemFlag::Answered,
            "FLAGGED" => SystemFlag::Flagged,
            "DELETED" => SystemFlag::Deleted,
            "DRAFT" => SystemFlag::Draft,
            _ => return None,
        })
    };
    Some(match word {
        "ALL" => SearchKey::All,
        "NEW" => SearchKey::New,
        "OLD" => SearchKey::Old,
        "RECENT" => SearchKey::Recent,
        "SAVEDATESUPPORTED" => SearchKey::SaveDateSupported,
        _ => match word.strip_prefix("UN").and_then(flag) {
            Some(unset) => SearchKey::Flag(unset, false),
            None => SearchKey::Flag(flag(word)?, true),
        },
    })
}

/// `date = date-text / DQUOTE date-text DQUOTE`
fn date(c: &mut Cursor<'_>) -> Result<Day> {
    Day::parse(&utf8(c.astring()?)?).ok_or(ParseError { expected: "a date like 1-Feb-2026" })
}
