//! The truth: what an account holds, as RFC 9051 says it, in memory.

use super::modseq::{Modseqs, Tick};
use super::{backup::Kept, content::Look};
use std::collections::{BTreeMap, BTreeSet};

/// In lower case.
pub(super) type Flags = BTreeSet<String>;

#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) flags: Flags,
    pub(super) text: String,
    /// What the text means.
    pub(super) look: Look,
    /// Tells one message from another, however many copies there are.
    pub(super) serial: u64,
    /// When it came, or its flags changed.
    pub(super) tick: Tick,
}

impl Message {
    pub(super) fn state(&self) -> State {
        State { flags: self.flags.clone(), tick: self.tick }
    }
}

/// What can change of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    pub(super) flags: Flags,
    pub(super) tick: Tick,
}

#[derive(Debug, Clone)]
pub(super) struct Mailbox {
    pub(super) name: String,
    /// Known once it was told.
    pub(super) validity: Option<u32>,
    /// The lowest UID that a new message may get: above all that were given, and what UIDNEXT promised.
    pub(super) next: u32,
    pub(super) messages: BTreeMap<u32, Message>,
    /// UIDs that were removed, and when.
    pub(super) gone: BTreeMap<u32, Tick>,
    pub(super) modseqs: Modseqs,
}

impl Mailbox {
    /// Takes out what is not to be kept.
    pub(super) fn remove(&mut self, tick: Tick, gone: impl Fn(u32, &Message) -> bool) {
        let leaves: Vec<u32> =
            self.messages.iter().filter(|(uid, m)| gone(**uid, m)).map(|(uid, _)| *uid).collect();
        for uid in leaves {
            self.messages.remove(&uid);
            self.gone.insert(uid, tick);
            self.modseqs.changed = tick;
        }
    }

    /// The MODSEQ of a message in one of its states, where it was told.
    pub(super) fn modseq(&self, uid: u32, state: &State) -> Option<u64> {
        self.modseqs.of(uid, state.tick)
    }
}

/// What a client keeps of a mailbox that it has left (RFC 7162 §3.2.5).
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) name: String,
    pub(super) validity: u32,
    pub(super) modseq: u64,
    pub(super) uids: Vec<u32>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Truth {
    pub(super) mailboxes: BTreeMap<u64, Mailbox>,
    pub(super) names: BTreeMap<String, u64>,
    pub(super) subscribed: BTreeSet<String>,
    /// Which message a name, a UIDVALIDITY and a UID ever meant.
    given: BTreeMap<(String, u32, u32), u64>,
    /// Mailboxes as clients saw them, which they ask for what came since.
    pub(super) seen: Vec<Seen>,
    last: u64,
    /// When the messages of a mailbox were put there, as told (RFC 8514): it stays.
    pub(super) saved_at: BTreeMap<(u64, u32), String>,
    /// The last backup.
    pub(super) kept: Option<Kept>,
    /// Names and UIDVALIDITYs of times that a restore has undone.
    pub(super) spent: BTreeSet<(String, u32)>,
    /// What was ever stored, or was meant to be: later messages answer earlier ones.
    pub(super) written: Vec<Look>,
    /// The command that is being done.
    pub(super) tick: Tick,
}

impl Truth {
    pub(super) fn new() -> Self {
        let mut truth = Self::default();
        for name in ["INBOX", "Drafts", "Sent", "Archive", "Junk", "Trash"] {
            truth.create(name);
            truth.subscribed.insert(name.to_owned());
        }
        truth
    }

    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// The last number that was given.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// The next number is above this one.
    pub(super) fn skip(&mut self, number: u64) {
        self.last = number;
    }

    /// A number of its own for a message.
    pub(super) fn serial(&mut self) -> u64 {
        self.number()
    }

    /// A mailbox and the levels above it.
    pub(super) fn create(&mut self, name: &str) -> u64 {
        let ends = name.match_indices('/').map(|(at, _)| at).chain([name.len()]);
        for end in ends {
            let level = name[..end].to_owned();
            if !self.names.contains_key(&level) {
                let id = self.number();
                let mailbox = Mailbox {
                    name: level.clone(),
                    validity: None,
                    next: 1,
                    messages: BTreeMap::new(),
                    gone: BTreeMap::new(),
                    modseqs: Modseqs::default(),
                };
                self.mailboxes.insert(id, mailbox);
                self.names.insert(level, id);
            }
        }
        self.names[name]
    }

    pub(super) fn delete(&mut self, name: &str) {
        if let Some(id) = self.names.remove(name) {
            self.mailboxes.remove(&id);
        }
    }

