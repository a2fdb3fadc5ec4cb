//! Messages on their way to the server, in APPEND and REPLACE. They are kept until the server has answered: where the
//! connection is lost before the command's end was sent, nothing is stored (RFC 3502 §6.3.11), and all of it goes over the
//! next one. Where its end was sent, the target is looked into for messages of the same octets that came since. What is
//! sealed is like no other; of others' mail an equal copy that another session filed at that moment passes for it.

use super::{
    Came, End, Names, Result, Session,
    append::OCTETS_MAX,
    ends::{CHUNK, Lost, Server},
    fate::{Arrivals, Fate, Status, arrivals, find},
    inquiry::{HELD_MAX, from, take_value},
    listing,
    resume::{Numbers, REPEATS},
    wire::{self, Response, items, response},
};
use sealpost_client::{compose::Outgoing, staged::Staged};
use sealpost_proto::imap::{Body, FetchItem, MailboxName, SeqNumber, SequenceSet, Tag, quote_mailbox};
use sha2::{Digest as _, Sha256};
use std::{
    io::{self, Read},
    num::NonZeroU32,
};
use tokio::io::{AsyncRead, AsyncWrite};
use zeroize::Zeroizing;

/// Most messages of one command that are kept until it is answered: each may be an open file. Of more only the hashes are,
/// by which it is told whether they were stored; if not, the program has to give them again.
const KEPT_MAX: usize = 16;

/// What goes to the server.
pub(super) enum Kept {
    Sealed(Outgoing),
    AsItIs(Staged),
}

impl Kept {
    fn size(&self) -> u64 {
        match self {
            Self::Sealed(outgoing) => outgoing.size(),
            Self::AsItIs(staged) => staged.size(),
        }
    }
    fn reader(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::Sealed(outgoing) => Box::new(outgoing.open()?),
            Self::AsItIs(staged) => staged.reader()?,
        })
    }
}

type Hash = [u8; 32];

struct Message {
    /// ` (flags) "date" {size}`
    announced: String,
    kept: Option<Kept>,
    size: u64,
    /// Of its octets, once they were handed on.
    sha256: Hash,
}

/// One command with its messages so far.
pub(super) struct Handing {
    pub(super) tag: Tag,
    /// REPLACE: the message to be replaced, by UID or by number.
    replaces: Option<(bool, SeqNumber)>,
    mailbox: MailboxName,
    messages: Vec<Message>,
    /// The target was asked about.
    asked: bool,
    /// What it was before, where it is there.
    before: Option<Status>,
    /// Behind what the server was told so far nothing else may be said to it.
    begun: bool,
}

impl Handing {
    pub(super) fn new(tag: Tag, replaces: Option<(bool, SeqNumber)>, mailbox: MailboxName) -> Self {
        Self { tag, replaces, mailbox, messages: Vec::new(), asked: false, before: None, begun: false }
    }

    /// The next message, which is to be handed on.
    pub(super) fn push(&mut self, parameters: &str, binary: bool, kept: Kept) {
        let size = kept.size();
        let announced = format!("{parameters} {}{{{size}}}\r\n", if binary { "~" } else { "" });
        self.messages.push(Message { announced, kept: Some(kept), size, sha256: Hash::default() });
    }

    /// The command's beginning.
    fn start(&self, names: Names) -> String {
        let (tag, target) = (&self.tag, quote_mailbox(&self.mailbox, names));
        match self.replaces {
            None => format!("{tag} APPEND {target}"),
            Some((true, uid)) => format!("{tag} UID REPLACE {uid} {target}"),
            Some((false, number)) => format!("{tag} REPLACE {number} {target}"),
        }
    }

    /// REPLACE removes a message.
    fn numbers(&self) -> Numbers {
        if self.replaces.is_some() { Numbers::MayShift } else { Numbers::Same }
    }

    fn is_kept(&self) -> bool {
        self.messages.iter().all(|message| message.kept.is_some())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    /// Hands on the last message; the tagged response where the server does not take it.
    pub(super) async fn hand(&mut self, handing: &mut Handing) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let mut first = handing.messages.len().saturating_sub(1);
        for _ in 0..REPEATS {
            match self.hand_from(handing, first).await {
                Err(End::Lost(error)) if handing.is_kept() => {
                    handing.begun = false;
                    Box::pin(self.resume(&error, true, handing.numbers())).await?;
                    first = 0;
                }
                handed => {
                    if handing.messages.len() > KEPT_MAX {
                        handing.messages.iter_mut().for_each(|message| message.kept = None);
                    }
                    return handed;
                }
            }
        }
        Err(self.give_up())
    }

