//! SELECT, EXAMINE, CLOSE, UNSELECT and EXPUNGE.

use super::{
    batches::Wants,
    flags::{all_flags, permanent_flags},
    objectid,
    session::{Done, Refusal, Session, ok},
    uids::intersect,
    view::{Pick, View},
};
use sealpost_proto::imap::{
    Condition, MailboxName, Qresync, SelectParams, SequenceSet, quote_mailbox,
    response::{self, Code},
};
use sealpost_store::{StoreError, account::AccountId, mailbox::MailboxId};

impl Session {
    /// SELECT and EXAMINE. A failure leaves nothing selected (RFC 9051 §6.3.2).
    ///
    /// No `[UNSEEN]` is told: it would need a walk through the mailbox, and RFC 3501 §6.3.1 lets clients assume nothing
    /// where it is missing.
    pub(super) async fn select(
        &mut self,
        name: &MailboxName,
        read_only: bool,
        params: &SelectParams,
    ) -> Result<Done, Refusal> {
        let account = self.account()?;
        if params.qresync.is_some() && !self.enabled.qresync {
            // RFC 7162 §3.2.5.
            return Err(Refusal::Bad("ENABLE QRESYNC first".to_owned()));
        }
        if self.selected.take().is_some() {
            // RFC 7162 §3.2.11: what follows is of the other mailbox.
            response::status(
                &mut self.out,
                None,
                Condition::Ok,
                Some(&Code::Closed),
                "the mailbox is closed",
            );
        }
        self.enabled.condstore |= params.condstore;
        let store = self.ctx.store.clone();
        // The watch first: what changes after the counters are read is seen as a change.
        let mut watch = store.watch(account);
        watch.mark_unchanged();
        let id = self.find(account, name).await?;
        let status = store.status(id).await?;
        let keywords = store.keywords(id).await?;
        let flags = all_flags(&keywords);
        let out = &mut self.out;
        response::line(out, format_args!("* FLAGS ({flags})"));
        response::line(out, format_args!("* {} EXISTS", status.messages));
        if self.enabled.rev2 {
            // RFC 9051 §6.3.2: which mailbox it is, in the spelling of the server.
            let name = quote_mailbox(name, self.enabled.names());
            response::line(out, format_args!("* LIST () \"/\" {name}"));
        } else {
            response::line(out, format_args!("* 0 RECENT"));
        }
        let mut code = |code: Code, text: &str| {
            response::status(out, None, Condition::Ok, Some(&code), text);
        };
        code(permanent_flags(&flags, read_only), "flags that are kept");
        code(Code::UidValidity(status.uid_validity), "UIDs are valid");
        code(Code::UidNext(status.uid_next), "next UID");
        code(Code::HighestModSeq(status.modseq), "MODSEQ of the last change");
        code(Code::MailboxId(objectid::mailbox(id)), "the mailbox's own name");
        self.selected = Some(View::new(id, read_only, &status, keywords.len(), watch));
        if let Some(qresync) = &params.qresync
            && qresync.uid_validity.get() == status.uid_validity
        {
            self.resynchronize(qresync).await?;
        }
        let code = Some(if read_only { Code::ReadOnly } else { Code::ReadWrite });
        Ok(Done { code, text: if read_only { "EXAMINE done" } else { "SELECT done" } })
    }

    /// What happened since the client last saw the mailbox (RFC 7162 §3.2.5). Everything that is gone is on record, so
    /// its message numbers are not needed to tell.
    async fn resynchronize(&mut self, qresync: &Qresync) -> Result<(), Refusal> {
        let store = self.ctx.store.clone();
        let view = self.view()?;
        if view.modseq() <= qresync.modseq {
            return Ok(());
        }
        let mut touched = store.touched(view.id, qresync.modseq).await?;
        view.number(&*store).await?;
        if let Some(known) = &qresync.known {
            let known = view.named(known);
            touched.changed = intersect(&touched.changed, &known);
            touched.vanished = intersect(&touched.vanished, &known);
        }
        // What went after the counters were read still counts as a message, and is told later.
        let vanished = view.unknown(&touched.vanished);
        let pick = Pick { ranges: touched.changed, count: 0 };
        let mut batches = view.batches(&store, &pick, Wants::default());
        self.write_vanished("(EARLIER) ", &vanished);
        loop {
            let batch = batches.next().await?;
            if batch.is_empty() {
                return Ok(());
            }
            for loaded in batch {
                self.write_flags(&loaded.message);
            }
            self.flush().await?;
        }
    }

    /// CLOSE (which removes what is \Deleted, silently) and UNSELECT.
    pub(super) async fn close(&mut self, expunge: bool) -> Result<Done, Refusal> {
        let view = self.view()?;
        let (id, read_only) = (view.id, view.read_only);
        if expunge && !read_only {
            match self.ctx.store.expunge(id, None).await {
                Ok(_) | Err(StoreError::Gone(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.selected = None;
        ok(if expunge { "CLOSE done" } else { "UNSELECT done" })
    }

    /// EXPUNGE and UID EXPUNGE (RFC 4315).
    pub(super) async fn expunge(&mut self, uids: Option<&SequenceSet>) -> Result<Done, Refusal> {
        let view = self.numbered().await?;
        if view.read_only {
            return Err(read_only());
        }
        let uids = match uids {
            Some(set) => Some(view.list(&view.resolve(set, true)?)),
            None => None,
        };
        let id = view.id;
        let mut gone = self.ctx.store.expunge(id, uids.as_deref()).await?;
        gone.sort_unstable();
        self.remove(&gone);
        if !self.enabled.condstore {
            return ok("EXPUNGE done");
        }
        // RFC 7162 §3.2.7: the client knows all up to here, so what others did is told first.
        self.updates(true).await?;
        let code = self.selected.as_ref().map(|view| Code::HighestModSeq(view.modseq()));
        Ok(Done { code, text: "EXPUNGE done" })
    }

    /// The selected mailbox, its messages numbered.
    pub(super) async fn numbered(&mut self) -> Result<&mut View, Refusal> {
        let store = self.ctx.store.clone();
        let view = self.view()?;
        view.number(&*store).await?;
        Ok(view)
    }

    /// The mailbox of a name.
    pub(super) async fn find(&self, account: AccountId, name: &MailboxName) -> Result<MailboxId, Refusal> {
        let found = self.ctx.store.find_mailbox(account, name.as_str()).await?;
        found.ok_or_else(|| Refusal::no(Code::NonExistent, "there is no mailbox of that name"))
    }
}

pub(super) fn read_only() -> Refusal {
    Refusal::no(Code::Cannot, "this mailbox is open to read only; SELECT it")
}
