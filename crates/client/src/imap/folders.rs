//! Mailboxes: list, open, make; and changes to the messages of the open one.

use super::{Imap, ImapError, Result, name};
use sealpost_proto::imap::{
    Body, Condition, Flag, List, ListReturn, Reply, SelectParams, SequenceSet, StoreHow,
};
use tokio::io::{AsyncRead, AsyncWrite};

/// A mailbox in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Name in UTF-8.
    pub name: String,
    /// Attributes with their backslash: `\Sent`, `\HasNoChildren`, …
    pub attributes: Vec<String>,
    /// What stands between the levels of its name; `None` where names have no levels.
    pub delimiter: Option<char>,
}

impl Folder {
    /// Whether it has an attribute, e.g. `\Sent`.
    pub fn has(&self, attribute: &str) -> bool {
        self.attributes.iter().any(|a| a.eq_ignore_ascii_case(attribute))
    }
}

/// What SELECT and EXAMINE tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Selected {
    /// Messages.
    pub exists: u32,
    /// UIDVALIDITY.
    pub uid_validity: u32,
    /// UIDNEXT, where the server says it.
    pub uid_next: Option<u32>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Imap<S> {
    /// All mailboxes.
    pub async fn list(&mut self) -> Result<Vec<Folder>> {
        let mut list = List { patterns: vec!["*".into()], ..List::default() };
        // RFC 6154 §2: an ordinary LIST need not tell the special uses.
        if self.has("SPECIAL-USE") && self.has("LIST-EXTENDED") {
            list.returns = vec![ListReturn::SpecialUse];
            list.extended = true;
        }
        let answer = self.run(Body::List(list)).await?;
        Ok(answer
            .replies
            .into_iter()
            .filter_map(|reply| match reply {
                Reply::List { attributes, delimiter, name } => Some(Folder { name, attributes, delimiter }),
                _ => None,
            })
            .collect())
    }

    /// Opens a mailbox to read and change.
    pub async fn select(&mut self, mailbox: &str) -> Result<Selected> {
        self.open(mailbox, false).await
    }

    /// Opens a mailbox to read only.
    pub async fn examine(&mut self, mailbox: &str) -> Result<Selected> {
        self.open(mailbox, true).await
    }

    async fn open(&mut self, mailbox: &str, read_only: bool) -> Result<Selected> {
        let answer = self
            .run(Body::Select { mailbox: name(mailbox)?, read_only, params: SelectParams::default() })
            .await?;
        let mut selected = Selected::default();
        for reply in &answer.replies {
            match reply {
                Reply::Exists(n) => selected.exists = *n,
                Reply::Untagged(Condition::Ok, text) => {
                    let number = text.arguments.parse().ok();
                    match text.code.as_deref() {
                        Some("UIDVALIDITY") => selected.uid_validity = number.unwrap_or_default(),
                        Some("UIDNEXT") => selected.uid_next = number,
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        if selected.uid_validity == 0 {
            return Err(ImapError::Protocol("no UIDVALIDITY".into()));
        }
        Ok(selected)
    }

    /// CREATE.
    pub async fn create(&mut self, mailbox: &str) -> Result<()> {
        self.run(Body::Create { mailbox: name(mailbox)?, special_use: Vec::new() }).await.map(drop)
    }

    /// SUBSCRIBE: mail programs that show only what is subscribed to show it.
    pub async fn subscribe(&mut self, mailbox: &str) -> Result<()> {
        self.run(Body::Subscribe { mailbox: name(mailbox)?, on: true }).await.map(drop)
    }

    /// Leaves the open mailbox without removing what has \Deleted: UNSELECT (RFC 3691). Servers without it are left
    /// where they are, which costs no more than a few responses.
    pub async fn unselect(&mut self) -> Result<()> {
        if self.has("UNSELECT") { self.run(Body::Unselect).await.map(drop) } else { Ok(()) }
    }

    /// UID STORE, silently.
    pub async fn store_flags(&mut self, uids: SequenceSet, how: StoreHow, flags: Vec<Flag>) -> Result<()> {
        self.run(Body::Store { uid: true, set: uids, how, silent: true, flags, unchanged_since: None })
            .await
            .map(drop)
    }

    /// UID COPY.
    pub async fn copy(&mut self, uids: SequenceSet, mailbox: &str) -> Result<()> {
        let mailbox = name(mailbox)?;
        self.run(Body::Copy { uid: true, remove: false, set: uids, mailbox }).await.map(drop)
    }

    /// UID MOVE (RFC 6851).
    pub async fn move_to(&mut self, uids: SequenceSet, mailbox: &str) -> Result<()> {
        let mailbox = name(mailbox)?;
        self.run(Body::Copy { uid: true, remove: true, set: uids, mailbox }).await.map(drop)
    }

    /// Removes those of `uids` that have \Deleted (UIDPLUS); all that have it for `None`.
    pub async fn expunge(&mut self, uids: Option<SequenceSet>) -> Result<()> {
        self.run(Body::Expunge { uids }).await.map(drop)
    }
}
