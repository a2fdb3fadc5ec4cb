//! Inputs made by the rules of a language, not out of other inputs: whole sessions, nested lists, trees. Each rule goes
//! wrong now and then, in one place, so that what lies behind the right places is reached.

#![allow(
    clippy::format_push_string,
    clippy::format_collect,
    reason = "rules read best as the text they make"
)]

mod backup;
mod imap;
mod mime;
mod pop3;
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
        "pop3-command" | "pop3-server" => Some(pop3::session),
        "pop3-message" => Some(pop3::message),
        "imap-command" => Some(imap::commands),
        "imap-reply" | "bridge-server" => Some(imap::replies),
        "mime" | "header" => Some(mime::message),
        "protected" => Some(mime::protected),
        "backup" => Some(backup::recipe),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TARGETS, feedback};

    /// Inputs made by rule alone get a target to do all of these.
    fn reaches(target: &str, inputs: usize, deeds: &[&str]) {
        let run = TARGETS.iter().find(|(name, _)| *name == target).expect("a target").1;
        let make = of(target).expect("it has a grammar");
        let mut rng = Rng::new(1);
        feedback::swap(&mut feedback::Map::default());
        (0..inputs).for_each(|_| run(&make(&mut rng)));
        let missing: Vec<_> = deeds.iter().filter(|deed| !feedback::has(deed)).collect();
        assert!(missing.is_empty(), "{target} never gets to {missing:?}");
    }

    #[test]
    fn sessions_get_to_every_event_and_reply() {
        let events = [
            "STARTTLS",
            "Mail",
            "Mailbox",
            "message",
            "reset",
            "challenge",
            "credentials",
            "Asked",
            "keyring",
            "key",
            "enrol",
            "close",
        ];
        let codes = [
            "220", "221", "235", "250", "334", "354", "450", "452", "500", "501", "503", "504", "530", "535",
            "550", "552",
        ];
        reaches("smtp-server", 1_000, &[events.as_slice(), &codes].concat());
    }

    #[test]
    fn pop3_sessions_get_to_every_event() {
        let events = ["STLS", "challenge", "scram", "proved", "credentials", "message", "removal", "close"];
        let replies =
            ["+OK goodbye,", "-ERR [AUTH]", "-ERR too", "-ERR begin", "-ERR sign", "-ERR no", "+OK unique"];
        reaches("pop3-server", 600, &[events.as_slice(), &replies].concat());
        reaches("pop3-message", 200, &["enough", "surrogate"]);
    }

    #[test]
    fn backups_are_restored_and_refused_for_every_reason() {
        let deeds = [
            "restored",
            "it is no backup of Sealpost",
            "its list of sums names a file twice",
            "it holds files that are not in its list of sums",
            "it holds no database",
            "it holds a file twice",
            "it ends too early",
        ];
        reaches("backup", 120, &deeds.map(feedback::shape).each_ref().map(String::as_str));
    }

    #[test]
    fn payloads_get_to_every_verdict_behind_a_good_signature() {
        reaches("protected", 300, &["good", "wrapped by another", "not written to you"]);
    }

    #[test]
    fn commands_are_of_every_kind() {
        let kinds = [
            "credentials",
            "SELECT",
            "RENAME",
            "LIST",
            "STATUS",
            "FETCH",
            "SEARCH",
            "SORT",
            "THREAD",
            "NOTIFY",
            "STORE",
            "COPY",
            "MOVE",
            "ID",
            "UID",
        ];
        reaches("imap-command", 1_000, &kinds);
    }
}
