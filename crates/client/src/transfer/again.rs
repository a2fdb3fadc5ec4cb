//! A connection that broke, made anew: a bounded number of times in a row, with pauses that grow.

use super::{TransferEvent, remote::Remote};
use crate::{client::Client, error::ClientError, mailbox::Mail, ui::Ui};
use std::{net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

/// Tries in a row that bring nothing new, before it is given up. With the pauses below they take some four minutes: a
/// server is restarted and a line is back in that time.
const TRIES: u32 = 9;
/// Before the first try; each further one waits twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

type Dialled = Pin<Box<dyn Future<Output = Result<Mail, ClientError>> + Send>>;

/// A server that can be reached once more.
pub(super) struct Again {
    /// Which, in words.
    who: String,
    dial: Box<dyn Fn() -> Dialled + Send + Sync>,
    ui: Arc<dyn Ui>,
    /// Since anything new came.
    tries: u32,
}

impl Again {
    /// `dial` signs in at `who`.
    pub(super) fn new(
        who: String,
        ui: Arc<dyn Ui>,
        dial: impl Fn() -> Dialled + Send + Sync + 'static,
    ) -> Self {
        Self { who, dial: Box::new(dial), ui, tries: 0 }
    }

    /// The server of a URL.
    pub(super) fn at(client: &Client, remote: &Remote, dns: Option<SocketAddr>) -> Self {
        let ui = Arc::clone(&client.env.ui);
        let (client, who, remote) = (client.clone(), remote.url.to_string(), remote.clone());
        Self::new(who, ui, move || {
            let (client, remote) = (client.clone(), remote.clone());
            Box::pin(async move { remote.sign_in(&client, dns).await })
        })
    }

    /// The account of an import or export.
    pub(super) fn account(client: &Client, remote: Option<&Remote>, who: String) -> Self {
        let ui = Arc::clone(&client.env.ui);
        let (client, remote) = (client.clone(), remote.cloned());
        Self::new(who, ui, move || {
            let (client, remote) = (client.clone(), remote.clone());
            Box::pin(async move { Ok(client.transfer_session(remote.as_ref()).await?.mail) })
        })
    }

    /// Something new came, or arrived there.
    pub(super) fn progress(&mut self) {
        self.tries = 0;
    }

    /// It broke, and nothing new has come since.
    pub(super) fn is_in_trouble(&self) -> bool {
        self.tries > 0
    }

    /// A new session in place of the one that broke because of `why`. It fails where no try is left, and at once with
    /// what no further try would mend, as a refused login.
    pub(super) async fn connect(&mut self, mut why: String) -> Result<Mail, ClientError> {
        loop {
            if self.tries == TRIES {
                return Err(ClientError::Later(format!(
                    "{}: {why}; {TRIES} tries brought nothing new",
                    self.who
                )));
            }
            let pause = FIRST_PAUSE.saturating_mul(1 << self.tries).min(LONGEST_PAUSE);
            self.tries += 1;
            self.ui.transfer(&TransferEvent::Note(format!(
                "{}: {why}; trying once more in {} s ({} of {TRIES})",
                self.who,
                pause.as_secs(),
                self.tries
            )));
            tokio::time::sleep(pause).await;
            match (self.dial)().await {
                Ok(mail) => return Ok(mail),
                Err(ClientError::Later(reason) | ClientError::Away(reason)) => why = reason,
                Err(error) => return Err(error),
            }
        }
    }
}
