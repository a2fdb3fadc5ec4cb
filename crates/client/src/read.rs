//! `read`: fetch, gather the facts, judge, remember (profile §6, §8).

use crate::{
    client::Client,
    error::ClientError,
    mailbox::{Mail, imap_error},
    memory::{Seen, input_name, payload_name},
    open::{Content, Facts, Message, OpenError, Opened, Summary, Take, Verdict},
    seen::{SeenMessage, SeenMessages},
    session::Session,
    spool::Spool,
    state::State,
    trust::facts::{Asked, OwnKeys, gather, needs_lookup},
    ui::Progress,
};
use sealpost_crypto::{hex, seal::Identities};
use sealpost_lookup::Lookup;
use sealpost_proto::{
    address::{Address, Mailbox},
    imap::{Flag, SearchKey, SequenceSet, StoreHow},
    time::Timestamp,
};
use std::sync::Arc;

/// Which message of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The one with the highest UID.
    Last,
    /// By UID.
    Uid(u32),
}

/// What `read` needs.
#[derive(Debug, Clone)]
pub struct ReadRequest {
    /// Mailbox.
    pub mailbox: String,
    /// Which.
    pub which: Which,
    /// Show withheld content.
    pub force: bool,
    /// What becomes of its parts.
    pub take: Take,
}

/// A message as read.
#[derive(Debug, Clone)]
pub struct ReadReport {
    /// UID.
    pub uid: u32,
    /// The verdict; its `exit_code` is the command's.
    pub verdict: Verdict,
    /// What else must be said, in words.
    pub notes: Vec<String>,
    /// Sealed?
    pub sealed: bool,
    /// The content where it is not withheld, or with `force`.
    pub content: Option<Content>,
}

/// Longest message fetched, in octets: far over what servers take, far under what fills a disk.
pub(crate) const MESSAGE_MAX: u64 = 1 << 30;

/// A message as fetched, judged.
pub(crate) struct Judged {
    pub opened: Opened,
    /// Message-ID with its angle brackets.
    pub message_id: Option<String>,
    /// A look-up was due and failed, so the verdict was not remembered.
    pub lookup_failed: bool,
}

/// Where a message lies.
pub(crate) struct Place<'a> {
    pub mailbox: &'a str,
    pub uid_validity: u32,
    pub uid: u32,
}

impl Client {
    pub(crate) async fn read_message(&self, request: ReadRequest) -> Result<ReadReport, ClientError> {
        let mut state = State::load(self).await?;
        let lookup = state.account.lookup(self)?;
        let mut mail = self.mail(&mut state, &lookup).await?;
        let mut session = None;
        let selected = mail.select(&request.mailbox).await.map_err(imap_error)?;
        let uid = which(&mut mail, request.which, &request.mailbox).await?;
        let file = self.fetch(&mut mail, uid).await?;
        let place = Place { mailbox: &request.mailbox, uid_validity: selected.uid_validity, uid };
        let judged = self.judge(&mut state, &lookup, &mut session, file, Some(&place)).await?;
        let Judged { opened, .. } = judged;
        let (force, take) = (request.force, request.take.clone());
        let (opened, content) = blocking(move || {
            let mut opened = opened;
            let content = opened.content_with(force, &take)?;
            Ok((opened, content))
        })
        .await?;
        Self::remember_subject(&state, &place, &opened, content.as_ref())?;
        if !opened.verdict.is_withheld()
            && let Some(set) = SequenceSet::from_numbers(&[uid])
        {
            // EXAMINE-only mailboxes and full disks are no reason to hold the message back.
            let _ = mail.store_flags(set, StoreHow::Add, vec![Flag::Seen]).await;
        }
        let _ = mail.logout().await;
        self.finish(state, &lookup, session).await?;
        Ok(ReadReport { uid, verdict: opened.verdict, notes: opened.notes, sealed: opened.sealed, content })
    }

    /// Fetches a message into an unlinked file in the client's own folder: octets as the server keeps them, nothing
    /// opened.
    pub(crate) async fn fetch(&self, mail: &mut Mail, uid: u32) -> Result<Arc<Spool>, ClientError> {
        let mut file = tempfile::tempfile_in(&self.settings.dir).map_err(OpenError::Io)?;
        let ui = Arc::clone(&self.env.ui);
        let mut progress = move |done, total| ui.progress(Progress::Download { done, total });
        mail.fetch_message(uid, MESSAGE_MAX, &mut file, &mut progress).await.map_err(imap_error)?;
        Ok(Arc::new(Spool::of_file(file).map_err(OpenError::Io)?))
    }

    /// Gathers what is known of the sender, asks where that is due, judges, and remembers (profile §6, §8).
    pub(crate) async fn judge(
        &self,
        state: &mut State,
        lookup: &Lookup,
        session: &mut Option<Session>,
        source: Arc<Spool>,
        place: Option<&Place<'_>>,
    ) -> Result<Judged, ClientError> {
        let identities = Arc::new(state.secrets.ready()?);
        let unjudged = blocking(move || Unjudged::read(source)).await?;
        let own = state.own_keys();
        let facing = self.face(state, lookup, session, unjudged, &own, identities).await?;
        let tried = blocking(move || facing.decide()).await?;
        let tried = self.try_newer(state, lookup, session, tried).await?;
        self.conclude(state, tried, place)
    }

