//! What a client missed while a mailbox was not open: QRESYNC (RFC 7162 §3.2.5, §3.2.6).

use super::{
    script::Opening,
    session::{Answer, Fetched, numbers},
    truth::{Mailbox, Seen},
    world::{Checked, World, must},
};

/// What is asked for: all that came since a mailbox was as a client saw it.
pub(super) struct Missed {
    seen: Seen,
    /// The UIDs that were known then are told, ...
    tells_uids: bool,
    /// ... and some of them with their numbers.
    tells_numbers: bool,
}

impl World<'_> {
    /// `None` where nothing was seen before, or it is not asked.
    pub(super) fn missed(&self, name: &str, opening: Opening) -> Option<Missed> {
        let Opening::Resync(drawn) = opening else { return None };
        let all: Vec<&Seen> = self.truth.seen.iter().filter(|seen| seen.name == name).collect();
        // The higher bits choose from the last few.
        let last = all.len().checked_sub(1 + usize::from(drawn >> 2) % all.len().clamp(1, 8))?;
        let seen = all[last].clone();
        let known = !seen.uids.is_empty();
        Some(Missed { seen, tells_uids: known && drawn & 1 == 1, tells_numbers: known && drawn & 3 == 3 })
    }
}

impl Missed {
    pub(super) fn validity(&self) -> u32 {
        self.seen.validity
    }

    /// The parameter of SELECT.
    pub(super) fn params(&self) -> String {
        let list = |numbers: &[usize]| numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        let Seen { validity, modseq, uids, .. } = &self.seen;
        let uids: Vec<usize> = uids.iter().map(|uid| *uid as usize).collect();
        let known = if self.tells_uids { format!(" {}", list(&uids)) } else { String::new() };
        let matching = if self.tells_numbers {
            let places: Vec<usize> = (1..=uids.len()).collect();
            format!(" ({} {})", list(&places), list(&uids))
        } else {
            String::new()
        };
        // RFC 7162 §7: a mod-sequence-value is not 0.
        format!(" (QRESYNC ({validity} {}{known}{matching}))", (*modseq).max(1))
    }

    /// All that is gone is told, nothing that is there; and the flags of what has changed.
    pub(super) fn judge(&self, mailbox: &Mailbox, answer: &Answer, fetched: &[Fetched]) -> Checked {
        let known = |uid: u32| !self.tells_uids || self.seen.uids.contains(&uid);
        is_told_gone(mailbox, &self.seen.uids, answer, known)?;
        is_told_changed(mailbox, self.seen.modseq, fetched, known)
    }
}

/// VANISHED (EARLIER), of messages that a client knew before.
pub(super) fn is_told_gone(
    mailbox: &Mailbox,
    before: &[u32],
    answer: &Answer,
    asked: impl Fn(u32) -> bool,
) -> Checked {
    let earlier = |line: &&String| line.starts_with("* VANISHED (EARLIER) ");
    let first_fetch = answer.untagged.iter().position(|line| line.contains(" FETCH ("));
    let last_vanished = answer.untagged.iter().rposition(|line| earlier(&line));
    must(first_fetch.is_none() || last_vanished.is_none() || last_vanished < first_fetch, || {
        "VANISHED (EARLIER) comes after FETCH".to_owned()
    })?;
    let gone: Vec<u32> =
        answer.untagged.iter().filter(earlier).flat_map(|line| numbers(&line[21..])).collect();
    for uid in &gone {
        must(!mailbox.messages.contains_key(uid), || format!("UID {uid} is told to have vanished"))?;
        must(*uid < mailbox.next, || format!("UID {uid} has vanished before it was given"))?;
        must(asked(*uid), || format!("nobody asked whether UID {uid} has vanished"))?;
    }
    for uid in before.iter().filter(|uid| asked(**uid) && !mailbox.messages.contains_key(uid)) {
        must(gone.contains(uid), || format!("UID {uid} has vanished, which is not told"))?;
    }
    Ok(())
}

/// FETCH of all messages above a MODSEQ, and of no others.
pub(super) fn is_told_changed(
    mailbox: &Mailbox,
    since: u64,
    fetched: &[Fetched],
    asked: impl Fn(u32) -> bool,
) -> Checked {
    for (uid, message) in mailbox.messages.iter().filter(|(uid, _)| asked(**uid)) {
        let modseq = mailbox.modseq(*uid, &message.state()).ok_or("a MODSEQ that was never told")?;
        let told = fetched.iter().any(|fetched| {
            fetched.uid == Some(*uid)
                && fetched.flags.as_ref() == Some(&message.flags)
                && fetched.modseq == Some(modseq)
        });
        must(told == (modseq > since), || {
            format!("UID {uid} has MODSEQ {modseq}, and is {}told", if told { "" } else { "not " })
        })?;
    }
    Ok(())
}
