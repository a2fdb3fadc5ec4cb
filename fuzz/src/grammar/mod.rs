//! Inputs made by the rules of a language, not out of other inputs: whole sessions, nested lists, trees. Each rule goes
//! wrong now and then, in one place, so that what lies behind the right places is reached.

#![allow(
    clippy::format_push_string,
    clippy::format_collect,
    reason = "rules read best as the text they make"
)]

mod imap;
mod mime;
mod smtp;

use crate::Rng;

/// The grammar of a target, where it has one.
pub(crate) fn of(target: &str) -> Option<fn(&mut Rng) -> Vec<u8>> {
    match target {
        "smtp-server" => Some(smtp::session),
        "smtp-data" => Some(smtp::data),
        "smtp-bdat" => Some(smtp::body),
        "smtp-command" => Some(smtp::lines),
        "smtp-reply" | "smtp-client" | "transcript" => Some(smtp::replies),
        "imap-command" => Some(imap::commands),
        "imap-reply" => Some(imap::replies),
        "mime" | "header" => Some(mime::message),
        "protected" => Some(mime::protected),
        _ => None,
    }
}

/// One of these.
fn one<'a>(rng: &mut Rng, of: &[&'a str]) -> &'a str {
    rng.pick(of).copied().unwrap_or_default()
}

/// One time in `n`.
fn rarely(rng: &mut Rng, n: usize) -> bool {
    rng.below(n) == 0
}

/// The text with one octet of it changed, taken out or doubled, one time in `n`.
fn bent(rng: &mut Rng, n: usize, mut text: String) -> String {
    if !text.is_ascii() || text.is_empty() || !rarely(rng, n) {
        return text;
    }
    let at = rng.below(text.len());
    match rng.below(4) {
        0 => {
            text.remove(at);
        }
        1 => text.insert(at, one(rng, &["=", " ", "\"", "A", "\t", ":", "\0"]).chars().next().unwrap_or('x')),
        2 => text.truncate(at),
        _ => {
            let piece = text[at..].to_owned();
            text.push_str(&piece);
        }
    }
    text
}
