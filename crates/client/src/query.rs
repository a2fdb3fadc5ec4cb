//! What a person looks for, as a SEARCH key (RFC 9051 §6.4.4): words that must all be there, in quotes where they belong
//! together, `from:` and the like before those of a field, `NOT` or `-` before what must not be, `OR` between two.

use sealpost_proto::imap::{Atom, DateTest, Day, SearchKey, SystemFlag};

/// Longest query, in octets; a person writes fewer.
pub const QUERY_MAX: usize = 2_000;
/// Most things asked for at once: each is looked for in every message.
pub const TERMS_MAX: usize = 50;

/// Why a query is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// Nothing is asked for.
    #[error(
        "say what to look for: words, or for example from:bob, subject:\"two words\", since:2026-01-31, is:unread"
    )]
    Empty,
    /// Over [`QUERY_MAX`] or [`TERMS_MAX`].
    #[error("the query is too long; look for less at once")]
    TooLong,
    /// Control characters.
    #[error("the query holds control characters; leave them out")]
    Control,
    /// No date.
    #[error("{0:?} is no date; write it as 2026-01-31")]
    Date(String),
    /// No size.
    #[error("{0:?} is no size; write octets, or 100K, 5M")]
    Size(String),
    /// Nothing that a message can be.
    #[error(
        "{0:?} is nothing a message can be; is: takes read, unread, answered, flagged, draft, sealed, signed, withheld"
    )]
    Is(String),
    /// `OR` or `NOT` with nothing to join.
    #[error("OR stands between two things to look for, NOT before one; in quotes they are words")]
    Operator,
}

/// A thing to look for, and whether it must not be there.
struct Term {
    not: bool,
    field: Option<String>,
    value: String,
    /// It stood in quotes, at least in part.
    quoted: bool,
}

impl Term {
    /// Whether it is a word by itself, and not in quotes.
    fn is_bare(&self) -> bool {
        !self.not && !self.quoted && self.field.is_none()
    }
}

/// Reads a query.
pub fn parse(query: &str) -> Result<SearchKey, QueryError> {
    if query.len() > QUERY_MAX {
        return Err(QueryError::TooLong);
    }
    // No message has them in its text, and a literal must not hold NUL (RFC 9051 §9).
    if query.chars().any(|c| c.is_control() && !c.is_whitespace()) {
        return Err(QueryError::Control);
    }
    let terms = terms(query);
    if terms.len() > TERMS_MAX {
        return Err(QueryError::TooLong);
    }
    let mut keys: Vec<SearchKey> = Vec::new();
    let (mut or, mut not) = (false, false);
    for term in terms {
        match term.value.as_str() {
            "OR" if term.is_bare() && (or || not || keys.is_empty()) => return Err(QueryError::Operator),
            "OR" if term.is_bare() => {
                or = true;
                continue;
            }
            "NOT" if term.is_bare() => {
                not = !not;
                continue;
            }
            _ => {}
        }
        let key = key(&term)?;
        let key = if term.not == not { key } else { SearchKey::Not(Box::new(key)) };
        match keys.pop() {
            Some(before) if or => keys.push(SearchKey::Or(Box::new(before), Box::new(key))),
            before => {
                keys.extend(before);
                keys.push(key);
            }
        }
        (or, not) = (false, false);
    }
    match (keys.len(), or || not) {
        (_, true) => Err(QueryError::Operator),
        (0, _) => Err(QueryError::Empty),
        (1, _) => Ok(keys.swap_remove(0)),
        _ => Ok(SearchKey::And(keys)),
    }
}

