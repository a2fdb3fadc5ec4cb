//! Untagged responses that tell of changes (RFC 9051 §7.4, §7.5).

use super::{
    flags::{all_flags, permanent_flags, write_flag_list},
    session::{Refusal, Session},
    view::ranges,
};
use sealpost_proto::imap::{Condition, response};
use sealpost_store::{
    StoreError,
    mailbox::{Copied, MailboxId, Message, Uid, UidRange},
};

/// Ranges in one VANISHED: lines stay below the 8,192 octets that RFC 7162 §4 asks clients to take.
const VANISHED_RANGES: usize = 350;

impl Session {
    /// Tells what other sessions changed, as far as the client wants to hear of it: EXPUNGE only where
    /// `numbers_may_shift`. A store that fails here is logged; the changes are told after a later command. It is an error
    /// where the connection is of no more use.
    pub(super) async fn updates(&mut self, numbers_may_shift: bool) -> Result<(), Refusal> {
        self.annotation_updates().await;
        let Some(view) = &mut self.selected else { return Ok(()) };
        let Some(flags) = self.notify.as_ref().map_or(Some(true), |notify| notify.flags_of_selected()) else {
            // A mailbox at which the client does not want to hear of anything stays as it knows it.
            view.stay();
            return Ok(());
        };
        let store = self.ctx.store.clone();
        let news = match view.take_changes(&*store, numbers_may_shift, flags).await {
            Ok(news) => news,
            // Another session removed the mailbox: all its messages are gone.
            Err(StoreError::Gone(_)) if numbers_may_shift => {
                match (view.take_all(), self.enabled.qresync) {
                    ((exists, _), false) => {
                        for number in (1..=exists).rev() {
                            response::line(&mut self.out, format_args!("* {number} EXPUNGE"));
                        }
                    }
                    ((_, Some(uids)), true) => self.write_vanished("", &uids.ranges().collect::<Vec<_>>()),
                    // Which UIDs they had nobody can tell any more.
                    ((_, None), true) => self.bye("the selected mailbox was removed; connect again"),
                }
                return Ok(());
            }
            Err(error) => {
                if !matches!(error, StoreError::Gone(_)) {
                    tracing::error!(%error, "the store failed");
                }
                view.expect_changes();
                return Ok(());
            }
        };
        self.write_gone(&news.gone);
        if news.keywords {
            self.keyword_updates().await;
        }
        if let Some(exists) = news.exists {
            response::line(&mut self.out, format_args!("* {exists} EXISTS"));
        }
        self.tell_arrivals(&news.arrived).await?;
        for message in &news.flags {
            self.write_flags(message);
        }
        Ok(())
    }

    /// Tells the flags of the mailbox anew where it has keywords that the client does not know: before any message is told to
    /// have them (RFC 9051 §7.3.5).
    pub(super) async fn keyword_updates(&mut self) {
        let Some(view) = &mut self.selected else { return };
        let keywords = match self.ctx.store.keywords(view.id).await {
            Ok(keywords) => keywords,
            Err(error) => {
                if !matches!(error, StoreError::Gone(_)) {
                    tracing::error!(%error, "the store failed");
                }
                return;
            }
        };
        if keywords.len() <= view.keywords {
            return;
        }
        view.keywords = keywords.len();
        let flags = all_flags(&keywords);
        let permanent = permanent_flags(&flags, view.read_only);
        response::line(&mut self.out, format_args!("* FLAGS ({flags})"));
        response::status(&mut self.out, None, Condition::Ok, Some(&permanent), "there are new keywords");
    }

    /// Makes the next [`Session::updates`] ask the store, whatever the watch says.
    pub(super) fn expect_changes(&mut self) {
        if let Some(view) = &mut self.selected {
            view.expect_changes();
        }
    }

    /// A command of ours put messages into a mailbox, and its answer tells so.
    pub(super) fn put(&mut self, mailbox: MailboxId, copied: &Copied) {
        if let Some(view) = self.selected.as_mut().filter(|view| view.id == mailbox) {
            view.put(copied.uids.iter().map(|(_, uid)| *uid));
        }
    }

    /// Forgets messages (ascending) that a command of ours removed, and tells so.
    pub(super) fn remove(&mut self, uids: &[Uid]) {
        let Some(view) = &mut self.selected else { return };
        let gone = view.remove(uids);
        self.write_gone(&gone);
    }

    /// From the highest number down, so that none shifts another; or as UIDs (RFC 7162 §3.2.10).
    fn write_gone(&mut self, gone: &[(Uid, u32)]) {
        if self.enabled.qresync {
            let uids: Vec<Uid> = gone.iter().map(|(uid, _)| *uid).collect();
            return self.write_vanished("", &ranges(&uids));
        }
        for (_, place) in gone.iter().rev() {
            response::line(&mut self.out, format_args!("* {} EXPUNGE", place + 1));
        }
    }

    /// `* VANISHED [(EARLIER)] uids`
    pub(super) fn write_vanished(&mut self, earlier: &str, uids: &[UidRange]) {
        for part in uids.chunks(VANISHED_RANGES) {
            self.out.extend_from_slice(format!("* VANISHED {earlier}").as_bytes());
            for (n, (low, high)) in part.iter().enumerate() {
                if n > 0 {
                    self.out.push(b',');
                }
                response::number(&mut self.out, u64::from(*low));
                if low < high {
                    self.out.push(b':');
                    response::number(&mut self.out, u64::from(*high));
                }
            }
            self.out.extend_from_slice(b"\r\n");
        }
    }

    /// The flags of a message, where the client knows it.
    pub(super) fn write_flags(&mut self, message: &Message) {
        let with_modseq = self.enabled.condstore;
        let Some(out) = self.begin_fetch(message.uid) else { return };
        out.extend_from_slice(b" FLAGS ");
        write_flag_list(out, message.flags, &message.keywords);
        if with_modseq {
            write_modseq(out, message.modseq);
        }
        out.extend_from_slice(b")\r\n");
    }

    /// The MODSEQ of a message alone.
    pub(super) fn write_modseq(&mut self, uid: Uid, modseq: u64) {
        let Some(out) = self.begin_fetch(uid) else { return };
        write_modseq(out, modseq);
        out.extend_from_slice(b")\r\n");
    }

    /// `* number FETCH (UID uid`
    fn begin_fetch(&mut self, uid: Uid) -> Option<&mut Vec<u8>> {
        let number = self.selected.as_ref()?.number_of(uid)?;
        self.out.extend_from_slice(format!("* {number} FETCH (UID {uid}").as_bytes());
        Some(&mut self.out)
    }
}

/// ` MODSEQ (n)`
pub(super) fn write_modseq(out: &mut Vec<u8>, modseq: u64) {
    out.extend_from_slice(b" MODSEQ (");
    response::number(out, modseq);
    out.push(b')');
}
