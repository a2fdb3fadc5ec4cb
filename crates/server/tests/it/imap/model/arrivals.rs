//! APPEND of one message and of several (RFC 3502), and REPLACE (RFC 8508).

use super::{
    content,
    messages::refused,
    script::{Draft, NAMES, Name, Set},
    session::{Answer, Rules, numbers},
    truth::{Flags, Message},
    world::{Checked, World, bits, list, must},
};

impl World<'_> {
    /// Messages that are about to be.
    fn made(&mut self, drafts: &[Draft]) -> Vec<Message> {
        let mut messages = Vec::new();
        for draft in drafts {
            let serial = self.truth.serial();
            let earlier = self.earlier.unwrap_or(self.truth.written.len());
            let (text, look) = content::message(serial, draft.text, &self.truth.written[..earlier]);
            self.truth.written.push(look.clone());
            messages.push(Message { flags: bits(draft.flags), text, look, serial, tick: 0 });
        }
        messages
    }

    /// [APPENDUID], and the messages that it gives UIDs to, in order.
    fn arrive(&mut self, id: u64, answer: &Answer, messages: Vec<Message>) -> Checked {
        let code = answer.code("APPENDUID").ok_or("no APPENDUID")?;
        self.truth.told_validity(id, code[0].parse().map_err(|_| "no UIDVALIDITY")?)?;
        let uids = numbers(&code[1]);
        must(uids.len() == messages.len(), || format!("{} messages became {uids:?}", messages.len()))?;
        uids.into_iter().zip(messages).try_for_each(|(uid, message)| self.truth.insert(id, uid, message))
    }

    pub(super) async fn append(&mut self, who: usize, name: Name, drafts: &[Draft]) -> Checked {
        let (name, messages) = (NAMES[name], self.made(drafts));
        let words = messages.iter().map(argument).collect::<String>();
        let answer = self.ask(who, &format!("APPEND {name}{words}")).await?;
        match self.truth.names.get(name).copied() {
            None => must(answer.tagged.starts_with("NO [TRYCREATE]"), || "no TRYCREATE".to_owned())?,
            Some(id) => {
                must(answer.is_ok(), || "APPEND was refused".to_owned())?;
                self.arrive(id, &answer, messages)?;
            }
        }
        self.hear(who, &answer, Rules::FREE).map(drop)
    }

    /// One message for another, in one step.
    pub(super) async fn replace(
        &mut self,
        who: usize,
        (uid, at): (bool, u8),
        name: Name,
        draft: Draft,
    ) -> Checked {
        let (name, messages) = (NAMES[name], self.made(&[draft]));
        let target = self.target(who, Set::One(at), uid);
        let number = target.as_ref().map_or("1", |target| &target.set);
        let words = argument(&messages[0]);
        let verb = if uid { "UID REPLACE" } else { "REPLACE" };
        let answer = self.ask(who, &format!("{verb} {number} {name}{words}")).await?;
        let Some(target) = target else { return refused(&answer) };
        let to = self.truth.names.get(name).copied();
        if target.read_only || target.there.is_empty() || to.is_none() {
            must(!answer.is_ok() && answer.code("APPENDUID").is_none(), || "it must be refused".to_owned())?;
            return self.hear(who, &answer, Rules::FREE).map(drop);
        }
        must(answer.is_ok(), || "REPLACE was refused".to_owned())?;
        self.arrive(to.ok_or("no mailbox")?, &answer, messages)?;
        // RFC 8508 §3.3: the client learns of the new one first.
        let line = |words: &str| answer.untagged.iter().position(|line| line.contains(words));
        let (arrived, left) = (line("[APPENDUID "), line(" EXPUNGE").or(line("* VANISHED ")));
        must(arrived.is_some() && left.is_some() && arrived < left, || {
            "APPENDUID must come, and then EXPUNGE".to_owned()
        })?;
        let tick = self.truth.tick;
        let source = self.truth.mailboxes.get_mut(&target.id).ok_or("no mailbox")?;
        source.remove(tick, |uid, _| target.there.contains(&uid));
        self.hear(who, &answer, Rules::FREE).map(drop)
    }
}

/// A message as an argument.
fn argument(message: &Message) -> String {
    let flags = &message.flags;
    let words = if Flags::is_empty(flags) { String::new() } else { format!(" {}", list(flags)) };
    format!("{words} {} {{{}+}}\r\n{}", message.look.arrived(), message.text.len(), message.text)
}
