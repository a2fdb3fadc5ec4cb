//! One mail transaction: the message on its way to stable storage, and what it must not be.

use super::{
    Session,
    envelope::{Recipient, full},
    store_failure,
    trace::{return_path, transaction_id},
};
use crate::{imap::index::Indexer, quota};
use sealpost_proto::{
    message::{Header, MAX_HEADER_OCTETS, MailboxList},
    smtp::{reply::Reply, verb::Mail},
};
use sealpost_store::{
    StoreError,
    account::AccountId,
    mailbox::{Flags, NewMessage, Sketch},
    queue::{Accepted, BodyNeeds, RemoteEntry},
    spool::Spool,
};
use tokio::time::Instant;

/// RFC 5321 §6.3: a loop is cut, and not before 100 hops.
const RECEIVED_MAX: usize = 100;

/// An open mail transaction.
pub(super) struct Incoming {
    mail: Mail,
    recipients: Vec<Recipient>,
    /// Postmaster is among them, whose mail is taken whatever the account holds.
    for_postmaster: bool,
    /// Set with the first octet of the message.
    receiving: Option<Receiving>,
}

impl Incoming {
    pub(super) fn new(mail: Mail) -> Self {
        Self { mail, recipients: Vec::new(), for_postmaster: false, receiving: None }
    }
    /// Postmaster is among the recipients.
    pub(super) fn is_for_postmaster(&mut self) {
        self.for_postmaster = true;
    }
    /// What MAIL said, where it did.
    pub(super) fn declared_size(&self) -> u64 {
        self.mail.size.unwrap_or(0)
    }
    /// One delivery for each account, however many of its addresses are named.
    pub(super) fn add(&mut self, recipient: Recipient) {
        if !self.recipients.contains(&recipient) {
            self.recipients.push(recipient);
        }
    }
    fn accounts(&self) -> impl Iterator<Item = AccountId> {
        self.recipients.iter().filter_map(|r| if let Recipient::Local(id) = r { Some(*id) } else { None })
    }
}

/// The octets of one message: with `Return-Path` for the mailboxes here, without it for the queue.
struct Receiving {
    id: String,
    local: Option<Spool>,
    remote: Option<Spool>,
    /// What IMAP will want to know of the message, gathered as it passes.
    indexer: Indexer,
    /// The header, and what of the body came in the same piece.
    head: Vec<u8>,
    head_is_whole: bool,
    /// The first failure; answered at the end, as the message has to be read to there anyway.
    failure: Option<StoreError>,
}

impl Receiving {
    fn write(&mut self, octets: &[u8]) {
        if self.failure.is_some() {
            return;
        }
        self.collect_head(octets);
        if self.local.is_some() {
            self.indexer.push(octets);
        }
        for spool in [&mut self.local, &mut self.remote].into_iter().flatten() {
            if let Err(error) = spool.write(octets) {
                self.failure = Some(error.into());
                return;
            }
        }
    }
    /// Keeps the start of the message up to the empty line behind the header; one octet more than a header may
    /// have, so that too long a header shows as that.
    fn collect_head(&mut self, octets: &[u8]) {
        let room = (MAX_HEADER_OCTETS + 1).saturating_sub(self.head.len());
        if self.head_is_whole || room == 0 {
            return;
        }
        let seen = self.head.len().saturating_sub(3);
        self.head.extend_from_slice(&octets[..octets.len().min(room)]);
        self.head_is_whole =
            self.head.starts_with(b"\r\n") || self.head[seen..].windows(4).any(|w| w == b"\r\n\r\n");
    }
}

impl Session {
    /// Octets of the message.
    pub(super) fn body(&mut self, octets: &[u8]) {
        self.begin();
        if let Some(receiving) = self.incoming.as_mut().and_then(|i| i.receiving.as_mut()) {
            receiving.write(octets);
        }
    }

    /// Opens the spools, trace header first.
    fn begin(&mut self) {
        let Some(incoming) = &self.incoming else { return };
        if incoming.receiving.is_some() {
            return;
        }
        let id = transaction_id();
        let received = self.received(&id, incoming.mail.smtputf8);
        let reverse_path = incoming.mail.reverse_path.as_ref().map(ToString::to_string);
        let open = |head: &str| {
            let mut spool = self.context.store.spool();
            spool.write(head.as_bytes()).map(|()| spool)
        };
        let any_local = incoming.accounts().next().is_some();
        let any_remote = incoming.recipients.iter().any(|r| matches!(r, Recipient::Remote(_)));
        let mut indexer = Indexer::default();
        let local = any_local
            .then(|| {
                let head = return_path(reverse_path.as_deref()) + &received;
                indexer.push(head.as_bytes());
                open(&head)
            })
            .transpose();
        let remote = any_remote.then(|| open(&received)).transpose();
        let (local, remote, failure) = match (local, remote) {
            (Ok(local), Ok(remote)) => (local, remote, None),
            (Err(error), _) | (_, Err(error)) => (None, None, Some(error.into())),
        };
        if let Some(incoming) = &mut self.incoming {
            incoming.receiving = Some(Receiving {
                id,
                local,
                remote,
                indexer,
                head: Vec::new(),
                head_is_whole: false,
                failure,
            });
        }
    }

