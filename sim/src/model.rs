//! What a store is, without a disk: small maps, and what each change does to them. It says the number of everything
//! (accounts, mailboxes, UIDs, MODSEQs, UIDVALIDITY, generations, queue entries), so that nothing can be given out twice.

use crate::{
    act::{Accept, Act, SetKey},
    body::Octets,
};
use std::collections::{BTreeMap, BTreeSet};

/// A message in a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Content.
    pub octets: Octets,
    /// System flags.
    pub flags: u8,
    /// Keywords.
    pub keywords: BTreeSet<String>,
    /// MODSEQ of its last change.
    pub modseq: u64,
    /// When it came into the mailbox.
    pub saved: i64,
}

/// A mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mailbox {
    /// Whose.
    pub account: i64,
    /// Its name.
    pub name: String,
    /// Special use, as a number.
    pub special: u8,
    /// UIDVALIDITY.
    pub validity: u32,
    /// UIDNEXT.
    pub next: u32,
    /// HIGHESTMODSEQ.
    pub modseq: u64,
    /// By UID.
    pub messages: BTreeMap<u32, Message>,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Account {
    /// Primary address.
    pub address: String,
    /// The code that may be used once.
    pub code: Option<u8>,
    /// Login, by the octet its salt is made of.
    pub login: Option<u8>,
    /// The published key, by number.
    pub key: Option<u8>,
    /// Statements, newest first.
    pub chain: Vec<u8>,
    /// Its compare-and-swap token.
    pub generation: i64,
    /// The key salt, where the octet it is made of is known.
    pub salt: Option<u8>,
    /// The current keyring.
    pub keyring: Option<Vec<u8>>,
    /// Names of app passwords.
    pub passwords: BTreeSet<String>,
    /// Subscribed names.
    pub subscribed: BTreeSet<String>,
}

/// A queue entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// Content.
    pub octets: Octets,
    /// Reverse-path.
    pub from: Option<String>,
    /// Recipients left.
    pub to: Vec<String>,
    /// Attempts.
    pub attempts: u32,
    /// Last error.
    pub error: Option<String>,
    /// Due.
    pub due: i64,
}

/// All that can be seen of a store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// By id.
    pub accounts: BTreeMap<i64, Account>,
    /// Address to account.
    pub aliases: BTreeMap<String, i64>,
    /// By id.
    pub mailboxes: BTreeMap<i64, Mailbox>,
    /// By id.
    pub queue: BTreeMap<i64, Queued>,
    /// When the next entry may be claimed.
    pub next_due: Option<i64>,
    /// The server's own secret, once it was asked for.
    pub secret: Option<String>,
}

/// The state of a store, with what cannot be seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Model {
    /// What can be seen.
    pub seen: Seen,
    /// Until when entries are claimed.
    pub claims: BTreeMap<i64, i64>,
    expires: BTreeMap<i64, i64>,
    last_account: i64,
    last_mailbox: i64,
    last_validity: i64,
    last_entry: i64,
}

/// What the store answers: the words of its errors and results that matter.
pub type Answer = Result<String, &'static str>;

const STANDARD: [(&str, u8); 6] =
    [("INBOX", 0), ("Drafts", 1), ("Sent", 2), ("Archive", 3), ("Junk", 4), ("Trash", 5)];

impl Model {
    /// As [`crate::look::numbers`] gives them.
    pub fn numbers(&self) -> [i64; 4] {
        [self.last_account, self.last_mailbox, self.last_entry, self.last_validity]
    }
    /// What the store must answer, and what it then is. A refusal changes nothing.
    pub fn apply(&mut self, act: &Act, now: i64) -> Answer {
        let mut after = self.clone();
        let answer = after.change(act, now);
        if answer.is_ok() {
            after.next_due();
            *self = after;
        }
        answer
    }

    /// Claims end with the process.
    pub fn restart(&mut self) {
        self.claims.clear();
        self.next_due();
    }

    fn next_due(&mut self) {
        let claims = &self.claims;
        let all = self.seen.queue.iter().map(|(id, entry)| claims.get(id).copied().unwrap_or(entry.due));
        self.seen.next_due = all.min();
    }

