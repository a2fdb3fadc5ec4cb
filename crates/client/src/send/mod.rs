//! `send`: look up, decide, seal, sign, submit, keep a copy (profile §6, §7).

mod report;

pub(crate) use report::UNSURE;
pub use report::{Outcome, RecipientReport, SendReport};

use crate::{
    answer::{Carry, Link, MessageAt, Original, Thread},
    client::Client,
    compose::{Carried, ComposeError, Composition, Copy, Draft, Outgoing},
    error::ClientError,
    mailbox::{Mail, imap_error},
    session::{Session, is_lost_reply, own_mailbox, smtp},
    state::State,
    submit::HomeError,
    trust::{
        pins::Pin,
        policy::{self, Decision, PinChange, Remembered},
    },
    ui::{Progress, Question},
};
use sealpost_lookup::Lookup;
use sealpost_proto::{
    address::{Address, Mailbox},
    drive::{Envelope, Refusal},
    imap::{Atom, Flag, SequenceSet, StoreHow},
    key::PublicKey,
};
use std::{
    io::{self, Read},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// What the user wants sent.
#[derive(Debug, Clone, Default)]
pub struct SendRequest {
    /// From, one of the account's addresses, also with `+detail`. `None` with `reply`: the one that was written to; else the
    /// primary address.
    pub from: Option<Mailbox>,
    /// To; empty with `reply`: the sender of that message.
    pub to: Vec<Mailbox>,
    /// Cc.
    pub cc: Vec<Mailbox>,
    /// Bcc.
    pub bcc: Vec<Mailbox>,
    /// Subject; `None` with `reply`: `Re: …`.
    pub subject: Option<String>,
    /// Text.
    pub text: String,
    /// Files.
    pub attachments: Vec<PathBuf>,
    /// What goes along from another message.
    pub carried: Vec<Carried>,
    /// The message that this answers, from which is taken what is missing here.
    pub reply: Option<MessageAt>,
    /// What it answers, where that is known already.
    pub thread: Thread,
    /// A message to be marked as answered or forwarded once this is sent.
    pub link: Option<Link>,
    /// What may be done for new contacts.
    pub policy: Policy,
}

/// The options that act on new contacts (profile §7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// `--allow-plain`: plain to all when one has no key.
    pub allow_plain: bool,
    /// `--sealed-only`: leave out those without a key.
    pub sealed_only: bool,
    /// `--trust-first-use`: take a new contact's key from an unauthenticated server.
    pub trust_first_use: bool,
}

/// What came of handing a message over.
pub(crate) struct HandedOver {
    pub(crate) reports: Vec<RecipientReport>,
    /// Of each recipient, whether the connection to the home server was lost when it can have taken nothing yet.
    pub(crate) away: Vec<bool>,
}

/// Counts the octets that are read.
struct Counted<R> {
    inner: R,
    left: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.left.fetch_sub(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Most recipients of one message: home servers take hundreds in one envelope (RFC 5321 §4.5.3.1.8).
pub const RECIPIENTS_MAX: usize = 500;

/// One recipient on the way through the table.
pub(crate) struct Recipient {
    pub(crate) mailbox: Mailbox,
    pub(crate) blind: bool,
    /// The key it is sealed to; `None` until decided, and where there is none.
    pub(crate) key: Option<PublicKey>,
    pub(crate) decision: Decision,
}

/// What is sent, once nothing is in the way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Sealed,
    Plain,
}

impl Client {
    pub(crate) async fn send_message(&self, request: SendRequest) -> Result<SendReport, ClientError> {
        let mut state = State::load(self).await?;
        let lookup = state.account.lookup(self)?;
        let mut session = Some(self.sign_in(&mut state, &lookup).await?);
        let mut notes = Vec::new();
        let draft = self.draft(&mut state, &lookup, &mut session, &request, &mut notes).await?;
        let named = named(&draft);
        let mut recipients = self.decide(&mut state, &lookup, &mut session, &named, request.policy).await?;

        let mut entropy = [0; 16];
        self.env.random.fill(&mut entropy);
        let form = match self.form(&mut recipients, request.policy) {
            Ok(form) => form,
            Err(reports) => {
                // What the look-ups taught is worth keeping, though nothing is sent.
                self.finish(state, &lookup, session).await?;
                let report =
                    SendReport { message_id: String::new(), recipients: reports, notes, copy_kept: false };
                return Err(ClientError::NotSent(Box::new(report)));
            }
        };
        let left_out: Vec<Mailbox> = recipients
            .iter()
            .filter(|r| form == Form::Sealed && r.key.is_none())
            .map(|r| r.mailbox.clone())
            .collect();
        let draft = without(draft, &left_out);
        let composition = Arc::new(Composition::new(draft, self.env.clock.now(), entropy)?);
        if form == Form::Sealed {
            self.pin(&mut state, &recipients);
        }
        // Pins are on the disk before the message leaves: what was sealed to them must never be forgotten.
        state.save()?;
        let HandedOver { reports, .. } =
            self.hand_over(&mut state, &lookup, &mut session, &composition, form, &recipients).await?;
        let mut copy_kept = false;
        if reports.iter().any(|r| r.outcome.is_sent()) {
            let link = request.link.as_ref();
            let kept = self.keep_copy(&mut state, &lookup, &composition, form, link).await;
            copy_kept = kept.is_ok();
            if let Err(error) = kept {
                notes.push(format!("it was sent, but no copy could be kept in Sent: {error}"));
            }
        }
        let message_id = composition.message_id().to_owned();
        self.finish(state, &lookup, session).await?;
        let report = SendReport { message_id, recipients: reports, notes, copy_kept };
        if report.recipients.iter().any(|r| r.outcome.is_sent()) {
            Ok(report)
        } else {
            Err(ClientError::NotSent(Box::new(report)))
        }
    }

