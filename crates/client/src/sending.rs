//! A message that a mail program sends through a bridge: recipients are judged one by one as they are named, so that a
//! refusal reaches the person who writes; the message follows (profile §6, §7). A home server that is not there is waited
//! for, as long as nothing was sent that it may have taken.

use crate::{
    client::{Client, Policy},
    compose::{ComposeError, Composition, Given, Purpose, seven_bit},
    error::ClientError,
    send::{Form, HandedOver, RECIPIENTS_MAX, Recipient, RecipientReport, SendReport, before},
    session::{Session, mailbox},
    staged::Staged,
    state::{Snapshot, State},
    trust::policy::Decision,
};
use sealpost_proto::address::Mailbox;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// Wait before a server that was not there is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Recipients that were taken so far. Holds the folder only while it looks somebody up or sends.
pub struct Sending {
    client: Client,
    policy: Policy,
    /// How long a home server is waited for that is not there.
    patience: Duration,
    /// Nobody waits for the answer any more.
    abandoned: Arc<AtomicBool>,
    /// Until when, once it was not there.
    until: Option<Instant>,
    recipients: Vec<Recipient>,
}

/// Why a recipient is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotTaken {
    /// In words, for the person who writes.
    pub why: String,
    /// It may work later.
    pub later: bool,
}

impl Client {
    /// Begins a message. A home server that is not there is waited for so long, or until `abandoned` is set: who does not
    /// hear that a message was sent sends it again.
    pub fn sending(&self, policy: Policy, patience: Duration, abandoned: Arc<AtomicBool>) -> Sending {
        let (until, recipients) = (None, Vec::new());
        Sending { client: self.clone(), policy, patience, abandoned, until, recipients }
    }
}

impl Sending {
    /// Looks a recipient up and puts it through the table of profile §7.
    pub async fn recipient(&mut self, recipient: &Mailbox) -> Result<(), NotTaken> {
        let address = recipient.canonical();
        if self.recipients.iter().any(|known| known.mailbox.canonical() == address) {
            return Ok(());
        }
        if self.recipients.len() >= RECIPIENTS_MAX {
            let why = format!("a message has {RECIPIENTS_MAX} recipients at most; send it in parts");
            return Err(NotTaken { why, later: true });
        }
        let decided = self.decide(recipient).await;
        let decided = decided.map_err(|e| NotTaken { later: e.exit_code() == 5, why: e.to_string() })?;
        let why = match &decided.decision {
            Decision::Seal { .. } => None,
            Decision::Plain { why } if self.policy.allow_plain => {
                tracing::debug!("{recipient} gets the message unencrypted: {why}");
                None
            }
            Decision::Plain { why } => Some(NotTaken {
                why: format!(
                    "{why}, and the bridge sends nothing unencrypted unless it was started with --allow-plain"
                ),
                later: false,
            }),
            Decision::Refuse { why } => Some(NotTaken { why: why.clone(), later: false }),
            Decision::Later { why } => Some(NotTaken { why: why.clone(), later: true }),
        };
        if let Some(not_taken) = why {
            return Err(not_taken);
        }
        self.recipients.push(decided);
        Ok(())
    }

    async fn decide(&mut self, recipient: &Mailbox) -> Result<Recipient, ClientError> {
        loop {
            let (decided, away) = self.decide_now(recipient).await?;
            match away {
                Some(why) if self.waits(&why).await => {}
                _ => return Ok(decided),
            }
        }
    }

    /// With the reason why the home server was not there to be asked, if it was not and that may be why it is to be later.
    async fn decide_now(&self, recipient: &Mailbox) -> Result<(Recipient, Option<String>), ClientError> {
        let client = &self.client;
        let mut state = State::load(client).await?;
        let lookup = state.account.lookup(client)?;
        let mut session: Option<Session> = None;
        let named = [(recipient.clone(), false)];
        let decided = client.decide(&mut state, &lookup, &mut session, &named, self.policy).await;
        let mut away = None;
        if let Ok([Recipient { decision: Decision::Later { .. }, .. }]) = decided.as_deref()
            && session.is_none()
        {
            match client.sign_in(&mut state, &lookup).await {
                Ok(found) => session = Some(found),
                Err(ClientError::Away(why)) => away = Some(why),
                // What else is wrong is told when the message is sent.
                Err(_) => {}
            }
        }
        if let Some(session) = session {
            session.home.quit().await;
        }
        // What the look-up taught is worth keeping, whatever comes of the message.
        state.save()?;
        let decided = decided?.pop().ok_or_else(|| ClientError::Later("it was not looked up".to_owned()))?;
        Ok((decided, away))
    }

