//! Which servers a domain has, and their tie to it.

use crate::{
    Binding, IMAPS_PORT, Lookup, LookupError, ServerHost, Transport, binding,
    dns::{NoAnswer, Target},
    https, mta_sts,
};
use sealpost_proto::address::Domain;
use std::{io, net::SocketAddr};

impl NoAnswer {
    fn into_error(self, domain: &Domain) -> LookupError {
        match self {
            Self::NoDomain => LookupError::NoMail(domain.clone()),
            Self::NoRecords => {
                LookupError::Dns { domain: domain.clone(), reason: "its servers have no address".into() }
            }
            Self::Failed(reason) => LookupError::Dns { domain: domain.clone(), reason },
        }
    }
}

/// What names the servers of a domain says of them, before addresses are asked for.
struct Candidates {
    targets: Vec<Target>,
    transport: Transport,
    /// Whether an MTA-STS policy is asked for where the name does not bind.
    with_policy: bool,
}

impl Candidates {
    fn new(targets: Vec<Target>, transport: Transport) -> Self {
        Self { targets, transport, with_policy: true }
    }
}

impl Lookup {
    /// The domain's MX servers by preference, each most-preferred group first; the domain itself where there is no
    /// MX (RFC 5321 §5.1).
    pub async fn mx(&self, domain: &Domain) -> Result<Vec<ServerHost>, LookupError> {
        let targets = self.mx_targets(domain).await?;
        let hosts = self.hosts(domain, Candidates::new(targets, Transport::StartTls)).await?;
        Ok(hosts.into_iter().map(|(_, host)| host).collect())
    }
    /// [`Lookup::mx`] for a relay: with the preference of each, and bindings judged by name alone, since mail between
    /// servers does not wait for an HTTPS server.
    pub async fn mail_exchangers(&self, domain: &Domain) -> Result<Vec<(u16, ServerHost)>, LookupError> {
        let targets = self.mx_targets(domain).await?;
        let candidates = Candidates::new(targets, Transport::StartTls);
        self.hosts(domain, Candidates { with_policy: false, ..candidates }).await
    }
    /// Submission servers (SRV `_submissions._tcp`), for one's own domain; without that record the most-preferred MX on
    /// 465, as in profile §8.
    pub async fn submission(&self, domain: &Domain) -> Result<Vec<ServerHost>, LookupError> {
        let hosts = match self.srv(domain, "_submissions._tcp").await? {
            Some(hosts) => hosts,
            None => self.mx_submissions(domain).await?,
        };
        if hosts.is_empty() {
            let reason = format!("neither _submissions._tcp.{domain} nor an MX with port 465 leads to one");
            return Err(LookupError::Dns { domain: domain.clone(), reason });
        }
        Ok(hosts)
    }
    /// IMAP servers (SRV `_imaps._tcp`, else the submission host on 993).
    pub async fn imap(&self, domain: &Domain) -> Result<Vec<ServerHost>, LookupError> {
        if let Some(hosts) = self.srv(domain, "_imaps._tcp").await? {
            return Ok(hosts);
        }
        let mut hosts = self.submission(domain).await?;
        for address in hosts.iter_mut().flat_map(|host| &mut host.addresses) {
            address.set_port(IMAPS_PORT);
        }
        Ok(hosts)
    }

