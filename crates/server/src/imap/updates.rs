//! Untagged responses that tell of changes (RFC 9051 §7.4, §7.5).

use super::{batches::Message, flags::write_flag_list, session::Session};
use sealpost_proto::imap::response;
use sealpost_store::{StoreError, mailbox::Uid};

impl Session {
    /// Tells what other sessions changed: EXPUNGE only where `numbers_may_shift`. A store that fails here is logged;
    /// the changes are told after a later command.
    pub(super) async fn updates(&mut self, numbers_may_shift: bool) {
        let Some(view) = &mut self.selected else { return };
        let store = self.ctx.store.clone();
        let news = match view.take_changes(&*store, numbers_may_shift).await {
            Ok(news) => news,
            // Another session removed the mailbox: all its messages are gone.
            Err(StoreError::Gone(_)) if numbers_may_shift => {
                let (exists, _) = view.take_all();
                for number in (1..=exists).rev() {
                    response::line(&mut self.out, format_args!("* {number} EXPUNGE"));
                }
                return;
            }
            Err(error) => {
                if !matches!(error, StoreError::Gone(_)) {
                    tracing::error!(%error, "the store failed");
                }
                view.expect_changes();
                return;
            }
        };
        self.write_gone(&news.gone);
        if let Some(exists) = news.exists {
            response::line(&mut self.out, format_args!("* {exists} EXISTS"));
        }
        for message in &news.flags {
            self.write_flags(message);
        }
    }

    /// Makes the next [`Session::updates`] ask the store, whatever the watch says.
    pub(super) fn expect_changes(&mut self) {
        if let Some(view) = &mut self.selected {
            view.expect_changes();
        }
    }

    /// Forgets messages (ascending) that a command of ours removed, and tells so.
    pub(super) fn remove(&mut self, uids: &[Uid]) {
        let Some(view) = &mut self.selected else { return };
        let gone = view.remove(uids);
        self.write_gone(&gone);
    }

    /// From the highest number down, so that none shifts another.
    fn write_gone(&mut self, gone: &[(Uid, u32)]) {
        for (_, place) in gone.iter().rev() {
            response::line(&mut self.out, format_args!("* {} EXPUNGE", place + 1));
        }
    }

    /// The flags of a message, where the client knows it.
    pub(super) fn write_flags(&mut self, message: &Message) {
        let number = self.selected.as_ref().and_then(|view| view.number_of(message.uid));
        let Some(number) = number else { return };
        let out = &mut self.out;
        out.extend_from_slice(format!("* {number} FETCH (UID {} FLAGS ", message.uid).as_bytes());
        write_flag_list(out, message.flags, &message.keywords);
        out.extend_from_slice(b")\r\n");
    }
}
