//! What became of a command when the connection to the home server was lost amid it. Most commands may be carried out anew
//! and leave the same behind. Of those that may not, enough is asked for before they are sent (`inquiry`) that it can be
//! told on the next connection whether they took place. They are told as done then, or carried out, so that nothing is
//! doubled by a mail program that tries again; what cannot be told ends the session.

use super::resume::Numbers;
use sealpost_proto::imap::{Body, ObjectId};
use std::{
    cmp::Ordering,
    collections::{HashMap, VecDeque},
    hash::Hash,
};

/// What is to be known of a command before it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Before {
    /// It may be carried out anew.
    Repeats,
    /// UNSELECT: a new connection has no mailbox open.
    Leaves,
    /// MOVE, of these messages: those that are gone were moved.
    Move(Vec<u32>),
    /// COPY: what came to the mailbox since it was so is looked at.
    Copy(Option<Status>),
    /// STORE UNCHANGEDSINCE: it took place nowhere if nothing was changed since.
    Store,
    /// CREATE, DELETE, RENAME: the UIDVALIDITY of the mailbox that is to come or go.
    Mailbox(Option<u32>),
    /// Nobody will know.
    Unknown,
}

/// What is known of a command afterwards.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum After {
    /// It took place: the reply, without its tag.
    Done(String),
    /// It did not, or may be carried out anew.
    Again,
    /// Nobody knows.
    Unclear,
}

/// What STATUS tells of a mailbox that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) uid_validity: u32,
    pub(super) uid_next: u32,
    /// MAILBOXID, where the server has such.
    pub(super) id: Option<ObjectId>,
}

/// What came to a mailbox.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrivals {
    /// Nothing.
    None,
    /// Messages whose UIDs begin here.
    From(u32),
    /// It is another mailbox now.
    Unclear,
}

/// What came to a mailbox between two looks. UIDs are given out in ascending order and never twice (RFC 9051 §2.3.1.1).
pub(super) fn arrivals(before: Option<&Status>, now: Option<&Status>) -> Arrivals {
    match (before, now) {
        (None, None) => Arrivals::None,
        (Some(before), Some(now)) if before.uid_validity == now.uid_validity => {
            match now.uid_next.cmp(&before.uid_next) {
                Ordering::Equal => Arrivals::None,
                Ordering::Greater => Arrivals::From(before.uid_next),
                Ordering::Less => Arrivals::Unclear,
            }
        }
        _ => Arrivals::Unclear,
    }
}

/// Whether messages arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// All, with these UIDs.
    Done(Vec<u32>),
    /// None.
    NotDone,
    /// Some, where it should be all or none (RFC 3502, RFC 9051 §6.4.7).
    Unclear,
}

/// Which of the messages that came are those which were `wanted`, by something that tells messages apart.
pub(super) fn find<K: Eq + Hash>(wanted: &[K], came: Vec<(u32, K)>) -> Fate {
    let mut by_key: HashMap<K, VecDeque<u32>> = HashMap::new();
    for (uid, key) in came {
        by_key.entry(key).or_default().push_back(uid);
    }
    let found: Vec<u32> =
        wanted.iter().filter_map(|key| by_key.get_mut(key).and_then(VecDeque::pop_front)).collect();
    match found.len() {
        0 => Fate::NotDone,
        n if n == wanted.len() => Fate::Done(found),
        _ => Fate::Unclear,
    }
}

/// Whether CREATE, DELETE or RENAME took place, by the UIDVALIDITY of the mailbox that was to come or go.
pub(super) fn came_or_went(body: &Body, before: Option<u32>, now: Option<u32>) -> bool {
    match body {
        Body::Create { .. } | Body::Rename { .. } => before.is_none() && now.is_some(),
        Body::Delete(_) => before.is_some() && now != before,
        _ => false,
    }
}

/// Whether message numbers may change while a command is carried out.
pub(super) fn numbers(body: &Body) -> Numbers {
    match body {
        Body::Expunge { .. } | Body::Copy { remove: true, .. } => Numbers::MayShift,
        Body::Close => Numbers::Unheeded,
        _ => Numbers::Same,
    }
}