    /// What a RENAME must answer with: whether it may be done.
    pub(super) fn may_rename(&self, from: &str, to: &str) -> bool {
        let children = |from: &str| {
            let below = format!("{from}/");
            self.names.keys().filter(move |name| name.starts_with(&below)).cloned().collect::<Vec<_>>()
        };
        self.names.contains_key(from)
            && !self.names.contains_key(to)
            && (from == "INBOX"
                || !to.starts_with(&format!("{from}/"))
                    && children(from)
                        .iter()
                        .all(|name| !self.names.contains_key(&format!("{to}{}", &name[from.len()..]))))
    }

    /// A mailbox and what is below it; not INBOX, which stays.
    pub(super) fn rename(&mut self, from: &str, to: &str) {
        let below = format!("{from}/");
        let moved: Vec<String> =
            self.names.keys().filter(|name| *name == from || name.starts_with(&below)).cloned().collect();
        let ids: Vec<(String, u64)> =
            moved.iter().map(|name| (name.clone(), self.names.remove(name).expect("listed"))).collect();
        if let Some((above, _)) = to.rsplit_once('/') {
            self.create(above);
        }
        for (name, id) in ids {
            let name = format!("{to}{}", &name[from.len()..]);
            let mailbox = self.mailboxes.get_mut(&id).expect("there");
            mailbox.name.clone_from(&name);
            // RFC 9051 §6.3.6 leaves it to the server whether it stays.
            mailbox.validity = None;
            self.names.insert(name, id);
        }
    }

    /// Takes over what does not go back with a restore: numbers that were given, and what was told.
    pub(super) fn follows(&mut self, lost: Self) {
        self.last = lost.last;
        self.tick = lost.tick;
        self.given = lost.given;
        self.seen = lost.seen;
        self.written = lost.written;
    }

    /// UIDVALIDITY as told; it must be what it was.
    pub(super) fn told_validity(&mut self, id: u64, validity: u32) -> Result<(), String> {
        if let Some(mailbox) = self.mailboxes.get(&id) {
            self.is_new(&mailbox.name, validity)?;
        }
        let Some(mailbox) = self.mailboxes.get_mut(&id) else { return Ok(()) };
        match mailbox.validity.replace(validity) {
            Some(before) if before != validity => {
                return Err(format!("UIDVALIDITY of {} went from {before} to {validity}", mailbox.name));
            }
            _ => {}
        }
        let mailbox = mailbox.clone();
        for (uid, message) in mailbox.messages {
            self.give(&mailbox.name, validity, uid, message.serial)?;
        }
        Ok(())
    }

    /// UIDNEXT as told.
    pub(super) fn told_next(&mut self, id: u64, next: u32) -> Result<(), String> {
        let Some(mailbox) = self.mailboxes.get_mut(&id) else { return Ok(()) };
        if next < mailbox.next {
            return Err(format!("UIDNEXT of {} is {next}, and was {} before", mailbox.name, mailbox.next));
        }
        mailbox.next = next;
        Ok(())
    }

    /// HIGHESTMODSEQ as told.
    pub(super) fn told_highest(&mut self, id: u64, value: u64) -> Result<(), String> {
        self.mailboxes.get_mut(&id).map_or(Ok(()), |mailbox| mailbox.modseqs.tell_highest(value))
    }

    fn give(&mut self, name: &str, validity: u32, uid: u32, serial: u64) -> Result<(), String> {
        let before = *self.given.entry((name.to_owned(), validity, uid)).or_insert(serial);
        if before == serial {
            Ok(())
        } else {
            Err(format!("UID {uid} of {name} ({validity}) means another message than before"))
        }
    }

    /// A message with the UID that the server gave it.
    pub(super) fn insert(&mut self, id: u64, uid: u32, message: Message) -> Result<(), String> {
        let tick = self.tick;
        let mailbox = self.mailboxes.get_mut(&id).ok_or("a UID in a mailbox that is not there")?;
        if uid < mailbox.next {
            return Err(format!("UID {uid} in {} is below {}", mailbox.name, mailbox.next));
        }
        mailbox.next = uid + 1;
        let (name, validity, serial) = (mailbox.name.clone(), mailbox.validity, message.serial);
        mailbox.messages.insert(uid, Message { tick, ..message });
        mailbox.modseqs.changed = tick;
        match validity {
            Some(validity) => self.give(&name, validity, uid, serial),
            None => Ok(()),
        }
    }
}
