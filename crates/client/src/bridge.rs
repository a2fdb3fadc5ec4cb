//! What a bridge asks of a client, beside the commands of [`Client`]: a connection to the mail server whose octets pass
//! through it, messages judged one after the other, messages sealed to oneself.

use crate::{
    client::Client,
    compose::{ComposeError, Composition, Copy, Given, Outgoing, Purpose, kept},
    error::ClientError,
    open::{OpenError, Opened},
    session::{Session, mailbox},
    spool::{Spool, spool},
    staged::Staged,
    state::{Snapshot, State, own_keys},
};
use bytes::BytesMut;
use sealpost_lookup::Lookup;
use sealpost_proto::{address::Address, drive::BoxStream};
use std::{
    io::{self, Seek as _, Write},
    sync::Arc,
};
use tempfile::SpooledTempFile;

/// A connection to the home IMAP server, signed in.
pub struct MailConnection {
    /// Octets in TLS.
    pub stream: BoxStream,
    /// What was read of it already.
    pub input: BytesMut,
    /// What the server can do, before ENABLE.
    pub capabilities: Vec<String>,
}

/// A message on its way from the server, as the server keeps it. Small ones stay in memory.
pub struct Fetched(SpooledTempFile);

impl Fetched {
    /// Nothing yet.
    pub fn new() -> Self {
        Self(spool())
    }

    /// Octets so far.
    pub fn size(&mut self) -> io::Result<u64> {
        self.0.stream_position()
    }
}

impl Default for Fetched {
    fn default() -> Self {
        Self::new()
    }
}

impl Write for Fetched {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.write(octets)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The account as it is now.
pub struct Identity {
    /// The primary address.
    pub address: Address,
    /// All addresses.
    pub addresses: Vec<Address>,
    /// Contacts whose mail was signed before: what comes from them without a signature has a verdict of its own.
    pub signers: Vec<Address>,
}

/// A message and what it was found to be.
pub struct Judgement {
    /// Verdict and content.
    pub opened: Opened,
    /// A look-up was due and failed: the verdict is to be asked for again.
    pub provisional: bool,
}

/// The folder, held for judging some messages in a row. Other commands wait meanwhile: never hold it while nothing
/// happens.
pub struct Judging {
    client: Client,
    state: State,
    lookup: Lookup,
    session: Option<Session>,
}

impl Client {
    /// Signs in to the home IMAP server. Neither waits for other commands nor makes them wait.
    pub async fn mail_connection(&self) -> Result<MailConnection, ClientError> {
        let folder = Snapshot::load(self)?;
        let lookup = folder.account.lookup(self)?;
        let (stream, input, capabilities) = self.mail_unattended(&folder, &lookup).await?.into_parts();
        Ok(MailConnection { stream, input, capabilities })
    }

    /// Who this is.
    pub fn identity(&self) -> Result<Identity, ClientError> {
        let folder = Snapshot::load(self)?;
        let own = own_keys(&folder.account, &folder.secrets, &folder.trust);
        let signers =
            folder.trust.pins.iter().filter(|(_, pin)| pin.signs).map(|(address, _)| address.clone());
        Ok(Identity { address: folder.account.address, addresses: own.addresses, signers: signers.collect() })
    }

    /// Takes the folder.
    pub async fn judging(&self) -> Result<Judging, ClientError> {
        let state = State::load(self).await?;
        let lookup = state.account.lookup(self)?;
        Ok(Judging { client: self.clone(), state, lookup, session: None })
    }

    /// A message sealed to oneself alone, with the full Bcc: a draft, or a copy of what was sent.
    pub async fn kept(&self, message: &Staged) -> Result<Outgoing, ClientError> {
        self.keep(message, false).await
    }

    /// A message that [`Client::kept`] refuses, sealed to oneself within one of one's own.
    pub async fn kept_within(&self, message: &Staged) -> Result<Outgoing, ClientError> {
        self.keep(message, true).await
    }

    async fn keep(&self, message: &Staged, within: bool) -> Result<Outgoing, ClientError> {
        let folder = Snapshot::load(self)?;
        let own = own_keys(&folder.account, &folder.secrets, &folder.trust);
        let address = mailbox(&folder.account.address)?;
        let mut entropy = [0; 16];
        self.env.random.fill(&mut entropy);
        let now = self.env.clock.now();
        let key = folder.secrets.current.as_ref().and_then(|c| c.key.as_ref()).map(crate::secrets::Seed::key);
        let key = key.ok_or_else(|| ClientError::NoAccount(self.settings.dir.clone()))?;
        let message = message.clone();
        let composed = tokio::task::spawn_blocking(move || {
            let message =
                if within { kept::within(&message, &address).map_err(ComposeError::Io)? } else { message };
            let given =
                Given { own: &address, addresses: &own.addresses, now, entropy, purpose: Purpose::Keep };
            let taken = Composition::of_message(&message, &given)?;
            taken.composition.sealed(&Copy::Sent, &[key.public()], &key)
        });
        let composed = composed.await.map_err(|e| ComposeError::Io(io::Error::other(e)))?;
        Ok(composed?)
    }

    /// What is due from time to time while a bridge runs: the own statement renewed, the keyring stored where trust has
    /// changed (profile §9: at most every 15 minutes).
    pub async fn maintain(&self) -> Result<(), ClientError> {
        let state = State::load(self).await?;
        let lookup = state.account.lookup(self)?;
        self.finish(state, &lookup, None).await
    }
}

impl Judging {
    /// Verifies, opens, decides.
    pub async fn judge(&mut self, message: Fetched) -> Result<Judgement, ClientError> {
        let source = Arc::new(Spool::new(message.0).map_err(OpenError::Io)?);
        let judged =
            self.client.judge(&mut self.state, &self.lookup, &mut self.session, source, None).await?;
        Ok(Judgement { opened: judged.opened, provisional: judged.lookup_failed })
    }

    /// Writes down what was learnt and lets go.
    pub async fn finish(mut self) -> Result<(), ClientError> {
        let saved = self.state.save();
        if let Some(session) = self.session.take() {
            session.home.quit().await;
        }
        saved
    }
}
