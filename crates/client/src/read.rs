//! `read`: fetch, gather the facts, judge, remember (profile §6, §8).

use crate::{
    client::Client,
    error::ClientError,
    mailbox::{Mail, imap_error},
    open::{Content, Facts, Message, OpenError, Opened, Summary, Take, Verdict},
    seen::{SeenMessage, SeenMessages},
    session::Session,
    spool::Spool,
    state::State,
    trust::{
        facts::{Asked, OwnKeys, gather, needs_lookup},
        memory::hex,
    },
    ui::Progress,
};
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
        let message = read_header(&source).await?;
        let sender = message.from().cloned();
        let address = sender.as_ref().map(Mailbox::canonical);
        let message_id = message.message_id().map(str::to_owned);
        let own = state.own_keys();
        let now = self.env.clock.now();
        let mut failed = None;
        let mut asked_now = false;
        // Only a signature is worth a look-up: of plain mail nothing depends on a key.
        if let (Some(address), Some(mailbox), true) = (&address, &sender, message.is_signed())
            && needs_lookup(&state.trust, &own, address, now)
        {
            failed = self.look_up_sender(state, lookup, session, address, mailbox).await;
            asked_now = true;
        }
        let identities = state.secrets.identities();
        let mut input = message.signature_input_sha256();
        let mut opened = {
            let facts =
                facts_for(state, &own, address.as_ref(), message_id.as_deref(), input, failed.clone(), now);
            judge(message, identities.clone(), facts).await?
        };
        // Once more at once where the signature fits no known key: it may be newer than the last look-up.
        let unknown_key = matches!(opened.verdict, Verdict::SignatureBad | Verdict::NotTheSendersKey);
        if let (Some(address), Some(mailbox), true) = (&address, &sender, unknown_key && !asked_now)
            && !own.addresses.contains(address)
        {
            failed = self.look_up_sender(state, lookup, session, address, mailbox).await;
            let message = read_header(&source).await?;
            input = message.signature_input_sha256();
            let facts =
                facts_for(state, &own, Some(address), message_id.as_deref(), input, failed.clone(), now);
            opened = judge(message, identities, facts).await?;
        }
        self.remember(
            state,
            &mut opened,
            address.as_ref(),
            message_id.as_deref(),
            &input,
            place,
            failed.is_some(),
        )?;
        Ok(Judged { opened, message_id, lookup_failed: failed.is_some() })
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
            let mut changed = state.trust.first_seen.learn(address, input, now);
            if let Some(id) = message_id {
                changed |= state.trust.replay.learn(address, id, &payload, now);
            }
            changed |= state.trust.learn_signs(address);
            if changed {
                state.trust.mark_dirty();
            }
        }
        let Some(place) = place else { return Ok(()) };
        let mut seen: SeenMessages = state.locked.read()?.unwrap_or_default();
        let payload = opened.payload_sha256.map(|p| hex(&p));
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
    sender: Option<&Address>,
    message_id: Option<&str>,
    signature_input: [u8; 32],
    lookup_failed: Option<String>,
    now: Timestamp,
) -> Facts {
    match sender {
        Some(sender) => {
            let asked = Asked { sender, message_id, signature_input, own: own.clone(), lookup_failed, now };
            gather(&state.trust, &asked)
        }
        // No sender, no keys: whatever is signed here is nobody's.
        None => Facts { own_addresses: own.addresses.clone(), now, ..Facts::default() },
    }
}

async fn read_header(source: &Arc<Spool>) -> Result<Message, ClientError> {
    let source = Arc::clone(source);
    blocking(move || Message::of_spool(source)).await
}

async fn judge(
    message: Message,
    identities: Vec<sealpost_crypto::key::SecretKey>,
    facts: Facts,
) -> Result<Opened, ClientError> {
    blocking(move || message.judge(&identities, &facts)).await
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, OpenError> + Send + 'static,
) -> Result<T, ClientError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(error) => Err(OpenError::Io(std::io::Error::other(error)).into()),
    }
}
