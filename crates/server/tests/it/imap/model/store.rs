//! STORE, with UNCHANGEDSINCE (RFC 7162 §3.1.3) and without.

use super::{
    messages::{Target, refused},
    modseq::Aware,
    script::{How, Set, Since},
    session::{Answer, Fetched, Rules, numbers},
    truth::Flags,
    world::{Checked, Way, World, list, must},
};

/// What STORE is to do.
pub(super) struct Store {
    pub(super) how: How,
    pub(super) silent: bool,
    pub(super) flags: Flags,
    pub(super) guard: Option<Since>,
}

impl Store {
    /// The flags of a message afterwards.
    fn after(&self, before: &Flags) -> Flags {
        match self.how {
            How::Replace => self.flags.clone(),
            How::Add => before | &self.flags,
            How::Remove => before - &self.flags,
        }
    }
}

impl World<'_> {
    pub(super) async fn store(&mut self, who: usize, uid: bool, set: Set, what: Store) -> Checked {
        let target = self.target(who, set, uid);
        let guard =
            what.guard.map(|since| self.sessions[who].selected.as_ref().map_or(1, |s| s.modseq(since, 0)));
        let command = format!(
            "{}STORE {}{} {}FLAGS{} {}",
            if uid { "UID " } else { "" },
            target.as_ref().map_or("1", |target| &target.set),
            guard.map(|guard| format!(" (UNCHANGEDSINCE {guard})")).unwrap_or_default(),
            match what.how {
                How::Replace => "",
                How::Add => "+",
                How::Remove => "-",
            },
            if what.silent { ".SILENT" } else { "" },
            list(&what.flags)
        );
        let answer = self.ask(who, &command).await?;
        if guard.is_some() {
            self.sessions[who].speaks_of_modseqs(&answer);
        }
        let Some(target) = target else { return refused(&answer) };
        let done = Self::judge(&target, uid, &answer, !target.read_only)?;
        let mut served = target.there.clone();
        if let (true, Some(guard)) = (done, guard) {
            let changed = self.changed_since(&target, guard);
            self.told_modified(who, uid, &target, &changed, &answer)?;
            served.retain(|uid| !changed.contains(uid));
        }
        if done {
            for uid in &served {
                let message = &self.truth.mailboxes[&target.id].messages[uid];
                let flags = what.after(&message.flags);
                self.change(target.id, *uid, &flags);
            }
            if what.silent
                && let Some(selected) = &mut self.sessions[who].selected
            {
                // RFC 9051 §6.4.6: the client takes it that what it asked for is so.
                let told = selected.known.iter_mut().filter(|known| served.contains(&known.uid));
                for known in told {
                    known.flags = known.flags.take().map(|flags| what.after(&flags));
                }
            }
        }
        let fetched = self.hear(who, &answer, Rules::of(uid))?;
        let aware = self.sessions[who].knows.modseqs == Aware::Yes;
        for uid in served.iter().filter(|_| done) {
            let flags = &self.truth.mailboxes[&target.id].messages[uid].flags;
            let told = |fetched: &&Fetched| fetched.uid == Some(*uid);
            let mut told_flags = fetched.iter().rev().filter(told).filter(|f| f.flags.is_some());
            // At the same time as others it may be told what came later as well.
            let is = |told: &Fetched| told.flags.as_ref() == Some(flags);
            let right = match self.way {
                Way::Live => told_flags.next().is_some_and(is),
                _ => told_flags.any(is),
            };
            must(what.silent || right, || format!("UID {uid} has {flags:?} now, which was not told"))?;
            // RFC 7162 §3.1.3: even with .SILENT.
            must(!aware || fetched.iter().filter(told).any(|f| f.modseq.is_some()), || {
                format!("the MODSEQ of UID {uid} was not told")
            })?;
        }
        Ok(())
    }

    /// Which of the messages have a MODSEQ above one.
    fn changed_since(&self, target: &Target, since: u64) -> Vec<u32> {
        let mut changed = Vec::new();
        for uid in &target.there {
            let mailbox = &self.truth.mailboxes[&target.id];
            // What changes at the same time has no value yet, and then one above all that were heard.
            let modseq = mailbox.modseq(*uid, &mailbox.messages[uid].state());
            if modseq.is_none_or(|modseq| modseq > since) {
                changed.push(*uid);
            }
        }
        changed
    }

    /// [MODIFIED]: those, in numbers or UIDs as the command had them; of messages that are gone nothing is asked.
    fn told_modified(
        &self,
        who: usize,
        uid: bool,
        target: &Target,
        changed: &[u32],
        answer: &Answer,
    ) -> Checked {
        let told = answer.code("MODIFIED").map(|code| numbers(&code[0])).unwrap_or_default();
        let known = self.sessions[who].selected.iter().flat_map(|selected| &selected.known);
        let places: Vec<u32> = known.map(|known| known.uid).collect();
        let told = told
            .into_iter()
            .map(|number| if uid { Some(number) } else { places.get(number as usize - 1).copied() });
        let mut told: Vec<u32> = told.collect::<Option<_>>().ok_or("MODIFIED of no message")?;
        told.retain(|uid| target.there.contains(uid));
        told.sort_unstable();
        must(told == changed, || format!("MODIFIED tells UIDs {told:?}, and {changed:?} have changed"))
    }
}
