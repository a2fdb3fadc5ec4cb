//! Asking a domain's own server for keys (profile §8 steps 1 to 3; R04, R10, R11).

use crate::{DirectAnswer, KeyAnswer, Keyword, Lookup, LookupError, ServerHost};
use sealpost_proto::{
    address::{Domain, Mailbox},
    drive::{ChainAnswer, Connection, PubkeyAnswer, SmtpError, Tls},
    smtp::client::Capabilities,
    statement::{Chain, StatementError},
};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::{Instant, timeout_at};

/// One look-up as a whole: a server that answers each command just in time must not hold a sender for hours.
const TIMEOUT: Duration = Duration::from_secs(2 * 60);
/// For each further address in the batch.
const TIMEOUT_PER_ADDRESS: Duration = Duration::from_secs(1);

impl Lookup {
    /// Asks the domain's own server for the keys of `addresses` (all of one domain), in the order of profile §8
    /// steps 1 to 3, over verified TLS only; one connection, pipelined. The first server that can be reached so is the
    /// one that answers; whether its name is bound to the domain stands in [`DirectAnswer::host`].
    pub async fn keys(&self, domain: &Domain, addresses: &[Mailbox]) -> Result<DirectAnswer, LookupError> {
        let more = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        let deadline = Instant::now() + TIMEOUT + TIMEOUT_PER_ADDRESS.saturating_mul(more.min(600));
        let mut reasons = Reasons::default();
        let mut first_error = None;
        for step in [Step::Srv, Step::MxSubmissions, Step::MxStartTls] {
            let hosts = timeout_at(deadline, self.step(domain, step)).await;
            let hosts = match hosts {
                Ok(Ok(hosts)) => hosts,
                Ok(Err(error)) => {
                    // An SRV answer that cannot be had does not keep us from the MX.
                    reasons.add(&error);
                    first_error.get_or_insert(error);
                    continue;
                }
                Err(_) => {
                    reasons.add(&"it took too long");
                    break;
                }
            };
            for host in hosts {
                match timeout_at(deadline, self.ask(domain, &host, addresses)).await {
                    Ok(Ok((keywords, answers))) => return Ok(DirectAnswer { host, keywords, answers }),
                    Ok(Err(error)) => {
                        tracing::debug!(%domain, host = host.name, %error, "key server not usable");
                        reasons.tried = true;
                        reasons.add(&format_args!("{}: {error}", host.name));
                    }
                    Err(_) => {
                        reasons.tried = true;
                        reasons.add(&format_args!("{}: it took too long", host.name));
                        break;
                    }
                }
            }
        }
        match first_error {
            // No server was even found.
            Some(error) if !reasons.tried => Err(error),
            _ => Err(LookupError::Unreachable { domain: domain.clone(), reason: reasons.text }),
        }
    }

    async fn step(&self, domain: &Domain, step: Step) -> Result<Vec<ServerHost>, LookupError> {
        match step {
            Step::Srv => Ok(self.srv(domain, "_submissions._tcp").await?.unwrap_or_default()),
            Step::MxSubmissions => self.mx_submissions(domain).await,
            Step::MxStartTls => self.most_preferred(domain).await,
        }
    }

    async fn ask(
        &self,
        domain: &Domain,
        host: &ServerHost,
        addresses: &[Mailbox],
    ) -> Result<(BTreeSet<Keyword>, Vec<(Mailbox, KeyAnswer)>), SmtpError> {
        let mut connection = self.connect(host).await?;
        let keywords = keywords(connection.capabilities());
        let mut answers = self.keys_over(&mut connection, addresses).await?;
        for (address, answer) in &mut answers {
            if address.domain() != *domain {
                *answer = KeyAnswer::Failed(format!("{address} is not an address of {domain}"));
            }
        }
        connection.quit().await;
        Ok((keywords, answers))
    }

