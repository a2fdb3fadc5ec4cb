//! PUBKEY and XKEYINFO (profile §5, §8 step 4).

use super::{Session, store_failure};
use crate::limits::Network;
use sealpost_lookup::KeyAnswer;
use sealpost_proto::{
    key::PublicKey,
    smtp::{
        reply::Reply,
        verb::{Asked, AskedFor},
    },
    statement::SignedStatement,
};
use std::time::Duration;

/// How long another domain may take to answer, as the client waits.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(60);

impl Session {
    pub(super) async fn asked(&mut self, asked: Asked) -> Result<Reply, Reply> {
        if !self.context.lookups.take(&Network::from(self.peer)) {
            return Err(Reply::new(450, "4.7.1", "Too many key look-ups, try again in a minute"));
        }
        if self.context.config.is_local(&asked.mailbox.domain()) {
            self.local(asked).await
        } else if self.who.signed_in().is_some() {
            self.foreign(asked).await
        } else {
            Err(Reply::new(551, "5.7.1", "Not a domain of this server"))
        }
    }

    async fn local(&self, asked: Asked) -> Result<Reply, Reply> {
        let (store, address) = (&self.context.store, asked.mailbox.canonical());
        match asked.what {
            AskedFor::Key => {
                let key = store.public_key(&address).await.map_err(|e| store_failure(&e))?;
                key.map(|key| key_reply(&key))
            }
            AskedFor::Chain => {
                let chain = store.key_chain(&address).await.map_err(|e| store_failure(&e))?;
                chain_reply(&chain)
            }
        }
        .ok_or_else(|| no_key(&asked))
    }

    /// Asks the other domain for a signed-in user. A "no" counts only from a server whose name is bound to the
    /// domain (profile §7: a negative is definite only when authenticated); a key is passed on as it is, since the
    /// client trusts no key that came this way without a pin.
    async fn foreign(&self, asked: Asked) -> Result<Reply, Reply> {
        let failed = || Reply::new(451, "4.4.1", "Key lookup failed");
        let domain = asked.mailbox.domain();
        let mailboxes = [asked.mailbox.clone()];
        let look_up = self.context.lookup.keys(&domain, &mailboxes);
        let answer = match tokio::time::timeout(LOOKUP_TIMEOUT, look_up).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                tracing::debug!(%error, "key look-up failed");
                return Err(failed());
            }
            Err(_) => return Err(failed()),
        };
        let definite = answer.host.binding.is_authenticated();
        match (answer.answers.into_iter().next(), asked.what) {
            (Some((_, KeyAnswer::Key(key, _))), AskedFor::Key) => Ok(key_reply(&key)),
            (Some((_, KeyAnswer::Key(_, chain))), AskedFor::Chain) => {
                chain_reply(chain.statements()).ok_or_else(|| no_key(&asked))
            }
            (Some((_, KeyAnswer::NoKey)), _) if definite => Err(no_key(&asked)),
            _ => Err(failed()),
        }
    }
}

/// `220 ed25519 QUFBQUMz…` (R10, R29).
fn key_reply(key: &PublicKey) -> Reply {
    Reply::bare(220, format!("{} {}", key.algorithm().token(), key.wire()))
}

/// One statement a line, newest first.
fn chain_reply(chain: &[SignedStatement]) -> Option<Reply> {
    (!chain.is_empty()).then(|| Reply::lines(220, chain.iter().map(SignedStatement::to_wire)))
}

/// R11: the address as sent, without `<>`.
fn no_key(asked: &Asked) -> Reply {
    Reply::bare(550, format!("No public key available for {}", asked.as_sent))
}