    /// Hands on all messages from this one.
    async fn hand_from(&mut self, handing: &mut Handing, first: usize) -> Result<Option<Zeroizing<Vec<u8>>>> {
        if !handing.asked {
            handing.before = self.status_of(&handing.mailbox).await?;
            self.name_replaced(handing).await?;
            handing.asked = true;
        }
        for n in first..handing.messages.len() {
            let start = if n == 0 { handing.start(self.names) } else { String::new() };
            let Some(message) = handing.messages.get_mut(n) else { break };
            let Some(kept) = &message.kept else { return Err(self.give_up()) };
            self.server.send(format!("{start}{}", message.announced).as_bytes()).await?;
            handing.begun = true;
            if let Some(refused) = self.goes_on(&handing.tag).await? {
                handing.begun = false;
                return Ok(Some(refused));
            }
            message.sha256 = self.hand_on(kept).await?;
        }
        Ok(None)
    }

    /// Names the message to be replaced by its UID: its number may be another one on the next connection.
    async fn name_replaced(&mut self, handing: &mut Handing) -> Result<()> {
        let Some((by_uid, number)) = handing.replaces else { return Ok(()) };
        self.learn_uids().await?;
        let set = SequenceSet::Ranges(vec![(number, number)]);
        if let Some([uid]) = self.uids().and_then(|listed| listed.named(&set, by_uid)).as_deref()
            && let Some(uid) = NonZeroU32::new(*uid)
        {
            handing.replaces = Some((true, SeqNumber::Number(uid)));
        }
        Ok(())
    }

    /// Waits for the server to take a literal; its tagged response where it does not.
    async fn goes_on(&mut self, tag: &Tag) -> Result<Option<Zeroizing<Vec<u8>>>> {
        loop {
            let Came::Line(line) = self.server.next().await? else { return Err(End::Over) };
            if line.starts_with(b"+") {
                return Ok(None);
            }
            if line.starts_with(format!("{tag} ").as_bytes()) {
                return Ok(Some(line));
            }
            self.pass(&line);
        }
    }

    /// Waits for the end of a command.
    async fn tagged(&mut self, tag: &Tag) -> Result<Zeroizing<Vec<u8>>> {
        loop {
            // A `+` says that the line before came amid a literal that is over: nothing is to be done about it.
            if let Some(line) = self.goes_on(tag).await? {
                return Ok(line);
            }
        }
    }