/// Whether a command may be carried out a second time: it changes nothing, or leaves the same behind.
pub(super) fn may_be_repeated(body: &Body) -> bool {
    match body {
        Body::Capability
        | Body::Noop
        | Body::Check
        | Body::Close
        | Body::Enable(_)
        | Body::Id(_)
        | Body::Select { .. }
        | Body::List(_)
        | Body::Lsub { .. }
        | Body::Namespace
        | Body::Status { .. }
        | Body::Search { .. }
        | Body::Sort { .. }
        | Body::Thread { .. }
        | Body::Fetch { .. }
        | Body::GetQuota(_)
        | Body::GetQuotaRoot(_)
        | Body::GetMetadata(_)
        | Body::SetMetadata(_)
        | Body::Subscribe { .. }
        | Body::Expunge { .. }
        | Body::Notify(_)
        | Body::Idle => true,
        // A condition may not hold the second time because it was met the first.
        Body::Store { unchanged_since, .. } => unchanged_since.is_none(),
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use sealpost_proto::imap::{Names, parse};

    fn body(text: &str) -> Body {
        parse::command(format!("a {text}\r\n").as_bytes(), Names::Utf7).unwrap().body
    }

    #[test]
    fn what_came_is_what_has_new_uids() {
        let at = |uid_validity, uid_next| Some(Status { uid_validity, uid_next, id: None });
        for (before, now, came) in [
            (None, None, Arrivals::None),
            (at(7, 5), at(7, 5), Arrivals::None),
            (at(7, 5), at(7, 9), Arrivals::From(5)),
            (at(7, 5), at(7, 4), Arrivals::Unclear),
            (at(7, 5), at(8, 5), Arrivals::Unclear),
            (None, at(7, 2), Arrivals::Unclear),
            (at(7, 5), None, Arrivals::Unclear),
        ] {
            assert_eq!(arrivals(before.as_ref(), now.as_ref()), came, "{before:?} {now:?}");
        }
    }

    #[test]
    fn messages_are_found_all_or_none() {
        for (wanted, came, fate) in [
            ("ab", &[(5, 'a'), (6, 'b')][..], Fate::Done(vec![5, 6])),
            ("ab", &[(5, 'x'), (6, 'b'), (7, 'a')], Fate::Done(vec![7, 6])),
            // Twice the same are two.
            ("aa", &[(5, 'a'), (6, 'a'), (7, 'a')], Fate::Done(vec![5, 6])),
            ("aa", &[(5, 'a')], Fate::Unclear),
            ("ab", &[(5, 'a')], Fate::Unclear),
            ("ab", &[(5, 'x')], Fate::NotDone),
            ("ab", &[], Fate::NotDone),
            ("", &[(5, 'x')], Fate::NotDone),
        ] {
            let wanted: Vec<char> = wanted.chars().collect();
            assert_eq!(find(&wanted, came.to_vec()), fate, "{wanted:?} {came:?}");
        }
    }

    #[test]
    fn a_mailbox_came_or_went() {
        for (text, before, now, done) in [
            ("CREATE x", None, None, false),
            ("CREATE x", None, Some(7), true),
            // It was refused, and is again.
            ("CREATE x", Some(7), Some(7), false),
            ("RENAME x y", None, Some(7), true),
            ("RENAME x y", None, None, false),
            ("RENAME x y", Some(7), Some(7), false),
            ("DELETE x", Some(7), None, true),
            ("DELETE x", Some(7), Some(7), false),
            // Somebody made another.
            ("DELETE x", Some(7), Some(8), true),
            ("DELETE x", None, None, false),
            ("NOOP", None, Some(7), false),
        ] {
            assert_eq!(came_or_went(&body(text), before, now), done, "{text} {before:?} {now:?}");
        }
    }

    #[test]
    fn which_commands_may_be_repeated() {
        for (text, repeats, seen) in [
            ("NOOP", true, Numbers::Same),
            ("STORE 1 +FLAGS (\\Seen)", true, Numbers::Same),
            ("STORE 1 (UNCHANGEDSINCE 5) +FLAGS (\\Seen)", false, Numbers::Same),
            ("COPY 1 x", false, Numbers::Same),
            ("UID MOVE 1 x", false, Numbers::MayShift),
            ("EXPUNGE", true, Numbers::MayShift),
            ("UID EXPUNGE 1", true, Numbers::MayShift),
            ("CLOSE", true, Numbers::Unheeded),
            ("UNSELECT", false, Numbers::Same),
            ("CREATE x", false, Numbers::Same),
            ("LOGOUT", false, Numbers::Same),
        ] {
            assert_eq!((may_be_repeated(&body(text)), numbers(&body(text))), (repeats, seen), "{text}");
        }
    }
}
