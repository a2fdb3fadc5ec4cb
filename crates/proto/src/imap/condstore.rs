//! What CONDSTORE and QRESYNC add to commands (RFC 7162 §7), and the object identifiers of RFC 8474.

use super::{
    encode::Encoder,
    lex::{Cursor, ParseError, Result, expected},
    types::{Atom, SeqNumber, SequenceSet},
};
use std::num::NonZeroU32;

/// Octets of an object identifier (RFC 8474 §7).
pub const OBJECT_ID_MAX: usize = 255;

/// `select-param`s: what SELECT and EXAMINE are asked for beside the mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SelectParams {
    /// CONDSTORE
    pub condstore: bool,
    /// QRESYNC
    pub qresync: Option<Qresync>,
}

/// What a client knows of a mailbox (RFC 7162 §3.2.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qresync {
    /// UIDVALIDITY
    pub uid_validity: NonZeroU32,
    /// The MODSEQ up to which it knows all changes.
    pub modseq: u64,
    /// UIDs that it knows; `None`: all there were.
    pub known: Option<SequenceSet>,
    /// Message numbers and, in the same order, the UIDs that the client believes them to have.
    pub matching: Option<(SequenceSet, SequenceSet)>,
}

/// FETCH's CHANGEDSINCE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangedSince {
    /// Only messages whose MODSEQ is above this.
    pub modseq: u64,
    /// VANISHED: UIDs that are gone since are told too.
    pub vanished: bool,
}

/// `objectid = 1*255(ALPHA / DIGIT / "_" / "-")`
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectId(String);

impl ObjectId {
    /// Checks `text`.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let fits = (1..=OBJECT_ID_MAX).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
        fits.then_some(Self(text))
    }
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for ObjectId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// An objectid where an atom stands.
pub(crate) fn object_id(c: &mut Cursor<'_>) -> Result<ObjectId> {
    ObjectId::new(c.atom()?.as_str()).ok_or(ParseError { expected: "an object identifier" })
}

/// `[SP "(" select-param *(SP select-param) ")"]`
pub(crate) fn select_params(c: &mut Cursor<'_>) -> Result<SelectParams> {
    let mut params = SelectParams::default();
    if !c.take(b' ') {
        return Ok(params);
    }
    let all = c.list(2, |c| {
        if c.word("CONDSTORE") && !params.condstore {
            params.condstore = true;
            Ok(())
        } else if c.word("QRESYNC") && params.qresync.is_none() {
            c.space()?;
            params.qresync = Some(qresync(c)?);
            Ok(())
        } else {
            expected("CONDSTORE or QRESYNC, each once")
        }
    })?;
    if all.is_empty() { expected("CONDSTORE or QRESYNC") } else { Ok(params) }
}

/// `"(" uidvalidity SP mod-sequence-value [SP known-uids] [SP seq-match-data] ")"`
fn qresync(c: &mut Cursor<'_>) -> Result<Qresync> {
    c.need(b'(', "an opening parenthesis")?;
    let uid_validity = c.nz_number()?;
    c.space()?;
    let modseq = c.number()?;
    if modseq == 0 {
        return expected("a MODSEQ above 0");
    }
    let mut known = None;
    let mut matching = None;
    let mut more = c.take(b' ');
    if more && c.peek() != Some(b'(') {
        known = Some(closed_set(c)?);
        more = c.take(b' ');
    }
    if more {
        c.need(b'(', "an opening parenthesis")?;
        let numbers = closed_set(c)?;
        c.space()?;
        let uids = closed_set(c)?;
        c.need(b')', "a closing parenthesis")?;
        matching = Some((numbers, uids));
    }
    c.need(b')', "a closing parenthesis")?;
    Ok(Qresync { uid_validity, modseq, known, matching })
}

