//! What of a session is in the store: INBOX as it was at login, messages on their way out, and what QUIT removes.

use super::{Session, store_failure};
use crate::conn::Conn;
use sealpost_proto::pop3::{
    maildrop::{Maildrop, Position},
    reply::Reply,
};
use sealpost_store::{
    Store, StoreError,
    account::AccountId,
    mailbox::{ContentId, MailboxId},
};
use std::io;

/// Octets read from the store and written to the socket at a time.
const CHUNK: usize = 64 * 1024;

/// Where the messages of a maildrop lie.
pub(super) struct Mailbox {
    id: MailboxId,
    /// By position.
    contents: Vec<ContentId>,
}

impl Mailbox {
    /// INBOX at this moment.
    pub(super) async fn open(store: &dyn Store, account: AccountId) -> Result<(Self, Maildrop), StoreError> {
        let all = store.mailboxes(account).await?;
        let inbox = all.iter().find(|mailbox| mailbox.name == "INBOX").ok_or(StoreError::Gone("mailbox"))?;
        let drop = store.maildrop(inbox.id).await?;
        let contents = drop.messages.iter().map(|message| message.content).collect();
        let messages = drop.messages.into_iter().map(|message| (message.uid, message.line_octets));
        Ok((Self { id: inbox.id, contents }, Maildrop::new(drop.uid_validity, messages)))
    }
}

impl Session {
    /// RETR and TOP: from the store to the socket, a piece at a time.
    pub(super) async fn retrieve(&mut self, at: Position, conn: &mut Conn) -> io::Result<()> {
        let content =
            self.signed_in.as_ref().and_then(|(_, mailbox)| mailbox.contents.get(at.index()).copied());
        let reader = match content {
            Some(content) => self.context.store.content(content).await,
            None => Err(StoreError::Gone("message")),
        };
        let reader = match reader {
            Ok(reader) => reader,
            Err(StoreError::Gone(_)) => {
                self.server.refuse(&Reply::err("another session has removed this message"));
                return Ok(());
            }
            Err(error) => {
                self.server.refuse(&store_failure(&error));
                return Ok(());
            }
        };
        self.server.begin_message();
        let mut buffer = vec![0; CHUNK.min(usize::try_from(reader.len()).unwrap_or(CHUNK))];
        let mut offset = 0;
        while offset < reader.len() {
            let n = reader.read_at(offset, &mut buffer)?;
            if n == 0 {
                // A message that ends before its length must not look whole: the connection breaks.
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            offset += n as u64;
            let wants_more = self.server.push_message(&buffer[..n]);
            if self.server.output.len() >= CHUNK {
                self.flush(conn).await?;
            }
            if !wants_more {
                break;
            }
        }
        self.server.end_message();
        Ok(())
    }

    /// QUIT: all that was marked goes, or nothing does (RFC 1939 §6).
    pub(super) async fn update(&mut self, uids: &[u32]) {
        let Some((_, mailbox)) = &self.signed_in else {
            // The state machine asks for it behind a login alone.
            return self.server.refuse(&Reply::err("sign in first"));
        };
        match self.context.store.remove(mailbox.id, uids).await {
            Ok(_) => self.server.updated(),
            Err(error) => self.server.refuse(&store_failure(&error)),
        }
    }
}