    /// The addresses of a host that the user named, at `port`.
    pub async fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.inner.dns.addresses(host, port).await.map_err(|error| {
            io::Error::other(match error {
                NoAnswer::NoDomain => "there is no host of that name".to_owned(),
                NoAnswer::NoRecords => "it has no address".to_owned(),
                NoAnswer::Failed(reason) => reason,
            })
        })
    }

    /// Profile §8 step 1: `None` where there is no such record (or it says that the service is not offered).
    pub(crate) async fn srv(
        &self,
        domain: &Domain,
        service: &str,
    ) -> Result<Option<Vec<ServerHost>>, LookupError> {
        let targets = match self.inner.dns.srv(service, domain.as_str()).await {
            Ok(targets) if targets.is_empty() => return Ok(None),
            Ok(targets) => targets,
            Err(NoAnswer::NoDomain | NoAnswer::NoRecords) => return Ok(None),
            Err(error) => return Err(error.into_error(domain)),
        };
        let hosts = self.hosts(domain, Candidates::new(targets, Transport::Implicit)).await?;
        Ok(Some(hosts.into_iter().map(|(_, host)| host).collect()))
    }
    /// Step 2: each most-preferred MX on 465; none where the MX port is configured to be another than 25.
    pub(crate) async fn mx_submissions(&self, domain: &Domain) -> Result<Vec<ServerHost>, LookupError> {
        if self.mx_port() != crate::SMTP_PORT {
            return Ok(Vec::new());
        }
        let mut hosts = self.most_preferred(domain).await?;
        for host in &mut hosts {
            host.transport = Transport::Implicit;
            for address in &mut host.addresses {
                address.set_port(self.inner.settings.submissions_port);
            }
        }
        Ok(hosts)
    }
    /// Step 3: each most-preferred MX on the MX port, STARTTLS.
    pub(crate) async fn most_preferred(&self, domain: &Domain) -> Result<Vec<ServerHost>, LookupError> {
        let mut targets = self.mx_targets(domain).await?;
        let best = targets.iter().map(|target| target.preference).min();
        targets.retain(|target| Some(target.preference) == best);
        let hosts = self.hosts(domain, Candidates::new(targets, Transport::StartTls)).await?;
        Ok(hosts.into_iter().map(|(_, host)| host).collect())
    }

    async fn mx_targets(&self, domain: &Domain) -> Result<Vec<Target>, LookupError> {
        // Nothing can be proven of an address literal, and nobody reads mail there any more.
        if domain.as_str().starts_with('[') {
            return Err(LookupError::NoMail(domain.clone()));
        }
        let mut targets = match self.inner.dns.mx(domain.as_str()).await {
            Ok(targets) if targets.is_empty() => return Err(LookupError::NoMail(domain.clone())),
            Ok(targets) => targets,
            // RFC 5321 §5.1: the implicit MX. Its addresses decide whether the domain takes mail at all.
            Err(NoAnswer::NoRecords) => vec![Target::implicit(domain.as_str())],
            Err(error) => return Err(error.into_error(domain)),
        };
        for target in &mut targets {
            target.port = self.mx_port();
        }
        Ok(targets)
    }

    /// Adds addresses and bindings. A host without addresses is passed over as long as there is another.
    async fn hosts(
        &self,
        domain: &Domain,
        candidates: Candidates,
    ) -> Result<Vec<(u16, ServerHost)>, LookupError> {
        let mut hosts = Vec::with_capacity(candidates.targets.len());
        let mut failure = None;
        let mut policy = None;
        for target in candidates.targets {
            match self.inner.dns.addresses(&target.name, target.port).await {
                Ok(addresses) => {
                    let needed = candidates.with_policy && !binding::by_name(domain, &target.name);
                    if needed && policy.is_none() {
                        policy = Some(self.policy(domain).await);
                    }
                    let binding =
                        binding::judge(domain, &target.name, policy.as_ref().and_then(Option::as_ref));
                    let transport = candidates.transport;
                    let host = ServerHost { name: target.name, addresses, transport, binding };
                    hosts.push((target.preference, host));
                }
                // A failure says more than a "none": the mail is to be tried again.
                Err(error) => match failure {
                    Some(NoAnswer::Failed(_)) => {}
                    _ => failure = Some(error),
                },
            }
        }
        match failure {
            // One host that does not exist says nothing about the domain.
            Some(NoAnswer::NoDomain) if hosts.is_empty() => Err(NoAnswer::NoRecords.into_error(domain)),
            Some(failure) if hosts.is_empty() => Err(failure.into_error(domain)),
            _ => Ok(hosts),
        }
    }

    /// The domain's MTA-STS policy, if it has one.
    async fn policy(&self, domain: &Domain) -> Option<mta_sts::Policy> {
        let inner = &self.inner;
        let records = inner.dns.txt(&format!("_mta-sts.{domain}")).await;
        let fetch = async || {
            let host = format!("mta-sts.{domain}");
            let addresses = inner.dns.addresses(&host, inner.settings.https_port).await;
            let addresses =
                addresses.map_err(|_| https::Error::Io(std::io::ErrorKind::HostUnreachable.into()))?;
            https::get(&inner.tls, &host, &addresses, "/.well-known/mta-sts.txt", mta_sts::POLICY_MAX).await
        };
        inner.policies.policy(domain, records, fetch, &*inner.settings.clock).await
    }
}

impl ServerHost {
    /// Whether what it says about its domain can be believed, given verified TLS (profile §8).
    pub fn is_authenticated(&self) -> bool {
        Binding::is_authenticated(&self.binding)
    }
}
