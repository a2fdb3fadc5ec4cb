//! The account at the other end of a transfer: that of the client's folder, or one named by URL.

use super::remote::Remote;
use crate::{client::Client, error::ClientError, folder::Folder, mailbox::Mail, state::State};
use sha2::{Digest as _, Sha256};
use std::{net::SocketAddr, path::PathBuf};

/// Where journals are kept in the client's folder.
const JOURNALS: &str = "transfer";

/// A session that is signed in.
pub(super) struct Target {
    pub mail: Mail,
    /// Whose it is, for the journal.
    pub name: String,
    /// The name server that the user named.
    pub dns: Option<SocketAddr>,
}

impl Client {
    /// Signs in. The folder's lock is held no longer than that: an import takes hours, and mail is read meanwhile.
    pub(super) async fn transfer_session(&self, at: Option<&Remote>) -> Result<Target, ClientError> {
        if let Some(remote) = at {
            Folder::new(&self.settings.dir).create()?;
            let dns = self.settings.dns;
            let mail = remote.sign_in(self, dns).await?;
            return Ok(Target { mail, name: remote.url.to_string(), dns });
        }
        let mut state = State::load(self).await?;
        let lookup = state.account.lookup(self)?;
        let mail = self.mail(&mut state, &lookup).await?;
        let name = state.account.address.as_str().to_owned();
        Ok(Target { mail, name, dns: self.settings.dns.or(state.account.dns) })
    }

    /// The journal of a pair.
    pub(super) fn journal_path(&self, from: &str, to: &str) -> PathBuf {
        let digest = Sha256::digest([from.as_bytes(), b"\0", to.as_bytes()].concat());
        let name = u128::from_be_bytes(std::array::from_fn(|n| digest[n]));
        self.settings.dir.join(JOURNALS).join(format!("{name:032x}.jsonl"))
    }
}