    /// The draft: the request, completed from the message it answers.
    async fn draft(
        &self,
        state: &mut State,
        lookup: &Lookup,
        session: &mut Option<Session>,
        request: &SendRequest,
        notes: &mut Vec<String>,
    ) -> Result<Draft, ClientError> {
        let answered = match &request.reply {
            Some(at) => Some(self.fetch_original(state, lookup, session, at, Carry::Nothing).await?),
            None => None,
        };
        if let Some(Original { verdict, content: None, .. }) = &answered {
            notes.push(format!(
                "the message it answers is withheld ({}); nothing of it was taken over",
                verdict.name()
            ));
        }
        let mut to = request.to.clone();
        if let (Some(answered), []) = (&answered, &[&to[..], &request.cc, &request.bcc].concat()[..]) {
            to = answered.recipients(false).0;
        }
        let count = to.len() + request.cc.len() + request.bcc.len();
        if count == 0 {
            return Err(ClientError::Decide("the message has no recipient; name one with --to".to_owned()));
        }
        if count > RECIPIENTS_MAX {
            return Err(ClientError::Refused(format!(
                "{count} recipients are more than the {RECIPIENTS_MAX} that one message may have; send it in parts"
            )));
        }
        let subject = request.subject.clone().or_else(|| answered.as_ref()?.reply_subject());
        let subject = subject.ok_or_else(|| {
            ClientError::Decide("the message has no subject; give one with --subject".to_owned())
        })?;
        let from = request.from.clone().or_else(|| answered.as_ref()?.from());
        let thread = answered.map_or_else(|| request.thread.clone(), |answered| answered.thread);
        Ok(Draft {
            from: own_mailbox(state, from)?,
            to,
            cc: request.cc.clone(),
            bcc: request.bcc.clone(),
            subject,
            text: request.text.clone(),
            attachments: request.attachments.clone(),
            carried: request.carried.clone(),
            in_reply_to: thread.in_reply_to,
            references: thread.references,
        })
    }

    /// Looks everybody up and puts each through the table of profile §7.
    pub(crate) async fn decide(
        &self,
        state: &mut State,
        lookup: &Lookup,
        session: &mut Option<Session>,
        named: &[(Mailbox, bool)],
        policy: Policy,
    ) -> Result<Vec<Recipient>, ClientError> {
        let own = state.own_keys();
        let own_key = state.key()?.public();
        let ask: Vec<Mailbox> = named
            .iter()
            .map(|(mailbox, _)| mailbox.clone())
            .filter(|mailbox| !own.addresses.contains(&mailbox.canonical()))
            .collect();
        // Pins and keywords as they were before this look-up: the table compares what was seen with what is.
        let remembered: Vec<Remembered> = ask.iter().map(|m| remembered(state, &m.canonical())).collect();
        let found = self.look_up(state, lookup, session, &ask).await;
        let now = self.env.clock.now();
        let mut decisions = found.iter().zip(&remembered).map(|(found, remembered)| {
            let address = found.mailbox.canonical();
            policy::decide(&address, remembered, &found.source, &found.answer, policy, now)
        });
        let mut recipients = Vec::with_capacity(named.len());
        for (mailbox, blind) in named {
            let decision = if own.addresses.contains(&mailbox.canonical()) {
                let why = "sealed to your own key".to_owned();
                Decision::Seal { key: own_key.clone(), pin: PinChange::Keep, why }
            } else {
                decisions.next().unwrap_or_else(|| Decision::Later { why: "it was not looked up".to_owned() })
            };
            let key = match &decision {
                Decision::Seal { key, .. } => Some(key.clone()),
                _ => None,
            };
            recipients.push(Recipient { mailbox: mailbox.clone(), blind: *blind, key, decision });
        }
        Ok(recipients)
    }

