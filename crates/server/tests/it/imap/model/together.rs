//! Commands of several sessions in flight at the same time, some of them one behind the other in one session.
//!
//! What comes of them must be what one order of the whole commands gives, in which those of one session keep theirs: each
//! order is tried on the model with the answers that were given, and with what another session finds afterwards. Only
//! what a session is told of the changes of others may be later than its command.

use super::{
    script::{Act, Step},
    session::{Answer, Fetched, Knows, Rules, Selected},
    truth::{Flags, State, Truth},
    world::{Checked, Way, World, must},
};
use std::{collections::BTreeMap, fmt::Write as _};

/// Numbers that one command may use up.
const NUMBERS: u64 = 10_000;

/// A command that was sent, and its answer.
struct Sent {
    step: Step,
    command: String,
    answer: Answer,
    /// From where numbers are given while it is done.
    number: u64,
}

/// A mailbox as the observer finds it.
struct Found {
    opened: Answer,
    messages: Vec<(u32, Flags, u64)>,
}

/// What one order of the commands changes.
struct Saved {
    truth: Truth,
    sessions: Vec<(Option<Selected>, Knows)>,
}

/// All orders in which the commands of each session keep theirs.
fn orders(whose: &[usize]) -> Vec<Vec<usize>> {
    let mut all = Vec::new();
    extend(whose, &mut Vec::new(), &mut all);
    all
}

fn extend(whose: &[usize], order: &mut Vec<usize>, all: &mut Vec<Vec<usize>>) {
    if order.len() == whose.len() {
        all.push(order.clone());
    }
    for next in 0..whose.len() {
        let earlier = (0..next).any(|other| whose[other] == whose[next] && !order.contains(&other));
        if !order.contains(&next) && !earlier {
            order.push(next);
            extend(whose, order, all);
            order.pop();
        }
    }
}

/// Behind another command of its session a command has UIDs: numbers could shift under it (RFC 9051 §5.5).
fn by_uid(act: &mut Act) {
    match act {
        Act::Store { uid, .. }
        | Act::Copy { uid, .. }
        | Act::Fetch { uid, .. }
        | Act::Search { uid, .. }
        | Act::Replace { uid, .. } => *uid = true,
        _ => {}
    }
}

