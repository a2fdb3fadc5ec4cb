//! SORT (RFC 5256, with the keys of RFC 5957 and the RETURN of RFC 5267) and THREAD (RFC 5256).

use super::{
    command::{Body, SortKey, SortOrder, ThreadAlgorithm},
    lex::{Cursor, Result, expected},
    parse::search_returns,
    parse_search::search_keys,
};

/// Most keys to sort by: there are ten, and one that comes again changes nothing.
const KEYS_MAX: usize = 32;

/// `sort = ["UID" SP] "SORT" [search-return-opts] SP sort-criteria SP search-criteria`, behind the verb.
pub(super) fn sort(c: &mut Cursor<'_>, uid: bool) -> Result<Body> {
    c.space()?;
    let returns = search_returns(c)?;
    let order = c.list(KEYS_MAX, |c| {
        let reverse = c.word("REVERSE");
        if reverse {
            c.space()?;
        }
        Ok(SortOrder { key: sort_key(c)?, reverse })
    })?;
    if order.is_empty() {
        return expected("a sort key");
    }
    let (charset, key) = search_criteria(c)?;
    Ok(Body::Sort { uid, returns, order, charset, key })
}

/// `sort-key`
fn sort_key(c: &mut Cursor<'_>) -> Result<SortKey> {
    Ok(match c.atom()?.as_str().to_ascii_uppercase().as_str() {
        "ARRIVAL" => SortKey::Arrival,
        "CC" => SortKey::Cc,
        "DATE" => SortKey::Date,
        "FROM" => SortKey::From,
        "SIZE" => SortKey::Size,
        "SUBJECT" => SortKey::Subject,
        "TO" => SortKey::To,
        "DISPLAYFROM" => SortKey::DisplayFrom,
        "DISPLAYTO" => SortKey::DisplayTo,
        _ => return expected("a sort key"),
    })
}

/// `thread = ["UID" SP] "THREAD" SP thread-alg SP search-criteria`, behind the verb.
pub(super) fn thread(c: &mut Cursor<'_>, uid: bool) -> Result<Body> {
    c.space()?;
    let algorithm = match c.atom()?.as_str().to_ascii_uppercase().as_str() {
        "ORDEREDSUBJECT" => ThreadAlgorithm::OrderedSubject,
        "REFERENCES" => ThreadAlgorithm::References,
        _ => return expected("ORDEREDSUBJECT or REFERENCES"),
    };
    let (charset, key) = search_criteria(c)?;
    Ok(Body::Thread { uid, algorithm, charset, key })
}

/// `search-criteria = charset 1*(SP search-key)`, a space before it.
fn search_criteria(c: &mut Cursor<'_>) -> Result<(String, super::SearchKey)> {
    c.space()?;
    let charset = c.astring_text()?;
    c.space()?;
    Ok((charset, search_keys(c)?))
}
