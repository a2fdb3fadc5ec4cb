//! STORE, COPY and MOVE.

use super::{
    session::{Done, Refusal, Session, ok},
    view::{read_only, split_flags},
};
use sealpost_proto::imap::{
    Condition, Flag, MailboxName, SequenceSet, StoreHow,
    response::{self, Code},
};
use sealpost_store::mailbox::{Copied, FlagChange};

impl Session {
    /// STORE and UID STORE.
    pub(super) async fn store(
        &mut self,
        uid: bool,
        set: &SequenceSet,
        how: StoreHow,
        silent: bool,
        flags: &[Flag],
    ) -> Result<Done, Refusal> {
        let view = self.view()?;
        if view.read_only {
            return Err(read_only());
        }
        let (bits, keywords) = split_flags(flags)?;
        let positions = view.resolve(set, uid)?;
        let (id, uids) = (view.id, view.uids(&positions));
        let how = match how {
            StoreHow::Replace => FlagChange::Replace,
            StoreHow::Add => FlagChange::Add,
            StoreHow::Remove => FlagChange::Remove,
        };
        let stored = self.ctx.store.store_flags(id, &uids, how, bits, &keywords, None).await;
        let (entries, _) = stored?;
        let told: Vec<_> = entries.iter().map(|e| e.uid).collect();
        if let Some(view) = &mut self.selected {
            view.update(entries);
            if !silent {
                for at in told.into_iter().filter_map(|uid| view.position(uid)) {
                    view.write_flags(at, &mut self.out);
                }
            }
        }
        ok("STORE done")
    }

    /// COPY, MOVE (RFC 6851) and their UID forms, with COPYUID (RFC 4315).
    pub(super) async fn copy(
        &mut self,
        uid: bool,
        remove: bool,
        set: &SequenceSet,
        to: &MailboxName,
    ) -> Result<Done, Refusal> {
        let account = self.account()?;
        let view = self.view()?;
        if remove && view.read_only {
            return Err(read_only());
        }
        let positions = view.resolve(set, uid)?;
        let (id, uids) = (view.id, view.uids(&positions));
        let target = self.find(account, to).await.map_err(|refusal| match refusal {
            // RFC 9051 §6.4.7.
            Refusal::No(Some(Code::NonExistent), text) => Refusal::no(Code::TryCreate, text),
            other => other,
        })?;
        if uids.is_empty() {
            return ok("there was nothing to copy");
        }
        let store = self.ctx.store.clone();
        if !remove {
            let copied = store.copy(id, &uids, target).await?;
            return Ok(Done { code: copy_code(&copied), text: "COPY done" });
        }
        let copied = store.move_messages(id, &uids, target).await?;
        if let Some(code) = copy_code(&copied) {
            response::status(&mut self.out, None, Condition::Ok, Some(&code), "moved");
        }
        let mut gone: Vec<u32> = copied.uids.iter().map(|(from, _)| *from).collect();
        gone.sort_unstable();
        if let Some(view) = &mut self.selected
            && target != id
        {
            view.remove(&gone, &mut self.out);
        }
        ok("MOVE done")
    }
}

/// COPYUID's sets correspond in order: both ascend, as the store gives UIDs in the order of the source.
fn copy_code(copied: &Copied) -> Option<Code> {
    let from: Vec<u32> = copied.uids.iter().map(|(from, _)| *from).collect();
    let to: Vec<u32> = copied.uids.iter().map(|(_, to)| *to).collect();
    let (from, to) = (SequenceSet::from_numbers(&from)?, SequenceSet::from_numbers(&to)?);
    Some(Code::CopyUid(copied.uid_validity, from.to_string(), to.to_string()))
}
