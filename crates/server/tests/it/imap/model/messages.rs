//! The commands about messages of a selected mailbox.

use super::{
    modseq::Aware,
    resync::is_told_gone,
    script::{FLAGS, How, Item, Key, Set, Since, WORDS},
    session::{Answer, Fetched, Rules, Selected, numbers},
    truth::{Flags, Mailbox, Message, State},
    world::{Checked, World, list, must},
};

/// What a command is about.
struct Target {
    id: u64,
    read_only: bool,
    /// The set as it is written.
    set: String,
    uids: Vec<u32>,
    /// Those that are there still; the others were removed, which the session may not have been told.
    there: Vec<u32>,
    /// The mailbox itself was removed.
    gone: bool,
}

impl Target {
    fn all_there(&self) -> bool {
        !self.gone && self.uids.len() == self.there.len()
    }
}

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
    /// `None`: nothing is selected, and the command must be refused.
    fn target(&self, who: usize, set: Set, uid: bool) -> Option<Target> {
        let selected = self.sessions[who].selected.as_ref()?;
        let (set, uids) = selected.resolve(set, uid);
        let mailbox = self.truth.mailboxes.get(&selected.id);
        let there =
            mailbox.map(|m| uids.iter().copied().filter(|uid| m.messages.contains_key(uid)).collect());
        Some(Target {
            id: selected.id,
            read_only: selected.read_only,
            set,
            uids,
            there: there.unwrap_or_default(),
            gone: mailbox.is_none(),
        })
    }

    /// Judges the tagged response of a command with a set. `true`: it must have had its effect.
    fn judge(target: &Target, uid: bool, answer: &Answer, allowed: bool) -> Result<bool, String> {
        if target.uids.is_empty() && !uid {
            must(!answer.is_ok(), || "there is no message of that number".to_owned())?;
            return Ok(false);
        }
        if !allowed {
            must(!answer.is_ok(), || "it must be refused".to_owned())?;
            return Ok(false);
        }
        // RFC 5530: EXPUNGEISSUED. Those that are there are served all the same.
        must(answer.is_ok() || !target.all_there(), || "it was refused".to_owned())?;
        must(!answer.tagged.starts_with("BAD"), || "no reason for BAD".to_owned())?;
        Ok(true)
    }

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
            let changed = self.changed_since(&target, guard)?;
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
            let last = fetched.iter().rev().filter(told).find(|f| f.flags.is_some());
            must(what.silent || last.is_some_and(|told| told.flags.as_ref() == Some(flags)), || {
                format!("UID {uid} has {flags:?} now, which was not told")
            })?;
            // RFC 7162 §3.1.3: even with .SILENT.
            must(!aware || fetched.iter().filter(told).any(|f| f.modseq.is_some()), || {
                format!("the MODSEQ of UID {uid} was not told")
            })?;
        }
        Ok(())
    }

    /// Which of the messages have a MODSEQ above one.
    fn changed_since(&self, target: &Target, since: u64) -> Result<Vec<u32>, String> {
        let mut changed = Vec::new();
        for uid in &target.there {
            let mailbox = &self.truth.mailboxes[&target.id];
            let modseq = mailbox.modseq(*uid, &mailbox.messages[uid].state());
            if modseq.ok_or("a MODSEQ that was never told")? > since {
                changed.push(*uid);
            }
        }
        Ok(changed)
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

    /// COPY and MOVE.
    pub(super) async fn copy(&mut self, who: usize, uid: bool, set: Set, to: &str, remove: bool) -> Checked {
        let target = self.target(who, set, uid);
        let command = format!(
            "{}{} {} {to}",
            if uid { "UID " } else { "" },
            if remove { "MOVE" } else { "COPY" },
            target.as_ref().map_or("1", |target| &target.set)
        );
        let answer = self.ask(who, &command).await?;
        let Some(target) = target else { return refused(&answer) };
        let destination = self.truth.names.get(to).copied();
        let allowed = destination.is_some() && !(remove && target.read_only);
        Self::judge(&target, uid, &answer, allowed)?;
        let code = answer.code("COPYUID");
        match (code, destination) {
            (Some(code), Some(destination)) if answer.is_ok() => {
                let validity = code[0].parse().map_err(|_| "no UIDVALIDITY")?;
                self.truth.told_validity(destination, validity)?;
                let (from, new) = (numbers(&code[1]), numbers(&code[2]));
                must(from == target.there && from.len() == new.len(), || {
                    format!("COPYUID tells {from:?} to {new:?}, and {:?} are there", target.there)
                })?;
                for (uid, new) in from.into_iter().zip(new) {
                    let tick = self.truth.tick;
                    let source = self.truth.mailboxes.get_mut(&target.id).ok_or("no mailbox")?;
                    let message = source.messages[&uid].clone();
                    if remove {
                        source.remove(tick, |other, _| other == uid);
                    }
                    let serial = self.truth.serial();
                    self.truth.insert(destination, new, Message { serial, ..message })?;
                }
            }
            (Some(_), _) => return Err("COPYUID, though it was refused".to_owned()),
            (None, _) => must(!answer.is_ok() || target.there.is_empty(), || "no COPYUID".to_owned())?,
        }
        self.hear(who, &answer, Rules::FREE).map(drop)
    }

    /// EXPUNGE and UID EXPUNGE.
    pub(super) async fn expunge(&mut self, who: usize, set: Option<Set>) -> Checked {
        let target = self.target(who, set.unwrap_or(Set::All), true);
        let command = match (&target, set) {
            (Some(target), Some(_)) => format!("UID EXPUNGE {}", target.set),
            (None, Some(_)) => "UID EXPUNGE 1".to_owned(),
            (_, None) => "EXPUNGE".to_owned(),
        };
        let answer = self.ask(who, &command).await?;
        let Some(target) = target else { return refused(&answer) };
        let tick = self.truth.tick;
        let mailbox = self.truth.mailboxes.get_mut(&target.id);
        if target.read_only {
            must(!answer.is_ok(), || "it is open to read only".to_owned())?;
        } else if let Some(mailbox) = mailbox {
            must(answer.is_ok(), || "EXPUNGE was refused".to_owned())?;
            mailbox.remove(tick, |uid, message| {
                message.flags.contains("\\deleted") && (set.is_none() || target.uids.contains(&uid))
            });
        }
        self.hear(who, &answer, Rules::FREE).map(drop)
    }

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
        for uid in target.there.iter().filter(|_| done) {
            let message = &self.truth.mailboxes[&target.id].messages[uid];
            let told = fetched.iter().filter(|fetched| fetched.uid == Some(*uid)).any(|fetched| match item {
                Item::Flags => fetched.flags.is_some(),
                Item::Modseq => fetched.flags.is_some() && fetched.modseq.is_some(),
                Item::Size => fetched.size == Some(message.text.len()),
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
            let asked = numbers(&target.set);
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

    pub(super) async fn search(&mut self, who: usize, uid: bool, key: &Key) -> Checked {
        let selected = self.sessions[who].selected.clone();
        let words = written(key, selected.as_ref());
        let answer = self.ask(who, &format!("{}SEARCH {words}", if uid { "UID " } else { "" })).await?;
        if asks_modseq(key) {
            self.sessions[who].speaks_of_modseqs(&answer);
        }
        let Some(selected) = selected else { return refused(&answer) };
        let there = self.truth.mailboxes.get(&selected.id);
        if !answer.is_ok() {
            let all_there =
                there.is_some_and(|m| selected.known.iter().all(|k| m.messages.contains_key(&k.uid)));
            return must(!all_there, || "SEARCH was refused".to_owned());
        }
        let found = answer.rest("SEARCH").ok_or("no SEARCH")?;
        let (found, highest) = found.split_once(" (MODSEQ ").map_or((found, None), |(a, b)| (a, Some(b)));
        let highest: Option<u64> = highest.and_then(|text| text.trim_end_matches(')').parse().ok());
        let found: Vec<u32> =
            found.split_whitespace().map(|n| n.parse().map_err(|_| found)).collect::<Result<_, _>>()?;
        must(found.is_sorted_by(|a, b| a < b), || "numbers do not ascend".to_owned())?;
        // RFC 7162 §3.1.5
        must(highest.is_some() == (asks_modseq(key) && !found.is_empty()), || "MODSEQ of SEARCH".to_owned())?;
        if let (Some(highest), Some(mailbox)) = (highest, there) {
            is_highest_found(highest, &found, uid, &selected, mailbox)?;
        }
        for (at, known) in selected.known.iter().enumerate() {
            // What was removed may be found or not.
            let Some(message) = there.and_then(|mailbox| mailbox.messages.get(&known.uid)) else { continue };
            let number = if uid { known.uid } else { u32::try_from(at + 1).expect("few") };
            let is = found.contains(&number);
            let may = known.been.iter().any(|state| {
                let message = Message { flags: state.flags.clone(), tick: state.tick, ..message.clone() };
                matches(key, known.uid, &message, &selected, there) == is
            });
            must(may, || format!("UID {} is {}found", known.uid, if is { "" } else { "not " }))?;
        }
        self.hear(who, &answer, Rules::of(uid)).map(drop)
    }
}

/// What a command must be told that needs a mailbox, where none is selected.
fn refused(answer: &Answer) -> Checked {
    must(answer.tagged.starts_with("BAD"), || "nothing is selected".to_owned())
}

/// A key on the wire.
fn written(key: &Key, selected: Option<&Selected>) -> String {
    let inner = |key: &Key| written(key, selected);
    match key {
        Key::All => "ALL".to_owned(),
        Key::Flag(flag, on) => match FLAGS[*flag].strip_prefix('\\') {
            Some(system) => format!("{}{system}", if *on { "" } else { "UN" }).to_ascii_uppercase(),
            None => format!("{}KEYWORD {}", if *on { "" } else { "UN" }, FLAGS[*flag]),
        },
        Key::Larger(n) => format!("LARGER {n}"),
        Key::Smaller(n) => format!("SMALLER {n}"),
        Key::Subject(word) => format!("SUBJECT {}", WORDS[*word].to_ascii_uppercase()),
        Key::Body(word) => format!("BODY {}", WORDS[*word]),
        Key::Text(word) => format!("TEXT \"{}\"", WORDS[*word]),
        Key::Uids(set) => format!("UID {}", selected.map_or("1".to_owned(), |s| s.resolve(*set, true).0)),
        Key::Modseq(since) => format!("MODSEQ {}", selected.map_or(1, |s| s.modseq(*since, 0))),
        Key::Not(key) => format!("NOT ({})", inner(key)),
        Key::Or(a, b) => format!("OR ({}) ({})", inner(a), inner(b)),
        Key::And(a, b) => format!("({} {})", inner(a), inner(b)),
    }
}

/// Whether a message has a MODSEQ above one as it is now.
fn above_now(mailbox: &Mailbox, uid: u32, since: u64) -> bool {
    let state = mailbox.messages.get(&uid).map(Message::state);
    state.and_then(|state| mailbox.modseq(uid, &state)).is_some_and(|modseq| modseq > since)
}

fn asks_modseq(key: &Key) -> bool {
    match key {
        Key::Modseq(_) => true,
        Key::Not(key) => asks_modseq(key),
        Key::Or(a, b) | Key::And(a, b) => asks_modseq(a) || asks_modseq(b),
        _ => false,
    }
}

/// MODSEQ of a SEARCH response: the highest of all that were found, as the session may know them.
fn is_highest_found(
    highest: u64,
    found: &[u32],
    uid: bool,
    selected: &Selected,
    mailbox: &Mailbox,
) -> Checked {
    let places = (1..).zip(&selected.known);
    let found = places.filter(|(place, known)| found.contains(if uid { &known.uid } else { place }));
    let states = found.map(|(_, known)| {
        known.been.iter().filter_map(|state| mailbox.modseq(known.uid, state)).collect::<Vec<_>>()
    });
    let states: Vec<Vec<u64>> = states.collect();
    let least = states.iter().filter_map(|all| all.iter().min()).max().copied().unwrap_or_default();
    let is_one = states.iter().any(|all| all.contains(&highest));
    must(highest >= least && is_one, || format!("{highest} is not the highest MODSEQ of {states:?}"))
}

fn matches(key: &Key, uid: u32, message: &Message, selected: &Selected, mailbox: Option<&Mailbox>) -> bool {
    let inner = |key: &Key| matches(key, uid, message, selected, mailbox);
    let (header, body) = message.text.split_once("\r\n\r\n").expect("a header");
    match key {
        Key::All => true,
        Key::Flag(flag, on) => message.flags.contains(FLAGS[*flag]) == *on,
        Key::Larger(n) => message.text.len() > usize::from(*n),
        Key::Smaller(n) => message.text.len() < usize::from(*n),
        Key::Subject(word) => header.contains(WORDS[*word]),
        Key::Body(word) => body.contains(WORDS[*word]),
        Key::Text(word) => message.text.contains(WORDS[*word]),
        Key::Uids(set) => selected.resolve(*set, true).1.contains(&uid),
        Key::Modseq(since) => {
            let modseq = mailbox.and_then(|mailbox| mailbox.modseq(uid, &message.state()));
            modseq.is_some_and(|modseq| modseq >= selected.modseq(*since, 0))
        }
        Key::Not(key) => !inner(key),
        Key::Or(a, b) => inner(a) || inner(b),
        Key::And(a, b) => inner(a) && inner(b),
    }
}
