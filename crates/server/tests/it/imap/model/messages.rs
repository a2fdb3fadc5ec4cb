//! The commands about messages of a selected mailbox: what they have in common, COPY, MOVE and EXPUNGE.

use super::{
    script::Set,
    session::{Answer, Rules, numbers},
    truth::Message,
    world::{Checked, World, must},
};

/// What a command is about.
pub(super) struct Target {
    pub(super) id: u64,
    pub(super) read_only: bool,
    /// The set as it is written.
    pub(super) set: String,
    pub(super) uids: Vec<u32>,
    /// Those that are there still; the others were removed, which the session may not have been told.
    pub(super) there: Vec<u32>,
    /// The mailbox itself was removed.
    gone: bool,
}

impl Target {
    fn all_there(&self) -> bool {
        !self.gone && self.uids.len() == self.there.len()
    }
}

impl World<'_> {
    /// `None`: nothing is selected, and the command must be refused.
    pub(super) fn target(&self, who: usize, set: Set, uid: bool) -> Option<Target> {
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
    pub(super) fn judge(target: &Target, uid: bool, answer: &Answer, allowed: bool) -> Result<bool, String> {
        if target.uids.is_empty() && !uid && target.set != "$" {
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
}

/// What a command must be told that needs a mailbox, where none is selected.
pub(super) fn refused(answer: &Answer) -> Checked {
    must(answer.tagged.starts_with("BAD"), || "nothing is selected".to_owned())
}
