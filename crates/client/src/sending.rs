//! A message that a mail program sends through a bridge: recipients are judged one by one as they are named, so that a
//! refusal reaches the person who writes; the message follows (profile §6, §7).

use crate::{
    client::{Client, Policy},
    compose::{ComposeError, Composition, Given, Purpose, seven_bit},
    error::ClientError,
    send::{Form, RECIPIENTS_MAX, Recipient, SendReport},
    session::{Session, mailbox},
    staged::Staged,
    state::{Snapshot, State},
    trust::policy::Decision,
};
use sealpost_proto::address::Mailbox;
use std::{io, sync::Arc};

/// Recipients that were taken so far. Holds the folder only while it looks somebody up or sends.
pub struct Sending {
    client: Client,
    policy: Policy,
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
    /// Begins a message.
    pub fn sending(&self, policy: Policy) -> Sending {
        Sending { client: self.clone(), policy, recipients: Vec::new() }
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

    async fn decide(&self, recipient: &Mailbox) -> Result<Recipient, ClientError> {
        let client = &self.client;
        let mut state = State::load(client).await?;
        let lookup = state.account.lookup(client)?;
        let mut session: Option<Session> = None;
        let named = [(recipient.clone(), false)];
        let decided = client.decide(&mut state, &lookup, &mut session, &named, self.policy).await;
        if let Some(session) = session {
            session.home.quit().await;
        }
        // What the look-up taught is worth keeping, whatever comes of the message.
        state.save()?;
        decided?.pop().ok_or_else(|| ClientError::Later("it was not looked up".to_owned()))
    }

    /// Composes, signs, and hands over. Those whom the header does not name get copies of their own.
    pub async fn send(mut self, message: &Staged) -> Result<SendReport, ClientError> {
        let client = &self.client;
        let sealed = self.recipients.iter().all(|r| r.key.is_some());
        let taken = self.take(message, sealed).await?;
        for recipient in &mut self.recipients {
            let address = recipient.mailbox.canonical();
            recipient.blind = !taken.visible.iter().any(|visible| visible.canonical() == address);
        }
        let composition = Arc::new(taken.composition);
        let form = if sealed { Form::Sealed } else { Form::Plain };
        let mut state = State::load(client).await?;
        let lookup = state.account.lookup(client)?;
        let mut session = Some(client.sign_in(&mut state, &lookup).await?);
        if form == Form::Sealed {
            client.pin(&mut state, &self.recipients);
        }
        // Pins are on the disk before the message leaves: what was sealed to them must never be forgotten.
        state.save()?;
        let recipients =
            client.hand_over(&mut state, &lookup, &mut session, &composition, form, &self.recipients).await?;
        if let Some(session) = session {
            session.home.quit().await;
        }
        state.save()?;
        let message_id = composition.message_id().to_owned();
        let report = SendReport { message_id, recipients, notes: Vec::new(), copy_kept: false };
        if report.recipients.iter().all(|r| r.outcome.is_sent()) {
            Ok(report)
        } else {
            Err(ClientError::NotSent(Box::new(report)))
        }
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