    /// Sealed or plain, for all; or, for each, why nothing is sent.
    fn form(&self, recipients: &mut [Recipient], policy: Policy) -> Result<Form, Vec<RecipientReport>> {
        let stops = |r: &Recipient| matches!(r.decision, Decision::Refuse { .. } | Decision::Later { .. });
        if recipients.iter().any(stops) {
            return Err(recipients.iter().map(held_back).collect());
        }
        let without: Vec<(Mailbox, String)> = recipients
            .iter()
            .filter_map(|r| match &r.decision {
                Decision::Plain { why } => Some((r.mailbox.clone(), why.clone())),
                _ => None,
            })
            .collect();
        if without.is_empty() {
            return Ok(Form::Sealed);
        }
        let with: Vec<Mailbox> =
            recipients.iter().filter(|r| r.key.is_some()).map(|r| r.mailbox.clone()).collect();
        if policy.sealed_only && !with.is_empty() {
            return Ok(Form::Sealed);
        }
        if policy.allow_plain
            || (!policy.sealed_only && self.env.ui.confirm(&Question::SendPlain { without, with }))
        {
            return Ok(Form::Plain);
        }
        Err(recipients.iter().map(held_back).collect())
    }

    /// What the table says becomes of the pins.
    pub(crate) fn pin(&self, state: &mut State, recipients: &[Recipient]) {
        let now = self.env.clock.now();
        for recipient in recipients {
            let Decision::Seal { key, pin: PinChange::New(learnt), .. } = &recipient.decision else {
                continue;
            };
            // A pin that moves by its chain has moved when it was looked up.
            let address = recipient.mailbox.canonical();
            let signs = state.trust.signs(&address);
            let pin = Pin { signs, ..Pin::new(key.clone(), now, learnt.clone(), None) };
            state.trust.pins.insert(address, pin);
            state.trust.mark_dirty();
        }
    }

    /// Composes each copy and hands it to the home server.
    pub(crate) async fn hand_over(
        &self,
        state: &mut State,
        lookup: &Lookup,
        session: &mut Option<Session>,
        composition: &Arc<Composition>,
        form: Form,
        recipients: &[Recipient],
    ) -> Result<HandedOver, ClientError> {
        let mut reports: Vec<RecipientReport> = recipients.iter().map(|r| before(r, form)).collect();
        let mut away = vec![false; recipients.len()];
        let goes = |r: &Recipient| form == Form::Plain || r.key.is_some();
        let mut copies: Vec<(Copy, Vec<usize>)> = Vec::new();
        let visible: Vec<usize> =
            (0..recipients.len()).filter(|n| goes(&recipients[*n]) && !recipients[*n].blind).collect();
        let blind: Vec<usize> =
            (0..recipients.len()).filter(|n| goes(&recipients[*n]) && recipients[*n].blind).collect();
        match form {
            // Plain mail is the same octets for everybody.
            Form::Plain => copies.push((Copy::Visible, visible.into_iter().chain(blind).collect())),
            Form::Sealed => {
                copies.push((Copy::Visible, visible));
                copies
                    .extend(blind.into_iter().map(|n| (Copy::Blind(recipients[n].mailbox.clone()), vec![n])));
            }
        }
        for (copy, members) in copies.into_iter().filter(|(_, members)| !members.is_empty()) {
            let keys: Vec<PublicKey> = members.iter().filter_map(|n| recipients[*n].key.clone()).collect();
            let outgoing = self.compose(state, composition, copy, keys, form).await?;
            let to: Vec<&Mailbox> = members.iter().map(|n| &recipients[*n].mailbox).collect();
            let results = self.submit(state, lookup, session, &outgoing, composition.from(), &to).await;
            for (at, n) in members.into_iter().enumerate() {
                away[n] = matches!(results, Err(ClientError::Away(_)));
                let taken = match &results {
                    Ok(results) => results.get(at).cloned().unwrap_or(Ok(())),
                    Err(error) => Err((
                        error.to_string(),
                        matches!(error, ClientError::Later(_) | ClientError::Away(_)),
                    )),
                };
                if let Err((reason, later)) = taken {
                    reports[n].not_taken(&reason, later);
                }
            }
        }
        Ok(HandedOver { reports, away })
    }

