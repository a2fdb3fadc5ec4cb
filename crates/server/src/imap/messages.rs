//! STORE, COPY and MOVE.

use super::{
    flags::split_flags,
    select::read_only,
    session::{Done, Refusal, Session, ok},
};
use sealpost_proto::imap::{
    Condition, Flag, MailboxName, SequenceSet, StoreHow,
    response::{self, Code},
};
use sealpost_store::mailbox::{Changed, Copied, FlagChange};

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
        let view = self.numbered().await?;
        if view.read_only {
            return Err(read_only());
        }
        let (bits, keywords) = split_flags(flags)?;
        let (id, uids) = (view.id, view.list(&view.resolve(set, uid)?));
        let how = match how {
            StoreHow::Replace => FlagChange::Replace,
            StoreHow::Add => FlagChange::Add,
            StoreHow::Remove => FlagChange::Remove,
        };
        let (changed, _) = self.ctx.store.store_flags(id, &uids, how, bits, &keywords, None).await?;
        for Changed { entry, before } in changed {
            let view = self.view()?;
            // With .SILENT a client knows the outcome only where it knew the message before; else it is told after all,
            // as a change by another session (RFC 9051 §6.4.6).
            if !silent || view.knew(before) {
                view.knows(entry.uid, entry.modseq);
            }
            if !silent {
                self.write_flags(&entry.into());
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
        let view = self.numbered().await?;
        if remove && view.read_only {
            return Err(read_only());
        }
        let (id, uids) = (view.id, view.list(&view.resolve(set, uid)?));
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
        if target != id {
            self.remove(&gone);
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
