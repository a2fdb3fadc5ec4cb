//! STORE, COPY and MOVE.

use super::{
    flags::split_flags,
    quota,
    select::read_only,
    session::{Done, Refusal, Session, ok},
    view::ranges,
};
use sealpost_proto::imap::{
    Condition, Flag, MailboxName, SequenceSet, StoreHow,
    response::{self, Code},
};
use sealpost_store::mailbox::{Changed, Copied, FlagChange};

/// What STORE asks for.
pub(super) struct StoreChange<'a> {
    pub(super) how: StoreHow,
    pub(super) silent: bool,
    pub(super) flags: &'a [Flag],
    pub(super) unchanged_since: Option<u64>,
}

impl Session {
    /// STORE and UID STORE.
    pub(super) async fn store(
        &mut self,
        uid: bool,
        set: &SequenceSet,
        change: StoreChange<'_>,
    ) -> Result<Done, Refusal> {
        if change.unchanged_since.is_some() {
            self.enable_condstore();
        }
        let view = self.numbered().await?;
        if view.read_only {
            return Err(read_only());
        }
        let (bits, keywords) = split_flags(change.flags)?;
        let (id, uids) = (view.id, view.list(&view.resolve(set, uid)?));
        let how = match change.how {
            StoreHow::Replace => FlagChange::Replace,
            StoreHow::Add => FlagChange::Add,
            StoreHow::Remove => FlagChange::Remove,
        };
        let store = self.ctx.store.clone();
        let stored = store.store_flags(id, &uids, how, bits, &keywords, change.unchanged_since).await;
        let (changed, left) = stored?;
        if !keywords.is_empty() || !left.is_empty() {
            self.keyword_updates().await;
        }
        for Changed { entry, before } in changed {
            let view = self.view()?;
            // With .SILENT a client knows the outcome only where it knew the message before; else it is told after all,
            // as a change by another session (RFC 9051 §6.4.6).
            if !change.silent || view.knew(before) {
                view.knows(entry.uid, entry.modseq);
            }
            if !change.silent {
                self.write_flags(&entry.into());
            } else if self.enabled.condstore {
                // RFC 7162 §3.1.3: the new MODSEQ is told even then.
                self.write_modseq(entry.uid, entry.modseq);
            }
        }
        if left.is_empty() {
            return ok("STORE done");
        }
        // RFC 7162 §3.1.3: what they are now tells the client what came between.
        for mark in store.marks_in(id, &ranges(&left), left.len()).await? {
            self.view()?.knows(mark.uid, mark.modseq);
            self.write_flags(&mark.into());
        }
        let view = self.view()?;
        let numbers: Vec<u32> =
            if uid { left } else { left.iter().filter_map(|uid| view.number_of(*uid)).collect() };
        let code = SequenceSet::from_numbers(&numbers).map(|set| Code::Modified(set.to_string()));
        Ok(Done { code, text: "STORE done, but for messages that have changed" })
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
            // A move within the account takes no more room.
            if let Some(held) = self.held().await?
                && !held.has_room(store.octets_of(id, Some(&uids)).await?, uids.len() as u64)
            {
                return Err(quota::over());
            }
            let copied = store.copy(id, &uids, target).await?;
            self.put(target, &copied);
            return Ok(Done { code: copy_code(&copied), text: "COPY done" });
        }
        let copied = store.move_messages(id, &uids, target).await?;
        self.put(target, &copied);
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