    /// The message is whole: judge it, put it on stable storage, and only then say 250.
    pub(super) async fn body_end(&mut self, eight_bit: bool) -> Result<Reply, Reply> {
        self.begin();
        let lost = || Reply::new(451, "4.3.0", "Local error, try again later");
        let incoming = self.incoming.take().ok_or_else(lost)?;
        let (mail, accounts) = (&incoming.mail, incoming.accounts().collect::<Vec<_>>());
        let mut receiving = incoming.receiving.ok_or_else(lost)?;
        if let Some(error) = receiving.failure.take() {
            return Err(store_failure(&error));
        }
        self.judge_header(&receiving.head).await?;

        let now = self.context.clock.now();
        let finish = |spool: Option<Spool>| spool.map(Spool::finish).transpose().map_err(StoreError::from);
        let (local, remote) = (|| Ok((finish(receiving.local)?, finish(receiving.remote)?)))()
            .map_err(|e: StoreError| store_failure(&e))?;
        if let (Some(body), false) = (&local, incoming.for_postmaster) {
            self.check_quotas(&incoming.recipients, body.len()).await?;
        }
        let (index, sketch) = match &local {
            Some(body) => {
                let described = receiving.indexer.finish(body).await;
                described.map_err(|e| store_failure(&e.into()))?
            }
            None => (Vec::new(), Sketch::default()),
        };
        let needs = BodyNeeds { eight_bit: mail.eight_bit || eight_bit, smtputf8: mail.smtputf8 };
        let message = Accepted {
            reverse_path: mail.reverse_path.as_ref().map(ToString::to_string),
            local: local.map_or_else(Vec::new, |body| {
                let message = || NewMessage {
                    body: body.clone(),
                    flags: Flags::default(),
                    keywords: Vec::new(),
                    internal_date: now,
                    index: index.clone(),
                    sketch: sketch.clone(),
                };
                accounts.into_iter().map(|id| (id, message())).collect()
            }),
            remote: remote.map_or_else(Vec::new, |body| {
                let entry = |domain, recipients| RemoteEntry {
                    body: body.clone(),
                    domain,
                    recipients,
                    needs,
                    received: now,
                    due: now,
                };
                by_domain(&incoming.recipients).into_iter().map(|(d, r)| entry(d, r)).collect()
            }),
        };
        self.context.store.accept(message).await.map_err(|e| store_failure(&e))?;
        self.fruitful = Instant::now();
        tracing::info!(id = receiving.id, "message accepted");
        Ok(Reply::new(250, "2.0.0", format!("OK: queued as {}", receiving.id)))
    }

    /// Refuses a message that no recipient has room for. Where one has, it is taken for all of those whose room was
    /// enough at RCPT: there is one reply for all, and a client that tells the size at MAIL never comes here.
    async fn check_quotas(&self, recipients: &[Recipient], size: u64) -> Result<(), Reply> {
        let mut refusal = None;
        for recipient in recipients {
            let Recipient::Local(account) = recipient else { return Ok(()) };
            match quota::held(&self.context, *account).await.map_err(|e| store_failure(&e))? {
                Some(held) if !held.has_room(size, 1) => {
                    // A refusal for a while outdoes one for good.
                    if refusal.is_none() || !held.never_fits(size) {
                        refusal = Some(full(held, size));
                    }
                }
                _ => return Ok(()),
            }
        }
        refusal.map_or(Ok(()), Err)
    }

    /// Loops, headers nobody could read, and other people's names in From.
    async fn judge_header(&self, head: &[u8]) -> Result<(), Reply> {
        let (header, _) =
            Header::read(head).map_err(|_| Reply::new(554, "5.6.0", "The message's header is too large"))?;
        if header.count("Received") >= RECEIVED_MAX {
            return Err(Reply::new(554, "5.4.6", "Too many hops, the message is in a loop"));
        }
        let Some(account) = self.who.signed_in().map(|s| s.account) else { return Ok(()) };
        let not_own = || Reply::new(550, "5.7.1", "From must be your own address");
        for field in header.all("From") {
            let list = MailboxList::parse(field.value());
            if list.faults > 0 || list.mailboxes.is_empty() {
                return Err(not_own());
            }
            for named in &list.mailboxes {
                let own = self.is_own(&named.mailbox.canonical(), account).await;
                if !own.map_err(|e| store_failure(&e))? {
                    return Err(not_own());
                }
            }
        }
        Ok(())
    }
}

/// Remote recipients as written, by canonical domain, in the order in which the domains came.
fn by_domain(recipients: &[Recipient]) -> Vec<(sealpost_proto::address::Domain, Vec<String>)> {
    let mut domains: Vec<(_, Vec<String>)> = Vec::new();
    for recipient in recipients {
        let Recipient::Remote(mailbox) = recipient else { continue };
        let domain = mailbox.domain();
        let text = mailbox.to_string();
        match domains.iter_mut().find(|(d, _)| *d == domain) {
            Some((_, list)) => list.push(text),
            None => domains.push((domain, vec![text])),
        }
    }
    domains
}