fn terms(query: &str) -> Vec<Term> {
    let mut all = Vec::new();
    let mut rest = query.trim_start();
    while !rest.is_empty() {
        let not = rest.len() > 1 && rest.starts_with('-');
        rest = &rest[usize::from(not)..];
        let field = rest
            .split_once(':')
            .map(|(field, _)| field)
            .filter(|field| FIELDS.iter().any(|known| known.eq_ignore_ascii_case(field)));
        if let Some(field) = field {
            rest = &rest[field.len() + 1..];
        }
        let (mut value, mut quoted, mut open) = (String::new(), false, false);
        let mut end = rest.len();
        for (at, c) in rest.char_indices() {
            match c {
                '"' => (quoted, open) = (true, !open),
                c if c.is_whitespace() && !open => {
                    end = at;
                    break;
                }
                c => value.push(c),
            }
        }
        rest = rest[end..].trim_start();
        // What says nothing is not looked for.
        if !value.is_empty() {
            all.push(Term { not, field: field.map(str::to_ascii_lowercase), value, quoted });
        }
    }
    all
}

/// What may stand before a colon; anything else there is part of a word.
const FIELDS: [&str; 12] =
    ["from", "to", "cc", "subject", "body", "text", "since", "before", "on", "larger", "smaller", "is"];

fn key(term: &Term) -> Result<SearchKey, QueryError> {
    let value = term.value.clone();
    let header = |field: &str| SearchKey::Header { field: field.to_owned(), value: value.clone() };
    let sent = |test| Ok(SearchKey::Sent(test, day(&value).ok_or_else(|| QueryError::Date(value.clone()))?));
    Ok(match term.field.as_deref() {
        Some("from") => header("FROM"),
        Some("subject") => header("SUBJECT"),
        Some("cc") => header("CC"),
        // Whom it was written to, in whichever field.
        Some("to") => SearchKey::Or(
            Box::new(header("TO")),
            Box::new(SearchKey::Or(Box::new(header("CC")), Box::new(header("BCC")))),
        ),
        Some("body") => SearchKey::Body(value),
        Some("since") => return sent(DateTest::Since),
        Some("before") => return sent(DateTest::Before),
        Some("on") => return sent(DateTest::On),
        Some("larger") => SearchKey::Larger(size(&value).ok_or(QueryError::Size(value))?),
        Some("smaller") => SearchKey::Smaller(size(&value).ok_or(QueryError::Size(value))?),
        Some("is") => is(&value).ok_or(QueryError::Is(value))?,
        _ => SearchKey::Text(value),
    })
}

/// `YYYY-MM-DD`
fn day(text: &str) -> Option<Day> {
    let mut parts = text.split('-');
    let mut next = |digits: usize| {
        parts.next().filter(|part| part.len() == digits && part.bytes().all(|b| b.is_ascii_digit()))
    };
    let (year, month, day) = (next(4)?, next(2)?, next(2)?);
    let day = Day::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)?;
    parts.next().is_none().then_some(day)
}

fn size(text: &str) -> Option<u64> {
    let digits = text.len() - text.bytes().rev().take_while(u8::is_ascii_alphabetic).count();
    let (number, unit) = text.split_at(digits);
    let unit = match unit.to_ascii_uppercase().as_str() {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return None,
    };
    // What IMAP can say (RFC 9051 §9, number64).
    number.parse::<u64>().ok()?.checked_mul(unit).filter(|size| i64::try_from(*size).is_ok())
}