/// `sequence-set ;; * is not allowed`
fn closed_set(c: &mut Cursor<'_>) -> Result<SequenceSet> {
    match c.sequence_set()? {
        SequenceSet::Ranges(ranges)
            if !ranges.iter().any(|(a, b)| [a, b].into_iter().any(|n| matches!(n, SeqNumber::Largest))) =>
        {
            Ok(SequenceSet::Ranges(ranges))
        }
        _ => expected("a set of numbers without * and $"),
    }
}

/// `[SP "(" fetch-modifier *(SP fetch-modifier) ")"]`
pub(crate) fn fetch_modifiers(c: &mut Cursor<'_>) -> Result<Option<ChangedSince>> {
    if !c.take(b' ') {
        return Ok(None);
    }
    let (mut modseq, mut vanished) = (None, false);
    c.list(2, |c| {
        if c.word("CHANGEDSINCE") && modseq.is_none() {
            c.space()?;
            modseq = Some(c.number()?);
            Ok(())
        } else if c.word("VANISHED") && !vanished {
            vanished = true;
            Ok(())
        } else {
            expected("CHANGEDSINCE or VANISHED, each once")
        }
    })?;
    // RFC 7162 §3.2.6: VANISHED goes with CHANGEDSINCE alone.
    match modseq {
        Some(modseq) => Ok(Some(ChangedSince { modseq, vanished })),
        None => expected("CHANGEDSINCE"),
    }
}

/// `["(" store-modifier ")" SP]`
pub(crate) fn store_modifiers(c: &mut Cursor<'_>) -> Result<Option<u64>> {
    if !c.take(b'(') {
        return Ok(None);
    }
    if !c.word("UNCHANGEDSINCE") {
        return expected("UNCHANGEDSINCE");
    }
    c.space()?;
    let modseq = c.number()?;
    c.need(b')', "a closing parenthesis")?;
    c.space()?;
    Ok(Some(modseq))
}

/// Behind `MODSEQ SP`: `[entry-name SP entry-type-req SP] mod-sequence-valzer`
pub(crate) fn search_modseq(c: &mut Cursor<'_>) -> Result<(Option<(String, Atom)>, u64)> {
    let mut entry = None;
    if c.peek() == Some(b'"') {
        let name = super::lex::utf8(c.quoted()?)?;
        // Control characters could not be written back as a quoted string.
        if name.contains(|c: char| !(' '..='~').contains(&c)) {
            return expected("the name of an entry");
        }
        c.space()?;
        let kind = c.atom()?;
        if !["priv", "shared", "all"].iter().any(|known| kind.is(known)) {
            return expected("priv, shared or all");
        }
        c.space()?;
        entry = Some((name, kind));
    }
    Ok((entry, c.number()?))
}

impl Encoder {
    pub(crate) fn select_params(&mut self, params: &SelectParams) {
        let mut words = Vec::new();
        if params.condstore {
            words.push("CONDSTORE".to_owned());
        }
        if let Some(q) = &params.qresync {
            let known = q.known.as_ref().map(|set| format!(" {set}")).unwrap_or_default();
            let matching = q.matching.as_ref().map(|(n, u)| format!(" ({n} {u})")).unwrap_or_default();
            words.push(format!("QRESYNC ({} {}{known}{matching})", q.uid_validity, q.modseq));
        }
        if !words.is_empty() {
            self.text(&format!(" ({})", words.join(" ")));
        }
    }

    pub(crate) fn fetch_modifiers(&mut self, changed_since: Option<ChangedSince>) {
        if let Some(ChangedSince { modseq, vanished }) = changed_since {
            self.text(&format!(" (CHANGEDSINCE {modseq}{})", if vanished { " VANISHED" } else { "" }));
        }
    }

