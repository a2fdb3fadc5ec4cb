//! The commands about messages of a selected mailbox.

use super::{
    script::{FLAGS, FlagBits, How, Item, Key, Set, WORDS},
    session::{Answer, Selected},
    truth::Message,
    world::{Checked, World, bits, list, must},
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

/// Numbers of a set such as `3:5,9`, in its order.
fn numbers(set: &str) -> Vec<u32> {
    let number = |text: &str| text.parse::<u32>().expect("a number");
    let ranges = set.split(',').map(|range| range.split_once(':').unwrap_or((range, range)));
    ranges.flat_map(|(low, high)| number(low)..=number(high)).collect()
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

    pub(super) async fn store(
        &mut self,
        who: usize,
        uid: bool,
        set: Set,
        how: How,
        silent: bool,
        flags: FlagBits,
    ) -> Checked {
        let target = self.target(who, set, uid);
        let flags = bits(flags);
        let command = format!(
            "{}STORE {} {}FLAGS{} {}",
            if uid { "UID " } else { "" },
            target.as_ref().map_or("1", |target| &target.set),
            match how {
                How::Replace => "",
                How::Add => "+",
                How::Remove => "-",
            },
            if silent { ".SILENT" } else { "" },
            list(&flags)
        );
        let answer = self.ask(who, &command).await?;
        let Some(target) = target else { return refused(&answer) };
        let after = |before: &super::truth::Flags| match how {
            How::Replace => flags.clone(),
            How::Add => before | &flags,
            How::Remove => before - &flags,
        };
        let done = Self::judge(&target, uid, &answer, !target.read_only)?;
        if done {
            for uid in &target.there {
                let message = &self.truth.mailboxes[&target.id].messages[uid];
                let flags = after(&message.flags);
                self.change(target.id, *uid, &flags);
            }
            if silent && let Some(selected) = &mut self.sessions[who].selected {
                // RFC 9051 §6.4.6: the client takes it that what it asked for is so.
                let told = selected.known.iter_mut().filter(|known| target.uids.contains(&known.uid));
                for known in told {
                    known.flags = known.flags.take().map(|flags| after(&flags));
                }
            }
        }
        let fetched = self.hear(who, &answer, !uid)?;
        if done && !silent {
            for uid in &target.there {
                let flags = &self.truth.mailboxes[&target.id].messages[uid].flags;
                let told = fetched.iter().rev().find(|f| f.uid == Some(*uid) && f.flags.is_some());
                must(told.is_some_and(|told| told.flags.as_ref() == Some(flags)), || {
                    format!("UID {uid} has {flags:?} now, which was not told")
                })?;
            }
        }
        Ok(())
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
                    let source = self.truth.mailboxes.get_mut(&target.id).ok_or("no mailbox")?;
                    let message = source.messages[&uid].clone();
                    if remove {
                        source.messages.remove(&uid);
                    }
                    let serial = self.truth.serial();
                    self.truth.insert(destination, new, Message { serial, ..message })?;
                }
            }
            (Some(_), _) => return Err("COPYUID, though it was refused".to_owned()),
            (None, _) => must(!answer.is_ok() || target.there.is_empty(), || "no COPYUID".to_owned())?,
        }
        self.hear(who, &answer, false).map(drop)
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
        let mailbox = self.truth.mailboxes.get_mut(&target.id);
        if target.read_only {
            must(!answer.is_ok(), || "it is open to read only".to_owned())?;
        } else if let Some(mailbox) = mailbox {
            must(answer.is_ok(), || "EXPUNGE was refused".to_owned())?;
            mailbox.messages.retain(|uid, message| {
                !message.flags.contains("\\deleted") || set.is_some() && !target.uids.contains(uid)
            });
        }
        self.hear(who, &answer, false).map(drop)
    }

    pub(super) async fn fetch(&mut self, who: usize, uid: bool, set: Set, item: Item) -> Checked {
        let target = self.target(who, set, uid);
        let words = match item {
            Item::Flags => "(UID FLAGS)",
            Item::Size => "RFC822.SIZE",
            Item::Peek => "BODY.PEEK[]",
            Item::Body => "(FLAGS BODY[])",
        };
        let set = target.as_ref().map_or("1", |target| &target.set);
        let answer = self.ask(who, &format!("{}FETCH {set} {words}", if uid { "UID " } else { "" })).await?;
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
        let fetched = self.hear(who, &answer, !uid)?;
        for uid in target.there.iter().filter(|_| done) {
            let message = &self.truth.mailboxes[&target.id].messages[uid];
            let told = fetched.iter().filter(|fetched| fetched.uid == Some(*uid)).any(|fetched| match item {
                Item::Flags => fetched.flags.is_some(),
                Item::Size => fetched.size == Some(message.text.len()),
                Item::Peek | Item::Body => fetched.body.as_ref() == Some(&message.text),
            });
            must(told, || format!("{words} of UID {uid} is missing or wrong"))?;
        }
        Ok(())
    }

    pub(super) async fn search(&mut self, who: usize, uid: bool, key: &Key) -> Checked {
        let selected = self.sessions[who].selected.clone();
        let words = written(key, selected.as_ref());
        let answer = self.ask(who, &format!("{}SEARCH {words}", if uid { "UID " } else { "" })).await?;
        let Some(selected) = selected else { return refused(&answer) };
        let there = self.truth.mailboxes.get(&selected.id);
        if !answer.is_ok() {
            let all_there =
                there.is_some_and(|m| selected.known.iter().all(|k| m.messages.contains_key(&k.uid)));
            return must(!all_there, || "SEARCH was refused".to_owned());
        }
        let found = answer.rest("SEARCH").ok_or("no SEARCH")?;
        let found: Vec<u32> =
            found.split_whitespace().map(|n| n.parse().map_err(|_| found)).collect::<Result<_, _>>()?;
        must(found.is_sorted_by(|a, b| a < b), || "numbers do not ascend".to_owned())?;
        for (at, known) in selected.known.iter().enumerate() {
            // What was removed may be found or not.
            let Some(message) = there.and_then(|mailbox| mailbox.messages.get(&known.uid)) else { continue };
            let number = if uid { known.uid } else { u32::try_from(at + 1).expect("few") };
            let is = found.contains(&number);
            let may = known.been.iter().any(|flags| {
                let message = Message { flags: flags.clone(), ..message.clone() };
                matches(key, known.uid, &message, &selected) == is
            });
            must(may, || format!("UID {} is {}found", known.uid, if is { "" } else { "not " }))?;
        }
        self.hear(who, &answer, !uid).map(drop)
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
        Key::Not(key) => format!("NOT ({})", inner(key)),
        Key::Or(a, b) => format!("OR ({}) ({})", inner(a), inner(b)),
        Key::And(a, b) => format!("({} {})", inner(a), inner(b)),
    }
}

fn matches(key: &Key, uid: u32, message: &Message, selected: &Selected) -> bool {
    let inner = |key: &Key| matches(key, uid, message, selected);
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
        Key::Not(key) => !inner(key),
        Key::Or(a, b) => inner(a) || inner(b),
        Key::And(a, b) => inner(a) && inner(b),
    }
}
