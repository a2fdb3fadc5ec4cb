//! What SEARCH and SORT answer: SEARCH, SORT and ESEARCH (RFC 4731, RFC 5267), and what SAVE keeps (RFC 5182).

use super::{
    command::{SearchKey, SearchReturn},
    response,
    types::{SequenceSet, Tag},
};
use std::fmt::Write as _;

/// `* SEARCH …` and `* SORT …`: the old form.
pub fn plain(out: &mut Vec<u8>, verb: &str, numbers: &[u32], modseq: Option<u64>) {
    out.extend_from_slice(format!("* {verb}").as_bytes());
    for n in numbers {
        out.push(b' ');
        response::number(out, u64::from(*n));
    }
    let modseq = modseq.map(|modseq| format!(" (MODSEQ {modseq})")).unwrap_or_default();
    response::line(out, format_args!("{modseq}"));
}

/// `esearch-response`; `numbers` in the order asked for.
pub fn esearch(
    out: &mut Vec<u8>,
    (tag, uid): (&Tag, bool),
    returns: &[SearchReturn],
    numbers: &[u32],
    modseq: Option<u64>,
) {
    let mut line = format!("* ESEARCH (TAG \"{tag}\"){}", if uid { " UID" } else { "" });
    let all = returns.is_empty() || returns.contains(&SearchReturn::All);
    if let (Some(min), Some(max)) = (numbers.first(), numbers.last()) {
        if returns.contains(&SearchReturn::Min) {
            let _ = write!(line, " MIN {min}");
        }
        if returns.contains(&SearchReturn::Max) {
            let _ = write!(line, " MAX {max}");
        }
        if let (true, Some(set)) = (all, SequenceSet::in_order(numbers)) {
            let _ = write!(line, " ALL {set}");
        }
    }
    if returns.contains(&SearchReturn::Count) {
        let _ = write!(line, " COUNT {}", numbers.len());
    }
    if let Some(modseq) = modseq {
        let _ = write!(line, " MODSEQ {modseq}");
    }
    response::line(out, format_args!("{line}"));
}

/// What SAVE keeps: everything, or only what MIN and MAX name (RFC 5182 §2.4): the first and the last of the order
/// (RFC 5267 §3).
pub fn saved(numbers: &[u32], returns: &[SearchReturn]) -> Vec<u32> {
    if returns.contains(&SearchReturn::All) || returns.contains(&SearchReturn::Count) {
        return numbers.to_vec();
    }
    let (min, max) = (returns.contains(&SearchReturn::Min), returns.contains(&SearchReturn::Max));
    if !min && !max {
        return numbers.to_vec();
    }
    let mut kept = Vec::new();
    kept.extend(numbers.first().filter(|_| min));
    kept.extend(numbers.last().filter(|_| max));
    kept.dedup();
    kept
}

/// Whether a key asks for MODSEQs (RFC 7162 §3.1.5).
pub fn asks_modseq(key: &SearchKey) -> bool {
    match key {
        SearchKey::ModSeq { .. } => true,
        SearchKey::And(all) => all.iter().any(asks_modseq),
        SearchKey::Or(a, b) => asks_modseq(a) || asks_modseq(b),
        SearchKey::Not(key) => asks_modseq(key),
        _ => false,
    }
}

/// The highest MODSEQ of what is told (numbers and their MODSEQs, in the order asked for), where a MODSEQ was asked for:
/// of all, or only of what MIN and MAX name (RFC 7162 §3.1.10).
pub fn highest_modseq(found: &[(u32, u64)], returns: &[SearchReturn], key: &SearchKey) -> Option<u64> {
    if !asks_modseq(key) {
        return None;
    }
    let (min, max) = (returns.contains(&SearchReturn::Min), returns.contains(&SearchReturn::Max));
    if !(min || max) || returns.contains(&SearchReturn::All) || returns.contains(&SearchReturn::Count) {
        return found.iter().map(|(_, modseq)| *modseq).max();
    }
    let ends = [found.first().filter(|_| min), found.last().filter(|_| max)];
    ends.into_iter().flatten().map(|(_, modseq)| *modseq).max()
}
