//! BINARY, BINARY.PEEK and BINARY.SIZE in FETCH (RFC 3516 §4.2, RFC 9051 §9).

use super::{
    command::{FetchItem, Section},
    lex::{Cursor, Result, expected},
    parse::{partial, section},
};
use std::num::NonZeroU32;

/// `"BINARY" [".PEEK"] section-binary [partial] / "BINARY.SIZE" section-binary`; `None` where another item comes.
pub(super) fn item(c: &mut Cursor<'_>) -> Result<Option<FetchItem>> {
    if c.literally("BINARY.SIZE[") {
        return part(c).map(|part| Some(FetchItem::BinarySize(part)));
    }
    let peek = c.literally("BINARY.PEEK[");
    if !peek && !c.literally("BINARY[") {
        return Ok(None);
    }
    let part = part(c)?;
    Ok(Some(FetchItem::Binary { part, peek, partial: partial(c)? }))
}

/// `section-binary = "[" [section-part] "]"`, behind its bracket.
fn part(c: &mut Cursor<'_>) -> Result<Vec<NonZeroU32>> {
    let Section { part, text: None } = section(c)? else { return expected("the number of a part") };
    c.need(b']', "]")?;
    Ok(part)
}