    /// Waits a little for the home server, the first time not at all: its connection may have broken alone. `false` where
    /// that was done for long enough.
    async fn waits(&mut self, why: &str) -> bool {
        tracing::debug!("the home server is not there: {why}");
        let Some(until) = self.until else {
            self.until = Some(Instant::now() + self.patience);
            return true;
        };
        if Instant::now() >= until {
            return false;
        }
        sleep(RETRY).await;
        !self.abandoned.load(Ordering::Relaxed)
    }

    /// Composes, signs, and hands over. Those whom the header does not name get copies of their own. What the home server
    /// cannot have taken when its connection was lost is handed over again; what it may have taken is not.
    pub async fn send(mut self, message: &Staged) -> Result<SendReport, ClientError> {
        self.until = None;
        let sealed = self.recipients.iter().all(|r| r.key.is_some());
        let taken = self.take(message, sealed).await?;
        for recipient in &mut self.recipients {
            let address = recipient.mailbox.canonical();
            recipient.blind = !taken.visible.iter().any(|visible| visible.canonical() == address);
        }
        let composition = Arc::new(taken.composition);
        let form = if sealed { Form::Sealed } else { Form::Plain };
        let mut left = std::mem::take(&mut self.recipients);
        let mut recipients: Vec<RecipientReport> = Vec::new();
        loop {
            let HandedOver { reports, away } = match self.hand_over(&composition, form, &left).await {
                Ok(handed) => handed,
                Err(ClientError::Away(why)) if self.waits(&why).await => continue,
                Err(error) if recipients.is_empty() => return Err(error),
                Err(error) => HandedOver::none(&left, form, &error),
            };
            let why =
                reports.iter().zip(&away).find(|(_, away)| **away).map(|(report, _)| report.why.clone());
            let again = match why {
                Some(why) => self.waits(&why).await,
                None => false,
            };
            let mut kept = Vec::new();
            for ((report, away), recipient) in reports.into_iter().zip(away).zip(left) {
                if away && again {
                    kept.push(recipient);
                } else {
                    recipients.push(report);
                }
            }
            left = kept;
            if left.is_empty() {
                break;
            }
        }
        let message_id = composition.message_id().to_owned();
        let report = SendReport { message_id, recipients, notes: Vec::new(), copy_kept: false };
        if report.recipients.iter().all(|r| r.outcome.is_sent()) {
            Ok(report)
        } else {
            Err(ClientError::NotSent(Box::new(report)))
        }
    }

    /// Hands over once. Holds the folder meanwhile.
    async fn hand_over(
        &self,
        composition: &Arc<Composition>,
        form: Form,
        recipients: &[Recipient],
    ) -> Result<HandedOver, ClientError> {
        let client = &self.client;
        let mut state = State::load(client).await?;
        let lookup = state.account.lookup(client)?;
        let mut session = Some(client.sign_in(&mut state, &lookup).await?);
        if form == Form::Sealed {
            client.pin(&mut state, recipients);
        }
        // Pins are on the disk before the message leaves: what was sealed to them must never be forgotten.
        state.save()?;
        let handed =
            client.hand_over(&mut state, &lookup, &mut session, composition, form, recipients).await?;
        if let Some(session) = session {
            session.home.quit().await;
        }
        state.save()?;
        Ok(handed)
    }

    async fn take(&self, message: &Staged, sealed: bool) -> Result<crate::compose::Taken, ClientError> {
        let folder = Snapshot::load(&self.client)?;
        let addresses = crate::state::own_keys(&folder.account, &folder.secrets, &folder.trust).addresses;
        let own = mailbox(&folder.account.address)?;
        let mut entropy = [0; 16];
        self.client.env.random.fill(&mut entropy);
        let now = self.client.env.clock.now();
        let message = message.clone();
        let taken = tokio::task::spawn_blocking(move || {
            let given = Given { own: &own, addresses: &addresses, now, entropy, purpose: Purpose::Send };
            // Sealed, it is 7-bit whatever it was.
            let message = if sealed { message } else { seven_bit(&message)? };
            Composition::of_message(&message, &given)
        });
        Ok(taken.await.map_err(|e| ComposeError::Io(io::Error::other(e)))??)
    }
}

impl HandedOver {
    /// Nobody got it.
    fn none(recipients: &[Recipient], form: Form, error: &ClientError) -> Self {
        let not_taken = |recipient| {
            let mut report = before(recipient, form);
            report.not_taken(&error.to_string(), error.exit_code() == 5);
            report
        };
        Self { reports: recipients.iter().map(not_taken).collect(), away: vec![false; recipients.len()] }
    }
}