impl World<'_> {
    pub(super) async fn together(&mut self, steps: &[Step]) -> Checked {
        self.earlier = Some(self.truth.written.len());
        let done = self.all_at_once(steps).await;
        self.earlier = None;
        done
    }

    async fn all_at_once(&mut self, steps: &[Step]) -> Checked {
        let Some(mut sent) = self.draft(steps).await? else { return Ok(()) };
        self.said.push_str("at the same time:\n");
        self.tally.commands += sent.len() as u64;
        self.tally.beside += sent.len() as u64;
        for step in &sent {
            let _ = writeln!(self.said, "{}: {}", step.step.who, step.command.escape_debug());
        }
        for who in 0..self.sessions.len() {
            let own = sent.iter().filter(|sent| sent.step.who == who).map(|sent| sent.command.as_str());
            self.sessions[who].send(&own.collect::<Vec<_>>()).await;
        }
        for who in 0..self.sessions.len() {
            for sent in sent.iter_mut().filter(|sent| sent.step.who == who) {
                sent.answer = self.sessions[who].answer(&sent.command).await?;
                let _ = writeln!(self.said, "   {who}: {}", sent.command.escape_debug());
                for line in sent.answer.untagged.iter().chain([&sent.answer.tagged]) {
                    let _ = writeln!(self.said, "      {}", line.escape_debug());
                }
            }
        }
        let found = self.find_all().await?;
        let before = self.state();
        let whose: Vec<usize> = sent.iter().map(|sent| sent.step.who).collect();
        let mut faults = String::new();
        for order in orders(&whose) {
            match self.in_order(&sent, &order, &found).await {
                Ok(()) => {
                    self.truth.skip(sent.last().map_or(0, |sent| sent.number + NUMBERS));
                    return self.catch_up().await;
                }
                Err(fault) => {
                    let order: Vec<usize> = order.iter().map(|at| at + 1).collect();
                    let _ = write!(faults, "\n  {order:?}: {fault}");
                }
            }
            self.restore(&before);
        }
        Err(format!("no order of the commands explains the answers:{faults}"))
    }

    /// The commands as they are sent. `None` where one of them cannot be sent now.
    async fn draft(&mut self, steps: &[Step]) -> Result<Option<Vec<Sent>>, String> {
        let before = self.state();
        let mut drafts: Vec<Sent> = Vec::new();
        for step in steps {
            let mut step = step.clone();
            // What a session says once it has closed its mailbox shows nothing more.
            let closes = |act: &Act| matches!(act, Act::Close | Act::Unselect);
            if drafts.iter().any(|earlier| earlier.step.who == step.who && closes(&earlier.step.act)) {
                continue;
            }
            if drafts.iter().any(|earlier| earlier.step.who == step.who) {
                by_uid(&mut step.act);
            }
            let number = self.truth.last() + NUMBERS * drafts.len() as u64;
            self.truth.skip(number);
            self.way = Way::Draft(None);
            let done = self.act(&step).await;
            let Way::Draft(command) = std::mem::replace(&mut self.way, Way::Live) else {
                return Err("no draft".to_owned());
            };
            self.restore(&before);
            // Without a command there is nothing to be done.
            let Some(command) = command else { return done.map(|()| None) };
            let answer = Answer { untagged: Vec::new(), tagged: String::new() };
            drafts.push(Sent { step, command, answer, number });
        }
        Ok(Some(drafts))
    }

    fn state(&self) -> Saved {
        let sessions = self.sessions.iter().map(|session| (session.selected.clone(), session.knows));
        Saved { truth: self.truth.clone(), sessions: sessions.collect() }
    }

    fn restore(&mut self, saved: &Saved) {
        self.truth.clone_from(&saved.truth);
        for (session, (selected, knows)) in self.sessions.iter_mut().zip(&saved.sessions) {
            session.selected.clone_from(selected);
            session.knows = *knows;
        }
    }

    /// The commands one after the other, on the model alone.
    async fn in_order(&mut self, sent: &[Sent], order: &[usize], found: &BTreeMap<String, Found>) -> Checked {
        let mut heard = Vec::new();
        for at in order {
            let Sent { step, command, answer, number } = &sent[*at];
            self.truth.tick += 1;
            self.truth.skip(*number);
            self.way = Way::Replay { command: command.clone(), answer: answer.clone(), rules: None };
            let done = self.act(step).await;
            let Way::Replay { rules, .. } = std::mem::replace(&mut self.way, Way::Live) else {
                return Err("no replay".to_owned());
            };
            done?;
            heard.push((step.who, answer, rules.unwrap_or(Rules::FREE)));
        }
        self.agrees(found)?;
        // By now the sessions know all that they could be told of.
        let mut counts: Vec<usize> =
            self.sessions.iter().map(|s| s.selected.as_ref().map_or(0, |s| s.known.len())).collect();
        for (who, answer, rules) in heard {
            self.hear_late(who, answer, rules, &mut counts[who])?;
        }
        for (session, count) in self.sessions.iter_mut().zip(counts) {
            if let Some(selected) = &mut session.selected {
                selected.count = count;
            }
        }
        Ok(())
    }

    /// Untagged responses, which may be of any time: how many messages there are must be told without a gap, and flags
    /// must be such as have been.
    fn hear_late(&self, who: usize, answer: &Answer, rules: Rules, count: &mut usize) -> Checked {
        let session = &self.sessions[who];
        let Some(selected) = &session.selected else { return Ok(()) };
        let mailbox = self.truth.mailboxes.get(&selected.id);
        for line in &answer.untagged {
            if let Some(set) = line.strip_prefix("* VANISHED ")
                && !set.starts_with("(EARLIER)")
            {
                must(session.knows.qresync && !rules.uids_stay, || "VANISHED now".to_owned())?;
                let gone = super::session::numbers(set);
                let there = |uid: &u32| mailbox.is_some_and(|m| m.messages.contains_key(uid));
                must(!gone.iter().any(there), || format!("{line}, and one is there"))?;
                *count = count.checked_sub(gone.len()).ok_or("more VANISHED than there were")?;
                continue;
            }
            let mut words = line.split(' ').skip(1);
            let (number, verb) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let number = || number.parse::<usize>().map_err(|_| format!("no number: {line}"));
            match verb {
                "EXPUNGE" => {
                    must(!rules.numbers_stay && !session.knows.qresync, || "EXPUNGE now".to_owned())?;
                    must((1..=*count).contains(&number()?), || format!("{line}, of {count}"))?;
                    *count -= 1;
                }
                "EXISTS" => {
                    must(number()? >= *count, || format!("{line}, and there were {count}"))?;
                    *count = number()?;
                }
                "FETCH" => {
                    must((1..=*count).contains(&number()?), || format!("{line}, of {count}"))?;
                    let fetched = Fetched::parse(line);
                    let known = selected.known.iter().find(|known| Some(known.uid) == fetched.uid);
                    let been: Option<Vec<State>> = known.map(|known| known.been.clone());
                    if let (Some(flags), Some(been)) = (fetched.flags, been) {
                        must(been.iter().any(|state| state.flags == flags), || {
                            format!("{line}, which never was so, but {been:?}")
                        })?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Everything, by the observer.
    async fn find_all(&mut self) -> Result<BTreeMap<String, Found>, String> {
        let answer = self.observer.ask("LIST \"\" *").await?;
        let mut all = BTreeMap::new();
        for name in super::folders::listed(&answer, "LIST") {
            let opened = self.observer.ask(&format!("EXAMINE {name}")).await?;
            let answer = self.observer.ask("UID FETCH 1:* (FLAGS MODSEQ)").await?;
            let mut messages = Vec::new();
            for line in answer.untagged.iter().filter(|line| line.contains(" FETCH (")) {
                let fetched = Fetched::parse(line);
                let (Some(uid), Some(flags), Some(modseq)) = (fetched.uid, fetched.flags, fetched.modseq)
                else {
                    return Err(format!("something is missing in {line}"));
                };
                messages.push((uid, flags, modseq));
            }
            all.insert(name, Found { opened, messages });
        }
        Ok(all)
    }

    /// Whether the model came to what the observer found.
    fn agrees(&mut self, found: &BTreeMap<String, Found>) -> Checked {
        must(self.truth.names.keys().eq(found.keys()), || {
            format!("there are {:?}, and there should be {:?}", found.keys(), self.truth.names.keys())
        })?;
        for (name, Found { opened, messages }) in found {
            let id = self.truth.names[name];
            self.told_of(id, opened)?;
            let mailbox = self.truth.mailboxes.get_mut(&id).ok_or("no mailbox")?;
            let is: Vec<_> = messages.iter().map(|(uid, flags, _)| (uid, flags)).collect();
            let should: Vec<_> = mailbox.messages.iter().map(|(uid, m)| (uid, &m.flags)).collect();
            must(is == should, || format!("{name} has {is:?}, and should have {should:?}"))?;
            for (uid, _, modseq) in messages {
                let tick = mailbox.messages[uid].tick;
                mailbox.modseqs.tell(*uid, tick, *modseq)?;
            }
        }
        Ok(())
    }

    /// Sessions hear what is left to hear, and look at all that they have.
    async fn catch_up(&mut self) -> Checked {
        for who in 0..self.sessions.len() {
            let Some(selected) = self.sessions[who].selected.clone() else { continue };
            let answer = self.ask(who, "NOOP").await?;
            must(answer.is_ok(), || "NOOP was refused".to_owned())?;
            let mut count = selected.count;
            self.hear_late(who, &answer, Rules::FREE, &mut count)?;
            let answer = self.ask(who, "UID FETCH 1:* (FLAGS)").await?;
            let lines = answer.untagged.iter().filter(|line| line.contains(" FETCH ("));
            let told: Vec<Fetched> = lines.map(|line| Fetched::parse(line)).collect();
            let selected = self.sessions[who].selected.as_mut().ok_or("nothing is selected")?;
            let empty = BTreeMap::new();
            let mailbox = self.truth.mailboxes.get(&selected.id);
            let there = mailbox.map_or(&empty, |mailbox| &mailbox.messages);
            must(count == there.len(), || format!("{count} were told, and there are {}", there.len()))?;
            let right = told.iter().map(|told| (told.uid, told.flags.as_ref()));
            let should = there.iter().map(|(uid, message)| (Some(*uid), Some(&message.flags)));
            must(mailbox.is_none() || right.eq(should), || {
                format!("the session sees {told:?}, and should see {there:?}")
            })?;
            selected.knows_all(there);
        }
        Ok(())
    }
}

#[test]
fn orders_keep_those_of_each_session() {
    assert_eq!(orders(&[0, 1]), [[0, 1], [1, 0]]);
    assert_eq!(orders(&[0, 0, 1]), [[0, 1, 2], [0, 2, 1], [2, 0, 1]]);
    assert_eq!(orders(&[0, 1, 2, 0]).len(), 12);
}
