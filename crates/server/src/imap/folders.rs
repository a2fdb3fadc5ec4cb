//! CREATE, DELETE, RENAME, SUBSCRIBE, STATUS, NAMESPACE.

use super::{
    objectid,
    session::{Done, Refusal, Session, ok},
};
use sealpost_proto::imap::{
    Atom, MailboxName, StatusItem, quote_mailbox,
    response::{self, Code},
};
use sealpost_store::{
    StoreError,
    mailbox::{MailboxId, MailboxStatus, SpecialUse},
};

/// Most mailboxes of one account: LIST of them all stays below a second.
const MAILBOXES_MAX: usize = 10_000;
/// Deepest hierarchy.
const LEVELS_MAX: usize = 32;

impl Session {
    /// RFC 2342: one personal namespace.
    pub(super) fn namespace(&mut self) -> Result<Done, Refusal> {
        self.account()?;
        response::line(&mut self.out, format_args!("* NAMESPACE ((\"\" \"/\")) NIL NIL"));
        ok("NAMESPACE done")
    }

    pub(super) async fn create(&mut self, name: &MailboxName, uses: &[Atom]) -> Result<Done, Refusal> {
        let account = self.account()?;
        // A trailing delimiter says that names below will follow (RFC 9051 §6.3.4).
        let trimmed = MailboxName::new(name.as_str().strip_suffix('/').unwrap_or(name.as_str()));
        let name = creatable(trimmed.as_ref().unwrap_or(name))?;
        // RFC 6154 §3. A mailbox has one use here, and a use one mailbox.
        let wanted = match uses {
            [] => None,
            [one] => Some(use_named(one.as_str()).ok_or_else(use_refused)?),
            _ => return Err(use_refused()),
        };
        if self.ctx.store.mailboxes(account).await?.len() >= MAILBOXES_MAX {
            return Err(Refusal::no(Code::Limit, "this account has too many mailboxes; delete some"));
        }
        let id = match self.ctx.store.create_mailbox(account, name.as_str(), wanted).await {
            Err(StoreError::Exists("mailbox with this special use")) => return Err(use_refused()),
            made => made?,
        };
        Ok(Done { code: Some(Code::MailboxId(objectid::mailbox(id))), text: "CREATE done" })
    }

    pub(super) async fn delete(&mut self, name: &MailboxName) -> Result<Done, Refusal> {
        let account = self.account()?;
        if name.as_str() == "INBOX" {
            return Err(Refusal::no(Code::Cannot, "INBOX cannot be deleted"));
        }
        let id = self.find(account, name).await?;
        self.ctx.store.delete_mailbox(account, name.as_str()).await?;
        if self.selected.as_ref().is_some_and(|view| view.id == id) {
            self.selected = None;
        }
        ok("DELETE done")
    }

    pub(super) async fn rename(&mut self, from: &MailboxName, to: &MailboxName) -> Result<Done, Refusal> {
        let account = self.account()?;
        let to = creatable(to)?;
        let below = to.as_str().strip_prefix(from.as_str()).is_some_and(|rest| rest.starts_with('/'));
        if below && from.as_str() != "INBOX" {
            return Err(Refusal::no(Code::Cannot, "a mailbox cannot be moved below itself"));
        }
        self.ctx.store.rename_mailbox(account, from.as_str(), to.as_str()).await?;
        ok("RENAME done")
    }

    pub(super) async fn subscribe(&mut self, name: &MailboxName, on: bool) -> Result<Done, Refusal> {
        let account = self.account()?;
        if on {
            creatable(name)?;
            if self.ctx.store.subscriptions(account).await?.len() >= MAILBOXES_MAX {
                return Err(Refusal::no(Code::Limit, "these are too many subscriptions; remove some"));
            }
        }
        self.ctx.store.subscribe(account, name.as_str(), on).await?;
        ok(if on { "SUBSCRIBE done" } else { "UNSUBSCRIBE done" })
    }

    pub(super) async fn status(&mut self, name: &MailboxName, items: &[StatusItem]) -> Result<Done, Refusal> {
        let account = self.account()?;
        let id = self.find(account, name).await?;
        let status = self.ctx.store.status(id).await?;
        self.enable_by(items);
        self.write_status(name, id, &status, items).await?;
        ok("STATUS done")
    }

    /// Who asks for MODSEQs knows them (RFC 7162 §3.1).
    pub(super) fn enable_by(&mut self, items: &[StatusItem]) {
        if items.contains(&StatusItem::HighestModSeq) {
            self.enable_condstore();
        }
    }

    pub(super) async fn write_status(
        &mut self,
        name: &MailboxName,
        id: MailboxId,
        status: &MailboxStatus,
        items: &[StatusItem],
    ) -> Result<(), Refusal> {
        // Counted only where it is asked for and there is something to count.
        let deleted = if items.contains(&StatusItem::DeletedStorage) && status.deleted > 0 {
            self.ctx.store.octets_of(id, None).await?
        } else {
            0
        };
        let values: Vec<String> = items
            .iter()
            .map(|item| match item {
                StatusItem::Messages => format!("MESSAGES {}", status.messages),
                StatusItem::Recent => "RECENT 0".to_owned(),
                StatusItem::UidNext => format!("UIDNEXT {}", status.uid_next),
                StatusItem::UidValidity => format!("UIDVALIDITY {}", status.uid_validity),
                StatusItem::Unseen => format!("UNSEEN {}", status.unseen),
                StatusItem::Deleted => format!("DELETED {}", status.deleted),
                StatusItem::DeletedStorage => format!("DELETED-STORAGE {}", deleted.div_ceil(1024)),
                StatusItem::Size => format!("SIZE {}", status.size),
                StatusItem::AppendLimit => format!("APPENDLIMIT {}", self.ctx.config.limits.message_size),
                StatusItem::HighestModSeq => format!("HIGHESTMODSEQ {}", status.modseq),
                StatusItem::MailboxId => format!("MAILBOXID ({})", objectid::mailbox(id)),
            })
            .collect();
        let name = quote_mailbox(name, self.enabled.names());
        response::line(&mut self.out, format_args!("* STATUS {name} ({})", values.join(" ")));
        Ok(())
    }
}

pub(super) fn use_refused() -> Refusal {
    Refusal::no(
        Code::UseAttr,
        "a mailbox has one use of \\Drafts, \\Sent, \\Archive, \\Junk and \\Trash, which no other has; see LIST",
    )
}

fn creatable(name: &MailboxName) -> Result<&MailboxName, Refusal> {
    if !name.is_creatable() || name.as_str().split('/').count() > LEVELS_MAX {
        return Err(Refusal::no(Code::Cannot, "a mailbox cannot have this name"));
    }
    Ok(name)
}

/// `\Sent` and its kin.
pub(super) fn use_attribute(special_use: SpecialUse) -> &'static str {
    match special_use {
        SpecialUse::Drafts => "\\Drafts",
        SpecialUse::Sent => "\\Sent",
        SpecialUse::Archive => "\\Archive",
        SpecialUse::Junk => "\\Junk",
        SpecialUse::Trash => "\\Trash",
    }
}

/// Special uses by name.
pub(super) fn use_named(name: &str) -> Option<SpecialUse> {
    [
        ("Drafts", SpecialUse::Drafts),
        ("Sent", SpecialUse::Sent),
        ("Archive", SpecialUse::Archive),
        ("Junk", SpecialUse::Junk),
        ("Trash", SpecialUse::Trash),
    ]
    .into_iter()
    .find(|(n, _)| name.eq_ignore_ascii_case(n))
    .map(|(_, s)| s)
}