    /// The octets of a message; their hash.
    async fn hand_on(&mut self, kept: &Kept) -> Result<Hash> {
        let mut reader = kept.reader()?;
        let mut left = kept.size();
        let mut hash = Sha256::new();
        while left > 0 {
            // Small messages are in memory; sealed ones come from an unlinked file.
            let (octets, back) = tokio::task::spawn_blocking(move || -> io::Result<_> {
                let mut octets = Vec::with_capacity(CHUNK);
                (&mut reader).take(CHUNK as u64).read_to_end(&mut octets)?;
                Ok((octets, reader))
            })
            .await
            .map_err(io::Error::other)??;
            reader = back;
            if octets.is_empty() {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            left = left.saturating_sub(octets.len() as u64);
            hash.update(&octets);
            self.server.send(&octets).await?;
        }
        Ok(hash.finalize().into())
    }

    /// Has the server store none of what it was given: an empty message says so (RFC 3502 §6.3.11).
    pub(super) async fn call_off(&mut self, handing: &Handing) -> Result<()> {
        if !handing.begun {
            return Ok(());
        }
        match self.call_off_here(&handing.tag).await {
            // It is off.
            Err(End::Lost(error)) => Box::pin(self.resume(&error, true, handing.numbers())).await,
            other => other,
        }
    }

    async fn call_off_here(&mut self, tag: &Tag) -> Result<()> {
        self.server.send(b" {0}\r\n").await?;
        if self.goes_on(tag).await?.is_none() {
            self.server.send(b"\r\n").await?;
            self.tagged(tag).await?;
        }
        Ok(())
    }

    /// Ends the command, and tells how it ended.
    pub(super) async fn end_handing(&mut self, handing: &mut Handing) -> Result<()> {
        let mut lost = false;
        for _ in 0..REPEATS {
            match self.end_handing_here(handing, lost).await {
                Err(End::Lost(error)) => {
                    Box::pin(self.resume(&error, true, handing.numbers())).await?;
                    lost = true;
                }
                other => return other,
            }
        }
        Err(self.give_up())
    }

    async fn end_handing_here(&mut self, handing: &mut Handing, lost: bool) -> Result<()> {
        if lost {
            match self.appended(handing).await? {
                Fate::Done(uids) => {
                    self.tell_appended(handing, &uids);
                    return Ok(());
                }
                Fate::NotDone if handing.is_kept() => {
                    if let Some(refused) = self.hand_from(handing, 0).await? {
                        self.program.say(&refused);
                        return Ok(());
                    }
                }
                // It was not stored, and the program gives it again; or nobody knows.
                Fate::NotDone | Fate::Unclear => return Err(self.give_up()),
            }
        }
        self.server.send(b"\r\n").await?;
        let line = self.tagged(&handing.tag).await?;
        self.program.say(&line);
        Ok(())
    }

    /// As the server would have told it (RFC 4315 §3, RFC 8508 §3.3), but for the EXPUNGE of what was replaced, which was told
    /// with the new connection.
    fn tell_appended(&mut self, handing: &Handing, uids: &[u32]) {
        let uid_validity = handing.before.as_ref().map(|status| status.uid_validity);
        let code = match (uid_validity, SequenceSet::in_order(uids)) {
            (Some(validity), Some(set)) if self.can("UIDPLUS") => format!("[APPENDUID {validity} {set}] "),
            _ => String::new(),
        };
        if handing.replaces.is_some() {
            self.program.line(&format!("* OK {code}Replaced"));
            self.program.done(&handing.tag, "OK REPLACE completed");
        } else {
            self.program.done(&handing.tag, &format!("OK {code}APPEND completed"));
        }
    }

    /// Whether the messages were stored, on a new connection: whether messages of the same octets came since.
    async fn appended(&mut self, handing: &Handing) -> Result<Fate> {
        let now = self.status_of(&handing.mailbox).await?;
        let first = match arrivals(handing.before.as_ref(), now.as_ref()) {
            Arrivals::None => return Ok(Fate::NotDone),
            Arrivals::From(first) => first,
            Arrivals::Unclear => return Ok(Fate::Unclear),
        };
        let Some((mut server, _)) = self.beside(&handing.mailbox).await? else { return Ok(Fate::Unclear) };
        let mut came = Vec::new();
        let wanted = vec![FetchItem::Uid, FetchItem::Size];
        let body = Body::Fetch { uid: true, set: from(first), items: wanted, changed_since: None };
        let take = |line: &[u8]| {
            take_value(&mut came, line, "RFC822.SIZE");
        };
        let told = server.run(body, Names::Utf7, take).await?;
        let mut candidates: Vec<(u32, u64)> = came
            .iter()
            .filter_map(|(uid, size)| Some((*uid, listing::long_number(size)?)))
            .filter(|(uid, size)| {
                // `*` is the last message, whichever that is.
                *uid >= first && handing.messages.iter().any(|message| message.size == *size)
            })
            .collect();
        candidates.sort_unstable();
        let octets = candidates.iter().fold(0_u64, |sum, (_, size)| sum.saturating_add(*size));
        // More than two commands like this one: somebody floods the mailbox.
        if !told.starts_with(b"OK") || came.len() >= HELD_MAX || octets > 2 * OCTETS_MAX {
            return Ok(Fate::Unclear);
        }
        let mut hashes = Vec::with_capacity(candidates.len());
        for (uid, _) in candidates {
            hashes.extend(digest(&mut server, uid).await?.map(|hash| (uid, hash)));
        }
        server.leave().await;
        let wanted: Vec<Hash> = handing.messages.iter().map(|message| message.sha256).collect();
        Ok(find(&wanted, hashes))
    }
}

/// The hash of a message's octets; `None` where it is gone.
async fn digest(server: &mut Server, uid: u32) -> std::result::Result<Option<Hash>, Lost> {
    let tag = server.tag();
    server.send(format!("{tag} UID FETCH {uid} (BODY.PEEK[])\r\n").as_bytes()).await?;
    let mut found = None;
    loop {
        let line = match server.next().await? {
            Came::Line(line) => line,
            Came::Literal(_) => {
                let mut hash = Sha256::new();
                while let Some(n) = server.literal().await? {
                    hash.update(&server.cutter.input[..n]);
                    server.cutter.passed(n);
                }
                found = Some(hash.finalize().into());
                continue;
            }
        };
        match response(&line) {
            Response::Tagged(told, rest) if told == tag.as_str() => {
                return Ok(found.filter(|_| rest.starts_with(b"OK")));
            }
            Response::Bye => return Err(Lost(io::ErrorKind::ConnectionAborted.into())),
            Response::Fetch(_, octets) => {
                let all = items(octets).unwrap_or_default();
                let short = listing::value(octets, &all, "BODY[]").and_then(wire::string);
                found = short.map(|octets| Sha256::digest(octets).into()).or(found);
            }
            _ => {}
        }
    }
}
