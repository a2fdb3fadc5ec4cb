//! MAIL and RCPT: who may send what to whom.

use super::{Session, receive::Incoming, store_failure};
use crate::{
    context::Context,
    quota::{self, Held},
};
use sealpost_proto::{
    address::{Address, Domain, Mailbox},
    smtp::{
        reply::Reply,
        verb::{Mail, Rcpt},
    },
};
use sealpost_store::{StoreError, account::AccountId};
use std::net::IpAddr;

/// Where a recipient's mail goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Recipient {
    /// INBOX of an account here.
    Local(AccountId),
    /// Another domain.
    Remote(Mailbox),
}

/// The refusal of a message for which there is no room: for good where it is larger than all the room there is, else until
/// something has been removed.
pub(super) fn full(held: Held, size: u64) -> Reply {
    if held.never_fits(size) {
        Reply::new(552, "5.2.2", "The message is larger than this mailbox may be")
    } else {
        Reply::new(452, "4.2.2", "The mailbox is full, try again later")
    }
}

/// The account that mail for an address of ours goes to (`None`: there is none).
async fn local_account(context: &Context, address: &Address) -> Result<Option<AccountId>, StoreError> {
    match context.store.resolve(address).await? {
        None if address.local() == "postmaster" => postmaster(context).await,
        found => Ok(found),
    }
}

/// RFC 5321 §4.5.1: mail for postmaster is always taken. It goes to the configured account, else to one called
/// postmaster in any of our domains, else to the oldest account, which is the administrator's in most set-ups.
async fn postmaster(context: &Context) -> Result<Option<AccountId>, StoreError> {
    let named = context
        .config
        .domains
        .iter()
        .filter_map(|domain| Address::parse(&format!("postmaster@{domain}")).ok());
    for address in context.config.postmaster.iter().cloned().chain(named) {
        if let Some(account) = context.store.resolve(&address).await? {
            return Ok(Some(account));
        }
    }
    Ok(context.store.accounts().await?.iter().map(|account| account.id).min())
}

impl Session {
    /// Whether `address` is the signed-in account's own: its primary address, an alias, or either with `+detail`.
    pub(super) async fn is_own(&self, address: &Address, account: AccountId) -> Result<bool, StoreError> {
        Ok(self.context.config.is_local(&address.domain())
            && self.context.store.resolve(address).await? == Some(account))
    }

    pub(super) async fn mail(&mut self, mail: Mail) -> Result<Reply, Reply> {
        if let Some(account) = self.who.signed_in().map(|s| s.account) {
            let own = match &mail.reverse_path {
                Some(path) => self.is_own(&path.canonical(), account).await.map_err(|e| store_failure(&e))?,
                None => false,
            };
            if !own {
                return Err(Reply::new(553, "5.7.1", "You may send from your own address only"));
            }
        }
        self.incoming = Some(Incoming::new(mail));
        Ok(Reply::new(250, "2.1.0", "OK"))
    }

    /// `postmaster@` with the host's own name, or with the address at which the client has found it: who cannot reach
    /// anybody by a domain tries that (RFC 5321 §4.1.3).
    fn is_postmaster_of_this_host(&self, mailbox: &Mailbox) -> bool {
        let domain = mailbox.domain();
        let literal = match self.local.to_canonical() {
            IpAddr::V4(v4) => format!("[{v4}]"),
            IpAddr::V6(v6) => format!("[IPv6:{v6}]"),
        };
        let is_host = |name: &str| Domain::parse(name).is_ok_and(|name| name == domain);
        mailbox.canonical().local() == "postmaster"
            && (is_host(&self.context.config.hostname) || is_host(&literal))
    }

    async fn postmaster(&self) -> Result<Option<Recipient>, Reply> {
        Ok(postmaster(&self.context).await.map_err(|e| store_failure(&e))?.map(Recipient::Local))
    }

    /// Whether the account has room for the message, as far as MAIL told its size.
    async fn check_quota(&self, account: AccountId) -> Result<(), Reply> {
        let held = quota::held(&self.context, account).await.map_err(|e| store_failure(&e))?;
        let size = self.incoming.as_ref().map_or(0, Incoming::declared_size);
        match held {
            Some(held) if !held.has_room(size.max(1), 1) => Err(full(held, size)),
            _ => Ok(()),
        }
    }

    pub(super) async fn rcpt(&mut self, rcpt: Rcpt) -> Result<Reply, Reply> {
        let postmaster = match &rcpt {
            Rcpt::Postmaster => true,
            Rcpt::Mailbox(mailbox) => mailbox.canonical().local() == "postmaster",
        };
        let recipient = match rcpt {
            Rcpt::Postmaster => self.postmaster().await?,
            Rcpt::Mailbox(mailbox) if self.is_postmaster_of_this_host(&mailbox) => self.postmaster().await?,
            Rcpt::Mailbox(mailbox) if self.context.config.is_local(&mailbox.domain()) => {
                let address = mailbox.canonical();
                let found = local_account(&self.context, &address).await.map_err(|e| store_failure(&e))?;
                if found.is_none() && !postmaster {
                    return Err(Reply::new(550, "5.1.1", "No such user here"));
                }
                // Mail for postmaster is always taken.
                if let Some(account) = found
                    && !postmaster
                {
                    self.check_quota(account).await?;
                }
                found.map(Recipient::Local)
            }
            Rcpt::Mailbox(_) if self.who.signed_in().is_none() => {
                return Err(Reply::new(550, "5.7.1", "Relaying denied"));
            }
            Rcpt::Mailbox(mailbox) if mailbox.domain().is_literal() => {
                return Err(Reply::new(550, "5.1.2", "Mail to address literals is not relayed"));
            }
            Rcpt::Mailbox(mailbox) => Some(Recipient::Remote(mailbox)),
        };
        // Only a server without a single account has nobody to be postmaster.
        let recipient =
            recipient.ok_or_else(|| Reply::new(450, "4.2.1", "No account here yet, try again later"))?;
        if let Some(incoming) = &mut self.incoming {
            if postmaster && matches!(recipient, Recipient::Local(_)) {
                incoming.is_for_postmaster();
            }
            incoming.add(recipient);
        }
        Ok(Reply::new(250, "2.1.5", "OK"))
    }
}