    async fn compose(
        &self,
        state: &State,
        composition: &Arc<Composition>,
        copy: Copy,
        keys: Vec<PublicKey>,
        form: Form,
    ) -> Result<Outgoing, ClientError> {
        let signer = state.key()?;
        let composition = Arc::clone(composition);
        let composed = tokio::task::spawn_blocking(move || match form {
            Form::Sealed => composition.sealed(&copy, &keys, &signer),
            Form::Plain => composition.plain(&signer),
        });
        composed
            .await
            .map_err(|e| ClientError::Compose(ComposeError::Io(std::io::Error::other(e))))?
            .map_err(Into::into)
    }

    /// One copy into the home server's hands: a result for each of `to`, a refusal with whether it may end by itself.
    async fn submit(
        &self,
        state: &mut State,
        lookup: &Lookup,
        session: &mut Option<Session>,
        outgoing: &Outgoing,
        from: &Mailbox,
        to: &[&Mailbox],
    ) -> Result<Vec<Result<(), (String, bool)>>, ClientError> {
        let session = match session {
            Some(session) => session,
            None => session.insert(self.sign_in(state, lookup).await?),
        };
        let total = outgoing.size();
        let envelope = Envelope {
            // Receivers write it into the message (RFC 5321 §4.4, Return-Path): another one of the account's addresses
            // would be told to those who were not to know it, and policies compare both (RFC 7489 §3.1.2).
            reverse_path: Some(path(from)),
            recipients: to.iter().map(|m| path(m)).collect(),
            // Senders write 7-bit only (profile §6).
            eight_bit: false,
            smtputf8: outgoing.needs_smtputf8() || !to.iter().all(|m| m.is_ascii()),
            size: total,
        };
        let left = Arc::new(AtomicU64::new(total));
        let octets = Counted { inner: outgoing.open().map_err(ComposeError::Io)?, left: left.clone() };
        let ui = Arc::clone(&self.env.ui);
        let progress = move |done| ui.progress(Progress::Upload { done, total });
        let results =
            session.home.submit(&envelope, Box::new(octets), progress).await.map_err(|e| match e {
                // Without its last octets no message is taken (RFC 5321 §4.1.1.4, RFC 3030 §2), and none that is refused.
                HomeError::Smtp { error, .. }
                    if error.code() == Some(421)
                        || is_lost_reply(&error) && left.load(Ordering::Relaxed) > 0 =>
                {
                    ClientError::Away(format!("{error}; try again later"))
                }
                // Nobody on this side can tell whether the server took what it did not answer.
                HomeError::Smtp { error, .. } if is_lost_reply(&error) => {
                    ClientError::Later(format!("{error}; {UNSURE}"))
                }
                HomeError::Smtp { error, .. } => smtp(error),
                e @ HomeError::Lookup(_) => ClientError::Later(e.to_string()),
            })?;
        let refused = |r: Refusal| (r.reply.to_string(), r.reply.is_transient());
        Ok(results.into_iter().map(|(_, result)| result.map(|_| ()).map_err(refused)).collect())
    }