    pub(crate) fn search_modseq(&mut self, entry: Option<&(String, Atom)>, modseq: u64) {
        self.text("MODSEQ ");
        if let Some((name, kind)) = entry {
            self.string(name.as_bytes());
            self.text(&format!(" {kind} "));
        }
        self.text(&modseq.to_string());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::{Body, FetchItem, Names, SearchKey, parse};
    use super::*;

    fn body(text: &str) -> Option<Body> {
        parse::command(format!("a {text}\r\n").as_bytes(), Names::Utf7).ok().map(|command| command.body)
    }

    #[test]
    fn examples_of_the_rfc() {
        let Some(Body::Select { params, .. }) =
            body("SELECT INBOX (QRESYNC (67890007 20050715194045000 41,43:211,214:541))")
        else {
            panic!("it is a SELECT")
        };
        let q = params.qresync.unwrap();
        assert_eq!((q.uid_validity.get(), q.modseq), (67_890_007, 20_050_715_194_045_000));
        assert_eq!(q.known.unwrap().to_string(), "41,43:211,214:541");
        let Some(Body::Select { params, .. }) =
            body("SELECT INBOX (QRESYNC (67890007 90060115194045000 41:211,214:541 (1:29997 1:29997)))")
        else {
            panic!("it is a SELECT")
        };
        assert_eq!(params.qresync.unwrap().matching.unwrap().0.to_string(), "1:29997");
        let Some(Body::Fetch { changed_since, items, .. }) =
            body("UID FETCH 300:500 (FLAGS) (CHANGEDSINCE 12345 VANISHED)")
        else {
            panic!("it is a FETCH")
        };
        assert_eq!(items, [FetchItem::Flags]);
        assert_eq!(changed_since, Some(ChangedSince { modseq: 12345, vanished: true }));
        let Some(Body::Store { unchanged_since, .. }) =
            body("STORE 1 (UNCHANGEDSINCE 320162338) +FLAGS.SILENT \\Deleted")
        else {
            panic!("it is a STORE")
        };
        assert_eq!(unchanged_since, Some(320_162_338));
        let Some(Body::Search { key: SearchKey::And(all), .. }) =
            body("SEARCH OR NOT MODSEQ \"/flags/\\\\draft\" all 720162338 LARGER 50000 SEEN")
        else {
            panic!("it is a SEARCH")
        };
        assert_eq!(all.len(), 2);
    }

    #[test]
    fn what_the_grammar_does_not_have_is_refused() {
        for bad in [
            "SELECT INBOX ()",
            "SELECT INBOX (CONDSTORE CONDSTORE)",
            "SELECT INBOX (ODD)",
            "SELECT INBOX CONDSTORE",
            "SELECT INBOX (QRESYNC)",
            "SELECT INBOX (QRESYNC (0 1))",
            "SELECT INBOX (QRESYNC (1 0))",
            "SELECT INBOX (QRESYNC (1 1 1:*))",
            "SELECT INBOX (QRESYNC (1 1 $))",
            "SELECT INBOX (QRESYNC (1 1 (1)))",
            "SELECT INBOX (QRESYNC (1 1 () ()))",
            "SELECT INBOX (QRESYNC (1 1 1 (1 1) 1))",
            "FETCH 1 FLAGS (VANISHED)",
            "FETCH 1 FLAGS ()",
            "FETCH 1 FLAGS (CHANGEDSINCE 1 CHANGEDSINCE 2)",
            "FETCH 1 FLAGS (CHANGEDSINCE 9223372036854775808)",
            "STORE 1 () +FLAGS (a)",
            "STORE 1 (UNCHANGEDSINCE) +FLAGS (a)",
            "STORE 1 (UNCHANGEDSINCE 1)",
            "SEARCH MODSEQ",
            "SEARCH MODSEQ \"/flags/x\" 1",
            "SEARCH MODSEQ \"/flags/x\" mine 1",
            "SEARCH EMAILID a.b",
        ] {
            assert_eq!(body(bad), None, "{bad}");
        }
        assert!(ObjectId::new("x".repeat(OBJECT_ID_MAX)).is_some());
        assert!(ObjectId::new("x".repeat(OBJECT_ID_MAX + 1)).is_none());
        assert!(ObjectId::new("").is_none());
    }
}
