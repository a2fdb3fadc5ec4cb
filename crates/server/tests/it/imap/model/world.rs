//! The server, its sessions and the truth: each step is done on both, and what differs is a fault.

use super::{
    super::harness::Server,
    content::Look,
    script::{Act, FLAGS, FlagBits, NAMES, SESSIONS, Step},
    session::{Answer, Fetched, Rules, Session},
    store::Store,
    truth::{Flags, Message, Truth},
};
use std::{collections::BTreeSet, fmt::Write as _, sync::Arc};

pub(super) type Checked = Result<(), String>;

/// Sessions of one run of the server, and what outlives it.
pub(super) struct World<'t> {
    pub(super) truth: &'t mut Truth,
    /// The script as it came to be.
    pub(super) said: &'t mut String,
    pub(super) sessions: Vec<Session>,
    pub(super) store: Arc<dyn sealpost_store::Store>,
    pub(super) tally: Tally,
    /// Looks at everything, and changes nothing.
    pub(super) observer: Session,
    pub(super) way: Way,
    /// How many of the messages that were ever written new ones may answer, where others are written at the same time.
    pub(super) earlier: Option<usize>,
}

/// How much was done.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) sessions: u64,
    pub(super) commands: u64,
    /// Those of the commands that were in flight beside others.
    pub(super) beside: u64,
    pub(super) restores: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.sessions += other.sessions;
        self.commands += other.commands;
        self.beside += other.beside;
        self.restores += other.restores;
    }
}

/// What becomes of a command.
#[derive(Debug)]
pub(super) enum Way {
    /// It is sent, and answered.
    Live,
    /// It is kept, and no more happens.
    Draft(Option<String>),
    /// It was answered before; how its answer is to be heard is kept.
    Replay { command: String, answer: Answer, rules: Option<Rules> },
}

pub(super) fn bits(flags: FlagBits) -> Flags {
    FLAGS
        .iter()
        .enumerate()
        .filter(|(bit, _)| flags >> bit & 1 == 1)
        .map(|(_, flag)| (*flag).to_owned())
        .collect()
}

pub(super) fn list(flags: &Flags) -> String {
    format!("({})", flags.iter().map(String::as_str).collect::<Vec<_>>().join(" "))
}

pub(super) fn must(ok: bool, fault: impl FnOnce() -> String) -> Checked {
    if ok { Ok(()) } else { Err(fault()) }
}

impl<'t> World<'t> {
    pub(super) async fn new(server: &Server, truth: &'t mut Truth, said: &'t mut String) -> Self {
        let mut sessions = Vec::new();
        for _ in 0..SESSIONS {
            sessions.push(Session::new(server).await);
        }
        Self {
            truth,
            said,
            sessions,
            store: server.ctx.store.clone(),
            tally: Tally { sessions: SESSIONS as u64 + 1, ..Tally::default() },
            observer: Session::new(server).await,
            way: Way::Live,
            earlier: None,
        }
    }

    /// A command of a session; script and answer are noted.
    pub(super) async fn ask(&mut self, who: usize, command: &str) -> Result<Answer, String> {
        match &mut self.way {
            Way::Live => {}
            Way::Draft(draft) => {
                *draft = Some(command.to_owned());
                return Err("a draft".to_owned());
            }
            Way::Replay { command: sent, answer, .. } => {
                must(sent == command, || format!("{command} is not what was sent, {sent}"))?;
                return Ok(answer.clone());
            }
        }
        self.tally.commands += 1;
        // Writing into a String cannot fail.
        let _ = writeln!(self.said, "{who}: {}", command.escape_debug());
        let answer = self.sessions[who].ask(command).await?;
        for line in answer.untagged.iter().chain([&answer.tagged]) {
            let _ = writeln!(self.said, "      {}", line.escape_debug());
        }
        must(answer.is_ok() || answer.tagged.starts_with("NO") || answer.tagged.starts_with("BAD"), || {
            format!("no tagged response: {}", answer.tagged)
        })?;
        Ok(answer)
    }

    pub(super) fn hear(&mut self, who: usize, answer: &Answer, rules: Rules) -> Result<Vec<Fetched>, String> {
        if let Way::Replay { rules: kept, .. } = &mut self.way {
            *kept = Some(rules);
            return Ok(self.sessions[who].overhear(answer));
        }
        self.sessions[who].hear(answer, self.truth, rules)
    }