    /// Asks whoever is at the other end: the domain's own server ([`Lookup::keys`]), or the home server, which passes
    /// on what other domains say to a signed-in session (profile §8 step 4; such a key is not authenticated).
    pub async fn keys_over(
        &self,
        connection: &mut Connection<Tls>,
        addresses: &[Mailbox],
    ) -> Result<Vec<(Mailbox, KeyAnswer)>, SmtpError> {
        let capabilities = connection.capabilities();
        if !capabilities.encrypt_message() && !capabilities.sign_message() {
            let none =
                || KeyAnswer::Failed("the server offers neither ENCRYPTMESSAGE nor SIGNMESSAGE".into());
            return Ok(addresses.iter().map(|address| (address.clone(), none())).collect());
        }
        let with_chains = capabilities.sealpost();
        let keys = connection.pubkeys(addresses).await?;
        // The chain is worth asking for only where there is a key.
        let with_key = addresses.iter().zip(&keys);
        let with_key = with_key.filter(|(_, answer)| matches!(answer, PubkeyAnswer::Key(_)));
        let with_key: Vec<Mailbox> = with_key.map(|(address, _)| address.clone()).collect();
        let chains = if with_chains {
            connection.key_infos(&with_key).await?
        } else {
            vec![ChainAnswer::Statements(Vec::new()); with_key.len()]
        };
        let mut chains = chains.into_iter();
        let answers = addresses.iter().zip(keys).map(|(address, key)| {
            let chain = if matches!(key, PubkeyAnswer::Key(_)) { chains.next() } else { None };
            (address.clone(), self.judge(address, key, chain))
        });
        Ok(answers.collect())
    }

    fn judge(&self, address: &Mailbox, key: PubkeyAnswer, chain: Option<ChainAnswer>) -> KeyAnswer {
        let key = match key {
            PubkeyAnswer::Key(key) => key,
            PubkeyAnswer::NoKey => return KeyAnswer::NoKey,
            PubkeyAnswer::BadKey(error) => {
                return KeyAnswer::Failed(format!("the server gave a key that must not be used: {error}"));
            }
            PubkeyAnswer::Failed(reply) => {
                return KeyAnswer::Failed(format!("the server gave no definite answer: {reply}"));
            }
        };
        let invalid = |error: StatementError| KeyAnswer::Failed(error.to_string());
        match chain {
            Some(ChainAnswer::Statements(statements)) => {
                // Expiry counts for the newest only, and is the caller's to judge (profile §7, §9).
                match Chain::check(statements, &address.canonical(), self.inner.settings.clock.now()) {
                    Ok(chain) => KeyAnswer::Key(key, chain),
                    Err(error) => invalid(error),
                }
            }
            Some(ChainAnswer::BadStatement(error)) => invalid(error),
            Some(ChainAnswer::Failed(reply)) => {
                KeyAnswer::Failed(format!("the server did not show its key statements: {reply}"))
            }
            None => KeyAnswer::Failed("the server did not show its key statements".into()),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Srv,
    MxSubmissions,
    MxStartTls,
}

/// What went wrong so far, a clause each, each once.
#[derive(Default)]
struct Reasons {
    text: String,
    tried: bool,
}

impl Reasons {
    fn add(&mut self, reason: &dyn std::fmt::Display) {
        let reason = reason.to_string();
        if !self.text.contains(&reason) {
            if !self.text.is_empty() {
                self.text.push_str("; ");
            }
            self.text.push_str(&reason);
        }
    }
}

/// What trust remembers of an EHLO inside TLS.
pub fn keywords(capabilities: &Capabilities) -> BTreeSet<Keyword> {
    let all = [
        (Keyword::EncryptMessage, capabilities.encrypt_message()),
        (Keyword::SignMessage, capabilities.sign_message()),
        (Keyword::HashedPass, capabilities.hashed_pass()),
        (Keyword::Sealpost, capabilities.sealpost()),
    ];
    all.into_iter().filter_map(|(keyword, offered)| offered.then_some(keyword)).collect()
}
