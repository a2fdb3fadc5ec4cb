//! SEARCH: which messages a key means.

use super::{
    content::HOUR,
    messages::refused,
    script::{FLAGS, Key, WORDS, asks_modseq},
    session::{Answer, Rules, Selected, numbers},
    truth::{Mailbox, Message},
    world::{Checked, Way, World, must},
};

impl World<'_> {
    /// `saves`: with RETURN (SAVE ALL).
    pub(super) async fn search(&mut self, who: usize, uid: bool, saves: bool, key: &Key) -> Checked {
        let selected = self.sessions[who].selected.clone();
        let words = written(key, selected.as_ref());
        let verb = if uid { "UID SEARCH" } else { "SEARCH" };
        let returns = if saves { " RETURN (SAVE ALL)" } else { "" };
        // RFC 3501 §6.4.4: without it, strings are in US-ASCII.
        let charset = if words.is_ascii() { "" } else { " CHARSET UTF-8" };
        let answer = self.ask(who, &format!("{verb}{returns}{charset} {words}")).await?;
        self.asked_modseq(who, key, &answer);
        let Some(selected) = selected else { return refused(&answer) };
        if !answer.is_ok() {
            self.may_fail(&selected)?;
            // RFC 5182 §2.1
            self.save(who, saves, Vec::new());
            return self.hear(who, &answer, Rules::of(uid)).map(drop);
        }
        let (found, highest) = if saves { esearch(&answer)? } else { plain(&answer, "SEARCH")? };
        must(found.is_sorted_by(|a, b| a < b), || "numbers do not ascend".to_owned())?;
        // RFC 7162 §3.1.5
        must(highest.is_some() == (asks_modseq(key) && !found.is_empty()), || "MODSEQ of SEARCH".to_owned())?;
        self.is_found(&selected, uid, key, (&found, highest))?;
        let mut uids = found;
        if !uid {
            let of = |number: &u32| Some(selected.known.get(number.checked_sub(1)? as usize)?.uid);
            uids = uids.iter().map(of).collect::<Option<_>>().ok_or("a number that there is not")?;
        }
        // Beside others a session may have been told of more by now.
        let known = |uid: &u32| selected.known.iter().any(|known| known.uid == *uid);
        must(matches!(self.way, Way::Replay { .. }) || uids.iter().all(known), || {
            format!("{uids:?} were found, of which the client does not know all")
        })?;
        self.save(who, saves, uids);
        self.hear(who, &answer, Rules::of(uid)).map(drop)
    }

    pub(super) fn asked_modseq(&mut self, who: usize, key: &Key, answer: &Answer) {
        if asks_modseq(key) {
            self.sessions[who].speaks_of_modseqs(answer);
        }
    }

    /// SEARCH, SORT and THREAD are refused at most where something is gone.
    pub(super) fn may_fail(&self, selected: &Selected) -> Checked {
        let there = self.truth.mailboxes.get(&selected.id);
        let all_there = there.is_some_and(|m| selected.known.iter().all(|k| m.messages.contains_key(&k.uid)));
        must(!all_there, || "it was refused".to_owned())
    }

    /// Whether those were found that the key means, in one of the states that they have been in.
    pub(super) fn is_found(
        &self,
        selected: &Selected,
        uid: bool,
        key: &Key,
        (found, highest): (&[u32], Option<u64>),
    ) -> Checked {
        let there = self.truth.mailboxes.get(&selected.id);
        if let (Some(highest), Some(mailbox)) = (highest, there) {
            is_highest_found(highest, found, uid, selected, mailbox)?;
        }
        for (at, known) in selected.known.iter().enumerate() {
            // What was removed may be found or not.
            let Some(message) = there.and_then(|mailbox| mailbox.messages.get(&known.uid)) else { continue };
            let number = if uid { known.uid } else { u32::try_from(at + 1).expect("few") };
            let is = found.contains(&number);
            let may = known.been.iter().any(|state| {
                let message = Message { flags: state.flags.clone(), tick: state.tick, ..message.clone() };
                matches(key, known.uid, &message, selected, there) == is
            });
            must(may, || format!("UID {} is {}found", known.uid, if is { "" } else { "not " }))?;
        }
        Ok(())
    }

    /// What `$` means from now on (RFC 5182).
    fn save(&mut self, who: usize, saves: bool, uids: Vec<u32>) {
        if let (true, Some(selected)) = (saves, &mut self.sessions[who].selected) {
            selected.saved = uids;
        }
    }
}

/// What was found, and the highest MODSEQ of it where that is told.
type Found = (Vec<u32>, Option<u64>);