    /// The sender's own copy in Sent: sealed to oneself alone with the full Bcc; of plain mail the octets that went
    /// out, which the servers have seen anyway.
    async fn keep_copy(
        &self,
        state: &mut State,
        lookup: &Lookup,
        composition: &Arc<Composition>,
        form: Form,
        link: Option<&Link>,
    ) -> Result<(), ClientError> {
        let own = vec![state.key()?.public()];
        let outgoing = self.compose(state, composition, Copy::Sent, own, form).await?;
        let mut mail = self.mail(state, lookup).await?;
        let folders = mail.list().await.map_err(imap_error)?;
        let sent = folders.iter().find(|f| f.has("\\Sent")).map_or("Sent", |f| f.name.as_str()).to_owned();
        let mut octets = outgoing.open().map_err(ComposeError::Io)?;
        let ui = Arc::clone(&self.env.ui);
        let mut progress = move |done, total| ui.progress(Progress::Upload { done, total });
        mail.append(&sent, &[Flag::Seen], None, outgoing.size(), &mut octets, &mut progress)
            .await
            .map_err(imap_error)?;
        if let Some(link) = link {
            mark(&mut mail, link).await;
        }
        let _ = mail.logout().await;
        Ok(())
    }
}

/// Marks what was answered or forwarded. That it cannot be marked, as where it is gone, is no matter.
async fn mark(mail: &mut Mail, link: &Link) {
    let flag = if link.forwarded { Atom::new("$Forwarded").map(Flag::Keyword) } else { Some(Flag::Answered) };
    let (Some(flag), Some(set)) = (flag, SequenceSet::from_numbers(&[link.uid])) else { return };
    if mail.select(&link.mailbox).await.is_ok_and(|selected| selected.uid_validity == link.uid_validity) {
        let _ = mail.store_flags(set, StoreHow::Add, vec![flag]).await;
    }
}

/// Everybody named, once, and whether in Bcc.
fn named(draft: &Draft) -> Vec<(Mailbox, bool)> {
    let visible = draft.to.iter().chain(&draft.cc).map(|m| (m, false));
    let mut named: Vec<(Mailbox, bool)> = Vec::new();
    let mut known: Vec<Address> = Vec::new();
    for (mailbox, blind) in visible.chain(draft.bcc.iter().map(|m| (m, true))) {
        let address = mailbox.canonical();
        if !known.contains(&address) {
            known.push(address);
            named.push((mailbox.clone(), blind));
        }
    }
    named
}

fn remembered(state: &State, address: &Address) -> Remembered {
    let pin = state.trust.pins.get(address);
    Remembered {
        pin: pin.map(|p| p.key.clone()),
        since: pin.map(|p| p.since),
        accepted_expiry: pin.and_then(|p| p.accepted_expiry),
        keywords: state.trust.keywords(&address.domain()),
        offered: state.trust.offered.get(address.domain().as_str()).map(|moment| moment.0),
    }
}

/// The report of a recipient when nothing is sent.
fn held_back(recipient: &Recipient) -> RecipientReport {
    let (outcome, why) = match &recipient.decision {
        Decision::Seal { .. } => {
            (Outcome::Refused, "could be sealed; held back because of the others".to_owned())
        }
        Decision::Plain { why } => (
            Outcome::Refused,
            format!(
                "{why}. --allow-plain sends it unencrypted to everybody, --sealed-only leaves out who has no key"
            ),
        ),
        Decision::Refuse { why } => (Outcome::Refused, why.clone()),
        Decision::Later { why } => (Outcome::TryLater, why.clone()),
    };
    RecipientReport { address: recipient.mailbox.clone(), outcome, why }
}

/// The report of a recipient when its copy is about to leave.
pub(crate) fn before(recipient: &Recipient, form: Form) -> RecipientReport {
    let (outcome, why) = match (&recipient.decision, form) {
        (Decision::Seal { why, .. }, Form::Sealed) => (Outcome::Sealed, why.clone()),
        (Decision::Seal { .. }, Form::Plain) => {
            (Outcome::Plain, "sent unencrypted, since others have no key and you allowed it".to_owned())
        }
        (Decision::Plain { why }, Form::Plain) => {
            (Outcome::Plain, format!("{why}; sent unencrypted, signed"))
        }
        (Decision::Plain { why }, Form::Sealed) => {
            (Outcome::LeftOut, format!("{why}; left out (--sealed-only)"))
        }
        (Decision::Refuse { why } | Decision::Later { why }, _) => (Outcome::Refused, why.clone()),
    };
    RecipientReport { address: recipient.mailbox.clone(), outcome, why }
}

/// The draft without those who are left out: the others must not be told that they got it.
fn without(mut draft: Draft, left_out: &[Mailbox]) -> Draft {
    for list in [&mut draft.to, &mut draft.cc, &mut draft.bcc] {
        list.retain(|m| !left_out.iter().any(|out| out.canonical() == m.canonical()));
    }
    draft
}

/// An address in an envelope: local part as written, domain in A-labels.
fn path(mailbox: &Mailbox) -> String {
    format!("{}@{}", mailbox.local(), mailbox.domain())
}
