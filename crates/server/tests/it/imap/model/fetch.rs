//! FETCH, with CHANGEDSINCE (RFC 7162 §3.1.4.1, §3.2.6) and without.

use super::{
    messages::{Target, refused},
    resync::is_told_gone,
    script::{Item, Set, Since},
    session::{Answer, Rules, numbers},
    truth::{Mailbox, Message, State},
    world::{Checked, Way, World, must},
};

impl World<'_> {
    pub(super) async fn fetch(
        &mut self,
        who: usize,
        uid: bool,
        set: Set,
        item: Item,
        since: Option<(Since, bool)>,
    ) -> Checked {
        let target = self.target(who, set, uid);
        let words = match item {
            Item::Flags => "(UID FLAGS)",
            Item::Modseq => "(MODSEQ FLAGS)",
            Item::Size => "RFC822.SIZE",
            Item::Dates => "(INTERNALDATE SAVEDATE)",
            Item::Peek => "BODY.PEEK[]",
            Item::Body => "(FLAGS BODY[])",
        };
        let set = target.as_ref().map_or("1", |target| &target.set);
        let selected = self.sessions[who].selected.as_ref();
        let since = since.map(|(since, vanished)| (selected.map_or(1, |s| s.modseq(since, 1)), vanished));
        let modifiers = match since {
            None => String::new(),
            Some((modseq, vanished)) => {
                format!(" (CHANGEDSINCE {modseq}{})", if vanished { " VANISHED" } else { "" })
            }
        };
        let command = format!("{}FETCH {set} {words}{modifiers}", if uid { "UID " } else { "" });
        let answer = self.ask(who, &command).await?;
        if matches!(item, Item::Modseq) || since.is_some() {
            self.sessions[who].speaks_of_modseqs(&answer);
        }
        if since.is_some_and(|(_, vanished)| vanished) && !(uid && self.sessions[who].knows.qresync) {
            // RFC 7162 §3.2.6.
            must(answer.tagged.starts_with("BAD"), || "VANISHED must be refused".to_owned())?;
            return self.hear(who, &answer, Rules::of(uid)).map(drop);
        }
        if let Some((modseq, vanished)) = since {
            let Some(target) = target else { return refused(&answer) };
            return self.fetch_since(who, uid, &target, item, &answer, (modseq, vanished));
        }
        let Some(target) = target else { return refused(&answer) };
        let done = Self::judge(&target, uid, &answer, true)?;
        if done && matches!(item, Item::Body) && !target.read_only {
            for uid in &target.there {
                let mut flags = self.truth.mailboxes[&target.id].messages[uid].flags.clone();
                if flags.insert("\\seen".to_owned()) {
                    self.change(target.id, *uid, &flags);
                }
            }
        }
        let fetched = self.hear(who, &answer, Rules { asked: true, ..Rules::of(uid) })?;
        for fetched in fetched.iter().filter(|_| matches!(self.way, Way::Live)) {
            if let (Some(uid), Some(saved)) = (fetched.uid, &fetched.saved) {
                self.truth.saved_at.entry((target.id, uid)).or_insert_with(|| saved.clone());
            }
        }
        for uid in target.there.iter().filter(|_| done) {
            let message = &self.truth.mailboxes[&target.id].messages[uid];
            let told = fetched.iter().filter(|fetched| fetched.uid == Some(*uid)).any(|fetched| match item {
                Item::Flags => fetched.flags.is_some(),
                Item::Modseq => fetched.flags.is_some() && fetched.modseq.is_some(),
                Item::Size => fetched.size == Some(message.text.len()),
                Item::Dates => {
                    let saved = self.truth.saved_at.get(&(target.id, *uid));
                    let stays = saved.is_none() || saved == fetched.saved.as_ref();
                    stays && fetched.saved.is_some() && fetched.arrived == Some(message.look.arrived())
                }
                Item::Peek | Item::Body => fetched.body.as_ref() == Some(&message.text),
            });
            must(told, || format!("{words} of UID {uid} is missing or wrong"))?;
        }
        Ok(())
    }

    /// The answer to FETCH with CHANGEDSINCE (RFC 7162 §3.1.4.1, §3.2.6).
    fn fetch_since(
        &mut self,
        who: usize,
        uid: bool,
        target: &Target,
        item: Item,
        answer: &Answer,
        (since, vanished): (u64, bool),
    ) -> Checked {
        let done = Self::judge(target, uid, answer, true)?;
        let selected = self.sessions[who].selected.clone().ok_or("nothing is selected")?;
        let mailbox = self.truth.mailboxes.get(&target.id);
        if done
            && vanished
            && let Some(mailbox) = mailbox
        {
            let asked = if target.set == "$" { target.uids.clone() } else { numbers(&target.set) };
            let since_then = |uid: &&u32| {
                let modseq = mailbox.gone.get(uid).and_then(|tick| mailbox.modseqs.at(*tick));
                modseq.is_some_and(|modseq| modseq > since)
            };
            let before: Vec<u32> = selected.gone.iter().filter(since_then).copied().collect();
            is_told_gone(mailbox, &before, answer, |uid| asked.contains(&uid))?;
        }
        // What each message may have been, and whether that is above.
        let above =
            |uid: u32, state: &State| mailbox.and_then(|m| m.modseq(uid, state)).map(|modseq| modseq > since);
        let mut expected = Vec::new();
        for known in selected.known.iter().filter(|known| done && target.there.contains(&known.uid)) {
            let above: Vec<bool> = known.been.iter().filter_map(|state| above(known.uid, state)).collect();
            let all = (above.iter().all(|above| *above), above.iter().any(|above| *above));
            match all {
                (true, _) => expected.push((known.uid, true)),
                // What has changed since may be told unasked.
                (_, false) if known.been.len() == 1 => expected.push((known.uid, false)),
                _ => {}
            }
        }
        // \Seen is set for those alone that are read.
        if done && matches!(item, Item::Body) && !target.read_only {
            for uid in &target.there {
                let message = &self.truth.mailboxes[&target.id].messages[uid];
                let mut flags = message.flags.clone();
                if above_now(&self.truth.mailboxes[&target.id], *uid, since)
                    && flags.insert("\\seen".to_owned())
                {
                    self.change(target.id, *uid, &flags);
                }
            }
        }
        let fetched = self.hear(who, answer, Rules { asked: true, ..Rules::of(uid) })?;
        for (uid, should) in expected {
            let mut told = fetched.iter().filter(|fetched| fetched.uid == Some(uid));
            let is = told.any(|fetched| fetched.modseq.is_some());
            must(is == should, || format!("UID {uid} is {}told", if is { "" } else { "not " }))?;
        }
        Ok(())
    }
}

/// Whether a message has a MODSEQ above one as it is now.
fn above_now(mailbox: &Mailbox, uid: u32, since: u64) -> bool {
    let state = mailbox.messages.get(&uid).map(Message::state);
    state.and_then(|state| mailbox.modseq(uid, &state)).is_some_and(|modseq| modseq > since)
}