    /// Gathers the facts; asks the sender's server where that is due.
    pub(crate) async fn face(
        &self,
        state: &mut State,
        lookup: &Lookup,
        session: &mut Option<Session>,
        unjudged: Unjudged,
        own: &OwnKeys,
        identities: Arc<Identities>,
    ) -> Result<Facing, ClientError> {
        let now = self.env.clock.now();
        let mut failed = None;
        let mut asked = false;
        let address = unjudged.address();
        // Only a signature is worth a look-up: of plain mail nothing depends on a key.
        if let (Some(address), Some(mailbox), true) =
            (&address, &unjudged.sender, unjudged.message.is_signed())
            && needs_lookup(&state.trust, own, address, now)
        {
            failed = self.look_up_sender(state, lookup, session, address, mailbox).await;
            asked = true;
        }
        let facts = facts_for(state, own, &unjudged, failed.clone(), now)?;
        Ok(Facing { unjudged, facts, identities, failed, asked })
    }

    /// Once more at once where the signature fits no known key: it may be newer than the last look-up.
    pub(crate) async fn try_newer(
        &self,
        state: &mut State,
        lookup: &Lookup,
        session: &mut Option<Session>,
        tried: Tried,
    ) -> Result<Tried, ClientError> {
        let address = tried.sender.as_ref().map(Mailbox::canonical);
        let (Some(address), Some(mailbox), true) =
            (&address, &tried.sender, tried.may_be_newer(&state.own_keys()))
        else {
            return Ok(tried);
        };
        let failed = self.look_up_sender(state, lookup, session, address, mailbox).await;
        let Tried { source, identities, .. } = tried;
        let unjudged = blocking(move || Unjudged::read(source)).await?;
        let facts = facts_for(state, &state.own_keys(), &unjudged, failed.clone(), self.env.clock.now())?;
        let facing = Facing { unjudged, facts, identities, failed, asked: true };
        blocking(move || facing.decide()).await
    }

    /// Remembers what was decided.
    pub(crate) fn conclude(
        &self,
        state: &mut State,
        tried: Tried,
        place: Option<&Place<'_>>,
    ) -> Result<Judged, ClientError> {
        let Tried { sender, message_id, input, mut opened, failed, .. } = tried;
        let lookup_failed = failed.is_some();
        let address = sender.as_ref().map(Mailbox::canonical);
        let (id, address) = (message_id.as_deref(), address.as_ref());
        self.remember(state, &mut opened, address, id, &input, place, lookup_failed)?;
        Ok(Judged { opened, message_id, lookup_failed })
    }

    /// Replay and first-seen memory of messages whose signature is good, and the verdict, unless a look-up failed. A
    /// bridge keeps verdicts in an index of its own and names no place.
    #[allow(clippy::too_many_arguments, reason = "one caller; a struct would only rename them")]
    fn remember(
        &self,
        state: &mut State,
        opened: &mut Opened,
        address: Option<&Address>,
        message_id: Option<&str>,
        input: &[u8; 32],
        place: Option<&Place<'_>>,
        lookup_failed: bool,
    ) -> Result<(), ClientError> {
        let now = self.env.clock.now();
        let proven = opened.payload_sha256.filter(|_| counts(opened.verdict));
        if let (Some(address), Some(payload)) = (address, proven) {
            let mut changed = state.memory.learn(&input_name(address, input), Seen::Input, now)?.news;
            if let Some(id) = message_id {
                let name = payload_name(address, id);
                changed |= state.memory.learn(&name, Seen::Payload(payload), now)?.news;
            }
            changed |= state.trust.learn_signs(address);
            if changed {
                state.trust.mark_dirty();
            }
        }
        let Some(place) = place else { return Ok(()) };
        let mut seen: SeenMessages = state.locked.read()?.unwrap_or_default();
        let payload = opened.payload_sha256.map(|p| hex::encode(&p));
        if let Some(payload) = &payload
            && let Some(other) = seen.copy_of(place.mailbox, place.uid_validity, place.uid, payload)
        {
            opened.notes.push(format!("a copy of message {other}"));
        }
        if !lookup_failed {
            let verdict = opened.verdict.name().to_owned();
            let subject =
                seen.get(place.mailbox, place.uid_validity, place.uid).and_then(|m| m.subject.clone());
            let Summary { from, date, .. } = opened.summary();
            let message = SeenMessage { verdict, subject, payload, from_and_date: Some((from, date)) };
            seen.set(place.mailbox, place.uid_validity, place.uid, message);
            state.locked.write(&seen)?;
        }
        Ok(())
    }

