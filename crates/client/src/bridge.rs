//! What a bridge asks of a client, beside the commands of [`Client`]: a connection to the mail server whose octets pass
//! through it, messages judged one after the other, messages sealed to oneself.

pub use crate::secrets::BridgeSecrets;
use crate::{
    client::Client,
    compose::{ComposeError, Composition, Copy, Given, Outgoing, Purpose, kept},
    error::ClientError,
    folder::{Folder, Stamp},
    open::{Again, Described, OpenError, Opened, Shown},
    read::{Facing, Judged, Trace, Tried, Unjudged, blocking},
    secrets::Secrets,
    session::{Session, mailbox},
    spool::{Spool, spool},
    staged::Staged,
    state::{Account, Snapshot, State, no_account, own_keys},
    trust::{Trust, facts::OwnKeys},
};
use bytes::BytesMut;
use sealpost_crypto::seal::Identities;
use sealpost_lookup::Lookup;
use sealpost_proto::{address::Address, drive::BoxStream};
use std::{
    collections::VecDeque,
    io::{self, Write},
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
pub struct Fetched(SpooledTempFile, u64);

impl Fetched {
    /// Nothing yet.
    pub fn new() -> Self {
        Self(spool(), 0)
    }
}

impl Fetched {
    /// Octets so far.
    pub fn size(&self) -> u64 {
        self.1
    }

    pub(crate) fn into_spool(self) -> io::Result<Spool> {
        Spool::new(self.0)
    }
}

impl Default for Fetched {
    fn default() -> Self {
        Self::new()
    }
}

impl Write for Fetched {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let written = self.0.write(octets)?;
        self.1 += written as u64;
        Ok(written)
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

/// The account at one time: as long as it is the same, so is its [`Identity`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment([Stamp; 3]);

/// A message and what it was found to be.
pub struct Judgement {
    /// Verdict and content.
    pub opened: Opened,
    /// As a mail program is given it.
    pub shown: Shown,
    /// What an index keeps of it.
    pub described: Described,
    /// What opens it again.
    pub again: Again,
    /// A look-up was due and failed: the verdict is to be asked for again.
    pub provisional: bool,
}

/// The folder, held for judging some messages in a row. Other commands wait meanwhile: never hold it while nothing
/// happens.
///
/// ```text
/// read → begin → decide (several at once, on any thread) → conclude (in the order of begin)
/// ```
pub struct Judging {
    client: Client,
    state: State,
    lookup: Lookup,
    session: Option<Session>,
    identities: Arc<Identities>,
    own: Arc<OwnKeys>,
    /// Messages that have begun and were not concluded.
    begun: VecDeque<Trace>,
}

/// A message whose header was read.
pub struct Incoming {
    unjudged: Unjudged,
    trace: Trace,
}

/// A message that has all that it takes to decide on it.
pub struct Begun {
    facing: Facing,
    own: Arc<OwnKeys>,
    see: String,
}

/// A message that was decided on, and not yet remembered.
pub struct Decided {
    tried: Tried,
    /// Without it the decision may be another one in a moment.
    told: Option<Told>,
    see: String,
}

/// What is told of a decision.
struct Told {
    shown: Shown,
    described: Described,
    again: Again,
}

impl Told {
    fn of(tried: &Tried, see: &str) -> Result<Self, OpenError> {
        let shown = tried.opened.shown(see);
        Ok(Self { described: shown.describe()?, again: tried.opened.again(&tried.source)?, shown })
    }
}

impl Begun {
    /// Verifies, opens, decides; reads what is shown once. Takes as long as the message is large.
    pub fn decide(self) -> Result<Decided, ClientError> {
        let tried = self.facing.decide()?;
        let told = if tried.may_be_newer(&self.own) { None } else { Some(Told::of(&tried, &self.see)?) };
        Ok(Decided { tried, told, see: self.see })
    }
}

impl Client {
    /// Signs in to the home IMAP server. Neither waits for other commands nor makes them wait.
    pub async fn mail_connection(&self) -> Result<MailConnection, ClientError> {
        let folder = Snapshot::load(self)?;
        let lookup = folder.account.lookup(self)?;
        let (stream, input, capabilities) = self.mail_unattended(&folder, &lookup).await?.into_parts();
        Ok(MailConnection { stream, input, capabilities })
    }

    /// What a bridge on this device has of its own, made at its first run.
    pub async fn bridge_secrets(&self) -> Result<BridgeSecrets, ClientError> {
        if let Some(secrets) = Snapshot::load(self)?.secrets.bridge {
            return Ok(secrets);
        }
        let mut state = State::load(self).await?;
        let random = &*self.env.random;
        let secrets = state.secrets.bridge.get_or_insert_with(|| BridgeSecrets::new(random)).clone();
        state.save()?;
        Ok(secrets)
    }

    /// The same of a bridge that ran before.
    pub fn known_bridge_secrets(&self) -> Result<Option<BridgeSecrets>, ClientError> {
        Ok(Snapshot::load(self)?.secrets.bridge)
    }

    /// Drops what is remembered of the secrets while nothing runs. They are asked for anew when they are needed.
    pub fn forget(&self) {
        self.vault.forget();
    }

    /// The primary address, whether the device is locked or not.
    pub fn address(&self) -> Result<Address, ClientError> {
        let account = Folder::new(&self.settings.dir).read::<Account>()?;
        Ok(account.ok_or_else(|| no_account(self))?.address)
    }

    /// Who this is.
    pub fn identity(&self) -> Result<Identity, ClientError> {
        let folder = Snapshot::load(self)?;
        let own = own_keys(&folder.account, &folder.secrets, &folder.trust);
        let signers =
            folder.trust.pins.iter().filter(|(_, pin)| pin.signs).map(|(address, _)| address.clone());
        Ok(Identity { address: folder.account.address, addresses: own.addresses, signers: signers.collect() })
    }

    /// The account as it is now. Costs nothing beside [`Client::identity`].
    pub fn moment(&self) -> Moment {
        let folder = Folder::new(&self.settings.dir);
        Moment([folder.stamp::<Account>(), folder.stamp::<Secrets>(), folder.stamp::<Trust>()])
    }

    /// Takes the folder.
    pub async fn judging(&self) -> Result<Judging, ClientError> {
        let state = State::load(self).await?;
        let lookup = state.account.lookup(self)?;
        let identities = Arc::new(state.secrets.ready()?);
        let own = Arc::new(state.own_keys());
        let begun = VecDeque::new();
        Ok(Judging { client: self.clone(), state, lookup, session: None, identities, own, begun })
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
    /// Reads the header of a message.
    pub async fn read(&mut self, message: Fetched) -> Result<Incoming, ClientError> {
        let source = Arc::new(message.into_spool().map_err(OpenError::Io)?);
        // What is in memory is read sooner than handed to another thread.
        let unjudged = match &*source {
            Spool::Memory(_) => Unjudged::read(source)?,
            Spool::Disk(..) => blocking(move || Unjudged::read(source)).await?,
        };
        Ok(Incoming { trace: unjudged.trace(), unjudged })
    }

    /// Whether the verdict on a message depends on that on one that has begun: it has to wait until that is concluded.
    pub fn depends(&self, message: &Incoming) -> bool {
        self.begun.iter().any(|earlier| message.trace.depends_on(earlier))
    }

    /// Gathers what is known of the sender, and asks where that is due. `see` is told in the place of a withheld message.
    pub async fn begin(&mut self, message: Incoming, see: String) -> Result<Begun, ClientError> {
        let Incoming { unjudged, trace } = message;
        let Self { client, state, lookup, session, identities, own, begun } = self;
        let facing = client.face(state, lookup, session, unjudged, own, identities.clone()).await?;
        begun.push_back(trace);
        Ok(Begun { facing, own: own.clone(), see })
    }

    /// Remembers what was decided, in the order in which the messages began.
    pub async fn conclude(&mut self, decided: Decided) -> Result<Judgement, ClientError> {
        let Decided { tried, told, see } = decided;
        let Self { client, state, lookup, session, begun, .. } = self;
        begun.pop_front();
        let (tried, told) = if let Some(told) = told {
            (tried, told)
        } else {
            // Decided anew, with a key asked for now.
            let tried = client.try_newer(state, lookup, session, tried).await?;
            blocking(move || Told::of(&tried, &see).map(|told| (tried, told))).await?
        };
        let Judged { opened, lookup_failed, .. } = client.conclude(state, tried, None)?;
        let Told { shown, described, again } = told;
        Ok(Judgement { opened, shown, described, again, provisional: lookup_failed })
    }

    /// Writes down what memory has come to hold, before it is told elsewhere what messages were found to be: else the same
    /// message would be new to it after a crash.
    pub fn keep(&mut self) -> Result<(), ClientError> {
        self.state.memory.save()
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