/// `SEARCH 1 2 (MODSEQ 3)`, or SORT.
pub(super) fn plain(answer: &Answer, name: &str) -> Result<Found, String> {
    let found = answer.rest(name).ok_or_else(|| format!("no {name}"))?;
    let (found, highest) = found.split_once(" (MODSEQ ").map_or((found, None), |(a, b)| (a, Some(b)));
    let highest = highest.and_then(|text| text.trim_end_matches(')').parse().ok());
    let found = found.split_whitespace().map(|n| n.parse().map_err(|_| found.to_owned()));
    Ok((found.collect::<Result<_, _>>()?, highest))
}

/// `ESEARCH (TAG "a") UID ALL 1:2 MODSEQ 3` (RFC 4731, RFC 7162 §3.1.10)
fn esearch(answer: &Answer) -> Result<Found, String> {
    let words: Vec<&str> = answer.rest("ESEARCH (TAG ").ok_or("no ESEARCH")?.split(' ').collect();
    let value = |name: &str| Some(words[words.iter().position(|word| *word == name)? + 1]);
    let found = value("ALL").map(numbers).unwrap_or_default();
    Ok((found, value("MODSEQ").and_then(|modseq| modseq.parse().ok())))
}

/// A word as a string: what is not ASCII needs a literal.
fn string(word: &str) -> String {
    if word.is_ascii() { format!("\"{word}\"") } else { format!("{{{}+}}\r\n{word}", word.len()) }
}

/// A key on the wire.
pub(super) fn written(key: &Key, selected: Option<&Selected>) -> String {
    let inner = |key: &Key| written(key, selected);
    match key {
        Key::All => "ALL".to_owned(),
        Key::Flag(flag, on) => match FLAGS[*flag].strip_prefix('\\') {
            Some(system) => format!("{}{system}", if *on { "" } else { "UN" }).to_ascii_uppercase(),
            None => format!("{}KEYWORD {}", if *on { "" } else { "UN" }, FLAGS[*flag]),
        },
        Key::Larger(n) => format!("LARGER {n}"),
        Key::Smaller(n) => format!("SMALLER {n}"),
        Key::Subject(word) => format!("SUBJECT {}", string(&WORDS[*word].to_uppercase())),
        Key::Body(word) => format!("BODY {}", string(WORDS[*word])),
        Key::Text(word) => format!("TEXT {}", string(&WORDS[*word].to_lowercase())),
        Key::Uids(set) => format!("UID {}", selected.map_or("1".to_owned(), |s| s.resolve(*set, true).0)),
        Key::Modseq(since) => format!("MODSEQ {}", selected.map_or(1, |s| s.modseq(*since, 0))),
        Key::From(sender) => {
            format!("FROM {}", string(["ann@", "BERT@example", "zoe"][*sender]))
        }
        Key::Came(side, day) => {
            let verb = ["BEFORE", "ON", "SINCE"][usize::try_from(side + 1).expect("-1, 0 or 1")];
            format!("{verb} {day}-Nov-2026")
        }
        Key::Younger(true, hours) => format!("YOUNGER {}", u64::from(*hours) * HOUR + HOUR / 2),
        Key::Younger(false, hours) => format!("OLDER {}", u64::from(*hours) * HOUR + HOUR / 2),
        Key::SavedSince(true) => "SAVEDSINCE 1-Jan-2020".to_owned(),
        Key::SavedSince(false) => "SAVEDBEFORE 1-Jan-2020".to_owned(),
        Key::Not(key) => format!("NOT ({})", inner(key)),
        Key::Or(a, b) => format!("OR ({}) ({})", inner(a), inner(b)),
        Key::And(a, b) => format!("({} {})", inner(a), inner(b)),
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
    let look = &message.look;
    let has = |text: &str, word: usize| text.to_lowercase().contains(&WORDS[word].to_lowercase());
    match key {
        Key::All => true,
        Key::Flag(flag, on) => message.flags.contains(FLAGS[*flag]) == *on,
        Key::Larger(n) => message.text.len() > usize::from(*n),
        Key::Smaller(n) => message.text.len() < usize::from(*n),
        Key::Subject(word) => has(&look.subject, *word),
        Key::Body(word) => has(&look.body, *word),
        Key::Text(word) => has(&look.subject, *word) || has(&look.body, *word),
        Key::From(sender) => look.sender == *sender,
        Key::Came(side, day) => {
            look.day().cmp(&u64::from(*day)) as i8 == *side || *side == 1 && look.day() == u64::from(*day)
        }
        Key::Younger(younger, hours) => (look.age <= u64::from(*hours)) == *younger,
        Key::SavedSince(since) => *since,
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