fn is(text: &str) -> Option<SearchKey> {
    let keyword = |name| Some(SearchKey::Keyword(Atom::new(name)?, true));
    match text.to_ascii_lowercase().as_str() {
        "read" | "seen" => Some(SearchKey::Flag(SystemFlag::Seen, true)),
        "unread" | "unseen" => Some(SearchKey::Flag(SystemFlag::Seen, false)),
        "answered" => Some(SearchKey::Flag(SystemFlag::Answered, true)),
        "flagged" => Some(SearchKey::Flag(SystemFlag::Flagged, true)),
        "draft" => Some(SearchKey::Flag(SystemFlag::Draft, true)),
        "sealed" => keyword("$Sealed"),
        "signed" => keyword("$Signed"),
        "withheld" => keyword("$Withheld"),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(text: &str) -> SearchKey {
        SearchKey::Text(text.into())
    }

    fn header(field: &str, value: &str) -> SearchKey {
        SearchKey::Header { field: field.into(), value: value.into() }
    }

    #[test]
    fn queries() {
        let not = |key| SearchKey::Not(Box::new(key));
        let or = |a, b| SearchKey::Or(Box::new(a), Box::new(b));
        let day = Day::new(2026, 2, 28).unwrap();
        for (query, want) in [
            ("picnic", text("picnic")),
            (" big  oak ", SearchKey::And(vec![text("big"), text("oak")])),
            ("\"big oak\"", text("big oak")),
            ("\"never closed", text("never closed")),
            ("From:bob", header("FROM", "bob")),
            ("subject:\"big oak\"", header("SUBJECT", "big oak")),
            ("to:bob", or(header("TO", "bob"), or(header("CC", "bob"), header("BCC", "bob")))),
            ("-is:read", not(SearchKey::Flag(SystemFlag::Seen, true))),
            ("-grün", not(text("grün"))),
            ("NOT is:read", not(SearchKey::Flag(SystemFlag::Seen, true))),
            ("NOT -a OR NOT b", or(text("a"), not(text("b")))),
            ("-", text("-")),
            ("https://x.example/", text("https://x.example/")),
            ("a:b", text("a:b")),
            ("from:", text("x")),
            ("since:2026-02-28", SearchKey::Sent(DateTest::Since, day)),
            (
                "larger:2K smaller:1g",
                SearchKey::And(vec![SearchKey::Larger(2048), SearchKey::Smaller(1 << 30)]),
            ),
            ("a OR b c", SearchKey::And(vec![or(text("a"), text("b")), text("c")])),
            ("a OR b OR c", or(or(text("a"), text("b")), text("c"))),
            ("a \"OR\"", SearchKey::And(vec![text("a"), text("OR")])),
            ("is:sealed", SearchKey::Keyword(Atom::new("$Sealed").unwrap(), true)),
        ] {
            if query == "from:" {
                assert_eq!(parse(query), Err(QueryError::Empty));
                continue;
            }
            assert_eq!(parse(query), Ok(want), "{query}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for (query, error) in [
            ("", QueryError::Empty),
            (" \"\" ", QueryError::Empty),
            ("since:2026-02-29", QueryError::Date("2026-02-29".into())),
            ("on:2026-2-1", QueryError::Date("2026-2-1".into())),
            ("on:2026-02-01-", QueryError::Date("2026-02-01-".into())),
            ("on:+026-02-01", QueryError::Date("+026-02-01".into())),
            ("larger:x", QueryError::Size("x".into())),
            ("larger:1T", QueryError::Size("1T".into())),
            ("larger:9223372036854775808", QueryError::Size("9223372036854775808".into())),
            ("larger:99999999999G", QueryError::Size("99999999999G".into())),
            ("is:nice", QueryError::Is("nice".into())),
            // Found by the fuzzer.
            ("a\0", QueryError::Control),
            ("OR a", QueryError::Operator),
            ("a OR", QueryError::Operator),
            ("a OR OR b", QueryError::Operator),
            ("a NOT", QueryError::Operator),
            ("a NOT OR b", QueryError::Operator),
        ] {
            assert_eq!(parse(query), Err(error), "{query}");
        }
        assert!(parse(&"x".repeat(QUERY_MAX)).is_ok());
        assert_eq!(parse(&"x".repeat(QUERY_MAX + 1)), Err(QueryError::TooLong));
        assert!(parse(&"x ".repeat(TERMS_MAX)).is_ok());
        assert_eq!(parse(&"x ".repeat(TERMS_MAX + 1)), Err(QueryError::TooLong));
    }

    proptest! {
        #[test]
        fn never_panics(query in "(-|from:|is:|on:|larger:|OR|NOT|\"| |ü|a|9|K|read|2026-01-01){0,40}") {
            let _ = parse(&query);
        }
    }
}
