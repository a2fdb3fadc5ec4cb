//! Flags between the wire and the store.

use super::session::Refusal;
use sealpost_proto::imap::{Flag, response::Code};
use sealpost_store::mailbox::Flags;

/// System flags and their names.
pub(super) const SYSTEM: [(Flags, &str); 5] = [
    (Flags::ANSWERED, "\\Answered"),
    (Flags::FLAGGED, "\\Flagged"),
    (Flags::DELETED, "\\Deleted"),
    (Flags::SEEN, "\\Seen"),
    (Flags::DRAFT, "\\Draft"),
];
/// Most keywords in one STORE or APPEND, and the longest: people use a handful of short ones.
const KEYWORDS_MAX: usize = 100;
const KEYWORD_LEN_MAX: usize = 255;

/// Flags as the store takes them; system flags that are not ours are ignored (RFC 9051 §2.3.2).
pub(super) fn split_flags(flags: &[Flag]) -> Result<(Flags, Vec<String>), Refusal> {
    let mut bits = Flags::default();
    let mut keywords = Vec::new();
    for flag in flags {
        match flag {
            Flag::Seen => bits = bits.union(Flags::SEEN),
            Flag::Answered => bits = bits.union(Flags::ANSWERED),
            Flag::Flagged => bits = bits.union(Flags::FLAGGED),
            Flag::Deleted => bits = bits.union(Flags::DELETED),
            Flag::Draft => bits = bits.union(Flags::DRAFT),
            Flag::Keyword(word) if word.as_str().len() <= KEYWORD_LEN_MAX => {
                keywords.push(word.as_str().to_owned());
            }
            Flag::Keyword(_) => return Err(Refusal::no(Code::Limit, "this keyword is too long")),
            Flag::Extension(_) => {}
        }
    }
    if keywords.len() > KEYWORDS_MAX {
        return Err(Refusal::no(Code::Limit, "these are too many keywords"));
    }
    Ok((bits, keywords))
}

/// The flags of a mailbox: those of the system, and the keywords that it has.
pub(super) fn all_flags(keywords: &[String]) -> String {
    let system = SYSTEM.iter().map(|(_, name)| *name);
    system.chain(keywords.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
}

/// PERMANENTFLAGS of the same: where flags can be set, clients make up keywords as they like.
pub(super) fn permanent_flags(flags: &str, read_only: bool) -> Code {
    Code::PermanentFlags(if read_only { String::new() } else { format!("{flags} \\*") })
}

/// `flag-list`: `(\Seen $Forwarded)`. Written without formatting: a mailbox has many of them.
pub(super) fn write_flag_list(out: &mut Vec<u8>, flags: Flags, keywords: &[String]) {
    out.push(b'(');
    let system = SYSTEM.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, name)| *name);
    for (n, name) in system.chain(keywords.iter().map(String::as_str)).enumerate() {
        if n > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(name.as_bytes());
    }
    out.push(b')');
}
