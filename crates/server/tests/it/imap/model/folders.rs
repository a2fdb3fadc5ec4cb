//! The commands about mailboxes.

use super::{
    modseq::Aware,
    script::Opening,
    session::{Answer, Known, Rules, Selected, Session},
    truth::{Message, Seen},
    world::{Checked, World, exists, must},
};
use std::collections::BTreeSet;

/// Names of mailboxes that LIST or LSUB tells; not the levels that are none.
pub(super) fn listed(answer: &Answer, verb: &str) -> BTreeSet<String> {
    let begin = format!("* {verb} (");
    let lines = answer.untagged.iter().filter_map(|line| line.strip_prefix(&begin));
    let mailboxes = lines.filter(|line| !line.contains("\\Noselect") && !line.contains("\\NonExistent"));
    mailboxes.filter_map(|line| Some(line.rsplit_once(' ')?.1.trim_matches('"').to_owned())).collect()
}

impl World<'_> {
    pub(super) async fn select(
        &mut self,
        who: usize,
        name: &str,
        read_only: bool,
        opening: Opening,
    ) -> Checked {
        let verb = if read_only { "EXAMINE" } else { "SELECT" };
        let missed = self.missed(name, opening);
        let params = match (&opening, &missed) {
            (Opening::Condstore, _) => " (CONDSTORE)".to_owned(),
            (Opening::Resync(_), Some(missed)) => missed.params(),
            _ => String::new(),
        };
        let answer = self.ask(who, &format!("{verb} {name}{params}")).await?;
        if missed.is_some() && !self.sessions[who].knows.qresync {
            // RFC 7162 §3.2.5: what was open stays so.
            must(answer.tagged.starts_with("BAD"), || "QRESYNC was not enabled".to_owned())?;
            return self.hear(who, &answer, Rules::FREE).map(drop);
        }
        if !params.is_empty() {
            self.sessions[who].speaks_of_modseqs(&answer);
        }
        self.sessions[who].selected = None;
        let Some(id) = self.truth.names.get(name).copied() else {
            return must(answer.tagged.starts_with("NO "), || "what is not there was opened".to_owned());
        };
        let word = if read_only { "OK [READ-ONLY]" } else { "OK [READ-WRITE]" };
        must(answer.tagged.starts_with(word), || format!("not {word}"))?;
        self.told_of(id, &answer)?;
        let mailbox = &self.truth.mailboxes[&id];
        let messages = &mailbox.messages;
        let known = messages.iter().map(|(uid, message)| Known {
            uid: *uid,
            flags: None,
            been: vec![message.state()],
        });
        let known: Vec<Known> = known.collect();
        must(exists(&answer)? == known.len(), || format!("there are {} messages", known.len()))?;
        let unseen = messages.values().position(|message| !message.flags.contains("\\seen"));
        // RFC 9051 has done away with it; where it is told it must be right.
        let told = answer.code("UNSEEN").and_then(|code| code[0].parse::<usize>().ok());
        must(told.is_none() || told == unseen.map(|at| at + 1), || "UNSEEN is wrong".to_owned())?;
        let top = known.last().map_or(0, |known| known.uid);
        let (validity, modseq) = (mailbox.validity.ok_or("no UIDVALIDITY")?, mailbox.modseqs.now());
        let modseq = modseq.ok_or("no HIGHESTMODSEQ")?;
        let uids: Vec<u32> = messages.keys().copied().collect();
        self.truth.seen.push(Seen { name: name.to_owned(), validity, modseq, uids });
        self.sessions[who].selected = Some(Selected {
            id,
            read_only,
            known,
            top,
            heard: vec![modseq],
            gone: Vec::new(),
            saved: Vec::new(),
            count: 0,
        });
        let fetched = self.hear(who, &answer, Rules::FREE)?;
        match missed.filter(|missed| missed.validity() == validity) {
            Some(missed) => missed.judge(&self.truth.mailboxes[&id], &answer, &fetched),
            None => {
                must(fetched.is_empty() && !answer.untagged.iter().any(|l| l.contains("VANISHED")), || {
                    "nobody asked what was missed".to_owned()
                })
            }
        }
    }

    pub(super) async fn enable(&mut self, who: usize, qresync: bool) -> Checked {
        let name = if qresync { "QRESYNC" } else { "CONDSTORE" };
        let answer = self.ask(who, &format!("ENABLE {name}")).await?;
        must(answer.is_ok(), || "ENABLE was refused".to_owned())?;
        let knows = &mut self.sessions[who].knows;
        // RFC 5161 §3.2: what was on already is not told.
        let new = if qresync { !knows.qresync } else { knows.modseqs == Aware::No };
        let told = answer.rest("ENABLED").is_some_and(|names| names.contains(name));
        must(told == new || knows.modseqs == Aware::Perhaps, || "ENABLED is wrong".to_owned())?;
        knows.qresync |= qresync;
        knows.modseqs = Aware::Yes;
        self.hear(who, &answer, Rules::FREE).map(drop)
    }

    /// CLOSE and UNSELECT.
    pub(super) async fn close(&mut self, who: usize, expunges: bool) -> Checked {
        let answer = self.ask(who, if expunges { "CLOSE" } else { "UNSELECT" }).await?;
        let Some(selected) = self.sessions[who].selected.take() else {
            return must(answer.tagged.starts_with("BAD"), || "nothing was open".to_owned());
        };
        must(answer.is_ok() && !answer.untagged.iter().any(|line| line.ends_with(" EXPUNGE")), || {
            "it did not close silently".to_owned()
        })?;
        let tick = self.truth.tick;
        if let Some(mailbox) = self.truth.mailboxes.get_mut(&selected.id)
            && expunges
            && !selected.read_only
        {
            mailbox.remove(tick, |_, message| message.flags.contains("\\deleted"));
        }
        Ok(())
    }

    pub(super) async fn create(&mut self, who: usize, name: &str) -> Checked {
        let answer = self.ask(who, &format!("CREATE {name}")).await?;
        let may = !self.truth.names.contains_key(name);
        must(answer.is_ok() == may, || format!("CREATE {name} must be {}", verdict(may)))?;
        if may {
            self.truth.create(name);
        }
        self.hear(who, &answer, Rules::FREE).map(drop)
    }

    pub(super) async fn delete(&mut self, who: usize, name: &str) -> Checked {
        let id = self.truth.names.get(name).copied();
        let open = |session: &Session| {
            session.knows.qresync && session.selected.as_ref().is_some_and(|s| Some(s.id) == id)
        };
        // Who wants UIDs of what has gone may be sent away, where they are not known any more.
        for other in (0..self.sessions.len()).filter(|other| *other != who) {
            if open(&self.sessions[other]) {
                self.close(other, false).await?;
            }
        }
        let answer = self.ask(who, &format!("DELETE {name}")).await?;
        let may = name != "INBOX" && id.is_some();
        must(answer.is_ok() == may, || format!("DELETE {name} must be {}", verdict(may)))?;
        if may {
            self.truth.delete(name);
            // RFC 9051 leaves it open what becomes of it; here nothing is selected any more.
            self.sessions[who].selected.take_if(|selected| Some(selected.id) == id);
        }
        self.hear(who, &answer, Rules::FREE).map(drop)
    }

    pub(super) async fn rename(&mut self, who: usize, from: &str, to: &str) -> Checked {
        let may = self.truth.may_rename(from, to);
        let answer = self.ask(who, &format!("RENAME {from} {to}")).await?;
        must(answer.is_ok() == may, || format!("RENAME {from} {to} must be {}", verdict(may)))?;
        if may && from == "INBOX" {
            self.empty_inbox_into(to).await?;
        } else if may {
            self.truth.rename(from, to);
        }
        self.hear(who, &answer, Rules::FREE).map(drop)
    }

    /// RFC 9051 §6.3.6: INBOX stays, and its messages move. Which UIDs they got is asked.
    async fn empty_inbox_into(&mut self, to: &str) -> Checked {
        let inbox = self.truth.names["INBOX"];
        let id = self.truth.create(to);
        let tick = self.truth.tick;
        let mailbox = self.truth.mailboxes.get_mut(&inbox).ok_or("no INBOX")?;
        let moved: Vec<Message> = mailbox.messages.values().cloned().collect();
        mailbox.remove(tick, |_, _| true);
        // EXAMINE tells a UIDNEXT above them.
        let mailbox = self.truth.mailboxes.get_mut(&id).expect("made");
        let next = mailbox.next;
        if !moved.is_empty() {
            mailbox.modseqs.changed = tick;
        }
        let found = self.read(to, id).await?;
        self.truth.mailboxes.get_mut(&id).expect("made").next = next;
        must(moved.len() == found.len(), || format!("{} moved, and {} arrived", moved.len(), found.len()))?;
        for (message, (uid, found)) in moved.into_iter().zip(found) {
            must(message.text == found.text && message.flags == found.flags, || {
                format!("UID {uid} is {found:?}, and was {message:?}")
            })?;
            self.truth.insert(id, uid, message)?;
        }
        Ok(())
    }

    pub(super) async fn subscribe(&mut self, who: usize, name: &str, on: bool) -> Checked {
        let answer = self.ask(who, &format!("{}SUBSCRIBE {name}", if on { "" } else { "UN" })).await?;
        must(answer.is_ok(), || "it was refused".to_owned())?;
        if on {
            self.truth.subscribed.insert(name.to_owned());
        } else {
            self.truth.subscribed.remove(name);
        }
        self.hear(who, &answer, Rules::FREE).map(drop)
    }

    pub(super) async fn list(&mut self, who: usize) -> Checked {
        let answer = self.ask(who, "LIST \"\" *").await?;
        let there: BTreeSet<String> = self.truth.names.keys().cloned().collect();
        must(answer.is_ok() && listed(&answer, "LIST") == there, || format!("there are {there:?}"))?;
        self.hear(who, &answer, Rules::FREE).map(drop)
    }

    pub(super) async fn lsub(&mut self, who: usize) -> Checked {
        let answer = self.ask(who, "LSUB \"\" *").await?;
        let there = &self.truth.subscribed;
        must(answer.is_ok() && listed(&answer, "LSUB") == *there, || format!("there are {there:?}"))?;
        self.hear(who, &answer, Rules::FREE).map(drop)
    }

    pub(super) async fn status(&mut self, who: usize, name: &str) -> Checked {
        let items = "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN SIZE HIGHESTMODSEQ)";
        let answer = self.ask(who, &format!("STATUS {name} {items}")).await?;
        self.sessions[who].speaks_of_modseqs(&answer);
        let Some(id) = self.truth.names.get(name).copied() else {
            must(answer.tagged.starts_with("NO "), || "it is not there".to_owned())?;
            return self.hear(who, &answer, Rules::FREE).map(drop);
        };
        must(answer.is_ok(), || "STATUS was refused".to_owned())?;
        let words: Vec<&str> = answer.rest("STATUS ").ok_or("no STATUS")?.split(['(', ' ', ')']).collect();
        let value = |item: &str| -> Result<u64, String> {
            let at = words.iter().position(|word| *word == item);
            at.and_then(|at| words[at + 1].parse().ok()).ok_or_else(|| format!("no {item}"))
        };
        let messages = &self.truth.mailboxes[&id].messages;
        let unseen = messages.values().filter(|m| !m.flags.contains("\\seen")).count() as u64;
        let size: u64 = messages.values().map(|m| m.text.len() as u64).sum();
        let is = [value("MESSAGES")?, value("UNSEEN")?, value("SIZE")?];
        let should = [messages.len() as u64, unseen, size];
        must(is == should, || format!("MESSAGES, UNSEEN and SIZE are {is:?} and should be {should:?}"))?;
        let small = |value: u64| u32::try_from(value).map_err(|_| "a number too large".to_owned());
        self.truth.told_validity(id, small(value("UIDVALIDITY")?)?)?;
        self.truth.told_next(id, small(value("UIDNEXT")?)?)?;
        self.truth.told_highest(id, value("HIGHESTMODSEQ")?)?;
        self.hear(who, &answer, Rules::FREE).map(drop)
    }
}

fn verdict(may: bool) -> &'static str {
    if may { "done" } else { "refused" }
}