    /// The subject for `list`, as it is inside; never of withheld content, `--force` or not.
    pub(crate) fn remember_subject(
        state: &State,
        place: &Place<'_>,
        opened: &Opened,
        content: Option<&Content>,
    ) -> Result<(), ClientError> {
        let Some(content) = content.filter(|_| !opened.verdict.is_withheld()) else {
            return Ok(());
        };
        let mut seen: SeenMessages = state.locked.read()?.unwrap_or_default();
        if let Some(message) = seen.get(place.mailbox, place.uid_validity, place.uid).cloned() {
            let message = SeenMessage { subject: Some(content.subject.clone()), ..message };
            seen.set(place.mailbox, place.uid_validity, place.uid, message);
            state.locked.write(&seen)?;
        }
        Ok(())
    }
}

/// The UID that is meant.
pub(crate) async fn which(mail: &mut Mail, which: Which, mailbox: &str) -> Result<u32, ClientError> {
    match which {
        Which::Uid(uid) => Ok(uid),
        Which::Last => mail
            .search(SearchKey::All)
            .await
            .map_err(imap_error)?
            .into_iter()
            .max()
            .ok_or_else(|| ClientError::Refused(format!("there is no message in {mailbox}"))),
    }
}

/// Whether memory may hold a message with this verdict: its signature is good and is the sender's. A replay itself is
/// not remembered, else it would read as good the next time.
fn counts(verdict: Verdict) -> bool {
    matches!(
        verdict,
        Verdict::SenderNotYetConfirmed | Verdict::GoodAltered | Verdict::Good | Verdict::NotWrittenToYou
    )
}

fn facts_for(
    state: &State,
    own: &OwnKeys,
    unjudged: &Unjudged,
    lookup_failed: Option<String>,
    now: Timestamp,
) -> Result<Facts, ClientError> {
    // No sender, no keys: whatever is signed here is nobody's.
    let Some(sender) = &unjudged.address() else {
        return Ok(Facts { own_addresses: own.addresses.clone(), now, ..Facts::default() });
    };
    let message = &unjudged.message;
    let input = message.signature_input_sha256();
    let earlier = state.memory.earlier(sender, message.message_id(), &input)?;
    Ok(gather(&state.trust, &Asked { sender, earlier, own: own.clone(), lookup_failed, now }))
}

/// A message whose outer header was read.
pub(crate) struct Unjudged {
    source: Arc<Spool>,
    message: Message,
    sender: Option<Mailbox>,
}

impl Unjudged {
    pub(crate) fn read(source: Arc<Spool>) -> Result<Self, OpenError> {
        let message = Message::of_spool(Arc::clone(&source))?;
        let sender = message.from().cloned();
        Ok(Self { source, message, sender })
    }

    fn address(&self) -> Option<Address> {
        self.sender.as_ref().map(Mailbox::canonical)
    }

    /// What memory may come to hold of it.
    pub(crate) fn trace(&self) -> Trace {
        Trace {
            sender: self.address(),
            message_id: self.message.message_id().map(str::to_owned),
            input: self.message.signature_input_sha256(),
            signed: self.message.is_signed(),
        }
    }
}

/// What one message leaves in memory that the verdict on another depends on.
pub(crate) struct Trace {
    sender: Option<Address>,
    message_id: Option<String>,
    input: [u8; 32],
    signed: bool,
}

impl Trace {
    /// Whether the verdict on the message of `self` depends on what becomes of `earlier`: it is the same, has the same
    /// Message-ID, or is the first unsigned one behind the first signed one.
    pub(crate) fn depends_on(&self, earlier: &Self) -> bool {
        self.input == earlier.input
            || self.sender == earlier.sender
                && (!self.signed || self.message_id.is_some() && self.message_id == earlier.message_id)
    }
}

/// A message, and all that is known of its sender.
pub(crate) struct Facing {
    unjudged: Unjudged,
    facts: Facts,
    identities: Arc<Identities>,
    failed: Option<String>,
    asked: bool,
}

impl Facing {
    /// Verifies, opens, decides. Nothing else is looked at, so that several may be done at once.
    pub(crate) fn decide(self) -> Result<Tried, OpenError> {
        let Self { unjudged: Unjudged { source, message, sender }, facts, identities, failed, asked } = self;
        let input = message.signature_input_sha256();
        let message_id = message.message_id().map(str::to_owned);
        let opened = message.judge_with(&identities, &facts)?;
        Ok(Tried { source, sender, message_id, input, opened, identities, failed, asked })
    }
}

/// A message that was decided on, and not yet remembered.
pub(crate) struct Tried {
    pub(crate) source: Arc<Spool>,
    sender: Option<Mailbox>,
    message_id: Option<String>,
    input: [u8; 32],
    pub(crate) opened: Opened,
    identities: Arc<Identities>,
    failed: Option<String>,
    asked: bool,
}

impl Tried {
    /// Whether the sender's key may be newer than the last look-up.
    pub(crate) fn may_be_newer(&self, own: &OwnKeys) -> bool {
        let unknown_key = matches!(self.opened.verdict, Verdict::SignatureBad | Verdict::NotTheSendersKey);
        let of_others = self.sender.as_ref().is_some_and(|s| !own.addresses.contains(&s.canonical()));
        unknown_key && !self.asked && of_others
    }
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, OpenError> + Send + 'static,
) -> Result<T, ClientError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(error) => Err(OpenError::Io(std::io::Error::other(error)).into()),
    }
}