    fn account(&mut self, id: i64) -> Result<&mut Account, &'static str> {
        self.seen.accounts.get_mut(&id).ok_or("gone")
    }

    fn by_address(&self, address: &str) -> Option<i64> {
        self.seen.accounts.iter().find(|(_, account)| account.address == address).map(|(id, _)| *id)
    }

    fn find(&self, account: i64, name: &str) -> Option<i64> {
        self.seen
            .mailboxes
            .iter()
            .find(|(_, mailbox)| mailbox.account == account && mailbox.name == name)
            .map(|(id, _)| *id)
    }

    fn mailbox(&mut self, id: i64) -> Result<&mut Mailbox, &'static str> {
        self.seen.mailboxes.get_mut(&id).ok_or("gone")
    }

    fn insert(&mut self, account: i64, name: &str, special: u8, now: i64) -> i64 {
        self.last_mailbox += 1;
        self.last_validity = (self.last_validity + 1).max(now.clamp(0, i64::from(u32::MAX) / 2));
        let validity = u32::try_from(self.last_validity).expect("small");
        let mailbox = Mailbox {
            account,
            name: name.to_owned(),
            special,
            validity,
            next: 1,
            modseq: 1,
            messages: BTreeMap::new(),
        };
        self.seen.mailboxes.insert(self.last_mailbox, mailbox);
        self.last_mailbox
    }

    fn above(&mut self, account: i64, name: &str, now: i64) {
        for (at, _) in name.match_indices('/') {
            if self.find(account, &name[..at]).is_none() {
                self.insert(account, &name[..at], 0, now);
            }
        }
    }

    fn login_used(&self, login: u8) -> bool {
        self.seen.accounts.values().any(|account| account.login == Some(login))
    }

    fn change(&mut self, act: &Act, now: i64) -> Answer {
        match act {
            Act::CreateAccount { address, code, expires } => {
                if self.by_address(address).is_some() || self.seen.aliases.contains_key(address) {
                    return Err("exists");
                }
                self.last_account += 1;
                let id = self.last_account;
                let account = Account {
                    address: address.clone(),
                    code: Some(*code),
                    generation: 1,
                    subscribed: STANDARD.iter().map(|(name, _)| (*name).to_owned()).collect(),
                    ..Account::default()
                };
                self.seen.accounts.insert(id, account);
                self.expires.insert(id, *expires);
                for (name, special) in STANDARD {
                    self.insert(id, name, special, now);
                }
                Ok(format!("account {id}"))
            }
            Act::ResetAccount { address, code, expires } => {
                let id = self.by_address(address).ok_or("gone")?;
                self.account(id)?.code = Some(*code);
                self.expires.insert(id, *expires);
                Ok(format!("account {id}"))
            }
            Act::RemoveAccount { address } => {
                let id = self.by_address(address).ok_or("gone")?;
                self.seen.accounts.remove(&id);
                self.seen.aliases.retain(|_, account| *account != id);
                self.seen.mailboxes.retain(|_, mailbox| mailbox.account != id);
                Ok("done".into())
            }
            Act::SetAlias { alias, account } => {
                self.account(*account)?;
                if self.by_address(alias).is_some() {
                    return Err("exists");
                }
                self.seen.aliases.insert(alias.clone(), *account);
                Ok("done".into())
            }
            Act::Enrol { address, code, login, now } => {
                let Some(id) = self.by_address(address) else { return Ok("wrong code".into()) };
                let expired = self.expires.get(&id).is_none_or(|expires| expires <= now);
                if self.account(id)?.code != Some(*code) || expired {
                    return Ok("wrong code".into());
                }
                if self.login_used(*login) {
                    return Ok("salt in use".into());
                }
                let account = self.account(id)?;
                account.login = Some(*login);
                account.code = None;
                account.generation += 1;
                if account.key.take().is_some() {
                    account.salt = None;
                    account.passwords.clear();
                }
                Ok(format!("enrolled {id}"))
            }
            Act::ResetSalt { account, generation, salt } => {
                let Ok(account) = self.account(*account) else { return Ok("key changed".into()) };
                if account.generation != *generation || account.key.is_some() {
                    return Ok("key changed".into());
                }
                account.salt = Some(*salt);
                account.generation += 1;
                Ok("done".into())
            }
            Act::SetKey(change) => self.set_key(change),
            Act::PutKeyring { account, replaces, data } => {
                let account = self.account(*account)?;
                if account.keyring != *replaces {
                    return Ok("keyring changed".into());
                }
                account.keyring = Some(data.clone());
                Ok("done".into())
            }
            Act::AddPassword { account, name } => {
                if self.account(*account)?.passwords.insert(name.clone()) {
                    Ok("done".into())
                } else {
                    Err("exists")
                }
            }
            Act::RevokePassword { account, name } => {
                if self.account(*account)?.passwords.remove(name) {
                    Ok("done".into())
                } else {
                    Err("gone")
                }
            }
            // The first time it is what the store says.
            Act::Secret { told } => Ok(self.seen.secret.get_or_insert_with(|| told.clone()).clone()),
            Act::Create { account, name } => {
                self.account(*account)?;
                if self.find(*account, name).is_some() {
                    return Err("exists");
                }
                self.above(*account, name, now);
                let id = self.insert(*account, name, 0, now);
                Ok(format!("mailbox {id}"))
            }
            Act::Delete { account, name } => {
                if name == "INBOX" {
                    return Err("refused");
                }
                let id = self.find(*account, name).ok_or("gone")?;
                self.seen.mailboxes.remove(&id);
                Ok("done".into())
            }
            Act::Rename { account, from, to } => self.rename(*account, from, to, now),
            Act::Subscribe { account, name, on } => {
                // A subscription needs its account; taking one away does not.
                match (self.account(*account), on) {
                    (Ok(account), true) => drop(account.subscribed.insert(name.clone())),
                    (Ok(account), false) => drop(account.subscribed.remove(name)),
                    (Err(gone), true) => return Err(gone),
                    (Err(_), false) => {}
                }
                Ok("done".into())
            }
            Act::Append { mailbox, messages } => {
                let uids = self.append(*mailbox, messages, now)?;
                Ok(format!("{uids:?}"))
            }
            Act::Flag { mailbox, uids, how, flags, keywords, since } => {
                self.flag(*mailbox, uids, *how, *flags, keywords, *since)
            }
            Act::Copy { from, uids, to, remove } => {
                let there = those(self.mailbox(*from)?, uids);
                let pairs = self.transfer(*from, &there, *to, *remove, now)?;
                Ok(format!("{pairs:?}"))
            }
            Act::Expunge { mailbox, uids } => {
                let mailbox = self.mailbox(*mailbox)?;
                let mut gone = match uids {
                    Some(uids) => those(mailbox, uids),
                    None => mailbox.messages.keys().copied().collect(),
                };
                gone.retain(|uid| mailbox.messages[uid].flags & 8 != 0);
                mailbox.remove(&gone);
                Ok(format!("{gone:?}"))
            }
            Act::Quit { mailbox, uids } => {
                let mailbox = self.mailbox(*mailbox)?;
                let gone = those(mailbox, uids);
                mailbox.remove(&gone);
                Ok(format!("{gone:?}"))
            }
            Act::Accept(accept) => {
                self.accept(accept, now)?;
                Ok("done".into())
            }
            // The store looks before it asks for a transaction.
            Act::Claim { any: false, .. } => Ok("[]".into()),
            Act::Claim { now, lease, limit, .. } => {
                let claims = &self.claims;
                let mut due: Vec<(i64, i64)> = self
                    .seen
                    .queue
                    .iter()
                    .map(|(id, entry)| (claims.get(id).copied().unwrap_or(entry.due), *id))
                    .filter(|(claimable, _)| claimable <= now)
                    .collect();
                due.sort_unstable();
                due.truncate(*limit);
                let ids: Vec<i64> = due.into_iter().map(|(_, id)| id).collect();
                for id in &ids {
                    self.claims.insert(*id, now + lease);
                }
                Ok(format!("{ids:?}"))
            }
            Act::Settle { id, rest, bounce } => {
                let entry = self.seen.queue.get_mut(id).ok_or("gone")?;
                self.claims.remove(id);
                match rest {
                    Some((recipients, due)) => {
                        entry.to.clone_from(recipients);
                        entry.attempts += 1;
                        entry.due = *due;
                        entry.error = Some("try later".into());
                    }
                    None => drop(self.seen.queue.remove(id)),
                }
                if let Some(bounce) = bounce {
                    self.accept(bounce, now)?;
                }
                Ok("done".into())
            }
        }
    }

    fn set_key(&mut self, change: &SetKey) -> Answer {
        if self.account(change.account)?.generation != change.generation {
            return Ok("key changed".into());
        }
        if change.login.is_some_and(|login| self.login_used(login)) {
            return Ok("salt in use".into());
        }
        let account = self.account(change.account)?;
        if let Some((replaces, data)) = &change.keyring {
            if account.keyring != *replaces {
                return Ok("keyring changed".into());
            }
            account.keyring = Some(data.clone());
        }
        account.key = Some(change.key);
        account.generation += 1;
        account.salt = change.salt.or(account.salt);
        account.login = change.login.or(account.login);
        if change.statement {
            account.chain.insert(0, change.key);
        }
        Ok("done".into())
    }

    fn rename(&mut self, account: i64, from: &str, to: &str, now: i64) -> Answer {
        let id = self.find(account, from).ok_or("gone")?;
        if self.find(account, to).is_some() {
            return Err("exists");
        }
        if from == "INBOX" {
            self.above(account, to, now);
            let target = self.insert(account, to, 0, now);
            let all: Vec<u32> = self.mailbox(id)?.messages.keys().copied().collect();
            self.transfer(id, &all, target, true, now)?;
            return Ok("done".into());
        }
        let below = format!("{from}/");
        if to.starts_with(&below) {
            return Err("refused");
        }
        let children: Vec<(i64, String)> = self
            .seen
            .mailboxes
            .iter()
            .filter(|(_, mailbox)| mailbox.account == account && mailbox.name.starts_with(&below))
            .map(|(id, mailbox)| (*id, format!("{to}{}", &mailbox.name[from.len()..])))
            .collect();
        if children.iter().any(|(_, name)| self.find(account, name).is_some()) {
            return Err("exists");
        }
        self.above(account, to, now);
        to.clone_into(&mut self.mailbox(id)?.name);
        for (child, name) in children {
            self.mailbox(child)?.name = name;
        }
        Ok("done".into())
    }

    fn append(
        &mut self,
        mailbox: i64,
        messages: &[(Octets, u8, Vec<String>)],
        now: i64,
    ) -> Result<Vec<(u32, u32)>, &'static str> {
        let mailbox = self.mailbox(mailbox)?;
        if !messages.is_empty() {
            mailbox.modseq += 1;
        }
        let mut uids = Vec::new();
        for (octets, flags, keywords) in messages {
            let message = Message {
                octets: *octets,
                flags: *flags,
                keywords: keywords.iter().cloned().collect(),
                modseq: mailbox.modseq,
                saved: now,
            };
            mailbox.messages.insert(mailbox.next, message);
            uids.push((0, mailbox.next));
            mailbox.next += 1;
        }
        Ok(uids)
    }

    fn flag(
        &mut self,
        mailbox: i64,
        uids: &[u32],
        how: u8,
        flags: u8,
        keywords: &[String],
        since: Option<u64>,
    ) -> Answer {
        let mailbox = self.mailbox(mailbox)?;
        let next = mailbox.modseq + 1;
        let (mut touched, mut left) = (Vec::new(), Vec::new());
        for uid in those(mailbox, uids) {
            let message = mailbox.messages.get_mut(&uid).ok_or("gone")?;
            if since.is_some_and(|since| message.modseq > since) {
                left.push(uid);
                continue;
            }
            let before = message.clone();
            match how {
                0 => {
                    message.flags = flags;
                    message.keywords = keywords.iter().cloned().collect();
                }
                1 => {
                    message.flags |= flags;
                    message.keywords.extend(keywords.iter().cloned());
                }
                _ => {
                    message.flags &= !flags;
                    message.keywords.retain(|keyword| !keywords.contains(keyword));
                }
            }
            if *message != before {
                message.modseq = next;
                mailbox.modseq = next;
            }
            touched.push(uid);
        }
        Ok(format!("{touched:?} {left:?}"))
    }

    fn transfer(
        &mut self,
        from: i64,
        uids: &[u32],
        to: i64,
        remove: bool,
        now: i64,
    ) -> Result<Vec<(u32, u32)>, &'static str> {
        let rows: Vec<Message> = {
            let source = self.mailbox(from)?;
            uids.iter().map(|uid| source.messages[uid].clone()).collect()
        };
        let target = self.mailbox(to)?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        target.modseq += 1;
        let mut pairs = Vec::new();
        for (uid, row) in uids.iter().zip(rows) {
            target.messages.insert(target.next, Message { modseq: target.modseq, saved: now, ..row });
            pairs.push((*uid, target.next));
            target.next += 1;
        }
        if remove {
            self.mailbox(from)?.remove(uids);
        }
        Ok(pairs)
    }

    fn accept(&mut self, accept: &Accept, now: i64) -> Result<(), &'static str> {
        for account in &accept.local {
            let inbox = self.find(*account, "INBOX").ok_or("gone")?;
            self.append(inbox, &[(accept.octets, 0, Vec::new())], now)?;
        }
        for recipients in &accept.remote {
            self.last_entry += 1;
            let entry = Queued {
                octets: accept.octets,
                from: accept.from.clone(),
                to: recipients.clone(),
                attempts: 0,
                error: None,
                due: accept.due,
            };
            self.seen.queue.insert(self.last_entry, entry);
        }
        Ok(())
    }
}

impl Mailbox {
    fn remove(&mut self, uids: &[u32]) {
        if !uids.is_empty() {
            self.modseq += 1;
        }
        for uid in uids {
            self.messages.remove(uid);
        }
    }
}

/// Those that exist, ascending, each once.
fn those(mailbox: &Mailbox, uids: &[u32]) -> Vec<u32> {
    let wanted: BTreeSet<u32> = uids.iter().copied().collect();
    wanted.into_iter().filter(|uid| mailbox.messages.contains_key(uid)).collect()
}
