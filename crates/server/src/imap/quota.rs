//! QUOTA (RFC 9208): GETQUOTA, GETQUOTAROOT, and what APPEND and COPY must not go over. One root for an account, with the
//! empty name; the resources are STORAGE and MESSAGE. Limits are set by administrators alone.

use super::session::{Done, Refusal, Session, ok};
use crate::quota::{self, Held};
use sealpost_proto::imap::{
    MailboxName, quote_mailbox,
    response::{self, Code},
};

/// RFC 9208 §5.1: STORAGE counts units of 1024 octets.
const UNIT: u64 = 1024;

pub(super) fn over() -> Refusal {
    Refusal::no(Code::OverQuota, "this account is full; remove some mail and expunge it first")
}

impl Session {
    /// What the account holds, where it has a limit.
    pub(super) async fn held(&self) -> Result<Option<Held>, Refusal> {
        Ok(quota::held(&self.ctx, self.account()?).await?)
    }

    pub(super) async fn get_quota(&mut self, root: &str) -> Result<Done, Refusal> {
        match self.held().await? {
            Some(held) if root.is_empty() => {
                self.quota_line(held);
                ok("GETQUOTA done")
            }
            _ => Err(Refusal::no(Code::NonExistent, "there is no such quota root")),
        }
    }

    pub(super) async fn get_quota_root(&mut self, mailbox: &MailboxName) -> Result<Done, Refusal> {
        let account = self.account()?;
        self.find(account, mailbox).await?;
        let held = self.held().await?;
        let name = quote_mailbox(mailbox, self.enabled.names());
        let root = if held.is_some() { " \"\"" } else { "" };
        response::line(&mut self.out, format_args!("* QUOTAROOT {name}{root}"));
        if let Some(held) = held {
            self.quota_line(held);
        }
        ok("GETQUOTAROOT done")
    }

    /// What is limited. Of octets, usage is rounded up and the limit down, so that what is full reads as full.
    fn quota_line(&mut self, held: Held) {
        let Held { octets, messages, usage } = held;
        let storage = octets.map(|limit| format!("STORAGE {} {}", usage.octets.div_ceil(UNIT), limit / UNIT));
        let message = messages.map(|limit| format!("MESSAGE {} {limit}", usage.messages));
        let all: Vec<String> = storage.into_iter().chain(message).collect();
        response::line(&mut self.out, format_args!("* QUOTA \"\" ({})", all.join(" ")));
    }
}