    /// A message's flags change in truth.
    pub(super) fn change(&mut self, id: u64, uid: u32, flags: &Flags) {
        let tick = self.truth.tick;
        let Some(mailbox) = self.truth.mailboxes.get_mut(&id) else { return };
        let Some(message) = mailbox.messages.get_mut(&uid) else { return };
        if message.flags == *flags {
            return;
        }
        message.flags.clone_from(flags);
        message.tick = tick;
        mailbox.modseqs.changed = tick;
        let state = message.state();
        let all = self.sessions.iter_mut().filter_map(|s| s.selected.as_mut()).filter(|s| s.id == id);
        for known in all.flat_map(|selected| &mut selected.known).filter(|known| known.uid == uid) {
            known.been.push(state.clone());
        }
    }

    /// One step, and what it did to MODSEQs.
    pub(super) async fn step(&mut self, step: &Step) -> Checked {
        for who in 0..self.sessions.len() {
            // The server's patience, 20 in a row, is none of what is tried here.
            if self.sessions[who].faults >= 12 {
                self.noop(who).await?;
            }
        }
        if let Act::Together(steps) = &step.act {
            return self.together(steps).await;
        }
        self.truth.tick += 1;
        self.act(step).await?;
        let tick = self.truth.tick;
        let changed = self.truth.mailboxes.iter().filter(|(_, mailbox)| mailbox.modseqs.changed == tick);
        let changed: Vec<(u64, String)> = changed.map(|(id, mailbox)| (*id, mailbox.name.clone())).collect();
        for (id, name) in changed {
            self.look(&name, id).await?;
        }
        Ok(())
    }

    pub(super) async fn act(&mut self, step: &Step) -> Checked {
        let who = step.who;
        match &step.act {
            Act::Select { name, read_only, opening } => {
                self.select(who, NAMES[*name], *read_only, *opening).await
            }
            Act::Enable(qresync) => self.enable(who, *qresync).await,
            Act::Append { name, drafts } => self.append(who, *name, drafts).await,
            Act::Replace { uid, at, name, draft } => self.replace(who, (*uid, *at), *name, *draft).await,
            Act::Store { uid, set, how, silent, flags, guard } => {
                let what = Store { how: *how, silent: *silent, flags: bits(*flags), guard: *guard };
                self.store(who, *uid, *set, what).await
            }
            Act::Copy { uid, set, to, remove } => self.copy(who, *uid, *set, NAMES[*to], *remove).await,
            Act::Expunge => self.expunge(who, None).await,
            Act::UidExpunge(set) => self.expunge(who, Some(*set)).await,
            Act::Close => self.close(who, true).await,
            Act::Unselect => self.close(who, false).await,
            Act::Fetch { uid, set, item, since } => self.fetch(who, *uid, *set, *item, *since).await,
            Act::Search { uid, saves, key } => self.search(who, *uid, *saves, key).await,
            Act::Sort { uid, order, key } => self.sort(who, *uid, order, key).await,
            Act::Thread { uid, references, key } => self.thread(who, *uid, *references, key).await,
            Act::Create(name) => self.create(who, NAMES[*name]).await,
            Act::Delete(name) => self.delete(who, NAMES[*name]).await,
            Act::Rename { from, to } => self.rename(who, NAMES[*from], NAMES[*to]).await,
            Act::Subscribe { name, on } => self.subscribe(who, NAMES[*name], *on).await,
            Act::List => self.list(who).await,
            Act::Lsub => self.lsub(who).await,
            Act::Status(name) => self.status(who, NAMES[*name]).await,
            Act::Noop => self.noop(who).await,
            Act::Backup => self.back_up().await,
            // Whoever runs the script starts the server anew.
            Act::Restart | Act::Restore => Ok(()),
            Act::Together(_) => Err("together within together".to_owned()),
        }
    }

    /// Everything that is there, as a session sees it that has seen nothing before.
    pub(super) async fn observe(&mut self) -> Checked {
        let names: BTreeSet<String> = self.truth.names.keys().cloned().collect();
        let answer = self.observer.ask("LIST \"\" *").await?;
        let told = super::folders::listed(&answer, "LIST");
        must(told == names, || format!("LIST tells {told:?}, and there are {names:?}"))?;
        let answer = self.observer.ask("LSUB \"\" *").await?;
        let told = super::folders::listed(&answer, "LSUB");
        must(told == self.truth.subscribed, || {
            format!("LSUB tells {told:?}, and there are {:?}", self.truth.subscribed)
        })?;
        for name in names {
            let id = self.truth.names[&name];
            let messages = self.read(&name, id).await?;
            let there = &self.truth.mailboxes[&id].messages;
            for (uid, message) in there {
                let told = messages.iter().find(|(told, _)| told == uid);
                let Some((_, told)) = told else { return Err(format!("UID {uid} of {name} is lost")) };
                must(told.flags == message.flags, || {
                    format!("UID {uid} of {name} has {:?}, and should have {:?}", told.flags, message.flags)
                })?;
                must(told.text == message.text, || {
                    format!("UID {uid} of {name} is {:?}, and should be {:?}", told.text, message.text)
                })?;
            }
            let more: Vec<u32> =
                messages.iter().map(|(uid, _)| *uid).filter(|uid| !there.contains_key(uid)).collect();
            must(more.is_empty(), || format!("{name} also has UIDs {more:?}"))?;
            self.look(&name, id).await?;
        }
        Ok(())
    }

