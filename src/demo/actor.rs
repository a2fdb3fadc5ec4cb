//! Alice, Bob, and an impostor: each a client with a folder and a passphrase.

use super::world::{Server, World};
use crate::{admin, exit::Failure};
use sealpost_client::{
    client::{
        Client, EnrolRequest, Environment, MessageAt, Policy, Published, ReadReport, ReadRequest, SendReport,
        SendRequest, Settings, Which,
    },
    error::ClientError,
    open::Take,
    ui::Unattended,
};
use sealpost_crypto::{kdf::Password, passphrase};
use sealpost_proto::{
    address::{Address, Mailbox},
    transcript::Recorder,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use zeroize::Zeroizing;

/// How long mail may take from one server to the other.
const ARRIVAL: Duration = Duration::from_secs(30);

/// How often it is looked for.
const POLL: Duration = Duration::from_millis(50);

const INBOX: &str = "INBOX";

/// A person with an account.
pub struct Actor {
    name: &'static str,
    /// Account.
    pub address: Address,
    /// Password.
    pub passphrase: Zeroizing<String>,
    /// The client of the device in use.
    pub client: Client,
    /// That device's folder.
    pub dir: PathBuf,
    /// What was said and heard.
    pub recorder: Arc<Recorder>,
    devices: usize,
}

fn client(world: &World, dir: &Path, recorder: &Arc<Recorder>) -> Client {
    let settings = Settings {
        dir: dir.to_owned(),
        dns: Some(world.dns),
        ca_file: Some(world.ca_file.clone()),
        mx_port: Some(world.servers[0].ports.smtp),
    };
    let mut environment = Environment::system(Arc::new(Unattended));
    environment.tap = Some(recorder.clone());
    Client::new(settings, environment)
}

impl Actor {
    /// With a new passphrase and an empty folder below `folder`.
    pub fn new(name: &'static str, server: &Server, world: &World, folder: &Path) -> Result<Self, Failure> {
        let address = Address::parse(&format!("{name}@{}", server.domain)).map_err(Failure::failed)?;
        let recorder = Arc::new(Recorder::default());
        let dir = folder.join(name);
        Ok(Self {
            name,
            address,
            passphrase: passphrase::generate(),
            client: client(world, &dir, &recorder),
            dir,
            recorder,
            devices: 1,
        })
    }

    /// Somebody who will pass for `victim`.
    pub fn impostor(victim: &Self, world: &World, folder: &Path) -> Self {
        let recorder = Arc::new(Recorder::default());
        let dir = folder.join("impostor");
        Self {
            name: "impostor",
            address: victim.address.clone(),
            passphrase: passphrase::generate(),
            client: client(world, &dir, &recorder),
            dir,
            recorder,
            devices: 1,
        }
    }

    fn password(&self) -> Result<Password, Failure> {
        Password::new(&self.passphrase).map_err(Failure::failed)
    }

    /// From the administrator's code to a published key.
    pub async fn enrol(&mut self, config: &Path) -> Result<(), Failure> {
        let code = admin::user_add(config, &self.address).await?;
        self.enrol_with(code).await
    }

    /// The same with the code of a reset.
    pub async fn take_over(&mut self, config: &Path) -> Result<(), Failure> {
        let code = admin::user_reset(config, &self.address).await?;
        self.enrol_with(code).await
    }

    async fn enrol_with(&mut self, code: Zeroizing<String>) -> Result<(), Failure> {
        let request = EnrolRequest {
            address: self.address.clone(),
            code,
            password: self.password()?,
            cost: None,
            no_keyring: false,
        };
        self.client.enrol(request).await?;
        Ok(())
    }

    /// Another device: an empty folder, and the password.
    pub async fn new_device(&mut self, world: &World, folder: &Path) -> Result<(), Failure> {
        self.devices += 1;
        self.dir = folder.join(format!("{}-device-{}", self.name, self.devices));
        self.client = client(world, &self.dir, &self.recorder);
        self.client.login(&self.address, &self.password()?).await?;
        Ok(())
    }

    /// `sealpost key rotate`.
    pub async fn rotate(&mut self) -> Result<(), Failure> {
        self.client.rotate(&self.password()?, false).await?;
        Ok(())
    }

    /// `sealpost passwd` with a new passphrase.
    pub async fn change_password(&mut self) -> Result<(), Failure> {
        let new = passphrase::generate();
        let next = Password::new(&new).map_err(Failure::failed)?;
        self.client.passwd(&self.password()?, &next).await?;
        self.passphrase = new;
        Ok(())
    }

    /// `sealpost send`.
    pub async fn send(
        &self,
        to: &str,
        subject: &str,
        text: &str,
        attachments: &[PathBuf],
    ) -> Result<SendReport, ClientError> {
        let to = Mailbox::parse(to).map_err(|e| ClientError::Refused(format!("{to}: {e}")))?;
        let request = SendRequest {
            to: vec![to],
            subject: Some(subject.to_owned()),
            text: text.to_owned(),
            attachments: attachments.to_vec(),
            policy: Policy::default(),
            ..SendRequest::default()
        };
        self.client.send(request).await
    }

    /// `sealpost send --reply last`.
    pub async fn reply_last(&self, text: &str) -> Result<SendReport, ClientError> {
        let reply = MessageAt { mailbox: INBOX.to_owned(), which: Which::Last };
        self.client
            .send(SendRequest { text: text.to_owned(), reply: Some(reply), ..SendRequest::default() })
            .await
    }

    /// `sealpost read last`.
    pub async fn read_last(&self) -> Result<ReadReport, ClientError> {
        self.read(Which::Last).await
    }

    /// The oldest message.
    pub async fn read_first(&self) -> Result<ReadReport, ClientError> {
        let uid = self.client.list(INBOX).await?.first().map_or(1, |entry| entry.uid);
        self.read(Which::Uid(uid)).await
    }

    async fn read(&self, which: Which) -> Result<ReadReport, ClientError> {
        let take = Take::Nothing;
        self.client.read(ReadRequest { mailbox: INBOX.to_owned(), which, force: false, take }).await
    }

    /// Asks a contact's own server, over a connection that proves itself, for the key: its fingerprint.
    pub async fn look_up(&self, contact: &Address) -> Result<String, Failure> {
        let mailbox = Mailbox::parse(contact.as_str()).map_err(Failure::failed)?;
        let report = self.client.key_lookup(&mailbox).await?;
        let Published::Key { fingerprint, .. } = report.published else {
            return Err(Failure::failed(format_args!("{} publishes no key for {contact}", report.server)));
        };
        if !report.authenticated {
            return Err(Failure::failed(format_args!("{} is not proven: {}", report.server, report.binding)));
        }
        Ok(fingerprint)
    }

    /// `sealpost contact accept ADDR --fingerprint F`.
    pub async fn accept(&self, contact: &Address, fingerprint: &str) -> Result<(), Failure> {
        let mailbox = Mailbox::parse(contact.as_str()).map_err(Failure::failed)?;
        self.client.contact_accept(&mailbox, Some(fingerprint)).await?;
        Ok(())
    }

    /// Messages in INBOX.
    pub async fn count(&self) -> Result<usize, ClientError> {
        Ok(self.client.list(INBOX).await?.len())
    }

    /// Waits until INBOX holds `count` messages; the looking itself is not recorded.
    pub async fn wait_for(&self, count: usize) -> Result<(), Failure> {
        let begin = Instant::now();
        let recorded = self.recorder.take();
        while self.count().await? < count {
            if begin.elapsed() > ARRIVAL {
                return Err(Failure::failed(format_args!("no mail for {} came", self.address)));
            }
            tokio::time::sleep(POLL).await;
        }
        self.recorder.take();
        for (side, line) in recorded {
            sealpost_proto::transcript::Tap::line(&*self.recorder, side, &line);
        }
        Ok(())
    }

    /// The fingerprint that this client knows for a contact.
    pub fn contact_fingerprint(&self, contact: &Address) -> Result<String, Failure> {
        let mailbox = Mailbox::parse(contact.as_str()).map_err(Failure::failed)?;
        Ok(self.client.contact(&mailbox)?.fingerprint)
    }
}