    /// The MODSEQs of a mailbox, by the observer.
    async fn look(&mut self, name: &str, id: u64) -> Checked {
        let answer = self.observer.ask(&format!("EXAMINE {name}")).await?;
        self.told_of(id, &answer)?;
        let answer = self.observer.ask("UID FETCH 1:* (MODSEQ)").await?;
        let mailbox = self.truth.mailboxes.get_mut(&id).ok_or("no mailbox")?;
        for line in answer.untagged.iter().filter(|line| line.contains(" FETCH (")) {
            let fetched = Fetched::parse(line);
            let (Some(uid), Some(modseq)) = (fetched.uid, fetched.modseq) else {
                return Err(format!("something is missing in {line}"));
            };
            let message =
                mailbox.messages.get(&uid).ok_or_else(|| format!("UID {uid} should not be there"))?;
            mailbox.modseqs.tell(uid, message.tick, modseq)?;
        }
        Ok(())
    }

    /// All of a mailbox, by the observer; in order, with a serial of 0.
    pub(super) async fn read(&mut self, name: &str, id: u64) -> Result<Vec<(u32, Message)>, String> {
        let answer = self.observer.ask(&format!("EXAMINE {name}")).await?;
        self.told_of(id, &answer)?;
        let count: usize = exists(&answer)?;
        let answer = self.observer.ask("UID FETCH 1:* (FLAGS RFC822.SIZE BODY.PEEK[])").await?;
        let mut all: Vec<(u32, Message)> = Vec::new();
        for line in answer.untagged.iter().filter(|line| line.contains(" FETCH (")) {
            let fetched = Fetched::parse(line);
            let (Some(uid), Some(flags), Some(text)) = (fetched.uid, fetched.flags, fetched.body) else {
                return Err(format!("something is missing in {line}"));
            };
            must(fetched.size == Some(text.len()), || format!("RFC822.SIZE is wrong in {line}"))?;
            must(all.last().is_none_or(|(last, _)| *last < uid), || "UIDs do not ascend".to_owned())?;
            all.push((uid, Message { flags, text, look: Look::default(), serial: 0, tick: 0 }));
        }
        must(all.len() == count, || format!("{count} EXISTS, and {} were fetched", all.len()))?;
        Ok(all)
    }

    /// What SELECT and EXAMINE tell of UIDs.
    pub(super) fn told_of(&mut self, id: u64, answer: &Answer) -> Checked {
        let number = |name: &str| -> Result<u64, String> {
            let words = answer.code(name).ok_or_else(|| format!("no {name}"))?;
            words[0].parse().map_err(|_| format!("{name} is {words:?}"))
        };
        let small = |name: &str| u32::try_from(number(name)?).map_err(|_| format!("{name} is too large"));
        self.truth.told_validity(id, small("UIDVALIDITY")?)?;
        self.truth.told_next(id, small("UIDNEXT")?)?;
        self.truth.told_highest(id, number("HIGHESTMODSEQ")?)
    }

    /// Everything has been told after this.
    pub(super) async fn noop(&mut self, who: usize) -> Checked {
        let answer = self.ask(who, "NOOP").await?;
        must(answer.is_ok(), || "NOOP was refused".to_owned())?;
        self.hear(who, &answer, Rules::FREE)?;
        if let Way::Replay { .. } = self.way {
            return Ok(());
        }
        self.sessions[who].is_up_to_date(self.truth)
    }
}

pub(super) fn exists(answer: &Answer) -> Result<usize, String> {
    let line = answer.untagged.iter().find(|line| line.ends_with(" EXISTS")).ok_or("no EXISTS")?;
    line.split(' ').nth(1).and_then(|number| number.parse().ok()).ok_or_else(|| line.clone())
}
